#!/usr/bin/env python3
"""Shows the progress of jobs while they run, from their logs, whatever runs them.

A job's log holds lines `progress DONE/TOTAL UNIT [text]` (utils.cli.ProgressLog writes them). The newest one of each
log is taken, and their sum shown on standard error: a bar on a terminal, else a line now and then. Lines that begin
with `epoch `, `resuming after ` or `WARNING` are passed on. Only what is written after this program started counts:
what a former run left in a log does not.
"""

from __future__ import annotations

import argparse
import glob
import os
import re
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from utils.cli import make_parser, pace, real_number, run_program, whole_number

PROGRESS = re.compile(rb"progress (\d+)/(\d+) (\S+)(?: (.*))?")
OWN_PACE = re.compile(rb"(?:(?:^|, )(?:\d+ %|[\d.]+/(?:s|min)|about \S+ \w+ left))+$")  # of one job, not of all
PASSED_ON = (b"epoch ", b"resuming after ", b"WARNING")
MOST_WARNINGS = 10  # of one log; the rest is counted
FINGERPRINT = 256  # bytes at a log's beginning by which a log that was begun anew is known (it has its time of start)
BLOCK = 1 << 20


@dataclass
class Log:
    """One log: how far it has been read, and the newest progress in it."""

    path: Path
    offset: int = 0
    head: bytes = b""
    stamp: tuple[int, int, int] = (0, 0, 0)  # inode, size, time of the last change
    rest: bytes = b""  # an unfinished last line
    done: int = 0
    total: int = 0
    unit: str = ""
    text: str = ""
    changed: float = 0.0  # when the newest progress was read
    warnings: int = 0
    passed_on: list[str] = field(default_factory=list)

    def skip(self) -> None:
        """Take what the log holds now as a former run's."""
        with suppress(OSError), self.path.open("rb") as handle:
            status = os.fstat(handle.fileno())
            self.head = handle.read(FINGERPRINT)
            self.offset = status.st_size
            self.stamp = (status.st_ino, status.st_size, status.st_mtime_ns)

    def read(self) -> None:
        """Take in what was added; from the beginning if the log was begun anew."""
        try:
            status = self.path.stat()
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if stamp == self.stamp:
                return
            with self.path.open("rb") as handle:
                head = handle.read(FINGERPRINT)
                if stamp[0] != self.stamp[0] or stamp[1] < self.offset or not head.startswith(self.head):
                    self.offset, self.rest = 0, b""
                    self.done = self.total = self.warnings = 0
                self.head, self.stamp = head, stamp
                handle.seek(self.offset)
                while block := handle.read(BLOCK):
                    self.offset += len(block)
                    *lines, self.rest = (self.rest + block).split(b"\n")
                    for line in lines:
                        self.take(line)
        except OSError:
            return  # not there yet, or just being replaced: the next look will tell

    def take(self, line: bytes) -> None:
        match = PROGRESS.fullmatch(line.rstrip(b"\r"))
        if match:
            self.done, self.total = int(match[1]), int(match[2])
            text = OWN_PACE.sub(b"", match[4] or b"")
            self.unit, self.text = match[3].decode(errors="replace"), text.decode(errors="replace")
            self.changed = time.monotonic()
        elif line.startswith(PASSED_ON):
            if line.startswith(b"WARNING"):
                self.warnings += 1
                if self.warnings > MOST_WARNINGS:
                    return
            self.passed_on.append(line.decode(errors="replace"))


def distinct_names(paths: list[Path]) -> dict[Path, str]:
    """What tells each path from the others: its parts that are not the same in all, or its last part."""
    same = set.intersection(*(set(enumerate(path.parts)) for path in paths)) if paths else set()
    return {
        path: "/".join(part for i, part in enumerate(path.parts) if (i, part) not in same) or path.name
        for path in paths
    }


class Follower:
    """Follows the logs that match the patterns, those that come to be later too."""

    def __init__(self, patterns: list[str]):
        self.patterns = patterns
        self.logs: dict[Path, Log] = {}
        for path in self.paths():
            self.logs[path] = Log(path)
            self.logs[path].skip()

    def paths(self) -> list[Path]:
        found: dict[str, None] = {}
        for pattern in self.patterns:
            there = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207 (any pattern)
            found.update(dict.fromkeys(there))
        return [Path(path) for path in found]

    def look(self) -> list[str]:
        """Read what is new; the lines to pass on, with their log's name where there are, or may come to be, several
        logs."""
        for path in self.paths():
            self.logs.setdefault(path, Log(path))
        lines = []
        names = distinct_names(list(self.logs))
        several = len(self.logs) > 1 or any(map(glob.has_magic, self.patterns))
        for log in self.logs.values():
            log.read()
            prefix = f"{names[log.path]}: " if several else ""
            lines += [prefix + line for line in log.passed_on]
            log.passed_on = []
        return lines

    def progress(self) -> tuple[int, int, str, str]:
        """Done, total, unit and text: summed over the logs that count in the unit of the newest progress."""
        known = [log for log in self.logs.values() if log.unit]
        if not known:
            return 0, 0, "", ""
        newest = max(known, key=lambda log: log.changed)
        same = [log for log in known if log.unit == newest.unit]
        return sum(log.done for log in same), sum(log.total for log in same), newest.unit, newest.text


