"""steps/recipe_options.sh and steps/check_confs.py: what a recipe refuses before it makes anything."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from steps import augment, check_confs, nnet, training
from steps import frontend as frontends
from tests.in_process import call
from utils.conf import read_yaml, to_dict

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
LOADERS = {
    "frontend": frontends.load_conf,
    "augment": augment.load_conf,
    "model": nnet.load_conf,
    "train": training.load_conf,
}


@pytest.fixture
def recipe(tmp_path):
    """A recipe called in a folder of its own, on an empty corpus: stage 0 would make the data folder and fail."""
    (tmp_path / "corpus").mkdir()

    def run(*options: str, part: str = "la") -> subprocess.CompletedProcess:
        command = [ROOT / f"egs/asvspoof2019/{part}/run.sh", "--corpus-dir", "corpus"]
        command += [f"--{kind}-dir={tmp_path / kind}" for kind in ("data", "feats", "exp")]
        command += options
        return subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "FSD_DOWNLOADS": str(tmp_path), "FSD_PYTHON": sys.executable},
        )

    return run


def refusal(recipe, tmp_path: Path, *options: str, part: str = "la") -> str:
    """The one line that it ends with, having made nothing."""
    before = sorted(tmp_path.rglob("*"))
    done = recipe(*options, part=part)
    assert done.returncode in (1, 2) and done.stdout == "", (options, done)
    line, *_ = lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert sorted(tmp_path.rglob("*")) == before
    return line


def test_a_recipe_that_is_given_nothing_wrong_begins(recipe, tmp_path):
    done = recipe(
        "--model",
        "conf/model/senet9.yaml conf/model/ecanet9.yaml",
        "--set",
        "train.epochs=3 model.widths=[ 16, 32, 64, 128 ] model.stem=conv3",
    )
    assert "stage 0 of 0-5: corpus and data lists" in done.stdout and (tmp_path / "data").exists(), done


@pytest.mark.parametrize("part", ["la", "pa"])
def test_every_number_has_a_range(recipe, tmp_path, part):
    help_text = recipe("--help", part=part).stdout
    numbers = set(re.findall(r"--([a-z-]+) .*\(default: (?:\d+|\$\(nproc\)|\"[\d ]+\")\)", help_text))
    assert {"stage", "seeds", "nj", "ngpu", "mini-seed"} <= numbers
    for name in sorted(numbers | {"score-jobs", "train-jobs"}) if part == "la" else ["nj"]:
        for value in ("-5", "nan", "1e400", "99999999999999999999", "0", ""):
            if value == "" and name.endswith("-jobs"):
                continue  # these may be left to the recipe
            if value == "0" and name in ("stage", "stop-stage", "ngpu", "elastic", "mini-seed"):
                continue
            line = refusal(recipe, tmp_path, f"--{name}={value}", part=part)
            assert f"--{name} takes a whole number" in line or "--stage 0 --stop-stage" in line, line


@pytest.mark.parametrize(
    ("script", "names", "more"),
    [
        ("steps/make_feats.sh", ("nj", "ngpu"), ("data", "feats")),
        (
            "egs/asvspoof2019/la/local_experiments/run_comparison.sh",
            ("nj", "ngpu", "tune-trials", "seeds", "tune-seeds"),
            (),
        ),
    ],
)
def test_numbers_of_other_scripts_have_ranges_too(tmp_path, script, names, more):
    for name in names:
        for value in ("-5", "nan", "1e400"):
            done = subprocess.run(
                [ROOT / script, f"--{name}", value, *more],
                cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "FSD_PYTHON": sys.executable},
            )  # fmt: skip
            (line,) = done.stderr.splitlines()
            assert done.returncode == 1 and f"error: --{name} takes a" in line and repr(value) in line, done
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--stage", "7"], "--stage takes a whole number from 0 to 5, not '7'"),
        (["--stage", "3", "--stop-stage", "2"], "--stage 3 --stop-stage 2: no stage is left to run"),
        (["--stage", "1"], "no data dirs in .*data yet; start with --stage 0"),
        (["--model", "conf/model/senet35.yaml"], r"--model conf/model/senet35.yaml: no such file; did you mean conf/model/senet34.yaml\?"),
        (["--model", "SENet34.yaml"], r"--model SENet34.yaml: no such file; did you mean conf/model/senet34.yaml\?"),
        (["--model", "ecanet18"], r"--model ecanet18: no such file; did you mean conf/model/ecanet18.yaml\?"),
        (["--frontend", "conf/frontend/lsp.yaml"], r"--frontend .*did you mean conf/frontend/lps.yaml\?"),
        (["--distill-conf", "conf/train/self_distil.yaml"], r"--distill-conf .*did you mean conf/train/self_distill.yaml\?"),
        (["--augment", "conf/augment/rawbost.yaml"], r"--augment .*did you mean conf/augment/rawboost.yaml\?"),
        (["--model="], "--model is empty"),
        (["--exp-dir", " "], "--exp-dir is empty"),
        (["--exp-dir", "corpus/../file/exp"], "--exp-dir .*file is a file; remove it, or choose another folder"),
        (["--corpus-dir", "nowhere"], "--corpus-dir nowhere: no such folder"),
        (["--corpus-dir", "file"], "--corpus-dir .*file: this is a file; give the folder"),
        (["--corpus-dir=", "--mini-size", "big"], "--mini-size takes tiny, small or full, not 'big'"),
        (["--corpus-dir=", "--bonafide-split", "eva"], "--bonafide-split takes train, dev or eval, not 'eva'"),
        (["--corpus-dir=", "--bonafide-dir", "nowhere:dev"], "--bonafide-dir nowhere: no such folder"),
        (["--train-data", "nowhere"], "--train-data nowhere: no utt2label in there; give the data dir of a training set"),
        (["--set", "train.balance=corpus train.reading=shards"], "reading: shards: batches from shards cannot be balanced"),
        (["--cmd", "no_such_runner.pl --mem 2G"], "--cmd: there is no program no_such_runner.pl"),
        (["--ngpu", "64"], "--ngpu 64: torch finds"),
        (["--set", "train.epoch=3"], "--set train.epoch: unknown key 'epoch'; did you mean 'epochs'"),
        (["--stage", "0", "--stop-stage", "1", "--set", "frontend.bin=3"], "--set frontend.bin: unknown key"),
    ],
)  # fmt: skip
def test_what_needs_no_data_is_refused_before_anything_is_made(recipe, tmp_path, options, said):
    (tmp_path / "file").write_text("")
    assert re.search(said, refusal(recipe, tmp_path, *options)), refusal(recipe, tmp_path, *options)


def test_corpora_to_train_on_are_joined_at_stage_0_and_may_be_named_by_the_folder_of_their_data_dirs(recipe, tmp_path):
    for folder in ("data", "more/data"):
        (tmp_path / folder / "train").mkdir(parents=True)
        (tmp_path / folder / "train/corpus.json").write_text('{"name": "made up"}')
    assert "no utt2label in there" in refusal(recipe, tmp_path, "--stage", "2", "--train-data", "more/data")
    (tmp_path / "more/data/train/utt2label").write_text("u1 spoof\n")
    said = refusal(recipe, tmp_path, "--stage", "2", "--train-data", "more/data")
    assert f"no data dir {tmp_path}/data/joined/train+more yet; start with --stage 0" in said


@pytest.mark.parametrize("stage", ["4", "5"])
def test_a_misspelt_name_is_refused_where_trainings_are_found_by_it(recipe, tmp_path, stage):
    (tmp_path / "data/train").mkdir(parents=True)
    (tmp_path / "data/train/corpus.json").write_text('{"name": "made up"}')
    for option, wrong in (("--distill-conf", "conf/train/self_distil.yaml"), ("--model", "conf/model/senet35.yaml")):
        assert f"{option} {wrong}: no such file; did you mean" in refusal(
            recipe, tmp_path, "--stage", stage, option, wrong
        )


def test_what_a_stage_does_not_read_is_not_looked_at(recipe, tmp_path):
    """`--stage 3 --set train.distill.temperature=4` changes a key that the baseline's conf does not have."""
    options = ["--stage", "2", "--stop-stage", "2", "--model", "conf/model/senet9.yaml"]
    (tmp_path / "data/train").mkdir(parents=True)
    (tmp_path / "data/train/corpus.json").write_text('{"name": "made up"}')
    assert "unknown key 'distill'" in refusal(recipe, tmp_path, *options, "--set", "train.distill.temperature=4")
    options[1] = options[3] = "3"
    done = recipe(*options, "--set", "train.distill.temperature=4")
    assert "check_confs.py" not in done.stderr and "unknown key" not in done.stderr, done


