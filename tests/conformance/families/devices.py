# SPDX-License-Identifier: Apache-2.0
"""What an array, a program and a device do besides computing."""

from __future__ import annotations

import copy
import gc
import pickle
import re
import weakref

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from ..case import DEVICE, Family, grid, integers
from ..observed import adder, raised

DEVICES = Family("device", modes=(DEVICE,))
FAMILIES = [DEVICES]
case = adder(DEVICES)

X, W = grid(5, 6), grid(6, 4, limit=1.0)


@case
def deletion(device):
    x = jax.device_put(X, device)
    before = x.is_deleted()
    x.delete()
    x.delete()
    return before, x.is_deleted(), raised(lambda: np.asarray(x)), raised(lambda: x + 1), x.shape, repr(
        x.dtype), raised(lambda: x.block_until_ready()), raised(lambda: repr(x))  # fmt: skip


@case
def deleted_in_jit(device):
    x = jax.device_put(X, device)
    x.delete()
    return raised(lambda: jax.jit(lambda v: v + 1)(x)), raised(lambda: jax.device_put(x, device))


@case
def deleted_while_used(device):
    x = jax.device_put(np.ones((300, 300), np.float32), device)
    y = jax.jit(lambda v: jnp.sin(v) @ v, compiler_options=None)(x) if False else jnp.sin(x)
    x.delete()
    return y


@case
def upload_is_a_copy(device):
    source = X.copy()
    y = jnp.array(source, device=device)
    source[:] = 0
    return bool((np.asarray(y) == X).all())


@case
def writing_into_a_view(device):
    view = np.asarray(jax.device_put(X, device) + 0)
    return raised(lambda: view.__setitem__(0, 1)), view.flags.writeable


@case
def copy_of_numpy_is_writeable(device):
    x = jax.device_put(X, device)
    copied = np.array(x)
    copied[0] = 1
    return copied, x


@case
def copy_to_host_async(device):
    x = jax.device_put(X, device) + 1
    return x.copy_to_host_async(), np.asarray(x), x.copy_to_host_async()


@case
def copies(device):
    x = jax.device_put(X, device)
    y, z = copy.copy(x), copy.deepcopy(x)
    w = x.copy()
    x.delete()
    return z, w, raised(lambda: y + 0)


@case
def pickled(device):
    x = pickle.loads(pickle.dumps(jax.device_put(X, device)))
    return x, type(x).__name__


@case
def weak_reference(device):
    x = jax.device_put(X, device) + 1
    reference = weakref.ref(x)
    del x
    gc.collect()
    return reference() is None


@case
def live_arrays(device):
    gc.collect()
    before = len(device.client.live_buffers())
    x = jax.device_put(X, device) + 1
    x.block_until_ready()
    during = len(device.client.live_buffers())
    seen = any(a is x for a in jax.live_arrays(device.platform))
    x.delete()
    return during - before, seen, len(device.client.live_buffers()) - before


@case
def properties(device):
    x = jax.device_put(X, device)
    return (x.shape, x.ndim, x.size, x.nbytes, x.itemsize, str(x.dtype), x.weak_type, len(x),
            x.is_fully_addressable, x.is_fully_replicated, x.committed, str(x.aval), str(x.sharding),
            x.on_device_size_in_bytes(), str(x.format),
            len(x.addressable_shards), x.addressable_shards[0].index,
            x.global_shards[0].replica_id, x.traceback is None, x.is_ready() in (True, False))  # fmt: skip


@case
def printed(device):
    x = jax.device_put(X, device)
    return repr(x), str(x), f"{x[0, 0]:.3f}", repr(x.astype(jnp.bfloat16)), repr(x[0, 0])


@case
def numbers_of_scalars(device):
    x = jax.device_put(np.float32(2.5), device)
    i = jax.device_put(np.int32(3), device)
    return (float(x), int(x), bool(x), complex(x), [0, 1, 2, 3, 4][i], x.item(), x.tolist(), hash(i.item()),
            round(x, 1), raised(lambda: hash(x)), raised(lambda: bool(jax.device_put(X, device))),
            raised(lambda: float(jax.device_put(X, device))), divmod(x, 2), abs(x), range(i)[-1])  # fmt: skip


