"""steps/detect.py: the command line, its outputs, and what a recording that cannot be scored costs."""

import io
import json
import os
import sys
import threading
import types

import numpy as np
import pytest
import soundfile

from steps import detect
from steps.evaluation.fitted_scores import UNUSABLE, calibrate_training
from steps.inference.calibration import calibration_of
from tests import in_process
from tests.steps.inference.conftest import RATE, save_dev_scores, save_training


def run(*arguments):
    return in_process.call(detect.main, "detect.py", "--num-threads", 1, *arguments)


def test_pictures_that_cannot_be_written_are_refused_before_anything_is_scored(training, tmp_path, speech):
    soundfile.write(tmp_path / "a.wav", speech(0.8, 1), RATE)
    for place in (tmp_path / "a.wav", tmp_path / "a.wav" / "png", "/proc/none"):
        done = run("--model", training, "--png", place, tmp_path / "a.wav")
        assert (done.returncode, done.stdout) == (1, ""), done
        assert done.stderr.startswith(f"detect.py: error: --png {place}: no folder can be made there: "), done.stderr
        assert done.stderr.endswith("; choose another folder\n") and done.stderr.count("\n") == 1


@pytest.fixture
def recordings(tmp_path, speech):
    """Folder with good recordings under awkward names, and bad ones of every kind; names of both."""
    folder = tmp_path / "in"
    (folder / "deep er").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    good = ["a.wav", "b.mp3", "c d'\".flac", "deep er/ü 漢.ogg", "new\nline\t.wav", "no_ending"]
    for number, name in enumerate(good):
        soundfile.write(folder / "x.wav", speech(0.8, number), RATE)
        ending = "wav" if name == "no_ending" else name.rsplit(".", 1)[1]
        soundfile.write(folder / name, speech(0.8, number), RATE, format=ending.upper())
    (folder / "x.wav").rename(folder / ".hidden/x.wav")
    soundfile.write(folder / "silence.wav", np.zeros(RATE), RATE)
    nan = speech(0.5)
    nan[4000] = np.nan
    soundfile.write(folder / "nan.wav", nan, RATE, subtype="FLOAT")
    (folder / "nothing.wav").write_bytes(b"")
    soundfile.write(folder / "no_samples.wav", np.zeros(0), RATE)
    soundfile.write(folder / "text.flac", speech(1.0), RATE)
    whole = {name: folder / f"whole.{name}" for name in ("wav", "flac")}
    for ending, path in whole.items():
        soundfile.write(path, speech(3.0), RATE)
        (folder / f"cut.{ending}").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        path.unlink()
    (folder / "text.flac").write_text("this is no audio\n" * 100)
    (folder / "notes.txt").write_text("left alone\n")
    bad = ["silence.wav", "nan.wav", "nothing.wav", "no_samples.wav", "cut.wav", "cut.flac", "text.flac"]
    return folder, good, bad


