"""Similar tracks out of a real database: exact, filtered, and never behind what another process wrote."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, delete, insert, select, text, update

from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.hamms.camelot import KEYS, to_camelot
from map4_pipeline.hamms.similarity import compare, embed_tracks
from map4_pipeline.hamms.transition import TransitionRules
from map4_pipeline.hamms.vector import normalised_bpm, normalised_key
from map4_pipeline.store import columns
from map4_pipeline.store import similar as module
from map4_pipeline.store.database import driver_url, make_engine
from map4_pipeline.store.directories import register_directories
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.held_columns import SearchColumns
from map4_pipeline.store.libraries import register_library
from map4_pipeline.store.lookup import candidates
from map4_pipeline.store.query import parse_query
from map4_pipeline.store.schema import directories, duplicate_groups, duplicate_members, tracks
from map4_pipeline.store.similar import index_of, similar_tracks

from ..postgres import PostgresForTests

COUNT = 150
Row = dict[str, Any]


def row(number: int, **values: Any) -> Row:
    """A track with random features, as analysis and HAMMS write them."""
    random = np.random.default_rng(number)
    key = KEYS[int(random.integers(24))]
    made = {"bpm": round(float(random.uniform(70, 180)), 3), "key": key, "energy": round(float(random.random()), 6)}
    made |= values
    vector = {name: round(float(random.random()), 6) for name in DIMENSIONS}
    vector |= {"bpm": None if made["bpm"] is None else round(normalised_bpm(made["bpm"]), 6), "energy": made["energy"]}
    vector["key"] = None if made["key"] is None else round(normalised_key(made["key"]), 6)
    sure = {"bpm_confidence": 0.9, "key_confidence": 0.8, "loudness_lufs": -9.0, "duration": 200.0, "status": "ok"}
    names = {"title": f"Title {number}", "artist": f"Artist {number % 7}", "genre": "House" if number % 10 == 0 else "Rock"}
    return {"camelot": to_camelot(made["key"]), **sure, **names, "hamms_vector": vector, **made}


def add(conn: Connection, number: int, **values: Any) -> int:
    return add_all(conn, [(number, values)])[0]


def add_all(conn: Connection, wanted: list[tuple[int, Row]]) -> list[int]:
    """Insert tracks of these numbers, with what differs, in one statement."""
    place = conn.execute(select(directories.c.id.label("directory_id"), directories.c.library_id)).one()._asdict()
    rows = []
    for number, values in wanted:
        file = {"relative_path": f"{number}.mp3".encode(), "file_name": f"{number}.mp3", "file_path": f"/m/{number}.mp3"}
        rows.append({**place, **file, **row(number, **values)})
    return list(conn.scalars(insert(tracks).returning(tracks.c.id, sort_by_parameter_order=True), rows))


def fill(engine: Engine, root: Path) -> None:
    """A hundred and fifty tracks: some beatless, some atonal, then one failed, one silent (no vector)."""
    root.mkdir()
    wanted: list[tuple[int, Row]] = []
    for number in range(COUNT):
        wanted.append((number, {"bpm": None} if number % 23 == 5 else {"key": None} if number % 29 == 7 else {}))
    wanted.append((9001, {"status": "failed", "hamms_vector": None, "bpm": None, "key": None}))
    wanted.append((9002, {"hamms_vector": None, "bpm": None, "key": None}))
    with engine.begin() as conn:
        register_directories(conn, register_library(conn, root), [b""])
        add_all(conn, wanted)


@pytest.fixture
def filled(engine: Engine, tmp_path: Path) -> Engine:
    """A library of one test."""
    fill(engine, tmp_path / "Music")
    return engine


@pytest.fixture(scope="module")
def kept(postgres_server: PostgresForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Path]]:
    """A library that the tests of this module only read, and where it is."""
    root = tmp_path_factory.mktemp("similar") / "Music"
    with postgres_server.database() as url:
        engine = make_engine(driver_url(url))
        fill(engine, root)
        yield engine, root
        engine.dispose()


@pytest.fixture
def library(kept: tuple[Engine, Path]) -> Engine:
    """A library that is only read."""
    return kept[0]


def by_hand(conn: Connection, track_id: int, where: str = "true") -> list[int]:
    """The ids of all other tracks with a vector, most alike first, by comparing pair by pair."""
    rows = conn.execute(
        text(
            "SELECT id, hamms_vector AS hamms, bpm_confidence, key_confidence FROM tracks "
            f"WHERE hamms_vector IS NOT NULL AND hidden_at IS NULL AND ({where} OR id = {track_id})"
        )
    ).mappings()
    points = {row["id"]: embed_tracks([row])[0] for row in rows}
    first = points.pop(track_id)
    scored = [(compare(first, point).score or 0.0, id_) for id_, point in points.items()]
    return [id_ for _, id_ in sorted(scored, key=lambda one: (-one[0], one[1]))]


def ids(found: list[module.Similar]) -> list[int]:
    return [one.row["id"] for one in found]


def test_the_nearest_are_the_nearest(library: Engine) -> None:
    with library.connect() as conn:
        for track_id in (1, 6, 8, 150):
            found = similar_tracks(conn, track_id, 25)
            assert ids(found) == by_hand(conn, track_id)[:25]
            first = found[0]
            assert first.row["title"].startswith("Title")
            assert first.similarity.percentile is not None
            assert sum(first.similarity.contributions.values()) == pytest.approx(1)
            assert first.transition.reason
        assert len(index_of(library)) == COUNT + 1  # the silent one is there and never found
        assert len(similar_tracks(conn, 1, 1000)) == COUNT - 1


def test_filters_narrow_and_wide(library: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    # So few that a filter has to look at everything.
    monkeypatch.setattr(module, "_CANDIDATES", 20)
    with library.connect() as conn:
        wide = similar_tracks(conn, 4, 5, parse_query("genre:rock"))
        assert ids(wide) == by_hand(conn, 4, "genre = 'Rock'")[:5]
        narrow = similar_tracks(conn, 4, 20, parse_query("genre:house bpm:100..140"))
        expected = by_hand(conn, 4, "genre = 'House' AND bpm BETWEEN 100 AND 140")
        assert ids(narrow) == expected
        assert 0 < len(expected) < 20
        assert similar_tracks(conn, 4, 5, parse_query("artist:nobody")) == []


@pytest.mark.parametrize("unsure", [0, 8_000])
def test_filters_by_columns_in_memory_find_the_same(library: Engine, monkeypatch: pytest.MonkeyPatch, unsure: int) -> None:
    monkeypatch.setattr(module, "_CANDIDATES", 20)
    monkeypatch.setattr(module, "_UNSURE", unsure)
    monkeypatch.setattr(columns, "FOLLOWED", 0)
    queries = (
        "genre:house bpm:100..140",
        "genre:house -genre:rock energy>0.2",
        "energy<0.1",
        "-energy<0.9",
        "key:8A~",
        "genre:none",
    )
    with library.connect() as conn:
        plain = [ids(similar_tracks(conn, 4, 20, parse_query(query))) for query in queries]
        held = columns.follow(library)
        held.catch_up(library, wait=True)
        found: list[Any] = []
        all_ids = SearchColumns.all_ids
        monkeypatch.setattr(SearchColumns, "all_ids", lambda *given: found.append(all_ids(*given)) or found[-1])
        assert [ids(similar_tracks(conn, 4, 20, parse_query(query))) for query in queries] == plain
    columns._followed.pop(library)
    assert len(found) == len(queries)
    assert all(one is not None for one in found)
    assert [sure for _, sure in found] == [False, False, True, True, True, False]


@pytest.mark.parametrize("by", ["similarity", "mix"])
@pytest.mark.parametrize("query", ["", "genre:rock"])
def test_a_recording_is_found_once_and_not_by_its_own_copy(
    filled: Engine, monkeypatch: pytest.MonkeyPatch, by: Literal["similarity", "mix"], query: str
) -> None:
    monkeypatch.setattr(module, "_CANDIDATES", 40)
    wanted = parse_query(query)
    with filled.begin() as conn:
        before = ids(similar_tracks(conn, 4, 1000, wanted, by=by))
        first, second, third, fourth, fifth = before[:5]
        conn.execute(update(tracks).where(tracks.c.id.in_([4, second])).values(audio_hash="same"))
        copies = [*before[6:26], 4, fifth, first]
        measured = conn.execute(select(tracks.c.id, tracks.c.energy).where(tracks.c.id.in_(before[6:26])))
        energies: dict[int, float] = {row.id: row.energy for row in measured}
        keeper = max(energies, key=lambda id_: energies[id_])
        for kind, state, chosen, members in (
            ("same_recording", "open", keeper, copies),
            ("other_version", "open", None, [4, third]),
            ("same_recording", "not_duplicates", None, [third, fourth]),
        ):
            group = insert(duplicate_groups).values(kind=kind, state=state, keeper_track_id=chosen)
            number = conn.scalar(group.returning(duplicate_groups.c.id))
            conn.execute(insert(duplicate_members), [{"group_id": number, "track_id": one} for one in members])
        left = [third, fourth, before[5], *before[26:]]
        assert ids(similar_tracks(conn, 4, 1000, wanted, by=by)) == left
        assert ids(similar_tracks(conn, 4, 3, wanted, by=by)) == left[:3]
        # Asked from outside, the one to keep stands for all of them; where a filter leaves it out, the nearest does.
        outside = ids(similar_tracks(conn, third, 1000, wanted, by=by))
        assert set(outside) & {4, second, *copies} == {keeper}
        calm = parse_query(f"{query} energy<{energies[keeper]}")
        assert len(set(ids(similar_tracks(conn, third, 1000, calm, by=by))) & {4, second, *copies}) == 1


def test_what_another_process_writes_is_seen(filled: Engine, database: str) -> None:
    other = make_engine(driver_url(database))
    with filled.connect() as conn, other.connect() as writer:

        def nearest() -> list[int]:
            conn.rollback()
            return ids(similar_tracks(conn, 10, 5))

        before = nearest()
        vector = conn.scalar(select(tracks.c.hamms_vector).where(tracks.c.id == 10))
        measured = conn.execute(select(tracks.c.bpm, tracks.c.key, tracks.c.energy).where(tracks.c.id == 10)).one()._asdict()
        # new
        twin = add(writer, 7000, **measured, hamms_vector=vector)
        assert nearest() == before
        writer.commit()
        assert nearest() == [twin, *before[:4]]
        # hidden, and back
        writer.execute(update(tracks).where(tracks.c.id == twin).values(hidden_at=text("now()")))
        writer.commit()
        assert nearest() == before
        writer.execute(update(tracks).where(tracks.c.id == twin).values(hidden_at=None))
        writer.commit()
        assert nearest()[0] == twin
        # analysed anew
        writer.execute(update(tracks).where(tracks.c.id == twin).values({k: v for k, v in row(7001).items() if k != "title"}))
        writer.commit()
        assert twin not in nearest()[:1]
        # deleted
        writer.execute(delete(tracks).where(tracks.c.id == before[0]))
        writer.commit()
        assert nearest()[:4] == [id_ for id_ in by_hand(conn, 10)][:4]
        assert before[0] not in nearest()
    other.dispose()


def test_a_transaction_that_ends_late_is_not_missed(filled: Engine, database: str) -> None:
    """Its rows carry the time it began, before changes that were already seen."""
    other = make_engine(driver_url(database))
    with filled.connect() as conn, other.connect() as slow, other.connect() as quick:
        similar_tracks(conn, 10, 5)
        conn.rollback()
        vector = quick.scalar(select(tracks.c.hamms_vector).where(tracks.c.id == 10))
        measured = quick.execute(select(tracks.c.bpm, tracks.c.key, tracks.c.energy).where(tracks.c.id == 10)).one()._asdict()
        quick.rollback()
        slow.execute(text("SELECT 1"))  # begins
        first = add(quick, 7100, **measured, hamms_vector=vector)
        quick.commit()
        assert ids(similar_tracks(conn, 10, 5))[0] == first
        conn.rollback()
        late = add(slow, 7101, **measured, hamms_vector=vector)
        slow.commit()
        assert ids(similar_tracks(conn, 10, 5))[:2] == [first, late]
    other.dispose()


def test_bulk_loads_without_triggers_are_seen(filled: Engine) -> None:
    with filled.connect() as conn:
        similar_tracks(conn, 10, 5)
        conn.rollback()
        conn.execute(text("ALTER TABLE tracks DISABLE TRIGGER USER"))
        vector = conn.scalar(select(tracks.c.hamms_vector).where(tracks.c.id == 10))
        measured = conn.execute(select(tracks.c.bpm, tracks.c.key, tracks.c.energy).where(tracks.c.id == 10)).one()._asdict()
        twin = add(conn, 7200, **measured, hamms_vector=vector)
        conn.execute(text("UPDATE tracks SET updated_at = '2001-01-01' WHERE id = :id"), {"id": twin})
        conn.execute(text("ALTER TABLE tracks ENABLE TRIGGER USER"))
        conn.execute(text("SELECT map4_rebuild_search()"))
        conn.commit()
        assert ids(similar_tracks(conn, 10, 5))[0] == twin


def test_what_comes_back_while_it_is_forgotten_is_found(filled: Engine, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question learns that a track is hidden; before it takes that down, it is shown again and another question sees it."""
    other = make_engine(driver_url(database))
    with filled.connect() as conn, filled.connect() as second, other.connect() as writer:
        first = ids(similar_tracks(conn, 10, 5))[0]
        conn.rollback()
        hide = update(tracks).where(tracks.c.id == first)
        fitting = module._fitting
        asked: list[Any] = []

        def late(*given: Any) -> Any:
            if asked:
                return fitting(*given)
            asked.append(given)
            writer.execute(hide.values(hidden_at=text("now()")))
            writer.commit()
            found = fitting(*given)
            writer.execute(hide.values(hidden_at=None))
            writer.commit()
            index_of(filled).refresh(second)
            return found

        monkeypatch.setattr(module, "_fitting", late)
        assert first not in ids(similar_tracks(conn, 10, 5))
        conn.rollback()
        assert ids(similar_tracks(conn, 10, 5))[0] == first
    other.dispose()


