"""steps/detection: the detector applied to recordings."""

import dataclasses
import math
import threading
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from steps import score
from steps.frontend.processing.band import BandLimits
from steps.inference import windows
from steps.inference.detector import FakeSpeechDetector
from steps.inference.overview import Overview
from steps.inference.result import Below, Window
from tests import in_process
from tests.steps.inference.conftest import RATE, SETTINGS, save_training
from utils import audio
from utils.cli import UserError


def one(results):
    assert len(results) == 1
    return results[0]


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        (*SETTINGS, "frontend.standardise=false"),
        (*SETTINGS, "frontend.cmvn.scope=utterance", "frontend.cmvn.variance=true",
         "frontend.resample=true", "frontend.channel=1", "frontend.network_input.pad=repeat"),
    ],
)  # fmt: skip
def test_scores_are_those_of_score_py(tmp_path, speech, settings):
    training = save_training(tmp_path / "exp/seed1", settings)
    simple = "frontend.channel=1" not in settings
    by_windows = "frontend.standardise=false" in settings  # no utterance as a whole counts there
    data = tmp_path / "data/eval"
    data.mkdir(parents=True)
    lengths = {"a": 0.1, "b": 0.3, "c": 0.55, "long": 2.0, "longest": 6.0, "slow": 0.2}
    rates = {utt: RATE if simple or utt != "slow" else 8000 for utt in lengths}
    for number, (utt, seconds) in enumerate(lengths.items()):
        wave = speech(seconds * rates[utt] / RATE, number)
        soundfile.write(tmp_path / f"{utt}.flac", wave if simple else np.stack([0.1 * wave, wave], 1), rates[utt])
    for table, value in (("wav.scp", None), ("utt2label", "spoof"), ("utt2attack", "A01")):
        (data / table).write_text(
            "".join(f"{utt} {value or tmp_path / utt}{'' if value else '.flac'}\n" for utt in sorted(lengths))
        )
    done = in_process.call(
        score.main, "score.py", "--data-dir", tmp_path / "data", "--online", "--num-workers", 0, training, "eval"
    )
    assert done.returncode == 0, done.stderr
    wanted = {
        line.split()[0]: float(line.split()[3]) for line in (training / "scores/eval.txt").read_text().splitlines()
    }
    assert np.std(list(wanted.values())) > 0.01

    by_first = FakeSpeechDetector.load(training, pool="first")
    by_mean = FakeSpeechDetector.load(training)
    for utt in lengths:
        path = tmp_path / f"{utt}.flac"
        assert one(by_first.score_file(path)).score == pytest.approx(wanted[utt], abs=1e-4)
        result = one(by_mean.score_file(path))
        if lengths[utt] < by_mean.window_seconds:
            assert result.score == pytest.approx(wanted[utt], abs=1e-4)
        else:
            if by_windows:  # then the first window is what score.py looks at
                assert result.windows[0].score == pytest.approx(wanted[utt], abs=1e-4)
            assert result.score == pytest.approx(np.mean([w.score for w in result.windows]))


def test_windows_are_as_long_as_the_networks_input(root):
    from steps.frontend import load_conf, make_frontend

    frontend = make_frontend(load_conf(root / "conf/frontend/f0_subband.yaml"))
    samples = windows.window_samples(frontend)
    assert 599 * 130 + 864 <= samples <= 599 * 130 + 864 + 16  # the last frame's centre, half its FFT, a millisecond
    frontend = make_frontend(load_conf(root / "conf/frontend/f0_subband.yaml", ["frontend.max_samples=50000"]))
    assert windows.window_samples(frontend) == 50000


def test_cut_gives_whole_windows_that_cover_all_whatever_the_blocks():
    rng = np.random.default_rng(0)
    for total, length, hop in (
        (1000, 100, 50),
        (1000, 100, 100),
        (1013, 100, 30),
        (99, 100, 50),
        (100, 100, 1),
        (0, 9, 3),
    ):
        x = rng.standard_normal((total, 2))
        cuts = []
        for _ in range(3):
            edges = np.sort(rng.integers(0, total + 1, 20))
            cuts.append(list(windows.cut(np.split(x, edges), length, hop)))
        for cut in cuts:
            assert [begin for begin, _ in cut] == [begin for begin, _ in cuts[0]]
            covered = np.zeros(total, bool)
            for begin, window in cut:
                assert len(window) == min(length, total)
                assert np.array_equal(window, x[begin : begin + length])
                covered[begin : begin + length] = True
            assert covered.all()


