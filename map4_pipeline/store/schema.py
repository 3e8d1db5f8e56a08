"""MAP4's tables for SQLAlchemy Core.

What belongs here: one `Table` for each table that the migrations in `sql/` create, so that queries are
written against names that a type checker and a test know. What does not: changing the schema. Only a
migration does that, and it holds the SQL and the reasons; a test compares the two. Check constraints,
triggers and functions are in the migrations alone.
"""

from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    Column,
    Computed,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR
from sqlalchemy.sql.elements import ColumnElement

from map4_pipeline.store.schema_accounts import (
    api_tokens,
    audit_log,
    jobs,
    login_failures,
    login_flows,
    refresh_tokens,
    sessions,
    signing_keys,
    track_edits,
    user_activity,
    user_identities,
    user_libraries,
    users,
)
from map4_pipeline.store.schema_columns import counter, json_column, metadata, moment, path_digest
from map4_pipeline.store.schema_enrichment import (
    ai_batches,
    ai_budgets,
    ai_spending,
    annotations,
    deck_entries,
    deck_playlist_entries,
    deck_playlists,
    duplicate_decisions,
    duplicate_groups,
    duplicate_members,
    fingerprint_index,
    fingerprint_matches,
)

# Described in modules of their own, imported from here by who writes queries.
__all__ = [
    "ai_batches",
    "ai_budgets",
    "ai_spending",
    "annotations",
    "api_tokens",
    "audit_log",
    "deck_entries",
    "deck_playlist_entries",
    "deck_playlists",
    "duplicate_decisions",
    "duplicate_groups",
    "duplicate_members",
    "fingerprint_index",
    "fingerprint_matches",
    "jobs",
    "login_failures",
    "login_flows",
    "metadata",
    "refresh_tokens",
    "sessions",
    "signing_keys",
    "track_edits",
    "user_activity",
    "user_identities",
    "user_libraries",
    "users",
]

#: The newest migration. Compared with the database at every start, without importing Alembic.
HEAD_REVISION = "0013"
#: Alembic's table. Its usual name, `alembic_version`, is what Dagster's storage uses, perhaps in the same database.
VERSION_TABLE = "map4_schema_version"
#: Text search configuration made by the migration: `simple` (no stop words: "The Who" is found) without accents.
SEARCH_CONFIGURATION = "map4"
#: Characters at which names are split into words. PostgreSQL's parser takes "AC/DC" for a path and "will.i.am" for a host.
SEARCH_SEPARATORS = r"./\@_-"

libraries = Table(
    "libraries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("slug", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("root_text", Text, nullable=False),
    Column("watched", Boolean, nullable=False, server_default=text("true")),
    moment("created_at", default=True),
    moment("updated_at", default=True),
    UniqueConstraint("slug", name="uq_libraries_slug"),
    UniqueConstraint("root", name="uq_libraries_root"),
)

directories = Table(
    "directories",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("library_id", ForeignKey("libraries.id", ondelete="RESTRICT", name="fk_directories_library"), nullable=False),
    Column("relative_path", LargeBinary, nullable=False),
    path_digest(),
    Column("path_text", Text, nullable=False),
    Column("partition_key", Text, nullable=False),
    Column("signature", LargeBinary),
    Column("versions", Text),
    counter("ok_count"),
    counter("failed_count"),
    counter("skipped_count"),
    counter("size_bytes", BigInteger),
    moment("vanished_at"),
    moment("first_seen_at", default=True),
    moment("last_seen_at", default=True),
    moment("settled_at"),
    UniqueConstraint("library_id", "path_digest", name="uq_directories_path"),
    UniqueConstraint("partition_key", name="uq_directories_partition_key"),
)

