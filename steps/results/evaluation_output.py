"""What an evaluation comes to: the content of metrics.json, the tables and plots beside it, and the text for a
terminal."""

from __future__ import annotations

import textwrap
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.evaluation.breakdown import Evaluation, Figures
from steps.evaluation.environments import EnvironmentEvaluation
from steps.evaluation.groups import AttackGroup, DurationGroup
from steps.evaluation.speakers import SpeakerFigures
from steps.metrics.bootstrap import Interval
from steps.results.environment_output import environment_lines, environment_metrics, environment_table
from steps.results.group_output import (
    DETECTION_COLUMNS,
    cells,
    detection_metrics,
    duration_lines,
    duration_metrics,
    group_table,
    known_attack_metrics,
    tandem_metrics,
)
from steps.results.table_output import pooled_lines, rows_of, table_lines
from utils.cli import UserError, system_error_text
from utils.files import write_aside, write_json, write_lines


@dataclass(frozen=True)
class Decisions:
    """Error rates, fractions from 0 to 1, of accepting what scores `threshold` or more."""

    threshold: float
    miss: float
    false_alarm: float

    @property
    def balanced_accuracy(self) -> float:
        return 1 - (self.miss + self.false_alarm) / 2


@dataclass(frozen=True)
class Results:
    """All figures of one score file. What was not asked for is None; `intervals` by what was drawn ("trial",
    "speaker"), then by figure, fractions and costs."""

    title: str
    corpus: dict[str, Any] | None
    label: str
    cm_scores: Path
    asv_scores: Path | None
    pooled: Evaluation
    intervals: dict[str, dict[str, Interval]]
    speakers: dict[str, SpeakerFigures] | None
    environments: EnvironmentEvaluation | None
    durations: list[DurationGroup] | None
    known_attacks: dict[str, AttackGroup] | None
    decisions: Decisions | None = None


def figures_of(figures: Figures) -> dict:
    return {
        "eer": 100 * figures.eer,
        "min_tdcf_2019": figures.min_tdcf_2019,
        "min_tdcf_2021": figures.min_tdcf_2021,
        **detection_metrics(figures.detection),
    }


def metrics_of(result: Evaluation) -> dict:
    asv = result.asv
    return {
        **figures_of(result.pooled),
        **tandem_metrics(result),
        "eer_threshold": result.pooled.threshold,
        "asv_eer": None if asv is None else 100 * asv.eer,
        "n_bonafide": result.n_bonafide,
        "n_spoof": result.pooled.n_spoof,
        "per_attack": {
            name: {**figures_of(figures), "n_spoof": figures.n_spoof, "asv_rate": figures.asv_rate}
            for name, figures in result.per_attack.items()
        },
        "asv": None
        if asv is None
        else {
            "threshold": asv.threshold,
            "miss_rate": asv.rates.miss,
            "false_alarm_rate": asv.rates.false_alarm,
            "spoof_miss_rate": asv.rates.miss_spoof,
        },
        "warnings": result.warnings,
    }


def interval_metrics(intervals: dict[str, dict[str, Interval]]) -> dict[str, dict[str, list[float]]]:
    """EER in percent, as everywhere in metrics.json."""
    return {
        f"by_{unit}": {name: [100 * end if name == "eer" else end for end in ends] for name, ends in figures.items()}
        for unit, figures in intervals.items()
    }


def metrics(results: Results) -> dict[str, Any]:
    """What metrics.json holds."""
    speakers = results.speakers
    return {
        "title": results.title,
        "corpus": results.corpus,
        "cm_scores": str(results.cm_scores),
        "asv_scores": None if results.asv_scores is None else str(results.asv_scores),
        **metrics_of(results.pooled),
        "intervals": interval_metrics(results.intervals),
        "decisions": None
        if results.decisions is None
        else {
            "threshold": results.decisions.threshold,
            "miss_rate": 100 * results.decisions.miss,
            "false_alarm_rate": 100 * results.decisions.false_alarm,
            "balanced_accuracy": 100 * results.decisions.balanced_accuracy,
        },
        "per_speaker": None
        if speakers is None
        else {name: speaker_metrics(figures) for name, figures in speakers.items()},
        **environment_metrics(results.environments),
        "known_attacks": known_attack_metrics(results.known_attacks),
        "per_duration": duration_metrics(results.durations),
    }


