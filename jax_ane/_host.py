# SPDX-License-Identifier: Apache-2.0
"""XLA:CPU as the engine for what the Neural Engine does not run.

A private CPU client of jaxlib compiles and runs the host module of each program. The plugin's C++
calls `HostEngine` and `compile` from here and keeps the inner arrays that executions return.
Nothing here may call `jax.devices()`: JAX holds its backend lock while it makes our client.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import importlib
import importlib.util
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import ml_dtypes
import numpy as np
from jax.sharding import SingleDeviceSharding
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from jax_ane import _engine as start_flags
from jax_ane import _jax_internals as internals
from jax_ane import _native
from jax_ane import _protobuf as protobuf
from jax_ane._device_assignment import assigned_ids

logger = logging.getLogger("jax_ane")

# numpy's name for each PJRT_Buffer_Type; None where numpy has none.
_TYPE_NAMES: tuple[str | None, ...] = (
    None, "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "bfloat16", "complex64", "complex128", "float8_e5m2",
    "float8_e4m3fn", "float8_e4m3b11fnuz", "float8_e5m2fnuz", "float8_e4m3fnuz", "int4", "uint4",
    None, "int2", "uint2", "float8_e4m3", "float8_e3m4", "float8_e8m0fnu", "float4_e2m1fn",
    "int1", "uint1",
)  # fmt: skip
_TOKEN = 23
MEMORY_KIND = "mhlo.memory_kind"  # the attribute of arguments and results of `main`

# Field numbers of XLA's messages: HloModuleProto.host_program_shape, the two fields of
# HloModuleProtoWithConfig, and HloModuleConfigProto.entry_computation_layout.
_PROGRAM_SHAPE = 4
_PROTO, _CONFIG = 1, 2
_CONFIG_LAYOUT = 1

# PJRT_Buffer_Type of each MLIR element type.
_MLIR_TYPES: dict[str, int] = {
    "i1": 1, "i8": 2, "i16": 3, "i32": 4, "i64": 5, "ui8": 6, "ui16": 7, "ui32": 8, "ui64": 9,
    "f16": 10, "f32": 11, "f64": 12, "bf16": 13, "complex<f32>": 14, "complex<f64>": 15,
    "f8E5M2": 16, "f8E4M3FN": 17, "f8E4M3B11FNUZ": 18, "f8E5M2FNUZ": 19, "f8E4M3FNUZ": 20,
    "i4": 21, "ui4": 22, "i2": 24, "ui2": 25, "f8E4M3": 26, "f8E3M4": 27, "f8E8M0FNU": 28,
    "f4E2M1FN": 29,
}  # fmt: skip


@functools.cache
def dtype_of(type_code: int) -> np.dtype:
    """Returns the numpy dtype of a PJRT_Buffer_Type.

    Raises:
        NotImplementedError: numpy and ml_dtypes have no such type.
    """
    name = _TYPE_NAMES[type_code]
    if name is not None:
        scalar = getattr(ml_dtypes, name, None)
        if scalar is not None:
            return np.dtype(scalar)
        if hasattr(np, name):
            return np.dtype(name)
    raise NotImplementedError(f"numpy has no dtype for {name or 'PJRT type'} ({type_code})")


class HostEngine:
    """A private CPU client with as many devices as the ane client, under the same ids."""

    def __init__(self, num_devices: int) -> None:
        global _engine
        start_flags.configure()
        self.client = internals.make_inner_client(num_devices)
        self.devices: list[Any] = sorted(self.client.devices(), key=lambda d: d.id)
        self.shardings = [SingleDeviceSharding(device) for device in self.devices]
        # What an ordering token is at run time: an empty array.
        self.token = internals.put(np.zeros((0,), np.bool_), self.shardings[0], self.devices[0])
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
        return internals.put(value, self.shardings[device_id], self.devices[device_id])

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


class Output(NamedTuple):
    """One result of a program: PJRT_Buffer_Type and shape on one device."""

    type_code: int
    shape: tuple[int, ...]
    is_row_major: bool = True  # of XLA:CPU's array; the host side is so always
    memory_kind: str = "device"


@dataclasses.dataclass(frozen=True)
class Signature:
    """What the plugin needs to know of a module's `main`, whole arrays, before partitioning."""

    name: str
    inputs: tuple[Output, ...]
    outputs: tuple[Output, ...]
    donated: tuple[bool, ...]


