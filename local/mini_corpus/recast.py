"""A mini corpus in the layout of another corpus: its folders, key files and, where it has codecs, real round trips.

What the mini corpus cannot have is made up and says nothing: phases by turns, the source, the language, the models'
names. Each layout is one function of LAYOUTS.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import soundfile

from local.corpora.asvspoof5 import FOLDERS, LISTS
from local.corpora.asvspoof2019 import read_protocol
from local.corpora.base import Trial, known_corpora
from local.layout import Layout
from local.mini_corpus.coding import DF_2021, LA_2021, OF_5, RATE, RoundTrip
from local.mini_corpus.partial import Maker
from utils.cli import ProgressLog
from utils.files import read_json, read_table, write_json, write_lines
from utils.rttm import lines_of

PHASES = (*["eval"] * 6, "progress", "progress", "hidden", "hidden")  # by turns, within a class
QUIET = 0.02  # of the peak: below it are the silences that trimming cuts
_DIGITS = {"a": 1, "b": 2, "c": 3}


def in_turns(trials: Iterable[Trial]) -> Iterator[tuple[Trial, int]]:
    """The trials by id, each with its number within its class: what goes by turns is alike in both classes."""
    counts: dict[str, Iterator[int]] = {}
    for trial in sorted(trials):
        yield trial, next(counts.setdefault(trial.label, itertools.count()))


def trimmed(samples: np.ndarray) -> np.ndarray:
    """(samples,) int16 without what is quiet at both ends."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > QUIET * np.abs(samples.astype(np.int32)).max())
    return samples[loud[0] : loud[-1] + 1] if loud.size else samples


class Recast:
    """Reads the mini corpus in `source` (its folder LA or PA), writes to `out`."""

    def __init__(self, source: Path, recipe: str, out: Path):
        self.layout, self.recipe, self.out = Layout(source, recipe), recipe, out

    def trials(self, subset: str) -> list[Trial]:
        return read_protocol(self.layout.protocol(subset), self.recipe).trials

    def audio(self, subset: str, trial: Trial, name: str, trip: RoundTrip | None = None, trim: bool = False) -> None:
        """The trial's recording as `name` below the corpus: a link, or where it is changed a file."""
        source, target = self.layout.flac(subset, trial.utt), self.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if trip is None and not trim and target.suffix == ".flac":
            target.symlink_to(os.path.relpath(source, target.parent))
            return
        samples, _ = soundfile.read(source, dtype="int16")
        changed = samples if trip is None else trip(samples)[: len(samples)]
        soundfile.write(target, trimmed(changed) if trim else changed, RATE, subtype="PCM_16")


def _keys_2021(recast: Recast, part: str, lines: list[str]) -> None:
    write_lines(recast.out / "keys" / part / "CM" / "trial_metadata.txt", lines)


def _codecs_2021(recast: Recast, part: str, codecs: Mapping[str, RoundTrip], said: Callable[[Trial], str]) -> None:
    """LA and DF. said: the columns after the phase."""
    lines, names = [], list(codecs)
    trials = recast.trials("eval")
    progress = ProgressLog(len(trials), "coded", part)
    for trial, turn in in_turns(trials):
        codec, phase = names[turn % len(names)], PHASES[turn % len(PHASES)]  # 7 or 9, and 10: each with each
        hidden = phase == "hidden"
        recast.audio("eval", trial, f"ASVspoof2021_{part}_eval/flac/{trial.utt}.flac", codecs[codec], hidden)
        attack, fourth = ("bonafide" if trial.attack == "-" else trial.attack), "loc_tx" if part == "LA" else "mini"
        columns = (trial.speaker, trial.utt, codec, fourth, attack, trial.label, "trim" if hidden else "notrim", phase)
        lines.append(" ".join((*columns, *said(trial).split())))
        progress.update()
    progress.close()
    _keys_2021(recast, part, lines)


def la_2021(recast: Recast) -> None:
    _codecs_2021(recast, "LA", LA_2021, lambda trial: "")
    asv = recast.layout.asv_scores("eval")
    if not asv.is_file():
        return
    keys, scores = [], []  # the mini corpus's ASV heard no codec
    for number, (attack, key, score) in read_table(asv, 3):
        utt = f"LA_E_asv{number}"
        keys.append(f"LA_0000 {utt} none loc_tx {attack} {key} notrim eval")
        scores.append(f"LA_0000 {utt} {score}")
    folder = recast.out / "keys/LA/ASV"
    write_lines(folder / "trial_metadata.txt", keys)
    write_lines(folder / "ASVTorch_Kaldi/score.txt", scores)


def df_2021(recast: Recast) -> None:
    _codecs_2021(recast, "DF", DF_2021, lambda trial: f"{'bonafide' if trial.attack == '-' else 'unknown'} - - - mini")


def pa_2021(recast: Recast) -> None:
    lines = []
    for trial, turn in in_turns(recast.trials("eval")):
        phase = PHASES[turn % len(PHASES)]
        hidden, real = phase == "hidden", turn // len(PHASES) % 2 == 1
        trim = hidden and real
        recast.audio("eval", trial, f"ASVspoof2021_PA_eval/flac/{trial.utt}.flac", trim=trim)
        size, t60, distance = (_DIGITS[letter] for letter in trial.conditions[0])
        replay = "- - - -"
        if trial.label == "spoof":
            to_talker, device = ("ABC".index(letter) + 2 for letter in trial.attack)
            replay = f"r{3 * size + t60 - 3} m1 s{device} c{to_talker}"
        room = f"R{3 * size + t60 - 3} M1 d{distance}"
        lines.append(
            f"{trial.speaker} {trial.utt} {room} {replay} {trial.label} {'trim' if trim else 'notrim'} {phase}"
        )
    _keys_2021(recast, "PA", lines)


