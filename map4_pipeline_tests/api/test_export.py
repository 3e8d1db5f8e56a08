"""Exports over the API: a job, its file, its end; nobody else's."""

import json
import time
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert, select, text, update

from map4_pipeline.api.exporter import request_of
from map4_pipeline.store.cache import Cache
from map4_pipeline.store.directories import register_directories
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.exports import run_export
from map4_pipeline.store.jobs import get_job
from map4_pipeline.store.libraries import register_library
from map4_pipeline.store.schema import directories, export_history, tracks

from .conftest import LogIn


@pytest.fixture
def two_libraries(engine: Engine, tmp_path: Path) -> list[int]:
    """Two libraries with a track each; return their ids."""
    ids = []
    with engine.begin() as conn:
        for name in ("One", "Two"):
            (tmp_path / name).mkdir()
            library = register_library(conn, tmp_path / name)
            register_directories(conn, library, [b""])
            directory = conn.execute(select(directories.c.id).where(directories.c.library_id == library.id)).scalar_one()
            place = {"library_id": library.id, "directory_id": directory, "relative_path": b"a.mp3", "file_name": "a.mp3"}
            conn.execute(insert(tracks).values(**place, file_path=f"/{name}/a.mp3", status="ok", title=name, bpm=120.0))
            ids.append(library.id)
    return ids


