#!/usr/bin/env python3
"""Score recordings as bona fide or spoof: score, log-likelihood ratio, verdict and the windows below the threshold."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

import torch

from steps.evaluation.costs import costs_of
from steps.experiment import training_folder
from steps.experiment.exit_option import add_exit_option
from steps.frontend.processing.audio import Audio, add_allow_pipes
from steps.inference import picture
from steps.inference.calibration import add_decision_options
from steps.inference.detector import EACH, MIX, POOLS, FakeSpeechDetector, Opening
from steps.inference.inputs import find_recordings
from steps.inference.output import JsonLines, Output, Table, Tsv, printable, summary
from steps.inference.result import Result
from utils import audio
from utils.cli import (
    THREADS,
    ProgressLog,
    UserError,
    make_parser,
    real_number,
    run_program,
    warn,
    whole_number,
    word_or,
)

STDIN = "-"
LOWEST = 3  # stretches that are named


def main() -> int:
    parser = make_parser(
        __doc__ + " Exit status 1 if a recording could not be scored; the others are still scored. See docs/detect.md.",
        "steps/detect.py --model exp/train_f0_subband_senet34_self_distill/seed1 a.wav b.mp3 folder/"
        " data/eval/wav.scp\nsteps/detect.py --model exp/NAME/seed1 --tsv --windows --png pictures talk.m4a >"
        " talk.tsv\narecord -f S16_LE -r 16000 -t raw | steps/detect.py --model exp/NAME/seed1 --stream --rate 16000 -",
    )
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="EXP",
        help="folder of one training, a final.pt, or an .onnx of export.py",
    )
    add_decision_options(parser)
    parser.add_argument(
        "--pool",
        choices=POOLS,
        default=POOLS[0],
        help="the recording's score from those of its windows; every: their mean, and bonafide only if each window is "
        "above the threshold; mean: the mean alone decides",
    )
    parser.add_argument(
        "--hop", type=real_number(0, 1e6), metavar="SECONDS", help="seconds between windows; half a window if not given"
    )
    parser.add_argument(
        "--channels",
        type=word_or(whole_number(), MIX, EACH),
        metavar="WHICH",
        help="of several channels: mix, each, or a number from 0; mix if not given, or the one that the front end's "
        "conf names",
    )
    add_exit_option(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--tsv", action="store_true", help="tab-separated values at full precision instead of a table")
    form.add_argument("--json", action="store_true", help="one JSON object per line, with all windows")
    parser.add_argument("--windows", action="store_true", help="a line for each window too, in a table or --tsv")
    parser.add_argument(
        "--png", type=Path, metavar="DIR", help="write pictures of waveform, spectrogram, score over time"
    )
    parser.add_argument("--stream", action="store_true", help="score standard input as it arrives, a line for each hop")
    parser.add_argument(
        "--rate", type=whole_number(1), metavar="HZ", help="standard input is s16le of one channel without a header"
    )
    add_allow_pipes(parser)
    parser.add_argument(
        "--batch-size", type=whole_number(1), default=16, help="windows scored together, of one recording or several"
    )
    parser.add_argument("--num-threads", type=THREADS, default=os.cpu_count() or 1, help="CPU threads")
    parser.add_argument("--ngpu", type=whole_number(), default=0, help="0: CPU, 1: one GPU, for the network")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="RECORDING",
        help="audio or video, a folder, a wav.scp, a data dir, or - for standard input",
    )
    args = parser.parse_args()

    if args.stream and args.inputs != [STDIN]:
        parser.error("--stream reads standard input: give - and nothing else")
    if args.stream and (args.png or args.pool not in ("every", "mean")):
        parser.error("--stream gives windows as they come: neither --png nor --pool min or first goes with it")
    if args.rate is not None and args.inputs.count(STDIN) != 1:
        parser.error("--rate is of standard input: give - once")
    torch.set_num_threads(args.num_threads)
    detector = FakeSpeechDetector.load(
        args.model,
        args.calibration,
        args.prior,
        args.threshold,
        args.hop,
        args.pool,
        args.channels,
        training_folder.pick_device(args.ngpu),
        args.batch_size,
        args.num_threads,
        args.exit,
        costs_of(args),
        args.judge_outside,
    )
    if args.stream:
        return stream(detector, args.rate, _output(args, [STDIN]))
    if args.png is not None:
        _make_folder(args.png)
    return Scoring(detector, args.png, args.allow_pipes).run(args.inputs, args.rate, lambda names: _output(args, names))


def _make_folder(path: Path) -> None:
    """Raises UserError where pictures cannot be written, before anything is scored."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--png {path}: no folder can be made there: {error.strerror}; choose another folder") from None


