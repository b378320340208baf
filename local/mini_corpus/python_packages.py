"""The synthesizers' Python packages: groups of requirements-mini.txt, each installed into the downloads folder.

    DOWNLOADS/python-<cksum>/GROUP/   never the toolkit's own environment, which gives numpy and the like

A group `NAME.build` holds what only building NAME needs.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import sysconfig
import zlib
from collections.abc import Iterable
from pathlib import Path

from utils.cli import UserError
from utils.files import make_dir_aside


def read_groups(requirements: Path) -> dict[str, list[str]]:
    """Group -> pinned requirements. Raises UserError for a line that is no group, pin or comment."""
    groups: dict[str, list[str]] = {}
    name = ""
    for number, line in enumerate(requirements.read_text(encoding="utf-8").splitlines(), 1):
        header = re.match(r"#\s*\[([\w.]+)\]", line)
        requirement = line.split("#")[0].strip()
        if header:
            name = header[1]
            groups[name] = []
        elif requirement:
            if not name or not re.fullmatch(r"[\w.-]+==[\w.]+", requirement):
                raise UserError(f"{requirements}: line {number}: {requirement!r} is not NAME==VERSION in a group")
            groups[name].append(requirement)
    return groups


class GroupMissing(Exception):
    """A group of packages cannot be had here; the text says why."""


class PythonPackages:
    def __init__(self, downloads: Path, requirements: Path):
        self.groups = read_groups(requirements)
        # another Python or another kind of machine needs other files
        made_from = (
            f"{requirements.read_text(encoding='utf-8')}{sysconfig.get_platform()}{sys.implementation.cache_tag}"
        )
        self.folder = downloads / f"python-{zlib.crc32(made_from.encode()):08x}"

    def get(self, group: str) -> Path:
        """The folder of a group's packages, installed on first use. Raises GroupMissing."""
        if group not in self.groups:
            raise UserError(f"requirements-mini.txt has no group {group!r}; it has {', '.join(self.groups)}")
        folder = self.folder.resolve() / group
        if folder.is_dir():
            return folder
        requirements = self.groups[group]
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--no-deps"]
        environment = dict(os.environ)
        if f"{group}.build" in self.groups:
            # built against the running Python's own numpy: what is compiled must fit the numpy that it runs with
            build = str(self.get(f"{group}.build"))
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [build, environment.get("PYTHONPATH", "")]))
            command.append("--no-build-isolation")
        print(f"installing {', '.join(requirements)} into {self.folder}", flush=True)
        quiet = [] if sys.stderr.isatty() else ["-qq"]
        with make_dir_aside(folder) as aside:
            done = subprocess.run(
                [*command, *quiet, "--target", str(aside), *requirements],
                env=environment, stdout=sys.stderr.fileno(), stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            if done.returncode != 0:
                raise GroupMissing(f"pip could not install {', '.join(requirements)}: {_reason(done.stderr)}")
        return folder


def put_on_path(folders: Iterable[str | Path]) -> None:
    """Let this process import from `folders`, after everything that it has."""
    for folder in map(str, folders):
        if folder not in sys.path:
            sys.path.append(folder)
    importlib.invalidate_caches()


def _reason(said: str) -> str:
    """The line of pip's or the compiler's output that says what is wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"error:|ERROR:|not found|No module", line)]
    return (telling or lines or ["it said nothing"])[0]
