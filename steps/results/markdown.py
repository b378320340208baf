"""RESULTS.md: the recipe's results as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from steps.evaluation.environments import ATTACK_FACTORS, ENVIRONMENT_FACTORS, Factor
from steps.evaluation.evaluation import Evaluation, GroupFigures
from steps.experiment.experiments import CONF_SECTIONS, Experiment
from steps.metrics.paired_tests import LEVEL, MOST_FOR_ALL_SIGNS, holm, smallest_sign_flip_p
from steps.results.block_cost import block_multiply_adds
from steps.results.fusion import Fusion, fusions_of
from steps.results.tables import (
    DEV,
    EER,
    MINI_CORPUS,
    NO_BASELINE,
    SHOWN,
    TDCF_2019,
    TDCF_2021,
    UNDECIDED_MEANING,
    BySeed,
    Family,
    Figure,
    Measure,
    SetTable,
    attack_text,
    collect,
    compared,
    coverage_rules,
    is_mini,
    marked,
    mean_over_seeds,
    naming,
    not_evaluated_at_all,
    of_which,
    p_text,
    shown_first,
    significance_sentences,
    speaker_rows,
    trials_text,
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
Scores of several trainings made one log-likelihood ratio by a model trained on {DEV}: the mean of their
calibrated scores for seeds, and for all trainings together; weights by logistic regression for front ends. Alone: the
mean over the trainings fused, of each front end. Cllr: what the ratios cost as they stand, bits;
1 says nothing.""".splitlines()


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> list[str]:
    """A Markdown table, its first `left` columns to the left and the others to the right."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    marks = "|".join("---" if i < left else "---:" for i in range(len(headings)))
    return [line(headings), f"|{marks}|", *map(line, rows), ""]


def bullets(texts: Iterable[str]) -> list[str]:
    """A list and the empty line after it; nothing without texts."""
    lines = [f"- {text}" for text in texts]
    return [*lines, ""] if lines else []


def opening(title: str, corpora: Sequence[str]) -> list[str]:
    """The first lines of a page of results."""
    lines = [f"# {title}", "", f"Measured on: {'; '.join(f'**{corpus}**' for corpus in corpora) or 'nothing yet'}.", ""]
    return lines + [MINI_CORPUS, ""] * any(map(is_mini, corpora))


def made_by(command: str | None) -> list[str]:
    return ["Made by:", "", "```sh", *command.strip().splitlines(), "```", ""] if command else []


def giga(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e9:.3g} G"


# ---------------------------------------------------------------- one set


def _set_section(table: SetTable) -> list[str]:
    headings, names = naming([e for e, _ in table.rows])
    lines = [f"### {table.set_name}, {table.corpus}: {trials_text(table)}", ""]
    marks, footnotes = marked([results for _, results in table.rows])
    lines += markdown_table(
        [*headings, "parameters", "multiply-adds", "seeds", *(measure.heading for measure in SHOWN)],
        [
            [*cells[:-1], cells[-1] + mark, "-" if e.parameters is None else f"{e.parameters:,}", giga(e.multiply_adds)]
            + [str(len(results)), *(measure.stat(results) for measure in SHOWN)]
            for (e, results), mark in zip(table.rows, marks)
            for cells in [names(e)]
        ],
        len(headings),
    )
    alone = [f"{e.model}, {e.recipe}{of_which(e)}: {NO_BASELINE}." for e in without_baseline(table)]
    lines += bullets([*footnotes, *alone, *table.notes])
    for family in table.families:
        lines += _significance_section(family)
    parts = (
        _fusion_section,
        _heads_section,
        _attacks_section,
        _conditions_section,
        _environments_section,
        _speakers_section,
    )
    return [*lines, *(line for section in parts for line in section(table))]


def _significance_section(family: Family) -> list[str]:
    """The tests of one family of networks on one set, and their verdict; without any, why not."""
    rows, counts = [], []
    for tested in family.tests:
        shown = tested.measure
        for network, test, corrected in tested.rows():
            count = str(test.count)
            if test is tested.pooled:
                pairs = sum(len(pair.differences(shown)) for pair in family.pairs if not pair.unequal)
                count = f"{pairs} in {test.count} networks"
            else:
                counts.append(test.count)
            p_values = ["-" if p is None else p_text(p) for p in (test.p_t, corrected, test.p_sign_flip)]
            figures = [shown.text(test.mean, "+"), shown.span(test.interval, "+")]
            rows.append([shown.name, network, count, *figures, *p_values])
    lines = []
    if rows:
        lines += [f"#### {family.other} minus {family.base}, paired by seed{of_which(family.pairs[0].other)}", ""]
        headings = ["figure", "network", "pairs", "difference", "95 % interval", "p, t-test", "p, corrected"]
        lines += markdown_table([*headings, "p, sign flip"], rows, 2)
    sentences = significance_sentences(family)
    if counts and (least := smallest_sign_flip_p(min(counts))) >= LEVEL:
        sentences.append(
            f"The sign-flip test of {min(counts)} pairs cannot give a p under {least:.3g}; the sentences go by the "
            "t-test."
        )
    return lines + [*(f"- {sentence}" for sentence in sentences), ""]


def _fusion_section(table: SetTable) -> list[str]:
    """Nothing if nothing can be fused."""
    fusions, notes = fusions_of(table)
    headings, names = naming([e for e, _ in table.rows])

    def mean(values: Sequence[float | None], measure: Measure) -> str:
        """With its spread if there are several fusions."""
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

    lines = ["#### Fusion", ""] if fusions or notes else []
    if fusions:
        figures = ["EER % alone", "EER % fused", "min t-DCF 2019 alone", "min t-DCF 2019 fused", "Cllr fused"]
        columns = [*headings, "fused", "systems", *figures]
        lines += [*FUSION, "", *markdown_table(columns, map(cells, fusions), len(headings) + 1)]
    return lines + bullets(notes)


def _heads_section(table: SetTable) -> list[str]:
    if not table.heads:
        return []
    detectors = {e.name: results for e, results in table.rows}
    headings, names = naming([e for e, _ in table.heads])
    numbers = range(1, 1 + max(block for _, blocks in table.heads for block in blocks))
    rows = []
    for e, blocks in table.heads:
        seeds = len({seed for results in blocks.values() for seed in results})
        eers = [EER.stat_of(list(EER.by_seed(blocks.get(k, {})).values()), seeds) for k in numbers]
        rows.append([*names(e), str(seeds), *eers, EER.stat(detectors.get(e.name, {}))])
    return [
        "#### EER % by exit",
        "",
        "Exit K: the network stops after stage K, and the head trained there gives the score (`--exit K`).",
        "",
        *markdown_table([*headings, "seeds", *(f"exit {k}" for k in numbers), "complete network"], rows, len(headings)),
        *(line for family in table.families for line in _exit_tests(family, dict((e.name, b) for e, b in table.heads))),
    ]


_STAGES = 4  # of every network; an older training may have a head of the last one too


def _exit_tests(family: Family, heads: Mapping[str, Mapping[int, BySeed]]) -> list[str]:
    """The EER by each shallow exit against the baseline's complete network, p corrected for the number of exits."""
    tests = {
        (pair.other.model, stage): test
        for pair in family.pairs
        for stage, results in sorted(heads.get(pair.other.name, {}).items())
        if stage < _STAGES and not (test := replace(pair, other_results=results).test(EER)).untested
    }
    if not tests:
        return []
    corrected = holm([test.p_t for test in tests.values()])
    rows = [
        [network, f"exit {stage}", str(test.count), EER.text(test.mean, "+"), EER.span(test.interval, "+"), *p_values]
        for ((network, stage), test), p in zip(tests.items(), corrected)
        for p_values in [[p_text(test.p_t), p_text(p)]]
    ]
    of = of_which(family.pairs[0].other)
    title = f"EER % by exit of {family.other} minus the complete {family.base}, paired by seed{of}"
    headings = ["network", "exit", "pairs", "difference", "95 % interval", "p, t-test", "p, corrected"]
    return [f"#### {title}", "", *markdown_table(headings, rows, 2)]


