"""Losses, distillation, the loop.

A method is one module of this package and one conf in conf/train/: the conf's `method` names the module, which holds
`Conf` (a dataclass that extends TrainConf) and `Method` (wraps any detector for training).
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.nnet import Detector
from steps.sections import SECTIONS
from steps.training.base import MethodBase, TrainConf
from utils import conf as conf_files
from utils.cli import UserError

SCHEDULE_KEYS = ("epochs", "batch_size", "schedule", "select_by")  # of a conf of conf/schedule


@dataclass(frozen=True)
class Parts:
    """Confs that replace what a method's conf says of them; None: as it says.

    loss: its `hard_loss`; schedule: how long, in which batches, at which learning rate, and which epoch is kept.
    """

    loss: str | Path | None = None
    schedule: str | Path | None = None

    @property
    def files(self) -> list[str | Path]:
        return [part for part in (self.loss, self.schedule) if part is not None]

    def name_of(self, method_conf: str | Path) -> str:
        """How a training by that method and these parts is called: METHOD[_LOSS][_SCHEDULE].

        The paper's schedule and loss, which confs have, are not named.
        """
        parts = [Path(part).stem for part in self.files]
        return "_".join([Path(method_conf).stem, *(part for part in parts if part not in ("a_softmax", "paper"))])


def add_parts(parser: argparse.ArgumentParser) -> None:
    """The options of Parts, for programs that take the conf of a method."""
    parser.add_argument("--schedule", help="conf of the schedule, conf/schedule/*.yaml, instead of the method's")
    parser.add_argument("--loss", help="conf of the hard loss, conf/loss/*.yaml, instead of the method's")


def parts_of(args: argparse.Namespace) -> Parts:
    """What the options of add_parts say."""
    return Parts(args.loss, args.schedule)


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


def load_conf(path: str | Path, settings: Iterable[str] = (), parts: Parts = Parts()) -> TrainConf:
    """The checked conf of a training: a method's, with another schedule or loss over it. Raises UserError naming file,
    line and key."""
    return conf_files.load_kind(
        path, "method", lambda kind, source: _module_of(kind, source).Conf, "train", SECTIONS, settings, parts.files
    )


def conf_from_dict(values: Mapping[str, Any], source: str) -> TrainConf:
    """The conf that `utils.conf.to_dict` made `values` of, checked again."""
    return conf_files.build(_module_of(values.get("method"), source).Conf, values, {}, source)


def make_method(conf: TrainConf, detector: Detector) -> MethodBase:
    """`detector` in the method that `conf` names. Raises ValueError if its head was not built for the hard loss."""
    if detector.head.conf != conf.hard_loss.head:
        raise ValueError(f"the head is {detector.head.conf}, but {conf.hard_loss.name} needs {conf.hard_loss.head}")
    return _module_of(conf.method, "conf").Method(conf, detector)