def test_jobs_on_other_machines_have_gpus_of_their_own():
    assert call(check_confs.main, "check_confs.py", "--ngpu", 64).returncode == 1
    assert call(check_confs.main, "check_confs.py", "--ngpu", 64, "--elsewhere").returncode == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--train-conf", CONF / "train/baseline.yaml", "--set", "train.amp=fp16"], "amp: fp16 needs a GPU"),
        (["--train-conf", CONF / "train/baseline.yaml", "--set", "train.batch_size=8", "--processes", 9], "batch_size: 8 is the complete batch, too small for 9"),
        (["--model", CONF / "model/senet9.yaml", "--set", "model.type=efficientnet"], "--set model.type=efficientnet: "),
        (["--augment", CONF / "augment/rawboost.yaml"], "it changes waveforms, which features on disk have left behind; add --online true"),
        (["--frontend", CONF / "frontend/lps.yaml", "--train-conf", CONF / "train/baseline.yaml", "--online", "--set", "train.reading=shards"], "computed features lie in no ark"),
        (["--model", CONF / "model/senet9.yaml", "--model", "senet9.yaml"], "would have the name of those of"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "senet9.yaml").write_text((CONF / "model/senet9.yaml").read_text())
    done = call(check_confs.main, "check_confs.py", *options)
    assert done.returncode == 1 and said in done.stderr, done.stderr


