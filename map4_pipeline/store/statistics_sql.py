# ruff: noqa: S608 - the statements are made of this module's own names, nothing of them comes from outside
"""The counts behind the library's statistics: a pass over `tracks` each.

`GROUPING SETS` count by sixteen properties in one pass. Every expression says the same as `reports.statistics` does in Python.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.reports.statistics import DOUBTFUL_BELOW, HALF_SHOWN_BPM, LOUD_ABOVE_LUFS, QUIET_BELOW_LUFS, hamms_summary
from map4_pipeline.reports.tagcheck import TEMPO_TOLERANCE

#: Rows that count: a library as it is shown. `_THERE`: its tracks, which are there and analysed.
_SHOWN = "hidden_at IS NULL AND status <> 'pending'"
_THERE = f"{_SHOWN} AND status <> 'failed' AND missing_since IS NULL"
_OK = f"SELECT *, status <> 'failed' AND missing_since IS NULL AS ok FROM tracks WHERE {_SHOWN}"
_SPACES = r"E' \t\n\r\f\x0B\u0085\u00a0\u2028\u2029\u3000'"

NUMBERS = ("bpm", "energy", "loudness_lufs", "true_peak_dbtp", "hamms_confidence", "key")
WHOLE = (
    "tracks", "measured", "failed", "missing", "size_bytes", "annotated", "doubtful_bpm", "doubtful_key", "conflicts_bpm",
    "conflicts_key", "loud", "quiet",
)  # fmt: skip

_TOTALS = f"""
SELECT count(*) FILTER (WHERE ok) AS tracks, count(*) FILTER (WHERE ok) AS measured,
    count(*) FILTER (WHERE NOT ok AND missing_since IS NULL) AS failed, count(missing_since) AS missing,
    coalesce(sum(file_size) FILTER (WHERE ok), 0) AS size_bytes,
    coalesce(sum(duration) FILTER (WHERE ok), 0) AS duration_seconds,
    avg(bpm) FILTER (WHERE ok) AS bpm_mean, avg(energy) FILTER (WHERE ok) AS energy_mean,
    avg(loudness_lufs) FILTER (WHERE ok) AS loudness_mean, avg(hamms_confidence) FILTER (WHERE ok) AS hamms_confidence_mean,
    count(*) FILTER (WHERE ok AND ai_analysis IS NOT NULL AND ai_analysis <> '{{}}') AS annotated,
    count(*) FILTER (WHERE ok AND bpm IS NOT NULL AND bpm_confidence < {DOUBTFUL_BELOW}) AS doubtful_bpm,
    count(*) FILTER (WHERE ok AND key IS NOT NULL AND key_confidence < {DOUBTFUL_BELOW}) AS doubtful_key,
    count(*) FILTER (WHERE ok AND tags_bpm > 0 AND NOT (
        abs(bpm - tags_bpm) <= 0.5 OR abs(bpm / tags_bpm - 1) <= {TEMPO_TOLERANCE})) AS conflicts_bpm,
    count(*) FILTER (WHERE ok AND tags_camelot <> camelot) AS conflicts_key,
    count(*) FILTER (WHERE ok AND loudness_lufs > {LOUD_ABOVE_LUFS}) AS loud,
    count(*) FILTER (WHERE ok AND loudness_lufs < {QUIET_BELOW_LUFS}) AS quiet,
    {", ".join(f"count(*) FILTER (WHERE ok AND {name} IS NULL) AS no_{name}" for name in NUMBERS)}
