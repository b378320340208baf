"""Programs start without what takes seconds to load and only some of their runs need."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SLOW = {"librosa", "matplotlib.figure", "scipy.optimize", "scipy.signal", "scipy.stats"}
FEATURES = """
import numpy
from steps.frontend import load_conf, make_frontend
make_frontend(load_conf("conf/frontend/f0_subband.yaml")).extract(numpy.zeros(16000))
"""


@pytest.mark.parametrize(
    ("script", "absent"),
    [
        (FEATURES, SLOW | {"torch"}),
        ("import steps.compute_feats", SLOW | {"torch"}),
        ("import steps.evaluate", SLOW | {"torch"}),
        ("import steps.make_results", SLOW | {"torch"}),
        ("import steps.train", SLOW),
        ("import steps.score", SLOW),
        ("import steps.detect", SLOW),
    ],
)
def test_what_takes_long_to_load_is_left_for_when_it_is_needed(script, absent):
    asked = f"{script}\nimport sys\nprint(*sorted({absent} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "\n"
