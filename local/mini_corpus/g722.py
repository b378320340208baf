"""ITU-T G.722 at 64 kbit/s: 16 kHz speech as sub-band ADPCM, the codec of wide-band telephony.

Two uses: Asterisk's prompts come as raw G.722, and every file of the mini corpus passes through the codec once, so
that prompts which did and speech which did not come from G.722 cannot be told apart by it.

Source: ITU-T Recommendation G.722 (09/2012); the names of tables and signals are the Recommendation's.
"""

from __future__ import annotations

import numba
import numpy as np

DELAY = 22  # samples by which a round trip delays the signal: the two quadrature mirror filters

# Each table as in the Recommendation's section 6.2.1; the fixed-point scales are given beside each.
_QMF = np.array([3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11], np.int64)  # half of the 24 taps, 2^-13
_QM2 = np.array([-7408, -1616, 7408, 1616], np.int64)  # inverse quantizers, 2^-15
_QM4 = np.array(
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0], np.int64
)
_QM6 = np.array(
    [-136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576]
    + [-7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040]
    + [-728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456]
    + [4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136],
    np.int64,
)
_Q6 = np.array(
    [0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219]
    + [1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919],
    np.int64,
)  # decision levels of the lower band, 2^-15 of the quantizer's scale
_ILN = np.array([0, 63, 62, *range(31, 3, -1), 0], np.int64)  # code of a negative difference, by decision interval
_ILP = np.array([0, *range(61, 31, -1), 0], np.int64)  # the same for a positive one
_WL = np.array([-60, -30, 58, 172, 334, 538, 1198, 3042], np.int64)  # steps of the logarithmic scale
_RL42 = np.array([0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0], np.int64)
_WH = np.array([0, -214, 798], np.int64)
_RH2 = np.array([2, 1, 2, 1], np.int64)
_ILB = np.array(
    [2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896, 2960, 3025]
    + [3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008],
    np.int64,
)  # 2048 * 2^(i/32)

# A band's state, one row of int64 per band: where each signal of the Recommendation stands in it.
_NB, _DET, _S, _SP, _SZ = 0, 1, 2, 3, 4
_R = 5  # r(n), r(n-1), r(n-2)
_A = 8  # a0 (unused), a1, a2
_P = 11  # p(n), p(n-1), p(n-2)
_D = 14  # d(n) ... d(n-6)
_B = 21  # b0 (unused), b1 ... b6
_STATE_SIZE = 28


@numba.njit(cache=True)
def _clip16(value):
    return min(max(value, -32768), 32767)


@numba.njit(cache=True)
def _log_scale(nb, shift_base, ilb):
    """SCALEL / SCALEH: the quantizer's scale factor from its logarithm."""
    mantissa = ilb[(nb >> 6) & 31]
    shift = shift_base - (nb >> 11)
    scale = mantissa << -shift if shift < 0 else mantissa >> shift
    return scale << 2


@numba.njit(cache=True)
def _adapt(state, difference):
    """Block 4: from the quantized difference, the next prediction of one band (two poles, six zeros)."""
    state[_D] = difference
    state[_R] = _clip16(state[_S] + difference)
    state[_P] = _clip16(state[_SZ] + difference)

    # second pole (UPPOL2)
    same_1 = (state[_P] >> 15) == (state[_P + 1] >> 15)
    same_2 = (state[_P] >> 15) == (state[_P + 2] >> 15)
    doubled = _clip16(state[_A + 1] << 2)
    step = min(-doubled if same_1 else doubled, 32767)
    second = (128 if same_2 else -128) + (step >> 7) + ((state[_A + 2] * 32512) >> 15)
    second = min(max(second, -12288), 12288)
    # first pole (UPPOL1)
    first = (192 if same_1 else -192) + ((state[_A + 1] * 32640) >> 15)
    bound = _clip16(15360 - second)
    first = min(max(first, -bound), bound)
    # zeros (UPZERO)
    step = 0 if difference == 0 else 128
    sign = difference >> 15
    for i in range(1, 7):
        change = step if (state[_D + i] >> 15) == sign else -step
        state[_B + i] = _clip16(change + ((state[_B + i] * 32640) >> 15))
    # delay lines (DELAYA)
    for i in range(6, 0, -1):
        state[_D + i] = state[_D + i - 1]
    for i in range(2, 0, -1):
        state[_R + i] = state[_R + i - 1]
        state[_P + i] = state[_P + i - 1]
    state[_A + 1], state[_A + 2] = first, second
    # prediction (FILTEP, FILTEZ, PREDIC)
    poles = _clip16(((first * _clip16(2 * state[_R + 1])) >> 15) + ((second * _clip16(2 * state[_R + 2])) >> 15))
    zeros = 0
    for i in range(6, 0, -1):
        zeros += (state[_B + i] * _clip16(2 * state[_D + i])) >> 15
    zeros = _clip16(zeros)
    state[_SP], state[_SZ] = poles, zeros
    state[_S] = _clip16(poles + zeros)


