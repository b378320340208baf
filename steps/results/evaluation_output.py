"""One evaluation as files and on the terminal: TSV tables and plots beside evaluation.json, and text of 80 columns."""

from __future__ import annotations

import json
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from steps.evaluation.coverage import NO_COVERAGE
from steps.evaluation.environments import ATTACK_FACTORS, ENVIRONMENT_FACTORS, Factor
from steps.evaluation.evaluation import (
    ERRORS,
    FILE,
    ConditionGroup,
    Coverage,
    DurationGroup,
    EnvironmentFigures,
    Evaluation,
    Figures,
    GroupFigures,
    SpeakerFigures,
    to_json,
    write_evaluation,
)
from steps.evaluation.labels import figure_text, shorten
from steps.evaluation.measuring import Breakdowns, measure
from steps.metrics.paired_tests import CONFIDENCE
from steps.results.coverage_plot import write_coverage_plot
from steps.results.det_plot import write_det_plot
from steps.results.heat_map import write_heat_map
from utils.cli import warn
from utils.files import write_aside, write_lines

FILES = (  # beside evaluation.json
    "per_attack.tsv",
    "per_speaker.tsv",
    "per_duration.tsv",
    "per_condition.tsv",
    "det.png",
    "coverage.png",
    "per_environment.tsv",
    "attack_by_environment.png",
)
WIDTH = 80
ATTACK_WIDTH, FACTOR_WIDTH = 26, 29  # of the names in a table; the rest of the 80 columns is for the figures
TDCF = ("min_tdcf_2019", "min_tdcf_2021", "asv_rate")
GROUP = ("n_bonafide", "n_spoof", "eer_percent", *TDCF)
DETECTION = ("rocch_eer_percent", "auc", "min_dcf", "act_dcf", "cllr", "min_cllr", "balanced_accuracy_percent")
NO_ASV = "t-DCF: not computed, because no ASV scores were given (--asv-scores)"
POOLED_ASV = (
    "By environment, the t-DCF takes the ASV's rates of all its trials, as ASV scores name no environments; by attack "
    "factor, the ASV's spoof miss rate of those attacks' trials"
)
Row = dict[str, Any]  # of a TSV file: value by column
_Printed = tuple[str, str, float | None, int, float]  # a row: name, key of an interval, value, digits, factor


def evaluate_files(
    cm_scores: Path,
    out: Path | None,
    asv_scores: Path | None = None,
    protocol: Path | None = None,
    corpus_json: Path | None = None,
    breakdowns: Breakdowns | None = None,
    *,
    plot: bool = True,
    as_json: bool = False,
    **options: Any,
) -> None:
    """Evaluate one score file as steps.evaluation.measuring.measure does, write the results to the folder `out` (None:
    nowhere) and print the tables, or with `as_json` the content of evaluation.json."""
    result = measure(cm_scores, asv_scores, protocol, corpus_json, breakdowns, **options)
    written = [] if out is None else write_results(out, result, plot)
    if as_json:
        print(json.dumps(to_json(result), indent=2, allow_nan=False))
    else:
        print(*report_lines(result), sep="\n")
        if written:
            text = f"written: {out}/{', '.join(written)}"
            print("", *textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False), sep="\n")
    sys.stdout.flush()
    for text in result.warnings:
        warn(f"{cm_scores}: {text}")


# ---------------------------------------------------------------- files


def write_results(out: Path, result: Evaluation, plot: bool) -> list[str]:
    """Write the tables, with `plot` the plots, and evaluation.json last, to the folder `out`; returns the files' names.

    An older table or plot that this evaluation does not have is removed.
    """
    corpus, rooms = result.corpus_name, result.environments
    files: dict[str, list[Row] | Callable[[IO[bytes]], None] | None] = dict.fromkeys(FILES)
    files["per_attack.tsv"] = _attack_rows(result)
    if result.per_speaker is not None:
        files["per_speaker.tsv"] = [_speaker_row(*one) for one in result.per_speaker.items()]
    if result.per_duration is not None:
        files["per_duration.tsv"] = [_duration_row(one, corpus) for one in result.per_duration]
    if result.conditions is not None:
        files["per_condition.tsv"] = [
            _condition_row(name, value, group, corpus)
            for name, values in result.conditions.items()
            for value, group in values.items()
        ]
    if plot:
        files["det.png"] = lambda handle: write_det_plot(handle, result)
        if result.coverage is not None:
            files["coverage.png"] = lambda handle: write_coverage_plot(handle, result)
    if rooms is not None:
        files["per_environment.tsv"] = environment_rows(rooms, corpus)
        if plot:
            files["attack_by_environment.png"] = lambda handle: write_heat_map(handle, rooms, result.title, corpus)
    for name, content in files.items():
        if content is None:
            (out / name).unlink(missing_ok=True)
        elif callable(content):
            _write_plot(out / name, content)
        else:
            write_lines(out / name, tsv_lines(content))
    write_evaluation(out, result)
    return [FILE, *(name for name, content in files.items() if content is not None)]


