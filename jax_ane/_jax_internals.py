# SPDX-License-Identifier: Apache-2.0
"""The only module that touches private names of JAX and jaxlib.

`PRIVATE_NAMES` lists them all; `tests/test_jax_internals.py` fails with the name of the one that
is gone. What the device cannot do without is imported where it is used; every other name is looked
up guarded, and its absence costs one feature, which `findings` then names.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import inspect
import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import numpy as np

PLATFORM = "ane"

# (module, attribute path, what is lost without it)
PRIVATE_NAMES: tuple[tuple[str, str, str], ...] = (
    ("jax._src.xla_bridge", "register_plugin", "the device"),
    ("jax._src.xla_bridge", "_backend_factories", "errors of the device stay with the device"),
    ("jax._src.xla_bridge", "_nonexperimental_plugins", "a quiet start"),
    ("jax._src.interpreters.mlir", "_platforms_with_donation", "donation"),
    ("jax._src.interpreters.mlir", "_platform_specific_lowerings", "eigh, svd, callbacks"),
    ("jax._src.interpreters.mlir", "ModuleContext.replace", "host callbacks"),
    ("jax._src.interpreters.mlir", "make_ir_context", "the device"),
    ("jax._src.interpreters.mlir", "module_to_bytecode", "the compiler"),
    ("jax._src.callback", "emit_python_callback", "host callbacks"),
    ("jax._src.source_info_util", "user_context", "your lines on the clamps of activations"),
    ("jax._src.stages", "Executable.as_text", "the compiler's own text in as_text()"),
    ("jax._src.compiler", "backend_compile_and_load", "`with jax_ane.config(...)` around a call"),
    ("jax._src.compilation_cache", "is_cache_used", "JAX's persistent cache"),
    ("jax._src.compilation_cache", "_is_cache_enabled", "JAX's persistent cache"),
    ("jax._src.compilation_cache", "get_cache_key", "JAX's persistent cache"),
    ("jax._src.array", "ArrayImpl", "more than one device"),
    ("jax._src.sharding_impls", "GSPMDSharding", "more than one device"),
    ("jaxlib.xla_client", "make_cpu_client", "the device"),
    ("jaxlib.xla_client", "CompileOptions.ParseFromString", "the device"),
    ("jaxlib.lapack", "_lapack.initialize", "linear algebra in programs of other processes"),
    ("jaxlib._jax", "array_result_handler", "the device"),
    ("jaxlib._jax", "batched_device_put", "the device"),
    ("jaxlib._jax", "buffer_to_dlpack_managed_tensor", "reads without a copy"),
    ("jaxlib._jax", "DeviceList", "the device"),
    (
        "jaxlib._hlo",
        "HloModule.as_serialized_hlo_module_proto",
        "results in an order of axes that was asked for, and quick reading of a program",
    ),
    ("jaxlib._jax", "ExecuteResults.consume_with_handlers", "the device"),
    (
        "jaxlib._jax",
        "ExecuteResults.disassemble_prefix_into_single_device_arrays",
        "ordered effects",
    ),
    ("jaxlib.mlir._mlir_libs._jax_mlir_ext", "inlined_func_call", "inlining in the compiler"),
)

# What was found missing in this process, in plain words; `doctor` shows it.
findings: list[str] = []


def lookup(module: str, path: str) -> Any:
    """Returns the private name, or None when this JAX has no such name."""
    try:
        value: Any = importlib.import_module(module)
        for part in path.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError):
        return None
    return value


def missing() -> list[str]:
    """Returns `module.name (what is lost)` for each private name that is gone."""
    return [f"{m}.{p} ({loss})" for m, p, loss in PRIVATE_NAMES if lookup(m, p) is None]


def _require(module: str, path: str) -> Any:
    value = lookup(module, path)
    if value is None:
        raise RuntimeError(
            f"this JAX ({jax.__version__}) has no {module}.{path}, which the ane device needs; "
            "install a version of jax that jax-ane supports"
        )
    return value


def _optional(module: str, path: str) -> Any:
    value = lookup(module, path)
    if value is None:
        loss = next(loss for m, p, loss in PRIVATE_NAMES if (m, p) == (module, path))
        findings.append(f"JAX {jax.__version__} has no {module}.{path}: {loss} is not available")
    return value


# --- functions of functions --------------------------------------------------------------------


def scan_groups(params: dict[str, Any], values: Sequence[Any]) -> tuple[list[Any], ...]:
    """Cuts a scan's operands into constants, carries and what is gone through.

    Newer versions of jax give the groups as a tree (`ft_in`), older ones their sizes.
    """
    groups = params.get("ft_in")
    if groups is not None:
        consts, carries, xs = (list(group) for group in groups.update(list(values)).unpack())
        return consts, carries, xs
    first = params["num_consts"]
    second = first + params["num_carry"]
    return list(values[:first]), list(values[first:second]), list(values[second:])


def at_line_of(eqn: Any) -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which what is traced has the place in the source of an equation."""
    place = _user_context()
    if place is None:
        return contextlib.nullcontext()
    return place(eqn.source_info.traceback)


