"""The figures of every set with their intervals, and what the differences come to."""

from __future__ import annotations

from collections.abc import Iterator

from steps.experiment.experiments import Experiment, SetResult
from steps.metrics.paired_tests import interval_of_mean, mean_and_spread
from steps.results.report import resampling
from steps.results.report.blocks import Block, Cell, Heading, Section, Table, Text, filled_table
from steps.results.report.systems import Comparison
from steps.results.tables import (
    LARGEST,
    MEASURES,
    SetTable,
    by_seed,
    families,
    not_evaluated_at_all,
    of_which,
    p_text,
    significance,
    significance_sentences,
)


def over_seeds(results: dict[int, SetResult], attribute: str) -> tuple[float, float] | None:
    values = list(by_seed(results, attribute).values())
    return interval_of_mean(values, LARGEST[attribute]) if values else None


def section(comparison: Comparison) -> Section:
    blocks: list[Block] = [
        Text(
            "Means over seeds with the sample standard deviation; the interval is Student's 95 % interval of that mean."
            " It weighs the chance of training alone. What other trials and other speakers could do is told by the"
            " second table; other attacks might decide otherwise still. Of a t-DCF it is the minimum over thresholds,"
            " normalised. A click on a heading sorts."
        )
    ]
    if any("mini" in table.corpus.lower() for table in comparison.tables):
        blocks.append(
            Text("The mini corpus is a small stand-in: its figures do not stand for the real ASVspoof 2019's.", "note")
        )
    for table in sorted(comparison.tables, key=lambda table: table is not comparison.table):
        blocks += _of_set(comparison, table)
    for name in not_evaluated_at_all(comparison.experiments):
        blocks.append(Text(f"Not evaluated on any set: {name}.", "note"))
    blocks += [Text(f"{e.name}: {note}.", "note") for e in comparison.experiments for note in e.notes]
    return Section("summary", "Summary", blocks)


def _of_set(comparison: Comparison, table: SetTable) -> Iterator[Block]:
    one = table.any_result
    asv = "no ASV scores" if one.asv_eer is None else f"ASV EER {one.asv_eer:.2f} %"
    yield Heading(table.set_name)
    experiments = [e for e, _ in table.rows]
    told = [
        (heading, get)
        for heading, get in (("front end", lambda e: e.frontend), ("trained on", lambda e: e.train_set))
        if len({get(e) for e in experiments}) > 1
    ]
    measures = [m for m in MEASURES if any(by_seed(results, m[1]) for _, results in table.rows)]
    headings = ["network", "method", *(heading for heading, _ in told)]
    left = len(headings)
    for name, _, _ in measures:
        headings += [name, "95 % interval"]
    headings += ["seeds", "parameters", "multiply-adds"]
    rows = []
    for e, results in table.rows:
        row = [Cell(e.model), Cell(e.recipe), *(Cell(get(e)) for _, get in told)]
        for _, attribute, digits in measures:
            row += _measure(results, attribute, digits)
        rows.append([*row, Cell(str(len(results)), len(results)), *_size(e)])
    trials = f"{one.n_bonafide:,} bona fide, {one.n_spoof:,} spoof trials; {asv}"
    yield filled_table(f"{table.corpus}, {table.set_name}: {trials}", headings, rows, left)
    yield from (Text(note, "note") for note in table.notes)
    yield from resampling.blocks(comparison, table)
    yield from _differences(table)


def _measure(results: dict[int, SetResult], attribute: str, digits: int) -> list[Cell]:
    values = list(by_seed(results, attribute).values())
    if not values:
        return [Cell("-"), Cell("-")]
    mean, spread = mean_and_spread(values)
    lacking = "" if len(values) == len(results) else f" ({len(values)} of {len(results)} seeds)"
    text = f"{mean:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}") + lacking
    cells = [Cell(text, mean)]
    ends = over_seeds(results, attribute)
    if ends is None:
        return [*cells, Cell("-")]
    return [*cells, Cell(" to ".join(f"{end:.{digits}f}" for end in ends), ends[1] - ends[0])]


def _size(e: Experiment) -> list[Cell]:
    return [
        Cell("-") if e.parameters is None else Cell(f"{e.parameters:,}", e.parameters),
        Cell("-") if e.multiply_adds is None else Cell(f"{e.multiply_adds / 1e9:.3g} G", e.multiply_adds),
    ]


def _differences(table: SetTable) -> Iterator[Block]:
    for family in families(table):
        measures = significance(family)
        rows = []
        for measure in measures:
            tests = [
                (model, one, measure.corrected.get(model)) for model, one in measure.tests.items() if not one.untested
            ]
            if measure.pooled is not None:
                tests.append(("all networks", measure.pooled, None))
            for model, test, corrected in tests:
                digits = measure.digits
                ends = test.interval
                rows.append(
                    [
                        Cell(measure.name),
                        Cell(model),
                        Cell(f"{test.mean:+.{digits}f}", test.mean),
                        Cell(" to ".join(f"{end:+.{digits}f}" for end in ends), ends[1] - ends[0]),
                        Cell(p_text(test.p_t), test.p_t),
                        Cell("-") if corrected is None else Cell(p_text(corrected), corrected),
                        Cell(str(test.count), test.count),
                    ]
                )
        caption = (
            f"{family.other} less {family.base}{of_which(family.pairs[0].other)}, paired by seed; {table.corpus},"
            f" {table.set_name}"
        )
        headings = ["figure", "network", "difference", "95 % interval", "p, t-test", "p, corrected", "pairs"]
        if rows:
            yield Table(caption, headings, rows, 2)
        yield from (Text(sentence) for sentence in significance_sentences(family, measures))
