"""The library's statistics: counted by PostgreSQL, and kept as a row for pages, commands and reports.

`library_statistics` gives what `reports.statistics.collect` makes of the rows one by one, in a tenth of the time.
`refresh_statistics` computes nothing at all while the library is what it was.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, func, literal_column, select, text
from sqlalchemy.dialects.postgresql import insert

from map4_pipeline.reports.statistics import CAMELOT_CODES, LibraryStatistics, ranked_names
from map4_pipeline.store.cache import library_generation
from map4_pipeline.store.schema import library_statistics as table
from map4_pipeline.store.schema import track_search
from map4_pipeline.store.search_terms import camelot_text
from map4_pipeline.store.statistics_sql import NUMBERS, WHOLE, findings, grouped, hamms, null_reasons, totals

#: Changes that are remembered before they are forgotten, see the migration.
_CHANGES = 1_000


@dataclass(frozen=True, slots=True)
class StatisticsSummary:
    """What the asset shows.

    Attributes
    ----------
    tracks : int
    hours : float
    bpm, keys, energy, loudness, decades, additions, formats : dict
        {label: tracks}: steps of 10 BPM, Camelot codes, steps of 0.1, steps of 2 LU, decades, months, codecs.
    genres : list of dict
        The most frequent, as `genre_distribution` returns them.
    hamms : dict
        {dimension: {"count", "mean", "q05" ... "q95"}}.
    doubtful_bpm, doubtful_key : int
    unchanged : bool
        Nothing was computed: the library is what it was.
    """

    tracks: int
    hours: float
    bpm: dict[str, int]
    keys: dict[str, int]
    energy: dict[str, int] = field(default_factory=dict)
    loudness: dict[str, int] = field(default_factory=dict)
    decades: dict[str, int] = field(default_factory=dict)
    additions: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    genres: list[dict[str, Any]] = field(default_factory=list)
    hamms: dict[str, dict[str, float | None]] = field(default_factory=dict)
    doubtful_bpm: int = 0
    doubtful_key: int = 0
    unchanged: bool = False


def refresh_statistics(engine: Engine) -> StatisticsSummary:
    """Compute the statistics of all libraries together and keep them, unless nothing changed since they were kept."""
    with engine.begin() as conn:
        if conn.execute(text("SELECT count(*) FROM library_changes")).scalar_one() > _CHANGES:
            conn.execute(text("SELECT map4_forget_changes()"))
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn, conn.begin():
        generation = library_generation(conn)
        stored = conn.execute(select(table.c.payload).where(table.c.library_id.is_(None))).scalar_one_or_none()
        unchanged = stored is not None and stored.get("generation") == generation
        if unchanged and stored is not None:
            statistics = LibraryStatistics.from_dict(stored)
            genres = stored.get("genre_table", [])
        else:
            statistics = library_statistics(conn)
            genres = genre_distribution(conn, 50)
            payload = {**statistics.to_dict(), "generation": generation, "genre_table": genres}
    if not unchanged:
        statement = insert(table).values(library_id=None, payload=payload)
        again = {"payload": statement.excluded.payload, "computed_at": func.now()}
        with engine.begin() as conn:
            conn.execute(statement.on_conflict_do_update(constraint="uq_library_statistics_library", set_=again))
    return _summary(statistics, genres, unchanged)


def stored_statistics(engine: Engine) -> LibraryStatistics | None:
    """Return the statistics as they were last kept; None before the first time."""
    with engine.connect() as conn:
        payload = conn.execute(select(table.c.payload).where(table.c.library_id.is_(None))).scalar_one_or_none()
    return None if payload is None else LibraryStatistics.from_dict(payload)


def _summary(statistics: LibraryStatistics, genres: list[dict[str, Any]], unchanged: bool) -> StatisticsSummary:
    return StatisticsSummary(
        tracks=statistics.tracks,
        hours=statistics.duration_seconds / 3600,
        bpm=_steps(statistics.bpm, 10, lambda low: f"{low}-{low + 10} BPM"),
        keys={code: count for code, count in statistics.keys.items() if count},
        energy=_steps(statistics.energy, 10, lambda low: f"{low / 100:.1f}-{(low + 10) / 100:.1f}"),
        loudness=_steps(statistics.loudness, 2, lambda low: f"{low} to {low + 2} LUFS"),
        decades=_steps(statistics.years, 10, lambda low: f"{low}s"),
        additions=dict(list(statistics.additions.items())[-24:]),
        formats=dict(list(statistics.codecs.items())[:10]),
        genres=genres[:20],
        hamms=statistics.hamms,
        doubtful_bpm=statistics.doubtful_bpm,
        doubtful_key=statistics.doubtful_key,
        unchanged=unchanged,
    )


def _steps(counts: dict[int, int], width: int, label: Any) -> dict[str, int]:
    steps: dict[int, int] = {}
    for value, count in counts.items():
        low = value // width * width
        steps[low] = steps.get(low, 0) + count
    return {label(low): steps[low] for low in sorted(steps)}


# ------------------------------------------------------------------ the whole library
def library_statistics(conn: Connection) -> LibraryStatistics:
    """Count the tracks that are not hidden; missing ones too."""
    sums = totals(conn)
    groups = grouped(conn)
    nested = null_reasons(conn)
    overflow: dict[str, int] = {}

    def ordered(name: str) -> dict[Any, int]:
        return dict(sorted(groups[name].items()))

    def names(name: str, counts: dict[Any, int]) -> dict[str, int]:
        kept, rest = ranked_names({str(key): count for key, count in counts.items()})
        if rest:
            overflow[name] = overflow.get(name, 0) + rest
        return kept

    versions = {stage: names("versions", groups[f"v_{stage}"]) for stage in ("features", "fingerprint", "hamms")}
    found, more = findings(conn)
    if more:
        overflow["findings"] = more
    unmeasured = {name: int(sums[f"no_{name}"]) for name in NUMBERS if sums[f"no_{name}"]}
    return LibraryStatistics(
        **{name: int(sums[name]) for name in WHOLE},
        duration_seconds=float(sums["duration_seconds"]),
        bpm_mean=sums["bpm_mean"],
        energy_mean=sums["energy_mean"],
        loudness_mean=sums["loudness_mean"],
        hamms_confidence_mean=sums["hamms_confidence_mean"],
        bpm=ordered("bpm"),
        energy=ordered("energy"),
        loudness=ordered("loudness"),
        years=ordered("years"),
        sample_rates=ordered("sample_rates"),
        additions=ordered("additions"),
        bpm_confidence=ordered("bpm_confidence"),
        key_confidence=ordered("key_confidence"),
        keys={code: groups["keys"].get(code, 0) for code in CAMELOT_CODES},
        genres=names("genres", groups["genres"]),
        codecs=names("codecs", groups["codecs"]),
        error_kinds=names("error_kinds", groups["error_kinds"]),
        ai_providers=names("ai_providers", groups["ai_providers"]),
        versions={stage: counts for stage, counts in sorted(versions.items()) if counts},
        null_reasons={name: names("null_reasons", counts) for name, counts in sorted(nested.items())},
        findings=found,
        unmeasured=unmeasured,
        hamms=hamms(conn),
        overflow=overflow,
    )


# ------------------------------------------------------------------ genres and time
_t = track_search.c
_MEASURES = (
    func.count().label("tracks"),
    (func.sum(_t.duration) / 3600).label("hours"),
    func.avg(_t.bpm).label("bpm"),
    func.avg(_t.energy).label("energy"),
    func.avg(_t.loudness).label("loudness_lufs"),
)


def _there(libraries: Collection[int] | None) -> list[ColumnElement[bool]]:
    """Return the conditions of tracks that are there and analysed, in these libraries (None: in any)."""
    return [_t.listed] if libraries is None else [_t.listed, _t.library_id.in_(libraries)]


def summary(conn: Connection, libraries: Collection[int] | None = None) -> dict[str, Any]:
    """Return how much music there is and what it is like on average: the measures of `genre_distribution`."""
    return _rounded(conn.execute(select(*_MEASURES).where(*_there(libraries))).mappings().one())


def genre_distribution(conn: Connection, limit: int = 500, libraries: Collection[int] | None = None) -> list[dict[str, Any]]:
    """Return the genres, the most frequent first: {"genre", "tracks", "hours", "bpm", "energy", "loudness_lufs"}.

    Tracks that are there and analysed; a genre is one whatever its case and accents, and None is none.
    """
    from map4_pipeline.store.search import spelled

    statement = (
        select(_t.genre, *_MEASURES)
        .where(*_there(libraries))
        .group_by(_t.genre)
        .order_by(func.count().desc(), _t.genre)
        .limit(limit)
    )
    rows = [_rounded(row) for row in conn.execute(statement).mappings()]
    names = spelled(conn, [row["genre"] for row in rows if row["genre"] is not None])
    return [{**row, "genre": names.get(row["genre"], row["genre"])} for row in rows]


def genre_statistics(conn: Connection, genre: str) -> dict[str, Any]:
    """Return one genre's measures as in `genre_distribution`, its tempi (steps of 10) and its keys by Camelot code."""
    from map4_pipeline.store.search import tempo_step

    mine = _t.listed & (_t.genre == func.map4_fold(genre.replace("\0", "")))
    found = _rounded(conn.execute(select(*_MEASURES).where(mine)).mappings().one())
    step: ColumnElement[float] = literal_column(tempo_step("track_search.bpm"))
    tempi = conn.execute(select(step, func.count()).where(mine, _t.bpm.is_not(None)).group_by(step).order_by(step))
    keys = conn.execute(select(_t.camelot, func.count()).where(mine, _t.camelot.is_not(None)).group_by(_t.camelot))
    return {
        "genre": genre,
        **found,
        "tempi": {str(int(low)): int(count) for low, count in tempi},
        "keys": {camelot_text(code): int(count) for code, count in sorted(tuple(row) for row in keys)},
    }


def timeline(conn: Connection, libraries: Collection[int] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return how the music and the library went on: {"years": by year of release, "added": by month of import}.

    Each entry has "year" or "month" and the measures of `genre_distribution`.
    """
    month = func.to_char(func.timezone("UTC", _t.created_at), "YYYY-MM").label("month")
    years = select(_t.year, *_MEASURES).where(*_there(libraries), _t.year.is_not(None)).group_by(_t.year).order_by(_t.year)
    added = select(month, *_MEASURES).where(*_there(libraries)).group_by(month).order_by(month)
    return {
        "years": [_rounded(row) for row in conn.execute(years).mappings()],
        "added": [_rounded(row) for row in conn.execute(added).mappings()],
    }


def _rounded(row: Any) -> dict[str, Any]:
    return {name: round(float(value), 3) if isinstance(value, float) else value for name, value in row.items()}
