"""Batches at a provider, kept so that a process may end and another one collects them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from map4_pipeline.store.annotations import Subject
from map4_pipeline.store.schema import ai_batches

#: {name of a request: [(track id, audio hash, digest of the tags), ...]}
Requests = Mapping[str, Sequence[tuple[int, str, str]]]

_OPEN = ("preparing", "running")


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that was handed in, or was about to be (`provider_batch_id` None)."""

    id: int
    run_id: str
    provider: str
    model: str
    prompt_version: str
    provider_batch_id: str | None
    spending_id: int
    requests: Requests
    tracks: int

    @property
    def label(self) -> str:
        """The name under which the provider knows it, where it takes one."""
        return f"map4-{self.run_id}-{self.id}"


def prepare(
    conn: Connection, run_id: str, provider: str, model: str, prompt_version: str, spending_id: int, requests: Requests
) -> Batch:
    """Write a batch down before it is handed in."""
    tracks = sum(len(members) for members in requests.values())
    row = insert(ai_batches).values(
        run_id=run_id,
        provider=provider,
        model=model,
        prompt_version=prompt_version,
        spending_id=spending_id,
        requests={name: [list(member) for member in members] for name, members in requests.items()},
        tracks=tracks,
    )
    id_ = conn.execute(row.returning(ai_batches.c.id)).scalar_one()
    return Batch(int(id_), run_id, provider, model, prompt_version, None, spending_id, requests, tracks)


def handed_in(conn: Connection, batch_id: int, provider_batch_id: str) -> None:
    """Note the provider's id of a batch."""
    values = {"provider_batch_id": provider_batch_id, "status": "running"}
    conn.execute(update(ai_batches).where(ai_batches.c.id == batch_id).values(**values))


def finish(conn: Connection, batch_id: int, status: str, message: str | None = None) -> None:
    """Note how a batch ended: `collected`, `failed` or `lost`."""
    values = {"status": status, "message": message, "finished_at": func.now()}
    conn.execute(update(ai_batches).where(ai_batches.c.id == batch_id).values(**values))


def open_batches(conn: Connection) -> list[Batch]:
    """Return the batches that are not finished, oldest first."""
    b = ai_batches.c
    columns = (b.id, b.run_id, b.provider, b.model, b.prompt_version, b.provider_batch_id, b.spending_id, b.requests, b.tracks)
    return [Batch(*row) for row in conn.execute(select(*columns).where(b.status.in_(_OPEN)).order_by(b.id))]


def hold(conn: Connection, batch_id: int) -> bool:
    """Lock an open batch for the transaction; False when another process has it or it is finished."""
    b = ai_batches.c
    query = select(b.id).where(b.id == batch_id, b.status.in_(_OPEN)).with_for_update(skip_locked=True)
    return conn.execute(query).first() is not None


def open_subjects(conn: Connection) -> set[Subject]:
    """Return what open batches are about."""
    rows = conn.execute(
        text(
            "SELECT member->>1, member->>2 FROM ai_batches, jsonb_each(requests) AS r(name, members), "
            "jsonb_array_elements(r.members) AS m(member) WHERE status IN ('preparing', 'running')"
        )
    )
    return {(audio_hash, digest) for audio_hash, digest in rows}
