"""The confs of the mini PA corpus: whose speech, how many rooms, devices and replays, and what is drawn for each."""

from __future__ import annotations

from pathlib import Path

from local.mini_corpus import conf as speech_conf
from local.mini_corpus.conf import AttackEntry, MiniCorpusConf
from local.mini_corpus.replay.settings import ReplayConf
from local.mini_corpus.settings import Counts, Verification
from utils import conf
from utils.cli import UserError

ATTACKS = tuple(a + b for a in "ABC" for b in "ABC")

_QUALITY = {"A": "perfect", "B": "high-quality", "C": "low-quality"}


def load(path: str | Path) -> MiniCorpusConf:
    """The conf at `path`, its speakers taken from the LA conf that `speech` names (in the same folder). Raises
    UserError naming file, line and key for whatever is unknown, missing or wrong."""
    lines: dict[str, str] = {}
    values = conf.read_yaml(path, lines)
    source = str(path)
    speech_conf.only(
        values,
        [
            "speech",
            "amounts",
            "room",
            "device",
            "present",
            "lead_ms",
            "low_hz",
            "stop_hz",
            "noise_snr_db",
            "final_level_db",
            "verification",
        ],
        source,
    )
    speech = Path(path).with_name(f"{values['speech']}.yaml")
    if not speech.is_file():
        raise UserError(f"{lines.get('speech', source)}: speech: {values['speech']!r}: there is no {speech}")
    base = speech_conf.load(speech)
    groups = {key: value for key, value in values.items() if key not in ("speech", "verification")}
    replay = conf.build(ReplayConf, groups, lines, source)
    verification = conf.build(Verification, values["verification"], lines, source, "verification.")
    used = {speaker.package for named in base.speakers.values() for speaker in named.values()}
    return MiniCorpusConf(
        recipe="pa",
        size=Path(path).stem.removeprefix("pa_"),
        packages={name: package for name, package in base.packages.items() if name in used},
        utterance=base.utterance,
        chain=base.chain,
        verification=verification,
        speakers=base.speakers,
        prompts={},
        attacks={name: _entry(name, replay) for name in ATTACKS},
        replay=replay,
    )


def _entry(name: str, replay: ReplayConf) -> AttackEntry:
    distance, quality = name
    low, high = getattr(replay.room.attacker_cm, distance)
    what = f"recorded at {low:g}-{high:g} cm, played by a {_QUALITY[quality]} device"
    counts = replay.amounts.replays
    return AttackEntry(what, "replay", {}, Counts(counts.train, counts.dev, counts.eval))
