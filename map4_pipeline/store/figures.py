"""What the database knows of how MAP4 is doing, for metrics: work done and waiting, users, connections.

Every figure is bounded in what it reads: by an index, by the newest rows of a table, or by a window of time, so that a scrape
every 15 seconds costs the same however old the library is. Counts over the last hour are gauges, not counters: old rows are
removed one day, and a counter must never fall.
"""

from dataclasses import dataclass, field

from sqlalchemy import Connection, text

#: Newest rows of `analyses` that are looked at for the rate: two stages of 1,000 tracks a minute over the window.
_NEWEST = 10_000
#: Minutes over which the rate of analysis is taken.
RATE_MINUTES = 5
#: Days that count for who uses what.
ADOPTION_DAYS = 30
#: Users with a line of their own: the busiest.
_USERS = 50


@dataclass(frozen=True, slots=True)
class Figures:
    """See the docs (docs/monitoring.md) for what each one means."""

    tracks_per_minute: float
    work: dict[tuple[str, str], int] = field(default_factory=dict)
    queue: dict[str, int] = field(default_factory=dict)
    queue_oldest_seconds: float = 0.0
    queue_wait_seconds: dict[str, float] = field(default_factory=dict)
    queue_processing_seconds: dict[str, float] = field(default_factory=dict)
    connections: dict[str, int] = field(default_factory=dict)
    connections_max: int = 0
    database_bytes: int = 0
    tracks: int = 0
    users: dict[str, int] = field(default_factory=dict)
    active_users: dict[str, int] = field(default_factory=dict)
    tracks_per_user: dict[str, int] = field(default_factory=dict)
    exports: dict[str, int] = field(default_factory=dict)
    feature_users: dict[str, int] = field(default_factory=dict)

    @property
    def adoption(self) -> dict[str, float]:
        """Share of the users of the last days who used a part, in [0, 1]."""
        active = self.active_users.get("month", 0)
        return {feature: min(count / active, 1.0) for feature, count in self.feature_users.items()} if active else {}


def read_figures(conn: Connection) -> Figures:
    """Return the figures of now."""
    pairs = _pairs
    row = conn.execute(text(_ONE)).one()
    queue = conn.execute(text(_QUEUE_TIMES)).one()
    return Figures(
        tracks_per_minute=float(row.analysed) / RATE_MINUTES,
        work={(component, outcome): int(count) for component, outcome, count in conn.execute(text(_WORK))},
        queue={"pending": 0, "running": 0} | {name: int(count) for name, count in pairs(conn, _QUEUE).items()},
        queue_oldest_seconds=float(row.oldest or 0.0),
        queue_wait_seconds={"0.5": float(queue.wait_50 or 0.0), "0.95": float(queue.wait_95 or 0.0)},
        queue_processing_seconds={"0.5": float(queue.work_50 or 0.0), "0.95": float(queue.work_95 or 0.0)},
        connections={name: int(count) for name, count in pairs(conn, _CONNECTIONS).items()},
        connections_max=int(row.connections_max),
        database_bytes=int(row.database_bytes),
        tracks=max(int(row.tracks), 0),
        users={
            name: int(count) for name, count in pairs(conn, "SELECT role, count(*) FROM users WHERE active GROUP BY 1").items()
        },
        active_users={"day": int(row.today), "week": int(row.week), "month": int(row.month)},
        tracks_per_user={name: int(count) for name, count in pairs(conn, _PER_USER).items()},
        exports={name: int(count) for name, count in pairs(conn, _EXPORTS).items()},
        feature_users={name: int(count) for name, count in pairs(conn, _FEATURES).items()},
    )


def _pairs(conn: Connection, statement: str) -> dict[str, float]:
    return {str(name): count for name, count in conn.execute(text(statement))}


