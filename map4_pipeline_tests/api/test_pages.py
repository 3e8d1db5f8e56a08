"""The pages as they are sent: what they escape, where they lead, who sees what; and the sound of a track."""

import math
import os
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert, select

from map4_pipeline.api.pages import words
from map4_pipeline.api.pages.rendering import local_path
from map4_pipeline.api.routes.export import Format
from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.store.directories import register_directories
from map4_pipeline.store.libraries import register_library
from map4_pipeline.store.schema import analyses, directories, tracks

from .conftest import PASSWORD, LogIn

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
SOUND = bytes(range(256)) * 40
PAGES = (
    "/", "/?q=someone&sort=bpm", "/doubtful", "/playlists", "/playlists/new", "/playlists/build", "/duplicates", "/statistics",
    "/exports", "/account", "/admin", "/admin/users", "/admin/audit", "/password",
)  # fmt: skip


@pytest.fixture
def shelf(engine: Engine, tmp_path: Path) -> dict[str, int]:
    """A library with three tracks, one of them named by an enemy; return ids by title."""
    return furnish(engine, tmp_path / "Music")


def furnish(engine: Engine, folder: Path) -> dict[str, int]:
    folder.mkdir(parents=True, exist_ok=True)
    ids: dict[str, int] = {}
    with engine.begin() as conn:
        library = register_library(conn, folder)
        register_directories(conn, library, [b""])
        directory = conn.execute(select(directories.c.id)).scalar_one()
        ids["library"] = library.id
        rows = (
            ("Alpha", 120.0, "8A", "A minor", 0.3),
            ("Beta", 121.0, "9A", "E minor", 0.6),
            (HOSTILE, 122.0, "8B", "C major", 0.9),
        )
        for number, (title, bpm, camelot, key, energy) in enumerate(rows):
            name = f"{number}.wav"
            (folder / name).write_bytes(SOUND)
            vector = dict.fromkeys(DIMENSIONS, energy) | {"key": None}
            row = {
                "library_id": library.id, "directory_id": directory, "relative_path": name.encode(), "file_name": name,
                "file_path": str(folder / name), "status": "ok", "genre": "House" if number else HOSTILE, "bpm": bpm,
                "bpm_confidence": 0.3 if number == 0 else 0.9, "camelot": camelot, "key": key, "key_confidence": 0.9,
                "energy": energy, "title": title, "artist": "Someone", "duration": 200.0, "hamms_vector": vector,
                "loudness_lufs": -9.0, "bpm_alternatives": [{"value": 60.0, "probability": 0.1}], "audio_hash": title,
            }  # fmt: skip
            ids[title] = conn.execute(insert(tracks).values(**row).returning(tracks.c.id)).scalar_one()
    return ids


def draw_alpha(engine: Engine) -> None:
    """Give Alpha an envelope and two sections."""
    waveform = [round(120 + 100 * math.sin(place / 9) * math.sin(place / 61)) for place in range(400)]
    sections = [{"start": 0, "end": 100, "label": "A"}, {"start": 100, "end": 200, "label": "B"}]
    row = {"audio_hash": "Alpha", "stage": "features", "engine": "map4", "version": "v"}
    with engine.begin() as conn:
        conn.execute(tracks.update().where(tracks.c.title == "Alpha").values(features_version="v", file_hash="f"))
        conn.execute(insert(analyses).values(**row, payload={"features": {"waveform": waveform, "sections": sections}}))


def test_every_page_is_shown_and_nothing_of_a_track_becomes_markup(log_in: LogIn, shelf: dict[str, int]) -> None:
    root = log_in("root", "admin")
    made = root.post("/api/playlists", json={"name": HOSTILE, "tracks": [shelf["Alpha"], shelf[HOSTILE]]}).json()
    chosen = f"t={shelf['Alpha']}&t={shelf[HOSTILE]}"
    more = (f"/tracks/{shelf[HOSTILE]}", f"/compare?{chosen}", f"/playlists/new?{chosen}", f"/playlists/{made['id']}")
    for address in (*PAGES, *more):
        answer = root.get(address)
        assert answer.status_code == 200, (address, answer.text)
        assert answer.headers["content-type"].startswith("text/html")
        assert "<script>alert" not in answer.text, address
        assert "<img" not in answer.text, address
        assert " style=" not in answer.text, "the policy of contents forbids it"
        assert "<h1" in answer.text, address
    assert "&lt;script&gt;alert(1)" in root.get(more[0]).text


