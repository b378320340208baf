"""Calibration and fusion: known log-likelihood ratios are found again, and what may be trained on is kept apart."""

import importlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from steps.evaluation.fitted_scores import evaluation_reasons, mark_warnings, read_mark, read_systems
from steps.evaluation.score_files import read_cm_scores
from steps.metrics.calibration import LlrModel, Unusable, fit, fit_mean
from steps.metrics.error_rates import det_curve, equal_error_rate
from steps.metrics.llr_cost import cllr
from steps.metrics.outliers import FARTHEST
from steps.metrics.tandem import AsvRates, tdcf_2019
from tests.in_process import call
from utils.cli import UserError

ASV = AsvRates(0.03, 0.02, 0.2)


def simulated(rng, bonafide=4000, spoof=12000, mean=2.0):
    """True log-likelihood ratios: normal with variance twice the mean, so that they are the ratios of their own
    densities."""
    keys = np.arange(bonafide + spoof) < bonafide
    return keys, np.where(keys, mean, -mean) + math.sqrt(2 * mean) * rng.normal(size=keys.size)


@pytest.mark.parametrize("prior", [0.05, 0.5, 0.9])
def test_known_ratios_are_found_again(prior):
    keys, llr = simulated(np.random.default_rng(0))
    model = fit((llr - 3) / 0.02 + 7000, keys, prior)  # llr = 0.02 score - 137
    assert model.weights[0] == pytest.approx(0.02, rel=0.05)
    found = model.llr((llr - 3) / 0.02 + 7000)
    assert np.abs(found - llr).max() < 0.9
    assert cllr(found[keys], found[~keys]) == pytest.approx(cllr(llr[keys], llr[~keys]), abs=0.002)
    # a scale and shift of the scores is taken out again
    assert found == pytest.approx(fit(llr, keys, prior).llr(llr), abs=1e-3)


def test_the_least_loss_is_found():
    """The gradient of the prior-weighted loss, worked out by its formula, is 0 there."""
    rng = np.random.default_rng(1)
    keys, prior = np.arange(300) < 100, 0.2
    scores = rng.normal(size=(300, 3)) * [1, 5, 100] + np.outer(keys, [1, 2, 30])
    model = fit(scores, keys, prior)
    posterior = 1 / (1 + np.exp(-(model.llr(scores) + math.log(prior / (1 - prior)))))
    error = np.where(keys, prior / 100 * (posterior - 1), (1 - prior) / 200 * posterior)
    assert error.sum() == pytest.approx(0, abs=1e-5)
    assert error @ (scores / [1, 5, 100]) == pytest.approx(np.zeros(3), abs=1e-5)


def test_calibration_is_a_rising_line():
    keys, llr = simulated(np.random.default_rng(2), 200, 300)
    scores = np.round(4 * llr - 2, 1)  # with ties
    found = fit(scores, keys).llr(scores)
    assert (np.diff(found[np.argsort(scores, kind="stable")]) >= 0).all()
    before, after = (det_curve(one[keys], one[~keys]) for one in (scores, found))
    assert equal_error_rate(after)[0] == equal_error_rate(before)[0]
    assert tdcf_2019(after, ASV).min() == tdcf_2019(before, ASV).min()


def test_classes_apart_and_what_cannot_be_calibrated():
    keys = np.array([False, False, True, True])
    assert np.isfinite(fit([1.0, 2, 3, 4], keys).weights).all()
    with pytest.raises(Unusable, match="sign flipped"):
        fit([4.0, 3, 2, 1], keys)
    with pytest.raises(Unusable, match="system 2 has one score"):
        fit([[1.0, 5], [2, 5], [3, 5], [2.5, 5]], keys)
    with pytest.raises(Unusable, match="system 2: higher scores"):
        fit_mean([[1.0, 4], [2, 3], [3, 2], [2.5, 1]], keys)
    with pytest.raises(ValueError, match="prior is 1"):
        fit([1.0, 2, 3, 4], keys, 1)
    with pytest.raises(ValueError, match="scores of 1 systems"):
        LlrModel((1.0, 2.0), 0.0, 0.5).llr([1.0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1e4, 1e5, 1e7, 1e30, sys.float_info.max])
