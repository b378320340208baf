"""The chain: order, probabilities, repeatable and independent random numbers, wrong confs."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import yaml

from steps import augment
from tests.augment_steps import WAVEFORM_STEPS, chain_of, conf_of, rng
from utils import conf as conf_files
from utils.cli import UserError


def test_a_generator_belongs_to_seed_epoch_utterance_and_purpose():
    given = [
        (1, 1, "a", "x"),
        (2, 1, "a", "x"),
        (1, 2, "a", "x"),
        (1, 1, "b", "x"),
        (1, 1, "a", "y"),
        (11, 1, "a", "x"),
    ]
    drawn = [augment.utterance_rng(*key).integers(2**62) for key in given]
    assert len(set(drawn)) == len(given)
    assert drawn == [augment.utterance_rng(*key).integers(2**62) for key in given]


def test_a_generator_is_the_same_everywhere():
    drawn = augment.utterance_rng(3, 7, "LA_T_1000137", "waveform").integers(10**9)
    assert drawn == 14316862  # by BLAKE2b and PCG64, both the same on every machine


def test_heavy_libraries_are_loaded_only_when_needed():
    code = (
        "import sys, steps.augment as a; a.make_chain(a.conf_from_dict({'steps': [{'type': 'pitch', 'semitones': "
        "[-1, 1]}]}, 'x'), 16000); assert not {'torch', 'librosa'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_run_repeats(speech):
    chain, speech = chain_of(*WAVEFORM_STEPS), speech[:8000]
    made = [chain.waveform(speech, rng(utt=utt, epoch=epoch)) for utt in "ab" for epoch in (1, 2)]
    again = pickle.loads(pickle.dumps(chain))  # as a worker process gets it
    for i, (utt, epoch) in enumerate((utt, epoch) for utt in "ab" for epoch in (1, 2)):
        np.testing.assert_array_equal(again.waveform(speech, rng(utt=utt, epoch=epoch)), made[i])
    assert not any(np.array_equal(made[0], other) for other in made[1:])


def test_a_step_draws_the_same_whatever_the_others_do(speech):
    alone = chain_of("noise").waveform(speech, rng())
    for others in (["reverb", "noise"], ["noise", "time_crop"], ["rawboost", "speed", "noise", "codec"]):
        steps = [step if step == "noise" else {"type": step, "p": 0} for step in others]
        np.testing.assert_array_equal(chain_of(*steps).waveform(speech, rng()), alone)
    changed = [
        r
        for r in range(40)
        if not np.array_equal(chain_of({"type": "noise", "p": 0.4}).waveform(speech, rng(r)), speech)
    ]
    assert 5 < len(changed) < 35
    for r in changed:  # where it is done, `p` does not change what it draws
        np.testing.assert_array_equal(
            chain_of({"type": "noise", "p": 0.4}).waveform(speech, rng(r)), chain_of("noise").waveform(speech, rng(r))
        )
    features = speech[:24000].astype(np.float32).reshape(400, 60)
    np.testing.assert_array_equal(
        chain_of("time_mask").features(features, 1, rng()),
        chain_of("time_mask", {"type": "frequency_mask", "p": 0}).features(features, 1, rng()),
    )


def test_two_steps_of_a_type_draw_apart(speech):
    once, twice = chain_of("noise"), chain_of("noise", "noise")
    first = once.waveform(speech, rng())
    second = twice.waveform(speech, rng())
    assert abs(np.corrcoef(first - speech, second - first)[0, 1]) < 0.5


@pytest.mark.parametrize("p", [0, 0.3, 1])
def test_probability(p):
    chain = chain_of({"type": "time_crop", "seconds": [0.001, 0.001], "p": p}, {"type": "time_mask", "p": p})
    n = 600
    waveform, features = np.ones(64), np.arange(100, dtype=np.float32)[:, None]
    cropped = sum(len(chain.waveform(waveform, rng(i))) < 64 for i in range(n))
    # of the masks, those that are not drawn 0 frames wide: two of 21 widths
    masked = sum(not np.array_equal(chain.features(features, 1, rng(i)), features) for i in range(n)) / (1 - 1 / 21**2)
    for count in (cropped, masked):
        assert abs(count - n * p) <= 4.5 * np.sqrt(n * p * (1 - p)) + 0.01 * n * p


def test_what_a_chain_has():
    chain = chain_of("noise", "mixup")
    assert chain.has_waveform_steps and not chain.has_feature_steps and chain.mixup.alpha == 0.4
    chain = chain_of("time_mask")
    assert not chain.has_waveform_steps and chain.has_feature_steps and chain.mixup is None
    empty = chain_of()
    waveform, features = np.ones(5), np.ones((3, 4), np.float32)
    assert empty.waveform(waveform, rng()) is waveform and empty.features(features, 1, rng()) is features


def test_mixup():
    chain = chain_of({"type": "mixup", "p": 0.6})
    draws = [chain.mixup_draw(rng(i), 16) for i in range(3000)]
    mixed = [weight for _, weight in draws if weight != 1]
    assert abs(len(mixed) / 3000 - 0.6) < 0.04
    assert abs(np.mean(mixed) - 0.5) < 0.03
    assert abs(np.var(mixed) - 1 / (4 * (2 * 0.4 + 1))) < 0.01  # of Beta(0.4, 0.4)
    for permutation, weight in draws[:200]:
        assert 0 <= weight <= 1 and sorted(permutation) == list(range(16))
        assert weight != 1 or np.array_equal(permutation, np.arange(16))
    again = chain.mixup_draw(rng(5), 16)
    assert again[1] == draws[5][1] and np.array_equal(again[0], draws[5][0])
    permutation, weight = chain_of("noise").mixup_draw(rng(), 4)
    assert weight == 1 and permutation.tolist() == [0, 1, 2, 3]


def test_a_conf_through_its_dict():
    conf = conf_of(*WAVEFORM_STEPS, "time_mask", "frequency_mask", "mixup")
    values = yaml.safe_load(yaml.safe_dump(conf_files.to_dict(conf)))
    assert augment.conf_from_dict(values, "x") == conf
    assert {step.type for step in conf.steps} == set(augment.step_types())


GOOD = (
    "steps:\n- type: noise\n  p: 0.5\n  snr_db: [5, 15]\n- type: time_mask\n  number: 1\n  max_frames: 9\n  fill:"
    " zero\n"
)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("type: noise", "type: niose", "line 2: steps[0].type: 'niose' is no augmentation; did you mean 'noise'?"),
        ("  number: 1", "  numbr: 1", "line 6: unknown key 'steps[1].numbr'; did you mean 'steps[1].number'?"),
        ("p: 0.5", "p: 1.5", "line 3: steps[0].p: 1.5 must be between 0 and 1"),
        ("[5, 15]", "[15, 5]", "line 4: steps[0].snr_db: [15.0, 5.0] is not [lowest, highest]"),
        ("[5, 15]", "[5]", "line 4: steps[0].snr_db: [5.0] is not [lowest, highest]"),
        ("[5, 15]", "5", "line 4: steps[0].snr_db: 5 is not a list"),
        ("  max_frames: 9\n", "", "line 5: the key 'steps[1].max_frames' is missing"),
        ("fill: zero", "fill: men", "line 8: steps[1].fill: 'men' is none of mean, zero; did you mean 'mean'?"),
        ("max_frames: 9", "max_frames: 0", "line 7: steps[1].max_frames: 0 is not positive"),
        ("- type: noise", "- kind: noise", "line 2: steps[0].type: None is no augmentation"),
        ("steps:", "stepz:", "line 1: unknown key 'stepz'; did you mean 'steps'?"),
        (
            GOOD,
            GOOD + "- type: speed\n  factors: [1]\n",
            "line 9: steps[2].type: speed works on waveforms and has to stand",
        ),
        (GOOD, GOOD + 2 * "- type: mixup\n  alpha: 1\n", "line 1: steps: a batch can be mixed once only"),
        (GOOD, GOOD + "- type: mixup\n  alpha: 0\n", "line 10: steps[2].alpha: 0.0 is not positive"),
        (GOOD, "steps:\n- type: speed\n  factors: [0]\n", "line 3: steps[0].factors"),
        (GOOD, "steps:\n- type: pitch\n  semitones: [-30, 0]\n", "line 3: steps[0].semitones"),
        (GOOD, "steps:\n- type: reverb\n  t60_s: [0, 1]\n", "line 3: steps[0].t60_s"),
        (GOOD, "steps:\n- type: time_crop\n  seconds: [-1, 1]\n", "line 3: steps[0].seconds"),
    ],
)
def test_wrong_confs_are_named_with_file_and_line(tmp_path, old, new, told):
    (tmp_path / "a.yaml").write_text(GOOD)
    augment.load_conf(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text(GOOD.replace(old, new))
    with pytest.raises(UserError) as error:
        augment.load_conf(tmp_path / "a.yaml")
    assert f"a.yaml: {told}" in str(error.value)


def test_the_example_of_the_docs(root, tmp_path):
    text = (root / "docs/augmentation.md").read_text()
    (tmp_path / "a.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    assert [step.type for step in augment.load_conf(tmp_path / "a.yaml").steps] == ["reverb", "noise", "time_mask"]
    for kind in augment.step_types():
        assert f"`{kind}`" in text


def test_settings(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    conf = augment.load_conf(
        tmp_path / "a.yaml", ["augment.steps.0.p=0.1", "train.epochs=3", "augment.steps.1.number=4"]
    )
    assert conf.steps[0].p == 0.1 and conf.steps[1].number == 4
    with pytest.raises(UserError, match=r"--set augment.steps.0.p: steps\[0\].p: 2.0 must be between 0 and 1"):
        augment.load_conf(tmp_path / "a.yaml", ["augment.steps.0.p=2"])
