#!/usr/bin/env python3
"""Measure processor time and memory of lists of 10,000 to 1,000,000 utterances, by the number of utterances.

Made-up lists (no audio, no features): wav.scp, utt2spk, spk2utt, utt2label, utt2attack, utt2dur, feats.scp and scores.
Each piece of work runs in its own process. Seconds are processor time in one thread, without the program's start. MiB
are the peak minus the memory after the imports and the work on 100 utterances. The slope is that of time and of memory
over utterances, both logarithmic, between the last two sizes: 1 is linear. Costs of 10,000 utterances are near the
smallest measurable ones, so that slopes from there may be lower.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.bench.ratios import note
from utils.cli import make_parser, real_number, run_program, whole_number

SPEAKERS_PER, ARKS, FRAMES, BINS = 500, 64, 330, 45
TABLES = ("wav.scp", "utt2spk", "spk2utt", "utt2label", "utt2attack", "utt2dur", "feats.scp")


def make_lists(folder: Path, n: int, first: int = 0) -> None:
    """A data dir of n utterances in order, with feats.scp; 500 utterances a speaker, nine of ten spoof."""
    folder.mkdir(parents=True)
    draw = random.Random(n + first)
    with contextlib.ExitStack() as stack:
        table = {name: stack.enter_context((folder / name).open("w")) for name in TABLES}
        speaker, per_ark = "", math.ceil(n / ARKS)
        for i in range(first, first + n):
            own = f"S{i // SPEAKERS_PER:05d}"
            utt = f"{own}_{i:08d}"
            if own != speaker:
                table["spk2utt"].write(("\n" if speaker else "") + own)
                speaker = own
            table["spk2utt"].write(f" {utt}")
            attack = "-" if draw.random() < 0.1 else f"A{draw.randrange(1, 20):02d}"
            place = f"/data/feats/f0_subband/train/parts/{ARKS}/feats.{(i - first) // per_ark + 1}.ark"
            for name, value in (
                ("wav.scp", f"/data/corpus/flac/{utt}.flac"),
                ("utt2spk", own),
                ("utt2label", "bonafide" if attack == "-" else "spoof"),
                ("utt2attack", attack),
                ("utt2dur", f"{draw.uniform(1, 6):.3f}"),
                ("feats.scp", f"{place}:{(i - first) % per_ark * FRAMES * BINS * 4 + len(utt) + 1}"),
            ):
                table[name].write(f"{utt} {value}\n")
        table["spk2utt"].write("\n")


def make_all(folder: Path, n: int) -> None:
    """What the pieces of work need, under `folder`."""
    make_lists(folder / "data", n)
    make_lists(folder / "half1", n // 2)
    make_lists(folder / "half2", n - n // 2, n // 2)
    shuffled = folder / "shuffled"
    shutil.copytree(folder / "data", shuffled)
    lines = (shuffled / "utt2label").read_text().splitlines(keepends=True)
    random.Random(1).shuffle(lines)
    (shuffled / "utt2label").write_text("".join(lines[: max(1, int(0.99 * n))]))
    feats = folder / "feats"
    feats.mkdir()
    with contextlib.ExitStack() as stack:
        scp, places = stack.enter_context((feats / "feats.scp").open("w")), (folder / "data/feats.scp").open()
        sums = [stack.enter_context((feats / f"feats.{k + 1}.ark.crc32").open("w")) for k in range(ARKS)]
        for line in stack.enter_context(places):
            utt, place = line.split()
            name, offset = place.rpartition("/")[2].split(":")
            scp.write(f"{utt} {feats}/{name}:{offset}\n")
            sums[int(name.split(".")[1]) - 1].write(f"{utt} {offset} {FRAMES * BINS * 4} {int(offset) % 2**32:08x}\n")
    with (folder / "data/utt2spk").open() as utts, (feats / "utt2num_frames").open("w") as frames:
        frames.writelines(f"{line.split()[0]} {FRAMES}\n" for line in utts)
    draw = random.Random(2)
    with (folder / "data/utt2attack").open() as attacks, (folder / "scores.txt").open("w") as scores:
        for line in attacks:
            utt, attack = line.split()
            score = draw.gauss(2.0 if attack == "-" else 0.0, 1.5)
            scores.write(f"{utt} {attack} {'bonafide' if attack == '-' else 'spoof'} {score!r}\n")


# ---- the pieces of work: each imports what it needs, and returns what is to be measured ----


def _program(name: str, *args: object) -> Callable[[], object]:
    from utils.data_dir import PROGRAMS

    def run() -> None:
        sys.argv = [name, *map(str, args)]
        PROGRAMS[name]()

    return run


def validate(folder: Path) -> Callable[[], object]:
    return _program("validate_data_dir.sh", "--no-text", folder / "data")


def fix(folder: Path) -> Callable[[], object]:
    return _program("fix_data_dir.sh", folder / "data")


def fix_shuffled(folder: Path) -> Callable[[], object]:
    return _program("fix_data_dir.sh", folder / "shuffled")


def subset(folder: Path) -> Callable[[], object]:
    lines = sum(1 for _ in (folder / "data/utt2spk").open())
    return _program("subset_data_dir.sh", folder / "data", lines // 2, folder / "subset")


def combine(folder: Path) -> Callable[[], object]:
    return _program("combine_data.sh", folder / "both", folder / "half1", folder / "half2")


def read_scp(folder: Path) -> Callable[[], object]:
    from utils.ark import ScpReader

    return lambda: ScpReader(folder / "data/feats.scp")


def _frontend(folder: Path):
    """The front end; the features' folder then says that it made them."""
    from steps.frontend import dump_identity, load_conf, make_frontend
    from utils.conf import write_yaml

    conf = load_conf(ROOT / "conf/frontend/f0_subband.yaml")
    write_yaml(folder / "feats/conf.yaml", {"frontend": dump_identity(conf)})
    return make_frontend(conf)


