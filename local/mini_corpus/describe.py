#!/usr/bin/env python3
"""Describe a built mini corpus in Markdown tables: its lists, sources, speakers, attacks, synthesizers and examples.

It reads the corpus's protocols, manifest.tsv and corpus.json, its conf in conf/mini_corpus (versions, licences, ranges
of the attacks' parameters), and requirements-mini.txt (the synthesizers' versions and licences).
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch, fnmatchcase
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

import soundfile

from local.layout import Layout
from local.mini_corpus.attack import RATE, Draw
from local.mini_corpus.conf import AttackEntry, MiniCorpusConf, load
from local.mini_corpus.leak_test import read_list
from local.mini_corpus.planning import BONAFIDE
from local.mini_corpus.python_packages import read_pins
from local.mini_corpus.settings import LISTS, SPLITS, Speaker
from local.mini_corpus.writers import read_manifest
from utils.cli import UserError, make_parser, run_program, warn
from utils.files import read_json, write_aside, write_lines

BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
_ENROLMENT = "_enrolment"  # ends the set of an utterance that is no trial


# ---------------------------------------------------------------- what is read


@dataclass(frozen=True)
class Row:
    """One file of the corpus, a line of its manifest."""

    utterance: str
    set: str  # its list, or SPLIT_enrolment
    speaker: str
    attack: str
    source: str  # "PACKAGE VERSION: FILE FILE ...", of an added folder "added FOLDER: FILE FILE ..."
    parameters: str
    seconds: float
    entry: str  # who was recorded: a speaker entry of the conf, or FOLDER/SPEAKER; empty where the manifest has it not

    @property
    def split(self) -> str:
        return next(split for split in SPLITS if self.set.startswith(split))

    @property
    def origin(self) -> str:
        return self.source.partition(": ")[0]

    @property
    def files(self) -> list[str]:
        return self.source.partition(": ")[2].split()

    @property
    def path(self) -> Path:
        """Its flac, relative to the folder LA."""
        return Layout(Path(), "la").flac(self.split, self.utterance)


@dataclass(frozen=True)
class Corpus:
    about: dict[str, Any]  # corpus.json
    rows: list[Row]
    trials: dict[str, list[tuple[str, str]]]  # list -> (utterance, attack) of its protocol
    conf: MiniCorpusConf
    synthesizers: dict[str, list[Synthesizer]]  # by group of requirements-mini.txt

    @property
    def bonafide(self) -> list[Row]:
        return [row for row in self.rows if row.attack == BONAFIDE]


@dataclass(frozen=True)
class Synthesizer:
    """A Python package of requirements-mini.txt."""

    name: str
    version: str
    what: str
    licence: str


def read_synthesizers(requirements: Path) -> dict[str, list[Synthesizer]]:
    """Group -> its packages. A line is `NAME==VERSION  # what it is; its licence; anything else`; one that names no
    licence has that of the line above it in its group.

    The licences are taken from there, and not from installed metadata: that is there only after an installation, and
    wheels state licences in three ways or not at all. Raises UserError for a line that leaves the licence open.
    """
    groups: dict[str, list[Synthesizer]] = {}
    licences = re.compile(r"\b(MIT|BSD|ISC|[AL]?GPL|Apache|CC0|CC-BY|MPL|PSF|Unlicense|public domain)", re.IGNORECASE)
    for group, pins in read_pins(requirements).items():
        packages = groups.setdefault(group, [])
        for pin in pins:
            fields = [field.strip() for field in pin.comment.split(";")]
            stated = next((i for i, field in enumerate(fields) if licences.match(field)), None)
            if stated is not None:
                packages.append(Synthesizer(pin.name, pin.version, "; ".join(fields[:stated]), fields[stated]))
            elif packages:
                packages.append(dataclasses.replace(packages[-1], name=pin.name, version=pin.version))
            else:
                raise UserError(f"{requirements}: line {pin.line}: write NAME==VERSION  # what it is; its licence")
    return groups


def read_corpus(la: Path, conf_path: Path | None = None, requirements: Path = ROOT / "requirements-mini.txt") -> Corpus:
    """The corpus in the folder LA, with its conf (of the size that corpus.json names, unless another is given)."""
    about = read_json(la / "corpus.json")
    if about.get("name") != "mini corpus":
        raise UserError(f"{la}: corpus.json is not of a mini corpus")
    conf = load(conf_path or ROOT / "conf" / "mini_corpus" / f"{about['size']}.yaml")
    rows = _read_manifest(la)
    trials = {
        listed: [(Path(file).stem, attack) for file, attack, _ in read_list(la, listed)]
        for listed in LISTS
    }  # fmt: skip
    strange = {row.attack for row in rows} - {BONAFIDE, *conf.attacks}
    if strange:
        raise UserError(
            f"{la}: attacks {', '.join(sorted(strange))} are not in {conf_path or conf.size}: another conf?"
        )
    return Corpus(about, rows, trials, conf, read_synthesizers(requirements))


def _read_manifest(la: Path) -> list[Row]:
    rows = []
    for values in read_manifest(la):
        known = {name: values[name] for name in ("utterance", "set", "speaker", "attack", "source", "parameters")}
        row = Row(**known, seconds=0.0, entry=values.get("entry", ""))
        samples = int(values["samples"]) if "samples" in values else soundfile.info(la / row.path).frames
        rows.append(dataclasses.replace(row, seconds=samples / RATE))
    return rows


# ---------------------------------------------------------------- tables


_HEAD = 2  # lines of a table without rows


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a markdown table; columns whose cells are all numbers are set to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [all(re.fullmatch(r"\d[\d,]*(\.\d+)?( %)?|-", row[i]) for row in cells) for i in range(len(header))]
    rule = "".join("---:|" if number else "---|" for number in numeric)
    return [_line(header), f"|{rule}", *map(_line, cells)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.1f}"
    return str(value).replace("|", "\\|")


def _minutes(rows: Iterable[Row]) -> float:
    return sum(row.seconds for row in rows) / 60


def lists_table(corpus: Corpus) -> list[str]:
    by_name = {row.utterance: row for row in corpus.rows}
    out = []
    for listed in LISTS:
        trials = corpus.trials[listed]
        spoof = [attack for _, attack in trials if attack != BONAFIDE]
        those = [by_name[name] for name, _ in trials]
        speakers = len({row.speaker for row in those if row.attack == BONAFIDE})
        attacks = " ".join(sorted(set(spoof)))
        out.append([listed, speakers, len(trials) - len(spoof), len(spoof), _minutes(those), attacks])
    enrolment = [row for row in corpus.rows if row.set.endswith(_ENROLMENT)]
    out.append(["enrolment", len({r.speaker for r in enrolment}), len(enrolment), 0, _minutes(enrolment), ""])
    bonafide = corpus.bonafide
    speakers = len({row.speaker for row in bonafide})
    out.append(
        ["all files", speakers, len(bonafide), len(corpus.rows) - len(bonafide), _minutes(corpus.rows),
         " ".join(sorted({row.attack for row in corpus.rows} - {BONAFIDE}))]
    )  # fmt: skip
    return markdown_table(["list", "speakers", "bona fide", "spoof", "minutes", "attacks"], out)


def _fits(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path's parts match those of a glob, as pathlib's glob takes them."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_fits(path[i:], pattern[1:]) for i in range(len(path)))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _fits(path[1:], pattern[1:])


def _is_of(row: Row, speaker: Speaker) -> bool:
    file = row.files[0]
    return (
        _package_of(row)[0] == speaker.package
        and any(_fits(file.split("/"), pattern.split("/")) for pattern in speaker.globs)
        and not any(fnmatch(file, "*" + pattern) for pattern in speaker.leave_out)
    )


def entry_of(row: Row, conf: MiniCorpusConf) -> str:
    """Whose speech a bona fide row is: the name of a speaker entry of the conf, or FOLDER/SPEAKER of an added
    folder."""
    if row.entry:
        return row.entry
    package, version = _package_of(row)
    if not version:
        return package + row.files[0].split("/")[0]
    named = conf.speakers[row.split]
    return next((name for name, speaker in named.items() if _is_of(row, speaker)), package)


def _package_of(row: Row) -> tuple[str, str]:
    """(Debian package, version) of a row's source; (FOLDER/, "") of an added folder."""
    name, _, rest = row.origin.partition(" ")
    return (f"{rest}/", "") if name == "added" else (name, rest)


