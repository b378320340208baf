#!/usr/bin/env python3
"""Draws a sheet of spectrograms: one English sentence, bona fide and under each attack of the mini corpus.

Copy attacks change the recorded sentence; text-to-speech attacks speak its text (Japanese voices read it in kana).
Everything goes through the corpus's chain, with the same silences and noise. Beneath each spectrogram stands the F0
subband as the default front end computes it. An attack whose packages cannot be had gets a panel that says so.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

# before numpy is loaded: sums in another order would be other numbers
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np
import soundfile
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from scipy import signal

from local.mini_corpus.attack import RATE, Unusable
from local.mini_corpus.chain import rng_of, through_chain
from local.mini_corpus.conf import AttackEntry, MiniCorpusConf, load
from local.mini_corpus.debian import DebianPackages, PackageMissing
from local.mini_corpus.python_packages import PythonPackages, put_on_path
from local.mini_corpus.speech import check_usable, prepare_item, read_file, read_prompts
from steps import frontend as frontends
from utils.cli import UserError, make_parser, run_program, warn, whole_number
from utils.files import write_aside

PROMPT = "conf-waitforleader"
_SPEECH, _TEXTS = "asterisk-core-sounds-en-g722", "asterisk-core-sounds-en"
_SOUNDS = "usr/share/asterisk/sounds/en_US_f_Allison"
_TRANSCRIPT = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
_COLUMNS, _DPI = 3, 160
_WIDTH, _ROW = 10.0, 1.95  # inches: 1600 pixels wide
_RANGE_DB = 65.0  # of colours, below the loudest of all panels
_LONGEST = 1.25  # the time axis ends at so many times the bona fide panel's length
_MAP = "magma"  # perceptually uniform


@dataclass(frozen=True)
class Panel:
    """What one attack made of the sentence."""

    name: str  # A04, or "bona fide"
    what: str
    parameters: str
    samples: np.ndarray | None  # int16, through the chain; None where there is none
    missing: str = ""  # why


# ---------------------------------------------------------------- the sentence


def read_sentence(downloads: Path, conf: MiniCorpusConf) -> tuple[np.ndarray, str]:
    """(the recorded prompt, prepared as every item of the corpus; its text)."""
    packages = DebianPackages(downloads)
    lacking = [name for name in (_SPEECH, _TEXTS) if name not in conf.packages]
    if lacking:
        raise UserError(f"the conf {conf.size} has no package {' and no '.join(lacking)}; give --size small")
    try:
        speech, texts = (packages.get(name, conf.packages[name].version).folder for name in (_SPEECH, _TEXTS))
    except PackageMissing as missing:
        raise UserError(str(missing)) from None
    text = dict(read_prompts(texts / _TRANSCRIPT)).get(PROMPT)
    sound = speech / _SOUNDS / f"{PROMPT}.g722"
    if text is None or not sound.is_file():
        raise UserError(f"{sound if text else texts / _TRANSCRIPT}: this version of the package has no {PROMPT}")
    recorded = read_file(sound)
    prepared = None if recorded is None else prepare_item(recorded, conf.utterance)
    if prepared is None:
        raise UserError(f"{sound} holds no speech; remove the package {_SPEECH} and start again")
    return prepared, text


def make_panels(
    conf: MiniCorpusConf, speech: np.ndarray, text: str, seed: int, folder_of: Callable[[str], str | Path]
) -> list[Panel]:
    """The bona fide panel, then one for each attack of the conf. `folder_of(group)`: where a group of packages is."""

    def through(made: np.ndarray) -> np.ndarray:
        # the same silences and noise for all, so that panels differ by the attack alone
        return through_chain(made, rng_of(seed, "sheet"), conf.chain)

    panels = [Panel("bona fide", "", "as recorded", through(speech))]
    for name, entry in sorted(conf.attacks.items()):
        rng = rng_of(seed, f"sheet:{name}")
        drawn = {key: draw(rng) for key, draw in entry.draw.items()}
        parameters = ", ".join(f"{key.replace('_', ' ')} {_short(value)}" for key, value in drawn.items())
        panel = Panel(name, entry.what, parameters, None)
        try:
            put_on_path([folder_of(group) for group in entry.attack.needs])
            made = _attacked(entry, speech, text, rng, drawn, conf)
        except Exception as failure:  # whatever a package raises that does not fit this machine
            why = str(failure) or repr(failure)
            warn(f"no panel for {name} ({entry.what}): {why}")
            panels.append(dataclasses.replace(panel, missing=why))
            continue
        panels.append(dataclasses.replace(panel, samples=through(made)))
    return panels


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _attacked(
    entry: AttackEntry, speech: np.ndarray, text: str, rng: np.random.Generator, drawn: dict[str, Any],
    conf: MiniCorpusConf,
) -> np.ndarray:  # fmt: skip
    if not entry.attack.speaks:
        made = entry.attack.function(speech, rng, **drawn)
    else:
        spoken = entry.attack.function([text], "en", rng, **drawn)[0]
        made = prepare_item(spoken, conf.utterance)
        if made is None:
            raise Unusable("its voice said nothing")
    check_usable(made)
    return made


# ---------------------------------------------------------------- the drawing


def spectrogram_db(samples: np.ndarray) -> np.ndarray:
    """Power in dB of 32 ms Hann windows every 4 ms, shape (257 bins from 0 to 8 kHz, frames)."""
    size, hop = 512, 64
    padded = np.pad(samples / 32768.0, size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    return 20 * np.log10(np.abs(np.fft.rfft(frames * signal.get_window("hann", size), axis=1)).T + 1e-6)


def f0_subband_db(samples: np.ndarray, frontend: frontends.FrontEndBase) -> np.ndarray:
    """The default front end's features in dB, shape (bins, frames)."""
    return 20 / math.log(10) * frontend.compute(samples / 32768.0).T


