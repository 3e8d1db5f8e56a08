"""What is held about a user: all of it is shown to whom it is about, and is gone when it is erased."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert, select, text

from map4_pipeline.store import audit
from map4_pipeline.store.accounts import add_identity, create_user, find_user
from map4_pipeline.store.directories import register_directories
from map4_pipeline.store.libraries import all_libraries
from map4_pipeline.store.privacy import SECTIONS, erase_user, export_user
from map4_pipeline.store.schema import directories, tracks

from .conftest import PASSWORD, LogIn

#: Columns that name a user without a foreign key; found by reading the schema.
_LOOSE = {"export_history.user_id", "duplicate_decisions.decided_by", "duplicate_decisions.undone_by", "login_failures.subject"}
NAME = "Zaphod-Beeblebrox"


def user_id(engine: Engine, name: str) -> int:
    with engine.connect() as conn:
        found = find_user(conn, name)
        assert found is not None
        return found[0].id


@pytest.fixture
def zaphod(log_in: LogIn, engine: Engine, library_id: int) -> TestClient:
    """Somebody about whom something is in every table that can hold it."""
    root, client = log_in("root", "admin"), log_in(NAME, libraries=[library_id])
    me = user_id(engine, NAME)
    assert root.patch(f"/api/users/{me}", json={"email": "zaphod@example.org"}).status_code == 200
    client.post("/api/auth/login", json={"name": NAME, "password": "wrong password!"})
    assert client.post("/api/auth/tokens", json={"name": "ship", "scopes": ["read"]}).status_code == 201
    assert client.post("/api/auth/token", json={"name": NAME, "password": PASSWORD}).status_code == 200
    client.post("/api/auth/login", json={"name": NAME, "password": "wrong password!"})
    with engine.begin() as conn:
        add_identity(conn, me, "https://id.example.org", "4711", provider="oidc", label="zaphod@example.org")
        library = next(one for one in all_libraries(conn) if one.id == library_id)
        register_directories(conn, library, [b""])
        directory = conn.execute(select(directories.c.id)).scalar_one()
        place = {"library_id": library_id, "directory_id": directory, "relative_path": b"a.mp3"}
        names = {"file_name": "a.mp3", "file_path": "/m/a.mp3", "status": "ok"}
        track = conn.execute(insert(tracks).values(**place, **names).returning(tracks.c.id)).scalar_one()
    assert client.put(f"/api/tracks/{track}", json={"title": "Heart of Gold"}).status_code == 200
    assert client.post("/api/playlists", json={"name": "Milliways", "tracks": [track]}).status_code == 201
    assert client.post("/api/export/csv").status_code == 202
    assert client.post("/api/batch/analyze", json={"tracks": [track]}).status_code == 202
    with engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO duplicate_decisions (group_id, family, verdict, track_ids, decided_by, undone_by) "
                "VALUES (1, 'copies', 'ignore', ARRAY[1], :name, :name)"
            ),
            {"name": NAME},
        )
        used = "INSERT INTO user_activity (user_id, day, feature) VALUES (:id, current_date, 'search') ON CONFLICT DO NOTHING"
        conn.execute(text(used), {"id": me})
        conn.execute(text("INSERT INTO export_history (export_type, user_id) VALUES ('csv', :id)"), {"id": str(me)})
    return client


def everything(engine: Engine) -> dict[str, str]:
    """Return the whole database as text, by table."""
    with engine.connect() as conn:
        tables = conn.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
        return {name: "\n".join(conn.execute(text(f'SELECT t::text FROM "{name}" t')).scalars()) for name in tables}


def test_every_table_that_knows_users_is_in_the_document(engine: Engine) -> None:
    with engine.connect() as conn:
        keys = conn.execute(
            text(
                "SELECT c.conrelid::regclass::text || '.' || a.attname FROM pg_constraint c "
                "JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] "
                "WHERE c.contype = 'f' AND c.confrelid = 'users'::regclass"
            )
        ).scalars()
        known = set(keys) | _LOOSE
        named = conn.execute(
            text(
                "SELECT table_name || '.' || column_name FROM information_schema.columns "
                "WHERE table_schema = 'public' AND (column_name LIKE '%user_id' OR column_name LIKE '%\\_by' "
                "OR column_name LIKE 'owner%')"
            )
        ).scalars()
        assert set(named) - known <= {"deck_entries.matched_by"}
    queries = " ".join(SECTIONS.values())
    missing = [column for column in known if column.partition(".")[0] not in queries]
    assert missing == []


def test_a_user_takes_away_all_that_is_held_and_no_secret(zaphod: TestClient, engine: Engine) -> None:
    answer = zaphod.get("/api/auth/me/export")
    assert answer.headers["content-disposition"] == f'attachment; filename="map4-{NAME}.json"'
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()
    empty = [section for section in SECTIONS if not found[section]]
    assert empty == []
    assert found["account"]["email"] == "zaphod@example.org"
    assert found["corrections"][0]["after"] == "Heart of Gold"
    assert found["playlists"][0]["tracks"][0]["title"] == "Heart of Gold"
    assert {"login", "login failed", "user data exported"} <= {one["action"] for one in found["actions"]}
    assert "user changed" in {one["action"] for one in found["actions_of_others"]}
    for secret in ("password_hash", "token_hash", "$2b$"):
        assert secret not in answer.text


def test_only_oneself_and_admins_see_it(zaphod: TestClient, log_in: LogIn, engine: Engine) -> None:
    address = f"/api/users/{user_id(engine, NAME)}/export"
    assert zaphod.get(address).status_code == 403
    root = log_in("other-root", "admin")
    assert root.get(address).json()["account"]["name"] == NAME
    assert root.get("/api/users/999999/export").status_code == 404


def test_erasing_oneself_leaves_nothing_that_names_one(zaphod: TestClient, engine: Engine) -> None:
    assert zaphod.post("/api/auth/me/erase", json={"password": "wrong password!"}).status_code == 403
    answer = zaphod.post("/api/auth/me/erase", json={"password": PASSWORD})
    assert answer.status_code == 204, answer.text
    assert zaphod.get("/api/auth/me").status_code == 401
    for table, content in everything(engine).items():
        for trace in (NAME.lower(), "zaphod", "4711", "127.0.0.1"):
            if (table, trace) == ("login_failures", "127.0.0.1"):
                continue  # guesses from an address, whoever it was; forgotten after a day
            lines = [line for line in content.lower().splitlines() if trace in line and ",root," not in line]
            assert lines == [], (table, trace)
    with engine.connect() as conn:
        aliases = conn.execute(text("SELECT DISTINCT user_name FROM audit_log WHERE user_name LIKE 'erased-%'")).scalars().all()
        assert len(aliases) == 1  # what one pseudonym did is still one user's
        assert conn.execute(text("SELECT decided_by FROM duplicate_decisions")).scalar_one() == aliases[0]
        assert conn.execute(text("SELECT corrections->'title'->>'by' FROM tracks")).scalar_one() == aliases[0]
        assert conn.execute(text("SELECT title FROM tracks")).scalar_one() == "Heart of Gold"
        assert conn.execute(text("SELECT name, owner_id FROM playlists")).one() == ("Milliways", None)


def test_a_name_whose_small_letters_are_disputed_is_found_and_erased(engine: Engine) -> None:
    name = "İlke ΟΔΟΣ"
    with engine.begin() as conn:
        create_user(conn, "root", "admin")
        made = create_user(conn, name, "user", password_hash=None, library_ids=None)
        audit.note(conn, "user made", target=name)
        found = find_user(conn, f" {name}")
        assert found is not None
        assert found[0].id == made.id
        assert find_user(conn, "\udcff") is None
        assert [row["target"] for row in export_user(conn, made.id)["actions_of_others"]] == [name]
        erase_user(conn, made.id)
    assert not [table for table, rows in everything(engine).items() if name in rows]


def test_the_last_admin_cannot_erase_himself(log_in: LogIn, engine: Engine) -> None:
    root = log_in("root", "admin")
    answer = root.post("/api/auth/me/erase", json={"password": PASSWORD})
    assert answer.status_code == 409
    assert root.get("/api/auth/me").json()["name"] == "root"


def test_the_program_shows_and_erases_too(zaphod: TestClient, engine: Engine, tmp_path: Path) -> None:
    from map4_pipeline.cli.users import users

    file = tmp_path / "zaphod.json"
    told = CliRunner().invoke(users, ["export", NAME.upper(), "--output", str(file)])
    assert told.exit_code == 0, told.output
    assert json.loads(file.read_text())["account"]["name"] == NAME
    assert file.stat().st_mode & 0o077 == 0, "nobody else may read it"
    told = CliRunner().invoke(users, ["change", NAME, "--all-libraries", "--library", "music"])
    assert (told.exit_code, "not both" in told.output) == (2, True)
    told = CliRunner().invoke(users, ["erase", NAME, "--yes"])
    assert "under erased-" in told.output
    assert find_user_is_gone(engine)


def find_user_is_gone(engine: Engine) -> bool:
    with engine.connect() as conn:
        return find_user(conn, NAME) is None
