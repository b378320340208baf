"""Results as a table, as tab-separated values, or as JSON, a line at a time as they come."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from steps.inference.calibration import BONAFIDE, PARTIAL, SPOOF, UNDECIDED
from steps.inference.clock import clock
from steps.inference.result import Heard, Result, Window

_NAME_WIDTH = 48


class Output(Protocol):
    """Each method returns the lines to print."""

    def head(self, about: dict[str, Any]) -> list[str]: ...

    def results(self, results: Sequence[Result]) -> list[str]: ...

    def failed(self, name: str, message: str) -> list[str]: ...

    def stream_head(self, about: dict[str, Any]) -> list[str]: ...

    def heard(self, heard: Heard) -> list[str]: ...


def printable(text: str) -> str:
    """One line of UTF-8 without tabs: control characters, and bytes of a file's name that are no UTF-8, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def about_lines(about: dict[str, Any]) -> list[str]:
    """What the results rest on, in words."""
    lines = [f"{about['model']}, trained on {about['corpus']}"]
    if about["mini_corpus"]:
        lines.append(
            "the mini corpus is small and for trying the toolkit: no verdict here is evidence about a recording"
        )
    if about.get("exit"):  # missing in ONNX files of older versions
        lines.append(about["exit"]["in_words"])
    pools = {
        "every": (
            "a recording's score is the mean of its windows'; bonafide only if each of them is above the threshold"
        ),
        "mean": "a recording's score is the mean of its windows', which alone decides",
        "min": "a recording's score is its lowest window's, for which the calibration was not learnt",
        "first": "scored as steps/score.py does: the first window only",
    }
    lines.append(
        f"{about['frontend']} at {about['sample_rate']} Hz, windows of {about['window_seconds']:.2f} s"
        f"{'' if about['pool'] == 'first' else ' every {:.2f} s'.format(about['hop_seconds'])}; {pools[about['pool']]}"
    )
    if (limit := about.get("domain")) is not None:
        does = "judged, with a note" if about["judge_outside"] else "not judged"
        lines.append(
            f"recordings farther than {limit['threshold']:.1f} from the training set, as "
            f"{100 * (1 - limit['quantile']):g} % of dev are, are {does}"
        )
    elif about.get("no_domain"):  # missing in ONNX files of older versions
        lines.append(f"no alarm for recordings unlike the training set: {about['no_domain']}")
    if about.get("frame_threshold") is not None:  # missing in ONNX files of older versions
        lines.append(
            f"frames are spoofed where their score <= {about['frame_threshold']:.3f}, as steps/locate.py found"
        )
    elif about.get("no_frames"):
        lines.append(f"no spoofed stretches: {about['no_frames']}")
    made = about["calibration"]
    if made is None:
        lines.append(f"no LLR, no verdict: {about['no_calibration']}")
        return lines
    of = made["trained_on"]
    eer = "" if of["eer"] is None else f", EER {100 * of['eer']:.1f} %"
    cllr = "" if of["cllr"] is None else f", Cllr {of['cllr']:.3f}"
    sign = "-" if made["offset"] < 0 else "+"
    lines.append(
        f"LLR = {made['weight']:.4g} * score {sign} {abs(made['offset']):.4g}, "
        f"learnt on {' '.join(of['sets'] or ['?'])} ({of['n_bonafide']} bona fide, {of['n_spoof']} spoof{eer}{cllr})"
    )
    if made["trained_on_eval"]:
        lines.append("the calibration was trained on evaluation trials (trained_on_eval)")
    other = "" if of["eer_threshold"] is None else f"; the EER on dev is at {of['eer_threshold']:+.3f}"
    spoof, bonafide = about["threshold"], about["bonafide_above"]
    where = f"bonafide where LLR > {bonafide:.3f}"
    where += "" if spoof == bonafide else f", spoof where LLR <= {spoof:.3f}, undecided between"
    lines.append(f"{where}: {about['threshold_rule']}{other}")
    return lines


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:+.{digits}f}"


def stretch(window: Window, seconds: float) -> str:
    """A window by its time and what it scores: `12.5-17.4 s (-1.20)`, in minutes where the recording has them."""
    unit = " s" if seconds < 60 else ""
    value = window.score if window.llr is None else window.llr
    return f"{clock(window.begin, seconds)}-{clock(window.end, seconds)}{unit} ({value:+.2f})"


