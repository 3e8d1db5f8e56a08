"""Which tracks are one recording, for whatever offers music to be played: nobody wants to hear a recording twice.

Copies are tracks of the same sound data, and those of one group of duplicates unless somebody decided that it holds none. Other
versions of a piece (a remix, a live take) are recordings of their own. What groups are and how they are found is in
`store.duplicates`.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from map4_pipeline.store.duplicate_decisions import VERSION_KIND

#: As text: it is part of every question for similar tracks, and building the statement took longer than its answer.
GROUPED = f"""
    tracks AS t LEFT JOIN (
        duplicate_members AS m
        JOIN duplicate_groups AS g ON g.id = m.group_id AND g.kind <> '{VERSION_KIND}' AND g.state <> 'not_duplicates'
    ) ON m.track_id = t.id
"""
#: What `Recorded` has, of `GROUPED`.
RECORDED = "t.id, t.audio_hash, m.group_id, g.keeper_track_id"
_RECORDED = f"SELECT {RECORDED} FROM {GROUPED} WHERE t.id = ANY(CAST(%s AS bigint[]))"  # noqa: S608 (names are ours)


class Recorded(NamedTuple):
    """A track, its sound data, and the group of copies that it is in."""

    id: int
    audio_hash: str | None
    group_id: int | None
    keeper_id: int | None


def without_copies(
    conn: Connection, ids: Sequence[int], *, wanted: Collection[int] = (), heard: Collection[int] = ()
) -> list[int]:
    """Return tracks in their order, each recording once. One query, however many there are.

    Of copies the one to keep stays, as the group of duplicates has it; where it is not among them, the first. It takes the place
    of the first.

    Parameters
    ----------
    wanted : collection of int
        Of these all stay that are among `ids`, and no other copies of them.
    heard : collection of int
        Recordings of which nothing stays.
    """
    rows = conn.exec_driver_sql(_RECORDED, (list({*ids, *heard}),))
    return drop_copies(ids, map(Recorded._make, rows), wanted=wanted, heard=heard)


def drop_copies(
    ids: Sequence[int], rows: Iterable[Recorded], *, wanted: Collection[int] = (), heard: Collection[int] = ()
) -> list[int]:
    """Return the same from what was read of these tracks, those of `heard` too."""
    recordings, keepers = _recordings(list(rows))
    told = {recordings.get(id_) for id_ in heard} - {None}
    asked = {recordings[id_] for id_ in ids if id_ in wanted and id_ in recordings}
    among = {recordings[id_]: id_ for id_ in ids if id_ in keepers and id_ in recordings}
    kept = []
    for id_ in ids:
        recording = recordings.get(id_)
        if recording in told:
            continue
        if recording in asked:
            if id_ in wanted:
                kept.append(id_)
            continue
        if recording is None:
            kept.append(id_)
        else:
            told.add(recording)
            kept.append(among.get(recording, id_))
    return kept


def _recordings(rows: Sequence[Recorded]) -> tuple[dict[int, int], set[int]]:
    """Return the number of the recording of each track that has copies or might, and which are the ones to keep."""
    # A track is in one group of copies at most, and tracks of the same audio may be in none yet: a group is what is in it and
    # whatever sounds the same.
    groups: dict[str, int] = {audio: group for _, audio, group, _ in rows if audio and group is not None}
    numbers: dict[str | int, int] = {}
    recordings: dict[int, int] = {}
    for id_, audio, group, _ in rows:
        name = group if group is not None else groups.get(audio, audio) if audio else None
        if name is not None:
            recordings[id_] = numbers.setdefault(name, len(numbers))
    return recordings, {keeper for *_, keeper in rows if keeper is not None}