@functools.cache
def _user_context() -> Callable[..., contextlib.AbstractContextManager[Any]] | None:
    return _optional("jax._src.source_info_util", "user_context")


# --- registration -----------------------------------------------------------------------------


def register_plugin(library_path: str, options: Callable[[], dict[str, Any]]) -> None:
    """Registers the plugin below the CPU, with errors of its client kept to those who ask for it.

    JAX makes every registered client at the first use of any. `register_plugin` makes a failing
    plugin fail all of JAX, so the registration is marked as one that may fail.
    """
    bridge = importlib.import_module("jax._src.xla_bridge")
    quiet = _optional("jax._src.xla_bridge", "_nonexperimental_plugins")
    if quiet is not None:
        quiet.add(PLATFORM)
    bridge.register_plugin(PLATFORM, priority=-100, library_path=library_path, options=options)
    factories = _optional("jax._src.xla_bridge", "_backend_factories")
    if factories is not None and hasattr(factories.get(PLATFORM), "fail_quietly"):
        factories[PLATFORM].fail_quietly = True


def register_failing_backend(reason: str) -> None:
    """Makes `jax.devices("ane")` say `reason`, and leaves every other backend alone."""

    def fail() -> Any:
        raise RuntimeError(reason)

    register = _optional("jax._src.xla_bridge", "register_backend_factory")
    if register is not None:
        register(PLATFORM, fail, priority=-100, fail_quietly=True)


def is_registered() -> bool:
    """Returns whether JAX knows the platform already."""
    factories = lookup("jax._src.xla_bridge", "_backend_factories")
    return factories is not None and PLATFORM in factories


class _RulesOfCpu(dict):
    """The lowering rules of ane: its own, and otherwise those that cpu has when one is asked for.

    Some modules of jax register rules when they are first imported, as checkify does.
    """

    def __init__(self, own: dict[Any, Any], of_cpu: dict[Any, Any]) -> None:
        super().__init__(own)
        self._of_cpu = of_cpu

    def __contains__(self, primitive: object) -> bool:
        return super().__contains__(primitive) or primitive in self._of_cpu

    def __missing__(self, primitive: Any) -> Any:
        return self._of_cpu[primitive]

    def get(self, primitive: Any, default: Any = None) -> Any:
        return super().get(primitive, self._of_cpu.get(primitive, default))


def adapt_lowering() -> None:
    """Lets programs for ane lower as those for cpu: donation, linear algebra, host callbacks."""
    donating = _optional("jax._src.interpreters.mlir", "_platforms_with_donation")
    if donating is not None and PLATFORM not in donating:
        donating.append(PLATFORM)
    rules = _optional("jax._src.interpreters.mlir", "_platform_specific_lowerings")
    if rules is not None and "cpu" in rules and not isinstance(rules.get(PLATFORM), _RulesOfCpu):
        rules[PLATFORM] = _RulesOfCpu(rules.get(PLATFORM, {}), rules["cpu"])
    _wrap_python_callback()
    _wrap_as_text()
    _wrap_dlpack()


# --- text of compiled programs ----------------------------------------------------------------

# Programs by the fingerprint that JAX's executable shows, for as long as they live.
programs: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def _wrap_as_text() -> None:
    """Makes `compiled.as_text()` show our text: the C API carries parsable modules only."""
    original = _optional("jax._src.stages", "Executable.as_text")
    if original is None or hasattr(original, "_jax_ane_wrapped"):
        return

    @functools.wraps(original)
    def as_text(self: Any) -> str:
        fingerprint = getattr(self.xla_extension_executable(), "fingerprint", None)
        if isinstance(fingerprint, bytes):
            fingerprint = fingerprint.decode("ascii", "replace")
        program = programs.get(fingerprint) if fingerprint else None
        return program.text if program is not None else original(self)

    as_text._jax_ane_wrapped = True  # type: ignore[attr-defined]
    importlib.import_module("jax._src.stages").Executable.as_text = as_text


