#!/usr/bin/env python3
"""Prints a built mini corpus of logical access as markdown tables: its lists, the sources of its bona fide speech, and
its attacks with one file of each to listen to.

All of it comes from the corpus's own protocols, manifest.tsv and corpus.json.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.environment

from local.layout import Layout
from local.mini_corpus.attack import RATE
from local.mini_corpus.planning import BONAFIDE
from local.mini_corpus.settings import LISTS, SPLITS
from tests.bench.corpus_leaks import read_list
from utils.cli import UserError, make_parser, run_program
from utils.files import read_json

Row = dict[str, str]  # a line of manifest.tsv by its columns


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = ["---:" if name in ("speakers", "bona fide", "spoof", "minutes", *LISTS) else "---" for name in header]
    cells = [[f"{value:,}" if isinstance(value, int) else str(value) for value in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (header, lines, *cells)]


def minutes(rows: Iterable[Row]) -> str:
    return f"{sum(int(row['samples']) for row in rows) / RATE / 60:.1f}"


def counts_of(name: str, rows: Sequence[Row]) -> list[object]:
    """A line of the table of lists."""
    bonafide = [row for row in rows if row["attack"] == BONAFIDE]
    attacks = sorted({row["attack"] for row in rows} - {BONAFIDE})
    speakers = len({row["speaker"] for row in bonafide})
    return [name, speakers, len(bonafide), len(rows) - len(bonafide), minutes(rows), " ".join(attacks)]


def describe(la: Path) -> list[str]:
    """All tables of the corpus in the folder LA. Raises UserError where that is none."""
    about = read_json(la / "corpus.json")
    if about.get("name") != "mini corpus":
        raise UserError(f"{la}: corpus.json is not of a mini corpus")
    with (la / "manifest.tsv").open(encoding="utf-8") as handle:
        rows = {row["utterance"]: row for row in csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)}
    trials = {listed: [rows[Path(file).stem] for file, *_ in read_list(la, listed)] for listed in LISTS}
    lists = [counts_of(listed, trials[listed]) for listed in LISTS]
    lists.append(counts_of("enrolment", [row for row in rows.values() if row["set"].endswith("_enrolment")]))
    lists.append(counts_of("all files", list(rows.values())))

    sources: dict[tuple[int, str], list[Row]] = defaultdict(list)
    attacks: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows.values(), key=lambda row: row["utterance"]):
        split = next(i for i, split in enumerate(SPLITS) if row["set"].startswith(split))
        if row["attack"] == BONAFIDE:
            sources[split, row["source"].partition(": ")[0]].append(row)
        else:
            attacks[row["attack"]].append(row)
    by_source = [
        [SPLITS[split], source, ", ".join(sorted({row["entry"] for row in own})), len(own), minutes(own)]
        for (split, source), own in sorted(sources.items())
    ]
    by_attack = [
        [
            name, about["attacks"][name], *(sum(row["attack"] == name for row in trials[listed]) for listed in LISTS),
            f"`{Layout(Path(), 'la').flac(own[0]['set'].split('_')[0], own[0]['utterance'])}`", own[0]["parameters"],
        ]
        for name, own in sorted(attacks.items())
    ]  # fmt: skip
    return [
        f"Mini corpus version {about['version']}, size {about['size']}, seed {about['seed']}.",
        *([f"This corpus is {about['incomplete']}."] if about.get("incomplete") else []),
        "", *markdown_table(["list", "speakers", "bona fide", "spoof", "minutes", "attacks"], lists),
        "", *markdown_table(["split", "source", "names in the conf", "bona fide", "minutes"], by_source),
        "", *markdown_table(["attack", "what", *LISTS, "a file in LA", "its parameters"], by_attack),
    ]  # fmt: skip


def main() -> None:
    parser = make_parser(__doc__, "tests/bench/corpus_tables.py downloads/mini_small/LA")
    parser.add_argument("corpus", metavar="LA", type=Path, help="the folder LA of a mini corpus")
    print("\n".join(describe(parser.parse_args().corpus)))


if __name__ == "__main__":
    run_program(main)
