"""The training loop: epochs, checkpoints, selection. Knows no network and no method."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from steps.augment import utterance_rng
from steps.data.batches import FeatureSet, scoring_plan
from steps.data.reading import ShardPlan
from steps.nnet.base import score_of, scoring_batch
from steps.nnet.graphs import Graphs
from steps.training import distributed
from steps.training.base import MethodBase, OptimizerConf, TrainConf
from steps.training.batch_norm import fresh_statistics, share_batch_norms
from steps.training.checkpoints import CheckpointFolder, load, random_states, set_random_states
from steps.training.curves import plot_curves
from steps.training.inside import GRADIENT_EVERY, Embeddings, GradientNorms, warning_of
from steps.training.losses import MixedLabels
from steps.training.random_filter import RandomFilter
from utils.cli import ProgressLog, UserError
from utils.files import naming, write_lines

# On a GPU a look at each batch's loss would make the host wait for the device each time.
_LOSS_CHECK_EVERY = {"cpu": 1, "cuda": 20}
_STATISTICS_BATCHES = 10  # of the training set, by which batch norm's running statistics are estimated


class Diverged(UserError):
    """The loss is not finite or too large; with a status of its own, by which a sweep tells it from other errors."""

    status = 3


@dataclass
class Trained:
    """What training yields: the detector's state, and how it came about."""

    state: dict[str, Tensor]
    best_epoch: int
    history: list[dict[str, Any]]


def make_optimizer(
    conf: OptimizerConf,
    parameters: Iterable[Tensor],
    lr: float,
    without_weight_decay: Iterable[Tensor] = (),
    slower: Iterable[tuple[Iterable[Tensor], float]] = (),
) -> torch.optim.Optimizer:
    """The conf's optimizer of `parameters`; those of them in `without_weight_decay` make a group of their own, and so
    do those that are `slower`, each with its share of the learning rate, `lr_factor`. The first group has factor 1."""
    spared = {id(p) for p in without_weight_decay}
    factors = {id(p): factor for some, factor in slower for p in some}
    members: dict[tuple[float, bool], list[Tensor]] = {(1.0, False): []}
    for p in parameters:
        members.setdefault((factors.get(id(p), 1.0), id(p) in spared), []).append(p)
    groups: list[Any] = [
        {"params": some, "lr": lr * factor, "lr_factor": factor, **({"weight_decay": 0.0} if is_spared else {})}
        for (factor, is_spared), some in members.items()
    ]
    if conf.name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=conf.momentum, weight_decay=conf.weight_decay)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[conf.name]
    return kind(
        groups, lr=lr, betas=tuple(conf.betas), eps=conf.eps, weight_decay=conf.weight_decay, amsgrad=conf.amsgrad
    )


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself, which makes autocast faster than float32 there."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(amp: str, device: torch.device) -> contextlib.AbstractContextManager:
    """The autocast context that a conf's `amp` asks for. Raises UserError for fp16 without a GPU."""
    if amp == "auto":
        amp = "bf16" if has_bf16(device) else "none"
    if amp == "fp16" and device.type != "cuda":
        raise UserError("train.amp: fp16 needs a GPU; use bf16 or none on a CPU")
    if amp == "none":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if amp == "bf16" else torch.float16)


def _plus(so_far: float | Tensor | None, value: float | Tensor, times: int) -> float | Tensor:
    """A sum with `times` times `value` added; of tensors in one operation, where the GPU need not be waited for."""
    if so_far is None:
        return value * times
    if isinstance(so_far, Tensor) and isinstance(value, Tensor):
        return torch.add(so_far, value, alpha=times)
    return so_far + value * times


