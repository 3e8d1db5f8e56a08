"""`map4 up` works by itself: the schedule ticks, an album that is dropped into a folder is analysed, and nothing else is run."""

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from map4_pipeline.store.postgres_server import EmbeddedPostgres

from ..postgres import short_directory
from .program import command_of
from .running import Up, environment, make_track, map4, page_of, running_up, wait_for, write_slowly

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

WHOLE_LIBRARY = {"duplicates", "library_statistics", "library_report"}


def furnish(folder: Path, database: str | None) -> dict[str, str]:
    """An imported library, a quick sensor and a schedule that ticks each minute."""
    make_track(folder / "music" / "first" / "01.flac", 1)
    env = environment(
        folder / "home", database, MAP4_WATCH_SECONDS="5", MAP4_WATCH_SETTLE_SECONDS="1", MAP4_REFRESH_CRON="* * * * *"
    )
    done = map4(env, "ingest", str(folder / "music"))
    assert done.returncode == 0, done.stdout + done.stderr
    return env


def _finished(up: Up, **tags: str) -> list[dict[str, Any]]:
    return [run for run in up.runs(**tags) if run["status"] in ("SUCCESS", "FAILURE", "CANCELED")]


def test_the_schedule_is_on_and_ticks(up: Up, browser: "Browser", tmp_path: Path) -> None:
    with page_of(browser, up, tmp_path) as page:
        page.goto("/locations/map4/schedules/library_refresh")
        page.get_by_text("library_refresh").first.wait_for()
        switch = page.locator("input[type=checkbox]").first
        switch.wait_for(state="attached")
        assert switch.is_checked()
        runs = wait_for("a tick of the schedule", lambda: _finished(up, dagster__schedule_name="library_refresh"))
        assert {run["status"] for run in runs} == {"SUCCESS"}
        page.goto(f"/runs/{runs[0]['runId']}")
        page.get_by_text("Success", exact=True).first.wait_for()
        assert {run["jobName"] for run in runs} == {"refresh_library"}
        # It can be switched off, and then rests.
        page.goto("/locations/map4/schedules/library_refresh")
        page.locator("label:has(input[type=checkbox])").first.click()
        wait_for("the schedule to rest", lambda: _schedule_status(up) == "STOPPED")


def _schedule_status(up: Up) -> str:
    query = """{ scheduleOrError(scheduleSelector: {repositoryName: "__repository__", repositoryLocationName: "map4",
      scheduleName: "library_refresh"}) { ... on Schedule { scheduleState { status } } } }"""
    return str(up.graphql(query)["scheduleOrError"]["scheduleState"]["status"])


def test_an_import_is_followed_by_no_run(up: Up) -> None:
    """What `map4 ingest` did, reports included, is up to date: the automation has nothing to add."""
    evaluated = wait_for("an evaluation", lambda: _ticks(up, "follow_upstream"))
    assert all(tick["status"] == "SKIPPED" and not tick["runIds"] for tick in evaluated)
    assert not up.runs(dagster__from_automation_condition="true")


def test_an_import_is_on_the_page_of_its_job(up: Up) -> None:
    """What the UI's timeline, too, draws of a job: `map4 ingest` ran before the code location was there."""
    query = """{ pipelineOrError(params: {repositoryName: "__repository__", repositoryLocationName: "map4",
      pipelineName: "ingest_library"}) { ... on Pipeline { runs(limit: 9) { repositoryOrigin { repositoryLocationName } } } } }"""
    (run, *_) = up.graphql(query)["pipelineOrError"]["runs"]
    assert run["repositoryOrigin"] == {"repositoryLocationName": "map4"}


def _ticks(up: Up, sensor: str) -> list[dict[str, Any]]:
    """Return a sensor's ticks, newest first."""
    query = """query($name: String!) { sensorOrError(sensorSelector: {repositoryName: "__repository__",
      repositoryLocationName: "map4", sensorName: $name}) {
        ... on Sensor { sensorState { ticks(limit: 50) { status runIds timestamp } } } } }"""
    ticks = up.graphql(query, name=sensor)["sensorOrError"]["sensorState"]["ticks"]
    return [tick for tick in ticks if tick["status"] != "STARTED"]


def _stop_the_schedule(up: Up) -> None:
    """Let the schedule rest, whether or not the test before has done so: a refresh of everything holds the sensor up."""
    if _schedule_status(up) == "RUNNING":
        query = """{ scheduleOrError(scheduleSelector: {repositoryName: "__repository__", repositoryLocationName: "map4",
          scheduleName: "library_refresh"}) { ... on Schedule { id } } }"""
        up.graphql(
            "mutation($id: String!) { stopRunningSchedule(id: $id) { __typename } }",
            id=up.graphql(query)["scheduleOrError"]["id"],
        )
    wait_for("runs to end", lambda: len(_finished(up)) == len(up.runs()))


