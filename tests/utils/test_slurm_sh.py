"""utils/slurm.sh: against a real Slurm (tests/slurm.sh), and where that would take too long, programs that play one."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def said(log: Path) -> list[str]:
    """What a command wrote to its log, the frame around it checked and taken off."""
    lines = log.read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("# Started at "))
    assert lines[0].startswith("# ") and lines[start + 1] == "#"
    assert re.fullmatch(r"# Accounting: time=\d+ threads=\d+", lines[-2])
    assert re.fullmatch(r"# Ended \(code \d+\) at .+, elapsed time \d+ seconds", lines[-1])
    return lines[start + 2 : -2]


def wait_for(condition, seconds: float = 30):
    """The first true value of `condition()`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")


# --- A real Slurm.


@pytest.fixture(scope="module")
def cluster():
    """The environment in which Slurm's programs find the tests' own cluster."""
    holder = subprocess.Popen(
        [ROOT / "tests/slurm.sh", "bash", "-c", 'echo "$SLURM_CONF"; cat'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    conf = holder.stdout.readline().strip()
    if not conf:
        _, errors = holder.communicate()
        assert holder.returncode == 77, errors
        pytest.skip(errors.strip().splitlines()[-1])
    yield {**os.environ, "SLURM_CONF": conf}
    holder.communicate()


@pytest.fixture
def start(cluster, tmp_path):
    """Start slurm.sh in tmp_path."""
    started = []

    def call(*args: str, cwd: Path = tmp_path, env: dict | None = None) -> subprocess.Popen:
        process = subprocess.Popen(
            [ROOT / "utils/slurm.sh", *args],
            cwd=cwd,
            env={**cluster, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=30)


@pytest.fixture
def run(start):
    def call(*args: str, **kwargs) -> subprocess.CompletedProcess:
        process = start(*args, **kwargs)
        out, err = process.communicate(timeout=90)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    return call


@pytest.fixture
def slurm(cluster):
    def call(*args: str) -> str:
        return subprocess.run(args, env=cluster, capture_output=True, text=True, check=True).stdout

    return call


def test_a_job_array(run, tmp_path):
    done = run("--mem", "100M", "JOB=2:4", "log/deep.JOB/x.JOB.log", "echo", "JOB", "aJOBb", "two JOB words")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    log = tmp_path / "log/deep.3/x.3.log"
    assert said(log) == ["3 a3b two 3 words"]
    assert re.match(r'# echo 3 a3b "two 3 words" \n# Running on fsd1 as job \d+_3 of Slurm\n', log.read_text())
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["deep.2", "deep.3", "deep.4"]


def test_as_by_run_sh(run, tmp_path):
    """The command line, a folder with odd characters, the environment."""
    folder = tmp_path / 'it\'s "a" $(touch run) \\ 50%a; `touch run` & #JOB é'
    folder.mkdir()
    (folder / "show").write_text('echo "$PWD $FRUIT"; printf "<%s>\\n" "$@"; cat\n')
    environment = {"FRUIT": "pear\n$(touch run)", "TMPDIR": "/not/on/the/node", "SBATCH_EXPORT": "NONE"}
    words = [
        "two  spaces",
        "tab\there",
        "",
        "line\nbreak",
        'say "hi"',
        "it's here",
        'both "it\'s"',
        "a * b",
        "100%a \\\\ %j",
    ]
    words += [
        "\\$HOME",
        "a \\$HOME b",
        "$FRUIT",
        "a $LC_ALL b",
        "--x=y,z",
        "a=b:c",
        "x#SBATCH",
        "a $(echo 1)",
        "& amp JOB",
    ]
    call = [
        "JOB=1:1",
        "l %a/$(touch run)JOB.log",
        "bash",
        "show",
        *words,
        "|",
        "tr",
        "p",
        "q",
        "&&",
        "echo",
        "JOB; end",
    ]
    assert run(*call, cwd=folder, env=environment).returncode == 0
    by_slurm = said(folder / "l %a/$(touch run)1.log")
    here = {**os.environ, **environment, "TMPDIR": str(tmp_path)}
    subprocess.run([ROOT / "utils/run.sh", *call], cwd=folder, env=here, check=True)
    assert by_slurm == said(folder / "l %a/$(touch run)1.log") and "<$HOME>" in by_slurm and "1; end" in by_slurm
    assert not list(tmp_path.rglob("run"))
    assert len(list((folder / "l %a").iterdir())) == 1


def test_processes_on_two_machines_find_each_other(start, tmp_path):
    """--nnodes of conf/slurm.conf, srun by distribute.py, and one meeting of all."""
    (tmp_path / "note.py").write_text(
        "import os, pathlib\n"
        "told = ('SLURMD_NODENAME', 'WORLD_SIZE', 'MASTER_PORT', 'TORCHELASTIC_MAX_RESTARTS')\n"
        "pathlib.Path('rank' + os.environ['RANK']).write_text(' '.join(os.environ[name] for name in told))\n"
    )
    distribute = [sys.executable, str(ROOT / "steps/distribute.py"), "--nnodes", "2", "--max-restarts", "1"]
    job = start("--nnodes", "2", "-p", "both", "x.log", *distribute, "note.py")
    assert job.wait(timeout=300) == 0, job.communicate()[1]
    nodes, *rest = zip(*((tmp_path / f"rank{rank}").read_text().split() for rank in range(2)))
    assert sorted(nodes) == ["fsd1", "fsd2"]
    assert [set(one) for one in rest] == [{"2"}, {rest[1][0]}, {"1"}] and not (tmp_path / "rank2").exists()


def test_failed_tasks_alone_are_tried_again(run, tmp_path):
    (tmp_path / "job").write_text("echo $1 >>begun; [ $1 != 2 ] || [ $(grep -c 2 begun) -eq 3 ]")
    done = run("--max-retries", "2", "JOB=1:3", "l/x.JOB.log", "bash", "job", "JOB")
    assert done.returncode == 0
    assert sorted((tmp_path / "begun").read_text().split()) == ["1", "2", "2", "2", "3"]
    assert "FAILED (ended with a code other than 0): l/x.2.log" in done.stderr and "retry 2 of 2" in done.stderr
    assert sorted(path.name for path in (tmp_path / "l").glob("*2*")) == ["x.2.log", "x.2.log.1", "x.2.log.2"]
    assert "(code 1)" in (tmp_path / "l/x.2.log.2").read_text() and "(code 0)" in (tmp_path / "l/x.2.log").read_text()


def test_a_task_that_always_fails(run, tmp_path):
    (tmp_path / "l").mkdir()
    (tmp_path / "l/x.2.log").write_text("of a former run\n")
    done = run("--max-retries", "1", "JOB=1:4", "l/x.JOB.log", "echo", "this is JOB;", "&&", "eval", "[ JOB != 2 ]")
    assert done.returncode == 1 and "1 of 4 job(s) failed: l/x.2.log" in done.stderr
    assert "this is 2" in done.stderr and "this is 4" not in done.stderr and "# Ended (code 1)" in done.stderr
    assert "former" not in done.stderr and said(tmp_path / "l/x.3.log") == ["this is 3;"]


def processes_of(array: str, task: int) -> list[int]:
    """Those of a task of a job array, and Slurm's own that started it."""
    marks = [f"SLURM_ARRAY_JOB_ID={array}\0".encode(), f"SLURM_ARRAY_TASK_ID={task}\0".encode()]
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environ = (folder / "environ").read_bytes()
            if all(mark in environ for mark in marks):
                found.add(int(folder.name))
                parent = re.search(r"PPid:\s*(\d+)", (folder / "status").read_text())[1]
                if Path("/proc", parent, "comm").read_text().startswith("slurmstepd"):
                    found.add(int(parent))
    return sorted(found)


def test_time_limit_lost_node_and_scancel_are_told_apart(start, slurm, cluster, tmp_path):
    """At one go, as Slurm takes its time for each."""
    (tmp_path / "job").write_text("echo $$ >new.$1; mv new.$1 $1; [ ${1%.*} = 1 ] || exec sleep 100")

    def begin(name: str, *options: str) -> subprocess.Popen:
        return start(*options, "JOB=1:2", f"{name}.JOB.log", "bash", "job", f"JOB.{name}")

    late = begin("late", "--time", "1", "--max-retries", "1")
    lost = begin("lost", "-p", "both", "--max-retries", "1")
    unwanted = begin("unwanted", "--max-retries", "1")
    wait_for(lambda: all((tmp_path / f"2.{name}").exists() for name in ("late", "lost", "unwanted")))

    def array(name: str) -> str:
        return re.search(r"as job (\d+)_2 ", (tmp_path / f"{name}.2.log").read_text())[1]

    slurm("scontrol", "update", f"JobId={array('late')}_2", "EndTime=now")  # the least limit is a whole minute
    slurm("scancel", f"{array('unwanted')}_2")
    # The node of the second task loses its power: Slurm's daemon, its helper for the job, and the job.
    assert "Running on fsd2" in (tmp_path / "lost.2.log").read_text()
    daemon = int((Path(cluster["SLURM_CONF"]).parent / "fsd2.pid").read_text())
    for pid in [daemon, *processes_of(array("lost"), 2)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    (tmp_path / "2.lost").unlink()

    _, errors = unwanted.communicate(timeout=60)
    assert unwanted.returncode == 1 and "CANCELLED (cancelled from outside): unwanted.2.log" in errors
    _, errors = late.communicate(timeout=60)
    assert late.returncode == 1 and "TIMEOUT (ran into the time limit, which --time sets): late.2.log" in errors
    assert "1 of 2 job(s) failed" in errors and "DUE TO TIME LIMIT" in errors and "again" not in errors
    assert "# Ended (code 143)" in (tmp_path / "late.2.log").read_text()
    wait_for((tmp_path / "2.lost").exists, 60)  # on the other node
    assert "Running on fsd1" in (tmp_path / "lost.2.log").read_text()
    os.kill(int((tmp_path / "2.lost").read_text()), signal.SIGTERM)
    _, errors = lost.communicate(timeout=60)
    assert lost.returncode == 1 and "NODE_FAIL (lost the node): lost.2.log" in errors
    assert "FAILED (ended with a code other than 0): lost.2.log" in errors and "lost.1.log" not in errors
    assert "Running on fsd2" in (tmp_path / "lost.2.log.1").read_text()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_the_jobs(start, slurm, tmp_path, number, status):
    process = start("--max-jobs-run", "1", "JOB=1:5", "x.JOB.log", "touch", "begun", "&&", "sleep", "100")
    wait_for((tmp_path / "begun").exists)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == status and "interrupted; cancelling 5 job(s)" in errors
    assert slurm("squeue", "--noheader") == ""
    assert "# Ended (code 143)" in (tmp_path / "x.1.log").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["begun", "x.1.log"]


def test_what_slurm_refuses(run, slurm, tmp_path):
    done = run("-p", "none", "JOB=1:2", "x.JOB.log", "true")
    assert done.returncode == 1 and "sbatch did not take the job" in done.stderr and "invalid partition" in done.stderr
    done = run("JOB=1:2000", "x.JOB.log", "true")
    assert done.returncode == 1 and re.search(r"MaxArraySize *= 1001", done.stderr)
    assert slurm("squeue", "--noheader") == "" and not list(tmp_path.iterdir())


# --- Programs that play Slurm.


@pytest.fixture
def play(tmp_path):
    """Call slurm.sh with an sbatch, squeue, sacct and scancel of these texts; what each was called with in
    NAME.calls."""
    programs = tmp_path / "programs"
    work = tmp_path / "work"
    work.mkdir()

    def call(*args: str, **texts: str) -> subprocess.CompletedProcess:
        shutil.rmtree(programs, ignore_errors=True)
        programs.mkdir()
        for name in ("sbatch", "squeue", "sacct", "scancel"):
            (programs / name).write_text(
                f"#!/bin/bash\nprintf '%s\\n' \"$@\" >>{programs}/{name}.calls\n{texts.get(name, 'exit 1')}\n"
            )
            (programs / name).chmod(0o755)
        env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "FSD_SLURM_PATIENCE": "0"}
        return subprocess.run(
            [ROOT / "utils/slurm.sh", *args], cwd=work, env=env, capture_output=True, text=True, start_new_session=True
        )

    call.calls = lambda name: (programs / f"{name}.calls").read_text().splitlines()
    call.work = work
    return call


OWN_CONF = """
# a lab's own
command sbatch --account "speech lab"   # the account
default queue-name=short
option queue_name=* --partition $0
option queue_name=long --partition long --time 2-0
option mem=* --mem='$0' --comment="for $0"
option gpu=* --gres=gpu:$0
default gpu=0
option gpu=0
"""


@pytest.mark.parametrize(
    ("conf", "args", "expected", "array"),
    [
        ("", [], set(), "1"),
        ("", ["--mem", "2G", "JOB=1:3", "--max-jobs-run", "2"], {"--mem-per-cpu 2G"}, "1-3%2"),
        ("", ["--mem", "0", "--time", "1-2:00", "JOB=7"], {"--time 1-2:00"}, "7"),
        ("", ["--gpu", "2", "--num-threads", "4"], {"--gres=gpu:2", "--cpus-per-task 4"}, "1"),
        ("", ["-pe", "smp", "4", "-sync", "y", "-V", "-tc", "2", "-p", "big"], {"--cpus-per-task 4", "-p big"}, "1%2"),
        ("", ["--mem", "a & $(touch x)", "--max-retries", "1"], {"--mem-per-cpu a & $(touch x)", "--no-requeue"}, "1"),
        ("command sbatch\ndefault max_jobs_run=9\noption x=* $0$0\n", ["--x", "a&", "JOB=1:9"], {"a&a&"}, "1-9%9"),
        (OWN_CONF, [], {"--account speech lab", "--partition short"}, "1"),
        (OWN_CONF, ["--queue-name", "long"], {"--account speech lab", "--partition long --time 2-0"}, "1"),
        (OWN_CONF, ["--mem", "1G"], {"--partition short", "--mem=1G --comment=for 1G"}, "1"),
    ],
)
def test_options_become_those_of_sbatch(play, conf, args, expected, array):
    if conf:
        (play.work / "conf").mkdir()
        (play.work / "conf/slurm.conf").write_text(conf)
    done = play(*args, "x.JOB.log", "true", sbatch="echo refused >&2; exit 1")
    assert done.returncode == 1 and "| refused" in done.stderr
    calls = play.calls("sbatch")
    given = " ".join(calls[: calls.index("--parsable")])
    for words in expected:
        assert words in given
    assert len(given) == len(" ".join(expected | ({"--account speech lab"} if conf == OWN_CONF else set())))
    assert f"--array={array}" in calls and "--export=ALL" in calls and not (play.work / "x").exists()


@pytest.mark.parametrize(
    ("conf", "args", "message"),
    [
        ("", [], "Usage:"),
        ("", ["JOB=1:3", "x.log", "true"], "put JOB into the log's name"),
        ("", ["--mem-limit", "2G", "x.log", "true"], "no line of conf/slurm.conf is for it"),
        ("", ["--max-retries", "many", "x.log", "true"], "--max-retries takes a whole number"),
        ("", ["--config", "none.conf", "x.log", "true"], "--config none.conf: no such file"),
        ("command sbatch\noptoin x=1\n", ["x.log", "true"], "line 2: command, option or default is expected"),
        ("command sbatch\noption x\n", ["x.log", "true"], "line 2: 'option NAME=VALUE' is expected"),
        ("command sbatch 'x\n", ["x.log", "true"], "unmatched quotes"),
        ("option x=1\n", ["x.log", "true"], "no line 'command sbatch'"),
        ("command sbatch -M other\n", ["x.log", "true"], "jobs of another cluster cannot be watched"),
        ("command no_such_sbatch\n", ["x.log", "true"], "no no_such_sbatch on this machine"),
    ],
)
def test_wrong_calls(play, conf, args, message):
    (play.work / "conf").mkdir()
    (play.work / "conf/slurm.conf").write_text(conf or "command sbatch\n")
    done = play(*args, sbatch="echo called")
    assert done.returncode == 1 and message in done.stderr
    assert [path.name for path in play.work.iterdir()] == ["conf"]


def test_what_the_controller_and_the_accounts_tell(play):
    """Silence, a queue without end, a task queued again by Slurm, every way to end, and a second round for some."""
    answers = [
        "echo Unable to contact slurm controller >&2; exit 1",
        "echo '1|RUNNING|None'; echo '2|PENDING|PartitionTimeLimit'; echo '3|RUNNING|None'; echo '4|RUNNING|None'",
        (
            "echo '1|PENDING|BeginTime'; echo '2|PENDING|PartitionTimeLimit'; echo '3|COMPLETING|None'; echo"
            " '4|RUNNING|None'"
        ),
        "echo '1|COMPLETED|None'; echo '2|OUT_OF_MEMORY|OutOfMemory'; echo '3|PREEMPTED|None'",
        "echo '3|COMPLETED|None'",
    ]
    squeue = 'n=$(grep -c noheader "$0.calls")\ncase $n in\n'
    squeue += "\n".join(f"{n}) {answer} ;;" for n, answer in enumerate(answers, 1))
    squeue += "\n*) echo slurm_load_jobs error: Invalid job id specified >&2; exit 1 ;;\nesac"
    accounts = "echo '7_4|CANCELLED by 1000'; echo '7_3|NODE_FAIL'; echo '70_5|COMPLETED'"
    done = play(*["--max-retries", "1", "JOB=1:5", "x.JOB.log", "true"], sbatch="echo 7", squeue=squeue, sacct=accounts)
    assert done.returncode == 1
    assert [word for word in play.calls("sbatch") if word.startswith("--array")] == ["--array=1-5", "--array=3,5"]
    lines = [line.removeprefix("slurm.sh: ") for line in done.stderr.splitlines()]
    assert lines == [
        "Slurm's controller does not answer; still waiting for the jobs: Unable to contact slurm controller",
        "Slurm has queued 7_1 again: the node was lost, or the place was taken",
        "1 job(s) of array 7 wait: PartitionTimeLimit",
        "PREEMPTED (had to make room for other jobs): x.3.log",
        "UNKNOWN (Slurm no longer knows of it, and it left no word: do the nodes share this file system?): x.5.log",
        "submitting 2 job(s) again, retry 1 of 1; their logs so far are kept as <log>.1",
        "3 of 5 job(s) failed: x.2.log x.4.log x.5.log",
        "CANCELLED (cancelled from outside): x.4.log",
        "OUT_OF_MEMORY (took more memory than asked for by --mem): x.2.log",
        "UNKNOWN (Slurm no longer knows of it, and it left no word: do the nodes share this file system?): x.5.log",
        "x.2.log was not written",
    ]


def test_ctrl_c_while_sbatch_works(play):
    """To the whole group, as a terminal sends it; sbatch has submitted already, and tells so later."""
    sbatch = "kill -INT 0; sleep 0.5; echo 7"
    done = play("JOB=1:2", "x.JOB.log", "true", sbatch=sbatch, scancel="exit 0", squeue="exit 0")
    assert done.returncode == 130 and play.calls("scancel") == ["--quiet", "7"]
