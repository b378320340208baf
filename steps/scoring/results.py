"""What the recipe's results consist of, whatever they are written as: which figures stand in one table, which
experiments are compared, and how a figure over seeds is put in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from steps.scoring.comparison import Difference, difference, mean_and_spread, verdicts
from steps.scoring.experiments import Experiment, SetResult, check_same_trials, natural_order

BASELINE = "baseline"
NO_BASELINE = "no one baseline of the same network, front end and training set to compare with"
MEASURES: tuple[tuple[str, str, int], ...] = (  # heading, attribute of SetResult, digits after the point
    ("EER %", "eer", 2),
    ("min t-DCF 2019", "min_tdcf_2019", 4),
    ("min t-DCF 2021", "min_tdcf_2021", 4),
)


@dataclass(frozen=True)
class SetTable:
    """What was measured on one set of one corpus: the experiments to show, each with its results by seed number."""

    corpus: str
    set_name: str
    rows: list[tuple[Experiment, dict[int, SetResult]]]
    heads: list[tuple[Experiment, dict[int, dict[int, SetResult]]]]  # block, then seed
    notes: list[str]

    @property
    def any_result(self) -> SetResult:
        return next(result for _, results in self.rows for result in results.values())


def collect(experiments: Sequence[Experiment]) -> list[SetTable]:
    """One table for each corpus and set, in order. Raises UserError when trials differ within a table."""
    keys = {
        (result.corpus, set_name) for e in experiments for seed in e.seeds for set_name, result in seed.results.items()
    }
    tables = []
    for corpus, set_name in sorted(keys, key=lambda key: (key[0], natural_order(key[1]))):
        rows, heads, notes = [], [], []
        warned: dict[str, list[str]] = {}
        for e in experiments:
            corpora = {result.corpus for seed in e.seeds for result in seed.results.values()}
            if corpora and corpus not in corpora:
                continue
            here = {
                seed.number: seed.results[set_name]
                for seed in e.seeds
                if set_name in seed.results and seed.results[set_name].corpus == corpus
            }
            lacking = [f"seed {seed.number}" for seed in e.seeds if seed.number not in here]
            if lacking:
                notes.append(f"not evaluated: {e.name}, {', '.join(lacking)}")
            if here:
                rows.append((e, here))
            blocks: dict[int, dict[int, SetResult]] = {}
            for seed in e.seeds:
                for block, result in seed.heads.get(set_name, {}).items():
                    if result.corpus == corpus:
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


def comparisons(table: SetTable) -> Iterator[tuple[Experiment | None, Experiment, dict[str, Difference]]]:
    """Each experiment that is no baseline with its baseline: same network, front end and training set, and the same
    variant, or else the only baseline there is; None where there is none, or several of other variants. The differences
    are by SetResult's attribute."""
    for other, other_results in table.rows:
        if other.method == BASELINE:
            continue
        candidates = [
            (e, results)
            for e, results in table.rows
            if e.method == BASELINE
            and (e.model, e.frontend, e.train_set) == (other.model, other.frontend, other.train_set)
        ]
        same_variant = [pair for pair in candidates if pair[0].variant == other.variant]
        chosen = same_variant or candidates
        if len(chosen) != 1:
            yield None, other, {}
            continue
        base, base_results = chosen[0]
        found = {}
        for _, attribute, _ in MEASURES:
            ours, theirs = by_seed(other_results, attribute), by_seed(base_results, attribute)
            if ours and theirs:
                found[attribute] = difference(theirs, ours)
        yield base, other, found


def by_seed(results: dict[int, SetResult], attribute: str) -> dict[int, float]:
    values = {seed: getattr(result, attribute) for seed, result in results.items()}
    return {seed: value for seed, value in values.items() if value is not None}


def stat(values: Sequence[float], of: int, digits: int) -> str:
    """`mean ± standard deviation` of the seeds that have the figure, `of` being how many there are."""
    if not values:
        return "-"
    mean, spread = mean_and_spread(values)
    text = f"{mean:.{digits}f} (1 seed)" if spread is None else f"{mean:.{digits}f} ± {spread:.{digits}f}"
    return text if len(values) == of or spread is None else f"{text} ({len(values)} of {of} seeds)"


def of_which(e: Experiment) -> str:
    where = [text for text in (e.frontend, f"trained on {e.train_set}" if e.train_set else "") if text]
    return f" ({', '.join(where)})"


def verdict_sentences(found: dict[str, Difference]) -> list[str]:
    """What the differences of EER and of the t-DCF of the paper (2019) come to."""
    named = [("EER", "eer", 2, " points"), ("min t-DCF 2019", "min_tdcf_2019", 4, "")]
    return verdicts(
        [
            (
                name,
                "" if (spread := found[attribute].spread) is None else f"{spread:.{digits}f}{unit}",
                found[attribute],
            )
            for name, attribute, digits, unit in named
            if attribute in found
        ]
    )


def difference_stat(found: Difference | None, digits: int) -> str:
    if found is None:
        return "-"
    mean = f"{found.mean:+.{digits}f}"
    return mean if found.standard_error is None else f"{mean} ± {found.standard_error:.{digits}f}"
