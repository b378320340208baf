"""What of an evaluation set was in a detector's training set: files, speakers, attacks.

steps/train.py keeps train_set.json in the training's folder, and a recipe that adopts the training links it. It has the
names of the training set's speakers and attacks, and where its list of files was. So names can be compared after the
data dir is gone, and files only while it is there and unchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.cli import UserError, warn
from utils.files import read_json, read_map, sha256_of, write_json
from utils.tables import read_big_map

TRAIN_SET = "train_set.json"
CACHE = ".overlap.json"  # in the evaluation's data dir: equal files, by the checksums of both wav.scp
UTT2CORPUS = "utt2corpus"  # of a training set joined of several: which of `combined_from` an utterance is of
_NOT_NAMES = {"-", "unknown"}
_FAMILIES = {"ASVspoof 2021": "ASVspoof 2019"}  # 2021 has the speakers of 2019, and names its attacks alike
_BEGINNING = 4096  # bytes of a file that are compared before all of it; in FLAC they have the audio's checksum
_MOST_NAMES = 5  # in a sentence


@dataclass(frozen=True)
class Overlap:
    """files: so many of the evaluation's audio files are byte for byte files of the training set; speakers, attacks:
    names that both sets have. None: not compared. not_checked: why files were not compared, empty if they were."""

    files: int | None
    speakers: list[str] | None
    attacks: list[str] | None
    not_checked: str = ""

    @property
    def sentence(self) -> str:
        """What is to be known of it, in words; empty if nothing is."""
        found = [f"{self.files:,} audio files"] if self.files else []
        for what, names in (("speakers", self.speakers), ("attacks", self.attacks)):
            if names:
                more = ", ..." if len(names) > _MOST_NAMES else ""
                found.append(f"{what}: {len(names):,} ({', '.join(names[:_MOST_NAMES])}{more})")
        text = f"In the detector's training set too: {'; '.join(found)}." if found else ""
        if self.not_checked:
            text += f"{' ' * bool(text)}Overlap of audio files with the training set: not checked ({self.not_checked})."
        return text


def family_of(corpus: Mapping[str, Any]) -> str:
    """The corpora whose names of speakers and attacks mean the same, by one name."""
    name = str(corpus.get("name", ""))
    return "mini corpus" if name.startswith("mini corpus") else _FAMILIES.get(name, name)


def _names(path: Path) -> dict[str, str]:
    """A table by utterance; empty if the data dir has none."""
    return dict(read_big_map(path).pairs()) if path.is_file() else {}


def write_train_set(folder: Path, data_dir: Path, corpus: Mapping[str, Any]) -> None:
    """Keep in a training's folder what is compared later. corpus: the data dir's corpus.json."""
    combined = corpus.get("combined_from")
    part_of = _names(data_dir / UTT2CORPUS) if isinstance(combined, list) else {}
    corpora = list(combined) if isinstance(combined, list) and part_of else [corpus]
    found: list[dict[str, set[str]]] = [{"speakers": set(), "attacks": set()} for _ in corpora]
    for key, table in (("speakers", "utt2speaker"), ("attacks", "utt2attack")):
        for utt, name in _names(data_dir / table).items():
            if name not in _NOT_NAMES:
                found[int(part_of.get(utt, 0))][key].add(name)
    record = {
        "data_dir": str(data_dir.resolve()),
        "wav_scp_sha256": sha256_of(data_dir / "wav.scp") if (data_dir / "wav.scp").is_file() else None,
        "parts": [
            {"corpus": one, **{key: sorted(names) for key, names in of_part.items()}}
            for one, of_part in zip(corpora, found)
        ],
    }
    path = folder / TRAIN_SET
    if not path.is_file() or read_json(path) != record:
        write_json(path, record)


def check_overlap(training: Path, data_dir: Path) -> Overlap:
    """Of the evaluation set in `data_dir` with the training set of the training's folder. Speakers and attacks are
    compared with those of the same family of corpora alone. Raises UserError for a damaged train_set.json."""
    path = training / TRAIN_SET
    if not path.is_file():
        return Overlap(None, None, None, "its training kept no list; train.py writes it, also for a finished training")
    record, known = _train_set_and_names(path, data_dir)
    names = {}
    for key, table in (("speakers", "utt2speaker"), ("attacks", "utt2attack")):
        there = (data_dir / table).is_file()
        names[key] = sorted(known[key] & set(_names(data_dir / table).values())) if known and there else None
    wav_scp = Path(record["data_dir"]) / "wav.scp"
    if not (data_dir / "wav.scp").is_file():
        return Overlap(None, **names, not_checked="the evaluation set has no wav.scp")
    if not wav_scp.is_file() or sha256_of(wav_scp) != record["wav_scp_sha256"]:
        return Overlap(None, **names, not_checked="the training data are gone or have changed")
    files = _equal_files_of(wav_scp, data_dir)
    return Overlap(files, **names, not_checked="some audio files are gone" if files is None else "")


def known_attacks(training: Path, data_dir: Path) -> frozenset[str] | None:
    """Names of the attacks that the training's folder keeps, of the evaluation set's family of corpora; None if it
    keeps none of that family. Raises UserError for a damaged train_set.json."""
    _, names = _train_set_and_names(training / TRAIN_SET, data_dir) if (training / TRAIN_SET).is_file() else ({}, None)
    return frozenset(names["attacks"]) if names else None


def _train_set_and_names(path: Path, data_dir: Path) -> tuple[dict[str, Any], dict[str, set[str]] | None]:
    """train_set.json, and the speakers and attacks in it of the evaluation set's family; None if it has none of it."""
    record = read_json(path)
    try:
        parts = [(family_of(part["corpus"] or {}), part) for part in record["parts"]]
        own = family_of(read_json(data_dir / "corpus.json")) if (data_dir / "corpus.json").is_file() else ""
        alike = [part for family, part in parts if own and family == own]
        known = {key: {name for part in alike for name in part[key]} for key in ("speakers", "attacks")}
        Path(record["data_dir"]), record["wav_scp_sha256"]
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not as train.py writes it; remove it and run the training stage again") from None
    return record, known if alike else None


