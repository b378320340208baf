"""MLAAD: speech by many text-to-speech models in many languages, spoof only; bona fide speech comes from a list.

The corpus grows from version to version (version 8: 119 models, 40 languages, 570 hours), so no counts are checked. Its
transcripts are those of M-AILABS, whose recordings are the usual bona fide ones. Audio: wav files in
fake/<language>/<model>/, with a meta.csv whose columns are separated by `|`. Names of models have blanks, and folders
part of their names: ids are made, and utt2orig has the files' names. An attack is a model, and a spoof trial's speaker
too, as the voices of a model are not listed.
bonafide.csv beside fake/ lists the bona fide files as docs/corpora.md says: path[,language,speaker]. Without a speaker
each file is a speaker of its own. Published by Fraunhofer AISEC since 2024 (N. Müller et al., arXiv 2401.09512).
"""

from __future__ import annotations

from pathlib import Path

from local.corpora import Archive, Download
from local.corpora.base import NO_ATTACK, UNKNOWN, Corpus, Trial, TrialList, made_id, word
from utils.cli import UserError
from utils.files import read_csv

BONAFIDE = "bonafide.csv"
CONDITIONS = ("language", "architecture")


def read(root: Path, subset: str) -> TrialList:
    """The trials of bonafide.csv, then those of each model's meta.csv. Raises UserError where there is no meta.csv."""
    found = TrialList(root / BONAFIDE, CONDITIONS)
    for line, row in read_csv(found.path, ("path",)):
        if row.get("label", "bonafide") != "bonafide":
            raise found.refuse(line, row["path"], f"the label {row['label']!r}; this list has bona fide speech only")
        utt = made_id(row["path"])
        of_utt = (word(row.get("language", "")), NO_ATTACK)
        original = "" if utt == row["path"] else row["path"]
        speaker = word(row.get("speaker", "") or utt)
        found.add(Trial(utt, speaker, "bonafide", NO_ATTACK, row["path"], of_utt, line, original))
    metas = sorted(root.glob("fake/*/*/meta.csv"))
    if not metas:
        raise UserError(f"{root / 'fake'}: there is no <language>/<model>/meta.csv in it; unpack the corpus again")
    for meta in metas:
        found.path = meta  # the file that messages name
        folder = meta.parent.relative_to(root)
        language, model = folder.parts[1], word(folder.parts[2])
        for line, row in read_csv(meta, ("path",), "|"):
            audio = f"{folder}/{row['path'].replace(chr(92), '/').rpartition('/')[2]}"
            utt, of_utt = made_id(audio), (word(language), word(row.get("architecture", "") or UNKNOWN))
            found.add(Trial(utt, model, "spoof", model, audio, of_utt, line, audio))
    return found.done()


CORPORA = {
    "mlaad": Corpus(
        name="MLAAD",
        markers=("fake",),
        unpacked=f"the folder that has fake/ and {BONAFIDE}",
        sets=lambda root: ["eval"],
        keys=lambda root, subset: root / BONAFIDE,
        read=read,
        conditions=CONDITIONS,
    )
}

DOWNLOADS = {
    "mlaad": Download(
        "MLAAD",
        "https://deepfake-total.com/mlaad",
        "Creative Commons Attribution-NonCommercial 4.0",
        None,
        (Archive("mlaad.zip"),),
        70_000_000_000,
        "mlaad",
        lambda root: "" if any(root.glob("fake/*/*/meta.csv")) else "fake/<language>/<model>/meta.csv",
    )
}
