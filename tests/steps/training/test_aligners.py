"""Aligners: both sides of the comparison, and the choice among several, worked by hand and in a whole training."""

import pytest
import torch
import yaml

from steps import nnet, train, training
from steps.experiment import training_folder
from steps.training.aligner_search import SearchConf, SearchedAligner
from steps.training.aligners import AdaptivePoolConf, LinearAligner, aligner_makers
from steps.training.base import MethodBase
from steps.training.loop import Trainer
from tests.in_process import call
from tests.tiny_encoders import encoder_conf, save_encoder
from utils.cli import UserError
from utils.conf import read_yaml
from utils.files import read_json

MAKERS = aligner_makers(AdaptivePoolConf(3, 2))


def searched(settled_share=0.25, **search):
    torch.manual_seed(1)
    return SearchedAligner((4, 6, 1), SearchConf(settled_share=settled_share, **search), MAKERS).eval()


def test_an_adaptive_pool_by_hand():
    aligner = aligner_makers(AdaptivePoolConf(frames=2, bins=1))["adaptive_pool"](1, 2, 1)
    with torch.no_grad():
        aligner.project.weight.copy_(torch.tensor([1.0, -2.0])[:, None, None, None])
        aligner.project.bias.copy_(torch.tensor([0.0, 1.0]))
    student = torch.tensor([[1.0, 3.0], [1.0, 3.0], [5.0, 5.0], [5.0, 5.0]])[None, None]  # to 2, 5
    teacher = torch.tensor([[[2.0], [4.0]], [[0.0], [0.0]]])[None]
    aligned = aligner(student)
    assert aligned.flatten().tolist() == [2, 5, -3, -9]
    assert aligner.embedding(aligned).tolist() == [[3.5, -6]]
    apart = [0.0, 1.0, 9.0, 81.0]
    assert aligner.distance(aligned, teacher, "sum").item() == sum(apart)
    assert aligner.distance(aligned, teacher, "mean").item() == sum(apart) / 4


class LoudestPlaces(LinearAligner):
    def teacher_side(self, teacher_map):
        return teacher_map.amax((2, 3))


class Directions(LinearAligner):
    def distance(self, aligned, teacher_map, reduction):
        return 1 - torch.cosine_similarity(aligned, self.teacher_side(teacher_map)).mean()


@pytest.mark.parametrize("kind", [LoudestPlaces, Directions])
def test_an_aligner_of_ones_own_is_asked(root, kind):
    x, labels = torch.randn(4, 1, 96, 45), torch.tensor([0, 1, 1, 0])
    detector = nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml"))
    method = training.make_method(training.load_conf(root / "conf/train/self_distill.yaml"), detector).eval()
    plain = method.losses(x, labels, 1)[1]["feature"]
    for aligner in method.aligners:
        aligner.__class__ = kind
    maps, aligned, *_ = method.kept.heads(x)
    expected = sum(aligner.distance(a, maps[-1], "mean") for aligner, a in zip(method.aligners, aligned))
    found = method.losses(x, labels, 1)[1]["feature"]
    torch.testing.assert_close(found, expected.detach())
    assert not torch.allclose(found, plain, rtol=1e-2)


def test_every_aligner_with_every_network(root, tmp_path):
    """Also where blocks teach one another, and all at once with attention transfer; the gradient is finite."""
    labels = torch.tensor([0, 1])
    encoder = save_encoder(tmp_path / "encoder", "whisper")
    seen = set()
    for path in sorted((root / "conf/model").glob("*.yaml")):
        is_encoder = read_yaml(path)["type"] == "encoder"
        conf = encoder_conf(encoder, path.stem) if is_encoder else nnet.load_conf(path)
        detector = nnet.make_detector(conf, 1 if is_encoder else 3)  # as many channels as any network reads
        if (kind := (conf.type, detector.backbone.stage_channels)) in seen:
            continue  # to an aligner they are alike
        seen.add(kind)
        bins = detector.backbone.input_bins
        x = torch.randn(2, *((1, 4800) if bins == 1 else (3, 64)), bins or 45)
        channels = detector.backbone.stage_channels
        for teaching, widths in (("deepest", channels[3:] * 3), ("chain", channels[1:])):
            settings = [f"train.distill.teaching={teaching}", "train.distill.attention.weight=1"]
            conf = training.load_conf(root / "conf/train/self_distill_searched.yaml", settings)
            method = training.make_method(conf, detector)
            heads = method.kept.heads(x)
            assert [tuple(e.shape) for e in heads.embeddings[:-1]] == [(2, width) for width in widths]
            for width, (linear, bottleneck, pooled) in zip(widths, heads.aligned):
                assert linear.shape == bottleneck.shape == (2, width) and pooled.shape == (2, width, 8, 2)
        total, _ = method.losses(x, labels, 1)
        total.backward()
        assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None), path.name


