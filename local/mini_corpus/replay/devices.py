"""Loudspeakers, amplifier included, by which an attacker plays a recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal

from local.mini_corpus.attack import RATE
from local.mini_corpus.replay.rooms import check_range
from utils.cli import UserError

_NYQUIST = RATE / 2


@dataclass(frozen=True)
class Quality:
    """What is drawn for a device of one quality; everything evenly, the distortion evenly in dB."""

    low_cut_hz: tuple[float, ...]  # lower edge of the band, -3 dB
    upper_hz: tuple[float, ...]  # upper edge of the band, -3 dB; none is applied from 8 kHz on
    distortion: tuple[float, ...]  # total harmonic distortion of a full-scale sine, 0 to 0.1

    def __post_init__(self):
        for name, low, high in (
            ("low_cut_hz", 20.0, _NYQUIST),
            ("upper_hz", 1000.0, float("inf")),
            ("distortion", 0.0, 0.1),
        ):
            check_range(name, getattr(self, name), low, high)


@dataclass(frozen=True)
class DeviceConf:
    """Devices of quality B and C; A is perfect and has nothing to set.

    The definition: B has a band of over 10 kHz and a lower edge under 600 Hz, and is highly linear; C has a band under
    10 kHz and a lower edge over 600 Hz, and is not. At 16 kHz of sampling only what lies below 8 kHz exists. So B's
    upper edge, drawn from 10.6 kHz on to keep the band over 10 kHz, lies beyond Nyquist and is told but not applied,
    and what makes a B is its lower edge; C's upper edge is drawn below 8 kHz, or C would differ from B by its lower
    edge alone.
    """

    B: Quality = Quality((60.0, 600.0), (10600.0, 20000.0), (1e-5, 1e-4))
    C: Quality = Quality((600.0, 900.0), (4000.0, 7000.0), (0.03, 0.1))
    even_share: tuple[float, ...] = (0.1, 0.5)  # of the distortion's power, what the second harmonic has
    low_order: int = 4  # of the high-pass at the lower edge: 24 dB an octave, a vented box
    upper_order: int = 6  # of the low-pass at the upper edge

    def __post_init__(self):
        check_range("even_share", self.even_share, 0.0, 1.0)
        for name in ("low_order", "upper_order"):
            if not 1 <= getattr(self, name) <= 12:
                raise ValueError(f"{name}: {getattr(self, name)}: an order from 1 to 12 is expected")


@dataclass(frozen=True)
class Device:
    """A loudspeaker as a polynomial Hammerstein model: a static polynomial, then a linear filter.

    Without edges (0 Hz, infinity) and with the polynomial x it is perfect.
    """

    quality: str  # A, B or C
    low_cut_hz: float = 0.0
    upper_hz: float = float("inf")
    polynomial: tuple[float, ...] = (0.0, 1.0)  # of x**0, x**1, ...; x within full scale, -1 to 1
    distortion: float = 0.0  # the total harmonic distortion that the polynomial gives a full-scale sine
    low_order: int = 4
    upper_order: int = 6

    def filters(self) -> np.ndarray:
        """The linear part as second-order sections, shape (sections, 6); no sections for a perfect device."""
        parts = [np.zeros((0, 6))]
        if self.low_cut_hz > 0:
            parts.append(signal.butter(self.low_order, self.low_cut_hz, "highpass", fs=RATE, output="sos"))
        if self.upper_hz < _NYQUIST:
            parts.append(signal.butter(self.upper_order, self.upper_hz, "lowpass", fs=RATE, output="sos"))
        return np.concatenate(parts)

    def gain(self, hz: np.ndarray) -> np.ndarray:
        """The linear part's gain (1 = passed as it is) at frequencies `hz` (Hz, below 8000), as many."""
        sections = self.filters()
        return np.abs(signal.sosfreqz(sections, hz, fs=RATE)[1]) if len(sections) else np.ones(np.shape(hz))


def polynomial_of(distortion: float, even_share: float) -> tuple[float, float, float, float]:
    """Coefficients of x**0 to x**3 of x + a2 x**2 + a3 x**3 whose total harmonic distortion at full scale is
    `distortion` (0 to 0.1), with `even_share` (0 to 1) of its power in the second harmonic, the rest in the third.

    A sine of amplitude 1 comes out with 1 + 3/4 a3 at its own frequency, a2/2 at the second harmonic and a3/4 at the
    third; solved for a2 and for an a3 below 0: loud parts are compressed. It rises all over full scale up to a
    distortion of 0.1.

    Raises ValueError outside these ranges. Source of the model: Novak, Simon, Kadlec, Lotton, "Nonlinear system
    identification using exponential swept-sine signal", IEEE Trans. Instrum. Meas. 59(8), 2010.
    """
    if not 0 <= distortion <= 0.1 or not 0 <= even_share <= 1:
        raise ValueError(f"distortion {distortion} outside 0 to 0.1, or even_share {even_share} outside 0 to 1")
    second, third = distortion * np.sqrt(even_share), distortion * np.sqrt(1 - even_share)
    a3 = -4 * third / (1 + 3 * third)
    a2 = 2 * second * (1 + 0.75 * a3)
    return 0.0, 1.0, float(a2), float(a3)


def draw_device(quality: str, rng: np.random.Generator, conf: DeviceConf | None = None) -> Device:
    """A device of `quality` A, B or C. Raises UserError for another letter."""
    conf = conf or DeviceConf()
    if quality == "A":
        return Device("A")
    if quality not in ("B", "C"):
        raise UserError(f"no device quality {quality!r}: A, B or C is expected")
    ranges: Quality = getattr(conf, quality)
    floor = 1e-9  # none at all has no dB
    low, high = (max(d, floor) for d in ranges.distortion)
    # few digits, so that a manifest can tell the very values that were used
    distortion = float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.4g}")
    return Device(
        quality,
        round(float(rng.uniform(*ranges.low_cut_hz)), 1),
        round(float(rng.uniform(*ranges.upper_hz)), 1),
        polynomial_of(min(distortion, 0.1), float(rng.uniform(*conf.even_share))),
        min(distortion, 0.1),
        conf.low_order,
        conf.upper_order,
    )


def play(speech: np.ndarray, device: Device) -> np.ndarray:
    """`speech` by `device`: float64, shape (samples,), as long and at the level at which it came in, less what the band
    cuts off. A perfect device gives a copy.

    The volume is set so that the loudest sample is at full scale, where `distortion` holds; what is below is distorted
    less. The polynomial is taken at 32 kHz, so that of a cubic nothing folds back into the band.
    """
    if device.polynomial[:2] != (0.0, 1.0):
        raise ValueError(f"the polynomial {device.polynomial} does not begin 0 + x")
    peak = float(np.max(np.abs(speech), initial=0.0))
    out = speech.astype(np.float64)
    if peak > 0 and any(device.polynomial[2:]):
        fine = signal.resample_poly(out / peak, 2, 1)
        # what is added alone goes through the resampling, whose filter would take the linear part's top end away
        added = fine**2 * np.polynomial.polynomial.polyval(fine, device.polynomial[2:])
        out = out + peak * signal.resample_poly(added, 1, 2)[: len(out)]
    sections = device.filters()
    return signal.sosfilt(sections, out) if len(sections) else out
