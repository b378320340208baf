"""The training program: resumes bit for bit, stops at NaN, keeps nothing of training in final.pt, scores."""

import csv
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from steps import merge_scores, train
from steps import score as scoring
from steps.data.batches import FeatureSet, fix_length, training_plan
from steps.data.sources import DumpedFeatures
from steps.training import checkpoints, distributed, loop
from tests.in_process import call
from utils.cli import UserError
from utils.conf import read_yaml, write_yaml
from utils.files import read_json

SMALL = ["--set=train.batch_size=16", "--set=frontend.network_input.frames=64"]


def command(root, sets, out, *options):
    (train_data, train_feats), (dev_data, dev_feats) = sets["train"], sets["dev"]
    return [sys.executable, str(root / "steps/train.py"), "--model", str(root / "conf/model/ecanet9.yaml"),
            "--num-threads", "1", *SMALL, *options, *map(str, (train_data, train_feats, dev_data, dev_feats, out))]  # fmt: skip


def run(cmd, check=True):
    """A command of steps/train.py or steps/score.py, in this process; those to be killed take one of their own."""
    program = {"train.py": train, "score.py": scoring}[Path(cmd[1]).name]
    done = call(program.main, *cmd[1:])
    if check:
        assert done.returncode == 0, done.stderr
    return done


def weights(out):
    return torch.load(out / "final.pt", weights_only=True)["state"]


def assert_same_weights(a, b):
    a, b = weights(a), weights(b)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def anneal(root):
    return "--loss", root / "conf/loss/a_softmax_anneal.yaml"


def options_of(root, method, epochs, *more):
    return ["--train-conf", str(root / f"conf/train/{method}.yaml"), f"--set=train.epochs={epochs}",
            "--set=train.schedule.lr=3e-3", *more]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(root, made_up_sets, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "seed1"
    run(command(root, made_up_sets, out, *options_of(root, "self_distill", 6, *anneal(root))))
    return out


def test_killed_and_started_again_ends_in_the_same_weights(root, made_up_sets, undisturbed, tmp_path):
    """SIGKILL at random moments, twice; A-softmax's lambda is annealed by step, so the step must survive."""
    out = tmp_path / "seed1"
    cmd = command(root, made_up_sets, out, *options_of(root, "self_distill", 6, *anneal(root)))
    folder, draw = checkpoints.CheckpointFolder(out / "checkpoints", 0), random.Random(1)
    ends = []
    for _ in range(2):
        seen = folder.epochs()
        job = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while job.poll() is None and folder.epochs() in (seen, []):  # each attempt gets somewhere
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.2))
        job.kill()
        output = job.communicate()[0]
        assert job.returncode in (0, -signal.SIGKILL), output
        ends.append(job.returncode)
    assert -signal.SIGKILL in ends
    run(cmd)
    assert_same_weights(out, undisturbed)
    columns = [line.split("\t")[0] for line in (out / "epochs.tsv").read_text().splitlines()]
    assert columns == ["epoch", "1", "2", "3", "4", "5", "6"]
    assert (out / "epochs.tsv").read_text() == (undisturbed / "epochs.tsv").read_text()


def test_what_a_training_leaves(undisturbed):
    kept = torch.load(undisturbed / "final.pt", weights_only=True)
    assert set(kept) == {"format", "frontend", "model", "head", "band", "corpus", "epoch", "state"}
    assert not [k for k in kept["state"] if "aligner" in k or "student" in k]
    assert sum(v.numel() for k, v in kept["state"].items() if not k.endswith(("running_mean", "running_var", "num_batches_tracked"))) == 308_158  # fmt: skip
    assert [p.name for p in (undisturbed / "checkpoints").iterdir()] == ["best.pt"]
    assert (undisturbed / "curves.png").stat().st_size > 10_000
    assert list((undisturbed / "tensorboard").glob("events*"))
    conf = yaml.safe_load((undisturbed / "conf.yaml").read_text())
    assert conf["train"]["epochs"] == 6 and conf["method"] == "self_distill"