tracks = Table(
    "tracks",
    metadata,
    Column("id", BigInteger, primary_key=True),
    # where the file is
    Column("library_id", ForeignKey("libraries.id", ondelete="RESTRICT", name="fk_tracks_library"), nullable=False),
    Column("directory_id", ForeignKey("directories.id", ondelete="RESTRICT", name="fk_tracks_directory"), nullable=False),
    Column("relative_path", LargeBinary, nullable=False),
    path_digest(),
    Column("file_path", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    # what it is
    Column("file_size", BigInteger),
    Column("mtime_ns", BigInteger),
    Column("ctime_ns", BigInteger),
    Column("inode", Numeric(20, 0)),
    Column("file_hash", Text),
    Column("audio_hash", Text),
    Column("audio_hash_kind", Text),
    # how it stands
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("error_kind", Text),
    Column("error_message", Text),
    counter("attempts"),
    moment("missing_since"),
    moment("hidden_at"),
    Column("settled_scan_id", BigInteger),
    # tags
    Column("title", Text),
    Column("artist", Text),
    Column("album", Text),
    Column("album_artist", Text),
    Column("composer", Text),
    Column("genre", Text),
    Column("year", Integer),
    Column("track_number", Integer),
    Column("disc_number", Integer),
    Column("tags_bpm", Double),
    Column("tags_key", Text),
    Column("tags_camelot", Text),
    json_column("tags"),
    # sound
    Column("duration", Double),
    Column("sample_rate", Integer),
    Column("bit_rate", Integer),
    Column("channels", Integer),
    Column("bit_depth", Integer),
    Column("codec", Text),
    Column("container", Text),
    # analysis
    Column("bpm", Double),
    Column("bpm_confidence", Double),
    json_column("bpm_alternatives"),
    Column("key", Text),
    Column("camelot", Text),
    Column("key_confidence", Double),
    json_column("key_alternatives"),
    Column("energy", Double),
    Column("loudness_lufs", Double),
    Column("loudness_range_lu", Double),
    Column("true_peak_dbtp", Double),
    json_column("hamms_vector"),
    Column("hamms_confidence", Double),
    json_column("null_reasons", "{}"),
    json_column("findings", "[]"),
    json_column("corrections", "{}"),
    # AI
    json_column("ai_analysis"),
    Column("ai_provider", Text),
    moment("ai_analyzed_at"),
    # fingerprints
    Column("chromaprint_fp", Text),
    Column("spectral_hash", Text),
    # which version made it
    Column("features_version", Text),
    Column("fingerprint_version", Text),
    Column("hamms_version", Text),
    moment("created_at", default=True),
    moment("updated_at", default=True),
    moment("analyzed_at"),
    # Filled by PostgreSQL. The expression is the migration's business: PostgreSQL rewrites it as it stores it.
    Column("search_vector", TSVECTOR, Computed("", persisted=True)),
    UniqueConstraint("library_id", "path_digest", name="uq_tracks_path"),
    Index("idx_tracks_bpm", "bpm"),
    Index("idx_tracks_key", "key"),
    Index("idx_tracks_genre", "genre", postgresql_using="hash"),
    Index("idx_tracks_artist", "artist", postgresql_using="hash"),
    Index("idx_tracks_search", "search_vector", postgresql_using="gin"),
    Index("idx_tracks_hamms", "id", postgresql_where=text("hamms_vector IS NOT NULL")),
    Index("idx_tracks_genre_folded", text("lower(left(genre, 200))")),
    Index("idx_tracks_artist_folded", text("lower(left(artist, 200))")),
    Index("idx_tracks_file_path", "file_path", postgresql_using="hash"),
    Index("idx_tracks_path_order", text("left(file_path, 200)"), "id"),
    Index("idx_tracks_directory", "directory_id"),
    Index("idx_tracks_updated", "updated_at", "id"),
    Index("idx_tracks_file_hash", "file_hash"),
    Index("idx_tracks_audio_hash", "audio_hash"),
    Index("idx_tracks_camelot", "camelot"),
    Index("idx_tracks_unsettled", "status", "directory_id", postgresql_where=text("status <> 'ok'")),
    Index("idx_tracks_missing", "library_id", postgresql_where=text("missing_since IS NOT NULL")),
    Index(
        "idx_tracks_findings",
        text("jsonb_path_query_array(findings, '$[*].code')"),
        postgresql_using="gin",
        postgresql_where=text("findings <> '[]'"),
    ),
)

#: Dimensions of the HAMMS vector that stand in `track_search` under their own names.
SEARCHED_DIMENSIONS = (
    "danceability",
    "valence",
    "acousticness",
    "instrumentalness",
    "rhythmic_pattern",
    "spectral_centroid",
    "tempo_stability",
    "harmonic_complexity",
    "dynamic_range",
)

# What is searched of a track, in a narrow row that a trigger keeps true.
track_search = Table(
    "track_search",
    metadata,
    Column(
        "track_id",
        ForeignKey("tracks.id", ondelete="CASCADE", name="fk_track_search_track"),
        primary_key=True,
        autoincrement=False,
    ),
    moment("created_at", nullable=False),
    Column("file_size", BigInteger),
    Column("library_id", Integer, nullable=False),
    Column("bit_rate", Integer),
    *(Column(name, REAL) for name in ("bpm", "energy", "loudness", "duration")),
    *(Column(name, REAL) for name in ("confidence", "bpm_confidence", "key_confidence")),
    *(Column(name, REAL) for name in SEARCHED_DIMENSIONS),
    Column("year", SmallInteger),
    Column("camelot", SmallInteger),
    *(
        Column(name, Boolean, nullable=False)
        for name in ("listed", "failed", "pending", "missing", "hidden", "conflict", "annotated")
    ),
    *(Column(name, Text) for name in ("title", "artist", "album", "genre")),
    Column("formats", ARRAY(Text), nullable=False),
    Column("moods", ARRAY(Text)),
    Column("words", TSVECTOR, nullable=False),
    *(Index(f"idx_track_search_{name}", name, "track_id") for name in ("bpm", "energy", "loudness", "year", "duration")),
    *(Index(f"idx_track_search_{name}", name, "track_id") for name in ("confidence", "title", "artist", "album", "genre")),
    Index("idx_track_search_key", "camelot", "track_id"),
    Index("idx_track_search_added", "created_at", "track_id"),
    *(Index(f"idx_track_search_{name}", name) for name in SEARCHED_DIMENSIONS),
    Index("idx_track_search_words", "words", postgresql_using="gin"),
    Index("idx_track_search_formats", "formats", postgresql_using="gin"),
    Index("idx_track_search_moods", "moods", postgresql_using="gin", postgresql_where=text("moods IS NOT NULL")),
    Index("idx_track_search_unlisted", "track_id", postgresql_where=text("NOT listed")),
    Index("idx_track_search_conflict", "track_id", postgresql_where=text("conflict")),
)

library_changes = Table(
    "library_changes",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("txid", BigInteger, nullable=False),
)

analyses = Table(
    "analyses",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("audio_hash", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("engine", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("parameters", Text, nullable=False, server_default=text("''")),
    Column("payload", JSONB, nullable=False),
    moment("created_at", default=True),
    UniqueConstraint("audio_hash", "stage", "engine", "version", "parameters", name="uq_analyses_identity"),
)

skipped_files = Table(
    "skipped_files",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("library_id", ForeignKey("libraries.id", ondelete="RESTRICT", name="fk_skipped_files_library"), nullable=False),
    Column("directory_id", ForeignKey("directories.id", ondelete="RESTRICT", name="fk_skipped_files_directory"), nullable=False),
    Column("relative_path", LargeBinary, nullable=False),
    path_digest(),
    Column("file_path", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text),
    Column("size", BigInteger),
    Column("mtime_ns", BigInteger),
    Column("ctime_ns", BigInteger),
    Column("inode", Numeric(20, 0)),
    moment("first_seen_at", default=True),
    moment("last_seen_at", default=True),
    UniqueConstraint("library_id", "path_digest", name="uq_skipped_files_path"),
    Index("idx_skipped_files_directory", "directory_id"),
)

scans = Table(
    "scans",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("library_id", ForeignKey("libraries.id", ondelete="RESTRICT", name="fk_scans_library"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("run_id", Text),
    moment("started_at", default=True),
    moment("finished_at"),
    Column("status", Text, nullable=False, server_default=text("'running'")),
    counter("seen"),
    counter("analysed"),
    counter("reused"),
    counter("unchanged"),
    counter("failed"),
    counter("skipped"),
    counter("pending"),
    counter("missing"),
    counter("decodes"),
    counter("bytes_read", BigInteger),
    Column("message", Text),
    Index("idx_scans_library", "library_id", "started_at"),
)

scan_directories = Table(
    "scan_directories",
    metadata,
    Column("scan_id", ForeignKey("scans.id", ondelete="CASCADE", name="fk_scan_directories_scan"), primary_key=True),
    Column("directory_id", ForeignKey("directories.id", name="fk_scan_directories_directory"), primary_key=True),
    counter("seen"),
    counter("analysed"),
    counter("reused"),
    counter("unchanged"),
    counter("failed"),
    counter("skipped"),
    counter("pending"),
    counter("missing"),
)

library_statistics = Table(
    "library_statistics",
    metadata,
    Column("id", Integer, primary_key=True),
    # null: all libraries together
    Column("library_id", ForeignKey("libraries.id", ondelete="CASCADE", name="fk_library_statistics_library")),
    Column("payload", JSONB, nullable=False),
    moment("computed_at", default=True),
    UniqueConstraint("library_id", name="uq_library_statistics_library", postgresql_nulls_not_distinct=True),
)

playlists = Table(
    "playlists",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("kind", Text, nullable=False, server_default=text("'manual'")),
    json_column("parameters"),
    Column("seed", BigInteger),
    json_column("cost"),
    Column("owner_id", ForeignKey("users.id", ondelete="SET NULL", name="fk_playlists_owner")),
    moment("created_at", default=True),
    moment("updated_at", default=True),
    Index("idx_playlists_owner", "owner_id", postgresql_where=text("owner_id IS NOT NULL")),
)

playlist_tracks = Table(
    "playlist_tracks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("playlist_id", ForeignKey("playlists.id", ondelete="CASCADE", name="fk_playlist_tracks_playlist"), nullable=False),
    Column("track_id", ForeignKey("tracks.id", ondelete="CASCADE", name="fk_playlist_tracks_track"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("transition_quality", Double),
    UniqueConstraint("playlist_id", "position", name="uq_playlist_tracks_position", deferrable=True, initially="IMMEDIATE"),
    Index("idx_playlist_tracks_track", "track_id"),
)

analysis_queue = Table(
    "analysis_queue",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("file_path", Text, nullable=False),
    Column("priority", Integer, nullable=False, server_default=text("5")),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("error_message", Text),
    moment("created_at", default=True),
    moment("started_at"),
    moment("completed_at"),
    Column("run_id", Text),
    Column("batch", Text),
    counter("attempts"),
    Column("job_id", ForeignKey("jobs.id", ondelete="SET NULL", name="fk_analysis_queue_job")),
    Column("user_id", ForeignKey("users.id", ondelete="SET NULL", name="fk_analysis_queue_user")),
    Column("single", Boolean, nullable=False, server_default=text("false")),
    Column("request_id", Text),
    Index("idx_analysis_queue_job", "job_id", postgresql_where=text("job_id IS NOT NULL")),
    Index("idx_analysis_queue_completed", "completed_at", postgresql_where=text("completed_at IS NOT NULL")),
    Index("idx_analysis_queue_pending", "priority", "id", postgresql_where=text("status = 'pending'")),
    Index("idx_analysis_queue_running", "batch", postgresql_where=text("status = 'running'")),
    Index("idx_analysis_queue_single", "priority", "id", postgresql_where=text("status = 'pending' AND single")),
)

watch_sweeps = Table(
    "watch_sweeps",
    metadata,
    Column("library_id", ForeignKey("libraries.id", ondelete="CASCADE", name="fk_watch_sweeps_library"), primary_key=True),
    Column("phase", Text, nullable=False, server_default=text("'walk'")),
    Column("after_path", LargeBinary),
    counter("after_id", BigInteger),
    counter("directories", BigInteger),
    counter("lost", BigInteger),
    Column("refusal", Text),
    moment("visited_at"),
    moment("begun_at"),
    moment("completed_at"),
)

watch_candidates = Table(
    "watch_candidates",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("library_id", ForeignKey("libraries.id", ondelete="CASCADE", name="fk_watch_candidates_library"), nullable=False),
    Column("relative_path", LargeBinary, nullable=False),
    path_digest(),
    Column("signature", LargeBinary),
    counter("files"),
    Column("shrinks", Boolean, nullable=False, server_default=text("false")),
    counter("attempts"),
    moment("found_at", default=True),
    moment("changed_at", default=True),
    moment("seen_at", default=True),
    UniqueConstraint("library_id", "path_digest", name="uq_watch_candidates_path"),
)

run_failures = Table(
    "run_failures",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("job", Text, nullable=False),
    Column("message", Text, nullable=False),
    counter("partitions"),
    moment("failed_at", default=True),
    Index("idx_run_failures_failed_at", "failed_at"),
)

controls = Table(
    "controls",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    moment("changed_at", default=True),
)

export_history = Table(
    "export_history",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("export_type", Text, nullable=False),
    Column("track_count", Integer),
    Column("file_size", BigInteger),
    Column("duration_ms", Integer),
    Column("user_id", Text),
    moment("created_at", default=True),
)


def folded(value: ColumnElement[Any]) -> ColumnElement[str]:
    """Return a text as its folded index has it: lower case, its first 200 characters.

    `folded(tracks.c.artist) == folded(literal("moby"))` and `ORDER BY folded(tracks.c.artist)` use
    `idx_tracks_artist_folded`; for `genre` likewise.
    """
    return func.lower(func.left(value, 200))


def search_words(words: str) -> ColumnElement[Any]:
    """Return the text search query for what a user typed, to be matched with `tracks.c.search_vector.op("@@")`.

    Words are combined with "and"; `"quoted phrases"`, `or` and `-without` work as in a web search. Separators
    inside a word are treated as they are in the index.
    """
    inside = "".join(" " if mark in SEARCH_SEPARATORS and _is_inside(words, place) else mark for place, mark in enumerate(words))
    return func.websearch_to_tsquery(text(f"'{SEARCH_CONFIGURATION}'"), inside.replace("\0", " "))


def _is_inside(words: str, place: int) -> bool:
    """Return whether the character at `place` is not the `-` before a word, which means "without"."""
    return words[place] != "-" or (place > 0 and not words[place - 1].isspace())
