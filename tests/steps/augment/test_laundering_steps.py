"""The steps that files go through when they are stored, sent and edited: values computed by hand."""

from __future__ import annotations

import av
import numpy as np
import pytest
from scipy import signal

from tests.augment_steps import KEYS, RATE, chain_of, db, lag, rng
from utils.cli import UserError


def made(kind: str, waveform, rate: int = RATE, seed: int = 0, **keys) -> np.ndarray:
    return chain_of({"type": kind, **keys}, rate=rate).waveform(np.asarray(waveform, float), rng(seed))


def power(waveform):
    return np.mean(np.square(waveform))


def tone(hz: float, seconds: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


# --- gain, bits, clip -------------------------------------------------------------------------------------------------


def test_gain_multiplies_adds_and_inverts():
    np.testing.assert_allclose(made("gain", [0.1, -0.2], db=[20, 20]), [1, -2])
    np.testing.assert_allclose(made("gain", [0.1, -0.2], db=[0, 0], offset=[0.05, 0.05]), [0.15, -0.15])
    np.testing.assert_allclose(made("gain", [0.1, -0.2], db=[-20, -20], invert=True), [-0.01, 0.02])


def test_gain_is_drawn_from_the_entire_range():
    drawn = [20 * np.log10(made("gain", [1.0], seed=seed)[0]) for seed in range(100)]
    assert -10 <= min(drawn) < -8 and 8 < max(drawn) <= 10


def test_bits_round_and_clip():
    np.testing.assert_array_equal(made("bits", [0.3, -0.3, 0.99, 1.7, -1.7], bits=2), [0.5, -0.5, 0.5, 0.5, -1])
    np.testing.assert_array_equal(made("bits", [3.4 / 32768, 2.0], bits=16), [3 / 32768, 32767 / 32768])


def test_clip_cuts_at_a_share_of_the_peak():
    np.testing.assert_allclose(
        made("clip", [0.1, -0.8, 0.5, 0.39], peak_share=[0.5, 0.5]), [0.1, -0.4, 0.4, 0.39], atol=1e-15
    )


# --- band, resample ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hz", "gain_db"), [(300, -3.01), (3400, -3.01), (1000, 0), (150, -24.1), (50, -62)])
def test_the_edges_of_band_lose_3_db(hz, gain_db):
    """A Butterworth filter of order 4 loses 10 log10(1 + (edge / f)^8): 24.1 dB an octave below the edge."""
    settled = slice(RATE, None)
    heard = made("band", tone(hz, 2))
    assert abs(db(power(heard[settled]) / power(tone(hz, 2)[settled])) - gain_db) < 0.5


def test_an_edge_of_band_may_be_missing():
    np.testing.assert_allclose(made("band", tone(1000), low_hz=None, high_hz=None), tone(1000))
    high = made("band", tone(50, 2), low_hz=None)[RATE:]
    assert abs(db(power(high) / power(tone(50)))) < 0.01


@pytest.mark.parametrize(("hz", "kept"), [(3000, True), (5000, False)])
def test_resample_to_8_khz_keeps_what_lies_below_4_khz(hz, kept):
    heard = made("resample", tone(hz), rates=[8000])
    assert len(heard) == RATE
    inner = slice(2000, -2000)
    assert (abs(db(power(heard[inner]) / power(tone(hz)[inner]))) < 0.05) == kept
    assert kept or db(power(heard[inner]) / power(tone(hz)[inner])) < -60


def test_resample_keeps_alignment(speech):
    assert lag(speech, made("resample", speech, rates=[44100])) == 0


# --- silence, pauses, repeat, tone ------------------------------------------------------------------------------------


def test_silence_stands_before_inside_and_after():
    given = np.arange(1.0, 9.0)
    heard = made("silence", given, rate=1000, before_s=[0.002] * 2, inside_s=[0.003] * 2, after_s=[0.001] * 2)
    assert len(heard) == 8 + 2 + 3 + 1
    np.testing.assert_array_equal(heard[heard != 0], given)
    assert not heard[:2].any() and not heard[-1:].any()


def test_zeros_inside_stand_at_a_random_place():
    keys = {"before_s": [0, 0], "inside_s": [0.003] * 2, "after_s": [0, 0]}
    drawn = [made("silence", np.ones(8), rate=1000, seed=seed, **keys) for seed in range(80)]
    assert {int(np.argmin(heard)) for heard in drawn} == set(range(9))
    assert all(len(heard) == 11 and np.sum(heard) == 8 for heard in drawn)


def test_pauses_are_shortened_to_their_beginning():
    """Frames of 10 samples at 1 kHz: 3 spoken, 5 of a pause at -40 dB, 2 spoken, 4 of silence."""
    given = np.concatenate([np.ones(30), np.full(50, 0.01), np.ones(20), np.zeros(40)])
    heard = made("pauses", given, rate=1000, below_db=30, longest_s=0.02)
    np.testing.assert_array_equal(heard, np.concatenate([np.ones(30), np.full(20, 0.01), np.ones(20), np.zeros(20)]))
    np.testing.assert_array_equal(made("pauses", given, rate=1000, below_db=30, longest_s=0), np.ones(50))
    np.testing.assert_array_equal(made("pauses", given, rate=1000, below_db=50, longest_s=1), given)


def test_pauses_before_the_first_word_are_shortened_too():
    given = np.concatenate([np.zeros(40), np.ones(25)])  # the last frame is half one
    np.testing.assert_array_equal(made("pauses", given, rate=1000, longest_s=0.01), given[30:])


def test_repeat():
    np.testing.assert_array_equal(made("repeat", [1, 2], times=3), [1, 2, 1, 2, 1, 2])


def test_tones_are_added_at_their_ratio(speech):
    added = made("tone", speech, number=1, hz=[1500, 1500], snr_db=[25, 25]) - speech
    assert abs(db(power(speech) / power(added)) - 25) < 1e-6
    spectrum = np.abs(np.fft.rfft(added))
    assert np.argmax(spectrum) * RATE / len(added) == 1500
    assert spectrum[np.argmax(spectrum)] ** 2 > 0.999 * np.sum(spectrum**2)
    several = np.abs(np.fft.rfft(made("tone", speech, number=3) - speech))
    assert len(signal.find_peaks(several, height=0.3 * several.max(), distance=20)[0]) == 3


# --- codec at a bit rate ----------------------------------------------------------------------------------------------


def low_noise(rate: int) -> np.ndarray:
    """Two seconds of noise from 100 to 800 Hz, at full scale now and then."""
    sections = signal.butter(2, [100, 800], "bandpass", fs=rate, output="sos")
    noise = signal.sosfilt(sections, np.random.default_rng(1).standard_normal(2 * rate))
    return 0.2 * noise / noise.std()


AT_BIT_RATES = [("mp3", 16), ("aac", 16), ("opus", 6), ("opus", 24), ("amrnb", 4.75), ("amrnb", 12.2)]


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize(("codec", "kbps"), AT_BIT_RATES)
def test_a_codec_at_a_bit_rate_keeps_length_and_alignment(codec, kbps, rate):
    given = low_noise(rate)
    chain = chain_of({"type": "codec", "codecs": [codec], "kbps": [kbps, kbps]}, rate=rate)
    heard = chain.waveform(given, rng())
    assert len(heard) == len(given)
    assert abs(lag(given, heard)) <= max(1, rate // 16000)
    assert -40 < db(power(heard - given) / power(given)) < -1
    np.testing.assert_array_equal(heard, chain.waveform(given, rng()))
    for samples in (1, 2, 500, 3001):
        assert len(chain.waveform(given[:samples], rng())) == samples


@pytest.mark.parametrize(
    ("codec", "less", "more"), [("mp3", 16, 64), ("aac", 16, 64), ("opus", 6, 32), ("amrnb", 5, 12)]
)
def test_a_lower_bit_rate_loses_more(codec, less, more):
    given = low_noise(RATE)
    lost = [power(made("codec", given, codecs=[codec], kbps=[kbps, kbps]) - given) for kbps in (less, more)]
    assert lost[0] > 1.2 * lost[1]


def test_amr_codes_at_8_khz():
    given = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    frequency, density = signal.welch(made("codec", given, codecs=["amrnb"], kbps=[12, 12]), RATE)
    assert db(density[frequency > 4500].mean() / density[(frequency > 500) & (frequency < 3000)].mean()) < -30


def test_a_bit_rate_leaves_what_the_others_draw(speech):
    """`kbps` has no say in codecs that have no bit rate, nor in which codec is drawn."""
    codecs = {"codecs": ["mulaw", "gsm", "vorbis"]}
    for seed in range(6):
        with_rate = made("codec", speech[:4000], seed=seed, kbps=[8, 16], **codecs)
        np.testing.assert_array_equal(with_rate, made("codec", speech[:4000], seed=seed, **codecs))


def test_a_codec_that_pyav_lacks(monkeypatch):
    real = av.Codec

    def without_amr(name, mode):
        if "amr" in name:
            raise av.codec.codec.UnknownCodecError(name)
        return real(name, mode)

    monkeypatch.setattr(av, "Codec", without_amr)
    with pytest.raises(UserError, match="codec: codecs: this PyAV lacks libopencore_amrnb for amrnb"):
        chain_of({"type": "codec", "codecs": ["amrnb"], "kbps": [12, 12]})


# --- wrong confs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"type": "codec", "codecs": ["aac"]}, "kbps: aac takes a range of bit rates"),
        ({"type": "codec", "kbps": [1, 8]}, "kbps: .* within 4..512"),
        ({"type": "bits", "bits": 1}, "bits: 1 must be between 2 and 24"),
        ({"type": "clip", "peak_share": [0, 1]}, "peak_share: .* within 0.01..1"),
        ({"type": "gain", "offset": [0, 2]}, "offset: .* within -1..1"),
        ({"type": "band", "low_hz": [300, 4000]}, "low_hz: 4000 is not below high_hz, 3400"),
        ({"type": "band", "order": 0}, "order: 0 must be between 1 and 12"),
        ({"type": "band", "high_hz": [3400, 9000]}, "high_hz: 9000 is not below half of the sample rate 16000 Hz"),
        ({"type": "resample", "rates": []}, "rates: .* one or more numbers in 1000..192000"),
        ({"type": "silence", "after_s": [-1, 0]}, "after_s: .* within 0..3600"),
        ({"type": "pauses", "below_db": 0}, "below_db: 0.0 must be between 1 and 200"),
        ({"type": "pauses", "longest_s": -1}, "longest_s: -1.0 must be between 0 and 3600"),
        ({"type": "repeat", "times": 0}, "times: 0 must be between 1 and 100"),
        ({"type": "tone", "number": 0}, "number: 0 must be between 1 and 100"),
        ({"type": "tone", "hz": [100, 8000]}, "hz: 8000 is not below half of the sample rate 16000 Hz"),
    ],
)
def test_values_that_cannot_work_are_refused(keys, message):
    with pytest.raises(UserError, match=message):
        chain_of(keys)


def test_the_steps_say_what_they_drew(speech):
    for kind in ("gain", "clip", "band", "resample", "silence", "pauses", "tone"):
        chain = chain_of(kind)
        ((step, own),) = chain.drawn_waveform_steps(rng())
        step.apply(speech, own)
        assert step.drawn, KEYS[kind]
