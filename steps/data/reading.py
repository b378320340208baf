"""The order in which training goes through features that do not fit into memory: by shards, mixed in a buffer.

Read in a random order, each utterance is a seek of its own: on a network disk, or on one that turns, that is all that
such a training does. Here arks are read by shards, contiguous stretches of them. Each epoch shuffles the shards and
reads one after the other into a buffer; batches are drawn from the buffer at random, and what is drawn makes room for
what is read next. What a batch holds depends on the seed, the epoch, the sizes of shards and buffer and where the arks
hold what: not on the number of processes that read or train, and a resumed training repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

How = Literal["auto", "memory", "random", "shards"]
Balance = Literal["none", "class", "corpus"]


@dataclass(frozen=True)
class Reading:
    """How a training set is read: conf/train/baseline.yaml says what `how` and `balance` mean; shard and buffer are in
    MiB."""

    how: How = "auto"
    shard_mib: int = 16
    buffer_mib: int = 1024
    balance: Balance = "none"

    def __post_init__(self) -> None:
        for key in ("shard_mib", "buffer_mib"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}: {getattr(self, key)} is not positive")
        if self.how == "shards" and self.balance != "none":
            raise ValueError("reading: shards: batches from shards cannot be balanced; use random, or balance: none")


@dataclass(frozen=True)
class Shards:
    """Utterances as they lie in arks. stored: (n,) their indices in that order; begins: where in `stored` each shard
    begins, and at last n."""

    stored: NDArray[np.int64]
    begins: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.begins) - 1

    def plan(self, batch_size: int, buffer: int, seed: tuple[int, ...]) -> ShardPlan:
        """The batches of an epoch, drawn from a buffer of so many utterances by `seed`.

        A last batch of one utterance is left out, as batch normalisation cannot use it.
        """
        draw = np.random.default_rng((*seed, 0))
        shuffled = draw.permutation(len(self))
        lengths = np.diff(self.begins)[shuffled]
        ends = np.cumsum(lengths)
        stream = self.stored[np.repeat(self.begins[shuffled] - (ends - lengths), lengths) + np.arange(len(self.stored))]
        sizes = np.full(-(-len(stream) // batch_size), batch_size)
        sizes[-1] -= sizes.sum() - len(stream)
        if sizes[-1] < 2 and len(sizes) > 1:
            sizes = sizes[:-1]
        last = int(sizes.sum())
        return ShardPlan(stream[:last], np.append(ends[ends < last], last), sizes, buffer, (*seed, 1))


@dataclass(frozen=True)
class ShardPlan:
    """The batches of an epoch, each an array of utterances' indices, and how a reader comes by them.

    stream: (n,) utterances in the order in which they are read; ends: where in it each shard ends; sizes: of the
    batches; buffer: utterances that are held at once.
    """

    stream: NDArray[np.int64]
    ends: NDArray[np.int64]
    sizes: NDArray[np.int64]
    buffer: int
    seed: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def held(self) -> int:
        """Places in the buffer: those asked for, but no fewer than a batch has and no more than there are
        utterances."""
        return min(max(self.buffer, int(self.sizes.max())), len(self.stream))

    def draws(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """For each batch the places of the buffer that it is taken from, and those of them that the stream's next
        utterances take. The buffer is full at first."""
        draw, live = np.random.default_rng(self.seed), np.arange(self.held)
        unread = len(self.stream) - self.held
        for size in self.sizes.tolist():
            chosen = draw.choice(len(live), size, replace=False)
            taken, refilled = live[chosen], min(size, unread)
            unread -= refilled
            if refilled < size:
                live = np.delete(live, chosen[refilled:])
            yield taken, taken[:refilled]

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        buffer, read = self.stream[: self.held].copy(), self.held
        for taken, refilled in self.draws():
            yield buffer[taken]
            buffer[refilled] = self.stream[read : read + len(refilled)]
            read += len(refilled)


class SharedPlan:
    """What one process reads of a plan: of each batch of n utterances those in share(n), and no others.

    own: (n of the stream,) which utterances are ever this process's; held: how many of them wait at once, at most.
    Each process goes through all the shards, in which the others' utterances are left out: so the batches are those of
    one process.
    """

    def __init__(self, plan: ShardPlan, share: Callable[[int], slice]):
        self._plan, self._share = plan, share
        self.own = np.zeros(len(plan.stream), bool)
        place_holds, read, taken_before = np.arange(plan.held), plan.held, []
        reads, used = [], 0
        for taken, refilled in plan.draws():
            mine = place_holds[taken[share(len(taken))]]
            self.own[mine] = True
            reads.append(read)
            taken_before.append(used)
            used += len(mine)
            place_holds[refilled] = np.arange(read, read + len(refilled))
            read += len(refilled)
        own_read = np.concatenate([[0], np.cumsum(self.own)])[reads]
        self.held = int((own_read - taken_before).max())

    def stretches(self) -> list[NDArray[np.int64]]:
        """This process's utterances in the order in which they are read, shard by shard."""
        runs = zip(np.split(self._plan.stream, self._plan.ends[:-1]), np.split(self.own, self._plan.ends[:-1]))
        return [run[own] for run, own in runs if own.any()]

    def draws(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """For each batch the slots, of `held`, into which the next of the stretches' utterances are read before it, and
        those that its share is then taken from."""
        plan, free = self._plan, list(range(self.held))
        slot_of = np.empty(plan.held, np.int64)  # by place of the plan's buffer
        places, begin = np.arange(plan.held), 0
        for taken, refilled in plan.draws():
            filled = places[self.own[begin : begin + len(places)]]
            slot_of[filled] = [free.pop() for _ in filled]
            mine = slot_of[taken[self._share(len(taken))]]
            yield slot_of[filled], mine
            free.extend(mine.tolist())
            places, begin = refilled, begin + len(places)


def make_shards(ark: NDArray[np.int32], offset: NDArray[np.int64], shard_bytes: int) -> Shards:
    """Shards of about so many bytes. ark, offset: (n,) in which ark each utterance is, and at which byte."""
    stored = np.lexsort((offset, ark))
    of_ark, number = ark[stored], offset[stored] // shard_bytes
    begins = np.flatnonzero((np.diff(of_ark) != 0) | (np.diff(number) != 0)) + 1
    return Shards(stored, np.concatenate([[0], begins, [len(stored)]]))
