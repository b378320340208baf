"""ONNX files: written of a module, marked with what they are, and run by ONNX Runtime."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from utils.cli import UserError
from utils.files import aside, write_aside

try:
    import onnx
    import onnxruntime
except ImportError:  # an extra
    onnx = onnxruntime = None

_OPSET = 17
_ALL = 2**62  # as a length: more samples than there are


def require_onnx() -> None:
    """Raises UserError, which says how to get them, where onnx or ONNX Runtime lacks."""
    if onnx is None or onnxruntime is None:
        raise UserError(
            "ONNX files need onnx and onnxruntime, which are not installed here; in the toolkit's folder give\n"
            "  python3 -m pip install -c constraints.txt -r requirements-export.txt"
        )


def write_onnx(path: Path, module: nn.Module, about: dict[str, Any]) -> None:
    """`module`, of (waveform, lengths), as an ONNX file. `lengths` may be left out there: all samples count then.

    about: goes into the file's metadata, strings as they are, all else as JSON.
    """
    example = torch.zeros(2, 4000), torch.full((2,), 4000)
    temporary = aside(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # By tracing, not by torch.export: nothing in the graph depends on data but indices, so that both see the same,
            # and it takes a fifteenth of the time. Parity is checked afterwards in any case.
            torch.onnx.export(
                module,
                example,
                str(temporary),
                dynamo=False,
                opset_version=_OPSET,
                input_names=["waveform", "lengths"],
                output_names=["score"],
                dynamic_axes={
                    "waveform": {0: "batch", 1: "samples"},
                    "lengths": {0: "batch or 1"},
                    "score": {0: "batch"},
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


class OnnxModel:
    """An ONNX file ready to run, on the CPU. Raises UserError for one that ONNX Runtime cannot read.

    Attributes: path, metadata (strings).
    """

    def __init__(self, path: Path, num_threads: int = 1):
        require_onnx()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 3  # it warns of `lengths`, which can be left out
        self.path = path
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no common class of their own
            raise UserError(f"{path}: cannot be read as an ONNX model: {str(error).splitlines()[0]}") from None
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def scores(self, waveform: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """float32 (batch, samples), int64 (batch,) or None for all -> float32 (batch,)."""
        given = {"waveform": waveform} if lengths is None else {"waveform": waveform, "lengths": lengths}
        return self._session.run(None, given)[0]
