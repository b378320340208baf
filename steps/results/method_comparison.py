"""Methods against the baseline of the same network, seed by seed: the content of COMPARISON.md."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from steps.experiment.experiments import Experiment
from steps.metrics.paired_tests import CONFIDENCE, PairedTest, holm, paired_differences
from steps.results.block_cost import block_multiply_adds
from steps.results.conditions import unequal_experiments
from steps.results.forest import Row
from steps.results.markdown import bullets, giga, made_by, opening
from steps.results.tables import (
    EER,
    TESTED,
    VERDICTS,
    BySeed,
    SetTable,
    collect,
    p_is,
    p_text,
    paired_test_unless,
    shown_first,
    verdict,
)
from utils.cli import UserError

EXITS = "Early exits"  # title of their table
MOST_SENTENCES, MOST_NAMED, MOST_NOTES = 5, 4, 30  # of the text, which stays short

NOTE = f"""\
EER and min t-DCF: mean ± standard deviation over seeds. Difference: EER minus that of the same network's baseline,
trained with the same seed, in points; below 0 favours the method. Interval ({100 * CONFIDENCE:.0f} %) and p are of
the paired t-test over seeds, and p is corrected (Holm) for all differences of its table. The t-test takes the
differences as normal, which a handful of seeds cannot show. It weighs the chance of training only: other trials and
speakers might decide otherwise."""


TUNING = """\
Before it was trained, each method was tuned on each network by steps/sweep.py. Its trials are trainings with other
seeds than those below, judged by their mean dev EER alone. The first trial has the conf's own values. Methods have
the same number of trials, whatever the number of their values: fewer values are searched more closely. Where losses
are left out, the values are those of the complete method. On dev, where they were tuned, the tables flatter all
methods."""

Place = tuple[str, str, str]  # network, front end and training set


@dataclass(frozen=True)
class Tuned:
    """The result of a sweep on dev. trials: of them `complete` ones with a figure; seeds: of each; first and best: mean
    dev EER of trial 0, None if it has none, and of the best one, percent; values: the best one's, by key of the
    training."""

    trials: int
    complete: int
    seeds: list[int]
    first: float | None
    best: float
    values: dict[str, str]


@dataclass(frozen=True)
class Entry:
    """A row: names, cost of one trial, and results by seed with those of the baseline, which is None for itself;
    unequal: the conditions by which their trainings differ, so that they are not tested."""

    names: list[str]
    multiply_adds: int | None
    results: BySeed
    baseline: BySeed | None = None
    unequal: list[str] = field(default_factory=list)

    @functools.cached_property
    def test(self) -> PairedTest | None:
        if self.baseline is None:
            return None
        return paired_test_unless(
            self.unequal, paired_differences(EER.by_seed(self.baseline), EER.by_seed(self.results))
        )


@dataclass(frozen=True)
class Part:
    """Rows of one set in the table `title`. shares: multiply-adds with their share of the last baseline's before."""

    title: str
    table: SetTable
    names: list[str]
    entries: list[Entry]
    shares: bool = False

    def corrected(self) -> list[tuple[Entry, PairedTest, float]]:
        """The rows that are tested, with their p corrected for all of them."""
        tested = [(one, one.test) for one in self.entries if one.test is not None and not one.test.untested]
        return [(one, test, p) for (one, test), p in zip(tested, holm([test.p_t for _, test in tested]))]

    @property
    def headings(self) -> list[str]:
        tests = ["difference", "95 % interval", "p", "p, corrected"]
        return ["set", *self.names, "multiply-adds", "seeds", "EER %", *tests, "min t-DCF 2019", "not tested"]

    def rows(self) -> Iterator[list[str]]:
        p_of = {id(entry): p for entry, _, p in self.corrected()}
        full_cost = None
        for entry in self.entries:
            test = entry.test
            full_cost = entry.multiply_adds if test is None else full_cost
            cost = giga(entry.multiply_adds)
            if self.shares and full_cost and entry.multiply_adds:
                cost += f" ({100 * entry.multiply_adds / full_cost:.0f} %)"
            eer, tdcf = (measure.stat(entry.results) for measure in TESTED)
            cells = ["-"] * 4
            if test is not None and test.mean is not None:
                cells[0] = EER.text(test.mean, "+")
            if id(entry) in p_of:
                cells[1:] = EER.span(test.interval, "+"), p_text(test.p_t), p_text(p_of[id(entry)])
            why = "-" if test is None or not test.untested else test.untested
            yield [self.table.set_name, *entry.names, cost, str(len(entry.results)), eer, *cells, tdcf, why]

    def sentence(self) -> str | None:
        """The number of differences that are better, worse, or not significant; None without a test."""
        found: dict[str, list[str]] = {word: [] for word in VERDICTS}
        tests = self.corrected()
        for entry, test, p in tests:
            who = " ".join(name for name in entry.names if name != "-")
            found[verdict(test.mean, p)].append(f"{who} ({EER.text(test.mean, '+')} points, {p_is(p)})")
        if not tests:
            return None
        text = "; ".join(
            f"{word} for {len(who)} ({', '.join(who[:MOST_NAMED])}{', ...' * (len(who) > MOST_NAMED)})"
            for word, who in found.items()
            if who
        )
        count = f"{len(tests)} EER{'s' * (len(tests) > 1)} against the baseline"
        return f"**{self.title}, {self.table.set_name}**, {count}: {text}."


