#!/usr/bin/env python3
"""Print a network stage by stage: output shape, parameters, multiply-adds. Parts that live only while training are
listed apart."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

import torch

from steps import frontend as frontends
from steps import nnet, training
from steps.evaluation.adaptive_exit import choose_rule
from steps.experiment import training_folder
from steps.experiment.exits import dev_evaluations
from steps.nnet.base import BranchedBackbone, check_maps
from steps.nnet.cost import count_parameters, measure
from steps.training.early_exit import adaptive_costs, exit_costs
from utils.cli import UserError, make_parser, run_program


def parts_of(backbone: nnet.BackboneBase) -> dict[str, torch.nn.Module]:
    """Stem, if it has one of its own, and stages by name; of a network of branches those of each branch."""
    if isinstance(backbone, BranchedBackbone):
        return {
            f"branch {number}, {name}": part
            for number, branch in enumerate(backbone.branches, 1)
            for name, part in parts_of(branch).items()
        }
    stem = {"stem": backbone.stem} if hasattr(backbone, "stem") else {}
    return stem | {f"stage {i}": stage for i, stage in enumerate(backbone.stages, 1)}


def main() -> int:
    parser = make_parser(
        __doc__,
        "steps/describe.py exp/train_f0_subband_ecanet18_self_distill/seed1   # and the EER of its exits\n"
        "steps/describe.py conf/model/senet34.yaml --frontend conf/frontend/f0_subband.yaml\n"
        "steps/describe.py conf/model/senet34.yaml --set model.stem=conv3",
    )
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("model", type=Path, help="conf of the network, or the folder of a training")
    parser.add_argument("--frontend", default=str(root / "conf/frontend/f0_subband.yaml"), help="conf of the front end")
    parser.add_argument(
        "--train-conf",
        default=str(root / "conf/train/self_distill.yaml"),
        help="conf of the training method whose auxiliary parts are shown",
    )
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a conf's key")
    args = parser.parse_args()

    if args.model.is_dir():
        if args.set:
            parser.error("--set changes a conf; it cannot change a training")
        title, frontend_conf, model_conf, train_conf = training_folder.confs_of(args.model)
    else:
        title = f"{args.model.stem} on {Path(args.frontend).stem}"
        frontend_conf, model_conf = frontends.load_conf(args.frontend, args.set), nnet.load_conf(args.model, args.set)
        train_conf = training.load_conf(args.train_conf, args.set)
    frontend = frontends.make_frontend(frontend_conf)
    detector = training_folder.detector_for(model_conf, frontend, train_conf.hard_loss.head)
    method = training.make_method(train_conf, detector)
    frames, bins = frontend.conf.network_input.frames, frontend.n_bins
    x = torch.zeros(1, frontend.channels, frames, bins)

    check_maps(detector, x)
    parts = {**parts_of(detector.backbone), "head (AngleLinear)": detector.head}
    measured = measure(detector, lambda: detector(x), {**parts, "detector": detector})

    def row(name: str, shape: tuple | None, parameters: int, multiply_adds: int) -> str:
        text = " x ".join(map(str, shape)) if shape else ""
        return f"{name:<26}{text:>20}{parameters:>14,}{multiply_adds:>18,}"

    print(f"{title}; shapes: channels x frames x bins, one utterance")
    print(f"{'':<26}{'output':>20}{'parameters':>14}{'multiply-adds':>18}")
    print(row("input", (frontend.channels, frames, bins), 0, 0))
    for name, part in parts.items():
        print(row(name, measured[name][1], count_parameters(part), measured[name][0]))
    print("-" * 78)
    print(row("detector", measured["detector"][1], count_parameters(detector), measured["detector"][0]))

    kept = {id(p) for p in detector.parameters()}
    auxiliary = {
        name: module
        for name, module in method.named_children()
        if name != "detector" and any(id(p) not in kept for p in module.parameters())
    }
    print(f"\nonly while training by {train_conf.method}:")
    if not auxiliary:
        print("  nothing")
    pieces = {}
    for name, module in auxiliary.items():
        single = not isinstance(module, torch.nn.ModuleList)
        pieces |= {name: module} if single else {f"{name} {i}": piece for i, piece in enumerate(module, 1)}
    networks = [piece for piece in pieces.values() if isinstance(piece, nnet.Detector)]
    costs = measure(method, lambda: (method.head_logits(x), [network(x) for network in networks]), pieces)
    for name, piece in pieces.items():
        print(row(name, costs[name][1], count_parameters(piece), costs[name][0]))
    if pieces:
        print("-" * 78)
        print(
            row(
                "training only, total",
                None,
                sum(map(count_parameters, pieces.values())),
                sum(c for c, _ in costs.values()),
            )
        )
    if len(method.trained_heads) > 1:
        print_exits(args.model, method, (frames, bins, frontend.channels))
    return 0


def print_exits(model: Path, method: training.MethodBase, shape: tuple[int, int, int]) -> None:
    """What stopping after each stage costs, the last being the complete network; of a training with its EER on dev.

    shape: frames, bins and channels of the input.
    """
    costs = exit_costs(method, *shape)
    last = max(costs)
    eers = {stage: one.pooled.eer for stage, one in dev_evaluations(model, last).items()}
    print(f"\nexits, each with the head that {method.conf.method} trains there:")
    print(f"{'':<26}{'parameters':>14}{'multiply-adds':>18}{'of all':>8}" + (f"{'dev EER %':>12}" if eers else ""))
    for stage, cost in costs.items():
        name = "complete network" if stage == last else f"exit {stage}"
        eer = f"{100 * eers[stage]:.2f}" if stage in eers else "-"
        parameters = count_parameters(method.exit_at(stage))
        share = f"{100 * cost / costs[last]:.0f} %"
        print(f"{name:<26}{parameters:>14,}{cost:>18,}{share:>8}" + (f"{eer:>12}" if eers else ""))
    if len(eers) == len(costs):
        try:
            rule = choose_rule(model, adaptive_costs(method, *shape))
        except UserError as error:
            print(f"no adaptive exit: {error}")
            return
        share, eer = f"{100 * rule.multiply_adds / costs[last]:.0f} %", f"{100 * rule.trained_on['eer']:.2f}"
        print(f"{'adaptive, mean on dev':<26}{'':>14}{rule.multiply_adds:>18,}{share:>8}{eer:>12}")


if __name__ == "__main__":
    run_program(main)
