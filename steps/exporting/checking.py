"""Whether an exported detector scores as the toolkit does, and what int8 costs and gains."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steps.exporting.graph import Scorer
from steps.frontend import FrontEndConf, read_utterance
from steps.frontend.processing.audio import Audio, read_wav_scp
from steps.inference.detector import FakeSpeechDetector
from steps.inference.frame_track import track_of
from steps.inference.onnx_model import DISTANCE, FRAMES, SCORE, OnnxModel, padded
from steps.inference.result import Result
from steps.metrics.bootstrap import CmFigures, Interval, TrialDraw, bootstrap, percentile_interval
from utils.cli import ProgressLog, UserError
from utils.files import read_map
from utils.tables import require_same_keys

TOLERANCE = 1e-4  # of a score, absolute
DISTANCE_TOLERANCE = 1e-2  # of a distance, as a share of it: seldom directions magnify what rounding does
_BATCH = 8
_DRAWS = 1000


def pick(utts: Sequence[str], count: int) -> list[str]:
    """So many of them, evenly spread over the list; all where there are no more."""
    if len(utts) <= count:
        return list(utts)
    return [utts[i] for i in np.linspace(0, len(utts) - 1, count).astype(int)]


def read_waveforms(data_dir: Path, count: int, conf: FrontEndConf) -> dict[str, np.ndarray]:
    """float32 (samples,) of utterances of a data dir. Raises UserError for audio that cannot be read."""
    wavs = read_wav_scp(data_dir / "wav.scp")
    return {utt: read_utterance(utt, wavs[utt], conf).astype(np.float32) for utt in pick(wavs.utts, count)}


def reference(detector: FakeSpeechDetector, waveforms: Mapping[str, np.ndarray]) -> list[Result]:
    """The toolkit's own results. detector: loaded with pool `first`."""
    return [detector.score(w, detector.sample_rate, utt)[0] for utt, w in waveforms.items()]


def check_distances(
    where: Path, look_at: Scorer, waveforms: Mapping[str, np.ndarray], wanted: Sequence[Result]
) -> None:
    """Raises UserError, naming the utterance, where the model's distance of one differs from the `wanted` one by more
    than DISTANCE_TOLERANCE."""
    for (utt, waveform), result in zip(waveforms.items(), wanted):
        assert result.distance is not None
        found, distance = float(look_at(*padded([waveform]))[DISTANCE][0]), result.distance
        if not abs(found - distance) <= DISTANCE_TOLERANCE * distance:
            raise UserError(
                f"{where}: not kept: its distance of {utt}, {found:.3f}, differs from the toolkit's, {distance:.3f}, by"
                f" more than {DISTANCE_TOLERANCE:.0%}"
            )


def check_frames(
    where: Path, look_at: Scorer, waveforms: Mapping[str, np.ndarray], wanted: Sequence[Result], window: float
) -> None:
    """Raises UserError, naming the utterance, where what the model's scores of frames make a track of differs from the
    `wanted` result's by more than TOLERANCE. window: seconds of the network's input."""
    for (utt, waveform), result in zip(waveforms.items(), wanted):
        assert result.track is not None
        frames = look_at(*padded([waveform]))[FRAMES][0].astype(np.float64)
        spans = [(one.begin, one.end) for one in result.windows]
        worst = float(np.abs(track_of(spans, [frames], window, result.seconds) - result.track).max())
        if not worst <= TOLERANCE:
            raise UserError(
                f"{where}: not kept: its scores of frames of {utt} differ from the toolkit's by {worst:.2g}, more than"
                f" {TOLERANCE:g}"
            )


@dataclass(frozen=True)
class Parity:
    """worst: the largest absolute difference of two scores, and of which utterance; lowest, highest: of the scores."""

    worst: float
    utterance: str
    utterances: int
    lowest: float
    highest: float


