#!/usr/bin/env python3
"""Score trials by a trained detector into EXP/scores/SET.txt, lines `UTT ATTACK KEY SCORE`, higher = bona fide.

Every trial gets a score, even if it lacks the band that the detector looks at. Such trials are listed in
EXP/scores/SET.not_judged, because steps/detect.py gives no verdict on them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

import numpy as np
import torch
from torch import Tensor

from steps.data.batches import FeatureSet, reading_errors, scoring_plan
from steps.evaluation.evaluation import stem_of
from steps.evaluation.score_parts import parse_part, part_file
from steps.experiment import training_folder
from steps.experiment.exit_option import ADAPTIVE, add_exit_option
from steps.experiment.exits import Exits, same_weights
from steps.frontend import UTT2BANDS, FrontEndBase, make_frontend, read_levels
from steps.frontend.processing.audio import add_allow_pipes
from steps.frontend.processing.band import BandLimits
from steps.nnet import Detector
from steps.nnet.base import score_of, scoring_batch
from steps.nnet.graphs import Graphs
from steps.training.early_exit import AdaptiveExit
from utils.cli import MOST_THREADS, THREADS, ProgressLog, UserError, make_parser, run_program, warn, whole_number
from utils.files import write_lines
from utils.segments import SEGMENTS, SIDES
from utils.tables import read_big_map, require_same_keys

_CACHE_MIB = 1024


Networks = dict[int | str | None, Detector]  # by stage, shallow to deep, or ADAPTIVE; None is the complete one


class Trials:
    """The trials of a set, their features, and what their score lines say beside the score.

    `plan`: the batches of part `part` of `parts`, whole ones of `batch_size`, so that a trial is always scored among
    the same.
    """

    def __init__(
        self,
        data: Path,
        feats: Path,
        frontend: FrontEndBase,
        exp_dir: Path,
        online: bool,
        batch_size: int,
        part: int,
        parts: int,
        allow_pipes: bool = False,
    ):
        source = training_folder.source_of(data, feats, frontend, online, str(exp_dir), allow_pipes)
        self.utt2label, self.utt2attack = read_big_map(data / "utt2label"), read_big_map(data / "utt2attack")
        # A set that fits is read at once: processes that read ahead take longer to start than a small set to read.
        # Computing takes longer than reading: there processes that work ahead pay at once, and nothing is kept.
        self.features = FeatureSet(data, source, frontend, cache_mib=0 if online or parts > 1 else _CACHE_MIB)
        self.part, self.parts = part, parts
        plan = scoring_plan(len(self.features), batch_size)
        self.plan = plan[len(plan) * (part - 1) // parts : len(plan) * part // parts]
        left_out = [utt for utt in self.utt2label if utt not in source]
        if left_out:
            raise UserError(
                f"{source.place}: {len(left_out)} of {len(self.utt2label)} trials have no features, such as "
                f"{left_out[0]}; fix their audio, or take them out of {data}"
            )
        fix = "correct the data dir"
        require_same_keys(data / "utt2attack", self.utt2attack, data / "utt2label", self.utt2label, fix)

    def write(self, out: Path, scores: np.ndarray) -> None:
        """`scores`: of the plan's trials. Of several parts each is a file of its own."""
        if self.parts > 1:
            out = part_file(out, self.part, self.parts)
        trials = np.concatenate([np.zeros(0, int), *self.plan])
        for i in np.flatnonzero(~np.isfinite(scores))[:1]:
            utt = self.features.utts[trials[i]]
            raise UserError(f"{out}: the score of {utt} would be {scores[i]}; look at its features")
        utts = (self.features.utts[i] for i in trials)
        write_lines(
            out,
            (f"{utt} {self.utt2attack[utt]} {self.utt2label[utt]} {s!r}" for utt, s in zip(utts, map(float, scores))),
        )
        print(f"score.py: {len(scores)} trials in {out}")


