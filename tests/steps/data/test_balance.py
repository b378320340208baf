"""Batches balanced by class and corpus (steps/data/batches.py)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from steps.data.batches import FeatureSet, balanced_plan, training_plan, way_of_reading
from steps.data.reading import Reading
from utils.cli import UserError

# corpus 0 has 90 spoof and 10 bona fide, corpus 1 has 5 and 3, corpus 2 spoof only
LABELS = np.array([0] * 90 + [1] * 10 + [0] * 5 + [1] * 3 + [0] * 20)
CORPORA = np.array([0] * 100 + [1] * 8 + [2] * 20)


def counts(batch, *, of):
    """Utterances of the batch in each group that `of` has, which must differ by one at most."""
    found = [int(np.sum(of[batch] == group)) for group in np.unique(of)]
    return max(found) - min(found)


@pytest.mark.parametrize("batch_size", [2, 7, 16, 33])
def test_each_batch_has_as_many_of_each_class_and_in_it_of_each_corpus(batch_size):
    plan = balanced_plan(LABELS, CORPORA, batch_size, seed=1, epoch=1)
    assert sum(map(len, plan)) in (128, 127)
    for batch in plan:
        assert counts(batch, of=LABELS) <= 1
        for label in (0, 1):
            members = batch[LABELS[batch] == label]
            having = np.unique(CORPORA[label == LABELS])
            of_corpus = [int(np.sum(CORPORA[members] == corpus)) for corpus in having]
            assert max(of_corpus) - min(of_corpus) <= 1


def test_a_small_group_is_drawn_again_only_when_all_of_it_were():
    plan = np.concatenate(balanced_plan(LABELS, CORPORA, 16, seed=1, epoch=1))
    for label, corpus in ((1, 0), (1, 1), (0, 1), (0, 2)):
        times = np.bincount(plan, minlength=128)[(label == LABELS) & (corpus == CORPORA)]
        assert times.max() - times.min() <= 1 and times.min() >= 1
    large = np.bincount(plan, minlength=128)[:90]
    assert large.max() == 1, "of a large group no utterance twice in an epoch"


def test_all_of_a_large_group_is_drawn_over_the_epochs():
    plans = [np.concatenate(balanced_plan(LABELS, CORPORA, 16, 1, epoch)) for epoch in range(1, 31)]
    assert set(np.concatenate(plans).tolist()) == set(range(128))


def test_the_plan_is_a_function_of_seed_and_epoch_alone():
    first, again, other_epoch, other_seed = (
        np.concatenate(balanced_plan(LABELS, CORPORA, 16, *by)) for by in ((1, 2), (1, 2), (1, 3), (2, 2))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other_epoch) and not np.array_equal(first, other_seed)


def test_by_class_corpora_do_not_count():
    plan = balanced_plan(LABELS, None, 16, 1, 1)
    assert all(counts(batch, of=LABELS) <= 1 for batch in plan)


def test_balanced_batches_are_not_read_by_shards():
    class Wide:
        n_columns = 10**6
        conf = type("", (), {"network_input": type("", (), {"frames": 100, "crop": "first"})})

    read = dataclasses.replace(Reading(), balance="class")
    assert way_of_reading(Reading(), 1, 100, Wide, None, True) == "shards"
    assert way_of_reading(read, 1, 100, Wide, None, True) == "random"
    with pytest.raises(ValueError, match="batches from shards cannot be balanced"):
        dataclasses.replace(read, how="shards")


def a_set(tmp_path, balance, corpora=CORPORA):
    from steps.frontend import load_conf, make_frontend
    from tests.conftest import ROOT

    class Source:
        place, mend, left_out, storage = tmp_path / "feats.scp", "", frozenset(), None
        utts = [f"u{i:03d}" for i in range(len(LABELS))]

        def __contains__(self, utt):
            return utt in self.utts

        def read(self, utt, change=None):
            return np.zeros((1, 45), np.float32)

    names = ("spoof", "bonafide")
    (tmp_path / "utt2label").write_text("".join(f"{u} {names[k]}\n" for u, k in zip(Source.utts, LABELS)))
    (tmp_path / "utt2corpus").write_text("".join(f"{u} {k}\n" for u, k in zip(Source.utts, corpora)))
    frontend = make_frontend(load_conf(ROOT / "conf/frontend/f0_subband.yaml"))
    return FeatureSet(tmp_path, Source(), frontend, 0, reading=Reading("random", balance=balance))


def test_a_set_takes_its_corpora_from_the_data_dir(tmp_path):
    for balance, wanted in (
        ("none", training_plan(128, 16, 1, 2)),
        ("class", balanced_plan(LABELS, None, 16, 1, 2)),
        ("corpus", balanced_plan(LABELS, CORPORA, 16, 1, 2)),
    ):
        found = a_set(tmp_path, balance)
        np.testing.assert_array_equal(np.concatenate(found.epoch_plan(16, 1, 2)), np.concatenate(wanted))
        np.testing.assert_array_equal(np.concatenate(found.shuffled_plan(16, 1, 2)), np.concatenate(wanted))
    assert set(np.bincount(found.labels_in_batches)) == {64}, "class weights go by what batches have"
    with pytest.raises(UserError, match="127 of the 128 utterances"):
        a_set(tmp_path, "corpus", corpora=[0])
