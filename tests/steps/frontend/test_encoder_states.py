"""States of a frozen encoder as features: those of the network that has the encoder in it, and what is refused."""

import shutil

import numpy as np
import pytest
import torch

from steps import frontend as frontends
from steps import nnet
from steps.inference.windows import window_samples
from tests.conftest import ROOT, speech_like
from tests.tiny_encoders import FAMILIES, LAYERS, WIDTH, encoder_conf, save_encoder
from utils import conf as conf_files
from utils.cli import UserError

pytest.importorskip("transformers", reason="transformers is not installed (requirements-dev.txt)")
SAMPLES = 8000


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each family, by its name."""
    folder = tmp_path_factory.mktemp("encoders")
    return {family: save_encoder(folder / family, family) for family in FAMILIES}


def conf_of(folder, *settings):
    given = [f"encoder={folder}", f"max_samples={SAMPLES}", "network_input.frames=5", *settings]
    return frontends.load_conf(ROOT / "conf/frontend/whisper_tiny.yaml", [f"frontend.{setting}" for setting in given])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_on_states_scores_as_with_its_encoder(folders, family):
    """Of one window; then a shorter utterance, repeated."""
    frontend = frontends.make_frontend(conf_of(folders[family], "average=1", "standardise=false"))
    assert (frontend.channels, frontend.n_bins) == (LAYERS + 1, WIDTH)
    model = encoder_conf(folders[family], "ssl_whisper_tiny_mhfa")
    torch.manual_seed(1)
    on_states = nnet.make_detector(model, frontend.channels).eval()
    on_samples = nnet.make_detector(model).eval()
    assert not on_samples.load_state_dict(on_states.state_dict(), strict=False).unexpected_keys
    for length in (SAMPLES, SAMPLES // 3):
        waveform = speech_like(length)
        states = torch.from_numpy(frontend.compute(waveform)).unflatten(1, (LAYERS + 1, WIDTH)).transpose(0, 1)[None]
        samples = torch.from_numpy(np.resize(waveform, SAMPLES)).float()[None, None, :, None]
        with torch.no_grad():
            ours, theirs = on_states.stage_maps(states), on_samples.stage_maps(samples)
            torch.testing.assert_close(on_states(states), on_samples(samples))
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other)


def test_neighbouring_frames_are_averaged(folders):
    waveform = speech_like(SAMPLES)
    one, three = (frontends.make_frontend(conf_of(folders["wavlm"], f"average={n}")).compute(waveform) for n in (1, 3))
    assert len(three) == len(one) // 3
    np.testing.assert_allclose(three[1], one[3:6].mean(axis=0), rtol=1e-5, atol=1e-6)


def test_a_batch_is_as_its_utterances(folders):
    frontend = frontends.make_frontend(conf_of(folders["whisper"]))
    waveforms = [speech_like(length) for length in (1, 5000, 12000)]
    for alone, beside in zip(map(frontend.compute, waveforms), frontend.compute_batch(waveforms), strict=True):
        np.testing.assert_allclose(alone, beside, rtol=1e-4, atol=1e-5)


def test_gain_offset_polarity_and_silence_change_nothing(folders):
    frontend = frontends.make_frontend(conf_of(folders["wav2vec2"]))
    waveform = speech_like(SAMPLES)
    changed = np.concatenate([np.zeros(2000), -0.1 * waveform + 0.05, np.zeros(500)])
    np.testing.assert_allclose(frontend.compute(waveform), frontend.compute(changed), rtol=1e-3, atol=1e-3)


def test_windows_are_as_long_as_what_the_encoder_reads(folders):
    assert window_samples(frontends.make_frontend(conf_of(folders["whisper"]))) == SAMPLES


def test_a_kept_conf_finds_the_same_weights_or_says_what_is_wrong(folders, tmp_path):
    folder = shutil.copytree(folders["hubert"], tmp_path / "hubert")
    kept = conf_files.to_dict(conf_of(folder))
    again = frontends.make_frontend(frontends.conf_from_dict(kept, "final.pt"))
    waveform = speech_like(SAMPLES)
    np.testing.assert_array_equal(again.compute(waveform), frontends.make_frontend(conf_of(folder)).compute(waveform))
    save_encoder(folder, "hubert", seed=2)
    with pytest.raises(UserError, match="frontend.encoder: .*hubert: its weights are not those"):
        frontends.make_frontend(frontends.conf_from_dict(kept, "final.pt"))
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="frontend.encoder: .*hubert: no such folder"):
        frontends.make_frontend(frontends.conf_from_dict(kept, "final.pt"))


@pytest.mark.parametrize(
    "settings, message",
    [
        (["average=0"], "average: 0 is not positive"),
        (["max_samples=null"], "max_samples: an encoder needs a length"),
        (["encoder=/nowhere"], "encoder: /nowhere: no such folder"),
        (["encoder=3"], "encoder: 3 is not the name of a folder"),
    ],
)
def test_confs_that_are_refused(folders, settings, message):
    with pytest.raises(UserError, match=message):
        conf_of(folders["wavlm"], *settings)


def test_networks_that_do_not_fit_are_refused(folders):
    channels = LAYERS + 1
    with pytest.raises(UserError, match="model.tune: lora: the front end has computed the encoder's states"):
        nnet.make_detector(encoder_conf(folders["wavlm"], "ssl_whisper_tiny", "tune=lora"), channels)
    with pytest.raises(UserError, match=f"it has {channels} states, and the front end makes 3"):
        nnet.make_detector(encoder_conf(folders["wavlm"]), 3)
    with pytest.raises(UserError, match=f"its states have {WIDTH} values, and the front end makes 7"):
        nnet.make_detector(encoder_conf(folders["wavlm"]), channels)(torch.zeros(1, channels, 5, 7))
