"""A self-distilled training's folder as train.py leaves it, made of random weights; its exits' scores differ."""

from pathlib import Path

import numpy as np
import torch
import yaml
from torch import nn

from steps import nnet
from steps import training as methods
from steps.data.batches import network_input
from steps.experiment import training_folder
from steps.frontend import load_conf, make_frontend
from steps.training import checkpoints
from tests.conftest import ROOT, speech_like
from utils import conf as conf_files

CORPUS = {"name": "mini corpus", "version": "1", "size": "tiny", "recipe": "LA"}


def save_distilled(
    folder: Path, method: str = "self_distill", model: str = "ecanet9", settings=(), frontend: str = "f0_subband"
) -> Path:
    torch.manual_seed(5)
    frontend_conf = load_conf(ROOT / f"conf/frontend/{frontend}.yaml", ["frontend.network_input.frames=64"])
    made, model_conf = make_frontend(frontend_conf), nnet.load_conf(ROOT / f"conf/model/{model}.yaml")
    train_conf = methods.load_conf(ROOT / f"conf/train/{method}.yaml", settings)
    detector = training_folder.detector_for(
        model_conf, made, train_conf.hard_loss.head, train_conf.frames and train_conf.frames.maps
    )
    trained = methods.make_method(train_conf, detector)
    speech = [network_input(made.compute(speech_like(12000, seed)), made, "u") for seed in range(3)]
    for module in trained.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches
    with torch.no_grad():
        trained.train().head_logits(torch.from_numpy(np.stack(speech))[:, None])
    confs = {"frontend": frontend_conf, "model": model_conf, "train": train_conf}
    conf = {key: conf_files.to_dict(one) for key, one in confs.items()}
    conf |= {"corpus": CORPUS, "frontend_name": frontend, "model_name": model, "method": method, "seed": 1}
    checkpoints.save(folder / "checkpoints" / "best.pt", {"method": trained.state_dict()})
    training_folder.save_detector(folder / "final.pt", detector.state_dict(), conf, 1)
    (folder / "conf.yaml").write_text(yaml.safe_dump(conf))
    return folder
