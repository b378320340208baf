"""The confs of the mini PA corpus: whose speech, how many rooms, devices and replays, and what is drawn for each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from local.mini_corpus import conf as speech_conf
from local.mini_corpus.conf import AttackEntry, MiniCorpusConf
from local.mini_corpus.replay.settings import ReplayConf
from local.mini_corpus.settings import Counts, Verification
from utils import conf
from utils.cli import UserError

ATTACKS = tuple(a + b for a in "ABC" for b in "ABC")

_QUALITY = {"A": "perfect", "B": "high-quality", "C": "low-quality"}


@dataclass(frozen=True)
class _Speech:
    """What a conf has beside the values of ReplayConf."""

    speech: str  # the LA conf beside it whose packages, speakers, splits and joining are taken
    verification: Verification


def load(path: str | Path) -> MiniCorpusConf:
    """The conf at `path`, its speakers taken from the LA conf that `speech` names (in the same folder). Raises
    UserError naming file, line and key for whatever is unknown, missing or wrong."""
    lines: dict[str, str] = {}
    values = conf.read_yaml(path, lines)
    source = str(path)
    own = {key: values.pop(key) for key in ("speech", "verification") if key in values}
    replay, of = conf.build(ReplayConf, values, lines, source), conf.build(_Speech, own, lines, source)
    speech = Path(path).with_name(f"{of.speech}.yaml")
    if not speech.is_file():
        raise UserError(f"{lines.get('speech', source)}: speech: {of.speech!r}: there is no {speech}")
    base = speech_conf.load(speech)
    used = {speaker.package for named in base.speakers.values() for speaker in named.values()}
    return dataclasses.replace(
        base,
        recipe="pa",
        size=Path(path).stem.removeprefix("pa_"),
        packages={name: package for name, package in base.packages.items() if name in used},
        verification=of.verification,
        prompts={},
        attacks={name: _entry(name, replay) for name in ATTACKS},
        replay=replay,
    )


def _entry(name: str, replay: ReplayConf) -> AttackEntry:
    distance, quality = name
    low, high = getattr(replay.room.attacker_cm, distance)
    what = f"recorded at {low:g}-{high:g} cm, played by a {_QUALITY[quality]} device"
    counts = replay.amounts.replays
    return AttackEntry(what, "replay", {}, Counts(counts.train, counts.dev, counts.eval))
