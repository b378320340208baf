"""The networks: parameters, costs, shapes, and what their attention computes."""

import math

import pytest
import torch

from steps.nnet import load_conf, make_detector
from steps.nnet.attention import EfficientChannelAttention, SqueezeExcitation, eca_kernel_size
from steps.nnet.base import AngleLinear, score_of, scoring_batch
from steps.nnet.cost import count_parameters, detector_cost, measure
from utils.cli import UserError

PARAMETERS = {
    "senet9": 310_864, "senet18": 706_224, "senet34": 1_343_760, "senet50": 1_092_592,
    "ecanet9": 308_158, "ecanet18": 700_812, "ecanet34": 1_333_990, "ecanet50": 1_053_362,
    "senet34_thin": 339_720, "mobilenet_small": 142_528, "efficientnet_small": 178_224,
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


@pytest.mark.parametrize(
    "name, conv7, conv3",
    [
        ("senet34_thin", 36_687_184, 530_333_040),
        ("mobilenet_small", 23_085_760, 389_966_656),
        ("efficientnet_small", 23_682_624, 398_569_632),
    ],
)
def test_multiply_adds_of_the_light_networks(root, name, conv7, conv3):
    """Less than ECANet9, the least of the others."""
    costs = []
    for network, stem in ((name, "conv7"), (name, "conv3"), ("ecanet9", "conv7")):
        conf = load_conf(root / f"conf/model/{network}.yaml", [f"model.stem={stem}"])
        costs.append(detector_cost(make_detector(conf), 600, 45)["multiply_adds"])
    assert costs[:2] == [conv7, conv3]
    assert conv7 < costs[2] * (1.05 if name == "senet34_thin" else 0.7)


def test_inverted_residual_by_hand(root):
    """Stage 2 of the small networks: parameters and multiply-adds of its two blocks, 16 -> 24 -> 24, on 150 x 12."""
    after = 75 * 6
    expand, project, norms = 16 * 96, 96 * 24, 2 * (96 + 96 + 24)
    expand2, project2, norms2 = 24 * 144, 144 * 24, 2 * (144 + 144 + 24)
    for name, squeeze, squeeze2 in (
        ("mobilenet_small", (0, 0), (0, 0)),
        ("efficientnet_small", (2 * 96 * 4, 96 + 4), (2 * 144 * 6, 144 + 6)),
    ):
        detector = make_detector(load_conf(root / f"conf/model/{name}.yaml"))
        stage = detector.backbone.stages[1]
        weights = expand + 96 * 9 + project + norms + sum(squeeze)
        weights += expand2 + 144 * 9 + project2 + norms2 + sum(squeeze2)
        assert count_parameters(stage) == weights
        x = torch.zeros(1, 1, 600, 45)
        ((found, shape),) = measure(detector, lambda d=detector, x=x: d(x), {"stage": stage}).values()
        by_hand = 150 * 12 * expand + after * (96 * 9 + project) + squeeze[0]
        by_hand += after * (expand2 + 144 * 9 + project2) + squeeze2[0]
        assert (found, shape) == (by_hand, (24, 75, 6))
        assert [block.has_shortcut for block in stage] == [False, True]


def test_multiply_adds_by_hand():
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1, stride=2), torch.nn.Flatten(), torch.nn.Linear(4 * 4 * 3, 2)
    )
    assert detector_cost(layers, 8, 6)["multiply_adds"] == 4 * 4 * 3 * 9 + 2 * 48


@pytest.mark.parametrize(
    "name, widths",
    [
        ("ecanet9", (16, 32, 64, 128)),
        ("ecanet50", (32, 64, 128, 256)),
        ("senet34_thin", (8, 16, 32, 64)),
        ("mobilenet_small", (16, 24, 32, 128)),
        ("efficientnet_small", (16, 24, 40, 128)),
    ],
)
@pytest.mark.parametrize("stem, first", [("conv7", (150, 12)), ("conv3", (600, 45))])
def test_stage_maps(root, name, widths, stem, first):
    detector = make_detector(load_conf(root / f"conf/model/{name}.yaml", [f"model.stem={stem}"]))
    maps = detector.backbone(torch.randn(2, 1, 600, 45))
    assert [m.shape[1] for m in maps] == list(widths) == list(detector.backbone.stage_channels)
    height, width = first
    for m in maps:
        assert m.shape[2:] == (height, width)
        height, width = math.ceil(height / 2), math.ceil(width / 2)
    assert detector.embedding_size == widths[-1]


