"""RESULTS.md: the recipe's results as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from steps.evaluation.environments import ATTACK_FACTORS, ENVIRONMENT_FACTORS, Factor
from steps.evaluation.evaluation import Evaluation, GroupFigures
from steps.experiment.experiments import CONF_SECTIONS, Experiment
from steps.metrics.paired_tests import LEVEL, MOST_FOR_ALL_SIGNS, PairedTest, mean_and_spread, smallest_sign_flip_p
from steps.results.block_cost import block_multiply_adds
from steps.results.fusion import TRAIN_SET, Fusion, fusions_of
from steps.results.tables import (
    EER,
    MEASURES,
    NO_BASELINE,
    TDCF_2019,
    Family,
    Measure,
    MeasureTests,
    SetTable,
    attack_text,
    collect,
    compared,
    differences_of,
    families,
    is_tested,
    not_evaluated_at_all,
    of_which,
    p_text,
    shown_first,
    significance,
    significance_sentences,
    speaker_rows,
    without_baseline,
)

MOST_SENTENCES = 10  # of the summary
CLLR = Measure("Cllr", "Cllr, bits", "cllr", 3)

PAPER = """\
## The paper's figures

**Not measured here.** These are the figures of J. Xue et al., "Learning From Yourself: A Self-Distillation Method for
Fake Speech Detection", ICASSP 2023 (arXiv 2303.01211), on the real ASVspoof 2019 corpus: EER % / min t-DCF
(2019) of the evaluation set. They are not comparable with figures measured on another corpus.

| set | network | baseline | self-distilled |
|---|---|---|---|
| LA | ECANet18 | 1.18 / 0.0378 | 0.88 / 0.0295 |
| LA | SENet34 | 1.23 / 0.0358 | 1.08 / 0.0347 |
| LA | SENet50 | 1.83 / - | 1.00 / about 0.031 |
| PA | ECANet34 | 0.88 / 0.0255 | 0.70 / 0.0208 |
| PA | SENet34 | 1.14 / 0.0334 | 0.65 / 0.0174 |
"""


SIGNIFICANCE = f"""\
Tests: a difference is a method's figure minus its baseline's of the same seed, EER in points; below 0 favours the
method. Trainings of one seed share the detector's initial weights and the order of the utterances, but soon part, so
that pairing by seed takes out only a part of the chance. The interval is that of the paired t-test, its p is corrected
(Holm) for the number of networks; the sign-flip test takes all signs of the differences (of more than
{MOST_FOR_ALL_SIGNS} pairs, {2**MOST_FOR_ALL_SIGNS:,} drawn ones). "All networks" takes each network's mean
difference as one value, as seeds of one network are no independent evidence. The tests weigh the chance of training
only: other trials and speakers might decide otherwise. Only trainings that share data, epochs, batch size, optimizer,
schedule and the choice of the epoch that is kept are tested.""".splitlines()


FUSION = f"""\
Scores of several trainings made one log-likelihood ratio by a model trained on {TRAIN_SET}: the mean of their
calibrated scores for seeds, and for all trainings together; weights by logistic regression for front ends. Alone: the
mean over the trainings fused, of each front end. Cllr: what the ratios cost as they stand, bits;
1 says nothing.""".splitlines()


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> list[str]:
    """A Markdown table, its first `left` columns to the left and the others to the right."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [
        line(headings),
        "|" + "|".join("---" if i < left else "---:" for i in range(len(headings))) + "|",
        *(line(row) for row in rows),
        "",
    ]


def _names(experiments: Sequence[Experiment]) -> tuple[list[str], Callable[[Experiment], list[str]]]:
    """Headings and cells that tell the experiments apart: front end and training set only where they differ."""
    headings, cells = ["network", "method"], [lambda e: e.model, lambda e: e.recipe]
    if len({e.frontend for e in experiments}) > 1:
        headings.append("front end")
        cells.append(lambda e: e.frontend)
    if len({e.train_set for e in experiments}) > 1:
        headings.append("trained on")
        cells.append(lambda e: e.train_set)
    return headings, lambda e: [cell(e) for cell in cells]


def _size(e: Experiment) -> list[str]:
    return [
        "-" if e.parameters is None else f"{e.parameters:,}",
        "-" if e.multiply_adds is None else f"{e.multiply_adds / 1e9:.3g} G",
    ]


