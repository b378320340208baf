"""Reading a network's input: labels, augmentation, fixed length, batches."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from steps.augment import Chain, utterance_rng
from steps.data.reading import How, Reading, ShardPlan, Shards, SharedPlan, make_shards
from steps.data.sources import FeatureSource
from steps.frontend import FrontEndBase
from steps.frontend.processing.columns import CmvnStats
from steps.nnet.base import BONAFIDE, SPOOF
from utils.cli import UserError, warn
from utils.tables import Strings, read_big_map, require_keys

LABELS = {"bonafide": BONAFIDE, "spoof": SPOOF}
_READ_AT_ONCE = 2**20  # bytes, by shards
_AT_ONCE = 16  # utterances that a process reads into the cache in one go


def fix_length(features: np.ndarray, frames: int, pad: str, begin: int = 0) -> np.ndarray:
    """(n, columns) -> (frames, columns): frames begin..begin+frames of a longer one, a shorter one continued.

    pad `mirror`: the time-reversed copy is appended, then the whole doubled until long enough; `repeat`: repeated.
    """
    n = len(features)
    if n == 0:
        raise ValueError("no frames")
    if n >= frames:
        return features[begin : begin + frames]
    period = np.concatenate([features, features[::-1]]) if pad == "mirror" else features
    return np.resize(period, (frames, features.shape[1]))


def network_input(
    features: np.ndarray, frontend: FrontEndBase, utt: str, seed: int = 0, epoch: int = 0, chain: Chain | None = None
) -> np.ndarray:
    """float32 (n, columns) at natural length -> (frames, columns) as the conf's `network_input` fixes it.

    In an epoch from 1 on, `crop: random` draws the stretch of a longer utterance, and the feature steps of `chain`
    change the result, both by (seed, epoch, utt); in epoch 0 it is the first frames, as they are.
    """
    conf, begin = frontend.conf.network_input, 0
    if conf.crop == "random" and epoch > 0 and len(features) > conf.frames:
        begin = int(utterance_rng(seed, epoch, utt, "crop").integers(len(features) - conf.frames + 1))
    fixed = fix_length(features, conf.frames, conf.pad, begin)
    if chain is not None and epoch > 0:
        fixed = chain.features(fixed, frontend.channels, utterance_rng(seed, epoch, utt, "features"))
    return fixed


def way_of_reading(
    reading: Reading, cache_mib: int, utterances: int, frontend: FrontEndBase, chain: Chain | None, in_arks: bool
) -> How:
    """How so many utterances are read: what `reading` says, `auto` decided. in_arks: they are on disk.

    Raises UserError where they cannot be read as it says.
    """
    conf = frontend.conf.network_input
    mib = utterances * conf.frames * frontend.n_columns * 4 / 2**20
    same_each_epoch = conf.crop == "first" and not (
        chain is not None and (chain.has_waveform_steps or chain.has_feature_steps)
    )
    in_arks = in_arks and reading.balance == "none"  # by shards, batches hold what lies together
    if reading.how == "auto":
        if mib <= cache_mib:
            return "memory" if same_each_epoch else "random"
        return "shards" if in_arks else "random"
    if reading.how == "memory" and not same_each_epoch:
        raise UserError(
            "train.reading: memory: random crops and augmentation make other features in each epoch; use shards or "
            "random, or auto"
        )
    if reading.how == "shards" and not in_arks:
        raise UserError("train.reading: shards: computed features lie in no ark; use random, or auto")
    return reading.how


class FeatureSet(Dataset):
    """Utterances of a data dir with their features: item i is ((channels, frames, bins) float32, label, i).

    Everything is kept in memory if it fits into cache_mib and is the same each time; else it is read when asked for,
    and for training by shards if it does not fit. `reading` may say otherwise. `crop: random` and `chain` draw by
    (seed, epoch, utterance); set_epoch() turns both on, otherwise the first frames are taken, and as they are.

    Raises UserError naming the utterance for a trial without features, features without a label, and features of other
    width than `frontend` makes; and where they cannot be read as `reading` says.
    """

    def __init__(
        self,
        data_dir: str | Path,
        source: FeatureSource,
        frontend: FrontEndBase,
        cache_mib: int,
        seed: int = 0,
        chain: Chain | None = None,
        num_workers: int = 0,
        reading: Reading | None = None,
    ):
        data_dir = Path(data_dir)
        utt2label = read_big_map(data_dir / "utt2label")
        self.frontend = frontend
        self.source, self.chain = source, chain
        self.seed, self.epoch = seed, 0
        self.utts = Strings() if source.left_out else utt2label.key_column
        wanted = [utt for utt in utt2label if utt not in source.left_out] if source.left_out else utt2label
        require_keys(source.place, source, data_dir / "utt2label", wanted, source.mend)
        mend = f"give them labels, or let utils/fix_data_dir.sh {data_dir} leave them out and run again from --stage 1"
        require_keys(data_dir / "utt2label", utt2label, source.place, source.utts, mend)
        labels = bytearray()
        for utt, label in utt2label.pairs():
            if utt in source.left_out:
                continue
            if label not in LABELS:
                raise UserError(f"{data_dir / 'utt2label'}: {utt}: {label!r} is neither bonafide nor spoof")
            if source.left_out:
                self.utts.append(utt)
            labels.append(LABELS[label])
        if not labels:
            raise UserError(f"{data_dir / 'utt2label'}: no utterances")
        self.labels = np.frombuffer(labels, np.uint8)
        conf = frontend.conf.network_input
        self.reading = reading or Reading()
        self.how = way_of_reading(self.reading, cache_mib, len(self.utts), frontend, chain, source.storage is not None)
        self._corpora = _corpora_of(data_dir, self.utts) if self.reading.balance == "corpus" else None
        self._cache: Tensor | None = None
        self._shards: Shards | None = None
        if self.how == "memory":
            cache = torch.empty(len(self.utts), frontend.channels, conf.frames, frontend.n_bins)
            if len(self.utts) > _AT_ONCE * num_workers > 0:  # fewer are read sooner than processes start
                plan = scoring_plan(len(self.utts), _AT_ONCE)
                for x, _, indices in self.batches(plan, torch.device("cpu"), num_workers):
                    cache[indices] = x
            else:
                for i in range(len(self.utts)):
                    cache[i] = self._read(i)
            self._cache = cache

    def __len__(self) -> int:
        return len(self.utts)

    @property
    def cached(self) -> bool:
        return self._cache is not None

    def set_epoch(self, epoch: int) -> None:
        """Which epoch (from 1) crops and augmentation are drawn for; 0 takes the first frames, as they are."""
        self.epoch = epoch

    @property
    def labels_in_batches(self) -> np.ndarray:
        """(n,) labels in the proportion that batches have them in."""
        return self.labels if self.reading.balance == "none" else np.resize(np.unique(self.labels), len(self.labels))

    def shuffled_plan(self, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
        """The shuffled batches of an epoch, balanced as `reading` says, whatever the way in which they are read."""
        if self.reading.balance == "none":
            return training_plan(len(self), batch_size, seed, epoch)
        return balanced_plan(self.labels, self._corpora, batch_size, seed, epoch)

    def epoch_plan(self, batch_size: int, seed: int, epoch: int) -> Sequence[np.ndarray] | ShardPlan:
        """The shuffled batches of an epoch, for batches(): a function of seed and epoch alone, so that a resumed run
        repeats it."""
        if self.how != "shards":
            return self.shuffled_plan(batch_size, seed, epoch)
        if self._shards is None:
            assert self.source.storage is not None
            self.source.read_at_once(_READ_AT_ONCE)
            self._shards = make_shards(*self.source.storage(self.utts), self.reading.shard_mib * 2**20)
        conf = self.frontend.conf.network_input
        buffer = self.reading.buffer_mib * 2**20 // (conf.frames * self.frontend.n_columns * 4)
        return self._shards.plan(batch_size, buffer, (seed, epoch))

    def _read(self, index: int) -> Tensor:
        """(channels, frames, bins) of utterance `index`."""
        utt, chain = self.utts[index], self.chain if self.epoch > 0 else None
        if chain is not None and chain.has_waveform_steps:
            draw = utterance_rng(self.seed, self.epoch, utt, "waveform")
            features = self.source.read(utt, lambda waveform: chain.waveform(waveform, draw))
        else:
            features = self.source.read(utt)
        columns = self.frontend.n_columns
        if features.ndim != 2 or features.shape[1] != columns or len(features) == 0:
            raise UserError(f"{self.source.place}: {utt}: features {features.shape}, expected (n, {columns})")
        fixed = np.array(network_input(features, self.frontend, utt, self.seed, self.epoch, chain))
        return torch.from_numpy(fixed).reshape(len(fixed), self.frontend.channels, -1).movedim(1, 0)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        return self._read(index), int(self.labels[index]), index

    def cmvn_stats(self, num_workers: int, part: slice = slice(None)) -> np.ndarray:
        """float64 (2, columns + 1): CmvnStats over the utterances of `part` at their natural length, as they are."""
        stats = CmvnStats(self.frontend.n_columns)
        for features in _read_by(_Matrices(self), num_workers, batch_size=None, sampler=range(len(self))[part]):
            stats.add(features.numpy())
        return stats.matrix

    def batches(
        self,
        plan: Sequence[np.ndarray] | ShardPlan,
        device: torch.device,
        num_workers: int,
        share: Callable[[int], slice] = slice,
    ) -> Iterator[tuple[Tensor, Tensor, np.ndarray]]:
        """For each index array of `plan`: features (batch, channels, frames, bins) and labels on `device`, and the
        indices.

        share: which of a batch of n utterances are read, all if not given; the indices are those of the whole batch.
        """
        pin = device.type == "cuda"

        def own(indices: np.ndarray) -> np.ndarray:
            return indices[share(len(indices))]

        def move(values: Tensor) -> Tensor:
            if pin and len(values) and not values.is_pinned():
                values = values.pin_memory()
            return values.to(device, non_blocking=True)

        inputs: Iterator[Tensor]
        if self._cache is not None:
            inputs = (self._cache[own(indices)] for indices in plan)
        elif isinstance(plan, ShardPlan):
            inputs = self._by_shards(SharedPlan(plan, share), num_workers)
        else:
            inputs = _read_by(self, num_workers, prefetch=4, batch_sampler=_Lists(plan, own), pin_memory=pin)
        for x, indices in zip(inputs, plan):
            labels = torch.from_numpy(self.labels[own(indices)].astype(np.int64))
            # A network of convolutions is fastest with channels innermost, on CPU and GPU alike.
            yield move(x[: len(labels)]).contiguous(memory_format=torch.channels_last), move(labels), indices

    def _by_shards(self, plan: SharedPlan, num_workers: int) -> Iterator[Tensor]:
        """The inputs of each batch's share: shards are read one after the other, as they lie, into a buffer."""
        shards = _read_by(_Stretches(self, plan.stretches()), num_workers, batch_size=None)
        conf = self.frontend.conf.network_input
        buffer = torch.empty(plan.held, self.frontend.channels, conf.frames, self.frontend.n_bins)
        stretch, begin = buffer[:0], 0

        def fill(places: np.ndarray) -> None:
            nonlocal stretch, begin
            done = 0
            while done < len(places):
                if begin == len(stretch):
                    stretch, begin = next(shards), 0
                count = min(len(places) - done, len(stretch) - begin)
                buffer[torch.from_numpy(places[done : done + count])] = stretch[begin : begin + count]
                done, begin = done + count, begin + count

        for filled, taken in plan.draws():
            fill(filled)
            yield buffer[torch.from_numpy(taken)]


