# SPDX-License-Identifier: Apache-2.0
"""An installed but unused plugin costs next to nothing and changes nothing."""

from __future__ import annotations

import json

import pytest

BUDGET_S = 0.050
ROUNDS = 5

# Starts JAX's backends and tells what of the CPU time was ours: to import the plugin, to register,
# and what making clients asks of it. Whole starts with and without us differ by more than that from
# one to the next on a busy machine.
START = """
import dataclasses, importlib, time
spent = {"import": 0.0, "initialize": 0.0, "client": 0.0}

def timed(name, function):
    def call(*args, **kwargs):
        start = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[name] += time.process_time() - start
    return call

original = importlib.import_module
def import_module(name, package=None):
    if name != "jax_ane._plugin":
        return original(name, package)
    module = timed("import", original)(name, package)
    module.initialize = timed("initialize", module.initialize)
    return module
importlib.import_module = import_module

import jax
from jax._src import xla_bridge
xla_bridge.discover_pjrt_plugins()
known = xla_bridge._backend_factories["ane"]
xla_bridge._backend_factories["ane"] = dataclasses.replace(
    known, factory=timed("client", known.factory))
jax.devices()
assert spent["import"] > 0 and spent["initialize"] > 0, spent
print(sum(spent.values()))
"""

STATE = """
import json, sys
import jax
values = {name: repr(value) for name, value in jax.config.values.items()}
devices = [repr(device) for device in jax.devices()]
x = jax.numpy.ones(3)
print(json.dumps({
    "config": values,
    "changed": {n: repr(v) for n, v in jax.config.values.items() if repr(v) != values[n]},
    "devices": devices,
    "local": [repr(device) for device in jax.local_devices()],
    "backend": jax.default_backend(),
    "platform": x.device.platform,
    "dtype": str(x.dtype),
    "default_device": repr(jax.config.jax_default_device),
    "loaded": sorted(m for m in sys.modules if m.startswith("jax_ane")),
    "handlers": len(__import__("logging").getLogger().handlers),
}))
"""


def test_registration_costs_at_most_50_ms(python):
    def seconds() -> float:
        done = python("-c", START)
        assert done.returncode == 0, done.stderr
        return float(done.stdout)

    assert min(seconds() for _ in range(ROUNDS)) <= BUDGET_S


@pytest.fixture
def state(python) -> dict:
    done = python("-c", STATE)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_cpu_stays_the_default(state):
    assert state["backend"] == state["platform"] == "cpu"
    assert state["default_device"] == "None"
    assert state["devices"] == state["local"]
    assert all("Cpu" in device for device in state["devices"])


def test_no_setting_of_jax_changes(python, state):
    alone = json.loads(python("-c", STATE, JAX_PLATFORMS="cpu").stdout)
    differing = {n for n, v in alone["config"].items() if state["config"].get(n) != v}
    assert differing <= {"jax_platforms"}, "JAX_PLATFORMS itself may show"
    assert state["changed"] == {}
    assert state["dtype"] == alone["dtype"]
    assert state["handlers"] == 0


def test_compiler_and_native_module_are_not_imported(state):
    heavy = ("jax_ane.compiler", "jax_ane._native", "jax_ane._host", "jax_ane.report")
    assert [name for name in state["loaded"] if name.startswith(heavy)] == []
    assert "jax_ane._plugin" in state["loaded"], "JAX did not find the entry point"
