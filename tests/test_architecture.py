"""Imports go down only: from a room to those below it (docs/architecture.md), never in a circle, never to a program."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms -->", "<!-- end of rooms -->"

# From the bottom to the top: each may import itself and what stands before it.
ROOMS = (
    *(
        "sections",
        "metrics",
        "encoders",
        "frontend",
        "nnet",
        "augment",
        "data",
        "training",
        "evaluation",
        "experiment",
        "results",
    ),
    *("inference", "robustness", "exporting", "serving", "tuning"),
)


def modules() -> dict[str, Path]:
    found = {}
    for top in ("steps", "local", "utils"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports_of(path: Path) -> set[str]:
    """Modules of ours that a file names in any import: at its top, within functions, for type checkers alone."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {
                full if (full := f"{node.module}.{alias.name}") in MODULES else node.module for alias in node.names
            }
    return names & MODULES.keys()


IMPORTS = {name: imports_of(path) for name, path in MODULES.items()}


def is_program(module: str) -> bool:
    return MODULES[module].parent == ROOT / "steps" and module not in ("steps", "steps.sections")


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def picture() -> str:
    """The rooms as a Mermaid graph, without the arrows that others imply."""
    uses = {room: set() for room in ROOMS}
    for module, others in IMPORTS.items():
        if module.startswith("steps.") and not is_program(module):
            uses[room_of(module)] |= {room_of(other) for other in others if other.startswith("steps.")}
    reached = {}
    for room in ROOMS:
        direct = uses[room] & set(ROOMS) - {room, "sections"}
        reached[room] = direct.union(*(reached[other] for other in direct))
        uses[room] = {other for other in direct if not any(other in reached[via] for via in direct)}
    arrows = [f"  {room} --> {other}" for room in reversed(ROOMS) for other in sorted(uses[room], key=ROOMS.index)]
    return "\n".join(["```mermaid", "graph TD", *arrows, "```"])


def with_picture(page: str) -> str:
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{picture()}\n{END}{rest.split(END)[1]}"


def test_the_picture_is_of_these_imports():
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_picture(page), "draw it anew: python3 tests/test_architecture.py"


def test_every_room_has_its_place():
    rooms = {room_of(module) for module in MODULES if module.startswith("steps.") and not is_program(module)}
    assert rooms == set(ROOMS)


def test_imports_go_down_only():
    upwards = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        if module.startswith("steps.") and not is_program(module)
        for other in others
        if other.startswith("steps.")
        and (is_program(other) or ROOMS.index(room_of(other)) > ROOMS.index(room_of(module)))
    ]
    assert not upwards


def test_no_program_imports_a_program():
    assert not [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others
        if is_program(module) and is_program(other)
    ]


@pytest.mark.parametrize(
    ("below", "above"), [("utils", ("steps", "local")), ("local", ("steps",)), ("steps", ("local",))]
)
def test_utils_knows_nothing_of_speech_nor_local_of_networks(below, above):
    assert not [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others
        if module.split(".")[0] == below and other.split(".")[0] in above
    ]


def test_there_is_no_circle():
    left = {module: set(others) - {module} for module, others in IMPORTS.items()}
    while leaves := [module for module, others in left.items() if not others]:
        for module in leaves:
            del left[module]
        for others in left.values():
            others.difference_update(leaves)
    assert not left  # what remains imports itself by way of others


if __name__ == "__main__":
    PAGE.write_text(with_picture(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def test_no_two_test_files_have_one_name():
    """pytest imports them by their names alone, and refuses the second."""
    counts = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in counts.items() if count > 1] == []
