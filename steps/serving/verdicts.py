"""A recording in memory -> what is said of it: the API's answer, as plain values."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from steps.inference.calibration import BONAFIDE, PARTIAL, SPOOF, UNDECIDED
from steps.inference.clock import clock
from steps.inference.detector import EACH, Channels, FakeSpeechDetector
from steps.inference.output import about_lines, below_threshold, message_without, spoofed_stretches
from steps.inference.result import Evidence, Result, Window
from steps.nnet.grad_cam import blend
from steps.serving.refused import FORMATS, Refused, time_words
from utils import audio
from utils.cli import UserError

LOWEST = 3
NAME = "the recording"
_MOST_COLUMNS = 1200  # of the spectrogram
_CAUTION = (
    "This model was trained on {corpus}, which is small and for trying the toolkit: no verdict of it is evidence about"
    " a recording."
)


def model_of(detector: FakeSpeechDetector) -> dict[str, Any]:
    """What answers.Model tells of it."""
    about = detector.about()
    keys = (
        "model",
        "exit",
        "corpus",
        "frontend",
        "sample_rate",
        "window_seconds",
        "hop_seconds",
        "channels",
        "threshold",
        "bonafide_above",
    )
    said = {key: about[key] for key in keys}
    return said | {"caution": _caution(about), "rests_on": about_lines(about)}


def _caution(about: dict[str, Any]) -> str | None:
    return _CAUTION.format(corpus=about["corpus"]) if about["mini_corpus"] else None


def judge(
    detector: FakeSpeechDetector,
    data: bytes,
    max_seconds: float,
    pictures: bool = True,
    channels: Channels | None = None,
) -> dict[str, Any] | list[dict[str, Any]]:
    """The answers.Verdict of an upload's bytes, or of `each` channel one. channels: as of FakeSpeechDetector.load; the
    detector's own for None. Raises Refused."""
    detector = detector.on(channels)
    with _in_memory(data) as path:
        with _opened(path, max_seconds) as recording:
            try:
                results = detector.score_recording(recording, overview=pictures)
            except UserError as error:
                raise Refused(422, _sentence(error)) from None
        said = []
        for result in results:
            seen: list[Evidence] = []
            if pictures:
                worth = _worth_a_look(result)
                with _opened(path, max_seconds) as recording:
                    found = detector.evidence(recording, worth, result.channel)
                seen = sorted(found, key=lambda one: worth.index(one.window))
            said.append(_verdict(result, seen, detector.about()))
    return said if channels == EACH else said[0]


def _verdict(result: Result, seen: list[Evidence], about: dict[str, Any]) -> dict[str, Any]:
    headline, explanation = in_words(result, about)
    return {
        "channel": result.channel,
        "verdict": result.verdict,
        "not_judged": result.not_judged,
        "distance": result.distance,
        "outside": result.outside,
        "below_threshold": below_threshold(result),
        "spoofed_stretches": spoofed_stretches(result),
        "frame_threshold": about.get("frame_threshold"),  # missing in ONNX files of older versions
        "headline": headline,
        "explanation": explanation,
        "exit": about["exit"] and about["exit"]["stage"],
        "caution": _caution(about),
        "score": result.score,
        "llr": result.llr,
        "threshold": about["threshold"],
        "bonafide_above": about["bonafide_above"],
        "seconds": result.seconds,
        "notes": list(result.notes),
        "lowest": [dataclasses.asdict(window) for window in result.lowest(LOWEST)],
        "windows": [dataclasses.asdict(window) for window in result.windows],
        "spectrogram": _spectrogram(result) if result.overview else None,
        "looked_at": [_looked_at(one, result.seconds) for one in seen],
    }


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """A path that decoders can open, of a file that never was on a disk."""
    handle = os.memfd_create("recording", os.MFD_CLOEXEC)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        yield f"/proc/self/fd/{handle}"


def _sentence(error: UserError) -> str:
    text = message_without(NAME, str(error))
    return f"{text[:1].upper()}{text[1:]}."


@contextlib.contextmanager
def _opened(path: str, max_seconds: float) -> Iterator[audio.Recording]:
    """A recording that ends in Refused where it is longer than allowed: at once where its header tells, and wherever
    else its sound passes the limit."""
    with contextlib.ExitStack() as stack:
        try:
            recording = stack.enter_context(audio.open_recording(path, NAME))
        except audio.NotSound:
            raise Refused(415, f"This is no sound that can be read here. Readable: {FORMATS}.") from None
        except UserError as error:
            raise Refused(422, _sentence(error)) from None
        if recording.promised_seconds is not None and recording.promised_seconds > max_seconds:
            raise _too_long(f"It is {time_words(recording.promised_seconds)} long", max_seconds)

        def blocks() -> Iterator[np.ndarray]:
            done = 0
            for block in recording.blocks:
                done += len(block)
                if done > max_seconds * recording.rate:
                    raise _too_long("It goes on", max_seconds)
                yield block

        yield dataclasses.replace(recording, blocks=blocks())


