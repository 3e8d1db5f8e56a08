"""The sensors, tick by tick, against real instances: what they launch, and that they launch nothing else."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    DagsterExecutionInterruptedError,
    DagsterInstance,
    DagsterRunStatus,
    RunRequest,
    build_run_status_sensor_context,
)
from sqlalchemy import text

from map4_pipeline.observe.logs import log_path
from map4_pipeline.orchestration.alerts import send_alerts
from map4_pipeline.orchestration.definitions import build_defs
from map4_pipeline.orchestration.failure_sensor import failed_runs
from map4_pipeline.orchestration.orphans import owner_tag
from map4_pipeline.orchestration.scope import OWNER_TAG, QUEUE_TAG, REQUEST_TAG, SCANS_TAG
from map4_pipeline.orchestration.under_way import RANGE_TAGS, under_way
from map4_pipeline.settings import Settings, load_settings
from map4_pipeline.store import queue
from map4_pipeline.store.controls import pause, resume
from map4_pipeline.store.failures import recent_run_failures
from map4_pipeline.store.jobs import create_batch
from map4_pipeline.store.libraries import register_library

from ..ingest.music import Shelf, write_music
from .work import QUIET, execute, registered, tick


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two looks may follow each other at once."""
    from map4_pipeline.orchestration import resources

    monkeypatch.setattr(resources, "settings", lambda: load_settings(watch_settle_seconds=0))


def launch(instance: DagsterInstance, request: RunRequest) -> Any:
    """Execute what a sensor asked for."""
    job: Any = build_defs().resolve_job_def(str(request.job_name))
    return job.execute_in_process(instance=instance, tags=dict(request.tags), run_config={**QUIET, **dict(request.run_config)})


def test_a_change_becomes_a_run_over_its_directories_once(shelf: Shelf, instance: DagsterInstance, quick: None) -> None:
    for name in ("a", "b", "c"):
        shelf.add(f"{name}/1.wav", 1)
    registered(shelf, instance)
    execute(instance, "refresh_library")
    assert tick(instance)[0] == []
    shelf.add("b/2.wav", 2)
    shelf.add("d/1.wav", 1)
    assert tick(instance)[0] == [], "one look is not enough"
    requests, _ = tick(instance)
    covered = [tuple(request.tags[tag] for tag in RANGE_TAGS) for request in requests]
    assert [{key.split("~")[0] for key in pair} for pair in covered] == [{"music/b"}, {"music/d"}]
    assert {request.job_name for request in requests} == {"ingest_library"}
    for request in requests:
        launch(instance, request)
    assert shelf.tracks()["d/1.wav"]["status"] == "ok"
    requests, reasons = tick(instance)
    assert requests == []
    assert "nothing changed" in reasons[0]


def test_scattered_changes_become_one_run(shelf: Shelf, instance: DagsterInstance, quick: None) -> None:
    for number in range(12):
        shelf.add(f"{number:02}/1.wav", number % 2)
    registered(shelf, instance)
    execute(instance, "refresh_library")
    for number in range(0, 12, 2):
        (shelf.root / f"{number:02}" / "cover.jpg").touch()
    tick(instance)
    (request,), _ = tick(instance)
    assert request.job_name == "refresh_library"
    launch(instance, request)
    assert shelf.value("SELECT count(*) FROM skipped_files") == 6
    assert tick(instance)[0] == []


def test_no_second_run_for_what_is_in_flight_and_the_rest_goes_on(shelf: Shelf, instance: DagsterInstance, quick: None) -> None:
    for name in ("a", "b"):
        shelf.add(f"{name}/1.wav", 1)
    keys = registered(shelf, instance)
    execute(instance, "refresh_library")
    for name in ("a", "b"):
        (shelf.root / name / "cover.jpg").touch()
    tick(instance)
    job = build_defs().resolve_job_def("ingest_library")
    tags = dict.fromkeys(RANGE_TAGS, keys[1])
    run = instance.create_run_for_job(job, tags=tags, status=DagsterRunStatus.STARTED)
    assert under_way(instance).keys == {keys[1]}
    (request,), _ = tick(instance)
    assert request.tags[RANGE_TAGS[0]] == keys[2]
    instance.report_run_failed(run)
    whole = instance.create_run_for_job(build_defs().resolve_job_def("refresh_library"), status=DagsterRunStatus.STARTED)
    requests, reasons = tick(instance)
    assert requests == []
    assert whole.run_id[:8] in reasons[0]