def test_several_threads_and_batches_give_what_one_does(training, tmp_path, speech):
    paths = []
    for number in range(12):
        paths.append(tmp_path / f"{number}.wav")
        soundfile.write(paths[-1], speech(0.3 + 0.3 * number, number), RATE)
    detector = FakeSpeechDetector.load(training, batch_size=1)
    alone = [one(detector.score_file(path)).score for path in paths]
    barrier = threading.Barrier(4)

    def work(shift):
        barrier.wait()
        order = [(shift * 5 + i) % 12 for i in range(12)]
        return {i: one(detector.score_file(paths[i])).score for i in order}

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(work, range(4)):
            assert [found[i] for i in range(12)] == alone
    for batch_size, num_threads in ((4, 1), (5, 3), (64, 2)):
        many = FakeSpeechDetector.load(training, batch_size=batch_size, num_threads=num_threads)
        outcomes = list(many.score_files((path.name, path) for path in paths))
        assert [name for name, _ in outcomes] == [path.name for path in paths]
        assert [one(found).score for _, found in outcomes] == pytest.approx(alone, abs=1e-5)


def test_stream_is_the_file_and_does_not_wait_for_its_end(training, tmp_path, speech):
    detector = FakeSpeechDetector.load(training)
    wave = np.round(speech(3.21) * 2**15) / 2**15
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    given = 0

    def blocks():
        nonlocal given
        for begin in range(0, len(wave), 800):
            given += len(wave[begin : begin + 800])
            yield wave[begin : begin + 800, None]

    heard = []
    for said in detector.stream(audio.Recording("-", RATE, 1, blocks())):
        assert given - said.window.end * RATE < 800 + 1
        heard.append(said)
    result = one(detector.score_file(tmp_path / "a.wav"))
    assert [said.window.begin for said in heard] == [window.begin for window in result.windows]
    assert [said.window.score for said in heard] == pytest.approx([w.score for w in result.windows], abs=1e-5)
    assert (heard[-1].score, heard[-1].verdict_so_far) == (pytest.approx(result.score, abs=1e-5), result.verdict)
    for refusal, nothing in (("empty", []), ("only silence", [np.zeros((RATE, 1))])):
        with pytest.raises(UserError, match=refusal):
            list(detector.stream(audio.Recording("-", RATE, 1, iter(nothing))))


