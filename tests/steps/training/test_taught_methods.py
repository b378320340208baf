"""consistency, ema_teacher, mutual and branch_distill: what their formulas say, and a detector without a trace of
them."""

import copy

import pytest
import torch
from torch.nn import functional as F

from steps import nnet, training
from steps import train as train_program
from steps.nnet.cost import detector_cost
from steps.training import loop
from steps.training.consistency import in_a_mask
from steps.training.losses import MutualConf, mutual_losses, soft_loss
from tests import in_process
from utils import conf as conf_files
from utils.cli import UserError

TOGETHER = [
    f"train.distill.{setting}"
    for setting in ("teaching=chain", "aligner=searched", "attention.weight=1", "weighting.name=uncertainty")
]
METHODS = {
    "consistency": [],
    "consistency together": TOGETHER,
    "consistency alone": ["train.consistency.shallow_heads=false", "train.consistency.hard_on=both"],
    "ema_teacher": [],
    "ema_teacher together": [*TOGETHER, "train.hard_loss.name=oc_softmax"],
    "ema_teacher kept": ["train.ema.keep=teacher", "train.ema.shallow_heads=false"],
    "mutual": [],
    "branch_distill": [],
}


def make(root, name, settings=None, seed=3):
    """The method, and a method `baseline` of the same network begun from the same seed."""
    conf, channels = name.split()[0], 3 if name == "branch_distill" else 1
    model = "two_branch_ecanet9" if name == "branch_distill" else "ecanet9"
    made = []
    for one, values in ((conf, METHODS[name] if settings is None else settings), ("baseline", ())):
        train_conf = training.load_conf(root / f"conf/train/{one}.yaml", values)
        torch.manual_seed(seed)
        model_conf = nnet.load_conf(root / f"conf/model/{model}.yaml")
        detector = nnet.make_detector(model_conf, channels, head=train_conf.hard_loss.head)
        made.append(training.make_method(train_conf, detector))
    return made


def batch_of(channels=1):
    torch.manual_seed(5)
    return torch.randn(4, channels, 96, 45), torch.tensor([0, 1, 1, 0])


def gradients(method, batch):
    method.zero_grad()
    method.losses(*batch, step=1)[0].backward()
    return {name: p.grad for name, p in method.named_parameters()}


@pytest.mark.parametrize("name", METHODS)
def test_the_detector_kept_is_the_baselines(root, name):
    method, baseline = make(root, name)
    states = [one.detector.state_dict() for one in (method, baseline)]
    assert list(states[0]) == list(states[1]) and all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states)))
    names = [[n for n, _ in one.detector.named_parameters()] for one in (method, baseline)]
    assert names[0] == names[1]
    shape = (64, 45, 3 if name == "branch_distill" else 1)
    assert detector_cost(method.detector, *shape) == detector_cost(baseline.detector, *shape)
    x = batch_of(shape[2])[0]
    method.eval()
    heads = method.head_logits(x)
    assert len(heads) == len(method.trained_heads) and torch.equal(heads[-1], method.detector(x))


@pytest.mark.parametrize("name", METHODS)
def test_everything_that_learns_has_a_gradient(root, name):
    """Under autocast too, where weights that were cast for one view serve the next. A teacher has none."""
    method = make(root, name)[0].train()
    if name == "consistency alone":
        method = make(root, name, ["train.consistency.hard_on=masked"])[0].train()
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(method, batch_of(3 if name == "branch_distill" else 1))
    teacher = {"ema_teacher kept": "detector"}.get(name, "twin")
    for key, gradient in found.items():
        assert (gradient is None) == key.startswith(teacher), key
        assert gradient is None or gradient.abs().sum() > 0, key


# -- consistency -------------------------------------------------------------------------------------------------


def test_masks_by_hand():
    """Of 10 places: 0..3 wide, so that the first draw is cut in quarters, and the second in as many as there are
    begins."""
    draws = torch.tensor([[[0.74, 0.0], [0.30, 0.99]], [[0.0, 0.5], [0.9999, 0.9999]]], dtype=torch.float64)
    found = [row.nonzero().flatten().tolist() for row in in_a_mask(draws, 10, 3)]
    assert found == [[0, 1, 9], [7, 8, 9]]
    assert in_a_mask(torch.full((1, 1, 2), 0.9999), 4, 60).all()
    assert not in_a_mask(torch.zeros(2, 0, 2), 4, 60).any()


