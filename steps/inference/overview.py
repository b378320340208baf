"""Envelope and spectrogram of a recording, gathered while it is scored."""

from __future__ import annotations

import numpy as np
import scipy.fft

_COLUMN_SECONDS = 0.01
_FRAME_SECONDS = 0.032
_MOST_COLUMNS = 2400  # about the picture's pixels
_RANGE_DB = 70


class Overview:
    """Envelope and spectrogram of a waveform that comes in blocks, in memory that does not grow with its length: of a
    long one, neighbouring columns are put together."""

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
