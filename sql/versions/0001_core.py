"""The core tables: libraries, directories, tracks, analyses, scans, annotations, duplicates, playlists, queue, exports.

The requirements page gives tables, columns and indexes; their names and meaning are kept. What differs, and why:

- Text columns are TEXT. PostgreSQL stores both alike, and a VARCHAR(255) title or a VARCHAR(500) path turns a long but
  valid value into a failed import.
- Times are TIMESTAMPTZ: a plain TIMESTAMP means something else after a move to another time zone.
- `file_path` is not unique and not the identity of a track. A file is identified by its library and the bytes of its
  path within it: names need not be valid text, and a library's root may move. `file_path` is the text made from them.
  A path may have 4,096 bytes and a btree entry only 2,704, so uniqueness is held on the SHA-256 of the path.
- `file_hash` may be null, until the file has been read.
- Keys of tables that are filled by upserts are BIGSERIAL: every upsert takes a number from the sequence, used or not.
- `idx_tracks_genre` and `idx_tracks_artist` are hash indexes. They serve what the page's indexes serve (equality), and
  a tag of any length fits. Case-insensitive look-up and sorting use the `_folded` btrees beside them.
- `idx_tracks_hamms` was a GIN index over the vector's JSONB. GIN answers "contains this key and value", which nobody asks of
  twelve measured numbers, and every analysis would pay for it. Similarity is computed over all vectors at once, so
  the index now finds the tracks that have one.
- `search_vector` uses the configuration `map4`, which is `simple` plus `unaccent`, not `english`: names are not English prose,
  and `english` drops "The Who" altogether. Searching for "Bjork" finds "Björk". A configuration rather than a
  call of unaccent(), because a generated column may only use what is immutable, and because it survives dump and restore.
  Separators become spaces first: the parser reads "AC/DC" as a path and "will.i.am" as a host. 10,000 characters of
  each tag are indexed; a tsvector has a limit of 1 MB, and exceeding it would refuse the row.
- Positions in a playlist are checked at the end of the statement, so that one UPDATE can renumber them.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

EXTENSION = "CREATE EXTENSION IF NOT EXISTS unaccent"

SEARCH_CONFIGURATION = """
CREATE TEXT SEARCH CONFIGURATION map4 (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION map4
    ALTER MAPPING FOR asciiword, word, numword, asciihword, hword, numhword, hword_asciipart, hword_part, hword_numpart
    WITH unaccent, simple;
"""

TOUCH = """
CREATE FUNCTION map4_touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
"""

FILES = r"""
CREATE TABLE libraries (
    id          SERIAL PRIMARY KEY,
    slug        TEXT NOT NULL,
    name        TEXT NOT NULL,
    root        BYTEA NOT NULL,              -- absolute path, as the file system has it
    root_text   TEXT NOT NULL,               -- the same to be shown
    watched     BOOLEAN NOT NULL DEFAULT true,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT uq_libraries_slug UNIQUE (slug),
    CONSTRAINT uq_libraries_root UNIQUE (root)
);

-- One row for every directory that ever held a file: Dagster's partitions.
CREATE TABLE directories (
    id             BIGSERIAL PRIMARY KEY,
    library_id     INTEGER NOT NULL CONSTRAINT fk_directories_library REFERENCES libraries (id) ON DELETE RESTRICT,
    relative_path  BYTEA NOT NULL,
    path_digest    BYTEA GENERATED ALWAYS AS (sha256(relative_path)) STORED,
    path_text      TEXT NOT NULL,
    partition_key  TEXT NOT NULL CONSTRAINT ck_directories_partition_key CHECK (char_length(partition_key) BETWEEN 1 AND 200),
    signature      BYTEA,                    -- of the listing that was last settled: the same again means nothing to do
    versions       TEXT,                     -- the analysis versions it was settled with
    ok_count       INTEGER NOT NULL DEFAULT 0,
    failed_count   INTEGER NOT NULL DEFAULT 0,
    skipped_count  INTEGER NOT NULL DEFAULT 0,
    size_bytes     BIGINT NOT NULL DEFAULT 0,
    vanished_at    TIMESTAMPTZ,
    first_seen_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_seen_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    settled_at     TIMESTAMPTZ,
    CONSTRAINT uq_directories_path UNIQUE (library_id, path_digest),
    CONSTRAINT uq_directories_partition_key UNIQUE (partition_key)
);

CREATE TABLE tracks (
    id                   BIGSERIAL PRIMARY KEY,

    -- Where the file is
    library_id           INTEGER NOT NULL CONSTRAINT fk_tracks_library REFERENCES libraries (id) ON DELETE RESTRICT,
    directory_id         BIGINT NOT NULL CONSTRAINT fk_tracks_directory REFERENCES directories (id) ON DELETE RESTRICT,
    relative_path        BYTEA NOT NULL,
    path_digest          BYTEA GENERATED ALWAYS AS (sha256(relative_path)) STORED,
    file_path            TEXT NOT NULL,
    file_name            TEXT NOT NULL,

    -- What it is
    file_size            BIGINT,
    mtime_ns             BIGINT,
    ctime_ns             BIGINT,
    inode                NUMERIC(20),        -- unsigned 64 bits do not fit into a BIGINT
    file_hash            TEXT,               -- SHA-256 of the file
    audio_hash           TEXT,               -- SHA-256 of the sound in it, without tags and container
    audio_hash_kind      TEXT,

    -- How it stands
    status               TEXT NOT NULL DEFAULT 'pending'
                         CONSTRAINT ck_tracks_status CHECK (status IN ('pending', 'ok', 'failed')),
    error_kind           TEXT,
    error_message        TEXT,
    missing_since        TIMESTAMPTZ,
    hidden_at            TIMESTAMPTZ,
    settled_scan_id      BIGINT,             -- the scan that last changed it; no foreign key, so that old scans can go

    -- Metadata
    title                TEXT,
    artist               TEXT,
    album                TEXT,
    album_artist         TEXT,
    composer             TEXT,
    genre                TEXT,
    year                 INTEGER,
    track_number         INTEGER,
    disc_number          INTEGER,
    tags_bpm             DOUBLE PRECISION,
    tags_key             TEXT,
    tags                 JSONB,

    -- Audio
    duration             DOUBLE PRECISION,   -- seconds
    sample_rate          INTEGER,            -- Hz
    bit_rate             INTEGER,            -- bit/s
    channels             INTEGER,
    bit_depth            INTEGER,
    codec                TEXT,
    container            TEXT,

    -- Analysis results. The checks also refuse NaN, which PostgreSQL sorts above every number.
    bpm                  DOUBLE PRECISION CONSTRAINT ck_tracks_bpm CHECK (bpm > 0 AND bpm <= 10000),
    bpm_confidence       DOUBLE PRECISION CONSTRAINT ck_tracks_bpm_confidence CHECK (bpm_confidence BETWEEN 0 AND 1),
    bpm_alternatives     JSONB,
    key                  TEXT,
    camelot              TEXT,
    key_confidence       DOUBLE PRECISION CONSTRAINT ck_tracks_key_confidence CHECK (key_confidence BETWEEN 0 AND 1),
    key_alternatives     JSONB,
    energy               DOUBLE PRECISION CONSTRAINT ck_tracks_energy CHECK (energy BETWEEN 0 AND 1),
    loudness_lufs        DOUBLE PRECISION,
    loudness_range_lu    DOUBLE PRECISION,
    true_peak_dbtp       DOUBLE PRECISION,

    -- HAMMS v3.0
    hamms_vector         JSONB,              -- {name: value or null}
    hamms_confidence     DOUBLE PRECISION CONSTRAINT ck_tracks_hamms_confidence CHECK (hamms_confidence BETWEEN 0 AND 1),

    null_reasons         JSONB NOT NULL DEFAULT '{}',   -- {field: why it could not be measured}
    findings             JSONB NOT NULL DEFAULT '[]',   -- what is odd about the file, although it was analysed
    corrections          JSONB NOT NULL DEFAULT '{}',   -- {field: the user's value}

    -- AI analysis
    ai_analysis          JSONB,
    ai_provider          TEXT,
    ai_analyzed_at       TIMESTAMPTZ,

    -- Fingerprints
    chromaprint_fp       TEXT,
    spectral_hash        TEXT,

    -- Which version made it
    features_version     TEXT,
    fingerprint_version  TEXT,
    hamms_version        TEXT,

    created_at           TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at           TIMESTAMPTZ NOT NULL DEFAULT now(),
    analyzed_at          TIMESTAMPTZ,

    search_vector        tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('map4', translate(left(coalesce(title, ''), 10000), './\@_-', '      ')), 'A') ||
        setweight(to_tsvector('map4', translate(left(coalesce(artist, ''), 10000), './\@_-', '      ')), 'A') ||
        setweight(to_tsvector('map4', translate(left(coalesce(album, ''), 10000), './\@_-', '      ')), 'B') ||
        setweight(to_tsvector('map4', translate(left(coalesce(genre, ''), 10000), './\@_-', '      ')), 'C')
    ) STORED,

    CONSTRAINT uq_tracks_path UNIQUE (library_id, path_digest)
) WITH (fillfactor = 90);  -- room on the page, so that an update that touches no index stays there

