"""AASIST's published weights give the published numbers, and become the folder of a training.

Tests that need the weights run where FSD_AASIST_WEIGHTS names their folder, with golden.json: what the authors' code
makes of five signals.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from steps import import_aasist
from steps.experiment import training_folder
from steps.inference.detector import FakeSpeechDetector
from steps.nnet.base import LinearHead
from steps.serving.verdicts import judge
from tests import in_process

FOLDER = os.environ.get("FSD_AASIST_WEIGHTS")
needs_weights = pytest.mark.skipif(not FOLDER, reason="FSD_AASIST_WEIGHTS names no folder of AASIST's weights")
NAMES = ["AASIST", "AASIST-L"]


def golden_signal(k):
    t = np.arange(64600) / 16000
    tone = 0.2 * np.sin(2 * np.pi * (120 + 30 * k) * t + 3 * np.sin(2 * np.pi * 4 * t))
    noise = 0.02 * np.random.default_rng(k).standard_normal(64600)
    return (tone * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t)) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """The folder of each training."""
    folder = tmp_path_factory.mktemp("exp")
    for name in NAMES:
        done = in_process.call(import_aasist.main, "import_aasist.py", Path(FOLDER) / f"{name}.pth", folder / name)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def golden():
    return json.loads((Path(FOLDER) / "golden.json").read_text(encoding="utf-8"))


@needs_weights
@pytest.mark.parametrize("name", NAMES)
def test_logits_and_embeddings_are_those_of_the_authors_code(imported, golden, name):
    detector, _ = training_folder.load_detector(imported / name / "final.pt", torch.device("cpu"))
    known = golden[name]
    assert isinstance(detector.head, LinearHead)
    assert sum(p.numel() for p in detector.parameters()) == known["parameters"]
    x = torch.from_numpy(np.stack([golden_signal(k) for k in range(5)]))[:, None, :, None]
    with torch.inference_mode():
        embedding = detector.embed(x)
        logits = detector.head(embedding)
    np.testing.assert_allclose(logits.numpy(), known["logits_spoof_bonafide"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(embedding[:, :8].numpy(), known["embedding_first_8"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(embedding.norm(dim=1).numpy(), known["embedding_norm"], rtol=0, atol=1e-4)


@needs_weights
@pytest.mark.parametrize("name", NAMES)
def test_every_published_tensor_has_its_place(golden, name):
    shapes = golden[name]["state"]
    here = import_aasist.state_here({key: torch.zeros(shape) for key, shape in shapes.items()})
    assert len(here) == len(shapes)


@needs_weights
def test_a_recording_is_scored_from_its_file_by_the_difference_of_the_logits(imported, golden, tmp_path):
    soundfile.write(tmp_path / "a.wav", golden_signal(0), 16000, "FLOAT")
    detector = FakeSpeechDetector.load(imported / "AASIST-L")
    (result,) = detector.score_file(tmp_path / "a.wav")
    spoof, bonafide = golden["AASIST-L"]["logits_spoof_bonafide"][0]
    assert result.score == pytest.approx(bonafide - spoof, abs=2e-4)
    assert result.verdict is None and result.llr is None  # until it is calibrated
    assert detector.about()["corpus"] == "ASVspoof 2019 LA"


@needs_weights
def test_the_web_page_judges_without_a_picture_of_what_the_network_looked_at(imported, tmp_path):
    soundfile.write(tmp_path / "a.wav", golden_signal(1), 16000)
    detector = FakeSpeechDetector.load(imported / "AASIST-L")
    said = judge(detector, (tmp_path / "a.wav").read_bytes(), max_seconds=60)
    assert said["looked_at"] == [] and said["spectrogram"] and np.isfinite(said["score"])


@needs_weights
def test_the_card_says_what_it_is_and_a_second_import_leaves_the_folder_alone(imported):
    card = (imported / "AASIST/MODEL_CARD.md").read_text(encoding="utf-8")
    for said in ("297,866", "EER 0.83 %", "real ASVspoof 2019 LA", "MIT", "Not calibrated", "a04c986"):
        assert said in card
    before = (imported / "AASIST/final.pt").read_bytes()
    done = in_process.call(import_aasist.main, "x", Path(FOLDER) / "AASIST.pth", imported / "AASIST")
    assert done.returncode != 0 and "is there already" in done.stderr
    assert (imported / "AASIST/final.pt").read_bytes() == before


def test_a_file_that_is_not_the_published_one_is_refused_before_it_is_read(tmp_path):
    torch.save({"a": torch.zeros(3)}, tmp_path / "AASIST.pth")
    done = in_process.call(import_aasist.main, "import_aasist.py", tmp_path / "AASIST.pth", tmp_path / "exp")
    assert done.returncode == 1 and "not the published weights (SHA-256 " in done.stderr
    assert "models/weights/AASIST.pth" in done.stderr and not (tmp_path / "exp").exists()


def test_an_unknown_tensor_is_an_error():
    with pytest.raises(ValueError, match="first_bnx"):
        import_aasist.name_here("first_bnx.weight")
