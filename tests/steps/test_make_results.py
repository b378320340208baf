"""RESULTS.md and the comparison on the terminal, from folders as training and evaluation leave them."""

import contextlib
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

from steps import make_results
from steps.evaluation.labels import corpus_label, shorten
from steps.evaluation.score_files import read_cm_scores
from steps.experiment.experiments import natural_order, read_experiments
from steps.metrics.calibration import fit_mean
from steps.metrics.error_rates import det_curve, equal_error_rate
from steps.metrics.llr_cost import cllr
from steps.results.block_cost import block_multiply_adds
from steps.results.evaluation_output import evaluate_files
from steps.results.markdown import markdown
from steps.results.plain import plain
from steps.results.report.summary import over_seeds
from steps.results.tables import EER, TDCF_2019, collect
from tests import in_process
from tests.made_up_experiments import MINI, Exp, coverage, row_of
from utils.cli import UserError

ROOT = Path(__file__).resolve().parents[2]
REAL = {"name": "ASVspoof 2019", "recipe": "LA"}


@pytest.fixture
def exp(tmp_path):
    return Exp(tmp_path / "exp")


def test_tables_by_hand(exp):
    text = markdown(exp.usual().read(), "./run.sh --seeds '1 2 3'")
    assert "Measured on: **mini corpus 0 (small)**." in text
    assert "```sh\n./run.sh --seeds '1 2 3'\n```" in text
    assert "### eval, mini corpus 0 (small): 365 bona fide, 100 spoof trials; ASV EER 2.50 %" in text
    assert row_of(text, "senet34", "baseline", "1,343,760")[2:] == [
        "1,343,760", "0.14 G", "3", "21.00 ± 1.00", "0.5250 ± 0.0250", "0.5535 ± 0.0235", "-",
    ]  # fmt: skip
    spread = math.sqrt(((19.5 - 62 / 3) ** 2 + (21 - 62 / 3) ** 2 + (21.5 - 62 / 3) ** 2) / 2)
    assert row_of(text, "senet34", "self_distill", "1,343,760")[5] == f"20.67 ± {spread:.2f}"
    assert row_of(text, "senet34", "self_distill", "3")[2:] == [
        "3", "23.67 ± 1.04", "22.67 ± 1.04", "21.67 ± 1.04", "20.67 ± 1.04", "20.67 ± 1.04",
    ]  # fmt: skip
    assert "a cell holds `baseline / self_distill`." in text
    assert row_of(text, "A07") == ["A07", "60", "22.00 / 21.67"]
    assert row_of(text, "A08") == ["A08", "40", "20.00 / 19.67"]
    assert row_of(text, "senet34", "baseline", "8")[-1] == "fixed 1363.6"


def finished(exp, model, method, seed, eer, tag="", corpus=MINI, frontend=None):
    folder = exp.train(model, method, seed, tag)
    conf = yaml.safe_load((folder / "conf.yaml").read_text()) | {"corpus": MINI} | (frontend or {})
    (folder / "conf.yaml").write_text(yaml.safe_dump(conf))
    (folder / "final.pt").touch()
    exp.evaluate(folder, eer, corpus=corpus)
    return folder


def test_all_finished_trainings_beside_the_given_ones_are_taken(exp, tmp_path, capsys):
    base = finished(exp, "senet34", "baseline", 1, 20.0)
    for method, eer in (("self_distill", 19.0), ("mutual", 18.0)):
        finished(exp, "senet34", method, 1, eer)
    other = {"frontend_name": "lps", "frontend": {"type": "log_spectrum", "n_fft": 512}}
    finished(exp, "ecanet9", "baseline", 1, 11.0, "lps", frontend=other)  # another front end
    finished(exp, "ecanet9", "baseline", 1, 12.0, "real", frontend={"corpus": REAL}, corpus=REAL)  # another corpus
    for tag, more in (("other", {"seed": 7}), ("new", {"digest": "x"})):  # the last is of one name with the given one's
        finished(exp, "ecanet9", "baseline", 1, 13.0, tag, corpus={**MINI, **more})
    exp.train("ecanet9", "mutual", 1)  # not finished
    (exp.root / "notes.txt").touch()
    done = in_process.call(make_results.main, "make_results.py", "--beside", "--out", tmp_path / "R.md", base.parent)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "R.md").read_text()
    for method in ("baseline", "self_distill", "mutual"):
        row_of(text, "senet34", method, "1,343,760")
    assert "ecanet9" not in text and done.stderr.count("WARNING: left out of the results: ") == 2
    assert "ecanet9_baseline_other: measured on mini corpus" in done.stderr
    assert "ecanet9_baseline_new" in done.stderr and "two corpora of one name" in done.stderr
    done = in_process.call(make_results.main, "make_results.py", "--out", tmp_path / "R.md", base.parent)
    assert "mutual" not in (tmp_path / "R.md").read_text() and done.returncode == 0


def test_a_training_on_joined_corpora_stands_beside_that_on_the_first_of_them(exp, tmp_path):
    base = finished(exp, "senet34", "baseline", 1, 20.0)
    corpus = {"name": f"{MINI['name']} + wild", "combined_from": [MINI, REAL]}
    joined = {"corpus": corpus, "train_set_name": "train+wild"}
    finished(exp, "senet34", "baseline", 1, 18.0, "joined", frontend=joined)
    done = in_process.call(make_results.main, "make_results.py", "--beside", "--out", tmp_path / "R.md", base.parent)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "R.md").read_text()
    assert "| network | method | trained on |" in text
    assert "| senet34 | baseline_joined | train+wild |" in text