def passes_of(
    trained: training_folder.TrainedDetector, training: Path, wanted: Sequence[int | str] | None, device: torch.device
) -> list[Networks]:
    """The networks whose scores are wanted. Those of one element share the weights of the stages that they have in
    common, so that one pass through the deepest serves all."""
    complete: Networks = {None: trained.detector}
    if wanted is None:
        return [complete]
    exits = Exits(training, trained.frontend_conf)
    adaptive: Networks = {}
    if ADAPTIVE in wanted:
        adaptive = {ADAPTIVE: exits.adaptive(trained.detector, device)[0]}
    stages = sorted({exits.stage_of(one) for one in wanted if one != ADAPTIVE})
    early: Networks = {k: exits.detector(k, device) for k in stages if k != exits.stages[-1]}
    passes = [early]
    if len(early) < len(stages):
        # Final weights may be averaged over epochs; the exits have those of one epoch.
        same = same_weights(trained.detector, exits.method.detector)
        passes = [early | complete] if same else [early, complete]
    return [one for one in (*passes, adaptive) if one]


def say_cost(network: Detector) -> None:
    """Print where the trials left since the last call, and their mean cost."""
    assert isinstance(network, AdaptiveExit)
    left, count, costs = network.left, network.left.total(), network.costs
    mean = sum(costs[stage] * number for stage, number in left.items()) / max(count, 1)
    shares = ", ".join(f"{100 * left[stage] / max(count, 1):.0f} % after stage {stage}" for stage in costs)
    print(f"score.py: mean multiply-adds {mean:,.0f}, {100 * mean / max(costs.values()):.0f} % of all; left: {shares}")
    left.clear()


def compute(
    trials: Trials, networks: Sequence[Detector], device: torch.device, num_workers: int, by_graphs: bool = False
) -> np.ndarray:
    """(networks, trials) float64: the score by each network, as passes_of groups them, of each trial of the plan.

    by_graphs: record the network's pass as a CUDA graph (train.graphs).
    """
    last = [len(network.backbone.stage_channels) - 1 for network in networks]

    def logits_of(x: Tensor) -> list[Tensor]:
        if len(networks) == 1:
            return [networks[0](x)]
        maps = networks[-1].stage_maps(x)
        return [network.logits_of(maps[i]) for network, i in zip(networks, last)]

    columns = [np.zeros((len(networks), 0))]
    progress = ProgressLog(sum(map(len, trials.plan)), "utt")
    with torch.inference_mode(), Graphs(networks[-1], device, by_graphs) as graphs:
        for x, _, indices in trials.features.batches(trials.plan, device, num_workers):
            graphs.begin_step()
            columns.append(torch.stack([score_of(f) for f in logits_of(x)]).double().cpu().numpy())
            progress.update(len(indices))
    progress.close()
    return np.concatenate(columns, axis=1)


def list_not_judged(data: Path, feats: Path | None, trials: Trials, band: BandLimits, out: Path) -> None:
    """Write a line `UTT REASON` of each trial without the band that the detector needs, and say how many there are.

    feats: where the levels of features on disk lie; None: they are measured. Without such trials there is no such file.
    """
    out.unlink(missing_ok=True)
    if feats is None:
        source = trials.features.source
        levels = ((utt, source.levels(utt)) for utt in trials.utt2label)
    elif (feats / UTT2BANDS).exists():
        source = trials.features.source
        levels = read_levels(feats / UTT2BANDS, len(band.centres), source.utts, source.place)
    else:
        warn(
            f"{feats / UTT2BANDS}: no such file: whether the trials have the band that this detector needs is not known"
        )
        return
    found = [f"{utt} {missing}" for utt, of_utt in levels if (missing := band.missing(of_utt)) is not None]
    if found:
        write_lines(out, found)
        count = f"{len(found)} of {len(trials.utt2label)} trials"
        warn(f"{data.name}: {count} lack a band that this detector needs; they are scored anyway ({out.name})")


def is_whole(part: tuple[int, int], outputs: list[Path], inputs: list[Path]) -> bool:
    """Has a run that was broken off made this part already, of inputs that are no newer?"""
    made = [part_file(out, *part) for out in outputs]
    if part[1] == 1 or not all(path.exists() for path in made):
        return False
    newest = max(path.stat().st_mtime_ns for path in inputs if path.exists())
    return min(path.stat().st_mtime_ns for path in made) >= newest


