"""Several processes end where one does: weights, losses, dev set, resumed either way; a killed one is replaced.

Processes add up in another order than one does. Training multiplies such rounding from step to step, so in float32 the
difference after some steps says nothing about the code; these trainings are in float64, where it stays below 1e-8.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest.mock
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
import torch.multiprocessing

from steps import augment, distribute, nnet, training
from steps.data.batches import FeatureSet
from steps.data.sources import DumpedFeatures
from steps.frontend import load_conf, make_frontend
from steps.metrics.error_rates import det_curve, equal_error_rate
from steps.training import distributed, loop
from tests.in_process import call
from utils.cli import UserError

ROOT = Path(__file__).resolve().parents[3]
PROCESSES = 3
FRAMES = ["frontend.network_input.frames=64"]
UTTERANCES = 18  # the last of an epoch's three batches, 8, 8 and 2, leaves one process without an utterance
# What is not in memory (cache_mib) is read by shards, if no case says otherwise.
# Adam divides by the gradients' own size, so that it makes much of rounding: plain descent shows what the gradients
# are.
PLAIN = ["batch_size=8", "optimizer.name=sgd", "optimizer.momentum=0.9", "schedule.lr=0.005", "cache_mib=0", "num_workers=0"]  # fmt: skip
BRANCHES = (
    "[{network: ecanet9_narrow.yaml, channels: [0], bins: null}, {network: ecanet9_narrow.yaml, channels: [0], bins:"
    " 30}]"
)
CASES = {
    "weighted": ("baseline", ["epochs=2", "hard_loss.class_weights.mode=balanced", "cache_mib=100"], None),
    "mixup": ("baseline", ["epochs=1", "hard_loss.lambda_mode=anneal", "hard_loss.lambda_floor=10", "max_grad_norm=0.5", "optimizer.name=adam", "optimizer.eps=1e-2"], "mixup"),
    "uncertainty": ("self_distill_uncertainty", ["epochs=1", "distill.student_hard_loss=true", "distill.aligner=bottleneck"], None),
    "dwa": ("self_distill_dwa", ["epochs=3", "distill.detach_teacher=false"], None),
    "searched": ("self_distill_searched", ["epochs=1", "distill.feature_reduction=sum", "distill.beta=1e-4",
                                           "distill.attention={weight: 1, power: 2}"], None),
    "consistency": ("consistency", ["epochs=1", "reading=random", "consistency.hard_on=both"], None),
    "ema": ("ema_teacher", ["epochs=1", "ema.keep=teacher"], None),
    "branches": ("branch_distill", ["epochs=1"], None),
    "not_shared": ("baseline", ["epochs=1", "sync_batch_norm=false"], None),
}  # fmt: skip
RESUMED = "dwa"  # by several processes, after its first two epochs were one's


class DoubleSet(FeatureSet):
    """A FeatureSet whose features are float64."""

    def _read(self, index):
        return super()._read(index).double()


@contextlib.contextmanager
def double_precision():
    """Within, new tensors are float64, and so is what the code lifts to float32 lest it be of half precision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def eer(bonafide, spoof):
    return equal_error_rate(det_curve(bonafide, spoof))[0]


@double_precision()
def train(case: str, sets: dict, folder: Path) -> dict:
    """Train by that case in this process or these; what came of it."""
    conf_name, settings, chain = CASES[case]
    conf = training.load_conf(ROOT / f"conf/train/{conf_name}.yaml", [f"train.{s}" for s in (*PLAIN, *settings)])
    frontend = make_frontend(load_conf(ROOT / "conf/frontend/f0_subband.yaml", FRAMES))
    if chain is not None:
        chain = augment.make_chain(augment.load_conf(ROOT / f"conf/augment/{chain}.yaml"), 16000)
    torch.manual_seed(1)
    if case == "branches":
        model = nnet.load_conf(ROOT / "conf/model/two_branch_ecanet9.yaml", [f"model.branches={BRANCHES}"])
    else:
        model = nnet.load_conf(ROOT / "conf/model/ecanet9_narrow.yaml")
    method = training.make_method(conf, nnet.make_detector(model))
    train_set, dev_set = (
        DoubleSet(data, DumpedFeatures(feats), frontend, conf.cache_mib, 1, own_chain, reading=conf.how_to_read())
        for (data, feats), own_chain in ((sets["train"], chain), (sets["dev"], None))
    )
    trainer = loop.Trainer(conf, method, train_set, dev_set, folder, 1, torch.device("cpu"), eer, case)
    resumed = trainer.resume()
    with pytest.MonkeyPatch.context() as patch:  # pictures take longer than the training
        patch.setattr(loop, "plot_curves", lambda *_: None)
        patch.setattr(trainer, "_event_writer", lambda: contextlib.nullcontext(Mock()))
        trained = trainer.run()
    return {
        "resumed": resumed,
        "history": trained.history,
        "method": {k: v for k, v in method.state_dict().items() if isinstance(v, torch.Tensor)},
        "state": trained.state,
    }


