"""The synthesizers' Python packages: groups of requirements-mini.txt, each installed into the downloads folder.

    DOWNLOADS/python-<cksum>/GROUP/   never the toolkit's own environment, which gives numpy and the like
    DOWNLOADS/python-files-<kind of machine>/   the packages' own files: a set that broke off goes on with the next,
                                                and a machine without a network installs from what was laid there

The versions are pinned; pip checks each file against the checksum that the index gives. The files' own checksums are
not pinned: there are some twenty files of a version, one for each Python and kind of machine.

A group `NAME.build` holds what only building NAME needs.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import subprocess
import sys
import sysconfig
import zlib
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from local.mini_corpus.attack import die_with_parent
from local.mini_corpus.debian import remove_stale
from utils.cli import UserError
from utils.files import make_dir_aside


def read_groups(requirements: Path) -> dict[str, list[str]]:
    """Group -> NAME==VERSION of its packages. Raises UserError for a line that is no group, pin or comment."""
    groups: dict[str, list[str]] = {}
    group = ""
    for number, line in enumerate(requirements.read_text(encoding="utf-8").splitlines(), 1):
        requirement = line.partition("#")[0].strip()
        if header := re.match(r"#\s*\[([\w.]+)\]", line):
            group = header[1]
            groups.setdefault(group, [])
        elif requirement:
            if not group or not re.fullmatch(r"[\w.-]+==[\w.]+", requirement):
                raise UserError(f"{requirements}: line {number}: {requirement!r} is not NAME==VERSION in a group")
            groups[group].append(requirement)
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
        self.files = downloads / f"python-files-{sysconfig.get_platform()}-{sys.implementation.cache_tag}"

    def pins(self, groups: Iterable[str]) -> list[str]:
        """NAME==VERSION of all that `groups` install, with what only building them needs."""
        wanted = [name for group in groups for name in (group, f"{group}.build")]
        return [pin for name in wanted for pin in self.groups.get(name, [])]

    def get(self, group: str) -> Path:
        """The folder of a group's packages, installed on first use. Raises GroupMissing."""
        if group not in self.groups:
            raise UserError(f"requirements-mini.txt has no group {group!r}; it has {', '.join(self.groups)}")
        folder = self.folder.resolve() / group
        if folder.is_dir():
            return folder
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f".{group}.lock"):  # another process may be installing it
            if not folder.is_dir():
                self._install(group, folder)
        return folder

    def _install(self, group: str, folder: Path) -> None:
        requirements = self.groups[group]
        environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
        options = ["--no-deps"]
        if f"{group}.build" in self.groups:
            # built against the running Python's own numpy: what is compiled must fit the numpy that it runs with
            build = str(self.get(f"{group}.build"))
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [build, environment.get("PYTHONPATH", "")]))
            options.append("--no-build-isolation")
        self.files.mkdir(parents=True, exist_ok=True)
        lacking = [requirement for requirement in requirements if not self._has_file(requirement)]
        for requirement in lacking:  # one at a time: pip moves a file there when it has the whole set
            print(f"fetching {requirement}", flush=True)
            said = run_pip(["download", *options, "--dest", str(self.files), requirement], environment)
            if said:
                raise GroupMissing(f"pip could not fetch {requirement}: {said}")
        print(f"installing {', '.join(requirements)} into {self.folder}", flush=True)
        remove_stale(folder)
        with make_dir_aside(folder) as made:
            local = ["--no-index", "--find-links", str(self.files.resolve())]
            said = run_pip(["install", *options, *local, "--target", str(made), *requirements], environment)
            if said:
                raise GroupMissing(f"pip could not install {', '.join(requirements)}: {said}")

    def _has_file(self, requirement: str) -> bool:
        """Is there a wheel or a source archive of NAME==VERSION?"""
        name, _, version = requirement.partition("==")
        wanted = re.compile(
            rf"{re.sub(r'[-_.]+', '[-_.]+', name)}-{re.escape(version)}(-.*\.whl|\.tar\.gz|\.zip)", re.IGNORECASE
        )
        return any(wanted.fullmatch(path.name) for path in self.files.iterdir())


def run_pip(arguments: list[str], environment: dict[str, str]) -> str:
    """Run pip, with its own bar on a terminal: what went wrong, or empty."""
    quiet = [] if sys.stderr.isatty() else ["-qq"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, *quiet],
        env=environment, stdout=sys.stderr.fileno(), stderr=subprocess.PIPE, text=True,
        preexec_fn=functools.partial(die_with_parent, os.getpid()),
    )  # fmt: skip
    return "" if done.returncode == 0 else _reason(done.stderr)


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
