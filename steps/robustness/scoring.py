"""Scores of every manipulation by every detector, kept in files from which an interrupted run goes on.

OUT/scores/DETECTOR/MANIPULATION.txt         lines `UTT ATTACK KEY SCORE`, as steps/score.py writes them
                                .not_judged  lines `UTT REASON`: the detector gives no verdict, or not even a score
                                .json        what they were made of; written last, so that the others are complete
"""

from __future__ import annotations

import contextlib
import functools
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steps.augment import Chain, make_chain, utterance_rng
from steps.augment.processing.signals import rounded_to_bits
from steps.evaluation.protocols import BONAFIDE, NO_ATTACK, SPOOF, read_protocol
from steps.frontend import read_utterance
from steps.frontend.processing.audio import Audio, read_wav_scp
from steps.inference.detector import FakeSpeechDetector
from steps.inference.domain import DOMAIN, OUTSIDE
from steps.robustness.grid import UNTOUCHED, GridConf, Manipulation, stem_of
from utils import audio
from utils.cli import ProgressLog, UserError
from utils.conf import to_dict
from utils.files import only_here, read_json, read_map, sha256_of, write_json, write_lines
from utils.segments import beside
from utils.tables import require_keys

_BLOCK = 16  # utterances that go through a network together: always the same ones, whatever the number of processes
_STORED_BITS = 16
Said = tuple[float | None, str | None]  # an utterance's score, and why there is no verdict


@dataclass(frozen=True)
class Trials:
    """utts, audio, attack, bonafide: of each trial; made_of: what identifies the data."""

    utts: list[str]
    audio: list[Audio]
    attack: list[str]
    bonafide: np.ndarray
    made_of: dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A detector under test. label: NAME/seedN, or an ONNX file's path; experiment: NAME, the same of several seeds."""

    label: str
    experiment: str
    path: Path
    detector: FakeSpeechDetector
    made_of: dict[str, Any]


def pick_trials(data_dir: Path, which: str, count: int | None, allow_pipes: bool) -> Trials:
    """which: both, or one of the keys; count: at most so many of each class, evenly spread over the list. Raises
    UserError for a data dir whose tables lack an utterance or do not go together, and for a class without trials."""
    wavs = read_wav_scp(data_dir / "wav.scp", allow_pipes)
    attack = read_protocol(data_dir).attack
    require_keys(wavs.place, wavs, data_dir, attack, f"correct {data_dir}", "trials")
    names = list(attack.values())
    rows: list[int] = []
    for kind in (BONAFIDE, SPOOF) if which == "both" else (which,):
        found = [row for row, name in enumerate(names) if (name == NO_ATTACK) == (kind == BONAFIDE)]
        if not found:
            raise UserError(f"{data_dir / 'utt2label'}: no trial is {kind}")
        taken = len(found) if count is None else min(count, len(found))
        rows += [found[i] for i in np.linspace(0, len(found) - 1, taken).astype(int)]
    utts = list(attack)
    tables = [path for name in ("wav.scp", "utt2label", "utt2attack") if (path := data_dir / name).exists()]
    made_of = {
        "sha256": {path.name: sha256_of(path) for path in (*tables, *beside(data_dir / "wav.scp"))},
        "which": which,
        "count": count,
    }
    rows.sort()
    taken_utts, taken_names = [utts[row] for row in rows], [names[row] for row in rows]
    bonafide = np.array([name == NO_ATTACK for name in taken_names])
    return Trials(taken_utts, [wavs[utt] for utt in taken_utts], taken_names, bonafide, made_of)


def load_models(paths: Sequence[Path]) -> list[Model]:
    """Raises UserError for what FakeSpeechDetector.load refuses, a training without a calibration, two of one name, and
    detectors of several sample rates."""
    models: list[Model] = []
    for path in paths:
        final = path / "final.pt" if path.is_dir() else path
        training = final.resolve().parent
        onnx = final.suffix == ".onnx"
        experiment = str(final) if onnx else training.parent.name
        label = experiment if onnx else f"{experiment}/{training.name}"
        detector = _load(path)
        if stem_of(label) in {stem_of(other.label) for other in models}:
            raise UserError(f"{path}: another detector of this run is named {label}, too; give each once")
        if models and detector.sample_rate != models[0].detector.sample_rate:
            raise UserError(
                f"{path}: of {detector.sample_rate} Hz, where {models[0].path} is of {models[0].detector.sample_rate};"
                " manipulations are made at one rate: test them one after the other"
            )
        made_of = {"file": final.name, "sha256": sha256_of(final), "calibration": None}
        if not onnx:
            made_of["calibration"] = sha256_of(training / "calibration.json")
        if detector.limit is not None and not onnx:
            made_of["domain"] = sha256_of(training / DOMAIN)
        models.append(Model(label, experiment, path, detector, made_of))
    return models


