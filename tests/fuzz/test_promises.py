"""What is promised of input from strangers: no command and no code in it runs, and nothing is written out of the
way."""

from __future__ import annotations

import ast
import functools
import json
import os
import pickle
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from tests.fuzz.guard import Broken, guarded
from tests.in_process import call
from utils.ark import ArkWriter, ScpReader, read_matrix
from utils.cli import UserError
from utils.conf import parse_overrides, read_yaml

ROOT = Path(__file__).resolve().parents[2]
CODE = [path for room in ("local", "steps", "utils") for path in sorted((ROOT / room).rglob("*.py"))]
HARD_NAMES = [
    "a b",
    "it's",
    'say "hi"',
    "a;touch canary",
    "$(touch canary)",
    "`touch canary`",
    "é名🎙",
    "-x",
    "a&b|c>d",
    "*?[x]",
    "#~!",
]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working folder in which no `canary` may turn up."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not list(tmp_path.rglob("canary*"))


class Malicious:
    def __reduce__(self):
        return os.system, ("touch canary",)


# --- the source -------------------------------------------------------------------------------------------------------


def name_of(node: ast.expr) -> str:
    return f"{name_of(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else getattr(node, "id", "")


@functools.cache
def calls() -> list[tuple[str, str, dict[str, ast.expr]]]:
    """(place, name, keywords) of every call in the toolkit."""
    found = []
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
                found.append((f"{path.relative_to(ROOT)}:{node.lineno}", name_of(node.func), keywords))
    return found


def is_constant(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_nothing_in_the_source_loads_code_out_of_data():
    found = calls()
    loads = [keywords for _, name, keywords in found if name == "torch.load"]
    assert loads and all(is_constant(keywords.get("weights_only"), True) for keywords in loads)
    forbidden = {
        "eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "pickle.load", "pickle.loads",
        "joblib.load", "load_mat", "kaldiio.load_mat", "kaldiio.load_scp", "kaldiio.load_ark",
    }  # fmt: skip
    assert [(place, name) for place, name, _ in found if name in forbidden] == []
    assert [place for place, _, keywords in found if "allow_pickle" in keywords] == []
    by_shell = [place.partition(":")[0] for place, _, keywords in found if "shell" in keywords]
    assert by_shell == ["utils/audio/command.py"]  # Command.output, which --allow-pipes makes
    loaders = {name for _, _, keywords in found for name in map(name_of, keywords.values()) if "Loader" in name}
    assert loaders == {"yaml.SafeLoader"}


def test_only_the_reader_of_wav_scp_makes_commands():
    assert {place.partition(":")[0] for place, name, _ in calls() if name == "Command"} == {
        "steps/frontend/processing/audio.py"
    }


def test_the_guard_sees_what_it_is_there_for(tmp_path):
    (tmp_path / "in").mkdir()
    with guarded(tmp_path / "in"):
        (tmp_path / "in/file").write_text("allowed")
        for forbidden in (
            lambda: (tmp_path / "out").write_text("x"),
            lambda: (tmp_path / "in/file").rename(tmp_path / "out"),
            lambda: (tmp_path / "in/../out").mkdir(),
            lambda: subprocess.run(["true"], check=True),
            lambda: os.system("true"),
            lambda: pickle.loads(pickle.dumps(Malicious())),
        ):
            with pytest.raises(Broken):
                forbidden()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


# --- pickles and YAML -------------------------------------------------------------------------------------------------


def test_a_pickle_in_a_checkpoint_is_refused(here):
    from steps.experiment import training_folder
    from steps.training import checkpoints

    torch.save({"format": 2, "state": Malicious()}, "final.pt")
    Path("plain.pt").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(UserError, match=r"final\.pt: not a readable checkpoint.*never loaded"):
        checkpoints.load("final.pt")
    with pytest.raises(UserError, match=r"plain\.pt: damaged or cut off \(BadZipFile"):
        checkpoints.load("plain.pt")
    with pytest.raises(UserError, match=r"final\.pt"):
        training_folder.load_trained(Path("final.pt"), torch.device("cpu"))
    torch.save([1, 2], "list.pt")
    with pytest.raises(UserError, match="holds a list"):
        checkpoints.load("list.pt")


def test_a_checkpoint_that_is_none_of_ours_is_told(here):
    from steps.experiment import training_folder

    for state, lacking in (
        ({"format": 2}, "frontend"),
        ({"format": 2, "frontend": [1]}, "frontend"),
        ({"format": 7}, "format 7"),
    ):
        torch.save(state, "final.pt")
        with pytest.raises(UserError, match=f"final.pt: .*{lacking}"):
            training_folder.load_trained(Path("final.pt"), torch.device("cpu"))


def test_a_pickle_in_an_ark_is_refused(here):
    with ArkWriter("feats") as writer:
        writer.write("utt1", np.ones((2, 3)))
    evil = b"PKL" + pickle.dumps(Malicious())
    Path("feats.ark").write_bytes(b"utt1 " + evil)
    with pytest.raises(UserError, match=r"feats\.ark: the features of utt1 cannot be read.*checksum"):
        ScpReader("feats.scp").read("utt1")
    Path("feats.ark.crc32").unlink()  # as of an ark that Kaldi wrote
    with pytest.raises(UserError, match=r"feats\.ark: the features of utt1 cannot be read.*begins with"):
        ScpReader("feats.scp").read("utt1")
    Path("matrix").write_bytes(evil)
    with pytest.raises(UserError, match="no Kaldi matrix"):
        read_matrix("matrix")
    Path("feats.scp").write_text("utt1 touch canary |:0\nutt2 touch canary |\n")
    for utt in ("utt1", "utt2"):
        with pytest.raises(UserError, match=utt):
            ScpReader("feats.scp").read(utt)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system ['touch canary']", "line 1: the tag .*python/object/apply:os.system is not taken"),
        ("x: 1\na: !!python/name:os.system ''", "line 2: .*could not determine a constructor"),
        ("a: [&a [1, 2], " + ", ".join(f"&{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]" for i in range(9)) + "]", "more than 50000 values"),
        ("a: &a [1, *a]", "nested more than 40 deep"),
        ("a: " + "[" * 1000, "nested too deeply"),
        ("a: " + "[" * 60 + "]" * 60, "nested more than 40 deep"),
        ("a: 2024-02-31", "line 1: '2024-02-31' cannot be read"),
        ("a: " + "9" * 5000, "line 1: '999.*cannot be read"),
        ("? [1, 2]\n: 3", "a key is a list"),
        ("base: loop.yaml", "loop"),
    ],
    ids=["tag", "name", "aliases of aliases", "itself", "deep", "deep and whole", "date", "digits", "key", "links"],
)  # fmt: skip
def test_yaml_that_no_conf_is(here, text, message):
    Path("conf.yaml").write_text(text + "\n")
    Path("loop.yaml").symlink_to("loop.yaml")
    with pytest.raises(UserError, match=message):
        read_yaml("conf.yaml")


