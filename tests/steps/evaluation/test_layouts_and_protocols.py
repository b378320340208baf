"""What steps/evaluate.py reads: layouts of scores and protocols, files from other systems, and all that it refuses."""

import gzip
import json
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steps import calibrate, compare_scores, fuse
from steps.evaluate import main
from steps.evaluation.protocols import LAYOUTS, PHASES, read_protocol
from steps.evaluation.score_files import AsvScores, CmScores, foreign_asv_scores, read_asv_scores, read_cm_scores
from tests.in_process import call
from utils.cli import UserError

# utterance, attack, key, score; as many bona fide trials as the ASV has targets
CM = [
    *[(f"LA_E_{i}", "-", "bonafide", 2.0 + i / 10) for i in range(20)],
    *[(f"LA_E_{i}", "A07", "spoof", i / 5 - 3) for i in range(20, 40)],
    *[(f"LA_E_{i}", "A09", "spoof", -1 - i / 10) for i in range(40, 50)],
]
ASV = [
    *[("bonafide", "target", 3.0 + i / 10) for i in range(18)],
    *[("bonafide", "nontarget", -3.0 + i / 5) for i in range(40)],
    *[("A07", "spoof", 1.0 + i / 5) for i in range(20)],
    *[("A09", "spoof", -1.0 + i / 2) for i in range(10)],
]
# layout: how each of its lines is made of utterance, attack and key, as published
PROTOCOLS = {
    "2019 LA": lambda utt, attack, key: f"LA_0039 {utt} - {attack} {key}",
    "2019 PA": lambda utt, attack, key: f"PA_0039 {utt} acb {attack} {key}",
    "2021 LA": lambda utt, attack, key: f"LA_0009 {utt} alaw ita_tx {'bonafide' if attack == '-' else attack} {key} notrim eval",
    "2021 DF": lambda utt, attack, key: f"LA_0023 {utt} nocodec asvspoof {attack} {key} notrim eval traditional_vocoder - - - -",
    "2021 PA": lambda utt, attack, key: f"PA_0010 {utt} R3 M3 d4 r1 m1 {'s4 c4' if attack == 'A07' else 's2 c3'} {key} notrim eval",
    "ASVspoof 5": lambda utt, attack, key: f"E_0001\t{utt}\tF\t-\t0\t-\t-\t{'bonafide' if attack == '-' else attack}\t{key}\t-",
    "utt2label": lambda utt, attack, key: f"{utt} {key}",
}  # fmt: skip


def text_of(rows):
    return "".join(" ".join(map(str, row)) + "\n" for row in rows)


def two_columns(rows=CM, sep=" "):
    return "".join(f"{utt}{sep}{score}\n" for utt, _, _, score in rows)


def protocol_of(layout, rows=CM):
    return "".join(PROTOCOLS[layout](utt, attack, key) + "\n" for utt, attack, key, _ in rows)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cm.txt").write_text(text_of(CM))
    (tmp_path / "asv.txt").write_text(text_of(ASV))
    (tmp_path / "protocol.txt").write_text(protocol_of("2019 LA"))
    return tmp_path


def evaluate(*options):
    return call(main, "evaluate.py", *options, "cm.txt")


