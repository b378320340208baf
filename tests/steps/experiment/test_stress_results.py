"""steps/experiment/stress_results.py: the stress test's sentence is that of these very weights."""

from __future__ import annotations

import json

import pytest

from steps.experiment.stress_results import stress_of
from utils.cli import UserError
from utils.files import sha256_of


def test_the_sentence_of_these_weights(tmp_path):
    training = tmp_path / "net/seed1"
    training.mkdir(parents=True)
    (training / "final.pt").write_text("weights")
    assert stress_of(training) is None
    stress = tmp_path / "net/stress/stress.json"
    stress.parent.mkdir()
    found = {
        "detectors": [
            {"sha256": "0", "experiment": "other"},
            {"sha256": sha256_of(training / "final.pt"), "experiment": "net"},
        ]
    }
    stress.write_text(json.dumps(found | {"headlines": {"net": "worst: GSM.", "other": "worst: noise."}}))
    assert stress_of(training) == "worst: GSM."
    (training / "final.pt").write_text("trained again")
    assert stress_of(training) is None
    stress.write_text("{}")
    together = tmp_path / "stress/stress.json"  # of several experiments
    together.parent.mkdir()
    together.write_text(json.dumps(found | {"headlines": {"net": "worst: rooms.", "other": "worst: noise."}}))
    with pytest.raises(UserError, match="stress.json: not as steps/stress.py writes it"):
        stress_of(training)
    stress.unlink()
    assert stress_of(training) is None
    (training / "final.pt").write_text("weights")
    assert stress_of(training) == "worst: rooms."
