"""Random filters of network inputs: what a front end says a filter does to it, what is drawn, what is left alone."""

import numpy as np
import pytest
import scipy.signal
import torch

from steps import train, training
from steps.frontend import load_conf, make_frontend
from steps.training.random_filter import RandomFilter, RandomFilterConf
from tests.conftest import speech_like
from tests.in_process import call
from utils.cli import UserError

RATE = 16000
FILTERS = {
    "high_pass": scipy.signal.butter(2, 150, "high", fs=RATE, output="sos"),
    "low_pass": scipy.signal.butter(1, 4000, "low", fs=RATE, output="sos"),
}
CONF = RandomFilterConf(p=0.5, gain=6, tilt=3, high_pass=(40, 200), low_pass=(3000, 8000))


def frontend_of(root, name, *settings):
    """Without standardising, which takes a part of a filter's gain back."""
    return make_frontend(load_conf(root / f"conf/frontend/{name}.yaml", ["frontend.standardise=false", *settings]))


def waveform(kind, seconds=3):
    """Of energy at all frequencies: noise, or speech-like sound with a little noise."""
    noise = np.random.default_rng(5).standard_normal(seconds * RATE)
    return 0.1 * noise if kind == "noise" else speech_like(seconds * RATE, 2) + 0.01 * noise


def found_and_foretold(frontend, kind, name):
    """Of each column in decibels: the mean change by a real filter, and what the basis makes of its gains."""
    hz, basis = frontend.filter_basis()
    plain = waveform(kind)
    filtered = scipy.signal.sosfilt(FILTERS[name], plain)
    change = (frontend.compute(filtered).astype(np.float64) - frontend.compute(plain)).mean(0)
    gains = np.abs(scipy.signal.sosfreqz(FILTERS[name], hz, fs=RATE)[1])
    foretold = 20 * np.log10(np.maximum(gains, 1e-3)) @ basis
    return change / frontend.conf.per_decibel, foretold / frontend.conf.per_decibel


# -- what a filter does to a matrix ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["noise", "speech"])
@pytest.mark.parametrize("name, worst", [
    ("f0_subband", 0.6),
    ("lps_257", 1.6),
    ("mel_spectrogram", 1.4),
    ("fbank", 2.0),
    ("cqt_100", 1.2),
])  # fmt: skip
def test_a_filter_of_the_waveform_adds_its_gains_to_the_logarithms(root, name, worst, kind):
    """Where the filter takes away less than 6 dB: further down a bin hears its louder neighbours more than itself.

    A bin's own width makes the gain within it differ: by `worst` dB where it is steepest, by next to nothing elsewhere.
    The floor lies far below the sound; near it a filter changes less.
    """
    has_floor = name in ("f0_subband", "lps_257", "cqt_100")
    frontend = frontend_of(root, name, *["frontend.log_floor_exponent=-30"] * has_floor)
    for which in FILTERS:
        found, foretold = found_and_foretold(frontend, kind, which)
        kept = np.abs(foretold) < 6
        error = np.abs(found - foretold)[kept]
        assert error.max() < worst and error.mean() < 0.15, which
        if (which, name) != ("low_pass", "f0_subband"):  # which ends at 407 Hz, far below what is filtered
            assert np.abs(foretold[kept]).max() > 3, "the filter changes some of these bins"


@pytest.mark.parametrize("kind", ["noise", "speech"])
@pytest.mark.parametrize("name", ["lfcc_2019", "lfcc"])
def test_a_filter_of_the_waveform_adds_the_cosine_transform_of_its_gains_to_cepstra(root, name, kind):
    frontend = frontend_of(root, name)
    for which in FILTERS:
        found, foretold = found_and_foretold(frontend, kind, which)
        np.testing.assert_allclose(found, foretold, rtol=0, atol=0.6, err_msg=which)
    assert np.abs(foretold[:20]).max() > 20, "the low-pass makes another shape"
    assert not foretold[20:].any(), "deltas do not change"


