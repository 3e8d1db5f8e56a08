"""Dump and restore: what comes back is what was there, or nothing changes."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from map4_pipeline.settings import Settings
from map4_pipeline.store import postgres_install, postgres_server, schema
from map4_pipeline.store.backup import dump, restore, rotate, scheduled_dump
from map4_pipeline.store.database import driver_url, make_engine, open_database
from map4_pipeline.store.errors import InfrastructureError
from map4_pipeline.store.migrate import current
from map4_pipeline.store.postgres_server import EmbeddedPostgres
from map4_pipeline_tests.postgres import careless, system_programs, system_server


def fill(engine: Engine) -> None:
    """Put a library with every kind of nasty value into the database."""
    with engine.begin() as connection:
        for statement in (
            r"INSERT INTO libraries (slug, name, root, root_text) "
            r"VALUES ('m', E'tab\t ''quote'' \\ ü', '\x2fff00'::bytea, '/\xff')",
            "INSERT INTO directories (library_id, relative_path, path_text, partition_key) VALUES (1, '.', '.', 'm/.~0')",
            "INSERT INTO tracks (library_id, directory_id, relative_path, file_path, file_name, title, bpm, tags, inode, status) "
            "SELECT 1, 1, ('track ' || n)::bytea, n::text, n::text, 'Björk ' || n, "
            "60 + n / 3.0, jsonb_build_object('n', n / 7.0), "
            "18446744073709551615, 'ok' FROM generate_series(1, 2000) n",
            "INSERT INTO playlists (name) VALUES ('Set')",
            "INSERT INTO playlist_tracks (playlist_id, track_id, position) SELECT 1, id, id FROM tracks LIMIT 10",
        ):
            connection.execute(text(statement.replace(":", r"\:")))


def contents(engine: Engine) -> dict[str, tuple[int, str]]:
    """Return row count and checksum of every table."""
    result = {}
    with engine.connect() as connection:
        for table in schema.metadata.sorted_tables:
            rows = 'string_agg(t::text, chr(10) ORDER BY t::text COLLATE "C")'
            query = f"SELECT count(*), coalesce(md5({rows}), '') FROM {table.name} t"
            count, checksum = connection.execute(text(query)).one()
            result[table.name] = (count, checksum)
    return result


@pytest.fixture
def filled(settings: Settings, engine: Engine) -> dict[str, tuple[int, str]]:
    """The settings' database filled; its contents."""
    fill(engine)
    return contents(engine)


def test_there_and_back(settings: Settings, engine: Engine, filled: dict[str, tuple[int, str]], home: Path) -> None:
    file = dump(settings, home / "new" / "library.dump")
    assert filled["tracks"][0] == 2000
    assert file.stat().st_mode & 0o077 == 0
    assert [path.name for path in file.parent.iterdir()] == ["library.dump"]
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM playlist_tracks"))
        connection.execute(text("UPDATE tracks SET title = 'changed'"))
    with pytest.raises(InfrastructureError, match=r"already holds a library.*--force"):
        restore(settings, file)
    engine.dispose()
    restore(settings, file, force=True)
    assert contents(engine) == filled
    with engine.begin() as connection:  # sequences, triggers, generated columns and search work
        connection.execute(text("INSERT INTO playlists (name) VALUES ('Another')"))
        found = connection.scalar(
            text("SELECT count(*) FROM tracks WHERE search_vector @@ websearch_to_tsquery('map4', 'bjork 1234')")
        )
    assert found == 1


def test_into_a_database_without_tables(
    settings: Settings, filled: dict[str, tuple[int, str]], empty_database: str, home: Path
) -> None:
    file = dump(settings, home / "library.dump")
    other = settings.model_copy(update={"database_url": SecretStr(empty_database)})
    restore(other, file)
    engine = open_database(other)
    assert contents(engine) == filled
    engine.dispose()


