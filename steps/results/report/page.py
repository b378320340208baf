"""The page: what its sections consist of, and how they become one HTML file that needs no other; page.html has the
looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from steps.evaluation.labels import figure_text

HERE = Path(__file__).resolve().parent


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
    """sort: the number that the column is sorted by; None for text, which sorts by itself. style: CSS."""

    text: str
    sort: float | None = None
    style: str = ""


@dataclass(frozen=True)
class Table:
    """left: how many first columns are words; the others are figures. folded: the line under which it is folded away,
    or nothing."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    left: int = 1
    sortable: bool = True
    folded: str = ""


@dataclass(frozen=True)
class Figures:
    """SVGs. legend: (series, name, SVG of its mark) of the series that they share; a click on one dims the others."""

    figures: Sequence[Markup]
    legend: Sequence[tuple[str, str, Markup]] = ()
    large: bool = False


@dataclass(frozen=True)
class Audio:
    """uri: data:audio/...;base64,..."""

    label: str
    uri: str


@dataclass(frozen=True)
class Code:
    """Text shown as it is; folded: as of a table."""

    text: str
    folded: str = ""


@dataclass(frozen=True)
class Folded:
    """Blocks that open at a click on `title`."""

    title: str
    blocks: Sequence[Text | Heading | Table | Figures | Folded]


Block = Text | Heading | Table | Figures | Audio | Code | Folded


@dataclass(frozen=True)
class Section:
    """key: its anchor."""

    key: str
    title: str
    blocks: Sequence[Block]


def filled_table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[Cell]], left: int) -> Table:
    """The table without the columns of figures that are empty in all rows."""
    kept = [i for i in range(len(headings)) if i < left or any(row[i].text != "-" for row in rows)]
    return Table(caption, [headings[i] for i in kept], [[row[i] for i in kept] for row in rows], left)


def number(value: float | None, digits: int) -> Cell:
    return Cell("-") if value is None else Cell(figure_text(value, digits), value)


def mean_cell(stat: tuple[float, float | None] | None) -> Cell:
    """`mean ± standard deviation`."""
    if stat is None:
        return Cell("-")
    mean, spread = stat
    return Cell(f"{mean:.2f}" if spread is None else f"{mean:.2f} ± {spread:.2f}", mean)


def render(title: str, corpus: str, sections: Sequence[Section], digest: str) -> str:
    """HTML. digest: of all inputs, written in the page's head."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = (Markup((HERE / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    return environment.get_template("page.html").render(
        title=title, corpus=corpus, sections=sections, digest=digest, style=style, script=script
    )