def test_the_temperature_falls_and_one_is_left():
    aligner = searched(temperature_start=1.0, temperature_end=0.01)
    with torch.no_grad():
        aligner.strengths.copy_(torch.tensor([0.0, 0.2, 0.1]))
    seen = []
    for epoch in range(1, 5):  # the last of four is settled
        aligner.begin_epoch(epoch, 4)
        seen.append((aligner.temperature, aligner.chosen))
    assert [t for t, _ in seen] == pytest.approx([1, 0.1, 0.01, 0.01])
    assert [c for _, c in seen] == [None, None, None, 1]
    assert [float(s) for s in aligner.shares().values()] == [0, 1, 0]
    aligner.begin_epoch(2, 4)
    e = torch.tensor([0.0, 2.0, 1.0]).exp()
    assert [float(s) for s in aligner.shares().values()] == pytest.approx((e / e.sum()).tolist())
    assert SearchConf().searching_epochs(32) == 24 and SearchConf().searching_epochs(2) == 1
    assert SearchConf().searching_epochs(1) == 1 and SearchConf(settled_share=0).searching_epochs(5) == 5


def test_the_strengths_learn_by_the_head_alone():
    """Embedding and loss are the weighted sums; the feature loss leaves the strengths be, and trains each candidate."""
    aligner = searched()
    student, teacher = torch.randn(3, 4, 8, 6), torch.randn(3, 6, 4, 3)
    with torch.no_grad():
        aligner.strengths.copy_(torch.tensor([2.0, 1.0, 3.0]).log())
    weights = [1 / 3, 1 / 6, 1 / 2]
    aligned, own = aligner(student), list(aligner.candidates.values())
    embedding = sum(w * c.embedding(c(student)) for w, c in zip(weights, own))
    torch.testing.assert_close(aligner.embedding(aligned), embedding)
    distance = sum(w * c.distance(c(student), teacher, "mean") for w, c in zip(weights, own))
    found = aligner.distance(aligned, teacher, "mean")
    torch.testing.assert_close(found, distance)
    found.backward(retain_graph=True)
    assert aligner.strengths.grad is None
    assert all(p.grad is not None for c in own for p in c.parameters())
    aligner.embedding(aligned).square().sum().backward()
    assert aligner.strengths.grad.abs().min() > 0


def test_a_chosen_one_works_as_if_alone():
    aligner = searched()
    with torch.no_grad():
        aligner.strengths[2] = 1
    aligner.begin_epoch(4, 4)
    student, teacher = torch.randn(3, 4, 8, 6), torch.randn(3, 6, 4, 3)
    aligned, alone = aligner(student), aligner.candidates["adaptive_pool"]
    assert torch.equal(aligner.embedding(aligned), alone.embedding(alone(student)))
    loss = aligner.distance(aligned, teacher, "sum")
    assert torch.equal(loss, alone.distance(alone(student), teacher, "sum"))
    (loss + aligner.embedding(aligned).sum()).backward()
    assert {n.split(".")[1] for n, p in aligner.named_parameters() if p.grad is not None} == {"adaptive_pool"}


def test_a_search_fits_the_time_in_which_its_student_is_taught(root):
    settings = ["train.epochs=12", "train.distill.teaching=progressive"]
    conf = training.load_conf(root / "conf/train/self_distill_searched.yaml", settings)
    method = training.make_method(conf, nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml")))
    found = []
    for epoch in range(1, 13):
        method.begin_epoch(epoch, 12)
        found.append([None if a.chosen is not None else round(a.temperature, 2) for a in method.aligners])
    # block 1 is taught from epoch 9 to 12, block 3 from 1 to 12
    assert [row[0] for row in found] == [1.0] * 9 + [0.32, 0.1, None]
    assert [row[2] for row in found][-4:] == [0.1, None, None, None]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("alpha=1", "no soft loss, by which searched aligners are chosen"),
        ("search.candidates=[linear]", "two or more different"),
        ("search.candidates=[linear, liner]", "did you mean 'linear'"),
        ("search.temperature_end=2", "at most temperature_start"),
        ("search.settled_share=1", "below 1"),
        ("adaptive_pool.bins=0", "not positive"),
    ],
)
def test_what_is_refused(root, setting, message):
    with pytest.raises(UserError, match=message):
        training.load_conf(root / "conf/train/self_distill_searched.yaml", [f"train.distill.{setting}"])


