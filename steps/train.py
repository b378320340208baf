#!/usr/bin/env python3
"""Train a detector by a method. After an interruption, the same command resumes and ends in the same weights."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

import numpy as np
import torch

from steps import augment, nnet, training
from steps import frontend as frontends
from steps.data.batches import FeatureSet, reading_errors
from steps.data.frame_labels import FrameLabels
from steps.data.reading import Reading
from steps.evaluation.labels import corpus_label
from steps.evaluation.overlap import write_train_set
from steps.experiment import training_folder
from steps.frontend.processing.audio import add_allow_pipes
from steps.frontend.processing.band import BandLimits
from steps.frontend.processing.columns import mean_and_scale
from steps.metrics.error_rates import det_curve, equal_error_rate
from steps.nnet.base import check_keeps_time, check_maps
from steps.nnet.cost import detector_cost
from steps.training import checkpoints, distributed
from steps.training.checkpoints import CheckpointFolder
from steps.training.identity import weights_depend_on
from steps.training.loop import Trainer
from utils import conf as conf_files
from utils.ark import read_matrix
from utils.cli import MOST_THREADS, THREADS, UserError, make_parser, run_program, warn, whole_number
from utils.files import clear_left, only_here, write_json, write_lines

_MEASURED = 1000  # utterances of which the band is measured where features are computed on the way


def eer(bonafide, spoof) -> float:
    return equal_error_rate(det_curve(bonafide, spoof))[0]


def parse_arguments() -> argparse.Namespace:
    parser = make_parser(
        __doc__,
        "steps/train.py --model conf/model/ecanet18.yaml --train-conf conf/train/self_distill.yaml --seed 1 \\\n"
        "  data/train feats/f0_subband/train data/dev feats/f0_subband/dev \\\n"
        "  exp/train_f0_subband_ecanet18_self_distill/seed1",
    )
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--frontend", default=str(root / "conf/frontend/f0_subband.yaml"), help="conf of the front end")
    parser.add_argument("--model", default=str(root / "conf/model/ecanet18.yaml"), help="conf of the network")
    parser.add_argument("--train-conf", default=str(root / "conf/train/baseline.yaml"), help="conf of the method")
    training.add_parts(parser)
    parser.add_argument("--augment", default=None, help="conf of an augmentation chain, for the training set")
    parser.add_argument(
        "--online",
        action="store_true",
        help="compute features from the audio on the fly, without the feats dirs",
    )
    add_allow_pipes(parser)
    parser.add_argument("--tag", default="", help="name of a variant, kept in conf.yaml for tables of results")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a conf's key")
    parser.add_argument("--seed", type=whole_number(), default=1, help="seed of initial weights, order and crops")
    parser.add_argument(
        "--ngpu",
        type=whole_number(0, MOST_THREADS),
        default=0,
        help="0: CPU, 1: one GPU; for several, start by distribute.py",
    )
    parser.add_argument(
        "--num-threads", type=THREADS, default=None, help="CPU threads of each process; torch's default if not given"
    )
    for name in ("train_data", "train_feats", "dev_data", "dev_feats", "exp_dir"):
        parser.add_argument(name, type=Path)
    return parser.parse_args()


def chain_of(args: argparse.Namespace, sample_rate: int) -> augment.Chain | None:
    """The augmentation asked for. Raises UserError where it changes waveforms and the features come from disk."""
    if args.augment is None:
        return None
    chain = augment.make_chain(augment.load_conf(args.augment, args.set), sample_rate)
    if chain.has_waveform_steps and not args.online:
        raise UserError(
            f"{args.augment}: it changes waveforms, which features on disk have left behind; add --online true"
            " (train.py: --online)"
        )
    return chain


def identity(
    args: argparse.Namespace,
    frontend_conf: frontends.FrontEndConf,
    model_conf: nnet.ModelConf,
    train_conf: training.TrainConf,
    chain: augment.Chain | None,
) -> dict[str, Any]:
    """What a training is made from, as conf.yaml keeps it."""
    conf = {
        "frontend_name": Path(args.frontend).stem,
        "model_name": Path(args.model).stem,
        "train_name": training.parts_of(args).name_of(args.train_conf),
        "train_set_name": args.train_data.resolve().name,
        "tag": args.tag,
        "method": train_conf.method,
        "seed": args.seed,
        "corpus": training_folder.corpus_of(args.train_data),
        "train_set": training_folder.set_identity(args.train_data, None if args.online else args.train_feats),
        "dev_set": training_folder.set_identity(args.dev_data, None if args.online else args.dev_feats),
        "frontend": conf_files.to_dict(frontend_conf),
        "model": conf_files.to_dict(model_conf),
        "train": conf_files.to_dict(train_conf),
    }
    if args.online:
        conf["features"] = "computed"
    if not train_conf.sync_batch_norm and distributed.world() > 1:
        conf["processes"] = distributed.world()
    if chain is not None:
        conf |= {"augment_name": Path(args.augment).stem, "augment": conf_files.to_dict(chain.conf)}
        if chain.tables_of_recordings:
            conf["augment_recordings"] = chain.tables_of_recordings
    return conf


def begin_or_go_on(
    folder: Path, conf: dict[str, Any], depend_on: Callable[[training.TrainConf], dict[str, Any]]
) -> bool:
    """Keep `conf` in the folder; whether there is anything left to do there. depend_on: identity.weights_depend_on of a
    conf.

    Raises UserError where the folder is another training's.
    """
    if (folder / "conf.yaml").exists():
        kept, wanted = training_folder.read_conf(folder), conf
        names = {key: conf[key] for key in ("train_set_name", "tag") if key not in kept}  # of an older version
        known = {**kept, **names}
        ours = depend_on(training.conf_from_dict(conf["train"], str(folder)))
        with contextlib.suppress(UserError):  # a conf that can no longer be read differs, and is said to below
            # keys that were not there yet then have their defaults
            known["train"] = depend_on(training.conf_from_dict(known.get("train") or {}, str(folder)))
            wanted = {**conf, "train": ours}
        changed = conf_files.differences(known, wanted)
        if changed:
            raise UserError(
                f"{folder} was trained otherwise ({'; '.join(changed)}); "
                "name this variant by --tag (run.sh), choose another --exp-dir, or remove that folder"
            )
        if (folder / "final.pt").exists():
            checkpoints.check(folder / "final.pt", training_folder.FINAL_MEND)
            if names:
                conf_files.write_yaml(folder / "conf.yaml", {**kept, **names})
            return False
    conf_files.write_yaml(folder / "conf.yaml", conf)
    return True


def set_normalisation(
    args: argparse.Namespace, detector: nnet.Detector, train_set: FeatureSet, variance: bool, num_workers: int
) -> None:
    """Give the detector the mean and scale of the training set's features."""
    if args.online:
        part = train_set.cmvn_stats(num_workers, distributed.share(len(train_set)))
        stats, place = distributed.add_up(torch.from_numpy(part)).numpy(), train_set.source.place
    else:
        place = args.train_feats / frontends.GLOBAL_CMVN
        stats = read_matrix(place)
    try:
        mean, scale = mean_and_scale(stats, variance)
    except ValueError as error:
        raise UserError(f"{place}: {error}") from None
    detector.normalisation.set(torch.from_numpy(mean), torch.from_numpy(scale))


