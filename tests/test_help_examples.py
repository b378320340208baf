"""The commands that --help, README and docs show: their programs exist and have the options given."""

from __future__ import annotations

import ast
import functools
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.prose import PAGES
from tests.test_programs import mains_of, parser_of

ROOMS = ("egs", "steps", "local", "utils", "tests")
SHELL_WORDS = ("|", "||", "&&", ";", "&", ">", "<")


def is_ours(path: Path) -> bool:
    return not any(folder.is_symlink() for folder in [path, *path.parents])


PROGRAMS = {  # by name; several recipes have a run.sh
    name: [path for path in files if path.name == name]
    for files in [
        [
            path
            for room in ROOMS
            for ending in ("py", "sh")
            for path in sorted((ROOT / room).rglob(f"*.{ending}"))
            if is_ours(path) and path.read_text(encoding="utf-8").startswith("#!")
        ]
    ]
    for name in sorted({path.name for path in files})
}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def options_in(tree: ast.AST) -> set[str]:
    """Of add_argument's calls in it, its own and those of loops over literal names."""
    found = {"--help"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            for argument in node.args:
                if isinstance(argument, ast.Constant) and str(argument.value).startswith("-"):
                    found.add(argument.value)
    return found


@functools.cache
def shared_options() -> dict[str, set[str]]:
    """Options that a function of the toolkit adds to a parser, by its name."""
    found: dict[str, set[str]] = {}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            if is_ours(path) and "add_argument(" in path.read_text(encoding="utf-8"):
                for node in ast.walk(tree_of(path)):
                    if isinstance(node, ast.FunctionDef):
                        found.setdefault(node.name, set()).update(options_in(node))
    return found


@functools.cache
def options_of(path: Path) -> set[str]:
    """What a program takes."""
    text = path.read_text(encoding="utf-8")
    sourced = re.search(r"/(steps/\w*recipe\.sh)\"", text) if path.name == "run.sh" else None
    if sourced:
        return options_of(ROOT / sourced[1])
    if path.suffix == ".py":
        tree = tree_of(path)
        called = {getattr(n.func, "id", getattr(n.func, "attr", "")) for n in ast.walk(tree) if isinstance(n, ast.Call)}
        return options_in(tree).union(*(shared_options()[name] for name in called if name in shared_options()))
    found = {"--help", "--config"}
    if "parse_options.sh" in text:
        names = re.findall(r"^([a-z][a-z0-9_]*)=", text.partition("parse_options.sh")[0], re.MULTILINE)
        return found | {f"--{name.replace('_', '-')}" for name in names}
    taken = [path.parent / name for name in re.findall(r"\b(\w+\.(?:sh|py))\"(?: |$)", text, re.MULTILINE)]
    for other in {one for one in taken if one.is_file() and one != path}:  # what it sources, or hands its arguments to
        found |= options_of(other)
    own = re.sub(r"^#(?:  e\.g\.:| +\S+\.sh ).*$", "", text, flags=re.MULTILINE)  # but for examples and usage
    return found.union(re.findall(r"(?<![-\w])--?[a-z][-\w]*", own))


def examples_of(path: Path) -> Iterator[str]:
    """Command lines that a program's --help shows."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".sh":
        for line in re.findall(r"^# +(?:e\.g\.:)? +(.*)$", text, re.MULTILINE):
            if re.match(r"^\S*?[\w.]+\.(?:sh|py)\S* ", line):
                yield re.split(r" {3,}", line)[0]
        return
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "make_parser":
            example = node.args[1]
            assert isinstance(example, ast.Constant), f"{path}: its example is no plain text"
            yield from example.value.strip().replace("\\\n", " ").splitlines()


def commands_of_page(page: Path) -> Iterator[str]:
    """Command lines of a page's sh blocks."""
    for block in re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S):
        yield from re.sub(r"\\\n|(?<=\|)\n", " ", block).splitlines()


def mentions_in_page(page: Path) -> Iterator[str]:
    """Programs with arguments, not always all of them, in a page's other text."""
    text = page.read_text(encoding="utf-8")
    for code in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)):
        program, _, rest = code.partition(" ")
        if rest and program.rpartition("/")[2] in PROGRAMS:
            yield code


