"""LCNN, RawNet2 and SE-Res2Net50: what their authors publish of their size, their stages, and their special layers."""

import pytest
import torch

from steps.nnet import load_conf, make_detector
from steps.nnet.base import HeadConf, make_head
from steps.nnet.cost import count_parameters, detector_cost
from steps.nnet.lcnn import MaxFeatureMap
from steps.nnet.se_res2net import Block
from utils.cli import UserError

SIZES = {  # input; channels, frames and bins of each stage's map
    "lcnn": ((1, 404, 60), [(48, 101, 15), (64, 50, 7), (32, 25, 3), (64, 25, 1)]),
    "rawnet2": ((1, 64600, 1), [(20, 2354, 1), (128, 261, 1), (128, 29, 1), (1024, 1, 1)]),
    "se_res2net50": ((2, 40, 30), [(32, 40, 30), (64, 20, 15), (128, 10, 8), (256, 5, 4)]),
}


def detector_of(root, name, *settings, channels=1):
    return make_detector(load_conf(root / f"conf/model/{name}.yaml", settings), channels).eval()


@pytest.mark.parametrize("name", SIZES)
def test_stage_maps(root, name):
    shape, wanted = SIZES[name]
    detector = detector_of(root, name, channels=shape[0])
    with torch.no_grad():
        maps = detector.stage_maps(torch.randn(2, *shape))
    assert [tuple(m.shape[1:]) for m in maps] == wanted
    assert detector.backbone.stage_channels == tuple(size[0] for size in wanted)


def test_lcnn_has_the_276_thousand_parameters_of_aasists_table(root):
    assert round(count_parameters(detector_of(root, "lcnn")) / 1000) == 276


def test_rawnet2_with_a_linear_head_fills_the_70_5_megabytes_of_the_published_weights(root):
    detector = detector_of(root, "rawnet2")
    detector.head = make_head(HeadConf("linear"), detector.embedding_size)
    assert round(4 * count_parameters(detector) / 1e6, 1) == 70.5


def test_se_res2net50_is_smaller_than_senet50(root):
    """Its paper says that Res2Net makes a network smaller; a count that can be checked was not found."""
    assert count_parameters(detector_of(root, "se_res2net50")) == 923_100
    assert count_parameters(detector_of(root, "senet50")) > 1_000_000


def test_a_max_feature_map_keeps_the_greater_of_two_channels():
    layer, x = MaxFeatureMap(3, 4, 3), torch.randn(2, 3, 6, 5)
    both = layer.conv(x)
    assert both.shape == (2, 8, 6, 5)
    for channel in range(4):
        torch.testing.assert_close(layer(x)[:, channel], both[:, [channel, channel + 4]].amax(1))


def test_lcnn_names_the_setting_for_another_front_ends_bins(root):
    with pytest.raises(UserError, match=r"model.bins: 60 is not the front end's 45; set model.bins=45"):
        detector_of(root, "lcnn")(torch.zeros(1, 1, 64, 45))
    detector_of(root, "lcnn", "model.bins=45")(torch.zeros(1, 1, 64, 45))


@pytest.mark.parametrize("first, reached", [(True, [0]), (False, [0, 1, 2])])
def test_a_channel_group_hears_of_those_before_it_but_in_a_stages_first_block(root, first, reached):
    conf = load_conf(root / "conf/model/se_res2net50.yaml")
    block = Block(32, 16, 1, first, conf).eval()
    heard = []
    for layers in block.convs:
        layers.register_forward_hook(lambda module, inputs, output: heard.append(inputs[0].clone()))
    x = torch.rand(1, 32, 7, 7)
    with torch.no_grad():
        block(x)
        block.expand[0].weight[:6] += 1  # the first group's own channels
        block(x)
    before, after = heard[:3], heard[3:]
    assert [i for i in range(3) if not torch.equal(before[i], after[i])] == reached


@pytest.mark.parametrize(
    "network, setting, complaint",
    [
        ("lcnn", "model.bins=15", "bins: 15 is less than 16"),
        ("lcnn", "model.embedding=0", "embedding: 0 is not positive"),
        ("rawnet2", "model.widths=[20, 128]", "are not three positive numbers"),
        ("rawnet2", "model.recurrent_layers=0", "recurrent_layers: 0 is not positive"),
        ("se_res2net50", "model.groups=1", "groups: 1 is less than 2"),
        ("se_res2net50", "model.base_width=3", "leaves a stage of width 16 no channel"),
        ("se_res2net50", "model.blocks=[3, 4, 6]", "are not four positive numbers"),
    ],
)
def test_what_a_conf_refuses(root, network, setting, complaint):
    with pytest.raises(UserError, match=complaint):
        load_conf(root / f"conf/model/{network}.yaml", [setting])


@pytest.mark.parametrize(("layer", "gates"), [(torch.nn.GRU, 3), (torch.nn.LSTM, 4)])
def test_multiply_adds_count_the_recurrent_layers(layer, gates):
    layers = torch.nn.Sequential(torch.nn.Flatten(1, 2), layer(6, 4, 2, batch_first=True))
    assert detector_cost(layers, 5, 6)["multiply_adds"] == 5 * gates * (4 * 6 + 4 * 4 + 4 * 4 + 4 * 4)
