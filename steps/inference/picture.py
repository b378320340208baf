"""A picture of a recording: waveform, spectrogram, spoofed stretches, and the score over time."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steps.inference.clock import clock, stretch_clock
from steps.inference.result import Result, Stretch, Window
from utils.files import write_aside

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FOOT_WIDTH = 170  # characters of a line that fits under the picture
_LABEL_SHARE = 0.05  # of the picture's width, what a label of a lowest window needs
_LETTER_SHARE = 0.0052  # likewise, a letter of a stretch's label

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


def draw(path: Path, result: Result, about: dict[str, Any], lowest: int = 3) -> None:
    """Write a PNG of a Result that has an overview. about: of FakeSpeechDetector.about; lowest: windows that are
    marked."""
    from matplotlib import rc_context  # here, because it takes a while to load

    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script that the font lacks
        figure = figure_of(result, about, lowest)
        with write_aside(path, "wb") as handle:
            figure.savefig(handle, format="png", dpi=120)


def figure_of(result: Result, about: dict[str, Any], lowest: int = 3) -> Figure:
    """What `draw` writes. Orange is what the detector takes for spoof: the stretches that its frames find or, if it
    scores no frames, those of windows below the threshold are shaded."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    low, high, _ = result.overview.columns()
    seconds, step = result.seconds, result.overview.column_seconds
    calibrated = result.llr is not None
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    heights = {"wave": 1.0, "spectrogram": 2.0, "stretches": 0.3, "scores": 1.6}
    if result.stretches is None:
        del heights["stretches"]
    axes_of = dict(zip(heights, figure.subplots(len(heights), 1, sharex=True, height_ratios=tuple(heights.values()))))
    wave, spectrogram, scores = axes_of["wave"], axes_of["spectrogram"], axes_of["scores"]
    figure.suptitle(_title(result), x=0.01, ha="left", fontsize=11, fontweight="bold")
    said = "\n".join(filter(None, [result.spoofed_in_words, result.below_in_words]))
    if said:
        wave.set_title(said, loc="left", x=0, pad=18, fontsize=9, color=_INK)

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
    if result.stretches is None:
        shaded = result.below.stretches if result.below else ()
    else:
        shaded = tuple(stretch[:2] for stretch in result.stretches)
        _draw_stretches(axes_of["stretches"], result.stretches, seconds)
    for begin, end in shaded:
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
    return figure


def _draw_stretches(axes: Any, stretches: Sequence[Stretch], seconds: float) -> None:
    """A bar of each, with its times and lowest score under it; the lowest first, as long as there is room."""
    axes.broken_barh([(s.begin, s.end - s.begin) for s in stretches], (0.55, 0.45), facecolors=_SPOOF, linewidth=0)
    taken: list[tuple[float, float]] = []
    for one in sorted(stretches, key=lambda stretch: stretch.score):
        text = f"{stretch_clock(one.begin, one.end, seconds)}: {one.score:+.2f}"
        width = _LETTER_SHARE * (len(text) + 1) * seconds
        left = min(max(0.0, (one.begin + one.end - width) / 2), seconds - width)
        if any(left < end and begin < left + width for begin, end in taken):
            continue
        taken.append((left, left + width))
        axes.text(left + width / 2, 0.45, text, ha="center", va="top", fontsize=8, color=_INK)
    axes.set(ylim=(0, 1), yticks=[])
    axes.set_ylabel("spoofed", rotation=0, ha="right", va="center")
    axes.tick_params(bottom=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


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
    notes = textwrap.fill("; ".join(result.notes), _FOOT_WIDTH) + "\n" if result.notes else ""
    text = f"{_end_of(about['model'], 70)}, trained on {about['corpus']}; windows of {about['window_seconds']:.2f} s"
    if result.stretches:
        text += f"; under a spoofed stretch its lowest frame score, threshold {about['frame_threshold']:+.2f}"
    if about["mini_corpus"]:
        text += "; the mini corpus is for trying the toolkit: this verdict is no evidence"
    return notes + textwrap.fill(text, _FOOT_WIDTH)


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
        axes.plot(
            (window.begin + window.end) / 2,
            0.96 if up else 0.04,
            marker="^" if up else "v",
            color=_COLOURS[window.below],
            markersize=5,
            transform=axes.get_xaxis_transform(),
        )
    labels.sort(key=lambda label: label[0])
    close = len(labels) == 2 and labels[1][0] - labels[0][0] < 0.09 * (max(span) - min(span) + 2 * margin)
    for number, (value, text, colour) in enumerate(labels):
        where = ("top", "bottom")[number] if close else "center"
        axes.text(1.004, value, text, transform=axes.get_yaxis_transform(), va=where, fontsize=8, color=colour)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.set_ylabel("LLR (up: bona fide)" if calibrated else "score (up: bona fide)")