def test_memory_does_not_grow_with_length(training):
    detector = FakeSpeechDetector.load(training, hop=0.5)

    def peak(seconds):
        rng = np.random.default_rng(0)
        blocks = (0.1 * rng.standard_normal((2 * RATE, 1)) for _ in range(seconds // 2))
        tracemalloc.start()
        try:
            result = one(detector.score_recording(audio.Recording("noise", RATE, 1, blocks), overview=True))
            return tracemalloc.get_traced_memory()[1], result
        finally:
            tracemalloc.stop()

    peak(10)
    short, _ = peak(60)
    long, result = peak(360)
    assert result.seconds == 360 and len(result.windows) > 600
    assert long < 1.25 * short


def test_channels_and_rates(training, tmp_path, speech):
    left, right = speech(0.5, 1), 0.5 * speech(0.5, 2)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], 1), RATE, subtype="DOUBLE")
    alone = FakeSpeechDetector.load(training)
    want = {
        None: one(alone.score((left + right) / 2, RATE)),
        0: one(alone.score(left, RATE)),
        1: one(alone.score(right, RATE)),
    }
    mixed = one(alone.score_file(tmp_path / "stereo.wav"))
    assert (mixed.channel, mixed.score) == ("mixed", pytest.approx(want[None].score, abs=1e-5))
    assert mixed.notes[0] == "2 channels, mixed"
    each = FakeSpeechDetector.load(training, channels="each").score_file(tmp_path / "stereo.wav")
    assert [result.channel for result in each] == ["0", "1"]
    assert [result.score for result in each] == pytest.approx([want[0].score, want[1].score], abs=1e-5)
    assert FakeSpeechDetector.load(training).on("each").score_file(tmp_path / "stereo.wav") == each
    soundfile.write(tmp_path / "mute.wav", np.stack([left, 0 * left], 1), RATE, subtype="DOUBLE")
    spoken = one(alone.on("each").score_file(tmp_path / "mute.wav"))
    assert spoken.channel == "0" and "only silence in channel 1" in spoken.notes
    second = one(FakeSpeechDetector.load(training, channels=1).score_file(tmp_path / "stereo.wav"))
    assert (second.channel, second.score) == ("1", pytest.approx(want[1].score, abs=1e-5))
    detector = FakeSpeechDetector.load(training, channels=2)
    with pytest.raises(UserError, match="no channel 2"):
        detector.score_file(tmp_path / "stereo.wav")
    assert "no channel 2: the only one is scored" in one(detector.score(left, RATE)).notes
    whole = one(alone.score(np.round(left * 2**15).astype(np.int16), RATE))
    assert whole.score == pytest.approx(want[0].score, abs=1e-2)
    slow = one(alone.score(left, 48000))
    assert slow.seconds == pytest.approx(0.5 / 3, abs=1e-3) and "resampled from 48000 Hz" in slow.notes
    for rate in (999, 768001):
        with pytest.raises(UserError, match=f"its sampling rate is {rate} Hz; 1000 to 768000 Hz are taken"):
            alone.score(left, rate)
    for bad in (np.zeros((2, 2, 2)), np.array(["a"])):
        with pytest.raises(UserError, match="not numbers"):
            alone.score(bad, RATE)


def test_silence_and_digital_silence_are_not_judged(training, speech):
    detector = FakeSpeechDetector.load(training)
    for quiet in (np.zeros(RATE), 1e-5 * speech(1.0), np.full(RATE, 0.3)):
        with pytest.raises(UserError, match="only silence"):
            detector.score(quiet, RATE)
    result = one(detector.score(np.concatenate([speech(2.0), np.zeros(2 * RATE), speech(2.0, 5)]), RATE))
    silent = [w for w in result.windows if w.score is None]
    assert silent and all(w.begin >= 2 and w.end <= 4 and not w.counts for w in silent)
    assert f"{len(silent)} of {len(result.windows)} windows silent" in result.notes
    counted = [w.score for w in result.windows if w.counts]
    assert result.score == pytest.approx(np.mean(counted))
    # far beyond what was seen on dev: a score, and no verdict
    low, high = detector.decision.limits
    assert detector.decision.verdict(high + 0.1) is None and detector.decision.verdict(low - 0.1) is None
    assert detector.decision.verdict(high - 0.1) == "bonafide" and detector.decision.verdict(low + 0.1) == "spoof"
    dev = detector.decision.calibration.trained_on["llr_range"]
    assert (low, high) == pytest.approx((2 * dev[0] - dev[1], 2 * dev[1] - dev[0]))


def test_pools_and_lowest_stretches(training, speech):
    wave = speech(4.0, 7)
    mean = one(FakeSpeechDetector.load(training).score(wave, RATE))
    low = one(FakeSpeechDetector.load(training, pool="min").score(wave, RATE))
    scores = [window.score for window in mean.windows]
    assert (mean.score, low.score) == (pytest.approx(np.mean(scores)), min(scores))
    assert mean.llr == pytest.approx(np.mean([window.llr for window in mean.windows]))
    found = mean.lowest()
    assert len(found) == 3 and found[0].score == min(scores)
    assert [w.score for w in found] == sorted(w.score for w in found)
    spans = sorted((w.begin, w.end) for w in found)
    assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:]))


