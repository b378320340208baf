"""Why an upload gets no verdict. Light, for the process that serves does not load what scores."""

from __future__ import annotations

from dataclasses import dataclass

from steps.inference.clock import clock

FORMATS = "wav, flac, ogg, opus, mp3, aiff, m4a, webm, amr and the sound of videos"


@dataclass
class Refused(Exception):
    """Why an upload gets no verdict. status: of HTTP; detail: in words."""

    status: int
    detail: str

    def __reduce__(self) -> tuple[type[Refused], tuple[int, str]]:  # between processes
        return type(self), (self.status, self.detail)


def time_words(seconds: float) -> str:
    """12.5 s, 30 min, 1:07.5 min, 3 h, 2:01:07.5 h"""
    unit = "s" if seconds < 60 else "min" if seconds < 3600 else "h"
    for whole, name in ((3600, "h"), (60, "min")):
        if seconds >= whole and seconds % whole == 0:
            return f"{seconds // whole:g} {name}"
    return f"{clock(seconds, seconds).removesuffix('.0')} {unit}"
