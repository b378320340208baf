"""Feature matrix -> embedding -> score.

A network is one module of this package and one conf in conf/model/: the conf's `type` names the module, which holds
`Conf` (a dataclass that extends ModelConf) and `Backbone` (a torch module made from a Conf).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from steps.nnet.base import (
    INNER_PRODUCT,
    BackboneBase,
    Detector,
    FrameMaps,
    HeadConf,
    InputNormalisation,
    ModelConf,
    check_backbone,
)
from steps.sections import SECTIONS
from utils import conf as conf_files
from utils.cli import UserError

__all__ = [
    "BackboneBase",
    "Detector",
    "ModelConf",
    "conf_from_dict",
    "load_conf",
    "make_another",
    "make_detector",
    "model_types",
    "named_conf",
]


def model_types() -> list[str]:
    """The values that a conf's `type` may take."""
    return sorted(
        m.name
        for m in pkgutil.iter_modules(__path__)
        if hasattr(importlib.import_module(f"{__name__}.{m.name}"), "Backbone")
    )


def _module_of(kind: Any, source: str) -> Any:
    if kind not in model_types():
        hint = conf_files.hint_of(str(kind), model_types())
        raise UserError(f"{source}: type: {kind!r} is no network; {hint}")
    return importlib.import_module(f"{__name__}.{kind}")


def load_conf(path: str | Path, settings: Iterable[str] = ()) -> ModelConf:
    """The checked conf of a network. Raises UserError naming file, line and key."""
    return conf_files.load_kind(
        path, "type", lambda kind, source: _module_of(kind, source).Conf, "model", SECTIONS, settings
    )


def conf_from_dict(values: Mapping[str, Any], source: str) -> ModelConf:
    """The conf that `utils.conf.to_dict` made `values` of, checked again."""
    return conf_files.build(_module_of(values.get("type"), source).Conf, values, {}, source)


def named_conf(value: Any, where: str, source: str) -> ModelConf:
    """The conf of a network that another conf names: `value` is a file, beside `source`, or a group of the keys of one.

    Raises UserError beginning with `where`.
    """
    try:
        if isinstance(value, str):
            return load_conf(Path(source).parent / value)
        if isinstance(value, Mapping):
            return conf_from_dict(value, source)
        raise UserError(f"{value!r} is neither the name of a conf file nor a group of keys")
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def make_detector(
    conf: ModelConf,
    channels: int = 1,
    normalised_bins: int | None = None,
    head: HeadConf = INNER_PRODUCT,
    frames: FrameMaps | None = None,
) -> Detector:
    """The network of `conf` with an AngleLinear head of `head`, and with `frames` a head of frames that reads these
    maps; weights are drawn from torch's generator.

    `normalised_bins`: bins of each channel, if the input is to be normalised first; until it is told by what
    (Detector.normalisation.set), that changes nothing.
    """
    backbone = _module_of(conf.type, "conf").Backbone(conf, channels)
    check_backbone(backbone)
    normalisation = None if normalised_bins is None else InputNormalisation(channels, normalised_bins)
    detector = Detector(backbone, normalisation, head, frames)
    detector.made_of = conf, channels, normalised_bins
    return detector


def make_another(detector: Detector, conf: ModelConf | None = None) -> Detector:
    """A network for the same input as `detector`, whose normalisation it shares: of its conf, or of `conf`, and with
    other initial weights."""
    own_conf, channels, normalised_bins = detector.made_of
    another = make_detector(conf or own_conf, channels, normalised_bins, detector.head.conf)
    another.normalisation = detector.normalisation
    return another