@pytest.fixture
def partial(training, speech):
    """detector, wave: its mean score is above the threshold, its windows around 10 and 20 s are below."""
    wave = np.random.default_rng(0).normal(0, 0.2, 30 * RATE)
    for begin in (10, 20):
        wave[begin * RATE : (begin + 1) * RATE] = speech(1.0, begin)
    scored = one(FakeSpeechDetector.load(training).score(wave, RATE))
    llrs = np.array([window.llr for window in scored.windows])
    where = np.array([any(w.end > begin and w.begin < begin + 1 for begin in (10, 20)) for w in scored.windows])
    sign = np.sign(
        llrs[~where].mean() - llrs[where].mean()
    )  # the network is random: what it takes speech for is chance
    detector = FakeSpeechDetector.load(training, threshold=0.0)
    made = detector.decision.calibration
    middle = (sign * llrs[where]).mean() / 2 + (sign * llrs[~where]).mean() / 2
    made = dataclasses.replace(
        made, weight=sign * made.weight, offset=sign * made.offset - middle, trained_on={**made.trained_on, "llr_range": [-9, 9]}
    )  # fmt: skip
    detector.decision = dataclasses.replace(detector.decision, calibration=made)
    return detector, wave


def test_a_recording_with_a_low_stretch_is_not_bona_fide(partial):
    detector, wave = partial
    result = one(detector.score(wave, RATE))
    low = [w for w in result.windows if w.llr <= 0]
    assert result.llr > 0 and result.verdict == "partial" and [w for w in result.windows if w.below] == low
    assert (result.below.windows, result.below.of) == (len(low), len(result.windows)) and len(low) > 2
    covered = lambda t: any(begin <= t < end for begin, end in result.below.stretches)
    for t in np.arange(0, 30, 0.05):
        assert covered(t) == any(w.begin <= t < w.end for w in low)
    assert len(result.below.stretches) == 2 and covered(10.5) and covered(20.5) and not covered(15)
    (a, b), (c, d) = result.below.stretches
    assert (
        result.below_in_words
        == f"{len(low)} of {len(result.windows)} windows below the threshold: {a:.1f}-{b:.1f} s, {c:.1f}-{d:.1f} s"
    )
    # by the mean alone it would be
    detector._pool = "mean"
    by_mean = one(detector.score(wave, RATE))
    assert (by_mean.verdict, by_mean.below) == ("bonafide", result.below)
    assert one(detector.score(wave[: 5 * RATE], RATE)).below_in_words.startswith("0 of ")
    # a window alone is the recording
    detector._pool = "every"
    alone = one(detector.score(wave[round(10.2 * RATE) : round(10.7 * RATE)], RATE))
    assert (alone.verdict, alone.below.windows, alone.below_in_words) == ("spoof", 1, "")
    heard = list(detector.stream(audio.of_waveform("x", wave, RATE)))
    assert (heard[-1].verdict_so_far, heard[-1].below_so_far) == ("partial", len(low))
    assert {said.verdict_so_far for said in heard if said.window.end < 10} == {"bonafide"}


def test_a_window_far_below_all_of_dev_does_not_count_but_is_below(partial):
    detector, wave = partial
    result = one(detector.score(wave, RATE))
    made, low = detector.decision.calibration, sorted(window.llr for window in result.windows)[1]
    of_dev = {**made.trained_on, "llr_range": [0.4 * low, -0.2 * low]}  # it holds from `low` on
    detector.decision = dataclasses.replace(detector.decision, calibration=dataclasses.replace(made, trained_on=of_dev))
    again = one(detector.score(wave, RATE))
    assert sum(not window.counts for window in again.windows) >= 1
    assert (again.verdict, again.below) == ("partial", result.below)


def test_what_is_not_judged_has_no_windows_below_the_threshold(partial):
    detector, wave = partial
    with detector._frontend() as frontend:
        bands = len(frontend.levels(wave[:RATE]))
    detector.band = BandLimits(tuple(float(hz) for hz in range(100, 100 + bands)), (99.0,) * bands)
    result = one(detector.score(wave, RATE))
    assert result.not_judged and (result.verdict, result.below, result.below_in_words) == (None, None, "")
    assert {window.below for window in result.windows} == {None} and result.llr is not None
    said = list(detector.stream(audio.of_waveform("x", wave, RATE)))[-1]
    assert (said.verdict, said.verdict_so_far, said.below_so_far, said.window.below) == (None,) * 4


