"""Spectral peaks of long frames: magnitudes, whitening, peaks and their exact frequency in one pass over each spectrum."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from map4_pipeline.audio.logarithms import logarithm
from map4_pipeline.audio.vector_code import DOUBLE, SINGLE, Routine, Term, address, compiled, vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTH = 8
#: A peak stands this far (natural log of magnitude) over the mean of the 61 bins round it.
_PROMINENCE = 0.7
_REACH = 30
#: What a magnitude is at the least before its logarithm is taken.
_FLOOR = 1e-6


@compiled("annnnaaaaaaaaa")
def _find(routine: Routine) -> None:
    """Write down the pass.

    Its arguments: spectra, real and imaginary parts side by side; their length in singles, how many there are; first bin, how
    many; room for logarithms, whitened ones and magnitudes of a spectrum; width of a bin in Hz; the peaks' frequencies,
    weights, magnitudes and spectra, and how many there are.
    """
    r = routine
    spectra, length, count, low, bins, logs, whites, sizes, width, *found, total = r.arguments
    kind = vector(SINGLE, _WIDTH)
    even, odd = range(0, 2 * _WIDTH, 2), range(1, 2 * _WIDTH, 2)
    hertz = r.load(width, 0, SINGLE)

    def measured(start: Term) -> Callable[[Term], list[Term]]:
        def body(k: Term) -> list[Term]:
            first, second = (r.load(spectra, start + k + k + part, kind) for part in (0, _WIDTH))
            re, im = first.picked(second, even), first.picked(second, odd)
            size = (re * re + im * im).root()
            r.store(size, sizes, k)
            r.store(logarithm(size + _FLOOR), logs, k + _REACH)
            return []

        return body

    def extend(k: Term) -> list[Term]:
        """Let the first and the last value go on beyond the ends."""
        r.store(r.load(logs, _REACH, SINGLE), logs, k)
        r.store(r.load(logs, bins + (_REACH - 1), SINGLE), logs, bins + _REACH + k)
        return []

    def add(k: Term, sum_: Term) -> list[Term]:
        return [sum_ + r.load(logs, k, SINGLE).widened()]

    def whiten(k: Term, sum_: Term) -> list[Term]:
        """Take the mean of the values round it from each."""
        mean = (sum_ * (1 / (2 * _REACH + 1))).narrowed()
        r.store(r.load(logs, k + _REACH, SINGLE) - mean, whites, k)
        leaving, entering = (r.load(logs, k + ahead, SINGLE).widened() for ahead in (0, 2 * _REACH + 1))
        return [sum_ + (entering - leaving)]

    def end(k: Term) -> list[Term]:
        """Let nothing be as large as what is beyond the end, and that be no peak."""
        r.store(r.constant(float("nan"), SINGLE), whites, bins + k)
        return []

    def peaks(row: Term) -> Callable[[Term, Term], list[Term]]:
        def body(k: Term, place: Term) -> list[Term]:
            before, here, after = (r.load(whites, k + shift, kind) for shift in (-1, 0, 1))
            which = ((here > before) & (here >= after) & (here > _PROMINENCE)).bits()

            def put(_: Term, left: Term, place: Term) -> list[Term]:
                at = k + left.lowest()
                a, b, c = (r.load(logs, at + (_REACH + shift), SINGLE) for shift in (-1, 0, 1))
                bend = (a - b * 2.0 + c).min(r.constant(-1e-6, SINGLE))
                shift = ((a - c) * 0.5 / bend).min(r.constant(0.5, SINGLE)).max(r.constant(-0.5, SINGLE))
                values = ((at + low).numbers() + shift) * hertz, r.load(whites, at, SINGLE), r.load(sizes, at, SINGLE)
                for array, value in zip(found, (*values, row.shortened()), strict=True):
                    r.store(value, array, place)
                return [left & (left - 1), place + 1]

            return r.loop(0, which.ones(), 1, [which, place], put)[1:]

        return body

    def spectrum(row: Term, place: Term) -> list[Term]:
        r.loop(0, bins, _WIDTH, [], measured(row * length + low + low))
        r.loop(0, _REACH, 1, [], extend)
        whole = r.loop(0, 2 * _REACH + 1, 1, [r.constant(0.0, DOUBLE)], add)
        r.loop(0, bins, 1, whole, whiten)
        r.loop(0, _WIDTH, 1, [], end)
        return r.loop(1, bins - 1, _WIDTH, [place], peaks(row))

    r.store(r.loop(0, count, 1, [r.integer(0)], spectrum)[0], total, 0)


class Peaks(NamedTuple):
    """Spectral peaks, those of a spectrum after those of the one before, from low to high.

    Frequency in Hz, whitened weight (natural log of magnitude over the mean round it), magnitude; and which spectrum it is of.
    """

    frequency: "NDArray[np.float32]"
    weight: "NDArray[np.float32]"
    magnitude: "NDArray[np.float32]"
    spectrum: "NDArray[np.int32]"


class PeakFinder:
    """Finds the peaks of spectra.

    Magnitudes are whitened by their own running mean over 61 bins (in log), so that a loud bass does not outweigh the chords; a
    peak's frequency comes from a parabola through three log magnitudes (Smith & Serra 1987).

    Parameters
    ----------
    low, high : int
        First bin looked at, and the one behind the last; at least 8 more are in a spectrum.
    width : float
        Hz between bins.
    """

    def __init__(self, low: int, high: int, width: float) -> None:
        self._low, self._bins = low, high - low
        self._rooms = [np.empty(self._bins + 2 * _REACH + _WIDTH, np.float32) for _ in range(3)]
        self._width = np.array([width], np.float32)
        self._count = np.empty(1, np.int64)
        self._tables = *map(address, self._rooms), address(self._width)

    def find(self, spectra: "NDArray[np.complex64]") -> Peaks:
        """Return the peaks of spectra, shape (n, bins), contiguous; a zero magnitude counts as 1e-6."""
        if spectra.dtype != np.complex64 or not spectra.flags.c_contiguous or spectra.shape[1] < self._low + self._bins + _WIDTH:
            raise ValueError("spectra are of single precision, contiguous, and go on behind the last bin looked at")
        count, length = spectra.shape
        # Of two neighbours one is a peak at the most.
        most = count * (self._bins // 2) + 1
        frequency, weight, magnitude = (np.empty(most, np.float32) for _ in range(3))
        found = Peaks(frequency, weight, magnitude, np.empty(most, np.int32))
        places = *self._tables, *map(address, found), address(self._count)
        _find(address(spectra), 2 * length, count, self._low, self._bins, *places)
        end = int(self._count[0])
        return Peaks(found.frequency[:end], found.weight[:end], found.magnitude[:end], found.spectrum[:end])
