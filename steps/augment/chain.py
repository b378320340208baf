"""A chain of augmentations, and the random numbers that it draws."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np

from steps.augment.base import BatchStep, FeatureStep, StepConf, WaveformStep, module_of
from utils.cli import UserError


def _number_of(text: str) -> int:
    """A number that stands for the text, the same on every machine and in every run."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")


def utterance_rng(seed: int, epoch: int, utt: str, purpose: str) -> np.random.Generator:
    """The generator of one utterance in one epoch of a run: whoever asks again gets the same numbers, in any order of
    utterances and after resuming. `purpose` keeps uses apart, such as "waveform" and "features"."""
    return np.random.default_rng(_number_of(f"{seed}\n{epoch}\n{purpose}\n{utt}"))


def step_rngs(rng: np.random.Generator, names: list[str]) -> list[np.random.Generator]:
    """A generator for each name, by one draw from `rng`. A name's numbers depend on `rng` and the name alone."""
    base = rng.integers(0, 2**63, size=2).tolist()
    return [np.random.default_rng([*base, _number_of(name)]) for name in names]


@dataclass(frozen=True, kw_only=True)
class AugmentConf:
    """`steps`: what is done, in this order: steps on waveforms, then steps on features, then mixup."""

    steps: tuple[StepConf, ...]

    def __post_init__(self) -> None:
        stages = [_stage_of(step) for step in self.steps]
        for i, (step, stage) in enumerate(zip(self.steps, stages)):
            later = max(stages[:i], default=0)
            if stage < later:
                raise ValueError(
                    f"steps[{i}].type: {step.type} works on {_STAGES[stage][1]} and has to stand before the steps that "
                    f"work on {_STAGES[later][1]}"
                )
        if stages.count(2) > 1:
            raise ValueError("steps: a batch can be mixed once only")


_STAGES = ((WaveformStep, "waveforms"), (FeatureStep, "features"), (BatchStep, "batches"))


def _stage_of(step: StepConf) -> int:
    kind = module_of(step.type).Step
    return next(i for i, (base, _) in enumerate(_STAGES) if issubclass(kind, base))


class Chain:
    """The steps of a conf, made for audio of `sample_rate` Hz.

    Every step draws from a generator of its own, named by its type and which of that type it is, and draws first
    whether it is to be done: taking another step out, or changing any `p`, leaves what it draws as it was.

    Raises UserError where a step cannot be done: a frequency above half of the rate, a missing data dir or library.
    """

    def __init__(self, conf: AugmentConf, sample_rate: int):
        self.conf = conf
        self.sample_rate = sample_rate
        self._waveform_steps: list[tuple[str, WaveformStep]] = []
        self._feature_steps: list[tuple[str, FeatureStep]] = []
        self._batch_step: BatchStep | None = None
        seen: Counter[str] = Counter()
        for step in conf.steps:
            name = f"{step.type} {seen[step.type]}"
            seen[step.type] += 1
            kind = module_of(step.type).Step
            if issubclass(kind, WaveformStep):
                try:
                    self._waveform_steps.append((name, kind(step, sample_rate)))
                except ValueError as error:
                    raise UserError(f"augmentation {step.type}: {error}") from None
            elif issubclass(kind, FeatureStep):
                self._feature_steps.append((name, kind(step)))
            else:
                self._batch_step = kind(step)

    @property
    def has_waveform_steps(self) -> bool:
        return bool(self._waveform_steps)

    @property
    def has_feature_steps(self) -> bool:
        return bool(self._feature_steps)

    @property
    def tables_of_recordings(self) -> dict[str, str]:
        """The wav.scp of each data_dir that the steps draw from, and its SHA-256 when the chain was made."""
        found = [step.recordings for _, step in self._waveform_steps if step.recordings]
        return {str(recordings.table): recordings.sha256 for recordings in found}

    @property
    def mixup(self):
        """The conf of mixup (alpha, p), or None."""
        return self._batch_step.conf if self._batch_step else None

    def waveform(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """float64 (samples,), full scale 1, at the chain's rate -> (samples',), at least one; not clipped.

        Raises UserError naming a file of noise or room responses that cannot be read.
        """
        waveform = np.asarray(waveform, np.float64)
        for step, own in self.drawn_waveform_steps(rng):
            waveform = step.apply(waveform, own)
        return waveform

    def features(self, features: np.ndarray, channels: int, rng: np.random.Generator) -> np.ndarray:
        """float32 (frames, channels x bins) -> the same shape; the given one is left as it is."""
        for step, own in self.drawn_feature_steps(rng):
            features = step.apply(features, channels, own)
        return features

    def mixup_draw(self, rng: np.random.Generator, batch_size: int) -> tuple[np.ndarray, float]:
        """-> a permutation, int64 (batch_size,), and the weight of the unpermuted: both of inputs and of losses,
        x = weight * x + (1 - weight) * x[permutation].

        A batch that is not to be mixed (`p`; no mixup in the chain) has weight 1 and the permutation 0, 1, 2, ...
        """
        for step, own in _drawn([("mixup 0", self._batch_step)] if self._batch_step else [], rng):
            return step.draw(own, batch_size)
        return np.arange(batch_size), 1.0

    def drawn_waveform_steps(self, rng: np.random.Generator) -> list[tuple[WaveformStep, np.random.Generator]]:
        """Those steps that `waveform` does with such an `rng`, each with its own generator."""
        return _drawn(self._waveform_steps, rng)

    def drawn_feature_steps(self, rng: np.random.Generator) -> list[tuple[FeatureStep, np.random.Generator]]:
        """The same of `features`."""
        return _drawn(self._feature_steps, rng)


def _drawn(steps: list, rng: np.random.Generator) -> list:
    if not steps:
        return []
    rngs = step_rngs(rng, [name for name, _ in steps])
    return [(step, own) for (_, step), own in zip(steps, rngs) if own.random() < step.conf.p]


def make_chain(conf: AugmentConf, sample_rate: int) -> Chain:
    """The chain of a conf; see Chain."""
    return Chain(conf, sample_rate)
