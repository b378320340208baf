"""Checkpoints that carry all that training needs to go on as if it had never stopped."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.cli import UserError, warn
from utils.files import aside, write_aside

_KEEP_LATEST = 2  # one more than needed, should the newest be damaged


def save(path: Path, state: dict[str, Any]) -> None:
    with write_aside(path, "wb") as handle:
        torch.save(state, handle)


def load(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Raises UserError if the file is missing or damaged. Loads tensors and plain values only, never code."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; has its training ended?")
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise UserError(
            f"{path}: not a readable checkpoint ({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from None


def random_states() -> dict[str, Any]:
    kind, keys, position, has_gauss, cached = np.random.get_state()
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        # of the GPU in use alone, so that it does not matter how many a machine has
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "python": [version, list(internal), gauss],
    }


def set_random_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"][0].cpu())
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))


class CheckpointFolder:
    """`epoch<N>.pt` of the latest epochs, and `best.pt`, the same file as the best epoch's."""

    def __init__(self, folder: Path, keep: int):
        self.folder = folder
        self.keep = max(keep, _KEEP_LATEST)

    def epochs(self) -> list[int]:
        names = (re.fullmatch(r"epoch(\d+)\.pt", p.name) for p in self.folder.glob("epoch*.pt"))
        return sorted(int(m[1]) for m in names if m)

    def path(self, epoch: int) -> Path:
        return self.folder / f"epoch{epoch}.pt"

    @property
    def best(self) -> Path:
        return self.folder / "best.pt"

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        save(self.path(epoch), state)
        self.settle(epoch, state["best_epoch"])

    def settle(self, epoch: int, best_epoch: int) -> None:
        """What follows the writing of an epoch's checkpoint; done again after a kill in between."""
        if best_epoch == epoch:
            link = aside(self.best)
            link.unlink(missing_ok=True)
            os.link(self.path(epoch), link)
            link.replace(self.best)
        for old in self.epochs():
            if old <= epoch - self.keep:
                self.path(old).unlink()

    def latest(self, device: torch.device) -> dict[str, Any] | None:
        """The newest checkpoint that can be read; a damaged one is named and the one before it used."""
        for epoch in reversed(self.epochs()):
            try:
                state = load(self.path(epoch), device)
            except UserError as error:
                warn(f"{error}; going back to the checkpoint before it")
                self.path(epoch).unlink()
                continue
            self.settle(epoch, state["best_epoch"])
            return state
        return None

    def remove_epochs(self) -> None:
        """All but best.pt."""
        for epoch in self.epochs():
            self.path(epoch).unlink()
