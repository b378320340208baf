#!/usr/bin/env python3
"""Export each network with each front end and compare scores and time on real utterances: ONNX, int8 and torch.export.

The weights are random. The statistics of batch normalisation are those of the utterances, so that activations have the
size that training leaves. Prints a row of a Markdown table for each. The exit status is 1 if one differs from the
toolkit by more than the exporter allows.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

import numpy as np
import torch

from steps.exporting import checking, graph, onnx_file, quantise
from steps.frontend import load_conf
from steps.inference import onnx_model
from steps.inference.back_end import TorchBackEnd
from steps.inference.calibration import decision
from steps.inference.detector import FakeSpeechDetector
from tests.steps.exporting.conftest import make_trained
from utils.cli import UserError, make_parser, run_program, whole_number

MODELS = [f"{kind}{depth}" for kind in ("senet", "ecanet") for depth in (9, 18, 34, 50)]
FRONTENDS = ["f0_subband", "lps", "lfcc"]


def milliseconds(score: Callable[[np.ndarray], object], waveforms: Sequence[np.ndarray]) -> float:
    """Processor's, of one utterance: the median over them."""
    taken = []
    for waveform in waveforms:
        begin = time.process_time()
        score(waveform)
        taken.append(time.process_time() - begin)
    return 1000 * float(np.median(taken))


def main() -> int:
    parser = make_parser(__doc__, "tests/bench/export.py --data-dir egs/asvspoof2019/la/data/dev --models ecanet18")
    parser.add_argument("--data-dir", type=Path, required=True, help="data dir whose utterances are scored")
    parser.add_argument("--utts", type=whole_number(1), default=16)
    parser.add_argument("--no-int8", action="store_true", help="leave int8 out")
    parser.add_argument("--no-pt2", action="store_true", help="leave torch.export out, which takes most of the time")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--frontends", nargs="+", default=FRONTENDS)
    args = parser.parse_args()

    onnx_model.require_onnx()
    torch.set_num_threads(1)
    print(
        "| front end | network | ONNX, largest difference | torch.export, the same | scores from, to | ms toolkit | ms"
        " ONNX | ms int8 |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    failed = 0
    for frontend in args.frontends:
        conf = load_conf(ROOT / f"conf/frontend/{frontend}.yaml")
        waveforms = checking.read_waveforms(args.data_dir, args.utts, conf)
        each = list(waveforms.values())
        for model in args.models:
            trained = make_trained(model, frontend, (), {}, each)
            with tempfile.TemporaryDirectory() as folder:
                exact, int8, program = (Path(folder) / name for name in ("e.onnx", "i.onnx", "p.pt2"))
                back_end = TorchBackEnd(trained.detector, trained.frontend_conf)
                toolkit = FakeSpeechDetector(back_end, decision(None, "random weights"), pool="first")
                wanted = checking.reference(toolkit, waveforms)
                module = graph.WaveformDetector(trained)
                onnx_file.write_onnx(exact, module, {})
                in_floats = onnx_model.OnnxModel(exact)
                times = [
                    milliseconds(lambda w, of=toolkit: of.score(w, of.sample_rate), each),
                    milliseconds(lambda w, of=in_floats: of.scores(w[None]), each),
                ]
                if not args.no_int8:
                    quantise.write_int8(int8, exact, waveforms)
                    in_ints = onnx_model.OnnxModel(int8)
                    times.append(milliseconds(lambda w, of=in_ints: of.scores(w[None]), each))
                try:
                    found = checking.check_parity(exact, in_floats.look_at, waveforms, wanted)
                    of_program = "-"
                    if not args.no_pt2:
                        graph.write_program(program, module, {})
                        again = checking.check_parity(program, graph.read_program(program), waveforms, wanted)
                        of_program = f"{again.worst:.1e}"
                except UserError as error:
                    print(f"| {frontend} | {model} | {error} |")
                    failed += 1
                    continue
            print(
                f"| {frontend} | {model} | {found.worst:.1e} | {of_program} | {found.lowest:.2f}, "
                f"{found.highest:.2f} | "
                + " | ".join(f"{t:.1f}" for t in times)
                + (" | - |" if args.no_int8 else " |"),
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    run_program(main)