def test_one_bad_file_costs_one_line(training, recordings, tmp_path):
    folder, good, bad = recordings
    (tmp_path / "bare").mkdir()
    done = run("--model", training, "--tsv", folder, tmp_path / "missing.wav", tmp_path / "bare")
    assert done.returncode == 1
    assert (
        f"{folder}: 1 of {len(good) + len(bad) + 1} files are no audio and are skipped, such as {folder}/notes.txt"
        in done.stderr
    )
    lines = [line.split("\t") for line in done.stdout.splitlines() if not line.startswith("# ")]
    assert lines[0] == [
        "file",
        "channel",
        "begin",
        "end",
        "score",
        "llr",
        "verdict",
        "windows",
        "lowest",
        "notes",
        "error",
        "n_below",
        "below",
    ]
    rows = {line[0]: dict(zip(lines[0], line)) for line in lines[1:]}
    assert len(lines) - 1 == len(rows) == len(good) + len(bad) + 2
    for name in good:
        row = rows[f"{folder}/{name}".replace("\n", "\\n").replace("\t", "\\t")]
        assert row["error"] == "-" and np.isfinite(float(row["score"])) and row["verdict"] in ("bonafide", "spoof", "-")
        assert float(row["end"]) == pytest.approx(0.8, abs=0.1)
    wanted = {
        "silence.wav": "only silence", "nan.wav": "first at 0.250 s", "nothing.wav": "empty", "no_samples.wav": "empty",
        "cut.wav": "truncated", "cut.flac": "truncated", "text.flac": "libsndfile",
    }  # fmt: skip
    for name in bad:
        row = rows[f"{folder}/{name}"]
        assert wanted[name] in row["error"] and str(folder) not in row["error"] and row["score"] == "-"
    assert "no such file" in rows[str(tmp_path / "missing.wav")]["error"]
    assert "no audio" in rows[str(tmp_path / "bare")]["error"]
    assert f"{len(bad) + 2} could not be scored" in done.stderr
    files = [line[0] for line in lines[1:]][1:-1]  # the bare folder's line first, the missing file's last
    assert files == [
        name.replace("\n", "\\n").replace("\t", "\\t") for name in sorted(map(str, (folder / n for n in good + bad)))
    ]

    table = run(
        "--model", training, "--windows", "--png", tmp_path / "png", folder / "a.wav", folder / "new\nline\t.wav"
    )
    assert table.returncode == 0, table.stderr
    assert "the mini corpus is small" in table.stdout and "new\\nline\\t.wav" in table.stdout
    assert table.stdout.count("\n0") + table.stdout.count("\n  0") >= 2  # windows by their time
    assert len(list((tmp_path / "png").glob("*.png"))) == 2

    as_json = run("--model", training, "--json", folder / "a.wav", folder / "nan.wav")
    about, first, second = map(json.loads, as_json.stdout.splitlines())
    assert about["about"]["mini_corpus"] is True and as_json.returncode == 1
    alone, among_others = (
        first["score"],
        float(rows[f"{folder}/a.wav"]["score"]),
    )  # other batches add up in another order
    assert alone == pytest.approx(among_others, abs=1e-5)
    assert len(first["windows"]) == int(rows[f"{folder}/a.wav"]["windows"])
    assert set(second) == {"file", "error"}


def test_a_name_that_is_not_utf8(training, tmp_path, speech):
    soundfile.write(tmp_path / "x.wav", speech(0.5), RATE)
    (tmp_path / "x.wav").rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    for form in ("--tsv", "--json"):
        done = run("--model", training, form, tmp_path)
        assert done.returncode == 0, done.stderr
        assert "caf\\udce9.wav" in done.stdout


def test_wav_scp_and_data_dir(training, tmp_path, speech):
    soundfile.write(tmp_path / "a b.wav", speech(0.5), RATE)
    (tmp_path / "wav.scp").write_text(f"utt1 {tmp_path}/a b.wav\nutt2 sox x.wav -t wav - |\n")
    for argument in (tmp_path, tmp_path / "wav.scp"):
        done = run("--model", training, "--json", argument)
        first, second = [json.loads(line) for line in done.stdout.splitlines()[1:]]
        assert (first["file"], second["file"], done.returncode) == ("utt1", "utt2", 1)
        assert "wav.scp: line 2: utt2: a command" in second["error"] and "--allow-pipes" in second["error"]
    (tmp_path / "wav.scp").write_text(f"utt1 {tmp_path}/a b.wav\nutt2 cat '{tmp_path}/a b.wav' |\n")
    done = run("--model", training, "--json", "--allow-pipes", tmp_path)
    first, second = [json.loads(line) for line in done.stdout.splitlines()[1:]]
    assert done.returncode == 0 and second["file"] == "utt2"
    assert second["score"] == pytest.approx(first["score"], abs=1e-6)  # places in a batch differ by rounding