def test_masked_view(root):
    method = make(root, "consistency", ["train.consistency.max_frames=20"])[0]
    x = torch.randn(64, 2, 96, 45)
    views = [method.masked(x, step) for step in (1, 1, 2)]
    assert torch.equal(views[0], views[1]) and not torch.equal(views[0], views[2])
    changed = views[0] != x
    assert torch.equal(changed[:, 0], changed[:, 1])
    means = x.mean((2, 3), keepdim=True).expand_as(x)
    assert torch.equal(views[0][changed], means[changed])
    for over, widest in ((2, 20), (1, 6)):  # frames, and bins, wholly within a mask
        whole = changed[:, 0].all(dim=over).sum(dim=1)
        assert widest < whole.max() <= 2 * widest
        assert whole.float().mean() == pytest.approx(widest, rel=0.35)  # two masks of half the widest, few overlapping
    zero = make(root, "consistency", ["train.consistency.fill=zero"])[0]
    assert (zero.masked(x, 1)[zero.masked(x, 1) != x] == 0).all()
    other = make(root, "consistency", ["train.consistency.max_frames=20"], seed=4)[0]
    assert not torch.equal(other.masked(x, 1), views[0])
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.masked(x, 1), views[0])


def test_the_clean_views_head_teaches(root):
    """By hand, in evaluation mode; without masks it is self-distillation, gradients and all."""
    x, labels = batch_of()
    method = make(root, "consistency")[0].eval()
    total, terms = method.losses(x, labels, 7)
    view, clean = method.head_logits(method.masked(x, 7)), method.detector(x)
    soft = sum(soft_loss(f, clean, 3.0, True) for f in view)
    assert terms["soft"].item() == pytest.approx(soft.item(), rel=1e-5)
    assert total.item() == pytest.approx(
        (0.7 * terms["hard"] + 0.3 * terms["soft"] + 0.3 * terms["feature"]).item(), rel=1e-5
    )
    hard = {
        on: make(root, "consistency", [f"train.consistency.hard_on={on}"])[0].eval().losses(x, labels, 7)[1]["hard"]
        for on in ("masked", "clean", "both")
    }
    assert torch.equal(hard["masked"], terms["hard"]) and hard["masked"] != hard["clean"]
    assert hard["both"].item() == pytest.approx((hard["masked"] + hard["clean"]).item() / 2, rel=1e-6)
    assert hard["clean"].item() == pytest.approx(F.cross_entropy(clean, labels).item(), rel=0.1)  # lambda is large

    no_masks = [f"train.consistency.{key}=0" for key in ("time_masks", "frequency_masks")]
    unmasked = make(root, "consistency", no_masks)[0].eval()
    torch.manual_seed(3)
    detector = nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml"))
    distilled = training.make_method(training.load_conf(root / "conf/train/self_distill.yaml"), detector).eval()
    one, other = gradients(unmasked, (x, labels)), gradients(distilled, (x, labels))
    for key, gradient in other.items():
        torch.testing.assert_close(one[key], gradient, rtol=1e-4, atol=1e-6)


# -- ema_teacher -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", ["student", "teacher"])
def test_the_average_by_hand(root, keep):
    settings = [f"train.ema.keep={keep}", "train.ema.decay=0.75"]
    method = make(root, "ema_teacher", settings)[0].train()
    student, teacher = (method.detector, method.twin)[:: 1 if keep == "student" else -1]
    bn, averaged = student.backbone.stem[1], teacher.backbone.stem[1]
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    with torch.no_grad():
        for p in (*student.parameters(), bn.running_mean):
            p.add_(8)
        bn.num_batches_tracked += 3
    method.after_step(1)  # warm-up: half and half
    assert all(torch.allclose(p, before[n] + 4, atol=1e-5) for n, p in teacher.named_parameters())
    torch.testing.assert_close(averaged.running_mean, before["backbone.stem.1.running_mean"] + 4)
    assert averaged.num_batches_tracked == 3
    method.after_step(2)  # a third of what is left is left out: 2/3 * 4 + 1/3 * 8
    torch.testing.assert_close(averaged.weight, before["backbone.stem.1.weight"] + 16 / 3)
    method.after_step(100)  # decay: 3/4 * 16/3 + 1/4 * 8
    torch.testing.assert_close(averaged.weight, before["backbone.stem.1.weight"] + 6)
    heads = (method.student_heads, method.twin_heads)[:: 1 if keep == "student" else -1]
    assert torch.equal(heads[0][0].weight, heads[1][0].weight)  # neither has learnt


