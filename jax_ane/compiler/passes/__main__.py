# SPDX-License-Identifier: Apache-2.0
"""`python -m jax_ane.compiler.passes > docs/passes.md`: the table of passes."""

from jax_ane.compiler import passes

_HEAD = """# Passes over MIL programs

In this order, again and again until none changes anything. `JAX_ANE_DISABLE_PASSES=name,name` (or
`jax_ane.config(disable_passes=...)`) leaves some out, `JAX_ANE_VALIDATE_IR=1` verifies the program
after each; a dump (`JAX_ANE_DUMP_DIR`) has a `passes.txt` a program with what each one changed.
What a chip refuses after raising is built again of primitive ops.
"""

if __name__ == "__main__":
    print(f"{_HEAD}\n{passes.table()}", end="")
