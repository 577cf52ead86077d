# SPDX-License-Identifier: Apache-2.0
"""`python -m jax_ane`."""

import sys

from jax_ane.cli import main

if __name__ == "__main__":
    sys.exit(main())
