"""What the convolutional networks share: a stem, four stages one after another, and how their weights begin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from steps.nnet.base import BackboneBase

Stem = Literal["conv7", "conv3"]
STAGE_STRIDES = (1, 2, 2, 2)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Without bias, for batch normalisation to follow; a stride of 1 keeps the size."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


def make_stem(kind: Stem, in_channels: int, width: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """conv7: a quarter of the frames and bins remains; conv3: all of them."""
    if kind == "conv7":
        layers = [conv(in_channels, width, 7, 2), nn.BatchNorm2d(width)]
        if activation in (nn.ReLU, nn.ReLU6):
            # A rising function and max pooling change places: the same numbers, and it has a quarter of them to look
            # at.
            return nn.Sequential(*layers, nn.MaxPool2d(3, 2, 1), activation(inplace=True))
        return nn.Sequential(*layers, activation(inplace=True), nn.MaxPool2d(3, 2, 1))
    layers = []
    for inputs in (in_channels, width, width):
        layers += [conv(inputs, width, 3), nn.BatchNorm2d(width), activation(inplace=True)]
    return nn.Sequential(*layers)


def check_four(name: str, values: tuple[int, ...]) -> None:
    """Raises ValueError unless `values` are one positive number for each stage."""
    if len(values) != 4 or min(values) < 1:
        raise ValueError(f"{name}: {list(values)} are not four positive numbers")


class StagedBackbone(BackboneBase):
    """A backbone of `stem` and four `stages`, each reading what the one before it made."""

    def __init__(self, stem: nn.Module, stages: Sequence[nn.Module], stage_channels: tuple[int, ...]):
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.stage_channels = stage_channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # He et al., "Delving deep into rectifiers", ICCV 2015: by the outputs that one input reaches
                fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
                nn.init.normal_(module.weight, 0.0, math.sqrt(2 / fan_out))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
