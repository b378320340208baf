"""Times as they are read."""


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