def _training_cells(e: Experiment) -> list[str]:
    """What decides about a figure most often, from the experiment's conf; `-` where a method has no such key."""
    train = e.conf["train"]

    def get(*keys: str) -> Any:
        here: Any = train
        for key in keys:
            here = here.get(key) if isinstance(here, dict) else None
        return "-" if here is None else here

    rate = get("schedule", "lr")
    if get("schedule", "name") == "noam":
        rate = f"noam, {get('schedule', 'warmup_steps')} steps"
    elif get("schedule", "name") == "cosine":
        rate = f"{rate}, cosine to 0"
    loss, margin = get("hard_loss", "name"), "-"
    if loss == "a_softmax" and get("hard_loss", "lambda_mode") == "fixed":
        margin = f"fixed {get('hard_loss', 'lambda_fixed')}"
    elif loss == "a_softmax" and get("hard_loss", "lambda_mode") == "anneal":
        margin = f"anneal to {get('hard_loss', 'lambda_floor')}"
    weights = get("hard_loss", "class_weights", "mode")
    if weights == "fixed":
        spoof, bonafide = (get("hard_loss", "class_weights", key) for key in ("spoof", "bonafide"))
        loss = f"{loss}, spoof {spoof:g} : bona fide {bonafide:g}"
    elif weights == "balanced":
        loss = f"{loss}, classes balanced"
    return [str(get("epochs")), str(get("batch_size")), str(rate), str(loss), str(margin)]


def _set_section(table: SetTable) -> list[str]:
    one = table.any_result
    asv = "no ASV scores" if one.asv is None else f"ASV EER {100 * one.asv.eer:.2f} %"
    headings, cells = _names([e for e, _ in table.rows])
    trials = f"{one.n_bonafide:,} bona fide, {one.pooled.n_spoof:,} spoof trials"
    lines = [f"### {table.set_name}, {table.corpus}: {trials}; {asv}", ""]
    lines += markdown_table(
        [*headings, "parameters", "multiply-adds", "seeds", *(measure.heading for measure in MEASURES)],
        [
            [
                *cells(e),
                *_size(e),
                str(len(results)),
                *(measure.stat(results) for measure in MEASURES),
            ]
            for e, results in table.rows
        ],
        len(headings),
    )
    bullets = [f"- {e.model}, {e.recipe}{of_which(e)}: {NO_BASELINE}." for e in without_baseline(table)]
    bullets += [f"- {note}" for note in table.notes]
    if bullets:
        lines += [*bullets, ""]
    for family in families(table):
        lines += _significance_section(family)
    by_parts = (_fusion_section, _heads_section, _attacks_section, _environments_section, _speakers_section)
    return [*lines, *(line for section in by_parts for line in section(table))]


def _significance_section(family: Family) -> list[str]:
    """Tests of one family of networks on one set, and what they come to; without any, why not."""

    def row(measure: MeasureTests, who: str, count: str, test: PairedTest, corrected: float | None) -> list[str]:
        shown = measure.measure
        p_values = ["-" if p is None else p_text(p) for p in (test.p_t, corrected, test.p_sign_flip)]
        return [shown.name, who, count, shown.text(test.mean, "+"), shown.span(test.interval, "+"), *p_values]

    measures = significance(family)
    rows = []
    for measure in measures:
        for model, test in measure.tests.items():
            if not test.untested:
                rows.append(row(measure, model, str(test.count), test, measure.corrected.get(model)))
        if measure.pooled is not None:
            pairs = sum(len(differences_of(pair, measure.measure)) for pair in family.pairs if not pair.unequal)
            count = f"{pairs} in {measure.pooled.count} networks"
            rows.append(row(measure, "all networks", count, measure.pooled, None))
    lines = []
    if rows:
        lines += [f"#### {family.other} minus {family.base}, paired by seed{of_which(family.pairs[0].other)}", ""]
        lines += markdown_table(
            ["figure", "network", "pairs", "difference", "95 % interval", "p, t-test", "p, corrected", "p, sign flip"],
            rows,
            2,
        )
    lines += [f"- {sentence}" for sentence in significance_sentences(family, measures)]
    counts = [test.count for measure in measures for test in measure.tests.values() if not test.untested]
    if counts and (least := smallest_sign_flip_p(min(counts))) >= LEVEL:
        lines.append(
            f"- The sign-flip test of {min(counts)} pairs cannot give a p under {least:.3g}; the sentences go by the "
            "t-test."
        )
    return [*lines, ""]


