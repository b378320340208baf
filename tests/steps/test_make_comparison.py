"""COMPARISON.md: methods against their baselines, the ablation, early exits; and what its recipe takes for granted."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from steps import make_comparison, training
from steps.metrics.paired_tests import holm, paired_test
from steps.nnet import conf_from_dict, load_conf
from steps.tuning import space
from steps.tuning.report import write_table
from steps.tuning.trials import TrialResult
from tests.in_process import call
from tests.made_up_experiments import Exp, row_of
from utils import conf as conf_files

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "egs/asvspoof2019/la/local_experiments/run_comparison.sh"
GAINS = {"self_distill": (-2.0, -2.5, -1.5), "other": (0.5, -0.4, 0.6), "self_distill_hard": (-1.0, -0.2, -0.1)}


@pytest.fixture
def exp(tmp_path):
    made = Exp(tmp_path / "exp")
    for network in ("senet9", "senet34"):
        for method, gains in {"baseline": (0.0, 0.0, 0.0), **GAINS}.items():
            for seed, gain in enumerate(gains, 1):
                recipe, _, tag = method.partition("_hard")
                made.evaluate(
                    made.train(network, recipe, seed, "hard" if "_hard" in method else tag), 20.0 + seed + gain
                )
    return made


def compare(exp, *more, tables=None):
    folders = exp.folders()
    methods = [f for f in folders if not f.name.endswith("_hard")]
    losses = [f for f in folders if f.name.endswith(("_baseline", "_self_distill", "_hard"))]
    out = exp.root.parent / "COMPARISON.md"
    argv = tables or ["--table", "Methods", *methods, "--table", "Losses left out", *losses]
    done = call(make_comparison.main, "make_comparison.py", "--out", out, *more, *argv)
    return done, shown(out) if out.exists() else ""


def shown(out):
    """The text, then each table beside it as Markdown, in their order."""
    text = out.read_text()
    assert len(text) < 30_000
    sections = [text]
    for title, name in re.findall(r"^- \[(.*)\]\((.*\.tsv)\)", text, re.M):
        rows = [line.split("\t") for line in out.with_name(name).read_text().splitlines()]
        drop = rows[0][0] == "set"
        sections.append(f"## {title}\n" + "\n".join(f"| {' | '.join(row[drop:])} |" for row in rows))
    return "\n".join(sections)


def test_each_table_has_its_own_correction(exp):
    done, text = compare(exp, "--command", "./run_comparison.sh", "--note", "not compared: x")
    assert "\n- not compared: x\n" in text.split("## Methods")[0]
    assert done.returncode == 0 and not done.stderr and "```sh\n./run_comparison.sh\n```" in text
    methods, losses = text.split("## Methods")[1].split("## Losses left out")
    summary = text.split("## Tables")[0]
    assert "- **Methods, eval**, 4 EERs against the baseline: no significant difference for 4 (" in summary
    assert summary.rstrip().endswith("(COMPARISON_forest.png)") and (exp.root.parent / "COMPARISON_forest.png").exists()
    for part, others in ((methods, ("self_distill", "other")), (losses, ("self_distill", "self_distill_hard"))):
        tests = [paired_test(GAINS[other]) for other in others]
        corrected = holm([test.p_t for test in tests for _ in range(2)])
        for i, (other, test) in enumerate(zip(others, tests)):
            row = row_of(part, "senet34", other)
            assert row[2:4] == ["0.14 G", "3"] and row[5] == f"{test.mean:+.2f}"
            assert row[6] == " to ".join(f"{end:+.2f}" for end in test.interval)
            assert row[7:9] == [f"{test.p_t:.3f}", f"{corrected[2 * i]:.3f}"]
        assert row_of(part, "senet9", "baseline")[4:9] == ["22.00 ± 1.00", "-", "-", "-", "-"]
    assert "other" not in losses and "self_distill_hard" not in methods
    assert "Early exits" not in text and "not the same budget" not in text


def test_early_exits_have_costs_between_whole_networks(tmp_path):
    exp = Exp(tmp_path / "exp")
    model = conf_files.to_dict(load_conf(ROOT / "conf/model/ecanet9.yaml"))
    train = {
        m: conf_files.to_dict(training.load_conf(ROOT / f"conf/train/{m}.yaml")) for m in ("baseline", "self_distill")
    }
    assert conf_from_dict(model, "x")
    for seed in (1, 2, 3):
        for method in train:
            folder = exp.train("ecanet9", method, seed)
            conf = yaml.safe_load((folder / "conf.yaml").read_text())
            (folder / "conf.yaml").write_text(yaml.safe_dump({**conf, "model": model, "train": train[method]}))
            exp.write(
                folder / "detector.json", {"parameters": 308158, "multiply_adds": 35409936, "input_shape": [600, 45]}
            )
            exp.evaluate(folder, 20.0 + seed)
            if method == "self_distill":
                for block in range(1, 5):
                    exp.evaluate(folder, 20.0 + seed + 8 / block + 0.1 * seed * block, head=block)
    done, text = compare(exp, tables=["--table", "Methods", *exp.folders()])
    later = compare(exp, tables=["--table", "A", exp.folders()[0], "--table", "B", *exp.folders()])[1]
    assert "## B" in later and "## Early exits" not in later
    assert done.returncode == 0, done.stderr
    exits = text.split("## Early exits")[1]
    rows = [line.split("|")[2:6] for line in exits.splitlines() if line.startswith("| ecanet9")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["baseline", "-", "0.0354 G (100 %)", "3"],
        ["self_distill", "block 1", "0.0137 G (39 %)", "3"],
        ["self_distill", "block 2", "0.0202 G (57 %)", "3"],
        ["self_distill", "block 3", "0.0267 G (75 %)", "3"],
        ["self_distill", "-", "0.0354 G (100 %)", "3"],
    ]
    assert row_of(exits, "ecanet9", "self_distill", "block 2")[6] == "+4.40"


def test_an_unequal_budget_is_said(exp):
    path = exp.root / "train_f0_subband_senet9_other/seed1/conf.yaml"
    path.write_text(path.read_text().replace("epochs: 8", "epochs: 16"))
    done, text = compare(exp)
    note = "not the same budget: train_f0_subband_senet9_baseline and train_f0_subband_senet9_other (epochs: 8 -> 16)"
    assert done.returncode == 0 and f"- {note}" in text and f"WARNING: {note}" in done.stderr
    assert text.count("not the same budget") == 1
    methods, losses = text.split("## Methods")[1].split("## Losses left out")
    mean = sum(GAINS["other"]) / 3
    assert row_of(methods, "senet9", "other")[5:9] == [f"{mean:+.2f}", "-", "-", "-"]
    assert row_of(methods, "senet34", "other")[7] != "-"
    assert row_of(methods, "senet9", "other")[-1] == "trained otherwise: epochs: 8 -> 16"
    assert "not tested" not in losses
    # of two tests and not of three
    tests = [paired_test(GAINS[other]).p_t for other in ("self_distill", "self_distill", "other")]
    assert row_of(methods, "senet34", "other")[8] == f"{holm(tests)[2]:.3f}"


def test_without_tests_there_are_no_columns_of_them(exp):
    for folder in exp.root.glob("*/seed3"):
        shutil.rmtree(folder)
    done, text = compare(exp)
    assert done.returncode == 0 and "| p |" not in text and "95 % interval |" not in text
    assert row_of(text.split("## Losses")[0], "senet9", "other")[3:6] == ["2", "21.55 ± 0.07", "+0.05"]
    assert row_of(text.split("## Losses")[0], "senet9", "other")[-1] == "2 common seeds, and a test takes 3"


def test_what_was_tuned_is_told_and_is_no_unequal_budget(exp, tmp_path):
    for path in exp.root.glob("*/seed1/conf.yaml"):
        lr = 0.5 if "_other" in str(path) else 0.002
        path.write_text(path.read_text().replace("epochs: 8", f"epochs: 8\n  schedule: {{lr: {lr}}}"))
    assert "(schedule.lr: 0.002 -> 0.5)" in compare(exp)[1]
    for network in ("senet9", "senet34"):
        for method in ("baseline", "self_distill", "other"):
            folder = tmp_path / "tuning" / network / method
            folder.mkdir(parents=True)
            results = [
                TrialResult(0, "complete", {"train.schedule.lr": 0.002}, {11: 12.0, 12: 13.0}, 12.5),
                TrialResult(1, "complete", {"train.schedule.lr": 0.5}, {11: 11.0, 12: 11.5}, 11.25),
                TrialResult(2, "diverged", {"train.schedule.lr": 9.0}, {}, None),
            ]
            write_table(folder / "trials.tsv", results, space.load_conf(ROOT / "conf/sweep/baseline.yaml"), [11, 12])
    done, text = compare(exp, "--tuning", tmp_path / "tuning")
    assert done.returncode == 0 and "not the same" not in text + done.stderr, done.stderr
    tuning = text.split("## Tuning")[1].split("## Methods")[0]
    table = text.split("## Tuning")[2]
    assert row_of(table, "senet9", "other")[2:] == ["3", "2", "12.50", "11.25", "schedule.lr 0.5"]
    assert "Seeds of the trials: 11 12." in tuning and "self_distill_hard" not in table and "favours" not in tuning
    write_table(folder / "trials.tsv", results[:2], space.load_conf(ROOT / "conf/sweep/baseline.yaml"), [11, 3])
    done, text = compare(exp, "--tuning", tmp_path / "tuning")
    assert "the numbers of trials differ" in text and "compared by a seed that the trials had" in text
    assert compare(exp, "--tuning", tmp_path)[0].returncode == 1


def test_a_network_without_its_baseline_is_refused(exp):
    done, text = compare(exp, "--baseline", "baseline_mini")
    assert done.returncode == 1 and "there is no baseline_mini of senet" in done.stderr and not text


def test_a_baseline_without_results_is_told(exp):
    for seed in (1, 2, 3):
        shutil.rmtree(exp.root / f"train_f0_subband_senet9_baseline/seed{seed}/results")
    done, text = compare(exp)
    assert done.returncode == 1 and not text
    assert "has results on eval, and the baseline of senet9 (f0_subband) has none" in done.stderr


def test_the_recipes_ablation_leaves_out_what_it_says():
    losses = re.search(r"<<'LOSSES'\n(.*)\nLOSSES", RECIPE.read_text(), re.S)[1]
    weights = {}
    for line in losses.splitlines():
        tag, *settings = line.split()
        distill = training.load_conf(ROOT / "conf/train/self_distill.yaml", settings).distill
        weights[tag] = (distill.alpha < 1, distill.beta > 0)
    assert weights == {"hard_only": (False, False), "hard_soft": (True, False), "hard_feature": (False, True)}