def test_set_takes_values_and_nothing_else(here):
    sections = ("train", "model")
    assert parse_overrides(["train.a=[1, {b: c}]"], "train", sections) == {"a": [1, {"b": "c"}]}
    for value in ("!!python/object/apply:os.system ['touch canary']", "&a [*a]", "2024-02-31", "[" * 1000):
        with pytest.raises(UserError, match="--set train.a="):
            parse_overrides([f"train.a={value}"], "train", sections)
    assert parse_overrides(["train.a=$(touch canary)"], "train", sections) == {"a": "$(touch canary)"}


# --- commands in a wav.scp --------------------------------------------------------------------------------------------


@pytest.fixture
def piped(here) -> Path:
    """A data dir whose second utterance is a command that leaves a trace."""
    for name, rate in (("one", 16000), ("two", 16000)):
        soundfile.write(f"{name}.wav", 0.3 * np.sin(np.arange(16000) / 9), rate)
    Path("data").mkdir()
    Path("data/wav.scp").write_text(f"utt1 {here}/one.wav\nutt2 touch ran; cat {here}/two.wav |\n")
    return Path("data/wav.scp")


def test_a_command_in_a_wav_scp_is_run_only_where_it_is_allowed(piped):
    from steps.data.sources import ComputedFeatures
    from steps.frontend.processing.audio import WavScp, read_wav_scp, read_waveform
    from steps.inference.inputs import find_recordings
    from utils.audio import open_recording

    said = r"data/wav\.scp: line 2: utt2: a command .*--allow-pipes"
    with pytest.raises(UserError, match=said):
        read_wav_scp(piped)
    assert WavScp(piped)["utt1"].endswith("one.wav")
    with pytest.raises(UserError, match=said):
        WavScp(piped)["utt2"]
    for argument in ("data", "data/wav.scp"):
        (_, first), (_, second) = find_recordings([argument])
        assert first.endswith("one.wav")
        with pytest.raises(UserError, match=said), second:
            pass
    text = f"touch ran; cat {Path.cwd()}/two.wav |"
    for read in (
        lambda: read_waveform("u", text, 16000),
        lambda: open_recording(text).__enter__(),
    ):
        with pytest.raises(UserError, match="commands are not run"):
            read()
    frontend = SimpleNamespace(conf=SimpleNamespace(compress="none"))
    with pytest.raises(UserError, match=said):
        ComputedFeatures("data", frontend)
    assert not Path("ran").exists()

    entries = read_wav_scp(piped, allow_pipes=True)
    assert (read_waveform("utt2", entries["utt2"], 16000) == read_waveform("utt1", entries["utt1"], 16000)).all()
    with open_recording(dict(find_recordings(["data"], True))["utt2"]) as opened:
        assert sum(map(len, opened.blocks)) == 16000
    assert Path("ran").exists() and str(entries["utt2"]) == text
    assert "utt2" in ComputedFeatures("data", frontend, allow_pipes=True)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("echo no such tape >&2; exit 3", "utt1 .*: the command ended with status 3: no such tape"),
        ("kill -9 $$", "ended with signal 9: it said nothing"),
        ("true", "empty: no bytes"),
        ("echo text", "cannot be read as audio"),
    ],
)
def test_a_command_that_gives_no_audio_is_named(here, command, message):
    from steps.frontend.processing.audio import read_wav_scp, read_waveform

    Path("wav.scp").write_text(f"utt1 {command} |\n")
    with pytest.raises(UserError, match=message):
        read_waveform("utt1", read_wav_scp("wav.scp", True)["utt1"], 16000)


