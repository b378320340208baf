"""The recipe's results, whatever they are written as: which figures stand in one table, which experiments are compared,
and how a figure over seeds is put in words."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from steps.evaluation.evaluation import Evaluation
from steps.experiment.experiments import Experiment, check_same_trials, natural_order
from steps.metrics.paired_tests import (
    LEVEL,
    PairedTest,
    holm,
    mean_and_spread,
    paired_differences,
    paired_test,
    pooled_test,
    untested,
)
from steps.results.conditions import unequal_experiments
from utils.cli import UserError

BASELINE = "baseline"
DEV = "dev"  # the set that epochs are chosen on and thresholds are carried over from
MOST_SPEAKERS = 12  # rows of a table by speaker
NO_BASELINE = "no one baseline of the same network, front end and training set to compare with"
MINI_CORPUS = "The mini corpus is a small stand-in: its figures do not stand for the real ASVspoof 2019's."
LARGEST = 1.0  # of each measure: a CM that accepts all, or rejects all, costs 1

BySeed = dict[int, Evaluation]
Figure = Callable[[Evaluation], float | None]


@dataclass(frozen=True)
class Measure:
    """A figure of results as tables show it. heading: with its unit; attribute: of an evaluation's `part`; digits:
    after the point; unit: the factor by which the figure is shown."""

    name: str
    heading: str
    attribute: str
    digits: int
    unit: float = 1
    part: str = "pooled"

    def of(self, result: Evaluation) -> float | None:
        found = getattr(result, self.part)
        return None if found is None else getattr(found, self.attribute)

    def by_seed(self, results: Mapping[int, Evaluation]) -> dict[int, float]:
        """Without the seeds that lack it."""
        values = {seed: self.of(result) for seed, result in results.items()}
        return {seed: value for seed, value in values.items() if value is not None}

    def text(self, value: float, sign: str = "") -> str:
        return f"{self.unit * value:{sign}.{self.digits}f}"

    def span(self, interval: Sequence[float], sign: str = "") -> str:
        return " to ".join(self.text(end, sign) for end in interval)

    def stat(self, results: Mapping[int, Evaluation]) -> str:
        """Mean and spread over the seeds."""
        return self.stat_of(list(self.by_seed(results).values()), len(results))

    def stat_of(self, values: Sequence[float], of: int) -> str:
        """`mean ± standard deviation` of the known ones of `of` values."""
        if not values:
            return "-"
        mean, spread = mean_and_spread(values)
        if spread is None:
            return f"{self.text(mean)} (1 seed)"
        lacking = "" if len(values) == of else f" ({len(values)} of {of} seeds)"
        return f"{self.text(mean)} ± {self.text(spread)}{lacking}"


EER = Measure("EER", "EER %", "eer", 2, 100)
TDCF_2019 = Measure("min t-DCF 2019", "min t-DCF 2019", "min_tdcf_2019", 4)
TDCF_2021 = Measure("min t-DCF 2021", "min t-DCF 2021", "min_tdcf_2021", 4)
MEASURES = (EER, TDCF_2019, TDCF_2021)
UNDECIDED = Measure("undecided", "undecided %", "undecided", 1, 100, "coverage")
SHOWN = (*MEASURES, UNDECIDED)
UNDECIDED_MEANING = (
    "Undecided: the share of trials for which either answer would cost more, on average, than none, by the calibration"
    " learnt on dev."
)
TESTED = (EER, TDCF_2019)


def mean_over_seeds(results: Mapping[int, Evaluation], figure: Figure) -> float | None:
    """Of the seeds that have the figure; None without any."""
    values = [value for result in results.values() if (value := figure(result)) is not None]
    return fmean(values) if values else None


# ---------------------------------------------------------------- tables


@dataclass(frozen=True)
class SetTable:
    """The results on one set of one corpus: the experiments to show, each with its results by seed number. heads: of
    each experiment by block, then by seed."""

    corpus: str
    set_name: str
    rows: list[tuple[Experiment, BySeed]]
    heads: list[tuple[Experiment, dict[int, BySeed]]]
    notes: list[str]

    @property
    def any_result(self) -> Evaluation:
        return next(result for _, results in self.rows for result in results.values())

    @functools.cached_property
    def families(self) -> list[Family]:
        return _families(self)


def collect(experiments: Sequence[Experiment]) -> list[SetTable]:
    """One table for each corpus and set, in order. Raises UserError when trials differ within a table."""
    keys = {(one.corpus_name, name) for e in experiments for seed in e.seeds for name, one in seed.results.items()}
    in_order = sorted(keys, key=lambda key: (key[0], natural_order(key[1])))
    return [_set_table(experiments, corpus, set_name) for corpus, set_name in in_order]


def _set_table(experiments: Sequence[Experiment], corpus: str, set_name: str) -> SetTable:
    table = SetTable(corpus, set_name, [], [], [])
    warned: dict[str, list[str]] = {}
    for e in experiments:
        corpora = {result.corpus_name for seed in e.seeds for result in seed.results.values()}
        if corpora and corpus not in corpora:
            continue
        results: BySeed = {}
        blocks: dict[int, BySeed] = {}
        for seed in e.seeds:
            if set_name in seed.results and seed.results[set_name].corpus_name == corpus:
                results[seed.number] = seed.results[set_name]
            for block, result in seed.heads.get(set_name, {}).items():
                if result.corpus_name == corpus:
                    blocks.setdefault(block, {})[seed.number] = result
        lacking = [f"seed {seed.number}" for seed in e.seeds if seed.number not in results]
        if lacking:
            table.notes.append(f"not evaluated: {e.name}, {', '.join(lacking)}")
        if results:
            table.rows.append((e, results))
        if blocks:
            table.heads.append((e, blocks))
        for number, result in results.items():
            for text in result.warnings:
                warned.setdefault(text, []).append(f"{e.name}, seed {number}")
    of_detectors = [results for _, results in table.rows]
    of_blocks = [results for _, blocks in table.heads for results in blocks.values()]
    check_same_trials(result for results in of_detectors + of_blocks for result in results.values())
    trainings = sum(map(len, of_detectors))
    for text, where in warned.items():  # a warning of every training is one of the corpus: written once
        table.notes.append(f"warning: {'all trainings' if len(where) == trainings > 1 else '; '.join(where)}: {text}")
    return table


def coverage_rules(tables: Sequence[SetTable]) -> list[str]:
    """The costs by which trials of these tables are undecided, each once; none if no result has a coverage."""
    results = (result for table in tables for _, found in table.rows for result in found.values())
    rules = (result.coverage.rule for result in results if result.coverage is not None)
    return list(dict.fromkeys(f"{rule[0].upper()}{rule[1:]}" for rule in rules))


def shown_first(table: SetTable) -> tuple[bool, bool]:
    """A sort key: a set that was not trained, tuned or chosen on comes first, dev last."""
    return table.set_name == DEV, table.set_name != "eval"


def not_evaluated_at_all(experiments: Sequence[Experiment]) -> list[str]:
    return [e.name for e in experiments if not any(seed.results for seed in e.seeds)]


def is_mini(corpus: str) -> bool:
    return "mini" in corpus.lower()


def trials_text(table: SetTable) -> str:
    one = table.any_result
    asv = "no ASV scores" if one.asv is None else f"ASV EER {100 * one.asv.eer:.2f} %"
    return f"{one.n_bonafide:,} bona fide, {one.pooled.n_spoof:,} spoof trials; {asv}"


def naming(experiments: Sequence[Experiment]) -> tuple[list[str], Callable[[Experiment], list[str]]]:
    """Headings and cells that name an experiment among these: front end only if they differ, and training set also if
    it is not the recipe's own."""
    parts: dict[str, Callable[[Experiment], str]] = {"network": lambda e: e.model, "method": lambda e: e.recipe}
    if len({e.frontend for e in experiments}) > 1:
        parts["front end"] = lambda e: e.frontend
    train_sets = {e.train_set for e in experiments}
    if len(train_sets) > 1 or not train_sets <= {"", "train"}:
        parts["trained on"] = lambda e: e.train_set
    return list(parts), lambda e: [part(e) for part in parts.values()]


