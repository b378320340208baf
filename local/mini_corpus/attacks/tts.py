"""Attacks that speak given texts. Each function's keyword-only parameters stand in the conf.

All take texts, their language and a random generator, and give one speech signal (float64, 16 kHz) for each text.
"""

from __future__ import annotations

import contextlib
import io
import re
import unicodedata

import numpy as np

from local.mini_corpus import espeak
from local.mini_corpus.attack import Unusable, tts_attack
from local.mini_corpus.speech import resample


@tts_attack("espeak")
def formant_tts(
    texts: list[str],
    language: str,
    rng: np.random.Generator,
    *,
    variant: str,
    words_per_minute: int,
    pitch: int,
    pitch_range: int,
) -> list[np.ndarray]:
    """eSpeak NG: rules to phonemes, phonemes to formants. `variant` is one of its voices; `pitch` and `pitch_range`
    are 0 to 100."""
    voice = f"{language}+{variant}"
    spoken, rate = espeak.speak(texts, voice, words_per_minute=words_per_minute, pitch=pitch, pitch_range=pitch_range)
    return [resample(np.frombuffer(samples or bytes(2), np.int16) / 32768.0, rate) for samples in spoken]


# Kana for a, i, u, e, o after each consonant; the last entry for the consonant alone.
_KANA = {
    "": ("ア", "イ", "ウ", "エ", "オ"),
    "k": ("カ", "キ", "ク", "ケ", "コ", "ク"),
    "g": ("ガ", "ギ", "グ", "ゲ", "ゴ", "グ"),
    "s": ("サ", "シ", "ス", "セ", "ソ", "ス"),
    "z": ("ザ", "ジ", "ズ", "ゼ", "ゾ", "ズ"),
    "t": ("タ", "ティ", "トゥ", "テ", "ト", "ト"),
    "d": ("ダ", "ディ", "ドゥ", "デ", "ド", "ド"),
    "n": ("ナ", "ニ", "ヌ", "ネ", "ノ", "ン"),
    "h": ("ハ", "ヒ", "フ", "ヘ", "ホ", "フ"),
    "b": ("バ", "ビ", "ブ", "ベ", "ボ", "ブ"),
    "p": ("パ", "ピ", "プ", "ペ", "ポ", "プ"),
    "m": ("マ", "ミ", "ム", "メ", "モ", "ム"),
    "r": ("ラ", "リ", "ル", "レ", "ロ", "ル"),
    "y": ("ヤ", "イ", "ユ", "イェ", "ヨ", "イ"),
    "w": ("ワ", "ウィ", "ウ", "ウェ", "ウォ", "ウ"),
    "f": ("ファ", "フィ", "フ", "フェ", "フォ", "フ"),
    "v": ("ヴァ", "ヴィ", "ヴ", "ヴェ", "ヴォ", "ヴ"),
    "C": ("チャ", "チ", "チュ", "チェ", "チョ", "チ"),  # as in church
    "J": ("ジャ", "ジ", "ジュ", "ジェ", "ジョ", "ジ"),  # as in judge
    "S": ("シャ", "シ", "シュ", "シェ", "ショ", "シュ"),  # as in ship
    "N": ("ニャ", "ニ", "ニュ", "ニェ", "ニョ", "ニ"),  # Spanish n with tilde, Italian gn
}
# Spanish and Italian spelling to the keys above, longest first; what they write alike and say otherwise is said the
# Italian way.
_SPELLING = [
    ("ñ", "N"), ("gn", "N"), ("ch", "k"), ("gh", "g"), ("sci", "Si"), ("sce", "Se"), ("cci", "Ci"), ("cce", "Ce"),
    ("ci", "Ci"), ("ce", "Ce"), ("gi", "Ji"), ("ge", "Je"), ("gli", "ri"), ("qu", "kw"), ("ll", "r"), ("j", "h"),
    ("c", "k"), ("q", "k"), ("l", "r"), ("x", "kus"),
]  # fmt: skip


def to_kana(text: str) -> str:
    """Spanish or Italian text as katakana; what is neither Latin letter nor punctuation stays as it is."""
    plain = unicodedata.normalize("NFD", text.lower().replace("ñ", "gn"))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    for written, said in _SPELLING:
        plain = plain.replace(written, said)
    plain = re.sub(r"([a-zA-Z])\1+", r"\1", plain)

    consonants = "".join(_KANA)
    return re.sub(
        f"([{consonants}])?([aiueo])|([{consonants}])",
        lambda m: _KANA[m[1] or ""]["aiueo".index(m[2])] if m[2] else _KANA[m[3]][5],
        plain,
    )


@tts_attack("hts")
def hts_tts(
    texts: list[str], language: str, rng: np.random.Generator, *, half_tone: float, speed: float
) -> list[np.ndarray]:
    """A Japanese HMM voice (Open JTalk, HTS engine). Texts in Latin letters are spelt in kana, as a Japanese would
    read them aloud."""
    # its import greets on both streams: that onnxruntime, which it can do without, is missing
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import pyopenjtalk

    spoken = []
    for text in texts:
        samples, rate = pyopenjtalk.tts(to_kana(text), speed=speed, half_tone=half_tone)
        if not len(samples):
            raise Unusable(f"it says nothing to {text!r}")
        spoken.append(resample(np.asarray(samples, float) / 32768.0, rate))
    return spoken
