"""A student as a detector of its own: the scores of its head, without the deeper stages."""

import pytest
import torch

from steps import nnet
from steps.nnet.base import score_of
from steps.nnet.cost import count_parameters
from steps.training import load_conf, make_method
from steps.training.early_exit import AdaptiveExit, adaptive_costs, exit_costs


def make(root, method="self_distill", model="ecanet9", settings=(), channels=1):
    torch.manual_seed(1)
    conf = load_conf(root / f"conf/train/{method}.yaml", settings)
    model_conf = nnet.load_conf(root / f"conf/model/{model}.yaml")
    return make_method(conf, nnet.make_detector(model_conf, channels, head=conf.hard_loss.head)).eval()


def same_logits(method, x):
    with torch.inference_mode():
        for stage, logits in zip(method.trained_heads, method.head_logits(x), strict=True):
            assert torch.equal(method.exit_at(stage)(x), logits)


@pytest.mark.parametrize(("model", "bins"), [("ecanet9", 45), ("mobilenet_small", 45), ("lcnn", 60)])
def test_an_exits_logits_are_its_heads_in_the_complete_network_bit_for_bit(root, model, bins):
    same_logits(make(root, model=model), torch.randn(3, 1, 96, bins))


@pytest.mark.parametrize("aligner", ["bottleneck", "adaptive_pool", "searched"])
def test_exits_read_their_stage_by_any_aligner(root, aligner):
    same_logits(make(root, settings=[f"train.distill.aligner={aligner}"]), torch.randn(3, 1, 96, 45))


@pytest.mark.parametrize("method", ["ema_teacher", "consistency"])
def test_exits_of_other_methods_with_shallow_heads(root, method):
    made = make(root, method)
    assert made.trained_heads == (1, 2, 3, 4)
    same_logits(made, torch.randn(2, 1, 96, 45))


def test_a_network_of_branches_stops_in_every_branch(root):
    method = make(root, model="two_branch_ecanet9", channels=3)
    x = torch.randn(2, 3, 96, 128)
    same_logits(method, x)
    early = method.exit_at(2)
    assert [len(branch.stages) for branch in early.backbone.branches] == [2, 2]


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_deeper_stages_are_neither_kept_nor_called(root, stage):
    method = make(root)
    called = []
    early = method.exit_at(stage)
    for network in (early, method.detector):
        for number, module in enumerate(network.backbone.stages, 1):
            module.register_forward_hook(lambda *_, number=number: called.append(number))
    early(torch.randn(1, 1, 96, 45))
    assert called == list(range(1, stage + 1))
    assert len(early.backbone.stages) == stage and len(method.detector.backbone.stages) == 4
    assert count_parameters(early) < count_parameters(method.detector)


def test_costs_grow_with_the_stage_up_to_the_complete_networks(root):
    costs = exit_costs(make(root), 600, 45)
    assert list(costs) == [1, 2, 3, 4] and sorted(costs.values()) == list(costs.values())
    assert exit_costs(make(root, "baseline"), 600, 45) == {4: costs[4]}


@pytest.mark.parametrize(("method", "stage"), [("baseline", 2), ("mutual", 1), ("self_distill", 5)])
def test_a_stage_without_a_head_is_no_exit(root, method, stage):
    with pytest.raises(KeyError):
        make(root, method).exit_at(stage)


def adaptive_of(method, bound):
    lines = {stage: (0.5 + stage, 0.1 * stage) for stage in method.trained_heads}
    exits = {stage: method.exit_at(stage) for stage in method.trained_heads}
    return AdaptiveExit(exits, lines, bound, adaptive_costs(method, 96, 45)), lines


def test_an_input_leaves_at_the_first_exit_that_is_sure_enough(root):
    method = make(root)
    x = torch.randn(16, 1, 96, 45) * torch.linspace(0.1, 8, 16)[:, None, None, None]
    with torch.inference_mode():
        logits = method.head_logits(x)
    adaptive, lines = adaptive_of(method, 0.0)
    llrs = [weight * score_of(f) + offset for f, (weight, offset) in zip(logits, lines.values())]
    bound = float(llrs[0].abs().median())
    adaptive.bound = bound
    with torch.inference_mode():
        found, stages = adaptive.routes(x)
        torch.testing.assert_close(score_of(adaptive(x)), found)
    for i in range(len(x)):
        stage = next((k for k in (1, 2, 3) if llrs[k - 1][i].abs() >= bound), 4)
        assert stages[i] == stage
        torch.testing.assert_close(found[i], llrs[stage - 1][i], rtol=1e-4, atol=1e-5)
    assert len(set(stages.tolist())) > 1


@pytest.mark.parametrize(("bound", "called"), [(0.0, [1]), (1e9, [1, 2, 3, 4])])
def test_stages_that_no_input_reaches_are_not_called(root, bound, called):
    adaptive, _ = adaptive_of(make(root), bound)
    found = []
    for number, module in enumerate(adaptive.backbone.stages, 1):
        module.register_forward_hook(lambda *_, number=number: found.append(number))
    with torch.inference_mode():
        adaptive(torch.randn(3, 1, 96, 45))
    assert found == called and adaptive.left == {called[-1]: 3}


def test_the_adaptive_exit_pays_for_the_heads_that_it_passes(root):
    method = make(root, settings=["train.distill.aligner=bottleneck"])
    alone, passing = exit_costs(method, 600, 45), adaptive_costs(method, 600, 45)
    assert alone[1] == passing[1] and all(alone[stage] < passing[stage] for stage in (2, 3, 4))
