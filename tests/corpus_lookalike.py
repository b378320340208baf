"""A corpus with the layout of ASVspoof 2019 for tests: real protocols' form, tiny flacs with real headers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

# (trials, bona fide among them) of the official protocols, typed anew here: the tests do not take the program's word
COUNTS = {
    "la": {"train": (25380, 2580), "dev": (24844, 2548), "eval": (71237, 7355)},
    "pa": {"train": (54000, 5400), "dev": (29700, 5400), "eval": (134730, 18090)},
}
ATTACKS = {
    "la": {"train": range(1, 7), "dev": range(1, 7), "eval": range(7, 20)},
    "pa": dict.fromkeys(("train", "dev", "eval"), range(1, 10)),
}
SPEAKERS = {"train": 20, "dev": 20, "eval": 67}


def protocol_lines(recipe: str, subset: str, trials: int, bonafide: int, seed: int = 0) -> list[str]:
    """Protocol lines in no order, as the official ones: ids do not follow the speakers."""
    rng = random.Random(f"{recipe}{subset}{seed}")
    name, letter = recipe.upper(), {"train": "T", "dev": "D"}.get(subset.split("_")[0], "E")
    ids = rng.sample(range(1000000, 9999999), trials)
    numbers = list(ATTACKS[recipe][subset.split("_")[0]])
    attacks = [f"A{n:02d}" if recipe == "la" else "ABC"[(n - 1) // 3] + "ABC"[(n - 1) % 3] for n in numbers]
    environments = ["-"] if recipe == "la" else ["".join(letters) for letters in itertools.product("abc", repeat=3)]
    lines = []
    for at, number in enumerate(ids):
        attack = "-" if at < bonafide else attacks[at % len(attacks)]
        speaker = f"{name}_{rng.randrange(SPEAKERS[subset.split('_')[0]]) + 1:04d}"
        key = "bonafide" if attack == "-" else "spoof"
        lines.append(f"{speaker} {name}_{letter}_{number} {environments[at % len(environments)]} {attack} {key}")
    rng.shuffle(lines)
    return lines


def protocol_path(root: Path, recipe: str, subset: str) -> Path:
    name, kind = recipe.upper(), "trn" if subset == "train" else "trl"
    return root / f"ASVspoof2019_{name}_cm_protocols" / f"ASVspoof2019.{name}.cm.{subset}.{kind}.txt"


def write_protocol(root: Path, recipe: str, subset: str, lines: Iterable[str]) -> Path:
    path = protocol_path(root, recipe, subset)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines))
    return path


def flac_samples(folder: Path) -> list[tuple[bytes, int]]:
    """A few distinct tiny flacs, as (content, number of samples)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    made = []
    for number in range(7):
        samples = 480 + 17 * number
        path = folder / f"{number}.flac"
        soundfile.write(path, 0.1 * rng.standard_normal(samples), 16000, subtype="PCM_16")
        made.append((path.read_bytes(), samples))
        path.unlink()
    folder.rmdir()
    return made


def write_audio(root: Path, recipe: str, subset: str, lines: Iterable[str]) -> dict[str, int]:
    """A tiny flac for each protocol line; {utterance: samples}."""
    folder = root / f"ASVspoof2019_{recipe.upper()}_{subset.split('_')[0]}" / "flac"
    folder.mkdir(parents=True, exist_ok=True)
    kinds = flac_samples(root / "seed")
    lengths = {}
    for at, line in enumerate(lines):
        utt = line.split()[1]
        content, lengths[utt] = kinds[at % len(kinds)]
        (folder / f"{utt}.flac").write_bytes(content)
    return lengths


def make_corpus(root: Path, recipe: str, sizes: dict[str, tuple[int, int]]) -> dict[str, dict[str, int]]:
    """A corpus in `root` with (trials, bona fide) per set; {set: {utterance: samples}}."""
    lengths = {}
    for subset, (trials, bonafide) in sizes.items():
        lines = protocol_lines(recipe, subset, trials, bonafide)
        write_protocol(root, recipe, subset, lines)
        lengths[subset] = write_audio(root, recipe, subset, lines)
    return lengths