def test_paused_means_no_run(shelf: Shelf, instance: DagsterInstance, quick: None) -> None:
    shelf.add("a/1.wav", 1)
    shelf.library()
    with shelf.engine.begin() as conn:
        pause(conn)
    for name in ("watched_folders", "analysis_queue"):
        requests, reasons = tick(instance, name)
        assert requests == []
        assert "paused" in reasons[0]
    with shelf.engine.begin() as conn:
        assert resume(conn)
        assert not resume(conn)
    tick(instance)
    assert len(tick(instance)[0]) == 1


def test_the_queue_is_worked_off_by_priority_and_each_row_told_its_fate(shelf: Shelf, instance: DagsterInstance) -> None:
    good = shelf.add("a/1.wav", 1)
    bad = shelf.root / "a" / "bad.mp3"
    bad.write_bytes(b"no music")
    shelf.library()
    wanted = [str(good), str(bad), str(shelf.root / "a"), "/nowhere/x.mp3", str(shelf.root / "a" / "gone.wav")]
    with shelf.engine.begin() as conn:
        ids = queue.enqueue(conn, wanted)
        (cancelled,) = queue.enqueue(conn, [str(good)], priority=1)
        assert [entry.id for entry in queue.pending(conn, 2)] == [cancelled, ids[0]]
        assert queue.cancel(conn, [cancelled]) == [cancelled]
        asked = create_batch(conn, [str(good)], request_id="req-20261129")
    (request,), _ = tick(instance, "analysis_queue")
    assert tick(instance, "analysis_queue")[0] == [], "a batch at a time"
    result = launch(instance, request)
    assert request.tags[REQUEST_TAG] == asked.request_id, "who asked is known to the run, ..."
    lines = [json.loads(line) for line in log_path(shelf.bench.settings).read_text(encoding="utf-8").splitlines()]
    of_run = [line for line in lines if line.get("run_id") == result.run_id]
    assert any("directories touched" in line["message"] for line in of_run)
    assert {line["request_id"] for line in of_run} == {asked.request_id}, "... and to every line of its log"
    assert tick(instance, "analysis_queue")[0] == []
    with shelf.engine.connect() as conn:
        rows = {entry.id: entry for entry in queue.entries(conn)}
    assert [rows[id_].status for id_ in ids] == ["completed", "failed", "failed", "failed", "failed"]
    said = [str(rows[id_].error_message) for id_ in ids]
    assert "audio" in said[1]
    assert "1 of its files failed" in said[2]
    assert "no registered library" in said[3]
    assert "nothing of this name" in said[4]
    assert rows[ids[0]].run_id == result.run_id
    assert rows[cancelled].status == "cancelled"
    assert shelf.tracks()["a/1.wav"]["status"] == "ok"


