"""Every conf that comes with the toolkit loads and says of each key what it means; values that cannot work are
refused."""

import re
from pathlib import Path

import pytest
import yaml

from steps import augment, frontend, nnet, training
from steps.tuning import space
from utils import conf as conf_files
from utils.cli import UserError

ROOT = Path(__file__).resolve().parents[1]
LOADERS = {
    "frontend": frontend.load_conf,
    "augment": augment.load_conf,
    "model": nnet.load_conf,
    "train": training.load_conf,
}
SWEEPS = sorted((ROOT / "conf/sweep").glob("*.yaml"))
CONFS = [path for room in LOADERS for path in sorted((ROOT / "conf" / room).glob("*.yaml"))]
PARTS = [path for room in ("schedule", "loss") for path in sorted((ROOT / "conf" / room).glob("*.yaml"))]


def name(path):
    return f"{path.parent.name}/{path.name}"


@pytest.mark.parametrize("path", CONFS, ids=name)
def test_loads(path, encoder_for_confs):
    LOADERS[path.parent.name](path, encoder_for_confs(path))


@pytest.mark.parametrize("path", PARTS, ids=name)
@pytest.mark.parametrize("method", ["baseline", "self_distill"])
def test_a_schedule_or_loss_is_all_that_it_changes(method, path):
    """The methods' own parts are the paper's; equal budgets of compared trainings follow."""
    method = ROOT / "conf/train" / f"{method}.yaml"
    own = conf_files.to_dict(training.load_conf(method))
    changed = conf_files.to_dict(training.load_conf(method, parts=training.Parts(**{path.parent.name: path})))
    may = training.SCHEDULE_KEYS if path.parent.name == "schedule" else ("hard_loss",)
    assert {key for key in own if own[key] != changed[key]} <= set(may)
    assert (own == changed) == (path.stem in ("paper", "a_softmax"))


@pytest.mark.parametrize("path", SWEEPS, ids=name)
def test_a_sweep_loads(path):
    assert space.load_conf(path).parameters


@pytest.mark.parametrize("path", [*CONFS, *PARTS, *SWEEPS], ids=name)
def test_every_value_has_a_comment(path):
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# "), "a conf begins by saying what it is"
    if path.stem == "debug":
        return
    for line in lines:
        key = re.match(r"[\s-]*(\w+): *([^#]*)", line)
        if key and key[1] != "base" and key[2].strip():
            assert "#" in line, f"{name(path)}: {key[1]} has no comment"


@pytest.mark.parametrize("room", LOADERS)
def test_a_misspelt_key_is_named_with_file_line_and_the_nearest(room, tmp_path):
    path = next(p for p in CONFS if p.parent.name == room and (p.stem == "baseline" or "base:" not in p.read_text()))
    values = yaml.safe_load(path.read_text())
    last = [key for key in values if key not in ("type", "method", "base")][-1]
    copy = tmp_path / "x.yaml"
    text = re.sub(rf"^{last}:", f"{last}x:", path.read_text(), flags=re.M)
    copy.write_text(text.replace("../", f"{ROOT}/conf/"))
    with pytest.raises(UserError, match=rf"x\.yaml: line \d+: unknown key '{last}x'; did you mean '{last}'"):
        LOADERS[room](copy)


WRONG_KINDS = {
    "frontend": ("type: log_spectrun\n", "log_spectrum"),
    "augment": ("steps:\n- type: reverbb\n", "reverb"),
    "model": ("type: resnett\n", "resnet"),
    "train": ("method: self_distil\n", "self_distill"),
}


@pytest.mark.parametrize("room", LOADERS)
def test_an_unknown_kind_names_the_nearest(room, tmp_path):
    path = tmp_path / "x.yaml"
    text, nearest = WRONG_KINDS[room]
    path.write_text(text)
    with pytest.raises(UserError, match=rf"x\.yaml.*did you mean '{nearest}'"):
        LOADERS[room](path)


@pytest.mark.parametrize(
    ("room", "name", "setting", "instead"),
    [
        ("train", "self_distill", "train.method=baseline", "conf/train/baseline.yaml"),
        ("train", "baseline", "train.method=self_distill", "conf/train/self_distill"),
        ("frontend", "f0_subband", "frontend.type=cqcc", "conf/frontend/cqcc.yaml"),
        ("model", "senet34", "model.type=efficientnet", "conf/model/efficientnet"),
    ],
)
def test_a_setting_of_another_kind_is_refused(room, name, setting, instead):
    """Its keys would not go with the conf's others, and the training's name would say what it is not."""
    path = ROOT / "conf" / room / f"{name}.yaml"
    LOADERS[room](
        path, [f"{setting.partition('=')[0]}={yaml.safe_load(path.read_text()).get('type', name.split('_m')[0])}"]
    )
    with pytest.raises(UserError, match=rf"--set {setting}: .*{name}\.yaml has .*; choose a conf of .*{instead}"):
        LOADERS[room](path, [setting])
    with pytest.raises(
        UserError, match=rf"--set {setting}x: \w+: '.*' is no .*; did you mean '{setting.partition('=')[2]}'"
    ):
        LOADERS[room](path, [f"{setting}x"])


def test_a_setting_of_another_section_is_left_alone_and_an_unknown_section_refused():
    conf = training.load_conf(ROOT / "conf/train/baseline.yaml", ["train.epochs=3", "model.depth=18"])
    assert conf.epochs == 3
    with pytest.raises(UserError, match="did you mean 'train'"):
        training.load_conf(ROOT / "conf/train/baseline.yaml", ["trian.epochs=3"])
    with pytest.raises(UserError, match="section.key=value"):
        training.load_conf(ROOT / "conf/train/baseline.yaml", ["epochs 3"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("schedule.lr=0", "schedule.lr: 0.0 is not positive"),
        ("schedule.lr=-1", "schedule.lr: -1.0 is not positive"),
        ("optimizer.eps=-1", "optimizer.eps: -1.0 is not positive"),
        ("optimizer.weight_decay=-1", "optimizer.weight_decay: -1.0 is negative"),
        ("optimizer.momentum=1", "optimizer.momentum: 1.0 is not from 0 to below 1"),
        ("optimizer.betas=[0.9]", r"optimizer.betas: \[0.9\] are not two numbers from 0 to below 1"),
        ("optimizer.betas=[2, 3]", "are not two numbers from 0 to below 1"),
        ("max_grad_norm=-1", "max_grad_norm: -1.0 is not positive"),
        ("diverged_above=-1", "diverged_above: -1.0 is not positive"),
    ],
)
def test_values_that_cannot_train_are_refused(setting, message):
    with pytest.raises(UserError, match=message):
        training.load_conf(ROOT / "conf/train/baseline.yaml", [f"train.{setting}"])
