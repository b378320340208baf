"""Back ends of pretrained encoders: from the states of all layers to the deepest stage's map.

A back end reads the states (batch, frames, width) of the stem and of each layer, shallow to deep. Each state is
normalised over its width first, without parameters, as their magnitudes grow from layer to layer.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steps.nnet.aasist import Graphs, GraphsConf, ResidualBlock
from utils import conf as conf_files

_GRAPH_WIDTHS = (32, 64)  # channels of the two residual blocks before the graphs


@dataclass(frozen=True, kw_only=True)
class BackEndConf:
    """What the kinds of back ends share. layers: whether a back end reads a weighted sum of all states, or the last
    one."""

    type: Literal["mean", "attention", "graphs"]
    layers: Literal["weighted", "last"]

    @staticmethod
    def schema_of(values: Mapping[str, Any]) -> builtins.type[BackEndConf]:  # `type` is a key here
        kind = values.get("type")
        if not isinstance(kind, str) or kind not in _KINDS:
            raise ValueError(f"type: {kind!r} is no back end; {conf_files.hint_of(str(kind), _KINDS)}")
        return _KINDS[kind][0]


@dataclass(frozen=True, kw_only=True)
class AttentionConf(BackEndConf):
    """heads: of attention; width: of the keys and values; embedding: values that the head reads."""

    heads: int
    width: int
    embedding: int

    def __post_init__(self) -> None:
        for key in ("heads", "width", "embedding"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}: {getattr(self, key)} is not positive")


@dataclass(frozen=True, kw_only=True)
class GraphBackEndConf(GraphsConf, BackEndConf):
    """bands: values of each frame that the graphs see as frequencies."""

    bands: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bands < 2:
            raise ValueError(f"bands: {self.bands} is less than 2")


class LayerSum(nn.Module):
    """A weighted sum of `count` normalised states, the weights positive and 1 together (Yang et al., "SUPERB",
    Interspeech 2021), or the last state, normalised: (batch, frames, width)."""

    def __init__(self, conf: BackEndConf, count: int, width: int):
        super().__init__()
        self.width = width
        self.strengths = nn.Parameter(torch.zeros(count)) if conf.layers == "weighted" else None

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        if self.strengths is None:
            return F.layer_norm(states[-1], (self.width,))
        weights = self.strengths.softmax(0)
        return sum(
            (weight * F.layer_norm(state, (self.width,)) for state, weight in zip(states, weights)),
            start=torch.zeros_like(states[0]),
        )


class Mean(nn.Module):
    """The mean over time of the weighted sum: (batch, width, 1, 1).

    Batch normalisation takes away what all utterances share, which is most of it: the head has no bias.
    """

    def __init__(self, conf: BackEndConf, count: int, width: int):
        super().__init__()
        self.sum = LayerSum(conf, count, width)
        self.norm = nn.BatchNorm2d(width)
        self.outputs = width

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        return self.norm(self.sum(states).mean(dim=1)[:, :, None, None])


class Attention(nn.Module):
    """Multi-head factorised attentive pooling: keys and values are sums of layers, each with weights of their own.

    Peng et al., "An attention-based backend allowing efficient fine-tuning of transformer models for speaker
    verification", SLT 2022. The map is (batch, embedding, 1, 1), normalised as that of Mean.
    """

    def __init__(self, conf: AttentionConf, count: int, width: int):
        super().__init__()
        self.keys, self.values = LayerSum(conf, count, width), LayerSum(conf, count, width)
        self.to_key, self.to_value = nn.Linear(width, conf.width), nn.Linear(width, conf.width)
        self.score = nn.Linear(conf.width, conf.heads)
        self.project = nn.Linear(conf.heads * conf.width, conf.embedding)
        self.norm = nn.BatchNorm2d(conf.embedding)
        self.outputs = conf.embedding

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        weights = self.score(self.to_key(self.keys(states))).softmax(dim=1)  # (batch, frames, heads)
        heard = weights.transpose(1, 2) @ self.to_value(self.values(states))
        return self.norm(self.project(heard.flatten(1))[:, :, None, None])


class GraphBackEnd(nn.Module):
    """AASIST's residual blocks and graphs on a projection to `bands` frequencies: (batch, 5 joint_width, 1, 1).

    After Tak et al., "Automatic speaker verification spoofing and deepfake detection using wav2vec 2.0 and data
    augmentation", Odyssey 2022, with two residual blocks for six.
    """

    def __init__(self, conf: GraphBackEndConf, count: int, width: int):
        super().__init__()
        self.sum = LayerSum(conf, count, width)
        self.project = nn.Linear(width, conf.bands)
        first, last = _GRAPH_WIDTHS
        self.norm = nn.BatchNorm2d(1)
        self.blocks = nn.Sequential(ResidualBlock(1, first, True), ResidualBlock(first, last, False))
        self.graphs = Graphs(conf, last, conf.bands)
        self.outputs = 5 * conf.joint_width

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        image = self.project(self.sum(states))[:, None]
        return self.graphs(self.blocks(F.selu(self.norm(image))))


_KINDS: dict[str, tuple[type[BackEndConf], type[nn.Module]]] = {
    "mean": (BackEndConf, Mean),
    "attention": (AttentionConf, Attention),
    "graphs": (GraphBackEndConf, GraphBackEnd),
}


def make_back_end(conf: BackEndConf, states: int, width: int) -> Any:
    """A back end for so many states of that width; its `outputs` are the channels of its map."""
    return _KINDS[conf.type][1](conf, states, width)