def test_decay(root):
    conf = training.load_conf(root / "conf/train/ema_teacher.yaml").ema
    assert [conf.decay_at(step) for step in (1, 2, 98, 10_000)] == [0.5, 1 - 1 / 3, 1 - 1 / 99, 0.99]
    plain = training.load_conf(root / "conf/train/ema_teacher.yaml", ["train.ema.warmup=false"]).ema
    assert plain.decay_at(1) == 0.99


def test_the_averaged_teacher_teaches_as_it_would_be_used(root):
    """In evaluation mode while the student is in training mode; all the student's heads, in step with the epoch's
    ramp."""
    x, labels = batch_of()
    method = make(root, "ema_teacher")[0].train()
    assert not method.twin.training and method.detector.training and not method.twin.backbone.stem[1].training
    with torch.no_grad():
        for p in method.twin.parameters():
            p.mul_(1.1)
    logits = copy.deepcopy(method).head_logits(x)
    soft = sum(soft_loss(f, method.twin(x), 3.0, True) for f in logits)
    for epoch, ramp in ((1, 0.0067379), (3, 1)):
        method.begin_epoch(epoch, 5)
        total, terms = method.losses(x, labels, 1)
        expected = 0.7 * terms["hard"] + ramp * (0.3 * terms["soft"] + 0.3 * terms["feature"])
        assert total.item() == pytest.approx(expected.item(), rel=1e-5)
        assert terms["soft"].item() == pytest.approx(soft.item(), rel=1e-4)


@pytest.mark.parametrize("method, group", [("consistency", "consistency"), ("ema_teacher", "ema")])
def test_keys_of_blocks_that_have_no_heads_are_refused(root, method, group):
    for setting in ("teaching=chain", "attention.weight=1", "student_hard_loss=true"):
        settings = [f"train.{group}.shallow_heads=false", f"train.distill.{setting}"]
        with pytest.raises(
            UserError, match=rf"{group}\.shallow_heads: false: .*distill\.{setting.split('.')[0].split('=')[0]}"
        ):
            training.load_conf(root / f"conf/train/{method}.yaml", settings)


@pytest.mark.parametrize("method, word", [("consistency", "clean view"), ("ema_teacher", "averaged teacher")])
def test_a_teacher_with_gradient_is_refused(root, method, word):
    with pytest.raises(UserError, match=rf"distill\.detach_teacher.*{word}"):
        training.load_conf(root / f"conf/train/{method}.yaml", ["train.distill.detach_teacher=false"])


# -- mutual, branch_distill --------------------------------------------------------------------------------------


def test_mutual_losses_by_hand():
    """Logits of probabilities (1/2, 1/2), (3/4, 1/4), (1/4, 3/4); KL sums p ln(p / q)."""
    logits = [torch.tensor([[p, 1 - p]]).log().requires_grad_() for p in (0.5, 0.75, 0.25)]
    found = mutual_losses(logits, MutualConf(1, 1, True))
    log = torch.log(torch.tensor([1.5, 0.5, 3.0]))
    to_first = 0.75 * log[0] + 0.25 * log[1]  # of either other
    to_second = (0.5 * (-log[0] - log[1]) + 0.5 * log[2]) / 2  # of the first and the third
    torch.testing.assert_close(torch.stack(found), torch.stack([to_first, to_second, to_second]))
    found[0].backward(retain_graph=True)
    assert logits[1].grad is None and logits[2].grad is None
    found[1].backward()
    torch.testing.assert_close(logits[1].grad, torch.tensor([[0.375, -0.375]]))  # own (3/4) less the others' mean (3/8)


def test_the_peer(root):
    """Of the same conf with other weights, or of another; it shares the normalisation that the training set is
    given."""
    x, labels = batch_of()
    method = make(root, "mutual")[0].eval()
    one, other = method.detector.state_dict(), method.peer.state_dict()
    assert list(one) == list(other) and not torch.equal(one["head.weight"], other["head.weight"])
    total, terms = method.losses(x, labels, 1)
    assert total.item() == pytest.approx(sum(terms.values()).item(), rel=1e-6)
    first, second = method.detector(x), method.peer(x)
    assert terms["soft"].item() == pytest.approx(soft_loss(first, second, 1, True).item(), rel=1e-5)
    assert terms["peer_soft"].item() == pytest.approx(soft_loss(second, first, 1, True).item(), rel=1e-5)

    conf = training.load_conf(root / "conf/train/mutual.yaml", ["train.mutual.peer=../model/senet18.yaml"])
    assert training.conf_from_dict(conf_files.to_dict(conf), "conf.yaml") == conf
    detector = nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml"), 1, normalised_bins=45)
    method = training.make_method(conf, detector)
    assert sum(p.numel() for p in method.peer.parameters()) == 706_224
    detector.normalisation.set(torch.full((45,), 2.0), torch.ones(45))
    assert method.peer.normalisation.mean.eq(2).all()
    with pytest.raises(UserError, match=r"mutual\.peer: .*senet19\.yaml: no such conf file; did you mean .*senet"):
        training.load_conf(root / "conf/train/mutual.yaml", ["train.mutual.peer=../model/senet19.yaml"])


