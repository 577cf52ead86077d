# SPDX-License-Identifier: Apache-2.0
"""Random numbers: every generator and every distribution of jax.random, bit for bit."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np

from ..case import EXACT, Family, definite, grid

PRNG = Family("prng", modes=EXACT)
FAMILIES = [PRNG]

P = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
# name of jax.random -> what it is called with, after the key.
DRAWS = {
    "bernoulli": lambda f, k: (f(k, 0.3, (9,)), f(k)),
    "ball": lambda f, k: f(k, 3, shape=(4,)),
    "beta": lambda f, k: f(k, 2.0, 3.0, (5,)),
    "binomial": lambda f, k: f(k, 9.0, 0.4, (5,)),
    "bits": lambda f, k: [f(k, (5,), t) for t in (jnp.uint8, jnp.uint16, jnp.uint32)],
    "categorical": lambda f, k: (f(k, jnp.log(P)), f(k, jnp.log(P), shape=(6,)),
        f(k, jnp.log(P), shape=(3,), replace=False)),
    "cauchy": lambda f, k: f(k, (5,)),
    "chisquare": lambda f, k: f(k, 3.0, shape=(5,)),
    "choice": lambda f, k: (f(k, 9, (4,)), f(k, 9, (4,), replace=False), f(k, 4, (5,), p=P)),
    "dirichlet": lambda f, k: f(k, jnp.asarray(P), (3,)),
    "double_sided_maxwell": lambda f, k: f(k, 0.5, 1.5, (5,)),
    "exponential": lambda f, k: f(k, (5,)),
    "f": lambda f, k: f(k, 3.0, 4.0, shape=(5,)),
    "fold_in": lambda f, k: (f(k, 3), f(k, 2**32 - 1)),
    "gamma": lambda f, k: (f(k, 0.5, (5,)), f(k, jnp.asarray(P))),
    "generalized_normal": lambda f, k: f(k, 1.5, (5,)),
    "geometric": lambda f, k: f(k, 0.3, (5,)),
    "gumbel": lambda f, k: (f(k, (5,)), f(k, (3,), mode="high")),
    "key_data": lambda f, k: f(k),
    "key_impl": lambda f, k: len(str(f(k))),
    "clone": lambda f, k: f(k),
    "laplace": lambda f, k: f(k, (5,)),
    "logistic": lambda f, k: f(k, (5,)),
    "loggamma": lambda f, k: f(k, 0.5, (5,)),
    "lognormal": lambda f, k: f(k, 0.5, (5,)),
    "maxwell": lambda f, k: f(k, (5,)),
    "multinomial": lambda f, k: f(k, 10, jnp.asarray(P)),
    "multivariate_normal": lambda f, k: [f(k, jnp.zeros(3), jnp.asarray(definite(3)), (2,),
        method=m) for m in ("cholesky", "eigh", "svd")],
    "normal": lambda f, k: [f(k, (5,), t) for t in (jnp.float32, jnp.float16, jnp.bfloat16,
        jnp.complex64)],
    "orthogonal": lambda f, k: f(k, 3),
    "pareto": lambda f, k: f(k, 2.0, (5,)),
    "permutation": lambda f, k: (f(k, 9), f(k, jnp.asarray(grid(4, 3))), f(k, jnp.asarray(
        grid(4, 3)), axis=1, independent=True)),
    "poisson": lambda f, k: (f(k, 3.0, (5,)), f(k, 30.0, (5,))),
    "rademacher": lambda f, k: f(k, (5,)),
    "randint": lambda f, k: (f(k, (5,), 0, 10), f(k, (5,), -100, 100, jnp.int8),
        f(k, (5,), jnp.zeros(5, int), jnp.arange(5) + 1)),
    "rayleigh": lambda f, k: f(k, 2.0, (5,)),
    "shuffle": lambda f, k: f(k, jnp.arange(5)),
    "split": lambda f, k: (f(k), f(k, 5), f(k, (2, 3))),
    "t": lambda f, k: f(k, 3.0, (5,)),
    "triangular": lambda f, k: f(k, -1.0, 0.0, 2.0, (5,)),
    "truncated_normal": lambda f, k: f(k, -1.0, 2.0, (5,)),
    "uniform": lambda f, k: [f(k, (5,), t) for t in (jnp.float32, jnp.float16, jnp.bfloat16)],
    "wald": lambda f, k: f(k, 2.0, (5,)),
    "weibull_min": lambda f, k: f(k, 1.0, 2.0, (5,)),
    "stratified": lambda f, k: f(k, 5),
}  # fmt: skip
# Not draws: they make keys, and have cases of their own, or are names of types.
MAKERS = {"PRNGKey", "key", "wrap_key_data", "KeyArray", "default_prng_impl", "RandomAlgorithm"}
PUBLIC = [n for n in sorted(dir(jax.random)) if not n.startswith("_")
          and inspect.isroutine(getattr(jax.random, n))]  # fmt: skip

# The generators that keys name, and the draws tried with all of them.
IMPLEMENTATIONS = ("threefry2x32", "rbg", "unsafe_rbg")
ON_ALL = ("bits", "normal", "uniform", "randint", "split", "fold_in", "permutation", "bernoulli",
          "categorical", "gamma", "choice")  # fmt: skip
for name, call in DRAWS.items():
    if not hasattr(jax.random, name):
        PRNG.lacks(f"jax.random.{name}")
        continue
    draw = getattr(jax.random, name)
    for implementation in IMPLEMENTATIONS:
        if implementation == "threefry2x32" or name in ON_ALL:
            PRNG.add(
                f"{name}_{implementation}",
                lambda data, f=draw, i=implementation, c=call: c(
                    f, jax.random.wrap_key_data(data, impl=i)
                ),
                np.arange(7, 9 if implementation == "threefry2x32" else 11, dtype=np.uint32),
            )
for implementation in IMPLEMENTATIONS:
    PRNG.add(f"make_{implementation}", lambda i=implementation: (
        jax.random.key(3, impl=i), jax.random.key_data(jax.random.key(2**31 - 1, impl=i))))  # fmt: skip
    PRNG.add(f"vmap_{implementation}", lambda i=implementation: jax.vmap(
        lambda k: (jax.random.normal(k, (3,)), jax.random.split(k)))(
        jax.random.split(jax.random.key(1, impl=i), 4)))  # fmt: skip
PRNG.add("old_key", lambda: (jax.random.PRNGKey(0), jax.random.normal(jax.random.PRNGKey(5), (3,))))
PRNG.add("seed_argument", jax.random.key, np.int32(-5))
PRNG.add("double", lambda: (jax.random.normal(jax.random.key(0), (5,), jnp.float64),
         jax.random.bits(jax.random.key(0), (3,), jnp.uint64), jax.random.randint(
         jax.random.key(0), (4,), 0, 2**40), jax.random.uniform(jax.random.key(2), (3,))), x64=True)  # fmt: skip
PRNG.add("gamma_gradient", jax.grad(lambda a: jax.random.gamma(jax.random.key(0), a, (3,)).sum()),
         np.float32(1.5))  # fmt: skip
PRNG.add("partitionable_off", lambda: jax.random.bits(jax.random.key(0), (5, 5)), alone=True)
PRNG.add("large", lambda: jax.random.normal(jax.random.key(0), (300, 301)))