def metrics_of(*options):
    done = evaluate("--json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def refusal(*options):
    """The message with which the scores are refused, one line that begins with the file at fault."""
    done = evaluate(*options)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("evaluate.py: error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("evaluate.py: error: ")


# --- layouts ---


@pytest.mark.parametrize("layout", PROTOCOLS)
def test_scores_without_keys_take_them_from_any_protocol(folder, layout):
    whole = metrics_of()
    rows = random.Random(0).sample(CM, len(CM))
    (folder / "protocol.txt").write_text(protocol_of(layout, rows))
    (folder / "cm.txt").write_text(two_columns())
    found = metrics_of("--protocol", "protocol.txt")
    names = {"2021 PA": {"A07": "c4-s4", "A09": "c3-s2"}, "utt2label": {}}.get(layout, {"A07": "A07", "A09": "A09"})
    for attack, name in names.items():
        assert found["per_attack"][name] == whole["per_attack"][attack]
    assert list(found["per_attack"]) == (sorted(names.values()) or ["unknown"])
    assert (found["pooled"], found["n_bonafide"], found["pooled"]["n_spoof"]) == (whole["pooled"], 20, 30)
    assert 0 < found["pooled"]["eer"] < 0.5


def test_each_layout_is_tried():
    assert {len(line("u", "A07", "spoof").split()) for line in PROTOCOLS.values()} == set(LAYOUTS)


def test_scores_of_a_data_dir(folder):
    (folder / "cm.txt").write_text(two_columns(sep="\t"))
    (folder / "data").mkdir()
    (folder / "data/utt2label").write_text(text_of((utt, key) for utt, _, key, _ in CM))
    assert list(metrics_of("--protocol", "data")["per_attack"]) == ["unknown"]
    assert metrics_of("--protocol", "data", "--asv-scores", "asv.txt")["pooled"]["min_tdcf_2019"] > 0
    (folder / "asv.txt").write_text(text_of(ASV[:-1]))
    message = refusal("--protocol", "data", "--asv-scores", "asv.txt")
    assert "asv.txt: these ASV scores are of other trials than cm.txt: they have 29 spoof trials" in message
    (folder / "data/utt2attack").write_text(text_of((utt, attack) for utt, attack, _, _ in CM))
    assert list(metrics_of("--protocol", "data")["per_attack"]) == ["A07", "A09"]
    (folder / "data/utt2attack").write_text(text_of((utt, "A07") for utt, *_ in CM))
    assert refusal("--protocol", "data").startswith("data/utt2attack: the attack 'A07' does not go with LA_E_0, bonafi")
    (folder / "data/utt2attack").write_text(text_of((utt, attack) for utt, attack, _, _ in CM[:-1]))
    assert refusal("--protocol", "data").startswith("data/utt2attack: it has no line of LA_E_49, spoof")
    (folder / "data/utt2attack").write_text(text_of([*((utt, attack) for utt, attack, _, _ in CM), ("LA_E_X", "A07")]))
    assert "data/utt2label: 1 of the 51 utterances of data/utt2attack are not in it (first: LA_E_X)" in refusal(
        "--protocol", "data"
    )


def test_phases(folder):
    def line(phase, rows):
        return protocol_of("2021 LA", rows).replace(" eval", f" {phase}")

    parts = {"eval": CM[::2], "progress": CM[1::2]}
    (folder / "protocol.txt").write_text("".join(line(phase, rows) for phase, rows in parts.items()))
    (folder / "cm.txt").write_text(two_columns())
    for phase, rows in parts.items():
        (folder / "cm.txt").write_text(text_of(rows))
        alone = metrics_of()
        for text in (two_columns(), text_of(CM)):
            (folder / "cm.txt").write_text(text)
            of_phase = metrics_of("--protocol", "protocol.txt", "--phase", phase)
            assert (of_phase["protocol"], of_phase["phase"]) == (str((folder / "protocol.txt").resolve()), phase)
            assert of_phase | {"protocol": None, "phase": None} == alone
    assert metrics_of("--protocol", "protocol.txt") == metrics_of("--protocol", "protocol.txt", "--phase", "eval")
    assert "no trials of the phase hidden, only of eval, progress" in refusal(
        "--protocol", "protocol.txt", "--phase", "hidden"
    )
    (folder / "protocol.txt").write_text(line("hidden_track", CM))
    assert metrics_of("--protocol", "protocol.txt", "--phase", "hidden")["n_bonafide"] == 20
    (folder / "protocol.txt").write_text(protocol_of("2019 LA"))
    assert "--phase eval: protocol.txt has no phases" in refusal("--protocol", "protocol.txt", "--phase", "eval")
    assert "give --protocol too" in refusal("--phase", "eval")
    assert PHASES[0] == "eval"


def test_scores_with_asvspoof_5_s_heading(folder):
    whole = metrics_of()
    (folder / "cm.txt").write_text("filename\tcm-score\n" + two_columns(sep="\t"))
    assert metrics_of("--protocol", "protocol.txt") == whole
    (folder / "cm.txt").write_text("filename\tcm-score\n" + two_columns(sep="\t") + "LA_E_0 x\n")
    assert "cm.txt: line 52: LA_E_0: the score 'x' is not a number" in refusal("--protocol", "protocol.txt")


# layout: heading, a line of utterance, attack, key and score, whether the file has keys and attacks, and the warning
LAYOUTS_OF_OTHERS = {
    "ASVspoof 2019's baselines": ("", "LA_39 {0} - {1} {2} {3}", True, True, "SPK UTT ENV ATTACK KEY SCORE"),
    "ASVspoof 2019's baselines, PA": ("", "PA_39 {0} aab {1} {2} {3}", True, True, "SPK UTT ENV ATTACK KEY SCORE"),
    "ASVspoof 5's package": ("", "E_1 {0} {3} {2}", True, False, "SPK UTT SCORE KEY"),
    "NII's logs": ("", "Output, {0}, 0, {3}", False, False, "output UTT LABEL SCORE"),
    "commas alone": ("", "{0},{3}", False, False, None),
    "score and key": ("", "{0}\t{3}\t{2}", True, False, "UTT SCORE KEY"),
    "CSV": ("filename,cm-score", "{0},{3}", False, False, None),
    "CSV, other order": (',Label,"CM score",duration,Utt ID', '7,{2},{3},"1,5",{0}', True, False, None),
    "CSV, all": ("score;utterance;attack;key", "{3};{0};{1};{2}", True, True, None),
    "tabs, heading": ("utt\tattack\tkey\tscore", "{0}\t{1}\t{2}\t{3}", True, True, None),
}  # fmt: skip


@pytest.mark.parametrize("heading, line, keys, attacks, told", LAYOUTS_OF_OTHERS.values(), ids=LAYOUTS_OF_OTHERS)
def test_layouts_of_others(folder, heading, line, keys, attacks, told):
    whole = metrics_of()
    lines = [heading] * bool(heading) + [line.format(*row) for row in CM]
    (folder / "cm.txt").write_text("\n".join(lines))
    done = evaluate("--json", "--protocol", "protocol.txt")
    assert done.returncode == 0 and json.loads(done.stdout) == whole
    if told is None:
        assert done.stderr == ""
    else:
        assert (
            done.stderr
            == f"WARNING: cm.txt: its columns are read as {told}, not as UTT ATTACK KEY SCORE; --columns can say"
            " otherwise\n"
        )
    done = evaluate("--json")
    if keys:
        found = json.loads(done.stdout)
        assert (found["pooled"], found["n_bonafide"]) == (whole["pooled"], 20)
        assert list(found["per_attack"]) == (["A07", "A09"] if attacks else ["unknown"])
    else:
        assert done.returncode == 1 and "do not tell bona fide from spoof; give --protocol" in done.stderr
    if keys:  # which the protocol does not say
        (folder / "cm.txt").write_text("\n".join(lines).replace("spoof", "bonafide", 1).replace("A07", "-", 1))
        done = evaluate("--protocol", "protocol.txt")
        assert done.returncode == 1 and "LA_E_20 is bonafide there but spoof in protocol.txt" in done.stderr


def test_columns_say_what_no_heading_does(folder):
    whole = metrics_of("--protocol", "protocol.txt")
    for names, line in (
        ("utt score key", "{0} {3} {2}"), ("- score - utt", "9 {3} 1 {0}"), ("score,utt", "{3},{0}"), ("utt key - - score", "{0}\t{2}\t0\t1\t{3}"),
        ("utt attack score", "{0} {1} {3}"),
    ):  # fmt: skip
        (folder / "cm.txt").write_text("".join(line.format(*row) + "\n" for row in CM))
        assert metrics_of("--protocol", "protocol.txt", "--columns", names) == whole
    (folder / "cm.txt").write_text(
        "filename,cm-score,score\n" + "".join(f"{utt},0,{score}\n" for utt, _, _, score in CM)
    )
    message = refusal("--protocol", "protocol.txt")
    assert message.startswith(
        "cm.txt: line 1: its heading has several columns that could be the score; say which by --columns"
    )
    assert '"utt score -"' in message
    assert metrics_of("--protocol", "protocol.txt", "--columns", "utt - score") == whole
    assert "line 1: 3 columns where --columns names 2" in refusal(
        "--columns", "utt score", "--protocol", "protocol.txt"
    )
    (folder / "cm.txt").write_text(
        "utt,score,label\n" + "".join(f"{utt},{score},{int(key == 'spoof')}\n" for utt, _, key, score in CM)
    )
    message = refusal("--protocol", "protocol.txt")
    assert (
        "line 2: LA_E_0: the key '0' is neither bonafide nor spoof; leave that column out by --columns \"utt score -\""
        in message
    )
    assert metrics_of("--protocol", "protocol.txt", "--columns", "utt score -") == whole
    (folder / "cm.txt").write_text(text_of([("output", "A07", "spoof", 1), *CM]))
    message = refusal("--protocol", "protocol.txt")
    assert (
        'could be UTT ATTACK KEY SCORE or output UTT LABEL SCORE; say which by --columns "utt attack key score" or'
        in message
    )
    (folder / "cm.txt").write_text(text_of(ASV))
    assert "columns, which are of no known layout" in refusal() and "ASV scores, for --asv-scores" in refusal()
    for names in ("utt", "utt score score", "utt score label", ""):
        done = evaluate("--columns", names)
        assert done.returncode == 2 and "argument --columns: " in done.stderr and "Traceback" not in done.stderr


# --- files from elsewhere ---


def as_gzip(data):
    return gzip.compress(data)


WRITERS = {
    "gzip": as_gzip,
    "Windows line ends": lambda data: data.replace(b"\n", b"\r\n"),
    "old line ends": lambda data: data.replace(b"\n", b"\r"),
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "Windows, gzipped": lambda data: gzip.compress(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")),
    "empty lines at the end": lambda data: data + b"\n \n\r\n",
    "no last line end": lambda data: data[:-1],
    "tabs": lambda data: data.replace(b" ", b"\t"),
    "blanks in plenty": lambda data: data.replace(b" ", b"  ").replace(b"\n", b" \t\n"),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("scores", [text_of(CM), two_columns()], ids=["four columns", "two columns"])
def test_files_of_other_systems_read_alike(folder, write, scores):
    options = ["--protocol", "protocol.txt", "--asv-scores", "asv.txt"]
    whole = metrics_of(*options)
    assert whole["pooled"]["min_tdcf_2019"] > 0
    (folder / "cm.txt").write_text(scores)
    for name in ("cm.txt", "asv.txt", "protocol.txt"):
        (folder / name).write_bytes(write((folder / name).read_bytes()))
    assert metrics_of(*options) == whole


def test_a_gzipped_file_is_told_by_its_bytes_and_a_damaged_one_is_refused(folder):
    packed = gzip.compress((folder / "cm.txt").read_bytes())
    for damaged in (packed[:-20], packed[:12], packed[:30] + b"xxxx" + packed[34:]):
        (folder / "cm.txt").write_bytes(damaged)
        assert "cm.txt: the gzipped file is damaged or cut off" in refusal()
    (folder / "cm.txt.gz").write_text(text_of(CM))  # named so, and is not
    assert call(main, "evaluate.py", "cm.txt.gz").stdout.startswith("cm - corpus not named\n")
    (folder / "cm.txt").write_bytes(text_of(CM).encode("utf-16"))
    assert "cm.txt: not UTF-8 text but UTF-16, as Windows writes it; save it as UTF-8" in refusal()
    (folder / "cm.txt").write_bytes(b"a - bonafide 1\nb - bonafide 2\nc\xe9 - bonafide 3\n")
    assert "cm.txt: line 3: not UTF-8 text" in refusal()


# --- faults ---


def changed(line, text):
    lines = two_columns().splitlines(keepends=True)
    lines[line - 1] = text
    return "".join(lines)


TWO_COLUMN_FAULTS = {
    "NaN": (changed(4, "LA_E_3 nan\n"), ["line 4: LA_E_3: the score is nan", "score again"]),
    "infinite": (changed(23, "LA_E_22 -Infinity\n"), ["line 23: LA_E_22: the score is -Infinity"]),
    "no number": (changed(5, "LA_E_4 x\n"), ["line 5: LA_E_4: the score 'x' is not a number\n"]),
    "decimal comma": (changed(5, "LA_E_4 1,5\n"), ["'1,5' is not a number, write decimals with a point"]),
    "underscore": (changed(5, "LA_E_4 1_5\n"), ["'1_5' is not a number"]),
    "duplicate": (two_columns() + "LA_E_7 1\n", ["line 51: LA_E_7 stands there twice (first on line 8)", "remove"]),
    "four columns from line 3": (
        changed(3, "LA_E_2 - bonafide 1\n"),
        ["line 3: 4 columns where 2 stand before it (UTT SCORE): 'LA_E_2 - bonafide 1'", "same columns"],
    ),
    "three columns": (
        "A07 spoof 1.5\n",
        ["line 1: its 3 columns", '--columns "utt key score"', "ATTACK KEY SCORE are ASV scores, for --asv-scores"],
    ),
    "score first": ("1.5 LA_E_0\n", ["line 1: its 2 columns are not UTT ATTACK KEY SCORE", '--columns "score utt"']),
    "another speaker's column": ("s1 LA_E_0 1.5\n", ["line 1: its 3 columns", '--columns "- utt score"']),
    "another word for the key": (
        "LA_E_0 - genuine 1.5\n",
        ["line 1: LA_E_0: the key 'genuine' is neither bonafide nor spoof"],
    ),
    "five columns": ("a b c d e\n", ["line 1: 5 columns, which are of no known layout: 'a b c d e'", "--columns"]),
    "a heading of other words": (
        "clip,result\n" + two_columns(sep=","),
        ["line 1: clip: the score 'result' is not a number; if the line is a heading, remove it"],
    ),
    "commas, then blanks": (
        two_columns(sep=",") + "LA_E_50 1\n",
        ["line 51: 1 columns where 2 stand before it (UTT SCORE): 'LA_E_50 1'"],
    ),
    "a name with a blank": ("filename,score\nmy clip.wav,1\n", ["line 2: 'my clip.wav' is empty or has blanks in it"]),
    "empty line": (changed(3, "\n"), ["line 3: empty, with lines after it"]),
    "unknown": (
        two_columns() + "LA_D_1 1\nLA_D_2 1\nLA_D_3 1\nLA_D_4 1\n",
        ["4 of its 54 utterances are no trials of protocol.txt (the first: LA_D_1, LA_D_2, LA_D_3)", "another set?"],
    ),
    "paths": (
        "".join(f"flac/{line.replace(' ', '.flac ')}" for line in two_columns().splitlines(keepends=True)),
        ["50 of its 50 utterances", "write utterances without folder and extension"],
    ),
    "missing": (
        two_columns(CM[3:]),
        ["it lacks 3 of the 50 trials of protocol.txt (the first: LA_E_0, LA_E_1, LA_E_2)", "score them too"],
    ),
    "missing one": (two_columns(CM[1:]), ["it lacks 1 of the 50 trials of protocol.txt (LA_E_0)"]),
    "one score": (
        "".join(f"{utt} 0.5\n" for utt, *_ in CM),
        ["only 1 distinct score among 50 trials", "full precision"],
    ),
    "empty": ("", ["the file is empty"]),
    "empty lines only": ("\n\n", ["the file is empty"]),
    "heading only": ("filename\tcm-score\n", ["the file is empty"]),
}


@pytest.mark.parametrize("text, words", TWO_COLUMN_FAULTS.values(), ids=TWO_COLUMN_FAULTS)
def test_faulty_scores_without_keys(folder, text, words):
    (folder / "cm.txt").write_text(text)
    message = refusal("--protocol", "protocol.txt", "--out", "results")
    assert message.startswith("cm.txt: ")
    for word in words:
        assert word in message
    assert not (folder / "results").exists()


def test_scores_without_keys_need_a_protocol(folder):
    (folder / "cm.txt").write_text(two_columns())
    assert "cm.txt: its columns are read as UTT SCORE" in refusal()
    assert "give --protocol" in refusal()


@pytest.mark.parametrize("rows, class_", [(CM[:20], "bona fide"), (CM[20:], "spoof")])
def test_one_class_only(folder, rows, class_):
    (folder / "cm.txt").write_text(two_columns(rows))
    (folder / "protocol.txt").write_text(protocol_of("2019 LA", rows))
    assert f"cm.txt: all {len(rows)} trials are {class_}" in refusal("--protocol", "protocol.txt")


def test_keys_that_stand_with_the_scores_are_checked_against_the_protocol(folder):
    assert metrics_of("--protocol", "protocol.txt") == metrics_of()
    (folder / "cm.txt").write_text(text_of([*CM[:-1], ("LA_E_49", "A07", "spoof", 1)]))
    assert refusal("--protocol", "protocol.txt").startswith(
        "cm.txt: line 50: LA_E_49 is of attack A07 there but of A09 in protocol.txt"
    )
    (folder / "utt2label").write_text(protocol_of("utt2label"))
    metrics_of("--protocol", "utt2label")  # which names no attacks
    (folder / "cm.txt").write_text(text_of([CM[0], ("LA_E_1", "A07", "spoof", 1), *CM[2:]]))
    for protocol in ("protocol.txt", "utt2label"):
        message = refusal("--protocol", protocol)
        assert message.startswith(f"cm.txt: line 2: LA_E_1 is spoof there but bonafide in {protocol}; score again")


PROTOCOL_FAULTS = {
    "unknown key": ("s u1 - - genuine\n", ["line 1: u1: the key 'genuine' is neither", "SPEAKER UTT ENV ATTACK KEY"]),
    "three columns": ("u1 - spoof\n", ["line 1: 3 columns where 2 or 5 or 8 or 10 or 12 or 13 are expected"]),
    "mixed": ("s u1 - A07 spoof\nu2 spoof\n", ["line 2: 2 columns where 5 stand before it"]),
    "duplicate": ("s u1 - A07 spoof\ns u2 - - bonafide\ns u1 - A07 spoof\n", ["line 3: u1 stands", "first on line 1"]),
    "attack of bona fide": ("s u1 - A07 bonafide\n", ["line 1: u1: a bona fide trial has the attack 'A07'"]),
    "spoof without attack": ("s u1 - - spoof\n", ["line 1: u1: a spoof trial without an attack"]),
    "empty": ("", ["the file is empty"]),
}


@pytest.mark.parametrize("text, words", PROTOCOL_FAULTS.values(), ids=PROTOCOL_FAULTS)
def test_faulty_protocols(folder, text, words):
    (folder / "protocol.txt").write_text(text)
    message = refusal("--protocol", "protocol.txt")
    assert message.startswith("protocol.txt: ")
    for word in words:
        assert word in message


def test_missing_protocol(folder):
    assert refusal("--protocol", "no.txt").startswith("no.txt: no such file")
    (folder / "empty").mkdir()
    assert refusal("--protocol", "empty").startswith("empty/utt2label: no such file")


# --- ASV scores of another set ---

SETS = {  # bona fide trials and spoof trials by attack of the CM; targets of the ASV
    "LA dev": (2548, dict.fromkeys([f"A{i:02d}" for i in range(1, 7)], 3716), 1484),
    "LA eval": (7355, dict.fromkeys([f"A{i:02d}" for i in range(7, 20)], 4914), 5370),
    "PA dev": (5400, {a + b: n for a, n in (("A", 3572), ("B", 1928), ("C", 2600)) for b in "ABC"}, 2700),
    "PA eval": (18090, dict.fromkeys([a + b for a in "ABC" for b in "ABC"], 12960), 12960),
}


def cm_of(name):
    n_bonafide, spoof, _ = SETS[name]
    attacks = sorted(spoof)
    code = np.repeat(np.arange(-1, len(attacks)), [n_bonafide, *(spoof[attack] for attack in attacks)])
    return CmScores(list(map(str, range(code.size))), code == -1, np.arange(code.size) * 1.0, attacks, code)


def asv_of(name):
    _, spoof, n_target = SETS[name]
    own = {attack: np.zeros(count) for attack, count in spoof.items()}
    return AsvScores(np.ones(n_target), np.zeros(9), np.concatenate(list(own.values())), own)


@pytest.mark.parametrize("cm", SETS)
@pytest.mark.parametrize("asv", SETS)
def test_the_counts_tell_asv_scores_of_another_set(cm, asv):
    assert (foreign_asv_scores(cm_of(cm), asv_of(asv)) is None) == (cm == asv)


def other_attacks():
    return [("B" + attack[1:] if key == "spoof" else attack, key, score) for attack, key, score in ASV]


FOREIGN_ASV = {
    "a trial less": (ASV[:-1], "they have 9 trials of attack A09, the CM scores 10"),
    "twice": ([*ASV, *ASV[58:]], "they have 40 trials of attack A07, the CM scores 20 (2 of 2 attacks differ)"),
    "other attacks": (
        other_attacks(),
        "they have none of the attacks that the CM scores have, such as A07, but B07, B09",
    ),
    "too many targets": ([*ASV, *ASV[:18]], "they have 36 target trials, more than the 20 bona fide trials"),
}


@pytest.mark.parametrize("rows, why", FOREIGN_ASV.values(), ids=FOREIGN_ASV)
def test_asv_scores_of_another_set_are_refused_unless_they_are_wanted(folder, rows, why):
    (folder / "asv.txt").write_text(text_of(rows))
    message = refusal("--asv-scores", "asv.txt", "--out", "results")
    assert message.startswith(f"asv.txt: these ASV scores are of other trials than cm.txt: {why}; give those of")
    assert "--allow-other-asv-trials" in message
    assert not (folder / "results").exists()
    (folder / "corpus.json").write_text('{"name": "ASVspoof 2019", "subset": true}')
    for options in (["--allow-other-asv-trials"], ["--corpus-json", "corpus.json"]):
        done = evaluate("--asv-scores", "asv.txt", *options)
        assert done.returncode == 0
        assert why in done.stderr
        assert "WARNING: cm.txt: " in done.stderr


def test_asv_scores_of_the_wrong_sign_are_told(folder):
    (folder / "asv.txt").write_text(text_of((attack, key, -score) for attack, key, score in ASV))
    done = evaluate("--asv-scores", "asv.txt")
    assert done.returncode == 0
    assert "the ASV's EER is" in done.stderr
    assert "sign of its scores is likely flipped" in done.stderr


# --- output ---


def test_without_a_folder_nothing_is_written(folder):
    before = sorted(path.name for path in folder.iterdir())
    done = evaluate("--asv-scores", "asv.txt")
    assert (done.returncode, done.stderr) == (0, "")
    assert "written" not in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == before


def test_json_is_what_the_file_holds_and_nothing_else(folder):
    (folder / "utt2speaker").write_text(text_of((utt, "ann") for utt, *_ in CM))
    options = ["--asv-scores", "asv.txt", "--speakers", "utt2speaker", "--no-plot", "--out", "results"]
    flipped = [(utt, attack, key, -score) for utt, attack, key, score in CM]
    for rows in (CM, flipped):  # the second with a warning
        (folder / "cm.txt").write_text(text_of(rows))
        done = evaluate("--json", *options)
        assert done.returncode == 0
        assert done.stdout == (folder / "results/evaluation.json").read_text()
        assert json.loads(done.stdout)["per_speaker"]["ann"]["n_spoof"] == 30
    assert done.stderr.startswith("WARNING: cm.txt: the EER is ")


def test_decisions_at_a_threshold(folder):
    (folder / "cm.txt").write_text("a - bonafide 2\nb - bonafide 1\nc A01 spoof 1\nd A01 spoof 0\ne A01 spoof -1\n")
    done = evaluate("--json", "--threshold", "1")  # a score equal to it is accepted
    decisions = json.loads(done.stdout)["decisions"]
    assert decisions == pytest.approx({"threshold": 1, "miss": 0, "false_alarm": 1 / 3, "accuracy": 4 / 5, "f1": 4 / 5})
    assert (
        "at the threshold 1.5: 50.00 % of the bona fide trials rejected, 0.00 %"
        in evaluate("--threshold", "1.5").stdout
    )
    assert evaluate("--threshold", "nan").returncode == 2


def test_scores_without_keys_are_compared_and_fused_by_a_protocol(folder):
    """compare_scores.py, calibrate.py and fuse.py read what evaluate.py reads."""
    protocols = []
    for name, seed in (("dev", 1), ("test", 2)):
        draw = np.random.default_rng(seed)
        (folder / f"{name}.trl").write_text(
            text_of(
                (f"s{i % 3}", f"{name}{i}", "-", "-" if i % 2 else "A01", "bonafide" if i % 2 else "spoof")
                for i in range(60)
            )
        )
        protocols += ["--protocol", f"{name}.trl"]
        for system in ("x", "y"):
            (folder / system).mkdir(exist_ok=True)
            rows = [(f"{name}{i}", float(draw.normal(i % 2))) for i in range(60)]
            (folder / system / f"{name}.txt").write_text(text_of(rows))
            (folder / system / f"{name}.csv").write_text("".join(f"{score},x,{utt}\n" for utt, score in rows))
    fused = call(fuse.main, "fuse.py", *protocols, "--out-dir", "fused", "--sets", "test", "x", "y")
    assert (fused.returncode, fused.stderr) == (0, "")
    assert (folder / "fused/test.txt").read_text().split()[:3] == ["test0", "A01", "spoof"]
    compared = call(compare_scores.main, "compare_scores.py", *protocols, "--draws", "100", "x/test.txt", "y/test.txt")
    assert (compared.returncode, compared.stderr) == (0, "") and "B minus A" in compared.stdout
    calibrated = call(
        calibrate.main, "calibrate.py", *protocols, "--train", "x/dev.txt", "--out-dir", "c", "x/test.txt"
    )
    assert (calibrated.returncode, calibrated.stderr) == (0, "")
    other = call(
        calibrate.main, "calibrate.py", *protocols, "--columns", "score - utt", "--train", "x/dev.csv", "--out-dir", "d", "x/test.csv"
    )  # fmt: skip
    assert (other.returncode, other.stderr) == (0, "")
    assert (folder / "d/test.csv").read_text() == (folder / "c/test.txt").read_text()
    refused = call(compare_scores.main, "compare_scores.py", *protocols[:2], "x/test.txt", "y/test.txt")
    assert (
        refused.returncode == 1 and "x/test.txt: its first utterance, test0, is no trial of dev.trl" in refused.stderr
    )


def test_the_table_fits_80_columns_whatever_the_names(folder):
    names = [f"Task1-team{i:02d}-{'x' * (i * 3)}" for i in range(40)]
    rows = [*CM[:20], *[(f"s{i}", name, "spoof", i / 9) for i, name in enumerate(names * 3)]]
    (folder / "cm.txt").write_text(text_of(rows))
    spoof = [(name, "spoof", i) for i, name in enumerate(names * 3)]
    (folder / "asv.txt").write_text(text_of([*ASV[:58], *spoof]))
    (folder / "corpus.json").write_text(json.dumps({"name": "corpus " * 30 + "y" * 100}))
    done = evaluate("--asv-scores", "asv.txt", "--corpus-json", "corpus.json", "--title", "z" * 100)
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) in range(70, 81)
    assert sum(line.startswith("Task1-team") for line in done.stdout.splitlines()) == 40
    assert "\x1b" not in done.stdout
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("pooled ")] == ["120"]


# --- whatever a file may hold ---

WORDS = st.one_of(
    st.sampled_from(["u1", "u2", "u3", "-", "A07", "bonafide", "spoof", "target", "nontarget", "eval", "nan", "1e999"]),
    st.floats().map(repr),
    st.text(max_size=4),
)
LINES = st.lists(st.lists(WORDS, max_size=13).map(" ".join), max_size=6)
SCORES = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["-", "A07"]), st.sampled_from(["bonafide", "spoof"]),
              st.floats(-9, 9).map(repr)).map(" ".join), max_size=8)  # fmt: skip