@numba.njit(cache=True)
def _update_low(state, code, qm4, wl, rl42, ilb):
    quantized = (state[_DET] * qm4[code >> 2]) >> 15
    nb = ((state[_NB] * 127) >> 7) + wl[rl42[code >> 2]]
    state[_NB] = min(max(nb, 0), 18432)
    state[_DET] = _log_scale(state[_NB], 8, ilb)
    _adapt(state, quantized)


@numba.njit(cache=True)
def _update_high(state, code, qm2, wh, rh2, ilb):
    quantized = (state[_DET] * qm2[code]) >> 15
    nb = ((state[_NB] * 127) >> 7) + wh[rh2[code]]
    state[_NB] = min(max(nb, 0), 22528)
    state[_DET] = _log_scale(state[_NB], 10, ilb)
    _adapt(state, quantized)
    return quantized


@numba.njit(cache=True)
def _new_states():
    states = np.zeros((2, _STATE_SIZE), np.int64)
    states[0, _DET] = 32
    states[1, _DET] = 8
    return states


@numba.njit(cache=True)
def _decode(codes, qmf, qm2, qm4, qm6, wl, rl42, wh, rh2, ilb):
    states = _new_states()
    low, high = states[0], states[1]
    history = np.zeros(24, np.int64)
    out = np.empty(2 * len(codes), np.int16)
    for n in range(len(codes)):
        code = codes[n]
        low_code = code & 0x3F
        fine = _clip16(low[_S] + ((low[_DET] * qm6[low_code]) >> 15))
        fine = min(max(fine, -16384), 16383)
        _update_low(low, low_code, qm4, wl, rl42, ilb)
        prediction = high[_S]
        difference = _update_high(high, code >> 6, qm2, wh, rh2, ilb)
        top = min(max(prediction + difference, -16384), 16383)
        history[:22] = history[2:].copy()
        history[22] = fine + top
        history[23] = fine - top
        odd = even = 0
        for i in range(12):
            even += history[2 * i] * qmf[i]
            odd += history[2 * i + 1] * qmf[11 - i]
        out[2 * n] = _clip16(odd >> 11)
        out[2 * n + 1] = _clip16(even >> 11)
    return out


@numba.njit(cache=True)
def _encode(samples, qmf, qm2, qm4, q6, iln, ilp, wl, rl42, wh, rh2, ilb):
    states = _new_states()
    low, high = states[0], states[1]
    history = np.zeros(24, np.int64)
    codes = np.empty(len(samples) // 2, np.uint8)
    for n in range(len(codes)):
        history[:22] = history[2:].copy()
        history[22] = samples[2 * n]
        history[23] = samples[2 * n + 1]
        odd = even = 0
        for i in range(12):
            odd += history[2 * i] * qmf[i]
            even += history[2 * i + 1] * qmf[11 - i]
        x_low = (even + odd) >> 14
        x_high = (even - odd) >> 14
        # lower band, 60 levels (SUBTRA, QUANTL)
        error = _clip16(x_low - low[_S])
        size = error if error >= 0 else -(error + 1)
        interval = 1
        while interval < 30 and size >= (q6[interval] * low[_DET]) >> 12:
            interval += 1
        low_code = iln[interval] if error < 0 else ilp[interval]
        _update_low(low, low_code, qm4, wl, rl42, ilb)
        # upper band, four levels (QUANTH)
        error = _clip16(x_high - high[_S])
        size = error if error >= 0 else -(error + 1)
        outer = size >= (564 * high[_DET]) >> 12
        if error < 0:
            high_code = 0 if outer else 1
        else:
            high_code = 2 if outer else 3
        _update_high(high, high_code, qm2, wh, rh2, ilb)
        codes[n] = (high_code << 6) | low_code
    return codes


def decode(data: bytes) -> np.ndarray:
    """Samples (int16, 16 kHz) of a raw G.722 stream at 64 kbit/s: two for each byte."""
    codes = np.frombuffer(data, np.uint8).astype(np.int64)
    return _decode(codes, _QMF, _QM2, _QM4, _QM6, _WL, _RL42, _WH, _RH2, _ILB)


def encode(samples: np.ndarray) -> bytes:
    """A raw G.722 stream at 64 kbit/s from samples (int16, 16 kHz); an odd last sample is left out."""
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"samples must be one row of int16, not {samples.dtype} of shape {samples.shape}")
    wide = samples.astype(np.int64)
    return _encode(wide, _QMF, _QM2, _QM4, _Q6, _ILN, _ILP, _WL, _RL42, _WH, _RH2, _ILB).tobytes()


def round_trip(samples: np.ndarray) -> np.ndarray:
    """`samples` (int16, 16 kHz) after the codec, as many and in step with the originals."""
    padded = np.concatenate([samples, np.zeros(DELAY + len(samples) % 2, np.int16)])
    return decode(encode(padded))[DELAY : DELAY + len(samples)]