def test_a_wav_of_unknown_length_as_programs_write_it_to_a_pipe(here):
    from steps.frontend.processing.audio import read_wav_scp, read_waveform

    soundfile.write("a.wav", 0.1 * np.sin(np.arange(4000) / 9), 16000)
    data = bytearray(Path("a.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\x7f"  # sizes of RIFF and of its samples
    Path("a.wav").write_bytes(data)
    Path("wav.scp").write_text("utt1 cat a.wav |\n")
    assert len(read_waveform("utt1", read_wav_scp("wav.scp", True)["utt1"], 16000)) == 4000


def test_features_by_commands(piped):
    """The programs of the feature stage, with the option and without."""
    from steps import compute_feats, merge_feats

    conf = ("--frontend", ROOT / "conf/frontend/f0_subband.yaml")
    for done in (
        call(merge_feats.main, "merge_feats.py", "check", *conf, piped, "feats"),
        call(compute_feats.main, "compute_feats.py", *conf, piped, "feats/parts/1/feats.1"),
    ):
        assert done.returncode == 1 and "data/wav.scp: line 2: utt2" in done.stderr and "--allow-pipes" in done.stderr
    assert not Path("feats").exists() and not Path("ran").exists()
    for done in (
        call(merge_feats.main, "merge_feats.py", "check", *conf, "--allow-pipes", piped, "feats"),
        call(compute_feats.main, "compute_feats.py", *conf, "--allow-pipes", piped, "feats/parts/1/feats.1"),
        call(merge_feats.main, "merge_feats.py", "merge", *conf, piped, "feats"),
    ):
        assert done.returncode == 0, done.stderr
    reader = ScpReader("feats/feats.scp")
    np.testing.assert_array_equal(reader.read("utt1"), reader.read("utt2"))


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HARD_NAMES)
def test_a_corpus_of_any_name(here, name):
    """Tables hold the path as it is, and audio is found by them."""
    from local import prepare_data
    from steps.frontend.processing.audio import read_wav_scp, read_waveform

    base = Path(name) / "ASVspoof2019_LA"
    flac, protocols = Path(f"{base}_dev/flac"), Path(f"{base}_cm_protocols")
    flac.mkdir(parents=True)
    protocols.mkdir()
    soundfile.write(flac / "utt1.flac", 0.1 * np.ones(1600), 16000)
    (protocols / "ASVspoof2019.LA.cm.dev.trl.txt").write_text("s1 utt1 - - bonafide\n")
    (Path(name) / "corpus.json").write_text('{"name": "made up"}')
    done = call(
        prepare_data.main,
        "prepare_data.py",
        f"--corpus-dir=./{name}",
        "--corpus",
        "asvspoof2019-la",
        "--sets",
        "dev",
        "data",
    )
    assert done.returncode == 0, done.stderr
    assert len(read_waveform("utt1", read_wav_scp("data/dev/wav.scp")["utt1"], 16000)) == 1600


@pytest.mark.parametrize("name", ["a\nb |", "a\tb", os.fsdecode(b"a\xffb")])
def test_a_corpus_whose_name_no_table_holds(here, name):
    from local import prepare_data

    (here / name).mkdir()
    done = call(prepare_data.main, "prepare_data.py", "--corpus-dir", name, "--corpus", "asvspoof2019-la", "data")
    assert done.returncode == 1 and "tables cannot hold" in done.stderr


@pytest.mark.parametrize("subset", [".", "..", "../x", "/x", "a/b"])
def test_a_set_is_a_name(here, subset):
    from local import prepare_data

    Path("LA/ASVspoof2019_LA_cm_protocols").mkdir(parents=True)
    done = call(
        prepare_data.main,
        "prepare_data.py",
        "--corpus-dir",
        "LA",
        "--corpus",
        "asvspoof2019-la",
        "--sets",
        subset,
        "data",
    )
    assert done.returncode == 1 and "is not the name of a set" in done.stderr


def test_pictures_of_recordings_stay_in_their_folder(here, monkeypatch):
    from steps import detect

    drawn: list[Path] = []
    monkeypatch.setattr(detect.picture, "draw", lambda path, *_: drawn.append(path))
    scoring = detect.Scoring(SimpleNamespace(about=dict), Path("pictures"))
    names = [
        *HARD_NAMES,
        "../../canary",
        "/canary",
        "..",
        ".",
        "",
        "a/../../canary",
        "名" * 200,
        "a\nb",
        os.fsdecode(b"\xff"),
        "x" * 300,
        "x" * 301,
    ]
    for name in names:
        scoring._draw(SimpleNamespace(name=name, channel=None))
    assert len(set(drawn)) == len(names)
    for path in drawn:
        assert path.parent == Path("pictures") and path.suffix == ".png" and len(os.fsencode(path.name)) <= 255, path


def test_a_page_shows_names_and_runs_none():
    from steps.results.report.figures import picture
    from steps.results.report.page import Figures, Section, Text, render

    evil = "</text></svg><script>alert(1)</script><img src=x onerror=alert(1)>\"' onload='x"
    drawn = picture("p", evil, evil, 1.0, evil, lambda canvas: canvas.text(0.5, 0.5, evil, gid=f"series:{evil}"))
    page = render(evil, evil, [Section("key", evil, [Text(evil), Figures([drawn])])], "digest")
    assert "alert(1)" in page
    assert "<script>alert" not in page and "<img src=x" not in page and "\" onload='x" not in page
    assert page.count("<script") == render("a", "b", [], "c").count("<script")


def test_plots_draw_names_as_they_are(here):
    """An attack may be called what matplotlib would take for a formula, a wrong one."""
    from steps import evaluate

    names = ["$\\frac$", "名", "A_1$"]
    Path("cm.txt").write_text(
        "".join(f"b{i} - bonafide {i}\ns{i} {name} spoof {i - 1}.5\n" for i, name in enumerate(names * 2))
    )
    done = call(evaluate.main, "evaluate.py", "--bootstrap", "0", "--title", "$\\x$ 名", "--out", "results", "cm.txt")
    assert done.returncode == 0 and Path("results/det.png").stat().st_size > 10000, done.stderr


# --- command lines of the recipes -------------------------------------------------------------------------------------


def shell(script: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FSD_PYTHON": sys.executable, **more}
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment)


def test_options_are_values_and_never_run(here):
    Path("demo.sh").write_text(
        f'#!/usr/bin/env bash\nname=   # a name\n. "{ROOT}/utils/parse_options.sh"\nprintf "%s" "$name"\n'
    )
    for value in [*HARD_NAMES, "a\nb", "a\\nb", "%s", "-n", "$name", "..", " ", "a[$(touch canary)]"]:
        for given in (["--name", value], [f"--name={value}"]):
            done = subprocess.run(["bash", "demo.sh", *given], capture_output=True, text=True, check=True)
            assert done.stdout == value
    for option in (
        "--a[$(touch canary)]",
        "--$(touch canary)",
        "--name[0]",
        "--;touch canary",
        "--name$(touch canary)=x",
    ):
        done = subprocess.run(["bash", "demo.sh", option, "1"], capture_output=True, text=True)
        assert done.returncode == 1 and "no option" in done.stderr


REFUSED = {
    "--tag": ["../x", "a/b", "a b", "$(touch${IFS}canary)", "a;touch${IFS}canary"],
    "--data-dir": [
        "a b",
        "a;touch canary",
        "$(touch canary)",
        "`touch canary`",
        "a'b",
        "a\nb",
        "x|y",
        "*",
        "~root",
        "a/JOB_7",
    ],
    "--set": ["train.x=$(touch${IFS}canary)", "train.x=1;touch canary", "train.x='a'", "train.{a,b}=1"],
}


def test_values_that_a_job_would_not_get_as_they_are_are_refused(here):
    """All in one bash: the lines by which a recipe checks what it was given."""
    for script in (ROOT / "steps/recipe_options.sh",):
        lines = script.read_text().splitlines()
        common = (ROOT / "steps/recipe_begin.sh").read_text().splitlines()
        begin = next(i for i, line in enumerate(lines) if line.startswith("require_plain "))
        end = next(i for i, line in enumerate(lines) if line.startswith("settings=()"))
        checks = "\n".join([*(line for line in common if line.startswith("require_plain ")), *lines[begin : end + 1]])
        script = f"set -euo pipefail; stage=0 stop_stage=5 caller_dir=/; . {ROOT}/utils/stages.sh\n"
        for option, values in (
            *REFUSED.items(),
            ("--data-dir", ["é名", "a-b_c.d/../e", "-x", "a=b,c+d@e"]),
            ("--set", ["train.a=[1,2] model.b=null"]),
        ):
            for value in values:
                given = {
                    name: ""
                    for name in (
                        "data_dir",
                        "feats_dir",
                        "exp_dir",
                        "frontend",
                        "augment",
                        "model",
                        "baseline_conf",
                        "distill_conf",
                        "schedule",
                        "loss",
                        "tag",
                        "set",
                    )
                }
                given[option[2:].replace("-", "_")] = value
                script += (
                    f"({' '.join(f'{name}={shlex.quote(text)}' for name, text in given.items())}\n{checks}\n) && echo"
                    " ok || echo refused\n"
                )
        done = shell(script.replace("set -euo pipefail; ", "set -uo pipefail; "), LC_ALL="C")
        expected = ["refused"] * sum(map(len, REFUSED.values())) + ["ok"] * 5
        assert done.stdout.split() == expected, done.stderr
        assert all(option in done.stderr for option in REFUSED)


def test_a_recipe_refuses_before_it_does_anything(here):
    run = ROOT / "egs/asvspoof2019/la/run.sh"
    done = shell(f"{run} --tag ../../canary --exp-dir exp")
    assert done.returncode == 1 and "--tag '../../canary'" in done.stderr
    done = shell(f"{run} --stage 1 --data-dir {shlex.quote(str(here))}/'$(touch canary)'")
    assert done.returncode == 1 and "--data-dir" in done.stderr
    (here / "data/a;touch canary").mkdir(parents=True)
    (here / "data/train").mkdir()
    for name in ("a;touch canary", "train"):
        (here / "data" / name / "utt2label").write_text("utt1 bonafide\n")
    (here / "data/train/corpus.json").write_text('{"name": "made up"}')
    done = shell(f"{run} --stage 1 --data-dir {here}/data --exp-dir {here}/exp --feats-dir {here}/feats")
    assert done.returncode == 1 and "the data dir" in done.stderr and "a;touch canary" in done.stderr
    assert not (here / "exp").exists() and not (here / "feats").exists()


def test_features_of_a_folder_with_a_hard_name(here):
    for data, feats in (("a;touch canary", "feats"), ("data", "$(touch canary)")):
        Path(data).mkdir(exist_ok=True)
        Path(data, "wav.scp").write_text("utt1 /nowhere/a.flac\n")
        done = shell(f"{ROOT}/steps/make_feats.sh --nj 1 {shlex.quote(data)} {shlex.quote(feats)}")
        assert done.returncode == 1 and "a shell acts on" in done.stderr


def test_names_that_are_no_text_go_in_and_out(here):
    """Bytes of a file's name that are no UTF-8: messages and results have them, without a traceback."""
    name = os.fsdecode(b"sc\xffores.txt")
    Path(name).write_text(
        "".join(f"utt{i} {'-' if i % 2 else 'A01'} {'bonafide' if i % 2 else 'spoof'} {i}\n" for i in range(8))
    )
    command = [
        sys.executable,
        ROOT / "steps/evaluate.py",
        "--bootstrap",
        "0",
        "--no-plot",
        "--out",
        os.fsencode("r\udcffs"),
        os.fsencode(name),
    ]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8", "PYTHONUTF8": "0"})
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    assert json.loads(Path(os.fsdecode(b"r\xffs"), "evaluation.json").read_text())["pooled"]["n_spoof"] == 4
