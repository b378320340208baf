"""PartialSpoof 1.2: bona fide utterances of ASVspoof 2019 LA with stretches of its synthetic and converted speech.

A spoofed recording is made of segments of LA's, cut at silences; at least one is spoofed. Utterances, speakers and sets
are as many as LA's (121,461), the bona fide ones are the same: English, 16 kHz wav. The folder `database` has
SET/con_wav/UTT.wav, protocols of LA's form with the attack CON, segment_labels/SET_seglab_STEP.npy for steps of 0.01 to
0.64 s. Such a file is a pickled dict from an utterance to its labels as text, ceil(seconds / step) of them: 0 if any
sample of that step is spoofed, or is silence of a spoofed source, else 1. The finest one, of 0.01 or 0.02 s, is read.
Licence and MD5 sums are as others quote them from Zenodo, where it was published in 2021 (Zhang et al., IEEE/ACM TASLP
2023). The form is by its authors' code and descriptions: nobody has run this module on the real files yet.
"""

from __future__ import annotations

import math
import pickle
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from local.corpora import Archive, Download
from local.corpora.base import PLAIN, Corpus, Trial, TrialList, missing_of, read_rows
from utils.cli import UserError
from utils.files import naming
from utils.rttm import Stretches

COUNTS = {"train": (25_380, 2_580), "dev": (24_844, 2_548), "eval": (71_237, 7_355)}
STEPS = ("0.01", "0.02")  # seconds of a label, as in names of files, the finest first
LABELS_ARCHIVE = "database_segment_labels_v1.2.tar.gz"
_PROTOCOLS = "protocols/PartialSpoof_LA_cm_protocols"


def keys(root: Path, subset: str) -> Path:
    return root / _PROTOCOLS / f"PartialSpoof.LA.cm.{subset}.trl.txt"


def read(root: Path, subset: str) -> TrialList:
    """The trials of a set's protocol."""
    found = TrialList(keys(root, subset), forms={"speaker": PLAIN, "attack": PLAIN})
    for line, (speaker, utt, _, attack, key) in read_rows(found.path, "SPEAKER UTT - ATTACK KEY"):
        found.add(Trial(utt, speaker, key, attack, f"{subset}/con_wav/{utt}.wav", (), line))
    return found.done()


# -- segment labels ----------------------------------------------------------------------------------------------------


def labels_file(root: Path, subset: str) -> Path:
    """The finest labels of a set. Raises UserError where there are none of 0.01 and 0.02 s."""
    files = [root / "segment_labels" / f"{subset}_seglab_{step}.npy" for step in STEPS]
    for path in files:
        if path.is_file():
            return path
    raise UserError(f"{files[0]}: no such file, nor {files[1].name}; unpack {LABELS_ARCHIVE}")


def _encoded(text: str, encoding: str) -> bytes:
    """Bytes, as pickles of protocol 2 hold them. The codecs' own function would import what a pickle names."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in {encoding!r}")
    return text.encode("latin-1")


# What such a pickle may name: dicts, lists and NumPy's arrays, by the modules' names of Python 2 and 3, NumPy 1 and 2
_ALLOWED = {
    "collections.defaultdict": defaultdict,
    "builtins.dict": dict,
    "builtins.list": list,
    "__builtin__.dict": dict,
    "__builtin__.list": list,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray._reconstruct": np.empty(0).__reduce__()[0],
    "numpy._core.multiarray._reconstruct": np.empty(0).__reduce__()[0],
    "_codecs.encode": _encoded,
}


class _Unpickler(pickle.Unpickler):
    """Makes no objects but those of _ALLOWED: a pickle can otherwise call any function."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which labels do not need") from None


def _unpickled(handle: BinaryIO) -> Any:
    """The object in a .npy file that np.save made of one. Raises what NumPy and pickle do."""
    version = np.lib.format.read_magic(handle)
    if version != (1, 0):
        raise ValueError(f"the format's version {version[0]}.{version[1]} is not 1.0")
    shape, _, dtype = np.lib.format.read_array_header_1_0(handle)
    if dtype != np.dtype(object) or shape != ():
        raise ValueError(f"it has an array of {dtype} in the form {shape}, not one dict")
    array = _Unpickler(handle).load()
    return array.item() if isinstance(array, np.ndarray) and array.shape == () else array


