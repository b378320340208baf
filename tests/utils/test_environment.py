"""utils/find_python.sh, make_environment.sh and fit_torchaudio.py: which Python is used, and what becomes of its
environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def find_python(root: Path, **environment: str) -> subprocess.CompletedProcess:
    clean = {
        name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX", "FSD_PYTHON")
    }
    return subprocess.run([root / "utils/find_python.sh"], env={**clean, **environment}, capture_output=True, text=True)


def test_help_of_make_environment(root):
    done = subprocess.run([root / "utils/make_environment.sh", "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "Usage: make_environment.sh [--dev] <dir>" in done.stdout


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A Python without any package."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin/python3"


def test_fsd_python_comes_first(root):
    done = find_python(root, FSD_PYTHON=sys.executable, VIRTUAL_ENV="/nonexistent")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{sys.executable}\n", "")


def test_fsd_python_that_lacks_packages(root, bare_python):
    done = find_python(root, FSD_PYTHON=str(bare_python))
    assert done.returncode == 1 and done.stdout == ""
    assert f"FSD_PYTHON={bare_python} lacks:" in done.stderr and " torch " in done.stderr and "soundfile" in done.stderr
    assert "requirements.txt" in done.stderr and "Traceback" not in done.stderr


def test_fsd_python_that_is_no_python(root, tmp_path):
    done = find_python(root, FSD_PYTHON=str(tmp_path / "none"))
    assert done.returncode == 1 and "is not a program" in done.stderr
    done = find_python(root, FSD_PYTHON="/bin/false")
    assert done.returncode == 1 and "does not run" in done.stderr


def test_active_environment_is_used_if_it_has_what_is_needed(root):
    prefix = Path(sys.prefix)
    if not (prefix / "bin/python3").exists():
        pytest.skip("this Python is in no environment")
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        done = find_python(root, **{name: str(prefix)})
        assert done.returncode == 0 and done.stdout == f"{prefix}/bin/python3\n"


def test_path_sh_stops_with_the_message(root, bare_python):
    script = f'. {root}/path.sh || echo "status $?"'
    clean = {name: value for name, value in os.environ.items() if name != "FSD_ENVIRONMENT_CHECKED"}
    done = subprocess.run(
        ["bash", "-c", script], env={**clean, "FSD_PYTHON": str(bare_python)}, capture_output=True, text=True
    )
    assert done.stdout == "status 1\n" and "lacks:" in done.stderr and "no usable Python environment" in done.stderr


def test_path_sh_sets_the_paths(root, tmp_path):
    script = (
        f'. {root}/path.sh && echo "$FSD_ROOT $LC_ALL $FSD_PYTHON" && command -v run.sh && python3 -c "import'
        ' utils.cli"'
    )
    clean = {name: value for name, value in os.environ.items() if name != "FSD_ENVIRONMENT_CHECKED"}
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env={**clean, "FSD_PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{root} C {sys.executable}\n{root}/utils/run.sh\n"


def test_torchaudio_imports(root):
    """The program's status is 0 only if `import torchaudio` works."""
    done = subprocess.run([sys.executable, root / "utils/fit_torchaudio.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_fit_torchaudio_without_torchaudio(root, bare_python):
    done = subprocess.run([bare_python, root / "utils/fit_torchaudio.py"], capture_output=True, text=True)
    assert done.returncode == 1 and "torchaudio is not installed" in done.stderr


STAND_IN = """#!/bin/bash
# a Python that makes environments of itself, and installs nothing
case "$*" in
  *version_info*) echo 3 11 ;;
  --version) echo Python 3.11.9 ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python3" ;;
  *install*) echo "$*" >> "$(dirname "$0")/installed" ;;
esac
"""


def test_an_environment_is_brought_up_to_date_in_its_place_and_made_anew_if_it_was_not_whole(root, tmp_path):
    base, venv = tmp_path / "python3", tmp_path / "venv"
    base.write_text(STAND_IN)
    base.chmod(0o755)

    def make() -> str:
        done = subprocess.run(
            [root / "utils/make_environment.sh", venv],
            env={**os.environ, "FSD_BASE_PYTHON": str(base)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "making the virtual environment" in make()
    stamp = venv / ".toolkit_is_whole"
    whole = stamp.read_text()
    (venv / "used").touch()
    assert make() == ""
    for old, said, kept in (("1 2\n", "bringing", True), (None, "making", False)):
        (venv / "bin/installed").unlink()
        stamp.write_text(old) if old else stamp.unlink()
        assert said in make() and (venv / "used").exists() == kept and stamp.read_text() == whole
        assert "torch==" in (venv / "bin/installed").read_text()
    stamp.write_text("1 2\n")  # of another Python
    (venv / "bin/python3").write_text(STAND_IN.replace("echo 3 11", "echo 3 12"))
    assert "making" in make()
