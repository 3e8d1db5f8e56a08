"""The schema: what the migrations make, and that they go up, down and up again."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import IntegrityError

from map4_pipeline.store import schema
from map4_pipeline.store.database import driver_url, make_engine
from map4_pipeline.store.errors import InfrastructureError
from map4_pipeline.store.migrate import alembic_config, current, downgrade, script_location, upgrade

ROOT = Path(__file__).resolve().parents[2]

#: Tables, columns and indexes of the requirements page.
REQUIRED_COLUMNS = {
    "tracks": """id file_path file_hash file_size title artist album genre year duration sample_rate bit_rate channels bpm key
        energy hamms_vector hamms_confidence ai_analysis ai_provider ai_analyzed_at chromaprint_fp spectral_hash created_at
        updated_at analyzed_at search_vector""",
    "playlists": "id name description created_at updated_at",
    "playlist_tracks": "id playlist_id track_id position transition_quality",
    "analysis_queue": "id file_path priority status error_message created_at started_at completed_at",
    "export_history": "id export_type track_count file_size duration_ms user_id created_at",
}
REQUIRED_INDEXES = ["bpm", "key", "genre", "artist", "search", "hamms"]


def test_the_requirements_names_exist(engine: Engine) -> None:
    tables = inspect(engine)
    for table, columns in REQUIRED_COLUMNS.items():
        assert set(columns.split()) <= {column["name"] for column in tables.get_columns(table)}
    with engine.connect() as connection:
        names = set(connection.scalars(text("SELECT indexname FROM pg_indexes WHERE tablename = 'tracks'")))
    assert {f"idx_tracks_{name}" for name in REQUIRED_INDEXES} <= names


@pytest.mark.filterwarnings("ignore:Computed default on tracks.search_vector")
def test_the_tables_for_sqlalchemy_are_those_of_the_migrations(engine: Engine) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    options = {"compare_type": True, "compare_server_default": True, "version_table": schema.VERSION_TABLE}
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=options), schema.metadata) == []


def test_head_is_the_newest_migration() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == schema.HEAD_REVISION


def test_up_down_and_up_again(empty_database: str) -> None:
    engine = make_engine(driver_url(empty_database))
    objects = text(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "UNION ALL SELECT proname FROM pg_proc WHERE proname LIKE 'map4%' "
        "UNION ALL SELECT cfgname FROM pg_ts_config WHERE cfgname = 'map4'"
    )
    try:
        assert current(engine) is None
        assert upgrade(engine) is True
        assert current(engine) == schema.HEAD_REVISION
        with engine.connect() as connection:
            made = sorted(connection.scalars(objects))
        downgrade(engine, "base")
        assert current(engine) is None
        with engine.connect() as connection:
            assert set(connection.scalars(objects)) == {schema.VERSION_TABLE, f"{schema.VERSION_TABLE}_pkc"}
        assert upgrade(engine) is True
        with engine.connect() as connection:
            assert sorted(connection.scalars(objects)) == made
    finally:
        engine.dispose()


def test_up_to_date_it_costs_one_query_and_no_alembic(database: str) -> None:
    script = f"""
import sys
from sqlalchemy import event
from map4_pipeline.store.database import driver_url, make_engine
from map4_pipeline.store.migrate import upgrade
engine = make_engine(driver_url({database!r}))
statements = []
event.listen(engine, "before_cursor_execute", lambda c, cursor, statement, *rest: statements.append(statement))
assert upgrade(engine) is False
assert len([s for s in statements if "map4_schema_version" in s]) == 1 and "alembic" not in sys.modules, statements
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_two_at_once_wait_for_each_other(empty_database: str) -> None:
    done: list[bool] = []

    def run() -> None:
        engine = make_engine(driver_url(empty_database))
        done.append(upgrade(engine))
        engine.dispose()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False, False, True]


def test_a_newer_database_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(InfrastructureError, match="made by a newer MAP4"):
        upgrade(engine)


def test_migrations_are_found_in_an_installed_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    from map4_pipeline.store import migrate

    site = tmp_path / "site-packages"
    shutil.copytree(ROOT / "sql", tmp_path / "share" / "map4" / "sql")
    monkeypatch.setattr(migrate, "__file__", str(site / "map4_pipeline" / "store" / "migrate.py"))
    record = metadata.PackagePath("../share/map4/sql/env.py")
    record.dist = metadata.PathDistribution(site / "map4-1.dist-info")
    monkeypatch.setattr(metadata, "files", lambda name: [record])
    assert script_location() == tmp_path / "share" / "map4" / "sql"


# What the tables promise


@pytest.fixture
def directory(engine: Engine) -> int:
    """A directory of a library."""
    with engine.begin() as connection:
        library = connection.scalar(
            schema.libraries.insert()
            .values(slug="music", name="Music", root=b"/m", root_text="/m")
            .returning(schema.libraries.c.id)
        )
        values = {"library_id": library, "relative_path": b".", "path_text": ".", "partition_key": "music/.~0123456789"}
        return int(connection.execute(schema.directories.insert().values(values).returning(schema.directories.c.id)).scalar_one())


