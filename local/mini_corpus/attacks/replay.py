"""Replay, as an attack of one utterance. The PA corpus makes its files by replay/making.py."""

from __future__ import annotations

import numpy as np

from local.mini_corpus.attack import copy_attack
from local.mini_corpus.replay.devices import draw_device
from local.mini_corpus.replay.present import present_replay
from local.mini_corpus.replay.rooms import draw_environment


@copy_attack("rooms")
def replay(speech: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`speech` replayed by a low-quality device in a small room: what tells whether the rooms' package works here."""
    there = draw_environment("aaa", rng, attackers="A", responses=1)
    return present_replay(speech, there.to_attacker["A"][0], draw_device("C", rng), there.to_asv[0])[: len(speech)]
