"""Libraries that were never recorded: rows as the store would hand them over, the same for the same seed."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from map4_pipeline.hamms.camelot import KEYS, to_camelot
from map4_pipeline.reports import DuplicateGroup, Failure, LibraryInfo, LibrarySnapshot, TrackRow
from map4_pipeline.reports.statistics import HAMMS_NAMES, collect

NOW = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)

#: What tags of the world contain, and what they must not do to a report.
NASTY = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "<!-- <script>",
    '=HYPERLINK("http://example.org","click")',
    "+1+1",
    "-2+3",
    "@SUM(A1:A9)",
    "\t=1+1",
    "\r=1+1",
    "Simon & Garfunkel <b>bold</b> <para> <font name='x'>",
    "&amp; &lt; &#0;",
    "NUL\x00in the middle \x07\x1b[31mred",
    "emoji 😀🎧🏳️‍🌈 and 漢字 かな 한국어",
    "עברית שלום and العربية مرحبا",
    "Ελληνικά Кириллица Ñandú Łódź Ångström",
    "Cafe\u0301 decomposed, zalgo z\u0335\u0321\u0322",
    "lone surrogate \udcff end",
    "\u202eevil\u202c rtl override \u2028 line separator",
    "{{ 7 * 7 }} {% raw %} ${x} %s",
    "x" * 3000,
    "word " * 600,
    "",
    " ",
)

_GENRES = ("House", "Techno", "Drum & Bass", "Jazz", "Hip-Hop", "Ambient", "Soul", "Disco", "Trance", "Dub", "Rock", "Downtempo",
           "Breaks", "Electro", "Funk", "Classical", "Garage", "Reggae", "IDM", "Folk")  # fmt: skip
_TEMPI = {"House": 124, "Techno": 132, "Drum & Bass": 174, "Jazz": 110, "Hip-Hop": 92, "Ambient": 80, "Trance": 138, "Dub": 75}
_ADJECTIVES = ("Velvet", "Northern", "Broken", "Silent", "Electric", "Paper", "Distant", "Golden", "Hollow", "Second", "Blue")
_NOUNS = ("Harbour", "Machines", "Morning", "Signal", "Gardens", "Avenue", "Mirrors", "Tide", "Static", "Letters", "Sun")
_FAILURES = (
    ("damaged", "The file ends in the middle of a frame; 0 seconds could be decoded."),
    ("not_audio", "This is not an audio file although its name says so: it starts with the bytes of a PDF."),
    ("unreadable", "Permission denied."),
)


def track(index: int, **changes: Any) -> TrackRow:
    """Return a plausible track; every thirtieth failed."""
    rng = random.Random(index)
    genre = rng.choice(_GENRES[: 4 + rng.randrange(17)])
    artist = f"{rng.choice(_ADJECTIVES)} {rng.choice(_NOUNS)}"
    title = f"{rng.choice(_ADJECTIVES)} {rng.choice(_NOUNS)}" + rng.choice(("", "", " (Extended Mix)", " feat. Ada Œrsted"))
    codec, rate = rng.choice((("mp3", 320_000), ("mp3", 192_000), ("flac", 900_000), ("aac", 256_000), ("opus", 128_000)))
    duration = rng.uniform(120, 480)
    path = f"/music/{genre}/{artist}/{index:05d} {title}.{codec}"
    common: dict[str, Any] = {
        "id": index, "file_path": path, "title": title, "artist": artist, "album": f"{rng.choice(_NOUNS)} LP", "genre": genre,
        "year": rng.choice((None, *range(1968, 2027))), "file_hash": f"{index:064x}", "size_bytes": int(duration * rate / 8),
        "added_at": NOW - timedelta(days=rng.randrange(700)), "missing": rng.random() < 0.01,
    }  # fmt: skip
    if index % 30 == 29:
        kind, message = _FAILURES[index // 30 % 3]
        return TrackRow(**(common | {"status": "failed", "error_kind": kind, "error_message": message} | changes))
    bpm = None if genre == "Ambient" and rng.random() < 0.5 else rng.gauss(_TEMPI.get(genre, 118), 5)
    key = None if rng.random() < 0.03 else rng.choice((*KEYS, "A minor", "A minor", "E minor", "C major"))
    unit = {name: min(max(rng.gauss(0.3 + 0.05 * place, 0.13), 0.0), 1.0) for place, name in enumerate(HAMMS_NAMES)}
    reasons = ({"bpm": "no beat found"} if bpm is None else {}) | ({"key": "atonal"} if key is None else {})
    clipped = rng.random() < 0.06
    measured: dict[str, Any] = {
        "duration": duration, "sample_rate": rng.choice((44_100, 44_100, 48_000, 96_000)), "bit_rate": rate, "channels": 2,
        "codec": codec, "bpm": bpm, "bpm_confidence": None if bpm is None else min(rng.betavariate(6, 1.6), 1.0),
        "bpm_alternatives": [] if bpm is None else [{"value": bpm / 2, "probability": 0.2}],
        "key": key, "camelot": to_camelot(key), "key_confidence": None if key is None else rng.betavariate(5, 2),
        "key_alternatives": [{"value": "C major", "probability": 0.2}],
        "energy": min(max(rng.gauss(0.55, 0.2), 0.0), 1.0), "loudness_lufs": rng.gauss(-11, 3.5),
        "true_peak_dbtp": rng.uniform(-3, 1), "hamms": unit | {"bpm": None if bpm is None else unit["bpm"]},
        "hamms_confidence": rng.uniform(0.5, 0.95), "null_reasons": reasons,
        "tags_bpm": None if bpm is None or rng.random() < 0.4 else round(bpm * rng.choice((1, 1, 1, 1, 1, 1, 1, 1, 0.5, 1.1))),
        "tags_key": None if rng.random() < 0.5 or key is None else rng.choice((key, key, key, key, key, "8A")),
        "findings": [{"code": "clipping", "message": "214 samples in a row at full scale", "value": 214.0}] if clipped else [],
        "audio_hash": f"{index:064x}", "spectral_hash": f"{index:064x}", "analyzed_at": NOW,
        "analysis_versions": {"features": "map4/1", "fingerprint": "map4/1"},
        "ai_provider": "example" if index % 5 == 0 else None,
        "ai_analysis": {
            "genre": "house", "moods": ["driving"], "tags": ["late night", "warm"], "confidence": 0.6,
            "contradictions": [{"claim": "tempo_bpm", "reason": "another tempo was measured"}] if index % 15 == 0 else [],
        } if index % 5 == 0 else None,
    }  # fmt: skip
    return TrackRow(**(common | measured | changes))


def nasty_track(index: int, value: str) -> TrackRow:
    """Return a track every text of which is hostile."""
    return track(
        index * 30, title=value, artist=value, album=value, genre=value, file_path=f"/music/{value}/{index}", tags_key=value[:40],
        ai_provider="example", ai_analysis={"comment": value, value: [value]}, null_reasons={"bpm": value}, bpm=None,
        findings=[{"code": value, "message": value}], codec=value[:20], analysis_versions={value: value},
        key_alternatives=[{"value": value, "probability": 0.4}], key_confidence=0.1,
    )  # fmt: skip


def snapshot(rows: list[TrackRow] | None = None, *, size: int = 0, **changes: Any) -> LibrarySnapshot:
    """Return a library of the given rows, or of `size` plausible ones that are made anew for every stream."""

    def stream() -> Iterator[TrackRow]:
        return iter(rows) if rows is not None else (track(index) for index in range(size))

    def failures() -> Iterator[Failure]:
        return (
            Failure(row.file_path, row.error_kind or "unknown", row.error_message or "")
            for row in stream()
            if row.status == "failed"
        )

    statistics = collect(stream())
    skipped = {"not_audio": 41, "hidden": 7, "too_short": 2} if statistics.tracks else {}
    values: dict[str, Any] = {
        "title": "Late-night crates",
        "generated_at": NOW,
        "libraries": [LibraryInfo("Main", "/music", statistics.tracks)] if statistics.tracks else [],
        "ledger": {
            "seen": statistics.tracks + sum(skipped.values()),
            "analysed": statistics.measured - statistics.measured // 10 * 3,
            "reused": statistics.measured // 10,
            "unchanged": statistics.measured // 10 * 2,
            "failed": statistics.failed,
            "skipped": sum(skipped.values()),
            "missing": statistics.missing,
        },
        "statistics": statistics,
        "tracks": stream,
        "failures": failures,
        "skipped": skipped,
        "duplicates": [
            DuplicateGroup(kind, [f"/music/House/Velvet Harbour/{index:05d} copy {copy}.mp3" for copy in range(2 + index % 3)])
            for index, kind in enumerate(("file", "audio", "fingerprint") * 4)
        ]
        if statistics.tracks > 20
        else [],
    }
    return LibrarySnapshot(**(values | changes))


def nasty_snapshot() -> LibrarySnapshot:
    """Return a library in which every text is hostile."""
    value = "</script><b>&=1 \x00 \udcff 😀 שלום " + "y" * 3000
    return snapshot(
        [nasty_track(index, text) for index, text in enumerate(NASTY)],
        title=value,
        libraries=[LibraryInfo(value, value, 3)],
        failures=[Failure(text, text, text) for text in NASTY],
        duplicates=[DuplicateGroup(text, [text, text]) for text in NASTY],
        skipped={text: 1 for text in NASTY},
    )
