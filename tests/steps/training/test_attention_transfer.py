"""Attention maps and their distance are what the paper says, by hand."""

import pytest
import torch
from torch.nn import functional as F

from steps import nnet, training
from steps.nnet.base import pool_to
from steps.training.attention_transfer import AttentionConf, attention_loss, attention_map
from utils.cli import UserError


@pytest.mark.parametrize("size", [(3, 2), (7, 5), (1, 1), (9, 11)])
def test_pooling_to_a_size_is_adaptive_average_pooling(size):
    torch.manual_seed(1)
    x = torch.randn(2, 3, 7, 5, requires_grad=True)
    ours, torchs = pool_to(x, *size), F.adaptive_avg_pool2d(x, size)
    torch.testing.assert_close(ours, torchs)
    weights = torch.randn_like(ours)
    gradients = [torch.autograd.grad((pooled * weights).sum(), x)[0] for pooled in (ours, torchs)]
    torch.testing.assert_close(*gradients)


def test_a_map_by_hand():
    x = torch.tensor([[[[3.0, 0.0]], [[-4.0, 1.0]]]])  # two channels, one frame, two bins
    torch.testing.assert_close(attention_map(x, 2, 1, 2), torch.tensor([[25.0, 1.0]]) / 626**0.5)
    torch.testing.assert_close(attention_map(x, 1, 1, 2), torch.tensor([[7.0, 1.0]]) / 50**0.5)
    assert attention_map(x, 2, 1, 1).item() == 1
    assert torch.equal(attention_map(torch.zeros(1, 2, 3, 3), 2, 2, 2), torch.zeros(1, 4))


def test_a_distance_by_hand():
    """A student of two frames and two bins, energies 4 0 / 0 2, becomes 2 1; the teacher's are 1 0."""
    student = torch.tensor([[[[2.0, 0.0], [0.0, 2**0.5]]]])
    teacher = torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]]]])
    apart = (2 / 5**0.5 - 1) ** 2 + 1 / 5
    assert attention_loss(student, teacher, 2).item() == pytest.approx(apart, rel=1e-6)
    # the mean over a batch; a scaled map is the same map; maps that share no place are 2 apart
    pair = attention_loss(torch.cat([student, 9 * student]), torch.cat([teacher, teacher]), 2)
    assert pair.item() == pytest.approx(apart, rel=1e-6)
    assert attention_loss(student[:, :, :1], teacher.flip(3), 2).item() == pytest.approx(2)


def test_its_weight_and_term(root):
    settings = ["train.distill.attention.weight=0.5"]
    torch.manual_seed(3)
    detector = nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml"))
    conf = training.load_conf(root / "conf/train/self_distill_attention.yaml", settings)
    method = training.make_method(conf, detector).eval()
    x, labels = torch.randn(4, 1, 96, 45), torch.tensor([0, 1, 1, 0])
    total, terms = method.losses(x, labels, 1)
    *students, teacher = detector.stage_maps(x)
    expected = sum(attention_loss(student, teacher, 2) for student in students)
    assert terms["attention"].item() == pytest.approx(expected.item(), rel=1e-5)
    parts = 0.7 * terms["hard"] + 0.3 * terms["soft"] + 0.3 * terms["feature"] + 0.5 * terms["attention"]
    assert total.item() == pytest.approx(parts.item(), rel=1e-5)


def test_what_is_refused(root):
    assert AttentionConf(1.0).power == 2
    for setting, message in (("weight=-1", "negative"), ("power=0.5", "below 1"), ("wieght=1", "unknown key")):
        with pytest.raises(UserError, match=message):
            training.load_conf(root / "conf/train/self_distill_attention.yaml", [f"train.distill.attention.{setting}"])
