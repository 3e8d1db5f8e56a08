"""Energy curves: how loud and dense a set should be from its first track to its last.

The named curves go between the 10th and the 90th percentile of the candidates' energy, so that they can be followed with what
there is; points of one's own are energies in [0, 1] as they stand.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Shapes over the set, from (place, height) to (place, height), both in [0, 1]: 0 is the pool's quiet end, 1 its loud end.
SHAPES: dict[str, tuple[tuple[float, float], ...]] = {
    "rise": ((0.0, 0.0), (1.0, 1.0)),
    "fall": ((0.0, 1.0), (1.0, 0.0)),
    # A night's arc: most of it leads to the peak, and the way down ends above the beginning.
    "peak": ((0.0, 0.1), (0.7, 1.0), (1.0, 0.4)),
    "wave": ((0.0, 0.2), (0.25, 0.9), (0.5, 0.3), (0.75, 1.0), (1.0, 0.4)),
    "flat": ((0.0, 0.5), (1.0, 0.5)),
}
#: A pool whose energies lie closer together is measured with this range, or noise would count as much as music.
_LEAST_SPREAD = 0.1


class CurveError(ValueError):
    """A curve that cannot be read; the text says why."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve: the name of a shape, or points (place in [0, 1], energy in [0, 1])."""

    name: str
    points: tuple[tuple[float, float], ...]
    absolute: bool = False

    def targets(self, length: int, energy: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Return the energy wished at each position of a set, shape (length,).

        Parameters
        ----------
        energy : ndarray
            The candidates' energies; NaN where unknown.
        """
        places = np.linspace(0.0, 1.0, length) if length > 1 else np.zeros(1)
        heights = np.interp(places, [x for x, _ in self.points], [y for _, y in self.points])
        if self.absolute:
            return heights
        low, high = energy_range(energy)
        return np.asarray(low + heights * (high - low))


def energy_range(energy: "NDArray[np.float64]") -> tuple[float, float]:
    """Return the 10th and 90th percentile of the energies that are known; 0 and 1 when none is."""
    known = energy[np.isfinite(energy)]
    if not len(known):
        return 0.0, 1.0
    low, high = np.percentile(known, [10, 90])
    return float(low), float(high)


def energy_errors(curve: Curve, length: int, energy: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return how far each track is from the curve at each position, shape (length, n), in [0, 1].

    1 is the whole range of the candidates' energies or more. A track whose energy is not known counts as half of it.
    """
    low, high = energy_range(energy)
    apart = np.abs(energy[None, :] - curve.targets(length, energy)[:, None]) / max(high - low, _LEAST_SPREAD)
    return np.where(np.isfinite(apart), np.minimum(apart, 1.0), 0.5)


def parse_curve(text: str) -> Curve:
    """Return a curve from its name or from points.

    "0.3,0.6,0.9,0.5" are energies evenly spread over the set; "0:0.3,60:0.9,100:0.5" stand at percentages of it.

    Raises
    ------
    CurveError
    """
    name = text.strip().lower()
    if name in SHAPES:
        return Curve(name, SHAPES[name])
    parts = [part.strip() for part in name.split(",")]
    told = f"'{text}' is no curve. Write {', '.join(SHAPES)}, energies such as 0.3,0.6,0.9 or points such as 0:0.3,60:0.9,100:0.5"
    try:
        if all(":" in part for part in parts):
            pairs = [(float(x) / 100, float(y)) for x, y in (part.split(":") for part in parts)]
        else:
            heights = [float(part) for part in parts]
            pairs = [(place / max(len(heights) - 1, 1), height) for place, height in enumerate(heights)]
    except ValueError:
        raise CurveError(f"{told}.") from None
    if any(not 0 <= value <= 1 for pair in pairs for value in pair):
        raise CurveError(f"{told}: energies from 0 to 1, places from 0 to 100.")
    if any(after[0] <= before[0] for before, after in pairwise(pairs)):
        raise CurveError(f"{told}: each point stands behind the one before.")
    return Curve(name, tuple(pairs), absolute=True)
