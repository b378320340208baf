"""Small EfficientNet: inverted residuals with squeeze-and-excitation and SiLU (MBConv).

Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019, cut into four
stages. Its stochastic depth is left out: it is of use in networks of many blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from steps.nnet.attention import SqueezeExcitation
from steps.nnet.inverted_residual import InvertedResidualBackbone, InvertedResidualConf
from steps.nnet.staged import check_four


@dataclass(frozen=True, kw_only=True)
class Conf(InvertedResidualConf):
    """se_reduction: of a block's input channels, not of the expanded ones."""

    kernels: tuple[int, ...]
    se_reduction: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_four("kernels", self.kernels)
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels: {list(self.kernels)} are not all odd")
        if self.se_reduction < 1:
            raise ValueError(f"se_reduction: {self.se_reduction} is not positive")


class Backbone(InvertedResidualBackbone):
    def __init__(self, conf: Conf, in_channels: int = 1):
        def attention(hidden: int, inputs: int) -> nn.Module:
            return SqueezeExcitation(hidden, conf.se_reduction * hidden // inputs, nn.SiLU, bias=True)

        super().__init__(conf, in_channels, conf.kernels, nn.SiLU, attention)
