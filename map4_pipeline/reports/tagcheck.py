"""Where a file's tags disagree with what was measured.

Tags are compared after rounding (a float written as an integer is no conflict) and tempi within MIREX's 4%. Half and double
tempo and the like are conflicts of their own kind, because a DJ decides on them by ear.
"""

import math
from typing import Literal

from map4_pipeline.hamms.camelot import parse_key, to_camelot

#: Relative tolerance of the MIREX tempo task.
TEMPO_TOLERANCE = 0.04

BpmConflict = Literal["ratio", "different"]


def bpm_conflict(measured: float | None, tag: float | None) -> BpmConflict | None:
    """Compare a measured tempo with the tag's.

    Returns
    -------
    "ratio" when the two stand as 2:1, 3:1, 3:2 or 4:3 (126 read as 84, 140 as 70), "different" otherwise, None when they
    agree or one is unknown.
    """
    if not measured or not tag or not math.isfinite(measured) or not math.isfinite(tag) or measured <= 0 or tag <= 0:
        return None
    ratio = measured / tag
    # Half a beat a minute: what rounding to whole numbers can make.
    if abs(measured - tag) <= 0.5 or abs(ratio - 1) <= TEMPO_TOLERANCE:
        return None
    larger = max(ratio, 1 / ratio)
    return "ratio" if any(abs(larger / factor - 1) <= TEMPO_TOLERANCE for factor in (2, 3, 1.5, 4 / 3)) else "different"


def camelot_of(text: str | None) -> str | None:
    """Return the Camelot code of a key as people write it ("Am", "A minor", "8A", "1m"); None for what is not a key.

    A tag that nobody can read is no conflict.
    """
    return to_camelot(parse_key(text))


def key_conflict(camelot: str | None, tag: str | None) -> str | None:
    """Return the tag's Camelot code if it is readable and differs from the measured one, else None."""
    claimed = camelot_of(tag)
    return claimed if camelot and claimed and claimed != camelot else None
