"""Methods against the baseline of the same network, seed by seed: what COMPARISON.md holds."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from steps.evaluation.evaluation import Evaluation
from steps.experiment.experiments import Experiment
from steps.metrics.paired_tests import CONFIDENCE, PairedTest, holm, paired_differences, paired_test, untested
from steps.results.block_cost import block_multiply_adds
from steps.results.conditions import unequal_experiments
from steps.results.forest import Row
from steps.results.tables import EER, LARGEST, TESTED, SetTable, collect, p_is, p_text, shown_first, verdict
from utils.cli import UserError

MOST_SENTENCES, MOST_NAMED, MOST_NOTES = 5, 4, 30  # of the text, which stays short

NOTE = f"""\
EER and min t-DCF: mean ± standard deviation over seeds. Difference: EER minus that of the same network's baseline,
trained with the same seed, in points; below 0 favours the method. Interval ({100 * CONFIDENCE:.0f} %) and p are of
the paired t-test over seeds, and p is corrected (Holm) for all differences of its table. The t-test takes the
differences as normal, which a handful of seeds cannot show. It weighs the chance of training only: other trials and
speakers might decide otherwise.""".splitlines()


TUNING = """\
Before it was trained, each method was tuned on each network by so many trials of steps/sweep.py: trainings with other
seeds than those below, judged by their mean dev EER alone. The first trial has the conf's own values. Methods have
the same number of trials, whatever the number of their values: fewer values are searched more closely. Where losses
are left out, the values are those of the complete method. On dev, where they were tuned, the tables flatter all
methods.""".splitlines()


@dataclass(frozen=True)
class Tuned:
    """What a sweep on dev found. trials: of them `complete` ones with a figure; seeds: of each; first and best: mean
    dev EER of trial 0, None where it has none, and of the best one, percent; values: the best one's, by key of the
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
    unequal: by which conditions their trainings differ, and are not tested."""

    names: list[str]
    multiply_adds: int | None
    results: dict[int, Evaluation]
    baseline: dict[int, Evaluation] | None
    unequal: list[str] = field(default_factory=list)

    def test(self) -> PairedTest | None:
        if self.baseline is None:
            return None
        differences = paired_differences(EER.by_seed(self.baseline), EER.by_seed(self.results))
        if self.unequal:
            return untested(differences, f"trained otherwise: {'; '.join(self.unequal)}")
        return paired_test(differences, LARGEST)


def _place(e: Experiment) -> tuple[str, str, str]:
    return e.model, e.frontend, e.train_set


def baselines_of(experiments: Sequence[Experiment], recipe: str) -> dict[tuple[str, str, str], Experiment]:
    """By network, front end and training set, the experiment of that recipe. Raises UserError where one is missing."""
    found = {_place(e): e for e in experiments if e.recipe == recipe}
    for e in experiments:
        if _place(e) not in found:
            raise UserError(
                f"{e.name}: there is no {recipe} of {e.model} ({e.frontend}) to compare it with; train it, or name the"
                " baseline by --baseline"
            )
    return found


def budget_notes(experiments: Sequence[Experiment], recipe: str, tuned: Collection[str] = ()) -> list[str]:
    """Where a method was not trained as long, as fast or on as many seeds as its baseline; empty where all is fair.
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


def _baseline_results(
    table: SetTable, recipe: str
) -> dict[tuple[str, str, str], tuple[Experiment, dict[int, Evaluation]]]:
    """By network, front end and training set. Raises UserError where a baseline was not evaluated and others were."""
    found = {_place(e): (e, results) for e, results in table.rows if e.recipe == recipe}
    for e, _ in table.rows:
        if _place(e) not in found:
            raise UserError(
                f"{e.name} has results on {table.set_name}, and the {recipe} of {e.model} ({e.frontend}) has none to"
                " compare them with; run the recipe's stages 4 and 5 for it"
            )
    return found


def tuned_keys(tuned: Mapping[str, Tuned]) -> set[str]:
    return {key for one in tuned.values() for key in one.values}


def _entry(
    names: Sequence[str],
    multiply_adds: int | None,
    e: Experiment,
    results: dict[int, Evaluation],
    base: tuple[Experiment, dict[int, Evaluation]],
    tuned: Collection[str],
) -> Entry:
    """The row of an experiment, or of a part of its network, beside the baseline."""
    seeds = set(results) & set(base[1])
    return Entry([*names], multiply_adds, results, base[1], unequal_experiments(base[0], e, seeds, tuned))


def _whole_networks(table: SetTable, chosen: set[str], recipe: str, tuned: Collection[str]) -> list[Entry]:
    base_of = _baseline_results(table, recipe)
    shown = [(e, results) for e, results in table.rows if e.name in chosen or e.recipe == recipe]
    places = {_place(e) for e, _ in shown if e.name in chosen and e.recipe != recipe} or set(base_of)
    order = sorted(shown, key=lambda row: (list(base_of).index(_place(row[0])), row[0].recipe != recipe))
    return [
        (
            Entry([e.model, e.recipe], e.multiply_adds, results, None)
            if e.recipe == recipe
            else _entry([e.model, e.recipe], e.multiply_adds, e, results, base_of[_place(e)], tuned)
        )
        for e, results in order
        if _place(e) in places
    ]


