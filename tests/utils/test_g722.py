"""utils/audio/g722.py: the standard's codec, in step with what it was given."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from utils.audio import g722


def test_codes_and_samples_are_those_of_the_standard_bit_by_bit():
    n = np.arange(g722.RATE, dtype=np.int64)
    samples = (((n * n * 3) % 20011 - 10005) * ((n // 2000) % 4) // 3).astype(np.int16)  # whole numbers, any machine
    codes = g722.encode(samples)
    assert hashlib.sha256(codes).hexdigest()[:16] == "82da748cb7a4fa3e"
    assert hashlib.sha256(g722.decode(codes).tobytes()).hexdigest()[:16] == "8c2836bf2adbd00e"


@pytest.mark.parametrize("samples", [0, 1, 2, 319, 321, 999, 1000, 90 * g722.RATE])
def test_round_trip_is_in_step_and_as_long(samples):
    original = np.round(10000 * np.sin(np.arange(samples) / 3)).astype(np.int16)
    made = g722.round_trip(original)
    assert made.shape == original.shape and made.dtype == np.int16
    if samples > 500:
        assert np.corrcoef(original, made)[0, 1] > 0.98


def test_floats_are_refused():
    with pytest.raises(ValueError, match="int16"):
        g722.encode(np.zeros(10))
