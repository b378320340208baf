"""eSpeak NG, in a process of its own for each use.

Its library keeps state from one text to the next, and forked from a worker that had made other things it crashed now
and then. So a bare Python loads it, does one thing and ends.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

_UNKNOWN_VOICE = 3  # exit status
_PATIENCE = 120  # seconds
_RATE, _PITCH, _RANGE = 1, 3, 4  # parameters, and the constants below: eSpeak NG's speak_lib.h
_RETRIEVAL, _UTF8, _BY_CHARACTER, _PHONEMES_IPA = 1, 1, 1, 2


def speak(
    texts: Sequence[str], voice: str, *, words_per_minute: int, pitch: int, pitch_range: int
) -> tuple[list[bytes], int]:
    """For each text its samples (int16 of this machine's byte order), and their rate in Hz. `pitch` and `pitch_range`
    are 0 to 100. Raises Unusable if eSpeak NG crashes or does not answer, UserError for a voice that it does not have,
    RuntimeError if it fails otherwise."""
    settings = {_RATE: words_per_minute, _PITCH: pitch, _RANGE: pitch_range}
    said = _ask({"task": "speak", "voice": voice, "texts": list(texts), "settings": settings})
    return [base64.b64decode(samples) for samples in said["spoken"]], said["rate"]


def phonemes(texts: Sequence[str], voice: str) -> list[str]:
    """Each text in the International Phonetic Alphabet. Raises as `speak` does."""
    return _ask({"task": "phonemes", "voice": voice, "texts": list(texts)})["phonemes"]


def _ask(task: Mapping) -> dict:
    import espeakng_loader

    from local.mini_corpus.attack import Unusable
    from utils.cli import UserError

    places = {"library": espeakng_loader.get_library_path(), "data": espeakng_loader.get_data_path()}
    # nothing of the environment that it could go by, but where a Python of its own folder finds its libraries
    environment = {key: os.environ[key] for key in ("LD_LIBRARY_PATH",) if key in os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", __file__],
            input=json.dumps({**task, **places}), capture_output=True, text=True,
            env={**environment, "LC_ALL": "C.UTF-8"}, timeout=_PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unusable(f"eSpeak NG did not answer within {_PATIENCE} s") from None
    if done.returncode == _UNKNOWN_VOICE:
        raise UserError(f"eSpeak NG has no voice {task['voice']!r}; correct the language or the variant in the conf")
    if done.returncode < 0:
        raise Unusable(f"eSpeak NG ended by signal {-done.returncode}")
    if done.returncode > 0:
        raise RuntimeError(f"eSpeak NG failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


# ---------------------------------------------------------------- in the bare Python: nothing but its own library


def _start(task: dict) -> tuple[ctypes.CDLL, int]:
    library = ctypes.CDLL(task["library"])
    rate = library.espeak_Initialize(_RETRIEVAL, 0, task["data"].encode(), 0)
    if rate <= 0:
        sys.exit("it did not start: its data folder was not found")
    if library.espeak_SetVoiceByName(task["voice"].encode()) != 0:
        sys.exit(_UNKNOWN_VOICE)
    return library, rate


def _speak(task: dict) -> dict:
    library, rate = _start(task)
    blocks: list[bytes] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def take(samples, count, _events):
        if samples and count > 0:
            blocks.append(ctypes.string_at(samples, 2 * count))
        return 0

    library.espeak_SetSynthCallback(take)
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # else it takes the clock
    for parameter, value in task["settings"].items():
        library.espeak_SetParameter(int(parameter), value, 0)
    spoken = []
    for text in task["texts"]:
        blocks.clear()
        data = text.encode()
        size = ctypes.c_size_t(len(data) + 1)
        if library.espeak_Synth(data, size, 0, _BY_CHARACTER, 0, _UTF8, None, None) != 0:
            sys.exit(f"it could not speak {text!r}")
        library.espeak_Synchronize()
        spoken.append(base64.b64encode(b"".join(blocks)).decode())
    return {"rate": rate, "spoken": spoken}


def _phonemes(task: dict) -> dict:
    library, _ = _start(task)
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p

    def of(text: str) -> str:
        rest = ctypes.c_char_p(text.encode())
        said = []
        while rest.value:  # it moves `rest` on, in the end to NULL
            said.append(library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _PHONEMES_IPA).decode())
        return " ".join(said)

    return {"phonemes": [of(text) for text in task["texts"]]}


if __name__ == "__main__":
    _task = json.load(sys.stdin)
    json.dump({"speak": _speak, "phonemes": _phonemes}[_task["task"]](_task), sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # its library's own end is not awaited
