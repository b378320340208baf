"""The plan of a mini corpus: every utterance that is to be made, and where its file will stand."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from local.mini_corpus.chain import rng_of
from local.mini_corpus.conf import MiniCorpusConf
from local.mini_corpus.settings import LISTS, SPLITS, split_of

BONAFIDE = "-"  # the attack column of bona fide lines
# Of ASVspoof 2019 PA: room size, T60, talker-to-ASV distance
ENVIRONMENTS = tuple(a + b + c for a in "abc" for b in "abc" for c in "abc")
_LETTER = {"train": "T", "dev": "D", "eval": "E"}


@dataclass(frozen=True)
class Utterance:
    """One file to make."""

    name: str  # LA_T_1234567, PA_T_1234567
    split: str  # whose audio folder it is in
    trial_of: str  # the list, or "" for an enrolment utterance
    speaker: str  # LA_0001: who speaks, or who the attack claims to be
    attack: str  # A02, or BONAFIDE
    source: str  # bona fide speaker (as named in the conf) that it is or copies, "" for TTS
    number: int  # of that speaker's joined utterances; TTS: of the attack's utterances in its list
    environment: str = "-"  # PA: room size, T60, talker-to-ASV distance

    @property
    def key(self) -> str:
        return "bonafide" if self.attack == BONAFIDE else "spoof"


def _even_share(count: int, sizes: Sequence[int], rng: np.random.Generator) -> list[int]:
    """`count` split over groups in proportion to their sizes, none given more than it has."""
    total = sum(sizes)
    count = min(count, total)
    if not count:
        return [0] * len(sizes)
    exact = [count * size / total for size in sizes]
    share = [int(e) for e in exact]
    order = sorted(range(len(sizes)), key=lambda i: (share[i] - exact[i], rng.random()))
    for i in order[: count - sum(share)]:
        share[i] += 1
    return share


def plan(
    conf: MiniCorpusConf, available: Mapping[str, int], seed: int, added: Mapping[str, str] = MappingProxyType({})
) -> list[Utterance]:
    """Every utterance of the corpus. `available`: how many joined utterances each bona fide speaker has; `added`: the
    splits of the speakers that are not the conf's.

    Copy attacks take about the same part of every speaker's utterances and claim to be that speaker; what a TTS
    attack says claims the split's speakers in turn. Names are drawn, so that they tell neither class nor order.
    With added speakers the conf's own utterances are those without: there are as many more copies as there are more
    bona fide trials, and the TTS attacks, which copy nobody, say no more than before.
    """
    persons = conf.persons()
    first_of = {person: name for name, person in reversed(persons.items())}  # that entry has the person's enrolment
    labels = {
        person: f"{conf.recipe.upper()}_{n:04d}"
        for n, person in enumerate([*dict.fromkeys(persons.values()), *added], 1)
    }
    numbers = {name: labels[person] for name, person in persons.items()} | {name: labels[name] for name in added}
    own = {split: list(conf.speakers[split]) for split in SPLITS}
    more = {split: [name for name, to in added.items() if to == split] for split in SPLITS}
    trials = {
        split: {
            name: _trials(conf, split, available[name])
            if first_of[persons[name]] == name
            else list(range(available[name]))
            for name in own[split]
        }
        for split in SPLITS
    }
    more_trials = {split: {name: _trials(conf, split, available[name]) for name in more[split]} for split in SPLITS}

    drafts = _bonafide(trials, available, numbers)
    for attack, entry in conf.attacks.items():
        for listed in LISTS:
            split, count = split_of(listed), getattr(entry.utterances, listed)
            if entry.attack.speaks:
                claimed = list(dict.fromkeys(numbers[name] for name in own[split] or more[split]))
                # each turn begins one further, else the languages, which go in turn too, would keep to their speakers
                claims = [claimed[(i + i // len(claimed)) % len(claimed)] for i in range(count)]
                drafts += [Utterance("", split, listed, claim, attack, "", i) for i, claim in enumerate(claims)]
            else:
                rng = rng_of(seed, f"plan:{attack}:{listed}")
                drafts += _copies(attack, listed, count, trials[split], numbers, rng)
    more_drafts = _bonafide(more_trials, available, numbers) if added else []
    for attack, entry in conf.attacks.items() if added else ():
        for listed in LISTS:
            split, count = split_of(listed), getattr(entry.utterances, listed)
            have, further = (sum(map(len, those[split].values())) for those in (trials, more_trials))
            if not entry.attack.speaks:
                count = round(count * further / have) if have else count
                rng = rng_of(seed, f"plan:{attack}:{listed}:added")
                more_drafts += _copies(attack, listed, count, more_trials[split], numbers, rng)

    named = []
    for split in SPLITS:
        here = [draft for draft in drafts if draft.split == split]
        drawn = rng_of(seed, f"names:{split}").choice(9_000_000, size=len(here), replace=False) + 1_000_000
        further = [draft for draft in more_drafts if draft.split == split]
        spare = rng_of(seed, f"names:{split}:added").choice(9_000_000, size=len(here) + len(further), replace=False)
        spare = spare[~np.isin(spare + 1_000_000, drawn)][: len(further)] + 1_000_000
        for draft, number in zip([*here, *further], [*drawn, *spare]):
            named.append(dataclasses.replace(draft, name=f"{conf.recipe.upper()}_{_LETTER[split]}_{number}"))
    named.sort(key=lambda utterance: utterance.name)
    return named if conf.replay is None else _in_environments(named, set(added), seed)


def _in_environments(utterances: Sequence[Utterance], added: Collection[str], seed: int) -> list[Utterance]:
    """The utterances, sorted by name, in all environments in turn; a list's replays take their turns attack by attack,
    so that each attack meets all environments alike where its number is a multiple of theirs."""
    turns: dict[tuple, Iterator[str]] = {}

    def turn(name: str) -> Iterator[str]:
        rng = rng_of(seed, f"environments:{name}")
        while True:
            yield from (ENVIRONMENTS[i] for i in rng.permutation(len(ENVIRONMENTS)))

    placed = []
    for u in sorted(utterances, key=lambda u: (u.attack, u.name)):
        group = (u.split, u.trial_of, u.key, u.source in added)
        if group not in turns:
            turns[group] = turn(":".join(map(str, group)))
        placed.append(dataclasses.replace(u, environment=next(turns[group])))
    return sorted(placed, key=lambda u: u.name)


def _trials(conf: MiniCorpusConf, split: str, available: int) -> list[int]:
    """The numbers of a speaker's utterances that are trials: those after the enrolment's. A speaker with hardly any
    utterances keeps at least one."""
    enrolment = 0 if split == "train" else min(conf.verification.enrolment_utterances, available - 1)
    return list(range(enrolment, available))


def _bonafide(
    trials: Mapping[str, Mapping[str, Sequence[int]]], available: Mapping[str, int], numbers: Mapping[str, str]
) -> list[Utterance]:
    """Every bona fide utterance, not yet named. `trials`: split -> speaker -> numbers of the trials."""
    return [
        Utterance("", split, split if number in trials[split][name] else "", numbers[name], BONAFIDE, name, number)
        for split in trials
        for name in trials[split]
        for number in range(available[name])
    ]


def _copies(
    attack: str,
    listed: str,
    count: int,
    trials: Mapping[str, Sequence[int]],
    numbers: Mapping[str, str],
    rng: np.random.Generator,
) -> list[Utterance]:
    """`count` copies of bona fide trials, about the same part of each speaker's, not yet named."""
    drafts = []
    shares = _even_share(count, [len(those) for those in trials.values()], rng)
    for (name, those), share in zip(trials.items(), shares):
        chosen = rng.permutation(those)[:share]
        split = split_of(listed)
        drafts += [Utterance("", split, listed, numbers[name], attack, name, int(n)) for n in sorted(chosen)]
    return drafts
