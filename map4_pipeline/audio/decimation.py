"""Every n-th sample behind a low-pass filter, as matrix products: low frequencies cost less to transform at a low rate."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Shape of the Kaiser window: what would fold back is 100 dB down.
_KAISER = 10.06
#: Results that are computed together.
ROW = 32


@lru_cache(maxsize=4)
def _matrices(step: int, reach: int) -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    """Return the matrices from 32 `step` samples, and from those that follow, to the 32 results that begin in the first.

    A windowed sinc (Kaiser 1974) that cuts in the middle between what is kept and its mirror image. Its gain of `step` makes up
    for the samples left out: a spectrum of the results is that of all samples.
    """
    tap = np.arange(-reach, reach + 1)
    response = np.sinc(tap / step) * np.kaiser(len(tap), _KAISER)
    response *= step / response.sum()
    width = step * ROW
    matrix = np.zeros((2 * width, ROW), np.float32)
    for k in range(ROW):
        matrix[step * k : step * k + len(tap), k] = response
    used = step * (ROW - 1) + len(tap)
    return matrix[:width].copy(), matrix[width:used].copy()


def decimated(data: "NDArray[np.float32]", step: int, reach: int, count: int) -> "NDArray[np.float32]":
    """Return `count` low-passed samples, one for every `step`, times `step`.

    Parameters
    ----------
    data : ndarray, shape (n,)
        The first result stands for the sample at `reach`; what lies beyond the end counts as 0.
    step : int
    reach : int
        Samples that the filter sees to each side, at most 16 `step`. Frequencies above 1 / (2 `step`) + 1.6 / `reach` of the
        sampling rate are 100 dB down, those below 1 / (2 `step`) - 1.6 / `reach` unchanged to 1e-5.
    count : int
        A multiple of 32.
    """
    here, following = _matrices(step, reach)
    rows = count // ROW
    needed = (rows + 1) * len(here)
    if len(data) < needed:
        data = np.concatenate([data, np.zeros(needed - len(data), np.float32)])
    samples = data[:needed].reshape(rows + 1, -1)
    out = samples[:-1] @ here
    out += samples[1:, : len(following)] @ following
    return np.asarray(out.reshape(-1))
