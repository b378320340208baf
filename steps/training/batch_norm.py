"""Batch normalisation by the statistics of a batch that several processes share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from steps.training import distributed


class SharedBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d whose batch is that of all processes together; these have the same running statistics.

    For the CPU, which torch's nn.SyncBatchNorm refuses. A process may have no rows.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            rows = x.float()
            places = rows.new_tensor([x.numel() / x.shape[1]])
            sums = distributed.add_up(torch.cat([rows.sum((0, 2, 3)), places]))
            n = sums[-1]
            if n < 2:
                raise ValueError(f"batch normalisation needs more than one value a channel, got {tuple(x.shape)}")
            mean = sums[:-1] / n
            centred = rows - mean[:, None, None]
            variance = distributed.add_up(centred.square().sum((0, 2, 3))) / n
            self._keep(mean.detach(), variance.detach() * n / (n - 1))
            scale = self.weight * torch.rsqrt(variance + self.eps)
            return torch.addcmul(self.bias[:, None, None], centred, scale[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def share_batch_norms(method: nn.Module, device: torch.device) -> nn.Module:
    """`method` with batch normalisation over all processes; parameters, buffers and their names stay."""
    if distributed.world() == 1:
        return method
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(method)
    for module in method.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d  # it differs in forward alone
    return method
