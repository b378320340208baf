"""Pretrained encoders in parts: from samples to the first state, the transformer's layers, and the last norm.

Wav2Vec2 and XLS-R: Baevski et al., NeurIPS 2020; Babu et al., Interspeech 2022. HuBERT: Hsu et al., TASLP 2021. WavLM:
Chen et al., JSTSP 2022. Whisper: Radford et al., ICML 2023. A state is what a layer makes: (batch, frames, width).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steps.encoders.folders import EncoderConf, load_encoder
from utils.cli import UserError


def size_of(conf: EncoderConf) -> tuple[int, int]:
    """Layers of the transformer, and width of a state."""
    layers, width = ("encoder_layers", "d_model") if conf.family == "whisper" else ("num_hidden_layers", "hidden_size")
    return int(conf.config[layers]), int(conf.config[width])


class Parts(NamedTuple):
    """stem: (batch, samples) -> the first state. norm: of the last layer's state. bias: whether the layers of WavLM
    pass on a bias by relative position."""

    stem: nn.Module
    layers: list[nn.Module]
    norm: nn.Module
    width: int
    bias: bool


def parts_of(conf: EncoderConf) -> Parts:
    """Raises UserError as load_encoder does."""
    encoder = load_encoder(conf)
    if conf.family == "whisper":
        return Parts(WhisperStem(encoder), list(encoder.layers), encoder.layer_norm, encoder.config.d_model, False)
    stable = encoder.config.do_stable_layer_norm  # then layers begin with their norms, and the last state has its own
    norm = encoder.encoder.layer_norm if stable else nn.Identity()
    layers = list(encoder.encoder.layers)
    return Parts(
        ConvStem(encoder, conf.normalise, stable), layers, norm, encoder.config.hidden_size, conf.family == "wavlm"
    )


class ConvStem(nn.Module):
    """Convolutions on samples, a projection, and positions by a convolution: of all but Whisper."""

    def __init__(self, encoder: Any, normalise: bool, stable: bool):
        super().__init__()
        self.normalise = normalise
        self.features = encoder.feature_extractor
        self.features._requires_grad = False  # of its input, which transformers' own checkpointing needs
        self.projection = encoder.feature_projection
        self.positions = encoder.encoder.pos_conv_embed
        self.norm = nn.Identity() if stable else encoder.encoder.layer_norm
        self.dropout = encoder.encoder.dropout

    def forward(self, samples: Tensor) -> Tensor:
        if self.normalise:  # as transformers' Wav2Vec2FeatureExtractor
            samples = samples - samples.mean(dim=1, keepdim=True)
            samples = samples / (samples.square().mean(dim=1, keepdim=True) + 1e-7).sqrt()
        state = self.projection(self.features(samples).transpose(1, 2))
        if isinstance(state, tuple):
            state = state[0]
        return self.dropout(self.norm(state + self.positions(state)))


class LogMel(nn.Module):
    """(batch, samples) -> (batch, bands, samples // 160): transformers' WhisperFeatureExtractor without its 30 s.

    Logarithm of the power in 25 ms windows, on the mel scale, at most 8 decades below the utterance's largest. By a
    product with a table of cosines and sines, which an ONNX graph can hold. In float32 also under autocast.
    """

    HOP, SIZE = 160, 400
    table: Tensor
    filters: Tensor

    def __init__(self, bands: int):
        super().__init__()
        from transformers import WhisperFeatureExtractor

        turns = 2 * np.pi * np.outer(np.arange(self.SIZE), np.arange(self.SIZE // 2 + 1)) / self.SIZE
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.SIZE) / self.SIZE)
        table = window[:, None] * np.concatenate([np.cos(turns), np.sin(turns)], axis=1)
        self.register_buffer("table", torch.from_numpy(table).float(), persistent=False)
        filters = torch.from_numpy(WhisperFeatureExtractor(feature_size=bands).mel_filters).float()
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        with torch.autocast(samples.device.type, enabled=False):
            frames = samples.shape[1] // self.HOP
            half = self.SIZE // 2
            padded = F.pad(samples.float()[:, None], (half, half), mode="reflect")[:, 0]
            hops = padded[:, : (frames + 2) * self.HOP].reshape(-1, frames + 2, self.HOP)
            rest = self.SIZE - 2 * self.HOP
            windows = torch.cat([hops[:, :-2], hops[:, 1:-1], hops[:, 2:, :rest]], dim=2)
            real, imaginary = (windows @ self.table).chunk(2, dim=2)
            powers = ((real.square() + imaginary.square()) @ self.filters).clamp(min=1e-10).log10()
            powers = torch.maximum(powers, powers.amax(dim=(1, 2), keepdim=True) - 8.0)
            return ((powers + 4.0) / 4.0).transpose(1, 2)


class WhisperStem(nn.Module):
    """Log mel spectrum, two convolutions, and as many of the fixed positions as there are frames."""

    def __init__(self, encoder: Any):
        super().__init__()
        self.log_mel = LogMel(encoder.config.num_mel_bins)
        self.conv1, self.conv2 = encoder.conv1, encoder.conv2
        self.positions = encoder.embed_positions.requires_grad_(False)
        self.dropout = encoder.config.dropout

    def forward(self, samples: Tensor) -> Tensor:
        state = F.gelu(self.conv2(F.gelu(self.conv1(self.log_mel(samples))))).transpose(1, 2)
        frames, most = state.shape[1], self.positions.num_embeddings
        if frames > most:
            raise UserError(
                f"frontend.network_input.frames: {samples.shape[1]} samples are more than the {most * 2 * LogMel.HOP}"
                " that this Whisper encoder reads; set fewer"
            )
        return F.dropout(state + self.positions.weight[:frames], self.dropout, self.training)
