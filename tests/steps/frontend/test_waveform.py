"""Raw samples as features, and the length at which a network gets them."""

import numpy as np

from steps.data.batches import network_input
from steps.frontend import load_conf, make_frontend
from steps.frontend.processing.standardise import standardise
from steps.inference.windows import window_samples
from tests.conftest import ROOT, speech_like

SAMPLES = 64600


def front_end(name):
    return make_frontend(load_conf(ROOT / f"conf/frontend/{name}.yaml"))


def test_features_are_the_samples_bit_for_bit_as_published_and_standardised_by_default():
    waveform = speech_like(3000)
    np.testing.assert_array_equal(front_end("waveform_paper").compute(waveform)[:, 0], waveform.astype(np.float32))
    np.testing.assert_array_equal(
        front_end("waveform").compute(waveform)[:, 0], standardise(waveform, 16000).astype(np.float32)
    )


def test_short_recordings_are_repeated_and_long_ones_cut_to_64600_samples():
    frontend = front_end("waveform_paper")
    short, long = speech_like(25000), speech_like(SAMPLES + 9)
    made = network_input(frontend.compute(short), frontend, "u")
    np.testing.assert_array_equal(made[:, 0], np.tile(short, 3)[:SAMPLES].astype(np.float32))
    made = network_input(frontend.compute(long), frontend, "u")
    np.testing.assert_array_equal(made[:, 0], long[:SAMPLES].astype(np.float32))


def test_training_draws_a_stretch_of_a_longer_recording():
    frontend = front_end("waveform")
    features = np.arange(2 * SAMPLES, dtype=np.float32)[:, None]
    begins = {int(network_input(features, frontend, "u", epoch=epoch)[0, 0]) for epoch in range(1, 6)}
    assert len(begins) == 5 and max(begins) <= SAMPLES


def test_a_window_of_a_recording_is_the_networks_input():
    assert window_samples(front_end("waveform_paper")) == SAMPLES
