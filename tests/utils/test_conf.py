"""utils/conf.py: YAML confs checked against dataclasses."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml

from utils import conf
from utils.cli import UserError
from utils.files import read_map

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = ("model", "train")


@dataclasses.dataclass(frozen=True)
class Optim:
    name: Literal["adam", "sgd"]
    lr: float = 1e-4
    betas: tuple[float, ...] = (0.9, 0.98)


@dataclasses.dataclass(frozen=True)
class Train:
    epochs: int
    optim: Optim
    seed: int | None = None
    amp: bool = False
    note: str = ""

    def __post_init__(self):
        if self.epochs < 1:
            raise ValueError(f"epochs: {self.epochs} is below 1")


GOOD = "epochs: 3   # as in the paper\noptim:\n  name: adam\n  lr: 1e-3\n"


@pytest.fixture
def load(tmp_path):
    def call(text: str, *settings: str) -> Train:
        (tmp_path / "t.yaml").write_text(text)
        return conf.load(tmp_path / "t.yaml", Train, "train", SECTIONS, settings)

    return call


def refusal(load, text: str, *settings: str) -> str:
    with pytest.raises(UserError) as error:
        load(text, *settings)
    return str(error.value)


def test_values_and_defaults(load):
    made = load(GOOD)
    assert made == Train(3, Optim("adam", 1e-3, (0.9, 0.98)), None, False, "")
    assert isinstance(made.optim.lr, float)  # 1e-3 is text in YAML 1.1
    assert load(GOOD + "seed: 5\namp: true\nnote: 'yes'\n") == Train(3, Optim("adam", 1e-3), 5, True, "yes")
    assert load("epochs: 3\noptim: {name: sgd, lr: 1, betas: [0, 1e-1]}\n").optim == Optim("sgd", 1.0, (0.0, 0.1))


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (GOOD + "epoch: 4\n", "line 5", "unknown key 'epoch'; did you mean 'epochs'?"),
        ("epochs: 3\noptim:\n  name: adam\n  Lr: 1\n", "line 4", "unknown key 'optim.Lr'; did you mean 'optim.lr'?"),
        ("epochs: 3\noptim:\n  name: adam\n  zzzzzz: 1\n", "line 4", "known here: name, lr, betas"),
        (GOOD + "epochs: 4\n", "line 5", "the key epochs stands there twice"),
        ("epochs: 3\noptim:\n  name: adam\n  name: sgd\n", "line 4", "the key optim.name stands there twice"),
        (GOOD.replace("adam", "adamm"), "line 3", "'adamm' is none of adam, sgd; did you mean 'adam'?"),
        (GOOD.replace("epochs: 3", "epochs: 3.5"), "line 1", "epochs: 3.5 is not a whole number"),
        (GOOD.replace("epochs: 3", "epochs: true"), "line 1", "True is not a whole number"),
        (GOOD.replace("1e-3", "fast"), "line 4", "optim.lr: 'fast' is not a number"),
        (GOOD.replace("1e-3", "true"), "line 4", "optim.lr: True is not a number"),
        (GOOD.replace("1e-3", ".nan"), "line 4", "is not a number"),
        (GOOD + "amp: 1\n", "line 5", "amp: 1 is not true or false"),
        (GOOD + "note: 1\n", "line 5", "note: 1 is not text"),
        (GOOD + "  betas: 0.9\n", "line 5", "optim.betas: 0.9 is not a list"),
        (GOOD + "  betas: [0.9, x]\n", "line 5", "'x' is not a number"),
        (GOOD + "seed: x\n", "line 5", "seed: 'x' is not a whole number"),
        ("epochs: 3\noptim: adam\n", "line 2", "'adam' where a group of keys is expected"),
        (GOOD.replace("epochs: 3", "epochs: 0"), "t.yaml", "epochs: 0 is below 1"),
        ("optim: {name: adam}\n", "t.yaml", "the key 'epochs' is missing"),
        ("epochs: 3\noptim: {lr: 1}\n", "t.yaml", "the key 'optim.name' is missing"),
        ("- epochs\n", "t.yaml", "a conf is lines of `key: value`"),
        ("epochs: [\n", "line 2", "not a readable YAML file: expected the node content, but found '<stream end>'"),
        ("epochs: 3\noptim: a: b\n", "line 2", "not a readable YAML file: mapping values are not allowed here"),
        ("epochs: \x01\n", "t.yaml", "not a readable YAML file: unacceptable character #x0001"),
        ("", "t.yaml", "a conf is lines of"),
    ],
)
def test_what_is_refused(load, text, place, message):
    said = refusal(load, text)
    assert place in said and message in said and "t.yaml" in said and "\n" not in said


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("senet35", "senet34"),
        ("senet51", "senet50"),
        ("ecanet35", "ecanet34"),
        ("sanet34", "senet34"),
        ("senet", "senet50"),
        ("x", None),
        ("", None),
    ],
)
def test_the_nearest_name_differs_least_and_latest(word, near):
    names = ["ecanet18", "ecanet34", "senet18", "senet34", "senet50"]
    assert conf.nearest(word, names) == conf.nearest(word, reversed(names)) == near


def test_missing_file_names_the_nearest(load, tmp_path):
    load(GOOD)
    (tmp_path / "baseline.yaml").write_text(GOOD)
    with pytest.raises(UserError, match="basline.yaml: no such conf file; did you mean .*baseline.yaml"):
        conf.load(tmp_path / "basline.yaml", Train, "train", SECTIONS)


def test_base(load, tmp_path):
    (tmp_path / "base.yaml").write_text(GOOD)
    made = load("base: base.yaml\nepochs: 9\noptim:\n  lr: 2\n")
    assert made == Train(9, Optim("adam", 2.0))
    (tmp_path / "base.yaml").write_text(GOOD + "epoch: 1\n")  # the place is that of the base
    assert f"{tmp_path / 'base.yaml'}: line 5" in refusal(load, "base: base.yaml\n")
    assert "leads back to itself" in refusal(load, "base: t.yaml\n")
    (tmp_path / "base.yaml").write_text("base: t.yaml\n")
    assert "leads back to itself" in refusal(load, "base: base.yaml\n")
    assert "no such conf file" in refusal(load, "base: none.yaml\n")


def test_overrides(load):
    made = load(
        GOOD, "train.epochs=7", "model.width=3", "train.optim.lr=5", "train.optim.betas=[0.1, 0.2]", "train.seed=null"
    )
    assert made == Train(7, Optim("adam", 5.0, (0.1, 0.2)))
    assert load(GOOD, "train.note=a=b").note == "a=b"
    for setting, message in (
        ("train.epoch=7", "--set train.epoch: unknown key 'epoch'; did you mean 'epochs'?"),
        ("train.optim.name=adan", "--set train.optim.name: optim.name: 'adan' is none of"),
        ("trian.epochs=7", "no section 'trian'; did you mean 'train'?"),
        ("epochs=7", "write it as section.key=value"),
        ("train.epochs", "write it as section.key=value"),
        ("train.epochs=[", "is not a YAML value"),
        ("train.epochs=0", "epochs: 0 is below 1"),
        ("train.epochs.deep=1", "--set"),
    ):
        assert message in refusal(load, GOOD, setting), setting


def test_an_override_twice_or_within_an_override(load):
    assert load(GOOD, "train.epochs=7", "train.epochs=8").epochs == 8
    assert "another --set gives optim a value" in refusal(load, GOOD, "train.optim=adam", "train.optim.lr=1")
    refusal(load, GOOD, "train.optim.lr=1", "train.optim=adam")


def test_writing_and_reading_again(load, tmp_path):
    made = load(GOOD)
    conf.write_yaml(tmp_path / "out.yaml", conf.to_dict(made))
    assert conf.load(tmp_path / "out.yaml", Train, "train", SECTIONS) == made
    assert yaml.safe_load((tmp_path / "out.yaml").read_text())["optim"]["betas"] == [0.9, 0.98]


def test_differences():
    old = {"a": 1, "b": {"c": 2, "d": [1]}, "e": 1}
    assert conf.differences(old, old) == []
    assert conf.differences(old, {"a": 1, "b": {"c": 3, "d": [1]}, "f": 1}) == [
        "b.c: 2 -> 3",
        "e: 1 -> None",
        "f: None -> 1",
    ]


def test_differences_within_lists_of_groups():
    old = {"steps": [{"p": 1}, {"p": 2, "q": 3}]}
    assert conf.differences(old, {"steps": [{"p": 1}, {"p": 4, "q": 3}]}) == ["steps[1].p: 2 -> 4"]
    assert conf.differences(old, {"steps": [{"p": 1}]}) == ["steps: [{'p': 1}, {'p': 2, 'q': 3}] -> [{'p': 1}]"]


@dataclasses.dataclass(frozen=True)
class Step:
    name: Literal["noise", "mask"]
    p: float = 1.0


@dataclasses.dataclass(frozen=True)
class Chain:
    steps: tuple[Step, ...]
    last: Step | None = None


def twice_of(value, where, source):
    if not isinstance(value, int):
        raise UserError(f"{where}: {value!r} of {source} cannot be doubled")
    return 2 * value


@dataclasses.dataclass(frozen=True)
class Doubled:
    values: tuple[Annotated[int, twice_of], ...]


def test_a_field_may_have_a_reader_of_its_own(tmp_path):
    path = tmp_path / "d.yaml"
    path.write_text("values:\n- 1\n- 2\n")
    assert conf.load(path, Doubled, "train", SECTIONS) == Doubled((2, 4))
    with pytest.raises(UserError, match=r"^--set train\.values: values\[1\]: 'x' of .*d\.yaml cannot be doubled"):
        conf.load(path, Doubled, "train", SECTIONS, ["train.values=[1, x]"])
    path.write_text("values:\n- 1\n- x\n")
    with pytest.raises(UserError, match=r"d\.yaml: line 3: values\[1\]: 'x'"):
        conf.load(path, Doubled, "train", SECTIONS)


def test_groups_that_may_be_left_out_and_lists_of_groups(tmp_path):
    def load_chain(text):
        (tmp_path / "c.yaml").write_text(text)
        return conf.load(tmp_path / "c.yaml", Chain, "train", SECTIONS)

    text = "steps:\n- name: noise\n- name: mask\n  p: 1e-1\n"
    assert load_chain(text) == Chain((Step("noise"), Step("mask", 0.1)))
    made = load_chain(text + "last: {name: mask}\n")
    assert made.last == Step("mask")
    assert conf.build(Chain, conf.to_dict(made), {}, "x") == made
    for wrong, told in (
        (text + "  pp: 1\n", r"c\.yaml: line 5: unknown key 'steps\[1\]\.pp'; did you mean 'steps\[1\]\.p'"),
        (
            text + "- name: masc\n",
            r"c\.yaml: line 5: steps\[2\]\.name: 'masc' is none of noise, mask; did you mean 'mask'",
        ),
        (text + "- mask\n", r"c\.yaml: line 5: steps\[2\]: 'mask' where a group of keys"),
        (text + "last: {p: 1}\n", "'last.name' is missing"),
        ("steps: noise\n", "not a list"),
    ):
        with pytest.raises(UserError, match=told):
            load_chain(wrong)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    kind: str
    shown: bool = True

    @staticmethod
    def schema_of(values):
        kinds = {"circle": Circle, "box": Box}
        if values.get("kind") not in kinds:
            raise ValueError(f"kind: {values.get('kind')!r} is no shape")
        return kinds[values["kind"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Circle(Shape):
    radius: float

    def __post_init__(self):
        if self.radius < 0:
            raise ValueError(f"radius: {self.radius} is negative")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Box(Shape):
    sides: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Drawing:
    shapes: tuple[Shape, ...]
    frame: Shape | None = None


@pytest.fixture
def load_drawing(tmp_path):
    def call(text: str, *settings: str) -> Drawing:
        (tmp_path / "d.yaml").write_text(text)
        return conf.load(tmp_path / "d.yaml", Drawing, "train", SECTIONS, settings)

    return call


SHAPES = "shapes:\n- kind: circle\n  radius: 1\n- kind: box\n  sides: [1, 2]\n"


def test_the_schema_of_a_group_may_depend_on_its_values(load_drawing):
    made = load_drawing(SHAPES + "frame: {kind: circle, radius: 3, shown: false}\n")
    assert made.shapes == (Circle(kind="circle", radius=1.0), Box(kind="box", sides=(1, 2)))
    assert made.frame == Circle(kind="circle", radius=3.0, shown=False)
    assert conf.build(Drawing, conf.to_dict(made), {}, "x") == made
    for text, told in (
        (SHAPES.replace("box", "bx"), "d.yaml: line 4: shapes[1].kind: 'bx' is no shape"),
        (SHAPES + "  radius: 1\n", "d.yaml: line 6: unknown key 'shapes[1].radius'; known here: kind, shown, sides"),
        (SHAPES.replace("radius: 1", "radius: -1"), "d.yaml: line 3: shapes[0].radius: -1.0 is negative"),
        (SHAPES.replace("  radius: 1\n", ""), "d.yaml: line 2: the key 'shapes[0].radius' is missing"),
        (SHAPES + "- sides: [1]\n", "d.yaml: line 6: shapes[2].kind: None is no shape"),
        (SHAPES + "frame: {kind: x}\n", "d.yaml: line 6: frame.kind: 'x' is no shape"),
    ):
        assert told in refusal(load_drawing, text), text


def test_a_setting_may_change_an_entry_of_a_list(load_drawing):
    assert load_drawing(SHAPES, "train.shapes.0.radius=5").shapes[0] == Circle(kind="circle", radius=5.0)
    assert load_drawing(SHAPES, "train.shapes.1.sides.1=7").shapes[1].sides == (1, 7)
    assert load_drawing(SHAPES, "train.shapes=[]").shapes == ()
    for setting, told in (
        ("train.shapes.0.radius=-5", "--set train.shapes.0.radius: shapes[0].radius: -5.0 is negative"),
        ("train.shapes.0.radios=5", "--set train.shapes.0.radios: unknown key 'shapes[0].radios'"),
        ("train.shapes.2.radius=5", "is not a list"),
        ("train.shapes=[{kind: circle, radius: -2}]", "--set train.shapes"),
    ):
        assert told in refusal(load_drawing, SHAPES, setting), setting


FORMER = read_map(ROOT / "conf" / "former_names.txt")


@pytest.mark.parametrize("name", [name for name in FORMER if name != "#"])
def test_a_conf_that_was_renamed_is_refused_with_what_replaces_it(name):
    """By the reader of confs, and by recipes before they start."""
    instead = FORMER[name]
    option, path = instead.split()
    assert option in ("--loss", "--schedule") and (ROOT / path).is_file() and not (ROOT / "conf" / name).exists()
    with pytest.raises(UserError, match=re.escape(f"{name}: no such conf file; give {instead} instead")):
        conf.read_yaml(ROOT / "conf" / name)
    script = (
        f'stage=0 stop_stage=0 caller_dir=.; . utils/stages.sh; require_file --distill-conf "conf/{name}" conf/train'
    )
    run = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.endswith(f"--distill-conf conf/{name}: no such file; give {instead} instead\n")
