"""What MAP4 holds about a user: all of it in one document, and the way to erase it.

`SECTIONS` names every table that knows a user; a test compares it with the schema, so that no new one is
forgotten. What has to stay after an erasure (who did what, decisions, corrections) stays under a pseudonym.
"""

import secrets
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from map4_pipeline.store import jobs
from map4_pipeline.store.accounts import delete_user, get_user
from map4_pipeline.store.errors import StoreError

#: What is held about a user, by section: the query of its rows. `:id` is the user's number, `:user_name` his name,
#: `:name` that as failed logins are noted under it (`throttle`).
SECTIONS = {
    "account": """SELECT id, name, email, role, active, all_libraries, must_change_password,
        password_hash IS NOT NULL AS has_password, password_expires_at, created_at, updated_at, last_seen_at
        FROM users WHERE id = :id""",
    "libraries": """SELECT l.id, l.name FROM user_libraries u JOIN libraries l ON l.id = u.library_id
        WHERE u.user_id = :id ORDER BY 1""",
    "logins_elsewhere": """SELECT provider, issuer, subject, label, created_at FROM user_identities
        WHERE user_id = :id ORDER BY id""",
    "sessions": "SELECT client, created_at, used_at, expires_at FROM sessions WHERE user_id = :id ORDER BY id",
    "logins_of_programs": """SELECT created_at, expires_at, used_at, revoked_at FROM refresh_tokens
        WHERE user_id = :id ORDER BY id""",
    "tokens": """SELECT name, scopes, created_at, expires_at, used_at, revoked_at FROM api_tokens
        WHERE user_id = :id ORDER BY id""",
    "failed_logins": "SELECT failures, failed_at, blocked_until FROM login_failures WHERE subject = 'account:' || :name",
    "actions": """SELECT at, action, target, detail, request_id, address FROM audit_log WHERE user_id = :id ORDER BY id""",
    "actions_of_others": """SELECT at, action, target, detail FROM audit_log
        WHERE lower(target) = lower(:user_name) AND (action LIKE 'user %' OR action = 'password reset') ORDER BY id""",
    "playlists": """SELECT p.name, p.description, p.created_at, p.updated_at,
        (SELECT coalesce(json_agg(json_build_object('title', t.title, 'artist', t.artist, 'file_name', t.file_name)
            ORDER BY e.position), '[]') FROM playlist_tracks e JOIN tracks t ON t.id = e.track_id
            WHERE e.playlist_id = p.id) AS tracks
        FROM playlists p WHERE p.owner_id = :id ORDER BY p.id""",
    "corrections": """SELECT t.file_name, e.field, e.before, e.after, e.at
        FROM track_edits e JOIN tracks t ON t.id = e.track_id WHERE e.user_id = :id ORDER BY e.id""",
    "decisions": """SELECT group_id, verdict, note, decided_at, undone_at FROM duplicate_decisions
        WHERE lower(decided_by) = lower(:user_name) OR lower(undone_by) = lower(:user_name) ORDER BY id""",
    "jobs": """SELECT id, kind, status, request, result, error_message, created_at, completed_at FROM jobs
        WHERE user_id = :id ORDER BY created_at""",
    "exports": """SELECT export_type, track_count, file_size, duration_ms, created_at FROM export_history
        WHERE user_id = CAST(:id AS text) ORDER BY id""",
    "features_used": "SELECT day, feature, uses FROM user_activity WHERE user_id = :id ORDER BY day, feature",
    "analyses": """SELECT file_path, status, error_message, created_at, completed_at FROM analysis_queue
        WHERE user_id = :id ORDER BY id""",
}

_ERASURES = (
    """UPDATE audit_log SET user_name = :alias, address = NULL, request_id = NULL, detail = detail - 'email' - 'name'
        WHERE user_id = :id""",
    """UPDATE audit_log SET target = :alias, detail = detail - 'email' - 'name'
        WHERE lower(target) = lower(:user_name) AND (action LIKE 'user %' OR action = 'password reset')""",
    "UPDATE duplicate_decisions SET decided_by = :alias WHERE lower(decided_by) = lower(:user_name)",
    "UPDATE duplicate_decisions SET undone_by = :alias WHERE lower(undone_by) = lower(:user_name)",
    "UPDATE export_history SET user_id = NULL WHERE user_id = CAST(:id AS text)",
    """UPDATE tracks t SET corrections = (SELECT jsonb_object_agg(key, CASE WHEN value->>'user_id' = CAST(:id AS text)
            THEN (value - 'user_id') || jsonb_build_object('by', CAST(:alias AS text)) ELSE value END)
            FROM jsonb_each(t.corrections))
        WHERE corrections <> '{}' AND id IN (SELECT track_id FROM track_edits WHERE user_id = :id)""",
    "DELETE FROM login_failures WHERE subject = 'account:' || :name",
    "DELETE FROM jobs WHERE user_id = :id AND status NOT IN ('pending', 'running')",
)


@dataclass(frozen=True, slots=True)
class Erasure:
    """What came of erasing a user.

    Attributes
    ----------
    alias : str
        What stands in the user's place in what had to stay.
    job_ids : list of UUID
        Exports whose files are to be removed.
    """

    alias: str
    job_ids: list[UUID]


def export_user(conn: Connection, user_id: int) -> dict[str, Any]:
    """Return all that is held about a user, as JSON holds it; no secret, not even the hash of one.

    Raises
    ------
    StoreError
        When there is no such user.
    """
    values = _values(conn, user_id)
    found: dict[str, Any] = {
        "format": "map4-user-data",
        "version": 1,
        "made_at": conn.execute(text("SELECT to_json(now())")).scalar_one(),
    }
    for section, query in SECTIONS.items():
        rows = text(f"SELECT coalesce(json_agg(s), '[]') FROM ({query}) s")  # noqa: S608 - ours, from above
        used = {name: value for name, value in values.items() if f":{name}" in query}
        found[section] = conn.execute(rows, used).scalar_one()
    found["account"] = found["account"][0]
    return found


def erase_user(conn: Connection, user_id: int) -> Erasure:
    """Erase an account and what is held about its user; what had to stay stays under a pseudonym.

    Playlists, corrections and decisions belong to the library and stay, without the name.

    Raises
    ------
    StoreError
        When there is no such user, or no active admin would be left.
    """
    values = _values(conn, user_id)
    alias = f"erased-{secrets.token_hex(4)}"
    mine = conn.execute(text("SELECT id, status, kind FROM jobs WHERE user_id = :id"), {"id": user_id}).all()
    for job in mine:
        if job.status in jobs.OPEN:
            jobs.cancel_job(conn, job.id)
    for statement in _ERASURES:
        given = {**values, "alias": alias}
        conn.execute(text(statement), {name: value for name, value in given.items() if f":{name}" in statement})
    delete_user(conn, user_id)
    return Erasure(alias, [job.id for job in mine if job.kind == "export"])


def _values(conn: Connection, user_id: int) -> dict[str, Any]:
    user = get_user(conn, user_id)
    if user is None:
        raise StoreError(f"There is no user {user_id}.")
    return {"id": user_id, "user_name": user.name, "name": user.name.lower()}
