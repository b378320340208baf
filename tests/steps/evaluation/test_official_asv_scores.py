"""The golden values on the challenge's own ASV score files, which are not part of the toolkit.

Set FSD_OFFICIAL_LISTS to a folder with LA/ASVspoof2019.LA.asv.{dev,eval}.gi.trl.scores.txt,
PA/ASVspoof2019.PA.asv.dev.gi.trl.scores.txt and the CM protocols of those sets.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from steps.evaluation.breakdown import asv_operating_point
from steps.evaluation.protocols import read_protocol
from steps.evaluation.score_files import foreign_asv_scores, read_asv_scores, read_cm_scores
from steps.metrics.error_rates import det_curve
from steps.metrics.tandem import tdcf_2021, tdcf_weights_2019

LISTS = os.environ.get("FSD_OFFICIAL_LISTS")
pytestmark = pytest.mark.skipif(not LISTS, reason="FSD_OFFICIAL_LISTS names no folder of the challenge's ASV scores")


def official(database, name):
    path = Path(LISTS) / database / f"ASVspoof2019.{database}.{name}.txt"
    if not path.exists():
        pytest.skip(f"{path.name} is not in FSD_OFFICIAL_LISTS")
    return path


def operating_point(database, part):
    scores = read_asv_scores(official(database, f"asv.{part}.gi.trl.scores"))
    return scores, asv_operating_point(scores)


@pytest.mark.parametrize(
    "database, part, counts, eer_percent, weights",
    [
        ("LA", "dev", (1484, 5768, 22296), "2.42653", ["0.915362", "0.380135"]),
        ("LA", "eval", (5370, 33327, 63882), "2.45778", ["0.915044", "0.380326"]),
        ("PA", "dev", (2700, 14040, 24300), "6.51781", ["0.873350", "0.425741"]),
    ],
)
def test_golden_values(database, part, counts, eer_percent, weights):
    scores, point = operating_point(database, part)
    assert (scores.target.size, scores.nontarget.size, scores.spoof.size) == counts
    assert sum(spoof.size for spoof in scores.spoof_by_attack.values()) == counts[2]
    assert f"{100 * point.eer:.5f}" == eer_percent
    assert [f"{weight:.6f}" for weight in tdcf_weights_2019(point.rates)] == weights


def test_golden_rates_of_la_eval():
    _, point = operating_point("LA", "eval")
    assert f"{point.rates.false_alarm:.12f}" == "0.024604674888"
    assert f"{point.rates.miss:.12f}" == "0.024581005587"
    assert f"{point.rates.miss_spoof:.12f}" == "0.239347547040"
    assert f"{tdcf_2021(det_curve([1.0], [0.0]), point.rates).min():.5f}" == "0.06273"


@pytest.mark.parametrize(
    "database, name, counts, own_asv",
    [
        ("LA", "cm.dev.trl", (2548, 22296), "dev"),
        ("LA", "cm.eval.trl", (7355, 63882), "eval"),
        ("PA", "cm.dev.trl", (5400, 24300), "dev"),
        ("PA", "cm.train.trn", (5400, 48600), None),  # the attacks of dev, other counts: as dev and eval are in PA
    ],
)
def test_the_counts_tell_whose_asv_scores_they_are(tmp_path, database, name, counts, own_asv):
    protocol = read_protocol(official(database, name))
    draw = np.random.default_rng(0)
    (tmp_path / "cm.txt").write_text("".join(f"{utt} {draw.random()}\n" for utt in protocol.attack))
    cm = read_cm_scores(tmp_path / "cm.txt", protocol)
    assert (cm.bonafide.sum(), (~cm.bonafide).sum()) == counts
    for part in ("dev", "eval") if database == "LA" else ("dev",):
        asv = read_asv_scores(official(database, f"asv.{part}.gi.trl.scores"))
        assert (foreign_asv_scores(cm, asv) is None) == (part == own_asv)
