"""Lists page by page: no gap, no double, and no mark that breaks anything."""

import html
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert, select, text

from map4_pipeline.api.pages import review
from map4_pipeline.store import jobs
from map4_pipeline.store.accounts import create_user
from map4_pipeline.store.libraries import register_library
from map4_pipeline.store.marks import mark
from map4_pipeline.store.playlists import create_playlist
from map4_pipeline.store.queue import entries
from map4_pipeline.store.schema import analysis_queue, duplicate_groups

from .conftest import LogIn, entered


def walked(client: TestClient, address: str, member: str, **query: Any) -> list[list[dict[str, Any]]]:
    """Return the pages of a list, two rows each."""
    pages: list[list[dict[str, Any]]] = []
    after: str | None = None
    while after is not None or not pages:
        given = query | {"limit": 2} | ({} if after is None else {"after": after})
        answer = client.get(address, params=given)
        assert answer.status_code == 200, answer.text
        pages.append(answer.json()[member])
        after = answer.json()["next"]
    return pages


def test_playlists_come_page_by_page(log_in: LogIn, engine: Engine) -> None:
    long = "東京🎧" * 200
    names = ["b", "A", "a", f"{long}2", "A", f"{long}1", "é"]
    with engine.begin() as conn:
        made = [create_playlist(conn, name).id for name in names]
    pages = walked(log_in(), "/api/playlists", "playlists")
    assert [len(page) for page in pages] == [2, 2, 2, 1]
    found = [one["id"] for page in pages for one in page]
    assert sorted(found) == made
    assert found[:3] == [made[1], made[2], made[4]]  # by name whatever the case, then by age
    whole = log_in("ben").get("/api/playlists").json()
    assert ([one["id"] for one in whole["playlists"]], whole["next"]) == (found, None)


def test_duplicates_come_page_by_page(log_in: LogIn, engine: Engine) -> None:
    sizes = [5, 9, 5, 5, 0]
    with engine.begin() as conn:
        rows = [{"id": number, "kind": "same_recording", "surplus_bytes": size} for number, size in enumerate(sizes, 1)]
        conn.execute(insert(duplicate_groups), [*rows, {"id": 9, "kind": "other_version", "surplus_bytes": 5}])
    anna = log_in()
    pages = walked(anna, "/api/duplicates", "groups", kind="same_recording")
    assert [[one["group"] for one in page] for page in pages] == [[2, 1], [3, 4], [5]]


def test_the_pages_for_people_lead_on_to_what_does_not_fit(
    log_in: LogIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review, "_GROUPS", 2)
    monkeypatch.setattr(review, "_EXPORTS", 2)
    anna = log_in()
    with engine.begin() as conn:
        rows = [{"id": number, "kind": "same_recording", "surplus_bytes": 100 - number} for number in range(1, 6)]
        conn.execute(insert(duplicate_groups), rows)
        for _ in range(3):
            jobs.create_job(conn, "export", {"format": "csv"}, user_id=anna.get("/api/auth/me").json()["id"])
        conn.execute(text("UPDATE jobs SET status = 'completed'"))
    for first, word, parts in (("/duplicates?state=open", "More", [2, 2, 1]), ("/exports", "Older", [2, 1])):
        address: str | None = first
        found = []
        while address is not None:
            page = anna.get(address).text
            found.append(page.count('<article class="card"') + page.count('data-label="Format"'))
            link = re.search(rf'<a class="more" href="([^"]+)">{word}', page)
            address = None if link is None else html.unescape(link[1])
        assert found == parts


def test_exports_come_page_by_page_and_are_ones_own(log_in: LogIn, engine: Engine) -> None:
    anna, ben = log_in(), log_in("ben")
    ids = {client: client.get("/api/auth/me").json()["id"] for client in (anna, ben)}
    with engine.begin() as conn:
        mine = [str(jobs.create_job(conn, "export", {"format": "csv"}, user_id=ids[anna]).id) for _ in range(4)]
        jobs.create_job(conn, "export", {"format": "csv"}, user_id=ids[ben])
        # Those of one transaction are of one moment. None is waiting: the server would begin it.
        conn.execute(text("UPDATE jobs SET status = 'cancelled'"))
    pages = walked(anna, "/api/export", "exports")
    assert [one["id"] for page in pages for one in page] == sorted(mine, reverse=True)
    assert len(pages) == 2


def test_accounts_come_page_by_page_and_on_the_page_too(log_in: LogIn, engine: Engine) -> None:
    root = log_in("root", "admin")
    names = ["Zoë", "anna", "Bob", "東京" * 50]
    with engine.begin() as conn:
        for name in names:
            create_user(conn, name, "viewer")
    pages = walked(root, "/api/users", "users")
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [one["name"] for page in pages for one in page] == ["anna", "Bob", "root", "Zoë", names[3]]
    with engine.begin() as conn:
        for number in range(50):
            create_user(conn, f"many {number}", "viewer")
    first = root.get("/admin/users").text
    onward = first.partition('id="more" href="')[2].partition('"')[0]
    row = '<tr><th scope="row"'
    assert (first.count(row), root.get(onward).text.count(row)) == (50, 5)


