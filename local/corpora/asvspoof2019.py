"""ASVspoof 2019: synthetic and converted speech (LA), replayed speech (PA).

Both parts come from the 107 speakers of VCTK, in English, as 16 kHz flac. Their speakers are split over train, dev and
eval. LA has 19 attacks: A01 to A06 in train and dev, A07 to A19 in eval, of which A16 and A19 are A04 and A06 again. PA
has simulated replay: nine attacks (distance to the talker by quality of the loudspeaker) in 27 acoustic environments.
Protocols, ASV scores and the ASV's enrolment files come with the audio; the audio folders hold more files than trials.
Each part is one archive, which unpacks to a folder LA or PA. Published by Edinburgh DataShare in 2019.
"""

from __future__ import annotations

from pathlib import Path

from local.corpora import Archive, Download
from local.layout import OFFICIAL_SETS, Layout
from utils.files import read_filled_lines

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


def missing(root: Path, recipe: str) -> str:
    """What the unpacked part in `root` lacks: protocols, or audio of trials. There may be more files than trials."""
    layout, lacking = Layout(root, recipe), []
    for subset in OFFICIAL_SETS:
        protocol = layout.protocol(subset)
        if not protocol.is_file():
            lacking.append(str(protocol.relative_to(root)))
            continue
        trials = sum(1 for _ in read_filled_lines(protocol))
        files = sum(1 for _ in layout.audio(subset).glob("*.flac"))
        if files < trials or not trials:
            lacking.append(f"{trials - files} of {trials} files in {layout.audio(subset).relative_to(root)}")
    return ", ".join(lacking)


def _part(recipe: str, title: str, archive: Archive, about: int) -> Download:
    licence = "Open Data Commons Attribution License (ODC-By) 1.0"
    folder = recipe.upper()
    return Download(title, PAGE, licence, _LISTING, (archive,), about, folder, lambda root: missing(root, recipe))


DOWNLOADS = {
    "asvspoof2019-la": _part("la", "ASVspoof 2019, logical access", _LA, 7_640_952_520),
    "asvspoof2019-pa": _part("pa", "ASVspoof 2019, physical access", _PA, 16_500_000_000),
}
