"""Lists page by page: no gap, no double, and no mark that breaks anything."""

import html
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert, text

from map4_pipeline.api.pages import review
from map4_pipeline.store import jobs
from map4_pipeline.store.marks import mark
from map4_pipeline.store.playlists import create_playlist
from map4_pipeline.store.schema import duplicate_groups

from .conftest import LogIn


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


@pytest.mark.parametrize("address", ["/api/playlists", "/api/duplicates", "/api/export", "/api/tracks"])
def test_a_mark_that_no_list_gave_is_refused(log_in: LogIn, address: str) -> None:
    anna = log_in()
    for after in ("", "nonsense", mark(), mark("a", "b"), mark(None, 1), mark(1, 2, 3), mark("a\0", 1), mark(2**70, 1)):
        answer = anna.get(address, params={"after": after, "q": "sort:title"})
        if address == "/api/tracks" and after == mark(None, 1):
            assert answer.status_code == 200  # among those without a title
            continue
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:map4:problem:invalid-page"), after
