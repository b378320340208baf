"""One waveform for every copy of a sound: what gain, offset, polarity and silence change is taken away.

A detector must not be turned by a volume knob. So every front end sees the standardised waveform, whose features are
then the same for `g x + c`, for `-x`, and for x with digital silence before, inside or after it.
"""

from __future__ import annotations

import numpy as np

LEVEL = 10 ** (-26 / 20)  # active level as an amplitude: -26 dB relative to full scale 1
SILENCE_DB = 60.0  # frames so far below the active level count as absent
FRAME_SECONDS = 0.01
NOTHING = 1e-10  # an active level this small beside the largest sample is what rounding left of a constant
RUN_SECONDS = 0.002  # equal samples for so long are digital silence, whatever their value


def run_samples(sample_rate: int) -> int:
    """Equal samples that make a run of digital silence; at least 4."""
    return max(4, round(RUN_SECONDS * sample_rate))


def frame_samples(sample_rate: int) -> int:
    return max(1, round(FRAME_SECONDS * sample_rate))


def _outside_runs(waveform: np.ndarray, shortest: int) -> np.ndarray | None:
    """(samples,) -> (samples,) booleans: False in runs of at least `shortest` equal samples; None where there are
    none."""
    same = np.flatnonzero(waveform[1:] == waveform[:-1])  # few, where there is sound
    if len(same) < shortest - 1:
        return None
    edges = np.concatenate([[0], np.flatnonzero(np.diff(same) != 1) + 1, [len(same)]])
    lengths = np.diff(edges)
    keep = np.ones(len(waveform), bool)
    for begin, length in zip(same[edges[:-1]][lengths >= shortest - 1], lengths[lengths >= shortest - 1]):
        keep[begin : begin + length + 1] = False
    return None if keep.all() else keep


def without_runs(waveform: np.ndarray, shortest: int) -> np.ndarray:
    """(samples,) -> (as many or fewer,): without the runs of at least `shortest` equal samples.

    Of a waveform that is one such run, nothing is left.
    """
    keep = _outside_runs(waveform, shortest)
    return waveform if keep is None else waveform[keep]


def _frame_powers(waveform: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean square of each frame of `size` samples, and how many samples each has: the last may have fewer."""
    begins = np.arange(0, len(waveform), size)
    lengths = np.diff(begins, append=len(waveform))
    return np.add.reduceat(np.square(waveform), begins) / lengths, lengths


def _energy_weighted(power: np.ndarray) -> float:
    """sum p^2 / sum p: to it, silence adds nothing; 0 of silence alone."""
    total = float(power.sum())
    return float(np.square(power).sum()) / total if total > 0 else 0.0


def active_level(waveform: np.ndarray, sample_rate: int) -> float:
    """(samples,) -> the active level in dB relative to full scale 1, offset and digital silence taken off; -inf of
    these alone."""
    kept = without_runs(np.asarray(waveform, np.float64), run_samples(sample_rate))
    if len(kept) == 0:
        return -np.inf
    power = _energy_weighted(_frame_powers(kept - kept.mean(), frame_samples(sample_rate))[0])
    return 10 * np.log10(power) if power > 0 else -np.inf


def standardise(waveform: np.ndarray, sample_rate: int, in_place: bool = False) -> np.ndarray:
    """float64 (samples,) of any scale, sample_rate in Hz -> (as many or fewer,), active level LEVEL, mean about 0.

    1. Digital silence (runs of equal samples) is cut out.
    2. The mean of the rest is subtracted.
    3. Frames of FRAME_SECONDS more than SILENCE_DB below the active level are cut out. The active level is the
       energy-weighted mean of the frames' powers, sum p^2 / sum p, to which silence adds nothing.
    4. The rest is brought to LEVEL, with the sign that makes the sum of its cubes positive.

    in_place: nothing is cut out, so that a sample's number tells its time; digital silence is zeros then. Mean, level
    and sign are the same.

    A waveform of digital silence alone comes back as zeros, of its own length: there is nothing to standardise. One
    whose power is beyond all numbers comes back as it is; its features are not finite then, which is said where they
    are made.
    """
    outside = _outside_runs(waveform, run_samples(sample_rate))
    kept = waveform if outside is None else waveform[outside]
    if len(kept) == 0:
        return np.zeros(len(waveform))
    mean = kept.mean()
    kept = kept - mean  # a copy, which may be changed
    power, lengths = _frame_powers(kept, frame_samples(sample_rate))
    level = _energy_weighted(power)
    if level <= (NOTHING * np.abs(waveform).max()) ** 2:
        return np.zeros(len(waveform))
    if not np.isfinite(level):
        return waveform
    heard = power > level * 10 ** (-SILENCE_DB / 10)
    if not heard.all():
        kept = kept[np.repeat(heard, lengths)]
    kept *= LEVEL / np.sqrt(level)
    turned = np.dot(np.square(kept), kept) < 0
    if in_place:
        kept = (waveform - mean) * (LEVEL / np.sqrt(level))
        if outside is not None:
            kept[~outside] = 0
    return -kept if turned else kept
