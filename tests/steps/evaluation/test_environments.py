"""Figures by environment and attack factor: against a slow plain computation, with few trials, and as a user runs
it."""

import io
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from steps.evaluation.breakdown import asv_operating_point, evaluate
from steps.evaluation.environments import (
    ATTACK_FACTORS,
    ATTACKS,
    ENVIRONMENT_FACTORS,
    ENVIRONMENTS,
    FEWEST_TRIALS,
    evaluate_environments,
    read_environments,
    replay_attacks,
)
from steps.evaluation.evaluation import read_evaluation, to_json
from steps.evaluation.score_files import AsvScores, CmScores
from steps.results import heat_map
from steps.results.evaluation_output import environment_rows, environment_table, tsv_lines
from tests.conftest import picture_of
from utils.cli import UserError

ROOT = Path(__file__).resolve().parents[3]


def make_rows(count, seed=0, environments=ENVIRONMENTS, ties=1):
    """utterance, environment, attack (- for bona fide), score; a third are bona fide."""
    draw = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        attack = "-" if i % 3 == 0 else ATTACKS[draw.integers(len(ATTACKS))]
        score = draw.normal(2 if attack == "-" else 0.4 * "ABC".index(attack[1]))
        rows.append((f"u{i}", environments[draw.integers(len(environments))], attack, round(float(score), ties)))
    return rows


def scores_of(rows):
    names = sorted({attack for _, _, attack, _ in rows} - {"-"})
    return CmScores(
        [utt for utt, *_ in rows],
        np.array([attack == "-" for _, _, attack, _ in rows]),
        np.array([score for *_, score in rows]),
        names,
        np.array([-1 if attack == "-" else names.index(attack) for _, _, attack, _ in rows]),
    )


def make_asv(attacks=ATTACKS, seed=1, rows=None):
    """rows: those whose trials are the ASV's too; else there are some 20 of each attack."""
    draw = np.random.default_rng(seed)
    counts = Counter(attack for _, _, attack, _ in rows or [])
    sizes = [counts[name] if rows else 20 + i for i, name in enumerate(attacks)]
    own = {name: draw.normal(0.5 + 0.3 * i, 1, size) for i, (name, size) in enumerate(zip(attacks, sizes))}
    return AsvScores(
        draw.normal(3, 1, counts["-"] if rows else 50), draw.normal(-1, 1, 200), np.concatenate(list(own.values())), own
    )


def found_of(rows, asv=None):
    cm = scores_of(rows)
    environment = np.array([ENVIRONMENTS.index(room) for _, room, _, _ in rows])
    attack = replay_attacks("cm.txt", cm)
    return evaluate_environments(cm, environment, attack, asv, None if asv is None else asv_operating_point(asv))


def slow_steps(bonafide, spoof):
    """Miss and false-alarm rate after each rejected trial, counted anew: bona fide first among equal scores."""
    trials = sorted([(score, 0) for score in bonafide] + [(score, 1) for score in spoof])
    for step in range(len(trials) + 1):
        kinds = [kind for _, kind in trials[:step]]
        yield kinds.count(0) / len(bonafide), (len(spoof) - kinds.count(1)) / len(spoof)


def slow_figures(bonafide, spoof, asv, own):
    """EER, min t-DCF 2019, min t-DCF 2021; own: the ASV's spoof scores that count."""
    steps = list(slow_steps(bonafide, spoof))
    eer = sum(min(steps, key=lambda rates: abs(rates[0] - rates[1]))) / 2
    threshold = asv_operating_point(asv).threshold
    miss, false_alarm = np.mean(asv.target < threshold), np.mean(asv.nontarget >= threshold)
    c2 = 10 * 0.05 * np.mean(own >= threshold)
    c1 = 0.9405 * (1 - miss) - 0.0095 * 10 * false_alarm
    c0 = 0.9405 * miss + 0.0095 * 10 * false_alarm
    legacy = min((c1 * p + c2 * q) / min(c1, c2) for p, q in steps)
    revised = min((c0 + (0.9405 - c0) * p + c2 * q) / (c0 + min(0.9405 - c0, c2)) for p, q in steps)
    return eer, legacy, revised


