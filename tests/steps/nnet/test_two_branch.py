"""The network of two branches: each reads its own part of the input, and both count in the head."""

import re
from types import SimpleNamespace

import pytest
import torch

from steps import describe
from steps.nnet import conf_from_dict, load_conf, make_detector
from steps.nnet.base import pool, side_by_side
from steps.nnet.cost import count_parameters, detector_cost
from steps.results.block_cost import block_multiply_adds
from tests.in_process import call
from utils import conf as conf_files
from utils.cli import UserError


@pytest.fixture()
def detector(root):
    torch.manual_seed(0)
    return make_detector(load_conf(root / "conf/model/two_branch_ecanet9.yaml"), channels=3).eval()


def test_maps_of_both_lie_side_by_side(detector):
    x = torch.randn(2, 3, 64, 90)
    maps, (phase, subband) = detector.stage_maps(x), detector.backbone.branch_maps(x)
    for m, one, two, channels in zip(maps, phase, subband, detector.backbone.stage_channels):
        assert m.shape == (2, channels, *one.shape[2:]) and one.shape[1] == two.shape[1] == channels // 2
        assert two.shape[2] == one.shape[2] and two.shape[3] == (one.shape[3] + 1) // 2
        assert torch.equal(m[:, : channels // 2], one)
    assert detector.backbone.branch_channels == (96, 96) and detector.embedding_size == 192
    torch.testing.assert_close(detector.embed(x), torch.cat([pool(phase[-1]), pool(subband[-1])], dim=1))


def test_each_branch_reads_its_own_channels_and_bins(detector):
    x = torch.randn(1, 3, 64, 60)
    (phase, subband), changed = detector.backbone.branch_maps(x), x.clone()
    changed[:, :2] += 1
    changed[:, 2, :, 45:] += 1  # above the F0 subband
    other_phase, same_subband = detector.backbone.branch_maps(changed)
    assert not torch.allclose(phase[0], other_phase[0])
    assert all(torch.equal(a, b) for a, b in zip(subband, same_subband))
    changed = x.clone()
    changed[:, 2, :, :45] += 1
    same_phase, other_subband = detector.backbone.branch_maps(changed)
    assert all(torch.equal(a, b) for a, b in zip(phase, same_phase)) and not torch.allclose(
        subband[0], other_subband[0]
    )


def test_side_by_side_by_hand():
    wide, narrow = torch.tensor([[[[1.0, 2.0, 3.0, 6.0]]]]), torch.tensor([[[[4.0, 8.0]]]])
    assert side_by_side([wide, narrow]).tolist() == [[[[1, 2, 3, 6]], [[8, 16, 0, 0]]]]
    assert pool(side_by_side([wide, narrow])).tolist() == [[3, 6]]


def test_costs_are_those_of_both_branches(root, detector):
    narrow = load_conf(root / "conf/model/ecanet9_narrow.yaml")
    phase, subband = make_detector(narrow, 2), make_detector(narrow, 1)
    cost = detector_cost(detector, 64, 90, 3)
    assert cost["parameters"] == count_parameters(phase) + count_parameters(subband)
    assert cost["multiply_adds"] == sum(
        detector_cost(one, 64, bins, channels)["multiply_adds"] for one, bins, channels in ((phase, 90, 2), (subband, 45, 1))
    )  # fmt: skip
    conf = {
        "model": conf_files.to_dict(load_conf(root / "conf/model/two_branch_ecanet9.yaml")),
        "train": conf_files.read_yaml(root / "conf/train/baseline.yaml"),
    }
    e = SimpleNamespace(name="two", conf=conf, input_shape=(3, 64, 90))
    assert block_multiply_adds(e)[4] == cost["multiply_adds"]


def test_a_conf_made_of_its_values_is_the_same(root):
    """As conf.yaml and final.pt keep it: the networks' keys in the place of their names."""
    conf = load_conf(root / "conf/model/two_branch_ecanet18.yaml", ["model.branches.1.bins=null"])
    assert [branch.network.depth for branch in conf.branches] == [18, 18] and conf.branches[1].bins is None
    assert conf_from_dict(conf_files.to_dict(conf), "x") == conf


def test_what_does_not_fit_is_told(root, tmp_path):
    path = root / "conf/model/two_branch_ecanet9.yaml"
    with pytest.raises(UserError, match=r"branches\[0\]\.channels: 1 .* the front end's 1 channels.*stack"):
        make_detector(load_conf(path))
    with pytest.raises(UserError, match=r"branches\[1\]\.bins: 99 are more than the front end's 45"):
        make_detector(load_conf(path, ["model.branches.1.bins=99"]), 3)(torch.zeros(1, 3, 64, 45))
    for setting, message in (
        ("model.branches.0.channels=[0,0]", "different numbers"),
        ("model.branches.0.bins=0", "not positive"),
        ("model.branches.0.network=ecanet9_narow.yaml", "did you mean .*ecanet9_narrow"),
        ("model.branches=[]", "there are 0; two are needed"),
    ):
        with pytest.raises(UserError, match=message):
            load_conf(path, [setting])
    (tmp_path / "conv3.yaml").write_text(f"base: {root}/conf/model/ecanet9.yaml\nstem: conv3\n")
    with pytest.raises(UserError, match="maps have 64, 16 frames.*same strides"):
        make_detector(load_conf(path, [f"model.branches.0.network={tmp_path}/conv3.yaml"]), 3)(
            torch.zeros(1, 3, 64, 45)
        )


def test_it_is_described_stage_by_stage_of_each_branch(root):
    done = call(
        describe.main,
        "describe.py",
        root / "conf/model/two_branch_ecanet9.yaml",
        *("--frontend", root / "conf/frontend/stack_f0_imag_real.yaml"),
        *("--train-conf", root / "conf/train/baseline.yaml"),
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("  ") for line in done.stdout.splitlines() if line.startswith(("branch", "head", "detector"))]
    name, *_ = zip(*rows)
    assert name == (
        *(f"branch {b}, {part}" for b in (1, 2) for part in ("stem", *(f"stage {i}" for i in range(1, 5)))),
        "head (AngleLinear)",
        "detector",
    )
    shapes, parameters, multiply_adds = zip(*([cell for cell in row[1:] if cell.strip()] for row in rows))
    assert all(re.fullmatch(r" ?\d+ x \d+ x \d+", shape) for shape in shapes[:-2])
    for figures in (parameters, multiply_adds):
        *parts, whole = (int(figure.replace(",", "")) for figure in figures)
        assert sum(parts) == whole