def test_a_gain_adds_the_same_to_each_bin_and_to_the_first_cepstrum_alone(root):
    """Of 6 dB: ln 2 of magnitudes, 2 ln 2 of powers, 2 log10 2 sqrt(20) of the first of 20 cepstra."""
    for name, expected in (
        ("f0_subband", np.full(45, np.log(2))),
        ("cqt_100", np.full(100, np.log(2))),
        ("mel_spectrogram", np.full(80, 2 * np.log(2))),
        ("lfcc", np.append(2 * np.log10(2) * np.sqrt(20), np.zeros(59))),
    ):
        hz, basis = frontend_of(root, name).filter_basis()
        assert basis.shape == (len(hz), len(expected))
        np.testing.assert_allclose(np.full(len(hz), 20 * np.log10(2)) @ basis, expected, atol=1e-12, err_msg=name)


def test_a_cepstrum_whose_first_column_is_the_energy_leaves_it_as_it_is(root):
    """The energy is of the whole frame: what a filter does to it depends on the sound."""
    hz, basis = frontend_of(root, "mfcc", "frontend.energy={raw: true, floor: 0}").filter_basis()
    assert len(hz) == 23 and not basis[:, 0].any() and basis[:, 1:].any()


@pytest.mark.parametrize("name, settings", [
    ("imag_real_257", []),
    ("group_delay", []),
    ("phase", []),
    ("cqcc", []),
    ("stack_f0_imag_real", []),
    ("f0_subband", ["frontend.cmvn={scope: utterance, variance: false}"]),
    ("mel_spectrogram", ["frontend.log=null"]),
    ("lfcc", ["frontend.log=null"]),
    ("fbank", ["frontend.energy={raw: true, floor: 0}"]),
])  # fmt: skip
def test_a_front_end_to_which_no_filter_adds_a_curve_is_not_filtered(root, name, settings):
    frontend = frontend_of(root, name, *settings)
    assert frontend.filter_basis() is None
    assert not RandomFilter(CONF, frontend).works


def test_normalisation_over_the_training_set_does_not_hinder_filters(root):
    """It is done after them, in the detector."""
    frontend = frontend_of(root, "f0_subband", "frontend.cmvn={scope: global, variance: true}")
    assert RandomFilter(CONF, frontend).works


def test_deltas_are_not_filtered_be_they_bins_or_channels(root):
    for as_channels in ("true", "false"):
        deltas = f"frontend.deltas={{order: 2, half_width: 2, as_channels: {as_channels}}}"
        frontend = frontend_of(root, "f0_subband", deltas)
        hz, basis = frontend.filter_basis()
        assert basis.shape == (45, 135) and not basis[:, 45:].any() and basis[:, :45].diagonal().all()
        x = torch.zeros(8, frontend.channels, 3, frontend.n_bins)
        made = RandomFilter(RandomFilterConf(1, 6, 3, None, None), frontend)(x, np.random.default_rng(1))
        columns = made.movedim(1, 2).reshape(8, 3, 135)
        assert columns[:, :, :45].abs().amax(dim=(1, 2)).min() > 0 and not columns[:, :, 45:].any()


# -- what is drawn -----------------------------------------------------------------------------------------------------


HZ = np.linspace(0, 8000, 257)


def drawn(conf, count=400, seed=1, hz=HZ):
    return conf.draw(np.random.default_rng(seed), count, hz)


def test_no_probability_no_filter_and_full_probability_all():
    none, half, all_of_them = (drawn(RandomFilterConf(p, 6, 3, (40, 200), (3000, 8000))) for p in (0, 0.5, 1))
    assert none.shape == (400, 257) and none.dtype == np.float64 and not none.any()
    filtered = half.any(axis=1)
    assert 160 < filtered.sum() < 240
    assert all_of_them.any(axis=1).all()
    np.testing.assert_array_equal(half[filtered], all_of_them[filtered])


def test_draws_are_the_generators_alone():
    np.testing.assert_array_equal(drawn(CONF, seed=3), drawn(CONF, seed=3))
    assert not np.array_equal(drawn(CONF, seed=3), drawn(CONF, seed=4))


