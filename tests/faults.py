#!/usr/bin/env python3
"""Kill the recipes' processes, damage their files, fill the disk, and check that no complete file is lost.

A child of this process, which has loaded all imports, runs each stage's programs on a tiny made-up corpus with a tiny
network. So a run takes a fraction of a second. The programs are killed by kill -9 at random moments, and just before
and after random ones of their calls to rename, link, remove and fsync. Then files are damaged and removed, the disk is
full (a small tmpfs), or writing is forbidden. After each fault the stage runs again, after the fix that its message
names. It must end in the files of an undisturbed run: scores, weights, features, bit for bit. If a fix is needed, one
message must name it. Last, entire run.sh are killed: all of their processes, the script alone, or one of its programs.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

import matplotlib.figure  # noqa: F401 (loaded once, for all children)
import torch
import torch.utils.tensorboard

from local import prepare_data
from steps import compute_feats, evaluate_experiment, make_results, merge_feats, score, train
from steps.training.checkpoints import CheckpointFolder
from tests.corpus_lookalike import make_corpus
from utils.cli import THREADS, make_parser, run_program, whole_number

ROOT = Path(__file__).resolve().parents[1]
SETS = {"train": (24, 8), "dev": (12, 4), "eval": (12, 4)}  # trials, bona fide among them
SETTINGS = "frontend.network_input.frames=60 model.widths=[8,8,8,8] train.epochs=3 train.batch_size=8"
METHOD = "self_distill_debug"
ENVIRONMENT = {**os.environ, "FSD_PYTHON": sys.executable}  # of run.sh
CALLS = ("replace", "rename", "link", "unlink", "fsync")  # of the os module, which pathlib uses too


class Failure(Exception):
    """Something was lost, or not told as it should be."""


# -- the recipe's stages, as run.sh calls its programs
# ------------------------------------------------------------------


def call(main: Callable[[], int | None], name: str, *arguments: object) -> int:
    sys.argv = [name, *map(str, arguments)]
    try:
        run_program(main)
    except SystemExit as end:
        return int(end.code or 0)


def settings() -> list[str]:
    return [part for setting in SETTINGS.split() for part in ("--set", setting)]


def conf(path: str) -> Path:
    return ROOT / "conf" / f"{path}.yaml"


def stage_prepare(work: Path) -> int:
    return call(
        prepare_data.main, "prepare_data.py", "--corpus-dir", work / "LA", "--corpus", "asvspoof2019-la", work / "data"
    )


def stage_features(work: Path) -> int:
    options = ["--frontend", conf("frontend/f0_subband"), *settings()]
    for name in SETS:
        wavs, feats = work / "data" / name / "wav.scp", work / "feats" / name
        status = call(merge_feats.main, "merge_feats.py", "check", *options, wavs, feats)
        if status == merge_feats.ALREADY_WHOLE:
            continue
        for job in (1, 2):
            part = feats / f"parts/2/feats.{job}"
            if not status and not part.with_name(part.name + ".utt2num_frames").exists():
                status = call(compute_feats.main, "compute_feats.py", *options, "--part", f"{job}/2", wavs, part)
        status = status or call(merge_feats.main, "merge_feats.py", "merge", *options, "--nj", 2, wavs, feats)
        if status:
            return status
    return 0


def training(work: Path) -> Path:
    return work / "exp" / f"train_f0_subband_ecanet9_{METHOD}" / "seed1"


def stage_train(work: Path) -> int:
    sets = [work / kind / name for name in ("train", "dev") for kind in ("data", "feats")]
    options = [
        "--model",
        conf("model/ecanet9"),
        "--train-conf",
        conf("train/self_distill"),
        "--schedule",
        conf("schedule/debug"),
    ]
    options += settings()
    return call(train.main, "train.py", *options, "--num-threads", 1, *sets, training(work))


def stage_score(work: Path) -> int:
    places = ["--data-dir", work / "data", "--feats-dir", work / "feats"]
    exits = ["--exit", "1", "--exit", "4"]
    return call(score.main, "score.py", *exits, *places, training(work), "dev", "eval")


def stage_evaluate(work: Path) -> int:
    places = ["--data-dir", work / "data", training(work)]
    status = call(evaluate_experiment.main, "evaluate_experiment.py", *places, "dev", "eval")
    table = ["--out", work / "exp/RESULTS.md", "--command", "-", training(work).parent]
    return status or call(make_results.main, "make_results.py", *table)


STAGES: dict[str, Callable[[Path], int]] = {
    "prepare": stage_prepare,
    "features": stage_features,
    "train": stage_train,
    "score": stage_score,
    "evaluate": stage_evaluate,
}
SHARES = {"prepare": 0.2, "features": 0.3, "train": 0.3, "score": 0.1, "evaluate": 0.1}  # of the kills
# What a stage writes again and again until it is done; all else is written once.
EVOLVING = ("epochs.tsv", "curves.png", "best.pt")


# -- running them in a child
# --------------------------------------------------------------------------------------------


def die_at(number: int, after: bool, count: Path | None = None) -> None:
    """Let this process be killed before, or after, its call `number` (from 1) of CALLS; 0: count them into a file."""
    made = 0

    def watched(function: Callable) -> Callable:
        def instead(*args: object, **more: object) -> object:
            nonlocal made
            made += 1
            mine = made
            if mine == number and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return function(*args, **more)
            finally:
                if mine == number and after:
                    os.kill(os.getpid(), signal.SIGKILL)
                if count is not None:
                    count.write_text(str(made))

        return instead

    for name in CALLS:
        setattr(os, name, watched(getattr(os, name)))


def die_after_epoch(number: int) -> None:
    """Let this process be killed when it has written the checkpoint of an epoch."""
    save = CheckpointFolder.save

    def saved(folder: CheckpointFolder, epoch: int, state: dict[str, object]) -> None:
        save(folder, epoch, state)
        if epoch == number:
            os.kill(os.getpid(), signal.SIGKILL)

    CheckpointFolder.save = saved


class Child:
    """A stage in a process group of its own; its output goes to a log."""

    def __init__(self, stage: str, work: Path, log: Path, first: Callable[[], None] | None = None):
        self.log = log
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.setsid()
                output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(output, 1)
                os.dup2(output, 2)
                if first is not None:
                    first()
                status = STAGES[stage](work)
            except BaseException:
                traceback.print_exc()
            finally:
                with contextlib.suppress(BaseException):
                    sys.stdout.flush()
                os._exit(status)

    def end(self, kill_after: float | None = None) -> int:
        """The exit status; after so many seconds it is killed, with all it started, and that is -9."""
        if kill_after is not None:
            time.sleep(kill_after)
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has not come to its setsid yet, and so has started nothing
                os.kill(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def said(self) -> str:
        return self.log.read_text(errors="replace")


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that a rerun has to bring back; logs, locks and what was being written are none."""
    found = {}
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if path.is_file() and not any(part.startswith((".", "tensorboard")) for part in inner.parts):
            data = weights_of(path) if inner.parts[-2:-1] == ("checkpoints",) else path.read_bytes()
            found[str(inner)] = hashlib.sha256(data).hexdigest()
    return found


