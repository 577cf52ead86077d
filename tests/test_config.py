# SPDX-License-Identifier: Apache-2.0
"""The flags: every value and a wrong one, each source, precedence, and what is frozen when."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import jax_ane
from jax_ane._config import FLAGS, Config, Flag, flags_table
from jax_ane._errors import AneWarning

WRONG = {str: "sloppy", bool: "perhaps", int: "many"}
VALUES = [
    (flag.name, text, value)
    for flag in FLAGS.values()
    for text, value in (
        [(choice, choice) for choice in flag.choices]
        or {
            str: [("some text", "some text"), ("", "")],
            bool: [("true", True), ("No", False), ("1", True), ("off", False)],
            int: [(str(flag.minimum), flag.minimum), ("12", 12)],
        }[flag.type]
    )
]
CHECKED = [flag.name for flag in FLAGS.values() if flag.choices or flag.type is not str]


def other_value(flag: Flag) -> object:
    """Returns a value that is not the default."""
    return next(v for n, _, v in VALUES if n == flag.name and v != flag.default)


@pytest.mark.parametrize("name", FLAGS)
def test_default_is_in_force_without_any_source(name):
    assert Config({}).get(name) == FLAGS[name].default
    assert getattr(Config({}), name) == FLAGS[name].default
    assert Config({}).off_default() == {}


@pytest.mark.parametrize(("name", "text", "value"), VALUES)
def test_value_from_each_source(name, text, value):
    assert Config({FLAGS[name].env: text}).get(name) == value
    updated = Config({})
    updated.update(name, value)
    assert updated.get(name) == value
    local = Config({})
    with local(**{name: value}):
        assert local.get(name) == value
    assert local.get(name) == FLAGS[name].default


@pytest.mark.parametrize("name", CHECKED)
def test_wrong_value_names_its_source_and_the_choices(name):
    flag = FLAGS[name]
    wrong = WRONG[flag.type]
    with pytest.raises(ValueError, match=f"{flag.env}='{wrong}'") as raised:
        Config({flag.env: wrong}).validate()
    assert all(choice in str(raised.value) for choice in flag.choices)
    with pytest.raises(ValueError, match=f"^{name}='{wrong}'"):
        Config({}).update(name, wrong)
    unchanged = Config({})
    with pytest.raises(ValueError, match=f"^{name}="), unchanged(**{name: wrong}):
        pass
    assert unchanged.get(name) == flag.default


@pytest.mark.parametrize(("name", "text"), [("threads", "-1"), ("num_devices", "0")])
def test_too_small_a_number_is_refused(name, text):
    with pytest.raises(ValueError, match=rf"JAX_ANE_{name.upper()}='{text}' is too small: use "):
        Config({f"JAX_ANE_{name.upper()}": text}).validate()


@pytest.mark.parametrize("text", ["y", "yes", "t", "true", "on", "1", "TRUE", " Yes "])
def test_truth_values(text):
    assert Config({"JAX_ANE_VALIDATE_IR": text}).validate_ir is True


@pytest.mark.parametrize("text", ["n", "no", "f", "false", "off", "0", "OFF"])
def test_falsehoods(text):
    assert Config({"JAX_ANE_VALIDATE_IR": text}).validate_ir is False


def test_precedence_is_context_then_update_then_environment_then_default():
    config = Config({"JAX_ANE_CHIP": "M1"})
    assert config.chip == "M1"
    config.update("chip", "M2")
    assert config.chip == "M2"
    with config(chip="M3"):
        assert config.chip == "M3"
        with config(chip="M5", numerics="fast"):
            assert (config.chip, config.numerics) == ("M5", "fast")
        assert (config.chip, config.numerics) == ("M3", "exact")
    assert config.chip == "M2"
    assert config.off_default() == {"chip": "M2"}


def test_context_ends_after_an_error():
    config = Config({})
    with pytest.raises(KeyError), config(numerics="fast"):
        raise KeyError
    assert config.numerics == "exact"


def test_unknown_variable_warns_with_the_nearest_name():
    with pytest.warns(AneWarning, match=r"JAX_ANE_NUMERIC; did you mean JAX_ANE_NUMERICS\?"):
        Config({"JAX_ANE_NUMERIC": "fast"}).validate()
    with pytest.warns(AneWarning, match="JAX_ANE_ZZZZ$"):
        Config({"JAX_ANE_ZZZZ": "1"}).validate()


def test_known_and_foreign_variables_do_not_warn():
    environ = {flag.env: str(flag.default) for flag in FLAGS.values()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        notebooks = {"JAX_ANE_DEMO_EPOCHS": "2", "JAX_ANE_DEMO_STEPS": "9"}
        Config({**environ, "JAX_PLATFORMS": "cpu", **notebooks}).validate()


@pytest.mark.parametrize("use", ["get", "update", "context", "attribute"])
def test_unknown_flag_names_the_nearest(use):
    config = Config({})
    uses = {
        "get": lambda: config.get("numeric"),
        "update": lambda: config.update("numeric", "fast"),
        "context": lambda: config(numeric="fast").__enter__(),
        "attribute": lambda: config.numeric,
    }
    with pytest.raises(AttributeError, match="no flag 'numeric'; did you mean 'numerics'"):
        uses[use]()


@pytest.mark.parametrize("name", [n for n, f in FLAGS.items() if f.read == "start"])
def test_start_flag_is_frozen_once_the_engine_has_started(name):
    config = Config({})
    other = other_value(FLAGS[name])
    with config(**{name: other}):
        config.mark_started()
    assert config.get(name) == other, "the engine runs with it, whatever the context was"
    config.update(name, other)  # no change, so no error
    with pytest.raises(RuntimeError, match=rf"'{name}' is read once.*JAX_ANE_{name.upper()}"):
        config.update(name, FLAGS[name].default)
    with pytest.raises(RuntimeError, match="before the first use"):
        config(**{name: FLAGS[name].default}).__enter__()
    config.mark_started()
    assert config.get(name) == other


@pytest.mark.parametrize("name", [n for n, f in FLAGS.items() if f.read == "compile"])
def test_compile_flag_may_change_after_the_start(name):
    config = Config({})
    config.mark_started()
    config.update(name, other_value(FLAGS[name]))
    assert config.get(name) == other_value(FLAGS[name])


def test_every_flag_says_what_it_does_and_when_it_is_read():
    for flag in FLAGS.values():
        assert flag.help and flag.read in ("start", "compile"), flag.name
        assert not flag.choices or flag.default in flag.choices, flag.name


def test_readme_has_the_table_of_flags():
    readme = Path(__file__).parents[1] / "README.md"
    assert flags_table() in readme.read_text(), "paste the output of: jax-ane info --flags"


def test_start_flags_reach_the_engine(python):
    code = (
        "import jax, jax_ane\n"
        "jax_ane.config.update('isa', 'scalar')\n"
        "with jax.default_device(jax.devices('ane')[0]):\n"
        "    print(float((jax.numpy.ones((8, 8)) @ jax.numpy.ones((8, 8))).sum()))\n"
        "print(jax_ane.info().to_dict()['isa'])\n"
        "try:\n    jax_ane.config.update('threads', 3)\n"
        "except RuntimeError as error:\n    print(error)\n"
    )
    done = python("-c", code, JAX_ANE_THREADS="1")
    assert done.stdout.splitlines()[:2] == ["512.0", "scalar"], done.stderr
    assert "it has started with 1" in done.stdout


def test_start_flags_reach_mil_programs_that_run_before_any_jax_device(python):
    code = (
        "from jax_ane import _native, mil\n"
        "mil.load('program(1.3)\\n{\\n    func main<ios18>(tensor<fp16, [1, 4]> x) {\\n'\n"
        "    '        tensor<fp16, [1, 4]> y = add(x = x, y = x)[name = string(\"y\")];\\n'\n"
        "    '    } -> (y);\\n}\\n')\n"
        "print(_native.isa())\n"
    )
    done = python("-c", code, JAX_ANE_ISA="scalar")
    assert done.stdout == "scalar\n", done.stderr


def test_instructions_that_the_machine_has_not_are_an_error_that_names_the_flag(python):
    missing = "neon" if jax_ane.info().to_dict()["isa"] != "neon" else "avx2"
    code = (
        "import jax\n"
        "print(jax.numpy.ones(3).sum())\n"
        "with jax.default_device(jax.devices('ane')[0]):\n"
        "    try:\n        print(jax.numpy.ones((8, 8)) @ jax.numpy.ones((8, 8)))\n"
        "    except Exception as error:\n        print(error)\n"
    )
    done = python("-c", code, JAX_ANE_ISA=missing)
    assert done.stdout.startswith("3.0\n"), done.stderr
    assert f'isa "{missing}" is not available' in done.stdout
    assert "JAX_ANE_ISA" in done.stdout


def test_log_level_shows_each_compilation(python):
    code = "import jax; jax.device_put(2.0, jax.devices('ane')[0]) * 3"
    assert "compiled jit_multiply" in python("-c", code, JAX_ANE_LOG_LEVEL="info").stderr
    assert "compiled" not in python("-c", code).stderr
