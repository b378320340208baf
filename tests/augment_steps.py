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
}
WAVEFORM_STEPS = ["rawboost", "noise", "reverb", "speed", "pitch", "codec", "low_pass", "time_crop"]


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
