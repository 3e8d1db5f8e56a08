"""Similar tracks: an index that finds what changed.

A process that answers "what is like this?" holds all vectors in memory. `map4_generation` (0005) tells it that something changed;
the index tells it what, without a walk over the table. The id beside the moment makes it an index-only scan.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.get_bind().exec_driver_sql("CREATE INDEX idx_tracks_updated ON tracks (updated_at, id)")


def downgrade() -> None:
    """Drop it."""
    op.get_bind().exec_driver_sql("DROP INDEX idx_tracks_updated")
