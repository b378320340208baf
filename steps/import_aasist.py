#!/usr/bin/env python3
"""Turns AASIST's published weights into the folder of a training, for detect.py, serve.py, score.py and export.py."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

import torch
from torch import Tensor

from steps import frontend as frontends
from steps import nnet
from steps.experiment import training_folder
from steps.nnet.base import HeadConf
from steps.nnet.cost import detector_cost
from utils import conf as conf_files
from utils.cli import UserError, make_parser, run_program
from utils.files import sha256_of, write_json, write_lines

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = "https://github.com/clovaai/aasist"
COMMIT = "a04c986"
FRONTEND = "waveform_paper"
PAPER = "Jung et al., AASIST, ICASSP 2022, arXiv:2110.01200"
CARD = "MODEL_CARD.md"


@dataclass(frozen=True)
class Published:
    """What the authors say of a file of weights. model: its conf in conf/model; eer_percent and min_tdcf: on the
    evaluation set of ASVspoof 2019 LA, by the bona fide logit."""

    file: str
    model: str
    eer_percent: float
    min_tdcf: float


PUBLISHED = {  # by sha256
    "51d2d9cf0738172f61e2a384ec50a54a55363240f67c971ed55a92435bc1a1c0": Published(
        "models/weights/AASIST.pth", "aasist", 0.83, 0.0275
    ),
    "814331d088032bb4c3fa61cc014789eadeed464209dd094ab3a2dd6ffbdce27a": Published(
        "models/weights/AASIST-L.pth", "aasist_l", 0.99, 0.0309
    ),
}

# Names of the published state, as patterns, and what they are called here: the first that fits is taken.
_NAMES = (
    (r"first_bn", "backbone.stem.2"),
    (r"encoder\.(\d)\.0\.bn1", "{block}.before"),
    (r"encoder\.(\d)\.0\.conv1", "{block}.first"),
    (r"encoder\.(\d)\.0\.bn2", "{block}.norm"),
    (r"encoder\.(\d)\.0\.conv2", "{block}.second"),
    (r"encoder\.(\d)\.0\.conv_downsample", "{block}.shortcut"),
    (r"pos_S", "{graphs}.positions"),
    (r"master(\d)", "{graphs}.branches.{branch}.stack"),
    (r"GAT_layer_T", "{graphs}.temporal.0"),
    (r"GAT_layer_S", "{graphs}.spectral.0"),
    (r"pool_T\.proj", "{graphs}.temporal.1.score"),
    (r"pool_S\.proj", "{graphs}.spectral.1.score"),
    (r"HtrgGAT_layer_ST(\d)1", "{graphs}.branches.{branch}.first"),
    (r"HtrgGAT_layer_ST(\d)2", "{graphs}.branches.{branch}.second"),
    (r"pool_hT(\d)\.proj", "{graphs}.branches.{branch}.pool_temporal.score"),
    (r"pool_hS(\d)\.proj", "{graphs}.branches.{branch}.pool_spectral.score"),
    (r"out_layer", "head"),
)
_WITHIN = {  # what follows the name of a graph attention layer
    "att_weight": "score",
    "att_weight11": "score_temporal",
    "att_weight22": "score_spectral",
    "att_weight12": "score_across",
    "att_weightM": "stack_score",
    "att_proj": "pair",
    "att_projM": "stack_pair",
    "proj_type1": "from_temporal",
    "proj_type2": "from_spectral",
    "proj_with_att": "mixing.others",
    "proj_without_att": "mixing.itself",
    "proj_with_attM": "stack_mixing.others",
    "proj_without_attM": "stack_mixing.itself",
    "bn": "norm",
}


def name_here(name: str) -> str:
    """What a tensor of the published state is called in a Detector. Raises ValueError for an unknown one."""
    for pattern, ours in _NAMES:
        if found := re.match(rf"{pattern}(?=\.|$)", name):
            number = int(found[1]) if found.groups() else 0
            block = f"backbone.stages.{number // 2}.{number % 2}"
            begin = ours.format(block=block, graphs="backbone.stages.3", branch=number - 1)
            parts = name[found.end() :].split(".")
            if "GAT" in pattern:
                parts[1] = _WITHIN[parts[1]]
            return begin + ".".join(parts)
    raise ValueError(name)


def state_here(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published state as a Detector's: kernels of the encoder go over frequency and time there, here over time
    and frequency."""
    return {
        name_here(name): value.transpose(2, 3).contiguous() if value.ndim == 4 else value
        for name, value in published.items()
    }