def read_labels(path: Path) -> dict[str, np.ndarray]:
    """{utterance: (labels,) bool, is it spoofed?} of a file of segment labels. No code in the file is run.

    Raises UserError, naming file and utterance, for a file that holds anything else.
    """
    fix = f"unpack {LABELS_ARCHIVE} again"
    with naming(path), path.open("rb") as handle:
        try:
            held = _unpickled(handle)
        except OSError:
            raise
        except Exception as error:  # a damaged pickle can raise any
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{path}: no segment labels: {reason}; {fix}") from None
    if not isinstance(held, dict) or not held:
        raise UserError(f"{path}: no segment labels: it holds {type(held).__name__}, not utterances; {fix}")
    found = {}
    for utt in list(held):
        try:
            labels = np.asarray(held.pop(utt)).astype(str)
        except ValueError:  # lists of several lengths
            labels = np.empty(0, str)
        spoofed = labels == "0"
        if not isinstance(utt, str) or labels.ndim != 1 or not labels.size or not (spoofed | (labels == "1")).all():
            raise UserError(f"{path}: utterance {utt!r}: its labels are not a list of 0 and 1; {fix}")
        found[utt] = spoofed
    return found


def _stretches(spoofed: np.ndarray, step: float, seconds: float) -> Stretches:
    """Begin and end of each run of spoofed steps, none after the end; that is rounded up to milliseconds, as RTTM has
    no stretch of none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], spoofed, [False]]).astype(np.int8)))
    end = math.ceil(round(seconds * 1000, 3)) / 1000
    return tuple((float(first * step), min(float(last * step), end)) for first, last in edges.reshape(-1, 2))


def read_stretches(path: Path, trials: Sequence[Trial], seconds: Sequence[float]) -> dict[str, Stretches]:
    """The spoofed stretches of trials by their labels. seconds: of each trial's audio.

    Raises UserError, naming file and utterance, where labels and trial do not fit: none, another number of labels than
    the length takes, give or take one, spoofed labels of a bona fide trial, or none of a spoofed one.
    """
    step_text = path.stem.rpartition("_")[2]
    step, labels = float(step_text), read_labels(path)
    found: dict[str, Stretches] = {}
    wrong = []
    for trial, length in zip(trials, seconds):
        expected = math.ceil(round(length / step, 6))
        given = labels.get(trial.utt)
        if given is None:
            wrong.append((trial, "it has no labels"))
            continue
        spoofed = given[:expected]
        if abs(len(given) - expected) > 1:
            lasts = f"{trial.audio} lasts {length:.2f} s, which takes {expected}"
            wrong.append((trial, f"{len(given)} labels of {step_text} s, but {lasts}"))
        elif trial.label == "bonafide" and spoofed.any():
            wrong.append((trial, f"{spoofed.sum()} of its labels say spoofed, but the protocol says bonafide"))
        elif trial.label == "spoof" and not spoofed.any():
            wrong.append((trial, "none of its labels says spoofed, but the protocol says spoof"))
        found[trial.utt] = _stretches(spoofed, step, length)
    if wrong:
        trial, why = wrong[0]
        raise UserError(
            f"{path}: utterance {trial.utt}, line {trial.line} of its protocol: {why}. {len(wrong)} of {len(trials)}"
            f" utterances do not fit their labels; unpack {LABELS_ARCHIVE} and the audio again, or remove such lines"
            " from the protocol and give --allow-subset"
        )
    return found


CORPORA = {
    "partialspoof": Corpus(
        name="PartialSpoof",
        markers=(_PROTOCOLS,),
        unpacked="the folder database, which has train, dev, eval, protocols and segment_labels",
        sets=lambda root: list(COUNTS),
        keys=keys,
        read=read,
        counts=COUNTS,
        stretch_file=labels_file,
        read_stretches=read_stretches,
    )
}


# -- download ----------------------------------------------------------------------------------------------------------

_SUMS = {
    "database_train.tar.gz": "c4853ddd831e8e96b0e279fc0a512e7e",
    "database_dev.tar.gz": "ddd4cd3221b7210ac879f67452fb209e",
    "database_eval.tar.gz": "79c7c834d0d9979ecd374a98a059ea19",
    "database_protocols.tar.gz": "699d81f020e4b7fa8f33747010e1cba8",
    LABELS_ARCHIVE: "c2bf6638e59ec7a5cf93c4a510fe4efe",
}


def _missing(root: Path) -> str:
    """What the folder `database` lacks: protocols, audio, labels."""
    lacking = [missing_of(CORPORA["partialspoof"], root)]
    for subset in COUNTS:
        names = [f"segment_labels/{subset}_seglab_{step}.npy" for step in STEPS]
        if not any((root / name).is_file() for name in names):
            lacking.append(names[0])
    return ", ".join(filter(None, lacking))


DOWNLOADS = {
    "partialspoof": Download(
        "PartialSpoof 1.2",
        "https://zenodo.org/records/5766198",
        "Creative Commons Attribution 4.0 International (CC BY 4.0)",
        "https://zenodo.org/api/records/5766198",
        tuple(Archive(name, None, md5) for name, md5 in _SUMS.items()),
        10_000_000_000,
        "database",
        _missing,
    )
}
