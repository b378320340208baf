"""steps/evaluate.py as a user runs it: what it writes, prints and refuses."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from steps.evaluate import main
from tests.conftest import picture_of
from tests.in_process import call

ROOT = Path(__file__).resolve().parents[2]
CM = [
    *[(f"b{i}", "-", "bonafide", 2.0 + i / 10) for i in range(20)],
    *[(f"s{i}", "A07", "spoof", i / 5) for i in range(20)],
    *[(f"t{i}", "A09", "spoof", -1 - i / 10) for i in range(10)],
]
ASV = [
    *[("bonafide", "target", 3.0 + i / 10) for i in range(20)],
    *[("bonafide", "nontarget", -3.0 + i / 5) for i in range(40)],
    *[("A07", "spoof", 1.0 + i / 5) for i in range(20)],
]
ASV_A08 = [("A08", "spoof", -1.0 + i / 5) for i in range(20)]


def text_of(rows):
    return "".join(" ".join(map(str, row)) + "\n" for row in rows)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run_evaluate(cm=CM, *options, asv=ASV, plot=False, out=True):
        """cm, asv: rows, or the file's text or bytes; asv None: without ASV scores."""
        command = ["evaluate.py", *(["--out", "results"] if out else []), *options]
        for name, rows in (("cm.txt", cm), ("asv.txt", asv)):
            if rows is not None:
                text = rows if isinstance(rows, str | bytes) else text_of(rows)
                (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        command += [] if plot else ["--no-plot"]
        command += [] if asv is None else ["--asv-scores", "asv.txt"]
        return call(main, *command, "cm.txt")

    return run_evaluate


@pytest.fixture
def metrics(tmp_path):
    return lambda: json.loads((tmp_path / "results/evaluation.json").read_text())


def test_the_largest_scores_are_scores(run, metrics):
    """A sentinel for what could not be scored counts as the lowest score, and tables stay narrow."""
    largest = sys.float_info.max
    lowest = [(utt, attack, key, -largest if utt in ("b0", "s0") else score) for utt, attack, key, score in CM]
    low = [(utt, attack, key, -99 if utt in ("b0", "s0") else score) for utt, attack, key, score in CM]
    by_rank = {}
    for rows in (low, lowest):
        done = run(rows, plot=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert all(len(line) <= 80 for line in done.stdout.splitlines())
        found = metrics()
        found |= found["pooled"] | found["pooled"]["detection"]
        by_rank[rows is low] = {
            name: found[name] for name in ("eer", "auc", "min_cllr", "min_dcf", "min_tdcf_2019", "intervals")
        }
    assert by_rank[True] == by_rank[False]
    assert found["cllr"] == pytest.approx(largest / 20 / (2 * np.log(2)))
    assert "Cllr, bits *                6.5e+306" in done.stdout


def test_writes_all_that_it_promises(run, metrics, tmp_path):
    (tmp_path / "corpus.json").write_text('{"name": "mini corpus", "version": 0, "size": "small", "seed": 1}')
    done = run(CM, "--corpus-json", "corpus.json", "--title", "eval", plot=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "eval - mini corpus 0 (small)" in done.stdout
    found = metrics()
    assert found["corpus"] == {"name": "mini corpus", "version": 0, "size": "small", "seed": 1}
    assert (found["n_bonafide"], found["pooled"]["n_spoof"], found["warnings"]) == (20, 30, [])
    # bona fide from 2.0 by 0.1, A07 from 0 by 0.2: with 2.6 rejected, the bona fide one first, 7 of 20 are missed and
    # 7 of 20 accepted
    assert found["per_attack"]["A07"]["eer"] == pytest.approx(0.35)
    assert found["per_attack"]["A07"]["asv_rate"] == "attack"
    one = found["per_attack"]["A09"]
    assert one["detection"] | {"act_dcf": None, "cllr": None} == {
        "rocch_eer": 0.0, "auc": 1.0, "min_dcf": 0.0, "act_dcf": None, "cllr": None, "min_cllr": 0.0,
        "balanced_accuracy": 1.0,
    }  # fmt: skip
    assert (one["eer"], one["min_tdcf_2019"], one["n_spoof"], one["asv_rate"]) == (0.0, 0.0, 10, "pooled")
    assert -1 <= one["threshold"] < one["tdcf_threshold"] + 3
    assert 0 < found["pooled"]["min_tdcf_2019"] < found["pooled"]["min_tdcf_2021"] < 1
    # targets from 3.0 by 0.1, nontargets from -3.0 by 0.2: with 3.3 rejected, 4 of 20 and 8 of 40
    assert found["asv"]["eer"] == pytest.approx(0.2)
    lines = [line.split("\t") for line in (tmp_path / "results/per_attack.tsv").read_text().splitlines()]
    assert [line[0] for line in lines] == ["attack", "A07", "A09", "pooled"]
    assert {len(line) for line in lines} == {14}
    assert {line[6] for line in lines[1:]} == {"mini corpus 0 (small)"}
    assert float(lines[-1][2]) == 100 * found["pooled"]["eer"]
    picture_of(tmp_path / "results/det.png")
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "det.png", "evaluation.json", "per_attack.tsv",
    ]  # fmt: skip


def test_an_attack_s_cost_takes_that_attack_s_asv_rate(run, metrics):
    from steps.metrics.error_rates import det_curve
    from steps.metrics.tandem import AsvRates, tdcf_2019, tdcf_2021

    done = run(asv=[*ASV, *ASV_A08])
    assert done.returncode == 0
    assert "1 attack that the CM scores lack (A08): the t-DCF of all attacks takes" in done.stderr
    asv = metrics()["asv"]
    spoof = np.array([score for attack, _, score in ASV if attack == "A07"])
    rates = AsvRates(**asv["rates"] | {"miss_spoof": float(np.mean(spoof < asv["threshold"]))})
    assert rates.miss_spoof != asv["rates"]["miss_spoof"]
    curve = det_curve([row[3] for row in CM if row[2] == "bonafide"], [row[3] for row in CM if row[1] == "A07"])
    assert metrics()["per_attack"]["A07"]["min_tdcf_2019"] == pytest.approx(tdcf_2019(curve, rates).min(), rel=1e-12)
    assert metrics()["per_attack"]["A07"]["min_tdcf_2021"] == pytest.approx(tdcf_2021(curve, rates).min(), rel=1e-12)


def test_without_asv_scores_there_is_no_tdcf_and_it_says_why(run, metrics):
    done = run(asv=None)
    assert done.returncode == 0
    assert "t-DCF: not computed, because no ASV scores were given (--asv-scores)" in done.stdout
    found = metrics()
    assert found["pooled"]["eer"] > 0
    assert found["per_attack"]["A07"]["asv_rate"] is None
    for key in ("min_tdcf_2019", "min_tdcf_2021", "tdcf_threshold"):
        assert found["pooled"][key] is None
        assert found["per_attack"]["A07"][key] is None
    assert found["asv"] is None


def test_flipped_scores_give_a_warning_and_stay_as_they_are(run, metrics):
    done = run([(utt, attack, key, -score) for utt, attack, key, score in CM])
    assert done.returncode == 0
    assert "WARNING" in done.stderr
    assert "sign is flipped" in done.stderr
    assert metrics()["pooled"]["eer"] > 0.5
    assert "flipped" in metrics()["warnings"][0]


def test_an_attack_that_the_asv_always_rejects_has_no_cost(run, metrics):
    done = run(asv=[*ASV, *[("A09", "spoof", -50)] * 10])
    assert done.returncode == 0
    assert "the t-DCF of attack A09 is not defined: the ASV rejects every one" in done.stderr
    assert metrics()["per_attack"]["A09"]["min_tdcf_2019"] is None
    assert metrics()["pooled"]["min_tdcf_2019"] > 0


def test_windows_line_ends_and_a_missing_last_newline(run, metrics):
    assert run().returncode == 0
    before = metrics()
    done = run(text_of(CM).replace("\n", "\r\n").encode(), asv=text_of(ASV).rstrip("\n"))
    assert (done.returncode, done.stderr) == (0, "")
    assert metrics() == before


def test_speakers(run, metrics, tmp_path):
    whose = {utt: "ann" if int(utt[1:]) < 12 else "bob" for utt, *_ in CM}
    (tmp_path / "utt2speaker").write_text(text_of(whose.items()))
    done = run(CM, "--speakers", "utt2speaker")
    assert (done.returncode, done.stderr) == (0, "")
    assert "per_speaker.tsv" in done.stdout
    heading, *lines = [line.split("\t") for line in (tmp_path / "results/per_speaker.tsv").read_text().splitlines()]
    assert heading == [
        "speaker", "n_bonafide", "n_spoof", "miss_rate_percent", "eer_percent", "eer_own_spoof_percent",
    ]  # fmt: skip
    assert [line[:3] for line in lines] == [["ann", "12", "22"], ["bob", "8", "8"]]
    assert lines[1][4:] == ["", ""]  # fewer than 10 bona fide trials
    threshold = metrics()["pooled"]["threshold"]
    missed = sum(score <= threshold for utt, _, key, score in CM if key == "bonafide" and whose[utt] == "ann")
    assert float(lines[0][3]) == pytest.approx(100 * missed / 12)
    assert 100 * metrics()["per_speaker"]["ann"]["miss"] == float(lines[0][3])
    assert metrics()["per_speaker"]["bob"]["eer"] is None
    assert run().returncode == 0
    assert not (tmp_path / "results/per_speaker.tsv").exists()
    assert metrics()["per_speaker"] is None


def test_each_trial_needs_a_speaker(run, tmp_path):
    (tmp_path / "utt2speaker").write_text(text_of([(utt, "ann") for utt, *_ in CM if utt not in ("s3", "s4")]))
    done = run(CM, "--speakers", "utt2speaker")
    assert done.returncode == 1
    assert "utt2speaker: it has no line of s3 (2 trials lack one)" in done.stderr
    assert not (tmp_path / "results").exists()


def test_an_experiment_s_sets_and_heads(tmp_path):
    for name in ("dev", "eval", "dev2"):
        data = tmp_path / "data" / name
        data.mkdir(parents=True)
        (data / "utt2label").write_text(text_of([(name + utt, key) for utt, _, key, _ in CM]))
        (data / "corpus.json").write_text('{"name": "mini corpus"}')
    (tmp_path / "data/eval/utt2speaker").write_text(text_of([("eval" + utt, "ann") for utt, *_ in CM]))
    (tmp_path / "exp/scores").mkdir(parents=True)
    for name in ("dev", "eval", "eval_head1", "dev2"):
        own = [(name.removesuffix("_head1") + utt, *rest) for utt, *rest in CM]
        (tmp_path / f"exp/scores/{name}.txt").write_text(text_of(own))
    command = [sys.executable, ROOT / "steps/evaluate_experiment.py", "exp", "dev", "eval"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    results = tmp_path / "exp/results"
    assert sorted(path.name for path in results.iterdir()) == ["dev", "eval", "eval_head1"]
    assert [path.parent.name for path in results.glob("*/per_speaker.tsv")] == ["eval"]
    assert sorted(path.parent.name for path in results.glob("*/det.png")) == ["dev", "eval"]
    assert json.loads((tmp_path / "exp/calibration.json").read_text())["trained_on"]["sets"] == ["dev"]


def test_no_plot_leaves_no_stale_plot(run, tmp_path):
    assert run(plot=True).returncode == 0
    assert (tmp_path / "results/det.png").exists()
    assert run().returncode == 0
    assert not (tmp_path / "results/det.png").exists()


def changed(line, row):
    return [*CM[:line], row, *CM[line + 1 :]]


CM_FAULTS = {
    "NaN": (changed(3, ("b3", "-", "bonafide", "nan")), ["line 4", "b3", "score is nan", "score again"]),
    "infinite": (changed(22, ("s2", "A07", "spoof", "-inf")), ["line 23", "s2", "score is -inf"]),
    "no number": (changed(4, ("b4", "-", "bonafide", "1.2.3")), ["line 5", "b4", "'1.2.3' is not a number"]),
    "unknown key": (changed(2, ("b2", "-", "genuine", 1)), ["line 3", "b2", "'genuine' is neither", "utt2label"]),
    "missing key": (changed(2, ("b2", "-", 1.5)), ["line 3", "3 columns where 4", "UTT ATTACK KEY SCORE"]),
    "five columns": (changed(2, ("spk", "b2", "-", "bonafide", 1.5)), ["line 3", "5 columns where 4"]),
    "empty line": (changed(2, ("",)), ["line 3"]),
    "duplicate": ([*CM, CM[1]], ["line 51", "b1 stands there twice", "line 2"]),
    "bona fide with an attack": (changed(1, ("b1", "A07", "bonafide", 1)), ["line 2", "b1", "attack 'A07'", "write -"]),
    "spoof without an attack": (changed(21, ("s1", "-", "spoof", 1)), ["line 22", "s1", "attack '-'"]),
    "bona fide only": (CM[:20], ["all 20 trials are bona fide", "both classes"]),
    "spoof only": (CM[20:], ["all 30 trials are spoof", "both classes"]),
    "two scores": ([(u, a, k, int(k == "spoof")) for u, a, k, _ in CM], ["only 2 distinct scores", "full precision"]),
    "one score": ([(u, a, k, 0.5) for u, a, k, _ in CM], ["only 1 distinct score among"]),
    "empty": ("", ["file is empty"]),
    "not text": (b"b1 - bonafide 1\n\xff\xfe - spoof 2\n", ["not UTF-8"]),
}


@pytest.mark.parametrize("rows, words", CM_FAULTS.values(), ids=CM_FAULTS.keys())
def test_faulty_cm_scores(run, tmp_path, rows, words):
    done = run(rows)
    assert done.returncode == 1
    assert done.stderr.startswith("evaluate.py: error: cm.txt: ")
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "results").exists()


ASV_FAULTS = {
    "no targets": ([row for row in ASV if row[1] != "target"], ["no target trial", "without --asv-scores"]),
    "no nontargets": ([row for row in ASV if row[1] != "nontarget"], ["no nontarget trial"]),
    "no spoof": ([row for row in ASV if row[1] != "spoof"], ["no spoof trial"]),
    "unknown key": ([*ASV, ("A07", "replay", 1)], ["line 81", "'replay' is none of"]),
    "four columns": ([*ASV, ("utt", "A07", "spoof", 1)], ["line 81", "4 columns where 3"]),
    "NaN": ([*ASV, ("A07", "spoof", "NaN")], ["line 81", "score is NaN"]),
    "empty": ("", ["file is empty"]),
}


@pytest.mark.parametrize("rows, words", ASV_FAULTS.values(), ids=ASV_FAULTS.keys())
def test_faulty_asv_scores(run, tmp_path, rows, words):
    done = run(asv=rows)
    assert done.returncode == 1
    assert done.stderr.startswith("evaluate.py: error: asv.txt: ")
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "results").exists()


def test_missing_files(run):
    done = run(None)
    assert done.returncode == 1
    assert "cm.txt: no such file" in done.stderr
    done = run(CM, "--corpus-json", "no.json")
    assert done.returncode == 1
    assert "no.json: no such file" in done.stderr


def test_a_corpus_without_a_name_is_refused(run, tmp_path):
    (tmp_path / "corpus.json").write_text('{"version": 1}')
    done = run(CM, "--corpus-json", "corpus.json")
    assert done.returncode == 1
    assert 'corpus.json: it has no "name"' in done.stderr


def test_help_has_an_example():
    done = subprocess.run(
        [sys.executable, ROOT / "steps/evaluate.py", "--help"], capture_output=True, text=True, check=True
    )
    assert "example:" in done.stdout
