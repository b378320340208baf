"""What the verifier's microphone hears: a talker, or a recording of the talker by an attacker's loudspeaker.

Both come out equally long and equally loud, whatever rooms and devices were in between, so that neither gives the class
away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal

from local.mini_corpus.attack import RATE, Unusable
from local.mini_corpus.replay.devices import Device, play
from local.mini_corpus.replay.rooms import Response
from local.mini_corpus.speech import active_level


@dataclass(frozen=True)
class PresentConf:
    """What is done alike to both classes."""

    tail_ms: float = 200.0  # of reverberation kept after the utterance's end; longer ones are cut, shorter ones silent
    fade_ms: float = 5.0  # over which the end is faded out
    level_db: float = -26.0  # active level, dB of full scale

    def __post_init__(self):
        for name, low, high in (("tail_ms", 0.0, 2000.0), ("fade_ms", 0.0, 100.0), ("level_db", -60.0, -10.0)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}: {getattr(self, name)} is not within {low:g} and {high:g}")


def _heard(speech: np.ndarray, response: Response, samples: int) -> np.ndarray:
    """`speech` through `response`, its direct sound in step with `speech`; the first `samples`."""
    heard = signal.fftconvolve(speech, response.samples)[response.onset : response.onset + samples]
    return np.pad(heard, (0, samples - len(heard)))


def _finished(heard: np.ndarray, conf: PresentConf) -> np.ndarray:
    heard = heard.copy()
    fade = round(conf.fade_ms * RATE / 1000)
    if fade:
        heard[-fade:] *= np.linspace(1, 0, fade)
    return heard * 10 ** ((conf.level_db - active_level(heard)) / 20)


def _check(speech: np.ndarray) -> None:
    if speech.ndim != 1 or not np.all(np.isfinite(speech)) or active_level(speech) < -100:
        raise Unusable("it is silent, or no speech of one channel")


def present_bonafide(speech: np.ndarray, to_asv: Response, conf: PresentConf | None = None) -> np.ndarray:
    """The talker at the place and in the room of `to_asv`, as the ASV microphone hears it.

    `speech`: shape (samples,). Returns shape (samples + tail_ms,), the direct sound in step with `speech`, its active
    level (`speech.active_level`) at `level_db`; peaks are not limited. Raises Unusable for silence.
    """
    conf = conf or PresentConf()
    _check(speech)
    return _finished(_heard(speech, to_asv, len(speech) + round(conf.tail_ms * RATE / 1000)), conf)


def present_replay(
    speech: np.ndarray, to_attacker: Response, device: Device, to_asv: Response, conf: PresentConf | None = None
) -> np.ndarray:
    """The talker recorded by the attacker (`to_attacker`), played by `device` at the talker's distance (`to_asv`, of
    the same kind as for bona fide speech), as the ASV microphone hears it.

    The attacker's microphone adds nothing, as in ASVspoof 2019, and its recording lasts as long as what is returned, so
    that the tail holds both rooms' reverberation. Shapes, alignment (less the device filter's own delay, below 2 ms),
    level and errors as `present_bonafide`.
    """
    conf = conf or PresentConf()
    _check(speech)
    samples = len(speech) + round(conf.tail_ms * RATE / 1000)
    recording = _heard(speech, to_attacker, samples + to_asv.onset)
    return _finished(_heard(play(recording, device), to_asv, samples), conf)
