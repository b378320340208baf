"""steps/training/checkpoints.py: what is damaged is not used, and said to be."""

from __future__ import annotations

import errno
import shutil
import zipfile

import pytest
import torch

from steps.training import checkpoints
from steps.training.checkpoints import CheckpointFolder, Damaged


def state_of(epoch: int, best_epoch: int) -> dict:
    return {"epoch": epoch, "best_epoch": best_epoch, "weights": torch.full((300,), float(epoch)), "name": "x"}


def flip(path, place: int, bit: int = 2) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def test_any_byte_that_changed_is_noticed(tmp_path):
    """torch.load takes most of them without a word; what is let through here changes nothing that is loaded."""
    path = tmp_path / "final.pt"
    checkpoints.save(path, state_of(3, 2))
    content, whole = path.read_bytes(), checkpoints.load(path)
    noticed = silent = 0
    for place in range(0, len(content), 2):
        path.write_bytes(content)
        flip(path, place, place // 2 % 8)
        try:
            loaded = checkpoints.load(path)
        except Damaged as error:
            noticed += 1
            assert str(path) in str(error) and "remove it and train again" in str(error)
        else:
            assert torch.equal(loaded.pop("weights"), whole["weights"])
            assert loaded == {"epoch": 3, "best_epoch": 2, "name": "x"}
        try:
            silent += not torch.equal(torch.load(path, weights_only=True)["weights"], whole["weights"])
        except Exception:
            continue
    assert noticed > 600 and silent > 500  # 1200 bytes of weights, of which each second one was changed
    for cut in (0, 1, 100, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(Damaged, match="damaged or cut off"):
            checkpoints.load(path)


def test_a_disk_that_fails_for_a_while_is_no_damage(tmp_path, monkeypatch):
    folder = folder_of(tmp_path, {1: 1, 2: 1})

    def fails(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(zipfile.ZipFile, "testzip", fails)
    with pytest.raises(OSError, match=r"epoch2\.pt"):
        folder.latest()


def folder_of(path, best: dict[int, int], keep: int = 0) -> CheckpointFolder:
    """Checkpoints of epochs, each with the epoch that was the best one then."""
    folder = CheckpointFolder(path, keep)
    for epoch, best_epoch in best.items():
        folder.save(epoch, state_of(epoch, best_epoch))
    return folder


def test_the_newest_whole_checkpoint_is_used(tmp_path, capsys):
    folder = folder_of(tmp_path, {1: 1, 2: 1, 3: 3})
    assert folder.epochs() == [2, 3] and folder.latest()["epoch"] == 3
    flip(folder.path(3), 900)  # best.pt is the same file
    for _ in range(2):  # killed once more before epoch 3 is repeated
        assert folder.latest()["epoch"] == 2
        assert f"{folder.path(3)}: damaged" in capsys.readouterr().err
    folder.save(3, state_of(3, 3))
    assert checkpoints.load(folder.best)["epoch"] == 3 and folder.latest()["epoch"] == 3
    flip(folder.path(2), 900)
    flip(folder.path(3), 900)
    assert folder.latest() is None


def test_a_disk_without_hard_links(tmp_path, monkeypatch):
    def no_links(*paths):
        raise OSError(errno.EPERM, "Operation not permitted", *map(str, paths))

    monkeypatch.setattr(checkpoints.os, "link", no_links)
    folder = folder_of(tmp_path, {1: 1, 2: 2, 3: 2})
    assert checkpoints.load(folder.best)["epoch"] == 2 and folder.latest()["epoch"] == 3
    assert not folder.best.samefile(folder.path(2))
    assert {path.name for path in tmp_path.rglob("*.pt")} == {"epoch2.pt", "epoch3.pt", "best.pt"}


def test_lost_weights_of_the_best_epoch_are_told_at_once(tmp_path):
    folder = folder_of(tmp_path / "a", {1: 1, 2: 1, 3: 1})
    assert folder.latest()["epoch"] == 3
    flip(folder.best, 900)
    with pytest.raises(
        Damaged, match=f"best.pt: damaged .* epoch 1, the best so far, are lost; remove {folder.folder}"
    ):
        folder.latest()
    folder.best.unlink()
    with pytest.raises(Damaged, match="best.pt: no such file; the weights of epoch 1"):
        folder.latest()

    folder = folder_of(tmp_path / "b", {1: 1, 2: 2, 3: 2})  # epoch 2 is there still, in a file of its own
    shutil.copy(folder.best, tmp_path / "copy")
    (tmp_path / "copy").replace(folder.best)
    flip(folder.best, 900)
    assert folder.latest()["epoch"] == 3
    assert checkpoints.load(folder.best)["epoch"] == 2
