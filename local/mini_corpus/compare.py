#!/usr/bin/env python3
"""How far two builds of a mini corpus are apart, file by file: equal bit for bit, equal samples, or how different.

The difference of two files is the energy of their samples' difference over the energy of the first one's, in dB. About
-30 dB is the same sound: one sample rounded otherwise lets the telephone codec take another way from there, and the two
differ by its noise. 0 dB is another sound. Files that are there in one build only, or of other lengths, count as above
any tolerance. The exit status is 1 if a file is above the tolerance.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.environment

import numpy as np
import soundfile

from local.mini_corpus.writers import read_manifest
from utils.cli import ProgressLog, UserError, make_parser, real_number, run_program

BITS, SAMPLES, CLOSE, LENGTH = "equal bit for bit", "equal samples, packed otherwise", "different", "of other lengths"
_WORST = 3  # files named in the report


@dataclass(frozen=True)
class Difference:
    """Of one file in two builds."""

    name: str
    kind: str  # BITS, SAMPLES, CLOSE or LENGTH
    db: float = -np.inf  # only for CLOSE is it finite
    attack: str = "-"


def audio_files(la: Path) -> dict[str, Path]:
    """Utterance -> its file."""
    return {path.stem: path for path in la.glob("*/flac/*.flac")}


def compare_files(name: str, one: Path, other: Path, attack: str = "-") -> Difference:
    """Two FLAC files of one utterance. Raises UserError if one cannot be decoded."""
    if one.read_bytes() == other.read_bytes():
        return Difference(name, BITS, attack=attack)
    samples = []
    for path in (one, other):
        try:
            samples.append(soundfile.read(path, dtype="int16")[0].astype(np.float64))
        except soundfile.LibsndfileError as error:
            raise UserError(f"{path}: cannot be decoded: {error}; build it anew") from None
    if len(samples[0]) != len(samples[1]):
        return Difference(name, LENGTH, np.inf, attack)
    energy = float(np.sum((samples[0] - samples[1]) ** 2))
    if not energy:
        return Difference(name, SAMPLES, attack=attack)
    return Difference(name, CLOSE, 10 * float(np.log10(energy / max(np.sum(samples[0] ** 2), 1.0))), attack)


def compare(first: Path, second: Path) -> tuple[list[Difference], list[str], list[str]]:
    """The differences of the utterances in both builds, and the names that only the first and only the second has.

    Speech that was added to one build with --bonafide-dir is left out of the latter, and told.
    """
    manifests = [
        {row["utterance"]: (row["attack"], row["source"]) for row in read_manifest(la)} for la in (first, second)
    ]
    files = [audio_files(la) for la in (first, second)]
    for la, manifest, there in zip((first, second), manifests, files):
        lacking = sorted(set(manifest) - set(there))
        if lacking:
            raise UserError(f"{la}: {len(lacking)} files of its manifest are not there, such as {lacking[0]}.flac")
    both = sorted(set(manifests[0]) & set(manifests[1]))
    progress = ProgressLog(len(both), "files", "comparing", every_seconds=10.0)
    differences = []
    for name in both:
        differences.append(compare_files(name, files[0][name], files[1][name], manifests[0][name][0]))
        progress.update()
    progress.close()
    only = []
    for la, manifest in zip((first, second), manifests):
        names = sorted(set(manifest) - set(both))
        added = [name for name in names if manifest[name][1].startswith("added ")]
        if added:
            print(f"{la}: {len(added)} files of added speech, which the other build has not, are not compared")
        only.append([name for name in names if name not in set(added)])
    return differences, only[0], only[1]


def report(differences: Iterable[Difference], only_first: list[str], only_second: list[str]) -> Iterable[str]:
    """The result in lines."""
    differences = list(differences)
    kinds = Counter(difference.kind for difference in differences)
    yield f"{len(differences)} files in both: " + ", ".join(
        f"{kinds[kind]} {kind}" for kind in (BITS, SAMPLES, CLOSE, LENGTH) if kinds[kind]
    )
    for which, names in (("first", only_first), ("second", only_second)):
        if names:
            yield f"{len(names)} in the {which} only, such as {names[0]}"
    close = sorted((d for d in differences if d.kind == CLOSE), key=lambda difference: -difference.db)
    if close:
        mean = 10 * np.log10(np.mean([10 ** (d.db / 10) for d in close]))
        worst = ", ".join(f"{d.name} ({d.attack}) {d.db:.1f}" for d in close[:_WORST])
        yield (
            f"those that differ, dB of the signal: largest {close[0].db:.1f}, median "
            f"{np.median([d.db for d in close]):.1f}, mean of the energies {mean:.1f}; the worst: {worst}"
        )
        by_attack = Counter(d.attack for d in close)
        yield "by attack (- is bona fide): " + ", ".join(f"{attack} {n}" for attack, n in sorted(by_attack.items()))


def main() -> int:
    parser = make_parser(__doc__, "local/mini_corpus/compare.py --tolerance-db -25 mine/LA theirs/LA")
    parser.add_argument("first", metavar="A/LA", type=Path, help="the folder LA of one build")
    parser.add_argument("second", metavar="B/LA", type=Path, help="and of the other")
    parser.add_argument(
        "--tolerance-db", type=real_number(), default=-25.0, help="largest difference that is no failure"
    )
    args = parser.parse_args()
    differences, only_first, only_second = compare(args.first, args.second)
    for line in report(differences, only_first, only_second):
        print(line)
    above = sum(d.db > args.tolerance_db for d in differences) + len(only_first) + len(only_second)
    if above or not differences:
        print(f"{above} files are above the tolerance of {args.tolerance_db:g} dB, or in one build only")
        return 1
    print(f"no file is above the tolerance of {args.tolerance_db:g} dB")
    return 0


if __name__ == "__main__":
    run_program(main)
