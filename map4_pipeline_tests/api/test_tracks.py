"""Tracks, searches, statistics, comparisons, playlists and duplicates over the API, within what a user was granted."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, event, insert, select, text

from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.store.directories import register_directories
from map4_pipeline.store.libraries import register_library
from map4_pipeline.store.schema import analysis_queue, audit_log, directories, tracks

from .conftest import LogIn

SURE = ("bpm_confidence", "key_confidence")
#: Library, title, tempo, key (Camelot and name), energy.
ROWS = [
    ("One", "Alpha", 120.0, "8A", "A minor", 0.5),
    ("One", "Beta", 121.0, "9A", "E minor", 0.55),
    ("One", "Gamma", 90.0, "2B", "F# major", 0.2),
    ("Two", "Delta", 122.0, "8B", "C major", 0.6),
]


@pytest.fixture
def shelf(engine: Engine, tmp_path: Path) -> dict[str, int]:
    """Two libraries with four tracks; return the ids of libraries and tracks by their names."""
    ids: dict[str, int] = {}
    with engine.begin() as conn:
        for name in ("One", "Two"):
            (tmp_path / name).mkdir()
            library = register_library(conn, tmp_path / name)
            register_directories(conn, library, [b""])
            ids[name] = library.id
        for library_name, title, bpm, camelot, key, energy in ROWS:
            library_id = ids[library_name]
            directory = conn.execute(select(directories.c.id).where(directories.c.library_id == library_id)).scalar_one()
            place = {"library_id": library_id, "directory_id": directory, "relative_path": title.encode()}
            names = {"file_name": title, "file_path": f"{tmp_path}/{library_name}/{title}", "status": "ok", "genre": "House"}
            measured = {
                "bpm": bpm,
                "bpm_confidence": 0.9,
                "camelot": camelot,
                "key": key,
                "key_confidence": 0.9,
                "energy": energy,
            }
            vector = dict.fromkeys(DIMENSIONS, energy) | {"key": None}
            row = place | names | measured | {"title": title, "artist": "Someone", "duration": 200.0, "hamms_vector": vector}
            row |= {"loudness_lufs": -9.0, "bpm_alternatives": [{"value": 60.0, "probability": 0.1}], "audio_hash": title}
            ids[title] = conn.execute(insert(tracks).values(**row).returning(tracks.c.id)).scalar_one()
    return ids


def titles(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [track["title"] for track in answer.json()["tracks"]]


def test_tracks_come_page_by_page(log_in: LogIn, shelf: dict[str, int]) -> None:
    anna = log_in()
    first = anna.get("/api/tracks", params={"q": "sort:-bpm", "limit": 3, "count": True})
    assert titles(first) == ["Delta", "Beta", "Alpha"]
    assert (first.json()["count"], first.json()["more"]) == (4, False)
    rest = anna.get("/api/tracks", params={"q": "sort:-bpm", "limit": 3, "after": first.json()["next"]})
    assert titles(rest) == ["Gamma"]
    assert rest.json()["next"] is None


def test_a_user_sees_what_was_granted_and_nothing_else(log_in: LogIn, shelf: dict[str, int]) -> None:
    anna = log_in(libraries=[shelf["One"]])
    assert sorted(titles(anna.get("/api/search", params={"q": "someone"}))) == ["Alpha", "Beta", "Gamma"]
    hidden = shelf["Delta"]
    assert anna.get(f"/api/tracks/{hidden}").status_code == 404
    assert anna.put(f"/api/tracks/{hidden}", json={"title": "x"}).status_code == 404
    assert anna.delete(f"/api/tracks/{hidden}").status_code == 404
    assert anna.get(f"/api/tracks/{hidden}/similar").status_code == 404
    assert anna.get(f"/api/compatibility/{shelf['Alpha']}/{hidden}").status_code == 404
    assert anna.post("/api/compare", json={"tracks": [shelf["Alpha"], hidden]}).status_code == 404
    assert anna.post("/api/tracks/analyze", json={"track": hidden}).status_code == 409
    assert anna.post("/api/tracks/analyze", json={"place": {"library": shelf["Two"], "path": "x.mp3"}}).status_code == 409
    assert anna.post("/api/playlists", json={"name": "p", "tracks": [hidden]}).status_code == 409
    assert hidden not in [one["track"]["id"] for one in anna.get(f"/api/tracks/{shelf['Alpha']}/similar").json()]
    assert anna.get("/api/stats/library").json()["tracks"] == 3
    assert anna.get("/api/stats/genres").json()[0]["tracks"] == 3
    assert anna.get("/api/search/facets").json()["total"] == 3
    nobody = log_in("nobody", libraries=[])
    assert titles(nobody.get("/api/tracks")) == []
    assert nobody.get("/api/stats/library").json()["tracks"] == 0


def test_a_track_is_read_with_an_etag(log_in: LogIn, shelf: dict[str, int]) -> None:
    anna = log_in()
    answer = anna.get(f"/api/tracks/{shelf['Alpha']}")
    assert answer.json()["library"] == "One"
    assert answer.json()["hamms"]["energy"] == 0.5
    etag = answer.headers["etag"]
    again = anna.get(f"/api/tracks/{shelf['Alpha']}", headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")


def test_a_correction_wins_and_can_be_taken_back(log_in: LogIn, shelf: dict[str, int], engine: Engine) -> None:
    anna = log_in()
    address = f"/api/tracks/{shelf['Gamma']}"
    etag = anna.get(address).headers["etag"]
    answer = anna.put(address, json={"bpm": 180, "key": "Am"}, headers={"if-match": etag})
    assert answer.status_code == 200
    assert (answer.json()["bpm"], answer.json()["camelot"]) == (180.0, "8A")
    assert answer.json()["corrections"]["bpm"]["original"]["bpm"] == 90.0
    assert titles(anna.get("/api/search", params={"q": "bpm:180"})) == ["Gamma"]
    assert anna.put(address, json={"bpm": 181}, headers={"if-match": etag}).status_code == 412
    back = anna.put(address, json={"withdraw": ["bpm", "key"]})
    assert (back.json()["bpm"], back.json()["camelot"], back.json()["corrections"]) == (90.0, "2B", {})
    assert anna.put(address, json={"bpm": 5000}).status_code == 409
    with engine.connect() as conn:
        found = conn.execute(select(audit_log.c.user_name, audit_log.c.detail).where(audit_log.c.action == "track corrected"))
        assert [tuple(row) for row in found] == [("anna", {"fields": ["bpm", "key"]})] * 2


def test_a_deleted_track_is_hidden_until_it_is_restored(log_in: LogIn, shelf: dict[str, int]) -> None:
    anna = log_in()
    address = f"/api/tracks/{shelf['Alpha']}"
    assert anna.delete(address).status_code == 204
    assert "Alpha" not in titles(anna.get("/api/tracks"))
    assert titles(anna.get("/api/tracks", params={"q": "is:hidden"})) == ["Alpha"]
    assert anna.get(address).json()["hidden_at"] is not None
    assert anna.post(f"{address}/restore").status_code == 204
    assert "Alpha" in titles(anna.get("/api/tracks"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"bpm": [119, 121.5], "sort": "bpm"}, ["Alpha", "Beta"]),
        ({"bpm": [60, 61], "octaves": True, "sort": "bpm"}, ["Alpha", "Beta", "Delta"]),
        ({"keys": ["A minor"]}, ["Alpha"]),
        ({"keys": ["8A"], "compatible": True, "sort": "bpm"}, ["Alpha", "Beta", "Delta"]),
        ({"text": "gam"}, ["Gamma"]),
        ({"energy": [0.58, None]}, ["Delta"]),
        ({"hamms": {"danceability": [None, 0.3]}}, ["Gamma"]),
        ({"genre": 'Ho"use', "sort": "-bpm", "limit": 1}, []),
        ({"artist": "someone", "sort": "-bpm", "limit": 1}, ["Delta"]),
    ],
)
def test_advanced_searches(log_in: LogIn, shelf: dict[str, int], body: dict[str, Any], expected: list[str]) -> None:
    assert titles(log_in().post("/api/search/advanced", json=body)) == expected


@pytest.mark.parametrize(("q", "status"), [("bpm:fast", 400), ("sort:colour", 400), ("a" * 2001, 422)])
def test_a_query_that_cannot_be_read_is_told(log_in: LogIn, shelf: dict[str, int], q: str, status: int) -> None:
    answer = log_in().get("/api/search", params={"q": q})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_pages_of_nothing_that_was_given_are_refused(log_in: LogIn, shelf: dict[str, int]) -> None:
    assert log_in().get("/api/tracks", params={"after": "nonsense"}).status_code == 400


def test_tracks_are_compared_with_reasons(log_in: LogIn, shelf: dict[str, int]) -> None:
    anna = log_in()
    found = anna.post("/api/compare", json={"tracks": [shelf["Alpha"], shelf["Gamma"], shelf["Beta"]]}).json()
    assert len(found["scores"]) == len(found["order"]) == 3
    assert found["exact"] is True
    assert found["scores"][0][2] > found["scores"][0][1]
    one = anna.get(f"/api/compatibility/{shelf['Alpha']}/{shelf['Beta']}").json()
    assert one["label"] == "blend"
    assert one["score"] == pytest.approx(found["scores"][0][2], abs=1e-3)
    assert "8A" in one["parts"]["key"]["detail"]
    similar = anna.get(f"/api/tracks/{shelf['Alpha']}/similar", params={"q": "bpm:110..130"}).json()
    assert [one["track"]["title"] for one in similar] == ["Beta", "Delta"]


def test_who_sees_a_library_finds_it_in_the_list(log_in: LogIn, shelf: dict[str, int], engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as conn:
        conn.execute(text("UPDATE tracks SET missing_since = now() WHERE title = 'Alpha'"))
        conn.execute(text("UPDATE tracks SET status = 'failed' WHERE title = 'Beta'"))
    one, two = log_in("root", "admin").get("/api/libraries").json()["libraries"]
    assert (one["id"], one["name"], one["slug"], one["path"]) == (shelf["One"], "One", "one", f"{tmp_path}/One")
    assert (one["tracks"], one["failed"], one["missing"]) == (1, 1, 1)
    assert (two["tracks"], two["failed"], two["missing"], two["scanned_at"]) == (1, 0, 0, None)
    (seen,) = log_in("limited", libraries=[shelf["Two"]]).get("/api/libraries").json()["libraries"]
    assert seen == two | {"path": None}
    assert log_in("nobody", "viewer", libraries=[]).get("/api/libraries").json() == {"libraries": [], "next": None}


def test_statistics_count_what_there_is(log_in: LogIn, shelf: dict[str, int]) -> None:
    anna = log_in()
    library = anna.get("/api/stats/library").json()
    assert library["tracks"] == 4
    assert library["facets"]["genre"] == {"House": 4}
    assert library["whole"]["tracks"] == 4
    assert anna.get("/api/stats/genres").json()[0]["genre"] == "House"
    assert anna.get("/api/stats/timeline").json()["added"][0]["tracks"] == 4


def test_playlists_belong_to_who_made_them(log_in: LogIn, shelf: dict[str, int]) -> None:
    anna, ben, root = log_in("anna"), log_in("ben"), log_in("root", "admin")
    made = anna.post("/api/playlists", json={"name": "Friday", "tracks": [shelf["Alpha"], shelf["Beta"]]}).json()
    address = f"/api/playlists/{made['id']}"
    assert made["entries"][0]["transition_quality"] is None
    assert made["entries"][1]["transition_quality"] > 0.7
    assert ben.patch(address, json={"name": "Mine"}).status_code == 403
    assert ben.delete(address).status_code == 403
    turned = anna.patch(address, json={"tracks": [shelf["Beta"], shelf["Delta"], shelf["Alpha"]], "description": "late"}).json()
    assert [entry["track"]["title"] for entry in turned["entries"]] == ["Beta", "Delta", "Alpha"]
    limited = log_in("limited", libraries=[shelf["One"]])
    assert [entry["track"]["title"] for entry in limited.get(address).json()["entries"]] == ["Beta", "Alpha"]
    assert [one["name"] for one in ben.get("/api/playlists").json()["playlists"]] == ["Friday"]
    assert root.delete(address).status_code == 204
    assert anna.get(address).status_code == 404


def test_a_set_is_built_or_the_wish_that_cannot_be_kept_is_named(log_in: LogIn, shelf: dict[str, int]) -> None:
    anna = log_in()
    wishes = {"tracks": 3, "start": shelf["Alpha"]}
    made = anna.post("/api/playlists/build", json={"wishes": wishes, "name": "Built"}).json()
    assert (made["kind"], made["tracks"], made["entries"][0]["track"]["title"]) == ("set", 3, "Alpha")
    by_name = anna.post(
        "/api/playlists/build", json={"wishes": {"tracks": 3, "start": "alpha", "end": str(shelf["Beta"])}}
    ).json()
    assert [by_name["entries"][place]["track"]["title"] for place in (0, 2)] == ["Alpha", "Beta"]
    several = anna.post("/api/playlists/build", json={"wishes": {"tracks": 3, "start": "bpm:1.."}})
    assert (several.status_code, f": {shelf['Alpha']}" in several.json()["detail"]) == (400, True)
    assert (
        "No track is found by 'nowhere'"
        in anna.post("/api/playlists/build", json={"wishes": {"end": "nowhere"}}).json()["detail"]
    )
    answer = anna.post("/api/playlists/build", json={"wishes": {"tracks": 30}})
    assert answer.status_code == 409
    assert answer.json()["conflicts"][0]["said"]
    assert anna.post("/api/playlists/build", json={"wishes": {"colour": "red"}}).status_code == 400


def test_analysis_is_asked_for_watched_and_cancelled(log_in: LogIn, shelf: dict[str, int], engine: Engine) -> None:
    anna = log_in()
    body = {"tracks": [shelf["Alpha"]], "places": [{"library": shelf["Two"], "path": "New/b.mp3"}], "priority": 2}
    job = anna.post("/api/batch/analyze", json=body).json()
    assert (job["status"], job["total"], job["done"]) == ("pending", 2, 0)
    with engine.begin() as conn:
        rows = conn.execute(select(analysis_queue.c.file_path, analysis_queue.c.priority).order_by(analysis_queue.c.id)).all()
        assert [row.file_path.rpartition("/Two/")[2] for row in rows][1] == "New/b.mp3"
        assert {row.priority for row in rows} == {2}
        conn.execute(text("UPDATE analysis_queue SET status = 'failed', completed_at = now() WHERE file_path LIKE '%Alpha'"))
    found = anna.get(f"/api/batch/{job['id']}").json()
    assert (found["status"], found["done"], found["failed"]) == ("running", 1, 1)
    assert log_in("ben").get(f"/api/batch/{job['id']}").status_code == 404
    ended = anna.delete(f"/api/batch/{job['id']}").json()
    assert (ended["status"], ended["done"]) == ("cancelled", 2)
    with engine.connect() as conn:
        assert conn.execute(select(analysis_queue.c.status).order_by(analysis_queue.c.id)).scalars().all() == [
            "failed",
            "cancelled",
        ]


def test_many_places_cost_as_many_queries_as_one(log_in: LogIn, shelf: dict[str, int], engine: Engine) -> None:
    anna, counts = log_in(), []
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    for size in (1, 200):
        statements.clear()
        body = {"places": [{"library": shelf["One"], "path": f"{number}.mp3"} for number in range(size)]}
        assert anna.post("/api/batch/analyze", json=body).json()["total"] == size
        counts.append(sum(statement.startswith("SELECT") for statement in statements))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("path", ["../x.mp3", "a/../../x", "/etc/passwd", "a\0b", "bad\\escape"])
def test_a_place_cannot_lead_out_of_its_library(log_in: LogIn, shelf: dict[str, int], path: str) -> None:
    answer = log_in().post("/api/tracks/analyze", json={"place": {"library": shelf["One"], "path": path}})
    assert answer.status_code in (400, 422)  # 422: a NUL is in no body


def test_duplicates_are_decided_and_the_decision_taken_back(log_in: LogIn, shelf: dict[str, int], engine: Engine) -> None:
    from map4_pipeline.store.duplicates import rebuild_duplicates

    with engine.begin() as conn:
        conn.execute(text("UPDATE tracks SET audio_hash = 'same', file_hash = title WHERE title IN ('Alpha', 'Beta')"))
    rebuild_duplicates(engine)
    anna = log_in()
    (group,) = anna.get("/api/duplicates").json()["groups"]
    address = f"/api/duplicates/{group['group']}"
    assert group["kind"] == "identical_audio"
    decided = anna.post(f"{address}/decision", json={"verdict": "keep", "keeper": shelf["Beta"]}).json()
    assert (decided["state"], decided["keeper"], decided["history"][0]["decided_by"]) == ("keep", shelf["Beta"], "anna")
    assert anna.get("/api/duplicates").json() == {"groups": [], "next": None}
    assert anna.post(f"{address}/decision", json={"verdict": "keep", "keeper": shelf["Delta"]}).status_code == 409
    assert anna.delete(f"{address}/decision").json()["state"] == "open"
    assert log_in("limited", libraries=[shelf["Two"]]).get(address).status_code == 404


def test_what_is_read_again_comes_from_the_cache_and_is_never_stale(log_in: LogIn, shelf: dict[str, int]) -> None:
    anna: TestClient = log_in()
    assert titles(anna.get("/api/search", params={"q": "alpha"})) == ["Alpha"]
    anna.put(f"/api/tracks/{shelf['Alpha']}", json={"title": "Omega"})
    assert titles(anna.get("/api/search", params={"q": "alpha"})) == []
    assert titles(anna.get("/api/search", params={"q": "omega"})) == ["Omega"]


def test_what_somebody_else_changed_is_not_written_over(log_in: LogIn) -> None:
    root = log_in("root", "admin")
    made = root.post("/api/playlists", json={"name": "Friday"}).json()["id"]
    address = f"/api/playlists/{made}"
    seen = root.get(address).headers["etag"]
    changed = root.patch(address, json={"name": "Saturday"}, headers={"if-match": seen})
    assert changed.status_code == 200
    assert changed.headers["etag"] not in (None, seen)
    refused = root.patch(address, json={"name": "Sunday"}, headers={"if-match": seen})
    assert (refused.status_code, refused.json()["type"]) == (412, "urn:map4:problem:changed")
    user = root.post("/api/users", json={"name": "new"}).json()["id"]
    etag = root.get(f"/api/users/{user}").headers["etag"]
    assert root.patch(f"/api/users/{user}", json={"role": "user"}, headers={"if-match": etag}).status_code == 200
    assert root.patch(f"/api/users/{user}", json={"role": "admin"}, headers={"if-match": etag}).status_code == 412
    assert root.get(f"/api/users/{user}").json()["role"] == "user"


def test_a_body_has_the_types_of_its_description_and_an_address_names_all_its_methods(log_in: LogIn) -> None:
    client = log_in("anna")
    assert client.post("/api/search/advanced", json={"count": 0}).status_code == 422
    assert client.post("/api/search/advanced", json={"limit": "5"}).status_code == 422
    assert client.post("/api/search/advanced", json={"limit": 5.0, "keys": ["8A", "C major"], "count": True}).status_code == 200
    assert client.post("/api/search/advanced", json={"keys": ["H dur?"]}).json()["type"] == "urn:map4:problem:invalid-query"
    refused = client.get("/api/batch/analyze")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert client.post("/api/tracks/7").headers["allow"] == "DELETE, GET, PUT"