def test_what_else_is_drawn_does_not_depend_on_a_filter_that_is_off():
    """So that one key changes one thing."""
    whole, without = (drawn(RandomFilterConf(1, 6, 3, high, (3000, 8000))) for high in ((40, 200), None))
    high = HZ > 5000  # where a high-pass takes away next to nothing
    np.testing.assert_allclose(whole[:, high], without[:, high], atol=0.01)


def test_gains_are_level_and_stay_within_their_range():
    gains = drawn(RandomFilterConf(1, 6, 0, None, None))
    np.testing.assert_array_equal(gains, np.broadcast_to(gains[:, :1], gains.shape))
    assert -6 <= gains.min() < -5.5 and 5.5 < gains.max() <= 6 and abs(gains.mean()) < 1


def test_tilts_are_straight_lines_over_the_octaves_and_stay_within_their_range():
    hz = 125.0 * 2 ** np.arange(7)
    gains = drawn(RandomFilterConf(1, 0, 3, None, None), hz=hz)
    slopes = np.diff(gains, axis=1)
    np.testing.assert_allclose(slopes, np.broadcast_to(slopes[:, :1], slopes.shape), atol=1e-9)
    assert -3 <= slopes.min() < -2.8 and 2.8 < slopes.max() <= 3
    np.testing.assert_allclose(gains[:, 3], 0, atol=1e-9, err_msg="the middle of the band stays")


def test_a_tilt_ends_at_20_hz():
    gains = drawn(RandomFilterConf(1, 0, 3, None, None), hz=np.array([0.0, 5.0, 20.0, 40.0, 8000.0]))
    np.testing.assert_allclose(gains[:, :2], gains[:, [2, 2]], atol=1e-9)
    assert np.abs(gains[:, 3] - gains[:, 2]).min() > 1e-6


@pytest.mark.parametrize("which, corner, beyond", [
    ("high_pass", 100.0, np.array([0.5, 0.25])),
    ("low_pass", 4000.0, np.array([2.0, 4.0])),
])  # fmt: skip
def test_half_of_the_filtered_have_a_butterworth_of_order_1_to_4(which, corner, beyond):
    """-3 dB at the corner; an octave beyond it 10 log10(1 + 4^order)."""
    conf = RandomFilterConf(1, 0, 0, **{"high_pass": None, "low_pass": None, which: (corner, corner)})
    gains = drawn(conf, hz=corner * np.array([1.0, *beyond, *(1 / beyond)]))
    has = gains.any(axis=1)
    assert 160 < has.sum() < 240
    np.testing.assert_allclose(gains[has, 0], -10 * np.log10(2), atol=1e-9)
    curves = {tuple(np.round(row, 6)) for row in gains[has]}
    expected = {
        tuple(np.round(-10 * np.log10(1 + np.array([1.0, 4.0**n, 16.0**n, 4.0**-n, 16.0**-n])), 6)) for n in range(1, 5)
    }
    assert curves == expected


def test_the_curve_of_a_high_pass_is_that_of_a_real_one():
    """Of analogue ones: digital ones of scipy's kind differ near half the sample rate alone."""
    hz = np.linspace(20, 1000, 50)
    gains = drawn(RandomFilterConf(1, 0, 0, (150, 150), None), hz=hz)
    for order in range(1, 5):
        response = np.abs(scipy.signal.freqs(*scipy.signal.butter(order, 150, "high", analog=True), hz)[1])
        curve = 20 * np.log10(np.maximum(response, 1e-3))
        assert np.abs(gains - np.maximum(curve, -60)).max(axis=1).min() < 1e-6, order


def test_corners_stay_within_their_range_and_fill_it():
    gains = drawn(RandomFilterConf(1, 0, 0, (40, 200), None), hz=np.geomspace(10, 1000, 2000))
    has = gains.any(axis=1)
    corners = np.geomspace(10, 1000, 2000)[(gains[has] > -10 * np.log10(2)).argmax(axis=1)]
    assert 39.5 < corners.min() < 44 and 180 < corners.max() < 201
    assert 78 < np.median(corners) < 103, "evenly over octaves: half lie below the geometric mean, 89 Hz"


def test_no_filter_takes_away_more_than_60_db():
    gains = drawn(RandomFilterConf(1, 6, 30, (200, 200), (3000, 3000)))
    assert np.isfinite(gains).all() and gains.min() == -60


