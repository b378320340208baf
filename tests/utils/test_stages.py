"""utils/stages.sh: what recipes share."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def in_recipe(script: str) -> list[str]:
    prelude = f"stage=0 stop_stage=5 caller_dir=$PWD; set -euo pipefail; . {ROOT}/utils/stages.sh; "
    done = subprocess.run(["bash", "-c", prelude + script], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("numbers", "ranges"),
    [
        ("1 2 3", ["1:3"]),
        ("7", ["7:7"]),
        ("3 1 2 9 7 8 2", ["1:3", "7:9"]),
        ("9 10 11", ["9:11"]),
        ("2 4", ["2:2", "4:4"]),
    ],
)
def test_numbers_become_the_ranges_of_job_arrays(numbers, ranges):
    assert in_recipe(f"ranges_of {numbers}") == ranges


def test_no_numbers_are_no_ranges():
    assert in_recipe("ranges_of") == []


@pytest.mark.parametrize("given", ['""', "0", "1 x", "-1", "1.5"])
def test_a_number_out_of_range_is_refused(given):
    with pytest.raises(subprocess.CalledProcessError) as refused:
        in_recipe(f"require_whole 1- --seeds {given}")
    assert "--seeds takes a whole number of 1 or more, not '" in refused.value.stderr
    assert in_recipe("require_whole 1- --seeds 1 20") == []


def test_least_and_most_are_numeric():
    assert in_recipe("least 10 9; most 10 9") == ["9", "10"]


def test_paths_hold_where_the_recipe_was_called(tmp_path):
    """It works in its own folder; what it makes there by default is named by a path that holds anywhere."""
    caller, recipe = tmp_path / "caller", tmp_path / "caller/egs/la"
    (recipe / "conf").mkdir(parents=True)
    for folder in (caller, recipe / "conf"):
        (folder / "a.yaml").touch()
    here = f"cd {recipe}; caller_dir={caller}; "
    ask = (
        "output_path exp exp; output_path mine exp; output_path /x exp; input_path a.yaml; input_path conf/a.yaml;"
        " input_path conf/b.yaml"
    )
    assert in_recipe(here + ask) == [
        f"{recipe}/exp", f"{caller}/mine", "/x", f"{caller}/a.yaml", f"{recipe}/conf/a.yaml", "conf/b.yaml"
    ]  # fmt: skip
    assert in_recipe(f"cd {recipe}; caller_dir={recipe}; {ask}") == [
        "exp",
        "mine",
        "/x",
        "a.yaml",
        "conf/a.yaml",
        "conf/b.yaml",
    ]
    assert in_recipe(here + "from_caller exp/a; from_caller /bin/sh") == ["egs/la/exp/a/bin/sh"]


def test_ctrl_c_says_how_to_go_on(tmp_path):
    """As a terminal sends it, to the script and the job that it waits for."""
    prelude = f"stage=0 stop_stage=5 caller_dir=$PWD; set -euo pipefail; . {ROOT}/utils/stages.sh; "
    run = subprocess.Popen(
        ["bash", "-c", prelude + f"begin_stage 0 try; {ROOT}/utils/run.sh {tmp_path}/x.log sleep 60", "recipe.sh"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not (tmp_path / "x.log").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=30)
    assert run.returncode == 130 and errors.count("recipe.sh: interrupted; run the same command to resume\n") == 1, (
        errors
    )
    assert "failed" not in errors


def test_a_stage_that_fails_is_named():
    with pytest.raises(subprocess.CalledProcessError) as failed:
        in_recipe("begin_stage 3 try; false")
    assert "stage 3 failed; when it is fixed, resume by --stage 3" in failed.value.stderr
    assert "interrupted" not in failed.value.stderr


HELD = "begin_stage 0 try > /dev/null; hold {lock} {folder} 0; "


def test_two_runs_do_not_work_in_one_folder(tmp_path):
    folder = tmp_path / "data"
    hold = HELD.format(lock=folder / ".lock", folder=folder)
    prelude = f"stage=0 stop_stage=5 caller_dir=$PWD; set -euo pipefail; . {ROOT}/utils/stages.sh; "
    first = subprocess.Popen(
        ["bash", "-c", prelude + hold + "echo held; read -r _; end_stage x > /dev/null", "first.sh"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout.readline() == "held\n"
    with pytest.raises(subprocess.CalledProcessError) as refused:
        in_recipe(hold + "echo went on")
    assert refused.value.returncode == 1 and "went on" not in refused.value.stdout
    assert f"{folder}: another run is at work there (first.sh, pid {first.pid} on " in refused.value.stderr
    first.communicate("\n")
    assert first.returncode == 0 and (folder / ".lock").read_text() == ""
    assert in_recipe(hold + "echo went on") == ["went", "on"]


def test_what_a_killed_run_has_started_is_waited_for(tmp_path):
    hold = HELD.format(lock=tmp_path / ".lock", folder=tmp_path)
    prelude = f"stage=0 stop_stage=5 caller_dir=$PWD; set -euo pipefail; . {ROOT}/utils/stages.sh; "
    first = subprocess.Popen(
        ["bash", "-c", prelude + hold + "sleep 60 & echo $!; wait", "first.sh"], stdout=subprocess.PIPE, text=True
    )
    job = int(first.stdout.readline())
    first.kill()
    first.wait()
    with pytest.raises(subprocess.CalledProcessError) as refused:
        in_recipe(hold)
    assert f"what a run that was killed (first.sh, pid {first.pid}) has started" in refused.value.stderr
    assert f"still at work there (pid {job})" in refused.value.stderr
    os.kill(job, signal.SIGKILL)
    assert in_recipe(hold.replace(" 0; ", " 20; ") + "echo went on") == ["went", "on"]


def test_a_run_holds_a_lock_once(tmp_path):
    hold = HELD.format(lock=tmp_path / ".lock", folder=tmp_path)
    assert in_recipe(hold + hold.partition("; ")[2] + "echo went on") == ["went", "on"]


def test_another_user_s_run_is_no_killed_one(tmp_path):
    """Its lock may be read only here, and its process may not be signalled."""
    other, without_rights = None, []
    if os.geteuid() == 0:
        other = subprocess.Popen(["setpriv", "--reuid", "65534", "--clear-groups", "sleep", "60"])
        without_rights = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    pid = other.pid if other else 1
    lock = tmp_path / ".lock"
    lock.write_text(f"run.sh, pid {pid} on {os.uname().nodename}, since yesterday\n")
    lock.chmod(0o444)
    prelude = f"stage=0 stop_stage=5 caller_dir=$PWD; set -euo pipefail; . {ROOT}/utils/stages.sh; "
    command = [*without_rights, "bash", "-c", prelude + HELD.format(lock=lock, folder=tmp_path) + "echo went on"]
    try:
        with lock.open() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1 and f"another run is at work there (run.sh, pid {pid} on " in done.stderr, done
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.stdout == "went on\n" and done.returncode == 0, done
    finally:
        if other:
            other.kill()
            other.wait()
