"""What a network costs: parameters and multiply-adds, stage by stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def count_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _multiply_adds(module: nn.Module, output: Any) -> int:
    """Of one utterance: convolutions, linear and recurrent layers; what is element-wise is not counted, as is usual."""
    if isinstance(module, nn.RNNBase):
        steps = output[0].shape[1 if module.batch_first else 0]
        return steps * sum(weight.numel() for weight in module.parameters() if weight.ndim == 2)
    if not isinstance(output, Tensor):
        return 0
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return output[0].numel() * module.weight[0].numel()
    weight = getattr(module, "weight", None)
    if isinstance(weight, Tensor) and weight.ndim == 2:  # Linear, AngleLinear
        return output[0].numel() * weight.shape[1]
    return 0


def measure(
    module: nn.Module, run: Callable[[], Any], parts: dict[str, nn.Module]
) -> dict[str, tuple[int, tuple | None]]:
    """Multiply-adds and output shape of each of `parts` (and of everything within it) while `run()` is called.

    Returns name -> (multiply-adds, output shape without the batch, or None if the part was not called or yields
    several tensors). Raises nothing of its own; `run` must call `module` with a batch of one.
    """
    counts = dict.fromkeys(parts, 0)
    shapes: dict[str, tuple | None] = dict.fromkeys(parts)
    hooks = []
    for name, part in parts.items():

        def shape_hook(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
            shapes[name] = tuple(output.shape[1:]) if isinstance(output, Tensor) else None

        hooks.append(part.register_forward_hook(shape_hook))
        for layer in part.modules():

            def count_hook(layer: nn.Module, _: Any, output: Any, name: str = name) -> None:
                counts[name] += _multiply_adds(layer, output)

            hooks.append(layer.register_forward_hook(count_hook))
    training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            run()
    finally:
        for hook in hooks:
            hook.remove()
        module.train(training)
    return {name: (counts[name], shapes[name]) for name in parts}


def detector_cost(detector: nn.Module, frames: int, bins: int, channels: int = 1) -> dict[str, Any]:
    """parameters, multiply_adds and input_shape [frames, bins] of a detector, for one utterance."""
    x = torch.zeros(1, channels, frames, bins)
    ((multiply_adds, _),) = measure(detector, lambda: detector(x), {"detector": detector}).values()
    return {
        "parameters": count_parameters(detector),
        "multiply_adds": multiply_adds,
        "input_shape": [frames, bins] if channels == 1 else [channels, frames, bins],
    }
