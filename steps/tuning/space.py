"""What a sweep varies: the conf of conf/sweep/*.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from utils import conf as conf_files


@dataclass(frozen=True)
class ParameterConf:
    """A key of the training conf, train.*, drawn from low to high: evenly, or evenly by ratio; whole: whole numbers
    alone."""

    key: str
    low: float
    high: float
    log: bool
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.key.startswith("train."):
            raise ValueError(f"key: {self.key!r} is no key of a training conf, train.*")
        if not self.low < self.high:
            raise ValueError(f"high: {self.high} is not above low, {self.low}")
        if self.log and self.low <= 0:
            raise ValueError(f"low: {self.low} is not positive, so that log has to be false")
        if self.whole and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"low: {self.low} and high, {self.high}, must be integers")

    @property
    def name(self) -> str:
        return self.key.removeprefix("train.")

    @property
    def ends(self) -> tuple[float, float]:
        """low and high, as values that the key takes."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


@dataclass(frozen=True)
class SweepConf:
    parameters: tuple[ParameterConf, ...]
    sampler: Literal["tpe", "random"]
    startup_trials: int
    sampler_seed: int
    prune: Literal["none", "median"]

    def __post_init__(self) -> None:
        keys = [parameter.key for parameter in self.parameters]
        if not keys:
            raise ValueError("parameters: there are none")
        if len(set(keys)) < len(keys):
            raise ValueError("parameters: a key stands there twice")
        if self.startup_trials < 1:
            raise ValueError(f"startup_trials: {self.startup_trials} is not positive")
        if self.sampler_seed < 0:
            raise ValueError(f"sampler_seed: {self.sampler_seed} is negative")


def load_conf(path: str | Path) -> SweepConf:
    """Raises UserError naming file, line and key."""
    return conf_files.load(path, SweepConf, "sweep", ("sweep",))


def conf_for(folder: Path, train_conf: Path, method: str) -> Path:
    """The conf of `folder` to tune a training conf by: that of its name, else of its method, else of the baseline."""
    named = (folder / f"{name}.yaml" for name in (train_conf.stem, method))
    return next((path for path in named if path.exists()), folder / "baseline.yaml")


def values_within(conf: SweepConf, train: Mapping[str, Any]) -> dict[str, float]:
    """By key, the values that a training conf, as plain groups of keys, has itself, where they lie in their ranges."""
    found = {}
    for parameter in conf.parameters:
        value: Any = train
        for part in parameter.name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and parameter.low <= value <= parameter.high:
            found[parameter.key] = value
    return found


def settings_of(values: Mapping[str, float]) -> list[str]:
    """What `--set` takes, of each key's value."""
    return [f"{key}={value!r}" for key, value in values.items()]
