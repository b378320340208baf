"""Aligners: what brings a shallow stage's feature map to a vector of the teacher's width. For training only."""

from __future__ import annotations

from torch import Tensor, nn

from steps.nnet.base import pool


class LinearAligner(nn.Module):
    """Global average pooling, then a linear projection to the teacher's width."""

    def __init__(self, channels: int, teacher_channels: int, stages_below: int):
        super().__init__()
        self.project = nn.Linear(channels, teacher_channels)

    def forward(self, feature_map: Tensor) -> Tensor:
        return self.project(pool(feature_map))


class BottleneckAligner(nn.Module):
    """For each stage between student and teacher a strided 1x1-3x3-1x1 bottleneck, then global average pooling.

    The widths grow from the student's to the teacher's by equal factors.
    """

    def __init__(self, channels: int, teacher_channels: int, stages_below: int):
        super().__init__()
        growth = (teacher_channels / channels) ** (1 / stages_below)
        layers: list[nn.Module] = []
        inputs = channels
        for i in range(1, stages_below + 1):
            outputs = teacher_channels if i == stages_below else round(channels * growth**i)
            narrow = max(outputs // 4, 1)
            for a, b, kernel, stride in ((inputs, narrow, 1, 1), (narrow, narrow, 3, 2), (narrow, outputs, 1, 1)):
                layers += [
                    nn.Conv2d(a, b, kernel, stride, padding=kernel // 2, bias=False),
                    nn.BatchNorm2d(b),
                    nn.ReLU(inplace=True),
                ]
            inputs = outputs
        self.convs = nn.Sequential(*layers)
        for module in self.convs:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, feature_map: Tensor) -> Tensor:
        return pool(self.convs(feature_map))


ALIGNERS = {"linear": LinearAligner, "bottleneck": BottleneckAligner}
