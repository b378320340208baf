"""A tiny detector behind the server: in this process, and as users start it."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from steps.inference.detector import FakeSpeechDetector
from steps.serving import verdicts
from tests.conftest import ROOT
from tests.steps.inference.conftest import calibrated_training

fastapi = pytest.importorskip("fastapi", reason="FastAPI is not installed (requirements-serve.txt)")


@pytest.fixture(scope="session")
def training(tmp_path_factory):
    return calibrated_training(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="session")
def detector(training):
    return FakeSpeechDetector.load(training)


class Here:
    """What stands for the process that scores."""

    def __init__(self, detector, max_seconds=1800.0):
        self.detector, self.max_seconds = detector, max_seconds

    def model(self):
        return verdicts.model_of(self.detector)

    def judge(self, data, *asked):
        return verdicts.judge(self.detector, data, self.max_seconds, *asked)

    def close(self):
        pass


@pytest.fixture(scope="session")
def server(training, tmp_path_factory):
    """steps/serve.py: url, and the folder for temporary files that it was given."""
    temporary = tmp_path_factory.mktemp("temporary")
    command = [sys.executable, str(ROOT / "steps/serve.py"), "--model", str(training), "--port", "0", "--max-mib", "4"]
    said = tmp_path_factory.mktemp("log") / "stderr"
    with (
        said.open("w") as log,
        subprocess.Popen(
            command, cwd=temporary, env=os.environ | {"TMPDIR": str(temporary)}, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):  # fmt: skip
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found is None:
            process.kill()
        assert found, f"{line!r}\n{said.read_text()}"
        yield SimpleNamespace(url=found[0], temporary=temporary, said=said)
        process.terminate()
        process.wait(30)
