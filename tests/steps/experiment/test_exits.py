"""Which exit is taken, what it is loaded from, and what is refused."""

import shutil

import pytest
import torch

from steps.evaluation.evaluation import stem_of, write_evaluation
from steps.experiment.exits import Exits, load_trained
from steps.experiment.training_folder import load_method
from tests.distilled_training import save_distilled
from tests.made_up_experiments import evaluation
from utils.cli import UserError

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def distilled(tmp_path_factory):
    return save_distilled(tmp_path_factory.mktemp("exits") / "exp/net/seed1")


@pytest.fixture
def folder(distilled, tmp_path):
    return shutil.copytree(distilled, tmp_path / "seed1")


def evaluate(folder, set_name, eers, **more):
    """eers: by stage in percent; None for the complete network."""
    for head, eer in eers.items():
        values = {
            "corpus": None, "min_tdcf_2019": 0.2, "min_tdcf_2021": 0.3, "asv_eer": 2.5, "n_bonafide": 20,
            "n_spoof": 40, "per_attack": {}, **more,
        }  # fmt: skip
        place = folder / "results" / stem_of(set_name, head)
        place.mkdir(parents=True, exist_ok=True)
        write_evaluation(place, evaluation(set_name=set_name, head=head, eer=eer, **values))


def test_an_exit_has_the_heads_scores_and_only_its_stages(distilled):
    method = load_method(distilled, CPU)
    x = torch.randn(2, 1, 64, 45)
    for stage in (1, 2, 3):
        trained, where = load_trained(distilled, stage, CPU)
        assert (where.stage, where.stages) == (stage, 4) and len(trained.detector.backbone.stages) == stage
        with torch.inference_mode():
            assert torch.equal(trained.detector(x), method.head_logits(x)[stage - 1])
    assert where.multiply_adds < where.complete


@pytest.mark.parametrize("wanted", [None, 4])
def test_the_last_exit_is_the_complete_network(distilled, wanted):
    trained, where = load_trained(distilled / "final.pt", wanted, CPU)
    assert where is None and len(trained.detector.backbone.stages) == 4


@pytest.mark.parametrize(
    ("eers", "chosen"),
    [
        ({1: 20.0, 2: 14.0, 3: 12.0, None: 14.0}, 2),
        ({1: 9.0, 2: 14.0, 3: 12.0, None: 14.0}, 1),
        ({1: 20.0, 2: 15.0, 3: 14.01, None: 14.0}, 4),
    ],
)
def test_auto_takes_the_cheapest_exit_that_is_not_worse_on_dev(folder, eers, chosen):
    evaluate(folder, "dev", eers)
    evaluate(folder, "eval", {1: 1.0, 2: 99.0, 3: 1.0, None: 50.0})  # says otherwise, and is not asked
    frontend_conf = load_trained(folder, None, CPU)[0].frontend_conf
    assert Exits(folder, frontend_conf).stage_of("auto") == chosen
    assert (load_trained(folder, "auto", CPU)[1] is None) == (chosen == 4)


def test_auto_ignores_the_last_stages_own_head_of_older_results(folder):
    evaluate(folder, "dev", {1: 20.0, 2: 15.0, 3: 14.0, 4: 99.0, None: 13.0})
    assert load_trained(folder, "auto", CPU)[1] is None


def test_auto_names_the_commands_where_dev_is_not_known(folder):
    for eers, said in (({}, "of exit 1, 2, 3, 4"), ({1: 20.0, 3: 14.0, None: 14.0}, "of exit 2")):
        evaluate(folder, "dev", eers)
        evaluate(folder, "eval", {1: 1.0, 2: 1.0, 3: 1.0, None: 1.0})
        with pytest.raises(UserError, match=f"{said} is not known; run steps/score.py --online --exit 1 --exit 2") as e:
            load_trained(folder, "auto", CPU)
        assert f"then steps/evaluate_experiment.py {folder} dev" in str(e.value) and "\n" not in str(e.value)


def test_auto_refuses_eers_of_different_trials(folder):
    evaluate(folder, "dev", {1: 20.0, 2: 15.0, 3: 14.0})
    evaluate(folder, "dev", {None: 14.0}, n_spoof=41)
    with pytest.raises(UserError, match="is of different trials"):
        load_trained(folder, "auto", CPU)


def test_exits_that_there_are_not_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"--exit 5: .* has exits after stages 1, 2, 3, 4 only"):
        load_trained(folder, 5, CPU)
    baseline = save_distilled(tmp_path / "baseline", "baseline")
    for wanted in (2, 4, "auto"):
        with pytest.raises(UserError, match=r"was trained by baseline, which trains no head but the last stage's"):
            load_trained(baseline, wanted, CPU)
    for name in ("checkpoints/best.pt", "conf.yaml"):
        (folder / name).unlink()
        with pytest.raises(UserError, match=f"{name}: no such file, but the stages' heads need it; leave --exit out"):
            load_trained(folder, 2, CPU)
    assert load_trained(folder, None, CPU)[1] is None