def tsv(parts: Sequence[Part]) -> list[str]:
    """The lines of one table's file; columns without a figure are left out."""
    rows = [row for part in parts for row in part.rows()]
    kept = [i for i in range(len(parts[0].headings)) if any(row[i] != "-" for row in rows)]
    return ["\t".join(row[i] for i in kept) for row in (parts[0].headings, *rows)]


# ---------------------------------------------------------------- baselines


def _place(e: Experiment) -> Place:
    return e.model, e.frontend, e.train_set


def baselines_of(experiments: Sequence[Experiment], recipe: str) -> dict[Place, Experiment]:
    """By network, front end and training set, the experiment of that recipe. Raises UserError if one is missing."""
    found = {_place(e): e for e in experiments if e.recipe == recipe}
    for e in experiments:
        if _place(e) not in found:
            raise UserError(
                f"{e.name}: there is no {recipe} of {e.model} ({e.frontend}) to compare it with; train it, or name the"
                " baseline by --baseline"
            )
    return found


def budget_notes(experiments: Sequence[Experiment], recipe: str, tuned: Collection[str] = ()) -> list[str]:
    """Each method that was not trained as long, as fast or on as many seeds as its baseline; empty if all is fair.
    tuned: keys that may differ, as each method's were tuned."""
    baselines = baselines_of(experiments, recipe)
    notes = []
    for e in experiments:
        base = baselines[_place(e)]
        seeds, others = ([seed.number for seed in one.seeds] for one in (e, base))
        changed = unequal_experiments(base, e, seeds, tuned)
        if seeds != others:
            changed.append(f"seeds: {' '.join(map(str, others))} -> {' '.join(map(str, seeds))}")
        if changed:
            notes.append(f"not the same budget: {base.name} and {e.name} ({'; '.join(changed)})")
    return notes


def tuned_keys(tuned: Mapping[str, Tuned]) -> set[str]:
    return {key for one in tuned.values() for key in one.values}


