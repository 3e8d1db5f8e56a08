"""`map4 serve` on a library of 100,000 tracks under 50 and 500 users, and under 50 while Redis and PostgreSQL are killed.

    python -m benchmarks.load [--tracks 100000] [--users 50 500] [--seconds 90] [--processes 1] [--no-outage]

Users think for 1 to 3 seconds between requests; 70% of these are reads, 20% searches, 10% writes (locust, on loopback, on the
same cores). The targets of the page: p95 of GET under 200 ms, of searches under 100 ms, of POST and PUT under 500 ms, no errors
with 50 users; with 500 nothing fails. The library is a copy of the one that `benchmarks.search` uses, and is dropped at the end.
"""

import argparse
import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, text

from benchmarks.fake_library import prepared
from benchmarks.search import Mix

#: p95 in milliseconds with 50 users.
LIMITS = {"GET": 200.0, "SEARCH": 100.0, "POST": 500.0, "PUT": 500.0}
_DATABASE = "map4_load"


def main(arguments: list[str] | None = None) -> int:
    """Measure; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=100_000)
    parser.add_argument("--users", type=int, nargs="+", default=[50, 500])
    parser.add_argument("--seconds", type=int, default=90)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--no-outage", action="store_true")
    options = parser.parse_args(arguments)
    missed = 0
    with tempfile.TemporaryDirectory(prefix="map4l-") as folder, copied(options.tracks) as engine:
        given = handed_over(engine, max(options.users), Path(folder, "given.json"))
        with served(engine, Path(folder), options.processes) as server:
            print(
                f"{options.tracks:,} tracks, processes: {options.processes}, load {os.getloadavg()[0]:.1f} at the start",
                flush=True,
            )
            for users in options.users:
                missed += measure(server, given, users, options.seconds, Path(folder))
        if not options.no_outage:
            missed += outage()
    return 1 if missed else 0


# ------------------------------------------------------------------ what is needed
@contextmanager
def copied(tracks: int) -> Iterator[Engine]:
    """Give a copy of the generated library: the users write into it."""
    from map4_pipeline.store.database import make_engine

    source = prepared(tracks)
    source.dispose()
    server = make_engine(source.url.set(database="postgres").render_as_string(hide_password=False), isolation_level="AUTOCOMMIT")
    with server.connect() as conn:
        conn.exec_driver_sql(f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)")
        conn.exec_driver_sql(f"CREATE DATABASE {_DATABASE} TEMPLATE {source.url.database} STRATEGY file_copy")
    engine = make_engine(source.url.set(database=_DATABASE).render_as_string(hide_password=False))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("ANALYZE")
    try:
        yield engine
    finally:
        engine.dispose()
        with server.connect() as conn:
            conn.exec_driver_sql(f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)")
        server.dispose()


def handed_over(engine: Engine, users: int, path: Path) -> Path:
    """Make an account for each user; write down what locust's users need."""
    from map4_pipeline.store.accounts import create_user
    from map4_pipeline.store.tokens import create_token

    with engine.begin() as conn:
        ids = [create_user(conn, f"load {number}", "user", library_ids=None).id for number in range(users)]
        tokens = [create_token(conn, id_, "load", ["read", "write", "analyze"])[1] for id_ in ids]
        wanted = "SELECT id FROM tracks WHERE status = 'ok' AND hidden_at IS NULL ORDER BY random() LIMIT 20000"
        tracks = list(conn.scalars(text(wanted)))
        mix = Mix(conn)
    makers = (mix.typing, mix.words, mix.scripts, mix.filters, mix.dimensions, mix.sorted)
    chooser = random.Random(1)
    # Fewer queries than requests, as people's are: some of the answers are in the cache.
    queries = [chooser.choice(makers)() for _ in range(2000)]
    path.write_text(json.dumps({"tokens": tokens, "tracks": tracks, "queries": queries}), encoding="utf-8")
    return path


class Server:
    """A running `map4 serve`."""

    def __init__(self, url: str, process: "subprocess.Popen[str]") -> None:
        self.url = url
        self.process = process

    def cpu_seconds(self) -> float:
        """Return what it has used so far, with its children."""
        total = 0.0
        for one in [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]:
            times = one.cpu_times()
            total += times.user + times.system
        return total


