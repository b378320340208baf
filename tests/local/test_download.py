"""local/download.py against servers of our own that speak like DSpace 7 and Zenodo, break off, lie, and worse."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from local import download
from local.corpora import Archive, asvspoof2019
from local.corpora.base import known_downloads
from tests.corpus_lookalike import make_2021, make_corpus
from tests.in_process import call
from utils.cli import UserError

SIZES = {"train": (40, 8), "dev": (30, 6), "eval": (50, 10)}
UUID = "0f1e"


class Server:
    """LA.zip with the listings of DSpace and Zenodo. breaks: so many answers end halfway."""

    def __init__(self, content: bytes):
        self.content, self.ranges, self.breaks, self.status, self.page = content, True, 0, 200, False
        self.md5, self.says_size, self.delay = hashlib.md5(content).hexdigest(), True, 0.0
        self.asked: list[str] = []
        self.lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def send(self, status: int, data: bytes, headers: dict[str, str], shown: int | None = None):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if shown is None or server.says_size:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data if shown is None else data[:shown])

            def do_GET(self):
                if self.path.startswith("/bundles/"):
                    sums = {"checkSumAlgorithm": "MD5", "value": server.md5}
                    file = {"name": "LA.zip", "uuid": UUID, "sizeBytes": len(server.content), "checkSum": sums}
                    self.send(200, json.dumps({"_embedded": {"bitstreams": [file]}}).encode(), {})
                    return
                if self.path == "/api/records/69":
                    file = {
                        "key": "LA.zip", "size": len(server.content), "checksum": f"md5:{server.md5}",
                        "links": {"self": f"{server.base}/zenodo/LA.zip/content"},
                    }  # fmt: skip
                    self.send(200, json.dumps({"files": [file]}).encode(), {})
                    return
                if self.path not in (
                    f"/server/api/core/bitstreams/{UUID}/content", "/zenodo/LA.zip/content", "/folder/LA.zip",
                ):  # fmt: skip
                    self.send(404, b"no", {})
                    return
                if server.status != 200:
                    self.send(server.status, b"sorry", {})
                    return
                if server.page:
                    self.send(200, b"<html>this item has moved</html>", {"Content-Type": "text/html"})
                    return
                asked, headers, status, data = self.headers.get("Range", ""), {}, 200, server.content
                if asked and server.ranges:
                    start, end = (int(n) for n in asked.removeprefix("bytes=").split("-"))
                    data, status = server.content[start : end + 1], 206
                    headers["Content-Range"] = f"bytes {start}-{end}/{len(server.content)}"
                if asked != "bytes=0-0":
                    time.sleep(server.delay)
                with server.lock:
                    cut = server.breaks > 0 and asked != "bytes=0-0"
                    server.breaks -= cut
                    server.asked.append(asked)
                self.close_connection = True
                with contextlib.suppress(OSError):  # the client may have gone
                    self.send(status, data, headers, len(data) // 2 if cut else len(data))

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def starts(self) -> list[int]:
        """First byte of each part that was asked for."""
        return [int(one.removeprefix("bytes=").split("-")[0]) for one in self.asked if one not in ("", "bytes=0-0")]


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> bytes:
    """LA.zip of a small corpus."""
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder / "LA", "la", SIZES)
    path = folder / "LA.zip"
    with zipfile.ZipFile(path, "w") as handle:
        for file in sorted((folder / "LA").rglob("*")):
            handle.write(file, file.relative_to(folder))
    return path.read_bytes()


@pytest.fixture
def server(archive):
    made = Server(archive)
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def corpora(tmp_path) -> Path:
    return tmp_path / "corpora"


@pytest.fixture
def fetch(server, corpora, monkeypatch):
    """Calls the program, its publisher being the server; some 12 pieces in the archive."""
    known = replace(
        asvspoof2019.DOWNLOADS["asvspoof2019-la"],
        listing=f"{server.base}/bundles/d7/bitstreams?size=100",
        archives=(Archive("LA.zip"),),
        about=10,
    )
    monkeypatch.setitem(download.CORPORA, "asvspoof2019-la", known)
    monkeypatch.setattr(download, "PIECE", len(server.content) // 12)
    monkeypatch.setattr(download, "WAIT", 0.0)
    monkeypatch.setattr(download, "TRIES", 3)

    def run(*options: str, **changes: object) -> subprocess.CompletedProcess:
        monkeypatch.setitem(download.CORPORA, "asvspoof2019-la", replace(known, **changes))
        return call(download.main, "download.py", "asvspoof2019-la", corpora, *options)

    return run


def is_complete(corpora: Path) -> bool:
    flacs = len(list(corpora.glob("LA/ASVspoof2019_LA_*/flac/*.flac")))
    left = {path.name for path in corpora.iterdir()} - {"LA", "LA.zip", ".busy"}
    return flacs == 120 and not left


def test_download_says_what_it_fetches_and_does_nothing_twice(fetch, server, corpora):
    done = fetch()
    assert done.returncode == 0 and is_complete(corpora), done.stderr
    for said in ("Open Data Commons", "LA.zip: 0.0 GB, from http", "space needed in", "MD5", "LA: complete"):
        assert said in done.stdout
    assert sorted(server.starts()) == sorted({at for at in server.starts()}) and len(server.starts()) >= 12
    server.asked.clear()
    assert fetch().stdout == f"{corpora / 'LA'}: complete\n"
    shutil.rmtree(corpora / "LA")
    assert fetch().returncode == 0 and is_complete(corpora) and not server.asked  # the archive was there


@pytest.mark.parametrize("mirror", ["records/69", "api/records/69", "folder", "folder/", "bundles/x/bitstreams"])
def test_mirrors(fetch, server, corpora, mirror):
    done = fetch("--mirror", f"{server.base}/{mirror}", listing="http://127.0.0.1:9/none")
    assert done.returncode == 0 and is_complete(corpora), done.stderr
    assert done.stderr == ""


def test_a_listing_that_cannot_be_read_leaves_the_known_address(fetch, server, corpora):
    known = (Archive("LA.zip", address=f"{server.base}/folder/LA.zip"),)
    for listing in ("http://127.0.0.1:9/none", f"{server.base}/nothing", f"{server.base}/folder/LA.zip"):
        shutil.rmtree(corpora, ignore_errors=True)
        done = fetch(listing=listing, archives=known)
        assert done.returncode == 0 and is_complete(corpora), done.stderr
        assert done.stderr.startswith(f"WARNING: {listing}: ") and done.stderr.count("\n") == 1
    done = fetch(listing="http://127.0.0.1:9/none")
    assert done.returncode == 0  # complete; nothing is asked
    shutil.rmtree(corpora)
    done = fetch(listing="http://127.0.0.1:9/none")
    assert done.returncode == 1 and "its address is not known" in done.stderr and "--mirror" in done.stderr


def test_broken_connections_go_on_where_they_broke(fetch, server, corpora):
    server.breaks = 5
    done = fetch("--connections", "2")
    assert done.returncode == 0 and is_complete(corpora), done.stderr
    assert len(server.starts()) == len(set(server.starts())), "a part was asked for twice"


def test_interrupted_download_resumes(server, corpora, tmp_path):
    """Killed between pieces; the next call asks for none of those that were complete."""
    program = (
        "import sys; from pathlib import Path; from local import download as d; from dataclasses import replace\n"
        f"d.PIECE = {len(server.content) // 12}\n"
        "known = d.CORPORA['asvspoof2019-la']\n"
        f"known = replace(known, archives=(d.Archive('LA.zip'),), about=10, listing='{server.base}/bundles/x/bitstreams')\n"
        "d.CORPORA['asvspoof2019-la'] = known; sys.argv[0] = 'download.py'; d.run_program(d.main)\n"
    )
    command = [sys.executable, "-c", program, "asvspoof2019-la", str(corpora), "--connections=1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(download.__file__).parents[1])}
    server.delay = 0.1
    job = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    record = corpora / "LA.zip.done"
    while job.poll() is None and not (record.exists() and len(record.read_text().splitlines()) > 3):
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    job.wait()
    done = {int(line.split()[0]) for line in record.read_text().splitlines()[1:]}
    assert len(done) >= 3 and not (corpora / "LA.zip").exists()
    server.asked.clear()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert is_complete(corpora) and "continuing after" in again.stdout
    assert not done & set(server.starts())


def test_a_server_that_gives_no_parts(fetch, server, corpora):
    server.ranges, server.breaks = False, 2
    done = fetch()
    assert done.returncode == 0 and is_complete(corpora), done.stderr


def test_a_server_that_always_breaks_off(fetch, server, corpora):
    server.ranges, server.breaks = False, 1000
    done = fetch()
    assert done.returncode == 1 and "3 attempts in a row failed" in done.stderr and done.stderr.count("\n") == 1
    assert not (corpora / "LA").exists() and not (corpora / "LA.zip").exists()
    server.ranges, server.breaks = True, 0
    assert fetch().returncode == 0 and is_complete(corpora)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"md5": "0" * 32}, "but LA.zip has 00000000000000000000000000000000; what came is removed"),
        ({"page": True}, "gave a web page, not LA.zip"),
        ({"status": 404}, "the server answers 404"),
        ({"status": 503}, "HTTP Error 503"),
        ({"ranges": False, "says_size": False}, "does not say how large the file is"),
    ],
)
def test_bad_answers_end_in_one_line(fetch, server, corpora, change, message):
    vars(server).update(change)
    done = fetch()
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1
    assert "--mirror" in done.stderr and not (corpora / "LA").exists() and not (corpora / "LA.zip").exists()


def test_another_file_than_the_published_one_is_refused(fetch, server, corpora):
    for known in (Archive("LA.zip", size=5), Archive("LA.zip", md5="1" * 32)):
        done = fetch(archives=(known,))
        assert done.returncode == 1 and "but the published file has" in done.stderr and not corpora.exists()
    done = fetch("--mirror", f"{server.base}/folder", archives=(Archive("LA.zip", size=5),))
    assert done.returncode == 1 and "but LA.zip has 5" in done.stderr and not (corpora / "LA.zip").exists()


def test_a_damaged_or_foreign_archive_is_not_unpacked(fetch, server, corpora, archive):
    corpora.mkdir()
    middle = len(archive) // 2
    (corpora / "LA.zip").write_bytes(archive[:middle] + bytes(200) + archive[middle + 200 :])
    done = fetch()
    assert done.returncode == 1 and "LA.zip: damaged" in done.stderr and not (corpora / "LA").exists()
    with zipfile.ZipFile(corpora / "LA.zip", "w") as handle:
        handle.writestr("LA/readme.txt", "hello")
    done = fetch()
    assert done.returncode == 1 and "it lacks ASVspoof2019_LA_cm_protocols" in done.stderr
    assert not (corpora / "LA").exists()
    (corpora / "LA.zip").unlink()
    assert fetch().returncode == 0 and is_complete(corpora)


def test_too_little_space_is_said_before_anything_is_fetched(fetch, server, corpora, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: SimpleNamespace(free=1))
    done = fetch()
    assert done.returncode == 1 and "too little space" in done.stderr and not server.asked and not corpora.exists()


def test_check_only(fetch, server, corpora):
    done = fetch("--check-only")
    assert done.returncode == 1 and "space needed" in done.stdout and not corpora.exists() and not server.asked
    assert fetch().returncode == 0 and fetch("--check-only").returncode == 0
    next(corpora.glob("LA/ASVspoof2019_LA_dev/flac/*")).unlink()
    done = fetch("--check-only")
    assert done.returncode == 1 and "it lacks 1 of 30 files in ASVspoof2019_LA_dev/flac" in done.stdout
    done = fetch()
    assert done.returncode == 1 and "remove it and give the same command again" in done.stderr


def test_wrong_calls(corpora):
    for options, message in (
        (["asvspoof2019-lb", corpora], "invalid choice"),
        (["asvspoof2019-la", corpora, "--mirror", "ftp://x"], "is not an http or https address"),
        (["asvspoof2019-la", corpora, "--connections", "0"], "whole number from 1 to 32"),
    ):
        done = call(download.main, "download.py", *options)
        assert done.returncode in (1, 2) and message in done.stderr and not corpora.exists()


def test_what_is_known_of_the_published_files():
    (la,) = download.CORPORA["asvspoof2019-la"].archives
    assert (la.size, la.md5) == (7_640_952_520, "30c98f11d8b2bc21f2c257bfd78bb5c5")
    assert la.address.endswith("/bitstreams/a9f87c35-f055-4015-80e2-2fdff0d46269/content")
    assert "d7e9ad8b-23c2-4a84-b9e7-0cd307dfec46/bitstreams" in download.CORPORA["asvspoof2019-pa"].listing


def test_parts_and_keys_of_one_corpus_unpack_into_one_folder(tmp_path):
    """As ASVspoof 2021 DF: several .tar.gz with one folder in common, and the keys beside it."""
    make_2021(tmp_path / "c", "DF", 12, 4)
    audio = sorted((tmp_path / "c/ASVspoof2021_DF_eval/flac").iterdir())
    archives = []
    for name, paths in (("a", audio[::2]), ("b", audio[1::2]), ("keys", [tmp_path / "c/keys"])):
        archives.append(tmp_path / f"{name}.tar.gz")
        with tarfile.open(archives[-1], "w:gz") as packed:
            for path in paths:
                packed.add(path, path.relative_to(tmp_path / "c"))
    wanted = known_downloads()["asvspoof2021-df"]
    download.unpack(archives, wanted, tmp_path / wanted.folder)
    assert wanted.missing(tmp_path / wanted.folder) == ""
    (tmp_path / wanted.folder / "ASVspoof2021_DF_eval/flac/DF_E_1000003.flac").unlink()
    assert wanted.missing(tmp_path / wanted.folder) == "1 of 12 files in ASVspoof2021_DF_eval/flac"
    with pytest.raises(UserError, match="it lacks keys/DF/CM"):
        download.unpack(archives[:2], wanted, tmp_path / "other")
    archives[0].write_bytes(archives[0].read_bytes()[:300])
    with pytest.raises(UserError, match="a.tar.gz: damaged"):
        download.unpack(archives, wanted, tmp_path / "third")


def test_an_archive_without_a_known_address_says_what_to_do(tmp_path):
    done = call(download.main, "download.py", "in_the_wild", tmp_path)
    assert done.returncode == 1 and "give --mirror, or put the archive into the folder by hand" in done.stderr
    assert "https://deepfake-total.com/in_the_wild" in done.stderr
