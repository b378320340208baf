"""Features computed in training instead of read from disk, augmentation of them, and global normalisation."""

import dataclasses
import shutil

import kaldiio
import numpy as np
import pytest
import soundfile
import torch

from steps import augment, compute_feats, merge_feats, score
from steps import train as train_program
from steps.data.batches import FeatureSet, training_plan
from steps.data.sources import ComputedFeatures, DumpedFeatures
from steps.experiment.training_folder import set_identity
from steps.frontend import load_conf, make_frontend
from steps.frontend.processing.columns import CmvnStats, mean_and_scale
from steps.training.loop import Trainer
from steps.training.losses import HardLoss, MixedLabels
from tests import in_process
from utils.cli import UserError

GLOBAL = ["frontend.cmvn.scope=global", "frontend.cmvn.variance=true"]
SMALL = ["--set=train.batch_size=8", "--set=train.epochs=2", "--set=frontend.network_input.frames=64",
         "--num-threads=1"]  # fmt: skip


def run(program, *arguments, check=True):
    done = in_process.call(program.main, f"{program.__name__}.py", *arguments)
    assert not check or done.returncode == 0, done.stderr
    return done


def make_feats(root, data, feats, *settings):
    """As steps/make_feats.sh does, in one job and without its processes."""
    options = ["--frontend", root / "conf/frontend/f0_subband.yaml", *(f"--set={setting}" for setting in settings)]
    run(merge_feats, "check", *options, data / "wav.scp", feats)
    run(compute_feats, *options, "--part", "1/1", data / "wav.scp", feats / "parts/1/feats.1")
    run(merge_feats, "merge", *options, "--nj", 1, data / "wav.scp", feats)


@pytest.fixture(scope="module")
def audio_sets(root, waveform_maker, tmp_path_factory):
    """train and dev with audio, dumped features of it, and dumped features with statistics."""
    folder = tmp_path_factory.mktemp("online")
    rng = np.random.default_rng(0)
    for name, count in (("train", 24), ("dev", 12)):
        data = folder / "data" / name
        data.mkdir(parents=True)
        lines = {table: [] for table in ("wav.scp", "utt2label", "utt2attack", "utt2dur")}
        for i in range(count):
            utt, bonafide, samples = f"{name}_{i:03d}", i % 3 == 0, int(rng.integers(3000, 12000))
            wave = waveform_maker(samples, seed=i)
            if not bonafide:
                wave = wave + 0.02 * rng.standard_normal(samples)
            soundfile.write(folder / f"{utt}.flac", wave, 16000, subtype="PCM_16")
            lines["wav.scp"].append(f"{utt} {folder / utt}.flac")
            lines["utt2label"].append(f"{utt} {'bonafide' if bonafide else 'spoof'}")
            lines["utt2attack"].append(f"{utt} {'-' if bonafide else 'A01'}")
            lines["utt2dur"].append(f"{utt} {samples / 16000:.3f}")
        for table, text in lines.items():
            (data / table).write_text("\n".join(text) + "\n")
        make_feats(root, data, folder / "feats/f0_subband" / name)
        make_feats(root, data, folder / "feats/f0_normalised" / name, *GLOBAL)
    return folder


def train(root, folder, out, *options, feats="f0_subband", method="self_distill", check=True):
    return run(
        train_program, "--model", root / "conf/model/ecanet9.yaml", "--train-conf", root / f"conf/train/{method}.yaml", "--schedule", root / "conf/schedule/debug.yaml",
        *SMALL, *options, folder / "data/train", folder / "feats" / feats / "train", folder / "data/dev",
        folder / "feats" / feats / "dev", out, check=check,
    )  # fmt: skip


def weights(out):
    return torch.load(out / "final.pt", weights_only=True)["state"]


