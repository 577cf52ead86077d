# SPDX-License-Identifier: Apache-2.0
"""The one op table: what the compiler does with each StableHLO op.

The partitioner, `jax-ane ops`, the docs and the coverage gate all read these rows. An op without a
row runs on the host with the reason `no-rule`.
"""

from __future__ import annotations

import dataclasses
import enum

from jax_ane.compiler.lower import RULES


class Kind(enum.Enum):
    """What an op is to the partitioner."""

    HEAVY = "heavy"  # seeds a cluster
    ARITHMETIC = "arithmetic"  # joins between heavy ops
    MOVEMENT = "movement"  # joins on either side of a heavy op
    HOST = "host"  # never leaves the host, for the row's reason


@dataclasses.dataclass(frozen=True)
class Row:
    """One op: its kind, its accuracy on the ANE and, for host ops, why.

    `tolerance` bounds |ane - float32| / max|float32| on inputs of order 1 in `exact` numerics.
    `needs` names the entry of a chip file that says whether the chip has the op at all.
    """

    name: str
    kind: Kind
    tolerance: float = 0.0
    reason: str = ""
    needs: str = ""

    @property
    def lowered(self) -> bool:
        return self.name in RULES


def _rows(kind: Kind, tolerance: float, *names: str, needs: str = "") -> list[Row]:
    return [Row(f"stablehlo.{name}", kind, tolerance, needs=needs) for name in names]


def _host(reason: str, *names: str) -> list[Row]:
    return [Row(f"stablehlo.{name}", Kind.HOST, reason=reason) for name in names]


_FP16 = 2.0**-10
_ALL_ROWS = [
    *_rows(Kind.HEAVY, 1e-2, "dot_general", "convolution"),
    *_rows(Kind.ARITHMETIC, _FP16, "add", "subtract", "multiply", "divide", "negate"),
    *_rows(Kind.ARITHMETIC, 0.0, "maximum", "minimum", "abs", "sign", "clamp", "select", "compare"),
    *_rows(Kind.ARITHMETIC, 0.0, "and", "or", "xor", "not", "floor", "ceil"),
    *_rows(Kind.ARITHMETIC, 1e-2, "exponential", "exponential_minus_one", "rsqrt", "sqrt"),
    *_rows(Kind.ARITHMETIC, 5e-3, "logistic", "tanh", "composite", "power", "cbrt", "atan2"),
    *_rows(Kind.ARITHMETIC, 2e-3, "sine", "cosine", needs="native_sin"),
    *_rows(Kind.ARITHMETIC, _FP16, "remainder"),
    *_rows(Kind.ARITHMETIC, 0.0, "round_nearest_afz", "round_nearest_even"),
    *_rows(Kind.ARITHMETIC, 1e-2, "reduce", "reduce_window", "select_and_scatter"),
    *_rows(Kind.MOVEMENT, _FP16, "reshape", "transpose", "broadcast_in_dim", "slice", "pad"),
    *_rows(Kind.MOVEMENT, _FP16, "concatenate", "reverse", "convert", "constant",
           "reduce_precision", "optimization_barrier"),
    *_host("the chip's logarithm table is known only to 0.7 %", "log", "log_plus_one"),
    *_host("next to its poles a tangent needs more digits of its argument than fp16 has", "tan"),
    *_host("control flow stays on the host", "while", "case", "if"),
    *_rows(Kind.MOVEMENT, _FP16, "dynamic_slice", "dynamic_update_slice", "gather"),
    *_rows(Kind.ARITHMETIC, _FP16, "scatter"),
    *_host("integer index arithmetic stays on the host", "iota", "dynamic_gather"),
    *_host("no chip sorts: argsort is refused, and indices are integers", "sort"),
    *_host("NaN and infinity do not exist on the chip", "is_finite"),
    *_host("random bits are integers", "rng_bit_generator", "rng"),
    *_host("the chip has no integer or bit operations", "shift_left", "shift_right_logical",
           "shift_right_arithmetic", "popcnt", "count_leading_zeros", "bitcast_convert"),
    *_host("complex numbers stay on the host", "fft", "real", "imag", "complex"),
    *_host("runs on the host's linear algebra", "cholesky", "triangular_solve", "custom_call"),
]  # fmt: skip

TABLE: dict[str, Row] = {row.name: row for row in _ALL_ROWS}


def row(name: str) -> Row:
    """Returns an op's row; ops without one are host ops without a lowering rule."""
    return TABLE.get(name) or Row(name, Kind.HOST, reason="no lowering rule for this op yet")