def test_what_mixes_best(library: Engine) -> None:
    rules = TransitionRules(policy="extended")
    with library.connect() as conn:
        found = similar_tracks(conn, 12, 10, by="mix", rules=rules)
        everything = similar_tracks(conn, 12, 1000, by="mix", rules=rules)
    scores = [one.transition.score for one in everything]
    assert scores == sorted(scores, reverse=True)
    assert [one.transition.score for one in found] == pytest.approx(scores[:10])
    assert found[0].transition.score > 0.6


def test_tracks_without_a_vector_are_told(library: Engine) -> None:
    with library.connect() as conn:
        with pytest.raises(StoreError, match="no HAMMS vector"):
            similar_tracks(conn, COUNT + 1)
        with pytest.raises(StoreError, match="There is no track 123456"):
            similar_tracks(conn, 123456)


def test_threads_share_one_index(library: Engine) -> None:
    answers: list[list[int]] = []

    def ask() -> None:
        with library.connect() as conn:
            answers.append(ids(similar_tracks(conn, 33, 10)))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with library.connect() as conn:
        assert answers == [by_hand(conn, 33)[:10]] * 6


def test_which_track_is_meant(kept: tuple[Engine, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, root = kept
    with engine.connect() as conn:
        assert [one["id"] for one in candidates(conn, "17")] == [17]
        file = root / "16.mp3"
        file.touch()
        assert [one["id"] for one in candidates(conn, str(file))] == [17]
        link = tmp_path / "link"
        link.symlink_to(root)
        assert [one["id"] for one in candidates(conn, str(link / "16.mp3"))] == [17]
        monkeypatch.chdir(root)
        assert [one["id"] for one in candidates(conn, "16.mp3")] == [17]
        moved = f"{root}=/elsewhere/music"
        assert [one["id"] for one in candidates(conn, "/elsewhere/music/16.mp3", moved)] == [17]
        assert [one["id"] for one in candidates(conn, '"title 16"')] == [17]
        assert len(candidates(conn, "genre:house")) == 11
        assert candidates(conn, "/nowhere/16.mp3") == []
        assert candidates(conn, "unheard of") == []


def test_the_index_is_of_one_database(library: Engine, postgres_server: PostgresForTests) -> None:
    with postgres_server.database() as url:
        empty = make_engine(driver_url(url))
        with empty.connect() as conn, pytest.raises(StoreError, match="no track 1"):
            similar_tracks(conn, 1)
        assert index_of(empty) is not index_of(library)
        empty.dispose()
