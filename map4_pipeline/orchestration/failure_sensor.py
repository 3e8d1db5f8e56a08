"""The sensor `failed_runs`: a failed run is noted where users look, and told to whom the settings name."""

import re
from typing import Any

from dagster import DefaultSensorStatus, RunFailureSensorContext, SensorDefinition, run_failure_sensor

from map4_pipeline.orchestration.alerts import send_alerts
from map4_pipeline.orchestration.scope import owner_of
from map4_pipeline.settings import Settings
from map4_pipeline.store.failures import record_run_failure

#: What errors of Dagster's and of MAP4's begin with, which speak for themselves.
_CLASS = re.compile(r"^(dagster|map4_pipeline)(\.\w+)+: ")


def failed_runs(settings: Settings) -> SensorDefinition:
    """Return the sensor that keeps failed runs where `map4 status` shows them, and sends alerts."""

    @run_failure_sensor(
        name="failed_runs",
        default_status=DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=settings.watch_seconds,
        description="Notes failed runs for `map4 status` and tells whom the settings name (MAP4_ALERT_WEBHOOK, MAP4_ALERT_MAIL).",
    )
    def note(context: RunFailureSensorContext) -> None:
        from map4_pipeline.store.database import open_database

        run = context.dagster_run
        if owner_of(run.tags) is not None and _was_interrupted(context):  # Ctrl-C on `map4 ingest`: whoever did it knows
            return
        message = _why(context)
        engine = open_database(settings)
        try:
            with engine.begin() as conn:
                is_new = record_run_failure(conn, run.run_id, run.job_name, message)
        finally:
            engine.dispose()
        if not is_new:
            return
        subject = f"MAP4: the run {run.run_id[:8]} of {run.job_name} failed"
        context.log.error(f"{subject}: {message}")
        for problem in send_alerts(settings, subject, f"{message}\nWhat the run had finished is kept; the next one goes on."):
            context.log.error(problem)

    return note


def _errors(context: RunFailureSensorContext) -> list[Any]:
    """Return the error that ended a run and its causes, the innermost last."""
    details: list[Any] = [event.event_specific_data for event in context.get_step_failure_events()]
    error = next((detail.error for detail in details if getattr(detail, "error", None) is not None), None)
    found = []
    while error is not None:
        found.append(error)
        error = error.cause
    return found


def _was_interrupted(context: RunFailureSensorContext) -> bool:
    """Return whether a signal ended the run."""
    return any(error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt") for error in _errors(context))


def _why(context: RunFailureSensorContext) -> str:
    """Return the innermost reason of a run's failure, in a sentence."""
    if _was_interrupted(context):
        return "The run was interrupted: `map4 up` was stopped, or the run's process was told to end."
    error = next(reversed(_errors(context)), None)
    said = error.message if error is not None else context.failure_event.message or "no reason was recorded"
    return " ".join(_CLASS.sub("", said).split())[:500]
