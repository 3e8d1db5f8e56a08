"""Single rows of the queue, which a resident worker takes at once: an index for it, and a bell that rings when one comes.

The worker listens on the channel `map4_single`, whoever writes the row; where notifications do not get through (a pooler between
the two), it looks every second, and the index makes that look cheap however many rows wait for runs.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_UP = (
    "CREATE INDEX idx_analysis_queue_single ON analysis_queue (priority, id) WHERE status = 'pending' AND single",
    """
    CREATE FUNCTION map4_ring_single() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('map4_single', '');
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER analysis_queue_single AFTER INSERT ON analysis_queue
    FOR EACH ROW WHEN (NEW.single) EXECUTE FUNCTION map4_ring_single()
    """,
)
_DOWN = (
    "DROP TRIGGER analysis_queue_single ON analysis_queue",
    "DROP FUNCTION map4_ring_single()",
    "DROP INDEX idx_analysis_queue_single",
)


def upgrade() -> None:
    """Make index and bell."""
    for statement in _UP:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Remove them."""
    for statement in _DOWN:
        op.get_bind().exec_driver_sql(statement)
