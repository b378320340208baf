"""Two networks side by side that read different channels of one input, such as phase and F0 subband of a stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from steps import nnet
from steps.nnet.base import BranchedBackbone, ModelConf, ModulesOf
from utils.cli import UserError


@dataclass(frozen=True)
class BranchConf:
    """`network`: any of the toolkit's, by the name of a conf file beside the conf, or by its keys. `channels` of the
    input, from 0. `bins`: the branch reads that many from the lowest on, or all."""

    network: Annotated[ModelConf, nnet.named_conf]
    channels: tuple[int, ...]
    bins: int | None

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 0 or len(set(self.channels)) < len(self.channels):
            raise ValueError(f"channels: {list(self.channels)} are not different numbers from 0 on")
        if self.bins is not None and self.bins < 1:
            raise ValueError(f"bins: {self.bins} is not positive")


@dataclass(frozen=True, kw_only=True)
class Conf(ModelConf):
    branches: tuple[BranchConf, ...]

    def __post_init__(self) -> None:
        if len(self.branches) != 2:
            raise ValueError(f"branches: there are {len(self.branches)}; two are needed")


class Backbone(BranchedBackbone):
    """The branches know nothing of each other; stage i's map is that of both side by side.

    Raises UserError where the input lacks a channel or a bin that a branch is to read.
    """

    def __init__(self, conf: Conf, in_channels: int = 1):
        super().__init__()
        for i, branch in enumerate(conf.branches):
            if max(branch.channels) >= in_channels:
                raise UserError(
                    f"model.branches[{i}].channels: {max(branch.channels)} is not among the front end's {in_channels}"
                    " channels, counted from 0; take a stack of front ends, such as"
                    " conf/frontend/stack_f0_imag_real.yaml"
                )
        self.conf = conf
        self.branches = ModulesOf(
            nnet.make_detector(branch.network, len(branch.channels)).backbone for branch in conf.branches
        )
        widths = [branch.stage_channels for branch in self.branches]
        self.stage_channels = tuple(map(sum, zip(*widths)))
        self.branch_channels = tuple(width[-1] for width in widths)

    @property
    def stages(self) -> Sequence[nn.Module]:
        """What both branches' stages consist of, shallow to deep."""
        return [nn.ModuleList(stages) for stages in zip(*(branch.stages for branch in self.branches))]

    def branch_maps(self, x: Tensor) -> list[list[Tensor]]:
        return [branch(self._read(i, x)) for i, branch in enumerate(self.branches)]

    def _read(self, i: int, x: Tensor) -> Tensor:
        """The part of the input that is branch i's."""
        conf = self.conf.branches[i]
        if conf.bins is not None and conf.bins > x.shape[3]:
            raise UserError(f"model.branches[{i}].bins: {conf.bins} are more than the front end's {x.shape[3]}")
        return torch.cat([x[:, channel : channel + 1, :, : conf.bins] for channel in conf.channels], dim=1)
