"""Grids of manipulations: the toolkit's own, and those that cannot be."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from steps.augment import make_chain, utterance_rng
from steps.robustness.grid import load_grid
from utils.cli import UserError

GOOD = """manipulations:
  - name: quieter
    family: level
    steps:
      - {type: gain, db: [-20, -20]}
  - name: louder
    family: level
    steps:
      - {type: gain, db: [20, 20]}
"""


def test_every_manipulation_of_the_grid_is_its_own_and_repeats(root, waveform_maker):
    speech = np.concatenate([waveform_maker(80_000), np.full(4000, 1e-4)])
    grid = load_grid(root / "conf/stress/grid.yaml").manipulations
    made = {}
    for one in grid:
        chain = make_chain(one.chain, 16000)
        made[one.name] = chain.waveform(speech, utterance_rng(1, 0, "utt", "stress"))
        again = chain.waveform(speech, utterance_rng(1, 0, "utt", "stress"))
        np.testing.assert_array_equal(made[one.name], again)
        assert all(step.p == 1 for step in one.steps), one.name
    assert len({waveform.tobytes() for waveform in [speech, *made.values()]}) == len(grid) + 1 > 40


def test_families_stand_together(root):
    families = [one.family for one in load_grid(root / "conf/stress/grid.yaml").manipulations]
    changes = [family for before, family in zip(["", *families], families) if family != before]
    assert len(changes) == len(set(changes))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("louder", "quieter", "line 6: manipulations[1].name"),
        ("name: louder", "name: As it is", None),
        ("name: louder", "name: as it is", "names no files of its own; give another name"),
        ("name: louder", "name: '%'", "names no files of its own"),
        ("family: level", "family: ''", "line 3: manipulations[0].family: it is empty"),
        ("type: gain", "type: gian", "line 5: manipulations[0].steps[0].type: 'gian' is no augmentation; did you mean"),
        ("{type: gain, db: [-20, -20]}", "{type: mixup, alpha: 1}", "type: mixup changes features"),
        ("    family: level\n", "", "line 2: the key 'manipulations[0].family' is missing"),
    ],
)
def test_wrong_grids_are_named_with_file_and_line(tmp_path, old, new, told):
    (tmp_path / "g.yaml").write_text(GOOD.replace(old, new, 1))
    if told is None:
        assert len(load_grid(tmp_path / "g.yaml").manipulations) == 2
        return
    with pytest.raises(UserError) as error:
        load_grid(tmp_path / "g.yaml")
    assert "g.yaml" in str(error.value) and told in str(error.value)


def test_the_example_of_the_docs(root, tmp_path):
    text = (root / "docs/stress.md").read_text().split("```yaml\n")[1].split("```")[0]
    (tmp_path / "g.yaml").write_text(text)
    assert len(load_grid(tmp_path / "g.yaml").manipulations) == len(yaml.safe_load(text)["manipulations"])