def test_one_wild_score_is_named_or_does_no_harm(value):
    keys, scores = simulated(np.random.default_rng(4), 200, 400)
    usual = fit(scores, keys)
    for trial in (7, 300):
        for wild in (-value, value):
            spoilt = scores.copy()
            spoilt[trial] = wild
            if (wild > 0) == keys[trial] and value < FARTHEST:  # on its own side: a line may leave it there
                assert fit(spoilt, keys).weights == pytest.approx(usual.weights, rel=0.02)
                continue
            with pytest.raises(
                Unusable, match=r"is an outlier: the others lie between -.* and .*, and no line"
            ) as refused:
                fit(spoilt, keys)
            assert (refused.value.system, refused.value.trial) == (0, trial)
    with pytest.raises(Unusable, match=r"^system 2: the score .* is an outlier") as refused:
        fit_mean(np.column_stack([scores, spoilt]), keys)
    assert (refused.value.system, refused.value.trial) == (1, 300)


def test_scores_that_tell_nothing_are_no_flipped_ones():
    """Their order is right by a little, their mean is wrong by a little."""
    with pytest.raises(Unusable, match=r"hardly mean more bona fide \(area under the ROC 0.56\)"):
        fit([1.0, 2.0, 3.0, 0.9, 1.9, 9.0], np.arange(6) < 3)


def test_cllr_by_hand():
    assert cllr([0.0, 0.0], [0.0]) == pytest.approx(1)
    # log2(1 + e^-x) of x = ln 3 and -ln 3: log2(4/3) and 2; log2(1 + e^x) of -ln 7: log2(8/7)
    expected = ((math.log2(4 / 3) + 2) / 2 + math.log2(8 / 7)) / 2
    assert cllr([math.log(3), -math.log(3)], [-math.log(7)]) == pytest.approx(expected)
    assert cllr([800.0, 900], [-1000]) == 0


def test_fusion_weighs_systems_by_what_they_tell():
    rng = np.random.default_rng(3)
    keys = np.arange(8000) < 2000
    shift = np.where(keys, 1.0, -1.0)
    # independent normal scores of deviation d: llr = 2 score / d^2 each, and they add
    scores = np.column_stack([shift + rng.normal(size=8000), shift + 2 * rng.normal(size=8000), rng.normal(size=8000)])
    weights = fit(scores, keys).weights
    assert weights == pytest.approx((2, 0.5, 0), abs=0.12)
    fused = fit(scores, keys).llr(scores)
    eers = [equal_error_rate(det_curve(one[keys], one[~keys]))[0] for one in (fused, *scores.T)]
    assert eers[0] < min(eers[1:])
    # alike systems: the mean has one weight for each, inverse to its scale
    alike = np.column_stack([shift + rng.normal(size=8000), 10 * (shift + rng.normal(size=8000))])
    first, second = fit_mean(alike, keys).weights
    assert first == pytest.approx(10 * second, rel=0.05)
    assert first + 10 * second == pytest.approx(4, rel=0.05)


# The programs, with score files and data dirs.


class Place:
    def __init__(self, root: Path):
        self.root = root

    def write(self, name, ids, seed=0, distance=2.0, shuffled=False, folder="a"):
        """A score file of 60 trials: each third bona fide."""
        rng = np.random.default_rng(seed)
        rows = []
        for i in range(60):
            key = "bonafide" if i % 3 == 0 else "spoof"
            score = rng.normal() + distance * (i % 3 == 0)
            rows.append(f"{ids}{i:04d} {'-' if i % 3 == 0 else 'A0' + str(i % 3)} {key} {score!r}\n")
        order = rng.permutation(60) if shuffled else range(60)
        path = self.root / folder / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(rows[i] for i in order))
        return path

    def data(self, name, ids):
        folder = self.root / "data" / name
        folder.mkdir(parents=True)
        keys = ("bonafide", "spoof", "spoof")
        (folder / "utt2label").write_text("".join(f"{ids}{i:04d} {keys[i % 3]}\n" for i in range(60)))
        (folder / "corpus.json").write_text('{"name": "look-alike"}')

    def run(self, program, *argv):
        return call(importlib.import_module(f"steps.{program}").main, program + ".py", *argv)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path)


