"""steps/compare_scores.py as a user runs it."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from steps.compare_scores import main
from steps.metrics.error_rates import det_curve, equal_error_rate
from steps.metrics.paired_tests import paired_test
from tests.in_process import call

ASV = "".join(
    f"x {key} {i}\n" for key, shift in (("target", 8), ("nontarget", 0), ("spoof", 4)) for i in np.arange(10.0) + shift
)
BONAFIDE = np.arange(240) % 3 == 0


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("asv.txt").write_text(ASV)
    Path("utt2speaker").write_text("".join(f"u{i} s{i % 12 // 3 + i // 120 * 4}\n" for i in range(240)))
    return tmp_path


def write(path, distance, seed, order=range(240)):
    """All systems share half of their chance."""
    score = (
        distance * BONAFIDE + np.random.default_rng(0).normal(size=240) + np.random.default_rng(seed).normal(size=240)
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(f"u{i} {'- bonafide' if BONAFIDE[i] else 'A07 spoof'} {float(score[i])!r}\n" for i in order)
    )
    return 100 * equal_error_rate(det_curve(score[BONAFIDE], score[~BONAFIDE]))[0]


def compare(*argv):
    done = call(main, "compare_scores.py", "--draws", 200, "--json", "out.json", *argv)
    return done, json.loads(Path("out.json").read_text()) if done.returncode == 0 else None


def test_a_better_system_is_told_from_a_worse_one(place):
    eers = [write("a.txt", 1.5, 1), write("b.txt", 4.5, 2, order=range(239, -1, -1))]
    done, told = compare("--asv-scores", "asv.txt", "--speakers", "utt2speaker", "a.txt", "b.txt")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert (told["n_bonafide"], told["n_spoof"], told["n_speakers"], told["warnings"]) == (80, 160, 8, [])
    figures = [system["figures"] for system in told["systems"]]
    assert [one["eer"]["value"] for one in figures] == pytest.approx([eer / 100 for eer in eers])
    difference = told["differences"][0]["figures"]
    assert list(difference) == ["eer", "min_tdcf_2019", "min_tdcf_2021"]
    assert difference["eer"]["value"] == pytest.approx((eers[1] - eers[0]) / 100)
    for name, one in difference.items():
        for by in ("trial", "speaker"):
            low, high = one[f"interval_by_{by}"]
            assert low <= one["value"] <= high < 0
            assert one[f"p_by_{by}"] == pytest.approx(2 / 201)
            low, high = figures[0][name][f"interval_by_{by}"]
            assert low <= figures[0][name]["value"] <= high
    assert f"{eers[1] - eers[0]:+.2f}" in done.stdout
    # the same again, and the other way round
    assert compare("--asv-scores", "asv.txt", "--speakers", "utt2speaker", "a.txt", "b.txt")[0].stdout == done.stdout
    back = compare("--asv-scores", "asv.txt", "b.txt", "a.txt")[1]["differences"][0]["figures"]["eer"]
    assert back["p_by_trial"] == difference["eer"]["p_by_trial"]


def test_a_system_and_itself(place):
    write("a.txt", 1.5, 1)
    write("b.txt", 1.5, 1)
    one = compare("a.txt", "b.txt")[1]["differences"][0]["figures"]["eer"]
    assert one == {"value": 0, "interval_by_trial": [0, 0], "p_by_trial": 1}


def test_a_file_without_attacks_takes_those_of_another(place):
    write("a.txt", 1.5, 1)
    write("b.txt", 2.5, 2, order=range(239, -1, -1))
    lines = [line.split() for line in Path("b.txt").read_text().splitlines()]
    Path("without.txt").write_text("filename,cm-score,key\n" + "".join(f"{u},{s},{k}\n" for u, _, k, s in lines))
    whole = compare("--asv-scores", "asv.txt", "a.txt", "b.txt")[1]["differences"][0]["figures"]
    for argv, sign in ((["a.txt", "without.txt"], 1), (["without.txt", "a.txt"], -1), (["without.txt"] * 2, 0)):
        found = compare("--asv-scores", "asv.txt", *argv)[1]["differences"][0]["figures"]
        assert {name: one["value"] for name, one in found.items()} == pytest.approx(
            {name: sign * one["value"] for name, one in whole.items()}
        )
    Path("c.txt").write_text(Path("a.txt").read_text().replace("A07", "A08"))
    done, _ = compare("without.txt", "a.txt", "c.txt")
    assert "c.txt: u239 has the attack A08 there but A07 in a.txt" in done.stderr, done
    Path("without.txt").write_text(Path("without.txt").read_text().replace("spoof", "bonafide", 1))
    assert "without.txt: u239 is bonafide there but spoof in a.txt" in compare("a.txt", "without.txt")[0].stderr


def trained(*folders, seeds=(1, 2, 3), **changed):
    for folder in folders:
        for seed in seeds:
            conf = {
                "seed": seed,
                "model_name": folder,
                "train": {"method": folder, "epochs": 8, "batch_size": 32} | changed,
            }
            Path(folder, f"seed{seed}/conf.yaml").write_text(yaml.safe_dump(conf))


def test_trainings_under_other_conditions_are_not_tested_over_seeds(place):
    for seed in (1, 2, 3):
        for name, distance in (("base", 2.0), ("method", 2.4), ("third", 2.5)):
            write(f"{name}/seed{seed}/scores/eval.txt", distance, seed + 10 * len(name))
    trained("base", "method", "third")
    trained("third", seeds=[3], epochs=32)
    done, told = compare("--set", "eval", "--asv-scores", "asv.txt", "base", "method", "third")
    second, third = (one["figures"]["min_tdcf_2019"]["over_seeds"] for one in told["differences"])
    assert (second["untested"], third["untested"]) == (None, "trained otherwise: epochs: 8 -> 32")
    assert (third["pairs"], third["p_t"], third["interval"]) == (3, None, None)
    said = "C minus A: not tested over seeds (trained otherwise: epochs: 8 -> 32)"
    assert done.stdout.count(said) == done.stdout.count("not tested") == 1
    assert max(map(len, done.stdout.splitlines())) <= 80
    low, high = second["interval"]
    assert -1 <= low < high <= 1
    Path("method/seed2/conf.yaml").unlink()
    done, told = compare("--set", "eval", "base", "method")
    assert (
        "no method/seed2/conf.yaml, so that it is not known"
        in told["differences"][0]["figures"]["eer"]["over_seeds"]["untested"]
    )


def test_seeds_are_averaged_and_tested_as_elsewhere(place):
    eers = {
        name: [write(f"{name}/seed{seed}/scores/eval.txt", distance, seed + 10 * len(name)) for seed in (1, 2, 3)]
        for name, distance in (("base", 2.0), ("method", 2.4))
    }
    write("base/seed4/scores/eval.txt", 2.0, 50)
    trained("base", "method")
    done, told = compare("--set", "eval", "base", "method")
    assert "WARNING: base: seeds 4 are left out" in done.stderr
    assert "B = method, mean of seeds 1 2 3" in done.stdout
    one = told["differences"][0]["figures"]["eer"]
    expected = paired_test([(b - a) / 100 for a, b in zip(eers["base"], eers["method"])])
    assert one["value"] == pytest.approx(expected.mean)
    assert one["over_seeds"]["p_t"] == pytest.approx(expected.p_t)
    assert one["over_seeds"]["interval"] == pytest.approx(expected.interval)
    assert "over 3 seeds: " in done.stdout
    # a seed of one and a whole experiment: no seeds to pair
    told = compare("--set", "eval", "base/seed1/scores/eval.txt", "method")[1]
    assert "over_seeds" not in told["differences"][0]["figures"]["eer"]


def test_three_systems_are_corrected_for(place):
    for name, seed in (("a", 1), ("b", 2), ("c", 3)):
        write(f"{name}.txt", 2.0 + (name == "c"), seed)
    done, told = compare("a.txt", "b.txt", "c.txt")
    ones = [difference["figures"]["eer"] for difference in told["differences"]]
    least, most = sorted(ones, key=lambda one: one["p_by_trial"])
    assert least["p_by_trial_corrected"] == pytest.approx(2 * least["p_by_trial"])
    assert most["p_by_trial_corrected"] >= most["p_by_trial"]
    assert "in brackets corrected (Holm)" in done.stdout


def test_what_is_refused(place):
    write("a.txt", 2.0, 1)
    write("b.txt", 2.0, 2, order=range(1, 240))
    write("c.txt", 2.0, 3)
    Path("one").write_text("".join(f"u{i} s\n" for i in range(240)))
    Path("few").write_text("u1 s\n")
    Path("asv_none.txt").write_text(ASV.replace("spoof ", "spoof -"))
    Path("empty").mkdir()
    for argv, why in (
        (["a.txt", "b.txt"], "b.txt: 1 utterances of a.txt have no score in it (the first: u0)"),
        (["a.txt", "none.txt"], "none.txt: no such file"),
        (["a.txt", "empty"], "say by --set whose scores"),
        (["--set", "eval", "a.txt", "empty"], "empty: it has no seed<N>/scores/eval.txt"),
        (["--speakers", "one", "a.txt", "c.txt"], "one: all trials are of one speaker"),
        (["--speakers", "few", "a.txt", "c.txt"], "few: it has no line of u0 (239 trials lack one)"),
        (["--asv-scores", "asv_none.txt", "a.txt", "c.txt"], "asv_none.txt: no t-DCF is defined"),
    ):
        done, _ = compare(*argv)
        assert done.returncode == 1 and why in done.stderr, done.stderr
    assert compare("a.txt")[0].returncode == 2
