"""Pretrained encoders of raw samples: Wav2Vec2 and XLS-R, HuBERT, WavLM, and Whisper's encoder.

The transformer's layers make the four stages, as many in each as in the others, or one more in the shallower ones. The
maps of stages 1 to 3 are their last layers' states, (batch, width, frames, 1). Stage 4 has a back end, whose map is
that stage's. steps/encoders/ reads the weights and has what comes before the layers. A frozen
encoder's states may also be the input, from conf/frontend/whisper_tiny.yaml and the like.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from steps.encoders.folders import EncoderConf, read_encoder
from steps.encoders.parts import parts_of, size_of
from steps.nnet.base import BackboneBase, ModelConf, ModulesOf
from steps.nnet.encoder_back_ends import BackEndConf, make_back_end
from steps.nnet.waveform import check_waveform
from utils.cli import UserError

_STAGES = 4


@dataclass(frozen=True, kw_only=True)
class Conf(ModelConf):
    """`encoder`: its folder. `tune`: what is trained of it, a number being that of its last layers, and lora changes of
    `lora_rank` to its attention. `lr_factor`: its learning rate is the schedule's times that. `checkpointing`: compute
    its layers again for the gradient, which saves memory and costs time."""

    encoder: Annotated[EncoderConf, read_encoder]
    tune: Literal["frozen", "all", "lora"] | int
    lora_rank: int
    lr_factor: float
    checkpointing: bool
    back_end: BackEndConf

    def __post_init__(self) -> None:
        if isinstance(self.tune, int) and self.tune < 1:
            raise ValueError(f"tune: {self.tune} is not positive; frozen trains no layer")
        if self.lora_rank < 1:
            raise ValueError(f"lora_rank: {self.lora_rank} is not positive")
        if not self.lr_factor > 0:
            raise ValueError(f"lr_factor: {self.lr_factor} is not positive")


def shares(layers: int) -> list[int]:
    """How many of the layers each stage has, shallow to deep."""
    return [layers // _STAGES + (stage < layers % _STAGES) for stage in range(_STAGES)]


class LowRank(nn.Module):
    """A weight, which stays, plus a product of two narrow matrices, which begins at 0.

    Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022, without a factor.
    """

    def __init__(self, weight: Tensor, rank: int):
        super().__init__()
        outputs, inputs = weight.shape
        self.down = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(rank, inputs), a=math.sqrt(5)))
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def add_low_rank(layers: Iterable[nn.Module], rank: int) -> None:
    """To the weights of the queries and values in these layers' attention."""
    for layer in layers:
        for name, linear in [*layer.named_modules()]:
            if name.endswith(("q_proj", "v_proj")):
                parametrize.register_parametrization(linear, "weight", LowRank(linear.weight, rank))


class Passing:
    """What goes from layer to layer: all states so far, and WavLM's bias by relative position."""

    def __init__(self, *states: Tensor):
        self.states = [*states]
        self.bias: Tensor | None = None


class Stage(nn.Module):
    """Some layers of a transformer. bias: whether they pass on WavLM's; again: compute them again for the gradient."""

    def __init__(self, layers: Iterable[nn.Module], bias: bool, again: bool):
        super().__init__()
        self.layers: ModulesOf[nn.Module] = ModulesOf(layers)
        self.bias, self.again = bias, again

    def forward(self, passing: Passing) -> Tensor:
        """Adds the states of its layers to `passing`. Returns the last one as a map (batch, width, frames, 1)."""
        for layer in self.layers:
            passing.states.append(self._through(layer, passing))
        return passing.states[-1].transpose(1, 2)[..., None]

    def _through(self, layer: nn.Module, passing: Passing) -> Tensor:
        def run(state: Tensor, bias: Tensor | None) -> Any:
            return layer(state, attention_mask=None, **({"position_bias": bias} if self.bias else {}))

        given = passing.states[-1], passing.bias
        again = self.again and self.training and torch.is_grad_enabled()
        made = checkpoint(run, *given, use_reentrant=False) if again else run(*given)
        if self.bias:
            made, passing.bias = made
        return made


class LastStage(Stage):
    """The last layers, their norm, and the back end, which makes the map."""

    def __init__(self, layers: Iterable[nn.Module], bias: bool, again: bool, norm: nn.Module, back_end: nn.Module):
        super().__init__(layers, bias, again)
        self.norm, self.back_end = norm, back_end

    def forward(self, passing: Passing) -> Tensor:
        super().forward(passing)
        passing.states[-1] = self.norm(passing.states[-1])
        return self.back_end(passing.states)


