#!/usr/bin/env python3
"""Draw an augmentation chain: the effect of each step alone and always, then that of the entire chain. Draws are those
of a training with that seed, in that epoch. Masks lie on the network's input."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

import numpy as np

from steps import augment
from steps import frontend as frontends
from steps.augment.base import FeatureStep, StepConf, WaveformStep, module_of
from steps.data.batches import network_input
from steps.frontend.processing.audio import WavScp
from utils import audio
from utils.cli import UserError, make_parser, run_program, whole_number
from utils.files import write_aside

WINDOW_S, HOP_S = 0.025, 0.005
FLOOR_DB = -80  # of the spectrograms, below the loudest point of the original
BEFORE, AFTER = "0.75", "#0072B2"


class Row(NamedTuple):
    title: str
    note: str = ""
    waveform: np.ndarray | None = None  # (samples,)
    name: str = ""  # of the waveform's file
    features: np.ndarray | None = None  # (frames, channels x bins), of the network's input
    natural_frames: int = 0  # of them, those before the utterance is continued by itself
    weights: np.ndarray | None = None  # of mixup, (draws,)


def describe(step: StepConf) -> str:
    """The step's type and its own keys, without the groups of keys within it."""

    def text(value, joint: str = ", ") -> str:
        if isinstance(value, tuple):
            return joint.join(map(text, value))
        return f"{value:g}" if isinstance(value, float) else str(value)

    shown = []
    for field in dataclasses.fields(step):
        value = getattr(step, field.name)
        if field.name not in ("type", "p") and value is not None and not dataclasses.is_dataclass(value):
            shown.append(f"{field.name} {text(value, ' to ' if field.type == 'Range' else ', ')}")
    return f"{step.type} (p {step.p:g}){': ' if shown else ''}{'; '.join(shown)}"


def level(waveform: np.ndarray) -> str:
    rms = np.sqrt(np.mean(np.square(waveform)))
    return f"{20 * np.log10(rms):.1f} dBFS" if rms > 0 else "silence"


def compare(made: np.ndarray, original: np.ndarray, rate: int) -> str:
    """Length, level, and the level of the difference from the original relative to the original's, in words."""
    said = f"{len(made) / rate:.2f} s, {level(made)}, peak {np.abs(made).max():.2f}"
    if len(made) == len(original) and np.any(made != original) and np.any(original):
        ratio = np.sum(np.square(made - original)) / np.sum(np.square(original))
        said += f", difference {10 * np.log10(ratio):.1f} dB"
    return said


class Preview:
    """Makes the rows of the picture for one utterance."""

    def __init__(self, conf: augment.AugmentConf, frontend, utt: str, seed: int, epoch: int):
        self.conf, self.frontend, self.rate = conf, frontend, frontend.conf.sample_rate
        self._utt, self._seed, self._epoch = utt, seed, epoch

    def _rng(self, purpose: str) -> np.random.Generator:
        return augment.utterance_rng(self._seed, self._epoch, self._utt, purpose)

    def _only(self, place: int) -> augment.Chain:
        """The chain with the step of that place always done and no other."""
        steps = tuple(dataclasses.replace(step, p=float(i == place)) for i, step in enumerate(self.conf.steps))
        return augment.make_chain(augment.AugmentConf(steps=steps), self.rate)

    def _input(self, features: np.ndarray, chain: augment.Chain | None) -> np.ndarray:
        return network_input(features, self.frontend, self._utt, self._seed, self._epoch, chain)

    def rows(self, original: np.ndarray) -> list[Row]:
        """original: (samples,). The waveforms, then the network's inputs, then mixup."""
        chain_of_all = augment.make_chain(self.conf, self.rate)
        rows = [Row("original", compare(original, original, self.rate), original, "original")]
        made = original
        if chain_of_all.has_waveform_steps:
            rows += [self._waveform_row(place, original) for place in self._places(WaveformStep)]
            made = chain_of_all.waveform(original, self._rng("waveform"))
            done = [step.conf.type for step, _ in chain_of_all.drawn_waveform_steps(self._rng("waveform"))]
            title = f"entire chain: {', '.join(done) or 'nothing'}"
            rows.append(Row(title, compare(made, original, self.rate), made, "whole_chain"))
        if chain_of_all.has_waveform_steps or chain_of_all.has_feature_steps:
            rows += self._input_rows(original, made, chain_of_all)
        if chain_of_all.mixup:
            chain, rng = self._only(len(self.conf.steps) - 1), np.random.default_rng(self._seed)
            weights = np.array([chain.mixup_draw(rng, 2)[1] for _ in range(10000)])
            rows.append(Row(describe(self.conf.steps[-1]), "10000 draws for batches that are mixed", weights=weights))
        return rows

    def _places(self, base: type) -> list[int]:
        return [i for i, step in enumerate(self.conf.steps) if issubclass(module_of(step.type).Step, base)]

    def _waveform_row(self, place: int, original: np.ndarray) -> Row:
        ((step, rng),) = self._only(place).drawn_waveform_steps(self._rng("waveform"))
        made = step.apply(original, rng)
        title = describe(self.conf.steps[place]) + (f"\nhere: {step.drawn}" if step.drawn else "")
        return Row(title, compare(made, original, self.rate), made, step.conf.type)

    def _input_rows(self, original: np.ndarray, made: np.ndarray, chain_of_all: augment.Chain) -> list[Row]:
        features, frames = self.frontend.compute(original), self.frontend.conf.network_input.frames
        plain = self._input(features, None)
        shape = (
            f"{frames} frames ({len(features)} of the utterance), {self.frontend.channels} x {self.frontend.n_bins}"
            " bins"
        )
        rows = [Row("network's input, original", shape, features=plain, natural_frames=len(features))]
        for place in self._places(FeatureStep):
            masked = self._input(features, self._only(place))
            share = f"{100 * np.mean(masked != plain):.0f} % of the values changed"
            rows.append(Row(describe(self.conf.steps[place]), share, features=masked, natural_frames=len(features)))
        features = self.frontend.compute(made)
        steps = chain_of_all.drawn_waveform_steps(self._rng("waveform")) + chain_of_all.drawn_feature_steps(
            self._rng("features")
        )
        done = ", ".join(step.conf.type for step, _ in steps) or "nothing"
        last = self._input(features, chain_of_all)
        return [*rows, Row(f"network's input, entire chain: {done}", features=last, natural_frames=len(features))]


