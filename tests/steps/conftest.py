"""Small made-up sets of features on which a network learns something."""

import numpy as np
import pytest
import yaml

from steps.frontend import dump_identity, load_conf, make_frontend
from utils.ark import ArkWriter


def make_set(folder, name, utterances, root, seed, bad=None, settings=(), frontend="f0_subband"):
    data, feats = folder / "data" / name, folder / "feats" / name
    data.mkdir(parents=True)
    conf = load_conf(root / f"conf/frontend/{frontend}.yaml", settings)
    frontend = make_frontend(conf)
    columns, levels = frontend.n_columns, " -50.0" * len(frontend.bands)
    rng = np.random.default_rng(seed)
    labels, attacks, frames, bands = [], [], [], []
    with ArkWriter(feats / "feats") as writer:
        for i in range(utterances):
            utt, bonafide = f"{name}_{i:04d}", i % 3 == 0
            features = rng.standard_normal((int(rng.integers(40, 160)), columns)).astype(np.float32)
            features[:, 10:14] += 1.5 * bonafide
            if utt == bad:
                features[5, 5] = np.nan
            writer.write(utt, features)
            labels.append(f"{utt} {'bonafide' if bonafide else 'spoof'}\n")
            attacks.append(f"{utt} {'-' if bonafide else 'A01'}\n")
            frames.append(f"{utt} {len(features)}\n")
            bands.append(f"{utt}{levels}\n")
    (data / "utt2label").write_text("".join(labels))
    (data / "utt2attack").write_text("".join(attacks))
    (feats / "utt2num_frames").write_text("".join(frames))
    (feats / "utt2bands").write_text("".join(bands))
    (feats / "conf.yaml").write_text(yaml.safe_dump({"frontend": dump_identity(conf), "wav_scp_sha256": "made up"}))
    return data, feats


@pytest.fixture(scope="session")
def made_up_sets(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("sets")
    return {name: make_set(folder, name, n, root, seed) for name, n, seed in (("train", 50, 1), ("dev", 21, 2))}


@pytest.fixture(scope="session")
def set_maker():
    return make_set