def of_which(e: Experiment) -> str:
    where = [text for text in (e.frontend, f"trained on {e.train_set}" if e.train_set else "") if text]
    return f" ({', '.join(where)})"


def attack_text(name: str, corpus: Mapping[str, Any]) -> str:
    """`A10 pitch and formant shift by PSOLA` if the corpus describes its attacks; else `A10`."""
    words = corpus.get("attacks")
    description = words.get(name) if isinstance(words, Mapping) else None
    return f"{name} {description}" if isinstance(description, str) else name


def marked(rows: Sequence[BySeed]) -> tuple[list[str], list[str]]:
    """A mark for each row, and the footnotes, each sentence once. A mark is empty unless the row's set overlaps its
    training set, or was not checked for that."""
    marks, notes = [], {}
    for results in rows:
        found = {one.overlap.sentence for one in results.values() if one.overlap is not None} - {""}
        if found:
            text = " ".join(sorted(found))
            number = notes.setdefault(text, len(notes) + 1)
            marks.append(f" †{number}")
        else:
            marks.append("")
    return marks, [f"†{number} {text}" for text, number in notes.items()]


# ---------------------------------------------------------------- methods against baselines


@dataclass(frozen=True)
class Pair:
    """One network, trained by its baseline and by another method; results by seed number. unequal: the conditions other
    than the method by which the trainings differ; a test would say nothing of the method then."""

    base: Experiment
    other: Experiment
    base_results: BySeed
    other_results: BySeed
    unequal: list[str]

    def differences(self, measure: Measure) -> list[float]:
        """The method's figure minus the baseline's, of each seed that both have."""
        return paired_differences(measure.by_seed(self.base_results), measure.by_seed(self.other_results))

    def test(self, measure: Measure) -> PairedTest:
        return paired_test_unless(self.unequal, self.differences(measure))