def test_a_front_end_of_a_single_bin_at_0_hz_gets_finite_gains(root):
    hz, _ = frontend_of(root, "f0_subband", "frontend.last_bin=0").filter_basis()
    assert np.isfinite(drawn(CONF, hz=hz)).all()


# -- batches -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frontend(root):
    return frontend_of(root, "f0_subband")


def batch(frontend, count=16, seed=0):
    """Inputs well above the floor, with a stretch of digital silence in each."""
    x = torch.randn(count, frontend.channels, 20, frontend.n_bins, generator=torch.Generator().manual_seed(seed)) - 2
    x[:, :, 15:] = frontend.floor
    return x


def test_a_filtered_batch_is_of_the_same_shape_and_kind(frontend):
    x = batch(frontend)
    made = RandomFilter(CONF, frontend)(x, np.random.default_rng(1))
    assert made.shape == x.shape and made.dtype == torch.float32
    assert made.is_contiguous(memory_format=torch.channels_last)


def test_each_utterance_gets_its_curve_in_every_frame(frontend):
    x = batch(frontend)
    made = RandomFilter(CONF, frontend)(x, np.random.default_rng(1))
    hz, basis = frontend.filter_basis()
    curves = CONF.draw(np.random.default_rng(1), 16, hz) @ basis
    expected = (x[:, 0, :15].double() + torch.from_numpy(curves)[:, None]).clamp(min=frontend.floor)
    np.testing.assert_allclose(made[:, 0, :15], expected, atol=1e-4)
    same = [torch.equal(a, b) for a, b in zip(made, x)]
    assert same == [not row.any() for row in curves] and 0 < sum(same) < 16


def test_silence_stays_silence_and_nothing_falls_below_it(frontend):
    x = batch(frontend, 64)
    x[:, :, :5] = frontend.floor + 0.5  # nearly nothing: much of it would fall below
    made = RandomFilter(RandomFilterConf(1, 6, 3, (200, 400), None), frontend)(x, np.random.default_rng(1))
    assert torch.equal(made[:, :, 15:], x[:, :, 15:])
    assert made.min() == frontend.floor and (made[:, :, :5] == frontend.floor).any()
    assert (made[:, :, :5] > frontend.floor + 0.5).any()


def test_silence_stays_silence_before_normalisation_over_the_training_set(root):
    """The matrix is not normalised, the detector does that: silence is still at the floor here."""
    frontend = frontend_of(root, "f0_subband", "frontend.cmvn={scope: global, variance: true}")
    x = torch.full((8, 1, 10, 45), frontend.conf.floor)
    made = RandomFilter(RandomFilterConf(1, 6, 3, None, None), frontend)(x, np.random.default_rng(1))
    assert torch.equal(made, x)


def test_where_a_front_end_knows_no_floor_everything_is_filtered(root):
    frontend = frontend_of(root, "lfcc")
    assert frontend.floor is None
    x = torch.full((8, 1, 10, 60), -100.0)
    made = RandomFilter(RandomFilterConf(1, 6, 3, None, None), frontend)(x, np.random.default_rng(1))
    assert (made[..., 0] != x[..., 0]).all() and torch.equal(made[..., 20:], x[..., 20:])


