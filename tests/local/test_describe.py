"""The mini corpus's description: tables from a faked corpus, and what replaces what."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local.mini_corpus import describe
from local.mini_corpus.attack import RATE
from local.mini_corpus.conf import load
from local.mini_corpus.python_packages import read_groups
from local.mini_corpus.settings import LISTS, Package
from utils.cli import UserError

ROOT = Path(__file__).resolve().parents[2]
# those of PA are read by a loader of their own, and have the packages of these
CONFS = sorted(path for path in (ROOT / "conf" / "mini_corpus").glob("*.yaml") if not path.stem.startswith("pa_"))
REQUIREMENTS = ROOT / "requirements-mini.txt"

CONF = """
packages:
  klettres-data: {version: "4:22", licence: GPL-2+}
  prompts-it: {version: "1.6", licence: CC-BY-3.0}
utterance: {}
chain: {}
verification: {}
speakers:
  train:
    klettres-da: {package: klettres-data, files: usr/da/*/*.ogg, utterances: 9}
    klettres-da-man: {package: klettres-data, files: [usr/da/**/m-*.ogg], person: man, utterances: 9}
    klettres-de-man: {package: klettres-data, files: usr/de/*.ogg, leave_out: [/de/tux*], person: man, utterances: 9}
  dev: {klettres-es: {package: klettres-data, files: usr/es/*.ogg, utterances: 9}}
  eval: {klettres-ru: {package: klettres-data, files: usr/ru/**/*.ogg, utterances: 9}}
prompts:
  it: {package: prompts-it, file: it.gz}
attacks:
  A02:
    what: formant TTS
    method: formant_tts
    languages: [it]
    utterances: {train: 1}
    draw: {variant: [m1, f2], words_per_minute: [140, 190], pitch: 50, pitch_range: [30, 70]}
  A05: {what: Griffin-Lim, method: griffin_lim, utterances: {train: 1}, draw: {bands: 80, iterations: 4}}
  A18: {what: Griffin-Lim again, method: griffin_lim, utterances: {eval: 1}, draw: {bands: 60, iterations: 4}}
  A19: {what: linear prediction, method: lpc_warp, utterances: {eval: 1}, draw: {order: 16, warp: [0.84, 0.94], hop_ms: 16}}
