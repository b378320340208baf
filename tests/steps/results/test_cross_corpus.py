"""steps/make_corpus_table.py: detectors by corpora."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from steps import adopt_training, evaluate_experiment, make_corpus_table
from steps.evaluation.evaluation import Decisions, read_evaluation
from steps.evaluation.fitted_scores import dev_threshold
from steps.evaluation.overlap import Overlap
from steps.metrics.error_rates import det_curve, equal_error_rate
from tests.in_process import call
from tests.made_up_experiments import WILD, Exp, row_of


def make_table(out, *folders, sets="eval"):
    return call(make_corpus_table.main, "make_corpus_table.py", "--out", out, "--sets", sets, *folders)


@pytest.fixture
def two_corpora(tmp_path):
    """Three seeds on the training's own corpus, and two of them, linked, on another one."""
    own, other = Exp(tmp_path / "la/exp"), Exp(tmp_path / "wild/exp")
    for seed, (eer, wild) in enumerate(((20.0, 30.0), (22.0, 34.0), (24.0, None)), 1):
        folder = own.train("senet34", "baseline", seed)
        own.evaluate(folder, eer, decisions=Decisions(0.5, 0.1, 0.2, 0.8, 0.7))
        if wild is not None:
            (folder / "final.pt").write_text("weights")
            adopted, _ = adopt_training.adopt(folder, other.root)
            other.evaluate(adopted / f"seed{seed}", wild, corpus=WILD)
    return tmp_path


def test_an_adopted_training_is_one_row_with_its_own_recipes_results(two_corpora):
    done = make_table(two_corpora / "CORPORA.md", two_corpora / "la/exp", two_corpora / "wild/exp")
    assert done.returncode == 0, done.stderr
    text = (two_corpora / "CORPORA.md").read_text()
    row = row_of(text.partition("## Decisions")[0], "senet34")
    assert row[:5] == ["senet34", "baseline", "corpus not named", "32.00 ± 2.83", "22.00 ± 2.00"]
    assert row[5] == "26.50 ± 2.12", "of the two seeds that both corpora have: (20 + 30) / 2 and (22 + 34) / 2"
    assert row[6] == "-" and "No pooled EER of 2 trainings: their score files are gone" in text
    assert (two_corpora / "CORPORA.png").read_bytes().startswith(b"\x89PNG")


def test_a_missing_combination_is_a_dash_that_means_not_evaluated(two_corpora):
    Exp(two_corpora / "la/exp").train("ecanet9", "baseline", 1)
    Exp(two_corpora / "la/exp").evaluate(two_corpora / "la/exp/train_f0_subband_ecanet9_baseline/seed1", 12.0)
    assert make_table(two_corpora / "C.md", two_corpora / "la/exp", two_corpora / "wild/exp").returncode == 0
    text = (two_corpora / "C.md").read_text()
    row = row_of(text.partition("## Decisions")[0], "ecanet9")
    assert row[3:] == ["-", "12.00 (1 seed)", "-", "-"]
    assert "`-`: not evaluated" in text


def test_decisions_at_the_threshold_of_dev_are_shown_for_each_class(two_corpora):
    assert make_table(two_corpora / "C.md", two_corpora / "la/exp").returncode == 0
    sections = (two_corpora / "C.md").read_text().split("### ")[1:]
    found = {section.splitlines()[0]: row_of(section, "senet34")[-1] for section in sections}
    assert found == {
        "Accuracy, %": "80.00 ± 0.00",
        "F1 of the bona fide class": "0.7000 ± 0.0000",
        "Bona fide trials rejected, %": "10.00 ± 0.00",
        "Spoof trials accepted, %": "20.00 ± 0.00",
    }


def test_cells_whose_corpus_overlaps_the_training_set_are_marked(two_corpora):
    folder = two_corpora / "wild/exp/train_f0_subband_senet34_baseline/seed1"
    Exp(two_corpora / "wild/exp").evaluate(folder, 30.0, corpus=WILD, overlap=Overlap(7, None, None))
    assert make_table(two_corpora / "C.md", two_corpora / "la/exp", two_corpora / "wild/exp").returncode == 0
    text = (two_corpora / "C.md").read_text()
    assert row_of(text.partition("## Decisions")[0], "senet34")[3] == "32.00 ± 2.83 †1"
    assert "- †1 In the detector's training set too: 7 audio files." in text


