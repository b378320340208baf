"""What every network has in common: four stages, global average pooling, an angular head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.cli import UserError

BONAFIDE, SPOOF = 1, 0


@dataclass(frozen=True, kw_only=True)
class ModelConf:
    """Keys of every network's conf."""

    type: str


M = TypeVar("M", bound=nn.Module)


class ModulesOf(nn.ModuleList, Generic[M]):
    """An nn.ModuleList of modules of one kind: torch's own does not tell type checkers which."""

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[M]: ...


class BackboneBase(nn.Module, ABC):
    """A network cut into four stages.

    `stage_channels`: channels of the four feature maps. `forward` maps (batch, channels, frames, bins) to the list of
    the four maps (batch, stage_channels[i], frames_i, bins_i); each stage reads the one before it, so that a
    stage's map does not depend on deeper ones. It runs the modules of the ModuleList `stages` one after another.
    `input_bins`: how many the input must have; None: any number.
    """

    stage_channels: tuple[int, ...]
    input_bins: int | None = None

    def cut(self, stage: int) -> None:
        """Remove the stages after `stage`, counted from 1: `forward` then yields the maps up to its own."""
        stages = self.get_submodule("stages")
        assert isinstance(stages, nn.ModuleList)
        del stages[stage:]
        self.stage_channels = self.stage_channels[:stage]

    @abstractmethod
    def forward(self, x: Tensor) -> list[Tensor]:
        """The four feature maps, shallow to deep."""

    def slower_parameters(self) -> tuple[list[nn.Parameter], float]:
        """Parameters that learn at another rate than all others, and theirs as a share of that rate."""
        return [], 1.0


class BranchedBackbone(BackboneBase):
    """A backbone of several branches side by side, each of which alone yields a map at every stage.

    `branches`: the networks themselves; `branch_channels`: channels of each one's last map. `forward` yields the
    branches' maps side by side.
    """

    branches: ModulesOf[BackboneBase]
    branch_channels: tuple[int, ...]

    @abstractmethod
    def branch_maps(self, x: Tensor) -> list[list[Tensor]]:
        """(batch, channels, frames, bins) -> each branch's four maps, shallow to deep."""

    def cut(self, stage: int) -> None:
        for branch in self.branches:
            branch.cut(stage)
        self.stage_channels = self.stage_channels[:stage]
        self.branch_channels = tuple(branch.stage_channels[-1] for branch in self.branches)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [side_by_side(maps) for maps in zip(*self.branch_maps(x))]


def side_by_side(maps: Sequence[Tensor]) -> Tensor:
    """Maps (batch, channels_i, frames, bins_i) as one of all their channels and the most bins.

    A map of fewer bins gets zeros above its own, and is made greater by as much as there are more bins then, so that
    `pool` of the whole is `pool` of each, one after the other. Raises UserError where frames differ.
    """
    frames, bins = maps[0].shape[2], max(m.shape[3] for m in maps)
    if any(m.shape[2] != frames for m in maps):
        raise UserError(
            f"the branches' maps have {', '.join(str(m.shape[2]) for m in maps)} frames: give the branches networks of "
            "the same strides"
        )
    return torch.cat(
        [m if m.shape[3] == bins else F.pad(m * (bins / m.shape[3]), (0, bins - m.shape[3])) for m in maps], dim=1
    )


def scoring_batch(backbone: BackboneBase) -> int:
    """How many inputs are scored at once. Fewer where they are raw samples: AASIST takes some 200 MB for each."""
    return 8 if backbone.input_bins == 1 else 128


def pool(feature_map: Tensor) -> Tensor:
    """Global average pooling: (batch, channels, frames, bins) -> (batch, channels)."""
    return feature_map.mean(dim=(2, 3))


def pool_to(feature_map: Tensor, frames: int, bins: int) -> Tensor:
    """Adaptive average pooling: (batch, channels, any frames, any bins) -> (batch, channels, frames, bins), float32.

    Where the map has fewer frames or bins than asked for, they are repeated. A product with two averaging matrices,
    because the gradient of torch's own pooling is not deterministic on a GPU (says its documentation).
    """

    def averages(size: int, parts: int) -> Tensor:  # (size, parts)
        return F.adaptive_avg_pool1d(torch.eye(size, device=feature_map.device)[None], parts)[0]

    with torch.autocast(feature_map.device.type, enabled=False):
        by_frames = averages(feature_map.shape[2], frames).T @ feature_map.float()
        return by_frames @ averages(feature_map.shape[3], bins)


_NO_DIRECTION = 1e-6  # an embedding no longer than this has cosines 0 and no gradient