def test_embeddings_are_those_of_the_windows_and_their_mean_the_recordings(training, tmp_path, speech):
    detector = FakeSpeechDetector.load(training, batch_size=3)
    length = round(detector.window_seconds * RATE)
    long = np.concatenate([speech(detector.window_seconds, seed) for seed in range(2)])[: 2 * length]
    half = length - detector._hop  # the second window begins there
    windows_by_hand = [long[begin : begin + length] for begin in range(0, 2 * length - half, detector._hop)]
    for name, wave in (("short", long[:length]), ("long", long)):
        soundfile.write(tmp_path / f"{name}.wav", wave, RATE, subtype="DOUBLE")
    files = [(name, tmp_path / f"{name}.wav") for name in ("short", "long")]
    with_embeddings = dict(detector.score_files(files, embeddings=True))
    without = dict(detector.score_files(files))
    inputs = [detector._looked_at(window, "x").features for window in windows_by_hand]
    with torch.inference_mode():
        embeddings = detector._back_end._network.embed(torch.from_numpy(np.stack(inputs))).numpy()
    assert embeddings.std(axis=0).max() > 1e-3
    (short,), (long_one,) = with_embeddings["short"], with_embeddings["long"]
    assert len(long_one.windows) == len(windows_by_hand)
    assert short.embedding == pytest.approx(embeddings[0], abs=1e-4)
    assert long_one.embedding == pytest.approx(embeddings.mean(axis=0), abs=1e-4)
    for name, (one,) in without.items():
        assert one.embedding is None and one.score == pytest.approx(with_embeddings[name][0].score, abs=1e-5)


@pytest.mark.parametrize(
    "edges, of, words",
    [
        ([(78.7, 83.6), (81.1, 86.0), (150.3, 155.2)], 162, "3 of 3 windows below the threshold: 1:18-1:26, 2:30-2:36"),
        ([(5.0, 10.0), (10.0, 15.0)], 59, "2 of 2 windows below the threshold: 5.0-15.0 s"),
        ([(i, i + 0.5) for i in range(3600, 3609)], 7200, "9 of 9 windows below the threshold: 1:00:00-1:00:01, 1:00:01-1:00:02, "
         "1:00:02-1:00:03, 1:00:03-1:00:04, 1:00:04-1:00:05 and 4 more"),
    ],
)  # fmt: skip
def test_places_in_words(edges, of, words):
    assert Below.among([Window(*edge, -1.0, -1.0, True, True) for edge in edges]).words(of) == words


@pytest.mark.parametrize(
    ("corpus", "is_mini"),
    [
        ({"name": "mini corpus"}, True),
        ({"name": "mini corpus, spoofed in part"}, True),
        ({"name": "mini corpus as ASVspoof 5"}, True),
        ({"name": "mini corpus + PartialSpoof", "combined_from": []}, False),
        ({"name": "PartialSpoof"}, False),
        ({}, False),
    ],
)
def test_every_form_of_the_mini_corpus_is_known_as_one(training, monkeypatch, corpus, is_mini):
    """Verdicts of such detectors are said to be no evidence."""
    detector = FakeSpeechDetector.load(training)
    monkeypatch.setattr(detector, "corpus", corpus)
    assert detector.of_mini_corpus == detector.about()["mini_corpus"] == is_mini


def test_load_says_what_is_wrong(training, tmp_path):
    (tmp_path / "seed1").mkdir()
    soundfile.write(tmp_path / "a.wav", np.zeros(9), RATE)
    cases = {
        "a.wav: not a training: give its folder": {"model": tmp_path / "a.wav"},
        "train it first": {"model": tmp_path / "seed1"},
        "give one of its seeds: seed1": {"model": training.parent},
        "no such file": {"model": tmp_path / "none.pt"},
        "pool: 'max'": {"model": training, "pool": "max"},
        "hop: 99": {"model": training, "hop": 99},
        "hop: nan": {"model": training, "hop": math.nan},
        "hop: inf": {"model": training, "hop": math.inf},
        "channels: 'left'": {"model": training, "channels": "left"},
        "prior 1: ": {"model": training, "prior": 1},
        "batch_size 0": {"model": training, "batch_size": 0},
    }
    for message, arguments in cases.items():
        with pytest.raises(UserError, match=message):
            FakeSpeechDetector.load(**arguments)
    assert one(
        FakeSpeechDetector.load(training / "final.pt").score(np.random.default_rng(0).standard_normal(9000), RATE)
    )


