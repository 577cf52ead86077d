# SPDX-License-Identifier: Apache-2.0
"""A seeded permutation of `range(size)` that is computed element by element, without a table.

A Feistel network permutes the numbers of an even count of bits, whatever its round function is;
where it leaves `range(size)` it is applied again until it comes back (cycle walking), which keeps
it a permutation. The domain has less than four times as many numbers, so few walks are needed.
"""

from __future__ import annotations

import numpy as np

_ROUNDS = 6


def permuted(indices: np.ndarray, size: int, seed: int, epoch: int) -> np.ndarray:
    """Returns where a seeded permutation of `range(size)` sends `indices`.

    Args:
        indices: integers [n] in [0, size).
        size: how many numbers are permuted, from 1 to 2^62.
        seed, epoch: not negative; each pair has its own permutation, the same on every machine.

    Returns:
        int64 [n].
    """
    half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    keys = np.random.SeedSequence([seed, epoch]).generate_state(_ROUNDS, np.uint64)
    values = _network(np.asarray(indices).astype(np.uint64), half, keys)
    while (outside := values >= np.uint64(size)).any():
        values[outside] = _network(values[outside], half, keys)
    return values.astype(np.int64)


def _network(values: np.ndarray, half: np.uint64, keys: np.ndarray) -> np.ndarray:
    """Permutes the numbers below `4**half`."""
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << half) | right


def _mix(values: np.ndarray) -> np.ndarray:
    """Spreads every bit over all (the finaliser of SplitMix64); overflow is meant."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