def test_a_batch_is_filtered_alike_by_the_same_generator(frontend):
    x, conf = batch(frontend), RandomFilterConf(1, 6, 3, (40, 200), None)
    one, two, other = (RandomFilter(conf, frontend)(x, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_a_share_of_a_batch_is_filtered_as_in_the_whole(frontend, monkeypatch):
    """Several processes take the very filters that one would."""
    x, conf = batch(frontend), RandomFilterConf(1, 6, 3, (40, 200), None)
    whole = RandomFilter(conf, frontend)(x, np.random.default_rng(1))
    for share in (slice(0, 5), slice(5, 16), slice(3, 3)):
        monkeypatch.setattr("steps.training.distributed.place_in_batch", lambda rows, share=share: (16, share))
        part = RandomFilter(conf, frontend)(x[share], np.random.default_rng(1))
        np.testing.assert_allclose(part, whole[share], atol=1e-5)


def test_a_filter_of_probability_nought_does_not_work(frontend):
    assert not RandomFilter(RandomFilterConf(0, 6, 3, None, None), frontend).works
    assert RandomFilter(CONF, frontend).works


# -- in a training -----------------------------------------------------------------------------------------------------


def trained(root, sets, out, frontend, *settings):
    """A short training's output, and the parameters that it ends in."""
    (train_data, train_feats), (dev_data, dev_feats) = sets["train"], sets["dev"]
    done = call(
        train.main, "train.py", "--frontend", root / f"conf/frontend/{frontend}.yaml", "--num-threads=1",
        "--model", root / "conf/model/ecanet9.yaml", "--train-conf", root / "conf/train/baseline.yaml",
        "--set=train.epochs=1", "--set=train.batch_size=25", "--set=frontend.network_input.frames=32",
        *(f"--set=train.random_filter{setting}" for setting in settings),
        train_data, train_feats, dev_data, dev_feats, out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    state = torch.load(out / "final.pt", weights_only=True)["state"]
    return done.stdout, {name: v for name, v in state.items() if name.endswith("weight")}


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)


def test_a_training_filters_its_batches_by_the_seed(root, made_up_sets, tmp_path):
    runs = {
        name: trained(root, made_up_sets, tmp_path / name, "f0_subband", setting)
        for name, setting in (("one", ".p=0.9"), ("two", ".p=0.9"), ("other", ".p=0.5"), ("none", "=null"))
    }
    weights = {name: found for name, (_, found) in runs.items()}
    assert same(weights["one"], weights["two"])
    assert not same(weights["one"], weights["none"]) and not same(weights["one"], weights["other"])
    assert not any("left out" in said for said, _ in runs.values())


def test_a_training_on_what_no_filter_adds_a_curve_to_says_so_and_goes_without(root, set_maker, tmp_path):
    sets = {name: set_maker(tmp_path, name, 25, root, i, frontend="phase") for i, name in enumerate(("train", "dev"))}
    said, filtered = trained(root, sets, tmp_path / "filtered", "phase", ".p=0.5")
    assert "train.random_filter: left out, as a filter adds no curve to phase_difference" in said
    said, plain = trained(root, sets, tmp_path / "plain", "phase", "=null")
    assert "left out" not in said and same(filtered, plain)


# -- the conf ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change, message", [
    ({"p": 1.5}, "p: 1.5 must be between 0 and 1"),
    ({"p": -0.1}, "p: -0.1 must be between 0 and 1"),
    ({"gain": -1}, "gain: -1 has to be 0 or a positive number"),
    ({"tilt": -3}, "tilt: -3 has to be 0 or a positive number"),
    ({"high_pass": (200, 40)}, r"high_pass: \[200, 40\] is not \[lowest, highest\] corner in Hz, above 0"),
    ({"high_pass": (0, 40)}, "high_pass"),
    ({"high_pass": (40,)}, "high_pass"),
    ({"low_pass": (3000, 4000, 5000)}, "low_pass"),
    ({"low_pass": (-1, 4000)}, "low_pass"),
])  # fmt: skip
def test_values_that_cannot_filter_are_refused_by_name(change, message):
    values = {"p": 0.5, "gain": 6, "tilt": 3, "high_pass": (40, 200), "low_pass": (3000, 8000)}
    with pytest.raises(ValueError, match=f"^{message}"):
        RandomFilterConf(**(values | change))


def test_a_conf_file_names_the_key_and_can_switch_filters_off(root):
    path = root / "conf/train/baseline.yaml"
    assert training.load_conf(path, ["train.random_filter=null"]).random_filter is None
    corners = training.load_conf(path, ["train.random_filter.high_pass=null"]).random_filter
    assert corners.high_pass is None and corners.low_pass is not None
    with pytest.raises(UserError, match="random_filter.p: 2.0 must be between 0 and 1"):
        training.load_conf(path, ["train.random_filter.p=2"])
    with pytest.raises(UserError, match="random_filter.high_pass: .*corner in Hz"):
        training.load_conf(path, ["train.random_filter.high_pass=[200, 40]"])
