"""Schedules: the nightly refresh and the weekly housekeeping, on under `map4 up`; the backup, off until it is switched on."""

from dagster import DefaultScheduleStatus, ScheduleDefinition

from map4_pipeline.orchestration.jobs import backup_database, housekeeping, refresh_library
from map4_pipeline.settings import Settings


def schedules(settings: Settings) -> list[ScheduleDefinition]:
    """Return the schedules with the settings' times."""
    return [
        ScheduleDefinition(
            name="library_refresh",
            job=refresh_library,
            cron_schedule=settings.refresh_cron,
            execution_timezone=settings.timezone,
            default_status=DefaultScheduleStatus.RUNNING,
            description="Looks at every directory of every library and brings up to date what changed.",
        ),
        ScheduleDefinition(
            name="housekeeping",
            job=housekeeping,
            cron_schedule="0 5 * * 0",
            execution_timezone=settings.timezone,
            default_status=DefaultScheduleStatus.RUNNING,
            description="Removes events of steps, logs of runs and scans that are older than MAP4_KEEP_DAYS.",
        ),
        ScheduleDefinition(
            name="database_backup",
            job=backup_database,
            cron_schedule=settings.backup_cron,
            execution_timezone=settings.timezone,
            default_status=DefaultScheduleStatus.STOPPED,
            description="Writes a dump of the database to MAP4_HOME/backups and keeps the newest ones.",
        ),
    ]
