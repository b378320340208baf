"""A picture of a recording: waveform, spectrogram, and the score over time."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.fft

from steps.inference.clock import clock
from utils.files import write_aside

if TYPE_CHECKING:
    from steps.inference.detector import Result, Window

_COLUMN_SECONDS = 0.01
_FRAME_SECONDS = 0.032
_MOST_COLUMNS = 2400  # about the picture's pixels
_RANGE_DB = 70
_FOOT_WIDTH = 170  # characters of a line that fits under the picture
_LABEL_SHARE = 0.05  # of the picture's width, what a label of a lowest window needs

_INK, _SOFT, _GRID = "#101418", "#59626d", "#d9dde2"
_BONAFIDE, _SPOOF, _PLAIN = "#0072b2", "#d55e00", "#59626d"  # Okabe and Ito's blue and vermilion
_COLOURS = {False: _BONAFIDE, True: _SPOOF, None: _PLAIN}  # by whether it is below the threshold
_STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": _INK,
    "text.parse_math": False,  # a file's name may have dollar signs
    "axes.labelcolor": _INK,
    "axes.edgecolor": _SOFT,
    "axes.linewidth": 0.6,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
}


class Overview:
    """Envelope and spectrogram of a waveform that comes in blocks, in memory that does not grow with its length: of a long
    one, neighbouring columns are put together."""

    def __init__(self, rate: int):
        """rate: Hz."""
        self.rate = rate
        self._step = max(1, round(_COLUMN_SECONDS * rate))
        self._frame = max(self._step, round(_FRAME_SECONDS * rate))
        self._window = np.hanning(self._frame + 1)[:-1].astype(np.float32)
        self._rest = np.zeros(0, np.float32)
        self._merge = 1  # plain columns in one that is kept
        self._raw: list[np.ndarray] = []  # plain columns not yet put together: low, high, power of the bins
        self._kept = np.zeros((0, 2 + self._frame // 2 + 1), np.float32)

    @property
    def column_seconds(self) -> float:
        return self._merge * self._step / self.rate

    def add(self, samples: np.ndarray) -> None:
        """samples: (n,)."""
        self._rest = np.concatenate([self._rest, samples.astype(np.float32)])
        count = (len(self._rest) - self._frame) // self._step + 1
        if count > 0:
            self._take(count)

    def _take(self, count: int) -> None:
        frames = np.lib.stride_tricks.sliding_window_view(self._rest, self._frame)[:: self._step][:count]
        power = np.square(np.abs(scipy.fft.rfft(frames * self._window, axis=1))).astype(np.float32)
        own = frames[:, : self._step]
        self._raw.append(np.column_stack([own.min(axis=1), own.max(axis=1), power]))
        self._rest = self._rest[count * self._step :]
        raw = np.concatenate(self._raw)
        whole = len(raw) // self._merge * self._merge
        self._kept = np.concatenate([self._kept, _merged(raw[:whole], self._merge)])
        self._raw = [raw[whole:]]
        while len(self._kept) > _MOST_COLUMNS:
            even = len(self._kept) // 2 * 2
            if even < len(self._kept):  # the odd one goes back
                self._raw.insert(0, np.repeat(self._kept[even:], self._merge, axis=0))
            self._kept, self._merge = _merged(self._kept[:even], 2), 2 * self._merge

    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """low, high: (columns,) of the waveform; power: (columns, bins) of the spectrum, from 0 Hz to half the rate."""
        rows = [self._kept]
        rest = np.pad(self._rest, (0, max(0, self._frame - len(self._rest))))
        if len(self._rest):
            power = np.square(np.abs(scipy.fft.rfft(rest[: self._frame] * self._window))).astype(np.float32)
            self_raw = [*self._raw, np.concatenate([[self._rest.min(), self._rest.max()], power])[None]]
        else:
            self_raw = self._raw
        if sum(map(len, self_raw)):
            left = np.concatenate(self_raw)
            rows.append(_merged(left, len(left)))
        table = np.concatenate(rows)
        return table[:, 0], table[:, 1], table[:, 2:]

    def spectrogram(self) -> np.ndarray:
        """(columns, bins): the spectrum's level, 1 for its loudest places, 0 for those _RANGE_DB or more below."""
        decibel = 10 * np.log10(self.columns()[2] + 1e-12)
        top = float(np.percentile(decibel, 99.8))
        return np.clip((decibel - top) / _RANGE_DB + 1, 0, 1)