def chosen(rows, bonafide, of_room=lambda room: True, of_attack=lambda attack: True):
    """Scores of one class in such rooms by such attacks."""
    return [
        score
        for _, room, attack, score in rows
        if (attack == "-") == bonafide and of_room(room) and (bonafide or of_attack(attack))
    ]


def has(position, letter):
    return lambda name: name[position] == letter


@pytest.fixture(scope="module")
def case():
    rows, asv = make_rows(600), make_asv()
    return rows, asv, found_of(rows, asv)


@pytest.mark.parametrize("position, factor", list(enumerate(ENVIRONMENT_FACTORS)), ids=lambda x: getattr(x, "key", x))
def test_environment_factors(case, position, factor):
    rows, asv, found = case
    for letter, one in found.per_environment[factor.key].items():
        bonafide, spoof = (chosen(rows, kind, has(position, letter)) for kind in (True, False))
        assert (one.n_bonafide, one.n_spoof, one.asv_rate) == (len(bonafide), len(spoof), "pooled")
        wanted = slow_figures(bonafide, spoof, asv, asv.spoof)
        assert (one.eer, one.min_tdcf_2019, one.min_tdcf_2021) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("position, factor", list(enumerate(ATTACK_FACTORS)), ids=lambda x: getattr(x, "key", x))
def test_attack_factors(case, position, factor):
    rows, asv, found = case
    bonafide = chosen(rows, True)
    for letter, one in found.per_attack_factor[factor.key].items():
        spoof = chosen(rows, False, of_attack=has(position, letter))
        own = np.concatenate([asv.spoof_by_attack[name] for name in ATTACKS if name[position] == letter])
        assert (one.n_bonafide, one.n_spoof, one.asv_rate) == (len(bonafide), len(spoof), "attack")
        wanted = slow_figures(bonafide, spoof, asv, own)
        assert (one.eer, one.min_tdcf_2019, one.min_tdcf_2021) == pytest.approx(wanted, rel=1e-12)


def check_grid(grid, rows, kinds):
    """kinds: for each row of the grid, whether an environment is of it."""
    for i, of_kind in enumerate(kinds):
        bonafide = chosen(rows, True, of_kind)
        assert grid.n_bonafide[i] == len(bonafide)
        for j, name in enumerate(ATTACKS):
            spoof = chosen(rows, False, of_kind, name.__eq__)
            assert grid.n_spoof[i, j] == len(spoof)
            if min(len(bonafide), len(spoof)) < FEWEST_TRIALS:
                assert np.isnan(grid.eer[i, j])
            else:
                steps = slow_steps(bonafide, spoof)
                assert grid.eer[i, j] == sum(min(steps, key=lambda rates: abs(rates[0] - rates[1]))) / 2


def test_grid_of_factors(case):
    rows, _, found = case
    kinds = [has(position, letter) for position in range(3) for letter in "abc"]
    assert np.isfinite(found.by_factor.eer).any()
    check_grid(found.by_factor, rows, kinds)


def test_grid_of_environments():
    rows = make_rows(900, seed=3, environments=["aaa", "abc", "ccc", "cba"])
    grid = found_of(rows).by_environment
    assert 0 < np.isfinite(grid.eer).sum() < grid.eer.size
    check_grid(grid, rows, [name.__eq__ for name in ENVIRONMENTS])


def test_names_are_in_order():
    assert (ENVIRONMENTS[:2], len(ENVIRONMENTS)) == (("aaa", "aab"), 27)
    assert ENVIRONMENTS[9 * 2 + 3 * 0 + 1] == "cab"
    assert ATTACKS[3 * 1 + 2] == "BC"


def test_without_asv_scores():
    found = found_of(make_rows(200))
    one = found.per_environment["t60"]["b"]
    assert one.eer is not None
    assert (one.min_tdcf_2019, one.min_tdcf_2021, one.asv_rate) == (None, None, None)
    assert not any("t-DCF takes" in line for line in environment_table(found))


