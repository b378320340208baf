"""The confs of the mini corpus: which speaker, which attack and how many utterances go to which split."""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.mini_corpus.attack import Attack, Draw, draw_of
from local.mini_corpus.attacks import attacks_by_method
from local.mini_corpus.replay.settings import ReplayConf
from local.mini_corpus.settings import LISTS, SPLITS, Chain, Counts, Package, Prompts, Speaker, Utterances, Verification
from utils import conf
from utils.cli import UserError


@dataclass(frozen=True)
class AttackEntry:
    """One attack of the corpus: a method, what is drawn for each utterance, and how many utterances."""

    what: str  # in words, for the manifest's reader
    method: str  # a function of copy_attacks.py, tts_attacks.py or neural_tts.py
    draw: dict[str, Draw]
    utterances: Counts
    languages: tuple[str, ...] = ()  # TTS: of `prompts`

    @property
    def attack(self) -> Attack:
        return attacks_by_method()[self.method]


@dataclass(frozen=True)
class MiniCorpusConf:
    recipe: str  # la or pa
    size: str
    packages: dict[str, Package]
    utterance: Utterances
    chain: Chain
    verification: Verification
    speakers: dict[str, dict[str, Speaker]]  # split -> name -> where; those of one `person` are one protocol speaker
    prompts: dict[str, Prompts]  # language -> where
    attacks: dict[str, AttackEntry] = field(default_factory=dict)
    replay: ReplayConf | None = None  # of a PA corpus: its rooms and devices

    @property
    def lists(self) -> tuple[str, ...]:
        """The protocols of the corpus. A replay corpus has no unknown attacks that eval_known would set apart."""
        return LISTS if self.recipe == "la" else SPLITS

    def persons(self) -> dict[str, str]:
        """Speaker entry -> the person who speaks there, split by split."""
        return {name: entry.person or name for split in SPLITS for name, entry in self.speakers[split].items()}


def load(path: str | Path) -> MiniCorpusConf:
    """The conf at `path`. Raises UserError naming file, line and key for whatever is unknown, missing or wrong."""
    lines: dict[str, str] = {}
    values = conf.read_yaml(path, lines)
    source = str(path)
    each = values.pop("utterances_each", None)  # in the place of every speaker's own number
    only(values, ["packages", "utterance", "chain", "verification", "speakers", "prompts", "attacks"], source)

    def group(key: str, schema: type, at: dict[str, Any]):
        name = key.rpartition(".")[2]
        if not isinstance(at.get(name), dict):
            raise UserError(f"{lines.get(key, source)}: {key}: a group of keys is expected here")
        return conf.build(schema, at[name], lines, source, f"{key}.")

    packages = {
        name: Package(entry) if isinstance(entry, str) else group(f"packages.{name}", Package, values["packages"])
        for name, entry in values["packages"].items()
    }
    only(values["speakers"], SPLITS, f"{source}: speakers")
    if each is not None:
        for named in values["speakers"].values():
            for name in named:
                named[name]["utterances"] = each
    speakers = {
        split: {name: group(f"speakers.{split}.{name}", Speaker, named) for name in sorted(named)}
        for split, named in values["speakers"].items()
    }
    names = [name for named in speakers.values() for name in named]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{source}: speaker {name} stands in more than one split")
    splits: dict[str, str] = {}
    for split, named in speakers.items():
        for name, speaker in named.items():
            person = speaker.person or name
            if splits.setdefault(person, split) != split:
                raise UserError(
                    f"{source}: person {person} stands in more than one split: {splits[person]} and {split}"
                )
    prompts = {language: group(f"prompts.{language}", Prompts, values["prompts"]) for language in values["prompts"]}
    for where in [*(s for named in speakers.values() for s in named.values()), *prompts.values()]:
        if where.package not in packages:
            raise UserError(f"{source}: {where.package} is used but has no version under packages:")
    return MiniCorpusConf(
        recipe="la",
        size=Path(path).stem,
        packages=packages,
        utterance=group("utterance", Utterances, values),
        chain=group("chain", Chain, values),
        verification=group("verification", Verification, values),
        speakers=speakers,
        prompts=prompts,
        attacks={name: _attack_entry(name, entry, lines, source, prompts) for name, entry in values["attacks"].items()},
    )


def only(values: Any, keys: typing.Iterable[str], source: str) -> None:
    """Raises UserError unless `values` has just these keys."""
    keys = list(keys)
    if not isinstance(values, dict):
        raise UserError(f"{source}: a group with the keys {', '.join(keys)} is expected here")
    for key in values:
        if key not in keys:
            raise UserError(f"{source}: unknown key {key!r}; known here: {', '.join(keys)}")
    for key in keys:
        if key not in values:
            raise UserError(f"{source}: the key {key!r} is missing")


@dataclass(frozen=True)
class _PlainEntry:
    """An AttackEntry less `draw`, whose keys depend on the method."""

    what: str
    method: str
    utterances: Counts
    languages: tuple[str, ...] = ()


def _attack_entry(
    name: str, entry: Any, lines: dict[str, str], source: str, prompts: dict[str, Prompts]
) -> AttackEntry:
    where = lines.get(f"attacks.{name}", source)

    if not isinstance(entry, dict):
        raise UserError(f"{where}: attacks.{name}: a group of keys is expected here")
    entry = dict(entry)
    drawn = entry.pop("draw", {})
    plain = conf.build(_PlainEntry, entry, lines, source, f"attacks.{name}.")
    methods = attacks_by_method()
    if plain.method not in methods:
        raise UserError(f"{where}: no attack method {plain.method!r}; known: {', '.join(sorted(methods))}")
    attack = methods[plain.method]
    for language in plain.languages:
        if language not in prompts:
            raise UserError(f"{where}: no prompts of the language {language!r}; known: {', '.join(prompts)}")
    if attack.speaks != bool(plain.languages):
        needed = "needs the `languages:` of its prompts" if attack.speaks else "takes no `languages:`: it copies"
        raise UserError(f"{where}: {name}: {plain.method} {needed}")
    parameters = attack.parameters()
    for key in drawn:
        if key not in parameters:
            raise UserError(
                f"{lines.get(f'attacks.{name}.draw.{key}', where)}: {plain.method} has no parameter {key!r}; "
                f"it has {', '.join(parameters)}"
            )
    for key, parameter in parameters.items():
        if key not in drawn and parameter.default is inspect.Parameter.empty:
            raise UserError(f"{where}: {name}: the parameter {key!r} of {plain.method} is missing under draw:")
    draws = {
        key: draw_of(value, parameters[key].annotation, lines.get(f"attacks.{name}.draw.{key}", where))
        for key, value in drawn.items()
    }
    return AttackEntry(plain.what, plain.method, draws, plain.utterances, plain.languages)
