"""RESULTS.md: the recipe's results as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import yaml

from steps.scoring.comparison import Difference, mean_and_spread
from steps.scoring.experiments import CONF_SECTIONS, Experiment
from steps.scoring.results import (
    MEASURES,
    NO_BASELINE,
    SetTable,
    by_seed,
    collect,
    comparisons,
    difference_stat,
    not_evaluated_at_all,
    of_which,
    stat,
    verdict_sentences,
)

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


def _markdown(headings: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> list[str]:
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
    margin = get("hard_loss", "lambda_mode")
    if margin == "fixed":
        margin = f"fixed {get('hard_loss', 'lambda_fixed')}"
    elif margin == "anneal":
        margin = f"anneal to {get('hard_loss', 'lambda_floor')}"
    return [str(get("epochs")), str(get("batch_size")), str(rate), str(get("hard_loss", "name")), str(margin)]


def _set_section(table: SetTable) -> list[str]:
    one = table.any_result
    asv = "no ASV scores" if one.asv_eer is None else f"ASV EER {one.asv_eer:.2f} %"
    headings, cells = _names([e for e, _ in table.rows])
    trials = f"{one.n_bonafide:,} bona fide, {one.n_spoof:,} spoof trials"
    lines = [f"### {table.set_name}, {table.corpus}: {trials}; {asv}", ""]
    lines += _markdown(
        [*headings, "parameters", "multiply-adds", "seeds", *(heading for heading, _, _ in MEASURES)],
        [
            [
                *cells(e),
                *_size(e),
                str(len(results)),
                *(stat([*by_seed(results, name).values()], len(results), digits) for _, name, digits in MEASURES),
            ]
            for e, results in table.rows
        ],
        len(headings),
    )
    bullets = []
    for base, other, found in comparisons(table):
        if base is None:
            bullets.append(f"- {other.model}, {other.recipe}{of_which(other)}: {NO_BASELINE}.")
        else:
            sentences = " ".join([_difference_text(found), *verdict_sentences(found)])
            bullets.append(f"- {other.model}, {other.recipe} against {base.recipe}{of_which(other)}: {sentences}")
    bullets += [f"- {note}" for note in table.notes]
    if bullets:
        lines += [*bullets, ""]
    if table.heads:
        count = max(block for _, blocks in table.heads for block in blocks)
        lines += ["EER % of each block's own classifier (the deepest is the detector's):", ""]
        lines += _markdown(
            [*headings, "seeds", *(f"block {k}" for k in range(1, count + 1))],
            [
                [*cells(e), str(seeds)]
                + [stat([r.eer for r in blocks.get(k, {}).values()], seeds, 2) for k in range(1, count + 1)]
                for e, blocks in table.heads
                for seeds in [len({seed for results in blocks.values() for seed in results})]
            ],
            len(headings),
        )
    lines += ["EER % of each attack, against all bona fide trials (mean over seeds):", ""]
    lines += _markdown(
        ["attack", "spoof trials", *(" ".join(cells(e)) for e, _ in table.rows)],
        [
            [name, f"{trials:,}"]
            + [f"{mean_and_spread([r.attack_eer[name] for r in results.values()])[0]:.2f}" for _, results in table.rows]
            for name, trials in sorted(one.attack_trials.items())
        ],
        1,
    )
    return lines


def _confs(experiments: Sequence[Experiment]) -> list[tuple[str, str]]:
    """Title and YAML text of each front end's, network's and method's conf, each text once."""
    users: dict[tuple[str, str], list[str]] = {}
    for section in CONF_SECTIONS:
        for e in experiments:
            name = {"frontend": e.frontend, "model": e.model, "train": e.recipe}[section]
            text = yaml.safe_dump(e.conf[section], sort_keys=False, default_flow_style=None, width=110).rstrip()
            users.setdefault((f"{section}: {name}", text), []).append(e.name)
    titles = [title for title, _ in users]
    return [
        (title if titles.count(title) == 1 else f"{title}, in {', '.join(names)}", text)
        for (title, text), names in users.items()
    ]


def _difference_text(found: dict[str, Difference]) -> str:
    parts = [
        f"{heading.removesuffix(' %')} {difference_stat(found[name], digits)}"
        for heading, name, digits in MEASURES
        if name in found
    ]
    how = "paired by seed, mean ± standard error" if any(d.standard_error is not None for d in found.values()) else ""
    return "; ".join(parts) + (f" ({how})." if how else ".")


def markdown(experiments: Sequence[Experiment], command: str | None) -> str:
    """RESULTS.md. The same experiments give the same text."""
    tables = collect(experiments)
    corpora = sorted({table.corpus for table in tables})
    lines = ["# Results", ""]
    lines += [f"Measured on: {'; '.join(f'**{corpus}**' for corpus in corpora) or 'nothing yet'}.", ""]
    if any("mini" in corpus.lower() for corpus in corpora):
        lines += ["The mini corpus is a small stand-in: its figures do not stand for the real ASVspoof 2019's.", ""]
    lines += [
        "Each figure is the mean ± sample standard deviation over seeds. The t-DCF columns are the minimum normalised",
        "t-DCF as ASVspoof 2019 defined it and as ASVspoof 2021 revised it. Differences below 0 favour the method over",
        "the baseline.",
        "",
    ]
    if command:
        lines += ["Made by:", "", "```sh", *command.strip().splitlines(), "```", ""]
    for corpus in corpora:
        lines += [f"## {corpus}", ""]
        for table in tables:
            if table.corpus == corpus:
                lines += _set_section(table)
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
    lines += _markdown(
        [*headings, "epochs", "batch", "learning rate", "hard loss", "A-softmax lambda"],
        [[*cells(e), *_training_cells(e)] for e in experiments],
        len(headings),
    )
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
