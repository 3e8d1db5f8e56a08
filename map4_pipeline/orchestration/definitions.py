"""Dagster's entry point: everything that the UI, the daemon and the command line load.

`build_defs` returns fresh definitions, so that a test or the command line swaps a resource and not a monkeypatch.
"""

from collections.abc import Mapping
from typing import Any

from dagster import Definitions, in_process_executor

from map4_pipeline.orchestration.assets import ALL_ASSETS
from map4_pipeline.orchestration.checks import ALL_CHECKS
from map4_pipeline.orchestration.failure_sensor import failed_runs
from map4_pipeline.orchestration.jobs import ALL_JOBS
from map4_pipeline.orchestration.queue_sensor import analysis_queue
from map4_pipeline.orchestration.resources import default_resources
from map4_pipeline.orchestration.schedules import schedules
from map4_pipeline.orchestration.sensors import automation, watched_folders
from map4_pipeline.settings import Settings, settings


def build_defs(resource_overrides: Mapping[str, Any] | None = None, configured: Settings | None = None) -> Definitions:
    """Return MAP4's definitions.

    Parameters
    ----------
    resource_overrides : mapping, optional
        Resources in place of the real ones, by name.
    configured : Settings, optional
        Settings for schedules and sensors; the process's own by default.
    """
    chosen = configured or settings()
    return Definitions(
        assets=ALL_ASSETS,
        asset_checks=ALL_CHECKS,
        jobs=ALL_JOBS,
        schedules=schedules(chosen),
        sensors=[watched_folders(chosen), analysis_queue(chosen), failed_runs(chosen), automation()],
        resources={**default_resources(), **(resource_overrides or {})},
        # A step's own process costs 2.4 s, in process 0.1 s; the work is spread over a pool inside the step.
        executor=in_process_executor,
    )


defs = build_defs()