def band_limits(args: argparse.Namespace, train_set: FeatureSet) -> BandLimits | None:
    """The band that recordings need to be judged, by the levels of the training set's features, or of some of its
    audio."""
    frontend = train_set.frontend
    if args.online:
        some = np.linspace(0, len(train_set) - 1, min(len(train_set), _MEASURED)).astype(int)
        levels = [train_set.source.levels(train_set.utts[i]) for i in some]
    else:
        path = args.train_feats / frontends.UTT2BANDS
        if not path.exists():
            warn(f"{path}: no such file, so this detector will not know which band a recording needs")
            return None
        source = train_set.source
        of_utts = frontends.read_levels(path, len(frontend.bands), source.utts, source.place)
        levels = [levels for _, levels in of_utts]
    return BandLimits.of_training(frontend.bands, levels)


def keep_choices(path: Path, choices: dict[str, dict[str, float]]) -> None:
    """Say and keep what a method chose, if it chooses anything."""
    kept = {what: {"chosen": max(shares, key=shares.get), "shares": shares} for what, shares in choices.items()}
    if kept:
        write_json(path, kept)
    for what, choice in kept.items():
        shares = ", ".join(f"{name} {share:.2f}" for name, share in choice["shares"].items())
        print(f"train.py: {what}: {choice['chosen']} ({shares})")


@reading_errors()
def main() -> int:
    args = parse_arguments()
    confs = (  # what is wrong in them is said before anything is made
        frontends.load_conf(args.frontend, args.set),
        nnet.load_conf(args.model, args.set),
        training.load_conf(args.train_conf, args.set, training.parts_of(args)),
    )
    if os.environ.get("RANK", "0") != "0":  # of a training's processes, under torchrun: the first alone writes
        return train(args, *confs)
    with only_here(args.exp_dir):
        clear_left(args.exp_dir)
        return train(args, *confs)