def _early_exits(table: SetTable, chosen: set[str], recipe: str, tuned: Collection[str]) -> list[Entry]:
    """A row for each block but the last of each experiment whose heads were evaluated, between whole networks."""
    base_of = _baseline_results(table, recipe)
    whole = {e.name: results for e, results in table.rows}
    entries = []
    for e, blocks in table.heads:
        costs = block_multiply_adds(e) if e.name in chosen else None
        if costs is None or e.name not in whole:
            continue
        base, base_results = base_of[_place(e)]
        if not any(entry.baseline is None and entry.names[0] == base.model for entry in entries):
            entries.append(Entry([base.model, base.recipe, "-"], base.multiply_adds, base_results, None))
        for block in sorted(blocks):
            if block in costs and block < max(costs):
                names = [e.model, e.recipe, f"block {block}"]
                entries.append(_entry(names, costs[block], e, blocks[block], base_of[_place(e)], tuned))
        names = [e.model, e.recipe, "-"]
        entries.append(_entry(names, e.multiply_adds, e, whole[e.name], base_of[_place(e)], tuned))
    return entries


_TESTS = ["95 % interval", "p", "p, corrected"]


def _rows(entries: Sequence[Entry], of_whole: bool) -> Iterator[list[str]]:
    """of_whole: multiply-adds with their share of the baseline's, which stands before."""
    tests = [entry.test() for entry in entries]
    tested = [i for i, test in enumerate(tests) if test is not None and test.p_t is not None]
    corrected = dict(zip(tested, holm([tests[i].p_t for i in tested])))
    whole = None
    for i, (entry, test) in enumerate(zip(entries, tests)):
        whole = entry.multiply_adds if test is None else whole
        cost = "-" if entry.multiply_adds is None else f"{entry.multiply_adds / 1e9:.3g} G"
        if of_whole and whole and entry.multiply_adds:
            cost += f" ({100 * entry.multiply_adds / whole:.0f} %)"
        seeds = len(entry.results)
        figures = [measure.stat(entry.results) for measure in TESTED]
        cells = ["-"] * 4
        if test is not None and test.mean is not None:
            cells[0] = EER.text(test.mean, "+")
            if test.interval is not None:
                p = [p_text(test.p_t), p_text(corrected[i])]
                cells[1:] = [EER.span(test.interval, "+"), *p]
        yield [*entry.names, cost, str(seeds), figures[0], *cells, figures[1]]


_FIGURES = ["multiply-adds", "seeds", "EER %", "difference", *_TESTS, "min t-DCF 2019"]


@dataclass(frozen=True)
class Part:
    """Rows of one set in the table `title`."""

    title: str
    table: SetTable
    names: list[str]
    entries: list[Entry]
    of_whole: bool = False

    @property
    def headings(self) -> list[str]:
        return ["set", *self.names, *_FIGURES, "not tested"]

    def rows(self) -> Iterator[list[str]]:
        for entry, cells in zip(self.entries, _rows(self.entries, self.of_whole)):
            test = entry.test()
            yield [self.table.set_name, *cells, "-" if test is None or not test.untested else test.untested]


def tsv(parts: Sequence[Part]) -> list[str]:
    """The lines of one table's file; columns without a figure are left out."""
    rows = [row for part in parts for row in part.rows()]
    kept = [i for i in range(len(parts[0].headings)) if any(row[i] != "-" for row in rows)]
    return ["\t".join(row[i] for i in kept) for row in (parts[0].headings, *rows)]


def _sentence(part: Part) -> str | None:
    """How many of a table's differences are better, worse, or not significant; None without a test."""
    found: dict[str, list[str]] = {"better": [], "worse": [], "no significant difference": []}
    tests = [(entry, test) for entry in part.entries if (test := entry.test()) is not None and test.p_t is not None]
    for (entry, test), p in zip(tests, holm([test.p_t for _, test in tests])):
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
    return f"**{part.title}, {part.table.set_name}**, {count}: {text}."


def forest_rows(parts: Sequence[Part]) -> list[Row]:
    """For the plot: of each method and part of a network, the difference from its baseline; each once."""
    found: dict[tuple[str, ...], Row] = {}
    for part in parts:
        for entry in part.entries:
            test = entry.test()
            if test is not None and test.mean is not None:
                network, *method = entry.names
                name = " ".join(word for word in method if word != "-")
                found.setdefault(
                    (part.table.set_name, *entry.names[:2], *method), Row(part.table.set_name, network, name, test)
                )
    return list(found.values())


