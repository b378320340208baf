#!/usr/bin/env python3
"""Measure what laundering does to detectors: manipulate an evaluation set (codecs, bands, noise, rooms, levels, speed,
silence, ...), score it, and compare with the untouched set.

Writes OUT/STRESS.md, a table and one sentence on the worst manipulation; OUT/STRESS.png, a heat map; OUT/stress.json.
Scores are kept in OUT/scores: an interrupted run goes on, and a further detector or manipulation is scored alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

import torch

from steps.evaluation.evaluation import to_json
from steps.frontend.processing.audio import add_allow_pipes
from steps.robustness.figures import measure
from steps.robustness.grid import load_grid
from steps.robustness.output import headlines, markdown, write_heat_map
from steps.robustness.scoring import load_models, pick_trials, score_all
from utils.cli import THREADS, make_parser, run_program, whole_number
from utils.files import write_aside, write_json, write_lines

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = make_parser(
        __doc__,
        "steps/stress.py --nj 4 --out exp/stress exp/train_*_baseline_mini/seed1 exp/train_*_self_distill_mini/seed1"
        "\nsteps/stress.py --count 100 --grid my_grid.yaml --out /tmp/stress detector.onnx",
    )
    parser.add_argument("--grid", type=Path, default=ROOT / "conf/stress/grid.yaml", help="conf of the manipulations")
    parser.add_argument("--data-dir", type=Path, default=Path("data/eval"), help="Kaldi data dir of the set")
    parser.add_argument("--which", choices=("both", "bonafide", "spoof"), default="both", help="trials that are taken")
    parser.add_argument(
        "--count", type=whole_number(1), help="most trials of each class, evenly spread over the set; all if not given"
    )
    parser.add_argument("--seed", type=whole_number(), default=1, help="of what manipulations draw")
    parser.add_argument("--nj", type=THREADS, default=1, help="processes, one thread each")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    add_allow_pipes(parser)
    parser.add_argument(
        "models",
        nargs="+",
        type=Path,
        metavar="EXP",
        help="folder of one training with a calibration, a final.pt, or an .onnx of export.py; several seeds of one "
        "experiment make one column",
    )
    args = parser.parse_args()

    torch.set_num_threads(1)
    grid = load_grid(args.grid)
    trials = pick_trials(args.data_dir, args.which, args.count, args.allow_pipes)
    models = load_models(args.models)
    score_all(models, grid, trials, args.out, args.seed, args.nj)
    test = measure(models, grid, trials, args.data_dir, args.out, args.seed)
    sentences = headlines(test)
    write_json(args.out / "stress.json", {**to_json(test), "headlines": sentences})
    with write_aside(args.out / "STRESS.png", "wb") as handle:
        write_heat_map(handle, test)
    page = markdown(test, ["steps/stress.py", *sys.argv[1:]], "STRESS.png")
    write_lines(args.out / "STRESS.md", page.splitlines())
    for name, sentence in sentences.items():
        print(f"{name}: {sentence}")
    print(f"stress.py: {args.out / 'STRESS.md'}")
    return 0


if __name__ == "__main__":
    run_program(main)
