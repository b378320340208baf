"""Features do not depend on gain, offset, polarity or digital silence; what counts as silence and what does not."""

import functools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from steps.frontend import load_conf, make_frontend
from steps.frontend.processing.standardise import active_level, run_samples, standardise, without_runs
from tests.conftest import ROOT, speech_like
from utils.conf import read_yaml

RATE = 16000
FRAME = 160  # 10 ms
PAPER = ["f0_subband_paper", "lps_paper"]  # spectra of the waveform as it is, as published
CONFS = sorted(
    path.stem
    for path in (ROOT / "conf/frontend").glob("*.yaml")
    if read_yaml(path)["type"] != "encoder"  # of pretrained encoders: test_encoder_states.py
)
STANDARD = [name for name in CONFS if load_conf(ROOT / f"conf/frontend/{name}.yaml").standardise]
CUT = [name for name in STANDARD if load_conf(ROOT / f"conf/frontend/{name}.yaml").standardise != "in_place"]

# What gain and offset leave apart are roundings of float64, about 1e-15 of a sample (an offset of 0.3 beside speech of
# -30 dB counted in). Transforms are of float64 too, so that a weak bin, 100 dB under a strong one, moves by 1e-10. Only
# where that tips the rounding to float32 does a feature move at all, by one step of float32: 2e-6 of a logarithm, 1e-5
# where a cosine transform adds several such, and of a group delay near 0 its root makes 4e-5 of 1e-11. Here it is
# 1e-7 at most; other processors may round otherwise, but not by more. A gain of 0.001 dB moves a logarithm by 1.2e-4.
ATOL = 1e-4
ATOL_CQCC = 1e-3  # coefficients reach 2000, where a step of float32 is 1.2e-4; each sums 863 logarithms

samples = st.integers(RATE, 3 * RATE // 2)
seeds = st.integers(0, 9)
gains = st.builds(lambda db, sign: sign * 10 ** (db / 20), st.floats(-30, 10), st.sampled_from([-1, 1]))
offsets = st.floats(-0.3, 0.3)
fractions = st.floats(0, 1)
examples = settings(max_examples=25, deadline=None)


@functools.cache
def front_end(name):
    return make_frontend(load_conf(ROOT / f"conf/frontend/{name}.yaml"))


def apart(frontend, one, other):
    """By how much the features of two waveforms differ at most; infinity where they have other shapes."""
    one, other = (frontend.compute(waveform).astype(np.float64) for waveform in (one, other))
    if one.shape != other.shape:
        return np.inf
    difference = one - other
    if frontend.conf.type == "phase_difference":
        difference = np.angle(np.exp(1j * difference))  # around the circle: -pi and pi are one
    return np.abs(difference).max()


def with_silence(waveform, value, before, at, inside, after):
    """Samples of one value before, inside (at a fraction of the length) and after the waveform."""
    place = round(at * len(waveform))
    parts = [np.full(before, value), waveform[:place], np.full(inside, value), waveform[place:], np.full(after, value)]
    return np.concatenate(parts)


def test_every_front_end_standardises_but_the_published_ones():
    assert sorted([*STANDARD, *PAPER, "waveform_paper"]) == CONFS


@pytest.mark.parametrize("name", STANDARD)
@examples
@given(samples, seeds, gains, offsets)
def test_features_do_not_depend_on_gain_polarity_and_offset(name, samples, seed, gain, offset):
    frontend, waveform = front_end(name), speech_like(samples, seed)
    changed = gain * waveform + offset
    assert apart(frontend, waveform, changed) <= (ATOL_CQCC if frontend.conf.type == "cqcc" else ATOL)
    levels, of_changed = (frontend.levels(frontend.standardised(x)) for x in (waveform, changed))
    np.testing.assert_allclose(of_changed, levels, atol=1e-6)  # dB, float64: here 1e-12


@pytest.mark.parametrize("name", CUT)
@examples
@given(
    samples,
    seeds,
    st.sampled_from([0.0, 0.1, -1.0]) | st.floats(-1, 1, width=16),
    st.integers(32, 8000) | st.just(0),
    fractions,
    st.integers(3200, 8000) | st.just(0),
    st.integers(32, 48000) | st.just(0),
)
def test_digital_silence_of_any_value_and_place_changes_not_a_bit(
    name, samples, seed, value, before, at, inside, after
):
    frontend, waveform = front_end(name), speech_like(samples, seed)
    assume(value not in waveform)  # beside the silence such a sample would be taken for one of it
    padded = with_silence(waveform, value, before, at, inside, after)
    assert len(padded) == samples + before + inside + after
    np.testing.assert_array_equal(standardise(padded, RATE), standardise(waveform, RATE))
    np.testing.assert_array_equal(frontend.compute(padded), frontend.compute(waveform))


@pytest.mark.parametrize("name", CUT)
@examples
@given(samples, seeds, gains, offsets, fractions, st.integers(3200, 8000))
def test_all_at_once_change_nothing(name, samples, seed, gain, offset, at, silence):
    frontend, waveform = front_end(name), speech_like(samples, seed)
    changed = gain * with_silence(waveform, 0.0, 2 * silence, at, silence, silence) + offset
    assert apart(frontend, waveform, changed) <= (ATOL_CQCC if frontend.conf.type == "cqcc" else ATOL)


@pytest.mark.parametrize("name", PAPER)
def test_published_front_ends_do_depend_on_them(name):
    """The same comparisons on front ends that do not standardise: they are able to fail."""
    frontend, waveform = front_end(name), speech_like(RATE)
    assert apart(frontend, waveform, waveform) == 0
    assert apart(frontend, waveform, -waveform) <= ATOL  # magnitudes know no polarity
    for changed in (0.5 * waveform, waveform + 0.1, with_silence(waveform, 0.0, 3200, 0.5, 0, 0)[:RATE]):
        assert apart(frontend, waveform, changed) > 0.5
    for place in ({"before": 3200}, {"inside": 3200}, {"after": 3200}):
        padded = with_silence(waveform, 0.0, **{"before": 0, "at": 0.5, "inside": 0, "after": 0, **place})
        assert apart(frontend, waveform, padded) == np.inf


@pytest.mark.parametrize("name", CONFS)
@pytest.mark.parametrize("samples", [1, 40, 20000])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.3])
def test_nothing_but_silence_has_finite_features(name, samples, value):
    frontend = front_end(name)
    waveform = np.full(samples, value)
    features = frontend.compute(waveform)
    assert len(features) >= 1 and np.isfinite(features).all()
    standard = frontend.standardised(waveform)
    assert len(standard) == samples
    if frontend.conf.standardise:
        assert not standard.any()
        np.testing.assert_array_equal(features, frontend.compute(np.zeros(samples)))
        assert set(frontend.levels(standard)) == {-120.0}


