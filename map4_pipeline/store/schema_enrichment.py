"""Tables of what is made of analysed tracks: annotations and their cost, duplicates, what DJ programs know."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from map4_pipeline.store.schema_columns import amount, counter, json_column, metadata, moment

annotations = Table(
    "annotations",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("audio_hash", Text, nullable=False),
    Column("tags_digest", Text, nullable=False, server_default=text("''")),
    Column("track_id", ForeignKey("tracks.id", ondelete="SET NULL", name="fk_annotations_track")),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("prompt_version", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'ok'")),
    json_column("payload"),
    Column("error_kind", Text),
    Column("error_message", Text),
    Column("confidence", Double),
    counter("contradictions"),
    counter("input_tokens", BigInteger),
    counter("output_tokens", BigInteger),
    amount("cost_usd", default=True),
    counter("requests"),
    Column("run_id", Text),
    moment("created_at", default=True),
    moment("updated_at", default=True),
    UniqueConstraint("audio_hash", "tags_digest", "provider", "model", "prompt_version", name="uq_annotations_identity"),
    Index("idx_annotations_track", "track_id"),
    Index("idx_annotations_run", "run_id"),
)

ai_budgets = Table(
    "ai_budgets",
    metadata,
    Column("scope", Text, primary_key=True),
    amount("booked_usd", default=True),
    moment("created_at", default=True),
)

ai_spending = Table(
    "ai_spending",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("kind", Text, nullable=False, server_default=text("'request'")),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    counter("tracks"),
    Column("status", Text, nullable=False, server_default=text("'reserved'")),
    amount("reserved_usd"),
    amount("booked_usd"),
    counter("input_tokens", BigInteger),
    counter("output_tokens", BigInteger),
    Column("note", Text),
    moment("created_at", default=True),
    moment("settled_at"),
    Index("idx_ai_spending_run", "run_id"),
    Index("idx_ai_spending_day", "day"),
)

ai_batches = Table(
    "ai_batches",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("prompt_version", Text, nullable=False),
    Column("provider_batch_id", Text),
    Column("status", Text, nullable=False, server_default=text("'preparing'")),
    Column("spending_id", ForeignKey("ai_spending.id", ondelete="RESTRICT", name="fk_ai_batches_spending")),
    Column("requests", JSONB, nullable=False),
    counter("tracks"),
    Column("message", Text),
    moment("created_at", default=True),
    moment("finished_at"),
    Index("idx_ai_batches_open", "id", postgresql_where=text("status IN ('preparing', 'running')")),
)

duplicate_groups = Table(
    "duplicate_groups",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("kind", Text, nullable=False),
    json_column("evidence", "{}"),
    Column("keeper_track_id", ForeignKey("tracks.id", ondelete="SET NULL", name="fk_duplicate_groups_keeper")),
    moment("created_at", default=True),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("keeper_reason", Text, nullable=False, server_default=text("''")),
    counter("surplus_bytes", BigInteger),
    moment("updated_at", default=True),
)

duplicate_members = Table(
    "duplicate_members",
    metadata,
    Column(
        "group_id", ForeignKey("duplicate_groups.id", ondelete="CASCADE", name="fk_duplicate_members_group"), primary_key=True
    ),
    Column("track_id", ForeignKey("tracks.id", ondelete="CASCADE", name="fk_duplicate_members_track"), primary_key=True),
    Index("idx_duplicate_members_track", "track_id"),
)

duplicate_decisions = Table(
    "duplicate_decisions",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("group_id", BigInteger, nullable=False),
    Column("family", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("track_ids", ARRAY(BigInteger), nullable=False),
    Column("keeper_track_id", ForeignKey("tracks.id", ondelete="SET NULL", name="fk_duplicate_decisions_keeper")),
    Column("note", Text, nullable=False, server_default=text("''")),
    Column("decided_by", Text, nullable=False, server_default=text("''")),
    moment("decided_at", default=True),
    moment("undone_at"),
    Column("undone_by", Text),
    Index(
        "idx_duplicate_decisions_tracks",
        "track_ids",
        postgresql_using="gin",
        postgresql_where=text("undone_at IS NULL"),
    ),
)

fingerprint_matches = Table(
    "fingerprint_matches",
    metadata,
    Column("first_hash", Text, primary_key=True),
    Column("second_hash", Text, primary_key=True),
    Column("bit_error_rate", Double, nullable=False),
    Column("shift", Integer, nullable=False),
    Column("overlap", Integer, nullable=False),
    Column("alike", Integer, nullable=False),
    Column("distinct_items", Integer, nullable=False),
    Column("background", Double, nullable=False),
    Column("shorter", Integer, nullable=False),
)

fingerprint_index = Table(
    "fingerprint_index",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("generation", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("state", JSONB, nullable=False),
    moment("updated_at", default=True),
)

deck_entries = Table(
    "deck_entries",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("source", Text, nullable=False),
    Column("location", LargeBinary, nullable=False),
    Column("location_digest", LargeBinary, Computed("sha256(location)", persisted=True)),
    Column("position", Integer, nullable=False),
    Column("track_id", ForeignKey("tracks.id", ondelete="SET NULL", name="fk_deck_entries_track")),
    Column("track_path", LargeBinary),
    *(Column(name, Text) for name in ("matched_by", "title", "artist")),
    Column("size_bytes", BigInteger),
    Column("duration", Double),
    Column("bpm", Double),
    Column("key", Text),
    Column("grid_start", Double),
    Column("rating", Integer),
    Column("play_count", BigInteger),
    Column("comment", Text),
    json_column("cues", "[]"),
    json_column("attributes", "{}"),
    json_column("children", "[]"),
    moment("imported_at", default=True),
    UniqueConstraint("source", "location_digest", name="uq_deck_entries_location"),
    Index("uq_deck_entries_track", "source", "track_id", unique=True, postgresql_where=text("track_id IS NOT NULL")),
    Index("idx_deck_entries_track", "track_id"),
)

deck_playlists = Table(
    "deck_playlists",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("source", Text, nullable=False),
    Column("trail", ARRAY(Text), nullable=False),
    Column("is_folder", Boolean, nullable=False),
    Column("position", Integer, nullable=False),
    Column("uuid", Text),
    moment("imported_at", default=True),
    Index("idx_deck_playlists_order", "source", "position"),
)

deck_playlist_entries = Table(
    "deck_playlist_entries",
    metadata,
    Column(
        "playlist_id",
        ForeignKey("deck_playlists.id", ondelete="CASCADE", name="fk_deck_playlist_entries_playlist"),
        primary_key=True,
    ),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("entry_id", ForeignKey("deck_entries.id", ondelete="CASCADE", name="fk_deck_playlist_entries_entry"), nullable=False),
    Index("idx_deck_playlist_entries_entry", "entry_id"),
)
