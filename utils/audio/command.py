"""Entries of a wav.scp that are commands whose output is audio."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from utils.cli import UserError


@dataclass(frozen=True)
class Command:
    """An entry of a wav.scp that is a command whose output is audio, as Kaldi has it: `sph2pipe -f wav a.sph |`.

    text: without the pipe sign. Only the reader of wav.scp makes one, and only where the user allowed it: a plain text
    is never run. kept: its output is held until another such command runs, for the segments of one recording that are
    read in a row.
    """

    text: str
    kept: bool = False

    def __str__(self) -> str:
        return f"{self.text} |"

    def output(self, where: str) -> bytes:
        """What the command writes, run by the shell as Kaldi runs it. Raises UserError that begins with `where`, with
        its exit status and the end of what it said on standard error, where it fails."""
        if self in _held:
            return _held[self]
        done = subprocess.run(self.text, shell=True, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
            end = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
            raise UserError(f"{where}: the command ended with {end}: {' / '.join(said) or 'it said nothing'}")
        if self.kept:
            _held.clear()
            _held[self] = done.stdout
        return done.stdout


_held: dict[Command, bytes] = {}  # the output of one command at most


def is_command(entry: str | Path) -> bool:
    """Whether an entry of a wav.scp is one."""
    return str(entry).strip().endswith("|")


def refuse_command(where: str, path: str | Path) -> None:
    """Raises UserError that begins with `where` for an entry of a wav.scp that is a command."""
    if is_command(path):
        raise UserError(f"{where}: wav.scp entries that are commands are not run here; write the audio to files first")