def start_training(folder: Path) -> Callable[[], object]:
    """What is done before the first batch and grows with the set."""
    from steps.data.batches import FeatureSet
    from steps.experiment.training_folder import set_identity, source_of

    frontend = _frontend(folder)

    def run() -> object:
        set_identity(folder / "data", folder / "feats")
        source = source_of(folder / "data", folder / "feats", frontend, False, "")
        features = FeatureSet(folder / "data", source, frontend, 0)
        assert len(set(features.labels.tolist())) == 2
        return features

    return run


def start_shards(folder: Path) -> Callable[[], object]:
    """The same where features are read by shards: the arks' checksums, the epoch's order and what is read for which
    batch."""
    from steps.data.reading import SharedPlan

    begin = start_training(folder)

    def run() -> object:
        features = begin()
        return features, SharedPlan(features.epoch_plan(64, 1, 1), slice)

    return run


def epoch_order(folder: Path) -> Callable[[], object]:
    from steps.data.batches import training_plan

    n = sum(1 for _ in (folder / "data/utt2spk").open())
    return lambda: sum(len(indices) for indices in training_plan(n, 64, 1, 1))


def score(folder: Path) -> Callable[[], object]:
    """Reading a set's lists and writing its scores, without the network."""
    import numpy as np

    from steps import score as program

    frontend, program._CACHE_MIB = _frontend(folder), 0

    def run() -> None:
        trials = program.Trials(
            folder / "data", folder / "feats", frontend, folder, False, batch_size=64, part=1, parts=1
        )
        trials.write(folder / "written.txt", np.random.default_rng(1).standard_normal(len(trials.features)))

    return run


def evaluate(folder: Path) -> Callable[[], object]:
    """All figures against the set's protocol, by attack, speaker and duration, without bootstrap and plots."""
    from steps.evaluation.measuring import Breakdowns
    from steps.results.evaluation_output import evaluate_files

    by = Breakdowns(folder / "data/utt2spk", None, folder / "data/utt2dur")
    return lambda: evaluate_files(
        folder / "scores.txt", folder / "results", None, folder / "data", breakdowns=by, plot=False
    )


WORK = {
    "validate": validate,
    "fix, all in order": fix,
    "fix, one table shuffled": fix_shuffled,
    "subset, half": subset,
    "combine two halves": combine,
    "read feats.scp": read_scp,
    "start of training": start_training,
    "start, by shards": start_shards,
    "an epoch's order": epoch_order,
    "lists of scoring": score,
    "evaluate": evaluate,
}


