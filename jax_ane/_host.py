# SPDX-License-Identifier: Apache-2.0
"""XLA:CPU as the engine for what the Neural Engine does not run.

A private CPU client of jaxlib compiles and runs the host module of each program. The plugin's C++
calls `HostEngine` and `compile` from here and keeps the inner arrays that executions return.
Nothing here may call `jax.devices()`: JAX holds its backend lock while it makes our client.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import threading
import time
from typing import Any

import jax
import jax.core
import numpy as np
from jax.sharding import SingleDeviceSharding
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from jax_ane import _cache, _counters, _native, _stored
from jax_ane import _engine as start_flags
from jax_ane import _jax_internals as internals
from jax_ane import _protobuf as protobuf
from jax_ane._device_assignment import assigned_ids
from jax_ane._element_types import MLIR_TYPES, TOKEN, dtype_of
from jax_ane._host_executable import (
    HostExecutable,
    LoadedModule,
    Measured,
    Output,
    Signature,
)
from jax_ane.compiler import loading, updates
from jax_ane.compiler.settings import Settings

logger = logging.getLogger("jax_ane")

# CompileOptionsProto's executable_build_options, and their debug_options.
_OPTIONS_WITH_MAPS = (3, 3)
# Seconds of compiling after which what it has freed is worth giving back, which takes about 0.03:
# the steps that follow allocate larger blocks and would not fit into it.
_LARGE_S = 0.5


class HostEngine:
    """A CPU client with as many devices as the ane client, under the same ids.

    Attributes:
        devices: of all processes, by id; an ane device and its CPU device have the same.
        shardings: that of one device alone, for each of this process, by id.
    """

    def __init__(self, num_devices: int, is_distributed: bool = False) -> None:
        """Makes a private client, or in a distributed run takes JAX's own: there can be one only.

        Args:
            num_devices: of this process.
            is_distributed: the run has devices in other processes.

        Raises:
            RuntimeError: JAX's client has another number of devices, or is not there.
        """
        global _engine
        start_flags.configure()
        make = internals.distributed_client if is_distributed else internals.make_inner_client
        self.client = make(num_devices)
        self.devices: dict[int, Any] = {device.id: device for device in self.client.devices()}
        local = sorted(self.client.local_devices(), key=lambda d: d.id)
        self.shardings = {device.id: SingleDeviceSharding(device) for device in local}
        self.first: int = local[0].id
        # What an ordering token is at run time: an empty array.
        self.token = self.put(np.zeros((0,), np.bool_))
        _engine = self
        # Runs before JAX's own clean-up, which was registered earlier.
        atexit.register(_native.stop_completions)

    def import_block(
        self, block: np.ndarray, type_code: int, shape: tuple[int, ...], device_id: int
    ) -> Any:
        """Returns the inner array over `block`: uint8 [bytes], dense, one byte a sub-byte element.

        No copy where the memory is 64-byte aligned and the type is not packed; the array keeps
        the block alive.
        """
        value = block.view(dtype_of(type_code)).reshape(shape)
        return self.put(value, device_id)

    def put(self, value: np.ndarray, device_id: int | None = None) -> Any:
        """Returns `value` as an inner array of one device, of this process's first by default."""
        place = self.first if device_id is None else device_id
        return internals.put(value, self.shardings[place], self.devices[place])

    def export_bytes(self, array: Any) -> np.ndarray:
        """Returns the array's elements as uint8 [bytes], one byte for a sub-byte element."""
        return np.ascontiguousarray(np.asarray(array)).reshape(-1).view(np.uint8)

    def hold(self, array: Any) -> Any:
        """Returns what keeps `array` from being overwritten by a donation while it lives."""
        return internals.hold(array)


_engine: HostEngine | None = None
_engine_lock = threading.Lock()


def engine() -> HostEngine:
    """Returns the process's engine, with one device when no client made it yet."""
    with _engine_lock:
        return _engine if _engine is not None else HostEngine(1)


def engine_for(num_devices: int, is_distributed: bool) -> HostEngine:
    """Returns the engine for a client: one, however many threads ask first.

    Args:
        num_devices, is_distributed: as for `HostEngine`. After `clear_backends` a client may have
            another number of devices than the one before.
    """
    with _engine_lock:
        if _engine is None or len(_engine.shardings) != num_devices:
            return HostEngine(num_devices, is_distributed)
        return _engine


def parse_module(program: bytes) -> ir.Module:
    """Returns the module in `program`, a portable artifact or plain bytecode.

    Raises:
        ValueError: the bytes hold no module.
    """
    context = internals.make_ir_context()
    context.allow_unregistered_dialects = True
    with context:
        try:
            return stablehlo.deserialize_portable_artifact(context, program)
        except Exception:
            return ir.Module.parse(program)


