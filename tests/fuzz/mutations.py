"""Nearly right files: a right one is spoilt in a few places, or something is made up altogether.

What is done to it follows from some bytes (Draws), which hypothesis draws. A tree of strategies would say the same and
take ten times as long.
"""

from __future__ import annotations

import codecs
import copy
import functools
import gzip
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import yaml

T = TypeVar("T")

COMMAND = "touch canary"  # where the tests run; nothing that is read may ever run it

_TEXTS = [
    "", " ", "\t", "\n", "\r", "\r\n", "\n\n", "\0", "-", "--", "~", ".", "..", "../../out_of_the_way", "/", "/dev/null", "/etc/passwd",
    f"$({COMMAND})", f"`{COMMAND}`", f"; {COMMAND} ;", f"{COMMAND} |", f"| {COMMAND}", f"cat x; {COMMAND} |", "|", "<script>alert(1)</script>",
    "0", "-0", "1", "-1", "1.5", "0x10", "1e999", "1e-999", "nan", "NaN", "-inf", ".inf", "Infinity", "1_000", "1,5", "9" * 400, "9" * 5000,
    "1e308", "-1e308", "²", "１２", "٣", "\u00a0", "\u2028", "\u0085", "\x1c", "\x0b", "é", "e\u0301", "名", "🎙", "\u202e", "\ufeff",
    "bonafide", "spoof", "target", "nontarget", "unknown", "A07", "AB", "abc", "eval", "utt1", "utt1 ",
    "null", "true", "[]", "{}", "[1, 2]", "{a: 1}", "&a ", "*a", "<<: *a", "? ", ": ", "- ", "# ", "'", '"', "\\", "%s", "{0}", "$\\frac$", "$",
    "!!python/object/apply:os.system ['" + COMMAND + "']", "!!binary x", "!!timestamp x", "!!bool x", "!!int x", "2024-02-31", "0b_", "base: x.yaml",
    "&a [*a]", "[" * 3000, "{a: " * 500, "a" * 70000, "filename cm-score",
]  # fmt: skip
PIECES = [text.encode() for text in _TEXTS] + [
    b"\xff", b"\xff\xfe", b"\xfe\xff", b"\xed\xa0\x80", b"\xc3", b"\x80abc", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0B", b"\0BFM ", b"\0BCM ", b"\0BCM2 ",
    b"\x04", b"PKL", b"NPY", b"AUDIO", b"RIFF", b"fLaC", b"\x1f\x8b", b"PK\x03\x04", b"\x80\x02cos\nsystem\n(S'touch canary'\ntR.",
    b"PKLcos\nsystem\n(S'touch canary'\ntR.",
]  # fmt: skip

Content = bytes | str  # str: what stands in the file's place, one of PLACES
PLACES = ("missing", "directory", "loop")


