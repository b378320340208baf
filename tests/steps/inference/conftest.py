"""A small detector with random weights, and recordings for it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from steps import nnet
from steps.evaluation.fitted_scores import calibrate_training
from steps.experiment import training_folder
from steps.frontend import load_conf, make_frontend
from tests.conftest import ROOT, speech_like
from utils import conf as conf_files

RATE = 16000
SETTINGS = ("frontend.network_input.frames=64",)


def save_training(folder: Path, settings=SETTINGS) -> Path:
    """A training's folder with a final.pt whose scores vary."""
    torch.manual_seed(3)
    frontend_conf = load_conf(ROOT / "conf/frontend/f0_subband.yaml", settings)
    model_conf = nnet.load_conf(ROOT / "conf/model/senet9.yaml")
    detector = training_folder.detector_for(model_conf, make_frontend(frontend_conf))
    corpus = {"name": "mini corpus", "version": "1", "size": "tiny"}
    conf = {"frontend": conf_files.to_dict(frontend_conf), "model": conf_files.to_dict(model_conf), "corpus": corpus}
    training_folder.save_detector(folder / "final.pt", detector.state_dict(), conf, 1)
    return folder


def save_dev_scores(training: Path, data_dir: Path, shift: float = 1.0, stem: str = "dev") -> None:
    rng = np.random.default_rng(0)
    data, scores = data_dir / "dev", training / "scores"
    for folder in (data, scores):
        folder.mkdir(parents=True, exist_ok=True)
    lines, labels = [], []
    for i in range(60):
        key = "bonafide" if i % 3 == 0 else "spoof"
        lines.append(
            f"d{i:02d} {'-' if i % 3 == 0 else 'A01'} {key} {rng.standard_normal() + shift * (i % 3 == 0)!r}\n"
        )
        labels.append(f"d{i:02d} {key}\n")
    (scores / f"{stem}.txt").write_text("".join(lines))
    (data / "utt2label").write_text("".join(labels))


def calibrated_training(folder):
    """folder/exp/net/seed1, with a calibration."""
    made = save_training(folder / "exp/net/seed1")
    save_dev_scores(made, folder / "data")
    calibrate_training(made, "dev", folder / "data")
    return made


@pytest.fixture(scope="session")
def training(tmp_path_factory):
    return calibrated_training(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="session")
def uncalibrated(tmp_path_factory):
    return save_training(tmp_path_factory.mktemp("uncalibrated") / "seed1")


@pytest.fixture
def speech():
    """seconds, seed -> (samples,) at RATE."""
    return lambda seconds, seed=0: speech_like(round(seconds * RATE), seed)
