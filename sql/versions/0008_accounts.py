"""Accounts: who may use the library, how they prove it, what they did; and jobs, which programs ask for and look after.

- `users.name` is unique without regard to case. `password_hash` is null for those who log in elsewhere (OpenID Connect).
  `epoch` goes up when every session and token of a user has to end at once (a new password, another role, deactivation).
- A user sees the libraries in `user_libraries`, all of them with `all_libraries`.
- Tokens are random and kept as SHA-256 only: whoever reads the database cannot log in with it. Of refresh tokens each is used
  once; one that comes back a second time has been copied, and ends its whole `family`.
- `signing_keys.secret` is encrypted with MAP4_SECRET_KEY, or with the key file in MAP4_HOME.
- `login_failures` slows down who guesses, by account and by address, also where there is no Redis.
- `audit_log.user_id` outlives its user as null, and the name there is removed when a user is erased.
- `jobs` are the truth; Redis only mirrors their progress. A row of `analysis_queue` may belong to one.
- `tracks.corrections` gets a shape: {field: {"value", "columns": what stands in the columns, "original": what would stand there,
  "by", "at"}}. A trigger lays the corrections over whatever writes a track, so no writer can forget them; who writes tags or
  measured values hands the raw ones to `map4_with_originals` too, so that withdrawing a correction brings back the newest.
- `track_edits` keeps who corrected what, and when.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE users (
    id              SERIAL PRIMARY KEY,
    name            TEXT NOT NULL,
    email           TEXT,
    password_hash   TEXT,
    role            TEXT NOT NULL CONSTRAINT ck_users_role CHECK (role IN ('admin', 'user', 'viewer')),
    active          BOOLEAN NOT NULL DEFAULT true,
    all_libraries   BOOLEAN NOT NULL DEFAULT false,
    must_change_password BOOLEAN NOT NULL DEFAULT false,
    epoch           INTEGER NOT NULL DEFAULT 0,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_seen_at    TIMESTAMPTZ
);
CREATE UNIQUE INDEX uq_users_name ON users (lower(name));
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION map4_touch_updated_at();

CREATE TABLE user_libraries (
    user_id         INTEGER NOT NULL CONSTRAINT fk_user_libraries_user REFERENCES users (id) ON DELETE CASCADE,
    library_id      INTEGER NOT NULL CONSTRAINT fk_user_libraries_library REFERENCES libraries (id) ON DELETE CASCADE,
    PRIMARY KEY (user_id, library_id)
);
CREATE INDEX idx_user_libraries_library ON user_libraries (library_id);

CREATE TABLE user_identities (
    id              SERIAL PRIMARY KEY,
    user_id         INTEGER NOT NULL CONSTRAINT fk_user_identities_user REFERENCES users (id) ON DELETE CASCADE,
    issuer          TEXT NOT NULL,
    subject         TEXT NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT uq_user_identities_subject UNIQUE (issuer, subject)
);
CREATE INDEX idx_user_identities_user ON user_identities (user_id);

CREATE TABLE sessions (
    id              BIGSERIAL PRIMARY KEY,
    user_id         INTEGER NOT NULL CONSTRAINT fk_sessions_user REFERENCES users (id) ON DELETE CASCADE,
    token_hash      BYTEA NOT NULL CONSTRAINT uq_sessions_token UNIQUE,
    epoch           INTEGER NOT NULL,
    client          TEXT,                       -- what the browser calls itself, shown to the user
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    used_at         TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at      TIMESTAMPTZ NOT NULL
);
CREATE INDEX idx_sessions_user ON sessions (user_id);
CREATE INDEX idx_sessions_expires_at ON sessions (expires_at);

CREATE TABLE refresh_tokens (
    id              BIGSERIAL PRIMARY KEY,
    user_id         INTEGER NOT NULL CONSTRAINT fk_refresh_tokens_user REFERENCES users (id) ON DELETE CASCADE,
    family          UUID NOT NULL,
    token_hash      BYTEA NOT NULL CONSTRAINT uq_refresh_tokens_token UNIQUE,
    epoch           INTEGER NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at      TIMESTAMPTZ NOT NULL,
    used_at         TIMESTAMPTZ,
    revoked_at      TIMESTAMPTZ
);
CREATE INDEX idx_refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX idx_refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX idx_refresh_tokens_expires_at ON refresh_tokens (expires_at);

CREATE TABLE api_tokens (
    id              SERIAL PRIMARY KEY,
    user_id         INTEGER NOT NULL CONSTRAINT fk_api_tokens_user REFERENCES users (id) ON DELETE CASCADE,
    name            TEXT NOT NULL,
    token_hash      BYTEA NOT NULL CONSTRAINT uq_api_tokens_token UNIQUE,
    scopes          TEXT[] NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at      TIMESTAMPTZ,
    used_at         TIMESTAMPTZ,
    revoked_at      TIMESTAMPTZ
);
CREATE UNIQUE INDEX uq_api_tokens_name ON api_tokens (user_id, name) WHERE revoked_at IS NULL;

CREATE TABLE signing_keys (
    kid             TEXT PRIMARY KEY,
    secret          BYTEA NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    retired_at      TIMESTAMPTZ                 -- signs nothing from then on; verifies until the last token has run out
);

CREATE TABLE login_failures (
    subject         TEXT PRIMARY KEY,           -- account:<name> or address:<address>
    failures        INTEGER NOT NULL,
    failed_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    blocked_until   TIMESTAMPTZ
);
CREATE INDEX idx_login_failures_failed_at ON login_failures (failed_at);

CREATE TABLE audit_log (
    id              BIGSERIAL PRIMARY KEY,
    at              TIMESTAMPTZ NOT NULL DEFAULT now(),
    user_id         INTEGER CONSTRAINT fk_audit_log_user REFERENCES users (id) ON DELETE SET NULL,
    user_name       TEXT,
    action          TEXT NOT NULL,
    target          TEXT,
    detail          JSONB NOT NULL DEFAULT '{}',
    request_id      TEXT,
    address         TEXT
);
CREATE INDEX idx_audit_log_at ON audit_log (at);
CREATE INDEX idx_audit_log_user ON audit_log (user_id, at);

CREATE TABLE jobs (
    id              UUID PRIMARY KEY,
    kind            TEXT NOT NULL,
    user_id         INTEGER CONSTRAINT fk_jobs_user REFERENCES users (id) ON DELETE SET NULL,
    status          TEXT NOT NULL DEFAULT 'pending'
                    CONSTRAINT ck_jobs_status CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    request         JSONB NOT NULL DEFAULT '{}',
    result          JSONB NOT NULL DEFAULT '{}',
    total           INTEGER NOT NULL DEFAULT 0,
    done            INTEGER NOT NULL DEFAULT 0,
    failed          INTEGER NOT NULL DEFAULT 0,
    error_message   TEXT,
    cancel_requested BOOLEAN NOT NULL DEFAULT false,
    request_id      TEXT,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    started_at      TIMESTAMPTZ,
    beat_at         TIMESTAMPTZ,                -- when its server was last heard of
    completed_at    TIMESTAMPTZ
);
CREATE INDEX idx_jobs_user ON jobs (user_id, created_at);
CREATE INDEX idx_jobs_open ON jobs (created_at) WHERE status IN ('pending', 'running');

ALTER TABLE analysis_queue ADD COLUMN job_id UUID CONSTRAINT fk_analysis_queue_job REFERENCES jobs (id) ON DELETE SET NULL,
    ADD COLUMN user_id INTEGER CONSTRAINT fk_analysis_queue_user REFERENCES users (id) ON DELETE SET NULL,
    ADD COLUMN single BOOLEAN NOT NULL DEFAULT false;
CREATE INDEX idx_analysis_queue_job ON analysis_queue (job_id) WHERE job_id IS NOT NULL;

CREATE FUNCTION map4_overlay_corrections() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW := jsonb_populate_record(NEW, (
        SELECT coalesce(jsonb_object_agg(c.key, c.value), '{}')
        FROM jsonb_each(NEW.corrections) e, jsonb_each(e.value -> 'columns') c
    ));
    RETURN NEW;
END
$$;
CREATE TRIGGER overlay_corrections BEFORE INSERT OR UPDATE ON tracks
    FOR EACH ROW WHEN (NEW.corrections <> '{}'::jsonb) EXECUTE FUNCTION map4_overlay_corrections();

CREATE FUNCTION map4_with_originals(corrections JSONB, raw JSONB) RETURNS JSONB LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(e.key, jsonb_set(e.value, '{original}', (e.value -> 'original') || coalesce(
        (SELECT jsonb_object_agg(r.key, r.value) FROM jsonb_each(raw) r WHERE e.value -> 'original' ? r.key), '{}'))), '{}')
    FROM jsonb_each(corrections) e
$$;

CREATE TABLE track_edits (
    id              BIGSERIAL PRIMARY KEY,
    track_id        BIGINT NOT NULL CONSTRAINT fk_track_edits_track REFERENCES tracks (id) ON DELETE CASCADE,
    user_id         INTEGER CONSTRAINT fk_track_edits_user REFERENCES users (id) ON DELETE SET NULL,
    field           TEXT NOT NULL,
    before          JSONB,
    after           JSONB,
    at              TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX idx_track_edits_track ON track_edits (track_id, at);
CREATE INDEX idx_track_edits_user ON track_edits (user_id);

ALTER TABLE playlists ADD COLUMN owner_id INTEGER CONSTRAINT fk_playlists_owner REFERENCES users (id) ON DELETE SET NULL;
CREATE INDEX idx_playlists_owner ON playlists (owner_id) WHERE owner_id IS NOT NULL;
"""

DOWNGRADE = """
ALTER TABLE playlists DROP COLUMN owner_id;
DROP TABLE track_edits;
DROP TRIGGER overlay_corrections ON tracks;
DROP FUNCTION map4_overlay_corrections();
DROP FUNCTION map4_with_originals(JSONB, JSONB);
ALTER TABLE analysis_queue DROP COLUMN job_id, DROP COLUMN user_id, DROP COLUMN single;
DROP TABLE jobs, audit_log, login_failures, signing_keys, api_tokens, refresh_tokens, sessions, user_identities,
    user_libraries, users;
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Remove them, with every account."""
    op.execute(DOWNGRADE)
