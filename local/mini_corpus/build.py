"""Plans a mini corpus and makes it: what can be had, which utterances, their files, the lists.

A corpus under way stands in OUT/.LA.building: LA/ grows into the corpus, work/ holds what goes on where an
interrupted run stopped. Only whole files have their names, so a file that is there is not made again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import io
import json
import os
import re
import shutil
import signal
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from fnmatch import fnmatch
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from local.mini_corpus import VERSION, frozen
from local.mini_corpus.added_speech import (
    AddedFolder,
    AddedSpeaker,
    entries,
    join_added,
    one_word,
    speakers_of,
    with_utterances,
)
from local.mini_corpus.asv import embed
from local.mini_corpus.attack import RATE, Unusable, die_with_parent, in_fresh_process
from local.mini_corpus.chain import rng_of, through_chain
from local.mini_corpus.conf import SPLITS, AttackEntry, MiniCorpusConf
from local.mini_corpus.debian import DebianPackage, DebianPackages, PackageMissing
from local.mini_corpus.losses import Losses
from local.mini_corpus.planning import BONAFIDE, Utterance, flac_path, plan
from local.mini_corpus.python_packages import GroupMissing, PythonPackages, put_on_path
from local.mini_corpus.speech import Joined, check_usable, join_items, prepare_item, read_file, read_prompts
from local.mini_corpus.writers import write_asv, write_manifest, write_protocols
from utils.cli import ProgressLog, UserError, warn
from utils.files import aside, read_json, sha256_of, write_aside, write_json

_LONGEST_PROMPT = 10  # words: a TTS utterance takes 3.5 s at most
_SKIPPED_AT_MOST = 0.1  # of an attack's utterances


@dataclass(frozen=True)
class Sources:
    """What could be had, and what is lost without the rest."""

    packages: dict[str, DebianPackage]
    conf: MiniCorpusConf  # less the speakers, languages and attacks that cannot be had
    python_paths: tuple[str, ...]
    synthesizers: tuple[str, ...]  # NAME==VERSION of every Python package that the attacks use
    lost: tuple[str, ...]


# ---------------------------------------------------------------- what can be had


def gather(conf: MiniCorpusConf, downloads: Path, requirements: Path, added_to: Collection[str] = ()) -> Sources:
    """Fetch every package that the conf names. What cannot be had is left out with one line for each reason; UserError
    if the rest is no corpus: a split without speakers (but those in `added_to` have others), fewer than two attacks, or
    none to train on."""
    debian, python = DebianPackages(downloads), PythonPackages(downloads, requirements)
    packages: dict[str, DebianPackage] = {}
    lose = Losses()
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
        try:
            in_fresh_process(_try_attack, entry, languages, tuple(paths.values()))
        except UserError:
            raise
        except Exception as failure:  # whatever a package raises that does not fit this machine
            what = "its package does" if entry.attack.needs else "it does"
            lose(f"attack {name} ({entry.what})", f"{what} not work here: {failure!r}")
            continue
        attacks[name] = dataclasses.replace(entry, languages=languages)

    lost = lose.tell()
    empty = [split for split in SPLITS if not speakers[split] and split not in added_to]
    if empty:
        raise UserError(
            f"no bona fide speech for {', '.join(empty)}: the Debian packages {', '.join(sorted(used))} are needed. "
            f"Mend the network or apt's sources, or lay their .deb files into {debian.folder}, or give speech of your "
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


# ---------------------------------------------------------------- bona fide utterances, before the chain


def speaker_files(folder: Path, speaker) -> list[Path]:
    """A speaker's files, sorted, less those that hold no speech."""
    files = sorted({path for glob in speaker.globs for path in folder.glob(glob) if path.is_file()})
    return [
        path
        for path in files
        if not any(fnmatch(str(path.relative_to(folder)), "*" + pattern) for pattern in speaker.leave_out)
    ]


