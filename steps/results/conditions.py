"""The conditions that two trainings must share before a test of their figures says anything about the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from steps.experiment.experiments import Experiment
from utils.conf import differences

# Keys of a training: how long it lasts, on what batches, at what rate, and which weights are kept
BUDGET = ("epochs", "batch_size", "optimizer", "schedule", "max_grad_norm", "select_by", "average_last", "balance")
INPUT = ("frontend", "model")


def unequal_conditions(
    base: Mapping[str, Any], other: Mapping[str, Any], same: Sequence[str] = INPUT, may_differ: Collection[str] = ()
) -> list[str]:
    """Each key that must be equal and by which two trainings' conf.yaml differ, as `key: base's -> other's`: data,
    BUDGET, and the groups `same`. may_differ: keys of BUDGET that were chosen for each on purpose."""
    found = []
    for group in same:
        found += differences(_group(base, group), _group(other, group), f"{group}.")
    found += differences(*({"corpus": conf.get("corpus")} for conf in (base, other)))
    if all(
        base.get(key) == other.get(key) for key in ("frontend", "features")
    ):  # else their frames are counted otherwise
        for key, what in (("train_set", "training"), ("dev_set", "development")):
            if base.get(key) != other.get(key):
                found.append(f"{key}: other {what} utterances, labels or lengths")
    # confs of older versions have no `balance`
    ours, theirs = ({"balance": "none", **_group(conf, "train")} for conf in (base, other))
    ours, theirs = ({key: one.get(key) for key in BUDGET} for one in (ours, theirs))
    return found + [text for text in differences(ours, theirs) if text.partition(": ")[0] not in may_differ]


def _group(conf: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    group = conf.get(key)
    return group if isinstance(group, Mapping) else {}


def unequal_experiments(
    base: Experiment, other: Experiment, seeds: Collection[int], may_differ: Collection[str] = ()
) -> list[str]:
    """unequal_conditions of those of the seeds that both experiments have, each text once."""

    def of_seeds() -> Iterator[str]:
        confs = [{seed.number: seed.conf for seed in e.seeds if seed.number in seeds} for e in (base, other)]
        for number in sorted(set(confs[0]) & set(confs[1])):
            lacking = [e.name for e, conf in zip((base, other), confs) if not conf[number]]
            if lacking:
                yield f"seed {number} of {lacking[0]} has no conf.yaml"
            else:
                yield from unequal_conditions(confs[0][number], confs[1][number], may_differ=may_differ)

    return list(dict.fromkeys(of_seeds()))
