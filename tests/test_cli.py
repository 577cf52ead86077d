# SPDX-License-Identifier: Apache-2.0
"""The command line as a user meets it: output, JSON, and exit codes 0, 1 and 2."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jax_ane import cli

MODULE = """\
import jax
import jax.numpy as jnp

def model(x, w):
    return jnp.tanh(x @ w)

def model_args():
    return jax.ShapeDtypeStruct((32, 64), jnp.float32), jnp.ones((64, 64))

def bare(x):
    return x @ x
"""
DEMO_KEYS = {
    "accuracy", "loss_distance", "ane_flop_fraction", "programs_compiled_after_first_step",
    "step_ms", "cpu_step_ms", "numerics", "device_kind",
}  # fmt: skip


@pytest.fixture
def jax_ane_cli(python):
    """Returns a function that runs `python -m jax_ane` in an empty folder."""
    return lambda *arguments, **environ: python("-m", "jax_ane", *arguments, **environ)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """Returns a user's Python file."""
    path = tmp_path / "user_model.py"
    path.write_text(MODULE)
    return path


def main(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def assert_four_parts(text: str) -> None:
    lines = text.strip().splitlines()
    assert lines[0].startswith("jax-ane "), text
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["where", "why", "do"], text


def test_doctor_is_content_here(jax_ane_cli):
    done = jax_ane_cli("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[ok] Software ANE (M4) computes" in done.stdout
    assert "fatal" not in done.stdout
    assert done.stderr == ""


def test_doctor_exits_1_when_a_variable_is_wrong(jax_ane_cli):
    done = jax_ane_cli("doctor", "--json", JAX_ANE_CHIP="M0")
    assert done.returncode == 1, done.stderr
    findings = json.loads(done.stdout)
    assert findings[0]["level"] == "fatal"
    assert "JAX_ANE_CHIP='M0'" in findings[0]["text"]
    assert findings[0]["fix"]


def test_doctor_only_warns_of_an_unknown_variable(jax_ane_cli):
    done = jax_ane_cli("doctor", JAX_ANE_NUMERIC="fast")
    assert done.returncode == 0
    assert "[warning] unknown environment variable JAX_ANE_NUMERIC" in done.stdout


def test_info_as_text_and_json(jax_ane_cli):
    done = jax_ane_cli("info", JAX_ANE_NUMERICS="fast")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"jax                {jax.__version__}" in done.stdout
    done = jax_ane_cli("info", "--json", JAX_ANE_NUMERICS="fast")
    values = json.loads(done.stdout)
    assert values["jax"] == jax.__version__
    assert values["flags_off_default"] == {"numerics": "fast"}


def test_info_with_a_wrong_variable_is_a_usage_error(jax_ane_cli):
    done = jax_ane_cli("info", JAX_ANE_NUMERICS="sloppy")
    assert (done.returncode, done.stdout) == (2, "")
    assert_four_parts(done.stderr)
    assert "exact, fast" in done.stderr


def test_ops_prints_the_table_of_operations(jax_ane_cli):
    done = jax_ane_cli("ops", "--numerics", "--json")
    assert done.returncode == 0
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["matmul"]["numerics"] == "bit-exact" and rows["matmul"]["bound"] is None
    assert rows["softmax"]["numerics"] == "bounded" and rows["softmax"]["bound"] > 0
    assert rows["affine"]["numerics"] == "unknown"
    lines = jax_ane_cli("ops", "--numerics").stdout.splitlines()
    assert lines[0].split() == ["name", "numerics", "chips", "bound", "evidence"]
    assert len(lines) == len(rows) + 1


def test_ops_says_where_each_operation_of_jax_runs(jax_ane_cli):
    done = jax_ane_cli("ops", "--json")
    assert done.returncode == 0
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["dot_general"] == {
        "name": "dot_general", "place": "ane", "kind": "heavy", "tolerance": 1e-2, "chips": "all",
        "code": "", "why": "", "do": "",
    }  # fmt: skip
    assert rows["sort"]["place"] == "host" and rows["sort"]["code"] == "sort"
    assert rows["tan"]["code"] == "poles" and "sin(x) / cos(x)" in rows["tan"]["do"]
    assert rows["sine"]["chips"] and rows["sine"]["chips"] != "all"
    host = [row for row in rows.values() if row["place"] == "host"]
    assert all(row["code"] and row["why"] and row["do"] for row in host)
    assert "no-rule" not in {row["code"] for row in host}
    lines = jax_ane_cli("ops").stdout.splitlines()
    assert lines[0].split() == ["name", "place", "kind", "tolerance", "chips", "code", "why", "do"]
    assert len(lines) == len(rows) + 1


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("demo", "--epochs", "x"), ("explain",)])
def test_wrong_usage_exits_2(jax_ane_cli, arguments):
    done = jax_ane_cli(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "usage: jax-ane" in done.stderr


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_has_an_example(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        main(command, "--help")
    assert stopped.value.code == 0
    assert f"example: jax-ane {command}" in capsys.readouterr().out


def test_explain_a_function_of_a_module(jax_ane_cli, module):
    done = jax_ane_cli("explain", f"{module.name}:model")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 program(s)" in done.stdout
    assert "user_model.py:5 in model" in done.stdout


def test_explain_a_function_of_a_package(jax_ane_cli, tmp_path):
    package = tmp_path / "nets" / "small"
    package.mkdir(parents=True)
    (tmp_path / "nets" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "sizes.py").write_text("N = 32\n")
    (package / "net.py").write_text(
        "import jax\nfrom nets.small import sizes\nfrom .sizes import N\n"
        "def model(x):\n    return x @ x\n"
        "def model_args():\n    return (jax.ShapeDtypeStruct((N, sizes.N), 'float32'),)\n"
    )
    done = jax_ane_cli("explain", f"{package / 'net.py'}:model")
    assert (done.returncode, done.stderr) == (0, "")
    assert "net.py:5 in model" in done.stdout


def test_explain_json_and_html(capsys, module, tmp_path):
    page = tmp_path / "report.html"
    assert main("explain", f"{module}:model", "--json", "--html", page) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ane_flop_fraction"] > 0.99
    assert {op["line"] for op in report["ops"]} == {5}
    assert "program(1" in page.read_text()


@pytest.mark.parametrize("form", ["text", "bytecode", "artifact"])
def test_explain_a_program_file(capsys, tmp_path, form):
    jitted = jax.jit(lambda x: x @ x)
    x = jnp.ones((64, 64))
    path = tmp_path / "program"
    if form == "text":
        path.write_text(jitted.lower(x).as_text())
    elif form == "bytecode":
        path.write_bytes(jax.export.export(jitted)(x).mlir_module_serialized)
    else:
        pytest.importorskip("flatbuffers", reason="jax.export serialises with flatbuffers")
        path.write_bytes(jax.export.export(jitted)(x).serialize())
    assert main("explain", path) == 0
    assert "ANE 100.00 % of 524,288 FLOPs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        (b"", "0 bytes are neither"),
        (b"func.func @main(", "line 1, column 16"),
        (b"module { stablehlo.nonsense }", "custom op 'stablehlo.nonsense' is unknown"),
        (b"ML\xefR\x0dStableHLO_v1.0.0\0cut off here", "neither StableHLO"),
        (bytes(range(256)), "256 bytes are neither"),
    ],
    ids=["missing", "empty", "text", "op", "bytecode", "noise"],
)
def test_explain_refuses_what_is_no_program(capfd, tmp_path, content, why):
    path = tmp_path / "program.mlir"
    if content is not None:
        path.write_bytes(content)
    assert main("explain", path) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert_four_parts(said.err)
    assert why in said.err
    assert str(path) in said.err


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("user_model.py", "a report is about one function"),
        ("user_model.py:absent", "no such function"),
        ("user_model.py:bare", "neither bare_args() nor example_args()"),
        ("other.py:model", "not a Python file"),
        ("broken.py:model", "importing it raises ZeroDivisionError"),
    ],
)
def test_explain_refuses_a_module_it_cannot_use(
    capsys, monkeypatch, tmp_path, module, argument, why
):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    monkeypatch.chdir(module.parent)
    assert main("explain", argument) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert_four_parts(said.err)
    assert why in said.err


