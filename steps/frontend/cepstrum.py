"""Cepstral coefficients of a filter bank: `lfcc` and its kin (linear filters), `mfcc` (mel filters, as Kaldi's).

LFCC: Sahidullah et al., "A comparison of features for synthetic speech detection", Interspeech 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

from steps.frontend import filter_bank
from steps.frontend.processing.filters import filter_peaks


@dataclass(frozen=True, kw_only=True)
class Conf(filter_bank.Conf):
    n_ceps: int
    lifter: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.n_ceps <= self.filters.number:
            raise ValueError(f"n_ceps: {self.n_ceps} must be between 1 and filters.number ({self.filters.number})")
        if self.lifter < 0:
            raise ValueError(f"lifter: {self.lifter} is negative")

    @property
    def bin_hz(self) -> None:
        return None

    @property
    def floor(self) -> None:
        return None


class FrontEnd(filter_bank.FrontEnd):
    """The first n_ceps coefficients, the 0th among them, of the orthonormal DCT-II of the filters' log energies; with
    `energy`, the 0th is the frame's log energy instead. `lifter` L scales the ith by 1 + L/2 sin(pi i / L); 0: not.

    Attribute: `dct` (filters, n_ceps), float64, liftering counted in.
    """

    def __init__(self, conf: Conf):
        super().__init__(conf)
        self.bins = conf.n_ceps
        self.dct = scipy.fft.dct(np.eye(conf.filters.number), axis=1, norm="ortho")[:, : conf.n_ceps]
        if conf.lifter:
            self.dct = self.dct * (1 + conf.lifter / 2 * np.sin(np.pi * np.arange(conf.n_ceps) / conf.lifter))
        self._dct = np.ascontiguousarray(self.dct, np.float32)

    def _extracted_filter_basis(self) -> tuple[np.ndarray, np.ndarray] | None:
        if self.conf.per_decibel is None:
            return None
        basis = self.conf.per_decibel * self.dct
        if self._extra:
            basis[:, 0] = 0  # the frame's energy in its place, which depends on all the sound
        return filter_peaks(self.conf.filters, self.conf.sample_rate), basis

    def columns(self, energies: np.ndarray) -> np.ndarray:
        logarithms = super().columns(energies)
        cepstra = logarithms[:, self._extra :] @ self._dct
        if self._extra:
            cepstra[:, 0] = logarithms[:, 0]
        return cepstra
