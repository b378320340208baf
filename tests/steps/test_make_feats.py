"""The feature stage: whole or not at all, resumed, its inputs and conf remembered, bad utterances named."""

import os
import subprocess
import sys
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile
import yaml

from steps import compute_feats, merge_feats
from steps.frontend import load_conf, make_frontend
from steps.frontend.processing.audio import Command, read_waveform
from steps.frontend.processing.made_from import replaced, stamp_line
from tests.in_process import call
from utils.cli import UserError
from utils.segments import Stretch


@pytest.fixture()
def data(tmp_path, waveform_maker):
    """Eight utterances of different length."""
    folder = tmp_path / "data"
    folder.mkdir()
    lines = []
    for i in range(8):
        path = tmp_path / f"utt{i}.flac"
        soundfile.write(path, waveform_maker(3000 + 2000 * i, seed=i), 16000, subtype="PCM_16")
        lines.append(f"utt{i} {path}\n")
    (folder / "wav.scp").write_text("".join(lines))
    return folder


def make_feats(root, data, feats, *options):
    return subprocess.run(
        [str(root / "steps/make_feats.sh"), "--nj", "3", "--cmd", str(root / "utils/run.sh"), "--frontend",
         str(root / "conf/frontend/f0_subband.yaml"), *options, str(data), str(feats)],
        capture_output=True, text=True, env={**os.environ, "FSD_PYTHON": sys.executable},
    )  # fmt: skip


def make_feats_here(root, data, feats, jobs=1):
    """As make_feats.sh does, without its processes; what was said. Parts that are there are kept."""
    conf, wav_scp = ("--frontend", root / "conf/frontend/f0_subband.yaml"), data / "wav.scp"
    done = call(merge_feats.main, "merge_feats.py", "check", *conf, "--nj", jobs, wav_scp, feats)
    if done.returncode == 0:
        for job in range(1, jobs + 1):
            prefix = feats / f"parts/{jobs}/feats.{job}"
            if not prefix.with_name(f"feats.{job}.utt2num_frames").exists():
                computed = call(
                    compute_feats.main, "compute_feats.py", *conf, "--part", f"{job}/{jobs}", wav_scp, prefix
                )
                assert computed.returncode == 0, computed.stderr
        merged = call(merge_feats.main, "merge_feats.py", "merge", *conf, "--nj", jobs, wav_scp, feats)
        assert merged.returncode == 0, merged.stderr
    return done


def test_features_are_what_the_front_end_computes(root, data, tmp_path):
    feats = tmp_path / "feats"
    done = make_feats(root, data, feats)
    assert done.returncode == 0, done.stderr
    frontend = make_frontend(load_conf(root / "conf/frontend/f0_subband.yaml"))
    matrices = kaldiio.load_scp(str(feats / "feats.scp"))
    assert list(matrices) == [f"utt{i}" for i in range(8)]
    frames = dict(line.split() for line in (feats / "utt2num_frames").read_text().splitlines())
    for utt, matrix in matrices.items():
        expected = frontend.compute(read_waveform(utt, tmp_path / f"{utt}.flac", 16000))
        np.testing.assert_array_equal(matrix, expected)
        assert int(frames[utt]) == len(expected)
    for name in ("utt2bands", "parts/3/feats.*.utt2bands"):
        lines = [line for path in sorted(feats.glob(name)) for line in path.read_text().splitlines()]
        assert [line.split()[0] for line in lines] == list(matrices)
        for utt, *levels in map(str.split, lines):
            standard = frontend.standardised(read_waveform(utt, tmp_path / f"{utt}.flac", 16000))
            assert len(levels) == len(frontend.bands) > 0
            np.testing.assert_allclose(np.array(levels, float), frontend.levels(standard), atol=0.06)  # one decimal
    assert yaml.safe_load((feats / "conf.yaml").read_text())["frontend"]["hop_length"] == 130
    again = make_feats(root, data, feats)
    assert again.returncode == 0 and "nothing to do" in again.stdout


@pytest.mark.parametrize("compress, tolerance", [("16bit", 1e-3), ("8bit", 0.5)])
def test_compressed_arks_are_close_and_smaller(root, data, tmp_path, compress, tolerance):
    plain, small = tmp_path / "plain", tmp_path / "small"
    assert make_feats(root, data, plain).returncode == 0
    assert make_feats(root, data, small, "--set", f"frontend.compress={compress}").returncode == 0
    one, two = kaldiio.load_scp(str(plain / "feats.scp")), kaldiio.load_scp(str(small / "feats.scp"))
    assert max(float(np.abs(one[utt] - two[utt]).max()) for utt in one) < tolerance
    size = [sum(p.stat().st_size for p in f.rglob("*.ark")) for f in (plain, small)]
    assert size[1] < 0.55 * size[0]