def spectrogram(waveform: np.ndarray, rate: int) -> np.ndarray:
    """-> (bins, frames), dB of full scale; frame t is centred on t * HOP_S."""
    size, hop = round(WINDOW_S * rate), round(HOP_S * rate)
    padded = np.pad(waveform, (size // 2, size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[: len(waveform) + 1 : hop]
    magnitude = np.abs(np.fft.rfft(frames * np.hanning(size), 2 * size, axis=1)).T * 2 / (size / 2)
    return 20 * np.log10(magnitude + 1e-10)


def draw(handle, rows: list[Row], rate: int, channels: int, title: str) -> None:
    """The picture, as PNG, into `handle`; rows as Preview.rows makes them, the original first."""
    from matplotlib.figure import Figure

    original = rows[0].waveform
    waves = [row.waveform for row in rows if row.waveform is not None]
    longest = max(map(len, waves)) / rate
    peak = 1.05 * max(np.abs(wave).max() for wave in waves) or 1.0
    loudest = spectrogram(original, rate).max()
    shown = next((row.features for row in rows if row.features is not None), None)
    colours = None if shown is None else np.percentile(shown, [1, 99.8])

    figure = Figure(figsize=(13, 0.5 + 1.95 * len(rows)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    figure.suptitle(title, fontsize=12)
    grid = figure.add_gridspec(len(rows), 2)
    for i, row in enumerate(rows):
        if row.waveform is not None:
            panels = [figure.add_subplot(grid[i, 0]), figure.add_subplot(grid[i, 1])]
            _draw_waveform(panels[0], row.waveform, original, rate)
            panels[0].set(xlim=(0, longest), ylim=(-peak, peak))
            _draw_spectrogram(figure, panels[1], row.waveform, rate, loudest)
            panels[1].set_xlim(0, longest)
            below = "time, s"
        elif row.features is not None:
            panels = [figure.add_subplot(grid[i, :])]
            _draw_features(figure, panels[0], row, channels, colours)
            below = "frame"
        else:
            panels = [figure.add_subplot(grid[i, :])]
            panels[0].hist(row.weights, bins=60, range=(0, 1), color=AFTER)
            panels[0].set(xlim=(0, 1), ylabel="draws", yticks=[])
            below = "weight of an utterance's own input"
        width = 78 if row.waveform is not None else 150
        heading = "\n".join(textwrap.fill(line, width) for line in row.title.splitlines())
        panels[0].set_title(heading, loc="left", fontsize=9, fontweight="bold")
        panels[-1].set_title(row.note, loc="right", fontsize=9)
        follower = rows[i + 1] if i + 1 < len(rows) else None
        same_axis = follower is not None and _kind(follower) == _kind(row)
        for panel in panels:
            panel.set_xlabel("" if same_axis else below, fontsize=9)
            panel.tick_params(labelsize=8)
    figure.savefig(handle, format="png", dpi=100)


def _kind(row: Row) -> tuple[bool, ...]:
    return row.waveform is None, row.features is None


def _draw_waveform(panel, waveform: np.ndarray, original: np.ndarray, rate: int) -> None:
    """The louder one lies behind the other, so that both are seen."""
    shown = [(AFTER, waveform)]
    if len(waveform) == len(original) and np.any(waveform != original):
        shown.append((BEFORE, original))
    for colour, wave in sorted(shown, key=lambda entry: np.sum(np.square(entry[1])), reverse=True):
        panel.plot(np.arange(len(wave)) / rate, wave, color=colour, lw=0.5)
    panel.set_ylabel("amplitude", fontsize=9)
    panel.grid(alpha=0.25)


def _draw_spectrogram(figure, panel, waveform: np.ndarray, rate: int, loudest: float) -> None:
    extent = (0, len(waveform) / rate, 0, rate / 2000)
    image = panel.imshow(
        spectrogram(waveform, rate),
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=loudest + FLOOR_DB,
        vmax=loudest,
    )
    panel.set_ylim(0, rate / 2000)
    panel.set_ylabel("frequency, kHz", fontsize=9)
    panel.set_facecolor("0.93")
    _colour_bar(figure, panel, image, "dBFS")


def _draw_features(figure, panel, row: Row, channels: int, colours: np.ndarray) -> None:
    frames, columns = row.features.shape
    image = panel.imshow(
        row.features.T, origin="lower", aspect="auto", interpolation="nearest", vmin=colours[0], vmax=colours[1]
    )
    for channel in range(1, channels):
        panel.axhline(channel * columns / channels - 0.5, color="white", lw=1)
    if row.natural_frames < frames:
        panel.axvline(row.natural_frames - 0.5, color="white", lw=1.5, ls="--")
    panel.set_ylabel("bin" if channels == 1 else "channels x bins", fontsize=9)
    _colour_bar(figure, panel, image, "value")


def _colour_bar(figure, panel, image, label: str) -> None:
    bar = figure.colorbar(image, ax=panel, pad=0.008)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def write_wavs(folder: Path, rows: list[Row], rate: int) -> None:
    """Each waveform as 16-bit wav; where one exceeds full scale all are turned down alike."""
    import soundfile

    waves = [(row.name, row.waveform) for row in rows if row.waveform is not None]
    scale = max(1.0, *(np.abs(wave).max() for _, wave in waves))
    for number, (name, wave) in enumerate(waves):
        with write_aside(folder / f"{number}_{name}.wav", "wb") as handle:
            soundfile.write(handle, wave / scale, rate, format="WAV", subtype="PCM_16")


def main() -> int:
    parser = make_parser(
        __doc__,
        "steps/augment_preview.py --augment conf/augment/noise_reverb.yaml LA_T_1000137.flac"
        " preview.png\nsteps/augment_preview.py --augment conf/augment/all.yaml --wav-dir heard data/train/wav.scp"
        " LA_T_1000137 all.png",
    )
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--augment", required=True, help="conf of the chain")
    parser.add_argument("--frontend", default=str(root / "conf/frontend/f0_subband.yaml"), help="conf of the front end")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a conf's key")
    parser.add_argument("--seed", type=whole_number(), default=1, help="the training's seed")
    parser.add_argument("--epoch", type=whole_number(1), default=1, help="the training's epoch")
    parser.add_argument("--wav-dir", help="write the waveforms here too")
    parser.add_argument("audio", help="an audio file, or a wav.scp")
    parser.add_argument("utt", nargs="?", help="the utterance of the wav.scp")
    parser.add_argument("png", help="the picture")
    args = parser.parse_args()

    utt, path = args.utt or Path(args.audio).stem, args.audio
    if args.utt:
        wavs = WavScp(args.audio)
        if args.utt not in wavs:
            raise UserError(f"{args.audio}: no utterance {args.utt}")
        path = wavs[args.utt]
    frontend = frontends.make_frontend(frontends.load_conf(args.frontend, args.set))
    conf = augment.load_conf(args.augment, args.set)
    with audio.seekable(path) if args.utt is None else contextlib.nullcontext(path) as source:  # of <(command)
        waveform = frontends.read_utterance(utt, source, frontend.conf)
    rows = Preview(conf, frontend, utt, args.seed, args.epoch).rows(waveform)
    title = (
        f"{Path(args.augment).stem} on {utt}, front end {Path(args.frontend).stem}, seed {args.seed}, epoch"
        f" {args.epoch}"
    )
    legend = []
    if sum(row.waveform is not None for row in rows) > 1:
        legend.append("grey: the original, where the length is the same")
    if any(row.features is not None and row.natural_frames < len(row.features) for row in rows):
        legend.append("dashed: where the utterance ends and is continued by itself")
    title = "\n".join([title, *filter(None, ["; ".join(legend)])])
    with write_aside(args.png, "wb") as handle:
        draw(handle, rows, frontend.conf.sample_rate, frontend.channels, title)
    if args.wav_dir:
        write_wavs(Path(args.wav_dir), rows, frontend.conf.sample_rate)
    return 0


if __name__ == "__main__":
    run_program(main)
