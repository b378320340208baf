"""A corpus with the layout of ASVspoof 2019 for tests: real protocols' form, tiny flacs with real headers."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
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


# --- other corpora: their key files' form, as their publishers describe it ---------------------------------------------

LA_CODECS = ("none", "alaw", "pstn", "g722", "ulaw", "gsm", "opus")
DF_CODECS = ("nocodec", "low_mp3", "high_mp3", "low_m4a", "high_m4a", "low_ogg", "high_ogg", "mp3m4a", "oggm4a")
VOCODERS = ("traditional_vocoder", "neural_vocoder_autoregressive", "unknown")
PHASES = ("eval", "progress", "hidden")


def lines_2021(part: str, trials: int, bonafide: int, phases: tuple[int, ...] | None = None) -> list[str]:
    """trial_metadata.txt of `part`. phases: trials of eval, progress, hidden; a third each if None."""
    phase_of = [p for p, n in zip(PHASES, phases or (trials,) * 3) for _ in range(n)] if phases else None
    lines = []
    for at in range(trials):
        utt, spoof = f"{part}_E_{1000000 + at}", at >= bonafide
        key, attack = ("spoof", f"A{7 + at % 13:02d}") if spoof else ("bonafide", "bonafide")
        phase = phase_of[at] if phase_of else PHASES[at % 3]
        trim = "trim" if phase == "hidden" else "notrim"
        speaker = f"{part}_{1 + at % 20:04d}"
        if part == "LA":
            lines.append(f"{speaker} {utt} {LA_CODECS[at % 7]} loc_tx {attack} {key} {trim} {phase}")
        elif part == "DF":
            more = f"{VOCODERS[at % 3] if spoof else 'bonafide'} task1 T{at % 5:02d} F-M E"
            source = ("asvspoof", "vcc2018", "vcc2020")[at % 3]
            lines.append(f"{speaker} {utt} {DF_CODECS[at % 9]} {source} {attack} {key} {trim} {phase} {more}")
        else:
            trim = ("trim", "notrim")[at // 3 % 2] if phase == "hidden" else "notrim"
            replay = f"r{1 + at % 9} m{1 + at % 3} s{2 + at % 3} c{2 + at // 3 % 3}" if spoof else "- - - -"
            lines.append(f"{speaker} {utt} R{1 + at % 9} M{1 + at % 3} d{1 + at % 6} {replay} {key} {trim} {phase}")
    return lines


def lines_5(subset: str, trials: int, bonafide: int) -> Iterable[str]:
    letter = subset[0].upper()
    for at in range(trials):
        utt, spoof = f"{letter}_{at:010d}", at >= bonafide
        key, tag, attack = ("spoof", "AC1", f"A{17 + at % 16:02d}") if spoof else ("bonafide", "-", "bonafide")
        codec = f"C{at % 12:02d}" if subset == "eval" and at % 12 else "-"
        yield f"{letter}_{at % 700:04d} {utt} {'MF'[at % 2]} {codec} {at % 5 if codec != '-' else '-'} - {tag} {attack} {key} -"


def write_flacs(folder: Path, names: Iterable[str]) -> None:
    """Tiny flacs of these names. Links to a few files, so that hundreds of thousands take no room."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = flac_samples(folder / "seed")
    bases = []
    for number, (content, _) in enumerate(kinds):
        path = folder / f"base{number}"
        path.write_bytes(content)
        bases.append(path)
    for at, name in enumerate(names):
        (folder / name).symlink_to(bases[at % len(bases)].name)


def make_2021(root: Path, part: str, trials: int, bonafide: int) -> list[str]:
    lines = lines_2021(part, trials, bonafide)
    keys = root / "keys" / part / "CM" / "trial_metadata.txt"
    keys.parent.mkdir(parents=True)
    keys.write_text("".join(f"{line}\n" for line in lines))
    write_flacs(root / f"ASVspoof2021_{part}_eval" / "flac", (f"{line.split()[1]}.flac" for line in lines))
    return lines


def make_5(root: Path, sizes: dict[str, tuple[int, int]]) -> None:
    folders = {"train": "flac_T", "dev": "flac_D", "eval": "flac_E_eval"}
    for subset, (trials, bonafide) in sizes.items():
        lines = list(lines_5(subset, trials, bonafide))
        name = f"ASVspoof5.{subset}{'' if subset == 'train' else '.track_1'}.tsv"
        root.mkdir(exist_ok=True)
        (root / name).write_text("".join(f"{line}\n" for line in lines))
        write_flacs(root / folders[subset], (f"{line.split()[1]}.flac" for line in lines))


