"""Error rates of single speakers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from steps.evaluation.evaluation import SpeakerFigures
from steps.evaluation.score_files import CmScores
from steps.metrics.error_rates import equal_error_rate_of_few

FEWEST_TRIALS = 10  # of a class, for an EER of one speaker


def per_speaker(cm: CmScores, speakers: Sequence[str], threshold: float) -> dict[str, SpeakerFigures]:
    """The figures of each speaker, by name. speakers: of each trial; threshold: a score, usually that of the EER of all
    trials."""
    names = sorted(set(speakers))
    index = {name: i for i, name in enumerate(names)}
    code = np.fromiter((index[name] for name in speakers), dtype=np.int64, count=len(speakers))
    all_spoof = np.sort(cm.score[~cm.bonafide])  # sorted, as merging sorted scores is quick

    def scores_by_speaker(chosen: np.ndarray) -> list[np.ndarray]:
        scores, codes = cm.score[chosen], code[chosen]
        order = np.lexsort((scores, codes))
        return np.split(scores[order], np.searchsorted(codes[order], np.arange(1, len(names))))

    def eer(bonafide: np.ndarray, spoof: np.ndarray) -> float | None:
        if min(bonafide.size, spoof.size) < FEWEST_TRIALS:
            return None
        return equal_error_rate_of_few(bonafide, spoof)

    return {
        name: SpeakerFigures(
            n_bonafide=bonafide.size,
            n_spoof=spoof.size,
            miss=float(np.mean(bonafide <= threshold)) if bonafide.size else None,
            eer=eer(bonafide, all_spoof),
            own_eer=eer(bonafide, spoof),
        )
        for name, bonafide, spoof in zip(names, scores_by_speaker(cm.bonafide), scores_by_speaker(~cm.bonafide))
    }
