"""Tuning: trials go on after a kill and are shared by workers, are told as they were, and never look at evaluation
sets."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from steps import sweep, training
from steps.tuning import space
from steps.tuning.report import best_of
from steps.tuning.trials import TrialResult, Trials, is_hopeless
from tests.conftest import picture_of
from tests.in_process import call
from utils import conf as conf_files
from utils.cli import UserError

ROOT = Path(__file__).resolve().parents[3]
DEBUG = ROOT / "conf/schedule/debug.yaml"
SMALL = ["--set", "train.batch_size=16", "--set", "train.epochs=1", "--set", "frontend.network_input.frames=64"]
SMALL += ["--model", ROOT / "conf/model/ecanet9.yaml", "--num-threads", 1]

# In the place of steps/train.py: waits as long as a file says so, diverges for a temperature above 8, and has a dev EER
# that is least at alpha 0.6 and lr 1e-3. It refuses to train where another one trains, and notes who trained.
STUB = """\
import fcntl, json, math, pathlib, shutil, sys, time
folder = pathlib.Path(sys.argv[-1])
folder.mkdir(parents=True, exist_ok=True)
busy = (folder / "busy").open("a")
fcntl.flock(busy, fcntl.LOCK_EX | fcntl.LOCK_NB)
with (folder.parents[1] / "begun").open("a") as handle:
    handle.write(f"{folder.parent.name}/{folder.name}\\n")
values = dict(a.split("=", 1) for a in sys.argv if a.startswith("train."))
alpha, lr, temperature = (float(values["train." + k]) for k in ("distill.alpha", "schedule.lr", "distill.temperature"))
while (folder / "wait").exists():
    time.sleep(0.01)
if temperature > 8:
    sys.exit(3)