def join_speaker(name: str, speaker, folder: Path, out: Path, seed: int, conf: MiniCorpusConf) -> int:
    """Write a speaker's joined utterances to OUT.npy (one after another, float32) and OUT.json (ends and files).

    Returns how many there are. The files are taken in a random order, each in one utterance.
    """
    index = out.with_suffix(".json")
    if index.exists():
        return len(read_json(index)["ends"])
    files = speaker_files(folder, speaker)
    if not files:
        raise UserError(
            f"{folder}: no file matches {' '.join(speaker.globs)} (speaker {name}); does another version have it?"
        )
    rng = rng_of(seed, f"join:{name}")

    def items() -> Iterable[tuple[str, np.ndarray]]:
        for i in rng.permutation(len(files)):
            speech = read_file(files[i])
            item = None if speech is None else prepare_item(speech, conf.utterance)
            if item is not None:
                yield str(files[i].relative_to(folder)), item

    made = []
    for joined in join_items(items(), rng_of(seed, f"lengths:{name}"), conf.utterance):
        made.append(joined)
        if len(made) == speaker.utterances:
            break
    if not made:
        raise UserError(
            f"{folder}: {' '.join(speaker.globs)} holds too little speech for one utterance (speaker {name})"
        )
    _write_joined(out, made)
    return len(made)


def _write_joined(out: Path, made: Sequence[Joined], **more: str) -> None:
    if made:
        with write_aside(out.with_suffix(".npy"), "wb") as handle:
            np.save(handle, np.concatenate([j.speech for j in made]).astype(np.float32))
    ends = np.cumsum([len(j.speech) for j in made]).tolist()
    write_json(out.with_suffix(".json"), {"ends": ends, "items": [list(j.items) for j in made], **more})


def join_added_speaker(speaker: AddedSpeaker, out: Path, seed: int, conf: MiniCorpusConf) -> int:
    """As join_speaker, for a speaker of an added folder; 0 where there is too little speech."""
    index = out.with_suffix(".json")
    if index.exists():
        return len(read_json(index)["ends"])
    made = join_added(speaker, seed, conf.utterance)
    _write_joined(out, made, added=f"added {one_word(speaker.folder.name, ' ')}")
    return len(made)


# ---------------------------------------------------------------- one file


@dataclass(frozen=True)
class Workshop:
    """What a worker needs to make any utterance."""

    conf: MiniCorpusConf
    seed: int
    building: Path
    package_folders: dict[str, str]
    package_names: dict[str, str]  # package -> "name version", for the manifest
    python_paths: tuple[str, ...]

    def flac(self, utterance: Utterance) -> Path:
        return flac_path(self.building / "LA", utterance.split, utterance.name)

    def row(self, utterance: Utterance) -> Path:
        return self.building / "work" / "rows" / f"{utterance.name}.json"


_workshop: Workshop | None = None  # of a worker process


def _start_worker(workshop: Workshop, parent: int) -> None:
    global _workshop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the workers
    die_with_parent(parent)
    put_on_path(workshop.python_paths)
    _workshop = workshop


