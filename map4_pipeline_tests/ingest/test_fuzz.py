"""Damaged files of every format: each is on the ledger with a status and a reason that can be read, and the run goes on.

`python -m benchmarks fuzz` does the same with thousands of each format.
"""

import pytest

from ..mutate import mutate
from .music import Shelf, counts, music_bytes

FORMATS = ("wav", "flac", "mp3", "ogg", "opus", "m4a", "wma", "wv", "aiff")
#: What damage may be called; "internal" would be a defect, "crashed" and "timeout" a decoder's that the formats here do not have.
KINDS = {"empty", "not_audio", "damaged", "unsupported", "no_audio", "encrypted", "unreadable"}


@pytest.mark.parametrize("suffix", FORMATS)
def test_fifty_damaged_files_of_a_format(shelf: Shelf, suffix: str) -> None:
    data = music_bytes(suffix, 5)
    for seed in range(50):
        path = shelf.root / f"{seed % 4}" / f"{seed:02}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(mutate(data, seed))
    visit = shelf.visit()
    assert visit.ledger.reconciles
    assert visit.ledger.seen == 50
    assert visit.ledger.pending == 0
    rows = shelf.tracks().values()
    assert {row["status"] for row in rows} <= {"ok", "failed"}
    failed = [row for row in rows if row["status"] == "failed"]
    for row in failed:
        assert row["error_kind"] in KINDS, (row["file_path"], row["error_kind"], row["error_message"])
        assert row["error_message"].endswith(".")
        assert row["bpm"] is row["duration"] is row["chromaprint_fp"] is None
    assert len(rows) + visit.ledger.skipped == 50
    again = shelf.visit()
    assert again.summary.effort.decodes == 0
    assert counts(again.ledger).get("analysed", 0) == 0
