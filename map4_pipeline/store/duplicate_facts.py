"""What the duplicates need to know of tracks, as the domain's values."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from map4_pipeline.audio.model import is_lossless
from map4_pipeline.fingerprint.keeper import Copy
from map4_pipeline.fingerprint.versions import Side

_ENTRIES = text(
    """
    SELECT id, coalesce(file_hash, ''), audio_hash, title, artist FROM tracks
    WHERE status = 'ok' AND missing_since IS NULL AND hidden_at IS NULL AND audio_hash IS NOT NULL ORDER BY id
    """
)
_DETAILS = text(
    """
    SELECT id, file_path, file_size, file_hash, audio_hash, duration, codec, bit_rate, sample_rate, channels, bit_depth, findings,
      title, artist,
      num_nonnulls(title, artist, album, album_artist, composer, genre, year, track_number, disc_number) AS tags
    FROM tracks WHERE id = ANY(:ids)
    """
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A track that is there: its number, the hashes of its file and its audio, title and artist."""

    track_id: int
    file_hash: str
    audio_hash: str
    title: str | None
    artist: str | None


@dataclass(frozen=True, slots=True)
class Details:
    """A track that has a double: as a side of a comparison, as a copy, and its size in bytes."""

    entry: Entry
    side: Side
    copy: Copy
    size_bytes: int


def entries(conn: Connection) -> list[Entry]:
    """Return all tracks that are there (analysed, not missing, not hidden), by number."""
    return [Entry(*row) for row in conn.execute(_ENTRIES)]


def details(conn: Connection, track_ids: Collection[int]) -> dict[int, Details]:
    """Return what is known of some tracks."""
    found = {}
    ids = sorted(track_ids)
    for start in range(0, len(ids), 5000):
        for row in conn.execute(_DETAILS, {"ids": ids[start : start + 5000]}).mappings():
            found[int(row["id"])] = _details(row)
    return found


def _details(row: Any) -> Details:
    findings = {}
    silence = {"start": 0.0, "end": 0.0}
    for finding in row["findings"] or []:
        code, value, message = finding.get("code"), finding.get("value"), finding.get("message") or ""
        findings[code] = value
        if code == "silence" and isinstance(value, int | float):
            for where in silence:
                if message.endswith(f"at the {where}."):
                    silence[where] = float(value)
    duration = float(row["duration"] or 0.0)
    damaged = "ends early" if "truncated" in findings else "has damaged packets" if "decoder_errors" in findings else ""
    cutoff = findings.get("spectral_cutoff")
    codec = row["codec"] or ""
    copy = Copy(
        track_id=int(row["id"]),
        path=row["file_path"],
        sound_seconds=max(0.0, duration - silence["start"] - silence["end"]),
        codec=codec,
        lossless=is_lossless(codec),
        bit_rate=int(row["bit_rate"] or 0),
        sample_rate=int(row["sample_rate"] or 0),
        channels=int(row["channels"] or 0),
        bit_depth=int(row["bit_depth"] or 0),
        cutoff_hz=float(cutoff) if isinstance(cutoff, int | float) else None,
        damaged=damaged,
        tags=int(row["tags"]),
    )
    side = Side(
        duration=duration,
        silence_before=silence["start"],
        silence_after=silence["end"],
        truncated="truncated" in findings,
        title=row["title"],
        artist=row["artist"],
    )
    entry = Entry(int(row["id"]), row["file_hash"] or "", row["audio_hash"] or "", row["title"], row["artist"])
    return Details(entry, side, copy, int(row["file_size"] or 0))
