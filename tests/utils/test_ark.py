"""utils/ark.py: Kaldi matrices written and read; kaldiio reads the same."""

from __future__ import annotations

import pickle

import kaldiio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.ark import ArkWriter, ScpReader, is_whole, read_matrix, write_matrix
from utils.cli import UserError
from utils.files import read_map


def matrices(n: int = 5, bins: int = 45) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {f"utt{i}": (rng.standard_normal((20 + 13 * i, bins)) * 5 - 20).astype(np.float32) for i in range(n)}


def write(prefix, items, compress="none"):
    with ArkWriter(prefix, compress) as writer:
        for utt, matrix in items.items():
            writer.write(utt, matrix)


@pytest.mark.parametrize(("compress", "tolerance"), [("none", 0.0), ("16bit", 1e-3), ("8bit", 0.25)])
def test_round_trip(tmp_path, compress, tolerance):
    items = matrices()
    write(tmp_path / "deep/feats.1", items, compress)
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == [
        "feats.1.ark",
        "feats.1.ark.crc32",
        "feats.1.scp",
    ]
    reader = ScpReader(tmp_path / "deep/feats.1.scp")
    by_kaldiio = kaldiio.load_scp(str(tmp_path / "deep/feats.1.scp"))
    assert list(reader.places) == list(items) and "utt3" in reader and "utt9" not in reader
    for utt in reversed(items):
        matrix = reader.read(utt)
        assert matrix.dtype == np.float32 and matrix.shape == items[utt].shape
        np.testing.assert_array_equal(matrix, by_kaldiio[utt])
        np.testing.assert_allclose(matrix, items[utt], atol=tolerance, rtol=0)
    # and from beginning to end, without the scp
    assert [utt for utt, _ in kaldiio.load_ark(str(tmp_path / "deep/feats.1.ark"))] == list(items)


def test_smaller_when_compressed(tmp_path):
    sizes = []
    for compress in ("none", "16bit", "8bit"):
        write(tmp_path / compress, matrices(bins=400), compress)
        sizes.append((tmp_path / f"{compress}.ark").stat().st_size)
    assert sizes[0] > 1.9 * sizes[1] and sizes[1] > 1.6 * sizes[2]
    with pytest.raises(KeyError):
        ArkWriter(tmp_path / "x", "4bit")


@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(1, 40),
    bins=st.integers(1, 30),
    kind=st.sampled_from(["none", "8bit", "16bit"]),
    seed=st.integers(0, 9),
)
def test_any_shape(tmp_path_factory, frames, bins, kind, seed):
    folder = tmp_path_factory.mktemp("ark")
    matrix = np.random.default_rng(seed).uniform(-1, 1, (frames, bins)).astype(np.float32)
    write(folder / "f", {"a": matrix, "b": matrix * 0}, kind)
    reader = ScpReader(folder / "f.scp")
    np.testing.assert_allclose(reader.read("a"), matrix, atol={"none": 0, "16bit": 1e-4, "8bit": 0.05}[kind])
    np.testing.assert_allclose(reader.read("b"), 0, atol=1e-6)


def test_views_and_other_types(tmp_path):
    matrix = np.arange(24, dtype=np.float64).reshape(4, 6)
    write(tmp_path / "f", {"turned": matrix.T, "every_other": matrix[:, ::2]})
    reader = ScpReader(tmp_path / "f.scp")
    np.testing.assert_array_equal(reader.read("turned"), matrix.T)
    np.testing.assert_array_equal(reader.read("every_other"), matrix[:, ::2])


def test_nothing_is_left_when_an_exception_occurs(tmp_path):
    with pytest.raises(ZeroDivisionError), ArkWriter(tmp_path / "f") as writer:
        writer.write("a", np.ones((3, 2)))
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_an_older_ark_stays_until_the_new_one_is_whole(tmp_path):
    write(tmp_path / "f", {"a": np.ones((3, 2))})
    with pytest.raises(ZeroDivisionError), ArkWriter(tmp_path / "f") as writer:
        writer.write("a", np.zeros((3, 2)))
        raise ZeroDivisionError
    assert ScpReader(tmp_path / "f.scp").read("a").sum() == 6


def test_damaged_ark_is_named(tmp_path):
    write(tmp_path / "f", matrices(2))
    ark = tmp_path / "f.ark"
    content = ark.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"garbage " * 10):
        ark.write_bytes(damaged)
        with pytest.raises(UserError) as error:
            ScpReader(tmp_path / "f.scp").read("utt1")
        assert "utt1" in str(error.value) and "f.ark" in str(error.value) and "--stage 1" in str(error.value)
    ark.unlink()
    with pytest.raises(UserError, match="utt0"):
        ScpReader(tmp_path / "f.scp").read("utt0")


def test_any_byte_that_changed_is_noticed(tmp_path):
    items = {utt: matrix[:3, :2] for utt, matrix in matrices(3).items()}
    for compress in ("none", "8bit"):
        write(tmp_path / "f", items, compress)
        ark, content = tmp_path / "f.ark", (tmp_path / "f.ark").read_bytes()
        whole = {utt: ScpReader(tmp_path / "f.scp").read(utt) for utt in items}
        unnoticed = 0
        for place in range(len(content)):
            ark.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
            reader, errors = ScpReader(tmp_path / "f.scp"), []
            for utt, matrix in whole.items():
                try:
                    np.testing.assert_array_equal(reader.read(utt), matrix)
                except UserError as error:
                    errors.append(str(error))
            assert len(errors) <= 1 and all(f"{ark}: the features of utt" in text for text in errors)
            unnoticed += not errors
        assert unnoticed == sum(len(f"{utt} ") for utt in items)  # the keys between the matrices, which nobody reads


