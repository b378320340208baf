"""docs/frontends.md and docs/extend.md: their confs and their front end work in a copy of the toolkit."""

import dataclasses
import math
import os
import re
import shutil
import subprocess
import sys

import kaldiio
import numpy as np
import pytest
import soundfile

from steps.frontend import FrontEndConf, load_conf, make_frontend, read_utterance
from utils.cli import UserError

OF_ITS_OWN = "conf/frontend/flatness_16.yaml"


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs/frontends.md").read_text(encoding="utf-8") + (root / "docs/extend.md").read_text(
        encoding="utf-8"
    )


@pytest.fixture(scope="module")
def files(page):
    """The blocks that are a file's contents, by its path."""
    blocks = re.findall(r"^```(?:python|yaml) (\S+/frontend/\S+)\n(.*?)^```$", page, flags=re.M | re.S)
    found = dict(blocks)
    assert len(found) == len(blocks) >= 10
    return found


@pytest.fixture(scope="module")
def toolkit(root, files, tmp_path_factory):
    """A copy of what the feature stage needs, with the page's files in it."""
    copy = tmp_path_factory.mktemp("toolkit")
    for name in ("steps", "utils", "conf"):
        shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("path.sh", "requirements.txt"):
        shutil.copy(root / name, copy / name)
    for path, text in files.items():
        assert not (copy / path).exists(), f"the page's example {path} would overwrite a file"
        (copy / path).write_text(text, encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def promised(page):
    """Samples, frames, bins of the table of the front end of one's own."""
    rows = re.findall(r"^\| (\d+) (s|sample) \| (\d+) \| (\d+) \|$", page, flags=re.M)
    assert len(rows) == 4
    return [(int(n) * (16000 if unit == "s" else 1), int(frames), int(bins)) for n, unit, frames, bins in rows]


def test_features_by_the_pages_command_are_what_it_promises(page, toolkit, promised):
    """White noise, whose flatness theory tells: of 16 independent exponentially distributed powers, whose arithmetic
    mean is independent of the ratio, it is on average Gamma(1 + 1/16)^16 = 0.59; the window makes neighbours a little
    alike."""
    data = toolkit / "data/train"
    data.mkdir(parents=True)
    lines = []
    for i, (samples, _, _) in enumerate(promised):
        path = toolkit / f"utt{i}.flac"
        soundfile.write(path, 0.1 * np.random.default_rng(i).standard_normal(samples), 16000, subtype="PCM_16")
        lines.append(f"utt{i} {path}\n")
    (data / "wav.scp").write_text("".join(lines))
    commands = re.findall(r"^```sh\n(steps/make_feats\.sh .*?)^```$", page, flags=re.M | re.S)
    assert len(commands) == 1 and OF_ITS_OWN in commands[0]
    done = subprocess.run(
        ["bash", "-c", commands[0]], cwd=toolkit, capture_output=True, text=True,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "FSD_PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    matrices = kaldiio.load_scp(str(toolkit / "feats/flatness_16/train/feats.scp"))
    assert [matrices[f"utt{i}"].shape for i in range(len(promised))] == [row[1:] for row in promised]
    longest = matrices[f"utt{len(promised) - 1}"][2:-2]
    assert longest.mean() == pytest.approx(math.gamma(1 + 1 / 16) ** 16, abs=0.04)
    assert longest.min() > 0 and longest.max() <= 1


def test_the_front_end_of_ones_own_in_the_copy(toolkit):
    """Named with its file and line where it is wrong, a part of a stack, fit for the shared keys; by a Python of its
    own, because this one has the toolkit's own package loaded."""
    (toolkit / "conf/frontend/wrong.yaml").write_text("base: flatness_16.yaml\nbands: 7\n")
    (toolkit / "conf/frontend/with_it.yaml").write_text(
        "base: stack_phase.yaml\nparts: [flatness_16.yaml, whole.yaml]\ncmvn: {scope: utterance, variance: false}\n"
    )
    (toolkit / "conf/frontend/whole.yaml").write_text("base: lps_257.yaml\nmax_samples: null\n")
    program = """
import numpy as np
from steps.frontend import load_conf, make_frontend
from utils.cli import UserError
frontend = make_frontend(load_conf("conf/frontend/flatness_16.yaml"))
tone = np.sin(2 * np.pi * 1000 / 16000 * np.arange(16000))
features = frontend.compute(tone)
assert features[5:-5, 1:3].max() < 0.3, features
assert np.all(frontend.compute(np.zeros(5000)) == 1)
stack = make_frontend(load_conf("conf/frontend/with_it.yaml"))
assert (stack.channels, stack.n_bins) == (2, 257) and stack.compute(tone).shape == (63, 514)
try:
    load_conf("conf/frontend/wrong.yaml")
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=toolkit, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout
        == "conf/frontend/wrong.yaml: line 2: bands: 256 bins cannot be divided into 7 bands of equal width\n"
    )


def test_the_pages_confs_load_and_compute(toolkit, files, waveform_maker, tmp_path):
    confs = [path for path in files if path.startswith("conf/") and path != OF_ITS_OWN]
    assert len(confs) >= 8
    quiet = 1e-3 * np.random.default_rng(0).standard_normal(7000)  # to be trimmed: digital silence is cut out anyhow
    one = np.concatenate([quiet[:4000], waveform_maker(100000), quiet[4000:]])
    soundfile.write(tmp_path / "one.flac", one, 16000)
    soundfile.write(tmp_path / "two.flac", np.stack([waveform_maker(44100, rate=44100)] * 2, axis=1), 44100)
    plain = make_frontend(load_conf(toolkit / "conf/frontend/f0_subband.yaml"))
    before = plain.compute(read_utterance("one", tmp_path / "one.flac", plain.conf))
    with pytest.raises(UserError, match="44100 Hz"):
        read_utterance("two", tmp_path / "two.flac", plain.conf)
    for path in confs:
        frontend = make_frontend(load_conf(toolkit / path))
        audio = "two" if "any_audio" in path else "one"
        features = frontend.compute(read_utterance(audio, tmp_path / f"{audio}.flac", frontend.conf))
        assert features.shape[1] == frontend.n_columns and np.isfinite(features).all(), path
        unlike = features.shape != before.shape or not np.allclose(features, before)
        assert unlike or "16bit" in path, f"{path} changes nothing"
        assert files[path].startswith("# ")


def test_every_front_end_and_shared_key_is_named(root, page):
    for path in (root / "conf/frontend").glob("*.yaml"):
        assert f"`{path.stem}`" in page, f"docs/frontends.md does not name {path.stem}"
    for field in dataclasses.fields(FrontEndConf):
        assert f"`{field.name}`" in page, f"docs/frontends.md does not tell of the key {field.name}"
    assert page.count("<!-- choosing table -->") == 1


def test_the_pages_defaults_are_those_of_the_code(page):
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \| ", page, flags=re.M))
    for field in dataclasses.fields(FrontEndConf):
        if field.name == "type":
            continue
        if field.default is dataclasses.MISSING:
            expected = ["(required)"]
        elif field.default is None:
            expected = ["`null`", "none"]
        else:
            expected = [f"`{str(field.default).lower()}`"]
        assert told[field.name] in expected, field.name
