"""One score file evaluated: measured, written and printed."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from steps.evaluation.evaluation import to_json
from steps.evaluation.measuring import Breakdowns, measure
from steps.results.evaluation_output import report_lines, write_results
from utils.cli import warn


def evaluate_files(
    cm_scores: Path,
    out: Path | None,
    asv_scores: Path | None = None,
    protocol: Path | None = None,
    corpus_json: Path | None = None,
    breakdowns: Breakdowns | None = None,
    *,
    plot: bool = True,
    as_json: bool = False,
    **options: Any,
) -> None:
    """Evaluate one score file as steps.evaluation.measuring.measure does, write the results to the folder `out` (None:
    nowhere) and print the tables, or with `as_json` what evaluation.json holds."""
    result = measure(cm_scores, asv_scores, protocol, corpus_json, breakdowns, **options)
    written = [] if out is None else write_results(out, result, plot)
    if as_json:
        print(json.dumps(to_json(result), indent=2, allow_nan=False))
    else:
        print(*report_lines(result), sep="\n")
        if written:
            text = f"written: {out}/{', '.join(written)}"
            print("", *textwrap.wrap(text, 80, break_long_words=False, break_on_hyphens=False), sep="\n")
    sys.stdout.flush()
    for text in result.warnings:
        warn(f"{cm_scores}: {text}")
