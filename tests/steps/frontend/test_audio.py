"""An utterance that cannot be used is named with its file and what is wrong."""

import numpy as np
import pytest
import soundfile

from steps.frontend.processing.audio import read_wav_scp, read_waveform
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


FORMS = [
    ("wav", "WAV", "PCM_16"), ("flac", "FLAC", "PCM_16"), ("ogg", "OGG", "VORBIS"), ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"), ("sph", "NIST", "PCM_16"),
]  # fmt: skip


@pytest.mark.parametrize(("ending", "form", "subtype"), FORMS)
def test_a_segment_is_what_stands_there_in_the_whole_recording(tmp_path, waveform_maker, ending, form, subtype):
    path = tmp_path / f"rec1.{ending}"
    soundfile.write(path, waveform_maker(48000), 16000, format=form, subtype=subtype)
    whole = read_waveform("rec1", path, 16000)
    (tmp_path / "wav.scp").write_text(f"rec1 {path}\n")
    (tmp_path / "segments").write_text("a rec1 0.1875 1.5\nb rec1 1.5 -1\nc rec1 0 0.5\n")
    wavs = read_wav_scp(tmp_path / "wav.scp")
    for utt, cut in (("a", slice(3000, 24000)), ("b", slice(24000, None)), ("c", slice(0, 8000))):
        # exactly, but for libmpg123, which rounds by where a call begins
        np.testing.assert_allclose(
            read_waveform(utt, wavs[utt], 16000), whole[cut], rtol=0, atol=1e-7 * (form == "MP3")
        )
    assert "1.5 s to its end" in str(wavs["b"])
    (tmp_path / "segments").write_text("a rec1 2 9\n")
    with pytest.raises(UserError, match=r"a \(.*2 s to 9 s\): the recording has only 3\.\d\d s"):
        read_waveform("a", read_wav_scp(tmp_path / "wav.scp")["a"], 16000)


def test_segments_of_a_command_take_one_run_of_it(tmp_path, waveform_maker):
    soundfile.write(tmp_path / "a.wav", waveform_maker(32000), 16000)
    (tmp_path / "wav.scp").write_text(f"rec1 echo run >> {tmp_path}/ran; cat {tmp_path}/a.wav |\n")
    (tmp_path / "segments").write_text("a rec1 0 1\nb rec1 1 2\n")
    with pytest.raises(UserError, match="line 1: rec1: a command"):
        read_wav_scp(tmp_path / "wav.scp")
    wavs = read_wav_scp(tmp_path / "wav.scp", allow_pipes=True)
    both = np.concatenate([read_waveform(utt, wavs[utt], 16000) for utt in wavs])
    np.testing.assert_array_equal(both, read_waveform("a", tmp_path / "a.wav", 16000))
    assert (tmp_path / "ran").read_text() == "run\n"


def test_the_channel_of_a_recording_is_that_of_reco2file_and_channel(tmp_path, waveform_maker):
    left, right = waveform_maker(400, 1), waveform_maker(400, 2)
    soundfile.write(tmp_path / "two.wav", np.stack([left, right], axis=1), 16000, subtype="DOUBLE")
    soundfile.write(tmp_path / "one.wav", right, 16000, subtype="DOUBLE")
    (tmp_path / "wav.scp").write_text(f"c-A {tmp_path}/two.wav\nc-B {tmp_path}/two.wav\nd-B {tmp_path}/one.wav\n")
    (tmp_path / "reco2file_and_channel").write_text("c-A c A\nc-B c B\nd-B d B\n")
    wavs = read_wav_scp(tmp_path / "wav.scp")
    for utt, wanted in (("c-A", left), ("c-B", right), ("d-B", right)):
        np.testing.assert_array_equal(read_waveform(utt, wavs[utt], 16000), wanted)
        if utt != "d-B":
            np.testing.assert_array_equal(read_waveform(utt, wavs[utt], 16000, channel=0), wanted)
