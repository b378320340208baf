"""What the report finds within detectors, and how it chooses what to show."""

import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from steps import frontend, nnet
from steps.evaluation.score_files import CmScores
from steps.experiment.experiments import read_experiments
from steps.frontend import filter_bank
from steps.metrics.paired_tests import interval_of_mean
from steps.nnet.base import score_of
from steps.nnet.grad_cam import blend, evidence
from steps.results.report import grad_cam
from steps.results.report.det import blocks as det_blocks
from steps.results.report.embedding import BONAFIDE, choose_trials, class_styles, place_by_tsne
from steps.results.report.grad_cam import CASES, choose_cases
from steps.results.report.histograms import section as histograms_section
from steps.results.report.page import Folded, Table, Text
from steps.results.report.summary import section as summary_section
from steps.results.report.systems import cm_scores_of, compare, median_seed
from tests.conftest import ROOT
from tests.made_up_experiments import evaluation


def scores_of(values, attacks):
    names = sorted(set(attacks) - {"-"})
    return CmScores(
        [f"u{i}" for i in range(len(values))], np.array([a == "-" for a in attacks]), np.array(values, float), names,
        np.array([names.index(a) if a != "-" else -1 for a in attacks]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(4)
    made = nnet.make_detector(nnet.load_conf(ROOT / "conf/model/senet9.yaml"), 1)
    made.train()(torch.randn(8, 1, 120, 45) * 3)
    return made.eval()


def test_at_the_deepest_stage_the_places_add_up_to_the_score(detector):
    x = torch.randn(1, 1, 120, 45)
    score, (deepest,) = evidence(detector, x, [4])
    assert score == pytest.approx(float(score_of(detector(x)).detach()), rel=1e-5)
    assert float(deepest.mean()) == pytest.approx(score, rel=1e-4, abs=1e-5)
    assert deepest.shape == tuple(detector.stage_maps(x)[3].shape[2:])


def test_the_other_stages_follow_the_formula(detector):
    """The channels' weights by differences of the score, as channels of the stage's map are raised by a little."""
    x = torch.randn(1, 1, 120, 45)
    _, (found,) = evidence(detector, x, [3])
    with torch.inference_mode():
        stage_map = detector.stage_maps(x)[2]

        def score(changed):
            return score_of(detector.head(detector.backbone.stages[3](changed).mean(dim=(2, 3))))[0].double()

        wanted = torch.zeros(stage_map.shape[2:], dtype=torch.float64)
        for channel in range(stage_map.shape[1]):
            bump = torch.zeros_like(stage_map)
            bump[:, channel] = 1e-2
            weight = (score(stage_map + bump) - score(stage_map - bump)) / 2e-2
            wanted += weight * stage_map[0, channel]
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 0.05


def test_what_speaks_for_a_class_has_its_colour():
    image = blend(np.zeros((3, 2)), np.array([[1.0, 0], [-1.0, 0], [0, 0]]))
    assert image.shape == (2, 3, 3)
    blue, orange, grey = image[0, 0].astype(int), image[0, 1].astype(int), image[0, 2]
    assert blue[2] > blue[0] and orange[0] > orange[2]
    assert len(set(grey)) == 1


def test_raw_samples_have_no_picture_and_the_report_says_so(monkeypatch):
    made = frontend.make_frontend(frontend.load_conf(ROOT / "conf/frontend/waveform.yaml"))
    decider = grad_cam.Decider(SimpleNamespace(frontend=made), scores_of([1.0], ["-"]), 0.0)
    monkeypatch.setattr(grad_cam, "Trials", lambda comparison: None)
    monkeypatch.setattr(grad_cam, "_deciders", lambda *_: [decider])
    comparison = SimpleNamespace(groups=[SimpleNamespace(title="aasist on waveform")])
    said = grad_cam.section(comparison, None, [1, 4]).blocks[-1]
    assert said.text == "aasist on waveform: it reads raw samples, which make no picture."


def test_cases_are_the_median_of_what_all_decide_alike():
    attacks = ["-"] * 5 + ["A07"] * 5
    first = scores_of([5, 4, 3, 1, -1, -5, -4, -3, 2, 6], attacks)
    second = scores_of([5, 4, -9, 1, -1, -5, 9, -3, 2, -9], attacks)
    found = dict(zip((title.split(":")[0] for title, *_ in CASES), choose_cases([first, second], [0.0, 0.5])))
    assert {name: (case.utt, case.agreed) for name, case in found.items()} == {
        "Hit": ("u1", True),  # u3 1, u1 4, u0 5
        "Correct rejection": ("u5", True),  # u5 -5, u7 -3: of two the lower
        "Miss": ("u4", True),
        "False alarm": ("u8", True),  # u9 is rejected by the second
    }
    disagreeing = choose_cases([first, scores_of([9.0] * 10, attacks)], [0.0, 0.0])
    assert [(case.utt, case.agreed) for case in disagreeing] == [
        ("u2", True),
        ("u6", False),
        ("u4", False),
        ("u8", True),
    ]
    assert choose_cases([first], [-99.0])[1] is None


def test_a_score_on_the_threshold_is_rejected():
    cases = choose_cases([scores_of([1, 2, 1, 2], ["-", "-", "A07", "A07"])], [1.0])
    assert [case.utt for case in cases] == ["u1", "u2", "u0", "u3"]


def test_trials_of_the_map_are_of_all_classes_evenly():
    attacks = ["-"] * 50 + ["A07"] * 100 + ["A08"] * 3
    cm = scores_of(range(153), attacks)
    utts, labels = choose_trials(cm, 60)
    assert len(set(utts)) == len(utts) == 20 + 20 + 3
    assert {label: labels.count(label) for label in set(labels)} == {BONAFIDE: 20, "A07": 20, "A08": 3}
    assert utts[0] == "u0" and "u49" in utts and "u50" in utts and "u149" in utts
    styles = class_styles((BONAFIDE, *(f"A{i:02}" for i in range(1, 28))))
    assert len(set(styles.values())) == 28


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_maps_repeat_and_show_what_lies_apart(count):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, 16))
    x[count // 2 :] += 30
    placed = place_by_tsne(x)
    assert placed.shape == (count, 2) and np.abs(placed).max() <= 1
    assert np.array_equal(placed, place_by_tsne(x))
    if count > 2:
        near, far = placed[: count // 2], placed[count // 2 :]
        assert np.linalg.norm(near.mean(0) - far.mean(0)) > 2 * max(near.std(), far.std()) * 0.5


def test_the_seed_shown_is_the_median(la):
    comparison = compare(read_experiments(la.experiments), None, la.data, None)
    for system in comparison.systems:
        assert system.results[system.shown].pooled.eer == min(result.pooled.eer for result in system.results.values())
    eers = {1: 5.0, 2: 3.0, 3: 4.0}
    assert median_seed({seed: evaluation(eer, 10, 10, {}) for seed, eer in eers.items()}) == 3


def test_without_scores_there_is_no_curve_and_it_is_said(la):
    comparison = compare(read_experiments(la.experiments), None, la.data, None)
    path = comparison.systems[0].score_file("eval", 1)
    kept = path.with_suffix(".kept")
    path.rename(kept)
    try:
        (*_, note) = det_blocks(comparison)
    finally:
        kept.rename(path)
    assert note.kind == "note" and str(path.parents[1]) in note.text


def test_scores_far_outside_do_not_squeeze_the_histogram(la):
    comparison = compare(read_experiments(la.experiments), None, la.data, None)
    path = comparison.systems[0].score_file("eval", comparison.systems[0].shown)
    right = path.read_text()
    first, *others = right.splitlines()
    try:
        path.write_text("\n".join([first.rpartition(" ")[0] + f" {-sys.float_info.max!r}", *others]))
        cm_scores_of.cache_clear()
        figure = histograms_section(comparison).blocks[1].figures[0]
    finally:
        path.write_text(right)
        cm_scores_of.cache_clear()
    assert "; 1 far outside" in figure and f"far outside: {first.split()[0]}" in figure and "e+" not in figure


def flat(blocks):
    for block in blocks:
        yield from flat(block.blocks) if isinstance(block, Folded) else [block]


def test_the_summary_has_no_columns_of_dashes(la, tmp_path):
    """With one seed there is no interval over seeds, and without speakers none by speaker."""
    for folder in la.experiments:
        shutil.copytree(folder / "seed1", tmp_path / folder.name / "seed1")
    comparison = compare(read_experiments(sorted(tmp_path.iterdir())), None, la.data, None)
    blocks = list(flat(summary_section(comparison).blocks))
    tables = [block for block in blocks if isinstance(block, Table)]
    assert tables
    for table in tables:
        for i, heading in enumerate(table.headings):
            assert any(row[i].text != "-" for row in table.rows), heading
        assert "95 % interval" not in table.headings and not any("speaker" in heading for heading in table.headings)
    untested = [block.text for block in blocks if isinstance(block, Text) and "not tested" in block.text]
    assert len(untested) == len(comparison.tables)
    assert all(text.startswith("self_distill minus baseline, not tested (1 common seed, ") for text in untested), (
        untested
    )


def test_interval_of_a_mean():
    # three values: t of 2 degrees of freedom at 97.5 % is 4.3027, standard error 1 / sqrt(3)
    low, high = interval_of_mean([11.0, 12.0, 13.0], 100)
    assert (low, high) == pytest.approx((12 - 4.30265 / 3**0.5, 12 + 4.30265 / 3**0.5), abs=1e-4)
    assert interval_of_mean([1.0, 2.0, 3.0], 3.5) == (0, 3.5)
    assert interval_of_mean([1.0], 100) is None


@pytest.mark.parametrize("name", ["f0_subband", "lps_257", "cqt_100", "fbank", "mel_spectrogram"])
def test_a_tone_is_where_the_front_end_says(name):
    conf = frontend.load_conf(ROOT / f"conf/frontend/{name}.yaml")
    made = frontend.make_frontend(conf)
    assert conf.bin_hz.shape == (made.bins,) and np.all(np.diff(conf.bin_hz) > 0)
    for at in (made.bins // 2, made.bins - 4):
        t = np.arange(conf.sample_rate) / conf.sample_rate
        features = made.compute(0.5 * np.sin(2 * np.pi * conf.bin_hz[at] * t))
        assert abs(int(features.mean(axis=0).argmax()) - at) <= 1
    frames = len(made.compute(np.ones(conf.sample_rate)))
    assert 1 / conf.frame_shift == pytest.approx(frames, rel=0.05)


def test_bins_that_are_no_frequencies():
    bins = {name: frontend.load_conf(ROOT / f"conf/frontend/{name}.yaml") for name in ("lfcc", "cqcc", "mfcc", "phase")}
    assert [conf.bin_hz is None for conf in bins.values()] == [True, True, True, False]
    stack = frontend.load_conf(ROOT / "conf/frontend/stack_f0_imag_real.yaml")
    assert stack.frame_shift == stack.parts[0].frame_shift
    alike = all(np.array_equal(part.bin_hz, stack.parts[0].bin_hz) for part in stack.parts)
    assert (stack.bin_hz is not None) == alike
    assert isinstance(bins["mfcc"], filter_bank.Conf)
