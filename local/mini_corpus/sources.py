"""What of a mini corpus's sources can be had on this machine: packages of speech, synthesizers that work."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from local.mini_corpus.attack import RATE, in_fresh_process
from local.mini_corpus.conf import AttackEntry, MiniCorpusConf
from local.mini_corpus.debian import DebianPackage, DebianPackages, PackageMissing
from local.mini_corpus.python_packages import GroupMissing, PythonPackages, put_on_path
from local.mini_corpus.settings import SPLITS
from utils.cli import UserError, warn


@dataclass(frozen=True)
class Sources:
    """What could be had, and what is lost without the rest."""

    packages: dict[str, DebianPackage]
    conf: MiniCorpusConf  # less the speakers, languages and attacks that cannot be had
    python_paths: tuple[str, ...]
    synthesizers: tuple[str, ...]  # NAME==VERSION of every Python package that the attacks use
    lost: tuple[str, ...]


def gather(conf: MiniCorpusConf, downloads: Path, requirements: Path, added_to: Collection[str] = ()) -> Sources:
    """Fetch every package that the conf names. What cannot be had is left out with one line for each reason; UserError
    if the rest is no corpus: a split without speakers (but those in `added_to` have others), fewer than two attacks, or
    none to train on."""
    debian, python = DebianPackages(downloads), PythonPackages(downloads, requirements)
    packages: dict[str, DebianPackage] = {}
    losses: dict[str, list[str]] = {}  # reason -> what is lost by it

    def lose(what: str, why: str) -> None:
        losses.setdefault(why, []).append(what)

    used = {s.package for named in conf.speakers.values() for s in named.values()}
    used |= {conf.prompts[language].package for entry in conf.attacks.values() for language in entry.languages}
    reasons: dict[str, str] = {}
    for name in sorted(used):
        try:
            packages[name] = debian.get(name, conf.packages[name].version)
        except PackageMissing as missing:
            reasons[name] = str(missing)
    speakers: dict[str, dict] = {split: {} for split in SPLITS}
    for split, named in conf.speakers.items():
        for name, speaker in named.items():
            if speaker.package in packages:
                speakers[split][name] = speaker
            else:
                lose(f"{split} speaker {name}", reasons[speaker.package])

    paths: dict[str, str] = {}
    attacks: dict[str, AttackEntry] = {}
    tried: list[tuple] = []  # that work; the nine replays are one function
    for name, entry in conf.attacks.items():
        languages = tuple(lang for lang in entry.languages if conf.prompts[lang].package in packages)
        for language in entry.languages:
            if language not in languages:
                lose(f"the {language} prompts of attack {name}", reasons[conf.prompts[language].package])
        if entry.languages and not languages:
            lose(f"attack {name} ({entry.what})", "it has no prompts left")
            continue
        for group in entry.attack.needs:
            try:
                if group not in paths and group not in reasons:
                    paths[group] = str(python.get(group))
            except GroupMissing as missing:
                reasons[group] = str(missing)
        lacking = [group for group in entry.attack.needs if group not in paths]
        if lacking:
            lose(f"attack {name} ({entry.what})", reasons[lacking[0]])
            continue
        same = (entry.method, tuple(entry.draw.items()), languages)
        try:
            if same not in tried:
                in_fresh_process(_try_attack, entry, languages, tuple(paths.values()))
            tried.append(same)
        except UserError:
            raise
        except Exception as failure:  # whatever a package raises that does not fit this machine
            what = "its package does" if entry.attack.needs else "it does"
            lose(f"attack {name} ({entry.what})", f"{what} not work here: {failure!r}")
            continue
        attacks[name] = dataclasses.replace(entry, languages=languages)

    lost = warn_of(losses)
    empty = [split for split in SPLITS if not speakers[split] and split not in added_to]
    if empty:
        raise UserError(
            f"no bona fide speech for {', '.join(empty)}: the Debian packages {', '.join(sorted(used))} are needed. "
            f"Fix the network or apt's sources, or lay their .deb files into {debian.folder}, or give speech of your "
            "own with --bonafide-dir DIR:SPLIT"
        )
    in_training = [name for name, entry in attacks.items() if entry.utterances.train]
    if len(attacks) < 2 or not in_training:
        raise UserError(
            f"too few attacks are left ({', '.join(attacks) or 'none'}): the reasons stand above; "
            "most often pip cannot reach a package index"
        )
    return Sources(
        packages,
        dataclasses.replace(conf, speakers=speakers, attacks=attacks),
        tuple(paths.values()),
        tuple(sorted({pin for entry in attacks.values() for pin in python.pins(entry.attack.needs)})),
        lost,
    )


def warn_of(losses: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Warn of what is lost, one line for each reason; a text for each reason. losses: by reason."""
    lost = {why: ", ".join(what) for why, what in losses.items()}
    for why, what in lost.items():
        warn(f"left out: {what}: {why}")
    return tuple(lost.values())


def _try_attack(entry: AttackEntry, languages: Sequence[str], python_paths: Sequence[str]) -> None:
    """One short run of an attack: an installed package need not work on this machine."""
    put_on_path(python_paths)
    rng = np.random.default_rng(0)
    drawn = {key: draw(rng) for key, draw in entry.draw.items()}
    if entry.attack.speaks:
        entry.attack.function(["uno"], languages[0], rng, **drawn)
    else:
        pulses = np.sin(2 * np.pi * 120 * np.arange(RATE) / RATE) ** 15 + 0.01 * rng.standard_normal(RATE)
        entry.attack.function(0.3 * pulses, rng, **drawn)
