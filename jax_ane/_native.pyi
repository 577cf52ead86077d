# SPDX-License-Identifier: Apache-2.0
"""jax-ane's native library: PJRT plugin, runtime and software ANE."""

from collections.abc import Sequence

from typing_extensions import CapsuleType

class MilProgram:
    """A MIL program loaded on the software ANE."""

    def __init__(self, text: str, blobs: dict, chip: dict, exact: bool) -> None: ...
    def run(self, inputs: dict) -> dict:
        """Maps {name: bytes} to {name: (dtype, dims, bytes)}."""

    def bind(self, inputs: dict) -> None:
        """Puts {name: bytes} where evaluate() reads them, again and again."""

    def evaluate(self) -> None:
        """Runs on what bind() put there."""

    def results(self) -> dict:
        """{name: (dtype, dims, bytes)} of the last evaluate()."""

    def with_weights(self, blobs: dict) -> MilProgram:
        """Loads the program with other blobs, without compiling it again."""

    @property
    def text(self) -> str: ...
    @property
    def inputs(self) -> list: ...
    @property
    def outputs(self) -> list: ...
    @property
    def input_symbols(self) -> list[str]: ...
    @property
    def output_symbols(self) -> list[str]: ...
    @property
    def arena_bytes(self) -> int: ...
    @property
    def lower_bound_bytes(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...

def mil_run(text: str, inputs: dict, blobs: dict, chip: dict, exact: bool = True) -> dict:
    """Compiles, loads and runs a MIL program once."""

def mil_check(text: str, blobs: dict, chip: dict) -> list:
    """Every refusal of a program as (id, line, column, message)."""

def mil_ops() -> list:
    """The modelled operations as (name, numeric class), sorted."""

def mil_evidence(op: str) -> tuple[str, str, float] | None:
    """Why an operation has its class: (chips, source, bound), or None."""

def fma_peak(seconds: float) -> float:
    """Float32 operations a second of the engine's threads, in registers."""

def read_bandwidth(bytes: int, seconds: float) -> float:
    """Bytes a second that the engine's threads read from this much memory."""

def configure(threads: int, isa: str) -> None:
    """Sets threads and instruction set for later loads."""

def isa() -> str:
    """The instruction set of the kernels in use."""

class Program:
    """A loaded ANE program; unloaded when this object dies."""

    @property
    def id(self) -> int: ...
    def with_weights(self, blobs: dict, name: str) -> Program:
        """Loads the program with other weights, without compiling it."""

def load_program(
    text: str,
    blobs: dict,
    chip: dict,
    exact: bool,
    input_names: Sequence[str],
    output_names: Sequence[str],
    name: str,
    scaled_inputs: Sequence[bool] = ...,
    scaled_outputs: Sequence[bool] = ...,
    scaled_below: float = ...,
    lifted_outputs: Sequence[int] = ...,
    weights: Sequence[tuple[int, str, Sequence[tuple[Sequence[int], Sequence[int]]]]] = ...,
    key: int = 0,
) -> Program:
    """
    Compiles and loads a MIL program; raises RuntimeError(status code, text). Flags say which
    inputs are scaled by a power of two, and which outputs with them; `weights` are the constants
    that arguments of a call hold: (argument, blob path, moves). Calls in host programs name it by
    `key`.
    """

def pool_bytes() -> tuple[int, int]:
    """Bytes of large blocks (surfaces, arenas, images) in use, and idle until the next call."""

def program_stats() -> list:
    """One dict a program, loaded or not any more: evaluations, bytes, time."""

def set_faults(plan: str) -> None:
    """Makes devices created from now on fail by a plan; ValueError tells the grammar."""

def device_stats() -> list:
    """
    One dict a device in use: compiles, loads, memory, and the state of each engine.
    """

def release_free_heap() -> None:
    """Gives memory that the allocator keeps, but nobody uses, back to the system."""

def program_handler() -> CapsuleType:
    """The FFI handler of the custom call jax_ane_program, as a capsule."""

def adamw_handler() -> CapsuleType:
    """The FFI handler of the custom call jax_ane_adamw, as a capsule."""

def stop_completions() -> None:
    """
    Waits for running executions; for interpreter exit. Later ones are waited for at once.
    """
