"""Libraries of 100,000 and 1,000,000 invented tracks in PostgreSQL, for benchmarks of search, similarity, duplicates and sets.

    python -m benchmarks.fake_library 100000 [--seed 1] [--fingerprints] [--grids]

What is realistic about them is what a query's cost and a result's size depend on: artists by Zipf's law, names in several
scripts, albums in folders, tempo by genre (with half and double readings), keys by popularity, energy and loudness that go
together, years, formats, imports in bursts, tags that are often missing and sometimes disagree, failed, missing and hidden files.
The distributions are this project's rough figures, not a survey of anything. The same seed gives the same library.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import OperationalError

from benchmarks.fake_names import SCRIPTS, Names, zipf_choice
from map4_pipeline.hamms import DIMENSIONS, HAMMS_VERSION
from map4_pipeline.hamms.camelot import KEYS, to_camelot
from map4_pipeline.hamms.vector import BPM_HIGH, BPM_LOW, normalised_key
from map4_pipeline.library.keys import partition_key

#: Bump when the same seed gives another library: what was prepared before is made anew.
VERSION = 1
_CHUNK = 20_000
_LIBRARIES = ("Music", "DJ", "Archive")


@dataclass(frozen=True, slots=True)
class Genre:
    """What is usual in a genre: tempi as (share, mean, deviation), share of minor keys, levels in [0, 1], LUFS, year."""

    name: str
    weight: float
    tempi: tuple[tuple[float, float, float], ...]
    minor: float
    energy: float
    loudness: float
    year: float
    danceability: float
    acousticness: float
    instrumentalness: float


def _genre(name: str, weight: float, *rest: Any) -> Genre:
    return Genre(name, weight, *rest)


GENRES = (
    _genre("Pop", 11, ((0.5, 120, 10), (0.35, 100, 12), (0.15, 170, 12)), 0.40, 0.62, -8.5, 2010, 0.62, 0.30, 0.10),
    _genre("Rock", 13, ((0.6, 122, 18), (0.4, 145, 18)), 0.35, 0.72, -9.0, 1992, 0.45, 0.20, 0.15),
    _genre("House", 9, ((0.95, 124, 2.5), (0.05, 118, 3)), 0.62, 0.74, -8.0, 2012, 0.82, 0.08, 0.55),
    _genre("Deep House", 4, ((1.0, 121, 2.0),), 0.66, 0.62, -9.0, 2014, 0.80, 0.12, 0.60),
    _genre("Techno", 6, ((0.9, 131, 4), (0.1, 140, 5)), 0.70, 0.80, -8.0, 2013, 0.76, 0.04, 0.85),
    _genre("Trance", 3, ((1.0, 137, 3),), 0.72, 0.82, -7.5, 2006, 0.62, 0.05, 0.75),
    _genre("Drum and Bass", 3, ((0.85, 174, 2.5), (0.15, 87, 1.5)), 0.70, 0.86, -6.5, 2011, 0.56, 0.05, 0.65),
    _genre("Dubstep", 2, ((0.8, 140, 2), (0.2, 70, 1.5)), 0.72, 0.82, -6.0, 2012, 0.55, 0.05, 0.60),
    _genre("Hip-Hop", 9, ((0.7, 92, 7), (0.3, 142, 8)), 0.58, 0.62, -8.5, 2008, 0.72, 0.18, 0.10),
    _genre("R&B", 4, ((0.7, 94, 12), (0.3, 68, 6)), 0.52, 0.50, -9.5, 2005, 0.66, 0.32, 0.08),
    _genre("Soul", 3, ((1.0, 104, 18),), 0.42, 0.52, -11.0, 1974, 0.60, 0.45, 0.10),
    _genre("Funk", 2, ((1.0, 106, 10),), 0.50, 0.66, -10.5, 1977, 0.76, 0.25, 0.20),
    _genre("Disco", 2, ((1.0, 119, 6),), 0.50, 0.70, -10.5, 1979, 0.80, 0.18, 0.15),
    _genre("Jazz", 5, ((0.5, 120, 30), (0.3, 180, 25), (0.2, 70, 10)), 0.40, 0.32, -16.0, 1968, 0.45, 0.82, 0.70),
    _genre("Classical", 5, ((0.5, 90, 25), (0.5, 125, 30)), 0.38, 0.18, -22.0, 1990, 0.22, 0.95, 0.92),
    _genre("Ambient", 3, ((1.0, 95, 25),), 0.52, 0.14, -20.0, 2008, 0.20, 0.70, 0.94),
    _genre("Folk", 3, ((1.0, 108, 20),), 0.30, 0.34, -13.0, 1995, 0.42, 0.84, 0.15),
    _genre("Country", 2, ((1.0, 118, 22),), 0.18, 0.58, -10.0, 1998, 0.52, 0.46, 0.06),
    _genre("Metal", 4, ((0.6, 130, 22), (0.4, 180, 20)), 0.72, 0.92, -7.5, 2003, 0.32, 0.03, 0.35),
    _genre("Punk", 2, ((1.0, 176, 16),), 0.30, 0.90, -8.0, 1994, 0.38, 0.05, 0.10),
    _genre("Reggae", 2, ((0.6, 76, 6), (0.4, 150, 10)), 0.48, 0.52, -11.0, 1983, 0.74, 0.25, 0.12),
    _genre("Latin", 3, ((0.6, 96, 8), (0.4, 178, 12)), 0.58, 0.70, -8.5, 2009, 0.76, 0.28, 0.08),
    _genre("Electronic", 6, ((0.5, 122, 8), (0.5, 105, 15)), 0.60, 0.64, -9.0, 2011, 0.64, 0.14, 0.70),
    _genre("Soundtrack", 3, ((1.0, 105, 30),), 0.56, 0.26, -18.0, 2004, 0.25, 0.70, 0.90),
    _genre("World", 1.5, ((1.0, 110, 22),), 0.55, 0.48, -12.0, 1999, 0.58, 0.58, 0.30),
    _genre("City Pop", 0.8, ((1.0, 112, 12),), 0.45, 0.58, -12.0, 1984, 0.66, 0.28, 0.10),
)
#: Rough popularity of the tonics, C first; major and minor share it closely enough here.
_TONICS = np.array([11.0, 8.5, 10.0, 6.0, 8.5, 9.5, 8.0, 11.0, 6.5, 10.5, 6.0, 7.5])
#: Format, weight, container, bit/s (0: by duration), ending.
_FORMATS = (
    ("mp3", 58.0, "mp3", 320_000, "mp3"),
    ("mp3", 12.0, "mp3", 192_000, "mp3"),
    ("flac", 16.0, "flac", 940_000, "flac"),
    ("aac", 7.0, "mov,mp4,m4a,3gp,3g2,mj2", 256_000, "m4a"),
    ("pcm_s16le", 3.0, "wav", 1_411_200, "wav"),
    ("vorbis", 2.0, "ogg", 192_000, "ogg"),
    ("opus", 1.0, "ogg", 128_000, "opus"),
    ("pcm_s16be", 1.0, "aiff", 1_411_200, "aiff"),
)
_MOODS = (
    "energetic",
    "dark",
    "happy",
    "melancholic",
    "calm",
    "dreamy",
    "aggressive",
    "romantic",
    "hypnotic",
    "uplifting",
    "tense",
    "warm",
)
_TAGS = (
    "vocal",
    "peak time",
    "warm-up",
    "closing",
    "festival",
    "after hours",
    "acoustic",
    "live",
    "remix",
    "instrumental",
    "classic",
)
_FINDINGS = (
    ("clipping", "0.03% of the samples are clipped.", 0.03),
    ("silence", "6.2 s of silence at the end.", 6.2),
    ("spectral_cutoff", "Nothing above 16.0 kHz: made from a lossy file of 128 kbit/s.", 16000.0),
    ("mono_in_stereo", "Both channels are the same: mono in a stereo file.", 1.0),
    ("truncated", "The file ends early: 101.3 s could be decoded.", 101.3),
)
_ERRORS = (
    ("damaged", "The file is damaged: no frame could be decoded."),
    ("not_audio", "This is no audio file, whatever its name says."),
    ("too_short", "Shorter than one second."),
)
_EPOCH = 1_640_995_200  # 2022-01-01, the first import


def fill(engine: Engine, tracks: int, seed: int = 1, *, fingerprints: bool = False, grids: bool = False) -> None:
    """Write libraries, directories and tracks into an empty database by COPY, then VACUUM ANALYZE.

    Parameters
    ----------
    tracks : int
        At least 1.
    fingerprints : bool
        Also `chromaprint_fp`, a fingerprint of random bits of two minutes (2.6 kB and 1 ms each).
    grids : bool
        Also `analyses` with beats, bars and a waveform, as the engine keeps them (3 kB each).

    Raises
    ------
    ValueError
        When there are tracks already.
    """
    random = np.random.default_rng([VERSION, seed])
    columns = _columns(random, tracks)
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        cursor.execute("SELECT EXISTS (SELECT FROM tracks), EXISTS (SELECT FROM libraries)")
        if any(cursor.fetchone() or ()):
            raise ValueError("There is a library in this database already.")
        # Indexes are made afterwards: a tenth of the time. Emptied in the same transaction, the table needs no log.
        cursor.execute("TRUNCATE tracks, directories, libraries CASCADE")
        cursor.execute("SET LOCAL maintenance_work_mem = '512MB'")
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() "
            "AND tablename IN ('tracks', 'track_search') "
            "AND indexname NOT IN (SELECT conname FROM pg_constraint)"
        )
        indexes = cursor.fetchall()
        # Row by row, the triggers take as long as the rest; what they do is done for all rows at once below.
        cursor.execute("ALTER TABLE tracks DISABLE TRIGGER USER")
        for name, _ in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        _copy_places(cursor, columns)
        for lines in _track_lines(random, columns, fingerprints):
            cursor.copy_expert(f"COPY tracks ({', '.join(_COPIED)}) FROM STDIN", lines)
        cursor.execute("SELECT map4_rebuild_search()")
        for _, definition in indexes:
            cursor.execute(definition)
        cursor.execute("ALTER TABLE tracks ENABLE TRIGGER USER")
        for table in ("libraries", "directories", "tracks"):
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")
        cursor.execute(_GROUPS)
        if grids:
            cursor.execute(_GRIDS)
        raw.commit()
    finally:
        raw.close()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("VACUUM (ANALYZE)"))


def prepared(tracks: int, seed: int = 1, *, fingerprints: bool = False, grids: bool = False) -> Engine:
    """Return a database with such a library, made at the first call and kept under `MAP4_BENCH_HOME`.

    The embedded server there is started when it is not running and stops when the last process that uses it ends. With other
    migrations it is another library.
    """
    from map4_pipeline.settings import load_settings
    from map4_pipeline.store.database import driver_url, make_engine
    from map4_pipeline.store.filelock import FileLock
    from map4_pipeline.store.migrate import script_location, upgrade
    from map4_pipeline.store.postgres_server import EmbeddedPostgres

    home = Path(os.environ.get("MAP4_BENCH_HOME") or Path(tempfile.gettempdir()) / "map4-bench")
    home.mkdir(parents=True, exist_ok=True)
    settings = load_settings(home=home)
    url = make_url(driver_url(EmbeddedPostgres(settings.home).start()))
    schema = hashlib.sha256(b"".join(path.read_bytes() for path in sorted((script_location() / "versions").glob("*.py"))))
    kind = f"tracks_{tracks}_{seed}{'_fp' if fingerprints else ''}{'_grid' if grids else ''}_"
    name = f"{kind}v{VERSION}_{schema.hexdigest()[:8]}"

    def engine_of(database: str) -> Engine:
        return make_engine(url.set(database=database).render_as_string(hide_password=False))

    server = engine_of("postgres")
    lock = FileLock(home / f"{kind}.lock")
    lock.acquire()
    try:
        with server.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            known = set(conn.scalars(text("SELECT datname FROM pg_database WHERE datname LIKE :kind"), {"kind": f"{kind}%"}))
            if name not in known:
                for old in known:
                    with contextlib.suppress(OperationalError):  # somebody measures with it
                        conn.exec_driver_sql(f"DROP DATABASE {old}")
                # Made under another name first: what has the right name is complete.
                conn.exec_driver_sql(f"CREATE DATABASE {name}_new TEMPLATE template0 ENCODING 'UTF8'")
                print(f"making a library of {tracks:,} tracks in {home} ...", file=sys.stderr, flush=True)
                making = engine_of(f"{name}_new")
                upgrade(making)
                fill(making, tracks, seed, fingerprints=fingerprints, grids=grids)
                making.dispose()
                conn.exec_driver_sql(f"ALTER DATABASE {name}_new RENAME TO {name}")
    finally:
        lock.release()
        server.dispose()
    return engine_of(name)


# ------------------------------------------------------------------ what the tracks are
def _columns(random: np.random.Generator, count: int) -> dict[str, Any]:
    """Return the library as columns: albums, and for every track its album and its numbers."""
    names = Names(random, min(20_000, 1_000 + count // 4))
    artists = max(3, count // 25)
    scripts = random.choice(list(SCRIPTS), artists, p=list(SCRIPTS.values())).tolist()
    artist_names = names.make(scripts, 1, 3)
    weights = np.array([genre.weight for genre in GENRES])
    artist_genre = random.choice(len(GENRES), artists, p=weights / weights.sum())
    artist_year = np.array([GENRES[g].year for g in artist_genre]) + random.normal(0, 7, artists)

    # Albums until there are enough tracks: singles, EPs, albums, and now and then a folder of everything.
    albums = count // 5 + 4
    lengths = random.choice([1, 2, 4, 10, 12, 15, 40, 600], albums, p=[0.22, 0.1, 0.13, 0.2, 0.2, 0.11, 0.0395, 0.0005])
    albums = int(np.searchsorted(np.cumsum(lengths), count)) + 1
    lengths = lengths[:albums]
    album_artist = zipf_choice(random, artists, albums)
    album_script = [scripts[a] for a in album_artist.tolist()]
    formats = np.array([weight for _, weight, *_ in _FORMATS])
    # A large first import, then bursts.
    bursts = np.sort(random.uniform(0, 4.8 * 365, 120)) * 86400
    burst = np.where(random.random(albums) < 0.5, 0, random.integers(0, 120, albums))
    album_of = np.repeat(np.arange(albums), lengths)[:count]
    own_artist = (lengths[album_of] > 15) | (random.random(count) < 0.02)  # compilations and folders of everything
    artist = np.where(own_artist, zipf_choice(random, artists, count), album_artist[album_of])
    other = random.choice(len(GENRES), count, p=weights / weights.sum())
    genre = np.where(random.random(count) < 0.12, other, artist_genre[artist])
    columns: dict[str, Any] = {
        "count": count,
        "artist_names": artist_names,
        "album_names": names.make(album_script, 1, 4),
        "titles": names.make([scripts[a] for a in artist.tolist()], 1, 4),
        "album_artist": album_artist,
        "album_library": random.choice(len(_LIBRARIES), albums, p=[0.7, 0.2, 0.1]),
        "album_format": random.choice(len(_FORMATS), albums, p=formats / formats.sum()),
        "album_created": _EPOCH + np.where(burst == 0, 0, bursts[burst]) + np.arange(albums) * 0.5,
        "album_of": album_of,
        "first_of_album": np.concatenate([[0], np.cumsum(lengths)])[:-1],
        "artist": artist,
        "genre": genre,
        "year": np.clip(np.round(artist_year[artist] + random.normal(0, 3, count)), 1925, 2026).astype(int),
    }
    columns |= _measured(random, genre)
    columns["vector"] = _vectors(random, genre, columns)
    return columns


def _measured(random: np.random.Generator, genre: "np.ndarray[Any, Any]") -> dict[str, Any]:
    count = len(genre)
    bpm = np.empty(count)
    for number, about in enumerate(GENRES):
        places = np.flatnonzero(genre == number)
        shares, means, deviations = (np.array(values) for values in zip(*about.tempi, strict=True))
        drawn = random.choice(len(shares), len(places), p=shares / shares.sum())
        bpm[places] = random.normal(means[drawn], deviations[drawn])
    bpm = np.where(random.random(count) < 0.04, bpm / 2, bpm)  # read an octave off
    minor = random.random(count) < np.array([about.minor for about in GENRES])[genre]
    tonic = random.choice(12, count, p=_TONICS / _TONICS.sum())
    level = random.normal(0, 1, count)
    energy = np.array([about.energy for about in GENRES])[genre] + 0.12 * level + random.normal(0, 0.05, count)
    loudness = np.array([about.loudness for about in GENRES])[genre] + 2.2 * level + random.normal(0, 1.2, count)
    return {
        "bpm": np.round(np.clip(bpm, BPM_LOW, BPM_HIGH), 2),
        "bpm_confidence": np.round(random.beta(5, 1.2, count), 4),
        "key": tonic + 12 * minor,
        "key_confidence": np.round(random.beta(3.2, 1.4, count), 4),
        "energy": np.round(np.clip(energy, 0.01, 0.99), 4),
        "loudness": np.round(np.clip(loudness, -45, -2), 2),
        "duration": np.round(np.clip(random.lognormal(5.45, 0.35, count), 20, 3600), 3),
        # One number a property decides: failed, missing, hidden, no tempo, no key, tags, ...
        "chances": random.random((count, 16)),
    }


def _vectors(random: np.random.Generator, genre: "np.ndarray[Any, Any]", columns: dict[str, Any]) -> "np.ndarray[Any, Any]":
    count = len(genre)

    def about(name: str) -> "np.ndarray[Any, Any]":
        return np.array([getattr(one, name) for one in GENRES])[genre]

    energy, noise = columns["energy"], random.normal(0, 1, (count, 8))
    minor = columns["key"] >= 12
    places = np.array([normalised_key(key) for key in KEYS])
    values = {
        "bpm": np.log(columns["bpm"] / BPM_LOW) / np.log(BPM_HIGH / BPM_LOW),
        "key": places[columns["key"]],
        "energy": energy,
        "danceability": about("danceability") + 0.10 * noise[:, 0],
        "valence": 0.52 - 0.12 * minor + 0.15 * (energy - 0.5) + 0.14 * noise[:, 1],
        "acousticness": about("acousticness") + 0.12 * noise[:, 2],
        "instrumentalness": about("instrumentalness") + 0.16 * noise[:, 3],
        "rhythmic_pattern": 0.25 + 0.5 * about("danceability") + 0.12 * noise[:, 4],
        "spectral_centroid": 0.2 + 0.4 * energy + 0.09 * noise[:, 5],
        "tempo_stability": 0.95 - 0.45 * about("acousticness") + 0.10 * noise[:, 6],
        "harmonic_complexity": 0.35 + 0.25 * about("acousticness") + 0.12 * noise[:, 7],
        "dynamic_range": np.clip((-columns["loudness"] - 4) / 24, 0, 1) + 0.05 * noise[:, 0],
    }
    return np.round(np.clip(np.stack([values[name] for name in DIMENSIONS], axis=1), 0, 1), 6)


# ------------------------------------------------------------------ rows
_COPIED = tuple(
    "id library_id directory_id relative_path file_path file_name file_size mtime_ns ctime_ns inode file_hash audio_hash "
    "audio_hash_kind status error_kind error_message missing_since hidden_at title artist album album_artist genre year "
    "track_number tags_bpm tags_key tags_camelot tags duration sample_rate bit_rate channels codec container bpm bpm_confidence "
    "bpm_alternatives key camelot key_confidence key_alternatives energy loudness_lufs loudness_range_lu true_peak_dbtp "
    "hamms_vector hamms_confidence null_reasons findings ai_analysis ai_provider ai_analyzed_at chromaprint_fp spectral_hash "
    "features_version fingerprint_version hamms_version created_at updated_at analyzed_at".split()
)
#: Exact duplicates as the asset would have found them.
_GROUPS = """
WITH same AS (
    SELECT audio_hash, array_agg(id ORDER BY id) AS members FROM tracks WHERE status = 'ok'
    GROUP BY audio_hash HAVING count(*) > 1
), made AS (
    INSERT INTO duplicate_groups (kind, evidence, keeper_track_id)
    SELECT 'identical_audio', jsonb_build_object('audio_hash', audio_hash), members[1] FROM same RETURNING id, evidence
)
INSERT INTO duplicate_members (group_id, track_id)
SELECT made.id, unnest(members) FROM made JOIN same ON same.audio_hash = made.evidence ->> 'audio_hash'
"""
#: Beats of 256 tempi, so that making 100,000 of them takes no longer than the tracks; every twentieth track has two tempi.
_GRIDS = """
CREATE TEMP TABLE patterns ON COMMIT DROP AS
SELECT k,
    (SELECT jsonb_agg(round((k % 48 / 100.0 + i * 60 / (60 + k / 2.0))::numeric, 4)) FROM generate_series(0, 480) AS i) AS beats,
    (SELECT jsonb_agg((i * i + k) % 256) FROM generate_series(1, 400) AS i) AS waveform
