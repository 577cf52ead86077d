# SPDX-License-Identifier: Apache-2.0
"""Reports: the user's line on every row, reasons, forms of a call, and what they turn into."""

from __future__ import annotations

import collections
import doctest
import html.parser
import importlib
import importlib.util
import json
import re
from types import ModuleType

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jax_ane
from jax_ane import _chips
from jax_ane.compiler import cost
from jax_ane.report import explain_program

# Each op of this file has its place; the tests below name lines by the comment on them.
SCRIPT = """\
import jax
import jax.numpy as jnp


def layer(x, w, b):
    y = x @ w  # product
    y = y + b  # bias
    return jax.nn.relu(y)  # relu


def loss(params, x, labels):
    h = layer(x, params["w1"], params["b1"])  # call
    logits = h @ params["w2"]  # head
    logp = jax.nn.log_softmax(logits)  # softmax
    picked = jnp.take_along_axis(logp, labels[:, None], axis=1)  # pick
    return -picked.mean()  # mean


@jax.jit  # decorator
def step(params, x, labels):
    grads = jax.grad(loss)(params, x, labels)

    def body(carry, _):
        return carry @ params["w1"].T @ params["w1"], None  # body

    looped, _ = jax.lax.scan(body, x @ params["w1"], None, length=3)  # scan
    noise = jax.random.normal(jax.random.key(0), (3,))  # noise
    new = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)  # update
    return new, looped.sum() + noise.sum()  # result
"""
PUBLIC_MODULES = (
    "jax_ane", "jax_ane.mil", "jax_ane.report", "jax_ane._status", "jax_ane._config",
    "jax_ane._scopes", "jax_ane.precision._clamp", "jax_ane.precision._gradients",
    "jax_ane.precision._loss_scale", "jax_ane.training._checkpoints", "jax_ane.training._fit",
    "jax_ane.training._memory", "jax_ane.training._step",
    "jax_ane.adapters.lora", "jax_ane.adapters.nnx",
)  # fmt: skip


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> ModuleType:
    """Returns the user's script as a module."""
    path = tmp_path_factory.mktemp("user") / "script.py"
    path.write_text(SCRIPT)
    spec = importlib.util.spec_from_file_location("script", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def arguments() -> tuple[object, ...]:
    params = {"w1": np.ones((64, 32)), "b1": np.zeros(32), "w2": np.ones((32, 10))}
    params = {name: value.astype(np.float32) for name, value in params.items()}
    return params, np.ones((16, 64), np.float32), np.zeros(16, np.int32)


@pytest.fixture(scope="module")
def report(script, arguments):
    return jax_ane.explain(script.step, *arguments)


def line_of(comment: str) -> int:
    """Returns the number of the script's line that ends with this comment."""
    (number,) = [n for n, t in enumerate(SCRIPT.splitlines(), 1) if t.endswith(f"# {comment}")]
    return number


def lines(report, op: str) -> collections.Counter[int]:
    return collections.Counter(o.location.line for o in report.ops if o.op == f"stablehlo.{op}")


def test_every_row_has_a_line_of_the_users_file(report, script):
    assert {op.location.file for op in report.ops} == {script.__file__}
    commented = {n for n, text in enumerate(SCRIPT.splitlines(), 1) if "  # " in text}
    assert {op.location.line for op in report.ops} <= commented
    assert all(op.location.function for op in report.ops)


def test_products_are_on_the_lines_that_wrote_them(report):
    # Forward and weight gradient of the first layer; forward and both gradients of the head.
    wanted = {"product": 2, "head": 3, "body": 2, "scan": 1}
    assert lines(report, "dot_general") == {line_of(name): n for name, n in wanted.items()}


@pytest.mark.parametrize(
    ("op", "comment"),
    [("tanh", None), ("exponential", "softmax"), ("scatter", "pick"), ("maximum", "relu"),
     ("xor", "noise"), ("while", "scan")],
)  # fmt: skip
def test_other_ops_are_on_their_lines(report, op, comment):
    found = set(lines(report, op))
    assert (line_of(comment) in found) if comment else not found


def test_function_names_are_the_users(report):
    names = {op.location.line: op.location.function for op in report.ops}
    assert names[line_of("product")] == "layer"
    assert names[line_of("body")] == "step.<locals>.body"


def test_loop_bodies_say_which_loop(report):
    regions = {op.region for op in report.ops if op.location.line == line_of("body")}
    assert len(regions) == 1
    assert re.fullmatch(r"main/while\d+\.1", regions.pop())


def test_every_op_has_a_place_and_a_reason(report):
    for op in report.ops:
        assert op.placement in ("ane", "host")
        assert op.reason.code and op.reason.text
        assert (op.program is not None) == (op.placement == "ane")


def test_reasons_fit_the_ops(report):
    why = {(op.op.removeprefix("stablehlo."), op.location.line): op.reason for op in report.ops}
    assert why["dot_general", line_of("product")].code == "heavy"
    assert why["add", line_of("bias")].code in ("between", "epilogue")
    assert why["subtract", line_of("update")].code == "state"
    assert "ui32 is never narrowed" in why["xor", line_of("noise")].text
    assert "control flow" in why["while", line_of("scan")].text


def test_flops_are_counted(report):
    products = sum(op.flops for op in report.ops if op.op == "stablehlo.dot_general")
    assert products == 2 * 16 * 64 * 32 * (2 + 1 + 2) + 2 * 16 * 32 * 10 * 3
    on_ane = sum(op.flops for op in report.ops if op.placement == "ane")
    total = sum(op.flops for op in report.ops)
    assert report.ane_flop_fraction == on_ane / total > 0.95


def test_explaining_compiles_and_loads_nothing(script, arguments):
    jax_ane.reset_stats()
    jax_ane.explain(script.step, *arguments)
    jax_ane.lower(script.step, *arguments)
    assert jax_ane.stats().programs_compiled == jax_ane.stats().compilations == 0


def test_text_has_a_row_for_each_place_and_reason(report):
    text = report.to_text()
    assert repr(report) == text
    assert text.startswith(f"ANE {100 * report.ane_flop_fraction:.2f} % of ")
    assert f"script.py:{line_of('product')} in layer" in text
    for program in report.programs:
        assert f"{program.name}: {program.op_count} MIL ops" in text


def test_every_form_says_what_the_calls_would_take(report):
    """The parts of each program, and their sum over calls, in text, data and HTML."""
    programs = report.programs
    calls = report.placement.calls
    whole = report.placement.estimate
    parts = sum(p.estimate.total_s * calls[p.name] for p in programs)
    # The step returns its weights updated; its biases are added to rows on the engine too.
    weights = cost.upload(64 * 32 + 32 + 32 * 10, _chips.load("M4"))
    assert whole.total_s == pytest.approx(parts + weights.total_s)
    assert all(
        min(p.estimate.call_s, p.estimate.copies_s, p.estimate.engine_s) > 0 for p in programs
    )
    text, page, held = report.to_text(), report.to_html(), report.to_dict()
    assert f"estimated {whole} on M4" in text
    assert f"estimated {whole}" in page
    assert held["estimate"]["total_s"] == whole.total_s
    for program, row in zip(programs, held["programs"], strict=True):
        assert text.count(f"estimated {program.estimate} on M4") >= 1
        assert f"estimated {program.estimate} on M4" in page
        assert row["estimate"]["engine_s"] == program.estimate.engine_s


def test_a_program_of_the_host_alone_has_no_estimate():
    report = jax_ane.explain(lambda x: x + 1, np.ones(3, np.float32))
    assert not report.programs
    assert "estimated" not in report.to_text() + report.to_html()
    assert report.placement.estimate.total_s == 0


def test_dict_survives_json(report):
    data = report.to_dict()
    assert json.loads(json.dumps(data)) == data
    assert len(data["ops"]) == len(report.ops)
    assert {p["name"] for p in data["programs"]} == {p.name for p in report.programs}
    assert data["ane_flop_fraction"] == report.ane_flop_fraction


class _Balance(html.parser.HTMLParser):
    """Checks that every tag is closed, and collects the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.ids.update(value for name, value in attrs if name == "id")
        self.links.update(value for name, value in attrs if name in ("href", "src"))
        if tag not in ("meta", "input"):  # which have no end
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("form", ["page", "fragment"])
def test_html_is_well_formed_and_escaped(report, form):
    page = _Balance()
    page.feed(report.to_html("<a title>") if form == "page" else report._repr_html_())
    assert page.open == []
    text = "".join(page.text)
    assert "step.<locals>.body" in text
    assert report.programs[0].text in text
    assert ("<a title>" in text) == (form == "page")


def test_page_needs_nothing_else_and_its_links_lead_somewhere(report):
    page = _Balance()
    page.feed(report.to_html())
    assert page.links  # from the graph's boxes to the programs
    assert page.links <= {f"#{name}" for name in page.ids}
    assert {p.name for p in report.programs} <= page.ids


def test_parts_account_for_every_op_and_border(report):
    parts = report.placement.parts
    for kind in ("ane", "host"):
        ops = [op for op in report.ops if op.placement == kind and op.reason.code != "constant"]
        inside = {part.region for part in parts}
        assert sum(p.ops for p in parts if p.kind == kind) == sum(o.region in inside for o in ops)
        assert sum(p.flops for p in parts if p.kind == kind) == sum(
            op.flops for op in ops if op.region in inside
        )
    for part in parts:
        assert part.sources or part.name == "arguments" or part.kind == "host"
        for source, count in part.sources.items():
            assert count > 0
            assert parts[source].rank < part.rank
            assert parts[source].region == part.region


CALLS = {
    "plain": lambda f, x: jax_ane.explain(f, x, 2.0),
    "jitted": lambda f, x: jax_ane.explain(jax.jit(f), x, 2.0),
    "static": lambda f, x: jax_ane.explain(jax.jit(f, static_argnames="scale"), x, scale=2.0),
    "keyword": lambda f, x: jax_ane.explain(f, x=x, scale=2.0),
    "shapes": lambda f, x: jax_ane.explain(f, jax.ShapeDtypeStruct(x.shape, x.dtype), 2.0),
    "numpy": lambda f, x: jax_ane.explain(f, np.asarray(x), np.float32(2)),
    "committed to cpu": lambda f, x: jax_ane.explain(
        f, jax.device_put(x, jax.devices("cpu")[0]), 2.0
    ),
    "on ane": lambda f, x: jax_ane.explain(f, jax.device_put(x, jax.devices("ane")[0]), 2.0),
    "vmap of grad": lambda f, x: jax_ane.explain(
        jax.vmap(jax.grad(lambda v: f(v, 2.0).sum())), x[None]
    ),
}


@pytest.mark.parametrize("form", CALLS)
def test_every_form_of_a_call_is_explained(form):
    def scaled(x, scale):
        return (x @ x) * scale

    report = CALLS[form](scaled, jnp.ones((64, 64)))
    assert len(report.programs) == 1
    assert report.ane_flop_fraction > 0.95
    assert {op.location.file for op in report.ops} == {__file__}


def test_flags_steer_the_report():
    def product(x):
        return jnp.tanh(x @ x)

    x = jnp.ones((64, 64))
    with jax_ane.config(placement="host"):
        report = jax_ane.explain(product, x)
    assert report.programs == [] and report.ane_flop_fraction == 0.0
    assert {op.reason.code for op in report.ops} == {"placement"}
    with jax.default_matmul_precision("highest"):
        report = jax_ane.explain(product, x)
    assert next(op for op in report.ops if op.op == "stablehlo.dot_general").reason.code == (
        "precision"
    )
    with jax_ane.config(chip="M1", numerics="fast"):
        assert jax_ane.explain(product, x).to_dict()["chip"] == "M1"


@pytest.mark.parametrize("call", [jax_ane.explain, jax_ane.lower])
def test_what_is_not_a_function_is_a_type_error(call):
    with pytest.raises(TypeError, match="want a function, got int"):
        call(3, jnp.ones(2))


@pytest.mark.parametrize(
    "program", [b"", b"\x00" * 100, "func.func @main(", b"ML\xefRjunk"],
    ids=["empty", "zeros", "text", "bytecode"],
)  # fmt: skip
def test_what_is_not_a_program_is_a_value_error(program, capfd):
    with pytest.raises(ValueError, match=r"neither StableHLO nor a jax\.export artifact"):
        explain_program(program)
    assert capfd.readouterr() == ("", "")


def test_an_exported_function_is_explained_as_serialize_returns_it():
    exported = jax.export.export(jax.jit(lambda x: x @ x), platforms=["ane"])(jnp.ones((64, 64)))
    artifact = exported.serialize()
    assert explain_program(artifact).ane_flop_fraction == 1
    assert explain_program(bytearray(artifact)).ane_flop_fraction == 1


def test_saved_programs_run_as_they_are(tmp_path):
    w = np.eye(64, dtype=np.float32) * 2

    def product(x):
        return x @ w

    lowered = jax_ane.lower(product, jnp.ones((64, 64)))
    folder = lowered.save(tmp_path / "new" / "folder")
    assert "jax_ane_program" in (folder / "host.mlir").read_text() == lowered.host_module
    (program,) = lowered.programs
    saved = folder / program.name
    text = (saved / "model.mil").read_text()
    assert text == program.text
    files = {p.relative_to(saved).as_posix() for p in saved.rglob("*") if p.is_file()}
    assert files == {"model.mil", *(b.removeprefix("@model_path/") for b in program.blobs)}
    inputs = {
        name: np.full(tuple(dims), 3.0)
        for name, _, dims, *_ in jax_ane.mil.load(text, saved).inputs
    }
    (result,) = jax_ane.mil.run(text, inputs, blobs=saved).values()
    assert result.size == 64 * 64
    assert float(result.max()) == (6.0 if len(inputs) == 1 else 64 * 9.0)


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_docstring_examples_run(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
    assert result.attempted or name == "jax_ane"


@pytest.mark.parametrize("name", ["explain", "lower", "stats", "info", "doctor", "config", "mil",
                                  "place", "full_precision"])  # fmt: skip
def test_public_names_have_an_example(name):
    text = getattr(jax_ane, name).__doc__ or ""
    assert ">>> " in text, f"jax_ane.{name} has no example"


@pytest.mark.parametrize(
    "middle",
    [lax.erf, lambda y: jax.nn.gelu(y, approximate=False), jnp.square, jnp.sinh, jax.nn.gelu],
    ids=["erf", "gelu", "square", "sinh", "gelu_tanh"],
)
def test_explain_plans_what_the_device_runs(ane, middle):
    def fn(x):
        return middle(x @ x) @ x

    x = np.ones((32, 32), np.float32)
    told = {p.name for p in jax_ane.explain(fn, x).programs}
    text = jax.jit(fn).lower(jax.device_put(x, ane)).compile().as_text()
    ran = {line.split(":")[0] for line in text.splitlines() if line.startswith("ane_")}
    assert told == ran != set()


def test_random_keys_of_another_device_can_be_explained(cpu):
    key = jax.device_put(jax.random.key(0), cpu)
    report = jax_ane.explain(lambda key, x: jax.random.normal(key, (8, 8)) @ x, key, np.eye(8))
    assert any(op.op == "stablehlo.dot_general" and op.placement == "ane" for op in report.ops)