def test_calibrate(place):
    dev, test = place.write("dev", "d"), place.write("eval", "e", 1)
    place.data("dev", "d")
    done = place.run("calibrate", "--train", dev, "--prior", 0.3, "--out-dir", "out", dev, test)
    assert (done.returncode, done.stderr) == (0, "")
    model = json.loads(Path("out/calibration.json").read_text())
    assert 0 < model["trained_on"].pop("eer") < 0.5 and abs(model["trained_on"].pop("eer_threshold")) < 3
    low, high = model["trained_on"].pop("llr_range")
    assert low < 0 < high
    assert model["trained_on"] | {"sha256": 0, "cllr": 0} == {
        "sets": ["dev"], "corpus": ["look-alike"], "files": [str(dev)], "sha256": 0, "n_bonafide": 20, "n_spoof": 40, "cllr": 0,
    }  # fmt: skip
    assert (model["prior"], model["trained_on_eval"], len(model["utterances"].split())) == (0.3, False, 60)
    before, after = read_cm_scores(test), read_cm_scores("out/eval.txt")
    assert (after.utterance, after.attack_names) == (before.utterance, before.attack_names)
    assert after.attack.tolist() == before.attack.tolist()
    assert after.score.tolist() == (before.score * model["weights"][0] + model["offset"]).tolist()
    assert mark_warnings(Path("out/eval.txt")) == []
    assert "these very trials" in mark_warnings(Path("out/dev.txt"))[0]
    # the model that was kept gives the same
    again = place.run("calibrate", "--model", "out/calibration.json", "--out-dir", "again", test)
    assert again.returncode == 0
    assert Path("again/eval.txt").read_bytes() == Path("out/eval.txt").read_bytes()
    assert not Path("again/calibration.json").exists()


def test_a_wild_score_is_named_with_its_file_and_utterance(place):
    dev = place.write("dev", "d")
    right = dev.read_text()
    lines = right.splitlines()
    dev.write_text("\n".join([lines[0].rpartition(" ")[0] + " -1e30", *lines[1:]]))
    done = place.run("calibrate", "--train", dev, "--out-dir", "out", dev)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"error: {dev}: d0000: the score -1e+30 is an outlier: the others lie between" in done.stderr
    other = place.write("dev", "d", 1, folder="b")
    done = place.run("fuse", "--sets", "dev", "--out-dir", "out", other.parent, dev.parent)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"error: {dev}: d0000: the score -1e+30 is an outlier" in done.stderr
    # a score that the model cannot turn into a number: nothing is written
    dev.write_text(right)
    test = place.write("eval", "e", 1)
    lines = test.read_text().splitlines()
    test.write_text("\n".join([*lines[:3], lines[3].rpartition(" ")[0] + f" {sys.float_info.max!r}", *lines[4:]]))
    done = place.run("calibrate", "--train", dev, "--out-dir", "out", dev, test)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"error: {test}: e0003: the score 1.79769e+308 is too large to calibrate" in done.stderr
    assert not Path("out").exists()


def test_fuse_takes_files_of_any_order(place):
    for name, ids in (("dev", "d"), ("eval", "e")):
        for seed, folder in enumerate("ab"):
            place.write(name, ids, seed, folder=folder)
            place.write(name, ids, seed, folder=folder * 2, shuffled=True)
    for method in ("logistic", "mean"):
        for out, folders in (("out", "ab"), ("mixed", ("a", "bb"))):
            done = place.run("fuse", "--method", method, "--sets", "eval", "--out-dir", out, *folders)
            assert (done.returncode, done.stderr) == (0, "")
        assert Path("out/eval.txt").read_bytes() == Path("mixed/eval.txt").read_bytes()
        model = json.loads(Path("out/fusion.json").read_text())
        scores = np.column_stack([read_cm_scores(f"{folder}/eval.txt").score for folder in "ab"])
        assert read_cm_scores("out/eval.txt").score == pytest.approx(scores @ model["weights"] + model["offset"])
    assert (
        place.run("fuse", "--model", "out/fusion.json", "--out-dir", "z", "a").stderr.count("2 systems, not of 1") == 1
    )


