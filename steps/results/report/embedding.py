"""Maps of the embeddings by t-SNE, attacks apart.

[van der Maaten 2008] L. van der Maaten and G. Hinton, "Visualizing Data using t-SNE", JMLR 9.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from markupsafe import Markup
from matplotlib.figure import Figure as Canvas
from torch import Tensor

from steps.evaluation.score_files import CmScores
from steps.nnet import Detector
from steps.nnet.base import score_of
from steps.results.report.detectors import Detectors, batches, computed_otherwise, note_of_others
from steps.results.report.figures import BONAFIDE as BONAFIDE_COLOUR
from steps.results.report.figures import MARKERS, SPOOF_SHADES, mark, picture, point_style
from steps.results.report.page import Block, Figures, Section, Text
from steps.results.report.systems import Comparison, System
from steps.results.tables import attack_text

MOST_TRIALS = 600
PERPLEXITY = 30
FEWEST_TRIALS = 10
BONAFIDE = "bonafide"


def section(comparison: Comparison, detectors: Detectors) -> Section:
    blocks: list[Block] = [Text(f"{why}.", "note") for why in detectors.missing]
    figures, off = [], []
    for same_input in detectors.by_front_end():
        scored = []
        for one in same_input:
            if (cm := one.system.scores(comparison.set_name)) is not None:
                scored.append((one, cm))
            else:
                blocks.append(Text(f"{one.system.name}: no scores/{comparison.set_name}.txt; score it first.", "note"))
        if not scored:
            continue
        utts, classes = choose_trials(scored[0][1], MOST_TRIALS)
        runs = _run([one.detector for one, _ in scored], batches(scored[0][0], utts))
        for (one, cm), (embedding, computed) in zip(scored, runs):
            written = dict(zip(cm.utterance, cm.score))
            wanted = np.array([written.get(utt, np.nan) for utt in utts])
            if not np.isfinite(wanted).all() or computed_otherwise(computed, wanted, cm.score):
                off.append(one.system.name)
            figures.append(_plot(comparison, one.system, place_by_tsne(embedding), np.array(classes)))
    if not figures:
        blocks.append(Text("No system has both a final.pt and scores, so that there is nothing to map.", "note"))
        return Section("embedding", "Embeddings", blocks)
    if off:
        blocks.append(note_of_others(off))
    words = comparison.table.any_result.corpus or {}
    keys = [
        (label, "bona fide" if label == BONAFIDE else attack_text(label, words), mark(*style))
        for label, style in class_styles(classes).items()
    ]
    intro = Text(
        f"Each detector's embedding (what its last layer sees) of {len(utts):,} trials, all classes evenly, laid out by"
        " t-SNE: near points are similar, while axes, distances between clusters and their sizes mean nothing. The seed"
        " of the median EER. Choose classes in the legend to bring them out."
    )
    return Section("embedding", "Embeddings", [intro, Figures(figures, keys), *blocks])


def _run(detectors: Sequence[Detector], inputs: Iterable[Tensor]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each detector, the embeddings (trials, size) and the scores (trials,)."""
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in detectors]
    with torch.inference_mode():
        for x in inputs:
            for detector, batches_of in zip(detectors, found):
                embedding = detector.embed(x)
                batches_of.append((embedding, score_of(detector.head(embedding))))
    return [tuple(torch.cat(parts).numpy() for parts in zip(*batches_of)) for batches_of in found]


def choose_trials(cm: CmScores, most: int) -> tuple[list[str], list[str]]:
    """At most so many utterances, and the class of each: attack, or bonafide. A third bona fide, the rest the attacks
    in equal parts; of a class with more trials than that, evenly spaced ones in the file's order."""
    classes = {BONAFIDE: np.flatnonzero(cm.bonafide)}
    classes |= {name: np.flatnonzero(cm.attack == i) for i, name in enumerate(cm.attack_names)}
    utts, labels = [], []
    for label, indices in classes.items():
        share = most // 3 if label == BONAFIDE else 2 * most // (3 * len(cm.attack_names))
        count = min(len(indices), max(1, share))
        for i in indices[np.linspace(0, len(indices) - 1, count).round().astype(int)]:
            utts.append(cm.utterance[i])
            labels.append(label)
    return utts, labels


def place_by_tsne(embeddings: np.ndarray) -> np.ndarray:
    """(trials, size) -> (trials, 2), from -1 to 1. [van der Maaten 2008], started from the principal components and
    seeded, so that the same embeddings give the same map. Of fewer than 10 trials, the principal components."""
    x = np.asarray(embeddings, np.float64)
    x = x - x.mean(axis=0)
    if len(x) < FEWEST_TRIALS:
        _, _, axes = np.linalg.svd(x, full_matrices=False)
        placed = x @ axes[:2].T
        placed = np.pad(placed, ((0, 0), (0, 2 - placed.shape[1])))
    else:
        from sklearn.manifold import TSNE

        perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
        placed = TSNE(2, perplexity=perplexity, init="pca", random_state=0, n_jobs=1).fit_transform(x)
    placed = placed - placed.mean(axis=0)
    return placed / (np.abs(placed).max() or 1.0)


def class_styles(classes: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and mark of each class; attacks have shades of the spoof class's colour, up to 27 of them distinct."""
    present = set(classes)
    styles = {BONAFIDE: (BONAFIDE_COLOUR, "o")} if BONAFIDE in present else {}
    looks = [(colour, marker) for marker in MARKERS[1:] for colour in SPOOF_SHADES]
    return styles | {name: looks[i % len(looks)] for i, name in enumerate(sorted(present - {BONAFIDE}))}


def _plot(comparison: Comparison, system: System, place: np.ndarray, labels: np.ndarray) -> Markup:
    reach = np.maximum(np.abs(place).max(axis=0), [1.0, 0.4]) + 0.05  # a flat map takes less room

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for label, (colour, marker) in class_styles(labels.tolist()).items():
            x, y = place[labels == label].T
            axes.plot(x, y, **point_style(colour, marker), ms=4 if label == BONAFIDE else 5, gid=f"series:{label}")
        axes.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]), xticks=[], yticks=[], aspect="equal")
        axes.spines[:].set_visible(True)

    name, height = f"map-{comparison.key_of(system)}", 0.6 + 4.1 * reach[1] / reach[0]
    says = f"t-SNE map of the embeddings of {len(labels)} trials"
    return picture(name, system.name, comparison.corpus, height, says, paint)