def _merged(columns: np.ndarray, count: int) -> np.ndarray:
    """(n x count, 2 + bins) -> (n, 2 + bins): lowest of low, highest of high, mean power."""
    if count == 1 or len(columns) == 0:
        return columns
    groups = columns.reshape(-1, count, columns.shape[1])
    return np.column_stack([groups[:, :, 0].min(axis=1), groups[:, :, 1].max(axis=1), groups[:, :, 2:].mean(axis=1)])


def draw(path: Path, result: Result, about: dict[str, Any], lowest: int = 3) -> None:
    """Write a PNG of a Result that has an overview. about: of FakeSpeechDetector.about; lowest: stretches that are marked."""
    from matplotlib import rc_context  # here, because it takes a while to load
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    low, high, _ = result.overview.columns()
    seconds, step = result.seconds, result.overview.column_seconds
    calibrated = result.llr is not None
    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script that the font lacks
        figure = Figure(figsize=(12, 6.4), layout="constrained")
        wave, spectrogram, scores = figure.subplots(3, 1, sharex=True, height_ratios=(1.0, 2.0, 1.6))
        figure.suptitle(_title(result), x=0.01, ha="left", fontsize=11, fontweight="bold")
        if result.below_in_words:
            wave.set_title(result.below_in_words, loc="left", x=0, pad=18, fontsize=9, color=_INK)

        times = np.arange(len(low)) * step
        wave.fill_between(times, low, high, step="post", color=_INK, linewidth=0.3)
        peak = max(0.02, float(np.abs([low.min(), high.max()]).max()))
        wave.set(ylim=(-1.05 * peak, 1.05 * peak), ylabel="waveform")

        khz = result.overview.rate / 2000
        spectrogram.imshow(
            result.overview.spectrogram().T,
            origin="lower",
            aspect="auto",
            extent=(0, len(low) * step, 0, khz),
            cmap="magma",
            vmin=0,
            vmax=1,
            interpolation="antialiased",
        )
        spectrogram.set_ylabel("kHz")

        _draw_scores(scores, result, about, calibrated)
        for begin, end in result.below.stretches if result.below else ():
            for axes in (wave, scores):
                axes.axvspan(begin, end, color=_SPOOF, alpha=0.14, linewidth=0)
        if len(result.windows) > 1:
            _draw_lowest(wave, result.lowest(lowest), seconds)
        scores.set_xlim(0, max(seconds, 1e-3))
        scores.xaxis.set_major_formatter(FuncFormatter(lambda t, _: clock(t, seconds).removesuffix(".0")))
        if seconds >= 60:
            _whole_ticks(scores, seconds)
        unit = "s" if seconds < 60 else "min:s" if seconds < 3600 else "h:min:s"
        scores.set_xlabel(f"time, {unit}")
        figure.supxlabel(_foot(result, about), x=0.01, ha="left", fontsize=8, color=_SOFT)
        with write_aside(path, "wb") as handle:
            figure.savefig(handle, format="png", dpi=120)


def _draw_lowest(axes: Any, windows: Sequence[Window], seconds: float) -> None:
    """A line over each and their numbers above it; those that would lie on one another share a label."""
    above = {"transform": axes.get_xaxis_transform(), "clip_on": False, "color": _SOFT}
    labels: list[tuple[float, list[int]]] = []
    for number, window in sorted(enumerate(windows, 1), key=lambda one: one[1].begin):
        axes.plot([window.begin, window.end], [1.03, 1.03], linewidth=2, solid_capstyle="butt", **above)
        middle = (window.begin + window.end) / 2
        if labels and middle - labels[-1][0] < _LABEL_SHARE * seconds:
            labels[-1][1].append(number)
        else:
            labels.append((middle, [number]))
    for middle, numbers in labels:
        text = ("lowest " if 1 in numbers else "") + ", ".join(map(str, sorted(numbers)))
        axes.text(middle, 1.06, text, ha="center", va="bottom", fontsize=8, **above)