@dataclasses.dataclass(frozen=True)
class CompiledModule:
    """The compiler's answer: what XLA:CPU runs, and what to tell about it."""

    host_module: bytes
    text: str = ""
    flops: float = -1.0
    bytes_accessed: float = -1.0
    keepalive: object = None


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
    held = ir.DictAttr(attributes)
    return ir.StringAttr(held[MEMORY_KIND]).value if MEMORY_KIND in held else "device"


def _output(type_: ir.Type) -> Output:
    text = str(type_)
    if text == "!stablehlo.token":
        return Output(_TOKEN, ())
    ranked = ir.RankedTensorType(type_)
    return Output(_MLIR_TYPES[str(ranked.element_type)], tuple(ranked.shape))


class HostExecutable:
    """A compiled program: the inner executable and what C++ reads of it, once."""

    def __init__(
        self,
        owner: HostEngine,
        inner: Any,
        signature: Signature,
        options: Any,
        compiled: CompiledModule,
        callbacks: Sequence[Any],
    ) -> None:
        self._inner = inner
        self._compiled = compiled
        self._callbacks = tuple(callbacks)
        self.name = signature.name
        self.num_replicas = options.num_replicas
        self.num_partitions = options.num_partitions
        self.device_assignment: bytes = options.device_assignment.serialize()
        self.devices = inner.local_devices()
        self.device_ids = tuple(device.id for device in self.devices)
        self.donated = signature.donated
        self.is_portable = not callbacks
        self.token = owner.token
        self.execute = inner.execute_sharded
        self._set_shardings(signature)
        kept = [o for o in self.outputs if o.type_code != _TOKEN]
        self._num_tokens = len(self.outputs) - len(kept)
        if internals.LAYOUT_ATTRIBUTE.encode() in compiled.host_module:
            self._note_layouts()
        shardings = [owner.shardings[i] for i in self.device_ids]
        self._shard_shardings = shardings
        self.handlers = (
            [internals.result_handler(o.shape, dtype_of(o.type_code), shardings[0]) for o in kept]
            if len(self.devices) == 1
            else []
        )
        self.memory_stats = self._read_memory_stats()
        self.costs = self._read_costs()

    def _set_shardings(self, signature: Signature) -> None:
        self._input_shardings: list[Any] = []
        self.parameter_shardings: list[bytes] | None = None
        self.output_shardings: list[bytes] | None = None
        self.outputs = signature.outputs
        if len(self.devices) == 1:
            return
        self._inputs = signature.inputs
        parameters = self._inner.get_parameter_shardings()
        outputs = self._inner.get_output_shardings()
        if parameters is not None:
            self.parameter_shardings = [s.SerializeToString() for s in parameters]
            self._input_shardings = [internals.gspmd_sharding(self.devices, s) for s in parameters]
        if outputs is not None:
            self.output_shardings = [s.SerializeToString() for s in outputs]
            self.outputs = tuple(
                o._replace(shape=internals.gspmd_sharding(self.devices, s).shard_shape(o.shape))
                if o.type_code != _TOKEN
                else o
                for o, s in zip(signature.outputs, outputs, strict=True)
            )

    def _note_layouts(self) -> None:
        """Marks the results that the program was asked to give in another order of axes."""
        layouts = internals.minor_to_major(self._inner)
        layouts = [None] * (len(self.outputs) - len(layouts)) + layouts  # of tokens first
        self.outputs = tuple(
            output._replace(is_row_major=order is None or list(order) == sorted(order)[::-1])
            for output, order in zip(self.outputs, layouts, strict=True)
        )

    def execute_shards(self, shards: list[list[Any]]) -> list[list[Any]]:
        """Runs on several devices: arguments and results are [device][index]."""
        arguments = []
        for index in range(len(shards[0])):
            pieces = [device[index] for device in shards]
            sharding = self._input_shardings[index]
            whole = self._inputs[index]
            aval = jax.core.ShapedArray(whole.shape, dtype_of(whole.type_code))
            arguments.append(internals.assemble(aval, sharding, pieces))
        results = self.execute(arguments).disassemble_into_single_device_arrays()
        by_output = results[self._num_tokens :]
        return [[output[i] for output in by_output] for i in range(len(self.devices))]

    def optimized_program(self) -> tuple[str, bytes]:
        """Returns the format and the bytes of the program that XLA:CPU runs.

        JAX reads it back at every compilation, for the layouts of the results. On one device that
        is what XLA:CPU made of it, which is read much more quickly than StableHLO; on several, the
        module as it was before the partitioner changed its shapes.
        """
        proto = internals.hlo_proto(self._inner) if len(self.devices) == 1 else None
        if proto is None:
            return "mlir", self._compiled.host_module
        shape = protobuf.field(proto, _PROGRAM_SHAPE)
        config = protobuf.message((_CONFIG_LAYOUT, shape))
        return "hlo_with_config", protobuf.message((_PROTO, proto), (_CONFIG, config))

    def publish(self, fingerprint: str) -> None:
        """Lets `compiled.as_text()` find this program by the fingerprint that C++ gave it."""
        internals.programs[fingerprint] = self

    @property
    def text(self) -> str:
        """What this program does where, for humans."""
        return self._compiled.text or self._inner.get_hlo_text()

    def _read_memory_stats(self) -> tuple[int, ...]:
        stats = self._inner.get_compiled_memory_stats()
        return (
            stats.generated_code_size_in_bytes,
            stats.argument_size_in_bytes,
            stats.output_size_in_bytes,
            stats.alias_size_in_bytes,
            stats.temp_size_in_bytes,
            stats.peak_memory_in_bytes,
        )

    def _read_costs(self) -> list[tuple[str, float]]:
        costs = {k: float(v) for k, v in self._inner.cost_analysis().items()}
        if self._compiled.flops >= 0:
            costs["flops"] = self._compiled.flops
        if self._compiled.bytes_accessed >= 0:
            costs["bytes accessed"] = self._compiled.bytes_accessed
        return list(costs.items())


