"""Wishes that cannot be met: which, with which tracks, and what would help.

`plain_conflicts` looks at each wish by itself and counts; `graph_conflicts` looks at which track may follow which. Both say only
what is proven. Where a search found nothing although nothing was proven impossible, `explain_failure` drops one wish after the
other and names those without which there is a set.
"""

from collections import Counter
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.playlists.connections import graph_conflicts
from map4_pipeline.playlists.cost import broken_wishes
from map4_pipeline.playlists.lengths import possible_lengths
from map4_pipeline.playlists.pool import Pool
from map4_pipeline.playlists.problem import Problem, make_problem, usable_rows
from map4_pipeline.playlists.wishes import Conflict, Weights, Wishes

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["explain_failure", "graph_conflicts", "plain_conflicts"]

#: Rounds of the search that tries whether there is a set without a wish, and tracks that it takes.
_TRIAL_ROUNDS, _TRIAL_TRACKS = 20, 1500


def plain_conflicts(pool: Pool, wishes: Wishes) -> list[Conflict]:
    """Return what cannot be met, seen from each wish by itself; the first kind found: no sentence follows from another."""
    for check in (_missing_tracks, _contradictions, _counts, _minutes, _artists):
        found = check(pool, wishes)
        if found:
            return found
    return []


def _missing_tracks(pool: Pool, wishes: Wishes) -> list[Conflict]:
    """Required tracks that are excluded, not among the candidates, or lack a value that a wish needs."""
    place = {int(id_): row for row, id_ in enumerate(pool.ids)}
    asked = [("start", wishes.start), ("end", wishes.end), *(("must", id_) for id_ in wishes.must)]
    found = []
    for wish, id_ in asked:
        if id_ is None:
            continue
        what = {"start": "The start", "end": "The end", "must": "The must-play"}[wish]
        if id_ in wishes.excluded:
            name = pool.names[place[id_]] if id_ in place else f"track {id_}"
            found.append(Conflict((wish, "excluded"), f"{what} ({name}) is excluded.", "Take one of the two wishes back."))
        elif id_ not in place:
            told = f"{what} (track {id_}) is not among the candidates."
            found.append(Conflict((wish, "filter"), told, "Widen the filter, or choose another."))
        else:
            row = place[id_]
            lacks = (
                ("max_drift", "tempo", wishes.max_drift is not None and not np.isfinite(pool.bpm[row])),
                ("keys", "key", wishes.keys is not None and pool.key[row] < 0),
                ("minutes", "length", wishes.minutes is not None and not np.isfinite(pool.duration[row])),
            )
            for other, value, lacking in lacks:
                if lacking:
                    told = f"{what} ({pool.names[row]}) has no known {value}, so {_spelled(other, wishes)} cannot be kept."
                    found.append(Conflict((wish, other), told, f"Correct its {value}, or drop one of the two wishes."))
    return found


def _contradictions(pool: Pool, wishes: Wishes) -> list[Conflict]:
    most = wishes.tracks[1] if wishes.tracks is not None else len(pool)
    least = wishes.tracks[0] if wishes.tracks is not None else 1
    found = []
    if wishes.start is not None and wishes.start == wishes.end and least > 1:
        told = "Start and end are the same track, and a track comes once."
        found.append(Conflict(("start", "end"), told, "Choose another start or end."))
    if len(wishes.required) > most:
        told = f"{len(wishes.required)} tracks have to be in the set (start, end and must-plays), which has {most} at most."
        found.append(Conflict(("must", "tracks"), told, f"Allow {len(wishes.required)} tracks, or drop must-plays."))
    pairs = {frozenset(pair) for pair in wishes.apart}
    if most == 2 and wishes.start is not None and wishes.end is not None and {wishes.start, wishes.end} in pairs:
        told = "Start and end are never to be adjacent, and the set has 2 tracks."
        found.append(Conflict(("apart", "tracks"), told, "Allow a track between them."))
    return found


