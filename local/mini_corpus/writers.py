"""The lists of a made mini corpus: protocols, the speaker verifier's trials and scores, the manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from local.layout import Layout
from local.mini_corpus.added_speech import one_word
from local.mini_corpus.asv import SpeakerVerifier
from local.mini_corpus.chain import rng_of
from local.mini_corpus.conf import MiniCorpusConf
from local.mini_corpus.planning import BONAFIDE, Utterance
from local.mini_corpus.settings import split_of
from utils.files import write_lines


def _lists(utterances: Sequence[Utterance], conf: MiniCorpusConf) -> dict[str, list[Utterance]]:
    """List -> its trials. eval_known has the bona fide trials of eval."""
    return {
        listed: [
            u
            for u in utterances
            if u.trial_of == listed or (listed == "eval_known" and u.trial_of == "eval" and u.attack == BONAFIDE)
        ]
        for listed in conf.lists
    }


def write_protocols(layout: Layout, utterances: Sequence[Utterance], conf: MiniCorpusConf) -> None:
    for listed, trials in _lists(utterances, conf).items():
        write_lines(
            layout.protocol(listed), (f"{u.speaker} {u.name} {u.environment} {u.attack} {u.key}" for u in trials)
        )


def asv_trials(trials: Sequence[Utterance], models: Sequence[str], conf: MiniCorpusConf, seed: int) -> list[tuple]:
    """(utterance, claimed speaker, key): each spoof claims its speaker; each bona fide its own, and some others."""
    listed = []
    for u in trials:
        if u.attack != BONAFIDE:
            listed.append((u, u.speaker, "spoof"))
            continue
        listed.append((u, u.speaker, "target"))
        others = [model for model in models if model != u.speaker]
        chosen = rng_of(seed, f"claims:{u.name}").permutation(others)[: conf.verification.non_target_models]
        listed += [(u, str(model), "nontarget") for model in sorted(chosen)]
    return listed


def write_asv(
    layout: Layout, utterances: Sequence[Utterance], embeddings: dict, conf: MiniCorpusConf, seed: int
) -> None:
    training = [u for u in utterances if u.split == "train" and u.attack == BONAFIDE]
    verifier = SpeakerVerifier.train(np.stack([embeddings[u.name] for u in training]), [u.speaker for u in training])
    lists = _lists(utterances, conf)
    for listed in conf.lists[1:]:
        enrolment: dict[str, list[str]] = defaultdict(list)
        for u in utterances:
            if u.split == split_of(listed) and not u.trial_of:
                enrolment[u.speaker].append(u.name)
        trials = [
            trial for trial in asv_trials(lists[listed], sorted(enrolment), conf, seed) if trial[1] in enrolment
        ]  # a speaker with one utterance only cannot be enrolled
        scores: dict[tuple[str, str], float] = {}
        for model, files in enrolment.items():
            claims = [u.name for u, claimed, _ in trials if claimed == model]
            if claims:
                scored = verifier.score(
                    np.stack([embeddings[name] for name in files]), np.stack([embeddings[name] for name in claims])
                )
                scores.update({(name, model): score for name, score in zip(claims, scored)})
        write_lines(
            layout.asv_scores(listed),
            (
                f"{'bonafide' if u.attack == BONAFIDE else u.attack} {key} {scores[u.name, claimed]:.6f}"
                for u, claimed, key in trials
            ),
        )
        write_lines(
            layout.asv_protocol(listed, "trn"),
            (f"{speaker} {','.join(files)}" for speaker, files in sorted(enrolment.items())),
        )
        write_lines(
            layout.asv_protocol(listed, "trl"),
            (
                f"{claimed} {u.name} {'bonafide' if u.attack == BONAFIDE else u.attack} {key}"
                for u, claimed, key in trials
            ),
        )


_COLUMNS = ("utterance", "sha256", "set", "speaker", "attack", "source", "parameters", "samples", "entry")


def write_manifest(
    path: Path,
    utterances: Sequence[Utterance],
    rows: Mapping[str, dict],
    labels: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """One line for each file. `labels`: what to call an added speaker, by key. The column `entry` has who was recorded:
    a speaker entry of the conf or a label, "-" for text-to-speech."""

    def lines() -> Iterable[str]:
        yield "\t".join(_COLUMNS)
        for u in utterances:
            row = rows[u.name]
            parameters = " ".join(f"{key}={value}" for key, value in row["parameters"].items()) or "-"
            listed = u.trial_of or f"{u.split}_enrolment"
            entry = one_word(labels.get(u.source, u.source), " ") or "-"
            fields = [u.name, row["sha256"], listed, u.speaker, u.attack, row["source"], parameters]
            yield "\t".join([*fields, str(row["samples"]), entry])

    write_lines(path, lines())