eer = 15 + 20 * (alpha - 0.6) ** 2 + math.log10(lr / 1e-3) ** 2 + 0.01 * int(folder.name[4:])
(folder / "epochs.tsv").write_text(f"epoch\\tdev_eer\\n1\\t50.0\\n2\\t{eer}\\n3\\t40.0\\n")
shutil.copy(FINAL, folder / "final.pt")
"""


@pytest.fixture
def stub(tmp_path):
    def make() -> Path:
        torch.save({"epoch": 2}, tmp_path / "a_final.pt")
        path = tmp_path / "stub.py"
        path.write_text(STUB.replace("FINAL", repr(str(tmp_path / "a_final.pt"))))
        return path

    return make


@pytest.fixture
def sets(made_up_sets):
    return [path for name in ("train", "dev") for path in made_up_sets[name]]


def distill_options(*more):
    return ["--train-conf", ROOT / "conf/train/self_distill.yaml", "--schedule", DEBUG, *more]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.tsv").open() as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def test_trials_their_table_the_best_conf_and_the_picture(stub, sets, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "TRAIN", stub())
    out = tmp_path / "sweep"
    options = distill_options("--seeds", "3 5", "--set", "train.batch_size=32")
    done = call(sweep.main, "sweep.py", "--trials", 12, *options, *sets, out)
    assert done.returncode == 0, done.stderr
    rows = table(out)
    assert len(rows) == 12 and [int(row["trial"]) for row in rows] != sorted(int(row["trial"]) for row in rows)
    complete = [row for row in rows if row["state"] == "complete"]
    assert rows[: len(complete)] == complete and {row["state"] for row in rows} == {"complete", "diverged"}
    assert [float(row["dev_eer"]) for row in complete] == sorted(float(row["dev_eer"]) for row in complete)
    for row in rows:
        diverged = float(row["distill.temperature"]) > 8
        assert row["state"] == ("diverged" if diverged else "complete")
        assert (row["seed3"] == "-") == diverged
    best = complete[0]
    expected = 15 + 20 * (float(best["distill.alpha"]) - 0.6) ** 2
    assert float(best["dev_eer"]) >= expected and float(best["seed5"]) - float(best["seed3"]) == pytest.approx(0.02)
    for parameter in space.load_conf(ROOT / "conf/sweep/self_distill.yaml").parameters:
        values = [float(row[parameter.name]) for row in rows]
        assert len(set(values)) == 12 and parameter.low <= min(values) and max(values) <= parameter.high
    (own,) = (row for row in rows if row["trial"] == "0")
    assert [own[f"distill.{key}"] for key in ("alpha", "beta", "temperature")] == ["0.7", "0.3", "3"]
    assert own["schedule.lr"] == "0.001"

    tuned = (out / "best_settings").read_text().split()
    conf = training.load_conf(out / "self_distill_tuned.yaml")
    assert conf.distill.alpha == float(best["distill.alpha"]) and conf.schedule.lr == float(best["schedule.lr"])
    assert (conf.batch_size, conf.distill.beta) == (32, float(best["distill.beta"]))
    given = ["train.batch_size=32", *tuned]
    assert conf == training.load_conf(ROOT / "conf/train/self_distill.yaml", given, training.Parts(schedule=DEBUG))
    assert conf == training.load_conf(
        ROOT / "conf/train/self_distill.yaml", tuned, training.Parts(schedule=out / "schedule_tuned.yaml")
    )
    assert f"trial {best['trial']}, seeds 3 5" in (out / "self_distill_tuned.yaml").read_text()
    picture_of(out / "sensitivity.png")

    # More trials are added, and nothing is trained again. The same seed draws the same trials.
    begun = (out / "begun").read_text()
    assert call(sweep.main, "sweep.py", "--trials", 13, *options, *sets, out).returncode == 0
    assert len(table(out)) == 13 and (out / "begun").read_text().startswith(begun)
    assert len((out / "begun").read_text().splitlines()) <= len(begun.splitlines()) + 2
    again = tmp_path / "again"
    call(sweep.main, "sweep.py", "--trials", 3, *options, *sets, again)
    assert all(row in rows for row in table(again)) and len(table(again)) == 3

    # A folder keeps to what it was begun with.
    changed = call(sweep.main, "sweep.py", *options[:-1], "train.batch_size=16", *sets, out)
    assert changed.returncode == 1 and "train.batch_size: 32 -> 16" in changed.stderr


def test_pruned_trials_train_fewer_seeds(stub, sets, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "TRAIN", stub())
    conf = tmp_path / "pruned.yaml"
    conf.write_text(f"base: {ROOT}/conf/sweep/self_distill.yaml\nprune: median\n")
    out = tmp_path / "sweep"
    options = distill_options("--seeds", "1 2", "--sweep-conf", conf)
    assert call(sweep.main, "sweep.py", "--trials", 9, *options, *sets, out).returncode == 0
    pruned = [row for row in table(out) if row["state"] == "pruned"]
    assert pruned and all(row["dev_eer"] == "-" and row["seed1"] != "-" and row["seed2"] == "-" for row in pruned)
    assert len((out / "begun").read_text().splitlines()) <= 18 - len(pruned)


def test_two_workers_share_trials_and_take_up_what_a_killed_one_left(stub, sets, tmp_path):
    out = tmp_path / "sweep"
    (tmp_path / "worker.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom pathlib import Path\nfrom steps import sweep\n"
        f"sweep.TRAIN = Path({str(stub())!r})\nsweep.run_program(sweep.main)\n"
    )
    argv = [sys.executable, tmp_path / "worker.py", "--trials", 8, *distill_options("--seeds", "1 2"), *sets, out]
    waits = out / "trial0/seed2/wait"
    waits.parent.mkdir(parents=True)
    waits.touch()

    def start(name: str) -> subprocess.Popen:
        return subprocess.Popen(list(map(str, argv)), stdout=(tmp_path / name).open("w"), stderr=subprocess.STDOUT)

    def said(name: str) -> str:
        return (tmp_path / name).read_text() if (tmp_path / name).exists() else ""

    deadline = time.monotonic() + 300
    killed, other = start("a"), None
    while not (out / "begun").exists() or "trial0/seed2" not in (out / "begun").read_text():
        assert time.monotonic() < deadline and killed.poll() is None, said("a")
        time.sleep(0.02)
    other = start("b")
    while "trial 1" not in said("b"):
        assert time.monotonic() < deadline and other.poll() is None, said("b")
        time.sleep(0.02)
    killed.kill()  # in the midst of a training, which goes on by itself
    assert killed.wait() == -signal.SIGKILL
    waits.unlink()
    assert other.wait() == 0, said("b")
    if "left by another worker" not in said("b"):  # that training ended later than all other trials
        assert start("c").wait() == 0, said("c")
    assert "trial 0, left by another worker" in said("b") + said("c")
    rows = table(out)
    assert sorted(int(row["trial"]) for row in rows) == list(range(8))
    assert {row["state"] for row in rows} <= {"complete", "diverged"}
    # The stub refuses a folder in which another one trains. Only the trainings of the trial that was left were begun
    # twice.
    begun = (out / "begun").read_text().splitlines()
    assert {name for name in begun if begun.count(name) > 1} == {"trial0/seed1", "trial0/seed2"}


def test_a_real_sweep_opens_no_evaluation_set(sets, tmp_path):
    """With eval sets beside: every file that the sweep and its trainings open is written down."""
    data, feats = tmp_path / "data", tmp_path / "feats"
    for folder, (source, others) in {data: (sets[0], sets[2]), feats: (sets[1], sets[3])}.items():
        folder.mkdir()
        (folder / "train").symlink_to(source)
        (folder / "dev").symlink_to(others)
        (folder / "eval").symlink_to(others)
        (folder / "eval_known").symlink_to(others)
    opened = tmp_path / "opened"
    watch = tmp_path / "watch"
    watch.mkdir()
    (watch / "sitecustomize.py").write_text(
        "import os, sys\n"
        f"log = os.open({str(opened)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        "def note(event, args):\n"
        "    if event in ('open', 'os.listdir', 'os.scandir'):\n"
        "        path = args[0] if isinstance(args[0], (str, bytes)) else repr(args[0])\n"
        "        os.write(log, os.fsencode(path) + b'\\n')\n"
        "sys.addaudithook(note)\n"
    )
    dirs = [data / "train", feats / "train", data / "dev", feats / "dev"]
    out = tmp_path / "sweep"
    argv = [sys.executable, ROOT / "steps/sweep.py", "--trials", 1, *distill_options(*SMALL), *dirs, out]
    done = subprocess.run(
        list(map(str, argv)), capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(watch)}
    )
    assert done.returncode == 0, done.stderr
    names = [line for line in opened.read_text().splitlines() if line.startswith(str(tmp_path))]
    assert any(f"{data}/dev/utt2label" in name for name in names) and any("seed1/epochs" in name for name in names)
    assert not [name for name in names if "eval" in Path(name).relative_to(tmp_path).as_posix()]
    (row,) = table(out)
    with (out / "trial0/seed1/epochs.tsv").open() as handle:
        (epoch,) = csv.DictReader(handle, delimiter="\t")
    assert float(row["dev_eer"]) == pytest.approx(float(epoch["dev_eer"]), abs=1e-3)
    kept = yaml.safe_load((out / "trial0/seed1/conf.yaml").read_text())["train"]
    assert kept["distill"]["alpha"] == float(row["distill.alpha"])
    assert kept == yaml.safe_load((out / "self_distill_tuned.yaml").read_text())
    assert json.loads((out / "trial0/result.json").read_text())["state"] == "complete"


def test_an_evaluation_set_is_refused(sets, tmp_path):
    data = tmp_path / "eval"
    data.symlink_to(sets[2])
    done = call(sweep.main, "sweep.py", *distill_options(), *sets[:2], data, sets[3], tmp_path / "sweep")
    assert done.returncode == 1 and "named as one to evaluate on" in done.stderr
    ids = tmp_path / "dev"
    ids.mkdir()
    (ids / "utt2label").write_text("LA_E_1000001 bonafide\nLA_E_1000002 spoof\n")
    done = call(sweep.main, "sweep.py", *distill_options(), *sets[:2], ids, sets[3], tmp_path / "sweep")
    assert done.returncode == 1 and "ids of an evaluation set" in done.stderr
    assert not (tmp_path / "sweep").exists()


def test_what_cannot_be_swept_is_said(sets, tmp_path, monkeypatch, stub):
    out = tmp_path / "sweep"

    def said(*options):
        done = call(sweep.main, "sweep.py", *options, *sets, out)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        return done.stderr

    baseline = ["--train-conf", ROOT / "conf/train/baseline.yaml"]
    assert "unknown key 'distill'" in said(*baseline, "--sweep-conf", ROOT / "conf/sweep/self_distill.yaml")
    assert "average_last is 2" in said(*distill_options("--set", "train.average_last=2"))
    broken = stub()
    broken.write_text("import sys\nprint('no disk left')\nsys.exit(1)\n")
    monkeypatch.setattr(sweep, "TRAIN", broken)
    message = said(*distill_options("--trials", 2))
    assert "no disk left" in message and "trial0/log/train.1.log" in message
    monkeypatch.setattr(sweep, "TRAIN", stub())  # mended: the trial is taken up
    done = call(sweep.main, "sweep.py", "--trials", 1, *distill_options(), *sets, out)
    assert done.returncode == 0 and "trial 0, left by another worker" in done.stdout
    monkeypatch.setattr("steps.tuning.trials.optuna", None)
    assert "pip install -c constraints.txt -r requirements-sweep.txt" in said(*distill_options())


@pytest.mark.parametrize(
    "old, new, complaint",
    [
        ("train.distill.alpha ", "model.depth ", "key: 'model.depth' is no key of a training conf"),
        ("high: 0.95", "high: 0.1", "high: 0.1 is not above low"),
        ("low: 0.01", "low: 0", "low: 0.0 is not positive"),
        ("train.distill.beta ", "train.distill.alpha ", "a key stands there twice"),
        ("base:", "prune: nome\nbase:", "did you mean 'none'"),
        ("low: 0.3 ", "whole: true\n  low: 0.3 ", "low: 0.3 and high, 0.95, must be integers"),
    ],
)
def test_a_wrong_sweep_conf_names_the_key(tmp_path, old, new, complaint):
    text = (ROOT / "conf/sweep/self_distill.yaml").read_text()
    assert old in text
    path = tmp_path / "x.yaml"
    path.write_text(text.replace(old, new, 1).replace("base: ", f"base: {ROOT}/conf/sweep/"))
    with pytest.raises(UserError, match=complaint):
        space.load_conf(path)


def test_the_confs_own_values_are_tried_first_and_whole_numbers_stay_whole(tmp_path):
    conf = space.load_conf(ROOT / "conf/sweep/consistency.yaml")
    own = {"consistency": {"max_frames": 60, "max_bins": 99}, "distill": {"alpha": 0.712345}, "schedule": {"lr": 2e-3}}
    first = space.values_within(conf, own)
    assert first == {  # max_bins is beyond its range
        "train.consistency.max_frames": 60,
        "train.distill.alpha": 0.712345,
        "train.schedule.lr": 2e-3,
    }
    trials = Trials(tmp_path, conf, first)
    claims = [trials.claim(4) for _ in range(4)]
    assert trials.claim(4) is None
    assert {key: claims[0].values[key] for key in first} == first
    for claim in claims:
        for parameter in conf.parameters:
            value = claim.values[parameter.key]
            assert isinstance(value, int if parameter.whole else float) and parameter.low <= value <= parameter.high
    settings = space.settings_of(claims[1].values)
    drawn = training.load_conf(ROOT / "conf/train/consistency.yaml", settings).consistency
    assert (drawn.max_frames, drawn.max_bins) == tuple(claims[1].values.values())[:2] != (60, 6)


@pytest.mark.parametrize("path", sorted((ROOT / "conf/train").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_training_conf_is_tuned_by_the_sweep_of_its_name_or_method(path):
    """And with the comparison's budget every sweep begins at the conf's own values."""
    values = training.load_conf(path, ["train.schedule.lr=2e-3"])
    found = space.conf_for(sweep.SWEEPS, path, values.method)
    names = {"self_distill_paper": "self_distill", "baseline_paper": "baseline", "self_distill_attention": path.stem}
    assert found.stem == names.get(path.stem, found.stem)
    conf = space.load_conf(found)
    assert len(space.values_within(conf, conf_files.to_dict(values))) == len(conf.parameters)
    for end in (0, 1):
        training.load_conf(path, space.settings_of({p.key: p.ends[end] for p in conf.parameters}))


def test_hopeless_is_worse_than_the_median_over_the_same_seeds():
    others = [TrialResult(i, "complete", {}, {1: eer, 2: 9.0}, None) for i, eer in enumerate((10.0, 12.0, 20.0))]
    assert is_hopeless({1: 12.5}, [1, 2], others) and not is_hopeless({1: 12.0}, [1, 2], others)
    assert not is_hopeless({1: 50.0}, [1, 2], others[:2])
    assert is_hopeless({1: 12.0, 2: 9.1}, [1, 2, 3], others)


def test_the_first_of_equals_is_the_best():
    results = [TrialResult(i, "complete", {}, {1: eer}, eer) for i, eer in enumerate((11.0, 10.0, 10.0))]
    assert best_of(results).number == 1 and best_of([TrialResult(0, "diverged", {}, {}, None)]) is None