def read_signature(module: ir.Module) -> Signature:
    """Returns the types and donations of the module's `main`."""
    symbols = ir.SymbolTable(module.operation)
    main = symbols["main"]
    function_type = ir.FunctionType(ir.TypeAttr(main.attributes["function_type"]).value)
    inputs = tuple(_output(t) for t in function_type.inputs)
    outputs = tuple(_output(t) for t in function_type.results)
    if "res_attrs" in main.attributes:
        outputs = tuple(
            output._replace(memory_kind=_memory_kind(attributes))
            for output, attributes in zip(
                outputs, ir.ArrayAttr(main.attributes["res_attrs"]), strict=True
            )
        )
    donated = [False] * len(inputs)
    if "arg_attrs" in main.attributes:
        for i, attributes in enumerate(ir.ArrayAttr(main.attributes["arg_attrs"])):
            names = ir.DictAttr(attributes)
            donated[i] = "tf.aliasing_output" in names or (
                "jax.buffer_donor" in names and ir.BoolAttr(names["jax.buffer_donor"]).value
            )
    attributes = module.operation.attributes
    name = "main"
    if "sym_name" in attributes:
        name = ir.StringAttr(attributes["sym_name"]).value
    return Signature(name, inputs, outputs, tuple(donated))


def _memory_kind(attributes: ir.Attribute) -> str:
    held, kind = ir.DictAttr(attributes), internals.MEMORY_KIND
    return ir.StringAttr(held[kind]).value if kind in held else "device"


def _output(type_: ir.Type) -> Output:
    text = str(type_)
    if text == "!stablehlo.token":
        return Output(TOKEN, ())
    ranked = ir.RankedTensorType(type_)
    return Output(MLIR_TYPES[str(ranked.element_type)], tuple(ranked.shape))


def compile(program: bytes, options: bytes, stored: bytes = b"") -> HostExecutable:
    """Compiles a program as JAX sent it: the ANE's parts by jax_ane.compiler, the rest by XLA:CPU.

    Args:
        program: MLIR bytecode, a StableHLO portable artifact.
        options: a serialised CompileOptionsProto.
        stored: what `HostExecutable.stored` gave; where it does not fit this process, or is
            damaged, the program is compiled again.
    """
    internals.prepare_libraries(program)
    if stored:
        try:
            return _load(stored, options)
        except Exception as error:  # any: what XLA raises for bytes that it cannot use is not told
            logger.warning("compiling again instead of loading: %s", error)
            _counters.add("stored_rejected")
    place = _place_in_cache(program, options)
    if place is not None:
        cache, key = place
        found = cache.get(key)
        if found is not None:
            try:
                executable = _load(found, options)
                _counters.add("cache_hits")
                return executable
            except Exception as error:
                cache.drop(key, str(error))
    start = time.perf_counter()
    executable = _compile(program, options)
    seconds = time.perf_counter() - start
    if place is not None and executable.is_portable and seconds >= _cache.WORTH_S:
        cache, key = place
        _counters.add("cache_misses")
        cache.put(key, executable.stored())
    if seconds >= _LARGE_S:
        _native.release_free_heap()
    return executable


def _compile(program: bytes, options: bytes) -> HostExecutable:
    start = time.perf_counter()
    owner = engine()
    parsed = internals.parse_compile_options(options)
    module = parse_module(program)  # which the compiler then consumes
    signature = read_signature(module)
    ids = [i for row in assigned_ids(parsed.device_assignment) for i in row]
    compiled = _compile_for_ane(program, len(ids), module)
    host_module, callbacks = _bind_callbacks(compiled.host_module)
    devices = internals.device_list([owner.devices[i] for i in ids])
    if callbacks:
        inner = owner.client.compile_and_load(host_module, devices, parsed, callbacks)
    else:
        inner = owner.client.compile_and_load(host_module, devices, parsed)
    _log_compilation(signature.name, compiled, time.perf_counter() - start)
    return HostExecutable(owner, inner, signature, parsed, compiled, callbacks)


def _place_in_cache(program: bytes, options: bytes) -> tuple[_cache.Cache, str] | None:
    """Returns the cache in use and the program's key there; None where there is no cache.

    A compilation that the user wants to watch, by its dumps or warnings, is always done.
    """
    from jax_ane._config import config

    carried = ""
    if internals.carries_flags(program):
        carried = internals.take_flags(parse_module(program))
    folder = _cache.folder(str(json.loads(carried or "{}").get("cache_dir", config.cache_dir)))
    settings = Settings.current(carried)
    if folder is None or settings.is_watched:
        return None
    digest = hashlib.sha256()
    for part in (repr(settings), json.dumps(_stored.environment())):
        digest.update(part.encode() + b"\0")
    for data in (protobuf.with_sorted_maps(options, _OPTIONS_WITH_MAPS), program):
        digest.update(len(data).to_bytes(8, "little") + data)
    return _cache.Cache(folder, config.cache_max_bytes), digest.hexdigest()


