"""utils/{validate,fix,subset,combine}_data*.sh and utils/data_dir.py beneath them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests import in_process
from utils.data_dir import PROGRAMS
from utils.files import read_map

UTT_TABLES = (
    "wav.scp",
    "utt2spk",
    "utt2label",
    "utt2attack",
    "utt2dur",
    "utt2num_frames",
    "feats.scp",
    "vad.scp",
    "text",
)


def make_data(folder: Path, utts: int = 60, speakers: int = 5, prefix: str = "U", seed: int = 0) -> Path:
    """A data directory whose ids do not follow the speakers."""
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    names = sorted(f"{prefix}_{n:04d}" for n in rng.sample(range(10000), utts))
    spk = {utt: f"S{rng.randrange(speakers)}" for utt in names}
    spk.update(zip(names, (f"S{n}" for n in range(speakers))))  # each speaker has some
    spoof = {utt: rng.random() < 0.7 for utt in names}
    values = {
        "wav.scp": lambda utt: f"/corpus/{utt}.flac",
        "utt2spk": lambda utt: spk[utt],
        "utt2label": lambda utt: "spoof" if spoof[utt] else "bonafide",
        "utt2attack": lambda utt: "A07" if spoof[utt] else "-",
        "utt2env": lambda utt: "abc",
        "utt2dur": lambda utt: str(1 + len(utt) + names.index(utt) % 7 / 4),
        "utt2num_frames": lambda utt: str(100 + names.index(utt) * 7 % 31),
        "feats.scp": lambda utt: f"/feats/a.ark:{names.index(utt) * 10}",
        "vad.scp": lambda utt: f"/feats/v.ark:{names.index(utt) * 10}",
        "utt2uniq": lambda utt: utt,
        "text": lambda utt: "two words",
    }
    for name, value in values.items():
        (folder / name).write_text("".join(f"{utt} {value(utt)}\n" for utt in names))
    own = {speaker: [utt for utt in names if spk[utt] == speaker] for speaker in sorted(set(spk.values()))}
    (folder / "spk2utt").write_text("".join(f"{speaker} {' '.join(utts)}\n" for speaker, utts in own.items()))
    (folder / "spk2gender").write_text("".join(f"{speaker} f\n" for speaker in own))
    (folder / "corpus.json").write_text(json.dumps({"name": "mini corpus", "recipe": "la"}))
    return folder


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / "train")


@pytest.fixture
def call():
    return lambda program, *args: in_process.call(PROGRAMS[program], program, *args)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def change(path: Path, number: int, text: str | None) -> None:
    content = lines(path)
    content[number - 1 : number] = [] if text is None else [text]
    path.write_text("".join(line + "\n" for line in content))


@pytest.mark.parametrize("program", PROGRAMS)
def test_usage(call, program, tmp_path):
    done = call(program)
    assert done.returncode != 0 and done.stderr.startswith(f"{program}: error:")
    done = call(program, "--help")
    assert done.returncode == 0 and "example:" in done.stdout and f"usage: {program}" in done.stdout
    nowhere, target = tmp_path / "nowhere", tmp_path / "target"
    args = {
        "subset_data_dir.sh": [nowhere, 3, target],
        "combine_data.sh": [target, nowhere],
    }
    done = call(program, *args.get(program, [nowhere]))
    assert done.returncode == 1 and "no such data directory" in done.stderr and not list(tmp_path.iterdir())


def test_runs_from_any_folder_without_path_sh(root, data, tmp_path):
    bare = {"PATH": "/usr/bin:/bin", "FSD_PYTHON": sys.executable}
    link = tmp_path / "link"
    link.symlink_to(root / "utils")

    def run(program: str, *args: object) -> subprocess.CompletedProcess:
        return subprocess.run([link / program, *args], cwd=tmp_path, env=bare, capture_output=True, text=True)

    assert run("fix_data_dir.sh", "train").returncode == 0
    assert run("validate_data_dir.sh", "--no-spk-sort", "train").stdout == "validate_data_dir.sh: train is valid\n"
    assert run("subset_data_dir.sh", "--first", "train", "3", "a few").returncode == 0
    assert run("combine_data.sh", "all", "train", "a few").returncode == 0
    done = run("validate_data_dir.sh", "--no-spk-sort", "nowhere")
    assert done.returncode == 1 and done.stderr == "validate_data_dir.sh: error: nowhere: no such data directory\n"


# --- validate


def test_valid(call, data):
    assert call("validate_data_dir.sh", "--no-spk-sort", data).returncode == 0
    done = call("validate_data_dir.sh", data)
    assert done.returncode == 1 and "not in order of their speakers" in done.stderr
    allowed = []
    for name in ("text", "feats.scp", "wav.scp"):
        (data / name).unlink()
        done = call("validate_data_dir.sh", "--no-spk-sort", *allowed, data)
        allowed.append(f"--no-{name.split('.')[0]}")
        assert done.returncode == 1 and f"{name}: no such file" in done.stderr and allowed[-1] in done.stderr
        assert call("validate_data_dir.sh", "--no-spk-sort", *allowed, data).returncode == 0
        assert (
            call("validate_data_dir.sh", "--no-text", "--no-feats", "--no-wav", "--no-spk-sort", data).returncode == 0
        )


def test_options_may_stand_anywhere_and_non_print(call, data):
    change(data / "text", 3, lines(data / "text")[2] + " \x07")
    done = call("validate_data_dir.sh", data, "--no-spk-sort")
    assert done.returncode == 1 and "text: line 3" in done.stderr and "--non-print" in done.stderr
    assert call("validate_data_dir.sh", "--non-print", data, "--no-spk-sort").returncode == 0
    change(data / "text", 3, lines(data / "text")[2].split()[0])  # nothing was said: allowed
    assert call("validate_data_dir.sh", data, "--no-spk-sort").returncode == 0


@pytest.mark.parametrize(
    ("name", "number", "value", "message"),
    [
        ("utt2dur", 4, "0", "is not a number of seconds above 0"),
        ("utt2dur", 4, "nan", "is not a number of seconds above 0"),
        ("utt2num_frames", 2, "3.5", "is not a whole number of frames"),
        ("utt2label", 7, "genuine", "is neither bonafide nor spoof"),
        ("utt2spk", 5, "S1 S2", "is not one speaker"),
        ("wav.scp", 5, "~/a.wav", "begins with ~"),
        ("utt2label", 1, "", "where `KEY VALUE` is expected"),
    ],
)
def test_bad_value(call, data, name, number, value, message):
    utt = lines(data / name)[number - 1].split()[0]
    change(data / name, number, f"{utt} {value}")
    done = call("validate_data_dir.sh", "--no-spk-sort", data)
    assert done.returncode == 1 and f"{data / name}: line {number}" in done.stderr and utt in done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr


def test_label_and_attack_go_together(call, data):
    number, utt = next(
        (n, line.split()[0]) for n, line in enumerate(lines(data / "utt2label"), 1) if "bonafide" in line
    )
    change(data / "utt2attack", number, f"{utt} A07")
    done = call("validate_data_dir.sh", "--no-spk-sort", data)
    assert done.returncode == 1 and f"utt2attack: line {number}: {utt}" in done.stderr


@pytest.mark.parametrize("name", [*UTT_TABLES, "utt2env", "utt2uniq"])
def test_each_table_by_utterance_is_checked(call, data, name):
    content = lines(data / name)

    def message(new: list[str], end: str = "\n") -> str:
        (data / name).write_text("\n".join(new) + end)
        done = call("validate_data_dir.sh", "--no-spk-sort", data)
        assert done.returncode == 1 and name in done.stderr and "Traceback" not in done.stderr
        return done.stderr

    assert "not in the C locale's order" in message([content[1], content[0], *content[2:]])
    assert "stands there twice" in message([content[0], *content])
    assert "is empty" in message([], end="")
    assert "no newline" in message(content, end="")
    if name != "utt2spk":
        assert content[3].split()[0] in message(content[:3] + content[4:])


@pytest.mark.parametrize("name", [*UTT_TABLES, "spk2utt"])
def test_the_form_of_a_table_is_checked_and_fixed_without_losing_an_utterance(call, data, name):
    """Byte order marks, line ends of Windows, blank lines at the end, no last newline."""
    good = (data / name).read_bytes()
    head, tail = good.split(b"\n", 1)
    for bad, message in (
        (b"\xef\xbb\xbf" + good, "line 1: it begins with a byte order mark"),
        (head + b"\n\xef\xbb\xbf" + tail, "line 2: it begins with a byte order mark"),
        (good.replace(b"\n", b"\r\n"), "line 1: its end is that of Windows"),
        (good + b"\n \n", f"line {good.count(10) + 1}: empty"),
        (good[:-1], "no newline"),
    ):
        (data / name).write_bytes(bad)
        done = call("validate_data_dir.sh", "--no-spk-sort", data)
        assert done.returncode == 1 and f"{data / name}: " in done.stderr and message in done.stderr
        done = call("subset_data_dir.sh", "--first", data, 60, data.parent / "sub")
        assert done.returncode == 0, done.stderr
        assert (data.parent / "sub" / name).read_bytes() == good
        done = call("fix_data_dir.sh", data)
        assert done.returncode == 0 and "kept all 60 of 60" in done.stdout and (data / name).read_bytes() == good
    (data / name).write_bytes(head + b"\n\n" + tail)
    for command in (("validate_data_dir.sh", "--no-spk-sort", data), ("fix_data_dir.sh", data)):
        if name == "spk2utt" and command[0] == "fix_data_dir.sh":
            continue  # which does not read it but makes it anew
        done = call(*command)
        assert done.returncode == 1 and f"{data / name}: line 2: empty" in done.stderr
    assert (data / name).read_bytes() == head + b"\n\n" + tail


def test_spk2utt_must_match(call, data):
    change(data / "spk2utt", 2, lines(data / "spk2utt")[1].rsplit(" ", 1)[0])
    done = call("validate_data_dir.sh", "--no-spk-sort", data)
    assert done.returncode == 1 and "spk2utt: line 2: S1" in done.stderr
    change(data / "spk2utt", 2, None)
    done = call("validate_data_dir.sh", "--no-spk-sort", data)
    assert done.returncode == 1 and "1 of the speakers of utt2spk are not in it (first: S1)" in done.stderr


def test_not_utf8(call, data):
    (data / "text").write_bytes((data / "text").read_bytes().replace(b"two words", b"zw\xf6lf", 1))
    done = call("validate_data_dir.sh", "--no-spk-sort", data)
    assert done.returncode == 1 and "text: line 1: not UTF-8" in done.stderr


# --- fix


def test_fix_sorts_and_filters_everything(call, data):
    good = {path.name: path.read_text() for path in data.iterdir()}
    utts = sorted(read_map(data / "utt2spk"))
    for name in UTT_TABLES:
        content = lines(data / name)
        random.Random(name).shuffle(content)
        (data / name).write_text("".join(line + "\n" for line in content + content[:3]))
    (data / "spk2utt").unlink()
    done = call("fix_data_dir.sh", data)
    assert done.returncode == 0 and "kept all 60 of 60" in done.stdout
    assert {path.name: path.read_text() for path in data.iterdir() if path.is_file()} == good

    (data / "feats.scp").write_text("".join(line + "\n" for line in lines(data / "feats.scp")[5:]))
    change(data / "utt2label", 60, None)
    change(data / "spk2gender", 1, "S9 f")
    old = (data / "utt2spk").read_text()
    done = call("fix_data_dir.sh", data)
    assert done.returncode == 0 and "kept 54 of 60" in done.stdout
    assert f"feats.scp lacks 5 (such as {utts[0]})" in done.stderr and "utt2label lacks 1" in done.stderr
    for name in (*UTT_TABLES, "utt2env", "utt2uniq"):
        assert list(read_map(data / name)) == utts[5:59]
    assert (data / ".backup/utt2spk").read_text() == old
    assert "S9" not in read_map(data / "spk2gender")


def test_fix_twice_changes_nothing(call, data):
    change(data / "wav.scp", 3, None)
    assert call("fix_data_dir.sh", data).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in data.iterdir()}
    assert call("fix_data_dir.sh", data).returncode == 0
    assert before == {path: path.stat().st_mtime_ns for path in data.iterdir()}


def test_fix_names_conflicting_lines_and_refuses_to_leave_nothing(call, data):
    utt = lines(data / "utt2label")[0].split()[0]
    with (data / "utt2attack").open("a") as handle:
        handle.write(f"{utt} A19\n")
    done = call("fix_data_dir.sh", data)
    assert done.returncode == 0 and f"line 61: {utt}" in done.stderr and read_map(data / "utt2attack")[utt] != "A19"
    (data / "feats.scp").write_text("other 1\n")
    before = {path: path.read_bytes() for path in data.iterdir() if path.is_file()}
    done = call("fix_data_dir.sh", data)
    assert done.returncode == 1 and "nothing was changed" in done.stderr and "feats.scp lacks 60" in done.stderr
    assert before == {path: path.read_bytes() for path in data.iterdir() if path.is_file()}


def test_segments(call, tmp_path):
    data = tmp_path / "seg"
    data.mkdir()
    utts = [f"rec{n // 2}-{n % 2}" for n in range(6)]
    (data / "segments").write_text("".join(f"{utt} {utt[:4]} {n % 2}.0 {n % 2}.9\n" for n, utt in enumerate(utts)))
    (data / "wav.scp").write_text("".join(f"rec{n} /a/{n}.wav\n" for n in range(3)))
    (data / "reco2dur").write_text("".join(f"rec{n} 2.0\n" for n in range(3)))
    (data / "utt2spk").write_text("".join(f"{utt} {utt[:4]}\n" for utt in utts))
    assert call("fix_data_dir.sh", data).returncode == 0
    assert call("validate_data_dir.sh", "--no-text", "--no-feats", data).returncode == 0
    (tmp_path / "list").write_text("rec1-0\n")
    assert call("subset_data_dir.sh", "--utt-list", tmp_path / "list", data, tmp_path / "sub").returncode == 0
    assert lines(tmp_path / "sub/wav.scp") == ["rec1 /a/1.wav"] and lines(tmp_path / "sub/reco2dur") == ["rec1 2.0"]
    assert call("validate_data_dir.sh", "--no-text", "--no-feats", tmp_path / "sub").returncode == 0
    change(data / "wav.scp", 2, None)
    assert call("fix_data_dir.sh", data).returncode == 0
    assert list(read_map(data / "utt2spk")) == [utt for utt in utts if not utt.startswith("rec1")]
    assert list(read_map(data / "reco2dur")) == ["rec0", "rec2"]
    change(data / "segments", 1, "rec0-0 rec0 1.0 0.5")
    done = call("validate_data_dir.sh", "--no-text", "--no-feats", data)
    assert done.returncode == 1 and "ends before it begins" in done.stderr


def test_lengths_and_channels_go_with_the_segments(call, tmp_path):
    data = tmp_path / "seg"
    data.mkdir()
    (data / "segments").write_text("rec0-0 rec0 0.0 1.5\nrec0-1 rec0 1.5 -1\n")
    (data / "wav.scp").write_text("rec0 /a/0.wav\n")
    (data / "reco2file_and_channel").write_text("rec0 call A\n")
    (data / "utt2dur").write_text("rec0-0 1.49\nrec0-1 7\n")
    (data / "reco2dur").write_text("rec0 8.5\n")
    (data / "utt2spk").write_text("rec0-0 rec0-0\nrec0-1 rec0-1\n")
    (data / "spk2utt").write_text("rec0-0 rec0-0\nrec0-1 rec0-1\n")
    check = ("validate_data_dir.sh", "--no-text", "--no-feats", data)
    assert call(*check).returncode == 0
    assert call("subset_data_dir.sh", "--first", data, 1, tmp_path / "sub").returncode == 0
    assert lines(tmp_path / "sub/utt2spk") == ["rec0-0 rec0-0"]
    assert lines(tmp_path / "sub/reco2file_and_channel") == ["rec0 call A"]
    change(data / "segments", 2, "rec0-1 rec0 1.5 2")
    (data / "utt2dur").write_text("rec0-0 8.5\nrec0-1 0.5\n")
    done = call(*check)
    assert done.returncode == 1 and "utt2dur: line 1: rec0-0: 8.5 s, where its segment has 1.5 s" in done.stderr
    change(data / "utt2dur", 1, "rec0-0 1.5")
    change(data / "reco2file_and_channel", 1, "rec0 call C")
    done = call(*check)
    assert done.returncode == 1 and "reco2file_and_channel: line 1: rec0: 'call C' is not" in done.stderr


# --- subset


def test_subset(call, data, tmp_path):
    utts = lines(data / "utt2spk")
    target = tmp_path / "sub"

    def chosen(*args: object) -> list[str]:
        done = call("subset_data_dir.sh", *args, target)
        assert done.returncode == 0, done.stderr
        assert call("validate_data_dir.sh", "--no-spk-sort", target).returncode == 0
        names = (*UTT_TABLES, "utt2env", "utt2uniq")
        assert len({tuple(read_map(target / name)) for name in names}) == 1
        return lines(target / "utt2spk")

    assert chosen("--first", data, 7) == utts[:7]
    assert json.loads((target / "corpus.json").read_text())["subset"] is True
    assert len(chosen(data, 7)) == 7
    assert chosen(data, 60) == utts and "subset" not in json.loads((target / "corpus.json").read_text())
    per_speaker = [line.split()[1] for line in chosen("--per-spk", data, 2)]
    assert sorted(per_speaker) == sorted(f"S{n}" for n in range(5) for _ in range(2))
    (tmp_path / "list").write_text("S1\nS3 more\n")
    assert chosen("--spk-list", tmp_path / "list", data) == [line for line in utts if line.split()[1] in ("S1", "S3")]
    (tmp_path / "list").write_text("\n".join(line.split()[0] for line in utts[10:13]) + "\nunknown\n")
    assert chosen("--utt-list", tmp_path / "list", data) == utts[10:13]


def test_a_subset_leaves_out_what_a_table_lacks_and_warns(call, data, tmp_path):
    utts = list(read_map(data / "utt2spk"))
    change(data / "utt2label", 1, None)
    done = call("subset_data_dir.sh", "--first", data, 7, tmp_path / "sub")
    assert done.returncode == 0 and f"utt2label lacks 1 (such as {utts[0]})" in done.stderr
    assert f"{tmp_path / 'sub'} has 6 of the 60 utterances" in done.stdout
    assert list(read_map(tmp_path / "sub/utt2spk")) == utts[1:7]


def test_subset_refuses(call, data, tmp_path):
    target = tmp_path / "sub"
    done = call("subset_data_dir.sh", "--first", data, 61, target)
    assert done.returncode == 1 and "61 utterances asked for, and it has 60" in done.stderr
    for args in (["--first", data, target], ["--first", data, "x", target], ["--first", "--per-spk", data, 3, target]):
        assert call("subset_data_dir.sh", *args).returncode == 2
    (tmp_path / "list").write_text("unknown\n")
    done = call("subset_data_dir.sh", "--utt-list", tmp_path / "list", data, target)
    assert done.returncode == 1 and "none of its 1 utterances" in done.stderr
    assert call("subset_data_dir.sh", data, 3, data).returncode == 1 and (data / "text").is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("precious")
    done = call("subset_data_dir.sh", data, 3, tmp_path / "mine")
    assert done.returncode == 1 and "is no data directory" in done.stderr and (tmp_path / "mine/thesis.tex").is_file()
    assert not target.exists() and not list(tmp_path.glob(".*"))


# --- combine


def test_combine(call, data, tmp_path):
    other = make_data(tmp_path / "dev", 20, 3, "D", 1)
    target = tmp_path / "both"
    done = call("combine_data.sh", target, data, other)
    assert done.returncode == 0, done.stderr
    assert call("validate_data_dir.sh", "--no-spk-sort", target).returncode == 0
    for name in (*UTT_TABLES, "utt2env", "utt2uniq"):
        assert lines(target / name) == sorted(lines(data / name) + lines(other / name))
    assert (target / "corpus.json").is_file()

    (other / "utt2env").unlink()
    (other / "utt2uniq").unlink()
    (other / "corpus.json").write_text('{"name": "another"}')
    done = call("combine_data.sh", target, data, other)  # the older one gives way
    assert done.returncode == 0 and f"utt2env is left out: it is not in {other}" in done.stderr
    assert not (target / "utt2env").exists() and len(read_map(target / "utt2uniq")) == 80
    assert json.loads((target / "corpus.json").read_text())["name"] == "mini corpus + another"


def test_combine_keeps_segments_and_channels(call, data, tmp_path):
    some = make_data(tmp_path / "some", 4, 2, "R")
    utts = list(read_map(some / "wav.scp"))
    (some / "wav.scp").write_text("rec /corpus/rec.flac\n")
    (some / "segments").write_text("".join(f"{utt} rec {n} {n + 1}\n" for n, utt in enumerate(utts)))
    for name in ("utt2dur", "utt2num_frames", "feats.scp", "vad.scp"):
        (some / name).unlink()
    target = tmp_path / "both"
    done = call("combine_data.sh", target, some, data)
    assert done.returncode == 0 and "segments is left out" not in done.stderr, done.stderr
    whole = [f"{utt} {utt} 0 -1" for utt in read_map(data / "wav.scp")]
    assert lines(target / "segments") == sorted(lines(some / "segments") + whole)
    assert lines(target / "wav.scp") == sorted(lines(some / "wav.scp") + lines(data / "wav.scp"))
    assert len(lines(target / "utt2spk")) == len(lines(data / "utt2spk")) + 4
    assert call("validate_data_dir.sh", "--no-feats", "--no-spk-sort", target).returncode == 0

    (some / "reco2file_and_channel").write_text("rec rec B\n")
    done = call("combine_data.sh", tmp_path / "sides", some, data)
    assert done.returncode == 1 and not (tmp_path / "sides").exists()
    assert f"{data}: no reco2file_and_channel, which {some} has; write it" in done.stderr


def test_combine_names_the_utterance_in_conflict(call, data, tmp_path):
    other = make_data(tmp_path / "again")
    utt = lines(data / "wav.scp")[0].split()[0]
    change(other / "wav.scp", 1, f"{utt} /elsewhere.flac")
    done = call("combine_data.sh", tmp_path / "both", data, other)
    assert done.returncode == 1 and utt in done.stderr and "/elsewhere.flac" in done.stderr
    assert not (tmp_path / "both").exists() and not list(tmp_path.glob(".*"))
    change(other / "wav.scp", 1, lines(data / "wav.scp")[0])
    assert call("combine_data.sh", tmp_path / "both", data, other).returncode == 0
    assert lines(tmp_path / "both/wav.scp") == lines(data / "wav.scp")