def weights_of(checkpoint: Path) -> bytes:
    """Of a checkpoint what is the same each time: its states of random generators are none of the training's."""
    weights = torch.load(checkpoint, weights_only=True)["method"]
    return b"".join(name.encode() + value.numpy().tobytes() for name, value in sorted(weights.items()))


def pages_of(folder: Path) -> int:
    return sum(math.ceil(path.stat().st_size / 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def left_over(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob(".*.tmp*")]


class Bench:
    """A folder in which the recipe runs, with what an undisturbed run had after each stage."""

    def __init__(self, folder: Path):
        self.folder, self.work, self.log = folder, folder / "work", folder / "log"
        self.work.mkdir(parents=True)
        make_corpus(self.work / "LA", "la", SETS)
        (self.work / "LA/corpus.json").write_text(json.dumps({"name": "stand-in corpus", "recipe": "LA"}))
        self.kept: dict[str, Path] = {}
        self.whole: dict[str, dict[str, str]] = {}
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self.room: dict[str, int] = {}  # bytes that a stage adds, in whole pages
        for stage in STAGES:
            self.kept[stage] = folder / f"before_{stage}"
            shutil.copytree(self.work, self.kept[stage])
            self.must_end_well(stage)  # loads what is loaded late
            self.restore(stage)
            count = folder / "count"
            began = time.monotonic()
            status = Child(stage, self.work, self.log, partial(die_at, 0, False, count)).end()
            self.seconds[stage] = time.monotonic() - began
            self.calls[stage] = int(count.read_text())
            if status:
                raise Failure(f"{stage} fails undisturbed:\n{self.log.read_text()}")
            self.whole[stage] = contents(self.work)
            self.room[stage] = pages_of(self.work) - pages_of(self.kept[stage])

    def restore(self, stage: str) -> None:
        """As it was before the stage."""
        for path in self.work.iterdir():
            shutil.rmtree(path)
        shutil.copytree(self.kept[stage], self.work, dirs_exist_ok=True)

    def run(self, stage: str, first: Callable[[], None] | None = None) -> tuple[int, str]:
        child = Child(stage, self.work, self.log, first)
        return child.end(), child.said()

    def must_end_well(self, stage: str) -> str:
        status, said = self.run(stage)
        if status != 0:
            raise Failure(f"{stage} ends with status {status}:\n{said}")
        return said

    def must_say(self, stage: str, *words: str, first: Callable[[], None] | None = None) -> str:
        """The stage has to fail with one message, without a traceback, that has these words."""
        status, said = self.run(stage, first)
        lines = [line for line in said.splitlines() if ": error: " in line]
        if status <= 0 or len(lines) != 1 or "Traceback" in said or not all(word in said for word in words):
            raise Failure(f"{stage}: status {status} and no clear error with {words}:\n{said}")
        return lines[0]

    def nothing_half(self, stage: str) -> None:
        """What bears its own name is whole; what was there before is as it was."""
        whole = self.whole[stage]
        for name, digest in contents(self.work).items():
            if whole.get(name, digest) != digest and Path(name).name not in EVOLVING:
                raise Failure(f"{stage}: {name} is not complete after a kill")
        lost = set(contents(self.kept[stage])) - set(contents(self.work))
        if lost:
            raise Failure(f"{stage}: lost {lost}")

    def must_be_whole(self, stage: str, within: str = "") -> None:
        found, whole = (
            {name: digest for name, digest in files.items() if name.startswith(within)}
            for files in (contents(self.work), self.whole[stage])
        )
        if found != whole:
            changed = sorted(name for name in found.keys() | whole.keys() if found.get(name) != whole.get(name))
            raise Failure(f"{stage}: not what an undisturbed run made: {changed}; {self.log.read_text()[-2000:]}")
        left = left_over(self.work)
        if left and stage in ("prepare", "features", "train"):  # what others leave is small
            raise Failure(f"{stage}: half-written files stay: {left}")

    # -- kills
    # ----------------------------------------------------------------------------------------------------------

    def kill_at_a_moment(self, stage: str, draw: random.Random) -> None:
        """Killed at a random moment of its duration, once, twice or thrice; then run to its end."""
        self.restore(stage)
        for _ in range(draw.choice((1, 1, 2, 3))):
            status = Child(stage, self.work, self.log).end(draw.uniform(0, self.seconds[stage]))
            self.count_kill(status)
            self.nothing_half(stage)
        self.must_end_well(stage)
        self.must_be_whole(stage)

    def kill_at_a_call(self, stage: str, number: int, after: bool) -> None:
        self.restore(stage)
        status, said = self.run(stage, partial(die_at, number, after))
        if status != -signal.SIGKILL:
            raise Failure(f"{stage}: not killed at call {number} but ended with {status}: {said}")
        self.count_kill(status)
        self.nothing_half(stage)
        self.must_end_well(stage)
        self.must_be_whole(stage)

    kills = 0

    def count_kill(self, status: int) -> None:
        if status == -signal.SIGKILL:
            self.kills += 1

    # -- other faults
    # ---------------------------------------------------------------------------------------------------

    def after(self, stage: str) -> None:
        """As it was when an undisturbed run had ended that stage."""
        later = [name for name in STAGES if list(STAGES).index(name) == list(STAGES).index(stage) + 1]
        self.restore(later[0])

    def flip(self, path: Path, place: int | None = None) -> None:
        data = bytearray(path.read_bytes())
        data[len(data) // 2 if place is None else place] ^= 4
        path.unlink()  # what is linked to it stays whole
        path.write_bytes(data)


def fault_ark_cut_off(bench: Bench) -> None:
    bench.after("features")
    ark = bench.work / "feats/train/parts/2/feats.2.ark"
    os.truncate(ark, ark.stat().st_size // 2)
    bench.must_say("train", str(ark), "cut off after")
    said = bench.must_end_well("features")  # it is noticed there by its size
    if "making it again" not in said:
        raise Failure(f"nothing is said of an ark that was cut off: {said}")
    bench.must_be_whole("features", "feats")


def fault_ark_removed(bench: Bench) -> None:
    bench.after("features")
    (bench.work / "feats/dev/parts/2/feats.1.ark").unlink()
    bench.must_say("train", "feats.1.ark", "remove that file and run the feature stage again")
    bench.must_end_well("features")
    bench.must_be_whole("features", "feats")


def fault_scp_cut_off(bench: Bench) -> None:
    bench.after("features")
    scp = bench.work / "feats/train/feats.scp"
    scp.write_text("".join(scp.read_text().splitlines(keepends=True)[:9]))
    bench.must_say("train", str(scp), "are not in it", "remove it and run again from --stage 1")
    scp.unlink()
    bench.must_end_well("features")
    bench.must_be_whole("features", "feats")


def fault_byte_of_ark(bench: Bench) -> None:
    for line, further in ((0, 0), (5, 100), (-1, 500)):
        bench.after("features")
        ark = bench.work / "feats/train/parts/2/feats.1.ark"
        offset = int(ark.with_suffix(".scp").read_text().splitlines()[line].rpartition(":")[2])
        bench.flip(ark, offset + further)
        bench.must_say("train", str(ark), "the features of LA_T_", "damaged", "remove that file")
        ark.unlink()
        bench.must_end_well("features")
        bench.must_be_whole("features", "feats")


def fault_byte_of_checkpoint(bench: Bench) -> None:
    """The newest, the two newest, and those of which one is the best so far: what is whole is gone on from."""
    for damaged in (1, 2):
        bench.restore("train")
        folder = training(bench.work) / "checkpoints"
        bench.run("train", partial(die_after_epoch, 3))
        newest = sorted(folder.glob("epoch*.pt"))[-damaged:]
        for path in newest:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 4
            path.write_bytes(data)  # best.pt may be the same file
        said = bench.must_end_well("train")
        if said.count("going back to the checkpoint before it") != damaged:
            raise Failure(f"a damaged checkpoint is not named: {said}")
        bench.must_be_whole("train")


def fault_byte_of_final(bench: Bench) -> None:
    for stage in ("train", "score"):
        bench.after("train")
        final = training(bench.work) / "final.pt"
        bench.flip(final)
        bench.must_say(stage, str(final), "damaged", "remove it and run again from --stage 2")
        final.unlink()
        bench.must_end_well("train")
        bench.must_be_whole("train")
        bench.must_end_well("score")
        bench.must_be_whole("score")


def fault_byte_of_best(bench: Bench) -> None:
    bench.after("train")
    folder = training(bench.work)
    bench.flip(folder / "checkpoints/best.pt")
    bench.must_say("score", "best.pt", "damaged", "final.pt, and run again from --stage 2")
    (folder / "checkpoints/best.pt").unlink()
    (folder / "final.pt").unlink()
    bench.must_end_well("train")
    bench.must_be_whole("train")


def fault_flac_removed(bench: Bench) -> None:
    flacs = sorted((bench.work / "LA/ASVspoof2019_LA_train/flac").iterdir())
    flac, away = flacs[5], bench.folder / flacs[5].name  # moved, so that it keeps its time, which features remember
    for stage, words in (("prepare", "have no audio file"), ("features", "cannot be used")):
        bench.restore(stage)
        flac.rename(away)
        bench.must_say(stage, flac.stem, words)
        if stage == "features" and not (bench.work / "feats/train/parts/2/feats.2.utt2num_frames").exists():
            raise Failure("features of good files were thrown away with the bad one's")
        away.rename(flac)
        bench.must_end_well(stage)
        bench.must_be_whole(stage)
    bench.after("features")
    flac.rename(away)  # no longer needed
    bench.must_end_well("train")
    away.rename(flac)
    bench.must_be_whole("train")


def fault_full_disk(bench: Bench) -> None:
    """Each stage on a disk on which there is not enough room for it."""
    draw = random.Random(5)
    for stage in STAGES:
        for share in (0.0, draw.uniform(0.2, 0.8)):
            shutil.rmtree(bench.work)
            bench.work.mkdir()
            with small_disk(bench.work) as limit:
                shutil.copytree(bench.kept[stage], bench.work, dirs_exist_ok=True)
                limit(used(bench.work) + int(share * bench.room[stage] / 4096) * 4096)
                bench.must_say(stage, "the disk is full", str(bench.work))
                bench.nothing_half(stage)
                limit(2**29)
                bench.must_end_well(stage)
                bench.must_be_whole(stage)


def used(folder: Path) -> int:
    state = os.statvfs(folder)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[int], None]]:
    """A tmpfs at `folder`; the function that it yields sets its size in bytes."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "none", folder], check=True)
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True) and None
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def without_privileges() -> None:
    """Let the modes of files bind this process even if it is root's: by capset(2), version 3, with no capabilities."""
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def fault_no_permission(bench: Bench) -> None:
    """Each stage where it may not write."""
    for stage in STAGES:
        bench.restore(stage)
        folders = [bench.work, *(path for path in bench.work.rglob("*") if path.is_dir())]
        modes = {folder: folder.stat().st_mode for folder in folders}

        for folder in folders:
            folder.chmod(0o555)
        try:
            bench.must_say(stage, "Permission denied", "choose another folder", first=without_privileges)
        finally:
            for folder, mode in modes.items():
                folder.chmod(mode)
        bench.must_end_well(stage)
        bench.must_be_whole(stage)


def fault_two_trainings(bench: Bench) -> None:
    """A second train.py in the folder of one that is at work says so and leaves; the first is not disturbed."""
    bench.restore("train")
    child = Child("train", bench.work, bench.log)
    busy = training(bench.work) / ".busy"
    while not (busy.exists() and "pid" in busy.read_text()):
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGSTOP)
    other = Child("train", bench.work, bench.folder / "log2")
    status = other.end()
    os.kill(child.pid, signal.SIGCONT)
    if status != 1 or f"pid {child.pid} on " not in other.said() or "is at work there" not in other.said():
        raise Failure(f"a second training did not leave: {status}: {other.said()}")
    if child.end() != 0:
        raise Failure(f"the first training was disturbed: {child.said()}")
    bench.must_be_whole("train")


FAULTS = [value for name, value in globals().items() if name.startswith("fault_")]


def can_mount(folder: Path) -> bool:
    try:
        with small_disk(folder):
            return True
    except (subprocess.CalledProcessError, OSError):
        return False


def share_of(folder: Path, kills: int, seed: int, worker: int, workers: int) -> dict[str, object]:
    """One worker's share of all kills and faults, in a folder of its own."""
    bench = Bench(folder)
    draw = random.Random(f"{seed} {worker}")
    failures: list[str] = []

    def attempt(what: Callable, *arguments: object) -> None:
        try:
            what(*arguments)
        except Failure as failure:
            failures.append(f"{what.__name__}{arguments}: {failure}")

    at_calls = 0
    for stage, part in SHARES.items():
        each = math.ceil(kills * part / (2 * workers))  # half of the kills at moments, half at calls
        points = [(number, after) for number in range(1, bench.calls[stage] + 1) for after in (False, True)]
        random.Random(seed).shuffle(points)
        mine = points[worker::workers][:each]
        for number, after in mine:
            attempt(bench.kill_at_a_call, stage, number, after)
        at_calls += len(mine)
        enough = bench.kills + 2 * each - len(mine)
        while bench.kills < enough and not failures:
            attempt(bench.kill_at_a_moment, stage, draw)
    done, skipped = [], []
    for fault in FAULTS[worker::workers]:
        if fault is fault_full_disk and not can_mount(bench.work):
            skipped.append("full_disk: no tmpfs can be mounted here (it takes root)")
            continue
        attempt(fault, bench)
        done.append(fault.__name__.removeprefix("fault_"))
    if failures:
        raise Failure("\n\n".join(failures))
    calls = {stage: 2 * bench.calls[stage] for stage in STAGES}
    return {"kills": bench.kills, "at_calls": at_calls, "faults": done, "skipped": skipped, "points": calls}


# -- whole recipes
# -------------------------------------------------------------------------------------------------------


class Recipe:
    """run.sh on the tiny corpus, in a session of its own."""

    def __init__(self, corpus: Path, folder: Path):
        self.folder = folder
        folder.mkdir()
        self.command = [str(ROOT / "egs/asvspoof2019/la/run.sh"), "--corpus-dir", str(corpus), "--set", SETTINGS]
        for kind in ("data", "feats", "exp"):
            self.command += [f"--{kind}-dir", str(folder / kind)]
        self.command += ["--model", "conf/model/ecanet9.yaml", "--schedule", "conf/schedule/debug.yaml"]
        self.command += ["--seeds", "1", "--nj", "2"]
        self.command += ["--heads", "false", "--report", "false"]

    def start(self, *more: str) -> subprocess.Popen:
        with (self.folder / "out").open("w") as out:
            return subprocess.Popen(
                [*self.command, *more],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env=ENVIRONMENT,
            )

    def said(self) -> str:
        return (self.folder / "out").read_text()

    def must_end_well(self, running: subprocess.Popen) -> None:
        if running.wait() != 0:
            raise Failure(f"run.sh ends with {running.returncode}:\n{self.said()}")

    def made(self) -> dict[str, str]:
        """What must not depend on the folder or the command line."""
        names = ("final.pt", "epochs.tsv", "best.pt")
        exp = contents(self.folder / "exp")
        return {name: digest for name, digest in exp.items() if "/scores/" in name or name.endswith(names)}


def processes_of(session: int) -> dict[int, str]:
    """The command line of each process of a session, by its number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
    return found


def programs_of(session: int) -> list[int]:
    """Those of its processes that run one of the toolkit's programs."""
    words = ("/steps/", "steps/", "local/", "train.py", "score.py", "evaluate", "feats.py", "make_results.py")
    shells = ("bash", "/bin/bash", "/usr/bin/bash", "sh")
    found = processes_of(session).items()
    return [pid for pid, line in found if any(w in line for w in words) and line.split(" ")[0] not in shells]


def kill_all(session: int) -> None:
    while left := processes_of(session):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def kill_recipes(folder: Path, kills: int, seed: int) -> dict[str, object]:
    """Two run.sh parallel jobs, then kills of run.sh: of all its processes, of the script alone, of one of its programs."""
    folder.mkdir()
    corpus = folder / "LA"
    make_corpus(corpus, "la", SETS)
    (corpus / "corpus.json").write_text(json.dumps({"name": "stand-in corpus", "recipe": "LA"}))
    undisturbed = Recipe(corpus, folder / "undisturbed")
    began = time.monotonic()
    first = undisturbed.start()
    while first.poll() is None and not any(
        "train.py" in processes_of(first.pid).get(p, "") for p in programs_of(first.pid)
    ):
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGSTOP)
    trainings = programs_of(first.pid)
    for pid in trainings:
        os.kill(pid, signal.SIGSTOP)
    with (folder / "second").open("w") as out:
        command = [*undisturbed.command, "--stage", "2"]
        second = subprocess.run(command, stdout=out, stderr=out, env=ENVIRONMENT, check=False)
    for pid in (*trainings, first.pid):
        os.kill(pid, signal.SIGCONT)
    said = (folder / "second").read_text()
    if second.returncode != 1 or f"another run is at work there (run.sh, pid {first.pid} on " not in said:
        kill_all(first.pid)
        raise Failure(f"a second run.sh does not leave but ends with {second.returncode}:\n{said}")
    undisturbed.must_end_well(first)
    seconds = time.monotonic() - began

    disturbed = Recipe(corpus, folder / "disturbed")
    draw = random.Random(seed)
    waited = done = 0
    while True:
        running = disturbed.start()
        if done == kills:
            break
        time.sleep(draw.uniform(0.5, seconds / 2))
        programs = programs_of(running.pid)
        if running.poll() is not None:  # before it could be killed
            if running.returncode == 0:
                for kind in ("data", "feats", "exp"):
                    shutil.rmtree(disturbed.folder / kind)
            elif "has started is still at work there" in disturbed.said():
                waited += 1
            else:
                raise Failure(f"run.sh after kills: {disturbed.said()}")
            continue
        how = ("all", "script", "program")[done % 3]
        if how == "program" and programs:
            os.kill(draw.choice(programs), signal.SIGKILL)
            if running.wait() == 0 or "failed" not in disturbed.said():
                raise Failure(f"nothing is said of a program that was killed:\n{disturbed.said()}")
        elif how == "script":
            running.kill()
            running.wait()
        else:
            kill_all(running.pid)
            running.wait()
        done += 1
    while running.wait() != 0:
        if "has started is still at work there" not in disturbed.said():
            raise Failure(f"run.sh ends with {running.returncode}:\n{disturbed.said()}")
        waited += 1
        running = disturbed.start()
    if disturbed.made() != undisturbed.made() or len(disturbed.made()) < 8:
        raise Failure(f"after kills of run.sh: {disturbed.made()} instead of {undisturbed.made()}")
    return {"run_sh_kills": done, "waited": waited}


