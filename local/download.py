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
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import utils.environment

from local.corpora import Archive, Download
from local.corpora.base import known_downloads
from utils.cli import UserError, make_parser, run_program, system_error_text, time_left, warn, whole_number
from utils.files import naming, only_here

CORPORA = known_downloads()
PIECE = 32 * 2**20  # bytes that one request asks for, and the most that an interruption loses per connection
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
def _asked(url: str, start: int | None = None, end: int | None = None) -> Iterator[http.client.HTTPResponse]:
    """The server's answer to a request of `url`, or of its bytes from `start` to before `end`."""
    request = urllib.request.Request(url, headers={"User-Agent": "corpus download"})
    if start is not None:
        request.add_header("Range", f"bytes={start}-{'' if end is None else end - 1}")
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        yield answer


# -- fetching one file -------------------------------------------------------------------------------------------------


class _Gone(Exception):
    """The server will not give this file, however often it is asked."""


class Fetch:
    """An archive on its way: PATH.part, of which PATH.done names the pieces that are complete.

    Of a server that gives no parts of a file, all of it is one piece, and an interruption loses it.
    """

    def __init__(self, archive: Archive, path: Path, connections: int):
        self.archive, self.path, self.connections = archive, path, connections
        self.part, self.record = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.done")
        self.size, self.ranges = self._size_and_ranges()
        step = PIECE if self.ranges else max(1, self.size)
        self.pieces = [(at, min(self.size, at + step)) for at in range(0, self.size, step)] or [(0, 0)]
        self.done = self._recorded()
        self._lock = threading.Lock()
        self._received = self._kept = sum(end - start for start, end in self.done)
        self._began = self._said = time.monotonic()
        self._in_vain = 0
        self._stop = threading.Event()

    def _size_and_ranges(self) -> tuple[int, bool]:
        """By the server's answer to a request of the first byte; asked again where the connection fails."""
        for attempt in range(TRIES):
            try:
                with _asked(str(self.archive.address), 0, 1) as answer:
                    if answer.status == 206:
                        size = int(answer.headers["Content-Range"].rpartition("/")[2])
                    else:
                        size = int(answer.headers["Content-Length"])
                    kind = answer.headers.get_content_type()
                    if kind == "text/html":
                        raise UserError(
                            f"{self.archive.address}: gave a web page, not {self.archive.name}; give --mirror"
                        )
                    if self.archive.size not in (None, size):
                        raise UserError(
                            f"{self.archive.address}: {size:,} bytes, but {self.archive.name} has"
                            f" {self.archive.size:,}; give --mirror"
                        )
                    return size, answer.status == 206
            except urllib.error.HTTPError as error:
                self._refused(error)
                reason: Exception = error
            except (OSError, http.client.HTTPException) as error:
                reason = error
            except (TypeError, ValueError):
                raise UserError(f"{self.archive.address}: does not say how large the file is; give --mirror") from None
            if attempt < TRIES - 1:
                time.sleep(WAIT)
        raise UserError(f"{self.archive.address}: {reason}; give the same command later, or give --mirror")

    def _refused(self, error: urllib.error.HTTPError) -> None:
        if 400 <= error.code < 500 and error.code not in (408, 429):
            raise UserError(f"{self.archive.address}: the server answers {error.code} ({error.reason}); give --mirror")

    def _recorded(self) -> set[tuple[int, int]]:
        """The pieces that an earlier call has completed; none if they are of another file or another division."""
        if not self.part.exists() or not self.record.exists():
            return set()
        first, *rest = self.record.read_text(errors="replace").splitlines() or [""]
        if first != self._header():
            return set()
        known = {f"{start} {end}": (start, end) for start, end in self.pieces}
        return {known[line] for line in rest if line in known}

    def _header(self) -> str:
        return f"{self.size} {self.archive.md5 or '-'}"

    def run(self) -> None:
        """Fetch what is missing, check the sum, give the file its name. Raises UserError."""
        if not self.done:
            self.record.unlink(missing_ok=True)
            with naming(self.part), self.part.open("wb") as handle:
                handle.truncate(self.size)
            with naming(self.record):
                self.record.write_text(self._header() + "\n")
        elif self._kept:
            print(f"{self.archive.name}: continuing after {_in_gb(self._kept)}", flush=True)
        to_do = [piece for piece in self.pieces if piece not in self.done]
        with ThreadPoolExecutor(self.connections if self.ranges else 1) as pool:
            jobs = [pool.submit(self._piece, piece) for piece in to_do]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                self._stop.set()
                for job in jobs:
                    job.cancel()
                raise
        self._check()
        self.part.replace(self.path)
        self.record.unlink()

    def _piece(self, piece: tuple[int, int]) -> None:
        start, end = piece
        at = start
        while at < end and not self._stop.is_set():
            try:
                at = self._some(at, end)
            except urllib.error.HTTPError as error:
                self._refused(error)
                self._failed(error)
            except (http.client.HTTPException, OSError) as error:
                if isinstance(error, OSError) and system_error_text(error):
                    raise
                self._failed(error)
            if at < end and not self.ranges:
                self._received, at = self._received - (at - start), start
        if at < end:
            return
        with self._lock:
            self.done.add(piece)
            with naming(self.record), self.record.open("a") as handle:
                handle.write(f"{start} {end}\n")

    def _some(self, at: int, end: int) -> int:
        """Write what one request gives of the bytes from `at` to `end`; how far it came."""
        with (
            _asked(str(self.archive.address), *((at, end) if self.ranges else ())) as answer,
            naming(self.part),
            self.part.open("r+b") as handle,
        ):
            if self.ranges and answer.status != 206:
                raise http.client.HTTPException(f"asked for a part, the server answered {answer.status}")
            handle.seek(at)
            try:
                while at < end and not self._stop.is_set():
                    block = answer.read(min(_BLOCK, end - at))
                    if not block:
                        raise http.client.IncompleteRead(b"", end - at)
                    handle.write(block)
                    at += len(block)
                    self._note(len(block))
            except (http.client.IncompleteRead, ConnectionError, TimeoutError) as error:
                self._failed(error)
            handle.flush()
            os.fsync(handle.fileno())
        return at

    def _note(self, count: int) -> None:
        with self._lock:
            self._in_vain *= not self.ranges  # what came is lost there when it breaks off
            self._received += count
            now = time.monotonic()
            if now - self._said < 10:
                return
            self._said = now
            new, rest = self._received - self._kept, self.size - self._received
            rate = new / (now - self._began) / 1e6
            left = time_left(now - self._began, new, rest)
            share = 100 * self._received // max(1, self.size)
            print(f"{self.archive.name}: {share} % of {_in_gb(self.size)}, {rate:.1f} MB/s, {left}", flush=True)

    def _failed(self, error: Exception) -> None:
        """Count a failure; raises UserError after too many in a row."""
        with self._lock:
            self._in_vain += 1
            if self._in_vain >= TRIES:
                self._stop.set()
                raise UserError(
                    f"{self.archive.address}: {TRIES} attempts in a row failed ({str(error) or type(error).__name__});"
                    " give the same command later to go on, or give --mirror"
                )
        self._stop.wait(WAIT)

    def _check(self) -> None:
        if self.archive.md5 is None:
            return
        print(f"{self.archive.name}: checking its MD5 sum", flush=True)
        with naming(self.part), self.part.open("rb") as handle:
            found = hashlib.file_digest(handle, "md5").hexdigest()
        if found != self.archive.md5:
            self.record.unlink()
            self.part.unlink()
            raise UserError(
                f"{self.archive.address}: MD5 {found}, but {self.archive.name} has {self.archive.md5}; what came is"
                " removed: give the same command again, or give --mirror"
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


def fetch(download: Download, folder: Path, mirror: str | None, connections: int, check_only: bool) -> bool:
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
                Fetch(archive, folder / archive.name, connections).run()
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
    parser.add_argument("--connections", metavar="N", type=whole_number(1, 32), default=4, help="requests at once")
    parser.add_argument(
        "--check-only", action="store_true", help="say what is there and what would be fetched; status 1 if incomplete"
    )
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    complete = [fetch(CORPORA[name], args.dir, args.mirror, args.connections, args.check_only) for name in args.corpora]
    return 0 if all(complete) else 1


if __name__ == "__main__":
    run_program(main)
