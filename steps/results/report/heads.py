"""EER of each block's own classifier: what the shallow blocks learnt from the deepest."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

from steps.evaluation.evaluation import Evaluation
from steps.metrics.paired_tests import mean_and_spread
from steps.results.block_cost import block_multiply_adds
from steps.results.report.blocks import Cell, Figures, Section, Table, Text
from steps.results.report.figures import INK, picture
from steps.results.report.systems import Comparison, Group

Heads = Mapping[int, dict[int, Evaluation]]  # block -> seed -> result


def section(comparison: Comparison) -> Section:
    heads = {e.name: blocks for e, blocks in comparison.table.heads}
    with_heads = [group for group in comparison.groups if any(s.experiment.name in heads for s in group.systems)]
    if not with_heads:
        note = (
            f"No training has scores of its blocks' own classifiers on {comparison.set_name}. A method that trains them"
            " (self_distill) has them where they were scored: steps/score.py --head 1 --head 2 --head 3 --head 4"
            " (run.sh --heads true --stage 4)."
        )
        return Section("heads", "The four heads", [Text(note, "note")])
    count = max(block for blocks in heads.values() for block in blocks)
    rows = []
    for system in comparison.systems:
        blocks = heads.get(system.experiment.name)
        if blocks:
            cost = block_multiply_adds(system.experiment)
            row = [Cell(system.network), Cell(system.recipe)]
            row += [_cell(blocks.get(k, {})) for k in range(1, count + 1)]
            row.append(_cell(system.results))
            row += [_cost(cost, k) for k in range(1, count)]
            rows.append(row)
    headings = ["network", "method", *(f"block {k}" for k in range(1, count + 1)), "detector"]
    headings += [f"cost at block {k}" for k in range(1, count)]
    return Section(
        "heads",
        "The four heads",
        [
            Text(
                "EER of each block's own classifier, mean and standard deviation over seeds. Left at a shallow block,"
                " the network costs less: its multiply-adds as a share of the complete network's. The line is the"
                " baseline's."
            ),
            Figures([_plot(comparison, group, heads) for group in with_heads]),
            Table(f"EER % of each block's own classifier and of the detector; {comparison.corpus}", headings, rows, 2),
        ],
    )


def _cell(results: Mapping[int, Evaluation]) -> Cell:
    if not results:
        return Cell("-")
    mean, spread = mean_and_spread([100 * result.pooled.eer for result in results.values()])
    return Cell(f"{mean:.2f}" + ("" if spread is None else f" ± {spread:.2f}"), mean)


def _cost(cost: dict[int, int] | None, block: int) -> Cell:
    if cost is None:
        return Cell("-")
    share = 100 * cost[block] / max(cost.values())
    return Cell(f"{share:.0f} %", share)


def _plot(comparison: Comparison, group: Group, heads: dict[str, Heads]) -> Markup:
    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        eers_shown: list[float] = []
        for system in group.systems:
            blocks = heads.get(system.experiment.name)
            colour, line = system.look.colour, system.look.line
            if blocks is None:
                mean, spread = system.mean(lambda result: 100 * result.pooled.eer)
                axes.axhline(mean, color=colour, ls=line, lw=1.6, label=f"{system.recipe}, complete network")
                if spread:
                    axes.axhspan(max(0.0, mean - spread), mean + spread, color=colour, alpha=0.12, lw=0)
                eers_shown += [mean - (spread or 0), mean + (spread or 0)]
                continue
            places = sorted(blocks)
            stats = [mean_and_spread([100 * result.pooled.eer for result in blocks[k].values()]) for k in places]
            for k in places:
                eers = [100 * result.pooled.eer for result in blocks[k].values()]
                axes.plot(
                    [k] * len(eers), eers, ls="none", marker=system.look.marker, ms=3, color=INK, alpha=0.6, mew=0
                )
                eers_shown += eers
            axes.errorbar(
                places,
                [mean for mean, _ in stats],
                yerr=[spread or 0 for _, spread in stats],
                color=colour,
                ls=line,
                lw=1.8,
                marker=system.look.marker,
                ms=6,
                capsize=3,
                label=f"{system.recipe}, by block",
            )
            axes.set_xticks(places)
        axes.set_xlabel("block whose classifier decides")
        axes.set_ylabel("EER (%)")
        axes.set_ylim(0.7 * max(0.0, min(eers_shown)), 1.08 * max(eers_shown) or 1)

    told = []
    for system in group.systems:
        for k, results in sorted(heads.get(system.experiment.name, {}).items()):
            told.append(f"{system.recipe}, block {k}: {_cell(results).text} %")
    return picture(f"heads-{group.key}", f"{group.title}: EER by block", comparison.corpus, 3.6, "; ".join(told), paint)
