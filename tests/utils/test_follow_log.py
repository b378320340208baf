"""utils/follow_log.py and utils/with_progress.sh: the progress of jobs from their logs."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from utils import follow_log
from utils.cli import ProgressLog, time_left
from utils.follow_log import MOST_WARNINGS, Follower, distinct_names


def write(path: Path, text: str, mode: str = "a") -> None:
    with path.open(mode) as handle:
        handle.write(text)


def test_sums_the_newest_of_each_log(tmp_path):
    follower = Follower([f"{tmp_path}/x.*.log"])
    assert follower.look() == [] and follower.progress() == (0, 0, "", "")
    write(tmp_path / "x.1.log", "progress 1/10 utterances\nprogress 4/10 utterances\n")
    write(tmp_path / "x.2.log", "noise\nprogress 3/5 utterances a text\nprog")
    write(tmp_path / "other.log", "progress 1/1000 utterances\n")
    follower.look()
    assert follower.progress() == (7, 15, "utterances", "a text")
    write(tmp_path / "x.2.log", "ress 5/5 utterances\n")
    follower.look()
    assert follower.progress()[:3] == (9, 15, "utterances")
    write(tmp_path / "x.2.log", "progress 1/40 batches loss 0.3\n")
    follower.look()
    assert follower.progress() == (1, 40, "batches", "loss 0.3")


def test_jobs_that_wait_count_with_the_mean_total_of_those_that_run(tmp_path):
    logs = [tmp_path / f"train.{seed}.log" for seed in range(1, 6)]
    for log in logs[3:]:
        log.write_text("progress 90/90 utt\n")  # a former run's
    follower = Follower([str(log) for log in logs])
    write(logs[0], "progress 3/10 utt\n")
    write(logs[1], "progress 1/20 utt\n")
    write(logs[2], "train.py: seed3/final.pt is complete; nothing to do\n")
    follower.look()
    assert follower.progress()[:2] == (4, 60)  # two run, two wait
    write(logs[3], "# Started again\nprogress 1/20 utt\n", "w")
    follower.look()
    assert follower.progress()[:2] == (5, 66)
    follower = Follower([f"{tmp_path}/train.*.log"])  # how many jobs will run is not known
    write(logs[3], "progress 2/20 utt\n")
    follower.look()
    assert follower.progress()[:2] == (2, 20)


def test_what_a_former_run_left_does_not_count(tmp_path):
    old = tmp_path / "x.1.log"
    write(old, "# Started at 1\nprogress 5/5 utterances\nepoch 1 old\n")
    (tmp_path / "x.2.log").write_text("# Started at 1\nprogress 9/9 utterances\n")
    follower = Follower([f"{tmp_path}/x.*.log"])
    assert follower.look() == [] and follower.progress()[1] == 0
    # begun anew and longer than it was before anyone looked
    write(old, "# Started at 2\n" + "progress 1/8 utterances\nepoch 1 new\n" * 5, "w")
    assert follower.look() == ["x.1.log: epoch 1 new"] * 5
    assert follower.progress() == (1, 8, "utterances", "")
    write(old, "# Started at 3\n", "w")  # and once more, now shorter
    follower.look()
    assert follower.progress()[:2] == (0, 0)
    old.unlink()
    follower.look()
    write(old, "# Started at 3\nprogress 2/4 utterances\n", "w")
    follower.look()
    assert follower.progress()[:2] == (2, 4)


def test_logs_of_one_name_are_told_apart_by_their_folders():
    paths = [Path("exp/a/seed1/log/train.log"), Path("exp/a/seed2/log/train.log")]
    assert list(distinct_names(paths).values()) == ["seed1", "seed2"]
    assert distinct_names([Path("log/x.1.log"), Path("log/x.2.log")])[Path("log/x.2.log")] == "x.2.log"
    assert distinct_names([Path("log/x.1.log")]) == {Path("log/x.1.log"): "x.1.log"}


def test_lines_that_are_passed_on(tmp_path):
    log = tmp_path / "train.log"
    follower = Follower([str(log)])
    write(
        log,
        "epoch 1 loss 3\nan epoch 2\nresuming after epoch 3 of 4\nWARNING: odd\nprogress x/y z\n"
        + "WARNING: again\n" * 30,
    )
    assert follower.look() == [
        "epoch 1 loss 3",
        "resuming after epoch 3 of 4",
        "WARNING: odd",
        *["WARNING: again"] * (MOST_WARNINGS - 1),
    ]
    log.write_bytes(b"\xff\xfe broken \n" + b"epoch \xff 2\n")
    assert follower.look() == ["epoch \ufffd 2"]


def test_the_time_left_is_of_all_jobs_and_of_this_run(monkeypatch, capsys, tmp_path):
    now = [1000.0]
    monkeypatch.setattr(follow_log.time, "monotonic", lambda: now[0])
    lines = follow_log.Lines(10.0)
    log = tmp_path / "x.log"
    follower = Follower([str(log)])
    for seconds, done in ((0, 600), (20, 700), (20, 800), (1, 1000)):  # 600 are of a run that was interrupted
        now[0] += seconds
        write(log, f"progress {done}/1000 utt epoch 2/3, 7 %, 0.2/min, about 9 min left\n")
        follower.look()
        lines.show(*follower.progress())
    lines.close()
    assert capsys.readouterr().err.splitlines() == [
        "700/1000 utt (70 %) epoch 2/3 after 20 s, 5.0/s, about 60 s left",
        "800/1000 utt (80 %) epoch 2/3 after 40 s, 5.0/s, about 40 s left",
        "1000/1000 utt (100 %) epoch 2/3 after 41 s",
    ]
    now[0] += 30
    lines.show(1, 5, "file", "")  # another thing that is counted
    assert capsys.readouterr().err == "1/5 file (20 %) after 71 s\n"


def test_a_jobs_own_log_has_the_time_left(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = ProgressLog(100, "utt", done=40)
    for _ in range(3):
        now[0] += 300
        progress.update(20, "epoch 2/3")
    assert capsys.readouterr().err.splitlines() == [
        "progress 40/100 utt 40 %",
        "progress 60/100 utt epoch 2/3, 60 %, 4.0/min, about 10 min left",
        "progress 80/100 utt epoch 2/3, 80 %, 4.0/min, about 5 min left",
        "progress 100/100 utt epoch 2/3, 100 %",
    ]
    ProgressLog(9, "file", "voice A01")
    assert capsys.readouterr().err == "progress 0/9 file voice A01, 0 %\n"
    assert time_left(0.5, 1, 10) == time_left(9, 0, 1) == time_left(9, 1, 0) == ""
    assert time_left(3600, 1, 2) == "about 2.0 h left"


@pytest.fixture
def shell(root, tmp_path):
    def run(script: str, **kwargs) -> subprocess.CompletedProcess:
        text = f"set -euo pipefail\n. {root}/utils/with_progress.sh\n{script}\n"
        environment = {**os.environ, "FSD_PYTHON": sys.executable, **kwargs.pop("env", {})}
        return subprocess.run(
            ["bash", "-c", text], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, **kwargs
        )

    return run


def test_with_progress(root, shell, tmp_path):
    (tmp_path / "l").mkdir()
    write(tmp_path / "l/x.2.log", "progress 70/70 utterances\nepoch 1 old\n")
    job = f"{root}/utils/run.sh JOB=1:2 l/x.JOB.log echo progress 3/4 utterances '&&' echo epoch JOB"
    done = shell(f"with_progress 'l/x.*.log' -- {job}; echo after")
    assert done.returncode == 0 and done.stdout == "after\n"
    assert sorted(done.stderr.splitlines()[:2]) == ["x.1.log: epoch 1", "x.2.log: epoch 2"]
    assert done.stderr.splitlines()[2].startswith("6/8 utterances (75 %) after ")


def test_with_progress_gives_the_commands_status(shell):
    done = shell("with_progress a.log -- bash -c 'exit 7' || echo status $?")
    assert done.stdout == "status 7\n" and done.stderr == ""
    assert shell("with_progress a.log -- false; echo not reached").stdout == ""
    done = shell("with_progress a.log b.log -- cat", input="standard input is the command's\n")
    assert done.stdout == "standard input is the command's\n"
    done = shell("with_progress a.log false")
    assert done.returncode == 2 and "usage" in done.stderr


def test_with_progress_without_a_python(shell):
    done = shell("with_progress a.log -- echo done anyway", env={"FSD_PYTHON": "/nonexistent/python3"})
    assert done.returncode == 0 and done.stdout == "done anyway\n" and "cannot be shown" in done.stderr


def test_ends_with_the_process_it_goes_with(root, tmp_path):
    log = tmp_path / "x.log"
    parent = subprocess.Popen(["sleep", "60"])
    options = ["--while-pid", str(parent.pid), "--every", "0.1", "--say-ready"]
    follower = subprocess.Popen(
        [sys.executable, root / "utils/follow_log.py", *options, log],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    follower.stdout.readline()  # however long it takes to start
    write(log, "progress 1/2 things\n")
    assert "1/2 things (50 %)" in follower.stderr.readline()
    write(log, "epoch 1 the last line\n")
    parent.kill()
    parent.wait()
    _, errors = follower.communicate(timeout=60)
    assert follower.returncode == 0 and "epoch 1 the last line" in errors


def test_a_bar_on_a_terminal(root, tmp_path):
    log = tmp_path / "x.log"
    master, slave = pty.openpty()
    subprocess.run(["stty", "cols", "80", "rows", "24"], stdin=slave, check=True)
    parent = subprocess.Popen(["sleep", "30"])
    follower = subprocess.Popen(
        [sys.executable, root / "utils/follow_log.py", "--while-pid", str(parent.pid), "--say-ready", log],
        stdout=subprocess.PIPE,
        stderr=slave,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(slave)
    assert follower.stdout.readline() == b"ready\n"
    write(log, "progress 3/4 things\nepoch 1 good\n")
    seen = b""
    while b"3/4" not in seen:
        seen += os.read(master, 4096)
    parent.kill()
    parent.wait()
    assert follower.wait(timeout=10) == 0
    follower.stdout.close()
    os.close(master)
    assert b"epoch 1 good" in seen
