"""Playlists in PostgreSQL: order, qualities, edits, candidates."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from sqlalchemy import Connection, Engine, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from map4_pipeline.store import playlists as store
from map4_pipeline.store.candidates import candidates, mix_rows
from map4_pipeline.store.directories import register_directories
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.libraries import register_library
from map4_pipeline.store.query import parse_query
from map4_pipeline.store.schema import directories, duplicate_groups, duplicate_members, playlist_tracks, playlists, tracks


@pytest.fixture
def ids(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    """Eight tracks; the last two have the same audio, the seventh is hidden."""
    root = tmp_path_factory.mktemp("Music")
    with engine.begin() as conn:
        library = register_library(conn, root)
        register_directories(conn, library, [b"album"])
        directory = conn.execute(select(directories.c.id)).scalar_one()
        rows = [
            {
                "library_id": library.id,
                "directory_id": directory,
                "relative_path": f"album/{n}.mp3".encode(),
                "file_path": f"{root}/album/{n}.mp3",
                "file_name": f"{n}.mp3",
                "status": "ok",
                "title": f"Title {n}",
                "artist": f"Artist {n % 3}",
                "genre": "House" if n < 6 else "Jazz",
                "bpm": 120.0 + n,
                "duration": 300.0,
                "audio_hash": f"{min(n, 8):064}",
            }
            for n in range(1, 10)
        ]
        found = list(conn.scalars(insert(tracks).returning(tracks.c.id), rows))
        conn.execute(update(tracks).where(tracks.c.id == found[6]).values(hidden_at=text("now()")))
    return sorted(found)


def add_group(conn: Connection, kind: str, members: list[int], keeper: int | None = None, state: str = "open") -> None:
    """A group of duplicates as the asset writes it."""
    group = insert(duplicate_groups).values(kind=kind, keeper_track_id=keeper, state=state).returning(duplicate_groups.c.id)
    number = conn.execute(group).scalar_one()
    conn.execute(insert(duplicate_members), [{"group_id": number, "track_id": member} for member in members])


def ratio(order: Sequence[int]) -> list[float | None]:
    """Scores that tell the pair: the lower id over the higher, as a share."""
    return [min(a, b) / max(a, b) for a, b in pairwise(order)]


def stored(engine: Engine, playlist_id: int) -> list[tuple[int, int, float | None]]:
    p = playlist_tracks.c
    with engine.connect() as conn:
        query = select(p.position, p.track_id, p.transition_quality).where(p.playlist_id == playlist_id).order_by(p.position)
        return [tuple(row) for row in conn.execute(query)]  # type: ignore[misc]


def expected(order: Sequence[int]) -> list[tuple[int, int, float | None]]:
    return [(place, id_, quality) for place, (id_, quality) in enumerate(zip(order, [None, *ratio(order)], strict=True), 1)]


def test_a_set_keeps_what_was_wished_and_what_it_cost(engine: Engine, ids: list[int]) -> None:
    wished = {"wishes": {"tracks": [3, 3], "must": [ids[0]]}, "note": "NUL \0 and \ud800"}
    with engine.begin() as conn:
        made = store.create_playlist(
            conn, " Friday ", ids[:3], qualities=[0.5, 1.0], kind="set", parameters=wished, seed=7, cost={"total": 0.1}
        )
    with engine.connect() as conn:
        found = store.find_playlist(conn, "Friday")
        assert found == made
        entries = store.entries(conn, made.id)
    assert (found.name, found.kind, found.seed, found.cost) == ("Friday", "set", 7, {"total": 0.1})
    assert (found.parameters or {})["wishes"] == wished["wishes"]
    assert (found.tracks, found.seconds) == (3, 900.0)
    assert [entry.track["title"] for entry in entries] == ["Title 1", "Title 2", "Title 3"]
    assert [entry.transition_quality for entry in entries] == [None, 0.5, 1.0]


def test_every_edit_leaves_positions_without_gaps_and_new_qualities(engine: Engine, ids: list[int]) -> None:
    with engine.begin() as conn:
        made = store.create_playlist(conn, "Mine", ids[:4], qualities=ratio(ids[:4]))
    order = ids[:4]
    for edit, args, after in (
        (store.move_track, (1, 4), [order[1], order[2], order[3], order[0]]),
        (store.move_track, (4, 2), [order[1], order[0], order[2], order[3]]),
        (store.move_track, (3, 3), [order[1], order[0], order[2], order[3]]),
        (store.add_tracks, ([ids[4], ids[5]], 2), [order[1], ids[4], ids[5], order[0], order[2], order[3]]),
        (store.add_tracks, ([ids[7]], None), [order[1], ids[4], ids[5], order[0], order[2], order[3], ids[7]]),
        (store.remove_positions, ([1, 7],), [ids[4], ids[5], order[0], order[2], order[3]]),
    ):
        with engine.begin() as conn:
            assert edit(conn, made.id, *args, ratio) == after  # type: ignore[operator]
        assert stored(engine, made.id) == expected(after)


def test_an_edited_set_is_no_longer_what_was_built(engine: Engine, ids: list[int]) -> None:
    with engine.begin() as conn:
        made = store.create_playlist(conn, "Built", ids[:3], kind="set")
    with engine.begin() as conn:
        store.rename_playlist(conn, made.id, "Named")
        store.describe_playlist(conn, made.id, "for Friday")
        assert store.find_by_id(conn, made.id).kind == "set"
    with engine.begin() as conn:
        store.move_track(conn, made.id, 1, 3)
        found = store.find_by_id(conn, made.id)
    assert (found.kind, found.name, found.description) == ("edited", "Named", "for Friday")
    assert found.updated_at > made.updated_at


def test_qualities_are_worked_out_anew(engine: Engine, ids: list[int]) -> None:
    with engine.begin() as conn:
        made = store.create_playlist(conn, "Old", ids[:3], qualities=[0.25, ratio(ids[1:3])[0]])
    with engine.begin() as conn:
        assert store.rescore(conn, made.id, ratio) == 1
        assert store.rescore(conn, made.id, ratio) == 0
    assert stored(engine, made.id) == expected(ids[:3])


def test_a_folder_that_cannot_be_opened_is_no_track(engine: Engine, ids: list[int]) -> None:
    with engine.connect() as conn:
        closed = {"status": "failed", "error_kind": "unreadable_folder"}
        conn.execute(update(tracks).where(tracks.c.id == ids[1]).values(**closed))
        with pytest.raises(StoreError, match="a folder that cannot be opened"):
            store.create_playlist(conn, "Closed", ids[:3])


def test_names_and_numbers(engine: Engine, ids: list[int]) -> None:
    with engine.begin() as conn:
        first = store.create_playlist(conn, "Twice")
        second = store.create_playlist(conn, "Twice")
        digits = store.create_playlist(conn, str(first.id + 100))
        assert store.find_playlist(conn, str(first.id)).id == first.id
        assert store.find_playlist(conn, f"{first.id + 100}").id == digits.id
        with pytest.raises(StoreError, match=rf"by its number:\n  {first.id}  0 tracks, 0 min, made 2.*\n  {second.id}  "):
            store.find_playlist(conn, "Twice")
        odd = store.create_playlist(conn, "Caf\udce9")
        assert store.find_playlist(conn, "Caf\udce9") == odd
        store.delete_playlist(conn, odd.id)
        for nothing in ("nobody", "99999999999999", "٣"):
            with pytest.raises(StoreError, match="map4 playlist list"):
                store.find_playlist(conn, nothing)
        assert [found.name for found in store.list_playlists(conn)] == [digits.name, "Twice", "Twice"]
        with pytest.raises(StoreError, match="needs a name"):
            store.create_playlist(conn, "  ")


@pytest.mark.parametrize("position", [0, 4, -1])
def test_positions_that_do_not_exist(engine: Engine, ids: list[int], position: int) -> None:
    with engine.begin() as conn:
        made = store.create_playlist(conn, "Three", ids[:3])
        with pytest.raises(StoreError, match="from 1 to 3"):
            store.remove_positions(conn, made.id, [position])
        with pytest.raises(StoreError, match="from 1 to 3"):
            store.move_track(conn, made.id, position, 1)
        with pytest.raises(StoreError, match="There is no track 123456"):
            store.add_tracks(conn, made.id, [123456])


def test_deleting_a_playlist_leaves_its_tracks(engine: Engine, ids: list[int]) -> None:
    with engine.begin() as conn:
        made = store.create_playlist(conn, "Gone", ids[:3])
        store.delete_playlist(conn, made.id)
        with pytest.raises(StoreError):
            store.find_by_id(conn, made.id)
        assert len(mix_rows(conn, ids)) == len(ids)
    assert stored(engine, made.id) == []


@pytest.mark.parametrize("values", [{"name": " "}, {"name": "x", "kind": "other"}])
def test_the_database_refuses_what_is_no_playlist(engine: Engine, values: dict[str, str]) -> None:
    with engine.connect() as conn, pytest.raises(IntegrityError):
        conn.execute(insert(playlists).values(**values))


def test_candidates_are_what_the_query_finds_without_copies(engine: Engine, ids: list[int]) -> None:
    with engine.connect() as conn:
        house = candidates(conn, parse_query("genre:house"))
        assert [row["track_id"] for row in house.rows] == ids[:5]
        assert house.rows[0]["bpm"] == 121.0
        everything = candidates(conn, parse_query(""))
        # The hidden one is not found; of the two with the same audio the first stays ...
        assert [row["track_id"] for row in everything.rows] == [*ids[:6], ids[7]]
        assert (everything.found, everything.copies, everything.not_drawn) == (8, 1, 0)
        # ... unless the other one is asked for.
        assert [row["track_id"] for row in candidates(conn, parse_query(""), [ids[8]]).rows] == [*ids[:6], ids[8]]
        with pytest.raises(StoreError, match="There is no track 123456"):
            candidates(conn, parse_query(""), [123456])


def test_a_file_that_ends_early_is_no_candidate_unless_it_is_named(engine: Engine, ids: list[int]) -> None:
    with engine.connect() as conn:
        finding = [{"code": "truncated", "message": "The file ends early: 10.0 s could be decoded.", "value": 10.0}]
        # The second of two with the same audio is whole; the last one but clips.
        conn.execute(update(tracks).where(tracks.c.id.in_([ids[1], ids[7]])).values(findings=finding))
        conn.execute(update(tracks).where(tracks.c.id == ids[2]).values(findings=[{"code": "clipping", "value": 1.0}]))
        found = candidates(conn, parse_query(""))
        assert [row["track_id"] for row in found.rows] == [ids[0], *ids[2:6], ids[8]]
        assert (found.found, found.copies, found.cut_off) == (8, 0, 2)
        named = candidates(conn, parse_query(""), [ids[1]])
        assert ids[1] in [row["track_id"] for row in named.rows]
        assert named.cut_off == 1


@pytest.mark.parametrize("state", ["open", "keep", "ignore"])
def test_of_a_recording_the_copy_to_keep_is_the_candidate(engine: Engine, ids: list[int], state: str) -> None:
    with engine.connect() as conn:
        # The last two have the same audio; nobody has put the last into the group yet.
        add_group(conn, "same_recording", [ids[1], ids[3], ids[7]], keeper=ids[3], state=state)
        add_group(conn, "other_version", [ids[3], ids[4]])
        found = candidates(conn, parse_query(""))
        assert [row["track_id"] for row in found.rows] == [ids[0], *ids[2:6]]
        assert (found.found, found.copies) == (8, 3)
        # What has to be played is played in the file that was named, and in each of two.
        for wanted in ([ids[8]], [ids[1]], [ids[1], ids[7]]):
            rows = candidates(conn, parse_query(""), wanted).rows
            assert [row["track_id"] for row in rows] == sorted([ids[0], ids[2], ids[4], ids[5], *wanted])
        # The filter leaves the one to keep out, and its copies are fewer.
        assert [row["track_id"] for row in candidates(conn, parse_query("bpm:121..123")).rows] == ids[:3]


def test_what_somebody_decided_to_be_no_copies_is_played(engine: Engine, ids: list[int]) -> None:
    with engine.connect() as conn:
        add_group(conn, "same_recording", [ids[1], ids[3], ids[7], ids[8]], keeper=ids[3], state="not_duplicates")
        # The same sound data is the same recording, whatever anybody says.
        assert [row["track_id"] for row in candidates(conn, parse_query("")).rows] == [*ids[:6], ids[7]]


def test_of_too_many_candidates_the_seed_draws_some(engine: Engine, ids: list[int]) -> None:
    with engine.connect() as conn:
        first, again = (candidates(conn, parse_query(""), [ids[0]], 3, seed=5) for _ in range(2))
        draws = {tuple(row["track_id"] for row in candidates(conn, parse_query(""), [ids[0]], 3, seed=n).rows) for n in range(9)}
    assert first == again
    assert len(first.rows) == 3
    assert first.not_drawn == 4
    assert all(ids[0] in draw for draw in draws)
    assert len(draws) > 1
