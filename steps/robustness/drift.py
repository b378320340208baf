"""Do groups of recordings differ from a reference, as a detector sees them? Their scores and embeddings, and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from steps.evaluation.labels import corpus_label
from steps.inference.detector import FakeSpeechDetector
from steps.inference.output import message_without, printable
from steps.metrics.paired_tests import LEVEL, holm
from steps.metrics.two_samples import FEWEST, TwoSampleTest, energy_test, kolmogorov_smirnov
from steps.robustness.recordings import Group
from utils.cli import ProgressLog, UserError, warn

SCORES, EMBEDDINGS = "scores", "embeddings"
PERCENTILES = (5, 25, 50, 75, 95)
_LEAST_PERMUTATIONS = 999


@dataclass(frozen=True)
class Scored:
    """A recording. time: in ISO 8601, None where it was not asked for; score, llr, distance, outside, not_judged: as of
    a Result; error: why it has no score."""

    name: str
    time: str | None
    score: float | None = None
    llr: float | None = None
    distance: float | None = None
    outside: bool | None = None
    not_judged: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Sample:
    """A group's recordings in their order; embeddings: float32 (n, size), of those that have a score."""

    name: str
    recordings: list[Scored]
    embeddings: NDArray[np.float32]

    @property
    def scored(self) -> list[Scored]:
        return [one for one in self.recordings if one.error is None]

    @property
    def scores(self) -> NDArray[np.float64]:
        """(n,)."""
        return np.array([one.score for one in self.scored], np.float64)


@dataclass(frozen=True)
class Tested(TwoSampleTest):
    """corrected: p for the number of all tests (Holm)."""

    corrected: float = 1.0

    @property
    def differs(self) -> bool:
        return self.corrected < LEVEL


@dataclass(frozen=True)
class GroupFigures:
    """recordings: that have a score; failed: that have none; percentiles: PERCENTILES of the scores; below: share of
    LLRs at or below the threshold, None without a calibration; not_judged: share without a verdict because of the
    recording; outside: share outside what the detector was trained on, None where it knows no limit. All are None of no
    recording. scores, embeddings: against the reference; None of the reference, and where `untested` says why."""

    name: str
    recordings: int
    failed: int
    mean_score: float | None
    percentiles: tuple[float, ...] | None
    below: float | None
    not_judged: float | None
    outside: float | None
    scores: Tested | None = None
    embeddings: Tested | None = None
    untested: str | None = None

    @property
    def differs_in(self) -> list[str]:
        tests = ((SCORES, self.scores), (EMBEDDINGS, self.embeddings))
        return [name for name, test in tests if test is not None and test.differs]


@dataclass(frozen=True)
class Drift:
    """model: what was loaded; corpus: that it was trained on; threshold: the LLR of `below`; permutations: of each test
    of embeddings; groups: the reference first."""

    model: str
    corpus: str
    threshold: float | None
    permutations: int
    groups: list[GroupFigures]

    @property
    def reference(self) -> GroupFigures:
        return self.groups[0]

    @property
    def compared(self) -> list[GroupFigures]:
        return self.groups[1:]


def score_groups(detector: FakeSpeechDetector, groups: Sequence[Group]) -> list[Sample]:
    """Each group's recordings, scored; of several channels, their mix or the one that the front end takes. A warning
    for each recording that cannot be scored. Raises UserError of a detector without embeddings."""
    progress = ProgressLog(sum(len(group.recordings) for group in groups), "file")
    outcomes = detector.score_files((one.found for group in groups for one in group.recordings), embeddings=True)
    samples = []
    for group in groups:
        rows, embeddings = [], []
        for one, (name, outcome) in zip(group.recordings, outcomes):
            time = None if one.time is None else one.time.isoformat()
            if isinstance(outcome, UserError):
                why = message_without(name, str(outcome))
                warn(f"{name}: {why}")
                rows.append(Scored(name, time, error=why))
            else:
                found = outcome[0]
                figures = found.score, found.llr, found.distance, found.outside, found.not_judged
                rows.append(Scored(name, time, *figures))
                embeddings.append(found.embedding)
            progress.update()
        samples.append(Sample(group.name, rows, np.stack(embeddings) if embeddings else np.zeros((0, 0), np.float32)))
    progress.close()
    return samples


def permutations_for(tests: int) -> int:
    """So many that the least p, corrected for the number of tests, is at most half of the level."""
    return max(_LEAST_PERMUTATIONS, round(2 * tests / LEVEL) - 1)


def measure(detector: FakeSpeechDetector, samples: Sequence[Sample]) -> Drift:
    """samples: the reference first."""
    reference, *others = samples
    groups = [_figures(detector, sample) for sample in samples]
    reasons = [_untested(reference, sample) for sample in others]
    to_test = [i for i, why in enumerate(reasons) if why is None]
    permutations = permutations_for(2 * len(to_test))
    tests: list[TwoSampleTest] = []
    progress = ProgressLog(len(to_test), "test")
    for i in to_test:
        tests.append(kolmogorov_smirnov(others[i].scores, reference.scores))
        tests.append(energy_test(others[i].embeddings, reference.embeddings, permutations))
        progress.update()
    progress.close()
    corrected = holm([test.p for test in tests])
    tested = [Tested(test.distance, test.p, test.by_chance, p) for test, p in zip(tests, corrected)]
    for number, i in enumerate(to_test):
        groups[1 + i] = replace(groups[1 + i], scores=tested[2 * number], embeddings=tested[2 * number + 1])
    for i, why in enumerate(reasons):
        groups[1 + i] = replace(groups[1 + i], untested=why)
    return Drift(detector.model, corpus_label(detector.corpus), detector.decision.threshold, permutations, groups)


def _untested(reference: Sample, sample: Sample) -> str | None:
    """Why there are too few recordings for a test."""
    for which, one in (("the reference", reference), ("it", sample)):
        if len(one.scored) < FEWEST:
            return f"{which} has {len(one.scored)} scored recordings, and a test takes {FEWEST}"
    return None


def _figures(detector: FakeSpeechDetector, sample: Sample) -> GroupFigures:
    scored, name = sample.scored, printable(sample.name)
    counts = len(scored), len(sample.recordings) - len(scored)
    if not scored:
        return GroupFigures(name, *counts, None, None, None, None, None)
    below = [detector.decision.below(one.llr) for one in scored]
    return GroupFigures(
        name,
        *counts,
        mean_score=float(sample.scores.mean()),
        percentiles=tuple(np.percentile(sample.scores, PERCENTILES).tolist()),
        below=None if detector.decision.threshold is None else float(np.mean(below)),
        not_judged=float(np.mean([one.not_judged is not None for one in scored])),
        outside=None if detector.limit is None else float(np.mean([bool(one.outside) for one in scored])),
    )
