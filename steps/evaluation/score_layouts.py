"""The role of each column of a CM score file: by its heading, by its first line, or as `--columns` says.

A layout is the roles of the columns in their order: utt, attack, key, score, and `-` for a column that is not needed.
A layout that is guessed from the first line is one of LAYOUTS: the score is a number there and the key bonafide or
spoof.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Callable, Sequence

from steps.evaluation.protocols import BONAFIDE, SPOOF
from steps.evaluation.text_columns import Form
from utils.files import quoted

UTT, ATTACK, KEY, SCORE, OTHER = "utt", "attack", "key", "score", "-"
ROLES = (UTT, ATTACK, KEY, SCORE, OTHER)
OURS = ("UTT ATTACK KEY SCORE", "UTT SCORE")
# In words; a role that is none of ROLES is not needed, and one in small letters is the word that stands there.
LAYOUTS = (
    *OURS,
    "SPK UTT SCORE KEY",  # evaluation package of ASVspoof 5
    "SPK UTT ENV ATTACK KEY SCORE",  # the organisers' baselines of ASVspoof 2019, ENV - in LA
    "output UTT LABEL SCORE",  # NII's scripts; LABEL is 0, 1, or -1 where it is not known
    "UTT SCORE KEY",
)
# Names of the columns in headings, letters and digits alone
HEADINGS = {
    UTT: "utt uttid utterance utteranceid uttname file filename fileid filepath path wav trial trialid name id",
    SCORE: "score scores cmscore llr",
    KEY: "key label cmlabel class",
    ATTACK: "attack attackid attacktype",
}
WANTED = (
    "UTT ATTACK KEY SCORE (KEY bonafide or spoof, ATTACK - for bona fide), UTT SCORE and give --protocol, or say what"
    ' its columns are, such as --columns "- utt score key"; ATTACK KEY SCORE are ASV scores, for --asv-scores'
)

Split = Callable[[str], list[str]]


def number(text: str) -> float:
    """Raises ValueError for what is not a number to all readers."""
    if "_" in text:  # Python takes 1_000; the challenge's script and other readers do not
        raise ValueError(text)
    return float(text)


def is_number(text: str) -> bool:
    try:
        number(text)
    except ValueError:
        return False
    return True


def columns_option(text: str) -> tuple[str, ...]:
    """The roles in `text`, the value of --columns. Raises ArgumentTypeError for any other."""
    roles = tuple(re.split(r"[\s,;]+", text.strip().lower()))
    unknown = [role for role in roles if role not in ROLES]
    if unknown or any(roles.count(role) > 1 for role in ROLES if role != OTHER) or not {UTT, SCORE} <= set(roles):
        raise argparse.ArgumentTypeError(
            f"{text!r}: name each column, {', '.join(ROLES[:-1])} once at most and - for others, utt and score among"
            ' them, such as "- utt score key"'
        )
    return roles


def add_columns_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--columns",
        type=columns_option,
        metavar="NAMES",
        help=(
            "the columns of the score files, if neither their heading nor their first line names them. Write utt,"
            ' attack, key and score, and - for a column that is not needed, such as "- utt score key"'
        ),
    )


def roles_of(layout: str) -> tuple[str, ...]:
    return tuple(role if role in ROLES else OTHER for role in layout.lower().split())


def form_of(line: str, roles: Sequence[str] | None = None) -> Form:
    """How to read a score file that begins with `line`. roles: of its columns, if they are known.

    Raises ValueError, which says how to fix it, if the columns cannot be known from the line.
    """
    heading = _heading_roles(line)
    split, found = heading or (_splitter(line), None)
    if found is not None and roles is None:
        _refuse_repeated(found)
    fields = split(line)
    if roles is not None and len(fields) != len(roles):
        raise ValueError(f"{len(fields)} columns where --columns names {len(roles)}: {quoted(line)}")
    known = found if roles is None else tuple(roles)
    if known is not None:
        return Form(known, " ".join(known).upper(), split, heading is not None)
    layout = _layout_of(line, fields)
    return Form(roles_of(layout), layout, split, guessed=True)


def _layout_of(line: str, fields: Sequence[str]) -> str:
    """The one of LAYOUTS that the first line fits; one of OURS, whose faults are reported line by line, if it only has
    its number of columns. Raises ValueError for none or several."""
    fitting = [layout for layout in LAYOUTS if _fits(layout, fields)]
    if len(fitting) > 1:
        choices = " or ".join(f'"{" ".join(roles_of(layout))}"' for layout in fitting)
        raise ValueError(f"its columns could be {' or '.join(fitting)}; say which by --columns {choices}")
    if fitting:
        return fitting[0]
    if suggested := _suggested(fields):
        asv = "; ATTACK KEY SCORE are ASV scores, for --asv-scores" if len(fields) == 3 else ""
        ours = f"its {len(fields)} columns are not {OURS[0]}"
        raise ValueError(f'{ours}; say what they are by --columns "{suggested}" if that is so{asv}')
    for layout in OURS:
        if len(layout.split()) == len(fields):
            return layout
    count = f"{len(fields)} column{'s' * (len(fields) > 1)}"
    raise ValueError(f"{count}, which are of no known layout: {quoted(line)}; write {WANTED}")


def _refuse_repeated(found: Sequence[str]) -> None:
    for role in HEADINGS:
        if found.count(role) > 1:
            first = found.index(role)
            shown = " ".join(OTHER if name == role and i != first else name for i, name in enumerate(found))
            raise ValueError(
                f'its heading has several columns that could be the {role}; say which by --columns, such as "{shown}"'
            )


def _csv(delimiter: str) -> Split:
    def split(line: str) -> list[str]:
        try:
            (fields,) = csv.reader([line.strip()], delimiter=delimiter, skipinitialspace=True)
        except csv.Error as error:
            raise ValueError(str(error)) from None
        return [field.strip() for field in fields]

    return split


def _splitter(line: str) -> Split:
    """Blanks and tabs, unless a delimiter is all that separates the line's fields, or follows each of them."""
    words = line.split()
    for delimiter in ",;":
        if delimiter in line and (len(words) == 1 or all(word.endswith(delimiter) for word in words[:-1])):
            return _csv(delimiter)
    return str.split