class Bar:
    """Progress on a terminal."""

    def __init__(self, description: str):
        from tqdm import tqdm

        self._tqdm, self._description, self._unit = tqdm, description, ""
        self._bar: tqdm | None = None

    def show(self, done: int, total: int, unit: str, text: str) -> None:
        if not unit:
            return
        if self._bar is not None and (self._unit != unit or done < self._bar.n):
            self.close()  # another pass or another thing that is counted
        if self._bar is None:
            self._unit = unit
            self._bar = self._tqdm(
                total=total,
                initial=done,
                unit=f" {unit}",
                desc=self._description or None,
                leave=False,
                dynamic_ncols=True,
            )
        self._bar.total = total
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.n = done
        self._bar.refresh()

    def say(self, line: str) -> None:
        self._tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Lines:
    """Progress in a file or a pipe, with rate and time left: a line every `every` seconds at most, and one last."""

    def __init__(self, description: str, every: float):
        self._prefix = f"{description}: " if description else ""
        self._every, self._started = every, time.monotonic()
        self._next = self._started + every
        self._latest = self._shown = ""
        self._first = (0.0, 0, 0, "")  # when this count was first seen, what was done then, of how many of what

    def show(self, done: int, total: int, unit: str, text: str) -> None:
        if not unit:
            return
        began, before, *what = self._first
        if what != [total, unit] or done < before:  # another pass, or another thing that is counted
            self._first = began, before, *_ = (time.monotonic(), done, total, unit)
        self._latest = f"{done}/{total} {unit}" + (f" ({100 * done // total} %)" if total else "")
        self._latest += f" {text}" if text else ""
        self._left = pace(time.monotonic() - began, done - before, total - done)
        if self._latest != self._shown and time.monotonic() >= self._next:
            self._print()

    def _print(self) -> None:
        now = time.monotonic()
        left = f", {self._left}" if self._left else ""
        self.say(f"{self._prefix}{self._latest} after {now - self._started:.0f} s{left}")
        self._shown, self._next = self._latest, now + self._every

    def say(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        if self._latest != self._shown:
            self._print()


def make_display(description: str, every: float) -> Bar | Lines:
    if sys.stderr.isatty():
        with suppress(ImportError):
            return Bar(description)
    return Lines(description, every)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def parse() -> argparse.Namespace:
    parser = make_parser(
        "Show the progress of jobs from their logs while they run, on standard error. Ends after a last look when "
        "the process --while-pid has ended, or on a TERM signal.",
        "utils/follow_log.py --while-pid $$ 'exp/log/make_feats.*.log' &",
    )
    parser.add_argument("logs", nargs="+", metavar="LOG", help="log files or quoted patterns; they need not exist yet")
    parser.add_argument(
        "--while-pid", type=whole_number(1), required=True, metavar="PID", help="follow while this process lives"
    )
    parser.add_argument("--description", default="", metavar="TEXT", help="shown before the numbers")
    parser.add_argument(
        "--every", type=real_number(0, 1e9), default=10.0, metavar="S", help="seconds between lines off a terminal"
    )
    parser.add_argument(
        "--say-ready", action="store_true", help="print `ready` when the present content of the logs has been set apart"
    )
    return parser.parse_args()


def main() -> None:
    args = parse()
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)  # Ctrl-C goes to the jobs too; their last lines are still shown
    follower = Follower(args.logs)
    if args.say_ready:
        print("ready", flush=True)
    display = make_display(args.description, args.every)
    while True:
        last = stopped or not alive(args.while_pid)
        for line in follower.look():
            display.say(line)
        display.show(*follower.progress())
        if last:
            break
        time.sleep(0.2)
    display.close()
    for log in follower.logs.values():
        if log.warnings > MOST_WARNINGS:
            display.say(f"WARNING: {log.warnings - MOST_WARNINGS} more warnings in {log.path}")


if __name__ == "__main__":
    run_program(main)
