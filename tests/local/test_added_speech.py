"""Folders of the user's own speech in the mini corpus: which files and speakers they have, and what is made of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local.mini_corpus import added_speech, build, frozen, planning, sources, speech
from local.mini_corpus.added_speech import list_added, parse_folders, speakers_of
from local.mini_corpus.attack import RATE
from local.mini_corpus.conf import load
from local.mini_corpus.debian import DebianPackage
from local.mini_corpus.settings import SPLITS, Utterances
from steps.evaluation.labels import corpus_label
from utils.cli import UserError
from utils.files import read_json

ROOT = Path(__file__).resolve().parents[2]


def speechlike(seconds: float, f0: float = 120.0, seed: int = 0) -> np.ndarray:
    """Pulses in syllables of a quarter second, and a little noise; 16 kHz, peak 0.3."""
    time = np.arange(int(seconds * RATE)) / RATE
    pulses = np.sin(np.pi * np.cumsum(f0 * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time))) / RATE) ** 31
    noise = 0.003 * np.random.default_rng(seed).standard_normal(len(time))
    return 0.3 * (pulses * np.clip(np.sin(2 * np.pi * 2 * time + seed) + 0.6, 0, 1) / 1.6 + noise)


def sound(path: Path, seconds: float = 1.6, rate: int = RATE, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, speechlike(seconds, f0=100 + 15 * seed, seed=seed), rate)


def folder(at: Path, *paths: str, seconds: float = 1.6) -> Path:
    for seed, path in enumerate(paths):
        sound(at / path, seconds, seed=seed)
    return at


def added_from(*given: str, at_most: int = 60):
    return list_added(parse_folders(given), at_most)


# ---------------------------------------------------------------- speakers and files


def test_speakers_are_first_level_folders_of_any_depth(tmp_path):
    libri = folder(tmp_path / "libri", "19/198/19-198-0.flac", "19/227/19-227-0.flac", "26/495/26-495-0.FLAC")
    (libri / "19" / "198" / "19-198.trans.txt").write_text("19-198-0 NO SOUND\n")
    vctk = folder(tmp_path / "vctk", "p225/p225_001.wav", ".hidden/x.wav", "p226/._p226_001.wav", "p226/p226_001.wav")
    first, second = added_from(str(libri), f"{vctk}:dev")
    assert (first.name, first.split, second.split) == ("libri", "train", "dev")
    assert first.files == {
        "19": ("19/198/19-198-0.flac", "19/227/19-227-0.flac"),
        "26": ("26/495/26-495-0.FLAC",),
    }
    assert second.files == {"p225": ("p225/p225_001.wav",), "p226": ("p226/p226_001.wav",)}
    assert list_added(parse_folders([str(libri)], "eval"))[0].split == "eval"


def test_utt2spk_says_who_speaks(tmp_path):
    flat = folder(tmp_path / "flat", "a1.wav", "b1.wav", "more/a2.wav")
    (flat / "utt2spk").write_text("a1 ann\na2 ann\nb1 bob\n")
    assert added_from(str(flat))[0].files == {"ann": ("a1.wav", "more/a2.wav"), "bob": ("b1.wav",)}
    (flat / "utt2spk").write_text("a1 ann\na2 ann\nb1 bob\nc1 cid\n")
    with pytest.raises(UserError, match=r"utt2spk: c1 is without a speech file"):
        added_from(str(flat))
    (flat / "utt2spk").write_text("a1 ann\n")
    with pytest.raises(UserError, match=r"b1\.wav, more/a2\.wav are not in .*utt2spk"):
        added_from(str(flat))
    folder(flat, "again/a1.wav")
    with pytest.raises(UserError, match=r"a1\.wav and again/a1\.wav are both the utterance a1"):
        added_from(str(flat))


def test_a_digest_is_of_names_sizes_and_speakers(tmp_path):
    first = added_from(str(folder(tmp_path / "a" / "x", "s/1.wav", "t/1.wav")))[0]
    same = added_from(str(folder(tmp_path / "b" / "x", "s/1.wav", "t/1.wav")))[0]
    assert first.digest == same.digest and str(first) == str(same)
    sound(tmp_path / "b" / "x" / "s" / "1.wav", 2.0)
    longer = added_from(str(tmp_path / "b" / "x"))[0]
    (tmp_path / "a" / "x" / "t").rename(tmp_path / "a" / "x" / "u")
    renamed = added_from(str(tmp_path / "a" / "x"))[0]
    assert len({first.digest, longer.digest, renamed.digest}) == 3


@pytest.mark.parametrize(
    "given, told",
    [
        (["nowhere"], "nowhere: no such folder"),
        (["a:test"], "after the colon comes one of train, dev, eval"),
        (["a", "a:dev"], "stands there twice, for train and dev"),
        (["a", "a"], "give every folder once"),
        (["a", "a/s1:dev"], "share files"),
        (["a", "other/a:dev"], "the same name a"),
        (["a", "b:dev"], "speaker s1 is added to dev, and from .*/a to train"),
        (["empty"], "no speech file is in it"),
        (["loose"], r"loose: 1\.wav is in no speaker's folder; lay each file"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, monkeypatch, given, told):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path, "a/s1/1.wav", "other/a/s2/1.wav", "b/s1/2.wav", "loose/1.wav", "loose/s/2.wav")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=told):
        added_from(*given)


def test_links_are_followed_and_a_ring_of_them_ends(tmp_path):
    folder(tmp_path / "far", "1.wav")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "s").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "up").symlink_to(tmp_path / "near")
    assert added_from(str(tmp_path / "near"))[0].files == {"s": ("s/1.wav",)}


def test_narrow_and_broken_files_are_left_out_with_one_line_each(tmp_path, capsys):
    mixed = folder(tmp_path / "mixed", "a/1.wav", "b/1.wav")
    for name in ("a/2.wav", "c/1.wav"):
        sound(mixed / name, rate=8000)
    (mixed / "a" / "3.flac").write_bytes(b"no sound")
    speakers = speakers_of(added_from(str(mixed)))
    assert [(s.label, s.files) for s in speakers] == [("mixed/a", ("a/1.wav",)), ("mixed/b", ("b/1.wav",))]
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("WARNING")]
    assert len(warnings) == 2
    assert "2 of 5 files left out: below 16 kHz" in warnings[0] and "not to be read as sound" in warnings[1]
    sound(tmp_path / "phone" / "a" / "1.wav", rate=8000)
    with pytest.raises(UserError, match="phone: none of its 1 files is usable"):
        speakers_of(added_from(str(tmp_path / "phone")))


def test_keys_are_safe_file_names_and_differ(tmp_path):
    at = folder(tmp_path / "x y", "a.1/1.wav", "a.2/1.wav", "a_1/1.wav")
    keys = [s.key for s in speakers_of(added_from(str(at)))]
    assert len(set(keys)) == 3 and not any(set(key) & set("./ ") for key in keys)


# ---------------------------------------------------------------- utterances


def test_a_long_file_gives_several_utterances(tmp_path):
    conf = Utterances()
    at = folder(tmp_path / "long", "a/1.flac", "a/2.flac", seconds=15.0)
    (speaker,) = speakers_of(added_from(str(at)))
    made = added_speech.join_added(speaker, 1, conf)
    lengths = [len(joined.speech) / RATE for joined in made]
    assert len(made) >= 6 and sum(lengths) > 20
    assert all(conf.seconds[0] <= length <= conf.seconds[1] for length in lengths)
    again = added_speech.join_added(speaker, 1, conf)
    assert all(np.array_equal(a.speech, b.speech) for a, b in zip(made, again, strict=True))
    assert len(added_speech.join_added(dataclasses.replace(speaker, utterances=3), 1, conf)) == 3


def test_nothing_of_a_long_item_is_lost_or_said_twice():
    conf = Utterances()
    item = np.arange(1.0, 15 * RATE + 1)  # each sample tells its place
    made = list(speech.join_items([("a", item)], np.random.default_rng(0), conf, keep_rest=True))
    # faded at both ends, so a few samples in; each utterance begins where the one before was cut
    starts = [joined.speech[200] - 200 for joined in made]
    ends = [joined.speech[-200] + 200 for joined in made]
    assert len(made) >= 4 and starts[0] == 1 and starts[1:] == ends[:-1]
    assert all(end - start == len(joined.speech) for start, end, joined in zip(starts, ends, made))


def test_a_damaged_file_is_told_by_its_name(tmp_path):
    at = folder(tmp_path / "x", "a/1.flac", seconds=5.0)
    (speaker,) = speakers_of(added_from(str(at)))
    data = (at / "a" / "1.flac").read_bytes()
    (at / "a" / "1.flac").write_bytes(b"\0" * len(data))
    with pytest.raises(UserError, match=r"a/1\.flac: cannot be read as audio"):
        added_speech.join_added(speaker, 1, Utterances())


def test_a_file_that_was_cut_off_is_left_out_and_named(tmp_path, capsys):
    at = folder(tmp_path / "x", "a/1.wav", "a/2.wav", seconds=8.0)
    data = (at / "a" / "1.wav").read_bytes()
    (at / "a" / "1.wav").write_bytes(data[: len(data) // 2])
    (speaker,) = speakers_of(added_from(str(at)))
    assert speaker.files == ("a/2.wav",)
    assert "such as a/1.wav: truncated, or its header is wrong" in capsys.readouterr().err


def test_names_with_blanks_stay_one_word_in_the_manifest(tmp_path):
    assert added_speech.one_word("a b\t100%/\u00a0x.wav") == "a%20b%09100%25/%C2%A0x.wav"
    assert added_speech.one_word("My: Speech\n", " ") == "My%3A Speech%0A"
    assert added_speech.one_word("b\udcfc.wav") == "b%FC.wav"  # a file name that is not UTF-8
    at = folder(tmp_path / "My Speech", "John A/x 1.wav", seconds=5.0)
    (speaker,) = speakers_of(added_from(str(at)))
    made = added_speech.join_added(speaker, 1, Utterances())
    assert {item for joined in made for item in joined.items} == {"John%20A/x%201.wav"}


# ---------------------------------------------------------------- the plan


def test_the_confs_own_utterances_stay_and_copies_grow_with_the_speech():
    conf = load(ROOT / "conf" / "mini_corpus" / "tiny.yaml")
    available = {name: 12 for named in conf.speakers.values() for name in named}
    own = planning.plan(conf, available, 1)
    added = {"added-x": "train", "added-y": "train", "added-z": "eval"}
    both = planning.plan(conf, {**available, "added-x": 40, "added-y": 20, "added-z": 12}, 1, added)
    assert set(own) <= set(both) and len({u.name for u in both}) == len(both)
    new = [u for u in both if u not in set(own)]
    assert {u.source for u in new} == set(added)  # no more of the TTS attacks
    assert {u.source: u.split for u in new} == added
    last = max(u.speaker for u in own)
    assert sorted({u.speaker for u in new}) == [f"LA_{int(last[3:]) + i:04d}" for i in (1, 2, 3)]
    train = [u for u in own if u.split == "train" and u.attack == planning.BONAFIDE]
    for attack, entry in conf.attacks.items():
        if not entry.attack.speaks and entry.utterances.train:
            copies = {key: sum(u.attack == attack and u.source == key for u in new) for key in ("added-x", "added-y")}
            assert sum(copies.values()) == round(entry.utterances.train * 60 / len(train))
            assert abs(copies["added-x"] - 2 * copies["added-y"]) <= 2


def test_a_split_may_have_added_speakers_only():
    conf = load(ROOT / "conf" / "mini_corpus" / "tiny.yaml")
    conf = dataclasses.replace(conf, speakers={**conf.speakers, "dev": {}})
    available = {name: 12 for named in conf.speakers.values() for name in named}
    planned = planning.plan(conf, {**available, "added-x": 30}, 1, {"added-x": "dev"})
    attacks = {u.attack for u in planned if u.trial_of == "dev"}
    assert attacks == {planning.BONAFIDE, *(a for a, e in conf.attacks.items() if e.utterances.dev)}


# ---------------------------------------------------------------- the whole


CONF = """
packages: {voices: {version: "1"}}
utterance: {seconds: [0.9, 1.3]}
chain: {}
verification: {enrolment_utterances: 2}
speakers:
  train: {a: {package: voices, files: a/*, utterances: 5}, b: {package: voices, files: b/*, utterances: 5}}
  dev: {c: {package: voices, files: c/*, utterances: 5}}
  eval: {e: {package: voices, files: e/*, utterances: 5}}
prompts: {}
attacks:
  A05: {what: x, method: griffin_lim, utterances: {train: 4, dev: 3, eval_known: 3}, draw: {bands: 80, iterations: 2}}
  A19: {what: y, method: lpc_warp, utterances: {eval: 3}, draw: {order: 16, warp: [0.85, 0.95], hop_ms: 16}}
"""


@pytest.fixture
def make(tmp_path, monkeypatch, crew_of_one):
    package = folder(tmp_path / "package", *(f"{s}/{i}.flac" for s in "abce" for i in range(6)))
    (tmp_path / "mine.yaml").write_text(CONF)
    conf = load(tmp_path / "mine.yaml")
    monkeypatch.setattr(sources.DebianPackages, "get", lambda *_: DebianPackage("voices", "1", "0" * 64, package))
    requirements = ROOT / "requirements-mini.txt"
    return lambda out, *given: build.build(
        conf, 1, tmp_path / "downloads", tmp_path / out, requirements, 1, added_from(*given, at_most=4)
    )


def test_a_corpus_with_additions_has_the_plain_one_in_it_and_says_so(make, tmp_path, capsys):
    own = folder(tmp_path / "OWN", "p1/1.wav", "p1/2.wav", "p2/x/1.flac", seconds=5.0)
    folder(own, "p3/1.wav", seconds=0.3)
    make("plain")
    capsys.readouterr()
    make("both", f"{own}:dev")
    told = capsys.readouterr()
    assert "OWN: left out: OWN/p3 is too short for one utterance" in told.err
    plain, both = tmp_path / "plain" / "LA", tmp_path / "both" / "LA"
    for path in plain.glob("*/flac/*.flac"):
        assert (both / path.relative_to(plain)).read_bytes() == path.read_bytes()
    corpora = [read_json(la / "corpus.json") for la in (plain, both)]
    assert "added" not in corpora[0] and corpora[0]["additions"] == "none"
    (entry,) = corpora[1]["added"]
    assert (entry["name"], entry["split"], entry["speakers"], entry["files"]) == ("OWN", "dev", 2, 4)
    assert corpora[1]["audio_digest_less_added"] == corpora[0]["audio_digest"] != corpora[1]["audio_digest"]
    version = corpora[0]["version"]
    assert corpus_label(corpora[1]) == f"mini corpus {version} (mine) + OWN"
    rows = [line.split("\t") for line in (both / "manifest.tsv").read_text().splitlines()[1:]]
    new = [row for row in rows if row[5].startswith("added OWN: p")]
    assert entry["utterances"] == sum(row[4] == "-" for row in new) and 5 <= entry["utterances"] <= 8
    assert {row[2] for row in new} <= {"dev", "dev_enrolment"} and {row[4] for row in new} == {"-", "A05"}
    assert {(row[3], row[8]) for row in new} == {("LA_0005", "OWN/p1"), ("LA_0006", "OWN/p2")}
    assert {row[8] for row in rows if row not in new} == set("abce")
    assert all(int(row[7]) == soundfile.info(next(both.glob(f"*/flac/{row[0]}.flac"))).frames for row in rows)
    assert all((both / "ASVspoof2019_LA_dev" / "flac" / f"{row[0]}.flac").is_file() for row in new)

    make("both", f"{own}:dev")
    assert "is there" in capsys.readouterr().out
    for given in ([], [f"{own}:train"]):
        with pytest.raises(UserError, match="holds another corpus .*additions OWN in dev"):
            make("both", *given)
    with pytest.raises(UserError, match=r"additions none instead of OWN in dev \(3 speakers, 4 files"):
        make("plain", f"{own}:dev")
    sound(own / "p2" / "new.wav", 3.0)
    with pytest.raises(UserError, match="holds another corpus"):
        make("both", f"{own}:dev")


def test_added_speakers_can_stand_for_a_package_that_is_not_to_be_had(make, tmp_path, monkeypatch):
    def refuse(*_):
        raise sources.PackageMissing("no network")

    monkeypatch.setattr(sources.DebianPackages, "get", refuse)
    mine = [folder(tmp_path / f"own_{s}", f"{s}1/1.wav", f"{s}2/1.wav", seconds=6.0) for s in SPLITS]
    with pytest.raises(UserError, match="no bona fide speech for dev, eval: .*--bonafide-dir DIR:SPLIT"):
        make("out", str(mine[0]))
    make("out", *(f"{at}:{split}" for at, split in zip(mine, SPLITS)))
    corpus = read_json(tmp_path / "out" / "LA" / "corpus.json")
    assert corpus["incomplete"] == "incomplete: without train speaker a, train speaker b, dev speaker c, eval speaker e"
    assert corpus_label(corpus).endswith("+ own_train + own_dev + own_eval, incomplete")
    assert frozen.verdict(corpus, [])
