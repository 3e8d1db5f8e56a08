"""Annotations: whole history, what each cost, the ledger of money, and batches that are under way.

- `annotations` becomes the history and the cache at once: one row per (audio, tags, provider, model, prompt version). A retagged
  track is another question, so the digest of the tags is part of the identity. A failure is a row with its reason and no payload:
  never a made-up annotation, and not asked again unless somebody says so. `cost_usd` is the track's share of every request it was
  part of.
- `ai_spending` is the ledger: a row per request or batch, reserved at its maximum before it goes out, settled at what it cost. A
  row that stays `reserved` or `lost` stays booked at the maximum.
- `ai_budgets` has the sum of what is booked per day (UTC) and per run. Reserving is one conditional UPDATE of these rows, so
  their locks decide between processes, and no two can pass a limit together.
- `ai_batches` are batches at OpenAI or Anthropic; a process that ends loses none of them.
- Amounts are NUMERIC without a scale: a token costs fractions of a millionth of a dollar, and sums have to be exact.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE annotations
    ADD COLUMN tags_digest TEXT NOT NULL DEFAULT '',
    ADD COLUMN status TEXT NOT NULL DEFAULT 'ok' CONSTRAINT ck_annotations_status CHECK (status IN ('ok', 'failed')),
    ADD COLUMN error_kind TEXT,
    ADD COLUMN error_message TEXT,
    ADD COLUMN confidence DOUBLE PRECISION,
    ADD COLUMN contradictions INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN input_tokens BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN output_tokens BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN cost_usd NUMERIC NOT NULL DEFAULT 0,
    ADD COLUMN requests INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN run_id TEXT,
    ADD COLUMN updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    ALTER COLUMN payload DROP NOT NULL,
    ADD CONSTRAINT ck_annotations_payload CHECK ((status = 'ok') = (payload IS NOT NULL)),
    DROP CONSTRAINT uq_annotations_identity,
    ADD CONSTRAINT uq_annotations_identity UNIQUE (audio_hash, tags_digest, provider, model, prompt_version);
CREATE INDEX idx_annotations_run ON annotations (run_id);

CREATE TABLE ai_budgets (
    scope          TEXT PRIMARY KEY,            -- 'day:2026-11-22' (UTC) or 'run:<id>'
    booked_usd     NUMERIC NOT NULL DEFAULT 0,
    created_at     TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE ai_spending (
    id             BIGSERIAL PRIMARY KEY,
    run_id         TEXT NOT NULL,
    day            DATE NOT NULL,
    kind           TEXT NOT NULL DEFAULT 'request' CONSTRAINT ck_ai_spending_kind CHECK (kind IN ('request', 'batch')),
    provider       TEXT NOT NULL,
    model          TEXT NOT NULL,
    tracks         INTEGER NOT NULL DEFAULT 0,
    status         TEXT NOT NULL DEFAULT 'reserved'
                   CONSTRAINT ck_ai_spending_status CHECK (status IN ('reserved', 'settled', 'released', 'lost')),
    reserved_usd   NUMERIC NOT NULL,
    booked_usd     NUMERIC NOT NULL,            -- counts against the budgets: the reservation, then what it cost
    input_tokens   BIGINT NOT NULL DEFAULT 0,
    output_tokens  BIGINT NOT NULL DEFAULT 0,
    note           TEXT,
    created_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    settled_at     TIMESTAMPTZ
);
CREATE INDEX idx_ai_spending_run ON ai_spending (run_id);
CREATE INDEX idx_ai_spending_day ON ai_spending (day);

CREATE TABLE ai_batches (
    id             BIGSERIAL PRIMARY KEY,
    run_id         TEXT NOT NULL,
    provider       TEXT NOT NULL,
    model          TEXT NOT NULL,
    prompt_version TEXT NOT NULL,
    provider_batch_id TEXT,                     -- null: the process ended while it handed the batch in
    status         TEXT NOT NULL DEFAULT 'preparing'
                   CONSTRAINT ck_ai_batches_status CHECK (status IN ('preparing', 'running', 'collected', 'failed', 'lost')),
    spending_id    BIGINT CONSTRAINT fk_ai_batches_spending REFERENCES ai_spending (id) ON DELETE RESTRICT,
    requests       JSONB NOT NULL,              -- {name of a request: [[track id, audio hash, tags digest], ...]}
    tracks         INTEGER NOT NULL DEFAULT 0,
    message        TEXT,
    created_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    finished_at    TIMESTAMPTZ
);
CREATE INDEX idx_ai_batches_open ON ai_batches (id) WHERE status IN ('preparing', 'running');
"""

# Going down loses what is new: failures, and all but the newest annotation where the tags changed.
DOWNGRADE = """
DROP TABLE ai_batches, ai_spending, ai_budgets;
DELETE FROM annotations WHERE status = 'failed';
DELETE FROM annotations a USING annotations b
WHERE a.audio_hash = b.audio_hash AND a.provider = b.provider AND a.model = b.model AND a.prompt_version = b.prompt_version
  AND a.id < b.id;
ALTER TABLE annotations
    DROP CONSTRAINT uq_annotations_identity,
    DROP CONSTRAINT ck_annotations_payload,
    ALTER COLUMN payload SET NOT NULL,
    DROP COLUMN tags_digest, DROP COLUMN status, DROP COLUMN error_kind, DROP COLUMN error_message, DROP COLUMN confidence,
    DROP COLUMN contradictions, DROP COLUMN input_tokens, DROP COLUMN output_tokens, DROP COLUMN cost_usd, DROP COLUMN requests,
    DROP COLUMN run_id, DROP COLUMN updated_at,
    ADD CONSTRAINT uq_annotations_identity UNIQUE (audio_hash, provider, model, prompt_version);
"""


def upgrade() -> None:
    """Go up."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Go back."""
    op.execute(DOWNGRADE)
