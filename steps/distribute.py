#!/usr/bin/env python3
"""Start a training as several processes, by torchrun's machinery, on this machine or on each machine of a Slurm job.

Each process uses a GPU (--ngpu), or none (--nproc). With --max-restarts, all processes start again after one died, and
resume from the last checkpoint. An error ends all of them and is printed once.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.cli import MOST_THREADS, THREADS, UserError, make_parser, run_program, whole_number


def parse_arguments() -> argparse.Namespace:
    parser = make_parser(
        __doc__,
        "steps/distribute.py --ngpu 4 steps/train.py --ngpu 4 ...          # 4 processes here\n"
        "steps/distribute.py --nproc 2 --max-restarts 3 steps/train.py ... # 2 without a GPU, replaced when they die\n"
        "steps/distribute.py --nnodes 2 --rdzv node1:29400 --ngpu 4 steps/train.py --ngpu 4 ...   # on both machines",
    )
    parser.add_argument(
        "--ngpu",
        type=whole_number(0, MOST_THREADS),
        default=0,
        help="GPUs, and processes, on each machine; 0: without GPUs",
    )
    parser.add_argument("--nproc", type=THREADS, default=1, help="processes on each machine, if they use no GPU")
    parser.add_argument(
        "--nnodes", type=THREADS, default=1, help="machines; a Slurm job of this number of machines starts on each"
    )
    parser.add_argument(
        "--rdzv",
        metavar="HOST:PORT",
        help="where several machines meet: one of them, and a free port there; found automatically in a Slurm job",
    )
    parser.add_argument(
        "--max-restarts", type=whole_number(), default=0, help="how many times all start again after one has died"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="PROGRAM ...", help="train.py and its arguments")
    args = parser.parse_args()
    if not args.command:
        parser.error("a program to start is needed")
    return args


def start_by_srun(args: argparse.Namespace) -> None:
    """Become `srun` of this very program on every machine of the Slurm job, which meet on this one, the first.

    Raises UserError where there is no such job.
    """
    if "SLURM_JOB_ID" not in os.environ:
        raise UserError(
            f"--nnodes {args.nnodes}: not in a Slurm job; start the same command on each machine with --rdzv HOST:PORT"
        )
    found = os.environ.get("SLURM_JOB_NUM_NODES", "1")
    if int(found) != args.nnodes:
        raise UserError(
            f"--nnodes {args.nnodes}: this Slurm job has {found} machine(s); conf/slurm.conf needs the line "
            "'option nnodes=* --nodes $0 --ntasks-per-node 1'"
        )
    with socket.socket() as one:
        one.bind(("", 0))
        rdzv = f"{socket.gethostname()}:{one.getsockname()[1]}"
    srun = ["srun", f"--nodes={args.nnodes}", f"--ntasks={args.nnodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
    if "SLURM_CPUS_PER_TASK" in os.environ:
        srun.append(f"--cpus-per-task={os.environ['SLURM_CPUS_PER_TASK']}")
    options = [f"--{name}={getattr(args, name)}" for name in ("ngpu", "nproc", "nnodes")]
    options += [f"--max-restarts={args.max_restarts}", f"--rdzv={rdzv}"]
    sys.stdout.flush()
    os.execvp("srun", [*srun, sys.executable, os.path.realpath(__file__), *options, *args.command])


class Told(Exception):
    """A process has left word of an error that would come again, were it started again."""


def _end(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # of several processes that find the same error, the first is enough
    raise Told


def tell(program: str, folder: Path, failures: Mapping[int, Any], gone: str = "") -> int:
    """Say why the processes ended, and return the exit status. gone: that of another machine nothing is heard any more.

    One process's error makes those that wait for it fail too: what the user can fix comes first, then a process that
    was killed, then the earliest error.
    """
    said = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    for error in sorted(said, key=lambda error: error["time"]):
        if error["user"]:
            sys.stderr.write(f"{program}: error: {error['message']}\n")
            return error["status"]
    for rank, failure in sorted(failures.items()):
        if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:  # by which the others are ended
            why = "; was there too little memory?" if failure.exitcode == -signal.SIGKILL else ""
            sys.stderr.write(f"{program}: error: process {rank} was ended by {failure.signal_name()}{why}\n")
            return 1
    if gone:
        sys.stderr.write(f"{program}: error: {gone}\n")
    elif said:
        error = min(said, key=lambda error: error["time"])
        sys.stderr.write(f"{program}: error: process {error['rank']} failed:\n{error['message']}")
    else:
        ends = ", ".join(f"{rank}: status {failure.exitcode}" for rank, failure in sorted(failures.items()))
        sys.stderr.write(f"{program}: error: processes failed without a message ({ends})\n")
    return 1


def main() -> int:
    args = parse_arguments()
    if args.nnodes > 1 and args.rdzv is None:
        start_by_srun(args)
    program, *arguments = args.command
    path = program if Path(program).exists() else shutil.which(program)
    if path is None:
        raise UserError(f"{program}: no such program")

    several = args.nnodes > 1
    if several:  # the C++ stack of each connection that another machine's end breaks
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # here, because torch takes seconds to load
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from steps.training.distributed import ERRORS_FOLDER

    logging.getLogger("torch").setLevel(logging.CRITICAL)  # what torch says of failures is said here, and shorter
    processes = args.ngpu or args.nproc
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // processes)))
    # Else the processes of a restart meet in the store in which the dead ones' addresses stand, and may call those.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    signal.signal(signal.SIGUSR1, _end)
    with tempfile.TemporaryDirectory(prefix="fsd_distribute_") as folder:
        errors = Path(folder, "errors")
        errors.mkdir()
        os.environ[ERRORS_FOLDER] = str(errors)
        config = LaunchConfig(
            min_nodes=args.nnodes,
            max_nodes=args.nnodes,
            nproc_per_node=processes,
            run_id=os.environ.get("SLURM_JOB_ID", "training") if several else f"training{os.getpid()}",
            rdzv_backend="c10d",
            rdzv_endpoint=args.rdzv if several else "localhost:0",
            local_addr=None if several else "localhost",
            max_restarts=args.max_restarts,
            logs_specs=DefaultLogsSpecs(log_dir=str(Path(folder, "torch"))),
        )
        try:
            elastic_launch(config, sys.executable)("-u", path, *arguments)
        except ChildFailedError as error:
            return tell(Path(program).name, errors, error.failures)
        except Told:
            return tell(Path(program).name, errors, {})
        except RendezvousError as error:
            why = f"another machine is gone, or never came ({type(error).__name__}); see what was said there"
            return tell(Path(program).name, errors, {}, why)
        except SignalException as error:
            sys.stderr.write(f"{Path(program).name}: interrupted\n")
            return 128 + error.sigval
    return 0


if __name__ == "__main__":
    run_program(main)
