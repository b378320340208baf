"""utils/run.sh: jobs by the calling convention of Kaldi's run.pl."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest


@pytest.fixture
def run(root, tmp_path):
    """Call run.sh in tmp_path; each log with it as {name: lines that the command wrote}."""

    def call(*args: str, **kwargs) -> subprocess.CompletedProcess:
        return subprocess.run([root / "utils/run.sh", *args], cwd=tmp_path, capture_output=True, text=True, **kwargs)

    return call


def said(log: Path) -> list[str]:
    """What a command wrote to its log, the frame around it checked and taken off."""
    lines = log.read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("# Started at "))  # after a command of some lines
    assert lines[0].startswith("# ") and lines[start + 1] == "#"
    assert re.fullmatch(r"# Accounting: time=\d+ threads=\d+", lines[-2])
    assert re.fullmatch(r"# Ended \(code \d+\) at .+, elapsed time \d+ seconds", lines[-1])
    return lines[start + 2 : -2]


def test_job_number_goes_into_log_and_arguments(run, tmp_path):
    done = run("JOB=2:4", "log/deep/x.JOB.log", "echo", "JOB", "aJOBb", "two JOB words")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(path.name for path in (tmp_path / "log/deep").iterdir()) == ["x.2.log", "x.3.log", "x.4.log"]
    assert said(tmp_path / "log/deep/x.3.log") == ["3 a3b two 3 words"]
    assert (tmp_path / "log/deep/x.3.log").read_text().startswith('# echo 3 a3b "two 3 words" \n')
    assert run("Any_name2=7", "l/Any_name2.log", "echo", "Any_name2").returncode == 0
    assert said(tmp_path / "l/7.log") == ["7"]
    assert run("one.log", "echo", "JOB").returncode == 0 and said(tmp_path / "one.log") == ["JOB"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["two  spaces", "tab\there"], ["two  spaces", "tab\there"]),
        (["", "x"], ["", "x"]),
        (["line\nbreak"], ["line", "break"]),
        (['say "hi there"'], ['say "hi there"']),
        (["it's here"], ["it's here"]),
        (['both "it\'s" here'], ['both "it\'s" here']),
        (["a * b"], ["a * b"]),
        (["\\$HOME", "a \\$HOME b"], ["$HOME", "a $HOME b"]),
        (["$FRUIT", "a $FRUIT b"], ["pear", "a pear b"]),
        (["--x=y,z", "a=b:c"], ["--x=y,z", "a=b:c"]),
        (["p", "|", "tr", "p", "q"], ["q"]),
        (["p", "&&", "echo", "r"], ["p", "r"]),
        (["p", ">", "/dev/null", ";", "echo", "s"], ["s"]),
    ],
)
def test_arguments_arrive_as_by_run_pl(run, tmp_path, args, expected):
    assert run("x.log", "printf", "%s\\\\n", *args, env={**os.environ, "FRUIT": "pear"}).returncode == 0
    assert said(tmp_path / "x.log") == expected


def test_both_streams_and_no_input(run, tmp_path):
    assert run("x.log", "cat; echo out; echo err >&2").returncode == 1  # one argument: a program of that name
    assert run("x.log", "cat", ";", "echo", "out", ";", "echo", "err", ">&2", input="not for the job").returncode == 0
    assert said(tmp_path / "x.log") == ["out", "err"]


def test_failures_are_named_and_the_first_log_shown(run, tmp_path):
    done = run(
        "JOB=1:4",
        "l/x.JOB.log",
        "echo",
        "this is JOB",
        "&&",
        "[",
        "JOB",
        "!=",
        "2",
        "]",
        "&&",
        "[",
        "JOB",
        "!=",
        "4",
        "]",
    )
    assert done.returncode == 1 and "2 of 4 job(s) failed: l/x.2.log l/x.4.log" in done.stderr
    assert "this is 2" in done.stderr and "this is 4" not in done.stderr and "# Ended (code 1)" in done.stderr
    assert said(tmp_path / "l/x.3.log") == ["this is 3"]  # the others ran all the same


@pytest.mark.parametrize(
    ("command", "code"), [(["exit", "7"], 7), (["no_such_program"], 127), (["kill", "-9", "$BASHPID"], 137)]
)
def test_exit_codes(run, tmp_path, command, code):
    assert run("x.log", *command).returncode == 1
    assert f"# Ended (code {code})" in (tmp_path / "x.log").read_text()


def test_status_of_a_pipe_is_the_last_ones(run, tmp_path):
    assert (
        run("x.log", "false", "|", "true").returncode == 0
    )  # as in run.pl; `set -o pipefail ;` before it changes that
    assert run("x.log", "set", "-o", "pipefail", ";", "false", "|", "true").returncode == 1


def test_unwritable_log(run, tmp_path):
    (tmp_path / "file").write_text("")
    done = run("file/x.log", "true")
    assert done.returncode == 1 and "file/x.log could not be written" in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "Usage:"),
        (["x.log"], "Usage:"),
        (["JOB=1:3", "x.log", "true"], "put JOB into the log's name"),
        (["JOB=3:1", "x.JOB.log", "true"], "invalid job range"),
        (["JOB=0:1", "x.JOB.log", "true"], "invalid job range"),
        (["--max-jobs-run", "0", "x.log", "true"], "--max-jobs-run takes a whole number"),
        (["--gpu", "many", "x.log", "true"], "--gpu takes a whole number"),
    ],
)
def test_wrong_calls(run, tmp_path, args, message):
    done = run(*args)
    assert done.returncode == 1 and message in done.stderr and not list(tmp_path.iterdir())


def test_job_forgotten(run):
    done = run("x.JOB.log", "false")
    assert done.returncode == 1 and "was JOB=1:N forgotten?" in done.stderr


def test_options_of_queue_pl_are_taken_before_and_after_the_range(run, tmp_path):
    options = ["--mem", "4G", "-V", "-sync", "y", "-pe", "smp", "5", "-q", "all.q", "--num-threads", "2", "--gpu", "0"]
    assert (
        run(*options, "JOB=1:2", *options, "--max-jobs-run", "1", "x.JOB.log", "echo", "--mem", "JOB").returncode == 0
    )
    assert said(tmp_path / "x.2.log") == ["--mem 2"]
    assert "threads=2" in (tmp_path / "x.1.log").read_text()
    assert "Usage:" in run("--help").stdout


def test_at_most_so_many_at_once(run, tmp_path):
    script = "echo + >> at; sleep 0.2; echo - >> at"
    assert run("--max-jobs-run", "3", "JOB=1:7", "l/x.JOB.log", "bash", "-c", f"'{script}'").returncode == 1
    began = time.monotonic()
    assert run("--max-jobs-run", "3", "JOB=1:7", "l/x.JOB.log", "eval", script).returncode == 0
    assert time.monotonic() - began < 7 * 0.2 + 1
    at_once = most = 0
    for sign in (tmp_path / "at").read_text().split():
        at_once += 1 if sign == "+" else -1
        most = max(most, at_once)
    assert most == 3 and at_once == 0


def test_jobs_share_the_gpus(run, tmp_path):
    seen = {**os.environ, "CUDA_VISIBLE_DEVICES": "4,5,6,7"}
    command = ["JOB=1:4", "x.JOB.log", "echo", "$CUDA_VISIBLE_DEVICES", ";", "sleep", "0.3"]
    assert run("--gpu", "1", *command, env=seen).returncode == 0
    assert sorted(said(tmp_path / f"x.{n}.log")[0] for n in range(1, 5)) == ["4", "5", "6", "7"]
    assert run("--gpu", "2", *command, env=seen).returncode == 0
    assert [said(tmp_path / f"x.{n}.log")[0] for n in range(1, 3)] == ["4,5", "6,7"]
    assert run(*command, env=seen).returncode == 0 and said(tmp_path / "x.1.log") == ["4,5,6,7"]
    done = run("--gpu", "5", *command, env=seen)
    assert done.returncode == 1 and "asks for 5 GPUs and there are 4" in done.stderr
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin"}
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    done = run("--gpu", "1", "x.log", "true", env={**hidden, "PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert done.returncode == 0 and "no GPU is seen here" in done.stderr


def test_a_long_command_line(run, tmp_path):
    """Longer than one argument of a program may be (128 KiB)."""
    words = [f"word{n}" for n in range(30000)]
    (tmp_path / "words").write_text(" ".join(words))
    assert run("x.log", "echo", *words, "|", "cmp", "-", "words", ";", "echo", "done").returncode == 0


def test_nothing_of_the_runner_reaches_the_command(run, tmp_path):
    assert run("x.log", "false", ";", "echo", "$first", "$devices", "${undefined_one}", "on", "$-").returncode == 0
    assert said(tmp_path / "x.log")[0].split()[0] == "on"


def test_calls_itself(root, run, tmp_path):
    assert (
        run("JOB=1:2", "x.JOB.log", str(root / "utils/run.sh"), "K=1:2", "y.JOB.K.log", "echo", "JOB", "K").returncode
        == 0
    )
    assert said(tmp_path / "y.2.1.log") == ["2 1"]


def alive(marker: str) -> int:
    """Number of processes with `marker` in their environment."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            found += marker.encode() in path.read_bytes()
    return found


