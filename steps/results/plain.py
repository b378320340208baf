"""The recipe's results as a plain table for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from steps.evaluation.labels import shorten
from steps.experiment.experiments import Experiment
from steps.metrics.paired_tests import PairedTest
from steps.results.tables import (
    MEASURES,
    NO_BASELINE,
    UNDECIDED,
    UNDECIDED_MEANING,
    Measure,
    SetTable,
    collect,
    coverage_rules,
    is_mini,
    mean_over_seeds,
    not_evaluated_at_all,
    of_which,
    significance_sentences,
    without_baseline,
)

PLAIN_WIDTH = 78
UNDECIDED_HEADING = "undec. %"


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, PLAIN_WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _plain_row(name: str, seeds: str, figures: Sequence[str]) -> str:
    """figures: EER and costs, and the share undecided, if the row has one."""
    eer, *costs = figures[: len(MEASURES)]
    last = "".join(f"{share:>9}" for share in figures[len(MEASURES) :])
    return f"  {shorten(name, 17):17}{seeds:>5}{eer:>13}{''.join(f'{cost:>17}' for cost in costs)}{last}".rstrip()


def _interval(test: PairedTest, measure: Measure) -> str:
    return "-" if test.interval is None else ", ".join(measure.text(end, "+") for end in test.interval)


def _plain_table(table: SetTable) -> list[str]:
    one = table.any_result
    lines = _wrapped(f"{table.set_name}, {table.corpus}: {one.n_bonafide} bona fide, {one.pooled.n_spoof} spoof trials")
    lines.append(_plain_row("", "seeds", [*(measure.heading for measure in MEASURES), UNDECIDED_HEADING]))
    found = table.families
    pairs = {pair.other.name: pair for family in found for pair in family.pairs}
    alone = {e.name for e in without_baseline(table)}
    partial = False
    group = None
    for e, results in table.rows:
        if group != (group := (e.model, e.frontend, e.train_set)):
            lines += _wrapped(e.model + of_which(e))
        figures = []
        for measure in MEASURES:
            values = [*measure.by_seed(results).values()]
            incomplete = 0 < len(values) < len(results)
            partial |= incomplete
            figures.append(measure.stat_of(values, len(values)) + ("*" if incomplete else ""))
        share = mean_over_seeds(results, UNDECIDED.of)
        figures.append("-" if share is None else UNDECIDED.text(share))
        lines.append(_plain_row(e.recipe, str(len(results)), figures))
        if e.name in alone:
            lines += _wrapped(f"({NO_BASELINE})", "  ")
        if pair := pairs.get(e.name):
            tests = [pair.test(measure) for measure in MEASURES]
            if not all(test.untested for test in tests):  # else a sentence has the differences
                means = ["-" if test.mean is None else m.text(test.mean, "+") for test, m in zip(tests, MEASURES)]
                lines.append(_plain_row("difference", str(tests[0].count), means))
                lines.append(_plain_row("95 % interval", "", [_interval(*pair) for pair in zip(tests, MEASURES)]))
            if pair.base.variant != e.variant:
                lines += _wrapped(f"(against {pair.base.recipe}, the only baseline of this network)", "  ")
    if partial:
        lines.append("  * not of all seeds: some have no ASV scores")
    sentences = [text for family in found for text in significance_sentences(family)]
    return lines + [line for text in [*sentences, *table.notes] for line in _wrapped(text, "  ")]


def plain(experiments: Sequence[Experiment]) -> str:
    """The comparison for the terminal, in lines of at most 80 columns."""
    tables = collect(experiments)
    lines = []
    for corpus in sorted({table.corpus for table in tables}):
        lines += [f"Results on {corpus}", "=" * min(len(f"Results on {corpus}"), PLAIN_WIDTH)]
        if is_mini(corpus):
            lines += _wrapped("A small stand-in: its figures do not stand for the real ASVspoof 2019's.")
        lines += ["Mean ± standard deviation over seeds; lower is better.", ""]
        here = [table for table in tables if table.corpus == corpus]
        for table in here:
            lines += [*_plain_table(table), ""]
        if rules := coverage_rules(here):
            lines += [*_wrapped(f"{UNDECIDED_HEADING}: mean over seeds. {UNDECIDED_MEANING} {'; '.join(rules)}."), ""]
        if any(table.families for table in here):
            lines += _wrapped("difference: the method minus its baseline, paired by seed.")
            lines.append("")
    notes = [f"not evaluated on any set: {name}" for name in not_evaluated_at_all(experiments)]
    notes += [f"note: {e.name}: {note}" for e in experiments for note in e.notes]
    lines += [line for note in notes for line in _wrapped(note)]
    return "\n".join(lines).rstrip() + "\n"
