"""Two networks that learn together and teach each other; the first is kept.

Zhang, Xiang, Hospedales and Lu, "Deep mutual learning", CVPR 2018. There the networks take turns, each step of one
being seen by the other; here both take their steps at once, each from the other's logits before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from steps import nnet
from steps.nnet import Detector
from steps.training.base import MethodBase, TrainConf
from steps.training.losses import MixedLabels, MutualConf, mutual_losses


@dataclass(frozen=True)
class PeerConf(MutualConf):
    """`peer`: the second network, by the name of a conf file beside the conf or by its keys; None: as the first."""

    peer: Annotated[nnet.ModelConf, nnet.named_conf] | None


@dataclass(frozen=True, kw_only=True)
class Conf(TrainConf):
    mutual: PeerConf


class Method(MethodBase[Conf]):
    """total = hard + peer_hard + weight * (soft + peer_soft), soft being what the peer teaches the detector."""

    def __init__(self, conf: Conf, detector: Detector):
        super().__init__(conf, detector)
        self.peer = nnet.make_another(detector, conf.mutual.peer)

    def losses(self, x: Tensor, labels: Tensor | MixedLabels, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        embeddings = [network.embed(x) for network in (self.detector, self.peer)]
        logits = [network.head(e) for network, e in zip((self.detector, self.peer), embeddings)]
        hard, peer_hard = (self.hard_loss(f, e, labels, step) for f, e in zip(logits, embeddings))
        soft, peer_soft = mutual_losses(logits, self.conf.mutual)
        total = hard + peer_hard + self.conf.mutual.weight * (soft + peer_soft)
        terms = {"hard": hard, "soft": soft, "peer_hard": peer_hard, "peer_soft": peer_soft}
        return total, {name: term.detach() for name, term in terms.items()}