def sources_table(corpus: Corpus) -> list[str]:
    conf = corpus.conf
    groups: dict[tuple[int, str, str], list[Row]] = defaultdict(list)
    for row in corpus.bonafide:
        groups[SPLITS.index(row.split), *_package_of(row)].append(row)
    out = []
    for (split, package, version), rows in sorted(groups.items()):
        licence = conf.packages[package].licence if package in conf.packages else "as you have it"
        if version:
            speakers = ", ".join(sorted({_less_package(entry_of(row, conf), package) for row in rows}))
        else:
            speakers = str(len({row.speaker for row in rows}))
        out.append(
            [SPLITS[split], package, version or "added", licence or "?", speakers, len(rows), _minutes(rows)]
        )  # fmt: skip
    made_with = dict(source.split(" ", 1) for source in corpus.about["sources"])
    spoken = {language for entry in conf.attacks.values() for language in entry.languages}
    for package in sorted({conf.prompts[language].package for language in spoken} & set(made_with)):
        languages = sorted(language for language in spoken if conf.prompts[language].package == package)
        what = f"{', '.join(languages)} (text for text-to-speech)"
        out.append(["texts", package, made_with[package], conf.packages[package].licence or "?", what, "-", "-"])
    return markdown_table(["split", "package", "version", "licence", "speakers", "bona fide", "minutes"], out)


