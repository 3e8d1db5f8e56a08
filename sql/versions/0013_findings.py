"""An index of what is odd about files, for searches such as `is:damaged` and `finding:clipping`.

Only tracks with findings are in it, by the findings' codes alone: the messages hold numbers, and few are the same.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.get_bind().exec_driver_sql(
        "CREATE INDEX idx_tracks_findings ON tracks USING gin (jsonb_path_query_array(findings, '$[*].code')) "
        "WHERE findings <> '[]'"
    )


def downgrade() -> None:
    """Remove it."""
    op.get_bind().exec_driver_sql("DROP INDEX idx_tracks_findings")