def _load(path: Path) -> FakeSpeechDetector:
    return FakeSpeechDetector.load(path, threshold="eer", pool="first", batch_size=_BLOCK)


Task = tuple[int, Sequence[int], int]  # numbers of a manipulation, of detectors, and of a block of utterances


class _Scorer:
    """What a process needs to score: the detectors, the utterances, and each manipulation's chain once it is needed."""

    def __init__(
        self,
        detectors: Sequence[FakeSpeechDetector],
        grid: GridConf,
        utterances: Sequence[tuple[str, Audio]],
        seed: int,
    ):
        self._detectors, self._utterances, self._seed = detectors, utterances, seed
        self._manipulations: tuple[Manipulation, ...] = (UNTOUCHED, *grid.manipulations)
        self._chains: dict[int, Chain] = {}
        self._kept: list[dict] = []  # of detectors that share features, those of the utterances of a task
        for i, detector in enumerate(detectors):
            same = next((k for k in range(i) if detector.shares_features_with(detectors[k])), None)
            self._kept.append({} if same is None else self._kept[same])
            detector.keep_features(self._kept[i])

    def chain(self, number: int) -> Chain:
        if number not in self._chains:
            manipulation = self._manipulations[number]
            try:
                self._chains[number] = make_chain(manipulation.chain, self._detectors[0].sample_rate)
            except UserError as error:
                raise UserError(f"{manipulation.name}: {error}") from None
        return self._chains[number]

    def __call__(self, task: Task) -> list[list[Said]]:
        """For each of the task's detectors what it said of each utterance."""
        number, wanted, block = task
        conf, rate = self._detectors[0].frontend_conf, self._detectors[0].sample_rate
        heard = []
        for utt, path in self._utterances[block * _BLOCK : (block + 1) * _BLOCK]:
            rng = utterance_rng(self._seed, 0, utt, "stress")
            waveform = self.chain(number).waveform(read_utterance(utt, path, conf), rng)
            heard.append((utt, rounded_to_bits(waveform, _STORED_BITS)))
        found = []
        for detector in (self._detectors[i] for i in wanted):
            opened = ((utt, contextlib.nullcontext(audio.of_waveform(utt, x, rate))) for utt, x in heard)
            found.append([_said(utt, outcome) for utt, outcome in detector.score_files(opened)])
        for kept in self._kept:
            kept.clear()
        return found


def _said(utt: str, outcome: Any) -> Said:
    if isinstance(outcome, UserError):
        return None, str(outcome).removeprefix(f"{utt}: ")
    return outcome[0].score, outcome[0].not_judged


_scorer: _Scorer | None = None  # of a worker process


def _start(paths: Sequence[Path], grid: GridConf, utterances: Sequence[tuple[str, Audio]], seed: int) -> None:
    global _scorer
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _scorer = _Scorer([_load(path) for path in paths], grid, utterances, seed)


