#!/usr/bin/env python3
"""Join the training sets of several corpora into one data dir, with utt2corpus: which of them an utterance is of.

As utils/combine_data.sh, but an utterance id that two of them have is refused. A data dir that was joined of the same
tables is kept. corpus.json names the corpora, joined by " + ", and has each one's own under "combined_from".
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from utils.cli import UserError, make_parser, run_program
from utils.data_dir import DataDir, combine, replace_dir
from utils.files import read_json, sha256_of, write_json, write_lines
from utils.tables import read_big_map

NEEDED = ("wav.scp", "utt2spk", "utt2label", "utt2attack", "corpus.json")
SOURCE = ".source.json"  # of what the data dir was made


def source_of(folders: list[Path]) -> dict[str, dict[str, str]]:
    """The checksums of all tables of the data dirs. Raises UserError for a data dir that lacks a table of NEEDED, or
    is joined already."""
    found = {}
    for folder in folders:
        lacking = [name for name in NEEDED if not (folder / name).is_file()]
        if lacking:
            raise UserError(
                f"{folder}: no {lacking[0]} in there; give the folder of a training set, such as data/train"
            )
        if (folder / "utt2corpus").is_file():
            raise UserError(f"{folder}: it is joined already; give the data dirs that it was joined of")
        tables = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        found[str(folder.resolve())] = {path.name: sha256_of(path) for path in tables}
    return found


def check_ids(folders: list[Path]) -> None:
    """Raises UserError for an utterance that two data dirs have."""
    seen: dict[str, Path] = {}
    for folder in folders:
        for utt in read_big_map(folder / "utt2label"):
            other = seen.setdefault(utt, folder)
            if other is not folder:
                raise UserError(
                    f"{folder / 'utt2label'}: the utterance {utt} is in {other} too; rename it in one of them, or leave"
                    " it out (utils/subset_data_dir.sh)"
                )


def join(folders: list[Path], temporary: Path) -> None:
    combine([DataDir(folder) for folder in folders], temporary)
    corpora = [read_json(folder / "corpus.json") for folder in folders]
    names = dict.fromkeys(str(one.get("name", "unnamed corpus")) for one in corpora)
    write_json(temporary / "corpus.json", {"name": " + ".join(names), "combined_from": corpora})
    rows = ((utt, number) for number, folder in enumerate(folders) for utt in read_big_map(folder / "utt2label"))
    write_lines(temporary / "utt2corpus", (f"{utt} {number}" for utt, number in sorted(rows)))


def main() -> None:
    parser = make_parser(__doc__, "local/join_train_data.py data/joined/train+own data/train egs/own/data/train")
    parser.add_argument("out", metavar="OUT", type=Path, help="data dir to make")
    parser.add_argument("folders", metavar="DIR", nargs="+", type=Path, help="data dirs; the recipe's own is the first")
    args = parser.parse_args()
    source = source_of(args.folders)
    if len(source) < len(args.folders):
        raise UserError(f"{' '.join(map(str, args.folders))}: one data dir stands there twice; name it once")
    kept = args.out / SOURCE
    if kept.is_file() and read_json(kept) == source:
        print(f"{args.out}: already joined of these data dirs; going on")
        return
    if kept.is_file() and list(read_json(kept)) != list(source):
        raise UserError(f"{args.out}: joined of other data dirs, {' '.join(read_json(kept))}; remove it, or rename one")
    check_ids(args.folders)

    def write(temporary: Path) -> None:
        join(args.folders, temporary)
        write_json(temporary / SOURCE, source)

    count = replace_dir(args.out, [DataDir(folder) for folder in args.folders], write)
    print(f"{args.out}: {count} utterances of {len(args.folders)} data dirs")


if __name__ == "__main__":
    run_program(main)
