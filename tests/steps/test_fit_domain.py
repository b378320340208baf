"""steps/fit_domain.py on made-up features."""

import numpy as np
import pytest
import torch

from steps import fit_domain
from steps.data.batches import FeatureSet
from steps.experiment import training_folder
from steps.frontend import make_frontend
from steps.inference import domain
from tests import in_process
from tests.steps.inference.conftest import save_training


def test_embeddings_of_train_and_dev_are_described_beside_final_pt(made_up_sets, tmp_path):
    folder = save_training(tmp_path / "exp/net/seed1", ())
    data, feats = (path.parent for path in made_up_sets["train"])
    done = in_process.call(
        fit_domain.main, "fit_domain.py", "--data-dir", data, "--feats-dir", feats, "--num-workers", 0, folder
    )
    assert done.returncode == 0, done.stderr
    found, why = domain.domain_of(folder)
    assert why == "" and (found.limit.n_train, found.limit.n_dev) == (50, 21)
    trained = training_folder.load_trained(folder / "final.pt", torch.device("cpu"))
    frontend = make_frontend(trained.frontend_conf)
    source = training_folder.source_of(data / "dev", feats / "dev", frontend, False, "test")
    features = FeatureSet(data / "dev", source, frontend, 100)
    with torch.inference_mode():
        embeddings = trained.detector.embed(torch.stack([features[i][0] for i in range(21)])).numpy()
    assert np.quantile(found.distances(embeddings), 0.99) == pytest.approx(found.limit.threshold, rel=1e-3)


def test_a_big_set_is_sampled_evenly(monkeypatch):
    monkeypatch.setattr(fit_domain, "MOST", 4)
    assert [batch.tolist() for batch in fit_domain.plan_of(10, 3)] == [[0, 3, 6], [9]]
    assert [batch.tolist() for batch in fit_domain.plan_of(3, 2)] == [[0, 1], [2]]


def test_features_or_audio_have_to_be_named(tmp_path):
    done = in_process.call(fit_domain.main, "fit_domain.py", tmp_path)
    assert done.returncode == 2 and "--feats-dir is needed, or --online" in done.stderr
