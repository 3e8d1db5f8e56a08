"""Natural logarithms of many singles, the same on every processor; numpy's need four times as long."""

from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.vector_code import SINGLE, Routine, Term, address, compiled, vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTH = 8
#: Bits of the single next below the square root of a half, and of 1.
_ROOT_HALF, _ONE = 0x3F3504F3, 0x3F800000
#: ln 2 as the sum of a number of few digits and a small one.
_LN2, _LN2_REST = 0.693359375, -2.12194440054690583e-4


def logarithm(x: Term) -> Term:
    """Return the natural logarithms of positive, normal singles, to 1.5 of their least digits.

    With x = 2^e m and m between the roots of 1/2 and 2, log m is the series of 2 artanh((m - 1) / (m + 1)).
    """
    bits = x.as_integers()
    exponent = (((bits + (_ONE - _ROOT_HALF)) >> 23) - 127).numbers()
    rest = (((bits - _ROOT_HALF) & 0x007FFFFF) + _ROOT_HALF).as_singles() - 1.0
    part = rest / (rest + 2.0)
    square = part * part
    series = square * (square * (square * (square * (2 / 9) + 2 / 7) + 2 / 5) + 2 / 3)
    return (rest - part * (rest - series) + exponent * _LN2_REST) + exponent * _LN2


@compiled("anaaa")
def _logarithms(routine: Routine) -> None:
    """Write down the pass: values; how many; factors, eight times the same; what is added, likewise; results."""
    values, count, factors, additions, results = routine.arguments
    kind = vector(SINGLE, _WIDTH)
    factor, addition = routine.load(factors, 0, kind), routine.load(additions, 0, kind)

    def body(index: Term) -> list[Term]:
        routine.store(logarithm(routine.load(values, index, kind) * factor + addition), results, index)
        return []

    routine.loop(0, count, _WIDTH, [], body)


def log_of(
    x: "NDArray[np.float32]", scale: float = 1.0, addition: float = 0.0, out: "NDArray[np.float32] | None" = None
) -> "NDArray[np.float32]":
    """Return log(scale x + addition), whose argument is positive, finite and no denormal.

    Parameters
    ----------
    x : ndarray, float32
    scale, addition : float
    out : ndarray, optional
        Where the result is written, contiguous.

    Returns
    -------
    ndarray
        Of the shape of `x`, contiguous.
    """
    x = np.ascontiguousarray(x, np.float32)
    if out is None:
        out = np.empty(x.shape, np.float32)
    elif out.shape != x.shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError("results are of single precision, contiguous, as many as the values")
    flat, found = x.reshape(-1), out.reshape(-1)
    factors, additions = (np.repeat(np.float32(number), _WIDTH) for number in (scale, addition))
    whole = len(flat) // _WIDTH * _WIDTH
    _logarithms(address(flat), whole, address(factors), address(additions), address(found))
    if rest := len(flat) - whole:
        padded, last = np.ones(_WIDTH, np.float32), np.empty(_WIDTH, np.float32)
        padded[:rest] = flat[whole:]
        _logarithms(address(padded), _WIDTH, address(factors), address(additions), address(last))
        found[whole:] = last[:rest]
    return out
