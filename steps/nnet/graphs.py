"""CUDA graphs of networks: the forward and backward pass of a batch are recorded once and replayed by one call each.

A small network's step on a fast GPU waits for the host, which starts hundreds of operations one by one. A replay starts
them all at once. It reads and writes the same memory each time, so that it stands for one pass of one shape at a time;
all other passes are computed as usual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from steps.nnet.base import BackboneBase

Maps = list[Tensor]


def usable(device: torch.device) -> bool:
    """Whether graphs can be recorded on the device."""
    return device.type == "cuda"


def record(module: nn.Module, x: Tensor) -> Callable[[Tensor], Maps]:
    """What computes `module` of inputs of x's shape by graphs, forward and, where gradients are on, backward.

    Passes made for warming up change buffers and draw random numbers. Raises RuntimeError where an operation cannot be
    recorded.
    """
    return cast(Callable[[Tensor], Maps], torch.cuda.make_graphed_callables(module, (x,), allow_unused_input=True))


class _Plain(nn.Module):
    """A network's own forward pass, without the hooks of the network itself: these run around a replay too."""

    def __init__(self, network: nn.Module, forward: Callable[[Tensor], Maps]):
        super().__init__()
        self.network, self.own = network, forward
        self.training = network.training

    def forward(self, x: Tensor) -> Maps:
        return self.own(x)


class _Pass(NamedTuple):
    """All that a recording depends on beside the input's values."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    cast: torch.dtype | None  # by autocast
    gradients: bool
    inference: bool
    training: tuple[bool, ...]  # of each module of the network
    learning: tuple[bool, ...]  # of each parameter


def _pass_of(network: nn.Module, x: Tensor) -> _Pass:
    kind = x.device.type
    return _Pass(
        tuple(x.shape),
        x.dtype,
        torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None,
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        tuple(module.training for module in network.modules()),
        tuple(parameter.requires_grad for parameter in network.parameters()),
    )


@contextmanager
def _as_before(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Within, nothing is cached by autocast; afterwards buffers and random states are those of before."""
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    states = torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(cached)
        with torch.no_grad():
            for buffer, kept in buffers:
                # Unseen by autograd: an earlier pass of this step may need the buffer, and its values are those it saw.
                buffer.data.copy_(kept)
        torch.set_rng_state(states[0])
        if states[1] is not None:
            torch.cuda.set_rng_state(states[1], device)


def _below(network: nn.Module) -> Iterator[nn.Module]:
    return (module for module in network.modules() if module is not network)


class _Graphed:
    """In place of a network's forward: replays what was recorded where it stands for this pass."""

    def __init__(self, network: BackboneBase, say: Callable[[str], None]):
        self.network, self.own, self.say = network, network.forward, say
        # By whether gradients are on, and whether the network is in training mode.
        self.recorded: dict[tuple[bool, bool], tuple[_Pass, Callable[[Tensor], Maps] | None]] = {}
        self.used: set[tuple[bool, bool]] = set()  # in this step

    def __call__(self, x: Tensor) -> Maps:
        if any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in _below(self.network)):
            return self._plainly(x, "passes that hooks look into are")
        wanted = _pass_of(self.network, x)
        key = wanted.gradients, self.network.training
        if key not in self.recorded:
            self.recorded[key] = wanted, self._record(x)
        found, replay = self.recorded[key]
        if replay is None:
            return self.own(x)
        if found.shape != wanted.shape:
            return self._plainly(x, f"batches of another shape than {' x '.join(map(str, found.shape))} are")
        if found != wanted:
            return self._plainly(x, "passes in another mode than the recorded one are")
        if key in self.used:  # the first pass's results lie where a second replay would write
            return self._plainly(x, "all but the first pass of a step are")
        self.used.add(key)
        return list(replay(x))

    def _plainly(self, x: Tensor, what: str) -> Maps:
        self.say(f"{what} computed without graphs")
        return self.own(x)

    def _record(self, x: Tensor) -> Callable[[Tensor], Maps] | None:
        with _as_before(self.network, x.device):
            try:
                return record(_Plain(self.network, self.own), x.detach().clone())
            except RuntimeError as error:
                name = type(self.network).__module__.rpartition(".")[2]
                self.say(f"{name} cannot be recorded, so it is computed without graphs ({str(error).splitlines()[0]})")
                return None


class Graphs:
    """Within this context the networks that learn in `root` are computed by CUDA graphs where that can be.

    Of each network the first pass with gradients and the first one without are recorded, in training and in scoring.
    Passes of another shape or mode, under hooks, or beside a first one in the same step are computed as usual, and so
    are all where recording fails. Each reason is printed once. `refused`: why no network can be graphed here; None:
    they can.
    """

    def __init__(self, root: nn.Module, device: torch.device, wanted: bool, refused: str | None = None):
        self._said: set[str] = set()
        if refused is None and not usable(device):
            refused = "no GPU is used"
        if wanted and refused is not None:
            self._say(f"left out, as {refused}")
        self._networks = learning_networks(root) if wanted and refused is None else []
        self._graphed: list[_Graphed] = []

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            print(f"train.graphs: {text}", flush=True)

    def __enter__(self) -> Graphs:
        for network in self._networks:
            graphed = _Graphed(network, self._say)
            self._graphed.append(graphed)
            network.forward = graphed  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: Any) -> None:
        if self._graphed and not any(graphed.recorded for graphed in self._graphed):
            self._say("nothing was recorded, as no pass went through all stages of a network")
        for graphed in self._graphed:
            del graphed.network.forward
        self._graphed = []

    def begin_step(self) -> None:
        """Say that no result of an earlier pass is needed any more; called before each batch."""
        for graphed in self._graphed:
            graphed.used.clear()


def learning_networks(root: nn.Module) -> list[BackboneBase]:
    """The networks in `root` with parameters that learn; of a network of branches the branches."""
    networks = [module for module in root.modules() if isinstance(module, BackboneBase)]
    return [
        network
        for network in networks
        if not any(isinstance(module, BackboneBase) for module in _below(network))
        and any(parameter.requires_grad for parameter in network.parameters())
    ]
