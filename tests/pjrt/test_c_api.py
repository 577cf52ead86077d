# SPDX-License-Identifier: Apache-2.0
"""The table itself, called through ctypes: no null slot, each missing function names itself."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import pytest

from jax_ane import _plugin

HEADER = Path(__file__).parents[2] / "pjrt_plugin" / "pjrt" / "c_api.h"
SLOT_COUNT = 138
FIRST_SLOT = 40


def _slots() -> list[str]:
    text = HEADER.read_text()
    body = text[text.index("#define JAX_ANE_PJRT_SLOTS(X)") : text.index("struct PJRT_Api {")]
    return ["Error_Destroy", "Error_Message", *re.findall(r"X\((\w+)\)", body)]


class ErrorMessage(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("error", ctypes.c_void_p),
        ("message", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
    ]


class ErrorCode(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("error", ctypes.c_void_p),
        ("code", ctypes.c_int),
    ]


@pytest.fixture(scope="module")
def table() -> int:
    get = ctypes.PyDLL(str(_plugin.library_path())).GetPjrtApi
    get.restype = ctypes.c_void_p
    return get()


def _call(table: int, name: str, args: ctypes.Structure) -> int | None:
    address = ctypes.c_void_p.from_address(table + FIRST_SLOT + 8 * _slots().index(name)).value
    return ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(address)(ctypes.addressof(args))


def _take_error(table: int, error: int) -> tuple[int, str]:
    message = ErrorMessage(40, None, error)
    _call(table, "Error_Message", message)
    text = ctypes.string_at(message.message, message.size).decode()
    code = ErrorCode(28, None, error)
    assert not _call(table, "Error_GetCode", code)
    _call(table, "Error_Destroy", ErrorMessage(24, None, error))
    return code.code, text


def test_header_lists_every_slot():
    assert len(_slots()) == SLOT_COUNT


def test_table_states_size_and_version(table):
    assert ctypes.c_size_t.from_address(table).value == FIRST_SLOT + 8 * SLOT_COUNT
    assert ctypes.c_int.from_address(table + 32).value == 0
    assert ctypes.c_int.from_address(table + 36).value == 112


def test_no_slot_is_null(table):
    slots = (ctypes.c_void_p * SLOT_COUNT).from_address(table + FIRST_SLOT)
    assert [name for name, slot in zip(_slots(), slots, strict=True) if not slot] == []


def _stub_names() -> list[str]:
    folder = HEADER.parent
    sources = "".join(path.read_text() for path in folder.glob("*.cc") if path.name != "api.cc")
    real = set(re.findall(r"JAX_ANE_ENTRY\(api, (\w+)", sources))
    real |= set(re.findall(r"api->(\w+) = On", sources))
    return [name for name in _slots() if name not in real]


@pytest.mark.parametrize("name", _stub_names())
def test_unimplemented_function_names_itself(table, name):
    error = _call(table, name, (ctypes.c_byte * 256)())
    code, text = _take_error(table, error)
    assert (code, text) == (12, f"PJRT_{name} is not implemented by jax-ane")


def test_too_small_struct_is_refused_with_both_sizes(table):
    args = (ctypes.c_size_t * 40)(8)
    code, text = _take_error(table, _call(table, "Client_Create", args))
    assert code == 3
    assert "8 bytes" in text and "88" in text


def test_bad_device_count_is_refused(table):
    class NamedValue(ctypes.Structure):
        _fields_ = [
            ("struct_size", ctypes.c_size_t),
            ("extension", ctypes.c_void_p),
            ("name", ctypes.c_char_p),
            ("name_size", ctypes.c_size_t),
            ("type", ctypes.c_int),
            ("value", ctypes.c_int64),
            ("value_size", ctypes.c_size_t),
        ]

    class ClientCreate(ctypes.Structure):
        _fields_ = [
            ("struct_size", ctypes.c_size_t),
            ("extension", ctypes.c_void_p),
            ("options", ctypes.POINTER(NamedValue)),
            ("num_options", ctypes.c_size_t),
            ("rest", ctypes.c_void_p * 7),
        ]

    value = NamedValue(56, None, b"num_devices", 11, 1, 0, 1)
    code, text = _take_error(
        table, _call(table, "Client_Create", ClientCreate(88, None, ctypes.pointer(value), 1))
    )
    assert code == 3
    assert "num_devices" in text
