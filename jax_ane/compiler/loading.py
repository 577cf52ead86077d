# SPDX-License-Identifier: Apache-2.0
"""From a program's text to a program on the device, once per process and content.

Programs are kept in memory under a hash of what the device gets, so equal clusters of any module,
compiled now or by an earlier process, are one program.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import weakref
from collections.abc import Sequence
from typing import Any

from jax_ane import _chips, _counters

TARGET = "jax_ane_program"  # the FFI handler's name (pjrt_plugin/runtime/ffi_handler.cc)

Weight = tuple[int, str, Sequence[tuple[Sequence[int], Sequence[int]]]]


@dataclasses.dataclass(frozen=True)
class Image:
    """All that the device and the runtime need of a program.

    Attributes:
        fingerprint: hash of everything below.
        text, blobs: MIL, and what lies under the paths that it names.
        chip, numerics: the flags for which it was compiled.
        inputs, outputs: how many arrays cross its border.
        scaled_inputs, scaled_outputs: positions that a call scales by a power of two.
        scaled_below: where a scaled input is to lie.
        lifted: exponents by which the program itself has made each output too large.
        weights: constants that hold what arguments of a call do, for
            `jax_ane.config(weights="baked")`: (argument, blob path, moves) each.
    """

    fingerprint: str
    text: str
    blobs: dict[str, bytes]
    chip: str
    numerics: str
    inputs: int
    outputs: int
    scaled_inputs: tuple[int, ...] = ()
    scaled_outputs: tuple[int, ...] = ()
    scaled_below: float = 0.0
    lifted: tuple[int, ...] = ()
    weights: tuple[Weight, ...] = ()

    @property
    def name(self) -> str:
        return name_of(self.fingerprint)


def name_of(fingerprint: str) -> str:
    """Returns the name under which reports and counters show a program."""
    return f"ane_{fingerprint[:12]}"


def key_of(fingerprint: str) -> int:
    """Returns the number by which host programs call a program, the same in every process."""
    return int(fingerprint[:15], 16) + 1


class Handle:
    """Owns one loaded program; the native side unloads it when this dies."""

    def __init__(self, native: Any) -> None:
        self._native = native


_lock = threading.Lock()
_loaded: weakref.WeakValueDictionary[str, Handle] = weakref.WeakValueDictionary()


@functools.cache
def start_runtime() -> None:
    """Sets up the engine and the handler behind the custom call, once a process."""
    import jax

    from jax_ane import _native
    from jax_ane._config import config

    _native.configure(config.threads, config.isa)
    jax.ffi.register_ffi_target(
        TARGET, {"execute": _native.program_handler()}, platform="cpu", api_version=1
    )


def load(image: Image) -> Handle:
    """Compiles and loads a program on the device, or finds it loaded already.

    Raises:
        RuntimeError: the device refused; the text is the device's own.
    """
    from jax_ane import _native

    start_runtime()
    baked = {argument for argument, _, _ in image.weights}
    inputs = [i for i in range(image.inputs) if i not in baked]
    with _lock:
        handle = _loaded.get(image.fingerprint)
        if handle is not None:
            _counters.add("program_cache_hits")
            return handle
        native = _native.load_program(
            image.text, image.blobs, _chips.load(image.chip), image.numerics == "exact",
            [f"a{i:03d}" for i in range(len(inputs))],
            [f"r{i:03d}" for i in range(image.outputs)],
            image.name,
            *_scaling_flags(image, inputs),
            image.weights,
            key=key_of(image.fingerprint),
        )  # fmt: skip
        handle = _loaded[image.fingerprint] = Handle(native)
        _counters.add("programs_compiled")
        return handle


def _scaling_flags(
    image: Image, inputs: list[int]
) -> tuple[list[bool], list[bool], float, list[int]]:
    if not image.scaled_inputs:
        return [], [], 0.0, []
    return (
        [i in image.scaled_inputs for i in inputs],
        [i in image.scaled_outputs for i in range(image.outputs)],
        image.scaled_below,
        list(image.lifted),
    )
