#!/usr/bin/env python3
"""Tune keys of a training by the EER on the development set, without looking at the evaluation sets.

A trial is a training of each seed by steps/train.py; its figure is their mean dev EER. The first trial has the training
conf's own values, as far as they are within their ranges, so that the best is not worse on dev. Started again, a sweep
resumes. Several started together, by hand or by a job runner, share the trials and take over those of a killed one.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from steps import frontend as frontends
from steps import nnet, training
from steps.evaluation.fitted_scores import set_reasons
from steps.evaluation.labels import corpus_label
from steps.experiment import training_folder
from steps.training import checkpoints
from steps.training.loop import Diverged
from steps.tuning import space
from steps.tuning.report import TABLE, best_of, plot_sensitivity, write_table
from steps.tuning.trials import Claim, TrialResult, Trials, is_hopeless, require_optuna
from utils import conf as conf_files
from utils.cli import THREADS, UserError, make_parser, run_program, whole_number
from utils.files import read_map, read_table, write_aside, write_lines

ROOT = Path(__file__).resolve().parents[1]
TRAIN = ROOT / "steps/train.py"
SWEEPS = ROOT / "conf/sweep"


def parse_arguments() -> argparse.Namespace:
    parser = make_parser(
        __doc__,
        "steps/sweep.py --trials 40 --seeds '11 12' --schedule conf/schedule/mini.yaml \\\n"
        "  data/train feats/f0_subband/train data/dev feats/f0_subband/dev exp/sweep_ecanet18\n"
        "utils/run.sh JOB=1:4 exp/sweep_ecanet18/log/JOB.log steps/sweep.py ...   # four workers on the same trials",
    )
    parser.add_argument(
        "--sweep-conf",
        default=None,
        help=(
            f"what to vary; if not given, that of {SWEEPS} named as the training conf, else as its method, else"
            " baseline.yaml"
        ),
    )
    parser.add_argument(
        "--trials", type=whole_number(1), default=40, help="total number of trials; a larger one adds trials"
    )
    parser.add_argument("--seeds", default="1", help="seeds of each trial's trainings, such as '11 12'")
    parser.add_argument("--frontend", default=str(ROOT / "conf/frontend/f0_subband.yaml"), help="conf of the front end")
    parser.add_argument("--model", default=str(ROOT / "conf/model/ecanet18.yaml"), help="conf of the network")
    parser.add_argument("--train-conf", default=str(ROOT / "conf/train/self_distill.yaml"), help="conf to tune")
    training.add_parts(parser)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a conf's key")
    parser.add_argument("--ngpu", type=whole_number(0, 1), default=0, help="GPUs of a training: 0 or 1")
    parser.add_argument("--num-threads", type=THREADS, default=None, help="CPU threads of a training")
    for name in ("train_data", "train_feats", "dev_data", "dev_feats"):
        parser.add_argument(name, type=Path)
    parser.add_argument("sweep_dir", type=Path, help="folder of the trials, of their table and of the best conf")
    args = parser.parse_args()
    try:
        args.seeds = [whole_number()(seed) for seed in args.seeds.split()]
    except argparse.ArgumentTypeError as error:
        parser.error(f"--seeds: {error}")
    if not args.seeds or len(set(args.seeds)) < len(args.seeds):
        parser.error("--seeds takes one or several numbers, each once")
    return args


def check_sets(args: argparse.Namespace) -> None:
    """Raises UserError where a set is one to evaluate on, by its folder's name or its utterances' ids."""
    for data in (args.train_data, args.dev_data):
        reasons = set_reasons({str(data): data.absolute().name}, read_map(data / "utt2label"))
        if reasons:
            raise UserError(
                f"{data}: {'; '.join(reasons)}; tune on a development set, or nothing is left to measure by"
            )


def identity(args: argparse.Namespace, sweep_conf: space.SweepConf, train_conf: training.TrainConf) -> dict[str, Any]:
    """What the trials of a folder have in common, as its conf.yaml keeps it."""
    return {
        "sweep": conf_files.to_dict(sweep_conf),
        "seeds": args.seeds,
        "train_set": training_folder.set_identity(args.train_data, args.train_feats),
        "dev_set": training_folder.set_identity(args.dev_data, args.dev_feats),
        "frontend": conf_files.to_dict(frontends.load_conf(args.frontend, args.set)),
        "model": conf_files.to_dict(nnet.load_conf(args.model, args.set)),
        "train": conf_files.to_dict(train_conf),
    }


def keep_conf(folder: Path, conf: dict[str, Any]) -> None:
    """Raises UserError where the folder is another sweep's."""
    if (folder / "conf.yaml").exists():
        known = training_folder.read_conf(folder)
        with contextlib.suppress(UserError):  # a conf that can no longer be read differs, and is said to below
            # keys that were not there yet then have their defaults
            known["sweep"] = conf_files.to_dict(conf_files.build(space.SweepConf, known["sweep"], {}, str(folder)))
        changed = conf_files.differences(known, conf)
        changed = [text for text in changed if not text.startswith("train.num_workers: ")]
        if changed:
            raise UserError(f"{folder} was begun otherwise ({'; '.join(changed)}); choose another folder, or remove it")
    else:
        conf_files.write_yaml(folder / "conf.yaml", conf)


