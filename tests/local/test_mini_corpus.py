"""The mini corpus, without downloads: its codec, chain, attacks, joining, plan and lists, on speech-like signals."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import importlib.util
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local.layout import Layout
from local.mini_corpus import asv, build, chain, planning, sources, speech, synthesis
from local.mini_corpus.attack import RATE, Unusable, draw_of, in_fresh_process, tts_attack
from local.mini_corpus.attacks import attacks_by_method, copying, tts
from local.mini_corpus.conf import load
from local.mini_corpus.debian import DebianPackage
from local.mini_corpus.python_packages import GroupMissing, PythonPackages, put_on_path, read_groups
from local.mini_corpus.settings import LISTS, SPLITS, Chain, Utterances
from tests.bench import corpus_leaks
from utils.cli import UserError
from utils.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]


def speechlike(seconds: float = 2.0, f0: float = 120.0, seed: int = 0) -> np.ndarray:
    """Pulses through three resonances, syllables of a quarter second, a little noise; float64, peak 0.3."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    phase = np.cumsum(f0 * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time))) / RATE
    source = np.diff(np.floor(phase), prepend=0.0) + 0.003 * rng.standard_normal(len(time))
    for centre, width in ((600, 80), (1500, 100), (2700, 150)):
        radius = np.exp(-np.pi * width / RATE)
        source = speech.signal.lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * centre / RATE), radius**2], source)
    source = source * np.clip(np.sin(2 * np.pi * 2 * time) + 0.6, 0, 1)
    return 0.3 * source / np.max(np.abs(source))


# ---------------------------------------------------------------- items and joining


def test_an_item_is_trimmed_levelled_and_its_pause_cut():
    conf = Utterances()
    part = speechlike(0.6)
    quiet = lambda seconds: 1e-5 * np.random.default_rng(1).standard_normal(int(seconds * RATE))
    item = speech.prepare_item(np.concatenate([quiet(1.0), part, quiet(1.5), part, quiet(0.7)]), conf)
    assert 1.2 < len(item) / RATE < 1.55  # 2 x 0.6 s, 0.2 s of the pause
    assert abs(speech.active_level(item) - conf.level_db) < 0.5


@pytest.mark.parametrize(
    "samples",
    [np.zeros(RATE), np.zeros(0), speechlike(0.1), np.full(RATE, np.nan)],
    ids=["zeros", "none", "short", "nan"],
)
def test_what_is_no_speech_gives_no_item(samples):
    assert speech.prepare_item(samples, Utterances()) is None


def test_joined_utterances_have_drawn_lengths_and_use_each_item_once():
    conf = Utterances()
    items = [(f"item{i}", speechlike(0.7, seed=i)) for i in range(60)]
    joined = list(speech.join_items(items, np.random.default_rng(3), conf))
    used = [name for j in joined for name in j.items]
    assert len(used) == len(set(used)) and len(joined) > 5
    lengths = [len(j.speech) / RATE for j in joined]
    assert all(conf.seconds[0] - 1e-3 <= length <= conf.seconds[1] for length in lengths)
    assert len(set(lengths)) > 3


def test_joining_too_little_gives_nothing():
    assert not list(speech.join_items([("a", speechlike(0.3))], np.random.default_rng(0), Utterances()))


def test_files_below_16_khz_are_not_taken_and_stereo_is_mixed(tmp_path):
    soundfile.write(tmp_path / "narrow.wav", np.zeros(800), 8000)
    assert speech.read_file(tmp_path / "narrow.wav") is None
    soundfile.write(tmp_path / "stereo.ogg", np.stack([speechlike(1.0)] * 2, axis=1), RATE)
    assert abs(len(speech.read_file(tmp_path / "stereo.ogg")) - RATE) < 2000
    (tmp_path / "broken.ogg").write_bytes(b"no sound")
    with pytest.raises(UserError, match=r"broken\.ogg: cannot be decoded"):
        speech.read_file(tmp_path / "broken.ogg")