def asvspoof5(recast: Recast) -> None:
    """Half of eval's trials go through codecs, by turns."""
    names = list(OF_5)[1:]
    for subset, name in LISTS.items():
        lines = []
        for trial, turn in in_turns(recast.trials(subset)):
            coded = subset == "eval" and turn % 2 == 1
            codec = names[turn // 2 % len(names)] if coded else "-"
            recast.audio(subset, trial, f"{FOLDERS[subset]}/{trial.utt}.flac", OF_5[codec] if coded else None)
            attack = "bonafide" if trial.attack == "-" else trial.attack
            tag = "-" if trial.attack == "-" else "mini"
            lines.append(
                f"{trial.speaker} {trial.utt} - {codec} {'1' if coded else '-'} - {tag} {attack} {trial.label} -"
            )
        write_lines(recast.out / name, lines)


def in_the_wild(recast: Recast) -> None:
    rows = []
    for number, (trial, _) in enumerate(in_turns(recast.trials("eval"))):
        recast.audio("eval", trial, f"{number}.wav")
        label = "bona-fide" if trial.label == "bonafide" else "spoof"
        rows.append(f"{number}.wav,{trial.speaker.replace('_', ' ')},{label}")
    write_lines(recast.out / "meta.csv", ["file,speaker,label", *rows])


def mlaad(recast: Recast) -> None:
    heading = (
        "path|original_file|language|is_original_language|duration|training_data|model_name|architecture|transcript"
    )
    rows: dict[str, list[str]] = {}
    bonafide = []
    for trial, _ in in_turns(recast.trials("eval")):
        if trial.label == "bonafide":
            recast.audio("eval", trial, f"real/{trial.utt}.flac")
            bonafide.append(f"real/{trial.utt}.flac,und,{trial.speaker}")
            continue
        model = f"mini model {trial.attack}"
        recast.audio("eval", trial, f"fake/und/{model}/{trial.utt}.wav")
        rows.setdefault(model, []).append(f"./fake/und/{model}/{trial.utt}.wav|-|und|False|-|mini|{model}|unknown|-")
    for model, lines in rows.items():
        write_lines(recast.out / "fake/und" / model / "meta.csv", [heading, *lines])
    write_lines(recast.out / "bonafide.csv", ["path,language,speaker", *bonafide])


def own(recast: Recast) -> None:
    """All sets in one list, with their own splits: its languages are few, so that others would not be alike."""
    rows = []
    for subset in FOLDERS:
        for trial in sorted(recast.trials(subset)):
            name = f"{subset}/{trial.utt}.flac"
            recast.audio(subset, trial, name)
            rows.append(f"{name},{trial.label},{trial.attack},{trial.speaker},{subset}")
    write_lines(recast.out / "list.csv", ["path,label,attack,speaker,split", *rows])


def partial(recast: Recast) -> None:
    """A sixth as many recordings as there are utterances, in a list of one's own with an RTTM beside it."""
    rows, stretches = [], {}
    for subset in FOLDERS:
        trials = recast.trials(subset)
        maker, count = Maker(recast.layout, subset, trials), -(-len(trials) // 6)
        progress = ProgressLog(count, "recordings", subset)
        for number in range(count):
            made = maker.make(number)
            name = f"{subset}_{number:05d}.flac"
            (recast.out / "flac").mkdir(parents=True, exist_ok=True)
            soundfile.write(recast.out / "flac" / name, made.samples, RATE, subtype="PCM_16")
            rows.append(f"flac/{name},{made.label},{made.attack},{made.speaker},{subset}")
            stretches[f"flac/{name}"] = made.spoofed
            progress.update()
        progress.close()
    write_lines(recast.out / "list.csv", ["path,label,attack,speaker,split", *rows])
    write_lines(recast.out / "list.rttm", lines_of(stretches))


LAYOUTS: dict[str, Callable[[Recast], None]] = {
    "asvspoof2021-la": la_2021,
    "asvspoof2021-df": df_2021,
    "asvspoof2021-pa": pa_2021,
    "asvspoof5": asvspoof5,
    "in_the_wild": in_the_wild,
    "mlaad": mlaad,
    "own": own,
    "partial": partial,
}


def part_of(corpus: str) -> str:
    """la or pa: of which mini corpus the layout is made."""
    return "pa" if corpus.endswith("-pa") else "la"


def recast(source: Path, corpus: str, out: Path) -> None:
    """Write the mini corpus in `source` to the folder `out`, which is not there, in the layout of `corpus`."""
    said = read_json(source / "corpus.json")
    LAYOUTS[corpus](Recast(source, part_of(corpus), out))
    wanted = known_corpora()["own" if corpus == "partial" else corpus]
    said.pop("recipe", None)
    name = "mini corpus, spoofed in part"
    if corpus != "partial":
        name = f"mini corpus as {wanted.name} {wanted.part}".rstrip()
    write_json(out / "corpus.json", {**said, "name": name, **({"recipe": wanted.part} if wanted.part else {})})
