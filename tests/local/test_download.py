"""local/download_asvspoof2019.sh against a server of our own, which breaks off, forgets how to resume, and worse."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.corpus_lookalike import make_corpus

SIZES = {"train": (40, 8), "dev": (30, 6), "eval": (50, 10)}


class Server:
    """Serves `content` at /LA.zip: with or without byte ranges, breaking off the first `breaks` answers halfway."""

    def __init__(self, content: bytes):
        self.content, self.ranges, self.breaks, self.status, self.tell_size = content, True, 0, 200, True
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_HEAD(self):
                self.answer(body=False)

            def do_GET(self):
                self.answer(body=True)

            def answer(self, body: bool):
                start, status = 0, server.status
                asked = self.headers.get("Range", "")
                if body:
                    server.asked.append(asked)
                if status == 200 and asked and server.ranges:
                    start, status = int(asked.removeprefix("bytes=").split("-")[0]), 206
                    if start >= len(server.content):
                        status = 416
                data = server.content[start:] if status in (200, 206) else b"<html>sorry</html>"
                self.send_response(status)
                if status == 206:
                    last = len(server.content) - 1
                    self.send_header("Content-Range", f"bytes {start}-{last}/{len(server.content)}")
                if body or server.tell_size:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if body:
                    if server.breaks:
                        server.breaks -= 1
                        self.wfile.write(data[: len(data) // 2])
                        self.close_connection = True
                        return
                    self.wfile.write(data)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()


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
def download(root, server, tmp_path):
    def call(*args: str, base: str | None = None, path: str | None = None) -> subprocess.CompletedProcess:
        options = ["--url-base", base or server.base, "--retry-wait", "0", "--tries", "3"]
        environment = {**os.environ, "FSD_PYTHON": sys.executable, **({"PATH": path} if path else {})}
        command = [root / "local/download_asvspoof2019.sh", *options, *(args or ("la", tmp_path / "corpora"))]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=tmp_path)

    return call


def whole(corpora: Path) -> bool:
    flacs = len(list(corpora.glob("LA/ASVspoof2019_LA_*/flac/*.flac")))
    protocols = len(list(corpora.glob("LA/ASVspoof2019_LA_cm_protocols/*.txt")))
    return (flacs, protocols) == (120, 3) and sorted(path.name for path in corpora.iterdir()) == ["LA", "LA.zip"]


TOOLS = [
    "awk",
    "bash",
    "cat",
    "curl",
    "cut",
    "date",
    "df",
    "dirname",
    "env",
    "find",
    "flock",
    "grep",
    "head",
    "mkdir",
    "mv",
    "readlink",
    "rm",
    "sed",
    "sleep",
    "stat",
    "tail",
    "tr",
    "unzip",
    "wc",
    "wget",
]


def tools_without(folder: Path, *names: str) -> str:
    """A PATH with the tools that the script may use, but `names`."""
    folder.mkdir()
    for tool in set(TOOLS) - set(names):
        if place := shutil.which(tool):
            (folder / tool).symlink_to(place)
    return str(folder)


def test_download_and_again(download, server, tmp_path):
    done = download()
    assert done.returncode == 0, done.stderr
    assert whole(tmp_path / "corpora") and done.stdout.splitlines()[-1].endswith("corpora/LA is there and complete")
    server.asked.clear()
    done = download()
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1 and "there and whole" in done.stdout
    assert not server.asked
    shutil.rmtree(tmp_path / "corpora/LA")
    assert download("--remove-archive", "true", "la", str(tmp_path / "corpora")).returncode == 0
    assert not server.asked  # the archive was there
    assert [path.name for path in (tmp_path / "corpora").iterdir()] == ["LA"]


def test_goes_on_after_breaks(download, server, tmp_path):
    server.breaks = 5
    done = download()
    assert done.returncode == 0, done.stderr
    assert whole(tmp_path / "corpora") and done.stdout.count("was interrupted") == 5
    starts = [int(asked.removeprefix("bytes=").rstrip("-") or 0) for asked in server.asked]
    assert len(starts) == 6 and starts == sorted(set(starts)) and starts[-1] > 0.95 * len(server.content)


def test_server_that_cannot_resume(download, server, tmp_path):
    server.ranges, server.breaks = False, 2
    done = download()
    assert done.returncode == 0, done.stdout + done.stderr
    assert whole(tmp_path / "corpora") and "beginning again" in done.stdout


def test_server_that_always_breaks_off(download, server, tmp_path):
    server.ranges, server.breaks = False, 1000
    done = download()
    assert done.returncode == 1 and "3 attempts in a row got no further" in done.stderr
    assert not (tmp_path / "corpora/LA").exists() and not (tmp_path / "corpora/LA.zip").exists()
    server.ranges, server.breaks = True, 0
    assert download().returncode == 0 and whole(tmp_path / "corpora")


def test_server_that_does_not_tell_the_size(download, server, tmp_path):
    server.tell_size = False
    done = download("--no-space-check", "true", "la", str(tmp_path / "corpora"))
    assert done.returncode == 0, done.stderr
    assert whole(tmp_path / "corpora")


@pytest.mark.parametrize("missing", [("curl",), ("unzip",), ("curl", "unzip")])
def test_wget_and_python_do_as_well(download, server, tmp_path, missing):
    if "curl" in missing and not shutil.which("wget"):
        pytest.skip("no wget here")
    server.breaks = 2
    done = download(path=tools_without(tmp_path / "bin", *missing))
    assert done.returncode == 0, done.stdout + done.stderr
    assert whole(tmp_path / "corpora")


def test_wget_without_ranges(download, server, tmp_path):
    if not shutil.which("wget"):
        pytest.skip("no wget here")
    server.ranges, server.breaks = False, 2
    done = download(path=tools_without(tmp_path / "bin", "curl"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert whole(tmp_path / "corpora")


def test_no_client(download, tmp_path):
    done = download(path=tools_without(tmp_path / "bin", "curl", "wget"))
    assert done.returncode == 1 and "neither curl nor wget" in done.stderr


@pytest.mark.parametrize("without_unzip", [False, True])
def test_damaged_archive(download, server, archive, tmp_path, without_unzip):
    middle = len(archive) // 2
    server.content = archive[:middle] + bytes(200) + archive[middle + 200 :]
    done = download(path=tools_without(tmp_path / "bin", "unzip") if without_unzip else None)
    assert done.returncode == 1 and "LA.zip is damaged" in done.stderr and "Traceback" not in done.stderr
    corpora = tmp_path / "corpora"
    assert not (corpora / "LA").exists() and not list(corpora.glob(".*unpacking")) and not (corpora / "LA.zip").exists()
    server.content = archive
    assert download().returncode == 0 and (corpora / "LA").is_dir()


def test_archive_of_something_else(download, server, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as handle:
        handle.writestr("LA/readme.txt", "hello")
    server.content = (tmp_path / "x.zip").read_bytes()
    done = download()
    assert done.returncode == 1 and "it lacks ASVspoof2019_LA_cm_protocols" in done.stderr
    assert not (tmp_path / "corpora/LA").exists()


def test_a_page_in_the_place_of_the_archive(download, server, tmp_path):
    server.content = b"<html>this item has moved</html>"
    done = download()
    assert done.returncode == 1 and "gave no zip archive" in done.stderr and not (tmp_path / "corpora/LA").exists()


def test_not_found(download, server, tmp_path):
    server.status = 404
    done = download("--no-space-check", "true", "la", str(tmp_path / "corpora"))
    assert done.returncode == 1 and "is not available" in done.stderr and "datashare.ed.ac.uk" in done.stderr


def test_no_server(download, tmp_path):
    done = download("--no-space-check", "true", "la", str(tmp_path / "corpora"), base="http://127.0.0.1:9")
    assert done.returncode == 1 and "3 attempts in a row" in done.stderr


def test_too_little_space(download, server, tmp_path):
    tools = Path(tools_without(tmp_path / "bin", "df"))
    (tools / "df").write_text("#!/bin/sh\necho head\necho /dev/x 100 99 1 99% /\n")
    (tools / "df").chmod(0o755)
    done = download(path=str(tools))
    assert done.returncode == 1 and "too little space" in done.stderr and "--no-space-check" in done.stderr
    assert not server.asked and not (tmp_path / "corpora").exists()
    assert download("--no-space-check", "true", "la", str(tmp_path / "corpora"), path=str(tools)).returncode == 0


def test_check_only(download, server, tmp_path):
    corpora = tmp_path / "corpora"
    done = download("--check-only", "true", "la", str(corpora))
    assert done.returncode == 1 and "space needed" in done.stdout and not corpora.exists() and not server.asked
    assert download().returncode == 0
    done = download("--check-only", "true", "la", str(corpora))
    assert done.returncode == 0 and "there and whole" in done.stdout
    next(corpora.glob("LA/ASVspoof2019_LA_dev/flac/*")).unlink()
    done = download("--check-only", "true", "la", str(corpora))
    assert done.returncode == 1 and "lacks 1 of 30 files in ASVspoof2019_LA_dev/flac" in done.stdout
    done = download()
    assert done.returncode == 1 and "remove it and call this again" in done.stderr
    shutil.rmtree(corpora / "LA")
    done = download("--check-only", "true", "la", str(corpora))
    assert done.returncode == 1 and "LA.zip is complete, not yet unpacked" in done.stdout


def test_wrong_calls(download, tmp_path):
    for args, message in (
        (["la"], "are expected"),
        (["lb", "x"], "'lb' is neither la nor pa"),
        (["--url", "x", "la", "y"], "did you mean --url-base?"),
    ):
        done = download(*args)
        assert done.returncode == 1 and message in done.stderr and not (tmp_path / "x").exists()
    done = download("--check-only", "true", "la pa", str(tmp_path / "corpora"))
    assert "LA.zip" in done.stdout and "PA.zip" in done.stdout
