"""The tracks a set may be made of, as columns."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: "Moby feat. Skylar Grey" is Moby when artists are kept apart.
_GUESTS = re.compile(r"\s*[\(\[]?\s*\b(?:feat|ft|featuring)\b.*", re.IGNORECASE)
_CAMELOT = re.compile(r"(1[0-2]|[1-9])([AB])")


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Candidates in columns; NaN, None or -1 where something is not known.

    Attributes
    ----------
    ids : ndarray of int64, shape (n,)
        What the tracks are called in wishes and results; each once.
    bpm, energy, duration : ndarray of float64, shape (n,)
        Beats a minute, energy in [0, 1], length in seconds; NaN where unknown.
    key : ndarray of int8, shape (n,)
        Place on the Camelot ring, 2 * (number - 1) + (1 for B), so 8A is 14; -1 where unknown.
    artist : ndarray of int64, shape (n,)
        Equal numbers for equal artists; tracks without one have negative numbers, each its own.
    names : tuple of str
        What a track is called in messages.
    """

    ids: "NDArray[np.int64]"
    bpm: "NDArray[np.float64]"
    energy: "NDArray[np.float64]"
    duration: "NDArray[np.float64]"
    key: "NDArray[np.int8]"
    artist: "NDArray[np.int64]"
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: "NDArray[np.intp]") -> "Pool":
        """Return some of the tracks, in the order given."""
        names = tuple(self.names[row] for row in rows)
        return Pool(
            self.ids[rows], self.bpm[rows], self.energy[rows], self.duration[rows], self.key[rows], self.artist[rows], names
        )


def make_pool(
    ids: Sequence[int],
    *,
    bpm: Sequence[float | None],
    energy: Sequence[float | None],
    duration: Sequence[float | None],
    camelot: Sequence[str | None],
    artist: Sequence[str | None],
    names: Sequence[str] | None = None,
) -> Pool:
    """Return a pool from lists as a database gives them.

    Raises
    ------
    ValueError
        When an id comes twice or the columns differ in length.
    """
    count = len(ids)
    if len(set(ids)) != count:
        raise ValueError("a track comes twice in the pool")
    if any(len(column) != count for column in (bpm, energy, duration, camelot, artist)):
        raise ValueError("the columns of a pool have one length")
    tempo = _numbers(bpm)
    tempo[~(tempo > 0)] = np.nan
    length = _numbers(duration)
    length[~(length > 0)] = np.nan
    keys = np.array([_place(text) for text in camelot], dtype=np.int8)
    shown = tuple(names) if names is not None else tuple(f"track {id_}" for id_ in ids)
    return Pool(np.array(ids, dtype=np.int64), tempo, _numbers(energy), length, keys, artist_codes(artist), shown)


def artist_codes(artists: Sequence[str | None]) -> "NDArray[np.int64]":
    """Return a number for each artist: case, accents' spelling and guests ("feat. ...") make no difference."""
    codes: dict[str, int] = {}
    found = np.empty(len(artists), dtype=np.int64)
    for row, artist in enumerate(artists):
        folded = folded_artist(artist)
        found[row] = codes.setdefault(folded, len(codes)) if folded else -row - 1
    return found


def folded_artist(artist: str | None) -> str:
    """Return an artist's name as names are compared, "" for none."""
    text = unicodedata.normalize("NFKC", artist or "").strip()
    return " ".join((_GUESTS.sub("", text) or text).casefold().split())


def _place(camelot: str | None) -> int:
    match = _CAMELOT.fullmatch(camelot or "")
    return -1 if match is None else 2 * (int(match[1]) - 1) + (match[2] == "B")


def _numbers(values: Sequence[float | None]) -> "NDArray[np.float64]":
    found = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    found[~np.isfinite(found)] = np.nan
    return found
