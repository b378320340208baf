#!/usr/bin/env python3
"""Check before the jobs of the feature stage whether the features exist, and after them whether all parts do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from steps.frontend import GLOBAL_CMVN, UTT2BANDS, dump_identity, load_conf, make_frontend
from steps.frontend.processing.audio import WavScp, add_allow_pipes, read_wav_scp
from steps.frontend.processing.made_from import UTT2AUDIO, replaced
from utils import conf as conf_files
from utils.ark import is_whole, read_matrix, write_matrix
from utils.cli import UserError, make_parser, run_program, warn, whole_number
from utils.files import read_map, sha256_of, write_lines
from utils.segments import beside
from utils.tables import Keys, Strings, order_of, read_big_map

ALREADY_WHOLE = 10
_SHA256 = "_sha256"
_WAV_SCP = f"wav_scp{_SHA256}"


def identity(args) -> dict:
    made = {"frontend": dump_identity(load_conf(args.frontend, args.set)), _WAV_SCP: sha256_of(args.wav_scp)}
    return made | {f"{path.name}{_SHA256}": sha256_of(path) for path in beside(args.wav_scp)}


def check(args) -> int:
    """0: the jobs have to run. ALREADY_WHOLE: nothing to do. Raises UserError if the folder has other features."""
    folder = Path(args.feats_dir)
    wavs = read_wav_scp(args.wav_scp, args.allow_pipes)  # what is wrong is said once, before jobs are started
    if not len(wavs):
        raise UserError(f"{wavs.place}: no utterances; make the data dir again")
    wanted = identity(args)
    conf_file = folder / "conf.yaml"
    if conf_file.exists():
        found = conf_files.read_yaml(conf_file)
        changed = conf_files.differences(found, wanted)
        # the checksums of tables say nothing to people
        tables = [key for key in sorted(found | wanted) if key.endswith(_SHA256) and found.get(key) != wanted.get(key)]
        confs = [one for one in changed if one.partition(":")[0] not in tables]
        if changed:
            which = [f"another {'wav.scp' if key == _WAV_SCP else key.removesuffix(_SHA256)}" for key in tables]
            name_it = "give the changed conf a name of its own, " if confs else ""
            raise UserError(
                f"{folder} has features made otherwise ({'; '.join([*confs, *which])}); "
                f"{name_it}choose another --feats-dir, or remove that folder"
            )
        spoiled = _set_aside_spoiled(folder)
        if (folder / "feats.scp").exists() and not spoiled:
            _refuse_moved(folder)
            return ALREADY_WHOLE
    if args.nj > len(wavs):
        raise UserError(f"--nj {args.nj}: more jobs than the {len(wavs)} utterances of {wavs.place}")
    conf_files.write_yaml(conf_file, wanted)
    return 0


def _refuse_moved(folder: Path) -> None:
    """Raises UserError where feats.scp leads to another folder, in which the features no longer are."""
    with (folder / "feats.scp").open(encoding="utf-8") as lines:
        place = next(lines, "").strip().partition(" ")[2].rpartition(":")[0]
    if not Path(place).is_file():
        raise UserError(
            f"{folder / 'feats.scp'}: it leads to {place}, which is not there: the folder was moved or copied; move it"
            f" back, or remove {folder} to have its features made again"
        )


def _set_aside_spoiled(folder: Path) -> bool:
    """Let the jobs make anew what has been removed or cut off since, or whose audio was replaced: is there anything?"""
    normalised = any(folder.glob("parts/*/feats.*.cmvn"))
    needed = [".scp", ".bad", f".{UTT2BANDS}", f".{UTT2AUDIO}", *([".cmvn"] if normalised else [])]
    spoiled: dict[Path, str] = {}
    for mark in sorted(folder.glob("parts/*/feats.*.utt2num_frames")):
        files = [mark.with_suffix(ending) for ending in needed]
        if not is_whole(mark.with_suffix(".ark")) or not all(file.is_file() for file in files):
            spoiled[mark] = "removed or cut off since it was made, or what belongs to it, or of an older version"
        elif others := replaced(mark.with_suffix(f".{UTT2AUDIO}")):
            spoiled[mark] = f"{len(others)} of its audio files were replaced since it was made (first: {others[0]})"
    if spoiled:
        (folder / "feats.scp").unlink(missing_ok=True)  # first: what has no feats.scp is not whole
    for mark, why in spoiled.items():
        warn(f"{mark.with_suffix('.ark')}: {why}; making it again")
        mark.unlink()
    return bool(spoiled) or (normalised and not (folder / GLOBAL_CMVN).exists())


def _in_order(lines: Strings) -> Iterator[str]:
    return (lines[place] for place in order_of(lines))


def merge(args) -> int:
    folder, parts = Path(args.feats_dir), Path(args.feats_dir) / "parts" / str(args.nj)
    made, scp, frames, bands = Strings(), Strings(), Strings(), Strings()
    bad: dict[str, str] = {}
    spoiled: list[int] = []
    for job in range(1, args.nj + 1):
        prefix = parts / f"feats.{job}"
        for utt, place in read_big_map(f"{prefix}.scp").pairs():
            made.append(utt)
            scp.append(f"{utt} {place}")
        for utt, n in read_big_map(f"{prefix}.utt2num_frames").pairs():
            frames.append(f"{utt} {n}")
        for utt, levels in read_big_map(f"{prefix}.{UTT2BANDS}").pairs():
            bands.append(f"{utt} {levels}")
        bad_here = read_map(f"{prefix}.bad")
        bad |= bad_here
        if bad_here:
            spoiled.append(job)
    wanted, keys = WavScp(args.wav_scp), Keys(made)
    lost = [utt for utt in wanted if keys.place(utt) < 0 and utt not in bad]
    if lost or keys.first_repeated() >= 0 or not len(frames) == len(bands) == len(scp):
        raise UserError(
            f"{parts}: {len(made)} of {len(wanted)} utterances are there (first lost: {lost[:1]}); remove it and run"
            " again"
        )
    (folder / "skipped").unlink(missing_ok=True)  # of an earlier run: some may have been mended
    if bad:
        shown = "\n".join("  " + text for text in list(bad.values())[:20])
        more = f"\n  ... and {len(bad) - 20} more" if len(bad) > 20 else ""
        if not args.skip_bad:
            for job in spoiled:  # so that a mended file is read again
                (parts / f"feats.{job}.utt2num_frames").unlink()
            raise UserError(
                f"{len(bad)} of {len(wanted)} utterances cannot be used:\n{shown}{more}\n"
                "fix these files, or leave the utterances out with --skip-bad true"
            )
        warn(
            f"--skip-bad: {len(bad)} of {len(wanted)} utterances are left out, listed in"
            f" {folder / 'skipped'}:\n{shown}{more}"
        )
        if not len(made):
            raise UserError(f"{args.wav_scp}: no utterance can be used")
        write_lines(folder / "skipped", bad.values())
    if make_frontend(load_conf(args.frontend, args.set)).normalised_globally:
        write_matrix(
            folder / GLOBAL_CMVN, sum(read_matrix(parts / f"feats.{job}.cmvn") for job in range(1, args.nj + 1))
        )
    write_lines(folder / "utt2num_frames", _in_order(frames))
    write_lines(folder / UTT2BANDS, _in_order(bands))
    write_lines(folder / "feats.scp", _in_order(scp))  # last: a dump that has it is whole
    for place in (folder, parts):
        for left in place.glob(".*.tmp*"):  # by jobs that were killed, wherever they ran
            left.unlink(missing_ok=True)
    return 0


def main() -> int:
    parser = make_parser(
        __doc__,
        "steps/merge_feats.py check --frontend conf/frontend/f0_subband.yaml data/train/wav.scp feats/f0_subband/train",
    )
    parser.add_argument("action", choices=["check", "merge"])
    parser.add_argument("--frontend", required=True, help="conf of the front end")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a conf's key")
    parser.add_argument("--nj", type=whole_number(1), default=1, help="number of parts")
    parser.add_argument("--skip-bad", action="store_true", help="list bad utterances in skipped instead of failing")
    add_allow_pipes(parser)
    parser.add_argument("wav_scp")
    parser.add_argument("feats_dir")
    args = parser.parse_args()
    return check(args) if args.action == "check" else merge(args)


if __name__ == "__main__":
    run_program(main)
