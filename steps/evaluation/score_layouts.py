"""What each column of a CM score file is: by its heading, by its first line, or as `--columns` says.

A layout is the roles of the columns in their order: utt, attack, key, score, and `-` for what is not needed. A layout
that is told by the first line is one of LAYOUTS: the score is a number there and the key bonafide or spoof.
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
# What headings call the columns, letters and digits alone
HEADINGS = {
    UTT: {
        "utt",
        "uttid",
        "utterance",
        "utteranceid",
        "uttname",
        "file",
        "filename",
        "fileid",
        "filepath",
        "path",
        "wav",
        "trial",
        "trialid",
        "name",
        "id",
    },
    SCORE: {"score", "scores", "cmscore", "llr"},
    KEY: {"key", "label", "cmlabel", "class"},
    ATTACK: {"attack", "attackid", "attacktype"},
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
            "what the columns of the score files are, where it is not told by their heading or first line: utt, attack,"
            ' key, score, and - for what is not needed, such as "- utt score key"'
        ),
    )


def in_words(roles: Sequence[str]) -> str:
    return " ".join(role.upper() for role in roles)


def roles_of(layout: str) -> tuple[str, ...]:
    return tuple(role if role in ROLES else OTHER for role in layout.lower().split())


def form_of(line: str, roles: Sequence[str] | None = None) -> Form:
    """How to read a score file that begins with `line`. roles: of its columns, if they are known.

    Raises ValueError, which says what to do, for a line that does not tell.
    """
    heading = _heading_roles(line)
    if heading is not None:
        split, found = heading
        if roles is None:
            _refuse_repeated(found)
    else:
        split = _splitter(line)
    fields, delimited = split(line), split is not str.split
    if roles is not None and len(fields) != len(roles):
        raise ValueError(f"{len(fields)} columns where --columns names {len(roles)}: {quoted(line)}")
    if heading is not None or roles is not None:
        chosen = found if roles is None else tuple(roles)
        return Form(chosen, in_words(chosen), split, heading is not None, delimited=delimited)
    fitting = [layout for layout in LAYOUTS if _fits(layout, fields)]
    if len(fitting) > 1:
        choices = " or ".join(f'"{" ".join(roles_of(layout))}"' for layout in fitting)
        raise ValueError(f"its columns could be {' or '.join(fitting)}; say which by --columns {choices}")
    if not fitting:
        if suggested := _suggested(fields):
            raise ValueError(
                f'its {len(fields)} columns are not {OURS[0]}; say what they are by --columns "{suggested}" if that'
                " is so" + ("; ATTACK KEY SCORE are ASV scores, for --asv-scores" if len(fields) == 3 else "")
            )
        fitting = [layout for layout in OURS if len(layout.split()) == len(fields)]  # its faults are told line by line
    if not fitting:
        raise ValueError(
            f"{len(fields)} column{'s' * (len(fields) > 1)}, which are of no known layout: {quoted(line)}; write"
            f" {WANTED}"
        )
    return Form(roles_of(fitting[0]), fitting[0], split, guessed=True, delimited=delimited)


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
            return [
                field.strip() for field in next(csv.reader([line.strip()], delimiter=delimiter, skipinitialspace=True))
            ]
        except csv.Error as error:
            raise ValueError(str(error)) from None

    return split


def _splitter(line: str) -> Split:
    """Blanks and tabs, unless the line is in one piece but for a delimiter, or has one after each column."""
    words = line.split()
    for delimiter in ",;":
        if delimiter in line and (len(words) == 1 or all(word.endswith(delimiter) for word in words[:-1])):
            return _csv(delimiter)
    return str.split


def _heading_roles(line: str) -> tuple[Split, tuple[str, ...]] | None:
    """Of a line that names the utterance's and the score's column; None for any other."""
    for split in (str.split, _csv(","), _csv(";")):
        names = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in split(line)]
        roles = tuple(next((role for role, known in HEADINGS.items() if name in known), OTHER) for name in names)
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
