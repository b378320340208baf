"""PartialSpoof (local/corpora/partialspoof.py): a look-alike tree of noise becomes data dirs with spoofed stretches."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local import download
from local.corpora import partialspoof
from local.corpora.partialspoof import read_labels
from local.prepare_data import check_counts, main
from tests import in_process
from tests.corpus_lookalike import make_partialspoof
from utils.cli import UserError
from utils.data_dir import DataDir, validate
from utils.files import read_map
from utils.rttm import read_rttm

SIZES = {"train": (24, 6), "dev": (16, 4), "eval": (20, 8)}
DEV = "segment_labels/dev_seglab_0.01.npy"


@pytest.fixture
def corpus(tmp_path) -> Path:
    make_partialspoof(tmp_path / "database", SIZES)
    return tmp_path / "database"


def prepare(corpus: Path, data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = ("prepare_data.py", "--corpus", "partialspoof", "--corpus-dir", corpus, "--allow-subset", *options)
    return in_process.call(main, *command, data)


def refusal(corpus: Path, data: Path, *options: str) -> str:
    """The one line that it ends with; no data dir is left."""
    done = prepare(corpus, data, "--sets", "dev", *options)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert not list(data.glob("*"))
    (line,) = (line for line in done.stderr.splitlines() if not line.startswith("WARNING"))
    return line


def changed(path: Path, change) -> None:
    labels = np.load(path, allow_pickle=True).item()
    change(labels)
    np.save(path, labels)


def save_pickle(path: Path, content: bytes, shape: tuple[int, ...] = ()) -> None:
    """A .npy file as np.save makes it of an object, with another pickle."""
    with path.open("wb") as handle:
        header = {"descr": "|O", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(handle, header)
        handle.write(content)


def test_the_recipe_s_first_stage_makes_data_dirs_with_the_stretches(tmp_path, root):
    made = make_partialspoof(tmp_path / "database", SIZES)
    done = subprocess.run(
        [
            root / "egs/partial/run.sh", "--corpus-dir", "database", "--allow-subset", "true", "--stop-stage", "0",
            *(f"--{kind}-dir={tmp_path / kind}" for kind in ("data", "feats", "exp")),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "FSD_PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode == 0, done
    for subset, (trials, bonafide) in SIZES.items():
        folder = tmp_path / "data" / subset
        validate(DataDir(folder), text=False, feats=False, spk_sort=False)
        assert Counter(read_map(folder / "utt2label").values()) == {"bonafide": bonafide, "spoof": trials - bonafide}
        assert set(read_map(folder / "utt2attack").values()) == {"-", "CON"}
        stretches, seconds = read_rttm(folder / "rttm"), read_map(folder / "utt2dur")
        assert stretches.keys() == {utt for utt, spoofed in made[subset].items() if spoofed}
        for utt, found in stretches.items():
            # A label is of 160 samples, and spoofed if one of them is
            wanted = [(begin // 160 / 100, math.ceil(end / 160) / 100) for begin, end in made[subset][utt]]
            wanted[-1] = (wanted[-1][0], min(wanted[-1][1], float(seconds[utt])))
            assert np.allclose(found, wanted, atol=0.0011), utt


def test_a_list_given_to_the_same_recipe_is_still_an_own_list(tmp_path, root):
    (tmp_path / "list.csv").write_text("path,label\na.wav,spoof\n")
    for given, said in (
        ("list.csv", "no column speaker and no column split"),
        ("none", "or the folder of partialspoof"),
    ):
        done = subprocess.run(
            [root / "egs/partial/run.sh", "--corpus-dir", given, "--stop-stage", "0", f"--data-dir={tmp_path}/data"],
            cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "FSD_PYTHON": sys.executable},
        )  # fmt: skip
        assert done.returncode and said in done.stderr, done


def test_the_finest_labels_are_read(corpus, tmp_path):
    assert partialspoof.labels_file(corpus, "dev") == corpus / DEV
    (corpus / DEV).unlink()
    assert prepare(corpus, tmp_path / "data", "--sets", "dev").returncode == 0
    begins = {round(1000 * begin) for found in read_rttm(tmp_path / "data/dev/rttm").values() for begin, _ in found}
    assert len(begins) > 3 and all(begin % 20 == 0 for begin in begins)
    (corpus / "segment_labels/dev_seglab_0.02.npy").unlink()
    assert "dev_seglab_0.01.npy: no such file, nor dev_seglab_0.02.npy; unpack" in refusal(corpus, tmp_path / "other")


def test_other_labels_make_the_data_dir_again(corpus, tmp_path):
    assert prepare(corpus, tmp_path / "data").returncode == 0
    assert "already made" in prepare(corpus, tmp_path / "data").stdout
    changed(corpus / DEV, lambda labels: labels["CON_D_0000000"].__setitem__(0, "0"))
    assert "was made from the protocol (sha256)" in prepare(corpus, tmp_path / "data").stderr


def test_an_end_within_a_label_leaves_no_stretch_of_no_length(tmp_path, corpus):
    """The last label is of one sample, 0.06 ms, which RTTM's milliseconds would make nothing."""
    wav = corpus / "dev/con_wav/CON_D_0000000.wav"
    soundfile.write(wav, np.zeros(16001), 16000)
    changed(corpus / DEV, lambda labels: labels.update({wav.stem: np.array(["1"] * 100 + ["0"])}))
    assert prepare(corpus, tmp_path / "data", "--sets", "dev").returncode == 0
    assert read_rttm(tmp_path / "data/dev/rttm")[wav.stem] == ((1.0, 1.001),)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda labels: labels.pop("LA_D_1000002"), "LA_D_1000002, line 3 of its protocol: it has no labels. 1 of 16 "),
        (lambda labels: labels.update(CON_D_0000000=labels["CON_D_0000000"][:-2]), "CON_D_0000000, line 5 of its protocol: "),
        (lambda labels: labels.update(CON_D_0000000=["1", "0"] * 90), "180 labels of 0.01 s, but dev/con_wav/CON_D_0000000.wav lasts "),
        (lambda labels: labels["LA_D_1000000"].__setitem__(7, "0"), "1 of its labels say spoofed, but the protocol says bonafide"),
        (lambda labels: labels["CON_D_0000001"].__setitem__(slice(None), "1"), "CON_D_0000001, line 6 of its protocol: none of its labels says"),
        (lambda labels: labels["CON_D_0000002"].__setitem__(0, "2"), "utterance 'CON_D_0000002': its labels are not a list of 0 and 1"),
        (lambda labels: labels.update(CON_D_0000002=[["0"], ["1", "1"]]), "utterance 'CON_D_0000002': its labels are not a list"),
        (lambda labels: labels.update({3: ["0"]}), "utterance 3: its labels are not a list"),
        (lambda labels: labels.clear(), "it holds defaultdict, not utterances"),
    ],
)  # fmt: skip
def test_labels_that_do_not_fit_end_in_one_line(corpus, tmp_path, change, said):
    changed(corpus / DEV, change)
    line = refusal(corpus, tmp_path / "data")
    assert line.startswith("prepare_data.py: error: ") and f"{corpus / DEV}: " in line and said in line, line
    assert "unpack database_segment_labels_v1.2.tar.gz" in line


