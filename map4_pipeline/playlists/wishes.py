"""What a set should be: wishes that have to be kept, and weights of what it should be good at."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from map4_pipeline.playlists.curves import Curve


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part of the cost counts.

    Attributes
    ----------
    transition : float
        The mean of 1 - score over the transitions.
    weakest : float
        1 - the score of the weakest transition: one bad mix is heard more than many good ones.
    energy : float
        The mean distance from the energy curve, in ranges of the candidates' energy.
    tempo : float
        The mean tempo change of a step, in parts of what is allowed (or of 8%).
    """

    transition: float = 1.0
    weakest: float = 0.25
    energy: float = 0.5
    tempo: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise WishError(f"The weight of {field.name} has to be 0 or more; it is {value}.")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What has to hold. Ids are those of the pool.

    Attributes
    ----------
    tracks : tuple of int, optional
        Fewest and most tracks.
    minutes : float, optional
        Length, kept within `minutes_tolerance` (a share). With `tracks` too, both hold.
    start, end : int, optional
        The first and the last track.
    must : tuple of int
        Tracks that have to be in it.
    apart : tuple of pairs of int
        Tracks that are never next to each other, in either order.
    excluded : tuple of int
        Tracks that are not in it.
    curve : Curve, optional
        The energy over the set. It is followed as well as possible; all else is kept or said to be impossible.
    max_drift : float, optional
        Largest tempo change of a step in percent; half and double tempo count as the same. Tracks without a tempo are left out.
    artist_gap : int
        No artist comes twice among so many tracks in a row; 2: not twice running, 1: no such wish.
    keys : {"strict", "extended"}, optional
        Every step goes to a compatible key: the same, one place round the ring, the relative; "extended": the diagonals too.
        Tracks without a key are left out.
    min_score : float, optional
        No transition has a lower score.
    """

    tracks: tuple[int, int] | None = None
    minutes: float | None = None
    minutes_tolerance: float = 0.05
    start: int | None = None
    end: int | None = None
    must: tuple[int, ...] = ()
    apart: tuple[tuple[int, int], ...] = ()
    excluded: tuple[int, ...] = ()
    curve: Curve | None = None
    max_drift: float | None = None
    artist_gap: int = 1
    keys: str | None = None
    min_score: float | None = None

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise WishError(problem)

    def _problem(self) -> str | None:
        if self.tracks is None and self.minutes is None:
            return "Say how long the set should be, in tracks or in minutes."
        if self.tracks is not None and not 1 <= self.tracks[0] <= self.tracks[1]:
            return f"A set has 1 track or more, the fewest first: not {self.tracks[0]}..{self.tracks[1]}."
        if self.minutes is not None and not (math.isfinite(self.minutes) and self.minutes > 0):
            return "The length in minutes has to be more than 0."
        if not 0 <= self.minutes_tolerance < 1:
            return "The tolerance of the length is a share from 0 to 1, such as 0.05."
        if self.max_drift is not None and not (math.isfinite(self.max_drift) and self.max_drift >= 0):
            return "The largest tempo change of a step is a percentage of 0 or more."
        if self.artist_gap < 1:
            return "The artist gap is 1 (no such wish) or more."
        if self.keys not in (None, "strict", "extended"):
            return f"There is no key policy '{self.keys}': strict or extended."
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            return "The lowest score is a number from 0 to 1."
        return None

    @property
    def seconds(self) -> tuple[float, float]:
        """Shortest and longest length in seconds; 0 and infinity without a wish for minutes."""
        if self.minutes is None:
            return 0.0, math.inf
        return 60 * self.minutes * (1 - self.minutes_tolerance), 60 * self.minutes * (1 + self.minutes_tolerance)

    @property
    def required(self) -> tuple[int, ...]:
        """The tracks that have to be in it: start, end and must, each once."""
        ends = [id_ for id_ in (self.start, self.end) if id_ is not None]
        return tuple(dict.fromkeys([*ends, *self.must]))


@dataclass(frozen=True, slots=True)
class Conflict:
    """Wishes that cannot be met together.

    Attributes
    ----------
    wishes : tuple of str
        Their names: "start", "end", "must", "apart", "excluded", "filter", "tracks", "minutes", "max_drift", "artist_gap",
        "keys", "min_score".
    message : str
        What is impossible, and with which tracks.
    remedy : str
        What would help.
    proven : bool
        False: no set was found, but none was proven impossible.
    """

    wishes: tuple[str, ...]
    message: str
    remedy: str
    proven: bool = True

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class WishError(ValueError):
    """A wish that says nothing that could be kept, whatever the tracks; the text says why."""

    exit_code = 2


class InfeasibleError(ValueError):
    """Wishes that cannot be met; `conflicts` says which, and what would help."""

    exit_code = 2

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        super().__init__("No set keeps all wishes. " + " ".join(str(conflict) for conflict in conflicts))
        self.conflicts = tuple(conflicts)