def test_segments_of_a_data_dir(training, tmp_path, speech):
    """Each is scored as a file of its own would be; one that is not there is refused alone."""
    wave = np.round(speech(3.0) * 2**15).astype(np.int16)
    soundfile.write(tmp_path / "rec1.flac", np.stack([wave // 3, wave], axis=1), RATE)
    cuts = {"a": (0.0, 1.0), "b": (1.0, 2.5), "c": (2.5, -1)}
    for utt, (begin, end) in cuts.items():
        last = len(wave) if end == -1 else int(end * RATE)
        soundfile.write(tmp_path / f"{utt}.flac", wave[int(begin * RATE) : last], RATE)
    data = tmp_path / "data"
    data.mkdir()
    (data / "wav.scp").write_text(f"rec1 {tmp_path}/rec1.flac\n")
    (data / "reco2file_and_channel").write_text("rec1 rec1 B\n")
    lines = [f"{utt} rec1 {begin} {end}\n" for utt, (begin, end) in cuts.items()]
    (data / "segments").write_text("".join([*lines, "d rec1 2 9\n"]))
    done = run("--model", training, "--json", data)
    *found, missing = [json.loads(line) for line in done.stdout.splitlines()[1:]]
    assert done.returncode == 1 and missing["file"] == "d" and "the recording has only 3.00 s" in missing["error"]
    files = run("--model", training, "--json", *(tmp_path / f"{utt}.flac" for utt in cuts))
    for one, other, utt in zip(found, [json.loads(line) for line in files.stdout.splitlines()[1:]], cuts, strict=True):
        assert one["file"] == utt and one["windows"][-1]["end"] == other["windows"][-1]["end"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-6)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("raw", [False, True])
def test_standard_input(training, tmp_path, speech, monkeypatch, stream, raw):
    wave = np.round(speech(2.0) * 2**15).astype("<i2")
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    data = wave.tobytes() if raw else (tmp_path / "a.wav").read_bytes()
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))
    options = (["--rate", RATE] if raw else []) + (["--stream"] if stream else [])
    done = run("--model", training, "--json", *options, "-")
    assert done.returncode == 0, done.stderr
    want = json.loads(run("--model", training, "--json", tmp_path / "a.wav").stdout.splitlines()[1])
    lines = [json.loads(line) for line in done.stdout.splitlines()[1:]]
    assert lines[-1]["score_so_far" if stream else "score"] == pytest.approx(want["score"], abs=1e-5)
    assert len(lines) == (len(want["windows"]) if stream else 1)


def test_a_pipe_under_a_name(training, tmp_path, speech):
    """As the shell gives one for <(command)."""
    soundfile.write(tmp_path / "a.wav", speech(0.5), RATE)
    os.mkfifo(tmp_path / "63")
    writer = threading.Thread(target=lambda: (tmp_path / "63").write_bytes((tmp_path / "a.wav").read_bytes()))
    writer.start()
    piped = json.loads(run("--model", training, "--json", tmp_path / "63").stdout.splitlines()[1])
    writer.join()
    plain = json.loads(run("--model", training, "--json", tmp_path / "a.wav").stdout.splitlines()[1])
    assert piped["file"] == str(tmp_path / "63") and piped["score"] == plain["score"]


def test_what_is_noted_of_the_audio(training, tmp_path, speech):
    """Inverted channels, in all of it and in a part; floats that are integers; what follows the sound."""
    wave = speech(5.0)
    inverted = np.stack([wave, np.where(np.arange(len(wave)) < 2 * RATE, -wave, wave)], 1)
    soundfile.write(tmp_path / "a.wav", np.stack([wave, -0.9999 * wave], 1) / 8, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", inverted, RATE)
    soundfile.write(tmp_path / "c.wav", np.stack([wave, -wave], 1), RATE)
    soundfile.write(tmp_path / "d.wav", wave * 32768, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "e.wav", wave, RATE)
    with (tmp_path / "e.wav").open("ab") as handle:
        handle.write(b"no chunk of a WAV file")
    done = run("--model", training, "--json", *(tmp_path / f"{name}.wav" for name in "abcde"))
    a, b, c, d, e = map(json.loads, done.stdout.splitlines()[1:])
    cancelled = (
        "its channels cancel each other out in the mix for {} s, as one is inverted: score one of them by itself"
        " (channels 0)"
    )
    for one in (a, c):
        assert "only silence" in one["error"] and cancelled.format("5.0") in one["error"]
    assert cancelled.format("2.0") in b["notes"] and np.isfinite(b["score"])
    assert any("dB beyond full scale" in note for note in d["notes"])
    assert "22 bytes follow its sound" in e["notes"]
    for channels in ("0", "each"):
        done = run("--model", training, "--json", "--channels", channels, tmp_path / "c.wav")
        assert done.returncode == 0 and "cancel" not in done.stdout


def test_a_stream_that_ends_early(training, tmp_path, speech, monkeypatch):
    soundfile.write(tmp_path / "a.wav", speech(2.0), RATE)
    data = (tmp_path / "a.wav").read_bytes()
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(data[: len(data) // 2])))
    done = run("--model", training, "--stream", "-")
    assert done.returncode == 1 and f"truncated, or its header is wrong: it promises {4 * RATE} bytes" in done.stderr


def test_wrong_use(training):
    for arguments in (
        ["--stream", "a.wav"],
        ["--stream", "--pool", "min", "-"],
        ["--rate", "8000", "a.wav"],
        ["--num-threads", "0", "-"],
        [""],
        ["a.wav", ""],
    ):
        assert run("--model", training, *arguments).returncode == 2


def test_without_a_calibration_there_are_scores(uncalibrated, training, tmp_path, speech):
    soundfile.write(tmp_path / "a.wav", speech(0.5), RATE)
    done = run("--model", uncalibrated, "--tsv", tmp_path / "a.wav")
    row = done.stdout.splitlines()[-1].split("\t")
    assert done.returncode == 0 and row[4] != "-" and row[5:7] == ["-", "-"]
    assert done.stdout.count("steps/calibrate.py --train") == 1
    done = run("--model", uncalibrated, "--threshold", 1, tmp_path / "a.wav")
    assert done.returncode == 1 and "steps/calibrate.py --train" in done.stderr
    elsewhere = run(
        "--model", uncalibrated, "--calibration", training / "calibration.json", "--tsv", tmp_path / "a.wav"
    )
    assert elsewhere.stdout.splitlines()[-1].split("\t")[5] != "-"


def test_the_threshold(training, tmp_path, speech):
    soundfile.write(tmp_path / "a.wav", speech(0.5), RATE)

    def said(*options):
        done = run("--model", training, "--json", *options, tmp_path / "a.wav")
        assert done.returncode == 0, done.stderr
        about, result = map(json.loads, done.stdout.splitlines())
        return about["about"]["threshold"], result

    model = json.loads((training / "calibration.json").read_text())
    threshold, result = said()
    assert threshold == 0
    assert result["llr"] == pytest.approx(model["weights"][0] * result["score"] + model["offset"])
    assert said("--prior", 0.9)[0] == pytest.approx(-np.log(9))
    assert said("--threshold", "eer")[0] == model["trained_on"]["eer_threshold"]
    assert said("--threshold", result["llr"] - 0.01)[1]["verdict"] == "bonafide"
    assert said("--threshold", result["llr"])[1]["verdict"] == "spoof"  # not above it
    assert run("--model", training, "--threshold", "nan", tmp_path / "a.wav").returncode == 2


def test_a_recording_is_undecided_where_each_answer_costs_more(training, tmp_path, speech):
    soundfile.write(tmp_path / "a.wav", speech(1.0), RATE)
    scored = json.loads(run("--model", training, "--json", tmp_path / "a.wav").stdout.splitlines()[1])
    posterior = 1 / (1 + np.exp(-scored["llr"]))
    for factor, undecided in ((0.9, True), (1.1, False)):  # of what the likelier answer costs
        cost = factor * min(posterior, 1 - posterior)
        done = run("--model", training, "--json", "--cost-undecided", cost, tmp_path / "a.wav")
        assert done.returncode == 0, done.stderr
        about, result = map(json.loads, done.stdout.splitlines())
        assert (result["verdict"] == "undecided") == undecided, (about, result)
    middle = ["--prior", 1 - posterior, "--cost-undecided", 0.3]  # the posterior is even
    done = run("--model", training, *middle, tmp_path / "a.wav", tmp_path / "a.wav")
    assert "undecided between: Bayes threshold" in done.stdout and " undecided " in done.stdout.splitlines()[-1]
    assert "2 undecided" in done.stderr
    refused = run("--model", training, "--cost-undecided", 0.7, tmp_path / "a.wav")
    assert refused.returncode == 1 and "--cost-undecided 0.7: nothing would ever be undecided" in refused.stderr


def test_all_outputs_tell_the_windows_below_the_threshold(training, tmp_path, speech, monkeypatch):
    soundfile.write(tmp_path / "a.wav", np.concatenate([speech(2.0, seed) for seed in range(6)]), RATE)
    scored = json.loads(run("--model", training, "--json", tmp_path / "a.wav").stdout.splitlines()[1])
    lowest = min(window["llr"] for window in scored["windows"])
    options = ("--model", training, "--threshold", (lowest + scored["llr"]) / 2, tmp_path / "a.wav")

    said = json.loads(run(*options, "--json").stdout.splitlines()[1])
    below = [window for window in said["windows"] if window["below"]]
    told = said["below_threshold"]
    assert said["verdict"] == "partial" and 0 < len(below) == told["windows"] < told["of"] == len(said["windows"])
    assert told["stretches"][0]["begin"] == below[0]["begin"] and told["stretches"][-1]["end"] == below[-1]["end"]
    words = told["in_words"]
    assert words.startswith(f"{len(below)} of {len(said['windows'])} windows below the threshold: ")

    titles = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda self, label, **_: titles.append(label))
    table = run(*options, "--windows", "--png", tmp_path / "png")
    row, *windows = table.stdout.splitlines()[-1 - len(said["windows"]) :]
    assert (
        " partial " in row
        and f"{words}; lowest: " in row
        and sum(line.endswith("below") for line in windows) == len(below)
    )
    assert titles == [words]

    head, row, *windows = (
        line.split("\t") for line in run(*options, "--tsv", "--windows").stdout.splitlines() if line[0] != "#"
    )
    row = dict(zip(head, row))
    spans = [f"{one['begin']:.3f}-{one['end']:.3f}" for one in told["stretches"]]
    assert (row["verdict"], row["n_below"], row["below"]) == ("partial", str(len(below)), ",".join(spans))
    assert sum(int(window[head.index("n_below")]) for window in windows) == len(below)

    by_mean = json.loads(run(*options, "--json", "--pool", "mean").stdout.splitlines()[1])
    assert (by_mean["verdict"], by_mean["below_threshold"]) == ("bonafide", told)
    done = run(*options, tmp_path / "a.wav", "--tsv")
    assert "0 bonafide, 2 partial, 0 spoof" in done.stderr


def test_a_calibration_belongs_to_its_dev_scores(tmp_path):
    made = save_training(tmp_path / "exp/seed1")
    assert "make it by" in calibration_of(made)[1]
    save_dev_scores(made, tmp_path / "data")
    calibrate_training(made, "dev", tmp_path / "data")
    found, missing = calibration_of(made)
    assert (found.weight > 0, missing, found.trained_on_eval) == (True, "", False)
    save_dev_scores(made, tmp_path / "data", shift=2.0)
    assert "other scores" in calibration_of(made)[1]
    calibrate_training(made, "dev", tmp_path / "data")
    assert calibration_of(made)[1] == ""
    save_dev_scores(made, tmp_path / "data", shift=-3.0)  # a detector that learnt nothing does not stop the recipe
    calibrate_training(made, "dev", tmp_path / "data")
    assert UNUSABLE in json.loads((made / "calibration.json").read_text())
    found, missing = calibration_of(made)
    assert found is None and "sign flipped" in missing
