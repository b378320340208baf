"""Is a recording like those that a detector was trained on? The distance of its embedding from the training set's.

A network gives noise or music a score, too, often one as sure as speech gets. So the directions of the training set's
embeddings are described by their mean and covariance, and a recording far from them is not judged. Lengths are left
out: what the network does not know has short embeddings, which lie near the mean.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.cli import UserError
from utils.files import sha256_of, write_aside

DOMAIN = "domain.npz"
QUANTILE = 0.99  # of dev: a detector has seen neither its speakers nor its recordings
OUTSIDE = "outside what this detector was trained on"
_FORMAT = 1
_LEAST_VARIANCE = 1e-6  # as a share of the largest: smaller ones are rounding, which the distance would magnify


@dataclass(frozen=True)
class Limit:
    """A recording farther than `threshold` is outside; `quantile` of the dev set's n_dev utterances lie within.
    n_train: utterances that distances are measured from."""

    threshold: float
    quantile: float
    n_train: int
    n_dev: int

    def outside(self, distance: float) -> str | None:
        """In words; None for a recording that is within."""
        if distance <= self.threshold:
            return None
        return f"{OUTSIDE}: distance {distance:.1f}, and {100 * self.quantile:g} % of dev within {self.threshold:.1f}"


class Domain(nn.Module):
    """The training set's embeddings, in short. Attribute: limit.

    Mahalanobis distance of an embedding's direction: u = x / |x|, d = |(u - mean) whitener|, where whitener
    whitener' is the inverse of the covariance of the training set's u. (batch, size) -> (batch,), float32.
    """

    mean: Tensor
    whitener: Tensor

    def __init__(self, mean: np.ndarray, whitener: np.ndarray, limit: Limit):
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)))
        self.register_buffer("whitener", torch.from_numpy(whitener.astype(np.float32)))
        self.limit = limit

    def forward(self, embedding: Tensor) -> Tensor:
        with torch.autocast(embedding.device.type, enabled=False):
            return ((F.normalize(embedding.float(), dim=1) - self.mean) @ self.whitener).norm(dim=1)

    def distances(self, embeddings: np.ndarray) -> np.ndarray:
        """(n, size) -> float64 (n,)."""
        with torch.inference_mode():
            return self(torch.from_numpy(np.asarray(embeddings, np.float32))).double().numpy()


def fit(train: np.ndarray, dev: np.ndarray) -> Domain:
    """train, dev: embeddings (utterances, size).

    The covariance is shrunk as in Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance
    matrices", Journal of Multivariate Analysis 2004. Raises UserError for too few embeddings, and for those that are
    all alike.
    """
    from sklearn.covariance import LedoitWolf

    if len(train) < 2 or not len(dev):
        raise UserError(f"{len(train)} embeddings of train and {len(dev)} of dev: give at least two and one")
    directions = F.normalize(torch.from_numpy(train.astype(np.float64)), dim=1).numpy()
    if np.ptp(directions, axis=0).max() < 1e-6:
        raise UserError("the embeddings of all training utterances are the same: this network tells nothing apart")
    made = LedoitWolf().fit(directions)
    variances, axes = np.linalg.eigh(made.covariance_)
    whitener = axes / np.sqrt(np.maximum(variances, _LEAST_VARIANCE * variances.max()))
    draft = Domain(made.location_, whitener, Limit(np.inf, QUANTILE, len(train), len(dev)))
    threshold = float(np.quantile(draft.distances(dev), QUANTILE))
    return Domain(made.location_, whitener, Limit(threshold, QUANTILE, len(train), len(dev)))


def save(training: Path, domain: Domain) -> None:
    """Write domain.npz beside final.pt, whose digest it keeps."""
    about = {"format": _FORMAT, "final_sha256": sha256_of(training / "final.pt"), "limit": asdict(domain.limit)}
    with write_aside(training / DOMAIN, "wb") as handle:
        np.savez(handle, mean=domain.mean.numpy(), whitener=domain.whitener.numpy(), about=json.dumps(about))


def domain_of(training: Path) -> tuple[Domain | None, str]:
    """That of a training's folder; or None and why there is none, with the fix."""
    path, fix = training / DOMAIN, f"make it by steps/fit_domain.py {training}, or by the recipe's stage 4"
    if not path.exists():
        return None, f"no {path}; {fix}"
    try:
        with np.load(path) as kept:
            about = json.loads(str(kept["about"]))
            mean, whitener = kept["mean"], kept["whitener"]
            limit = Limit(**about["limit"])
            fits = about["format"] == _FORMAT and whitener.shape == (len(mean), len(mean))
    except Exception as error:  # np.load raises several kinds for what is no such file
        return None, f"{path}: cannot be read ({type(error).__name__}); {fix}"
    if not fits or not np.isfinite(whitener).all():
        return None, f"{path}: not as this version writes it; {fix}"
    if about["final_sha256"] != sha256_of(training / "final.pt"):
        return None, f"{path} belongs to another final.pt than the one beside it; {fix}"
    return Domain(mean, whitener, limit).eval(), ""
