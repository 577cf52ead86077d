# SPDX-License-Identifier: Apache-2.0
"""Many threads at once, and exits at any moment; long with `-m slow`, a sample by default."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

THREADS = """
import gc, json, random, sys, threading, time
import jax, jax.numpy as jnp, numpy as np
import jax_ane

seconds, waits = float(sys.argv[1]), sys.argv[2] == "waiting"
jax_ane.config.update("placement", "ane")
ane, cpu = jax.devices("ane")[0], jax.devices("cpu")[0]
X = np.eye(64, dtype=np.float32)
shared = jax.jit(lambda x: jnp.tanh(x @ x))
twice = jax.jit(lambda v: v + v, donate_argnums=0)
LIKE = jax.ShapeDtypeStruct(X.shape, X.dtype)
called = jax.jit(lambda v: jax.pure_callback(np.negative, LIKE, v))
x = jax.device_put(X, ane)
WANT = np.asarray(shared(x))

def compile_one(random):
    size, factor = random.randrange(2, 24), random.randrange(1000)
    value = jax.device_put(np.eye(size, dtype=np.float32), ane)
    return jax.jit(lambda v: (v @ v) * factor)(value), factor * np.eye(size)

def execute(random):
    return shared(x), WANT

def donate(random):
    value = jax.device_put(X.copy(), ane)
    for _ in range(3):
        value = twice(value)
    return value, 8 * X

def call_back(random):
    return called(x), -X

def move(random):
    return jax.device_put(jax.device_put(shared(x), cpu), ane), WANT

def collect(random):
    gc.collect()
    return x, X

JOBS = [compile_one, execute, execute, donate, call_back, move, collect]
errors, done = [], [0] * 8

def work(number):
    chance = random.Random(number)
    while time.time() < end and not errors:
        job = chance.choice(JOBS)
        try:
            got, want = job(chance)
            if waits:
                got.block_until_ready()
            if chance.random() < 0.5:
                np.testing.assert_allclose(np.asarray(got), want, rtol=2e-3, atol=2e-3)
        except Exception as error:
            errors.append(f"{job.__name__}: {type(error).__name__}: {error}")
        done[number] += 1

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

marks = []
for part in range(3):
    end = time.time() + seconds / 3
    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    marks.append(resident())
print(json.dumps({"errors": errors, "done": done, "resident": marks}))
"""

FIRST = """
import threading
import jax, numpy as np
import jax_ane

ane = jax.devices("ane")[0]
barrier, errors = threading.Barrier(8), []

def work(number):
    barrier.wait()
    try:
        value = jax.device_put(np.full((4, 4), number, np.float32), ane)
        np.testing.assert_array_equal(jax.jit(lambda v: v + number)(value), 2.0 * number)
    except Exception as error:
        errors.append(f"{type(error).__name__}: {error}")

threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not errors, errors
"""

# From its second execution on, an array's memory is asked for.
SECOND = """
import sys, threading
import jax, jax.numpy as jnp, numpy as np
import jax_ane

sys.setswitchinterval(1e-6)
jax_ane.config.update("placement", "ane")
ane, eye = jax.devices("ane")[0], np.eye(64, dtype=np.float32)
step, errors = jax.jit(lambda x: jnp.tanh(x @ x)), []

def work(barrier, x):
    barrier.wait()
    try:
        step(x)
    except Exception as error:
        errors.append(f"{type(error).__name__}: {error}")

for _ in range(60):
    x, barrier = jax.device_put(eye, ane), threading.Barrier(8)
    step(x).block_until_ready()
    threads = [threading.Thread(target=work, args=(barrier, x)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
assert not errors, errors
"""

EXIT = """
import random, sys, threading, time
import jax, jax.numpy as jnp, numpy as np
import jax_ane

chance = random.Random(int(sys.argv[1]))
jax_ane.config.update("placement", "ane")
ane = jax.devices("ane")[0]
x = jax.device_put(np.eye(chance.choice([16, 512, 1024]), dtype=np.float32), ane)
step = jax.jit(lambda x: jnp.tanh(x @ x) @ x)
slow = jax.jit(lambda x: jax.pure_callback(
    lambda v: (time.sleep(0.02), v)[1], jax.ShapeDtypeStruct(x.shape, x.dtype), x))
wide = jax.jit(lambda *xs: [x @ x for x in xs])  # programs that need not wait for each other
kept = []
def work():
    for _ in range(chance.randrange(1, 30)):
        product, many = jax.jit(lambda x: x @ x), lambda x: wide(*[x] * 12)
        call = chance.choice([step, step, slow, product, many])
        kept.append(call(x))
threads = [threading.Thread(target=work) for _ in range(chance.randrange(3))]
for thread in threads:
    thread.start()
work()
time.sleep(chance.random() * 0.1)
if chance.random() < 0.3:
    kept.clear()
if chance.random() < 0.2:
    raise SystemExit(0)
"""


def run(code: str, *arguments: object, timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code, *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", ["waiting", "asynchronous"])
def test_eight_threads_at_once(seconds, mode):
    """Compilation, execution, donation, callbacks, transfers and the collector."""
    done = run(THREADS, seconds, mode, timeout=20 * seconds + 120)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["errors"], found["errors"]
    assert min(found["done"]) > 0
    if seconds >= 60:  # long enough for the allocators to be warm
        _, before, after = found["resident"]
        assert after <= 1.02 * before, found["resident"]


def test_second_executions_may_come_at_once():
    """jaxlib lists an array's parts when asked for its memory; two threads listed them twice."""
    done = run(SECOND, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_first_uses_may_come_at_once():
    """They find one engine, however many threads ask for it."""
    done = run(FIRST, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    "seeds",
    [range(4), pytest.param(range(4, 100), marks=pytest.mark.slow)],
    ids=["sample", "all"],
)
def test_exits_at_any_moment(seeds):
    """What runs or waits in the background ends quietly with the interpreter."""
    for seed in seeds:
        done = run(EXIT, seed, timeout=300)
        assert done.returncode == 0, f"seed {seed}: {done.returncode}\n{done.stderr[-3000:]}"
        assert "Traceback" not in done.stderr, f"seed {seed}\n{done.stderr[-3000:]}"
