"""steps/adopt_training.py: links to a training, for recipes that only evaluate."""

from __future__ import annotations

from pathlib import Path

import pytest

from steps import adopt_training
from steps import frontend as frontends
from tests.in_process import call
from utils.conf import to_dict, write_yaml

ROOT = Path(__file__).resolve().parents[2]


def make_training(folder: Path, frontend: str = "f0_subband", **changes) -> Path:
    conf = frontends.load_conf(ROOT / f"conf/frontend/{frontend}.yaml")
    folder.mkdir(parents=True)
    write_yaml(folder / "conf.yaml", {"frontend_name": frontend, "frontend": {**to_dict(conf), **changes}})
    (folder / "final.pt").write_text("weights")
    return folder


def adopt(training: Path, exp: Path):
    return call(adopt_training.main, "adopt_training.py", training, exp)


def test_links_and_the_conf_of_the_front_end(tmp_path):
    training = make_training(tmp_path / "la/exp/train_a/seed2")
    for _ in range(2):
        done = adopt(training, tmp_path / "exp")
        assert done.returncode == 0, done.stderr
        experiment, seed, conf = done.stdout.split()
    assert Path(experiment) == tmp_path / "exp/train_a" and seed == "2"
    assert (tmp_path / "exp/train_a/seed2/final.pt").resolve() == training / "final.pt"
    assert frontends.load_conf(conf) == frontends.load_conf(ROOT / "conf/frontend/f0_subband.yaml")


def test_front_ends_of_one_name_that_differ_get_files_of_their_own(tmp_path):
    confs = []
    for name, changes in (("a", {}), ("b", {"hop_length": 131})):
        done = adopt(make_training(tmp_path / f"la/{name}/seed1", **changes), tmp_path / "exp")
        confs.append(Path(done.stdout.split()[2]).name)
    assert confs == ["f0_subband.yaml", "f0_subband_2.yaml"]


@pytest.mark.parametrize("name", ["seed1", "model"])
def test_what_is_no_training_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    done = adopt(tmp_path / name, tmp_path / "exp")
    assert done.returncode == 1 and "no finished training; give folders seed<N>" in done.stderr


def test_two_trainings_of_one_name_are_refused(tmp_path):
    assert adopt(make_training(tmp_path / "one/train_a/seed1"), tmp_path / "exp").returncode == 0
    done = adopt(make_training(tmp_path / "two/train_a/seed1"), tmp_path / "exp")
    assert done.returncode == 1 and "of the same name" in done.stderr and "--exp-dir" in done.stderr
