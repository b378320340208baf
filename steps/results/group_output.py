"""What is written and printed of the figures beside EER and t-DCF, and of groups of trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from steps.evaluation.evaluation import AttackGroup, DetectionFigures, DurationGroup, GroupFigures
from steps.evaluation.labels import figure_text

WIDTH = 80
DETECTION_COLUMNS = (
    "rocch_eer_percent", "auc", "min_dcf", "act_dcf", "cllr", "min_cllr", "balanced_accuracy_percent",
)  # fmt: skip


def percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def cells(values: Iterable[object]) -> list[str]:
    """Of a TSV file, where a figure that is not there is an empty cell."""
    return ["" if value is None else str(value) for value in values]


def detection_cells(one: DetectionFigures | None) -> list[str]:
    """Those of DETECTION_COLUMNS; all empty without figures."""
    if one is None:
        return [""] * len(DETECTION_COLUMNS)
    rates = percent(one.rocch_eer), percent(one.balanced_accuracy)
    return cells([rates[0], one.auc, one.min_dcf, one.act_dcf, one.cllr, one.min_cllr, rates[1]])


def group_cells(one: GroupFigures) -> list[str]:
    """Of a group, without those of its DetectionFigures."""
    costs = one.min_tdcf_2019, one.min_tdcf_2021
    return cells([one.n_bonafide, one.n_spoof, percent(one.eer), *costs, one.asv_rate])


def duration_lines(groups: Sequence[DurationGroup], corpus: str) -> list[str]:
    """The lines of per_duration.tsv, the shortest group first."""
    columns = ["shortest_seconds", "longest_seconds", "n_bonafide", "n_spoof", "eer_percent", "min_tdcf_2019"]
    lines = ["\t".join([*columns, "min_tdcf_2021", "asv_rate", *DETECTION_COLUMNS, "corpus"])]
    for group in groups:
        own = [*group_cells(group.figures), *detection_cells(group.figures.detection)]
        lines.append("\t".join([*cells([group.shortest, group.longest]), *own, corpus]))
    return lines


def _number(value: float | None, digits: int, factor: float = 1) -> str:
    return "-" if value is None else figure_text(factor * value, digits)


def group_table(known: Mapping[str, AttackGroup] | None, durations: Sequence[DurationGroup] | None) -> list[str]:
    """The table of groups for the terminal, lines of at most 80 columns; none without groups. A group without attacks
    is not shown."""
    rows: list[tuple[str, GroupFigures]] = []
    if known is not None:
        rows += [
            (f"{key} attacks: {len(group.attacks)}", group.figures) for key, group in known.items() if group.attacks
        ]
    if durations is not None:
        rows += [(f"{group.shortest:.2f} to {group.longest:.2f} s", group.figures) for group in durations]
    if not rows:
        return []
    width = max(len(name) for name, _ in rows)
    lines = [
        f"{'':{width}} bona fide    spoof           min t-DCF",
        f"{'':{width}}    trials   trials    EER %       2019   minDCF     Cllr",
    ]
    for name, one in rows:
        min_dcf, cllr = (None, None) if one.detection is None else (one.detection.min_dcf, one.detection.cllr)
        lines.append(
            f"{name:{width}} {one.n_bonafide:9d} {one.n_spoof:8d} {_number(one.eer, 2, 100):>8} "
            f"{_number(one.min_tdcf_2019, 4):>10} {_number(min_dcf, 4):>8} {_number(cllr, 4):>8}"
        )
    return lines
