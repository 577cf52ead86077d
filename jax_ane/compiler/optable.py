# SPDX-License-Identifier: Apache-2.0
"""The one op table: what the compiler does with each StableHLO op.

The partitioner, `jax-ane ops`, the docs and the coverage gate all read these rows. An op without a
row runs on the host with the reason `no-rule`: nobody has decided about it yet.
"""

from __future__ import annotations

import dataclasses
import enum

from jax_ane.compiler.lower import RULES
from jax_ane.compiler.reasons import Reason


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
    reason: Reason | None = None
    needs: str = ""

    @property
    def lowered(self) -> bool:
        return self.name in RULES


def _rows(kind: Kind, tolerance: float, *names: str, needs: str = "") -> list[Row]:
    return [Row(f"stablehlo.{name}", kind, tolerance, needs=needs) for name in names]


def _host(reason: Reason, *names: str) -> list[Row]:
    return [Row(f"stablehlo.{name}", Kind.HOST, reason=reason) for name in names]


def no_rule(name: str) -> Reason:
    """Returns the reason of an op that nobody has decided about."""
    return Reason("no-rule", f"no lowering rule for {name} yet", "please ask for it")


LOGARITHM = Reason(
    "logarithm",
    "the chip's logarithm table is known only to 0.7 %",
    "keep logarithms behind the last product, as losses do: between two they cut the program",
)
_POLES = Reason(
    "poles",
    "next to its poles a tangent needs more digits of its argument than fp16 has",
    "away from them write sin(x) / cos(x)",
)
_CONTROL_FLOW = Reason(
    "control-flow",
    "control flow stays on the host; bodies and branches have programs of their own",
    "unroll a short loop (unroll= of jax.lax.scan), so that its steps share a program",
)
_SORT = Reason(
    "sort",
    "no chip sorts: argsort is refused, and indices are integers",
    "use max or min where only they matter; otherwise sort before the first product or after the "
    "last",
)
_NON_FINITE = Reason(
    "non-finite",
    "NaN and infinity do not exist on the chip",
    "ask it of a program's results, as of the loss",
)
_RANDOM = Reason(
    "random",
    "random bits are integers, and the chip has none",
    "draw before the layers that need them: masks and noise cross the border",
)
_INTEGERS = Reason(
    "integers",
    "the chip has no integer or bit operations",
    "make indices of constants, which are known at compile time, or leave them to the host",
)
_COMPLEX = Reason(
    "complex",
    "complex numbers stay on the host",
    "write a short transform as a product with its real and imaginary matrices",
)
_LINALG = Reason(
    "linalg", "runs on the host's linear algebra", "leave it to the host: fp16 has no digits for it"
)
_CALL = Reason(
    "call",
    "calls code of the host: linear algebra, a callback or a foreign function",
    "call it before the first product or after the last",
)
_COLLECTIVE = Reason(
    "collective",
    "devices exchange data through the host",
    "leave it to the host: no engine talks to another",
)
_RUN_TIME_SHAPE = Reason(
    "shape",
    "its shape is known only at run time, and programs have fixed shapes",
    "pad to a fixed shape and mask",
)
_TOKEN = Reason(
    "effect", "orders effects and passes data out of the program", "move effects out of the layers"
)
_QUANTIZED = Reason("quantized", "quantized types are left to the host", "use float16 or float32")

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
    *_host(LOGARITHM, "log", "log_plus_one"),
    *_host(_POLES, "tan"),
    *_host(_CONTROL_FLOW, "while", "case", "if"),
    *_rows(Kind.MOVEMENT, _FP16, "dynamic_slice", "dynamic_update_slice", "gather"),
    *_rows(Kind.ARITHMETIC, _FP16, "scatter"),
    *_host(_SORT, "sort"),
    *_host(_NON_FINITE, "is_finite"),
    *_host(_RANDOM, "rng_bit_generator", "rng"),
    *_host(_INTEGERS, "iota", "shift_left", "shift_right_logical", "shift_right_arithmetic",
           "popcnt", "count_leading_zeros", "bitcast_convert"),
    *_host(_COMPLEX, "fft", "real", "imag", "complex"),
    *_host(_LINALG, "cholesky", "triangular_solve"),
    *_host(_CALL, "custom_call"),
    *_host(_COLLECTIVE, "all_gather", "all_reduce", "all_to_all", "collective_broadcast",
           "collective_permute", "collective_reduce", "reduce_scatter", "partition_id",
           "replica_id", "async_start", "async_done"),
    *_host(_RUN_TIME_SHAPE, "dynamic_broadcast_in_dim", "dynamic_conv", "dynamic_gather",
           "dynamic_iota", "dynamic_pad", "dynamic_reshape", "real_dynamic_slice",
           "get_dimension_size", "set_dimension_size"),
    *_host(_TOKEN, "after_all", "create_token", "infeed", "outfeed", "send", "recv", "tuple",
           "get_tuple_element"),
    *_host(_QUANTIZED, "uniform_quantize", "uniform_dequantize"),
]  # fmt: skip

TABLE: dict[str, Row] = {row.name: row for row in _ALL_ROWS}


def row(name: str) -> Row:
    """Returns an op's row; ops without one are host ops without a lowering rule."""
    found = TABLE.get(name)
    if found is None:
        return Row(name, Kind.HOST, reason=no_rule(name.removeprefix("stablehlo.")))
    return found