ALBUM = 5


def test_a_dropped_album_is_taken_at_the_second_look_without_anybodys_doing(up: Up, browser: "Browser", tmp_path: Path) -> None:
    _stop_the_schedule(up)
    pieces = [make_track(tmp_path / "made" / f"{number:02}.{kind}", number) for number, kind in enumerate(["mp3", "flac"] * 2, 2)]
    cover = tmp_path / "made" / "cover.jpg"
    cover.write_bytes(b"\xff\xd8\xff" + bytes(100_000))
    pieces.append(cover)
    assert len(pieces) == ALBUM
    album = up.home.parent / "music" / "An Artist" / "An Album"
    last_write = write_slowly(pieces, album, seconds=12.0)

    # By the second tick after the last write, and not before it, a run is launched.
    launched = wait_for("the sensor's run", lambda: [tick for tick in _ticks(up, "watched_folders") if tick["runIds"]])
    after = sorted(tick["timestamp"] for tick in _ticks(up, "watched_folders") if tick["timestamp"] > last_write)
    (run_id,) = launched[0]["runIds"]
    assert len(launched) == 1
    assert launched[0]["timestamp"] in after[:2]
    # Its tracks are there at most 60 s later.
    query = (
        "SELECT count(*) FROM tracks WHERE status = 'ok' AND bpm IS NOT NULL AND hamms_vector IS NOT NULL AND file_path LIKE %s"
    )
    wait_for("its tracks", lambda: up.rows(query, "%/An Artist/An Album/%") == [(ALBUM - 1,)], 60.0)

    (run,) = wait_for("the run's end", lambda: _finished(up, map4__watched="true"))
    assert (run["runId"], run["status"]) == (run_id, "SUCCESS"), up.logs()
    assert up.rows("SELECT reason FROM skipped_files") == [("not_audio",)]
    with page_of(browser, up, tmp_path) as page:
        page.goto("/locations/map4/sensors/watched_folders")
        page.get_by_text("watched_folders").first.wait_for()
        page.get_by_text(run_id[:8]).first.wait_for()

    # Downstream follows in one run; nothing else is started, and nothing starts again.
    (follower,) = wait_for("the reports", lambda: _finished(up, dagster__from_automation_condition="true"))
    assert follower["status"] == "SUCCESS"
    assert {asset["path"][0] for asset in follower["assetSelection"]} == WHOLE_LIBRARY
    before = len(up.runs())
    looked = len(_ticks(up, "watched_folders"))
    wait_for("more looks at the folders", lambda: len(_ticks(up, "watched_folders")) > min(looked + 2, 49))
    assert len(up.runs()) == before


def test_a_second_one_on_the_same_home_says_where_the_first_is(up: Up) -> None:
    second = map4(up.env, "up", "--port", "0")
    assert second.returncode == 2
    assert up.url in second.stderr


def test_a_port_that_is_taken_is_refused_in_a_sentence(up: Up) -> None:
    with short_directory() as other:
        port = up.url.rpartition(":")[2]
        refused = map4(environment(other, None), "up", "--port", port)
    assert refused.returncode == 2
    assert f"Port {port} on 127.0.0.1 cannot be used" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_killed_database_is_started_again() -> None:
    with short_directory() as home, running_up(environment(home, None)) as up:
        server = EmbeddedPostgres(home)
        # A process that opens the database for the first time starts it, too: let all of them have done that.
        wait_for("the sensors", lambda: _ticks(up, "watched_folders") and _ticks(up, "analysis_queue"))
        time.sleep(10)
        os.kill(int((server.directory / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        wait_for("the database's end", lambda: not server.status().ready)
        wait_for("the database", lambda: server.status().ready, 60)
        assert up.runs() == []


def test_the_end_of_a_service_is_told_and_ctrl_c_leaves_nothing_behind(up: Up) -> None:
    """Last in this module: it stops `map4 up`."""
    children = psutil.Process(up.process.pid).children(recursive=True)
    services = [child for child in children if "map4_pipeline.cli.service" in command_of(child)]
    assert len(services) >= 3
    assert up.stop() == 0, up.output
    assert not [child for child in services if child.is_running()]

    killed = Up(up.env).wait_until_ready()
    services = psutil.Process(killed.process.pid).children(recursive=True)
    services = [child for child in services if "map4_pipeline.cli.service" in command_of(child)]
    os.kill(killed.process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(services, timeout=60)
    assert not alive, "services outlive a killed `map4 up`"

    third = Up(up.env).wait_until_ready()
    daemon = [child for child in psutil.Process(third.process.pid).children() if "dagster-daemon" in command_of(child)]
    daemon[0].kill()
    assert third.process.wait(60) == 3
    assert "The Dagster daemon was killed by signal 9" in third.output
