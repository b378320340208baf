"""The result: a headline and its figure, the figures of the set shown, then those of the other sets, folded away."""

from __future__ import annotations

from collections.abc import Iterator

from steps.evaluation.evaluation import Evaluation
from steps.experiment.experiments import Experiment
from steps.metrics.paired_tests import mean_and_spread
from steps.results.report import det, resampling
from steps.results.report.blocks import Block, Cell, Folded, Heading, Section, Table, Text, filled_table
from steps.results.report.systems import Comparison
from steps.results.tables import (
    EER,
    MEASURES,
    Measure,
    SetTable,
    compared,
    families,
    not_evaluated_at_all,
    of_which,
    p_text,
    shown_first,
    significance,
    significance_sentences,
    speaker_rows,
)


def section(comparison: Comparison) -> Section:
    blocks: list[Block] = [Text(one.sentence, "headline") for one in compared(comparison.table)]
    blocks += det.blocks(comparison)
    if any("mini" in table.corpus.lower() for table in comparison.tables):
        blocks.append(
            Text("The mini corpus is a small stand-in: its figures do not stand for the real ASVspoof 2019's.", "note")
        )
    blocks += [Heading(comparison.set_name), *_of_set(comparison, comparison.table)]
    others = [table for table in comparison.tables if table is not comparison.table]
    for table in sorted(others, key=shown_first):
        title = "; ".join(one.sentence for one in compared(table)) or table.set_name
        blocks.append(Folded(title, list(_of_set(comparison, table))))
    for name in not_evaluated_at_all(comparison.experiments):
        blocks.append(Text(f"Not evaluated on any set: {name}.", "note"))
    blocks += [Text(f"{e.name}: {note}.", "note") for e in comparison.experiments for note in e.notes]
    return Section("summary", "Result", blocks)


def _of_set(comparison: Comparison, table: SetTable) -> Iterator[Block]:
    one = table.any_result
    asv = "no ASV scores" if one.asv is None else f"ASV EER {100 * one.asv.eer:.2f} %"
    experiments = [e for e, _ in table.rows]
    where = [
        (heading, get)
        for heading, get in (("front end", lambda e: e.frontend), ("trained on", lambda e: e.train_set))
        if len({get(e) for e in experiments}) > 1
    ]
    measures = [m for m in MEASURES if any(m.by_seed(results) for _, results in table.rows)]
    headings = ["network", "method", *(heading for heading, _ in where)]
    left = len(headings)
    headings += [*(measure.heading for measure in measures), "seeds"]
    rows = []
    for e, results in table.rows:
        row = [Cell(e.model), Cell(e.recipe), *(Cell(get(e)) for _, get in where)]
        row += [_measure(results, measure) for measure in measures]
        rows.append([*row, Cell(str(len(results)), len(results))])
    trials = f"{one.n_bonafide:,} bona fide, {one.pooled.n_spoof:,} spoof trials; {asv}"
    yield filled_table(
        f"{table.corpus}, {table.set_name}: {trials}. Mean ± standard deviation over seeds; lower is better",
        headings,
        rows,
        left,
    )
    yield from (Text(note, "note") for note in table.notes)
    yield from _differences(table)
    intervals = list(resampling.intervals_table(comparison, table))
    if intervals:
        yield Folded("95 % intervals by trial and by speaker", intervals)
    if speakers := _speakers(table):
        yield Folded("By speaker", [speakers])
    if table is comparison.table and (sizes := _sizes(table)):
        yield Folded("Sizes of the networks", [sizes])


def _measure(results: dict[int, Evaluation], measure: Measure) -> Cell:
    values = list(measure.by_seed(results).values())
    if not values:
        return Cell("-")
    mean, spread = mean_and_spread(values)
    lacking = "" if len(values) == len(results) else f" ({len(values)} of {len(results)} seeds)"
    deviation = "" if spread is None else f" ±\N{NO-BREAK SPACE}{measure.text(spread)}"
    return Cell(f"{measure.text(mean)}{deviation}{lacking}", mean)


def _sizes(table: SetTable) -> Table | None:
    def row(e: Experiment) -> list[Cell]:
        return [
            Cell(e.model),
            Cell(e.recipe),
            Cell("-") if e.parameters is None else Cell(f"{e.parameters:,}", e.parameters),
            Cell("-") if e.multiply_adds is None else Cell(f"{e.multiply_adds / 1e9:.3g} G", e.multiply_adds),
        ]

    headings = ["network", "method", "parameters", "multiply-adds"]
    made = filled_table(f"{table.corpus}, {table.set_name}", headings, [row(e) for e, _ in table.rows], 2)
    return made if len(made.headings) > 2 else None


def _speakers(table: SetTable) -> Table | None:
    def share(results: dict[int, Evaluation], missed) -> Cell:
        values = [value for result in results.values() if (value := missed(result)) is not None]
        mean = mean_and_spread(values)[0] if values else None
        return Cell("-") if mean is None else Cell(EER.text(mean), mean)

    rows = [
        [Cell(name), Cell(trials), *(share(results, missed) for _, results in table.rows)]
        for name, trials, missed in speaker_rows(table)
    ]
    if not rows:
        return None
    caption = "Bona fide trials rejected at the threshold of the set's EER, %, mean over seeds"
    headings = ["speaker", "bona fide trials", *(f"{e.model}, {e.recipe}" for e, _ in table.rows)]
    return Table(f"{caption}; {table.corpus}, {table.set_name}", headings, rows, 1)


def _differences(table: SetTable) -> Iterator[Block]:
    for family in families(table):
        measures = significance(family)
        rows = []
        for tested in measures:
            measure = tested.measure
            corrected_of = tested.corrected if len(tested.corrected) > 1 else {}
            tests = [(model, one, corrected_of.get(model)) for model, one in tested.tests.items() if not one.untested]
            if tested.pooled is not None:
                tests.append(("all networks", tested.pooled, None))
            for model, test, corrected in tests:
                ends = test.interval
                rows.append(
                    [
                        Cell(measure.name),
                        Cell(model),
                        Cell(measure.text(test.mean, "+"), test.mean),
                        Cell(measure.span(ends, "+"), ends[1] - ends[0]),
                        Cell(p_text(test.p_t), test.p_t),
                        Cell("-") if corrected is None else Cell(p_text(corrected), corrected),
                        Cell(str(test.count), test.count),
                    ]
                )
        caption = (
            f"{family.other} minus {family.base}{of_which(family.pairs[0].other)}, paired by seed; {table.corpus},"
            f" {table.set_name}. The test weighs the chance of training only: other trials, speakers or attacks may"
            " decide otherwise"
        )
        headings = ["figure", "network", "difference", "95 % interval", "p, t-test", "p, corrected", "pairs"]
        if rows:
            yield filled_table(caption, headings, rows, 2)
        yield from (Text(sentence) for sentence in significance_sentences(family, measures))
