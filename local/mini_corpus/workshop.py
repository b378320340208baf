"""What a worker process needs to make any utterance of a mini corpus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from local.layout import Layout
from local.mini_corpus.conf import MiniCorpusConf
from local.mini_corpus.joining import joined_utterance
from local.mini_corpus.planning import Utterance


@dataclass(frozen=True)
class Workshop:
    """The conf, less what cannot be had, and where everything is."""

    conf: MiniCorpusConf
    seed: int
    building: Path
    package_folders: dict[str, str]
    package_names: dict[str, str]  # package -> "name version", for the manifest
    python_paths: tuple[str, ...]

    @property
    def layout(self) -> Layout:
        return Layout(self.building / self.conf.recipe.upper(), self.conf.recipe)

    def flac(self, utterance: Utterance) -> Path:
        return self.layout.flac(utterance.split, utterance.name)

    def row(self, utterance: Utterance) -> Path:
        return self.building / "work" / "rows" / f"{utterance.name}.json"

    def bonafide_speech(self, name: str, number: int) -> tuple[np.ndarray, str]:
        """A joined utterance, and its package and files."""
        speech, items, origin = joined_utterance(self.building / "work", name, number)
        if origin is None:
            speaker = next(named[name] for named in self.conf.speakers.values() if name in named)
            origin = self.package_names[speaker.package]
        return speech, f"{origin}: {' '.join(items)}"


@dataclass(frozen=True)
class Made:
    """What becomes of an utterance: (samples,) int16, its source in words, the values that were drawn for it."""

    samples: np.ndarray
    source: str
    parameters: dict[str, object]