def test_started_once_more_does_nothing(root, made_up_sets, undisturbed, monkeypatch):
    before = (undisturbed / "final.pt").stat().st_mtime_ns
    left = undisturbed / "checkpoints/epoch6.pt"  # by a kill
    shutil.copy(undisturbed / "checkpoints/best.pt", left)
    (undisturbed / f".x.tmp{2**22 + 1}.{socket.gethostname()}").touch()

    def state():
        return {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")}

    with monkeypatch.context() as patch:  # one of several processes, not the first: it leaves the folder as it is
        patch.setenv("RANK", "1")
        patch.setattr(distributed, "is_first", lambda: False)
        patch.setattr(distributed, "from_first", lambda make: False)
        known = state()
        run(command(root, made_up_sets, undisturbed, *options_of(root, "self_distill", 6, *anneal(root))))
        assert state() == known and left.exists()
    done = run(command(root, made_up_sets, undisturbed, *options_of(root, "self_distill", 6, *anneal(root))))
    assert "nothing to do" in done.stdout and (undisturbed / "final.pt").stat().st_mtime_ns == before
    assert not left.exists() and not list(undisturbed.glob(".x.*"))


def test_a_changed_conf_is_noticed(root, made_up_sets, undisturbed):
    done = run(
        command(root, made_up_sets, undisturbed, *options_of(root, "self_distill", 7, *anneal(root))), check=False
    )
    assert done.returncode == 1 and "train.epochs: 6 -> 7" in done.stderr and "Traceback" not in done.stderr


def test_a_finished_training_of_an_older_version_gets_its_names_and_stays_as_it_is(
    root, made_up_sets, undisturbed, tmp_path
):
    place = shutil.copytree(undisturbed, tmp_path / "seed1")
    conf = read_yaml(place / "conf.yaml")
    assert (conf.pop("train_set_name"), conf.pop("tag")) == ("train", "")
    write_yaml(place / "conf.yaml", conf)
    weights = (place / "final.pt").read_bytes()
    done = run(command(root, made_up_sets, place, *options_of(root, "self_distill", 6, *anneal(root)), "--tag", "x"))
    assert "nothing to do" in done.stdout and (place / "final.pt").read_bytes() == weights
    assert read_yaml(place / "conf.yaml") == {**conf, "train_set_name": "train", "tag": "x"}


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(root, made_up_sets, undisturbed, tmp_path, monkeypatch):
    out = tmp_path / "seed1"
    cmd = command(root, made_up_sets, out, *options_of(root, "self_distill", 6, *anneal(root)))
    save = checkpoints.CheckpointFolder.save

    def stop_after_the_third(folder, epoch, state):
        save(folder, epoch, state)
        if epoch == 3:
            raise UserError("broken off")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.CheckpointFolder, "save", stop_after_the_third)
        assert "broken off" in run(cmd, check=False).stderr
    newest = out / "checkpoints/epoch3.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    done = run(cmd)
    assert f"WARNING: {newest}: damaged or cut off" in done.stderr
    assert_same_weights(out, undisturbed)


def test_seeds_differ_and_threads_of_reading_do_not(root, made_up_sets, undisturbed, tmp_path):
    options = options_of(root, "self_distill", 6, *anneal(root))
    run(command(root, made_up_sets, tmp_path / "a", *options, "--seed=2"))
    a, b = weights(tmp_path / "a"), weights(undisturbed)
    assert any(not torch.equal(a[k], b[k]) for k in a)
    # features read by worker processes instead of from memory
    run(command(root, made_up_sets, tmp_path / "b", *options, "--set=train.cache_mib=0", "--set=train.reading=random",
                "--set=train.num_workers=2"))  # fmt: skip
    assert_same_weights(tmp_path / "b", undisturbed)


def test_nan_stops_with_the_batchs_utterances(root, made_up_sets, set_maker, tmp_path):
    sets = {"train": set_maker(tmp_path, "train", 50, root, 1, bad="train_0007"), "dev": made_up_sets["dev"]}
    done = run(command(root, sets, tmp_path / "seed1", *options_of(root, "baseline", 2)), check=False)
    assert done.returncode == 3 and "train_0007" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "seed1/final.pt").exists()


