#!/usr/bin/env python3
"""Write half of a data dir's utterances as they are into OUT/reference, and the others into OUT/control as they are,
and into OUT/NAME by each manipulation of conf/stress/grid.yaml that is named (docs/drift.md)."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

import numpy as np
import soundfile

from steps.augment import make_chain, utterance_rng
from steps.frontend.processing.audio import read_waveform
from steps.robustness.grid import UNTOUCHED, load_grid
from steps.robustness.scoring import pick_trials
from utils.cli import UserError, make_parser, run_program, whole_number

RATE = 16000


def main() -> int:
    parser = make_parser(__doc__, "tests/bench/manipulated.py --data-dir data/eval --out /tmp/drift mu-law GSM")
    parser.add_argument("--data-dir", type=Path, required=True, help="Kaldi data dir")
    parser.add_argument("--out", type=Path, required=True, help="folder of the folders")
    parser.add_argument("--seed", type=whole_number(), default=1, help="of the halves, and of what manipulations draw")
    parser.add_argument("manipulations", nargs="*", metavar="NAME", help="names of manipulations")
    args = parser.parse_args()

    known = {one.name: one for one in load_grid(ROOT / "conf/stress/grid.yaml").manipulations}
    if missing := [name for name in args.manipulations if name not in known]:
        raise UserError(f"{missing[0]}: no manipulation of conf/stress/grid.yaml; give one of {', '.join(known)}")
    chains = {"control": UNTOUCHED, **{known[name].stem: known[name] for name in args.manipulations}}
    trials = pick_trials(args.data_dir, "both", None, False)
    order = np.random.default_rng(args.seed).permutation(len(trials.utts))
    for place, number in enumerate(order):
        utt = trials.utts[number]
        waveform = read_waveform(utt, trials.audio[number], RATE)
        for name, one in chains.items() if place % 2 else [("reference", UNTOUCHED)]:
            made = make_chain(one.chain, RATE).waveform(waveform, utterance_rng(args.seed, 0, utt, "stress"))
            path = args.out / name / f"{utt}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, made, RATE)
    print(f"{len(order)} utterances: {args.out}/reference, {', '.join(f'{args.out}/{name}' for name in chains)}")
    return 0


if __name__ == "__main__":
    run_program(main)