CREATE INDEX idx_tracks_bpm ON tracks (bpm);
CREATE INDEX idx_tracks_key ON tracks (key);
CREATE INDEX idx_tracks_genre ON tracks USING HASH (genre);
CREATE INDEX idx_tracks_artist ON tracks USING HASH (artist);
CREATE INDEX idx_tracks_search ON tracks USING GIN (search_vector);
CREATE INDEX idx_tracks_hamms ON tracks (id) WHERE hamms_vector IS NOT NULL;
CREATE INDEX idx_tracks_genre_folded ON tracks (lower(left(genre, 200)));
CREATE INDEX idx_tracks_artist_folded ON tracks (lower(left(artist, 200)));
CREATE INDEX idx_tracks_file_path ON tracks USING HASH (file_path);
CREATE INDEX idx_tracks_directory ON tracks (directory_id);
CREATE INDEX idx_tracks_file_hash ON tracks (file_hash);
CREATE INDEX idx_tracks_audio_hash ON tracks (audio_hash);
CREATE INDEX idx_tracks_camelot ON tracks (camelot);
CREATE INDEX idx_tracks_unsettled ON tracks (status, directory_id) WHERE status <> 'ok';
CREATE INDEX idx_tracks_missing ON tracks (library_id) WHERE missing_since IS NOT NULL;

