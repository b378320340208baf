"""Every reader of the toolkit with right files for it, which the tests spoil. Run in this process, no case starts
another.

A target is run in an empty working folder where its files are. It may raise UserError, which then has to name the file;
any other exception is a traceback that a user would see, and fails the test. A program (`call`) says UserErrors itself.
"""

from __future__ import annotations

import copy
import functools
import gzip
import importlib.util
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

from steps.evaluation.evaluation import to_json
from tests.fuzz.mutations import PIECES, Content, Draws, change_tree, changes, spoilt, spoilt_json, spoilt_yaml
from tests.in_process import call
from tests.made_up_experiments import evaluation
from utils.cli import UserError

ROOT = Path(__file__).resolve().parents[2]
Spoil = Callable[[bytes, Draws], Content]  # of a right file


@dataclass(frozen=True)
class Target:
    """name: of the test; files: right ones, by their names within the working folder; run: reads them; cases: in CI;
    vary: which of the files are spoilt, one a case, all if empty; how: they are, by the ending of their names if None;
    writes: whether `run` may write within the folder; names_file: whether a UserError has to name the spoilt file or
    its folder, and not what does not fit it."""

    name: str
    files: Callable[[], dict[str, bytes]]
    run: Callable[[], object]
    cases: int
    vary: tuple[str, ...] = ()
    how: Spoil | None = None
    writes: bool = False
    names_file: bool = True


def text(*lines: str) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


def program(module: str, *argv: str) -> None:
    """Runs a program's main. Raises AssertionError unless it ends well or with a message."""
    done = call(importlib.import_module(module).main, module.rpartition(".")[2] + ".py", *argv)
    assert done.returncode in (0, 1, 2, 10) and "Traceback" not in done.stderr, done.stderr
    if done.returncode in (1, 2):
        assert "error: " in done.stderr, done
        raise UserError(done.stderr)


# --- protocols and score files ----------------------------------------------------------------------------------------

UTTS = [f"utt{i}" for i in range(1, 13)]
ATTACKS = ["-", "-", "-", "-", "A07", "A07", "A07", "A08", "A08", "A08", "A09", "A09"]
KEYS = ["bonafide" if attack == "-" else "spoof" for attack in ATTACKS]
SCORES = [2.5, 1.25, -0.5, 3.0, -1.0, -2.25, 0.5, -3.0, -1.5, 1.0, -0.25, -4.0]
TRIALS = list(zip(UTTS, ATTACKS, KEYS, SCORES))

CM = text(*(f"{utt} {attack} {key} {score}" for utt, attack, key, score in TRIALS))
CM_2 = text(*(f"{utt} {score}" for utt, _, _, score in TRIALS))
OTHER_LAYOUTS = {
    "SPK UTT ENV ATTACK KEY SCORE": text(*(f"S1 {utt} - {attack} {key} {score}" for utt, attack, key, score in TRIALS)),
    "SPK UTT SCORE KEY": text(*(f"S1 {utt} {score} {key}" for utt, _, key, score in TRIALS)),
    "output UTT LABEL SCORE": text(*(f"Output, {utt}, 0, {score}" for utt, _, _, score in TRIALS)),
    "UTT SCORE KEY": text(*(f"{utt} {score} {key}" for utt, _, key, score in TRIALS)),
    "CSV": text(
        ",filename,cm-score,key", *(f'{i},"{utt}",{score},{key}' for i, (utt, _, key, score) in enumerate(TRIALS))
    ),
}
ASV = text(
    *(f"- target {score}" for score in (3.5, 2.5, 1.5)),
    *(f"- nontarget {score}" for score in (-1.5, 0.5, -2.0)),
    *(f"{attack} spoof {score}" for attack, score in zip(ATTACKS[4:], (2.0, 1.0, -1.0, 0.0, 3.0, 1.25, -0.5, 0.25))),
)
LA = text(*(f"LA_{i // 3:04} {utt} - {attack} {key}" for i, (utt, attack, key, _) in enumerate(TRIALS)))
PA = text(
    *(
        f"PA_{i // 3:04} {utt} abc {attack.replace('A0', 'A').translate({55: 'A', 56: 'B', 57: 'C'})} {key}"
        for i, (utt, attack, key, _) in enumerate(TRIALS)
    )
)
LA_2021 = text(
    *(
        f"LA_{i} {utt} alaw ita_tx {attack.replace('-', 'bonafide')} {key} notrim {'progress' if i == 3 else 'eval'}"
        for i, (utt, attack, key, _) in enumerate(TRIALS)
    )
)
PA_2021 = text(
    *(
        f"PA_{i} {utt} R1 M1 D1 r1 m1 s{attack[-1]} c3 {key} notrim eval"
        for i, (utt, attack, key, _) in enumerate(TRIALS)
    )
)
DF_2021 = text(
    *(
        f"LA_{i} {utt} nocodec asvspoof {attack} {key} notrim eval neural_vocoder - - - -"
        for i, (utt, attack, key, _) in enumerate(TRIALS)
    )
)
ASVSPOOF5 = text(*(f"E_{i} {utt} F - - - AC1 {attack.replace('-', 'bonafide')} {key} -" for i, (utt, attack, key, _) in enumerate(TRIALS)))  # fmt: skip


