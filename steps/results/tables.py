"""What the recipe's results consist of, whatever they are written as: which figures stand in one table, which
experiments are compared, and how a figure over seeds is put in words."""

from __future__ import annotations

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
LARGEST = 1.0  # of each measure: a CM that accepts all, or rejects all, costs 1


@dataclass(frozen=True)
class Measure:
    """A figure of results as tables show it. heading: with its unit; attribute: of an evaluation's Figures; digits:
    after the point; unit: what the figure is multiplied by where it is shown."""

    name: str
    heading: str
    attribute: str
    digits: int
    unit: float = 1

    def of(self, result: Evaluation) -> float | None:
        return getattr(result.pooled, self.attribute)

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
        """`mean ± standard deviation` of the values that there are, `of` being how many there could be."""
        if not values:
            return "-"
        mean, spread = mean_and_spread(values)
        text = f"{self.text(mean)} (1 seed)" if spread is None else f"{self.text(mean)} ± {self.text(spread)}"
        return text if len(values) == of or spread is None else f"{text} ({len(values)} of {of} seeds)"


EER = Measure("EER", "EER %", "eer", 2, 100)
TDCF_2019 = Measure("min t-DCF 2019", "min t-DCF 2019", "min_tdcf_2019", 4)
TDCF_2021 = Measure("min t-DCF 2021", "min t-DCF 2021", "min_tdcf_2021", 4)
MEASURES = (EER, TDCF_2019, TDCF_2021)
TESTED = (EER, TDCF_2019)


@dataclass(frozen=True)
class SetTable:
    """What was measured on one set of one corpus: the experiments to show, each with its results by seed number."""

    corpus: str
    set_name: str
    rows: list[tuple[Experiment, dict[int, Evaluation]]]
    heads: list[tuple[Experiment, dict[int, dict[int, Evaluation]]]]  # block, then seed
    notes: list[str]

    @property
    def any_result(self) -> Evaluation:
        return next(result for _, results in self.rows for result in results.values())


def collect(experiments: Sequence[Experiment]) -> list[SetTable]:
    """One table for each corpus and set, in order. Raises UserError when trials differ within a table."""
    keys = {
        (result.corpus_name, set_name)
        for e in experiments
        for seed in e.seeds
        for set_name, result in seed.results.items()
    }
    tables = []
    for corpus, set_name in sorted(keys, key=lambda key: (key[0], natural_order(key[1]))):
        rows, heads, notes = [], [], []
        warned: dict[str, list[str]] = {}
        for e in experiments:
            corpora = {result.corpus_name for seed in e.seeds for result in seed.results.values()}
            if corpora and corpus not in corpora:
                continue
            here = {
                seed.number: seed.results[set_name]
                for seed in e.seeds
                if set_name in seed.results and seed.results[set_name].corpus_name == corpus
            }
            lacking = [f"seed {seed.number}" for seed in e.seeds if seed.number not in here]
            if lacking:
                notes.append(f"not evaluated: {e.name}, {', '.join(lacking)}")
            if here:
                rows.append((e, here))
            blocks: dict[int, dict[int, Evaluation]] = {}
            for seed in e.seeds:
                for block, result in seed.heads.get(set_name, {}).items():
                    if result.corpus_name == corpus:
                        blocks.setdefault(block, {})[seed.number] = result
            if blocks:
                heads.append((e, blocks))
            for number, result in here.items():
                for text in result.warnings:
                    warned.setdefault(text, []).append(f"{e.name}, seed {number}")
        check_same_trials(
            [r for _, results in rows for r in results.values()]
            + [r for _, blocks in heads for results in blocks.values() for r in results.values()]
        )
        trainings = sum(len(results) for _, results in rows)
        for text, where in warned.items():  # what is so with every training lies in the corpus: said once
            notes.append(f"warning: {'all trainings' if len(where) == trainings > 1 else '; '.join(where)}: {text}")
        tables.append(SetTable(corpus, set_name, rows, heads, notes))
    return tables


def not_evaluated_at_all(experiments: Sequence[Experiment]) -> list[str]:
    return [e.name for e in experiments if not any(seed.results for seed in e.seeds)]


@dataclass(frozen=True)
class Pair:
    """One network, trained by its baseline and by another method; results by seed number. unequal: by which conditions
    other than the method the trainings differ; a test would say nothing of the method then."""

    base: Experiment
    other: Experiment
    base_results: dict[int, Evaluation]
    other_results: dict[int, Evaluation]
    unequal: list[str]


@dataclass(frozen=True)
class Family:
    """All networks compared alike: by the same two recipes, on the same front end and training set. Each once.
    of_which: front end and training set in words, where the table has several."""

    base: str
    other: str
    pairs: list[Pair]
    of_which: str


