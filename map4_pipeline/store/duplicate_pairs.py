"""Which contents sound alike: the index of fingerprints kept up, and its pairs in the database.

The index lies in a folder under MAP4's home and is made anew when it is not there, does not fit what the database says, or was
made by another version. What was compared once is not compared again: a library that got ten new tracks costs ten look-ups.
"""

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from map4_pipeline.fingerprint import FINGERPRINT_VERSION
from map4_pipeline.fingerprint.index import INDEX_VERSION
from map4_pipeline.fingerprint.versions import ALIKE_SECONDS, MIN_DISTINCT, MIN_OVERLAP
from map4_pipeline.store.schema import fingerprint_index, fingerprint_matches

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from map4_pipeline.fingerprint.compare import Comparison
    from map4_pipeline.fingerprint.index_files import IndexFiles

#: Pairs that differ in more are kept only when a part of them is alike.
_KEPT_RATE = 0.3
#: Where more than this share of the contents is new, or gone, the index is made anew.
_NEW, _GONE = 0.5, 0.5
#: Fingerprints read from the database at once.
_READ = 2000

_CONTENTS = text(
    """
    SELECT audio_hash, min(id) FROM tracks
    WHERE status = 'ok' AND missing_since IS NULL AND hidden_at IS NULL AND chromaprint_fp IS NOT NULL
      AND fingerprint_version = :version AND audio_hash IS NOT NULL AND length(audio_hash) <= 64
    GROUP BY audio_hash
    """
)


@dataclass(slots=True)
class PairSummary:
    """What was done: contents with a fingerprint, those compared anew, pairs found, fingerprints that cannot be read."""

    contents: int = 0
    compared: int = 0
    found: int = 0
    unreadable: int = 0
    rebuilt: bool = False


def update_pairs(conn: Connection, folder: Path) -> tuple[PairSummary, "IndexFiles"]:
    """Compare what is new and write the pairs found, in the caller's transaction.

    Parameters
    ----------
    conn : Connection
        In a transaction that holds the duplicates' lock.
    folder : Path
        Holds the index; made when it is not there.

    Returns
    -------
    PairSummary
    IndexFiles
        To be tidied with `tidy` once the transaction is committed.
    """
    there = {str(content): int(track) for content, track in conn.execute(_CONTENTS, {"version": FINGERPRINT_VERSION})}
    summary = PairSummary(contents=len(there))
    index, known = _opened(conn, folder)
    new = [content for content in there if content not in known]
    if index is None or len(new) > _NEW * len(known) or len(known.keys() - there.keys()) > max(1000, _GONE * len(known)):
        from map4_pipeline.fingerprint.index_files import IndexFiles

        conn.execute(delete(fingerprint_matches))
        index, known, new = IndexFiles(folder / uuid.uuid4().hex), {}, list(there)
        summary.rebuilt = True
    for hashes, prints, unreadable in _fingerprints(conn, sorted(there[content] for content in new)):
        index.append(hashes, prints)
        summary.compared += len(hashes)
        summary.unreadable += unreadable
    if summary.compared or summary.rebuilt:
        summary.found = _write(conn, index, index.compare_new(MIN_OVERLAP))
        row = {"generation": index.folder.name, "version": _version(), "state": index.state.as_dict()}
        statement = upsert(fingerprint_index).values(id=1, **row)
        conn.execute(statement.on_conflict_do_update(index_elements=["id"], set_={**row, "updated_at": text("now()")}))
    return summary, index


def tidy(index: "IndexFiles") -> None:
    """Remove what no longer counts: earlier indexes, merged lists."""
    index.tidy()
    for folder in index.folder.parent.iterdir():
        if folder.is_dir() and folder != index.folder:
            shutil.rmtree(folder, ignore_errors=True)


def _version() -> str:
    return f"{FINGERPRINT_VERSION}/{INDEX_VERSION}"


def _opened(conn: Connection, folder: Path) -> tuple["IndexFiles | None", dict[str, int]]:
    """Return the index that the database speaks of and the numbers of its contents; (None, {}) when it cannot be used."""
    from map4_pipeline.fingerprint.index_files import IndexFiles, IndexState

    row = conn.execute(select(fingerprint_index.c.generation, fingerprint_index.c.version, fingerprint_index.c.state)).first()
    if row is None or row.version != _version():
        return None, {}
    try:
        index = IndexFiles(folder / row.generation, IndexState.from_dict(row.state))
        return index, {content: number for number, content in enumerate(index.hashes())}
    except (LookupError, OSError, ValueError, KeyError):
        return None, {}


def _fingerprints(conn: Connection, track_ids: list[int]) -> "Iterator[tuple[list[str], list[NDArray[np.uint32]], int]]":
    """Yield hashes, fingerprints and how many could not be read, some thousand at a time."""
    from map4_pipeline.fingerprint.codec import decode

    query = text("SELECT audio_hash, chromaprint_fp FROM tracks WHERE id = ANY(:ids) ORDER BY id")
    for start in range(0, len(track_ids), _READ):
        hashes, prints, unreadable = [], [], 0
        for content, fingerprint in conn.execute(query, {"ids": track_ids[start : start + _READ]}):
            try:
                prints.append(decode(fingerprint))
            except ValueError:
                unreadable += 1
                continue
            hashes.append(str(content))
        yield hashes, prints, unreadable


def _write(conn: Connection, index: "IndexFiles", found: "list[Comparison]") -> int:
    import numpy as np

    from map4_pipeline.fingerprint.match import ITEM_SECONDS

    lengths = np.diff(index.prints().starts)
    worth = [
        one
        for one in found
        if one.distinct >= MIN_DISTINCT and (one.bit_error_rate <= _KEPT_RATE or one.alike * ITEM_SECONDS >= ALIKE_SECONDS)
    ]
    if not worth:
        return 0
    names = index.hashes()
    rows = [_row(one, names, int(min(lengths[one.first], lengths[one.second]))) for one in worth]
    statement = insert(fingerprint_matches)
    for start in range(0, len(rows), 5000):
        conn.execute(statement, rows[start : start + 5000])
    return len(rows)


def _row(one: "Comparison", names: list[str], shorter: int) -> dict[str, Any]:
    first, second, shift = names[one.first], names[one.second], one.shift
    if first > second:
        first, second, shift = second, first, -shift
    return {
        "first_hash": first,
        "second_hash": second,
        "bit_error_rate": one.bit_error_rate,
        "shift": shift,
        "overlap": one.overlap,
        "alike": one.alike,
        "distinct_items": one.distinct,
        "background": one.background,
        "shorter": shorter,
    }
