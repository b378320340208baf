"""The confs of the mini corpus: which speaker, which attack and how many utterances go to which split."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.mini_corpus.attack import Attack, Draw, draw_of
from local.mini_corpus.attacks import attacks_by_method
from local.mini_corpus.replay.settings import ReplayConf
from local.mini_corpus.settings import LISTS, SPLITS, Chain, Counts, Package, Prompts, Speaker, Utterances, Verification
from utils import conf


@dataclass(frozen=True)
class AttackEntry:
    """One attack of the corpus: a method, what is drawn for each utterance, and how many utterances."""

    what: str  # in words, for the manifest's reader
    method: str  # a function of a module of attacks/
    draw: dict[str, Any]  # parameter -> Draw, or a conf's value for one
    utterances: Counts
    languages: tuple[str, ...] = ()  # TTS: of `prompts`

    def __post_init__(self) -> None:
        methods = attacks_by_method()
        if self.method not in methods:
            raise ValueError(f"method: no attack method {self.method!r}; known: {', '.join(sorted(methods))}")
        if self.attack.speaks != bool(self.languages):
            needed = "needs the languages of its prompts" if self.attack.speaks else "takes no languages: it copies"
            raise ValueError(f"languages: {self.method} {needed}")
        parameters = self.attack.parameters()
        for key in self.draw:
            if key not in parameters:
                raise ValueError(f"draw.{key}: {self.method} has no parameter {key!r}; it has {', '.join(parameters)}")
        for key, parameter in parameters.items():
            if key not in self.draw and parameter.default is inspect.Parameter.empty:
                raise ValueError(f"draw: the parameter {key!r} of {self.method} is missing")
        draws = {
            key: value if isinstance(value, Draw) else draw_of(value, parameters[key].annotation, f"draw.{key}")
            for key, value in self.draw.items()
        }
        object.__setattr__(self, "draw", draws)

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
    attacks: dict[str, AttackEntry]
    replay: ReplayConf | None = None  # of a PA corpus: its rooms and devices

    def __post_init__(self) -> None:
        if sorted(self.speakers) != sorted(SPLITS):
            raise ValueError(f"speakers: {', '.join(self.speakers)}: the splits {', '.join(SPLITS)} are expected")
        splits: dict[str, str] = {}
        for split, named in self.speakers.items():
            for name in {name for entry in named for name in (entry, named[entry].person or entry)}:
                if splits.setdefault(name, split) != split:
                    raise ValueError(
                        f"speakers: person {name} stands in more than one split: {splits[name]} and {split}"
                    )
        for where in [*(s for named in self.speakers.values() for s in named.values()), *self.prompts.values()]:
            if where.package not in self.packages:
                raise ValueError(f"packages: {where.package} is used but has no version")
        for name, entry in self.attacks.items():
            for language in entry.languages:
                if language not in self.prompts:
                    known = ", ".join(self.prompts)
                    raise ValueError(f"attacks.{name}: no prompts of the language {language!r}; known: {known}")

    @property
    def lists(self) -> tuple[str, ...]:
        """The protocols of the corpus. A replay corpus has no unknown attacks that eval_known would set apart."""
        return LISTS if self.recipe == "la" else SPLITS

    def persons(self) -> dict[str, str]:
        """Speaker entry -> the person who speaks there, split by split."""
        return {name: entry.person or name for split in SPLITS for name, entry in self.speakers[split].items()}


def load(path: str | Path) -> MiniCorpusConf:
    """The conf at `path`, its speakers sorted by name. `utterances_each` there is taken in the place of each speaker's
    own number. Raises UserError naming file, line and key for whatever is unknown, missing or wrong."""
    lines: dict[str, str] = {}
    values = conf.read_yaml(path, lines)
    each = values.pop("utterances_each", None)
    found = conf.build(MiniCorpusConf, {**values, "recipe": "la", "size": Path(path).stem}, lines, str(path))
    speakers = {
        split: {
            name: named[name] if each is None else dataclasses.replace(named[name], utterances=each)
            for name in sorted(named)
        }
        for split, named in found.speakers.items()
    }
    return dataclasses.replace(found, speakers=speakers)
