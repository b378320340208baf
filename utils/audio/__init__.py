"""Sound from files and streams of any format: one place where it is decoded, completely."""

from utils.audio.by_ffmpeg import NotSound
from utils.audio.command import Command, is_command, refuse_command
from utils.audio.decoding import (
    Recording,
    of_waveform,
    open_recording,
    open_stream,
    refused,
    resampled,
    seconds_of,
    seekable,
)
from utils.audio.names import looks_like_audio

__all__ = [
    "Command",
    "NotSound",
    "Recording",
    "is_command",
    "looks_like_audio",
    "of_waveform",
    "open_recording",
    "open_stream",
    "refuse_command",
    "refused",
    "resampled",
    "seconds_of",
    "seekable",
]
