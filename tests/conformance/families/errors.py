# SPDX-License-Identifier: Apache-2.0
"""What JAX raises, as text: the same on `ane` as on `cpu`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from ..case import DEVICE, Family, grid
from ..observed import raised

ERRORS = Family("error", modes=(DEVICE,))
FAMILIES = [ERRORS]

X = grid(5, 6)


def error(name: str, fn: Callable[[Any, jax.Device], Any], whole: bool = True) -> None:
    """Adds a case of a call that raises."""
    ERRORS.add(
        name, lambda device: raised(lambda: fn(jax.device_put(X, device), device), whole=whole)
    )


error("shapes", lambda x, d: jax.jit(lambda v: v + jnp.ones(4))(x))
error("product_shapes", lambda x, d: jax.jit(lambda v: v @ v)(x))
error("concretisation", lambda x, d: jax.jit(lambda v: 1 if v[0, 0] > 0 else 2)(x))
error("boolean_index", lambda x, d: jax.jit(lambda v: v[v > 0])(x))
error("numpy_of_tracer", lambda x, d: jax.jit(lambda v: np.sin(v))(x))
error("item_of_tracer", lambda x, d: jax.jit(lambda v: v[0, 0].item())(x))
error("leaked_tracer", lambda x, d: _leak(x))
error("assignment", lambda x, d: x.__setitem__(0, 1))
error("unhashable_static", lambda x, d: jax.jit(lambda v, n: v, static_argnums=1)(x, [1]))
error("not_an_array", lambda x, d: jax.jit(lambda v: v)("text"))
error("put_text", lambda x, d: jax.device_put("text", d))
error("put_object", lambda x, d: jax.device_put(object(), d))
error("wrong_tree", lambda x, d: lax.cond(True, lambda: x, lambda: (x, x)))
error("scan_carry_type", lambda x, d: lax.scan(lambda c, r: (c + 0.5, r), 0, x))
error("scan_carry_shape", lambda x, d: lax.scan(lambda c, r: (x, r), x[0], x))
error("while_condition", lambda x, d: lax.while_loop(lambda s: s, lambda s: s, x))
error("grad_of_vector", lambda x, d: jax.grad(lambda v: v)(x))
error("grad_of_integer", lambda x, d: jax.grad(lambda v: v.sum())(x.astype(int)))
error("vmap_sizes", lambda x, d: jax.vmap(lambda a, b: a)(x, x.T))
error("unbound_axis", lambda x, d: jax.jit(lambda v: lax.psum(v, "none"))(x))
error("bad_reshape", lambda x, d: x.reshape(7, 7))
error("bad_axis", lambda x, d: x.sum(5))
error("bad_dtype", lambda x, d: x.astype("nothing"))
error("bits_of_floats", lambda x, d: x & x)
error("concatenate_ranks", lambda x, d: jnp.concatenate([x, x[0]]))
error("too_many_indices", lambda x, d: x[0, 0, 0])
error("float_index", lambda x, d: x[1.5])
error("lax_dtype_mismatch", lambda x, d: lax.add(x, jnp.ones((5, 6), int)))
error("lax_rank_mismatch", lambda x, d: lax.add(x, jnp.ones(6)))
error(
    "huge_allocation", lambda x, d: jnp.zeros((1 << 24, 1 << 24), jnp.int8, device=d), whole=False
)
error("huge_result", lambda x, d: jax.jit(lambda v: jnp.broadcast_to(v[0, 0], (1 << 44,)))(x),
      whole=False)  # fmt: skip
error("conv_shapes", lambda x, d: lax.conv(x[None, None], x[None], (1, 1), "SAME"))
error("cholesky_shape", lambda x, d: jnp.linalg.cholesky(x))
error("inv_shape", lambda x, d: jnp.linalg.inv(x))
error("bad_einsum", lambda x, d: jnp.einsum("ij,kl->z", x, x))
error("dynamic_slice_large", lambda x, d: lax.dynamic_slice(x, (0, 0), (9, 9)))
error("top_k_large", lambda x, d: lax.top_k(x, 99))
error("bad_fft", lambda x, d: jnp.fft.fft(x, -1))
error("key_misuse", lambda x, d: jax.random.normal(x, (3,)))
error("bad_sharding", lambda x, d: jax.device_put(x, NamedSharding(
    Mesh(np.array([d]), ("i",)), PartitionSpec("j"))))  # fmt: skip
error(
    "bad_memory_kind", lambda x, d: jax.device_put(x, SingleDeviceSharding(d, memory_kind="none"))
)
error("ffi_target_missing", lambda x, d: jax.jit(lambda v: jax.ffi.ffi_call(
    "no_such_target", jax.ShapeDtypeStruct(v.shape, v.dtype))(v))(x), whole=False)  # fmt: skip
error(
    "custom_vjp_without_rule", lambda x, d: jax.grad(lambda v: jax.custom_vjp(jnp.sin)(v).sum())(x)
)
error("checkify_outside", lambda x, d: jax.jit(lambda v: (__import__(
    "jax.experimental.checkify", fromlist=["check"]).check(v[0, 0] > 99, "no"), v)[1])(x))  # fmt: skip
error("reverse_while", lambda x, d: jax.grad(lambda v: lax.while_loop(
    lambda s: s.sum() < 9, lambda s: s + 1, v).sum())(x))  # fmt: skip
error("recursion_in_export", lambda x, d: jax.export.export(lambda v: v)(x))
error("wrong_platform_export", lambda x, d: jax.export.export(
    jax.jit(jnp.sin), platforms=["tpu"])(X).call(x))  # fmt: skip
error("log_of_int_grad", lambda x, d: jax.jacfwd(lambda v: v)(x.astype(int)))
error("print_format", lambda x, d: jax.debug.print("{} {}", x[0, 0]))
error("dlpack_of_key", lambda x, d: np.from_dlpack(jax.random.key(0)))
error("out_of_memory_add", lambda x, d: jnp.ones((1 << 40,), jnp.float64, device=d), whole=False)


def _leak(x: Any) -> Any:
    kept = []
    jax.jit(lambda v: kept.append(v))(x)
    return kept[0] + 1