def test_one_label_more_or_fewer_is_rounding(corpus, tmp_path):
    def change(labels):
        for utt, last in (("CON_D_0000000", ["1"]), ("LA_D_1000000", ["1"])):
            labels[utt] = np.concatenate([labels[utt], last])
        labels["CON_D_0000001"] = labels["CON_D_0000001"][:-1]

    changed(corpus / DEV, change)
    assert prepare(corpus, tmp_path / "data", "--sets", "dev").returncode == 0


def test_lines_without_labels_may_be_taken_out(corpus, tmp_path):
    changed(corpus / DEV, lambda labels: labels.pop("LA_D_1000002"))
    protocol = partialspoof.keys(corpus, "dev")
    protocol.write_text("".join(line for line in protocol.read_text().splitlines(True) if "LA_D_1000002" not in line))
    assert prepare(corpus, tmp_path / "data", "--sets", "dev").returncode == 0


# -- what is unpickled -------------------------------------------------------------------------------------------------

LABELS = {"a": np.array(["1", "0"]), "b": np.array(["0"])}


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("values", [LABELS, {key: list(map(str, one)) for key, one in LABELS.items()}])
@pytest.mark.parametrize("module", [b"numpy.core", b"numpy._core"])
def test_every_form_that_numpy_writes_is_read(tmp_path, protocol, values, module):
    for held in (values, defaultdict(list, values)):
        content = _with_module(pickle.dumps(np.array(held, dtype=object), protocol), module, protocol)
        assert module + b".multiarray" in content
        save_pickle(tmp_path / "labels.npy", content)
        found = read_labels(tmp_path / "labels.npy")
        assert {utt: labels.tolist() for utt, labels in found.items()} == {"a": [False, True], "b": [True]}