def assert_same_weights(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def from_disk(root, audio_sets):
    train(root, audio_sets, audio_sets / "from_disk/seed1")
    return audio_sets / "from_disk/seed1"


def test_computed_features_are_the_dumped_ones(root, audio_sets):
    frontend = make_frontend(load_conf(root / "conf/frontend/f0_subband.yaml"))
    data, feats = audio_sets / "data/train", audio_sets / "feats/f0_subband/train"
    computed, dumped = ComputedFeatures(data, frontend), DumpedFeatures(feats)
    one, two = (FeatureSet(data, source, frontend, cache_mib=0) for source in (computed, dumped))
    for i, utt in enumerate(one.utts):
        np.testing.assert_array_equal(computed.read(utt), dumped.read(utt))
        assert torch.equal(one[i][0], two[i][0])
    cached = FeatureSet(data, computed, frontend, cache_mib=100, num_workers=2)
    (x, _, _), *_ = cached.batches([np.arange(5)], torch.device("cpu"), 0)
    assert cached.cached and all(torch.equal(x[i], two[i][0]) for i in range(5))


@pytest.mark.parametrize("cache_mib", [0, 100])
def test_training_online_ends_in_the_same_weights(root, audio_sets, from_disk, tmp_path, cache_mib):
    option = f"--set=train.cache_mib={cache_mib}"
    run_online = train(root, audio_sets, tmp_path / "seed1", "--online", option, feats="nowhere")
    assert ("in memory" if cache_mib else "computed when needed") in run_online.stdout
    assert_same_weights(tmp_path / "seed1", from_disk)


def test_scoring_online_gives_the_same_scores(root, audio_sets, from_disk):
    places = ["--data-dir", audio_sets / "data"]
    run(score, *places, "--online", from_disk, "dev")
    online = (from_disk / "scores/dev.txt").read_text()
    run(score, *places, "--feats-dir", audio_sets / "feats/f0_subband", from_disk, "dev")
    assert (from_disk / "scores/dev.txt").read_text() == online and len(online.splitlines()) == 12
    done = run(score, *places, from_disk, "dev", check=False)
    assert done.returncode == 2 and "--feats-dir" in done.stderr


@pytest.fixture(scope="module")
def by_segments(audio_sets, tmp_path_factory):
    """The dev utterances joined to two recordings, as segments of them, and cut out again, as files: a folder of data
    dirs `segments` and `files`. One recording is the second channel of two."""
    folder = tmp_path_factory.mktemp("by_segments")
    rng = np.random.default_rng(7)
    tables = {name: [] for name in ("segments", "wav.scp", "utt2label", "utt2attack")}
    for reco in ("rec1", "rec2"):
        begin, waves = 0.0, []
        for i in range(3):
            wave = np.round(rng.standard_normal(8000 + 1000 * i) * 3000).astype(np.int16)
            utt, end = f"{reco}-{i}", begin + len(wave) / 16000  # exact: sixteenths of a second
            soundfile.write(folder / f"{utt}.flac", wave, 16000)
            tables["segments"].append(f"{utt} {reco} {begin} {end}\n")
            tables["wav.scp"].append(f"{utt} {folder}/{utt}.flac\n")
            tables["utt2label"].append(f"{utt} {'spoof' if i else 'bonafide'}\n")
            tables["utt2attack"].append(f"{utt} {'A01' if i else '-'}\n")
            waves.append(wave)
            begin = end
        whole = np.concatenate(waves)
        soundfile.write(folder / f"{reco}.flac", np.stack([whole // 2, whole], 1) if reco == "rec2" else whole, 16000)
    for data in ("segments", "files"):
        (folder / data).mkdir()
        for name in set(tables) - {"segments"}:
            (folder / data / name).write_text("".join(tables[name]))
    (folder / "segments/wav.scp").write_text("".join(f"{reco} {folder}/{reco}.flac\n" for reco in ("rec1", "rec2")))
    (folder / "segments/segments").write_text("".join(tables["segments"]))
    (folder / "segments/reco2file_and_channel").write_text("rec1 one A\nrec2 two B\n")
    return folder


def test_segments_are_cut_in_training_and_scoring(root, by_segments, from_disk):
    frontend = make_frontend(load_conf(root / "conf/frontend/f0_subband.yaml"))
    cut, files = (ComputedFeatures(by_segments / name, frontend) for name in ("segments", "files"))
    assert list(cut.utts) == list(files.utts) and cut.place == by_segments / "segments/segments"
    for utt in cut.utts:
        np.testing.assert_array_equal(cut.read(utt), files.read(utt))
        np.testing.assert_array_equal(cut.levels(utt), files.levels(utt))
    run(score, "--data-dir", by_segments, "--online", from_disk, "segments", "files")
    scores = [(from_disk / f"scores/{name}.txt").read_text() for name in ("segments", "files")]
    assert scores[0] == scores[1] and len(scores[0].splitlines()) == 6


def test_a_training_knows_its_segments(by_segments, tmp_path):
    """Durations come from them; other boundaries of the same lengths are another set."""
    shutil.copytree(by_segments / "segments", tmp_path / "data")
    before = set_identity(tmp_path / "data", None)
    path = tmp_path / "data/segments"
    path.write_text(path.read_text().replace("rec1 0.0 0.5\n", "rec1 0.25 0.75\n"))
    assert set_identity(tmp_path / "data", None) != before
    path.unlink()
    with pytest.raises(UserError, match="utt2dur: no such file"):
        set_identity(tmp_path / "data", None)


@pytest.mark.parametrize("name", ["utt2label", "utt2attack", "wav.scp", "feats.scp", "utt2bands"])
def test_a_table_that_lacks_utterances_is_an_error(root, audio_sets, from_disk, tmp_path, name):
    """Whichever it is, from disk and online, in scoring and training: nothing is left out without a word."""
    shutil.copytree(audio_sets / "data/dev", tmp_path / "data/dev")
    shutil.copytree(audio_sets / "feats/f0_subband/dev", tmp_path / "feats/dev")
    of_feats = name in ("feats.scp", "utt2bands")
    table = tmp_path / ("feats/dev" if of_feats else "data/dev") / name
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-2]))
    for how in (["--online"], ["--feats-dir", tmp_path / "feats"]):
        done = run(score, "--data-dir", tmp_path / "data", *how, from_disk, "dev", check=False)
        if of_feats if how == ["--online"] else name == "wav.scp":
            assert done.returncode == 0, done.stderr  # which it does not read
        else:
            assert done.returncode == 1 and name in done.stderr and "dev_010" in done.stderr
    if name != "utt2attack":
        places = (
            tmp_path / "data/dev",
            tmp_path / "feats/dev",
            audio_sets / "data/dev",
            audio_sets / "feats/f0_subband/dev",
        )
        options = ["--online"] if name == "wav.scp" else []
        done = run(
            train_program, "--model", root / "conf/model/ecanet9.yaml", "--train-conf", root / "conf/train/baseline.yaml", "--schedule", root / "conf/schedule/debug.yaml",
            *SMALL, *options, *places, tmp_path / "exp", check=False,
        )  # fmt: skip
        assert done.returncode == 1 and name in done.stderr and "dev_010" in done.stderr


def test_compressed_features_are_not_to_be_had_online(root, audio_sets, tmp_path):
    done = train(root, audio_sets, tmp_path, "--online", "--set=frontend.compress=8bit", check=False)
    assert done.returncode == 1 and "frontend.compress=none" in done.stderr


def test_a_bad_utterance_is_named_online(root, audio_sets, tmp_path):
    frontend = make_frontend(load_conf(root / "conf/frontend/f0_subband.yaml"))
    data = tmp_path / "data"
    data.mkdir()
    (data / "utt2label").write_text("a bonafide\nb spoof\n")
    (data / "wav.scp").write_text(f"a {audio_sets}/train_000.flac\nb {audio_sets}/lost.flac\n")
    features = FeatureSet(data, ComputedFeatures(data, frontend), frontend, cache_mib=0)
    with pytest.raises(UserError, match=r"^b .*lost\.flac.*no such file") as error:
        list(features.batches([np.arange(2)], torch.device("cpu"), num_workers=1))
    assert "Traceback" not in str(error.value)


def test_statistics_are_those_of_all_frames(root, audio_sets):
    """As Kaldi's compute-cmvn-stats lays them out: sums and count, sums of squares and 0."""
    feats = audio_sets / "feats/f0_normalised/train"
    frames = np.concatenate(list(kaldiio.load_scp(str(feats / "feats.scp")).values())).astype(np.float64)
    stats = kaldiio.load_mat(str(feats / "global_cmvn"))
    assert stats.shape == (2, 46) and stats[0, -1] == len(frames) and stats[1, -1] == 0
    np.testing.assert_allclose(stats[0, :-1], frames.sum(axis=0))
    np.testing.assert_allclose(stats[1, :-1], np.square(frames).sum(axis=0))
    mean, scale = mean_and_scale(stats, variance=True)
    normalised = (frames - mean) * scale
    np.testing.assert_allclose(normalised.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(normalised.std(axis=0), 1, atol=1e-9)
    assert not (audio_sets / "feats/f0_subband/train/global_cmvn").exists()


def test_a_column_that_does_not_vary_is_not_scaled():
    stats = CmvnStats(2)
    stats.add(np.stack([np.full(1000, -80.0), np.arange(1000.0)], axis=1).astype(np.float32))
    mean, scale = mean_and_scale(stats.matrix, variance=True)
    np.testing.assert_allclose(mean, [-80, 499.5])
    assert scale[0] == 1 and scale[1] == pytest.approx(1 / np.arange(1000.0).std())
    assert (mean_and_scale(stats.matrix, variance=False)[1] == 1).all()
    with pytest.raises(ValueError, match="no frames"):
        mean_and_scale(CmvnStats(2).matrix, True)


def test_global_normalisation_is_the_detectors(root, audio_sets, tmp_path):
    """Trained and scored from disk and online alike; what is kept knows the training set's mean and deviation."""
    for name, options in (("disk", []), ("online", ["--online"])):
        train(root, audio_sets, tmp_path / name, *(f"--set={one}" for one in GLOBAL), *options, feats="f0_normalised")
    disk, online = weights(tmp_path / "disk"), weights(tmp_path / "online")
    stats = kaldiio.load_mat(str(audio_sets / "feats/f0_normalised/train/global_cmvn"))
    mean, scale = mean_and_scale(stats, variance=True)
    for state in (disk, online):
        np.testing.assert_allclose(state["normalisation.mean"].numpy().ravel(), mean, rtol=1e-6)
        np.testing.assert_allclose(state["normalisation.scale"].numpy().ravel(), scale, rtol=1e-5)
    assert all(torch.allclose(disk[key], online[key], atol=1e-3) for key in disk)
    scores = []
    for options in (["--feats-dir", audio_sets / "feats/f0_normalised"], ["--online"]):
        run(score, "--data-dir", audio_sets / "data", *options, "--exit=4", "--exit=1",
            tmp_path / "disk", "dev")  # fmt: skip
        scores.append((tmp_path / "disk/scores/dev.txt").read_text())
    assert scores[0] == scores[1]


def test_normalised_input_to_the_network(root, audio_sets):
    """The detector on features is its backbone on normalised features."""
    from steps import nnet
    from steps.experiment import training_folder

    conf = load_conf(root / "conf/frontend/f0_subband.yaml", GLOBAL)
    frontend = make_frontend(conf)
    detector = training_folder.detector_for(nnet.load_conf(root / "conf/model/ecanet9.yaml"), frontend).eval()
    plain_conf = dataclasses.replace(conf, cmvn=None)
    plain = training_folder.detector_for(
        nnet.load_conf(root / "conf/model/ecanet9.yaml"), make_frontend(plain_conf)
    ).eval()
    names = set(detector.state_dict()) - set(plain.state_dict())
    assert names == {"normalisation.mean", "normalisation.scale"}
    assert [n for n, _ in detector.named_parameters()] == [n for n, _ in plain.named_parameters()]
    plain.load_state_dict({k: v for k, v in detector.state_dict().items() if k not in names})
    mean, scale = torch.linspace(-80, 3, 45), torch.linspace(0.1, 2, 45)
    detector.normalisation.set(mean, scale)
    x = torch.randn(2, 1, 64, 45)
    with torch.inference_mode():
        assert torch.allclose(detector(x), plain((x - mean) * scale))


def test_loss_of_mixed_labels_is_the_mixture_of_losses(root):
    from steps import training

    loss = HardLoss(
        training.load_conf(
            root / "conf/train/baseline.yaml", parts=training.Parts(root / "conf/loss/a_softmax_anneal.yaml")
        ).hard_loss
    )
    embedding = torch.randn(6, 4)
    logits = embedding @ torch.nn.functional.normalize(torch.randn(2, 4), dim=1).T
    first, second = torch.tensor([0, 1, 0, 1, 0, 1]), torch.tensor([1, 1, 0, 0, 0, 1])
    one, two = loss(logits, embedding, first, 5), loss(logits, embedding, second, 5)
    assert torch.allclose(loss(logits, embedding, MixedLabels(first, second, 0.3), 5), 0.3 * one + 0.7 * two)


def test_an_augmented_training_resumes_and_differs(root, audio_sets, from_disk, tmp_path, monkeypatch):
    """Each utterance and epoch draws for itself: broken off after an epoch and resumed, the weights are the same."""
    options = ["--online", "--augment", root / "conf/augment/all.yaml"]
    train(root, audio_sets, tmp_path / "whole", *options)
    whole = weights(tmp_path / "whole")
    assert any(not torch.equal(value, weights(from_disk)[key]) for key, value in whole.items())

    with monkeypatch.context() as patch:
        one_epoch = Trainer._train_epoch

        def first_epoch_only(trainer, epoch, progress):
            if epoch > 1:
                raise UserError("broken off")
            return one_epoch(trainer, epoch, progress)

        patch.setattr(Trainer, "_train_epoch", first_epoch_only)
        done = train(root, audio_sets, tmp_path / "resumed", *options, check=False)
        assert done.returncode == 1 and "broken off" in done.stderr
    done = train(root, audio_sets, tmp_path / "resumed", *options)
    assert "resuming after epoch 1" in done.stdout
    assert_same_weights(tmp_path / "whole", tmp_path / "resumed")


def test_what_is_drawn_depends_on_seed_epoch_and_utterance_alone(root, audio_sets):
    """Not on the number of workers, nor on the order and size of the batches."""
    frontend = make_frontend(load_conf(root / "conf/frontend/f0_subband.yaml", ["frontend.network_input.crop=random"]))
    chain = augment.make_chain(augment.load_conf(root / "conf/augment/all.yaml"), 16000)
    data = audio_sets / "data/train"
    features = FeatureSet(data, ComputedFeatures(data, frontend), frontend, cache_mib=0, seed=3, chain=chain)

    def read(epoch, batch_size, num_workers):
        features.set_epoch(epoch)
        plan = training_plan(len(features), batch_size, batch_size, 1)
        read = features.batches(plan, torch.device("cpu"), num_workers)
        return {int(i): x for batch, _, indices in read for x, i in zip(batch, indices)}

    given = read(1, 8, 0)
    for batch_size, num_workers in ((8, 2), (5, 0)):
        other = read(1, batch_size, num_workers)
        assert all(torch.equal(given[i], other[i]) for i in other)
    assert any(not torch.equal(given[i], x) for i, x in read(2, 8, 0).items())


def test_other_recordings_are_another_training(root, audio_sets, tmp_path):
    soundfile.write(tmp_path / "hiss.wav", np.random.default_rng(0).standard_normal(4000) / 10, 16000)
    (tmp_path / "wav.scp").write_text(f"hiss {tmp_path}/hiss.wav\n")
    options = ["--online", "--augment", root / "conf/augment/noise_reverb.yaml",
               f"--set=augment.steps.1.data_dir={tmp_path}", "--set=train.epochs=1"]  # fmt: skip
    train(root, audio_sets, tmp_path / "out", *options)
    (tmp_path / "wav.scp").write_text(f"hiss {tmp_path}/hiss.wav\nagain {tmp_path}/hiss.wav\n")
    done = train(root, audio_sets, tmp_path / "out", *options, check=False)
    assert done.returncode == 1 and f"trained otherwise (augment_recordings.{tmp_path}/wav.scp" in done.stderr


def test_features_on_disk_can_be_masked_and_mixed_but_not_have_their_waveforms_changed(root, audio_sets, tmp_path):
    done = train(root, audio_sets, tmp_path / "a", "--augment", root / "conf/augment/rawboost.yaml", check=False)
    assert (
        done.returncode == 1 and "rawboost.yaml: it changes waveforms" in done.stderr and "--online true" in done.stderr
    )
    for chain in ("specaugment", "mixup"):
        disk, online = tmp_path / f"{chain}_disk", tmp_path / f"{chain}_online"
        train(root, audio_sets, disk, "--augment", root / f"conf/augment/{chain}.yaml")
        train(root, audio_sets, online, "--augment", root / f"conf/augment/{chain}.yaml", "--online")
        assert_same_weights(disk, online)


def test_dev_is_never_augmented(root, audio_sets):
    frontend = make_frontend(load_conf(root / "conf/frontend/f0_subband.yaml"))
    chain = augment.make_chain(augment.load_conf(root / "conf/augment/specaugment.yaml"), 16000)
    data = audio_sets / "data/train"
    source = DumpedFeatures(audio_sets / "feats/f0_subband/train")
    plain, augmented = (FeatureSet(data, source, frontend, 0, seed=1, chain=c) for c in (None, chain))
    assert all(torch.equal(plain[i][0], augmented[i][0]) for i in range(5))  # before the first epoch
    augmented.set_epoch(1)
    assert any(not torch.equal(plain[i][0], augmented[i][0]) for i in range(24))
