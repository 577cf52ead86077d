# SPDX-License-Identifier: Apache-2.0
"""Models in plain JAX, with random weights: what the benchmarks run."""