class Trainer:
    """Trains `method` on `train_set`, choosing by `dev_set`; everything it needs to resume is in `folder`.

    Several processes (distributed.py) each train on their shares of the very batches that one process would take.

    eer: function of bona fide and spoof scores that gives the EER as a fraction.
    """

    def __init__(
        self,
        conf: TrainConf,
        method: MethodBase,
        train_set: FeatureSet,
        dev_set: FeatureSet,
        folder: Path,
        seed: int,
        device: torch.device,
        eer: Callable[[np.ndarray, np.ndarray], float],
        title: str,
    ):
        self.conf, self.train_set, self.dev_set = conf, train_set, dev_set
        self.folder, self.seed, self.device, self.eer, self.title = folder, seed, device, eer, title
        autocast(conf.amp, device)  # refuses what the device cannot do before any work is done
        if conf.amp == "auto" and distributed.is_first():
            print(
                f"train.amp: auto: {'bf16' if has_bf16(device) else 'none, as there is no bf16'} on this {device.type}"
            )
        if device.type == "cuda":
            torch.backends.cudnn.deterministic = conf.deterministic
            torch.backends.cudnn.benchmark = not conf.deterministic
        if distributed.world() > conf.batch_size:
            raise UserError(
                f"train.batch_size: {conf.batch_size} is the complete batch, too small for {distributed.world()}"
                " processes"
            )
        self.method = method.to(
            device,
            memory_format=torch.channels_last,  # type: ignore[call-overload]  # not in torch's stubs
        )
        if conf.sync_batch_norm:
            share_batch_norms(method, device)
        method.hard_loss.count_classes(train_set.labels_in_batches)
        # Every epoch has as many steps.
        self.total_steps = conf.epochs * len(train_set.epoch_plan(conf.batch_size, seed, 1))
        if conf.schedule.name == "cosine" and conf.schedule.warmup_steps >= self.total_steps:
            raise UserError(
                f"train.schedule.warmup_steps: {conf.schedule.warmup_steps} is not below the {self.total_steps} steps"
                " of this training; lower it, or raise train.epochs"
            )
        self.optimizer = make_optimizer(
            conf.optimizer,
            method.parameters(),
            conf.schedule.at(1, self.total_steps),
            method.without_weight_decay(),
            method.slower_parameters(),
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=conf.amp == "fp16")
        self.checkpoints = CheckpointFolder(folder / "checkpoints", keep=conf.average_last)
        self.gradients = GradientNorms(self.method)
        several = "several processes train" if distributed.world() > 1 else None
        self.graphs = Graphs(self.method, device, conf.graphs and distributed.is_first(), several)
        self.filter = None
        if conf.random_filter is not None:
            self.filter = RandomFilter(conf.random_filter, train_set.frontend)
            if not self.filter.works:
                self.filter = None
                if distributed.is_first():
                    print(f"train.random_filter: left out, as a filter adds no curve to {train_set.frontend.conf.type}")
        self.epoch = self.step = self.best_epoch = 0
        self.history: list[dict[str, Any]] = []

    # -- state ---------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "step": self.step,  # learning-rate schedule and A-softmax's lambda are functions of it
            "best_epoch": self.best_epoch,
            "history": self.history,
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random_states(),
        }

    def resume(self) -> bool:
        """Go on from the newest checkpoint, if there is one, of however many processes it is."""
        state = self.checkpoints.latest() if distributed.is_first() else None
        epoch = distributed.from_first(lambda: None if state is None else state["epoch"])
        if epoch is None:
            return False
        if state is None:
            state = load(self.checkpoints.path(epoch))
        self.epoch, self.step, self.best_epoch = state["epoch"], state["step"], state["best_epoch"]
        self.history = state["history"]
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        set_random_states(state["random"])
        return True

    # -- one epoch -----------------------------------------------------------------------------------------------

    def _check(self, pending: list[tuple[int, np.ndarray, Tensor]]) -> None:
        """Stop, naming the batch, at the first loss that is not finite or too large."""
        values = torch.stack([loss for _, _, loss in pending]).cpu().tolist()
        for (step, indices, _), value in zip(pending, values):
            if not math.isfinite(value) or value > self.conf.diverged_above:
                utts = " ".join(self.train_set.utts[i] for i in indices)
                what = "is not finite" if not math.isfinite(value) else f"exceeds {self.conf.diverged_above:g}"
                raise Diverged(
                    f"the loss of step {step} {what} ({value:g}); the batch: {utts}\n"
                    "look at these utterances' features, or lower the learning rate (--set train.schedule.lr=...), "
                    "raise train.hard_loss.lambda_floor, or set train.max_grad_norm; "
                    "the last epoch's checkpoint is kept"
                )
        pending.clear()

    def _augmented(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | MixedLabels]:
        """A batch through random filters, and as the augmentation's mixup makes it of one: drawn anew for each step, by
        the seed."""
        if self.filter is not None:
            x = self.filter(x, utterance_rng(self.seed, self.step, "batch", "filter"))
        chain = self.train_set.chain
        if chain is None or chain.mixup is None:
            return x, labels
        total, mine = distributed.place_in_batch(len(x))
        drawn, weight = chain.mixup_draw(utterance_rng(self.seed, self.step, "batch", "mixup"), total)
        order = torch.from_numpy(drawn[mine]).to(x.device)
        mixed = torch.lerp(distributed.whole_batch(x)[order], x, weight).contiguous(memory_format=torch.channels_last)
        return mixed, MixedLabels(labels, distributed.whole_batch(labels)[order], weight)

    def _bonafide_frames(self, features: FeatureSet, indices: np.ndarray) -> Tensor | None:
        """(batch, frames) of this process's share of a batch; None where frames are not learnt."""
        if self.method.frame_loss is None:
            return None
        found = features.frame_targets(indices[distributed.share(len(indices))])
        return None if found is None else found.to(self.device)

    def _batches(
        self, features: FeatureSet, plan: Sequence[np.ndarray] | ShardPlan
    ) -> Iterator[tuple[Tensor, Tensor, np.ndarray]]:
        """Features and labels of this process's share of each batch of `plan`, and the indices of the whole batch."""
        for x, labels, indices in features.batches(plan, self.device, self.conf.num_workers, distributed.share):
            distributed.begin_batch(len(indices))
            self.graphs.begin_step()
            yield x, labels, indices

    def _train_epoch(self, epoch: int, progress: ProgressLog) -> tuple[dict[str, float], float]:
        conf = self.conf
        self.method.train()
        self.method.begin_epoch(epoch, conf.epochs)
        self.train_set.set_epoch(epoch)
        plan = self.train_set.epoch_plan(conf.batch_size, self.seed, epoch)
        sums: dict[str, float | Tensor] = {}
        pending: list[tuple[int, np.ndarray, Tensor]] = []
        began, count = time.monotonic(), 0
        for number, (x, labels, indices) in enumerate(self._batches(self.train_set, plan)):
            self.step += 1
            count += len(indices)
            x, targets = self._augmented(x, labels)
            bonafide = self._bonafide_frames(self.train_set, indices)
            for group in self.optimizer.param_groups:
                group["lr"] = conf.schedule.at(self.step, self.total_steps) * group.get("lr_factor", 1.0)
            self.optimizer.zero_grad(set_to_none=True)
            with autocast(conf.amp, self.device):
                total, terms = self.method.losses_with_frames(x, targets, bonafide, self.step)
            pending.append((self.step, indices, total.detach()))
            if len(pending) >= _LOSS_CHECK_EVERY[self.device.type]:
                self._check(pending)
            self.scaler.scale(total).backward()
            distributed.average_gradients(self.method.parameters())  # still scaled: all find the same infinities
            self.scaler.unscale_(self.optimizer)
            if number % GRADIENT_EVERY == 0:  # at least once in each epoch, however short
                self.gradients.look()
            if conf.max_grad_norm is not None:
                clip_grad_norm_(self.method.parameters(), conf.max_grad_norm)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.method.after_step(self.step)
            for name, value in {"total": total.detach(), **terms}.items():
                sums[name] = _plus(sums.get(name), value, len(indices))
            progress.update(len(indices), f"epoch {epoch}/{conf.epochs}")
        self._check(pending) if pending else None
        means = {name: float(value) / count for name, value in sums.items()}
        self.method.end_epoch(means)
        if not conf.sync_batch_norm:  # buffers of the first process are kept
            distributed.spread(self.method.buffers())
        return means, count / (time.monotonic() - began)

    @torch.no_grad()
    def _estimate_statistics(self) -> dict[str, float]:
        """Give batch norm the statistics of fixed training batches, as they are in scoring: not augmented.

        Returns what Embeddings sees of these batches.
        """
        self.train_set.set_epoch(0)
        plan = self.train_set.shuffled_plan(self.conf.batch_size, self.seed, 0)[:_STATISTICS_BATCHES]
        looks = Embeddings(self.method.detector.backbone, self.train_set.frontend.floor)
        with fresh_statistics(self.method), looks:
            for x, _, _ in self._batches(self.train_set, plan):
                looks.see_input(x)
                with autocast(self.conf.amp, self.device):
                    self.method.head_logits(x)
        return looks.summary()

    @torch.inference_mode()
    def _evaluate(self) -> tuple[float, float]:
        """Hard loss of the detector's own head on the dev set (comparable between methods), and dev EER in percent.
        Where frames are learnt, their loss is added."""
        self.method.eval()
        detector = self.method.detector
        loss_sum, weight_sum = 0.0, 0.0
        scores = torch.zeros(len(self.dev_set))
        plan = scoring_plan(len(self.dev_set), scoring_batch(detector.backbone) * distributed.world())
        for x, labels, indices in self._batches(self.dev_set, plan):
            with autocast(self.conf.amp, self.device):
                maps = detector.stage_maps(x)
                embedding = detector.embedding_of(maps[-1])
                logits = detector.head(embedding)
            weight = self.method.hard_loss.total_weight(labels)
            weight = float(distributed.add_up(torch.tensor(weight, dtype=torch.float64)))
            loss = self.method.hard_loss(logits, embedding, labels, self.step)
            bonafide = self._bonafide_frames(self.dev_set, indices)
            if bonafide is not None and self.method.frame_loss is not None:
                loss = loss + self.method.frame_loss.own(maps, bonafide)
            loss_sum += float(loss) * weight
            weight_sum += weight
            scores[indices[distributed.share(len(indices))]] = score_of(logits).cpu()
        all_scores = distributed.add_up(scores).numpy()
        bonafide = self.dev_set.labels == 1
        dev_loss = loss_sum / weight_sum
        if not math.isfinite(dev_loss):
            raise Diverged("the dev loss is not finite; the last epoch's checkpoint is kept")
        return dev_loss, 100 * self.eer(all_scores[bonafide], all_scores[~bonafide])

    # -- all epochs ----------------------------------------------------------------------------------------------

    def run(self) -> Trained:
        """Train to the conf's last epoch and choose the weights, which the first process alone has then.

        Raises UserError when the loss diverges.
        """
        conf = self.conf
        distributed.spread([*self.method.parameters(), *self.method.buffers()])
        drawn_at = 0.0
        per_epoch = len(self.train_set)
        progress = ProgressLog(conf.epochs * per_epoch, "utt", done=self.epoch * per_epoch)
        with (
            naming(self.folder / "tensorboard"),  # all else that is written here names itself
            contextlib.closing(progress),
            self.graphs,
            self._event_writer() as events,
        ):
            while self.epoch < conf.epochs:
                epoch = self.epoch + 1
                terms, speed = self._train_epoch(epoch, progress)
                inside = {**self._estimate_statistics(), **self.gradients.take()}
                dev_loss, dev_eer = self._evaluate()
                lr = self.optimizer.param_groups[0]["lr"]
                row = {"epoch": epoch, "step": self.step, "lr": lr, "train": terms}
                self.history.append({**row, "dev_loss": dev_loss, "dev_eer": dev_eer, "inside": inside})
                self.epoch = epoch
                self.best_epoch = min(self.history, key=self._rank)["epoch"]
                if not distributed.is_first():
                    continue
                self._log(events, progress, speed)
                if time.monotonic() - drawn_at > 30 or epoch == conf.epochs:
                    plot_curves(
                        self.history, self.best_epoch, self._chosen_by(), self.title, self.folder / "curves.png"
                    )
                    drawn_at = time.monotonic()
                # Last: an epoch that has its checkpoint is not repeated, so that all that tells of it has to be there.
                self.checkpoints.save(epoch, self._state())
        return Trained(self._chosen_state(), self.best_epoch, self.history)

    def _event_writer(self) -> contextlib.AbstractContextManager:
        if not distributed.is_first():
            return contextlib.nullcontext()
        from torch.utils.tensorboard import SummaryWriter

        self.folder.mkdir(parents=True, exist_ok=True)
        return SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.epoch + 1)

    def _rank(self, row: dict[str, Any]) -> tuple[float, float]:
        """What the best epoch has least of; a small dev set often gives several epochs the same EER."""
        return {
            "dev_loss": (row["dev_loss"], 0.0),
            "dev_eer": (row["dev_eer"], row["dev_loss"]),
            "last_epoch": (-row["epoch"], 0.0),
        }[self.conf.select_by]

    def _log(self, events: Any, progress: ProgressLog, speed: float) -> None:
        row = self.history[-1]
        terms = "  ".join(f"{name} {value:.4f}" for name, value in row["train"].items())
        best = "  *" if self.best_epoch == row["epoch"] and self.conf.select_by != "last_epoch" else ""
        progress.say(
            f"epoch {row['epoch']}/{self.conf.epochs}: {terms}  lr {row['lr']:.2e}  {speed:.0f} utt/s  "
            f"dev loss {row['dev_loss']:.4f}  dev EER {row['dev_eer']:.2f} %{best}"
        )
        warning = warning_of(self.history)
        if warning:
            progress.say(f"WARNING: {warning}")
        for name, value in row["train"].items():
            events.add_scalar(f"train/{name}", value, row["epoch"])
        for name, value in row["inside"].items():
            events.add_scalar(f"inside/{name}", value, row["epoch"])
        for name in ("lr", "dev_loss", "dev_eer"):
            events.add_scalar(name, row[name], row["epoch"])
        events.add_scalar("train/utterances_per_second", speed, row["epoch"])
        events.flush()
        columns = [
            {
                **{key: r[key] for key in ("epoch", "step", "lr")},
                **{f"train_{name}": value for name, value in r["train"].items()},
                **{key: r[key] for key in ("dev_loss", "dev_eer")},
                **r.get("inside", {}),
            }
            for r in self.history
        ]
        names = list(dict.fromkeys(name for row in columns for name in row))
        lines = ("\t".join(repr(values.get(name, math.nan)) for name in names) for values in columns)
        write_lines(self.folder / "epochs.tsv", ["\t".join(names), *lines])

    def _chosen_by(self) -> str:
        words = {"dev_loss": "lowest dev loss", "dev_eer": "lowest dev EER", "last_epoch": "the last one"}
        return words[self.conf.select_by]

    def _chosen_state(self) -> dict[str, Tensor]:
        """The detector's state of the best epoch, or of the last epochs' mean weights with statistics of their own."""
        if self.conf.average_last == 0:
            return self._detector_state(self.checkpoints.best) if distributed.is_first() else {}
        detector = self.method.detector
        if distributed.is_first():
            last = range(self.conf.epochs - self.conf.average_last + 1, self.conf.epochs + 1)
            states = [self._detector_state(self.checkpoints.path(epoch)) for epoch in last]
            mean = {
                k: torch.stack([s[k].double() for s in states]).mean(0).to(v.dtype) if v.is_floating_point() else v
                for k, v in states[-1].items()
            }
            detector.load_state_dict(mean)
        distributed.spread([*detector.parameters(), *detector.buffers()])
        self._estimate_statistics()
        return {k: v.cpu() for k, v in detector.state_dict().items()} if distributed.is_first() else {}

    @staticmethod
    def _detector_state(path: Path) -> dict[str, Tensor]:
        state, prefix = load(path)["method"], "detector."
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
