"""RESULTS.md (steps/results/markdown.py): what a page that is read elsewhere must not have."""

from __future__ import annotations

from steps.results.markdown import _without_places


def test_absolute_paths_of_confs_are_names_alone():
    conf = {
        "encoder": {"folder": "/home/me/downloads/whisper"},
        "parts": ["/a/b.yaml", "c/d", 3],
        "folder": "x/y",
        "n": None,
    }
    assert _without_places(conf) == {
        "encoder": {"folder": "whisper"}, "parts": ["b.yaml", "c/d", 3], "folder": "x/y", "n": None,
    }  # fmt: skip
