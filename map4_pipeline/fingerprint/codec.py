"""The compressed form of a Chromaprint: a list of 32-bit items to and from the text that fpcalc prints.

Layout: one byte algorithm, three bytes count (big-endian), then, for every item, the positions of the bits in which it differs
from the one before it, each as the distance to the position before, 3 bits wide, 0 ending the item. A distance of 7 and more is
written as 7 with the rest in a second list of 5-bit values that follows, padded to a byte, behind the first. Bits fill bytes from
the lowest up. The text is URL-safe base64 without padding.
"""

import base64
import binascii
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Chromaprint's default algorithm ("TEST2"), the one AcoustID uses.
ALGORITHM = 1
_NORMAL_BITS, _NORMAL_MAX, _EXCEPTION_BITS = 3, 7, 5


def encode(items: "NDArray[np.uint32]", algorithm: int = ALGORITHM) -> str:
    """Return the compressed text of a fingerprint.

    Parameters
    ----------
    items : ndarray of uint32
    algorithm : int
        0 to 255.
    """
    items = np.asarray(items, dtype=np.uint32)
    changed = items.copy()
    changed[1:] ^= items[:-1]
    bits = (changed[:, None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)
    row, column = np.nonzero(bits)
    # Distances to the bit before in the same item; positions count from 1.
    first = np.ones(len(row), dtype=bool)
    first[1:] = row[1:] != row[:-1]
    distance = column + 1
    distance[1:] -= np.where(first[1:], 0, column[:-1] + 1)
    # Every item ends with a 0: a bit's place in the list is moved on by the items that have ended before it.
    normal = np.zeros(len(row) + len(items), dtype=np.uint8)
    normal[np.arange(len(row)) + row] = np.minimum(distance, _NORMAL_MAX)
    rest = distance[distance >= _NORMAL_MAX] - _NORMAL_MAX
    header = bytes([algorithm & 255]) + len(items).to_bytes(3, "big")
    packed = header + _pack(normal, _NORMAL_BITS) + _pack(rest.astype(np.uint8), _EXCEPTION_BITS)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode("ascii")


def decode(text: str) -> "NDArray[np.uint32]":
    """Return the items of a compressed fingerprint.

    Raises
    ------
    ValueError
        When `text` is no complete fingerprint.
    """
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not a fingerprint: invalid base64") from error
    if len(raw) < 4:
        raise ValueError("not a fingerprint: no header")
    count = int.from_bytes(raw[1:4], "big")
    normal = _unpack(raw[4:], _NORMAL_BITS)
    ends = np.flatnonzero(normal == 0)[:count]
    if len(ends) < count:
        raise ValueError("not a fingerprint: it ends early")
    used = int(ends[-1]) + 1 if count else 0
    values = normal[:used].astype(np.int64)
    wide = np.flatnonzero(values == _NORMAL_MAX)
    if len(wide):
        rest = _unpack(raw[4 + (used * _NORMAL_BITS + 7) // 8 :], _EXCEPTION_BITS)
        if len(rest) < len(wide):
            raise ValueError("not a fingerprint: it ends early")
        values[wide] += rest[: len(wide)]
    item = np.cumsum(values == 0) - (values == 0)
    # Position of a bit: the sum of the distances since its item began.
    total = np.cumsum(values)
    base = np.concatenate([[0], total[ends]])[item] if count else total
    is_bit = values > 0
    position = (total - base)[is_bit] - 1
    if len(position) and int(position.max()) > 31:
        raise ValueError("not a fingerprint: a bit beyond the 32nd")
    changed = np.zeros(count, dtype=np.uint32)
    np.bitwise_or.at(changed, item[is_bit], np.uint32(1) << position.astype(np.uint32))
    return np.asarray(np.bitwise_xor.accumulate(changed), dtype=np.uint32) if count else changed


def algorithm_of(text: str) -> int:
    """Return the algorithm number in a fingerprint's first byte."""
    return base64.urlsafe_b64decode(text[:4])[0]


def _pack(values: "NDArray[np.uint8]", width: int) -> bytes:
    bits = (values[:, None] >> np.arange(width, dtype=np.uint8)) & np.uint8(1)
    return np.packbits(bits.reshape(-1), bitorder="little").tobytes()


def _unpack(data: bytes, width: int) -> "NDArray[np.uint8]":
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    rows = bits[: len(bits) // width * width].reshape(-1, width)
    return np.asarray((rows << np.arange(width, dtype=np.uint8)).sum(axis=1), dtype=np.uint8)