def test_a_hard_loss_is_named_with_its_class_weights(exp):
    """Lambda is A-softmax's alone, also where the conf has its keys."""
    losses = {
        "am": {"name": "am_softmax", "lambda_mode": "fixed", "lambda_fixed": 1363.6},
        "wce": {"name": "cross_entropy", "class_weights": {"mode": "fixed", "spoof": 1.0, "bonafide": 9.0}},
        "even": {
            "name": "a_softmax",
            "lambda_mode": "anneal",
            "lambda_floor": 10,
            "class_weights": {"mode": "balanced"},
        },
    }
    for tag, hard_loss in losses.items():
        exp.evaluate(exp.train("senet34", "baseline", 1, tag, hard_loss=hard_loss), 20.0)
    text = markdown(exp.read(), "")
    assert row_of(text, "senet34", "baseline_am", "8")[-2:] == ["am_softmax", "-"]
    assert row_of(text, "senet34", "baseline_wce", "8")[-2:] == ["cross_entropy, spoof 1 : bona fide 9", "-"]
    assert row_of(text, "senet34", "baseline_even", "8")[-2:] == ["a_softmax, classes balanced", "anneal to 10"]


def test_the_paper_s_figures_stand_apart(exp):
    summary, rest = markdown(exp.usual().read(), None).split("## The paper's figures\n")
    paper, _, tables = rest.partition("\n## ")  # near the top, before all that was measured but the summary
    assert "### " not in summary and "### " in tables
    assert "Not measured here" in paper
    for figure in ("1.18 / 0.0378", "1.08 / 0.0347", "1.00 / about 0.031", "0.70 / 0.0208", "0.65 / 0.0174"):
        assert figure in paper
        assert figure not in summary + tables
    assert "mini" not in paper


def test_same_experiments_give_the_same_bytes(exp):
    exp.usual()
    forward, backward = read_experiments(exp.folders()), read_experiments(exp.folders()[::-1])
    assert markdown(forward, "x") == markdown(backward, "x")
    assert plain(forward) == plain(backward)


def test_the_share_of_undecided_trials(exp):
    exp.usual()
    assert "Undecided:" not in markdown(exp.read(), None)
    for seed, (eer, share) in enumerate(((20.0, 30.0), (22.0, 34.0)), 1):  # of three seeds
        exp.evaluate(exp.root / f"train_f0_subband_senet34_baseline/seed{seed}", eer, coverage=coverage(share))
    text = markdown(exp.read(), None)
    assert row_of(text, "senet34", "baseline", "1,343,760")[8] == "32.0 ± 2.8 (2 of 3 seeds)"
    assert row_of(text, "senet34", "self_distill", "1,343,760")[8] == "-"
    assert "Prior of bona fide 0.5; a miss costs 1, a false alarm 1, no answer 0.2." in " ".join(text.split())
    shown = plain(exp.read())
    assert all(len(line) <= 80 for line in shown.splitlines())
    (row,) = [line for line in shown.splitlines() if line.startswith("  baseline ")]
    assert row.split()[-1] == "32.0"
    exp.evaluate(exp.root / "train_f0_subband_senet34_baseline/seed3", 21.0, coverage=coverage(30.0, prior=0.9))
    text = " ".join(plain(exp.read()).split())  # seeds of other costs are named
    assert "Prior of bona fide 0.5;" in text and "Prior of bona fide 0.9;" in text


def test_the_terminal_s_table(exp):
    text = plain(exp.usual().read())
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "Results on mini corpus 0 (small)" in text
    assert "do not stand for the real ASVspoof 2019's" in text
    # paired by seed: -0.5, -1.0, +0.5
    (row,) = [line for line in text.splitlines() if "difference  " in line]
    assert row.split()[1:4] == ["3", "-0.33", "-0.0083"]
    (row,) = [line for line in text.splitlines() if "95 % interval  " in line]
    assert row.split()[3:5] == ["-2.23,", "+1.56"]
    text = " ".join(text.split())
    assert "EER, self_distill against baseline: no significant difference for senet34 (p = 0.529)." in text


def test_significance_of_one_network(exp):
    text = markdown(exp.usual().read(), None)
    # -0.5, -1.0, +0.5: mean -1/3, variance 7/12, t^2 = (1/9) / (7/36) = 4/7, and with 2 degrees of freedom
    # p = 1 - sqrt(t^2 / (t^2 + 2)) = 1 - sqrt(2/9); |sum| of the signed values is 1 or more for 6 of 8 signs
    assert row_of(text, "EER", "senet34") == [
        "EER", "senet34", "3", "-0.33", "-2.23 to +1.56", "0.529", "0.529", "0.750",
    ]  # fmt: skip
    assert row_of(text, "min t-DCF 2019", "senet34")[2:4] == ["3", "-0.0083"]
    assert "all networks |" not in text
    assert "All networks together" not in text
    assert "- The sign-flip test of 3 pairs cannot give a p under 0.25; the sentences go by the t-test." in text


