"""Small detectors whose scores vary as trained ones' do, and data dirs of speech-like recordings."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from steps import nnet as networks
from steps.data.batches import network_input
from steps.experiment import training_folder
from steps.frontend import load_conf, make_frontend
from tests.conftest import ROOT, speech_like
from utils import conf as conf_files

RATE = 16000
FRAMES = ("frontend.network_input.frames=64",)
MINI = {"name": "mini corpus", "version": "1", "size": "tiny", "recipe": "LA"}
SAMPLES = {"a": 9000, "b": 30000, "c": 3000, "d": 16000}  # shorter and longer than 64 frames of any front end


def make_trained(
    model: str, frontend: str, settings=FRAMES, corpus=MINI, speech=None, frames=None
) -> training_folder.TrainedDetector:
    """With random weights, and statistics of batch normalisation as of `speech`, waveforms."""
    torch.manual_seed(1)
    conf = load_conf(ROOT / f"conf/frontend/{frontend}.yaml", settings)
    made = make_frontend(conf)
    detector = training_folder.detector_for(networks.load_conf(ROOT / f"conf/model/{model}.yaml"), made, frames=frames)
    if detector.normalisation is not None:
        columns = made.n_columns
        detector.normalisation.set(torch.linspace(-3, 1, columns), torch.linspace(0.5, 1, columns))
    speech = speech or [speech_like(12000, seed) for seed in range(3)]
    features = np.stack([network_input(made.compute(waveform), made, "u") for waveform in speech])
    x = torch.from_numpy(features.reshape(*features.shape[:2], made.channels, -1)).transpose(1, 2)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches
    with torch.no_grad():
        detector.train()(x)
    return training_folder.TrainedDetector(detector.eval(), conf, dict(corpus))


def save_trained(folder: Path, trained: training_folder.TrainedDetector) -> Path:
    conf = {
        "frontend": conf_files.to_dict(trained.frontend_conf),
        "model": conf_files.to_dict(trained.detector.made_of[0]),
        "corpus": trained.corpus,
    }
    training_folder.save_detector(folder / "final.pt", trained.detector.state_dict(), conf, 1)
    return folder


@pytest.fixture(scope="session")
def waveforms():
    return {utt: speech_like(n, seed).astype(np.float32) for seed, (utt, n) in enumerate(SAMPLES.items())}


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory, waveforms):
    """A data dir of those waveforms, two of each class."""
    folder = tmp_path_factory.mktemp("data") / "dev"
    folder.mkdir()
    for utt, waveform in waveforms.items():
        soundfile.write(folder / f"{utt}.wav", waveform, RATE)
    (folder / "wav.scp").write_text("".join(f"{utt} {folder / utt}.wav\n" for utt in waveforms))
    (folder / "utt2label").write_text("a bonafide\nb bonafide\nc spoof\nd spoof\n")
    return folder
