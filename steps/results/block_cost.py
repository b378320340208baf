"""The cost of a score by one of a detector's four blocks, were the network left there."""

from __future__ import annotations

from steps.experiment.experiments import Experiment
from utils.cli import UserError


def block_multiply_adds(e: Experiment) -> dict[int, int] | None:
    """Multiply-adds of one trial's score by each block: the network up to it and the block's own classifier. By block
    from 1; the deepest is the detector's.

    Measured on the network and the method that the experiment's conf describes; where aligners were searched, with all
    candidates, since each seed may have settled on another. None where that is not known: no
    detector.json, or a conf that this version of the toolkit does not take.
    """
    if e.input_shape is None:
        return None
    import torch  # here, since it takes longer than all else and only heads ask for it

    from steps import nnet, training
    from steps.nnet.cost import measure

    shape = e.input_shape if len(e.input_shape) == 3 else (1, *e.input_shape)
    try:
        detector = nnet.make_detector(nnet.conf_from_dict(e.conf["model"], e.name), shape[0])
        method = training.make_method(training.conf_from_dict(e.conf["train"], e.name), detector)
    except UserError:
        return None
    stages = dict(enumerate(detector.backbone.stages, 1))
    own = {  # the i-th part of each of the method's lists is block i's
        (name, block): part
        for name, parts in method.named_children()
        if isinstance(parts, torch.nn.ModuleList)
        for block, part in enumerate(parts, 1)
    }
    parts = {**stages, **own, "backbone": detector.backbone, "head": detector.head}
    x = torch.zeros(1, *shape)
    counts = {name: count for name, (count, _) in measure(method, lambda: method.head_logits(x), parts).items()}
    before = counts["backbone"] - sum(counts[block] for block in stages)
    costs = {}
    for block in stages:
        before += counts[block]
        classifier = counts["head"] if block == len(stages) else sum(counts[key] for key in own if key[1] == block)
        costs[block] = before + classifier
    return costs
