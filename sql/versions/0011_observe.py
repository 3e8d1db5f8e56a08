"""Who asked for a row of the queue, and who uses what.

- `analysis_queue.request_id` is the X-Request-ID with which the row was asked for; it goes on into the
  tags of the run and into its log.
- The index by `completed_at` serves the figures of the last hour, and housekeeping.
- `user_activity` has a line for each user, day (UTC) and part of MAP4 that the user used that day: the figures of daily
  users and of how widely a part is used. No line says what was looked at. It ends with its user, and after MAP4_KEEP_DAYS.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_UP = (
    "ALTER TABLE analysis_queue ADD COLUMN request_id TEXT",
    "CREATE INDEX idx_analysis_queue_completed ON analysis_queue (completed_at) WHERE completed_at IS NOT NULL",
    """
    CREATE TABLE user_activity (
        user_id INTEGER NOT NULL CONSTRAINT fk_user_activity_user REFERENCES users (id) ON DELETE CASCADE,
        day     DATE NOT NULL,
        feature TEXT NOT NULL,
        uses    INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (day, user_id, feature)
    )
    """,
    "CREATE INDEX idx_user_activity_user ON user_activity (user_id)",
)
_DOWN = (
    "DROP TABLE user_activity",
    "DROP INDEX idx_analysis_queue_completed",
    "ALTER TABLE analysis_queue DROP COLUMN request_id",
)


def upgrade() -> None:
    """Add column and table."""
    for statement in _UP:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Remove them."""
    for statement in _DOWN:
        op.get_bind().exec_driver_sql(statement)
