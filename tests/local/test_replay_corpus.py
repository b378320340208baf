"""The mini PA corpus: its confs, its plan, and one built from a look-alike package of speech."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import pytest
import soundfile
from scipy import signal

from local import prepare_data
from local.corpora.asvspoof2019 import CORPORA
from local.layout import Layout
from local.mini_corpus import build, planning, sources
from local.mini_corpus.attack import RATE
from local.mini_corpus.debian import DebianPackage
from local.mini_corpus.planning import BONAFIDE, ENVIRONMENTS
from local.mini_corpus.python_packages import PythonPackages
from local.mini_corpus.replay.conf import ATTACKS, load
from local.mini_corpus.settings import SPLITS
from local.mini_corpus.speech import active_level
from utils.cli import UserError

ROOT = Path(__file__).resolve().parents[2]
CONFS = ROOT / "conf" / "mini_corpus"


def planned(size: str, seed: int = 1, added: dict[str, str] | None = None) -> list[planning.Utterance]:
    conf = load(CONFS / f"pa_{size}.yaml")
    available = {name: speaker.utterances for named in conf.speakers.values() for name, speaker in named.items()}
    return planning.plan(conf, available | {name: 20 for name in added or {}}, seed, added or {})


# ---------------------------------------------------------------- confs


def test_the_sizes_have_the_speakers_of_their_namesakes():
    for size in ("tiny", "small", "full"):
        conf = load(CONFS / f"pa_{size}.yaml")
        assert (conf.recipe, conf.size, conf.lists) == ("pa", size, SPLITS)
        assert tuple(conf.attacks) == ATTACKS and not conf.prompts
        assert {speaker.package for named in conf.speakers.values() for speaker in named.values()} == set(conf.packages)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("speech: small ", "speech: huge ", r"line 5: speech: 'huge': there is no .*huge.yaml"),
        ("lead_ms", "leads_ms", r"unknown key 'leads_ms'"),
        ("rooms: {train: 1", "rooms: {train: 0", r"amounts.rooms.train: 0 is not positive"),
        ("places: 4", "places: 0", r"places: 0 is not positive"),
        ("stop_hz: 7400", "stop_hz: 9000", r"stop_hz: 9000.0 is not within"),
        ("t60_ms: {a: [50, 200]", "t60_ms: {a: [200, 50]", r"room.*t60_ms.a"),
    ],
)
def test_a_wrong_conf_is_refused_with_its_place(tmp_path, old, new, told):
    (tmp_path / "small.yaml").write_text((CONFS / "small.yaml").read_text())
    text = (CONFS / "pa_small.yaml").read_text()
    assert old in text
    (tmp_path / "pa_small.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=told):
        load(tmp_path / "pa_small.yaml")


# ---------------------------------------------------------------- plan


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_every_environment_and_attack_occurs_in_every_list(size):
    utterances = planned(size)
    for split in SPLITS:
        trials = [u for u in utterances if u.trial_of == split]
        for key in ("bonafide", "spoof"):
            counts = Counter(u.environment for u in trials if u.key == key)
            assert set(counts) == set(ENVIRONMENTS)
            assert max(counts.values()) - min(counts.values()) <= 1  # no environment tells the class
        assert {u.attack for u in trials} == {BONAFIDE, *ATTACKS}


def test_in_small_every_attack_meets_every_environment_alike():
    for split in SPLITS:
        cells = Counter((u.attack, u.environment) for u in planned("small") if u.trial_of == split and u.key == "spoof")
        assert len(cells) == len(ATTACKS) * len(ENVIRONMENTS)
        assert len(set(cells.values())) == 1


def test_the_plan_is_of_its_seed_and_replays_are_of_trials():
    assert planned("tiny") == planned("tiny") != planned("tiny", seed=2)
    utterances = planned("tiny")
    enrolled = {(u.source, u.number) for u in utterances if not u.trial_of}
    replays = [u for u in utterances if u.key == "spoof"]
    assert replays and not enrolled & {(u.source, u.number) for u in replays}
    assert all(u.name.startswith("PA_") and u.speaker.startswith("PA_") for u in utterances)


def test_added_speech_leaves_the_confs_own_utterances_as_they_are():
    own, both = planned("tiny"), planned("tiny", added={"added-x": "train", "added-y": "eval"})
    assert set(own) <= set(both)
    further = [u for u in both if u not in set(own)]
    assert {u.source for u in further} == {"added-x", "added-y"}
    assert {u.key for u in further} == {"bonafide", "spoof"}


# ---------------------------------------------------------------- the whole


@pytest.fixture
def made(tmp_path, monkeypatch, waveform_maker, crew_of_one, pyroomacoustics):
    """Builds a small PA corpus into a folder."""
    package = tmp_path / "package"
    names = {"train": ["a", "b"], "dev": ["c", "d"], "eval": ["e", "f"]}
    for i, speaker in enumerate(sum(names.values(), [])):
        (package / speaker).mkdir(parents=True)
        for j in range(8):
            soundfile.write(package / speaker / f"{j}.flac", waveform_maker(26000, seed=100 * i + j), RATE)
    text = [
        'packages: {voices: {version: "1"}}',
        "utterance: {seconds: [0.9, 1.3]}",
        "chain: {}",
        "verification: {}",
        "speakers:",
        *(
            f"  {split}: {{{', '.join(f'{s}: {{package: voices, files: {s}/*.flac, utterances: 6}}' for s in those)}}}"
            for split, those in names.items()
        ),
        "prompts: {}",
        "attacks: {}",
    ]
    (tmp_path / "mine.yaml").write_text("\n".join(text) + "\n")
    own = (CONFS / "pa_tiny.yaml").read_text().replace("speech: tiny", "speech: mine")
    own = own.replace("base: ", f"base: {CONFS}/")
    own = own.replace("replays: {train: 14, dev: 6, eval: 6}", "replays: {train: 2, dev: 1, eval: 1}")
    (tmp_path / "pa_mine.yaml").write_text(own)
    monkeypatch.setattr(
        sources.DebianPackages, "get", lambda self, name, version: DebianPackage("voices", "1", "0" * 64, package)
    )

    def make(name: str) -> Path:
        conf = load(tmp_path / "pa_mine.yaml")
        build.build(conf, 1, tmp_path / "downloads", tmp_path / name, ROOT / "requirements-mini.txt", 1)
        return tmp_path / name / "PA"

    monkeypatch.setattr(PythonPackages, "get", lambda self, group: tmp_path)  # it is on the path already
    return make


def test_a_corpus_in_the_official_layout_that_the_recipe_takes(made, tmp_path, capsys):
    pa = made("one")
    for split in SPLITS:
        prepare_data.prepare(CORPORA["asvspoof2019-pa"], pa, split, tmp_path / "data")
        data = tmp_path / "data" / split
        labels = [line.split()[1] for line in (data / "utt2label").read_text().splitlines()]
        assert Counter(labels)["spoof"] == 9 * (2 if split == "train" else 1)
        assert all(len(line.split()[1]) == 3 for line in (data / "utt2env").read_text().splitlines())
        assert (data / "asv_scores").exists() == (split != "train")

    with (pa / "manifest.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    of = {split: [row for row in rows if row["set"].split("_")[0] == split] for split in SPLITS}
    for what in ("room", "device"):
        told = {
            split: {word for row in those for word in row["parameters"].split() if word.startswith(f"{what}=")}
            for split, those in of.items()
        }
        assert all(name.split("=")[1].startswith(split) for split, names in told.items() for name in names)

    levels = []
    for row in rows:
        split = row["set"].split("_")[0]
        path = Layout(pa, "pa").flac(split, row["utterance"])
        samples, rate = soundfile.read(path, dtype="int16")
        assert rate == RATE and len(samples) == int(row["samples"])
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
        levels.append(active_level(samples / 32768))
        hz, density = signal.welch(samples / 32768, RATE, nperseg=1024, detrend=False)  # a mean taken out leaks
        noise = density[(hz > 6500) & (hz < 7200)].min()
        # the rooms' own loss at both ends is out of sight: below the microphone's noise, or filtered away
        louder = max(1.0, 10 ** ((levels[-1] + 26) / 10))  # the filter's rest is as much louder as the file
        assert density[hz > 7650].max() < 5 * louder * 2**-30 / 12 / (RATE / 2)  # what 16 bits have of their own
        assert density[(hz > 0) & (hz < 40)].max() < 10 * noise
    low, high = load(CONFS / "pa_tiny.yaml").replay.final_level_db
    assert low - 0.5 < min(levels) < low + 5 and high - 5 < max(levels) < high + 0.5


def test_the_same_corpus_again_bit_for_bit(made, capsys):
    one, two = made("one"), made("two")
    digest = lambda pa: {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in pa.rglob("*.flac")}
    assert digest(one) == digest(two) and len(digest(one)) > 30
    assert "is there" not in capsys.readouterr().out
    made("one")
    assert "the mini corpus, version" in capsys.readouterr().out
