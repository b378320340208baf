"""AM-softmax, OC-softmax and class weights against numbers worked out by hand, and how their detectors are read."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional as F

from steps import nnet, train, training
from steps.experiment import training_folder
from steps.nnet.base import AngleLinear, HeadConf, score_of
from steps.training.losses import ClassWeightsConf, HardLoss, MixedLabels, OcSoftmaxConf
from tests.in_process import call
from utils import conf as conf_files
from utils.cli import UserError

LOSSES = ("a_softmax", "cross_entropy", "am_softmax", "oc_softmax")


@pytest.fixture(scope="module")
def hard(root):
    return training.load_conf(root / "conf/train/baseline.yaml").hard_loss


def head_of(conf, weight):
    head = AngleLinear(weight.shape[1], conf=conf.head)
    head.weight.data = weight.clone()
    return head


# Class weights along the axes, not of unit length; |x| = 5: cos to bona fide 0.6, to spoof 0.8; and |x| = 2: 1 and 0.
WEIGHT = torch.tensor([[0.0, 3.0], [2.0, 0.0]])  # spoof, bona fide
X = torch.tensor([[3.0, 4.0], [2.0, 0.0]])


def test_am_softmax_by_hand(hard):
    conf = dataclasses.replace(hard, name="am_softmax")  # s 20, m 0.9
    logits = head_of(conf, WEIGHT)(X)
    torch.testing.assert_close(logits, torch.tensor([[16.0, 12.0], [0.0, 20.0]]))
    # bona fide: own 20 (0.6 - 0.9) = -6 against 16: log(1 + e^22); spoof: own 20 (0 - 0.9) = -18 against 20: log(1 +
    # e^38)
    assert HardLoss(conf)(logits[:1], X[:1], torch.tensor([1]), 1).item() == pytest.approx(22, rel=1e-6)
    assert HardLoss(conf)(logits[1:], X[1:], torch.tensor([0]), 1).item() == pytest.approx(38, rel=1e-6)
    # spoof: own 20 (0.8 - 0.9) = -2 against 12; bona fide: own 20 (1 - 0.9) = 2 against 0
    both = HardLoss(conf)(logits, X, torch.tensor([0, 1]), 1).item()
    assert both == pytest.approx((math.log1p(math.exp(14)) + math.log1p(math.exp(-2))) / 2, rel=1e-6)
    torch.testing.assert_close(score_of(logits), torch.tensor([20 * (0.6 - 0.8), 20.0]))


def test_oc_softmax_by_hand(hard):
    conf = dataclasses.replace(hard, name="oc_softmax")  # alpha 20, m_real 0.9, m_fake 0.2
    logits = head_of(conf, WEIGHT)(X)
    loss = HardLoss(conf)
    for i, (label, expected) in enumerate([(1, 20 * (0.9 - 0.6)), (1, 20 * (0.9 - 1.0))]):
        made = loss(logits[i : i + 1], X[i : i + 1], torch.tensor([label]), 1).item()
        assert made == pytest.approx(math.log1p(math.exp(expected)), rel=1e-5)
    for i, expected in enumerate([20 * (0.6 - 0.2), 20 * (1.0 - 0.2)]):
        made = loss(logits[i : i + 1], X[i : i + 1], torch.tensor([0]), 1).item()
        assert made == pytest.approx(math.log1p(math.exp(expected)), rel=1e-5)
    torch.testing.assert_close(score_of(logits), 20 * (torch.tensor([0.6, 1.0]) - 0.55))


def test_the_spoof_weight_of_a_one_class_head_has_no_say(hard):
    conf = dataclasses.replace(hard, name="oc_softmax")
    head = head_of(conf, WEIGHT)
    HardLoss(conf)(head(X), X, torch.tensor([0, 1]), 1).backward()
    assert head.weight.grad[0].abs().sum() == 0 and head.weight.grad[1].abs().sum() > 0
    assert torch.equal(head_of(conf, WEIGHT * torch.tensor([[-1.0], [1.0]]))(X), head(X))


@pytest.mark.parametrize("name", ["am_softmax", "oc_softmax"])
def test_only_the_direction_of_an_embedding_counts(hard, name):
    head = head_of(dataclasses.replace(hard, name=name), WEIGHT)
    torch.testing.assert_close(head(X * 1000), head(X))
    torch.testing.assert_close(head(X / 1000), head(X))


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_also_of_no_and_of_tiny_embeddings(hard, name):
    conf = dataclasses.replace(hard, name=name, class_weights=ClassWeightsConf("fixed"))
    head = head_of(conf, WEIGHT)
    x = torch.tensor([[0.0, 0.0], [1e-20, 0.0], [1e-3, 0.0], [0.0, -1e4], [1.0, 0.0]], requires_grad=True)
    loss = HardLoss(conf)(head(x), x, torch.tensor([0, 1, 1, 0, 0]), 10**5)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(head.weight.grad).all()
    assert torch.isfinite(x.grad).all() and x.grad.abs().max() < 1e5


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_the_losss_slope(hard, name):
    """Of head and loss together, by central differences."""
    torch.manual_seed(0)
    conf = dataclasses.replace(hard, name=name, class_weights=ClassWeightsConf("fixed"))
    labels = torch.tensor([0, 1, 1, 0])
    head = head_of(conf, torch.randn(2, 3))
    x = torch.randn(4, 3, requires_grad=True)

    def loss(x):
        return HardLoss(conf)(head(x), x, labels, 1)

    loss(x).backward()
    direction = torch.randn(4, 3)
    step = 1e-2 * direction
    with torch.no_grad():
        slope = (loss(x + step) - loss(x - step)).item() / 2e-2
    assert (x.grad * direction).sum().item() == pytest.approx(slope, rel=2e-2)


@pytest.mark.parametrize("name", LOSSES)
def test_float32_under_autocast(hard, name):
    torch.manual_seed(0)
    conf = dataclasses.replace(hard, name=name, class_weights=ClassWeightsConf("fixed"))
    x, labels = torch.randn(8, 16).bfloat16() * 30, torch.randint(0, 2, (8,))
    head = head_of(conf, torch.randn(2, 16))
    plain = HardLoss(conf)(head(x), x, labels, 1)
    with torch.autocast("cpu", torch.bfloat16):
        made = HardLoss(conf)(head(x), x, labels, 1)
    assert made.dtype == torch.float32 and made.item() == plain.item()


def test_weighted_cross_entropy_by_hand(hard):
    conf = dataclasses.replace(hard, name="cross_entropy", class_weights=ClassWeightsConf("fixed", 1.0, 9.0))
    logits, labels = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1, 0])
    each = [math.log1p(math.exp(-2)), math.log1p(math.exp(2)), math.log1p(math.exp(1))]
    loss = HardLoss(conf)
    assert loss(logits, logits, labels, 1).item() == pytest.approx((each[0] + 9 * each[1] + each[2]) / 11, rel=1e-6)
    assert loss.total_weight(labels) == 11
    # over batches of one class each, the mean by total_weight is the whole's
    parts = [(logits[labels == label], labels[labels == label]) for label in (0, 1)]
    mean = sum(loss(f, f, y, 1).item() * loss.total_weight(y) for f, y in parts) / 11
    assert mean == pytest.approx(loss(logits, logits, labels, 1).item(), rel=1e-6)
    mixed = loss(logits, logits, MixedLabels(labels, 1 - labels, 0.3), 1)
    assert mixed.item() == pytest.approx(
        0.3 * loss(logits, logits, labels, 1).item() + 0.7 * loss(logits, logits, 1 - labels, 1).item(), rel=1e-6
    )


def test_balanced_weights_come_from_the_counts(hard):
    conf = dataclasses.replace(hard, name="cross_entropy", class_weights=ClassWeightsConf("balanced"))
    loss, torch_logits = HardLoss(conf), torch.tensor([[2.0, 0.0], [2.0, 0.0]])
    loss.count_classes(np.array([0] * 9 + [1]))
    labels = torch.tensor([0, 1])
    assert loss.total_weight(labels) == pytest.approx(10 / 18 + 10 / 2)
    expected = F.cross_entropy(torch_logits, labels, weight=torch.tensor([1.0, 9.0])).item()
    assert loss(torch_logits, torch_logits, labels, 1).item() == pytest.approx(expected, rel=1e-6)


def test_a_conf_from_before_these_keys_says_the_same(root):
    """Defaults are what baseline.yaml and self_distill_paper.yaml have."""
    for method in ("baseline", "self_distill_paper"):
        conf = training.load_conf(root / f"conf/train/{method}.yaml")
        old = conf_files.to_dict(conf)
        for key in ("am_softmax", "oc_softmax", "class_weights"):
            del old["hard_loss"][key]
        if method == "self_distill_paper":
            del old["distill"]["weighting"]
        assert training.conf_from_dict(old, "old") == conf


@pytest.mark.parametrize(
    "setting, message",
    [
        ("oc_softmax.m_fake=0.95", "m_fake (0.95) <= m_real (0.9)"),
        ("oc_softmax.alpha=0", "alpha: 0.0 is not positive"),
        ("am_softmax.scale=-1", "scale: -1.0 is not positive"),
        ("am_softmax.margin=-0.1", "margin: -0.1 is negative"),
        ("class_weights.bonafide=0", "bonafide: 0.0 is not positive"),
        ("class_weights.mode=balance", "did you mean 'balanced'"),
    ],
)
def test_senseless_values_are_refused_by_name(root, setting, message):
    with pytest.raises(UserError) as error:
        training.load_conf(root / "conf/train/baseline.yaml", [f"train.hard_loss.{setting}"])
    assert message in str(error.value) and setting.partition("=")[0].split(".")[0] in str(error.value)


def make(root, conf, loss=None):
    parts = training.Parts(loss and root / f"conf/loss/{loss}.yaml")
    train_conf = training.load_conf(root / f"conf/train/{conf}.yaml", parts=parts)
    torch.manual_seed(3)
    detector = nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml"), head=train_conf.hard_loss.head)
    return training.make_method(train_conf, detector)


def test_a_head_built_for_another_loss_is_refused(root):
    conf = training.load_conf(
        root / "conf/train/baseline.yaml", parts=training.Parts(root / "conf/loss/am_softmax.yaml")
    )
    with pytest.raises(ValueError, match=r"am_softmax needs HeadConf\(logits='cosine'"):
        training.make_method(conf, nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml")))


def test_the_detector_and_all_students_are_read_as_the_loss_wants(root):
    plain, one_class = make(root, "baseline"), make(root, "self_distill", "oc_softmax")
    ours = one_class.detector.state_dict()
    assert {k: v.shape for k, v in plain.detector.state_dict().items()} == {k: v.shape for k, v in ours.items()}
    wanted = HeadConf("one_class", 20.0, OcSoftmaxConf().m_real / 2 + OcSoftmaxConf().m_fake / 2)
    assert all(h.conf == wanted for h in [one_class.detector.head, *one_class.student_heads])
    assert plain.detector.head.conf == HeadConf()


@pytest.mark.parametrize(
    "conf, loss, weights", [("baseline", "am_softmax", "fixed"), ("self_distill", "oc_softmax", "none")]
)
def test_trained_kept_and_scored(root, made_up_sets, tmp_path, conf, loss, weights):
    """The dev EER that training measured is that of the detector in final.pt, and so is the dev loss."""
    (train_data, train_feats), (dev_data, dev_feats) = made_up_sets["train"], made_up_sets["dev"]
    out = tmp_path / "seed1"
    done = call(
        train.main, "train.py", "--model", root / "conf/model/ecanet9.yaml", "--num-threads=1",
        "--train-conf", root / f"conf/train/{conf}.yaml", "--loss", root / f"conf/loss/{loss}.yaml", "--set=train.epochs=2", "--set=train.batch_size=16",
        "--set=train.schedule.lr=3e-3", "--set=train.select_by=last_epoch", f"--set=train.hard_loss.class_weights.mode={weights}",
        "--set=frontend.network_input.frames=64",
        train_data, train_feats, dev_data, dev_feats, out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    device = torch.device("cpu")
    detector, frontend_conf = training_folder.load_detector(out / "final.pt", device)
    method = training_folder.load_method(out, device)
    assert detector.head.conf == method.detector.head.conf == method.conf.hard_loss.head
    frontend = training_folder.frontends.make_frontend(frontend_conf)
    from steps.data.batches import FeatureSet
    from steps.data.sources import DumpedFeatures

    dev = FeatureSet(dev_data, DumpedFeatures(dev_feats), frontend, cache_mib=100)
    ((x, labels, _),) = dev.batches([np.arange(len(dev))], device, 0)
    with torch.inference_mode():
        embedding = detector.embed(x)
        logits = detector.head(embedding)
        loss = method.hard_loss(logits, embedding, labels, 8)
        assert torch.equal(method.head_logits(x)[-1], logits)
    names, *rows = [line.split("\t") for line in (out / "epochs.tsv").read_text().splitlines()]
    last = dict(zip(names, map(float, rows[-1])))
    assert loss.item() == pytest.approx(last["dev_loss"], rel=1e-5)
    scores, bonafide = score_of(logits).numpy(), labels.numpy() == 1
    assert 100 * train.eer(scores[bonafide], scores[~bonafide]) == pytest.approx(last["dev_eer"], abs=1e-9)


def test_older_detectors_and_trainings_are_still_read(root, made_up_sets, tmp_path):
    """final.pt of format 1 has no `head`; conf.yaml of then lacks the newer keys, and its training goes on."""
    (train_data, train_feats), (dev_data, dev_feats) = made_up_sets["train"], made_up_sets["dev"]
    out = tmp_path / "seed1"
    argv = [
        "train.py", "--model", root / "conf/model/ecanet9.yaml", "--train-conf", root / "conf/train/self_distill_paper.yaml",
        "--num-threads=1", "--set=train.epochs=1", "--set=train.batch_size=16", "--set=frontend.network_input.frames=64",
        train_data, train_feats, dev_data, dev_feats, out,
    ]  # fmt: skip
    assert call(train.main, *argv).returncode == 0
    conf = yaml.safe_load((out / "conf.yaml").read_text())
    for key in ("am_softmax", "oc_softmax", "class_weights"):
        del conf["train"]["hard_loss"][key]
    del conf["train"]["distill"]["weighting"]
    (out / "conf.yaml").write_text(yaml.safe_dump(conf))
    kept = torch.load(out / "final.pt", weights_only=True)
    head = kept.pop("head")
    assert head == conf_files.to_dict(HeadConf())
    torch.save(kept | {"format": 1}, out / "final.pt")
    assert training_folder.load_detector(out / "final.pt", torch.device("cpu"))[0].head.conf == HeadConf()
    assert len(training_folder.load_method(out, torch.device("cpu")).trained_heads) == 4
    done = call(train.main, *argv)
    assert done.returncode == 0 and "nothing to do" in done.stdout, done.stderr
    done = call(train.main, *argv[:-5], "--set=train.distill.weighting.name=dwa", *argv[-5:])
    assert done.returncode == 1 and "train.distill.weighting.name: fixed -> dwa" in done.stderr
    torch.save(kept | {"format": 3}, out / "final.pt")
    with pytest.raises(UserError, match="format 3, expected 1 or 2"):
        training_folder.load_detector(out / "final.pt", torch.device("cpu"))
