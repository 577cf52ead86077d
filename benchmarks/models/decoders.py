# SPDX-License-Identifier: Apache-2.0
"""The decoders that ANE projects published training times of, as shapes: `examples/` computes them.

All are Llamas: RMS norm, rotary positions, SwiGLU, embedding tied to the output.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples"))
import stories_model

Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Decoder:
    """How large a decoder is, and what one step of its training sees.

    Attributes:
        width, hidden, depth: of the residual stream, of the feed-forward layers; blocks.
        words: tokens of the vocabulary; 0: one block alone, of vectors, with a mean square loss.
        length: tokens of the one sequence of a step.
        head_width: columns of a head.
        queries, keys: columns of all heads of queries, and of keys or values; 0: `width`.
    """

    width: int
    hidden: int
    depth: int
    words: int
    length: int = 256
    head_width: int = 64
    queries: int = 0
    keys: int = 0

    def params(self) -> Params:
        """Returns the weights' shapes, float32."""
        width, queries, keys = self.width, self.queries or self.width, self.keys or self.width
        block = {
            "norm1": _struct(width),
            "q": _struct(width, queries),
            "k": _struct(width, keys),
            "v": _struct(width, keys),
            "out": _struct(queries, width),
            "norm2": _struct(width),
            "gate": _struct(width, self.hidden),
            "up": _struct(width, self.hidden),
            "down": _struct(self.hidden, width),
        }
        blocks = [block] * self.depth
        if not self.words:
            return {"blocks": blocks}
        return {"word": _struct(self.words, width), "blocks": blocks, "norm": _struct(width)}

    def batch(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the shapes of what `loss` takes beside the weights."""
        if not self.words:
            vectors = _struct(1, self.length, self.width)
            return {"x": vectors, "wanted": vectors}
        return {"tokens": jax.ShapeDtypeStruct((1, self.length + 1), jnp.int32)}

    def loss(self) -> Callable[[Params, dict[str, jax.Array]], jax.Array]:
        """Returns the loss as a function of weights and a batch."""
        if self.words:
            return functools.partial(stories_model.loss, head_width=self.head_width)

        def one_block(params: Params, batch: dict[str, jax.Array]) -> jax.Array:
            x = batch["x"]
            for p in params["blocks"]:
                x = stories_model.block(p, x, self.head_width)
            return jnp.square(x - batch["wanted"]).mean()

        return one_block

    @property
    def count(self) -> int:
        """The number of weights."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.params()))


def _struct(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


# Of the vocabularies of Llama 2 and Qwen3 the dynamic pipelines keep the words that their data has.
_USED = 9200
DECODERS: dict[str, Decoder] = {
    "stories-110m": Decoder(768, 2048, 12, 32000),
    "stories-110m, 384 tokens": Decoder(768, 2048, 12, 32000, length=384),
    "stories-110m, 9.2k words": Decoder(768, 2048, 12, _USED),
    "qwen3-0.6b, 9.2k words": Decoder(
        1024, 3072, 28, _USED, head_width=128, queries=2048, keys=1024
    ),
    "qwen3-0.6b, 128 tokens": Decoder(
        1024, 3072, 28, _USED, length=128, head_width=128, queries=2048, keys=1024
    ),
    "tiny-ane 13.3M": Decoder(256, 768, 6, _USED),
    "small-ane 27.6M": Decoder(384, 1152, 8, _USED),
    "medium-ane 43.7M": Decoder(512, 1536, 8, _USED),
    "wide-ane 52.4M": Decoder(640, 1920, 6, _USED),
    "one layer, 512 tokens": Decoder(768, 2048, 1, 0, length=512),
    "gpt 48.8M": Decoder(768, 2048, 6, 8192, length=512, head_width=128),
    "gpt 67.6M": Decoder(768, 2048, 6, 32768, length=512, head_width=128),
    "600m-A": Decoder(1536, 4096, 20, 8192, length=512, head_width=128),
}
