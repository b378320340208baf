"""Self-distillation: deeper stages of a network teach the shallower ones while training.

Xue et al., "Learning from yourself: a self-distillation method for fake speech detection", ICASSP 2023: the deepest of
four teaches the three others. Its ancestor is Zhang et al., "Be your own teacher: improve the performance of
convolutional neural networks via self distillation", ICCV 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from steps.nnet import Detector
from steps.nnet.base import AngleLinear, ModulesOf, pool, score_of
from steps.training.aligner_search import SearchConf, SearchedAligner
from steps.training.aligners import AdaptivePoolConf, AlignerBase, Reduction, aligner_makers
from steps.training.attention_transfer import AttentionConf, attention_loss
from steps.training.base import MethodBase, TrainConf
from steps.training.early_exit import EarlyExit
from steps.training.losses import MixedLabels, feature_loss, main_labels, soft_loss, total
from steps.training.students_at_once import Together, logits_at_once
from steps.training.teaching import ProgressiveConf, Teaching, spans_of, teachers_of
from steps.training.weighting import LOOK_EVERY, LossWeighting, WeightingConf, make_weighting, passing_on


@dataclass(frozen=True)
class DistillConf:
    alpha: float
    beta: float
    temperature: float
    scale_by_t2: bool
    feature_reduction: Reduction
    aligner: Literal["linear", "bottleneck", "adaptive_pool", "searched"]
    detach_teacher: bool
    student_hard_loss: bool
    weighting: WeightingConf = field(default_factory=WeightingConf)
    teaching: Teaching = "deepest"
    progressive: ProgressiveConf = field(default_factory=ProgressiveConf)
    attention: AttentionConf | None = None
    adaptive_pool: AdaptivePoolConf = field(default_factory=AdaptivePoolConf)
    search: SearchConf = field(default_factory=SearchConf)

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha: {self.alpha} must be between 0 and 1")
        if self.beta < 0:
            raise ValueError(f"beta: {self.beta} is negative")
        if self.temperature <= 0:
            raise ValueError(f"temperature: {self.temperature} is not positive")
        if self.aligner == "searched" and self.alpha == 1 and not self.student_hard_loss:
            raise ValueError("alpha: 1 leaves no soft loss, by which searched aligners are chosen; lower it")


@dataclass(frozen=True, kw_only=True)
class Conf(TrainConf):
    distill: DistillConf

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distill.teaching == "progressive":
            try:
                self.distill.progressive.spans(self.epochs)
            except ValueError as error:
                raise ValueError(f"distill.progressive.{error}") from None

    def check_other_teacher(self, who: str, shallow_heads: bool, group: str) -> None:
        """For methods whose teacher, `who`, is not the students' own network on the same view. `shallow_heads`: a key
        of their `group`, false if blocks 1 to 3 have no heads. Raises ValueError for what cannot be."""
        if not self.distill.detach_teacher:
            raise ValueError(f"distill.detach_teacher: false: {who} teaches without gradient; set it to true")
        if not shallow_heads:
            for key, absent in (("teaching", "deepest"), ("attention", None), ("student_hard_loss", False)):
                if getattr(self.distill, key) != absent:
                    raise ValueError(
                        f"{group}.shallow_heads: false: then distill.{key} has no blocks to work on; unset one"
                    )


class Heads(NamedTuple):
    """What all stages make of a batch, shallow to deep; `aligned` of the students alone, as their aligners have it."""

    maps: list[Tensor]
    aligned: list[Any]
    embeddings: list[Tensor]
    logits: list[Tensor]
    together: Together | None


class Network(NamedTuple):
    """A detector with what its students, the shallower blocks, have while training; they may have nothing."""

    detector: Detector
    aligners: ModulesOf[AlignerBase]
    student_heads: ModulesOf[AngleLinear]

    def heads(self, x: Tensor, share: Tensor | None = None) -> Heads:
        """x: (batch, channels, frames, bins). share: what of their gradient the helpers pass on into the network; None:
        all."""
        maps = self.detector.stage_maps(x)
        aligned = [aligner(passing_on(m, share)) for aligner, m in zip(self.aligners, maps)]
        embeddings = [aligner.embedding(a) for aligner, a in zip(self.aligners, aligned)] + [pool(maps[-1])]
        heads = [*self.student_heads, self.detector.head]
        logits, together = logits_at_once(heads, embeddings) or ([head(e) for head, e in zip(heads, embeddings)], None)
        return Heads(maps, aligned, embeddings, logits, together)


OwnConf = TypeVar("OwnConf", bound=Conf)  # of the method


class Method(MethodBase[OwnConf]):
    """Each shallower stage gets an aligner to its teacher's width and an AngleLinear head, both for training only.

    total = alpha * hard + (1 - alpha) * soft + beta * feature [+ attention.weight * attention], all but hard summed
    over the students; what `weighting` makes of these weights while training is in weighting.py. A teacher is compared
    by its own feature map, never by its aligned one: that is what the detector computes, while an aligner's projection
    may drift or shrink to please both of its sides.

    `networks`: the one that learns and, in the methods that derive from this one, others. `kept`: the one that is kept.
    """

    aligners: ModulesOf[AlignerBase]
    student_heads: ModulesOf[AngleLinear]
    weighting: LossWeighting  # always: this loss has several terms

    def __init__(self, conf: OwnConf, detector: Detector, shallow_heads: bool = True):
        super().__init__(conf, detector)
        d, channels = conf.distill, detector.backbone.stage_channels
        self.teachers = teachers_of(d.teaching, len(channels)) if shallow_heads else []
        self.trained_heads = (*range(1, len(self.teachers) + 1), len(channels))
        makers = aligner_makers(d.adaptive_pool)

        def make(student: int, teacher: int) -> AlignerBase:
            widths = channels[student], channels[teacher], teacher - student
            if d.aligner == "searched":
                return SearchedAligner(widths, d.search, makers)
            return makers[d.aligner](*widths)

        self.aligners = ModulesOf(make(*pair) for pair in enumerate(self.teachers))
        self.student_heads = ModulesOf(
            AngleLinear(channels[teacher], conf=detector.head.conf) for teacher in self.teachers
        )
        self.networks = [self.kept]
        weights = {"hard": d.alpha, "soft": 1 - d.alpha}
        if shallow_heads:
            weights["feature"] = d.beta
        if d.attention is not None:
            weights["attention"] = d.attention.weight
        self.weighting = make_weighting(d.weighting, weights)
        self.begin_epoch(1, conf.epochs)

    def frame_students(self) -> tuple[int, ...]:
        own = self.conf.method == "self_distill"  # the methods that derive from this one look at several views
        return self.detector.backbone.stage_channels[:-1] if own else super().frame_students()

    @property
    def kept(self) -> Network:
        return Network(self.detector, self.aligners, self.student_heads)

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        super().begin_epoch(epoch, epochs)
        d = self.conf.distill
        spans = spans_of(d.teaching, d.progressive, len(self.teachers) + 1, epochs)
        self.students = [student for student, span in enumerate(spans) if span.first <= epoch <= span.last]
        for network in self.networks:
            for aligner, (first, last) in zip(network.aligners, spans):
                aligner.begin_epoch(min(max(epoch, first), last) - first + 1, last - first + 1)

    def hard_of(self, heads: Heads, labels: Tensor | MixedLabels, step: int) -> Tensor:
        """The hard loss of the deepest head, or summed over all heads."""
        first = 0 if self.conf.distill.student_hard_loss else -1
        return total(
            [self.hard_loss(f, e, labels, step) for f, e in zip(heads.logits[first:], heads.embeddings[first:])]
        )

    def taught(self, student: Heads, teacher: Heads) -> dict[str, Tensor]:
        """The terms of what the learning network's students are taught just now; a term is absent where nobody is.

        `teacher`: the same heads, or those of another view or network, whose deepest one then teaches the student's
        deepest too.
        """
        terms = {"soft": self.soft(student, teacher)}
        if self.students:
            maps = {i: self.as_teacher(teacher.maps[self.teachers[i]]) for i in self.students}
            terms["feature"] = self.feature(student, teacher, maps)
            terms["attention"] = self.attention(student, maps)
        return {name: term for name, term in terms.items() if term is not None}

    def as_teacher(self, what: Tensor) -> Tensor:
        """A teacher's side of a loss: no gradient of it goes into the teacher, or the students' share of it."""
        return what.detach() if self.conf.distill.detach_teacher else passing_on(what, self.weighting.share)

    def soft(self, student: Heads, teacher: Heads) -> Tensor | None:
        """sum over students i of T^2 KL(p of i's teacher || p of i), p being the logits softened by T."""
        d = self.conf.distill
        if student.together is not None and teacher is student and d.teaching == "deepest":
            of_students, of_teachers = student.together.logits, self.as_teacher(teacher.logits[-1])
        else:
            pairs = [(student.logits[i], self.as_teacher(teacher.logits[self.teachers[i]])) for i in self.students]
            if teacher is not student:
                pairs.append((passing_on(student.logits[-1], self.weighting.share), teacher.logits[-1].detach()))
            if not pairs:
                return None
            of_students, of_teachers = (torch.stack(side) for side in zip(*pairs))
        return soft_loss(of_students, of_teachers, d.temperature, d.scale_by_t2)

    def feature(self, student: Heads, teacher: Heads, maps: Mapping[int, Tensor]) -> Tensor:
        """sum over students i of |A_i(map of i) - map of i's teacher|^2, A_i being the student's aligner."""
        d, aligners = self.conf.distill, list(self.networks[0].aligners)
        together = student.together if d.teaching == "deepest" else None
        if together is not None and all(aligner.compares_embeddings for aligner in aligners):
            own = self.as_teacher(teacher.embeddings[-1])
            return feature_loss(together.embeddings, own, d.feature_reduction)
        return total([aligners[i].distance(student.aligned[i], m, d.feature_reduction) for i, m in maps.items()])

    def attention(self, student: Heads, maps: Mapping[int, Tensor]) -> Tensor | None:
        """sum over students of the distance between where they and their teachers look; None where it is not used."""
        conf, share = self.conf.distill.attention, self.weighting.share
        if conf is None:
            return None
        return total([attention_loss(passing_on(student.maps[i], share), m, conf.power) for i, m in maps.items()])

    def weighted(
        self, terms: dict[str, Tensor], step: int, teacher: Heads, labels: Tensor | MixedLabels
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What `losses` returns of these terms. One that is absent just now is logged as 0, so that the columns
        stay."""
        if step % LOOK_EVERY == 0:
            self.weighting.observe(score_of(teacher.logits[-1].detach()), main_labels(labels))
        whole, weights = self.weighting(terms, step)
        logged = {name: terms[name].detach() if name in terms else whole.new_zeros(()) for name in self.weighting.fixed}
        return whole, logged | weights | self._shares()

    def losses(self, x: Tensor, labels: Tensor | MixedLabels, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        heads = self.kept.heads(x, self.weighting.share)
        terms = {"hard": self.hard_of(heads, labels, step), **self.taught(heads, heads)}
        return self.weighted(terms, step, heads, labels)

    def _searched(self) -> list[tuple[int, SearchedAligner]]:
        """Each aligner that chooses, with the number of its block, from 1."""
        return [(b, aligner) for b, aligner in enumerate(self.aligners, 1) if isinstance(aligner, SearchedAligner)]

    def _shares(self) -> dict[str, Tensor]:
        return {
            f"share{block}_{name}": share
            for block, aligner in self._searched()
            for name, share in aligner.shares().items()
        }

    def choices(self) -> dict[str, dict[str, float]]:
        return {
            f"aligner of block {block}": dict(zip(aligner.search.candidates, aligner.learned_shares().tolist()))
            for block, aligner in self._searched()
        }

    def exit_at(self, stage: int) -> Detector:
        if stage not in self.trained_heads[:-1]:
            return super().exit_at(stage)
        frame_head = None if self.frame_loss is None else list(self.frame_loss.students)[stage - 1]
        return EarlyExit(
            self.detector, stage, list(self.aligners)[stage - 1], list(self.student_heads)[stage - 1], frame_head
        )

    def head_logits(self, x: Tensor) -> list[Tensor]:
        return self.kept.heads(x).logits