def train_conf_of(args: argparse.Namespace, values: dict[str, float]) -> training.TrainConf:
    return training.load_conf(args.train_conf, [*args.set, *space.settings_of(values)], training.parts_of(args))


def check_range(args: argparse.Namespace, conf: space.SweepConf) -> None:
    """Raises UserError where the training conf has no such key, or does not take the ends of its range."""
    for end in (0, 1):
        train_conf_of(args, {parameter.key: parameter.ends[end] for parameter in conf.parameters})


def read_dev_eer(exp_dir: Path) -> float:
    """Percent, of the epoch that a training kept."""
    epoch = checkpoints.load(exp_dir / "final.pt")["epoch"]
    rows = [fields for _, fields in read_table(exp_dir / "epochs.tsv", None)]
    column = rows[0].index("dev_eer")
    return float(next(row[column] for row in rows[1:] if int(row[0]) == epoch))


def train(args: argparse.Namespace, claim: Claim, seed: int) -> float | None:
    """The dev EER of one training of a trial, percent; None where it diverged. Raises UserError for another failure."""
    exp_dir, log = claim.folder / f"seed{seed}", claim.folder / "log" / f"train.{seed}.log"
    command = [sys.executable, str(TRAIN), "--frontend", args.frontend, "--model", args.model]
    command += ["--train-conf", args.train_conf, "--seed", str(seed), "--ngpu", str(args.ngpu)]
    for option, conf in (("--schedule", args.schedule), ("--loss", args.loss)):
        command += [option, conf] if conf else []
    if args.num_threads is not None:
        command += ["--num-threads", str(args.num_threads)]
    for setting in [*args.set, *space.settings_of(claim.values)]:
        command += ["--set", setting]
    command += map(str, (args.train_data, args.train_feats, args.dev_data, args.dev_feats, exp_dir))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as handle:
        # The lock goes to the training too: should this worker be killed, nobody takes the trial up while it still
        # trains.
        status = subprocess.run(command, stdout=handle, stderr=handle, pass_fds=[claim.lock.fileno()]).returncode
    if status == Diverged.status:
        return None
    if status != 0:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        raise UserError(f"a training failed (status {status}); the end of {log}:\n  " + "\n  ".join(last))
    return read_dev_eer(exp_dir)


def run_trial(args: argparse.Namespace, trials: Trials, claim: Claim) -> str:
    """Train all seeds of a trial, or as many as it takes to give it up; what came of it in words."""
    dev_eer: dict[int, float] = {}
    state = "complete"
    for seed in args.seeds:
        eer = train(args, claim, seed)
        if eer is None:
            state = "diverged"
            break
        dev_eer[seed] = eer
        may_stop = trials.conf.prune == "median" and len(dev_eer) < len(args.seeds)
        if may_stop and is_hopeless(dev_eer, args.seeds, trials.results()):
            state = "pruned"
            break
    trials.finish(claim, state, dev_eer)
    eers = ", ".join(f"{eer:.2f}" for eer in dev_eer.values())
    return f"{state}, dev EER {eers} %" if eers else state