class Table:
    """For people: columns as wide as the names need, up to a limit."""

    def __init__(self, names: Sequence[str], windows: bool, lowest: int):
        self._width = max([8, *(min(len(printable(name)), _NAME_WIDTH) for name in names)])
        self._windows, self._lowest = windows, lowest

    def _row(self, name: str, score: str, llr: str, verdict: str, seconds: str, count: str, rest: str) -> str:
        return f"{name:<{self._width}}  {score:>8}  {llr:>7}  {verdict:<9}  {seconds:>8}  {count:>7}  {rest}".rstrip()

    def head(self, about: dict[str, Any]) -> list[str]:
        says = "LLR" if about["calibration"] else "score"
        titles = self._row(
            "file",
            "score",
            "LLR",
            "verdict",
            "seconds",
            "windows",
            f"those below the threshold; lowest ({says}); notes",
        )
        return [*("# " + line for line in about_lines(about)), titles]

    def results(self, results: Sequence[Result]) -> list[str]:
        lines = []
        for one in results:
            name = printable(one.name) + ("" if one.channel in (None, "mixed") else f" [{one.channel}]")
            low = ", ".join(stretch(w, one.seconds) for w in one.lowest(self._lowest)) if len(one.windows) > 1 else ""
            rest = "; ".join(
                filter(None, [one.spoofed_in_words, one.below_in_words, low and f"lowest: {low}", *one.notes])
            )
            length, count = f"{one.seconds:.2f}", str(len(one.windows))
            lines.append(
                self._row(name, _number(one.score, 3), _number(one.llr, 2), one.verdict or "-", length, count, rest)
            )
            for w in one.windows if self._windows else ():
                when = f"  {clock(w.begin, one.seconds)}-{clock(w.end, one.seconds)}"
                why = "silent" if w.score is None else "" if w.counts else "not counted"
                says = "below" if w.below else ""
                lines.append(self._row(when, _number(w.score, 3), _number(w.llr, 2), says, "", "", why))
        return lines

    def failed(self, name: str, message: str) -> list[str]:
        return [f"{printable(name):<{self._width}}  error: {message_without(name, message)}"]

    @staticmethod
    def _heard_row(when: str, window: Sequence[str], so_far: Sequence[str]) -> str:
        own, until_now = (f"{one[0]:>8}  {one[1]:>7}  {one[2]:<9}" for one in (window, so_far))
        return f"{when:<19}  {own}  {until_now}  {so_far[3]:>5}".rstrip()

    def stream_head(self, about: dict[str, Any]) -> list[str]:
        titles = self._heard_row("window", ("score", "LLR", "verdict"), ("so far", "LLR", "verdict", "below"))
        return [*("# " + line for line in about_lines(about)), titles]

    def heard(self, heard: Heard) -> list[str]:
        window, hours = heard.window, 3600
        when = f"{clock(window.begin, hours)}-{clock(window.end, hours)}"
        if heard.channel not in (None, "mixed"):
            when += f" [{heard.channel}]"
        own = (
            _number(window.score, 3),
            _number(window.llr, 2),
            "silent" if window.score is None else heard.verdict or "-",
        )
        below = "-" if heard.below_so_far is None else str(heard.below_so_far)
        so_far = _number(heard.score, 3), _number(heard.llr, 2), heard.verdict_so_far or "-", below
        return [self._heard_row(when, own, so_far)]


def message_without(name: str, message: str) -> str:
    """A message that does not repeat the name that stands before it."""
    return printable(message.removeprefix(f"{name}: "))


class Tsv:
    """For programs: lines of `#`, one of titles, then one of each recording, channel or, if so wished, window."""

    TITLES = [
        "file", "channel", "begin", "end", "score", "llr", "verdict", "windows", "lowest", "notes", "error", "n_below",
        "below",
    ]  # fmt: skip

    def __init__(self, windows: bool, lowest: int):
        self._windows, self._lowest = windows, lowest

    def head(self, about: dict[str, Any]) -> list[str]:
        return [*("# " + line for line in about_lines(about)), "\t".join(self.TITLES)]

    def results(self, results: Sequence[Result]) -> list[str]:
        lines = []
        for one in results:
            name, channel = _escaped(one.name), one.channel or "-"
            low = _spans((w.begin, w.end) for w in one.lowest(self._lowest))
            n_below, below = ("-", "-") if one.below is None else (one.below.windows, _spans(one.below.stretches))
            lines.append(
                self._line(
                    name,
                    channel,
                    0.0,
                    one.seconds,
                    one.score,
                    one.llr,
                    one.verdict,
                    len(one.windows),
                    low,
                    "; ".join(one.notes) or "-",
                    "-",
                    n_below,
                    below,
                )
            )
            for w in one.windows if self._windows else ():
                lines.append(
                    self._line(
                        name,
                        channel,
                        w.begin,
                        w.end,
                        w.score,
                        w.llr,
                        None,
                        1,
                        "-",
                        "window" if w.counts else "window not counted",
                        "-",
                        None if w.below is None else int(w.below),
                        "-",
                    )
                )
        return lines

    @staticmethod
    def _line(*values: Any) -> str:
        texts = []
        for title, value in zip(Tsv.TITLES, values):
            if value is None:
                texts.append("-")
            elif isinstance(value, float):
                texts.append(f"{value:.3f}" if title in ("begin", "end") else repr(value))
            else:
                texts.append(str(value))
        return "\t".join(texts)

    def failed(self, name: str, message: str) -> list[str]:
        said = {"file": _escaped(name), "error": message_without(name, message)}
        return [self._line(*(said.get(title, "-") for title in self.TITLES))]

    STREAM_TITLES = [
        "channel", "begin", "end", "score", "llr", "verdict", "score_so_far", "llr_so_far", "verdict_so_far",
        "below_so_far",
    ]  # fmt: skip

    def stream_head(self, about: dict[str, Any]) -> list[str]:
        return [*("# " + line for line in about_lines(about)), "\t".join(self.STREAM_TITLES)]

    def heard(self, heard: Heard) -> list[str]:
        return ["\t".join("-" if value is None else str(value) for value in _heard_values(heard))]


