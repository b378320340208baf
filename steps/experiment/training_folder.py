"""What lies in an experiment's folder, exp/<set>_<frontend>_<model>_<method>/seed<N>: names, conf, detector."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from steps import frontend as frontends
from steps import nnet, training
from steps.data.sources import ComputedFeatures, DumpedFeatures, FeatureSource
from steps.frontend.processing.band import BandLimits
from steps.nnet.base import INNER_PRODUCT, FrameMaps, HeadConf
from steps.training import checkpoints
from utils import conf as conf_files
from utils.cli import UserError
from utils.files import read_json
from utils.rttm import RTTM
from utils.segments import SEGMENTS, beside

FINAL_MEND = "remove it and run again from --stage 2: it is trained again, with the same result"
FINAL_FORMAT = 2
_FORMATS = (1, 2)  # 1: before a head could be read otherwise than by inner products


def read_conf(folder: Path) -> dict[str, Any]:
    """The conf.yaml of an experiment. Raises UserError if there is none."""
    if not (folder / "conf.yaml").exists():
        raise UserError(f"{folder / 'conf.yaml'}: no such file; train first (--stage 2)")
    return conf_files.read_yaml(folder / "conf.yaml")


def trained_by_graphs(folder: Path) -> bool:
    """Whether the training's conf asks for CUDA graphs; false without a conf, as of an imported detector."""
    if not (folder / "conf.yaml").exists():
        return False
    return bool((read_conf(folder).get("train") or {}).get("graphs", False))


def _group(values: Mapping[str, Any], key: str, source: Path) -> dict[str, Any]:
    """The group of values that `key` names. Raises UserError if there is none."""
    if not isinstance(values.get(key), dict):
        raise UserError(f"{source}: it has no {key} (a group of values); make it again")
    return values[key]


def _load_weights(module: torch.nn.Module, state: Mapping[str, Any], source: Path) -> None:
    try:
        module.load_state_dict(state)
    except Exception as error:  # torch raises several kinds for what is no state of this network
        raise UserError(f"{source}: its weights do not fit its conf: {error}") from None


def check_feats(feats_dir: Path, frontend_conf: frontends.FrontEndConf, needed_by: str) -> None:
    """Raises UserError unless the features at feats_dir were made by this very front end."""
    conf_file = feats_dir / "conf.yaml"
    if not conf_file.exists() or not (feats_dir / "feats.scp").exists():
        raise UserError(f"{feats_dir}: no complete features there; run the feature stage (--stage 1)")
    found = _group(conf_files.read_yaml(conf_file), "frontend", conf_file)
    changed = conf_files.differences(found, frontends.dump_identity(frontend_conf))
    if changed:
        raise UserError(f"{feats_dir}: made by another front end than {needed_by} wants ({'; '.join(changed)})")


def source_of(
    data_dir: Path,
    feats_dir: Path,
    frontend: frontends.FrontEndBase,
    online: bool,
    needed_by: str,
    allow_pipes: bool = False,
) -> FeatureSource:
    """Where a set's features come from: `online` from its audio, which with `allow_pipes` commands may make, otherwise
    from feats_dir, which has to fit.

    Raises UserError unless the features at feats_dir were made by this very front end.
    """
    if online:
        return ComputedFeatures(data_dir, frontend, allow_pipes)
    check_feats(feats_dir, frontend.conf, needed_by)
    return DumpedFeatures(feats_dir)


def set_identity(data_dir: Path, feats_dir: Path | None) -> str:
    """A digest of a set's utterances, labels, segments and frames (durations without a feats_dir), the same wherever
    the files lie."""
    more = [*beside(data_dir / "wav.scp"), *([data_dir / RTTM] if (data_dir / RTTM).exists() else [])]
    needed = [data_dir / "utt2label"]
    if feats_dir is not None:
        needed.append(feats_dir / "utt2num_frames")
    elif (data_dir / "utt2dur").exists() or data_dir / SEGMENTS not in more:
        needed.append(data_dir / "utt2dur")
    digest = hashlib.sha256()
    for path in (*needed, *more):
        try:
            digest.update(path.read_bytes())
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; run the stages before (--stage 0)") from None
    return digest.hexdigest()


def detector_for(
    model_conf: nnet.ModelConf,
    frontend: frontends.FrontEndBase,
    head: HeadConf = INNER_PRODUCT,
    frames: FrameMaps | None = None,
) -> nnet.Detector:
    """A new network of `model_conf`, with a head of `head`, and with `frames` one of frames that reads these maps, for
    the features that `frontend` makes."""
    normalised_bins = frontend.n_bins if frontend.normalised_globally else None
    return nnet.make_detector(model_conf, frontend.channels, normalised_bins, head, frames)


