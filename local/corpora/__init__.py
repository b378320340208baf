"""The corpora of the field: where each is published, under what licence, and how a complete copy looks.

A module a corpus; its docstring tells the data, its DOWNLOADS what local/download.py fetches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Archive:
    """A published file. size: bytes. address: where it lies, for when the listing cannot be read. None: not known."""

    name: str
    size: int | None = None
    md5: str | None = None
    address: str | None = None


@dataclass(frozen=True)
class Download:
    """What is fetched for one corpus.

    listing: address of the publisher's own list of its files, as DSpace 7 or Zenodo give it. about: bytes of all
    archives together where their sizes are not known. folder: what the archives unpack to. missing: what that folder
    lacks of a complete corpus, for people; empty if nothing.
    """

    title: str
    page: str
    licence: str
    listing: str | None
    archives: tuple[Archive, ...]
    about: int
    folder: str
    missing: Callable[[Path], str]
