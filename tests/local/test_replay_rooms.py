"""Rooms and their impulse responses: T60 as drawn, distance heard, the same from the same seed.

What needs pyroomacoustics is skipped, with pip's reason, where it cannot be had.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from local.mini_corpus.attack import RATE
from local.mini_corpus.python_packages import PythonPackages
from local.mini_corpus.replay import measure, rooms
from local.mini_corpus.replay.devices import Device
from local.mini_corpus.replay.present import PresentConf, present_bonafide, present_replay
from local.mini_corpus.replay.rooms import EnvironmentRanges, Room, RoomConf
from tests import replay_measures
from utils import conf
from utils.cli import UserError

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = PythonPackages(ROOT / "downloads", ROOT / "requirements-mini.txt")


def response(room: Room, distance: float, rng: np.random.Generator, given: RoomConf | None = None) -> rooms.Response:
    return rooms.impulse_response(room, *rooms.draw_places(room, distance, rng, given), rng, given)


# ---------------------------------------------------------------- without packages


def test_without_pyroomacoustics_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(UserError, match=r"pyroomacoustics.*install the group \[rooms\] of requirements-mini.txt"):
        rooms.draw_room("a", "a", np.random.default_rng(0))


def test_the_group_stands_in_the_requirements():
    (pin,) = PACKAGES.pins(["rooms"])
    assert pin.startswith("pyroomacoustics==")


@pytest.mark.parametrize("size", [(1.12, 1.79, 2.3), (1.42, 1.41, 2.3), (5.6, 3.5, 3.0)])
@pytest.mark.parametrize("distance", [0.1, 0.7, 1.5])
def test_places_are_inside_and_as_far_apart_as_asked(size, distance):
    room, rng, margin = Room(size, 0.3, 0.9, 1.0), np.random.default_rng(0), RoomConf().margin_m
    for _ in range(50):
        places = np.array(rooms.draw_places(room, distance, rng))
        assert np.linalg.norm(places[0] - places[1]) == pytest.approx(distance)
        assert np.all(places[:, :2] >= margin - 1e-9) and np.all(places[:, :2] <= np.array(size[:2]) - margin + 1e-9)
        assert np.all(places[:, 2] >= 0.8 - 1e-9) and np.all(places[:, 2] <= 1.8 + 1e-9)


def test_the_longest_distance_of_a_room_can_be_placed():
    room = Room((1.42, 1.41, 2.3), 0.3, 0.9, 1.0)
    rng = np.random.default_rng(0)
    for _ in range(20):
        first, second = rooms.draw_places(room, rooms.longest_m(room), rng)
        assert np.linalg.norm(first - second) == pytest.approx(rooms.longest_m(room))


def test_distances_go_as_far_as_the_room_lets():
    room, rng = Room((1.42, 1.41, 2.3), 0.3, 0.9, 1.0), np.random.default_rng(0)
    drawn = [rooms.draw_distance(room, (100, 300), rng) for _ in range(100)]
    assert 1 <= min(drawn) < 1.1 and 1.5 < max(drawn) <= rooms.longest_m(room) + 1e-4
    with pytest.raises(UserError, match="no two places of a room of 1.42 x 1.41 x 2.3 m are 2 m apart, 1.6. m"):
        rooms.draw_distance(room, (200, 300), rng)
    with pytest.raises(UserError, match="lower margin_m"):
        rooms.draw_distance(room, (10, 50), rng, RoomConf(margin_m=0.8))


@pytest.mark.parametrize(
    "letters, told",
    [
        ("aa", "'aa': three letters"),
        ("", "'': three letters"),
        ("Aaa", "no room size 'A': a, b, c are known"),
        ("ada", "no reverberation time 'd'"),
        ("aad", "no talker-to-ASV distance 'd'"),
    ],
)
def test_unknown_letters_are_told(letters, told):
    with pytest.raises(UserError, match=told):
        rooms.draw_environment(letters, np.random.default_rng(0))
    with pytest.raises(UserError, match="no attacker-to-talker distance 'a': A, B, C"):
        rooms.draw_environment("aaa", np.random.default_rng(0), attackers="Aa")


def test_a_conf_fills_the_ranges():
    values = {
        "area_m2": {"a": [3, 3], "b": [5, 10], "c": [10, 20]},
        "attacker_cm": {"A": [10, 20], "B": [50, 100], "C": [100, 120]},
        "margin_m": 0.15,
    }
    made = conf.build(RoomConf, values, {}, "x.yaml")
    assert made.area_m2.a == (3.0, 3.0) and made.attacker_cm.C == (100.0, 120.0) and made.margin_m == 0.15
    assert made.t60_ms == RoomConf().t60_ms
    values["area_m2"] = {"a": [3, 2], "b": [5, 10], "c": [10, 20]}
    with pytest.raises(UserError, match="area_m2.a"):
        conf.build(RoomConf, values, {}, "x.yaml")
    with pytest.raises(ValueError, match="place_height_m"):
        RoomConf(place_height_m=(0.8, 2.9))


# ---------------------------------------------------------------- with pyroomacoustics


@pytest.mark.parametrize("t60", "abc")
@pytest.mark.parametrize("size", "abc")
def test_t60_is_as_drawn_within_a_tenth(pyroomacoustics, size, t60):
    rng = np.random.default_rng(ord(size) * 256 + ord(t60))
    given = RoomConf()
    for _ in range(3):
        room = rooms.draw_room(size, t60, rng)
        area = room.size_m[0] * room.size_m[1]
        assert getattr(given.area_m2, size)[0] - 0.01 <= area <= getattr(given.area_m2, size)[1] + 0.01
        assert getattr(given.t60_ms, t60)[0] <= 1000 * room.t60_s <= getattr(given.t60_ms, t60)[1]
        for distance in (0.1, 0.5, 1.5):
            made = response(room, distance, rng)
            assert measure.t60(made.samples, made.onset) == pytest.approx(room.t60_s, rel=0.1)
            # and over a range that nothing was drawn to
            assert measure.t60(made.samples, made.onset, (-5, -35)) == pytest.approx(room.t60_s, rel=0.2)


@pytest.mark.parametrize(
    "size, t60_s",
    [((1.12, 1.79, 2.3), 1.0), ((1.42, 1.41, 3.0), 1.0), ((4.47, 4.47, 3.0), 0.05), ((5.6, 3.5, 2.3), 0.05)],
)
def test_t60_at_the_ends_of_the_ranges(pyroomacoustics, size, t60_s):
    rng = np.random.default_rng(0)
    for _ in range(3):
        room = rooms.with_t60(size, t60_s, rng)
        assert 0.2 < room.reflection < 0.99
        for distance in (0.1, 1.5):
            made = response(room, distance, rng)
            assert measure.t60(made.samples, made.onset) == pytest.approx(t60_s, rel=0.1)


@pytest.mark.parametrize("size, t60_s", [((2.0, 1.5, 2.5), 0.1), ((2.0, 1.5, 2.5), 0.6), ((5.0, 3.5, 2.7), 0.9)])
def test_direct_to_reverberant_ratio_falls_with_distance_as_in_a_diffuse_field(pyroomacoustics, size, t60_s):
    rng = np.random.default_rng(0)
    room = rooms.with_t60(size, t60_s, rng)
    distances = np.array([0.1, 0.3, 0.6, 1.2])
    ratios = []
    for distance in distances:
        made = [response(room, distance, rng) for _ in range(6)]
        ratios.append(np.mean([replay_measures.direct_to_reverberant_db(r.samples, r.onset) for r in made]))
    assert np.all(np.diff(ratios) < -2)
    if t60_s > 0.5:
        # energy of the diffuse field 4 pi c / V a second, falling by T60 (Kuttruff, Room Acoustics, 2009, chapter 5)
        decay = 6 * np.log(10) / t60_s
        late = distances / rooms.SOUND + measure.DIRECT_MS / 1000
        diffuse = 4 * np.pi * rooms.SOUND / room.volume_m3 * np.exp(-decay * late) / decay
        assert np.allclose(ratios[:2], -10 * np.log10(distances**2 * diffuse)[:2], atol=2)


def test_the_noise_goes_on_as_the_images_would(pyroomacoustics, monkeypatch):
    monkeypatch.setattr(rooms, "_drawn_to", lambda reverberation, *_: reverberation)
    rng = np.random.default_rng(0)
    room = rooms.with_t60((2.8, 2.4, 2.6), 0.6, rng)
    parts = [slice(40 + int(a * RATE), 40 + int(b * RATE)) for a, b in ((0.01, 0.05), (0.06, 0.1), (0.1, 0.2))]
    differences = []
    for _ in range(4):
        places = rooms.draw_places(room, 0.7, rng)
        usual = rooms.impulse_response(room, *places, rng).samples
        images = rooms.impulse_response(room, *places, rng, RoomConf(image_part=1.0, image_ms=300.0)).samples
        differences.append([10 * np.log10(np.sum(images[p] ** 2) / np.sum(usual[p] ** 2)) for p in parts])
    assert np.all(np.abs(np.mean(differences, axis=0)) < [0.01, 1, 1.5])


def test_a_response_is_float64_starts_with_its_direct_sound_and_has_no_offset(pyroomacoustics):
    rng = np.random.default_rng(0)
    room = rooms.with_t60((2.0, 1.5, 2.5), 0.8, rng)
    made = response(room, 0.5, rng)
    assert made.samples.dtype == np.float64 and made.distance_m == pytest.approx(0.5)
    assert made.samples.shape == (made.onset + int((1.1 * 0.8 + 0.01) * RATE),)
    assert np.argmax(np.abs(made.samples)) == made.onset
    assert made.samples[made.onset] == pytest.approx(2.0, rel=0.05)
    assert np.all(np.abs(made.samples[: made.onset - 20]) < 0.02)
    spectrum = np.abs(np.fft.rfft(made.samples)) ** 2
    hz = np.arange(len(spectrum)) * RATE / len(made.samples)
    assert np.mean(spectrum[hz < 20]) < 3 * np.mean(spectrum)


def test_an_image_is_where_and_as_strong_as_geometry_says(pyroomacoustics):
    source, microphone = np.array([1.0, 2.0, 1.2]), np.array([2.0, 2.0, 1.2])
    distances, orders = rooms._images((6.0, 4.0, 3.0), source, microphone, 0.05)
    by_distance = np.argsort(distances)
    assert distances[by_distance[0]] == pytest.approx(1.0, abs=1e-6) and orders[by_distance[0]] == 0
    floor = np.hypot(1.0, 2.4)
    assert distances[by_distance[1]] == pytest.approx(floor, abs=1e-6) and orders[by_distance[1]] == 1
    # all images up to the time, by their count in the sphere
    within = np.sum(distances < 0.05 * rooms.SOUND)
    assert within == pytest.approx(4 / 3 * np.pi * (0.05 * rooms.SOUND) ** 3 / 72, rel=0.1)


def _all_of(environment: rooms.Environment) -> list[np.ndarray]:
    several = [environment.to_asv, *environment.to_attacker.values()]
    return [made.samples for responses in several for made in responses]


def test_the_same_seed_gives_the_same_responses_bit_for_bit(pyroomacoustics):
    one, other, third = (rooms.draw_environment("abb", np.random.default_rng(s), responses=2) for s in (1, 1, 2))
    assert one.room == other.room != third.room
    assert all(np.array_equal(a, b) for a, b in zip(_all_of(one), _all_of(other), strict=True))


@pytest.mark.parametrize("letters", ["aac", "acc", "cca"])
def test_an_environment_has_the_distances_of_its_letters_and_can_be_presented(pyroomacoustics, letters, waveform_maker):
    made = rooms.draw_environment(letters, np.random.default_rng(0), responses=2)
    given = RoomConf()
    assert len(made.to_asv) == 2 and set(made.to_attacker) == set("ABC")
    low, high = getattr(given.asv_cm, letters[2])
    assert all(low <= 100 * r.distance_m <= high for r in made.to_asv)
    for letter, responses in made.to_attacker.items():
        low, high = getattr(given.attacker_cm, letter)
        assert len(responses) == 2 and all(low <= 100 * r.distance_m <= high for r in responses)
    speech = waveform_maker(RATE)
    shown = PresentConf()
    bonafide = present_bonafide(speech, made.to_asv[0], shown)
    replay = present_replay(speech, made.to_attacker["C"][1], Device("A"), made.to_asv[1], shown)
    assert bonafide.shape == replay.shape and np.all(np.isfinite(replay))
    # twice through the room: less of it is the direct sound
    assert np.corrcoef(bonafide[:RATE], speech)[0, 1] > np.corrcoef(replay[:RATE], speech)[0, 1]


def test_a_room_that_does_not_let_the_distance_is_told(pyroomacoustics):
    small = RoomConf(area_m2=EnvironmentRanges((1.0, 1.0), (5.0, 10.0), (10.0, 20.0)), place_height_m=(1.2, 1.3))
    with pytest.raises(UserError, match="no two places of a room of"):
        rooms.draw_environment("acc", np.random.default_rng(0), small)