def local_protocol(recipe: str) -> None:
    from local.corpora.asvspoof2019 import read_protocol

    for trial in read_protocol(Path(f"{recipe}.txt"), recipe).trials:
        assert not {"/", "\n", " "} & set(trial.utt + trial.speaker)  # they become names of files and keys of tables


OWN = text(
    "path,label,attack,speaker,split,codec",
    *(f"d {i}/{utt}.wav,{key},{attack},s {i},{('train', 'dev')[i % 2]},mp3" for i, (utt, attack, key, _) in enumerate(TRIALS)),
)  # fmt: skip
KEY_FILES = {
    "asvspoof2021-la": LA_2021,
    "asvspoof2021-df": DF_2021,
    "asvspoof2021-pa": PA_2021,
    "asvspoof5": ASVSPOOF5,
    "own": OWN,
}


def keys_of(name: str) -> str:
    """Where the corpus has its key file."""
    if name.startswith("asvspoof2021"):
        return f"keys/{name[-2:].upper()}/CM/trial_metadata.txt"
    return "list.csv" if name == "own" else "ASVspoof5.eval.track_1.tsv"


def corpus_keys(name: str) -> None:
    """What a corpus's module reads is fit for Kaldi's tables and for names of files."""
    from local.corpora.base import known_corpora

    corpus = known_corpora()[name]
    root = Path("list.csv") if corpus.is_list else Path()
    for subset in corpus.sets(root) if corpus.is_list else ["eval"]:
        for trial in corpus.read(root, subset).trials:
            assert not set("/\n\t ") & set(trial.utt) and trial.label in ("bonafide", "spoof")
            for word in (trial.speaker, trial.attack, *trial.conditions):
                assert len(word.split()) == 1 and "\n" not in trial.audio + trial.original


def scoring_protocol(name: str) -> None:
    from steps.evaluation.protocols import read_protocol

    read_protocol(name)


def cm_scores() -> None:
    from steps.evaluation.score_files import read_cm_scores

    assert np.isfinite(read_cm_scores("cm.txt").score).all()


def cm_scores_by_protocol() -> None:
    from steps.evaluation.protocols import read_protocol
    from steps.evaluation.score_files import read_cm_scores

    read_cm_scores("cm.txt", read_protocol("protocol.txt"))


def cm_scores_by_columns() -> None:
    import argparse

    from steps.evaluation.protocols import read_protocol
    from steps.evaluation.score_files import read_cm_scores
    from steps.evaluation.score_layouts import columns_option

    if not Path("columns").is_file():  # it only stands for a command line
        return
    try:
        columns = columns_option(Path("columns").read_bytes().decode(errors="surrogateescape"))
    except argparse.ArgumentTypeError as error:
        raise UserError(f"columns: {error}") from None
    read_cm_scores("cm.txt", read_protocol("protocol.txt"), columns)


def asv_scores() -> None:
    from steps.evaluation.score_files import read_asv_scores

    assert np.isfinite(read_asv_scores("asv.txt").target).all()


def data_dir(prefix: str = "data/eval") -> dict[str, bytes]:
    """A data dir as local/prepare_data.py leaves it."""
    values = {
        "wav.scp": [f"/nowhere/{utt}.flac" for utt in UTTS],
        "utt2spk": UTTS,
        "utt2speaker": [f"spk{i // 3}" for i in range(len(UTTS))],
        "utt2label": KEYS,
        "utt2attack": ATTACKS,
        "utt2dur": [f"{1 + i / 4}" for i in range(len(UTTS))],
        "utt2env": ["abc"] * len(UTTS),
        "spk2utt": UTTS,
    }
    made = {
        f"{prefix}/{name}": text(*sorted(f"{utt} {value}" for utt, value in zip(UTTS, column)))
        for name, column in values.items()
    }
    return made | {f"{prefix}/corpus.json": json.dumps(CORPUS).encode()}