@case
def iteration(device):
    x = jax.device_put(X, device)
    first, *rest = x
    return first, len(rest), [r.shape for r in x], x.tolist() == X.tolist(), 3.0 in x[0], list(
        reversed(x[0]))  # fmt: skip


@case
def methods(device):
    x = jax.device_put(X, device)
    return (x.sum(), x.mean(0), x.reshape(6, 5), x.T, x.astype(int), x.at[0].set(1), x.flatten(),
            x.round(), x.clip(0, 1), x.argmax(), x.cumsum(), x.dot(W), x.max(), x.min(1), x.prod(),
            x.std(), x.var(), x.ravel(), x.squeeze(), x.swapaxes(0, 1), x.take(3), x.trace(),
            x.transpose(1, 0), x.view(jnp.int32), x.nonzero(), x.sort(), x.repeat(2), x.diagonal(),
            x.any(), x.all(), x.conj(), x.real, x.imag, x.ptp() if hasattr(x, "ptp") else 0,
            x.argsort(), x.byteswap() if hasattr(x, "byteswap") else 0, x.mT, x.compress(
            np.array([True, False, True, True, False]), 0), x.choose([X, X]) if False else 0,
            x.searchsorted(1.0) if False else 0)  # fmt: skip


@case
def operators(device):
    x = jax.device_put(X, device)
    i = jax.device_put(integers(5), device)
    return (x + 1, 1 - x, x * X, x / 2, 3 / x, x // 2, x % 2, x**2, 2**i, -x, +x, abs(x), x @ W,
            x.T @ X, i << 2, i >> 1, i & 3, i | 4, i ^ 1, ~i, x > 0, x == X, x != 1, X + x, 2.0 // x,
            divmod(i, 3), np.float32(2) * x, X * x, np.add(x, 1), x + np.int8(3), i + 1.5, i * True)  # fmt: skip


@case
def numpy_functions_on_arrays(device):
    x = jax.device_put(X, device)
    return np.sum(x), np.concatenate([x, x]), np.sin(x), np.asarray(x, np.float64), np.array(
        x, dtype=np.int32), np.stack([x, x]).shape, type(np.sin(x)).__name__, np.shape(x)  # fmt: skip


@case
def dlpack(device):
    x = jax.device_put(X, device) + 0
    return np.from_dlpack(x), jnp.from_dlpack(x), x.__dlpack_device__()[1], [
        np.from_dlpack(jax.device_put(integers(4, dtype=t), device)) for t in
        (np.int8, np.uint8, np.int16, np.uint32, np.int32)], np.from_dlpack(x + 1, copy=True)  # fmt: skip


@case
def dlpack_of_odd_dtypes(device):
    return [raised(lambda t=t: np.from_dlpack(jax.device_put(X, device).astype(t))) for t in (
        "bool", "float16", "complex64", "bfloat16", "int4", "float8_e4m3fn")]  # fmt: skip


@case
def from_numpy_dlpack(device):
    x = jax.device_put(jnp.from_dlpack(X.copy()), device)
    return x, x.devices() == {device}


@case
def buffer_protocol(device):
    return raised(lambda: memoryview(jax.device_put(X, device))), np.frombuffer(
        np.asarray(jax.device_put(X, device)).tobytes(), np.float32)  # fmt: skip


@case
def put_between_devices(device):
    other = jax.devices("cpu")[0]
    x = jax.device_put(X, other)
    y = jax.device_put(x, device)
    z = jax.device_put(y, other)
    kinds = [
        v.astype(t) for v in [y] for t in ("int4", "bool", "bfloat16", "float8_e5m2", "complex64")
    ]
    return y.devices() == {device}, z.devices() == {other}, z, jax.device_put(kinds, other), (
        jax.device_put(jax.device_put(kinds, other), device))  # fmt: skip


@case
def put_inside_jit(device):
    return jax.jit(lambda v: jax.device_put(v * 2, device) + 1)(jax.device_put(X, device))


@case
def put_trees_and_none(device):
    return jax.device_put({"a": X, "b": [1, 2.5, None, True], "c": ()}, device)


