"""A real, simple speaker verifier, for the ASV score files: cepstral statistics and a two-covariance model.

Trained on the bona fide utterances of the training speakers, it enrols each dev or eval speaker from several
utterances and scores trials as log-likelihood ratios. Nothing of it is tuned to let spoofs pass or fail.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import dct
from sklearn.covariance import LedoitWolf

from local.mini_corpus.attack import RATE
from local.mini_corpus.speech import active_frames

_WINDOW, _SHIFT, _FFT, _BANDS, _CEPSTRA = 400, 160, 512, 30, 20


@functools.cache
def _filters() -> np.ndarray:
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 7400 / 700), _BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(_FFT, 1 / RATE)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.clip(np.minimum(rising, falling), 0, None)


def embed(samples: np.ndarray) -> np.ndarray:
    """One utterance (int16, 16 kHz) as means and standard deviations of its MFCCs 1 to 19 and of their slopes over
    the frames that hold speech, shape (76,)."""
    speech = samples / 32768.0
    speech = np.append(speech[:1], speech[1:] - 0.97 * speech[:-1])
    frames = np.lib.stride_tricks.sliding_window_view(speech, _WINDOW)[::_SHIFT] * np.hamming(_WINDOW)
    power = np.abs(np.fft.rfft(frames, _FFT, axis=1)) ** 2
    cepstra = dct(np.log(power @ _filters().T + 1e-10), axis=1, norm="ortho")[:, 1:_CEPSTRA]
    around = np.pad(cepstra, ((2, 2), (0, 0)), mode="edge")
    slopes = sum(k * (around[2 + k : len(cepstra) + 2 + k] - around[2 - k : len(cepstra) + 2 - k]) for k in (1, 2)) / 10
    active = active_frames(samples / 32768.0, 25.0)
    active = np.pad(active, (0, max(0, len(cepstra) - len(active))))[: len(cepstra)]
    both = np.concatenate([cepstra, slopes], axis=1)[active]
    return np.concatenate([both.mean(axis=0), both.std(axis=0)])


def _log_gaussian(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Log densities of the rows of x, without the constant that cancels in a ratio."""
    difference = x - mean
    _, log_determinant = np.linalg.slogdet(covariance)
    return -0.5 * (np.sum(difference * np.linalg.solve(covariance, difference.T).T, axis=1) + log_determinant)


@dataclass(frozen=True)
class SpeakerVerifier:
    """Speaker means are normal with covariance `between`, utterances about them with covariance `within`.

    Source: Brummer, de Villiers, "The speaker partitioning problem", Odyssey 2010. Both covariances are shrunk
    (Ledoit, Wolf 2004), for the training speakers are few.
    """

    centre: np.ndarray
    scale: np.ndarray
    between: np.ndarray
    within: np.ndarray

    @classmethod
    def train(cls, embeddings: np.ndarray, speakers: Sequence[str]) -> SpeakerVerifier:
        """From embeddings (utterances, dimensions) and the speaker of each. Needs two speakers or more."""
        names = sorted(set(speakers))
        if len(names) < 2:
            raise ValueError(f"a speaker verifier needs two training speakers or more, not {len(names)}")
        of = np.array(speakers)
        scale = embeddings.std(axis=0) + 1e-9
        scaled = embeddings / scale
        means = np.stack([scaled[of == name].mean(axis=0) for name in names])
        residuals = np.concatenate([scaled[of == name] - mean for name, mean in zip(names, means)])
        return cls(
            centre=means.mean(axis=0),
            scale=scale,
            between=LedoitWolf().fit(means).covariance_,
            within=LedoitWolf(assume_centered=True).fit(residuals).covariance_,
        )

    def score(self, enrolment: np.ndarray, trials: np.ndarray) -> np.ndarray:
        """Log-likelihood ratios of trials (trials, dimensions) against a speaker enrolled from (n, dimensions)."""
        enrolled = enrolment / self.scale - self.centre
        trials = trials / self.scale - self.centre
        gain = self.between @ np.linalg.inv(self.between + self.within / len(enrolled))
        mean = gain @ enrolled.mean(axis=0)
        posterior = self.between - gain @ self.between
        posterior = (posterior + posterior.T) / 2
        return _log_gaussian(trials, mean, posterior + self.within) - _log_gaussian(
            trials, np.zeros_like(mean), self.between + self.within
        )