def draw_sheet(panels: Sequence[Panel], title: str) -> Figure:
    """All panels on one figure, the same time axis and colour range for all."""
    frontend = frontends.make_frontend(frontends.load_conf(ROOT / "conf/frontend/f0_subband.yaml"))
    top_hz = frontend.conf.last_bin * RATE / frontend.conf.n_fft
    wide = {p.name: spectrogram_db(p.samples) for p in panels if p.samples is not None}
    low = {p.name: f0_subband_db(p.samples, frontend) for p in panels if p.samples is not None}
    loudest = [max(np.percentile(part, 99.9) for part in parts.values()) for parts in (wide, low)]
    longest = max(len(p.samples) for p in panels if p.samples is not None) / RATE
    seconds = min(longest, _LONGEST * len(panels[0].samples) / RATE)

    rows = -(-len(panels) // _COLUMNS)
    free = rows * _COLUMNS - len(panels)  # panels' places at the end, where the legend goes
    legend = 0.38 if free else 0.84  # inches below the panels
    height = _ROW * rows + legend + 0.4
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI)
    FigureCanvasAgg(figure)
    left, right, top, bottom = 0.045, 0.99, 1 - 0.74 / height, legend / height
    figure.suptitle(title, x=left, y=1 - 0.13 / height, ha="left", va="top", fontsize=9.5)
    grid = figure.add_gridspec(rows, _COLUMNS, left=left, right=right, top=top, bottom=bottom, wspace=0.05, hspace=0.36)
    image = None
    headed: list[tuple[Axes, Panel]] = []
    for i, panel in enumerate(panels):
        row, column = divmod(i, _COLUMNS)
        inner = grid[row, column].subgridspec(2, 1, height_ratios=[2.5, 1.15], hspace=0.07)
        above, below = figure.add_subplot(inner[0]), figure.add_subplot(inner[1])
        above.set_label(panel.name)
        headed.append((above, panel))
        lowest = i + _COLUMNS >= len(panels)  # of its column
        for axes, parts, hz, peak in ((above, wide, RATE / 2, loudest[0]), (below, low, top_hz, loudest[1])):
            axes.set_xlim(0, seconds)
            axes.set_ylim(0, hz / 1000)
            axes.tick_params(labelsize=6.5, length=2, pad=1.5, width=0.5)
            axes.set_xticks(np.arange(0, seconds, 0.5))
            axes.tick_params(labelbottom=lowest and axes is below, labelleft=column == 0)
            axes.set_yticks([0, 0.2, 0.4] if axes is below else [2, 4, 6, 8])
            for spine in axes.spines.values():
                spine.set_linewidth(0.5)
            if panel.samples is None:
                axes.set_facecolor("0.93")
                continue
            axes.set_facecolor("0.93")  # after the end of a shorter one
            image = axes.imshow(
                parts[panel.name], origin="lower", aspect="auto", cmap=_MAP, interpolation="bilinear",
                extent=(0, len(panel.samples) / RATE, 0, hz / 1000), vmin=peak - _RANGE_DB, vmax=peak, rasterized=True,
            )  # fmt: skip
            axes.set_xlim(0, seconds)
        if panel.samples is None:
            above.text(
                0.5, 0.5, "\n".join(textwrap.wrap(f"not made: {panel.missing}", 44)[:5]), transform=above.transAxes,
                ha="center", va="center", fontsize=7, color="0.3",
            )  # fmt: skip
        if column == 0:
            above.set_ylabel("kHz", fontsize=7, labelpad=2)
            below.set_ylabel("kHz", fontsize=7, labelpad=2)
        if lowest:
            below.set_xlabel("s", fontsize=7, labelpad=1)
    _write_headings(headed)
    if free:
        place = grid[rows - 1, _COLUMNS - free].get_position(figure)
        bar_at, note_at = (place.x0, place.y1 - 0.2 / height), (place.x0, place.y1 - 0.5 / height)
    else:
        bar_at, note_at = (left, 0.36 / height), (0.31, 0.45 / height)
    bar = figure.add_axes((*bar_at, 0.22, 0.09 / height))
    colours = figure.colorbar(image, cax=bar, orientation="horizontal")
    colours.set_ticks([loudest[1] - db for db in (60, 40, 20, 0)], labels=["-60", "-40", "-20", "0 dB"])
    colours.ax.tick_params(labelsize=6.5, length=2, pad=1.5, width=0.5)
    colours.outline.set_linewidth(0.5)
    note = (
        "Above: 0 to 8 kHz, windows of 32 ms. Below: the F0 subband, 0 to 0.4 kHz, windows of 108 ms: all that the "
        "default front end sees. 0 dB is the loudest of all panels of its kind. Copies keep the recording's timing; "
        "text-to-speech has its own" + (f", shown up to {seconds:.1f} s." if longest > seconds else ".")
    )
    wrapped = textwrap.fill(note, 56 if free == 1 else 118)
    figure.text(*note_at, wrapped, fontsize=7, va="top", linespacing=1.4)
    return figure


