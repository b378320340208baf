"""The discrete Fourier transform of frames as matrix products, which every runtime has in double precision and computes
fast.

ONNX has operators of its own for it (DFT, STFT). ONNX Runtime takes some hundred times as long for them, where the
number of samples is no power of two, as for these products.

All is float64: the weakest bins beside the strongest are lost in float32's rounding, and their logarithms count as
much.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def table(values: np.ndarray) -> nn.Buffer:
    """A constant of the graph, float64."""
    return nn.Buffer(torch.from_numpy(np.ascontiguousarray(values, np.float64)), persistent=True)


def turned(parts: tuple[Tensor, Tensor], cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part times (cosine - i sine)."""
    real, imaginary = parts
    return real * cosine + imaginary * sine, imaginary * cosine - real * sine


def cut_into_frames(samples: Tensor, frames: int, length: int, hop: int) -> Tensor:
    """(batch, samples) -> (batch, frames, length): frame t is samples t hop .. t hop + length. At least
    (frames + ceil(length / hop) - 1) hop samples are needed."""
    pieces = -(-length // hop)
    blocks = samples[:, : (frames + pieces - 1) * hop].reshape(-1, frames + pieces - 1, hop)
    return torch.cat([blocks[:, i : i + frames] for i in range(pieces)], dim=2)[:, :, :length]


def _angles(turns: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of 2 pi turns / n, for integers, which are reduced modulo n first: exact but for rounding."""
    angle = 2 * np.pi * (turns % n) / n
    return np.cos(angle), np.sin(angle)


class FewBins(nn.Module):
    """Bins `first`..`last` of frames under a window that is a sum of cosines, for few bins of frames that overlap much.

    Each block of `hop` samples is transformed once, a frame is the sum of its blocks, and the window is applied over
    frequency: frontend.log_spectrum tells more. (batch, samples) -> real and imaginary parts, (batch, frames, bins).
    """

    def __init__(self, frames: int, n_fft: int, hop: int, first: int, last: int, spread: np.ndarray):
        """spread: weights of a bin's neighbours at distances -r..r, an odd number of them, symmetric."""
        super().__init__()
        self.frames, self.hop, self.spread = frames, hop, [float(weight) for weight in spread]
        self.whole, self.cut = divmod(n_fft, hop)
        self.blocks = frames + self.whole
        reach = len(spread) // 2
        self.bins = last + 1 - first
        bins = np.arange(first - reach, last + reach + 1)
        cosine, sine = _angles(np.outer(np.arange(hop), bins), n_fft)
        self.basis = table(np.concatenate([cosine, -sine], axis=1))
        cosine, sine = _angles(np.outer(np.arange(self.blocks) * hop, bins), n_fft)
        self.cosine, self.sine = table(cosine), table(sine)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        blocks = samples[:, : self.blocks * self.hop].reshape(-1, self.blocks, self.hop)
        sums = []
        for part in turned((blocks @ self.basis).chunk(2, dim=2), self.cosine, self.sine):
            sums.append(sum(part[:, i : i + self.frames] for i in range(self.whole)))
        if self.cut:
            last = (blocks[:, self.whole :, : self.cut] @ self.basis[: self.cut]).chunk(2, dim=2)
            turned_last = turned(last, self.cosine[self.whole :], self.sine[self.whole :])
            sums = [part + end for part, end in zip(sums, turned_last)]
        # from the phase of the begin of all to that of the frame's
        sums = turned((sums[0], sums[1]), self.cosine[: self.frames], -self.sine[: self.frames])
        real, imaginary = (
            sum(part[:, :, i : i + self.bins] * weight for i, weight in enumerate(self.spread)) for part in sums
        )
        return real, imaginary


class ManyBins(nn.Module):
    """Bins `first`..`last` of windowed frames, by two products in the place of one (Cooley and Tukey, 1965).

    With n_fft = rows x columns, sample n = columns p + q and bin k = k1 + rows k2:
    X[k] = sum_q exp(-2 pi i q k / n_fft) sum_p x[columns p + q] exp(-2 pi i p k1 / rows).
    (batch, frames, length), length <= n_fft -> real and imaginary parts, (batch, frames, bins).
    """

    def __init__(self, n_fft: int, first: int, last: int, length: int):
        super().__init__()
        rows = next(n for n in range(int(np.sqrt(n_fft)), 0, -1) if n_fft % n == 0)
        columns = n_fft // rows
        self.rows, self.columns, self.first, self.bins = rows, columns, first, last + 1 - first
        self.used = -(-length // columns)  # rows that have samples; the others are zeros
        self.fill = self.used * columns - length
        cosine, sine = _angles(np.outer(np.arange(rows), np.arange(self.used)), rows)
        self.by_rows = table(np.concatenate([cosine, -sine]))  # (2 rows, used)
        turns = last // rows + 1
        k = np.arange(rows)[:, None, None] + rows * np.arange(turns)
        cosine, sine = _angles(np.arange(columns)[:, None] * k, n_fft)  # (rows, columns, turns)
        real, imaginary = np.concatenate([cosine, sine], axis=1), np.concatenate([-sine, cosine], axis=1)
        self.by_columns = table(np.concatenate([real, imaginary], axis=2))  # (rows, 2 columns, 2 turns)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        count = frames.shape[1]
        x = nn.functional.pad(frames, (0, self.fill)).reshape(-1, count, self.used, self.columns)
        x = (self.by_rows @ x).reshape(-1, count, 2, self.rows, self.columns)
        x = x.permute(3, 0, 1, 2, 4).reshape(self.rows, -1, 2 * self.columns) @ self.by_columns
        # (rows, batch x frames, 2 x turns) -> (batch, frames, 2, turns x rows): bin k1 + rows k2
        turns = self.by_columns.shape[2] // 2
        x = x.reshape(self.rows, -1, count, 2, turns).permute(1, 2, 3, 4, 0).reshape(-1, count, 2, turns * self.rows)
        x = x[:, :, :, self.first : self.first + self.bins]
        return x[:, :, 0], x[:, :, 1]
