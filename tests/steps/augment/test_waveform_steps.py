"""Each step on waveforms, measured: does it do what it says?"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal

from steps.augment import noise, rawboost, reverb
from steps.augment.codec import _CODINGS, Step
from steps.augment.processing.recordings import Recordings
from tests.augment_steps import KEYS, OTHER_LENGTH, RATE, WAVEFORM_STEPS, chain_of, conf_of, db, lag, rng
from utils.cli import UserError


def power(waveform):
    return np.mean(np.square(waveform))


def main_frequency(waveform, rate=RATE):
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), 8 * len(waveform)))
    return np.argmax(spectrum) * rate / (8 * len(waveform))


def write_data_dir(folder, **waveforms):
    """A data dir with a wav for each of (waveform, rate)."""
    folder.mkdir()
    lines = []
    for name, (waveform, rate) in waveforms.items():
        soundfile.write(folder / f"{name}.wav", waveform, rate, subtype="FLOAT")
        lines.append(f"{name} {folder / name}.wav\n")
    (folder / "wav.scp").write_text("".join(lines))
    return str(folder)


# --- what holds of all ------------------------------------------------------------------------------------------------

ODD_INPUTS = {
    "one sample": np.array([0.4]),
    "one silent sample": np.zeros(1),
    "two samples": np.array([0.4, -0.1]),
    "ten samples": np.linspace(-1, 1, 10),
    "silence": np.zeros(3000),
    "constant": np.full(2500, 0.5),
    "click": np.eye(1, 900, 300)[0],
    "tiny": 1e-30 * np.sin(np.arange(2000.0)),
    "beyond full scale": 3 * np.sin(np.arange(4000.0)),
}


@pytest.mark.parametrize("kind", WAVEFORM_STEPS)
@pytest.mark.filterwarnings("error")
def test_odd_inputs(kind):
    chain = chain_of(kind)
    for name, given in ODD_INPUTS.items():
        before = given.copy()
        for seed in range(15 if kind == "codec" else 4):
            made = chain.waveform(given, rng(seed))
            assert made.dtype == np.float64 and made.ndim == 1 and len(made), name
            assert np.isfinite(made).all(), name
            if kind not in OTHER_LENGTH:
                assert len(made) == len(given), name
        np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("kind", ["rawboost", "noise", "reverb", "pitch"])
def test_other_sample_rates(kind, rate, waveform_maker):
    given = waveform_maker(rate // 2, rate=rate)
    for seed in range(4):
        made = chain_of(kind, rate=rate).waveform(given, rng(seed))
        assert len(made) == len(given) and np.isfinite(made).all() and not np.array_equal(made, given)


@pytest.mark.parametrize("kind", ["rawboost", "noise", "reverb", "low_pass"])
def test_alignment_is_kept(kind):
    given = 0.2 * np.random.default_rng(1).standard_normal(RATE // 2)
    for seed in range(4):
        assert lag(given, chain_of(kind).waveform(given, rng(seed))) == 0


# --- noise ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr", [-5, 12.5])
@pytest.mark.parametrize("kind", ["white", "pink", "brown", "babble", "recorded"])
def test_snr_of_added_noise(kind, snr, speech, tmp_path):
    keys = {"kinds": [kind]}
    if kind == "recorded":
        sound = np.random.default_rng(0).uniform(-0.3, 0.3, (4000, 2))  # half a second: shorter than the utterance
        keys = {"data_dir": write_data_dir(tmp_path / "noises", hiss=(sound, 8000))}
    chain = chain_of({"type": "noise", "snr_db": [snr, snr], **keys})
    for seed in range(2):
        added = chain.waveform(speech, rng(seed)) - speech
        assert abs(db(power(speech) / power(added)) - snr) < 0.1


def test_the_ratio_is_drawn_from_the_whole_range(speech):
    chain = chain_of({"type": "noise", "snr_db": [5, 15]})
    drawn = [db(power(speech) / power(chain.waveform(speech, rng(i)) - speech)) for i in range(60)]
    assert 5 <= min(drawn) < 6.5 and 13.5 < max(drawn) <= 15


@pytest.mark.parametrize(("kind", "per_octave"), [("white", 0), ("pink", -3.01), ("brown", -6.02)])
def test_colours_of_noise(kind, per_octave):
    made = noise.generate(kind, 60 * RATE, RATE, np.random.default_rng(0))
    frequency, density = signal.welch(made, RATE, nperseg=2048)
    band = (frequency > 100) & (frequency < 6000)
    slope = np.polyfit(np.log2(frequency[band]), db(density[band]), 1)[0]
    assert abs(slope - per_octave) < 0.15


def test_babble_swells_and_lacks_high_frequencies():
    made = noise.generate("babble", 30 * RATE, RATE, np.random.default_rng(0))
    level = db(np.square(made).reshape(-1, RATE // 20).mean(axis=1))
    steady = db(np.square(noise.generate("white", 30 * RATE, RATE, rng())).reshape(-1, RATE // 20).mean(axis=1))
    assert level.std() > 5 * steady.std()
    frequency, density = signal.welch(made, RATE, nperseg=1024)
    at = lambda f: db(density[np.argmin(np.abs(frequency - f))])
    assert abs(at(250) - at(400)) < 3 and 25 < at(300) - at(4000) < 31  # 9 dB an octave from 500 Hz: 27 dB


# --- reverb -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t60", [0.2, 1.2])
def test_t60_and_direct_path_of_generated_responses(t60):
    response = reverb.generate(t60, 6.0, 0.01, RATE, np.random.default_rng(0))
    assert response[0] == 1 and not response[1 : RATE // 100].any()
    rest = response[1:]
    assert abs(db(1 / np.sum(rest**2)) - 6) < 1e-6
    # Schroeder's backward integration, the fall from -5 to -35 dB
    fall = db(np.cumsum(rest[::-1] ** 2)[::-1][RATE // 100 :] / np.sum(rest**2))
    line = (fall < -5) & (fall > -35)
    slope = np.polyfit(np.flatnonzero(line) / RATE, fall[line], 1)[0]
    assert abs(-60 / slope / t60 - 1) < 0.1


def test_reverb_keeps_level_and_rings_after_the_sound():
    burst = np.zeros(RATE)
    burst[2000:4000] = 0.3 * np.random.default_rng(0).standard_normal(2000)
    heard = chain_of("reverb").waveform(burst, rng())
    assert abs(db(power(heard) / power(burst))) < 1e-9
    assert not heard[:2000].round(12).any() and power(heard[4000:6000]) > 1e-4 * power(heard[2000:4000])


def test_a_recorded_response_with_its_delay_taken_off(tmp_path, speech):
    response = np.zeros((800, 1))
    response[300], response[500] = -0.8, 0.4
    folder = write_data_dir(tmp_path / "rooms", room=(response, RATE))
    heard = chain_of({"type": "reverb", "data_dir": folder}).waveform(speech, rng())
    wanted = -0.8 * speech
    wanted[200:] += 0.4 * speech[:-200]
    np.testing.assert_allclose(heard, wanted * np.sqrt(power(speech) / power(wanted)), atol=1e-7)


# --- recordings that are wrong ----------------------------------------------------------------------------------------


def test_a_wrong_data_dir_is_named_at_once(tmp_path):
    make = lambda: chain_of({"type": "noise", "data_dir": str(tmp_path / "musan")})
    with pytest.raises(UserError, match="musan: no such data dir"):
        make()
    (tmp_path / "musan").mkdir()
    with pytest.raises(UserError, match="musan/wav.scp: no such file"):
        make()
    (tmp_path / "musan/wav.scp").write_text("")
    with pytest.raises(UserError, match="musan/wav.scp: empty"):
        make()
    (tmp_path / "musan/wav.scp").write_text("a sox a.mp3 -t wav - |\n")
    with pytest.raises(UserError, match="musan/wav.scp: a .* entries that are commands"):
        make()


def test_recordings_are_cut_by_segments(tmp_path):
    left, right = np.arange(1, 32001) / 32000, -np.arange(1, 32001) / 32000
    folder = Path(write_data_dir(tmp_path / "noises", rec1=(np.stack([left, right], axis=1), RATE)))
    (folder / "segments").write_text("a rec1 0.5 1\nb rec1 1.5 -1\n")
    (folder / "reco2file_and_channel").write_text("rec1 rec1 B\n")
    recordings = Recordings(str(folder), RATE)
    before, draw = recordings.sha256, rng()
    found = [recordings.draw(draw) for _ in range(20)]
    assert {tuple(one) for one in found} == {
        tuple(right[8000:16000].astype(np.float32)),
        tuple(right[24000:].astype(np.float32)),
    }
    parts = [recordings.draw(draw, 100) for _ in range(50)]
    assert all(-0.5 <= part.min() <= part.max() < -0.25 or part.max() < -0.75 for part in parts)
    (folder / "segments").write_text("a rec1 0.5 1\nb rec1 1 -1\n")
    assert Recordings(str(folder), RATE).sha256 != before


@pytest.mark.parametrize("kind", ["noise", "reverb"])
def test_a_wrong_recording_is_named(kind, tmp_path, speech):
    def refusal():
        with pytest.raises(UserError) as error:
            chain_of({"type": kind, "data_dir": folder}).waveform(speech, rng())
        assert "wav.scp: bad (" in str(error.value) and "bad.wav" in str(error.value)
        return str(error.value)

    folder = write_data_dir(tmp_path / "noises", bad=(np.full(9, np.nan), RATE))
    path = tmp_path / "noises/bad.wav"
    assert "NaN or infinite samples" in refusal()
    soundfile.write(path, np.zeros(0), RATE)
    assert "empty: no samples" in refusal()
    soundfile.write(path, speech, RATE, format="FLAC")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 8])
    refusal()
    soundfile.write(path, np.zeros(99), RATE)
    if kind == "reverb":  # a room that swallows everything; as noise it adds nothing
        assert "nothing but zeros" in refusal()
    else:
        np.testing.assert_array_equal(chain_of({"type": kind, "data_dir": folder}).waveform(speech, rng()), speech)
    path.write_text("no audio")
    assert "cannot be read as audio" in refusal()
    path.unlink()
    assert "no such file" in refusal()


# --- low_pass, speed, pitch, time_crop --------------------------------------------------------------------------------


def test_attenuation_of_low_pass():
    click = np.eye(1, 8001, 4000)[0]
    made = chain_of({"type": "low_pass", "cutoff_hz": [3000, 3000]}).waveform(click, rng())
    frequency, response = signal.freqz(made, worN=8192, fs=RATE)
    gain = 20 * np.log10(np.abs(response) + 1e-12)
    assert np.abs(gain[frequency < 2750]).max() < 0.05
    assert gain[frequency > 3250].max() < -59
    assert abs(gain[np.argmin(np.abs(frequency - 3000))] + 6) < 0.1


def test_a_cutoff_beyond_half_of_the_rate():
    with pytest.raises(UserError, match="low_pass: cutoff_hz: 7000 is not below half of the sample rate 8000 Hz"):
        chain_of("low_pass", rate=8000)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_speed(factor):
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(20011) / RATE)
    made = chain_of({"type": "speed", "factors": [factor]}).waveform(tone, rng())
    assert len(made) == round(20011 / factor)
    assert abs(main_frequency(made) - 1000 * factor) < 1
    assert factor != 1 or np.array_equal(made, tone)


def test_speed_draws_every_factor():
    chain = chain_of("speed")
    assert {len(chain.waveform(np.ones(990), rng(i))) for i in range(40)} == {1100, 990, 900}


@pytest.mark.parametrize("semitones", [-4, 12])
def test_pitch(semitones):
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(20011) / RATE)
    made = chain_of({"type": "pitch", "semitones": [semitones, semitones]}).waveform(tone, rng())
    assert len(made) == len(tone)
    assert abs(main_frequency(made) / 1000 - 2 ** (semitones / 12)) < 0.005
    assert abs(db(power(made) / power(tone))) < 1e-9


def test_pitch_without_its_library(monkeypatch, speech):
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(UserError, match="augmentation pitch: it takes librosa"):
        chain_of("pitch").waveform(speech, rng())


def test_time_crop():
    ramp = np.arange(3.0 * RATE)
    chain = chain_of({"type": "time_crop", "seconds": [0.5, 1.0]})
    made = [chain.waveform(ramp, rng(i)) for i in range(200)]
    lengths = [len(part) / RATE for part in made]
    assert 0.5 <= min(lengths) < 0.55 and 0.95 < max(lengths) <= 1
    for part in made:
        np.testing.assert_array_equal(part, np.arange(part[0], part[0] + len(part)))
    assert min(part[0] for part in made) < 0.1 * RATE and max(part[0] for part in made) > 1.7 * RATE
    short = np.arange(0.3 * RATE)
    assert all(len(chain.waveform(short, rng(i))) == len(short) for i in range(20))


# --- codec ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("codec", [*_CODINGS, "g722"])
def test_codec_keeps_length_and_alignment_and_changes_the_signal(codec, rate, waveform_maker):
    given = waveform_maker(rate, seed=3, rate=rate)
    step = Step(conf_of("codec").steps[0], rate)
    for compression in (0.3, 0.95):
        made = step.round_trip(given, codec, compression)
        assert len(made) == len(given)
        assert abs(lag(given, made)) <= rate // 16000  # opus at its hardest is a sample off
        error = db(power(made - given) / power(given))
        assert -70 < error < -3, error


@pytest.mark.parametrize("codec", ["mp3", "vorbis", "opus"])
def test_harder_compression_loses_more(codec, speech):
    step = Step(conf_of("codec").steps[0], RATE)
    lost = [power(step.round_trip(speech, codec, compression) - speech) for compression in (0, 0.5, 0.95)]
    assert lost[0] < lost[1] < lost[2]


def test_telephone_codecs_lose_the_upper_band():
    given = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    for codec in ("mulaw", "alaw", "gsm", "g721"):
        narrow = chain_of({"type": "codec", "codecs": [codec]}).waveform(given, rng())
        wide = chain_of({"type": "codec", "codecs": [codec], "telephone_rate": None}).waveform(given, rng())
        for made, lowest, highest in ((narrow, -200, -30), (wide, -10, 10)):
            frequency, density = signal.welch(made, RATE)
            ratio = db(density[frequency > 4500].mean() / density[(frequency > 500) & (frequency < 3000)].mean())
            assert lowest < ratio < highest, codec


def test_every_codec_is_drawn(speech):
    chain = chain_of({"type": "codec", "compression": [0.5, 0.5]})
    assert len({chain.waveform(speech[:4000], rng(i)).tobytes() for i in range(80)}) == len(KEYS["codec"]["codecs"])


def test_a_long_utterance_through_vorbis():
    given = 0.1 * np.random.default_rng(0).standard_normal(90 * RATE)
    assert len(chain_of({"type": "codec", "codecs": ["vorbis"]}).waveform(given, rng())) == len(given)


def test_g722_of_any_length():
    step = Step(conf_of("codec").steps[0], RATE)
    white = 0.1 * np.random.default_rng(0).standard_normal(90 * RATE)
    for samples in (1, 2, 3, 319, 321, 9999, len(white)):  # its frames are 320 long
        made = step.round_trip(white[:samples], "g722", 0)
        assert len(made) == samples and np.isfinite(made).all()
    # The lower band has 6 of its 8 bits; a sample of delay more or less would leave no likeness.
    low = signal.firwin(101, 3500, fs=RATE)
    given, made = (signal.oaconvolve(x, low, mode="valid") for x in (white, made))
    assert db(power(made - given) / power(given)) < -20


def test_a_codec_that_libsndfile_lacks(monkeypatch):
    monkeypatch.setattr(soundfile, "check_format", lambda format, subtype: format != "MP3")
    with pytest.raises(UserError, match=r"codecs: libsndfile .* lacks mp3"):
        chain_of("codec")


# --- rawboost ---------------------------------------------------------------------------------------------------------

ALGORITHMS = rawboost.Algorithm.__args__


def rawboosted(waveform, algorithm, seed=0, **groups):
    keys = {name: {**KEYS["rawboost"][name], **values} for name, values in groups.items()}
    return chain_of({"type": "rawboost", "algorithm": algorithm, **keys}).waveform(waveform, rng(seed))


def test_every_algorithm_differs(speech):
    made = {algorithm: rawboosted(speech, algorithm) for algorithm in ALGORITHMS}
    assert len({waveform.tobytes() for waveform in (speech, *made.values())}) == 9


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_result_beyond_full_scale_is_scaled_not_clipped(algorithm, speech):
    for loudness in (1, 4):
        for seed in range(2):
            made = rawboosted(loudness * speech[:RATE], algorithm, seed)
            peak = np.abs(made).max()
            assert peak <= 1 + 1e-12
            assert np.count_nonzero(np.abs(made) > 0.9999 * peak) < 5
            if loudness == 4:
                assert peak > 0.9 if "3" in algorithm or algorithm == "stationary" else peak == pytest.approx(1)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_filters_of_rawboost(rate):
    conf = conf_of("rawboost").steps[0].filter
    generator = np.random.default_rng(0)
    for gain_db in (0, -12):
        for _ in range(30):
            taps = rawboost.draw_filter(conf, gain_db, rate, generator)
            assert len(taps) % 2 == 1 and len(taps) <= 5 * 100 + 1
            np.testing.assert_allclose(taps, taps[::-1], atol=1e-12)
            gain = 20 * np.log10(np.abs(np.fft.rfft(taps, 8192)) + 1e-12)
            assert abs(gain.max() - gain_db) < 0.1 and gain.min() < gain_db - 3


def test_convolutive_noise_has_powers_of_the_signal():
    tone = 0.9 * np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE)
    filters = {"notches": 1, "centre_hz": [7500, 7500], "width_hz": [100, 100], "taps": [11, 11]}

    def level(orders, frequency, waveform=tone):
        made = rawboosted(
            waveform,
            "convolutive",
            filter=filters,
            convolutive={"orders": orders, "nonlinear_gain_db": [-20, -20]},
        )
        assert abs(made.mean()) < 1e-12
        return 20 * np.log10(np.abs(np.fft.rfft(made))[frequency] / (len(made) / 2) + 1e-15)

    assert abs(level(1, 500) - 20 * np.log10(0.9)) < 0.3 and level(1, 1000) < -120
    # x^2 has (0.9^2 / 2) at twice the frequency, by -20 dB; x^3 has 0.9^3 / 4 at three times; x^4, x^5 are left out
    assert abs(level(3, 1000) - 20 * np.log10(0.9**2 / 2 / 10)) < 0.5
    assert abs(level(3, 1500) - 20 * np.log10(0.9**3 / 4 / 10)) < 0.5
    assert level(3, 2000) < -120 < -60 < level(4, 2000)


def test_impulsive_noise(speech):
    quiet, shares = 0.3 * speech[:8000], []  # so quiet that nothing is scaled
    for seed in range(60):
        made = rawboosted(quiet, "impulsive", seed)
        changed = made != quiet
        shares.append(100 * changed.mean())
        assert (np.abs(made - quiet)[changed] <= 2 * np.abs(quiet[changed]) + 1e-15).all()
    assert max(shares) <= 10 and max(shares) > 8 and min(shares) < 2


def test_stationary_noise(speech):
    for snr in (10, 25, 40):
        added = rawboosted(speech, "stationary", stationary={"snr_db": [snr, snr]}) - speech
        assert abs(db(power(speech) / power(added)) - snr) < 0.1


def test_parallel_is_the_sum_of_both(speech):
    quiet = 0.1 * speech
    still = {"samples_percent": [0, 0]}
    both = rawboosted(quiet, "parallel_12", impulsive=still)
    np.testing.assert_allclose(both, rawboosted(quiet, "convolutive") + quiet, atol=1e-12)
