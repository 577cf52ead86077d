# SPDX-License-Identifier: Apache-2.0
"""A compiled program as the plugin's C++ runs it and asks about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax.core

from jax_ane import _jax_internals as internals
from jax_ane import _protobuf as protobuf
from jax_ane import _stored
from jax_ane._device_assignment import assigned_ids
from jax_ane._element_types import TOKEN, dtype_of
from jax_ane.compiler import loading

# Field numbers of XLA's messages: HloModuleProto.host_program_shape and what leads from there to
# LayoutProto.minor_to_major, the two fields of HloModuleProtoWithConfig, and
# HloModuleConfigProto.entry_computation_layout.
_PROGRAM_SHAPE = 4
_RESULT, _TUPLE_SHAPES, _LAYOUT, _MINOR_TO_MAJOR = 2, 4, 5, 1
_PROTO, _CONFIG = 1, 2
_CONFIG_LAYOUT = 1


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
class LoadedModule:
    """What the compiler tells (`pipeline.Compiled`), of what an earlier process compiled."""

    host_module: bytes
    packed_text: bytes
    flops: float
    bytes_accessed: float
    keepalive: object
    images: Sequence[loading.Image]
    fallbacks: Mapping[str, int]

    @property
    def text(self) -> str:
        """What `compiled.as_text()` shows; unpacked when somebody asks."""
        return _stored.decompress(self.packed_text)


class Engine(Protocol):
    """What a program needs to know of `_host.HostEngine`."""

    token: Any
    devices: dict[int, Any]
    shardings: dict[int, Any]


class Measured(NamedTuple):
    """What XLA:CPU tells of a program when it compiles it: bytes by kind, and costs by name."""

    memory_stats: tuple[int, ...]
    costs: list[tuple[str, float]]


class HostExecutable:
    """A compiled program: the inner executable and what C++ reads of it, once."""

    def __init__(
        self,
        owner: Engine,
        inner: Any,
        signature: Signature,
        options: Any,
        compiled: Any,
        callbacks: Sequence[Any],
        measured: Measured | None = None,
    ) -> None:
        self._inner = inner
        self._signature = signature
        self._compiled: Any = compiled
        self._callbacks = tuple(callbacks)
        self.name = signature.name
        self.num_replicas = options.num_replicas
        self.num_partitions = options.num_partitions
        self.device_assignment: bytes = options.device_assignment.serialize()
        # Of all processes: what runs here are the addressable ones.
        self.device_ids = tuple(i for row in assigned_ids(options.device_assignment) for i in row)
        self.devices = [owner.devices[i] for i in self.device_ids]
        self._num_shards = len(inner.local_devices())
        self.donated = signature.donated
        self.is_portable = not callbacks
        self.token = owner.token
        self.execute = inner.execute_sharded
        self._set_shardings(signature)
        kept = [o for o in self.outputs if o.type_code != TOKEN]
        self._num_tokens = len(self.outputs) - len(kept)
        self._set_layouts()
        self.handlers: list[Any] = []
        if len(self.devices) == 1:
            (place,) = self.device_ids
            self.handlers = [
                internals.result_handler(o.shape, dtype_of(o.type_code), owner.shardings[place])
                for o in kept
            ]
        # A loaded executable of XLA:CPU no longer knows these.
        self.memory_stats, self.costs = measured or (self._read_memory_stats(), self._read_costs())

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
                if o.type_code != TOKEN
                else o
                for o, s in zip(signature.outputs, outputs, strict=True)
            )

    def _set_layouts(self) -> None:
        """Notes the layouts, and the results that were asked for in another order of axes."""
        layouts = internals.layouts(self._inner)
        self.parameter_layouts = layouts and [str(layout) for layout in layouts[0]]
        self.output_layouts = layouts and [str(layout) for layout in layouts[1]]
        if internals.LAYOUT_ATTRIBUTE.encode() in self._compiled.host_module:
            orders = _result_orders(internals.hlo_proto(self._inner))
            self.outputs = tuple(
                output._replace(is_row_major=order == sorted(order, reverse=True))
                for output, order in zip(self.outputs, orders, strict=True)
            )

    def execute_shards(self, shards: list[list[Any]]) -> list[list[Any]]:
        """Runs on several devices: arguments and results are [device of this process][index]."""
        arguments = []
        for index in range(len(shards[0])):
            pieces = [device[index] for device in shards]
            sharding = self._input_shardings[index]
            whole = self._inputs[index]
            aval = jax.core.ShapedArray(whole.shape, dtype_of(whole.type_code))
            arguments.append(internals.assemble(aval, sharding, pieces))
        results = self.execute(arguments).disassemble_into_single_device_arrays()
        by_output = results[self._num_tokens :]
        return [[output[i] for output in by_output] for i in range(self._num_shards)]

    def optimized_program(self) -> tuple[str, bytes]:
        """Returns the format and the bytes of the program that XLA:CPU runs.

        On one device it is what XLA:CPU made of the module; on several, the module as it was before
        the partitioner changed its shapes, except where jaxlib cannot read that: what runs on each
        device by itself has no form in HLO.
        """
        module = self._compiled.host_module
        may_read = len(self.devices) > 1 and b"manual_computation" not in module
        proto = None if may_read else internals.hlo_proto(self._inner)
        if proto is None:
            return "mlir", module
        shape = protobuf.field(proto, _PROGRAM_SHAPE)
        config = protobuf.message((_CONFIG_LAYOUT, shape))
        return "hlo_with_config", protobuf.message((_PROTO, proto), (_CONFIG, config))

    def stored(self) -> bytes:
        """Returns what `compile` can load in another process; empty for one with callbacks."""
        if not self.is_portable:
            return b""
        compiled = self._compiled
        signature = self._signature
        facts = {
            "name": signature.name,
            "inputs": signature.inputs,
            "outputs": signature.outputs,
            "donated": signature.donated,
            "devices": len(self.device_ids),
            "memory_stats": self.memory_stats,
            "costs": self.costs,
            "flops": compiled.flops,
            "bytes_accessed": compiled.bytes_accessed,
            "fallbacks": dict(compiled.fallbacks),
            "shardings": self.shardings,
        }
        return _stored.pack(
            _stored.Stored(
                facts, internals.serialise(self._inner), compiled.host_module,
                _stored.compress(compiled.text), tuple(compiled.images),
            )
        )  # fmt: skip

    @property
    def shardings(self) -> list[list[str] | None]:
        """How XLA:CPU splits the arguments and the results, JSON-ready; empty on one device."""
        if len(self.devices) == 1:
            return []
        each = (self.parameter_shardings, self.output_shardings)
        return [None if known is None else [s.hex() for s in known] for known in each]

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


def _result_orders(module: bytes | None) -> list[list[int]]:
    """Returns the order of axes of each result, the fastest first; empty for tokens."""
    if module is None:
        raise NotImplementedError(
            "this jaxlib does not tell the layouts of results; leave the order of axes to it"
        )
    result = protobuf.field(protobuf.field(module, _PROGRAM_SHAPE), _RESULT)
    orders = []
    for shape in protobuf.fields(result, _TUPLE_SHAPES) or [result]:
        order, at = [], 0
        for layout in protobuf.fields(shape, _LAYOUT):
            for packed in protobuf.fields(layout, _MINOR_TO_MAJOR):
                while at < len(packed):
                    axis, at = protobuf.read_varint(packed, at)
                    order.append(axis)
        orders.append(order)
    return orders
