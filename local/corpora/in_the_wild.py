"""In-the-Wild: recordings of 58 English-speaking celebrities and politicians, and deepfakes of them.

Collected from social networks and video platforms, so that codecs, noise and levels are those of the wild. A test set:
how far does a detector that was trained in the laboratory carry? 20.8 hours bona fide, 17.2 hours spoof, as 16 kHz
wav. Which attacks made the fakes is not known: the attack is `unknown`. One folder, release_in_the_wild, with 0.wav
to 31778.wav and meta.csv, lines `file,speaker,label`, bona-fide or spoof. Names of speakers have blanks, which become
`_` in utt2speaker. Published by Fraunhofer AISEC in 2022 (N. Müller et al., Interspeech 2022).
"""

from __future__ import annotations

from pathlib import Path

from local.corpora import Archive, Download
from local.corpora.base import NO_ATTACK, UNKNOWN, Corpus, Trial, TrialList, made_id, missing_of, word
from utils.files import read_csv

COUNTS = {"eval": (31_779, 19_963)}
LABELS = {"bona-fide": "bonafide", "bonafide": "bonafide", "spoof": "spoof"}


def read(root: Path, subset: str) -> TrialList:
    """The trials of meta.csv."""
    found = TrialList(root / "meta.csv")
    for line, row in read_csv(found.path, ("file", "speaker", "label"), ","):
        name = row["file"]
        label = LABELS.get(row["label"], row["label"])
        attack = NO_ATTACK if label == "bonafide" else UNKNOWN
        stem = Path(name).stem
        utt = made_id(stem)
        found.add(Trial(utt, word(row["speaker"]), label, attack, name, (), line, "" if utt == stem else stem))
    return found.done()


CORPORA = {
    "in_the_wild": Corpus(
        name="In-the-Wild",
        markers=("meta.csv",),
        unpacked="the folder release_in_the_wild, which has meta.csv and the wav files",
        sets=lambda root: ["eval"],
        keys=lambda root, subset: root / "meta.csv",
        read=read,
        counts=COUNTS,
    )
}

DOWNLOADS = {
    "in_the_wild": Download(
        "In-the-Wild",
        "https://deepfake-total.com/in_the_wild",
        "Apache License 2.0",
        None,
        (Archive("release_in_the_wild.zip"),),
        8_000_000_000,
        "release_in_the_wild",
        lambda root: missing_of(CORPORA["in_the_wild"], root),
    )
}