def test_an_ark_without_checksums_is_read_and_bad_checksums_are_named(tmp_path):
    items = matrices(2)
    write(tmp_path / "f", items)
    checksums = tmp_path / "f.ark.crc32"
    assert [line.split()[0] for line in checksums.read_text().splitlines()] == list(items)
    checksums.write_text(checksums.read_text().replace("utt1", "utt1 x"))
    with pytest.raises(UserError, match="f.ark.crc32: line 2"):
        ScpReader(tmp_path / "f.scp").read("utt0")
    checksums.write_text("utt0 1 2 garbage\n")
    with pytest.raises(UserError, match="f.ark.crc32: line 1: not UTT OFFSET LENGTH CRC32"):
        ScpReader(tmp_path / "f.scp").read("utt0")
    assert not is_whole(tmp_path / "f.ark")
    for number in (-1, 2**64):
        checksums.write_text(f"utt0 {number} 2 0\n")
        with pytest.raises(UserError, match="f.ark.crc32: line 1: not UTT OFFSET LENGTH CRC32"):
            ScpReader(tmp_path / "f.scp").read("utt0")
    checksums.unlink()
    assert is_whole(tmp_path / "f.ark")
    np.testing.assert_array_equal(ScpReader(tmp_path / "f.scp").read("utt1"), items["utt1"])


def test_checksums_in_any_order_are_found(tmp_path):
    items = matrices(5)
    write(tmp_path / "f", items)
    checksums = tmp_path / "f.ark.crc32"
    checksums.write_text("".join(sorted(checksums.read_text().splitlines(keepends=True), reverse=True)))
    reader = ScpReader(tmp_path / "f.scp")
    assert all(np.array_equal(reader.read(utt), matrix) for utt, matrix in items.items())
    ark = tmp_path / "f.ark"
    ark.write_bytes(ark.read_bytes()[:-1])
    with pytest.raises(UserError, match="the features of utt4 cannot be read .cut off"):
        ScpReader(ark.with_suffix(".scp")).read("utt4")


def test_whether_an_ark_is_whole_is_told_by_its_size(tmp_path):
    write(tmp_path / "f", matrices(40, bins=3))
    ark = tmp_path / "f.ark"
    assert is_whole(ark)
    content = ark.read_bytes()
    for wrong in (content[:-1], content + b"x", b""):
        ark.write_bytes(wrong)
        assert not is_whole(ark)
    ark.unlink()
    assert not is_whole(ark)


def test_checksums_that_were_cut_off_do_not_pass_an_ark(tmp_path):
    items = matrices(3)
    write(tmp_path / "f", items)
    checksums = tmp_path / "f.ark.crc32"
    lines = checksums.read_text().splitlines(keepends=True)
    for kept in (0, 2):
        checksums.write_text("".join(lines[:kept]))
        assert not is_whole(tmp_path / "f.ark")
        reader = ScpReader(tmp_path / "f.scp")
        for utt in list(items)[:kept]:
            np.testing.assert_array_equal(reader.read(utt), items[utt])
        with pytest.raises(UserError, match=r"features of utt2 cannot be read .*f.ark.crc32 has no checksum of it"):
            reader.read("utt2")


def test_a_damaged_matrix_is_noticed(tmp_path):
    write_matrix(tmp_path / "global_cmvn", np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(read_matrix(tmp_path / "global_cmvn"), np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(kaldiio.load_mat(str(tmp_path / "global_cmvn")), np.arange(6.0).reshape(2, 3))
    content = (tmp_path / "global_cmvn").read_bytes()
    for place in range(len(content)):
        (tmp_path / "global_cmvn").write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        with pytest.raises(UserError, match=r"global_cmvn: no Kaldi matrix \(damaged"):
            read_matrix(tmp_path / "global_cmvn")


def test_missing_utterance_and_bad_scp(tmp_path):
    write(tmp_path / "f", matrices(1))
    with pytest.raises(UserError, match="no features of other"):
        ScpReader(tmp_path / "f.scp").read("other")
    (tmp_path / "f.scp").write_text("utt0 /nowhere/f.ark\n")
    with pytest.raises(UserError, match="utt0: '/nowhere/f.ark' is not FILE:OFFSET"):
        ScpReader(tmp_path / "f.scp").read("utt0")
    (tmp_path / "f.scp").write_text(f"utt0 /nowhere/f.ark:{10**20}\n")
    with pytest.raises(UserError, match="utt0: '/nowhere/f.ark:1(0+)' is not FILE:OFFSET"):
        ScpReader(tmp_path / "f.scp").read("utt0")
    with pytest.raises(UserError, match="no such file"):
        ScpReader(tmp_path / "none.scp")


def test_few_arks_are_open_at_once_and_a_worker_opens_its_own(tmp_path):
    lines = []
    for part in range(8):
        write(tmp_path / f"f.{part}", {f"utt{part}": np.full((2, 2), part)})
        lines.append((tmp_path / f"f.{part}.scp").read_text())
    (tmp_path / "feats.scp").write_text("".join(lines))
    reader = ScpReader(tmp_path / "feats.scp", max_open=3)
    for part in [*range(8), *range(8)]:
        assert (reader.read(f"utt{part}") == part).all()
        assert len(reader._open) <= 3
    again = pickle.loads(pickle.dumps(reader))
    assert not again._open and (again.read("utt5") == 5).all()
    assert len(read_map(tmp_path / "feats.scp")) == 8
