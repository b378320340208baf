"""Channel attention: what distinguishes SENet and ECANet from a plain residual network."""

from __future__ import annotations

import math

from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """Hu, Shen and Sun, "Squeeze-and-excitation networks", CVPR 2018."""

    def __init__(self, channels: int, reduction: int, activation: type[nn.Module] = nn.ReLU, bias: bool = False):
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden, bias), activation(), nn.Linear(hidden, channels, bias), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean(dim=(2, 3)))[:, :, None, None]


def eca_kernel_size(channels: int) -> int:
    """The odd number at or above |log2(C) / 2 + 1/2| truncated: k of Wang et al., "ECA-Net", CVPR 2020, equation 12."""
    t = int(abs(math.log2(channels) / 2 + 0.5))
    return t if t % 2 else t + 1


class EfficientChannelAttention(nn.Module):
    """Wang et al., "ECA-Net: efficient channel attention for deep convolutional neural networks", CVPR 2020."""

    def __init__(self, channels: int, kernel_size: int | None = None):
        super().__init__()
        k = kernel_size or eca_kernel_size(channels)
        self.conv = nn.Conv1d(1, 1, k, padding=(k - 1) // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.conv(x.mean(dim=(2, 3)).unsqueeze(1)).sigmoid()
        return x * gate.squeeze(1)[:, :, None, None]
