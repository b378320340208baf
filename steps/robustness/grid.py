"""The confs of conf/stress/: manipulations, each a name, a family and a chain of augmentation steps on waveforms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from steps.augment import AugmentConf
from steps.augment.base import StepConf, WaveformStep, module_of
from utils import conf as conf_files

CLEAN = "as it is"


def stem_of(name: str) -> str:
    """`name` as a file's name has it."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip("._")


@dataclass(frozen=True, kw_only=True)
class Manipulation:
    """`name` and `family` as tables show them; `steps` as in conf/augment/, on waveforms only."""

    name: str
    family: str
    steps: tuple[StepConf, ...]

    def __post_init__(self) -> None:
        for key in ("name", "family"):
            if not getattr(self, key).strip():
                raise ValueError(f"{key}: it is empty")
        for i, step in enumerate(self.steps):
            if not issubclass(module_of(step.type).Step, WaveformStep):
                raise ValueError(f"steps[{i}].type: {step.type} changes features; a manipulation changes waveforms")

    @property
    def chain(self) -> AugmentConf:
        return AugmentConf(steps=self.steps)

    @property
    def stem(self) -> str:
        """Of its files' names."""
        return stem_of(self.name)


@dataclass(frozen=True, kw_only=True)
class GridConf:
    """`manipulations`, in the order of the table; the untouched utterances come before them by themselves."""

    manipulations: tuple[Manipulation, ...]

    def __post_init__(self) -> None:
        stems = ["", UNTOUCHED.stem]
        for i, one in enumerate(self.manipulations):
            if one.stem in stems:
                raise ValueError(f"manipulations[{i}].name: {one.name!r} names no files of its own; give another name")
            stems.append(one.stem)


UNTOUCHED = Manipulation(name=CLEAN, family="none", steps=())


def load_grid(path: str | Path) -> GridConf:
    """The checked conf. Raises UserError naming file, line and key."""
    return conf_files.load(path, GridConf, "stress", ("stress",))