def _fusion_section(table: SetTable) -> list[str]:
    """Nothing where nothing can be fused."""
    found = fusions_of(table)
    if not found.rows and not found.notes:
        return []
    headings, names = _names([e for e, _ in table.rows])

    def mean(values: Sequence[float | None], measure: Measure) -> str:
        """With its spread where there are several fusions."""
        known = [value for value in values if value is not None]
        return measure.text(known[0]) if len(known) == 1 else measure.stat_of(known, len(known))

    def cells(row: Fusion) -> list[str]:
        of_all = replace(row.experiments[0], frontend=" + ".join(e.frontend for e in row.experiments))
        return [
            *names(of_all),
            row.kind if len(row.fused) == 1 else f"{row.kind}, seed by seed",
            str(row.systems),
            " / ".join(mean([r.pooled.eer for r in results], EER) for results in row.alone),
            mean([f.eer for f in row.fused], EER),
            " / ".join(mean([r.pooled.min_tdcf_2019 for r in results], TDCF_2019) for results in row.alone),
            mean([f.min_tdcf_2019 for f in row.fused], TDCF_2019),
            mean([f.cllr for f in row.fused], CLLR),
        ]

    figures = ["EER % alone", "EER % fused", "min t-DCF 2019 alone", "min t-DCF 2019 fused", "Cllr fused"]
    lines = ["#### Fusion", ""]
    if found.rows:
        lines += [*FUSION, ""]
        lines += markdown_table(
            [*headings, "fused", "systems", *figures], [cells(row) for row in found.rows], len(headings) + 1
        )
    bullets = [f"- {note}" for note in found.notes]
    return [*lines, *bullets, *[""] * bool(bullets)]


def _heads_section(table: SetTable) -> list[str]:
    if not table.heads:
        return []
    experiments = [e for e, _ in table.heads]
    whole = {e.name: results for e, results in table.rows}
    headings, cells = _names(experiments)
    count = max(block for _, blocks in table.heads for block in blocks)
    lines = ["#### EER % by exit", ""]
    lines += ["Exit K: the network stops after stage K, and the head trained there gives the score (`--exit K`).", ""]
    return lines + markdown_table(
        [*headings, "seeds", *(f"exit {k}" for k in range(1, count + 1)), "complete network"],
        [
            [*cells(e), str(seeds)]
            + [EER.stat_of([r.pooled.eer for r in blocks.get(k, {}).values()], seeds) for k in range(1, count + 1)]
            + [EER.stat(detector)]
            for e, blocks in table.heads
            for seeds in [len({seed for results in blocks.values() for seed in results})]
            for detector in [whole.get(e.name, {})]
        ],
        len(headings),
    )


def _block_cost_section(experiments: Sequence[Experiment], tables: Sequence[SetTable]) -> list[str]:
    """Multiply-adds of a score by each exit, for the experiments whose heads were evaluated."""
    with_heads = {e.name for table in tables for e, _ in table.heads}
    costs = {e.name: cost for e in experiments if e.name in with_heads and (cost := block_multiply_adds(e))}
    if not costs:
        return []
    shown = [e for e in experiments if e.name in costs]
    headings, cells = _names(shown)
    count = max(max(cost) for cost in costs.values())
    lines = ["Multiply-adds of a score by exit, and their share of the complete network's, which is the last:", ""]
    return lines + markdown_table(
        [*headings, *(f"exit {k}" for k in range(1, count + 1))],
        [
            cells(e)
            + [
                f"{cost[k] / 1e9:.3g} G ({100 * cost[k] / max(cost.values()):.0f} %)" if k in cost else "-"
                for k in range(1, count + 1)
            ]
            for e in shown
            for cost in [costs[e.name]]
        ],
        len(headings),
    )


Figure = Callable[[Evaluation], float | None]


@dataclass(frozen=True)
class _Column:
    """Results by seed shown in one cell each: one experiment's, or those of a baseline and another method."""

    heading: str
    results: list[dict[int, Evaluation]]


def _means(results: dict[int, Evaluation], figure: Figure) -> float | None:
    """Mean over the seeds that have the figure; None without any."""
    values = [value for result in results.values() if (value := figure(result)) is not None]
    return mean_and_spread(values)[0] if values else None


def _row_of_columns(columns: Sequence[_Column], figure: Figure, measure: Measure) -> list[str]:
    """One cell for each column, mean over seeds; with several columns one more, the mean over them."""
    means = [[_means(results, figure) for results in column.results] for column in columns]
    if len(means) > 1:
        means.append(
            [mean_and_spread(values)[0] if None not in values else None for values in map(list, zip(*means))],
        )
    return [" / ".join("-" if mean is None else measure.text(mean) for mean in cell) for cell in means]