def check_parity(
    where: Path, look_at: Scorer, waveforms: Mapping[str, np.ndarray], results: Sequence[Result]
) -> Parity:
    """Compare the scores of each utterance alone, and in batches of unequal lengths, with those of `results`.

    Raises UserError, naming the utterance, where one differs by more than TOLERANCE.
    """
    utts, wanted = list(waveforms), np.array([one.score for one in results])
    alone = [look_at(*padded([waveforms[utt]]))[SCORE][0] for utt in utts]
    batches = [
        look_at(*padded([waveforms[utt] for utt in utts[i : i + _BATCH]]))[SCORE] for i in range(0, len(utts), _BATCH)
    ]
    differences = np.abs(np.stack([alone, np.concatenate(batches)]).astype(np.float64) - wanted)
    of_each = np.where(np.isfinite(differences), differences, np.inf).max(axis=0)
    at = int(of_each.argmax())
    found = Parity(float(of_each[at]), utts[at], len(utts), float(wanted.min()), float(wanted.max()))
    if found.worst > TOLERANCE:
        raise UserError(
            f"{where}: not kept: its score of {found.utterance} differs from the toolkit's, {wanted[at]:.6f}, by "
            f"{found.worst:.2g}, more than {TOLERANCE:g}"
        )
    return found


@dataclass(frozen=True)
class Int8Cost:
    """eer, eer_int8: percent; interval: 95 % of their difference (int8 less float), percent, over draws of trials;
    moved: mean absolute difference of scores; seconds: processor's median of one utterance, float and int8; ratio: how
    many times as fast int8 is, the median over utterances, each scored by both one after the other."""

    trials: int
    eer: float
    eer_int8: float
    interval: Interval
    moved: float
    seconds: tuple[float, float]
    ratio: float


def read_trials(data_dir: Path) -> tuple[dict[str, Audio], np.ndarray]:
    """The audio of a data dir's trials, and (trials,) which are bona fide. Raises UserError for a set that has not both
    classes, and for a trial without audio or audio without a label."""
    wavs, path = read_wav_scp(data_dir / "wav.scp"), data_dir / "utt2label"
    labels = read_map(path)
    bonafide = np.array([label == "bonafide" for label in labels.values()])
    if bonafide.all() or not bonafide.any():
        raise UserError(f"{path}: an EER needs bona fide and spoof trials")
    require_same_keys(wavs.place, wavs, path, labels, f"utils/fix_data_dir.sh {data_dir} leaves them out")
    return {utt: wavs[utt] for utt in labels}, bonafide


def measure_int8(
    exact: OnnxModel, int8: OnnxModel, wavs: Mapping[str, Audio], bonafide: np.ndarray, conf: FrontEndConf
) -> Int8Cost:
    """Both models on all trials, as read_trials has them, one utterance at a time."""
    scores = np.empty((2, len(wavs)))
    seconds = np.empty((2, len(wavs)))
    progress = ProgressLog(len(wavs), "utt")
    for i, (utt, wav) in enumerate(wavs.items()):
        waveform = read_utterance(utt, wav, conf).astype(np.float32)[None]
        for which, model in enumerate((exact, int8)):
            begin = time.process_time()
            scores[which, i] = model.scores(waveform)[0]
            seconds[which, i] = time.process_time() - begin
        progress.update()
    progress.close()
    figures = [CmFigures(bonafide, row) for row in scores]
    once = np.ones(len(wavs), np.int32)
    eers = [100 * of(once)[0] for of in figures]
    draws = bootstrap(lambda counts: figures[1](counts)[0] - figures[0](counts)[0], TrialDraw(bonafide), _DRAWS)
    low, high = percentile_interval(draws)
    middle = np.median(seconds, axis=1)
    return Int8Cost(
        len(wavs),
        eers[0],
        eers[1],
        (100 * low, 100 * high),
        float(np.abs(scores[1] - scores[0]).mean()),
        (float(middle[0]), float(middle[1])),
        float(np.median(seconds[0] / seconds[1])),
    )