@dataclass(frozen=True)
class MeasureTests:
    """The tests of one figure within a family.

    tests: by network, in the family's order; corrected: the t-tests' p-values corrected for the number of networks
    tested; pooled: all networks together, None where they are too few.
    """

    measure: Measure
    tests: dict[str, PairedTest]
    corrected: dict[str, float]
    pooled: PairedTest | None


def baseline_of(table: SetTable, other: Experiment) -> tuple[Experiment, dict[int, Evaluation]] | None:
    """The baseline that `other` is to be compared with: same network, front end and training set. Of several one that
    was trained under equal conditions, then one of the same variant; None where there is none, or several are left."""
    candidates = [
        (e, results)
        for e, results in table.rows
        if e.method == BASELINE and (e.model, e.frontend, e.train_set) == (other.model, other.frontend, other.train_set)
    ]
    seeds = {seed.number for seed in other.seeds}
    chosen = [pair for pair in candidates if not unequal_experiments(pair[0], other, seeds)] or candidates
    chosen = [pair for pair in chosen if pair[0].variant == other.variant] or chosen
    return chosen[0] if len(chosen) == 1 else None


def families(table: SetTable) -> list[Family]:
    """The families of a table. Raises UserError for a network that would stand in one twice, as when experiments of one
    name are given from two folders."""
    found: dict[tuple[str, ...], list[Pair]] = {}
    for other, results in table.rows:
        if other.method != BASELINE and (chosen := baseline_of(table, other)) is not None:
            base, base_results = chosen
            key = (base.recipe, other.recipe, other.frontend, other.train_set)
            pairs = found.setdefault(key, [])
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


def differences_of(pair: Pair, measure: Measure) -> list[float]:
    """The method's figure minus the baseline's, of each seed that both have."""
    return paired_differences(measure.by_seed(pair.base_results), measure.by_seed(pair.other_results))


def test_of(pair: Pair, measure: Measure) -> PairedTest:
    differences = differences_of(pair, measure)
    if pair.unequal:
        return untested(differences, f"trained otherwise: {'; '.join(pair.unequal)}")
    return paired_test(differences, LARGEST)


def significance(family: Family) -> list[MeasureTests]:
    """The tests of EER and of the paper's t-DCF (2019); a figure that no pair has is left out."""
    found = []
    for measure in TESTED:
        if not any(
            measure.by_seed(results) for pair in family.pairs for results in (pair.base_results, pair.other_results)
        ):
            continue
        tests = {pair.other.model: test_of(pair, measure) for pair in family.pairs}
        equal = [differences_of(pair, measure) for pair in family.pairs if not pair.unequal]
        tested = {model: test.p_t for model, test in tests.items() if test.p_t is not None}
        pooled = pooled_test(equal, LARGEST)
        corrected = dict(zip(tested, holm(list(tested.values()))))
        found.append(MeasureTests(measure, tests, corrected, None if pooled.untested else pooled))
    return found


def is_tested(measure: MeasureTests) -> bool:
    """Whether there is any test of it."""
    return measure.pooled is not None or any(not test.untested for test in measure.tests.values())


def significance_sentences(family: Family, measures: Sequence[MeasureTests]) -> list[str]:
    """For each figure tested, for which networks the method is better, worse, or not significantly different; then, for
    each reason why networks were not tested, their differences. `measures`: what significance(family) gives."""
    verdicts = [" ".join(_verdicts(family, measure)) for measure in measures]
    return [*(text for text in verdicts if text), *_untested(family, measures)]


def _untested(family: Family, measures: Sequence[MeasureTests]) -> Iterator[str]:
    networks: dict[str, dict[str, list[str]]] = {}  # by reason, then by network
    for measure in measures:
        for model, test in measure.tests.items():
            if test.untested:
                figures = networks.setdefault(test.untested, {}).setdefault(model, [])
                if test.mean is not None:
                    figures.append(f"{measure.measure.name} {measure.measure.text(test.mean, '+')}")
    for why, of_models in networks.items():
        figures = "; ".join(f"{model} {', '.join(found)}".strip() for model, found in of_models.items())
        yield f"{family.other} minus {family.base}{family.of_which}, not tested ({why}): {figures}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def verdict(mean: float, p: float) -> str:
    if p >= LEVEL:
        return "no significant difference"
    return "better" if mean < 0 else "worse"


def _verdicts(family: Family, measure: MeasureTests) -> Iterator[str]:
    networks: dict[str, list[str]] = {"better": [], "worse": [], "no significant difference": []}
    for model, test in measure.tests.items():
        if test.mean is not None and not test.untested:
            p = measure.corrected[model]
            networks[verdict(test.mean, p)].append(f"{model} ({p_is(p)})")
    found = [f"{word} for {_listed(models)}" for word, models in networks.items() if models]
    compared = f"{measure.measure.name}, {family.other} against {family.base}{family.of_which}"
    if found:
        corrected = "; p corrected (Holm)" * (len(measure.corrected) > 1)
        yield f"{compared}: {'; '.join(found)}{corrected}."
    if (pooled := measure.pooled) is not None and pooled.mean is not None and pooled.p_t is not None:
        who = "All networks together" if found else f"{compared}, all networks together"
        yield f"{who}: {verdict(pooled.mean, pooled.p_t)} ({p_is(pooled.p_t)})."


