# SPDX-License-Identifier: Apache-2.0
"""What needs a process of its own: exits, threads, and clients with several devices."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PRELUDE = """
import jax, jax.numpy as jnp, numpy as np
ane = jax.devices("ane")[0]
x = jax.device_put(np.ones((64, 64), np.float32), ane)
f = jax.jit(lambda v: jnp.sin(v) @ v)
y = f(x)
view = np.asarray(y)
"""

EXITS = {
    "plain": ("", 0),
    "exception": ("raise SystemError('on purpose')", 1),
    "sys_exit": ("import sys; sys.exit(3)", 3),
    "clear_caches": ("jax.clear_caches()", 0),
    "clear_backends": ("import jax.extend.backend as b; b.clear_backends()", 0),
    "leaked_in_cycle": ("class C: pass\nc = C(); c.self = c; c.held = [y, f, view]", 0),
    "atexit_compute": ("import atexit; atexit.register(lambda: f(x).block_until_ready())", 0),
    "callback": ("jax.jit(lambda v: jax.debug.callback(lambda a: None, v))(x)", 0),
}


def run_python(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a fresh interpreter, with JAX_PLATFORMS unset."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_PLATFORMS", "JAX_ANE_"))}
    env["JAX_ANE_CACHE_DIR"] = "off"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=env | environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", EXITS)
def test_interpreter_exits_cleanly(name):
    code, expected = EXITS[name]
    done = run_python(PRELUDE + code)
    assert done.returncode == expected, done.stderr
    assert "terminate called" not in done.stderr
    assert "Fatal Python error" not in done.stderr


def test_threads_may_compile_run_and_collect_together():
    done = run_python(
        PRELUDE
        + """
import gc, sys, threading, time
sys.setswitchinterval(1e-5)
stop = time.monotonic() + 3
failures = []
def work(seed):
    try:
        i = 0
        while time.monotonic() < stop:
            i += 1
            scale = np.float32(seed * 1000 + i % 7)
            g = jax.jit(lambda v, s=scale: (v * s).sum()) if i % 9 == 0 else f
            step = jax.jit(lambda v: v + 1, donate_argnums=0)
            a = step(jax.device_put(np.ones((4, 4), np.float32), ane))
            held = np.asarray(a)
            b = step(a)
            assert (held == 2).all() and (np.asarray(b) == 3).all()
            g(x).block_until_ready()
            if i % 20 == 0:
                gc.collect()
    except Exception as error:
        failures.append(repr(error))
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not failures, failures
"""
    )
    assert done.returncode == 0, done.stderr


def test_sharded_programs_run_on_several_devices():
    done = run_python("""
import jax, numpy as np
jax.config.update("jax_pjrt_client_create_options", "num_devices:4")
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
devices = jax.devices("ane")
assert len(devices) == 4
mesh = Mesh(np.array(devices), ("x",))
rows = NamedSharding(mesh, P("x"))
value = np.arange(64, dtype=np.float32).reshape(8, 8)
x = jax.device_put(value, rows)
np.testing.assert_allclose(np.asarray(jax.jit(lambda v: (v @ v.T).sum(0))(x)),
                           (value @ value.T).sum(0), rtol=1e-3)
total = jax.jit(jax.shard_map(lambda v: jax.lax.psum(v, "x"), mesh=mesh, in_specs=P("x"),
                              out_specs=P()))(x)
np.testing.assert_array_equal(np.asarray(total), value.reshape(4, 2, 8).sum(0))
double = jax.jit(lambda v: v * 2, donate_argnums=0, out_shardings=rows)(x)
assert x.is_deleted() and double.sharding == rows
moved = jax.device_put(double, devices[1])
assert moved.devices() == {devices[1]}
np.testing.assert_array_equal(np.asarray(moved), value * 2)
assert jax.jit(lambda v: v + 1)(jax.device_put(np.ones(3), devices[2])).devices() == {devices[2]}
""")
    assert done.returncode == 0, done.stderr