@dataclass(frozen=True)
class HeadConf:
    """What a head makes of the angles theta_j between an embedding x and its two class weights: its logits f_j.

    inner_product: f_j = |x| cos(theta_j). cosine: f_j = scale cos(theta_j). one_class: f_bonafide = scale
    (cos(theta_bonafide) - centre) / 2 and f_spoof = -f_bonafide; the spoof weight is not used. A detector is built with
    the one that its hard loss needs (HardLossConf.head), and final.pt keeps it with the weights.
    linear: a LinearHead, of detectors that were trained elsewhere.
    """

    logits: Literal["inner_product", "cosine", "one_class", "linear"] = "inner_product"
    scale: float = 1.0
    centre: float = 0.0


INNER_PRODUCT = HeadConf()


class AngleLinear(nn.Module):
    """Bias-free linear layer whose two class weights have unit norm; logits by `conf`, f_j = |x| cos(theta_j) by
    default.

    Liu et al., "SphereFace: deep hypersphere embedding for face recognition", CVPR 2017. Computes in float32 also
    under autocast. (batch, in_features) -> (batch, classes).
    """

    def __init__(self, in_features: int, classes: int = 2, conf: HeadConf = INNER_PRODUCT):
        super().__init__()
        self.conf = conf
        self.weight = nn.Parameter(torch.empty(classes, in_features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embedding: Tensor) -> Tensor:
        return angular_logits(self.conf, embedding, F.normalize(self.weight.float(), dim=1))


def angular_logits(conf: HeadConf, embedding: Tensor, unit_weight: Tensor) -> Tensor:
    """What AngleLinear makes of an embedding with weights of unit norm, in float32 also under autocast.

    (batch, in_features), (classes, in_features) -> (batch, classes); of several heads of one conf at once
    (heads, batch, in_features), (heads, classes, in_features) -> (heads, batch, classes).
    """
    with torch.autocast(embedding.device.type, enabled=False):
        embedding = embedding.float()
        products = F.linear(embedding, unit_weight) if embedding.ndim == 2 else torch.bmm(embedding, unit_weight.mT)
        if conf.logits == "inner_product":
            return products
        norm = embedding.norm(dim=-1, keepdim=True)
        cosines = products * (norm > _NO_DIRECTION) / norm.clamp(min=_NO_DIRECTION)
        if conf.logits == "cosine":
            return conf.scale * cosines
        half = 0.5 * conf.scale * (cosines[..., BONAFIDE] - conf.centre)
        return torch.stack([-half, half], dim=-1)


class LinearHead(nn.Linear):
    """f_j = w_j x + b_j, for detectors that were trained elsewhere: no method here trains one.

    (batch, in_features) -> (batch, 2).
    """

    conf = HeadConf("linear")

    def __init__(self, in_features: int):
        super().__init__(in_features, 2)


FrameMaps = Literal["last", "all"]  # that a frame head reads


def drawn_out(values: Tensor, frames: int) -> Tensor:
    """(batch, fewer frames) -> (batch, frames): straight lines between the middles of the frames, which divide the same
    time evenly. A product with a matrix, because the gradient of torch's own interpolation is not deterministic on a
    GPU (says its documentation)."""
    if values.shape[1] == frames:
        return values
    shares = F.interpolate(torch.eye(values.shape[1])[None], frames, mode="linear", align_corners=False)[0]
    return values @ shares.to(values.device)


class FrameHead(nn.Module):
    """A score for each frame of the finest of some stages' maps, float32, the log odds of bona fide: the sum of what a
    linear layer makes of each map's mean over the bins.

    channels: of the maps that are read, shallow to deep. `forward` takes maps (batch, channels, frames, bins), of which
    it reads so many last ones -> (batch, most frames of them).
    """

    def __init__(self, channels: Sequence[int]):
        super().__init__()
        self.linear = nn.Linear(channels[-1], 1)
        self.finer = ModulesOf[nn.Linear](nn.Linear(count, 1, bias=False) for count in channels[:-1])

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        layers = [*self.finer, self.linear]
        read = maps[-len(layers) :]
        frames = max(m.shape[2] for m in read)
        with torch.autocast(read[-1].device.type, enabled=False):
            scores = [layer(m.float().mean(3).transpose(1, 2)).squeeze(2) for layer, m in zip(layers, read)]
            return torch.stack([drawn_out(one, frames) for one in scores]).sum(0)


def frame_head_of(channels: Sequence[int], maps: FrameMaps) -> FrameHead:
    """channels: of the maps of all stages up to the head's own."""
    return FrameHead(channels if maps == "all" else channels[-1:])


def make_head(conf: HeadConf, in_features: int) -> AngleLinear | LinearHead:
    return LinearHead(in_features) if conf.logits == "linear" else AngleLinear(in_features, conf=conf)


class InputNormalisation(nn.Module):
    """Subtracts each bin's mean over a training set, and divides by its deviation if so set; no parameters.

    (batch, channels, frames, bins) -> the same shape. What is subtracted and multiplied is kept with the weights.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, channels: int, bins: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, bins))
        self.register_buffer("scale", torch.ones(channels, 1, bins))

    def set(self, mean: Tensor, scale: Tensor) -> None:
        """mean, scale: (channels x bins,), in the order of the features' columns."""
        self.mean.copy_(mean.reshape(self.mean.shape))
        self.scale.copy_(scale.reshape(self.scale.shape))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.scale


def check_backbone(backbone: nn.Module) -> None:
    """Raises UserError unless `stage_channels` has four counts, as a contributed network may have it otherwise."""
    channels = getattr(backbone, "stage_channels", None)
    if not isinstance(channels, tuple) or len(channels) != 4 or not all(isinstance(count, int) for count in channels):
        raise UserError(
            f"{type(backbone).__module__}: its Backbone needs `stage_channels`, the channels of its four maps"
            f" as a tuple of four whole numbers, not {channels!r}"
        )


def check_maps(detector: Detector, x: Tensor) -> None:
    """Raises UserError unless the backbone's maps of an input (batch, channels, frames, bins) are the promised ones."""
    training = detector.training
    with torch.inference_mode():
        maps = detector.eval().stage_maps(x)
    detector.train(training)
    channels = detector.backbone.stage_channels
    found = [tuple(one.shape) for one in maps]
    if [shape[:2] for shape in found if len(shape) == 4] != [(len(x), count) for count in channels]:
        raise UserError(
            f"{type(detector.backbone).__module__}: its Backbone promises maps of {', '.join(map(str, channels))}"
            f" channels, (batch, channels, frames, bins); forward yields {', '.join(map(str, found))}"
        )


def check_keeps_time(detector: Detector, x: Tensor) -> None:
    """Raises UserError if what the frame head reads of an input (batch, channels, frames, bins) has one frame, as the
    map of a graph or a recurrent layer has."""
    training = detector.training
    with torch.inference_mode():
        frames = detector.eval().frame_scores(x).shape[1]
    detector.train(training)
    if frames < 2:
        raise UserError(
            f"train.frames: {type(detector.backbone).__module__}: its last map has 1 frame; take a network that keeps"
            " the time, such as ecanet18"
        )


class Detector(nn.Module):
    """Backbone and head: what is trained by a method, and alone what is kept, scored and deployed.

    `normalisation` comes before the backbone where the front end's conf asks for global normalisation. `made_of`: what
    nnet.make_detector was given. `frame_head`: of a detector that also scores frames.
    """

    made_of: tuple[ModelConf, int, int | None]
    head: AngleLinear | LinearHead

    def __init__(
        self,
        backbone: BackboneBase,
        normalisation: InputNormalisation | None = None,
        head: HeadConf = INNER_PRODUCT,
        frames: FrameMaps | None = None,
    ):
        super().__init__()
        self.normalisation = normalisation
        self.backbone = backbone
        self.head = make_head(head, backbone.stage_channels[-1])
        self.frame_head = frame_head_of(backbone.stage_channels, frames) if frames else None

    @property
    def embedding_size(self) -> int:
        return self.backbone.stage_channels[-1]

    def normalised(self, x: Tensor) -> Tensor:
        """What the backbone reads of an input (batch, channels, frames, bins): the same shape."""
        return x if self.normalisation is None else self.normalisation(x)

    def stage_maps(self, x: Tensor) -> list[Tensor]:
        """(batch, channels, frames, bins) -> the backbone's feature maps, shallow to deep."""
        return self.backbone(self.normalised(x))

    def embedding_of(self, last_map: Tensor) -> Tensor:
        """The backbone's last map -> (batch, embedding_size)."""
        return pool(last_map)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, channels, frames, bins) -> (batch, embedding_size)."""
        return self.embedding_of(self.stage_maps(x)[-1])

    def frame_scores(self, x: Tensor) -> Tensor:
        """(batch, channels, frames, bins) -> (batch, frames of the finest map that is read), higher = bona fide. For
        detectors with a frame head."""
        assert self.frame_head is not None
        return self.frame_head(self.stage_maps(x))

    def logits_of(self, last_map: Tensor) -> Tensor:
        """The backbone's last map -> (batch, 2): the head's logits of spoof (0) and bona fide (1)."""
        return self.head(self.embedding_of(last_map))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, frames, bins) -> (batch, 2): the head's logits of spoof (0) and bona fide (1)."""
        return self.logits_of(self.stage_maps(x)[-1])


def score_of(logits: Tensor) -> Tensor:
    """Score of each trial, higher = bona fide: the difference of its head's logits, bona fide less spoof.

    By HeadConf.logits: |x| (cos(theta_bonafide) - cos(theta_spoof)), the same with scale for |x|, or
    scale (cos(theta_bonafide) - centre). (batch, 2) -> (batch,).
    """
    return logits[:, BONAFIDE] - logits[:, SPOOF]