def _write_headings(headed: Sequence[tuple[Axes, Panel]]) -> None:
    """Over each panel its name and words, in the largest size that fits all of them, beneath the drawn parameters."""
    renderer = headed[0][0].figure.canvas.get_renderer()

    def write(axes: Axes, x: float, y: float, text: str, size: float, **look: str) -> float:
        """Where the text ends, as a part of the panel's width."""
        drawn = axes.text(x, y, text, transform=axes.transAxes, fontsize=size, va="baseline", **look)
        end = x + drawn.get_window_extent(renderer).width / axes.bbox.width
        drawn.set_visible(end <= 1)
        return end

    for axes, panel in headed:
        size = 6.8
        while write(axes, 0, 1.05, panel.parameters, size, color="0.3") > 1 and size > 5:
            size -= 0.2
    size = 8.0
    while True:
        ends = []
        for axes, panel in headed:
            end = write(axes, 0, 1.18, panel.name, size, fontweight="bold")
            ends.append(write(axes, end + 0.02, 1.18, panel.what, size))
        if max(ends) <= 1 or size < 5:
            return
        for axes, _ in headed:
            for text in axes.texts[-2:]:
                text.remove()
        size -= 0.2


def write_png(figure: Figure, path: Path) -> None:
    """The figure in 256 colours, which one colour map does with, and in a third of the bytes."""
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    with write_aside(path, "wb") as handle:
        picture.quantize(96, dither=Image.Dither.NONE).save(handle, format="PNG", optimize=True)


def write_audio(panels: Sequence[Panel], folder: Path) -> None:
    """Each panel's sound as FOLDER/NAME.flac."""
    for panel in panels:
        if panel.samples is not None:
            with write_aside(folder / f"{panel.name.replace(' ', '_')}.flac", "wb") as handle:
                soundfile.write(handle, panel.samples, RATE, format="FLAC", subtype="PCM_16")


def main() -> None:
    parser = make_parser(__doc__, "local/mini_corpus/sheet.py --audio /tmp/sheet docs/mini_corpus_sheet.png")
    parser.add_argument("out", metavar="OUT.png", type=Path, help="the sheet")
    parser.add_argument("--size", default="small", help="a conf of conf/mini_corpus: its attacks and chain")
    parser.add_argument("--seed", type=whole_number(), default=1, help="of the drawn parameters")
    parser.add_argument("--downloads", type=Path, default=ROOT / "downloads", help="cache of packages")
    parser.add_argument("--audio", metavar="DIR", type=Path, help="write the sounds there too, for listening")
    args = parser.parse_args()
    conf = load(ROOT / "conf" / "mini_corpus" / f"{args.size}.yaml")
    speech, text = read_sentence(args.downloads, conf)
    packages = PythonPackages(args.downloads, ROOT / "requirements-mini.txt")
    panels = make_panels(conf, speech, text, args.seed, packages.get)
    if args.audio:
        write_audio(panels, args.audio)
    title = f"“{text}” — bona fide, and under each attack of the mini corpus ({conf.size}), after the chain"
    figure = draw_sheet(panels, title)
    write_png(figure, args.out)
    told = f"; without {', '.join(p.name for p in panels if p.samples is None)}"
    print(f"{args.out}: {len(panels)} panels" + (told if any(p.samples is None for p in panels) else ""))


if __name__ == "__main__":
    run_program(main)
