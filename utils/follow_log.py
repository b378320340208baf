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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from utils.cli import make_parser, pace, real_number, run_program, whole_number

PROGRESS = re.compile(r"progress (\d+)/(\d+) (\S+)(?: (.*))?")
OWN_PACE = re.compile(r"(?:(?:^|, )(?:\d+ %|[\d.]+/(?:s|min)|about \S+ \w+ left))+$")  # of one job, not of all
PASSED_ON = ("epoch ", "resuming after ", "WARNING")
MOST_WARNINGS = 10  # of one log
FINGERPRINT = 256  # bytes at a log's beginning, with its time of start, by which a log that was begun anew is known


class Log:
    """One log: how far it has been read, and the newest progress in it."""

    def __init__(self, path: Path):
        self.path, self._head, self._read = path, b"", 0
        self.started = False  # a line was written since this program looks
        self._reset()

    def _reset(self) -> None:
        self.done = self.total = self.warnings = 0
        self.unit = self.text = ""
        self.changed = 0.0  # when the newest progress was read

    def skip(self) -> None:
        """Take what the log holds now as a former run's."""
        with suppress(OSError):
            data = self.path.read_bytes()
            self._head, self._read = data[:FINGERPRINT], len(data)

    def read(self) -> list[str]:
        """Take in what was added, from the beginning if the log was begun anew; the lines to pass on."""
        try:
            with self.path.open("rb") as handle:
                head = handle.read(FINGERPRINT)
                if os.fstat(handle.fileno()).st_size < self._read or not head.startswith(self._head):
                    self._read = 0
                    self._reset()
                handle.seek(self._read)
                data = handle.read()
        except OSError:
            return []  # not there yet, or just being replaced: the next look will tell
        complete = data[: data.rfind(b"\n") + 1]
        self._head, self._read = head, self._read + len(complete)
        self.started |= bool(complete)
        return list(filter(self._take, complete.decode(errors="replace").splitlines()))

    def _take(self, line: str) -> bool:
        """Whether the line is to be passed on."""
        if match := PROGRESS.fullmatch(line):
            self.done, self.total, self.unit = int(match[1]), int(match[2]), match[3]
            self.text, self.changed = OWN_PACE.sub("", match[4] or ""), time.monotonic()
        self.warnings += line.startswith("WARNING")
        return line.startswith(PASSED_ON) and not (line.startswith("WARNING") and self.warnings > MOST_WARNINGS)


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
        self._named = {Path(pattern) for pattern in patterns if not glob.has_magic(pattern)}
        self.logs = {path: Log(path) for path in self._paths()}
        for log in self.logs.values():
            log.skip()

    def _paths(self) -> list[Path]:
        found: dict[str, None] = {}
        for pattern in self.patterns:
            there = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207 (any pattern)
            found.update(dict.fromkeys(there))
        return [Path(path) for path in found]

    def look(self) -> list[str]:
        """Read what is new; the lines to pass on, with their log's name where there are, or may come to be, several
        logs."""
        for path in self._paths():
            self.logs.setdefault(path, Log(path))
        names = distinct_names(list(self.logs))
        several = len(self.logs) > 1 or any(map(glob.has_magic, self.patterns))
        return [f"{names[path]}: {line}" if several else line for path, log in self.logs.items() for line in log.read()]

    def progress(self) -> tuple[int, int, str, str]:
        """Done, total, unit and text: summed over the logs that count in the unit of the newest progress.

        A job that has not started counts with the mean total of the others. A pattern does not say which jobs there
        will be, so that only logs given by name count in this way.
        """
        known = [log for log in self.logs.values() if log.unit]
        if not known:
            return 0, 0, "", ""
        newest = max(known, key=lambda log: log.changed)
        same = [log for log in known if log.unit == newest.unit]
        total = sum(log.total for log in same)
        waiting = sum(not log.started for path, log in self.logs.items() if path in self._named)
        return sum(log.done for log in same), total + waiting * total // len(same), newest.unit, newest.text


class Bar:
    """Progress on a terminal."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self._tqdm, self._unit = tqdm, ""
        self._bar: tqdm | None = None

    def show(self, done: int, total: int, unit: str, text: str) -> None:
        if not unit:
            return
        if self._bar is not None and (self._unit != unit or done < self._bar.n):
            self.close()  # another pass or another thing that is counted
        if self._bar is None:
            self._unit = unit
            self._bar = self._tqdm(total=total, initial=done, unit=f" {unit}", leave=False, dynamic_ncols=True)
        self._bar.total, self._bar.n = total, done
        self._bar.set_postfix_str(text)

    def say(self, line: str) -> None:
        self._tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Lines:
    """Progress in a file or a pipe, with rate and time left: a line every `every` seconds at most, and one last."""

    def __init__(self, every: float):
        self._every, self._started = every, time.monotonic()
        self._next = self._started + every
        self._latest = self._shown = self._left = ""
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
        if time.monotonic() >= self._next:
            self.close()

    def say(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Print the newest progress, if it is not there yet."""
        if self._latest != self._shown:
            now = time.monotonic()
            self.say(f"{self._latest} after {now - self._started:.0f} s{f', {self._left}' if self._left else ''}")
            self._shown, self._next = self._latest, now + self._every


def make_display(every: float) -> Bar | Lines:
    if sys.stderr.isatty():
        with suppress(ImportError):
            return Bar()
    return Lines(every)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


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
    display = make_display(args.every)
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
