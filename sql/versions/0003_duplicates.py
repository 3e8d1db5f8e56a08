"""Duplicates by sound, and what people decided about them.

- `fingerprint_matches` are the pairs of contents that the index of fingerprints found alike, as measured. What a pair is called
  depends on tags and durations too and is worked out anew each time, so nothing here is stale after a retag.
- `fingerprint_index` is how far the index on disk goes. It changes in the transaction that writes the pairs: an index that does
  not fit this row is not used.
- A group keeps its number while its members stay. `duplicate_decisions` is their history, tied to tracks, not to groups: a
  decision holds for every group that has no other members than it was taken for, whatever becomes of the group meanwhile.
- `duplicate_groups.state` says how a group stands; `open` is undecided.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE fingerprint_matches (
    first_hash      TEXT NOT NULL,
    second_hash     TEXT NOT NULL,
    bit_error_rate  DOUBLE PRECISION NOT NULL,
    shift           INTEGER NOT NULL,           -- items by which the second lies later
    overlap         INTEGER NOT NULL,           -- items compared
    alike           INTEGER NOT NULL,           -- items in stretches that are alike
    distinct_items  INTEGER NOT NULL,           -- how many different ones those stretches have
    background      DOUBLE PRECISION NOT NULL,  -- bit error rate of each with itself at other moments, the lower one
    shorter         INTEGER NOT NULL,           -- items of the shorter fingerprint
    PRIMARY KEY (first_hash, second_hash),
    CONSTRAINT ck_fingerprint_matches_order CHECK (first_hash < second_hash)
);

CREATE TABLE fingerprint_index (
    id              INTEGER PRIMARY KEY CONSTRAINT ck_fingerprint_index_one CHECK (id = 1),
    generation      TEXT NOT NULL,              -- the folder's name
    version         TEXT NOT NULL,              -- of the fingerprints and of the way they are compared
    state           JSONB NOT NULL,
    updated_at      TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE duplicate_decisions (
    id              BIGSERIAL PRIMARY KEY,
    group_id        BIGINT NOT NULL,            -- when it was taken; the group may have gone since
    family          TEXT NOT NULL CONSTRAINT ck_duplicate_decisions_family CHECK (family IN ('copies', 'versions')),
    verdict         TEXT NOT NULL
                    CONSTRAINT ck_duplicate_decisions_verdict CHECK (verdict IN ('keep', 'not_duplicates', 'ignore')),
    track_ids       BIGINT[] NOT NULL,
    keeper_track_id BIGINT CONSTRAINT fk_duplicate_decisions_keeper REFERENCES tracks (id) ON DELETE SET NULL,
    note            TEXT NOT NULL DEFAULT '',
    decided_by      TEXT NOT NULL DEFAULT '',
    decided_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    undone_at       TIMESTAMPTZ,
    undone_by       TEXT
);
CREATE INDEX idx_duplicate_decisions_tracks ON duplicate_decisions USING gin (track_ids) WHERE undone_at IS NULL;

ALTER TABLE duplicate_groups
    ADD COLUMN state TEXT NOT NULL DEFAULT 'open'
        CONSTRAINT ck_duplicate_groups_state CHECK (state IN ('open', 'keep', 'not_duplicates', 'ignore')),
    ADD COLUMN keeper_reason TEXT NOT NULL DEFAULT '',
    ADD COLUMN surplus_bytes BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN updated_at TIMESTAMPTZ NOT NULL DEFAULT now();
"""

DOWNGRADE = """
ALTER TABLE duplicate_groups DROP COLUMN state, DROP COLUMN keeper_reason, DROP COLUMN surplus_bytes, DROP COLUMN updated_at;
DROP TABLE duplicate_decisions, fingerprint_index, fingerprint_matches;
"""


def upgrade() -> None:
    """Go up."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Go back."""
    op.execute(DOWNGRADE)
