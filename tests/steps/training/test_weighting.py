"""Weights of loss terms: each rule by hand-worked numbers, through training, and over a stop and a going on."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from steps import nnet, train, training
from steps.nnet.base import BONAFIDE, SPOOF, score_of
from steps.training import loop
from steps.training.curves import plot_curves
from steps.training.losses import MixedLabels
from steps.training.weighting import LOOK_EVERY, WeightingConf, make_weighting
from tests.in_process import call
from utils.cli import UserError

FIXED = {"hard": 0.7, "soft": 0.3, "feature": 0.3}
TERMS = {"hard": torch.tensor(2.0), "soft": torch.tensor(0.5), "feature": torch.tensor(4.0)}


def test_fixed_is_the_weighted_sum_without_anything_to_keep():
    weighting = make_weighting(WeightingConf(), FIXED)
    total, weights = weighting(TERMS, 1)
    assert total.item() == pytest.approx(0.7 * 2 + 0.3 * 0.5 + 0.3 * 4)
    assert weights == {} and not weighting.state_dict()


def test_uncertainty_by_hand():
    """total = sum of w exp(-s) L + s; d/ds = 1 - w exp(-s) L."""
    weighting = make_weighting(WeightingConf("uncertainty"), FIXED)
    total, weights = weighting(TERMS, 1)
    assert total.item() == pytest.approx(2.75)  # as fixed, at the start
    assert {k: w.item() for k, w in weights.items()} == pytest.approx(
        {"weight_hard": 0.7, "weight_soft": 0.3, "weight_feature": 0.3}
    )
    total.backward()
    slopes = {k: s.grad.item() for k, s in weighting.log_variances.items()}
    assert slopes == pytest.approx({"hard": 1 - 1.4, "soft": 1 - 0.15, "feature": 1 - 1.2})
    weighting.log_variances["soft"].data.fill_(math.log(2))
    total, weights = weighting(TERMS, 1)
    assert total.item() == pytest.approx(1.4 + 0.15 / 2 + 1.2 + math.log(2))
    assert weights["weight_soft"].item() == pytest.approx(0.15) and not weights["weight_soft"].requires_grad


def test_uncertainty_settles_at_one_over_the_term():
    weighting = make_weighting(WeightingConf("uncertainty"), FIXED)
    optimizer = torch.optim.Adam(weighting.parameters(), lr=0.05)
    for _ in range(600):
        optimizer.zero_grad()
        weighting(TERMS, 1)[0].backward()
        optimizer.step()
    weights = weighting(TERMS, 1)[1]
    for name, term in TERMS.items():
        assert weights[f"weight_{name}"].item() == pytest.approx(1 / term.item(), rel=1e-2)


def test_dwa_by_hand():
    """Ratios 0.5, 1 and 0.25 at T = 2: multipliers 3 exp(r / 2) / sum."""
    weighting = make_weighting(WeightingConf("dwa", dwa_temperature=2), FIXED)

    def weights_in(epoch):
        weighting.begin_epoch(epoch, 9)
        return {k.removeprefix("weight_"): w for k, w in weighting(TERMS, 1)[1].items()}

    assert weights_in(1) == FIXED
    weighting.end_epoch({"total": 9.0, "hard": 2.0, "soft": 0.5, "feature": 4.0})
    assert weights_in(2) == FIXED
    weighting.end_epoch({"total": 9.0, "hard": 1.0, "soft": 0.5, "feature": 1.0})
    raised = {"hard": math.exp(0.25), "soft": math.exp(0.5), "feature": math.exp(0.125)}
    expected = {k: 3 * v / sum(raised.values()) * FIXED[k] for k, v in raised.items()}
    assert weights_in(3) == pytest.approx(expected)
    total, _ = weighting(TERMS, 1)
    assert total.item() == pytest.approx(2 * expected["hard"] + 0.5 * expected["soft"] + 4 * expected["feature"])
    # the means of both epochs are kept with the weights: another one goes on alike
    other = make_weighting(WeightingConf("dwa", dwa_temperature=2), FIXED)
    other.load_state_dict(weighting.state_dict())
    for one in (weighting, other):
        one.end_epoch({"total": 9.0, "hard": 0.5, "soft": 0.1, "feature": 1.0})
        one.begin_epoch(4, 9)
    assert weighting(TERMS, 1)[1] == other(TERMS, 1)[1] != expected


def test_dwa_of_a_term_that_was_nought_is_harmless():
    weighting = make_weighting(WeightingConf("dwa"), FIXED)
    for epoch in (1, 2, 3):
        weighting.begin_epoch(epoch, 9)
        weighting.end_epoch({"hard": 0.0, "soft": 0.5, "feature": 4.0})
    weighting.begin_epoch(4, 9)
    assert all(math.isfinite(w) for w in weighting(TERMS, 1)[1].values())


@pytest.mark.parametrize("by, length", [("epochs", 4), ("steps", 4), ("share", 0.5)])
def test_ramp_by_hand(by, length):
    """The share is of 8 epochs."""
    for shape, expected in (("linear", [0, 0.25, 0.5, 0.75, 1, 1]),
                            ("sigmoid", [math.exp(-5 * (1 - t) ** 2) for t in (0, 0.25, 0.5, 0.75, 1, 1)])):  # fmt: skip
        weighting = make_weighting(WeightingConf("ramp", ramp_shape=shape, ramp_by=by, ramp_length=length), FIXED)
        for now, risen in enumerate(expected, 1):
            weighting.begin_epoch(9 if by == "steps" else now, 8)
            _, weights = weighting(TERMS, now if by == "steps" else 99)
            assert weights == pytest.approx(
                {"weight_hard": 0.7, "weight_soft": 0.3 * risen, "weight_feature": 0.3 * risen}
            )


LABELS = torch.tensor([BONAFIDE] * 10 + [SPOOF] * 10)
PERFECT = 0.1 * LABELS - 7  # the scores' scale and place do not matter
AUC_08 = torch.tensor([1.0] * 10 + [0.0] * 8 + [2.0] * 2)
RANDOM = torch.tensor([0.0, 1.0] * 10)


def competence_rule(weights=FIXED):
    return make_weighting(WeightingConf("competence"), weights)


def share_after(weighting, looks, scores=None):
    """What of the students' gradient goes on into the network after so many looks at a teacher, by default a perfect
    one."""
    for _ in range(looks):
        weighting.observe(PERFECT if scores is None else scores, LABELS)
    return float(weighting.share)


def test_at_first_no_gradient_of_the_students_reaches_the_network():
    weighting = competence_rule()
    weighting.begin_epoch(1, 9)
    total, logged = weighting(TERMS, 1)
    assert {k: float(v) for k, v in logged.items()} == {"weight_students": 0}
    assert total.item() == pytest.approx(0.7 * 2 + 0.3 * 0.5 + 0.3 * 4), "the helpers learn by the fixed weights"


def test_a_teacher_that_tells_all_apart_teaches_in_full_in_the_end():
    """Its competence after n looks is 1 - 0.875^n: it passes 0.75 with the 11th."""
    weighting = competence_rule()
    shares = [share_after(weighting, 1) for _ in range(400)]
    for n in (1, 10, 11, 30, 400):
        assert shares[n - 1] == pytest.approx(max(0, (1 - 0.875**n - 0.75) / 0.25), abs=1e-4)
    assert shares[9] == 0 < shares[10]
    assert all(a <= b for a, b in zip(shares, shares[1:]))


@pytest.mark.parametrize("scores, competence", [
    (RANDOM, 0.0),
    (torch.zeros(20), 0.0),
    (AUC_08, 0.6),
    (-PERFECT, -1.0),
])  # fmt: skip
def test_a_teacher_that_knows_little_teaches_nothing(scores, competence):
    """By chance, of one score for all, of AUC 0.8, and one that takes the classes for each other."""
    weighting = competence_rule()
    assert all(share_after(weighting, 1, scores) == 0 for _ in range(200))
    assert weighting.competence.item() == pytest.approx(competence, abs=1e-3)


def test_chance_in_single_batches_teaches_nothing():
    weighting, generator = competence_rule(), torch.Generator().manual_seed(1)
    assert all(share_after(weighting, 1, torch.randn(20, generator=generator)) == 0 for _ in range(200))


def test_a_teacher_that_forgets_stops_teaching():
    weighting = competence_rule()
    assert share_after(weighting, 100) > 0.99
    assert share_after(weighting, 10, RANDOM) == 0


@pytest.mark.parametrize("label", [BONAFIDE, SPOOF])
def test_a_batch_of_one_class_says_nothing_of_the_teacher(label):
    weighting = competence_rule()
    share_after(weighting, 40)
    before = weighting.competence.item()
    weighting.observe(torch.randn(6), torch.full((6,), label))
    assert weighting.competence.item() == pytest.approx(before, rel=1e-6)


def test_competence_is_kept_with_the_weights_and_learned_by_no_gradient():
    one, other = competence_rule(), competence_rule()
    share_after(one, 30)
    other.load_state_dict(one.state_dict())
    assert list(one.state_dict()) == ["competence", "taught"] and not list(one.parameters())
    assert float(other.share) == float(one.share) > 0
    assert share_after(one, 1, AUC_08) == share_after(other, 1, AUC_08)


def test_a_logged_share_stays_what_it_was_when_the_teacher_learns_on():
    weighting = competence_rule()
    share_after(weighting, 15)
    logged = weighting(TERMS, 1)[1]["weight_students"]
    before = float(logged)
    assert float(logged) == before < share_after(weighting, 1)


@pytest.mark.parametrize("conf", ["self_distill", "self_distill_attached", "self_distill_attention", "ema_teacher"])
def test_the_helpers_learn_in_full_and_the_blocks_by_the_share(root, conf):
    """The gradient of soft, feature and attention loss in the blocks is the share of what it is by fixed weights."""
    x, labels = torch.randn(8, 1, 64, 45), torch.tensor([0, 1] * 4)

    def gradients(rule, share):
        torch.manual_seed(3)
        detector = nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9_narrow.yaml"))
        # alpha so small that the hard loss has no say
        settings = [f"train.distill.weighting.name={rule}", "train.distill.alpha=0"]
        method = training.make_method(training.load_conf(root / f"conf/train/{conf}.yaml", settings), detector).train()
        if rule == "competence":
            method.weighting.taught = torch.tensor(share)
        method.losses(x, labels, 1)[0].backward()
        return {name: p.grad for name, p in method.named_parameters() if p.grad is not None}

    fixed = gradients("fixed", None)
    for share in (0.0, 0.25, 1.0):
        found = gradients("competence", share)
        assert found.keys() == fixed.keys()
        for name, gradient in found.items():
            own = share if name.startswith(("detector.", "twin.")) else 1.0
            torch.testing.assert_close(gradient, own * fixed[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("conf", ["self_distill", "consistency", "ema_teacher"])
def test_the_teachers_own_scores_are_what_competence_is_judged_by(root, conf, monkeypatch):
    """Of mixed utterances by the label that weighs more."""
    torch.manual_seed(3)
    settings = ["train.distill.weighting.name=competence"]
    detector = nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml"))
    method = training.make_method(training.load_conf(root / f"conf/train/{conf}.yaml", settings), detector)
    method.train()
    seen = []
    monkeypatch.setattr(method.weighting, "observe", lambda scores, labels: seen.append((scores, labels)))
    x, first, second = torch.randn(4, 1, 64, 45), torch.tensor([0, 1, 1, 0]), torch.tensor([1, 1, 0, 0])
    with torch.no_grad():
        teacher = (method.networks[-1] if conf == "ema_teacher" else method.kept).detector
        expected = score_of(teacher(x))  # in training mode: by the batch's own statistics, but for the averaged teacher
    for labels, main in (
        (first, first),
        (MixedLabels(first, second, 0.7), first),
        (MixedLabels(first, second, 0.3), second),
    ):
        method.losses(x, labels, LOOK_EVERY)
        scores, said = seen.pop()
        torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-4)
        assert torch.equal(said, main) and not scores.requires_grad and not seen


@pytest.mark.parametrize("name", ["uncertainty", "dwa", "ramp"])
def test_a_term_of_weight_nought_stays_out(name):
    weighting = make_weighting(WeightingConf(name), {"hard": 1.0, "soft": 0.0, "feature": 0.5})
    for epoch in (1, 2, 3):
        weighting.begin_epoch(epoch, 9)
        weighting.end_epoch({"hard": 1.0 / epoch, "soft": 7.0, "feature": 2.0})
    weighting.begin_epoch(4, 9)
    _, weights = weighting(TERMS, 1)
    assert weights["weight_soft"] == 0 and weights["weight_hard"] > 0
    if name == "uncertainty":
        assert set(weighting.log_variances) == {"hard", "feature"}


def test_senseless_values_are_refused_by_name(root):
    for setting, message in (
        ("dwa_temperature=0", "dwa_temperature: 0.0 is not positive"),
        ("ramp_length=-1", "ramp_length: -1.0 is not positive"),
        ("ramp_by=share train.distill.weighting.name=ramp", "ramp_length: 8.0 is more than 1, the entire training"),
        ("name=uncertain", "did you mean 'uncertainty'"),
    ):
        with pytest.raises(UserError) as error:
            training.load_conf(root / "conf/train/self_distill.yaml", f"train.distill.weighting.{setting}".split())
        assert message in str(error.value)


def test_the_ramp_of_the_conf_is_a_quarter_of_any_training(root):
    for epochs, expected in ((32, [math.exp(-5 * (1 - t / 8) ** 2) for t in range(8)] + [1] * 24),
                             (6, [math.exp(-5), math.exp(-5 / 9), 1, 1, 1, 1])):  # fmt: skip
        conf = training.load_conf(root / "conf/train/self_distill_ramp.yaml", [f"train.epochs={epochs}"])
        detector = nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml"))
        method = training.make_method(conf, detector)
        for epoch, risen in enumerate(expected, 1):
            method.begin_epoch(epoch, epochs)
            assert method.weighting.multipliers(99)["soft"] == pytest.approx(risen)


def test_log_variances_are_trained_without_weight_decay(root):
    torch.manual_seed(3)
    detector = nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml"))
    method = training.make_method(training.load_conf(root / "conf/train/self_distill_uncertainty.yaml"), detector)
    optimizer = loop.make_optimizer(method.conf.optimizer, method.parameters(), 1e-3, method.without_weight_decay())
    decayed, spared = optimizer.param_groups
    assert [p.shape for p in spared["params"]] == [()] * 3 and spared["weight_decay"] == 0
    assert decayed["weight_decay"] == 1e-4
    assert len(decayed["params"]) + 3 == len(list(method.parameters()))
    x, labels = torch.randn(4, 1, 64, 45), torch.tensor([0, 1, 1, 0])
    method.losses(x, labels, 1)[0].backward()
    optimizer.step()
    assert all(s.item() != 0 for s in method.weighting.log_variances.values())
    assert not [k for k in method.detector.state_dict() if "weighting" in k]


class Stopped(Exception):
    pass


@pytest.mark.parametrize("rule, conf, more", [
    ("uncertainty", "self_distill_uncertainty", []),
    ("dwa", "self_distill_dwa", []),
    ("ramp", "self_distill_ramp", ["ramp_length=0.75"]),
    ("competence", "self_distill", ["name=competence"]),
])  # fmt: skip
def test_stopped_and_going_on_ends_in_the_same_weights(root, made_up_sets, tmp_path, monkeypatch, rule, conf, more):
    """Stopped within epoch 4, when the checkpoint of epoch 3 is the newest; four epochs, so that dwa's rule acts."""
    (train_data, train_feats), (dev_data, dev_feats) = made_up_sets["train"], made_up_sets["dev"]
    if rule == "competence":  # so that it acts within the eight steps
        monkeypatch.setattr("steps.training.weighting._MEMORY", 2)
        monkeypatch.setattr("steps.training.self_distill.LOOK_EVERY", 1)
        monkeypatch.setattr("steps.training.weighting._ENOUGH", -1)

    def run(out):
        return call(
            train.main, "train.py", "--model", root / "conf/model/ecanet9.yaml", "--num-threads=1",
            "--train-conf", root / f"conf/train/{conf}.yaml", "--set=train.epochs=4",
            "--set=train.batch_size=25", "--set=train.schedule.lr=3e-3", "--set=frontend.network_input.frames=32",
            *(f"--set=train.distill.weighting.{setting}" for setting in more),
            train_data, train_feats, dev_data, dev_feats, out,
        )  # fmt: skip

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(whole).returncode == 0
    after_step = training.MethodBase.after_step

    def stop(method, step):
        after_step(method, step)
        if step == 7:  # two steps an epoch
            raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(training.MethodBase, "after_step", stop)
        with pytest.raises(Stopped):
            run(broken)
    assert not (broken / "final.pt").exists()
    done = run(broken)
    assert done.returncode == 0 and "resuming after epoch 3" in done.stdout
    assert (broken / "epochs.tsv").read_text() == (whole / "epochs.tsv").read_text()
    ours, theirs = (torch.load(out / "checkpoints/best.pt", weights_only=True) for out in (whole, broken))
    assert ours["method"].keys() == theirs["method"].keys()
    assert all(torch.equal(ours["method"][k], theirs["method"][k]) for k in ours["method"])
    names, *rows = [line.split("\t") for line in (whole / "epochs.tsv").read_text().splitlines()]
    logged = ["students"] if rule == "competence" else FIXED
    weights = {n: [float(row[names.index(f"train_weight_{n}")]) for row in rows] for n in logged}
    assert len(set(weights["students" if rule == "competence" else "soft"])) > 1, "it changed while training"
    if rule == "dwa":
        assert weights["soft"][:2] == pytest.approx([0.3, 0.3])
        means = {n: [float(row[names.index(f"train_{n}")]) for row in rows] for n in FIXED}
        raised = {n: math.exp(m[2] / m[1] / 2) for n, m in means.items()}
        assert weights["feature"][3] == pytest.approx(0.3 * 3 * raised["feature"] / sum(raised.values()), rel=1e-6)
    if rule == "competence":
        assert ours["method"]["weighting.competence"] != 0


