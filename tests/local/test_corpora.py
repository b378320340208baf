"""The corpora beside ASVspoof 2019: key files to data dirs, in look-alike trees."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from local.corpora import asvspoof5, asvspoof2021, in_the_wild, own
from local.corpora.base import Corpus, known_corpora, known_downloads, made_id
from local.prepare_data import check_counts, main
from tests import in_process
from tests.corpus_lookalike import (
    lines_5,
    lines_2021,
    make_5,
    make_2021,
    make_in_the_wild,
    make_mlaad,
    write_flacs,
)
from utils.cli import UserError
from utils.data_dir import DataDir, validate
from utils.files import read_map


def prepare(name: str, corpus: Path, data: Path, *options: str):
    return in_process.call(main, "prepare_data.py", "--corpus-dir", corpus, "--corpus", name, *options, data)


def prepared(name: str, corpus: Path, data: Path, *options: str) -> None:
    done = prepare(name, corpus, data, *options)
    assert done.returncode == 0, done.stderr
    for folder in data.iterdir():
        validate(DataDir(folder), text=False, feats=False, spk_sort=False)
        assert all(Path(path).is_file() for path in read_map(folder / "wav.scp").values())


def refused(name: str, corpus: Path, data: Path, *texts: str) -> None:
    done = prepare(name, corpus, data, "--allow-subset")
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert sum("error" in line for line in done.stderr.splitlines()) == 1
    for text in texts:
        assert text in done.stderr, done.stderr
    assert not list(data.glob("*"))


def edit(path: Path, number: int, old: str, new: str) -> None:
    lines = path.read_text().splitlines()
    assert old in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(old, new)
    path.write_text("\n".join(lines) + "\n")


def test_every_module_of_a_corpus_tells_its_data_in_its_docstring(root):
    modules = [path for path in (root / "local/corpora").glob("*.py") if path.stem not in ("__init__", "base")]
    for path in modules:
        docstring = path.read_text().split('"""')[1]
        assert 6 <= len(docstring.splitlines()) <= 12, path
    assert known_downloads().keys() == known_corpora().keys() - {"own"}
    for name, one in known_downloads().items():
        assert one.page.startswith("https://") and one.licence and one.archives, name
        assert all(re.fullmatch("[0-9a-f]{32}", archive.md5 or "0" * 32) for archive in one.archives), name


@pytest.mark.parametrize(
    ("part", "tables"),
    [
        ("LA", {"codec": 7, "transmission": 1, "trim": 2, "phase": 3}),
        ("DF", {"codec": 9, "source": 3, "vocoder": 4, "team": 5, "language": 1, "phase": 3}),
        ("PA", {"room": 9, "mic": 3, "distance": 6, "attack_mic": 4, "phase": 4}),
    ],
)
def test_2021(tmp_path, part, tables):
    lines = make_2021(tmp_path / "c", part, 180, 30)
    (tmp_path / "c" / f"ASVspoof2021_{part}_eval/flac/{part}_E_9999999.flac").write_bytes(b"")  # no trial
    prepared(f"asvspoof2021-{part.lower()}", tmp_path / "c", tmp_path / "data", "--allow-subset")
    data = tmp_path / "data/eval"
    fields = {line.split()[1]: line.split() for line in lines}
    assert read_map(data / "wav.scp").keys() == fields.keys()
    labels, attacks = read_map(data / "utt2label"), read_map(data / "utt2attack")
    assert Counter(labels.values()) == {"bonafide": 30, "spoof": 150}
    assert all((attacks[utt] == "-") == (labels[utt] == "bonafide") for utt in labels)
    assert read_map(data / "utt2speaker") == {utt: values[0] for utt, values in fields.items()}
    for name, kinds in tables.items():
        assert len(set(read_map(data / f"utt2{name}").values())) == kinds, name
    said = {
        "name": "ASVspoof 2021",
        "recipe": part,
        **({} if part == "PA" else {"subset": True}),
    }  # PA: counts not known
    assert json.loads((data / "corpus.json").read_text()) == said
    if part == "PA":
        assert re.fullmatch("c[2-4]-s[2-4]", attacks[lines[-1].split()[1]])


def test_hidden_sets_of_2021_pa_are_kept_apart(tmp_path):
    lines = make_2021(tmp_path / "c", "PA", 90, 30)
    prepared("asvspoof2021-pa", tmp_path / "c", tmp_path / "data")
    phases, trims = read_map(tmp_path / "data/eval/utt2phase"), {line.split()[1]: line.split()[10] for line in lines}
    wanted = {("hidden_simulated", "notrim"), ("hidden_real", "trim"), ("eval", "notrim"), ("progress", "notrim")}
    assert {(phases[utt], trims[utt]) for utt in phases} == wanted


