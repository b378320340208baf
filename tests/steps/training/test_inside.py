"""The look inside training: effective ranks by known spectra, gradients by block, when a warning is due."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from steps import nnet, training
from steps.nnet.base import pool
from steps.training.curves import plot_curves
from steps.training.inside import Embeddings, GradientNorms, block_of, effective_rank, warning_of


def spread(deviations, n=4000, seed=0):
    """(n, channels) embeddings that vary by these deviations in as many directions, turned at random."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, len(deviations)))
    rows = np.linalg.qr(rows - rows.mean(0))[0] * deviations  # no chance correlations
    turn = np.linalg.qr(rng.standard_normal((len(deviations), len(deviations))))[0]
    return torch.from_numpy(rows @ turn + 7.0)


# -- effective rank ----------------------------------------------------------------------------------------------------


def test_the_rank_of_a_line_is_one():
    along = torch.randn(200, 1, generator=torch.Generator().manual_seed(1)) @ torch.tensor([[3.0, -1.0, 2.0, 0.5]])
    assert effective_rank(along + 5.0) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("channels", [2, 5, 64])
def test_the_rank_of_directions_that_are_alike_is_their_number(channels):
    assert effective_rank(spread([2.0] * channels)) == pytest.approx(channels, rel=1e-6)


def test_the_rank_is_the_participation_ratio_of_the_variances():
    """Variances 4, 1, 1: (4 + 1 + 1)^2 / (16 + 1 + 1) = 2."""
    assert effective_rank(spread([2.0, 1.0, 1.0])) == pytest.approx(2, rel=1e-6)


def test_the_rank_does_not_depend_on_scale_place_or_kind_of_number():
    rows = spread([3.0, 2.0, 1.0, 0.5])
    expected = effective_rank(rows)
    assert effective_rank(1000 * rows) == pytest.approx(expected, rel=1e-6)
    assert effective_rank(rows - 7.0) == pytest.approx(expected, rel=1e-6)
    assert effective_rank(rows.float()) == pytest.approx(expected, rel=1e-3)