@contextlib.contextmanager
def reading_errors() -> Iterator[None]:
    """What goes wrong in processes that read, as one message.

    Their UserErrors come with their tracebacks before them. That one was killed is raised wherever this process is.
    """
    try:
        yield
    except UserError as error:
        text = str(error).strip().rsplit("UserError: ", 1)[-1]
        raise (error if text == str(error) else UserError(text)) from None
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        by = re.search(r"killed by signal: (\w+( \w+)*)", f"{error} {error.__cause__}")
        raise _killed(f" (signal: {by[1]})" if by else "") from None


def _killed(signal: str = "") -> UserError:
    return UserError(
        f"a process that reads features was killed{signal}; was there too little memory? start again: what is complete"
        " is kept, and fewer processes (num_workers) need less"
    )


def _pass_on(x: Tensor) -> Tensor | np.ndarray:
    """`x` as a process that reads hands it on: in shared memory, or through a pipe where there is no room in that.

    Left to torch, a lack of room is found only after the fetch, in a thread: the item is lost, and the training waits
    for it without end.
    """
    if get_worker_info() is None:
        return x
    try:
        return x.share_memory_()
    except RuntimeError:
        return x.numpy()


def _pass_on_batch(items: list[tuple[Tensor, int, int]]) -> Tensor | np.ndarray:
    return _pass_on(torch.stack([x for x, _, _ in items]))


