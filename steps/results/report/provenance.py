"""How to make the page again: command lines, versions, commit, confs."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path

from steps.results.report.page import Block, Cell, Code, Heading, Section, Table, Text
from steps.results.report.systems import Comparison

ROOT = Path(__file__).resolve().parents[3]


def section(comparison: Comparison, command: str | None, own_command: str) -> Section:
    blocks: list[Block] = []
    if command:
        blocks += [Text("The last run of the recipe:"), Code(command)]
    blocks += [Text("This page was made by:"), Code(own_command), Text(commit())]
    rows = [[Cell(name), Cell(version)] for name, version in versions()]
    blocks.append(Table("Versions", ["package", "version"], rows, 2, folded="Versions of Python and packages"))
    blocks.append(Heading("Confs"))
    for e in comparison.experiments:
        for seed in e.seeds[:1]:
            path = e.folder / f"seed{seed.number}" / "conf.yaml"
            if path.exists():
                numbers = ", ".join(str(seed.number) for seed in e.seeds)
                blocks.append(
                    Code(path.read_text(encoding="utf-8").rstrip(), f"{e.name}, seed {seed.number} of {numbers}")
                )
    return Section("reproduce", "Reproduce", blocks)


def commit() -> str:
    """The toolkit's commit in words."""
    try:
        run = [
            subprocess.run(["git", "-C", ROOT, *args], capture_output=True, text=True, check=True).stdout.strip()
            for args in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return "The toolkit is no git checkout here, so that its commit is not known."
    return f"The toolkit's commit: {run[0]}{', with changes that are not committed' if run[1] else ''}."


def versions() -> list[tuple[str, str]]:
    """Python and what requirements.txt names, as installed here."""
    found = [("Python", platform.python_version())]
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        name = line.split("==")[0].strip()
        if "==" in line and not name.startswith("#"):
            try:
                found.append((name, importlib.metadata.version(name)))
            except importlib.metadata.PackageNotFoundError:
                found.append((name, "not installed"))
    return found
