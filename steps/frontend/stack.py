"""Several front ends as channels of one input: `stack_f0_imag_real`.

Xue et al., "Learning from yourself: a self-distillation method for fake speech detection", 2023, ask in their summary
for further representations of speech beside the F0 subband.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from steps import frontend as frontends
from steps.frontend.base import FrontEndBase, FrontEndConf
from utils import conf as conf_files
from utils.cli import UserError


def part_conf(value: Any, where: str, source: str) -> FrontEndConf:
    """The conf of a part: `value` is the name of a conf file beside `source`, or a group of the keys that stand in one.

    Raises UserError beginning with `where`.
    """
    try:
        if isinstance(value, str):
            path = Path(source).parent / value
            values, made = conf_files.read_yaml(path), lambda: frontends.load_conf(path)
        elif isinstance(value, Mapping):
            values, made = value, lambda: frontends.conf_from_dict(value, source)
        else:
            raise UserError(f"{value!r} is neither the name of a conf file nor a group of keys")
        if values.get("type") == "stack":
            raise UserError(f"{value if isinstance(value, str) else 'it'} is a stack; name its parts instead")
        return made()
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Conf(FrontEndConf):
    """`parts`: front ends in the order of their channels, each with its own pre_emphasis, max_samples, deltas, cmvn.

    `frames`: where a part's number of frames is not the first part's, it is an error (`equal`), or the part is brought
    to that number by linear interpolation over time, its first and last frame staying first and last. `bins`: parts of
    fewer bins than the widest get zeros above theirs, or are stretched likewise.

    resample, channel, standardise and trim stand in the stack alone; the parts have to look at equally many samples.
    How the arks are kept and a network reads them is the stack's too: it replaces the parts' `compress` and
    `network_input`.
    """

    parts: tuple[Annotated[FrontEndConf, part_conf], ...]
    frames: Literal["equal", "interpolate"]
    bins: Literal["zero_pad", "interpolate"]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parts:
            raise ValueError("parts: there are none")
        if self.pre_emphasis:
            raise ValueError("pre_emphasis: each part of a stack has its own; leave it out here")
        for i, part in enumerate(self.parts):
            if part.sample_rate != self.sample_rate:
                raise ValueError(f"parts[{i}].sample_rate: {part.sample_rate} is not the stack's {self.sample_rate}")
            for key in ("resample", "channel", "trim"):
                value = getattr(part, key)
                if value is not False and value is not None:
                    raise ValueError(f"parts[{i}].{key}: belongs to the stack; leave it out of the part")
            if part.cmvn is not None and part.cmvn.scope == "global":
                raise ValueError(f"parts[{i}].cmvn: global normalisation is over all channels; set it in the stack")
            if self._looked_at(part) != self._looked_at(self.parts[0]):
                raise ValueError(
                    f"parts[{i}].max_samples: {part.max_samples} is not that of parts[0], {self.parts[0].max_samples}: "
                    "the parts would look at different stretches; the stack's own max_samples can make them one"
                )
        # the stack has standardised what its parts get
        shared = {"compress": self.compress, "network_input": self.network_input, "standardise": False}
        object.__setattr__(self, "parts", tuple(replace(part, **shared) for part in self.parts))

    @property
    def band_hz(self) -> tuple[float, float]:
        low, high = zip(*(part.band_hz for part in self.parts))
        return min(low), max(high)

    @property
    def bin_hz(self) -> np.ndarray | None:
        """The parts', where they all have the same."""
        first, *others = (part.bin_hz for part in self.parts)
        same = first is not None and all(other is not None and np.array_equal(first, other) for other in others)
        return first if same else None

    @property
    def frame_shift(self) -> float | None:
        return self.parts[0].frame_shift

    def _looked_at(self, part: FrontEndConf) -> float:
        """How many samples from the begin the part gets to see."""
        return min(conf.max_samples or math.inf for conf in (self, part))


def stretch(x: np.ndarray, size: int, axis: int) -> np.ndarray:
    """`x` brought to `size` along `axis` by linear interpolation, the ends staying ends; one value is repeated."""
    n = x.shape[axis]
    if n == size:
        return x
    places = np.linspace(0, n - 1, size) if n > 1 else np.zeros(size)
    below = np.minimum(places.astype(np.int64), max(n - 2, 0))
    shape = [1] * x.ndim
    shape[axis] = size
    weight = (places - below).astype(x.dtype).reshape(shape)
    above = np.minimum(below + 1, n - 1)
    return x.take(below, axis) * (1 - weight) + x.take(above, axis) * weight


class FrontEnd(FrontEndBase):
    """The channels of the parts, in the parts' order, each with as many bins as the widest part."""

    def __init__(self, conf: Conf):
        self.conf: Conf = conf
        self.parts = [frontends.make_frontend(part) for part in conf.parts]
        self.extracted_channels = sum(part.channels for part in self.parts)
        self.bins = max(part.n_bins for part in self.parts)

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: (samples,) -> float32 (frames of the first part, extracted_channels x bins).

        Raises UserError where parts differ in frames and the conf has `frames: equal`.
        """
        return self._joined([part.compute(waveform) for part in self.parts])

    def extract_batch(self, waveforms: Sequence[np.ndarray], device: str) -> list[np.ndarray]:
        """See FrontEndBase. The parts' batches on `device`, joined on the CPU."""
        batches = [part.compute_batch(waveforms, device) for part in self.parts]
        return [self._joined(matrices) for matrices in zip(*batches)]

    def _joined(self, matrices: Sequence[np.ndarray]) -> np.ndarray:
        """What the parts made of one waveform, (frames, columns) each -> (frames of the first, extracted_channels x
        bins)."""
        made: list[np.ndarray] = []
        for i, (part, x) in enumerate(zip(self.parts, matrices)):
            x = x.reshape(len(x), part.channels, part.n_bins)
            if made and len(x) != len(made[0]):
                if self.conf.frames == "equal":
                    raise UserError(
                        f"parts[{i}] ({part.conf.type}) has {len(x)} frames, parts[0] {len(made[0])}: give them one "
                        "hop_length, or set frames: interpolate"
                    )
                x = stretch(x, len(made[0]), 0)
            if self.conf.bins == "interpolate":
                x = stretch(x, self.bins, 2)
            else:
                x = np.pad(x, ((0, 0), (0, 0), (0, self.bins - part.n_bins)))
            made.append(x)
        return np.concatenate(made, axis=1).reshape(len(made[0]), -1)
