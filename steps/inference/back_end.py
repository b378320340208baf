"""Back ends of a detector: a training's network by PyTorch, or a file of steps/export.py by ONNX Runtime."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from steps.data.batches import network_input
from steps.experiment.exits import Wanted, load_trained
from steps.frontend import FrontEndBase, FrontEndConf, conf_from_dict
from steps.frontend.processing.band import BandLimits
from steps.inference.calibration import Calibration, calibration_of
from steps.inference.domain import Domain, Limit, domain_of
from steps.inference.frame_track import frame_threshold_of
from steps.inference.onnx_model import DISTANCE, FRAMES, SCORE, OnnxModel, padded
from steps.nnet import Detector, grad_cam
from steps.nnet.base import score_of
from steps.training.early_exit import AdaptiveExit
from utils.cli import UserError


class Found(NamedTuple):
    """Of a batch of windows, float64: scores (batch,), higher = bona fide; distances (batch,) from what the detector
    was trained on, NaN where no limit is known; frames (batch, frames), the scores of parts that divide a window
    evenly, None of detectors that do not score frames; embeddings float32 (batch, size), None unless asked for."""

    scores: np.ndarray
    distances: np.ndarray
    frames: np.ndarray | None = None
    embeddings: np.ndarray | None = None


class BackEnd(ABC):
    """Attributes: model (what it was loaded from, in words), frontend_conf, corpus (that it was trained on, as
    corpus.json has it), band (which a recording has to have for a verdict; None: older trainings know none),
    calibration (None without one), missing (why there is no calibration, with the fix), exit (where the network stops
    early, as Exit.as_json; None: it is complete), limit (of distances from what it was trained on; None: none is
    known), no_limit (why not, with the fix), frame_threshold (at or below it a frame is spoofed; None: frames are not
    scored, or no_frames says why they are not judged, with the fix)."""

    def __init__(self, model: str, frontend_conf: FrontEndConf, corpus: dict[str, Any] | None, band: BandLimits | None):
        self.model, self.frontend_conf, self.corpus, self.band = model, frontend_conf, corpus or {}, band
        self.calibration: Calibration | None = None
        self.missing = ""
        self.frame_threshold: float | None = None
        self.no_frames = ""
        self.exit: dict[str, Any] | None = None
        self.limit: Limit | None = None
        self.no_limit = ""

    @abstractmethod
    def input_of(self, waveform: np.ndarray, standard: np.ndarray, frontend: FrontEndBase, where: str) -> np.ndarray:
        """What `look_at` takes of a window. waveform: (samples,); standard: the same, standardised by the
        front end.

        Raises UserError, which begins with `where`, for a window without a frame and for features that are not finite.
        """

    @abstractmethod
    def look_at(self, inputs: Sequence[np.ndarray], embeddings: bool = False) -> Found:
        """What the network finds in windows, as `input_of` makes them. Raises UserError if it has no embeddings that
        are asked for."""

    @abstractmethod
    def evidence(
        self, standard: np.ndarray, frontend: FrontEndBase, where: str
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, int], int]:
        """Of a standardised window: the network's input (channels, frames, bins); what each place of its first channel
        adds to the score (frames, bins); the size of the last stage's map, from which this is drawn up; frames of the
        window itself."""


class TorchBackEnd(BackEnd):
    """The network of a training. network: on `device`, in evaluation mode."""

    def __init__(
        self,
        network: Detector,
        frontend_conf: FrontEndConf,
        corpus: dict[str, Any] | None = None,
        band: BandLimits | None = None,
        device: torch.device | None = None,
        model: str = "",
        domain: Domain | None = None,
    ):
        super().__init__(model, frontend_conf, corpus, band)
        self._network, self._device = network, device or torch.device("cpu")
        self._domain = None if domain is None else domain.to(self._device)
        self.limit = domain and domain.limit

    def input_of(self, waveform: np.ndarray, standard: np.ndarray, frontend: FrontEndBase, where: str) -> np.ndarray:
        """float32 (channels, frames, bins)."""
        return _features_and_length(standard, frontend, where)[0]

    def look_at(self, inputs: Sequence[np.ndarray], embeddings: bool = False) -> Found:
        if embeddings and isinstance(self._network, AdaptiveExit):
            raise UserError(f"{self.model}: an adaptive exit gives no embeddings; take the complete network")
        x = torch.from_numpy(np.stack(inputs)).to(self._device).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            head = self._network.frame_head
            if self._domain is None and head is None and not embeddings:
                return Found(_numbers(score_of(self._network(x))), np.full(len(x), np.nan))
            maps = self._network.stage_maps(x)
            embedding = self._network.embedding_of(maps[-1])
            return Found(
                _numbers(score_of(self._network.head(embedding))),
                np.full(len(x), np.nan) if self._domain is None else _numbers(self._domain(embedding)),
                None if head is None else _numbers(head(maps)),
                embedding.float().cpu().numpy() if embeddings else None,
            )

    def evidence(
        self, standard: np.ndarray, frontend: FrontEndBase, where: str
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, int], int]:
        x, own = _features_and_length(standard, frontend, where)
        x = np.ascontiguousarray(x)
        one, network = torch.from_numpy(x)[None].to(self._device), self._network
        if isinstance(network, AdaptiveExit):
            with torch.inference_mode():
                network = network.exits[int(network.routes(one)[1][0])]
        _, (places,) = grad_cam.evidence(network, one, [len(network.backbone.stage_channels)])
        return x, grad_cam.drawn_up(places, *x.shape[1:]), tuple(places.shape), own


class OnnxBackEnd(BackEnd):
    """An ONNX file of steps/export.py, which has the front end inside and carries its calibration. Raises UserError for
    another file."""

    def __init__(self, path: Path, num_threads: int = 1):
        self._onnx = OnnxModel(path, num_threads)
        about = self._kept("about")
        band = about.get("band")
        super().__init__(
            f"{path}, of {about['model']}",
            conf_from_dict(self._kept("frontend"), str(path)),
            self._kept("corpus"),
            band and BandLimits(tuple(band["centres"]), tuple(band["lowest"])),
        )
        self.exit = about.get("exit")  # missing in files of older versions
        limit = about.get("domain") if DISTANCE in self._onnx.outputs else None
        self.limit = limit and Limit(**limit)
        if limit is None:
            self.no_limit = f"{path} carries none"
        if FRAMES in self._onnx.outputs:
            self.frame_threshold, self.no_frames = about["frame_threshold"], about["no_frames"] or ""
        elif about.get("frame_threshold") is not None:
            self.no_frames = f"{path} gives no scores of frames"
        made = about["calibration"]
        if made is None:
            self.missing = f"{path} carries no calibration, as there was none when it was exported"
        else:
            said = Path(f"{path}, of {made['path']}")
            self.calibration = Calibration(
                said, made["weight"], made["offset"], made["trained_on"], made["trained_on_eval"]
            )

    def _kept(self, key: str) -> Any:
        try:
            return json.loads(self._onnx.metadata[key])
        except (KeyError, ValueError):
            raise UserError(
                f"{self._onnx.path}: not an ONNX file of steps/export.py: its metadata have no {key}"
            ) from None

    def input_of(self, waveform: np.ndarray, standard: np.ndarray, frontend: FrontEndBase, where: str) -> np.ndarray:
        return waveform.astype(np.float32)

    def look_at(self, inputs: Sequence[np.ndarray], embeddings: bool = False) -> Found:
        if embeddings:
            raise UserError(f"{self.model}: an ONNX file gives no embeddings; give the training's folder")
        found = self._onnx.look_at(*padded(inputs))
        return Found(
            found[SCORE].astype(np.float64),
            found[DISTANCE].astype(np.float64) if DISTANCE in found else np.full(len(inputs), np.nan),
            found[FRAMES].astype(np.float64) if FRAMES in found else None,
        )

    def evidence(
        self, standard: np.ndarray, frontend: FrontEndBase, where: str
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, int], int]:
        """Raises UserError: it takes gradients."""
        raise UserError(f"{self.model}: an ONNX file cannot show where the network looked; load the training")


def load_back_end(path: Path, device: torch.device, num_threads: int, wanted: Wanted = None) -> BackEnd:
    """That of a training's folder, its final.pt, or an ONNX file of steps/export.py.

    num_threads: of ONNX Runtime. wanted: the exit. Raises UserError for anything else, as exits.load_trained does, and
    for an ONNX file that is to run on a GPU or to stop at an exit.
    """
    if path.suffix == ".onnx":
        if wanted is not None:
            raise UserError(
                f"--exit: {path} stops where export.py was asked to; leave --exit out, or export the training again"
            )
        if device.type != "cpu":
            raise UserError(f"{path}: an ONNX file runs on the CPU only here; leave --ngpu out")
        return OnnxBackEnd(path, num_threads)
    if path.is_dir() and not (path / "final.pt").is_file():
        seeds = sorted(found.parent.name for found in path.glob("seed*/final.pt"))
        hint = f"; give one of its seeds: {', '.join(seeds)}" if seeds else "; train it first"
        raise UserError(f"{path}: no final.pt in it{hint}")
    if path.is_file() and path.suffix != ".pt":  # a recording, say, which no message may tell to remove
        raise UserError(f"{path}: not a training: give its folder, its final.pt, or an .onnx of export.py")
    final = path / "final.pt" if path.is_dir() else path
    trained, made_exit = load_trained(final, wanted, device)
    domain, no_domain = domain_of(final.parent) if made_exit is None else (None, "an early exit has none")
    made = TorchBackEnd(
        trained.detector, trained.frontend_conf, trained.corpus, trained.band, device, str(path), domain
    )
    made.no_limit = no_domain
    if made_exit is None:
        made.calibration, made.missing = calibration_of(final.parent)
        if trained.detector.frame_head is not None:
            made.frame_threshold, made.no_frames = frame_threshold_of(final.parent)
        return made
    made.exit = made_exit.as_json()
    if isinstance(made_exit.stage, int):
        made.calibration, made.missing = calibration_of(final.parent, made_exit.stage)
        if trained.detector.frame_head is not None:
            made.frame_threshold, made.no_frames = frame_threshold_of(final.parent, made_exit.stage)
    elif (rule := made_exit.rule) is not None:  # its scores are LLRs
        made.calibration = Calibration(final.parent, 1.0, 0.0, rule.trained_on, rule.trained_on_eval)
        if isinstance(trained.detector, AdaptiveExit) and trained.detector.exits_score_frames:
            made.no_frames = "an adaptive exit has no scores of frames; give a stage's number"
    return made


def _numbers(values: torch.Tensor) -> np.ndarray:
    return values.double().cpu().numpy()


def _features_and_length(standard: np.ndarray, frontend: FrontEndBase, where: str) -> tuple[np.ndarray, int]:
    """A standardised waveform -> float32 (channels, frames, bins), the network's input, and how many frames the
    waveform itself makes. Raises UserError."""
    features = frontend.compute_standardised(standard)
    if len(features) == 0:
        raise UserError(f"{where}: too short: {len(standard)} samples make no frame")
    if not np.isfinite(features).all():
        raise UserError(f"{where}: its features are not finite")
    fixed = network_input(features, frontend, where)
    return np.moveaxis(fixed.reshape(len(fixed), frontend.channels, -1), 1, 0), len(features)
