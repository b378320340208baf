#!/usr/bin/env python3
"""Compares systems over the same trials: EER and min t-DCF with bootstrap intervals, their differences with
p-values."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

import numpy as np

from steps.evaluation.breakdown import asv_operating_point
from steps.evaluation.fitted_scores import mark_warnings
from steps.evaluation.groups import values_of_trials
from steps.evaluation.protocols import add_protocol_option, read_protocol
from steps.evaluation.score_files import CmScores, read_asv_scores, read_cm_scores_by, same_trials
from steps.evaluation.score_layouts import add_columns_option
from steps.metrics.bootstrap import (
    FEWEST_SPEAKERS,
    CmFigures,
    Draw,
    SpeakerDraw,
    TrialDraw,
    bootstrap,
    bootstrap_p,
    percentile_interval,
)
from steps.metrics.paired_tests import CONFIDENCE, holm, paired_differences, paired_test, untested
from steps.metrics.tandem import AsvRates, UndefinedCost
from steps.results.conditions import unequal_conditions
from steps.results.tables import LARGEST, MEASURES
from utils.cli import UserError, make_parser, run_program, warn, whole_number
from utils.conf import read_yaml
from utils.files import write_json

MEASURE = {measure.attribute: measure for measure in MEASURES}


@dataclass(frozen=True)
class System:
    """files: score files by seed; of a score file given by itself the one, as seed None."""

    letter: str
    given: Path
    files: dict[int | None, Path]


def find_systems(given: Sequence[Path], set_name: str | None) -> list[System]:
    """Folders with the seeds that all of them have. Raises UserError where a folder has no scores of the set."""
    found: list[dict[int | None, Path]] = []
    for path in given:
        if not path.is_dir():
            found.append({None: path})
            continue
        if set_name is None:
            raise UserError(f"{path} is a folder: say by --set whose scores to take from its seeds, such as --set eval")
        files = sorted(path.glob(f"seed*/scores/{set_name}.txt"))
        seeds: dict[int | None, Path] = {
            int(name[4:]): file for file in files if re.fullmatch(r"seed\d+", name := file.parents[1].name)
        }
        if not seeds:
            raise UserError(f"{path}: it has no seed<N>/scores/{set_name}.txt; score that set, or give score files")
        found.append(seeds)
    folders = [set(seeds) for seeds in found if None not in seeds]
    common = set.intersection(*folders) if folders else set()
    if folders and not common:
        raise UserError(
            f"the folders have no seed of {set_name} in common; give score files to compare single trainings"
        )
    for path, seeds in zip(given, found):
        if None not in seeds and (left := sorted(set(seeds) - common)):
            warn(f"{path}: seeds {', '.join(map(str, left))} are left out, as not all folders have them")
    return [
        System(chr(ord("A") + i), path, {seed: seeds[seed] for seed in sorted(seeds) if seed is None or seed in common})
        for i, (path, seeds) in enumerate(zip(given, found))
    ]


def why_unequal(base: System, other: System) -> str | None:
    """Why a test over seeds would say nothing of how two systems were trained; None where it does."""
    differences: dict[str, None] = {}
    for seed, file in other.files.items():
        confs = [one.parents[1] / "conf.yaml" for one in (base.files[seed], file)]
        for lacking in (path for path in confs if not path.exists()):
            return f"there is no {lacking}, so that it is not known how the seeds were trained"
        differences |= dict.fromkeys(unequal_conditions(*map(read_yaml, confs), same=()))
    return f"trained otherwise: {'; '.join(differences)}" if differences else None


def speakers_of(trials: CmScores, path: Path) -> list[str]:
    """Raises UserError for a trial without a speaker, and for fewer than two speakers."""
    speakers = values_of_trials(path, trials)
    if len(set(speakers)) < FEWEST_SPEAKERS:
        raise UserError(
            f"{path}: all trials are of one speaker, and speakers are drawn among several; leave --speakers out"
        )
    return speakers


def measure(
    systems: Sequence[System],
    scores: dict[Path, CmScores],
    asv: AsvRates | None,
    draws: dict[str, Draw],
    count: int,
    seed: int,
) -> dict:
    """Figures of the systems and of the differences from the first, by the keys of the JSON: fractions and costs."""
    trials = next(iter(scores.values()))
    figures = {path: CmFigures(trials.bonafide, one.score, asv) for path, one in scores.items()}
    names = next(iter(figures.values())).names
    once = np.ones(trials.score.size, dtype=np.int32)
    single = {system.letter: {seed: figures[path](once) for seed, path in system.files.items()} for system in systems}

    def means(counts: np.ndarray) -> np.ndarray:
        """(systems, figures): means over seeds."""
        return np.array(
            [np.mean([figures[path](counts) for path in system.files.values()], axis=0) for system in systems]
        )

    of_all = means(once)
    drawn = {by: bootstrap(means, draw, count, seed) for by, draw in draws.items()}  # (draws, systems, figures)
    found = {"systems": [], "differences": []}
    for i, system in enumerate(systems):
        found["systems"].append(
            {
                "system": system.letter,
                "scores": [str(path) for path in system.files.values()],
                "figures": {
                    name: {
                        "value": of_all[i, k],
                        **{f"interval_by_{by}": percentile_interval(values[:, i, k]) for by, values in drawn.items()},
                    }
                    for k, name in enumerate(names)
                },
            }
        )
    for i, system in enumerate(systems[1:], 1):
        of_figures = {}
        for k, name in enumerate(names):
            one = {"value": of_all[i, k] - of_all[0, k]}
            for by, values in drawn.items():
                differences = values[:, i, k] - values[:, 0, k]
                one |= {f"interval_by_{by}": percentile_interval(differences), f"p_by_{by}": bootstrap_p(differences)}
            if None not in system.files and None not in systems[0].files:
                base, other = (
                    {s: float(values[k]) for s, values in single[x.letter].items()} for x in (systems[0], system)
                )
                differences, why = paired_differences(base, other), why_unequal(systems[0], system)
                test = untested(differences, why) if why else paired_test(differences, LARGEST)
                one["over_seeds"] = {
                    "pairs": test.count,
                    "interval": test.interval,
                    "p_t": test.p_t,
                    "p_sign_flip": test.p_sign_flip,
                    "untested": test.untested,
                }
            of_figures[name] = one
        found["differences"].append({"system": system.letter, "minus": systems[0].letter, "figures": of_figures})
    if len(systems) > 2:
        for name in names:
            ones = [difference["figures"][name] for difference in found["differences"]]
            for by in draws:
                for one, p in zip(ones, holm([one[f"p_by_{by}"] for one in ones])):
                    one[f"p_by_{by}_corrected"] = p
    return found


def table(found: dict, ways: Sequence[str]) -> list[str]:
    """At most 80 columns wide."""
    lines = []
    for name in found["systems"][0]["figures"]:
        shown = MEASURE[name]

        def p_of(one: dict, by: str) -> str:
            corrected = one.get(f"p_by_{by}_corrected")
            return f"p {one[f'p_by_{by}']:.3f}" + ("" if corrected is None else f" ({corrected:.3f})")

        lines += ["", f"{shown.heading:16}{'':9}" + "".join(f"   {'by ' + by:>22}" for by in ways)]
        for system in found["systems"]:
            one = system["figures"][name]
            lines.append(
                f"  {system['system']:14}{shown.text(one['value']):>9}"
                + "".join(f"   {shown.span(one[f'interval_by_{by}']):>22}" for by in ways)
            )
        for difference in found["differences"]:
            one = difference["figures"][name]
            who = f"{difference['system']} minus {difference['minus']}"
            lines.append(
                f"  {who:14}{shown.text(one['value'], '+'):>9}"
                + "".join(f"   {shown.span(one[f'interval_by_{by}'], '+'):>22}" for by in ways)
            )
            lines.append(" " * 25 + "".join(f"   {p_of(one, by):>22}" for by in ways))
            if (seeds := one.get("over_seeds")) and not seeds["untested"]:
                lines.append(
                    f"    over {seeds['pairs']} seeds: {shown.span(seeds['interval'], '+')}, p {seeds['p_t']:.3f}"
                    f" (t-test), {seeds['p_sign_flip']:.3f} (signs)"
                )
    for difference in found["differences"]:
        over_seeds = (one.get("over_seeds") for one in difference["figures"].values())
        for why in dict.fromkeys(seeds["untested"] for seeds in over_seeds if seeds and seeds["untested"]):
            who = f"{difference['system']} minus {difference['minus']}"
            lines += [
                "",
                *textwrap.wrap(
                    f"{who}: not tested over seeds ({why}); p is of these very trainings alone.",
                    80,
                    break_long_words=False,
                    break_on_hyphens=False,
                ),
            ]
    return lines


def main() -> int:
    parser = make_parser(
        "Compare systems with the first of them, over the same trials. Intervals (95 %) and p-values come from "
        "bootstrap draws. Draws are by trial (bona fide and spoof apart) and with --speakers by speaker: all "
        "trials of a speaker together, because they are similar and other speakers may differ. A system is a "
        "score file or an experiment folder, whose figures are means over its seeds. Folders also get a paired "
        "test over seeds, if conf.yaml says that both share data, epochs, batch size, optimizer, schedule and the "
        "choice of the epoch. Draws by trial and speaker keep the trainings fixed; the test over seeds keeps the "
        "trials fixed.",
        "steps/compare_scores.py --asv-scores data/eval/asv_scores --speakers data/eval/utt2speaker \\\n"
        "  exp/A/seed1/scores/eval.txt exp/B/seed1/scores/eval.txt\n"
        "steps/compare_scores.py --set eval --json compared.json exp/train_*_baseline exp/train_*_self_distill",
    )
    parser.add_argument("--set", help="set whose scores are taken from folders: seed<N>/scores/SET.txt")
    add_protocol_option(parser)
    add_columns_option(parser)
    parser.add_argument(
        "--asv-scores", type=Path, metavar="ASV.txt", help="ASV scores of the set; without them there is no t-DCF"
    )
    parser.add_argument("--speakers", type=Path, metavar="UTT2SPEAKER", help="data/<set>/utt2speaker")
    parser.add_argument("--draws", type=whole_number(100), default=1000, help="bootstrap draws")
    parser.add_argument("--seed", type=whole_number(), default=0, help="seed of the draws")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument(
        "systems", type=Path, metavar="SYSTEM", nargs="+", help="score files or experiment folders, two or more"
    )
    args = parser.parse_args()

    if not 2 <= len(args.systems) <= 26:
        parser.error("give two to 26 systems, as score files or experiment folders")
    systems = find_systems(args.systems, args.set)
    paths = list(dict.fromkeys(path for system in systems for path in system.files.values()))
    warnings = [f"{path}: {text}" for path in paths for text in mark_warnings(path)]
    protocols = [read_protocol(path) for path in args.protocols]
    scores = dict(zip(paths, same_trials([read_cm_scores_by(path, protocols, args.columns) for path in paths], paths)))
    trials = scores[paths[0]]
    point = None if args.asv_scores is None else asv_operating_point(read_asv_scores(args.asv_scores))
    draws: dict[str, Draw] = {"trial": TrialDraw(trials.bonafide)}
    if args.speakers is not None:
        draws["speaker"] = SpeakerDraw(trials.bonafide, speakers_of(trials, args.speakers))
    try:
        found = measure(systems, scores, None if point is None else point.rates, draws, args.draws, args.seed)
    except UndefinedCost as error:
        raise UserError(f"{args.asv_scores}: no t-DCF is defined: {error}; compare without --asv-scores") from None

    print(
        f"{int(trials.bonafide.sum())} bona fide, {int((~trials.bonafide).sum())} spoof trials; {args.draws} draws,"
        f" seed {args.seed}"
    )
    for system in systems:
        seeds = "" if None in system.files else f", mean of seeds {' '.join(map(str, system.files))}"
        print(f"  {system.letter} = {system.given}{seeds}")
    print(*table(found, list(draws)), sep="\n")
    print(
        f"\nIntervals of {100 * CONFIDENCE:.0f} %; p two-sided"
        + "; in brackets corrected (Holm)" * (len(systems) > 2)
        + "."
    )
    if args.json is not None:
        everything = {
            "draws": args.draws,
            "seed": args.seed,
            "confidence": CONFIDENCE,
            "n_bonafide": int(trials.bonafide.sum()),
            "n_spoof": int((~trials.bonafide).sum()),
            "n_speakers": getattr(draws.get("speaker"), "n_speakers", None),
            **found,
            "warnings": warnings,
        }
        write_json(args.json, everything)
    for text in warnings:
        warn(text)
    return 0


if __name__ == "__main__":
    run_program(main)
