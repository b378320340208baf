"""Several front ends as channels of one input."""

import shutil

import numpy as np
import pytest
import torch
import yaml

from steps import nnet
from steps.data.batches import FeatureSet, fix_length
from steps.data.sources import DumpedFeatures
from steps.experiment.training_folder import load_detector, save_detector
from steps.frontend import conf_from_dict, dump_identity, load_conf, make_frontend
from steps.frontend.processing.standardise import active_level, standardise
from steps.frontend.stack import stretch
from utils import conf as conf_files
from utils.ark import ArkWriter
from utils.cli import UserError

STACK = """
type: stack
sample_rate: 16000
parts: [{parts}]
frames: {frames}
bins: {bins}
compress: none
network_input: {{frames: 64, crop: first, pad: mirror}}
"""


@pytest.fixture()
def confs(root, tmp_path):
    """A copy of conf/frontend to put stacks of one's own beside."""
    return shutil.copytree(root / "conf/frontend", tmp_path / "frontend")


@pytest.fixture()
def make_stack(confs):
    def call(parts="f0_subband.yaml, lps_low.yaml", frames="equal", bins="zero_pad", more="", settings=()):
        path = confs / "mine.yaml"
        path.write_text(STACK.format(parts=parts, frames=frames, bins=bins) + more)
        return load_conf(path, settings)

    return call


def alone(confs, name, waveform, *settings):
    """(frames, channels, bins) of a front end by itself."""
    frontend = make_frontend(load_conf(confs / f"{name}.yaml", settings))
    return frontend.compute(waveform).reshape(-1, frontend.channels, frontend.n_bins)


def test_channels_are_those_of_the_parts_in_their_order(confs, make_stack, waveform_maker):
    waveform = waveform_maker(20000)
    frontend = make_frontend(make_stack("lps_low.yaml, imag_real.yaml, f0_subband.yaml"))
    assert (frontend.channels, frontend.n_bins, frontend.n_columns) == (4, 865, 4 * 865)
    made = frontend.compute(waveform)
    assert made.dtype == np.float32 and made.shape == (1 + 20000 // 130, 4 * 865)
    made = made.reshape(len(made), 4, 865)
    np.testing.assert_array_equal(made[:, :1, :432], alone(confs, "lps_low", waveform))
    np.testing.assert_array_equal(made[:, 1:3], alone(confs, "imag_real", waveform))
    np.testing.assert_array_equal(made[:, 3:, :45], alone(confs, "f0_subband", waveform))
    assert not made[:, 0, 432:].any() and not made[:, 3, 45:].any()


def test_frames_and_bins_by_interpolation(confs, make_stack, waveform_maker):
    waveform = waveform_maker(20000)
    parts = "imag_real_257.yaml, f0_subband.yaml"
    made = make_frontend(make_stack(parts, "interpolate", "interpolate")).compute(waveform).reshape(-1, 3, 257)
    own = alone(confs, "f0_subband", waveform)[:, 0]
    assert len(made) == 1 + 20000 // 256 != len(own)
    times = np.linspace(0, len(own) - 1, len(made))
    by_time = np.stack([np.interp(times, np.arange(len(own)), column) for column in own.T], axis=1)
    np.testing.assert_allclose(make_frontend(make_stack(parts, "interpolate")).compute(waveform)[:, 514:559], by_time, atol=1e-4)  # fmt: skip
    places = np.linspace(0, 44, 257)
    expected = np.stack([np.interp(places, np.arange(45), row) for row in by_time])
    np.testing.assert_allclose(made[:, 2], expected, atol=1e-4)
    np.testing.assert_array_equal(made[:, :2], alone(confs, "imag_real_257", waveform))


@pytest.mark.parametrize("n, size", [(1, 1), (1, 5), (2, 1), (2, 7), (9, 4), (4, 9), (6, 6)])
def test_stretch_equals_numpys_interp_along_either_axis(n, size):
    x = np.random.default_rng(n).standard_normal((3, n)).astype(np.float32)
    expected = [np.interp(np.linspace(0, n - 1, size), np.arange(n), row) for row in x]
    for made in (stretch(x, size, 1), stretch(x.T, size, 0).T):
        assert made.dtype == np.float32 and made.shape == (3, size)
        np.testing.assert_allclose(made, expected, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 100, 257, 90000])
