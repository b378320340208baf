#!/usr/bin/env python3
"""Write a table of front ends into a Markdown file: their costs, and the figures of a network trained on each.

Time is measured during the run, in one thread, without reading. Disk is that of the measured utterances, uncompressed.
EER and min t-DCF are means over the seeds of the trainings in the experiment folders.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import re
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.environment

import numpy as np

from steps.experiment.experiments import Experiment, check_same_trials, read_experiments
from steps.frontend import load_conf, make_frontend, read_utterance
from steps.frontend.processing.audio import read_wav_scp
from utils.cli import UserError, make_parser, run_program, whole_number
from utils.files import write_aside

BEGIN, END = "<!-- choosing table -->", "<!-- end of choosing table -->"


def mean_and_deviation(values: list[float], digits: int) -> str:
    if not values:
        return "not measured"
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def cost_of(conf: str, wavs: dict[str, str], rounds: int) -> tuple[str, float, float, float]:
    """Shape in words, frames per second of audio, ms per utterance (least of `rounds`), MB per 1,000 utterances."""
    frontend = make_frontend(load_conf(conf))
    waveforms = [read_utterance(utt, path, frontend.conf) for utt, path in wavs.items()]
    frontend.compute(waveforms[0])  # tables that are made on first use
    took = []
    for _ in range(rounds):
        began = time.process_time()
        frames = [len(frontend.compute(waveform)) for waveform in waveforms]
        took.append((time.process_time() - began) / len(waveforms))
    shape = f"{frontend.n_bins}" if frontend.channels == 1 else f"{frontend.channels} x {frontend.n_bins}"
    seconds = sum(map(len, waveforms)) / frontend.conf.sample_rate
    megabytes = float(np.mean(frames)) * frontend.n_columns * 4 * 1000 / 1e6
    return shape, sum(frames) / seconds, 1000 * min(took), megabytes


def figures(experiment: Experiment | None, sets: list[str]) -> list[str]:
    if experiment is None:
        return ["not measured"] * (2 * len(sets))
    cells = []
    for name in sets:
        results = [seed.results[name] for seed in experiment.seeds if name in seed.results]
        costs = [cost for r in results if (cost := r.pooled.min_tdcf_2019) is not None]
        cells += [mean_and_deviation([100 * r.pooled.eer for r in results], 2), mean_and_deviation(costs, 3)]
    return cells


def main() -> int:
    parser = make_parser(
        __doc__,
        "tests/bench/frontend_table.py --wav-scp data/eval/wav.scp --sets 'eval eval_known' --out docs/frontends.md \\\n"
        "  --confs 'conf/frontend/f0_subband.yaml conf/frontend/lfcc.yaml' exp/train_*_ecanet9_baseline_mini",
    )
    parser.add_argument("--confs", required=True, help="confs of front ends, one row each")
    parser.add_argument("--wav-scp", required=True, help="audio to measure on")
    parser.add_argument(
        "--utterances", type=whole_number(1), default=100, help="number of utterances to measure, evenly spread"
    )
    parser.add_argument("--rounds", type=whole_number(1), default=3, help="measurements of time; the least counts")
    parser.add_argument("--sets", default="eval", help="sets whose figures are shown")
    parser.add_argument("--out", type=Path, required=True, help=f"Markdown file with the lines {BEGIN} and {END}")
    parser.add_argument("experiments", metavar="EXP", nargs="*", type=Path, help="experiment folders, one a front end")
    args = parser.parse_args()

    sets, confs = args.sets.split(), args.confs.split()
    try:
        text = args.out.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{args.out}: cannot be read: {error.strerror}") from None
    if not re.search(f"{re.escape(BEGIN)}\n.*{re.escape(END)}", text, re.S):
        raise UserError(f"{args.out}: the lines {BEGIN} and {END} are not there; put them where the table goes")
    by_frontend: dict[str, Experiment] = {}
    for experiment in read_experiments(args.experiments):
        if experiment.frontend in by_frontend:
            other = by_frontend[experiment.frontend].name
            raise UserError(f"{experiment.name} and {other} have one front end; give one training of each")
        by_frontend[experiment.frontend] = experiment
    for name in sets:
        check_same_trials(s.results[name] for e in by_frontend.values() for s in e.seeds if name in s.results)

    all_wavs = list(read_wav_scp(args.wav_scp).items())
    wavs = dict(all_wavs[:: max(1, len(all_wavs) // args.utterances)][: args.utterances])
    header = ["front end", "bins", "frames/s", "ms per utterance", "MB per 1,000"]
    header += [text for name in sets for text in (f"{name} EER %", f"{name} min t-DCF")]
    rows = [header, ["---"] + ["---:"] * (len(header) - 1)]
    for conf in confs:
        name = Path(conf).stem
        shape, rate, milliseconds, megabytes = cost_of(conf, wavs, args.rounds)
        rows.append(
            [f"`{name}`", shape, f"{rate:.0f}", f"{milliseconds:.1f}", f"{megabytes:.0f}"]
            + figures(by_frontend.get(name), sets)
        )
        print(" ".join(rows[-1]))
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    made = re.sub(f"{re.escape(BEGIN)}\n.*{re.escape(END)}", lambda _: f"{BEGIN}\n{table}\n{END}", text, flags=re.S)
    with write_aside(args.out) as handle:
        handle.write(made)
    print(f"written: {args.out}")
    return 0


if __name__ == "__main__":
    run_program(main)