CORPUS: dict[str, Any] = {
    "name": "mini corpus", "version": "1", "size": "small", "seed": 2, "recipe": "LA", "subset": True, "attacks": {"A07": "by vocoder"},
    "added": [{"name": "VCTK", "utterances": 3}],
}  # fmt: skip


def evaluation_files() -> dict[str, bytes]:
    return data_dir() | {"cm.txt": CM, "asv.txt": ASV}


EVALUATION = (
    "cm.txt", "asv.txt", "data/eval/corpus.json", "data/eval/utt2label", "data/eval/utt2attack", "data/eval/utt2speaker", "data/eval/utt2dur",
)  # fmt: skip


def evaluate() -> None:
    program(
        "steps.evaluate", "--asv-scores", "asv.txt", "--allow-other-asv-trials", "--protocol", "data/eval", "--corpus-json", "data/eval/corpus.json",
        "--speakers", "data/eval/utt2speaker", "--durations", "data/eval/utt2dur", "--known-attacks", "data/eval/utt2attack", "--bootstrap", "3",
        "--no-plot", "--out", "results", "cm.txt",
    )  # fmt: skip


def evaluate_with_plot() -> None:
    program("steps.evaluate", "--bootstrap", "0", "--corpus-json", "corpus.json", "--out", "results", "cm.txt")


def calibrate() -> None:
    program("steps.calibrate", "--train", "dev.txt", "--data-dir", "data", "--out-dir", "calibrated", "dev.txt")


# --- audio ------------------------------------------------------------------------------------------------------------


@functools.cache
def audio(form: str, subtype: str = "PCM_16") -> bytes:
    out = io.BytesIO()
    wave = 0.3 * np.sin(np.arange(1600) / 7)
    soundfile.write(out, wave, 16000, format=form, subtype=subtype)
    return out.getvalue()


def audio_file(form: str, times: int = 1) -> dict[str, bytes]:
    subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(form, "PCM_16")
    return {"a": times * audio(form, subtype)}


def ffmpeg_file(form: str, codec: str) -> dict[str, bytes]:
    import av

    out = io.BytesIO()
    with av.open(out, "w", format=form) as container:
        stream = container.add_stream(codec, rate=16000, layout="mono")
        wave = (0.3 * np.sin(np.arange(4096) / 7)).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate = 16000
        for part in av.AudioResampler(stream.format, "mono", 16000, frame_size=stream.frame_size or None).resample(
            frame
        ):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return {"a": out.getvalue()}


def waveform(name: str) -> None:
    from steps.frontend.processing.audio import read_waveform

    assert np.isfinite(read_waveform("utt1", name, 16000, resample=True, channel=0)).all()


def recording(name: str) -> None:
    from utils.audio import open_recording, resampled

    with open_recording(name) as opened:
        for block in resampled(opened.blocks, opened.channels, opened.rate, 16000):
            assert block.ndim == 2


def wav_scp() -> None:
    """Each entry read, as the feature stage does; commands are refused."""
    from steps.frontend.processing.audio import read_wav_scp, read_waveform

    for utt, entry in read_wav_scp("wav.scp").items():
        try:
            read_waveform(utt, entry, 16000)
        except UserError as error:
            assert utt[:100] in str(error)  # a message shows the begin of a longer word


def segments() -> None:
    """Each segment of a data dir, of the channel that it has, and how long they are."""
    from steps.frontend.processing.audio import read_wav_scp, read_waveform
    from utils.segments import durations

    for utt, entry in read_wav_scp("data/wav.scp").items():
        try:
            read_waveform(utt, entry, 16000)
        except UserError as error:
            assert utt[:100] in str(error) and str(entry)[:100] in str(error)
    assert all(seconds > 0 for _, seconds in durations("data"))


def segments_files() -> dict[str, bytes]:
    return {
        "data/wav.scp": text("rec1 a.flac", "rec2 a.flac"), "a.flac": audio("FLAC"),
        "data/segments": text("rec1-1 rec1 0 0.05", "rec1-2 rec1 0.05 0.1", "rec2-1 rec2 0.01 0.09"),
        "data/reco2file_and_channel": text("rec1 call1 A", "rec2 call2 B"),
    }  # fmt: skip


def made_from() -> None:
    from steps.frontend.processing.made_from import replaced

    replaced(Path("feats.1.utt2audio"))


