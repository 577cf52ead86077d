# SPDX-License-Identifier: Apache-2.0
"""The cases, a module for each kind; each module's `FAMILIES` lists what it made."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from ..case import Family


@functools.cache
def load() -> tuple[Family, ...]:
    """Imports every module of this package and returns its families."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return tuple(family for module in modules for family in module.FAMILIES)
