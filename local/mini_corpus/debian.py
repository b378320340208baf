"""Debian packages as sources of speech: fetched with apt-get, checked, unpacked; without root and without installing.

DOWNLOADS/debian/PACKAGE_VERSION.deb, and beside it PACKAGE_VERSION/ with its files. A .deb laid there by hand is
used as it is, so that a machine without a network can build as well (one of another version than the conf's only where
the conf's cannot be had). A download that broke off goes on in DOWNLOADS/debian/incoming/; a file leaves it only with
the checksum of apt's lists.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from local.mini_corpus.attack import die_with_parent
from utils.cli import UserError, warn
from utils.files import make_dir_aside, read_json, sha256_of, write_json


@dataclass(frozen=True)
class DebianPackage:
    name: str
    version: str
    sha256: str
    folder: Path  # its files
    wanted: str = ""  # the version asked for; empty: this one

    def as_source(self) -> str:
        return f"{self.name} {self.version}"

    def instead(self) -> str:
        """ "NAME VERSION instead of WANTED", empty where it is the version asked for."""
        return f"{self.as_source()} instead of {self.wanted}" if self.wanted not in ("", self.version) else ""


class PackageMissing(Exception):
    """A package cannot be had here; the text says why."""


@dataclass(frozen=True)
class _Offer:
    version: str
    sha256: str
    bytes: int


class DebianPackages:
    """The packages below a downloads folder."""

    def __init__(self, downloads: Path):
        self.folder = downloads / "debian"
        self._apt_options: list[str] = []  # set once the machine's own package list does not do

    def get(self, name: str, version: str) -> DebianPackage:
        """The unpacked package, from the cache or fetched. Another version than `version`, of the cache first, is taken
        where that is not to be had any more, and told. Raises PackageMissing, as on a machine without Debian's tools;
        UserError for a file laid there that is no whole package."""
        have = self._cached(name, version)
        if have is None:
            have = self._fetch(name, version)
        elif have[1] != version:
            with contextlib.suppress(PackageMissing):
                have = self._fetch(name, version, or_another=False)
        deb, got, sha256 = have
        if got != version:
            warn(f"{name}: version {got} instead of {version}; the corpus made from it is another one")
        folder = deb.with_suffix("")
        if not folder.is_dir():
            self._need("dpkg-deb")
            remove_stale(folder)
            with make_dir_aside(folder) as unpacked:
                done = subprocess.run(["dpkg-deb", "-x", deb, unpacked], capture_output=True, text=True)
                if done.returncode != 0:
                    raise UserError(f"{deb}: cannot be unpacked: {done.stderr.strip()}; remove it and start again")
        return DebianPackage(name, got, sha256, folder, version)

    def _file(self, name: str, version: str) -> Path:
        return self.folder / f"{name}_{quote(version, safe='.+~-')}.deb"

    def _cached(self, name: str, version: str) -> tuple[Path, str, str] | None:
        """(file, version, sha256) of a cached package: the wanted version if it is there."""
        found = sorted(self.folder.glob(f"{name}_*.deb"), key=lambda deb: deb != self._file(name, version))
        if not found:
            return None
        deb = found[0]
        note = deb.with_suffix(".json")
        sha256 = sha256_of(deb)
        if note.exists():
            known = read_json(note)
            if known.get("sha256") == sha256:
                return deb, known["version"], sha256
            warn(f"{deb}: its checksum is not the one that it was fetched with; fetching it again")
            deb.unlink()
            note.unlink()
            shutil.rmtree(deb.with_suffix(""), ignore_errors=True)
            return None
        self._need("dpkg-deb")
        done = subprocess.run(["dpkg-deb", "-f", deb, "Package", "Version"], capture_output=True, text=True)
        fields = dict(re.findall(r"^(Package|Version): (.*)$", done.stdout, re.M))
        if done.returncode != 0 or fields.get("Package") != name or "Version" not in fields:
            raise UserError(f"{deb}: not a complete Debian package {name}; remove it and start again")
        write_json(note, {"version": fields["Version"], "sha256": sha256})
        return deb, fields["Version"], sha256

    def _need(self, program: str) -> None:
        if shutil.which(program) is None:
            raise PackageMissing(
                f"{program} is not here: the mini corpus is made from Debian packages, so it is built on Debian or "
                "Ubuntu; build it there and copy the folder, or give the real corpus with --corpus-dir"
            )

    def _run(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [command[0], *self._apt_options, *command[1:]], capture_output=True, text=True,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip

    def _offers(self, name: str) -> list[_Offer]:
        listed = self._run("apt-cache", "show", name)
        offers = []
        for record in listed.stdout.split("\n\n"):
            fields = dict(re.findall(r"^(Version|SHA256|Size): (.*)$", record, re.M))
            if len(fields) == 3:
                offers.append(_Offer(fields["Version"], fields["SHA256"], int(fields["Size"])))
        return offers

    def _use_private_list(self) -> bool:
        """Fetch a package list of our own, in the downloads folder. False if that has been done already."""
        if self._apt_options:
            return False
        apt = (self.folder / "apt").resolve()
        (apt / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (apt / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        options = [f"Dir::State::Lists={apt}/lists", f"Dir::Cache={apt}/cache", "Acquire::Languages=none"]
        if os.geteuid() == 0:
            options.append("APT::Sandbox::User=root")  # apt's own user could not write there
        self._apt_options = [word for option in options for word in ("-o", option)]
        print(
            "fetching a list of Debian packages into the downloads folder (the machine's own does not do)", flush=True
        )
        updated = self._run("apt-get", "update")
        if updated.returncode != 0:
            warn(f"apt-get update: {_last_line(updated.stderr)}")
        return True

    def _fetch(self, name: str, version: str, or_another: bool = True) -> tuple[Path, str, str]:
        """(file, version, sha256). Raises PackageMissing; without `or_another` also if only others are on offer."""
        for program in ("apt-get", "apt-cache", "dpkg-deb"):
            self._need(program)
        self.folder.mkdir(parents=True, exist_ok=True)
        while True:
            offers = self._offers(name)
            if not offers and self._use_private_list():
                continue
            if not offers:
                raise PackageMissing(f"no Debian package {name} is on offer (is there a network?)")
            offer = next((o for o in offers if o.version == version), offers[0] if or_another else None)
            if offer is None:
                raise PackageMissing(f"the Debian package {name} {version} is not on offer")
            try:
                deb = self._download(name, offer)
            except PackageMissing:
                if self._use_private_list():  # a stale list names files that the mirror no longer has
                    continue
                raise
            return deb, offer.version, offer.sha256

    def _download(self, name: str, offer: _Offer) -> Path:
        incoming = self.folder / "incoming" / name  # apt goes on with what an interrupted download left here
        left_over = any(incoming.glob("*.deb*"))
        incoming.mkdir(parents=True, exist_ok=True)
        print(f"fetching {name} {offer.version} ({offer.bytes / 1e6:.1f} MB)", flush=True)
        failure = self._run_download(name, offer, incoming)
        if failure and left_over:  # perhaps because of what was there: once more from the start
            shutil.rmtree(incoming)
            incoming.mkdir()
            failure = self._run_download(name, offer, incoming)
        if failure:
            raise PackageMissing(failure)
        deb = self._file(name, offer.version)
        write_json(deb.with_suffix(".json"), {"version": offer.version, "sha256": offer.sha256})
        next(incoming.glob("*.deb")).replace(deb)
        shutil.rmtree(incoming)
        return deb

    def _run_download(self, name: str, offer: _Offer, incoming: Path) -> str:
        """Let apt-get fetch a package into `incoming`, and check it: why there is none, or empty."""
        shown = sys.stderr.fileno() if sys.stderr.isatty() else subprocess.DEVNULL  # apt's own progress
        done = subprocess.run(
            ["apt-get", *self._apt_options, "download", f"{name}={offer.version}"],
            cwd=incoming, stdout=shown, stderr=subprocess.PIPE, text=True, env={**os.environ, "LC_ALL": "C"},
            preexec_fn=functools.partial(die_with_parent, os.getpid()),
        )  # fmt: skip
        fetched = sorted(incoming.glob("*.deb"))
        if done.returncode != 0 or not fetched:
            return f"apt-get download {name} failed: {_last_line(done.stderr)}"
        sha256 = sha256_of(fetched[0])
        if sha256 != offer.sha256:
            fetched[0].unlink()
            return f"{name}: what was fetched has the checksum {sha256}, not {offer.sha256}"
        return ""


def remove_stale(path: Path) -> None:
    """Remove what a killed process left of making the folder `path` aside; only for who holds the downloads' lock."""
    for stale in path.parent.glob(f".{path.name}.tmp*"):
        shutil.rmtree(stale, ignore_errors=True)


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip() and not line.startswith("W:")]
    return lines[-1].strip() if lines else "it said nothing"