def _block_cost_section(experiments: Sequence[Experiment], tables: Sequence[SetTable]) -> list[str]:
    """Multiply-adds of a score by each exit, for the experiments whose heads were evaluated."""
    with_heads = {e.name for table in tables for e, _ in table.heads}
    costs = [(e, cost) for e in experiments if e.name in with_heads and (cost := block_multiply_adds(e))]
    if not costs:
        return []
    headings, names = naming([e for e, _ in costs])
    numbers = range(1, 1 + max(max(cost) for _, cost in costs))
    rows = []
    for e, cost in costs:
        shares = {k: f"{giga(count)} ({100 * count / max(cost.values()):.0f} %)" for k, count in cost.items()}
        rows.append([*names(e), *(shares.get(k, "-") for k in numbers)])
    return [
        "Multiply-adds of a score by exit, and their share of the complete network's, which is the last:",
        "",
        *markdown_table([*headings, *(f"exit {k}" for k in numbers)], rows, len(headings)),
    ]


# ---------------------------------------------------------------- tables of means by attack, environment, speaker

Column = tuple[str, list[BySeed]]  # heading, and the results shown in one cell: one experiment's, or a pair's


def _column_groups(table: SetTable) -> list[tuple[str, list[Column]]]:
    """The content of a cell in words, and the columns: for each family, and for all experiments in no family."""
    found = table.families
    groups: list[tuple[str, list[Column]]] = []
    for family in found:
        held = f"`{family.base} / {family.other}`{of_which(family.pairs[0].other) if len(found) > 1 else ''}"
        groups.append((held, [(pair.other.model, [pair.base_results, pair.other_results]) for pair in family.pairs]))
    paired = {e.name for family in found for pair in family.pairs for e in (pair.base, pair.other)}
    _, names = naming([e for e, _ in table.rows])
    rest = [(" ".join(names(e)), [results]) for e, results in table.rows if e.name not in paired]
    return groups + [("", rest)] * bool(rest)