# --- host callbacks ---------------------------------------------------------------------------

_callback_ids = itertools.count()
_callbacks: weakref.WeakValueDictionary[int, Callable[..., Any]] = weakref.WeakValueDictionary()
CALLBACK_TARGETS = ("xla_ffi_python_cpu_callback", "xla_ffi_partitioned_python_cpu_callback")


class _CallbackSink(list):
    """Stands in for a module's list of host callbacks and gives out process-wide numbers.

    JAX numbers a callback by the length of the list; here that is the number under which the
    inner compilation finds it again.
    """

    def append(self, callback: Callable[..., Any]) -> None:
        self.number = next(_callback_ids)
        _callbacks[self.number] = callback

    def __len__(self) -> int:
        return self.number + 1


def callback(index: int) -> Callable[..., Any]:
    """Returns the callback with that number, as long as its program is alive."""
    found = _callbacks.get(index)
    if found is None:
        raise ValueError(f"host callback {index} belongs to another process or a dead program")
    return found


def _cpu_client() -> Any:
    """Returns JAX's client for cpu, or the inner one where JAX_PLATFORMS leaves cpu out."""
    try:
        return jax.devices("cpu")[0].client
    except RuntimeError:
        from jax_ane import _host

        return _host.engine().client


def _wrap_python_callback() -> None:
    original = _optional("jax._src.callback", "emit_python_callback")
    if original is None or hasattr(original, "_jax_ane_wrapped"):
        return

    @functools.wraps(original)
    def emit(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        module = ctx.module_context
        if tuple(module.platforms) != (PLATFORM,):
            return original(ctx, *args, **kwargs)
        as_cpu = module.replace(
            platforms=("cpu",),
            backend=_cpu_client(),
            host_callbacks=_CallbackSink(),
        )
        values, token, host_callback = original(ctx.replace(module_context=as_cpu), *args, **kwargs)
        module.add_keepalive(host_callback)
        return values, token, host_callback

    emit._jax_ane_wrapped = True  # type: ignore[attr-defined]
    owner: Any = importlib.import_module("jax._src.callback")
    owner.emit_python_callback = emit


# --- the inner client -------------------------------------------------------------------------


def make_inner_client(num_devices: int) -> Any:
    """Returns a private CPU client, which runs larger programs in the background."""
    make = _require("jaxlib.xla_client", "make_cpu_client")
    return make(asynchronous=True, num_devices=num_devices)


def distributed_client(num_devices: int) -> Any:
    """Returns JAX's own CPU client, whose devices know those of the other processes.

    Two clients of one process cannot share a run's key-value store.

    Raises:
        RuntimeError: it is not there, or has another number of devices.
    """
    try:
        devices = jax.local_devices(backend="cpu")
    except RuntimeError as error:
        raise RuntimeError(
            f"ane in a distributed run computes the host's part on the platform cpu: {error}; "
            "name both in JAX_PLATFORMS, or neither"
        ) from None
    if len(devices) != num_devices:
        raise RuntimeError(
            f"ane in a distributed run needs as many devices of cpu ({len(devices)}) as of ane "
            f"({num_devices}): set JAX_NUM_CPU_DEVICES and JAX_ANE_NUM_DEVICES alike"
        )
    return devices[0].client


def parse_compile_options(options: bytes) -> Any:
    """Returns the CompileOptions that JAX serialised."""
    return _require("jaxlib.xla_client", "CompileOptions.ParseFromString")(options)


_LAPACK = b"lapack_"  # how the targets of its custom calls begin


def prepare_libraries(program: bytes) -> None:
    """Makes ready what a program's custom calls call.

    JAX finds LAPACK's functions when it lowers a call to one. A program that was lowered by another
    process would call null pointers.

    Raises:
        RuntimeError: this JAX keeps its way of doing so elsewhere.
    """
    if _LAPACK in program:
        _require("jaxlib.lapack", "_lapack.initialize")()


def serialise(executable: Any) -> bytes | None:
    """Returns an executable of XLA:CPU as bytes; None where it has no such form.

    Programs with a sort, or with code of a library that XLA calls, have none.
    """
    write = getattr(executable, "serialize", None)
    if write is None:
        return None
    try:
        return write()
    except Exception:  # jaxlib names no class of its own for it
        return None


def hlo_proto(executable: Any) -> bytes | None:
    """Returns what XLA made of a program for one device, as a serialised HloModuleProto.

    None where this jaxlib does not give it.
    """
    serialise = _hlo_serialiser()
    return None if serialise is None else serialise(executable.hlo_modules()[0])


@functools.cache
def _hlo_serialiser() -> Callable[[Any], bytes] | None:
    return _optional("jaxlib._hlo", "HloModule.as_serialized_hlo_module_proto")


# On the arguments and results of a module: where they are kept, and the order of axes asked for.
MEMORY_KIND = "mhlo.memory_kind"
LAYOUT_ATTRIBUTE = "mhlo.layout_mode"


def layouts(executable: Any) -> tuple[list[Any], list[Any]] | None:
    """Returns jaxlib's layouts of the arguments and of the results.

    None for a program with tokens: jaxlib gives their layouts on no platform.
    """
    try:
        return executable.get_parameter_layouts(), executable.get_output_layouts()
    except jax.errors.JaxRuntimeError:
        return None


def device_list(devices: Sequence[Any]) -> Any:
    """Returns jaxlib's list of devices."""
    return _require("jaxlib._jax", "DeviceList")(tuple(devices))


def put(value: np.ndarray, sharding: Any, device: Any) -> Any:
    """Returns `value` as an array of one device, without a copy where XLA:CPU allows it."""
    aval = jax.core.ShapedArray(value.shape, value.dtype)
    return _batched_device_put()(aval, sharding, [value], [device], True)


@functools.cache
def _batched_device_put() -> Callable[..., Any]:
    return _require("jaxlib._jax", "batched_device_put")


def result_handler(shape: tuple[int, ...], dtype: np.dtype, sharding: Any) -> Any:
    """Returns what turns one output of an execution into an array, made once per output."""
    make = _require("jaxlib._jax", "array_result_handler")
    aval = jax.core.ShapedArray(shape, dtype)
    # 0.10.2 has a fourth argument, `_skip_checks`; 0.12 has three.
    extra = (True,) if "_skip_checks" in (make.__doc__ or "") else ()
    return make(aval, sharding, True, *extra)


_DLPACK_CPU = 1  # kDLCPU


def _on_host(array: Any, copy: bool) -> Any:
    """Returns an array of ane as one of the inner client, which reads the same memory.

    A donation does not change it meanwhile: NumPy's view of it is held.
    """
    from jax_ane import _host

    value = np.array(array) if copy else np.asarray(array)
    engine = _host.engine()
    return engine.put(value)


@functools.cache
def _to_dlpack() -> Callable[..., Any] | None:
    return _optional("jaxlib._jax", "buffer_to_dlpack_managed_tensor")


def _wrap_dlpack() -> None:
    """Lets arrays of ane be exchanged by DLPack as what they are: memory of the host."""
    array: Any = _optional("jax._src.array", "ArrayImpl")
    make = _to_dlpack()
    if array is None or make is None or hasattr(array.__dlpack__, "_jax_ane_wrapped"):
        return
    as_before, device_as_before = array.__dlpack__, array.__dlpack_device__

    @functools.wraps(as_before)
    def dlpack(self: Any, **options: Any) -> Any:
        if self.platform() != PLATFORM or len(self.devices()) != 1:
            return as_before(self, **options)
        if (options.get("dl_device") or (_DLPACK_CPU, 0))[0] != _DLPACK_CPU:
            raise BufferError("arrays of ane are in the host's memory, and go nowhere else")
        return make(_on_host(self, bool(options.get("copy"))), stream=options.get("stream"))

    @functools.wraps(device_as_before)
    def dlpack_device(self: Any) -> tuple[Any, int]:
        if self.platform() != PLATFORM:
            return device_as_before(self)
        return (_DLPACK_CPU, 0)

    dlpack._jax_ane_wrapped = True  # type: ignore[attr-defined]
    array.__dlpack__, array.__dlpack_device__ = dlpack, dlpack_device


def hold(array: Any) -> Any:
    """Returns an object that keeps XLA:CPU from overwriting `array` while it lives."""
    make = _to_dlpack()
    if make is None:
        raise NotImplementedError("this JAX cannot hold an array in place")
    return make(array)


def assemble(aval: Any, sharding: Any, shards: list[Any]) -> Any:
    """Returns the array whose shards are `shards`, one a device."""
    return _require("jax._src.array", "ArrayImpl")(aval, sharding, shards, True, _skip_checks=True)


def gspmd_sharding(devices: Sequence[Any], proto: Any) -> Any:
    """Returns the sharding that XLA states for a parameter or an output."""
    return _require("jax._src.sharding_impls", "GSPMDSharding")(tuple(devices), proto)


def make_ir_context() -> Any:
    """Returns an MLIR context with the dialects of a JAX program."""
    return _require("jax._src.interpreters.mlir", "make_ir_context")()


def accepts_keyword(function: Callable[..., Any], name: str) -> bool:
    """Returns whether `function` takes a keyword argument called `name`."""
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return name in (function.__doc__ or "")


# --- flags --------------------------------------------------------------------------------------

_MODULE_ATTRIBUTES = "mhlo.frontend_attributes"
_FLAGS = "jax_ane_flags"


def carry_flags(read: Callable[[], str]) -> None:
    """Lets flags that hold on the user's thread reach the compiler, which runs on another.

    Args:
        read: returns the flags set by a `with` block on this thread as text, "" for none. They
            travel as an attribute of the module.
    """
    original = _optional("jax._src.compiler", "backend_compile_and_load")
    if original is None or hasattr(original, "_jax_ane_wrapped"):
        return

    @functools.wraps(original)
    def compile_and_load(backend: Any, module: Any, *args: Any, **kwargs: Any) -> Any:
        flags = read() if getattr(backend, "platform", "") == PLATFORM else ""
        if flags:
            from jaxlib.mlir import ir

            with module.context:
                held = ir.DictAttr.get({_FLAGS: ir.StringAttr.get(flags)})
                module.operation.attributes[_MODULE_ATTRIBUTES] = held
        return original(backend, module, *args, **kwargs)

    compile_and_load._jax_ane_wrapped = True  # type: ignore[attr-defined]
    owner: Any = importlib.import_module("jax._src.compiler")
    owner.backend_compile_and_load = compile_and_load


def carries_flags(program: bytes) -> bool:
    """Returns whether `take_flags` may find something in a program's bytes."""
    return _FLAGS.encode() in program


def take_flags(module: Any) -> str:
    """Returns the flags that `carry_flags` put on a module, and removes them."""
    from jaxlib.mlir import ir

    attributes = module.operation.attributes
    if _MODULE_ATTRIBUTES not in attributes:
        return ""
    held = ir.DictAttr(attributes[_MODULE_ATTRIBUTES])
    if _FLAGS not in held:
        return ""
    del attributes[_MODULE_ATTRIBUTES]
    return ir.StringAttr(held[_FLAGS]).value


# --- JAX's own persistent cache ------------------------------------------------------------------


def use_persistent_cache(key_part: Callable[[], str | None]) -> None:
    """Lets JAX keep programs for ane where it keeps those of other platforms.

    Args:
        key_part: returns what the key must hold beside what JAX puts there, or None where a
            program must not come from the cache.
    """
    module = "jax._src.compilation_cache"
    used = _optional(module, "is_cache_used")
    enabled = _optional(module, "_is_cache_enabled")
    make_key = _optional(module, "get_cache_key")
    if used is None or enabled is None or make_key is None or hasattr(used, "_jax_ane_wrapped"):
        return

    @functools.wraps(used)
    def is_cache_used(backend: Any) -> bool:
        # Not the original's answer for ane, which it would then give for every platform.
        if getattr(backend, "platform", "") != PLATFORM:
            return used(backend)
        # The folder is asked for too: without one the key would be made for nothing.
        folder = getattr(jax.config, "jax_compilation_cache_dir", None)
        return bool(folder) and enabled() and key_part() is not None

    @functools.wraps(make_key)
    def get_cache_key(
        computation: Any, devices: Any, options: Any, backend: Any, *rest: Any
    ) -> str:
        key = make_key(computation, devices, options, backend, *rest)
        if getattr(backend, "platform", "") != PLATFORM:
            return key
        return f"{key}-{hashlib.sha256((key_part() or '').encode()).hexdigest()[:32]}"

    is_cache_used._jax_ane_wrapped = True  # type: ignore[attr-defined]
    owner: Any = importlib.import_module(module)
    owner.is_cache_used = is_cache_used
    owner.get_cache_key = get_cache_key


# --- the compiler -----------------------------------------------------------------------------


def inlined_func_call(callee: Any, arguments: list[Any], location: Any) -> list[Any]:
    """Copies a function's body to the insertion point and returns its results there."""
    inline = _require("jaxlib.mlir._mlir_libs._jax_mlir_ext", "inlined_func_call")
    return inline(callee, arguments, location)


def module_to_bytecode(module: Any) -> bytes:
    """Returns an MLIR module as bytecode."""
    return _require("jax._src.interpreters.mlir", "module_to_bytecode")(module)
