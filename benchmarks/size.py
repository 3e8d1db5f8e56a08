"""What a library takes in PostgreSQL, table by table: the real pipeline with invented files.

    python -m benchmarks.size [--tracks 20000] [--per-directory 12] [--music DIR] [--folder DIR]

A few pieces are analysed as they are (those in DIR, or generated ones of four minutes). Then `map4 ingest` runs over a tree of
empty files with workers that answer with one of these analyses at once, each under a hash and with a fingerprint of its own. So
every row is written by what writes it always, Dagster's events too; only the sound is not decoded. Printed, per 100,000
tracks: what MAP4's tables have grown by, with their indexes, and Dagster's; the whole server on disk; a dump.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

#: Tags that have no column of their own, as a shop's files carry them.
_OTHER_TAGS = {
    "isrc": "GBAYE9300106",
    "label": "A Label Records",
    "encoder": "LAME 3.100",
    "comment": "Visit https://example.org",
}


class Answers:
    """A pool whose workers have no work: every file is one of a few that were analysed before."""

    payloads: ClassVar[list[dict[str, Any]]] = []
    asked = 0
    closed = False

    def __init__(self, workers: int, *_: Any, **__: Any) -> None:
        self.workers = workers

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Answer at once."""
        answer: Future[Any] = Future()
        answer.set_result(getattr(self, function.__name__)(*arguments))
        type(self).asked += 1
        return answer

    def identify_file(self, path: bytes) -> Any:
        """Return hashes made from the name, and tags."""
        from map4_pipeline.ingest.worker import Identified, tag_columns

        artist, album, name = os.fsdecode(path).split("/")[-3:]
        tags = {
            "title": f"{name[3:-4]} of the {album}", "artist": f"{artist} and Friends", "album": f"{album} (Remastered)",
            "album_artist": f"{artist} and Friends", "genre": "Drum and Bass", "year": 1999, "track_number": int(name[:2]),
            "bpm": 174.0, "key": "8A", "has_cover": True, "other": _OTHER_TAGS,
        }  # fmt: skip
        identity = {
            "file_hash": sha256(b"file" + path).hexdigest(), "audio_hash": sha256(path).hexdigest(), "audio_hash_kind": "packets",
        }  # fmt: skip
        return Identified(identity, tag_columns(tags), 0)

    def analyse_file(self, path: bytes, stages: tuple[str, ...], *_: Any) -> Any:
        """Return one of the analyses, with a fingerprint that no other file has."""
        from map4_pipeline.fingerprint.codec import decode, encode
        from map4_pipeline.ingest.worker import Analysed

        digest = sha256(path).digest()
        found = self.payloads[int.from_bytes(digest[:4]) % len(self.payloads)]
        items = decode(found["fingerprint"]["chromaprint"]) ^ np.frombuffer(digest[4:8], np.uint32)
        fingerprint = {**found["fingerprint"], "chromaprint": encode(items), "spectral_hash": digest.hex()}
        return Analysed({"features": found["features"], "fingerprint": fingerprint}, 0.0)

    def is_lost(self, _: BaseException) -> bool:
        """Return False."""
        return False

    def close(self, **_: Any) -> None:
        """Do nothing."""


def analyse(music: Path | None, folder: Path) -> "list[dict[str, Any]]":
    """Return the payloads of some pieces, and print how long these are."""
    from map4_pipeline.ingest.worker import analyse_file
    from map4_pipeline.library.encode import encode
    from map4_pipeline.library.synthesis import Song, render

    if music is None:
        files = [folder / f"{seed}.mp3" for seed in range(3)]
        for seed, file in enumerate(files):
            encode(render(Song(90.0 + 30 * seed, seed, "minor", "house", seed), 240.0), file)
    else:
        files = sorted(path for path in music.rglob("*") if path.is_file())
    payloads = [analyse_file(os.fsencode(file), ("features", "fingerprint")).payloads for file in files]
    payloads = [payload for payload in payloads if payload]
    minutes = [payload["features"]["technical"]["duration"] / 60 for payload in payloads]
    print(f"{len(payloads)} pieces analysed, {np.mean(minutes):.1f} minutes on average", flush=True)
    return payloads