def test_a_damaged_dump_changes_nothing(
    settings: Settings, engine: Engine, filled: dict[str, tuple[int, str]], home: Path
) -> None:
    file = dump(settings, home / "library.dump")
    whole = file.read_bytes()
    engine.dispose()
    for damaged in (whole[: len(whole) * 9 // 10], b"nonsense", b"", whole[:6000] + b"\0" * 100 + whole[6100:]):
        file.write_bytes(damaged)
        with pytest.raises(InfrastructureError):
            restore(settings, file, force=True)
        assert contents(engine) == filled
        engine.dispose()


def test_a_dump_of_something_else_is_refused(settings: Settings, home: Path) -> None:
    with pytest.raises(InfrastructureError, match="not a dump of a MAP4 database"):
        restore(settings, Path(__file__), force=True)
    with pytest.raises(InfrastructureError, match="Cannot read"):
        restore(settings, home / "absent.dump", force=True)


def test_a_failed_dump_leaves_no_file(settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = home / "library.dump"
    target.write_text("yesterday's")
    monkeypatch.setattr("map4_pipeline.store.backup._client", lambda name: ["false"])
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(InfrastructureError, match="could not be dumped"):
        dump(settings, target)
    assert [path.name for path in home.iterdir()] == ["library.dump"]
    assert target.read_text() == "yesterday's"


def test_a_folder_that_cannot_be_written_is_said(settings: Settings, home: Path) -> None:
    (home / "file").write_text("")
    with pytest.raises(InfrastructureError, match="Cannot write"):
        dump(settings, home / "file" / "library.dump")


def test_the_newest_are_kept(settings: Settings) -> None:
    folder = settings.backups_dir
    folder.mkdir()
    for day in range(1, 9):
        (folder / f"map4-202601{day:02}-030000.dump").write_text("")
    (folder / "map4-before-the-move.dump").write_text("")
    newest = scheduled_dump(settings)
    assert newest.exists()
    left = sorted(path.name for path in folder.iterdir())
    assert left == [f"map4-202601{day:02}-030000.dump" for day in range(3, 9)] + [newest.name, "map4-before-the-move.dump"]
    assert rotate(folder, 1) == [folder / name for name in left[:-2]]


@pytest.mark.own_postgres
@pytest.mark.skipif(system_programs() is None, reason="the system has no PostgreSQL (Debian: apt-get install postgresql)")
def test_from_an_older_server_to_the_embedded_one_and_back(home: Path) -> None:
    with system_server() as old, old.database() as source:
        engine = make_engine(driver_url(source))
        fill(engine)
        before = contents(engine)
        engine.dispose()
        file = dump(Settings(home=home, database_url=SecretStr(source)), home / "library.dump")
    own = Settings(home=home, database_url=None)
    try:
        with careless():
            restore(own, file)
            engine = open_database(own)
        assert contents(engine) == before
        assert current(engine) == schema.HEAD_REVISION
        engine.dispose()
        back = dump(own, home / "back.dump")
    finally:
        EmbeddedPostgres(home).stop(force=True)
    # And to an older server, of one's own.
    with system_server() as old, old.database(migrated=False) as target:
        restore(Settings(home=home, database_url=SecretStr(target)), back)
        engine = make_engine(driver_url(target))
        assert contents(engine) == before
        engine.dispose()


def test_a_dump_of_a_newer_map4_is_refused_before_anything_is_changed(
    settings: Settings, engine: Engine, filled: dict[str, tuple[int, str]], home: Path
) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    newer = home / "newer.dump"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("map4_pipeline.store.migrate.HEAD_REVISION", "9999")
        dump(settings, newer)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{schema.HEAD_REVISION}'"))
        connection.execute(text("DELETE FROM playlist_tracks"))
    before = contents(engine)
    engine.dispose()
    with pytest.raises(InfrastructureError, match=r"newer\.dump was made by a newer MAP4 \(schema 9999, .*Update MAP4"):
        restore(settings, newer, force=True)
    assert contents(engine) == before != filled
    assert current(engine) == schema.HEAD_REVISION


@pytest.mark.own_postgres
@pytest.mark.skipif(system_programs() is None, reason="the system has no PostgreSQL (Debian: apt-get install postgresql)")
def test_the_embedded_server_over_a_major_upgrade(home: Path, tmp_path: Path) -> None:
    """As docs/operations.md says: a MAP4 that brought an older PostgreSQL, and then this one."""
    programs = system_programs()
    assert programs is not None
    home.chmod(0o711)  # older ones have to reach their data by its path
    own = Settings(home=home, database_url=None)
    file = tmp_path / "library.dump"
    with pytest.MonkeyPatch.context() as older:
        older.setattr(postgres_install, "programs", lambda: programs)
        older.setattr(postgres_server, "_INITDB_OPTIONS", ["--encoding=UTF8", "--locale=C", "--no-instructions", "--no-sync"])
        older.setitem(postgres_server._SETTINGS, "fsync", "off")
        engine = open_database(own)
        try:
            fill(engine)
            before = contents(engine)
            with engine.connect() as connection:
                version = connection.scalar(text("SELECT current_setting('server_version_num')::int / 10000"))
            engine.dispose()
            dump(own, file)
        finally:
            EmbeddedPostgres(home).stop(force=True)
    with pytest.raises(InfrastructureError, match=rf"written by PostgreSQL {version}, and this MAP4 brings PostgreSQL 1[6-9]"):
        open_database(own)
    data = EmbeddedPostgres(home).status().data
    data.rename(tmp_path / "data-of-the-older-one")
    try:
        with careless():
            restore(own, file)
            engine = open_database(own)
        assert contents(engine) == before
        engine.dispose()
    finally:
        EmbeddedPostgres(home).stop(force=True)


def test_the_password_is_on_no_command_line(settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = home / "seen"
    fake = home / "fake"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {seen}\nexit 1\n')
    fake.chmod(0o755)
    monkeypatch.setattr("map4_pipeline.store.backup._client", lambda name: [str(fake)])
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(InfrastructureError) as caught:
        dump(settings, home / "library.dump")
    assert settings.database_url is not None
    password = make_url(settings.database_url.get_secret_value()).password or "no password"
    for shown in (seen.read_text(), str(caught.value)):
        assert str(password) not in shown
        assert "p%40ss" not in shown
