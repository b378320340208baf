"""A-softmax, soft and feature loss against numbers worked out by hand or in plain Python."""

import dataclasses
import math

import pytest
import torch

from steps.training import load_conf
from steps.training.losses import HardLoss, a_softmax_logits, feature_loss, psi, soft_loss


@pytest.fixture(scope="module")
def hard(root):
    return load_conf(root / "conf/train/baseline.yaml").hard_loss


def test_psi_by_angle():
    """psi(theta) = (-1)^k cos(4 theta) - 2k on [k pi/4, (k+1) pi/4]."""
    for degrees in (0, 10, 44, 46, 89, 91, 120, 136, 179):
        theta = math.radians(degrees)
        k = min(int(4 * theta / math.pi), 3)
        expected = (-1) ** k * math.cos(4 * theta) - 2 * k
        value = psi(torch.tensor([math.cos(theta)], dtype=torch.float64), 4)
        assert value.item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("margin", [1, 2, 3, 4, 5])
def test_psi_falls_from_one_to_one_minus_two_m(margin):
    theta = torch.linspace(0, math.pi, 2001, dtype=torch.float64)
    values = psi(torch.cos(theta), margin)
    assert values[0].item() == pytest.approx(1) and values[-1].item() == pytest.approx(1 - 2 * margin)
    assert (values.diff() <= 1e-9).all()


def test_a_softmax_by_hand():
    # |x| = 2, cos = 0.5 (60 degrees, k = 1) for class 0 and 0.1 for class 1; lambda 5, m 4:
    # psi = -cos(240 deg) - 2 = 0.5 - 2 = -1.5; f_0 = 2 (5 * 0.5 - 1.5) / 6 = 1/3; f_1 = 0.2
    embedding = torch.tensor([[2.0, 0.0]])
    logits = torch.tensor([[1.0, 0.2]])
    made = a_softmax_logits(logits, embedding, torch.tensor([0]), 4, 5.0)
    torch.testing.assert_close(made, torch.tensor([[1 / 3, 0.2]]), atol=1e-5, rtol=0)


def test_lambda_schedules(hard):
    assert hard.lambda_at(1) == hard.lambda_at(10**6) == 1363.6
    anneal = dataclasses.replace(hard, lambda_mode="anneal", lambda_floor=5)
    assert anneal.lambda_at(1) == pytest.approx(1500 / 1.1)
    assert anneal.lambda_at(100) == pytest.approx(1500 / 11)
    assert anneal.lambda_at(10**6) == 5


def test_hard_loss_is_cross_entropy_of_the_harder_logits(hard):
    torch.manual_seed(0)
    embedding = torch.randn(6, 4)
    logits = torch.randn(6, 2).clamp(-0.9, 0.9) * embedding.norm(dim=1, keepdim=True)
    labels = torch.tensor([0, 1, 0, 1, 1, 0])
    conf = dataclasses.replace(hard, lambda_mode="anneal")
    expected = 0.0
    for i in range(6):
        norm = embedding[i].norm().item()
        theta = math.acos(logits[i, labels[i]].item() / norm)
        k = min(int(4 * theta / math.pi), 3)
        lam = max(5.0, 1500 / (1 + 0.1 * 2000))
        own = norm * (lam * math.cos(theta) + (-1) ** k * math.cos(4 * theta) - 2 * k) / (1 + lam)
        other = logits[i, 1 - labels[i]].item()
        expected += math.log(1 + math.exp(other - own)) / 6
    assert HardLoss(conf)(logits, embedding, labels, 2000).item() == pytest.approx(expected, rel=1e-5)


def test_zero_embedding_and_extreme_cosines_are_harmless(hard):
    embedding = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    weight = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    loss = HardLoss(dataclasses.replace(hard, lambda_mode="anneal"))(
        embedding @ weight.T, embedding, torch.tensor([0, 0, 1]), 10**5
    )
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(embedding.grad).all()


def test_float32_under_autocast(hard):
    torch.manual_seed(0)
    embedding, labels = torch.randn(8, 16) * 30, torch.randint(0, 2, (8,))
    logits = torch.randn(8, 2) * 20
    plain = HardLoss(hard)(logits, embedding, labels, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert HardLoss(hard)(logits, embedding, labels, 1).item() == plain.item()


def test_soft_loss_by_hand():
    student, teacher = torch.tensor([[1.0, -1.0], [0.0, 2.0]]), torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    expected = 0.0
    for s, t in zip(student.tolist(), teacher.tolist()):
        ps = [math.exp(v / 3) / sum(math.exp(u / 3) for u in s) for v in s]
        pt = [math.exp(v / 3) / sum(math.exp(u / 3) for u in t) for v in t]
        expected += sum(q * math.log(q / p) for p, q in zip(ps, pt)) / 2
    assert soft_loss(student, teacher, 3.0, False).item() == pytest.approx(expected, rel=1e-5)
    assert soft_loss(student, teacher, 3.0, True).item() == pytest.approx(9 * expected, rel=1e-5)


def test_feature_loss_by_hand():
    student, teacher = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])
    assert feature_loss(student, teacher, "mean").item() == pytest.approx(2.5)
    assert feature_loss(student, teacher, "sum").item() == pytest.approx(5.0)


def test_losses_at_once_are_the_sums():
    torch.manual_seed(2)
    students, teacher = torch.randn(3, 4, 2), torch.randn(4, 2)
    for scale in (True, False):
        soft = sum(soft_loss(student, teacher, 3.0, scale) for student in students)
        torch.testing.assert_close(soft_loss(students, teacher, 3.0, scale), soft)
    for reduction in ("mean", "sum"):
        feature = sum(feature_loss(student, teacher, reduction) for student in students)
        torch.testing.assert_close(feature_loss(students, teacher, reduction), feature)
