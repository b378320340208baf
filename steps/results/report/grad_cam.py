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
from steps.results.report.blocks import Audio, Block, Figures, Heading, Section, Text
from steps.results.report.detectors import Detectors, Loaded, computed_otherwise, note_of_others
from steps.results.report.figures import BONAFIDE, INK, SPOOF, picture
from steps.results.report.systems import Comparison, dev_threshold
from steps.results.tables import DEV, attack_text
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
    (of two the lower); where there are none, of those that the first system does. None where that has none either."""
    first = scores[0]
    by_utt = [dict(zip(cm.utterance, cm.score)) for cm in scores]
    aligned = np.array([[found.get(utt, np.nan) for utt in first.utterance] for found in by_utt])
    accepted = aligned > np.array(thresholds)[:, None]
    known = np.isfinite(aligned).all(axis=0)
    found: list[Case | None] = []
    for title, bonafide, accept in CASES:
        right_class = first.bonafide == bonafide
        all_so, first_so = right_class & known & (accepted == accept).all(axis=0), right_class & (accepted[0] == accept)
        agreed = bool(all_so.any())
        indices = np.flatnonzero(all_so if agreed else first_so)
        if not len(indices):
            found.append(None)
            continue
        order = sorted(indices, key=lambda i: (first.score[i], first.utterance[i]))
        found.append(Case(title, first.utterance[order[(len(order) - 1) // 2]], agreed))
    return found


def section(comparison: Comparison, detectors: Detectors, stages: Sequence[int]) -> Section:
    blocks: list[Block] = [
        Text(
            "What the places of the input add to the score: green speaks for bona fide, purple for spoof, the input in"
            f" grey below. Grad-CAM at {_listed([f'stage {stage}' for stage in stages])} of the backbone's four, drawn"
            " up to the input's frames and bins: deep stages are coarse, shallow ones tell less of the decision. Each"
            f" map has its own scale. Decisions are by the threshold of the EER of {DEV} (the set's own where a system"
            f" has no results of {DEV}), of the seed of the median EER. Right of a dashed line the input repeats the"
            " utterance, being longer. Of the trials that all systems of a network decide alike, the one is shown"
            " whose score by the first system is the median."
        )
    ]
    said = _Words(comparison)
    off: dict[str, None] = {}
    for group in comparison.groups:
        loaded = [detectors.loaded[s.experiment.name] for s in group.systems if s.experiment.name in detectors.loaded]
        deciders = [
            Decider(one, cm, _threshold(comparison, one))
            for one in loaded
            if (cm := one.system.scores(comparison.set_name)) is not None
        ]
        if not deciders:
            blocks.append(Text(f"{group.title}: no system has both a final.pt and scores.", "note"))
            continue
        cases = choose_cases([one.scores for one in deciders], [one.threshold for one in deciders])
        for number, ((title, *_), case) in enumerate(zip(CASES, cases), 1):
            blocks.append(Heading(f"{group.title}. {title}"))
            if case is None:
                blocks.append(Text("No trial of this set is decided so.", "note"))
                continue
            told = f"{case.utt}: {said.of(case.utt)}."
            if not case.agreed:
                told += f" Decided so by {deciders[0].loaded.system.recipe} alone: no trial is by all systems."
            views = [View.of(one, case.utt, stages) for one in deciders]
            off |= {view.decider.loaded.system.name: None for view in views if view.is_off}
            figures = [
                _plot(comparison, f"cam-{group.key}-{number}-{i}", view, stages) for i, view in enumerate(views, 1)
            ]
            blocks += [Text(told), Audio(case.utt, said.audio(case.utt, loaded[0].frontend)), Figures(figures)]
    if off:
        blocks.append(note_of_others(list(off)))
    return Section("grad_cam", "Grad-CAM", blocks)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _threshold(comparison: Comparison, one: Loaded) -> float:
    carried = dev_threshold(one.system)
    return one.system.results[one.system.shown].pooled.threshold if carried is None else carried


class _Words:
    """What is told of a trial, and its audio."""

    def __init__(self, comparison: Comparison):
        self._wavs = read_wav_scp(comparison.data / "wav.scp", comparison.allow_pipes)
        path = comparison.data / "utt2attack"
        self._attacks = read_map(path)
        require_same_keys(path, self._attacks, self._wavs.place, self._wavs, "correct the data dir")
        self._corpus = comparison.table.any_result.corpus or {}

    def of(self, utt: str) -> str:
        if utt not in self._attacks:
            raise UserError(f"{self._wavs.place}: no line of {utt}; is --data-dir that of these trainings?")
        attack = self._attacks[utt]
        return "bona fide" if attack == "-" else attack_text(attack, self._corpus)

    def audio(self, utt: str, frontend: FrontEndBase) -> str:
        """As FLAC, which loses nothing of what a listener is to hear and every browser plays; turned down where it
        clips."""
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


@dataclass(frozen=True)
class View:
    """What a detector sees of a trial: features (frames, bins) of the first channel of several; own_frames of them are
    the utterance's, the others repeat it; score; images (bins, frames, 3) of the evidence at each stage; is_off: the
    score is not that of the score file."""

    decider: Decider
    utt: str
    channels: int
    features: np.ndarray
    own_frames: int
    score: float
    images: list[np.ndarray]
    is_off: bool

    @classmethod
    def of(cls, decider: Decider, utt: str, stages: Sequence[int]) -> View:
        x, own_frames = decider.loaded.input_of(utt)
        score, maps = evidence(decider.loaded.detector, x, stages)
        features = x[0, 0].numpy()
        images = []
        for stage_map in maps:
            images.append(blend(features, drawn_up(stage_map, *features.shape), BONAFIDE, SPOOF))
        scores = decider.scores
        written = scores.score[[scores.utterance.index(utt)]]
        is_off = computed_otherwise(np.array([score]), written, scores.score)
        return cls(decider, utt, x.shape[1], features, own_frames, score, images, is_off)


def _plot(comparison: Comparison, key: str, view: View, stages: Sequence[int]) -> Markup:
    frames, bins = view.features.shape
    conf, threshold = view.decider.loaded.frontend.conf, view.decider.threshold
    shift, hz = conf.frame_shift, conf.bin_hz
    scale = 1.0 if shift is None else shift
    verdict = "accepted" if view.score > threshold else "rejected"

    def paint(canvas: Canvas) -> None:
        panels = np.atleast_1d(canvas.subplots(len(stages), 1, sharex=True))
        for panel, image, stage in zip(panels, view.images, stages):
            panel.imshow(
                image, origin="lower", aspect="auto", interpolation="none", extent=(0, frames * scale, -0.5, bins - 0.5)
            )
            if view.own_frames < frames:
                panel.axvline(view.own_frames * scale, color="#ffffff", lw=2.2)
                panel.axvline(view.own_frames * scale, color="#000000", lw=1, ls="--")
            panel.grid(visible=False)
            panel.set_title(f"stage {stage}", loc="left", fontsize=8.5, color=INK)
            if hz is not None and len(hz) == bins:
                ticks = np.linspace(0, bins - 1, min(bins, 4)).round().astype(int)
                panel.set_yticks(ticks, [f"{hz[i]:.0f}" for i in ticks])
                panel.set_ylabel("Hz")
            else:
                panel.set_ylabel("bin")
        panels[-1].set_xlabel("frame" if shift is None else "s")

    repeats = view.own_frames < frames
    repeated = "; right of the dashed line the network's input repeats the utterance" if repeats else ""
    channel = "; channel 1 of the input is shown" if view.channels > 1 else ""
    says = f"{view.utt}, score {view.score:.2f}, {verdict} (threshold {threshold:.2f}){repeated}{channel}"
    title = f"{view.decider.loaded.system.recipe}: score {view.score:.2f}, {verdict}\n(threshold {threshold:.2f})"
    return picture(key, title, comparison.corpus, 0.9 + 1.25 * len(stages), says, paint)
