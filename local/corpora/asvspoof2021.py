"""ASVspoof 2021: evaluation sets for detectors that are trained on ASVspoof 2019.

LA: 2019's eval speech and attacks A07 to A19, sent through telephone networks: seven codecs. DF: the same and speech of
the Voice Conversion Challenges 2018 and 2020 (three sources), through nine ways of lossy compression. PA: real bona
fide and replayed recordings in nine rooms. Trials of LA and DF have the phase eval, progress (a part for the
challenge's progress ranking) or hidden (of which the beginnings and ends are cut: trim). PA has two hidden sets, which
are kept apart here: hidden_simulated (notrim) and hidden_real (trim). Official figures are of the phase eval.
Audio is published by Zenodo, a folder ASVspoof2021_XX_eval with flac/; keys by asvspoof.org, as keys/XX/CM and
keys/XX/ASV, the ASV's keys and scores. DF has no ASV. Put folder and keys beside each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from local.corpora import Archive, Download
from local.corpora.base import NO_ATTACK, PLAIN, Corpus, Trial, TrialList, missing_of, read_rows, there
from utils.cli import UserError

_KEYS = "https://www.asvspoof.org/asvspoof2021"
_PHASES = {"hidden_track": "hidden"}  # as the keys of the challenge's first stage spell it
COLUMNS = {
    "LA": "SPEAKER UTT CODEC TRANSMISSION ATTACK KEY TRIM PHASE",
    "DF": "SPEAKER UTT CODEC SOURCE ATTACK KEY TRIM PHASE VOCODER TASK TEAM GENDER LANGUAGE",
    "PA": "SPEAKER UTT ROOM MIC DISTANCE ATTACK_ROOM ATTACK_MIC ATTACK_DISTANCE ATTACKER_TO_TALKER KEY TRIM PHASE",
}
CONDITIONS = {
    "LA": ("codec", "transmission", "trim", "phase"),
    "DF": ("codec", "source", "trim", "phase", "vocoder", "task", "team", "gender", "language"),
    "PA": ("room", "mic", "distance", "attack_room", "attack_mic", "trim", "phase"),
}
COUNTS = {"LA": (181_566, 18_452), "DF": (611_829, 22_617)}  # those of PA are not known here
PHASES = {
    "LA": {"eval": 148_176, "progress": 16_464, "hidden": 16_926},
    "DF": {"eval": 533_928, "progress": 59_325, "hidden": 18_576},
}


def _named(part: str, fields: list[str]) -> dict[str, str]:
    """A line's values by column. phase: as the present keys spell it, PA's hidden sets apart; attack: of PA the
    attacker-to-talker distance and the replay device, as in 2019."""
    values = dict(zip(COLUMNS[part].split(), fields))
    values["PHASE"] = _PHASES.get(values["PHASE"], values["PHASE"])
    if part == "PA":
        values["ATTACK"] = f"{values['ATTACKER_TO_TALKER']}-{values['ATTACK_DISTANCE']}"
        if values["PHASE"] == "hidden":
            values["PHASE"] = "hidden_real" if values["TRIM"] == "trim" else "hidden_simulated"
    return values


def read_keys(path: Path, part: str) -> TrialList:
    """The trials of keys/<part>/CM/trial_metadata.txt."""
    found = TrialList(path, CONDITIONS[part], {"speaker": PLAIN, "attack": PLAIN})
    columns = [name.upper() for name in CONDITIONS[part]]
    for line, fields in read_rows(path, COLUMNS[part]):
        values = _named(part, fields)
        utt, key, attack = values["UTT"], values["KEY"], values["ATTACK"]
        if key == "bonafide" and (part == "PA" or attack == "bonafide"):
            attack = NO_ATTACK
        audio = f"ASVspoof2021_{part}_eval/flac/{utt}.flac"
        found.add(Trial(utt, values["SPEAKER"], key, attack, audio, tuple(values[name] for name in columns), line))
    return found.done()


def asv_lines(files: tuple[Path, ...], part: str) -> dict[str, list[str]]:
    """The ASV's scores as `ATTACK KEY SCORE`, by phase. files: its keys, columns as the CM's with target, nontarget or
    spoof as the key, and its scores `ASV_SPEAKER UTT SCORE`, line by line of the same trials.

    Raises UserError, naming file and line, where a line of one is not of the trial of the other.
    """
    keys, scores = files

    def trials() -> Iterator[tuple[str, str, str]]:
        scored = read_rows(scores, "ASV_SPEAKER UTT SCORE")
        for line, fields in read_rows(keys, COLUMNS[part]):
            values = _named(part, fields)
            _, (_, utt, score) = next(scored, (0, ["", "", ""]))
            if utt != values["UTT"]:
                raise UserError(
                    f"{scores}: line {line}: the trial {utt or 'is missing'}, where {keys} has {values['UTT']}; unpack"
                    " the keys again"
                )
            attack = values["ATTACK"] if values["KEY"] == "spoof" else "bonafide"
            yield values["PHASE"], values["KEY"], f"{attack} {values['KEY']} {score}"
        for line, _ in scored:
            raise UserError(f"{scores}: line {line}: a score more than {keys} has trials; unpack the keys again")

    found: dict[str, list[str]] = {}
    known: dict[str, set[str]] = {}
    for phase, key, line in trials():
        found.setdefault(phase, []).append(line)
        known.setdefault(phase, set()).add(key)
    return {phase: lines for phase, lines in found.items() if {"target", "nontarget", "spoof"} <= known[phase]}


def _corpus(part: str) -> Corpus:
    def keys(root: Path, _: str) -> Path:
        return there(root, f"keys/{part}/CM/trial_metadata.txt", "keys/CM/trial_metadata.txt")

    def asv(root: Path, _: str) -> tuple[Path, ...]:
        folder = there(root, f"keys/{part}/ASV", "keys/ASV")
        return folder / "trial_metadata.txt", there(folder, "ASVTorch_Kaldi/score.txt", "ASVtorch_kaldi/score.txt")

    return Corpus(
        name="ASVspoof 2021",
        part=part,
        markers=(f"ASVspoof2021_{part}_eval", f"keys/{part}/CM"),
        unpacked=f"the folder that has both ASVspoof2021_{part}_eval, with its flac/, and keys/{part}",
        sets=lambda root: ["eval"],
        keys=keys,
        read=lambda root, subset: read_keys(keys(root, subset), part),
        counts={"eval": COUNTS[part]} if part in COUNTS else {},
        phases=PHASES.get(part, {}),
        conditions=CONDITIONS[part],
        asv=asv if part != "DF" else lambda root, subset: (),
        asv_lines=lambda files: asv_lines(files, part),
    )


CORPORA = {f"asvspoof2021-{part.lower()}": _corpus(part) for part in ("LA", "DF", "PA")}

_LISTING = "https://zenodo.org/api/records"
_AUDIO = {
    "LA": (Archive("ASVspoof2021_LA_eval.tar.gz"),),
    "DF": (
        Archive("ASVspoof2021_DF_eval_part00.tar.gz", 8_637_050_238, "4f2cbae07cf3ede2a1dde3b8d2ee55ea"),
        Archive("ASVspoof2021_DF_eval_part01.tar.gz", 8_624_944_890, "1578c89ab433c2b60b1dce93bdf8fbec"),
        Archive("ASVspoof2021_DF_eval_part02.tar.gz", 8_616_337_195, "5497a35f0126e94a1d7a7d26db57b4f7"),
        Archive("ASVspoof2021_DF_eval_part03.tar.gz", 8_656_151_261, "42b7512ba2943e98a32a53c9608cf03c"),
    ),
    "PA": tuple(
        Archive(f"ASVspoof2021_PA_eval_part{number:02d}.tar.gz", md5=md5)
        for number, md5 in enumerate(
            (
                "78bd4f9178b7508f2b5f78ecc5567335",
                "8b6e8c68cfea31cbb4bc86c943b9ac68",
                "d146e462b932905d13c9b3d5c82d960d",
                "d9602472355b62fb2841a571c789d0e2",
                "194b5a903edca4be1696d476644b4410",
                "1ba1f986db0a33cb9e659c44c41afee1",
                "59c33780525e3b324cd0f84e4ecf08cb",
            )
        )
    ),
}
_KEY_SUMS = {
    "LA": "037592a0515971bbd0fa3bff2bad4abc",
    "PA": "a639ea472cf4fb564a62fbc7383c24cf",
    "DF": "dabbc5628de4fcef53036c99ac7ab93a",
}
_RECORDS = {"LA": ("4837263", 8e9), "DF": ("4835108", 35e9), "PA": ("4834716", 60e9)}


def _download(part: str, title: str) -> Download:
    record, about = _RECORDS[part]
    name = f"{part}-keys-full.tar.gz"
    keys = Archive(name, None, _KEY_SUMS[part], f"{_KEYS}/{name}")
    corpus = CORPORA[f"asvspoof2021-{part.lower()}"]
    return Download(
        f"ASVspoof 2021, {title}",
        f"https://zenodo.org/records/{record}",
        "Open Data Commons Attribution License (ODC-By) 1.0",
        f"{_LISTING}/{record}",
        (*_AUDIO[part], keys),
        int(about),
        f"ASVspoof2021_{part}",
        lambda root: missing_of(corpus, root),
    )


DOWNLOADS = {
    "asvspoof2021-la": _download("LA", "logical access"),
    "asvspoof2021-df": _download("DF", "speech deepfakes"),
    "asvspoof2021-pa": _download("PA", "physical access"),
}
