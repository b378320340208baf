"""Frame loss: hand-computed values, what learns from what, and which methods have it."""

from __future__ import annotations

import math

import pytest
import torch

from steps import nnet, training
from steps.nnet.base import FrameHead, check_keeps_time, drawn_out
from steps.training.frames import FrameLoss, FramesConf, frame_loss, soft_frame_loss
from tests.conftest import ROOT
from utils.cli import UserError

CONF = FramesConf(weight=2.0, soft_weight=0.5, temperature=2.0)


def test_the_frame_loss_by_hand():
    # frames of the map have the mean label of the input's frames: 1, 0.5
    scores = torch.tensor([[math.log(3), 0.0]])
    bonafide = torch.tensor([[1.0, 1, 1, 0]])
    expected = (-math.log(0.75) - math.log(0.5)) / 2
    assert float(frame_loss(scores, bonafide)) == pytest.approx(expected, abs=1e-6)


def test_the_soft_frame_loss_by_hand_and_without_gradient_into_the_teacher():
    student = torch.tensor([[0.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[2 * math.log(3)]], requires_grad=True)
    loss = soft_frame_loss(student, teacher, 2.0)  # p = 0.75 against 0.5, times 4
    kl = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(loss.detach()) == pytest.approx(4 * kl, abs=1e-6)
    loss.backward()
    assert student.grad.abs().sum() > 0 and teacher.grad is None
    assert float(soft_frame_loss(teacher.detach(), teacher.detach(), 2.0)) == pytest.approx(0, abs=1e-6)


def test_students_learn_from_the_deepest_frames_alone():
    torch.manual_seed(1)
    own = FrameHead((6,))
    loss = FrameLoss(CONF, own, (4, 5))
    maps = [torch.randn(2, c, f, 3, requires_grad=True) for c, f in ((4, 20), (5, 10), (6, 5))]
    total, terms = loss(maps, torch.ones(2, 40))
    assert set(terms) == {"frames", "soft_frames"}
    assert float(total.detach()) == pytest.approx(2 * float(terms["frames"] + 0.5 * terms["soft_frames"]), rel=1e-5)
    total.backward()
    of_all = maps[2].grad.clone()
    maps[2].grad = None
    (2 * frame_loss(own(maps), torch.ones(2, 40))).backward()
    torch.testing.assert_close(maps[2].grad, of_all)  # nothing of the soft loss reaches the deepest map
    assert maps[0].grad.abs().sum() > 0 and maps[1].grad.abs().sum() > 0


def test_frames_are_drawn_out_by_straight_lines_between_their_middles():
    values = torch.tensor([[0.0, 4.0]])
    assert drawn_out(values, 4).tolist() == [[0, 1, 3, 4]]  # middles at 1/8, 3/8, 5/8, 7/8 between 1/4 and 3/4
    assert drawn_out(values, 2) is values


def test_a_head_that_reads_all_maps_has_the_frames_of_the_finest_and_adds_up_what_each_says():
    torch.manual_seed(1)
    head, maps = FrameHead((4, 5)), [torch.randn(2, 4, 8, 3), torch.randn(2, 5, 4, 3)]
    fine = maps[0].mean(3).transpose(1, 2) @ head.finer[0].weight[0]
    coarse = maps[1].mean(3).transpose(1, 2) @ head.linear.weight[0] + head.linear.bias
    torch.testing.assert_close(head(maps), fine + drawn_out(coarse, 8))


def test_all_maps_give_finer_frames_to_the_detector_and_to_each_student():
    conf = training.load_conf(ROOT / "conf/train/self_distill_frames.yaml", ["train.frames.maps=all"])
    torch.manual_seed(1)
    model = nnet.load_conf(ROOT / "conf/model/ecanet9_narrow.yaml")
    method = training.make_method(conf, nnet.make_detector(model, frames="all"))
    x = torch.randn(4, 1, 64, 20)
    maps = method.detector.stage_maps(x)
    assert method.detector.frame_scores(x).shape[1] == maps[0].shape[2] > maps[-1].shape[2]
    assert [head(maps[: k + 1]).shape[1] for k, head in enumerate(method.frame_loss.students)] == 3 * [maps[0].shape[2]]
    loss, _ = method.losses_with_frames(x, torch.tensor([0, 1, 0, 1]), torch.ones(4, 64), 1)
    loss.backward()
    for head in (method.detector.frame_head, *method.frame_loss.students):
        assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())


@pytest.mark.parametrize(("name", "students"), [("baseline_frames", 0), ("self_distill_frames", 3)])
def test_both_methods_learn_frames_beside_what_they_learn_anyway(name, students):
    conf = training.load_conf(ROOT / f"conf/train/{name}.yaml")
    torch.manual_seed(1)
    model = nnet.load_conf(ROOT / "conf/model/ecanet9_narrow.yaml")
    method = training.make_method(conf, nnet.make_detector(model, frames="last"))
    assert len(method.frame_loss.students) == students
    x, labels = torch.randn(4, 1, 64, 20), torch.tensor([0, 1, 0, 1])
    plain, _ = method.losses(x, labels, 1)
    with_frames, terms = method.losses_with_frames(x, labels, torch.ones(4, 64), 1)
    assert "frames" in terms and float(with_frames.detach()) > float(plain.detach())
    with_frames.backward()
    assert method.detector.frame_head.linear.weight.grad.abs().sum() > 0
    assert not method.detector.backbone._forward_hooks
    assert [name for name in method.state_dict() if "frame" in name][0] == "detector.frame_head.linear.weight"


@pytest.mark.parametrize("name", ["mutual", "branch_distill", "consistency", "ema_teacher"])
def test_other_methods_refuse_frames(name):
    settings = ["train.frames={weight: 1, soft_weight: 0, temperature: 1}"]
    conf = training.load_conf(ROOT / f"conf/train/{name}.yaml", settings)
    network = "two_branch_ecanet9" if name == "branch_distill" else "ecanet9_narrow"
    model = nnet.load_conf(ROOT / f"conf/model/{network}.yaml")
    with pytest.raises(UserError, match=f"the method {name} has no frame loss"):
        training.make_method(conf, nnet.make_detector(model, 4, frames="last"))


def test_a_network_whose_last_map_has_no_time_is_refused():
    detector = nnet.make_detector(nnet.load_conf(ROOT / "conf/model/ecanet9_narrow.yaml"), frames="last")
    check_keeps_time(detector, torch.zeros(1, 1, 64, 20))
    with pytest.raises(UserError, match="its last map has 1 frame"):
        check_keeps_time(detector, torch.zeros(1, 1, 4, 20))


@pytest.mark.parametrize("bad", [{"weight": 0.0}, {"soft_weight": -1.0}, {"temperature": 0.0}])
def test_a_conf_that_cannot_be_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        FramesConf(**({"weight": 1.0, "soft_weight": 0.0, "temperature": 1.0} | bad))
