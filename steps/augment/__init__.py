"""Chains of augmentations on waveforms, features and batches.

A step is one module of this package, whose name is the step's `type` in conf/augment/*.yaml. It holds `Conf` (a
dataclass that extends StepConf) and `Step` (a WaveformStep, FeatureStep or BatchStep made from a Conf).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from steps.augment.base import step_types
from steps.augment.chain import AugmentConf, Chain, make_chain, utterance_rng
from steps.augment.mixup import Conf as MixupConf
from steps.sections import SECTIONS
from utils import conf as conf_files

__all__ = [
    "AugmentConf",
    "Chain",
    "MixupConf",
    "conf_from_dict",
    "load_conf",
    "make_chain",
    "step_types",
    "utterance_rng",
]


def load_conf(path: str | Path, settings: Iterable[str] = ()) -> AugmentConf:
    """The checked conf of a chain. Raises UserError naming file, line and key."""
    return conf_files.load(path, AugmentConf, "augment", SECTIONS, settings)


def conf_from_dict(values: Mapping[str, Any], source: str) -> AugmentConf:
    """The conf that `utils.conf.to_dict` made `values` of, checked again."""
    return conf_files.build(AugmentConf, values, {}, source)
