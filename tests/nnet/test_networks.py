"""The eight networks: parameters, costs, shapes, and what their attention computes."""

import math

import pytest
import torch

from steps.nnet import load_conf, make_detector
from steps.nnet.attention import EfficientChannelAttention, SqueezeExcitation, eca_kernel_size
from steps.nnet.base import AngleLinear, score_of
from steps.nnet.cost import detector_cost

PARAMETERS = {
    "senet9": 310_864, "senet18": 706_224, "senet34": 1_343_760, "senet50": 1_092_592,
    "ecanet9": 308_158, "ecanet18": 700_812, "ecanet34": 1_333_990, "ecanet50": 1_053_362,
}  # fmt: skip


@pytest.mark.parametrize("name, parameters", PARAMETERS.items())
def test_parameter_counts(root, name, parameters):
    detector = make_detector(load_conf(root / f"conf/model/{name}.yaml"))
    assert sum(p.numel() for p in detector.parameters()) == parameters


@pytest.mark.parametrize("stem, giga", [("conv7", 0.14), ("conv3", 2.1)])
def test_multiply_adds_of_senet34(root, stem, giga):
    detector = make_detector(load_conf(root / "conf/model/senet34.yaml", [f"model.stem={stem}"]))
    cost = detector_cost(detector, 600, 45)
    assert cost["multiply_adds"] / 1e9 == pytest.approx(giga, rel=0.03)
    assert cost["input_shape"] == [600, 45]


def test_multiply_adds_by_hand():
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1, stride=2), torch.nn.Flatten(), torch.nn.Linear(4 * 4 * 3, 2)
    )
    assert detector_cost(layers, 8, 6)["multiply_adds"] == 4 * 4 * 3 * 9 + 2 * 48


@pytest.mark.parametrize("depth, widths", [(9, (16, 32, 64, 128)), (50, (32, 64, 128, 256))])
@pytest.mark.parametrize("stem, first", [("conv7", (150, 12)), ("conv3", (600, 45))])
def test_stage_maps(root, depth, widths, stem, first):
    detector = make_detector(load_conf(root / f"conf/model/ecanet{depth}.yaml", [f"model.stem={stem}"]))
    maps = detector.backbone(torch.randn(2, 1, 600, 45))
    assert [m.shape[1] for m in maps] == list(widths) == list(detector.backbone.stage_channels)
    height, width = first
    for m in maps:
        assert m.shape[2:] == (height, width)
        height, width = math.ceil(height / 2), math.ceil(width / 2)
    assert detector.embedding_size == widths[-1]


def test_eca_kernel_sizes():
    assert [eca_kernel_size(c) for c in (16, 32, 64, 128, 256, 512)] == [3, 3, 3, 5, 5, 5]


def test_eca_kernel_switch(root):
    detector = make_detector(load_conf(root / "conf/model/ecanet18.yaml", ["model.eca_kernel=3"]))
    kernels = {m.conv.kernel_size for m in detector.modules() if isinstance(m, EfficientChannelAttention)}
    assert kernels == {(3,)}


def test_attention_by_hand():
    torch.manual_seed(0)
    x = torch.randn(2, 16, 5, 7)
    pooled = x.mean((2, 3))
    se = SqueezeExcitation(16, 16)
    first, second = se.gate[0].weight, se.gate[2].weight
    gate = torch.sigmoid(torch.relu(pooled @ first.T) @ second.T)
    torch.testing.assert_close(se(x), x * gate[:, :, None, None])
    eca = EfficientChannelAttention(16)
    w = eca.conv.weight.flatten()
    padded = torch.nn.functional.pad(pooled, (1, 1))
    gate = torch.sigmoid(w[0] * padded[:, :-2] + w[1] * padded[:, 1:-1] + w[2] * padded[:, 2:])
    torch.testing.assert_close(eca(x), x * gate[:, :, None, None])


def test_angle_linear_is_norm_times_cosine():
    torch.manual_seed(0)
    layer = AngleLinear(5, 2)
    x = torch.randn(3, 5)
    logits = layer(x)
    for i in range(3):
        for j in range(2):
            cosine = torch.dot(x[i], layer.weight[j]) / (x[i].norm() * layer.weight[j].norm())
            assert logits[i, j].item() == pytest.approx((x[i].norm() * cosine).item(), abs=1e-5)
    torch.testing.assert_close(score_of(logits), logits[:, 1] - logits[:, 0])


def test_initialisation(root):
    torch.manual_seed(0)
    detector = make_detector(load_conf(root / "conf/model/senet34.yaml"))
    for module in detector.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 4000:
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.1)
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.weight.eq(1).all() and module.bias.eq(0).all()