def test_prompts_leave_out_what_is_not_said(tmp_path):
    text = "\ufeff; a comment\n\nhello: Hello,  you\nbeep: [a beep]\nnumber: 12\nnote\n; x: y\n"
    (tmp_path / "p.gz").write_bytes(gzip.compress(text.encode()))
    assert speech.read_prompts(tmp_path / "p.gz") == [("hello", "Hello, you")]


def test_a_text_is_of_one_split_even_if_it_stands_there_twice():
    prompts = [(f"p{i}", f"text {i}") for i in range(10)]
    again = [("q", "Text 4!"), ("r", "text, 8")]
    parts = [synthesis.texts_of_split(prompts + again, split) for split in SPLITS]
    assert sorted(sum(parts, [])) == sorted(prompts) and {len(part) for part in parts} == {3, 4}


# ---------------------------------------------------------------- chain


def test_chain_is_reproducible_and_depends_on_name_and_seed():
    one = chain.through_chain(speechlike(), chain.rng_of(1, "LA_T_1000000.flac"), Chain())
    again = chain.through_chain(speechlike(), chain.rng_of(1, "LA_T_1000000.flac"), Chain())
    assert one.dtype == np.int16 and np.array_equal(one, again)
    for seed, name in ((2, "LA_T_1000000.flac"), (1, "LA_T_1000001.flac")):
        other = chain.through_chain(speechlike(), chain.rng_of(seed, name), Chain())
        assert len(other) != len(one) or not np.array_equal(other, one)


def test_files_end_with_levels_of_the_whole_range_alike_for_any_sound():
    conf = Chain()
    names = [f"LA_T_{i}.flac" for i in range(60)]
    levels = [
        [speech.active_level(chain.through_chain(sound, chain.rng_of(1, name), conf) / 32768) for name in names]
        for sound in (speechlike(), 0.01 * speechlike())
    ]
    low, high = conf.final_level_db
    assert low - 2.5 < min(levels[0]) < low + 3 and high - 4 < max(levels[0]) < high + 1  # the peak's limit takes some
    np.testing.assert_allclose(*levels, atol=0.5)


def test_chain_evens_out_level_and_spectrum():
    conf = dataclasses.replace(Chain(), final_level_db=(-26.0, -26.0))
    bright = speech.signal.lfilter([1, -0.95], [1], speechlike()) * 3
    dull = speech.signal.lfilter([1], [1, -0.9], speechlike()) * 0.02
    spectra = []
    for sound in (bright, dull):
        samples = chain.through_chain(sound, chain.rng_of(1, "x"), conf) / 32768
        assert abs(speech.active_level(samples) - conf.level_db) < 2.5  # noise makes frames between words active
        assert np.max(np.abs(samples)) <= 1.0
        spectra.append(chain.band_levels_db(samples, conf))
    before = np.abs(chain.band_levels_db(bright, conf) - chain.band_levels_db(dull, conf))
    assert np.ptp(before) > 20
    assert np.mean(np.abs(spectra[0] - spectra[1])[:24]) < 1  # up to 3 kHz: above, the gain is at its limit


def test_chain_adds_silence_at_both_ends():
    conf = dataclasses.replace(Chain(), silence_ms=(100, 100))
    samples = chain.through_chain(speechlike(1.0), chain.rng_of(1, "x"), conf)
    assert len(samples) == RATE + 2 * 1600


# ---------------------------------------------------------------- attacks

WITHOUT_PACKAGES = {
    "griffin_lim": {"bands": 80, "iterations": 8},
    "lpc_warp": {"order": 20, "warp": 1.12, "hop_ms": 16},
}