def _counts(pool: Pool, wishes: Wishes) -> list[Conflict]:
    rows, left_out = usable_rows(pool, wishes)
    least = wishes.tracks[0] if wishes.tracks is not None else 1
    if len(rows) >= least:
        return []
    why = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
    told = f"The set has {least} tracks at least, and there are {len(rows)} candidates{f' (left out: {why})' if why else ''}."
    asked = {"excluded": "excluded", "no tempo": "max_drift", "no key": "keys", "no length": "minutes"}
    wider = "Widen the filter, or ask for fewer tracks."
    return [Conflict(("tracks", "filter", *(asked[reason] for reason in left_out)), told, wider)]


def _minutes(pool: Pool, wishes: Wishes) -> list[Conflict]:
    if wishes.minutes is None:
        return []
    rows, _ = usable_rows(pool, wishes)
    usable = pool.take(rows)
    if possible_lengths(usable, wishes):
        return []
    low, high = (seconds / 60 for seconds in wishes.seconds)
    span = f"{low:.1f} to {high:.1f} minutes"
    required = np.isin(usable.ids, np.array(wishes.required, dtype=np.int64))
    fixed = float(usable.duration[required].sum()) / 60
    if fixed > high:
        told = f"Start, end and must-plays last {fixed:.1f} minutes, and the set {span}."
        return [Conflict(("must", "minutes"), told, f"Ask for {fixed:.0f} minutes or more, or drop must-plays.")]
    if wishes.tracks is None or not possible_lengths(usable, replace(wishes, tracks=None)):
        longest = float(usable.duration.sum()) / 60
        if longest < low:
            told = f"All {len(usable)} candidates together last {longest:.1f} minutes, and the set {span}."
            return [Conflict(("minutes", "filter"), told, "Widen the filter, or ask for fewer minutes.")]
        told = f"No number of the candidates lasts {span}: the shortest is {float(usable.duration.min()) / 60:.1f} minutes long."
        return [Conflict(("minutes",), told, "Allow a larger tolerance, or another length.")]
    others = np.sort(usable.duration[~required]) / 60
    least, most = wishes.tracks
    count = int(required.sum())
    shortest = fixed + float(others[: max(least - count, 0)].sum())
    longest = fixed + float(others[::-1][: max(most - count, 0)].sum())
    numbers = str(least) if least == most else f"{least} to {most}"
    fitting = possible_lengths(usable, replace(wishes, tracks=None))
    told = f"{numbers} tracks of the candidates last from {shortest:.1f} to {longest:.1f} minutes, and the set {span}."
    return [Conflict(("tracks", "minutes"), told, f"With {fitting[0]} to {fitting[-1]} tracks it could be.")]


def _artists(pool: Pool, wishes: Wishes) -> list[Conflict]:
    """Too few artists for so many tracks, or too many must-plays by one of them."""
    gap = wishes.artist_gap
    if gap < 2:
        return []
    rows, _ = usable_rows(pool, wishes)
    usable = pool.take(rows)
    lengths = possible_lengths(usable, wishes)
    counts = np.array(list(Counter(usable.artist.tolist()).values()))

    def room(length: int, apart: int) -> int:
        """Return how many tracks can be placed when each artist has as many as fit."""
        return int(np.minimum(counts, ceil(length / apart)).sum())

    found = []
    if lengths and not any(room(length, gap) >= length for length in lengths):
        least = lengths[0]
        possible = max((apart for apart in range(1, gap) if room(least, apart) >= least), default=1)
        told = f"There are {len(counts)} artists: too few for {least} tracks with no artist twice among {gap} in a row."
        found.append(Conflict(("artist_gap", "tracks"), told, f"An artist gap of {possible} could be kept, or widen the filter."))
    place = {int(id_): row for row, id_ in enumerate(usable.ids)}
    mine = Counter(int(usable.artist[place[id_]]) for id_ in wishes.required)
    longest = lengths[-1] if lengths else 0
    for artist, count in sorted(mine.items()):
        if lengths and count > ceil(longest / gap):
            names = [usable.names[place[id_]] for id_ in wishes.required if usable.artist[place[id_]] == artist]
            told = f"{count} tracks by one artist have to be in the set ({'; '.join(names)}), and {longest} tracks have room for "
            told += f"{ceil(longest / gap)} with no artist twice among {gap} in a row."
            found.append(Conflict(("must", "artist_gap"), told, "Drop one of them, allow more tracks, or a smaller gap."))
    return found


