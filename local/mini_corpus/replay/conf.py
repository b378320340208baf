"""The confs of the mini PA corpus: whose speech, how many rooms, devices and replays, and what is drawn for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from local.mini_corpus import conf as speech_conf
from local.mini_corpus.conf import SPLITS, AttackEntry, Counts, MiniCorpusConf, Verification
from local.mini_corpus.replay.devices import DeviceConf
from local.mini_corpus.replay.present import PresentConf
from local.mini_corpus.replay.rooms import RoomConf
from utils import conf
from utils.cli import UserError

ATTACKS = tuple(a + b for a in "ABC" for b in "ABC")

_QUALITY = {"A": "perfect", "B": "high-quality", "C": "low-quality"}


@dataclass(frozen=True)
class PerSplit:
    """A number for each split."""

    train: int
    dev: int
    eval: int

    def __post_init__(self) -> None:
        for split in SPLITS:
            if getattr(self, split) < 1:
                raise ValueError(f"{split}: {getattr(self, split)} is not positive")


@dataclass(frozen=True)
class Amounts:
    """How many of what; no split has another's rooms or devices."""

    rooms: PerSplit  # of each of the 27 environments
    places: int  # pairs of places in a room, for each distance
    devices: PerSplit  # of each quality
    replays: PerSplit  # of each of the nine attacks, over the environments in turn

    def __post_init__(self) -> None:
        if self.places < 1:
            raise ValueError(f"places: {self.places} is not positive")


@dataclass(frozen=True)
class ReplayConf:
    amounts: Amounts
    room: RoomConf
    device: DeviceConf
    present: PresentConf
    lead_ms: tuple[float, ...]  # of silence before the talker begins, drawn evenly
    low_hz: float  # where the verifier's microphone's band begins, -3 dB
    stop_hz: float  # nothing above: where it ends
    noise_snr_db: tuple[float, ...]  # of that microphone, drawn evenly
    final_level_db: tuple[float, ...]  # the active level that the file ends with, drawn evenly

    def __post_init__(self) -> None:
        if not 20 <= self.low_hz <= 500:
            raise ValueError(f"low_hz: {self.low_hz} is not within 20 and 500")
        if not 1000 <= self.stop_hz < 8000:
            raise ValueError(f"stop_hz: {self.stop_hz} is not within 1000 and 8000")
        low, high = self.final_level_db if len(self.final_level_db) == 2 else (1.0, 0.0)
        if not -60 <= low <= high <= -10:
            raise ValueError(f"final_level_db: {list(self.final_level_db)} is not [lowest, highest] within -60 and -10")


def load(path: str | Path) -> MiniCorpusConf:
    """The conf at `path`, its speakers taken from the LA conf that `speech` names (in the same folder). Raises UserError
    naming file, line and key for whatever is unknown, missing or wrong."""
    lines: dict[str, str] = {}
    values = conf.read_yaml(path, lines)
    source = str(path)
    speech_conf.only(
        values,
        [
            "speech",
            "amounts",
            "room",
            "device",
            "present",
            "lead_ms",
            "low_hz",
            "stop_hz",
            "noise_snr_db",
            "final_level_db",
            "verification",
        ],
        source,
    )
    speech = Path(path).with_name(f"{values['speech']}.yaml")
    if not speech.is_file():
        raise UserError(f"{lines.get('speech', source)}: speech: {values['speech']!r}: there is no {speech}")
    base = speech_conf.load(speech)
    groups = {key: value for key, value in values.items() if key not in ("speech", "verification")}
    replay = conf.build(ReplayConf, groups, lines, source)
    verification = conf.build(Verification, values["verification"], lines, source, "verification.")
    used = {speaker.package for named in base.speakers.values() for speaker in named.values()}
    return MiniCorpusConf(
        recipe="pa",
        size=Path(path).stem.removeprefix("pa_"),
        packages={name: package for name, package in base.packages.items() if name in used},
        utterance=base.utterance,
        chain=base.chain,
        verification=verification,
        speakers=base.speakers,
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