@pytest.mark.parametrize("part", ["LA", "DF"])
def test_official_counts_of_2021_by_phase(tmp_path, part):
    name = f"asvspoof2021-{part.lower()}"
    counts = {"LA": (181_566, 18_452, (148_176, 16_464, 16_926)), "DF": (611_829, 22_617, (533_928, 59_325, 18_576))}
    trials, bonafide, phases = counts[part]
    path = tmp_path / "trial_metadata.txt"
    path.write_text("".join(f"{line}\n" for line in lines_2021(part, trials, bonafide, phases)))
    corpus, read = asvspoof2021.CORPORA[name], asvspoof2021.read_keys(path, part)
    assert check_counts(read, corpus, "eval", False)
    last = read.trials[-1]
    column = read.conditions.index("phase")
    values = tuple("eval" if i == column else one for i, one in enumerate(last.conditions))
    read.trials[-1] = last._replace(conditions=values)
    with pytest.raises(UserError, match=f"{phases[0] + 1} eval"):
        check_counts(read, corpus, "eval", False)


def test_2021_asv_scores_by_phase(tmp_path):
    make_2021(tmp_path / "c", "LA", 90, 30)
    asv = tmp_path / "c/keys/LA/ASV"
    (asv / "ASVTorch_Kaldi").mkdir(parents=True)
    keys, scores = [], []
    for phase in ("eval", "progress"):
        for at, key in enumerate(("target", "nontarget", "spoof")):
            attack = "A07" if key == "spoof" else "bonafide"
            keys.append(f"LA_0001 LA_E_{phase}{at} none loc_tx {attack} {key} notrim {phase}")
            scores.append(f"LA_0002 LA_E_{phase}{at} {at}.5")
    (asv / "trial_metadata.txt").write_text("\n".join(keys) + "\n")
    (asv / "ASVTorch_Kaldi/score.txt").write_text("\n".join(scores) + "\n")
    prepared("asvspoof2021-la", tmp_path / "c", tmp_path / "data", "--allow-subset")
    assert (
        tmp_path / "data/eval/asv_scores"
    ).read_text() == "bonafide target 0.5\nbonafide nontarget 1.5\nA07 spoof 2.5\n"
    assert (tmp_path / "data/eval/asv_scores_progress").exists()
    (asv / "ASVTorch_Kaldi/score.txt").write_text("\n".join(reversed(scores)) + "\n")
    refused("asvspoof2021-la", tmp_path / "c", tmp_path / "other", "score.txt: line 1: the trial LA_E_progress2")
    (asv / "ASVTorch_Kaldi/score.txt").write_text("\n".join(scores[:-1]) + "\n")
    refused("asvspoof2021-la", tmp_path / "c", tmp_path / "other", "score.txt: line 6: the trial is missing")


SIZES_5 = {"train": (60, 12), "dev": (50, 10), "eval": (240, 60)}


def test_asvspoof5(tmp_path):
    make_5(tmp_path / "c", SIZES_5)
    (tmp_path / "c/flac_D/D_A0000000001.flac").write_bytes(b"")  # enrolment
    prepared("asvspoof5", tmp_path / "c", tmp_path / "data", "--allow-subset")
    for subset, (trials, bonafide) in SIZES_5.items():
        labels = read_map(tmp_path / "data" / subset / "utt2label")
        assert Counter(labels.values()) == {"bonafide": bonafide, "spoof": trials - bonafide}
    data = tmp_path / "data/eval"
    assert len(set(read_map(data / "utt2codec").values())) == 12 and set(read_map(data / "utt2gender").values()) == {
        "M",
        "F",
    }
    assert {"utt2codec_quality", "utt2attack_tag"} <= {path.name for path in data.iterdir()}


def test_lists_of_asvspoof5_may_lie_in_their_archives_folder(tmp_path):
    make_5(tmp_path / "c", {"train": (20, 10)})
    (tmp_path / "c/ASVspoof5_protocols").mkdir()
    (tmp_path / "c/ASVspoof5.train.tsv").rename(tmp_path / "c/ASVspoof5_protocols/ASVspoof5.train.tsv")
    prepared("asvspoof5", tmp_path / "c", tmp_path / "data", "--allow-subset", "--sets", "train")


