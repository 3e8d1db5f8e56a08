r"""Search and statistics: a narrow copy of what is searched, and a mark that moves with every change.

- `track_search` has a row of about 300 bytes for every track, kept true by a trigger in the same transaction. A row of
  `tracks` has 1.5 kB and more: a filter that leaves 50,000 of a million tracks reads nearly 50,000 pages there, and a whole
  pass, which is what the worst query costs, reads all of the disk's pages. Names are folded (lower case, without accents,
  200 characters), measured numbers have single precision, which is more than they are measured to.
- `words` is a text search vector like `tracks.search_vector`, but with a weight for each field (A title, B artist, C album,
  D genre), so that `artist:daft` is one look-up. Scripts that are written without spaces have pairs of characters in it: a
  search for two characters in the middle of a title finds it by the index. An index of trigrams would need three.
- Sorting indexes have the id behind the value: a page begins where the last one ended. The other way round they are read
  backwards, which is why pages of tracks without the value are a query of their own and NULLs need no place in the order.
- Tempo and key of the tags are compared when a track is written (`conflict`), not in every search.
- `library_changes` gets a row for every transaction that changes tracks. Its content is a number (`map4_generation`) that no
  two states of the library share: what a cache holds is valid for one. A counter would make transactions wait for each
  other, and a sequence moves before the change can be seen.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE track_search (
    track_id             BIGINT PRIMARY KEY CONSTRAINT fk_track_search_track REFERENCES tracks (id) ON DELETE CASCADE,
    created_at           TIMESTAMPTZ NOT NULL,
    file_size            BIGINT,
    library_id           INTEGER NOT NULL,
    bit_rate             INTEGER,
    bpm                  REAL,
    energy               REAL,
    loudness             REAL,               -- LUFS
    duration             REAL,               -- seconds
    confidence           REAL,               -- the lower one of the two below
    bpm_confidence       REAL,
    key_confidence       REAL,
    danceability         REAL,
    valence              REAL,
    acousticness         REAL,
    instrumentalness     REAL,
    rhythmic_pattern     REAL,
    spectral_centroid    REAL,
    tempo_stability      REAL,
    harmonic_complexity  REAL,
    dynamic_range        REAL,
    year                 SMALLINT,
    camelot              SMALLINT,           -- 2 for 1A, 3 for 1B ... 25 for 12B
    listed               BOOLEAN NOT NULL,   -- analysed, there and not hidden: what a search finds unless it asks for others
    failed               BOOLEAN NOT NULL,
    pending              BOOLEAN NOT NULL,
    missing              BOOLEAN NOT NULL,
    hidden               BOOLEAN NOT NULL,
    conflict             BOOLEAN NOT NULL,   -- the tags say another tempo or key
    annotated            BOOLEAN NOT NULL,
    title                TEXT,
    artist               TEXT,
    album                TEXT,
    genre                TEXT,
    formats              TEXT[] NOT NULL,    -- codec, ending, container
    moods                TEXT[],
    words                TSVECTOR NOT NULL
);

CREATE TABLE library_changes (
    id    BIGSERIAL PRIMARY KEY,
    txid  BIGINT NOT NULL
);
"""