def test_short_silent_and_clipped(root, waveform_maker, samples):
    settings = ["frontend.standardise=false"]  # it would cut out what is silent and what is clipped
    frontend = make_frontend(load_conf(root / "conf/frontend/stack_f0_imag_real.yaml", settings))
    loud = waveform_maker(samples)
    for waveform in (loud, np.zeros(samples), np.clip(20 * loud, -1, 1)):
        made = frontend.compute(waveform)
        assert made.shape == (1 + min(samples, 80000) // 256, frontend.n_columns) and np.isfinite(made).all()
    np.testing.assert_array_equal(frontend.compute(loud)[:, :514], frontend.parts[0].compute(loud))


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("part", ["true", "false"])
def test_the_stack_standardises_once_and_a_part_never(confs, make_stack, waveform_maker, whole, part):
    (confs / "part.yaml").write_text(f"base: f0_subband.yaml\nstandardise: {part}\n")
    conf = make_stack("part.yaml, lps_low.yaml", more=f"standardise: {str(whole).lower()}\n")
    assert [conf.standardise, *(made.standardise for made in conf.parts)] == [whole, False, False]
    waveform = np.concatenate([0.1 - 0.3 * waveform_maker(9000), np.zeros(4000)])
    stack = make_frontend(conf)
    made, (batch,) = stack.compute(waveform), stack.compute_batch([waveform])
    standard = standardise(waveform, 16000) if whole else waveform
    assert len(standard) == (9000 if whole else 13000)
    np.testing.assert_array_equal(made[:, :45], stack.parts[0].compute(standard))
    np.testing.assert_array_equal(made[:, 432:], stack.parts[1].compute(standard))
    np.testing.assert_allclose(batch, made, atol=1e-4)


def test_preparation_and_finish_of_the_stack_go_around_those_of_the_parts(confs, make_stack, waveform_maker):
    (confs / "deltas.yaml").write_text(
        "base: f0_subband.yaml\ndeltas: {order: 1, half_width: 2, as_channels: true}\n"
        "cmvn: {scope: utterance, variance: true}\n"
    )
    quiet = 1e-3 * np.random.default_rng(0).standard_normal(4000)
    waveform = np.concatenate([quiet, waveform_maker(9000)])
    more = "trim: {where: begin, below_db: 40, frame_ms: 10, keep_ms: 0}\n"
    stack = make_frontend(make_stack("deltas.yaml, f0_subband.yaml", more=more))
    assert (stack.channels, stack.n_bins) == (3, 45)
    standard = stack.standardised(waveform)
    assert len(standard) == 13000 and active_level(standard, 16000) == pytest.approx(-26)
    prepared = stack.prepare(standard)
    assert 8500 < len(prepared) <= 9000
    plain = ["frontend.standardise=false"]
    parts = [make_frontend(load_conf(confs / f"{name}.yaml", plain)) for name in ("deltas", "f0_subband")]
    expected = np.concatenate([part.compute(prepared) for part in parts], axis=1)
    np.testing.assert_array_equal(stack.compute(waveform), expected)
    grown = make_frontend(
        make_stack(
            "deltas.yaml, f0_subband.yaml", more=more + "deltas: {order: 1, half_width: 2, as_channels: false}\n"
        )
    )
    assert (grown.channels, grown.n_bins) == (3, 90) and grown.compute(waveform).shape == (len(expected), 270)


def test_the_stored_conf_needs_no_file(confs, make_stack, waveform_maker):
    conf = make_stack("imag_real_257.yaml, f0_subband.yaml", "interpolate")
    waveform = waveform_maker(5000)
    expected = make_frontend(conf).compute(waveform)
    stored = yaml.safe_load(yaml.safe_dump(conf_files.to_dict(conf)))
    shutil.rmtree(confs)
    again = conf_from_dict(stored, "final.pt")
    assert again == conf and [part["type"] for part in stored["parts"]] == ["complex_spectrum", "log_spectrum"]
    assert stored["parts"][1]["hop_length"] == 130
    np.testing.assert_array_equal(make_frontend(again).compute(waveform), expected)


def test_global_normalisation_is_the_stacks(confs, make_stack):
    (confs / "global.yaml").write_text("base: f0_subband.yaml\ncmvn: {scope: global, variance: true}\n")
    with pytest.raises(UserError, match=r"parts\[1\]\.cmvn: global normalisation"):
        make_stack("f0_subband.yaml, global.yaml")
    assert make_frontend(make_stack(more="cmvn: {scope: global, variance: true}\n")).normalised_globally


def test_a_group_of_keys_is_a_part_too(root, confs, make_stack):
    values = conf_files.to_dict(load_conf(root / "conf/frontend/f0_subband.yaml"))
    conf = make_stack(f"{yaml.safe_dump(values, default_flow_style=True, width=10**6).strip()}, lps_low.yaml")
    assert conf == make_stack()


def test_what_the_arks_hold_does_not_depend_on_how_they_are_read(confs, make_stack):
    conf = make_stack(settings=["frontend.network_input.frames=99", "frontend.compress=none"])
    assert conf.parts[0].network_input.frames == 99
    assert dump_identity(conf) == dump_identity(make_stack())
    text = (confs / "f0_subband.yaml").read_text()
    (confs / "f0_subband.yaml").write_text(text.replace("  frames: 600", "  frames: 300"))
    assert dump_identity(conf) == dump_identity(make_stack())
    (confs / "f0_subband.yaml").write_text(text.replace("last_bin: 44", "last_bin: 40"))
    changed = conf_files.differences(dump_identity(conf), dump_identity(make_stack()))
    assert changed == ["parts[0].last_bin: 44 -> 40"]


def test_channels_reach_the_network_and_the_kept_detector(root, confs, make_stack, waveform_maker, tmp_path):
    conf = make_stack("imag_real_257.yaml, f0_subband.yaml", "interpolate")
    frontend = make_frontend(conf)
    data, feats = tmp_path / "data", tmp_path / "feats"
    data.mkdir()
    labels = {"utt1": "bonafide", "utt2": "spoof"}
    (data / "utt2label").write_text("".join(f"{utt} {label}\n" for utt, label in labels.items()))
    with ArkWriter(feats / "feats") as writer:
        for i, utt in enumerate(labels):
            writer.write(utt, frontend.compute(waveform_maker(9000 + 20000 * i)))
    features = FeatureSet(data, DumpedFeatures(feats), frontend, cache_mib=10)
    for i in range(2):
        x, _, _ = features[i]
        assert x.shape == (3, 64, 257)
        fixed = fix_length(features.source.read(features.utts[i]), 64, "mirror").reshape(64, 3, 257)
        np.testing.assert_array_equal(x.numpy(), fixed.transpose(1, 0, 2))
        assert x[2, :, :45].any() and not x[2, :, 45:].any()
    model = nnet.load_conf(root / "conf/model/ecanet9.yaml")
    detector = nnet.make_detector(model, frontend.channels).eval()
    kept = {"frontend": conf_files.to_dict(conf), "model": conf_files.to_dict(model), "corpus": {"name": "made up"}}
    save_detector(tmp_path / "final.pt", detector.state_dict(), kept, 1)
    shutil.rmtree(confs)
    again, again_conf = load_detector(tmp_path / "final.pt", torch.device("cpu"))
    assert again_conf == conf
    with torch.no_grad():
        torch.testing.assert_close(again(x[None]), detector(x[None]))


@pytest.mark.parametrize(
    "parts, key, told",
    [
        ("f0_subban.yaml", "", r"mine\.yaml: line 4: parts\[0\]: .*no such conf file; did you mean .*f0_subband\.yaml"),
        ("f0_subband.yaml, 3", "", r"parts\[1\]: 3 is neither the name"),
        ("mine.yaml", "", r"parts\[0\]: mine\.yaml is a stack"),
        ("{type: stack}", "", r"parts\[0\]: it is a stack"),
        ("{type: log_spectrun}", "", r"parts\[0\]: .*did you mean 'log_spectrum'"),
        ("", "", "parts: there are none"),
        ("wrong.yaml", "hop_lenght: 3", r"parts\[0\]: .*wrong\.yaml: line 2: unknown key 'hop_lenght'"),
        ("wrong.yaml", "sample_rate: 8000", r"parts\[0\]\.sample_rate: 8000 is not the stack's 16000"),
        ("wrong.yaml", "channel: 0", r"parts\[0\]\.channel: belongs to the stack"),
        ("wrong.yaml", "resample: true", r"parts\[0\]\.resample: belongs to the stack"),
        ("wrong.yaml", "trim: {where: all, below_db: 40, frame_ms: 10, keep_ms: 0}", r"parts\[0\]\.trim: belongs"),
        ("f0_subband.yaml, wrong.yaml", "max_samples: 16000", r"parts\[1\]\.max_samples: 16000 is not .*80000"),
    ],
)
def test_a_wrong_part_is_named(confs, make_stack, parts, key, told):
    (confs / "wrong.yaml").write_text(f"base: f0_subband.yaml\n{key}\n")
    with pytest.raises(UserError, match=told):
        make_stack(parts)


@pytest.mark.parametrize(
    "setting, told",
    [
        ("frontend.pre_emphasis=0.97", "pre_emphasis: each part of a stack has its own"),
        ("frontend.frames=same", "frames: 'same' is none of equal, interpolate"),
        ("frontend.bins=zeros", "did you mean 'zero_pad'"),
        ("frontend.parts.0.n_fft=512", "--set frontend.parts: parts: .* is not a list"),
        ("frontend.parts=[phas.yaml]", r"--set frontend.parts: parts\[0\]: .*did you mean .*phase\.yaml"),
    ],
)
def test_a_wrong_setting_is_named(make_stack, setting, told):
    with pytest.raises(UserError, match=told):
        make_stack(settings=[setting])


def test_the_stacks_max_samples_brings_the_parts_to_one_stretch(confs, make_stack, waveform_maker):
    (confs / "whole.yaml").write_text("base: f0_subband.yaml\nmax_samples: null\n")
    with pytest.raises(UserError, match=r"parts\[1\]\.max_samples: None is not that of parts\[0\], 80000"):
        make_stack("f0_subband.yaml, whole.yaml", more="max_samples: 90000\n")
    frontend = make_frontend(make_stack("f0_subband.yaml, whole.yaml", more="max_samples: 20000\nstandardise: false\n"))
    waveform, plain = waveform_maker(30000), "frontend.standardise=false"
    features = frontend.compute(waveform)
    assert len(features) == 1 + 20000 // 130
    np.testing.assert_array_equal(features, np.tile(alone(confs, "f0_subband", waveform[:20000], plain)[:, 0], 2))


def test_parts_by_setting(make_stack):
    conf = make_stack(settings=["frontend.parts=[phase.yaml, group_delay.yaml]", "frontend.frames=interpolate"])
    assert [part.type for part in conf.parts] == ["phase_difference", "group_delay"]


def test_parts_of_other_frames_are_refused_where_they_shall_be_equal(make_stack, waveform_maker):
    frontend = make_frontend(make_stack("f0_subband.yaml, phase.yaml"))
    with pytest.raises(UserError, match=r"parts\[1\] \(phase_difference\) has 79 frames, parts\[0\] 77"):
        frontend.compute(waveform_maker(10000))