def test_two_different_evaluations_of_one_detector_on_one_corpus_are_refused(two_corpora):
    shutil.copytree(two_corpora / "la/exp", two_corpora / "copy/exp")
    copied = Exp(two_corpora / "copy/exp")
    assert make_table(two_corpora / "C.md", two_corpora / "la/exp", copied.root).returncode == 0
    copied.evaluate(copied.root / "train_f0_subband_senet34_baseline/seed1", 25.0)
    done = make_table(two_corpora / "C.md", two_corpora / "la/exp", copied.root)
    assert done.returncode == 1 and "are different evaluations of one detector on one corpus" in done.stderr


def test_folders_without_experiments_or_results_are_refused(tmp_path):
    (tmp_path / "exp").mkdir()
    assert "no experiment seed<N>/conf.yaml in there" in make_table(tmp_path / "C.md", tmp_path / "exp").stderr
    assert "no such folder" in make_table(tmp_path / "C.md", tmp_path / "gone").stderr
    Exp(tmp_path / "exp").train("senet34", "baseline", 1)
    done = make_table(tmp_path / "C.md", tmp_path / "exp")
    assert done.returncode == 1 and "nothing to write" in done.stderr and not (tmp_path / "C.md").exists()


def write_set(data, name, corpus, draw, shift, phases=False):
    """A set of 60 trials; the scores of it by a detector that is `shift` off."""
    utts = [f"{name}{i:02d}" for i in range(60)]
    labels = ["bonafide" if i % 3 == 0 else "spoof" for i in range(60)]
    (data / name).mkdir(parents=True)
    tables = {
        "utt2label": labels,
        "utt2attack": ["-" if label == "bonafide" else "A01" for label in labels],
        **({"utt2phase": ["eval" if i % 2 else "progress" for i in range(60)]} if phases else {}),
    }
    for table, values in tables.items():
        (data / name / table).write_text("".join(f"{u} {v}\n" for u, v in zip(utts, values)))
    (data / name / "corpus.json").write_text(f'{{"name": "{corpus}"}}')
    scores = [draw.normal(shift + 1.5 * (label == "bonafide")) for label in labels]
    rows = zip(utts, tables["utt2attack"], labels, scores)
    return "".join(f"{u} {a} {label} {score!r}\n" for u, a, label, score in map(tuple, rows)), np.array(scores), labels


@pytest.mark.parametrize("phases", [False, True])
def test_pooled_eer_and_dev_threshold_are_those_of_the_score_files(tmp_path, phases):
    """The threshold is that of dev in the detector's own recipe, on the other recipe's corpus too."""
    draw = np.random.default_rng(3)
    own, other = Exp(tmp_path / "la/exp"), Exp(tmp_path / "wild/exp")
    seed = own.train("senet34", "baseline", 1)
    (seed / "final.pt").write_text("weights")
    (seed / "scores").mkdir()
    scores = {}
    for name in ("dev", "eval"):
        text, values, labels = write_set(tmp_path / "la/data", name, "Own", draw, 0.0)
        (seed / f"scores/{name}.txt").write_text(text)
        scores[name] = values
    program = evaluate_experiment.main, "evaluate_experiment.py", "--data-dir"
    assert call(*program, tmp_path / "la/data", seed, "eval", "dev").returncode == 0
    adopted = adopt_training.adopt(seed, other.root)[0] / "seed1"
    (adopted / "scores").mkdir()
    text, wild, labels = write_set(tmp_path / "wild/data", "eval", "In-the-Wild", draw, 1.0, phases)
    (adopted / "scores/eval.txt").write_text(text)
    done = call(*program, tmp_path / "wild/data", adopted, "eval")
    assert done.returncode == 0, done.stderr

    bonafide = np.array(labels) == "bonafide"
    counted = np.arange(60) % 2 == 1 if phases else np.full(60, True)
    at_dev = equal_error_rate(det_curve(scores["dev"][bonafide], scores["dev"][~bonafide]))[1]
    assert dev_threshold(adopted) == pytest.approx(at_dev, abs=1e-9)
    found = read_evaluation(adopted / "results/eval/evaluation.json")
    accepted = wild[counted] > at_dev + 1e-9
    right = accepted == bonafide[counted]
    assert found.decisions.accuracy == pytest.approx(right.mean(), abs=1.5 / counted.sum())
    assert found.decisions.threshold == pytest.approx(at_dev, abs=1e-9)

    assert make_table(tmp_path / "C.md", own.root, other.root).returncode == 0
    both = [np.concatenate([scores["eval"][k], wild[counted & k]]) for k in (bonafide, ~bonafide)]
    row = row_of((tmp_path / "C.md").read_text().partition("## Decisions")[0], "senet34")
    assert row[-1] == f"{100 * equal_error_rate(det_curve(*both))[0]:.2f} (1 seed)"