def compile(program: bytes, options: bytes) -> HostExecutable:
    """Compiles a program as JAX sent it: the ANE's parts by jax_ane.compiler, the rest by XLA:CPU.

    Args:
        program: MLIR bytecode, a StableHLO portable artifact.
        options: a serialised CompileOptionsProto.
    """
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


def _log_compilation(name: str, compiled: Any, seconds: float) -> None:
    placement = getattr(compiled, "placement", None)
    if placement is None or not logger.isEnabledFor(logging.INFO):
        return
    logger.info(
        "compiled %s in %.2f s: %.2f %% of %d FLOPs on the ANE in %d program(s)",
        name, seconds, 100 * placement.ane_flop_fraction, placement.total_flops,
        len(placement.programs),
    )  # fmt: skip


@functools.cache
def _compiler() -> Any:
    """Returns jax_ane.compiler when it is there and compiles."""
    if importlib.util.find_spec("jax_ane.compiler") is None:
        return None
    module = importlib.import_module("jax_ane.compiler")
    return module if hasattr(module, "compile") else None


def _compile_for_ane(program: bytes, num_devices: int, module: ir.Module) -> Any:
    compiler = _compiler()
    if compiler is None:
        return CompiledModule(program)
    return compiler.compile(program, num_devices, module=module)


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
