"""Groups of recordings to compare: by argument of the command line, or by the period in which they were made.

A CSV file lists recordings in its column `path`, from the CSV's folder on, and when each was made in its column `time`
(ISO 8601). Other recordings were made when their file was last modified. Times with a zone, and those of files, are
brought to UTC.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from steps.inference.inputs import Found, find_recordings
from utils.cli import UserError
from utils.files import read_csv
from utils.segments import Stretch

PERIODS = ("day", "week", "month")


@dataclass(frozen=True)
class Timed:
    """A recording as find_recordings has it, and when it was made; None: not asked for."""

    found: Found
    time: datetime | None = None


@dataclass(frozen=True)
class Group:
    name: str
    recordings: list[Timed]


def group_of(argument: str, allow_pipes: bool = False) -> Group:
    """The recordings of a folder, a data dir, a wav.scp or a CSV file. Raises UserError for anything else, for one
    without a recording, and as find_recordings and read_csv do."""
    path = Path(argument)
    if not path.exists():
        raise UserError(f"{argument}: no such folder or list")
    if not path.is_dir() and path.suffix not in (".scp", ".csv"):
        raise UserError(f"{argument}: neither a folder nor a list; give a folder, a wav.scp or a .csv, or use --by")
    return Group(argument, [Timed(found) for found, _ in _listed([argument], allow_pipes, ("path",))])


def groups_by_period(arguments: Iterable[str], period: str, allow_pipes: bool = False) -> list[Group]:
    """Groups of all recordings by one of PERIODS (2026-12-03, 2026-W49, 2026-12), the earliest first; single recordings
    are taken too. Raises UserError for one whose time is not known, and as group_of does."""
    groups: dict[str, list[Timed]] = {}
    for found, time in _listed(arguments, allow_pipes, ("path", "time")):
        time = time or _modified(*found)
        groups.setdefault(_period_of(time, period), []).append(Timed(found, time))
    return [Group(name, groups[name]) for name in sorted(groups)]


def short_names(groups: Sequence[Group]) -> list[Group]:
    """The groups by the last part of their names alone, where no two have the same."""
    names = [Path(group.name).name or group.name for group in groups]
    if len(set(names)) < len(names):
        return list(groups)
    return [replace(group, name=name) for group, name in zip(groups, names)]


def refuse_repeated(groups: Sequence[Group]) -> None:
    """Raises UserError for a group or a recording that is there twice: a test takes it as two."""
    names = [group.name for group in groups]
    if len(set(names)) < len(names):
        raise UserError(f"{max(names, key=names.count)}: given twice; compare it with another group")
    seen: dict[Hashable, str] = {}
    for group in groups:
        for name, audio in (one.found for one in group.recordings):
            other = seen.get(key := _identity(audio))
            if other is not None:
                where = f"twice in {other}" if other == group.name else f"both in {other} and in {group.name}"
                raise UserError(f"{name}: {where}; give each recording once")
            seen[key] = group.name


def _listed(
    arguments: Iterable[str], allow_pipes: bool, columns: Sequence[str]
) -> Iterator[tuple[Found, datetime | None]]:
    """columns: that a CSV file must have."""
    for argument in arguments:
        if not argument.endswith(".csv") or not Path(argument).is_file():
            yield from ((found, None) for found in find_recordings([argument], allow_pipes))
            continue
        path = Path(argument)
        rows = list(read_csv(path, columns))
        if not rows:
            raise UserError(f"{path}: it lists no recording")
        for line, row in rows:
            place = str(path.parent / row["path"])
            yield (place, place), _time_of(path, line, row["time"]) if "time" in columns else None


def _time_of(path: Path, line: int, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"{path}: line {line}: the time {text!r} is not like 2026-12-03 or 2026-12-03T14:30:00; correct the line"
        ) from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _modified(name: str, audio: object) -> datetime:
    while isinstance(audio, Stretch):
        audio = audio.path
    if not isinstance(audio, str):
        raise UserError(f"{name}: not a file, so that its time is not known; list it in a CSV with its path and time")
    try:
        return datetime.fromtimestamp(Path(audio).stat().st_mtime, UTC)
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: its time is not known: {getattr(error, 'strerror', error)}") from None


def _period_of(time: datetime, period: str) -> str:
    if period == "week":
        year, week, _ = time.isocalendar()
        return f"{year}-W{week:02d}"
    return time.strftime("%Y-%m-%d" if period == "day" else "%Y-%m")


def _identity(audio: object) -> Hashable:
    """The same for the same samples, by whatever name they are called."""
    if isinstance(audio, Stretch):
        return _identity(audio.path), audio.begin, audio.end, audio.side
    return os.path.realpath(audio) if isinstance(audio, str) else audio
