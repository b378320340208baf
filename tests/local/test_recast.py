"""Mini corpora in the layouts of other corpora, and the codecs that their audio goes through."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import soundfile

from local import prepare_data, recast_mini_corpus
from local.corpora.base import known_corpora
from local.layout import Layout
from local.mini_corpus import partial
from local.mini_corpus.coding import DF_2021, LA_2021, OF_5, RATE
from local.mini_corpus.recast import LAYOUTS, part_of, trimmed
from tests.corpus_lookalike import make_corpus, protocol_path
from tests.in_process import call
from utils.files import read_map
from utils.rttm import read_rttm

SIZES = {"train": (40, 20), "dev": (30, 15), "eval": (80, 40)}


def speech_like(seconds: float = 0.5) -> np.ndarray:
    """(samples,) int16: a harmonic sound that fades in and out."""
    time = np.arange(int(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 18))
    return np.rint(4000 * tone * np.sin(np.pi * time / seconds)).astype(np.int16)


@pytest.mark.parametrize("codecs", [LA_2021, DF_2021, OF_5])
def test_codecs_change_the_samples_and_keep_the_sound(codecs):
    sound = speech_like()
    for number, (name, trip) in enumerate(codecs.items()):
        coded = trip(sound)
        assert coded.dtype == np.int16 and len(coded) >= len(sound) and (number == 0) == np.array_equal(coded, sound), (
            name
        )
        size = 2 * len(sound)
        spectra = [np.abs(np.fft.rfft(x[: len(sound)].astype(float), size)) for x in (sound, coded)]
        alike = np.sum(spectra[0] * spectra[1]) / np.linalg.norm(spectra[0]) / np.linalg.norm(spectra[1])
        assert alike > 0.6, (name, alike)


@pytest.mark.parametrize("corpus", [name for name in LAYOUTS if name != "partial"])
def test_a_recast_corpus_is_read_by_its_module_and_marked(tmp_path, corpus):
    part = part_of(corpus)
    source = tmp_path / part.upper()
    make_corpus(source, part, SIZES)
    for subset in SIZES:  # a speaker is in one set only
        path = protocol_path(source, part, subset)
        path.write_text("".join(f"{subset}{line}" for line in path.read_text().splitlines(True)))
    (source / "corpus.json").write_text(json.dumps({"name": "mini corpus", "version": "2", "recipe": part.upper()}))
    for _ in range(2):
        done = call(recast_mini_corpus.main, "recast_mini_corpus.py", "--corpus", corpus, source, tmp_path / "out")
        assert done.returncode == 0, done.stderr
    assert "already made" in done.stdout
    place = tmp_path / "out" / ("list.csv" if corpus == "own" else "")
    done = call(prepare_data.main, "prepare_data.py", "--corpus", corpus, "--corpus-dir", place, tmp_path / "data")
    assert done.returncode == 0, done.stderr
    data = tmp_path / "data/eval"
    assert Counter(read_map(data / "utt2label").values()) == {"bonafide": 40, "spoof": 40}
    wanted = known_corpora()[corpus]
    name = json.loads((data / "corpus.json").read_text())["name"]
    assert name == f"mini corpus as {wanted.name} {wanted.part}".rstrip()
    labels = read_map(data / "utt2label")
    for table in {"utt2codec", "utt2phase"} & {path.name for path in data.iterdir()}:
        values = read_map(data / table)
        kinds = [Counter(values[utt] for utt in labels if labels[utt] == key) for key in ("bonafide", "spoof")]
        assert len(kinds[0]) > 3 or table == "utt2phase"
        assert kinds[0] == kinds[1], "a condition must not tell the classes apart"


def test_recordings_spoofed_in_part_are_a_list_with_their_stretches(tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "SECONDS", (2.0, 4.0))
    source = tmp_path / "LA"
    make_corpus(source, "la", SIZES)
    for subset in SIZES:
        path = protocol_path(source, "la", subset)
        path.write_text("".join(f"{subset}{line}" for line in path.read_text().splitlines(True)))
        for flac in Layout(source, "la").audio(subset).glob("*.flac"):
            soundfile.write(flac, speech_like(1.0), RATE)
    (source / "corpus.json").write_text(json.dumps({"name": "mini corpus", "version": "2", "recipe": "LA"}))
    done = call(recast_mini_corpus.main, "recast_mini_corpus.py", "--corpus", "partial", source, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    place, data = tmp_path / "out/list.csv", tmp_path / "data"
    done = call(prepare_data.main, "prepare_data.py", "--corpus", "own", "--corpus-dir", place, data)
    assert done.returncode == 0, done.stderr
    labels, seconds = read_map(data / "eval/utt2label"), read_map(data / "eval/utt2dur")
    stretches = read_rttm(data / "eval/rttm")
    assert len(labels) == 14 and set(stretches) == {utt for utt, label in labels.items() if label == "spoof"}
    assert all(found[-1][1] <= float(seconds[utt]) + 0.001 for utt, found in stretches.items())
    corpus = json.loads((data / "eval/corpus.json").read_text())
    assert corpus["name"] == "mini corpus, spoofed in part"
    rttm = tmp_path / "out/list.rttm"
    bonafide = next(line.split(",")[0] for line in place.read_text().splitlines() if ",bonafide," in line)
    rttm.write_text(rttm.read_text() + f"SPEAKER {bonafide} 1 0 1 <NA> <NA> spoof <NA> <NA>\n")
    done = call(prepare_data.main, "prepare_data.py", "--corpus", "own", "--corpus-dir", place, tmp_path / "other")
    assert done.returncode == 1 and "has spoofed stretches, but its label is bonafide" in done.stderr


def test_codecs_of_a_recast_corpus_are_in_its_audio(tmp_path):
    source = tmp_path / "LA"
    make_corpus(source, "la", {"eval": (28, 14)})
    (source / "corpus.json").write_text('{"name": "mini corpus"}')
    assert (
        call(
            recast_mini_corpus.main, "recast_mini_corpus.py", "--corpus", "asvspoof2021-la", source, tmp_path / "out"
        ).returncode
        == 0
    )
    for line in (tmp_path / "out/keys/LA/CM/trial_metadata.txt").read_text().splitlines():
        _, utt, codec, *_, trim, _ = line.split()
        before, _ = soundfile.read(source / f"ASVspoof2019_LA_eval/flac/{utt}.flac", dtype="int16")
        after, rate = soundfile.read(tmp_path / f"out/ASVspoof2021_LA_eval/flac/{utt}.flac", dtype="int16")
        assert rate == RATE
        if trim == "notrim":
            assert len(after) == len(before) and np.array_equal(after, before) == (codec == "none")
        else:
            assert len(after) <= len(before)


def test_trimming_cuts_quiet_ends_only():
    sound = np.concatenate([np.ones(100), 1000 * np.ones(50), np.zeros(30), 900 * np.ones(20), np.zeros(70)]).astype(
        np.int16
    )
    assert np.array_equal(trimmed(sound), sound[100:200])
    assert len(trimmed(np.zeros(10, np.int16))) == 10