def make_tree(folder: Path, tracks: int, each: int) -> int:
    """Write empty files of 8 MB, albums of so many tracks; return how many albums."""
    for number in range(tracks):
        album = number // each
        place = folder / f"Artist Number {album // 4:05}" / f"Album Number {album:05}"
        place.mkdir(parents=True, exist_ok=True)
        with (place / f"{number % each + 1:02} A Song With Some Name.mp3").open("wb") as file:
            file.truncate(8_000_000)
    return -(-tracks // each)


def main(arguments: list[str] | None = None) -> int:
    """Analyse a few, ingest many, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=20_000)
    parser.add_argument("--per-directory", type=int, default=12)
    parser.add_argument("--music", type=Path, default=None, help="a folder with pieces to analyse")
    parser.add_argument("--folder", type=Path, default=None, help="where the tree and the database are made")
    options = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="map4z-", dir=options.folder))
    home = base / "home"
    os.environ |= {"MAP4_HOME": str(home), "REDIS_URL": "none"}
    for name in ("DATABASE_URL", "DAGSTER_DATABASE_URL", "DAGSTER_HOME"):
        os.environ.pop(name, None)
    try:
        Answers.payloads = analyse(options.music, base)
        albums = make_tree(base / "Music", options.tracks, options.per_directory)
        empty = sizes()
        begun = time.perf_counter()
        ingest(base / "Music")
        wall = time.perf_counter() - begun
        print(
            f"{options.tracks:,} tracks in {albums:,} directories written in {wall:.0f} s ({options.tracks / wall:.0f} a second)"
        )
        show(home, options.tracks, albums, empty)
    finally:
        subprocess.run(
            [sys.executable, "-m", "map4_pipeline.cli.main", "db", "stop", "--force"], check=False, capture_output=True
        )
        shutil.rmtree(base, ignore_errors=True)
    return 0


def ingest(folder: Path) -> None:
    """Run `map4 ingest` in this process."""
    from unittest.mock import patch

    from map4_pipeline.cli.ingest import ingest as command
    from map4_pipeline.ingest import workbench

    with patch.object(workbench, "WorkerPool", Answers), contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr):
        command.main([str(folder), "--json", "--no-report"], standalone_mode=False)
    if not Answers.asked:
        raise RuntimeError("the workers were not asked")


def sizes() -> tuple[int, int]:
    """Return the bytes of MAP4's and of Dagster's database, both made when they are not there."""
    from sqlalchemy import text

    from map4_pipeline.orchestration.instance import open_instance
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import dagster_url, make_engine, open_database

    own = open_database(settings())
    with open_instance(settings()):
        engines = own, make_engine(dagster_url(settings()))
    found = []
    for engine in engines:
        with engine.connect() as conn:
            found.append(int(conn.execute(text("SELECT pg_database_size(current_database())")).scalar_one()))
        engine.dispose()
    return found[0], found[1]


def show(home: Path, tracks: int, albums: int, empty: tuple[int, int]) -> None:
    """Print sizes per table and per 100,000 tracks."""
    from sqlalchemy import text

    from map4_pipeline.settings import settings
    from map4_pipeline.store.backup import dump
    from map4_pipeline.store.database import open_database

    scale = 100_000 / tracks
    engine = open_database(settings())
    tables = """
        SELECT relname, pg_relation_size(oid), pg_table_size(oid) - pg_relation_size(oid), pg_indexes_size(oid)
        FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        ORDER BY pg_total_relation_size(oid) DESC LIMIT 6"""
    with engine.connect() as conn:
        done = conn.execute(text("SELECT count(*) FROM tracks WHERE status = 'ok' AND hamms_vector IS NOT NULL")).scalar_one()
        if done != tracks:
            raise RuntimeError(f"{done} of {tracks} tracks were written")
        print(f"\nper 100,000 tracks{'rows':>14}{'out of line':>14}{'indexes':>12}{'together':>12}")
        for name, rows, toast, indexes in conn.execute(text(tables)):
            together = rows + toast + indexes
            cells = "".join(
                f"{part * scale / 1e6:{width}.0f} MB" for part, width in ((rows, 11), (toast, 11), (indexes, 9), (together, 9))
            )
            print(f"{name:<18}{cells}")
        dead = float(
            conn.execute(
                text("SELECT n_dead_tup / (n_live_tup + n_dead_tup + 1.0) FROM pg_stat_user_tables WHERE relname = 'tracks'")
            ).scalar_one()
        )
    engine.dispose()
    size, events = (now - before for now, before in zip(sizes(), empty, strict=True))
    disk = sum(path.stat().st_blocks * 512 for path in (home / "postgres").rglob("*") if path.is_file())
    begun = time.perf_counter()
    file = dump(settings(), home / "library.dump")
    took = time.perf_counter() - begun
    print(f"dead rows in tracks     {dead:8.0%}")
    print(f"{'MAP4 database':<24}{size * scale / 1e6:8.0f} MB  {size / tracks / 1e3:.1f} kB a track")
    print(f"{'Dagster database':<24}{events * scale / 1e6:8.0f} MB  {events / albums / 1e3:.1f} kB a directory")
    print(f"{'server on disk, now':<24}{disk / 1e6:8.0f} MB  for {tracks:,} tracks, with its log")
    print(f"{'dump':<24}{file.stat().st_size * scale / 1e6:8.0f} MB  {took * scale:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
