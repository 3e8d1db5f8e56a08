"""Watching, the queue, pausing, and what failed.

- `watch_sweeps` is where the folders' sensor has got to in each library. A tick has a time budget, so a large library or a slow
  share is gone over in several ticks, each of which goes on where the last one stopped, also after a restart.
- `watch_candidates` are directories that differ from what was last settled. One is taken once two looks at it agree, so that a
  file that is still being written waits; `signature` null means that the directory is gone.
- `analysis_queue` gets the run that works on a row, and the batch of rows that one run was launched for.
- `run_failures` keeps failed Dagster runs where `map4 status` shows them, beyond the retention of Dagster's own history.
- `controls` holds switches that every process obeys: `paused`.
- `tracks.tags_camelot` is the key of the tags in one spelling, whatever the tag's, to be compared with the measured one.
- `tracks.attempts` counts how often a file failed in a row; the view `failing_tracks` shows what keeps failing.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE watch_sweeps (
    library_id     INTEGER PRIMARY KEY CONSTRAINT fk_watch_sweeps_library REFERENCES libraries (id) ON DELETE CASCADE,
    phase          TEXT NOT NULL DEFAULT 'walk' CONSTRAINT ck_watch_sweeps_phase CHECK (phase IN ('walk', 'known')),
    after_path     BYTEA,                       -- the walk goes on behind this directory; null: from the root
    after_id       BIGINT NOT NULL DEFAULT 0,   -- phase 'known': directories up to this id were looked for
    directories    BIGINT NOT NULL DEFAULT 0,   -- seen in this sweep so far
    lost           BIGINT NOT NULL DEFAULT 0,   -- files fewer than were known, in this sweep so far
    refusal        TEXT,                        -- why the last whole sweep changed nothing
    visited_at     TIMESTAMPTZ,
    begun_at       TIMESTAMPTZ,
    completed_at   TIMESTAMPTZ                  -- end of the last whole sweep
);

CREATE TABLE watch_candidates (
    id             BIGSERIAL PRIMARY KEY,
    library_id     INTEGER NOT NULL CONSTRAINT fk_watch_candidates_library REFERENCES libraries (id) ON DELETE CASCADE,
    relative_path  BYTEA NOT NULL,
    path_digest    BYTEA GENERATED ALWAYS AS (sha256(relative_path)) STORED,
    signature      BYTEA,                       -- of its entries at the last look; null: it is gone
    files          INTEGER NOT NULL DEFAULT 0,
    shrinks        BOOLEAN NOT NULL DEFAULT false, -- it has fewer files than it had: taken after a whole sweep only
    attempts       INTEGER NOT NULL DEFAULT 0,  -- runs launched for this signature
    found_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    changed_at     TIMESTAMPTZ NOT NULL DEFAULT now(),  -- first look that saw this signature
    seen_at        TIMESTAMPTZ NOT NULL DEFAULT now(),  -- last look
    CONSTRAINT uq_watch_candidates_path UNIQUE (library_id, path_digest)
);

ALTER TABLE analysis_queue ADD COLUMN run_id TEXT, ADD COLUMN batch TEXT, ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0,
    ADD CONSTRAINT ck_analysis_queue_status CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled'));
CREATE INDEX idx_analysis_queue_running ON analysis_queue (batch) WHERE status = 'running';

CREATE TABLE run_failures (
    run_id         TEXT PRIMARY KEY,
    job            TEXT NOT NULL,
    message        TEXT NOT NULL,
    partitions     INTEGER NOT NULL DEFAULT 0,
    failed_at      TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX idx_run_failures_failed_at ON run_failures (failed_at);

CREATE TABLE controls (
    name           TEXT PRIMARY KEY,
    value          TEXT NOT NULL,
    changed_at     TIMESTAMPTZ NOT NULL DEFAULT now()
);

ALTER TABLE tracks ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0, ADD COLUMN tags_camelot TEXT;

CREATE VIEW failing_tracks AS
SELECT t.id, l.slug AS library, t.file_path, t.error_kind, t.error_message, t.attempts, t.file_size, t.updated_at AS last_tried_at
FROM tracks t JOIN libraries l ON l.id = t.library_id
WHERE t.status = 'failed' AND t.missing_since IS NULL AND t.hidden_at IS NULL
ORDER BY t.attempts DESC, t.updated_at DESC;
"""

DOWNGRADE = """
DROP VIEW failing_tracks;
ALTER TABLE tracks DROP COLUMN attempts, DROP COLUMN tags_camelot;
DROP TABLE controls, run_failures;
DROP INDEX idx_analysis_queue_running;
ALTER TABLE analysis_queue DROP CONSTRAINT ck_analysis_queue_status, DROP COLUMN run_id, DROP COLUMN batch,
    DROP COLUMN attempts;
DROP TABLE watch_candidates, watch_sweeps;
"""


def upgrade() -> None:
    """Go up."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Go back."""
    op.execute(DOWNGRADE)
