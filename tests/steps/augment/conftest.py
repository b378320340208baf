"""The utterance that the augmentations are tried on."""

import pytest

from tests.augment_steps import RATE


@pytest.fixture(scope="session")
def speech(waveform_maker):
    return waveform_maker(2 * RATE)
