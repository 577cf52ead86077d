# SPDX-License-Identifier: Apache-2.0
"""Runs of several processes: `jax.distributed` on this machine, two processes of two devices."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest
from training_tools import ENVIRONMENT

# The same code with four devices in one process or in two.
TRAIN = """
import hashlib, json, sys
import jax
processes, index, address = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if processes > 1:
    jax.distributed.initialize(address, processes, index)
import numpy as np, optax
from jax.sharding import NamedSharding, PartitionSpec as P
import jax_ane, training_tools as tools
from jax_ane import training

jax_ane.config.update("placement", "ane")
devices = jax.devices("ane")
mesh = jax.sharding.Mesh(np.array(devices), ("data",))
here = jax.local_devices(backend="ane")
assert all(device.process_index == jax.process_index() for device in here)

def spread(value, spec):
    value = np.asarray(value)
    sharding = NamedSharding(mesh, spec)
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

step = training.train_step(tools.loss_fn, optax.adamw(1e-2))
with jax.default_device(here[0]):
    state = step.init(tools.mlp_params())
state = jax.tree.map(lambda leaf: spread(leaf, P()), state)
for batch in tools.BATCHES:
    state, metrics = step(state, jax.tree.map(lambda leaf: spread(leaf, P("data")), batch))
digest = hashlib.sha256()
for leaf in jax.tree.leaves(state):
    digest.update(np.asarray(leaf.addressable_data(0)).tobytes())
print(json.dumps({
    "ids": [d.id for d in devices], "local": [d.id for d in here], "digest": digest.hexdigest(),
    "loss": float(metrics.loss), "evaluations": jax_ane.stats().evaluations,
}))
"""


def start(code: str, *arguments: object, devices: int, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={
            **ENVIRONMENT, "JAX_NUM_CPU_DEVICES": str(devices), "JAX_ANE_NUM_DEVICES": str(devices),
            **environment,
        },
    )  # fmt: skip


def finish(*processes: subprocess.Popen) -> list[dict]:
    try:
        done = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, done, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [json.loads(output.splitlines()[-1]) for output, _ in done]


@pytest.fixture
def address():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return f"localhost:{probe.getsockname()[1]}"


def test_two_processes_of_two_devices_train_as_one_of_four(address):
    first, second = finish(*(start(TRAIN, 2, i, address, devices=2) for i in range(2)))
    (alone,) = finish(start(TRAIN, 1, 0, address, devices=4))
    assert alone["ids"] == alone["local"] == [0, 1, 2, 3]
    assert first["ids"] == second["ids"] == first["local"] + second["local"]
    assert first["evaluations"] > 0 and second["evaluations"] > 0
    assert first["digest"] == second["digest"] == alone["digest"]
    assert first["loss"] == second["loss"] == alone["loss"]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"JAX_NUM_CPU_DEVICES": "3"}, "set JAX_NUM_CPU_DEVICES and JAX_ANE_NUM_DEVICES alike"),
        ({"JAX_PLATFORMS": "ane"}, "name both in JAX_PLATFORMS"),
    ],
    ids=["numbers", "platforms"],
)
def test_what_lacks_of_cpu_is_an_error_that_says_what_to_set(address, environment, words):
    code = """
import json, sys, jax
jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[1]))
import numpy as np
try:
    jax.device_put(np.ones(3), jax.local_devices(backend="ane")[0]) + 1
    print(json.dumps("no error"))
except Exception as error:
    print(json.dumps(str(error)))
"""
    processes = [start(code, i, address, devices=2, **environment) for i in range(2)]
    for text in finish(*processes):
        assert words in text


def test_processes_on_one_device_each_compute_alone_and_together(address):
    code = """
import json, sys, jax
jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[1]))
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
here = jax.local_devices(backend="ane")[0]
own = float(jax.jit(lambda x: (x @ x).sum())(jax.device_put(np.eye(4) + jax.process_index(), here)))
mesh = jax.sharding.Mesh(np.array(jax.devices("ane")), ("d",))
value = np.arange(8.0, dtype=np.float32)
array = jax.make_array_from_callback((8,), NamedSharding(mesh, P("d")), lambda i: value[i])
def body(x):
    total = jax.lax.psum(x.sum(), "d")
    return x * 0 + total, jax.lax.ppermute(x, "d", [(0, 1), (1, 0)])
total, moved = jax.jit(jax.shard_map(body, mesh=mesh, in_specs=P("d"), out_specs=P("d")))(array)
print(json.dumps([own, np.asarray(total.addressable_data(0)).tolist(),
                  np.asarray(moved.addressable_data(0)).tolist()]))
"""
    processes = [start(code, i, address, devices=1) for i in range(2)]
    first, second = finish(*processes)
    assert first == [4.0, [28.0] * 4, [4.0, 5.0, 6.0, 7.0]]
    assert second == [100.0, [28.0] * 4, [0.0, 1.0, 2.0, 3.0]]