def _less_package(entry: str, package: str) -> str:
    """A speaker entry's name less what it has in common with its package: `da` for klettres-da of klettres-data."""
    family, _, rest = entry.partition("-")
    return rest if rest and package.startswith(family) else entry


def speakers_table(corpus: Corpus) -> list[str]:
    groups: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in corpus.bonafide:
        groups[SPLITS.index(row.split), row.speaker].append(row)
    trials = Counter(row.split for row in corpus.bonafide if not row.set.endswith(_ENROLMENT))
    out = []
    for (split, speaker), rows in sorted(groups.items()):
        entries = ", ".join(sorted({entry_of(row, corpus.conf) for row in rows}))
        tried = sum(not row.set.endswith(_ENROLMENT) for row in rows)
        share = 100 * tried / max(1, trials[SPLITS[split]])
        out.append([speaker, entries, SPLITS[split], tried, len(rows) - tried, _minutes(rows), f"{share:.1f} %"])
    header = ["speaker", "name in the conf", "split", "trials", "enrolment", "minutes", "share of the split's trials"]
    return markdown_table(header, out)


def kind_of(entry: AttackEntry, conf: MiniCorpusConf) -> str:
    """Whether training meets an attack, or its method with other settings."""
    if entry.utterances.train:
        return "known"
    in_training = {other.method for other in conf.attacks.values() if other.utterances.train}
    return "known method, other settings" if entry.method in in_training else "unknown"


def _range(draw: Draw) -> str:
    if draw.choices:
        return " ".join(map(str, draw.choices))
    return f"{draw.low:g}" if draw.low == draw.high else f"{draw.low:g} to {draw.high:g}"


def attacks_table(corpus: Corpus) -> list[str]:
    out = []
    counts = {listed: Counter(attack for _, attack in corpus.trials[listed]) for listed in LISTS}
    for name, entry in sorted(corpus.conf.attacks.items()):
        if not any(counts[listed][name] for listed in LISTS):
            continue
        mains = [corpus.synthesizers[group][0] for group in entry.attack.needs if corpus.synthesizers.get(group)]
        needs = "; ".join(f"{main.name} {main.version} ({main.licence})" for main in mains)
        drawn = [f"{key}: {_range(draw)}" for key, draw in entry.draw.items()]
        if entry.languages:
            drawn.insert(0, f"texts: {' '.join(entry.languages)}")
        out.append(
            [name, entry.what, f"`{entry.method}`", needs or "none (numpy, scipy)", kind_of(entry, corpus.conf),
             *(counts[listed][name] or "-" for listed in LISTS), ", ".join(drawn)]
        )  # fmt: skip
    return markdown_table(["attack", "what", "method", "packages", "kind", *LISTS, "parameters"], out)


def synthesizers_table(corpus: Corpus) -> list[str]:
    used: dict[str, list[str]] = defaultdict(list)
    for name, entry in sorted(corpus.conf.attacks.items()):
        for group in entry.attack.needs:
            used[group].append(name)
    out = []
    for group, packages in corpus.synthesizers.items():
        attacks = used.get(group.removesuffix(".build"))
        if attacks:
            out += [[p.name, p.version, p.licence, p.what, group, " ".join(attacks)] for p in packages]
    return markdown_table(["package", "version", "licence", "what", "group", "attacks"], out)


