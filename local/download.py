#!/usr/bin/env python3
"""Downloads a corpus from where it is published, checks it, and unpacks it.

Size and MD5 sum come from the publisher's listing, or are known here. A download that was interrupted goes on where it
stopped when the same command is given again. Archives stay in DIR; remove them when the corpus is unpacked.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import http.client
import json
import os
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import utils.environment

from local.corpora import Archive, Download
from local.corpora.base import known_downloads
from utils.cli import UserError, make_parser, run_program, system_error_text, time_left, warn
from utils.files import naming, only_here

CORPORA = known_downloads()
TRIES = 10  # failures in a row, without a byte between them, after which it gives up
WAIT = 10.0  # seconds before a failed request is made again
PATIENCE = 60  # seconds that a server may say nothing
_BLOCK = 2**20


# -- what is published -------------------------------------------------------------------------------------------------


def read_listing(url: str) -> dict[str, Archive]:
    """The files that a listing of DSpace 7 (a bundle's bitstreams) or Zenodo (a record) names, by their names.

    Raises ValueError, with the reason, for an answer of another kind.
    """
    with _asked(url) as answer:
        text = answer.read(2**24)
    try:
        values = json.loads(text)
        if "_embedded" in values:
            found = [
                Archive(
                    one["name"],
                    int(one["sizeBytes"]),
                    one["checkSum"]["value"] if one["checkSum"]["checkSumAlgorithm"] == "MD5" else None,
                    urllib.parse.urljoin(url, f"/server/api/core/bitstreams/{one['uuid']}/content"),
                )
                for one in values["_embedded"]["bitstreams"]
            ]
        else:
            found = [
                Archive(
                    one["key"],
                    int(one["size"]),
                    one["checksum"].removeprefix("md5:") if one["checksum"].startswith("md5:") else None,
                    one["links"]["self"],
                )
                for one in values["files"]
            ]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"its answer is not a listing of files ({type(error).__name__}: {error})") from None
    return {archive.name: archive for archive in found}


def locate(download: Download, mirror: str | None) -> list[Archive]:
    """Where each archive is, its size and its MD5, by the listing or as they are known.

    mirror: a Zenodo record's page, a listing, or a folder of archives. Raises UserError for an archive that is nowhere,
    and for a listing whose size or MD5 is not the known one.
    """
    listed: dict[str, Archive] = {}
    url = mirror or download.listing
    if url is not None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(f"--mirror: {url!r} is not an http or https address")
        if parts.path.startswith("/records/"):  # the page of a Zenodo record; its listing is beside it
            url = parts._replace(path=f"/api{parts.path}", query="").geturl()
        try:
            listed = read_listing(url)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if mirror is not None:
                listed = {a.name: replace(a, address=f"{mirror.rstrip('/')}/{a.name}") for a in download.archives}
            else:
                warn(f"{url}: {error}; going by the addresses that are known")
    found = []
    for known in download.archives:
        one = listed.get(known.name, known)
        for key in ("size", "md5"):
            said, expected = getattr(one, key), getattr(known, key)
            if said is not None and expected is not None and said != expected:
                raise UserError(
                    f"{url}: {known.name}: {key} {said}, but the published file has {expected}; take another --mirror"
                )
        one = replace(one, size=one.size or known.size, md5=one.md5 or known.md5)
        if one.address is None:
            raise UserError(
                f"{known.name}: its address is not known, and {url or 'a listing'} does not name it; see"
                f" {download.page}, give --mirror, or put the archive into the folder by hand and give the same command"
                " again"
            )
        found.append(one)
    return found


@contextmanager
def _asked(url: str, start: int = 0) -> Iterator[http.client.HTTPResponse]:
    """The server's answer to a request of `url`, from the byte `start` on if it gives parts of files."""
    request = urllib.request.Request(url, headers={"User-Agent": "corpus download"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        yield answer


# -- fetching one file -------------------------------------------------------------------------------------------------


def fetch_archive(archive: Archive, path: Path) -> None:
    """Fetch an archive into PATH.part, from where an earlier call stopped, check its sum and give it its name. Raises
    UserError."""
    part, failures = path.with_name(f"{path.name}.part"), 0
    part.touch()
    if part.stat().st_size:
        print(f"{archive.name}: continuing after {_in_gb(part.stat().st_size)}", flush=True)
    while True:
        had = part.stat().st_size
        try:
            _receive(archive, part, had)
            break
        except urllib.error.HTTPError as error:
            reason: Exception = error
            if error.code == 416:  # the part is longer than the file: of another one
                part.write_bytes(b"")
            elif 400 <= error.code < 500 and error.code not in (408, 429):
                raise UserError(
                    f"{archive.address}: the server answers {error.code} ({error.reason}); give --mirror"
                ) from None
        except (http.client.HTTPException, OSError) as error:
            if isinstance(error, OSError) and system_error_text(error):  # a full disk, say
                raise
            reason = error
        failures = 0 if part.stat().st_size > had else failures + 1
        if failures >= TRIES:
            raise UserError(
                f"{archive.address}: {TRIES} attempts in a row failed ({str(reason) or type(reason).__name__}); give"
                " the same command later to go on, or give --mirror"
            )
        time.sleep(WAIT)
    _check_sum(archive, part)
    part.replace(path)


def _receive(archive: Archive, part: Path, had: int) -> None:
    """Write what is missing of the file, all of it if the server gives no parts.

    Raises UserError for a web page and for another size than is known, and as urllib does for what breaks off.
    """
    start = max(0, had - 1)  # one byte again: a request of none would be refused
    with _asked(str(archive.address), start) as answer, naming(part), part.open("r+b") as handle:
        if answer.headers.get_content_type() == "text/html":
            raise UserError(f"{archive.address}: gave a web page, not {archive.name}; give --mirror")
        start = start if answer.status == 206 else 0
        try:
            size = start + int(answer.headers["Content-Length"])
        except (TypeError, ValueError):
            raise UserError(f"{archive.address}: does not say how large the file is; give --mirror") from None
        if archive.size not in (None, size):
            raise UserError(
                f"{archive.address}: {size:,} bytes, but {archive.name} has {archive.size:,}; give --mirror"
            )
        handle.seek(start)
        handle.truncate()
        began = said = time.monotonic()
        while block := answer.read(_BLOCK):
            handle.write(block)
            if (now := time.monotonic()) - said >= 10:
                said, at = now, handle.tell()
                rate, left = (at - start) / (now - began) / 1e6, time_left(now - began, at - start, size - at)
                share = f"{100 * at // size} % of {_in_gb(size)}"
                print(f"{archive.name}: {share}, {rate:.1f} MB/s, {left}", flush=True)
        if handle.tell() < size:
            raise http.client.IncompleteRead(b"", size - handle.tell())
        handle.flush()
        os.fsync(handle.fileno())


def _check_sum(archive: Archive, part: Path) -> None:
    """Raises UserError, and removes what came, for another MD5 sum than is known."""
    if archive.md5 is None:
        return
    print(f"{archive.name}: checking its MD5 sum", flush=True)
    with naming(part), part.open("rb") as handle:
        found = hashlib.file_digest(handle, "md5").hexdigest()
    if found != archive.md5:
        part.unlink()
        raise UserError(
            f"{archive.address}: MD5 {found}, but {archive.name} has {archive.md5}; what came is removed: give the same"
            " command again, or give --mirror"
        )


# -- a corpus ----------------------------------------------------------------------------------------------------------


def unpack(archives: list[Path], download: Download, target: Path) -> None:
    """Unpack them into one folder beside `target`, check that nothing is missing, then give it that name."""
    aside = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for archive in archives:
        print(f"unpacking {archive}", flush=True)
        try:
            if archive.suffix == ".zip":
                with zipfile.ZipFile(archive) as opened:
                    opened.extractall(aside)
            else:
                with tarfile.open(archive) as packed:
                    packed.extractall(aside, filter="data")
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError) as error:
            raise UserError(f"{archive}: damaged ({error}); remove it and give the same command again") from None
    top = aside / download.folder if (aside / download.folder).is_dir() else aside
    if lacking := download.missing(top):
        raise UserError(f"{', '.join(map(str, archives))}: it lacks {lacking}; remove it, and give --mirror")
    top.rename(target)
    shutil.rmtree(aside, ignore_errors=True)


def fetch(download: Download, folder: Path, mirror: str | None, check_only: bool) -> bool:
    """Is the corpus complete in `folder`? Unless check_only, it is made so, or a UserError says why not."""
    target = folder / download.folder
    if target.is_dir():
        lacking = download.missing(target)
        if not lacking:
            print(f"{target}: complete")
            return True
        if not check_only:
            raise UserError(f"{target}: it lacks {lacking}; remove it and give the same command again")
        print(f"{target}: it lacks {lacking}")
        return False
    absent = [a.name for a in download.archives if not (folder / a.name).is_file()]
    located = locate(download, mirror) if absent else []
    total = sum(a.size or 0 for a in located) or download.about
    here = sum(f.stat().st_blocks * 512 for a in download.archives for f in folder.glob(f"{a.name}*"))
    needed = max(0, 2 * total - here)  # the archives, and as much for what is in them
    existing = next(place for place in (folder, *folder.resolve().parents) if place.is_dir())
    free = shutil.disk_usage(existing).free
    print(f"{download.title}: {download.page}\nlicence: {download.licence}")
    for archive in located:
        if archive.name in absent:
            size = "size not known" if archive.size is None else _in_gb(archive.size)
            print(f"{archive.name}: {size}, from {archive.address}")
    print(f"space needed in {folder}: {_in_gb(needed)}; free: {_in_gb(free)}", flush=True)
    if check_only:
        return False
    if free < needed:
        raise UserError(
            f"{folder}: too little space: {_in_gb(free)} free, {_in_gb(needed)} needed; choose another folder"
        )
    with only_here(folder):
        for archive in located:
            if archive.name in absent:
                fetch_archive(archive, folder / archive.name)
        unpack([folder / known.name for known in download.archives], download, target)
    print(f"{target}: complete")
    return True


def _in_gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def parse_arguments() -> argparse.Namespace:
    parser = make_parser(__doc__, "local/download.py asvspoof2019-la /corpora/asvspoof2019")
    parser.add_argument(
        "corpora", metavar="CORPUS", nargs="+", choices=sorted(CORPORA), help=", ".join(sorted(CORPORA))
    )
    parser.add_argument("dir", metavar="DIR", type=Path, help="folder for archives and unpacked corpora")
    parser.add_argument(
        "--mirror", metavar="URL", help="take the archives from there: a Zenodo record's page, or a folder with them"
    )
    parser.add_argument(
        "--check-only", action="store_true", help="say what is there and what would be fetched; status 1 if incomplete"
    )
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    complete = [fetch(CORPORA[name], args.dir, args.mirror, args.check_only) for name in args.corpora]
    return 0 if all(complete) else 1


if __name__ == "__main__":
    run_program(main)
