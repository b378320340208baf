"""Which trainings may be compared by a test."""

import pytest

from steps.results.conditions import unequal_conditions

CONF = {
    "seed": 1, "method": "baseline", "corpus": {"name": "mini"}, "train_set": "a1", "dev_set": "b2", "frontend": {"type": "x", "bins": 45},
    "model": {"depth": 34, "stem": "conv7"}, "augment": {"p": 0},
    "train": {
        "method": "baseline", "epochs": 6, "batch_size": 32, "optimizer": {"name": "adam"}, "schedule": {"name": "cosine", "lr": 1e-3},
        "max_grad_norm": None, "select_by": "last_epoch", "average_last": 0, "num_workers": 2, "hard_loss": {"name": "a_softmax"},
    },
}  # fmt: skip


def changed(**values):
    """CONF with some values changed, `train__epochs=32` for train.epochs."""
    conf = {key: dict(value) if isinstance(value, dict) else value for key, value in CONF.items()}
    for key, value in values.items():
        group, _, name = key.rpartition("__")
        (conf[group] if group else conf)[name] = value
    return conf


UNEQUAL = {
    "epochs": ({"train__epochs": 32}, "epochs: 6 -> 32"),
    "batch": ({"train__batch_size": 64}, "batch_size: 32 -> 64"),
    "optimizer": ({"train__optimizer": {"name": "sgd"}}, "optimizer.name: adam -> sgd"),
    "schedule": ({"train__schedule": {"name": "cosine", "lr": 0.1}}, "schedule.lr: 0.001 -> 0.1"),
    "gradients": ({"train__max_grad_norm": 5}, "max_grad_norm: None -> 5"),
    "selection": ({"train__select_by": "dev_eer"}, "select_by: last_epoch -> dev_eer"),
    "averaging": ({"train__average_last": 3}, "average_last: 0 -> 3"),
    "balance": ({"train__balance": "corpus"}, "balance: none -> corpus"),
    "data": ({"train_set": "c3"}, "train_set: other training utterances, labels or lengths"),
    "data to choose by": ({"dev_set": "c3"}, "dev_set: other development utterances, labels or lengths"),
    "corpus": ({"corpus__name": "other"}, "corpus.name: mini -> other"),
    "input": ({"frontend__bins": 90, "train_set": "c3", "dev_set": "d4"}, "frontend.bins: 45 -> 90"),
    "network": ({"model__stem": "conv3"}, "model.stem: conv7 -> conv3"),
    "no training at all": ({"train": None, "dev_set": "b2"}, "epochs: 6 -> None"),
}


@pytest.mark.parametrize("values, told", UNEQUAL.values(), ids=UNEQUAL)
def test_what_has_to_be_equal(values, told):
    assert told in unequal_conditions(changed(), changed(**values))
    assert unequal_conditions(changed(**values), changed(**values)) == []


def test_what_may_differ():
    """The method with its loss and augmentation, which are compared; the seed; how data is read; what was tuned."""
    other = changed(method="self_distill", train__method="self_distill", train__distill={"alpha": 1}, train__hard_loss={"name": "x"}, seed=2,
                    train__num_workers=0, augment__p=1)  # fmt: skip
    assert unequal_conditions(changed(), other) == []
    tuned = changed(train__schedule={"name": "cosine", "lr": 0.1}, train__epochs=32)
    assert unequal_conditions(changed(), tuned, may_differ={"schedule.lr"}) == ["epochs: 6 -> 32"]


def test_two_networks_or_front_ends_may_be_compared_where_that_is_the_question():
    """Their frames are counted otherwise, so that these tell nothing of the utterances."""
    other = changed(model__stem="conv3", frontend__bins=90, train_set="c3", dev_set="d4")
    assert unequal_conditions(changed(), other, same=()) == []
    assert unequal_conditions(changed(), {**other, "features": "computed", "corpus": None}, same=()) != []
