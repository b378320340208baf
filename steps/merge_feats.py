#!/usr/bin/env python3
"""Before and after the jobs of the feature stage: is the dump there already? are all of its parts?"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml

from steps.frontend import GLOBAL_CMVN, dump_identity, load_conf, make_frontend
from utils import conf as conf_files
from utils.ark import read_matrix, write_matrix
from utils.cli import UserError, make_parser, run_program, warn
from utils.files import read_map, sha256_of, write_lines
from utils.tables import Keys, Strings, order_of, read_big_map

ALREADY_WHOLE = 10


def identity(args) -> dict:
    return {"frontend": dump_identity(load_conf(args.frontend, args.set)), "wav_scp_sha256": sha256_of(args.wav_scp)}


def check(args) -> int:
    """0: the jobs have to run. ALREADY_WHOLE: nothing to do. Raises UserError if the folder has other features."""
    folder = Path(args.feats_dir)
    wanted = identity(args)
    conf_file = folder / "conf.yaml"
    if conf_file.exists():
        found = yaml.safe_load(conf_file.read_text(encoding="utf-8"))
        changed = conf_files.differences(found, wanted)
        if changed:
            raise UserError(
                f"{folder} has features made otherwise ({'; '.join(changed)}); "
                "give the changed conf a name of its own, choose another --feats-dir, or remove that folder"
            )
        if (folder / "feats.scp").exists():
            return ALREADY_WHOLE
    conf_files.write_yaml(conf_file, wanted)
    return 0


def in_order(lines: Strings) -> Iterator[str]:
    return (lines[place] for place in order_of(lines))


def merge(args) -> int:
    folder, parts = Path(args.feats_dir), Path(args.feats_dir) / "parts" / str(args.nj)
    made, scp, frames = Strings(), Strings(), Strings()
    bad: dict[str, str] = {}
    for job in range(1, args.nj + 1):
        prefix = parts / f"feats.{job}"
        for utt, place in read_big_map(f"{prefix}.scp").pairs():
            made.append(utt)
            scp.append(f"{utt} {place}")
        for utt, n in read_big_map(f"{prefix}.utt2num_frames").pairs():
            frames.append(f"{utt} {n}")
        bad |= read_map(f"{prefix}.bad")
    wanted, keys = read_big_map(args.wav_scp), Keys(made)
    lost = [utt for utt in wanted if keys.place(utt) < 0 and utt not in bad]
    if lost or keys.first_repeated() >= 0 or len(frames) != len(scp):
        raise UserError(
            f"{parts}: {len(made)} of {len(wanted)} utterances are there (first lost: {lost[:1]}); remove it and run again"
        )
    if bad:
        shown = "\n".join("  " + text for text in list(bad.values())[:20])
        more = f"\n  ... and {len(bad) - 20} more" if len(bad) > 20 else ""
        if not args.skip_bad:
            shutil.rmtree(parts)  # so that a mended file is read again
            raise UserError(
                f"{len(bad)} of {len(wanted)} utterances cannot be used:\n{shown}{more}\n"
                "mend these files, or leave the utterances out with --skip-bad true"
            )
        warn(
            f"--skip-bad: {len(bad)} of {len(wanted)} utterances are left out, listed in {folder / 'skipped'}:\n{shown}{more}"
        )
        if not len(made):
            raise UserError(f"{args.wav_scp}: no utterance can be used")
        write_lines(folder / "skipped", bad.values())
    if make_frontend(load_conf(args.frontend, args.set)).normalised_globally:
        write_matrix(
            folder / GLOBAL_CMVN, sum(read_matrix(parts / f"feats.{job}.cmvn") for job in range(1, args.nj + 1))
        )
    write_lines(folder / "utt2num_frames", in_order(frames))
    write_lines(folder / "feats.scp", in_order(scp))  # last: a dump that has it is whole
    return 0


def main() -> int:
    parser = make_parser(
        __doc__,
        "steps/merge_feats.py check --frontend conf/frontend/f0_subband.yaml data/train/wav.scp feats/f0_subband/train",
    )
    parser.add_argument("action", choices=["check", "merge"])
    parser.add_argument("--frontend", required=True, help="conf of the front end")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a conf's key")
    parser.add_argument("--nj", type=int, default=1, help="how many parts there are")
    parser.add_argument("--skip-bad", action="store_true", help="list bad utterances in skipped instead of failing")
    parser.add_argument("wav_scp")
    parser.add_argument("feats_dir")
    args = parser.parse_args()
    return check(args) if args.action == "check" else merge(args)


if __name__ == "__main__":
    run_program(main)