def test_a_letter_without_trials_of_one_class():
    rows = [row for row in make_rows(300) if not (row[2] == "-" and row[1][1] == "b") and row[1][0] != "c"]
    found = found_of(rows, make_asv())
    one = found.per_environment["t60"]["b"]
    assert (one.n_bonafide, one.eer, one.min_tdcf_2019, one.min_tdcf_2021) == (0, None, None, None)
    assert one.n_spoof > 0
    assert found.per_environment["room_size"]["c"].n_spoof == 0
    assert np.isnan(found.by_factor.eer[[2, 4]]).all()
    written = to_json(found)
    assert written["by_factor"]["eer"][4] == [None] * 9
    json.dumps(written, allow_nan=False)
    assert sum(line.split()[-3:] == ["-", "-", "-"] for line in environment_table(found)) == 2


def test_an_attack_that_the_set_has_not():
    found = found_of([row for row in make_rows(300) if row[2] == "-" or row[2][0] == "A"], make_asv())
    one = found.per_attack_factor["attacker_to_talker"]["C"]
    assert (one.n_bonafide, one.n_spoof, one.eer, one.min_tdcf_2019) == (100, 0, None, None)
    # those of the set alone: AB, of the attacks with a device of quality B
    asv, level = make_asv(), found.per_attack_factor["device_quality"]["B"]
    rows = [row for row in make_rows(300) if row[2] == "-" or row[2][0] == "A"]
    spoof = chosen(rows, False, of_attack="AB".__eq__)
    wanted = slow_figures(chosen(rows, True), spoof, asv, asv.spoof_by_attack["AB"])
    assert (level.eer, level.min_tdcf_2019, level.min_tdcf_2021) == pytest.approx(wanted, rel=1e-12)


def test_asv_scores_that_lack_an_attack():
    rows, asv = make_rows(300), make_asv(ATTACKS[:-1])
    found = found_of(rows, asv)
    levels = found.per_attack_factor["device_quality"]
    assert [levels[letter].asv_rate for letter in "ABC"] == ["attack", "attack", "pooled"]
    spoof = chosen(rows, False, of_attack=has(1, "C"))
    wanted = slow_figures(chosen(rows, True), spoof, asv, asv.spoof)
    assert levels["C"].min_tdcf_2019 == pytest.approx(wanted[1], rel=1e-12)
    table = environment_table(found)
    assert sum(line.endswith("*") for line in table) == 2
    assert "the ASV scores lack some" in " ".join(table)


def test_a_cost_that_is_not_defined():
    asv = make_asv()
    asv.spoof_by_attack.update({name: np.full(5, -99.0) for name in ("AA", "AB", "AC")})
    levels = found_of(make_rows(300), asv).per_attack_factor["attacker_to_talker"]
    assert (levels["A"].min_tdcf_2019, levels["A"].min_tdcf_2021) == (None, None)
    assert levels["A"].eer is not None
    assert levels["B"].min_tdcf_2019 is not None


def test_lines_and_widths(case):
    lines = [line.split("\t") for line in tsv_lines(environment_rows(case[2], "mini corpus 0 (small)"))]
    assert {len(line) for line in lines} == {18}
    assert len(lines) == 1 + 9 + 6
    assert lines[4][:4] == ["environment", "T60", "a", "50-200 ms"]
    assert lines[12][:4] == ["attack", "attacker-to-talker distance", "C", "> 100 cm"]
    assert float(lines[4][6]) == 100 * case[2].per_environment["t60"]["a"].eer
    table = environment_table(case[2])
    assert all(len(line) <= 80 for line in table)
    assert "ASV scores name no environments" in " ".join(" ".join(table).split())