-- What was measured, by the content it was measured on: moved, renamed, copied and retagged files find it again.
CREATE TABLE analyses (
    id          BIGSERIAL PRIMARY KEY,
    audio_hash  TEXT NOT NULL,
    stage       TEXT NOT NULL,
    engine      TEXT NOT NULL,
    version     TEXT NOT NULL,
    parameters  TEXT NOT NULL DEFAULT '',
    payload     JSONB NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT uq_analyses_identity UNIQUE (audio_hash, stage, engine, version, parameters)
);

-- Files that are no tracks: every file on disk is accounted for.
CREATE TABLE skipped_files (
    id             BIGSERIAL PRIMARY KEY,
    library_id     INTEGER NOT NULL CONSTRAINT fk_skipped_files_library REFERENCES libraries (id) ON DELETE RESTRICT,
    directory_id   BIGINT NOT NULL CONSTRAINT fk_skipped_files_directory REFERENCES directories (id) ON DELETE RESTRICT,
    relative_path  BYTEA NOT NULL,
    path_digest    BYTEA GENERATED ALWAYS AS (sha256(relative_path)) STORED,
    file_path      TEXT NOT NULL,
    reason         TEXT NOT NULL,
    detail         TEXT,
    size           BIGINT,
    mtime_ns       BIGINT,
    ctime_ns       BIGINT,
    inode          NUMERIC(20),
    first_seen_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_seen_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT uq_skipped_files_path UNIQUE (library_id, path_digest)
);
CREATE INDEX idx_skipped_files_directory ON skipped_files (directory_id);

CREATE TABLE scans (
    id           BIGSERIAL PRIMARY KEY,
    library_id   INTEGER NOT NULL CONSTRAINT fk_scans_library REFERENCES libraries (id) ON DELETE RESTRICT,
    kind         TEXT NOT NULL CONSTRAINT ck_scans_kind CHECK (kind IN ('full', 'partial')),
    run_id       TEXT,
    started_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    finished_at  TIMESTAMPTZ,
    status       TEXT NOT NULL DEFAULT 'running'
                 CONSTRAINT ck_scans_status CHECK (status IN ('running', 'completed', 'failed', 'guarded')),
    seen         INTEGER NOT NULL DEFAULT 0,
    analysed     INTEGER NOT NULL DEFAULT 0,
    reused       INTEGER NOT NULL DEFAULT 0,
    unchanged    INTEGER NOT NULL DEFAULT 0,
    failed       INTEGER NOT NULL DEFAULT 0,
    skipped      INTEGER NOT NULL DEFAULT 0,
    pending      INTEGER NOT NULL DEFAULT 0,
    missing      INTEGER NOT NULL DEFAULT 0,
    decodes      INTEGER NOT NULL DEFAULT 0,
    bytes_read   BIGINT NOT NULL DEFAULT 0,
    message      TEXT
);
CREATE INDEX idx_scans_library ON scans (library_id, started_at);

