"""What is asked of every sample of a stereo signal, in one pass: apart, together, how large, how alike."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from map4_pipeline.audio.vector_code import SINGLE, Routine, Term, address, compiled, vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTH = 8


class Stereo(NamedTuple):
    """Largest absolute sample of a block, sums of the left and right samples, of their squares and of their products.

    Where a sample is not finite, neither are the sums it belongs to, and the peak says nothing.
    """

    peak: float
    left: float
    right: float
    left_energy: float
    right_energy: float
    cross: float


@compiled("anaaaa")
def _split(routine: Routine) -> None:
    """Write down the pass: samples by frames; frames; left, right and their mean; extremes and sums."""
    samples, frames, left, right, mono, sums = routine.arguments
    kind = vector(SINGLE, _WIDTH)
    even, odd = range(0, 2 * _WIDTH, 2), range(1, 2 * _WIDTH, 2)

    def body(index: Term, high: Term, low: Term, *totals: Term) -> list[Term]:
        first, second = (routine.load(samples, index + index + k, kind) for k in (0, _WIDTH))
        a, b = first.picked(second, even), first.picked(second, odd)
        for plane, values in ((left, a), (right, b), (mono, (a + b) * 0.5)):
            routine.store(values, plane, index)
        added = (a, b, a * a, b * b, a * b)
        return [high.max(a).max(b), low.min(a).min(b), *(total + term for total, term in zip(totals, added, strict=True))]

    zero = routine.constant(0.0, kind)
    high, low, *totals = routine.loop(0, frames, _WIDTH, [zero] * 7, body)
    whole = [high.folded(Term.max), low.folded(Term.min)]
    whole = [term.widened() for term in whole] + [total.widened().folded(Term.__add__) for total in totals]
    for place, term in enumerate(whole):
        routine.store(term, sums, place)


@compiled("anaa")
def _count(routine: Routine) -> None:
    """Write down the pass: a channel; samples; the level; how many samples reach it after two others that do."""
    samples, count, level, found = routine.arguments
    kind = vector(SINGLE, _WIDTH)
    limit, lower = (routine.load(level, k * _WIDTH, kind) for k in range(2))

    def body(index: Term, before: Term, total: Term) -> list[Term]:
        x = routine.load(samples, index, kind)
        reached = (((x >= limit) | (lower >= x)).bits() << 2) | before
        return [reached >> _WIDTH, total + (reached & (reached >> 1) & (reached >> 2)).ones()]

    zero = routine.integer(0)
    routine.store(routine.loop(0, count, _WIDTH, [zero, zero], body)[1], found, 0)


def _is_plain(array: "NDArray[np.float32]") -> bool:
    return array.dtype == np.float32 and array.flags.c_contiguous


def split_stereo(block: "NDArray[np.float32]", planes: "NDArray[np.float32]", mono: "NDArray[np.float32]") -> Stereo:
    """Take a stereo block apart and together.

    Parameters
    ----------
    block : ndarray, shape (frames, 2)
    planes : ndarray, shape (2, frames)
        Is given the channels; each row is contiguous.
    mono : ndarray, shape (frames,)
        Is given their mean.
    """
    frames = len(block)
    left, right = planes
    rows = left, right, mono
    sizes_fit = block.shape == (frames, 2) and all(len(row) == frames for row in rows)
    if not sizes_fit or not all(map(_is_plain, (block, *rows))) or not planes.flags.writeable:
        raise ValueError("a block is single precision, contiguous, and so is where its channels go")
    whole = frames // _WIDTH * _WIDTH
    sums = np.empty(7)
    _split(address(block), whole, address(left), address(right), address(mono), address(sums))
    high, low, *totals = sums.tolist()
    if whole < frames:
        rest = slice(whole, None)
        planes[:, rest] = block[rest].T
        mono[rest] = (left[rest] + right[rest]) * np.float32(0.5)
        a, b = planes[:, rest].astype(np.float64)
        high, low = max(high, float(block[rest].max())), min(low, float(block[rest].min()))
        totals = [total + float(term) for total, term in zip(totals, (a.sum(), b.sum(), a @ a, b @ b, a @ b), strict=True)]
    return Stereo(max(high, -low), *totals)


def count_clipped(plane: "NDArray[np.float32]", level: float) -> int:
    """Return how many samples of a channel reach the level, up or down, behind two others that do."""
    if not _is_plain(plane):
        raise ValueError("a channel is single precision and contiguous")
    whole = len(plane) // _WIDTH * _WIDTH
    levels = np.repeat(np.array([level, -level], np.float32), _WIDTH)
    found = np.zeros(1, np.int64)
    _count(address(plane), whole, address(levels), address(found))
    rest = np.abs(plane[max(0, whole - 2) :]) >= np.float32(level)
    return int(found[0]) + int(np.count_nonzero(rest[2:] & rest[1:-1] & rest[:-2]))
