"""Batch normalisation's running statistics: estimated anew by the weights as they are, and nothing else touched."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from steps import train
from steps.data.batches import FeatureSet, training_plan
from steps.data.sources import DumpedFeatures
from steps.experiment import training_folder
from steps.results.report.curves import read_history
from steps.training.batch_norm import SharedBatchNorm2d, fresh_statistics
from steps.training.loop import Trainer
from tests.in_process import call

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Net(nn.Module):
    """Two batch norms of either kind that every pass reaches, dropout behind them, and one that no pass reaches."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3))
        self.vectors = nn.BatchNorm1d(8, momentum=0.3)
        self.dropout = nn.Dropout(0.5)
        self.last = nn.Linear(8, 2)
        self.spare = nn.BatchNorm1d(8)

    def forward(self, x):
        return self.last(self.dropout(self.vectors(self.maps(x).mean((2, 3)))))


def batches(count=5, size=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(size, 1, 9, 10, generator=generator) + 1 for _ in range(count)]


@pytest.fixture
def net():
    """In training mode, with statistics of a few batches of another kind."""
    torch.manual_seed(2)
    net = Net()
    for x in batches(3, seed=9):
        net(2 * x - 5)
        net.spare(x[:, 0, 0, :8])
    return net


def estimate(net, some):
    with fresh_statistics(net), torch.no_grad():
        for x in some:
            net(x)


def state(net, statistics):
    """A copy of what of a network's state is, or is not, batch statistics."""
    return {k: v.clone() for k, v in net.state_dict().items() if k.endswith(STATISTICS) == statistics}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


# -- the statistics ----------------------------------------------------------------------------------------------------


def test_statistics_are_the_plain_mean_over_the_batches_as_torch_has_it(net):
    some, other = batches(), copy.deepcopy(net)
    estimate(net, some)
    update_bn(some, other)
    for ours, theirs in ((net.maps[1], other.maps[1]), (net.vectors, other.vectors)):
        torch.testing.assert_close(ours.running_mean, theirs.running_mean)
        torch.testing.assert_close(ours.running_var, theirs.running_var)
        assert ours.num_batches_tracked == 5


def test_statistics_by_hand(net):
    """Of the first batch norm: each batch's mean and unbiased variance, and their means over the batches."""
    some = batches()
    estimate(net, some)
    with torch.no_grad():
        values = [net.maps[0](x).double().movedim(1, 0).flatten(1) for x in some]
    torch.testing.assert_close(
        net.maps[1].running_mean.double(), sum(v.mean(1) for v in values) / 5, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        net.maps[1].running_var.double(), sum(v.var(1) for v in values) / 5, rtol=1e-4, atol=1e-5
    )


def test_what_was_there_before_leaves_no_trace(net):
    """Estimating again, after other batches, gives the same statistics bit for bit."""
    estimate(net, batches())
    once = state(net, True)
    estimate(net, batches(seed=7))
    assert not same(state(net, True), once)
    estimate(net, batches())
    assert same(state(net, True), once)


def test_a_batch_norm_that_no_pass_reaches_keeps_its_statistics(net):
    before = {k: v.clone() for k, v in net.spare.state_dict().items()}
    assert before["num_batches_tracked"] == 3
    estimate(net, batches())
    assert same(net.spare.state_dict(), before)


def test_without_a_pass_every_batch_norm_keeps_its_statistics(net):
    before = state(net, True)
    estimate(net, [])
    assert same(state(net, True), before)


def test_a_batch_norm_that_is_shared_by_processes_takes_the_plain_mean_too(net):
    other = copy.deepcopy(net)
    net.maps[1].__class__ = SharedBatchNorm2d
    for one in (net, other):
        estimate(one, batches())
    for statistic in STATISTICS:
        torch.testing.assert_close(getattr(net.maps[1], statistic), getattr(other.maps[1], statistic))


@pytest.mark.parametrize("affine", [True, False])
def test_a_shared_batch_norm_trains_as_torchs_own(affine):
    x = batches(1)[0].expand(-1, 4, -1, -1) * torch.arange(1, 5)[:, None, None]
    own, shared = nn.BatchNorm2d(4, affine=affine), nn.BatchNorm2d(4, affine=affine)
    shared.__class__ = SharedBatchNorm2d
    torch.testing.assert_close(shared(x), own(x))
    torch.testing.assert_close(dict(shared.named_buffers()), dict(own.named_buffers()))


# -- and nothing else --------------------------------------------------------------------------------------------------


def test_dropout_draws_nothing(net):
    before = torch.get_rng_state()
    estimate(net, batches())
    assert torch.equal(torch.get_rng_state(), before)


def test_parameters_stay_and_get_no_gradient(net):
    before = state(net, False)
    estimate(net, batches())
    assert same(state(net, False), before) and all(p.grad is None for p in net.parameters())


def test_afterwards_the_method_is_in_evaluation_mode_and_momenta_are_as_before(net):
    assert net.training
    estimate(net, batches())
    assert not any(module.training for module in net.modules())
    assert (net.maps[1].momentum, net.vectors.momentum, net.spare.momentum) == (0.1, 0.3, 0.1)
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_a_pass_that_fails_leaves_momenta_and_mode_in_order(net):
    with pytest.raises(RuntimeError):
        estimate(net, [torch.zeros(4, 3, 9, 10)])
    assert not any(module.training or module._forward_pre_hooks for module in net.modules())
    assert (net.maps[1].momentum, net.vectors.momentum) == (0.1, 0.3)


