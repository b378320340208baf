"""local/prepare_data.py: protocols of ASVspoof 2019 to Kaldi data directories."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local.corpora.asvspoof2019 import CORPORA, read_protocol
from local.prepare_data import check_counts, main
from tests import in_process
from tests.corpus_lookalike import (
    COUNTS,
    make_corpus,
    protocol_lines,
    protocol_path,
    write_audio,
    write_protocol,
)
from utils.cli import UserError
from utils.data_dir import DataDir, validate
from utils.files import read_map

SMALL = {"train": (40, 8), "dev": (30, 6), "eval": (50, 10)}
MINI = {"name": "mini corpus", "version": 1, "size": "tiny", "seed": 1, "recipe": "la"}


def prepare(corpus: Path, data: Path, *options: str, recipe: str = "la") -> subprocess.CompletedProcess:
    return in_process.call(
        main, "prepare_data.py", "--corpus-dir", corpus, "--corpus", f"asvspoof2019-{recipe}", *options, data
    )


@pytest.fixture
def corpus(tmp_path):
    """A small LA corpus that has its own corpus.json, so that no official counts apply."""
    folder = tmp_path / "LA"
    lengths = make_corpus(folder, "la", SMALL)
    (folder / "corpus.json").write_text(json.dumps(MINI))
    return folder, lengths


def edit(path: Path, number: int, line: str | None) -> str:
    """Put `line` in the place of line `number` (or remove it); the utterance that stood there."""
    lines = path.read_text().splitlines()
    utt = lines[number - 1].split()[1]
    lines[number - 1 : number] = [] if line is None else [line.format(utt=utt)]
    path.write_text("\n".join(lines) + "\n")
    return utt


def test_la_tables(corpus, tmp_path):
    folder, lengths = corpus
    done = prepare(folder, tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3 and "40 trials (8 bona fide" in done.stdout
    for subset, (_, bonafide) in SMALL.items():
        data = tmp_path / "data" / subset
        assert sorted(path.name for path in data.iterdir()) == sorted(
            [
                ".source.json",
                "corpus.json",
                "spk2utt",
                "utt2attack",
                "utt2dur",
                "utt2label",
                "utt2speaker",
                "utt2spk",
                "wav.scp",
            ]
        )
        expected = {
            line.split()[1]: line.split() for line in protocol_path(folder, "la", subset).read_text().splitlines()
        }
        for name in ("wav.scp", "utt2spk", "utt2speaker", "utt2label", "utt2attack", "utt2dur"):
            assert list(read_map(data / name)) == sorted(expected)
        for utt, (speaker, _, _, attack, key) in expected.items():
            assert read_map(data / "utt2speaker")[utt] == speaker
            assert read_map(data / "utt2label")[utt] == key
            assert read_map(data / "utt2attack")[utt] == attack
            path = Path(read_map(data / "wav.scp")[utt])
            assert path.is_absolute() and path.is_file() and path.name == f"{utt}.flac"
            assert round(float(read_map(data / "utt2dur")[utt]) * 16000, 6) == lengths[subset][utt]
        assert sum(key == "bonafide" for key in read_map(data / "utt2label").values()) == bonafide
        assert json.loads((data / "corpus.json").read_text()) == MINI
        validate(DataDir(data), text=False, feats=False, spk_sort=False)


def test_as_a_program(root, corpus, tmp_path):
    folder, _ = corpus
    command = [root / "local/prepare_data.py", "--corpus-dir", "LA", "--corpus", "asvspoof2019-la", "my data"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(Path(path).is_absolute() for path in read_map(tmp_path / "my data/dev/wav.scp").values())


def test_pa_has_environments(tmp_path):
    folder = tmp_path / "PA"
    make_corpus(folder, "pa", SMALL)
    (folder / "corpus.json").write_text(json.dumps({**MINI, "recipe": "pa"}))
    done = prepare(folder, tmp_path / "data", recipe="pa")
    assert done.returncode == 0, done.stderr
    environments = read_map(tmp_path / "data/dev/utt2env")
    assert len(environments) == 30 and all(
        set(value) <= set("abc") and len(value) == 3 for value in environments.values()
    )
    assert set(read_map(tmp_path / "data/dev/utt2attack").values()) <= {"-"} | {a + b for a in "ABC" for b in "ABC"}


def test_further_sets_take_their_audio_from_the_set_they_are_named_after(corpus, tmp_path):
    folder, _ = corpus
    known = protocol_path(folder, "la", "eval").read_text().splitlines()[:7]
    write_protocol(folder, "la", "eval_known", known)
    assert prepare(folder, tmp_path / "data").returncode == 0
    paths = read_map(tmp_path / "data/eval_known/wav.scp")
    assert len(paths) == 7 and all("ASVspoof2019_LA_eval/flac" in path for path in paths.values())


def test_sets_option_and_extra_files_in_the_flac_folder(corpus, tmp_path):
    folder, _ = corpus
    (folder / "ASVspoof2019_LA_dev/flac/LA_D_enrolment.flac").write_bytes(b"")  # not a trial: never looked at
    assert prepare(folder, tmp_path / "data", "--sets", "dev train").returncode == 0
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["dev", "train"]
    done = prepare(folder, tmp_path / "data", "--sets", "dev evil")
    assert done.returncode == 1 and "evil.trl.txt: no such protocol" in done.stderr and "train dev eval" in done.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("LA_0001 {utt} - -", "4 columns where 5 are expected"),
        ("LA_0001 {utt} - - genuine", "the key 'genuine' is neither bonafide nor spoof"),
        ("LA_0001 {utt} - A01 bonafide", "bona fide, yet with the attack 'A01'"),
        ("LA_0001 {utt} - - spoof", "a spoof without an attack"),
        ("LA_0001 {utt} - AB spoof", "the attack 'AB' is not A and two digits"),
        ("LA_0001 {utt} abc A01 spoof", "the third column is 'abc'"),
        ("LA_0001 ../{utt} - A01 spoof", "ids are letters, digits"),
        ("", "empty, with lines after it"),
    ],
)
def test_malformed_lines(corpus, tmp_path, line, message):
    folder, _ = corpus
    path = protocol_path(folder, "la", "dev")
    utt = edit(path, 5, line)
    done = prepare(folder, tmp_path / "data", "--sets", "dev")
    assert done.returncode == 1 and f"{path}: line 5" in done.stderr and message in done.stderr
    assert "Traceback" not in done.stderr and (not line or utt in done.stderr)
    assert not (tmp_path / "data/dev").exists() and not list((tmp_path).glob("data/.*"))


def test_wrong_environment_in_pa(tmp_path):
    folder = tmp_path / "PA"
    make_corpus(folder, "pa", {"dev": (12, 3)})
    path = protocol_path(folder, "pa", "dev")
    edit(path, 2, "PA_0001 {utt} abd AA spoof")
    done = prepare(folder, tmp_path / "data", "--sets", "dev", recipe="pa")
    assert done.returncode == 1 and "line 2" in done.stderr and "the env 'abd' is not three letters a-c" in done.stderr


def test_utterance_twice(corpus, tmp_path):
    folder, _ = corpus
    path = protocol_path(folder, "la", "train")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[3]]) + "\n")
    done = prepare(folder, tmp_path / "data")
    assert done.returncode == 1 and f"line {len(lines) + 1}" in done.stderr and "first on line 4" in done.stderr


def test_empty_protocol(corpus, tmp_path):
    folder, _ = corpus
    protocol_path(folder, "la", "train").write_text("")
    done = prepare(folder, tmp_path / "data")
    assert done.returncode == 1 and "holds no trials" in done.stderr


def test_windows_line_ends_and_a_missing_last_newline(corpus, tmp_path):
    folder, _ = corpus
    path = protocol_path(folder, "la", "dev")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n").rstrip())
    assert prepare(folder, tmp_path / "data", "--sets", "dev").returncode == 0
    assert len(read_map(tmp_path / "data/dev/utt2label")) == 30


def test_missing_audio(corpus, tmp_path):
    folder, lengths = corpus
    gone = sorted(lengths["eval"])[:5]
    for utt in gone:
        (folder / f"ASVspoof2019_LA_eval/flac/{utt}.flac").unlink()
    done = prepare(folder, tmp_path / "data", "--sets", "eval")
    assert done.returncode == 1 and "5 of the 50 trials" in done.stderr and "and 2 more" in done.stderr
    assert sum(utt in done.stderr for utt in gone) == 3 and not (tmp_path / "data").exists()

    done = prepare(folder, tmp_path / "data", "--sets", "eval", "--allow-subset")
    assert done.returncode == 0 and "WARNING" in done.stderr and "5 of the 50" in done.stderr
    for name in ("wav.scp", "utt2label", "utt2dur"):
        assert sorted(read_map(tmp_path / f"data/eval/{name}")) == sorted(set(lengths["eval"]) - set(gone))
    assert json.loads((tmp_path / "data/eval/corpus.json").read_text()) == {**MINI, "subset": True}

    done = prepare(folder, tmp_path / "data", "--sets", "eval", "--allow-subset")
    assert done.returncode == 0 and "as a subset" in done.stdout
    done = prepare(folder, tmp_path / "data", "--sets", "eval")
    assert done.returncode == 1 and "was made as a subset" in done.stderr


def test_unreadable_audio_is_an_error_even_in_a_subset(corpus, tmp_path):
    folder, lengths = corpus
    utt = min(lengths["dev"])
    path = folder / f"ASVspoof2019_LA_dev/flac/{utt}.flac"
    for content in (b"", b"fLaC", b"<html>not found</html>" * 10, path.read_bytes()[:30]):
        path.write_bytes(content)
        done = prepare(folder, tmp_path / "data", "--sets", "dev", "--allow-subset")
        assert done.returncode == 1 and f"{path}: " in done.stderr and utt in done.stderr
        assert "Traceback" not in done.stderr


def test_other_containers_are_read_by_soundfile(corpus, tmp_path):
    folder, lengths = corpus
    utt = min(lengths["dev"])
    path = folder / f"ASVspoof2019_LA_dev/flac/{utt}.flac"
    soundfile.write(path, [0.0] * 4000, 8000, format="WAV")
    assert prepare(folder, tmp_path / "data", "--sets", "dev").returncode == 0
    assert read_map(tmp_path / "data/dev/utt2dur")[utt] == "0.5"


def test_no_duration_is_untrue(corpus, tmp_path):
    """By whatever a header says: the file is refused, or its duration is that of the samples which come out of it."""
    folder, lengths = corpus
    utt = min(lengths["dev"])
    path = folder / f"ASVspoof2019_LA_dev/flac/{utt}.flac"
    path.unlink()
    soundfile.write(path, np.random.default_rng(0).standard_normal(20000) / 10, 16000, format="FLAC")
    whole = path.read_bytes()

    def with_total(samples):
        return whole[:18] + (int.from_bytes(whole[18:26], "big") >> 36 << 36 | samples).to_bytes(8, "big") + whole[26:]

    tag = b"TAG" + bytes(125)
    for content, seconds in (
        (whole, "1.25"), (with_total(0), "1.25"), (with_total(9000), "1.25"), (whole + whole, "2.5"), (whole + tag, "1.25"),
    ):  # fmt: skip
        path.write_bytes(content)
        assert prepare(folder, tmp_path / "data", "--sets", "dev").returncode == 0
        assert read_map(tmp_path / "data/dev/utt2dur")[utt] == seconds
        shutil.rmtree(tmp_path / "data")
    for content, told in (
        (with_total((1 << 36) - 1), "truncated"), (whole[:-1], "truncated"), (whole[: len(whole) // 2], "truncated"),
        (with_total(0)[:-9], "truncated"), (whole + b"more", "what follows its last frame is no FLAC"),
    ):  # fmt: skip
        path.write_bytes(content)
        done = prepare(folder, tmp_path / "data", "--sets", "dev")
        assert done.returncode == 1 and f"{path}: {told}" in done.stderr and utt in done.stderr, done.stderr


def test_a_pipe_or_a_socket_among_the_audio_is_named(corpus, tmp_path):
    folder, lengths = corpus
    utt = min(lengths["dev"])
    path = folder / f"ASVspoof2019_LA_dev/flac/{utt}.flac"
    path.unlink()
    os.mkfifo(path)
    done = prepare(folder, tmp_path / "data", "--sets", "dev")
    assert done.returncode == 1 and f"{path}: a pipe, not a file" in done.stderr
    path.unlink()
    short = tmp_path / "s"  # a socket's name has 107 bytes at most
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(short))
        short.rename(path)
        done = prepare(folder, tmp_path / "data", "--sets", "dev")
    assert done.returncode == 1 and f"{path}: a socket, not a file" in done.stderr


def test_second_run_keeps_what_is_there(corpus, tmp_path):
    folder, _ = corpus
    assert prepare(folder, tmp_path / "data").returncode == 0
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (tmp_path / "data").rglob("*")}
    done = prepare(folder, tmp_path / "data")
    assert done.returncode == 0 and done.stdout.count("already made from") == 3
    assert before == {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (tmp_path / "data").rglob("*")}


def test_made_from_something_else(corpus, tmp_path):
    folder, lengths = corpus
    data = tmp_path / "data"
    assert prepare(folder, data).returncode == 0
    path = protocol_path(folder, "la", "dev")
    content = path.read_text()
    edit(path, 1, None)
    done = prepare(folder, data)
    assert (
        done.returncode == 1 and "was made from the protocol" in done.stderr and f"remove {data / 'dev'}" in done.stderr
    )
    path.write_text(content)

    (folder / "corpus.json").write_text(json.dumps({**MINI, "seed": 2}))
    done = prepare(folder, data)
    assert done.returncode == 1 and "'seed': 1" in done.stderr and "'seed': 2" in done.stderr
    (folder / "corpus.json").write_text(json.dumps(MINI))

    other = tmp_path / "other"
    folder.rename(other)
    done = prepare(other, data)
    assert done.returncode == 1 and str(folder) in done.stderr and str(other) in done.stderr
    other.rename(folder)

    (data / "train/utt2dur").unlink()
    done = prepare(folder, data)
    assert done.returncode == 1 and "utt2dur is no longer there" in done.stderr
    (data / "train/.source.json").unlink()
    done = prepare(folder, data)
    assert done.returncode == 1 and "was not made by this program" in done.stderr


def test_speakers(root, corpus, tmp_path):
    """Kaldi's scripts compare utt2spk with spk2utt expanded in its own order: one speaker per utterance satisfies
    them."""
    folder, _ = corpus
    data = tmp_path / "data"
    assert prepare(folder, data, "--sets", "dev").returncode == 0
    assert all(utt == speaker for utt, speaker in read_map(data / "dev/utt2spk").items())
    assert read_map(data / "dev/utt2spk") == read_map(data / "dev/spk2utt")
    speakers = read_map(data / "dev/utt2speaker")
    assert set(speakers.values()) <= {f"LA_{n:04d}" for n in range(1, 21)}
    validate(DataDir(data / "dev"), text=False, feats=False)
    done = prepare(folder, data, "--sets", "dev", "--protocol-speakers")
    assert done.returncode == 1 and "speakers" in done.stderr
    assert prepare(folder, tmp_path / "other", "--sets", "dev", "--protocol-speakers").returncode == 0
    assert read_map(tmp_path / "other/dev/utt2spk") == speakers


def test_asv_scores_go_along(corpus, tmp_path):
    folder, _ = corpus
    scores = folder / "ASVspoof2019_LA_asv_scores/ASVspoof2019.LA.asv.dev.gi.trl.scores.txt"
    done = prepare(folder, tmp_path / "without", "--sets", "dev")
    assert done.returncode == 0 and "no t-DCF of dev" in done.stderr
    scores.parent.mkdir()
    try:
        scores.write_text("bonafide target 1.5\n")
        assert prepare(folder, tmp_path / "data", "--sets", "dev").returncode == 0
        assert (tmp_path / "data/dev/asv_scores").read_text() == scores.read_text()
        scores.write_text("bonafide target 2.5\n")
        done = prepare(folder, tmp_path / "data", "--sets", "dev")
        assert done.returncode == 1 and "ASV scores" in done.stderr
    finally:
        scores.unlink()
        scores.parent.rmdir()


def test_wrong_folders(corpus, tmp_path):
    folder, _ = corpus
    data = tmp_path / "data"
    for place, recipe, hint in (
        (tmp_path, "la", f"did you mean --corpus-dir {folder}?"),
        (folder, "pa", "give --corpus asvspoof2019-la"),
        (data, "la", "no such folder"),
    ):
        done = prepare(place, data, recipe=recipe)
        assert done.returncode == 1 and hint in done.stderr
    os.rename(folder / "ASVspoof2019_LA_eval", tmp_path / "away")  # noqa: PTH104
    done = prepare(folder, data)
    assert done.returncode == 1 and "ASVspoof2019_LA_eval/flac: no such folder" in done.stderr
    done = prepare(folder, tmp_path / "data")
    assert "already made" in done.stdout  # train and dev, which were whole


def test_corpus_json_of_another_recipe(corpus, tmp_path):
    folder, _ = corpus
    (folder / "corpus.json").write_text(json.dumps({**MINI, "recipe": "pa"}))
    done = prepare(folder, tmp_path / "data")
    assert done.returncode == 1 and "made for the recipe pa" in done.stderr


def test_counts_that_are_not_official(tmp_path):
    folder = tmp_path / "LA"
    make_corpus(folder, "la", {"dev": (30, 6)})
    done = prepare(folder, tmp_path / "data", "--sets", "dev")
    assert done.returncode == 1 and "30 trials (6 bona fide) where the official list has 24844" in done.stderr
    done = prepare(folder, tmp_path / "data", "--sets", "dev", "--allow-subset")
    assert done.returncode == 0 and "WARNING" in done.stderr
    assert json.loads((tmp_path / "data/dev/corpus.json").read_text()) == {
        "name": "ASVspoof 2019",
        "recipe": "LA",
        "subset": True,
    }


@pytest.mark.parametrize("recipe", ["la", "pa"])
def test_official_counts(recipe, tmp_path):
    """Look-alikes of the official protocols, in full size, pass; one trial more or less does not."""
    corpus = CORPORA[f"asvspoof2019-{recipe}"]
    assert corpus.counts == COUNTS[recipe]
    for subset, (trials, bonafide) in COUNTS[recipe].items():
        path = write_protocol(tmp_path, recipe, subset, protocol_lines(recipe, subset, trials, bonafide))
        read = read_protocol(path, recipe)
        assert len(read.trials) == trials and check_counts(read, corpus, subset, False)
        del read.trials[0]
        with pytest.raises(UserError, match=f"{trials - 1} trials"):
            check_counts(read, corpus, subset, False)


@pytest.mark.skipif("FSD_OFFICIAL_LISTS" not in os.environ, reason="FSD_OFFICIAL_LISTS names no real protocols")
@pytest.mark.parametrize("recipe", ["la", "pa"])
def test_real_protocols(recipe, tmp_path):
    """The real protocols, from FSD_OFFICIAL_LISTS/{LA,PA}, with tiny flacs of their names for the dev set."""
    lists = Path(os.environ["FSD_OFFICIAL_LISTS"]) / recipe.upper()
    there = 0
    for subset, counts in COUNTS[recipe].items():
        source = lists / protocol_path(Path(), recipe, subset).name
        if source.is_file():
            there += 1
            read = read_protocol(source, recipe)
            assert len(read.trials) == counts[0] and check_counts(
                read, CORPORA[f"asvspoof2019-{recipe}"], subset, False
            )
            if subset == "dev":
                lines = source.read_text().splitlines()
                write_protocol(tmp_path / "corpus", recipe, subset, lines)
                write_audio(tmp_path / "corpus", recipe, subset, lines)
    assert there
    done = prepare(tmp_path / "corpus", tmp_path / "data", "--sets", "dev", recipe=recipe)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "data/dev/corpus.json").read_text()) == {
        "name": "ASVspoof 2019",
        "recipe": recipe.upper(),
    }


def test_the_former_option_names_the_parts_of_2019(corpus, tmp_path):
    for option, value in (("--corpus", "asvspoof2019-la"), ("--recipe", "la")):
        done = in_process.call(main, "prepare_data.py", "--corpus-dir", corpus[0], option, value, tmp_path / value)
        assert done.returncode == 0, done.stderr
    made = sorted((tmp_path / "la").glob("*/utt2*"))
    assert made
    for one in made:
        assert one.read_bytes() == (tmp_path / "asvspoof2019-la" / one.relative_to(tmp_path / "la")).read_bytes()
