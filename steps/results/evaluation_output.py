"""What an evaluation comes to: the tables and plots beside evaluation.json, and the text for a terminal."""

from __future__ import annotations

import textwrap
import warnings
from pathlib import Path

from steps.evaluation.evaluation import FILE, Evaluation, SpeakerFigures, write_evaluation
from steps.results.environment_output import environment_lines, environment_table
from steps.results.group_output import (
    DETECTION_COLUMNS,
    cells,
    detection_cells,
    duration_lines,
    group_table,
    percent,
)
from steps.results.table_output import pooled_lines, rows_of, table_lines
from utils.cli import UserError, system_error_text
from utils.files import write_aside, write_lines


def tsv_lines(result: Evaluation, corpus: str) -> list[str]:
    """The lines of per_attack.tsv."""
    columns = ["attack", "n_spoof", "eer_percent", "min_tdcf_2019", "min_tdcf_2021", "asv_rate", "corpus"]
    lines = ["\t".join([*columns, *DETECTION_COLUMNS])]
    for name, one in rows_of(result):
        values = [name, one.n_spoof, percent(one.eer), one.min_tdcf_2019, one.min_tdcf_2021, one.asv_rate, corpus]
        lines.append("\t".join([*cells(values), *detection_cells(one.detection)]))
    return lines


def speaker_lines(figures: dict[str, SpeakerFigures]) -> list[str]:
    """The lines of per_speaker.tsv."""
    lines = ["speaker\tn_bonafide\tn_spoof\tmiss_rate_percent\teer_percent\teer_own_spoof_percent"]
    for name, one in figures.items():
        rates = map(percent, (one.miss, one.eer, one.own_eer))
        lines.append("\t".join(cells([name, one.n_bonafide, one.n_spoof, *rates])))
    return lines


def write_plots(out: Path, result: Evaluation, plot: bool) -> None:
    """det.png and attack_by_environment.png; the one that is not drawn goes, if an older one is there."""
    if not plot:
        (out / "det.png").unlink(missing_ok=True)
    if not plot or result.environments is None:
        (out / "attack_by_environment.png").unlink(missing_ok=True)
    if not plot:
        return
    from matplotlib import rc_context  # here, because it takes a while to load

    from steps.results.det_plot import write_det_plot

    with rc_context({"text.parse_math": False}), warnings.catch_warnings():  # names may have dollar signs
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # or be in a script that the font lacks
        with write_aside(out / "det.png", "wb") as handle:
            write_det_plot(handle, result)
        if result.environments is not None:
            from steps.results.heat_map import write_heat_map

            with write_aside(out / "attack_by_environment.png", "wb") as handle:
                write_heat_map(handle, result.environments, result.title, result.corpus_name)


def write_table(path: Path, lines: list[str] | None) -> None:
    """Lines to `path`; without any, an older file goes."""
    if lines is None:
        path.unlink(missing_ok=True)
    else:
        write_lines(path, lines)


def write_results(out: Path, result: Evaluation, plot: bool) -> list[str]:
    """Write the tables, with `plot` the plots, and evaluation.json last, to the folder `out`; returns the files' names.

    A table or plot of what was not asked for goes, if an older one is there. Raises UserError where it cannot be
    written.
    """
    label, rooms = result.corpus_name, result.environments
    speakers, durations = result.per_speaker, result.per_duration
    try:
        write_plots(out, result, plot)
        write_lines(out / "per_attack.tsv", tsv_lines(result, label))
        write_table(out / "per_speaker.tsv", None if speakers is None else speaker_lines(speakers))
        write_table(out / "per_environment.tsv", None if rooms is None else environment_lines(rooms, label))
        write_table(out / "per_duration.tsv", None if durations is None else duration_lines(durations, label))
        write_evaluation(out, result)
    except OSError as error:
        raise UserError(f"{out}: cannot write the results there: {system_error_text(error) or error}") from None
    there = {
        FILE: True,
        "per_attack.tsv": True,
        "per_speaker.tsv": speakers is not None,
        "per_duration.tsv": durations is not None,
        "det.png": plot,
        "per_environment.tsv": rooms is not None,
        "attack_by_environment.png": plot and rooms is not None,
    }
    return [name for name, written in there.items() if written]


def report_lines(result: Evaluation) -> list[str]:
    """The text for a terminal, at most 80 columns wide."""
    lines = [
        *table_lines(result),
        "",
        *pooled_lines(result),
    ]
    if (made := result.decisions) is not None:
        lines += textwrap.wrap(
            f"at the threshold {made.threshold:g}: {100 * made.miss:.2f} % of the bona fide trials rejected, "
            f"{100 * made.false_alarm:.2f} % of the spoof trials accepted, balanced accuracy "
            f"{100 * made.balanced_accuracy:.2f} %",
            80,
        )
    if result.known_attacks is not None or result.per_duration is not None:
        lines += ["", *group_table(result.known_attacks, result.per_duration)]
    if result.environments is not None:
        lines += ["", *environment_table(result.environments)]
    return lines