def test_branches_teach_each_other(root):
    x, labels = batch_of(3)
    settings = ["train.branch_distill.weight=0.5", "train.branch_distill.hard_weight=0.25"]
    method, baseline = make(root, "branch_distill", settings)
    total, terms = method.eval().losses(x, labels, 1)
    expected = terms["hard"] + 0.25 * terms["branch_hard"] + 0.5 * terms["mutual"]
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert terms["hard"].item() == pytest.approx(baseline.eval().losses(x, labels, 1)[1]["hard"].item(), rel=1e-6)
    pooled = [maps[-1].mean((2, 3)) for maps in method.detector.backbone.branch_maps(x)]
    one, two = (head(e) for head, e in zip(method.branch_heads, pooled))
    both_ways = soft_loss(one, two, 3, True) + soft_loss(two, one, 3, True)
    assert terms["mutual"].item() == pytest.approx(both_ways.item(), rel=1e-5)


def test_a_network_without_branches_is_refused(root):
    detector = nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml"))
    with pytest.raises(UserError, match="branch_distill trains a network of several branches.*two_branch_ecanet9"):
        training.make_method(training.load_conf(root / "conf/train/branch_distill.yaml"), detector)


# -- resuming ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stacked_sets(root, set_maker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stacked")
    sets = (("train", 24, 1), ("dev", 12, 2))
    return {name: set_maker(folder, name, n, root, seed, frontend="stack_f0_imag_real") for name, n, seed in sets}


@pytest.mark.parametrize("name", ["consistency", "ema_teacher kept", "mutual", "branch_distill"])
def test_broken_off_and_resumed_ends_in_the_same_weights(root, made_up_sets, stacked_sets, tmp_path, monkeypatch, name):
    branches = name == "branch_distill"
    sets, frontend = (stacked_sets, "stack_f0_imag_real") if branches else (made_up_sets, "f0_subband")
    model = "two_branch_ecanet9" if branches else "ecanet9"

    def train(out):
        return in_process.call(
            train_program.main, "train.py", "--frontend", root / f"conf/frontend/{frontend}.yaml", "--model",
            root / f"conf/model/{model}.yaml", "--train-conf", root / f"conf/train/{name.split()[0]}.yaml",
            "--set=train.epochs=2", "--set=train.batch_size=16", "--set=train.schedule.lr=3e-3", "--num-threads=1",
            "--set=frontend.network_input.frames=48", *(f"--set={s}" for s in METHODS[name]),
            *sets["train"], *sets["dev"], out,
        )  # fmt: skip

    assert (done := train(tmp_path / "whole")).returncode == 0, done.stderr
    with monkeypatch.context() as patch:
        one_epoch = loop.Trainer._train_epoch

        def first_epoch_only(trainer, epoch, progress):
            if epoch > 1:
                raise UserError("broken off")
            return one_epoch(trainer, epoch, progress)

        patch.setattr(loop.Trainer, "_train_epoch", first_epoch_only)
        assert "broken off" in (done := train(tmp_path / "resumed")).stderr, done.stderr
    torch.manual_seed(99)
    assert "resuming after epoch 1" in train(tmp_path / "resumed").stdout
    kept = [torch.load(tmp_path / run / "final.pt", weights_only=True)["state"] for run in ("whole", "resumed")]
    assert kept[0].keys() == kept[1].keys() and all(torch.equal(kept[0][k], kept[1][k]) for k in kept[0])
    whole, resumed = ((tmp_path / run / "epochs.tsv").read_text() for run in ("whole", "resumed"))
    assert whole == resumed
    heads = (tmp_path / "whole/heads").read_text()
    assert heads == ("1 2 3 4\n" if name == "consistency" else "4\n")
