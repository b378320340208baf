"""utils/segments.py: segments and reco2file_and_channel are read as Kaldi reads them, or refused with their line."""

from __future__ import annotations

import re

import numpy as np
import pytest
import soundfile

from utils.audio import open_recording
from utils.cli import UserError
from utils.segments import Stretch, Utterances, durations, parse_segment, parse_side
from utils.tables import read_big_map


def test_what_lines_say():
    assert parse_segment("rec1 0.5 2") == ("rec1", 0.5, 2.0)
    assert parse_segment("rec1 0.5 -1") == ("rec1", 0.5, None)
    assert [parse_side(f"rec {side}") for side in "AB12"] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rec1 0.5", "RECORDING START END"),
        ("rec1 0.5 1 2", "RECORDING START END"),
        ("rec1 a 1", "RECORDING START END"),
        ("rec1 nan 1", "RECORDING START END"),
        ("rec1 0 inf", "RECORDING START END"),
        ("rec1 -1 1", "starts before"),
        ("rec1 1 0.5", "ends before"),
        ("rec1 1 1", "ends before"),
    ],
)
def test_a_wrong_segment_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_segment(text)


@pytest.mark.parametrize("text", ["rec", "rec C", "rec 0", "rec a", "rec A B"])
def test_a_wrong_side_is_refused(text):
    with pytest.raises(ValueError, match="FILE A"):
        parse_side(text)


def test_samples_of_a_stretch_are_those_of_extract_segments():
    """Kaldi cuts fractions of a sample off, lets a segment overshoot by less than half a second, and knows END -1."""
    assert Stretch("a.wav", 1.0, 2.5).span("u", 16000, 80000) == (16000, 40000)
    assert Stretch("a.wav", 0.00009, 2.00009).span("u", 16000, 80000) == (1, 32001)
    assert Stretch("a.wav", 1.0, 5.4999).span("u", 16000, 80000) == (16000, 80000)
    assert Stretch("a.wav", 1.0, None).span("u", 16000, 80000) == (16000, 80000)
    for begin, end in ((1.0, 5.5), (5.0, 5.2), (5.0, None)):
        with pytest.raises(UserError, match=r"^u: the recording has only 5\.00 s.*segments"):
            Stretch("a.wav", begin, end).span("u", 16000, 80000)
    with pytest.raises(UserError, match="no samples"):
        Stretch("a.wav", 1.0, 1.00001).span("u", 16000, 80000)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_stretch_is_read_as_a_recording_of_its_own(tmp_path, name, waveform_maker):
    stereo = np.stack([waveform_maker(80000, 1), waveform_maker(80000, 2)], axis=1)
    soundfile.write(tmp_path / name, stereo, 16000)
    soundfile.write(tmp_path / "mono.wav", stereo[:, 0], 16000)

    def read(*stretch, file=name):
        with open_recording(Stretch(tmp_path / file, *stretch), strict=True) as recording:
            return np.concatenate(list(recording.blocks))

    whole = read()
    for begin, end in ((1.0, 2.5), (0.3, 4.4), (4.0, None), (2.0, 5.2)):
        span = slice(int(begin * 16000), None if end is None else int(end * 16000))
        np.testing.assert_allclose(read(begin, end), whole[span], atol=1e-6)
    np.testing.assert_array_equal(read(1.0, 2.0, 1), read(1.0, 2.0)[:, 1:])
    assert read(1.0, 2.0, 1, file="mono.wav").shape == (16000, 1), "a side counts where there are several channels"
    for begin, end in ((1.0, 5.6), (6.0, 7.0)):
        with pytest.raises(UserError, match=r"the recording has only 5\.\d\d s"):
            read(begin, end)


