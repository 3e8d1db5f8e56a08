"""What is odd about files that could be analysed (`tracks.findings`): how it is looked for by index, and how many there are."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection

#: Codes of files of which sound is lost: the end, or packets within.
DAMAGED = ("truncated", "decoder_errors")
#: The source gave less than the file seems to hold.
LOSSY_SOURCE = "spectral_cutoff"
#: What somebody who takes music in should hear of, beside what failed.
TOLD = (*DAMAGED, LOSSY_SOURCE)
#: What has at least one of some codes; the index `idx_tracks_findings` serves it. One value: the codes.
WITH_FINDING = "findings <> '[]' AND jsonb_path_query_array(findings, '$[*].code') ?| CAST(%s AS text[])"
_COUNTED = f"""
    SELECT finding ->> 'code', count(DISTINCT tracks.id)
    FROM tracks, jsonb_array_elements(findings) AS finding
    WHERE {WITH_FINDING} AND finding ->> 'code' = ANY(CAST(%s AS text[]))
        AND status = 'ok' AND missing_since IS NULL AND hidden_at IS NULL AND (%s OR library_id = ANY(CAST(%s AS integer[])))
    GROUP BY 1
"""  # noqa: S608 - the condition is ours


def finding_counts(conn: Connection, codes: Sequence[str], library_ids: Collection[int] | None = None) -> dict[str, int]:
    """Return how many tracks that are there and analysed have each of some findings; those that none has are left out."""
    values = (list(codes), list(codes), library_ids is None, list(library_ids or ()))
    return {code: int(count) for code, count in conn.exec_driver_sql(_COUNTED, values)}


def with_finding(conn: Connection, code: str) -> set[int]:
    """Return all tracks that have a finding."""
    return {id_ for (id_,) in conn.exec_driver_sql(f"SELECT id FROM tracks WHERE {WITH_FINDING}", ([code],))}  # noqa: S608
