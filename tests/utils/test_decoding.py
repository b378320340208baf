"""All samples that a file holds are decoded; where sound is missing, it is refused; what else lies in it is refused or
noted."""

import io
import os
import socket
import struct
import threading

import av
import numpy as np
import pytest
import soundfile

from utils import audio
from utils.audio import Command, decoding, flac, mpeg
from utils.cli import UserError

RATE, SAMPLES = 16000, 24000
SUBTYPES = {
    "WAV": ("PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32", "NMS_ADPCM_32"),
    "WAVEX": ("PCM_16", "FLOAT"), "RF64": ("PCM_16", "FLOAT"), "W64": ("PCM_16", "FLOAT", "IMA_ADPCM"), "VOC": ("PCM_16", "PCM_U8"),
    "AIFF": ("PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM"), "AU": ("PCM_16", "FLOAT", "ULAW", "G721_32"), "NIST": ("PCM_16", "ULAW"),
    "CAF": ("PCM_16", "FLOAT", "ALAC_16"), "FLAC": ("PCM_16", "PCM_24"), "OGG": ("VORBIS", "OPUS"), "MP3": ("MPEG_LAYER_III",),
}  # fmt: skip
KINDS = [(form, subtype) for form, subtypes in SUBTYPES.items() for subtype in subtypes]


@pytest.fixture(scope="module")
def speech():
    """(samples,): a voice-like buzz with noise, so that coders of variable rate vary."""
    t = np.arange(SAMPLES) / RATE
    noise = np.random.default_rng(1).standard_normal(SAMPLES)
    voice = np.sin(2 * np.pi * np.cumsum(120 + 40 * np.sin(4.4 * t)) / RATE * np.arange(1, 9)[:, None]).sum(axis=0)
    return 0.03 * (voice * (0.55 + 0.45 * np.sin(19 * t)) + noise * (t > 0.8))


def encoded(samples, form, subtype=None, **options):
    out = io.BytesIO()
    soundfile.write(out, samples, RATE, format=form, subtype=subtype, **options)
    return out.getvalue()


def put(data, at, new):
    return data[:at] + new + data[at + len(new) :]


@pytest.fixture
def read(tmp_path):
    """(samples (n,), notes) of a file of these bytes."""

    def read_bytes(data, strict=True):
        (tmp_path / "a").write_bytes(data)
        with audio.open_recording(tmp_path / "a", "u", strict) as recording:
            blocks = list(recording.blocks)
            if recording.samples is not None:
                assert recording.samples == sum(map(len, blocks))
        return np.concatenate(blocks)[:, 0], recording.notes

    return read_bytes


def refusal(read, data, strict=True):
    with pytest.raises(UserError) as refused:
        read(data, strict)
    assert str(refused.value).startswith("u: ")
    return str(refused.value)[3:]


