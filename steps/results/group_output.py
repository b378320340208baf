"""What is written and printed of the figures beside EER and t-DCF, and of groups of trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from steps.evaluation.breakdown import DetectionFigures, Evaluation
from steps.evaluation.groups import AttackGroup, DurationGroup, GroupFigures
from steps.evaluation.labels import figure_text

WIDTH = 80
DETECTION_COLUMNS = (
    "rocch_eer_percent", "auc", "min_dcf", "act_dcf", "cllr", "min_cllr", "balanced_accuracy_percent",
)  # fmt: skip


def detection_metrics(figures: DetectionFigures | None) -> dict[str, float | None]:
    """Keys of metrics.json, in the order of DETECTION_COLUMNS; rocch_eer and balanced_accuracy in percent. All None
    without figures."""
    if figures is None:
        return dict.fromkeys(name.removesuffix("_percent") for name in DETECTION_COLUMNS)
    return {
        "rocch_eer": 100 * figures.rocch_eer,
        "auc": figures.auc,
        "min_dcf": figures.min_dcf,
        "act_dcf": figures.act_dcf,
        "cllr": figures.cllr,
        "min_cllr": figures.min_cllr,
        "balanced_accuracy": 100 * figures.balanced_accuracy,
    }


def tandem_metrics(result: Evaluation) -> dict[str, float | None]:
    """Keys of metrics.json; tandem_eer in percent."""
    return {
        "min_adcf": result.min_adcf,
        "tandem_eer": None if result.tandem_eer is None else 100 * result.tandem_eer,
    }


def group_metrics(figures: GroupFigures) -> dict[str, float | str | None]:
    """What metrics.json has of a group; rates in percent."""
    return {
        "n_bonafide": figures.n_bonafide,
        "n_spoof": figures.n_spoof,
        "eer": None if figures.eer is None else 100 * figures.eer,
        "min_tdcf_2019": figures.min_tdcf_2019,
        "min_tdcf_2021": figures.min_tdcf_2021,
        "asv_rate": figures.asv_rate,
        **detection_metrics(figures.detection),
    }


def known_attack_metrics(groups: Mapping[str, AttackGroup] | None) -> dict[str, dict] | None:
    """The value of known_attacks in metrics.json: "known" and "unknown", each with its attacks' names."""
    if groups is None:
        return None
    return {key: {"attacks": group.attacks, **group_metrics(group.figures)} for key, group in groups.items()}


def duration_metrics(groups: Sequence[DurationGroup] | None) -> list[dict] | None:
    """The value of per_duration in metrics.json: the groups, the shortest first."""
    if groups is None:
        return None
    return [
        {"shortest_seconds": group.shortest, "longest_seconds": group.longest, **group_metrics(group.figures)}
        for group in groups
    ]


def cells(values: Mapping[str, object]) -> list[str]:
    return ["" if value is None else str(value) for value in values.values()]


def duration_lines(groups: Sequence[DurationGroup], corpus: str) -> list[str]:
    """The lines of per_duration.tsv."""
    columns = ["shortest_seconds", "longest_seconds", "n_bonafide", "n_spoof", "eer_percent", "min_tdcf_2019"]
    lines = ["\t".join([*columns, "min_tdcf_2021", "asv_rate", *DETECTION_COLUMNS, "corpus"])]
    lines += ["\t".join([*cells(group), corpus]) for group in duration_metrics(groups) or []]
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
