#!/usr/bin/env python3
"""Join the parts of score files made by score.py --part into the file of a single scoring, bit for bit."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steps.evaluation.score_parts import merge_parts, parts_folder
from utils.cli import make_parser, run_program, whole_number


def main() -> int:
    parser = make_parser(
        __doc__,
        "for k in 1 2 3 4; do steps/score.py --part $k/4 --feats-dir feats/f0_subband exp/NAME/seed1 eval; done\n"
        "steps/merge_scores.py --nj 4 exp/NAME/seed1/scores/eval.txt",
    )
    parser.add_argument("--nj", type=whole_number(1), required=True, metavar="N", help="number of parts")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of the Kaldi data dirs")
    parser.add_argument("scores", type=Path, nargs="+", metavar="EXP/scores/SET.txt", help="the files to make")
    args = parser.parse_args()
    for out in args.scores:
        print(f"merge_scores.py: {merge_parts(out, args.nj, args.data_dir)} trials in {out}")
    for folder in {parts_folder(out.parent, args.nj) for out in args.scores}:
        shutil.rmtree(folder)
        if not any(folder.parent.iterdir()):
            folder.parent.rmdir()
    return 0


if __name__ == "__main__":
    run_program(main)
