"""CUDA graphs of networks: what is recorded, when it is replayed, and that numbers stay. A recorder stands in for CUDA's."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from steps import nnet
from steps.nnet import graphs
from steps.nnet.base import BackboneBase
from steps.nnet.graphs import Graphs, learning_networks
from tests.replaying import WARM_UP, Recorder

CPU = torch.device("cpu")


class Small(BackboneBase):
    """Four stages with batch normalisation, and dropout in the last."""

    stage_channels = (4, 4, 6, 6)

    def __init__(self):
        super().__init__()
        widths = (1, *self.stage_channels)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())
            for i, o in zip(widths, widths[1:])
        )
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        maps = []
        for stage in self.stages:
            maps.append(x := stage(x))
        return [*maps[:-1], self.dropout(maps[-1])]


@pytest.fixture
def recorder(monkeypatch):
    one = Recorder()
    monkeypatch.setattr(graphs, "record", one)
    monkeypatch.setattr(graphs, "usable", lambda device: True)
    return one


@pytest.fixture
def network():
    torch.manual_seed(3)
    return Small()


def batch(size=5, seed=0):
    return torch.randn(size, 1, 7, 6, generator=torch.Generator().manual_seed(seed))


def steps(network, context, sizes=(5, 5, 5, 3)):
    """Trains on batches of these sizes; the losses."""
    torch.manual_seed(8)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    with context:
        for number, size in enumerate(sizes):
            context.begin_step()
            optimizer.zero_grad(set_to_none=True)
            loss = sum(m.square().mean() for m in network(batch(size, number)))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def off(network):
    return Graphs(network, CPU, wanted=False)


def on(network):
    return Graphs(network, CPU, wanted=True)


def test_a_training_by_replays_has_the_numbers_of_one_without(recorder, network, capsys):
    other = copy.deepcopy(network)
    assert steps(network, on(network)) == steps(other, off(other))
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), other.state_dict().values()))
    assert recorder.recorded == [(5, 1, 7, 6)] and len(recorder.replays) == recorder.backwards == 3
    said = "train.graphs: batches of another shape than 5 x 1 x 7 x 6 are computed without graphs\n"
    assert capsys.readouterr().out == said


def test_warming_up_leaves_statistics_and_random_numbers_alone(recorder, network):
    network.train()
    with on(network) as context:
        context.begin_step()
        network(batch())
    assert network.stages[0][1].num_batches_tracked == 1 < WARM_UP
    other = copy.deepcopy(network)
    torch.manual_seed(1)
    with on(network) as context:
        context.begin_step()
        one = network(batch())[-1].detach().clone()
    torch.manual_seed(1)
    assert torch.equal(one, other(batch())[-1])


def test_of_two_passes_in_a_step_the_second_is_no_replay(recorder, network, capsys):
    other = copy.deepcopy(network).eval()
    network.eval()
    with on(network) as context:
        for _ in range(2):
            context.begin_step()
            network.zero_grad()
            one, two = network(batch(seed=1)), network(batch(seed=2))
            (one[-1] * two[-1]).sum().backward()
    (other(batch(seed=1))[-1] * other(batch(seed=2))[-1]).sum().backward()
    torch.testing.assert_close(
        [p.grad for p in network.parameters()], [p.grad for p in other.parameters()], rtol=1e-5, atol=1e-7
    )
    assert len(recorder.replays) == 2
    assert capsys.readouterr().out == "train.graphs: all but the first pass of a step are computed without graphs\n"


@pytest.mark.parametrize("place", ["itself", "inside"])
def test_hooks_of_the_network_run_and_those_inside_need_the_ordinary_pass(recorder, network, place):
    seen = []
    module = network if place == "itself" else network.stages[1]
    hook = module.register_forward_hook(lambda *_: seen.append(1))
    with on(network) as context:
        for _ in range(2):
            context.begin_step()
            network(batch())
    hook.remove()
    assert len(seen) == 2
    assert len(recorder.replays) == (2 if place == "itself" else 0)


def test_training_and_scoring_are_recorded_each_and_other_modes_are_not_replayed(recorder, network, capsys):
    with on(network) as context:
        for _ in range(2):
            for mode in (True, False):
                context.begin_step()
                network.train(mode)
                with torch.set_grad_enabled(mode):
                    network(batch())
        assert len(recorder.recorded) == 2 and len(recorder.replays) == 4
        context.begin_step()
        network.stages[0][1].train()  # as when statistics are estimated anew
        with torch.no_grad():
            network(batch())
        context.begin_step()
        network.train()
        with torch.autocast("cpu", torch.bfloat16):
            assert network(batch())[0].dtype == torch.bfloat16
    assert len(recorder.replays) == 4
    said = "train.graphs: passes in another mode than the recorded one are computed without graphs\n"
    assert capsys.readouterr().out == said


def test_autocast_is_recorded_without_its_cache(network, monkeypatch):
    found = []

    def record(module, x):
        found.append((torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()))
        return module

    monkeypatch.setattr(graphs, "record", record)
    monkeypatch.setattr(graphs, "usable", lambda device: True)
    with on(network) as context, torch.autocast("cpu", torch.bfloat16):
        context.begin_step()
        network(batch())
        assert torch.is_autocast_cache_enabled()
    assert found == [(True, False)]


def test_what_cannot_be_recorded_is_computed_as_usual_and_said_once(network, monkeypatch, capsys):
    def record(module, x):
        module(x)
        raise RuntimeError("operation not permitted when stream is capturing\nmore lines")

    monkeypatch.setattr(graphs, "record", record)
    monkeypatch.setattr(graphs, "usable", lambda device: True)
    other = copy.deepcopy(network)
    assert steps(network, on(network)) == steps(other, off(other))
    (line,) = capsys.readouterr().out.splitlines()
    assert line == (
        "train.graphs: test_graphs cannot be recorded, so it is computed without graphs (operation not permitted when"
        " stream is capturing)"
    )


def test_without_a_gpu_nothing_is_recorded_and_one_line_says_so(network, capsys):
    with on(network) as context:
        context.begin_step()
        assert "forward" not in vars(network)
        network(batch())
    assert capsys.readouterr().out == "train.graphs: left out, as no GPU is used\n"
    off(network)
    assert capsys.readouterr().out == ""


def test_afterwards_the_network_is_as_before(recorder, network):
    with on(network) as context:
        context.begin_step()
        network(batch())
    assert "forward" not in vars(network) and copy.deepcopy(network).state_dict().keys() == network.state_dict().keys()


def test_networks_that_do_not_learn_are_left_alone(network):
    teacher = copy.deepcopy(network).requires_grad_(False)
    assert learning_networks(nn.ModuleList([network, teacher])) == [network]


def test_of_a_network_of_branches_each_branch_is_recorded(recorder):
    root = Path(__file__).resolve().parents[3]
    detector = nnet.make_detector(nnet.load_conf(root / "conf/model/two_branch_ecanet9.yaml"), 3)
    branches = list(detector.backbone.branches)
    assert learning_networks(detector) == branches
    x = torch.randn(3, 3, 40, 45)
    expected = [m.detach() for m in copy.deepcopy(detector)(x)]
    with on(detector) as context:
        context.begin_step()
        assert torch.equal(torch.stack(expected), detector(x))
    assert len(recorder.replays) == len(branches) == 2


def test_a_context_without_a_complete_pass_says_so(recorder, network, capsys):
    with on(network):
        network.stages[0](batch())
    said = "train.graphs: nothing was recorded, as no pass went through all stages of a network\n"
    assert capsys.readouterr().out == said
