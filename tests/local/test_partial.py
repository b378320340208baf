"""Recordings of which parts are spoofed (local/mini_corpus/partial.py): the stretches are where they are said to be."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from local.corpora.base import Trial
from local.mini_corpus import partial
from local.mini_corpus.coding import RATE
from local.mini_corpus.partial import KINDS, Maker, pause_near, spliced


class Sounds:
    """Bona fide utterances are noise, spoofed ones tones, with a pause in the middle of each."""

    def __init__(self, folder):
        self.folder = folder
        self.trials = []
        rng = np.random.default_rng(0)
        for speaker in ("s1", "s2"):
            for i in range(3):
                for label, attack in (("bonafide", "-"), ("spoof", "A01"), ("spoof", "A02")):
                    if attack == "A02" and speaker == "s2":
                        continue
                    utt = f"{speaker}_{attack}_{i}"
                    time = np.arange(2 * RATE) / RATE
                    wave = 0.1 * rng.standard_normal(len(time)) if label == "bonafide" else 0.1 * np.sin(3000 * time)
                    wave[RATE - 800 : RATE + 800] *= 0.01
                    soundfile.write(folder / f"{utt}.flac", wave, RATE)
                    self.trials.append(Trial(utt, speaker, label, attack, "", (), 1))

    def flac(self, subset, utt):
        return self.folder / f"{utt}.flac"


@pytest.fixture
def maker(tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "SECONDS", (4.0, 8.0))
    sounds = Sounds(tmp_path)
    return Maker(sounds, "train", sounds.trials)


def test_every_kind_has_what_its_name_says(maker):
    for number, kind in enumerate(KINDS * 2):
        made = maker.make(number)
        seconds, spoofed = len(made.samples) / RATE, sum(end - begin for begin, end in made.spoofed)
        assert made.samples.dtype == np.int16 and 3.5 < seconds < 9
        assert made.label == ("bonafide" if kind == "bonafide" else "spoof")
        assert (spoofed == 0) == (kind == "bonafide") and (spoofed > 0.99 * seconds) == (kind == "spoof")
        assert made.attack == ("" if kind == "bonafide" else ("A01", "A02")[number // len(KINDS) % 2])


def test_the_stretches_are_where_the_spoofed_sound_is(maker):
    for number in (1, 3, 4, 7, 9, 10):
        made = maker.make(number)
        frames = made.samples[: len(made.samples) // 800 * 800].astype(float).reshape(-1, 800)
        is_tone = np.abs(np.diff(frames)).mean(1) < 0.5 * np.abs(frames).mean(1)  # neighbours are alike, unlike noise's
        middles = (np.arange(len(frames)) + 0.5) * 800 / RATE
        said = np.any([(begin <= middles) & (middles < end) for begin, end in made.spoofed], axis=0)
        assert 0 < said.sum() < len(said)
        assert np.count_nonzero(said != is_tone) <= 2 * len(made.spoofed)  # at the edges


def test_the_same_number_makes_the_same_recording(maker):
    one, again, other = maker.make(3), maker.make(3), maker.make(9)
    np.testing.assert_array_equal(one.samples, again.samples)
    assert one.spoofed == again.spoofed and not np.array_equal(one.samples, other.samples)


def test_pieces_are_faded_and_stretches_begin_in_the_middle_of_a_fade():
    made, spoofed = spliced([(np.ones(1600), False), (np.full(1600, -1.0), True), (np.ones(1600), False)])
    assert len(made) == 4800 - 2 * partial.FADE
    assert made[1600 - partial.FADE] == 1 and made[1599] == -1  # from one to the other in a fade
    (begin, end), middle = spoofed[0], partial.FADE / 2 / RATE
    assert begin == pytest.approx(0.1 - middle) and end == pytest.approx(0.2 - 3 * middle)


def test_a_pause_is_found_near_a_place():
    samples = np.ones(RATE)
    samples[10_000:10_800] = 0
    assert 10_000 <= pause_near(samples, 9000) <= 10_800
