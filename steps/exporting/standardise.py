"""frontend.processing.standardise as a torch module: the same numbers, for a batch whose waveforms have different
lengths."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steps.frontend.processing import standardise


def _compacted(values: Tensor, keep: Tensor, size: Tensor | int, room: Tensor) -> Tensor:
    """The values that `keep` marks, moved to the begin of `room` (batch, size + 1), zeros; beyond `size` they are
    lost."""
    at = torch.where(keep, keep.long().cumsum(1) - 1, size).clamp(max=size)
    return room.scatter(1, at, values)[:, :-1]


class Standardise(nn.Module):
    """waveform (batch, samples) float64, lengths (batch,) int64 -> the first `size` standardised samples (batch, size),
    zeros after the last, and how many there are of each (batch,), at most `size`."""

    def __init__(self, sample_rate: int, size: int, in_place: bool = False):
        super().__init__()
        self.size, self.in_place = size, in_place
        self.shortest, self.frame = standardise.run_samples(sample_rate), standardise.frame_samples(sample_rate)

    def _in_a_run(self, x: Tensor, valid: Tensor) -> Tensor:
        """bool (batch, samples): which samples are digital silence."""
        n = self.shortest
        same = F.pad((x[:, 1:] == x[:, :-1]) & valid[:, 1:], (1, 0)).long().cumsum(1)
        begins = F.pad(same, (0, n - 1))[:, n - 1 :] - same == n - 1  # n equal samples begin here
        count = begins.long().cumsum(1)
        return count > F.pad(count, (n, 0))[:, :-n]

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        waveform = F.pad(waveform, (0, self.frame))  # a graph wants at least two frames
        places = torch.ones_like(waveform).long().cumsum(1) - 1
        valid = places < lengths[:, None]
        x = waveform.masked_fill(~valid, 0.0)
        keep = valid & ~self._in_a_run(x, valid)
        count = keep.long().sum(1, keepdim=True)
        x = (x - (x * keep).sum(1, keepdim=True) / count.clamp(min=1)) * keep
        where_it_was = x
        loudest = waveform.masked_fill(~valid, 0.0).abs().amax(1, keepdim=True)
        x = _compacted(x, keep, places[:, -1:] + 1, F.pad(torch.zeros_like(x), (0, 1)))

        sums = F.pad(F.pad(x * x, (0, self.frame)).cumsum(1), (1, 0))[:, :: self.frame]
        frames = torch.ones_like(sums[:, 1:]).long().cumsum(1) - 1
        lengths_of_frames = (count - frames * self.frame).clamp(0, self.frame)
        power = (sums[:, 1:] - sums[:, :-1]) / lengths_of_frames.clamp(min=1)
        total = power.sum(1, keepdim=True)
        level = (power * power).sum(1, keepdim=True) / torch.where(total > 0, total, 1.0)
        nothing = level <= standardise.NOTHING**2 * loudest**2
        heard = power > level * 10 ** (-standardise.SILENCE_DB / 10)
        keep = (places < count) & heard.gather(1, places // self.frame)
        x = x * keep * (standardise.LEVEL / torch.where(nothing, 1.0, level).sqrt())
        turned = (x * x * x).sum(1, keepdim=True) < 0
        if self.in_place:
            x = where_it_was * (standardise.LEVEL / torch.where(nothing, 1.0, level).sqrt())
            keep = valid
        x = torch.where(turned, -x, x)
        keep = (keep & ~nothing) | (valid & nothing)  # of nothing, zeros of its own length
        x = torch.where(nothing, 0.0, x)
        found = _compacted(x, keep, self.size, F.pad(x[:, :0], (0, self.size + 1)))
        return found, keep.long().sum(1).clamp(max=self.size)