def _compact_tables(
    table: SetTable,
    title: str,
    headings: Sequence[str],
    rows: Sequence[tuple[Sequence[str], Figure]],
    measure: Measure = EER,
    note: str = "",
    left: int = 1,
) -> list[str]:
    """A table for each group of columns that has such figures; rows: the first cells, and the figure that the others
    show, mean over seeds; note: a sentence under the title; left: how many first cells are words."""
    lines = []
    for held, columns in _column_groups(table):
        shown, known = [], False
        for cells, figure in rows:
            means = [[mean_over_seeds(results, figure) for results in of_column] for _, of_column in columns]
            known |= any(mean is not None for cell in means for mean in cell)
            if len(columns) > 1:
                means.append([None if None in values else fmean(values) for values in zip(*means)])
            texts = [" / ".join("-" if mean is None else measure.text(mean) for mean in cell) for cell in means]
            shown.append([*cells, *texts])
        if not known:
            continue
        columns_of = [*(heading for heading, _ in columns), *["mean over networks"] * (len(columns) > 1)]
        lines += [f"Mean over seeds{f'; a cell holds {held}' if held else ''}.", ""]
        lines += markdown_table([*headings, *columns_of], shown, left)
    return [f"#### {title}", "", *([note, ""] if note else []), *lines] if lines else []


def _attacks_section(table: SetTable) -> list[str]:
    one = table.any_result
    names = sorted(one.per_attack)
    cells = [[attack_text(name, one.corpus or {}), f"{one.per_attack[name].n_spoof:,}"] for name in names]
    headings = ["attack", "spoof trials"]
    eers = [lambda r, name=name: r.per_attack[name].eer for name in names]
    costs = [lambda r, name=name: r.per_attack[name].min_tdcf_2019 for name in names]
    against = "of each attack, against all bona fide trials"
    note = "With the ASV's spoof miss rate of that attack's trials, where the ASV scores have any."
    return [
        *_compact_tables(table, f"EER % {against}", headings, list(zip(cells, eers))),
        *_compact_tables(table, f"min t-DCF 2019 {against}", headings, list(zip(cells, costs)), TDCF_2019, note),
    ]