def _equal_files_of(train: Path, data_dir: Path) -> int | None:
    """equal_files of both wav.scp, computed once for all detectors that share them."""
    cache, key = data_dir / CACHE, f"{sha256_of(train)} {sha256_of(data_dir / 'wav.scp')}"
    known = read_json(cache) if cache.is_file() else {}
    if key not in known:
        count = equal_files(_files(train), _files(data_dir / "wav.scp"))
        if count is None:
            return None
        known[key] = count
        try:
            write_json(cache, known)
        except OSError as error:
            warn(f"{cache}: {error.strerror}, so the next evaluation compares these files again")
    return int(known[key])


def _files(wav_scp: Path) -> set[str]:
    """Without commands, whose output is no file."""
    return {file for file in read_map(wav_scp).values() if not file.endswith("|")}


def equal_files(ours: Collection[str], theirs: Collection[str]) -> int | None:
    """How many of `theirs` are byte for byte one of `ours`; None if a file is gone or cannot be read.

    Sizes are compared first, then the beginnings of files of one size, and complete files only if these are equal.
    """
    try:
        sizes = [{file: Path(file).stat().st_size for file in files} for files in (ours, theirs)]
        keys: list[dict[str, Any]] = [dict(of) for of in sizes]
        for most in (_BEGINNING, None):
            shared = set(keys[0].values()) & set(keys[1].values())
            keys = [
                {file: (sizes[i][file], _checksum(file, most)) for file, key in of.items() if key in shared}
                for i, of in enumerate(keys)
            ]
    except OSError:
        return None
    ours_now = set(keys[0].values())
    return sum(key in ours_now for key in keys[1].values())


def _checksum(file: str, most: int | None) -> bytes:
    """Of the file's first `most` bytes, or of all of it."""
    with Path(file).open("rb") as handle:
        if most is None:
            return hashlib.file_digest(handle, "sha256").digest()
        return hashlib.sha256(handle.read(most)).digest()
