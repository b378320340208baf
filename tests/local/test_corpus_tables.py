"""The mini corpus's description from a faked corpus, and that every source states its licence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.mini_corpus.attack import RATE
from local.mini_corpus.conf import load
from local.mini_corpus.settings import LISTS, Package
from tests.bench import corpus_tables
from utils.cli import UserError

ROOT = Path(__file__).resolve().parents[2]
# those of PA are read by a loader of their own, and have the packages of these
CONFS = sorted(path for path in (ROOT / "conf" / "mini_corpus").glob("*.yaml") if not path.stem.startswith("pa_"))

# utterance, set, speaker, attack, source, parameters, entry; each has 30 s
ROWS = [
    (
        "LA_T_1",
        "train",
        "LA_0001",
        "-",
        "klettres-data 4:22: usr/da/alpha/a.ogg usr/da/syllab/b.ogg",
        "-",
        "klettres-da",
    ),
    ("LA_T_2", "train", "LA_0002", "-", "klettres-data 4:22: usr/da/m-a.ogg", "-", "klettres-da-man"),
    ("LA_T_4", "train", "LA_0001", "A02", "prompts-it 1.6: hello", "variant=m1 language=it", "-"),
    ("LA_T_5", "train", "LA_0001", "A05", "klettres-data 4:22: usr/da/alpha/a.ogg", "bands=80", "klettres-da"),
    ("LA_T_6", "train", "LA_0005", "-", "added VCTK: p225/one.wav", "-", 'VCTK/"p225'),
    ("LA_D_2", "dev_enrolment", "LA_0003", "-", "klettres-data 4:22: usr/es/b.ogg", "-", "klettres-es"),
    ("LA_E_1", "eval", "LA_0004", "-", "klettres-data 4:22: usr/ru/x/y/a.ogg", "-", "klettres-ru"),
    ("LA_E_2", "eval", "LA_0004", "A18", "klettres-data 4:22: usr/ru/x/y/a.ogg", "bands=60", "klettres-ru"),
    ("LA_E_3", "eval_known", "LA_0004", "A05", "klettres-data 4:22: usr/ru/x/y/a.ogg", "bands=80", "klettres-ru"),
]


def write_corpus(la: Path) -> Path:
    (la / "ASVspoof2019_LA_cm_protocols").mkdir(parents=True)
    about = {"name": "mini corpus", "version": "7", "size": "faked", "seed": 3, "incomplete": "incomplete: without A19"}
    about["attacks"] = {"A02": "formant TTS", "A05": "Griffin-Lim", "A18": "Griffin-Lim again"}
    (la / "corpus.json").write_text(json.dumps(about))
    header = ["utterance", "sha256", "set", "speaker", "attack", "source", "parameters", "samples", "entry"]
    lines = [[name, "0", *rest, str(30 * RATE), entry] for name, *rest, entry in ROWS]
    (la / "manifest.tsv").write_text("".join("\t".join(line) + "\n" for line in [header, *lines]))
    for listed in LISTS:
        trials = [
            f"{speaker} {name} - {attack} {'bonafide' if attack == '-' else 'spoof'}\n"
            for name, at, speaker, attack, *_ in ROWS
            if at == listed or (listed == "eval_known" and at == "eval" and attack == "-")
        ]
        suffix = "trn" if listed == "train" else "trl"
        protocol = la / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{listed}.{suffix}.txt"
        protocol.write_text("".join(trials))
    return la


def test_tables_count_trials_minutes_and_sources_and_name_a_file_of_each_attack(tmp_path):
    lines = corpus_tables.describe(write_corpus(tmp_path / "LA"))
    assert lines[:2] == ["Mini corpus version 7, size faked, seed 3.", "This corpus is incomplete: without A19."]
    assert "| train | 3 | 3 | 2 | 2.5 | A02 A05 |" in lines
    assert "| eval_known | 1 | 1 | 1 | 1.0 | A05 |" in lines
    assert "| enrolment | 1 | 1 | 0 | 0.5 |  |" in lines
    assert "| all files | 5 | 5 | 4 | 4.5 | A02 A05 A18 |" in lines
    assert "| train | klettres-data 4:22 | klettres-da, klettres-da-man | 2 | 1.0 |" in lines
    assert '| train | added VCTK | VCTK/"p225 | 1 | 0.5 |' in lines
    flac = "`ASVspoof2019_LA_train/flac/LA_T_4.flac`"
    assert f"| A02 | formant TTS | 1 | 0 | 0 | 0 | {flac} | variant=m1 language=it |" in lines
    assert any(line.startswith("| A05 | Griffin-Lim | 1 | 0 | 0 | 1 |") for line in lines)


def test_another_corpus_is_refused(tmp_path):
    la = write_corpus(tmp_path / "LA")
    (la / "corpus.json").write_text("{}")
    with pytest.raises(UserError, match="is not of a mini corpus"):
        corpus_tables.describe(la)


# ---------------------------------------------------------------- licences


def test_every_synthesizer_states_its_licence():
    """Its own or, for the parts of one package, that of a line above it in its group."""
    stated = False
    for line in (ROOT / "requirements-mini.txt").read_text().splitlines():
        if line.startswith("# ["):
            stated = False
        elif "==" in line:
            stated |= any(name in line for name in ("MIT", "BSD", "GPL", "Apache"))
            assert stated, line


@pytest.mark.parametrize("conf", CONFS, ids=lambda path: path.stem)
def test_every_debian_package_states_its_licence(conf):
    assert all(package.version and package.licence for package in load(conf).packages.values())


def test_a_package_is_a_version_with_or_without_a_licence(tmp_path):
    given = (ROOT / "conf/mini_corpus/tiny.yaml").read_text()
    name, package = next(iter(load(ROOT / "conf/mini_corpus/tiny.yaml").packages.items()))
    line = next(line for line in given.splitlines() if line.strip().startswith(f"{name}: {{version"))
    conf = tmp_path / "c.yaml"
    conf.write_text(given.replace(line, f'  {name}: {{version: "1.6"}}'))
    assert load(conf).packages[name] == Package("1.6") != package
    for wrong in ("1.6", '"1.6"', '{licence: MIT, version: "1", license: MIT}', "{licence: MIT}"):
        conf.write_text(given.replace(line, f"  {name}: {wrong}"))
        with pytest.raises(UserError, match=name):
            load(conf)
