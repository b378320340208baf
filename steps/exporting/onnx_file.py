"""Writes a module as an ONNX file, and marks it with what it is."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from steps.exporting.graph import WaveformDetector
from steps.inference.onnx_model import onnx
from utils.files import aside, write_aside

_OPSET = 17
_ALL = 2**62  # as a length: more samples than there are


def write_onnx(path: Path, module: WaveformDetector, about: dict[str, Any]) -> None:
    """`module`, of (waveform, lengths), as an ONNX file. `lengths` may be left out there: all samples count then. Its
    outputs are the module's.

    about: goes into the file's metadata, strings as they are, all else as JSON.
    """
    example = torch.zeros(2, 4000), torch.full((2,), 4000)
    temporary = aside(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # By tracing, not by torch.export: nothing in the graph depends on data but indices, so that both see the
            # same, and it takes a fifteenth of the time. Parity is checked afterwards in any case.
            torch.onnx.export(
                module,
                example,
                str(temporary),
                dynamo=False,
                opset_version=_OPSET,
                input_names=["waveform", "lengths"],
                output_names=module.outputs,
                dynamic_axes={
                    "waveform": {0: "batch", 1: "samples"},
                    "lengths": {0: "batch or 1"},
                    **{output: {0: "batch"} for output in module.outputs},
                },
            )
        model = onnx.load(temporary)
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([_ALL], np.int64), "lengths"))
        mark(model, about)
        onnx.checker.check_model(model)
        save(path, model)
    finally:
        temporary.unlink(missing_ok=True)


def save(path: Path, model: Any) -> None:
    with write_aside(path, "wb") as handle:
        handle.write(model.SerializeToString())


def mark(model: Any, about: dict[str, Any]) -> None:
    """Put `about` in the place of the metadata that the file has."""
    onnx.helper.set_model_props(
        model, {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
    )