def test_divergence_stops(root, made_up_sets, tmp_path):
    options = options_of(root, "baseline", 2, "--set=train.diverged_above=0.1")
    done = run(command(root, made_up_sets, tmp_path / "seed1", *options), check=False)
    assert done.returncode == 3 and "exceeds 0.1" in done.stderr and "train_00" in done.stderr


def test_average_of_the_last_epochs(root, made_up_sets, tmp_path):
    """Trainings of 2 and 3 epochs pass through the same weights; averaging the last two of 3 is their mean.

    Batch statistics are those of the averaged weights, not the mean of theirs.
    """

    def last_of(epochs):
        out = tmp_path / f"last{epochs}"
        run(command(root, made_up_sets, out, *options_of(root, "baseline", epochs, "--set=train.average_last=1")))
        return weights(out)

    run(command(root, made_up_sets, tmp_path / "mean", *options_of(root, "baseline", 3, "--set=train.average_last=2")))
    second, third, mean = last_of(2), last_of(3), weights(tmp_path / "mean")
    for name, value in mean.items():
        half = (second[name] + third[name]) / 2
        if name.endswith(("running_mean", "running_var")):
            torch.testing.assert_close(value, half, rtol=0.2, atol=0.1)
        elif value.is_floating_point():
            torch.testing.assert_close(value, half)
    statistics = [name for name in mean if name.endswith("running_var")]
    assert any(not torch.equal(mean[name], (second[name] + third[name]) / 2) for name in statistics)


def test_selection(root, made_up_sets, tmp_path):
    for by in ("dev_loss", "dev_eer"):
        out = tmp_path / by
        done = run(command(root, made_up_sets, out, *options_of(root, "baseline", 4, f"--set=train.select_by={by}")))
        assert re.search(r"^epoch 1/4: .*  \*$", done.stderr, re.M)
        with (out / "epochs.tsv").open() as handle:
            best = min(csv.DictReader(handle, delimiter="\t"), key=lambda row: (float(row[by]), float(row["dev_loss"])))
        assert torch.load(out / "final.pt", weights_only=True)["epoch"] == int(best["epoch"])


def test_the_last_epoch_is_kept_if_asked_for_and_a_cosine_needs_room(root, made_up_sets, tmp_path):
    cosine = ("--set=train.select_by=last_epoch", "--set=train.schedule.name=cosine")
    out = tmp_path / "last"
    done = run(
        command(
            root, made_up_sets, out, *options_of(root, "baseline", 3, *cosine, "--set=train.schedule.warmup_steps=2")
        )
    )
    assert "epoch 3/3: " in done.stderr and "*" not in done.stderr
    assert torch.load(out / "final.pt", weights_only=True)["epoch"] == 3
    rates = [float(line.split("\t")[2]) for line in (out / "epochs.tsv").read_text().splitlines()[1:]]
    assert rates[0] > rates[1] > rates[2] > 0
    done = run(command(root, made_up_sets, tmp_path / "long", *options_of(root, "baseline", 3, *cosine)), check=False)
    assert done.returncode == 1 and "warmup_steps: 1000 is not below the" in done.stderr


def test_bf16_autocast_trains(root, made_up_sets, tmp_path):
    run(command(root, made_up_sets, tmp_path / "seed1", *options_of(root, "self_distill", 1, "--set=train.amp=bf16")))
    assert all(v.dtype != torch.bfloat16 for v in weights(tmp_path / "seed1").values())


