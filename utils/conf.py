"""Conf files: YAML checked against a dataclass, so that nothing unknown, misspelt or of a wrong type is taken.

A conf may name another of the same folder in `base:`; its keys are then overridden one by one (a list as a whole).

A dataclass whose groups are of several kinds has a static method `schema_of(values)`: it returns the dataclass that
these values are checked against, and raises a ValueError that begins with the name of the key that decides.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeGuard, TypeVar

import yaml

from utils.cli import UserError
from utils.files import read_map, write_aside

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Schema = TypeVar("Schema", bound="DataclassInstance")


# What no conf comes near. A file of aliases of aliases (`b: [*a, *a]`, `c: [*b, *b]`, ...) is small and means billions.
_MOST_VALUES = 50_000
_DEEPEST = 40
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq")}


def nearest(word: str, names: Iterable[str], cutoff: float = 0.4) -> str | None:
    """The one of `names` that is most like `word`; of several that are, the one that is alike for longer from its
    begin.

    cutoff: how alike it has to be, from 0 to 1. None where none is.
    """

    def likeness(name: str) -> tuple[float, int, str]:
        one, other = name.casefold(), word.casefold()
        return difflib.SequenceMatcher(None, one, other).ratio(), len(os.path.commonprefix([one, other])), name

    best = max(map(likeness, names), default=(0.0, 0, ""))
    return best[2] if best[0] >= cutoff and best[2] else None


def hint_of(word: str, names: Iterable[str], prefix: str = "") -> str:
    """What an error says of a misspelt name: the nearest right one, with `prefix` before it, or else all."""
    names = list(names)
    near = nearest(word, names)
    return f"did you mean {prefix + near!r}?" if near else f"known here: {', '.join(names)}"


def _construct(node: yaml.Node, path: Path | str, prefix: str, lines: dict[str, str], depth: int = 0) -> Any:
    """Plain values of a YAML node; `lines` takes, for each dotted key, the place where it stands.

    Raises UserError, naming the line, for a key given twice or that is no plain text, for a tag that is not YAML's own,
    for a value that does not fit its tag, and for more than _MOST_VALUES or nesting beyond _DEEPEST.
    """
    here = f"{path}: line {node.start_mark.line + 1}"
    if depth > _DEEPEST or len(lines) > _MOST_VALUES:
        what = f"nested more than {_DEEPEST} deep" if depth > _DEEPEST else f"more than {_MOST_VALUES} values"
        raise UserError(f"{here}: {what}, aliases (*name) counted each time; a conf is not so big")
    if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
        raise UserError(f"{here}: the tag {node.tag} is not taken; write plain values")
    if isinstance(node, yaml.MappingNode):
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise UserError(f"{here}: a key is a list or a group; write it as plain text")
            key = str(key_node.value)
            place = f"{path}: line {key_node.start_mark.line + 1}"
            if key in out:
                raise UserError(f"{place}: the key {prefix}{key} stands there twice")
            lines[prefix + key] = place
            out[key] = _construct(value_node, path, f"{prefix}{key}.", lines, depth + 1)
        return out
    if isinstance(node, yaml.SequenceNode):
        values = []
        for i, child in enumerate(node.value):
            place = f"{prefix[:-1]}[{i}]"
            lines[place] = f"{path}: line {child.start_mark.line + 1}"
            values.append(_construct(child, path, f"{place}.", lines, depth + 1))
        return values
    try:
        return yaml.constructor.SafeConstructor().construct_object(node, deep=True)
    except Exception as error:  # PyYAML raises many kinds for what does not fit its tag, such as the date 2024-02-31
        text = node.value if len(node.value) <= 60 else f"{node.value[:57]}..."
        raise UserError(f"{here}: {text!r} cannot be read as a value: {error}") from None


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _merged_value(merged.get(key), value)
    return merged


def _merged_value(old: Any, new: Any) -> Any:
    """Groups merge key by key, and a group whose keys are numbers changes those entries of a list, from 0."""
    if isinstance(new, Mapping) and isinstance(old, dict):
        return _merge(old, new)
    if isinstance(new, Mapping) and isinstance(old, list):
        entries = {str(i): value for i, value in enumerate(old)}
        fits = all(
            key in entries and isinstance(entries[key], Mapping) == isinstance(value, Mapping)
            for key, value in new.items()
        )
        if fits:
            return list(_merge(entries, new).values())
    return new


def read_yaml(path: str | Path, lines: dict[str, str] | None = None, _seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A conf file's values, those of its `base:` beneath them: a conf, or several of which the later ones win.

    `lines` takes each dotted key's file and line.
    """
    path = Path(path)
    lines = {} if lines is None else lines
    try:
        if path.resolve() in _seen:
            raise UserError(f"{path}: its base: leads back to itself")
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        former = path.parent.parent / "former_names.txt"
        if instead := read_map(former).get(f"{path.parent.name}/{path.name}") if former.is_file() else None:
            hint = f"; give {instead} instead"
        else:
            near = nearest(path.stem, (p.stem for p in path.parent.glob("*.yaml")), 0.5)
            hint = f"; did you mean {path.parent / near}.yaml?" if near else ""
        whose = f", the base: of {_seen[-1]}" if _seen else ""
        raise UserError(f"{path}: no such conf file{whose}{hint}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or a NUL in the name
        whose = f", the base: of {_seen[-1]}" if _seen else ""
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        # YAML's own errors show the lines around, too
        why = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UserError(f"{str(path)!r}{whose}: {line}not a readable YAML file: {why}") from None
    except RuntimeError:  # of links, and of brackets (RecursionError is one)
        raise UserError(f"{path}: not a readable YAML file: a loop of links, or nested too deeply") from None
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{path}: a conf is lines of `key: value`")
    own_lines: dict[str, str] = {}
    values = _construct(node, path, "", own_lines)
    base = values.pop("base", None)
    if base is not None:
        bases = [base] if isinstance(base, str) else base
        if not isinstance(bases, list) or not bases or not all(isinstance(one, str) and one for one in bases):
            raise UserError(f"{own_lines['base']}: base: {base!r} is not the name of a conf, or a list of such names")
        beneath: Any = {}
        for one in bases:
            beneath = _merge(beneath, read_yaml(path.parent / one, lines, (*_seen, path.resolve())))
        values = _merge(beneath, values)
    lines.update(own_lines)
    return values


def parse_overrides(settings: Iterable[str], section: str, sections: Iterable[str]) -> dict[str, Any]:
    """Those of `section.key=value` settings that belong to `section`, nested, values read as YAML.

    Raises UserError for a setting without `=` or whose section is none of `sections`.
    """
    sections = list(sections)
    nested: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        shown = setting if len(setting) <= 200 else f"{setting[:200]}..."
        head, _, rest = key.strip().partition(".")
        if not equals or not rest:
            raise UserError(f"--set {shown}: write it as section.key=value, such as train.epochs=3")
        if head not in sections:
            raise UserError(f"--set {shown}: no section {head!r}; {hint_of(head, sections)}")
        if head != section:
            continue
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except (yaml.YAMLError, RecursionError):
            raise UserError(f"--set {shown}: it is not a YAML value") from None
        value = None if node is None else _construct(node, f"--set {shown}", "", {})
        here = nested
        *parents, last = rest.split(".")
        for parent in parents:
            here = here.setdefault(parent, {})
            if not isinstance(here, dict):
                raise UserError(f"--set {shown}: another --set gives {parent} a value, so that it has no keys")
        here[last] = value
    return nested


def _place(key: str, lines: Mapping[str, str], source: str) -> str:
    """Where the dotted `key` stands, or else the innermost group or list around it that has a place."""
    while key and key not in lines:
        key = re.sub(r"(\.|^)[^.\[]*$|\[\d+\]$", "", key)
    return lines.get(key, source)


def _convert(value: Any, wanted: Any, key: str, lines: Mapping[str, str], source: str) -> Any:
    """`value` of the dotted `key` as the type `wanted`; see `build`, which tells the other two."""
    where = f"{_place(key, lines, source)}: {key}"
    origin = typing.get_origin(wanted)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(wanted)
        if value is None and type(None) in options:
            return None
        failures = []
        for option in options:
            if option is not type(None):
                try:
                    return _convert(value, option, key, lines, source)
                except UserError as error:
                    failures.append(error)
        raise failures[0]
    if origin is Annotated:
        reader = typing.get_args(wanted)[1]
        return reader(value, where, source)
    if origin is Literal:
        choices = typing.get_args(wanted)
        if value not in choices or isinstance(value, bool) != isinstance(choices[0], bool):
            near = nearest(str(value), map(str, choices), 0.6)
            hint = f"; did you mean {near!r}?" if near else ""
            raise UserError(f"{where}: {value!r} is none of {', '.join(map(str, choices))}{hint}")
        return value
    if origin in (tuple, list):
        item = typing.get_args(wanted)[0]
        if not isinstance(value, list | tuple):
            raise UserError(f"{where}: {value!r} is not a list")
        return tuple(_convert(v, item, f"{key}[{i}]", lines, source) for i, v in enumerate(value))
    if (origin is dict or dataclasses.is_dataclass(wanted)) and not isinstance(value, Mapping):
        raise UserError(f"{where}: {value!r} where a group of keys is expected")
    if origin is dict:
        item = typing.get_args(wanted)[1]
        return {name: _convert(v, item, f"{key}.{name}", lines, source) for name, v in value.items()}
    if wanted is Any:
        return value
    if dataclasses.is_dataclass(wanted):
        if hasattr(wanted, "schema_of"):
            try:
                wanted = wanted.schema_of(value)
            except ValueError as error:
                raise _refused(error, lines, source, f"{key}.") from None
        return build(wanted, value, lines, source, f"{key}.")
    if wanted is bool and isinstance(value, bool):
        return value
    if wanted is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if wanted is float and not isinstance(value, bool):
        try:  # YAML 1.1 reads 1e-4 as text
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if math.isfinite(number):
            return number
    if wanted is str and isinstance(value, str):
        return value
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    raise UserError(f"{where}: {value!r} is not {names.get(wanted, wanted)}")


def _refused(error: ValueError, lines: Mapping[str, str], source: str, prefix: str) -> UserError:
    """What a dataclass said of its values, with the place of the key that it begins with, else that of its group."""
    key = re.split(r"[^\w.\[\]]", str(error), maxsplit=1)[0]
    return UserError(f"{_place(prefix + key, lines, source)}: {prefix}{error}")


def build(schema: type[Schema], values: Mapping[str, Any], lines: Mapping[str, str], source: str, prefix="") -> Schema:
    """An instance of the dataclass `schema` from `values`; every field without a default must be there.

    A field of type `Annotated[T, reader]` is what `reader(value, where, source)` makes of it: `where` begins a message
    about it (place and key), `source` is the conf's file.

    Raises UserError for an unknown key (with the nearest right one), a missing key, a wrong type, and for what the
    dataclass's own __post_init__ refuses with a ValueError.
    """
    hints = typing.get_type_hints(schema, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(schema)}
    made: dict[str, Any] = {}
    for key, value in values.items():
        place = _place(prefix + key, lines, source)
        if key not in fields:
            raise UserError(f"{place}: unknown key {prefix + key!r}; {hint_of(key, fields, prefix)}")
        made[key] = _convert(value, hints[key], prefix + key, lines, source)
    missing = [
        name
        for name, field in fields.items()
        if name not in made and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{_place(prefix[:-1], lines, source)}: the key {prefix + missing[0]!r} is missing")
    try:
        return schema(**made)
    except ValueError as error:
        raise _refused(error, lines, source, prefix) from None


def _read_with(path: str | Path, on_top: Iterable[str | Path], lines: dict[str, str] | None = None) -> dict[str, Any]:
    """The values of a conf, those of other confs over them."""
    values: Any = read_yaml(path, lines)
    for other in on_top:
        values = _merge(values, read_yaml(other, lines))
    return values


def load(
    path: str | Path,
    schema: type[Schema],
    section: str,
    sections: Iterable[str],
    settings: Iterable[str] = (),
    on_top: Iterable[str | Path] = (),
) -> Schema:
    """The conf at `path` as an instance of `schema`; over it the confs `on_top`, and `settings` (`section.key=value`).

    A number in a key is an entry of a list, from 0: `section.steps.0.p=0.5`.
    """
    lines: dict[str, str] = {}
    values = _read_with(path, on_top, lines)
    overrides = parse_overrides(settings, section, sections)
    for dotted, value in _dotted(overrides):
        key = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", dotted)
        if not isinstance(value, Mapping):  # what the file had within it is gone
            for within in [line for line in lines if line.startswith((f"{key}.", f"{key}["))]:
                del lines[within]
        lines[key] = f"--set {section}.{dotted}"
    return build(schema, _merge(values, overrides), lines, str(path))


def load_kind(
    path: str | Path,
    key: str,
    schema_of: Callable[[Any, str], type[Schema]],
    section: str,
    sections: Iterable[str],
    settings: Iterable[str] = (),
    on_top: Iterable[str | Path] = (),
) -> Schema:
    """`load` of a conf whose `key` decides which dataclass it is checked against: schema_of(value, source).

    Raises UserError, too, for a setting of `key` to another value: the conf's other keys, and its name, would not go
    with it.
    """
    settings, sections = list(settings), list(sections)
    kind = read_yaml(path).get(key)
    schema = schema_of(kind, str(path))
    wanted = parse_overrides(settings, section, sections).get(key, kind)
    if wanted != kind:
        given = f"--set {section}.{key}={wanted}"
        schema_of(wanted, given)
        fit = [str(other) for other in sorted(Path(path).parent.glob("*.yaml")) if _value_of(other, key) == wanted]
        instead = f", such as {' or '.join(fit[:3])}" if fit else ""
        raise UserError(
            f"{given}: {path} has {key}: {kind}, whose keys do not go with another; choose a conf of {wanted}{instead}"
        )
    return load(path, schema, section, sections, settings, on_top)


def _value_of(path: Path, key: str) -> Any:
    try:
        return read_yaml(path).get(key)
    except UserError:  # another conf of the folder, which was not asked for
        return None


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each dotted key and its value, a group before what is in it."""
    for key, value in values.items():
        yield f"{prefix}{key}", value
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")


def to_dict(conf: Any) -> dict[str, Any]:
    """Plain values (dict, list, str, numbers) of a conf, fit for YAML and for `torch.load(weights_only=True)`.

    Fields with compare=False, which say where something lies and not what it is, are left out.
    """

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            fields = (field for field in dataclasses.fields(value) if field.compare)
            return {field.name: plain(getattr(value, field.name)) for field in fields}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        return value

    return plain(conf)


def yaml_text(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(values), sort_keys=False, default_flow_style=False)


def write_yaml(path: str | Path, values: Mapping[str, Any]) -> None:
    with write_aside(path) as handle:
        handle.write(yaml_text(values))


def _groups(value: Any) -> TypeGuard[list[Mapping[str, Any]]]:
    """Whether it is a list of groups of keys."""
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Each dotted key whose value differs, as `key: old -> new`."""
    found = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{key}.")
        elif _groups(a) and _groups(b) and len(a) == len(b):
            for i, pair in enumerate(zip(a, b)):
                found += differences(*pair, f"{prefix}{key}[{i}].")
        elif a != b:
            found.append(f"{prefix}{key}: {a} -> {b}")
    return found