@pytest.mark.parametrize("method", WITHOUT_PACKAGES)
@pytest.mark.parametrize("sound", ["speech", "speech and silence", "high voice"])
def test_copy_attacks_are_finite_as_long_and_about_as_loud(method, sound):
    original = {
        "speech": speechlike(1.3),
        "speech and silence": np.concatenate([np.zeros(5000), speechlike(1.0), np.zeros(7001)]),
        "high voice": speechlike(1.0, f0=450.0),
    }[sound]
    attack = attacks_by_method()[method]
    made = attack.function(original, np.random.default_rng(1), **WITHOUT_PACKAGES[method])
    assert made.shape == original.shape and np.all(np.isfinite(made))
    assert abs(speech.active_level(made) - speech.active_level(original)) < 4
    assert not np.allclose(made, original, atol=0.01)
    again = attack.function(original, np.random.default_rng(1), **WITHOUT_PACKAGES[method])
    assert np.array_equal(made, again)


def test_griffin_lim_keeps_the_spectral_envelope():
    original = speechlike()
    made = copying.griffin_lim(original, np.random.default_rng(1), bands=80, iterations=32)
    levels = [chain.band_levels_db(sound, Chain()) for sound in (original, made)]
    heard = levels[0] > levels[0].max() - 40
    assert heard.sum() > 10 and np.max(np.abs(levels[0] - levels[1])[heard]) < 3


def test_linear_prediction_finds_a_known_filter():
    known = [1.0, -1.3, 0.8]
    excited = speech.signal.lfilter([1.0], known, np.random.default_rng(0).standard_normal(4096))
    found = copying._linear_prediction(excited[None], 2)
    assert np.allclose(found[0], known, atol=0.05)


def test_unwarped_lpc_gives_the_speech_back():
    original = speechlike()
    made = copying.lpc_warp(original, np.random.default_rng(0), order=16, warp=1.0, hop_ms=8)
    assert np.corrcoef(original, made)[0, 1] > 0.9


@pytest.mark.parametrize("hop_ms", [0, 2, 11, 32])
def test_lpc_warp_takes_hops_whose_windows_add_up(hop_ms):
    with pytest.raises(UserError, match="every 4, 8 or 16 ms"):
        copying.lpc_warp(speechlike(0.5), np.random.default_rng(0), order=16, warp=1.1, hop_ms=hop_ms)


def test_kana():
    assert tts.to_kana("conferencia") == "コンフェレンチア"
    assert tts.to_kana("mañana, ¿sí?") == "マニャナ, ¿シ?"
    assert tts.to_kana("già attivato") == "ジア アティヴァト"


def test_a_crashing_synthesizer_is_unusable_and_its_error_is_told():
    with pytest.raises(Unusable, match="status -9"):
        in_fresh_process(_kill_itself)
    with pytest.raises(ZeroDivisionError):
        in_fresh_process(lambda: 1 / 0)
    assert in_fresh_process(lambda x: x + 1, 1) == 2


def _kill_itself():
    os.kill(os.getpid(), 9)


SMALL = load(ROOT / "conf" / "mini_corpus" / "small.yaml")


@pytest.mark.parametrize("name", SMALL.attacks)
def test_an_attack_makes_the_same_whatever_was_made_before(name):
    """Installs the synthesizer into the downloads folder, as a build does."""
    entry = SMALL.attacks[name]
    packages = PythonPackages(ROOT / "downloads", ROOT / "requirements-mini.txt")
    try:
        folders = [packages.get(group) for group in entry.attack.needs]
    except GroupMissing as missing:
        pytest.skip(f"{name}: {missing}")
    # in a child: the packages stay out of the tests' own process
    one, other, again = in_fresh_process(_make_each, entry, folders, (0, 1, 0))
    (alone,) = in_fresh_process(_make_each, entry, folders, (0,))
    assert all(len(a) > 1000 and np.all(np.isfinite(a)) for a in (one, other))
    assert np.array_equal(one, again) and np.array_equal(one, alone)
    assert len(one) != len(other) or not np.array_equal(one, other)