@functools.cache
def _warn_once(text: str) -> None:
    warn(text)


def _processes(wanted: int) -> int:
    """How many processes can read: `wanted`, or none where /dev/shm has no room even for their locks."""
    try:
        for_now = [
            multiprocessing.Lock() for _ in range(16 + 4 * wanted if wanted else 0)
        ]  # as a DataLoader makes, or more
        del for_now
    except OSError as error:
        _warn_once(
            f"/dev/shm: {error.strerror}, so no processes read features: this one does, which is slower; give a"
            " container more (docker run --shm-size=1g)"
        )
        return 0
    return wanted


def _read_by(dataset: Dataset, num_workers: int, prefetch: int = 2, **options: Any) -> Iterator[Tensor]:
    """The items of a `dataset`, or its batches of inputs, in order, read ahead by so many processes.

    Where there is too little shared memory for that, it goes on without, and says so once. Nothing is drawn
    from torch's generator, so that training is the same however its features are read.
    """
    num_workers = _processes(num_workers)
    collate: Callable[[Any], Tensor | np.ndarray] = _pass_on_batch if "batch_sampler" in options else _pass_on
    loader = DataLoader(
        dataset,
        num_workers=num_workers,
        prefetch_factor=prefetch if num_workers else None,
        collate_fn=collate,
        generator=torch.Generator(),
        **options,
    )
    items = iter(loader)
    while True:
        try:
            with reading_errors():
                item = next(items)
        except StopIteration:
            return
        except (ConnectionError, EOFError) as error:  # killed while it handed over what it had read
            raise _killed() from error
        if isinstance(item, np.ndarray):
            _warn_once(
                "/dev/shm is too small for the processes that read features: pipes take its place, which are"
                " slower; give a container more (docker run --shm-size=1g)"
            )
            item = torch.from_numpy(item)
        yield item