def report(args: argparse.Namespace, trials: Trials, corpus: str) -> TrialResult | None:
    """Write the table, the best conf and the picture; the best trial, None before one is complete."""
    with trials.alone():
        results = trials.results()
        write_table(args.sweep_dir / TABLE, results, trials.conf, args.seeds)
        best = best_of(results)
        if best is None:
            return None
        complete = sum(result.mean is not None for result in results)
        values = conf_files.to_dict(train_conf_of(args, best.values))
        name = training.parts_of(args).name_of(args.train_conf)
        with write_aside(best_conf_path(args)) as handle:
            handle.write(
                f"# {name} tuned: the best of {complete} complete trials of"
                f" {Path(args.model).stem} by mean dev EER, {best.mean:.2f} %\n# (trial {best.number}, seeds"
                f" {' '.join(map(str, args.seeds))}; {corpus}).\n"
            )
            handle.write(conf_files.yaml_text(values))
        with write_aside(args.sweep_dir / "schedule_tuned.yaml") as handle:
            handle.write("# The schedule of the tuned conf beside this file, for --schedule of run.sh.\n")
            handle.write(conf_files.yaml_text({key: values[key] for key in training.SCHEDULE_KEYS}))
        write_lines(args.sweep_dir / "best_settings", [" ".join(space.settings_of(best.values))])
        title = f"{Path(args.model).stem}, {name}: {complete} trials, the best ringed; {corpus}"
        plot_sensitivity(args.sweep_dir / "sensitivity.png", results, trials.conf, trials.importances(), title)
    return best


def best_conf_path(args: argparse.Namespace) -> Path:
    return args.sweep_dir / f"{Path(args.train_conf).stem}_tuned.yaml"


def main() -> int:
    args = parse_arguments()
    require_optuna()
    train_conf = train_conf_of(args, {})
    conf = space.load_conf(args.sweep_conf or space.conf_for(SWEEPS, Path(args.train_conf), train_conf.method))
    check_range(args, conf)
    if train_conf.average_last:
        raise UserError(
            f"{args.train_conf}: average_last is {train_conf.average_last}, but dev EERs are measured before weights"
            " are averaged; tune with --set train.average_last=0"
        )
    check_sets(args)
    args.sweep_dir.mkdir(parents=True, exist_ok=True)
    own = space.values_within(conf, conf_files.to_dict(train_conf))
    trials = Trials(args.sweep_dir, conf, own)
    with trials.alone():
        keep_conf(args.sweep_dir, identity(args, conf, train_conf))
    drawn = [parameter.name for parameter in conf.parameters if parameter.key not in own]
    if drawn:
        print(f"sweep.py: out of the range of its own value, and drawn in the first trial too: {', '.join(drawn)}")
    corpus = corpus_label(training_folder.corpus_of(args.train_data))

    while (claim := trials.claim(args.trials)) is not None:
        values = ", ".join(f"{p.name} {claim.values[p.key]:g}" for p in conf.parameters)
        print(f"sweep.py: trial {claim.number}{', left by another worker' * claim.taken_up}: {values}", flush=True)
        print(f"sweep.py: trial {claim.number}: {run_trial(args, trials, claim)}", flush=True)
        with trials.alone():
            write_table(args.sweep_dir / TABLE, trials.results(), conf, args.seeds)
    best = report(args, trials, corpus)
    running = sum(result.state == "running" for result in trials.results())
    if running:
        print(f"sweep.py: {running} trials are still being trained by other workers")
    if best is None:
        if running:
            return 0
        raise UserError(
            f"{args.sweep_dir}: every trial diverged (see trial*/log); lower the learning rates of the sweep"
        )
    print(f"sweep.py: best: trial {best.number}, dev EER {best.mean:.2f} %; as a conf: {best_conf_path(args)}")
    print(f"sweep.py: all trials: {args.sweep_dir / 'trials.tsv'}; their picture: {args.sweep_dir / 'sensitivity.png'}")
    return 0


if __name__ == "__main__":
    run_program(main)