EXAMPLES = [(path, line) for paths in PROGRAMS.values() for path in paths for line in examples_of(path)]
COMMANDS = [(page, line) for page in PAGES for line in commands_of_page(page)]
MENTIONS = [(page, line) for page in PAGES for line in mentions_in_page(page)]


def test_programs_have_examples():
    with_examples = {path for path, _ in EXAMPLES}
    for paths in PROGRAMS.values():
        for path in paths:
            text = path.read_text(encoding="utf-8")
            assert path in with_examples or not ("make_parser(" in text or "e.g.:" in text), path
    assert len(EXAMPLES) > 50 and len(COMMANDS) > 100


def faults_of(path: Path, line: str) -> Iterator[str]:
    """Programs, confs and options that an example shown in the file at `path` names and that do not exist."""
    known: list[Path] = []
    own = re.findall(r"^```\w+ (\S+)$", path.read_text(encoding="utf-8"), re.M) if path.suffix == ".md" else []
    line = re.sub(r"\$\((.*?)\)", r"\1", line)
    for previous, word in itertools.pairwise(["", *shlex.split(line, comments=True)]):
        name = word.rpartition("/")[2]
        if previous == "--cmd":
            continue
        if name in PROGRAMS and re.fullmatch(r"[\w./$]*", word):
            known = [path for path in PROGRAMS[name] if str(path).endswith(word.lstrip("./"))]
            if not known:
                yield f"no {word}"
        elif re.fullmatch(r"(?:\.?\.?/)?(?:steps|local|utils|conf)/[\w/]+\.(?:py|sh|yaml)", word):
            if not (ROOT / word).is_file() and word not in own and not Path(word).stem.isupper():
                yield f"no {word}"
        elif word in SHELL_WORDS:
            known = []
        elif known and re.match(r"--?[a-z]", word):
            option = word.partition("=")[0]
            if not any(option in options_of(path) for path in known):
                yield f"{known[0].name} has no {option}"


@pytest.mark.parametrize(
    ("path", "line"), shown := EXAMPLES + COMMANDS + MENTIONS, ids=[f"{path.name}: {line}" for path, line in shown]
)
def test_an_example_can_be_given(path, line):
    assert list(faults_of(path, line)) == []


def calls_in(line: str) -> Iterator[tuple[Path, list[str]]]:
    """The Python programs that a command line calls, with their complete arguments."""
    call: tuple[Path, list[str]] | None = None
    for word in [*shlex.split(line, comments=True), ";"]:
        if word in SHELL_WORDS or re.match(r"\d?[<>]", word):
            if call and not {"...", "--help"} & set(call[1]):
                yield call
            call = None
        elif call:
            call[1].append(word.replace("$$", "1"))
        elif re.fullmatch(r"[\w./]+\.py", word) and len(found := PROGRAMS.get(word.rpartition("/")[2], [])) == 1:
            call = (found[0], []) if "make_parser(" in found[0].read_text(encoding="utf-8") else None


@pytest.mark.parametrize(
    ("program", "arguments"),
    calls := [call for _, line in EXAMPLES + COMMANDS for call in calls_in(line)],
    ids=[f"{program.name} {' '.join(arguments)}" for program, arguments in calls],
)
def test_a_program_accepts_the_example(program, arguments, monkeypatch):
    if program.parent.name == "fuzz":
        pytest.importorskip("atheris")
    (main,) = mains_of(program.relative_to(ROOT))
    parser_of(main, monkeypatch).parse_args(arguments)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("steps/make_feats.py --scp x", "no steps/make_feats.py"),
        ("utils/run.sh --gpu 1 x.log steps/train.py --config x", "train.py has no --config"),
        ("steps/score.py --no-such a", "score.py has no --no-such"),
        ("run.sh --sede 1", "run.sh has no --sede"),
        ("steps/describe.py conf/model/senet33.yaml", "no conf/model/senet33.yaml"),
        ("utils/slurm.sh --tme 3 x.log true", "slurm.sh has no --tme"),
    ],
)
def test_a_stale_example_is_found(line, fault):
    assert list(faults_of(ROOT / "x", line)) == [fault]