def test_a_flac_that_was_written_to_a_pipe(training, tmp_path, speech):
    """It does not tell how long it is."""
    soundfile.write(tmp_path / "a.flac", speech(3.3), RATE)
    detector = FakeSpeechDetector.load(training)
    wanted = one(detector.score_file(tmp_path / "a.flac", "a"))
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] &= 0xF0  # the 36 bits of STREAMINFO's total samples
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    with audio.open_recording(tmp_path / "a.flac") as recording:
        assert recording.promised_seconds == 3.3  # by its last frame
    assert one(detector.score_file(tmp_path / "a.flac", "a")) == wanted


def test_formats_of_ffmpeg(training, tmp_path, speech):
    wave = speech(2.0, 4)
    detector = FakeSpeechDetector.load(training)
    for name, codec, rate in (("a.m4a", "aac", RATE), ("b.webm", "libopus", 48000), ("c.mkv", "pcm_s16le", RATE)):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream(codec, rate=rate, layout="mono")
            samples = np.repeat(wave, rate // RATE).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate = rate
            for part in av.AudioResampler(stream.format, "mono", rate, frame_size=stream.frame_size or None).resample(
                frame
            ):
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
        found = one(detector.score_file(tmp_path / name))
        assert found.seconds == pytest.approx(2.0, abs=0.15)  # AAC pads to its frames
    assert found.score == pytest.approx(one(detector.score(wave, RATE)).score, abs=0.05)  # 16 bits
    data = (tmp_path / "c.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 3])
    with pytest.raises(UserError, match="truncated"):
        detector.score_file(tmp_path / "cut.mkv")
    # a playlist is not followed
    (tmp_path / "list.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{tmp_path / 'a.m4a'}\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "list.wav").write_text(f"ffconcat version 1.0\nfile '{tmp_path / 'a.m4a'}'\n")
    for name in ("list.m3u8", "list.wav"):
        with pytest.raises(UserError, match="no sound in it that libsndfile or FFmpeg can read"):
            detector.score_file(tmp_path / name)


def test_picture_and_its_overview(training, tmp_path, speech):
    from matplotlib.image import imread

    from steps.inference import picture

    wave = speech(100.0, 1)
    overview = Overview(RATE)
    for begin in range(0, len(wave), 12345):
        overview.add(wave[begin : begin + 12345])
    low, high, power = overview.columns()
    per = round(overview.column_seconds * RATE)
    assert len(low) == len(high) == len(power) <= 2401 and per * (len(low) - 1) <= len(wave) <= per * len(low)
    for i in (0, 7, len(low) - 2):
        own = wave[i * per : (i + 1) * per].astype(np.float32)
        assert (low[i], high[i]) == (own.min(), own.max())
    assert power.shape[1] == 257 and np.isfinite(power).all()

    detector = FakeSpeechDetector.load(training)
    soundfile.write(tmp_path / "$x^ 漢.wav", speech(0.01), RATE)
    soundfile.write(tmp_path / "long.wav", wave[: 40 * RATE], RATE)
    for name in ("$x^ 漢.wav", "long.wav"):
        result = one(detector.score_file(tmp_path / name, overview=True))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            picture.draw(Path(tmp_path) / "p" / f"{name}.png", result, detector.about())
        pixels = imread(tmp_path / "p" / f"{name}.png")
        assert pixels.shape[:2] == (768, 1440) and pixels[:, :, :3].std() > 0.05
    result = dataclasses.replace(
        result, notes=("2 channels, mixed", *(f"{n} things to be said of this recording" for n in range(9)))
    )
    picture.draw(tmp_path / "notes.png", result, detector.about())
    right = imread(tmp_path / "notes.png")[-80:, -8:, :3]
    assert (right == 1).all(), "the notes run over the picture's edge"