def test_a_training_too_short_for_a_competent_teacher_logs_a_share_of_zero(root, made_up_sets, tmp_path):
    (train_data, train_feats), (dev_data, dev_feats) = made_up_sets["train"], made_up_sets["dev"]
    done = call(
        train.main, "train.py", "--model", root / "conf/model/ecanet9.yaml", "--num-threads=1",
        "--train-conf", root / "conf/train/self_distill.yaml", "--set=train.epochs=2", "--set=train.batch_size=25",
        "--set=frontend.network_input.frames=32", "--set=train.distill.weighting.name=competence",
        train_data, train_feats, dev_data, dev_feats, tmp_path / "seed1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names, *rows = [line.split("\t") for line in (tmp_path / "seed1/epochs.tsv").read_text().splitlines()]
    assert [float(row[names.index("train_weight_students")]) for row in rows] == [0, 0]
    assert all(float(row[names.index("train_soft")]) > 0 for row in rows), "the term is logged though it does not count"


def test_weights_have_a_panel_of_their_own(tmp_path):
    def rows(**more):
        return [
            {
                "epoch": n,
                "lr": 1e-3,
                "train": {"total": 1.0, "hard": 0.5, "soft": 0.1} | more,
                "dev_loss": 1,
                "dev_eer": 9,
                "inside": {"rank_block4": 3.0, "gradient_head": 0.1},
            }
            for n in (1, 2, 3)
        ]

    from matplotlib.image import imread

    plot_curves(rows(), 2, "lowest dev loss", "fixed", tmp_path / "fixed.png")
    plot_curves(rows(weight_hard=0.7, weight_soft=0.3), 2, "lowest dev loss", "ramp", tmp_path / "ramp.png")
    fixed, ramp = (np.asarray(imread(tmp_path / f"{name}.png")) for name in ("fixed", "ramp"))
    rows_of_panels = 4 / 3  # three without the weights
    assert ramp.shape[0] == pytest.approx(rows_of_panels * fixed.shape[0], abs=2) and ramp.shape[1] == fixed.shape[1]


def test_a_method_without_terms_has_no_weighting(root):
    torch.manual_seed(3)
    detector = nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml"))
    method = training.make_method(training.load_conf(root / "conf/train/baseline.yaml"), detector)
    assert method.weighting is None and method.without_weight_decay() == []
    assert not any(isinstance(m, nn.ParameterDict) for m in method.modules())
    method.begin_epoch(1, 2), method.end_epoch({"hard": 1.0})