def make_in_the_wild(root: Path, trials: int, bonafide: int) -> None:
    speakers = ("Alec Guinness", "Ruth Bader Ginsburg", "Barack Obama")
    names = [f"{at}.wav" for at in range(trials)]
    rows = (f"{name},{speakers[at % 3]},{'bona-fide' if at < bonafide else 'spoof'}" for at, name in enumerate(names))
    write_flacs(root, names)
    (root / "meta.csv").write_text("file,speaker,label\n" + "".join(f"{row}\n" for row in rows))


def make_mlaad(root: Path, per_model: int, bonafide: int) -> list[tuple[str, str]]:
    """Models with blanks in their names; the (language, model) pairs."""
    pairs = [("de", "tts_models_de_css10_vits"), ("en", "Fish Speech v1"), ("zh", "VITS 中文")]
    heading = (
        "path|original_file|language|is_original_language|duration|training_data|model_name|architecture|transcript"
    )
    for language, model in pairs:
        folder = root / "fake" / language / model
        names = [f"{language} satz {at}.wav" for at in range(per_model)]
        write_flacs(folder, names)
        rows = (
            f'./fake/{language}/{model}/{n}|o.wav|{language}|True|1.0|css10|{model}|VITS|He said: "so' for n in names
        )
        (folder / "meta.csv").write_text("\n".join([heading, *rows]) + "\n")
    names = [f"ö {at}.flac" for at in range(bonafide)]
    write_flacs(root / "real", names)
    rows = (f"real/{name},{('de', 'en')[at % 2]},Speaker {at % 4}" for at, name in enumerate(names))
    (root / "bonafide.csv").write_text("path,language,speaker\n" + "".join(f"{row}\n" for row in rows))
    return pairs


def make_partialspoof(
    root: Path, sizes: dict[str, tuple[int, int]], steps: Iterable[str] = ("0.01", "0.02", "0.16")
) -> dict[str, dict[str, list[tuple[int, int]]]]:
    """PartialSpoof's folder `database` with (trials, bona fide) per set, of noise; {set: {utterance: the spoofed
    stretches, in samples}}. Every fourth spoofed utterance is spoofed throughout."""
    rng = np.random.default_rng(0)
    made: dict[str, dict[str, list[tuple[int, int]]]] = {}
    (root / "segment_labels").mkdir(parents=True)
    (root / "protocols/PartialSpoof_LA_cm_protocols").mkdir(parents=True)
    for subset, (trials, bonafide) in sizes.items():
        (root / subset / "con_wav").mkdir(parents=True)
        letter, lines, spoofed_of, lengths = subset[0].upper(), [], made.setdefault(subset, {}), {}
        for at in range(trials):
            speaker, length = f"LA_{69 + at % 8:04d}", int(rng.integers(8_000, 24_000))
            utt = f"LA_{letter}_{1000000 + at}" if at < bonafide else f"CON_{letter}_{at - bonafide:07d}"
            stretches = (
                [(0, length)] if at % 4 == 3 else [(length // 5, length // 4), (length // 2, length // 2 + 4000)]
            )
            spoofed_of[utt], lengths[utt] = stretches if at >= bonafide else [], length
            lines.append(f"{speaker} {utt} - {'- bonafide' if at < bonafide else 'CON spoof'}")
            soundfile.write(
                root / subset / "con_wav" / f"{utt}.wav", 0.1 * rng.standard_normal(length), 16000, "PCM_16"
            )
        name = f"protocols/PartialSpoof_LA_cm_protocols/PartialSpoof.LA.cm.{subset}.trl.txt"
        (root / name).write_text("".join(f"{line}\n" for line in lines))
        for step in steps:
            labels: defaultdict[str, np.ndarray] = defaultdict(list)
            size = round(float(step) * 16000)
            for utt, stretches in spoofed_of.items():
                bona_fide = np.ones(-(-lengths[utt] // size) * size, int)  # of each sample, and past the end
                for begin, end in stretches:
                    bona_fide[begin:end] = 0
                labels[utt] = bona_fide.reshape(-1, size).min(1).astype(str)
            np.save(root / f"segment_labels/{subset}_seglab_{step}.npy", labels)
    return made
