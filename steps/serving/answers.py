"""What the API answers, as its OpenAPI document has it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Stretch(BaseModel):
    """A window of the recording."""

    begin: float = Field(description="seconds from the recording's begin")
    end: float = Field(description="seconds")
    score: float | None = Field(description="higher = bona fide; null where the window is silent")
    llr: float | None = Field(description="log-likelihood ratio, natural logarithm; null without a calibration")
    counts: bool = Field(description="whether the recording's score is made of it, too")
    below: bool | None = Field(
        description=(
            "whether its LLR is at or below the threshold; null where there is none, and where the recording is not"
            " judged"
        )
    )


class Span(BaseModel):
    begin: float = Field(description="seconds from the recording's begin")
    end: float = Field(description="seconds")


class BelowThreshold(BaseModel):
    """Windows whose LLR is at or below the threshold."""

    windows: int = Field(description="how many there are")
    of: int = Field(description="windows that are not silent")
    stretches: list[Span] = Field(description="where, in the order of time; windows that overlap or touch are one")
    in_words: str = Field(description="how many and where; empty for one window")


class Picture(BaseModel):
    png: str = Field(description="a PNG, base64")
    low_hz: float | None = Field(description="frequency at its lower edge; null where its rows are no frequencies")
    high_hz: float | None = Field(description="frequency at its upper edge")
    says: str = Field(description="what it shows, in words")


class LookedAt(BaseModel):
    """What the places of a window add to its score: Grad-CAM."""

    stretch: Stretch
    picture: Picture = Field(description="the network's input in grey; blue speaks for bona fide, orange for spoof")


class Exit(BaseModel):
    """Where the network stops, if it does before its last stage."""

    stage: int | Literal["adaptive"] = Field(
        description="the last stage that is computed, counted from 1, whose own head gives the score; or one by window"
    )
    stages: int = Field(description="of the complete network")
    multiply_adds: int = Field(description="of a window's score; adaptive: their mean on dev")
    complete: int = Field(description="multiply-adds of the complete network")
    in_words: str


class SpoofedStretch(BaseModel):
    """begin, end: seconds; score: the lowest in it."""

    begin: float
    end: float
    score: float


class Verdict(BaseModel):
    """Of a recording, or of one of its channels."""

    channel: str | None = Field(description="mixed, or its number from 0; null where the recording has one only")
    verdict: Literal["bonafide", "partial", "spoof", "undecided"] | None = Field(
        description=(
            "partial: the score is above the threshold, but not every window; undecided: between threshold and "
            "bonafide_above; null without a calibration, and where not_judged says why"
        )
    )
    not_judged: str | None = Field(
        description=(
            "why this recording gets no verdict: it lacks a band that the detector needs, it is outside what the "
            "detector was trained on, or its score lies far beyond all scores of dev"
        )
    )
    distance: float | None = Field(description="from what the detector was trained on; null where no limit is known")
    outside: bool | None = Field(description="whether the distance is beyond the limit; null where none is known")
    below_threshold: BelowThreshold | None = Field(description="null where there is no verdict")
    spoofed_stretches: list[SpoofedStretch] | None = Field(
        description="by scores of 20 ms each; null of detectors that score no frames, and where there is no verdict"
    )
    frame_threshold: float | None = Field(
        description="frames whose score is at or below it are spoofed; null of detectors that score no frames"
    )
    headline: str = Field(description="the verdict in words, with the windows below the threshold")
    explanation: str
    exit: int | Literal["adaptive"] | None = Field(
        description="the stage after which the network stopped; null for the complete network"
    )
    caution: str | None = Field(description="said with each verdict of a model that was trained on the mini corpus")
    score: float = Field(description="the mean of the windows' scores; higher = bona fide")
    llr: float | None = Field(description="log-likelihood ratio, natural logarithm; null without a calibration")
    threshold: float | None = Field(description="of the LLR: spoof where it is not above it")
    bonafide_above: float | None = Field(
        description="bonafide if the LLR is above it and all windows are above the threshold; larger than the threshold"
        " only if the server was given a cost of no answer"
    )
    seconds: float = Field(description="the recording's length")
    notes: list[str] = Field(description="what was done to the audio")
    lowest: list[Stretch] = Field(description="the lowest-scoring stretches, lowest first, none overlapping another")
    windows: list[Stretch] = Field(description="all windows, in the order of time")
    spectrogram: Picture | None = Field(description="of the complete recording; null with pictures=false")
    looked_at: list[LookedAt] = Field(
        description=(
            "of the lowest-scoring stretches, lowest first, and the highest-scoring window; empty with pictures=false"
        )
    )


class Limits(BaseModel):
    max_mib: float = Field(description="size of an upload, MiB")
    max_seconds: float = Field(description="length of a recording")
    timeout_seconds: float = Field(description="for the upload to arrive, and again for its decoding and scoring")
    max_waiting: int = Field(description="uploads that may be on their way or wait for their turn at once")


class Model(BaseModel):
    model: str
    exit: Exit | None = Field(description="where the network stops early; null for the complete network")
    corpus: str = Field(description="what it was trained on")
    caution: str | None = Field(description="as in a verdict")
    frontend: str
    sample_rate: int = Field(description="Hz; recordings are resampled to it")
    window_seconds: float
    hop_seconds: float = Field(description="from one window to the next")
    channels: Literal["mix", "each"] | int = Field(
        description="of several, those that are scored if a request names none"
    )
    threshold: float | None = Field(description="as in a verdict")
    bonafide_above: float | None = Field(description="as in a verdict")
    rests_on: list[str] = Field(description="training, windows, calibration and threshold, in words")
    limits: Limits


class Problem(BaseModel):
    """RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="what is wrong, and the limit or the fix")
