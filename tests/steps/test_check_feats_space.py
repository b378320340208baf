"""What the features will take is told before they are made, and refused where it does not fit."""

from __future__ import annotations

import collections
import os
import sys

import numpy as np
import pytest

from steps import check_feats_space
from steps.frontend import load_conf, make_frontend
from utils.ark import ArkWriter
from utils.cli import UserError

SECONDS = [0.4, 1.0, 2.5, 3.1, 4.9, 7.0, 9.0]


@pytest.fixture()
def data(tmp_path):
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    (folder / "utt2dur").write_text("".join(f"utt{i} {s}\n" for i, s in enumerate(SECONDS)))
    return folder.parent


@pytest.mark.parametrize("settings", [[], ["frontend.compress=16bit"], ["frontend.compress=8bit"]])
@pytest.mark.parametrize("name", ["f0_subband", "lps_low"])
def test_the_estimate_is_what_the_arks_take(root, data, tmp_path, name, settings):
    frontend = make_frontend(load_conf(root / f"conf/frontend/{name}.yaml", settings))
    rng = np.random.default_rng(1)
    with ArkWriter(tmp_path / "feats", frontend.conf.compress) as writer:
        for i, seconds in enumerate(SECONDS):
            writer.write(f"utt{i}", frontend.compute(rng.standard_normal(int(seconds * 16000))))
    estimate = check_feats_space.feats_bytes(frontend, data / "train")
    assert estimate == pytest.approx((tmp_path / "feats.ark").stat().st_size, rel=0.05)


def run(monkeypatch, root, data, feats, *options):
    given = ["check_feats_space.py", "--frontend", str(root / "conf/frontend/lps.yaml"), *options]
    monkeypatch.setattr(sys, "argv", [*given, str(data), str(feats), "train"])
    return check_feats_space.main()


def test_what_does_not_fit_is_refused_with_the_mends(root, data, tmp_path, monkeypatch, capsys):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(check_feats_space.shutil, "disk_usage", lambda path: usage(10**12, 0, 2**20))
    with pytest.raises(
        UserError, match="about 9 MiB of features to make .train 9 MiB.; 1 MiB are free .*compress=16bit"
    ) as no:
        run(monkeypatch, root, data, tmp_path / "feats" / "lps")
    assert "--feats-dir" in str(no.value)
    with pytest.raises(UserError) as no:
        run(monkeypatch, root, data, tmp_path / "feats" / "lps", "--set", "frontend.compress=8bit")
    assert "compress" not in str(no.value)


def test_features_that_are_there_take_nothing_more(root, data, tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, root, data, tmp_path / "feats") == 0
    assert f"free in {os.path.realpath(tmp_path)}" in capsys.readouterr().out
    parts = tmp_path / "feats" / "train" / "parts" / "2"
    parts.mkdir(parents=True)
    for job in (1, 2):
        (parts / f"feats.{job}.ark").write_bytes(bytes(4 * 2**20))
    (parts / "feats.1.utt2num_frames").write_text("")  # the second part was broken off
    assert run(monkeypatch, root, data, tmp_path / "feats", "--nj", "2") == 0
    assert "about 5 MiB of features to make" in capsys.readouterr().out
    (tmp_path / "feats" / "train" / "feats.scp").write_text("utt0 feats.ark:5\n")
    assert run(monkeypatch, root, data, tmp_path / "feats") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["x", "nan", "-1", "0", "inf", "1e300"])
def test_what_is_no_duration_is_named(root, data, tmp_path, monkeypatch, text):
    (data / "train" / "utt2dur").write_text(f"utt1 1.5\nutt2 {text}\n")
    with pytest.raises(UserError, match=f"utt2dur: line 2: utt2: '{text}' is no utterance's length"):
        run(monkeypatch, root, data, tmp_path / "feats")