def of_which(e: Experiment) -> str:
    where = [text for text in (e.frontend, f"trained on {e.train_set}" if e.train_set else "") if text]
    return f" ({', '.join(where)})"


def difference_stat(test: PairedTest, measure: Measure) -> str:
    """`mean ± standard error` of the paired differences."""
    if test.mean is None:
        return "-"
    mean = measure.text(test.mean, "+")
    return mean if test.standard_error is None else f"{mean} ± {measure.text(test.standard_error)}"


def p_text(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def p_is(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def shown_first(table: SetTable) -> tuple[bool, bool]:
    """A sort key: a set that was not trained, tuned or chosen on comes first, dev last."""
    return table.set_name == DEV, table.set_name != "eval"


@dataclass(frozen=True)
class Compared:
    """The EERs of two methods on one set: means of one network, or of several tested together."""

    set_name: str
    networks: list[str]
    base: str
    other: str
    base_eer: float
    other_eer: float
    test: PairedTest

    @property
    def sentence(self) -> str:
        of = self.networks[0] if len(self.networks) == 1 else f"{len(self.networks)} networks"
        ours, theirs = (f"{EER.text(eer)} %" for eer in (self.other_eer, self.base_eer))
        text = f"{self.other} {ours} against {self.base} {theirs} EER on {self.set_name}"
        if self.test.mean is None:
            return f"{text} ({of}): no common seed."
        text += f" ({of}): difference {EER.text(self.test.mean, '+')} points"
        if self.test.interval is None or self.test.p_t is None:
            return f"{text}; no test."
        interval = EER.span(self.test.interval, "+")
        significant = verdict(self.test.mean, self.test.p_t)
        return f"{text} (95 % interval {interval}), {p_is(self.test.p_t)}: {significant}."


def compared(table: SetTable) -> Iterator[Compared]:
    """Each two methods on all networks together, or, where they are too few for a test, on each network."""
    for family in families(table):
        measure = next((one for one in significance(family) if one.measure is EER), None)
        if measure is None:
            continue
        if measure.pooled is not None:
            groups = [(family.pairs, measure.pooled)]
        else:
            groups = [([pair], measure.tests[pair.other.model]) for pair in family.pairs]
        for pairs, test in groups:
            base, other = (
                fmean(fmean(EER.by_seed(results).values()) for results in of_networks)
                for of_networks in zip(*((pair.base_results, pair.other_results) for pair in pairs))
            )
            names = [pair.other.model for pair in pairs]
            yield Compared(table.set_name, names, family.base, family.other + family.of_which, base, other, test)


def speaker_rows(table: SetTable) -> list[tuple[str, str, Callable[[Evaluation], float | None]]]:
    """Name, bona fide trials, and share of them that is rejected (None where a result lacks a speaker). The
    speakers with the most trials one by one, the others together; empty where no result knows its speakers."""

    def trials_of(result: Evaluation) -> dict[str, int]:
        return {name: one.n_bonafide for name, one in (result.per_speaker or {}).items() if one.n_bonafide}

    results = (result for _, of_seeds in table.rows for result in of_seeds.values())
    trials = next((found for result in results if (found := trials_of(result))), None)
    if not trials:
        return []

    def missed(names: Sequence[str]) -> Callable[[Evaluation], float | None]:
        total = sum(trials[name] for name in names)

        def share(result: Evaluation) -> float | None:
            speakers = result.per_speaker or {}
            rates = {name: speakers[name].miss for name in names if name in speakers}
            if len(rates) < len(names) or None in rates.values():
                return None
            return sum(trials[name] * rate for name, rate in rates.items() if rate is not None) / total

        return share

    def count(names: Sequence[str]) -> str:
        total = sum(trials[name] for name in names)
        return f"{total:,} ({100 * total / sum(trials.values()):.0f} %)"

    names = sorted(trials, key=lambda name: (-trials[name], name))
    few = len(names) <= MOST_SPEAKERS
    alone, others = (names, []) if few else (names[: MOST_SPEAKERS - 1], names[MOST_SPEAKERS - 1 :])
    rows = [(name, count([name]), missed([name])) for name in alone]
    if others:
        rows.append((f"{len(others)} others", count(others), missed(others)))
    return rows


def attack_text(name: str, corpus: Mapping[str, Any]) -> str:
    """`A10 pitch and formant shift by PSOLA` where the corpus says what its attacks are; else `A10`."""
    words = corpus.get("attacks")
    said = words.get(name) if isinstance(words, Mapping) else None
    return f"{name} {said}" if isinstance(said, str) else name
