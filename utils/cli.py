"""What every program of the toolkit shares: its command line's look, its messages, its exit status."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import errno
import io
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TextIO


class UserError(Exception):
    """Something that the user can fix. Shown as one message, without a traceback; the exit status is 1.

    The text names the file, the line or the utterance, and how to fix it. `status`: the program's exit status. A word
    of thousands of characters, as of a file that is no text, is shown by its beginning.
    """

    status = 1

    def __str__(self) -> str:
        return re.sub(r"\S{600,}", lambda word: f"{word[0][:100]}...", super().__str__())


# What the system may refuse that is neither the program's fault nor a wrong argument, and what the user can do.
_AFTERWARDS = "then start again: complete files are kept"
_FIXES = {
    errno.ENOSPC: f"the disk is full: free some space, {_AFTERWARDS}",
    errno.EDQUOT: f"your quota is used up: free some space or ask for more, {_AFTERWARDS}",
    errno.EACCES: f"give yourself the right (chmod, chown), or choose another folder, {_AFTERWARDS}",
    errno.EPERM: f"give yourself the right (chmod, chown), or choose another folder, {_AFTERWARDS}",
    errno.EROFS: f"choose another folder, or let it be mounted for writing, {_AFTERWARDS}",
    errno.EIO: f"the disk or the network to it fails: see the system's log, {_AFTERWARDS}",
    errno.ESTALE: f"the network disk was away: {_AFTERWARDS}",
    errno.EFBIG: f"files must not be that large here: see ulimit -f, {_AFTERWARDS}",
    errno.EMFILE: f"too many open files: raise ulimit -n, {_AFTERWARDS}",
    errno.ENAMETOOLONG: "give shorter names",
    errno.EEXIST: "remove what stands there, or choose another name",  # of mkdir, where a file does
    errno.ENOTDIR: "a file stands where a folder is wanted: remove it, or choose another folder",
    errno.EISDIR: "a folder stands where a file is wanted: remove it, or choose another name",
}


def system_error_text(error: OSError) -> str | None:
    """A message, with the file and the fix, for what the system refused; None where it may be the program's fault."""
    if error.errno not in _FIXES:
        return None
    place = error.filename2 or error.filename
    return f"{f'{place}: ' if place else ''}{error.strerror}; {_FIXES[error.errno]}"


class _Parser(argparse.ArgumentParser):
    def _get_values(self, action: argparse.Action, texts: list[str]) -> object:
        if not action.option_strings and "" in texts:  # as a path it would be the current folder
            self.error(f"{action.metavar or action.dest}: an empty argument; is a variable of the shell not set?")
        return super()._get_values(action, texts)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n(see {self.prog} --help)\n")


def make_parser(description: str, example: str) -> argparse.ArgumentParser:
    """A parser whose --help shows the defaults and ends with `example`."""

    class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
        def _get_help_string(self, action: argparse.Action) -> str | None:
            return super()._get_help_string(action) if action.default else action.help

    return _Parser(
        prog=Path(sys.argv[0]).name,
        description=description,
        epilog="example:\n" + "\n".join("  " + line for line in example.strip().splitlines()),
        formatter_class=Formatter,
        allow_abbrev=False,
    )


