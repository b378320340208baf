"""Thin residual networks with channel attention: SENet and ECANet of depth 9, 18, 34 and 50.

He et al., "Deep residual learning for image recognition", CVPR 2016, with widths 16, 32, 64, 128.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from steps.nnet.attention import EfficientChannelAttention, SqueezeExcitation
from steps.nnet.base import ModelConf
from steps.nnet.staged import STAGE_STRIDES, StagedBackbone, Stem, check_four, conv, make_stem

_BLOCKS = {9: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_BOTTLENECK_EXPANSION = 2


@dataclass(frozen=True, kw_only=True)
class Conf(ModelConf):
    depth: Literal[9, 18, 34, 50]
    stem: Stem
    widths: tuple[int, ...]
    attention: Literal["se", "eca", "none"]
    se_reduction: int
    eca_kernel: int | None
    strides: tuple[int, ...] = STAGE_STRIDES

    def __post_init__(self) -> None:
        for name in ("widths", "strides"):
            check_four(name, getattr(self, name))
        if self.se_reduction < 1:
            raise ValueError(f"se_reduction: {self.se_reduction} is not positive")
        if self.eca_kernel is not None and (self.eca_kernel < 1 or self.eca_kernel % 2 == 0):
            raise ValueError(f"eca_kernel: {self.eca_kernel} is not a positive odd number")


class ResidualBlock(nn.Module):
    """`basic`: two 3x3 convolutions; `bottleneck`: 1x1, 3x3, 1x1. Attention acts after the last batch norm."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool, attention: Callable[[int], nn.Module]):
        super().__init__()
        outputs = width * _BOTTLENECK_EXPANSION if bottleneck else width
        if bottleneck:
            convs = [conv(inputs, width, 1), conv(width, width, 3, stride), conv(width, outputs, 1)]
        else:
            convs = [conv(inputs, width, 3, stride), conv(width, outputs, 3)]
        layers: list[nn.Module] = []
        for one in convs:
            layers += [one, nn.BatchNorm2d(one.out_channels), nn.ReLU(inplace=True)]
        self.residual = nn.Sequential(*layers[:-1], attention(outputs))
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.residual(x) + self.shortcut(x))


class Backbone(StagedBackbone):
    def __init__(self, conf: Conf, in_channels: int = 1):
        bottleneck = conf.depth == 50
        factor = _BOTTLENECK_EXPANSION if bottleneck else 1

        def attention(channels: int) -> nn.Module:
            if conf.attention == "se":
                return SqueezeExcitation(channels, conf.se_reduction)
            if conf.attention == "eca":
                return EfficientChannelAttention(channels, conf.eca_kernel)
            return nn.Identity()

        channels = conf.widths[0]
        stem = make_stem(conf.stem, in_channels, channels)
        stages = []
        for width, blocks, stride in zip(conf.widths, _BLOCKS[conf.depth], conf.strides):
            stage = []
            for i in range(blocks):
                stage.append(ResidualBlock(channels, width, stride if i == 0 else 1, bottleneck, attention))
                channels = width * factor
            stages.append(nn.Sequential(*stage))
        super().__init__(stem, stages, tuple(width * factor for width in conf.widths))