def _whole_ticks(axes: Any, seconds: float) -> None:
    steps = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
    step = next((step for step in steps if seconds / step <= 12), 3600 * math.ceil(seconds / 3600 / 12))
    axes.set_xticks(np.arange(0, seconds + 1e-6, step))


def _title(result: Result) -> str:
    name = "".join(c if c.isprintable() else "?" for c in result.name)
    name = _end_of(name, 70)
    channel = (
        ""
        if result.channel is None
        else f" ({'channels ' if result.channel == 'mixed' else 'channel '}{result.channel})"
    )
    said = (
        f"score {result.score:+.3f}"
        if result.llr is None
        else f"{result.verdict or 'no verdict'}, LLR {result.llr:+.2f}"
    )
    return f"{name}{channel}: {said}"


def _end_of(text: str, width: int) -> str:
    return text if len(text) <= width else "…" + text[1 - width :]


def _foot(result: Result, about: dict[str, Any]) -> str:
    text = textwrap.fill("; ".join(result.notes), _FOOT_WIDTH) + "\n" if result.notes else ""
    text += f"{_end_of(about['model'], 70)}, trained on {about['corpus']}; windows of {about['window_seconds']:.2f} s"
    if about["mini_corpus"]:
        text += "; the mini corpus is for trying the toolkit: this verdict is no evidence"
    return text


def _draw_scores(axes: Any, result: Result, about: dict[str, Any], calibrated: bool) -> None:
    """A bar of each window over the time that it covers, or, where there are many, a line through their middles."""
    threshold = about["threshold"]
    windows = [window for window in result.windows if window.counts]
    beyond = [window for window in result.windows if window.score is not None and not window.counts]
    values = np.array([window.llr if calibrated else window.score for window in windows])
    colours = [_COLOURS[window.below] for window in windows]
    middles = np.array([(window.begin + window.end) / 2 for window in windows])
    if len(windows) <= 60:
        begins, ends = [w.begin for w in windows], [w.end for w in windows]
        axes.hlines(values, begins, ends, colors=colours, linewidth=2.5 if len(windows) <= 30 else 1.5, alpha=0.85)
    else:
        breaks = np.flatnonzero(np.diff(middles) > 1.5 * about["hop_seconds"]) + 1  # silence between
        for x, y in zip(np.split(middles, breaks), np.split(values, breaks)):
            axes.plot(x, y, color=_SOFT, linewidth=0.6)
    axes.scatter(middles, values, c=colours, s=22 if len(windows) <= 60 else 7, zorder=3, linewidths=0)
    mean = result.llr if calibrated else result.score
    if not windows:
        values = np.array([mean])
    axes.axhline(mean, color=_INK, linewidth=0.9, linestyle=":")
    labels = [(mean, {"min": "lowest", "first": "score"}.get(about["pool"], "mean"), _INK)]
    if calibrated:
        axes.axhline(threshold, color=_SOFT, linewidth=0.9, linestyle="--")
        labels.append((threshold, "threshold", _SOFT))
    span = [*values, mean, *([threshold] if calibrated else [])]
    margin = max(0.5, 0.12 * (max(span) - min(span)))
    axes.set_ylim(min(span) - margin, max(span) + margin)
    for window in beyond:  # at the edge, so that they leave the others room
        up = window.llr > mean
        axes.plot((window.begin + window.end) / 2, 0.96 if up else 0.04, marker="^" if up else "v", color=_COLOURS[window.below],
                  markersize=5, transform=axes.get_xaxis_transform())  # fmt: skip
    labels.sort(key=lambda label: label[0])
    close = len(labels) == 2 and labels[1][0] - labels[0][0] < 0.09 * (max(span) - min(span) + 2 * margin)
    for number, (value, text, colour) in enumerate(labels):
        where = ("top", "bottom")[number] if close else "center"
        axes.text(1.004, value, text, transform=axes.get_yaxis_transform(), va=where, fontsize=8, color=colour)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.set_ylabel("LLR (up: bona fide)" if calibrated else "score (up: bona fide)")