def memory(field: str) -> float:
    """MiB that this process holds (VmRSS), or the most that it has held (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def measure(name: str, small: Path, folder: Path) -> None:
    """One piece of work, as JSON on standard output."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        WORK[name](small)()
        run = WORK[name](folder)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        held = memory("VmRSS")
        before = resource.getrusage(resource.RUSAGE_SELF)
        kept = run()
        after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    print(json.dumps({"seconds": seconds, "peak": memory("VmHWM") - held, "kept": memory("VmRSS") - held}))
    del kept


def slope(sizes: list[int], values: list[float]) -> float:
    """Of the logarithms, between the last two sizes."""
    if len(sizes) < 2 or min(values[-2:]) <= 0:
        return math.nan
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def table(found: dict[str, dict[int, dict[str, float]]], sizes: list[int]) -> list[str]:
    """A Markdown table: seconds and MiB of each size, bytes and microseconds per utterance of the largest, slopes."""
    heads = [f"{n:,}" for n in sizes]
    lines = [
        "| | " + " | ".join(f"s, {head}" for head in heads) + " | us each | slope | "
        + " | ".join(f"MiB, {head}" for head in heads) + " | bytes each | slope |",
        "|---|" + "---:|" * (2 * len(sizes) + 4),
    ]  # fmt: skip
    for name, by_size in found.items():
        seconds, peak = ([by_size[n][key] for n in sizes] for key in ("seconds", "peak"))
        lines.append(
            f"| {name} | " + " | ".join(f"{value:.2f}" for value in seconds)
            + f" | {seconds[-1] / sizes[-1] * 1e6:.1f} | {slope(sizes, seconds):.2f} | "
            + " | ".join(f"{value:.1f}" for value in peak)
            + f" | {peak[-1] * 2**20 / sizes[-1]:.0f} | {slope(sizes, peak):.2f} |"
        )  # fmt: skip
    return lines


def main() -> int:
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
        return 0
    parser = make_parser(__doc__, "tests/bench/big_corpora.py --utterances 10000 100000 1000000")
    parser.add_argument(
        "--utterances", type=whole_number(1), nargs="+", default=[10_000, 100_000], metavar="N", help="sizes"
    )
    parser.add_argument("--work", nargs="+", choices=list(WORK), default=list(WORK), help="work to measure")
    parser.add_argument("--json", type=Path, help="keep the figures in this file, and continue from those in it")
    parser.add_argument("--work-dir", type=Path, default=Path(tempfile.gettempdir()), help="where to make the lists")
    parser.add_argument(
        "--limit", type=real_number(above=0), default=1.25, help="status 1 if a slope of time is above this"
    )
    args: argparse.Namespace = parser.parse_args()
    found: dict[str, dict[int, dict[str, float]]] = {name: {} for name in args.work}
    if args.json and args.json.exists():
        for name, by_size in json.loads(args.json.read_text()).items():
            found[name] = {int(n): one for n, one in by_size.items()}
    sizes = sorted(args.utterances)
    with tempfile.TemporaryDirectory(dir=args.work_dir) as made:
        make_all(Path(made) / "small", 200)
        for n in sizes:
            wanted = [name for name in args.work if n not in found[name]]
            folder = Path(made) / str(n)
            if wanted:
                make_all(folder, n)
            for name in wanted:
                for data in (Path(made) / "small", folder):
                    for target in (data / "subset", data / "both"):
                        shutil.rmtree(target, ignore_errors=True)
                command = [sys.executable, __file__, "--measure", name, Path(made) / "small", folder]
                threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
                done = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True)
                if done.returncode:
                    sys.stderr.write(done.stderr)
                    return 1
                found[name][n] = json.loads(done.stdout)
                one = found[name][n]
                print(
                    f"{n} utterances, {name}: {one['seconds']:.2f} s, {one['peak']:.1f} MiB, of which {one['kept']:.1f}"
                    " stay",
                    flush=True,
                )
                if args.json:
                    args.json.write_text(json.dumps(found, indent=1) + "\n")
            shutil.rmtree(folder, ignore_errors=True)
    print(*table(found, sizes), sep="\n")
    slopes = {name: slope(sizes, [by_size[n]["seconds"] for n in sizes]) for name, by_size in found.items()}
    for name, value in slopes.items():
        note(f"{name}, power of the time", [value])
    steep = {name: value for name, value in slopes.items() if value > args.limit}
    for name, value in steep.items():
        print(f"{name}: time grows with the power {value:.2f} of the utterances, above {args.limit}")
    return int(bool(steep))


if __name__ == "__main__":
    run_program(main)
