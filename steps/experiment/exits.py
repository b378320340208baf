"""Early exit: the network stops after a stage, and the head that self-distillation trained there gives the score.

The heads lie in EXP/checkpoints/best.pt, so an exit has the weights of the epoch that was kept. Exit K's scores of a
set are EXP/scores/SET_headK.txt. Its calibration, learnt on its own dev scores, is EXP/calibration_headK.json.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from steps.evaluation.evaluation import Evaluation, read_evaluations
from steps.experiment import training_folder
from steps.experiment.exit_option import AUTO
from steps.frontend import FrontEndConf, make_frontend
from steps.nnet import Detector
from steps.training.early_exit import exit_costs
from utils.cli import UserError

DEV = "dev"
Wanted = int | Literal["auto"] | None


@dataclass(frozen=True)
class Exit:
    """The network stops after stage `stage` of `stages`. multiply_adds: of one input's score; complete: the same of the
    complete network."""

    stage: int
    stages: int
    multiply_adds: int
    complete: int

    @property
    def in_words(self) -> str:
        share = 100 * self.multiply_adds / self.complete
        return (
            f"exit {self.stage}: the network stops after stage {self.stage} of {self.stages},"
            f" {share:.0f} % of its multiply-adds"
        )


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
    def costs(self) -> dict[int, int]:
        """Multiply-adds by exit."""
        frontend = make_frontend(self._frontend_conf)
        return exit_costs(self.method, frontend.conf.network_input.frames, frontend.n_bins, frontend.channels)

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
    stage = exits.stage_of(wanted)
    if stage == exits.stages[-1]:
        return trained, None
    return replace(trained, detector=exits.detector(stage, device)), exits.about(stage)
