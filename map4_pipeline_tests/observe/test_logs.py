"""Logs: JSON a line, rotation by several processes, what is masked, what a line belongs to."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.contextvars import bound_contextvars

from map4_pipeline.observe import logs
from map4_pipeline.observe.files import SharedRotatingFile
from map4_pipeline.observe.masking import Masker, secrets_of
from map4_pipeline.settings import Settings, load_settings

PASSWORD = "p@ss:w/rd"
DATABASE = "postgresql://map4:p%40ss%3Aw%2Frd@db.example.org/map4"


@pytest.fixture
def restored() -> Iterator[None]:
    """Logging as it was, whatever the test does to it."""
    root = logging.getLogger()
    handlers, level, factory = list(root.handlers), root.level, logging.getLogRecordFactory()
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.setLogRecordFactory(factory)
    logs._plain_factory = None
    logs.bind_process(program=None, run_id=None, request_id=None)


@pytest.fixture
def configured(home: Path, clean_environment: None, restored: None) -> Settings:
    return load_settings(home=home, database_url=SecretStr(DATABASE), secret_key=SecretStr("k" * 40))


def lines_of(settings: Settings) -> list[dict[str, object]]:
    return [json.loads(line) for line in logs.log_path(settings).read_text(encoding="utf-8").splitlines()]


def test_a_line_is_one_json_object_that_says_what_it_belongs_to(configured: Settings) -> None:
    logs.configure_logging(configured, "serve")
    log = logging.getLogger("map4.test")
    with bound_contextvars(request_id="req-1"):
        logs.event(log, logging.INFO, "request", method="GET", status=200, title="Björk\n\0\ud800")
    log.warning("plain %s", "words")
    first, second = lines_of(configured)
    assert list(first)[:4] == ["timestamp", "level", "logger", "message"]
    assert (first["message"], first["request_id"], first["status"], first["program"]) == ("request", "req-1", 200, "serve")
    assert (second["level"], second["message"], second["logger"]) == ("warning", "plain words", "map4.test")
    assert "request_id" not in second
    assert str(first["timestamp"]).endswith("Z")


def test_nothing_secret_is_written_wherever_it_stands(configured: Settings) -> None:
    console = io.StringIO()
    logs.configure_logging(configured, "serve", console=console)
    log = logging.getLogger("map4.test")
    log.info("connecting to %s with %s", DATABASE, PASSWORD)
    log.info("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl and map4_abcdefghijklmnopqrstuvwx")
    logs.event(log, logging.INFO, "login", password="correct horse", headers={"Cookie": "map4=abc", "X-CSRF-Token": "t0ken"})
    try:
        raise ValueError(f"could not connect with {PASSWORD} and password='other one' to redis://:geheim@host:6379/0")
    except ValueError:
        log.exception("it failed")
    written = logs.log_path(configured).read_text(encoding="utf-8") + console.getvalue()
    for secret in (PASSWORD, "p%40ss", "kkkk", "eyJ", "map4_abc", "correct horse", "map4=abc", "t0ken", "other one", "geheim"):
        assert secret not in written, secret
    assert all(json.loads(line) for line in console.getvalue().splitlines()), "JSON where it is no terminal"
    assert "it failed" in written
    assert "ValueError" in written


def test_the_console_shows_plain_text_when_asked_and_debug_is_for_the_file(configured: Settings) -> None:
    console = io.StringIO()
    chatty = configured.model_copy(update={"log_level": "DEBUG", "log_format": "text"})
    logs.configure_logging(chatty, "serve", console=console)
    logging.getLogger("map4.test").debug("details")
    logs.event(logging.getLogger("map4.test"), logging.INFO, "request", route="/api/tracks")
    assert "details" not in console.getvalue()
    assert "route=/api/tracks" in console.getvalue()
    assert [line["message"] for line in lines_of(chatty)] == ["details", "request"]


def test_a_record_is_masked_for_handlers_of_others_too(configured: Settings) -> None:
    logs.configure_logging(configured, "daemon")
    seen = io.StringIO()
    theirs = logging.StreamHandler(seen)
    logger = logging.getLogger("dagster.test")
    logger.addHandler(theirs)
    logger.warning("storage at %s", DATABASE)
    logger.removeHandler(theirs)
    assert "p%40ss" not in seen.getvalue()
    assert "storage at" in seen.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("amqp://u:secret@h/v", "amqp://u:***@h/v"),
        ("token=abc123; next", "token=***; next"),
        ("The token is not valid", "The token is not valid"),
        ("key of sk-" + "a1" * 10, "key of ***"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ***"),
        ("/music/basic channel/quadrant.flac", "/music/basic channel/quadrant.flac"),
    ],
)
def test_secrets_are_known_by_their_shape(text: str, shown: str) -> None:
    assert Masker().text(text) == shown


def test_secrets_of_settings_are_keys_and_passwords_not_hosts(configured: Settings) -> None:
    found = secrets_of(configured)
    assert {DATABASE, PASSWORD, "k" * 40} <= set(found)
    assert not any(secret in ("map4", "db.example.org") for secret in found)


_WRITER = """
import logging, sys
from pathlib import Path
from map4_pipeline.observe.files import SharedRotatingFile
handler = SharedRotatingFile(Path(sys.argv[1]), max_bytes=20_000, backups=60)
for number in range(2000):
    handler.emit(logging.makeLogRecord({"msg": f"{sys.argv[2]} {number:05} " + "x" * 40}))
"""


def test_processes_share_a_file_and_no_line_is_lost_or_torn_when_it_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "map4.log"
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(path), name]) for name in ("a", "b", "c")]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    files = sorted(path.parent.iterdir())
    assert len(files) > 5
    assert all(file.stat().st_size <= 20_000 + 3 * 60 for file in files), "each may be in the middle of a line"
    lines = [line.split()[:2] for file in files for line in file.read_text().splitlines()]
    assert sorted(map(tuple, lines)) == sorted((name, f"{number:05}") for name in "abc" for number in range(2000))


def test_the_oldest_file_goes(tmp_path: Path) -> None:
    handler = SharedRotatingFile(tmp_path / "map4.log", max_bytes=100, backups=2)
    for number in range(10):
        handler.emit(logging.makeLogRecord({"msg": f"{number}" + "x" * 60}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map4.log", "map4.log.1", "map4.log.2"]
    assert (tmp_path / "map4.log").read_text().startswith("9")


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "map4.log").mkdir()
    handler = SharedRotatingFile(tmp_path / "map4.log")
    for _ in range(3):
        handler.emit(logging.makeLogRecord({"msg": "words"}))
    assert capsys.readouterr().err.count("cannot be written") == 1
