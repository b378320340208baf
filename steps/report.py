#!/usr/bin/env python3
"""The report of experiments: one HTML page, which needs no network and no other file, that compares systems."""

from __future__ import annotations

import contextlib
import hashlib
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from steps.experiment.experiments import Experiment, add_beside, read_experiments, read_with_those_beside
from steps.experiment.stress_results import stress_files
from steps.frontend.processing.audio import add_allow_pipes
from steps.results.report import (
    attacks,
    coverage,
    curves,
    environments,
    heads,
    histograms,
    laundering,
    provenance,
    summary,
)
from steps.results.report.page import Section, Text, render
from steps.results.report.systems import Comparison, compare
from utils.cli import ProgressLog, UserError, make_parser, run_program, warn
from utils.files import write_aside

ROOT = Path(__file__).resolve().parents[1]
LOOKS_INSIDE = {"embedding": "Embeddings", "grad_cam": "Grad-CAM"}  # sections that run the detectors
CAM_STAGES = (2, 4)  # of the backbone, that Grad-CAM looks at
OF_A_SEED = ("conf.yaml", "detector.json", "epochs.tsv", "final.pt", "scores/*.txt", "results/*/evaluation.json")
OF_A_DATA_DIR = ("*/wav.scp", "*/segments", "*/reco2file_and_channel", "*/utt2attack", "*/asv_scores")


def digest_of(experiments: list[Experiment], data_dir: Path, given: str) -> str:
    """Of all that a page is made from: `given`, the files read, and the program itself."""
    files = [Path(__file__), *sorted((ROOT / "steps/results/report").glob("*.[phcj]*"))]
    for e in experiments:
        files += stress_files(e.folder)
        for seed in e.seeds:
            files += [path for form in OF_A_SEED for path in sorted((e.folder / f"seed{seed.number}").glob(form))]
    files += [path for form in OF_A_DATA_DIR for path in sorted(data_dir.glob(form))]
    digest = hashlib.sha256(given.encode())
    for path in files:
        digest.update(str(path).encode() + b"\0")
        with path.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def is_made_of(path: Path, digest: str) -> bool:
    """Whether the page at `path` says that it was made from these inputs."""
    try:
        with path.open(encoding="utf-8") as handle:
            return f'<meta name="inputs" content="{digest}">' in handle.read(4096)
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def inside(comparison: Comparison, wanted: list[str]) -> Iterator[Section]:
    """The sections that look into the detectors; one whose inputs lack says why and how to get them."""
    detectors = None
    for key in wanted:
        try:
            wavs = comparison.data / "wav.scp"
            if not wavs.is_file():
                raise UserError(f"there is no {wavs}; name the folder of the data dirs by --data-dir")
            from steps.results.report import embedding, grad_cam
            from steps.results.report.detectors import Detectors

            detectors = detectors or Detectors(comparison)
            if key == "embedding":
                made = embedding.section(comparison, detectors)
            else:
                made = grad_cam.section(comparison, detectors, CAM_STAGES)
        except UserError as error:
            warn(f"left out of the report: {LOOKS_INSIDE[key]}: {error}")
            made = Section(key, LOOKS_INSIDE[key], [Text(f"Left out: {error}.", "note")])
        yield made


def main() -> None:
    parser = make_parser(
        f"{__doc__} Means and intervals of every set; then of one set DET curves, figures by attack and room, scores"
        " and thresholds, training curves, the four heads, maps of the embeddings, and Grad-CAM of single trials with"
        " their audio. A page that is there and was made from the same inputs is kept.",
        "steps/report.py --data-dir data --out exp/report.html exp/train_*_baseline exp/train_*_self_distill",
    )
    parser.add_argument(
        "experiments", metavar="EXP", nargs="+", type=Path, help="experiment folders, with seed<N> in them"
    )
    parser.add_argument("--out", metavar="HTML", type=Path, default=Path("report.html"), help="the page to write")
    parser.add_argument(
        "--set", metavar="SET", help="the set that is shown in detail; eval, or what there is, if not given"
    )
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of the Kaldi data dirs")
    parser.add_argument(
        "--feats-dir",
        type=Path,
        help="folder of the sets' features, feats/<frontend>; features that are not there are computed from the audio",
    )
    parser.add_argument("--command", metavar="TEXT", help="the command that made the trainings, shown in the page")
    parser.add_argument(
        "--skip",
        choices=list(LOOKS_INSIDE),
        action="append",
        default=[],
        help="leave out a section that takes long; may be given several times",
    )
    add_beside(parser)
    add_allow_pipes(parser)
    args = parser.parse_args()

    experiments = (read_with_those_beside if args.beside else read_experiments)(args.experiments)
    own_command = shlex.join(["steps/report.py", *sys.argv[1:]])
    given = "\n".join(["1", args.command or "", own_command, provenance.commit(), *map(str, provenance.versions())])
    digest = digest_of(experiments, args.data_dir, given)
    if is_made_of(args.out, digest):
        print(f"{args.out}: made from these very inputs already")
        return
    comparison = replace(compare(experiments, args.set, args.data_dir, args.feats_dir), allow_pipes=args.allow_pipes)
    plain = [
        module.section for module in (summary, attacks, environments, histograms, coverage, laundering, curves, heads)
    ]
    looks = [key for key in LOOKS_INSIDE if key not in args.skip]
    progress = ProgressLog(len(plain) + len(looks), "section", "report")
    sections: list[Section | None] = []
    with contextlib.closing(progress):
        for section in plain:
            sections.append(section(comparison))
            progress.update()
        for section in inside(comparison, looks):
            sections.append(section)
            progress.update()
    sections.append(provenance.section(comparison, args.command, own_command))
    recipes = list(dict.fromkeys(system.recipe for system in comparison.systems))
    title = f"{', '.join(recipes)}: results on {comparison.set_name}"
    page = render(title, comparison.corpus, [section for section in sections if section is not None], digest)
    with write_aside(args.out) as handle:
        handle.write(page)
    print(f"written: {args.out} ({len(page.encode()) / 1e6:.1f} MB)")


if __name__ == "__main__":
    run_program(main)
