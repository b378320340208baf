"""Ratios that a bench measured, for tests/bench/short.py."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

PLACE = "FSD_BENCH_RATIOS"  # in the environment: the file to which the ratios are added


def note(name: str, found: Iterable[float]) -> None:
    """Keep the ratios of all rounds under `name`, if somebody asked for them."""
    if PLACE in os.environ:
        with Path(os.environ[PLACE]).open("a", encoding="utf-8") as kept:
            kept.write(json.dumps([name, [round(value, 4) for value in found]]) + "\n")