# ------------------------------------------------------------------ SQL: constants of this module alone
_ONE = f"""
SELECT
    (SELECT count(*) FROM (SELECT stage, created_at FROM analyses ORDER BY id DESC LIMIT {_NEWEST}) newest
        WHERE stage = 'features' AND created_at > now() - interval '{RATE_MINUTES} minutes') AS analysed,
    (SELECT extract(epoch FROM now() - min(created_at)) FROM analysis_queue WHERE status = 'pending') AS oldest,
    current_setting('max_connections')::int AS connections_max,
    pg_database_size(current_database()) AS database_bytes,
    (SELECT reltuples FROM pg_class WHERE oid = 'tracks'::regclass) AS tracks,
    (SELECT count(DISTINCT user_id) FROM user_activity WHERE day = (now() AT TIME ZONE 'UTC')::date) AS today,
    (SELECT count(DISTINCT user_id) FROM user_activity WHERE day > (now() AT TIME ZONE 'UTC')::date - 7) AS week,
    (SELECT count(DISTINCT user_id) FROM user_activity WHERE day > (now() AT TIME ZONE 'UTC')::date - {ADOPTION_DAYS}) AS month
"""  # noqa: S608

#: Of components that write down how their work ends: files, rows of the queue, jobs, annotations, scans.
_WORK = """
SELECT 'analysis', 'ok', coalesce(sum(analysed + reused), 0) FROM scans
    WHERE coalesce(finished_at, now()) > now() - interval '1 hour'
UNION ALL
SELECT 'analysis', 'failed', coalesce(sum(failed), 0) FROM scans WHERE coalesce(finished_at, now()) > now() - interval '1 hour'
UNION ALL
SELECT 'scan', CASE WHEN status = 'completed' THEN 'ok' ELSE 'failed' END, count(*) FROM scans
    WHERE finished_at > now() - interval '1 hour' GROUP BY 1, 2
UNION ALL
SELECT 'queue', CASE status WHEN 'completed' THEN 'ok' ELSE 'failed' END, count(*) FROM analysis_queue
    WHERE status IN ('completed', 'failed') AND completed_at > now() - interval '1 hour' GROUP BY 1, 2
UNION ALL
SELECT kind, CASE status WHEN 'completed' THEN 'ok' ELSE 'failed' END, count(*) FROM jobs
    WHERE kind = 'export' AND status IN ('completed', 'failed') AND completed_at > now() - interval '1 hour' GROUP BY 1, 2
UNION ALL
SELECT 'annotation', status, count(*) FROM (SELECT status, created_at FROM annotations ORDER BY id DESC LIMIT 5000) newest
    WHERE created_at > now() - interval '1 hour' GROUP BY 1, 2
"""

_QUEUE = "SELECT status, count(*) FROM analysis_queue WHERE status IN ('pending', 'running') GROUP BY 1"

_QUEUE_TIMES = """
SELECT
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - created_at)) AS wait_50,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - created_at)) AS wait_95,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM completed_at - started_at)) AS work_50,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM completed_at - started_at)) AS work_95
FROM analysis_queue
WHERE status IN ('completed', 'failed') AND started_at IS NOT NULL AND completed_at > now() - interval '1 hour'
"""

_CONNECTIONS = """
SELECT coalesce(state, 'other'), count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' GROUP BY 1
"""

_PER_USER = f"""
SELECT coalesce(user_id::text, 'nobody'), count(*) FROM analysis_queue
WHERE status = 'completed' AND completed_at > now() - interval '{ADOPTION_DAYS} days'
GROUP BY user_id ORDER BY 2 DESC LIMIT {_USERS}
"""  # noqa: S608

_EXPORTS = f"""
SELECT export_type, count(*) FROM export_history WHERE created_at > now() - interval '{ADOPTION_DAYS} days' GROUP BY 1
"""  # noqa: S608

_FEATURES = f"""
SELECT feature, count(DISTINCT user_id) FROM user_activity
WHERE day > (now() AT TIME ZONE 'UTC')::date - {ADOPTION_DAYS} GROUP BY 1
"""  # noqa: S608
