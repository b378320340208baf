"""Checkpoints that carry all that training needs to go on as if it had never stopped."""

from __future__ import annotations

import errno
import io
import os
import pickle
import random
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from utils.cli import UserError, system_error_text, warn
from utils.files import aside, clear_left, write_aside

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)  # what file systems without hard links answer
_KEEP_LATEST = 2  # one more than needed, should the newest be damaged


def save(path: Path, state: dict[str, Any]) -> None:
    # torch.save tells of a full disk in words of its own; so it writes to memory.
    content = io.BytesIO()
    torch.save(state, content)
    with write_aside(path, "wb") as handle:
        handle.write(content.getbuffer())


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


class Damaged(UserError):
    """A checkpoint that is not as it was written."""


_TRAIN_AGAIN = "remove it and train again (--stage 2): complete files beside it are kept"


def check(path: str | Path, fix: str = _TRAIN_AGAIN) -> None:
    """Raises UserError, with the `fix`, if a checkpoint is missing, and Damaged if a byte of it is wrong or lacks.

    torch.save makes a zip, with a CRC-32 of each tensor; torch.load never looks at them, so it is done here. The
    attributes, which are no part of a CRC, are 0 as torch.save writes them: a folder's would hide a tensor.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; has its training ended?")
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
            if bad is None and any(info.external_attr for info in archive.infolist()):
                bad = "attributes"
    except Exception as error:  # zipfile raises many kinds for a damaged file
        if isinstance(error, OSError) and system_error_text(error):  # the file may be whole: nothing to remove
            error.filename = error.filename or str(path)
            raise
        raise Damaged(f"{path}: damaged or cut off ({_first_line(error)}); {fix}") from None
    if bad is not None:
        raise Damaged(f"{path}: damaged (the checksum of {bad} is wrong); {fix}")


def load(path: str | Path, fix: str = _TRAIN_AGAIN) -> dict[str, Any]:
    """Tensors, on the CPU, and plain values; never code. Raises UserError, with the `fix`, if the file is missing or
    damaged."""
    check(path, fix)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch's message tells how to load it all the same: not this one's business
        raise Damaged(
            f"{path}: not a readable checkpoint: damaged, or it holds more than tensors and plain values, which could"
            f" run code and is never loaded; {fix}"
        ) from None
    except Exception as error:  # torch raises many kinds for a file that is no checkpoint
        raise Damaged(f"{path}: not a readable checkpoint ({_first_line(error)}); {fix}") from None
    if not isinstance(state, dict):
        raise Damaged(f"{path}: not a checkpoint: it holds a {type(state).__name__}, not named values; {fix}")
    return state


def random_states() -> dict[str, Any]:
    kind, keys, position, has_gauss, cached = cast(tuple[Any, ...], np.random.get_state())  # to NumPy's stubs a dict
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
            self._link_best(epoch)
        for old in self.epochs():
            if old <= epoch - self.keep:
                self.path(old).unlink()

    def _link_best(self, epoch: int) -> None:
        link = aside(self.best)
        link.unlink(missing_ok=True)
        try:
            os.link(self.path(epoch), link)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copyfile(self.path(epoch), link)
        link.replace(self.best)
        link.unlink(missing_ok=True)  # a rename does nothing where both are the same file already

    def latest(self) -> dict[str, Any] | None:
        """The newest whole checkpoint; a damaged one is named, and the one before it used.

        load_state_dict takes all to its place. An optimizer's step counters belong on the CPU: on a GPU it
        would wait for the device once for each parameter in each step. Raises Damaged where the best epoch's weights,
        which a run from there would need, are lost.
        """
        clear_left(self.folder)
        best_comes_again = False
        for epoch in reversed(self.epochs()):
            path = self.path(epoch)
            try:
                state = load(path, fix="going back to the checkpoint before it, or to the start")
            except Damaged as error:
                warn(str(error))
                # The epoch that is now repeated was the best one, and will be again.
                best_comes_again |= self.best.exists() and self.best.samefile(path)
                continue
            self.settle(epoch, state["best_epoch"])
            if state["best_epoch"] != epoch and not best_comes_again:
                self._check_best(state["best_epoch"])
            return state
        return None

    def _check_best(self, best_epoch: int) -> None:
        """Find out at the begin of a run, not at its end, that the best epoch's weights are damaged or gone."""
        fix = f"the weights of epoch {best_epoch}, the best so far, are lost; remove {self.folder} and train again"
        kept = self.path(best_epoch)
        if self.best.exists():
            try:
                check(self.best, fix)
                return
            except Damaged:
                if not kept.exists():
                    raise
        elif not kept.exists():
            raise Damaged(f"{self.best}: no such file; {fix}")
        check(kept, fix)
        self._link_best(best_epoch)

    def remove_epochs(self) -> None:
        """All but best.pt."""
        for epoch in self.epochs():
            self.path(epoch).unlink()
