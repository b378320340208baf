"""The golden values on the challenge's own ASV score files, which are not part of the toolkit.

Set FSD_OFFICIAL_LISTS to a folder with LA/ASVspoof2019.LA.asv.{dev,eval}.gi.trl.scores.txt and
PA/ASVspoof2019.PA.asv.dev.gi.trl.scores.txt.
"""

import os
from pathlib import Path

import pytest

from steps.scoring.breakdown import asv_operating_point
from steps.scoring.score_files import read_asv_scores
from steps.scoring.tandem import tdcf_floor_2021, tdcf_weights_2019

LISTS = os.environ.get("FSD_OFFICIAL_LISTS")
pytestmark = pytest.mark.skipif(not LISTS, reason="FSD_OFFICIAL_LISTS names no folder of the challenge's ASV scores")


def operating_point(database, part):
    path = Path(LISTS) / database / f"ASVspoof2019.{database}.asv.{part}.gi.trl.scores.txt"
    if not path.exists():
        pytest.skip(f"{path.name} is not in FSD_OFFICIAL_LISTS")
    scores = read_asv_scores(path)
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
    assert f"{tdcf_floor_2021(point.rates):.5f}" == "0.06273"