def retrain(exp, pattern, **values):
    """Change the conf of the trainings that match, `train__epochs=32` for train.epochs."""
    folders = sorted(exp.root.glob(pattern))
    assert folders
    for folder in folders:
        conf = yaml.safe_load((folder / "conf.yaml").read_text())
        for key, value in values.items():
            group, _, name = key.rpartition("__")
            (conf[group] if group else conf)[name] = value
        (folder / "conf.yaml").write_text(yaml.safe_dump(conf))


def test_trainings_under_other_conditions_are_not_tested(exp):
    """Their difference is there, and what they do not share; nothing is called better."""
    networks(exp, {"senet9": (-5.0, -6.0, -4.5), "senet34": (-5.0, -5.1, -5.2)})
    retrain(exp, "*_senet9_self_distill/seed*", train__epochs=32)
    text, words = markdown(exp.read(), None), " ".join(plain(exp.read()).split())
    sentence = (
        "self_distill minus baseline, not tested (trained otherwise: epochs: 8 -> 32): senet9 EER -5.17, min t-DCF 2019"
        " -0.1292."
    )
    for shown in (text, words):
        assert shown.count(sentence) == 1 and "baseline: better for senet34 (p" in shown
    assert "| EER | senet9 |" not in text and row_of(text, "EER", "senet34")[2:4] == ["3", "-5.10"]
    retrain(exp, "*_senet9_baseline/seed*", train__epochs=32)
    assert re.search(r"better for senet9 \(p = [.\d]+\) and senet34 \(", markdown(exp.read(), None))
    # the method's own keys and how data is read are no conditions
    retrain(exp, "*_senet9_self_distill/seed*", train__distill={"alpha": 0.1}, train__num_workers=9, augment={"p": 1})
    assert re.search(r"better for senet9 \(p = [.\d]+\) and senet34 \(", markdown(exp.read(), None))
    retrain(exp, "*_senet9_self_distill/seed2", train__epochs=16)
    assert "baseline: better for senet34 (p" in markdown(exp.read(), None)  # one seed is enough


def test_networks_trained_otherwise_are_left_out_of_all_networks_together(exp):
    networks(exp, {f"senet{depth}": (-5.0 - depth / 90, -5.5) for depth in (9, 18, 34, 50)})
    retrain(exp, "*_senet50_self_distill/seed*", train__epochs=32)
    assert row_of(markdown(exp.read(), None), "EER", "all networks")[2] == "6 in 3 networks"


def test_the_baseline_of_equal_conditions_is_taken(exp):
    """Also where there is one of the same variant."""
    exp.usual()
    for seed in (1, 2, 3):
        exp.evaluate(exp.train("senet34", "baseline", seed, tag="long", epochs=32), 15.0 + seed / 10)
        exp.evaluate(exp.train("senet34", "self_distill", seed, tag="x", epochs=32), 10.0 + seed / 7)
    text = markdown(exp.read(), None)
    assert "#### self_distill_x minus baseline_long, paired by seed" in text and "against baseline_long: better" in text
    assert "#### self_distill minus baseline, paired by seed" in text and "trained otherwise" not in text


def test_sentences_name_the_front_end_where_there_are_several(exp):
    for name in ("lps", "f0_subband"):
        for method in ("baseline", "self_distill"):
            folder = exp.train("senet34", method, 1)
            exp.evaluate(folder, 20.0)
            conf = yaml.safe_load((folder / "conf.yaml").read_text())
            (folder / "conf.yaml").write_text(yaml.safe_dump({**conf, "frontend_name": name}))
            folder.parent.rename(folder.parents[1] / folder.parent.name.replace("f0_subband", name))
    for text in (markdown(exp.read(), None), " ".join(plain(exp.read()).split())):
        for name in ("f0_subband", "lps"):
            assert (
                text.count(f"self_distill minus baseline ({name}, trained on train), not tested (1 common seed, ") == 1
            )


def test_intervals_stay_within_what_a_figure_can_be(exp):
    for method, costs in (("baseline", (0.1, 0.9, 0.8)), ("self_distill", (0.9, 0.1, 0.2))):
        for seed, cost in enumerate(costs, 1):
            exp.evaluate(exp.train("senet34", method, seed), 50.0 * (1 + (cost > 0.5)), min_tdcf_2019=cost)
    text = markdown(exp.read(), None)
    assert row_of(text, "min t-DCF 2019", "senet34")[4] == "-1.0000 to +1.0000"
    assert row_of(text, "EER", "senet34")[4] == "-100.00 to +100.00"
    (table,) = collect(exp.read())
    assert over_seeds(table.rows[0][1], TDCF_2019) == (0, 1)
    assert over_seeds(table.rows[0][1], EER) == pytest.approx((0.1162, 1), abs=0.00005)


GAINS = {"senet9": (-5.0, -6.0, -4.5), "senet18": (4.0, 4.2, 4.1), "senet34": (1.0, -1.0, 0.3), "senet50": (-1.0, -2.0)}


def networks(exp, gains, **more):
    for model, of_seeds in gains.items():
        for seed, gain in enumerate(of_seeds, 1):
            exp.evaluate(exp.train(model, "baseline", seed), 20.0 + seed / 10, **more)
            exp.evaluate(exp.train(model, "self_distill", seed), 20.0 + seed / 10 + gain, **more)
    return exp.read()


