"""Batch normalisation: by a batch that several processes share, and its running statistics estimated anew.

The running statistics of training lag behind the weights, which move fast: the dev EER then jumps from epoch to epoch.
Wu and Johnson, "Rethinking batch in BatchNorm", 2021, call the remedy precise batch norm: statistics of some training
batches by the weights as they are now.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from steps.training import distributed


class SharedBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d whose batch is that of all processes together; these have the same running statistics.

    For the CPU, which torch's nn.SyncBatchNorm refuses. A process may have no rows.
    """

    # there in every network, as none turns off nn.BatchNorm2d's track_running_stats
    num_batches_tracked: Tensor
    running_mean: Tensor
    running_var: Tensor

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
            scale = torch.rsqrt(variance + self.eps)
            if not self.affine:
                return (centred * scale[:, None, None]).to(x.dtype)
            scale = self.weight * scale
            return torch.addcmul(self.bias[:, None, None], centred, scale[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        share = self.momentum or 1 / int(self.num_batches_tracked)  # None: the plain mean over the batches
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


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


@contextlib.contextmanager
def fresh_statistics(method: nn.Module) -> Iterator[None]:
    """Within: every batch norm that a forward pass reaches gets the mean statistics of the batches that pass in here.

    All else is in evaluation mode, so that dropout draws nothing. Afterwards the method is in evaluation mode. A batch
    norm that no pass reaches keeps what it has.
    """
    norms = [module for module in method.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    reached: set[nn.Module] = set()

    def forget(norm: _BatchNorm, _: object) -> None:
        if norm not in reached:
            norm.reset_running_stats()
            reached.add(norm)

    method.eval()
    hooks = [norm.register_forward_pre_hook(forget) for norm in norms]
    try:
        for norm in norms:
            norm.train()
            norm.momentum = None
        yield
    finally:
        for norm, momentum, hook in zip(norms, momenta, hooks):
            norm.momentum = momentum
            hook.remove()
        method.eval()
    if distributed.world() > 1:  # where each process normalised by its own share, the mean over the processes
        for norm in norms:
            for statistic in (norm.running_mean, norm.running_var):
                if statistic is not None:
                    statistic.copy_(distributed.add_up(statistic) / distributed.world())
