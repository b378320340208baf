"""Made-up experiments as the recipe leaves them, small enough for a report in seconds."""

import json

import numpy as np
import pytest
import soundfile
import torch
import yaml

from steps import frontend, nnet
from steps.data.batches import fix_length
from steps.evaluation.environments import ATTACKS, ENVIRONMENTS
from steps.evaluation.measuring import Breakdowns
from steps.experiment import training_folder
from steps.nnet.base import score_of
from steps.results.evaluation_output import evaluate_files
from tests.conftest import ROOT, speech_like
from utils.conf import read_yaml, to_dict

MINI = {
    "name": "mini corpus", "version": "1", "size": "small", "recipe": "LA",
    "attacks": {"A07": "vocoder <b>bold</b> & $cheap$", "A08": "splices"},
}  # fmt: skip
METHODS = ("baseline", "self_distill")
RATE = 16000


def make_data(folder, name, trials, audio):
    """A data dir: a third bona fide, two attacks; ASV scores; audio if asked for."""
    data = folder / "data" / name
    data.mkdir(parents=True)
    rng = np.random.default_rng(7)
    tables = {"utt2label": [], "utt2attack": [], "wav.scp": []}
    for i in range(trials):
        utt, kind = f"{name}_{i:03}", i % 3
        tables["utt2label"].append(f"{utt} {'spoof' if kind else 'bonafide'}")
        tables["utt2attack"].append(f"{utt} {('-', 'A07', 'A08')[kind]}")
        path = data / f"{utt}.flac"
        tables["wav.scp"].append(f"{utt} {path}")
        if audio:
            soundfile.write(path, speech_like(int(rng.integers(RATE // 2, RATE)), i), RATE)
    for table, lines in tables.items():
        (data / table).write_text("".join(f"{line}\n" for line in lines))
    (data / "corpus.json").write_text(json.dumps(MINI))
    scores = [f"- target {x}" for x in rng.normal(3, 1, trials // 3)] + [
        f"- nontarget {x}" for x in rng.normal(-3, 1, 60)
    ]
    scores += [f"{attack} spoof {x}" for attack in ("A07", "A08") for x in rng.normal(1, 1, trials // 3)]
    (data / "asv_scores").write_text("".join(f"{line}\n" for line in scores))
    return data


def write_scores(path, data, score_of_utt):
    labels = dict(line.split() for line in (data / "utt2label").read_text().splitlines())
    attacks = dict(line.split() for line in (data / "utt2attack").read_text().splitlines())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{utt} {attacks[utt]} {labels[utt]} {score_of_utt[utt]!r}\n" for utt in labels))


def write_epochs(path, seed, method):
    rng = np.random.default_rng(seed)
    terms = ["train_total", "train_hard", *(["train_soft", "train_feature"] if method == "self_distill" else [])]
    lines = ["\t".join(["epoch", "step", "lr", *terms, "dev_loss", "dev_eer"])]
    for epoch in range(1, 4):
        values = [*(rng.uniform(0.1, 1, len(terms) + 1) / epoch), 30 / epoch]
        lines.append("\t".join(map(str, [epoch, 10 * epoch, 0.001, *values])))
    path.write_text("\n".join(lines) + "\n")


class Made:
    def __init__(self, root, data, experiments):
        self.root, self.data, self.experiments = root, data, experiments


@pytest.fixture(scope="session")
def la(tmp_path_factory):
    """Two methods, two seeds each, detectors of random weights with the very scores that they give."""
    root = tmp_path_factory.mktemp("la")
    sets = {name: make_data(root, name, trials, audio=True) for name, trials in (("dev", 24), ("eval", 36))}
    frontend_conf = frontend.load_conf(ROOT / "conf/frontend/f0_subband.yaml", ["frontend.network_input.frames=120"])
    made = frontend.make_frontend(frontend_conf)
    model_conf = nnet.load_conf(ROOT / "conf/model/ecanet9.yaml")
    inputs = {}
    for name, data in sets.items():
        wavs = dict(line.split() for line in (data / "wav.scp").read_text().splitlines())
        features = [made.compute(soundfile.read(path)[0]) for path in wavs.values()]
        fixed = np.stack([fix_length(x, 120, "mirror") for x in features])
        inputs[name] = list(wavs), torch.from_numpy(fixed)[:, None]
    experiments = []
    for method in METHODS:
        folder = root / "exp" / f"train_f0_subband_ecanet9_{method}"
        experiments.append(folder)
        train = read_yaml(ROOT / f"conf/train/{method}.yaml")
        for seed in (1, 2):
            torch.manual_seed(seed + 10 * len(method))
            detector = training_folder.detector_for(model_conf, made)
            detector.train()(inputs["dev"][1])  # batch normalisation gets statistics
            detector.eval()
            conf = {
                "frontend_name": "f0_subband", "model_name": "ecanet9", "method": method, "seed": seed, "corpus": MINI,
                "train_set_name": "train", "tag": "",
                "frontend": to_dict(frontend_conf), "model": to_dict(model_conf), "train": train,
            }  # fmt: skip
            place = folder / f"seed{seed}"
            training_folder.save_detector(place / "final.pt", detector.state_dict(), conf, epoch=3)
            (place / "conf.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(conf))))
            shape = {"parameters": 310864, "multiply_adds": 7000000, "input_shape": [120, 45]}
            (place / "detector.json").write_text(json.dumps(shape))
            write_epochs(place / "epochs.tsv", seed, method)
            rng = np.random.default_rng(seed)
            for name, (utts, x) in inputs.items():
                with torch.inference_mode():
                    scores = score_of(detector(x)).tolist()
                files = {None: scores}
                if method == "self_distill":
                    files |= {k: [s + rng.normal() for s in scores] for k in range(1, 5)}
                for head, values in files.items():
                    stem = name if head is None else f"{name}_head{head}"
                    path = place / "scores" / f"{stem}.txt"
                    write_scores(path, sets[name], dict(zip(utts, values)))
                    asv, corpus = sets[name] / "asv_scores", sets[name] / "corpus.json"
                    evaluate_files(
                        path, place / "results" / stem, asv, None, corpus, set_name=name, head=head, plot=False
                    )
    return Made(root, root / "data", experiments)


@pytest.fixture(scope="session")
def pa(tmp_path_factory):
    """Two methods on replayed speech, random scores, and neither audio nor a detector."""
    root = tmp_path_factory.mktemp("pa")
    data = root / "data" / "eval"
    data.mkdir(parents=True)
    rng = np.random.default_rng(3)
    kinds = ("-", *ATTACKS)
    trials = [(f"PA_{i:04}", kinds[i % 10], ENVIRONMENTS[i // 10 % 27]) for i in range(1080)]
    labels = {utt: "bonafide" if attack == "-" else "spoof" for utt, attack, _ in trials}
    (data / "utt2env").write_text("".join(f"{utt} {room}\n" for utt, _, room in trials))
    (data / "corpus.json").write_text(json.dumps({"name": "mini corpus", "version": "1", "recipe": "PA"}))
    experiments = []
    for method in METHODS:
        place = root / "exp" / f"train_lps_257_senet9_{method}" / "seed1"
        experiments.append(place.parent)
        (place / "scores").mkdir(parents=True)
        conf = {"frontend_name": "lps_257", "model_name": "senet9", "method": method, "train": {"method": method}}
        (place / "conf.yaml").write_text(yaml.safe_dump(conf))
        lines = [
            f"{utt} {attack} {labels[utt]} {float(rng.normal(2 if attack == '-' else 0))!r}\n"
            for utt, attack, _ in trials
        ]
        (place / "scores/eval.txt").write_text("".join(lines))
        evaluate_files(
            place / "scores/eval.txt", place / "results/eval", None, None, data / "corpus.json",
            Breakdowns(environments=data / "utt2env"), plot=False,
        )  # fmt: skip
    return Made(root, root / "data", experiments)
