"""What tests let the server's process do in the place of a detector, light to load."""

import resource


def prepare(settings):
    if settings.detector["model"] == "none":
        raise SystemExit(3)
    from utils.cli import UserError

    if settings.detector["model"] == "lost":
        raise UserError("no final.pt in it")

    def judge(data, pictures, channels):
        if data == b"fails":
            raise ZeroDivisionError("on purpose")
        if data == b"grows":
            bytearray(16 << 30)
        return {"length": len(data), "pictures": pictures, "core": resource.getrlimit(resource.RLIMIT_CORE)}

    return {"model": "light"}, judge