def trained(root, sets, out, conf, *settings):
    (train_data, train_feats), (dev_data, dev_feats) = sets["train"], sets["dev"]
    settings = ("train.batch_size=16", "train.schedule.lr=3e-3", "frontend.network_input.frames=64", *settings)
    return call(train.main, "train.py", "--model", root / "conf/model/ecanet9.yaml", "--num-threads", "1",
                "--train-conf", root / f"conf/train/{conf}.yaml", *(f"--set={s}" for s in settings),
                train_data, train_feats, dev_data, dev_feats, out)  # fmt: skip


def test_all_together_resumes_bit_for_bit_and_reports_its_choice(root, made_up_sets, tmp_path, monkeypatch):
    everything = ("self_distill_searched", "train.epochs=4", "train.distill.teaching=progressive",
                  "train.distill.progressive.begins=[0, 0.25, 0.5]", "train.distill.search.settled_share=0.5",
                  "train.distill.attention.weight=1", "train.select_by=last_epoch")  # fmt: skip
    whole = trained(root, made_up_sets, tmp_path / "whole", *everything)
    assert whole.returncode == 0, whole.stderr

    class BrokenOff(Exception):
        pass

    train_epoch = Trainer._train_epoch

    def break_off(self, epoch, progress):
        if epoch == 3:  # in which block 1 begins to be taught, and block 3's aligner works alone
            raise BrokenOff
        return train_epoch(self, epoch, progress)

    monkeypatch.setattr(Trainer, "_train_epoch", break_off)
    with pytest.raises(BrokenOff):
        trained(root, made_up_sets, tmp_path / "broken", *everything)
    monkeypatch.undo()
    assert trained(root, made_up_sets, tmp_path / "broken", *everything).returncode == 0
    states = [torch.load(tmp_path / name / "final.pt", weights_only=True)["state"] for name in ("whole", "broken")]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert set(states[0]) == set(nnet.make_detector(nnet.load_conf(root / "conf/model/ecanet9.yaml")).state_dict())
    tables = [(tmp_path / name / "epochs.tsv").read_text() for name in ("whole", "broken")]
    assert tables[0] == tables[1]
    header, *rows = (line.split("\t") for line in tables[0].splitlines())
    shares = [dict(zip(header, row)) for row in rows]
    assert [float(s["train_share1_linear"]) for s in shares[:2]] == pytest.approx([1 / 3] * 2)
    last = {name: float(shares[-1][f"train_share3_{name}"]) for name in SearchConf().candidates}
    choices = read_json(tmp_path / "whole/choices.json")
    assert choices == read_json(tmp_path / "broken/choices.json")
    chosen = choices["aligner of block 3"]["chosen"]
    assert last == {name: float(name == chosen) for name in last}
    assert f"aligner of block 3: {chosen} (linear 0." in whole.stdout
    # the heads are scored by the aligner that was chosen
    method = training_folder.load_method(tmp_path / "whole", torch.device("cpu"))
    assert [SearchConf().candidates[a.chosen] for a in method.aligners] == [
        choices[f"aligner of block {block}"]["chosen"] for block in (1, 2, 3)
    ]
    assert [f.shape for f in method.head_logits(torch.randn(2, 1, 64, 45))] == [(2, 2)] * 4


def test_a_training_of_before_the_keys_is_still_read(root, made_up_sets, tmp_path):
    out = tmp_path / "old"
    assert trained(root, made_up_sets, out, "self_distill", "train.epochs=1").returncode == 0
    assert not (out / "choices.json").exists()
    conf = yaml.safe_load((out / "conf.yaml").read_text())
    for key in ("teaching", "progressive", "attention", "adaptive_pool", "search"):
        del conf["train"]["distill"][key]
    (out / "conf.yaml").write_text(yaml.safe_dump(conf))
    again = trained(root, made_up_sets, out, "self_distill", "train.epochs=1")
    assert again.returncode == 0 and "nothing to do" in again.stdout
    assert isinstance(training_folder.load_method(out, torch.device("cpu")), MethodBase)
    changed = trained(root, made_up_sets, out, "self_distill_chain", "train.epochs=1")
    assert changed.returncode == 1 and "train.distill.teaching: deepest -> chain" in changed.stderr
    kept = torch.load(out / "checkpoints/best.pt", weights_only=True)["method"]
    auxiliary = {name for name in kept if not name.startswith("detector.")}
    assert auxiliary == {f"aligners.{i}.project.{n}" for i in range(3) for n in ("weight", "bias")} | {
        f"student_heads.{i}.weight" for i in range(3)
    } | {"weighting.competence", "weighting.taught"}
