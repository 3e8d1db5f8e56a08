"""Changes of order as permutations: swaps, reversals of a stretch (2-opt), and stretches moved elsewhere (or-opt)."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Longest stretch that is moved elsewhere.
LONGEST = 3
#: More than so many permutations of a long set are drawn from, not listed.
MOST = 20_000


@lru_cache(maxsize=32)
def permutations(length: int, start_fixed: bool, end_fixed: bool) -> "NDArray[np.intp]":
    """Return the permutations, shape (m, length), that leave a fixed start and end where they are.

    `order[permutations]` is every order that one move makes of an order.
    """
    first, last = int(start_fixed), length - int(end_fixed)
    inner = last - first
    moves: list[tuple[str, int, int, int]] = []
    moves += [("swap", i, j, 0) for i in range(first, last) for j in range(i + 1, last)]
    moves += [("reverse", i, j, 0) for i in range(first, last) for j in range(i + 3, last + 1)]
    for size in range(1, min(LONGEST, inner - 1) + 1):
        for begin in range(first, last - size + 1):
            # A stretch of one moved by one is a swap.
            targets = [to for to in range(first, last - size + 1) if to != begin and (size > 1 or abs(to - begin) > 1)]
            moves += [("move", begin, size, to) for to in targets]
            if size > 1:
                moves += [("turn", begin, size, to) for to in targets]
    if len(moves) > MOST:
        chosen = np.random.default_rng(length).choice(len(moves), MOST, replace=False)
        moves = [moves[index] for index in np.sort(chosen)]
    table = np.tile(np.arange(length), (len(moves), 1))
    for row, (kind, i, j, to) in zip(table, moves, strict=True):
        if kind == "swap":
            row[i], row[j] = j, i
        elif kind == "reverse":
            row[i:j] = row[i:j][::-1].copy()
        else:
            stretch = row[i : i + j].copy()
            others = np.concatenate((row[:i], row[i + j :]))
            row[:] = np.concatenate((others[:to], stretch[::-1] if kind == "turn" else stretch, others[to:]))
    table.flags.writeable = False
    return table