def test_raw_samples_are_scored_in_small_batches(root):
    """128 utterances of AASIST took more than 23 GiB."""
    sizes = {
        name: scoring_batch(make_detector(load_conf(root / f"conf/model/{name}.yaml")).backbone)
        for name in ("aasist_l", "rawnet2", "ecanet9", "lcnn")
    }
    assert sizes == {"aasist_l": 8, "rawnet2": 8, "ecanet9": 128, "lcnn": 128}


def test_eca_kernel_sizes():
    assert [eca_kernel_size(c) for c in (16, 32, 64, 128, 256, 512)] == [3, 3, 3, 5, 5, 5]


def test_eca_kernel_switch(root):
    detector = make_detector(load_conf(root / "conf/model/ecanet18.yaml", ["model.eca_kernel=3"]))
    kernels = {m.conv.kernel_size for m in detector.modules() if isinstance(m, EfficientChannelAttention)}
    assert kernels == {(3,)}


def test_the_half_network_is_the_first_two_stages_of_the_complete_one(root):
    complete, half = (
        make_detector(load_conf(root / f"conf/model/{name}.yaml")).eval() for name in ("ecanet18", "ecanet18_half")
    )
    blocks = [block for stage in complete.backbone.stages[:2] for block in stage]
    half.backbone.stem.load_state_dict(complete.backbone.stem.state_dict())
    for stage, block in zip(half.backbone.stages, blocks, strict=True):
        stage[0].load_state_dict(block.state_dict())
    x = torch.randn(2, 1, 120, 45)
    torch.testing.assert_close(half.backbone(x)[3], complete.backbone(x)[1])


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


def test_efficientnets_attention_is_by_a_blocks_inputs(root):
    """EfficientNet's bottleneck is a quarter of the block's input channels, whatever it expands to."""
    backbone = make_detector(load_conf(root / "conf/model/efficientnet_small.yaml")).backbone
    hidden = [m.gate[0].out_features for m in backbone.modules() if isinstance(m, SqueezeExcitation)]
    assert hidden == [4, 4, 6, 6, 10, 10, 12, 12]
    assert {type(m.gate[1]) for m in backbone.modules() if isinstance(m, SqueezeExcitation)} == {torch.nn.SiLU}


@pytest.mark.parametrize(
    "network, setting, complaint",
    [
        ("mobilenet_small", "model.blocks=[1, 2, 3]", "blocks: .* are not four positive numbers"),
        ("mobilenet_small", "model.last_width=0", "last_width: 0 is not positive"),
        ("efficientnet_small", "model.kernels=[3, 3, 4, 3]", "kernels: .* are not all odd"),
        ("efficientnet_small", "model.se_reduction=0", "se_reduction: 0 is not positive"),
        ("senet34_thin", "model.widths=[8, 16, 32]", "widths: .* are not four positive numbers"),
    ],
)
def test_what_a_conf_refuses(root, network, setting, complaint):
    with pytest.raises(UserError, match=complaint):
        load_conf(root / f"conf/model/{network}.yaml", [setting])


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
    modules = [
        m
        for n in ("senet34", "mobilenet_small")
        for m in make_detector(load_conf(root / f"conf/model/{n}.yaml")).modules()
    ]
    tested = set()
    for module in modules:
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 1500:
            fan_out = module.out_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
            tolerance = 0.1 if module.weight.numel() > 4000 else 0.15
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=tolerance)
            tested.add(module.groups > 1)
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.weight.eq(1).all() and module.bias.eq(0).all()
    assert tested == {False, True}
