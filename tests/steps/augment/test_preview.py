"""steps/augment_preview.py: picture and wavs of one utterance."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from steps import augment, augment_preview
from steps.data.batches import FeatureSet
from steps.data.sources import ComputedFeatures
from steps.frontend import load_conf, make_frontend, read_utterance
from tests import in_process
from tests.augment_steps import RATE, conf_of
from tests.conftest import picture_of


@pytest.fixture
def flac(tmp_path, waveform_maker):
    path = tmp_path / "LA_T_1.flac"
    soundfile.write(path, waveform_maker(RATE), RATE)
    return path


def preview(*args):
    return in_process.call(augment_preview.main, "augment_preview.py", *args)


def size_of_png(path):
    height, width, _ = picture_of(path).shape
    return width, height


def test_every_step_and_the_whole_chain(root, tmp_path, flac):
    conf = tmp_path / "chain.yaml"
    conf.write_text(
        "steps:\n- type: noise\n  p: 0\n  snr_db: [5, 5]\n- type: speed\n  p: 1\n  factors: [0.5]\n"
        "- type: time_mask\n  number: 1\n  max_frames: 30\n  fill: zero\n- type: mixup\n  alpha: 1\n"
    )
    done = preview("--augment", conf, "--wav-dir", tmp_path / "wavs", flac, tmp_path / "a.png")
    assert done.returncode == 0, done.stderr
    width, height = size_of_png(tmp_path / "a.png")
    assert (
        width == 1300 and height > 1300
    )  # original, two waveforms, the whole chain; input, mask, the whole chain; mixup
    names = sorted(path.name for path in (tmp_path / "wavs").iterdir())
    assert names == ["0_original.wav", "1_noise.wav", "2_speed.wav", "3_whole_chain.wav"]
    read = {name[0]: soundfile.read(tmp_path / "wavs" / name)[0] for name in names}
    assert [len(read[i]) for i in "0123"] == [RATE, RATE, 2 * RATE, 2 * RATE]
    assert not np.allclose(read["0"], read["1"], atol=1e-3)  # forced on
    np.testing.assert_array_equal(read["2"], read["3"])  # in the chain the noise has its own probability


def test_an_utterance_of_a_wav_scp(root, tmp_path, flac):
    (tmp_path / "wav.scp").write_text(f"utt {flac}\n")
    conf = root / "conf/augment/specaugment.yaml"
    done = preview("--augment", conf, tmp_path / "wav.scp", "utt", tmp_path / "a.png")
    assert done.returncode == 0, done.stderr
    size_of_png(tmp_path / "a.png")
    done = preview("--augment", conf, tmp_path / "wav.scp", "other", tmp_path / "b.png")
    assert done.returncode == 1 and "wav.scp: no utterance other" in done.stderr
    assert not (tmp_path / "b.png").exists()


def test_silence_and_an_empty_chain(root, tmp_path):
    soundfile.write(tmp_path / "s.wav", np.zeros(4000), RATE)
    for steps in ("[]", "[{type: noise, snr_db: [5, 5]}]"):
        option = f"augment.steps={steps}"
        done = preview(
            "--augment", root / "conf/augment/mixup.yaml", "--set", option, tmp_path / "s.wav", tmp_path / "s.png"
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("samples", [RATE, 6 * RATE])  # shorter and longer than the network's input
def test_the_whole_chain_is_what_a_training_reads(root, tmp_path, waveform_maker, samples):
    soundfile.write(tmp_path / "u.flac", waveform_maker(samples), RATE)
    (tmp_path / "wav.scp").write_text(f"u {tmp_path}/u.flac\n")
    (tmp_path / "utt2label").write_text("u bonafide\n")
    conf = load_conf(root / "conf/frontend/f0_subband.yaml", ["frontend.network_input.crop=random"])
    frontend = make_frontend(conf)
    chain = conf_of("speed", "noise", {"type": "frequency_mask", "p": 0.5}, "time_mask")
    read = FeatureSet(
        tmp_path, ComputedFeatures(tmp_path, frontend), frontend, 0, seed=5, chain=augment.make_chain(chain, RATE)
    )
    read.set_epoch(2)
    original = read_utterance("u", tmp_path / "u.flac", conf)
    rows = augment_preview.Preview(chain, frontend, "u", seed=5, epoch=2).rows(original)
    np.testing.assert_array_equal(rows[-1].features, read[0][0][0].numpy())
