"""What every step of an augmentation chain has in common."""

from __future__ import annotations

import builtins
import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from steps.augment.processing.recordings import Recordings
from utils.conf import hint_of

Range = tuple[float, ...]  # [lowest, highest]; a value is drawn evenly from it


def check_range(name: str, values: Range, lowest: float, highest: float) -> None:
    """Raises ValueError, beginning with `name`, unless it is [low, high] with lowest <= low <= high <= highest."""
    if len(values) != 2 or values[0] > values[1]:
        raise ValueError(f"{name}: {list(values)} is not [lowest, highest]")
    if values[0] < lowest or values[1] > highest:
        raise ValueError(f"{name}: {list(values)} has to be within {lowest:g}..{highest:g}")


def check_db(name: str, values: Range) -> None:
    """check_range of a ratio in dB."""
    check_range(name, values, -200, 200)


def step_types() -> list[str]:
    """The values that the `type` of a step may take: the modules of steps/augment/ that hold a step."""
    room = importlib.import_module("steps.augment")
    return sorted(m.name for m in pkgutil.iter_modules(room.__path__) if not m.ispkg and m.name not in _NO_STEPS)


_NO_STEPS = ("base", "chain")


def module_of(kind: Any) -> Any:
    """The module of a step's type. Raises ValueError naming the nearest."""
    if kind not in step_types():
        raise ValueError(f"type: {kind!r} is no augmentation; {hint_of(str(kind), step_types())}")
    return importlib.import_module(f"steps.augment.{kind}")


@dataclass(frozen=True, kw_only=True)
class StepConf:
    """Keys of every step. `p`: probability, 0..1, that an utterance is changed (mixup: a batch)."""

    type: str
    p: float = 1.0

    @staticmethod
    def schema_of(values: Any) -> builtins.type[StepConf]:  # `type` is a key here
        return module_of(values.get("type")).Conf

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"p: {self.p} must be between 0 and 1")


class WaveformStep(ABC):
    """A step on waveforms, made from its conf and the sample rate in Hz."""

    recordings: Recordings | None = None  # what it draws from, if it does
    drawn: str = ""  # what the last `apply` drew, in words, where that is soon said

    def __init__(self, conf: Any, sample_rate: int):
        self.conf = conf
        self.sample_rate = sample_rate

    @abstractmethod
    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """waveform: float64 (samples,), at least one, full scale 1, not changed in place -> the same type, its own
        length unless the step's docs say otherwise, never empty, finite. Not clipped to full scale."""


class FeatureStep(ABC):
    """A step on a matrix of features, made from its conf."""

    def __init__(self, conf: Any):
        self.conf = conf

    @abstractmethod
    def apply(self, features: np.ndarray, channels: int, rng: np.random.Generator) -> np.ndarray:
        """features: float32 (frames, channels x bins): the bins of channel 0, then those of channel 1, ...; not changed
        in place -> the same shape and type."""


class BatchStep(ABC):
    """A step on a batch of network inputs, which the training loop carries out."""

    def __init__(self, conf: Any):
        self.conf = conf

    @abstractmethod
    def draw(self, rng: np.random.Generator, batch_size: int) -> tuple[np.ndarray, float]:
        """-> int64 (batch_size,), a permutation of the batch, and the weight, 0..1, of an utterance's own input and
        label; the rest goes to the input and label of the one that the permutation puts beside it."""