FROM generate_series(0, 255) AS k;
INSERT INTO analyses (audio_hash, stage, engine, version, payload)
SELECT t.audio_hash, 'features', 'map4', t.features_version, jsonb_build_object('features', jsonb_build_object(
    'bpm', t.bpm, 'beat_first', p.beats -> 0, 'beats_per_bar', 4, 'beat_times', p.beats, 'waveform', p.waveform,
    'downbeat_times', jsonb_build_array(p.beats -> 1, p.beats -> 5, p.beats -> 9, p.beats -> 13),
    'tempo_spans', CASE WHEN t.id % 20 = 0 THEN jsonb_build_array(
        jsonb_build_object('start', 0, 'end', 100, 'bpm', t.bpm),
        jsonb_build_object('start', 100, 'end', 200, 'bpm', t.bpm * 1.02))
        ELSE '[]' END))
FROM (SELECT DISTINCT ON (audio_hash) * FROM tracks WHERE bpm IS NOT NULL ORDER BY audio_hash, id) AS t
JOIN patterns p ON p.k = t.id % 256;
"""


def _folder(columns: dict[str, Any], album: int) -> str:
    def clean(name: str) -> str:
        return name.replace("/", "_").strip(".") or "_"

    artist = columns["artist_names"][columns["album_artist"][album]]
    return f"{clean(artist)}/{clean(columns['album_names'][album])} [{album}]"


def _copy_places(cursor: Any, columns: dict[str, Any]) -> None:
    lines = "".join(
        f"{i}\t{name.lower()}\t{name}\t\\\\x{f'/bench/{name}'.encode().hex()}\t/bench/{name}\n"
        for i, name in enumerate(_LIBRARIES, 1)
    )
    cursor.copy_expert("COPY libraries (id, slug, name, root, root_text) FROM STDIN", io.StringIO(lines))
    rows = []
    firsts = [*columns["first_of_album"].tolist(), columns["count"]]
    for album, library in enumerate(columns["album_library"].tolist()):
        path = _folder(columns, album)
        key = partition_key(_LIBRARIES[library].lower(), library + 1, path.encode())
        files = min(firsts[album + 1], columns["count"]) - firsts[album]
        rows.append(f"{album + 1}\t{library + 1}\t\\\\x{path.encode().hex()}\t{path}\t{key}\t{files}\t2026-01-01T00:00:00Z\n")
    statement = "COPY directories (id, library_id, relative_path, path_text, partition_key, ok_count, settled_at) FROM STDIN"
    cursor.copy_expert(statement, io.StringIO("".join(rows)))


def _track_lines(random: np.random.Generator, columns: dict[str, Any], fingerprints: bool) -> Iterator[IO[str]]:
    """Yield the rows as text for COPY, some at a time."""
    from map4_pipeline.ingest.versions import FINGERPRINT, features_key

    versions = (features_key().version, FINGERPRINT.version, HAMMS_VERSION)
    count = columns["count"]
    hashes = random.integers(0, 256, (count, 96), dtype=np.uint8)
    # Copies of another track of the library: the same sound, and for half of them the same file.
    copies = np.flatnonzero(random.random(count) < 0.02)
    originals = random.integers(0, count, len(copies))
    hashes[copies, 32:96] = hashes[originals, 32:96]
    hashes[copies[::2], :32] = hashes[originals[::2], :32]
    for first in range(0, count, _CHUNK):
        buffer = io.StringIO()
        last = min(first + _CHUNK, count)
        texts = [row.tobytes().hex() for row in hashes[first:last]]
        for number in range(first, last):
            row = _row(columns, number, texts[number - first], versions)
            if fingerprints and row["status"] == "ok":
                row["chromaprint_fp"] = _fingerprint(row["audio_hash"])
            buffer.write("\t".join([_cell(row.get(name)) for name in _COPIED]) + "\n")
        buffer.seek(0)
        yield buffer


def _cell(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, str):
        return value.replace("\\", "\\\\")
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("\\", "\\\\")
    return str(value)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e6):06d}Z"


def _row(columns: dict[str, Any], i: int, hashes: str, versions: tuple[str, str, str]) -> dict[str, Any]:
    """Return one track by column."""
    album = int(columns["album_of"][i])
    chance = columns["chances"][i].tolist()
    codec, _, container, rate, ending = _FORMATS[columns["album_format"][album]]
    position = i - int(columns["first_of_album"][album]) + 1
    title, artist = columns["titles"][i], columns["artist_names"][columns["artist"][i]]
    name = f"{position:02} {title.replace('/', '_')}.{ending}"
    path = f"{_folder(columns, album)}/{name}"
    library = int(columns["album_library"][album])
    created = float(columns["album_created"][album]) + position * 0.01
    duration = float(columns["duration"][i])
    genre = GENRES[columns["genre"][i]].name
    row: dict[str, Any] = {
        "id": i + 1,
        "library_id": library + 1,
        "directory_id": album + 1,
        "relative_path": "\\x" + path.encode().hex(),
        "file_path": f"/bench/{_LIBRARIES[library]}/{path}",
        "file_name": name,
        "file_size": int(duration * rate / 8),
        "mtime_ns": int(created * 1e9) - 86_400_000_000_000,
        "ctime_ns": int(created * 1e9),
        "inode": 1_000_000 + i,
        "file_hash": hashes[:64],
        "audio_hash": hashes[64:128],
        "audio_hash_kind": "packets",
        "status": "ok",
        "missing_since": _moment(created + 9e6) if chance[1] < 0.01 else None,
        "hidden_at": _moment(created + 8e6) if chance[2] < 0.003 else None,
        "title": title if chance[3] > 0.01 else None,
        "artist": artist if chance[3] > 0.015 else None,
        "album": columns["album_names"][album] if chance[4] > 0.06 else None,
        "album_artist": columns["artist_names"][columns["album_artist"][album]] if chance[4] > 0.5 else None,
        "genre": None
        if chance[5] < 0.07
        else genre
        if chance[5] < 0.95
        else genre.lower()
        if chance[5] < 0.98
        else f"{genre} / {i % 997}",
        "year": int(columns["year"][i]) if chance[6] > 0.1 else None,
        "track_number": position,
        "tags": {"encoder": ["LAME3.100"]},
        "null_reasons": {},
        "findings": [],
        "created_at": _moment(created),
        "updated_at": _moment(created + 60),
    }
    if chance[0] < 0.01:
        kind, message = _ERRORS[i % len(_ERRORS)]
        return row | {"status": "failed", "error_kind": kind, "error_message": message, "features_version": versions[0]}
    if chance[0] < 0.011:
        return row | {"status": "pending", "file_hash": None, "audio_hash": None, "audio_hash_kind": None}
    row |= {
        "analyzed_at": _moment(created + 30),
        "duration": duration,
        "sample_rate": 44_100 if chance[7] < 0.85 else 48_000,
        "bit_rate": rate,
        "channels": 2 if chance[7] > 0.02 else 1,
        "codec": codec,
        "container": container,
        "features_version": versions[0],
        "fingerprint_version": versions[1],
        "hamms_version": versions[2],
        "spectral_hash": hashes[128:192],
    }
    return row | _sound(columns, i, chance) | _opinions(i, genre, created, chance)


def _sound(columns: dict[str, Any], i: int, chance: list[float]) -> dict[str, Any]:
    vector: dict[str, float | None] = dict(zip(DIMENSIONS, columns["vector"][i].tolist(), strict=True))
    bpm, key = float(columns["bpm"][i]), KEYS[columns["key"][i]]
    sure, key_sure = float(columns["bpm_confidence"][i]), float(columns["key_confidence"][i])
    loudness = float(columns["loudness"][i])
    found: dict[str, Any] = {
        "energy": float(columns["energy"][i]),
        "loudness_lufs": loudness,
        "loudness_range_lu": round(2 + 14 * chance[8] * float(vector["dynamic_range"] or 0), 2),
        "true_peak_dbtp": round(min(1.5, loudness + 8 + 3 * chance[8]), 2),
        "hamms_vector": vector,
        "hamms_confidence": round((6 + sure * 3 + key_sure * 2) / 11, 4),
    }
    reasons: dict[str, str] = {}
    if chance[9] < 0.03:
        reasons["bpm"] = reasons["hamms.bpm"] = "no steady beat"
        vector["bpm"] = None
    else:
        rest = round(1 - sure, 4)
        other = [{"value": round(bpm * 2 if bpm < 110 else bpm / 2, 2), "probability": rest}]
        found |= {"bpm": bpm, "bpm_confidence": sure, "bpm_alternatives": other}
    if chance[10] < 0.02:
        reasons["key"] = reasons["hamms.key"] = "no tonal centre"
        vector["key"] = None
    else:
        near = KEYS[(columns["key"][i] + (7 if chance[8] < 0.5 else 5)) % 12 + columns["key"][i] // 12 * 12]
        found |= {"key": key, "camelot": to_camelot(key), "key_confidence": key_sure}
        found["key_alternatives"] = [{"value": near, "probability": round(1 - key_sure, 4)}]
    if reasons:
        found["null_reasons"] = reasons
    if chance[11] < 0.4:
        # Tags agree, are rounded, are an octave off, or say something else.
        share = chance[11] / 0.4
        tag = round(bpm) if share < 0.8 else round(bpm * 2 if bpm < 110 else bpm / 2) if share < 0.92 else round(bpm * 1.29, 1)
        found["tags_bpm"] = float(tag)
    if chance[12] < 0.35:
        tagged = key if chance[12] < 0.26 else KEYS[(columns["key"][i] + i) % 24]
        found |= {"tags_key": to_camelot(tagged) if i % 2 else tagged, "tags_camelot": to_camelot(tagged)}
    if chance[13] < 0.1:
        code, message, value = _FINDINGS[i % len(_FINDINGS)]
        found["findings"] = [{"code": code, "message": message, "value": value}]
    return found


def _opinions(i: int, genre: str, created: float, chance: list[float]) -> dict[str, Any]:
    if chance[14] >= 0.3:
        return {}
    # Few moods are common and most are rare, as for words.
    moods = sorted({_MOODS[int(len(_MOODS) * chance[15] ** 2)], _MOODS[i % len(_MOODS)]})
    analysis = {
        "genre": genre,
        "moods": moods,
        "tags": [_TAGS[i % len(_TAGS)]],
        "era": "2010s",
        "confidence": round(chance[15], 3),
    }
    return {"ai_analysis": analysis, "ai_provider": "openai" if i % 3 else "anthropic", "ai_analyzed_at": _moment(created + 900)}


def _fingerprint(audio_hash: str) -> str:
    from map4_pipeline.fingerprint.codec import encode

    # The same sound has the same fingerprint: chance comes from its hash. Items change by few bits, as real ones do.
    random = np.random.default_rng(int(audio_hash[:16], 16))
    changes = (random.random((948, 32)) < 0.12).astype(np.uint32) @ (np.uint32(1) << np.arange(32, dtype=np.uint32))
    return encode(np.bitwise_xor.accumulate(changes.astype(np.uint32)))


def main(arguments: list[str] | None = None) -> int:
    """Prepare a library and print how long that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tracks", type=int, nargs="?", default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fingerprints", action="store_true")
    parser.add_argument("--grids", action="store_true")
    options = parser.parse_args(arguments)
    begun = time.perf_counter()
    engine = prepared(options.tracks, options.seed, fingerprints=options.fingerprints, grids=options.grids)
    with engine.connect() as conn:
        size = conn.execute(text("SELECT pg_size_pretty(pg_total_relation_size('tracks'))")).scalar_one()
    print(f"{options.tracks:,} tracks, {size} with indexes: {time.perf_counter() - begun:.0f} s")
    print(engine.url.render_as_string(hide_password=False))
    engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
