# SPDX-License-Identifier: Apache-2.0
"""jax-ane: a JAX device called `ane`."""

from importlib.metadata import PackageNotFoundError as _PackageNotFoundError
from importlib.metadata import version as _version

from jax_ane._config import config as config

try:
    __version__ = _version("jax-ane")
except _PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"
