"""Score files in arrays, at the size of the largest official set."""

import time

import numpy as np

from steps.evaluation.breakdown import evaluate
from steps.evaluation.score_files import read_asv_scores, read_cm_scores


def test_arrays_keep_the_file_s_order(tmp_path):
    path = tmp_path / "cm.txt"
    path.write_text("u3 A02 spoof -1.5\nu1 - bonafide 2e-3\nu2 A01 spoof 0.1\nu0 - bonafide 7\n")
    scores = read_cm_scores(path)
    assert scores.utterance == ["u3", "u1", "u2", "u0"]
    assert scores.bonafide.tolist() == [False, True, False, True]
    assert scores.score.tolist() == [-1.5, 0.002, 0.1, 7.0]
    assert scores.attack_names == ["A01", "A02"]
    assert scores.attack.tolist() == [1, -1, 0, -1]


def test_full_precision_is_kept(tmp_path):
    values = np.random.default_rng(0).normal(size=50).tolist()
    path = tmp_path / "cm.txt"
    path.write_text("".join(f"u{i} {'A' if i % 2 else '-'} {'spoof' if i % 2 else 'bonafide'} {v!r}\n"
                            for i, v in enumerate(values)))  # fmt: skip
    assert read_cm_scores(path).score.tolist() == values


def test_asv_scores_by_attack(tmp_path):
    path = tmp_path / "asv.txt"
    path.write_text("bonafide target 3\nAB spoof 1\nbonafide nontarget -1\nAA spoof 2\nAB spoof 0.5")
    scores = read_asv_scores(path)
    assert (scores.target.tolist(), scores.nontarget.tolist(), scores.spoof.tolist()) == ([3], [-1], [1, 2, 0.5])
    assert {name: spoof.tolist() for name, spoof in scores.spoof_by_attack.items()} == {"AA": [2], "AB": [1, 0.5]}


def test_the_size_of_pa_eval_takes_a_moment(tmp_path):
    rng = np.random.default_rng(1)
    attacks = [first + second for first in "ABC" for second in "ABC"]
    with (tmp_path / "cm.txt").open("w") as handle:
        for i, score in enumerate(rng.normal(size=134730).tolist()):
            spoof = i >= 18090
            handle.write(
                f"PA_E_{i:07d} {attacks[i % 9] if spoof else '-'} {'spoof' if spoof else 'bonafide'} {score!r}\n"
            )
    (tmp_path / "asv.txt").write_text(
        "".join(f"x {key} {i}\n" for key in ("target", "nontarget", "spoof") for i in (0, 1))
    )
    begin = time.process_time()
    result = evaluate(read_cm_scores(tmp_path / "cm.txt"), read_asv_scores(tmp_path / "asv.txt"))
    taken = time.process_time() - begin
    assert (result.n_bonafide, result.pooled.n_spoof, len(result.per_attack)) == (18090, 116640, 9)
    assert taken < 2, f"{taken:.2f} s of CPU"