def _write_plot(path: Path, draw: Callable[[IO[bytes]], None]) -> None:
    from matplotlib import rc_context  # here, because it takes a while to load

    with rc_context({"text.parse_math": False}), warnings.catch_warnings():  # names may have dollar signs
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # or be in a script that the font lacks
        with write_aside(path, "wb") as handle:
            draw(handle)


def tsv_lines(rows: Sequence[Row]) -> list[str]:
    """The lines of a TSV file; a figure that is None is an empty cell."""
    cells = [["" if value is None else str(value) for value in row.values()] for row in rows]
    return ["\t".join(line) for line in (rows[0], *cells)]


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _columns(one: object, columns: Sequence[str]) -> Row:
    """The attributes of `one` by column; the column x_percent is the fraction x in percent. All are None for None."""
    row = {}
    for column in columns:
        value = getattr(one, column.removesuffix("_percent"), None)
        row[column] = _percent(value) if column.endswith("_percent") else value
    return row


def _attack_rows(result: Evaluation) -> list[Row]:
    return [
        {"attack": name, **_columns(one, ("n_spoof", "eer_percent", *TDCF)), "corpus": result.corpus_name}
        | _columns(one.detection, DETECTION)
        for name, one in _attacks_and_pooled(result)
    ]


def _speaker_row(name: str, one: SpeakerFigures) -> Row:
    return {"speaker": name, "n_bonafide": one.n_bonafide, "n_spoof": one.n_spoof} | {
        "miss_rate_percent": _percent(one.miss),
        "eer_percent": _percent(one.eer),
        "eer_own_spoof_percent": _percent(one.own_eer),
    }


def _duration_row(group: DurationGroup, corpus: str) -> Row:
    return {
        "shortest_seconds": group.shortest,
        "longest_seconds": group.longest,
        **_columns(group.figures, GROUP),
        **_columns(group.figures.detection, DETECTION),
        "corpus": corpus,
    }


def _condition_row(name: str, value: str, group: ConditionGroup, corpus: str) -> Row:
    """against: which bona fide trials, those of the value or all."""
    eer, cost = (group.intervals.get(key, (None, None)) for key in ("eer", "min_tdcf_2021"))
    return {
        "condition": name,
        "value": value,
        "against": group.against,
        **_columns(group.figures, GROUP),
        "eer_percent_low": _percent(eer[0]),
        "eer_percent_high": _percent(eer[1]),
        "min_tdcf_2021_low": cost[0],
        "min_tdcf_2021_high": cost[1],
        **_columns(group.figures.detection, DETECTION),
        "corpus": corpus,
    }


def environment_rows(found: EnvironmentFigures, corpus: str) -> list[Row]:
    """`of`: whether the factor is of the environment or of the attack."""
    parts = (
        ("environment", ENVIRONMENT_FACTORS, found.per_environment),
        ("attack", ATTACK_FACTORS, found.per_attack_factor),
    )
    rows = []
    for of, factors, figures in parts:
        for factor in factors:
            for letter, level in factor.levels.items():
                one = figures[factor.key][letter]
                row = {"of": of, "factor": factor.name, "letter": letter, "range": level, **_columns(one, GROUP)}
                rows.append({**row, "corpus": corpus, **_columns(one.detection, DETECTION)})
    return rows


# ---------------------------------------------------------------- terminal


def report_lines(result: Evaluation) -> list[str]:
    """The text for a terminal, at most 80 columns wide."""
    lines = [*_attack_table(result), "", *_pooled_table(result)]
    if (made := result.decisions) is not None:
        lines += textwrap.wrap(
            f"at the threshold {made.threshold:g}: {100 * made.miss:.2f} % of the bona fide trials rejected, "
            f"{100 * made.false_alarm:.2f} % of the spoof trials accepted, balanced accuracy "
            f"{100 * made.balanced_accuracy:.2f} %, accuracy {_shown(made.accuracy, 2, 100)} %, "
            f"F1 {_shown(made.f1, 4)}",
            WIDTH,
        )
    if result.overlap is not None and (text := result.overlap.sentence):
        lines += textwrap.wrap(text, WIDTH)
    if result.known_attacks is not None or result.per_duration is not None:
        lines += ["", *_group_table(result)]
    if result.conditions:
        lines += ["", *_condition_tables(result.conditions)]
    if result.environments is not None:
        lines += ["", *environment_table(result.environments)]
    return lines