def test_all_confs_are_read_without_torch_as_with_it(encoder_for_confs):
    """If this fails for a new module, it does more with torch than name classes where it is loaded; let it do so
    later."""
    of_kind = {}
    for path in sorted(path for room in LOADERS for path in (CONF / room).glob("*.yaml")):
        values = read_yaml(path)
        of_kind[path.parent.name, values.get("type", values.get("method"))] = path
    confs = list(of_kind.values())
    assert len(confs) >= 20
    script = (
        "import json, sys; from steps.check_confs import _NoTorch; sys.meta_path.insert(0, _NoTorch())\n"
        "from tests.test_recipe_options import LOADERS, to_dict; from pathlib import Path\n"
        "given = json.loads(sys.argv[1])\n"
        "print(json.dumps({path: to_dict(LOADERS[Path(path).parent.name](path, given[path])) for path in given}))\n"
        "import steps.training.loop, steps.data.batches\n"
        "assert 'torch._C' not in sys.modules and 'torch' in sys.modules\n"
    )
    given = {str(path): encoder_for_confs(path) for path in confs}
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(given)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    found = json.loads(done.stdout)
    for path in confs:
        loaded = LOADERS[path.parent.name](path, given[str(path)])
        assert found[str(path)] == json.loads(json.dumps(to_dict(loaded))), path


def test_a_module_that_needs_torch_when_it_is_loaded_gets_it(tmp_path, monkeypatch):
    """The check begins anew, with torch."""
    started = []
    monkeypatch.setattr(check_confs, "check", lambda args: 1 / 0)
    monkeypatch.setattr(os, "execv", lambda *command: started.append(command))
    with pytest.raises(ZeroDivisionError):
        call(check_confs.main, "check_confs.py", "--with-torch")
    call(check_confs.main, "check_confs.py", "--online")
    assert started == [(sys.executable, [sys.executable, "check_confs.py", "--online", "--with-torch"])]