def _too_long(how_long: str, max_seconds: float) -> Refused:
    return Refused(
        422, f"{how_long}; recordings of up to {time_words(max_seconds)} are taken. Cut out the part in question."
    )


def _worth_a_look(result: Result) -> list[Window]:
    """The lowest-scoring stretches, lowest first, and the highest-scoring window."""
    counted = [window for window in result.windows if window.counts]
    highest = [max(counted, key=lambda window: window.score)] if counted else []
    return list(dict.fromkeys([*result.lowest(LOWEST), *highest]))


def in_words(result: Result, about: dict[str, Any]) -> tuple[str, str]:
    """Headline and explanation."""
    if result.llr is None:
        return (
            "No verdict",
            f"There is a score, and no calibration that would turn it into a verdict: {about['no_calibration']}.",
        )
    if result.verdict is None:
        return "No verdict", f"This recording is not judged: {result.not_judged}."
    said = {
        BONAFIDE: ("Bona fide", f"The detector takes this for genuine speech. {_odds(result.llr)}"),
        PARTIAL: (
            "Partly spoof",
            (
                "The detector takes most of this for genuine speech, but the stretches named for synthetic, converted"
                " or replayed speech. Listen to them. The more windows a recording has, the more often one of genuine"
                " speech falls below the threshold."
            ),
        ),
        UNDECIDED: (
            "Undecided",
            f"With the costs that were set, no answer is cheaper than the risk of a wrong one. {_odds(result.llr)}",
        ),
        SPOOF: ("Spoof", f"The detector takes this for synthetic, converted or replayed speech. {_odds(result.llr)}"),
    }
    headline, explanation = said[result.verdict]
    return ", ".join(filter(None, [headline, result.spoofed_in_words, result.below_in_words])), explanation


def _odds(llr: float) -> str:
    times = math.exp(min(abs(llr), 50.0))
    if times < 1.05:
        return "Its score is about as likely for the one as for the other."
    how = "more than 1000" if times > 1000 else f"{times:.1f}" if times < 10 else f"{float(f'{times:.2g}'):.0f}"
    one, other = ("bona fide", "spoofed") if llr > 0 else ("spoofed", "bona fide")
    return f"By its calibration such a score is {how} times as likely for {one} speech as for {other}."


def _png(image: Image.Image) -> str:
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def _spectrogram(result: Result) -> dict[str, Any]:
    from matplotlib import colormaps

    levels = result.overview.spectrogram()
    if len(levels) > _MOST_COLUMNS:
        edges = np.linspace(0, len(levels), _MOST_COLUMNS + 1).astype(int)[:-1]
        levels = np.add.reduceat(levels, edges) / np.diff([*edges, len(levels)])[:, None]
    image = Image.fromarray((255 * levels.T[::-1]).round().astype(np.uint8))
    image.putpalette((255 * colormaps["magma"](np.arange(256))[:, :3]).round().astype(np.uint8).tobytes())
    high = result.overview.rate / 2
    says = f"Spectrogram of {time_words(result.seconds)}, 0 to {high / 1000:g} kHz; brighter is louder."
    return {"png": _png(image), "low_hz": 0.0, "high_hz": high, "says": says}


def _looked_at(seen: Evidence, seconds: float) -> dict[str, Any]:
    image = Image.fromarray(blend(seen.features, seen.places)[::-1])
    low, high = (None, None) if seen.bin_hz is None else (float(seen.bin_hz[0]), float(seen.bin_hz[-1]))
    return {
        "stretch": dataclasses.asdict(seen.window),
        "picture": {"png": _png(image), "low_hz": low, "high_hz": high, "says": _says(seen, seconds)},
    }


def _says(seen: Evidence, seconds: float) -> str:
    """Where the most evidence of each kind is, for those who do not see the picture."""
    begin, end = seen.window.begin, seen.window.end
    said = [f"From {clock(begin, seconds)} to {clock(end, seconds)}{' s' if seconds < 60 else ''}."]
    for sign, kind in ((1, "bona fide"), (-1, "spoof")):
        strength = sign * seen.places
        if strength.max() <= 0:
            said.append(f"Nothing speaks for {kind}.")
            continue
        frame, column = np.unravel_index(int(strength.argmax()), strength.shape)
        at = begin + (end - begin) * (frame + 0.5) / len(strength)
        where = f"around {clock(at, seconds)}{' s' if seconds < 60 else ''}"
        if seen.bin_hz is not None:
            where += f", {seen.bin_hz[column]:.0f} Hz"
        said.append(f"Most of what speaks for {kind} is {where}.")
    return " ".join(said)
