# SPDX-License-Identifier: Apache-2.0
"""`examples/finetune_gpt2.py` with a tiny random GPT-2, and its model beside one in NumPy."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest

import jax_ane
from jax_ane.data import write_tokens

for needed in ("optax", "orbax.checkpoint", "tqdm"):
    pytest.importorskip(needed, reason="the example trains with jax_ane.training")
from training_tools import write_chain  # noqa: E402

safetensors = pytest.importorskip("safetensors.numpy", reason="the weights are such files")
load_file, save_file = safetensors.load_file, safetensors.save_file
EXAMPLES = Path(__file__).parents[1] / "examples"
OURS = ("finetune_gpt2", "gpt2_file", "gpt2_model", "train_tokenizer", "training_run")
WORDS, POSITIONS, WIDTH, DEPTH = 300, 48, 64, 2


def random_gpt2(seed=0, scale=0.1):
    """Returns tensors of every name of Hugging Face's GPT-2, none of them 0 or 1."""
    random = np.random.default_rng(seed)
    normal = lambda *shape, at=0.0: (at + scale * random.standard_normal(shape)).astype(np.float32)  # noqa: E731
    tensors = {
        "wte.weight": normal(WORDS, WIDTH),
        "wpe.weight": normal(POSITIONS, WIDTH),
        "ln_f.weight": normal(WIDTH, at=1.0),
        "ln_f.bias": normal(WIDTH),
    }
    for i in range(DEPTH):
        for norm in ("ln_1", "ln_2"):
            tensors[f"h.{i}.{norm}.weight"] = normal(WIDTH, at=1.0)
            tensors[f"h.{i}.{norm}.bias"] = normal(WIDTH)
        for layer, inputs, outputs in (
            ("attn.c_attn", WIDTH, 3 * WIDTH), ("attn.c_proj", WIDTH, WIDTH),
            ("mlp.c_fc", WIDTH, 4 * WIDTH), ("mlp.c_proj", 4 * WIDTH, WIDTH),
        ):  # fmt: skip
            tensors[f"h.{i}.{layer}.weight"] = normal(inputs, outputs)
            tensors[f"h.{i}.{layer}.bias"] = normal(outputs)
    return tensors