def levels() -> None:
    from steps.frontend import read_levels

    found = dict(read_levels(Path("utt2bands"), 3, UTTS, Path("feats.scp")))
    assert set(UTTS) <= set(found) and np.isfinite(list(found.values())).all()


def found_recordings() -> None:
    from steps.inference.inputs import find_recordings

    list(find_recordings(["data", "wav.scp", "."]))


# --- features ---------------------------------------------------------------------------------------------------------


@functools.cache
def arks(compress: str) -> dict[str, bytes]:
    import os
    import tempfile

    from utils.ark import ArkWriter

    with tempfile.TemporaryDirectory() as folder:
        with ArkWriter(Path(folder) / "feats", compress) as writer:
            for i, utt in enumerate(UTTS[:3]):
                writer.write(utt, np.random.default_rng(i).standard_normal((4 + i, 5)))
        scp = Path(folder, "feats.scp").read_bytes().replace(os.path.realpath(folder).encode() + b"/", b"")
        return {"feats.scp": scp, "feats.ark": Path(folder, "feats.ark").read_bytes()}


def features() -> None:
    """Every utterance of a feats.scp. Where it points elsewhere, another file is named."""
    from utils.ark import ScpReader

    reader = ScpReader("feats.scp")
    for utt in reader.places:
        try:
            reader.read(utt)
        except UserError as error:
            assert utt[:100] in str(error)  # a long one is shown by its beginning


def single_matrix() -> None:
    from utils.ark import read_matrix

    read_matrix("matrix")


def single_matrix_file() -> dict[str, bytes]:
    ark = arks("none")["feats.ark"]
    return {"matrix": ark[ark.index(b" ") + 1 :]}


# --- confs ------------------------------------------------------------------------------------------------------------


def confs(folder: str, *names: str) -> dict[str, bytes]:
    """Confs of the toolkit without comments (which are not read) and with what they are based on, all in one folder."""
    found: dict[str, bytes] = {}
    for name in names:
        path = (ROOT / "conf" / folder / name).resolve()
        text = yaml.safe_dump(yaml.safe_load(path.read_text()), sort_keys=False)
        found[path.name] = re.sub(r"\.\./\w+/", "", text).encode()
        found |= confs(path.parent.name, *re.findall(r"[\w./]+\.yaml", text))
    return found


def load_conf(module: str, name: str, settings: tuple[str, ...] = ()) -> None:
    loader = importlib.import_module(module).load_conf
    loader(name, settings) if settings else loader(name)


def conf_target(module: str, folder: str, cases: int, name: str) -> Target:
    return Target(
        f"conf/{folder}/{name}",
        functools.partial(confs, folder, name),
        functools.partial(load_conf, module, name),
        cases,
        vary=(name,),
    )


def overrides() -> None:
    """Values of --set, as a command line gives them."""
    from steps import training

    if not Path("setting.txt").is_file():  # it only stands for a command line
        return
    given = Path("setting.txt").read_bytes().decode(errors="surrogateescape")
    training.load_conf(ROOT / "conf/train/baseline.yaml", given.split("\n"))


# --- what trainings leave ---------------------------------------------------------------------------------------------

RESULT: dict[str, Any] = to_json(evaluation(
    20.5, 365, 100, {"A07": {"eer": 21.0, "n_spoof": 60, "min_tdcf_2019": 0.5}, "A08": {"eer": 20.0, "n_spoof": 40}}, 2.5,
    min_tdcf_2019=0.5, min_tdcf_2021=0.6, set_name="eval", corpus=CORPUS, warnings=["few trials"],
    per_speaker={"spk0": {"n_bonafide": 5, "miss_rate": 20.0}, "spk1": {"n_bonafide": 0, "miss_rate": None}},
    intervals={"trial": {"eer": (0.2, 0.3)}},
))  # fmt: skip
CALIBRATION: dict[str, Any] = {
    "method": "logistic", "weights": [0.5], "offset": -0.25, "prior": 0.5, "trained_on_eval": False, "overridden": [], "utterances": "dev1 dev2",
    "trained_on": {
        "sets": ["dev"], "corpus": ["mini corpus 1"], "files": ["dev.txt"], "sha256": ["00"], "n_bonafide": 4, "n_spoof": 8, "cllr": 0.5, "eer": 0.25,
        "eer_threshold": 0.125, "llr_range": [-3.0, 2.5],
    },
}  # fmt: skip


