"""A trained detector applied to recordings: the class that steps/detect.py is made of, for programs of one's own.

    from steps.inference.detector import FakeSpeechDetector

    detector = FakeSpeechDetector.load("exp/train_f0_subband_senet34_self_distill/seed1")
    for result in detector.score_file("talk.m4a"):
        print(result.score, result.llr, result.verdict, [(w.begin, w.end, w.llr) for w in result.lowest()])
    detector.score(samples, rate=44100)            # numpy, (samples,) or (samples, channels)

How a recording's score is made. It is resampled, its channels are mixed or taken one by one, and it is cut into windows
as long as the network's input (windows.cut). Each window is treated as an utterance of a corpus is, by the front end
and by the network; one shorter than a window is continued as in training. `pool` then makes one score of the windows':

  every   their mean; as the LLR is a line of the score, its LLR is the mean of the windows' LLRs. The default. The
          verdict is bonafide only if every window is above the threshold; otherwise it is `partial`: a faked stretch
          in a long recording hardly moves the mean. Some windows of a long genuine recording may be below, too.
  mean    the same score, which alone decides.
  min     the lowest. The minimum of many is lower than one: the calibration, learnt on single utterances, does not
          hold for it, and long genuine recordings are rejected more often.
  first   what steps/score.py gives an utterance: features of the whole, of which the network sees the first frames. No
          other window is scored.

An utterance no longer than a window gets the same score by all four. A longer one differs, because score.py looks at
its begin only.

Silent windows are not scored and do not count: nothing above -80 dBFS, or SILENCE_DB or more below the loudest window.
Nor does a window count whose LLR lies far beyond all of dev's (calibration.Decision.limits), but one far below is below
the threshold. If no other is left, there is a score and no verdict. Nor is there a verdict on a recording that lacks
the band which the detector looks at (band.BandLimits), and none on one unlike all that the detector was trained on: the
mean distance of its windows is above the limit of domain.Limit. `judge_outside` gives a verdict there, and a note.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from steps.evaluation.costs import Costs
from steps.evaluation.labels import corpus_label
from steps.evaluation.overlap import family_of
from steps.experiment.exits import Wanted
from steps.frontend import FrontEndBase, make_frontend
from steps.frontend.processing.standardise import SILENCE_DB, active_level
from steps.inference import windows
from steps.inference.back_end import BackEnd, TorchBackEnd, load_back_end
from steps.inference.calibration import BONAFIDE, PARTIAL, Decision, check_exit, decision, read_calibration
from steps.inference.frame_track import track_of
from steps.inference.overview import Overview
from steps.inference.result import Below, Evidence, Heard, Result, Window, scored_stretches
from utils import audio
from utils.audio import Command
from utils.cli import UserError
from utils.segments import Stretch

LEAST_RATE, MOST_RATE = 1000, 768_000  # Hz; a damaged header may tell of 1 Hz, which would make days of a small file
SILENCE = 1e-4  # -80 dBFS: three steps of 16 bits
CANCELLED = 0.1  # of the power that channels which have nothing to do with each other leave in their mean
MIX, EACH = "mix", "each"
POOLS = ("every", "mean", "min", "first")
Channels = Literal["mix", "each"] | int
Pool = Literal["every", "mean", "min", "first"]
Opening = contextlib.AbstractContextManager[audio.Recording]


class _Heard(NamedTuple):
    """What is measured of a window's waveform. level: dB relative to full scale; bands: decibels in the front end's
    bands."""

    level: float
    bands: np.ndarray


class _Looked(NamedTuple):
    """A window as the network takes it, and what was measured of it."""

    features: np.ndarray
    heard: _Heard


@dataclass
class _Take:
    """A recording while it is scored. spans: first and last sample + 1 of its windows; scores, distances: of each
    channel's windows, in their order, None for silence; heard: of each channel's windows that are not silent, by their
    number; frames: their frames' scores, of detectors that have them; embeddings: where they are asked for; error: why
    it cannot be scored."""

    name: str
    recording: audio.Recording | None = None
    picked: Sequence[str | None] = ()
    spans: list[tuple[int, int]] = field(default_factory=list)
    scores: list[list[float | None]] = field(default_factory=list)
    distances: list[list[float | None]] = field(default_factory=list)
    heard: list[dict[int, _Heard]] = field(default_factory=list)
    frames: list[dict[int, np.ndarray]] = field(default_factory=list)
    embeddings: list[dict[int, np.ndarray]] = field(default_factory=list)
    samples: int = 0
    overviews: list[Overview] = field(default_factory=list)
    error: UserError | None = None


@dataclass
class _Piece:
    """A window of one channel, on its way through front end and network."""

    take: _Take
    channel: int
    index: int
    looked: Future[_Looked]


class FakeSpeechDetector:
    """A trained detector, ready to score recordings. Made by `load`.

    Its methods may be called from several threads at once: nothing changes between calls but a store of front ends, of
    which each thread borrows one for itself.

    Attributes: sample_rate (Hz, what audio is resampled to), window_seconds, hop_seconds, decision, corpus (what it was
    trained on, as corpus.json has it), band (which a recording has to have for a verdict; None: older trainings know
    none), limit (of distances, as domain.Limit; None: none is known), exit (where the network stops early, as
    Exit.as_json of steps/experiment/exits.py; None: it is complete).
    """

    def __init__(
        self,
        back_end: BackEnd,
        decision: Decision,
        hop: float | None = None,
        pool: Pool = "every",
        channels: Channels | None = None,
        batch_size: int = 16,
        num_threads: int = 1,
        judge_outside: bool = False,
    ):
        """See load."""
        if pool not in POOLS:
            raise UserError(f"pool: {pool!r} is none of {', '.join(POOLS)}")
        frontend_conf = back_end.frontend_conf
        if channels is None:
            channels = MIX if frontend_conf.channel is None else frontend_conf.channel
        if batch_size < 1 or num_threads < 1:
            raise UserError(f"batch_size {batch_size}, num_threads {num_threads}: both are at least 1")
        self._back_end, self.frontend_conf = back_end, frontend_conf
        self._pool, self._channels = pool, _checked(channels)
        self._batch_size, self._num_threads = batch_size, num_threads
        self.decision, self.corpus, self.band, self.model = decision, back_end.corpus, back_end.band, back_end.model
        self.exit, self.limit, self.judge_outside = back_end.exit, back_end.limit, judge_outside
        self.sample_rate = frontend_conf.sample_rate
        self._frontends: list[FrontEndBase] = []
        self._kept: dict[str, _Looked] | None = None
        with self._frontend() as frontend:
            self._window = windows.window_samples(frontend)
        samples = self._window // 2 if hop is None else hop * self.sample_rate
        if not 0.5 < samples <= self._window + 0.5:  # nan neither
            raise UserError(f"hop: {hop} s is not above 0 and at most a window, {self.window_seconds:g} s")
        self._hop = round(samples)

    @classmethod
    def load(
        cls,
        model: str | Path,
        calibration: str | Path | None = None,
        prior: float = 0.5,
        threshold: float | Literal["eer"] | None = None,
        hop: float | None = None,
        pool: Pool = "every",
        channels: Channels | None = None,
        device: str | torch.device = "cpu",
        batch_size: int = 16,
        num_threads: int = 1,
        exit: Wanted = None,
        costs: Costs | None = None,
        judge_outside: bool = False,
    ) -> FakeSpeechDetector:
        """The detector of a training.

        model: its folder, exp/NAME/seedN, a final.pt, or an ONNX file of steps/export.py, which runs on the CPU only
        and carries its calibration. calibration: a file of steps/calibrate.py; else the folder's calibration.json,
        without which there are scores but neither LLRs nor verdicts. prior, threshold, costs: see calibration.decision.
        hop: seconds from one window to the next, half a window if not given. pool: see above. channels: of recordings
        with several: mix, each, or the number of one from 0; mix if not given, unless the front end was trained on a
        certain one. batch_size: windows that go through the network at once. num_threads: that compute features; the
        network's are torch's (torch.set_num_threads). exit: the number of a stage after which the network stops, `auto`
        or `adaptive`; see docs/early_exit.md. judge_outside: see above.

        Raises UserError for what cannot be read or does not fit.
        """
        back_end = load_back_end(Path(model), torch.device(device), num_threads, exit)
        found, missing = back_end.calibration, back_end.missing
        if calibration is not None:
            found, missing = read_calibration(Path(calibration)), ""
            check_exit(found, back_end.exit and back_end.exit["stage"])
        of = decision(found, missing, prior, threshold, costs)
        return cls(back_end, of, hop, pool, channels, batch_size, num_threads, judge_outside)

    def on(self, channels: Channels | None) -> FakeSpeechDetector:
        """This detector, of which recordings' channels are taken as given; as they are here for None. Raises
        UserError."""
        if channels is None:
            return self
        other = copy.copy(self)
        other._channels = _checked(channels)
        return other

    def shares_features_with(self, other: FakeSpeechDetector) -> bool:
        """Whether both networks take the same features of a recording."""
        of_torch = isinstance(self._back_end, TorchBackEnd) and isinstance(other._back_end, TorchBackEnd)
        return of_torch and self.frontend_conf == other.frontend_conf

    def keep_features(self, kept: dict[str, Any]) -> None:
        """Take the features of a recording from `kept`, by its name, or put them there, so that detectors that share
        them compute them once. For pool `first` and recordings of one channel; the caller empties `kept`."""
        if self._pool != "first":
            raise ValueError("features are kept for pool first only: a recording is one window there")
        self._kept = kept

    @property
    def window_seconds(self) -> float:
        return self._window / self.sample_rate

    @property
    def hop_seconds(self) -> float:
        return self._hop / self.sample_rate

    @property
    def of_mini_corpus(self) -> bool:
        """In any form of it, and with no other corpus beside it."""
        return family_of(self.corpus) == "mini corpus" and "combined_from" not in self.corpus

    def about(self) -> dict[str, Any]:
        """What the results rest on, for the head of an output; plain values, as JSON takes them."""
        of = self.decision
        made = of.calibration
        return {
            "model": self.model,
            "exit": self.exit,
            "corpus": corpus_label(self.corpus),
            "mini_corpus": self.of_mini_corpus,
            "frontend": self.frontend_conf.type,
            "sample_rate": self.sample_rate,
            "window_seconds": self.window_seconds,
            "hop_seconds": self.hop_seconds,
            "band": None if self.band is None else dataclasses.asdict(self.band),
            "domain": None if self.limit is None else dataclasses.asdict(self.limit),
            "no_domain": self._back_end.no_limit or None,
            "frame_threshold": self._back_end.frame_threshold,
            "no_frames": self._back_end.no_frames or None,
            "judge_outside": self.judge_outside,
            "pool": self._pool,
            "channels": self._channels,
            "calibration": (
                made
                and {
                    "path": str(made.path),
                    "weight": made.weight,
                    "offset": made.offset,
                    "trained_on": {
                        key: made.trained_on.get(key)
                        for key in ("sets", "n_bonafide", "n_spoof", "cllr", "eer", "eer_threshold", "llr_range")
                    },
                    "trained_on_eval": made.trained_on_eval,
                }
            ),
            "no_calibration": of.missing or None,
            "threshold": of.threshold,
            "bonafide_above": of.bonafide_above,
            "threshold_rule": of.rule or None,
        }

    def score(self, waveform: np.ndarray, rate: int, name: str = "waveform") -> list[Result]:
        """waveform: (samples,) or (samples, channels), floats at full scale 1 or integers; rate: Hz -> one Result, or
        one of each channel.

        Raises UserError that begins with `name` for what cannot be scored: no samples, only silence, NaN.
        """
        return self._alone(name, contextlib.nullcontext(audio.of_waveform(name, waveform, rate)))

    def score_file(self, path: str | Path, name: str | None = None, overview: bool = False) -> list[Result]:
        """One Result, or one of each channel. Raises UserError that begins with `name` (else the path) for a file that
        cannot be scored: missing, not audio, truncated, no samples, only silence, NaN."""
        name = str(path) if name is None else name
        return self._alone(name, audio.open_recording(path, name), overview)

    def score_recording(self, recording: audio.Recording, overview: bool = False) -> list[Result]:
        """As score_file, of a recording already open."""
        return self._alone(recording.where, contextlib.nullcontext(recording), overview)

    def score_files(
        self,
        files: Iterable[tuple[str, str | Path | Command | Stretch | Opening]],
        overview: bool = False,
        embeddings: bool = False,
    ) -> Iterator[tuple[str, list[Result] | UserError]]:
        """(name, path) of files -> (name, its results or why it cannot be scored), in their order, each as soon as it
        is there; windows of several files go through the network together. In the place of a path may stand what
        audio.open_recording and audio.open_stream return. embeddings: give them in the results. Raises UserError for
        embeddings of an ONNX file or an adaptive exit."""
        opened = (
            (name, audio.open_recording(path, name) if isinstance(path, str | Path | Command | Stretch) else path)
            for name, path in files
        )
        for take in self._flow(opened, overview, embeddings):
            yield take.name, self._outcome(take)

    def stream(self, recording: audio.Recording) -> Iterator[Heard]:
        """Each window as soon as its last sample is there: one each hop, and the last at the end. By pool `mean`, or as
        by `every` where it is another: the last says what score_file says of the whole. Raises UserError as score_file
        does."""
        picked, blocks = self._prepared(recording)
        samples, silent = 0, True
        scores: list[list[float]] = [[] for _ in picked]
        distances: list[list[float]] = [[] for _ in picked]
        levels: list[list[np.ndarray]] = [[] for _ in picked]
        below = [0] * len(picked)
        for begin, window in windows.cut(blocks, self._window, self._hop):
            samples = begin + len(window)
            for number, (waveform, until_now, far, bands) in enumerate(zip(window.T, scores, distances, levels)):
                score = None
                if not _is_silent(waveform):
                    silent = False
                    looked = self._looked_at(waveform, recording.where)
                    found = self._back_end.look_at([looked.features])
                    score, distance = float(found.scores[0]), float(found.distances[0])
                    bands.append(looked.heard.bands)
                    far.append(distance)
                judged = self._missing(bands) is None and (self.judge_outside or self._outside(_mean(far)) is None)
                said = self._window_of((begin, samples), score, judged)
                below[number] += self.decision.below(said.llr) is True
                if said.counts:
                    until_now.append(score)
                mean = float(np.mean(until_now)) if until_now else None
                llr = self.decision.llr(mean)
                of_window, so_far = self.decision.verdict(said.llr), self._verdict(llr, below[number])
                if not judged:
                    of_window = so_far = None
                told = below[number] if so_far else None
                yield Heard(picked[number], said, of_window, mean, llr, so_far, told)
        if not samples:
            raise UserError(f"{recording.where}: empty: no samples")
        if silent:
            raise _only_silence(recording.where, recording.notes)

    def evidence(
        self, recording: audio.Recording, wanted: Sequence[Window], channel: str | None = None
    ) -> list[Evidence]:
        """What the network looked at in windows of a recording that was scored (steps/nnet/grad_cam.py), in the order
        of time.

        recording: opened anew; wanted: of its Result's windows; channel: its Result's. Raw samples make no
        picture: nothing is found in them.
        """
        with self._frontend() as frontend:
            if frontend.n_bins == 1:
                return []
        picked, blocks = self._prepared(recording)
        of_begin = {round(window.begin * self.sample_rate): window for window in wanted}
        found: list[Evidence] = []
        for begin, waveform in windows.cut(blocks, self._window, self._hop) if wanted else ():
            if begin not in of_begin:
                continue
            with self._frontend() as frontend:
                standard = frontend.standardised(waveform[:, picked.index(channel)])
                x, places, cells, own = self._back_end.evidence(standard, frontend, recording.where)
            hz = self.frontend_conf.bin_hz
            if hz is not None and len(hz) != x.shape[2]:
                hz = None
            found.append(Evidence(of_begin[begin], x[0][:own], places[:own], cells, hz))
            if len(found) == len(of_begin):
                break
        return found

    # From here on: how it is done.

    @contextlib.contextmanager
    def _frontend(self) -> Iterator[FrontEndBase]:
        """A front end that no other thread uses meanwhile: some keep tables that grow with what they are given."""
        try:
            frontend = self._frontends.pop()
        except IndexError:
            frontend = make_frontend(self.frontend_conf)
        try:
            yield frontend
        finally:
            self._frontends.append(frontend)

    def _looked_at(self, waveform: np.ndarray, where: str) -> _Looked:
        """waveform: (samples,) at sample_rate. Raises UserError."""
        if self._kept is not None and where in self._kept:
            return self._kept[where]
        with self._frontend() as frontend:
            standard = frontend.standardised(waveform)
            heard = _Heard(active_level(waveform, self.sample_rate), frontend.levels(standard))
            looked = _Looked(self._back_end.input_of(waveform, standard, frontend, where), heard)
        if self._kept is not None:
            self._kept[where] = looked
        return looked

    def _missing(self, bands: Sequence[np.ndarray]) -> str | None:
        """What the windows of a recording, by their levels in the front end's bands, lack that the detector needs."""
        if self.band is None or not bands:
            return None
        return self.band.missing(10 * np.log10(np.mean(10 ** (np.stack(bands) / 10), axis=0)))

    def _outside(self, distance: float | None) -> str | None:
        """In words, where a recording at this distance is outside what the detector was trained on."""
        return None if self.limit is None or distance is None else self.limit.outside(distance)

    def _prepared(self, recording: audio.Recording) -> tuple[list[str | None], Iterator[np.ndarray]]:
        """Names of the channels that are scored, and blocks (n, those channels) at sample_rate."""
        if not LEAST_RATE <= recording.rate <= MOST_RATE:
            raise UserError(
                f"{recording.where}: its sampling rate is {recording.rate} Hz; {LEAST_RATE} to {MOST_RATE} Hz are taken"
            )
        chosen, count = self._channels, recording.channels
        if isinstance(chosen, int) and chosen >= count and count > 1:
            raise UserError(f"{recording.where}: no channel {chosen}: it has {count}, counted from 0")
        picked: list[str | None]
        if count == 1:
            picked, pick = [None], lambda block: block
        elif chosen == EACH:
            picked, pick = [str(i) for i in range(count)], lambda block: block
        elif chosen == MIX:
            picked, pick = ["mixed"], lambda block: block
        else:
            picked, pick = [str(chosen)], lambda block: block[:, chosen : chosen + 1]
        mixes = count > 1 and chosen == MIX
        blocks = _mixed(recording) if mixes else map(pick, recording.blocks)
        return picked, audio.resampled(blocks, len(picked), recording.rate, self.sample_rate)

    def _notes(
        self, take: _Take, number: int, heard: Sequence[Window], not_judged: str | None, outside: str | None
    ) -> tuple[str, ...]:
        """number: of the channel; not_judged: why, for other reasons than its score."""
        recording, picked = take.recording, take.picked
        notes = []
        if recording.channels > 1:
            what = {MIX: "mixed", EACH: "scored each by itself"}.get(self._channels, f"number {picked[0]} scored")
            notes.append(f"{recording.channels} channels, {what}")
        elif isinstance(self._channels, int) and self._channels > 0:
            notes.append(f"no channel {self._channels}: the only one is scored")
        mute = [name for name, scores in zip(picked, take.scores) if all(score is None for score in scores)]
        if mute:
            notes.append(f"only silence in channel {' and '.join(mute)}")
        if recording.rate != self.sample_rate:
            notes.append(f"resampled from {recording.rate} Hz")
        notes += recording.notes
        if take.samples < self._window:
            notes.append("shorter than a window")
        silent = sum(window.score is None for window in heard)
        if silent:
            notes.append(f"{silent} of {len(heard)} windows silent")
        beyond = sum(not window.counts for window in heard) - silent
        if beyond:
            which = "" if len(heard) == 1 else f"{beyond} of {len(heard)} windows "
            notes.append(f"{which}far beyond all scores of dev: not judged")
        if not_judged:
            notes.append(f"not judged: {not_judged}")
        elif outside:
            notes.append(f"{outside}; judged anyway")
        return tuple(notes)

    def _window_of(self, span: tuple[int, int], score: float | None, judged: bool) -> Window:
        llr = self.decision.llr(score)
        counts = score is not None and self.decision.holds(llr)
        below = self.decision.below(llr) if judged else None
        return Window(span[0] / self.sample_rate, span[1] / self.sample_rate, score, llr, counts, below)

    def _verdict(self, llr: float | None, below: int) -> str | None:
        """Of a recording. below: how many of its windows, or of its frames' stretches, are below the threshold."""
        verdict = self.decision.verdict(llr)
        return PARTIAL if verdict == BONAFIDE and below and self._pool != "mean" else verdict

    def _spans(self, take: _Take, blocks: Iterator[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Windows of a recording, as (first sample, (samples, channels)); for pool `first` the whole, or as much of it
        as the front end looks at."""

        def watched() -> Iterator[np.ndarray]:
            for block in blocks:
                take.samples += len(block)
                for overview, samples in zip(take.overviews, block.T):
                    overview.add(samples)
                yield block

        if self._pool != "first":
            yield from windows.cut(watched(), self._window, self._hop)
            return
        conf = self.frontend_conf
        enough = None if conf.trim is not None or conf.standardise else conf.max_samples
        held, count = [], 0
        for block in watched():
            if enough is None or count < enough:
                held.append(block)
                count += len(block)
        if count:
            yield 0, np.concatenate(held)[:enough]

    def _pieces(
        self,
        opened: Iterable[tuple[str, Opening]],
        submit: Callable[..., Future[_Looked]],
        overview: bool,
    ) -> Iterator[_Piece | _Take]:
        """The windows of each recording, and then its _Take."""
        for name, opening in opened:
            take = _Take(name)
            try:
                with opening as recording:
                    take.recording = recording
                    take.picked, blocks = self._prepared(recording)
                    take.scores = [[] for _ in take.picked]
                    take.distances = [[] for _ in take.picked]
                    take.heard = [{} for _ in take.picked]
                    take.frames = [{} for _ in take.picked]
                    take.embeddings = [{} for _ in take.picked]
                    if overview:
                        take.overviews = [Overview(self.sample_rate) for _ in take.picked]
                    for begin, window in self._spans(take, blocks):
                        end = begin + len(window) if self._pool != "first" else min(len(window), self._window)
                        take.spans.append((begin, end))
                        for channel, waveform in enumerate(window.T):
                            take.scores[channel].append(None)
                            take.distances[channel].append(None)
                            if not _is_silent(waveform):
                                index = len(take.spans) - 1
                                yield _Piece(take, channel, index, submit(self._looked_at, waveform, name))
            except UserError as error:
                take.error = error
            yield take

    def _flow(self, opened: Iterable[tuple[str, Opening]], overview: bool, embeddings: bool = False) -> Iterator[_Take]:
        """Recordings scored, in their order. Decoding and the network run in this thread, features in others, at most
        two batches ahead, so that memory does not grow with a recording's length."""
        with contextlib.ExitStack() as stack:
            submit = _at_once
            if self._num_threads > 1:
                workers = stack.enter_context(ThreadPoolExecutor(self._num_threads))
                stack.callback(workers.shutdown, wait=False, cancel_futures=True)
                submit = workers.submit
            held: deque[_Piece | _Take] = deque()
            waiting = 0
            for item in self._pieces(opened, submit, overview):
                held.append(item)
                waiting += isinstance(item, _Piece)
                if len(held) == 1 and isinstance(item, _Take):
                    yield held.pop()
                while waiting >= 2 * self._batch_size:
                    done, ready = self._one_batch(held, embeddings)
                    waiting -= done
                    yield from ready
            while held:
                yield from self._one_batch(held, embeddings)[1]

    def _one_batch(self, held: deque[_Piece | _Take], embeddings: bool) -> tuple[int, list[_Take]]:
        """Takes a batch of windows from the left and scores it: how many, and the recordings that are through by
        that."""
        taken, batch, ready = 0, [], []
        while held and (taken < self._batch_size or isinstance(held[0], _Take)):
            item = held.popleft()
            if isinstance(item, _Take):
                ready.append(item)
                continue
            taken += 1
            try:
                looked = item.looked.result()
                item.take.heard[item.channel][item.index] = looked.heard
                batch.append((item, looked.features))
            except UserError as error:
                item.take.error = item.take.error or error
        if batch:
            found = self._back_end.look_at([features for _, features in batch], embeddings)
            for number, (piece, _) in enumerate(batch):
                piece.take.scores[piece.channel][piece.index] = float(found.scores[number])
                piece.take.distances[piece.channel][piece.index] = float(found.distances[number])
                if found.frames is not None:
                    piece.take.frames[piece.channel][piece.index] = found.frames[number]
                if found.embeddings is not None:
                    piece.take.embeddings[piece.channel][piece.index] = found.embeddings[number]
        return taken, ready

    def _track(self, take: _Take, number: int, heard: Sequence[Window]) -> np.ndarray:
        """Of channel `number`: by its frames' scores, or where there are none by its windows'."""
        of_frames = take.frames[number]
        scores = [
            None if window.score is None else of_frames.get(i, np.array([window.score]))
            for i, window in enumerate(heard)
        ]
        spans = [(window.begin, window.end) for window in heard]
        return track_of(spans, scores, self.window_seconds, take.samples / self.sample_rate)

    def _alone(self, name: str, opening: Opening, overview: bool = False) -> list[Result]:
        (take,) = self._flow([(name, opening)], overview)
        outcome = self._outcome(take)
        if isinstance(outcome, UserError):
            raise outcome
        return outcome

    def _outcome(self, take: _Take) -> list[Result] | UserError:
        if take.error is not None:
            return take.error
        if not take.spans:
            return UserError(f"{take.name}: empty: no samples")
        results = []
        for number, (channel, scores) in enumerate(zip(take.picked, take.scores)):
            of_windows = take.heard[number]
            loudest = max((one.level for one in of_windows.values()), default=0.0)
            audible = {i for i, one in of_windows.items() if one.level > loudest - SILENCE_DB}
            missing = self._missing([of_windows[i].bands for i in sorted(audible)])
            distance = None if self.limit is None else _mean([take.distances[number][i] for i in sorted(audible)])
            outside = self._outside(distance)
            unlike = "; ".join(filter(None, [missing, None if self.judge_outside else outside])) or None
            heard = tuple(
                self._window_of(span, score if i in audible else None, unlike is None)
                for i, (span, score) in enumerate(zip(take.spans, scores))
            )
            scored = [window.score for window in heard if window.score is not None]
            if not scored:
                continue
            if not np.isfinite(scored).all():
                return UserError(f"{take.name}: its score is not finite; look at final.pt")
            counted = [window.score for window in heard if window.counts] or scored
            score = min(counted) if self._pool == "min" else float(np.mean(counted))
            llr = self.decision.llr(score)
            beyond = llr is not None and not self.decision.holds(llr)
            reason = unlike or ("its score lies far beyond all scores of dev" if beyond else None)
            if reason:
                heard = tuple(dataclasses.replace(window, below=None) for window in heard)
            below = None if reason or llr is None else Below.among(heard)
            track = self._track(take, number, heard)
            embedded = [take.embeddings[number][i] for i in sorted(audible)] if take.embeddings[number] else []
            limit = self._back_end.frame_threshold
            stretches = (
                None if limit is None or reason else scored_stretches(track, limit, take.samples / self.sample_rate)
            )
            verdict = None if below is None else self._verdict(llr, below.windows or len(stretches or ()))
            results.append(
                Result(
                    take.name,
                    channel,
                    take.samples / self.sample_rate,
                    heard,
                    score,
                    llr,
                    verdict,
                    self._notes(take, number, heard, unlike, outside),
                    reason,
                    below,
                    distance,
                    None if distance is None else outside is not None,
                    take.overviews[number] if take.overviews else None,
                    stretches,
                    track,
                    np.mean(embedded, axis=0) if embedded else None,
                )
            )
        if not results:
            return _only_silence(take.name, take.recording.notes)
        return results


def _checked(channels: Channels) -> Channels:
    if channels not in (MIX, EACH) and not (type(channels) is int and channels >= 0):
        raise UserError(f"channels: {channels!r} is neither {MIX}, {EACH} nor a number from 0")
    return channels


def _only_silence(where: str, notes: Sequence[str]) -> UserError:
    return UserError("; ".join([f"{where}: only silence: nothing above -80 dBFS", *notes]))


def _mixed(recording: audio.Recording) -> Iterator[np.ndarray]:
    """The mean of the channels, (n, 1), of each block; a note where they cancel each other out in it."""
    cancelled = 0
    for block in recording.blocks:
        mean = block.mean(axis=1, keepdims=True, dtype=np.float64)
        power = np.square(block, dtype=np.float64).mean() if len(block) else 0.0
        if power > SILENCE**2 and np.square(mean).mean() < CANCELLED * power / recording.channels:
            cancelled += len(block)
        yield mean
    if cancelled:
        recording.notes.append(
            f"its channels cancel each other out in the mix for {cancelled / recording.rate:.1f} s, as one is inverted:"
            " score one of them by itself (channels 0)"
        )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _is_silent(waveform: np.ndarray) -> bool:
    """Nothing but, at most, a constant offset."""
    return float(waveform.max() - waveform.min()) / 2 < SILENCE


def _at_once(work: Callable[..., _Looked], *arguments: Any) -> Future[_Looked]:
    """As an executor's submit, but done when it returns."""
    done: Future[_Looked] = Future()
    try:
        done.set_result(work(*arguments))
    except UserError as error:
        done.set_exception(error)
    return done
