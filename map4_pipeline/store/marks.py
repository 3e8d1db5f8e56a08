"""Marks of pages: where a list goes on, as a word that an address can carry.

A page is cut by the last row's sorted value and id (keyset), not by an offset. What comes back in a mark is somebody's input: it
is read as strictly as any other, so that no mark makes PostgreSQL fail.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from math import isfinite
from typing import Any, TypeVar
from uuid import UUID

from map4_pipeline.store.errors import StoreError

_Row = TypeVar("_Row")
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


class MarkError(StoreError):
    """A mark is none that such a list gave."""

    def __init__(self) -> None:
        super().__init__("This page does not exist: its mark is not one that this list gave.")


def mark(*values: Any) -> str:
    """Return the mark of the row with these sorted values; each may be text, number, time, UUID or None."""
    plain = [value if isinstance(value, str | int | float | None) else _text(value) for value in values]
    encoded = json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(encoded).decode().rstrip("=")


def read_mark(after: str, *kinds: type, optional: bool = False) -> tuple[Any, ...]:
    """Return the values of a mark.

    Parameters
    ----------
    kinds : type
        What each is: str, int, float, datetime or UUID.
    optional : bool
        The first may be None.

    Raises
    ------
    MarkError
        When it is no mark of values of these kinds.
    """
    try:
        padded = after + "=" * (-len(after) % 4)
        values = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        if not isinstance(values, list) or len(values) != len(kinds):
            raise ValueError
        first = optional and values[0] is None
        return tuple(
            None if first and place == 0 else _value(value, kind)
            for place, (value, kind) in enumerate(zip(values, kinds, strict=True))
        )
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error):
        raise MarkError from None


def cut(rows: Sequence[_Row], limit: int | None, place: Callable[[_Row], tuple[Any, ...]]) -> tuple[list[_Row], str | None]:
    """Return the rows of a page, and the mark of the next page (None: this was the last).

    Parameters
    ----------
    rows : sequence
        One more than fits was asked for.
    place : callable
        The sorted values of a row.
    """
    page = list(rows[:limit])
    return page, mark(*place(page[-1])) if len(rows) > len(page) else None


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _value(value: Any, kind: type) -> Any:
    if kind in (datetime, UUID, str):
        if not isinstance(value, str) or _NOT_STORABLE.search(value):
            raise ValueError
        return value if kind is str else datetime.fromisoformat(value) if kind is datetime else UUID(value)
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        raise ValueError
    # The range of PostgreSQL's bigint and real; what is nearer to zero than any real number is an error there as well.
    if (kind is int and abs(value) >= 2**63) or (kind is float and not (isfinite(value) and abs(value) < 3e38)):
        raise ValueError
    return 0.0 if kind is float and abs(value) < 1e-37 else kind(value)
