"""The model card: what an exported detector is, how it was measured, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from steps.evaluation.evaluation import AGAIN, Evaluation, read_evaluations, stem_of
from steps.evaluation.labels import corpus_label
from steps.evaluation.score_files import read_cm_scores
from steps.exporting.checking import TOLERANCE, Int8Cost, Parity
from steps.inference.output import about_lines
from steps.metrics.bootstrap import CmFigures, TrialDraw, intervals_of
from steps.metrics.paired_tests import CONFIDENCE
from steps.results.tables import EER, TDCF_2019, Measure
from utils.cli import UserError

_DRAWS = 1000  # as in evaluate_experiment.py


def figures_of(training: Path, head: int | None = None) -> list[Evaluation]:
    """Of each set that the training was evaluated on by its complete network, or by the `head` of this stage, with
    intervals by trial, which are drawn here where they are missing.

    Raises UserError for an evaluation that cannot be read, or whose scores are needed and are not those that it was
    made of.
    """
    return [_with_intervals(one, training) for one in read_evaluations(training) if one.head == head]


def _with_intervals(one: Evaluation, training: Path) -> Evaluation:
    if "trial" in one.intervals:
        return one
    scores = read_cm_scores(training / "scores" / f"{stem_of(one.set_name, one.head)}.txt")
    rates = None if one.asv is None or one.pooled.min_tdcf_2019 is None else one.asv.rates
    figures = CmFigures(scores.bonafide, scores.score, rates)
    if abs(figures(np.ones(scores.score.size, np.int32))[0] - one.pooled.eer) > 1e-11:
        raise UserError(f"{one.place}: not made of the scores that are there now; {AGAIN}")
    return replace(one, intervals={"trial": intervals_of(figures, TrialDraw(scores.bonafide), _DRAWS)})


def _with_interval(measure: Measure, one: Evaluation) -> str:
    value, ends = measure.of(one), one.intervals["trial"].get(measure.attribute)
    if value is None:
        return "-"
    return measure.text(value) + ("" if ends is None else f" ({measure.span(ends)})")


@dataclass(frozen=True)
class ExportedFile:
    """parity: None for int8, whose scores are others."""

    name: str
    bytes: int
    sha256: str
    parity: Parity | None


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [*("| " + " | ".join(cells) + " |" for cells in (titles, ["---"] * len(titles), *rows)), ""]


def _span(ends: Sequence[float] | None, digits: int) -> str:
    return "" if ends is None else f" ({ends[0]:.{digits}f} to {ends[1]:.{digits}f})"


def not_for(about: Mapping[str, Any], corpus: Mapping[str, Any], frontend: Mapping[str, Any]) -> list[str]:
    """What the model must not be used for, a sentence each."""
    says = []
    if about["mini_corpus"]:
        says.append(
            "**For a verdict on any recording.** It was trained on the mini corpus, which is small, made by a program"
            " and for trying the toolkit: its scores are evidence about nothing outside of it."
        )
    says += [
        (
            "As the only ground for a decision about a person or a recording: it errs at the rates below, on speech"
            " like that it was trained on."
        ),
        (
            "On other languages, microphones, codecs, noise or attacks than its training had, without measuring it"
            " there first: errors may be many times as frequent, and the log-likelihood ratio is then no such thing."
        ),
        (
            "On recordings that are false in places only, longer than the stretch that it looks at (see the contract),"
            " unless cut into windows."
        ),
    ]
    kind = corpus.get("recipe") or corpus.get("name", "").rsplit(" ", 1)[-1]
    if kind == "LA":
        says.append("Against replayed speech: it was trained on synthetic and converted speech.")
    if kind == "PA":
        says.append("Against synthetic or converted speech that is not replayed: it was trained on replayed speech.")
    if frontend["type"] == "log_spectrum":
        says.append(
            "On audio with stretches of digital silence: the logarithm turns them into values that training did not"
            " have, and scores far beyond all others come of it."
        )
    return says


def model_card(
    about: Mapping[str, Any],
    corpus: Mapping[str, Any],
    confs: Mapping[str, Any],
    files: Sequence[ExportedFile],
    figures: Sequence[Evaluation],
    int8: Int8Cost | None,
    checked_on: str,
    measured_on: str,
    made_by: str,
    stress: str | None = None,
) -> str:
    """Markdown. about: of FakeSpeechDetector.about(); confs: frontend, model, train (may lack) and what else conf.yaml
    has; checked_on, measured_on: data dirs of parity and of int8's cost; made_by: versions in words; stress: as
    steps/experiment/stress_results.py finds it."""
    frontend = confs["frontend"]
    option = f" --exit {about['exit']['stage']}" if about.get("exit") else ""
    lines = [f"# Model card: {about['model']}", ""]
    if about["mini_corpus"]:
        lines += ["> **Trained on the mini corpus: for trying the toolkit only. No verdict of it is evidence.**", ""]
    lines += [
        (
            "A detector of fake speech: the score of a recording is higher the more it resembles bona fide speech. "
            f"Trained on **{corpus_label(corpus)}**."
        ),
        "",
        *(f"* {line}" for line in about_lines(dict(about))),
        "",
        "## Must not be used",
        "",
        *(f"* {line}" for line in not_for(about, corpus, frontend)),
        "",
        (
            "It is meant for research on fake speech detection: comparing detectors, measuring them on other corpora,"
            " and parts of systems whose errors have been measured where they are used."
        ),
        "",
        "## Contract",
        "",
        *_table(
            ["", "name", "type and shape", "what"],
            [
                [
                    "input",
                    "`waveform`",
                    "float32 (batch, samples), at least 1",
                    f"full scale 1, one channel, {about['sample_rate']} Hz; nothing is resampled",
                ],
                [
                    "input",
                    "`lengths`",
                    "int64 (batch,), at least 1",
                    (
                        "samples of each that count; what is after them is not looked at. May be left out in ONNX: all"
                        " count then"
                    ),
                ],
                [
                    "output",
                    "`score`",
                    "float32 (batch,)",
                    f"higher = bona fide; what `steps/score.py{option}` gives an utterance",
                ],
            ],
        ),
        (
            f"The network sees {frontend['network_input']['frames']} frames, the first {about['window_seconds']:.2f} s;"
            " a shorter recording is continued as in training, a longer one is cut off. NaN and infinite samples give"
            " such scores."
        ),
        "",
        "## Files",
        "",
        *_table(
            ["file", "bytes", "largest difference from the toolkit's score", "SHA-256"],
            [
                [
                    f"`{one.name}`",
                    str(one.bytes),
                    "8 bits, see below" if one.parity is None else f"{one.parity.worst:.1e} (`{one.parity.utterance}`)",
                    f"`{one.sha256}`",
                ]
                for one in files
            ],
        ),
    ]
    checked = next((one.parity for one in files if one.parity), None)
    if checked is not None:
        lines += [
            (
                f"Checked when exported, on {checked.utterances} utterances of {checked_on}, alone and in batches of"
                f" unequal lengths; scores from {checked.lowest:.2f} to {checked.highest:.2f}; a difference over"
                f" {TOLERANCE:g} would have been refused."
            ),
            "",
        ]
    lines += ["## Measured", ""]
    if figures:
        lines += _table(
            ["set", "corpus", "bona fide", "spoof", "EER %", "min t-DCF (2019)"],
            [
                [
                    one.set_name,
                    one.corpus_name,
                    str(one.n_bonafide),
                    str(one.pooled.n_spoof),
                    _with_interval(EER, one),
                    _with_interval(TDCF_2019, one),
                ]
                for one in figures
            ],
        )
        lines += [
            (
                f"In brackets {100 * CONFIDENCE:.0f} % intervals of the bootstrap over trials. They hold for other"
                " trials like these, not for other speakers, attacks or channels, nor for another training."
            ),
            "",
        ]
    else:
        lines += ["It was not evaluated: how often it errs is not known.", ""]
    if stress is not None:
        lines += [f"Manipulated files (`steps/stress.py`), all trainings of the experiment: {stress}", ""]
    if int8 is not None:
        lines += [
            "## int8",
            "",
            (
                f"Convolutions in 8 bits, except the first. On {int8.trials} trials of {measured_on}, both one after"
                " the other on one thread:"
            ),
            "",
            *_table(
                ["", "float32", "int8", "difference"],
                [
                    [
                        "EER %",
                        f"{int8.eer:.2f}",
                        f"{int8.eer_int8:.2f}",
                        f"{int8.eer_int8 - int8.eer:+.2f}{_span(int8.interval, 2)}",
                    ],
                    [
                        "processor ms per utterance, median",
                        *(f"{1000 * s:.1f}" for s in int8.seconds),
                        f"{int8.ratio:.2f} times as fast",
                    ],
                    ["mean change of a score", "", "", f"{int8.moved:.3f}"],
                ],
            ),
        ]
    rest = {key: value for key, value in confs.items() if key not in ("corpus",)}
    lines += [
        "## Trained by",
        "",
        made_by,
        "",
        "```yaml",
        yaml.safe_dump(rest, sort_keys=False, allow_unicode=True, default_flow_style=None).rstrip(),
        "```",
        "",
        "Corpus:",
        "",
        "```yaml",
        yaml.safe_dump(dict(corpus), sort_keys=False, allow_unicode=True, default_flow_style=None).rstrip(),
        "```",
        "",
    ]
    return "\n".join(lines)