def _spans(stretches: Iterable[tuple[float, float]]) -> str:
    return ",".join(f"{begin:.3f}-{end:.3f}" for begin, end in stretches) or "-"


def _escaped(name: str) -> str:
    """As printable, with the backslash itself escaped, so that the name can be had back."""
    return printable(name.replace("\\", "\\\\"))


class JsonLines:
    """For programs: an object a line; the first tells what the results rest on, then one of each recording or
    channel."""

    def __init__(self, lowest: int):
        self._lowest = lowest

    def head(self, about: dict[str, Any]) -> list[str]:
        return [_json({"about": about | {"in_words": about_lines(about)}})]

    def results(self, results: Sequence[Result]) -> list[str]:
        return [
            _json(
                {
                    "file": one.name,
                    "channel": one.channel,
                    "seconds": one.seconds,
                    "score": one.score,
                    "llr": one.llr,
                    "verdict": one.verdict,
                    "not_judged": one.not_judged,
                    "distance": one.distance,
                    "outside": one.outside,
                    "below_threshold": below_threshold(one),
                    "spoofed_stretches": spoofed_stretches(one),
                    "notes": one.notes,
                    "lowest": [_window(w) for w in one.lowest(self._lowest)],
                    "windows": [_window(w) for w in one.windows],
                }
            )
            for one in results
        ]

    def failed(self, name: str, message: str) -> list[str]:
        return [_json({"file": name, "error": message_without(name, message)})]

    def stream_head(self, about: dict[str, Any]) -> list[str]:
        return self.head(about)

    def heard(self, heard: Heard) -> list[str]:
        return [_json(dict(zip(Tsv.STREAM_TITLES, _heard_values(heard))))]


def _heard_values(heard: Heard) -> list[Any]:
    """In the order of Tsv.STREAM_TITLES."""
    window = heard.window
    own = [round(window.begin, 3), round(window.end, 3), window.score, window.llr, heard.verdict]
    return [heard.channel, *own, heard.score, heard.llr, heard.verdict_so_far, heard.below_so_far]


def spoofed_stretches(result: Result) -> list[dict[str, float]] | None:
    """As JSON and the API tell them; None of detectors that do not score frames, and where there is no verdict."""
    return None if result.stretches is None else [stretch._asdict() for stretch in result.stretches]


def below_threshold(result: Result) -> dict[str, Any] | None:
    """As JSON and the API tell it; None where there is no verdict."""
    if result.below is None:
        return None
    stretches = [{"begin": begin, "end": end} for begin, end in result.below.stretches]
    counts = {"windows": result.below.windows, "of": result.below.of}
    return counts | {"stretches": stretches, "in_words": result.below_in_words}


def _window(window: Window) -> dict[str, float | None]:
    return dataclasses.asdict(window)


def _json(value: dict[str, Any]) -> str:
    """In ASCII, which any reader takes; a byte of a name that is no UTF-8 becomes a lone surrogate."""
    return json.dumps(value, allow_nan=False)


def summary(verdicts: Counter[str | None], failed: int) -> str:
    """Counts of what was said, for the end."""
    said = []
    answers = (BONAFIDE, PARTIAL, SPOOF, *([UNDECIDED] if verdicts[UNDECIDED] else []))
    if any(verdicts[verdict] for verdict in answers):
        said.append(", ".join(f"{verdicts[verdict]} {verdict}" for verdict in answers))
    if verdicts[None]:
        said.append(f"{verdicts[None]} scored without a verdict")
    if failed:
        said.append(f"{failed} could not be scored")
    return "; ".join(said) or "nothing was scored"
