"""Self-distillation does to the networks what its formulas say, and leaves no trace in the detector."""

import dataclasses

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from steps import nnet, training
from steps.nnet.cost import measure
from steps.training import self_distill
from steps.training.losses import feature_loss, soft_loss


def make(root, method, model="ecanet9", settings=()):
    conf = training.load_conf(root / f"conf/train/{method}.yaml", settings)
    torch.manual_seed(3)
    detector = nnet.make_detector(nnet.load_conf(root / f"conf/model/{model}.yaml"), head=conf.hard_loss.head)
    return training.make_method(conf, detector)


TAUGHT = "train.distill.weighting.name=fixed"  # from the first step on


@pytest.fixture()
def batch():
    torch.manual_seed(5)
    return torch.randn(4, 1, 96, 45), torch.tensor([0, 1, 1, 0])


@pytest.mark.parametrize("model", ["ecanet18", "senet50"])
def test_detectors_agree_in_name_shape_and_number(root, model):
    plain, distilled = make(root, "baseline", model).detector, make(root, "self_distill", model).detector
    assert {k: v.shape for k, v in plain.state_dict().items()} == {
        k: v.shape for k, v in distilled.state_dict().items()
    }
    assert [n for n, _ in plain.named_parameters()] == [n for n, _ in distilled.named_parameters()]
    # the auxiliary parts draw after the detector: the same seed gives the same start
    for a, b in zip(plain.state_dict().values(), distilled.state_dict().values()):
        assert torch.equal(a, b)


def test_total_is_the_weighted_sum(root, batch):
    method = make(root, "self_distill", settings=["train.distill.alpha=0.6", "train.distill.beta=0.2", TAUGHT])
    total, terms = method.losses(*batch, step=1)
    assert set(terms) == {"hard", "soft", "feature"}
    assert total.item() == pytest.approx(
        (0.6 * terms["hard"] + 0.4 * terms["soft"] + 0.2 * terms["feature"]).item(), rel=1e-5
    )


def test_terms_are_what_the_formulas_say(root, batch):
    x, labels = batch
    method = make(root, "self_distill").eval()
    _, terms = method.losses(x, labels, 1)
    maps = method.detector.backbone(x)
    teacher = maps[-1].mean((2, 3))
    students = [aligner.project(m.mean((2, 3))) for aligner, m in zip(method.aligners, maps)]
    teacher_logits = method.detector.head(teacher)
    soft = sum(soft_loss(head(s), teacher_logits, 3.0, True) for head, s in zip(method.student_heads, students))
    feature = sum(feature_loss(s, teacher, "mean") for s in students)
    assert terms["soft"].item() == pytest.approx(soft.item(), rel=1e-5)
    assert terms["feature"].item() == pytest.approx(feature.item(), rel=1e-5)
    baseline = make(root, "baseline").eval()
    assert terms["hard"].item() == pytest.approx(baseline.losses(x, labels, 1)[1]["hard"].item(), rel=1e-6)


def gradients(method, batch):
    method.zero_grad()
    method.losses(*batch, step=1)[0].backward()
    return {name: (None if p.grad is None else p.grad.clone()) for name, p in method.named_parameters()}


def test_detached_teacher_gets_only_the_hard_losss_gradient(root, batch):
    """Block 4 and its head: alpha times the baseline's gradient. Blocks 1 to 3 get more."""
    distilled = gradients(make(root, "self_distill", settings=[TAUGHT]).eval(), batch)
    baseline = gradients(make(root, "baseline").eval(), batch)
    for name, grad in baseline.items():
        if name.startswith(("detector.backbone.stages.3", "detector.head")):
            torch.testing.assert_close(distilled[name], 0.7 * grad, rtol=1e-4, atol=1e-7)
    first = "detector.backbone.stages.0.0.residual.0.weight"
    assert not torch.allclose(distilled[first], 0.7 * baseline[first], rtol=1e-2)


def test_undetached_teacher_gets_all_gradients(root, batch):
    distilled = gradients(
        make(root, "self_distill", settings=["train.distill.detach_teacher=false", TAUGHT]).eval(), batch
    )
    baseline = gradients(make(root, "baseline").eval(), batch)
    assert not torch.allclose(distilled["detector.head.weight"], 0.7 * baseline["detector.head.weight"], rtol=1e-3)


@pytest.mark.parametrize("aligner", ["linear", "bottleneck"])
def test_aligners_and_heads_are_trained(root, batch, aligner):
    from steps.training.loop import make_optimizer

    method = make(root, "self_distill", settings=[f"train.distill.aligner={aligner}"])
    optimizer = make_optimizer(method.conf.optimizer, method.parameters(), 1e-2)
    auxiliary = {n: p.clone() for n, p in method.named_parameters() if n.startswith(("aligners", "student_heads"))}
    assert len(auxiliary) >= 9
    for step in (1, 2):
        optimizer.zero_grad()
        method.losses(*batch, step)[0].backward()
        optimizer.step()
    now = dict(method.named_parameters())
    assert all(not torch.equal(before, now[name]) for name, before in auxiliary.items())


def test_bottleneck_aligner_shapes(root, batch):
    method = make(root, "self_distill", "senet50", ["train.distill.aligner=bottleneck"])
    maps = method.detector.backbone(batch[0])
    for aligner, m in zip(method.aligners, maps):
        assert aligner(m).shape == (4, 256)