def _column_groups(table: SetTable) -> list[tuple[str, list[_Column]]]:
    """Columns of compact tables, and what a cell holds: a group for each family, and one of what is in no family."""
    found = families(table)
    groups = [
        (
            f"`{family.base} / {family.other}`{of_which(family.pairs[0].other) if len(found) > 1 else ''}",
            [_Column(pair.other.model, [pair.base_results, pair.other_results]) for pair in family.pairs],
        )
        for family in found
    ]
    compared = {e.name for family in found for pair in family.pairs for e in (pair.base, pair.other)}
    rest = [(e, results) for e, results in table.rows if e.name not in compared]
    if rest:
        _, cells = _names([e for e, _ in table.rows])
        groups.append(("", [_Column(" ".join(cells(e)), [results]) for e, results in rest]))
    return groups


def _compact_tables(
    table: SetTable,
    title: str,
    headings: Sequence[str],
    rows: Sequence[tuple[Sequence[str], Figure]],
    measure: Measure = EER,
    note: str = "",
    left: int = 1,
) -> list[str]:
    """A table for each group of columns that has such figures, nothing where none has; rows: the first cells, and the
    figure that the others show; note: a sentence under the title; left: how many first cells are words."""
    lines = []
    for held, columns in _column_groups(table):
        shown = [results for column in columns for results in column.results]
        if all(_means(results, figure) is None for results in shown for _, figure in rows):
            continue
        lines += [f"Mean over seeds{f'; a cell holds {held}' if held else ''}.", ""]
        means = ["mean over networks"] if len(columns) > 1 else []
        lines += markdown_table(
            [*headings, *(column.heading for column in columns), *means],
            [[*cells, *_row_of_columns(columns, figure, measure)] for cells, figure in rows],
            left,
        )
    return [f"#### {title}", "", *([note, ""] if note else []), *lines] if lines else []


def _attacks_section(table: SetTable) -> list[str]:
    one = table.any_result
    names = sorted(one.per_attack)
    cells = [[attack_text(name, one.corpus or {}), f"{one.per_attack[name].n_spoof:,}"] for name in names]
    headings = ["attack", "spoof trials"]
    eers = [lambda r, name=name: r.per_attack[name].eer for name in names]
    costs = [lambda r, name=name: r.per_attack[name].min_tdcf_2019 for name in names]
    return [
        *_compact_tables(table, "EER % of each attack, against all bona fide trials", headings, list(zip(cells, eers))),
        *_compact_tables(
            table,
            "min t-DCF 2019 of each attack, against all bona fide trials",
            headings,
            list(zip(cells, costs)),
            measure=TDCF_2019,
            note="With the ASV's spoof miss rate of that attack's trials, where the ASV scores have any.",
        ),
    ]


def _environments_section(table: SetTable) -> list[str]:
    """Nothing where no result knows the environments of its trials."""
    known = [result for _, results in table.rows for result in results.values() if result.environments]
    if not known:
        return []

    def level(result: Evaluation, factor: Factor, letter: str) -> GroupFigures | None:
        found = result.environments
        parts = {} if found is None else {**found.per_environment, **found.per_attack_factor}
        return parts.get(factor.key, {}).get(letter)

    def tables(of: str, against: str, factors: Sequence[Factor], note: str) -> list[str]:
        """Of EER and of t-DCF, a row for each level of each factor."""
        keys = [(factor, letter) for factor in factors for letter in factor.levels]
        cells = []
        for factor, letter in keys:
            one = level(known[0], factor, letter)
            counts = ["-", "-"] if one is None else [f"{one.n_bonafide:,}", f"{one.n_spoof:,}"]
            cells.append([factor.name, f"{letter}: {factor.levels[letter]}", *counts])

        def rows(figure: str) -> list[tuple[list[str], Figure]]:
            return [
                (cell, lambda r, place=(factor, letter): getattr(level(r, *place), figure, None))
                for cell, (factor, letter) in zip(cells, keys)
            ]

        headings = ["factor", "level", "bona fide trials", "spoof trials"]
        titles = [f"{name} by {of} factor, {against}" for name in ("EER %", "min t-DCF 2019")]
        return [
            *_compact_tables(table, titles[0], headings, rows("eer"), left=2),
            *_compact_tables(table, titles[1], headings, rows("min_tdcf_2019"), measure=TDCF_2019, note=note, left=2),
        ]

    return [
        *tables(
            "environment",
            "bona fide against spoof trials of such environments",
            ENVIRONMENT_FACTORS,
            "With the ASV's rates of all its trials, as ASV scores name no environments.",
        ),
        *tables(
            "attack",
            "against all bona fide trials",
            ATTACK_FACTORS,
            "With the ASV's spoof miss rate of the trials of such attacks, where the ASV scores have them all.",
        ),
        (
            "Heat maps of the EER of each attack in each kind of room lie with the trainings: "
            f"`seed<N>/results/{table.set_name}/attack_by_environment.png`."
        ),
        "",
    ]


