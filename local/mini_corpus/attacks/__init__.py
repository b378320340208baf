"""The attacks: each module of this package registers its functions by `copy_attack` or `tts_attack` of attack.py."""

from __future__ import annotations

import importlib
import pkgutil

from local.mini_corpus.attack import REGISTERED, Attack


def attacks_by_method() -> dict[str, Attack]:
    """Every attack, by its function's name, which is what a conf calls it by."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return REGISTERED
