"""The program against a server elsewhere: the generated client over a real socket, tokens in a file that is the user's alone."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from sqlalchemy import Engine

from map4_pipeline import settings as settings_module
from map4_pipeline.api import passwords
from map4_pipeline.api.app import create_app
from map4_pipeline.client import Client, ProblemError, TransportError
from map4_pipeline.settings import Settings
from map4_pipeline.store.accounts import create_user

from ..api.conftest import PASSWORD, served
from ..api.test_pages import furnish
from .conftest import Invoke

pytestmark = pytest.mark.xdist_group("remote")


@pytest.fixture
def ids(engine: Engine, tmp_path: Path) -> dict[str, int]:
    return furnish(engine, tmp_path / "Music")


@pytest.fixture
def server(
    settings: Settings, engine: Engine, ids: dict[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[str]:
    """A server with the user anna; the token file of whoever runs the program is not there yet."""
    monkeypatch.setattr(passwords, "COST", 4)
    with engine.begin() as conn:
        create_user(conn, "anna", "user", password_hash=passwords.hash_password(PASSWORD), library_ids=None)
    with served(create_app(settings, engine)) as address:
        # The program has no database of its own: whatever it shows comes from the server.
        monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
        monkeypatch.setenv("MAP4_TOKEN_FILE", str(tmp_path / "config" / "token"))
        settings_module.settings.cache_clear()
        yield address


def test_a_user_logs_in_and_uses_the_library_from_afar(
    server: str, ids: dict[str, int], invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = invoke("--server", server, "search", "beta")
    assert refused.exit_code == 2
    assert "login" in refused.stderr
    assert "Logged in" in invoke("login", "--server", server, "--name", "anna", "--password", PASSWORD).stdout
    token = tmp_path / "config" / "token"
    assert token.stat().st_mode & 0o777 == 0o600
    token.chmod(0o644)
    assert "chmod 600" in invoke("--server", server, "search", "beta").stderr
    token.chmod(0o600)

    assert "Beta" in invoke("--server", server, "search", "beta").stdout
    monkeypatch.setenv("MAP4_SERVER", server)
    settings_module.settings.cache_clear()
    (row,) = [json.loads(line) for line in invoke("search", "beta", "--json").stdout.splitlines()]
    assert row["id"] == ids["Beta"]
    assert invoke("search", "--count").stdout == "3\n"
    assert "House" in invoke("search", "--facets").stdout
    assert len(invoke("tracks", "--json").stdout.splitlines()) == 3
    assert "Alpha" in invoke("similar", str(ids["Beta"])).stdout
    assert "The best order" in invoke("compare", str(ids["Alpha"]), "beta").stdout
    assert "'²' finds no track" in invoke("compare", "²", "beta").stderr
    assert "'²' is neither the id" in invoke("queue", "add", "²").stderr
    assert json.loads(invoke("status", "--json").stdout)["library"]["tracks"] == 3
    assert "3" in invoke("status").stdout

    made = json.loads(invoke("playlist", "create", "Friday", "beta", str(ids["Alpha"]), "--json").stdout)
    assert [entry["track"]["title"] for entry in made["entries"]] == ["Beta", "Alpha"]
    assert "Friday" in invoke("playlist", "list").stdout
    assert "Alpha" in invoke("playlist", "show", "Friday").stdout

    deck = tmp_path / "friday.xml"
    told = invoke(
        "export", "--output", str(deck), "--playlist", "Friday", "--path-map", f"{tmp_path}/Music=/Users/anna", "--measured",
        "--key-notation", "camelot",
    )  # fmt: skip
    assert "2 tracks" in told.stdout, told.stderr
    places = {track.get("Location") for track in ElementTree.parse(deck).iterfind("COLLECTION/TRACK")}
    assert places == {"file://localhost/Users/anna/0.wav", "file://localhost/Users/anna/1.wav"}
    new = [invoke("export", "--new", "--output", str(tmp_path / "new.m3u8")).stdout for _ in range(2)]
    assert [said.partition(": ")[2][:8] for said in new] == ["3 tracks", "0 tracks"]
    assert "no playlist 'Saturday'" in invoke("export", "--format", "m3u8", "--playlist", "Saturday").stderr
    assert "for rekordbox and traktor" in invoke("export", "--format", "csv", "--measured").stderr

    assert invoke("playlist", "delete", "Friday").exit_code == 0
    assert invoke("playlist", "show", str(made["id"])).exit_code == 2

    target = tmp_path / "out.csv"
    assert "2 tracks" in invoke("export", "bpm:121..122", "--output", str(target)).stdout
    poured = invoke("export", "bpm:121..122", "--format", "csv", "--output", "-")
    assert (poured.stdout.encode(), poured.stderr) == (target.read_bytes(), "2 tracks\n")
    assert len(target.read_text(encoding="utf-8-sig").splitlines()) == 3
    assert [path.name for path in target.parent.glob("*.part")] == []
    job = invoke("queue", "add", str(ids["Beta"])).stdout.split()[0]
    assert "0 of 1" in invoke("queue", "show", job).stdout
    assert "cancelled" in invoke("queue", "cancel", job).stdout
    assert "nothing to decide" in invoke("duplicates").stdout
    (seen,) = [json.loads(line) for line in invoke("library", "list", "--json").stdout.splitlines()]
    assert (seen["id"], seen["name"], seen["tracks"], seen["path"]) == (ids["library"], "Music", 3, None)
    shown = invoke("library", "list").stdout
    assert f"{ids['library']}  Music" in shown
    assert "3 tracks; never scanned" in shown
    away = invoke("library", "watch", "music", "on")
    assert (away.exit_code, "own machine" in away.stderr) == (2, True)
    assert "No such command" in invoke("library", "lift").stderr


def test_what_cannot_be_asked_is_told(server: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "own machine" in invoke("--server", server, "ingest").stderr
    assert "needs a server" in invoke("login").stderr
    assert "needs an address" in invoke("search", "--server").stderr
    away = invoke("--server", "http://127.0.0.1:9", "search")
    assert away.exit_code == 3
    assert "does not answer" in away.stderr
    monkeypatch.setenv("MAP4_TOKEN", "map4_wrong")
    settings_module.settings.cache_clear()
    assert "not valid" in invoke("--server", server, "search").stderr


def test_the_client_keeps_what_others_changed_and_never_leaves_its_address(server: str, ids: dict[str, int]) -> None:
    with Client(server) as anybody:
        pair = anybody.create_tokens({"name": "anna", "password": PASSWORD})
    with Client(server, pair["access_token"]) as client:
        client.get_track(ids["Alpha"])
        etag = client.etag
        assert etag is not None
        assert client.update_track(ids["Alpha"], {"bpm": 128.0}, if_match=etag)["bpm"] == 128.0
        with pytest.raises(ProblemError, match="changed meanwhile") as changed:
            client.update_track(ids["Alpha"], {"bpm": 90.0}, if_match=etag)
        assert (changed.value.status, changed.value.code) == (412, "changed")
        with pytest.raises(ProblemError) as missing:
            client.get_batch("../users")
        assert missing.value.status == 404, "a value is one segment of the address, so this is nobody's"
        with open(os.devnull, "wb") as nowhere:
            client.get_audio(ids["Alpha"], to=nowhere)
    with Client("127.0.0.1:9") as nobody, pytest.raises(TransportError, match="does not answer"):
        nobody.live()