def test_the_size_of_pa_eval_takes_a_moment():
    draw = np.random.default_rng(0)
    count, genuine = 134730, 18090
    attack = np.where(np.arange(count) < genuine, -1, np.arange(count) % 9)
    cm = CmScores([], attack < 0, draw.normal(size=count), list(ATTACKS), attack)
    asv = make_asv()
    begin = time.process_time()
    found = evaluate_environments(cm, draw.integers(27, size=count), attack, asv, asv_operating_point(asv))
    taken = time.process_time() - begin
    assert np.isfinite(found.by_environment.eer).all()
    assert taken < 1, f"{taken:.2f} s of CPU"


# ---- the heat map ----


def pixels(found):
    handle = io.BytesIO()
    heat_map.write_heat_map(handle, found, "eval", "mini corpus 0 (small)")
    return picture_of(handle) / 255


def coloured(image):
    """The share of pixels that are neither white nor grey."""
    return np.mean(np.ptp(image, axis=2) > 0.05)


def test_heat_maps():
    full = pixels(found_of(make_rows(9000, ties=3)))
    few = pixels(found_of(make_rows(900)))
    assert min(coloured(full), coloured(few)) > 0.2
    assert full.shape[1] == few.shape[1]
    assert full.shape[0] > 2 * few.shape[0]  # with the 27 environments below


def test_the_same_figures_give_the_same_picture():
    assert np.array_equal(pixels(found_of(make_rows(300))), pixels(found_of(make_rows(300))))


def test_a_heat_map_without_any_figure_is_drawn():
    assert pixels(found_of(make_rows(12))).shape[0] > 100


def test_a_heat_map_without_errors_is_drawn():
    rows = [(utt, room, attack, 10.0 * (attack == "-") + score / 10) for utt, room, attack, score in make_rows(400)]
    assert np.nanmax(found_of(rows).by_factor.eer) == 0
    assert coloured(pixels(found_of(rows))) > 0.1


def test_cells_have_at_most_four_characters():
    assert [heat_map._text(value) for value in (0.0, 9.994, 9.996, 45.04, 99.94, 99.96, 100.0)] == [
        "0.00", "9.99", "10.0", "45.0", "99.9", "100", "100",
    ]  # fmt: skip


# ---- files ----


def write_files(folder, rows, environments=None):
    (folder / "cm.txt").write_text(
        "".join(
            f"{utt} {attack} {'bonafide' if attack == '-' else 'spoof'} {score}\n" for utt, _, attack, score in rows
        )
    )
    table = {utt: room for utt, room, _, _ in rows} if environments is None else environments
    (folder / "utt2env").write_text("".join(f"{utt} {room}\n" for utt, room in table.items()))
    asv = make_asv(rows=rows)
    kinds = (("target", asv.target), ("nontarget", asv.nontarget))
    lines = [f"bonafide {kind} {score}\n" for kind, scores in kinds for score in scores]
    lines += [f"{name} spoof {score}\n" for name, scores in asv.spoof_by_attack.items() for score in scores]
    (folder / "asv.txt").write_text("".join(lines))


def run(folder, *options):
    command = [sys.executable, str(ROOT / "steps/evaluate.py"), "--out", "results", "--asv-scores", "asv.txt", *options]
    return subprocess.run([*command, "cm.txt"], cwd=folder, capture_output=True, encoding="utf-8")


def test_the_program(tmp_path):
    rows = make_rows(300)
    write_files(tmp_path, rows)
    results = tmp_path / "results"
    done = run(tmp_path, "--environments", "utt2env")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "talker-to-ASV distance" in done.stdout
    assert "  c  600-1000 ms" in done.stdout
    metrics = json.loads((results / "evaluation.json").read_text())
    found = found_of(rows, make_asv(rows=rows))
    assert metrics["environments"] == to_json(found)
    read = read_evaluation(results / "evaluation.json").environments
    assert np.array_equal(read.by_environment.eer, found.by_environment.eer, equal_nan=True)
    assert read.per_environment == found.per_environment
    assert (results / "per_environment.tsv").read_text(encoding="utf-8").count("\n") == 16
    picture_of(results / "attack_by_environment.png")
    done = run(tmp_path, "--environments", "utt2env", "--no-plot")
    assert sorted(path.name for path in results.iterdir()) == [
        "evaluation.json",
        "per_attack.tsv",
        "per_environment.tsv",
    ]
    (results / "attack_by_environment.png").write_text("old")
    done = run(tmp_path, "--no-plot")
    assert sorted(path.name for path in results.iterdir()) == ["evaluation.json", "per_attack.tsv"]
    metrics = json.loads((results / "evaluation.json").read_text())
    assert metrics["environments"] is None
    assert "T60" not in done.stdout


