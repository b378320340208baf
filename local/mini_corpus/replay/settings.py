"""The groups of values of a mini PA corpus's conf. conf.py reads them."""

from __future__ import annotations

from dataclasses import dataclass

from local.mini_corpus.replay.devices import DeviceConf
from local.mini_corpus.replay.present import PresentConf
from local.mini_corpus.replay.rooms import RoomConf
from local.mini_corpus.settings import SPLITS


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