@case
def put_with_shardings(device):
    mesh = Mesh(np.array([device]), ("i",))
    shardings = [SingleDeviceSharding(device), NamedSharding(mesh, PartitionSpec("i")),
                 NamedSharding(mesh, PartitionSpec())]  # fmt: skip
    return [jax.device_put(X, s) for s in shardings], [
        jax.jit(lambda v: v + 1, out_shardings=s)(X) for s in shardings]  # fmt: skip


@case
def get(device):
    x = jax.device_put([X, W], device)
    got = jax.device_get(x)
    return [type(v).__name__ for v in got], got


@case
def keys_as_arrays(device):
    with jax.default_device(device):
        key = jax.random.key(3)
        keys = jax.random.split(key, 4)
        return (str(key.dtype), keys.shape, jax.random.key_data(keys[1]), repr(key), key.devices() == {
            device}, jax.device_put(keys, device)[2], raised(lambda: key + 1), keys.reshape(2, 2).shape,
            jnp.stack([key, key])[0], raised(lambda: np.asarray(key)))  # fmt: skip


@case
def compiled_program(device):
    x = jax.device_put(X, device)
    lowered = jax.jit(lambda v: {"y": jnp.sin(v) @ v.T}).lower(x)
    compiled = lowered.compile()
    return (compiled(x), str(compiled.in_tree), str(compiled.out_tree), str(compiled.in_avals),
            str(lowered.out_info), len(compiled.as_text()) > 0, compiled.cost_analysis()["flops"] > 0,
            compiled.memory_analysis().argument_size_in_bytes, str(compiled.output_shardings),
            str(compiled.input_formats), raised(lambda: compiled(x[:2])),
            raised(lambda: compiled(x.astype(int))), str(compiled.output_formats))  # fmt: skip


@case
def lowered_for_shapes(device):
    with jax.default_device(device):
        compiled = jax.jit(lambda v: v + 1).lower(jax.ShapeDtypeStruct((3,), jnp.int8)).compile()
        return compiled(np.arange(3, dtype=np.int8))


@case
def exported(device):
    from jax import export

    platform = device.platform
    made = export.export(jax.jit(lambda v: jnp.sin(v) @ v.T), platforms=[platform])(X)
    again = export.deserialize(made.serialize())
    with jax.default_device(device):
        return again.call(X), again.in_avals, again.platforms, jax.jit(again.call)(X)


@case
def exported_for_two_platforms(device):
    from jax import export

    made = export.export(jax.jit(lambda v: jnp.cos(v) + 1), platforms=["cpu", "ane"])(X)
    with jax.default_device(device):
        return made.call(jax.device_put(X, device)), export.export(
            jax.jit(lambda v: lax.platform_dependent(v, default=jnp.sin)), platforms=["cpu", "ane"])(
            X).call(jax.device_put(X, device))  # fmt: skip


@case
def exported_with_symbolic_shapes(device):
    from jax import export

    (n,) = export.symbolic_shape("n")
    made = export.export(jax.jit(lambda v: (v.sum(0), v * v.shape[0], jnp.concatenate([v, v]),
        v @ v.T, v.reshape(-1), jnp.arange(v.shape[0]))), platforms=[device.platform])(
        jax.ShapeDtypeStruct((n, 3), jnp.float32))  # fmt: skip
    with jax.default_device(device):
        return made.call(X[:, :3]), made.call(X[:2, :3]), raised(lambda: made.call(X))


@case
def exported_gradient(device):
    from jax import export

    made = export.export(jax.jit(lambda v: (v**2).sum()), platforms=[device.platform])(X)
    made = export.deserialize(made.serialize(vjp_order=1))
    with jax.default_device(device):
        return jax.grad(made.call)(X)


@case
def disabled_jit(device):
    with jax.disable_jit(), jax.default_device(device):
        return jax.jit(lambda v: lax.scan(lambda c, r: (c + r, c), v[0], v))(jnp.asarray(X))


@case
def default_device(device):
    with jax.default_device(device):
        made = [jnp.ones(3), jnp.asarray(X), jnp.array(2.0), jnp.arange(3), jax.random.key(0),
                jnp.zeros(2) + 1, jax.jit(lambda: jnp.ones(2))(), jnp.eye(2), jnp.linspace(0, 1, 3)]  # fmt: skip
    return [v.devices() == {device} for v in made], [v.committed for v in made]


