"""What a mini corpus lacks, told with one line for each reason."""

from __future__ import annotations

import re
from collections import defaultdict

from utils.cli import warn


class Losses:
    """Collects what is lost and why, in the order in which the reasons came up."""

    def __init__(self) -> None:
        self._by_reason: dict[str, list[str]] = {}

    def __call__(self, what: str, why: object) -> None:
        """`what`: "train speaker NAME", or anything else in words. What has the same `why` is told together."""
        self._by_reason.setdefault(str(why), []).append(what)

    def tell(self) -> tuple[str, ...]:
        """Warn, one line for each reason; returns what is lost, a text for each reason."""
        lost = []
        for why, whats in self._by_reason.items():
            lost.append(_together(whats))
            warn(f"left out: {lost[-1]}: {why}")
        return tuple(lost)


def _together(whats: list[str]) -> str:
    """ "speakers a, b (train), c (dev); attack A11" from one text for each; every part in the order of its first."""
    speakers: dict[str, list[str]] = defaultdict(list)
    others: dict[str, None] = {}
    for what in whats:
        found = re.fullmatch(r"(\w+) speaker (\S+)", what)
        if found:
            speakers[found[1]].append(found[2])
        else:
            others[what] = None
    parts = [f"{', '.join(names)} ({split})" for split, names in speakers.items()]
    count = sum(map(len, speakers.values()))
    parts_of_text = [f"speaker{'s' if count > 1 else ''} {', '.join(parts)}"] if parts else []
    return ", ".join([*parts_of_text, *others])
