"""int8: the network's convolutions in 8 bits, by ONNX Runtime's static quantisation."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from steps.exporting.onnx_file import save
from steps.inference.onnx_model import onnx, onnxruntime
from utils.cli import UserError


def write_int8(path: Path, exact: Path, waveforms: Mapping[str, np.ndarray]) -> None:
    """The model at `exact` with its network's convolutions in 8 bits; ranges of what flows between them are learnt on
    the waveforms. Front end, first convolution (which reads the features: -80 for digital silence), attention and head
    stay as they are. No distances and no scores of frames: they were fitted on the exact network. Raises UserError
    for a network without such convolutions."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._each = _inputs(waveforms)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._each, None)

    model = onnx.load(exact)
    kept = [(prop.key, prop.value) for prop in model.metadata_props]
    sizes = {weights.name: len(weights.dims) for weights in model.graph.initializer}
    chosen = [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and "/stem/stem.0/" not in node.name and sizes.get(node.input[1]) == 4
    ]
    if not chosen:  # ONNX Runtime would take that for all nodes
        raise UserError(
            "--int8: it quantises convolutions over time and frequency, and this network has none; leave it out"
        )
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        onnxruntime.set_default_logger_severity(3)  # as in OnnxModel
        try:
            made = Path(folder) / "int8.onnx"
            quantize_static(
                str(exact),
                str(made),
                Reader(),
                quant_format=QuantFormat.QDQ,
                nodes_to_quantize=chosen,
                per_channel=True,
                reduce_range=True,  # 7 bits for weights: with 8, processors without VNNI overflow and round otherwise
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.disable(logging.NOTSET)
            onnxruntime.set_default_logger_severity(2)
        quantised = onnx.load(made)
    del quantised.graph.output[1:]
    onnx.helper.set_model_props(quantised, dict(kept))
    save(path, quantised)


def _inputs(waveforms: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    for waveform in waveforms.values():
        yield {"waveform": waveform[None], "lengths": np.array([len(waveform)], np.int64)}