def test_what_is_told_of_several_networks_follows_from_their_figures(exp):
    experiments = networks(exp, GAINS)
    wanted = (
        r"EER, self_distill against baseline: better for senet9 \(p (= \S+|< \S+)\); worse for senet18 \(p (= \S+|< \S+)\); no"
        r" significant difference for senet34 \(p (= \S+|< \S+)\); p corrected \(Holm\). All networks together: no"
        r" significant difference \(p = "
    )
    untested = (
        "self_distill minus baseline, not tested (2 common seeds, and a test takes 3): senet50 EER -1.50, min t-DCF 2019"
        " -0.0375."
    )
    text, words = markdown(experiments, None), " ".join(plain(experiments).split())
    assert (said := re.search(f"- {wanted}", text)) and re.search(wanted, words)
    assert text.count(untested) == text.count("not tested") == words.count(untested) == words.count("not tested") == 1
    assert "| EER | senet50 |" not in text and len(re.findall("difference +[0-9]", words)) == 3
    pooled = row_of(text, "EER", "all networks")
    # the mean of -31/6, 4.1, 0.1 and -1.5; the sum of their absolute values by other signs is as far from 0 for 12 of
    # 16
    assert (pooled[2], pooled[3], pooled[6], pooled[7]) == ("11 in 4 networks", "-0.62", "-", "0.750")
    corrected = {model: row_of(text, "EER", model)[5:7] for model in ("senet9", "senet18", "senet34")}
    assert list(said.groups()) == ["< 0.001" if p[0] == "<" else f"= {p}" for _, p in corrected.values()]
    assert corrected["senet34"][0] == corrected["senet34"][1]
    assert float(corrected["senet9"][1]) == pytest.approx(2 * float(corrected["senet9"][0]), abs=0.0011)


def test_all_networks_together_may_differ(exp):
    # means -5.25, -4.2 and -4.7: t^2 = 3 (14.15 / 3)^2 / 0.27583 = 241.97, p = 1 - sqrt(241.97 / 243.97)
    text = markdown(networks(exp, {"senet9": (-5, -5.5), "senet18": (-4, -4.4), "senet34": (-4.5, -4.9)}), None)
    assert (
        "- self_distill minus baseline, not tested (2 common seeds, and a test takes 3): senet9 EER -5.25, min t-DCF"
        " 2019 -0.1313; senet18 EER -4.20, min t-DCF 2019 -0.1050; senet34 EER -4.70, min t-DCF 2019 -0.1175.\n" in text
    )
    assert "- EER, self_distill against baseline, all networks together: better (p = 0.004)." in text
    assert text.count("| EER |") == 1
    assert "sign-flip test of" not in text


def test_a_network_twice_in_one_family_is_refused(exp, tmp_path):
    exp.usual()
    again = Exp(tmp_path / "again")
    again.evaluate(again.train("senet34", "self_distill", 1), 5.0)
    for written in (lambda experiments: markdown(experiments, None), plain):
        with pytest.raises(UserError, match="exp/train_f0_.* and .*again/train_f0_.*self_distill are the same network"):
            written(read_experiments([*exp.folders(), *again.folders()]))


def test_recipes_are_compared_apart(exp):
    exp.usual()
    for seed, eer in enumerate((20.0, 22.5, 21.0), 1):
        exp.evaluate(exp.train("senet34", "self_distill", seed, tag="beta1"), eer)
    text = markdown(exp.read(), None)
    assert "#### self_distill minus baseline, paired by seed" in text
    assert "#### self_distill_beta1 minus baseline, paired by seed" in text
    assert "a cell holds `baseline / self_distill_beta1` (f0_subband, trained on train)." in text


def test_without_asv_scores_only_the_eer_is_tested(exp):
    nothing = {"min_tdcf_2019": None, "min_tdcf_2021": None, "asv_eer": None}
    text = markdown(networks(exp, GAINS, **nothing), None)
    assert "no ASV scores" in text
    assert "- EER, self_distill" in text
    assert "- min t-DCF" not in text
    assert "| min t-DCF 2019 | senet9 |" not in text


def test_a_baseline_alone_is_compared_with_nothing(exp):
    exp.evaluate(exp.train("senet34", "baseline", 1), 20.0)
    text = markdown(exp.read(), None)
    assert "Tests:" not in text
    assert "paired by seed" not in text
    assert "own classifier" not in text
    assert "by speaker" not in text
    assert row_of(text, "A07") == ["A07", "60", "21.00"]
    assert "| attack | spoof trials | senet34 baseline |" in text


def test_attacks_in_words_and_their_mean_over_networks(exp):
    corpus = {**MINI, "attacks": {"A07": "formant TTS"}}
    text = markdown(networks(exp, {"senet9": (-5.0,), "senet18": (4.0,)}, corpus=corpus), None)
    assert "| attack | spoof trials | senet9 | senet18 | mean over networks |" in text
    assert "| A07 formant TTS | 60 |" in text
    assert "| A08 | 40 |" in text


def speakers(**rates):
    return {name: {"n_bonafide": count, "miss_rate": miss} for name, (count, miss) in rates.items()}