def train(
    args: argparse.Namespace,
    frontend_conf: frontends.FrontEndConf,
    model_conf: nnet.ModelConf,
    train_conf: training.TrainConf,
) -> int:
    device = distributed.join(args.ngpu) if distributed.launched() else training_folder.pick_device(args.ngpu)
    if args.num_threads is not None:
        torch.set_num_threads(args.num_threads)
    frontend = frontends.make_frontend(frontend_conf)
    chain = chain_of(args, frontend_conf.sample_rate)
    if train_conf.frames is not None and (args.online or (chain is not None and chain.mixup is not None)):
        raise UserError("train.frames: needs features on disk and no mixup; leave --online out, and mixup of --augment")
    train_source, dev_source = (
        training_folder.source_of(data, feats, frontend, args.online, args.frontend, args.allow_pipes)
        for data, feats in ((args.train_data, args.train_feats), (args.dev_data, args.dev_feats))
    )
    torch.manual_seed(args.seed)
    frames = train_conf.frames and train_conf.frames.maps
    detector = training_folder.detector_for(model_conf, frontend, train_conf.hard_loss.head, frames)
    method = training.make_method(train_conf, detector)
    conf = identity(args, frontend_conf, model_conf, train_conf, chain)
    final = args.exp_dir / "final.pt"
    depend_on = partial(
        weights_depend_on, data_dir=args.train_data, source=train_source, frontend=frontend, chain=chain
    )
    unfinished = distributed.from_first(lambda: begin_or_go_on(args.exp_dir, conf, depend_on))
    first = distributed.is_first()
    if first:
        write_lines(args.exp_dir / "heads", [" ".join(map(str, method.trained_heads))])  # the recipes read it
        write_train_set(args.exp_dir, args.train_data, conf["corpus"])
    if not unfinished:
        distributed.leave()
        if first:
            CheckpointFolder(args.exp_dir / "checkpoints", 0).remove_epochs()  # a kill may have come before
        print(f"train.py: {final} is complete and made from the same inputs and conf; nothing to do")
        return 0

    one = torch.zeros(1, frontend.channels, frontend_conf.network_input.frames, frontend.n_bins)
    check_maps(detector, one)
    if frames:
        check_keeps_time(detector, one)
    cost = detector_cost(detector, frontend_conf.network_input.frames, frontend.n_bins, frontend.channels)
    if first:
        write_json(args.exp_dir / "detector.json", cost)
    title = f"{conf['model_name']}, {conf['train_name']}, seed {args.seed}; {corpus_label(conf['corpus'])}"
    train_set, dev_set = (
        FeatureSet(
            data,
            source,
            frontend,
            train_conf.cache_mib,
            args.seed,
            own_chain,
            args.online * train_conf.num_workers,
            how,
            FrameLabels(data, feats, frontend_conf) if frames else None,
        )
        for data, feats, source, own_chain, how in (
            (args.train_data, args.train_feats, train_source, chain, train_conf.how_to_read()),
            (args.dev_data, args.dev_feats, dev_source, None, Reading()),
        )
    )
    for name, chosen in ((args.train_data, train_set), (args.dev_data, dev_set)):
        if len(set(chosen.labels.tolist())) < 2:
            raise UserError(f"{name / 'utt2label'}: both bona fide and spoof utterances are needed")
    where = f"{device}" if distributed.world() == 1 else f"{distributed.world()} processes ({device.type})"
    how = {"memory": "in memory", "random": "from disk", "shards": "from disk, by shards"}[train_set.how]
    features = "computed when needed" if args.online and not train_set.cached else how
    if chain is not None:
        features += f", augmented by {Path(args.augment).stem}"
    print(
        f"{title}: {cost['parameters']:,} parameters, {cost['multiply_adds']:,} multiply-adds; {len(train_set)}"
        f" utterances to train on, {len(dev_set)} to choose by; on {where}, features {features}"
    )
    band = band_limits(args, train_set) if first else None
    trainer = Trainer(train_conf, method, train_set, dev_set, args.exp_dir, args.seed, device, eer, title)
    if trainer.resume():  # with the normalisation that the first epoch began with
        print(f"resuming after epoch {trainer.epoch} of {train_conf.epochs}", flush=True)
    elif detector.normalisation is not None:
        set_normalisation(args, detector, train_set, frontend_conf.cmvn.variance, train_conf.num_workers)
    trained = trainer.run()
    distributed.leave()
    if not first:
        return 0
    keep_choices(args.exp_dir / "choices.json", method.choices())
    training_folder.save_detector(final, trained.state, conf, trained.best_epoch, train_conf.hard_loss.head, band)
    trainer.checkpoints.remove_epochs()
    best = trained.history[trained.best_epoch - 1]
    print(
        f"train.py: {final}: epoch {trained.best_epoch}, dev loss {best['dev_loss']:.4f}, dev EER"
        f" {best['dev_eer']:.2f} %"
    )
    return 0


if __name__ == "__main__":
    run_program(distributed.supervised(main))
