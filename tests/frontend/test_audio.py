"""An utterance that cannot be used is named with its file and what is wrong."""

import numpy as np
import pytest
import soundfile

from steps.frontend.processing.audio import read_waveform
from utils.cli import UserError


def test_reads_flac_exactly(tmp_path, waveform_maker):
    samples = np.round(waveform_maker(5000) * 32768).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", samples, 16000, subtype="PCM_16")
    np.testing.assert_array_equal(read_waveform("a", tmp_path / "a.flac", 16000) * 32768, samples)


def _refuses(path, told):
    with pytest.raises(UserError, match=told) as refused:
        read_waveform("LA_T_1", path, 16000)
    assert "LA_T_1" in str(refused.value) and str(path) in str(refused.value)


def test_bad_files_are_named(tmp_path, waveform_maker):
    wave = waveform_maker(16000)
    _refuses(tmp_path / "lost.flac", "no such file")
    (tmp_path / "zero.flac").write_bytes(b"")
    _refuses(tmp_path / "zero.flac", "empty: no bytes")
    (tmp_path / "text.flac").write_text("not audio at all\n" * 40)
    _refuses(tmp_path / "text.flac", "cannot be read")
    (tmp_path / "samples.raw").write_bytes(b"\0" * 320)
    _refuses(tmp_path / "samples.raw", "cannot be read as audio")
    soundfile.write(tmp_path / "empty.wav", wave[:0], 16000)
    _refuses(tmp_path / "empty.wav", "no samples")
    soundfile.write(tmp_path / "rate.flac", wave, 8000)
    _refuses(tmp_path / "rate.flac", "8000 Hz")
    soundfile.write(tmp_path / "stereo.flac", np.stack([wave, wave], axis=1), 16000)
    _refuses(tmp_path / "stereo.flac", "2 channels")
    wave[77] = np.nan
    soundfile.write(tmp_path / "nan.wav", wave, 16000, subtype="FLOAT")
    _refuses(tmp_path / "nan.wav", "NaN")


def test_a_truncated_flac_is_noticed(tmp_path, waveform_maker):
    soundfile.write(tmp_path / "whole.flac", waveform_maker(64000), 16000)
    whole = (tmp_path / "whole.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="truncated|cannot be read"):
        read_waveform("cut", tmp_path / "cut.flac", 16000)


def test_a_flac_that_does_not_tell_its_length_is_read_whole(tmp_path, waveform_maker):
    soundfile.write(tmp_path / "a.flac", waveform_maker(6400), 16000)
    whole = read_waveform("a", tmp_path / "a.flac", 16000)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] &= 0xF0  # the 36 bits of STREAMINFO's total samples, as of one that was written to a pipe
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    np.testing.assert_array_equal(read_waveform("a", tmp_path / "a.flac", 16000), whole)


def test_a_command_in_wav_scp_is_not_run(tmp_path):
    _refuses(f"touch {tmp_path}/made |", "not run")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("rate", [8000, 44100])
def test_another_rate_is_resampled_when_asked(tmp_path, rate):
    t = np.arange(rate) / rate
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * t), rate, subtype="FLOAT")
    wave = read_waveform("a", tmp_path / "a.wav", 16000, resample=True)
    assert len(wave) == 16000
    inner = slice(800, -800)  # the filter's transients are at the ends
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(wave[inner], expected[inner], atol=1e-4)


def test_a_channel_of_several_is_taken_when_asked(tmp_path, waveform_maker):
    left, right = waveform_maker(400, 1), waveform_maker(400, 2)
    soundfile.write(tmp_path / "two.wav", np.stack([left, right], axis=1), 16000, subtype="DOUBLE")
    np.testing.assert_array_equal(read_waveform("a", tmp_path / "two.wav", 16000, channel=1), right)
    with pytest.raises(UserError, match="no channel 2: it has 2"):
        read_waveform("a", tmp_path / "two.wav", 16000, channel=2)