def _load(stored: bytes, options: bytes) -> HostExecutable:
    """Returns the program in `stored`, loaded.

    Raises:
        Exception: of any kind, where it does not fit or does not load.
    """
    start = time.perf_counter()
    known = _stored.unpack(stored)
    facts = known.facts
    owner = engine()
    parsed = internals.parse_compile_options(options)
    ids = [i for row in assigned_ids(parsed.device_assignment) for i in row]
    if len(ids) != facts["devices"]:
        raise _stored.Misfit(f"it is for {facts['devices']} devices and {len(ids)} are asked for")
    loading.start_runtime()
    if updates.TARGET.encode() in known.host_module:
        updates.register()
    handles = [loading.load(image) for image in known.images]
    devices = internals.device_list([owner.devices[i] for i in ids])
    compiled = LoadedModule(
        known.host_module, known.text, facts["flops"], facts["bytes_accessed"], handles,
        known.images, facts["fallbacks"],
    )  # fmt: skip
    signature = Signature(
        facts["name"],
        tuple(Output(code, tuple(shape), *rest) for code, shape, *rest in facts["inputs"]),
        tuple(Output(code, tuple(shape), *rest) for code, shape, *rest in facts["outputs"]),
        tuple(facts["donated"]),
    )
    executable = None
    if known.host_executable is not None:
        inner = owner.client.deserialize_executable(known.host_executable, devices, parsed)
        costs = [(str(name), float(value)) for name, value in facts["costs"]]
        measured = Measured(tuple(facts["memory_stats"]), costs)
        executable = HostExecutable(owner, inner, signature, parsed, compiled, (), measured)
    # Not every jaxlib keeps with an executable how it splits arrays over devices.
    if executable is None or executable.shardings != facts["shardings"]:
        inner = owner.client.compile_and_load(known.host_module, devices, parsed)
        executable = HostExecutable(owner, inner, signature, parsed, compiled, ())
    for code, count in compiled.fallbacks.items():
        _counters.add_fallback(code, count)
    logger.info("loaded %s in %.2f s", signature.name, time.perf_counter() - start)
    return executable


def _log_compilation(name: str, compiled: Any, seconds: float) -> None:
    placement = getattr(compiled, "placement", None)
    if placement is None or not logger.isEnabledFor(logging.INFO):
        return
    logger.info(
        "compiled %s in %.2f s: %.2f %% of %d FLOPs on the ANE in %d program(s)",
        name, seconds, 100 * placement.ane_flop_fraction, placement.total_flops,
        len(placement.programs),
    )  # fmt: skip


def _compile_for_ane(program: bytes, num_devices: int, module: ir.Module) -> Any:
    from jax_ane.compiler import pipeline  # not for programs that come from a cache

    return pipeline.compile(program, num_devices, module=module)


def _bind_callbacks(host_module: bytes) -> tuple[bytes | ir.Module, list[Any]]:
    """Returns the module with its host callbacks renumbered from 0, and the callbacks.

    The lowering numbers them by process (see _jax_internals); XLA:CPU wants them by module, and
    jaxlib takes callbacks only beside a parsed module.
    """
    if not any(target.encode() in host_module for target in internals.CALLBACK_TARGETS):
        return host_module, []
    module = parse_module(host_module)
    found: list[Any] = []

    def visit(operation: ir.Operation) -> ir.WalkResult:
        if operation.name == "stablehlo.custom_call":
            target = ir.StringAttr(operation.attributes["call_target_name"]).value
            if target in internals.CALLBACK_TARGETS:
                config = ir.DictAttr(operation.attributes["mhlo.backend_config"])
                number = ir.IntegerAttr(config["index"])
                found.append(internals.callback(number.value))
                renumbered = {named.name: named.attr for named in config}
                renumbered["index"] = ir.IntegerAttr.get(number.type, len(found) - 1)
                operation.attributes["mhlo.backend_config"] = ir.DictAttr.get(renumbered)
        return ir.WalkResult.ADVANCE

    with module.context, ir.Location.unknown():
        module.operation.walk(visit)
    return module, found


def register_ffi_handler(name: str, capsule: Any) -> None:
    """Registers an XLA FFI handler with the inner client's platform.

    Args:
        name: the custom call's target.
        capsule: a PyCapsule around the handler's `execute` function.
    """
    jax.ffi.register_ffi_target(name, {"execute": capsule}, platform="cpu", api_version=1)
