"""Logical access: a bona fide utterance, a synthetic voice or a changed copy, then the channel that all share."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from local.mini_corpus.attack import Unusable
from local.mini_corpus.chain import rng_of, through_chain
from local.mini_corpus.conf import AttackEntry
from local.mini_corpus.planning import BONAFIDE, Utterance
from local.mini_corpus.settings import SPLITS
from local.mini_corpus.speech import check_usable, join_items, prepare_item, read_prompts
from local.mini_corpus.workshop import Made, Workshop

_LONGEST_PROMPT = 10  # words: a TTS utterance takes 3.5 s at most


@functools.lru_cache(maxsize=64)
def _prompts(file: str) -> list[tuple[str, str]]:
    return read_prompts(Path(file))


def texts_of_split(texts: Iterable[tuple[str, str]], split: str) -> list[tuple[str, str]]:
    """The (name, text) that one split may say: every third of the texts that differ in more than case and punctuation,
    so that no text is said in two splits."""
    distinct: dict[str, tuple[str, str]] = {}
    for name, text in texts:
        distinct.setdefault(" ".join(re.findall(r"\w+", text.lower())), (name, text))
    return list(distinct.values())[SPLITS.index(split) :: len(SPLITS)]


def _words(prompts: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Each prompt's words of two letters or more, under the prompt's name."""
    return ((name, word) for name, text in prompts for word in text.split() if sum(c.isalpha() for c in word) > 1)


def _speak(shop: Workshop, utterance: Utterance, entry: AttackEntry, drawn: dict) -> tuple[np.ndarray, str, str]:
    """A TTS utterance, its source, and its language: prompts (or, every other time, single words of them) joined."""
    rng = rng_of(shop.seed, f"prompts:{utterance.attack}:{utterance.trial_of}:{utterance.number}")
    language = entry.languages[utterance.number % len(entry.languages)]
    where = shop.conf.prompts[language]
    prompts = _prompts(str(Path(shop.package_folders[where.package]) / where.file))
    words_only = bool(rng.integers(2))
    begins = ((name, " ".join(text.split()[:_LONGEST_PROMPT])) for name, text in prompts)
    sayable = texts_of_split(_words(prompts) if words_only else begins, utterance.split)

    def texts() -> Iterable[tuple[str, str]]:
        while True:
            for i in rng.permutation(len(sayable)):
                yield sayable[i]

    queue = iter(texts())
    items: list[tuple[str, np.ndarray]] = []
    for _ in range(12):
        batch = [next(queue) for _ in range(4 if words_only else 1)]
        spoken = entry.attack.function([text for _, text in batch], language, rng, **drawn)
        for (name, _), speech in zip(batch, spoken):
            item = prepare_item(speech, shop.conf.utterance)
            if item is not None:
                items.append((name, item))
        # the same numbers for each try, so that the length does not depend on how much was spoken at first
        lengths = rng_of(shop.seed, f"lengths:{utterance.name}")
        for joined in join_items(items, lengths, shop.conf.utterance):
            return joined.speech, f"{shop.package_names[where.package]}: {' '.join(joined.items)}", language
    raise Unusable("its voice said too little")


def make(shop: Workshop, utterance: Utterance) -> Made:
    """One file of the corpus. Raises Unusable where an attack made nothing that can be used."""
    parameters: dict[str, Any] = {}
    if utterance.attack == BONAFIDE:
        speech, source = shop.bonafide_speech(utterance.source, utterance.number)
    else:
        entry = shop.conf.attacks[utterance.attack]
        rng = rng_of(shop.seed, f"{utterance.attack}:{utterance.trial_of}:{utterance.source}:{utterance.number}")
        parameters = {key: draw(rng) for key, draw in entry.draw.items()}
        if entry.attack.speaks:
            speech, source, parameters["language"] = _speak(shop, utterance, entry, dict(parameters))
        else:
            original, source = shop.bonafide_speech(utterance.source, utterance.number)
            speech = entry.attack.function(original, rng, **parameters)
            if len(speech) != len(original):
                raise RuntimeError(f"{entry.method} made {len(speech)} samples of {len(original)}")
    check_usable(speech)
    samples = through_chain(speech, rng_of(shop.seed, f"{utterance.name}.flac"), shop.conf.chain)
    return Made(samples, source, parameters)