def test_official_counts_of_asvspoof5_and_in_the_wild(tmp_path):
    (tmp_path / "ASVspoof5.train.tsv").write_text("".join(f"{line}\n" for line in lines_5("train", 182_357, 18_797)))
    assert check_counts(asvspoof5.read(tmp_path, "train"), asvspoof5.CORPORA["asvspoof5"], "train", False)
    assert asvspoof5.COUNTS["dev"][0] == 140_950 and asvspoof5.COUNTS["eval"] == (680_774, 138_688)
    rows = (f"{at}.wav,A B,{'spoof' if at < 11_816 else 'bona-fide'}\n" for at in range(11_816 + 19_963))
    (tmp_path / "meta.csv").write_text("file,speaker,label\n" + "".join(rows))
    assert check_counts(in_the_wild.read(tmp_path, "eval"), in_the_wild.CORPORA["in_the_wild"], "eval", False)


def test_a_list_that_is_not_the_official_one_is_refused(tmp_path, monkeypatch):
    make_5(tmp_path / "c", {"train": (20, 10)})
    monkeypatch.setitem(asvspoof5.COUNTS, "train", (20, 10))
    done = prepare("asvspoof5", tmp_path / "c", tmp_path / "data", "--sets", "train")
    assert (
        done.returncode == 1
        and "ASVspoof5.train.tsv: MD5" in done.stderr
        and "the official list has cbfa" in done.stderr
    )
    digest = hashlib.md5((tmp_path / "c/ASVspoof5.train.tsv").read_bytes()).hexdigest()
    monkeypatch.setitem(asvspoof5.SUMS, "train", digest)
    prepared("asvspoof5", tmp_path / "c", tmp_path / "data", "--sets", "train")


def test_a_set_that_a_corpus_lacks_is_refused(tmp_path):
    make_2021(tmp_path / "c", "LA", 9, 3)
    done = prepare("asvspoof2021-la", tmp_path / "c", tmp_path / "data", "--sets", "dev")
    assert done.returncode == 1 and "the corpus has those of: eval" in done.stderr


def test_in_the_wild(tmp_path):
    make_in_the_wild(tmp_path / "c", 30, 20)
    prepared("in_the_wild", tmp_path / "c", tmp_path / "data", "--allow-subset")
    data = tmp_path / "data/eval"
    assert set(read_map(data / "utt2speaker").values()) == {"Alec_Guinness", "Ruth_Bader_Ginsburg", "Barack_Obama"}
    assert Counter(read_map(data / "utt2attack").values()) == {"-": 20, "unknown": 10}
    assert not (data / "utt2orig").exists() and read_map(data / "wav.scp")["3"].endswith("/3.wav")


def test_mlaad_carries_blanks_and_wide_characters(tmp_path):
    root = tmp_path / "ein Korpus"
    pairs = make_mlaad(root, 4, 8)
    (root / "fake/en/Fish Speech v1/not listed.wav").write_bytes(b"")
    prepared("mlaad", root, tmp_path / "data")
    data = tmp_path / "data/eval"
    paths, origin = read_map(data / "wav.scp"), read_map(data / "utt2orig")
    assert len(paths) == 4 * len(pairs) + 8 and len(set(origin.values())) == len(paths)
    assert all(path == f"{root}/{origin[utt]}" for utt, path in paths.items())
    assert set(read_map(data / "utt2attack").values()) == {
        "-",
        "tts_models_de_css10_vits",
        "Fish_Speech_v1",
        "VITS_中文",
    }
    assert set(read_map(data / "utt2language").values()) == {"de", "en", "zh"}


def make_list(folder: Path, rows: list[str], heading: str = "path,label,attack,speaker,codec") -> Path:
    folder.mkdir(exist_ok=True)
    names = [row.split(heading[4])[0].strip('"') for row in rows]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_flacs(folder / "all", (f"{at}.flac" for at in range(len(names))))
    for at, name in enumerate(names):
        (folder / name).symlink_to(folder / "all" / f"{at}.flac")
    path = folder / "my list.csv"
    path.write_text("\n".join([heading, *rows]) + "\n")
    return path


def own_rows(speakers: int = 12) -> list[str]:
    rows = []
    for speaker in range(speakers):
        for at in range(4 + speaker % 3):
            rows.append(f"real/s {speaker}/{at}.wav,bonafide,,Sprecher {speaker},mp3")
            rows.append(f"fake/s{speaker}-{at}.wav,spoof,My TTS,Sprecher {speaker},none")
    return rows


