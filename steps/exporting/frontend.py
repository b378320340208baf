"""The front ends that can be exported, as torch modules of static shapes: whatever the length of the waveform, they
compute the frames that the network sees, and no others."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steps.exporting.spectrum import FewBins, ManyBins, cut_into_frames, table
from steps.exporting.standardise import Standardise
from steps.frontend import FrontEndBase, cepstrum, filter_bank, log_spectrum, waveform
from utils.cli import UserError

EXPORTED = ("log_spectrum (f0_subband, lps, ...)", "cepstrum (lfcc, ...)", "filter_bank", "waveform")


def _refuse(what: str) -> UserError:
    return UserError(f"this front end cannot be exported: {what}; those that can are {', '.join(EXPORTED)}")


class LogSpectrum(nn.Module):
    """frontend.log_spectrum: (batch, samples) float64, prepared -> float32 (batch, frames, bins).

    Attributes, of every front end here: `samples`, how many of them the frames look at.
    """

    def __init__(self, frontend: log_spectrum.FrontEnd, frames: int):
        super().__init__()
        conf = frontend.conf
        self.conf, self.frames = conf, frames
        self.samples = min(conf.max_samples or math.inf, (frames - 1) * conf.hop_length + conf.n_fft // 2)
        self.floor = float(np.exp(conf.log_floor_exponent))
        series = log_spectrum._COSINE_SERIES[conf.window]
        spread = np.array([*(c / 2 for c in series[:0:-1]), series[0], *(c / 2 for c in series[1:])])
        self.few = conf.band_bins + len(spread) - 1 < conf.n_fft // 8
        if self.few:
            self.spectrum = FewBins(frames, conf.n_fft, conf.hop_length, conf.first_bin, conf.last_bin, spread)
        else:
            self.spectrum = ManyBins(conf.n_fft, conf.first_bin, conf.last_bin, conf.n_fft)
            turn = 2 * np.pi * np.arange(conf.n_fft) / conf.n_fft
            self.window = table(sum(c * np.cos(i * turn) for i, c in enumerate(series)))

    def count(self, lengths: Tensor) -> Tensor:
        """Frames of waveforms of so many samples, (batch,) int64 each."""
        return 1 + lengths // self.conf.hop_length

    def forward(self, samples: Tensor) -> Tensor:
        half, hop = self.conf.n_fft // 2, self.conf.hop_length
        enough = (self.frames + self.conf.n_fft // hop + 1) * hop
        padded = F.pad(samples, (half, max(0, enough - half - self.samples)))
        if not self.few:
            padded = cut_into_frames(padded, self.frames, self.conf.n_fft, hop) * self.window
        real, imaginary = self.spectrum(padded)
        # hypot as sqrt of squares: squares of what float32 holds neither overflow nor underflow in float64
        return ((real * real + imaginary * imaginary).sqrt().float() + self.floor).log()


class FilterBank(nn.Module):
    """frontend.filter_bank and frontend.cepstrum, without deltas. As LogSpectrum."""

    def __init__(self, frontend: filter_bank.FrontEnd, frames: int):
        super().__init__()
        conf = frontend.conf
        centred = conf.edges == "centre_zeros"
        if conf.edges not in ("snip", "complete", "centre_zeros"):
            raise _refuse(f"edges: {conf.edges} looks at the waveform's end from both sides")
        for key in ("remove_dc", "frame_pre_emphasis", "energy"):
            if getattr(conf, key):
                raise _refuse(f"{key} is not among what the graph does")
        if conf.log is not None and conf.log.range_db is not None:
            raise _refuse("log.range_db looks at the entire utterance")
        self.conf, self.frames = conf, frames
        self.before = conf.n_fft // 2 - (conf.n_fft - conf.win_length) // 2 if centred else 0
        whole = (frames - 1) * conf.hop_length + conf.win_length - self.before
        self.samples = min(conf.max_samples or math.inf, whole)
        self.spectrum = ManyBins(conf.n_fft, 0, conf.n_fft // 2, conf.win_length)
        self.window, self.filters = table(frontend.window), table(frontend.filters)
        self.dct = table(frontend.dct) if isinstance(frontend, cepstrum.FrontEnd) else None

    def count(self, lengths: Tensor) -> Tensor:
        length, hop = self.conf.win_length, self.conf.hop_length
        if self.conf.edges == "centre_zeros":
            return 1 + lengths // hop
        beyond = (lengths - length).clamp(min=0)
        return 1 + (beyond if self.conf.edges == "snip" else beyond + hop - 1) // hop

    def forward(self, samples: Tensor) -> Tensor:
        conf = self.conf
        enough = (self.frames - 1 + -(-conf.win_length // conf.hop_length)) * conf.hop_length
        padded = F.pad(samples, (self.before, max(0, enough - self.before - self.samples)))
        frames = cut_into_frames(padded, self.frames, conf.win_length, conf.hop_length)
        real, imaginary = self.spectrum(frames * self.window)
        power = real * real + imaginary * imaginary
        x = (power.sqrt() if conf.spectrum == "magnitude" else power) @ self.filters
        if conf.log is not None:
            x = x + conf.log.floor if conf.log.floor_by == "add" else x.clamp(min=conf.log.floor)
            x = x.log() * {"natural": 1.0, "decimal": 1 / math.log(10), "decibel": 10 / math.log(10)}[conf.log.unit]
        if self.dct is not None:
            x = x @ self.dct
        return x.float()


class Samples(nn.Module):
    """frontend.waveform. As LogSpectrum."""

    def __init__(self, frontend: waveform.FrontEnd, frames: int):
        super().__init__()
        self.samples = min(frontend.conf.max_samples or math.inf, frames)
        self.missing = frames - self.samples

    def count(self, lengths: Tensor) -> Tensor:
        return lengths

    def forward(self, samples: Tensor) -> Tensor:
        return F.pad(samples, (0, self.missing)).float()[:, :, None]


def _rows(x: Tensor, at: Tensor) -> Tensor:
    """(batch, frames, columns), (batch, n) int64 -> (batch, n, columns): frames by their numbers."""
    return x.gather(1, at[:, :, None].expand(-1, -1, x.shape[2]))


class FrontEnd(nn.Module):
    """Waveform -> the network's input: preparation, one of the front ends above, deltas, and the length as the conf's
    network_input fixes it when scoring.

    waveform (batch, samples) float32, full scale 1, at conf.sample_rate; lengths (batch,) int64, samples that count in
    each, more than there are means all of them -> float32 (batch, channels, frames, bins).

    Raises UserError for a front end that is not among EXPORTED, or whose conf looks at the utterance as a whole.
    """

    def __init__(self, frontend: FrontEndBase):
        super().__init__()
        conf = frontend.conf
        if conf.trim is not None:
            raise _refuse("trim is not among what the graph does")
        if conf.cmvn is not None and conf.cmvn.scope == "utterance":
            raise _refuse("cmvn over the utterance looks at the entire utterance; scope: global can be exported")
        self.conf, self.channels = conf, frontend.channels
        self.extracted_channels = frontend.extracted_channels
        self.wanted = conf.network_input.frames
        # a frame's deltas look at those beside it, and theirs again
        frames = self.wanted + (conf.deltas.order * conf.deltas.half_width if conf.deltas else 0)
        kinds = {
            log_spectrum.FrontEnd: LogSpectrum,
            filter_bank.FrontEnd: FilterBank,
            cepstrum.FrontEnd: FilterBank,
            waveform.FrontEnd: Samples,
        }
        if type(frontend) not in kinds:
            raise _refuse(f"type {conf.type}")
        self.extract = kinds[type(frontend)](frontend, frames)
        self.frames = frames
        self.standardise = (
            Standardise(conf.sample_rate, self.extract.samples, conf.standardise == "in_place")
            if conf.standardise
            else None
        )

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        # Filled and cut to one length, which leaves no shape that depends on the data.
        size = self.extract.samples
        lengths = torch.minimum(lengths, torch.ones_like(waveform).sum(dim=1).long())
        samples = waveform.double()
        if self.standardise is not None:
            samples, lengths = self.standardise(samples, lengths)
        else:
            lengths = lengths.clamp(max=size)
            samples = F.pad(samples, (0, size))[:, :size]
        within = torch.arange(size) < lengths[:, None]
        samples = samples.masked_fill(~within, 0.0)
        if self.conf.pre_emphasis:
            before = F.pad(samples, (1, 0))[:, :size]
            samples = (samples - self.conf.pre_emphasis * before) * within
        x = self.extract(samples)
        count = self.extract.count(lengths).clamp(1, self.frames)[:, None]  # frames that there are, of each
        x = self._with_deltas(x, count)
        at = torch.arange(self.wanted)
        if self.conf.network_input.pad == "mirror":
            at = at % (2 * count)
            at = torch.minimum(at, 2 * count - 1 - at)
        else:
            at = at % count
        x = _rows(x, at)
        return x.reshape(-1, self.wanted, self.channels, x.shape[2] // self.channels).transpose(1, 2)

    def _with_deltas(self, x: Tensor, count: Tensor) -> Tensor:
        """As processing.columns.with_deltas, of front ends of one channel."""
        conf = self.conf.deltas
        if conf is None:
            return x
        parts = [x]
        frames = torch.arange(self.frames)
        for _ in range(conf.order):
            total = 0.0
            for n in range(1, conf.half_width + 1):
                after = torch.minimum(frames + n, count - 1).clamp(min=0)
                before = torch.minimum((frames - n).clamp(min=0), count - 1)
                total = total + n * (_rows(parts[-1].double(), after) - _rows(parts[-1].double(), before))
            norm = conf.half_width * (conf.half_width + 1) * (2 * conf.half_width + 1) / 3  # 2 sum_n n^2
            parts.append((total / norm).float())
        return torch.cat(parts, dim=2)
