"""AASIST: raw samples, a residual encoder, and graphs of attention over frequency, over time, and over both.

Jung et al., "AASIST: audio anti-spoofing using integrated spectro-temporal graph attention networks", ICASSP 2022.
Stages 1 to 3 are the encoder's thirds, two residual blocks each; stage 4 is all of the graph part, whose map has one
place: (batch, 5 joint_width, 1, 1). The parts are those of the published weights, which steps/import_aasist.py brings
in. Their encoder leaves out the batch normalisation that begins each block, although it has weights for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steps.nnet.base import ModelConf
from steps.nnet.waveform import BandFilters, WaveformBackbone

# Of what nodes bring into a layer, of what decides which nodes stay, of a branch's outcome, of the embedding
_DROP_NODES, _DROP_CHOICE, _DROP_BRANCH, _DROP_EMBEDDING = 0.2, 0.3, 0.2, 0.5
_POOL = 3  # the encoder begins with a maximum over so many samples and filters, and each block ends with one over time


@dataclass(frozen=True, kw_only=True)
class GraphsConf:
    """Keys of the graph part. `keep_*`: the share of nodes that the pooling of a graph keeps; the joint graphs pool
    each kind by itself."""

    graph_width: int
    joint_width: int
    keep_spectral: float
    keep_temporal: float
    keep_joint: float
    temperature: float
    joint_temperature: float

    def __post_init__(self) -> None:
        for key in ("graph_width", "joint_width", "temperature", "joint_temperature"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key}: {getattr(self, key)} is not positive")
        for key in ("keep_spectral", "keep_temporal", "keep_joint"):
            if not 0 < getattr(self, key) <= 1:
                raise ValueError(f"{key}: {getattr(self, key)} must be greater than 0 and at most 1")


@dataclass(frozen=True, kw_only=True)
class Conf(GraphsConf, ModelConf):
    filters: int
    filter_length: int
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.widths) != 3 or min(self.widths) < 1:
            raise ValueError(f"widths: {list(self.widths)} are not three positive numbers")
        if self.filters < _POOL:
            raise ValueError(f"filters: {self.filters} is less than {_POOL}, the least that pooling leaves a band of")
        if self.filter_length < 1:
            raise ValueError(f"filter_length: {self.filter_length} is not positive")


class Magnitude(nn.Module):
    """The largest magnitude of each 3 samples x 3 bands."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x.abs(), _POOL)


class ResidualBlock(nn.Module):
    """Two convolutions of 3 samples x 2 bands and a shortcut, then a maximum over 3 samples.

    `before` belongs to the published weights and is not used, see above; the first block has none.
    """

    def __init__(self, inputs: int, width: int, first: bool):
        super().__init__()
        self.before = None if first else nn.BatchNorm2d(inputs)
        self.first = nn.Conv2d(inputs, width, (3, 2), padding=(1, 1))
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, (3, 2), padding=(1, 0))
        self.shortcut = nn.Identity() if inputs == width else nn.Conv2d(inputs, width, (3, 1), padding=(1, 0))

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(F.selu(self.norm(self.first(x))))
        return F.max_pool2d(y + self.shortcut(x), (_POOL, 1))


def normalised(norm: nn.BatchNorm2d, nodes: Tensor) -> Tensor:
    """Nodes (batch, nodes, width) by a norm of `width` channels, of the kind that several processes can share."""
    return norm(nodes.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)


def _scores_vector(width: int) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_normal_(torch.empty(width, 1)))


class Mixing(nn.Module):
    """What a node becomes of the others, by their weights, and of itself: two linear maps, added up."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.others = nn.Linear(inputs, width)
        self.itself = nn.Linear(inputs, width)

    def forward(self, weights: Tensor, nodes: Tensor, itself: Tensor) -> Tensor:
        """(batch, n, nodes), (batch, nodes, inputs), (batch, n, inputs) -> (batch, n, width)."""
        return self.others(weights @ nodes) + self.itself(itself)


class GraphAttention(nn.Module):
    """Every node attends to every one: the paper's section 2.2. (batch, nodes, inputs) -> (batch, nodes, width)."""

    def __init__(self, inputs: int, width: int, temperature: float):
        super().__init__()
        self.temperature = temperature
        self.pair = nn.Linear(inputs, width)
        self.score = _scores_vector(width)
        self.mixing = Mixing(inputs, width)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, nodes: Tensor) -> Tensor:
        nodes = F.dropout(nodes, _DROP_NODES, self.training)
        scores = (torch.tanh(self.pair(nodes[:, :, None] * nodes[:, None])) @ self.score)[..., 0]
        return F.selu(normalised(self.norm, self.mixing((scores / self.temperature).softmax(2), nodes, nodes)))