def test_own_list_is_divided_by_speaker_and_always_alike(tmp_path):
    path = make_list(tmp_path / "c", own_rows())
    prepared("own", path, tmp_path / "data")
    speakers, sizes = {}, {}
    for subset in ("train", "dev", "eval"):
        data = tmp_path / "data" / subset
        speakers[subset] = set(read_map(data / "utt2speaker").values())
        sizes[subset] = Counter(read_map(data / "utt2label").values())
        assert set(read_map(data / "utt2attack").values()) == {"-", "My_TTS"}
        assert set(read_map(data / "utt2codec").values()) == {"mp3", "none"}
        assert json.loads((data / "corpus.json").read_text()) == {"name": "my list"}
    assert not speakers["train"] & speakers["dev"] and not (speakers["train"] | speakers["dev"]) & speakers["eval"]
    assert len(set.union(*speakers.values())) == 12
    total = sum(one.total() for one in sizes.values())
    assert 0.5 < sizes["train"].total() / total < 0.7 and min(sizes["dev"].values()) > 4
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *sorted(lines[1:], reverse=True)]) + "\n")
    prepared("own", path, tmp_path / "again")
    assert read_map(tmp_path / "again/dev/utt2speaker").keys() == read_map(tmp_path / "data/dev/utt2speaker").keys()


def test_own_list_with_splits_as_tsv(tmp_path):
    rows = [f"{at}.wav\t{'spoof' if at % 2 else 'bona-fide'}\t{('train', 'dev', 'test')[at % 3]}" for at in range(12)]
    path = make_list(tmp_path / "c", rows, "path\tlabel\tsplit")
    prepared("own", path, tmp_path / "data")
    assert sorted(one.name for one in (tmp_path / "data").iterdir()) == ["dev", "test", "train"]
    assert len(read_map(tmp_path / "data/test/utt2label")) == 4


@pytest.mark.parametrize(
    ("heading", "row", "texts"),
    [
        ("path,label", "a.wav,spoof", ["line 1", "no column speaker and no column split"]),
        ("path,speaker", "a.wav,s", ["line 1", "no column 'label'"]),
        ("path,label,label", "a.wav,spoof,spoof", ["line 1", "'label' stands in its heading twice"]),
        ("path,label,speaker,split", "a.wav,fake,s,train", ["line 2", "the key 'fake'", "correct the line"]),
        ("path,label,speaker,split", "a.wav,spoof", ["line 2", "2 columns where its heading has 4"]),
        ("path,label,speaker,split", "a.wav,spoof,s,train\na.wav,spoof,s,train", ["line 3", "twice, first on line 2"]),
        ("path,label,speaker,split", "a.wav,spoof,s,../x", ["line 2", "not the name of a set"]),
        ("path,label,speaker,split", "a.wav,spoof,s,train\nb.wav,bonafide,s,dev", ["line 3", "speaker s", "line 2"]),
        ("path,label,attack,split", "a.wav,bonafide,A01,train", ["line 2", "bona fide, yet with the attack"]),
        (
            "path,label,speaker,split",
            "a.wav,spoof,A B,train\nb.wav,spoof,A_B,train",
            ["line 3", "become the same word"],
        ),
        ("path,label,dur,split", "a.wav,spoof,1,train", ["line 1", "gives no table utt2dur"]),
        ("path,label,speaker,split", "a.wav |,spoof,s,train", ["line 2", "no table can hold"]),
        ("path,label,speaker,split", "a.wav,spoof,s,train", ["one class only"]),
    ],
)
def test_bad_lists_end_in_one_line(tmp_path, heading, row, texts):
    path = tmp_path / "list.csv"
    path.write_text(f"{heading}\n{row}\n")
    refused("own", path, tmp_path / "data", str(path), *texts)


@pytest.mark.parametrize(
    ("old", "new", "texts"),
    [
        (" notrim eval", "", ["6 columns where 8 are expected"]),
        (" bonafide bonafide ", " A07 bonafide ", ["bona fide, yet with the attack 'A07'"]),
        (" bonafide bonafide ", " - spoof ", ["a spoof without an attack"]),
        (" bonafide notrim", " genuine notrim", ["the key 'genuine'"]),
        ("LA_E_1000000", "../LA_E_1000000", ["ids are letters"]),
        ("LA_0001", "LA/0001", ["the speaker 'LA/0001' is not made of letters"]),
        ("LA_E_1000000", "LA_E_1000001", ["line 2", "stands there twice, first on line 1"]),
    ],
)
def test_bad_lines_of_2021_end_in_one_line(tmp_path, old, new, texts):
    make_2021(tmp_path / "c", "LA", 30, 10)
    keys = tmp_path / "c/keys/LA/CM/trial_metadata.txt"
    edit(keys, 1, old, new)
    refused("asvspoof2021-la", tmp_path / "c", tmp_path / "data", f"{keys}: line ", *texts)


