"""How corpora, attacks and figures are written in tables and plots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNNAMED = "corpus not named"


def corpus_label(corpus: Mapping[str, Any] | None) -> str:
    """How a data/<set>/corpus.json is named: "mini corpus 0 (small)", "mini corpus 0 (small, seed 2) + VCTK",
    "ASVspoof 2019 LA", "ASVspoof 2019 LA, subset".

    name, then version (or, without one, the recipe), size, a seed other than the usual 1, the folders of speech added
    to it, and whether trials or sources lack or are others than the version's. Only the name must be there; None, or a
    mapping without a name, gives "corpus not named".
    """
    if not isinstance(corpus, Mapping) or not corpus.get("name"):
        return UNNAMED
    version = corpus.get("version")
    label = f"{corpus['name']} {corpus.get('recipe', '') if version is None else version}"
    details = [str(corpus["size"])] if corpus.get("size") else []
    if corpus.get("seed") not in (None, 1):
        details.append(f"seed {corpus['seed']}")
    if details:
        label += f" ({', '.join(details)})"
    added = corpus.get("added")
    folders = [folder for folder in (added if isinstance(added, list) else ()) if isinstance(folder, Mapping)]
    label = " + ".join([label, *dict.fromkeys(str(folder.get("name")) for folder in folders)])
    lacking = [key.replace("_", " ") for key in ("subset", "incomplete", "other_sources") if corpus.get(key)]
    return ", ".join([" ".join(label.split()), *lacking])


def figure_text(value: float, digits: int) -> str:
    """`value` with so many digits after the point, or, of a million and more, as 1.8e+308."""
    return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.2g}"


def shorten(name: str, width: int) -> str:
    """`name` in at most `width` characters (3 or more), its middle left out: names often differ at their end."""
    if len(name) <= width:
        return name
    tail = (width - 1) // 2
    return f"{name[: width - 1 - tail]}~{name[len(name) - tail :]}"
