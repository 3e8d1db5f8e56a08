"""Sets: what was wished of a playlist, what it costs, and how to get the same one again.

- `playlists.kind` tells lists made by hand from sets that were built; a built set that is edited afterwards is `edited`: its
  parameters are what was asked, no longer what it is.
- `parameters` are the wishes and rules as they were given, `seed` and they give the same set again from the same library; `cost`
  is the breakdown. JSONB, because wishes are read and written as a whole and searched by nobody.
- A position counts from 1. Reordering shifts many rows at once, so its uniqueness can be deferred (since 0001).
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE playlists
    ADD COLUMN kind TEXT NOT NULL DEFAULT 'manual' CONSTRAINT ck_playlists_kind CHECK (kind IN ('manual', 'set', 'edited')),
    ADD COLUMN parameters JSONB,
    ADD COLUMN seed BIGINT,
    ADD COLUMN cost JSONB,
    ADD CONSTRAINT ck_playlists_name CHECK (btrim(name) <> '');
ALTER TABLE playlist_tracks
    ADD CONSTRAINT ck_playlist_tracks_position CHECK (position > 0),
    ADD CONSTRAINT ck_playlist_tracks_quality CHECK (transition_quality BETWEEN 0 AND 1);
"""

DOWNGRADE = """
ALTER TABLE playlist_tracks DROP CONSTRAINT ck_playlist_tracks_position, DROP CONSTRAINT ck_playlist_tracks_quality;
ALTER TABLE playlists DROP CONSTRAINT ck_playlists_name, DROP COLUMN kind, DROP COLUMN parameters, DROP COLUMN seed,
    DROP COLUMN cost;
"""


def upgrade() -> None:
    """Go up."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Go back."""
    op.execute(DOWNGRADE)
