"""Training features read by shards: few seeks, a good shuffle, and the same batches however they are read."""

import errno
import math
import os
import shutil
import signal
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from steps import train, training
from steps.data import batches as reading
from steps.data.batches import FeatureSet, training_plan
from steps.data.reading import Reading, Shards, SharedPlan, make_shards
from steps.data.sources import DumpedFeatures
from steps.frontend import load_conf, make_frontend
from steps.training import distributed
from steps.training.checkpoints import CheckpointFolder
from steps.training.identity import weights_depend_on
from tests.bench.shard_reading import Disk
from tests.in_process import call
from utils import conf as conf_files
from utils.ark import ArkWriter
from utils.cli import UserError


def shards_of(n, per_shard, arks=1, seed=0):
    """Shards of n utterances of 100 bytes, stored in a random order in some arks."""
    stored = np.random.default_rng(seed).permutation(n)
    ark, offset = np.empty(n, np.int32), np.empty(n, np.int64)
    ark[stored] = np.arange(n) * arks // n
    offset[stored] = np.arange(n) * 100
    return make_shards(ark, offset, 100 * per_shard), stored


def share_of(rank, world):
    """What distributed.share gives the process of that rank."""
    return lambda total: slice(total * rank // world, total * (rank + 1) // world)


def test_shards_are_stretches_of_one_ark_as_they_lie_there():
    shards, stored = shards_of(1000, 30, arks=3)
    np.testing.assert_array_equal(shards.stored, stored)
    lengths = np.diff(shards.begins)
    assert lengths.sum() == 1000 and lengths.max() == 30 and len(shards) in range(34, 38)
    place = {utt: i for i, utt in enumerate(stored.tolist())}
    arks = [{place[utt] * 3 // 1000 for utt in run.tolist()} for run in np.split(shards.stored, shards.begins[1:-1])]
    assert all(len(one) == 1 for one in arks)


@pytest.mark.parametrize(("n", "batch_size", "buffer"), [(1000, 64, 200), (65, 64, 8), (10, 64, 10**9), (1001, 8, 1)])
def test_an_epoch_has_each_utterance_once_by_seed_and_epoch(n, batch_size, buffer):
    shards, _ = shards_of(n, 30)
    plan = shards.plan(batch_size, buffer, (1, 2))
    batches = list(plan)
    sizes = [len(batch) for batch in training_plan(n, batch_size, 1, 2)]
    assert [len(batch) for batch in batches] == sizes and len(plan) == len(sizes)
    drawn = np.concatenate(batches)
    assert len(set(drawn.tolist())) == sum(sizes) >= n - 1 and set(drawn.tolist()) <= set(range(n))
    np.testing.assert_array_equal(np.concatenate(list(shards.plan(batch_size, buffer, (1, 2)))), drawn)
    assert not np.array_equal(np.concatenate(list(shards.plan(batch_size, buffer, (1, 3)))), drawn)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize(("n", "batch_size", "buffer"), [(1003, 64, 200), (1001, 8, 1), (10, 64, 10**9), (18, 8, 9)])
def test_processes_that_train_together_share_each_batch(n, batch_size, buffer, world):
    plan = shards_of(n, 30)[0].plan(batch_size, buffer, (1, 1))
    parts = []
    for rank in range(world):
        shared = SharedPlan(plan, share_of(rank, world))
        stream, holds, part = iter(np.concatenate(shared.stretches())), np.full(shared.held, -1), []
        for filled, taken in shared.draws():
            assert (holds[filled] < 0).all()  # no utterance is overwritten that was not drawn
            holds[filled] = [next(stream) for _ in filled]
            part.append(holds[taken])
            holds[taken] = -1
        assert next(stream, None) is None and shared.held <= plan.held
        parts.append(part)
    for batch, *shares in zip(plan, *parts, strict=True):
        np.testing.assert_array_equal(np.concatenate(shares), batch)
    if world == 1:
        assert shared.held == plan.held


def test_the_shuffle_is_good():
    """100,000 utterances in 360 shards, a buffer of a tenth: against all of them shuffled."""
    n, batch_size, buffer = 100_000, 64, 10_000
    shards = Shards(np.arange(n), np.append(np.arange(0, n, 280), n))
    place = np.empty(n)
    plans = {
        "shards": list(shards.plan(batch_size, buffer, (1, 1))),
        "random": training_plan(n, batch_size, 1, 1),
    }
    spread, batch_sd, kinds = {}, {}, {}
    spoof = np.arange(n) >= n // 10  # the worst case: all bona fide utterances lie together
    for name, batches in plans.items():
        order = np.concatenate(batches)
        place[order] = np.arange(n)
        spread[name] = np.median(np.abs(np.diff(place)))
        batch_sd[name] = np.std([spoof[batch].mean() for batch in batches[:-1]])
        kinds[name] = np.mean([len(np.unique(batch // 280)) for batch in batches[:-1]])
        # where an utterance lies says next to nothing of when it is drawn: of 360 shards, within 4 standard deviations
        assert abs(np.corrcoef(place, np.arange(n))[0, 1]) < 4 / math.sqrt(360)
    assert spread["random"] == pytest.approx(n * (1 - math.sqrt(0.5)), rel=0.03)
    # two that lie side by side leave the buffer at moments of their own: about buffer * ln 2 utterances apart
    assert spread["shards"] == pytest.approx(buffer * math.log(2), rel=0.15)
    assert kinds["shards"] > 0.5 * kinds["random"]
    assert batch_sd["shards"] < 2 * batch_sd["random"]


@pytest.fixture(scope="module")
def stored_set(root, tmp_path_factory):
    """3000 utterances of 4 kB in three arks, in an order of their own: data dir, feats dir, front end."""
    folder = tmp_path_factory.mktemp("stored")
    settings = ["frontend.network_input.frames=20"]
    frontend = make_frontend(load_conf(root / "conf/frontend/f0_subband.yaml", settings))
    rng, lines = np.random.default_rng(0), []
    for ark in range(3):
        with ArkWriter(folder / f"feats/feats.{ark}") as writer:
            for i in rng.permutation(1000):
                writer.write(f"U{1000 * ark + i:04d}", rng.standard_normal((int(rng.integers(15, 30)), 45)))
        lines += writer.lines
    (folder / "feats/feats.scp").write_text("".join(f"{line}\n" for line in sorted(lines)))
    (folder / "utt2label").write_text("".join(f"U{i:04d} {'spoof' if i % 5 else 'bonafide'}\n" for i in range(3000)))
    return folder, folder / "feats", frontend


@pytest.fixture(scope="module")
def third_of_it(stored_set, tmp_path_factory):
    """Each third of these utterances, of all three arks."""
    data, feats, frontend = stored_set
    folder = tmp_path_factory.mktemp("third")
    for table in (data / "utt2label", feats / "feats.scp"):
        lines = table.read_text().splitlines(keepends=True)
        (folder / table.name).write_text("".join(lines[::3]))
    return folder, folder, frontend


def feature_set(stored_set, how, cache_mib=0):
    data, feats, frontend = stored_set
    return FeatureSet(data, DumpedFeatures(feats), frontend, cache_mib, reading=Reading(how, 1, 1))


def test_shards_make_a_hundredth_of_the_seeks(stored_set, monkeypatch):
    counts = {}
    for how in ("random", "shards"):
        features = feature_set(stored_set, how)
        disk = Disk()
        monkeypatch.setattr(Path, "open", disk.opener())
        seen = [
            i
            for _, _, indices in features.batches(features.epoch_plan(64, 1, 1), torch.device("cpu"), 0)
            for i in indices
        ]
        monkeypatch.undo()
        assert len(set(seen)) == 3000
        counts[how] = disk
    assert counts["random"].seeks > 2900
    assert counts["shards"].seeks * 100 <= counts["random"].seeks
    assert counts["shards"].reads * 100 <= counts["random"].reads


def test_the_same_batches_however_many_processes_read(stored_set):
    features = feature_set(stored_set, "shards")
    plan = features.epoch_plan(64, 1, 1)
    assert plan.held < 300  # a tenth of the set
    runs = []
    for workers in (0, 1, 2):
        runs.append([(x.clone(), y, i) for x, y, i in features.batches(plan, torch.device("cpu"), workers)])
    for (x, labels, indices), batch in zip(runs[0], plan, strict=True):
        np.testing.assert_array_equal(indices, batch)
        assert labels.dtype == torch.int64 and labels.tolist() == features.labels[indices].tolist()
        assert all(torch.equal(row, features[int(i)][0]) for row, i in zip(x, indices))
    for other in runs[1:]:
        assert all(torch.equal(one[0], two[0]) for one, two in zip(runs[0], other, strict=True))


def _no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _no_shared_memory(*_: object) -> None:
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)")


@pytest.mark.parametrize("how", ["shards", "random"])
@pytest.mark.parametrize(
    ("place", "refuses", "said"),
    [
        ("torch.Tensor.share_memory_", _no_shared_memory, "pipes take its place"),
        ("multiprocessing.Lock", _no_room, "no processes read features"),
    ],
)
def test_a_small_dev_shm_gives_the_same_batches(third_of_it, how, place, refuses, said, monkeypatch, capsys):
    features = feature_set(third_of_it, how)
    plan = features.epoch_plan(64, 1, 1)
    expected = [x.clone() for x, _, _ in features.batches(plan, torch.device("cpu"), 0)]
    monkeypatch.setattr(place, refuses)
    reading._warn_once.cache_clear()
    found = [x.clone() for x, _, _ in features.batches(plan, torch.device("cpu"), 2)]
    assert all(torch.equal(one, two) for one, two in zip(expected, found, strict=True))
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and "--shm-size" in line
    reading._warn_once.cache_clear()


@pytest.mark.parametrize("how", ["shards", "random"])
def test_a_killed_reading_process_is_one_message(third_of_it, how, monkeypatch):
    features, own = feature_set(third_of_it, how), os.getpid()

    def end(utt: str, change: object = None) -> None:
        assert os.getpid() != own
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(features.source, "read", end)
    with pytest.raises(UserError, match=r"^a process that reads features was killed.*start again") as error:
        list(features.batches(features.epoch_plan(64, 1, 1), torch.device("cpu"), 2))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("error", [ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), EOFError()])
def test_a_reading_process_may_be_killed_while_it_hands_over(third_of_it, error, monkeypatch):
    features = feature_set(third_of_it, "random")
    monkeypatch.setattr("torch.utils.data.dataloader._BaseDataLoaderIter.__next__", Mock(side_effect=error))
    with pytest.raises(UserError, match=r"^a process that reads features was killed; was there too little memory"):
        list(features.batches(features.epoch_plan(64, 1, 1), torch.device("cpu"), 2))


def test_a_reading_process_may_be_killed_while_the_network_computes():
    """torch raises it from the signal's handler, wherever the program is."""
    with (
        pytest.raises(UserError, match=r"killed \(signal: Killed\); was there too little memory"),
        reading.reading_errors(),
    ):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    with pytest.raises(RuntimeError, match="shapes"), reading.reading_errors():
        raise RuntimeError("shapes do not fit")


@pytest.mark.parametrize("how", ["shards", "random", "memory"])
def test_reading_draws_nothing_from_the_generator_of_training(third_of_it, how):
    features = feature_set(third_of_it, how, cache_mib=1000)
    before = torch.get_rng_state()
    for workers in (0, 1):
        next(features.batches(features.epoch_plan(64, 1, 1), torch.device("cpu"), workers))
    assert torch.equal(torch.get_rng_state(), before)


def test_each_process_reads_its_share_of_the_same_batches(third_of_it, monkeypatch):
    """By shards, at random and from memory; two processes, made believe; each reads its own utterances and no
    others."""
    for how in ("shards", "random", "memory"):
        features = feature_set(third_of_it, how)
        plan, cpu = features.epoch_plan(64, 1, 1), torch.device("cpu")
        whole = list(features.batches(plan, cpu, 0))
        shares, read = [], []
        for rank in range(2):
            monkeypatch.setattr(distributed, "world", lambda: 2)
            monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
            counted = Mock(side_effect=features.source.read)
            monkeypatch.setattr(features.source, "read", counted)
            shares.append(list(features.batches(plan, cpu, 0, distributed.share)))
            monkeypatch.undo()
            read.append(counted.call_count)
        for (x, labels, indices), *parts in zip(whole, *shares, strict=True):
            assert torch.equal(torch.cat([part[0] for part in parts]), x)
            assert torch.equal(torch.cat([part[1] for part in parts]), labels)
            assert all(np.array_equal(part[2], indices) for part in parts)
        assert read == ([0, 0] if how == "memory" else [500, 500])


def test_a_damaged_ark_is_noticed_by_shards(stored_set, tmp_path):
    data, feats, frontend = stored_set
    lines = (feats / "feats.scp").read_text().splitlines()
    for ark in feats.glob("feats.?.ark*"):
        shutil.copy(ark, tmp_path)
    (tmp_path / "feats.scp").write_text("".join(f"{line.replace(str(feats), str(tmp_path))}\n" for line in lines))
    utt, place = (tmp_path / "feats.scp").read_text().splitlines()[1234].split()
    ark, offset = place.rsplit(":", 1)
    with Path(ark).open("r+b") as handle:
        handle.seek(int(offset) + 100)
        byte = handle.read(1)
        handle.seek(-1, 1)
        handle.write(bytes([byte[0] ^ 1]))
    features = feature_set((data, tmp_path, frontend), "shards")
    with pytest.raises(UserError, match=f"{ark}: the features of {utt} cannot be read .damaged"):
        list(features.batches(features.epoch_plan(64, 1, 1), torch.device("cpu"), 1))


def test_which_way_is_taken(third_of_it, root):
    data, feats, frontend = third_of_it
    assert [feature_set(third_of_it, "auto", mib).how for mib in (100, 0)] == ["memory", "shards"]
    assert feature_set(third_of_it, "memory").cached and not feature_set(third_of_it, "random", 100).cached
    crops = make_frontend(load_conf(root / "conf/frontend/f0_subband.yaml", ["frontend.network_input.crop=random"]))
    assert feature_set((data, feats, crops), "auto", 10**6).how == "random"
    with pytest.raises(UserError, match=r"train.reading: memory: random crops"):
        feature_set((data, feats, crops), "memory")


def test_weights_depend_on_the_order_of_reading_alone(third_of_it, root):
    data, feats, frontend = third_of_it
    source = DumpedFeatures(feats)

    def values(*settings: str) -> dict:
        conf = training.load_conf(root / "conf/train/baseline.yaml", [f"train.{text}" for text in settings])
        return weights_depend_on(conf, data, source, frontend, None)

    shuffled = values()
    for same in (
        "num_workers=9",
        "cache_mib=9999",
        "reading=random",
        "shard_mib=3",
        "buffer_mib=3",
        "diverged_above=2e9",
    ):
        assert values(same) == shuffled
    assert values("epochs=3") != shuffled
    by_shards = values("cache_mib=0")
    assert conf_files.differences(shuffled, by_shards) == [
        "buffer_mib: None -> 1024",
        "order (by reading and cache_mib): shuffled -> by shards",
        "shard_mib: None -> 16",
    ]
    assert values("reading=shards") == values("reading=shards", "num_workers=0") == by_shards
    assert values("cache_mib=0", "shard_mib=3") != by_shards != values("cache_mib=0", "buffer_mib=3")


class Stopped(Exception):
    pass


def test_a_training_by_shards_goes_on_bit_for_bit(root, made_up_sets, tmp_path, monkeypatch):
    (train_data, train_feats), (dev_data, dev_feats) = made_up_sets["train"], made_up_sets["dev"]

    def run(out, *options):
        return call(
            train.main, "train.py", "--model", root / "conf/model/ecanet9.yaml", "--num-threads", 1,
            "--train-conf", root / "conf/train/baseline.yaml", "--set=train.epochs=2", "--set=train.batch_size=16",
            "--set=frontend.network_input.frames=32", "--set=model.widths=[8,8,8,8]", "--set=train.reading=shards", *options,
            train_data, train_feats, dev_data, dev_feats, out,
        )  # fmt: skip

    done = run(tmp_path / "whole", "--set=train.num_workers=0")
    assert done.returncode == 0 and "from disk, by shards" in done.stdout, done.stderr
    save = CheckpointFolder.save

    def stop_after_the_first(self, *args):
        save(self, *args)
        raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(CheckpointFolder, "save", stop_after_the_first)
        run(tmp_path / "broken", "--set=train.num_workers=0")
    done = run(tmp_path / "broken", "--set=train.shard_mib=17")
    assert done.returncode == 1 and "trained otherwise (train.shard_mib: 16 -> 17)" in done.stderr
    # what cannot change the weights may be another
    done = run(
        tmp_path / "broken", "--set=train.num_workers=1", "--set=train.cache_mib=7", "--set=train.diverged_above=9e9"
    )
    assert done.returncode == 0 and "resuming after epoch 1" in done.stdout, done.stderr
    whole, broken = (
        torch.load(tmp_path / name / "final.pt", weights_only=True)["state"] for name in ("whole", "broken")
    )
    assert all(torch.equal(whole[key], broken[key]) for key in whole)
