"""Plans a mini corpus and makes it: what can be had, which utterances, their files, the lists.

A corpus under way stands in OUT/.LA.building (or .PA.building): LA/ grows into the corpus, work/ holds what goes on
where an interrupted run stopped. Only whole files have their names, so a file that is there is not made again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import signal
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from filelock import FileLock, Timeout

from local.layout import Layout
from local.mini_corpus import VERSION, frozen, synthesis
from local.mini_corpus.added_speech import AddedFolder, entries, speakers_of, with_utterances
from local.mini_corpus.asv import embed
from local.mini_corpus.attack import RATE, Unusable, die_with_parent
from local.mini_corpus.conf import MiniCorpusConf
from local.mini_corpus.joining import join_added_speaker, join_speaker
from local.mini_corpus.planning import Utterance, plan
from local.mini_corpus.python_packages import put_on_path
from local.mini_corpus.replay import making
from local.mini_corpus.settings import SPLITS
from local.mini_corpus.sources import gather
from local.mini_corpus.workshop import Workshop
from local.mini_corpus.writers import write_asv, write_manifest, write_protocols
from utils.cli import ProgressLog, UserError, warn
from utils.files import aside, read_json, sha256_of, write_json

_SKIPPED_AT_MOST = 0.1  # of an attack's utterances


# ---------------------------------------------------------------- one file


_workshop: Workshop | None = None  # of a worker process


def _start_worker(workshop: Workshop, parent: int) -> None:
    global _workshop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the workers
    die_with_parent(parent)
    put_on_path(workshop.python_paths)
    _workshop = workshop


def make_utterance(utterance: Utterance) -> None:
    """Make one file and its row, unless they are there. An unusable attack leaves a row that tells why."""
    shop = _workshop
    row, flac = shop.row(utterance), shop.flac(utterance)
    if row.exists():
        return
    try:
        made = (synthesis if shop.conf.recipe == "la" else making).make(shop, utterance)
    except Unusable as unusable:
        _write_quickly(row, json.dumps({"skipped": str(unusable)}).encode())
        return
    except Exception as error:
        error.add_note(f"(while making {utterance})")
        raise
    encoded = io.BytesIO()
    soundfile.write(encoded, made.samples, RATE, format="FLAC", subtype="PCM_16")
    _write_quickly(flac, encoded.getvalue())
    made_row = {
        "sha256": hashlib.sha256(encoded.getvalue()).hexdigest(),
        "samples": len(made.samples),
        "source": made.source,
        "parameters": made.parameters,
    }
    _write_quickly(row, json.dumps(made_row).encode())


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
    """A name for every value of the conf together (the recipe is told beside it)."""
    values = {key: value for key, value in _plain(conf).items() if key != "recipe" and value is not None}
    return f"{zlib.crc32(json.dumps(values, sort_keys=True).encode()):08x}"


def _plain(value: Any) -> Any:
    """A conf as nested dicts, lists and scalars."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def what_is_there(corpus: Path) -> dict[str, Any] | None:
    """corpus.json of the corpus at OUT/LA or OUT/PA, None where there is none. Raises UserError for something else."""
    if not corpus.exists():
        return None
    if not (corpus / "corpus.json").exists():
        raise UserError(f"{corpus}: is there, but no mini corpus; give another folder")
    return read_json(corpus / "corpus.json")


def build(
    conf: MiniCorpusConf,
    seed: int,
    downloads: Path,
    out: Path,
    requirements: Path,
    jobs: int,
    added: Sequence[AddedFolder] = (),
) -> None:
    """Build OUT/LA (by the conf's recipe OUT/PA), or go on with it where an interrupted run stopped; say so and return
    if it is there."""
    with _waiting_for(out / f".{conf.recipe.upper()}.lock"):
        _build(conf, seed, downloads, out, requirements, jobs, added)


def _waiting_for(path: Path) -> FileLock:
    """Two recipes that start at once must not make the same thing together."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
        lock.release()
    except Timeout:
        print(f"another process works in {path.parent}; waiting for it", flush=True)
    return lock


def _build(
    conf: MiniCorpusConf,
    seed: int,
    downloads: Path,
    out: Path,
    requirements: Path,
    jobs: int,
    added: Sequence[AddedFolder],
) -> None:
    part = conf.recipe.upper()
    corpus_dir = out / part
    wanted = {"name": "mini corpus", "version": VERSION, "size": conf.size, "seed": seed, "recipe": part}
    wanted["conf"] = fingerprint(conf)
    wanted["additions"] = "; ".join(map(str, added)) or "none"
    there = what_is_there(corpus_dir)
    if there is not None:
        there = {"additions": "none", **there}
        other = [f"{key} {there.get(key)} instead of {wanted[key]}" for key in wanted if there.get(key) != wanted[key]]
        if other:
            raise UserError(
                f"{corpus_dir}: holds another corpus ({', '.join(other)}); remove it, or give another folder"
            )
        lacking = "; ".join(there[key] for key in ("incomplete", "other_sources") if there.get(key))
        lacking = f" ({lacking}; remove it to build it again)" if lacking else ""
        print(f"{corpus_dir}: the mini corpus, version {VERSION}, size {conf.size}, seed {seed}, is there{lacking}")
        return

    began = time.monotonic()
    added_speakers = speakers_of(added)
    with _waiting_for(downloads / ".mini_corpus.lock"):
        sources = gather(conf, downloads, requirements, {speaker.split for speaker in added_speakers})
    building = out / f".{part}.building"
    made_from = {
        "corpus": wanted,
        "lost": list(sources.lost),
        "packages": {name: package.sha256 for name, package in sorted(sources.packages.items())},
        "synthesizers": list(sources.synthesizers),
    }
    state = building / "work" / "made_from.json"
    if building.exists() and (not state.exists() or read_json(state) != made_from):
        print(f"{building}: was started from other sources or another conf; starting again", flush=True)
        shutil.rmtree(building)
    elif building.exists():
        print(f"{building}: resuming an interrupted run", flush=True)
    write_json(state, made_from)
    (building / "work" / "rows").mkdir(exist_ok=True)
    for split in SPLITS:
        Layout(building / part, conf.recipe).audio(split).mkdir(parents=True, exist_ok=True)

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

    made_there = shop.layout
    write_protocols(made_there, made, conf)
    write_asv(made_there, made, dict(zip((u.name for u in made), embeddings)), conf, seed)
    write_manifest(
        made_there.root / "manifest.tsv", made, rows, {speaker.key: speaker.label for speaker in added_speakers}
    )
    notes = {"incomplete": f"incomplete: without {'; '.join(sources.lost)}"} if sources.lost else {}
    others = [package.instead() for package in sources.packages.values() if package.instead()]
    if others:
        notes["other_sources"] = f"other sources: {', '.join(sorted(others))}"
    corpus = {
        **wanted,
        **notes,
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
    write_json(made_there.root / "corpus.json", corpus)
    made_there.root.replace(corpus_dir)
    shutil.rmtree(building)
    seconds = sum(rows[utterance.name]["samples"] for utterance in made) / RATE
    print(
        f"{corpus_dir}: mini corpus version {VERSION}, size {conf.size}, seed {seed}: {len(made)} utterances, "
        f"{seconds / 60:.0f} min of speech, made in {time.monotonic() - began:.0f} s"
        + "".join(f"; {text}" for text in notes.values()),
        flush=True,
    )
    print(f"{corpus_dir}: {frozen.verdict(corpus, frozen.read_known())}", flush=True)


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
                f"{text}; its package does not work here as it should: take the attack out of the conf, or fix what "
                f"is wrong, remove {building} and start again"
            )
        warn(text)
