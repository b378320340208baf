"""ASVspoof 5, track 1: detection of synthesis, conversion and adversarial attacks in crowdsourced speech.

About 2,000 speakers of Multilingual LibriSpeech, in English, many devices and rooms, as 16 kHz flac. Speakers are split
over train, dev and eval. Attacks: A01 to A08 in train, A09 to A16 in dev, A17 to A32 in eval, some of which are
optimised against detectors. In eval a part of the trials went through codecs, C01 to C11, at several qualities.
The lists are .tsv files with blanks between ten columns. Audio: flac_T, flac_D, flac_E_eval; the last two hold
enrolment files of the ASV too. Track 2 (the ASV's trials) is not read. Published by Zenodo in 2024.
"""

from __future__ import annotations

import re
from pathlib import Path

from local.corpora import Archive, Download
from local.corpora.base import NO_ATTACK, PLAIN, Corpus, Form, Trial, TrialList, missing_of, read_rows, there

COLUMNS = "SPEAKER UTT GENDER CODEC CODEC_QUALITY CODEC_SEED ATTACK_TAG ATTACK KEY TMP"
CONDITIONS = ("gender", "codec", "codec_quality", "attack_tag")  # a seed is the name of one utterance
COUNTS = {"train": (182_357, 18_797), "dev": (140_950, 31_334), "eval": (680_774, 138_688)}
LISTS = {"train": "ASVspoof5.train.tsv", "dev": "ASVspoof5.dev.track_1.tsv", "eval": "ASVspoof5.eval.track_1.tsv"}
SUMS = {
    "train": "cbfa08e2fab1423e828f102bc97a22f0",
    "dev": "e949dee1091a49b04943c548b5cf9860",
    "eval": "50c0591d45a282cb787a5a4614394f67",
}
FOLDERS = {"train": "flac_T", "dev": "flac_D", "eval": "flac_E_eval"}
_ATTACK = Form(re.compile(r"A[0-9]{2}"), "A and two digits, such as A17")


def keys(root: Path, subset: str) -> Path:
    name = LISTS.get(subset, f"ASVspoof5.{subset}.tsv")
    return there(root, name, f"ASVspoof5_protocols/{name}")


def read(root: Path, subset: str) -> TrialList:
    """The trials of a set's list."""
    found = TrialList(keys(root, subset), CONDITIONS, {"speaker": PLAIN, "attack": _ATTACK})
    folder = FOLDERS.get(subset, subset)
    for line, fields in read_rows(found.path, COLUMNS):
        speaker, utt, gender, codec, quality, _, tag, attack, key, _ = fields
        if key == "bonafide" and attack == "bonafide":
            attack = NO_ATTACK
        audio = f"{folder}/{utt}.flac"
        found.add(Trial(utt, speaker, key, attack, audio, (gender, codec, quality, tag), line))
    return found.done()


CORPORA = {
    "asvspoof5": Corpus(
        name="ASVspoof 5",
        markers=(LISTS["eval"], LISTS["train"], "ASVspoof5_protocols"),
        unpacked="the folder that has flac_T, flac_D, flac_E_eval and the .tsv lists (or ASVspoof5_protocols)",
        sets=lambda root: list(LISTS),
        keys=keys,
        read=read,
        counts=COUNTS,
        sums=SUMS,
        conditions=CONDITIONS,
    )
}

_SUMS = {
    "flac_T_aa": "b0cc86b14826a7701b52aad4f53daf9c",
    "flac_T_ab": "d05be3f4be7a343fdbdd0ed29fdff2e1",
    "flac_T_ac": "70d1ba4ad75a20aef3dae541fbd321e3",
    "flac_T_ad": "c9bb56af2cc410d98338d74babcb95c9",
    "flac_T_ae": "a3969816982f3e52300d6147ad796df7",
    "flac_D_aa": "df0be44957623991028cce59792beb17",
    "flac_D_ab": "1e8cd685d89b64502692f1bcf1a13db3",
    "flac_D_ac": "5e0031f08c30e4bdbf0c59f91b2d662b",
    "flac_E_aa": "a8c800766f3d4ef87971e2b4f29663e2",
    "flac_E_ab": "c35064188f54f07c87aba58de22534a0",
    "flac_E_ac": "ed7cbcd1b2847998b72472ddf6b445e3",
    "flac_E_ad": "626a080e994b05df49c577d7b3dede8d",
    "flac_E_ae": "05f19a5e64fa556714ae1b38eb2ea70b",
    "flac_E_af": "2ca2f52a3bbf827f7ec155ecb47e85d6",
    "flac_E_ag": "671200b5de2fc1e74a563b07b057af8f",
    "flac_E_ah": "eaf885b1299a61eb07f71e82e96dba37",
    "flac_E_ai": "b2625683bf440abae2af901a45542ad9",
    "flac_E_aj": "c50281c8233af6f3b0899604d21ade44",
}

DOWNLOADS = {
    "asvspoof5": Download(
        "ASVspoof 5",
        "https://zenodo.org/records/14498691",
        "Open Data Commons Attribution License (ODC-By) 1.0; see LICENSE.txt of the corpus",
        "https://zenodo.org/api/records/14498691",
        (
            *(Archive(f"{name}.tar", None, md5) for name, md5 in _SUMS.items()),
            Archive("ASVspoof5_protocols.tar.gz", None, "865d0e894ea9f686f0f37e5ae3ae3616"),
        ),
        140_000_000_000,
        "ASVspoof5",
        lambda root: missing_of(CORPORA["asvspoof5"], root),
    )
}