def test_an_experiment_is_evaluated_by_environment_where_they_are_known(tmp_path):
    rows = make_rows(120)
    for folder in ("data/eval", "exp/scores"):
        (tmp_path / folder).mkdir(parents=True)
    write_files(tmp_path, rows)
    for name in ("eval", "eval_head1"):
        (tmp_path / f"exp/scores/{name}.txt").write_bytes((tmp_path / "cm.txt").read_bytes())
    data = tmp_path / "data/eval"
    (data / "utt2label").write_text("".join(f"{u} {'bonafide' if a == '-' else 'spoof'}\n" for u, _, a, _ in rows))
    (data / "corpus.json").write_text('{"name": "x"}')
    (tmp_path / "utt2env").rename(data / "utt2env")

    def evaluated():
        command = [sys.executable, ROOT / "steps/evaluate_experiment.py", "exp", "eval"]
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        names = ("per_environment.tsv", "attack_by_environment.png")
        folders = (tmp_path / "exp/results" / name for name in ("eval", "eval_head1"))
        return [(folder / name).exists() for folder, name in itertools.product(folders, names)]

    assert evaluated() == [True, True, False, False]
    (data / "utt2env").unlink()
    assert evaluated() == [False] * 4


def without(rows, *utterances):
    return {utt: room for utt, room, _, _ in rows if utt not in utterances}


FAULTS = {
    "no line": (lambda rows: without(rows, "u7", "u8"), ["utt2env", "no line of u7 (2 trials lack one)"]),
    "letter": (lambda rows: {**without(rows), "u5": "abd"}, ["utt2env: u5: the environment 'abd'", "letters a-c"]),
    "upper case": (lambda rows: {**without(rows), "u5": "ABC"}, ["u5: the environment 'ABC'"]),
    "two letters": (lambda rows: {**without(rows), "u5": "ab"}, ["u5: the environment 'ab'", "(1 trials"]),
}


@pytest.mark.parametrize("environments, words", FAULTS.values(), ids=FAULTS.keys())
def test_faulty_environments(tmp_path, environments, words):
    rows = make_rows(60)
    write_files(tmp_path, rows, environments(rows))
    with pytest.raises(UserError) as told:
        read_environments(tmp_path / "utt2env", scores_of(rows))
    for word in words:
        assert word in str(told.value)


def test_faults_are_told_before_anything_is_written(tmp_path):
    rows = make_rows(60)
    write_files(tmp_path, rows, without(rows, "u7"))
    done = run(tmp_path, "--environments", "utt2env")
    assert done.returncode == 1
    assert done.stderr.startswith("evaluate.py: error: utt2env: it has no line of u7")
    assert not (tmp_path / "results").exists()


def test_other_utterances_may_have_environments_too(tmp_path):
    rows = make_rows(60)
    write_files(tmp_path, rows, {**without(rows), "enrolment": "-"})
    code = read_environments(tmp_path / "utt2env", scores_of(rows))
    assert [ENVIRONMENTS[i] for i in code] == [room for _, room, _, _ in rows]


def test_attacks_must_be_replay_attacks():
    rows = [*make_rows(20), ("x1", "aaa", "A07", 0.5)]
    with pytest.raises(UserError, match="cm.txt: line 21: x1: the attack 'A07' is not two letters A-C"):
        replay_attacks("cm.txt", scores_of(rows))
    cm = scores_of(rows[:-1])
    assert evaluate(cm, None).n_bonafide == 7
    assert [None if i < 0 else ATTACKS[i] for i in replay_attacks("cm.txt", cm)] == [
        None if attack == "-" else attack for _, _, attack, _ in rows[:-1]
    ]