def _output(args: object, names: Sequence[str]) -> Output:
    if args.json:
        return JsonLines(LOWEST)
    return Tsv(args.windows, LOWEST) if args.tsv else Table(names, args.windows, LOWEST)


def _say(lines: Sequence[str], progress: ProgressLog | None = None) -> None:
    """On standard output; where a progress bar stands on the same terminal, above it."""
    for line in lines:
        if progress is not None and sys.stdout.isatty():
            progress.say(line, sys.stdout)
        else:
            print(line)
    sys.stdout.flush()


class Scoring:
    """A run over recordings: what could be scored, and what could not."""

    def __init__(self, detector: FakeSpeechDetector, pictures: Path | None, allow_pipes: bool = False):
        self._detector, self._pictures, self._allow_pipes = detector, pictures, allow_pipes
        self._drawn: set[str] = set()
        self._counts: Counter[str | None] = Counter()

    def run(self, inputs: Sequence[str], rate: int | None, make_output: Callable[[Sequence[str]], Output]) -> int:
        """Scores and prints all; the exit status."""
        detector = self._detector
        with contextlib.ExitStack() as stack:
            found, refused = self._find(inputs, rate, stack)
            output = make_output([name for name, _ in found])
            _say(output.head(detector.about()))
            for name, message in refused:
                _say(output.failed(name, message))
            failed = len(refused)
            progress = ProgressLog(len(found), "file") if len(found) > 1 else None
            for name, outcome in detector.score_files(found, overview=self._pictures is not None):
                if isinstance(outcome, UserError):
                    failed += 1
                    _say(output.failed(name, str(outcome)), progress)
                else:
                    _say(output.results(outcome), progress)
                    for result in outcome:
                        self._counts[result.verdict] += 1
                        self._draw(result)
                if progress is not None:
                    progress.update()
            if progress is not None:
                progress.close()
        if len(found) + len(refused) > 1:
            sys.stderr.write(f"detect.py: {summary(self._counts, failed)}\n")
        return 1 if failed else 0

    def _find(
        self, inputs: Sequence[str], rate: int | None, stack: contextlib.ExitStack
    ) -> tuple[list[tuple[str, Audio | Opening]], list[tuple[str, str]]]:
        """(name, path) of what is to be scored, and (name, message) of arguments that lead nowhere."""
        found: list[tuple[str, Audio | Opening]] = []
        refused: list[tuple[str, str]] = []
        for argument in inputs:
            if argument == STDIN:
                found.append((STDIN, self._standard_input(rate, stack)))
                continue
            try:
                path = stack.enter_context(audio.seekable(argument))
                if path == argument:
                    found += find_recordings([argument], self._allow_pipes)
                else:
                    found.append((argument, path))
            except UserError as error:
                refused.append((argument, str(error)))
        return found, refused

    @staticmethod
    def _standard_input(rate: int | None, stack: contextlib.ExitStack) -> str | Opening:
        """Raw samples are read as they are; what has a header may have to be read to and fro, and goes to disk
        first."""
        if rate is not None:
            return audio.open_stream(sys.stdin.buffer, rate)
        return stack.enter_context(audio.seekable(sys.stdin.buffer))

    def _draw(self, result: Result) -> None:
        if self._pictures is None:
            return
        plain = "".join(c if c.isalnum() or c in "._-" else "_" for c in printable(Path(result.name).name))
        plain = plain.encode()[:120].decode(errors="ignore")  # a file's name has 255 bytes at most
        plain = plain.lstrip(".") or "recording"
        if result.channel not in (None, "mixed"):
            plain += f".{result.channel}"
        name, number = plain, 1
        while name in self._drawn:
            number += 1
            name = f"{plain}.{number}"
        self._drawn.add(name)
        picture.draw(self._pictures / f"{name}.png", result, self._detector.about(), LOWEST)


def stream(detector: FakeSpeechDetector, rate: int | None, output: Output) -> int:
    """Scores standard input as it arrives: a line of each window when it is over. Returns the exit status."""
    _say(output.stream_head(detector.about()))
    with audio.open_stream(sys.stdin.buffer, rate) as recording:
        for heard in detector.stream(recording):
            _say(output.heard(heard))
    for note in recording.notes:
        warn(note)
    return 0


if __name__ == "__main__":
    run_program(main)