class _Table:
    """A table of one set with the results of its baselines. Raises UserError if a baseline was not evaluated on the set
    and others were."""

    def __init__(self, table: SetTable, recipe: str, tuned: Collection[str]):
        self.table, self.recipe, self.tuned = table, recipe, tuned
        self.base_of = {_place(e): (e, results) for e, results in table.rows if e.recipe == recipe}
        for e, _ in table.rows:
            if _place(e) not in self.base_of:
                raise UserError(
                    f"{e.name} has results on {table.set_name}, and the {recipe} of {e.model} ({e.frontend}) has none"
                    " to compare them with; run the recipe's stages 4 and 5 for it"
                )

    def entry(self, e: Experiment, results: BySeed, multiply_adds: int | None, *stop: str) -> Entry:
        """The row of an experiment or of a part of its network, beside the baseline. stop: the last block of the
        part."""
        base, base_results = self.base_of[_place(e)]
        unequal = unequal_experiments(base, e, set(results) & set(base_results), self.tuned)
        return Entry([e.model, e.recipe, *stop], multiply_adds, results, base_results, unequal)

    def networks(self, chosen: Collection[str]) -> list[Entry]:
        """Rows of the chosen experiments, each network's after its baseline."""
        shown = [(e, results) for e, results in self.table.rows if e.name in chosen or e.recipe == self.recipe]
        places = {_place(e) for e, _ in shown if e.name in chosen and e.recipe != self.recipe} or set(self.base_of)
        order = list(self.base_of)
        shown.sort(key=lambda row: (order.index(_place(row[0])), row[0].recipe != self.recipe))
        return [
            Entry([e.model, e.recipe], e.multiply_adds, results)
            if e.recipe == self.recipe
            else self.entry(e, results, e.multiply_adds)
            for e, results in shown
            if _place(e) in places
        ]

    def early_exits(self, chosen: Collection[str]) -> list[Entry]:
        """A row for each block but the last of each chosen experiment whose heads were evaluated, between those of the
        baseline and of the complete network."""
        complete = {e.name: results for e, results in self.table.rows}
        entries: list[Entry] = []
        for e, blocks in self.table.heads:
            costs = block_multiply_adds(e) if e.name in chosen else None
            if costs is None or e.name not in complete:
                continue
            base, base_results = self.base_of[_place(e)]
            if not any(entry.baseline is None and entry.names[0] == base.model for entry in entries):
                entries.append(Entry([base.model, base.recipe, "-"], base.multiply_adds, base_results))
            shallow = [block for block in sorted(blocks) if block in costs and block < max(costs)]
            entries += [self.entry(e, blocks[block], costs[block], f"block {block}") for block in shallow]
            entries.append(self.entry(e, complete[e.name], e.multiply_adds, "-"))
        return entries


# ---------------------------------------------------------------- the page


def forest_rows(parts: Sequence[Part]) -> list[Row]:
    """For the plot: of each method and part of a network, the difference from its baseline; each once."""
    found: dict[tuple[str, ...], Row] = {}
    for part in parts:
        set_name = part.table.set_name
        for entry in part.entries:
            if entry.test is not None and entry.test.mean is not None:
                network, *method = entry.names
                found.setdefault((set_name, *entry.names), Row(set_name, network, " ".join(method), entry.test))
    return list(found.values())


def _tuning(experiments: Sequence[Experiment], tuned: Mapping[str, Tuned]) -> tuple[list[str], list[str]]:
    """Markdown on the tuning, and the lines of its table: the trials of each experiment."""
    seeds = sorted({seed for one in tuned.values() for seed in one.seeds})
    lines = ["## Tuning", "", TUNING, "", f"Seeds of the trials: {' '.join(map(str, seeds))}.", ""]
    headings = ["network", "method", "trials", "complete", "dev EER % of the first", "of the best", "the best's values"]
    rows = [headings]
    for e in experiments:
        if (one := tuned.get(e.name)) is not None:
            eers = ["-" if eer is None else f"{eer:.2f}" for eer in (one.first, one.best)]
            values = ", ".join(f"{name} {value}" for name, value in one.values.items())
            rows.append([e.model, e.recipe, str(one.trials), str(one.complete), *eers, values])
    if len({one.trials for one in tuned.values()}) > 1:
        lines += bullets(["not the same tuning: the numbers of trials differ"])
    if clash := sorted({e.name for e in experiments if set(seeds) & {seed.number for seed in e.seeds}}):
        lines += bullets([f"compared by a seed that the trials had, which favours what was tuned: {', '.join(clash)}"])
    return lines, ["\t".join(row) for row in rows]