# --- the waveform


@pytest.mark.parametrize("samples", [1, 2, 31, 159, 161, RATE])
def test_a_constant_with_nothing_but_rounding_on_it_is_silence(samples):
    rounding = 1e-13 * np.random.default_rng(0).standard_normal(samples)
    np.testing.assert_array_equal(standardise(0.3 + rounding, RATE), np.zeros(samples))
    assert active_level(np.zeros(samples), RATE) == -np.inf


@pytest.mark.parametrize("samples", [100, 161, RATE, 23456])
@pytest.mark.parametrize("gain", [-1, 1e-6, 3])
def test_what_comes_out_has_the_level_no_offset_and_a_positive_sum_of_cubes(samples, gain):
    waveform = gain * speech_like(samples) + 0.1
    before = waveform.copy()
    made = standardise(waveform, RATE)
    np.testing.assert_array_equal(waveform, before)  # left alone
    assert made.dtype == np.float64 and len(made) == samples
    assert active_level(made, RATE) == pytest.approx(-26, abs=1e-9)
    assert abs(made.mean()) < 1e-9 and (made**3).sum() >= 0  # 1e-6 of speech beside an offset: 1e5 times its rounding
    np.testing.assert_allclose(standardise(made, RATE), made, atol=1e-9)  # once is enough


