"""Experiment folders as training and evaluation leave them, with figures of one's choice."""

from __future__ import annotations

import json

import numpy as np
import yaml

from steps.evaluation.evaluation import (
    AsvOperatingPoint,
    Coverage,
    DetectionFigures,
    EnvironmentFigures,
    Evaluation,
    Figures,
    Grid,
    GroupFigures,
    SpeakerFigures,
    write_evaluation,
)
from steps.experiment.experiments import read_experiments
from steps.metrics.tandem import AsvRates

WILD = {"name": "In-the-Wild"}
MINI = {"name": "mini corpus", "version": 0, "size": "small"}


def figures(eer, n_spoof, min_tdcf_2019=None, min_tdcf_2021=None):
    """eer: percent."""
    detection = DetectionFigures(eer / 100, 0.9, 0.5, 0.6, 0.7, 0.6, 0.8)
    return Figures(eer / 100, 0.25, n_spoof, min_tdcf_2019, min_tdcf_2021, 0.5, "pooled", detection)


def evaluation(eer, n_bonafide, n_spoof, per_attack, asv_eer=None, **more):
    """What an evaluation comes to, rates in percent; figures of attacks, factors and speakers as dicts."""
    costs = {key: more.pop(key, None) for key in ("min_tdcf_2019", "min_tdcf_2021")}
    groups = {key: more.pop(key, None) for key in ("per_environment", "per_attack_factor")}
    if any(groups.values()):
        grids = [Grid(np.zeros(n, int), np.zeros((n, 9), int), np.full((n, 9), np.nan)) for n in (9, 27)]
        found = (
            {factor: {letter: group(**one) for letter, one in levels.items()} for factor, levels in factors.items()}
            for factors in groups.values()
        )
        more["environments"] = EnvironmentFigures(*found, *grids)
    speakers = more.pop("per_speaker", None)
    if speakers is not None:
        more["per_speaker"] = {name: speaker(**one) for name, one in speakers.items()}
    return Evaluation(
        n_bonafide=n_bonafide,
        pooled=figures(eer, n_spoof, **costs),
        per_attack={name: figures(**one) for name, one in per_attack.items()},
        asv=None if asv_eer is None else AsvOperatingPoint(asv_eer / 100, 0.0, AsvRates(0.02, 0.02, 0.2)),
        **more,
    )


def group(n_bonafide, n_spoof, eer, min_tdcf_2019):
    return GroupFigures(n_bonafide, n_spoof, None if eer is None else eer / 100, min_tdcf_2019, None, "pooled", None)


def speaker(n_bonafide, miss_rate):
    return SpeakerFigures(n_bonafide, 0, None if miss_rate is None else miss_rate / 100, None, None)


def coverage(undecided, prior=0.5):
    """undecided: percent, of either class."""
    share, errors = undecided / 100, np.linspace(0.01, 0.2, 20)
    return Coverage(prior, 1.0, 1.0, 0.2, -1.4, 1.4, share, share, share, 0.1, 0.2, 0.09, [0.05, 0.2, 0.5], errors)


class Exp:
    def __init__(self, root):
        self.root = root

    def folders(self):
        return sorted(self.root.iterdir())

    def read(self):
        return read_experiments(self.folders())

    def train(self, model, method, seed, tag="", detector=True, **train):
        folder = self.root / f"train_f0_subband_{model}_{method}{'_' + tag if tag else ''}" / f"seed{seed}"
        folder.mkdir(parents=True)
        conf = {
            "frontend": {"type": "log_spectrum"}, "model": {"type": "resnet"},
            "train": {"method": method, "epochs": 8, "hard_loss": {"name": "a_softmax", "lambda_mode": "fixed", "lambda_fixed": 1363.6}, **train},
            "seed": seed, "frontend_name": "f0_subband", "model_name": model, "method": method,
            "train_name": method, "train_set_name": "train", "tag": tag,
        }  # fmt: skip
        (folder / "conf.yaml").write_text(yaml.safe_dump(conf))
        if detector:
            self.write(
                folder / "detector.json", {"parameters": 1343760, "multiply_adds": 140200000, "input_shape": [600, 45]}
            )
        return folder

    def write(self, path, value):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))

    def evaluate(self, folder, eer, set_name="eval", head=None, **more):
        """Rates in percent."""
        values = {
            "corpus": MINI, "eer": eer, "min_tdcf_2019": eer / 40, "min_tdcf_2021": 0.06 + 0.94 * eer / 40, "asv_eer": 2.5,
            "n_bonafide": 365, "n_spoof": 100,
            "per_attack": {"A07": {"eer": eer + 1, "n_spoof": 60}, "A08": {"eer": eer - 1, "n_spoof": 40}}, **more,
        }  # fmt: skip
        stem = set_name if head is None else f"{set_name}_head{head}"
        (folder / "results" / stem).mkdir(parents=True, exist_ok=True)
        write_evaluation(folder / "results" / stem, evaluation(set_name=set_name, head=head, **values))

    def usual(self):
        for method, eers in (("baseline", (20.0, 22.0, 21.0)), ("self_distill", (19.5, 21.0, 21.5))):
            for seed, eer in enumerate(eers, 1):
                folder = self.train("senet34", method, seed)
                self.evaluate(folder, eer)
                if method == "self_distill":
                    for block in range(1, 5):
                        self.evaluate(folder, eer + 4 - block, head=block)
        return self


def row_of(text, *cells):
    (row,) = [line for line in text.splitlines() if line.startswith("| " + " | ".join(cells) + " |")]
    return [cell.strip() for cell in row.strip("|").split("|")]