def experiment() -> dict[str, bytes]:
    """Two methods' experiments, a seed each."""
    made: dict[str, bytes] = {}
    for method in ("baseline", "self_distill"):
        folder = f"exp/train_f0_subband_senet34_{method}/seed1"
        conf = {
            "frontend": {"type": "log_spectrum"}, "model": {"type": "resnet", "depth": 34}, "train": {"method": method, "epochs": 8},
            "seed": 1, "frontend_name": "f0_subband", "model_name": "senet34", "method": method, "train_name": method,
        }  # fmt: skip
        made |= {
            f"{folder}/conf.yaml": yaml.safe_dump(conf).encode(),
            f"{folder}/detector.json": (
                json.dumps({"parameters": 1343760, "multiply_adds": 140200000, "input_shape": [600, 45]}).encode()
            ),
            f"{folder}/results/eval/evaluation.json": json.dumps(RESULT).encode(),
        }
    return made


OF_BASELINE = tuple(
    f"exp/train_f0_subband_senet34_baseline/seed1/{name}"
    for name in ("conf.yaml", "detector.json", "results/eval/evaluation.json")
)


def make_results() -> None:
    program("steps.make_results", "--out", "RESULTS.md", *map(str, sorted(Path("exp").iterdir())))


def finished_experiments() -> dict[str, bytes]:
    finals = dict.fromkeys((name.replace("conf.yaml", "final.pt") for name in experiment() if "conf.yaml" in name), b"")
    return experiment() | finals


def make_results_beside() -> None:
    """The one that is spoilt is not named, but lies beside."""
    program("steps.make_results", "--beside", "--out", "RESULTS.md", "exp/train_f0_subband_senet34_self_distill")


def make_comparison() -> None:
    program("steps.make_comparison", "--out", "COMPARISON.md", "--table", "x", *map(str, sorted(Path("exp").iterdir())))


def calibration() -> None:
    from steps.inference.calibration import decision, read_calibration

    found = read_calibration(Path("calibration.json"))
    for threshold in (None, "eer"):
        chosen = decision(found, threshold=threshold)
        chosen.verdict(chosen.llr(0.5))
    json.dumps({"threshold": chosen.threshold, "limits": chosen.limits}, allow_nan=False)


def apply_calibration() -> None:
    program("steps.calibrate", "--model", "calibration.json", "--out-dir", "out", "eval.txt")


def marked_scores() -> dict[str, bytes]:
    import hashlib

    mark = {"trained_on_eval": True, "trained_on_these_trials": False, "scores_sha256": hashlib.sha256(CM).hexdigest()}
    return {"eval.txt": CM, "eval.json": json.dumps(mark).encode()}


def mark() -> None:
    from steps.evaluation.fitted_scores import mark_warnings

    mark_warnings(Path("eval.txt"))


@functools.cache
def detector_state() -> dict[str, Any]:
    """What a final.pt holds, of a small network."""
    import torch

    from steps import frontend as frontends
    from steps import nnet
    from steps.experiment import training_folder
    from steps.nnet.base import HeadConf
    from utils.conf import to_dict

    frontend_conf = frontends.load_conf(ROOT / "conf/frontend/f0_subband.yaml")
    model_conf = nnet.load_conf(ROOT / "conf/model/ecanet9_narrow.yaml")
    torch.manual_seed(0)
    detector = training_folder.detector_for(model_conf, frontends.make_frontend(frontend_conf))
    return {
        "format": training_folder.FINAL_FORMAT, "frontend": to_dict(frontend_conf), "model": to_dict(model_conf), "head": to_dict(HeadConf()),
        "corpus": CORPUS, "epoch": 1, "state": detector.state_dict(),
    }  # fmt: skip


def checkpoint_file() -> dict[str, bytes]:
    import torch

    weights = {"a": torch.zeros(3), "b": torch.ones(2, 2)}
    return {"epoch3.pt": saved({"epoch": 3, "best_epoch": 2, "weights": weights, "names": ["x"]})}


def checkpoint() -> None:
    from steps.training import checkpoints

    assert isinstance(checkpoints.load("epoch3.pt"), dict)


def saved(state: dict[str, Any]) -> bytes:
    import torch

    out = io.BytesIO()
    torch.save(state, out)
    return out.getvalue()


def spoilt_detector(_: bytes, draws: Draws) -> Content:
    """A final.pt that torch reads and that holds other values than it should."""
    state = detector_state()
    values = copy.deepcopy({key: value for key, value in state.items() if key != "state"})
    return saved(change_tree(values | {"state": dict(state["state"])}, changes(draws)))


def final_file() -> dict[str, bytes]:
    return {"final.pt": saved(detector_state())}


