"""The states of a frozen pretrained encoder's layers, computed once for many trainings: `whisper_tiny`.

A state is what the stem or a layer makes, (frames, width); the last layer's has passed the encoder's last norm. The
network that reads them is `encoder` (steps/nnet/encoder.py), whose back end and heads are then trained without the
encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from steps.encoders.folders import EncoderConf, plain_group, read_encoder
from steps.encoders.parts import Parts, parts_of, size_of
from steps.frontend.base import FrontEndBase, FrontEndConf
from utils import conf as conf_files
from utils.cli import UserError


@dataclass(frozen=True)
class KnownFolder:
    """An encoder's folder and the SHA-256 of its weights; detectors do not keep the weights of a front end."""

    folder: str
    weights: Annotated[dict[str, str], plain_group]

    def read(self) -> EncoderConf:
        """Raises UserError where the folder is not there any more, or has other weights."""
        found = read_encoder(self.folder, "frontend.encoder", "/")
        if found.weights != self.weights:
            raise UserError(
                f"frontend.encoder: {self.folder}: its weights are not those that this front end was made with"
                " (SHA-256); put those back, or compute the features and train again"
            )
        return found


def known_folder(value: Any, where: str, source: str) -> KnownFolder:
    """value: a folder, its name relative to that of the conf `source`; or what a training kept of one."""
    if isinstance(value, Mapping):
        return conf_files.build(KnownFolder, value, {}, source, f"{where}.")
    return KnownFolder(str((Path(source).parent / str(value)).resolve()), read_encoder(value, where, source).weights)


@dataclass(frozen=True, kw_only=True)
class Conf(FrontEndConf):
    """`encoder`: its folder. `max_samples`: what the encoder reads; shorter utterances are repeated up to that.
    `average`: how many neighbouring frames are made one by their mean."""

    encoder: Annotated[KnownFolder, known_folder]
    average: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_samples is None:
            raise ValueError("max_samples: an encoder needs a length to read; set one, such as 64600")
        if self.average < 1:
            raise ValueError(f"average: {self.average} is not positive")

    @property
    def fixed_samples(self) -> int | None:
        return self.max_samples


class FrontEnd(FrontEndBase):
    """A channel for each state, shallow to deep: (frames, states x width)."""

    def __init__(self, conf: Conf):
        self.conf: Conf = conf
        layers, self.bins = size_of(conf.encoder.read())
        self.extracted_channels = layers + 1

    @cached_property
    def _parts(self) -> Parts:
        parts = parts_of(self.conf.encoder.read())
        for module in (parts.stem, *parts.layers, parts.norm):
            module.eval().requires_grad_(False)
        return parts

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        return self.extract_batch([waveform], "cpu")[0]

    @torch.inference_mode()
    def extract_batch(self, waveforms: Sequence[np.ndarray], device: str) -> list[np.ndarray]:
        """See FrontEndBase. Raises UserError where max_samples is less than the encoder needs for one frame."""
        samples = np.stack([np.resize(waveform, self.conf.max_samples) for waveform in waveforms])
        parts = self._parts
        for module in (parts.stem, *parts.layers, parts.norm):
            module.to(device)
        states, bias = [parts.stem(torch.from_numpy(samples).float().to(device))], None
        for layer in parts.layers:
            made = layer(states[-1], attention_mask=None, **({"position_bias": bias} if parts.bias else {}))
            if parts.bias:
                made, bias = made
            states.append(made)
        states[-1] = parts.norm(states[-1])
        together = torch.stack(states, dim=2)  # (utterances, frames, states, width)
        frames = together.shape[1] // self.conf.average
        if not frames:
            raise UserError(
                f"frontend.average: {self.conf.average} frames of {together.shape[1]} cannot be averaged; set fewer"
            )
        together = together[:, : frames * self.conf.average].unflatten(1, (frames, self.conf.average)).mean(dim=2)
        return [*together.flatten(2).float().cpu().numpy()]