def ended(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    for _ in range(400):
        found: dict[str, Any] = client.get(f"/api/export/{job['id']}").json()
        if found["status"] not in ("pending", "running"):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def test_an_export_is_a_job_with_a_file(
    log_in: LogIn, two_libraries: list[int], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, Any] = {}
    monkeypatch.setattr(Cache, "put", lambda _, key, value, seconds: kept.update({key: value}))
    anna = log_in()
    answer = anna.post("/api/export/json", json={"query": "bpm:120", "fields": ["title", "bpm"]})
    assert answer.status_code == 202
    job = ended(anna, answer.json())
    assert (job["status"], job["done"], job["total"]) == ("completed", 2, 2)
    assert kept[f"export:{job['id']}"] == {"status": "completed", "done": 2, "total": 2, "failed": 0}
    file = anna.get(job["file"])
    assert "attachment" in file.headers["content-disposition"]
    assert len(file.content) == job["size_bytes"]
    assert [track["title"] for track in json.loads(file.content)["tracks"]] == ["One", "Two"]
    with engine.connect() as conn:
        assert conn.execute(select(export_history.c.user_id)).scalar_one() == str(anna.get("/api/auth/me").json()["id"])
    assert [one["id"] for one in anna.get("/api/export").json()["exports"]] == [job["id"]]


def test_a_user_exports_what_he_sees(log_in: LogIn, two_libraries: list[int]) -> None:
    anna = log_in(libraries=two_libraries[:1])
    job = ended(anna, anna.post("/api/export/csv").json())
    rows = anna.get(job["file"]).text.splitlines()
    assert len(rows) == 2
    assert "/One/a.mp3" in rows[1]
    ben = log_in("ben", libraries=[])
    assert ended(ben, ben.post("/api/export/csv").json())["total"] == 0


def test_nobody_sees_anothers_export(log_in: LogIn, two_libraries: list[int]) -> None:
    anna, root = log_in("anna"), log_in("root", "admin")
    job = ended(anna, anna.post("/api/export/csv").json())
    for answer in (root.get(f"/api/export/{job['id']}"), root.get(job["file"]), root.delete(f"/api/export/{job['id']}")):
        assert answer.status_code == 404


def test_a_waiting_export_is_cancelled(log_in: LogIn, two_libraries: list[int]) -> None:
    anna = log_in()
    anna.app.state.context.exporter.stop()  # type: ignore[attr-defined]
    jobs = [anna.post("/api/export/csv").json() for _ in range(5)]
    assert anna.post("/api/export/csv").status_code == 429
    assert anna.delete(f"/api/export/{jobs[0]['id']}").json()["status"] == "cancelled"
    assert anna.get(f"/api/export/{jobs[0]['id']}/file").status_code == 404
    assert anna.post("/api/export/csv").status_code == 202


def test_an_export_whose_server_died_is_told(log_in: LogIn, two_libraries: list[int], engine: Engine) -> None:
    anna = log_in()
    anna.app.state.context.exporter.stop()  # type: ignore[attr-defined]
    job = anna.post("/api/export/csv").json()
    with engine.begin() as conn:
        conn.execute(text("UPDATE jobs SET status = 'running', beat_at = now() - interval '2 minutes'"))
    from map4_pipeline.store.jobs import fail_lost

    with engine.begin() as conn:
        assert fail_lost(conn, "export") == 1
    found = anna.get(f"/api/export/{job['id']}").json()
    assert found["status"] == "failed"
    assert "stopped" in found["error"]


@pytest.mark.parametrize(
    ("address", "body", "status"),
    [
        ("docx", {}, 422),
        ("csv", {"query": "bpm:fast"}, 400),
        ("csv", {"fields": ["tempo"]}, 400),
        ("csv", {"path": "/etc/passwd"}, 422),
        ("csv", [], 422),
        ("csv", {"path_map": ["/One=/Users/anna"]}, 400),
        ("m3u8", {"path_map": ["One"]}, 400),
        ("m3u8", {"path_map": ["/One=/a\u0000b"]}, 422),
        ("parquet", {"playlist": 1}, 400),
        ("rekordbox", {"playlist": 987}, 400),
        ("rekordbox", {"playlist": 0}, 422),
        ("rekordbox", {"fields": ["title"]}, 400),
        ("excel", {"key_notation": "camelot"}, 400),
        ("traktor", {"key_notation": "german"}, 422),
        ("json", {"new": True}, 400),
        ("m3u8", {"new": True, "playlist": 1}, 400),
        ("m3u8", {"measured": True}, 400),
    ],
)
def test_what_cannot_be_exported_is_told_at_once(log_in: LogIn, address: str, body: Any, status: int) -> None:
    answer = log_in().post(f"/api/export/{address}", json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_dj_programs_file_has_its_paths_and_keys(
    log_in: LogIn, two_libraries: list[int], engine: Engine, tmp_path: Path
) -> None:
    with engine.begin() as conn:
        conn.execute(update(tracks).values(key="A minor", camelot="8A", duration=200.0))
    anna = log_in()
    wanted = {"path_map": [f"{tmp_path}/One=/Users/anna/Music"], "key_notation": "camelot", "new": True}
    job = ended(anna, anna.post("/api/export/rekordbox", json=wanted).json())
    assert job["status"] == "completed", job
    library = ElementTree.fromstring(anna.get(job["file"]).content)
    found = {track.get("Location"): track.get("Tonality") for track in library.iterfind("COLLECTION/TRACK")}
    assert found == {"file://localhost/Users/anna/Music/a.mp3": "8A", f"file://localhost{tmp_path}/Two/a.mp3": "8A"}
    new = [node for node in library.iter("NODE") if (node.get("Name") or "").startswith("New")]
    assert [len(node.findall("TRACK")) for node in new] == [2]


def test_a_playlist_is_exported_as_far_as_a_user_sees_it(
    log_in: LogIn, two_libraries: list[int], engine: Engine, tmp_path: Path
) -> None:
    with engine.connect() as conn:
        ids = list(conn.scalars(select(tracks.c.id).order_by(tracks.c.id.desc())))
    root, ben = log_in("root", "admin"), log_in("ben", libraries=two_libraries[:1])
    number = root.post("/api/playlists", json={"name": "Friday", "tracks": ids}).json()["id"]
    for client, expected in ((root, ["Two/a.mp3", "One/a.mp3"]), (ben, ["One/a.mp3"])):
        job = ended(client, client.post("/api/export/m3u8", json={"playlist": number}).json())
        assert (job["status"], job["total"], job["playlist"]) == ("completed", len(expected), number), job
        assert '<td data-label="Tracks">Friday</td>' in client.get("/exports").text
        lines = client.get(job["file"]).text.splitlines()
        assert [line for line in lines if not line.startswith("#")] == [f"{tmp_path}/{name}" for name in expected]
    # The playlist goes while its export waits: that is told.
    root.app.state.context.exporter.stop()  # type: ignore[attr-defined]
    job = root.post("/api/export/m3u8", json={"playlist": number}).json()
    root.delete(f"/api/playlists/{number}")
    with engine.begin() as conn:
        waiting = get_job(conn, UUID(job["id"]))
    assert waiting is not None
    with pytest.raises(StoreError, match="no playlist"):
        run_export(engine, request_of(waiting), tmp_path / "never.m3u8")
    assert not (tmp_path / "never.m3u8").exists()


def test_what_is_new_is_new_to_each_user(log_in: LogIn, two_libraries: list[int]) -> None:
    anna, ben = log_in("anna"), log_in("ben")
    totals = [ended(client, client.post("/api/export/m3u8", json={"new": True}).json())["total"] for client in (anna, anna, ben)]
    assert totals == [2, 0, 2]


@pytest.mark.parametrize(("address", "start"), [("excel", b"PK"), ("pdf", b"%PDF"), ("html", b"<!DOCTYPE html>")])
def test_reports_are_exports_too_and_show_what_the_user_sees(
    log_in: LogIn, two_libraries: list[int], address: str, start: bytes
) -> None:
    anna = log_in(libraries=two_libraries[:1])
    job = ended(anna, anna.post(f"/api/export/{address}", json={"query": "bpm:120"}).json())
    assert (job["status"], job["total"]) == ("completed", 1), job
    content = anna.get(job["file"]).content
    assert content.lower().startswith(start.lower())
    if address == "html":
        assert b"/One/a.mp3" in content
        assert b"/Two/" not in content