@pytest.mark.parametrize("block_seconds", [0.5, 60.0])
def test_what_is_wrong_beside_a_stretch_does_not_matter_and_within_it_is_said(tmp_path, waveform_maker, block_seconds):
    samples = waveform_maker(80000, 1).astype(np.float32)
    samples[32000:48000] *= 1e5
    samples[64000] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "more.wav", samples[:32000], 16000, subtype="FLOAT")
    with (tmp_path / "more.wav").open("ab") as file:
        file.write(b"more of it" * 100)

    def notes(name, begin, end, strict=False):
        with open_recording(Stretch(tmp_path / name, begin, end), "u", strict, block_seconds) as recording:
            assert sum(map(len, recording.blocks)) == (end - begin) * 16000
            return recording.notes

    assert (
        notes("a.wav", 0.5, 1.5) == notes("a.wav", 0.5, 1.5, strict=True) == notes("a.wav", 3, 3.5, strict=True) == []
    )
    assert "dB beyond full scale" in notes("a.wav", 1.5, 2.5)[0]
    with pytest.raises(UserError, match="dB beyond full scale"):
        notes("a.wav", 1.5, 2.5, strict=True)
    with pytest.raises(UserError, match=r"the first at 4\.000 s of the recording"):
        notes("a.wav", 3.5, 4.5)
    assert notes("more.wav", 0.5, 1) == ["1000 bytes follow its sound"]
    with pytest.raises(UserError, match="1000 bytes follow its sound"):
        notes("more.wav", 0.5, 1, strict=True)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "wav.scp").write_text("rec1 /a/1.wav\nrec2 /a/2.wav\n")
    (tmp_path / "segments").write_text("rec1-a rec1 0 1.5\nrec1-b rec1 1.5 -1\nrec2-a rec2 0 2\n")
    (tmp_path / "reco2file_and_channel").write_text("rec1 one A\nrec2 two B\n")
    return tmp_path


def utterances(data):
    return Utterances(data / "wav.scp", read_big_map(data / "wav.scp"))


def test_utterances_are_segments_where_there_are_some(data):
    found = utterances(data)
    assert list(found.keys) == ["rec1-a", "rec1-b", "rec2-a"] and found.place == data / "segments"
    assert "rec1-a" in found and "rec1" not in found and found.recording_of("rec2-a") == "rec2"
    assert found.stretch_of("rec1-b", "x") == Stretch("x", 1.5, None, 0)
    (data / "segments").unlink()
    found = utterances(data)
    assert list(found.keys) == ["rec1", "rec2"] and found.place == data / "wav.scp"
    assert found.stretch_of("rec2", "x") == Stretch("x", side=1)
    (data / "reco2file_and_channel").unlink()
    assert utterances(data).stretch_of("rec2", "x") == "x"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("segments", "rec1-a rec1 0 1.5\nrec2-a rec2 2 1\n", "line 2: rec2-a: 'rec2 2 1' ends before it begins"),
        ("segments", "rec1-a rec1 0 1\nrec2-a rec3 0 1\n", "line 2: rec2-a: its recording rec3 is not in"),
        ("segments", "rec1-a rec1 0 1.5\nrec1-b rec1 1.5 3\n", r"1 of the 2 recordings .* \(first: rec2\)"),
        ("segments", "rec1-a rec1 0 1.5\nrec1-a rec1 1.5 3\n", "line 2: rec1-a stands there twice"),
        ("reco2file_and_channel", "rec1 one A\n", r"1 of the 2 recordings of .* are not in it \(first: rec2\)"),
        ("reco2file_and_channel", "rec1 one A\nrec2 two C\n", "line 2: rec2: 'two C' is not `FILE A`"),
    ],
)
def test_tables_that_do_not_fit_are_named(data, name, text, message):
    (data / name).write_text(text)
    with pytest.raises(UserError, match=f"^{re.escape(str(data / name))}: {message}"):
        utterances(data)


def test_durations(data):
    (data / "segments").write_text("rec1-a rec1 0.5 1.5\nrec2-a rec2 0 2\n")
    assert dict(durations(data)) == {"rec1-a": 1.0, "rec2-a": 2.0}
    (data / "utt2dur").write_text("rec1-a 0.99\nrec2-a 2\n")
    assert dict(durations(data)) == {"rec1-a": 0.99, "rec2-a": 2.0}
    (data / "utt2dur").unlink()
    (data / "segments").write_text("rec1-a rec1 0.5 -1\n")
    with pytest.raises(UserError, match="segments: rec1-a: .*utt2dur"):
        list(durations(data))
    (data / "segments").unlink()
    with pytest.raises(UserError, match="utt2dur: no such file"):
        list(durations(data))
