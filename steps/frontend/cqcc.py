"""Constant-Q cepstral coefficients: `cqcc`.

Todisco, Delgado and Evans, "Constant Q cepstral coefficients: a spoofing countermeasure for automatic speaker
verification", Computer Speech & Language 45, 2017: logarithmic power of a constant-Q transform, resampled from its
geometric frequency axis to a linear one, and a cosine transform. The transform is that of the authors' toolbox
(Schoerkhuber, Klapuri, Holighaus and Doerfler, "A Matlab toolbox for efficient perfect reconstruction time-frequency
transforms with log-frequency resolution", 2014): Hann windows over frequency, cut out of the utterance's spectrum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.interpolate

from steps.frontend.base import FrontEndBase, FrontEndConf


@dataclass(frozen=True, kw_only=True)
class Conf(FrontEndConf):
    octaves: int
    bins_per_octave: int
    bandwidth_offset: float
    hop_length: int
    power_floor: float
    first_octave_samples: int
    n_coefficients: int

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("octaves", "bins_per_octave", "hop_length", "first_octave_samples", "n_coefficients"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}: {getattr(self, key)} is not positive")
        if self.bandwidth_offset < 0:
            raise ValueError(f"bandwidth_offset: {self.bandwidth_offset} Hz is negative")
        if self.power_floor < 1e-38:
            raise ValueError(f"power_floor: {self.power_floor} is not positive, or less than float32 holds")
        if len(bin_frequencies(self)[0]) < 4:
            raise ValueError("bins_per_octave, octaves: fewer than 4 bins lie between 0 Hz and half the sample_rate")
        if self.n_coefficients > len(linear_frequencies(self)):
            raise ValueError(
                f"n_coefficients: {self.n_coefficients} of {len(linear_frequencies(self))} points of the linear axis"
            )


def bin_frequencies(conf: Conf) -> tuple[np.ndarray, np.ndarray]:
    """(bins,) centres and (bins,) whole bandwidths of the windows in Hz, lowest first.

    Centres f_k = sample_rate / 2 * 2^(k / bins_per_octave - octaves); bandwidths (2^(1/bins_per_octave) -
    2^(-1/bins_per_octave)) (f_k + bandwidth_offset). Windows that reach below 0 Hz or above half the sample rate are
    left out.
    """
    nyquist, bins = conf.sample_rate / 2, conf.bins_per_octave
    centres = nyquist * 2.0 ** (np.arange(bins * conf.octaves + 1) / bins - conf.octaves)
    widths = (2 ** (1 / bins) - 2 ** (-1 / bins)) * (centres + conf.bandwidth_offset)
    whole = (centres - widths / 2 >= 0) & (centres + widths / 2 <= nyquist)
    return centres[whole], widths[whole]


def linear_frequencies(conf: Conf) -> np.ndarray:
    """(points,) in Hz: from the lowest bin to the highest, first_octave_samples of them in the first octave."""
    centres, _ = bin_frequencies(conf)
    step = centres[0] / conf.first_octave_samples
    return centres[0] + step * np.arange(int((centres[-1] - centres[0]) / step * (1 + 1e-12)) + 1)


def cepstral_matrix(conf: Conf) -> np.ndarray:
    """(bins, n_coefficients): a frame's logarithmic powers times it are its cepstral coefficients.

    Both of its parts are linear: a cubic spline through the bins (not-a-knot, over Hz, as MATLAB's `resample` of
    non-uniform samples has it with 'spline'), read at `linear_frequencies`; and the orthonormal cosine transform II.
    """
    centres, _ = bin_frequencies(conf)
    points = linear_frequencies(conf)
    knots = np.concatenate([centres[[0] * 4], centres[2:-2], centres[[-1] * 4]])
    at_points = scipy.interpolate.BSpline.design_matrix(np.minimum(points, centres[-1]), knots, 3)
    at_bins = scipy.interpolate.BSpline.design_matrix(centres, knots, 3).toarray()
    order = np.arange(conf.n_coefficients)
    cosines = np.cos(np.pi * np.outer(np.arange(len(points)) + 0.5, order) / len(points))
    cosines *= np.sqrt(np.where(order == 0, 1, 2) / len(points))
    return np.linalg.solve(at_bins.T, at_points.T @ cosines)


class FrontEnd(FrontEndBase):
    """The first n_coefficients, the 0th included; frame t is centred on sample t hop_length.

    The power of bin k is |c_k[t]|^2 + power_floor, c_k = the part of the waveform's spectrum under a Hann window of
    `bin_frequencies`, times 2, back in time: a sinusoid of amplitude A in the middle of a bin comes to A. Zeros
    continue the waveform for 8 times the reciprocal of the narrowest bandwidth at least (2.3 s), and then it repeats.

    What differs from the toolbox: its hop is the utterance's length over a rounded number of frames (8.4 ms at 16 kHz),
    it does not pad, so that an utterance's end leaks into its begin, and it rounds centres and bandwidths to multiples
    of 1 / length.
    """

    def __init__(self, conf: Conf):
        self.conf: Conf = conf
        self.bins = conf.n_coefficients
        self._centres, self._widths = bin_frequencies(conf)
        self._cepstral = cepstral_matrix(conf).astype(np.float32)
        # Times per hop at which a bin's band is sampled, so that it does not overlap itself.
        self._oversampling = int(np.ceil(self._widths.max() * conf.hop_length / conf.sample_rate))

    def _tables(self, samples: int) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
        """Period in hops of a waveform of so many samples; then, for each line of each band: its place in the spectrum,
        its weight, and its place in the (bins, period x oversampling) spectra of the bands, flat."""
        conf = self.conf
        padding = 8 / self._widths.min() * conf.sample_rate
        period = scipy.fft.next_fast_len(int((samples + padding) / conf.hop_length) + 1)
        resolution = conf.sample_rate / (period * conf.hop_length)
        begins = np.ceil((self._centres - self._widths / 2) / resolution).astype(np.int64)
        counts = np.floor((self._centres + self._widths / 2) / resolution).astype(np.int64) - begins + 1
        lines = np.arange(counts.sum()) + np.repeat(begins - (np.cumsum(counts) - counts), counts)
        # from a band's centre, in bandwidths
        distance = lines * np.repeat(resolution / self._widths, counts)
        distance -= np.repeat(self._centres / self._widths, counts)
        weights = (0.5 + 0.5 * np.cos(2 * np.pi * distance)) * (2 / (period * conf.hop_length))
        columns = period * self._oversampling
        places = lines % columns + np.repeat(np.arange(len(counts)) * columns, counts)
        return period, lines, weights, places

    def _powers(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: (samples,) -> (bins, frames): |c_k[t]|^2."""
        n_frames = 1 + len(waveform) // self.conf.hop_length
        period, lines, weights, places = self._tables(len(waveform))
        spectrum = scipy.fft.rfft(waveform, period * self.conf.hop_length)
        bands = np.zeros((len(self._centres), period * self._oversampling), np.complex128)
        bands.ravel()[places] = spectrum[lines] * weights
        bands = scipy.fft.ifft(bands, axis=1, overwrite_x=True, norm="forward")
        frames = bands[:, : n_frames * self._oversampling : self._oversampling]
        return np.square(frames.real) + np.square(frames.imag)

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: (samples,) -> float32 (1 + samples // hop_length, n_coefficients), natural logarithm."""
        powers = self._powers(waveform).astype(np.float32)
        powers += np.float32(self.conf.power_floor)
        return np.log(powers, out=powers).T @ self._cepstral

    def extract_batch(self, waveforms: Sequence[np.ndarray], device: str) -> list[np.ndarray]:
        """See FrontEndBase. One after the other on `device` by torch."""
        import torch  # here, because it takes a while to load and jobs that dump features do without

        cepstral = torch.from_numpy(self._cepstral).to(device)
        computed = []
        for waveform in waveforms:
            n_frames = 1 + len(waveform) // self.conf.hop_length
            period, *tables = self._tables(len(waveform))
            lines, weights, places = (torch.from_numpy(table).to(device) for table in tables)
            spectrum = torch.fft.rfft(torch.from_numpy(waveform).to(device), period * self.conf.hop_length)
            shape = len(self._centres), period * self._oversampling
            bands = torch.zeros(shape, dtype=torch.complex128, device=device)
            bands.view(-1)[places] = spectrum[lines] * weights
            bands = torch.fft.ifft(bands, dim=1, norm="forward")
            frames = bands[:, : n_frames * self._oversampling : self._oversampling]
            powers = (frames.real.square() + frames.imag.square()).float() + self.conf.power_floor
            computed.append(torch.log(powers).T @ cepstral)
        return [features.cpu().numpy() for features in computed]
