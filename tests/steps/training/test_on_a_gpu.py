"""Training and scoring on a GPU, for tests/gpu.sh. FSD_GPU_TESTS=cpu runs what needs no GPU on the processor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from utils.files import read_map

ROOT = Path(__file__).resolve().parents[3]
GPUS = torch.cuda.device_count()
NGPU = 0 if os.environ.get("FSD_GPU_TESTS") == "cpu" else 1
pytestmark = pytest.mark.skipif(NGPU > GPUS, reason="no GPU here; FSD_GPU_TESTS=cpu runs these tests without")


def program(name, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / name), *map(str, arguments)], capture_output=True, text=True, timeout=300
    )


def training(sets, out, *options):
    """The arguments of a training of a small network, two epochs of self-distillation."""
    return ["--model", ROOT / "conf/model/ecanet9.yaml", "--train-conf", ROOT / "conf/train/self_distill.yaml",
            "--set", "train.epochs=2", "--set", "train.batch_size=16", "--set", "train.schedule.lr=3e-3",
            "--set", "frontend.network_input.frames=64", "--ngpu", NGPU, *options,
            *sets["train"], *sets["dev"], out]  # fmt: skip


def train(sets, out, *options, before=()):
    """The weights after a training."""
    first, *rest = [*before, "steps/train.py"]
    done = program(first, *rest, *training(sets, out, *options))
    assert done.returncode == 0, done.stderr
    return torch.load(out / "final.pt", weights_only=True, map_location="cpu")["state"]


def train_until_the_first_epoch_has_ended(sets, out, *options):
    command = [sys.executable, str(ROOT / "steps/train.py"), *map(str, training(sets, out, *options))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert any(line.startswith("epoch 1/2") for line in process.stdout)
        process.kill()
    assert not (out / "final.pt").exists()


def scores(sets, out, ngpu):
    """Of dev, by utterance."""
    data, feats = sets["dev"]
    done = program("steps/score.py", "--data-dir", data.parent, "--feats-dir", feats.parent, "--ngpu", ngpu, out, "dev")
    assert done.returncode == 0, done.stderr
    return {utt: float(rest.split()[-1]) for utt, rest in read_map(out / "scores/dev.txt").items()}


def test_a_killed_training_resumes_to_the_same_weights(made_up_sets, tmp_path):
    complete = train(made_up_sets, tmp_path / "at_once")
    train_until_the_first_epoch_has_ended(made_up_sets, tmp_path / "killed")
    resumed = train(made_up_sets, tmp_path / "killed")
    assert complete.keys() == resumed.keys()
    assert all(torch.equal(complete[key], resumed[key]) for key in complete)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_autocast_trains_to_scores_like_those_of_float32(made_up_sets, tmp_path, amp):
    if amp == "fp16" and not NGPU:
        pytest.skip("fp16 needs a GPU")
    plain, cast = tmp_path / "float32", tmp_path / amp
    train(made_up_sets, plain)
    train(made_up_sets, cast, "--set", f"train.amp={amp}")
    one, two = scores(made_up_sets, plain, NGPU), scores(made_up_sets, cast, NGPU)
    assert np.corrcoef([one[utt] for utt in one], [two[utt] for utt in one])[0, 1] > 0.9


def test_graphs_train_and_score_like_ordinary_passes(made_up_sets, tmp_path):
    plain, graphed = tmp_path / "plain", tmp_path / "graphed"
    train(made_up_sets, plain)
    at_once = train(made_up_sets, graphed, "--set", "train.graphs=true")
    one, two = scores(made_up_sets, plain, NGPU), scores(made_up_sets, graphed, NGPU)
    assert [one[utt] for utt in one] == pytest.approx([two[utt] for utt in one], abs=1e-2)
    train_until_the_first_epoch_has_ended(made_up_sets, tmp_path / "killed", "--set", "train.graphs=true")
    resumed = train(made_up_sets, tmp_path / "killed", "--set", "train.graphs=true")
    assert all(torch.equal(at_once[key], resumed[key]) for key in at_once)


def test_a_training_s_last_short_batch_is_computed_without_graphs(made_up_sets, tmp_path):
    done = program("steps/train.py", *training(made_up_sets, tmp_path / "seed1", "--set", "train.graphs=true"))
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("train.graphs: ")]
    if NGPU:
        assert "train.graphs: batches of another shape than 16 x 1 x 64 x 45 are computed without graphs" in said
        assert not [line for line in said if "cannot be recorded" in line]
    else:
        assert said == ["train.graphs: left out, as no GPU is used"]


def test_scores_of_a_gpu_are_those_of_the_processor(made_up_sets, tmp_path):
    train(made_up_sets, tmp_path / "seed1")
    one = scores(made_up_sets, tmp_path / "seed1", NGPU)
    (tmp_path / "seed1/scores/dev.txt").unlink()
    two = scores(made_up_sets, tmp_path / "seed1", 0)
    assert one.keys() == two.keys() and [one[utt] for utt in one] == pytest.approx([two[utt] for utt in one], abs=1e-3)


@pytest.mark.parametrize("processes", [1, 2])
def test_several_processes_train(made_up_sets, tmp_path, processes):
    """By NCCL on GPUs, which needs one for each process."""
    if NGPU and processes > GPUS:
        pytest.skip(f"{GPUS} GPU here")
    kind = ["--ngpu", processes] if NGPU else ["--nproc", processes]
    options = ["--ngpu", processes] if NGPU else []
    alone = train(made_up_sets, tmp_path / "alone")
    together = train(made_up_sets, tmp_path / "together", *options, before=["steps/distribute.py", *kind])
    assert alone.keys() == together.keys()
    for key in alone if processes == 1 else ():  # several add up in another order
        assert torch.equal(alone[key], together[key]), key
