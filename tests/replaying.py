"""Stands in for steps.nnet.graphs.record on a machine without a GPU: the same passes, in one memory for all replays.

As torch.cuda.make_graphed_callables does, it warms up by three passes, gives the same memory for outputs and for
gradients at each replay, and a backward pass that belongs to the last forward pass alone.
"""

from __future__ import annotations

import torch

WARM_UP = 3


class Recorder:
    """A `record`, with the input shapes that were recorded, and the replays of each."""

    def __init__(self):
        self.recorded, self.replays, self.backwards = [], [], 0

    def __call__(self, module, x):
        parameters = [p for p in module.parameters() if p.requires_grad]
        for _ in range(WARM_UP):
            outputs = module(x)
            if torch.is_grad_enabled():
                torch.autograd.grad([o.sum() for o in outputs], parameters, allow_unused=True)
        self.recorded.append(tuple(x.shape))
        static = {"outputs": None, "gradients": None, "made": None}
        recorder = self

        def into(name, values):
            """Copy to the memory of all replays, which the first one makes."""
            if static[name] is None:
                static[name] = [None if v is None else v.detach().clone() for v in values]
            else:
                for place, value in zip(static[name], values):
                    if value is not None:
                        place.data.copy_(value.detach())
            return tuple(None if place is None else place.detach() for place in static[name])

        class Replay(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, *_):
                with torch.set_grad_enabled(gradients):
                    static["made"] = module(x)
                return into("outputs", static["made"])

            @staticmethod
            @torch.autograd.function.once_differentiable
            def backward(ctx, *given):
                recorder.backwards += 1
                found = torch.autograd.grad(static["made"], parameters, given, allow_unused=True)
                return (None, *into("gradients", found))

        gradients = torch.is_grad_enabled()

        def replay(x):
            assert tuple(x.shape) == self.recorded[-1] or tuple(x.shape) in self.recorded
            self.replays.append(tuple(x.shape))
            return list(Replay.apply(x, *parameters))

        return replay
