#!/usr/bin/env python3
"""Exports a trained detector, waveform in and score out: ONNX (also in int8) and torch.export, each checked, with a
model card."""

from __future__ import annotations

import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

import torch

from steps.experiment import training_folder
from steps.experiment.exit_option import ADAPTIVE, add_exit_option
from steps.experiment.exits import load_trained
from steps.experiment.stress_results import stress_of
from steps.exporting import card, checking, graph, onnx_file, quantise
from steps.inference import onnx_model
from steps.inference.detector import FakeSpeechDetector
from steps.inference.domain import domain_of
from steps.inference.output import about_lines
from steps.results.report.provenance import commit
from utils import conf as conf_files
from utils.cli import THREADS, make_parser, run_program, whole_number
from utils.files import sha256_of, write_json, write_lines

ONNX, INT8, PROGRAM = "detector.onnx", "detector.int8.onnx", "detector.pt2"
CARD, FIGURES = "MODEL_CARD.md", "export.json"
FORMATS = ("onnx", "pt2")


def main() -> int:
    parser = make_parser(
        f"{__doc__} Each file is compared with the toolkit's own scores of real utterances, and kept only where none"
        f" differs by more than {checking.TOLERANCE:g}. docs/export.md tells the contract.",
        "steps/export.py --data-dir data/dev exp/train_f0_subband_senet34_self_distill/seed1\n"
        "steps/export.py --data-dir data/dev --int8 data/eval --out-dir export exp/NAME/seed1",
    )
    parser.add_argument(
        "--data-dir", type=Path, default=Path("data/dev"), help="data dir whose utterances are compared"
    )
    parser.add_argument(
        "--utts", type=whole_number(1), default=64, help="utterances to compare, on which int8 also learns its ranges"
    )
    add_exit_option(parser)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="file to write")
    parser.add_argument(
        "--int8", type=Path, metavar="DATA", help=f"write {INT8} too; its EER and time are measured on this data dir"
    )
    parser.add_argument(
        "--out-dir", type=Path, help="folder to write to; EXP/export if not given, EXP/export_exitK with --exit"
    )
    parser.add_argument("--num-threads", type=THREADS, default=1, help="CPU threads of the check; int8 is timed on one")
    parser.add_argument("model", type=Path, metavar="EXP", help="folder of one training, or a final.pt")
    args = parser.parse_args()

    if args.int8 and "onnx" not in args.formats:
        parser.error("--int8 is made of the ONNX file: give --formats onnx too")
    if "onnx" in args.formats:
        onnx_model.require_onnx()
    if args.exit == ADAPTIVE:
        parser.error("--exit adaptive: an exported graph stops at one stage; give its number, or auto")
    torch.set_num_threads(args.num_threads)
    training = args.model if args.model.is_dir() else args.model.parent
    export(args.model, training, args)
    return 0


def confs_of(training: Path, trained: training_folder.TrainedDetector) -> dict[str, Any]:
    """Those of the training; where it left no conf.yaml, what final.pt tells of them."""
    if (training / "conf.yaml").is_file():
        return training_folder.read_conf(training)
    model_conf = trained.detector.made_of[0]
    return {"frontend": conf_files.to_dict(trained.frontend_conf), "model": conf_files.to_dict(model_conf)}


def export(model: Path, training: Path, args: Any) -> None:
    detector = FakeSpeechDetector.load(model, pool="first", exit=args.exit)
    trained, made_exit = load_trained(model, args.exit, torch.device("cpu"))
    stage = made_exit and made_exit.stage
    out = args.out_dir or training / ("export" if stage is None else f"export_exit{stage}")
    domain = domain_of(training)[0] if made_exit is None else None
    module = graph.WaveformDetector(trained)
    trials = checking.read_trials(args.int8) if args.int8 else None
    waveforms = checking.read_waveforms(args.data_dir, args.utts, trained.frontend_conf)
    wanted = checking.reference(detector, waveforms)
    frames = trained.detector.frame_head is not None
    about = detector.about()
    confs = confs_of(training, trained)
    metadata = {
        "about": about,
        "notice": "\n".join(about_lines(about)),
        "mini_corpus": about["mini_corpus"],
        "corpus": trained.corpus,
        "sample_rate": about["sample_rate"],
        "frontend": conf_files.to_dict(trained.frontend_conf),
        "training": {key: confs[key] for key in ("frontend_name", "model_name", "train_name", "seed") if key in confs},
        "toolkit": commit(),
    }
    out.mkdir(parents=True, exist_ok=True)
    cost: checking.Int8Cost | None = None
    with tempfile.TemporaryDirectory(dir=out, prefix=".export.") as folder:
        aside = Path(folder)
        parities: dict[str, checking.Parity | None] = {}
        if "onnx" in args.formats:
            onnx_file.write_onnx(aside / ONNX, graph.WaveformDetector(trained, domain), metadata)
            made = onnx_model.OnnxModel(aside / ONNX, args.num_threads)
            parities[ONNX] = checking.check_parity(out / ONNX, made.look_at, waveforms, wanted)
            if domain is not None:
                checking.check_distances(out / ONNX, made.look_at, waveforms, wanted)
            if frames:
                checking.check_frames(out / ONNX, made.look_at, waveforms, wanted, detector.window_seconds)
        if "pt2" in args.formats:
            graph.write_program(aside / PROGRAM, module, metadata)
            look_at = graph.read_program(aside / PROGRAM)
            parities[PROGRAM] = checking.check_parity(out / PROGRAM, look_at, waveforms, wanted)
            if frames:
                checking.check_frames(out / PROGRAM, look_at, waveforms, wanted, detector.window_seconds)
        if trials is not None:
            quantise.write_int8(aside / INT8, aside / ONNX, waveforms)
            parities[INT8] = None
            exact, int8 = onnx_model.OnnxModel(aside / ONNX), onnx_model.OnnxModel(aside / INT8)
            cost = checking.measure_int8(exact, int8, *trials, trained.frontend_conf)
        files = [
            card.ExportedFile(name, (aside / name).stat().st_size, sha256_of(aside / name), parity)
            for name, parity in parities.items()
        ]
        text = card.model_card(
            about,
            trained.corpus,
            confs,
            files,
            card.figures_of(training, stage),
            cost,
            str(args.data_dir),
            str(args.int8),
            f"{commit()} Exported by torch {torch.__version__} on {platform.machine()}.",
            stress_of(training) if stage is None else None,
        )
        for name in (ONNX, INT8, PROGRAM, CARD, FIGURES):
            (out / name).unlink(missing_ok=True)  # an older one would stand beside a card that does not tell of it
        for one in files:
            (aside / one.name).replace(out / one.name)
    write_lines(out / CARD, text.splitlines())
    write_json(
        out / FIGURES,
        {"files": [asdict(one) for one in files], "int8": None if cost is None else asdict(cost), "about": about},
    )
    for one in files:
        parity = "" if one.parity is None else f", scores within {one.parity.worst:.1e} of the toolkit's"
        print(f"{out / one.name}: {one.bytes} bytes{parity}")
    if cost is not None:
        print(
            f"int8: EER {cost.eer_int8:.2f} % for {cost.eer:.2f} %, difference {cost.eer_int8 - cost.eer:+.2f} "
            f"({cost.interval[0]:+.2f} to {cost.interval[1]:+.2f}); {cost.ratio:.2f} times as fast"
        )
    print(f"{out / CARD}: what it is and is not for")


if __name__ == "__main__":
    run_program(main)
