"""Runs ONNX files by ONNX Runtime, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.cli import UserError

try:
    import onnx
    import onnxruntime
except ImportError:  # an extra
    onnx = onnxruntime = None

# Outputs
SCORE = "score"
DISTANCE = "distance"  # how far the recording lies from what the detector was trained on
FRAMES = "frames"  # scores of parts that divide the network's input evenly


def require_onnx() -> None:
    """Raises UserError, which says how to get them, where onnx or ONNX Runtime lacks."""
    if onnx is None or onnxruntime is None:
        raise UserError(
            "ONNX files need onnx and onnxruntime, which are not installed here; in the toolkit's folder give\n"
            "  python3 -m pip install -c constraints.txt -r requirements-export.txt"
        )


class OnnxModel:
    """An ONNX file ready to run, on the CPU. Raises UserError for one that ONNX Runtime cannot read.

    Attributes: path, metadata (strings), outputs (names: `score`, and where it has them `distance` and `frames`).
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
        self.outputs = [output.name for output in self._session.get_outputs()]

    def scores(self, waveform: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """float32 (batch, samples), int64 (batch,) or None for all -> float32 (batch,)."""
        return self.look_at(waveform, lengths)[SCORE]

    def look_at(self, waveform: np.ndarray, lengths: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Takes what `scores` takes. All outputs by name, float32: score and distance (batch,), frames (batch,
        frames)."""
        given = {"waveform": waveform} if lengths is None else {"waveform": waveform, "lengths": lengths}
        return dict(zip(self.outputs, self._session.run(None, given)))


def padded(waveforms: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(samples,) each -> float32 (batch, most samples), zeros after the end, and int64 (batch,), samples of each."""
    lengths = np.array([len(waveform) for waveform in waveforms], np.int64)
    batch = np.zeros((len(waveforms), lengths.max()), np.float32)
    for row, waveform in zip(batch, waveforms):
        row[: len(waveform)] = waveform
    return batch, lengths