def _conditions_section(table: SetTable) -> list[str]:
    """Nothing if no result has figures by condition."""
    known = next((r.conditions for _, results in table.rows for r in results.values() if r.conditions), None)
    if known is None:
        return []

    def of(result: Evaluation, name: str, value: str) -> GroupFigures | None:
        group = (result.conditions or {}).get(name, {}).get(value)
        return group and group.figures

    eers, costs = [], []
    for name, values in known.items():
        for value, group in values.items():
            one, place = group.figures, (name, value)
            cells = [name, value, f"{one.n_bonafide:,}", f"{one.n_spoof:,}"]
            eers.append((cells, lambda r, place=place: getattr(of(r, *place), "eer", None)))
            costs.append((cells, lambda r, place=place: getattr(of(r, *place), "min_tdcf_2021", None)))
    headings = ["condition", "value", "bona fide trials", "spoof trials"]
    against = (
        "Bona fide against spoof trials of the same value; what only spoof trials have, against all bona fide trials."
        f" Intervals by trial: `seed<N>/results/{table.set_name}/per_condition.tsv`."
    )
    asv = "With the ASV's rates of all its trials, as ASV scores name no conditions."
    return [
        *_compact_tables(table, "EER % by condition", headings, eers, note=against, left=2),
        *_compact_tables(table, "min t-DCF 2021 by condition", headings, costs, TDCF_2021, asv, left=2),
    ]


def _environments_section(table: SetTable) -> list[str]:
    """Nothing if no result knows the environments of its trials."""
    known = [result for _, results in table.rows for result in results.values() if result.environments]
    if not known:
        return []

    def level(result: Evaluation, factor: Factor, letter: str) -> GroupFigures | None:
        found = result.environments
        parts = {} if found is None else {**found.per_environment, **found.per_attack_factor}
        return parts.get(factor.key, {}).get(letter)

    def tables(title: str, factors: Sequence[Factor], note: str) -> list[str]:
        """Of EER and of t-DCF, a row for each level of each factor."""
        eers, costs = [], []
        for factor in factors:
            for letter, text in factor.levels.items():
                one = level(known[0], factor, letter)
                counts = ["-", "-"] if one is None else [f"{one.n_bonafide:,}", f"{one.n_spoof:,}"]
                cells, place = [factor.name, f"{letter}: {text}", *counts], (factor, letter)
                eers.append((cells, lambda r, place=place: getattr(level(r, *place), "eer", None)))
                costs.append((cells, lambda r, place=place: getattr(level(r, *place), "min_tdcf_2019", None)))
        headings = ["factor", "level", "bona fide trials", "spoof trials"]
        return [
            *_compact_tables(table, f"EER % {title}", headings, eers, left=2),
            *_compact_tables(table, f"min t-DCF 2019 {title}", headings, costs, TDCF_2019, note, left=2),
        ]

    return [
        *tables(
            "by environment factor, bona fide against spoof trials of such environments",
            ENVIRONMENT_FACTORS,
            "With the ASV's rates of all its trials, as ASV scores name no environments.",
        ),
        *tables(
            "by attack factor, against all bona fide trials",
            ATTACK_FACTORS,
            "With the ASV's spoof miss rate of the trials of such attacks, where the ASV scores have them all.",
        ),
        "Heat maps of the EER of each attack in each kind of room lie with the trainings: "
        f"`seed<N>/results/{table.set_name}/attack_by_environment.png`.",
        "",
    ]


def _speakers_section(table: SetTable) -> list[str]:
    title = "Bona fide trials rejected at the threshold of the set's EER, %, by speaker"
    rows = [([name, trials], missed) for name, trials, missed in speaker_rows(table)]
    return _compact_tables(table, title, ["speaker", "bona fide trials"], rows)


# ---------------------------------------------------------------- trainings


