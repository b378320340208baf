"""docs/extend.md: its network and its method are put beside the toolkit's own and do what the page promises."""

import re
import sys

import pytest
import torch

from steps import nnet, training
from steps.nnet.base import check_maps
from tests.conftest import ROOT
from tests.steps.training.test_networks_by_methods import SPECTRA, check_every_method, train_two_steps
from utils.cli import UserError


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The page's files in a folder like the toolkit's; its modules are found like the toolkit's own."""
    blocks = re.findall(r"^```(?:python|yaml) (\S+)\n(.*?)^```$", (ROOT / "docs/extend.md").read_text(), re.M | re.S)
    for name, text in blocks:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("base: ", f"base: {ROOT}/conf/train/") if path.suffix == ".yaml" else text)
    for room in (nnet, training):
        monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path / room.__name__.replace(".", "/"))])
    return tmp_path


def test_the_network_trains_by_every_method(added):
    torch.manual_seed(1)
    check_every_method(nnet.make_detector(nnet.load_conf(added / "conf/model/plain.yaml"), SPECTRA[0]))


def test_the_method_trains_a_network(added):
    conf = training.load_conf(added / "conf/train/modest.yaml")
    assert (conf.method, conf.modesty, conf.epochs) == ("modest", 0.1, 32)
    torch.manual_seed(1)
    detector = nnet.make_detector(nnet.load_conf(ROOT / "conf/model/ecanet9.yaml"), SPECTRA[0])
    assert len(train_two_steps(training.make_method(conf, detector))) == 2


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        ("self.stage_channels = (conf.width, conf.width, 2 * conf.width, 2 * conf.width)", "pass", "stage_channels"),
        ("2 * conf.width, 2 * conf.width)\n", "2 * conf.width)\n", "four whole numbers"),
        ("maps.append(x)", "maps.append(x.mean(3))", "promises maps of 16, 16, 32, 32 channels"),
        ("return maps", "return maps[1:]", "forward yields (1, 16, 150, 12), (1, 32, 75, 6), (1, 32, 38, 3)"),
    ],
)
def test_a_network_that_breaks_the_promise_is_refused_in_one_line(added, line, instead, said):
    module = added / "steps/nnet/plain.py"
    text = module.read_text()
    assert line in text
    (added / "steps/nnet/broken.py").write_text(
        text.replace("*self.stage_channels)", "16, 16, 32, 32)").replace(line, instead)
    )
    conf = added / "conf/model/broken.yaml"
    conf.write_text((added / "conf/model/plain.yaml").read_text().replace("type: plain", "type: broken"))
    sys.modules.pop("steps.nnet.broken", None)
    with pytest.raises(UserError, match=re.escape(said)):
        check_maps(nnet.make_detector(nnet.load_conf(conf)), torch.zeros(1, 1, 600, 45))
