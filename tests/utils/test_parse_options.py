"""utils/parse_options.sh: options of the recipes' scripts."""

from __future__ import annotations

import os
import subprocess

import pytest

SCRIPT = """#!/usr/bin/env bash
# Trains what there is to train.
#
# Usage: demo.sh [options] <what>

stage=0            # first stage to run
corpus_dir=        # the corpus
seeds="1 2 3"      # trainings of each network
allow_subset=false # take a part
cmd=run.pl
{before}
. "{root}/utils/parse_options.sh"
late=1
printf '%s\\n' "stage=$stage" "corpus_dir=$corpus_dir" "seeds=$seeds" "allow_subset=$allow_subset" "cmd=$cmd"
printf 'arg=%s\\n' "$@"
"""


@pytest.fixture(params=["", "set -u", "set -euo pipefail"])
def demo(root, tmp_path, request):
    (tmp_path / "demo.sh").write_text(SCRIPT.format(root=root, before=request.param))

    def call(*args: str) -> subprocess.CompletedProcess:
        return subprocess.run(["bash", "demo.sh", *args], cwd=tmp_path, capture_output=True, text=True)

    return call


def values(done: subprocess.CompletedProcess) -> dict[str, str]:
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_defaults_and_both_ways_to_give_a_value(demo):
    assert values(demo()) == {
        "stage": "0",
        "corpus_dir": "",
        "seeds": "1 2 3",
        "allow_subset": "false",
        "cmd": "run.pl",
        "arg": "",
    }
    got = values(demo("--stage", "2", "--corpus-dir", "/a b/LA", "--seeds=4 5", "--allow-subset", "true", "what"))
    assert got == {
        "stage": "2",
        "corpus_dir": "/a b/LA",
        "seeds": "4 5",
        "allow_subset": "true",
        "cmd": "run.pl",
        "arg": "what",
    }
    assert values(demo("--corpus_dir", "x"))["corpus_dir"] == "x"


@pytest.mark.parametrize(
    "value", ["", "a=b", "--dashes", "-1", "$HOME", "`id`", "a\\b", 'quo"te', "it's", "*", "%s", "queue.pl --mem 4G"]
)
def test_any_value_arrives_as_it_is(demo, value):
    assert values(demo("--cmd", value))["cmd"] == value
    assert values(demo(f"--cmd={value}", "x"))["cmd"] == value


def test_what_follows_the_options_is_left(demo):
    assert demo("--stage", "1", "a", "--stage", "2").stdout.splitlines()[-3:] == ["arg=a", "arg=--stage", "arg=2"]
    assert demo("--stage", "1", "--", "--stage").stdout.splitlines()[-1:] == ["arg=--stage"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--stages", "2"], "no option --stages; did you mean --stage?"),
        (["--corpus", "x"], "no option --corpus; did you mean --corpus-dir?"),
        (["--corpusdir=x"], "did you mean --corpus-dir?"),
        (["--qqqq", "2"], "no option --qqqq (see"),
        (["--late", "2"], "no option --late"),
        (["--stage"], "--stage needs a value"),
        (["--allow-subset", "yes"], "--allow-subset takes true or false, not 'yes'"),
        (["--allow-subset="], "--allow-subset takes true or false, not ''"),
        (["--a;touch x;b", "2"], "no option --a;touch x;b"),
        (["--path", "2"], "no option --path"),
        (["--config", "none.sh"], "--config none.sh: no such file"),
        (["--config"], "--config"),
    ],
)
def test_what_is_refused(demo, tmp_path, args, message):
    done = demo(*args)
    assert done.returncode == 1 and message in done.stderr and done.stdout == ""
    assert done.stderr.startswith("demo.sh: error:") and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_only_what_the_script_sets_is_an_option(root, tmp_path):
    """--PATH=x would break everything after it; the names that the parser uses itself are no options either."""
    (tmp_path / "demo.sh").write_text(SCRIPT.format(root=root, before="set_within=1; Upper=1"))
    environment = {**os.environ, "http_proxy": "x", "stage": "exported"}
    for name in (
        "PATH",
        "HOME",
        "IFS",
        "SECONDS",
        "late",
        "name",
        "value",
        "old",
        "near",
        "_value",
        "http-proxy",
        "1",
        "",
    ):
        done = subprocess.run(
            ["bash", "demo.sh", f"--{name}=1"], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 1 and "no option" in done.stderr, name
    for name in ("stage", "Upper", "set-within"):
        done = subprocess.run(["bash", "demo.sh", f"--{name}=7"], cwd=tmp_path, env=environment, capture_output=True)
        assert (done.returncode == 0) == (name != "Upper")


def test_config_file(demo, tmp_path):
    (tmp_path / "my.sh").write_text('stage=3\nseeds="7"\n')
    got = values(demo("--config", "my.sh", "--seeds", "8"))
    assert (got["stage"], got["seeds"]) == ("3", "8")
    assert values(demo("--seeds", "8", "--config=my.sh"))["seeds"] == "7"


def test_help(demo):
    for option in ("--help", "-h"):
        done = demo(option)
        assert done.returncode == 0 and done.stderr == ""
        assert done.stdout.startswith("Trains what there is to train.") and "Usage: demo.sh" in done.stdout
        assert "--corpus-dir" in done.stdout and "the corpus\n" in done.stdout
        assert 'trainings of each network (default: "1 2 3")' in done.stdout and "--late" not in done.stdout


def test_help_message_of_the_script(root, tmp_path):
    (tmp_path / "demo.sh").write_text(SCRIPT.format(root=root, before='help_message="Say so.\\nOr so."'))
    done = subprocess.run(["bash", "demo.sh", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "Say so.\nOr so.\n")


def test_a_script_that_is_called_by_another_path(root, tmp_path):
    (tmp_path / "deep folder").mkdir()
    (tmp_path / "deep folder/demo.sh").write_text(SCRIPT.format(root=root, before="set -eu"))
    done = subprocess.run(["bash", f"{tmp_path}/deep folder/demo.sh", "--stagee", "1"], capture_output=True, text=True)
    assert done.returncode == 1 and "did you mean --stage?" in done.stderr
