"""Times as they are read."""

import math


def clock(seconds: float, of: float) -> str:
    """Seconds as a time, with minutes and hours where a recording of `of` seconds has them: 7.5, 1:07.5, 1:01:07.5."""
    tenths = round(seconds * 10)
    if of < 60:
        return f"{tenths / 10:.1f}"
    minutes, tenths = divmod(tenths, 600)
    tail = f"{tenths / 10:04.1f}"
    if of < 3600:
        return f"{minutes}:{tail}"
    return f"{minutes // 60}:{minutes % 60:02d}:{tail}"


def stretch_clock(begin: float, end: float, of: float) -> str:
    """From begin to end, seconds: `12.5-17.4 s`, or, in a recording with minutes, `1:18-1:26`: the whole seconds around
    it."""
    if of < 60:
        return f"{clock(begin, of)}-{clock(end, of)} s"
    edges = math.floor(round(begin, 1)), math.ceil(round(end, 1))
    return "-".join(clock(edge, of).removesuffix(".0") for edge in edges)
