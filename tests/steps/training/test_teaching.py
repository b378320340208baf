"""Who teaches whom, and when: the plan of epochs, and whom the losses of each pair reach."""

import pytest
import torch

from steps import nnet, training
from steps.training.teaching import ProgressiveConf, spans_of, teachers_of
from utils.cli import UserError


def make(root, method, settings=()):
    torch.manual_seed(3)
    detector = nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml"))
    return training.make_method(training.load_conf(root / f"conf/train/{method}.yaml", settings), detector).eval()


@pytest.fixture()
def batch():
    torch.manual_seed(5)
    return torch.randn(4, 1, 96, 45), torch.tensor([0, 1, 1, 0])


def gradients(method, batch):
    method.zero_grad()
    method.losses(*batch, step=1)[0].backward()
    return {name: p.grad for name, p in method.named_parameters()}


def test_teachers():
    assert teachers_of("deepest", 4) == [3, 3, 3]
    assert teachers_of("chain", 4) == teachers_of("progressive", 4) == [1, 2, 3]


def test_spans():
    """Blocks 1, 2, 3 in this order; the deepest pair begins first."""
    assert spans_of("deepest", ProgressiveConf(), 4, 7) == spans_of("chain", ProgressiveConf(), 4, 7) == [(1, 7)] * 3
    assert spans_of("progressive", ProgressiveConf(), 4, 32) == [(22, 32), (12, 32), (1, 32)]
    assert spans_of("progressive", ProgressiveConf(keep_earlier=False), 4, 32) == [(22, 32), (12, 21), (1, 11)]
    assert spans_of("progressive", ProgressiveConf((0.2, 0.5, 0.8)), 4, 10) == [(9, 10), (6, 10), (3, 10)]
    assert spans_of("progressive", ProgressiveConf(), 4, 2) == [(2, 2), (2, 2), (1, 2)]
    by_epochs = ProgressiveConf(first_epochs=(2, 3, 7), keep_earlier=False)
    assert spans_of("progressive", by_epochs, 4, 10) == [(7, 10), (3, 6), (2, 2)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["train.epochs=1"], r"distill.progressive.begins: .* of 1 epochs leave one of the pairs"),
        (["train.epochs=2", "train.distill.progressive.keep_earlier=false"], "raise epochs"),
        (["train.distill.progressive.begins=[0, 0.5]"], "three shares"),
        (["train.distill.progressive.begins=[0, 0.5, 0.4]"], "rising order"),
        (["train.distill.progressive.begins=[0, 0.5, 1.0]"], "below 1"),
        (["train.distill.progressive.first_epochs=[1, 2, 33]"], r"first_epochs: \[1, 2, 33\] of 32 epochs leave one"),
        (["train.distill.progressive.first_epochs=[0, 1, 2]"], "not three epochs from 1"),
    ],
)
def test_a_plan_that_leaves_a_pair_out_is_refused(root, settings, message):
    with pytest.raises(UserError, match=message):
        training.load_conf(root / "conf/train/self_distill_progressive.yaml", settings)


@pytest.mark.parametrize("attention", [[], ["train.distill.attention.weight=1"]])
def test_a_pair_reaches_its_student_and_not_its_detached_teacher(root, batch, attention):
    """Where only block 3 teaches block 2: block 3, its aligner and head get nothing from that; blocks 1 and 2 do."""
    settings = ["train.epochs=9", "train.distill.progressive.keep_earlier=false", "train.distill.weighting.name=fixed",
                *attention]  # fmt: skip
    method, baseline = make(root, "self_distill_progressive", settings), gradients(make(root, "baseline"), batch)
    method.begin_epoch(5, 9)
    assert method.students == [1]
    found = gradients(method, batch)
    for name, gradient in baseline.items():
        if name.startswith(("detector.backbone.stages.2", "detector.backbone.stages.3", "detector.head")):
            torch.testing.assert_close(found[name], 0.7 * gradient, rtol=1e-4, atol=1e-7)
    for stage in (0, 1):
        name = f"detector.backbone.stages.{stage}.0.residual.0.weight"
        assert not torch.allclose(found[name], 0.7 * baseline[name], rtol=1e-2)
    for name, gradient in found.items():
        if name.startswith(("aligners", "student_heads")):
            assert (gradient is not None) == (".1." in name), name


def test_the_chains_terms_are_what_the_formulas_say(root, batch):
    from steps.training.losses import feature_loss, soft_loss

    method = make(root, "self_distill_chain")
    maps, aligned, embeddings, logits, _ = method.kept.heads(batch[0])
    _, terms = method.losses(*batch, step=1)
    soft = sum(soft_loss(logits[i], logits[i + 1], 3.0, True) for i in range(3))
    # the teacher's own map, not what its aligner makes of it
    feature = sum(feature_loss(aligned[i], maps[i + 1].mean((2, 3)), "mean") for i in range(3))
    assert [e.shape[1] for e in embeddings] == [32, 64, 128, 128]
    assert terms["soft"].item() == pytest.approx(soft.item(), rel=1e-5)
    assert terms["feature"].item() == pytest.approx(feature.item(), rel=1e-5)


def test_before_anyone_teaches_only_the_labels_do(root, batch):
    """The terms are there all the same, so that the log's columns stay."""
    settings = ["train.epochs=10", "train.distill.progressive.begins=[0.2, 0.5, 0.8]"]
    method = make(root, "self_distill_progressive", settings)
    total, terms = method.losses(*batch, step=1)
    assert terms["soft"] == terms["feature"] == 0 and total.item() == pytest.approx(0.7 * terms["hard"].item())
    method.begin_epoch(3, 10)
    assert method.students == [2] and method.losses(*batch, step=1)[1]["soft"] > 0


def test_what_is_not_taught_yet_teaches_uncertainty_nothing(root, batch):
    settings = ["train.distill.progressive.begins=[0.2, 0.5, 0.8]", "train.distill.weighting.name=uncertainty"]
    method = make(root, "self_distill_progressive", ["train.epochs=10", *settings])
    for epoch, taught in ((1, False), (3, True)):
        method.begin_epoch(epoch, 10)
        found = gradients(method, batch)
        assert found["weighting.log_variances.hard"] is not None
        assert (found["weighting.log_variances.soft"] is not None) == taught
        assert (found["weighting.log_variances.feature"] is not None) == taught
