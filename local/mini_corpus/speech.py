"""From a package's files, or a synthetic voice's prompts, to utterances: the same code for bona fide and TTS.

Everything is float64 at 16 kHz, full scale 1.0, shape (samples,).
"""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy import signal

from local.mini_corpus.attack import RATE, Unusable
from local.mini_corpus.settings import Utterances
from utils.audio import g722
from utils.cli import UserError

_FRAME, _HOP = 320, 160  # 20 ms, 10 ms
_SPLICE = 80  # 5 ms, over which two pieces are cross-faded and ends are faded


def resample(samples: np.ndarray, rate: int, to: int = RATE) -> np.ndarray:
    """`samples` at `rate` Hz brought to `to` Hz (polyphase, linear phase)."""
    if rate == to:
        return samples
    common = math.gcd(rate, to)
    return signal.resample_poly(samples, to // common, rate // common)


def read_file(path: Path) -> np.ndarray | None:
    """A sound file as mono speech, None where its rate is below 16 kHz. Raises UserError if it cannot be decoded."""
    if path.suffix == ".g722":
        return g722.decode(path.read_bytes()) / 32768.0
    try:
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise UserError(f"{path}: cannot be decoded: {error}; remove its package from the downloads folder") from None
    return None if rate < RATE else resample(samples.mean(axis=1), rate)


def frame_levels(speech: np.ndarray) -> np.ndarray:
    """Level of each 20 ms frame, every 10 ms, in dB of full scale; shape (frames,), at least one."""
    if len(speech) < _FRAME:
        speech = np.pad(speech, (0, _FRAME - len(speech)))
    frames = np.lib.stride_tricks.sliding_window_view(speech, _FRAME)[::_HOP]
    return 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)


def active_frames(speech: np.ndarray, below_db: float) -> np.ndarray:
    """Which frames hold speech: those within `below_db` of the 98th percentile (a click would move the maximum)."""
    levels = frame_levels(speech)
    return levels > np.percentile(levels, 98) - below_db


def active_level(speech: np.ndarray, below_db: float = 35.0) -> float:
    """Mean level in dB of full scale of the frames that hold speech; -120 for digital silence."""
    levels = frame_levels(speech)
    active = levels[active_frames(speech, below_db)]
    return float(10 * np.log10(np.mean(10 ** (active / 10)))) if len(active) else -120.0


def check_usable(speech: np.ndarray) -> None:
    """Raises Unusable for what an attack made if that diverged or fell silent."""
    if not np.all(np.isfinite(speech)) or np.max(np.abs(speech)) > 20 or active_level(speech) < -70:
        raise Unusable("it diverged or fell silent")


def _splice(pieces: list[np.ndarray]) -> np.ndarray:
    """Pieces one after another, each join cross-faded over 5 ms."""
    out = pieces[0]
    fade = np.linspace(0.0, 1.0, _SPLICE)
    for piece in pieces[1:]:
        out = np.concatenate([out[:-_SPLICE], out[-_SPLICE:] * (1 - fade) + piece[:_SPLICE] * fade, piece[_SPLICE:]])
    return out


def prepare_item(speech: np.ndarray, conf: Utterances) -> np.ndarray | None:
    """One item: without hum, trimmed, its long pauses cut, at the common level; None where too little is left."""
    if len(speech) < conf.shortest_item_s * RATE or not np.all(np.isfinite(speech)) or not np.any(speech):
        return None
    speech = signal.sosfilt(signal.butter(4, 60.0, "highpass", fs=RATE, output="sos"), speech)
    active = active_frames(speech, conf.trim_db)
    where = np.flatnonzero(active)
    if not len(where):
        return None
    keep = int(conf.longest_pause_ms * RATE / 1000)
    pieces, start = [], int(where[0]) * _HOP
    for before, after in zip(where[:-1], where[1:]):
        pause_from, pause_to = int(before) * _HOP + _FRAME, int(after) * _HOP
        if pause_to - pause_from > keep + 2 * _SPLICE:
            pieces.append(speech[start : pause_from + keep // 2])
            start = pause_to - keep // 2
    pieces.append(speech[start : int(where[-1]) * _HOP + _FRAME])
    speech = _splice(pieces)
    if len(speech) < conf.shortest_item_s * RATE:
        return None
    return speech * 10 ** ((conf.level_db - active_level(speech, conf.trim_db)) / 20)


@dataclass(frozen=True)
class Joined:
    """One utterance before any attack and before the chain, with the names of the items in it."""

    speech: np.ndarray
    items: tuple[str, ...]


def join_items(
    items: Iterable[tuple[str, np.ndarray]], rng: np.random.Generator, conf: Utterances, keep_rest: bool = False
) -> Iterator[Joined]:
    """Utterances of drawn lengths from prepared items, each item in one utterance only.

    With `keep_rest`, for long recordings, what is cut off an item begins the next utterance, and the cut is made where
    it is quietest near the drawn length. What is left of the items at the end, too short for an utterance, is not used.
    """

    def next_length() -> int:
        return int(rng.uniform(*conf.seconds) * RATE)

    length = next_length()
    names: list[str] = []
    pieces: list[np.ndarray] = []
    total = 0
    for name, speech in items:
        if pieces:
            gap = np.zeros(int(rng.uniform(*conf.gap_ms) * RATE / 1000))
            pieces.append(gap)
            total += len(gap)
        speech = speech.copy()
        speech[:_SPLICE] *= np.linspace(0, 1, _SPLICE)
        speech[-_SPLICE:] *= np.linspace(1, 0, _SPLICE)
        pieces.append(speech)
        names.append(name)
        total += len(speech)
        while total >= length:
            everything = np.concatenate(pieces)
            shortest = max(int(conf.seconds[0] * RATE), total - len(speech))  # what goes on is of this item alone
            cut = _quietest(everything, length, shortest) if keep_rest else length
            utterance, rest = everything[:cut], everything[cut:].copy()
            utterance[-_SPLICE:] *= np.linspace(1, 0, _SPLICE)
            yield Joined(utterance, tuple(names))
            names, pieces, total, length = [], [], 0, next_length()
            if not keep_rest or len(rest) < conf.shortest_item_s * RATE:
                break
            rest[:_SPLICE] *= np.linspace(0, 1, _SPLICE)
            speech, names, pieces, total = rest, [name], [rest], len(rest)


def _quietest(speech: np.ndarray, end: int, shortest: int) -> int:
    """Where to cut: in the middle of the quietest 20 ms within the last 0.4 s before sample `end`, not below
    `shortest` samples."""
    start = max(shortest, end - int(0.4 * RATE))
    if end - start < _FRAME:
        return end
    return start + int(np.argmin(frame_levels(speech[start:end]))) * _HOP + _FRAME // 2


def read_prompts(path: Path) -> list[tuple[str, str]]:
    """Lines `name: text` of a gzip'd transcript as (name, text), those that describe tones or give notes left out."""
    prompts = []
    for line in gzip.decompress(path.read_bytes()).decode("utf-8-sig").splitlines():
        name, colon, text = line.partition(":")
        text = re.sub(r"\s+", " ", text).strip()
        if not colon or name.startswith(";") or not re.fullmatch(r"[\w./-]+", name.strip()):
            continue
        if text and not re.search(r"[\[\]<>(){}|]", text) and re.search(r"[^\W\d_]", text):
            prompts.append((name.strip(), text))
    return prompts
