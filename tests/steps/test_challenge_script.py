"""Our score files in the form that the challenge's own script reads, and the numbers that it would give.

That script may not be copied here. This is another, as plain as can be, from the published formulas (Kinnunen et al.,
"t-DCF: a detection cost function for the tandem assessment of spoofing countermeasures and automatic speaker
verification", 2018, and "Tandem assessment of spoofing countermeasures and automatic speaker verification:
fundamentals", 2020; parameters of the ASVspoof 2019 and 2021 evaluation plans). It reads files as that one does:
numpy's text reader with its defaults, all columns as strings, then picked by number.
"""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from steps.evaluate import main
from steps.score import Trials
from tests.in_process import call

ATTACKS = ("A07", "A08", "A19")


def read_cm(path):
    table = np.genfromtxt(path, dtype=str)
    attack, key, score = table[:, 1], table[:, 2], table[:, 3].astype(float)
    return attack, key, score


def read_asv(path):
    table = np.genfromtxt(path, dtype=str)
    return table[:, 0], table[:, 1], table[:, 2].astype(float)


def operating_points(positive, negative):
    """(miss rate, false alarm rate, threshold) as ever more trials are rejected, the lowest first; of equal scores the
    positive one goes first."""
    trials = [(score, 0) for score in positive] + [(score, 1) for score in negative]
    trials.sort()
    missed, accepted = 0, len(negative)
    yield 0.0, 1.0, trials[0][0] - 0.001
    for score, is_negative in trials:
        missed += not is_negative
        accepted -= is_negative
        yield missed / len(positive), accepted / len(negative), score


def eer_and_threshold(positive, negative):
    miss, false_alarm, threshold = min(operating_points(positive, negative), key=lambda point: abs(point[0] - point[1]))
    return (miss + false_alarm) / 2, threshold


def min_tdcfs(bonafide, spoof, asv_miss, asv_false_alarm, asv_spoof_miss):
    p_target, p_nontarget, p_spoof = 0.95 * 0.99, 0.95 * 0.01, 0.05
    of_2019, of_2021 = [], []
    c1 = p_target * (1 - 1 * asv_miss) - p_nontarget * 10 * asv_false_alarm
    c2 = 10 * p_spoof * (1 - asv_spoof_miss)
    floor = p_target * 1 * asv_miss + p_nontarget * 10 * asv_false_alarm
    for miss, false_alarm, _ in operating_points(bonafide, spoof):
        of_2019.append((c1 * miss + c2 * false_alarm) / min(c1, c2))
        revised = floor + (p_target * 1 - floor) * miss + p_spoof * 10 * (1 - asv_spoof_miss) * false_alarm
        of_2021.append(revised / (floor + min(p_target * 1 - floor, p_spoof * 10 * (1 - asv_spoof_miss))))
    return min(of_2019), min(of_2021)


def as_the_challenge(cm_path, asv_path):
    """EER and both minimum t-DCFs, of all attacks and of each."""
    attack, key, score = read_cm(cm_path)
    asv_attack, asv_key, asv_score = read_asv(asv_path)
    target, nontarget = asv_score[asv_key == "target"], asv_score[asv_key == "nontarget"]
    asv_eer, threshold = eer_and_threshold(target, nontarget)
    found = {"asv": asv_eer}
    for name in ("pooled", *ATTACKS):
        of_cm = (key == "spoof") & ((attack == name) | (name == "pooled"))
        of_asv = (asv_key == "spoof") & ((asv_attack == name) | (name == "pooled"))
        bonafide, spoof = score[key == "bonafide"], score[of_cm]
        rates = (target < threshold).mean(), (nontarget >= threshold).mean(), (asv_score[of_asv] < threshold).mean()
        found[name] = (eer_and_threshold(bonafide, spoof)[0], *min_tdcfs(bonafide, spoof, *rates))
    return found


def write_asv(path, draw, counts, decimals):
    lines = [f"bonafide target {score!r}" for score in draw.normal(3, 1.5, 180).round(decimals).tolist()]
    lines += [f"bonafide nontarget {score!r}" for score in draw.normal(-2, 1.5, 900).round(decimals).tolist()]
    for i, (name, count) in enumerate(counts.items()):
        lines += [f"{name} spoof {score!r}" for score in draw.normal(2 - i, 2, count).round(decimals).tolist()]
    draw.shuffle(lines)
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    "seed, decimals, scale",
    [(0, 17, 1.0), (1, 1, 1.0), (2, 0, 1.0), (3, 17, 1e-9), (4, 17, 1e9)],
    ids=["full precision", "ties", "many ties", "tiny", "huge"],
)
def test_our_score_files_give_the_challenge_s_numbers(tmp_path, monkeypatch, seed, decimals, scale):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(seed)
    counts = {"A07": 120, "A08": 60, "A19": 200}
    attacks = ["-"] * 200 + [name for name, count in counts.items() for _ in range(count)]
    draw.shuffle(attacks)
    means = {"-": 2.0, "A07": -1.0, "A08": 0.0, "A19": 1.5}
    scores = scale * np.array([draw.normal(means[attack]) for attack in attacks]).round(decimals)

    # the part of steps/score.py that writes, without a network and features
    trials = object.__new__(Trials)
    utterances = [f"LA_E_{i:07d}" for i in range(len(attacks))]
    trials.features = SimpleNamespace(utts=utterances)
    trials.utt2attack = dict(zip(utterances, attacks))
    trials.utt2label = {utt: "bonafide" if attack == "-" else "spoof" for utt, attack in zip(utterances, attacks)}
    trials.plan, trials.parts = [np.arange(len(utterances))], 1
    trials.write(tmp_path / "cm.txt", scores)
    write_asv(tmp_path / "asv.txt", draw, counts, decimals)

    attack, key, score = read_cm(tmp_path / "cm.txt")
    assert score.tolist() == scores.tolist()
    assert attack.tolist() == attacks
    assert key.tolist() == list(trials.utt2label.values())

    done = call(main, "evaluate.py", "--json", "--asv-scores", "asv.txt", "cm.txt")
    assert (done.returncode, done.stderr) == (0, "")
    ours, theirs = json.loads(done.stdout), as_the_challenge(tmp_path / "cm.txt", tmp_path / "asv.txt")
    assert ours["asv"]["eer"] == pytest.approx(theirs["asv"], rel=1e-12)
    for name, figures in {"pooled": ours["pooled"], **ours["per_attack"]}.items():
        found = (figures["eer"], figures["min_tdcf_2019"], figures["min_tdcf_2021"])
        assert found == pytest.approx(theirs[name], rel=1e-12)
        assert 0 < found[0] < 0.5