class _Lists:
    """Shares of a plan's batches as the lists that a DataLoader takes, each made when it is needed; none is empty."""

    def __init__(self, plan: Sequence[np.ndarray] | ShardPlan, own: Callable[[np.ndarray], np.ndarray]):
        self._plan, self._own = plan, own

    def __len__(self) -> int:
        return len(self._plan)

    def __iter__(self) -> Iterator[list[int]]:
        for indices in self._plan:
            own = self._own(indices)
            yield (own if len(own) else indices[:1]).tolist()  # a DataLoader reads no empty batch


class _Stretches(Dataset):
    """Inputs of runs of utterances, (utterances, channels, frames, bins) each."""

    def __init__(self, features: FeatureSet, runs: list[np.ndarray]):
        self._features, self._runs = features, runs

    def __len__(self) -> int:
        return len(self._runs)

    def __getitem__(self, index: int) -> Tensor:
        return torch.stack([self._features._read(i) for i in self._runs[index].tolist()])


class _Matrices(Dataset):
    """The features of a FeatureSet's utterances as their source has them."""

    def __init__(self, features: FeatureSet):
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self.features.source.read(self.features.utts[index]))


def training_plan(n: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The shuffled batches of an epoch: a function of seed and epoch alone, so that a resumed run repeats it.

    A last batch of one utterance is left out: batch normalisation cannot use it.
    """
    return _cut(np.random.default_rng((seed, epoch)).permutation(n), batch_size)


def balanced_plan(
    labels: np.ndarray, corpora: np.ndarray | None, batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """As training_plan, but each batch has as many utterances of each class, to within one, and of each class as many
    of each corpus that has the class, to within one. labels, corpora: (n,) whole numbers; None: one corpus.

    An epoch has n draws. Of a group with fewer utterances than draws each is drawn again when all were, in a new order;
    of a larger group another part is drawn in each epoch. A function of seed and epoch alone.
    """
    draw = np.random.default_rng((seed, epoch))
    corpora = np.zeros(len(labels), np.int64) if corpora is None else corpora
    classes = np.unique(labels)
    order = np.empty(len(labels), np.int64)
    for i, label in enumerate(classes):
        of_class = order[i :: len(classes)]  # views, so that the classes take turns, and in each the corpora
        having = np.unique(corpora[labels == label])
        for k, corpus in enumerate(having):
            places = of_class[k :: len(having)]
            own = np.flatnonzero((labels == label) & (corpora == corpus))
            rounds = -(-len(places) // len(own))
            places[:] = np.concatenate([own[:0], *(draw.permutation(own) for _ in range(rounds))])[: len(places)]
    return _cut(order, batch_size)


def _cut(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return batches[:-1] if len(batches[-1]) < 2 and len(batches) > 1 else batches


def _corpora_of(data_dir: Path, utts: Sequence[str]) -> np.ndarray:
    """(n,) which corpus each utterance is of, by the data dir's utt2corpus; one corpus without it. Raises UserError for
    an utterance that it lacks."""
    path = data_dir / "utt2corpus"
    if not path.is_file():
        return np.zeros(len(utts), np.int64)
    utt2corpus = read_big_map(path)
    require_keys(path, utt2corpus, data_dir / "utt2label", utts, "join the data dirs again (run.sh --stage 0)")
    return np.unique([utt2corpus[utt] for utt in utts], return_inverse=True)[1]


def scoring_plan(n: int, batch_size: int) -> list[np.ndarray]:
    """Batches in the set's order."""
    return [np.arange(i, min(i + batch_size, n)) for i in range(0, n, batch_size)]
