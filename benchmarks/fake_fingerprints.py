"""Fingerprints by the hundred thousand with the statistics of real ones, and copies among them with the errors of real ones.

A fake track walks through real changes from item to item, eight in a row as they stood in some real track, and now and then jumps
to a real item; it may begin with silence. So items are as skewed, as sticky and as often shared as in music: how many two
different tracks have in common is printed beside the same figure for the real ones. A copy is shifted and gets the differences,
eight items in a row, that a real track has from its own encodings.
"""

from dataclasses import dataclass

import numpy as np

from map4_pipeline.fingerprint.index import Prints

LENGTH = 948
#: Share of tracks that are copies of another; in steps of items that are jumps to a real item.
COPIES, JUMPS = 0.05, 0.012
_BLOCK = 8


@dataclass(frozen=True)
class Sources:
    """What the fakes are made of: real fingerprints, and the differences of aligned pairs of encodings."""

    fingerprints: list[np.ndarray]
    errors: list[np.ndarray]


def make(tracks: int, sources: Sources, seed: int = 1) -> tuple[Prints, np.ndarray]:
    """Return fingerprints and, for each, the number of the track it is a copy of, -1 for none."""
    rng = np.random.default_rng(seed)
    changes = np.concatenate([items[1:] ^ items[:-1] for items in sources.fingerprints])
    pool = np.concatenate(sources.fingerprints)
    silence = np.bincount((pool >> np.uint32(16)).astype(np.int64)).argmax().astype(np.uint32) << np.uint32(16)
    errors = np.concatenate(sources.errors)
    items = np.empty((tracks, LENGTH), np.uint32)
    copy_of = np.full(tracks, -1)
    for begin in range(0, tracks, 2000):
        rows = min(2000, tracks - begin)
        items[begin : begin + rows] = _walks(rng, rows, changes, pool, silence)
    for number in np.sort(rng.choice(np.arange(1, tracks), int(COPIES * tracks), replace=False)).tolist():
        original = int(rng.integers(number))
        shift = int(rng.integers(-40, 41))
        row = items[number]
        # What is new at an end stays that of a track of its own.
        part = slice(max(0, shift), LENGTH + min(0, shift))
        row[part] = items[original, max(0, -shift) : LENGTH - max(0, shift)] ^ _blocks(rng, 1, errors)[0, part]
        copy_of[number] = original if copy_of[original] < 0 else copy_of[original]
    return Prints(items.reshape(-1), np.arange(tracks + 1, dtype=np.int64) * LENGTH), copy_of


def _walks(rng, rows: int, changes: np.ndarray, pool: np.ndarray, silence: np.uint32) -> np.ndarray:
    walk = np.bitwise_xor.accumulate(_blocks(rng, rows, changes), axis=1)
    jumps = rng.random((rows, LENGTH)) < JUMPS
    jumps[:, 0] = True
    at = np.maximum.accumulate(np.where(jumps, np.arange(LENGTH), 0), axis=1)
    targets = pool[rng.integers(len(pool), size=(rows, LENGTH))]
    items = walk ^ np.take_along_axis(walk ^ targets, at, axis=1)
    # One in five begins with up to 3 s of silence.
    quiet = (rng.random(rows) < 0.2) * rng.integers(0, 24, rows)
    items[np.arange(LENGTH) < quiet[:, None]] = silence
    return items


def _blocks(rng, rows: int, source: np.ndarray) -> np.ndarray:
    count = -(-LENGTH // _BLOCK)
    starts = rng.integers(len(source) - _BLOCK, size=(rows, count))
    return source[starts[:, :, None] + np.arange(_BLOCK)].reshape(rows, -1)[:, :LENGTH]


def shared_items(fingerprints: list[np.ndarray], pairs: int = 20000, seed: int = 1) -> float:
    """Return how many different items two tracks have in common, on average."""
    rng = np.random.default_rng(seed)
    sets = [np.unique(items) for items in fingerprints]
    total = 0
    for _ in range(pairs):
        one, other = rng.choice(len(sets), 2, replace=False)
        total += len(np.intersect1d(sets[one], sets[other], assume_unique=True))
    return total / pairs
