"""Losses, distillation, the loop.

A method is one module of this package and one conf in conf/train/: the conf's `method` names the module, which holds
`Conf` (a dataclass that extends TrainConf) and `Method` (wraps any detector for training).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from steps.nnet import Detector
from steps.nnet.base import AngleLinear
from steps.sections import SECTIONS
from steps.training.base import MethodBase, TrainConf
from utils import conf as conf_files
from utils.cli import UserError

__all__ = ["MethodBase", "TrainConf", "conf_from_dict", "load_conf", "make_method", "method_names"]


def method_names() -> list[str]:
    """The values that a conf's `method` may take."""
    return sorted(
        m.name
        for m in pkgutil.iter_modules(__path__)
        if hasattr(importlib.import_module(f"{__name__}.{m.name}"), "Method")
    )


def _module_of(name: Any, source: str) -> Any:
    if name not in method_names():
        hint = conf_files.hint_of(str(name), method_names())
        raise UserError(f"{source}: method: {name!r} is no training method; {hint}")
    return importlib.import_module(f"{__name__}.{name}")


def load_conf(path: str | Path, settings: Iterable[str] = ()) -> TrainConf:
    """The checked conf of a training method. Raises UserError naming file, line and key."""
    return conf_files.load_kind(
        path, "method", lambda kind, source: _module_of(kind, source).Conf, "train", SECTIONS, settings
    )


def conf_from_dict(values: Mapping[str, Any], source: str) -> TrainConf:
    """The conf that `utils.conf.to_dict` made `values` of, checked again."""
    return conf_files.build(_module_of(values.get("method"), source).Conf, values, {}, source)


def make_method(conf: TrainConf, detector: Detector) -> MethodBase:
    """`detector` in the method that `conf` names; every head in it is read as the conf's hard loss wants."""
    method = _module_of(conf.method, "conf").Method(conf, detector)
    for module in method.modules():
        if isinstance(module, AngleLinear):
            module.conf = conf.hard_loss.head
    return method