def test_speakers(exp):
    for method, studio in (("baseline", (20.0, 30.0)), ("self_distill", (10.0, 20.0))):
        for seed, miss in enumerate(studio, 1):
            known = speakers(studio=(300, miss), guest=(65, 40.0), only_spoof=(0, None))
            exp.evaluate(exp.train("senet34", method, seed), 20.0, per_speaker=known)
    exp.evaluate(exp.train("senet50", "baseline", 1), 20.0)
    text = markdown(exp.read(), None)
    assert row_of(text, "studio", "300 (82 %)") == ["studio", "300 (82 %)", "25.00 / 15.00"]
    assert row_of(text, "guest", "65 (18 %)")[2] == "40.00 / 40.00"
    assert "only_spoof" not in text
    assert text.count("| guest |") == 1  # there is no table of senet50, evaluated without speakers


def test_many_speakers_are_summed_up(exp):
    known = speakers(**{f"s{i:02}": (20 - i, float(i)) for i in range(14)})
    exp.evaluate(exp.train("senet34", "baseline", 1), 20.0, per_speaker=known)
    text = markdown(exp.read(), None)
    assert "| s10 | 10 (5 %) | 10.00 |" in text
    assert "| s11 |" not in text
    # 9, 8 and 7 trials
    assert f"| 3 others | 24 (13 %) | {(9 * 11 + 8 * 12 + 7 * 13) / 24:.2f} |" in text


PA_ATTACKS = {
    "AA": {"eer": 30.0, "min_tdcf_2019": 0.5, "n_spoof": 60},
    "CC": {"eer": 2.0, "min_tdcf_2019": 0.04, "n_spoof": 40},
}


def by_environment(shift=0.0, **changed):
    """Of evaluation.json, the figures by factor: those of one letter n are 10 n percent and n / 10 and the shift."""

    def levels(part, letters):
        return {
            letter: {"n_bonafide": 100 + i, "n_spoof": 1000 + i, "eer": 10.0 * i + shift, "min_tdcf_2019": i / 10 + shift / 100}
            | changed.get(f"{part}_{letter}", {})
            for i, letter in enumerate(letters, 1)
        }  # fmt: skip

    return {
        "per_environment": {key: levels(key, "abc") for key in ("room_size", "t60", "talker_to_asv")},
        "per_attack_factor": {key: levels(key, "ABC") for key in ("attacker_to_talker", "device_quality")},
        "per_attack": PA_ATTACKS,
    }


def sections_of(text):
    """Text under each heading of the fourth level."""
    parts = (part.split("\n", 1) for part in text.split("#### ")[1:])
    return {title: rest.split("\n##")[0] for title, rest in parts}


def test_costs_of_attacks(exp):
    for method, cost in (("baseline", 0.3), ("self_distill", 0.2)):
        for seed in (1, 2):
            attacks = {"A07": {"eer": 9.0, "n_spoof": 60, "min_tdcf_2019": cost + seed / 100}}
            attacks["A08"] = {"eer": 9.0, "n_spoof": 40, "min_tdcf_2019": 0.1 if method == "baseline" else None}
            exp.evaluate(exp.train("senet34", method, seed), 20.0, per_attack=attacks)
    sections = sections_of(markdown(exp.read(), None))
    costs = sections["min t-DCF 2019 of each attack, against all bona fide trials"]
    assert "With the ASV's spoof miss rate of that attack's trials" in costs
    assert row_of(costs, "A07") == ["A07", "60", "0.3150 / 0.2150"]
    assert row_of(costs, "A08") == ["A08", "40", "0.1000 / -"]
    assert "| A07 | 60 | 9.00 / 9.00 |" in sections["EER % of each attack, against all bona fide trials"]


def test_without_environments_nothing_is_told_of_them(exp):
    sections = sections_of(markdown(exp.usual().read(), None))
    assert list(sections) == [
        "self_distill minus baseline, paired by seed (f0_subband, trained on train)",
        "EER % by exit",
        "EER % by exit of self_distill minus the complete baseline, paired by seed (f0_subband, trained on train)",
        "EER % of each attack, against all bona fide trials",
    ]  # without costs by attack, there is no table of them either
    text = markdown(exp.read(), None)
    assert "environment" not in text
    assert "eat map" not in text


def test_environments(exp):
    for method, shift in (("baseline", 1.0), ("self_distill", 0.0)):
        for seed in (1, 2):
            exp.evaluate(exp.train("ecanet34", method, seed), 20.0, **by_environment(shift + seed))
    text = markdown(exp.read(), None)
    sections = sections_of(text)
    title = "by environment factor, bona fide against spoof trials of such environments"
    rooms, costs = sections[f"EER % {title}"], sections[f"min t-DCF 2019 {title}"]
    assert "a cell holds `baseline / self_distill`." in rooms
    assert "| factor | level | bona fide trials | spoof trials | ecanet34 |" in rooms
    assert row_of(rooms, "room size", "a: 2-5 m²") == ["room size", "a: 2-5 m²", "101", "1,001", "12.50 / 11.50"]
    assert row_of(rooms, "T60", "c: 600-1000 ms")[2:] == ["103", "1,003", "32.50 / 31.50"]
    assert row_of(costs, "talker-to-ASV distance", "b: 50-100 cm")[4] == "0.2250 / 0.2150"
    assert "ASV scores name no environments" in costs
    title = "by attack factor, against all bona fide trials"
    assert row_of(sections[f"EER % {title}"], "attacker-to-talker distance", "C: > 100 cm")[4] == "32.50 / 31.50"
    assert row_of(sections[f"min t-DCF 2019 {title}"], "replay device quality", "A: perfect")[4] == "0.1250 / 0.1150"
    assert row_of(sections["min t-DCF 2019 of each attack, against all bona fide trials"], "CC")[2] == "0.0400 / 0.0400"
    assert text.count("`seed<N>/results/eval/attack_by_environment.png`") == 1


