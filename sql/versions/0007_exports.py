"""Exports and back: what DJ programs have made of tracks, kept as they wrote it.

- `deck_entries` holds an entry of a program's collection. Attributes and elements are kept verbatim in JSONB, because the next
  export writes them again and nobody searches them; what is compared or carried to another program stands beside them, typed.
- An entry belongs to where its file is in that program. A location may have 4,096 bytes and a btree entry 2,704, so the digest
  is what is unique.
- `track_id` is null for a track that MAP4 does not have: such an entry survives too. Of one program at most one entry is a
  track's, because nothing could tell which of two is meant. `track_path` is where the track was when it was matched, or where it
  would be: a file that has moved since is written with its new place, and a track that comes later is the entry's.
- `deck_playlists` are lists and folders of such a program; `trail` is the folders' names and its own. They are not in
  `playlists`: they hold entries, some of which are no track of MAP4.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE deck_entries (
    id              BIGSERIAL PRIMARY KEY,
    source          TEXT NOT NULL CONSTRAINT ck_deck_entries_source CHECK (source IN ('rekordbox', 'traktor')),
    location        BYTEA NOT NULL,
    location_digest BYTEA GENERATED ALWAYS AS (sha256(location)) STORED,
    position        INTEGER NOT NULL,
    track_id        BIGINT CONSTRAINT fk_deck_entries_track REFERENCES tracks (id) ON DELETE SET NULL,
    track_path      BYTEA,
    matched_by      TEXT,
    title           TEXT,
    artist          TEXT,
    size_bytes      BIGINT,
    duration        DOUBLE PRECISION,
    bpm             DOUBLE PRECISION,
    key             TEXT,
    grid_start      DOUBLE PRECISION,
    rating          INTEGER CONSTRAINT ck_deck_entries_rating CHECK (rating BETWEEN 0 AND 5),
    play_count      BIGINT,
    comment         TEXT,
    cues            JSONB NOT NULL DEFAULT '[]',
    attributes      JSONB NOT NULL DEFAULT '{}',
    children        JSONB NOT NULL DEFAULT '[]',
    imported_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT uq_deck_entries_location UNIQUE (source, location_digest)
);
CREATE UNIQUE INDEX uq_deck_entries_track ON deck_entries (source, track_id) WHERE track_id IS NOT NULL;
CREATE INDEX idx_deck_entries_track ON deck_entries (track_id);

CREATE TABLE deck_playlists (
    id              BIGSERIAL PRIMARY KEY,
    source          TEXT NOT NULL CONSTRAINT ck_deck_playlists_source CHECK (source IN ('rekordbox', 'traktor')),
    trail           TEXT[] NOT NULL CONSTRAINT ck_deck_playlists_trail CHECK (cardinality(trail) > 0),
    is_folder       BOOLEAN NOT NULL,
    position        INTEGER NOT NULL,
    uuid            TEXT,
    imported_at     TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX idx_deck_playlists_order ON deck_playlists (source, position);

CREATE TABLE deck_playlist_entries (
    playlist_id     BIGINT NOT NULL CONSTRAINT fk_deck_playlist_entries_playlist REFERENCES deck_playlists (id) ON DELETE CASCADE,
    position        INTEGER NOT NULL,
    entry_id        BIGINT NOT NULL CONSTRAINT fk_deck_playlist_entries_entry REFERENCES deck_entries (id) ON DELETE CASCADE,
    PRIMARY KEY (playlist_id, position)
);
CREATE INDEX idx_deck_playlist_entries_entry ON deck_playlist_entries (entry_id);
"""

DOWNGRADE = "DROP TABLE deck_playlist_entries, deck_playlists, deck_entries;"


def upgrade() -> None:
    """Go up."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Go back."""
    op.execute(DOWNGRADE)