CREATE TABLE scan_directories (
    scan_id       BIGINT NOT NULL CONSTRAINT fk_scan_directories_scan REFERENCES scans (id) ON DELETE CASCADE,
    directory_id  BIGINT NOT NULL CONSTRAINT fk_scan_directories_directory REFERENCES directories (id),
    seen          INTEGER NOT NULL DEFAULT 0,
    analysed      INTEGER NOT NULL DEFAULT 0,
    reused        INTEGER NOT NULL DEFAULT 0,
    unchanged     INTEGER NOT NULL DEFAULT 0,
    failed        INTEGER NOT NULL DEFAULT 0,
    skipped       INTEGER NOT NULL DEFAULT 0,
    pending       INTEGER NOT NULL DEFAULT 0,
    missing       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (scan_id, directory_id)
);
"""

ENRICHMENT = """
CREATE TABLE annotations (
    id              BIGSERIAL PRIMARY KEY,
    audio_hash      TEXT NOT NULL,
    track_id        BIGINT CONSTRAINT fk_annotations_track REFERENCES tracks (id) ON DELETE SET NULL,
    provider        TEXT NOT NULL,
    model           TEXT NOT NULL,
    prompt_version  TEXT NOT NULL,
    payload         JSONB NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT uq_annotations_identity UNIQUE (audio_hash, provider, model, prompt_version)
);
CREATE INDEX idx_annotations_track ON annotations (track_id);

CREATE TABLE duplicate_groups (
    id               BIGSERIAL PRIMARY KEY,
    kind             TEXT NOT NULL
                     CONSTRAINT ck_duplicate_groups_kind
                     CHECK (kind IN ('identical_file', 'identical_audio', 'same_recording', 'other_version')),
    evidence         JSONB NOT NULL DEFAULT '{}',
    keeper_track_id  BIGINT CONSTRAINT fk_duplicate_groups_keeper REFERENCES tracks (id) ON DELETE SET NULL,
    created_at       TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE duplicate_members (
    group_id  BIGINT NOT NULL CONSTRAINT fk_duplicate_members_group REFERENCES duplicate_groups (id) ON DELETE CASCADE,
    track_id  BIGINT NOT NULL CONSTRAINT fk_duplicate_members_track REFERENCES tracks (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, track_id)
);
CREATE INDEX idx_duplicate_members_track ON duplicate_members (track_id);

-- One row a library, and one without for all of them.
CREATE TABLE library_statistics (
    id           SERIAL PRIMARY KEY,
    library_id   INTEGER CONSTRAINT fk_library_statistics_library REFERENCES libraries (id) ON DELETE CASCADE,
    payload      JSONB NOT NULL,
    computed_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT uq_library_statistics_library UNIQUE NULLS NOT DISTINCT (library_id)
);

CREATE TABLE playlists (
    id           SERIAL PRIMARY KEY,
    name         TEXT NOT NULL,
    description  TEXT,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at   TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE playlist_tracks (
    id                  SERIAL PRIMARY KEY,
    playlist_id         INTEGER NOT NULL CONSTRAINT fk_playlist_tracks_playlist REFERENCES playlists (id) ON DELETE CASCADE,
    track_id            BIGINT NOT NULL CONSTRAINT fk_playlist_tracks_track REFERENCES tracks (id) ON DELETE CASCADE,
    position            INTEGER NOT NULL,
    transition_quality  DOUBLE PRECISION,
    CONSTRAINT uq_playlist_tracks_position UNIQUE (playlist_id, position) DEFERRABLE INITIALLY IMMEDIATE
);
CREATE INDEX idx_playlist_tracks_track ON playlist_tracks (track_id);

CREATE TABLE analysis_queue (
    id             BIGSERIAL PRIMARY KEY,
    file_path      TEXT NOT NULL,
    priority       INTEGER NOT NULL DEFAULT 5,
    status         TEXT NOT NULL DEFAULT 'pending',
    error_message  TEXT,
    created_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    started_at     TIMESTAMPTZ,
    completed_at   TIMESTAMPTZ
);
CREATE INDEX idx_analysis_queue_pending ON analysis_queue (priority, id) WHERE status = 'pending';

CREATE TABLE export_history (
    id           SERIAL PRIMARY KEY,
    export_type  TEXT NOT NULL,
    track_count  INTEGER,
    file_size    BIGINT,
    duration_ms  INTEGER,
    user_id      TEXT,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON libraries FOR EACH ROW EXECUTE FUNCTION map4_touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON tracks FOR EACH ROW EXECUTE FUNCTION map4_touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON playlists FOR EACH ROW EXECUTE FUNCTION map4_touch_updated_at();
"""

# The extension stays: it may have been there before, and something else may use it.
DOWN = """
DROP TABLE export_history, analysis_queue, playlist_tracks, playlists, library_statistics, duplicate_members,
    duplicate_groups, annotations, scan_directories, scans, skipped_files, analyses, tracks, directories, libraries;
DROP FUNCTION map4_touch_updated_at();
DROP TEXT SEARCH CONFIGURATION map4;
"""


def upgrade() -> None:
    """Create the core tables."""
    for statements in (EXTENSION, SEARCH_CONFIGURATION, TOUCH, FILES, ENRICHMENT):
        op.get_bind().exec_driver_sql(statements)


def downgrade() -> None:
    """Drop them with everything in them."""
    op.get_bind().exec_driver_sql(DOWN)
