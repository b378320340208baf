"""The processes that train one network together: which one this is, and what they tell each other.

A program that was started by itself is the only process, and nothing here does anything then. Started by torchrun, as
steps/distribute.py does, it joins the others. All processes do the same steps at the same time, each on its share of
every batch; what they add up (losses, batch statistics, gradients) makes each of them hold the numbers that one process
alone would have. The first process alone writes.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from utils.cli import UserError, system_error_text, warn
from utils.files import write_json

ERRORS_FOLDER = "FSD_PROCESS_ERRORS"  # environment variable: where a process leaves what it died of for the launcher
_PATIENCE = timedelta(minutes=60)  # for another process; one that died is noticed at once
T = TypeVar("T")

_batch: int | None = None  # utterances of the batch in work, over all processes


# -- who is here -------------------------------------------------------------------------------------------------------


def launched() -> bool:
    """Was this program started by torchrun?"""
    return "TORCHELASTIC_RUN_ID" in os.environ


def join(ngpu: int) -> torch.device:
    """Meet the other processes; the device that is this one's. Raises UserError where a GPU is asked for that is not
    there.

    From then on all but the first process say nothing.
    """
    local = int(os.environ["LOCAL_RANK"])
    _end_with_parent()
    device = torch.device("cpu")
    if ngpu:
        if torch.cuda.device_count() <= local:
            raise UserError(
                f"--ngpu {ngpu}: torch finds {torch.cuda.device_count()} CUDA GPU(s) on {os.uname().nodename}, one is "
                "needed for each process; ask for fewer, or for none (--ngpu 0 --nproc N)"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    if int(os.environ["RANK"]):
        sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if int(os.environ["WORLD_SIZE"]) > 1:
        dist.init_process_group("cpu:gloo,cuda:nccl" if ngpu else "gloo", timeout=_PATIENCE)
    restart = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
    if restart:
        warn(f"a process ended before its time; restart {restart} of {os.environ['TORCHELASTIC_MAX_RESTARTS']}")
    return device


def leave() -> None:
    if world() > 1:
        dist.destroy_process_group()


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Is this the process that writes?"""
    return rank() == 0


def _end_with_parent() -> None:
    """Were the launcher killed, its processes would go on, and write beside those of the next start."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


# -- what they tell each other -----------------------------------------------------------------------------------------


class _Sum(torch.autograd.Function):
    """Forward and backward the sum over the processes: its gradient is that of the sum of all processes' totals."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        value = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


def add_up(value: Tensor) -> Tensor:
    """The sum over all processes, in each of them alike; gradients pass. All processes have to call it."""
    return value if world() == 1 else _Sum.apply(value)


def from_first(make: Callable[[], T]) -> T:
    """What `make`, called in the first process alone, returns there: a plain value."""
    if world() == 1:
        return make()
    told: list[Any] = [make() if is_first() else None]
    dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
    return told[0]


@torch.no_grad()
def spread(tensors: Iterable[Tensor]) -> None:
    """Give these tensors the first process's values."""
    if world() > 1:
        for tensor in tensors:
            same = tensor.contiguous()  # what broadcast takes; the tensor itself where it is so already
            dist.broadcast(same, src=0)
            if same is not tensor:
                tensor.copy_(same)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give the parameters the gradient of the mean of all processes' totals, which are the same number.

    By hand instead of DistributedDataParallel: that wraps forward(), while the loop calls a method's losses(); it wants
    to know which parameters take part, which changes from epoch to epoch; and here gradients are bit for bit the same
    in all processes by one all-reduce of one flat tensor. What it would do better is to begin before the backward pass
    ends.
    """
    if world() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= world()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(part.view(gradient.shape))


# -- shares of a batch -------------------------------------------------------------------------------------------------


def share(total: int) -> slice:
    """Which of `total` things in a row are this process's; none where there are fewer than processes."""
    return slice(total * rank() // world(), total * (rank() + 1) // world())


def begin_batch(total: int) -> slice:
    """Say that a batch of `total` utterances is in work, of which this process has its share."""
    global _batch
    _batch = total
    return share(total)


def place_in_batch(rows: int) -> tuple[int, slice]:
    """Utterances of the whole batch of which this process has `rows`, and which of them these are."""
    if world() == 1 or _batch is None:
        return rows, slice(0, rows)
    return _batch, share(_batch)


def whole_batch(rows: Tensor) -> Tensor:
    """The rows of all processes, in the batch's order; no gradient passes."""
    total, mine = place_in_batch(len(rows))
    if world() == 1:
        return rows
    whole = rows.new_zeros(total, *rows.shape[1:])
    whole[mine] = rows
    return add_up(whole)


def batch_mean(loss: Callable[[str], Tensor], weight: Callable[[], Tensor | float]) -> Tensor:
    """The mean of a loss over the whole batch, the same number in all processes.

    loss: yields the loss of this process's rows by the reduction that it is called with, `mean` or `sum`; of no rows,
    the sum is 0. weight: what the sum of these rows is divided by in a mean.
    """
    if world() == 1:
        return loss("mean")
    total = loss("sum")
    total, weights = add_up(torch.stack([total, torch.as_tensor(weight(), dtype=total.dtype, device=total.device)]))
    return total / weights


# -- errors ------------------------------------------------------------------------------------------------------------


def supervised(main: Callable[[], int]) -> Callable[[], int]:
    """`main` as a process of several runs it: what it raises is left to the launcher, which says it once for all.

    A UserError, or what the system refuses, would come again: the launcher is told to start nothing any more.
    Whatever its end, the process leaves without the interpreter's own last steps: after an error they would wait for
    processes that wait for this one; after success a thread of gloo that still lets go of a tensor would abort it.
    """
    if ERRORS_FOLDER not in os.environ:
        return main

    def run() -> int:
        try:
            status = main()
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        except Exception as error:
            told = system_error_text(error) if isinstance(error, OSError) else None
            if isinstance(error, UserError):
                told = str(error)
            rank, restart = int(os.environ["RANK"]), os.environ["TORCHELASTIC_RESTART_COUNT"]
            said: dict[str, Any] = {
                "user": told is not None,
                "status": error.status if isinstance(error, UserError) else 1,
                "message": told or _lost_another(error) or traceback.format_exc(),
                "time": time.time(),
                "rank": rank,
            }
            try:
                write_json(Path(os.environ[ERRORS_FOLDER], f"{restart}.{rank}.json"), said)
                sys.stdout.flush()
            except OSError:  # perhaps the very disk that is full
                print(said["message"], file=sys.__stderr__)
            if told is not None:
                os.kill(os.getppid(), signal.SIGUSR1)
            os._exit(said["status"])

    return run


def _lost_another(error: Exception) -> str:
    """What there is to say of an error that only means that another process has ended; nothing of others."""
    if isinstance(error, dist.DistNetworkError) or (isinstance(error, RuntimeError) and "/gloo/" in str(error)):
        return f"it lost another process: see what is said on the other machines ({str(error).splitlines()[0]})\n"
    return ""