def test_student_hard_loss_adds_three(root, batch):
    x, labels = batch
    method = make(root, "self_distill", settings=["train.distill.student_hard_loss=true"]).eval()
    heads = method.kept.heads(x)
    expected = sum(method.hard_loss(f, e, labels, 1) for f, e in zip(heads.logits, heads.embeddings))
    assert method.losses(x, labels, 1)[1]["hard"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_alpha_one_beta_zero_is_the_baseline(root, batch):
    settings = ["train.distill.alpha=1", "train.distill.beta=0"]
    distilled, baseline = make(root, "self_distill", settings=settings), make(root, "baseline")
    for _ in range(2):
        a, b = gradients(distilled, batch), gradients(baseline, batch)
        for name, grad in b.items():
            torch.testing.assert_close(a[name], grad, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("loss", ["a_softmax", "am_softmax", "oc_softmax"])
@pytest.mark.parametrize("teaching", ["deepest", "chain"])
def test_heads_at_once_are_each_heads_own(root, batch, loss, teaching):
    settings = [f"train.hard_loss.name={loss}", f"train.distill.teaching={teaching}"]
    method = make(root, "self_distill", settings=settings).eval()
    heads = method.kept.heads(batch[0])
    assert (heads.together is None) == (teaching == "chain")
    for found, head, embedding in zip(heads.logits, method.student_heads, heads.embeddings):
        torch.testing.assert_close(found, head(embedding), rtol=1e-5, atol=1e-6)


def test_what_is_counted_has_the_students_heads(root):
    """Multiply-adds are counted where a layer is called, without gradients; there no layer is left out."""
    method = make(root, "self_distill")
    heads = {str(i): head for i, head in enumerate(method.student_heads)}
    found = measure(method, lambda: method.head_logits(torch.zeros(1, 1, 96, 45)), heads)
    assert list(found.values()) == [(2 * 128, (2,))] * 3


def test_heads(root, batch):
    x, _ = batch
    distilled, baseline = make(root, "self_distill").eval(), make(root, "baseline").eval()
    assert [h.shape for h in distilled.head_logits(x)] == [(4, 2)] * 4
    assert torch.equal(distilled.head_logits(x)[-1], distilled.detector(x))
    assert len(baseline.head_logits(x)) == 1


def test_schedules(root):
    noam = training.load_conf(
        root / "conf/train/baseline.yaml", parts=training.Parts(schedule=root / "conf/schedule/noam.yaml")
    ).schedule
    assert noam.at(1000, 10) == pytest.approx(3.95e-3, rel=1e-3)
    assert noam.at(1, 10) == pytest.approx(64**-0.5 * 1000**-1.5)
    assert noam.at(4000, 10) == pytest.approx(noam.at(1000, 10) / 2)
    assert max(noam.at(n, 10) for n in range(1, 5000)) == noam.at(1000, 10)
    assert training.load_conf(root / "conf/train/baseline.yaml").schedule.at(123, 1000) == 1e-4


def test_the_cosine_schedule_warms_up_and_ends_near_zero(root):
    schedule = dataclasses.replace(
        training.load_conf(root / "conf/train/baseline.yaml").schedule, name="cosine", lr=1e-2, warmup_steps=10
    )
    rates = [schedule.at(n, 110) for n in range(1, 111)]
    assert rates[0] == pytest.approx(1e-3) and rates[9] == 1e-2 == max(rates)
    assert rates[59] == pytest.approx(5e-3, rel=0.02)
    assert 0 < rates[-1] < 1e-5
    assert rates[9:] == sorted(rates[9:], reverse=True)


class Operations(TorchDispatchMode):
    """Counts what torch computes; a view of what is there costs nothing."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += not (
            function.is_view or function in (torch.ops.aten.detach.default, torch.ops.aten.empty.memory_format)
        )
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("model", ["senet34", "ecanet18"])
def test_self_distillation_adds_few_operations(root, batch, model, monkeypatch):
    """A GPU takes as long for a small network's step as its operations are many."""

    def operations(name):
        method = make(root, name, model).train()
        with Operations() as counted:
            for step in range(1, 6):  # in one of five the teacher's competence is looked at
                method.losses(*batch, step=step)[0].backward()
                method.zero_grad()
        return counted.count

    baseline, published, distilled = map(operations, ("baseline", "self_distill_paper", "self_distill"))
    assert baseline < published < 1.15 * baseline and published < distilled < 1.17 * baseline
    monkeypatch.setattr(self_distill, "logits_at_once", lambda *_: None)
    assert operations("self_distill") > distilled + 50  # what computing all students at once saves


def test_all_students_at_once_give_what_each_gives(root, batch, monkeypatch):
    def losses_and_gradients():
        method = make(root, "self_distill_attached").double().train()
        total, terms = method.losses(batch[0].double(), batch[1], step=1)
        total.backward()
        return {**terms, **{name: p.grad for name, p in method.named_parameters()}}

    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    at_once = losses_and_gradients()
    monkeypatch.setattr(self_distill, "logits_at_once", lambda *_: None)
    torch.testing.assert_close(losses_and_gradients(), at_once, rtol=1e-10, atol=1e-12)
