"""tests/run.sh: what fails keeps nothing else from running, and is named at the end."""

import os
import subprocess


def test_a_failing_stage_does_not_keep_later_ones_from_running(root):
    stand_in = '() { echo "stand-in $1"; [ "$1" != check ]; }'  # of ruff: a shell takes functions from its environment
    done = subprocess.run(
        ["tests/run.sh", "--units", "false", "--benches", "false", "--faults", "false", "--recipes", "false"],
        cwd=root,
        env={**os.environ, "BASH_FUNC_ruff%%": stand_in, "BASH_FUNC_mypy%%": "() { echo stand-in types; }"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "stand-in check" in done.stdout and "failed: ruff check" in done.stdout and "stand-in format" in done.stdout
    assert "stand-in types" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("tests/run.sh: FAILED: ruff check;")
