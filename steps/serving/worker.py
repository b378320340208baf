"""A process of its own that decodes and scores, so that no upload can take the server with it.

What a stranger's file does to a decoder happens there: its memory is limited, and where it crashes or takes too long it
is ended and another one begun.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from steps.serving.refused import Refused
from utils.cli import UserError, warn

_LOADING_SECONDS = 300
_ROOM = 3 << 30  # bytes that a recording may take beside the model; windows on one thread take a tenth of that


@dataclass(frozen=True)
class Settings:
    """detector: arguments of FakeSpeechDetector.load; max_seconds: of a recording; timeout: seconds for one."""

    detector: dict[str, Any]
    max_seconds: float
    timeout: float
    num_threads: int = 1


Answer = dict[str, Any] | list[dict[str, Any]]
Judge = Callable[[bytes, bool, int | str | None], Answer]


def load_detector(settings: Settings) -> tuple[dict[str, Any], Judge]:
    """What is told of the model, and what gives verdicts. Raises UserError."""
    import torch

    from steps.inference.detector import FakeSpeechDetector
    from steps.serving.verdicts import judge, model_of

    torch.set_num_threads(settings.num_threads)
    detector = FakeSpeechDetector.load(**settings.detector)
    return model_of(detector), lambda data, *asked: judge(detector, data, settings.max_seconds, *asked)


class Worker:
    """The process, from the outside. `judge` may be called from any thread, and answers one call after the other."""

    def __init__(self, settings: Settings, prepare: Callable[[Settings], tuple[dict[str, Any], Judge]] = load_detector):
        """Begins loading; `model` waits for its end. prepare: called in the process; a module's own function."""
        self._prepare = prepare
        self._settings = settings
        self.timeout = settings.timeout
        self._lock = threading.Lock()
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_run, args=(theirs, self._settings, self._prepare), name="scoring", daemon=True
        )
        self._process.start()
        theirs.close()
        self._told: dict[str, Any] | None = None

    def _end(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _ready(self) -> dict[str, Any]:
        """What verdicts.model_of says, once it is loaded. Raises UserError."""
        if self._told is None:
            try:
                if not self._pipe.poll(_LOADING_SECONDS):
                    raise UserError(f"the model was not loaded within {_LOADING_SECONDS} s")
                loaded, said = self._pipe.recv()
            except (EOFError, ConnectionError):
                raise UserError(
                    "the process that scores ended while it loaded the model; its messages say why"
                ) from None
            if not loaded:
                raise UserError(said)
            self._told = said
        return self._told

    def model(self) -> dict[str, Any]:
        with self._lock:
            return self._ready()

    def judge(self, data: bytes, pictures: bool, channels: int | str | None = None) -> Answer:
        """As verdicts.judge. Raises Refused, also where it takes too long (504) or fails (500)."""
        with self._lock:
            if self._closed:
                raise Refused(503, "The server is being stopped.")
            if not self._process.is_alive():
                warn("the process that scores had ended; it is started again")
                self._again()
            try:
                self._ready()
            except UserError as error:
                warn(str(error))
                self._again()
                raise Refused(500, "The model could not be loaded again; the server's messages say why.") from None
            deadline = time.monotonic() + self.timeout
            try:
                self._pipe.send((pictures, channels))
                self._pipe.send_bytes(data)
                if not self._pipe.poll(max(0.0, deadline - time.monotonic())):
                    self._again()
                    raise Refused(504, f"It could not be scored within {self.timeout:g} s, the time limit.")
                answer = self._pipe.recv()
            except (EOFError, ConnectionError):
                self._again()
                warn("the process that scores ended during an upload; it was started again")
                raise Refused(422, "This recording broke the decoder; it may be damaged.") from None
        if isinstance(answer, Refused):
            raise answer
        return answer

    def _again(self) -> None:
        self._end()
        if self._closed:
            raise Refused(503, "The server is being stopped.")
        self._begin()

    def close(self) -> None:
        """Ends the process, whatever it is at."""
        self._closed = True
        self._process.kill()
        self._process.join()


def _run(pipe: Connection, settings: Settings, prepare: Callable[[Settings], tuple[dict[str, Any], Judge]]) -> None:
    """The process, from the inside."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this
    try:
        about, judge = prepare(settings)
    except UserError as error:
        pipe.send((False, str(error)))
        return
    pipe.send((True, about))
    _limit_memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would have the upload in it
    while True:
        try:
            asked, data = pipe.recv(), pipe.recv_bytes()
        except EOFError:  # the server is no more
            return
        try:
            answer: Any = judge(data, *asked)
        except Refused as refused:
            answer = refused
        except MemoryError:
            answer = Refused(422, "It takes more memory to decode than there is for a recording.")
        except Exception:  # whatever it is, the next upload is to be scored
            traceback.print_exc()
            sys.stderr.flush()
            answer = Refused(
                500, "It could not be scored for a reason that is not its own; the server's messages have it."
            )
        pipe.send(answer)


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + _ROOM
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))
