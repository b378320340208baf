"""steps/trainings.sh: what counts as evaluated."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(tmp_path: Path, commands: str, heads: str = "false", test_sets: str = "eval") -> str:
    script = (
        f"stage=0 stop_stage=5 caller_dir=$PWD data_dir={tmp_path}/data feats={tmp_path}/feats exp_dir={tmp_path}/exp "
        f"frontend=f.yaml model=m.yaml seeds=1 baseline_conf=baseline.yaml distill_conf=distill.yaml test_sets={test_sets} ngpu=0 "
        f"heads={heads} cuda_cmd=x train_cmd=x nj=1 nproc=1 nnodes=1 elastic=0 score_jobs= tag= train_jobs= online=false augment= settings=(); set -euo pipefail; "
        f". {ROOT}/utils/stages.sh; . {ROOT}/steps/trainings.sh; "
        f"{commands}"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def is_evaluated(tmp_path: Path, test_sets: str = "eval") -> bool:
    ask = f"if is_evaluated {tmp_path}/exp/train_f_m_baseline/seed1; then echo yes; else echo no; fi"
    return run(tmp_path, ask, test_sets=test_sets) == "yes"


def test_heads_are_scored_where_a_training_has_several(tmp_path):
    """The training says it (train.py writes it down), whatever its conf is called."""
    for name, heads in (("several", "1 2 4\n"), ("one", "4\n"), ("unknown", None)):
        (tmp_path / name).mkdir()
        if heads:
            (tmp_path / name / "heads").write_text(heads)
    ask = "; ".join(
        f'head_options_of {tmp_path}/{name}; echo "${{head_options[*]}}"' for name in ("several", "one", "unknown")
    )
    assert run(tmp_path, ask, heads="true").split("\n") == ["--head 1 --head 2 --head 4 --head final"]
    assert run(tmp_path, ask, heads="false") == ""
    files = run(
        tmp_path, f"results_of {tmp_path}/several scores .txt; results_of {tmp_path}/one scores .txt", heads="true"
    )
    assert [Path(f).relative_to(tmp_path).as_posix() for f in files.split()] == [
        "several/scores/eval.txt", "several/scores/eval_head1.txt", "several/scores/eval_head2.txt",
        "several/scores/eval_head4.txt", "one/scores/eval.txt",
    ]  # fmt: skip


def write(path: Path, when: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x\n")
    os.utime(path, (when, when))


def test_a_calibration_is_learnt_again_when_the_scores_of_dev_change(tmp_path):
    seed = tmp_path / "exp/train_f_m_baseline/seed1"
    (tmp_path / "data/dev").mkdir(parents=True)
    write(seed / "scores/dev.txt", 1000)
    write(seed / "results/dev/metrics.json", 4000)
    assert not is_evaluated(tmp_path, "dev")
    write(seed / "calibration.json", 2000)
    assert is_evaluated(tmp_path, "dev")
    write(seed / "scores/dev.txt", 3000)
    assert not is_evaluated(tmp_path, "dev")


def test_results_are_made_again_when_lists_change_or_a_heat_map_is_missing(tmp_path):
    seed, data = tmp_path / "exp/train_f_m_baseline/seed1", tmp_path / "data/eval"

    write(seed / "scores/eval.txt", 1000)
    write(data / "corpus.json", 1000)
    assert not is_evaluated(tmp_path)
    write(seed / "results/eval/metrics.json", 2000)
    assert is_evaluated(tmp_path)
    write(data / "asv_scores", 3000)  # added since
    assert not is_evaluated(tmp_path)
    write(data / "asv_scores", 1500)
    write(data / "utt2env", 1500)
    assert not is_evaluated(tmp_path)
    write(seed / "results/eval/attack_by_environment.png", 2000)
    assert is_evaluated(tmp_path)
