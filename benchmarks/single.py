"""One track through the running server: from the POST of `map4 serve` to its row in PostgreSQL.

    python -m benchmarks.single [--tracks 10] [--minutes 4] [--truth]

A fresh MAP4_HOME with the embedded servers, `map4 serve`, a library with an MP3 of 4 minutes of invented music for each
measurement (`--truth`: real tracks of MAP4_TRUTH_DIR/real instead, whatever their lengths). Each track is asked for by itself
(`POST /api/tracks/analyze`). Taken are the time until the resident worker has begun with it (as the row of `analysis_queue`
says), the time until its row has its features and its HAMMS vector, and the time until its queue row says so. The first is the
cold one: asked for as soon as the server answers.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, text

from benchmarks.generate import FRAME_SAMPLES, Task, make
from benchmarks.throughput import add_info_frame
from map4_pipeline.library.synthesis import SAMPLE_RATE, STYLES, Song

START_BAR, TOTAL_BAR = 1.0, 2.0
_PASSWORD = "a password for one run of a benchmark"


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds from the POST: its answer, the beginning, the track's row, the queue's row."""

    answered: float
    started: float
    in_database: float
    told: float


def make_track(path: Path, number: int, minutes: float) -> None:
    """Write an MP3 with music of its own."""
    bars = 60 + number * 7 % 50
    bpm = 240 * SAMPLE_RATE / (bars * FRAME_SAMPLES)
    song = Song(bpm, number * 5 % 12, "minor" if number % 2 else "major", STYLES[number % len(STYLES)], 7000 + number)
    path.parent.mkdir(parents=True, exist_ok=True)
    make(Task(song, bars, minutes * 60, "256k", song.seed, (str(path),)))
    add_info_frame(path)


def real_tracks(count: int) -> list[Path]:
    """Return real tracks of the truth set."""
    folder = os.environ.get("MAP4_TRUTH_DIR")
    if not folder:
        raise SystemExit("not measured: MAP4_TRUTH_DIR is not set")
    found = sorted(path for path in Path(folder, "real").rglob("*") if path.suffix.lower() in (".mp3", ".flac", ".ogg", ".m4a"))
    return sorted(found, key=lambda path: -path.stat().st_size)[:count]


class Server:
    """`map4 serve` on a home of its own, with an account that may ask for analyses."""

    def __init__(self, home: Path, library: Path, *, rate: int = 100_000) -> None:
        environment = {**os.environ, "MAP4_HOME": str(home), "MAP4_RATE_PER_MINUTE": str(rate), "PYTHONUNBUFFERED": "1"}
        for name in ("DATABASE_URL", "DAGSTER_DATABASE_URL", "DAGSTER_HOME", "REDIS_URL"):
            environment.pop(name, None)
        os.environ.clear()
        os.environ.update(environment)
        from map4_pipeline.api.passwords import hash_password
        from map4_pipeline.settings import settings
        from map4_pipeline.store.accounts import create_user
        from map4_pipeline.store.database import open_database
        from map4_pipeline.store.libraries import register_library

        settings.cache_clear()
        self.engine: Engine = open_database(settings())
        with self.engine.begin() as conn:
            self.library = register_library(conn, library).id
            create_user(conn, "bench", "admin", password_hash=hash_password(_PASSWORD), library_ids=None)
        command = [sys.executable, "-m", "map4_pipeline.cli.main", "serve", "--port", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        url = next(word for line in self._process.stdout for word in line.split() if word.startswith("http"))
        self.client = httpx.Client(base_url=url, timeout=60)
        self._wait()
        body = {"name": "bench", "password": _PASSWORD}
        token = self.client.post("/api/auth/token", json=body).raise_for_status().json()["access_token"]
        self.client.headers["Authorization"] = f"Bearer {token}"

    def _wait(self) -> None:
        while True:
            try:
                if self.client.get("/api/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.02)

    def token(self, role: str, scopes: list[str]) -> str:
        """Make an account of a role, and a named token for it."""
        from map4_pipeline.store.accounts import create_user
        from map4_pipeline.store.tokens import create_token

        with self.engine.begin() as conn:
            user = create_user(conn, f"bench-{role}", role, password_hash=None, library_ids=None)
            return create_token(conn, user.id, "bench", scopes, None)[1]

    def value(self, statement: str, **values: Any) -> Any:
        """Return a query's value, None without a row."""
        with self.engine.connect() as conn:
            return conn.execute(text(statement), values).scalar_one_or_none()

    def close(self) -> None:
        """End it."""
        self.client.close()
        self.engine.dispose()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)


def ask(server: Server, relative: str) -> Times:
    """Ask for one file and wait for it."""
    begun = time.perf_counter()
    answer = server.client.post("/api/tracks/analyze", json={"place": {"library": server.library, "path": relative}})
    answered = time.perf_counter() - begun
    job = answer.raise_for_status().json()["id"]
    done = "SELECT 1 FROM tracks WHERE relative_path = :path AND status = 'ok' AND hamms_vector IS NOT NULL"
    while server.value(done, path=relative.encode()) is None:
        time.sleep(0.005)
        if (error := server.value("SELECT error_message FROM analysis_queue WHERE job_id = :job", job=job)) is not None:
            raise SystemExit(f"{relative}: {error}")
    in_database = time.perf_counter() - begun
    while server.client.get(f"/api/batch/{job}").json()["status"] != "completed":
        time.sleep(0.005)
    told = time.perf_counter() - begun
    waited = "SELECT extract(epoch FROM started_at - created_at) FROM analysis_queue WHERE job_id = :job"
    return Times(answered, float(server.value(waited, job=job)), in_database, told)


def main(arguments: list[str] | None = None) -> None:
    """Make the tracks, start the server, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--truth", action="store_true", help="real tracks of MAP4_TRUTH_DIR")
    options = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="map4s-"))
    library = base / "Music"
    try:
        if options.truth:
            library.mkdir()
            for number, path in enumerate(real_tracks(options.tracks + 1)):
                shutil.copyfile(path, library / f"{number:02d}{path.suffix.lower()}")
        else:
            for number in range(options.tracks + 1):
                make_track(library / f"{number:02d}.mp3", number, options.minutes)
        server = Server(base / "home", library)
        try:
            names = sorted(path.name for path in library.iterdir())
            cold = ask(server, names[0])
            time.sleep(3)  # the rest of the start: Dagster is loaded
            report(cold, [ask(server, name) for name in names[1:]])
        finally:
            server.close()
    finally:
        shutil.rmtree(base, ignore_errors=True)


def report(cold: Times, warm: list[Times]) -> None:
    """Print the medians beside the bars."""
    print(f"{'':34s}{'median':>8s}{'worst':>8s}{'cold':>8s}   seconds from the POST, {len(warm)} tracks one by one")
    lines = (("answer", "answered", None), ("the worker has begun", "started", START_BAR))
    lines += (("row with features and vector", "in_database", TOTAL_BAR), ("job completed, Dagster told", "told", None))
    for title, name, bar in lines:
        values = [getattr(times, name) for times in warm]
        middle = statistics.median(values)
        verdict = "" if bar is None else f"   bar {bar:g} s: {'holds' if middle < bar else 'MISSED'}"
        print(f"{title:34s}{middle:8.3f}{max(values):8.3f}{getattr(cold, name):8.3f}{verdict}", flush=True)


if __name__ == "__main__":
    main()
