"""SE-Res2Net50, thin: residual blocks whose channel groups see further one after another, with squeeze-and-excitation.

Li et al., "Replay and synthetic speech detection with Res2Net architecture", ICASSP 2021. Gao et al., "Res2Net: a new
multi-scale backbone architecture", TPAMI 2021. No count of its parameters was found in a source that can be checked.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from steps.nnet.attention import SqueezeExcitation
from steps.nnet.base import ModelConf, ModulesOf
from steps.nnet.staged import STAGE_STRIDES, StagedBackbone, Stem, check_four, conv, make_stem


@dataclass(frozen=True, kw_only=True)
class Conf(ModelConf):
    """`base_width`: channels of each of a block's `groups`, for a stage of width 64; narrower stages have fewer in
    proportion."""

    stem: Stem
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    expansion: int
    base_width: int
    groups: int
    se_reduction: int

    def __post_init__(self) -> None:
        check_four("widths", self.widths)
        check_four("blocks", self.blocks)
        for key in ("expansion", "base_width", "se_reduction"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}: {getattr(self, key)} is not positive")
        if self.groups < 2:
            raise ValueError(f"groups: {self.groups} is less than 2")
        if min(self.widths) * self.base_width < 64:
            raise ValueError(f"base_width: {self.base_width} leaves a stage of width {min(self.widths)} no channel")


class Block(nn.Module):
    """1x1 to `groups` groups, of which all but the last go through a 3x3 each, 1x1 to expansion x width channels.

    In a stage's later blocks each group's input is added to the outcome of the group before it. In the `first` one the
    groups are apart and may be thinned out by `stride`.
    """

    def __init__(self, inputs: int, width: int, stride: int, first: bool, conf: Conf):
        super().__init__()
        group, outputs = width * conf.base_width // 64, width * conf.expansion
        self.first = first
        self.expand = nn.Sequential(
            conv(inputs, group * conf.groups, 1), nn.BatchNorm2d(group * conf.groups), nn.ReLU(inplace=True)
        )
        self.convs: ModulesOf[nn.Module] = ModulesOf(
            nn.Sequential(conv(group, group, 3, stride), nn.BatchNorm2d(group), nn.ReLU(inplace=True))
            for _ in range(conf.groups - 1)
        )
        self.last = nn.AvgPool2d(3, stride, 1) if first else nn.Identity()
        self.project = nn.Sequential(
            conv(group * conf.groups, outputs, 1),
            nn.BatchNorm2d(outputs),
            SqueezeExcitation(outputs, conf.se_reduction),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(
                nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False),
                conv(inputs, outputs, 1),
                nn.BatchNorm2d(outputs),
            )
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.expand(x).chunk(len(self.convs) + 1, dim=1)
        made: list[Tensor] = []
        for part, layers in zip(parts, self.convs):
            made.append(layers(part + made[-1] if made and not self.first else part))
        return self.relu(self.project(torch.cat([*made, self.last(parts[-1])], dim=1)) + self.shortcut(x))


class Backbone(StagedBackbone):
    def __init__(self, conf: Conf, in_channels: int = 1):
        inputs = conf.widths[0]
        stem = make_stem(conf.stem, in_channels, inputs)
        stages = []
        for width, blocks, stride in zip(conf.widths, conf.blocks, STAGE_STRIDES):
            stage = []
            for i in range(blocks):
                stage.append(Block(inputs, width, stride if i == 0 else 1, i == 0, conf))
                inputs = width * conf.expansion
            stages.append(nn.Sequential(*stage))
        super().__init__(stem, stages, tuple(width * conf.expansion for width in conf.widths))
