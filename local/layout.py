"""The folders and file names of ASVspoof 2019, which the real corpus and the mini corpora have alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

OFFICIAL_SETS = ("train", "dev", "eval")


@dataclass(frozen=True)
class Layout:
    """Where a corpus in the layout of ASVspoof 2019 keeps its files, below `root`, its folder LA or PA."""

    root: Path
    recipe: str  # la or pa

    @property
    def stem(self) -> str:
        return f"ASVspoof2019_{self.recipe.upper()}"

    @property
    def protocols(self) -> Path:
        return self.root / f"{self.stem}_cm_protocols"

    def protocol(self, subset: str) -> Path:
        kind = "trn" if subset.split("_")[0] == "train" else "trl"
        return self.protocols / f"ASVspoof2019.{self.recipe.upper()}.cm.{subset}.{kind}.txt"

    def audio(self, subset: str) -> Path:
        """The flac folder; a set such as eval_known takes its audio from that of eval."""
        return self.root / f"{self.stem}_{subset.split('_')[0]}" / "flac"

    def flac(self, subset: str, utt: str) -> Path:
        return self.audio(subset) / f"{utt}.flac"

    def asv_scores(self, subset: str) -> Path:
        """The ASV's scores of the set's trials, for the t-DCF; there is none for train."""
        name = f"ASVspoof2019.{self.recipe.upper()}.asv.{subset}.gi.trl.scores.txt"
        return self.root / f"{self.stem}_asv_scores" / name

    def asv_protocol(self, subset: str, kind: str) -> Path:
        """The ASV's list of the set, by kind: trn has who is enrolled by what, trl the trials."""
        name = f"ASVspoof2019.{self.recipe.upper()}.asv.{subset}.gi.{kind}.txt"
        return self.root / f"{self.stem}_asv_protocols" / name

    def sets(self) -> list[str]:
        """train, dev, eval, then the names of whatever further protocols are there."""
        pattern = f"ASVspoof2019.{self.recipe.upper()}.cm.*.tr[ln].txt"
        there = {path.name.split(".")[3] for path in self.protocols.glob(pattern)}
        return [*OFFICIAL_SETS, *sorted(there - set(OFFICIAL_SETS))]