def test_a_level_without_figures_and_a_seed_without_environments(exp):
    nothing = {"room_size_b": {"n_bonafide": 0, "eer": None, "min_tdcf_2019": None}}
    exp.evaluate(exp.train("ecanet34", "baseline", 1), 20.0, per_attack=PA_ATTACKS)
    exp.evaluate(exp.train("ecanet34", "baseline", 2), 20.0, **by_environment(**nothing))
    rooms = sections_of(markdown(exp.read(), None))[
        "EER % by environment factor, bona fide against spoof trials of such environments"
    ]
    assert row_of(rooms, "room size", "b: 5-10 m²")[2:] == ["0", "1,002", "-"]
    assert row_of(rooms, "room size", "c: 10-20 m²")[4] == "30.00"


def test_environments_without_asv_scores(exp):
    found = by_environment()
    for part in ("per_environment", "per_attack_factor"):
        for levels in found[part].values():
            for figures in levels.values():
                figures["min_tdcf_2019"] = None
    found["per_attack"] = {name: {**figures, "min_tdcf_2019": None} for name, figures in PA_ATTACKS.items()}
    exp.evaluate(exp.train("ecanet34", "baseline", 1), 20.0, **found)
    titles = sections_of(markdown(exp.read(), None))
    assert [title.split(" by")[0] for title in titles][1:] == ["EER %", "EER %"]
    assert not any("t-DCF" in title for title in titles)


def test_multiply_adds_of_blocks(exp):
    from steps import nnet, training
    from steps.nnet.cost import detector_cost
    from utils.conf import to_dict

    confs = ROOT / "egs/asvspoof2019/la/conf"
    exp.usual()
    assert "were the network left there" not in markdown(exp.read(), None)  # confs that no network can be made of
    model = nnet.load_conf(confs / "model/ecanet9.yaml")
    train = training.load_conf(confs / "train/self_distill.yaml")
    for folder in exp.root.glob("*self_distill/seed*"):
        conf = yaml.safe_load((folder / "conf.yaml").read_text())
        (folder / "conf.yaml").write_text(yaml.safe_dump({**conf, "model": to_dict(model), "train": to_dict(train)}))
    (e,) = [e for e in exp.read() if e.method == "self_distill"]
    costs = block_multiply_adds(e)
    assert list(costs) == [1, 2, 3, 4]
    assert costs[4] == detector_cost(nnet.make_detector(model), 600, 45)["multiply_adds"]
    # the stem's 7x7 on 300 x 23, two 3x3 of 16 channels on 150 x 12 with ECA's kernel, 16 -> 128 and 128 -> 2
    assert costs[1] == 300 * 23 * 16 * 49 + 2 * 150 * 12 * 16 * 16 * 9 + 16 * 3 + 16 * 128 + 128 * 2
    assert f"({100 * costs[1] / costs[4]:.0f} %) |" in markdown(exp.read(), None)


def test_the_summary_stands_first_and_begins_with_eval(exp):
    text = markdown(exp.usual().read(), "x")
    summary = text[text.index("## Summary") : text.index("## mini corpus")].splitlines()
    sets = re.findall(r"^### (\w+), ", text, re.M)
    assert sets[0] == "eval" and sets[-1] in ("dev", "eval")
    said = [line for line in summary if line.startswith("- ")]
    assert said[0] == (
        "- self_distill 20.67 % against baseline 21.00 % EER on eval (senet34): difference -0.33 points (95 % interval"
        " -2.23 to +1.56), p = 0.529: no significant difference."
    )
    assert len(text[: text.index("## ", text.index("## Summary") + 3)].splitlines()) <= 20


def test_the_forest_plot_lies_beside_and_goes_where_nothing_is_compared(exp, tmp_path):
    out = tmp_path / "RESULTS.md"
    exp.usual()
    for _ in range(2):
        done = in_process.call(make_results.main, "make_results.py", "--out", out, *exp.folders())
        assert done.returncode == 0, done.stderr
        assert "(RESULTS_forest.png)" in out.read_text().partition("## mini corpus")[0]
        assert (tmp_path / "RESULTS_forest.png").read_bytes().startswith(b"\x89PNG")
    (alone,) = [folder for folder in exp.folders() if folder.name.endswith("baseline")]
    assert in_process.call(make_results.main, "make_results.py", "--out", out, alone).returncode == 0
    assert "forest" not in out.read_text() and not (tmp_path / "RESULTS_forest.png").exists()


def test_one_seed_has_no_spread_and_no_verdict(exp):
    for method in ("baseline", "self_distill"):
        exp.evaluate(exp.train("ecanet18", method, 1), 20.0)
    experiments = exp.read()
    assert row_of(markdown(experiments, None), "ecanet18", "baseline", "1,343,760")[5] == "20.00 (1 seed)"
    text = " ".join(plain(experiments).split())
    assert "20.00 (1 seed)" in text
    untested = (
        "self_distill minus baseline, not tested (1 common seed, and a test takes 3): ecanet18 EER +0.00, min t-DCF 2019"
        " +0.0000."
    )
    assert text.count(untested) == 1 and "difference 1" not in text
    text = markdown(experiments, None)
    assert text.count(f"- {untested}") == 1 and text.count("not tested") == 1
    assert "Tests:" not in text and "| figure | network |" not in text


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


