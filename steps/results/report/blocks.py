"""What a section of the page consists of; page.html says how each looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from steps.evaluation.labels import figure_text


@dataclass(frozen=True)
class Text:
    """A paragraph; `kind` headline: the result in a sentence; note: why something is not shown, or a caution."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Cell:
    """sort: what the column is sorted by, a number; None for text, which sorts by itself, and where there is no figure.
    style: CSS."""

    text: str
    sort: float | None = None
    style: str = ""


@dataclass(frozen=True)
class Table:
    """left: how many first columns are words; the others are figures. sortable: by each of its columns."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    left: int = 1
    sortable: bool = True
    folded: str = ""  # the line under which it is folded away


@dataclass(frozen=True)
class Legend:
    """Names of series that the figures of one section share; a click on one dims the others. keys: (series, name, SVG
    of its mark)."""

    keys: Sequence[tuple[str, str, Markup]]


@dataclass(frozen=True)
class Figures:
    figures: Sequence[Markup]  # SVG
    legend: Legend | None = None
    large: bool = False


@dataclass(frozen=True)
class Audio:
    """uri: data:audio/...;base64,..."""

    label: str
    uri: str


@dataclass(frozen=True)
class Code:
    """Text shown as it is; folded: the line under which it is folded away, or nothing."""

    text: str
    folded: str = ""


@dataclass(frozen=True)
class Folded:
    """Blocks that open at a click on `title`."""

    title: str
    blocks: Sequence[Text | Heading | Table | Folded]


Block = Text | Heading | Table | Figures | Audio | Code | Folded


@dataclass(frozen=True)
class Section:
    """key: its anchor."""

    key: str
    title: str
    blocks: Sequence[Block] = field(default_factory=list)


def filled_table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[Cell]], left: int) -> Table:
    """The table without columns of figures that no row has."""
    kept = [i for i in range(len(headings)) if i < left or any(row[i].text != "-" for row in rows)]
    return Table(caption, [headings[i] for i in kept], [[row[i] for i in kept] for row in rows], left)


def number(value: float | None, digits: int) -> Cell:
    return Cell("-") if value is None else Cell(figure_text(value, digits), value)
