"""How alike two Chromaprints are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.fingerprint.codec import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: AcoustID's rules: at most this many items of shift, 2 bit errors an item, 7 s of difference in length.
MAX_SHIFT = 120
MAX_BIT_ERRORS = 2.0
MAX_LENGTH_DIFFERENCE = 7.0
#: Seconds an item: 1365 samples at 11,025 Hz.
ITEM_SECONDS = 1365 / 11025
#: Overlap below this (10 s) says nothing.
_MIN_OVERLAP = 80


@dataclass(frozen=True, slots=True)
class Match:
    """The best alignment of two fingerprints.

    Attributes
    ----------
    bit_error_rate : float
        Share of differing bits in the overlap, in [0, 1]; 0.5 for unrelated audio.
    shift : int
        Items by which the second lies later than the first.
    overlap : int
        Items compared.
    """

    bit_error_rate: float
    shift: int
    overlap: int

    @property
    def is_same_recording(self) -> bool:
        """Whether the bit errors are within AcoustID's limit of 2 in 32."""
        return self.overlap > 0 and self.bit_error_rate * 32 <= MAX_BIT_ERRORS


def items_of(fingerprint: "str | NDArray[np.uint32]") -> "NDArray[np.uint32]":
    """Return the items of a fingerprint, compressed or not."""
    return decode(fingerprint) if isinstance(fingerprint, str) else np.asarray(fingerprint, dtype=np.uint32)


def bit_error_rate(first: "str | NDArray[np.uint32]", second: "str | NDArray[np.uint32]", max_shift: int = 0) -> float:
    """Return the lowest share of differing bits over shifts of up to `max_shift` items."""
    return match(first, second, max_shift).bit_error_rate


def match(first: "str | NDArray[np.uint32]", second: "str | NDArray[np.uint32]", max_shift: int = MAX_SHIFT) -> Match:
    """Align two fingerprints and compare them.

    Shifts are tried from -`max_shift` to `max_shift`; an overlap of less than 10 s (of shorter fingerprints: half) is ignored.
    """
    a, b = items_of(first), items_of(second)
    shortest = min(len(a), len(b))
    if shortest == 0:
        return Match(1.0, 0, 0)
    needed = min(_MIN_OVERLAP, (shortest + 1) // 2)
    best = Match(1.0, 0, 0)
    for shift in sorted(range(-max_shift, max_shift + 1), key=abs):
        start_a, start_b = max(0, -shift), max(0, shift)
        overlap = min(len(a) - start_a, len(b) - start_b)
        if overlap < needed:
            continue
        differing = np.bitwise_count(a[start_a : start_a + overlap] ^ b[start_b : start_b + overlap])
        rate = int(differing.sum(dtype=np.int64)) / (32 * overlap)
        if best.overlap == 0 or rate < best.bit_error_rate:
            best = Match(rate, shift, overlap)
        if rate == 0.0:
            break
    return best


def is_duplicate(
    first: "str | NDArray[np.uint32]", second: "str | NDArray[np.uint32]", first_duration: float, second_duration: float
) -> bool:
    """Return whether two tracks are the same recording by AcoustID's rules: length within 7 s, 2 bit errors an item."""
    if abs(first_duration - second_duration) > MAX_LENGTH_DIFFERENCE:
        return False
    return match(first, second).is_same_recording
