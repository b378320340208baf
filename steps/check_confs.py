#!/usr/bin/env python3
"""Check all confs of a run, and --set, before anything is made: keys, values, names and combinations.

Torch, which takes seconds to load, is left out.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.abc
import importlib.machinery
import os
import runpy
import sys
import types
from abc import ABCMeta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from utils.cli import MOST_THREADS, THREADS, UserError, make_parser, run_program, whole_number

_TORCH = "--with-torch"


class _Nothing(ABCMeta):
    """A class that stands for whatever a module takes from torch when it is loaded: a base class, a decorator, a
    constant."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing(
            name, (), {"__init__": lambda self, *args, **options: None, "__call__": lambda self, wrapped: wrapped}
        )


class _NoTorch(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes `import torch` load nothing. A conf's dataclasses stand in the modules of networks and methods, which need
    torch to compute, but not to say which keys they take."""

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] != "torch":
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        module.__getattr__ = lambda name: _Nothing.__getattr__(_Nothing, name)
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def cuda_gpus() -> int | None:
    """GPUs that this torch can use here, asked of the driver alone; None where that cannot tell (torch for AMD's
    GPUs)."""
    spec = importlib.machinery.PathFinder.find_spec("torch")
    version = runpy.run_path(str(Path(spec.origin).parent / "version.py"))
    if version.get("hip"):
        return None
    count = ctypes.c_int()
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    if version.get("cuda") is None or driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def check_gpus(wanted: int) -> None:
    """Raises UserError where this machine has fewer GPUs."""
    found = cuda_gpus() if wanted else None
    if found is not None and found < wanted:
        raise UserError(
            f"--ngpu {wanted}: torch finds {found or 'no'} CUDA GPU{'s' * (found > 1)} here; use --ngpu {found}, or a"
            " torch build and a machine with more"
        )


def check(args: argparse.Namespace) -> None:
    """Raises UserError for the first thing that is wrong, naming conf, line and key."""
    from steps import augment, nnet, training
    from steps import frontend as frontends
    from steps.augment.base import WaveformStep, module_of
    from steps.data.batches import way_of_reading

    frontend = chain = None
    if args.frontend is not None:
        frontend = frontends.make_frontend(frontends.load_conf(args.frontend, args.set))
    names: dict[str, str] = {}
    for path in args.model:
        nnet.load_conf(path, args.set)
        if names.setdefault(Path(path).stem, path) != path:
            raise UserError(
                f"--model {path}: its trainings would have the name of those of {names[Path(path).stem]}; rename it"
            )
    if args.augment is not None:
        chain = augment.load_conf(args.augment, args.set)
        if not args.online and any(issubclass(module_of(step.type).Step, WaveformStep) for step in chain.steps):
            raise UserError(
                f"{args.augment}: it changes waveforms, which features on disk have left behind; add --online true"
            )
    for path in args.train_conf:
        conf = training.load_conf(path, args.set, training.parts_of(args))
        if conf.amp == "fp16" and not args.ngpu:
            raise UserError(f"{path}: amp: fp16 needs a GPU; use bf16 or none on a CPU")
        if conf.batch_size < args.processes:
            raise UserError(
                f"{path}: batch_size: {conf.batch_size} is the complete batch, too small for {args.processes} processes"
            )
        if frontend is not None:
            way_of_reading(conf.how_to_read(), conf.cache_mib, 0, frontend, None, not args.online)


def main() -> None:
    parser = make_parser(
        __doc__,
        "steps/check_confs.py --frontend conf/frontend/f0_subband.yaml --model conf/model/senet34.yaml \\\n"
        "  --train-conf conf/train/self_distill.yaml --set train.epochs=3",
    )
    parser.add_argument("--frontend", help="conf of the front end")
    parser.add_argument("--model", action="append", default=[], help="conf of a network; may be given several times")
    parser.add_argument(
        "--train-conf", action="append", default=[], help="conf of a method; may be given several times"
    )
    parser.add_argument("--schedule", help="conf of the schedule")
    parser.add_argument("--loss", help="conf of the hard loss")
    parser.add_argument("--augment", help="conf of an augmentation chain")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a conf's key")
    parser.add_argument("--online", action="store_true", help="features are computed on the fly")
    parser.add_argument("--ngpu", type=whole_number(0, MOST_THREADS), default=0, help="GPUs that a training uses")
    parser.add_argument(
        "--elsewhere", action="store_true", help="the training runs on other machines: do not look for GPUs here"
    )
    parser.add_argument("--processes", type=THREADS, default=1, help="processes of a training")
    parser.add_argument(_TORCH, action="store_true", help="load torch nevertheless")
    args = parser.parse_args()
    check_gpus(0 if args.elsewhere else args.ngpu)
    if args.with_torch:
        return check(args)
    absent = _NoTorch()
    sys.meta_path.insert(0, absent)
    try:
        check(args)
    except UserError:
        raise
    except Exception:  # a module does more with torch, when it is loaded, than name classes
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.argv, _TORCH])
    finally:
        sys.meta_path.remove(absent)


if __name__ == "__main__":
    run_program(main)