class JointAttention(nn.Module):
    """Attention over temporal and spectral nodes, with scores by the kinds of a pair, and a node that hears all others.

    The paper's heterogeneous stacking graph attention layer and its stack node, section 2.3. Nodes (batch, n, inputs)
    of both kinds and the stack node (batch or 1, 1, inputs) -> the three at `width`.
    """

    def __init__(self, inputs: int, width: int, temperature: float):
        super().__init__()
        self.temperature = temperature
        self.from_temporal = nn.Linear(inputs, inputs)
        self.from_spectral = nn.Linear(inputs, inputs)
        self.pair = nn.Linear(inputs, width)
        self.score_temporal, self.score_spectral, self.score_across = (_scores_vector(width) for _ in range(3))
        self.mixing = Mixing(inputs, width)
        self.norm = nn.BatchNorm2d(width)
        self.stack_pair = nn.Linear(inputs, width)
        self.stack_score = _scores_vector(width)
        self.stack_mixing = Mixing(inputs, width)

    def forward(self, temporal: Tensor, spectral: Tensor, stack: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n = temporal.shape[1]
        nodes = torch.cat([self.from_temporal(temporal), self.from_spectral(spectral)], dim=1)
        nodes = F.dropout(nodes, _DROP_NODES, self.training)
        pairs = torch.tanh(self.pair(nodes[:, :, None] * nodes[:, None]))
        of_temporal = torch.cat([pairs[:, :n, :n] @ self.score_temporal, pairs[:, :n, n:] @ self.score_across], dim=2)
        of_spectral = torch.cat([pairs[:, n:, :n] @ self.score_across, pairs[:, n:, n:] @ self.score_spectral], dim=2)
        weights = (torch.cat([of_temporal, of_spectral], dim=1)[..., 0] / self.temperature).softmax(2)
        heard = (torch.tanh(self.stack_pair(nodes * stack)) @ self.stack_score).transpose(1, 2) / self.temperature
        stack = self.stack_mixing(heard.softmax(2), nodes, stack)
        nodes = F.selu(normalised(self.norm, self.mixing(weights, nodes, nodes)))
        return nodes[:, :n], nodes[:, n:], stack


class GraphPool(nn.Module):
    """Keeps the share `keep` of the nodes, at least one, best first, each times its score in 0..1.

    Gao and Ji, "Graph U-Nets", ICML 2019. (batch, nodes, width) -> (batch, fewer, width).
    """

    def __init__(self, width: int, keep: float):
        super().__init__()
        self.keep = keep
        self.score = nn.Linear(width, 1)

    def forward(self, nodes: Tensor) -> Tensor:
        scores = torch.sigmoid(self.score(F.dropout(nodes, _DROP_CHOICE, self.training)))
        best = scores.topk(max(int(nodes.shape[1] * self.keep), 1), dim=1).indices
        return (nodes * scores).gather(1, best.expand(-1, -1, nodes.shape[2]))


class Branch(nn.Module):
    """Two layers of joint attention, the second one residual, with a pooling of both kinds of nodes between them."""

    def __init__(self, conf: GraphsConf):
        super().__init__()
        width = conf.joint_width
        self.stack = nn.Parameter(torch.randn(1, 1, conf.graph_width))
        self.first = JointAttention(conf.graph_width, width, conf.joint_temperature)
        self.pool_temporal = GraphPool(width, conf.keep_joint)
        self.pool_spectral = GraphPool(width, conf.keep_joint)
        self.second = JointAttention(width, width, conf.joint_temperature)

    def forward(self, temporal: Tensor, spectral: Tensor) -> list[Tensor]:
        """Temporal nodes, spectral nodes, stack node."""
        temporal, spectral, stack = self.first(temporal, spectral, self.stack)
        nodes = self.pool_temporal(temporal), self.pool_spectral(spectral), stack
        changes = self.second(*nodes)
        return [F.dropout(a + b, _DROP_BRANCH, self.training) for a, b in zip(nodes, changes)]


class Graphs(nn.Module):
    """The encoder's map (batch, inputs, frames, bands) -> (batch, 5 joint_width, 1, 1): maximum and mean of the
    temporal nodes, of the spectral ones, and the stack node, each the greater of two branches."""

    def __init__(self, conf: GraphsConf, inputs: int, bands: int):
        super().__init__()
        width = conf.graph_width
        self.positions = nn.Parameter(torch.randn(1, bands, inputs))
        self.temporal = nn.Sequential(
            GraphAttention(inputs, width, conf.temperature), GraphPool(width, conf.keep_temporal)
        )
        self.spectral = nn.Sequential(
            GraphAttention(inputs, width, conf.temperature), GraphPool(width, conf.keep_spectral)
        )
        self.branches = nn.ModuleList(Branch(conf) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        strength = x.abs()
        temporal = self.temporal(strength.amax(dim=3).transpose(1, 2))
        spectral = self.spectral(strength.amax(dim=2).transpose(1, 2) + self.positions)
        one, other = (branch(temporal, spectral) for branch in self.branches)
        temporal, spectral, stack = (torch.maximum(a, b) for a, b in zip(one, other))
        of_both = [part for nodes in (temporal, spectral) for part in (nodes.abs().amax(dim=1), nodes.mean(dim=1))]
        embedding = torch.cat([*of_both, stack[:, 0]], dim=1)
        return F.dropout(embedding, _DROP_EMBEDDING, self.training)[:, :, None, None]


class Backbone(WaveformBackbone):
    def __init__(self, conf: Conf, in_channels: int = 1):
        """Raises UserError in `forward` unless the input is a raw waveform."""
        stem = nn.Sequential(BandFilters(conf.filters, conf.filter_length), Magnitude(), nn.BatchNorm2d(1), nn.SELU())
        stages: list[nn.Module] = []
        inputs = 1
        for width in conf.widths:
            stages.append(nn.Sequential(ResidualBlock(inputs, width, not stages), ResidualBlock(width, width, False)))
            inputs = width
        graphs = Graphs(conf, inputs, conf.filters // _POOL)
        super().__init__(stem, [*stages, graphs], (*conf.widths, 5 * conf.joint_width))
