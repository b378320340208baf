"""time_mask and frequency_mask: size, place and value of what they blank."""

from __future__ import annotations

import numpy as np
import pytest

from tests.augment_steps import chain_of, rng

CHANNELS, BINS, FRAMES = 2, 12, 80


@pytest.fixture
def features():
    rows = np.random.default_rng(0).standard_normal((FRAMES, CHANNELS * BINS)) + np.repeat([3, -5], BINS)
    return rows.astype(np.float32)


def is_one_run(places: np.ndarray) -> bool:
    return len(places) == 0 or np.array_equal(places, np.arange(places[0], places[-1] + 1))


@pytest.mark.parametrize("fill", ["mean", "zero"])
@pytest.mark.parametrize("kind", ["time_mask", "frequency_mask"])
def test_one_mask(features, kind, fill):
    widest = 10 if kind == "time_mask" else 4
    keys = {"max_frames": widest, "max_share": 1.0} if kind == "time_mask" else {"max_bins": widest}
    chain = chain_of({"type": kind, "number": 1, "fill": fill, **keys})
    value = np.zeros(CHANNELS) if fill == "zero" else [features[:, :BINS].mean(), features[:, BINS:].mean()]
    widths, begins = set(), set()
    given = features.copy()
    for seed in range(300):
        masked = chain.features(features, CHANNELS, rng(seed))
        assert masked.dtype == np.float32 and masked.shape == features.shape
        changed = (masked != features).reshape(FRAMES, CHANNELS, BINS)
        lines = np.flatnonzero(changed.any(axis=(1, 2)) if kind == "time_mask" else changed.any(axis=(0, 1)))
        assert is_one_run(lines)
        blank = masked.reshape(FRAMES, CHANNELS, BINS)
        blank = blank[lines] if kind == "time_mask" else blank[:, :, lines]
        for channel in range(CHANNELS):  # wholly, in every channel, by that channel's value
            np.testing.assert_allclose(blank[:, channel], value[channel], atol=1e-5)
        widths.add(len(lines))
        begins.update(lines[:1].tolist())
    assert widths == set(range(widest + 1))
    assert min(begins) == 0 and max(begins) >= (FRAMES if kind == "time_mask" else BINS) - widest
    np.testing.assert_array_equal(features, given)


def test_as_many_masks_as_asked_for(features):
    chain = chain_of({"type": "time_mask", "number": 3, "max_frames": 5})
    counts = []
    for seed in range(200):
        lines = np.flatnonzero((chain.features(features, CHANNELS, rng(seed)) != features).any(axis=1))
        counts.append(np.count_nonzero(np.diff(lines, prepend=-2) > 1))
        assert len(lines) <= 15
    assert max(counts) == 3


def test_a_mask_is_no_wider_than_its_share_of_the_utterance(features):
    chain = chain_of({"type": "time_mask", "number": 1, "max_frames": 60, "max_share": 0.1})
    widths = [(chain.features(features, CHANNELS, rng(i)) != features).any(axis=1).sum() for i in range(200)]
    assert max(widths) == FRAMES // 10


@pytest.mark.parametrize("shape", [(1, 2), (1, 24), (3, 2), (400, 2)])
def test_small_matrices(shape):
    chain = chain_of("time_mask", "frequency_mask")
    for seed in range(30):
        for given in (np.zeros(shape, np.float32), np.full(shape, -80, np.float32)):
            masked = chain.features(given, 2, rng(seed))
            assert masked.shape == shape and np.isfinite(masked).all()
