"""Is a built corpus, bit for bit, the one of its version? The known digests stand in conf/mini_corpus/frozen.txt.

The same packages give the same audio on the same kind of machine; another processor or another libsndfile may round
otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.cli import UserError
from utils.files import read_table

KNOWN = Path(__file__).resolve().parents[2] / "conf" / "mini_corpus" / "frozen.txt"


@dataclass(frozen=True)
class Frozen:
    """The audio of one version, size and seed as it came out on one kind of machine."""

    version: str
    size: str
    seed: int
    digest: str  # 64 hex digits
    machine: str  # in words


def audio_digest(files: Iterable[tuple[str, str]]) -> str:
    """One digest of many files' (utterance, sha256), in any order: 64 hex digits."""
    lines = sorted(f"{utterance} {sha256}\n" for utterance, sha256 in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_known(path: Path = KNOWN) -> list[Frozen]:
    """Lines `VERSION SIZE SEED DIGEST MACHINE IN WORDS`; those that begin with # are comments. Raises UserError."""
    known = []
    for number, fields in read_table(path, None):
        if fields[0].startswith("#"):
            continue
        if len(fields) < 5 or not fields[2].isdigit() or len(fields[3]) != 64:
            raise UserError(f"{path}: line {number}: VERSION SIZE SEED DIGEST MACHINE is expected")
        known.append(Frozen(fields[0], fields[1], int(fields[2]), fields[3], " ".join(fields[4:])))
    return known


def verdict(corpus: Mapping[str, Any], known: Iterable[Frozen]) -> str:
    """One sentence on a corpus.json: whether its audio is the frozen one of its version, size and seed.

    Of a corpus with added speech the conf's own part is judged.
    """
    digest, whose = corpus.get("audio_digest"), "audio"
    if corpus.get("added"):
        digest, whose = corpus.get("audio_digest_less_added"), "audio less what was added"
    if not digest:
        return "its audio has no digest: it was built before there were any"
    part = "pa_" if corpus.get("recipe") == "PA" else ""
    version, size, seed = str(corpus["version"]), part + corpus["size"], corpus["seed"]
    those = [one for one in known if (one.version, one.size, one.seed) == (version, size, seed)]
    if any(one.digest == digest for one in those):
        return f"{whose} is that of version {version}, bit for bit"
    if not those:
        return (
            f"whether the {whose} is that of version {version} is unknown: no digest of size {size}, seed {seed} is"
            f" known (this one's: {digest[:16]})"
        )
    lacking = [str(corpus[key]) for key in ("incomplete", "other_sources") if corpus.get(key)]
    machines = "; ".join(dict.fromkeys(one.machine for one in those))
    why = ", ".join(lacking) or f"another kind of machine? it was frozen on {machines}"
    return (
        f"{whose} differs from that of version {version} ({why}): figures on it compare with each other, not with those"
        " of the documentation"
    )