FILES = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(lambda data: b"\x1f\x8b" + data),
    st.one_of(LINES, SCORES).map(lambda lines: "\n".join(lines).encode(errors="replace")),
    LINES.map(lambda lines: gzip.compress("\n".join(lines).encode(errors="replace"))),
)
READERS = {
    "cm": read_cm_scores,
    "cm with a protocol": lambda path: read_cm_scores(path, read_protocol(path.with_name("protocol.txt"))),
    "asv": read_asv_scores,
    "protocol": read_protocol,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@given(data=FILES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_read_or_refused_by_name(folder, read, data):
    path = folder / "any.txt"
    path.write_bytes(data)
    try:
        found = read(path)
    except UserError as error:
        assert str(path) in str(error)
    else:
        if isinstance(found, CmScores):
            assert np.isfinite(found.score).all()
            assert len(found.utterance) == len(set(found.utterance)) == found.score.size == found.attack.size
            assert found.bonafide.any()
            assert not found.bonafide.all()


@given(
    scores=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=50, max_size=50).filter(
        lambda values: len(set(values)) > 2
    ),
    order=st.permutations(range(50)),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_layouts_give_the_same_bit_for_bit(folder, scores, order):
    rows = [(*CM[i][:3], score) for i, score in zip(order, scores)]
    (folder / "cm.txt").write_text(text_of(rows))
    (folder / "two.txt").write_text(two_columns(rows, sep="\t"))
    one = read_cm_scores(folder / "cm.txt")
    two = read_cm_scores(folder / "two.txt", read_protocol(folder / "protocol.txt"))
    assert one.utterance == two.utterance
    assert one.attack_names == two.attack_names
    for field in ("score", "bonafide", "attack"):
        assert np.array_equal(getattr(one, field), getattr(two, field))
    assert one.score.tolist() == scores
