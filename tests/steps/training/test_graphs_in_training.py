"""train.graphs in training and scoring: weights and scores of ordinary passes. A recorder stands in for CUDA's."""

import pytest
import torch

from steps import score, train
from steps.nnet import graphs
from steps.training import loop
from tests.in_process import call
from tests.replaying import Recorder

METHODS = ("baseline", "self_distill", "mutual", "consistency", "ema_teacher")


@pytest.fixture
def recorder(monkeypatch):
    one = Recorder()
    monkeypatch.setattr(graphs, "record", one)
    return one


@pytest.fixture
def with_graphs(monkeypatch):
    return lambda: monkeypatch.setattr(graphs, "usable", lambda device: True)


def trained(root, sets, out, method, *options):
    """The weights after two epochs of batches of 16, 16, 16 and 2."""
    done = call(
        train.main, root / "steps/train.py", "--model", root / "conf/model/ecanet9.yaml",
        "--train-conf", root / f"conf/train/{method}.yaml", "--num-threads", 1,
        *(f"--set={one}" for one in ("train.epochs=2", "train.batch_size=16", "train.schedule.lr=3e-3",
                                     "frontend.network_input.frames=64", *options)),
        *sets["train"], *sets["dev"], out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return torch.load(out / "final.pt", weights_only=True)["state"], done.stdout


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    ("method", "amp"), [*((method, "none") for method in METHODS), ("baseline", "bf16"), ("self_distill", "bf16")]
)
def test_the_weights_are_those_of_ordinary_passes(root, made_up_sets, tmp_path, recorder, with_graphs, method, amp):
    plain, said = trained(root, made_up_sets, tmp_path / "plain", method, f"train.amp={amp}", "train.graphs=true")
    assert "train.graphs: left out, as no GPU is used\n" in said and not recorder.recorded
    with_graphs()
    graphed, said = trained(root, made_up_sets, tmp_path / "graphed", method, f"train.amp={amp}", "train.graphs=true")
    assert said.count("train.graphs: batches of another shape than 16 x 1 x 64 x 45 are computed without graphs") == 1
    assert recorder.backwards >= 2 * 3
    assert same(plain, graphed)


def test_a_resumed_training_ends_in_the_same_weights(root, made_up_sets, tmp_path, recorder, with_graphs, monkeypatch):
    with_graphs()
    at_once, _ = trained(root, made_up_sets, tmp_path / "at_once", "self_distill", "train.graphs=true")
    one_epoch = loop.Trainer._train_epoch

    def first_epoch_only(trainer, epoch, progress):
        if epoch > 1:
            raise KeyboardInterrupt
        return one_epoch(trainer, epoch, progress)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_train_epoch", first_epoch_only)
        with pytest.raises(AssertionError):
            trained(root, made_up_sets, tmp_path / "halves", "self_distill", "train.graphs=true")
    assert not (tmp_path / "halves/final.pt").exists()
    resumed, _ = trained(root, made_up_sets, tmp_path / "halves", "self_distill", "train.graphs=true")
    assert same(at_once, resumed)


def test_scoring_takes_the_key_from_the_training(root, made_up_sets, tmp_path, recorder, with_graphs):
    trained(root, made_up_sets, tmp_path / "seed1", "self_distill", "train.graphs=true")
    data, feats = made_up_sets["dev"]

    def scores():
        done = call(score.main, "score.py", "--data-dir", data.parent, "--feats-dir", feats.parent,
                    "--batch-size", 8, "--exit", 2, "--exit", 4, tmp_path / "seed1", "dev")  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [(tmp_path / f"seed1/scores/{name}.txt").read_text() for name in ("dev_head2", "dev")]

    plain = scores()
    with_graphs()
    assert scores() == plain
    assert recorder.recorded == [(8, 1, 64, 45)] and len(recorder.replays) == 2  # of 8, 8 and 5 trials
