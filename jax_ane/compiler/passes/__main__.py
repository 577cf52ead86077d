# SPDX-License-Identifier: Apache-2.0
"""`python -m jax_ane.compiler.passes > docs/passes.md`: the table of passes."""

from jax_ane.compiler import passes

_HEAD = """# Passes over MIL programs

In this order, again and again until none changes anything. `JAX_ANE_DISABLE_PASSES=name,name` (or
`jax_ane.config(disable_passes=...)`) leaves some out, `JAX_ANE_VALIDATE_IR=1` verifies the program
after each; a dump (`JAX_ANE_DUMP_DIR`) has a `passes.txt` a program with what each one changed.
What a chip refuses after raising is built again of primitive ops.
"""

_AROUND = """# Around the programs

What works before programs are cut, or at their borders, each in a module of `jax_ane/compiler`.

- `scale_operands` (`scaling.py`; can be left out by name): inputs in which a program is linear are
  scaled by a power of two on their way in, and the outputs that depend on them divided by it on
  their way out, in float32. The scale is chosen at each call from the inputs' largest magnitude: it
  is brought to 2^6 where it lies below 2^5 (below 2^-6 for the one computed input of a lone
  product), and taken back by 2^4 at a time where an output overflows. Equal calls give equal bits.
- Lifting (`lifting.py`, part of `scale_operands`): small constants on the way of such inputs are
  raised by a power of two, which the outputs behind them take back.
- Known values (`known.py`): what a program makes of counters and constants alone is a constant; a
  `select` of a known condition is its operand.
- Computing again (`recompute.py`; `recompute` leaves it out): cheap values that a later program
  reads, such as `silu(x) * y` in a backward pass, are made there from values that cross anyway,
  where the chip's cost model says that this is sooner than the copies.
- Softmax across programs (`residuals.py`, with `raise_softmax_gradient`): a backward pass reads the
  softmax, not its exponentials.
- Reciprocal roots (`roots.py`; `spread_powers` leaves it out): the gradient of a norm multiplies by
  `rsqrt(m)` and by `c / m` one after the other, not by their product, which fp16 does not hold.
- Optimization barriers (`barriers.py`): an identity that goes where its reader goes. Within a
  program no pass merges across one, so what `jax.checkpoint` computes again is computed again.
- Scaled rounding (`rounding.py`): on chips whose compiler drops the scalar of `floor(x) * 0.5` it
  becomes a constant of the full shape.
- What float32 must keep (`float32.py`): updates of state, and the division by a large number with
  which a loss's gradient begins, stay on the host.
"""

_LEFT_OUT = """# Left out

Passes that were tried or counted, and do not pay. `docs/pass-effects.md` shows what the others do.

- *Merging products of one operand* (q, k and v; gate and up): weights are inputs, so their
  concatenation is made at every call. 4 to 10 % slower.
- *Raising attention*: of `scaled_dot_product_attention` several reports say that the mask is
  ignored or misapplied, and that results are wrong from 512 tokens on (op-legality.csv).
- *Raising sigmoid and silu*: the chip's tables are off by 2.7e-3 (relative L2, N(0, 2)) and by up
  to 1.5e-2; `1 / (1 + exp(-x))` by 3.3e-4.
- *Raising RMS norm*: MIL has no such op; `l2_norm` is the nearest, its values were never checked
  on a chip, and the published RMS norm takes 608 us where a layer norm takes 296 (M5 Pro, 256 x
  1024). Sums of squares are raised.
- *Raising batch norm*: `batch_norm` wants mean and variance as constants; ours are inputs or
  computed. Two small factors of one tensor, which would be multiplied first, occur in no model of
  the table.
- *Factors moved from a product to an operand* (attention's 1/8): saves a pass over the scores,
  0.02 of 0.27 ms for 12 heads of 256 tokens on M4. But the multiply-accumulate unit drops
  products below 2^-16: operands of 0.1 then give scores 7 times as wrong (4.2e-3 for 5.8e-4), of
  0.02 11 times.
- *Cancelling concatenations and slices*: the table's programs, forward and backward, have no
  slice of a concatenation, and 7 slices of a slice among 1,900.
- *Tiles for on-chip memory* (Orion's fifth pass, which warns): the chip's compiler cuts chains into
  tiles itself, and published times of chains up to 16 MB show no knee (cost-model.md sections 1.4
  and 5). Where no cut serves a value's producer and all its readers, a split of the chain by us has
  none either, short of splitting sums, which changes bits. So nothing is split; `onchip.py` counts
  what goes through memory, for the estimate and for `explain`. At full size on M4: nothing in the
  14 forward passes of the table; 126 values in 7 of its training steps (a layer's gradient, read by
  rows and by columns), 0.4 to 4 % of the estimate.
- *Guards against the accumulator's overflow at 2^15*: would make an operand smaller and the result
  larger where bounds are known. In 14 forward passes and 13 training steps of the table no product
  has two bounded operands that reach it: weights are inputs. Where terms have one sign, as of
  softmax, clip or images, it would save results from 2^15 to 65504, one bit (`relu6` of 5.8, 1,024
  times: infinite, for 34,447). The 20 long sums that may overflow are of gradients, which
  `scale_operands` takes back at run time.
"""

if __name__ == "__main__":
    print(f"{_HEAD}\n{passes.table()}\n{_AROUND}\n{_LEFT_OUT}", end="")
