"""Fingerprints made of nothing, for tests: walks that change a few bits from item to item, as music's do."""

import numpy as np
from numpy.typing import NDArray

Items = NDArray[np.uint32]


def walk(seed: int, count: int = 400) -> Items:
    """Return a fingerprint of its own for each seed."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 32, (count, 3), dtype=np.uint32)
    steps = np.bitwise_xor.reduce(np.uint32(1) << bits, axis=1)
    steps[0] = random.integers(0, 2**32, dtype=np.uint32)
    # An item lasts now and then.
    steps[1:][random.random(count - 1) < 0.1] = 0
    return np.asarray(np.bitwise_xor.accumulate(steps), np.uint32)


def noisy(items: Items, share: float, seed: int = 0) -> Items:
    """Return a fingerprint with a share of its bits turned, in bursts as encoders do it."""
    random = np.random.default_rng(seed)
    burst = np.repeat(random.random(-(-len(items) // 4)) < 2.5 * share, 4)[: len(items)]
    wrong = (random.random((len(items), 32)) < 0.4) & burst[:, None]
    return items ^ np.asarray((wrong << np.arange(32)).sum(axis=1), np.uint32)
