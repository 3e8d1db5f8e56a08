"""Every n-th sample behind a low-pass filter: low frequencies cost less to transform at a low rate."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.vector_code import SINGLE, Routine, Term, address, columns_of, compiled, vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Shape of the Kaiser window: what would fold back is 100 dB down.
_KAISER = 10.06
#: Results that are computed together, and products.
_WIDTH = 8


@lru_cache(maxsize=4)
def _response(step: int, reach: int) -> "NDArray[np.float32]":
    """Return the filter, filled up with zeros to a multiple of 8.

    A windowed sinc (Kaiser 1974) that cuts in the middle between what is kept and its mirror image. Its gain of `step` makes up
    for the samples left out: a spectrum of the results is that of all samples.
    """
    tap = np.arange(-reach, reach + 1)
    response = np.sinc(tap / step) * np.kaiser(len(tap), _KAISER)
    response *= step / response.sum()
    return np.pad(response, (0, -len(tap) % _WIDTH)).astype(np.float32)


@compiled("ananan")
def _filter(routine: Routine) -> None:
    """Write down the filter: samples; how many lie between results; the response, its length; results by eight, how many."""
    samples, step, response, taps, results, count = routine.arguments
    kind = vector(SINGLE, _WIDTH)
    zero = routine.constant(0.0, kind)

    def eight(index: Term) -> list[Term]:
        start = index * step

        def products(tap: Term, *sums: Term) -> list[Term]:
            weights = routine.load(response, tap, kind)
            places = (start + step * k + tap for k in range(_WIDTH))
            return [total + routine.load(samples, place, kind) * weights for total, place in zip(sums, places, strict=True)]

        columns = columns_of(routine.loop(0, taps, _WIDTH, [zero] * _WIDTH, products))
        while len(columns) > 1:
            columns = [a + b for a, b in zip(columns[::2], columns[1::2], strict=True)]
        routine.store(columns[0], results, index)
        return []

    routine.loop(0, count, _WIDTH, [], eight)


def decimated(data: "NDArray[np.float32]", step: int, reach: int, count: int) -> "NDArray[np.float32]":
    """Return `count` low-passed samples, one for every `step`, times `step`.

    Parameters
    ----------
    data : ndarray, shape (n,)
        The first result stands for the sample at `reach`; what lies beyond the end counts as 0.
    step : int
    reach : int
        Samples that the filter sees to each side. Frequencies above 1 / (2 `step`) + 1.6 / `reach` of the sampling rate are
        100 dB down, those below 1 / (2 `step`) - 1.6 / `reach` unchanged to 1e-5.
    count : int
    """
    response = _response(step, reach)
    whole = -(-count // _WIDTH) * _WIDTH
    needed = (whole - 1) * step + len(response)
    if len(data) < needed:
        data = np.concatenate([data, np.zeros(needed - len(data), np.float32)])
    data = np.ascontiguousarray(data, np.float32)
    out = np.empty(whole, np.float32)
    _filter(address(data), step, address(response), len(response), address(out), whole)
    return out[:count]
