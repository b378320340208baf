"""What steps/stress.py found of the systems: the worst manipulation of each."""

from __future__ import annotations

from steps.experiment.stress_results import stress_of
from steps.results.report.page import Section, Text
from steps.results.report.systems import Comparison


def section(comparison: Comparison) -> Section | None:
    """None where no stress test took these weights. Raises UserError as stress_of does."""
    texts = []
    for system in comparison.systems:
        found = (
            stress_of(system.folder(seed)) for seed in system.results if (system.folder(seed) / "final.pt").exists()
        )
        if (sentence := next(filter(None, found), None)) is not None:
            texts.append(Text(f"{system.name}: {sentence}"))
    return Section("laundering", "Manipulated files", texts) if texts else None
