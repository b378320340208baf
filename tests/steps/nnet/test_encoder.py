"""Pretrained encoders: the states are those of transformers, what is tuned, back ends, and folders that are refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from steps import nnet, training
from steps.encoders import folders as encoder_folders
from steps.encoders.parts import LogMel
from steps.experiment import training_folder
from steps.frontend import load_conf, make_frontend
from steps.nnet.encoder import Passing, shares
from steps.nnet.encoder_back_ends import Attention, AttentionConf, BackEndConf, LayerSum
from steps.training.loop import make_optimizer
from tests.conftest import ROOT, speech_like
from tests.tiny_encoders import FAMILIES, LAYERS, WIDTH, encoder_conf, make_encoder, save_encoder
from utils import conf as conf_files
from utils.cli import UserError

transformers = pytest.importorskip("transformers", reason="transformers is not installed (requirements-dev.txt)")
SAMPLES = 8000


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each family, by its name."""
    folder = tmp_path_factory.mktemp("encoders")
    return {family: save_encoder(folder / family, family) for family in FAMILIES}


@pytest.fixture
def folder(folders, tmp_path):
    """A folder to damage."""
    return shutil.copytree(folders["wavlm"], tmp_path / "encoder")


def detector_of(folder, conf="ssl_whisper_tiny", *settings):
    torch.manual_seed(1)
    return nnet.make_detector(encoder_conf(folder, conf, *settings)).eval()


def speech(count=2, samples=SAMPLES):
    return torch.from_numpy(np.stack([speech_like(samples, seed) for seed in range(count)])).float()


def states_of(detector, x):
    passing = Passing(detector.backbone.stem(x))
    maps = [stage(passing) for stage in detector.backbone.stages]
    return passing.states, maps


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "whisper"])
def test_states_are_those_of_transformers(folders, family):
    x = speech()
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    normal = extractor([*x.numpy()], sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        theirs = make_encoder(family)(normal.input_values, output_hidden_states=True)
        ours, maps = states_of(detector_of(folders[family]), x)
    assert len(ours) == len(theirs.hidden_states) == LAYERS + 1
    for one, other in zip(ours[:-1], theirs.hidden_states):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5)
    torch.testing.assert_close(ours[-1], theirs.last_hidden_state, rtol=0, atol=2e-5)
    ends = np.cumsum(shares(LAYERS))[:-1]
    for stage_map, end in zip(maps, ends):
        torch.testing.assert_close(stage_map[..., 0].transpose(1, 2), ours[end])