def trained_detector() -> None:
    import torch

    from steps.experiment import training_folder

    training_folder.load_trained(Path("final.pt"), torch.device("cpu"))


EPOCHS = b"epoch\tlr\ttrain_total\ttrain_hard\tdev_loss\tdev_eer\n1\t0.001\t1.5\t1.25\t0.75\t20.5\n2\t0.001\t1.0\t0.75\t0.5\t15.0\n"


def epochs() -> None:
    from steps.results.report.curves import read_history

    history = read_history(Path("epochs.tsv"))
    assert not history or len(history["epoch"]) > 0


# --- data dirs --------------------------------------------------------------------------------------------------------


def kaldi_dir() -> dict[str, bytes]:
    made = {name.removeprefix("data/eval/"): content for name, content in data_dir().items()}
    made["segments"] = text(*sorted(f"{utt} rec1 {i} {i + 0.5}" for i, utt in enumerate(UTTS)))
    made["utt2dur"] = text(*sorted(f"{utt} 0.5" for utt in UTTS))
    made["reco2file_and_channel"] = text("rec1 call A")
    made["wav.scp"] = text("rec1 cat /nowhere/a.flac |")
    return {f"data/{name}": content for name, content in made.items()}


def data_dir_tool(name: str, *argv: str) -> None:
    from utils.data_dir import PROGRAMS

    done = call(PROGRAMS[name], name, *argv)
    assert done.returncode in (0, 1, 2), done
    if done.returncode:
        assert "error: " in done.stderr, done
        raise UserError(done.stderr)


def prepared() -> dict[str, bytes]:
    """A corpus of no audio to speak of."""
    base = "corpus/ASVspoof2019_LA"
    made = {f"{base}_dev/flac/{utt}.flac": audio("FLAC") for utt in UTTS}
    return made | {
        f"{base}_cm_protocols/ASVspoof2019.LA.cm.dev.trl.txt": LA,
        f"{base}_asv_scores/ASVspoof2019.LA.asv.dev.gi.trl.scores.txt": ASV,
        "corpus/corpus.json": json.dumps({"name": "made up", "recipe": "LA"}).encode(),
    }


def prepare() -> None:
    """Twice: the second time it says that the data dir is there."""
    options = ["--corpus-dir", "corpus", "--corpus", "asvspoof2019-la", "--sets", "dev", "--allow-subset"]
    for _ in range(2):
        program("local.prepare_data", *options, "data")


# --- command lines ----------------------------------------------------------------------------------------------------

PROGRAMS = {
    "steps.evaluate": ["--asv-scores", "--protocol", "--phase", "--corpus-json", "--speakers", "--environments", "--durations", "--threshold", "--title", "--bootstrap", "--columns", "--out"],
    "steps.calibrate": ["--train", "--model", "--prior", "--out-dir", "--protocol", "--columns", "--data-dir"],
    "steps.fuse": ["--model", "--method", "--prior", "--out-dir", "--protocol", "--columns", "--sets", "--data-dir"],
    "steps.compare_scores": ["--set", "--asv-scores", "--columns", "--speakers", "--draws", "--seed", "--json"],
    "steps.make_results": ["--out", "--command", "--beside"],
    "steps.make_comparison": ["--out", "--table", "--baseline", "--command"],
    "steps.merge_feats": ["--frontend", "--set", "--nj"],
    "steps.compute_feats": ["--frontend", "--set", "--part"],
    "local.prepare_data": ["--corpus-dir", "--corpus", "--sets"],
}  # fmt: skip


def command_line() -> None:
    """A program's name, then its arguments, a line each; they name what is there, what is not, and what never could
    be."""
    module, *argv = Path("arguments").read_bytes().decode(errors="surrogateescape").split("\n")
    if module in PROGRAMS:
        program(module, *(arg for arg in argv if "\0" not in arg))  # no system passes a NUL on


THERE = (
    b"cm.txt",
    b"asv.txt",
    b"data",
    b"data/eval",
    b"data/eval/utt2label",
    b"exp",
    b"0.5",
    b"3",
    b"la",
    b"1/2",
    b"- utt score key",
    b"out",
)
ODD = [piece for piece in PIECES if b"\n" not in piece and len(piece) < 5000]


def argument_lines(_: bytes, draws: Draws) -> Content:
    name = draws.one_of(list(PROGRAMS))
    options = [option.encode() for option in PROGRAMS[name]]
    argv = [draws.one_of(draws.one_of((options, THERE, ODD))) for _ in range(draws.below(8))]
    return b"\n".join([name.encode(), *argv])


