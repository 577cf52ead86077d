# SPDX-License-Identifier: Apache-2.0
"""jax-ane: a JAX device called `ane`.

JAX finds the device by itself (`jax.devices("ane")`); this module holds the answers and the flags.
Nothing here imports JAX until it is used.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError as _PackageNotFoundError
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

from jax_ane._config import config as config
from jax_ane._errors import AneError as AneError
from jax_ane._errors import AneWarning as AneWarning
from jax_ane._errors import MilError as MilError
from jax_ane._errors import UnsupportedOpError as UnsupportedOpError
from jax_ane._status import doctor as doctor
from jax_ane._status import info as info
from jax_ane._status import reset_stats as reset_stats
from jax_ane._status import stats as stats

if TYPE_CHECKING:
    from jax_ane import data as data
    from jax_ane import mil as mil
    from jax_ane._scopes import full_precision as full_precision
    from jax_ane._scopes import place as place
    from jax_ane.report import explain as explain
    from jax_ane.report import lower as lower

try:
    __version__ = _version("jax-ane")
except _PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"

_LAZY = {
    "data": "jax_ane.data",
    "explain": "jax_ane.report",
    "full_precision": "jax_ane._scopes",
    "lower": "jax_ane.report",
    "mil": "jax_ane.mil",
    "place": "jax_ane._scopes",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'jax_ane' has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    value = module if _LAZY[name].endswith(f".{name}") else getattr(module, name)
    globals()[name] = value
    return value