def explain_failure(problem: Problem, seed: int, *, proven: bool) -> list[Conflict]:
    """Return which wishes are in each other's way, by trying without each of them."""
    wishes = problem.wishes
    smaller = _smaller(problem)
    helping = [(name, told) for name, told, without in _without_each(wishes) if _has_set(smaller, without, seed)]
    start = "There is no set" if proven else "No set was found"
    if helping:
        names = tuple(name for name, _ in helping)
        told = f"{start} that keeps all wishes at once."
        return [Conflict(names, told, f"There is one {', or '.join(text for _, text in helping)}.", proven)]
    names = tuple(name for name, _, _ in _without_each(wishes))
    told = f"{start} that keeps all wishes, nor without a single one of them."
    return [Conflict(names, told, "Widen the filter, or drop several wishes.", proven)]


def _without_each(wishes: Wishes) -> list[tuple[str, str, Wishes]]:
    """Return (name, "without ...", the other wishes) for each wish that has any effect."""
    found: list[tuple[str, str, Wishes]] = []
    if wishes.artist_gap > 1:
        found.append(("artist_gap", "without the artist gap", replace(wishes, artist_gap=1)))
    if wishes.max_drift is not None:
        found.append(("max_drift", f"without {_spelled('max_drift', wishes)}", replace(wishes, max_drift=None)))
    if wishes.keys is not None:
        found.append(("keys", f"without {_spelled('keys', wishes)}", replace(wishes, keys=None)))
    if wishes.min_score is not None:
        found.append(("min_score", f"without {_spelled('min_score', wishes)}", replace(wishes, min_score=None)))
    if wishes.apart:
        found.append(("apart", "without the pairs that are never adjacent", replace(wishes, apart=())))
    for id_ in dict.fromkeys(wishes.must):
        rest = tuple(other for other in wishes.must if other != id_)
        found.append(("must", f"without the must-play {id_}", replace(wishes, must=rest)))
    if wishes.start is not None:
        found.append(("start", "without the start", replace(wishes, start=None)))
    if wishes.end is not None:
        found.append(("end", "without the end", replace(wishes, end=None)))
    if wishes.minutes is not None:
        wider = min(4 * max(wishes.minutes_tolerance, 0.05), 0.5)
        if wider > wishes.minutes_tolerance:
            told = f"with a tolerance of {100 * wider:.0f}% for the minutes"
            found.append(("minutes", told, replace(wishes, minutes_tolerance=wider)))
    return found


def _smaller(problem: Problem) -> "tuple[Pool, NDArray[np.float32]]":
    """Return the pool and its scores, of a large one some tracks, start, end and must-plays among them."""
    size = len(problem.pool)
    if size <= _TRIAL_TRACKS:
        return problem.pool, problem.scores
    others = np.setdiff1d(np.arange(size), problem.must)
    chosen = np.random.default_rng(0).choice(others, _TRIAL_TRACKS - len(problem.must), replace=False)
    rows = np.sort(np.concatenate((chosen, np.array(problem.must, dtype=np.intp))))
    return problem.pool.take(rows), problem.scores[np.ix_(rows, rows)]


def _has_set(smaller: "tuple[Pool, NDArray[np.float32]]", wishes: Wishes, seed: int) -> bool:
    from map4_pipeline.playlists.builder import search

    pool, scores = smaller
    if plain_conflicts(pool, wishes):
        return False
    problem = make_problem(pool, scores, wishes, Weights())
    if graph_conflicts(problem):
        return False
    return not broken_wishes(problem, search(problem, seed, _TRIAL_ROUNDS).tolist())


def _spelled(wish: str, wishes: Wishes) -> str:
    return {
        "max_drift": f"a tempo change of at most {wishes.max_drift:g}% a step" if wishes.max_drift is not None else "",
        "keys": f"compatible keys ({wishes.keys})",
        "min_score": f"a score of {wishes.min_score:g} at least" if wishes.min_score is not None else "",
        "minutes": f"a length of {wishes.minutes:g} minutes" if wishes.minutes is not None else "",
    }[wish]
