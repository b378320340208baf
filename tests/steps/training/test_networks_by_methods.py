"""Every network by every method: it trains, and what is kept is the detector that it was before any method.

Networks and methods are found in conf/, so that new ones are tested as they come.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import dataclasses
import math
import re
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from steps import nnet, training
from steps.nnet.cost import detector_cost
from steps.training.loop import make_optimizer
from tests.tiny_encoders import FAMILIES, encoder_conf, save_encoder
from utils.cli import UserError
from utils.conf import read_yaml

ROOT = Path(__file__).resolve().parents[3]
BATCH = 4
SPECTRA = (3, 16, 45)  # channels, frames and bins: as many as any network reads
SAMPLES = (1, 4800, 1)  # of those that read a waveform
CONFS = [path for path in (ROOT / "conf/model").glob("*.yaml") if read_yaml(path)["type"] != "encoder"]
# But for pretrained encoders, which tests below have without weights, and for AASIST, whose small form is slow enough.
NETWORKS = sorted({path.stem for path in CONFS} - {"aasist"})
COMMON_KEYS = {field.name for field in dataclasses.fields(training.TrainConf)} - {"method"}


def methods_found() -> dict[str, training.TrainConf]:
    """A conf of each method and of each variant of its own keys; schedules and the like are not varied."""
    found: dict[str, tuple[str, training.TrainConf]] = {}
    for path in sorted((ROOT / "conf/train").glob("*.yaml")):
        conf = training.load_conf(path)
        own = {f.name: getattr(conf, f.name) for f in dataclasses.fields(conf) if f.name not in COMMON_KEYS}
        found.setdefault(repr(own), (path.stem, conf))
    return dict(found.values())


METHODS = methods_found()


class Operations(TorchDispatchMode):
    """The graph of what is computed meanwhile: each operation with its operands, parameters by name, and output
    shapes."""

    def __init__(self, module: torch.nn.Module):
        super().__init__()
        self.graph: list[str] = []
        self._names = {id(tensor): name for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
        self._kept: list[torch.Tensor] = []  # an id is of one tensor only as long as that lives

    def _name(self, value):
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) not in self._names:
            self._names[id(value)] = f"%{len(self._kept)}"
            self._kept.append(value)
        return self._names[id(value)]

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        operands = tree_map(self._name, (args, kwargs or {}))
        outputs = func(*args, **(kwargs or {}))
        shapes = [(self._name(t), tuple(t.shape)) for t in tree_leaves(outputs) if isinstance(t, torch.Tensor)]
        self.graph.append(f"{func} {operands} -> {shapes}")
        return outputs


def shape_for(detector: nnet.Detector) -> tuple[int, int, int]:
    bins = detector.backbone.input_bins
    return SAMPLES if bins == 1 else (*SPECTRA[:2], bins or SPECTRA[2])


def noise_for(detector: nnet.Detector) -> torch.Tensor:
    """One utterance, always the same."""
    return torch.randn(1, *shape_for(detector), generator=torch.Generator().manual_seed(3))


def graph_and_logits(detector: nnet.Detector) -> tuple[list[str], torch.Tensor]:
    x = noise_for(detector)
    with torch.no_grad(), Operations(detector.eval()) as operations:
        logits = detector(x)
    return operations.graph, logits


def new_detector(network: str) -> nnet.Detector:
    torch.manual_seed(1)
    return nnet.make_detector(nnet.load_conf(ROOT / f"conf/model/{network}.yaml"), SPECTRA[0])


def shapes_of(module: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


def train_two_steps(method: training.MethodBase) -> list[float]:
    """As the training loop calls it, in the first epoch and in the last, where some methods do otherwise."""
    torch.manual_seed(2)
    optimizer = make_optimizer(method.conf.optimizer, method.parameters(), 1e-3)
    x, labels = torch.randn(BATCH, *shape_for(method.detector)), torch.arange(BATCH) % 2
    method.train()
    losses = []
    for step, epoch in enumerate((1, method.conf.epochs), 1):
        method.begin_epoch(epoch, method.conf.epochs)
        optimizer.zero_grad(set_to_none=True)
        total, terms = method.losses(x, labels, step)
        total.backward()
        optimizer.step()
        method.after_step(step)
        losses.append(total.item())
        method.end_epoch({"total": total.item(), **{name: float(value) for name, value in terms.items()}})
    return losses


@pytest.mark.parametrize("network", NETWORKS)
def test_trains_by_every_method_and_keeps_the_same_detector(network):
    check_every_method(new_detector(network))


@pytest.mark.parametrize(
    ("family", "conf", "settings"),
    [*((family, "ssl_whisper_tiny", ["tune=all"]) for family in FAMILIES),
     ("wavlm", "ssl_whisper_tiny", ["tune=2", "checkpointing=true", "back_end.layers=last"]),
     ("hubert", "ssl_whisper_tiny", ["tune=frozen"]),
     ("wavlm", "ssl_whisper_tiny", ["tune=lora", "checkpointing=true"]),
     ("whisper", "ssl_whisper_tiny_mhfa", ["tune=frozen"]),
     ("xls_r", "ssl_whisper_tiny_aasist", ["tune=all"])],
)  # fmt: skip
def test_a_pretrained_encoder_trains_by_every_method(family, conf, settings, tmp_path):
    torch.manual_seed(1)
    model_conf = encoder_conf(save_encoder(tmp_path / "encoder", family), conf, *settings)
    check_every_method(nnet.make_detector(model_conf))


def check_every_method(untrained):
    """A network whose weights are not all trained keeps those that are not."""
    before, shapes = untrained.state_dict(), shapes_of(untrained)
    graph, _ = graph_and_logits(copy.deepcopy(untrained))
    channels, *size = shape_for(untrained)
    cost = detector_cost(untrained, *size, channels)
    products = sum(re.search(r"convolution|mm\.default", line) is not None for line in graph)
    assert products >= len(untrained.backbone.stage_channels)
    deployed = copy.deepcopy(untrained)
    for name, conf in METHODS.items():
        try:
            method = training.make_method(conf, copy.deepcopy(untrained))
        except UserError as error:  # a method for networks of another kind, which says so; see the test below
            assert "network" in str(error), name
            continue
        losses = train_two_steps(method)
        kept = method.detector
        assert all(map(math.isfinite, losses)), f"{name}: losses {losses}"
        state = kept.state_dict()
        assert all(value.isfinite().all() for value in state.values()), name
        weights = [key for key, weight in untrained.named_parameters() if weight.requires_grad]
        changed = [key for key in state if not torch.equal(state[key], before[key])]
        frozen = [key for key, weight in untrained.named_parameters() if not weight.requires_grad]
        assert not set(frozen) & set(changed), name
        changed = [key for key in changed if key in weights]
        assert {weights[0], "head.weight"} <= set(changed), f"{name}: the first layer or the head was not trained"
        assert len(changed) > 0.7 * len(weights), f"{name}: {len(changed)} of {len(weights)} parameters were trained"
        assert shapes_of(kept) == shapes, name
        assert detector_cost(kept, *size, channels) == cost, name
        kept_graph, logits = graph_and_logits(kept)
        assert kept_graph == graph, name
        # The weights are all that a score takes: a detector that no method has touched says the same with them.
        deployed.load_state_dict(state)
        with torch.no_grad():
            assert torch.equal(deployed.eval()(noise_for(deployed)), logits), name


def test_the_graph_tells_networks_apart():
    graph, _ = graph_and_logits(new_detector("ecanet9"))
    assert graph == graph_and_logits(new_detector("ecanet9"))[0]
    other = new_detector("ecanet9")
    first = other.backbone.stages[0][0]
    first.register_forward_hook(lambda module, inputs, output: output + inputs[0])
    assert graph != graph_and_logits(other)[0]


def test_every_method_is_found_and_trains_some_network():
    assert {conf.method for conf in METHODS.values()} == set(training.method_names())
    left = set(METHODS)
    for network in NETWORKS:
        detector = new_detector(network) if left else None
        for name in sorted(left):
            with contextlib.suppress(UserError):
                training.make_method(METHODS[name], copy.deepcopy(detector))
                left.remove(name)
    assert not left, f"{', '.join(sorted(left))} train none of {', '.join(NETWORKS)}"


def test_no_method_names_a_network():
    """Code of steps/training knows of no network by type, conf or family; docstrings and errors may give an example."""
    families = {family for name in NETWORKS for family in re.findall("[a-z]+net", name)}
    word = re.compile("|".join(map(re.escape, sorted({*nnet.model_types(), *NETWORKS, *families}))), re.I)
    assert {"resnet", "ecanet", "mobilenet"} <= {*nnet.model_types(), *families}

    class WithoutTexts(ast.NodeTransformer):
        def visit_Raise(self, node):
            return ast.Pass()

        def visit_Expr(self, node):
            return ast.Pass() if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    for path in sorted((ROOT / "steps/training").rglob("*.py")):
        code = ast.unparse(WithoutTexts().visit(ast.parse(path.read_text(encoding="utf-8"))))
        found = word.search(code)
        assert found is None, f"{path.name} names {found[0]}"
