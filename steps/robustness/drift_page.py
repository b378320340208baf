"""A comparison of groups of recordings as a sentence, a table for the terminal, a page with a picture, and a TSV."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple, fields

from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

from steps.evaluation.evaluation import to_json
from steps.evaluation.labels import figure_text, shorten
from steps.inference.output import printable
from steps.metrics.paired_tests import LEVEL
from steps.metrics.two_samples import FEWEST, MOST
from steps.results.report.figures import INK, SERIES, SOFT, picture
from steps.results.report.page import Cell, Code, Figures, Section, Table, Text, number, render
from steps.results.report.provenance import commit
from steps.results.tables import listed, p_is, p_text
from steps.robustness.drift import Drift, GroupFigures, Sample, Scored, Tested

_NAMED = 5  # groups in a sentence; the table has all
_WIDTH = 24  # of a group's name, at the terminal and in the picture
DIFFERS, SAME, UNTESTED = "differs", "no difference", "no test"


def headline(drift: Drift) -> str:
    """Which groups differ from the reference, and in what."""
    reference = drift.reference.name
    tested = [group for group in drift.compared if group.untested is None]
    differing = [group for group in tested if group.differs_in]
    if not tested:
        return f"No test: {drift.compared[0].name}: {drift.compared[0].untested}."
    if len(drift.compared) == 1:
        return f"{tested[0].name} {_difference(tested[0])} from {reference}: {_in_words(tested[0])}."
    if not differing:
        sentence = f"No significant difference from {reference} in any of {len(tested)} groups"
    else:
        named = [f"{group.name} ({' and '.join(group.differs_in)})" for group in differing[:_NAMED]]
        if len(differing) > _NAMED:
            named.append(f"{len(differing) - _NAMED} more")
        count = f"{len(differing)} of {len(tested)} groups"
        sentence = f"{count} {'differs' if len(differing) == 1 else 'differ'} from {reference}: {listed(named)}"
    skipped = len(drift.compared) - len(tested)
    return sentence + (f". Too few recordings for a test in {skipped} more." if skipped else ".")


def _difference(group: GroupFigures) -> str:
    found = group.differs_in
    return f"differs in {' and '.join(found)}" if found else "does not differ significantly"


def _in_words(group: GroupFigures) -> str:
    assert group.scores is not None and group.embeddings is not None
    tests = (("scores", group.scores), ("embeddings", group.embeddings))
    return ", ".join(f"distance of {name} {test.distance:.3f} ({p_is(test.corrected)})" for name, test in tests)


_HEADINGS = (
    *("group", "number", "failed", "mean score", "below %", "not judged %", "outside %"),
    *("KS", "p", "energy", "by chance", "p", "result"),
)


def _table(drift: Drift) -> Table:
    """Without the columns that have no figure, and that of failures where there is none."""
    rows = [_cells(group, drift) for group in drift.groups]
    wanted = [
        i
        for i, name in enumerate(_HEADINGS)
        if any(row[i].text != "-" for row in rows) and (name != "failed" or any(row[i].sort for row in rows))
    ]
    headings = [_HEADINGS[i] for i in wanted]
    return Table(
        f"Groups against {drift.reference.name}", headings, [[row[i] for i in wanted] for row in rows], sortable=False
    )


def _cells(group: GroupFigures, drift: Drift) -> list[Cell]:
    """As _HEADINGS has them."""

    def share(value: float | None) -> Cell:
        return number(None if value is None else 100 * value, 1)

    def p_of(test: Tested | None) -> Cell:
        return Cell("-") if test is None else Cell(p_text(test.corrected), test.corrected)

    scores, embeddings = group.scores, group.embeddings
    result = "reference" if group is drift.reference else UNTESTED if group.untested else SAME
    return [
        Cell(group.name),
        Cell(f"{group.recordings:,}", group.recordings),
        Cell(f"{group.failed:,}", group.failed),
        number(group.mean_score, 2),
        share(group.below),
        share(group.not_judged),
        share(group.outside),
        number(scores and scores.distance, 3),
        p_of(scores),
        number(embeddings and embeddings.distance, 3),
        number(embeddings and embeddings.by_chance, 3),
        p_of(embeddings),
        Cell(DIFFERS if group.differs_in else result),
    ]


def plain(drift: Drift) -> list[str]:
    """The table for the terminal, and the sentence before it."""
    table = _table(drift)
    rows = [table.headings, *([cell.text for cell in row] for row in table.rows)]
    rows = [[shorten(row[0], _WIDTH), *row[1:]] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for name, *figures, result in rows:
        shown = "  ".join(f"{figure:>{width}}" for figure, width in zip(figures, widths[1:]))
        lines.append(f"{name:<{widths[0]}}  {shown}  {result}")
    return [headline(drift), "", *lines]


def tsv(samples: Sequence[Sample]) -> Iterator[str]:
    """A line of titles, then one of each recording; `-` where there is no figure."""
    yield "\t".join(["group", *(one.name for one in fields(Scored))])
    for sample in samples:
        for one in sample.recordings:
            values = (sample.name, *astuple(one))
            yield "\t".join("-" if value is None else printable(str(value)) for value in values)


_MEANING = f"""\
Picture: 5, 25, 50, 75 and 95 % of a group's scores; a mark at the energy distance's limit by chance. Below: share of
LLRs at or below the threshold. Not judged: share without a verdict, because of what the recording is; outside: because
it is unlike what the detector was trained on. KS: largest distance of the two distribution functions of the scores, 0
to 1. Energy: energy distance of the embeddings, 0 to 1; by chance: within which 95 % of permutations of all recordings
stay. p: corrected for the number of all tests (Holm); below {LEVEL:g} is a difference. A group of fewer than {FEWEST}
scored recordings is not tested. The tests take recordings as independent: several of one speaker, call or device are
not, and differ too easily."""


def html(drift: Drift, command: str, rests_on: Sequence[str]) -> str:
    """The page. command: that made it; rests_on: about_lines of the detector."""
    sentence = headline(drift)
    note = [Text(f"{MOST:,} embeddings of a larger group are compared, drawn at random.", "note")]
    large = any(group.recordings > MOST for group in drift.groups)
    recordings = f"{sum(group.recordings for group in drift.groups):,} recordings in {len(drift.groups)} groups"
    summary = Section(
        "summary",
        "Result",
        [
            Text(sentence, "headline"),
            Figures([_picture(drift, recordings)], large=True),
            _table(drift),
            Text(" ".join(_MEANING.split())),
            *(note if large else []),
        ],
    )
    made = Section("reproduce", "Reproduce", [Code(command), Text(commit()), Code("\n".join(rests_on))])
    digest = hashlib.sha256(json.dumps([to_json(drift), command]).encode()).hexdigest()
    return render(f"Drift from {drift.reference.name}", recordings, [summary, made], digest)


def _picture(drift: Drift, recordings: str) -> Markup:
    """Scores of each group, and the distance of its embeddings from the reference's. recordings: their number, in
    words."""

    def colour_of(group: GroupFigures) -> str:
        return SOFT if group is drift.reference else SERIES[1] if group.differs_in else SERIES[0]

    def paint(canvas: Canvas) -> None:
        left, right = canvas.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        for place, group in enumerate(drift.groups):
            colour, row = colour_of(group), -place
            if group.percentiles is not None:
                low, quarter, median, three_quarters, high = group.percentiles
                left.plot([low, high], [row, row], color=colour, lw=1.2)
                left.plot([quarter, three_quarters], [row, row], color=colour, lw=6, solid_capstyle="butt")
                left.plot(median, row, marker="|", color=INK, ms=10, mew=1.6)
            if (test := group.embeddings) is not None:
                right.plot([0, test.distance], [row, row], color=colour, lw=6, solid_capstyle="butt")
                right.plot(test.by_chance, row, marker="|", color=INK, ms=10, mew=1.6)
        left.set_yticks([-place for place in range(len(drift.groups))], [_label(group) for group in drift.groups])
        left.set_ylim(0.6 - len(drift.groups), 0.6)
        left.set_xlabel("score")
        right.set_xlabel("energy")
        right.set_xlim(left=0)

    says = "; ".join(
        f"{group.name}: median score {figure_text(group.percentiles[2], 2)}"
        + ("" if group.embeddings is None else f", distance of embeddings {group.embeddings.distance:.3f}")
        for group in drift.groups
        if group.percentiles is not None
    )
    return picture("drift", "Scores and embeddings by group", recordings, 1.3 + 0.24 * len(drift.groups), says, paint)


def _label(group: GroupFigures) -> str:
    return shorten(group.name, _WIDTH)
