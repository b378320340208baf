"""ASVspoof 2019: synthetic and converted speech (LA), replayed speech (PA).

Both parts come from the 107 speakers of VCTK, in English, as 16 kHz flac. Their speakers are split over train, dev and
eval. LA has 19 attacks: A01 to A06 in train and dev, A07 to A19 in eval, of which A16 and A19 are A04 and A06 again. PA
has simulated replay: nine attacks (distance to the talker by quality of the loudspeaker) in 27 acoustic environments.
Protocols, ASV scores and the ASV's enrolment files come with the audio; the audio folders hold more files than trials.
Each part is one archive, which unpacks to a folder LA or PA. Published by Edinburgh DataShare in 2019.
"""

from __future__ import annotations

import re
from pathlib import Path

from local.corpora import Archive, Download
from local.corpora.base import PLAIN, Corpus, Form, Trial, TrialList, missing_of, read_rows
from local.layout import Layout

PAGE = "https://datashare.ed.ac.uk/handle/10283/3336"
_API = "https://datashare.ed.ac.uk/server/api/core"
_LISTING = f"{_API}/bundles/d7e9ad8b-23c2-4a84-b9e7-0cd307dfec46/bitstreams?size=100"
_LA = Archive(
    "LA.zip",
    7_640_952_520,
    "30c98f11d8b2bc21f2c257bfd78bb5c5",
    f"{_API}/bitstreams/a9f87c35-f055-4015-80e2-2fdff0d46269/content",
)
_PA = Archive("PA.zip")  # its address, size and MD5 are in the listing only


ATTACK = {
    "la": Form(re.compile(r"A[0-9]{2}"), "A and two digits, such as A07"),
    "pa": Form(re.compile(r"[A-C]{2}"), "two letters A-C, such as AB"),
}
ENVIRONMENT = {
    "la": Form(re.compile(r"-"), "'-'"),
    "pa": Form(re.compile(r"[a-c]{3}"), "three letters a-c, such as abc"),
}
COUNTS = {
    "la": {"train": (25380, 2580), "dev": (24844, 2548), "eval": (71237, 7355)},
    "pa": {"train": (54000, 5400), "dev": (29700, 5400), "eval": (134730, 18090)},
}


def read_protocol(path: Path, recipe: str, audio: str = "flac") -> TrialList:
    """The trials of a protocol in its own order. audio: their folder, below the corpus's.

    Raises UserError, naming file, line and utterance, as read_rows and TrialList do.
    """
    columns = f"SPEAKER UTT {'-' if recipe == 'la' else 'ENVIRONMENT'} ATTACK KEY"
    found = TrialList(
        path,
        ("env",) if recipe == "pa" else (),
        {"speaker": PLAIN, "env": ENVIRONMENT[recipe], "attack": ATTACK[recipe]},
    )
    for line, (speaker, utt, environment, attack, key) in read_rows(path, columns):
        if recipe == "la" and environment != "-":
            raise found.refuse(line, utt, f"the third column is {environment!r} where LA has '-'")
        conditions = (environment,) if recipe == "pa" else ()
        found.add(Trial(utt, speaker, key, attack, f"{audio}/{utt}.flac", conditions, line))
    return found.done()


def _corpus(recipe: str) -> Corpus:
    def read(root: Path, subset: str) -> TrialList:
        layout = Layout(root, recipe)
        return read_protocol(layout.protocol(subset), recipe, str(layout.audio(subset).relative_to(root)))

    part = recipe.upper()
    return Corpus(
        name="ASVspoof 2019",
        part=part,
        markers=(f"ASVspoof2019_{part}_cm_protocols",),
        unpacked=f"the folder {part} that {part}.zip unpacks to",
        sets=lambda root: Layout(root, recipe).sets(),
        keys=lambda root, subset: Layout(root, recipe).protocol(subset),
        read=read,
        counts=COUNTS[recipe],
        conditions=("env",) if recipe == "pa" else (),
        asv=lambda root, subset: () if subset == "train" else (Layout(root, recipe).asv_scores(subset),),
    )


CORPORA = {"asvspoof2019-la": _corpus("la"), "asvspoof2019-pa": _corpus("pa")}


def _part(recipe: str, title: str, archive: Archive, about: int) -> Download:
    licence = "Open Data Commons Attribution License (ODC-By) 1.0"
    folder = recipe.upper()
    return Download(
        title,
        PAGE,
        licence,
        _LISTING,
        (archive,),
        about,
        folder,
        lambda root: missing_of(CORPORA[f"asvspoof2019-{recipe}"], root),
    )


DOWNLOADS = {
    "asvspoof2019-la": _part("la", "ASVspoof 2019, logical access", _LA, 7_640_952_520),
    "asvspoof2019-pa": _part("pa", "ASVspoof 2019, physical access", _PA, 16_500_000_000),
}
