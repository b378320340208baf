"""What tests of several rooms share: the toolkit's folders, speech-like waveforms, small made-up data dirs."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from PIL import Image

from utils.conf import read_yaml

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# Tests that a shell has begun in its background would ignore Ctrl-C with all that they start, and what ignores it from
# its begin on cannot trap it, where it is a shell.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def python() -> str:
    return sys.executable


def picture_of(png: Path | IO[bytes]) -> np.ndarray:
    """(rows, columns, 3), uint8: a PNG file read to its end, which shows something."""
    with Image.open(png) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 8, "an empty picture"
    return pixels


def speech_like(samples: int, seed: int = 0, rate: int = 16000) -> np.ndarray:
    """Harmonics of a gliding fundamental under a syllable-like envelope, and a little noise; (samples,), peak 0.5."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / rate
    f0 = 120 + 40 * np.sin(2 * np.pi * 0.7 * t + seed)
    phase = 2 * np.pi * np.cumsum(f0) / rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 20))
    wave = tone * (0.55 + 0.45 * np.sin(2 * np.pi * 3 * t)) + 0.02 * rng.standard_normal(samples)
    return 0.5 * wave / max(np.abs(wave).max(), 1e-9)


@pytest.fixture(scope="session")
def waveform_maker():
    return speech_like


@pytest.fixture(scope="session")
def encoder_for_confs(tmp_path_factory):
    """path -> the settings with which a conf is read: one of a pretrained encoder, whose folder is not there, needs
    another one. Its weights are empty."""
    folder = tmp_path_factory.mktemp("encoder")
    (folder / "config.json").write_text('{"model_type": "whisper", "d_model": 8}')
    (folder / "model.safetensors").touch()

    def settings(path: Path) -> list[str]:
        room = path.parent.name
        is_one = room in ("model", "frontend") and read_yaml(path)["type"] == "encoder"
        return [f"{room}.encoder={folder}"] if is_one else []

    return settings


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium with a microphone that beeps; one for all, as a process can drive but one at a time."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("there is no Chromium here; install it (Debian: apt-get install chromium)")
    options = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=options)
        yield opened
        opened.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many cases of tests/fuzz ran; the reports carry the numbers, so that workers' cases count too."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    counts = [
        count
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, count in report.user_properties
        if name == "fuzz cases"
    ]
    if counts:
        terminalreporter.write_line(f"fuzzing: {sum(counts)} cases of {len(counts)} readers")
