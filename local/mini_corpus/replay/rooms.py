"""Rooms, places in them, and the impulse responses between these.

A response is made of two parts. Early, it is that of the image-source method (Allen and Berkley, J. Acoust. Soc. Am.
65, 1979) in an empty box whose walls all reflect alike at all frequencies; pyroomacoustics finds the images. Later,
where they arrive so densely that only their statistics are heard, it goes on as exponentially decaying Gaussian noise
(Moorer, Computer Music Journal 3(2), 1979; Polack, Applied Acoustics 38, 1993) at the energy that the images have
there. That makes a response in milliseconds where a second of images, tens of millions in a small room, would take half
a minute; and the decay is a straight one, as in furnished rooms, where that of an empty box of parallel walls sags more
the longer it lasts. What the noise does not have is the ringing of single modes, in the smallest room below some 900
Hz.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import ModuleType

import numpy as np
from scipy import signal

from local.mini_corpus.attack import RATE
from local.mini_corpus.replay import measure
from utils.cli import UserError

SOUND = 343.0  # m/s, in dry air of 20 degrees


def check_range(name: str, ends: tuple[float, ...], low: float, high: float) -> None:
    """Raises ValueError unless `ends` are two numbers that do not run downwards, within `low` and `high`."""
    if len(ends) != 2 or not low <= ends[0] <= ends[1] <= high:
        raise ValueError(f"{name}: {list(ends)}: [from, to] within {low:g} and {high:g} is expected")


@dataclass(frozen=True)
class EnvironmentRanges:
    """One property of an environment, by its letter."""

    a: tuple[float, ...]
    b: tuple[float, ...]
    c: tuple[float, ...]


@dataclass(frozen=True)
class AttackRanges:
    """One property of an attack, by its letter."""

    A: tuple[float, ...]
    B: tuple[float, ...]
    C: tuple[float, ...]


@dataclass(frozen=True)
class RoomConf:
    """What is drawn for a room and for the places in it; everything evenly."""

    area_m2: EnvironmentRanges = EnvironmentRanges((2.0, 5.0), (5.0, 10.0), (10.0, 20.0))  # of the floor
    t60_ms: EnvironmentRanges = EnvironmentRanges((50.0, 200.0), (200.0, 600.0), (600.0, 1000.0))
    # talker to ASV microphone
    asv_cm: EnvironmentRanges = EnvironmentRanges((10.0, 50.0), (50.0, 100.0), (100.0, 150.0))
    # attacker to talker; C is over 100 cm, to its upper end or as far as the room lets
    attacker_cm: AttackRanges = AttackRanges((10.0, 50.0), (50.0, 100.0), (100.0, 300.0))
    aspect: tuple[float, ...] = (1.0, 1.6)  # length over width
    height_m: tuple[float, ...] = (2.3, 3.0)  # of the room
    margin_m: float = 0.2  # of every place to the four walls
    place_height_m: tuple[float, ...] = (0.8, 1.8)  # of every place over the floor
    image_part: float = 0.25  # of T60, after which the noise has taken over from the images (15 dB)
    image_ms: float = 80.0  # and no later than so: the images grow with the third power of the time
    tolerance: float = 0.05  # of T60; a response that measures further off is drawn to it

    def __post_init__(self):
        for name, low, high in (("area_m2", 1.0, 1000.0), ("t60_ms", 30.0, 5000.0), ("asv_cm", 5.0, 5000.0)):
            for letter in "abc":
                check_range(f"{name}.{letter}", getattr(getattr(self, name), letter), low, high)
        for letter in "ABC":
            check_range(f"attacker_cm.{letter}", getattr(self.attacker_cm, letter), 5.0, 5000.0)
        check_range("aspect", self.aspect, 1.0, 10.0)
        check_range("height_m", self.height_m, 1.5, 20.0)
        check_range("place_height_m", self.place_height_m, 0.05, self.height_m[0] - 0.05)
        for name, low, high in (
            ("margin_m", 0.01, 10.0),
            ("image_part", 0.1, 1.0),
            ("image_ms", 10.0, 500.0),
            ("tolerance", 0.01, 0.2),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}: {getattr(self, name)} is not within {low:g} and {high:g}")


@dataclass(frozen=True)
class Room:
    """An empty box."""

    size_m: tuple[float, float, float]  # length, width, height
    t60_s: float
    reflection: float  # of the pressure at every wall, its sign left out; 1 - reflection**2 of the energy is absorbed
    diffuse: float  # energy per second of the reverberant field at time 0, before its decay; the source's at 1 m is 1

    @property
    def volume_m3(self) -> float:
        return float(np.prod(self.size_m))

    @property
    def surface_m2(self) -> float:
        x, y, z = self.size_m
        return 2 * (x * y + y * z + z * x)


@dataclass(frozen=True, eq=False)
class Response:
    """An impulse response between two places."""

    samples: np.ndarray  # shape (samples,); the direct sound is 1 / distance
    onset: int  # the sample at which the direct sound arrives
    distance_m: float


def _pyroomacoustics() -> ModuleType:
    try:
        import pyroomacoustics
    except ImportError as error:
        raise UserError(
            f"the rooms of the replay corpus need pyroomacoustics, which cannot be imported here ({error}): install the"
            " group [rooms] of requirements-mini.txt"
        ) from None
    return pyroomacoustics


def _letter(ranges: EnvironmentRanges | AttackRanges, letter: str, what: str) -> tuple[float, float]:
    known = [entry.name for entry in fields(ranges)]
    if letter not in known:
        raise UserError(f"no {what} {letter!r}: {', '.join(known)} are known")
    low, high = getattr(ranges, letter)
    return low, high


def draw_room(size: str, t60: str, rng: np.random.Generator, conf: RoomConf | None = None) -> Room:
    """A room of the letters `size` and `t60` (a to c each).

    Its walls' reflection is that with which the images' energy, gathered over many pairs of places, falls by T60's
    slope while they are in use: within a quarter of what Eyring's formula gives, whose error that mostly is.

    Raises UserError for another letter, and without pyroomacoustics.
    """
    conf = conf or RoomConf()
    area = rng.uniform(*_letter(conf.area_m2, size, "room size"))
    t60_s = rng.uniform(*_letter(conf.t60_ms, t60, "reverberation time")) / 1000
    aspect, height = rng.uniform(*conf.aspect), rng.uniform(*conf.height_m)
    # few digits, so that a manifest can tell the very values that were used
    length, width, height = (round(float(v), 3) for v in (np.sqrt(area * aspect), np.sqrt(area / aspect), height))
    return with_t60((length, width, height), round(float(t60_s), 4), rng, conf)


def with_t60(
    size_m: tuple[float, float, float], t60_s: float, rng: np.random.Generator, conf: RoomConf | None = None
) -> Room:
    """The room of this size (length, width, height in m) with walls for this T60 (s); see `draw_room`. Raises UserError
    where it has no place in it, and without pyroomacoustics."""
    conf = conf or RoomConf()
    bare = Room(size_m, t60_s, 1.0, 0.0)
    until = _image_seconds(t60_s, conf)
    after_direct = measure.DIRECT_MS / 1000
    times, orders, energies, after = [], [], [], []
    found = pairs = 0
    while pairs < 64 and (pairs < 2 or found < 20000):  # sparse images need more pairs, and cost less
        source, microphone = draw_places(bare, 0.1 + 0.8 * rng.random() * (longest_m(bare, conf) - 0.1), rng, conf)
        distances, order = _images(size_m, source, microphone, until)
        since = (distances - distances.min()) / SOUND
        window = (since >= after_direct) & (since < until)
        times.append(distances[window] / SOUND)
        after.append(since[window])
        orders.append(order[window])
        energies.append(distances[window] ** -2)
        found, pairs = found + int(window.sum()), pairs + 1
    time, since, order, energy = (np.concatenate(part) for part in (times, after, orders, energies))
    middle = (after_direct + until) / 2
    early = since < middle
    wanted = 10 ** (6 * (middle - after_direct) / t60_s)  # the first half's energy over the second's

    def ratio(absorbed: float) -> float:
        left = energy * np.exp(-absorbed * order)
        return float(left[early].sum() / max(left[~early].sum(), 1e-300))

    # in terms of -ln(1 - absorption), about Eyring's (J. Acoust. Soc. Am. 1, 1930): in a large dead room, where the
    # first reflections are still to come while the rest has decayed, the slope tells little of the walls
    eyring = 24 * np.log(10) / SOUND * bare.volume_m3 / (bare.surface_m2 * t60_s)
    low, high = eyring / 1.25, eyring * 1.25
    for _ in range(40):
        absorbed = (low + high) / 2
        low, high = (absorbed, high) if ratio(absorbed) < wanted else (low, absorbed)
    decayed = np.sum(energy * np.exp(-absorbed * order) * 10 ** (6 * time / t60_s))
    return Room(size_m, t60_s, float(np.exp(-absorbed / 2)), float(decayed / (pairs * (until - after_direct))))


def _image_seconds(t60_s: float, conf: RoomConf) -> float:
    return min(conf.image_part * t60_s, conf.image_ms / 1000)


def _inner(room: Room, conf: RoomConf) -> np.ndarray:
    """The box of all places in a room: its lower corner and its upper, in m, shape (2, 3)."""
    (x, y, _), margin, (low, high) = room.size_m, conf.margin_m, conf.place_height_m
    corners = np.array([[margin, margin, low], [x - margin, y - margin, high]])
    if np.any(corners[0] > corners[1]):
        raise UserError(f"a room of {x:g} x {y:g} m has no place {margin:g} m away from its walls: lower margin_m")
    return corners


def longest_m(room: Room, conf: RoomConf | None = None) -> float:
    """The longest distance in m that is drawn between two places of a room: 95 % of the one from corner to corner, so
    that there is some choice. Raises UserError where the room has no place in it."""
    low, high = _inner(room, conf or RoomConf())
    return float(0.95 * np.linalg.norm(high - low))


def draw_distance(
    room: Room, range_cm: tuple[float, float], rng: np.random.Generator, conf: RoomConf | None = None
) -> float:
    """A distance in m from `range_cm`, as far as the room lets. Raises UserError where it lets none of them."""
    low, high = (end / 100 for end in range_cm)
    most = longest_m(room, conf)
    if most < low:
        raise UserError(
            f"no two places of a room of {' x '.join(f'{s:g}' for s in room.size_m)} m are {low:g} m apart, {most:.2f}"
            " m at most: lower margin_m, widen place_height_m, or draw larger rooms"
        )
    return round(float(rng.uniform(low, min(high, most))), 4)


def draw_places(
    room: Room, distance_m: float, rng: np.random.Generator, conf: RoomConf | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Two places in m, shape (3,) each, `distance_m` apart (at most `longest_m`), inside the margins.

    Among all directions that fit, and then among all positions that fit, evenly. Raises UserError beyond `longest_m`.
    """
    conf = conf or RoomConf()
    low, high = _inner(room, conf)
    if distance_m > longest_m(room, conf) + 1e-9:
        raise UserError(f"no two places of this room are {distance_m:g} m apart, {longest_m(room, conf):.2f} m at most")
    # 5 % short of the diagonal, a few directions in a thousand fit
    for _ in range(1000):
        directions = rng.standard_normal((256, 3))
        steps = directions * (distance_m / np.linalg.norm(directions, axis=1, keepdims=True))
        fits = np.flatnonzero(np.all(np.abs(steps) <= high - low, axis=1))
        if len(fits):
            step = steps[fits[0]]
            first = low + np.maximum(-step, 0) + rng.random(3) * (high - low - np.abs(step))
            return first, first + step
    raise UserError(f"no direction was found in which two places of this room are {distance_m:g} m apart")