@contextmanager
def served(engine: Engine, folder: Path, processes: int) -> Iterator[Server]:
    """Run `map4 serve` on a database, with an embedded Valkey."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAP4_", "DATABASE_", "REDIS_"))}
    environment = kept | {
        "MAP4_HOME": str(folder / "home"),
        "DATABASE_URL": engine.url.set(drivername="postgresql").render_as_string(hide_password=False),
        "MAP4_API_PROCESSES": str(processes),
        "NO_COLOR": "1",
    }
    command = [sys.executable, "-m", "map4_pipeline.cli.main", "serve", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"running on (http://[\d.]+:\d+)", line):
            break
    else:
        raise SystemExit(f"map4 serve ended with {process.wait()}: {''.join(said)}")
    threading.Thread(target=lambda: process.stderr.read() if process.stderr else None, daemon=True).start()
    try:
        wait_until_ready(found.group(1))
        yield Server(found.group(1), process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def wait_until_ready(url: str, seconds: float = 120.0) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{url}/api/health/ready", timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


# ------------------------------------------------------------------ the measurement
def measure(server: Server, given: Path, users: int, seconds: int, folder: Path) -> int:
    """Let users work, and print how long they waited; return how many targets were missed."""
    rate = max(users // 20, 5)
    prefix = folder / f"users-{users}"
    environment = {**os.environ, "MAP4_LOAD": str(given)}
    command = [
        sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("load_users.py")), "--headless", "--host", server.url,
        "--users", str(users), "--spawn-rate", str(rate), "--run-time", f"{seconds + users // rate}s", "--reset-stats",
        "--only-summary", "--csv", str(prefix), "--stop-timeout", "30",
    ]  # fmt: skip
    before = server.cpu_seconds()
    begun = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    took = time.monotonic() - begun
    stats = Path(f"{prefix}_stats.csv")
    if not stats.exists():
        raise SystemExit(f"locust said: {done.stderr[-2000:]}")
    rows = [row for row in csv.DictReader(stats.open(encoding="utf-8")) if row["Name"] != "Aggregated"]
    total = sum(int(row["Request Count"]) for row in rows)
    failed = sum(int(row["Failure Count"]) for row in rows)
    busy = (server.cpu_seconds() - before) / took
    pace = total / max(seconds, 1)
    print(f"\n{users} users, {total} requests ({pace:.0f} a second), {failed} failed; map4 serve busy on {busy:.2f} cores")
    print(f"{'milliseconds':<20}{'n':>7}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}{'failed':>8}")
    kinds: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for row in sorted(rows, key=lambda row: row["Name"]):
        count = int(row["Request Count"])
        kinds.setdefault(row["Name"].split()[0], []).append((count, row))
        values = "".join(f"{float(row[name] or 0):8.0f}" for name in ("50%", "95%", "99%", "Max Response Time"))
        print(f"{row['Name']:<20}{count:>7}{values}{int(row['Failure Count']):>8}")
    missed = failed > 0
    if users <= 50:
        for kind, limit in LIMITS.items():
            value = quantile_of(kinds.get(kind, []), "95%")
            missed += value > limit
            print(f"p95 of {kind}: {value:.0f} ms, to be under {limit:.0f} ms: {'yes' if value <= limit else 'NO'}")
    for line in Path(f"{prefix}_failures.csv").read_text(encoding="utf-8").splitlines()[1:6]:
        print(f"  failed: {line}")
    return int(missed)


def quantile_of(rows: list[tuple[int, dict[str, Any]]], name: str) -> float:
    """Return a quantile of a kind's requests together, from the quantiles that locust gives of each request."""
    marks = {share / 1000: f"{share / 10:g}%" for share in (500, 660, 750, 800, 900, 950, 980, 990, 999, 1000)}
    wanted = float(name.rstrip("%")) / 100 * sum(count for count, _ in rows)

    def below(row: dict[str, Any], limit: float) -> float:
        return max((share for share, mark in marks.items() if float(row[mark] or 0) <= limit), default=0.0)

    limits = sorted({float(row[mark] or 0) for _, row in rows for mark in marks.values()})
    return next((limit for limit in limits if sum(count * below(row, limit) for count, row in rows) >= wanted), 0.0)


# ------------------------------------------------------------------ servers that die
def outage() -> int:
    """Run the test of outages, which kills the embedded Valkey and PostgreSQL under users, and say how it went."""
    print("\nValkey and PostgreSQL killed under users at work (map4_pipeline_tests/api/test_outage.py):", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-s", "-m", "chaos", "map4_pipeline_tests/api/test_outage.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith(("killed", "told", "FAILED")) or " passed" in line or " failed" in line:
            print(f"  {line}")
    return int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
