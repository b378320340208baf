"""The page from its sections: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from steps.results.report.blocks import Section

HERE = Path(__file__).resolve().parent


def render(title: str, corpus: str, sections: Sequence[Section], digest: str) -> str:
    """HTML. digest: of all inputs; stands in the page's head, so that a page is known again."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = (Markup((HERE / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    return environment.get_template("page.html").render(
        title=title, corpus=corpus, sections=sections, digest=digest, style=style, script=script
    )