FROM ({_OK}) AS shown
"""


def _held(value: str, low: int, high: int) -> str:
    # least and greatest pass over null, which has to stay null.
    return f"(CASE WHEN {value} IS NOT NULL THEN least(greatest({value}, {low}), {high}) END)::int"


def _bin(column: str) -> str:
    return _held(f"floor({column} * 20 + 1e-9)", 0, 19) + " * 5"


#: What is counted by: the name in the statistics (or a stage), the expression, whether other rows than tracks count as well.
_GROUPS = {
    "genres": (f"nullif(left(btrim(genre, {_SPACES}), 200), '')", False),
    "years": ("year", False),
    "additions": ("to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM')", False),
    "error_kinds": (
        "CASE WHEN status = 'failed' AND missing_since IS NULL THEN coalesce(nullif(error_kind, ''), 'unknown') END",
        True,
    ),
    "codecs": ("nullif(left(codec, 200), '')", False),
    "sample_rates": ("nullif(sample_rate, 0)", False),
    "ai_providers": ("CASE WHEN ai_analysis <> '{}' THEN coalesce(nullif(ai_provider, ''), 'unknown') END", False),
    "v_features": ("features_version", False),
    "v_fingerprint": ("fingerprint_version", False),
    "v_hamms": ("hamms_version", False),
    "bpm": (_held(f"floor(bpm + {HALF_SHOWN_BPM})", 0, 400), False),
    "keys": ("camelot", False),
    "energy": (_bin("energy"), False),
    "loudness": (_held("floor(loudness_lufs)", -70, 5), False),
    "bpm_confidence": (f"CASE WHEN bpm IS NOT NULL THEN {_bin('bpm_confidence')} END", False),
    "key_confidence": (f"CASE WHEN key IS NOT NULL THEN {_bin('key_confidence')} END", False),
}


def totals(conn: Connection) -> dict[str, Any]:
    """Return the sums and means, and under `no_<name>` how many of the measured have no value."""
    return dict(conn.exec_driver_sql(_TOTALS).mappings().one())


def grouped(conn: Connection) -> dict[str, dict[Any, int]]:
    """Count by all of `_GROUPS` in one pass."""
    columns = [
        f"{expression if failed else f'CASE WHEN ok THEN {expression} END'} AS {name}"
        for name, (expression, failed) in _GROUPS.items()
    ]
    return _sets(conn, list(_GROUPS), f"SELECT {', '.join(columns)} FROM ({_OK}) AS shown")


def _sets(conn: Connection, names: Sequence[str], source: str) -> dict[str, dict[Any, int]]:
    """Return {name: {value: rows}} for the columns of a source, in one pass over it."""
    sets = ", ".join(f"({name})" for name in names)
    statement = (
        f"SELECT grouping({', '.join(names)}), count(*), {', '.join(names)} FROM ({source}) AS s GROUP BY GROUPING SETS ({sets})"
    )
    found: dict[str, dict[Any, int]] = {name: {} for name in names}
    for which, count, *values in conn.exec_driver_sql(statement):
        # A bit for every column that is not grouped by, the first the highest.
        at = next(at for at in range(len(names)) if not which >> (len(names) - 1 - at) & 1)
        if values[at] is not None:
            found[names[at]][values[at]] = int(count)
    return found


def null_reasons(conn: Connection) -> dict[str, dict[str, int]]:
    """Return {field: {reason: tracks}}."""
    statement = (
        "SELECT name, left(reason, 200), count(*) FROM tracks, jsonb_each_text(null_reasons) AS reasons (name, reason) "
        f"WHERE {_THERE} AND null_reasons <> '{{}}' AND reason IS NOT NULL GROUP BY 1, 2"
    )
    found: dict[str, dict[str, int]] = {}
    for name, reason, count in conn.exec_driver_sql(statement):
        found.setdefault(name, {})[reason] = int(count)
    return found


def findings(conn: Connection) -> tuple[dict[str, dict[str, Any]], int]:
    """Return {code: {"count", "message"}} of the most frequent, and how many others there are."""
    statement = (
        "SELECT left(coalesce(nullif(finding ->> 'code', ''), 'other'), 200), count(*), min(left(finding ->> 'message', 500)) "
        "FROM tracks, jsonb_array_elements(findings) AS finding "
        f"WHERE {_THERE} AND findings <> '[]' GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    rows = conn.exec_driver_sql(statement).all()
    kept = {code: {"count": int(count), "message": message or ""} for code, count, message in rows[:2_000]}
    return kept, sum(int(count) for _, count, _ in rows[2_000:])


def hamms(conn: Connection) -> dict[str, dict[str, float | None]]:
    """Return the twelve dimensions' summaries from histograms of 400 bins."""
    # Taken apart at once: twelve times `->>` takes three times as long.
    values = ", ".join(f"{name} float8" for name in DIMENSIONS)
    shown = f"SELECT hamms_vector FROM tracks WHERE {_THERE} AND hamms_vector IS NOT NULL"
    source = f"SELECT v.* FROM ({shown}) AS shown, jsonb_to_record(hamms_vector) AS v ({values})"
    aggregates = ", ".join(f"count({name}), avg({name}), min({name}), max({name})" for name in DIMENSIONS)
    row = conn.exec_driver_sql(f"SELECT {aggregates} FROM ({source}) AS s").one()
    binned = ", ".join(f"{_held(f'floor({name} * 400)', 0, 399)} AS {name}" for name in DIMENSIONS)
    bins = _sets(conn, DIMENSIONS, f"SELECT {binned} FROM ({source}) AS d")
    return {
        name: hamms_summary(bins[name], *row[4 * at + 1 : 4 * at + 4]) if row[4 * at] else hamms_summary({}, None, None, None)
        for at, name in enumerate(DIMENSIONS)
    }
