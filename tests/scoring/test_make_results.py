"""RESULTS.md and the comparison on the terminal, from folders as training and evaluation leave them."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from steps.scoring.comparison import difference, mean_and_spread
from steps.scoring.experiments import natural_order, read_experiments
from steps.scoring.labels import corpus_label, shorten
from steps.scoring.results_markdown import markdown
from steps.scoring.results_plain import plain
from utils.cli import UserError

ROOT = Path(__file__).resolve().parents[2]
MINI = {"name": "mini corpus", "version": 0, "size": "small"}
REAL = {"name": "ASVspoof 2019", "recipe": "LA"}


@pytest.fixture
def exp(tmp_path):
    return Exp(tmp_path / "exp")


class Exp:
    def __init__(self, root):
        self.root = root

    def folders(self):
        return sorted(self.root.iterdir())

    def read(self):
        return read_experiments(self.folders())

    def train(self, model, method, seed, tag="", detector=True, **train):
        folder = self.root / f"train_f0_subband_{model}_{method}{'_' + tag if tag else ''}" / f"seed{seed}"
        folder.mkdir(parents=True)
        conf = {
            "frontend": {"type": "log_spectrum"}, "model": {"type": "resnet"},
            "train": {"method": method, "epochs": 8, "hard_loss": {"lambda_mode": "fixed", "lambda_fixed": 1363.6}, **train},
            "seed": seed, "frontend_name": "f0_subband", "model_name": model, "method": method,
        }  # fmt: skip
        (folder / "conf.yaml").write_text(yaml.safe_dump(conf))
        if detector:
            self.write(
                folder / "detector.json", {"parameters": 1343760, "multiply_adds": 140200000, "input_shape": [600, 45]}
            )
        return folder

    def write(self, path, value):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))

    def evaluate(self, folder, eer, set_name="eval", corpus=MINI, **more):
        metrics = {
            "corpus": corpus, "eer": eer, "min_tdcf_2019": eer / 40, "min_tdcf_2021": 0.06 + 0.94 * eer / 40,
            "asv_eer": 2.5, "n_bonafide": 365, "n_spoof": 100, "warnings": [],
            "per_attack": {"A07": {"eer": eer + 1, "n_spoof": 60}, "A08": {"eer": eer - 1, "n_spoof": 40}}, **more,
        }  # fmt: skip
        self.write(folder / "results" / set_name / "metrics.json", metrics)

    def usual(self):
        for method, eers in (("baseline", (20.0, 22.0, 21.0)), ("self_distill", (19.5, 21.0, 21.5))):
            for seed, eer in enumerate(eers, 1):
                folder = self.train("senet34", method, seed)
                self.evaluate(folder, eer)
                if method == "self_distill":
                    for block in range(1, 5):
                        self.evaluate(folder, eer + 4 - block, f"eval_head{block}")
        return self


def row_of(text, *cells):
    (row,) = [line for line in text.splitlines() if line.startswith("| " + " | ".join(cells) + " |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_tables_by_hand(exp):
    text = markdown(exp.usual().read(), "./run.sh --seeds '1 2 3'")
    assert "Measured on: **mini corpus 0 (small)**." in text
    assert "```sh\n./run.sh --seeds '1 2 3'\n```" in text
    assert "### eval, mini corpus 0 (small): 365 bona fide, 100 spoof trials; ASV EER 2.50 %" in text
    assert row_of(text, "senet34", "baseline", "1,343,760")[2:] == [
        "1,343,760", "0.14 G", "3", "21.00 ± 1.00", "0.5250 ± 0.0250", "0.5535 ± 0.0235",
    ]  # fmt: skip
    spread = math.sqrt(((19.5 - 62 / 3) ** 2 + (21 - 62 / 3) ** 2 + (21.5 - 62 / 3) ** 2) / 2)
    assert row_of(text, "senet34", "self_distill", "1,343,760")[5] == f"20.67 ± {spread:.2f}"
    assert row_of(text, "senet34", "self_distill", "3")[2:] == [
        "3", "23.67 ± 1.04", "22.67 ± 1.04", "21.67 ± 1.04", "20.67 ± 1.04",
    ]  # fmt: skip
    assert row_of(text, "A07") == ["A07", "60", "22.00", "21.67"]
    assert row_of(text, "A08") == ["A08", "40", "20.00", "19.67"]
    assert row_of(text, "senet34", "baseline", "8")[-1] == "fixed 1363.6"


def test_the_paper_s_figures_stand_apart(exp):
    measured, paper = markdown(exp.usual().read(), None).split("## The paper's figures")
    assert "Not measured here" in paper
    for figure in ("1.18 / 0.0378", "1.08 / 0.0347", "1.00 / about 0.031", "0.70 / 0.0208", "0.65 / 0.0174"):
        assert figure in paper
        assert figure not in measured
    assert "mini" not in paper


def test_same_experiments_give_the_same_bytes(exp):
    exp.usual()
    forward, backward = read_experiments(exp.folders()), read_experiments(exp.folders()[::-1])
    assert markdown(forward, "x") == markdown(backward, "x")
    assert plain(forward) == plain(backward)


def test_the_terminal_s_table(exp):
    text = plain(exp.usual().read())
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "Results on mini corpus 0 (small)" in text
    assert "do not stand for the real ASVspoof 2019's" in text
    # paired by seed: -0.5, -1.0, +0.5
    (row,) = [line for line in text.splitlines() if "difference  " in line]
    assert row.split()[1:5] == ["3", "-0.33", "±", "0.44"]
    assert "smaller than the spread over seeds (1.02 points; 0.0255): no proven effect." in " ".join(text.split())


def test_a_difference_over_the_spread_is_told_as_such(exp):
    for method, eers in (("baseline", (20.0, 22.0, 21.0)), ("self_distill", (15.0, 17.5, 16.0))):
        for seed, eer in enumerate(eers, 1):
            exp.evaluate(exp.train("senet34", method, seed), eer)
    text = " ".join(plain(exp.read()).split())
    assert "are larger than the spread over seeds (1.14 points; 0.0284), over 3 pairs of seeds." in text


def test_one_seed_has_no_spread_and_no_verdict(exp):
    for method in ("baseline", "self_distill"):
        exp.evaluate(exp.train("ecanet18", method, 1), 20.0)
    experiments = exp.read()
    assert row_of(markdown(experiments, None), "ecanet18", "baseline", "1,343,760")[5] == "20.00 (1 seed)"
    text = " ".join(plain(experiments).split())
    assert "20.00 (1 seed)" in text
    assert "not to be judged: that takes at least 2 seeds of each method" in text


def test_what_is_missing_is_told(exp):
    exp.usual()
    exp.train("senet34", "baseline", 4, detector=False)
    exp.train("ecanet18", "baseline", 1)
    (exp.root / "train_f0_subband_senet34_baseline/seed5").mkdir()
    for text in (markdown(exp.read(), None), " ".join(plain(exp.read()).split())):
        assert "not evaluated: train_f0_subband_senet34_baseline, seed 4, seed 5" in text
        assert "not evaluated on any set: train_f0_subband_ecanet18_baseline" in text
        assert "train_f0_subband_senet34_baseline: seed 4 has no detector.json" in text
        assert "train_f0_subband_senet34_baseline: seed 5 has no conf.yaml" in text


def test_corpora_have_tables_of_their_own(exp):
    folder = exp.train("senet34", "baseline", 1)
    exp.evaluate(folder, 20.0)
    exp.evaluate(exp.train("senet34", "baseline", 2), 1.2, corpus=REAL, n_bonafide=7355)
    exp.evaluate(exp.train("senet50", "baseline", 1), 1.8, corpus=REAL, n_bonafide=7355)
    text = markdown(exp.read(), None)
    real, mini = text.index("## ASVspoof 2019 LA\n"), text.index("## mini corpus 0 (small)\n")
    assert "1.20 (1 seed)" in text[real:mini]
    assert "1.20" not in text[mini : text.index("## How")]
    assert "senet50" not in text[mini : text.index("## How")]
    assert "not evaluated: train_f0_subband_senet34_baseline, seed 2" in text[mini:]


def test_trials_of_one_table_must_agree(exp):
    exp.usual()
    exp.evaluate(exp.root / "train_f0_subband_senet34_baseline/seed2", 20.0, n_spoof=99)
    with pytest.raises(UserError, match="seed2.* on 365 and 99"):
        markdown(exp.read(), None)


def test_corpora_of_one_name_must_be_one(exp):
    exp.usual()
    exp.evaluate(exp.root / "train_f0_subband_senet34_baseline/seed2", 20.0, corpus={**MINI, "conf": "abc"})
    with pytest.raises(UserError, match="two corpora of one name, mini corpus 0 .small. .conf: None -> abc"):
        markdown(exp.read(), None)


def test_asv_scores_of_one_table_must_agree(exp):
    exp.usual()
    exp.evaluate(exp.root / "train_f0_subband_senet34_baseline/seed2", 20.0, asv_eer=3.0)
    with pytest.raises(UserError, match="of 3.000 %"):
        markdown(exp.read(), None)


def test_a_seed_without_tdcf_is_counted(exp):
    exp.usual()
    nothing = {"min_tdcf_2019": None, "min_tdcf_2021": None, "asv_eer": None}
    exp.evaluate(exp.root / "train_f0_subband_senet34_baseline/seed2", 22.0, **nothing)
    assert row_of(markdown(exp.read(), None), "senet34", "baseline", "1,343,760")[6].endswith("(2 of 3 seeds)")
    assert "* not of all seeds" in plain(exp.read())


def test_warnings_of_the_evaluation_are_repeated(exp):
    exp.evaluate(exp.train("senet34", "baseline", 1), 80.0, warnings=["the sign is likely flipped"])
    wanted = "warning: train_f0_subband_senet34_baseline, seed 1: the sign is likely flipped"
    assert wanted in markdown(exp.read(), None)
    assert wanted in " ".join(plain(exp.read()).split())


def test_seeds_configured_otherwise_are_told(exp):
    exp.evaluate(exp.train("senet34", "baseline", 1), 20.0)
    exp.evaluate(exp.train("senet34", "baseline", 2, epochs=32), 21.0)
    assert "seed 2 was configured otherwise than seed 1: train.epochs: 8 -> 32" in markdown(exp.read(), None)


def test_tags_and_their_baseline(exp):
    exp.usual()
    exp.evaluate(exp.train("senet34", "self_distill", 1, tag="beta1"), 19.0)
    exp.evaluate(exp.train("senet18", "self_distill", 1), 19.0)
    text = plain(exp.read())
    assert "(against baseline, the only baseline of this network)" in text
    assert "no one baseline of the same network" in " ".join(text.split())
    assert text.index("senet18") < text.index("senet34")


def test_folders_are_named_by_training_confs(exp):
    for conf, method in (("baseline_mini", "baseline"), ("self_distill_mini", "self_distill"), ("own", "baseline")):
        folder = exp.train("senet34", method, 1)
        text = (folder / "conf.yaml").read_text() + f"train_name: {conf}\n"
        (folder / "conf.yaml").write_text(text)
        exp.evaluate(folder, 20.0)
        folder.parent.rename(exp.root / f"train_f0_subband_senet34_{conf}_short")
    folder = exp.train("senet34", "baseline", 1)
    exp.evaluate(folder, 20.0)
    folder.parent.rename(exp.root / "my_own_name")
    assert {(e.train_set, e.recipe, e.variant, e.method) for e in exp.read()} == {
        ("train", "baseline_mini_short", "mini_short", "baseline"),
        ("train", "self_distill_mini_short", "mini_short", "self_distill"),
        ("train", "own_short", "short", "baseline"),
        ("", "my_own_name", "my_own_name", "baseline"),
    }
    assert "self_distill_mini_short against baseline_mini_short" in markdown(exp.read(), None)


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda f: (f / "conf.yaml").unlink(), "none of its seeds has a conf.yaml"),
        (lambda f: (f / "conf.yaml").write_text("method: baseline\n"), "the key 'frontend_name' is missing"),
        (lambda f: (f / "results/eval/metrics.json").write_text("{"), "cannot be read as JSON"),
        (lambda f: (f / "results/eval/metrics.json").write_text('{"per_attack": {}}'), "eer is None"),
        (lambda f: (f / "results/eval/metrics.json").write_text("{}"), "no per_attack"),
        (lambda f: f.rename(f.parent / "run1"), "no folder seed<N>"),
    ],
)
def test_broken_folders(exp, spoil, words):
    folder = exp.train("senet34", "baseline", 1)
    exp.evaluate(folder, 20.0)
    spoil(folder)
    with pytest.raises(UserError, match=words):
        exp.read()


def test_seeds_must_share_one_detector(exp):
    exp.usual()
    exp.write(exp.root / "train_f0_subband_senet34_baseline/seed2/detector.json", {"parameters": 5})
    with pytest.raises(UserError, match="another detector than that of .*seed1"):
        exp.read()


def test_the_program(exp, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"LC_ALL": "C"}

    def run():
        command = [sys.executable, ROOT / "steps/make_results.py", "--command", "./run.sh", "--out", "RESULTS.md"]
        return subprocess.run(
            [*command, *exp.folders()], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8"
        )

    exp.train("senet34", "baseline", 1)
    done = run()
    assert done.returncode == 1
    assert "nothing to write" in done.stderr
    assert not (tmp_path / "RESULTS.md").exists()
    exp.evaluate(exp.root / "train_f0_subband_senet34_baseline/seed1", 20.0)
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "written: RESULTS.md" in done.stdout
    first = (tmp_path / "RESULTS.md").read_bytes()
    assert run().returncode == 0
    assert (tmp_path / "RESULTS.md").read_bytes() == first


def test_spread_and_paired_difference_by_hand():
    assert mean_and_spread([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_spread([4.0]) == (4.0, None)
    found = difference({1: 10.0, 2: 12.0, 3: 14.0}, {1: 9.0, 2: 12.0, 3: 10.0})
    # paired -1, 0, -4: mean -5/3, variance 13/3; variances 4 and 7/3
    assert found.mean == pytest.approx(-5 / 3)
    assert found.standard_error == pytest.approx(math.sqrt(13 / 3 / 3))
    assert found.spread == pytest.approx(math.sqrt((4 + 7 / 3) / 2))
    assert found.within_spread is True
    assert found.seeds == 3


def test_difference_without_common_seeds_is_unpaired():
    found = difference({1: 10.0, 2: 12.0}, {3: 5.0, 4: 6.0, 5: 7.0})
    assert (found.mean, found.standard_error, found.seeds) == (-5.0, None, 2)
    assert found.spread == pytest.approx(math.sqrt((2 * 1 + 1 * 2) / 3))
    assert found.within_spread is False
    assert difference({1: 10.0}, {1: 9.0}).within_spread is None


def test_labels():
    assert corpus_label(MINI) == "mini corpus 0 (small)"
    assert corpus_label({**MINI, "seed": 1, "recipe": "LA"}) == "mini corpus 0 (small)"
    assert corpus_label({**MINI, "seed": 2, "incomplete": "no kokoro"}) == "mini corpus 0 (small, seed 2), incomplete"
    assert corpus_label(REAL) == "ASVspoof 2019 LA"
    assert corpus_label({**REAL, "subset": True}) == "ASVspoof 2019 LA, subset"
    assert corpus_label(None) == "corpus not named"
    assert shorten("A07", 6) == "A07"
    assert shorten("a_long_name_12", 9) == "a_lo~e_12"
    assert sorted(["senet50", "senet9", "ecanet18"], key=natural_order) == ["ecanet18", "senet9", "senet50"]
