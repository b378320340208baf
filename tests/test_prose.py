"""tests/prose.py: each of its rules finds a bad text and accepts a good one; the project's own texts pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import prose
from tests.in_process import call


def of_page(tmp_path: Path, text: str, name: str = "page.md") -> list[str]:
    page = tmp_path / name
    page.write_text(text, encoding="utf-8")
    return [f"{finding.line}: {finding.reason}" for finding in prose.findings_of_page(page)]


def of_program(tmp_path: Path, text: str, name: str = "program.py") -> list[str]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return [f"{finding.line}: {finding.reason}" for finding in prose.findings_of_program(path, {"TimeoutOfJob"})]


LONG = "word " * 40 + "end."


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It keeps the whole file.", "1: 'whole': write complete, entire, all of"),
        ("Intro.\n\nIt is to be\nmended.", "4: 'mended': write fix"),
        ("The limit, less 6 dB, is kept.", "1: 'less 6': write minus"),
        ("| a | b |\n|---|---|\n| x | told |", "3: 'told': write reported, said"),
        ("# The whole page", "1: 'whole': write complete, entire, all of"),
        ("* one\n* gone on from there", "2: 'gone on from': write continue, resume"),
        ("What holds is this.", "1: 'What' begins a sentence: put the subject first and name it"),
        ("Of several the mean counts.", "1: 'Of' begins a sentence: put the subject first and name it"),
        (LONG, "1: a sentence of 41 words; at most 40: word word word word word word word word ..."),
        (f"{'word ' * 24}end.", "1: sentences have 25.0 words on average; at most 20"),
        ("See [this](nothing.md).", "1: nothing.md leads nowhere"),
        ("# Here\n\nSee [this](#there).", "3: #there leads nowhere"),
        ("Line.\n" * 251, "251: 251 lines; at most 250"),
    ],
)
def test_a_bad_page_is_found_with_its_line(tmp_path, text, found):
    assert found in of_page(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "It takes a whole number. Less than 6 dB is fine.",
        "What is this? Of course it is plain.",
        "A key `whole` and `mend it` are code.\n\n```\nthe whole told\n```\n\n<!-- the whole -->",
        f"See\n[the page](page.md#a-title), e.g. here.\n\n## A `title`\n\n{'Two words. ' * 300}",
        "\n".join(f"* {'word ' * 15}" for _ in range(20)),  # items are sentences, not one
        "    total = whole hard\n\n[all](https://example.org/whole)",
    ],
)
def test_a_good_page_passes(tmp_path, text):
    assert of_page(tmp_path, text) == []


def test_the_readme_is_read_in_three_minutes(tmp_path):
    assert of_page(tmp_path, "A line.\n" * 130, "README.md") == []
    assert of_page(tmp_path, "A line.\n" * 131, "README.md") == ["131: 131 lines; at most 130"]
    assert of_page(tmp_path, "A fairly long line to fill. " * 400, "README.md") == ["1: 11200 bytes; at most 9000"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"""Sums it.\n\nThe whole file."""\nmake_parser(__doc__, "x")', "3: 'whole': write complete, entire, all of"),
        ('parser.add_argument("--x", help="so many of them")', "1: 'so many': write the number of, up to"),
        ('raise UserError(f"{path}: not " + "whole")', "1: 'whole': write complete, entire, all of"),
        ('\nraise TimeoutOfJob(("a b" if x else "is mended"))', "2: 'mended': write fix"),
        (f'warn("{LONG}")', "1: a sentence of 41 words; at most 40: word word word word word word word word ..."),
        ('raise ValueError(f"{x} is not in 0..1")', "1: 'not in 0..1': write must be between 0 and 1"),
    ],
)
def test_a_bad_text_of_a_program_is_found(tmp_path, text, found):
    assert found in of_program(tmp_path, text)


def test_docstrings_comments_and_single_words_do_not_count(tmp_path):
    text = 'def whole():\n    """The whole docstring, told."""\n    mend = "whole"  # mended\n'
    assert of_program(tmp_path, text) == []


def test_a_part_of_a_message_counts_wherever_it_stands(tmp_path):
    assert of_program(tmp_path, 'x = 1\nMEND = "the whole text"\n') == ["2: 'whole': write complete, entire, all of"]


def test_texts_of_a_shell_script(tmp_path):
    script = (
        "#!/usr/bin/env bash\n# Runs it.\n# It keeps the whole.\n#\n# Usage: x whole\n"
        'whole=1  # mended\nnj="1 2"  # told\n. parse_options.sh\nlater=1  # the whole\nrefuse "$x is left aside"\n'
    )
    assert of_program(tmp_path, script, "a.sh") == [
        "3: 'whole': write complete, entire, all of",
        "6: 'mended': write fix",
        "7: 'told': write reported, said",
        "10: 'left aside': write under a temporary name",
    ]


def test_the_projects_texts_are_plain():
    done = call(prose.main, "prose.py")
    assert (done.returncode, done.stdout) == (0, "")
