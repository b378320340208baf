#!/usr/bin/env python3
"""Compute the utterances of one part of a data dir into one ark: one job of the feature stage."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

import numpy as np

from steps.frontend import UTT2BANDS, load_conf, make_frontend, read_utterance
from steps.frontend.processing.audio import add_allow_pipes, read_wav_scp
from steps.frontend.processing.columns import CmvnStats
from steps.frontend.processing.made_from import UTT2AUDIO, stamp_line
from utils.ark import ArkWriter, write_matrix
from utils.cli import ProgressLog, UserError, make_parser, run_program, whole_number
from utils.files import write_lines

GPU_BATCH = 32  # utterances that a GPU computes together
GPU_SAMPLES = 2**25  # of them, each counted as long as the longest: 256 MiB as float64, a minute each at 16 kHz


def part_of(utts: Sequence[str], part: str) -> list[str]:
    """The utterances of part `K/N`: N contiguous parts whose sizes differ by one at most."""
    try:
        k, n = map(int, part.split("/"))
    except ValueError:
        raise UserError(f"--part {part}: write it as K/N, such as 1/4") from None
    if not 1 <= k <= n:
        raise UserError(f"--part {part}: K must be between 1 and N")
    return utts[len(utts) * (k - 1) // n : len(utts) * k // n]


def batches_of(
    utterances: Iterable[tuple[str, np.ndarray]], size: int, samples: int
) -> Iterator[dict[str, np.ndarray]]:
    """Waveforms by utterance, in their order: at most `size`, and at most `samples` were all as long as the longest.

    An utterance that is longer than that comes alone. No further waveform is asked for than is needed to know that a
    batch is full.
    """
    batch: dict[str, np.ndarray] = {}
    longest = 0
    for utt, waveform in utterances:
        longest = max(longest, len(waveform))
        if batch and (len(batch) + 1) * longest > samples:
            yield batch
            batch, longest = {}, len(waveform)
        batch[utt] = waveform
        if len(batch) == size:
            yield batch
            batch, longest = {}, 0
    if batch:
        yield batch


def main() -> int:
    parser = make_parser(
        __doc__,
        "steps/compute_feats.py --frontend conf/frontend/f0_subband.yaml --part 1/4 \\\n"
        "  data/train/wav.scp feats/f0_subband/train/parts/4/feats.1",
    )
    parser.add_argument("--frontend", required=True, help="conf of the front end")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a conf's key")
    parser.add_argument("--part", default="1/1", metavar="K/N", help="compute the K-th of N parts")
    parser.add_argument(
        "--ngpu",
        type=whole_number(0, 1),
        default=0,
        help="1: in batches on a GPU; the same numbers except for rounding",
    )
    add_allow_pipes(parser)
    parser.add_argument(
        "wav_scp", help="wav.scp of a data dir: lines UTT PATH, or RECORDING PATH if there is a segments"
    )
    parser.add_argument(
        "prefix",
        help=(
            "writes PREFIX.ark, PREFIX.scp, PREFIX.utt2num_frames, PREFIX.utt2bands (levels of third-octave bands, dB),"
            " PREFIX.utt2audio (size and time of the audio), PREFIX.bad; PREFIX.cmvn for global normalisation"
        ),
    )
    args = parser.parse_args()

    frontend = make_frontend(load_conf(args.frontend, args.set))
    if args.ngpu:
        from steps.experiment.training_folder import (
            pick_device,  # here, because it loads torch, which jobs without a GPU do without
        )

        device = str(pick_device(args.ngpu))
    wavs = read_wav_scp(args.wav_scp, args.allow_pipes)
    utts = part_of(wavs.utts, args.part)
    num_frames: list[str] = []
    levels: list[str] = []
    made_from: list[str] = []
    bad: list[str] = []
    stats = CmvnStats(frontend.n_columns)
    progress = ProgressLog(len(utts), "utt")

    def readable() -> Iterator[tuple[str, np.ndarray]]:
        for utt in utts:
            made_from.append(stamp_line(utt, wavs[utt]))  # before: what replaces it while it is read is noticed
            try:
                waveform = read_utterance(utt, wavs[utt], frontend.conf)
            except UserError as error:
                why = " ".join(str(error).split())  # a line of a table
                sys.stderr.write(f"bad utterance: {why}\n")
                bad.append(f"{utt} {why}")
                progress.update()
                continue
            yield utt, waveform

    mark = Path(f"{args.prefix}.utt2num_frames")  # written last: a part that has it is whole
    mark.unlink(missing_ok=True)
    with ArkWriter(args.prefix, frontend.conf.compress) as writer:
        for waveforms in batches_of(readable(), GPU_BATCH if args.ngpu else 1, GPU_SAMPLES):
            standard = [frontend.standardised(waveform) for waveform in waveforms.values()]
            if args.ngpu:
                made = frontend.compute_standardised_batch(standard, device)
            else:
                made = map(frontend.compute_standardised, standard)
            for utt, waveform, features in zip(waveforms, standard, made):
                if not np.isfinite(features).all():
                    error = f"{utt} ({wavs[utt]}): its features are not finite"
                    sys.stderr.write(f"bad utterance: {error}\n")
                    bad.append(f"{utt} {error}")
                    continue
                writer.write(utt, features)
                num_frames.append(f"{utt} {len(features)}")
                levels.append(f"{utt} {' '.join(f'{level:.1f}' for level in frontend.levels(waveform))}")
                if frontend.normalised_globally:
                    stats.add(features)
            progress.update(len(waveforms))
    progress.close()
    if frontend.normalised_globally:
        write_matrix(f"{args.prefix}.cmvn", stats.matrix)
    write_lines(f"{args.prefix}.bad", bad)
    write_lines(f"{args.prefix}.{UTT2BANDS}", levels)
    write_lines(f"{args.prefix}.{UTT2AUDIO}", made_from)
    write_lines(mark, num_frames)
    return 0


if __name__ == "__main__":
    run_program(main)
