"""Dagster's UI on a real library, driven by a real browser: see the graph, pick a directory, materialize it, read the result."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .running import Up, environment, make_track, map4, page_of, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ASSETS = {
    "scanned_files", "track_features", "fingerprints", "hamms_vectors", "ai_annotations", "duplicates", "library_statistics",
    "library_report",
}  # fmt: skip
GROUPS = ("ingestion", "analysis", "enrichment", "reporting")


def furnish(folder: Path, database: str | None) -> dict[str, str]:
    """One imported directory, and three that are only registered."""
    music = folder / "music"
    make_track(music / "known" / "01.flac", 1)
    # The folders' sensor must not take what the test wants to materialize: nothing ever counts as settled.
    env = environment(folder / "home", database, MAP4_WATCH_SETTLE_SECONDS="1000000000")
    done = map4(env, "ingest", str(music))
    assert done.returncode == 0, done.stdout + done.stderr
    for number, name in enumerate(("Best of...", "second", "third"), 2):
        make_track(music / name / f"{number:02}.mp3", number)
    # A survey writes down the new directories; `map4 up` registers them as partitions.
    subprocess.run([sys.executable, "-c", _SURVEY], env=env, check=True, timeout=120)
    return env


_SURVEY = """
from map4_pipeline.ingest.session import open_session
from map4_pipeline.ingest.workbench import Workbench
from map4_pipeline.settings import settings
from map4_pipeline.store.database import open_database
open_session(Workbench(settings(), open_database(settings())))
"""


def test_the_asset_graph_shows_the_eight_assets_in_their_groups(up: Up, browser: "Browser", tmp_path: Path) -> None:
    with page_of(browser, up, tmp_path) as page:
        page.goto("/asset-groups")
        for group in GROUPS:
            page.get_by_text(group, exact=True).first.wait_for()
        page.keyboard.press("Alt+e")  # expand all groups
        for asset in sorted(ASSETS):
            page.get_by_text(asset, exact=True).first.wait_for()
    nodes = up.graphql("{ assetNodes { assetKey { path } groupName } }")["assetNodes"]
    assert {node["assetKey"]["path"][0] for node in nodes} == ASSETS
    assert {node["groupName"] for node in nodes} == set(GROUPS)


def test_a_directory_is_picked_and_materialized(up: Up, browser: "Browser", tmp_path: Path) -> None:
    (key,) = next(iter(up.rows("SELECT partition_key FROM directories WHERE path_text = 'Best of...'")))
    with page_of(browser, up, tmp_path) as page:
        page.goto("/locations/map4/jobs/ingest_library")
        page.get_by_role("button", name="Materialize all").click()
        page.get_by_text("Select a partition or create one").click()
        page.keyboard.type("Best of")
        page.get_by_role("menuitem").filter(has_text="Best of").first.click()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Launch 1 run").click()
        page.get_by_text("Launched run").wait_for()
        (run,) = wait_for("the run", lambda: up.runs(dagster__partition=key))
        page.goto(f"/runs/{run['runId']}")
        page.get_by_text("Success", exact=True).first.wait_for()

        rows = up.rows(
            "SELECT t.status, t.bpm, t.fingerprint_version IS NOT NULL, t.hamms_vector FROM tracks t "
            "JOIN directories d ON d.id = t.directory_id WHERE d.partition_key = %s",
            key,
        )
        assert [row[0] for row in rows] == ["ok"]
        (_, bpm, fingerprinted, vector), *_ = rows
        assert bpm is not None
        assert fingerprinted
        assert len(vector) == 12

        page.goto(f"/assets/track_features?view=partitions&partition={key.replace('/', '%2F')}")
        for label in ("tracks_per_minute", "analysed", "bpm_distribution", "key_distribution"):
            page.get_by_text(label, exact=True).first.wait_for()
        page.get_by_text("BPM █").first.wait_for()
    assert up.rows("SELECT count(*) FROM tracks") == [(2,)], "other directories were left alone"


def test_several_directories_become_one_run(up: Up) -> None:
    keys = [row[0] for row in up.rows("SELECT partition_key FROM directories WHERE path_text IN ('second', 'third')")]
    launched = up.graphql(
        """mutation($keys: [String!], $assets: [AssetKeyInput!]) {
          launchPartitionBackfill(backfillParams: {partitionNames: $keys, assetSelection: $assets, title: "two"}) {
            __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
        keys=keys,
        assets=[{"path": [name]} for name in ("scanned_files", "track_features", "fingerprints", "hamms_vectors")],
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    backfill = launched["backfillId"]
    wait_for("the backfill", lambda: any(run["status"] == "SUCCESS" for run in up.runs(dagster__backfill=backfill)))
    assert len(up.runs(dagster__backfill=backfill)) == 1
    assert up.rows("SELECT count(*), count(bpm) FROM tracks WHERE status = 'ok'") == [(4, 4)]


def test_one_asset_alone_can_be_materialized(up: Up) -> None:
    (key,) = next(iter(up.rows("SELECT partition_key FROM directories WHERE path_text = 'known'")))
    for asset in ("scanned_files", "track_features"):
        launched = up.graphql(
            """mutation($tags: [ExecutionTag!], $selector: JobOrPipelineSelector!) {
              launchRun(executionParams: {selector: $selector, executionMetadata: {tags: $tags}, runConfigData: {}}) {
                __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
            tags=[{"key": "dagster/partition", "value": key}],
            selector={
                "repositoryLocationName": "map4",
                "repositoryName": "__repository__",
                "pipelineName": "ingest_library",
                "assetSelection": [{"path": [asset]}],
            },
        )["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        id_ = launched["run"]["runId"]
        wait_for(asset, lambda id_=id_: any(run["runId"] == id_ and run["status"] == "SUCCESS" for run in up.runs()))  # type: ignore[misc]
    assert up.rows("SELECT count(*) FROM tracks WHERE status = 'ok' AND hamms_vector IS NOT NULL") == [(4,)]