def corpus_of(data_dir: Path) -> dict[str, Any]:
    """Name and version of the corpus that a data dir was made from."""
    path = data_dir / "corpus.json"
    return read_json(path) if path.exists() else {"name": "unnamed corpus"}


def pick_device(ngpu: int) -> torch.device:
    """The CPU for 0, one GPU for 1. Raises UserError when there is no GPU to be had."""
    if ngpu == 0:
        return torch.device("cpu")
    if ngpu > 1:
        raise UserError(f"--ngpu {ngpu}: this program uses one GPU; steps/distribute.py trains on several")
    if not torch.cuda.is_available():
        raise UserError("--ngpu 1: torch finds no CUDA GPU here; use --ngpu 0, or a torch build with CUDA")
    return torch.device("cuda")


def save_detector(
    path: Path,
    state: dict[str, torch.Tensor],
    conf: dict[str, Any],
    epoch: int,
    head: HeadConf = INNER_PRODUCT,
    band: BandLimits | None = None,
) -> None:
    """final.pt: the detector's weights and what is needed to use them, and nothing of training.

    head: its head's logits. band: which a recording has to have to be judged; None: any.
    """
    checkpoints.save(
        path,
        {
            "format": FINAL_FORMAT,
            "frontend": conf["frontend"],
            "model": conf["model"],
            "head": conf_files.to_dict(head),
            "band": band and conf_files.to_dict(band),
            "corpus": conf["corpus"],
            "epoch": epoch,
            "state": state,
        },
    )


@dataclass(frozen=True)
class TrainedDetector:
    """What a final.pt holds: a network ready to score, the conf of its front end, the corpus it was trained on, and the
    band that a recording has to have to be judged; None in those of older versions."""

    detector: nnet.Detector
    frontend_conf: frontends.FrontEndConf
    corpus: dict[str, Any]
    band: BandLimits | None = None


def load_trained(path: Path, device: torch.device) -> TrainedDetector:
    """Raises UserError if the file does not hold a detector."""
    kept = checkpoints.load(path, FINAL_MEND)
    if kept.get("format") not in _FORMATS:
        raise UserError(
            f"{path}: not a detector that this version reads (format {kept.get('format')!r}, expected "
            f"{' or '.join(map(str, _FORMATS))})"
        )
    frontend_conf = frontends.conf_from_dict(_group(kept, "frontend", path), str(path))
    frontend = frontends.make_frontend(frontend_conf)
    head = conf_files.build(HeadConf, _group(kept, "head", path) if "head" in kept else {}, {}, str(path))
    state = _group(kept, "state", path)
    frames: FrameMaps | None = None
    if "frame_head.linear.weight" in state:
        frames = "all" if "frame_head.finer.0.weight" in state else "last"
    detector = detector_for(nnet.conf_from_dict(_group(kept, "model", path), str(path)), frontend, head, frames)
    _load_weights(detector, state, path)
    detector = detector.to(device, memory_format=torch.channels_last).eval()
    band = conf_files.build(BandLimits, _group(kept, "band", path), {}, str(path)) if kept.get("band") else None
    return TrainedDetector(detector, frontend_conf, _group(kept, "corpus", path), band)


def load_detector(path: Path, device: torch.device) -> tuple[nnet.Detector, frontends.FrontEndConf]:
    """The detector of a final.pt, ready to score. Raises UserError if the file does not hold one."""
    trained = load_trained(path, device)
    return trained.detector, trained.frontend_conf


def confs_of(folder: Path) -> tuple[str, frontends.FrontEndConf, nnet.ModelConf, training.TrainConf]:
    """Network and front end in words, and the confs of front end, network and method, by a training's conf.yaml."""
    conf, source = read_conf(folder), folder / "conf.yaml"
    frontend_conf = frontends.conf_from_dict(_group(conf, "frontend", source), str(source))
    model_conf = nnet.conf_from_dict(_group(conf, "model", source), str(source))
    train_conf = training.conf_from_dict(_group(conf, "train", source), str(source))
    return f"{conf.get('model_name')} on {conf.get('frontend_name')}", frontend_conf, model_conf, train_conf


def load_method(folder: Path, device: torch.device) -> training.MethodBase:
    """The detector with all the heads that its training had, at the epoch that was kept, ready to score."""
    _, frontend_conf, model_conf, train_conf = confs_of(folder)
    frontend, head = frontends.make_frontend(frontend_conf), train_conf.hard_loss.head
    detector = detector_for(model_conf, frontend, head, train_conf.frames and train_conf.frames.maps)
    method = training.make_method(train_conf, detector)
    best, final = folder / "checkpoints" / "best.pt", folder / "final.pt"
    fix = f"remove it and {final}, and run again from --stage 2: they are trained again, with the same result"
    _load_weights(method, _group(checkpoints.load(best, fix), "method", best), best)
    return method.to(device, memory_format=torch.channels_last).eval()