def _tuning(experiments: Sequence[Experiment], tuned: Mapping[str, Tuned]) -> tuple[list[str], list[str]]:
    """Markdown on the tuning, and the lines of its table: the trials of each experiment; empty where none was tuned."""
    if not tuned:
        return [], []
    seeds = sorted({seed for one in tuned.values() for seed in one.seeds})
    lines = ["## Tuning", "", *TUNING, "", f"Seeds of the trials: {' '.join(map(str, seeds))}.", ""]
    rows = [
        [
            *(e.model, e.recipe, str(one.trials), str(one.complete)),
            *("-" if eer is None else f"{eer:.2f}" for eer in (one.first, one.best)),
            ", ".join(f"{name} {value}" for name, value in one.values.items()),
        ]
        for e in experiments
        if (one := tuned.get(e.name)) is not None
    ]
    headings = ["network", "method", "trials", "complete", "dev EER % of the first", "of the best", "the best's values"]
    unequal = len({one.trials for one in tuned.values()}) > 1
    lines += ["- not the same tuning: the numbers of trials differ", ""] * unequal
    clash = sorted({e.name for e in experiments if set(seeds) & {seed.number for seed in e.seeds}})
    lines += [f"- compared by a seed that the trials had, which favours what was tuned: {', '.join(clash)}", ""] * bool(
        clash
    )
    return lines, ["\t".join(row) for row in (headings, *rows)]


@dataclass(frozen=True)
class Document:
    """text: Markdown; tables: lines of each file beside it, by name; rows: of the forest plot, `picture` beside it."""

    text: str
    tables: dict[str, list[str]]
    rows: list[Row]
    picture: str
    corpus: str


def _file_name(stem: str, title: str) -> str:
    return f"{stem}_{re.sub(r'[^a-z0-9]+', '_', title.lower()).strip('_')}.tsv"


def comparison(
    groups: Sequence[tuple[str, Sequence[Experiment]]],
    recipe: str,
    exits_title: str,
    command: str | None,
    tuned: Mapping[str, Tuned] | None = None,
    notes: Sequence[str] = (),
    stem: str = "COMPARISON",
) -> Document:
    """For each group (title and experiments) a table of all sets; then one of early exits, of those of the first group
    whose blocks' own classifiers were evaluated. recipe: the baseline's, whose experiments belong to every group.
    tuned: by experiment, the sweep whose best values it was trained with. notes: lines for the text. stem: of the
    files' names.

    Raises UserError where a network has no such baseline or no results of it, or where results are not of the same
    trials.
    """
    everything = list({e.name: e for _, experiments in groups for e in experiments}.values())
    baselines_of(everything, recipe)
    tables = sorted(collect(everything), key=shown_first)
    if not tables:
        raise UserError("nothing to compare: no experiment has results; run the recipe's scoring and evaluation stages")
    tuned = tuned or {}
    keys = tuned_keys(tuned)
    parts = [
        Part(title, table, ["network", "method"], _whole_networks(table, {e.name for e in experiments}, recipe, keys))
        for title, experiments in groups
        for table in tables
    ]
    first = {e.name for e in groups[0][1]}
    exits = [
        Part(exits_title, table, ["network", "method", "stop at"], entries, True)
        for table in tables
        if (entries := _early_exits(table, first, recipe, keys))
    ]
    rows = forest_rows(parts)
    picture = f"{stem}_forest.png"
    files = {_file_name(stem, title): [one for one in (*parts, *exits) if one.title == title] for title, _ in groups}
    if exits:
        files[_file_name(stem, exits_title)] = exits
    tuning, tuning_lines = _tuning(everything, tuned)

    corpora = list(dict.fromkeys(table.corpus for table in tables))
    lines = ["# Comparison", "", f"Measured on: {'; '.join(f'**{corpus}**' for corpus in corpora)}.", ""]
    if any("mini" in corpus.lower() for corpus in corpora):
        lines += ["The mini corpus is a small stand-in: its figures do not stand for the real ASVspoof 2019's.", ""]
    sentences = [sentence for part in (*parts, *exits) if (sentence := _sentence(part)) is not None]
    lines += [*(f"- {sentence}" for sentence in sentences[:MOST_SENTENCES]), *[""] * bool(sentences)]
    lines += [f"![Difference of the EER by set and network]({picture})", ""] * bool(rows)
    lines += ["## Tables", ""]
    lines += [
        f"- [{one[0].title}]({name}): {', '.join(part.table.set_name for part in one)}" for name, one in files.items()
    ]
    lines += [f"- [Tuning]({_file_name(stem, 'tuning')})"] * bool(tuning)
    lines += ["", *NOTE, ""]
    if exits:
        lines += [
            "Early exits: the network left after a block, scored by the block's own classifier of the training.",
            "",
        ]
    if command:
        lines += ["Made by:", "", "```sh", *command.strip().splitlines(), "```", ""]
    found = [*notes, *budget_notes(everything, recipe, keys)]
    found += [f"{table.set_name}: {note}" for table in tables for note in table.notes]
    lines += [f"- {note}" for note in found[:MOST_NOTES]]
    lines += [f"- {len(found) - MOST_NOTES} more notes"] * (len(found) > MOST_NOTES)
    lines += ["", *tuning]
    text = "\n".join(lines).rstrip() + "\n"
    made = {name: tsv(one) for name, one in files.items()}
    if tuning:
        made[_file_name(stem, "tuning")] = tuning_lines
    return Document(text, made, rows, picture, "; ".join(corpora))
