"""EER by exit: the gain of the shallow stages' own heads from the deepest."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

from steps.evaluation.evaluation import Evaluation
from steps.metrics.paired_tests import mean_and_spread
from steps.results.block_cost import block_multiply_adds
from steps.results.report.figures import INK, picture
from steps.results.report.page import Cell, Figures, Section, Table, Text, mean_cell
from steps.results.report.systems import Comparison, Group

TITLE = "Early exits"
Heads = Mapping[int, Mapping[int, Evaluation]]  # stage -> seed -> result


def section(comparison: Comparison) -> Section:
    heads: dict[str, Heads] = {e.name: stages for e, stages in comparison.table.heads}
    with_heads = [group for group in comparison.groups if any(s.experiment.name in heads for s in group.systems)]
    if not with_heads:
        note = (
            f"No training has scores of its exits on {comparison.set_name}. A method that trains heads for all stages"
            " (self_distill) has them where they were scored: steps/score.py --exit 1 --exit 2 --exit 3 --exit 4"
            " (run.sh --heads true --stage 4)."
        )
        return Section("heads", TITLE, [Text(note, "note")])
    count = max(block for blocks in heads.values() for block in blocks)
    rows = []
    for system in comparison.systems:
        if blocks := heads.get(system.experiment.name):
            cost = block_multiply_adds(system.experiment) or {}
            row = [Cell(system.network), Cell(system.recipe)]
            row += [_cell(blocks.get(k, {})) for k in range(1, count + 1)]
            rows.append([*row, _cell(system.results), *(_cost(cost, k) for k in range(1, count + 1))])
            if cost:  # the complete network is the last exit; older results have its stage's own head too
                heads[system.experiment.name] = {max(cost): system.results, **blocks}
    headings = ["network", "method", *(f"exit {k}" for k in range(1, count + 1)), "complete network"]
    headings += [f"cost of exit {k}" for k in range(1, count + 1)]
    intro = (
        "Exit K stops the network after stage K; the head trained there gives the score. EER, mean and standard"
        " deviation over seeds, and multiply-adds as a share of the complete network's. The line is the"
        " baseline's."
    )
    caption = f"EER % by exit; {comparison.corpus}"
    figures = Figures([_plot(comparison, group, heads) for group in with_heads])
    return Section("heads", TITLE, [Text(intro), figures, Table(caption, headings, rows, 2)])


def _eers(results: Mapping[int, Evaluation]) -> list[float]:
    return [100 * result.pooled.eer for result in results.values()]


def _cell(results: Mapping[int, Evaluation]) -> Cell:
    return mean_cell(mean_and_spread(_eers(results)) if results else None)


def _cost(cost: Mapping[int, int], block: int) -> Cell:
    if block not in cost:
        return Cell("-")
    share = 100 * cost[block] / max(cost.values())
    return Cell(f"{share:.0f} %", share)


def _plot(comparison: Comparison, group: Group, heads: dict[str, Heads]) -> Markup:
    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        shown: list[float] = []
        for system in group.systems:
            look = system.look
            line = {"color": look.colour, "ls": look.line}
            blocks = heads.get(system.experiment.name)
            if blocks is None:
                mean, spread = mean_and_spread(_eers(system.results))
                axes.axhline(mean, lw=1.6, label=f"{system.recipe}, complete network", **line)
                if spread:
                    axes.axhspan(max(0.0, mean - spread), mean + spread, color=look.colour, alpha=0.12, lw=0)
                shown += [mean - (spread or 0), mean + (spread or 0)]
                continue
            places = sorted(blocks)
            for k in places:
                eers = _eers(blocks[k])
                axes.plot([k] * len(eers), eers, ls="none", marker=look.marker, ms=3, color=INK, alpha=0.6, mew=0)
                shown += eers
            stats = [mean_and_spread(_eers(blocks[k])) for k in places]
            means, spreads = [mean for mean, _ in stats], [spread or 0 for _, spread in stats]
            line |= {"lw": 1.8, "marker": look.marker, "ms": 6, "capsize": 3}
            axes.errorbar(places, means, yerr=spreads, label=f"{system.recipe}, by exit", **line)
            axes.set_xticks(places)
        axes.set_xlabel("stage after which the network stops")
        axes.set_ylabel("EER (%)")
        axes.set_ylim(0.7 * max(0.0, min(shown)), 1.08 * max(shown) or 1)

    says = "; ".join(
        f"{system.recipe}, exit {k}: {_cell(results).text} %"
        for system in group.systems
        for k, results in sorted(heads.get(system.experiment.name, {}).items())
    )
    return picture(f"heads-{group.key}", f"{group.title}: EER by exit", comparison.corpus, 3.6, says, paint)