def test_a_changed_conf_or_list_is_noticed(root, data, tmp_path):
    feats = tmp_path / "feats"
    assert make_feats(root, data, feats).returncode == 0
    done = make_feats(root, data, feats, "--set", "frontend.hop_length=160")
    assert done.returncode == 1 and "hop_length: 130 -> 160" in done.stderr
    # how a reader fixes the length is not part of the dump
    assert make_feats(root, data, feats, "--set", "frontend.network_input.frames=400").returncode == 0
    lines = (data / "wav.scp").read_text().splitlines(keepends=True)
    (data / "wav.scp").write_text("".join(lines[:-1]))
    done = make_feats(root, data, feats)
    assert done.returncode == 1
    assert "made otherwise (another wav.scp); choose another --feats-dir, or remove that folder\n" in done.stderr


def test_a_folder_that_was_moved_is_not_taken_for_whole(root, data, tmp_path):
    assert make_feats(root, data, tmp_path / "feats").returncode == 0
    (tmp_path / "feats").rename(tmp_path / "moved")
    done = make_feats(root, data, tmp_path / "moved")
    assert done.returncode == 1 and "the folder was moved or copied" in done.stderr
    (tmp_path / "moved").rename(tmp_path / "feats")
    assert "nothing to do" in make_feats(root, data, tmp_path / "feats").stdout


def test_bad_utterances_are_all_named_and_mended_or_skipped(root, data, tmp_path):
    feats = tmp_path / "feats"
    good = (tmp_path / "utt2.flac").read_bytes()
    (tmp_path / "utt2.flac").write_bytes(b"")
    soundfile.write(tmp_path / "utt5.flac", np.zeros(800), 8000)
    done = make_feats(root, data, feats)
    assert done.returncode == 1 and "2 of 8 utterances" in done.stderr
    assert f"utt2 ({tmp_path}/utt2.flac)" in done.stderr and "8000 Hz" in done.stderr
    assert not (feats / "feats.scp").exists()
    (tmp_path / "utt2.flac").write_bytes(good)
    done = make_feats(root, data, feats, "--skip-bad", "true")
    assert done.returncode == 0, done.stderr
    assert (feats / "skipped").read_text().split()[0] == "utt5"
    assert len((feats / "feats.scp").read_text().splitlines()) == 7
    (tmp_path / "utt5.flac").write_bytes(good)
    for ark in feats.glob("parts/3/*.ark"):
        ark.unlink()
    done = make_feats(root, data, feats, "--skip-bad", "true")
    assert done.returncode == 0, done.stderr
    assert len((feats / "feats.scp").read_text().splitlines()) == 8 and not (feats / "skipped").exists()


@pytest.mark.parametrize("lost", ["utt2num_frames", "utt2bands"])
def test_parts_that_are_whole_are_kept(root, data, tmp_path, lost):
    feats = tmp_path / "feats"
    assert make_feats(root, data, feats).returncode == 0
    (feats / "feats.scp").unlink()
    (feats / f"parts/3/feats.2.{lost}").unlink()
    before = {n: (feats / f"parts/3/feats.{n}.ark").stat().st_mtime_ns for n in (1, 2, 3)}
    assert make_feats(root, data, feats).returncode == 0
    after = {n: (feats / f"parts/3/feats.{n}.ark").stat().st_mtime_ns for n in (1, 2, 3)}
    assert [n for n in before if before[n] != after[n]] == [2]


def test_replaced_audio_is_noticed(root, data, tmp_path, waveform_maker):
    """And only the parts that have it are made again; what was moved away meanwhile is not."""
    feats = tmp_path / "feats"
    assert make_feats_here(root, data, feats, 3).returncode == 0
    arks = [feats / f"parts/3/feats.{n}.ark" for n in (1, 2, 3)]
    before = [ark.stat().st_mtime_ns for ark in arks]
    (tmp_path / "utt0.flac").rename(tmp_path / "moved.flac")
    assert make_feats_here(root, data, feats, 3).returncode == merge_feats.ALREADY_WHOLE
    (tmp_path / "moved.flac").rename(tmp_path / "utt0.flac")
    soundfile.write(tmp_path / "utt4.flac", waveform_maker(9000, seed=99), 16000, subtype="PCM_16")
    done = make_feats_here(root, data, feats, 3)
    assert done.returncode == 0 and "feats.2.ark: 1 of its audio files were replaced" in done.stderr
    assert f"first: {tmp_path}/utt4.flac: " in done.stderr
    assert [ark.stat().st_mtime_ns != was for ark, was in zip(arks, before)] == [False, True, False]
    matrices = kaldiio.load_scp(str(feats / "feats.scp"))
    frontend = make_frontend(load_conf(root / "conf/frontend/f0_subband.yaml"))
    assert len(matrices) == 8
    expected = frontend.compute(read_waveform("utt4", tmp_path / "utt4.flac", 16000))
    np.testing.assert_array_equal(matrices["utt4"], expected)
    assert make_feats_here(root, data, feats, 3).returncode == merge_feats.ALREADY_WHOLE


