"""What steps/stress.py found of an experiment, for the report and the model card."""

from __future__ import annotations

from pathlib import Path

from utils.cli import UserError
from utils.files import read_json, sha256_of


def stress_files(experiment: Path) -> list[Path]:
    """exp/NAME/stress/stress.json, of this experiment, and exp/stress/stress.json, of several, where they are there."""
    folder = experiment.resolve()
    return [path for of in (folder, folder.parent) if (path := of / "stress/stress.json").exists()]


def stress_of(training: Path) -> str | None:
    """The sentence on the training's experiment; None if no stress test there took these weights. Raises UserError for
    a stress.json that is not its own."""
    for path in stress_files(training.resolve().parent):
        found, own = read_json(path), sha256_of(training / "final.pt")
        try:
            for one in found["detectors"]:
                if one["sha256"] == own:
                    return found["headlines"][one["experiment"]]
        except (KeyError, TypeError):
            raise UserError(f"{path}: not as steps/stress.py writes it; make it again, or remove it") from None
    return None