def test_what_a_training_is_called_stands_in_its_conf_whatever_its_folder_is_called(exp):
    for conf, method in (("baseline_mini", "baseline"), ("self_distill_mini", "self_distill"), ("own", "baseline")):
        folder = exp.train("senet34", method, 1)
        values = yaml.safe_load((folder / "conf.yaml").read_text()) | {"train_name": conf, "tag": "short"}
        (folder / "conf.yaml").write_text(yaml.safe_dump(values))
        exp.evaluate(folder, 20.0)
        folder.parent.rename(exp.root / f"train_f0_subband_senet34_{conf}_other")
    folder = exp.train("senet34", "baseline", 1)
    exp.evaluate(folder, 20.0)
    folder.parent.rename(exp.root / "my_own_name")
    assert {(e.train_set, e.recipe, e.variant, e.method) for e in exp.read()} == {
        ("train", "baseline_mini_short", "mini_short", "baseline"),
        ("train", "self_distill_mini_short", "mini_short", "self_distill"),
        ("train", "own_short", "short", "baseline"),
        ("train", "baseline", "", "baseline"),
    }
    assert "self_distill_mini_short minus baseline_mini_short" in markdown(exp.read(), None)


def spoil(key, value):
    def change(folder):
        path = folder / "results/eval/evaluation.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

    return change


def make_older(folder):
    (folder / "results/eval/evaluation.json").rename(folder / "results/eval/metrics.json")


def evaluate_twice(folder):
    shutil.copytree(folder / "results/eval", folder / "results/eval_copy")


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda f: (f / "conf.yaml").unlink(), "none of its seeds has a conf.yaml"),
        (lambda f: (f / "conf.yaml").write_text("method: baseline\n"), "the key 'frontend_name' is missing"),
        (lambda f: (f / "results/eval/evaluation.json").write_text("{"), "cannot be read as JSON"),
        (
            lambda f: (f / "results/eval/evaluation.json").write_text("{}"),
            "n_bonafide is missing; evaluate again: run.sh",
        ),
        (spoil("pooled", 0.2), "pooled is '0.2', not a group of values"),
        (spoil("n_bonafide", 4.5), "n_bonafide is '4.5', not a whole number"),
        (spoil("min_adcf", 10**400), "min_adcf is '1000*', not a number"),
        (spoil("per_attack", []), "per_attack is '.*', not a group"),
        (spoil("per_speaker", {"s": {"n_bonafide": 4}}), "per_speaker.s.n_spoof is missing"),
        (spoil("environments", {"by_factor": {}}), "environments.per_environment is missing"),
        (make_older, "metrics.json: written by an older version; evaluate again: run.sh --stage 5"),
        (evaluate_twice, "evaluations of the same scores"),
        (lambda f: f.rename(f.parent / "run1"), "no folder seed<N>"),
    ],
)
def test_broken_folders(exp, change, words):
    folder = exp.train("senet34", "baseline", 1)
    exp.evaluate(folder, 20.0)
    change(folder)
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


def test_the_table_of_front_ends(exp, tmp_path):
    """Costs are measured, figures are those of the one experiment of each front end; the rest of the page stays."""
    import soundfile

    from tests.conftest import speech_like

    for seed, eer in enumerate((20.0, 22.0), 1):
        exp.evaluate(exp.train("ecanet9", "baseline", seed), eer)
    wavs = []
    for i in range(4):
        soundfile.write(tmp_path / f"u{i}.flac", speech_like(16000, seed=i), 16000)
        wavs.append(f"u{i} {tmp_path}/u{i}.flac\n")
    (tmp_path / "wav.scp").write_text("".join(wavs))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- choosing table -->\nold\n<!-- end of choosing table -->\nafter\n")

    def make(*more):
        return subprocess.run(
            [sys.executable, ROOT / "tests/bench/frontend_table.py", "--confs",
             f"{ROOT}/conf/frontend/f0_subband.yaml {ROOT}/conf/frontend/imag_real_257.yaml", "--wav-scp",
             tmp_path / "wav.scp", "--rounds", "1", "--out", page, *more], capture_output=True, text=True,
        )  # fmt: skip

    done = make(*exp.folders())
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    first, second = row_of(text, "`f0_subband`"), row_of(text, "`imag_real_257`")
    assert first[1:3] == ["45", "124"] and first[4:] == ["22", "21.00 ± 1.41", "0.525 ± 0.035"]
    assert float(first[3]) > 0
    assert second[1] == "2 x 257" and second[5:] == ["not measured", "not measured"]

    exp.evaluate(exp.train("senet34", "baseline", 1), 20.0)
    done = make(*exp.folders())
    assert done.returncode == 1 and "have one front end" in done.stderr
    page.write_text("nothing\n")
    done = make()
    assert done.returncode == 1 and "choosing table" in done.stderr and page.read_text() == "nothing\n"


