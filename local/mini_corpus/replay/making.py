"""Physical access: each utterance in a room, talked or replayed, as the verifier's microphone hears it."""

from __future__ import annotations

import functools

import numpy as np
from scipy import signal

from local.mini_corpus.attack import RATE
from local.mini_corpus.chain import rng_of
from local.mini_corpus.planning import BONAFIDE, Utterance
from local.mini_corpus.replay.devices import Device, draw_device
from local.mini_corpus.replay.present import present_bonafide, present_replay
from local.mini_corpus.replay.rooms import Environment, draw_environment
from local.mini_corpus.replay.settings import ReplayConf
from local.mini_corpus.speech import active_level
from local.mini_corpus.workshop import Made, Workshop

_PEAK = 0.98


@functools.lru_cache(maxsize=256)
def _environment(seed: int, name: str, conf: ReplayConf) -> Environment:
    rng = rng_of(seed, f"environment:{name}")
    return draw_environment(name.split(":")[1], rng, conf.room, responses=conf.amounts.places)


@functools.lru_cache(maxsize=256)
def _device(seed: int, split: str, quality: str, number: int, conf: ReplayConf) -> Device:
    return draw_device(quality, rng_of(seed, f"device:{split}:{quality}:{number}"), conf.device)


def make(shop: Workshop, utterance: Utterance) -> Made:
    """One file of the corpus: silence, the utterance as the verifier's microphone hears it, its noise.

    Both classes go the same way but for the replay itself. Raises Unusable for an utterance without speech.
    """
    conf = shop.conf.replay
    speech, source = shop.bonafide_speech(utterance.source, utterance.number)
    rng = rng_of(shop.seed, f"{utterance.name}.flac")
    # drawn in one order for both classes, whatever is then used
    room, place, recorded, unit = (int(rng.integers(2**31)) for _ in range(4))
    lead, snr_db = rng.uniform(*conf.lead_ms), rng.uniform(*conf.noise_snr_db)
    name = f"{utterance.split}:{utterance.environment}:{room % getattr(conf.amounts.rooms, utterance.split)}"
    there = _environment(shop.seed, name, conf)
    to_asv = there.to_asv[place % conf.amounts.places]
    speech = np.pad(speech, (round(lead * RATE / 1000), 0))
    parameters: dict[str, object] = {
        "room": name,
        "size_m": "x".join(f"{side:g}" for side in there.room.size_m),
        "t60_ms": round(1000 * there.room.t60_s),
        "asv_cm": round(100 * to_asv.distance_m),
    }
    if utterance.attack == BONAFIDE:
        heard = present_bonafide(speech, to_asv, conf.present)
    else:
        distance, quality = utterance.attack
        to_attacker = there.to_attacker[distance][recorded % conf.amounts.places]
        number = unit % getattr(conf.amounts.devices, utterance.split)
        device = _device(shop.seed, utterance.split, quality, number, conf)
        heard = present_replay(speech, to_attacker, device, to_asv, conf.present)
        parameters |= {
            "attacker_cm": round(100 * to_attacker.distance_m),
            "device": f"{utterance.split}:{quality}:{number}",
        }
        if quality != "A":
            parameters |= {
                "low_cut_hz": device.low_cut_hz,
                "upper_hz": device.upper_hz,
                "distortion": device.distortion,
            }
    # The microphone: each pass through a room takes some of what is below 120 Hz and above 7.6 kHz, so that a replay
    # would be known by two passes. Its band begins and ends inside, the level is set within it, and its noise, which
    # comes after the lower edge, covers what that leaves.
    heard = signal.sosfilt(_lower_edge(conf.low_hz), heard)
    heard *= 10 ** ((conf.present.level_db - active_level(heard)) / 20)
    heard = heard + rng.standard_normal(len(heard)) * 10 ** ((conf.present.level_db - snr_db) / 20)
    heard = signal.sosfilt(_upper_edge(conf.stop_hz), heard)
    heard *= 10 ** ((rng.uniform(*conf.final_level_db) - conf.present.level_db) / 20)
    loudest = float(np.max(np.abs(heard)))
    if loudest > _PEAK:
        heard = heard * (_PEAK / loudest)
    return Made(np.round(heard * 32767).astype(np.int16), source, parameters)


@functools.lru_cache(maxsize=4)
def _lower_edge(low_hz: float) -> np.ndarray:
    return signal.butter(6, low_hz, "highpass", fs=RATE, output="sos")


@functools.lru_cache(maxsize=4)
def _upper_edge(stop_hz: float) -> np.ndarray:
    return signal.cheby2(10, 60, stop_hz, fs=RATE, output="sos")
