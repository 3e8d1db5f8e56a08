"""What asset checks ask of the database: one query each over the whole library."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from map4_pipeline.hamms.quality import quality_problems
from map4_pipeline.store.libraries import all_libraries
from map4_pipeline.store.scans import closed_folders, last_completed, state_counts, stored_files
from map4_pipeline.store.schema import tracks


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Whether a library's last completed scan adds up, and whether every file of it has a row; the library by its slug."""

    library: str
    seen: int
    accounted: int
    pending: int
    rows: int
    closed_folders: int

    @property
    def reconciles(self) -> bool:
        """Every file seen has exactly one fate and exactly one row; rows of folders that cannot be opened now stay."""
        rows_fit = self.rows == self.seen or (self.closed_folders > 0 and self.rows > self.seen)
        return self.seen == self.accounted and rows_fit and self.pending == 0


def ledger_states(engine: Engine) -> list[LedgerState]:
    """Return one state per library that has a completed scan."""
    with engine.connect() as conn:
        states = []
        slugs = {library.id: library.slug for library in all_libraries(conn)}
        for library_id, (_, ledger) in sorted(last_completed(conn).items()):
            accounted = ledger.analysed + ledger.reused + ledger.unchanged + ledger.failed + ledger.skipped
            states.append(
                LedgerState(
                    slugs[library_id],
                    ledger.seen,
                    accounted,
                    ledger.pending,
                    stored_files(conn, library_id),
                    closed_folders(conn, library_id),
                )
            )
    return states


def failure_share(engine: Engine) -> tuple[int, int]:
    """Return (failed, all) of the tracks whose file is there."""
    with engine.connect() as conn:
        counts = state_counts(conn)
    return counts["failed"], counts["ok"] + counts["failed"]


def failures_by_kind(engine: Engine) -> dict[str, int]:
    """Return {error kind: tracks}, most frequent first."""
    t = tracks.c
    query = select(t.error_kind, func.count()).where(t.status == "failed", t.missing_since.is_(None)).group_by(t.error_kind)
    with engine.connect() as conn:
        return {kind or "": int(count) for kind, count in conn.execute(query.order_by(func.count().desc()))}


@dataclass(frozen=True, slots=True)
class Drift:
    """How a dimension of the library lies in the reference music.

    Attributes
    ----------
    place : float
        Of the library's median among the reference, in [0, 1]; 0.5 is usual.
    apart : float
        The greatest distance between the two distributions at the library's 5, 25, 50, 75 and 95%, in [0, 1] (Kolmogorov and
        Smirnov's, as far as five points show it).
    spread : float
        How much of the reference the middle 90% of the library cover; near 0, the dimension tells nothing apart.
    """

    name: str
    tracks: int
    median: float
    place: float
    apart: float
    spread: float


def dimension_drift(hamms: Mapping[str, Mapping[str, float | None]]) -> list[Drift]:
    """Compare the library's dimensions with the reference distribution; key and tempo lie on circles and are left out.

    Parameters
    ----------
    hamms : mapping
        {dimension: summary}, as `LibraryStatistics.hamms`.
    """
    import numpy as np

    from map4_pipeline.hamms.reference import reference

    shares = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    found = []
    for name in reference().dimensions:
        summary = hamms.get(name, {})
        values = [summary.get(f"q{round(100 * share):02d}") for share in shares]
        if any(value is None for value in values):
            continue
        places = reference().rank(name, np.array(values, dtype=float))
        apart = float(np.abs(places - shares).max())
        tracks, median = int(summary.get("count") or 0), float(values[2] or 0.0)
        found.append(Drift(name, tracks, median, float(places[2]), apart, float(places[-1] - places[0])))
    return found


def vector_problems(engine: Engine, limit: int = 50) -> tuple[int, int, list[tuple[str, str, str]]]:
    """Return (vectors looked at, vectors with problems, the first problems as (file, "hamms", what)).

    A vector has the twelve names, each a number in [0, 1] or null with a reason; an analysed track has one.
    """
    looked = bad = 0
    examples: list[tuple[str, str, str]] = []
    for path, vector, reasons in _vectors(engine):
        looked += 1
        if vector is None:
            problems = ["there is no vector"]
        else:
            own = {name.removeprefix("hamms."): reason for name, reason in (reasons or {}).items() if name.startswith("hamms.")}
            problems = quality_problems(vector, own)
        if problems:
            bad += 1
            if len(examples) < limit:
                examples.append((path, "hamms", "; ".join(problems)))
    return looked, bad, examples


def _vectors(engine: Engine) -> Iterator[tuple[str, dict[str, float | None] | None, dict[str, str] | None]]:
    t = tracks.c
    query = select(t.file_path, t.hamms_vector, t.null_reasons).where(t.status == "ok", t.missing_since.is_(None))
    with engine.connect() as conn:
        yield from conn.execution_options(stream_results=True, yield_per=1000).execute(query)
