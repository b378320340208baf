"""Which places of its input speak for which class, by Grad-CAM: of single trials to listen to."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

from steps.evaluation.score_files import CmScores
from steps.frontend import FrontEndBase, read_utterance
from steps.frontend.processing.audio import read_wav_scp
from steps.nnet.grad_cam import blend, drawn_up, evidence
from steps.results.report.detectors import Detectors, Loaded, computed_otherwise, note_of_others
from steps.results.report.figures import BONAFIDE, INK, SPOOF, picture
from steps.results.report.page import Audio, Block, Figures, Heading, Section, Text
from steps.results.report.systems import Comparison, Group, carried_threshold
from steps.results.tables import DEV, attack_text, listed
from utils.cli import UserError
from utils.files import read_map
from utils.tables import require_same_keys

CASES = (  # what is decided, whether bona fide, whether accepted
    ("Hit: bona fide accepted", True, True),
    ("Correct rejection: spoof rejected", False, False),
    ("Miss: bona fide rejected", True, False),
    ("False alarm: spoof accepted", False, True),
)
MOST_AUDIO_S = 10


@dataclass(frozen=True)
class Case:
    """A trial that stands for a kind of decision. agreed: whether all systems of the group decide it so."""

    title: str
    utt: str
    agreed: bool


def choose_cases(scores: Sequence[CmScores], thresholds: Sequence[float]) -> list[Case | None]:
    """For each of CASES a trial: of those that all systems decide so, the one of the median score by the first system
    (of two the lower); without any, of those that the first system decides so; without any of these, None."""
    first = scores[0]
    by_utt = [dict(zip(cm.utterance, cm.score)) for cm in scores]
    aligned = np.array([[found.get(utt, np.nan) for utt in first.utterance] for found in by_utt])
    accepted = aligned > np.array(thresholds)[:, None]
    known = np.isfinite(aligned).all(axis=0)
    found: list[Case | None] = []
    for title, bonafide, accept in CASES:
        first_so = (first.bonafide == bonafide) & (accepted[0] == accept)
        all_so = first_so & known & (accepted == accept).all(axis=0)
        indices = np.flatnonzero(all_so if all_so.any() else first_so)
        order = sorted(indices, key=lambda i: (first.score[i], first.utterance[i]))
        median = first.utterance[order[(len(order) - 1) // 2]] if order else None
        found.append(None if median is None else Case(title, median, bool(all_so.any())))
    return found


def section(comparison: Comparison, detectors: Detectors, stages: Sequence[int]) -> Section:
    names = [f"stage {stage}" for stage in stages]
    blocks: list[Block] = [
        Text(
            "The maps show how each place of the input changes the score: green speaks for bona fide, purple for spoof,"
            f" the input is grey below. Grad-CAM at {listed(names)} of the backbone's four, drawn up to the input's"
            " frames and bins: deep stages are coarse, shallow ones say less about the decision. Each map has its own"
            f" scale. Decisions are by the threshold of the EER of {DEV} (the set's own if a system has no results of"
            f" {DEV}), of the seed of the median EER. Right of a dashed line the input repeats the utterance, being"
            " longer. The trial shown is one that all systems of a network decide in the same way: the one of the"
            " median score by the first system."
        )
    ]
    trials = Trials(comparison)
    off: list[str] = []
    for group in comparison.groups:
        deciders = _deciders(comparison, group, detectors)
        if not deciders:
            blocks.append(Text(f"{group.title}: no system has both a final.pt and scores.", "note"))
            continue
        if any(one.loaded.frontend.n_bins == 1 for one in deciders):
            blocks.append(Text(f"{group.title}: it reads raw samples, which make no picture.", "note"))
            continue
        cases = choose_cases([one.scores for one in deciders], [one.threshold for one in deciders])
        for number, ((title, *_), case) in enumerate(zip(CASES, cases), 1):
            blocks.append(Heading(f"{group.title}. {title}"))
            if case is None:
                blocks.append(Text("No trial of this set is decided so.", "note"))
                continue
            text = f"{case.utt}: {trials.kind(case.utt)}."
            if not case.agreed:
                text += f" Decided so by {deciders[0].loaded.system.recipe} alone: no trial is by all systems."
            figures = []
            for i, decider in enumerate(deciders, 1):
                score, svg = _view(comparison, f"cam-{group.key}-{number}-{i}", decider, case.utt, stages)
                figures.append(svg)
                scores = decider.scores
                written = scores.score[[scores.utterance.index(case.utt)]]
                if computed_otherwise(np.array([score]), written, scores.score):
                    off.append(decider.loaded.system.name)
            audio = Audio(case.utt, trials.audio(case.utt, deciders[0].loaded.frontend))
            blocks += [Text(text), audio, Figures(figures)]
    if off:
        blocks.append(note_of_others(list(dict.fromkeys(off))))
    return Section("grad_cam", "Grad-CAM", blocks)


def _deciders(comparison: Comparison, group: Group, detectors: Detectors) -> list[Decider]:
    found = []
    for system in group.systems:
        loaded, scores = detectors.loaded.get(system.experiment.name), system.scores(comparison.set_name)
        if loaded is not None and scores is not None:
            carried = carried_threshold(comparison, system)
            own = system.results[system.shown].pooled.threshold
            found.append(Decider(loaded, scores, own if carried is None else carried))
    return found


class Trials:
    """The kind of a trial in words, and its audio."""

    def __init__(self, comparison: Comparison):
        self._wavs = read_wav_scp(comparison.data / "wav.scp", comparison.allow_pipes)
        path = comparison.data / "utt2attack"
        self._attacks = read_map(path)
        require_same_keys(path, self._attacks, self._wavs.place, self._wavs, "correct the data dir")
        self._corpus = comparison.table.any_result.corpus or {}

    def kind(self, utt: str) -> str:
        if utt not in self._attacks:
            raise UserError(f"{self._wavs.place}: no line of {utt}; is --data-dir that of these trainings?")
        attack = self._attacks[utt]
        return "bona fide" if attack == "-" else attack_text(attack, self._corpus)

    def audio(self, utt: str, frontend: FrontEndBase) -> str:
        """As FLAC, which is lossless and which every browser plays; turned down where it clips."""
        import soundfile

        rate = frontend.conf.sample_rate
        waveform = read_utterance(utt, self._wavs[utt], frontend.conf)[: MOST_AUDIO_S * rate]
        waveform = waveform / max(1.0, float(np.abs(waveform).max()))
        out = io.BytesIO()
        soundfile.write(out, waveform, rate, format="FLAC", subtype="PCM_16")
        return f"data:audio/flac;base64,{base64.b64encode(out.getvalue()).decode()}"


@dataclass(frozen=True)
class Decider:
    """A detector, its scores of the set, and the threshold by which it decides."""

    loaded: Loaded
    scores: CmScores
    threshold: float


def _view(comparison: Comparison, key: str, decider: Decider, utt: str, stages: Sequence[int]) -> tuple[float, Markup]:
    """The score that the detector gives to a trial, and the evidence at each stage over the first channel of its
    input."""
    loaded, threshold = decider.loaded, decider.threshold
    x, own_frames = loaded.input_of(utt)
    score, maps = evidence(loaded.detector, x, stages)
    features = x[0, 0].numpy()
    frames, bins = features.shape
    shift, hz = loaded.frontend.conf.frame_shift, loaded.frontend.conf.bin_hz
    scale = 1.0 if shift is None else shift

    def paint(canvas: Canvas) -> None:
        panels = np.atleast_1d(canvas.subplots(len(stages), 1, sharex=True))
        for panel, stage_map, stage in zip(panels, maps, stages):
            image = blend(features, drawn_up(stage_map, frames, bins), BONAFIDE, SPOOF)
            extent = (0, frames * scale, -0.5, bins - 0.5)
            panel.imshow(image, origin="lower", aspect="auto", interpolation="none", extent=extent)
            if own_frames < frames:
                panel.axvline(own_frames * scale, color="#ffffff", lw=2.2)
                panel.axvline(own_frames * scale, color="#000000", lw=1, ls="--")
            panel.grid(visible=False)
            panel.set_title(f"stage {stage}", loc="left", fontsize=8.5, color=INK)
            panel.set_ylabel("bin")
            if hz is not None and len(hz) == bins:
                ticks = np.linspace(0, bins - 1, min(bins, 4)).round().astype(int)
                panel.set_yticks(ticks, [f"{hz[i]:.0f}" for i in ticks])
                panel.set_ylabel("Hz")
        panels[-1].set_xlabel("frame" if shift is None else "s")

    verdict = "accepted" if score > threshold else "rejected"
    says = f"{utt}, score {score:.2f}, {verdict} (threshold {threshold:.2f})"
    if own_frames < frames:
        says += "; right of the dashed line the network's input repeats the utterance"
    if x.shape[1] > 1:
        says += "; channel 1 of the input is shown"
    title = f"{loaded.system.recipe}: score {score:.2f}, {verdict}\n(threshold {threshold:.2f})"
    return score, picture(key, title, comparison.corpus, 0.9 + 1.25 * len(stages), says, paint)