def _shown(value: float | None, digits: int, factor: float = 1) -> str:
    return "-" if value is None else figure_text(factor * value, digits)


def _attacks_and_pooled(result: Evaluation) -> list[tuple[str, Figures]]:
    return [*result.per_attack.items(), ("pooled", result.pooled)]


def _attack_table(result: Evaluation) -> list[str]:
    """Longer names of attacks are shortened in their middle."""
    lines = textwrap.wrap(f"{result.title} - {result.corpus_name}", WIDTH)
    lines.append(f"{result.n_bonafide} bona fide and {result.pooled.n_spoof} spoof trials")
    if result.asv is None:
        lines.append(NO_ASV)
    else:
        eer, rejected = 100 * result.asv.eer, 100 * result.asv.rates.miss_spoof
        lines.append(f"ASV: EER {eer:.2f} %, and it rejects {rejected:.1f} % of the spoof trials by itself")
    rows = _attacks_and_pooled(result)
    width = min(max(len(name) for name, _ in rows), ATTACK_WIDTH)
    lines += [
        "",
        f"{'':{width}}    spoof            min t-DCF  min t-DCF  ASV's spoof",
        f"{'attack':{width}}   trials    EER %       2019       2021  miss rate of",
    ]
    for name, one in rows:
        of_whom = {"attack": "the attack", "pooled": "all attacks", None: "-"}[one.asv_rate]
        costs = f"{_shown(one.min_tdcf_2019, 4):>10} {_shown(one.min_tdcf_2021, 4):>10}"
        lines.append(f"{shorten(name, width):{width}} {one.n_spoof:8d} {100 * one.eer:8.2f} {costs}  {of_whom}")
    return lines


def _pooled_table(result: Evaluation) -> list[str]:
    """All figures of all attacks together, with the intervals that there are."""
    one = result.pooled
    rows: list[_Printed] = [
        ("EER %", "eer", one.eer, 2, 100),
        ("EER % on the convex hull", "", one.detection.rocch_eer, 2, 100),
        ("area under the ROC", "", one.detection.auc, 4, 1),
        ("minDCF", "", one.detection.min_dcf, 4, 1),
        ("min Cllr, bits", "", one.detection.min_cllr, 4, 1),
    ]
    if result.asv is not None:
        rows += [
            ("min t-DCF 2019", "min_tdcf_2019", one.min_tdcf_2019, 4, 1),
            ("min t-DCF 2021", "min_tdcf_2021", one.min_tdcf_2021, 4, 1),
            ("min a-DCF with the ASV", "", result.min_adcf, 4, 1),
            ("t-EER % with the ASV", "", result.tandem_eer, 2, 100),
        ]
    rows += [
        ("actDCF *", "", one.detection.act_dcf, 4, 1),
        ("Cllr, bits *", "", one.detection.cllr, 4, 1),
        ("balanced accuracy at 0, % *", "", one.detection.balanced_accuracy, 2, 100),
    ]
    rows += _coverage_rows(result.coverage)
    units = "".join(f"  {f'{100 * CONFIDENCE:.0f} % by {unit}':>18}" for unit in result.intervals)
    lines = [f"{'all attacks':27} {'':>8}{units}"]
    for name, key, value, digits, factor in rows:
        line = f"{name:27} {_shown(value, digits, factor):>8}"
        for figures in result.intervals.values():
            interval = " to ".join(f"{factor * end:.{digits}f}" for end in figures.get(key, ()))
            line += f"  {interval:>18}"
        lines.append(line.rstrip())
    lines += ["* takes the scores as natural log-likelihood ratios (steps/calibrate.py makes", "them so)"]
    note = NO_COVERAGE if result.coverage is None else f"of calibrated scores, at these costs: {result.coverage.rule}"
    return [*lines, *textwrap.wrap(f"** {note}", WIDTH)]