def _as_it_came(error: UnicodeError) -> tuple[bytes, int]:
    """Codec error handler of the standard streams: a byte of a file's name that is no text goes out as it came in, and
    a character that the stream's encoding lacks as \\xNN, \\uNNNN or \\UNNNNNNNN. Reraises what is no error of
    encoding."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    out = b""
    for char in error.object[error.start : error.end]:
        try:
            out += char.encode("ascii", "surrogateescape")
        except UnicodeEncodeError:
            out += char.encode("ascii", "backslashreplace")
    return out, error.end


codecs.register_error("as_it_came", _as_it_came)
MOST = 2**31 - 1  # of whole numbers without a narrower range: more than any is meant to be, and no library overflows
MOST_THREADS = 1024  # of threads and processes: a slip of the finger beyond it would bring a machine down


def whole_number(least: int = 0, most: int = MOST) -> Callable[[str], int]:
    """A `type` of parser options: whole numbers from `least` to `most`, and nothing else."""
    bounds = f"of {least} or more" if most == MOST else f"from {least} to {most}"

    def read(text: str) -> int:
        value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,20}", text) else None
        if value is None or not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {bounds}")
        return value

    return read


def real_number(above: float = -math.inf, below: float = math.inf) -> Callable[[str], float]:
    """A `type` of parser options: finite numbers between `above` and `below`, neither of which is taken."""
    ends = [f"{word} {end:g}" for word, end in (("above", above), ("below", below)) if math.isfinite(end)]
    wanted = f"a number {' and '.join(ends)}" if ends else "a finite number"

    def read(text: str) -> float:
        value = float(text) if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text) else math.nan
        if not math.isfinite(value) or not above < value < below:
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return read


THREADS = whole_number(1, MOST_THREADS)


def word_or(number: Callable[[str], float], *words: str) -> Callable[[str], float | str]:
    """A `type` of parser options: one of `words` as it is, or what the type `number` takes."""

    def read(text: str) -> float | str:
        if text in words:
            return text
        try:
            return number(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{error}, nor {' or '.join(words)}") from None

    return read


def run_program(main: Callable[[], int | None]) -> NoReturn:
    """Run `main` and exit: 0, its own status, 1 (or what it says) with one message for a UserError, 130 on Ctrl-C.

    What the system refuses (no space, no permission, ...) is told like a UserError.
    """
    import utils.environment  # what `main` imports only when it is needed may be missing too

    name = Path(sys.argv[0]).name
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="as_it_came")

    def tell(message: str) -> None:
        with contextlib.suppress(OSError):  # standard error may be a log on the very disk that is full
            sys.stderr.write(f"{name}: {message}\n")

    try:
        status = main() or 0
        sys.stdout.flush()
    except UserError as error:
        tell(f"error: {error}")
        status = error.status
    except KeyboardInterrupt:
        tell("interrupted")
        status = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    except OSError as error:
        text = system_error_text(error)
        if text is None:
            raise
        tell(f"error: {text}")
        status = 1
    sys.exit(status)


def warn(message: str) -> None:
    """Print a warning on standard error, where a job's log keeps it."""
    sys.stderr.write(f"WARNING: {message}\n")
    sys.stderr.flush()


def time_left(seconds: float, done: int, left: int) -> str:
    """`about 12 min left`, where `done` of equal pieces took `seconds` and `left` are to come; empty if that tells
    nothing yet."""
    if seconds < 1 or done <= 0 or left <= 0:
        return ""
    to_come = seconds * left / done
    if to_come < 90:
        return f"about {max(1, round(to_come))} s left"
    return f"about {to_come / 60:.0f} min left" if to_come < 5400 else f"about {to_come / 3600:.1f} h left"


def pace(seconds: float, done: int, left: int) -> str:
    """`4.2/s, about 12 min left`: the rate at which `done` pieces were made, and the time left; empty as time_left."""
    to_come = time_left(seconds, done, left)
    if not to_come:
        return ""
    rate = done / seconds
    return f"{f'{rate:.0f}/s' if rate >= 10 else f'{rate:.1f}/s' if rate >= 0.5 else f'{60 * rate:.1f}/min'}, {to_come}"


class ProgressLog:
    """Progress of a job: a bar on a terminal, elsewhere `progress DONE/TOTAL` lines with percent, rate and time left.

    utils/follow_log.py turns those lines, from the logs of one or many jobs, back into a bar.
    """

    def __init__(self, total: int, unit: str, desc: str = "", every_seconds: float = 2.0, done: int = 0):
        import time

        self._clock = time.monotonic
        self.total, self.unit, self.desc, self.done, self.every = total, unit, desc, done, every_seconds
        self._next = self._began = self._clock()
        self._done_before = done  # by a run that was interrupted
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, unit=unit, desc=desc, leave=False, dynamic_ncols=True)
        else:
            self._say()

    def _say(self, text: str = "") -> None:
        percent = f"{100 * self.done // self.total} %" if self.total else ""
        speed = pace(self._clock() - self._began, self.done - self._done_before, self.total - self.done)
        said = ", ".join(filter(None, [self.desc, text, percent, speed]))
        sys.stderr.write(f"progress {self.done}/{self.total} {self.unit}{' ' + said if said else ''}\n")
        sys.stderr.flush()
        self._next = self._clock() + self.every

    def update(self, n: int = 1, text: str = "") -> None:
        self.done += n
        if self._bar is not None:
            if text:
                self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(n)
        elif self.done >= self.total or self._clock() >= self._next:
            self._say(text)

    def say(self, line: str, file: TextIO | None = None) -> None:
        """A line on standard error, or `file`, above the bar if there is one."""
        file = sys.stderr if file is None else file
        if self._bar is not None:
            self._bar.write(line, file=file)
        else:
            file.write(line + "\n")
            file.flush()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