@pytest.mark.parametrize(("has", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_computes_in_bf16_where_the_device_does(monkeypatch, has, dtype):
    monkeypatch.setattr(loop, "has_bf16", lambda device: has)
    with loop.autocast("auto", torch.device("cpu")):
        assert torch.nn.functional.linear(torch.ones(1, 2), torch.ones(1, 2)).dtype == dtype


def test_the_log_says_what_auto_chose(root, made_up_sets, tmp_path):
    done = run(command(root, made_up_sets, tmp_path / "a", *options_of(root, "baseline", 1, "--set=train.amp=auto")))
    assert done.stdout.count("train.amp: auto: ") == 1
    assert yaml.safe_load((tmp_path / "a/conf.yaml").read_text())["train"]["amp"] == "auto"


def test_fp16_and_gpu_on_a_cpu_are_refused(root, made_up_sets, tmp_path):
    done = run(
        command(root, made_up_sets, tmp_path / "a", *options_of(root, "baseline", 1, "--set=train.amp=fp16")),
        check=False,
    )
    assert done.returncode == 1 and "fp16 needs a GPU" in done.stderr
    if not torch.cuda.is_available():
        done = run(command(root, made_up_sets, tmp_path / "b", "--ngpu=1"), check=False)
        assert done.returncode == 1 and "no CUDA GPU" in done.stderr


def test_a_wrong_conf_is_refused_before_anything_is_made(root, made_up_sets, tmp_path):
    done = run(command(root, made_up_sets, tmp_path / "a", "--set=train.epoch=1"), check=False)
    assert done.returncode == 1 and "epochs" in done.stderr and not (tmp_path / "a").exists()


def score(root, out, sets, *options, check=True):
    data, feats = sets["dev"]
    return run([sys.executable, str(root / "steps/score.py"), "--data-dir", str(data.parent), "--feats-dir",
                str(feats.parent), *options, str(out), "dev"], check=check)  # fmt: skip


def test_scores(root, made_up_sets, undisturbed):
    score(root, undisturbed, made_up_sets, "--exit=1", "--exit=4")
    detector, first = ((undisturbed / "scores" / name).read_text() for name in ("dev.txt", "dev_head1.txt"))
    lines = [line.split() for line in detector.splitlines()]
    assert len(lines) == 21 and all(len(line) == 4 for line in lines)
    bonafide = [float(s) for _, _, key, s in lines if key == "bonafide"]
    spoof = [float(s) for _, _, key, s in lines if key == "spoof"]
    assert np.mean(bonafide) > np.mean(spoof)
    assert first != detector
    score(root, undisturbed, made_up_sets, "--batch-size=5", "--num-workers=0")
    again = [float(line.split()[3]) for line in (undisturbed / "scores/dev.txt").read_text().splitlines()]
    np.testing.assert_allclose(again, [float(line[3]) for line in lines], rtol=1e-4, atol=1e-5)


def test_scores_in_parts_are_those_made_at_once(root, made_up_sets, undisturbed, tmp_path):
    """Bit for bit: each trial stays in its batch. A part that is whole is not scored again, unless its inputs are
    newer."""
    out = tmp_path / "seed1"
    shutil.copytree(undisturbed, out)
    options = ("--exit=4", "--exit=1", "--batch-size=5", "--num-workers=0")
    score(root, out, made_up_sets, *options)
    files = [out / "scores" / name for name in ("dev.txt", "dev_head1.txt")]
    at_once = [path.read_bytes() for path in files]
    shutil.rmtree(out / "scores")
    for part in ("2/3", "1/3"):
        score(root, out, made_up_sets, *options, f"--part={part}")
    assert "part 1/3 of dev is scored already" in score(root, out, made_up_sets, *options, "--part=1/3").stdout
    data = made_up_sets["dev"][0].parent
    merge = ("merge_scores.py", "--nj", 3, "--data-dir", data, *files)
    done = call(merge_scores.main, *merge)
    assert done.returncode == 1 and "parts/3/3/dev.txt: no such file; score this part first" in done.stderr
    score(root, out, made_up_sets, *options, "--part=3/3")
    done = call(merge_scores.main, *merge)
    assert done.returncode == 0, done.stderr
    assert [path.read_bytes() for path in files] == at_once
    assert sorted(path.name for path in (out / "scores").iterdir()) == ["dev.txt", "dev_head1.txt"]

    for part, size in (("1/2", 5), ("2/2", 11)):  # of other batches: not the trials once each
        score(root, out, made_up_sets, "--num-workers=0", f"--batch-size={size}", f"--part={part}")
    done = call(merge_scores.main, "merge_scores.py", "--nj", 2, "--data-dir", data, files[0])
    assert done.returncode == 1 and "are not the 21 trials" in done.stderr
    later = time.time() + 10
    os.utime(out / "final.pt", (later, later))
    assert "scored already" not in score(root, out, made_up_sets, "--num-workers=0", "--part=1/2").stdout
    done = score(root, out, made_up_sets, "--part=3/2", check=False)
    assert done.returncode == 1 and "--part 3/2: K/N is expected, with K in 1..N" in done.stderr


def test_what_does_not_fit_is_refused(root, made_up_sets, undisturbed, tmp_path):
    data, feats = made_up_sets["dev"]
    other = tmp_path / "feats" / "dev"
    other.mkdir(parents=True)
    changed = {"dev": (data, other)}
    for name in ("utt2num_frames", "conf.yaml"):
        (other / name).write_text((feats / name).read_text())
    lines = (feats / "feats.scp").read_text().splitlines(keepends=True)
    (other / "feats.scp").write_text("".join(lines[:-1]))
    done = score(root, undisturbed, changed, check=False)
    assert done.returncode == 1 and "dev_0020" in done.stderr
    (other / "feats.scp").write_text("".join(lines))
    (other / "conf.yaml").write_text((feats / "conf.yaml").read_text().replace("hop_length: 130", "hop_length: 160"))
    done = score(root, undisturbed, changed, check=False)
    assert done.returncode == 1 and "hop_length: 160 -> 130" in done.stderr
    done = score(root, tmp_path, made_up_sets, check=False)
    assert done.returncode == 1 and "final.pt" in done.stderr


def test_a_baseline_has_no_exits(root, made_up_sets, tmp_path):
    run(command(root, made_up_sets, tmp_path / "seed1", *options_of(root, "baseline", 1)))
    done = score(root, tmp_path / "seed1", made_up_sets, "--exit=2", check=False)
    assert done.returncode == 1 and "trains no head but the last stage's" in done.stderr
    assert done.stderr.count("\n") == 1


def test_processes_that_read_one_ark_do_not_disturb_each_other(root, set_maker, tmp_path):
    """Forked readers must not share a place in the file."""
    from steps.frontend import load_conf, make_frontend

    sets = set_maker(tmp_path, "train", 400, root, 1)
    features = FeatureSet(
        sets[0], DumpedFeatures(sets[1]), make_frontend(load_conf(root / "conf/frontend/f0_subband.yaml")), cache_mib=0
    )
    plan = training_plan(400, 4, seed=1, epoch=1)
    for x, labels, indices in features.batches(plan, torch.device("cpu"), num_workers=3):
        for row, label, index in zip(x, labels, indices):
            assert torch.equal(row, features[int(index)][0]) and label == features.labels[index]


def test_an_error_of_a_reading_process_is_one_message(root, set_maker, tmp_path):
    from steps.frontend import load_conf, make_frontend

    data, feats = set_maker(tmp_path, "train", 20, root, 1)
    features = FeatureSet(
        data, DumpedFeatures(feats), make_frontend(load_conf(root / "conf/frontend/f0_subband.yaml")), cache_mib=0
    )
    ark = feats / "feats.ark"
    ark.write_bytes(ark.read_bytes()[:20_000])
    with pytest.raises(UserError, match="the features of train_00.. cannot be read") as error:
        list(features.batches(training_plan(20, 4, 1, 1), torch.device("cpu"), num_workers=2))
    assert "Traceback" not in str(error.value)


def test_fix_length():
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    made = fix_length(x, 8, "mirror")
    np.testing.assert_array_equal(made[:, 0] / 2, [0, 1, 2, 2, 1, 0, 0, 1])
    np.testing.assert_array_equal(fix_length(x, 5, "repeat")[:, 0] / 2, [0, 1, 2, 0, 1])
    np.testing.assert_array_equal(fix_length(x, 2, "mirror"), x[:2])
    np.testing.assert_array_equal(fix_length(x, 2, "mirror", begin=1), x[1:])


def test_training_plan_is_a_permutation_of_seed_and_epoch():
    plan = training_plan(33, 8, seed=1, epoch=2)
    assert [len(b) for b in plan] == [8, 8, 8, 8]  # the last one alone is left out
    assert len(set(np.concatenate(plan).tolist())) == 32
    np.testing.assert_array_equal(np.concatenate(plan), np.concatenate(training_plan(33, 8, 1, 2)))
    assert not np.array_equal(plan[0], training_plan(33, 8, 1, 3)[0])


def test_random_crops_repeat_by_seed_and_epoch(root, made_up_sets):
    import dataclasses

    from steps.frontend import load_conf, make_frontend

    conf = load_conf(root / "conf/frontend/f0_subband.yaml")
    network_input = dataclasses.replace(conf.network_input, frames=32, crop="random")
    frontend = make_frontend(dataclasses.replace(conf, network_input=network_input))
    data, feats = made_up_sets["train"]
    one, two = (FeatureSet(data, DumpedFeatures(feats), frontend, cache_mib=100, seed=9) for _ in range(2))
    assert not one.cached
    one.set_epoch(1), two.set_epoch(1)
    assert all(torch.equal(one[i][0], two[i][0]) for i in range(50))
    two.set_epoch(2)
    assert any(not torch.equal(one[i][0], two[i][0]) for i in range(50))
    one.set_epoch(0)
    assert all(np.array_equal(one[i][0][0], one.source.read(one.utts[i])[:32]) for i in range(50))


def test_channels_of_the_front_end_reach_the_network(root, set_maker, tmp_path):
    """Deltas as channels: the reader gives (channels, frames, bins), and the detector that is kept has as many
    inputs."""
    from steps.frontend import load_conf, make_frontend

    settings = ["frontend.deltas={order: 1, half_width: 2, as_channels: true}", "frontend.network_input.frames=64"]
    sets = {
        name: set_maker(tmp_path, name, 21, root, seed, settings=settings) for seed, name in enumerate(("train", "dev"))
    }
    conf = load_conf(root / "conf/frontend/f0_subband.yaml", settings)
    data, feats = sets["train"]
    features = FeatureSet(data, DumpedFeatures(feats), make_frontend(conf), cache_mib=10)
    x, _, _ = features[0]
    assert x.shape == (2, 64, 45)
    matrix = features.source.read(features.utts[0])
    np.testing.assert_array_equal(x[1].numpy(), fix_length(matrix[:, 45:], 64, "mirror"))
    (batch, _, _), *_ = features.batches([np.array([0, 1])], torch.device("cpu"), 0)
    assert torch.equal(batch[0], x)
    out = tmp_path / "seed1"
    run(command(root, sets, out, *options_of(root, "self_distill", 1), *(f"--set={setting}" for setting in settings)))
    assert weights(out)["backbone.stem.0.weight"].shape[1] == 2
    assert read_json(out / "detector.json")["input_shape"] == [2, 64, 45]
    score(root, out, sets, "--exit=4", "--exit=1")
    assert len((out / "scores/dev_head1.txt").read_text().splitlines()) == 21


def test_features_of_another_width_are_refused(root, set_maker, tmp_path):
    from steps.frontend import load_conf, make_frontend

    sets = set_maker(tmp_path, "train", 10, root, 1)
    with pytest.raises(UserError, match=r"train_0000: features \(\d+, 45\), expected \(n, 865\)"):
        FeatureSet(
            sets[0], DumpedFeatures(sets[1]), make_frontend(load_conf(root / "conf/frontend/lps.yaml")), cache_mib=1000
        )


def test_a_checkpoint_is_read_onto_the_cpu_whatever_it_was_saved_from(tmp_path, monkeypatch):
    """A GPU's step counters of Adam would make the host wait for it in each step."""
    folder = checkpoints.CheckpointFolder(tmp_path, keep=1)
    folder.save(1, {"best_epoch": 1, "optimizer": {"step": torch.tensor(3.0)}})
    places = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **more: places.append(more["map_location"]) or load(*args, **more))
    assert folder.latest()["optimizer"]["step"] == 3 and places == ["cpu"]
