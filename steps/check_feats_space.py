#!/usr/bin/env python3
"""Compare the disk space that the features will take with the free space, before the feature stage.

Counts missing features only: neither complete sets, nor finished parts of an interrupted run.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

import numpy as np

from steps.frontend import FrontEndBase, load_conf, make_frontend
from utils.cli import UserError, make_parser, run_program, whole_number
from utils.segments import durations

_BYTES = {"none": 4, "16bit": 2, "8bit": 1}
_POINTS = 8  # durations at which frames are counted; in between, their number is taken to be linear


def frames_of(frontend: FrontEndBase, seconds: np.ndarray) -> np.ndarray:
    """Frames that the front end makes of utterances of these durations (s), (n,) float64, to within a frame or two."""
    rate = frontend.conf.sample_rate
    points = np.unique(np.quantile(seconds, np.linspace(0, 1, _POINTS)))
    noise = np.random.default_rng(0).standard_normal(max(1, int(points[-1] * rate))) * 0.1
    counts = [len(frontend.compute(noise[: max(1, int(point * rate))])) for point in points]
    return np.interp(seconds, points, counts)


def feats_bytes(frontend: FrontEndBase, data: Path) -> int:
    """About how many bytes a data dir's features take in ark files. Raises UserError as utils.segments.durations
    does."""
    seconds = np.fromiter((length for _, length in durations(data)), np.float64)
    if not len(seconds):
        raise UserError(f"{data / 'utt2dur'}: no utterances")
    return int(frames_of(frontend, seconds).sum() * frontend.n_columns * _BYTES[frontend.conf.compress])


def in_words(count: int) -> str:
    """115 MiB, 1.9 GiB."""
    mib = count / 2**20
    return f"{mib / 1024:.1f} GiB" if mib >= 1000 else f"{max(1, round(mib))} MiB"


def finished_bytes(feats: Path, jobs: int) -> int:
    """Bytes in the arks of a set's parts that a run with as many jobs has finished and the next one will keep."""
    parts = feats / "parts" / str(jobs)
    done = [job for job in range(1, jobs + 1) if (parts / f"feats.{job}.utt2num_frames").exists()]
    arks = (parts / f"feats.{job}.ark" for job in done)
    return sum(ark.stat().st_size for ark in arks if ark.exists())


def existing(path: Path) -> Path:
    """The folder in which `path`, links followed, is or would be made."""
    there = path.resolve()
    while not there.exists():
        there = there.parent
    return there


def main() -> int:
    parser = make_parser(
        __doc__, "steps/check_feats_space.py --frontend conf/frontend/lps.yaml data feats/lps train dev eval"
    )
    parser.add_argument("--frontend", required=True, help="conf of the front end")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a conf's key")
    parser.add_argument(
        "--nj", type=whole_number(1), default=1, help="jobs of the feature stage, to find existing parts"
    )
    parser.add_argument("data_dir", type=Path, metavar="DATA", help="folder of the data dirs")
    parser.add_argument("feats_dir", type=Path, metavar="FEATS", help="folder of the sets' features, feats/<frontend>")
    parser.add_argument("sets", nargs="+", metavar="SET")
    args = parser.parse_args()

    frontend = make_frontend(load_conf(args.frontend, args.set))
    sizes: dict[str, int] = {}
    by_disk: dict[int, tuple[Path, int]] = {}  # device -> a folder on it, bytes to come
    for name in args.sets:
        feats = args.feats_dir / name
        if (feats / "feats.scp").exists():
            continue
        sizes[name] = max(0, feats_bytes(frontend, args.data_dir / name) - finished_bytes(feats, args.nj))
        there = existing(feats)
        device = there.stat().st_dev
        folder, before = by_disk.get(device, (there, 0))
        by_disk[device] = (folder, before + sizes[name])
    if not sizes:
        return 0
    each = ", ".join(f"{name} {in_words(size)}" for name, size in sizes.items())
    text = f"about {in_words(sum(sizes.values()))} of features to make ({each})"
    frees = {folder: (needed, shutil.disk_usage(folder).free) for folder, needed in by_disk.values()}
    text += "; " + ", ".join(f"{in_words(free)} are free in {folder}" for folder, (_, free) in frees.items())
    if any(needed > free for needed, free in frees.values()):
        fixes = ["give a folder on a larger disk (--feats-dir)", "take a front end of fewer bins (--frontend)"]
        if frontend.conf.compress == "none":
            fixes.insert(0, "halve or quarter them (--set frontend.compress=16bit or 8bit)")
        raise UserError(f"{text}: they do not fit; {', '.join(fixes)}, or free some space")
    print(f"check_feats_space.py: {text}")
    return 0


if __name__ == "__main__":
    run_program(main)