def tsv_lines(result: Evaluation, corpus: str) -> list[str]:
    lines = [
        "attack\tn_spoof\teer_percent\tmin_tdcf_2019\tmin_tdcf_2021\tasv_rate\tcorpus\t" + "\t".join(DETECTION_COLUMNS)
    ]
    for name, figures in rows_of(result):
        values = [figures.n_spoof, 100 * figures.eer, figures.min_tdcf_2019, figures.min_tdcf_2021, figures.asv_rate]
        added = cells(detection_metrics(figures.detection))
        lines.append("\t".join([name, *("" if value is None else str(value) for value in values), corpus, *added]))
    return lines


def percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def speaker_metrics(figures: SpeakerFigures) -> dict:
    return {
        "n_bonafide": figures.n_bonafide,
        "n_spoof": figures.n_spoof,
        "miss_rate": percent(figures.miss),
        "eer": percent(figures.eer),
        "eer_own_spoof": percent(figures.own_eer),
    }


def speaker_lines(figures: dict[str, SpeakerFigures]) -> list[str]:
    lines = ["speaker\tn_bonafide\tn_spoof\tmiss_rate_percent\teer_percent\teer_own_spoof_percent"]
    for name, one in figures.items():
        lines.append("\t".join([name, *("" if v is None else str(v) for v in speaker_metrics(one).values())]))
    return lines


def write_plots(out: Path, results: Results, plot: bool) -> None:
    """det.png and attack_by_environment.png; the one that is not drawn goes, if an older one is there."""
    if not plot:
        (out / "det.png").unlink(missing_ok=True)
    if not plot or results.environments is None:
        (out / "attack_by_environment.png").unlink(missing_ok=True)
    if not plot:
        return
    from matplotlib import rc_context  # here, because it takes a while to load

    from steps.results.det_plot import write_det_plot

    with rc_context({"text.parse_math": False}), warnings.catch_warnings():  # names may have dollar signs
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # or be in a script that the font lacks
        with write_aside(out / "det.png", "wb") as handle:
            write_det_plot(handle, results.pooled, results.title, results.label)
        if results.environments is not None:
            from steps.results.heat_map import write_heat_map

            with write_aside(out / "attack_by_environment.png", "wb") as handle:
                write_heat_map(handle, results.environments, results.title, results.label)


def write_table(path: Path, lines: list[str] | None) -> None:
    """Lines to `path`; without any, an older file goes."""
    if lines is None:
        path.unlink(missing_ok=True)
    else:
        write_lines(path, lines)


def write_results(out: Path, results: Results, plot: bool) -> list[str]:
    """Write the tables, with `plot` the plots, and metrics.json last, to the folder `out`; returns the files' names.

    A table or plot of what was not asked for goes, if an older one is there. Raises UserError where it cannot be
    written.
    """
    label, speakers, rooms, durations = results.label, results.speakers, results.environments, results.durations
    try:
        write_plots(out, results, plot)
        write_lines(out / "per_attack.tsv", tsv_lines(results.pooled, label))
        write_table(out / "per_speaker.tsv", None if speakers is None else speaker_lines(speakers))
        write_table(out / "per_environment.tsv", None if rooms is None else environment_lines(rooms, label))
        write_table(out / "per_duration.tsv", None if durations is None else duration_lines(durations, label))
        write_json(out / "metrics.json", metrics(results))
    except OSError as error:
        raise UserError(f"{out}: cannot write the results there: {system_error_text(error) or error}") from None
    there = {
        "metrics.json": True,
        "per_attack.tsv": True,
        "per_speaker.tsv": speakers is not None,
        "per_duration.tsv": durations is not None,
        "det.png": plot,
        "per_environment.tsv": rooms is not None,
        "attack_by_environment.png": plot and rooms is not None,
    }
    return [name for name, written in there.items() if written]


def report_lines(results: Results) -> list[str]:
    """The text for a terminal, at most 80 columns wide."""
    lines = [
        *table_lines(results.pooled, results.title, results.label),
        "",
        *pooled_lines(results.pooled, results.intervals),
    ]
    if (made := results.decisions) is not None:
        lines += textwrap.wrap(
            f"at the threshold {made.threshold:g}: {100 * made.miss:.2f} % of the bona fide trials rejected, "
            f"{100 * made.false_alarm:.2f} % of the spoof trials accepted, balanced accuracy "
            f"{100 * made.balanced_accuracy:.2f} %",
            80,
        )
    if results.known_attacks is not None or results.durations is not None:
        lines += ["", *group_table(results.known_attacks, results.durations)]
    if results.environments is not None:
        lines += ["", *environment_table(results.environments)]
    return lines