def _said_by(row: Row) -> str:
    """A row's source, its files without what their paths have in common."""
    folder = posixpath.commonpath([posixpath.dirname(file) for file in row.files]) if row.files else ""
    names = [posixpath.relpath(file, folder) if folder else file for file in row.files]
    return f"{_package_of(row)[0]}{f', {folder}' if folder else ''}: {' '.join(names)}"


def listening_table(corpus: Corpus) -> list[str]:
    originals = {(row.speaker, row.source): row for row in corpus.bonafide}
    out = []
    for name in sorted({row.attack for row in corpus.rows} - {BONAFIDE}):
        row = min((r for r in corpus.rows if r.attack == name), key=lambda r: (LISTS.index(r.set), r.utterance))
        original = originals.get((row.speaker, row.source))
        of = f"`{original.path}`" if original else "- (text-to-speech)"
        out.append([name, f"`{row.path}`", of, _said_by(row), row.parameters])
    return markdown_table(["attack", "file", "bona fide original", "source", "parameters"], out)


_SECTIONS: list[tuple[str, str, Callable[[Corpus], list[str]]]] = [
    (
        "Lists",
        "`eval` and `eval_known` have the same bona fide trials. Enrolment utterances are bona fide speech of dev and "
        "eval speakers for the speaker verifier; they are no trials.",
        lists_table,
    ),
    ("Sources", "Debian packages, and folders that were added. Utterances include those for enrolment.", sources_table),
    ("Speakers", "Bona fide speech of each person. Spoofs claim to be one of them.", speakers_table),
    (
        "Attacks",
        "Utterances by list. A parameter is drawn evenly from its range, or is one of its values.",
        attacks_table,
    ),
    (
        "Synthesizers",
        "Python packages, by group of `requirements-mini.txt`. They make audio; they never enter the toolkit's own "
        "environment.",
        synthesizers_table,
    ),
    (
        "To listen to",
        "One utterance of each attack, and its original. Paths are relative to the folder `LA`.",
        listening_table,
    ),
]


def tables(corpus: Corpus) -> list[str]:
    """All tables, in markdown."""
    about = corpus.about
    lines = [f"Mini corpus version {about['version']}, size {about['size']}, seed {about['seed']}."]
    if about.get("incomplete"):
        lines += ["", f"This corpus is {about['incomplete']}."]
    for title, text, table in _SECTIONS:
        written = table(corpus)
        if len(written) > _HEAD:
            lines += ["", f"### {title}", "", text, "", *written]
    return lines


def put_between_markers(path: Path, lines: Sequence[str]) -> None:
    """Replace what stands between the two markers of the file at `path`, the rest stays; a file that is not there is
    made. Raises UserError for a file without the markers."""
    if not path.exists():
        write_lines(path, [BEGIN, *lines, END])
        return
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or END in before or BEGIN in after:
        raise UserError(f"{path}: the lines {BEGIN} and {END} must stand in it once each, in this order")
    with write_aside(path) as handle:
        handle.write("\n".join([before + BEGIN, *lines, END + after]))


def _check_conf(corpus: Corpus) -> None:
    from local.mini_corpus.build import fingerprint  # brings the whole of the builder

    if corpus.about.get("conf") != fingerprint(corpus.conf):
        warn(f"the conf {corpus.conf.size} has changed since this corpus was built: its licences and ranges are shown")


def main() -> None:
    parser = make_parser(
        __doc__,
        "local/mini_corpus/describe.py downloads/mini_small/LA\n"
        "local/mini_corpus/describe.py downloads/mini_small/LA --markdown docs/mini_corpus_tables.md",
    )
    parser.add_argument("corpus", metavar="LA", type=Path, help="the folder LA of a mini corpus")
    parser.add_argument(
        "--markdown", metavar="FILE", type=Path, help=f"replace what stands in FILE between {BEGIN} and {END}"
    )
    args = parser.parse_args()
    corpus = read_corpus(args.corpus)
    _check_conf(corpus)
    lines = tables(corpus)
    if args.markdown:
        put_between_markers(args.markdown, lines)
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    run_program(main)
