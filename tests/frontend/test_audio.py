"""An utterance that cannot be used is named with its file and what is wrong."""

import numpy as np
import pytest
import soundfile

from steps.frontend.audio import read_waveform
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
    _refuses(tmp_path / "zero.flac", "cannot be read")
    (tmp_path / "text.flac").write_text("not audio at all\n" * 40)
    _refuses(tmp_path / "text.flac", "cannot be read")
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


def test_a_command_in_wav_scp_is_not_run(tmp_path):
    _refuses(f"touch {tmp_path}/made |", "not run")
    assert not (tmp_path / "made").exists()