def main() -> int:
    parser = make_parser(__doc__, "tests/faults.py\ntests/faults.py --kills 1000 --run-sh-kills 30   # overnight")
    parser.add_argument("--kills", type=whole_number(), default=60, help="least number of kills of single programs")
    parser.add_argument("--run-sh-kills", type=whole_number(), default=6, help="least number of kills of run.sh")
    parser.add_argument("--seed", type=whole_number(), default=1, help="seed of all draws")
    parser.add_argument("--jobs", type=THREADS, default=len(os.sched_getaffinity(0)), help="parallel jobs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="faults."))
    workers = {}
    try:
        for worker in range(args.jobs + (args.run_sh_kills > 0)):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    if worker < args.jobs:
                        told = share_of(folder / str(worker), args.kills, args.seed, worker, args.jobs)
                    else:
                        told = kill_recipes(folder / str(worker), args.run_sh_kills, args.seed)
                    (folder / f"{worker}.json").write_text(json.dumps(told))
                    status = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stderr.flush()
                    os._exit(status)
            workers[pid] = worker
        failed = [workers[pid] for pid in list(workers) if os.waitpid(pid, 0)[1] != 0]
        if failed:
            print(f"faults.py: FAILED in {len(failed)} of {len(workers)} shares, see above (--seed {args.seed})")
            return 1
        told = [json.loads((folder / f"{worker}.json").read_text()) for worker in range(len(workers))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    recipes = told[args.jobs :]
    told = told[: args.jobs]
    for line in (line for one in told for line in one["skipped"]):
        print(f"faults.py: SKIPPED {line}")
    kills, at_calls = (sum(one[key] for one in told) for key in ("kills", "at_calls"))
    print(
        f"faults.py: {kills} kills of programs, {at_calls} of them at a rename, link, removal or fsync (there are"
        f" {sum(told[0]['points'].values())} such points), the others at random moments; other faults:"
        f" {', '.join(name for one in told for name in one['faults'])}. Each rerun ended in the undisturbed run's"
        f" files. {time.monotonic() - began:.0f} s"
    )
    for one in recipes:
        print(
            f"faults.py: {one['run_sh_kills']} kills of run.sh, after which it was started again parallel jobs"
            f" ({one['waited']} times it left for what the killed one had started); a second run.sh beside the first"
            " left. The same scores and weights."
        )
    return 0


if __name__ == "__main__":
    run_program(main)
