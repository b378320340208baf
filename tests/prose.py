#!/usr/bin/env python3
"""Check that documents, help texts and error messages are in plain English.

Prints a line FILE:LINE: REASON for each finding. The exit status is 1 if there is any.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.cli import make_parser, run_program

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ROOMS = ("egs", "steps", "local", "utils", "tests")
EXEMPT = "tests/prose.py"  # this list of words

LONGEST_SENTENCE, LONGEST_MEAN = 40, 20  # words
LONGEST_PAGE, LONGEST_README, README_BYTES = 250, 130, 9000

# What a text must not say, as a regular expression, and what it says instead.
INSTEAD = {
    r"whole\b(?! numbers?\b)": "complete, entire, all of",
    r"mend(s|ed|ing)?": "fix",
    r"told(?! apart)": "reported, said",
    r"tells? of": "reports, names",
    r"amid(st)?": "during, between",
    r"less (the|its|their|a|\d+)\b(?! than)": "minus",
    r"to be had|be had\b(?! by)": "available",
    r"to be told apart|be told apart": "no significant difference; cannot be distinguished",
    r"(go|goes|gone|going|went) on (from|with|at|after|by)\b": "continue, resume",
    r"it is said": "who prints or reports it",
    r"broken off|broke off|breaks off": "interrupted",
    r"anew": "again",
    r"reckon(s|ed|ing)?": "compute, estimate",
    r"(at hand|to hand)": "available",
    r"in the place of": "instead of",
    r"all the same": "still, anyway",
    r"as ever": "as before, unchanged",
    r"without a word": "silently",
    r"but for": "except for",
    r"(written?|writes?|left|leaves?) aside": "under a temporary name",
    r"(from|at|the) begin": "beginning, start",
    r"is no part of": "is not part of",
    r"(is|are|was|were) to be": "must be",
    r"some [\d,.]+": "about",
    r"alike": "in the same way, similar",
    r"kin": "similar ones",
    r"(there|here|where)(of|by|in|from|upon|with)": "a plain sentence",
    r"(hence|whence|thence|nought|naught|upon|unto|hitherto|whilst)": "the usual word",
    r"wants (a|an|the|it|no|all|one|--\w+)": "needs, requires",
    r"was not at|were not at": "not available",
    r"not in 0\.\.1": "must be between 0 and 1",
    r"will do": "is enough",
    r"of it all": "the usual word",
    r"so many": "the number of, up to",
    r"well-nigh|next to no": "almost no",
    r"of one's own": "your own",
}
RULES = [(re.compile(rf"\b(?:{pattern})(?!\w)".replace(" ", r"\s+"), re.I), good) for pattern, good in INSTEAD.items()]
ODD_SUBJECTS = re.compile(r"(?:What|That which) (?!.*\?$)|Of (?!course\b)")
MESSAGES_PY = ("warn", "UserError", "ValueError", "ArgumentTypeError")  # and the classes that extend UserError
MESSAGES_SH = re.compile(r'\b(?:refuse|die|warn|echo|log|say|complain) +"((?:[^"\\]|\\.)*)"')
ABBREVIATIONS = re.compile(r"(?:\b(?:e\.g|i\.e|al|vs|No|Fig|cf|Sec|approx)|\b[A-Z])\.$")


class Finding(NamedTuple):
    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        path = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
        return f"{path}:{self.line}: {self.reason}"


class Passage(NamedTuple):
    """A paragraph, an item of a list, a cell, a message; its first line; whether its sentences count for the mean."""

    line: int
    text: str
    counts: bool = True


# ---------------------------------------------------------------- sentences


def sentences(passage: Passage) -> Iterator[tuple[int, str]]:
    """The sentences of a passage with their lines."""
    begin = 0
    for gap in re.finditer(r"(?<=[.!?])[\"')]*\s+(?=[\"'(]*[A-Z0-9`])|\Z", passage.text):
        sentence = passage.text[begin : gap.start()]
        if ABBREVIATIONS.search(sentence) and gap.start() < len(passage.text):
            continue
        if sentence.strip():
            lead = len(sentence) - len(sentence.lstrip())
            yield passage.line + passage.text.count("\n", 0, begin + lead), " ".join(sentence.split())
        begin = gap.end()


def words_in(sentence: str) -> int:
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def wrong_words(path: Path, passages: Iterable[Passage]) -> Iterator[Finding]:
    for passage in passages:
        for rule, better in RULES:
            for found in rule.finditer(passage.text):
                line = passage.line + passage.text.count("\n", 0, found.start())
                yield Finding(path, line, f"{' '.join(found[0].split())!r}: write {better}")
        for line, sentence in sentences(passage):
            odd = ODD_SUBJECTS.match(sentence)
            if odd:
                yield Finding(path, line, f"{odd[0].strip()!r} begins a sentence: put the subject first and name it")


def long_sentences(path: Path, passages: Iterable[Passage]) -> Iterator[Finding]:
    """Those over the limit, and their mean where it is."""
    lengths = []
    for passage in passages:
        for line, sentence in sentences(passage):
            n = words_in(sentence)
            if n > LONGEST_SENTENCE:
                yield Finding(path, line, f"a sentence of {n} words; at most {LONGEST_SENTENCE}: {sentence[:40]}...")
            if passage.counts:
                lengths.append(n)
    if lengths and sum(lengths) / len(lengths) > LONGEST_MEAN:
        mean = sum(lengths) / len(lengths)
        yield Finding(path, 1, f"sentences have {mean:.1f} words on average; at most {LONGEST_MEAN}")


# ---------------------------------------------------------------- Markdown


def without_code(text: str) -> str:
    """The lines stay, those of code blocks and comments empty."""
    return re.sub(r"^ *```.*?^ *```$|<!--.*?-->", lambda block: "\n" * block[0].count("\n"), text, flags=re.M | re.S)


def plain(text: str) -> str:
    """A passage without Markdown's marks; code is one word."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"`[^`]*`", lambda code: "`code`" + "\n" * code[0].count("\n"), text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\*\*|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)", "", text)