def test_whispers_states_are_those_of_transformers_at_30_seconds(folders):
    x = speech(1, 480_000)
    features = transformers.WhisperFeatureExtractor()(x[0].numpy(), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        theirs = make_encoder("whisper").encoder(features.input_features, output_hidden_states=True)
        ours, _ = states_of(detector_of(folders["whisper"]), x)
    torch.testing.assert_close(ours[0], theirs.hidden_states[0], rtol=0, atol=2e-4)
    torch.testing.assert_close(ours[-1], theirs.last_hidden_state, rtol=0, atol=5e-4)


def test_whisper_reads_shorter_inputs_at_their_own_length_and_refuses_longer_ones(folders):
    detector = detector_of(folders["whisper"])
    stem = detector.backbone.stem
    x = speech(1, 16000)
    with torch.no_grad():
        state = stem(x)
        without = F.gelu(stem.conv2(F.gelu(stem.conv1(stem.log_mel(x))))).transpose(1, 2)
    assert state.shape == (1, 50, WIDTH)
    torch.testing.assert_close(state[0], without[0] + stem.positions.weight[:50])
    with pytest.raises(UserError, match=r"frames: 481000 samples are more than the 480000"):
        detector(torch.zeros(1, 1, 481_000, 1))


@pytest.mark.parametrize("samples", [8000, 16001, 64600])
def test_log_mel_is_that_of_whispers_feature_extractor(samples):
    waveforms = [speech_like(samples, 1), np.zeros(samples), np.random.default_rng(0).standard_normal(samples)]
    made = LogMel(80)(torch.from_numpy(np.stack(waveforms)).float())
    extractor = transformers.WhisperFeatureExtractor()
    for waveform, ours in zip(waveforms, made):
        wanted = extractor(waveform, sampling_rate=16000, padding="do_not_pad", return_tensors="np").input_features[0]
        np.testing.assert_allclose(ours.numpy(), wanted, rtol=0, atol=2e-4)


def test_layers_are_shared_evenly_among_four_stages():
    assert [shares(n) for n in (4, 5, 6, 12, 24)] == [[1, 1, 1, 1], [2, 1, 1, 1], [2, 2, 1, 1], [3] * 4, [6] * 4]


BACK_END = {f"stages.3.back_end.{name}" for name in ("sum.strengths", "norm.weight", "norm.bias")}


def trained_parts(detector):
    return {name for name, weight in detector.backbone.named_parameters() if weight.requires_grad}


def test_frozen_trains_the_back_end_alone_and_has_no_dropout(folders):
    detector = detector_of(folders["wav2vec2"]).train()
    assert trained_parts(detector) == BACK_END
    x = speech()[:, None, :, None]
    assert torch.equal(detector(x), detector(x))


def test_tuning_two_layers_trains_these_and_the_last_norm_with_dropout(folders):
    detector = detector_of(folders["xls_r"], "ssl_whisper_tiny", "tune=2").train()
    assert {name.split(".layers.")[0] for name in trained_parts(detector)} == {
        "stages.2",
        "stages.3",
        "stages.3.norm.weight",
        "stages.3.norm.bias",
        *BACK_END,
    }
    x = speech()[:, None, :, None]
    maps, again = detector.stage_maps(x), detector.stage_maps(x)
    assert [torch.equal(a, b) for a, b in zip(maps, again)] == [True, True, False, False]


@pytest.mark.parametrize("family", ["wavlm", "whisper"])
def test_tuning_all_trains_all_but_fixed_positions(folders, family):
    backbone = detector_of(folders[family], "ssl_whisper_tiny", "tune=all").backbone
    still = {name for name, weight in backbone.named_parameters() if not weight.requires_grad}
    assert still == ({"stem.positions.weight"} if family == "whisper" else set())


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_begins_as_the_encoder_and_trains_queries_and_values_alone(folders, family):
    x = speech()[:, None, :, None]
    plain = detector_of(folders[family])
    detector = detector_of(folders[family], "ssl_whisper_tiny", "tune=lora", "lora_rank=3")
    for one, other in zip(detector.stage_maps(x), plain.stage_maps(x)):
        torch.testing.assert_close(one, other)
    trained = {name: weight for name, weight in detector.backbone.named_parameters() if weight.requires_grad}
    low_rank = {name: weight for name, weight in trained.items() if "parametrizations" in name}
    assert len(low_rank) == LAYERS * 2 * 2 and trained.keys() - low_rank.keys() == BACK_END
    assert {min(weight.shape) for weight in low_rank.values()} == {3}
    assert {id(p) for p in detector.backbone.slower_parameters()[0]} == {id(p) for p in low_rank.values()}
    (detector(x)[:, 0] - detector(x)[:, 1]).sum().backward()
    gradients = {name: weight.grad.abs().max() for name, weight in low_rank.items()}
    assert all((gradient > 0) == name.endswith("up") for name, gradient in gradients.items())  # down's come with up
    with torch.no_grad():
        next(weight for name, weight in low_rank.items() if "v_proj" in name and name.endswith("up")).add_(1.0)
        assert not torch.allclose(detector(x), plain(x))


@pytest.mark.parametrize("family", ["wavlm", "whisper"])
def test_checkpointing_changes_no_gradient(folders, family):
    gradients = []
    for checkpointing in ("false", "true"):
        detector = detector_of(folders[family], "ssl_whisper_tiny", "tune=all", f"checkpointing={checkpointing}")
        torch.manual_seed(5)  # of dropout
        detector.train()(speech()[:, None, :, None])[:, 0].sum().backward()
        gradients.append({n: p.grad for n, p in detector.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_the_encoder_learns_at_its_own_share_of_the_learning_rate(folders):
    detector = detector_of(folders["hubert"], "ssl_whisper_tiny", "tune=1", "lr_factor=0.25")
    conf = training.load_conf(ROOT / "conf/train/self_distill_uncertainty.yaml")
    method = training.make_method(conf, detector)
    optimizer = make_optimizer(
        conf.optimizer, method.parameters(), 0.1, method.without_weight_decay(), method.slower_parameters()
    )
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    groups = [(group["lr"], {names[id(p)] for p in group["params"]}) for group in optimizer.param_groups]
    slow = {name for lr, some in groups if lr == 0.025 for name in some}
    assert slow == {
        name
        for name, p in method.named_parameters()
        if p.requires_grad and (".stages.3.layers." in name or ".stages.3.norm." in name)
    }
    assert {lr for lr, _ in groups} == {0.1, 0.025} and groups[0][0] == 0.1
    assert sorted(name for _, some in groups for name in some) == sorted(names.values())
    spared = [group for group in optimizer.param_groups if group["weight_decay"] == 0.0]
    assert spared and all(name.startswith("weighting.") for name in {names[id(p)] for p in spared[-1]["params"]})


def test_a_sum_of_layers_by_hand():
    conf = BackEndConf(type="mean", layers="weighted")
    states = [torch.randn(2, 3, 4) * 10**i + i for i in range(3)]
    layer = LayerSum(conf, 3, 4)
    with torch.no_grad():
        layer.strengths.copy_(torch.tensor([0.5, -1.0, 2.0]))
    weights = torch.tensor([0.5, -1.0, 2.0]).exp()
    normal = [(s - s.mean(2, keepdim=True)) / s.var(2, unbiased=False, keepdim=True).add(1e-5).sqrt() for s in states]
    wanted = sum(weight * one for weight, one in zip(weights / weights.sum(), normal))
    torch.testing.assert_close(layer(states), wanted)
    last = LayerSum(BackEndConf(type="mean", layers="last"), 3, 4)
    torch.testing.assert_close(last(states), normal[-1])
    assert not list(last.parameters())


def test_attentive_pooling_by_hand():
    torch.manual_seed(0)
    conf = AttentionConf(type="attention", layers="weighted", heads=2, width=3, embedding=5)
    layer, states = Attention(conf, 2, 4), [torch.randn(1, 6, 4), torch.randn(1, 6, 4)]
    with torch.no_grad():
        layer.keys.strengths.copy_(torch.tensor([1.0, 0.0]))
    keys, values = layer.to_key(layer.keys(states))[0], layer.to_value(layer.values(states))[0]
    heads = []
    for head in range(2):
        weights = torch.stack([layer.score(key)[head] for key in keys]).softmax(0)
        heads.append(sum(weight * value for weight, value in zip(weights, values)))
    wanted = layer.project(torch.cat(heads)) / (1 + layer.norm.eps) ** 0.5
    torch.testing.assert_close(layer.eval()(states)[0, :, 0, 0], wanted)


@pytest.mark.parametrize(("conf", "embedding"), [("", WIDTH), ("_mhfa", 128), ("_aasist", 160)])
def test_each_back_end_makes_the_deepest_map(folders, conf, embedding):
    detector = detector_of(folders["whisper"], f"ssl_whisper_tiny{conf}")
    maps = detector.stage_maps(speech(2, 64600)[:, None, :, None])
    assert maps[-1].shape[1] == detector.embedding_size == embedding
    assert [m.shape[1] for m in maps] == list(detector.backbone.stage_channels)
    assert maps[-1].shape[2:] == (1, 1)


@pytest.mark.parametrize("family", ["whisper", "wavlm"])
def test_an_early_exit_is_the_head_of_its_stage_without_the_deeper_layers(folders, family):
    conf = training.load_conf(ROOT / "conf/train/self_distill.yaml")
    detector = detector_of(folders[family])
    method = training.make_method(conf, detector).eval()
    x = speech()[:, None, :, None]
    with torch.no_grad():
        for stage, logits in zip(method.trained_heads, method.head_logits(x), strict=True):
            early = method.exit_at(stage)
            assert torch.equal(early(x), logits)
            assert len(list(early.backbone.stages)) == stage
            early.train()  # the parts that are left know what is frozen


def test_a_training_keeps_the_encoder_and_does_not_need_its_folder(folder, tmp_path):
    conf = encoder_conf(folder, "ssl_whisper_tiny", "tune=2")
    torch.manual_seed(1)
    detector = nnet.make_detector(conf).eval()
    frontend_conf = load_conf(ROOT / "conf/frontend/waveform.yaml")
    kept = {"frontend": conf_files.to_dict(frontend_conf), "model": conf_files.to_dict(conf), "corpus": {"name": "c"}}
    assert str(folder) not in json.dumps(kept)
    assert make_frontend(frontend_conf).n_bins == detector.backbone.input_bins
    training_folder.save_detector(tmp_path / "final.pt", detector.state_dict(), kept, 1)
    shutil.rmtree(folder)
    loaded, _ = training_folder.load_detector(tmp_path / "final.pt", torch.device("cpu"))
    x = speech()[:, None, :, None]
    with torch.no_grad():
        assert torch.equal(loaded(x), detector(x))
    assert trained_parts(loaded) == trained_parts(detector)


def test_another_encoder_is_another_conf(folders, tmp_path):
    other = save_encoder(tmp_path / "encoder", "wav2vec2", seed=1)
    one, two = (conf_files.to_dict(encoder_conf(where)) for where in (folders["wav2vec2"], other))
    (changed,) = conf_files.differences(one, two)
    assert changed.startswith("encoder.weights.model.safetensors: ")


def test_weights_in_float16_are_read_in_float32(tmp_path):
    make_encoder("whisper").half().save_pretrained(tmp_path / "half")
    assert {p.dtype for p in detector_of(tmp_path / "half").parameters()} == {torch.float32}


def test_an_encoder_under_a_head_for_speech_recognition_is_found(folders, tmp_path):
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(folders["wav2vec2"])
    config.vocab_size = 7
    model = transformers.Wav2Vec2ForCTC(config)
    model.wav2vec2.load_state_dict(make_encoder("wav2vec2").state_dict())
    model.save_pretrained(tmp_path / "ctc")
    x = speech()[:, None, :, None]
    torch.testing.assert_close(detector_of(tmp_path / "ctc")(x), detector_of(folders["wav2vec2"])(x))
    whisper = transformers.WhisperForConditionalGeneration(transformers.AutoConfig.from_pretrained(folders["whisper"]))
    whisper.model.load_state_dict(make_encoder("whisper").state_dict())
    whisper.save_pretrained(tmp_path / "generation")
    torch.testing.assert_close(detector_of(tmp_path / "generation")(x), detector_of(folders["whisper"])(x))


def test_the_folder_says_whether_inputs_are_normalised(folder):
    assert encoder_conf(folder).encoder.normalise
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    conf = encoder_conf(folder)
    assert not conf.encoder.normalise
    x = speech()
    with torch.no_grad():
        theirs = make_encoder("wavlm")(x).last_hidden_state
        ours, _ = states_of(nnet.make_detector(conf).eval(), x)
    torch.testing.assert_close(ours[-1], theirs, rtol=0, atol=2e-5)


def test_keys_that_would_fetch_code_are_not_kept(folder):
    config = json.loads((folder / "config.json").read_text())
    evil = {
        "auto_map": {"AutoModel": "x.Y"},
        "_attn_implementation": "some/kernel",
        "attn_implementation": "some/kernel",
    }
    (folder / "config.json").write_text(json.dumps({**config, **evil}))
    conf = encoder_conf(folder)
    assert not set(evil) & set(conf.encoder.config)
    values = conf_files.to_dict(conf)
    values["encoder"]["config"] |= evil
    assert not set(evil) & set(nnet.conf_from_dict(values, "final.pt").encoder.config)


def break_no_folder(folder):
    shutil.rmtree(folder)


def break_no_config(folder):
    (folder / "config.json").unlink()


def break_only_a_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def break_other_kind(folder):
    (folder / "config.json").write_text('{"model_type": "bert"}')


def break_no_json(folder):
    (folder / "config.json").write_text("{")


def break_cut_off(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def break_lacking(folder):
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    save_file({n: v for n, v in state.items() if "layers.3.feed_forward" not in n}, folder / "model.safetensors")


def break_other_shape(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 32}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (break_no_folder, "no such folder; docs/encoders.md shows"),
        (break_no_config, "no config.json in it"),
        (break_only_a_pickle, "no .safetensors in it; other weights, such as .bin, are not read"),
        (break_other_kind, "'bert' is none of hubert, wav2vec2, wavlm, whisper"),
        (break_no_json, "cannot be read as JSON"),
        (break_cut_off, "not an encoder that can be read"),
        (break_lacking, "its weights lack 4 tensors, such as encoder.layers.3"),
        (break_other_shape, "not an encoder that can be read"),
    ],
)
def test_a_folder_that_cannot_serve_is_one_line_that_names_it(folder, damage, said):
    damage(folder)
    with pytest.raises(UserError) as error:
        nnet.make_detector(encoder_conf(folder))
    assert said in str(error.value) and str(folder) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("tune=frozn", "'frozn' is none of frozen, all, lora; did you mean 'frozen'?"),
        ("tune=0", "tune: 0 is not positive"),
        ("tune=6", "model.tune: 6 is more than the encoder's 5 layers"),
        ("lora_rank=0", "lora_rank: 0 is not positive"),
        ("lr_factor=0", "lr_factor: 0.0 is not positive"),
        ("encoder=3", "encoder: 3 is not the name of a folder"),
        ("back_end.type=mhfa", "back_end.type: 'mhfa' is no back end"),
        ("back_end.heads=2", "unknown key 'back_end.heads'"),
        ("back_end={type: attention, heads: 0, width: 4, embedding: 4}", "back_end.heads: 0 is not positive"),
    ],
)
def test_what_a_conf_refuses(folders, setting, said):
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        nnet.make_detector(encoder_conf(folders["wav2vec2"], "ssl_whisper_tiny", setting))


def test_an_encoder_of_three_layers_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(UserError, match="it has 3 layers; at least 4 are needed"):
        nnet.make_detector(encoder_conf(folder))


def test_without_the_library_one_message_says_how_to_get_it(folder, monkeypatch):
    conf = encoder_conf(folder)
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(UserError, match="pip install -c constraints.txt -r requirements-encoders.txt"):
        encoder_folders.load_encoder(conf.encoder)


def test_features_of_another_front_end_are_refused(folders):
    with pytest.raises(UserError, match="45 columns; take --frontend conf/frontend/waveform.yaml"):
        detector_of(folders["wavlm"])(torch.zeros(1, 1, 600, 45))
