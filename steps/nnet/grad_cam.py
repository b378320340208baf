"""Which places of its input speak for which class: Grad-CAM on time and frequency.

[Selvaraju 2017] R. R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based
localization", ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from steps.nnet.base import Detector, score_of

FOR_BONAFIDE, FOR_SPOOF = "#0072b2", "#d55e00"  # Okabe and Ito's blue and vermilion


def evidence(detector: Detector, x: Tensor, stages: Sequence[int]) -> tuple[float, list[Tensor]]:
    """The score of one trial, and for each stage (from 1) a map (frames_i, bins_i) of what its places add to it, above
    0 for bona fide.

    x: (1, channels, frames, bins). Grad-CAM of the score, without the ReLU that would keep one class only: each channel
    of the stage's feature map, weighted by the mean of the score's gradient over it [Selvaraju 2017, equations 1, 2],
    here times the number of places. At the deepest stage, which averages and a linear head without a bias follow, the
    map's mean is the score itself.
    """
    with torch.enable_grad():
        maps = detector.stage_maps(x)
        score = score_of(detector.logits_of(maps[-1]))[0]
        chosen = [maps[stage - 1] for stage in stages]
        gradients = torch.autograd.grad(score, chosen)
    found = []
    for feature_map, gradient in zip(chosen, gradients):
        weight = gradient.mean(dim=(2, 3), keepdim=True) * gradient.shape[2] * gradient.shape[3]
        found.append((weight * feature_map).sum(dim=1)[0].detach())
    return score.item(), found


def drawn_up(evidence_map: Tensor, frames: int, bins: int) -> np.ndarray:
    """(frames_i, bins_i) -> (frames, bins), interpolated."""
    size = (frames, bins)
    return F.interpolate(evidence_map[None, None], size=size, mode="bilinear", align_corners=False)[0, 0].cpu().numpy()


def blend(
    features: np.ndarray, evidence_map: np.ndarray, bonafide: str = FOR_BONAFIDE, spoof: str = FOR_SPOOF
) -> np.ndarray:
    """(frames, bins) each -> uint8 (bins, frames, 3): the features in grey, the evidence over it, relative to its
    largest. bonafide, spoof: colours, #rrggbb."""
    low, high = np.percentile(features, [2, 99.5])
    grey = np.clip((features - low) / ((high - low) or 1.0), 0, 1)[..., None] * np.full(3, 255.0)
    strength = evidence_map / (np.abs(evidence_map).max() or 1.0)
    colours = [np.frombuffer(bytes.fromhex(colour[1:]), np.uint8) for colour in (bonafide, spoof)]
    colour = np.where(strength[..., None] > 0, *colours)
    weight = 0.8 * np.abs(strength[..., None])
    return ((1 - weight) * grey + weight * colour).round().astype(np.uint8).transpose(1, 0, 2)