@reading_errors()
def main() -> int:
    parser = make_parser(
        __doc__,
        "steps/score.py --data-dir data --feats-dir feats/f0_subband \\\n "
        " exp/train_f0_subband_ecanet18_self_distill/seed1 dev eval\nsteps/score.py --part 1/4 --feats-dir"
        " feats/f0_subband exp/NAME/seed1 eval   # one of 4; then merge_scores.py\nsteps/score.py --exit 1 --exit 2"
        " --feats-dir feats/f0_subband exp/NAME/seed1 eval   # eval_head1.txt, ...",
    )
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of the Kaldi data dirs")
    parser.add_argument("--feats-dir", type=Path, help="folder of the sets' features, feats/<frontend>")
    parser.add_argument("--online", action="store_true", help="compute the features from the audio instead")
    add_allow_pipes(parser)
    add_exit_option(parser, several=True)
    parser.add_argument("--head", help=argparse.SUPPRESS)
    parser.add_argument("--ngpu", type=whole_number(), default=0, help="0: CPU, 1: one GPU")
    parser.add_argument("--num-threads", type=THREADS, default=None, help="CPU threads; torch's default if not given")
    parser.add_argument(
        "--batch-size",
        type=whole_number(1),
        default=None,
        help="utterances scored together; if not given, 128, and 8 of a network that reads raw samples",
    )
    parser.add_argument(
        "--num-workers", type=whole_number(0, MOST_THREADS), default=2, help="processes that read features; 0: none"
    )
    parser.add_argument(
        "--part", default="1/1", metavar="K/N", help="score the K-th of N parts; merge_scores.py follows"
    )
    parser.add_argument("exp_dir", type=Path, metavar="EXP", help="folder of one training, with final.pt")
    parser.add_argument("sets", nargs="+", metavar="SET", help="sets to score, such as dev eval")
    args = parser.parse_args()

    if args.head is not None:
        parser.error("--head is now --exit, for which the last stage is the complete network")
    if not args.online and args.feats_dir is None:
        parser.error("--feats-dir is needed, or --online")
    part = parse_part(args.part)
    device = training_folder.pick_device(args.ngpu)
    if args.num_threads is not None:
        torch.set_num_threads(args.num_threads)
    trained = training_folder.load_trained(args.exp_dir / "final.pt", device)
    frontend, band = make_frontend(trained.frontend_conf), trained.band
    by_graphs = training_folder.trained_by_graphs(args.exp_dir)
    passes = passes_of(trained, args.exp_dir, args.exit, device)
    scores_of = args.exp_dir / "scores"
    batch_size = args.batch_size or scoring_batch(trained.detector.backbone)
    for name in args.sets:
        data, feats = args.data_dir / name, (args.feats_dir or Path()) / name
        outputs = [scores_of / f"{stem_of(name, head)}.txt" for networks in passes for head in networks]
        inputs = [
            *(args.exp_dir / path for path in ("final.pt", "checkpoints/best.pt")),
            *(data / path for path in ("utt2label", "utt2attack", "wav.scp", SEGMENTS, SIDES)),
            *([] if args.online else [feats / "feats.scp"]),
        ]
        if is_whole(part, outputs, inputs):
            print(f"score.py: part {args.part} of {name} is scored already")
            continue
        trials = Trials(data, feats, frontend, args.exp_dir, args.online, batch_size, *part, args.allow_pipes)
        if band is not None and part[0] == 1:
            list_not_judged(data, None if args.online else feats, trials, band, scores_of / f"{name}.not_judged")
        for networks in passes:
            scores = compute(trials, list(networks.values()), device, args.num_workers, by_graphs)
            for head, row in zip(networks, scores):
                trials.write(scores_of / f"{stem_of(name, head)}.txt", row)
            if ADAPTIVE in networks:
                say_cost(networks[ADAPTIVE])
    return 0


if __name__ == "__main__":
    run_program(main)
