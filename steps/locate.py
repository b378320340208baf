#!/usr/bin/env python3
"""Say how well a detector finds the spoofed stretches of recordings: segment EERs at 20 to 640 ms, the EER of
durations, and the F1 of the stretches that it finds.

Data dirs need an rttm, which lists the spoofed stretches. A detector with a frame head (train.frames) has a score for
each frame. Any other has one for each window of about 4 s; these stand beside it for comparison. If dev is among the
sets, its threshold is kept in EXP, for detect.py and for the stretches of the other sets.

Writes EXP/results/SET/located.json, of an early exit after stage K EXP/results/SET_headK/located.json.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

import torch

from steps.evaluation.evaluation import stem_of
from steps.evaluation.locating import Located, Recording, lines_of, locate
from steps.experiment.exit_option import ADAPTIVE, add_exit_option
from steps.frontend.processing.audio import add_allow_pipes, read_wav_scp
from steps.inference.detector import FakeSpeechDetector
from steps.inference.frame_track import read_frame_threshold, write_frame_threshold
from utils.cli import THREADS, ProgressLog, UserError, make_parser, run_program
from utils.files import read_map, write_json
from utils.rttm import RTTM, read_rttm

DEV = "dev"


def recordings_of(detector: FakeSpeechDetector, data_dir: Path, allow_pipes: bool) -> Iterator[Recording]:
    """Raises UserError for a recording that cannot be scored."""
    if not (data_dir / RTTM).is_file():
        raise UserError(f"{data_dir / RTTM}: no such file; take a set whose spoofed stretches are known")
    stretches, labels = read_rttm(data_dir / RTTM), read_map(data_dir / "utt2label")
    wavs = read_wav_scp(data_dir / "wav.scp", allow_pipes)
    progress = ProgressLog(len(wavs.utts), "utt")
    for name, outcome in detector.score_files((utt, wavs[utt]) for utt in wavs.utts):
        if isinstance(outcome, UserError):
            raise outcome
        (result,) = outcome
        there = stretches.get(name, ())
        if labels.get(name) == "spoof" and not there:
            there = ((0.0, result.seconds),)
        yield Recording(result.track, there, result.seconds)
        progress.update()
    progress.close()


def main() -> int:
    parser = make_parser(
        __doc__,
        "steps/locate.py --data-dir data exp/train_f0_subband_frames_ecanet18_self_distill_frames_mini/seed1 dev eval",
    )
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of the Kaldi data dirs")
    parser.add_argument("--num-threads", type=THREADS, default=1, help="CPU threads")
    add_exit_option(parser)
    add_allow_pipes(parser)
    parser.add_argument("exp_dir", type=Path, metavar="EXP", help="folder of one training")
    parser.add_argument("sets", nargs="+", metavar="SET")
    args = parser.parse_args()
    if args.exit == ADAPTIVE:
        parser.error("--exit adaptive: it has no scores of frames; give a stage's number, or auto")
    torch.set_num_threads(args.num_threads)
    detector = FakeSpeechDetector.load(args.exp_dir, num_threads=args.num_threads, channels=0, exit=args.exit)
    stage = None if detector.exit is None else detector.exit["stage"]
    results: list[tuple[str, Located]] = []
    for name in sorted(args.sets, key=lambda name: name != DEV):  # the others use its threshold
        threshold = None if name == DEV else read_frame_threshold(args.exp_dir, stage)
        given = None if threshold is None else (threshold, DEV)
        try:
            found = locate(recordings_of(detector, args.data_dir / name, args.allow_pipes), given)
        except ValueError as error:
            raise UserError(f"{args.data_dir / name / RTTM}: {error}") from None
        if name == DEV:
            write_frame_threshold(args.exp_dir, found.threshold, str(args.data_dir / name), stage)
        folder = args.exp_dir / "results" / stem_of(name, stage)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "located.json", found.as_json())
        results.append((name, found))
    print("EER in percent: of segments by their length, of durations, of recordings")
    print("\n".join(lines_of(results)))
    return 0


if __name__ == "__main__":
    run_program(main)
