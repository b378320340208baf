"""What tests of the augmentations share: making a step from its conf's keys, and measuring."""

from __future__ import annotations

import numpy as np
from scipy import signal

from steps import augment

RATE = 16000

# Each step's keys, as a conf has them
KEYS = {
    "time_mask": {"number": 2, "max_frames": 20, "max_share": 0.5, "fill": "mean"},
    "frequency_mask": {"number": 2, "max_bins": 5, "fill": "zero"},
    "mixup": {"alpha": 0.4},
    "rawboost": {
        "algorithm": "series_123",
        "filter": {"notches": 5, "centre_hz": [20, 8000], "width_hz": [100, 1000], "taps": [10, 100]},
        "convolutive": {"orders": 5, "linear_gain_db": [0, 0], "nonlinear_gain_db": [-20, -5]},
        "impulsive": {"samples_percent": [0, 10], "gain": 2},
        "stationary": {"snr_db": [10, 40]},
    },
    "noise": {"snr_db": [5, 15]},
    "reverb": {},
    "speed": {"factors": [0.9, 1.0, 1.1]},
    "pitch": {"semitones": [-2, 2]},
    "codec": {
        "codecs": ["mp3", "vorbis", "opus", "mulaw", "alaw", "gsm", "g721"],
        "compression": [0.3, 0.95],
        "telephone_rate": 8000,
    },
    "low_pass": {"cutoff_hz": [3000, 7000], "transition_hz": 500, "attenuation_db": 60},
    "time_crop": {"seconds": [0.5, 1.0]},
    "band": {"low_hz": [300, 300], "high_hz": [3400, 3400], "order": 4},
    "bits": {"bits": 8},
    "clip": {"peak_share": [0.2, 0.6]},
    "gain": {"db": [-10, 10]},
    "pauses": {"below_db": 30, "longest_s": 0.05},
    "repeat": {"times": 2},
    "resample": {"rates": [8000, 11025, 44100]},
    "silence": {"before_s": [0, 0.2], "inside_s": [0.1, 0.1], "after_s": [0, 0.2]},
    "tone": {"number": 2, "hz": [1000, 3000], "snr_db": [30, 30]},
}
OTHER_LENGTH = ("speed", "time_crop", "pauses", "repeat", "silence")
WAVEFORM_STEPS = [kind for kind in KEYS if kind not in ("time_mask", "frequency_mask", "mixup")]


def conf_of(*steps: str | dict) -> augment.AugmentConf:
    """A conf of steps, each its type or keys that come on top of KEYS."""
    steps = [{"type": step} if isinstance(step, str) else step for step in steps]
    return augment.conf_from_dict({"steps": [{**KEYS[step["type"]], **step} for step in steps]}, "test")


def chain_of(*steps: str | dict, rate: int = RATE) -> augment.Chain:
    return augment.make_chain(conf_of(*steps), rate)


def rng(seed: int = 0, utt: str = "u", epoch: int = 1) -> np.random.Generator:
    return augment.utterance_rng(seed, epoch, utt, "test")


def db(ratio: float) -> float:
    return 10 * np.log10(ratio)


def lag(reference: np.ndarray, delayed: np.ndarray) -> int:
    """Samples by which `delayed` comes after `reference`, at the peak of their correlation."""
    return int(np.argmax(signal.correlate(delayed, reference, method="fft"))) - (len(reference) - 1)
