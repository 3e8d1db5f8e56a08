"""Tables of accounts: who uses the library, how they prove it, what they did and asked for (migrations 0008, 0012)."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, UUID

from map4_pipeline.store.schema_columns import counter, json_column, metadata, moment

users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("password_hash", Text),
    Column("role", Text, nullable=False),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    Column("all_libraries", Boolean, nullable=False, server_default=text("false")),
    Column("must_change_password", Boolean, nullable=False, server_default=text("false")),
    counter("epoch"),
    moment("created_at", default=True),
    moment("updated_at", default=True),
    moment("last_seen_at"),
    moment("password_expires_at"),
    Index("uq_users_name", text("lower(name)"), unique=True),
)

user_libraries = Table(
    "user_libraries",
    metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE", name="fk_user_libraries_user"), primary_key=True),
    Column("library_id", ForeignKey("libraries.id", ondelete="CASCADE", name="fk_user_libraries_library"), primary_key=True),
    Index("idx_user_libraries_library", "library_id"),
)

user_identities = Table(
    "user_identities",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE", name="fk_user_identities_user"), nullable=False),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    moment("created_at", default=True),
    Column("provider", Text, nullable=False, server_default=text("''")),
    Column("label", Text, nullable=False, server_default=text("''")),
    UniqueConstraint("issuer", "subject", name="uq_user_identities_subject"),
    Index("idx_user_identities_user", "user_id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE", name="fk_sessions_user"), nullable=False),
    Column("token_hash", LargeBinary, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("client", Text),
    moment("created_at", default=True),
    moment("used_at", default=True),
    moment("expires_at", nullable=False),
    UniqueConstraint("token_hash", name="uq_sessions_token"),
    Index("idx_sessions_user", "user_id"),
    Index("idx_sessions_expires_at", "expires_at"),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE", name="fk_refresh_tokens_user"), nullable=False),
    Column("family", UUID, nullable=False),
    Column("token_hash", LargeBinary, nullable=False),
    Column("epoch", Integer, nullable=False),
    moment("created_at", default=True),
    moment("expires_at", nullable=False),
    moment("used_at"),
    moment("revoked_at"),
    UniqueConstraint("token_hash", name="uq_refresh_tokens_token"),
    Index("idx_refresh_tokens_family", "family"),
    Index("idx_refresh_tokens_user", "user_id"),
    Index("idx_refresh_tokens_expires_at", "expires_at"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE", name="fk_api_tokens_user"), nullable=False),
    Column("name", Text, nullable=False),
    Column("token_hash", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    moment("created_at", default=True),
    moment("expires_at"),
    moment("used_at"),
    moment("revoked_at"),
    UniqueConstraint("token_hash", name="uq_api_tokens_token"),
    Index("uq_api_tokens_name", "user_id", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    moment("created_at", default=True),
    moment("retired_at"),
)

login_flows = Table(
    "login_flows",
    metadata,
    Column("state_hash", LargeBinary, primary_key=True),
    Column("browser_hash", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),
    moment("expires_at", nullable=False),
    Index("idx_login_flows_expires_at", "expires_at"),
)

login_failures = Table(
    "login_failures",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    moment("failed_at", default=True),
    moment("blocked_until"),
    Index("idx_login_failures_failed_at", "failed_at"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, primary_key=True),
    moment("at", default=True),
    Column("user_id", ForeignKey("users.id", ondelete="SET NULL", name="fk_audit_log_user")),
    Column("user_name", Text),
    Column("action", Text, nullable=False),
    Column("target", Text),
    json_column("detail", "{}"),
    Column("request_id", Text),
    Column("address", Text),
    Index("idx_audit_log_at", "at"),
    Index("idx_audit_log_user", "user_id", "at"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("user_id", ForeignKey("users.id", ondelete="SET NULL", name="fk_jobs_user")),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    json_column("request", "{}"),
    json_column("result", "{}"),
    counter("total"),
    counter("done"),
    counter("failed"),
    Column("error_message", Text),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    Column("request_id", Text),
    moment("created_at", default=True),
    moment("started_at"),
    moment("beat_at"),
    moment("completed_at"),
    Index("idx_jobs_user", "user_id", "created_at"),
    Index("idx_jobs_open", "created_at", postgresql_where=text("status IN ('pending', 'running')")),
)

track_edits = Table(
    "track_edits",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("track_id", ForeignKey("tracks.id", ondelete="CASCADE", name="fk_track_edits_track"), nullable=False),
    Column("user_id", ForeignKey("users.id", ondelete="SET NULL", name="fk_track_edits_user")),
    Column("field", Text, nullable=False),
    json_column("before"),
    json_column("after"),
    moment("at", default=True),
    Index("idx_track_edits_track", "track_id", "at"),
    Index("idx_track_edits_user", "user_id"),
)

user_activity = Table(
    "user_activity",
    metadata,
    Column("day", Date, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE", name="fk_user_activity_user"), primary_key=True),
    Column("feature", Text, primary_key=True),
    counter("uses"),
    Index("idx_user_activity_user", "user_id"),
)