def paired_test_unless(unequal: Sequence[str], differences: Sequence[float]) -> PairedTest:
    """The test of the differences; none if the trainings differ in the conditions `unequal`."""
    if unequal:
        return untested(differences, f"trained otherwise: {'; '.join(unequal)}")
    return paired_test(differences, LARGEST)


@dataclass(frozen=True)
class Family:
    """All networks that are compared by the same two recipes, on the same front end and training set. Each once.
    of_which: front end and training set in words, if the table has several."""

    base: str
    other: str
    pairs: list[Pair]
    of_which: str

    @functools.cached_property
    def tests(self) -> list[MeasureTests]:
        """The tests of EER and of the paper's t-DCF (2019); a figure that no pair has is left out."""
        results = [one for pair in self.pairs for one in (pair.base_results, pair.other_results)]
        return [self._tests_of(measure) for measure in TESTED if any(map(measure.by_seed, results))]

    def _tests_of(self, measure: Measure) -> MeasureTests:
        tests = {pair.other.model: pair.test(measure) for pair in self.pairs}
        p_values = {model: test.p_t for model, test in tests.items() if test.p_t is not None}
        corrected = dict(zip(p_values, holm(list(p_values.values()))))
        pooled = pooled_test([pair.differences(measure) for pair in self.pairs if not pair.unequal], LARGEST)
        return MeasureTests(measure, tests, corrected, None if pooled.untested else pooled)


@dataclass(frozen=True)
class MeasureTests:
    """The tests of one figure within a family.

    tests: by network, in the family's order; corrected: the t-tests' p-values corrected for the number of networks
    tested; pooled: all networks together, None if they are too few.
    """

    measure: Measure
    tests: dict[str, PairedTest]
    corrected: dict[str, float]
    pooled: PairedTest | None

    def rows(self) -> Iterator[tuple[str, PairedTest, float | None]]:
        """Network, test and corrected p of each test; that of all networks last."""
        for network, test in self.tests.items():
            if not test.untested:
                yield network, test, self.corrected[network]
        if self.pooled is not None:
            yield "all networks", self.pooled, None


def baseline_of(table: SetTable, other: Experiment) -> tuple[Experiment, BySeed] | None:
    """The baseline to compare `other` with: same network, front end and training set. Of several one that was trained
    under equal conditions, then one of the same variant; None without any, or if several are left."""
    candidates = [
        (e, results)
        for e, results in table.rows
        if e.method == BASELINE and (e.model, e.frontend, e.train_set) == (other.model, other.frontend, other.train_set)
    ]
    seeds = {seed.number for seed in other.seeds}
    chosen = [pair for pair in candidates if not unequal_experiments(pair[0], other, seeds)] or candidates
    chosen = [pair for pair in chosen if pair[0].variant == other.variant] or chosen
    return chosen[0] if len(chosen) == 1 else None


def _families(table: SetTable) -> list[Family]:
    """The families of a table. Raises UserError for a network that would stand in one twice, as when experiments of one
    name are given from two folders."""
    found: dict[tuple[str, ...], list[Pair]] = {}
    for other, results in table.rows:
        if other.method == BASELINE or (chosen := baseline_of(table, other)) is None:
            continue
        base, base_results = chosen
        pairs = found.setdefault((base.recipe, other.recipe, other.frontend, other.train_set), [])
        for pair in pairs:
            if pair.other.model == other.model:
                raise UserError(
                    f"{pair.other.folder} and {other.folder} are the same network and method, "
                    f"measured on the same set ({table.set_name}, {table.corpus}); leave one out, or train it "
                    "under another --tag"
                )
        unequal = unequal_experiments(base, other, set(base_results) & set(results))
        pairs.append(Pair(base, other, base_results, results, unequal))
    several = len({(e.frontend, e.train_set) for e, _ in table.rows}) > 1
    return [
        Family(base, other, pairs, of_which(pairs[0].other) if several else "")
        for (base, other, *_), pairs in found.items()
    ]


def without_baseline(table: SetTable) -> list[Experiment]:
    return [e for e, _ in table.rows if e.method != BASELINE and baseline_of(table, e) is None]


# ---------------------------------------------------------------- words