def test_missing_utterances_are_named(place):
    for folder in "ab":
        path = place.write("dev", "d", folder=folder)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:7] + lines[8:] + ["d9999 A01 spoof 0.5"]))
    done = place.run("fuse", "--sets", "dev", "--out-dir", "out", "a", "b")
    assert done.returncode == 1
    assert "b/dev.txt: 1 utterances of a/dev.txt have no score in it (the first: d0007)" in done.stderr
    path.write_text("\n".join([*lines, "d9999 A01 spoof 0.5"]))
    done = place.run("fuse", "--sets", "dev", "--out-dir", "out", "a", "b")
    assert "a/dev.txt: 1 utterances of b/dev.txt have no score in it (the first: d9999)" in done.stderr
    path.write_text("\n".join(lines).replace("A01", "A09"))
    done = place.run("fuse", "--sets", "dev", "--out-dir", "out", "a", "b")
    assert "b/dev.txt: d0001 has the attack A09 there but A01 in a/dev.txt" in done.stderr
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "name, ids, sets, applied, why",
    [
        ("eval", "x", {}, None, "eval.txt is named as one to evaluate on"),
        ("dev_eval_head2", "x", {}, None, "is named as one to evaluate on"),
        ("scores", "x", {}, None, "scores.txt is not named as one to train on"),
        ("dev", "LA_E_1", {}, None, "60 utterances have ids of an evaluation set (the first: LA_E_10000)"),
        ("dev", "x", {"eval_known": "x"}, None, "data set eval_known is named as one to evaluate on"),
        ("dev", "x", {"dev": "x", "test": "x"}, None, "data set test is named as one to evaluate on"),
        ("dev", "x", {}, "eval", "60 of the trials of a/eval.txt are among those that the model was trained on"),
    ],
)
def test_evaluation_trials_are_refused_under_any_name(place, name, ids, sets, applied, why):
    train = place.write(name, ids).relative_to(place.root)
    other = place.write(applied or "other", ids if applied else "o", 1).relative_to(place.root)
    for one, of in sets.items():
        place.data(one, of)
    options = ("calibrate", "--train", train, "--out-dir", "out", other)
    done = place.run(*options)
    assert done.returncode == 1 and why in done.stderr and "--i-know" in done.stderr
    assert not Path("out").exists()

    done = place.run(*options, "--i-know")
    assert done.returncode == 0 and "WARNING: trained on evaluation trials: " in done.stderr and why in done.stderr
    assert json.loads(Path("out/calibration.json").read_text())["trained_on_eval"] is True
    made = Path("out") / other.name
    assert read_mark(made)["trained_on_eval"] is True
    assert why in " ".join(read_mark(made)["overridden"])
    # the mark stays with whatever is made of these scores
    made.rename("out/dev.txt")
    made.with_suffix(".json").rename("out/dev.json")
    place.write("test", "t")
    done = place.run("calibrate", "--train", "out/dev.txt", "--out-dir", "more", "a/test.txt")
    assert done.returncode == 1 and "out/dev.txt was made by a model trained on evaluation trials" in done.stderr


@pytest.mark.parametrize("name", ["dev", "train", "dev_head2", "dev-clean", "validation"])
def test_sets_to_train_on(place, name):
    place.data("dev", "LA_D_1")
    place.data("eval", "LA_E_1")
    assert evaluation_reasons(read_systems([place.write(name, "LA_D_1")]), Path("data")) == []


def test_evaluate_tells_of_the_mark(place):
    test = place.write("eval", "e")
    assert place.run("calibrate", "--i-know", "--train", test, "--out-dir", "out", test).returncode == 0
    done = place.run("evaluate", "--no-plot", "--out", "results", "out/eval.txt")
    assert done.returncode == 0
    assert (
        "WARNING: out/eval.txt: these scores were calibrated or fused by a model trained on evaluation" in done.stderr
    )
    warnings = json.loads(Path("results/evaluation.json").read_text())["warnings"]
    assert [text.split("trained on ")[1].split(";")[0] for text in warnings] == [
        "evaluation trials",
        "these very trials",
    ]
    # scores that came later are not those that the mark tells of
    Path("out/eval.txt").write_bytes(test.read_bytes())
    done = place.run("evaluate", "--no-plot", "--out", "results", "out/eval.txt")
    assert done.returncode == 1 and "out/eval.json: it was written for another eval.txt" in done.stderr
    Path("out/eval.json").write_text("[]")
    with pytest.raises(UserError, match="does not say how"):
        read_mark(Path("out/eval.txt"))


def test_what_else_is_refused(place):
    dev = place.write("dev", "d")
    for options, why in (
        (["--train", dev, "--out-dir", "a", dev], "dev.txt: that is one of the score files read"),
        (
            ["--train", dev, "--out-dir", "out", dev, place.write("dev", "d", folder="b")],
            "two of the score files are named dev",
        ),
        (["--train", dev, "--out-dir", "out", "--data-dir", "none", dev], "none: it has no data dirs"),
        (["--model", dev.with_suffix(".none"), "--out-dir", "out", dev], "no such file"),
        (["--train", place.write("train", "d", distance=-3.0), "--out-dir", "out", dev], "is their sign flipped?"),
    ):
        done = place.run("calibrate", *options)
        assert done.returncode == 1 and why in done.stderr, done.stderr
    for options in (["--out-dir", "out", dev], ["--train", dev, "--prior", "1", "--out-dir", "out"]):
        assert place.run("calibrate", *options).returncode == 2
    assert place.run("calibrate", "--train", dev, "--out-dir", "made").returncode == 0
    made = json.loads(Path("made/calibration.json").read_text())
    for changed in ({"weights": [1]}, {**made, "weights": []}):
        Path("model.json").write_text(json.dumps(changed))
        done = place.run("calibrate", "--model", "model.json", "--out-dir", "out", dev)
        assert "model.json: not a model of" in done.stderr
