"""What lies in an experiment's folder, exp/<set>_<frontend>_<model>_<method>/seed<N>: names, conf, detector."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from steps import frontend as frontends
from steps import nnet, training
from steps.nnet.base import HeadConf
from steps.training import checkpoints
from steps.training.sources import ComputedFeatures, DumpedFeatures, FeatureSource
from utils import conf as conf_files
from utils.cli import UserError
from utils.files import read_json

FINAL_MEND = "remove it and run again from --stage 2: it is trained anew, and comes out the same"
FINAL_FORMAT = 2
_FORMATS = (1, 2)  # 1: before a head could be read otherwise than by inner products


def read_conf(folder: Path) -> dict[str, Any]:
    """The conf.yaml of an experiment. Raises UserError if there is none."""
    try:
        return yaml.safe_load((folder / "conf.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder / 'conf.yaml'}: no such file; train first (--stage 2)") from None
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{folder / 'conf.yaml'}: cannot be read ({error})") from None


def check_feats(feats_dir: Path, frontend_conf: frontends.FrontEndConf, needed_by: str) -> None:
    """Raises UserError unless the features at feats_dir were made by this very front end."""
    conf_file = feats_dir / "conf.yaml"
    if not conf_file.exists() or not (feats_dir / "feats.scp").exists():
        raise UserError(f"{feats_dir}: no whole features there; run the feature stage (--stage 1)")
    found = yaml.safe_load(conf_file.read_text(encoding="utf-8"))["frontend"]
    changed = conf_files.differences(found, frontends.dump_identity(frontend_conf))
    if changed:
        raise UserError(f"{feats_dir}: made by another front end than {needed_by} wants ({'; '.join(changed)})")


def source_of(
    data_dir: Path, feats_dir: Path, frontend: frontends.FrontEndBase, online: bool, needed_by: str
) -> FeatureSource:
    """Where a set's features come from: `online` from its audio, otherwise from feats_dir, which has to fit.

    Raises UserError unless the features at feats_dir were made by this very front end.
    """
    if online:
        return ComputedFeatures(data_dir, frontend)
    check_feats(feats_dir, frontend.conf, needed_by)
    return DumpedFeatures(feats_dir)


def set_identity(data_dir: Path, feats_dir: Path | None) -> str:
    """A digest of a set's utterances, labels and frames (durations without a feats_dir), the same wherever the files lie."""
    digest = hashlib.sha256()
    for path in (data_dir / "utt2label", data_dir / "utt2dur" if feats_dir is None else feats_dir / "utt2num_frames"):
        try:
            digest.update(path.read_bytes())
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; run the stages before (--stage 0)") from None
    return digest.hexdigest()


def detector_for(model_conf: nnet.ModelConf, frontend: frontends.FrontEndBase) -> nnet.Detector:
    """A new network of `model_conf` for what `frontend` makes."""
    return nnet.make_detector(model_conf, frontend.channels, frontend.n_bins if frontend.normalised_globally else None)


def corpus_of(data_dir: Path) -> dict[str, Any]:
    """Name and version of the corpus that a data dir was made from."""
    path = data_dir / "corpus.json"
    return read_json(path) if path.exists() else {"name": "unnamed corpus"}


def pick_device(ngpu: int) -> torch.device:
    """The CPU for 0, one GPU for 1. Raises UserError when there is no GPU to be had."""
    if ngpu == 0:
        return torch.device("cpu")
    if ngpu > 1:
        raise UserError(f"--ngpu {ngpu}: one GPU at most for now")
    if not torch.cuda.is_available():
        raise UserError("--ngpu 1: torch finds no CUDA GPU here; use --ngpu 0, or a torch build with CUDA")
    return torch.device("cuda")


def save_detector(
    path: Path, state: dict[str, torch.Tensor], conf: dict[str, Any], epoch: int, head: HeadConf | None = None
) -> None:
    """final.pt: the detector's weights and what is needed to use them (`head`: how its head is read, by inner products if None), and nothing of
    training."""
    checkpoints.save(
        path,
        {
            "format": FINAL_FORMAT,
            "frontend": conf["frontend"],
            "model": conf["model"],
            "head": conf_files.to_dict(head or HeadConf()),
            "corpus": conf["corpus"],
            "epoch": epoch,
            "state": state,
        },
    )


@dataclass(frozen=True)
class TrainedDetector:
    """What a final.pt holds: a network ready to score, the conf of its front end, and the corpus it was trained on."""

    detector: nnet.Detector
    frontend_conf: frontends.FrontEndConf
    corpus: dict[str, Any]


def load_trained(path: Path, device: torch.device) -> TrainedDetector:
    """Raises UserError if the file does not hold a detector."""
    kept = checkpoints.load(path, device, FINAL_MEND)
    if kept.get("format") not in _FORMATS:
        raise UserError(
            f"{path}: not a detector that this version reads (format {kept.get('format')!r}, expected "
            f"{' or '.join(map(str, _FORMATS))})"
        )
    frontend_conf = frontends.conf_from_dict(kept["frontend"], str(path))
    frontend = frontends.make_frontend(frontend_conf)
    detector = detector_for(nnet.conf_from_dict(kept["model"], str(path)), frontend)
    detector.head.conf = conf_files.build(HeadConf, kept.get("head", {}), {}, str(path))
    try:
        detector.load_state_dict(kept["state"])
    except RuntimeError as error:
        raise UserError(f"{path}: its weights do not fit its conf: {error}") from None
    detector = detector.to(device, memory_format=torch.channels_last).eval()
    return TrainedDetector(detector, frontend_conf, kept["corpus"])


def load_detector(path: Path, device: torch.device) -> tuple[nnet.Detector, frontends.FrontEndConf]:
    """The detector of a final.pt, ready to score. Raises UserError if the file does not hold one."""
    trained = load_trained(path, device)
    return trained.detector, trained.frontend_conf


def load_method(folder: Path, device: torch.device) -> training.MethodBase:
    """The detector with all the heads that its training had, at the epoch that was kept, ready to score."""
    conf = read_conf(folder)
    frontend = frontends.make_frontend(frontends.conf_from_dict(conf["frontend"], str(folder)))
    detector = detector_for(nnet.conf_from_dict(conf["model"], str(folder)), frontend)
    method = training.make_method(training.conf_from_dict(conf["train"], str(folder)), detector)
    mend = f"remove it and {folder / 'final.pt'}, and run again from --stage 2: they are trained anew, and come out the same"
    method.load_state_dict(checkpoints.load(folder / "checkpoints" / "best.pt", device, mend)["method"])
    return method.to(device, memory_format=torch.channels_last).eval()
