"""Logins elsewhere (OpenID Connect), and one-time passwords that run out.

- `login_flows` holds what a browser that was sent to another site's login has to come back with: one row a login, deleted
  when it comes back, so that no answer is taken twice. `state_hash` and `browser_hash` are SHA-256 of random secrets, `data`
  (nonce, PKCE verifier, where to go on) is encrypted like `signing_keys.secret`.
- `users.password_expires_at`: a password that somebody else made for the first login is good for some days.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE login_flows (
    state_hash      BYTEA PRIMARY KEY,
    browser_hash    BYTEA NOT NULL,
    data            BYTEA NOT NULL,
    expires_at      TIMESTAMPTZ NOT NULL
);
CREATE INDEX idx_login_flows_expires_at ON login_flows (expires_at);
ALTER TABLE users ADD COLUMN password_expires_at TIMESTAMPTZ;
ALTER TABLE user_identities ADD COLUMN provider TEXT NOT NULL DEFAULT '';
ALTER TABLE user_identities ADD COLUMN label TEXT NOT NULL DEFAULT '';
"""

DOWNGRADE = """
ALTER TABLE user_identities DROP COLUMN label;
ALTER TABLE user_identities DROP COLUMN provider;
ALTER TABLE users DROP COLUMN password_expires_at;
DROP TABLE login_flows;
"""


def upgrade() -> None:
    """Add the table and the column."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWNGRADE)
