"""The groups of values that a mini corpus's conf consists of. conf.py reads them."""

from __future__ import annotations

from dataclasses import dataclass

SPLITS = ("train", "dev", "eval")  # disjoint speakers; the audio folders of the corpus
LISTS = ("train", "dev", "eval", "eval_known")  # the protocols; eval_known is on the audio folder and speakers of eval


def split_of(name: str) -> str:
    """The split whose speakers and audio folder a list uses."""
    return "eval" if name == "eval_known" else name


@dataclass(frozen=True)
class Utterances:
    """How items (files of one speaker, prompts of one synthetic voice) become utterances."""

    seconds: tuple[float, ...] = (1.5, 3.5)  # length, drawn evenly
    gap_ms: tuple[float, ...] = (60.0, 250.0)  # silence between two items, drawn evenly
    trim_db: float = 35.0  # below an item's 98th-percentile frame level is silence
    longest_pause_ms: float = 200.0  # inside an item
    shortest_item_s: float = 0.15  # shorter ones are left out
    level_db: float = -26.0  # active level of each item, dB of full scale


@dataclass(frozen=True)
class Chain:
    """The channel that every file of both classes goes through."""

    high_pass_hz: float = 60.0
    equalise_hz: tuple[float, ...] = (70.0, 7200.0)
    equalise_bands: int = 36
    equalise_db: float = 20.0  # the largest gain, up or down
    tilt_from_hz: float = 500.0  # the common long-term spectrum is flat up to here
    tilt_db_per_octave: float = -9.0  # and falls so above
    stop_hz: float = 6800.0  # nothing above
    level_db: float = -26.0  # active level, dB of full scale
    silence_ms: tuple[float, ...] = (40.0, 160.0)  # at each end, drawn evenly
    noise_snr_db: tuple[float, ...] = (25.0, 40.0)  # speech-shaped noise over the whole file, drawn evenly
    final_level_db: tuple[float, ...] = (-36.0, -16.0)  # the active level that the file ends with, drawn evenly
    peak: float = 0.98
    g722: bool = True  # through the telephone codec once


@dataclass(frozen=True)
class Verification:
    """The simple speaker verifier behind the ASV score files."""

    enrolment_utterances: int = 3  # of each dev and eval speaker; they are no trials
    non_target_models: int = 4  # other speakers that each bona fide trial claims to be


@dataclass(frozen=True)
class Package:
    """A Debian package: the version that the corpus was made with, and the licence of what is taken from it."""

    version: str
    licence: str = ""


@dataclass(frozen=True)
class Speaker:
    """One person's speech in one package. A person stands in one split only."""

    package: str
    files: str | tuple[str, ...]  # glob, or globs, below the unpacked package
    utterances: int  # at most so many; fewer where the files do not yield them
    leave_out: tuple[str, ...] = ()  # globs of files that hold no speech, against the path below the package
    person: str = ""  # where one person has several entries: the name that they share

    @property
    def globs(self) -> tuple[str, ...]:
        return (self.files,) if isinstance(self.files, str) else self.files


@dataclass(frozen=True)
class Prompts:
    """Texts of one language for the TTS attacks."""

    package: str
    file: str  # gzip'd lines `name: text`


@dataclass(frozen=True)
class Counts:
    train: int = 0
    dev: int = 0
    eval: int = 0
    eval_known: int = 0