def reference(t, tokens, heads):
    """Returns the logits of one sequence, head by head and token by token, by the names."""

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(1e-5))
        return centred / spread * t[f"{name}.weight"] + t[f"{name}.bias"]

    def dense(x, name):
        return x @ t[f"{name}.weight"] + t[f"{name}.bias"]

    def gelu_new(x):
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    x = t["wte.weight"][tokens] + t["wpe.weight"][: len(tokens)]
    for i in range(DEPTH):
        qkv = dense(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn")
        q, k, v = qkv[:, :WIDTH], qkv[:, WIDTH : 2 * WIDTH], qkv[:, 2 * WIDTH :]
        mixed = np.zeros_like(x)
        for head in range(heads):
            at = slice(head * WIDTH // heads, (head + 1) * WIDTH // heads)
            for row in range(len(tokens)):
                scores = k[: row + 1, at] @ q[row, at] / np.sqrt(np.float32(WIDTH // heads))
                chances = np.exp(scores - scores.max())
                mixed[row, at] = chances / chances.sum() @ v[: row + 1, at]
        x = x + dense(mixed, f"h.{i}.attn.c_proj")
        hidden = gelu_new(dense(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"))
        x = x + dense(hidden, f"h.{i}.mlp.c_proj")
    assert x.dtype == np.float32
    return norm(x, "ln_f") @ t["wte.weight"].T


def distance(got, want):
    return np.linalg.norm(np.asarray(got, np.float64) - want) / np.linalg.norm(want)


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in OURS:
        sys.modules.pop(name, None)
    import finetune_gpt2

    return finetune_gpt2


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(random_gpt2(), path)
    return path


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "tokens.bin"
    write_chain(path, WORDS, 5_000)
    return path


@pytest.fixture
def run(example, weights, tokens, tmp_path, capsys):
    """Returns a function that trains and returns exit code, what it printed, and the log."""

    def train(*arguments, data=tokens, weights=weights, out="out"):
        log = tmp_path / out / "run.jsonl"
        log.parent.mkdir(exist_ok=True)
        code = example.main(
            ["--weights", str(weights), "--data", str(data), "--out", str(tmp_path / out),
             "--log", str(log), "--length", "32", "--batch", "4", *map(str, arguments)]
        )  # fmt: skip
        text = log.read_text() if log.exists() else ""
        return code, capsys.readouterr(), [json.loads(line) for line in text.splitlines()]

    return train


# ---- The model


@pytest.mark.parametrize("heads", [1, 4])
def test_forward_is_that_of_a_gpt2_in_numpy(example, weights, heads):
    model = example.gpt2_file.load(weights, heads)
    assert (model.words, model.positions, model.width, model.depth) == (300, 48, 64, 2)
    rows = np.random.default_rng(1).integers(0, WORDS, (3, 40)).astype(np.int32)
    got = example.gpt2_model.forward(model.params, rows, model.heads)
    want = np.stack([reference(random_gpt2(), row, heads) for row in rows])
    assert distance(got, want) < 2e-6
    other = np.stack([reference(random_gpt2(), row, 5 - heads) for row in rows])
    assert distance(got, other) > 1e-3  # the number of heads counts


@pytest.mark.parametrize("numerics", ["fast", "exact"])
def test_forward_on_ane_with_channels_in_the_thousands(example, ane, numerics):
    """Trained GPT-2s have such ones; their squares are beyond fp16."""
    tensors = random_gpt2()
    tensors["h.0.mlp.c_proj.bias"][7] = 3000
    params = nested(example, tensors)
    row = np.random.default_rng(1).integers(0, WORDS, 40).astype(np.int32)
    want = reference(tensors, row, 1)
    forward = jax.jit(example.gpt2_model.forward, static_argnums=2)
    with jax_ane.config(numerics=numerics):
        (got,) = forward(*jax.device_put((params, row[None]), ane), 1)
    assert distance(got, want) < 2e-3


def test_gradients_on_ane_are_near_float32(example, weights, ane, cpu):
    model = example.gpt2_file.load(weights)
    batch = {"tokens": np.random.default_rng(1).integers(0, WORDS, (2, 33)).astype(np.int32)}
    gradient = jax.jit(jax.grad(example.gpt2_model.loss), static_argnums=2)
    got, want = (
        gradient(*jax.device_put((model.params, batch), device), 1) for device in (ane, cpu)
    )
    flat = [np.concatenate([np.ravel(x) for x in jax.tree.leaves(g)]) for g in (got, want)]
    assert distance(*flat) < 5e-3


def test_matrices_decay_and_embeddings_do_not(example, weights):
    mask = example.gpt2_model.decays(example.gpt2_file.load(weights).params)
    decaying = {
        jax.tree_util.keystr(keys, simple=True, separator=".")
        for keys, on in jax.tree_util.tree_flatten_with_path(mask)[0]
        if on
    }
    names = {n for n, array in random_gpt2().items() if array.ndim == 2}
    assert decaying == names - {"wte.weight", "wpe.weight"}


def nested(example, tensors):
    """Returns the tree of weights of tensors by name."""
    params = {}
    for name, array in tensors.items():
        example.gpt2_file._put(params, name.split("."), array)
    params["h"] = [params["h"][str(i)] for i in range(DEPTH)]
    return params


# ---- The file


@pytest.mark.parametrize("prefix", ["", "transformer."])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_names_are_those_that_were_read(example, tmp_path, prefix, dtype):
    """With masks and the tied head, which some files have, and some have not."""
    tensors = {name: array.astype(dtype) for name, array in random_gpt2().items()}
    tensors["h.0.attn.bias"] = np.tril(np.ones((1, 1, 8, 8), np.uint8))
    tensors["h.0.attn.masked_bias"] = np.array(-1e4, np.float32)
    named = {prefix + name: array for name, array in tensors.items()}
    named["lm_head.weight"] = tensors["wte.weight"].copy()
    save_file(named, tmp_path / "in.safetensors")
    model = example.gpt2_file.load(tmp_path / "in.safetensors")
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(model.params))
    changed = jax.tree.map(lambda leaf: leaf + 1, model.params)
    example.gpt2_file.save(tmp_path / "made" / "out.safetensors", model, changed)
    made = load_file(tmp_path / "made" / "out.safetensors")
    assert set(made) == set(named)
    assert np.array_equal(made[prefix + "h.0.attn.bias"], tensors["h.0.attn.bias"])
    for name, array in random_gpt2().items():
        assert np.array_equal(made[prefix + name], array.astype(dtype).astype(np.float32) + 1)
    assert np.array_equal(made["lm_head.weight"], made[prefix + "wte.weight"])
    assert [p.name for p in (tmp_path / "made").iterdir()] == ["out.safetensors"]


def spoilt(change):
    def tensors():
        made = random_gpt2()
        change(made)
        return made

    return tensors


BAD = {
    "missing": (lambda t: t.pop("h.1.ln_2.bias"), "has no tensor h.1.ln_2.bias: it is no whole"),
    "no embedding": (lambda t: t.pop("wte.weight"), "has no tensor wte.weight"),
    "missing block": (
        lambda t: [t.pop(name) for name in list(t) if name.startswith("h.0.")],
        "has no tensor h.0.mlp.c_fc.weight",
    ),
    "shape": (
        lambda t: t.update({"h.0.ln_1.bias": np.zeros(65, np.float32)}),
        "h.0.ln_1.bias is float32 [65], not [64]",
    ),
    "transposed": (
        lambda t: t.update({"h.0.attn.c_attn.weight": t["h.0.attn.c_attn.weight"].T.copy()}),
        "h.0.attn.c_attn.weight is float32 [192, 64], not [64, 192]; matrices must be [in, out]",
    ),
    "vector": (lambda t: t.update({"wpe.weight": np.ones(64, np.float32)}), "not a matrix"),
    "unknown": (
        lambda t: t.update({"h.0.attn.rotary": np.ones(4, np.float32)}),
        "has tensors that GPT-2 has not: h.0.attn.rotary",
    ),
    "integers": (
        lambda t: t.update({"ln_f.bias": np.zeros(64, np.int32)}),
        "ln_f.bias is int32 [64], not floating-point",
    ),
    "nan": (lambda t: t["ln_f.bias"].fill(np.nan), "ln_f.bias has values that are infinite or NaN"),
    "untied": (
        lambda t: t.update({"lm_head.weight": np.zeros((WORDS, WIDTH), np.float32)}),
        "only a tied head can be trained here",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_tensors_are_named(run, tmp_path, name):
    change, why = BAD[name]
    path = tmp_path / "bad.safetensors"
    save_file(spoilt(change)(), path)
    code, printed, _ = run("--steps", 1, weights=path)
    assert code == 2
    assert printed.err.startswith(f"finetune_gpt2: {path}") and why in printed.err
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize("kept", [None, 0, 5, 400, -100, "text"])
def test_what_is_no_whole_file_is_a_finding(run, tmp_path, weights, kept):
    path = tmp_path / "bad.safetensors"
    if kept == "text":
        path.write_text("PK\3\4 these are no tensors at all, but it goes on for a while")
    elif kept is not None:
        path.write_bytes(weights.read_bytes()[:kept])
    code, printed, _ = run("--steps", 1, weights=path)
    assert code == 2
    why = "No such file" if kept is None else "is cut off, damaged or no safetensors file"
    assert printed.err.startswith("finetune_gpt2: ") and why in printed.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--heads", "3"], "heads (3) do not divide the width 64"),
        (["--length", "49"], "--length 49 is above the 48 positions"),
        (["--lora", "2", "--targets", "nothing"], "targets match none of the matrices: h/0/attn"),
        (["--lora", "65"], "rank=65 is above the sides"),
    ],
)
def test_options_that_cannot_be_are_findings(run, arguments, why):
    code, printed, _ = run("--steps", 1, *arguments)
    assert code == 2 and why in printed.err


def test_ids_beyond_the_vocabulary_are_named(run, tmp_path):
    path = tmp_path / "other.bin"
    write_tokens(path, [[1] * 40, [WORDS], [2] * 40])
    code, printed, _ = run("--steps", 1, data=path)
    assert code == 2
    assert "token 40 of 81" in printed.err and "id 300 is not below vocab_size 300" in printed.err


# ---- Training


@pytest.mark.parametrize("device", ["ane", "cpu"])
def test_it_learns_and_writes_the_result(run, example, tmp_path, device):
    code, printed, rows = run("--steps", 40, "--learning-rate", "3e-3", "--device", device)
    assert code == 0, printed.err
    assert printed.out.startswith("2 blocks of width 64, 1 heads, 300 words\n")
    config, *steps, summary = rows
    assert config["config"]["device"] == device and len(steps) == 40
    assert summary["summary"]["last_loss"] < steps[0]["loss"] - 0.5
    assert summary["summary"]["nonfinite_values"] == summary["summary"]["recompilations"] == 0
    made = load_file(tmp_path / "out" / "model.safetensors")
    before = random_gpt2()
    assert set(made) == set(before)
    assert all(not np.array_equal(made[name], before[name]) for name in made)
    model = example.gpt2_file.load(tmp_path / "out" / "model.safetensors")
    ids = np.fromfile(config["config"]["data"], np.uint16)[:33].astype(np.int32)
    loss = float(example.gpt2_model.loss(model.params, {"tokens": ids[None]}, 1))
    assert loss < steps[0]["loss"] - 0.5  # what was written is what was trained


def test_adapters_alone(run, example, tmp_path):
    """The base comes back as it was; the difference of a target has the adapters' rank."""
    code, printed, rows = run("--steps", 30, "--lora", 3, "--learning-rate", "2e-2")
    assert code == 0, printed.err
    losses = [row["loss"] for row in rows if "step" in row]
    assert np.mean(losses[-5:]) < losses[0] - 0.1
    made, before = load_file(tmp_path / "out" / "model.safetensors"), random_gpt2()
    for name, array in before.items():
        if name.endswith("c_attn.weight"):
            singular = np.linalg.svd(made[name] - array, compute_uv=False)
            assert singular[2] > 1e-3 > 1e-5 > singular[3]
        else:
            assert np.array_equal(made[name], array)
    base = example.gpt2_file.load(tmp_path / "model.safetensors").params
    kept = example.lora.load_lora(tmp_path / "out" / "lora.safetensors", base)
    merged = example.lora.merge_lora(kept)["h"][1]["attn"]["c_attn"]["weight"]
    assert np.allclose(merged, made["h.1.attn.c_attn.weight"], atol=1e-6)


def test_a_run_goes_on_where_it_ended(run, tmp_path):
    folder = ["--checkpoint-dir", tmp_path / "checkpoints", "--checkpoint-every", 3]
    whole = run("--steps", 6, out="whole")[2]
    run("--steps", 6, "--until", 3, *folder, out="half")
    _, _, rest = run("--steps", 6, *folder, out="rest")
    losses = [[row["loss"] for row in rows if "step" in row] for rows in (whole, rest)]
    assert losses[1] == losses[0][3:] and len(losses[0]) == 6
    one, other = (load_file(tmp_path / n / "model.safetensors") for n in ("whole", "rest"))
    assert all(np.array_equal(one[name], other[name]) for name in one)


# ---- Texts


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(f"The {i}th ship sails past the shore.\n" for i in range(200)))
    return path


def test_a_text_goes_through_the_given_tokenizer(run, example, text, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    file = tmp_path / "tokenizer.json"
    example.train_tokenizer.train(text, 290).save(str(file))
    code, printed, _ = run("--steps", 2, "--tokenizer", file, data=text)
    assert code == 0, printed.err
    ids = np.fromfile(tmp_path / "out" / "tokens" / "tokens.bin", np.uint16)
    assert tokenizers.Tokenizer.from_file(str(file)).decode(ids[1:].tolist()) == text.read_text()
    again = tmp_path / "out" / "tokens" / "tokens.bin"
    before = again.stat().st_mtime_ns
    assert run("--steps", 2, "--tokenizer", file, data=text)[0] == 0
    assert again.stat().st_mtime_ns == before
    example.train_tokenizer.train(text, 280).save(str(file))  # another one
    assert run("--steps", 2, "--tokenizer", file, data=text)[0] == 0
    assert again.stat().st_mtime_ns != before


def test_a_text_needs_a_tokenizer_that_fits(run, example, text, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    code, printed, _ = run("--steps", 2, data=text)
    assert code == 2 and f"{text} is a text: give --tokenizer" in printed.err
    file = tmp_path / "tokenizer.json"
    code, printed, _ = run("--steps", 2, "--tokenizer", file, data=text)
    assert code == 2 and "No such file" in printed.err
    file.write_text("{}")
    code, printed, _ = run("--steps", 2, "--tokenizer", file, data=text)
    assert code == 2 and f"{file} is no tokenizer.json" in printed.err
    tokenizers.Tokenizer(tokenizers.models.BPE()).save(str(file))
    code, printed, _ = run("--steps", 2, "--tokenizer", file, data=text)
    assert code == 2 and "has no token <|endoftext|>" in printed.err
    example.train_tokenizer.train(text, 400).save(str(file))
    code, printed, _ = run("--steps", 2, "--tokenizer", file, data=text)
    assert code == 2 and "is not below vocab_size 300" in printed.err