def test_who_has_not_logged_in_is_led_to_the_login_and_back(client: TestClient, log_in: LogIn, shelf: dict[str, int]) -> None:
    answer = client.get("/playlists?x=1", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fplaylists%3Fx%3D1")
    log_in("anna")
    wrong = client.post("/login", data={"name": "anna", "password": "wrong"})
    assert (wrong.status_code, "Name or password is wrong" in wrong.text) == (401, True)
    form = {"name": "anna", "password": PASSWORD, "next": "/playlists?x=1"}
    foreign = client.post("/login", data=form, headers={"origin": "https://evil.example"}, follow_redirects=False)
    assert foreign.status_code == 403
    right = client.post("/login", data=form, follow_redirects=False)
    assert (right.status_code, right.headers["location"]) == (303, "/playlists?x=1")
    assert client.get("/login?next=//evil.example", follow_redirects=False).headers["location"] == "/"


@pytest.mark.parametrize(
    "address",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", None, "x", "/a\nb", "/a\tb"],
)
def test_the_login_leads_nowhere_else(address: str | None) -> None:
    assert local_path(address) == "/"


def test_a_first_password_has_to_be_changed_before_anything_is_shown(app: FastAPI, log_in: LogIn) -> None:
    made = log_in("root", "admin").post("/api/users", json={"name": "new", "role": "user"}).json()
    client = TestClient(app, client=("127.0.0.1", 50_000))
    entered = client.post("/login", data={"name": "new", "password": made["one_time_password"]}, follow_redirects=False)
    assert entered.headers["location"] == "/password"
    assert client.get("/", follow_redirects=False).headers["location"] == "/password"
    assert "first login only" in client.get("/password").text


def test_a_page_offers_what_its_reader_may(log_in: LogIn, shelf: dict[str, int]) -> None:
    viewer, user, root = log_in("vera", "viewer"), log_in("anna"), log_in("root", "admin")
    address = f"/tracks/{shelf['Alpha']}"
    assert "Save the corrections" in user.get(address).text
    assert "Save the corrections" not in viewer.get(address).text
    assert "/admin" in root.get("/").text
    assert "/admin" not in user.get("/").text
    for client in (viewer, user):
        refused = client.get("/admin")
        assert (refused.status_code, refused.headers["content-type"][:9]) == (403, "text/html")
    assert viewer.get("/exports").status_code == 403
    blind = log_in("nobody", libraries=[])
    assert blind.get(address).status_code == 404
    assert "Alpha" not in blind.get("/?q=alpha").text


def test_a_wrong_address_and_a_defect_are_pages_for_people_and_problems_for_programs(
    app: FastAPI, log_in: LogIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, browser = log_in(), {"accept": "text/html,*/*;q=0.8"}
    people, programs = anna.get("/nowhere", headers=browser), anna.get("/nowhere")
    assert (people.status_code, people.headers["content-type"][:9]) == (404, "text/html")
    assert "There is nothing at this address." in people.text
    assert programs.headers["content-type"] == "application/problem+json"
    assert anna.get("/api/nowhere", headers=browser).headers["content-type"] == "application/problem+json"
    refused = anna.delete("/doubtful", headers=browser)
    assert (refused.status_code, "GET" in refused.headers["allow"]) == (405, True)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr("map4_pipeline.api.pages.review.read_sums", broken)
    client = TestClient(app, client=("127.0.0.1", 50_000), cookies=anna.cookies, raise_server_exceptions=False)
    defect = client.get("/statistics", headers=browser)
    assert (defect.status_code, "Number of the request" in defect.text, "secret" in defect.text) == (500, True, False)


def test_words_for_what_programs_call_otherwise() -> None:
    chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
    assert [words.agent(one) for one in (chrome, "map4/1.0", None)] == ["Chrome on Linux", "map4/1.0", "unknown"]
    assert [words.codec(one) for one in ("mp3", "vorbis", "pcm_s16le", None)] == ["MP3", "Vorbis", "PCM s16le", ""]
    assert [words.typed(one) for one in (123.998, 0.536258, 2021, None)] == ["124", "0.54", "2021", ""]
    assert words.told({"with": "password", "libraries": [1, 2], "was": {"role": None}}) == (
        "with: password, libraries: 1, 2, was: (role: none)"
    )
    assert words.likely([{"value": 1, "probability": 0.004}, {"value": 2, "probability": 0.005}]) == [
        {"value": 2, "probability": 0.005}
    ]
    assert words.FORMATS.keys() == {one.value for one in Format}


def test_a_search_says_what_is_wrong_with_it_and_narrows_down(log_in: LogIn, shelf: dict[str, int]) -> None:
    anna = log_in()
    wrong = anna.get("/?q=bpm:fast")
    assert (wrong.status_code, 'role="alert"' in wrong.text) == (400, True)
    shown = anna.get("/", params={"q": "genre:House"}).text
    assert "Beta" in shown
    assert "Alpha" not in shown
    assert "q=genre%3AHouse+key%3A9A" in shown


def test_a_correction_is_shown_beside_what_was_measured(log_in: LogIn, shelf: dict[str, int]) -> None:
    anna = log_in()
    assert "Alpha" in anna.get("/doubtful").text
    assert anna.put(f"/api/tracks/{shelf['Alpha']}", json={"bpm": 60}).status_code == 200
    shown = anna.get(f"/tracks/{shelf['Alpha']}").text
    assert "corrected by anna" in shown
    assert "measured 120.0" in shown
    assert "Alpha" not in anna.get("/doubtful").text


def test_a_drawing_shows_the_form_of_a_track(log_in: LogIn, shelf: dict[str, int], engine: Engine) -> None:
    draw_alpha(engine)
    shown = log_in().get(f"/tracks/{shelf['Alpha']}").text
    assert "Waveform with 2 sections" in shown
    assert "B: 1:40 to 3:20" in shown


def test_what_is_rare_is_shown_too(log_in: LogIn, shelf: dict[str, int], engine: Engine) -> None:
    claims = {
        "subgenre": {"value": HOSTILE, "basis": "tags", "confidence": 0.8},
        "moods": {"value": ["dark", "calm"], "basis": "model knowledge", "confidence": 0.5},
        "era": {"value": None, "basis": "unknown", "confidence": 0.0},
    }
    contradiction = {"claim": "tempo_bpm", "claimed": 174, "known": 120.0, "reason": "measured otherwise"}
    annotation = {"claims": claims, "contradictions": [contradiction], "model": "m-1"}
    findings = [{"code": "clipping", "message": "It clips.", "value": 3.0}]
    with engine.begin() as conn:
        there = tracks.c.id == shelf["Alpha"]
        conn.execute(tracks.update().where(there).values(ai_analysis=annotation, ai_provider="openai", findings=findings))
        nothing = dict.fromkeys(("bpm", "bpm_confidence", "bpm_alternatives", "key", "camelot", "key_confidence", "energy"))
        nothing |= dict.fromkeys(("hamms_vector", "loudness_lufs", "duration", "title", "artist", "genre"))
        failed = nothing | {"status": "failed", "error_kind": "decode", "error_message": "no sound in it"}
        conn.execute(tracks.update().where(tracks.c.id == shelf["Beta"]).values(failed))
    root = log_in("root", "admin")
    shown = root.get(f"/tracks/{shelf['Alpha']}").text
    for said in ("model knowledge", "dark, calm", "said 174, known 120.0", "It clips.", "&lt;script&gt;"):
        assert said in shown
    assert "<script>alert" not in shown
    broken = root.get(f"/tracks/{shelf['Beta']}")
    assert (broken.status_code, broken.text.count("could not be analysed")) == (200, 3), (
        "once as told, once for tempo and key each"
    )
    for said, there in (
        ("no sound in it", True),
        ("not analysed yet", False),
        ("no HAMMS vector", False),
        ("Build a set", False),
    ):
        assert (said in broken.text) == there, said
    assert "no sound in it" in root.get("/", params={"q": "is:failed"}).text
    assert root.get(f"/compare?t={shelf['Alpha']}&t={shelf['Beta']}").status_code == 200
    log_in("limited", libraries=[shelf["library"]])
    users = {user["name"]: user["id"] for user in root.get("/api/users").json()["users"]}
    assert root.patch(f"/api/users/{users['limited']}", json={"active": False}).status_code == 200
    assert "locked" in root.get("/admin/users").text
    made = root.post("/api/playlists", json={"name": "Mixed", "tracks": [shelf["Alpha"], shelf["Beta"]]}).json()
    assert root.get(f"/playlists/{made['id']}").status_code == 200
    assert "Save the order" not in log_in("ben").get(f"/playlists/{made['id']}").text
    root.post("/api/tracks/analyze", json={"track": shelf["Alpha"]})
    assert "0.wav" in root.get("/admin").text
    assert root.post("/api/export/csv", json={"query": HOSTILE.replace('"', "")}).status_code in (202, 400)
    assert "<script>alert" not in root.get("/exports").text


# ------------------------------------------------------------------ sound
@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [(None, 200, SOUND), ("bytes=0-99", 206, SOUND[:100]), ("bytes=10000-", 206, SOUND[10_000:]), ("bytes=-50", 206, SOUND[-50:]),
     ("bytes=99999-", 416, None)],
)  # fmt: skip
def test_sound_is_sent_in_ranges(
    log_in: LogIn, shelf: dict[str, int], asked: str | None, status: int, expected: bytes | None
) -> None:
    answer = log_in("vera", "viewer").get(f"/api/tracks/{shelf['Alpha']}/audio", headers={"range": asked} if asked else {})
    assert answer.status_code == status
    if expected is not None:
        assert answer.content == expected
        assert (answer.headers["content-type"], answer.headers["accept-ranges"]) == ("audio/wav", "bytes")
    else:
        assert answer.headers["content-range"].endswith(f"/{len(SOUND)}")


def test_sound_is_for_those_who_see_the_track(log_in: LogIn, client: TestClient, shelf: dict[str, int]) -> None:
    address = f"/api/tracks/{shelf['Alpha']}/audio"
    assert client.get(address).status_code == 401
    assert log_in("nobody", libraries=[]).get(address).status_code == 404
    token = log_in("anna").post("/api/auth/tokens", json={"name": "t", "scopes": ["export"]}).json()["token"]
    assert client.get(address, headers={"authorization": f"Bearer {token}"}).status_code == 403


def test_sound_never_comes_from_outside_the_library(log_in: LogIn, shelf: dict[str, int], tmp_path: Path, engine: Engine) -> None:
    anna = log_in()
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"not yours")
    played, inside = tmp_path / "Music" / "0.wav", f"/api/tracks/{shelf['Alpha']}/audio"
    played.unlink()
    assert anna.get(inside).status_code == 410
    played.symlink_to(secret)
    assert anna.get(inside).status_code == 404
    played.unlink()
    played.symlink_to("1.wav")
    assert anna.get(inside).content == SOUND
    played.unlink()
    os.mkfifo(played)
    assert anna.get(inside).status_code == 410
    for path in (b"../secret.wav", os.fsencode(secret)):
        with engine.begin() as conn:
            conn.execute(tracks.update().where(tracks.c.id == shelf["Beta"]).values(relative_path=path))
        assert anna.get(f"/api/tracks/{shelf['Beta']}/audio").status_code == 404


def test_what_pages_are_made_of_is_sent_to_everybody_and_nothing_else_is(client: TestClient) -> None:
    page = client.get("/login").text
    for ending, kind in (("map4.css", "text/css"), ("map4.js", "javascript"), ("icon.svg", "image/svg+xml")):
        assert f"/static/{ending}?v=" in page
        assert kind in client.get(f"/static/{ending}").headers["content-type"]
    assert client.get("/static/..%2fapp.py").status_code == 404