def add_track(engine: Engine, directory: int, name: bytes = b"a.mp3", **values: Any) -> int:
    """Add a track; return its id."""
    path = name.decode(errors="replace")
    row = {"library_id": 1, "directory_id": directory, "relative_path": name, "file_path": path, "file_name": path} | values
    with engine.begin() as connection:
        return int(connection.execute(schema.tracks.insert().values(row).returning(schema.tracks.c.id)).scalar_one())


#: What somebody types, and whether it finds the track.
SEARCHES = {
    "the who": True,
    "Bjork": True,
    "BJÖRK": True,
    "ac/dc": True,
    "ac dc": True,
    "will.i.am": True,
    "i am": True,
    "Jay-Z": True,
    "жизнь": True,
    "trip-hop": True,
    '"the who"': True,
    '"who the"': False,
    "who -bjork": False,
    "mozart": False,
    "'; DROP TABLE tracks": False,
    "\0 & | ! ( who": True,
    "": False,
}


def test_names_are_found_as_people_type_them(engine: Engine, directory: int) -> None:
    add_track(engine, directory, title="The Who & Björk: жизнь", artist="AC/DC feat. will.i.am", album="Jay_Z", genre="Trip-Hop")
    found = {}
    with engine.connect() as connection:
        for typed in SEARCHES:
            query = schema.tracks.select().where(schema.tracks.c.search_vector.op("@@")(schema.search_words(typed)))
            found[typed] = bool(connection.execute(query).all())
    assert found == SEARCHES


def test_tags_and_paths_of_any_length_fit(engine: Engine, directory: int) -> None:
    import random
    import string

    noise = "".join(random.Random(1).choices(string.ascii_letters + " ", k=2_000_000))  # too long for a tsvector, incompressible
    path = noise[:4096].replace(" ", "/").encode()
    add_track(engine, directory, path, title=noise, artist=noise, album=noise, genre=noise, tags={"comment": noise})
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT length(artist) FROM tracks")) == 2_000_000


def test_one_path_is_one_track(engine: Engine, directory: int) -> None:
    add_track(engine, directory, b"caf\xe9.mp3")
    add_track(engine, directory, b"caf\xc3\xa9.mp3")
    with pytest.raises(IntegrityError, match="uq_tracks_path"):
        add_track(engine, directory, b"caf\xe9.mp3")


def test_values_that_cannot_be_are_refused(engine: Engine, directory: int) -> None:
    not_a_number = float("nan")
    wrong: list[dict[str, Any]] = [{"bpm": not_a_number}, {"bpm": 0}, {"energy": 1.5}, {"energy": not_a_number}]
    wrong += [{"status": "done"}, {"key_confidence": -1}]
    for values in wrong:
        with pytest.raises(IntegrityError):
            add_track(engine, directory, **values)


def test_updated_at_follows(engine: Engine, directory: int) -> None:
    track = add_track(engine, directory)
    tracks = schema.tracks
    with engine.begin() as connection:
        connection.execute(tracks.update().where(tracks.c.id == track).values(title="New", updated_at=None))
    with engine.connect() as connection:
        created, updated = connection.execute(tracks.select().with_only_columns(tracks.c.created_at, tracks.c.updated_at)).one()
    assert updated > created


def test_a_playlist_is_renumbered_in_one_statement(engine: Engine, directory: int) -> None:
    track = add_track(engine, directory)
    with engine.begin() as connection:
        connection.execute(schema.playlists.insert().values(id=1, name="Set"))
        rows = [{"playlist_id": 1, "track_id": track, "position": position} for position in range(1, 5)]
        connection.execute(schema.playlist_tracks.insert(), rows)
        connection.execute(text("UPDATE playlist_tracks SET position = position + 1"))


def test_indexes_serve_their_queries(engine: Engine, directory: int) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO tracks (library_id, directory_id, relative_path, file_path, file_name, "
                "artist, genre, bpm, key, status) "
                "SELECT 1, :directory, n::text::bytea, '/m/' || n, n::text, "
                "'Artist ' || n % 500, 'Genre ' || n % 300, 60 + n % 900 / 5.0, "
                "'A minor', 'ok' FROM generate_series(1, 6000) n"
            ),
            {"directory": directory},
        )
    queries = {
        "idx_tracks_artist": "artist = 'Artist 7'",
        "idx_tracks_genre": "genre = 'Genre 7'",
        "idx_tracks_artist_folded": "lower(left(artist, 200)) = 'artist 7'",
        "idx_tracks_bpm": "bpm BETWEEN 120 AND 120.1",
        "idx_tracks_search": "search_vector @@ websearch_to_tsquery('map4', 'artist 7')",
        "idx_tracks_file_path": "file_path = '/m/17'",
        "idx_tracks_unsettled": "status = 'failed'",
    }
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM (ANALYZE) tracks"))
        for index, condition in queries.items():
            plan = "\n".join(connection.scalars(text(f"EXPLAIN SELECT id FROM tracks WHERE {condition}")))
            assert index in plan, plan
