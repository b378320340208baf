"""Uploads on their way in: how many at once, how large, how long they may take. They stay in memory, never on a
disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from steps.serving.refused import Refused

MIB = 1 << 20
_UPLOADS_IN_MEMORY = 8  # of the largest size; more small ones


@dataclass(frozen=True)
class Limits:
    """max_mib: of an upload; max_seconds: of a recording; timeout: seconds for an upload to arrive, and for its
    scoring; max_waiting: uploads at once."""

    max_mib: float = 64.0
    max_seconds: float = 1800.0
    timeout: float = 120.0
    max_waiting: int = 64

    @property
    def max_bytes(self) -> int:
        return int(self.max_mib * MIB)

    @property
    def memory(self) -> int:
        """Bytes that all uploads together may take."""
        return _UPLOADS_IN_MEMORY * self.max_bytes


class Intake:
    """Of a server: what is on its way or waits. For one event loop."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._uploads = 0
        self._bytes = 0

    @contextlib.contextmanager
    def place(self) -> Iterator[bytearray]:
        """Room for one upload, given back with what it held. Raises Refused where there are too many."""
        if self._uploads >= self._limits.max_waiting:
            raise Refused(503, f"{self._uploads} uploads wait already, as many as may; try again in a little while.")
        self._uploads += 1
        held = bytearray()
        try:
            yield held
        finally:
            self._uploads -= 1
            self._bytes -= len(held)

    async def receive(self, held: bytearray, length: int | None, waits: bool, chunks: AsyncIterator[bytes]) -> None:
        """Fill `held`. length: bytes to come, if the request says; waits: whether the sender waits for our word
        before it sends (Expect: 100-continue).

        What is too large is let go as it comes, up to the time limit: most senders read the answer only when all is
        sent. Raises Refused.
        """
        refused = self._refusal(length or 0, held)
        if refused is not None and waits:
            raise refused
        try:
            async with asyncio.timeout(self._limits.timeout):
                async for chunk in chunks:
                    if refused is None:
                        refused = self._refusal(len(held) + len(chunk), held)
                    if refused is None:
                        held += chunk
                        self._bytes += len(chunk)
                    else:
                        self._bytes -= len(held)
                        held.clear()
        except TimeoutError:
            raise refused or Refused(
                408, f"The upload did not arrive within {self._limits.timeout:g} s, the time limit."
            ) from None
        if refused is not None:
            raise refused

    def _refusal(self, size: int, held: bytearray) -> Refused | None:
        """Why an upload of that size cannot be taken."""
        if size > self._limits.max_bytes:
            return Refused(413, f"It is larger than {self._limits.max_mib:g} MiB, the most that is taken.")
        if self._bytes - len(held) + size > self._limits.memory:
            return Refused(
                503, "Other uploads take all the memory that is meant for them; try again in a little while."
            )
        return None