class ReadStage(nn.Module):
    """Of an input that is the states of all layers: the map of layer `layer`, or what the back end makes of all."""

    def __init__(self, layer: int, back_end: nn.Module | None):
        super().__init__()
        self.layer, self.back_end = layer, back_end

    def forward(self, passing: Passing) -> Tensor:
        if self.back_end is not None:
            return self.back_end(passing.states)
        return passing.states[self.layer].transpose(1, 2)[..., None]


class Backbone(BackboneBase):
    """in_channels: 1 for raw samples; otherwise the input is states (batch, layers + 1, frames, width), as
    steps/frontend/encoder.py computes them, and there is no encoder here.

    Raises UserError for an encoder of fewer than four layers, for more layers to tune than it has, and for states of
    another encoder or of one that is to be tuned.
    """

    def __init__(self, conf: Conf, in_channels: int = 1):
        super().__init__()
        count, width = size_of(conf.encoder)
        if count < _STAGES:
            raise UserError(f"model.encoder: it has {count} layers; at least {_STAGES} are needed, one for each stage")
        if isinstance(conf.tune, int) and conf.tune > count:
            raise UserError(f"model.tune: {conf.tune} is more than the encoder's {count} layers")
        back_end = make_back_end(conf.back_end, count + 1, width)
        self.stage_channels = (*[width] * (_STAGES - 1), back_end.outputs)
        self.lr_factor = conf.lr_factor
        self.reads_states = in_channels > 1
        self.input_bins = width if self.reads_states else 1
        self.stages: ModulesOf[Any]
        if self.reads_states:
            if conf.tune != "frozen":
                raise UserError(
                    f"model.tune: {conf.tune}: the front end has computed the encoder's states, so it cannot be tuned;"
                    " set tune: frozen, or take --frontend conf/frontend/waveform.yaml"
                )
            if in_channels != count + 1:
                raise UserError(
                    f"model.encoder: it has {count + 1} states, and the front end makes {in_channels}; take a front "
                    "end of the same encoder"
                )
            ends = [*accumulate(shares(count))]
            self.stages = ModulesOf([*(ReadStage(end, None) for end in ends[:-1]), ReadStage(count, back_end)])
            return
        parts = parts_of(conf.encoder)
        layers = iter(parts.layers)
        of_stages = [([next(layers) for _ in range(share)], parts.bias, conf.checkpointing) for share in shares(count)]
        self.stem = parts.stem
        self.stages = ModulesOf(
            [*(Stage(*of) for of in of_stages[:-1]), LastStage(*of_stages[-1], parts.norm, back_end)]
        )
        kept = {"all": 0, "frozen": count + 2, "lora": count + 2}
        first = count - conf.tune + 1 if isinstance(conf.tune, int) else kept[conf.tune]
        for part in self._parts[:first]:
            part.requires_grad_(False)
        if conf.tune == "lora":
            add_low_rank(parts.layers, conf.lora_rank)

    @property
    def _parts(self) -> list[nn.Module]:
        """The encoder, without the back end: stem, layers and, where the last stage is there, the last norm."""
        if self.reads_states:
            return []
        layers = [layer for stage in self.stages for layer in stage.layers]
        return [self.stem, *layers, *(stage.norm for stage in self.stages if isinstance(stage, LastStage))]

    def train(self, mode: bool = True) -> Backbone:
        """What is not tuned is always as in evaluation: without dropout."""
        super().train(mode)
        for part in self._parts:
            part.train(mode and any(p.requires_grad for p in part.parameters()))
        return self

    def slower_parameters(self) -> tuple[list[nn.Parameter], float]:
        return [p for part in self._parts for p in part.parameters() if p.requires_grad], self.lr_factor

    def forward(self, x: Tensor) -> list[Tensor]:
        """Raises UserError unless the input is a raw waveform or, by its channels, the encoder's states."""
        if self.reads_states:
            if x.shape[3] != self.input_bins:
                raise UserError(
                    f"model.encoder: its states have {self.input_bins} values, and the front end makes {x.shape[3]}; "
                    "take a front end of the same encoder"
                )
            passing = Passing(*x.unbind(1))
        else:
            check_waveform(x)
            passing = Passing(self.stem(x[:, 0, :, 0]))
        return [stage(passing) for stage in self.stages]