def test_more_channels_than_utterances_give_the_same_rank():
    """The products of rows among themselves then take the place of those of columns: their eigenvalues are the same."""
    rows = torch.randn(12, 40, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    values = torch.linalg.eigvalsh(torch.cov(rows.T))
    assert effective_rank(rows) == pytest.approx((values.sum() ** 2 / values.square().sum()).item(), rel=1e-9)
    with_zeros = torch.cat([rows, rows.new_zeros(12, 3)], dim=1)
    assert effective_rank(with_zeros) == pytest.approx(effective_rank(rows), rel=1e-9)


def test_embeddings_that_do_not_differ_have_rank_nought():
    assert effective_rank(torch.full((9, 4), 3.0)) == 0
    assert effective_rank(torch.zeros(9, 4)) == 0
    assert effective_rank(torch.tensor([[1.0, 2.0]])) == 0


# -- blocks and gradients ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def method(root):
    torch.manual_seed(3)
    detector = nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml"))
    return training.make_method(training.load_conf(root / "conf/train/self_distill.yaml"), detector)


@pytest.mark.parametrize("name, block", [
    ("detector.backbone.stem.0.weight", "stem"),
    ("detector.backbone.stages.0.0.conv1.weight", "block1"),
    ("detector.backbone.stages.3.0.conv1.weight", "block4"),
    ("detector.backbone.branches.1.stages.2.0.conv1.weight", "block3"),
    ("detector.head.weight", "head"),
    ("student_heads.0.weight", "helpers"),
    ("aligners.2.linear.weight", "helpers"),
    ("twin.backbone.stages.0.0.conv1.weight", "helpers"),
])  # fmt: skip
def test_a_parameters_block_follows_from_its_name(name, block):
    assert block_of(name) == block


@pytest.mark.parametrize("model", ["ecanet9", "mobilenet_small", "efficientnet_small", "two_branch_ecanet9"])
def test_each_block_of_a_network_has_parameters(root, model):
    detector = nnet.make_detector(nnet.load_conf(root / f"conf/model/{model}.yaml"), channels=3)
    method = training.make_method(training.load_conf(root / "conf/train/self_distill.yaml"), detector)
    blocks = {block_of(name) for name, _ in method.named_parameters()}
    assert blocks == {"stem", "block1", "block2", "block3", "block4", "head", "helpers"}


def set_gradients(method, value):
    for parameter in method.parameters():
        parameter.grad = torch.full_like(parameter, value)


def test_gradient_norms_are_means_over_the_looks_by_block(method):
    norms = GradientNorms(method)
    sizes = {}
    for name, parameter in method.named_parameters():
        sizes[block_of(name)] = sizes.get(block_of(name), 0) + parameter.numel()
    for value in (1.0, 3.0):
        set_gradients(method, value)
        norms.look()
    assert norms.take() == pytest.approx({f"gradient_{b}": 2 * math.sqrt(n) for b, n in sizes.items()}, rel=1e-4)
    assert norms.take() == {}, "each epoch has its own means"
    set_gradients(method, 5.0)
    norms.look()
    assert norms.take()["gradient_head"] == pytest.approx(5 * math.sqrt(sizes["head"]), rel=1e-4)


def test_a_block_without_a_gradient_has_norm_nought(method):
    set_gradients(method, 1.0)
    for parameter in (*method.student_heads.parameters(), *method.aligners.parameters()):
        parameter.grad = None
    norms = GradientNorms(method)
    norms.look()
    found = norms.take()
    assert found["gradient_helpers"] == 0 and found["gradient_stem"] > 0


def test_what_is_not_trained_has_no_gradient_norm(root):
    detector = nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml"))
    detector.requires_grad_(False)
    detector.head.requires_grad_(True)
    norms = GradientNorms(training.make_method(training.load_conf(root / "conf/train/baseline.yaml"), detector))
    detector.head.weight.grad = torch.ones_like(detector.head.weight)
    norms.look()
    assert list(norms.take()) == ["gradient_head"]


# -- embeddings --------------------------------------------------------------------------------------------------------


class Stages(nn.Module):
    """Two stages: one that keeps all directions of the input, and one that keeps one."""

    def forward(self, x):
        return [x, x[:, :1].expand(-1, 3, -1, -1)]


def inputs(batch, channels=4, seed=0):
    return torch.randn(batch, channels, 5, 6, generator=torch.Generator().manual_seed(seed))


def test_ranks_are_of_all_passes_within_together():
    stages, batches = Stages(), [inputs(7, seed=seed) for seed in range(3)]
    stages(inputs(50, seed=9))  # before: it does not count
    with Embeddings(stages, floor=None) as looks:
        for x in batches:
            stages(x)
    stages(inputs(50, seed=8))  # nor does what comes after
    found = looks.summary()
    assert list(found) == ["rank_block1", "rank_block2"]
    assert found["rank_block1"] == pytest.approx(effective_rank(pool(torch.cat(batches))), rel=1e-9)
    assert found["rank_block2"] == pytest.approx(1, abs=1e-6)


def test_the_hook_is_taken_off_even_where_a_pass_fails():
    stages = Stages()
    with pytest.raises(RuntimeError, match="broken"), Embeddings(stages, floor=None):
        raise RuntimeError("broken")
    assert not stages._forward_hooks


def test_the_input_at_the_floor_is_a_share_of_all_values():
    """Of 3 batches with the first 1, 2 and 3 of their 6 bins at the floor; up to ln 2 above it counts."""
    stages, floor = Stages(), -10.0
    with Embeddings(stages, floor) as looks:
        for low in (1, 2, 3):
            x = torch.full((4, 1, 5, 6), floor + 1.0)
            x[..., :low] = floor + (0.0 if low < 3 else 0.6)
            looks.see_input(x)
            stages(x)
    assert looks.summary()["input_at_floor"] == pytest.approx((1 + 2 + 3) / (3 * 6))


def test_a_front_end_without_a_floor_has_no_share_at_it():
    stages = Stages()
    with Embeddings(stages, None) as looks:
        looks.see_input(inputs(3))
        stages(inputs(3))
    assert "input_at_floor" not in looks.summary()


@pytest.mark.parametrize("model", ["ecanet9", "two_branch_ecanet9"])
def test_each_stage_of_a_network_has_a_rank(root, model):
    torch.manual_seed(3)
    detector = nnet.make_detector(nnet.load_conf(root / f"conf/model/{model}.yaml"), channels=3)
    with torch.no_grad(), Embeddings(detector.backbone, -10.0) as looks:
        for seed in range(2):
            x = torch.randn(6, 3, 32, 45, generator=torch.Generator().manual_seed(seed))
            looks.see_input(x)
            detector(x)
    found = looks.summary()
    assert set(found) == {"rank_block1", "rank_block2", "rank_block3", "rank_block4", "input_at_floor"}
    for block, width in enumerate(detector.backbone.stage_channels, 1):
        assert 1 <= found[f"rank_block{block}"] <= min(width, 12)


# -- warning -----------------------------------------------------------------------------------------------------------


def history(*ranks):
    """Epochs of these ranks of the deepest embedding; None: an epoch from before ranks were kept."""
    return [
        {"epoch": epoch, "inside": {"rank_block1": 9.0, "rank_block4": rank, "gradient_stem": 1.0}}
        if rank is not None
        else {"epoch": epoch}
        for epoch, rank in enumerate(ranks, 1)
    ]


def test_a_deepest_embedding_on_a_line_is_warned_of_once_after_three_epochs():
    ranks = [1.02, 1.01, 1.05, 1.03, 1.0]
    said = [warning_of(history(*ranks[:epochs])) for epochs in range(1, 6)]
    assert [text is not None for text in said] == [False, False, True, False, False]
    assert "effective rank near 1 (1.05) for 3 epochs" in said[2] and "more epochs" in said[2]


@pytest.mark.parametrize("ranks", [
    (1.05, 1.5, 1.05),
    (1.05, 1.05, 1.11),
    (4.0, 5.0, 6.0),
])  # fmt: skip
def test_no_warning_while_the_embedding_leaves_the_line_now_and_then(ranks):
    assert warning_of(history(*ranks)) is None


def test_an_embedding_that_falls_back_onto_the_line_is_warned_of_again():
    ranks = [1.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 1.0]
    said = [warning_of(history(*ranks[:epochs])) is not None for epochs in range(1, 9)]
    assert said == [False, False, True, False, False, False, True, False]


def test_a_shallow_embedding_on_a_line_is_no_reason_to_warn():
    rows = [{"epoch": epoch, "inside": {"rank_block1": 1.0, "rank_block4": 8.0}} for epoch in (1, 2, 3)]
    assert warning_of(rows) is None


def test_epochs_from_before_ranks_were_kept_do_not_count():
    assert warning_of([]) is None
    assert warning_of(history(None, None, None)) is None
    assert warning_of(history(None, None, 1.0, 1.0)) is None
    assert warning_of(history(None, None, 1.0, 1.0, 1.0)) is not None


# -- curves ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [
    [None, None],
    [{"rank_block4": 3.0, "gradient_head": 0.1}, {"rank_block4": 2.0}],
], ids=["from before looks inside were kept", "no step of the last epoch was looked at"])  # fmt: skip
def test_curves_are_drawn_without_complaint_where_looks_inside_are_missing(tmp_path, inside):
    """matplotlib warns of a legend of nothing, in the midst of a training's log."""
    rows = [
        {"epoch": epoch, "lr": 1e-3, "train": {"total": 1.0, "hard": 0.5}, "dev_loss": 1, "dev_eer": 9}
        | ({"inside": found} if found is not None else {})
        for epoch, found in enumerate(inside, 1)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_curves(rows, 1, "lowest dev loss", "a title", tmp_path / "curves.png")