def test_explain_demo_shows_the_train_step(capsys):
    assert main("explain", "demo", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ane_flop_fraction"] >= 0.95
    assert {Path(op["file"]).name for op in report["ops"]} == {"demo.py"}
    assert {op["placement"] for op in report["ops"]} == {"ane", "host"}


def test_demo_ends_with_one_line_of_json(jax_ane_cli, tmp_path):
    done = jax_ane_cli("demo", "--epochs", "1", "--numerics", "fast", "--json")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    figures = json.loads(line)
    assert figures.keys() >= DEMO_KEYS
    assert figures["numerics"] == "fast"
    assert figures["device_kind"] == "Software ANE (M4)"
    assert figures["ane_flop_fraction"] >= 0.95
    assert figures["programs_compiled_after_first_step"] == 0
    assert figures["loss_distance"] <= 0.02
    assert (tmp_path / "jax-ane-demo.png").read_bytes().startswith(b"\x89PNG")
    assert "dot_general" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [(("--epochs", "0"), "--epochs 0"), (("--png", "no/such/folder/a.png"), "no such folder")],
)
def test_demo_refuses_before_it_trains(capsys, arguments, why):
    assert main("demo", *arguments) == 2
    said = capsys.readouterr()
    assert_four_parts(said.err)
    assert why in said.err


def test_script_is_the_same_command(python):
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="jax-ane")
    assert script.load() is cli.main
