"""Small MobileNetV2: inverted residuals with ReLU6.

Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, cut into four stages.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from steps.nnet.inverted_residual import InvertedResidualBackbone, InvertedResidualConf

_KERNELS = (3, 3, 3, 3)


@dataclass(frozen=True, kw_only=True)
class Conf(InvertedResidualConf):
    pass


class Backbone(InvertedResidualBackbone):
    def __init__(self, conf: Conf, in_channels: int = 1):
        super().__init__(conf, in_channels, _KERNELS, nn.ReLU6)
