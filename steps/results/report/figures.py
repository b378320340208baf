"""Pictures as SVG within the page: text stays text, and every colour is one of the page's, which is another in dark
mode."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from xml.sax.saxutils import escape

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure as Canvas

WIDTH = 4.4  # inches; on a telephone's 350 pixels the letters have 10 then

# Okabe and Ito's palette, distinct in all kinds of colour vision, its light ones darker; page.css has for
# each of these variables the same colour, and another one for dark mode.
INK, SOFT, GRID, PAPER = "#101418", "#59626d", "#d9dde2", "#fefefe"
SERIES = ("#0072b2", "#d55e00", "#b87a00", "#2e8bc0", "#8c7a00")  # of methods
BONAFIDE, SPOOF = "#008a66", "#a8447f"  # classes of trials have colours that no method has
SPOOF_SHADES = (SPOOF, "#7d5fb2", "#d05878")
VARIABLES = {INK: "ink", SOFT: "soft", GRID: "grid", PAPER: "paper"} | {c: f"c{i}" for i, c in enumerate(SERIES, 1)}
VARIABLES |= {BONAFIDE: "bonafide"} | {c: f"spoof{i}" for i, c in enumerate(SPOOF_SHADES, 1)}
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")

STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "svg.hashsalt": "report",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "path.simplify_threshold": 0.3,
}


@dataclass(frozen=True)
class Look:
    """How a series is distinguished: by colour, and by line or mark."""

    colour: str
    line: str
    marker: str


def look(index: int) -> Look:
    return Look(SERIES[index % len(SERIES)], LINES[index % len(LINES)], MARKERS[index % len(MARKERS)])


def picture(name: str, title: str, corpus: str, height: float, says: str, paint: Callable[[Canvas], object]) -> Markup:
    """The SVG of what `paint` draws, under `title` and `corpus`, with a legend of all labels unless `paint` draws one.

    name: unique within the page; says: what a reader who cannot see it hears; height: inches. A gid `series:NAME` of
    an artist becomes the class `series` and data-series="NAME". The same figure gives the same text.
    """
    with rc_context(STYLE):
        canvas = Canvas(figsize=(WIDTH, height), layout="constrained")
        paint(canvas)
        found = [axes.get_legend_handles_labels() for axes in canvas.axes]
        legend = {label: handle for handles, labels in found for handle, label in zip(handles, labels)}
        if legend and not canvas.legends:
            canvas.legend(list(legend.values()), list(legend), loc="outside lower left", ncols=1)
        canvas.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        canvas.get_layout_engine().set(h_pad=0.05, w_pad=0.04)
        canvas.supxlabel(corpus, x=0.99, ha="right", fontsize=7.5, color=SOFT)
        return Markup(_inline(canvas, name, f"{title}. {says} ({corpus})"))


def mark(colour: str, marker: str) -> Markup:
    """A series' mark for a legend in HTML."""
    with rc_context(STYLE):
        canvas = Canvas(figsize=(0.17, 0.17))
        axes = canvas.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.plot(0, 0, **point_style(colour, marker), ms=7)
        text = _inline(canvas, f"mark{colour[1:]}{ord(marker)}", "")
    return Markup(text.replace('role="img" aria-label=""', 'aria-hidden="true"'))


def point_style(colour: str, marker: str) -> dict:
    return {"ls": "none", "marker": marker, "color": colour, "mec": PAPER, "mew": 0.4}


def _inline(canvas: Canvas, name: str, says: str) -> str:
    out = io.StringIO()
    canvas.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style type=\"text/css\">.*?</style>|<!--.*?-->", "", svg, flags=re.S)
    view = re.search(r'viewBox="([^"]*)"', svg)[1]
    head = (
        f'<svg viewBox="{view}" role="img" aria-label="{escape(says, {chr(34): "&quot;"})}" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    svg = re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)  # a function: names may have backslashes
    svg = re.sub(r' id="series:([^"]*)"', r' class="series" data-series="\1"', svg)
    # ids of several pictures in one page
    svg = re.sub(r' id="([^"]*)"', rf' id="{name}-\1"', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"#[0-9a-f]{6}\b", lambda m: f"var(--{VARIABLES[m[0]]})" if m[0] in VARIABLES else m[0], svg)
    svg = re.sub(r' fill="(var[^"]*)"', r' style="fill: \1"', svg)  # an attribute takes no variable
    svg = re.sub(r'( (?:d|x|y|transform)=")([^"]*)', lambda m: m[1] + re.sub(r"-?\d+\.\d{3,}", _short, m[2]), svg)
    svg = re.sub(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)", _smaller, svg)
    svg = re.sub(r"font: ([^'\";]*?)'DejaVu Sans'[^;\"]*", r"font: \1'DejaVu Sans', Verdana, sans-serif", svg)
    return re.sub(r"\s*\n\s*", "\n", svg).strip()


def _smaller(image: re.Match) -> str:
    """A picture of points as WebP, a tenth of the PNG; losses of that size are not seen."""
    from PIL import Image

    out = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(image[1]))).convert("RGB").save(out, "WEBP", quality=80, method=6)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"


def _short(number: re.Match) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