def passages_of_markdown(text: str) -> Iterator[Passage]:
    gathered: list[str] = []
    begin = 0
    indent = 0
    for number, line in enumerate([*without_code(text).split("\n"), ""], 1):
        item = re.match(r" *(?:[-*+]|\d+\.) +(.*)", line)
        aside = re.match(r"\||#+ |    +", line) if not (indent and line.startswith("  ")) else re.match(r" *\|", line)
        if gathered and (not line.strip() or item or aside):
            yield Passage(begin, plain("\n".join(gathered)))
            gathered = []
        if item:
            begin, gathered, indent = number, [item[1]], 1
        elif aside:
            if line.startswith("#"):
                yield Passage(number, plain(line.lstrip("# ")), False)
            elif line.lstrip().startswith("|"):
                for cell in re.split(r"(?<!\\)\|", line.strip().strip("|")):
                    yield Passage(number, plain(cell.strip()), False)
        elif line.strip():
            if not gathered:
                begin = number
                indent = indent if line.startswith(" ") else 0
            gathered.append(line.strip().removeprefix("> "))


def anchors_of(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", without_code(page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower()).replace(" ", "-") for heading in headings}


def dead_links(page: Path) -> Iterator[Finding]:
    text = re.sub(r"`[^`\n]*`", "", without_code(page.read_text(encoding="utf-8")))
    for number, line in enumerate(text.split("\n"), 1):
        for link in re.findall(r"\]\(([^)\s]+)\)", line):
            if re.match(r"\w+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            if not target.exists() or (anchor and anchor not in anchors_of(target)):
                yield Finding(page, number, f"{link} leads nowhere")


def too_long(page: Path) -> Iterator[Finding]:
    text = page.read_text(encoding="utf-8")
    most = LONGEST_README if page.name == "README.md" and page.parent.name != "docs" else LONGEST_PAGE
    lines = len(text.splitlines())
    if lines > most:
        yield Finding(page, lines, f"{lines} lines; at most {most}")
    if most == LONGEST_README and len(text.encode()) > README_BYTES:
        yield Finding(page, lines, f"{len(text.encode())} bytes; at most {README_BYTES}")


def findings_of_page(page: Path) -> Iterator[Finding]:
    passages = list(passages_of_markdown(page.read_text(encoding="utf-8")))
    yield from too_long(page)
    yield from dead_links(page)
    yield from long_sentences(page, passages)
    yield from wrong_words(page, passages)


# ---------------------------------------------------------------- programs


def texts_in(node: ast.AST | None, docstring: str = "") -> Iterator[tuple[int, str]]:
    """The texts that an expression may yield; what is put into them is `X`."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.lineno, node.value
    elif isinstance(node, ast.Name) and node.id == "__doc__":
        yield 1, docstring
    elif isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
        yield node.lineno, "".join(map(str, parts))
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = list(texts_in(node.left, docstring)), list(texts_in(node.right, docstring))
        if left and right:
            yield left[0][0], left[0][1] + right[0][1]
        else:
            yield from left + right
    elif isinstance(node, ast.AST):
        for child in ast.iter_child_nodes(node):
            yield from texts_in(child, docstring)


def _paragraphs(line: int, text: str) -> Iterator[Passage]:
    for paragraph in re.finditer(r"(?:^.*\S.*(?:\n|\Z))+", text, re.M):
        if paragraph[0].startswith("    "):  # a table or code
            continue
        items = re.split(r"\n(?= *[*-] )", paragraph[0].rstrip())
        for item in items:
            yield Passage(line + text.count("\n", 0, paragraph.start()), re.sub(r"\A *[*-] ", "", item))


def other_strings(path: Path) -> list[Passage]:
    """All strings of a Python file with a blank in them, but for docstrings: parts of messages, titles, output."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        Passage(node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip()
        if id(node) not in docstrings
    ]


def help_and_messages(path: Path, error_classes: Iterable[str] = ()) -> tuple[list[Passage], list[Passage]]:
    """Of a Python file: description and help of its options; what it says when something is wrong."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree) or ""
    help_texts: list[Passage] = []
    messages: list[Passage] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in ("make_parser", "add_argument", "add_argument_group"):
            shown = [k.value for k in node.keywords if k.arg in ("help", "description")]
            if name == "make_parser":
                shown += node.args[:1]
            for value in shown:
                for line, text in texts_in(value, docstring):
                    help_texts += _paragraphs(line, text.replace("%%", "%"))
        elif name in MESSAGES_PY or name in error_classes or (name == "error" and "parser" in ast.dump(node.func)):
            for argument in node.args:
                messages += [Passage(line, text) for line, text in texts_in(argument) if " " in text]
    return help_texts, messages


def help_and_messages_of_shell(path: Path) -> tuple[list[Passage], list[Passage]]:
    """Of a shell script: the comment at its top and those of its options; its messages."""
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n")
    shown = []
    for line in lines[1:]:
        if not line.startswith("#"):
            break
        shown.append("" if re.match(r"#(?: Usage|  |.*e\.g\.:| shellcheck )", line) else line[2:])
    help_texts = list(_paragraphs(2, "\n".join(shown))) if text.startswith("#!") else []
    if "parse_options.sh" in text:
        for number, line in enumerate(lines, 1):
            option = re.match(r"[a-z][a-z0-9_]*=(?:\"[^\"]*\"|\S*) +# (.*)", line)
            if option and text.count("\n", 0, text.index("parse_options.sh")) >= number:
                help_texts.append(Passage(number, option[1]))
    messages = [
        Passage(1 + text.count("\n", 0, found.start()), re.sub(r"\$\{[^}]*\}|\$\w+", "X", found[1]))
        for found in MESSAGES_SH.finditer(text)
    ]
    return help_texts, messages


def programs() -> Iterator[Path]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix not in (".py", ".sh") or any(folder.is_symlink() for folder in [path, *path.parents]):
                continue
            if not path.relative_to(ROOT).as_posix().startswith(EXEMPT) and not path.name.startswith("test_"):
                yield path


def classes_of_errors(paths: Iterable[Path]) -> set[str]:
    """The classes that extend UserError."""
    texts = (path.read_text(encoding="utf-8") for path in paths if path.suffix == ".py")
    return {name for text in texts for name in re.findall(r"^class (\w+)\(.*\bUserError\b", text, re.M)}


def findings_of_program(path: Path, error_classes: Iterable[str] = ()) -> Iterator[Finding]:
    if path.suffix == ".py":
        help_texts, messages = help_and_messages(path, error_classes)
    else:
        help_texts, messages = help_and_messages_of_shell(path)
    yield from long_sentences(path, help_texts)
    yield from long_sentences(path, [passage._replace(counts=False) for passage in messages])
    yield from wrong_words(path, help_texts + messages + (other_strings(path) if path.suffix == ".py" else []))


def all_findings() -> Iterator[Finding]:
    for page in PAGES:
        yield from findings_of_page(page)
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        if page.name != "README.md" and page.name not in index:
            yield Finding(ROOT / "docs/README.md", 1, f"{page.name} is missing")
    paths = list(programs())
    error_classes = classes_of_errors(paths)
    for path in paths:
        yield from findings_of_program(path, error_classes)


def main() -> int:
    make_parser(__doc__, "tests/prose.py").parse_args()
    findings = sorted(set(all_findings()))
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    run_program(main)