def work(rank: int, port: int, sets: dict, folder: Path) -> None:
    """One of the processes that train all cases together, each of which says what came of it in its view."""
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(PROCESSES), "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    torch.set_num_threads(1)
    distributed.join(0)
    written = []

    def note(event: str, args: tuple) -> None:
        changes = event in ("os.rename", "os.remove", "os.mkdir", "os.link")
        if (changes or (event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR))) and str(folder) in str(args[0]):
            written.append(f"{event} {args[0]}")

    sys.addaudithook(note)  # torch.save, by which results are told below, opens files out of its sight
    for case in CASES:
        torch.save(train(case, sets, folder / case), folder / f"{case}.{rank}.pt")
    told = []
    for make in (lambda: distributed.from_first(lambda: rank), lambda: train_too_small(sets, folder)):
        try:
            told.append(make())
        except UserError as error:
            told.append(str(error))
    told.append(written)
    torch.save(told, folder / f"told.{rank}.pt")
    distributed.leave()


def train_too_small(sets: dict, folder: Path) -> None:
    CASES["small"] = ("baseline", ["batch_size=2"], None)
    train("small", sets, folder / "small")


@pytest.fixture(scope="module")
def sets(set_maker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    return {name: set_maker(folder, name, n, ROOT, seed) for seed, (name, n) in enumerate((("train", UTTERANCES), ("dev", 10)))}  # fmt: skip


@pytest.fixture(scope="module")
def alone(sets, tmp_path_factory):
    """What one process makes of each case, and the folder in which it did."""
    folder, threads = tmp_path_factory.mktemp("alone"), torch.get_num_threads()
    torch.set_num_threads(1)
    made = {case: train(case, sets, folder / case) for case in CASES}
    torch.set_num_threads(threads)
    return made, folder


def without_the_last_epoch(folder: Path, out: Path) -> None:
    """A training's folder as it was before its last epoch ended."""
    shutil.copytree(folder, out)
    max((out / "checkpoints").glob("epoch*.pt")).unlink()


@pytest.fixture(scope="module")
def together(sets, alone, tmp_path_factory):
    """What several processes make of each case, in the view of each, and the folder in which they did."""
    folder = tmp_path_factory.mktemp("together")
    without_the_last_epoch(alone[1] / RESUMED, folder / RESUMED)
    with socket.socket() as one:
        one.bind(("localhost", 0))
        port = one.getsockname()[1]
    torch.multiprocessing.spawn(work, (port, sets, folder), nprocs=PROCESSES)
    views = {
        name: [torch.load(folder / f"{name}.{rank}.pt", weights_only=True) for rank in range(PROCESSES)]
        for name in (*CASES, "told")
    }
    return views, folder


def assert_close(one: dict, other: dict, rtol: float, atol: float) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(
            one[name], other[name], rtol=rtol, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("case", [case for case in CASES if case != "not_shared"])
def test_the_weights_of_one_process(alone, together, case):
    one, (first, *others) = alone[0][case], together[0][case]
    assert_close(first["method"], one["method"], rtol=1e-8, atol=1e-10)
    assert_close(first["state"], one["state"], rtol=1e-8, atol=1e-10)
    assert len(first["history"]) == len(one["history"])
    for a, b in zip(first["history"], one["history"]):
        assert a["train"] == pytest.approx(b["train"], rel=1e-8, abs=1e-10)
        assert (a["epoch"], a["step"], a["lr"]) == (b["epoch"], b["step"], b["lr"])
        assert a["dev_loss"] == pytest.approx(b["dev_loss"], rel=1e-8)
        assert a["dev_eer"] == pytest.approx(b["dev_eer"], abs=1e-6)
    for other in others:
        assert all(torch.equal(value, other["method"][name]) for name, value in first["method"].items())
        assert other["history"] == first["history"] and not other["state"]


def test_resumed_either_way(sets, alone, together, tmp_path):
    """By three what one began, above; here by one what three began."""
    assert [view["resumed"] for view in together[0][RESUMED]] == [True] * PROCESSES
    without_the_last_epoch(together[1] / "weighted", tmp_path / "weighted")
    again = train("weighted", sets, tmp_path / "weighted")
    assert again["resumed"]
    assert_close(again["method"], alone[0]["weighted"]["method"], rtol=1e-8, atol=1e-10)


def test_batch_statistics_of_each_share_lead_elsewhere_but_everywhere_alike(alone, together):
    one, (first, *others) = alone[0]["not_shared"], together[0]["not_shared"]
    apart = max((first["method"][k].float() - v.float()).abs().max() for k, v in one["method"].items())
    assert apart > 1e-3
    for other in others:
        assert all(torch.equal(value, other["method"][name]) for name, value in first["method"].items())


def test_the_first_process_decides_and_writes_and_a_batch_has_to_reach_all(together):
    for told in together[0]["told"]:
        assert told[0] == 0
        assert "batch_size: 2 is the complete batch, too small for 3 processes" in told[1]
    by_first, *by_others = (told[2] for told in together[0]["told"])
    assert any("epoch1.pt" in one for one in by_first) and by_others == [[], []]
    assert not (together[1] / "small").exists()


# -- the launcher ------------------------------------------------------------------------------------------------------


def command(sets: dict, out: Path, *options: str) -> list[str]:
    """train.py for a few short epochs of plain descent."""
    settings = ["train.epochs=2", *(f"train.{s}" for s in PLAIN), *FRAMES]
    folders = [*sets["train"], *sets["dev"], out]
    return [str(ROOT / "steps/train.py"), "--model", str(ROOT / "conf/model/ecanet9_narrow.yaml"), "--num-threads", "1",
            *(f"--set={s}" for s in settings), *options, *map(str, folders)]  # fmt: skip


def start(options: list[str], train_command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "steps/distribute.py"), *options, *train_command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def process_of(launcher: int, rank: int) -> int | None:
    """The process of that rank that the launcher has started, if it runs."""
    for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        with contextlib.suppress(OSError):
            if f"\0RANK={rank}\0" in Path(f"/proc/{pid}/environ").read_text():
                return int(pid)
    return None


@pytest.fixture(scope="module")
def more_sets(set_maker, sets, tmp_path_factory):
    return {"train": set_maker(tmp_path_factory.mktemp("more"), "train", 36, ROOT, 1), "dev": sets["dev"]}


def test_a_killed_process_is_replaced_and_the_weights_are_those_of_an_undisturbed_training(more_sets, tmp_path):
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "killed"
    beside = start(["--nproc", "2"], command(more_sets, undisturbed))
    job = start(["--nproc", "2", "--max-restarts", "2"], command(more_sets, out))
    while not (out / "checkpoints/epoch1.pt").exists():
        assert job.poll() is None, job.communicate()
        time.sleep(0.02)
    os.kill(process_of(job.pid, 1), signal.SIGKILL)
    said, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    assert "WARNING: a process ended before its time; restart 1 of 2" in errors
    assert "resuming after epoch 1 of 2" in said
    assert said.count("final.pt: epoch") == 1 and "Traceback" not in errors
    said, errors = beside.communicate(timeout=300)
    assert beside.returncode == 0, errors
    a, b = (torch.load(folder / "final.pt", weights_only=True) for folder in (undisturbed, out))
    assert_close(a.pop("state"), b.pop("state"), rtol=0, atol=0)  # as many processes add up alike
    assert a == b
    assert len((out / "epochs.tsv").read_text().splitlines()) == 3


def test_an_error_of_one_process_ends_all_with_one_message(set_maker, sets, tmp_path):
    """Only the process whose share holds a damaged utterance sees it; nothing is tried again."""
    data, feats = set_maker(tmp_path, "train", 18, ROOT, 1)
    scp = feats / "feats.scp"
    scp.write_text(scp.read_text().replace("feats.ark", "gone.ark", 1))
    damaged = {"train": (data, feats), "dev": sets["dev"]}
    job = start(["--nproc", "2", "--max-restarts", "1"], command(damaged, tmp_path / "seed1"))
    said, errors = job.communicate(timeout=300)
    lines = [line for line in errors.splitlines() if not line.startswith("progress")]
    assert job.returncode == 1 and len(lines) == 1, errors  # and no word of a restart
    assert lines[0].startswith("train.py: error: ") and "gone.ark" in lines[0]


@pytest.mark.parametrize(
    ("error", "again", "message"),
    [
        (loop.Diverged("the loss exceeds 9"), False, "the loss exceeds 9"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/epoch1.pt"), False, "/x/epoch1.pt: No space left on device; the disk is full"),
        (RuntimeError("[/c/gloo/transport/tcp/pair.cc:1] Connection closed by peer\nfurther"), True, "process 2 failed:\nit lost another process"),
        (RuntimeError("shapes differ"), True, 'process 2 failed:\nTraceback (most recent call last):\n  File "'),
    ],
    ids=["user", "system", "lost", "bug"],
)  # fmt: skip
def test_what_a_process_leaves_and_the_launcher_says(tmp_path, monkeypatch, capsys, error, again, message):
    """Only what may go well another time leaves the launcher alone."""
    for name, value in {distributed.ERRORS_FOLDER: tmp_path, "RANK": 2, "TORCHELASTIC_RESTART_COUNT": 0}.items():
        monkeypatch.setenv(name, str(value))
    ends, signals = Mock(side_effect=SystemExit), Mock()
    monkeypatch.setattr(os, "_exit", ends)
    monkeypatch.setattr(os, "kill", signals)
    with pytest.raises(SystemExit):
        distributed.supervised(Mock(side_effect=error))()
    status = 3 if isinstance(error, loop.Diverged) else 1
    ends.assert_called_once_with(status)
    assert signals.mock_calls == ([] if again else [unittest.mock.call(os.getppid(), signal.SIGUSR1)])
    assert distribute.tell("train.py", tmp_path, {}) == status
    said = capsys.readouterr().err
    assert said.startswith(f"train.py: error: {message}") and "further" not in said
    # another machine's end is said where nothing is known that can be mended here
    assert distribute.tell("train.py", tmp_path, {}, "another machine is gone") == status
    assert ("another machine is gone" in capsys.readouterr().err) == again


def test_a_process_that_succeeds_leaves_before_the_interpreter_takes_itself_apart(tmp_path):
    """There a thread of gloo that still frees a tensor would abort it: a finished training would count as failed."""
    program = tmp_path / "program.py"
    program.write_text(
        "import atexit, os\nfrom steps.training.distributed import supervised\nfrom utils.cli import run_program\n"
        "class Late:\n    def __del__(self, write=os.write): write(1, b'taken apart')\n"
        "late = Late()\natexit.register(print, 'asked to end')\n"
        "run_program(supervised(lambda: print('done') or 0))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RANK": "0", "TORCHELASTIC_RESTART_COUNT": "0"}
    alone, together = (
        subprocess.run(
            [sys.executable, str(program)], env=env | more, capture_output=True, text=True, check=True
        ).stdout
        for more in ({}, {distributed.ERRORS_FOLDER: str(tmp_path)})
    )
    assert alone.split("\n")[:2] == ["done", "asked to end"] and "taken apart" in alone
    assert together == "done\nasked to end\n"


def test_an_error_that_cannot_be_left_is_said_at_once(tmp_path, monkeypatch, capfd):
    """Leaving in good order, as another exception would, waits for processes that wait for this one."""
    (tmp_path / "no_folder").touch()
    for name, value in {
        distributed.ERRORS_FOLDER: tmp_path / "no_folder",
        "RANK": 0,
        "TORCHELASTIC_RESTART_COUNT": 0,
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(os, "_exit", Mock(side_effect=SystemExit))
    monkeypatch.setattr(os, "kill", Mock())
    with pytest.raises(SystemExit):
        distributed.supervised(Mock(side_effect=UserError("mend this")))()
    os._exit.assert_called_once_with(1)
    assert os.kill.called and capfd.readouterr().err == "mend this\n"


def test_what_the_launcher_refuses(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    done = call(distribute.main, "distribute.py", "--nnodes", 2, "train.py")
    assert done.returncode == 1 and "start the same command on each machine with --rdzv HOST:PORT" in done.stderr
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "1")
    done = call(distribute.main, "distribute.py", "--nnodes", 2, "train.py")
    assert done.returncode == 1 and "this Slurm job has 1 machine(s)" in done.stderr
    done = call(distribute.main, "distribute.py", "--nproc", 0, "train.py")
    assert done.returncode == 2 and "--nproc: '0' is not a whole number from 1 to 1024" in done.stderr
    done = call(distribute.main, "distribute.py", "no_such_program.py")
    assert done.returncode == 1 and "no_such_program.py: no such program" in done.stderr