def _coverage_rows(found: Coverage | None) -> list[_Printed]:
    """The share that is undecided, `-` without LLRs; with them the errors, and coverage against error."""
    rows: list[_Printed] = [("undecided % **", "", None if found is None else found.undecided, 2, 100)]
    if found is None:
        return rows
    rows += [
        ("errors % where decided **", "", found.error, 2, 100),
        ("errors % of all **", "", found.error_of_all, 2, 100),
        ("area of coverage, error **", "", found.aurc, 4, 1),
    ]
    shares = zip(ERRORS, found.within)
    return rows + [(f"coverage %, {100 * error:g} % errors **", "", share, 2, 100) for error, share in shares]


def _group_table(result: Evaluation) -> list[str]:
    """Of known and unknown attacks and of durations; a group without attacks is not shown."""
    known = [(key, group) for key, group in (result.known_attacks or {}).items() if group.attacks]
    rows = [(f"{key} attacks: {len(group.attacks)}", group.figures) for key, group in known]
    for group in result.per_duration or []:
        rows.append((f"{group.shortest:.2f} to {group.longest:.2f} s", group.figures))
    width = max(len(name) for name, _ in rows)
    lines = [
        f"{'':{width}} bona fide    spoof           min t-DCF",
        f"{'':{width}}    trials   trials    EER %       2019   minDCF     Cllr",
    ]
    for name, one in rows:
        of_scores = _columns(one.detection, DETECTION)
        lines.append(
            f"{name:{width}} {one.n_bonafide:9d} {one.n_spoof:8d} {_shown(one.eer, 2, 100):>8} "
            f"{_shown(one.min_tdcf_2019, 4):>10} {_shown(of_scores['min_dcf'], 4):>8} {_shown(of_scores['cllr'], 4):>8}"
        )
    return lines


def _condition_tables(conditions: Mapping[str, Mapping[str, ConditionGroup]]) -> list[str]:
    width = min(28, max(len(value) for values in conditions.values() for value in values) + 2)
    lines = [f"{'':{width}} bona fide    spoof            95 % by         min t-DCF"]
    some_of_all = False
    for name, values in conditions.items():
        of_all = any(group.against == "all" for group in values.values())
        some_of_all |= of_all
        lines.append(f"{name + (' *' if of_all else ''):{width}}    trials   trials   EER %    trial            2021")
        for value, group in values.items():
            one, ends = group.figures, group.intervals.get("eer")
            span = "-" if ends is None else " to ".join(f"{100 * end:.2f}" for end in ends)
            lines.append(
                f"{shorten('  ' + value, width):{width}} {one.n_bonafide:9d} {one.n_spoof:8d} "
                f"{_shown(one.eer, 2, 100):>7} {span:>16} {_shown(one.min_tdcf_2021, 4):>9}"
            )
    return [*lines, *["* of spoof trials alone: against all bona fide trials"] * some_of_all]


def environment_table(found: EnvironmentFigures) -> list[str]:
    """Figures by factor of the environment, then of the attack."""
    lines = [
        f"{'':{FACTOR_WIDTH}} bona fide    spoof           min t-DCF  min t-DCF",
        f"{'environment':{FACTOR_WIDTH}}    trials   trials    EER %       2019       2021",
        *_factor_rows(ENVIRONMENT_FACTORS, found.per_environment, ""),
        "attack, against all bona fide trials",
        *_factor_rows(ATTACK_FACTORS, found.per_attack_factor, "*"),
    ]
    rates = {one.asv_rate for levels in found.per_attack_factor.values() for one in levels.values()}
    if rates != {None}:
        lacking = "; * that of all attacks, as the ASV scores lack some of these" if "pooled" in rates else ""
        lines += textwrap.wrap(f"{POOLED_ASV}{lacking}.", WIDTH)
    return lines


def _factor_rows(factors: Sequence[Factor], figures: dict[str, dict[str, GroupFigures]], star: str) -> Iterator[str]:
    """star: marks a t-DCF with the ASV's rate of all attacks."""
    for factor in factors:
        yield factor.name
        for letter, level in factor.levels.items():
            one = figures[factor.key][letter]
            costs = f"{_shown(one.min_tdcf_2019, 4):>10} {_shown(one.min_tdcf_2021, 4):>10}"
            name, eer = f"  {letter}  {level}", _shown(one.eer, 2, 100)
            mark = star if one.asv_rate == "pooled" else ""
            yield f"{name:{FACTOR_WIDTH}} {one.n_bonafide:9d} {one.n_spoof:8d} {eer:>8} {costs}{mark}".rstrip()