@case
def jit_follows_its_data(device):
    x = jax.device_put(X, device)
    return (jax.jit(lambda a, b: a + b)(x, X).devices() == {device}, (x + jnp.ones(6)).devices() == {
        device}, (x + 1).committed, jax.jit(lambda v: jnp.ones(3))(x).devices() == {device})  # fmt: skip


@case
def mixed_devices(device):
    other = jax.devices("cpu" if device.platform == "ane" else "ane")[0]
    a, b = jax.device_put(X, device), jax.device_put(X, other)
    return raised(lambda: jax.jit(lambda a, b: a + b)(a, b), whole=False), raised(
        lambda: a + b, whole=False), raised(lambda: jnp.concatenate([a, b]), whole=False)  # fmt: skip


@case
def shard_map_of_one(device):
    mesh = Mesh(np.array([device]), ("i",))
    spec = PartitionSpec("i")
    run = lambda f, out=spec: jax.jit(jax.shard_map(f, mesh=mesh, in_specs=spec, out_specs=out))(X)
    return (run(lambda v: lax.psum(v, "i"), PartitionSpec()), run(lambda v: lax.all_gather(v, "i")),
            run(lambda v: lax.ppermute(v, "i", [(0, 0)])),
            run(lambda v: lax.pmax(v, "i"), PartitionSpec()), run(lambda v: v + lax.axis_index("i")),)  # fmt: skip


@case
def pmap_of_one(device):
    return jax.pmap(lambda v: lax.pmean(v * 2, "i"), "i", devices=[device])(X[None])


@case
def sharding_constraint(device):
    mesh = Mesh(np.array([device]), ("i",))
    sharding = NamedSharding(mesh, PartitionSpec("i"))
    return jax.jit(lambda v: lax.with_sharding_constraint(v * 2, sharding))(
        jax.device_put(X, device)
    )


@case
def made_from_callback(device):
    sharding = SingleDeviceSharding(device)
    return (jax.make_array_from_callback(X.shape, sharding, lambda i: X[i]),
            jax.make_array_from_single_device_arrays(X.shape, sharding, [jax.device_put(X, device)]),
            jax.make_array_from_process_local_data(sharding, X))  # fmt: skip


@case
def layouts(device):
    from jax.experimental.layout import Format, Layout

    x = jax.device_put(X, Format(Layout((1, 0)), SingleDeviceSharding(device)))
    y = jax.jit(
        lambda v: v * 2, out_shardings=Format(Layout((1, 0)), SingleDeviceSharding(device))
    )(X)
    return (
        x,
        str(x.format.layout),
        y,
        str(y.format.layout),
        x.T,
        x + 1,
    )


@case
def layouts_automatic(device):
    from jax.experimental.layout import Format, Layout

    with jax.default_device(device):
        compiled = jax.jit(lambda v: v @ v.T, in_shardings=Format(Layout.AUTO),
                           out_shardings=Format(Layout.AUTO)).lower(X).compile()  # fmt: skip
        return str(compiled.input_formats), compiled(
            jax.device_put(X, compiled.input_formats[0][0])
        )


@case
def memories(device):
    kinds = [m.kind for m in device.addressable_memories()]
    return device.default_memory().kind, "unpinned_host" in kinds or kinds


@case
def memory_kind_of_arrays(device):
    return jax.device_put(X, device).sharding.memory_kind


@case
def put_to_memory_kind(device):
    kinds = [m.kind for m in device.addressable_memories()]
    return [jax.device_put(X, SingleDeviceSharding(device, memory_kind=k)) for k in kinds]


@case
def transfer_guard(device):
    x = jax.device_put(X, device)
    with jax.transfer_guard("disallow"):
        return raised(lambda: x + X), raised(lambda: jax.device_put(X, device)), raised(
            lambda: jnp.asarray(X, device=device))  # fmt: skip


@case
def block_until_ready(device):
    x = jax.device_put(X, device)
    return x.block_until_ready() is x, jax.block_until_ready([x, 1, None])[1:], (x + 1).is_ready() in (
        True, False)  # fmt: skip


@case
def devices_in_arrays(device):
    x = jax.device_put(X, device)
    return x.device == device, x.sharding.device_set == {device}, x.to_device(
        device).devices() == {device}, jax.jit(lambda v: v, device=device)(X).devices() == {device} if (
        False) else True  # fmt: skip