@dataclass(frozen=True)
class Document:
    """text: Markdown; tables: lines of each file beside it, by name; rows: of the forest plot, `picture` beside it."""

    text: str
    tables: dict[str, list[str]]
    rows: list[Row]
    picture: str
    corpus: str


def comparison(
    groups: Sequence[tuple[str, Sequence[Experiment]]],
    recipe: str,
    command: str | None,
    tuned: Mapping[str, Tuned],
    notes: Sequence[str],
    stem: str,
) -> Document:
    """For each group (title and experiments) a table of all sets; then one of early exits, of those of the first group
    whose blocks' own classifiers were evaluated. recipe: the baseline's, whose experiments belong to every group.
    tuned: by experiment, the sweep whose best values it was trained with. notes: lines for the text. stem: of the
    files' names.

    Raises UserError if a network has no such baseline or no results of it, or if results are not of the same trials.
    """

    def file_name(title: str) -> str:
        return f"{stem}_{re.sub(r'[^a-z0-9]+', '_', title.lower()).strip('_')}.tsv"

    everything = list({e.name: e for _, experiments in groups for e in experiments}.values())
    baselines_of(everything, recipe)
    tables = sorted(collect(everything), key=shown_first)
    if not tables:
        raise UserError("nothing to compare: no experiment has results; run the recipe's scoring and evaluation stages")
    keys = tuned_keys(tuned)
    with_baselines = [_Table(table, recipe, keys) for table in tables]
    titled: dict[str, list[Part]] = {}
    for title, experiments in groups:
        chosen = {e.name for e in experiments}
        titled.setdefault(title, []).extend(
            Part(title, one.table, ["network", "method"], one.networks(chosen)) for one in with_baselines
        )
    rows = forest_rows([part for parts in titled.values() for part in parts])
    first = {e.name for e in groups[0][1]}
    exits = [
        Part(EXITS, one.table, ["network", "method", "stop at"], entries, shares=True)
        for one in with_baselines
        if (entries := one.early_exits(first))
    ]
    if exits:
        titled[EXITS] = exits
    picture = f"{stem}_forest.png"
    files = {file_name(title): tsv(parts) for title, parts in titled.items()}

    corpora = list(dict.fromkeys(table.corpus for table in tables))
    lines = opening("Comparison", corpora)
    sentences = [sentence for parts in titled.values() for part in parts if (sentence := part.sentence()) is not None]
    lines += bullets(sentences[:MOST_SENTENCES])
    if rows:
        lines += [f"![Difference of the EER by set and network]({picture})", ""]
    lines += ["## Tables", ""]
    for title, parts in titled.items():
        lines.append(f"- [{title}]({file_name(title)}): {', '.join(part.table.set_name for part in parts)}")
    if tuned:
        lines.append(f"- [Tuning]({file_name('tuning')})")
    lines += ["", NOTE, ""]
    if exits:
        explained = "Early exits: the network left after a block, scored by the block's own classifier of the training."
        lines += [explained, ""]
    lines += made_by(command)
    found = [*notes, *budget_notes(everything, recipe, keys)]
    found += [f"{table.set_name}: {note}" for table in tables for note in table.notes]
    lines += [f"- {note}" for note in found[:MOST_NOTES]]
    lines += [f"- {len(found) - MOST_NOTES} more notes"] * (len(found) > MOST_NOTES)
    if tuned:
        tuning, files[file_name("tuning")] = _tuning(everything, tuned)
        lines += ["", *tuning]
    return Document("\n".join(lines).rstrip() + "\n", files, rows, picture, "; ".join(corpora))