def test_the_active_level_of_a_steady_tone_is_its_power_without_the_offset():
    tone = 0.1 * np.sin(2 * np.pi * 100 / RATE * np.arange(RATE))  # 10 ms a period: frames of equal power
    assert active_level(tone, RATE) == pytest.approx(-20 - 10 * np.log10(2), abs=1e-9)
    assert active_level(tone + 0.3, RATE) == pytest.approx(active_level(tone, RATE), abs=1e-9)
    assert active_level(2 * tone, RATE) == pytest.approx(active_level(tone, RATE) + 20 * np.log10(2), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_silence_adds_nothing_to_the_active_level(seed):
    waveform = speech_like(2 * RATE, seed)
    waveform -= waveform.mean()  # an offset would make a step towards the zeros
    level = active_level(waveform, RATE)
    assert active_level(np.append(waveform, np.zeros(3 * RATE)), RATE) == pytest.approx(level, abs=1e-9)
    rms = 10 * np.log10(np.mean(np.append(waveform, np.zeros(3 * RATE)) ** 2))
    assert level - rms > 3  # which a plain mean would not have


@pytest.mark.parametrize("below_db, cut", [(70, True), (65, True), (55, False), (40, False)])
def test_frames_are_cut_that_are_60_db_below_the_level(below_db, cut):
    """Noise of that level before, between and after speech, in whole frames of 10 ms, an odd number of them."""
    speech = speech_like(2 * RATE)
    speech -= speech.mean()
    level = active_level(speech, RATE)
    noise = np.random.default_rng(0).standard_normal((30, FRAME))
    noise -= noise.mean(axis=1, keepdims=True)
    noise *= 10 ** ((level - below_db) / 20) / np.sqrt(np.mean(noise**2, axis=1, keepdims=True))
    parts = [noise[:11].ravel(), speech[: 100 * FRAME], noise[11:12].ravel(), speech[100 * FRAME :], noise[12:].ravel()]
    made = standardise(np.concatenate(parts), RATE)
    assert len(made) == (len(speech) if cut else len(speech) + 30 * FRAME)
    if cut:
        np.testing.assert_allclose(made, standardise(speech, RATE), atol=1e-6)  # but for the mean of the noise


@pytest.mark.parametrize("below_db, cut", [(70, True), (50, False)])
def test_the_last_frame_counts_by_its_own_power_though_it_is_shorter(below_db, cut):
    speech = speech_like(RATE)
    speech -= speech.mean()
    tail = 10 ** ((active_level(speech, RATE) - below_db) / 20) * np.array([1, -1, 1, -1])
    assert len(standardise(np.append(speech, tail), RATE)) == (RATE if cut else RATE + 4)


@pytest.mark.parametrize("rate, shortest", [(16000, 32), (8000, 16), (48000, 96), (1000, 4)])
def test_2_ms_of_equal_samples_are_silence_and_shorter_runs_are_not(rate, shortest):
    assert run_samples(rate) == shortest
    speech = speech_like(2000)
    for value in (0.0, 0.5, -1.0):
        for place in (0, 700, 2000):
            for run, kept in ((shortest - 1, True), (shortest, False), (10 * shortest, False)):
                waveform = np.insert(speech, place, np.full(run, value))
                expected = waveform if kept else speech
                np.testing.assert_array_equal(without_runs(waveform, shortest), expected)
    for several in (np.repeat(speech[:20], shortest), np.full(shortest, 0.1)):
        assert len(without_runs(several, shortest)) == 0  # nothing but runs
    one, other = np.full(shortest, 0.1), np.full(shortest, 0.2)
    np.testing.assert_array_equal(without_runs(np.concatenate([one, speech, other, one]), shortest), speech)


@pytest.mark.parametrize("skew", [1, -1])
def test_polarity_follows_the_skew(skew):
    pulses = np.zeros(RATE)
    pulses[::100] = skew  # as of a glottis: one way only
    pulses += 1e-3 * np.random.default_rng(0).standard_normal(RATE)
    made = standardise(pulses, RATE)
    assert made[np.abs(made).argmax()] > 0
    np.testing.assert_allclose(standardise(-pulses, RATE), made, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_in_place_a_sample_stays_where_it_is_and_gets_the_same_value(seed):
    rng = np.random.default_rng(seed)
    sound = speech_like(8000, seed=seed) - 0.1
    silence = np.zeros(4000)
    waveform = np.concatenate([silence, sound, silence + 0.2, sound[:3000]])
    cut, kept = standardise(waveform, 16000), standardise(waveform, 16000, in_place=True)
    assert len(kept) == len(waveform) and len(cut) < len(waveform)
    assert not kept[:4000].any() and not kept[12000:16000].any()
    heard = np.concatenate([kept[4000:12000], kept[16000:]])
    if len(cut) == len(heard):  # nothing is 60 dB below the level
        np.testing.assert_allclose(heard, cut, atol=1e-12)
    gain = float(rng.uniform(0.01, 3))
    np.testing.assert_allclose(standardise(-gain * waveform, 16000, in_place=True), kept, atol=1e-9)