def significance_sentences(family: Family) -> list[str]:
    """For each figure tested, for which networks the method is better, worse, or not significantly different; then, for
    each reason why networks were not tested, their differences."""
    verdicts = [" ".join(_verdicts(family, measure)) for measure in family.tests]
    return [*(text for text in verdicts if text), *_untested(family)]


def _untested(family: Family) -> Iterator[str]:
    networks: dict[str, dict[str, list[str]]] = {}  # by reason, then by network
    for measure in family.tests:
        for model, test in measure.tests.items():
            if test.untested:
                figures = networks.setdefault(test.untested, {}).setdefault(model, [])
                if test.mean is not None:
                    figures.append(f"{measure.measure.name} {measure.measure.text(test.mean, '+')}")
    for why, of_models in networks.items():
        figures = "; ".join(f"{model} {', '.join(found)}".strip() for model, found in of_models.items())
        yield f"{family.other} minus {family.base}{family.of_which}, not tested ({why}): {figures}."


def listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


VERDICTS = ("better", "worse", "no significant difference")


def verdict(mean: float, p: float) -> str:
    """One of VERDICTS."""
    if p >= LEVEL:
        return VERDICTS[2]
    return VERDICTS[mean >= 0]


def _verdicts(family: Family, measure: MeasureTests) -> Iterator[str]:
    networks: dict[str, list[str]] = {word: [] for word in VERDICTS}
    for model, p in measure.corrected.items():
        networks[verdict(measure.tests[model].mean, p)].append(f"{model} ({p_is(p)})")
    found = [f"{word} for {listed(models)}" for word, models in networks.items() if models]
    compared = f"{measure.measure.name}, {family.other} against {family.base}{family.of_which}"
    if found:
        corrected = "; p corrected (Holm)" * (len(measure.corrected) > 1)
        yield f"{compared}: {'; '.join(found)}{corrected}."
    if (pooled := measure.pooled) is not None:
        who = "All networks together" if found else f"{compared}, all networks together"
        yield f"{who}: {verdict(pooled.mean, pooled.p_t)} ({p_is(pooled.p_t)})."


def p_text(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def p_is(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def compared(table: SetTable) -> Iterator[str]:
    """A sentence on each two methods: their EERs on all networks together or, if they are too few for a test, on each
    network."""
    for family in table.families:
        measure = family.tests[0]  # EER, which every evaluation has
        if measure.pooled is not None:
            yield _compared(table, family, family.pairs, measure.pooled)
        else:
            for pair in family.pairs:
                yield _compared(table, family, [pair], measure.tests[pair.other.model])


def _compared(table: SetTable, family: Family, pairs: Sequence[Pair], test: PairedTest) -> str:
    ours = fmean(fmean(EER.by_seed(pair.other_results).values()) for pair in pairs)
    theirs = fmean(fmean(EER.by_seed(pair.base_results).values()) for pair in pairs)
    networks = pairs[0].other.model if len(pairs) == 1 else f"{len(pairs)} networks"
    other = f"{family.other}{family.of_which} {EER.text(ours)} %"
    text = f"{other} against {family.base} {EER.text(theirs)} % EER on {table.set_name} ({networks})"
    if test.mean is None:
        return f"{text}: no common seed."
    text += f": difference {EER.text(test.mean, '+')} points"
    if test.untested:
        return f"{text}; no test."
    interval = f"95 % interval {EER.span(test.interval, '+')}"
    return f"{text} ({interval}), {p_is(test.p_t)}: {verdict(test.mean, test.p_t)}."


def speaker_rows(table: SetTable) -> list[tuple[str, str, Figure]]:
    """Name, bona fide trials, and the share of them that is rejected (None if a result lacks a speaker). The speakers
    with the most trials one by one, the others together; empty if no result knows its speakers."""
    trials: dict[str, int] = {}
    for result in (result for _, results in table.rows for result in results.values()):
        known = {name: one.n_bonafide for name, one in (result.per_speaker or {}).items() if one.n_bonafide}
        trials = trials or known

    def row(name: str, names: Sequence[str]) -> tuple[str, str, Figure]:
        total = sum(trials[name] for name in names)

        def missed(result: Evaluation) -> float | None:
            found = result.per_speaker or {}
            rates = [found[name].miss if name in found else None for name in names]
            if None in rates:
                return None
            return sum(trials[name] * rate for name, rate in zip(names, rates)) / total

        return name, f"{total:,} ({100 * total / sum(trials.values()):.0f} %)", missed

    names = sorted(trials, key=lambda name: (-trials[name], name))
    alone = len(names) if len(names) <= MOST_SPEAKERS else MOST_SPEAKERS - 1
    rows = [row(name, [name]) for name in names[:alone]]
    if others := names[alone:]:
        rows.append(row(f"{len(others)} others", others))
    return rows