def card(of: Published, sha256: str, parameters: int) -> list[str]:
    return [
        f"# Model card: {Path(of.file).stem}, the authors' published weights",
        "",
        f"* {parameters:,} parameters; {PAPER}",
        f"* `{of.file}` of {REPOSITORY}, commit `{COMMIT}`, SHA-256 `{sha256}`; MIT licence",
        "* Trained by its authors on the training set of the real ASVspoof 2019 LA: synthetic and converted speech.",
        f"* Published on the evaluation set: EER {of.eer_percent} %, min t-DCF {of.min_tdcf}, by the bona fide logit. "
        "The score here is the bona fide logit minus the spoof logit, whose EER may differ a little.",
        "* Not calibrated: there is no LLR and no verdict before steps/calibrate.py has made a calibration.json of the "
        "scores of a development set.",
        "* It reads 64,600 samples (4.04 s) as they are, so gain, an offset or digital silence can change the score.",
        "* Do not use it as the only ground for a decision about a person or a recording. On other languages, "
        "microphones, codecs and attacks than its training had, measure its errors first.",
    ]


def import_weights(weights: Path, folder: Path) -> None:
    """Raises UserError for any file but the published ones, and for a folder that has something in it."""
    sha256 = sha256_of(weights)
    of = PUBLISHED.get(sha256)
    if of is None:
        files = " or ".join(one.file for one in PUBLISHED.values())
        raise UserError(
            f"{weights}: not the published weights (SHA-256 {sha256}); take {files} of {REPOSITORY} at commit {COMMIT}"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already; name another folder, or remove it")
    frontend_conf = frontends.load_conf(ROOT / f"conf/frontend/{FRONTEND}.yaml")
    model_conf = nnet.load_conf(ROOT / f"conf/model/{of.model}.yaml")
    head = HeadConf("linear")
    detector = training_folder.detector_for(model_conf, frontends.make_frontend(frontend_conf), head)
    detector.load_state_dict(state_here(torch.load(weights, map_location="cpu", weights_only=True)))
    cost = detector_cost(detector, frontend_conf.network_input.frames, 1)
    conf: dict[str, Any] = {
        "frontend_name": FRONTEND,
        "model_name": of.model,
        "train_name": "published",
        "method": "published",
        "corpus": {"name": "ASVspoof 2019", "recipe": "LA"},
        "frontend": conf_files.to_dict(frontend_conf),
        "model": conf_files.to_dict(model_conf),
        "published": {
            "repository": REPOSITORY,
            "commit": COMMIT,
            "sha256": sha256,
            "licence": "MIT",
            "paper": PAPER,
            **asdict(of),
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    conf_files.write_yaml(folder / "conf.yaml", conf)
    write_json(folder / "detector.json", cost)
    write_lines(folder / CARD, card(of, sha256, cost["parameters"]))
    training_folder.save_detector(folder / "final.pt", detector.state_dict(), conf, 0, head)
    print(f"{folder / 'final.pt'}: {Path(of.file).stem}, {cost['parameters']:,} parameters; {folder / CARD}: about it")


def main() -> int:
    parser = make_parser(
        __doc__ + " docs/detect.md says where the weights are.",
        "steps/import_aasist.py AASIST.pth exp/LA_waveform_paper_aasist_published/seed1",
    )
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="AASIST.pth or AASIST-L.pth as published")
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to make")
    args = parser.parse_args()
    import_weights(args.weights, args.folder)
    return 0


if __name__ == "__main__":
    run_program(main)