def _end_with_parent() -> None:
    """A parent that is killed leaves no workers behind."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _work(task: Task) -> list[list[Said]]:
    assert _scorer is not None
    return _scorer(task)


@contextlib.contextmanager
def _crew(scorer: _Scorer, setup: tuple, jobs: int) -> Iterator[Callable[[Sequence[Task]], Iterator[list[list[Said]]]]]:
    """A function that gives what tasks give, in their order; with several jobs by processes that `setup` starts."""
    if jobs == 1:
        yield functools.partial(map, scorer)
        return
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _start, setup)
    try:
        yield functools.partial(pool.map, _work)
    except BrokenProcessPool:
        raise UserError(
            "a process that scored ended before its time; was it short of memory? Start again to continue, with fewer"
            " --nj"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _files(out: Path, model: Model, manipulation: Manipulation) -> tuple[Path, Path, Path]:
    """Scores, utterances without a verdict, what both were made of."""
    folder = out / "scores" / stem_of(model.label)
    return tuple(folder / f"{manipulation.stem}.{ending}" for ending in ("txt", "not_judged", "json"))  # type: ignore[return-value]


def score_all(models: Sequence[Model], grid: GridConf, trials: Trials, out: Path, seed: int, jobs: int) -> None:
    """Write the files of each model and manipulation, untouched utterances among them, that are not there already.

    Each utterance is read and manipulated once for all models. Raises UserError for an utterance that cannot be read
    and for a manipulation that cannot be done.
    """
    utterances = list(zip(trials.utts, trials.audio))
    scorer = _Scorer([model.detector for model in models], grid, utterances, seed)
    rows = (UNTOUCHED, *grid.manipulations)
    with only_here(out):
        missing: list[dict[int, dict]] = []  # of each row, the detectors without scores, and what those are made of
        for number, manipulation in enumerate(rows):
            about = _made_of(manipulation, scorer.chain(number), trials, seed)
            wanted = {i: {**about, "detector": model.made_of} for i, model in enumerate(models)}
            missing.append({i: m for i, m in wanted.items() if not _is_made(_files(out, models[i], manipulation), m)})
        to_do = [number for number in range(len(rows)) if missing[number]]
        if len(to_do) < len(rows):
            print(f"stress.py: {len(rows) - len(to_do)} of {len(rows)} rows are scored already")
        if not to_do:
            return
        progress = ProgressLog(len(to_do) * len(utterances), "utt")
        setup = ([model.path for model in models], grid, utterances, seed)
        with _crew(scorer, setup, jobs) as results_of:
            for number in to_do:
                said: list[list[Said]] = [[] for _ in missing[number]]
                blocks = range(math.ceil(len(utterances) / _BLOCK))
                for found in results_of([(number, list(missing[number]), block) for block in blocks]):
                    for so_far, more in zip(said, found):
                        so_far += more
                    progress.update(len(found[0]), rows[number].name)
                for (i, made), of_model in zip(missing[number].items(), said):
                    _write(_files(out, models[i], rows[number]), trials, of_model, made)
        progress.close()


def _made_of(manipulation: Manipulation, chain: Chain, trials: Trials, seed: int) -> dict[str, Any]:
    steps = to_dict(manipulation.chain)["steps"]
    return {"steps": steps, "recordings": chain.tables_of_recordings, "seed": seed, "data": trials.made_of}


def _is_made(files: tuple[Path, Path, Path], made_of: Mapping[str, Any]) -> bool:
    return all(path.exists() for path in files) and read_json(files[2]) == made_of


def _write(files: tuple[Path, Path, Path], trials: Trials, said: Sequence[Said], made_of: Mapping[str, Any]) -> None:
    scores, not_judged, about = files
    about.unlink(missing_ok=True)
    keys = [BONAFIDE if one else SPOOF for one in trials.bonafide]
    rows = list(zip(trials.utts, trials.attack, keys, said))
    write_lines(scores, (f"{utt} {attack} {key} {s!r}" for utt, attack, key, (s, _) in rows if s is not None))
    write_lines(not_judged, (f"{utt} {reason}" for utt, _, _, (_, reason) in rows if reason is not None))
    write_json(about, made_of)


def read_scores(
    out: Path, model: Model, manipulation: Manipulation, trials: Trials
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """float64, bool and bool (trials,): scores, NaN where there is none, whether there is a verdict, and whether the
    trial is outside what the detector was trained on. Raises UserError for files that are not as score_all wrote
    them."""
    path, not_judged, _ = _files(out, model, manipulation)
    found = {utt: line.split()[-1] for utt, line in read_map(path).items()}
    refused = read_map(not_judged)
    if found.keys() | refused.keys() != set(trials.utts):
        raise UserError(f"{path}: not the scores of these trials; remove it and start again")
    try:
        scores = np.array([float(found.get(utt, "nan")) for utt in trials.utts])
    except ValueError as error:
        raise UserError(f"{path}: {error}; remove it and start again") from None
    reasons = [refused.get(utt) for utt in trials.utts]
    outside = [reason is not None and OUTSIDE in reason for reason in reasons]
    return scores, np.array([reason is None for reason in reasons]), np.array(outside)
