"""Which frames of an utterance, and of the network's input, are spoofed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from steps.data.batches import FeatureSet, network_input
from steps.data.frame_labels import FrameLabels, bonafide_frames
from steps.frontend import load_conf, make_frontend
from tests.conftest import ROOT
from utils.cli import UserError

SETTINGS = ["frontend.network_input.frames=40"]
FRAMES = {"a": 100, "b": 30, "c": 100, "d": 100}


def test_a_frame_is_spoofed_where_its_middle_is():
    labels = bonafide_frames(((0.1, 0.3), (0.95, 2.0)), 10, 1.0)  # middles 0.05, 0.15, ...
    assert labels.tolist() == [True, False, False, *[True] * 6, False]


@pytest.fixture
def made(tmp_path):
    """a: spoofed from 0.5 s to 0.6 s of its second; b: bona fide; c: spoofed throughout; d: late."""
    data, feats = tmp_path / "data", tmp_path / "feats"
    for folder in (data, feats):
        folder.mkdir()
    (data / "utt2label").write_text("a spoof\nb bonafide\nc spoof\nd spoof\n")
    (data / "utt2dur").write_text("a 1\nb 0.3\nc 1\nd 1\n")
    (feats / "utt2num_frames").write_text("".join(f"{utt} {count}\n" for utt, count in FRAMES.items()))
    (data / "rttm").write_text(
        "SPEAKER a 1 0.5 0.1 <NA> <NA> spoof <NA> <NA>\nSPEAKER d 1 0.9 0.1 <NA> <NA> spoof <NA> <NA>\n"
    )
    return data, feats


class Source:
    place, mend, left_out, storage = "feats.scp", "", frozenset(), None

    def __init__(self, columns):
        self.utts, self.columns = list(FRAMES), columns

    def __contains__(self, utt):
        return utt in FRAMES

    def read(self, utt, change=None):
        return np.repeat(np.arange(FRAMES[utt], dtype=np.float32)[:, None], self.columns, 1)


def test_targets_are_cut_and_continued_as_the_features_are(made):
    frontend = make_frontend(load_conf(ROOT / "conf/frontend/f0_subband_frames.yaml", SETTINGS))
    labels = FrameLabels(*made, frontend.conf)
    source = Source(frontend.n_columns)
    found = FeatureSet(made[0], source, frontend, 0, seed=3, frame_labels=labels)
    # of the first 40 frames a and d are bona fide; c is spoofed throughout
    assert found.labels.tolist() == [1, 1, 0, 1]
    seen = set()
    for epoch in (0, 1, 2, 3):
        found.set_epoch(epoch)
        targets = found.frame_targets(np.arange(4))
        assert targets.shape == (4, 40) and targets.dtype == torch.float32
        for i, utt in enumerate(FRAMES):
            # the features are their own frames' numbers
            numbers = network_input(source.read(utt), frontend, utt, 3, epoch)[:, 0].astype(int)
            np.testing.assert_array_equal(targets[i].numpy(), labels.of(utt)[numbers])
        (batch,) = found.batches([np.arange(4)], torch.device("cpu"), 0)
        assert batch[1].tolist() == targets.bool().all(1).int().tolist()
        seen.add(tuple(batch[1].tolist()))
    assert len(seen) > 1, "other stretches in other epochs"


def test_what_cannot_be_is_refused(made, tmp_path):
    data, feats = made
    conf = load_conf(ROOT / "conf/frontend/f0_subband_frames.yaml")
    with pytest.raises(UserError, match="this front end cuts something out"):
        FrameLabels(data, feats, load_conf(ROOT / "conf/frontend/f0_subband.yaml"))
    with pytest.raises(UserError, match="needs features on disk"):
        FrameLabels(data, tmp_path, conf)
    (data / "utt2label").write_text("a bonafide\nb bonafide\nc spoof\nd spoof\n")
    with pytest.raises(UserError, match="a is bona fide by"):
        FrameLabels(data, feats, conf)
    (data / "rttm").unlink()
    with pytest.raises(UserError, match="no such file, but train.frames needs"):
        FrameLabels(data, feats, conf)