@pytest.mark.parametrize("at_once", ["1", "2"])
def test_a_job_that_is_stopped_for_a_while_has_not_ended(root, tmp_path, at_once):
    (tmp_path / "job.sh").write_text("echo $$ >pid.$1; mv pid.$1 started.$1; sleep 1; echo $1\n")
    process = subprocess.Popen(
        [root / "utils/run.sh", "--max-jobs-run", at_once, "JOB=1:2", "JOB.log", "bash", "job.sh", "JOB"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    first = tmp_path / "started.1"
    deadline = time.monotonic() + 10
    while not first.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    group = os.getpgid(int(first.read_text()))
    os.killpg(group, signal.SIGSTOP)
    time.sleep(1.5)
    assert process.poll() is None and (tmp_path / "started.2").exists() == (at_once == "2")
    os.killpg(group, signal.SIGCONT)
    assert (process.communicate(timeout=30)[1], process.returncode) == ("", 0)
    assert [said(tmp_path / f"{job}.log") for job in (1, 2)] == [["1"], ["2"]]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_jobs_and_all_they_started(root, tmp_path, number, status):
    marker = f"FSD_TEST_MARKER={os.getpid()}_{status}"
    (tmp_path / "job.sh").write_text("trap '' HUP; sleep 300 & touch started.$1; sleep 300; echo never\n")
    process = subprocess.Popen(
        [root / "utils/run.sh", "--max-jobs-run", "2", "JOB=1:5", "x.JOB.log", "bash", "job.sh", "JOB"],
        cwd=tmp_path,
        env={**os.environ, **dict([marker.split("=")])},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 10
    while len(list(tmp_path.glob("started.*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert alive(marker) >= 5
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == status and "2 running job(s) ended" in errors and "Terminated" not in errors
    deadline = time.monotonic() + 5
    while alive(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(marker) == 0
    assert "# Ended (code 143)" in (tmp_path / "x.1.log").read_text() and not (tmp_path / "x.3.log").exists()
