"""The lists of a made mini corpus: protocols, the speaker verifier's trials and scores, the manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from local.mini_corpus.asv import SpeakerVerifier
from local.mini_corpus.chain import rng_of
from local.mini_corpus.conf import LISTS, MiniCorpusConf, split_of
from local.mini_corpus.planning import BONAFIDE, Utterance
from utils.files import write_lines

_SUFFIX = {"train": "trn", "dev": "trl", "eval": "trl", "eval_known": "trl"}


def _lists(utterances: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    """List -> its trials. eval_known has the bona fide trials of eval."""
    return {
        listed: [
            u
            for u in utterances
            if u.trial_of == listed or (listed == "eval_known" and u.trial_of == "eval" and u.attack == BONAFIDE)
        ]
        for listed in LISTS
    }


def write_protocols(la: Path, utterances: Sequence[Utterance]) -> None:
    folder = la / "ASVspoof2019_LA_cm_protocols"
    for listed, trials in _lists(utterances).items():
        write_lines(
            folder / f"ASVspoof2019.LA.cm.{listed}.{_SUFFIX[listed]}.txt",
            (f"{u.speaker} {u.name} - {u.attack} {u.key}" for u in trials),
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


def write_asv(la: Path, utterances: Sequence[Utterance], embeddings: dict, conf: MiniCorpusConf, seed: int) -> None:
    training = [u for u in utterances if u.split == "train" and u.attack == BONAFIDE]
    verifier = SpeakerVerifier.train(np.stack([embeddings[u.name] for u in training]), [u.speaker for u in training])
    lists = _lists(utterances)
    for listed in ("dev", "eval", "eval_known"):
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
            la / "ASVspoof2019_LA_asv_scores" / f"ASVspoof2019.LA.asv.{listed}.gi.trl.scores.txt",
            (
                f"{'bonafide' if u.attack == BONAFIDE else u.attack} {key} {scores[u.name, claimed]:.6f}"
                for u, claimed, key in trials
            ),
        )
        write_lines(
            la / "ASVspoof2019_LA_asv_protocols" / f"ASVspoof2019.LA.asv.{listed}.gi.trn.txt",
            (f"{speaker} {','.join(files)}" for speaker, files in sorted(enrolment.items())),
        )
        write_lines(
            la / "ASVspoof2019_LA_asv_protocols" / f"ASVspoof2019.LA.asv.{listed}.gi.trl.txt",
            (
                f"{claimed} {u.name} {'bonafide' if u.attack == BONAFIDE else u.attack} {key}"
                for u, claimed, key in trials
            ),
        )


def write_manifest(path: Path, utterances: Sequence[Utterance], rows: dict[str, dict]) -> None:
    def lines() -> Iterable[str]:
        yield "\t".join(["utterance", "sha256", "set", "speaker", "attack", "source", "parameters"])
        for u in utterances:
            row = rows[u.name]
            parameters = " ".join(f"{key}={value}" for key, value in row["parameters"].items()) or "-"
            listed = u.trial_of or f"{u.split}_enrolment"
            yield "\t".join([u.name, row["sha256"], listed, u.speaker, u.attack, row["source"], parameters])

    write_lines(path, lines())
