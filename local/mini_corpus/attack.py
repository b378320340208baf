"""What an attack is: one function, the values drawn for each utterance, and the Python packages that it needs."""

from __future__ import annotations

import ctypes
import inspect
import multiprocessing
import os
import signal
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

RATE = 16000  # Hz, of all speech here
_PATIENCE = 120  # seconds for one utterance


class Unusable(Exception):
    """This synthesizer made nothing usable of this utterance: it is left out, and told with the reason."""


@dataclass(frozen=True)
class Attack:
    """A copy attack: `function(speech, rng, **drawn)` -> speech, as long (float64, 16 kHz, shape (samples,)).
    A TTS attack: `function(texts, language, rng, **drawn)` -> for each text its speech (16 kHz, any level).

    `needs` are its groups of requirements-mini.txt, none for what the toolkit has anyway.
    """

    function: Callable
    speaks: bool
    needs: tuple[str, ...]

    def parameters(self) -> dict[str, inspect.Parameter]:
        """What the conf may set: the function's keyword-only parameters."""
        signature = inspect.signature(self.function, eval_str=True)
        return {p.name: p for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY}


REGISTERED: dict[str, Attack] = {}  # by the function's name; attacks.attacks_by_method has all of them


def copy_attack(*needs: str) -> Callable[[Callable], Callable]:
    """Registers an attack that changes a given utterance, and the groups of packages that it needs."""

    def register(function: Callable) -> Callable:
        REGISTERED[function.__name__] = Attack(function, speaks=False, needs=needs)
        return function

    return register


def tts_attack(*needs: str) -> Callable[[Callable], Callable]:
    """Registers an attack that speaks given texts, and the groups of packages that it needs."""

    def register(function: Callable) -> Callable:
        REGISTERED[function.__name__] = Attack(function, speaks=True, needs=needs)
        return function

    return register


@dataclass(frozen=True)
class Draw:
    """What one parameter of an attack may be: evenly between two numbers, or one of several values."""

    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    choices: tuple[Any, ...] = ()

    def __call__(self, rng: np.random.Generator) -> Any:
        if self.choices:
            return self.choices[int(rng.integers(len(self.choices)))]
        if self.whole:
            return int(rng.integers(int(self.low), int(self.high) + 1))
        # few digits, so that the manifest tells the very value that was used
        return round(float(rng.uniform(self.low, self.high)), 4)


def draw_of(value: Any, wanted: Any, key: str) -> Draw:
    """A conf's value as a Draw: `[low, high]` for a numeric parameter, a list of choices for text, or one value. A
    parameter that is a Literal of whole numbers takes those only. Raises ValueError that begins with `key`."""
    if typing.get_origin(wanted) is typing.Literal:
        allowed = typing.get_args(wanted)
        draw = draw_of(value, int, key)
        if not set(range(int(draw.low), int(draw.high) + 1)) <= set(allowed):
            raise ValueError(f"{key}: {value!r}: one of {', '.join(map(str, allowed))} is expected")
        return draw
    if wanted in (int, float):
        ends = value if isinstance(value, list) else [value, value]
        kinds = (int,) if wanted is int else (int, float)
        if len(ends) != 2 or not all(isinstance(e, kinds) and not isinstance(e, bool) for e in ends):
            kind = "whole number" if wanted is int else "number"
            raise ValueError(f"{key}: {value!r} is neither a {kind} nor a range [low, high] of them")
        if ends[0] > ends[1]:
            raise ValueError(f"{key}: the range {value!r} runs downwards")
        return Draw(low=ends[0], high=ends[1], whole=wanted is int)
    choices = value if isinstance(value, list) else [value]
    if wanted is str and choices and all(isinstance(c, str) for c in choices):
        return Draw(choices=tuple(choices))
    raise ValueError(f"{key}: {value!r} is neither a text nor a list of them")


def die_with_parent(parent: int) -> None:
    """Let the kernel end this process when the process `parent`, which started it, ends: a killed build leaves no
    workers behind."""
    set_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2), Linux
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended before
        os._exit(1)


def _sendable(error: Exception) -> Exception:
    """The error, or its text where its class is a package's, which the parent may not have."""
    home = type(error).__module__.partition(".")[0]
    return error if home in ("builtins", "local", "utils") else RuntimeError(repr(error))


def _child(pipe: Any, parent: int, function: Callable, arguments: tuple) -> None:
    die_with_parent(parent)
    try:
        pipe.send((function(*arguments), None))
    except Exception as error:  # handed to the parent, which raises it there
        pipe.send((None, _sendable(error)))


def in_fresh_process(function: Callable, *arguments: Any) -> Any:
    """`function(*arguments)` in a child process of its own.

    For libraries that keep state from one call to the next (random numbers, filter memories): what an utterance sounds
    like must not depend on which others the same worker made before. A crash becomes Unusable.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, os.getpid(), function, arguments))
    child.start()
    sender.close()
    try:
        if not receiver.poll(_PATIENCE):
            raise Unusable(f"the synthesizer did not answer within {_PATIENCE} s")
        result, error = receiver.recv()
    except EOFError:
        child.join()
        raise Unusable(f"the synthesizer ended with status {child.exitcode}") from None
    finally:
        receiver.close()
        child.kill()  # it has answered, has ended, or will not
        child.join()
    if error is not None:
        raise error
    return result
