"""EER by exit: what the shallow stages' own heads learnt from the deepest."""

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

TITLE = "Early exits"
Heads = Mapping[int, Mapping[int, Evaluation]]  # stage -> seed -> result


def section(comparison: Comparison) -> Section:
    heads: dict[str, Heads] = {e.name: stages for e, stages in comparison.table.heads}
    costs = {e.name: block_multiply_adds(e) or {} for e, _ in comparison.table.heads}
    with_heads = [group for group in comparison.groups if any(s.experiment.name in heads for s in group.systems)]
    if not with_heads:
        note = (
            f"No training has scores of its exits on {comparison.set_name}. A method that trains heads for all stages"
            " (self_distill) has them where they were scored: steps/score.py --exit 1 --exit 2 --exit 3 --exit 4"
            " (run.sh --heads true --stage 4)."
        )
        return Section("heads", TITLE, [Text(note, "note")])
    count = max(stage for stages in heads.values() for stage in stages)
    rows = []
    for system in comparison.systems:
        blocks = heads.get(system.experiment.name)
        if blocks:
            cost = costs[system.experiment.name]
            row = [Cell(system.network), Cell(system.recipe)]
            row += [_cell(blocks.get(k, {})) for k in range(1, count + 1)]
            row.append(_cell(system.results))
            row += [_cost(cost, k) for k in range(1, count + 1)]
            rows.append(row)
            if cost:  # the complete network is the last exit; older results have its stage's own head too
                heads[system.experiment.name] = {max(cost): system.results, **blocks}
    headings = ["network", "method", *(f"exit {k}" for k in range(1, count + 1)), "complete network"]
    headings += [f"cost of exit {k}" for k in range(1, count + 1)]
    return Section(
        "heads",
        TITLE,
        [
            Text(
                "Exit K stops the network after stage K; the head trained there gives the score. EER, mean and standard"
                " deviation over seeds, and multiply-adds as a share of the complete network's. The line is the"
                " baseline's."
            ),
            Figures([_plot(comparison, group, heads) for group in with_heads]),
            Table(f"EER % by exit; {comparison.corpus}", headings, rows, 2),
        ],
    )


def _cell(results: Mapping[int, Evaluation]) -> Cell:
    if not results:
        return Cell("-")
    mean, spread = mean_and_spread([100 * result.pooled.eer for result in results.values()])
    return Cell(f"{mean:.2f}" + ("" if spread is None else f" ± {spread:.2f}"), mean)


def _cost(cost: Mapping[int, int], block: int) -> Cell:
    if block not in cost:
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
                label=f"{system.recipe}, by exit",
            )
            axes.set_xticks(places)
        axes.set_xlabel("stage after which the network stops")
        axes.set_ylabel("EER (%)")
        axes.set_ylim(0.7 * max(0.0, min(eers_shown)), 1.08 * max(eers_shown) or 1)
        canvas.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=1)

    told = []
    for system in group.systems:
        for k, results in sorted(heads.get(system.experiment.name, {}).items()):
            told.append(f"{system.recipe}, exit {k}: {_cell(results).text} %")
    return picture(f"heads-{group.key}", f"{group.title}: EER by exit", comparison.corpus, 3.6, "; ".join(told), paint)