def _training_cells(e: Experiment) -> list[str]:
    """The settings that most often decide a figure, from the experiment's conf; `-` if a method has no such key."""

    def get(*keys: str) -> Any:
        here: Any = e.conf["train"]
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
    return [str(cell) for cell in (get("epochs"), get("batch_size"), rate, loss, margin)]


def _without_places(conf: Any) -> Any:
    """A conf whose absolute paths, of an encoder's folder for instance, are names alone: a page is read elsewhere."""
    if isinstance(conf, dict):
        return {key: _without_places(value) for key, value in conf.items()}
    if isinstance(conf, list):
        return [_without_places(value) for value in conf]
    return Path(conf).name if isinstance(conf, str) and conf.startswith("/") else conf


def _confs(experiments: Sequence[Experiment]) -> list[str]:
    """Each front end's, network's and method's conf, folded away, each text once."""
    users: dict[tuple[str, str], list[str]] = {}
    for section in CONF_SECTIONS:
        for e in experiments:
            if e.conf[section]:  # empty if not augmented
                name = {"frontend": e.frontend, "model": e.model, "train": e.recipe, "augment": e.recipe}[section]
                text = yaml.safe_dump(
                    _without_places(e.conf[section]), sort_keys=False, default_flow_style=None, width=110
                ).rstrip()
                users.setdefault((f"{section}: {name}", text), []).append(e.name)
    titles = [title for title, _ in users]
    lines = []
    for (title, text), names in users.items():
        shown = title if titles.count(title) == 1 else f"{title}, in {', '.join(names)}"
        lines += [f"<details><summary>{shown}</summary>", "", "```yaml", text, "```", "", "</details>", ""]
    return lines


def _trainings_section(experiments: Sequence[Experiment], tables: Sequence[SetTable]) -> list[str]:
    lines = ["## How they were trained", ""]
    shapes = {e.input_shape for e in experiments if e.input_shape is not None}
    if shapes:
        shown = "; ".join(" x ".join(map(str, shape)) for shape in sorted(shapes))
        lines += [f"Multiply-adds are of one trial, frames x bins: {shown}.", ""]
    headings, names = naming(experiments)
    columns = [*headings, "epochs", "batch", "learning rate", "hard loss", "A-softmax lambda"]
    lines += markdown_table(columns, [[*names(e), *_training_cells(e)] for e in experiments], len(headings))
    return lines + _block_cost_section(experiments, tables) + _confs(experiments)


def markdown(experiments: Sequence[Experiment], command: str | None, picture: str | None = None) -> str:
    """RESULTS.md: a summary, `picture` (a file beside it), the paper's table, those measured, then how to read them.
    The same experiments give the same text."""
    tables = sorted(collect(experiments), key=shown_first)
    corpora = sorted({table.corpus for table in tables})
    lines = opening("Results", corpora)
    if sentences := [sentence for table in tables for sentence in compared(table)][:MOST_SENTENCES]:
        lines += ["## Summary", "", *bullets(sentences)]
    if picture:
        lines += [f"![Difference of the EER by set and network]({picture})", ""]
    lines += PAPER.splitlines() + [""]
    for corpus in corpora:
        lines += [f"## {corpus}", ""]
        for table in tables:
            if table.corpus == corpus:
                lines += _set_section(table)
    lines += [
        "## How to read",
        "",
        "Each figure is the mean ± sample standard deviation over seeds. The t-DCF columns are the minimum normalised",
        "t-DCF as ASVspoof 2019 defined it and as ASVspoof 2021 revised it.",
        "",
    ]
    if rules := coverage_rules(tables):
        lines += [*textwrap.wrap(f"{UNDECIDED_MEANING} {'; '.join(rules)}.", 118), ""]
    if any([*tested.rows()] for table in tables for family in table.families for tested in family.tests):
        lines += [*SIGNIFICANCE, ""]
    lines += made_by(command)
    notes = [f"not evaluated on any set: {name}" for name in not_evaluated_at_all(experiments)]
    if notes := bullets([*notes, *(f"{e.name}: {note}" for e in experiments for note in e.notes)]):
        lines += ["## Notes", "", *notes]
    return "\n".join(lines + _trainings_section(experiments, tables))