def _make_each(entry, folders, seeds):
    put_on_path(folders)

    def make(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        drawn = {key: draw(rng) for key, draw in entry.draw.items()}
        if entry.attack.speaks:
            text = ["agente conectado", "uno dos"][seed]
            return entry.attack.function([text], entry.languages[0], rng, **drawn)[0]
        return entry.attack.function(speechlike(1.2, seed=seed), rng, **drawn)

    return [make(seed) for seed in seeds]


# ---------------------------------------------------------------- conf

# those of PA are read by a loader of their own
CONFS = sorted(path for path in (ROOT / "conf" / "mini_corpus").glob("*.yaml") if not path.stem.startswith("pa_"))


@pytest.mark.parametrize("path", CONFS, ids=lambda path: path.stem)
def test_confs_have_both_classes_everywhere_and_known_requirements(path):
    conf = load(path)
    groups = read_groups(ROOT / "requirements-mini.txt")
    for listed in LISTS:
        assert sum(getattr(entry.utterances, listed) for entry in conf.attacks.values()) > 0
    for entry in conf.attacks.values():
        assert set(entry.attack.needs) <= set(groups)
    assert sum(map(len, conf.speakers.values())) >= 4
    known = {name for name, entry in conf.attacks.items() if entry.utterances.train}
    assert known == {name for name, entry in conf.attacks.items() if entry.utterances.eval_known}
    assert not known & {name for name, entry in conf.attacks.items() if entry.utterances.eval}


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("method: griffin_lim", "method: grifin_lim", "no attack method 'grifin_lim'"),
        ("draw: {bands: 80,", "draw: {bandz: 80,", "no parameter 'bandz'"),
        ("warp: [1.06, 1.18]", "warp: [1.18, 1.06]", "runs downwards"),
        ("iterations: 32}", "iterations: many}", "whole number"),
        ("hop_ms: 16}", "hop_ms: [8, 16]}", "one of 4, 8, 16 is expected"),
        ("hop_ms: 16}", "hop_ms: 0}", "one of 4, 8, 16 is expected"),
        ("languages: [es, it]", "languages: [xx]", "no prompts of the language 'xx'"),
        ("    klettres-he:", "    klettres-hu:", "more than one split"),
        ("level_db: -26 ", "lvl_db: -26 ", "unknown key"),
        ("  klettres-data: {version", "  other: {version", "klettres-data is used but has no version"),
    ],
)
def test_a_wrong_conf_is_refused_with_its_place(tmp_path, old, new, told):
    text = (ROOT / "conf" / "mini_corpus" / "small.yaml").read_text()
    assert old in text
    (tmp_path / "mine.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=told):
        load(tmp_path / "mine.yaml")


def test_draws_stay_in_their_range_and_are_told_exactly():
    rng = np.random.default_rng(0)
    values = [draw_of([0.9, 1.1], float, "x")(rng) for _ in range(50)]
    assert all(0.9 <= value <= 1.1 and round(value, 4) == value for value in values)
    assert {draw_of([1, 3], int, "x")(rng) for _ in range(50)} == {1, 2, 3}
    assert {draw_of(["a", "b"], str, "x")(rng) for _ in range(50)} == {"a", "b"}


def test_requirements_that_are_not_pinned_are_refused(tmp_path):
    (tmp_path / "r.txt").write_text("# [a]\nnumpy>=2\n")
    with pytest.raises(UserError, match="line 2"):
        read_groups(tmp_path / "r.txt")


# ---------------------------------------------------------------- plan and lists


def tiny_plan(seed: int = 1) -> tuple:
    conf = load(ROOT / "conf" / "mini_corpus" / "tiny.yaml")
    available = {name: speaker.utterances for named in conf.speakers.values() for name, speaker in named.items()}
    return conf, planning.plan(conf, available, seed)


def test_plan_has_the_confs_counts_and_disjoint_speakers():
    conf, utterances = tiny_plan()
    counts = Counter((u.attack, u.trial_of) for u in utterances)
    for attack, entry in conf.attacks.items():
        for listed in LISTS:
            assert counts[attack, listed] == getattr(entry.utterances, listed)
    of = {split: {u.speaker for u in utterances if u.split == split} for split in SPLITS}
    assert not of["train"] & of["dev"] and not of["dev"] & of["eval"] and not of["train"] & of["eval"]
    assert len({u.name for u in utterances}) == len(utterances)


def test_plan_is_of_its_seed_and_names_tell_nothing():
    assert tiny_plan(1)[1] == tiny_plan(1)[1]
    assert {u.name for u in tiny_plan(1)[1]} != {u.name for u in tiny_plan(2)[1]}
    train = [u for u in tiny_plan()[1] if u.split == "train"]
    places = [i for i, u in enumerate(train) if u.attack == planning.BONAFIDE]
    assert abs(np.mean(places) / len(train) - 0.5) < 0.1


def test_copies_are_of_trials_and_claim_the_speaker_that_they_copy():
    conf, utterances = tiny_plan()
    own = {u.source: u.speaker for u in utterances if u.attack == planning.BONAFIDE}
    enrolled = {(u.source, u.number) for u in utterances if not u.trial_of}
    copies = [u for u in utterances if u.attack != planning.BONAFIDE and u.source]
    assert copies and all(u.speaker == own[u.source] for u in copies)
    assert not enrolled & {(u.source, u.number) for u in copies}
    per_speaker = Counter(u.source for u in copies if u.trial_of == "train" and u.attack == "A05")
    assert len(per_speaker) == len(conf.speakers["train"])


def test_a_speaker_with_one_utterance_has_a_trial():
    conf, _ = tiny_plan()
    available = {name: 1 for named in conf.speakers.values() for name in named}
    planned = planning.plan(conf, available, 1)
    assert all(u.trial_of for u in planned if u.attack == planning.BONAFIDE)


def test_verifier_tells_speakers_apart():
    rng = np.random.default_rng(0)
    voices = rng.standard_normal((20, 10)) * 2
    draw = lambda voice, n: voice + rng.standard_normal((n, 10))
    train = np.concatenate([draw(voice, 20) for voice in voices[:16]])
    verifier = asv.SpeakerVerifier.train(train, [f"s{i // 20}" for i in range(len(train))])
    enrolment = draw(voices[16], 3)
    assert (
        verifier.score(enrolment, draw(voices[16], 50)).mean() > verifier.score(enrolment, draw(voices[17], 50)).mean()
    )
    with pytest.raises(ValueError, match="two training speakers"):
        asv.SpeakerVerifier.train(train, ["s"] * len(train))


def test_embedding_is_finite():
    samples = chain.through_chain(speechlike(), chain.rng_of(1, "x"), Chain())
    embedding = asv.embed(samples)
    assert embedding.shape == (76,) and np.all(np.isfinite(embedding))


# ---------------------------------------------------------------- the whole, from look-alike packages


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A conf of package-free attacks, one of them speaking, and the folder of a package of look-alike speakers."""

    @tts_attack()
    def beeps(texts, language, rng, *, pitch: float):
        return [speechlike(0.3 + 0.1 * len(text.split()), f0=pitch, seed=len(text)) for text in texts]

    tmp = tmp_path_factory.mktemp("mini")
    package = tmp / "package"
    names = {"train": ["a", "b"], "dev": ["c", "d"], "eval": ["e", "f"]}
    for i, speaker in enumerate(sum(names.values(), [])):
        (package / speaker).mkdir(parents=True)
        for j in range(9):
            sound = speechlike(1.6, f0=90 + 20 * i, seed=10 * i + j)
            soundfile.write(package / speaker / f"{j}.flac", sound, RATE)
    lines = [f"prompt-{i}: one two three four {i}" for i in range(9)]
    (package / "prompts.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    text = [
        'packages: {voices: {version: "1"}}',
        "utterance: {seconds: [0.9, 1.3]}",
        "chain: {}",
        "verification: {enrolment_utterances: 2}",
        "speakers:",
    ]
    for split, speakers in names.items():
        entries = ", ".join(f"{s}: {{package: voices, files: {s}/*.flac, utterances: 6}}" for s in speakers)
        text.append(f"  {split}: {{{entries}}}")
    text += [
        "prompts: {en: {package: voices, file: prompts.gz}}",
        "attacks:",
        "  A01: {what: z, method: beeps, languages: [en], utterances: {train: 3, dev: 2, eval_known: 2},",
        "        draw: {pitch: [100, 200]}}",
        "  A05: {what: x, method: griffin_lim, utterances: {train: 5, dev: 3, eval_known: 3},",
        "        draw: {bands: 80, iterations: 2}}",
        "  A19: {what: y, method: lpc_warp, utterances: {eval: 4}, draw: {order: 16, warp: [0.85, 0.95], hop_ms: 16}}",
    ]
    (tmp / "mine.yaml").write_text("\n".join(text) + "\n")
    return load(tmp / "mine.yaml"), DebianPackage("voices", "1", "0" * 64, package)


@pytest.fixture
def make(offline, monkeypatch, crew_of_one):
    conf, package = offline
    monkeypatch.setattr(sources.DebianPackages, "get", lambda self, name, version: package)
    # this conf has one known attack only
    return lambda out, seed=1, conf=conf: build.build(
        conf, seed, out.parent / "downloads", out, ROOT / "requirements-mini.txt", 1
    )


def digests(la: Path) -> dict[str, str]:
    return {
        str(path.relative_to(la)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in la.rglob("*")
        if path.is_file()
    }


def test_a_corpus_has_the_official_layout_and_is_not_built_twice(make, tmp_path, capsys):
    out = tmp_path / "out"
    make(out)
    la = out / "LA"
    protocols = la / "ASVspoof2019_LA_cm_protocols"
    trials = {}
    for listed in LISTS:
        suffix = "trn" if listed == "train" else "trl"
        lines = (protocols / f"ASVspoof2019.LA.cm.{listed}.{suffix}.txt").read_text().splitlines()
        trials[listed] = [line.split() for line in lines]
        assert {fields[4] for fields in trials[listed]} == {"bonafide", "spoof"}
        for speaker, utterance, environment, attack, key in trials[listed]:
            assert speaker.startswith("LA_0") and environment == "-" and (attack == "-") == (key == "bonafide")
            folder = la / f"ASVspoof2019_LA_{listed.removesuffix('_known')}" / "flac"
            info = soundfile.info(folder / f"{utterance}.flac")
            assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "PCM_16")
    bonafide = {listed: [f[1] for f in trials[listed] if f[3] == "-"] for listed in trials}
    assert bonafide["eval"] == bonafide["eval_known"]
    assert {f[3] for f in trials["eval"]} == {"-", "A19"} and {f[3] for f in trials["eval_known"]} == {
        "-",
        "A01",
        "A05",
    }
    for listed in ("dev", "eval", "eval_known"):
        scores = la / "ASVspoof2019_LA_asv_scores" / f"ASVspoof2019.LA.asv.{listed}.gi.trl.scores.txt"
        fields = [line.split() for line in scores.read_text().splitlines()]
        assert {f[1] for f in fields} == {"target", "nontarget", "spoof"}
        assert all((f[0] == "bonafide") == (f[1] != "spoof") and np.isfinite(float(f[2])) for f in fields)
        assert Counter(f[1] for f in fields)["target"] == len(bonafide[listed])
    assert read_json(la / "corpus.json")["version"] and "incomplete" not in read_json(la / "corpus.json")
    header, *rows = [line.split("\t") for line in (la / "manifest.tsv").read_text().splitlines()]
    assert header[:2] == ["utterance", "sha256"]
    for row in rows:
        flac = next(la.glob(f"*/flac/{row[0]}.flac"))
        assert hashlib.sha256(flac.read_bytes()).hexdigest() == row[1]
    assert not (out / ".LA.building").exists()

    before = digests(la)
    capsys.readouterr()
    make(out)
    assert "is there" in capsys.readouterr().out and digests(la) == before
    with pytest.raises(UserError, match="seed 1 instead of 2"):
        make(out, seed=2)


def test_an_interrupted_build_goes_on_and_ends_the_same(make, tmp_path, monkeypatch, capsys):
    make(tmp_path / "whole")
    made = []
    original = build.make_utterance

    def stops(utterance):
        if len(made) == 12:
            raise KeyboardInterrupt
        original(utterance)
        made.append(utterance.name)

    monkeypatch.setattr(build, "make_utterance", stops)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "again")
    assert not (tmp_path / "again" / "LA").exists()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "again").rglob("*.flac")}
    assert len(times) == 12
    monkeypatch.setattr(build, "make_utterance", original)
    make(tmp_path / "again")
    assert "resuming an interrupted run" in capsys.readouterr().out
    assert digests(tmp_path / "again" / "LA") == digests(tmp_path / "whole" / "LA")
    new = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "again" / "LA").rglob("*.flac")}
    assert all(new[path.name] == mtime for path, mtime in times.items())


def test_a_begun_corpus_of_another_seed_is_begun_anew(make, tmp_path, capsys):
    building = tmp_path / "out" / ".LA.building"
    write_json(building / "work" / "made_from.json", {"corpus": {"seed": 9}})
    (building / "LA").mkdir(parents=True)
    (building / "LA" / "stale").write_text("x")
    make(tmp_path / "out")
    assert "starting again" in capsys.readouterr().out
    assert not (tmp_path / "out" / "LA" / "stale").exists()


def test_a_file_spoilt_since_it_was_made_is_told(tmp_path):
    flac = Layout(tmp_path / ".LA.building" / "LA", "la").flac("dev", "LA_D_1000000")
    flac.parent.mkdir(parents=True)
    flac.write_bytes(b"")
    with pytest.raises(UserError, match="LA_D_1000000.flac: not as it was made .* remove .*LA.building,"):
        build.embed_file(flac, "0" * 64)


def test_a_foreign_folder_is_not_touched(make, tmp_path):
    (tmp_path / "out" / "LA").mkdir(parents=True)
    with pytest.raises(UserError, match="no mini corpus"):
        make(tmp_path / "out")


def test_what_cannot_be_had_is_left_out_and_marked(make, offline, tmp_path, monkeypatch, capsys):
    conf, _ = offline
    lacking = dataclasses.replace(conf.attacks["A05"], method="codec2", draw={"bits_per_second": 3200})
    conf = dataclasses.replace(conf, attacks={**conf.attacks, "A11": lacking})

    def refuse(self, group):
        raise sources.GroupMissing("no network")

    monkeypatch.setattr(sources.PythonPackages, "get", refuse)
    make(tmp_path / "out", conf=conf)
    assert "left out: attack A11" in capsys.readouterr().err
    assert read_json(tmp_path / "out" / "LA" / "corpus.json")["incomplete"].startswith("incomplete: without attack A11")


def test_too_little_is_an_error(make, offline, tmp_path, monkeypatch):
    conf, _ = offline
    with pytest.raises(UserError, match="too few attacks"):
        make(tmp_path / "out", conf=dataclasses.replace(conf, attacks={"A05": conf.attacks["A05"]}))

    def refuse(self, name, version):
        raise sources.PackageMissing("no network")

    monkeypatch.setattr(sources.DebianPackages, "get", refuse)
    with pytest.raises(UserError, match="no bona fide speech for train, dev, eval"):
        make(tmp_path / "out")


def test_an_attack_that_mostly_fails_is_an_error(make, offline, tmp_path, monkeypatch):
    attack = attacks_by_method()["griffin_lim"]

    def broken(sound, rng, *, bands: int, iterations: int):
        return np.full(len(sound), np.nan)

    monkeypatch.setitem(attacks_by_method(), "griffin_lim", dataclasses.replace(attack, function=broken))
    with pytest.raises(UserError, match="attack A05: .* could not be made"):
        make(tmp_path / "out")


def test_added_speech_that_an_attack_fails_on_is_no_failure_of_its_package(tmp_path, capsys):
    def utterance(number: int, source: str) -> planning.Utterance:
        return planning.Utterance(f"LA_T_{number}", "train", "train", "LA_0001", "A10", source, number)

    own = [utterance(i, "a") for i in range(20)]
    noisy = [utterance(20 + i, "added-x") for i in range(4)]
    rows = {u.name: {} for u in own} | {u.name: {"skipped": "no voiced speech"} for u in (own[0], *noisy)}
    build._tell_skipped([*own, *noisy], rows, {"added-x"}, tmp_path)
    assert [line for line in capsys.readouterr().err.splitlines() if line] == [
        "WARNING: attack A10: 1 of 20 utterances could not be made (no voiced speech)",
        "WARNING: attack A10: 4 of 4 copies of added speech could not be made (no voiced speech)",
    ]
    with pytest.raises(UserError, match=f"5 of 24 utterances .* out of the conf, or .*, remove {tmp_path} and"):
        build._tell_skipped([*own, *noisy], rows, set(), tmp_path)


def test_the_synthesizers_pins_are_of_the_corpus(make, offline, tmp_path, monkeypatch, capsys):
    conf, _ = offline
    attack = attacks_by_method()["griffin_lim"]
    monkeypatch.setitem(attacks_by_method(), "griffin_lim", dataclasses.replace(attack, needs=("one",)))
    monkeypatch.setattr(sources.PythonPackages, "get", lambda self, group: tmp_path)
    requirements = tmp_path / "r.txt"
    requirements.write_text("# [one]\nx==1\n# [one.build]\ncython==3\n# [two]\ny==2\n")
    built = lambda: build.build(conf, 1, tmp_path / "downloads", tmp_path / "out", requirements, 1)

    def stops(utterance):
        raise KeyboardInterrupt

    with monkeypatch.context() as within:
        within.setattr(build, "make_utterance", stops)
        with pytest.raises(KeyboardInterrupt):
            built()
    requirements.write_text(requirements.read_text().replace("x==1", "x==1.1"))
    built()
    assert "started from other sources" in capsys.readouterr().out
    assert read_json(tmp_path / "out" / "LA" / "corpus.json")["synthesizers"] == ["cython==3", "x==1.1"]


def test_leak_features_tell_their_number():
    samples = chain.through_chain(speechlike(), chain.rng_of(1, "x"), Chain())
    features = corpus_leaks.leak_features(samples)
    assert features.shape == (len(corpus_leaks.FEATURES),) and np.all(np.isfinite(features))
    assert abs(features[0] - len(samples) / RATE) < 1e-9


def test_equal_error_rate_of_known_scores():
    bonafide = np.array([True, True, False, False])
    assert corpus_leaks.equal_error_rate(np.array([2.0, 3.0, 0.0, 1.0]), bonafide) == 0
    assert corpus_leaks.equal_error_rate(np.array([0.0, 1.0, 2.0, 3.0]), bonafide) == 100


def test_program_refuses_an_unknown_size(monkeypatch):
    spec = importlib.util.spec_from_file_location("make_mini_corpus", ROOT / "local" / "make_mini_corpus.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    monkeypatch.setattr("sys.argv", ["make_mini_corpus.py", "--size", "smal", "out"])
    with pytest.raises(UserError, match=r"did you mean .*small\.yaml"):
        program.main()


def test_fingerprint_is_of_the_whole_conf(offline):
    conf, _ = offline
    changed = dataclasses.replace(conf, chain=dataclasses.replace(conf.chain, peak=0.5))
    assert build.fingerprint(conf) == build.fingerprint(dataclasses.replace(conf))
    assert build.fingerprint(conf) != build.fingerprint(changed)
    assert json.dumps(build._plain(conf))
