"""local_experiments/run_comparison.sh: what it asks of the recipe and of the sweeps, with stand-ins for both."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from steps import training

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = "local_experiments/run_comparison.sh"
NETWORKS, METHODS = "conf/model/ecanet9.yaml conf/model/senet9.yaml", "conf/train/mutual.yaml"

# In the place of the recipe: notes its options, a line each with tabs between, and makes the experiments' folders.
RUN = """\
#!/usr/bin/env bash
{ printf '%s\\t' "$@"; echo; } >> "$NOTES/run"
[[ -z ${FAILS:-} || "$*" != *$FAILS* ]] || exit "${FAILS_BY:-1}"
declare -A of=([--frontend]=f0_subband.yaml)
while [ $# -gt 1 ]; do of[$1]=$2; shift 2; done
case ${of[--stage]} in 2) conf=${of[--baseline-conf]} ;; 3) conf=${of[--distill-conf]} ;; *) exit 0 ;; esac
for model in ${of[--model]}; do
  mkdir -p "${of[--exp-dir]}/train_$(basename "${of[--frontend]}" .yaml)_$(basename "$model" .yaml)_$(basename "$conf" .yaml)_$(basename "${of[--schedule]}" .yaml)${of[--tag]:+_${of[--tag]}}"
done
"""
# In the place of a sweep: the best learning rate hangs on network and method.
SWEEP = """\
#!/usr/bin/env bash
{ printf '%s\\t' "$@"; echo; } >> "$NOTES/sweep"
folder=${*: -1}
case $folder in */ecanet9/baseline) lr=0.001 ;; */baseline) lr=0.002 ;; */mutual) lr=0.003 ;; *) lr=0.004 ;; esac
mkdir -p "$folder"
echo "train.schedule.lr=$lr" > "$folder/best_settings"
"""
COMPARE = """\
#!/usr/bin/env bash
{ printf '%s\\t' "$@"; echo; } >> "$NOTES/compare"
"""


@pytest.fixture
def recipe(tmp_path):
    folder = tmp_path / "egs/asvspoof2019/la"
    (folder / "local_experiments").mkdir(parents=True)
    shutil.copy(ROOT / "egs/asvspoof2019/la" / SCRIPT, folder / SCRIPT)
    for name in ("conf", "utils"):
        (folder / name).symlink_to(ROOT / name)
    (tmp_path / "bin").mkdir()
    for path, text in (
        (folder / "run.sh", RUN),
        (tmp_path / "bin/sweep.py", SWEEP),
        (tmp_path / "bin/make_comparison.py", COMPARE),
        (folder / "path.sh", f"PATH={tmp_path}/bin:$PATH\n"),
        (folder / "cmd.sh", "cuda_cmd=utils/run.sh\n"),
    ):
        path.write_text(text)
        path.chmod(0o755)
    return folder


def compare(recipe, *options, where=None, **environment):
    notes = recipe.parents[2]
    for name in ("run", "sweep", "compare"):
        (notes / name).unlink(missing_ok=True)
    argv = [recipe / SCRIPT, "--model", NETWORKS, "--methods", METHODS, "--seeds", "1 2", *options]
    done = subprocess.run(
        list(map(str, argv)),
        cwd=where or recipe,
        env={**os.environ, "NOTES": str(notes), **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )

    def noted(name):
        lines = (notes / name).read_text().splitlines() if (notes / name).exists() else []
        return [line.rstrip("\t").split("\t") for line in lines]

    runs = [dict(zip(line[::2], line[1::2])) for line in noted("run")]
    return done, runs, noted("sweep"), noted("compare")


def confs_of(runs):
    """By network, method and tag, the training conf that each call of the recipe trains by."""
    found = {}
    for run in runs:
        conf = run.get({"2": "--baseline-conf", "3": "--distill-conf"}.get(run["--stage"]))
        for network in run["--model"].split() if conf else ():
            key = " ".join(filter(None, [Path(network).stem, Path(conf).stem, run["--tag"]]))
            assert key not in found
            found[key] = training.load_conf(
                ROOT / conf, run["--set"].split(), training.Parts(schedule=ROOT / run["--schedule"])
            )
    return found


def test_without_tuning_all_networks_are_trained_at_once_by_the_same_budget(recipe):
    done, runs, sweeps, ((*compared,),) = compare(recipe)
    assert done.returncode == 0, done.stderr
    assert not sweeps and "--tuning" not in compared and {run["--model"].strip() for run in runs} == {NETWORKS}
    confs = confs_of(runs)
    assert {name.split(" ", 1)[1] for name in confs} == {
        "baseline", "mutual", "self_distill", *(f"self_distill hard_{rest}" for rest in ("only", "soft", "feature"))
    }  # fmt: skip
    assert {(conf.epochs, conf.schedule.lr) for conf in confs.values()} == {(12, 2e-3)}


def test_what_was_tuned_wins_over_the_budget_and_what_is_left_out_over_both(recipe):
    done, runs, sweeps, ((*compared,),) = compare(
        recipe,
        *("--tune-trials", 3, "--tune-seeds", "11 12", "--train-jobs", 1, "--exp-dir", "exp_x"),
        *(
            "--set",
            "train.epochs=4 train.schedule.lr=9",
            "--data-dir",
            "tiny",
            "--frontend",
            "conf/frontend/lps.yaml",
        ),
    )
    assert done.returncode == 0, done.stderr
    rates = {name: conf.schedule.lr for name, conf in confs_of(runs).items()}
    expected = {"ecanet9 baseline": 0.001, "senet9 baseline": 0.002}
    assert rates == {name: expected.get(name, 0.003 if "mutual" in name else 0.004) for name in rates}
    assert len(rates) == 2 * 6
    assert all(conf.epochs == 4 for conf in confs_of(runs).values())
    left_out = confs_of(runs)["ecanet9 self_distill hard_only"].distill
    assert (left_out.alpha, left_out.beta) == (1, 0)
    assert len(sweeps) == 2 * 3  # once for each network and method
    first = sweeps[0]
    assert first[first.index("--trials") + 1] == "3" and first[first.index("--seeds") + 1] == "11 12"
    assert first[first.index("--schedule") + 1] == "conf/schedule/mini.yaml" and "train.epochs=4" in first
    sets = "tiny/train feats/lps/train tiny/dev feats/lps/dev exp_x/tuning/ecanet9/baseline"
    assert first[-5:] == sets.split()
    assert compared[compared.index("--tuning") + 1] == "exp_x/tuning"
    methods = compared[compared.index("Methods") + 1 : compared.index("Losses left out") - 1]
    assert methods == [f"exp_x/train_lps_{n}_{m}_mini" for m in ("baseline", "mutual") for n in ("ecanet9", "senet9")]


def test_called_from_elsewhere_it_finds_what_the_recipe_made(recipe, tmp_path):
    done, runs, _, ((*compared,),) = compare(recipe, where=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {run["--exp-dir"] for run in runs} == {f"{recipe}/exp_comparison"}
    assert f"{recipe}/exp_comparison/train_f0_subband_ecanet9_mutual_mini" in compared


def test_what_fails_is_left_out_and_told_and_an_interruption_ends_all(recipe):
    done, runs, _, ((*compared,),) = compare(recipe, FAILS="mutual.yaml")
    assert done.returncode == 1 and "not compared, since they failed (see above): mutual_mini;" in done.stderr
    assert compared[compared.index("--note") + 1] == "not compared, since it could not be trained: mutual_mini"
    assert not any("mutual" in path for path in compared if path.startswith("exp"))
    assert any(path.endswith("senet9_self_distill_mini_hard_feature") for path in compared)
    done, runs, _, compared = compare(recipe, FAILS="mutual.yaml", FAILS_BY="130")
    assert done.returncode == 130 and not compared and "mutual" in runs[-1]["--distill-conf"]
    done, _, _, compared = compare(recipe, FAILS="--stage 2")
    assert done.returncode == 1 and not compared  # nothing to compare with


@pytest.mark.parametrize(
    "options, complaint",
    [
        (["--tune-trials", "2", "--tune-seeds", "2 11"], "--tune-seeds: 2 is one of --seeds"),
        (["--tune-trials", "2", "--online", "true"], "leave --online and --augment out"),
        (["--tune-trials", "few"], "--tune-trials takes a whole number"),
    ],
)
def test_what_would_not_be_fair_or_cannot_be_is_refused(recipe, options, complaint):
    done, runs, sweeps, _ = compare(recipe, *options)
    assert done.returncode == 1 and complaint in done.stderr and not runs and not sweeps