class Scored:
    """Experiments with score files, evaluated as the recipe does."""

    def __init__(self, exp):
        self.exp = exp

    def train(self, frontend, seed, chance, eval_bonafide=100):
        folder = self.exp.train("ecanet9", "baseline", seed)
        conf = yaml.safe_load((folder / "conf.yaml").read_text()) | {"frontend_name": frontend}
        (folder / "conf.yaml").write_text(yaml.safe_dump(conf))
        moved = self.exp.root / f"train_{frontend}_ecanet9_baseline" / f"seed{seed}"
        if folder != moved:
            moved.parent.mkdir(exist_ok=True)
            folder.rename(moved)
            folder.parent.rmdir()
        for number, (name, bonafide) in enumerate((("dev", 100), ("eval", eval_bonafide))):
            # what the trials are like, the same for all; what each front end hears of them; and each training's own
            parts = [np.random.default_rng([number, *part]).normal(size=300) for part in ((), chance, (*chance, seed))]
            score = sum(parts) + 3.0 * (np.arange(300) < bonafide)
            scores = moved / "scores" / f"{name}.txt"
            scores.parent.mkdir(exist_ok=True)
            scores.write_text("".join(
                f"{name[0]}{i} {'- bonafide' if i < bonafide else 'A07 spoof'} {value!r}\n"
                for i, value in enumerate(score.tolist())
            ))  # fmt: skip
            with contextlib.redirect_stdout(io.StringIO()):
                evaluate_files(scores, moved / "results" / name, None, None, None, plot=False)
        return moved


def fusion_rows(text):
    """Of the sets' fusion sections: cells, without the Markdown."""
    part = text.split("#### Fusion")[1].split("\n#")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in part.splitlines()
        if line.startswith("| ecanet9")
    ]


def test_fusion_of_seeds_and_front_ends(exp):
    scored = Scored(exp)
    for frontend, chance in (("lfcc", (1,)), ("lps", (2,))):
        for seed in (1, 2, 3):
            scored.train(frontend, seed, chance)
    text = markdown(exp.read(), None)
    assert text.count("#### Fusion") == 1  # not of dev, which the models are trained on
    assert "by a model trained on dev" in text
    rows = fusion_rows(text)
    assert [row[2:5] for row in rows] == [
        ["lfcc", "seeds", "3"], ["lps", "seeds", "3"],
        ["lfcc + lps", "front ends, seed by seed", "2"], ["lfcc + lps", "seeds and front ends", "6"],
    ]  # fmt: skip
    alone = [[float(one.split()[0]) for one in row[5].split(" / ")] for row in rows]
    fused = [float(row[6].split()[0]) for row in rows]
    assert [len(each) for each in alone] == [1, 1, 2, 2]
    assert alone[2] == alone[0] + alone[1]
    assert all(one < min(each) for one, each in zip(fused, alone))  # they err apart
    assert fused[3] < min(fused[:2])
    assert "±" in rows[2][6] and "±" not in rows[0][6]
    assert rows[0][7:9] == ["-", "-"] and rows[2][7] == "- / -"  # no ASV scores
    # worked out again: the mean of calibrated scores
    files = [
        [exp.root / f"train_lfcc_ecanet9_baseline/seed{s}/scores/{n}.txt" for s in (1, 2, 3)] for n in ("dev", "eval")
    ]
    dev, test = (np.column_stack([read_cm_scores(path).score for path in paths]) for paths in files)
    keys = np.arange(300) < 100
    llr = fit_mean(dev, keys).llr(test)
    assert rows[0][6] == f"{100 * equal_error_rate(det_curve(llr[keys], llr[~keys]))[0]:.2f}"
    assert rows[0][9] == f"{cllr(llr[keys], llr[~keys]):.3f}"


def test_what_is_not_fused(exp):
    scored = Scored(exp)
    scored.train("lfcc", 1, (1,))
    assert "#### Fusion" not in markdown(exp.read(), None)  # one training
    second = scored.train("lfcc", 2, (1,))
    assert len(fusion_rows(markdown(exp.read(), None))) == 1
    # scores that came after the results
    scores = second / "scores/eval.txt"
    scores.write_text(scores.read_text().replace("A07 spoof -", "A07 spoof "))
    text = markdown(exp.read(), None)
    assert "- not fused: train_lfcc_ecanet9_baseline: " in text
    assert "scores/eval.txt is not what" in text
    scores.unlink()  # results without scores: nothing to fuse, nothing to say
    assert "#### Fusion" not in markdown(exp.read(), None)


def test_each_exit_is_tested_against_the_complete_baseline(exp):
    """Their p-values are corrected together; the last stage's head is the complete network and no exit."""
    text = markdown(exp.usual().read(), None)
    _, after = text.split("#### EER % by exit of self_distill minus the complete baseline, paired by seed")
    rows = [line for line in after.split("####")[0].splitlines() if line.startswith("| senet34")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[1:4] for row in cells] == [["exit 1", "3", "+2.67"], ["exit 2", "3", "+1.67"], ["exit 3", "3", "+0.67"]]
    p_values = [stats.ttest_1samp(np.array([2.5, 2.0, 3.5]) - less, 0).pvalue for less in (0, 1, 2)]
    assert [float(row[5]) for row in cells] == pytest.approx(p_values, abs=6e-4)
    assert [float(row[6]) for row in cells] == pytest.approx([3 * p_values[0], 2 * p_values[1], p_values[2]], abs=2e-3)