def test_ones_own_tokens_and_browsers_come_page_by_page(log_in: LogIn) -> None:
    anna = log_in()
    for number in range(3):
        assert anna.post("/api/auth/tokens", json={"name": f"t{number}", "scopes": ["read"]}).status_code == 201
        anna.cookies.clear()  # another browser
        entered(anna, "anna")
    tokens = walked(anna, "/api/auth/tokens", "tokens")
    assert [[one["name"] for one in page] for page in tokens] == [["t0", "t1"], ["t2"]]
    sessions = [one for page in walked(anna, "/api/auth/sessions", "sessions") for one in page]
    whole = anna.get("/api/auth/sessions").json()["sessions"]
    assert [one["id"] for one in sessions] == [one["id"] for one in whole]
    assert (sessions[0]["current"], sum(one["current"] for one in sessions), len(sessions)) == (True, 1, 4)


def test_libraries_and_who_did_what_come_page_by_page(log_in: LogIn, engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as conn:
        for name in ("One", "Two", "Three"):
            (tmp_path / name).mkdir()
            register_library(conn, tmp_path / name)
    root = log_in("root", "admin")
    assert [[one["name"] for one in page] for page in walked(root, "/api/libraries", "libraries")] == [["One", "Two"], ["Three"]]
    for _ in range(2):
        assert root.post("/api/auth/tokens", json={"name": f"t{_}", "scopes": ["read"]}).status_code == 201
    told = walked(root, "/api/audit", "entries")
    assert [[one["action"] for one in page] for page in told] == [["token made", "token made"], ["login"]]


def test_the_queue_comes_page_by_page_in_its_order(log_in: LogIn, engine: Engine) -> None:
    moment = "2026-03-14T15:09:26.{}+00:00"
    rows = [
        ("done first", "completed", 1, moment.format("000001")), ("running", "running", 9, None), ("waits", "pending", 5, None),
        ("done last", "failed", 9, moment.format("000003")), ("urgent", "pending", 1, None), ("waits too", "pending", 5, None),
        ("done as well", "cancelled", 5, moment.format("000003")),
    ]  # fmt: skip
    names = ("file_path", "status", "priority", "completed_at")
    with engine.begin() as conn:
        conn.execute(insert(analysis_queue), [dict(zip(names, row, strict=True)) for row in rows])
        expected = [entry.file_path for entry in entries(conn)]
    root = log_in("root", "admin")
    pages = walked(root, "/api/queue", "entries")
    assert [one["file_path"] for page in pages for one in page] == expected
    assert expected == ["running", "urgent", "waits", "waits too", "done as well", "done last", "done first"]
    waiting = walked(root, "/api/queue", "entries", status="pending")
    assert [[one["file_path"] for one in page] for page in waiting] == [["urgent", "waits"], ["waits too"]]


def test_batches_come_page_by_page_as_they_stand(log_in: LogIn, engine: Engine) -> None:
    anna, ben = log_in(), log_in("ben")
    ids = {client: client.get("/api/auth/me").json()["id"] for client in (anna, ben)}
    mine = []
    for number in range(3):
        with engine.begin() as conn:
            mine.append(str(jobs.create_batch(conn, [f"/a{number}", f"/b{number}"], user_id=ids[anna]).id))
            jobs.create_batch(conn, ["/c"], user_id=ids[ben])
    with engine.begin() as conn:
        conn.execute(text("UPDATE analysis_queue SET status = 'failed', completed_at = now() WHERE file_path = '/a2'"))
    pages = walked(anna, "/api/batch", "batches")
    assert [[one["id"] for one in page] for page in pages] == [mine[:0:-1], mine[:1]]
    assert [(one["done"], one["failed"], one["status"]) for one in pages[0]] == [(1, 1, "running"), (0, 0, "pending")]
    with engine.connect() as conn:
        assert conn.scalar(select(jobs.jobs.c.status).where(jobs.jobs.c.id == mine[2])) == "running"


@pytest.mark.parametrize(
    "address",
    ["/api/playlists", "/api/duplicates", "/api/export", "/api/tracks", "/api/users", "/api/libraries", "/api/audit",
     "/api/queue", "/api/batch", "/api/auth/tokens", "/api/auth/sessions"],
)  # fmt: skip
def test_a_mark_that_no_list_gave_is_refused(log_in: LogIn, address: str) -> None:
    anna = log_in("anna", "admin")
    for after in ("", "nonsense", mark(), mark("a", "b"), mark(None, 1), mark(1, 2, 3), mark("a\0", 1), mark(2**70, 1)):
        answer = anna.get(address, params={"after": after, "q": "sort:title"})
        if address == "/api/tracks" and after == mark(None, 1):
            assert answer.status_code == 200  # among those without a title
            continue
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:map4:problem:invalid-page"), after