@functools.lru_cache(maxsize=64)
def _joined(work: str, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    stem = Path(work) / "joined" / name
    return np.load(stem.with_suffix(".npy"), mmap_mode="r"), read_json(stem.with_suffix(".json"))


def _bonafide_speech(shop: Workshop, name: str, number: int) -> tuple[np.ndarray, str]:
    """A joined utterance, and its package and files."""
    speech, index = _joined(str(shop.building / "work"), name)
    start = index["ends"][number - 1] if number else 0
    origin = index.get("added")
    if origin is None:
        speaker = next(named[name] for named in shop.conf.speakers.values() if name in named)
        origin = shop.package_names[speaker.package]
    source = f"{origin}: {' '.join(index['items'][number])}"
    return np.array(speech[start : index["ends"][number]], np.float64), source


@functools.lru_cache(maxsize=64)
def _prompts(file: str) -> list[tuple[str, str]]:
    return read_prompts(Path(file))


def texts_of_split(texts: Iterable[tuple[str, str]], split: str) -> list[tuple[str, str]]:
    """The (name, text) that one split may say: every third of the texts that differ in more than case and punctuation,
    so that no text is said in two splits."""
    distinct: dict[str, tuple[str, str]] = {}
    for name, text in texts:
        distinct.setdefault(" ".join(re.findall(r"\w+", text.lower())), (name, text))
    return list(distinct.values())[SPLITS.index(split) :: len(SPLITS)]


def _words(prompts: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Each prompt's words of two letters or more, under the prompt's name."""
    return ((name, word) for name, text in prompts for word in text.split() if sum(c.isalpha() for c in word) > 1)


def _speak(shop: Workshop, utterance: Utterance, entry: AttackEntry, drawn: dict) -> tuple[np.ndarray, str, str]:
    """A TTS utterance, its source, and its language: prompts (or, every other time, single words of them) joined."""
    rng = rng_of(shop.seed, f"prompts:{utterance.attack}:{utterance.trial_of}:{utterance.number}")
    language = entry.languages[utterance.number % len(entry.languages)]
    where = shop.conf.prompts[language]
    prompts = _prompts(str(Path(shop.package_folders[where.package]) / where.file))
    words_only = bool(rng.integers(2))
    begins = ((name, " ".join(text.split()[:_LONGEST_PROMPT])) for name, text in prompts)
    sayable = texts_of_split(_words(prompts) if words_only else begins, utterance.split)

    def texts() -> Iterable[tuple[str, str]]:
        while True:
            for i in rng.permutation(len(sayable)):
                yield sayable[i]

    queue = iter(texts())
    items: list[tuple[str, np.ndarray]] = []
    for _ in range(12):
        batch = [next(queue) for _ in range(4 if words_only else 1)]
        spoken = entry.attack.function([text for _, text in batch], language, rng, **drawn)
        for (name, _), speech in zip(batch, spoken):
            item = prepare_item(speech, shop.conf.utterance)
            if item is not None:
                items.append((name, item))
        # the same numbers for each try, so that the length does not depend on how much was spoken at first
        lengths = rng_of(shop.seed, f"lengths:{utterance.name}")
        for joined in join_items(items, lengths, shop.conf.utterance):
            return joined.speech, f"{shop.package_names[where.package]}: {' '.join(joined.items)}", language
    raise Unusable("its voice said too little")


def make_utterance(utterance: Utterance) -> None:
    """Make one file and its row, unless they are there. An unusable attack leaves a row that tells why."""
    shop = _workshop
    row, flac = shop.row(utterance), shop.flac(utterance)
    if row.exists():
        return
    parameters: dict[str, Any] = {}
    try:
        if utterance.attack == BONAFIDE:
            speech, source = _bonafide_speech(shop, utterance.source, utterance.number)
        else:
            entry = shop.conf.attacks[utterance.attack]
            rng = rng_of(shop.seed, f"{utterance.attack}:{utterance.trial_of}:{utterance.source}:{utterance.number}")
            parameters = {key: draw(rng) for key, draw in entry.draw.items()}
            if entry.attack.speaks:
                speech, source, parameters["language"] = _speak(shop, utterance, entry, dict(parameters))
            else:
                original, source = _bonafide_speech(shop, utterance.source, utterance.number)
                speech = entry.attack.function(original, rng, **parameters)
                if len(speech) != len(original):
                    raise RuntimeError(f"{entry.method} made {len(speech)} samples of {len(original)}")
            check_usable(speech)
    except Unusable as unusable:
        _write_quickly(row, json.dumps({"skipped": str(unusable)}).encode())
        return
    except Exception as error:
        error.add_note(f"(while making {utterance})")
        raise
    samples = through_chain(speech, rng_of(shop.seed, flac.name), shop.conf.chain)
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, RATE, format="FLAC", subtype="PCM_16")
    _write_quickly(flac, encoded.getvalue())
    made = {
        "sha256": hashlib.sha256(encoded.getvalue()).hexdigest(),
        "samples": len(samples),
        "source": source,
        "parameters": parameters,
    }
    _write_quickly(row, json.dumps(made).encode())


def _write_quickly(path: Path, data: bytes) -> None:
    """write_aside less its wait for the disk, which for thousands of small files is longer than making them. What a
    power cut spoils, the checksums tell when the files are read for the speaker verifier."""
    temporary = aside(path)
    temporary.write_bytes(data)
    temporary.replace(path)


def embed_file(path: Path, sha256: str) -> np.ndarray:
    """The speaker embedding of a file. Raises UserError if it is not the one that was made."""
    if sha256_of(path) != sha256:
        raise UserError(
            f"{path}: not as it was made (a power cut, a full disk?); remove {path.parents[3]}, start again"
        )
    return embed(soundfile.read(path, dtype="int16")[0])


def _embed_task(task: tuple[Path, str]) -> np.ndarray:
    return embed_file(*task)


def _join_task(task: tuple) -> int:
    return join_speaker(*task)


def _join_added_task(task: tuple) -> int:
    return join_added_speaker(*task)


# ---------------------------------------------------------------- the whole


class _Crew:
    """Worker processes; their death is a UserError, an interrupt ends them."""

    def __init__(self, workshop: Workshop, jobs: int):
        # one thread per worker: sums in another order would be other numbers
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[variable] = "1"
        self._pool = ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker, (workshop, os.getpid()))

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, function: Callable, tasks: Sequence, unit: str, desc: str, chunk: int = 1) -> list:
        progress = ProgressLog(len(tasks), unit, desc, every_seconds=10.0)
        results = []
        try:
            for result in self._pool.map(function, tasks, chunksize=chunk):
                results.append(result)
                progress.update()
        except BrokenProcessPool:
            raise UserError(
                f"{desc}: a worker process ended before its time; was it short of memory? Start again to go on, with "
                "fewer --nj if so"
            ) from None
        finally:
            progress.close()
        return results


def fingerprint(conf: MiniCorpusConf) -> str:
    """A name for every value of the conf together."""
    return f"{zlib.crc32(json.dumps(_plain(conf), sort_keys=True).encode()):08x}"


def _plain(value: Any) -> Any:
    """A conf as nested dicts, lists and scalars."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def what_is_there(out: Path) -> dict[str, Any] | None:
    """corpus.json of the corpus at OUT/LA, None where there is none. Raises UserError for something else there."""
    la = out / "LA"
    if not la.exists():
        return None
    if not (la / "corpus.json").exists():
        raise UserError(f"{la}: is there, but no mini corpus; give another folder")
    return read_json(la / "corpus.json")


def build(
    conf: MiniCorpusConf,
    seed: int,
    downloads: Path,
    out: Path,
    requirements: Path,
    jobs: int,
    added: Sequence[AddedFolder] = (),
) -> None:
    """Build OUT/LA, or go on with it where an interrupted run stopped; say so and return if it is there."""
    with _locked(out / ".LA.lock"):
        _build(conf, seed, downloads, out, requirements, jobs, added)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two recipes that start at once must not make the same thing together."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process works in {path.parent}; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(
    conf: MiniCorpusConf,
    seed: int,
    downloads: Path,
    out: Path,
    requirements: Path,
    jobs: int,
    added: Sequence[AddedFolder],
) -> None:
    wanted = {"name": "mini corpus", "version": VERSION, "size": conf.size, "seed": seed, "recipe": "LA"}
    wanted["conf"] = fingerprint(conf)
    wanted["additions"] = "; ".join(map(str, added)) or "none"
    there = what_is_there(out)
    if there is not None:
        there = {"additions": "none", **there}
        other = [f"{key} {there.get(key)} instead of {wanted[key]}" for key in wanted if there.get(key) != wanted[key]]
        if other:
            raise UserError(
                f"{out / 'LA'}: holds another corpus ({', '.join(other)}); remove it, or give another folder"
            )
        lacking = "; ".join(there[key] for key in ("incomplete", "other_sources") if there.get(key))
        lacking = f" ({lacking}; remove it to build it anew)" if lacking else ""
        print(f"{out / 'LA'}: the mini corpus, version {VERSION}, size {conf.size}, seed {seed}, is there{lacking}")
        return

    began = time.monotonic()
    added_speakers = speakers_of(added)
    with _locked(downloads / ".mini_corpus.lock"):
        sources = gather(conf, downloads, requirements, {speaker.split for speaker in added_speakers})
    building = out / ".LA.building"
    made_from = {
        "corpus": wanted,
        "lost": list(sources.lost),
        "packages": {name: package.sha256 for name, package in sorted(sources.packages.items())},
        "synthesizers": list(sources.synthesizers),
    }
    state = building / "work" / "made_from.json"
    if building.exists() and (not state.exists() or read_json(state) != made_from):
        print(f"{building}: was begun from other sources or another conf; starting anew", flush=True)
        shutil.rmtree(building)
    elif building.exists():
        print(f"{building}: going on with what an interrupted run has made", flush=True)
    write_json(state, made_from)
    (building / "work" / "rows").mkdir(exist_ok=True)
    for split in SPLITS:
        flac_path(building / "LA", split, "any").parent.mkdir(parents=True, exist_ok=True)

    conf = sources.conf
    shop = Workshop(
        conf=conf,
        seed=seed,
        building=building,
        package_folders={name: str(package.folder) for name, package in sources.packages.items()},
        package_names={name: package.as_source() for name, package in sources.packages.items()},
        python_paths=sources.python_paths,
    )
    with _Crew(shop, jobs) as crew:
        named = [(name, speaker) for split in SPLITS for name, speaker in conf.speakers[split].items()]
        tasks = [
            (name, speaker, sources.packages[speaker.package].folder, building / "work" / "joined" / name, seed, conf)
            for name, speaker in named
        ]
        counts = crew.run(_join_task, tasks, "speakers", "joining bona fide speech")
        available = {name: count for (name, _), count in zip(named, counts)}
        if added_speakers:
            tasks = [(speaker, building / "work" / "joined" / speaker.key, seed, conf) for speaker in added_speakers]
            counts = crew.run(_join_added_task, tasks, "speakers", "joining added speech")
            available.update((speaker.key, count) for speaker, count in zip(added_speakers, counts))
            added_speakers = with_utterances(added_speakers, counts)
        utterances = plan(conf, available, seed, {speaker.key: speaker.split for speaker in added_speakers})
        crew.run(make_utterance, utterances, "utterances", "making the corpus", chunk=4)
        rows = {utterance.name: read_json(shop.row(utterance)) for utterance in utterances}
        _tell_skipped(utterances, rows, {speaker.key for speaker in added_speakers}, building)
        made = [utterance for utterance in utterances if "skipped" not in rows[utterance.name]]
        files = [(shop.flac(utterance), rows[utterance.name]["sha256"]) for utterance in made]
        embeddings = crew.run(_embed_task, files, "files", "speaker embeddings", chunk=16)

    la = building / "LA"
    write_protocols(la, made)
    write_asv(la, made, dict(zip((u.name for u in made), embeddings)), conf, seed)
    write_manifest(la / "manifest.tsv", made, rows, {speaker.key: speaker.label for speaker in added_speakers})
    told = {"incomplete": f"incomplete: without {'; '.join(sources.lost)}"} if sources.lost else {}
    others = [package.instead() for package in sources.packages.values() if package.instead()]
    if others:
        told["other_sources"] = f"other sources: {', '.join(sorted(others))}"
    corpus = {
        **wanted,
        **told,
        "sources": sorted(shop.package_names.values()),
        "synthesizers": list(sources.synthesizers),
        "attacks": {name: entry.what for name, entry in conf.attacks.items()},
    }
    checksums = [(utterance, rows[utterance.name]["sha256"]) for utterance in made]
    corpus["audio_digest"] = frozen.audio_digest((utterance.name, sha256) for utterance, sha256 in checksums)
    if added:
        keys = {speaker.key for speaker in added_speakers}
        corpus["added"] = entries(added, available, added_speakers)
        corpus["audio_digest_less_added"] = frozen.audio_digest(
            (utterance.name, sha256) for utterance, sha256 in checksums if utterance.source not in keys
        )
    write_json(la / "corpus.json", corpus)
    la.replace(out / "LA")
    shutil.rmtree(building)
    seconds = sum(rows[utterance.name]["samples"] for utterance in made) / RATE
    print(
        f"{out / 'LA'}: mini corpus version {VERSION}, size {conf.size}, seed {seed}: {len(made)} utterances, "
        f"{seconds / 60:.0f} min of speech, made in {time.monotonic() - began:.0f} s"
        + "".join(f"; {text}" for text in told.values()),
        flush=True,
    )
    print(f"{out / 'LA'}: {frozen.verdict(corpus, frozen.read_known())}", flush=True)


def _tell_skipped(
    utterances: Sequence[Utterance], rows: Mapping[str, dict], added: Collection[str], building: Path
) -> None:
    """Warn of what was skipped. UserError if an attack could not make more than a tenth of the conf's own utterances;
    copies of `added` speakers, whose speech may be whatever it is, only warn."""
    planned: Counter = Counter()
    skipped: dict[tuple[str, bool], Counter] = defaultdict(Counter)
    for utterance in utterances:
        key = (utterance.attack, utterance.source in added)
        planned[key] += 1
        if "skipped" in rows[utterance.name]:
            skipped[key][rows[utterance.name]["skipped"]] += 1
    for (attack, of_added), reasons in sorted(skipped.items()):
        count, of = reasons.total(), planned[attack, of_added]
        what = "copies of added speech" if of_added else "utterances"
        text = f"attack {attack}: {count} of {of} {what} could not be made ({', '.join(reasons)})"
        if not of_added and count > _SKIPPED_AT_MOST * of:
            raise UserError(
                f"{text}; its package does not work here as it should: take the attack out of the conf, or mend what "
                f"is wrong, remove {building} and start again"
            )
        warn(text)
