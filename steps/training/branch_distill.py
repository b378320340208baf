"""The branches of one network teach each other: each has a head of its own while training.

Deep mutual learning (see mutual.py) between parts of one network, as Lan, Zhu and Gong, "Knowledge distillation by
on-the-fly native ensemble", NeurIPS 2018, train branches of one.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from steps.nnet import Detector
from steps.nnet.base import AngleLinear, BranchedBackbone, pool, side_by_side
from steps.training.base import MethodBase, TrainConf
from steps.training.losses import MixedLabels, MutualConf, mutual_losses, total
from utils.cli import UserError


@dataclass(frozen=True)
class BranchDistillConf(MutualConf):
    """`hard_weight`: of the hard loss on the branches' own heads."""

    hard_weight: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hard_weight < 0:
            raise ValueError(f"hard_weight: {self.hard_weight} is negative")


@dataclass(frozen=True, kw_only=True)
class Conf(TrainConf):
    branch_distill: BranchDistillConf


class Method(MethodBase[Conf]):
    """total = hard + hard_weight * branch_hard + weight * mutual, the latter two summed over the branches.

    Raises UserError for a network without branches.
    """

    def __init__(self, conf: Conf, detector: Detector):
        super().__init__(conf, detector)
        if not isinstance(detector.backbone, BranchedBackbone):
            raise UserError(
                "method: branch_distill trains a network of several branches, which this one is not; take one such as "
                "conf/model/two_branch_ecanet9.yaml (--model)"
            )
        self.branch_heads = nn.ModuleList(
            AngleLinear(width, conf=detector.head.conf) for width in detector.backbone.branch_channels
        )

    def losses(self, x: Tensor, labels: Tensor | MixedLabels, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        conf, backbone = self.conf.branch_distill, self.detector.backbone
        assert isinstance(backbone, BranchedBackbone)  # __init__ takes no other
        maps = [stages[-1] for stages in backbone.branch_maps(self.detector.normalised(x))]
        embedding = pool(side_by_side(maps))
        hard = self.hard_loss(self.detector.head(embedding), embedding, labels, step)
        embeddings = [pool(m) for m in maps]
        logits = [head(e) for head, e in zip(self.branch_heads, embeddings)]
        branch_hard = total([self.hard_loss(f, e, labels, step) for f, e in zip(logits, embeddings)])
        mutual = total(mutual_losses(logits, conf))
        whole = hard + conf.hard_weight * branch_hard + conf.weight * mutual
        return whole, {"hard": hard.detach(), "branch_hard": branch_hard.detach(), "mutual": mutual.detach()}
