"""Which speaker of the mini corpus has which files, and which entries of a conf are one person."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from local.mini_corpus.conf import load
from local.mini_corpus.joining import speaker_files
from local.mini_corpus.planning import BONAFIDE, plan
from local.mini_corpus.settings import SPLITS, Speaker
from utils.cli import UserError

CONFS = Path(__file__).resolve().parents[2] / "conf" / "mini_corpus"


@pytest.fixture
def two_entries(tmp_path):
    """The tiny conf with klettres-nl and klettres-ru, both of eval, as one person."""
    text = (CONFS / "tiny.yaml").read_text()
    for name in ("nl", "ru"):
        text = text.replace(f"klettres-{name}: {{", f"klettres-{name}: {{person: somebody, ")
    (tmp_path / "mine.yaml").write_text(text)
    return tmp_path / "mine.yaml"


def planned(conf) -> list:
    return plan(conf, {name: e.utterances for named in conf.speakers.values() for name, e in named.items()}, 1)


def test_entries_of_one_person_are_one_protocol_speaker(two_entries):
    conf = load(two_entries)
    utterances = planned(conf)
    label = {u.source: u.speaker for u in utterances if u.source}
    assert label["klettres-nl"] == label["klettres-ru"]
    assert len(set(label.values())) == len(label) - 1
    assert {u.speaker for u in utterances} == set(label.values())


def test_a_person_is_enrolled_once_from_the_first_entry(two_entries):
    conf = load(two_entries)
    enrolled = Counter(u.source for u in planned(conf) if not u.trial_of)
    assert enrolled["klettres-nl"] == conf.verification.enrolment_utterances
    assert "klettres-ru" not in enrolled


def test_synthetic_speech_claims_each_person_alike():
    utterances = planned(load(CONFS / "small.yaml"))  # two persons with two entries each
    for listed, attacks in (("train", 3), ("eval", 3)):
        claims = Counter(
            u.speaker for u in utterances if u.trial_of == listed and u.attack != BONAFIDE and not u.source
        )
        split_speakers = {u.speaker for u in utterances if u.split == listed}
        counts = [claims[speaker] for speaker in split_speakers]
        assert min(counts) > 0 and max(counts) - min(counts) <= attacks  # each attack's turn begins with the first


def test_without_persons_each_entry_is_its_own_speaker():
    conf = load(CONFS / "tiny.yaml")
    assert all(name == person for name, person in conf.persons().items())


def test_a_person_in_two_splits_is_refused(two_entries):
    text = two_entries.read_text().replace("klettres-hu: {", "klettres-hu: {person: somebody, ")
    two_entries.write_text(text)
    with pytest.raises(UserError, match="person somebody stands in more than one split: train and eval"):
        load(two_entries)


def test_a_person_named_like_an_entry_of_another_split_is_refused(two_entries):
    text = two_entries.read_text().replace("person: somebody", "person: klettres-da")
    two_entries.write_text(text)
    with pytest.raises(UserError, match="person klettres-da stands in more than one split"):
        load(two_entries)


def test_files_of_several_globs_are_taken_once_and_in_order(tmp_path):
    (tmp_path / "xx").mkdir()
    for name in ("tv_a", "tv_b", "xmas_c", "tux", "xmas_tux", "ball"):
        (tmp_path / "xx" / f"{name}.ogg").touch()
    speaker = Speaker("p", ("xx/xmas_*.ogg", "xx/*tux.ogg", "xx/tv_*.ogg"), 5, leave_out=("/tv_b*",))
    assert [path.stem for path in speaker_files(tmp_path, speaker)] == ["tux", "tv_a", "xmas_c", "xmas_tux"]
    assert [path.stem for path in speaker_files(tmp_path, Speaker("p", "*/b*.ogg", 5))] == ["ball"]


@pytest.mark.parametrize("size", ["small", "full"])
def test_what_is_never_split(size):
    conf = load(CONFS / f"{size}.yaml")
    splits: dict[str, set[str]] = {}
    for split in SPLITS:
        for name in conf.speakers[split]:
            package, language, *_ = name.split("-")
            if package in ("klettres", "ktuberling"):  # the same volunteer may have spoken for both
                splits.setdefault(language.split("_")[0], set()).add(split)
    assert len(splits) > 20 and all(len(found) == 1 for found in splits.values())
    persons = conf.persons()
    assert persons["asterisk-en"] == persons["asterisk-es"]  # as the packages' credits say
    assert persons["klettres-uk"] == persons["ktuberling-uk"]


def test_no_speaker_of_small_may_have_a_third_of_a_split():
    """By the most that the conf lets each have; smaller speakers have fewer."""
    conf = load(CONFS / "small.yaml")
    persons = conf.persons()
    for split in SPLITS:
        most = Counter()
        for name, entry in conf.speakers[split].items():
            most[persons[name]] += entry.utterances
        assert max(most.values()) < sum(most.values()) / 3