"""

# utterance, set, speaker, attack, source, parameters
ROWS = [
    ("LA_T_1", "train", "LA_0001", "-", "klettres-data 4:22: usr/da/alpha/a.ogg usr/da/syllab/b.ogg", "-"),
    ("LA_T_2", "train", "LA_0002", "-", "klettres-data 4:22: usr/da/m-a.ogg", "-"),
    ("LA_T_3", "train", "LA_0002", "-", "klettres-data 4:22: usr/de/c.ogg", "-"),
    ("LA_T_4", "train", "LA_0001", "A02", "prompts-it 1.6: hello", "variant=m1 language=it"),
    ("LA_T_5", "train", "LA_0001", "A05", "klettres-data 4:22: usr/da/alpha/a.ogg usr/da/syllab/b.ogg", "bands=80"),
    ("LA_T_6", "train", "LA_0005", "-", "added VCTK: p225/one.wav", "-"),
    ("LA_D_1", "dev", "LA_0003", "-", "klettres-data 4:22: usr/es/a.ogg", "-"),
    ("LA_D_2", "dev_enrolment", "LA_0003", "-", "klettres-data 4:22: usr/es/b.ogg", "-"),
    ("LA_E_1", "eval", "LA_0004", "-", "klettres-data 4:22: usr/ru/x/y/a.ogg", "-"),
    ("LA_E_2", "eval", "LA_0004", "A18", "klettres-data 4:22: usr/ru/x/y/a.ogg", "bands=60"),
    ("LA_E_3", "eval_known", "LA_0004", "A05", "klettres-data 4:22: usr/ru/x/y/a.ogg", "bands=80"),
]


def write_corpus(folder: Path, with_samples: bool = False) -> tuple[Path, Path]:
    """(LA, its conf): files of 30 s each."""
    la, conf = folder / "LA", folder / "faked.yaml"
    (la / "ASVspoof2019_LA_cm_protocols").mkdir(parents=True)
    conf.write_text(CONF)
    about = {"name": "mini corpus", "version": "7", "size": "faked", "seed": 3}
    about["sources"] = ["klettres-data 4:22", "prompts-it 1.6"]
    (la / "corpus.json").write_text(json.dumps(about))
    header = ["utterance", "sha256", "set", "speaker", "attack", "source", "parameters"]
    lines = [[name, "0", *rest] for name, *rest in ROWS]
    if with_samples:
        header, lines = [*header, "samples"], [[*line, str(30 * RATE)] for line in lines]
    (la / "manifest.tsv").write_text("".join("\t".join(line) + "\n" for line in [header, *lines]))
    for name, listed, *_ in ROWS if not with_samples else ():
        split = listed.split("_")[0]
        path = la / f"ASVspoof2019_LA_{split}" / "flac" / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(30 * RATE, np.int16), RATE)
    for listed in LISTS:
        trials = [
            f"{speaker} {name} - {attack} {'bonafide' if attack == '-' else 'spoof'}\n"
            for name, at, speaker, attack, *_ in ROWS
            if at == listed or (listed == "eval_known" and at == "eval" and attack == "-")
        ]
        suffix = "trn" if listed == "train" else "trl"
        protocol = la / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{listed}.{suffix}.txt"
        protocol.write_text("".join(trials))
    return la, conf


@pytest.fixture
def corpus(tmp_path) -> describe.Corpus:
    return describe.read_corpus(*write_corpus(tmp_path))


# ---------------------------------------------------------------- tables


def test_lists_count_trials_and_minutes(corpus):
    table = describe.lists_table(corpus)
    assert "| train | 3 | 4 | 2 | 3.0 | A02 A05 |" in table
    assert "| eval_known | 1 | 1 | 1 | 1.0 | A05 |" in table
    assert "| enrolment | 1 | 1 | 0 | 0.5 |  |" in table
    assert "| all files | 5 | 7 | 4 | 5.5 | A02 A05 A18 |" in table


def test_sources_have_version_licence_and_speakers(corpus):
    table = describe.sources_table(corpus)
    assert "| train | klettres-data | 4:22 | GPL-2+ | da, da-man, de-man | 3 | 1.5 |" in table
    assert "| train | VCTK/ | added | as you have it | 1 | 1 | 0.5 |" in table
    assert "| texts | prompts-it | 1.6 | CC-BY-3.0 | it (text for text-to-speech) | - | - |" in table


def test_a_speaker_has_the_name_of_the_conf_though_entries_share_a_person(corpus):
    table = describe.speakers_table(corpus)
    assert "| LA_0001 | klettres-da | train | 1 | 0 | 0.5 | 25.0 % |" in table
    assert "| LA_0002 | klettres-da-man, klettres-de-man | train | 2 | 0 | 1.0 | 50.0 % |" in table
    assert "| LA_0005 | VCTK/p225 | train | 1 | 0 | 0.5 | 25.0 % |" in table
    assert "| LA_0003 | klettres-es | dev | 1 | 1 | 1.0 | 100.0 % |" in table
    assert "| LA_0004 | klettres-ru | eval | 1 | 0 | 0.5 | 100.0 % |" in table


def test_added_speakers_are_counted_and_named_whatever_their_files_are_called(tmp_path, corpus):
    """Two persons of a flat folder, with DIR/utt2spk."""
    la, conf = write_corpus(tmp_path / "flat", with_samples=True)
    manifest = la / "manifest.tsv"
    header, *lines = manifest.read_text().splitlines()
    flat = [
        "LA_T_7\t0\ttrain\tLA_0006\t-\tadded My Speech: a%201.wav a2.wav\t-\t9",
        "LA_T_8\t0\ttrain\tLA_0006\t-\tadded My Speech: a3.wav\t-\t9",
        "LA_T_9\t0\ttrain\tLA_0007\t-\tadded My Speech: b1.wav\t-\t9",
    ]
    entries = ["-"] * len(lines) + ["My Speech/ann", "My Speech/ann", "My Speech/bob b"]
    entries[:3] = ["klettres-da", "klettres-da-man", "klettres-de-man"]
    lines = [f"{line}\t{entry}" for line, entry in zip([*lines, *flat], entries)]
    manifest.write_text("\n".join([f"{header}\tentry", *lines]) + "\n")
    described = describe.read_corpus(la, conf)
    assert "| train | My Speech/ | added | as you have it | 2 | 3 | 0.0 |" in describe.sources_table(described)
    table = "\n".join(describe.speakers_table(described))
    assert "| LA_0006 | My Speech/ann | train | 2 |" in table and "| LA_0007 | My Speech/bob b | train | 1 |" in table
    assert "| LA_0001 | klettres-da | train |" in table


def test_attacks_have_packages_kind_counts_and_ranges(corpus):
    table = "\n".join(describe.attacks_table(corpus))
    version = next(pin for pin in read_groups(REQUIREMENTS)["espeak"] if "espeakng" in pin).split("==")[1]
    assert f"espeakng-loader {version} (GPL-3.0-or-later) | known | 1 | - | - | - | texts: it, variant: m1 f2," in table
    assert "words_per_minute: 140 to 190, pitch: 50, pitch_range: 30 to 70" in table
    assert "| `griffin_lim` | none (numpy, scipy) | known | 1 | - | - | 1 |" in table
    assert "| known method, other settings | - | - | 1 | - | bands: 60, iterations: 4 |" in table
    assert "A19" not in table  # nothing of it could be made
    assert describe.kind_of(corpus.conf.attacks["A19"], corpus.conf) == "unknown"


def test_synthesizers_are_those_that_the_conf_uses(corpus):
    table = describe.synthesizers_table(corpus)
    assert len(table) == 3 and table[2].startswith("| espeakng-loader |") and table[2].endswith("| espeak | A02 |")


def test_listening_names_a_file_of_each_attack_and_its_original(corpus):
    table = "\n".join(describe.listening_table(corpus))
    assert "| A02 | `ASVspoof2019_LA_train/flac/LA_T_4.flac` | - (text-to-speech) | prompts-it: hello |" in table
    assert "LA_T_5.flac` | `ASVspoof2019_LA_train/flac/LA_T_1.flac` | klettres-data, usr/da: alpha/a.ogg" in table


def test_sample_counts_of_the_manifest_spare_the_files(tmp_path, corpus):
    other = describe.read_corpus(*write_corpus(tmp_path / "other", with_samples=True))
    assert describe.lists_table(other) == describe.lists_table(corpus)


def test_every_table_is_markdown_with_one_width(corpus):
    for line in (lines := describe.tables(corpus)):
        assert "\n" not in line
    assert lines[0] == "Mini corpus version 7, size faked, seed 3."
    for _, _, table in describe._SECTIONS:
        assert len({row.replace("\\|", "").count("|") for row in table(corpus)}) == 1


def test_what_is_no_mini_corpus_is_told(tmp_path):
    la, conf = write_corpus(tmp_path)
    (la / "manifest.tsv").write_text("")
    with pytest.raises(UserError, match=r"manifest\.tsv"):
        describe.read_corpus(la, conf)
    (la / "corpus.json").write_text('{"name": "ASVspoof 2019"}')
    with pytest.raises(UserError, match="not of a mini corpus"):
        describe.read_corpus(la, conf)


@pytest.mark.parametrize(
    ("path", "pattern", "fits"),
    [
        ("a/b.ogg", "a/*.ogg", True),
        ("a/b/c.ogg", "a/*.ogg", False),
        ("a/b/c.ogg", "a/*/*.ogg", True),
        ("a/c.ogg", "a/**/*.ogg", True),
        ("a/b/d/c.ogg", "a/**/*.ogg", True),
        ("a/tx.ogg", "a/[!t]*.ogg", False),
    ],
)
def test_globs_are_those_of_pathlib(tmp_path, path, pattern, fits):
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).touch()
    assert bool(list(tmp_path.glob(pattern))) == fits
    assert describe._fits(path.split("/"), pattern.split("/")) == fits


# ---------------------------------------------------------------- licences


def test_every_synthesizer_states_its_licence():
    stated, pinned = describe.read_synthesizers(REQUIREMENTS), read_groups(REQUIREMENTS)
    assert {group: [f"{p.name}=={p.version}" for p in packages] for group, packages in stated.items()} == pinned
    assert all(package.licence for packages in stated.values() for package in packages)


def test_a_licence_holds_for_the_lines_below_and_has_to_be_there(tmp_path):
    path = tmp_path / "r.txt"
    path.write_text("# [a]\nx==1  # its voice; Apache-2.0, parts MIT; 3 MB\ny==2  # 14 MB\nz==3.1  # MIT; 1 MB\n")
    x, y, z = describe.read_synthesizers(path)["a"]
    assert (x.what, x.licence) == ("its voice", "Apache-2.0, parts MIT") and y.licence == x.licence
    assert (z.version, z.what, z.licence) == ("3.1", "", "MIT")
    path.write_text("# [a]\nx==1  # 3 MB\n")
    with pytest.raises(UserError, match="line 2: .*its licence"):
        describe.read_synthesizers(path)


@pytest.mark.parametrize("conf", CONFS, ids=lambda path: path.stem)
def test_every_debian_package_states_its_licence(conf):
    assert all(package.version and package.licence for package in load(conf).packages.values())


def test_a_package_is_a_version_with_a_licence_or_a_version_alone(tmp_path):
    conf = tmp_path / "c.yaml"
    conf.write_text(CONF.replace('{version: "1.6", licence: CC-BY-3.0}', '"1.6"'))
    assert load(conf).packages["prompts-it"] == Package("1.6")
    for wrong in ("1.6", '{licence: MIT, version: "1", license: MIT}', "{licence: MIT}"):
        conf.write_text(CONF.replace('{version: "1.6", licence: CC-BY-3.0}', wrong))
        with pytest.raises(UserError, match="prompts-it"):
            load(conf)


# ---------------------------------------------------------------- in place


def test_tables_replace_what_stands_between_the_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{describe.BEGIN}\nold\nolder\n{describe.END}\n\nafter\n")
    for _ in range(2):
        describe.put_between_markers(page, ["new", "table"])
        assert page.read_text() == f"# Title\n\n{describe.BEGIN}\nnew\ntable\n{describe.END}\n\nafter\n"


def test_a_page_that_is_not_there_is_made_and_one_without_markers_is_kept(tmp_path):
    page = tmp_path / "new.md"
    describe.put_between_markers(page, ["a"])
    assert page.read_text() == f"{describe.BEGIN}\na\n{describe.END}\n"
    for text in ("no marker\n", f"{describe.END}\n{describe.BEGIN}\n", f"{describe.BEGIN}\n"):
        page.write_text(text)
        with pytest.raises(UserError, match="once each"):
            describe.put_between_markers(page, ["a"])
        assert page.read_text() == text


def test_the_page_has_its_markers():
    text = (ROOT / "docs" / "mini_corpus_tables.md").read_text(encoding="utf-8")
    assert text.count(describe.BEGIN) == text.count(describe.END) == 1