def test_missing_audio_and_wrong_counts(tmp_path):
    make_2021(tmp_path / "c", "LA", 30, 10)
    done = prepare("asvspoof2021-la", tmp_path / "c", tmp_path / "data")
    assert done.returncode == 1 and "30 trials (10 bona fide) where the official list has 181566" in done.stderr
    (tmp_path / "c/ASVspoof2021_LA_eval/flac/LA_E_1000004.flac").unlink()
    (tmp_path / "c/corpus.json").write_text('{"name": "a part"}')
    done = prepare("asvspoof2021-la", tmp_path / "c", tmp_path / "data")
    assert done.returncode == 1 and "LA_E_1000004 (line 5" in done.stderr and "--allow-subset" in done.stderr


def test_durations_from_a_table_spare_the_headers(tmp_path):
    make_5(tmp_path / "c", {"train": (20, 10)})
    prepared("asvspoof5", tmp_path / "c", tmp_path / "data", "--allow-subset", "--sets", "train")
    table = tmp_path / "data/train/utt2dur"
    for path in (tmp_path / "c/flac_T").glob("base*"):
        path.write_bytes(b"no flac")
    done = prepare(
        "asvspoof5", tmp_path / "c", tmp_path / "two", "--allow-subset", "--sets", "train", "--durations", str(table)
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "two/train/utt2dur").read_text() == table.read_text()
    text = table.read_text()
    table.write_text(text.replace("T_0000000003 ", "T_0000000003x "))
    done = prepare(
        "asvspoof5", tmp_path / "c", tmp_path / "three", "--allow-subset", "--sets", "train", "--durations", str(table)
    )
    assert done.returncode == 1 and "T_0000000003: it has no line" in done.stderr
    table.write_text(text)
    (tmp_path / "c/flac_T/T_0000000007.flac").unlink()
    (tmp_path / "c/corpus.json").write_text('{"name": "a part"}')
    done = prepare("asvspoof5", tmp_path / "c", tmp_path / "three", "--sets", "train", "--durations", str(table))
    assert done.returncode == 1 and "T_0000000007 (line 8" in done.stderr


def test_folders_of_other_corpora_are_recognised(tmp_path):
    make_2021(tmp_path / "up/la", "LA", 9, 3)
    make_in_the_wild(tmp_path / "wild", 4, 2)
    refused("asvspoof2021-la", tmp_path / "up", tmp_path / "data", f"did you mean --corpus-dir {tmp_path}/up/la?")
    refused(
        "asvspoof2021-la", tmp_path / "up/la/keys", tmp_path / "data", f"did you mean --corpus-dir {tmp_path}/up/la?"
    )
    refused("asvspoof2021-df", tmp_path / "up/la", tmp_path / "data", "give --corpus asvspoof2021-la")
    refused("asvspoof5", tmp_path / "wild", tmp_path / "data", "give --corpus in_the_wild")
    refused("own", tmp_path / "wild", tmp_path / "data", "this is a folder")


def test_made_ids_differ_where_texts_do():
    texts = ["a/b.wav", "a_b.wav", "a b.wav", "ä.wav", "ö.wav", "音声/1.wav", "音声/2.wav", ".", "-"]
    ids = [made_id(text) for text in texts]
    assert len(set(ids)) == len(texts) and all(re.fullmatch("[A-Za-z0-9_.-]+", one) for one in ids)
    assert made_id("a_b.wav") == "a_b.wav"


def test_a_speaker_is_never_in_two_sets():
    speakers = {f"s{at}": Counter(bonafide=at % 7, spoof=1 + at % 5) for at in range(50)}
    chosen = own.divide(speakers)
    assert chosen.keys() == speakers.keys() and set(chosen.values()) == {"train", "dev", "eval"}


@pytest.mark.skipif("FSD_OFFICIAL_KEYS" not in os.environ, reason="FSD_OFFICIAL_KEYS names no real key files")
@pytest.mark.parametrize("name", sorted(known_corpora()))
def test_real_key_files(name):
    """The real key files, from folders FSD_OFFICIAL_KEYS/<corpus>, as many as are there."""
    corpus: Corpus = known_corpora()[name]
    folder = Path(os.environ["FSD_OFFICIAL_KEYS"]) / name
    for subset in corpus.counts:
        if corpus.keys(folder, subset).is_file():
            assert check_counts(corpus.read(folder, subset), corpus, subset, False)