FUNCTIONS = r"""
CREATE FUNCTION map4_fold(value text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
RETURN left(lower(unaccent(left(value, 200))), 200);

-- Pairs of characters, and the last one alone, of every run of a script without spaces.
CREATE FUNCTION map4_pairs(value text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY(
    SELECT DISTINCT substr(run[1], place, 2)
    FROM regexp_matches(
            left(value, 1000),
            '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+',
            'g'
        ) AS run,
        generate_series(1, length(run[1])) AS place
);

CREATE FUNCTION map4_words(value text, field "char") RETURNS tsvector LANGUAGE sql STABLE PARALLEL SAFE
RETURN setweight(to_tsvector('map4', translate(left(value, 10000), './\@_-', '      ')), field);

-- Words of a field that has no weight of its own, told apart by a mark before each.
CREATE FUNCTION map4_marked(value text, mark text) RETURNS text[] LANGUAGE sql STABLE PARALLEL SAFE
RETURN ARRAY(SELECT mark || word FROM unnest(tsvector_to_array(map4_words(value, 'A'))) AS word);

CREATE FUNCTION map4_marked_query(value text, mark text) RETURNS tsquery LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT string_agg(quote_literal(word), ' & ')::tsquery FROM unnest(map4_marked(value, mark)) AS word);

CREATE FUNCTION map4_conflict(bpm double precision, tags_bpm double precision, camelot text, tags_camelot text)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Octaves apart is no conflict: how far the ratio is from the nearest power of two.
RETURN coalesce(
    bpm > 0 AND tags_bpm > 0
        AND abs(ln(tags_bpm / bpm) / ln(2.0) - round(ln(tags_bpm / bpm) / ln(2.0))) > ln(1.04) / ln(2.0),
    false
) OR coalesce(tags_camelot <> camelot, false);

CREATE FUNCTION map4_search_row(t tracks) RETURNS track_search LANGUAGE plpgsql STABLE AS $$
DECLARE
    s track_search;
    v jsonb := t.hamms_vector;
    names text := concat_ws(' ', t.title, t.artist, t.album);
BEGIN
    s.track_id := t.id;
    s.created_at := t.created_at;
    s.file_size := t.file_size;
    s.library_id := t.library_id;
    s.bit_rate := t.bit_rate;
    s.bpm := t.bpm;
    s.energy := t.energy;
    s.loudness := t.loudness_lufs;
    s.duration := t.duration;
    s.confidence := least(t.bpm_confidence, t.key_confidence);
    s.bpm_confidence := t.bpm_confidence;
    s.key_confidence := t.key_confidence;
    IF v IS NOT NULL THEN
        s.danceability := v ->> 'danceability';
        s.valence := v ->> 'valence';
        s.acousticness := v ->> 'acousticness';
        s.instrumentalness := v ->> 'instrumentalness';
        s.rhythmic_pattern := v ->> 'rhythmic_pattern';
        s.spectral_centroid := v ->> 'spectral_centroid';
        s.tempo_stability := v ->> 'tempo_stability';
        s.harmonic_complexity := v ->> 'harmonic_complexity';
        s.dynamic_range := v ->> 'dynamic_range';
    END IF;
    s.year := CASE WHEN t.year BETWEEN -32768 AND 32767 THEN t.year END;
    s.camelot := CASE WHEN t.camelot ~ '^[0-9]{1,2}[AB]$'
        THEN left(t.camelot, -1)::int * 2 + CASE right(t.camelot, 1) WHEN 'B' THEN 1 ELSE 0 END END;
    s.failed := t.status = 'failed';
    s.pending := t.status = 'pending';
    s.missing := t.missing_since IS NOT NULL;
    s.hidden := t.hidden_at IS NOT NULL;
    s.listed := t.status = 'ok' AND NOT s.missing AND NOT s.hidden;
    s.conflict := map4_conflict(t.bpm, t.tags_bpm, t.camelot, t.tags_camelot);
    s.annotated := t.ai_analysis IS NOT NULL;
    s.title := map4_fold(t.title);
    s.artist := map4_fold(t.artist);
    s.album := map4_fold(t.album);
    s.genre := map4_fold(t.genre);
    s.formats := array_remove(ARRAY[lower(t.codec), lower(left(substring(t.file_name FROM '\.([^.]+)$'), 20))], NULL);
    IF lower(t.container) <> ALL (s.formats) THEN
        s.formats := s.formats || string_to_array(lower(t.container), ',');
    END IF;
    IF jsonb_typeof(t.ai_analysis -> 'moods') = 'array' THEN
        s.moods := ARRAY(SELECT DISTINCT lower(left(mood, 100)) FROM jsonb_array_elements_text(t.ai_analysis -> 'moods') AS mood);
    END IF;
    s.words := map4_words(coalesce(t.title, ''), 'A') || map4_words(coalesce(t.artist, ''), 'B')
        || map4_words(coalesce(t.album, ''), 'C') || map4_words(coalesce(t.genre, ''), 'D');
    IF names ~ '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]' THEN
        s.words := s.words || array_to_tsvector(map4_pairs(lower(names)));
    END IF;
    IF t.composer IS NOT NULL THEN
        s.words := s.words || array_to_tsvector(map4_marked(t.composer, 'composer:'));
    END IF;
    RETURN s;
END
$$;

CREATE FUNCTION map4_search_track() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    s track_search := map4_search_row(NEW);
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM track_search WHERE track_id = OLD.id;
    END IF;
    INSERT INTO track_search SELECT s.*;
    RETURN NULL;
END
$$;

-- For bulk loads that switched the triggers off.
CREATE FUNCTION map4_rebuild_search() RETURNS bigint LANGUAGE sql AS $$
    DELETE FROM track_search;
    INSERT INTO track_search SELECT s.* FROM tracks t CROSS JOIN LATERAL map4_search_row(t) s;
    INSERT INTO library_changes (txid) VALUES (pg_current_xact_id()::text::bigint);
    SELECT count(*) FROM track_search;
$$;

CREATE FUNCTION map4_note_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    txid text := pg_current_xact_id()::text;
BEGIN
    -- Once a transaction. The setting ends with it, and goes back with a savepoint, as the row does.
    IF current_setting('map4.noted', true) IS DISTINCT FROM txid THEN
        INSERT INTO library_changes (txid) VALUES (txid::bigint);
        PERFORM set_config('map4.noted', txid, true);
    END IF;
    RETURN NULL;
END
$$;

-- Rows only come, so the sum grows; where old ones go (map4_forget_changes), a new greatest id stays.
CREATE FUNCTION map4_generation() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(max(id), 0) || '-' || coalesce(sum(id), 0) FROM library_changes
$$;

-- What ended before any transaction under way can go; a transaction under way may yet show a row with a lower id than others.
CREATE FUNCTION map4_forget_changes() RETURNS void LANGUAGE sql AS $$
    DELETE FROM library_changes WHERE txid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    INSERT INTO library_changes (txid) VALUES (pg_current_xact_id()::text::bigint);
$$;
"""

