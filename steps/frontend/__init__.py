"""Waveform -> feature matrix (frames x bins).

A front end is one module of this package and one conf in conf/frontend/: the conf's `type` names the module, which
holds `Conf` (a dataclass that extends FrontEndConf) and `FrontEnd` (a FrontEndBase made from a Conf).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from steps.frontend.base import FrontEndBase, FrontEndConf, NetworkInput
from steps.frontend.processing.audio import Audio, read_waveform
from steps.sections import SECTIONS
from utils import conf as conf_files
from utils.cli import UserError
from utils.tables import read_big_map, require_keys

GLOBAL_CMVN = "global_cmvn"  # file in a feats dir: the sums of its frames, a single Kaldi matrix
UTT2BANDS = "utt2bands"  # file in a feats dir: each utterance's levels in FrontEndBase.bands, dB

__all__ = [
    "GLOBAL_CMVN",
    "UTT2BANDS",
    "FrontEndBase",
    "FrontEndConf",
    "NetworkInput",
    "conf_from_dict",
    "dump_identity",
    "frontend_types",
    "load_conf",
    "make_frontend",
    "read_levels",
    "read_utterance",
]


def frontend_types() -> list[str]:
    """The values that a conf's `type` may take."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg and m.name != "base")


def _module_of(kind: Any, source: str) -> Any:
    if kind not in frontend_types():
        hint = conf_files.hint_of(str(kind), frontend_types())
        raise UserError(f"{source}: type: {kind!r} is no front end; {hint}")
    return importlib.import_module(f"{__name__}.{kind}")


def load_conf(path: str | Path, settings: Iterable[str] = ()) -> FrontEndConf:
    """The checked conf of a front end. Raises UserError naming file, line and key."""
    return conf_files.load_kind(
        path, "type", lambda kind, source: _module_of(kind, source).Conf, "frontend", SECTIONS, settings
    )


def conf_from_dict(values: Mapping[str, Any], source: str) -> FrontEndConf:
    """The conf that `utils.conf.to_dict` made `values` of, checked again.

    Values from before waveforms were standardised have no such key: those detectors were trained without.
    """
    if "standardise" not in values:
        values = {"standardise": False, **values}
        if values.pop("level", None) is not None:
            raise UserError(f"{source}: level: this version has no such key, only standardise: true; train again")
    return conf_files.build(_module_of(values.get("type"), source).Conf, values, {}, source)


def make_frontend(conf: FrontEndConf) -> FrontEndBase:
    return _module_of(conf.type, "conf").FrontEnd(conf)


def read_utterance(utt: str, path: Audio | Path, conf: FrontEndConf) -> np.ndarray:
    """An utterance's waveform as the front end of `conf` takes it: see processing.audio.read_waveform."""
    return read_waveform(utt, path, conf.sample_rate, conf.resample, conf.channel)


def read_levels(path: Path, bands: int, utts: Sequence[str], place: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(utterance, its levels (bands,) in decibels) of an utt2bands. utts: those of the file `place`.

    Raises UserError naming a line that has something else, and for one of `utts` that has no line.
    """
    table = read_big_map(path)
    require_keys(path, table, place, utts, "remove the file and run again from --stage 1")
    for utt, text in table.pairs():
        try:
            levels = np.array(text.split(), float)
        except ValueError:
            levels = np.zeros(0)
        if len(levels) != bands or not np.isfinite(levels).all():
            raise UserError(
                f"{path}: {utt}: {bands} numbers are expected; remove the file and run again from --stage 1"
            )
        yield utt, levels


def dump_identity(conf: FrontEndConf) -> dict[str, Any]:
    """What of a conf decides the numbers in the arks: all but how a network's reader fixes the length."""
    values = conf_files.to_dict(conf)
    for whole_conf in (values, *(values["parts"] if conf.type == "stack" else ())):
        whole_conf.pop("network_input")
    return values
