"""The trained detectors and what they see of trials, for the sections that look into them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from steps.data.batches import fix_length
from steps.data.sources import ComputedFeatures, DumpedFeatures, FeatureSource
from steps.experiment import training_folder
from steps.frontend import FrontEndBase, FrontEndConf, make_frontend
from steps.nnet import Detector
from steps.results.report.page import Text
from steps.results.report.systems import Comparison, System
from utils.cli import UserError

BATCH = 32


@dataclass(frozen=True)
class Loaded:
    """A system's detector of the seed shown, its front end, and where its features come from."""

    system: System
    detector: Detector
    frontend: FrontEndBase
    source: FeatureSource

    def input_of(self, utt: str) -> tuple[Tensor, int]:
        """(1, channels, frames, bins), and how many of the frames are the utterance's own: the others continue it."""
        if utt not in self.source:
            raise UserError(f"{self.source.place}: no line of {utt}; is --data-dir that of these trainings?")
        features = self.source.read(utt)
        frames = self.frontend.conf.network_input.frames
        fixed = np.array(fix_length(features, frames, self.frontend.conf.network_input.pad))
        x = torch.from_numpy(fixed).reshape(frames, self.frontend.channels, -1).movedim(1, 0)
        return x[None], min(len(features), frames)


class Detectors:
    """Loads each detector once. `missing`: why a system has none, in words."""

    def __init__(self, comparison: Comparison):
        self._comparison = comparison
        self._sources: dict[FrontEndConf, tuple[FrontEndBase, FeatureSource]] = {}
        self.loaded: dict[str, Loaded] = {}
        self.missing: list[str] = []
        for system in comparison.systems:
            path = system.folder() / "final.pt"
            if not path.exists():
                self.missing.append(f"{system.name}: no {path}; train it (--stage 2 or 3)")
                continue
            detector, conf = training_folder.load_detector(path, torch.device("cpu"))
            if conf not in self._sources:
                self._sources[conf] = self._source(conf)
            self.loaded[system.experiment.name] = Loaded(system, detector, *self._sources[conf])

    def _source(self, conf: FrontEndConf) -> tuple[FrontEndBase, FeatureSource]:
        comparison = self._comparison
        if comparison.feats_dir is not None:
            feats = comparison.feats_dir / comparison.set_name
            try:
                training_folder.check_feats(feats, conf, "the report")
                return make_frontend(conf), DumpedFeatures(feats)
            except UserError:  # features of another front end, as of one of several compared: computed instead
                pass
        # compression is for disk only: computed features have all but the same numbers without
        frontend = make_frontend(dataclasses.replace(conf, compress="none"))
        return frontend, ComputedFeatures(comparison.data, frontend, comparison.allow_pipes)

    def by_front_end(self) -> list[list[Loaded]]:
        """Those that read the same features together."""
        groups: dict[int, list[Loaded]] = {}
        for one in self.loaded.values():
            groups.setdefault(id(one.source), []).append(one)
        return list(groups.values())


def batches(loaded: Loaded, utts: Sequence[str]) -> Iterator[Tensor]:
    """(batch, channels, frames, bins) of the utterances, in their order."""
    for begin in range(0, len(utts), BATCH):
        x = torch.cat([loaded.input_of(utt)[0] for utt in utts[begin : begin + BATCH]])
        yield x.contiguous(memory_format=torch.channels_last)


def computed_otherwise(computed: np.ndarray, written: np.ndarray, all_written: np.ndarray) -> bool:
    """Whether scores of some trials are not those of the score file, beyond what rounding and reduced precision
    explain."""
    return bool(np.max(np.abs(computed - written)) > 0.05 * max(float(np.std(all_written)), 1e-6))


def note_of_others(names: list[str]) -> Text:
    """A note on the systems for which computed_otherwise holds."""
    return Text(
        f"{'; '.join(names)}: scores computed for this page are not those of the score file. Audio, features or"
        " final.pt have changed since; score again.",
        "note",
    )