FILL = "INSERT INTO track_search SELECT s.* FROM tracks t CROSS JOIN LATERAL map4_search_row(t) s"

#: Sorted by and filtered by; the nine dimensions without a sort of their own; the rest.
INDEXES = """
CREATE INDEX idx_track_search_bpm ON track_search (bpm, track_id);
CREATE INDEX idx_track_search_key ON track_search (camelot, track_id);
CREATE INDEX idx_track_search_energy ON track_search (energy, track_id);
CREATE INDEX idx_track_search_loudness ON track_search (loudness, track_id);
CREATE INDEX idx_track_search_year ON track_search (year, track_id);
CREATE INDEX idx_track_search_duration ON track_search (duration, track_id);
CREATE INDEX idx_track_search_added ON track_search (created_at, track_id);
CREATE INDEX idx_track_search_confidence ON track_search (confidence, track_id);
CREATE INDEX idx_track_search_title ON track_search (title, track_id);
CREATE INDEX idx_track_search_artist ON track_search (artist, track_id);
CREATE INDEX idx_track_search_album ON track_search (album, track_id);
CREATE INDEX idx_track_search_genre ON track_search (genre, track_id);
CREATE INDEX idx_track_search_danceability ON track_search (danceability);
CREATE INDEX idx_track_search_valence ON track_search (valence);
CREATE INDEX idx_track_search_acousticness ON track_search (acousticness);
CREATE INDEX idx_track_search_instrumentalness ON track_search (instrumentalness);
CREATE INDEX idx_track_search_rhythmic_pattern ON track_search (rhythmic_pattern);
CREATE INDEX idx_track_search_spectral_centroid ON track_search (spectral_centroid);
CREATE INDEX idx_track_search_tempo_stability ON track_search (tempo_stability);
CREATE INDEX idx_track_search_harmonic_complexity ON track_search (harmonic_complexity);
CREATE INDEX idx_track_search_dynamic_range ON track_search (dynamic_range);
CREATE INDEX idx_track_search_words ON track_search USING GIN (words);
CREATE INDEX idx_track_search_formats ON track_search USING GIN (formats);
CREATE INDEX idx_track_search_moods ON track_search USING GIN (moods) WHERE moods IS NOT NULL;
CREATE INDEX idx_track_search_unlisted ON track_search (track_id) WHERE NOT listed;
CREATE INDEX idx_track_search_conflict ON track_search (track_id) WHERE conflict;
CREATE INDEX idx_tracks_path_order ON tracks (left(file_path, 200), id);
"""

TRIGGERS = """
CREATE TRIGGER search_inserted AFTER INSERT ON tracks FOR EACH ROW EXECUTE FUNCTION map4_search_track();
CREATE TRIGGER search_updated AFTER UPDATE OF
    library_id, file_name, file_size, status, missing_since, hidden_at, title, artist, album, composer, genre,
    year, tags_bpm, tags_camelot, duration, bit_rate, codec, container, bpm, bpm_confidence, camelot,
    key_confidence, energy, loudness_lufs, hamms_vector, ai_analysis, created_at
    ON tracks FOR EACH ROW EXECUTE FUNCTION map4_search_track();
CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tracks EXECUTE FUNCTION map4_note_change();
CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON libraries EXECUTE FUNCTION map4_note_change();
CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON duplicate_members EXECUTE FUNCTION map4_note_change();
CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON duplicate_groups EXECUTE FUNCTION map4_note_change();
"""

DOWN = """
DROP TRIGGER note_change ON duplicate_groups;
DROP TRIGGER note_change ON duplicate_members;
DROP TRIGGER note_change ON libraries;
DROP TRIGGER note_change ON tracks;
DROP TRIGGER search_updated ON tracks;
DROP TRIGGER search_inserted ON tracks;
DROP FUNCTION map4_forget_changes(), map4_generation(), map4_note_change(), map4_rebuild_search(), map4_search_track(),
    map4_search_row(tracks), map4_conflict(double precision, double precision, text, text), map4_marked_query(text, text),
    map4_marked(text, text), map4_words(text, "char"), map4_pairs(text), map4_fold(text);
DROP INDEX idx_tracks_path_order;
DROP TABLE library_changes, track_search;
"""


def upgrade() -> None:
    """Make the tables, fill them from the tracks there are, and keep them true from then on."""
    for statements in (TABLES, FUNCTIONS, FILL, INDEXES, TRIGGERS):
        op.get_bind().exec_driver_sql(statements)


def downgrade() -> None:
    """Go back."""
    op.get_bind().exec_driver_sql(DOWN)