@case
def device_attributes(device):
    return (device.id, device.process_index, device.host_id if hasattr(device, "host_id") else 0,
            isinstance(hash(device), int), device == jax.devices(device.platform)[0],
            len(jax.devices(device.platform)), len(jax.local_devices(backend=device.platform)),
            jax.device_count(device.platform), device.local_hardware_id, pickle.dumps is not None)  # fmt: skip


@case
def strided_and_foreign_uploads(device):
    values = [X.T, X[::2], X[::-1], X[:, 1:4], np.asfortranarray(X), np.broadcast_to(X[0], (3, 6)),
              X.astype(">f4"), X[2:2], X.reshape(5, 1, 6)[:, 0], np.float32(3), 2, 2.5, True, 1 + 2j,
              [1, 2], ((1.0,), (2.0,)), np.array(3), X.astype(np.float64), integers(3).astype(np.int64)]  # fmt: skip
    return [raised(lambda v=v: jax.device_put(v, device)) for v in values], [
        jnp.asarray(v, device=device) for v in values[:6]]  # fmt: skip


@case
def ref_and_mutable(device):
    new = getattr(jax, "new_ref", None) or getattr(jax, "array_ref", None)
    if new is None:
        return "none here"
    with jax.default_device(device):
        ref = new(jnp.asarray(X))
        jax.jit(lambda r: r.__setitem__(0, r[1] * 2))(ref)
        return ref[...]


@case
def profiler_and_stats(device):
    stats = device.memory_stats()
    return stats is None or isinstance(stats, dict), len(jax.profiler.device_memory_profile()) > 0


@case
def while_running_in_threads(device):
    import concurrent.futures as futures

    f = jax.jit(lambda v: jnp.sin(v) @ v.T)
    with futures.ThreadPoolExecutor(4) as pool:
        with jax.default_matmul_precision("highest"):
            pass
        out = list(pool.map(lambda i: f(jax.device_put(X * 0 + i, device)).shape, range(12)))
    return out


@case
def many_arguments_and_results(device):
    args = [jax.device_put(np.float32(i), device) for i in range(300)]
    out = jax.jit(lambda *a: [v + 1 for v in a])(*args)
    return [float(v) for v in out]


@case
def large_constant(device):
    table = np.arange(200_000, dtype=np.float32)
    with jax.default_device(device):
        return jax.jit(lambda i: jnp.asarray(table)[i])(np.int32(123_456))


@case
def static_arguments(device):
    f = jax.jit(lambda v, n, *, how: v * n if how else v, static_argnums=1, static_argnames="how")
    x = jax.device_put(X, device)
    return f(x, 3, how=True), f(x, 3, how=False), raised(lambda: f(x, [1], how=True))


@case
def constants_from_other_device(device):
    table = jax.device_put(X, jax.devices("cpu")[0])
    with jax.default_device(device):
        return jax.jit(lambda v: v + np.asarray(table))(jax.device_put(X, device))


@case
def xla_flags_in_compiler_options(device):
    x = jax.device_put(X, device)
    f = jax.jit(lambda v: v + 1)
    return f.lower(x).compile({"xla_embed_ir_in_executable": True})(x), raised(
        lambda: f.lower(x).compile({"no_such_flag": True})(x))  # fmt: skip


@case
def clear_caches(device):
    f = jax.jit(lambda v: v + 1)
    x = jax.device_put(X, device)
    f(x)
    f.clear_cache()
    return f(x), f._cache_size() if hasattr(f, "_cache_size") else 1


@case
def dtypes_round_trip(device):
    import ml_dtypes

    # jaxlib knows no float6, and XLA:CPU cannot slice elements of one bit.
    names = [n for n in dir(ml_dtypes) if re.fullmatch(r"(bfloat16|float[48]_.*|u?int[24])", n)]
    names = [n for n in names if hasattr(jnp, n)]
    values = [abs(X).astype(getattr(ml_dtypes, n)) for n in names]
    return names, [jax.device_put(v, device) for v in values], [
        jax.device_put(v, device)[::2, 1:] for v in values]  # fmt: skip