def _images(
    size_m: tuple[float, float, float], source: np.ndarray, microphone: np.ndarray, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (m) and reflection orders, shape (images,) each, of at least all images of the source that are heard up
    to `seconds` after the direct sound."""
    pra = _pyroomacoustics()
    furthest = SOUND * seconds + np.linalg.norm(source - microphone)
    # a ray of length r crosses at most r |cos x| / Lx + 1 walls of x, and the like: largest by Cauchy and Schwarz
    order = int(np.ceil(furthest * np.sqrt(np.sum(np.array(size_m) ** -2.0)))) + 3
    box = pra.ShoeBox(size_m, fs=RATE, materials=pra.Material(0.5), max_order=order, air_absorption=False)
    box.add_source(list(source))
    box.add_microphone(list(microphone))
    box.image_source_model()
    images = box.sources[0]
    distances = np.linalg.norm(images.images.astype(np.float64) - microphone[:, None], axis=0)
    return distances, images.orders.astype(int)


_FINE = 16  # times as many samples, for delays between samples
_REACH = 40  # samples, of the filter back to RATE, to each side: -6 dB at 8 kHz, flat up to 7.6 kHz


@functools.cache
def _to_rate() -> np.ndarray:
    return signal.firwin(2 * _REACH * _FINE + 1, 1 / _FINE, window=("kaiser", 8.0)) * _FINE


def impulse_response(
    room: Room, source: np.ndarray, microphone: np.ndarray, rng: np.random.Generator, conf: RoomConf | None = None
) -> Response:
    """The response from `source` to `microphone` (m, shape (3,) each, inside the room), both without a direction.

    Samples of shape (40 + 1.1 T60 + 10 ms,). Images up to a quarter of T60, 80 ms at most, the last third of that
    cross-faded to the noise from `rng`. Every reflection turns the sign: with all signs alike their sum has a large
    component near 0 Hz that rooms do not have (Lehmann and Johansson, J. Acoust. Soc. Am. 124, 2008). The direct sound
    is one sample, which no filter rounds, however often a recording is played.

    In a dead room few reflections make up the whole decay, and one pair of places measures off: where `measure.t60`
    is more than `tolerance` from the room's T60, the reverberation gets the exponential factor that a medium with
    absorption (or gain) would give it. All letters then measure within 10 % of the T60 drawn; without it, within 25 %.

    Raises UserError without pyroomacoustics.
    """
    conf = conf or RoomConf()
    until = _image_seconds(room.t60_s, conf)
    distances, orders = _images(room.size_m, source, microphone, until)
    direct = int(np.argmin(distances))
    distance = float(np.linalg.norm(source - microphone))
    late = (distances - distances[direct]) / SOUND * RATE  # samples after the direct sound
    count = int(until * RATE)
    used = late < count
    used[direct] = False
    at = late[used] * _FINE
    before = at.astype(int)
    part = at - before
    pressure = (-room.reflection) ** orders[used] / distances[used]
    fine = np.bincount(before, pressure * (1 - part), (count + 1) * _FINE)
    fine += np.bincount(before + 1, pressure * part, (count + 1) * _FINE)[: len(fine)]

    total = _REACH + int((1.1 * room.t60_s + 0.01) * RATE)
    reverberation = np.zeros(total)
    early = signal.upfirdn(_to_rate(), fine, 1, _FINE)[:total]
    reverberation[: len(early)] = early
    since = np.arange(total) - _REACH  # samples after the direct sound
    # the diffuse field's energy falls from the moment of emission, wherever one stands
    density = room.diffuse / RATE * 10 ** (-6 * (since / RATE + distance / SOUND) / room.t60_s)
    noise = rng.standard_normal(total) * np.sqrt(density)
    fade = np.clip((since - count * 2 / 3) / (count / 3), 0, 1) * (np.pi / 2)
    reverberation = reverberation * np.cos(fade) + noise * np.sin(fade)
    reverberation = _drawn_to(reverberation, since / RATE, room.t60_s, conf.tolerance)
    reverberation[_REACH] += 1 / distance
    return Response(reverberation, _REACH, distance)


def _drawn_to(reverberation: np.ndarray, seconds: np.ndarray, t60_s: float, tolerance: float) -> np.ndarray:
    """`reverberation` with the exponential factor that brings its measured T60 to within `tolerance` of `t60_s`."""
    out, rate = reverberation, 0.0
    for _ in range(8):
        measured = measure.t60(out, _REACH)
        if abs(measured / t60_s - 1) <= tolerance:
            break
        # three quarters of the way: the range's ends jump from reflection to reflection
        rate += 0.75 * 3 * (1 / t60_s - 1 / measured)
        out = reverberation * 10 ** (-rate * np.maximum(seconds, 0))
    return out


@dataclass(frozen=True, eq=False)
class Environment:
    """A room with its responses, made once and used for many utterances."""

    letters: str  # three of a to c: room size, T60, talker-to-ASV distance
    room: Room
    to_asv: tuple[Response, ...]  # from the talker's, or the device's, place to the ASV microphone
    to_attacker: Mapping[str, tuple[Response, ...]] = field(default_factory=dict)  # by the attack's first letter


def draw_environment(
    letters: str, rng: np.random.Generator, conf: RoomConf | None = None, attackers: str = "ABC", responses: int = 4
) -> Environment:
    """A room of the three `letters` and `responses` responses, each between places of their own, to the ASV microphone
    and to the microphone of an attacker of each letter in `attackers`.

    Raises UserError for unknown letters, where the room does not let a distance, and without pyroomacoustics.
    """
    conf = conf or RoomConf()
    if len(letters) != 3:
        raise UserError(f"environment {letters!r}: three letters, of room size, T60 and talker-to-ASV distance")
    asv_cm = _letter(conf.asv_cm, letters[2], "talker-to-ASV distance")
    attacker_cm = {letter: _letter(conf.attacker_cm, letter, "attacker-to-talker distance") for letter in attackers}
    room = draw_room(letters[0], letters[1], rng, conf)

    def several(range_cm: tuple[float, float]) -> tuple[Response, ...]:
        made = []
        for _ in range(responses):
            places = draw_places(room, draw_distance(room, range_cm, rng, conf), rng, conf)
            made.append(impulse_response(room, *places, rng, conf))
        return tuple(made)

    return Environment(letters, room, several(asv_cm), {letter: several(cm) for letter, cm in attacker_cm.items()})
