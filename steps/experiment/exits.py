"""Early exit: the network stops after a stage, and the head that self-distillation trained there gives the score.

The heads lie in EXP/checkpoints/best.pt, so an exit has the weights of the epoch that was kept. Exit K's scores of a
set are EXP/scores/SET_headK.txt. Its calibration, learnt on its own dev scores, is EXP/calibration_headK.json.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from steps.evaluation.adaptive_exit import DEV, AdaptiveRule, choose_rule
from steps.evaluation.evaluation import Evaluation, read_evaluations
from steps.experiment import training_folder
from steps.experiment.exit_option import ADAPTIVE, AUTO
from steps.frontend import FrontEndConf, make_frontend
from steps.nnet import Detector
from steps.nnet.staged import StagedBackbone
from steps.training.early_exit import AdaptiveExit, adaptive_costs, exit_costs
from utils.cli import UserError

Wanted = int | Literal["auto", "adaptive"] | None


@dataclass(frozen=True)
class Exit:
    """The network stops after stage `stage` of `stages`; `adaptive`: by `rule`. multiply_adds: of one input's score, in
    the mean over dev if adaptive; complete: the same of the complete network."""

    stage: int | Literal["adaptive"]
    stages: int
    multiply_adds: int
    complete: int
    rule: AdaptiveRule | None = None

    def as_json(self) -> dict[str, Any]:
        share = f"{100 * self.multiply_adds / self.complete:.0f} % of its multiply-adds"
        said = f"exit {self.stage}: the network stops after stage {self.stage} of {self.stages}, {share}"
        if self.rule is not None:
            said = f"adaptive exit: a window leaves at the first stage with |LLR| >= {self.rule.bound:.2f}"
            said += f" of {self.stages}; on dev after {share}"
        values = {"stage": self.stage, "stages": self.stages, "multiply_adds": self.multiply_adds}
        return values | {"complete": self.complete, "in_words": said}


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Do two networks of one architecture have the same weights and statistics, bit for bit, on whatever devices?"""
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(value.cpu(), states[1][name].cpu()) for name, value in states[0].items())


def dev_evaluations(training: Path, last: int) -> dict[int, Evaluation]:
    """The evaluations of dev by exit; last: the stage of the complete network."""
    found = {one.head: one for one in read_evaluations(training) if one.set_name == DEV}
    return {k: one for k in range(1, last + 1) if (one := found.get(None if k == last else k))}


class Exits:
    """The exits of the training in `folder`. Attribute: stages, those that have a head, shallow to deep; the last is
    the complete network.

    Raises UserError where only the last stage has a head, and where the files that hold the heads are missing.
    """

    def __init__(self, folder: Path, frontend_conf: FrontEndConf):
        for path in (folder / "conf.yaml", folder / "checkpoints" / "best.pt"):
            if not path.is_file():
                raise UserError(f"--exit: {path}: no such file, but the stages' heads need it; leave --exit out")
        self._folder, self._frontend_conf = folder, frontend_conf
        self.method = training_folder.load_method(folder, torch.device("cpu"))
        self.stages = self.method.trained_heads
        if len(self.stages) == 1:
            raise UserError(
                f"--exit: {folder} was trained by {self.method.conf.method}, which trains no head but the last stage's;"
                " leave --exit out, or give a training by self_distill"
            )

    @cached_property
    def _input(self) -> tuple[int, int, int]:
        """Frames, bins, channels."""
        frontend = make_frontend(self._frontend_conf)
        return frontend.conf.network_input.frames, frontend.n_bins, frontend.channels

    @cached_property
    def costs(self) -> dict[int, int]:
        """Multiply-adds by exit."""
        return exit_costs(self.method, *self._input)

    def adaptive(self, complete: Detector, device: torch.device) -> tuple[AdaptiveExit, AdaptiveRule]:
        """The detector on `device`, ready to score, and its rule. Raises UserError unless all exits and `complete` have
        the weights of one epoch, and for a network of branches or a pretrained encoder."""
        if not isinstance(complete.backbone, StagedBackbone):
            raise UserError(
                "--exit adaptive: branches and pretrained encoders cannot be left input by input; give auto or a"
                " stage's number"
            )
        if not same_weights(complete, self.method.detector):
            raise UserError(
                f"--exit adaptive: {self._folder / 'final.pt'} has weights averaged over epochs (average_last), its"
                " exits those of one epoch; give auto or a stage's number"
            )
        rule = choose_rule(self._folder, self.adaptive_costs)
        exits = {stage: self.detector(stage, device) for stage in self.stages}
        return AdaptiveExit(exits, rule.lines, rule.bound, self.adaptive_costs), rule

    @cached_property
    def adaptive_costs(self) -> dict[int, int]:
        """Multiply-adds of an input that leaves the adaptive exit after each stage."""
        return adaptive_costs(self.method, *self._input)

    @cached_property
    def dev_eers(self) -> dict[int, float]:
        """EER on dev by exit, as a fraction. Raises UserError, which names the command, where one is not known."""
        found = dev_evaluations(self._folder, self.stages[-1])
        counts = {(one.n_bonafide, one.pooled.n_spoof) for one in found.values()}
        missing = [str(stage) for stage in self.stages if stage not in found]
        if missing or len(counts) > 1:
            why = f"of exit {', '.join(missing)} is not known" if missing else "by exit is of different trials"
            options = " ".join(f"--exit {k}" for k in self.stages)
            raise UserError(
                f"--exit auto: the EER on {DEV} {why}; run steps/score.py --online {options} {self._folder} {DEV},"
                f" then steps/evaluate_experiment.py {self._folder} {DEV}"
            )
        return {stage: found[stage].pooled.eer for stage in self.stages}

    def stage_of(self, wanted: int | str) -> int:
        """One of `stages`. Raises UserError for a number that is none of them."""
        if wanted == AUTO:
            eers = self.dev_eers
            return min((k for k in self.stages if eers[k] <= eers[self.stages[-1]]), key=lambda k: self.costs[k])
        if wanted not in self.stages:
            raise UserError(
                f"--exit {wanted}: {self._folder} has exits after stages {', '.join(map(str, self.stages))} only"
            )
        return int(wanted)

    def about(self, stage: int) -> Exit:
        last = self.stages[-1]
        return Exit(stage, last, self.costs[stage], self.costs[last])

    def about_adaptive(self, rule: AdaptiveRule) -> Exit:
        last = self.stages[-1]
        return Exit(ADAPTIVE, last, rule.multiply_adds, self.costs[last], rule)

    def detector(self, stage: int, device: torch.device) -> Detector:
        """On `device`, ready to score."""
        return self.method.exit_at(stage).to(device, memory_format=torch.channels_last).eval()


def load_trained(
    model: Path, wanted: Wanted, device: torch.device
) -> tuple[training_folder.TrainedDetector, Exit | None]:
    """The detector of a training's folder or final.pt, up to the exit `wanted`; None of the complete network.

    Raises UserError for what cannot be read, and as Exits does.
    """
    final = model / "final.pt" if model.is_dir() else model
    trained = training_folder.load_trained(final, device)
    if wanted is None:
        return trained, None
    exits = Exits(final.parent, trained.frontend_conf)
    if wanted == ADAPTIVE:
        adaptive, rule = exits.adaptive(trained.detector, device)
        return replace(trained, detector=adaptive), exits.about_adaptive(rule)
    stage = exits.stage_of(wanted)
    if stage == exits.stages[-1]:
        return trained, None
    return replace(trained, detector=exits.detector(stage, device)), exits.about(stage)