def _heading_roles(line: str) -> tuple[Split, tuple[str, ...]] | None:
    """Of a line that names the utterance's and the score's column; None for any other."""
    role_of = {name: role for role, names in HEADINGS.items() for name in names.split()}
    for split in (str.split, _csv(","), _csv(";")):
        names = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in split(line)]
        roles = tuple(role_of.get(name, OTHER) for name in names)
        if {UTT, SCORE} <= set(roles):
            return split, roles
    return None


def _fits(layout: str, fields: Sequence[str]) -> bool:
    names = layout.split()
    if len(names) != len(fields):
        return False
    for name, field in zip(names, fields):
        fits = {"SCORE": is_number(field), "KEY": field in (BONAFIDE, SPOOF)}.get(name, True)
        if not fits or (name.islower() and field.lower() != name):
            return False
    return True


def _suggested(fields: Sequence[str]) -> str | None:
    """--columns for a line with one number, one key at most and something else; None for any other, such as ASV scores,
    and for what is likely UTT ATTACK KEY SCORE with another word for the key."""
    keys = [i for i, field in enumerate(fields) if field in (BONAFIDE, SPOOF)]
    numbers = [i for i, field in enumerate(fields) if is_number(field)]
    others = [i for i in range(len(fields)) if i not in (*keys, *numbers)]
    if len(numbers) != 1 or len(keys) > 1 or not others or {"target", "nontarget"} & set(fields):
        return None
    if not keys and len(fields) == len(OURS[0].split()):
        return None
    utt = 1 if others[:2] == [0, 1] else others[0]  # of two columns at the beginning the first is mostly the speaker
    role_of = {**dict.fromkeys(keys, KEY), numbers[0]: SCORE, utt: UTT}
    return " ".join(role_of.get(i, OTHER) for i in range(len(fields)))
