"""The cost of a score by each exit of a detector: the network up to a stage, and that stage's own head."""

from __future__ import annotations

from steps.experiment.experiments import Experiment
from utils.cli import UserError


def block_multiply_adds(e: Experiment) -> dict[int, int] | None:
    """Multiply-adds of one trial's score by each exit, by its stage from 1; the last is the complete network's.

    Measured on the network and the method that the experiment's conf describes; where aligners were searched, with all
    candidates, since each seed may have settled on another. None if that is not known: no
    detector.json, or a conf that this version of the toolkit does not take.
    """
    if e.input_shape is None:
        return None
    from steps import nnet, training  # here, since they import torch, which takes longer than all else
    from steps.training.early_exit import exit_costs

    channels, frames, bins = e.input_shape if len(e.input_shape) == 3 else (1, *e.input_shape)
    try:
        detector = nnet.make_detector(nnet.conf_from_dict(e.conf["model"], e.name), channels)
        method = training.make_method(training.conf_from_dict(e.conf["train"], e.name), detector)
    except UserError:
        return None
    return exit_costs(method, frames, bins, channels)
