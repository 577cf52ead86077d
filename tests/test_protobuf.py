# SPDX-License-Identifier: Apache-2.0
"""Wrapping protocol-buffer messages."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jax_ane import _protobuf as protobuf


@pytest.mark.parametrize("length", [0, 1, 127, 128, 20_000])
def test_a_field_comes_back(length):
    content = bytes(range(256)) * 80
    held = protobuf.message((3, b"before"), (200, content[:length]), (4, b"after"))
    assert protobuf.field(held, 200) == content[:length]


def test_fields_of_every_wire_type_are_passed_over():
    # 1: varint 300; 2: eight bytes; 3: four bytes; then 4: "x".
    held = b"\x08\xac\x02" + b"\x11" + b"\0" * 8 + b"\x1d" + b"\0" * 4 + b"\x22\x01x"
    assert protobuf.field(held, 4) == b"x"


def test_a_missing_field_is_named():
    with pytest.raises(ValueError, match="no field 7"):
        protobuf.field(protobuf.message((1, b"a")), 7)


@pytest.mark.parametrize("data", [b"\x0b", b"\x80", b"\x08\xff"])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(ValueError, match="no protocol-buffer message"):
        protobuf.field(data, 1)


def entry(key, value):
    return protobuf.message((1, key), (2, value))


def test_maps_that_differ_in_order_become_equal():
    first, second = entry(b"k", b"2"), entry(b"a", b"1")

    def options(*entries):
        inner = protobuf.message((1, b"x"), *((7, e) for e in entries), (9, b"y"))
        return protobuf.message((2, b"before"), (3, protobuf.message((3, inner))))

    assert options(first, second) != options(second, first)
    one, other = (protobuf.with_sorted_maps(options(*e), (3, 3)) for e in
                  ((first, second), (second, first)))  # fmt: skip
    assert one == other == options(second, first)


def test_what_is_no_map_keeps_its_order():
    held = protobuf.message((4, b"z"), (4, b"a"), (5, entry(b"k", b"2")), (4, b"b"))
    assert protobuf.with_sorted_maps(held) == held


def test_jax_reads_the_program_that_the_cpu_runs():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    with jax.default_device(jax.devices("ane")[0]):
        compiled = jax.jit(lambda a: (jax.numpy.sin(a).T, a + 1)).lower(x).compile()
    (module,) = compiled.runtime_executable().hlo_modules()
    text = module.to_string()
    assert "sine" in text and "f32[3,2]" in text
    first, second = compiled(x)
    assert (first.shape, second.shape) == ((3, 2), (2, 3))
