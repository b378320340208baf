"""steps/trainings.sh: what counts as evaluated."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from steps import training

ROOT = Path(__file__).resolve().parents[2]


def run(tmp_path: Path, commands: str, heads: str = "false", test_sets: str = "eval") -> str:
    script = (
        f"stage=0 stop_stage=5 caller_dir=$PWD data_dir={tmp_path}/data feats={tmp_path}/feats exp_dir={tmp_path}/exp"
        " frontend=f.yaml model=m.yaml seeds=1 baseline_conf=baseline.yaml distill_conf=distill.yaml"
        f" train_set=train test_sets={test_sets} ngpu=0 heads={heads} cuda_cmd=x train_cmd=x nj=1 nproc=1 nnodes=1 elastic=0"
        f" score_jobs= tag= train_jobs= online=false augment= loss= schedule= settings=(); set -euo pipefail; . {ROOT}/utils/stages.sh;"
        f" . {ROOT}/steps/trainings.sh; {commands}"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_next_commands_name_what_was_made_from_where_the_recipe_was_called(tmp_path):
    made = tmp_path / "exp/train_f_m_distill/seed2"
    sound = tmp_path / "a sound.wav"
    write(sound, 1000)
    for name in ("dev", "eval"):
        write(tmp_path / f"data/{name}/wav.scp", 1000)
        (tmp_path / f"data/{name}/wav.scp").write_text(f"u1 {sound if name == 'eval' else 'sox x -t wav - |'}\n")
    for made_before in (tmp_path / "exp/train_f_m_baseline/seed1", made):
        write(made_before / "final.pt", 1000)
    where = (
        f"FSD_ROOT={ROOT} FSD_PYTHON={sys.executable} seeds='1 2'; caller_dir={tmp_path}; find_trainings > /dev/null; "
    )
    said = run(tmp_path, where + "report=true; say_next", test_sets="'dev eval'").split("\n")
    assert said[0] == "Next:" and len(said) == 4 and all(line.startswith("  ") for line in said[1:])
    page, detect, serve = (shlex.split(line) for line in said[1:])
    assert page == [sys.executable, "-m", "webbrowser", f"file://{tmp_path}/exp/report.html"]
    assert detect == [
        sys.executable,
        str(ROOT / "steps/detect.py"),
        "--model",
        "exp/train_f_m_distill/seed2",
        "a sound.wav",
    ]
    assert serve == [sys.executable, str(ROOT / "steps/serve.py"), "--model", "exp/train_f_m_distill/seed2"]
    said = run(tmp_path, where + "report=false; say_next", test_sets="dev").split("\n")
    assert said[1] == "  less exp/RESULTS.md" and said[2].endswith("/seed2 RECORDING.wav")


def is_evaluated(tmp_path: Path, test_sets: str = "eval") -> bool:
    ask = f"if is_evaluated {tmp_path}/exp/train_f_m_baseline/seed1; then echo yes; else echo no; fi"
    return run(tmp_path, ask, test_sets=test_sets) == "yes"


def test_exits_are_scored_where_a_training_has_several_heads(tmp_path):
    """The training says it (train.py writes it down), whatever its conf is called."""
    for name, heads in (("several", "1 2 4\n"), ("one", "4\n"), ("unknown", None)):
        (tmp_path / name).mkdir()
        if heads:
            (tmp_path / name / "heads").write_text(heads)
    ask = "; ".join(
        f'exit_options_of {tmp_path}/{name}; echo "${{exit_options[*]}}"' for name in ("several", "one", "unknown")
    )
    assert run(tmp_path, ask, heads="true").split("\n") == ["--exit 1 --exit 2 --exit 4"]
    assert run(tmp_path, ask, heads="false") == ""
    files = run(
        tmp_path, f"results_of {tmp_path}/several scores .txt; results_of {tmp_path}/one scores .txt", heads="true"
    )
    assert [Path(f).relative_to(tmp_path).as_posix() for f in files.split()] == [
        "several/scores/eval.txt", "several/scores/eval_head1.txt", "several/scores/eval_head2.txt",
        "one/scores/eval.txt",
    ]  # fmt: skip


def write(path: Path, when: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x\n")
    os.utime(path, (when, when))


def test_a_calibration_is_learnt_again_when_the_scores_of_dev_change(tmp_path):
    seed = tmp_path / "exp/train_f_m_baseline/seed1"
    (tmp_path / "data/dev").mkdir(parents=True)
    write(seed / "scores/dev.txt", 1000)
    write(seed / "results/dev/evaluation.json", 4000)
    assert not is_evaluated(tmp_path, "dev")
    write(seed / "calibration.json", 2000)
    assert is_evaluated(tmp_path, "dev")
    write(seed / "scores/dev.txt", 3000)
    assert not is_evaluated(tmp_path, "dev")


def test_what_a_training_was_trained_on_is_described_again_for_other_weights(tmp_path):
    seed = tmp_path / "exp/train_f_m_baseline/seed1"
    ask = f"if has_domain {seed}; then echo yes; else echo no; fi"
    write(seed / "final.pt", 1000)
    assert run(tmp_path, ask) == "no"
    write(seed / "domain.npz", 2000)
    assert run(tmp_path, ask) == "yes"
    write(seed / "final.pt", 3000)
    assert run(tmp_path, ask) == "no"


def test_results_are_made_again_when_lists_change_or_a_heat_map_is_missing(tmp_path):
    seed, data = tmp_path / "exp/train_f_m_baseline/seed1", tmp_path / "data/eval"

    write(seed / "scores/eval.txt", 1000)
    write(data / "corpus.json", 1000)
    assert not is_evaluated(tmp_path)
    write(seed / "results/eval/evaluation.json", 2000)
    assert is_evaluated(tmp_path)
    write(data / "asv_scores", 3000)  # added since
    assert not is_evaluated(tmp_path)
    write(data / "asv_scores", 1500)
    write(data / "utt2env", 1500)
    assert not is_evaluated(tmp_path)
    write(seed / "results/eval/attack_by_environment.png", 2000)
    assert is_evaluated(tmp_path)


def test_processes_machines_and_parts_reach_the_jobs(tmp_path):
    """What the runner is told, word by word, of a training by 2 processes on 2 machines and a scoring in 3 parts."""
    stubs = (
        "with_progress() { shift 2; \"$@\"; }; cuda_cmd='echo RUN'; nproc() { echo 8; }; merge_scores.py() { echo MERGE"
        ' "$@"; }; '
    )
    many = "nproc=2 nnodes=2 elastic=1 score_jobs=3; . " + f"{ROOT}/steps/trainings.sh; "
    said = run(tmp_path, stubs + many + f"train_all baseline.yaml; score_all {tmp_path}/exp/x 1:1")
    train, *score = [line for line in said.splitlines() if line.startswith(("RUN", "MERGE"))]
    assert (
        "--gpu 0 --nnodes 2 --max-jobs-run 1 --num-threads 8 JOB=1:1" in train
    )  # of 8 cores: 2 processes of 4 threads
    assert "distribute.py --ngpu 0 --nproc 2 --nnodes 2 --max-restarts 1 train.py" in train
    assert "--num-threads 4" in train
    assert (
        "--max-jobs-run 3 --num-threads 2 JOB=1:3" in score[0] and "score.py --part JOB/3 --num-threads 2" in score[0]
    )
    assert score[1] == f"MERGE --nj 3 --data-dir {tmp_path}/data {tmp_path}/exp/x/seed1/scores/eval.txt"
    plain = run(tmp_path, stubs + f"train_all baseline.yaml; score_all {tmp_path}/exp/x 1:1")
    assert "distribute.py" not in plain and "--nnodes" not in plain and "--part" not in plain
    gpus = run(
        tmp_path,
        stubs
        + f"ngpu=4 score_jobs=; . {ROOT}/steps/trainings.sh; train_all baseline.yaml; score_all {tmp_path}/exp/x 1:1",
    )
    assert "--gpu 4" in gpus and "distribute.py --ngpu 4 --nproc 4 --nnodes 1" in gpus
    assert "--gpu 1 JOB=1:4" in gpus and "--ngpu 1" in gpus


def test_a_training_on_joined_corpora_has_their_name(tmp_path):
    done = run(tmp_path, "train_set=joined/train+own; experiment_of m.yaml baseline.yaml")
    assert done.endswith("/exp/train+own_f_m_baseline")


@pytest.mark.parametrize("loss", ["", "conf/loss/a_softmax.yaml", "conf/loss/oc_softmax.yaml"])
@pytest.mark.parametrize("schedule", ["", "conf/schedule/paper.yaml", "conf/schedule/mini.yaml"])
def test_a_training_has_one_name_in_its_folder_and_in_its_conf(tmp_path, loss, schedule):
    done = run(
        tmp_path,
        f"loss={loss} schedule={schedule}; . {ROOT}/steps/trainings.sh; experiment_of m.yaml self_distill.yaml",
    )
    name = training.Parts(loss or None, schedule or None).name_of("self_distill.yaml")
    assert done.splitlines()[-1].endswith(f"/train_f_m_{name}")


def test_the_domain_is_fitted_on_the_set_that_was_trained_on(tmp_path):
    stubs = "cuda_cmd='echo RUN'; train_set=joined/train+more; "
    said = run(tmp_path, stubs + f"fit_domains {tmp_path}/exp/x 2:3").splitlines()[-1]
    assert f"JOB=2:3 {tmp_path}/exp/x/log/domain.JOB.log fit_domain.py" in said
    assert said.endswith(f"--train-set joined/train+more {tmp_path}/exp/x/seedJOB")
