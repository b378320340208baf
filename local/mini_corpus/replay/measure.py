"""The reverberation time of a response, by measurement."""

from __future__ import annotations

import numpy as np

from local.mini_corpus.attack import RATE

DIRECT_MS = 2.5  # from the onset on, what counts as direct sound


def _after_direct(response: np.ndarray, onset: int) -> int:
    start = onset + round(DIRECT_MS * RATE / 1000)
    if response.ndim != 1 or onset < 0 or start >= len(response) or not np.any(response[start:]):
        raise ValueError(f"a response of shape {response.shape} has nothing after the direct sound at sample {onset}")
    return start


def decay_db(response: np.ndarray, onset: int = 0, beyond: float = 0.0) -> np.ndarray:
    """Schroeder's backward integral of what follows the direct sound, in dB, 0 at its beginning.

    `response`: shape (samples,); `onset`: the sample of the direct sound; `beyond`: energy after the response's end.
    Returns shape (samples - onset - 40,). The direct sound is left out: next to the source it is 20 dB above all the
    rest, and the decay's first step would be all that a range from -5 dB on sees.

    Raises ValueError where nothing follows the direct sound. Source: Schroeder, J. Acoust. Soc. Am. 37, 1965.
    """
    energy = response[_after_direct(response, onset) :] ** 2
    left = np.cumsum(energy[::-1])[::-1] + beyond
    return 10 * np.log10(np.maximum(left, 1e-300) / left[0])


def t60(response: np.ndarray, onset: int = 0, range_db: tuple[float, float] = (-5.0, -25.0)) -> float:
    """Reverberation time in seconds: a line fitted to Schroeder's curve over `range_db`, by default -5 to -25 dB (T20
    of ISO 3382-1), and extrapolated to 60 dB.

    `response`: shape (samples,), RATE Hz; `onset`: the sample of the direct sound, which does not count (`decay_db`).
    A tail that is cut off would bend the curve down; the energy beyond the end is estimated from the mean energy of the
    last tenth and the time found so far, and added, until the time stands still (ISO 3382-1, 5.3.3, constant C). Right
    to 5 % for a noise-like decay cut off 5 dB below the range's end, where it is free of noise.

    Raises ValueError where the decay does not reach the range's end.
    """
    upper, lower = range_db
    last = response[len(response) - max(1, (len(response) - onset) // 10) :]
    beyond, found = 0.0, 0.0
    for _ in range(50):
        curve = decay_db(response, onset, beyond)
        first, end = int(np.argmax(curve <= upper)), int(np.argmax(curve <= lower))
        if curve[-1] > lower or end - first < 2:
            raise ValueError(f"the decay does not run from {upper:g} to {lower:g} dB: it ends at {curve[-1]:.1f} dB")
        slope = np.polyfit(np.arange(first, end + 1) / RATE, curve[first : end + 1], 1)[0]
        before, found = found, float(-60 / slope)
        if abs(found - before) < 1e-4 * found:
            break
        per_sample = 6 * np.log(10) / (found * RATE)  # the energy's rate of decay
        beyond = float(np.mean(last**2) * np.exp(-per_sample * len(last) / 2) / per_sample)
    return found
