"""AASIST: the published parameter counts, its fixed filters, and what its graph layers compute."""

import numpy as np
import pytest
import torch

from steps.nnet import load_conf, make_detector
from steps.nnet.aasist import GraphAttention, GraphPool, JointAttention, normalised
from steps.nnet.base import HeadConf, make_head
from steps.nnet.cost import count_parameters
from steps.nnet.waveform import BandFilters, band_filters
from utils.cli import UserError


def detector_of(root, name, *settings):
    return make_detector(load_conf(root / f"conf/model/{name}.yaml", settings))


@pytest.mark.parametrize("name, published", [("aasist", 297_866), ("aasist_l", 85_306)])
def test_parameter_counts_with_the_linear_head_are_the_published_ones(root, name, published):
    detector = detector_of(root, name)
    assert count_parameters(detector) == published - 2  # an angular head has no bias
    detector.head = make_head(HeadConf("linear"), detector.embedding_size)
    assert count_parameters(detector) == published


def test_stage_maps_are_the_encoders_thirds_and_the_graphs_embedding(root):
    backbone = detector_of(root, "aasist_l").backbone
    maps = backbone(torch.randn(2, 1, 64600, 1))
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 2387, 23), (24, 265, 23), (24, 29, 23), (160, 1, 1)]
    assert tuple(m.shape[1] for m in maps) == backbone.stage_channels


def test_features_of_another_front_end_are_refused_with_the_conf_to_take(root):
    with pytest.raises(UserError, match="45 columns; take --frontend conf/frontend/waveform.yaml"):
        detector_of(root, "aasist")(torch.zeros(1, 1, 600, 45))


@pytest.mark.parametrize(
    "setting, complaint",
    [
        ("model.widths=[32, 64]", "are not three positive numbers"),
        ("model.filters=2", "filters: 2 is less than 3"),
        ("model.joint_width=0", "joint_width: 0 is not positive"),
        ("model.keep_joint=1.5", "keep_joint: 1.5 must be greater than 0 and at most 1"),
    ],
)
def test_what_a_conf_refuses(root, setting, complaint):
    with pytest.raises(UserError, match=complaint):
        load_conf(root / "conf/model/aasist.yaml", [setting])


def test_each_filter_passes_its_own_band_of_equal_width_on_the_mel_scale():
    filters = band_filters(10, 1025)[:, 0].double().numpy()
    gains = np.abs(np.fft.rfft(filters, 16000))[:, :8000]
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 11) / 2595) - 1)
    hz = np.arange(8000)
    for gain, low, high in zip(gains, edges, edges[1:]):
        inside, outside = (hz > low + 40) & (hz < high - 40), (hz < low - 40) | (hz > high + 40)
        assert np.abs(gain[inside] - 1).max() < 0.01 and gain[outside].max() < 0.01


def test_filters_slide_over_the_samples_without_padding():
    x = torch.zeros(1, 1, 300, 1)
    x[0, 0, 150] = 1
    layer = BandFilters(4, 129)
    made = layer(x)
    assert made.shape == (1, 1, 172, 4)
    torch.testing.assert_close(made[0, 0, 22:151], layer.filters[:, 0].flip(1).T)  # a pulse shows the filter
    assert not list(layer.parameters()) and not layer.state_dict()


def test_pooling_keeps_the_best_nodes_first_times_their_scores():
    pool = GraphPool(2, 0.5).eval()
    with torch.no_grad():
        pool.score.weight.copy_(torch.tensor([[1.0, 0.0]]))
        pool.score.bias.zero_()
    nodes = torch.tensor([[[0.0, 1.0], [3.0, 2.0], [-1.0, 3.0], [1.0, 4.0], [9.0, 5.0]]])
    wanted = torch.stack([nodes[0, i] * torch.sigmoid(nodes[0, i, 0]) for i in (4, 1)])[None]
    torch.testing.assert_close(pool(nodes), wanted)
    assert GraphPool(2, 0.1).eval()(nodes).shape == (1, 1, 2)  # never none


def test_attention_by_hand():
    torch.manual_seed(0)
    layer, nodes = GraphAttention(3, 4, 2.0).eval(), torch.randn(1, 5, 3)
    rows = []
    for i in range(5):
        scores = torch.stack([torch.tanh(layer.pair(nodes[0, i] * nodes[0, j])) @ layer.score for j in range(5)])
        weights = (scores[:, 0] / 2).softmax(0)
        rows.append(layer.mixing.others(weights @ nodes[0]) + layer.mixing.itself(nodes[0, i]))
    wanted = torch.selu(torch.stack(rows) / (1 + layer.norm.eps) ** 0.5)
    torch.testing.assert_close(layer(nodes)[0], wanted)


def test_joint_attention_scores_a_pair_by_its_kinds():
    torch.manual_seed(0)
    layer = JointAttention(3, 4, 100.0).eval()
    temporal, spectral, stack = torch.randn(2, 5, 3), torch.randn(2, 2, 3), torch.randn(1, 1, 3)
    before = layer(temporal, spectral, stack)
    assert [tuple(part.shape) for part in before] == [(2, 5, 4), (2, 2, 4), (2, 1, 4)]
    with torch.no_grad():
        layer.score_spectral += 50  # between spectral nodes alone
    after = layer(temporal, spectral, stack)
    torch.testing.assert_close(after[0], before[0])
    torch.testing.assert_close(after[2], before[2])
    assert (after[1] - before[1]).abs().max() > 1e-4


def test_norm_of_nodes_is_batch_norm_over_all_of_them():
    nodes = torch.randn(3, 5, 4)
    one_dimensional = torch.nn.BatchNorm1d(4)(nodes.reshape(15, 4)).reshape(3, 5, 4)
    torch.testing.assert_close(normalised(torch.nn.BatchNorm2d(4), nodes), one_dimensional)


@pytest.mark.parametrize("name", ["aasist", "lcnn", "rawnet2", "se_res2net50"])
def test_every_batch_norm_is_of_the_kind_that_several_processes_share(root, name):
    norms = [m for m in detector_of(root, name).modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms and {type(norm) for norm in norms} == {torch.nn.BatchNorm2d}