def _with_module(content: bytes, module: bytes, protocol: int) -> bytes:
    """A pickle of one frame that names NumPy's core as `module`. From protocol 4 on, names and frames have lengths."""
    start = 11 if protocol == 4 else 0  # after the frame's length
    body = content[start:]
    for known in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        old, new = known, module + b".multiarray"
        if protocol == 4:
            old, new = (bytes([len(name)]) + name for name in (old, new))
        if old in body:
            body = body.replace(old, new)
            break
    return content[: start - 8] + len(body).to_bytes(8, "little") + body if start else body


class _Calls:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lambda path: _Calls(os.system, f"touch {path}"), "system"),
        (lambda path: _Calls(eval, f"open({str(path)!r}, 'w')"), "eval"),
        (lambda path: _Calls(Path.touch, path), "Path|getattr"),
        (lambda path: _Calls(np.save, str(path), 1), "save"),
        (lambda path: OrderedDict(a=1), "OrderedDict"),
    ],
)
def test_a_pickle_that_names_anything_else_is_refused_and_nothing_is_called(corpus, tmp_path, harm, named, protocol):
    mark = tmp_path / "mark.npy"
    for held in ({"CON_D_0000000": harm(mark)}, harm(mark), np.array({"a": [harm(mark)]}, dtype=object)):
        save_pickle(corpus / DEV, pickle.dumps(held, protocol))
        line = refusal(corpus, tmp_path / "data")
        assert f"{corpus / DEV}: no segment labels: it names " in line and any(n in line for n in named.split("|")), (
            line
        )
        assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no segment labels: "),
        (b"not NumPy's", "magic string"),
        (pickle.dumps(LABELS), "magic string"),  # without the heading of a .npy file
        (b"\x93NUMPY\x03\x00", "version 3.0 is not 1.0"),
    ],
)
def test_a_damaged_file_ends_in_one_line(corpus, tmp_path, content, said):
    (corpus / DEV).write_bytes(content)
    assert said in refusal(corpus, tmp_path / "data")


def test_a_file_cut_short_and_an_array_of_numbers_end_in_one_line(corpus, tmp_path):
    content = (corpus / DEV).read_bytes()
    for size in (len(content) // 2, len(content) - 1, 130):
        (corpus / DEV).write_bytes(content[:size])
        assert "no segment labels: " in refusal(corpus, tmp_path / "data")
    np.save(corpus / DEV, np.zeros(3))
    assert "an array of float64 in the form (3,), not one dict" in refusal(corpus, tmp_path / "data")
    save_pickle(corpus / DEV, pickle.dumps(["0", "1"]))
    assert "it holds list, not utterances" in refusal(corpus, tmp_path / "data")
    for encoding in ("utf-8", "zlib_codec"):
        held = _Calls(__import__("_codecs").encode, "1", encoding)
        save_pickle(corpus / DEV, pickle.dumps(held, 2))
        with pytest.raises(UserError, match=f"bytes in '{encoding}'"):
            read_labels(corpus / DEV)


# -- counts and download -----------------------------------------------------------------------------------------------


def test_official_counts(tmp_path):
    """Those of ASVspoof 2019 LA, typed anew here."""
    counts = {"train": (25380, 2580), "dev": (24844, 2548), "eval": (71237, 7355)}
    for subset, (trials, bonafide) in counts.items():
        path = partialspoof.keys(tmp_path, subset)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "".join(f"LA_0079 U{at} - {'- bonafide' if at < bonafide else 'CON spoof'}\n" for at in range(trials))
        )
        read = partialspoof.read(tmp_path, subset)
        assert check_counts(read, partialspoof.CORPORA["partialspoof"], subset, False)
        read.trials.pop()
        with pytest.raises(UserError, match=f"{trials - 1} trials"):
            check_counts(read, partialspoof.CORPORA["partialspoof"], subset, False)


def test_an_unpacked_corpus_is_complete_with_its_labels(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(download.CORPORA, "partialspoof", replace(download.CORPORA["partialspoof"], listing=None))
    done = in_process.call(download.main, "download.py", "--check-only", "partialspoof", tmp_path)
    assert done.returncode == 0 and "database: complete" in done.stdout, done
    for step in ("0.01", "0.02"):
        (corpus / f"segment_labels/eval_seglab_{step}.npy").unlink()
    (corpus / "train/con_wav/CON_T_0000003.wav").unlink()
    done = in_process.call(download.main, "download.py", "--check-only", "partialspoof", tmp_path)
    assert done.returncode == 1, done
    assert "it lacks 1 of 24 files in train/con_wav, segment_labels/eval_seglab_0.01.npy" in done.stdout