def test_training_goes_on_with_the_running_statistics_it_is_used_to(net):
    """By momentum, from the estimated ones on."""
    estimate(net, batches())
    estimated = net.maps[1].running_mean.clone()
    net.train()
    x = batches(1, seed=4)[0]
    net(x)
    mean = net.maps[0](x).mean((0, 2, 3)).detach()
    torch.testing.assert_close(net.maps[1].running_mean, 0.9 * estimated + 0.1 * mean)


# -- in the loop -------------------------------------------------------------------------------------------------------


BATCH, EPOCHS, SEED = 4, 2, 3


def run(root, sets, out, method, *settings):
    (train_data, train_feats), (dev_data, dev_feats) = sets["train"], sets["dev"]
    done = call(
        train.main, "train.py", "--model", root / "conf/model/ecanet9.yaml", "--num-threads=1", f"--seed={SEED}",
        "--train-conf", root / f"conf/train/{method}.yaml", f"--set=train.epochs={EPOCHS}",
        f"--set=train.batch_size={BATCH}", "--set=train.schedule.lr=3e-3", "--set=frontend.network_input.frames=32",
        *(f"--set=train.{setting}" for setting in settings),
        train_data, train_feats, dev_data, dev_feats, out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return torch.load(out / "final.pt", weights_only=True)["state"]


def fixed_batches(detector_conf, sets):
    """The first ten batches of the plan of epoch 0, as scoring would read their utterances."""
    from steps.frontend import make_frontend

    data, feats = sets["train"]
    features = FeatureSet(data, DumpedFeatures(feats), make_frontend(detector_conf), cache_mib=100)
    plan = training_plan(len(features), BATCH, SEED, 0)
    assert len(plan) > 10 and len(np.concatenate(plan[:10])) == 10 * BATCH
    return [x for x, _, _ in features.batches(plan[:10], torch.device("cpu"), 0)]


@pytest.mark.parametrize("method, settings", [
    ("baseline", []),
    ("self_distill", []),
    ("ema_teacher", ["ema.keep=teacher"]),
    ("baseline", ["average_last=2"]),
])  # fmt: skip
def test_the_detector_that_is_kept_has_the_statistics_of_its_weights(root, made_up_sets, tmp_path, method, settings):
    """Those of the fixed training batches, not filtered: though the training's own batches were."""
    out = tmp_path / "seed"
    kept = run(root, made_up_sets, out, method, "random_filter.p=1", *settings)
    detector, frontend_conf = training_folder.load_detector(out / "final.pt", torch.device("cpu"))
    update_bn(fixed_batches(frontend_conf, made_up_sets), detector)
    found = detector.state_dict()
    names = [name for name in found if name.endswith(STATISTICS)]
    assert names
    for name in names:
        torch.testing.assert_close(kept[name], found[name], rtol=1e-4, atol=1e-5, msg=name)


def test_training_without_random_filters_ends_in_the_same_weights_with_or_without_fresh_statistics(
    root, made_up_sets, tmp_path, monkeypatch
):
    """They are of use in scoring alone: which epoch is kept is all that they decide, and the last one is here."""
    settings = ["random_filter=null", "select_by=last_epoch"]
    fresh = run(root, made_up_sets, tmp_path / "fresh", "self_distill", *settings)
    monkeypatch.setattr(Trainer, "_estimate_statistics", lambda _: {})
    stale = run(root, made_up_sets, tmp_path / "stale", "self_distill", *settings)
    statistics = [name for name in fresh if name.endswith(("running_mean", "running_var"))]
    for name in fresh:
        if name in statistics:
            assert not torch.equal(fresh[name], stale[name]), name
        elif not name.endswith("num_batches_tracked"):
            assert torch.equal(fresh[name], stale[name]), name


def test_each_epoch_is_looked_into(root, made_up_sets, tmp_path):
    """13 steps an epoch, of which every tenth is looked at: both epochs have gradients and ranks."""
    run(root, made_up_sets, tmp_path / "seed", "self_distill")
    names, *rows = [line.split("\t") for line in (tmp_path / "seed/epochs.tsv").read_text().splitlines()]
    blocks = [f"block{k}" for k in range(1, 5)]
    expected = [f"rank_{b}" for b in blocks] + ["input_at_floor"]
    expected += [f"gradient_{b}" for b in ("stem", *blocks, "head", "helpers")]
    assert set(expected) <= set(names) and len(rows) == EPOCHS
    values = {name: [float(row[names.index(name)]) for row in rows] for name in expected}
    assert all(1 <= rank <= 40 for b in blocks for rank in values[f"rank_{b}"])
    assert values["input_at_floor"] == [0, 0], "the features are made up: none is as low as the floor"
    assert all(v > 0 for name in expected if name.startswith("gradient_") for v in values[name])
    assert any(a != b for a, b in pairwise(values["rank_block4"]))


def test_a_short_epoch_is_looked_into_and_the_report_reads_its_table(root, made_up_sets, tmp_path):
    """Two steps an epoch, fewer than from one look at the gradient to the next."""
    run(root, made_up_sets, tmp_path / "seed", "baseline", "batch_size=25")
    history = read_history(tmp_path / "seed/epochs.tsv")
    assert len(history["gradient_head"]) == EPOCHS and (history["gradient_head"] > 0).all()
