"""What an analysis leaves out of some directories, and when it ends early."""

from collections.abc import Callable
from dataclasses import dataclass

from map4_pipeline.store.directories import Directory


@dataclass(frozen=True, slots=True)
class Limits:
    """What an analysis leaves out, and when it ends early.

    Attributes
    ----------
    only : frozenset of bytes or None
        Relative paths of the only files that are analysed.
    wait : bool
        Wait for directories that another process has in hand.
    stop : callable or None
        Asked several times a second; once it is true, what is in hand is given up, and what was done is kept.
    leave : callable or None
        Asked before every file of a directory, so it has to answer at once; where it is true the rest of the directory stays
        pending, and what is in hand is finished.
    """

    only: frozenset[bytes] | None = None
    wait: bool = True
    stop: Callable[[], bool] | None = None
    leave: Callable[[Directory], bool] | None = None


#: Nothing is left out, and it ends when all is done.
NO_LIMITS = Limits()
