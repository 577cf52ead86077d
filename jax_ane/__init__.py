# SPDX-License-Identifier: Apache-2.0
"""jax-ane: a JAX device called `ane`."""

from importlib.metadata import PackageNotFoundError as _PackageNotFoundError
from importlib.metadata import version as _version

from jax_ane._config import config as config
from jax_ane._errors import AneError as AneError
from jax_ane._errors import MilError as MilError
from jax_ane._errors import UnsupportedOpError as UnsupportedOpError

try:
    __version__ = _version("jax-ane")
except _PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> object:
    # The native library is loaded when it is first needed.
    if name == "mil":
        import importlib

        return importlib.import_module("jax_ane.mil")
    raise AttributeError(f"module 'jax_ane' has no attribute {name!r}")
