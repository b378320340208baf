"""Which files look like recordings."""

from __future__ import annotations

from pathlib import Path

_ENDINGS = (
    "3g2 3gp aac ac3 aif aifc aiff amr ape asf au avi awb caf dts flac flv g722 gsm m4a m4b m4v mka mkv mov mp2 mp3 mp4"
    " mpc mpeg mpg nist oga ogg ogv opus ra rm sph snd spx tta voc w64 wav wave weba webm wma wmv wv"
)
AUDIO_ENDINGS = frozenset(_ENDINGS.split())
_BEGINNINGS = (
    b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"ID3", b"FORM", b"caff", b"#!AMR", b".snd", b"\x1aE\xdf\xa3",
    b"NIST_1A", b"wvpk", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1", b"\xff\xf9",
)  # fmt: skip


def looks_like_audio(path: Path) -> bool:
    """By its name's ending or, without a known one, by its first bytes."""
    if path.suffix.lower().lstrip(".") in AUDIO_ENDINGS:
        return True
    try:
        with path.open("rb") as handle:
            begin = handle.read(12)
    except OSError:
        return False
    return begin.startswith(_BEGINNINGS) or begin[4:8] == b"ftyp"
