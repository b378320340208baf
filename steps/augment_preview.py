#!/usr/bin/env python3
"""Pictures of an augmentation chain: what each of its steps does to an utterance, alone and always, and what the whole
chain does as its probabilities have it. Steps draw as in a training with that seed, in that epoch; masks lie on the
features in their natural length, where a training has them on its network's input."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from steps import augment
from steps import frontend as frontends
from steps.augment.base import FeatureStep, StepConf, WaveformStep, module_of
from utils.cli import UserError, make_parser, run_program
from utils.files import read_map, write_aside

WINDOW_S, HOP_S = 0.025, 0.005
FLOOR_DB = -80  # of the spectrograms, below the loudest point of the original
BEFORE, AFTER = "0.72", "#0072B2"


class Row(NamedTuple):
    title: str
    note: str = ""
    waveform: np.ndarray | None = None  # (samples,)
    features: np.ndarray | None = None  # (frames, channels x bins)
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
    """Length, level, and the level of the difference from the original relative to that, in words."""
    said = f"{len(made) / rate:.2f} s, {level(made)}, peak {np.abs(made).max():.2f}"
    if len(made) == len(original) and np.any(made != original) and np.any(original):
        ratio = np.sum(np.square(made - original)) / np.sum(np.square(original))
        said += f", what was added {10 * np.log10(ratio):.1f} dB"
    return said


class Preview:
    """Makes the rows of the picture for one utterance."""

    def __init__(self, conf: augment.AugmentConf, frontend, utt: str, seed: int, epoch: int):
        self.conf, self.frontend, self.rate = conf, frontend, frontend.conf.sample_rate
        self._rng = lambda purpose: augment.utterance_rng(seed, epoch, utt, purpose)
        self._seed, self._epoch = seed, epoch

    def _only(self, place: int) -> augment.Chain:
        """The chain with the step of that place always done and no other."""
        steps = tuple(dataclasses.replace(step, p=float(i == place)) for i, step in enumerate(self.conf.steps))
        return augment.make_chain(augment.AugmentConf(steps=steps), self.rate)

    def rows(self, original: np.ndarray) -> list[Row]:
        features = self.frontend.compute(original)
        kinds = [module_of(step.type).Step for step in self.conf.steps]
        has = lambda base: any(issubclass(kind, base) for kind in kinds)
        rows = [Row("original", compare(original, original, self.rate), original)]
        features_shown = False
        for place, (step, kind) in enumerate(zip(self.conf.steps, kinds)):
            chain = self._only(place)
            if issubclass(kind, WaveformStep):
                made = chain.waveform(original, self._rng("waveform"))
                rows.append(Row(describe(step), compare(made, original, self.rate), made))
                continue
            if not features_shown:
                shape = f"{len(features)} frames, {self.frontend.channels} x {self.frontend.n_bins} bins"
                rows.append(Row("features of the original", shape, features=features))
                features_shown = True
            if issubclass(kind, FeatureStep):
                masked = chain.features(features, self.frontend.channels, self._rng("features"))
                share = f"{100 * np.mean(masked != features):.0f} % of the values changed"
                rows.append(Row(describe(step), share, features=masked))
            else:
                rng = np.random.default_rng(self._seed)
                weights = np.array([chain.mixup_draw(rng, 2)[1] for _ in range(10000)])
                rows.append(Row(describe(step), "10000 draws for batches that are mixed", weights=weights))
        if has(WaveformStep) or has(FeatureStep):
            rows += self._whole(original, has(FeatureStep))
        return rows

    def _whole(self, original: np.ndarray, with_features: bool) -> list[Row]:
        chain = augment.make_chain(self.conf, self.rate)
        made = chain.waveform(original, self._rng("waveform"))
        done = [step.conf.type for step, _ in chain.drawn_waveform_steps(self._rng("waveform"))]
        title = f"whole chain, seed {self._seed}, epoch {self._epoch}"
        rows = []
        if chain.has_waveform_steps:
            rows.append(Row(f"{title}: {', '.join(done) or 'nothing'}", compare(made, original, self.rate), made))
        if with_features:
            masked = self.frontend.compute(made)
            masked = chain.features(masked, self.frontend.channels, self._rng("features"))
            done += [step.conf.type for step, _ in chain.drawn_feature_steps(self._rng("features"))]
            rows.append(Row(f"{title}, its features: {', '.join(done) or 'nothing'}", features=masked))
        return rows


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
    figure.suptitle(title, fontsize=13)
    grid = figure.add_gridspec(len(rows), 2)
    for i, row in enumerate(rows):
        if row.waveform is not None:
            left, right = figure.add_subplot(grid[i, 0]), figure.add_subplot(grid[i, 1])
            _draw_waveform(left, row.waveform, original, rate)
            left.set(xlim=(0, longest), ylim=(-peak, peak), ylabel="amplitude")
            db = spectrogram(row.waveform, rate)
            extent = (0, len(row.waveform) / rate, 0, rate / 2000)
            image = right.imshow(
                db, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=loudest + FLOOR_DB, vmax=loudest
            )
            right.set(xlim=(0, longest), ylim=(0, rate / 2000), ylabel="kHz")
            right.set_facecolor("0.93")
            figure.colorbar(image, ax=right, label="dB", pad=0.01)
            panels = [left, right]
        else:
            panel = figure.add_subplot(grid[i, :])
            if row.weights is not None:
                panel.hist(row.weights, bins=60, range=(0, 1), color=AFTER)
                panel.set(xlim=(0, 1), ylabel="draws", yticks=[])
            else:
                _draw_features(figure, panel, row.features, channels, colours)
            panels = [panel]
        heading = textwrap.fill(row.title, 78 if row.waveform is not None else 150)
        panels[0].set_title(heading, loc="left", fontsize=9, fontweight="bold")
        panels[-1].set_title(row.note, loc="right", fontsize=9)
        below = (
            "weight of an utterance's own input" if row.weights is not None else "frame" if row.waveform is None else ""
        )
        follower = rows[i + 1] if i + 1 < len(rows) else None
        last = follower is None or (follower.waveform is None) != (row.waveform is None) or follower.weights is not None
        for panel in panels:
            if last or row.weights is not None:
                panel.set_xlabel(below or "s")
            panel.tick_params(labelsize=8)
    figure.savefig(handle, format="png", dpi=100)


def _draw_waveform(panel, waveform: np.ndarray, original: np.ndarray, rate: int) -> None:
    if len(waveform) == len(original):
        panel.plot(np.arange(len(original)) / rate, original, color=BEFORE, lw=0.5)
    panel.plot(np.arange(len(waveform)) / rate, waveform, color=AFTER, lw=0.5, alpha=0.75)
    panel.grid(alpha=0.25)


def _draw_features(figure, panel, features: np.ndarray, channels: int, colours: np.ndarray) -> None:
    image = panel.imshow(
        features.T, origin="lower", aspect="auto", interpolation="nearest", vmin=colours[0], vmax=colours[1]
    )
    for channel in range(1, channels):
        panel.axhline(channel * features.shape[1] / channels - 0.5, color="white", lw=1)
    panel.set_ylabel("bin" if channels == 1 else "channels x bins")
    figure.colorbar(image, ax=panel, pad=0.005)


def write_wavs(folder: Path, rows: list[Row], rate: int) -> None:
    """Each waveform as 16-bit wav; where one exceeds full scale all are turned down alike."""
    import soundfile

    waves = [(row.title, row.waveform) for row in rows if row.waveform is not None]
    scale = max(1.0, *(np.abs(wave).max() for _, wave in waves))
    for number, (title, wave) in enumerate(waves):
        kind = title.replace(",", " ").split("(")[0].split()
        name = "whole_chain" if kind[:2] == ["whole", "chain"] else kind[0]
        with write_aside(folder / f"{number}_{name}.wav", "wb") as handle:
            soundfile.write(handle, wave / scale, rate, format="WAV", subtype="PCM_16")


def main() -> int:
    parser = make_parser(
        __doc__,
        "steps/augment_preview.py --augment conf/augment/noise_reverb.yaml LA_T_1000137.flac preview.png\n"
        "steps/augment_preview.py --augment conf/augment/all.yaml --wav-dir heard data/train/wav.scp LA_T_1000137 all.png",
    )
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--augment", required=True, help="conf of the chain")
    parser.add_argument("--frontend", default=str(root / "conf/frontend/f0_subband.yaml"), help="conf of the front end")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a conf's key")
    parser.add_argument("--seed", type=int, default=1, help="the training's seed")
    parser.add_argument("--epoch", type=int, default=1, help="the training's epoch")
    parser.add_argument("--wav-dir", help="write the waveforms here too")
    parser.add_argument("audio", help="an audio file, or a wav.scp")
    parser.add_argument("utt", nargs="?", help="the utterance of the wav.scp")
    parser.add_argument("png", help="the picture")
    args = parser.parse_args()

    utt, path = args.utt or Path(args.audio).stem, args.audio
    if args.utt:
        wavs = read_map(args.audio)
        if args.utt not in wavs:
            raise UserError(f"{args.audio}: no utterance {args.utt}")
        path = wavs[args.utt]
    frontend = frontends.make_frontend(frontends.load_conf(args.frontend, args.set))
    conf = augment.load_conf(args.augment, args.set)
    waveform = frontends.read_utterance(utt, path, frontend.conf)
    rows = Preview(conf, frontend, utt, args.seed, args.epoch).rows(waveform)
    title = f"{Path(args.augment).stem} on {utt}, front end {Path(args.frontend).stem} (grey: the original)"
    with write_aside(args.png, "wb") as handle:
        draw(handle, rows, frontend.conf.sample_rate, frontend.channels, title)
    if args.wav_dir:
        write_wavs(Path(args.wav_dir), rows, frontend.conf.sample_rate)
    return 0


if __name__ == "__main__":
    run_program(main)
