#!/usr/bin/env python3
"""EER and t-DCF of a score file, pooled and per attack, with a DET plot."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steps.scoring.breakdown import Evaluation, Figures, evaluate
from steps.scoring.environment_output import environment_lines, environment_metrics, environment_table
from steps.scoring.environments import (
    EnvironmentEvaluation,
    evaluate_environments,
    read_environments,
    replay_attacks,
)
from steps.scoring.fitted_scores import mark_warnings
from steps.scoring.labels import corpus_label, shorten
from steps.scoring.score_files import AsvScores, CmScores, check_trials, read_asv_scores, read_cm_scores
from steps.scoring.speakers import SpeakerFigures, per_speaker
from utils.cli import UserError, make_parser, run_program, warn
from utils.files import read_json, read_map, write_aside, write_json, write_lines

NO_ASV = "t-DCF: not computed, because no ASV scores were given (--asv-scores)"


def figures_of(figures: Figures) -> dict:
    return {
        "eer": 100 * figures.eer,
        "min_tdcf_2019": figures.min_tdcf_2019,
        "min_tdcf_2021": figures.min_tdcf_2021,
    }


def metrics_of(result: Evaluation) -> dict:
    asv = result.asv
    return {
        **figures_of(result.pooled),
        "eer_threshold": result.pooled.threshold,
        "asv_eer": None if asv is None else 100 * asv.eer,
        "n_bonafide": result.n_bonafide,
        "n_spoof": result.pooled.n_spoof,
        "per_attack": {
            name: {**figures_of(figures), "n_spoof": figures.n_spoof, "asv_rate": figures.asv_rate}
            for name, figures in result.per_attack.items()
        },
        "asv": None
        if asv is None
        else {
            "threshold": asv.threshold,
            "miss_rate": asv.rates.miss,
            "false_alarm_rate": asv.rates.false_alarm,
            "spoof_miss_rate": asv.rates.miss_spoof,
        },
        "warnings": result.warnings,
    }


def cost(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def rows_of(result: Evaluation) -> list[tuple[str, Figures]]:
    return [*result.per_attack.items(), ("pooled", result.pooled)]


def print_table(result: Evaluation, title: str, corpus: str) -> None:
    """The table of all attacks, at most 80 columns wide."""
    print(textwrap.fill(f"{title} - {corpus}", 80))
    print(f"{result.n_bonafide} bona fide and {result.pooled.n_spoof} spoof trials")
    if result.asv is None:
        print(NO_ASV)
    else:
        rejected = 100 * result.asv.rates.miss_spoof
        print(f"ASV: EER {100 * result.asv.eer:.2f} %, and it rejects {rejected:.1f} % of the spoof trials by itself")
    width = min(max(len(name) for name, _ in rows_of(result)), 26)
    pad = " " * width
    print(f"\n{pad}    spoof            min t-DCF  min t-DCF  ASV's spoof")
    print(f"{'attack':{width}}   trials    EER %       2019       2021  miss rate of")
    for name, figures in rows_of(result):
        of_whom = {"attack": "the attack", "pooled": "all attacks", None: "-"}[figures.asv_rate]
        costs = f"{cost(figures.min_tdcf_2019):>10} {cost(figures.min_tdcf_2021):>10}"
        print(f"{shorten(name, width):{width}} {figures.n_spoof:8d} {100 * figures.eer:8.2f} {costs}  {of_whom}")


def tsv_lines(result: Evaluation, corpus: str) -> list[str]:
    lines = ["attack\tn_spoof\teer_percent\tmin_tdcf_2019\tmin_tdcf_2021\tasv_rate\tcorpus"]
    for name, figures in rows_of(result):
        values = [figures.n_spoof, 100 * figures.eer, figures.min_tdcf_2019, figures.min_tdcf_2021, figures.asv_rate]
        lines.append("\t".join([name, *("" if value is None else str(value) for value in values), corpus]))
    return lines


def percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def speaker_figures(cm: CmScores, speakers: Path, threshold: float) -> dict[str, SpeakerFigures]:
    """Figures of each speaker. Raises UserError for an utterance of which the table `speakers` does not know whose."""
    speaker_of = read_map(speakers)
    missing = [utt for utt in cm.utterance if utt not in speaker_of]
    if missing:
        raise UserError(f"{speakers}: it has no line of {missing[0]} ({len(missing)} trials lack one)")
    return per_speaker(cm, speaker_of, threshold)


def speaker_metrics(figures: SpeakerFigures) -> dict:
    return {
        "n_bonafide": figures.n_bonafide,
        "n_spoof": figures.n_spoof,
        "miss_rate": percent(figures.miss),
        "eer": percent(figures.eer),
        "eer_own_spoof": percent(figures.own_eer),
    }


def speaker_lines(figures: dict[str, SpeakerFigures]) -> list[str]:
    lines = ["speaker\tn_bonafide\tn_spoof\tmiss_rate_percent\teer_percent\teer_own_spoof_percent"]
    for name, one in figures.items():
        lines.append("\t".join([name, *("" if v is None else str(v) for v in speaker_metrics(one).values())]))
    return lines


def environment_figures(
    cm: CmScores, cm_scores: Path, environments: Path, asv: AsvScores | None, result: Evaluation
) -> EnvironmentEvaluation:
    """Figures by environment and attack factor. Raises UserError as read_environments and replay_attacks do."""
    environment, attack = read_environments(environments, cm), replay_attacks(cm_scores, cm)
    return evaluate_environments(cm, environment, attack, asv, result.asv)


def write_plots(
    out: Path, result: Evaluation, of_rooms: EnvironmentEvaluation | None, title: str, label: str, plot: bool
) -> None:
    """det.png and attack_by_environment.png; the one that is not drawn goes, if an older one is there."""
    if not plot:
        (out / "det.png").unlink(missing_ok=True)
    if not plot or of_rooms is None:
        (out / "attack_by_environment.png").unlink(missing_ok=True)
    if plot:
        from steps.scoring.plots import write_det_plot

        with write_aside(out / "det.png", "wb") as handle:
            write_det_plot(handle, result, title, label)
    if plot and of_rooms is not None:
        from steps.scoring.heat_map import write_heat_map

        with write_aside(out / "attack_by_environment.png", "wb") as handle:
            write_heat_map(handle, of_rooms, title, label)


def write_table(path: Path, lines: list[str] | None) -> None:
    """Lines to `path`; without any, an older file goes."""
    if lines is None:
        path.unlink(missing_ok=True)
    else:
        write_lines(path, lines)


def evaluate_files(
    cm_scores: Path,
    out: Path,
    asv_scores: Path | None,
    trials: Path | None,
    corpus_json: Path | None,
    title: str | None = None,
    plot: bool = True,
    speakers: Path | None = None,
    environments: Path | None = None,
) -> None:
    """Evaluate one score file, write the results to the folder `out` (metrics.json last) and print the table.

    Without `plot`, `speakers` or `environments` there is no plot, per_speaker.tsv or per_environment.tsv and
    attack_by_environment.png, and an older one goes. Raises UserError for whatever of the files cannot be used.
    """
    title = " ".join((title or cm_scores.stem).split())
    corpus = None if corpus_json is None else read_json(corpus_json)
    if corpus is not None and not (isinstance(corpus, dict) and isinstance(corpus.get("name"), str) and corpus["name"]):
        raise UserError(f'{corpus_json}: it has no "name" of the corpus; make the data folder again')
    label = corpus_label(corpus)

    cm = read_cm_scores(cm_scores)
    if trials is not None:
        check_trials(cm, cm_scores, trials)
    asv = None if asv_scores is None else read_asv_scores(asv_scores)
    result = evaluate(cm, asv)
    result.warnings.extend(mark_warnings(cm_scores))
    of_speakers = None if speakers is None else speaker_figures(cm, speakers, result.pooled.threshold)

    of_rooms = None if environments is None else environment_figures(cm, cm_scores, environments, asv, result)

    try:
        write_plots(out, result, of_rooms, title, label, plot)
        write_lines(out / "per_attack.tsv", tsv_lines(result, label))
        write_table(out / "per_speaker.tsv", None if of_speakers is None else speaker_lines(of_speakers))
        write_table(out / "per_environment.tsv", None if of_rooms is None else environment_lines(of_rooms, label))
        write_json(
            out / "metrics.json",
            {
                "title": title,
                "corpus": corpus,
                "cm_scores": str(cm_scores),
                "asv_scores": None if asv_scores is None else str(asv_scores),
                **metrics_of(result),
                "per_speaker": None
                if of_speakers is None
                else {name: speaker_metrics(figures) for name, figures in of_speakers.items()},
                **environment_metrics(of_rooms),
            },
        )
    except OSError as error:
        raise UserError(f"{out}: cannot write the results there: {error}") from None

    print_table(result, title, label)
    if of_rooms is not None:
        print("", *environment_table(of_rooms), sep="\n")
    files = ["metrics.json", "per_attack.tsv", *["per_speaker.tsv"] * bool(of_speakers), *["det.png"] * plot]
    print(f"\nwritten: {out}/{', '.join(files)}")
    if of_rooms is not None:
        print(f"         and {' and '.join(['per_environment.tsv', *['attack_by_environment.png'] * plot])} there")
    sys.stdout.flush()
    for text in result.warnings:
        warn(f"{cm_scores}: {text}")


def main() -> None:
    parser = make_parser(
        "EER, minimum t-DCF (ASVspoof 2019 legacy and 2021 revised) and DET plot of a countermeasure's scores, pooled "
        "and for each attack against all bona fide trials. Writes DIR/det.png, DIR/per_attack.tsv, with "
        "--speakers DIR/per_speaker.tsv, with --environments DIR/per_environment.tsv and the heat map "
        "DIR/attack_by_environment.png, and, last, DIR/metrics.json; prints a table.",
        "steps/evaluate.py --asv-scores ASVspoof2019.LA.asv.eval.gi.trl.scores.txt --trials data/eval/utt2label \\\n"
        "    --corpus-json data/eval/corpus.json --out exp/NAME/seed1/results/eval exp/NAME/seed1/scores/eval.txt",
    )
    parser.add_argument("cm_scores", metavar="CM.txt", type=Path, help="scores, lines UTT ATTACK KEY SCORE")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--asv-scores",
        metavar="ASV.txt",
        type=Path,
        help="ASV scores of the same set, lines ATTACK KEY SCORE; without them there is no t-DCF",
    )
    parser.add_argument(
        "--trials",
        metavar="UTT2LABEL",
        type=Path,
        help="data/<set>/utt2label: each of its utterances must have a score, and no others",
    )
    parser.add_argument(
        "--corpus-json",
        metavar="FILE",
        type=Path,
        help="data/<set>/corpus.json, the corpus's name, version and size for tables and plots",
    )
    parser.add_argument(
        "--speakers",
        metavar="UTT2SPEAKER",
        type=Path,
        help="data/<set>/utt2speaker: whose each utterance is; then there are figures of each speaker too",
    )
    parser.add_argument(
        "--environments",
        metavar="UTT2ENV",
        type=Path,
        help="data/<set>/utt2env (PA): the environment of each utterance, three letters a-c; then there are figures by "
        "room size, T60, talker-to-ASV distance, attacker-to-talker distance and device quality too. The t-DCF by "
        "environment takes the ASV's pooled rates, as ASV scores name no environments",
    )
    parser.add_argument("--title", help="name of the set in the table and the plot; else the score file's name")
    parser.add_argument("--no-plot", action="store_true", help="write no plots, and remove older ones")
    args = parser.parse_args()

    evaluate_files(
        args.cm_scores,
        args.out,
        args.asv_scores,
        args.trials,
        args.corpus_json,
        args.title,
        plot=not args.no_plot,
        speakers=args.speakers,
        environments=args.environments,
    )


if __name__ == "__main__":
    run_program(main)
