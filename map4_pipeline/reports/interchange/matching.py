"""Which track of the library is meant by another program's entry: by path, else by name, length and tags; never by a guess."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

#: Seconds by which two programs may differ on the length of the same file (rounding, encoder padding).
_CLOSE = 2.0

#: What an entry may be matched by, strongest first.
MATCHED_BY = (
    "path",
    "path in another spelling",
    "earlier import",
    "name and size",
    "name and length",
    "title, artist and length",
)


@dataclass(frozen=True, slots=True)
class Known:
    """A track of the library; `path` is absolute, on this machine."""

    id: int
    path: bytes
    size_bytes: int | None
    duration: float | None
    title: str | None
    artist: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """An entry whose track is sought; `path` as it would be on this machine, `earlier` the track it was found to be before."""

    ref: int
    path: bytes
    size_bytes: int | None = None
    size_step: int = 1
    duration: float | None = None
    title: str | None = None
    artist: str | None = None
    earlier: int | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """What was found: a track and by what (`MATCHED_BY`), or several candidates, or nothing."""

    track: Known | None = None
    by: str | None = None
    candidates: tuple[Known, ...] = ()


def match_tracks(tracks: Iterable[Known], wanted: Sequence[Wanted]) -> dict[int, Match]:
    """Return what was found for each entry, by its `ref`.

    A track is taken once, by the strongest evidence. Where several tracks are as likely, or several entries mean the same track
    on the same weak evidence, none is chosen.
    """
    every = list(tracks)
    by_id = {track.id: track for track in every}
    found: dict[int, Match] = {}
    taken: set[int] = set()
    open_ = list(wanted)
    looks: list[Callable[[], Callable[[Wanted], Iterable[Known]]]] = [
        lambda: _look(every, lambda track: track.path, lambda one: one.path),
        lambda: _look(every, lambda track: folded(track.path), lambda one: folded(one.path)),
        lambda: lambda one: [by_id[one.earlier]] if one.earlier in by_id else [],
        lambda: _look(every, lambda track: _name(track.path), lambda one: _name(one.path), _same_size),
        lambda: _look(every, lambda track: _name(track.path), lambda one: _name(one.path), _same_length),
        lambda: _look(every, _tags, _tags, _same_length),
    ]
    for by, look in zip(MATCHED_BY, looks, strict=True):
        if not open_:
            break
        search = look()
        proposals = {one.ref: [track for track in search(one) if track.id not in taken] for one in open_}
        claims: dict[int, int] = defaultdict(int)
        for tracks_ in proposals.values():
            if len(tracks_) == 1:
                claims[tracks_[0].id] += 1
        for ref, candidates in proposals.items():
            if len(candidates) == 1 and claims[candidates[0].id] == 1:
                found[ref] = Match(candidates[0], by)
                taken.add(candidates[0].id)
            elif candidates:
                found[ref] = Match(candidates=tuple(candidates))
        open_ = [one for one in open_ if one.ref not in found]
    return found | {one.ref: Match() for one in open_}


def _look(
    tracks: list[Known],
    of_track: Callable[[Known], Hashable],
    of_entry: Callable[[Wanted], Hashable],
    fits: Callable[[Known, Wanted], bool] = lambda track, one: True,
) -> Callable[[Wanted], Iterable[Known]]:
    index: dict[Hashable, list[Known]] = defaultdict(list)
    for track in tracks:
        key = of_track(track)
        if key is not None:
            index[key].append(track)
    return lambda one: [track for track in index.get(of_entry(one), ()) if fits(track, one)]


def folded(path: bytes) -> str:
    """Return a path in one spelling: macOS and Windows do not tell case apart, and macOS splits letters from their accents."""
    return unicodedata.normalize("NFC", path.decode("utf-8", "surrogateescape")).casefold()


def _name(path: bytes) -> str | None:
    return folded(path.rpartition(b"/")[2]) or None


def _tags(one: "Known | Wanted") -> tuple[str, str] | None:
    if not one.title or not one.artist:
        return None
    title, artist = (unicodedata.normalize("NFC", text).casefold().strip() for text in (one.title, one.artist))
    return title, artist


def _same_size(track: Known, one: Wanted) -> bool:
    if track.size_bytes is None or one.size_bytes is None:
        return False
    return abs(track.size_bytes - one.size_bytes) < one.size_step


def _same_length(track: Known, one: Wanted) -> bool:
    return track.duration is not None and one.duration is not None and abs(track.duration - one.duration) <= _CLOSE