def targets() -> list[Target]:
    """All, with the cases that CI runs of each."""
    protocols = {
        "utt2label": text(*(f"{utt} {key}" for utt, _, key, _ in TRIALS)), "2019_la": LA, "2019_pa": PA, "2021_la": LA_2021, "2021_pa": PA_2021,
        "2021_df": DF_2021, "asvspoof5": ASVSPOOF5,
    }  # fmt: skip
    part = functools.partial
    return [
        *(Target(f"local/prepare_data.py:{name}", lambda content=content, name=name: {f"{name}.txt": content}, part(local_protocol, name), 600)
          for name, content in (("la", LA), ("pa", PA))),
        *(Target(f"corpus:{name}", lambda content=content, name=name: {keys_of(name): content}, part(corpus_keys, name), 300)
          for name, content in KEY_FILES.items()),
        *(Target(f"protocol:{name}", lambda content=content: {"protocol": content}, part(scoring_protocol, "protocol"), 240)
          for name, content in protocols.items()),
        Target("protocol:data dir", data_dir, part(scoring_protocol, "data/eval"), 300, vary=("data/eval/utt2label", "data/eval/utt2attack")),
        Target("scores:UTT ATTACK KEY SCORE", lambda: {"cm.txt": CM}, cm_scores, 800),
        Target("scores:gzipped", lambda: {"cm.txt": gzip.compress(CM, mtime=0)}, cm_scores, 300),
        Target("scores:UTT SCORE", lambda: {"cm.txt": CM_2, "protocol.txt": LA}, cm_scores_by_protocol, 500),
        *(Target(f"scores:{name}", lambda content=content: {"cm.txt": content, "protocol.txt": LA}, cm_scores_by_protocol, 120)
          for name, content in OTHER_LAYOUTS.items()),
        Target("scores:--columns", lambda: {"cm.txt": OTHER_LAYOUTS["CSV"], "protocol.txt": LA, "columns": b"- utt score key"}, cm_scores_by_columns, 120),
        Target("scores:ASV", lambda: {"asv.txt": ASV}, asv_scores, 600),
        Target("evaluate.py", evaluation_files, evaluate, 200, vary=EVALUATION, writes=True),
        Target("evaluate.py with plots", lambda: {"cm.txt": CM, "corpus.json": json.dumps(CORPUS).encode()}, evaluate_with_plot, 8, writes=True),
        Target("calibrate.py", lambda: {"dev.txt": CM, "data/dev/utt2label": protocols["utt2label"]}, calibrate, 120, writes=True),
        Target("calibrate.py --model", lambda: {"eval.txt": CM, "calibration.json": json.dumps(CALIBRATION).encode()}, apply_calibration, 200, writes=True),
        Target("mark of scores", marked_scores, mark, 150),
        Target("calibration.json", lambda: {"calibration.json": json.dumps(CALIBRATION).encode()}, calibration, 400),
        Target("audio:FLAC", lambda: {"a.flac": audio("FLAC")}, part(waveform, "a.flac"), 350),
        Target("audio:WAV", lambda: {"a.wav": audio("WAV")}, part(waveform, "a.wav"), 350),
        Target("recording:WAV", lambda: {"a.wav": audio("WAV")}, part(recording, "a.wav"), 150),
        *(Target(f"recording:{form}", part(audio_file, form), part(recording, "a"), 40)
          for form in ("AIFF", "AU", "CAF", "W64", "RF64", "NIST", "VOC", "MP3")),
        *(Target(f"recording:{form}, joined", part(audio_file, form, 2), part(recording, "a"), 60) for form in ("FLAC", "OGG", "MP3")),
        *(Target(f"recording:{form}", part(ffmpeg_file, form, codec), part(recording, "a"), 40)
          for form, codec in (("mp4", "aac"), ("matroska", "pcm_s16le"), ("adts", "aac")) if importlib.util.find_spec("av")),
        Target("recording:OGG", lambda: {"a.ogg": audio("OGG", "VORBIS")}, part(recording, "a.ogg"), 150),
        Target("wav.scp", lambda: {"wav.scp": text("utt1 a.flac", "utt2 b.flac"), "a.flac": audio("FLAC"), "b.flac": audio("FLAC")}, wav_scp, 400, vary=("wav.scp",)),
        Target("detect.py's inputs", lambda: {"wav.scp": text("utt1 a.flac"), "data/wav.scp": text("utt2 a.flac"), "a.flac": audio("FLAC")}, found_recordings, 200, vary=("wav.scp", "data/wav.scp")),
        Target("segments", segments_files, segments, 400, vary=("data/segments", "data/reco2file_and_channel")),
        Target("utt2audio", lambda: {"feats.1.utt2audio": text("utt1 120 1700000000000000000 a.flac", "utt2 - - b.flac", "utt3 5 17 cat 'a b' |")}, made_from, 200),
        Target("utt2bands", lambda: {"utt2bands": text(*(f"{utt} -20.5 -31.0 -120.0" for utt in UTTS))}, levels, 300),
        *(Target(f"ark:{compress}", part(arks, compress), features, 350, vary=("feats.ark",), names_file=False) for compress in ("none", "8bit", "16bit")),
        Target("feats.scp", part(arks, "none"), features, 300, vary=("feats.scp",)),
        Target("matrix", single_matrix_file, single_matrix, 250),
        conf_target("steps.frontend", "frontend", 80, "f0_subband.yaml"),
        conf_target("steps.frontend", "frontend", 40, "cqcc.yaml"),
        conf_target("steps.frontend", "frontend", 30, "stack_f0_imag_real.yaml"),
        conf_target("steps.nnet", "model", 60, "senet18.yaml"),
        conf_target("steps.nnet", "model", 30, "two_branch_ecanet9.yaml"),
        conf_target("steps.training", "train", 70, "self_distill.yaml"),
        conf_target("steps.training", "train", 25, "consistency.yaml"),
        conf_target("steps.augment", "augment", 50, "all.yaml"),
        conf_target("steps.tuning.space", "sweep", 80, "self_distill.yaml"),
        Target("--set", lambda: {"setting.txt": b"train.epochs=3\ntrain.schedule.lr=1e-3\ntrain.schedule.name=cosine"}, overrides, 100, names_file=False),
        Target("make_results.py", experiment, make_results, 150, vary=OF_BASELINE, writes=True, names_file=False),
        Target("make_results.py --beside", finished_experiments, make_results_beside, 60, vary=OF_BASELINE, writes=True, names_file=False),
        Target("make_comparison.py", experiment, make_comparison, 100, vary=OF_BASELINE, writes=True, names_file=False),
        Target("epochs.tsv", lambda: {"epochs.tsv": EPOCHS}, epochs, 200),
        Target("checkpoint", checkpoint_file, checkpoint, 300),
        Target("final.pt", final_file, trained_detector, 50, how=spoilt_detector),
        Target("validate_data_dir.sh", data_dir, part(data_dir_tool, "validate_data_dir.sh", "--no-feats", "--no-text", "data/eval"), 350),
        Target("validate_data_dir.sh with segments", kaldi_dir, part(data_dir_tool, "validate_data_dir.sh", "--no-feats", "--no-text", "data"), 250),
        Target("fix_data_dir.sh", kaldi_dir, part(data_dir_tool, "fix_data_dir.sh", "data"), 150, writes=True),
        Target("subset_data_dir.sh", data_dir, part(data_dir_tool, "subset_data_dir.sh", "--per-spk", "data/eval", "4", "data/short"), 80, writes=True),
        Target("combine_data.sh", lambda: data_dir() | data_dir("data/dev"), part(data_dir_tool, "combine_data.sh", "data/both", "data/eval", "data/dev"), 60,
               vary=tuple(data_dir()), writes=True),
        Target("prepare_data.py", prepared, prepare, 60, writes=True,
               vary=("corpus/corpus.json", *(name for name in prepared() if "protocol" in name or "scores" in name), f"corpus/ASVspoof2019_LA_dev/flac/{UTTS[0]}.flac")),
        Target("command lines", lambda: evaluation_files() | {"arguments": b"steps.evaluate\n--bootstrap\n0\ncm.txt"}, command_line, 250, how=argument_lines, vary=("arguments",), writes=True, names_file=False),
    ]  # fmt: skip


@functools.cache
def right_files(target: Target) -> dict[str, bytes]:
    return target.files()


def varied(target: Target) -> tuple[str, ...]:
    return target.vary or tuple(right_files(target))


def spoil(target: Target, draws: Draws) -> tuple[str, Content]:
    """One of the target's files, by its name, and what it shall be."""
    name = draws.one_of(varied(target))
    content = right_files(target).get(name, b"")
    how = spoilt_json if name.endswith(".json") else spoilt_yaml if name.endswith(".yaml") else spoilt
    return name, (target.how or how)(content, draws)