def test_what_is_at_work_does_not_hold_up_the_rest_of_the_queue(
    shelf: Shelf, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The most urgent rows, more than a run takes, all lie where a run is at work."""
    from map4_pipeline.orchestration import resources

    monkeypatch.setattr(resources, "settings", lambda: load_settings(chunk_directories=2))
    busy = [shelf.add(f"a/{number}.wav", 1) for number in range(5)]
    free = shelf.add("b/1.wav", 2)
    keys = registered(shelf, instance)
    odd = f"{shelf.root}/b/../a/0.wav"  # as another program may write it
    with shelf.engine.begin() as conn:
        before = queue.enqueue(conn, [odd, *map(str, busy), str(shelf.root / "a")], priority=1)
        (last,) = queue.enqueue(conn, [str(free)])
    job = build_defs().resolve_job_def("ingest_library")
    (key,) = (key for key in keys if "/a~" in key)
    run = instance.create_run_for_job(job, tags=dict.fromkeys(RANGE_TAGS, key), status=DagsterRunStatus.STARTED)
    (request,), _ = tick(instance, "analysis_queue")
    assert [entry_key.split("~")[0] for entry_key in request.run_config["ops"]["refresh"]["config"]["directories"]] == ["music/b"]
    launch(instance, request)
    assert tick(instance, "analysis_queue")[0] == []
    with shelf.engine.connect() as conn:
        rows = {entry.id: entry.status for entry in queue.entries(conn)}
    assert rows == {**dict.fromkeys(before, "pending"), last: "completed"}

    # A library that `map4 ingest` is at work on, another one that is free.
    instance.report_run_failed(run)
    run = instance.create_run_for_job(
        job, tags={**dict.fromkeys(RANGE_TAGS, key), SCANS_TAG: f"{shelf.library().id}:1"}, status=DagsterRunStatus.STARTED
    )
    assert under_way(instance).libraries == {shelf.library().id}
    other = shelf.root.with_name("Music and more")
    write_music(other / "1.wav", 3)
    with shelf.engine.begin() as conn:
        register_library(conn, other)
        queue.enqueue(conn, [str(other / "1.wav")])
    (request,), _ = tick(instance, "analysis_queue")
    assert request.run_config["ops"]["refresh"]["config"]["directories"][0].startswith("music-and-more/")


def test_a_row_that_names_no_path_fails_alone(shelf: Shelf, instance: DagsterInstance) -> None:
    good = shelf.add("a/1.wav", 1)
    shelf.library()
    with shelf.engine.begin() as conn:
        queue.enqueue(conn, ["C:\\Music\\x.mp3", f"{shelf.root}/nul\\x00.mp3", str(good)])
    assert len(tick(instance, "analysis_queue")[0]) == 1
    with shelf.engine.connect() as conn:
        said = [entry.error_message for entry in queue.entries(conn, "failed")]
    assert len(said) == 2
    assert all(said)


def test_a_whole_library_that_is_elsewhere_here_and_behind_a_link_is_found(tmp_path: Path, settings: Settings) -> None:
    from map4_pipeline.ingest.queue import Place, find
    from map4_pipeline.store.libraries import Library

    (tmp_path / "disk" / "a").mkdir(parents=True)
    (tmp_path / "here").symlink_to("disk")
    library = Library(1, "music", "Music", b"/registered", True)
    mapped = settings.model_copy(update={"path_map": f"/registered={tmp_path / 'here'}"})
    for root in ("/registered", str(tmp_path / "here")):
        assert find(root, [library], mapped) == Place(library, b"", True)
        assert find(f"{root}/a", [library], mapped) == Place(library, b"a", True)


def test_a_batch_is_settled_in_as_many_queries_whatever_its_size(shelf: Shelf, settings: Settings) -> None:
    from sqlalchemy import event

    from map4_pipeline.ingest.queue import settle

    counts = []
    shelf.library()
    for size in (3, 300):
        for number in range(size):
            (shelf.root / f"{number}.wav").touch()
        with shelf.engine.begin() as conn:
            queue.enqueue(conn, [f"{shelf.root}/{number}.wav" for number in range(size)])
            entries = queue.pending(conn, 1000)
            assert len(entries) == size
            statements: list[str] = []
            event.listen(conn, "before_cursor_execute", lambda *args, said=statements: said.append(args[2]))
            settle(conn, settings, entries, None)
            counts.append(len(statements))
            assert not queue.pending(conn, 1000)
            assert {entry.error_message for entry in queue.entries(conn)} == {"The run ended without having looked at it."}
    assert counts[0] == counts[1]


def test_a_batch_whose_run_never_came_to_be_waits_again_and_fails_in_the_end(shelf: Shelf, instance: DagsterInstance) -> None:
    good = shelf.add("a/1.wav", 1)
    shelf.library()
    with shelf.engine.begin() as conn:
        queue.enqueue(conn, [str(good)])
    for _ in range(3):
        assert len(tick(instance, "analysis_queue")[0]) == 1
        with shelf.engine.begin() as conn:
            conn.execute(text("UPDATE analysis_queue SET started_at = started_at - interval '1 hour'"))
    assert tick(instance, "analysis_queue")[0] == []
    with shelf.engine.connect() as conn:
        (entry,) = queue.entries(conn)
    assert (entry.status, entry.attempts) == ("failed", 3)


def test_a_batch_whose_run_failed_says_so(shelf: Shelf, instance: DagsterInstance) -> None:
    good = shelf.add("a/1.wav", 1)
    shelf.library()
    with shelf.engine.begin() as conn:
        queue.enqueue(conn, [str(good)])
    (request,), _ = tick(instance, "analysis_queue")
    job = build_defs().resolve_job_def("refresh_library")
    run = instance.create_run_for_job(job, tags={QUEUE_TAG: request.tags[QUEUE_TAG]}, status=DagsterRunStatus.STARTED)
    instance.report_run_failed(run)
    tick(instance, "analysis_queue")
    with shelf.engine.connect() as conn:
        (entry,) = queue.entries(conn)
    assert entry.status == "failed"
    assert run.run_id[:8] in str(entry.error_message)


class Heard(HTTPServer):
    """A chat service that takes messages."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Hears)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Hears(BaseHTTPRequestHandler):
    server: Heard

    def do_POST(self) -> None:
        self.server.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_a_failed_run_is_noted_once_and_told(shelf: Shelf, instance: DagsterInstance, settings: Settings) -> None:
    shelf.add("a/1.wav", 1)
    shelf.library()
    execute(instance, "refresh_library")
    shelf.root.rename(shelf.root.with_name("unplugged"))
    result = execute(instance, "refresh_library", fails=True)
    chat = Heard()
    try:
        told = settings.model_copy(update={"alert_webhook": _secret(f"http://127.0.0.1:{chat.server_port}/secret-token")})
        context = build_run_status_sensor_context(
            sensor_name="failed_runs",
            dagster_event=result.get_run_failure_event(),
            dagster_instance=instance,
            dagster_run=result.dagster_run,
        ).for_run_failure()
        for _ in range(2):
            failed_runs(told)(context)
    finally:
        chat.shutdown()
    with shelf.engine.connect() as conn:
        (failure,) = recent_run_failures(conn)
    assert failure.run_id == result.run_id
    assert "is not there" in failure.message
    assert len(chat.messages) == 1
    assert failure.message in chat.messages[0]["text"]


def test_a_run_that_was_interrupted_is_told_in_words_and_ctrl_c_on_an_ingest_is_not_told(
    shelf: Shelf, instance: DagsterInstance, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.add("a/1.wav", 1)
    shelf.library()

    def interrupted(*_: Any) -> Any:
        raise DagsterExecutionInterruptedError

    monkeypatch.setattr("map4_pipeline.orchestration.refresh.libraries_of", interrupted)
    noted = []
    mine: dict[str, str]
    for mine in ({}, {OWNER_TAG: owner_tag()}):
        result = execute(instance, "refresh_library", tags=mine, fails=True)
        context = build_run_status_sensor_context(
            sensor_name="failed_runs",
            dagster_event=result.get_run_failure_event(),
            dagster_instance=instance,
            dagster_run=result.dagster_run,
        ).for_run_failure()
        failed_runs(settings)(context)
        with shelf.engine.connect() as conn:
            noted.append([failure.message for failure in recent_run_failures(conn)])
    assert noted[0] == noted[1] == ["The run was interrupted: `map4 up` was stopped, or the run's process was told to end."]


def test_an_alert_that_cannot_be_sent_is_told_without_its_secret(settings: Settings) -> None:
    deaf = settings.model_copy(
        update={
            "alert_webhook": _secret("http://127.0.0.1:9/secret-token"),
            "alert_mail": _secret("smtp://me:secret-token@127.0.0.1:9?to=a@example.org"),
        }
    )
    problems = send_alerts(deaf, "subject", "text")
    assert len(problems) == 2
    assert "secret-token" not in "".join(problems)
    wrong = settings.model_copy(update={"alert_webhook": _secret("file:///etc/passwd")})
    assert len(send_alerts(wrong, "subject", "text")) == 1


def test_a_mail_is_sent(settings: Settings) -> None:
    server = Mailbox()
    try:
        address = f"smtp://127.0.0.1:{server.port}?from=map4@example.org&to=a@example.org&to=b@example.org"
        assert send_alerts(settings.model_copy(update={"alert_mail": _secret(address)}), "It failed", "why\n.\nmore") == []
    finally:
        server.close()
    assert "To: a@example.org, b@example.org" in server.received
    assert "Subject: It failed" in server.received


def _secret(value: str) -> Any:
    from pydantic import SecretStr

    return SecretStr(value)


class Mailbox:
    """As much of SMTP as a client needs to hand a message over."""

    def __init__(self) -> None:
        import socket

        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.received = ""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        peer, _ = self._listener.accept()
        with peer, peer.makefile("rwb") as stream:
            stream.write(b"220 hello\r\n")
            stream.flush()
            reading = False
            for line in stream:
                if reading:
                    self.received += line.decode().replace("\r\n", "\n")
                    if line != b".\r\n":
                        continue
                    reading = False
                    answer = b"250 taken\r\n"
                else:
                    reading = line.upper().startswith(b"DATA")
                    answer = (
                        b"354 go on\r\n" if reading else b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 fine\r\n"
                    )
                stream.write(answer)
                stream.flush()
                if line.upper().startswith(b"QUIT"):
                    break

    def close(self) -> None:
        self._thread.join(10)
        self._listener.close()