class Draws:
    """Choices by some bytes, two each; the first of all that may be chosen when the bytes are used up."""

    LENGTH = 48  # bytes, enough for every file

    def __init__(self, data: bytes):
        self._left = data

    def below(self, limit: int) -> int:
        taken, self._left = self._left[:2], self._left[2:]
        return int.from_bytes(taken, "little") % limit

    def one_of(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def some_left(self) -> bytes:
        return self._left[: self.below(len(self._left) + 1)]


def _whole(kind: str, data: bytes) -> bytes:
    """Changes that a system or an editor makes to a whole file."""
    if kind == "crlf":
        return data.replace(b"\n", b"\r\n")
    if kind == "cr":
        return data.replace(b"\n", b"\r")
    if kind == "bom":
        return codecs.BOM_UTF8 + data
    if kind == "utf16":
        return data.decode(errors="replace").encode("utf-16")
    if kind == "gzip":
        return gzip.compress(data, 1)
    if kind == "no newline":
        return data.rstrip(b"\n")
    if kind == "tabs":
        return data.replace(b" ", b"\t")
    if kind == "upper":
        return data.upper()
    return data + data  # twice


WHOLE = ("crlf", "cr", "bom", "utf16", "gzip", "no newline", "tabs", "upper", "twice")
EDITS = (
    "token",
    "token",
    "token",
    "insert",
    "insert",
    "overwrite",
    "delete",
    "truncate",
    "byte",
    "drop line",
    "repeat line",
    "move line",
    "whole",
)


def edit(data: bytes, how: str, where: int, piece: bytes) -> bytes:
    """One change of `data`; `where`, 0 to 65535, is a place in it as a share of the whole."""
    at = where * (len(data) + 1) >> 16
    if how == "insert":
        return data[:at] + piece + data[at:]
    if how == "overwrite":
        return data[:at] + piece[:64] + data[at + len(piece[:64]) :]
    if how == "delete":
        return data[:at] + data[at + 1 + len(piece) % 9 :]
    if how == "truncate":
        return data[:at]
    if how == "byte":
        return data[:at] + bytes([(where + len(piece)) % 256]) + data[at + 1 :]
    if how == "whole":
        return _whole(WHOLE[where % len(WHOLE)], data)
    if how == "token":
        tokens = data.split(b" ")
        index = where * len(tokens) >> 16
        head, newline, rest = tokens[index].partition(b"\n")
        tokens[index] = piece + newline + rest if where % 2 else head + newline + piece
        return b" ".join(tokens)
    lines = data.splitlines(keepends=True)
    if not lines:
        return piece
    index = where * len(lines) >> 16
    if how == "drop line":
        del lines[index]
    elif how == "repeat line":
        lines.insert(index, lines[index])
    else:
        lines.append(lines.pop(index))
    return b"".join(lines)


def _made_up(draws: Draws) -> bytes:
    kind, data = draws.below(3), draws.some_left()
    if kind == 1:
        return bytes(byte & 127 for byte in data)
    return data.decode("utf-16-le", errors="ignore").encode() if kind == 2 else data


def spoilt(data: bytes, draws: Draws) -> Content:
    """A file like `data`, spoilt; now and then something made up, or no file."""
    kind = draws.below(20)
    if kind >= 16:
        return draws.one_of(PLACES) if kind == 16 else _made_up(draws)
    for _ in range(1 + draws.below(4)):
        data = edit(data, draws.one_of(EDITS), draws.below(2**16), draws.one_of(PIECES))
    return data


_ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "x", "nan", "1", "../../out_of_the_way",
    f"$({COMMAND})", f"{COMMAND} |", "<script>alert(1)</script>", "a\0b", "é名", [], [[]], [None], [1, "a"], {}, {"a": {}}, {"name": None}, {"": 1},
]  # fmt: skip


def _places(tree: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """(container, key) of every value within a tree of dicts and lists."""
    for key, value in list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)):
        found.append((tree, key))
        if isinstance(value, dict | list):
            _places(value, found)
    return found


def change_tree(tree: Any, changes: Sequence[tuple[int, int]]) -> Any:
    """`tree`, changed in place: of each (where, what) a value is replaced by an odd one, taken out, or renamed."""
    for where, what in changes:
        places = _places(tree, [])
        if not places:
            return tree
        container, key = places[where % len(places)]
        if what < len(_ODD_VALUES):
            container[key] = copy.deepcopy(_ODD_VALUES[what])
        elif what % 2 or isinstance(container, list):
            del container[key]
        else:
            container[f"{key}x"] = container.pop(key)
    return tree


def changes(draws: Draws) -> list[tuple[int, int]]:
    """For change_tree()."""
    return [(draws.below(1000), draws.below(len(_ODD_VALUES) + 6)) for _ in range(1 + draws.below(3))]


def _spoilt_tree(data: bytes, draws: Draws, load: Callable[[bytes], Any], dump: Callable[[Any], str]) -> Content:
    """A file of nested values like `data`, with odd values in it, or spoilt as a text is."""
    if draws.below(5) >= 3:
        return spoilt(data, draws)
    return dump(change_tree(copy.deepcopy(load(data)), changes(draws))).encode()


def spoilt_json(data: bytes, draws: Draws) -> Content:
    return _spoilt_tree(data, draws, json.loads, json.dumps)


_load_yaml = functools.cache(yaml.safe_load)  # slow, and always the same few
_dump_yaml = functools.partial(yaml.dump, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)


def spoilt_yaml(data: bytes, draws: Draws) -> Content:
    return _spoilt_tree(data, draws, _load_yaml, _dump_yaml)