@pytest.mark.parametrize(("form", "subtype"), KINDS)
def test_a_file_that_is_cut_anywhere_is_refused(form, subtype, speech, read, tmp_path):
    whole = encoded(speech, form, subtype)
    samples, notes = read(whole)
    assert SAMPLES <= len(samples) <= SAMPLES + 1152 and not notes
    end = len(whole) - (
        form == "VOC" or subtype in ("GSM610", "ALAC_16")
    )  # a mark or a byte that fills, after the sound
    for size in (end // 3, end // 2, end - 3, end - 1):
        said = refusal(read, whole[:size])
        assert said.startswith(("truncated", "damaged", "cannot be read as audio")), (size, said)
        assert refusal(read, whole[:size], strict=False) == said
    (tmp_path / "b").write_bytes(whole[: end // 2])
    with (
        pytest.raises(UserError, match=r"^u: (truncated|cannot be read as audio)"),
        audio.open_recording(Command(f"cat {tmp_path}/b"), "u") as recording,
    ):
        list(recording.blocks)
    with pytest.raises(UserError, match="^u: (truncated|cannot be read as audio)"):
        audio.seconds_of(tmp_path / "b", "u")


@pytest.mark.parametrize(("form", "subtype"), KINDS)
def test_what_follows_the_sound(form, subtype, speech, read):
    """Tags and zeros are nothing. Another file behind is decoded, or it and what is no sound are refused, or noted."""
    whole = encoded(speech, form, subtype)
    samples, _ = read(whole)
    for behind in (b"TAG" + 125 * b"x",) + (() if (form, subtype) == ("VOC", "PCM_U8") else (bytes(100),)):
        found = read(whole + behind)[0]
        np.testing.assert_array_equal(found[:SAMPLES], samples[:SAMPLES])
        assert len(found) == len(samples)
    junk = np.random.default_rng(0).bytes(777)
    assert refusal(read, whole + junk)
    if form != "VOC":
        found, notes = read(whole + junk, strict=False)
        assert len(found) == len(samples) and len(notes) == 1, notes
    if form in ("FLAC", "OGG", "MP3"):
        joined, notes = read(whole + whole)
        np.testing.assert_array_equal(joined, np.concatenate([samples, samples]))
        assert not notes
    else:
        assert refusal(read, whole + whole)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
def test_a_header_whose_length_was_never_written(subtype, speech, read):
    """As programs leave it that write to a pipe, or are killed."""
    for form, order, most in (("WAV", "little", 0xFFFFFFFF), ("AIFF", "big", 0xFFFFFFFF), ("AU", "big", 0xFFFFFFFF),
                              ("RF64", "little", 2**64 - 1), ("W64", "little", 2**64 - 1), ("CAF", "big", 2**64 - 1)):  # fmt: skip
        whole = encoded(speech, form, subtype)
        samples, _ = read(whole)
        width = 8 if most > 0xFFFFFFFF else 4
        marker, behind = {"AU": (b".snd", 8), "AIFF": (b"SSND", 4), "RF64": (b"ds64", 16), "W64": (b"data", 16)}.get(
            form, (b"data", 4)
        )
        at = whole.index(marker) + behind
        for size in (0, most) + ((0x7FFFFFFF, 0x80000000) if width == 4 and form != "AIFF" else ()):
            lying = put(whole, at, size.to_bytes(width, order))
            if form == "AIFF":
                lying = put(lying, whole.index(b"COMM") + 10, bytes(4))
            np.testing.assert_array_equal(read(lying)[0], samples, err_msg=f"{form} {size:#x}")
            if subtype != "ULAW":
                assert "within a sample" in refusal(read, lying[:-1])
        lying = put(whole, at, (1024).to_bytes(width, order))
        if form != "AIFF":
            assert "follow its sound" in refusal(read, lying)
            assert len(read(lying, strict=False)[0]) <= 1024
        else:  # which tells of its samples twice
            assert "its header is wrong" in refusal(read, lying)


def test_sphere(speech, read):
    whole = encoded(speech, "NIST")
    for count, told in ((b"0    ", "does not tell"), (b"99999", "truncated"), (b"100  ", "follow its sound")):
        assert told in refusal(read, whole.replace(b"-i 24000", b"-i " + count))
    assert "sph2pipe" in refusal(read, whole.replace(b"-s3 pcm", b"-s26 pcm,embedded-shorten-v2.00"))


def test_flac_whose_total_is_wrong(speech, read):
    whole = encoded(speech, "FLAC")
    samples, _ = read(whole)
    total = lambda count: put(whole, 18, flac.with_total(whole, count))
    for count in (0, 100, SAMPLES - 1):
        np.testing.assert_array_equal(read(total(count))[0], samples)
    for count in (SAMPLES + 1, 2**36 - 1):
        assert f"promises {count} samples, {SAMPLES} are there" in refusal(read, total(count))
    assert refusal(read, total(0)[:-1]).startswith("truncated")
    other = io.BytesIO()
    soundfile.write(other, speech[:4000], 8000, format="FLAC")
    assert "several recordings joined: number 2 has 8000 Hz" in refusal(read, whole + other.getvalue())


# --- MP3 --------------------------------------------------------------------------------------------------------------


def without_tag(mp3):
    (stretch,) = mpeg.walk(mp3, 0, len(mp3)).stretches
    return mp3[stretch.sound_at :]


def mp3_in_wav(mp3):
    fmt = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 4000, 1, 0, 12, 1, 2, 144, 1, 0)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(mp3)) + mp3
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_mp3(mode, speech, read, capfd):
    whole = encoded(speech, "MP3", bitrate_mode=mode, compression_level=0.8)
    bare = without_tag(whole)
    frames = mpeg.walk(bare, 0, len(bare)).stretches[0].frames
    samples, _ = read(whole)
    assert len(samples) == SAMPLES
    at = whole.index(b"Xing" if b"Xing" in whole[:99] else b"Info") + 8
    tag = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
    least = SAMPLES + 528  # what the decoder adds, less its delay
    for data, times in ((bare, 1), (tag + bare, 1), (bare + b"TAG" + bytes(125), 1), (bare + bare, 2), (put(whole, at, bytes(4)), 1),
                        (put(whole, at, (frames // 2).to_bytes(4, "big")), 1), (mp3_in_wav(bare), 1)):  # fmt: skip
        assert times * SAMPLES <= len(read(data)[0]) <= times * (SAMPLES + 2304), least
    np.testing.assert_array_equal(read(mp3_in_wav(whole))[0], samples)
    np.testing.assert_array_equal(read(whole + tag + whole)[0], np.concatenate([samples, samples]))
    assert f"promises {2 * frames} frames, {frames} are there" in refusal(
        read, put(whole, at, (2 * frames).to_bytes(4, "big"))
    )
    for data in (whole[: len(whole) // 2], bare[:-1], bare[:-50], mp3_in_wav(bare)[:-1]):
        assert refusal(read, data).startswith("truncated")
    middle = len(bare) // 2
    damaged = bare[:middle] + np.random.default_rng(0).bytes(2000) + bare[middle:]
    assert "neither frames nor tags" in refusal(read, damaged)
    found, notes = read(damaged, strict=False)
    assert len(found) > 0.9 * SAMPLES and "neither frames nor tags" in notes[0]
    assert capfd.readouterr() == ("", "")


def test_what_others_write_to_standard_error_is_kept(capfd):
    with decoding.without_chatter():
        os.write(2, b"[src/libmpg123/layer3.c:INT123_do_layer3():1774] error: part2_3_length too large\na word\n")
    assert capfd.readouterr().err == "a word\n"


# --- Ogg --------------------------------------------------------------------------------------------------------------


def ogg_crc(data):
    crc = 0
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 1 << 31 else crc << 1) & 0xFFFFFFFF
    return crc


def ogg_page(number, flags, granule, packet):
    lacing = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    head = b"OggS\0" + struct.pack("<BqIII", flags, granule, 7, number, 0) + bytes([len(lacing)]) + lacing
    return put(head + packet, 22, struct.pack("<I", ogg_crc(head + packet)))


def ogg_flac(samples):
    """Its mapping to Ogg: https://xiph.org/flac/ogg_mapping.html"""
    native = encoded(samples, "FLAC")
    stream = flac.stream_of(native)
    syncs = [at for at in range(stream.frames_at + 1, len(native)) if native[at : at + 2] == b"\xff\xf8"]
    ends = [at for at in syncs if flac.samples_until_end(stream, native[:at]) is not None] + [len(native)]
    first = b"\x7fFLAC\1\0\0\1" + native[:42]
    pages = [ogg_page(0, 2, 0, put(first, 13, b"\0")), ogg_page(1, 0, 0, b"\x84\0\0\x08" + bytes(8))]
    begin = stream.frames_at
    for number, end in enumerate(ends, 2):
        until = flac.samples_until_end(stream, native[:end])
        pages.append(ogg_page(number, 4 if end == len(native) else 0, until, native[begin:end]))
        begin = end
    return b"".join(pages)


def test_ogg_flac(read):
    noise = np.random.default_rng(0).standard_normal(9000) / 10
    whole = ogg_flac(noise)
    samples, _ = read(whole)
    np.testing.assert_allclose(samples, noise, atol=2**-15)
    np.testing.assert_array_equal(read(whole + whole)[0], np.concatenate([samples, samples]))
    for size in (len(whole) // 2, len(whole) - 1, 30):
        assert refusal(read, whole[:size], strict=False).startswith("truncated")


def ogg_begins(data):
    return [at for at in range(len(data)) if data[at : at + 5] == b"OggS\0"] + [len(data)]


def test_ogg_with_a_second_track(speech, read):
    first = encoded(speech[:8000], "OGG", "VORBIS")
    begins = ogg_begins(first)
    second = []
    for begin, end in zip(begins, begins[1:]):
        page = put(put(first[begin:end], 14, b"\1\2\3\4"), 22, bytes(4))
        second.append(put(page, 22, struct.pack("<I", ogg_crc(page))))
    both = first[: begins[1]] + second[0] + first[begins[1] :] + b"".join(second[1:])
    assert "2 audio tracks: 1, 2, where one is expected" in refusal(read, both)
    assert read(both, strict=False)[1] == ["2 audio tracks: 1, 2; the first is taken"]


def test_ogg_pages_that_are_missing(speech, read):
    whole = encoded(np.tile(speech, 4), "OGG", "VORBIS")
    begins = ogg_begins(whole)
    assert len(begins) > 5
    assert "pages are missing" in refusal(read, whole[: begins[3]] + whole[begins[4] :], strict=False)
    cut = whole[: begins[-2]]
    assert "may be cut off" in refusal(read, cut)
    assert "may be cut off" in read(cut, strict=False)[1][0]


# --- what FFmpeg decodes ----------------------------------------------------------------------------------------------


def made_by_ffmpeg(form, codec, samples, tracks=1, rate=RATE):
    out = io.BytesIO()
    with av.open(out, "w", format=form) as container:
        streams = [container.add_stream(codec, rate=rate, layout="mono") for _ in range(tracks)]
        for stream, language in zip(streams, ("eng", "ger")):
            stream.metadata["language"] = language
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None], format="fltp", layout="mono")
            frame.sample_rate = rate
            size = stream.frame_size or None
            for part in av.AudioResampler(stream.format, "mono", rate, frame_size=size).resample(frame):
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
    return out.getvalue()


@pytest.mark.parametrize(
    ("form", "codec"),
    [("adts", "aac"), ("mp4", "aac"), ("mov", "pcm_s16le"), ("matroska", "libmp3lame"), ("avi", "pcm_s16le"), ("wav", "g722"), ("tta", "tta")],
)  # fmt: skip
def test_what_ffmpeg_decodes(form, codec, speech, read):
    whole = made_by_ffmpeg(form, codec, np.tile(speech, 8))
    samples, notes = read(whole)
    assert 8 * SAMPLES <= len(samples) <= 8 * SAMPLES + 4096 and not notes
    for size in (len(whole) // 2, len(whole) * 9 // 10, *([len(whole) - 3] if form != "tta" else [])):  # it has a tag
        assert refusal(read, whole[:size], strict=False).startswith("truncated")


def test_a_second_audio_track_is_named(speech, read):
    for form, codec in (("matroska", "pcm_s16le"), ("mp4", "aac")):
        whole = made_by_ffmpeg(form, codec, speech, tracks=2)
        assert "2 audio tracks: 1 (eng), 2 (ger), where one is expected" in refusal(read, whole)
        assert read(whole, strict=False)[1] == ["2 audio tracks: 1 (eng), 2 (ger); the first is taken"]


def test_an_mp4_without_its_index(speech, read):
    whole = made_by_ffmpeg("mp4", "aac", speech)
    assert refusal(read, whole[: whole.index(b"moov") - 4]) == "truncated: its index (moov) is missing"


def test_an_mp4_whose_index_comes_last_is_no_stream(speech):
    whole = made_by_ffmpeg("mp4", "aac", np.tile(speech, 8))
    with audio.open_stream(io.BytesIO(whole), None) as recording, pytest.raises(UserError) as refused:
        list(recording.blocks)
    assert (
        str(refused.value)
        == "-: an m4a or mp4 with its index at the end, which cannot be read as it arrives; give it as a file"
    )


def test_the_reason_that_ffmpeg_gives_is_short(speech, read):
    damaged = bytearray(made_by_ffmpeg("mp4", "aac", np.tile(speech, 8)))
    damaged[20000:30000] = bytes(10000)
    said = refusal(read, bytes(damaged), strict=False)
    assert said.startswith("truncated or damaged after ")
    assert said.endswith(" s: Invalid data found when processing input"), said


# --- what is no file, and what is in it -------------------------------------------------------------------------------


def test_floats_far_beyond_full_scale(speech, read):
    for factor, decibel in ((32768, 84), (2**31, 181)):
        data = encoded(speech / np.abs(speech).max() / 2 * factor, "WAV", "FLOAT")
        assert f"a peak {decibel} dB beyond full scale" in refusal(read, data)
        assert f"a peak {decibel} dB beyond full scale" in read(data, strict=False)[1][0]
    assert not read(encoded(speech / np.abs(speech).max() * 3, "WAV", "FLOAT"))[1]  # clipping that floats were to avoid


def test_no_file_but_something_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
        for path, told in (("pipe", "a pipe, not a file"), ("socket", "a socket, not a file"), (".", "a folder"), ("", "an empty path"),
                           ("/dev/null", "a device"), ("-", "standard input is not read here"), ("gone", "no such file"),
                           ("a\0b", "null byte"), ("a" * 300, "cannot be read")):  # fmt: skip
            with pytest.raises(UserError, match=told), audio.open_recording(path, "u"):
                pass


def test_a_pipe_is_read_to_its_end(speech, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    data = encoded(speech, "WAV")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
    writer.start()
    with audio.seekable(str(tmp_path / "pipe")) as path, audio.open_recording(path) as recording:
        assert sum(map(len, recording.blocks)) == SAMPLES
    writer.join()
    with audio.seekable(str(tmp_path / "none")) as path:
        assert path == str(tmp_path / "none")
    with pytest.raises(OSError, match="kept"), audio.seekable("any"):
        raise OSError("kept")


@pytest.mark.parametrize(
    ("form", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS")]
)
def test_a_stretch_is_that_of_the_whole(form, subtype, speech, tmp_path):
    whole = encoded(np.tile(speech, 4), form, subtype)
    for data in (whole, whole + whole) if form != "WAV" else (whole,):
        (tmp_path / "a").write_bytes(data)
        with audio.open_recording(tmp_path / "a") as recording:
            samples = np.concatenate(list(recording.blocks))
        for first, last in ((0, 10), (33333, 70001), (len(samples) - 5, None), (90000, len(samples))):
            with audio.open_recording(tmp_path / "a") as recording:
                found = np.concatenate(list(recording.within(first, last)))
            np.testing.assert_allclose(found, samples[first:last], atol=1e-6)


def test_a_disk_that_fails_is_named(speech, tmp_path, monkeypatch):
    (tmp_path / "a.ogg").write_bytes(2 * encoded(speech, "OGG", "VORBIS"))
    with audio.open_recording(tmp_path / "a.ogg", "u") as recording:

        def fail(*_):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "pread", fail)
        monkeypatch.setattr(decoding.FileBytes, "__getitem__", fail)
        with pytest.raises(UserError, match="u: cannot be read: Input/output error"):
            list(recording.blocks)