def _speakers_section(table: SetTable) -> list[str]:
    title = "Bona fide trials rejected at the threshold of the set's EER, %, by speaker"
    rows = [([name, trials], missed) for name, trials, missed in speaker_rows(table)]
    return _compact_tables(table, title, ["speaker", "bona fide trials"], rows) if rows else []


def _confs(experiments: Sequence[Experiment]) -> list[tuple[str, str]]:
    """Title and YAML text of each front end's, network's and method's conf, each text once."""
    users: dict[tuple[str, str], list[str]] = {}
    for section in CONF_SECTIONS:
        for e in experiments:
            if not e.conf[section]:  # not augmented
                continue
            name = {"frontend": e.frontend, "model": e.model, "train": e.recipe, "augment": e.recipe}[section]
            text = yaml.safe_dump(e.conf[section], sort_keys=False, default_flow_style=None, width=110).rstrip()
            users.setdefault((f"{section}: {name}", text), []).append(e.name)
    titles = [title for title, _ in users]
    return [
        (title if titles.count(title) == 1 else f"{title}, in {', '.join(names)}", text)
        for (title, text), names in users.items()
    ]


def markdown(experiments: Sequence[Experiment], command: str | None, picture: str | None = None) -> str:
    """RESULTS.md: a summary, `picture` (a file beside it), the tables, then how to read them. The same experiments give
    the same text."""
    tables = sorted(collect(experiments), key=shown_first)
    corpora = sorted({table.corpus for table in tables})
    lines = ["# Results", ""]
    lines += [f"Measured on: {'; '.join(f'**{corpus}**' for corpus in corpora) or 'nothing yet'}.", ""]
    if any("mini" in corpus.lower() for corpus in corpora):
        lines += ["The mini corpus is a small stand-in: its figures do not stand for the real ASVspoof 2019's.", ""]
    if sentences := [f"- {one.sentence}" for table in tables for one in compared(table)][:MOST_SENTENCES]:
        lines += ["## Summary", "", *sentences, ""]
    if picture:
        lines += [f"![Difference of the EER by set and network]({picture})", ""]
    for corpus in corpora:
        lines += [f"## {corpus}", ""]
        for table in tables:
            if table.corpus == corpus:
                lines += _set_section(table)
    lines += ["## How to read", ""]
    lines += [
        "Each figure is the mean ± sample standard deviation over seeds. The t-DCF columns are the minimum normalised",
        "t-DCF as ASVspoof 2019 defined it and as ASVspoof 2021 revised it.",
        "",
    ]
    if any(is_tested(measure) for table in tables for family in families(table) for measure in significance(family)):
        lines += [*SIGNIFICANCE, ""]
    if command:
        lines += ["Made by:", "", "```sh", *command.strip().splitlines(), "```", ""]
    notes = [f"not evaluated on any set: {name}" for name in not_evaluated_at_all(experiments)]
    notes += [f"{e.name}: {note}" for e in experiments for note in e.notes]
    if notes:
        lines += ["## Notes", "", *(f"- {note}" for note in notes), ""]
    lines += ["## How they were trained", ""]
    shapes = {e.input_shape for e in experiments if e.input_shape is not None}
    if shapes:
        shown = "; ".join(" x ".join(map(str, shape)) for shape in sorted(shapes))
        lines += [f"Multiply-adds are of one trial, frames x bins: {shown}.", ""]
    headings, cells = _names(experiments)
    lines += markdown_table(
        [*headings, "epochs", "batch", "learning rate", "hard loss", "A-softmax lambda"],
        [[*cells(e), *_training_cells(e)] for e in experiments],
        len(headings),
    )
    lines += _block_cost_section(experiments, tables)
    for title, text in _confs(experiments):
        lines += [
            f"<details><summary>{title}</summary>",
            "",
            "```yaml",
            *text.splitlines(),
            "```",
            "",
            "</details>",
            "",
        ]
    return "\n".join(lines) + "\n" + PAPER