def test_what_features_were_made_from(tmp_path, monkeypatch):
    """Of a command, the files that it names; a missing file that is there now counts as another."""
    monkeypatch.chdir(tmp_path)
    Path("a.wav").write_bytes(b"abc")
    Path("b b.wav").write_bytes(b"de")
    table = tmp_path / "feats.1.utt2audio"
    table.write_text(
        "".join(
            f"{stamp_line(utt, audio)}\n"
            for utt, audio in (
                ("u1", "a.wav"), ("u2", Stretch("a.wav", 1.0)), ("u3", Command("cat 'b b.wav' -")), ("u4", "none.wav"),
            )
        )
    )  # fmt: skip
    assert [line.split()[1] for line in table.read_text().splitlines()] == ["3", "3", "2", "-"]
    assert replaced(table) == []
    os.utime("b b.wav", ns=(0, 10**18))
    Path("none.wav").write_bytes(b"")
    assert [one.partition(": ")[0] for one in replaced(table)] == ["cat 'b b.wav' - |", "none.wav"]
    table.write_text("u1 3 - a.wav\n")
    with pytest.raises(UserError, match="utt2audio: line 1: not UTT BYTES TIME PATH"):
        replaced(table)


def test_segments_are_cut_in_stage_1(root, data, tmp_path, waveform_maker):
    soundfile.write(tmp_path / "rec1.flac", waveform_maker(48000), 16000, subtype="PCM_16")
    whole = read_waveform("rec1", tmp_path / "rec1.flac", 16000)
    (data / "wav.scp").write_text(f"rec1 {tmp_path}/rec1.flac\n")
    (data / "segments").write_text("a rec1 0 1\nb rec1 1 2.5\nc rec1 2.5 -1\n")
    feats = tmp_path / "feats"
    assert make_feats_here(root, data, feats, 2).returncode == 0
    frontend = make_frontend(load_conf(root / "conf/frontend/f0_subband.yaml"))
    matrices = kaldiio.load_scp(str(feats / "feats.scp"))
    assert list(matrices) == ["a", "b", "c"]
    for utt, cut in (("a", slice(0, 16000)), ("b", slice(16000, 40000)), ("c", slice(40000, None))):
        np.testing.assert_array_equal(matrices[utt], frontend.compute(whole[cut]))
    (data / "segments").write_text("a rec1 0 1\nb rec1 1 2.25\nc rec1 2.5 -1\n")
    done = make_feats_here(root, data, feats, 2)
    assert done.returncode == 1
    assert "made otherwise (another segments); choose another --feats-dir" in done.stderr


def test_lists_as_people_write_them(root, data, tmp_path):
    """A byte order mark, no last newline, blank lines at the end: every utterance has its features."""
    one, *others = (data / "wav.scp").read_bytes().splitlines(keepends=True)
    for content in (b"\xef\xbb\xbf" + one + b"".join(others), one + others[0].rstrip(), one + others[0] + b"\n \n"):
        (data / "wav.scp").write_bytes(content)
        feats = tmp_path / f"feats{len(content)}"
        assert make_feats_here(root, data, feats, 2).returncode == 0
        assert len((feats / "feats.scp").read_text().splitlines()) == len(content.split(b".flac")) - 1


def test_from_another_folder_without_a_job_runner_or_with_a_wrong_one(root, data, tmp_path):
    command = [root / "steps/make_feats.sh", "--nj", "1", "--frontend", root / "conf/frontend/f0_subband.yaml"]
    environment = {**os.environ, "FSD_PYTHON": sys.executable}
    for options, status in (((), 0), (("--cmd", "utils/run.sh"), 1)):
        done = subprocess.run(
            [*command, *options, data, tmp_path / "feats"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == status, done.stderr
    assert "--cmd utils/run.sh: no such job runner" in done.stderr


def test_more_jobs_than_utterances(root, data, tmp_path):
    done = make_feats(root, data, tmp_path / "feats", "--nj", "9")
    assert done.returncode == 1 and "more jobs than the 8 utterances" in done.stderr


def test_a_gpu_computes_batches_or_is_told_to_be_missing(root, data, tmp_path):
    torch = pytest.importorskip("torch")
    plain, batched = tmp_path / "plain", tmp_path / "batched"
    done = make_feats(root, data, batched, "--ngpu", "1")
    if not torch.cuda.is_available():
        assert done.returncode != 0 and "torch finds no CUDA GPU here" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert make_feats(root, data, plain).returncode == 0
    one, two = (kaldiio.load_scp(str(feats / "feats.scp")) for feats in (plain, batched))
    for utt in one:
        np.testing.assert_allclose(two[utt], one[utt], atol=1e-4)


def test_a_part_that_is_being_made_again_is_not_whole(root, data, tmp_path, monkeypatch):
    prefix = tmp_path / "parts/feats.1"
    command = ("compute_feats.py", "--frontend", root / "conf/frontend/f0_subband.yaml", data / "wav.scp", prefix)
    assert call(compute_feats.main, *command).returncode == 0
    mark = prefix.with_name("feats.1.utt2num_frames")
    assert mark.exists()

    def fails(*_):
        raise RuntimeError("killed")

    monkeypatch.setattr(compute_feats.ArkWriter, "write", fails)
    with pytest.raises(RuntimeError, match="killed"):
        call(compute_feats.main, *command)
    assert not mark.exists()
