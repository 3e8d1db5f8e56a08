"""Search over generated libraries: a mix of what people type, with p50, p95 and p99 by kind, on a real connection, without Redis.

    python -m benchmarks.search [--tracks 100000 1000000] [--rounds 60] [--no-columns] [--explain]

The words, names and values come from the library itself, so that a query's size has the library's distribution. Every query runs
once before it is measured: the process, the connection and the database's memory are warm. A page has 50 tracks with all columns.
Printed besides: the sizes of the tables and indexes, and how the plans look for their rows (none may read the whole of `tracks`).
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, text

from benchmarks.fake_library import prepared

#: Milliseconds within which 95 of 100 searches have to be done, by the library's size.
LIMITS = {100_000: 20.0, 1_000_000: 100.0}
_GENRES = ("House", "Techno", "Classical", "Rock", "Jazz", "Drum and Bass", "Ambient", "Hip-Hop", "Pop", "Trance", "City Pop")
_SORTS = (
    "bpm",
    "-bpm",
    "energy",
    "-energy",
    "-loudness",
    "year",
    "-year",
    "-added",
    "title",
    "artist",
    "-duration",
    "confidence",
    "path",
)


class Mix:
    """Queries of every kind, made of the library's own values."""

    def __init__(self, conn: Connection, seed: int = 1) -> None:
        self._random = random.Random(seed)
        rows = conn.execute(
            text(
                "SELECT title, artist, album FROM tracks TABLESAMPLE SYSTEM (2) REPEATABLE (7) WHERE title <> '' AND artist <> ''"
            )
        ).all()
        self._rows = [tuple(value or "" for value in row) for row in rows]
        self._asian = [
            name for row in self._rows for name in row if any("\u3040" <= sign <= "\u9fff" for sign in name) and len(name) > 2
        ]

    def word(self) -> str:
        """Return a word of some name."""
        return self._random.choice(self._random.choice(self._rows)[self._random.randrange(2)].split() or ["the"])

    def typing(self) -> str:
        """Return the beginning of a word, as a person types it."""
        word = self.word()
        before = f"{self.word()} " if self._random.random() < 0.3 else ""
        return before + word[: self._random.randint(1, len(word))]

    def words(self) -> str:
        """Return names, whole, as a phrase or of one field."""
        row = self._random.choice(self._rows)
        name = self._random.choice([f"{row[1]} {row[0]}", row[1], row[0], f'"{row[0]}"', f"artist:{row[1].split()[0]}"])
        return name if name.strip('"') else "the"

    def scripts(self) -> str:
        """Return two characters of the middle of a Japanese or Chinese name."""
        name = self._random.choice(self._asian)
        at = self._random.randrange(len(name) - 1)
        return name[at : at + 2]

    def _filter(self) -> str:
        r = self._random
        low = r.uniform(70, 175)
        number, letter = r.randint(1, 12), r.choice("AB")
        return r.choice(
            [
                f"bpm:{low:.0f}..{low + r.choice((2, 6, 12)):.0f}",
                f"bpm:{low:.0f}~",
                f"key:{number}{letter}",
                f"key:{number}{letter}~",
                f"energy>{r.uniform(0.3, 0.9):.2f}",
                f"loudness:{r.randint(-18, -8)}..-6",
                f"year:{(year := r.randint(1965, 2020))}..{year + r.randint(0, 9)}",
                f'genre:"{r.choice(_GENRES)}"',
                f"-genre:{r.choice(_GENRES).split()[0]}",
                f"duration<{r.randint(2, 6)}:00",
                f"added:{r.choice((30, 90, 365))}d",
                "format:flac",
                f"mood:{r.choice(('dark', 'happy', 'calm', 'energetic'))}",
            ]
        )

    def filters(self) -> str:
        """Return one to four filters."""
        return " ".join(self._filter() for _ in range(self._random.randint(1, 4)))

    def dimensions(self) -> str:
        """Return limits of two HAMMS dimensions, by energy."""
        r = self._random
        names = r.sample(
            ("danceability", "valence", "acousticness", "instrumentalness", "harmonic_complexity", "dynamic_range"), 2
        )
        return f"{names[0]}>{r.uniform(0.4, 0.9):.2f} {names[1]}<{r.uniform(0.1, 0.6):.2f} sort:-energy"

    def sorted(self) -> str:
        """Return filters and an order."""
        return f"{self.filters()} sort:{self._random.choice(_SORTS)}"

    def contrary(self) -> str:
        """Return an order at whose other end the matches stand."""
        return self._random.choice(
            [
                "genre:classical sort:-energy",
                "genre:metal sort:energy",
                "genre:techno sort:year",
                "loudness>-7 sort:energy",
                'genre:"drum and bass" sort:bpm',
                "energy>0.9 loudness<-15",
                "genre:ambient sort:-loudness",
                "acousticness>0.9 sort:-energy",
            ]
        )

    def states(self) -> str:
        """Return what is wrong with a library."""
        return self._random.choice(
            [
                "is:failed",
                "is:missing",
                "is:conflict sort:-added",
                "is:duplicate sort:title",
                "confidence<0.3 sort:confidence",
                "is:doubtful genre:jazz",
                "is:annotated mood:dark sort:-energy",
                "is:failed sort:-added",
            ]
        )


def main(arguments: list[str] | None = None) -> int:
    """Prepare, measure, print; 1 when a limit is missed or a plan reads all of `tracks`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, nargs="+", default=list(LIMITS))
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=1, help="the fastest of so many counts, where other programs disturb")
    parser.add_argument("--no-columns", dest="columns", action="store_false", help="by the database alone, as `map4 search` does")
    parser.add_argument("--cpu", action="store_true", help="CPU time of client and server: on a busy machine")
    parser.add_argument("--explain", action="store_true", help="also the plans of the slowest query of each kind")
    options = parser.parse_args(arguments)
    missed = 0
    for tracks in options.tracks:
        missed += measure(tracks, options.rounds, options.explain, options.repeat, cpu=options.cpu, columns=options.columns)
    return 1 if missed else 0


def clock_of(conn: Connection, *, cpu: bool) -> Callable[[], float]:
    """Return a clock in seconds: what passes, or what this process and the server's for this connection take of a processor."""
    if not cpu:
        return time.perf_counter
    server = Path(f"/proc/{conn.exec_driver_sql('SELECT pg_backend_pid()').scalar_one()}/schedstat")
    return lambda: time.process_time() + int(server.read_text().split()[0]) / 1e9


def measure(tracks: int, rounds: int, explain: bool, repeat: int = 1, *, cpu: bool = False, columns: bool = True) -> int:
    """Measure one library."""
    from map4_pipeline.store.columns import follow
    from map4_pipeline.store.query import parse_query
    from map4_pipeline.store.search import count, facets, search

    engine = prepared(tracks)
    missed = 0
    if columns:
        begun = time.perf_counter()
        held = follow(engine)
        held.catch_up(engine, wait=True)
        print(f"\ncolumns of {tracks:,} tracks: {held.size_bytes / 1e6:.0f} MB, read in {time.perf_counter() - begun:.1f} s")
    with engine.connect() as conn:
        print(f"\n{tracks:,} tracks\n{sizes(conn)}")
        clock = clock_of(conn, cpu=cpu)
        mix = Mix(conn)
        makers: dict[str, Callable[[], str]] = {
            "typing": mix.typing,
            "words": mix.words,
            "scripts": mix.scripts,
            "filters": mix.filters,
            "dimensions": mix.dimensions,
            "sorted": mix.sorted,
            "contrary order": mix.contrary,
            "states": mix.states,
        }
        times: dict[str, list[float]] = {}
        slowest: dict[str, tuple[float, str]] = {}
        plans: Counter[str] = Counter()

        def timed(kind: str, query: str, work: Callable[[], Any]) -> Any:
            result, took = work(), inf
            for _ in range(repeat):
                begun = clock()
                result = work()
                took = min(took, (clock() - begun) * 1000)
            times.setdefault(kind, []).append(took)
            slowest[kind] = max(slowest.get(kind, (0.0, "")), (took, query))
            return result

        for kind, make in makers.items():
            for _ in range(rounds):
                query = make()
                timed(kind, query, lambda query=query: search(conn, parse_query(query)))
                plans += scans(conn, query)
        for order in ("title", "-added", "bpm", "artist", "-energy genre:rock", "path"):
            after = None
            query = f"sort:{order}"
            for page in range(40):
                parsed = parse_query(query)
                if page % 4 == 0:
                    timed("deep pages", query, lambda parsed=parsed, after=after: search(conn, parsed, 50, after))
                after = search(conn, parsed, 50, after).following
        pages = sorted(took for kind in times for took in times[kind])
        for _ in range(rounds):
            query = mix.filters()
            timed("count up to 10,000", query, lambda query=query: count(conn, parse_query(query), 10_001))
        for _ in range(max(5, rounds // 3)):
            query = mix.filters()
            timed("facets", query, lambda query=query: facets(conn, parse_query(query)))
        for _ in range(3):
            timed("count of everything", "", lambda: count(conn, parse_query("")))
        print(
            f"\n{'CPU milliseconds' if cpu else 'milliseconds':<22}{'n':>6}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}  the slowest"
        )
        for kind, values in times.items():
            print(line(kind, sorted(values)) + f"  {slowest[kind][1]}")
        print(line("all searches", pages))
        limit = LIMITS.get(tracks)
        if limit is not None:
            p95 = quantile(pages, 0.95)
            missed += p95 > limit
            print(f"p95 of all searches: {p95:.1f} ms, to be under {limit:g} ms: {'yes' if p95 <= limit else 'NO'}")
        print("\nhow the plans look for rows: " + ", ".join(f"{name} {n}" for name, n in plans.most_common()))
        missed += plans["Seq Scan on tracks"] > 0
        missed += unchanged_statistics(engine)
        if explain:
            for kind, (took, query) in slowest.items():
                if kind in makers:
                    print(f"\n{kind}: {query} ({took:.0f} ms)\n{plan(conn, query)}")
    engine.dispose()
    return missed


def unchanged_statistics(engine: Engine) -> int:
    """Print what the library's statistics cost, computed and unchanged; 1 when they were computed although nothing changed."""
    from map4_pipeline.store.statistics import refresh_statistics

    with engine.begin() as conn:
        conn.execute(text("DELETE FROM library_statistics"))
    took = []
    for _ in range(2):
        begun = time.perf_counter()
        summary = refresh_statistics(engine)
        took.append(time.perf_counter() - begun)
    print(f"statistics of the whole library: {took[0]:.2f} s computed, {1000 * took[1]:.0f} ms when nothing changed")
    return 0 if summary.unchanged else 1


def quantile(values: list[float], share: float) -> float:
    """Return a quantile of sorted values."""
    return values[min(len(values) - 1, round(share * (len(values) - 1)))]


def line(kind: str, values: list[float]) -> str:
    """Return a line of the table."""
    figures = "".join(f"{quantile(values, share):>9.1f}" for share in (0.5, 0.95, 0.99, 1.0))
    return f"{kind:<22}{len(values):>6}{figures}"


def scans(conn: Connection, query: str) -> Counter[str]:
    """Return how the two statements of a search look for their rows."""
    from map4_pipeline.store.query import parse_query
    from map4_pipeline.store.search import statements

    found: Counter[str] = Counter()
    for statement in statements(parse_query(query)):
        [tree] = conn.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement.text}", statement.values).scalar_one()
        _nodes(tree["Plan"], found)
    return found


def _nodes(node: dict[str, Any], found: Counter[str]) -> None:
    kind = node["Node Type"]
    if "Scan" in kind and kind not in ("Subquery Scan", "Bitmap Index Scan"):
        found[f"{kind} on {node.get('Relation Name') or node.get('Index Name')}"] += 1
    for child in node.get("Plans", ()):
        _nodes(child, found)


def plan(conn: Connection, query: str) -> str:
    """Return the plans of a search as they ran."""
    from map4_pipeline.store.query import parse_query
    from map4_pipeline.store.search import statements

    told = []
    for statement in statements(parse_query(query)):
        rows = conn.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {statement.text}", statement.values)
        told.append("\n".join(row[0] for row in rows))
    return "\n--\n".join(told)


def sizes(conn: Connection) -> str:
    """Return the sizes of the tables and of the search's indexes."""
    tables = conn.execute(
        text(
            "SELECT relname, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class "
            "WHERE relname IN ('tracks', 'track_search') AND relkind = 'r' ORDER BY relname DESC"
        )
    )
    lines = [f"{name}: {table / 1e6:,.0f} MB, its indexes {indexes / 1e6:,.0f} MB" for name, table, indexes in tables]
    indexes = conn.execute(
        text(
            "SELECT indexrelname, pg_relation_size(indexrelid) FROM pg_stat_user_indexes WHERE relname = 'track_search' "
            "ORDER BY 2 DESC"
        )
    )
    told = ", ".join(f"{name.removeprefix('idx_track_search_')} {size / 1e6:.0f}" for name, size in indexes)
    return "\n".join([*lines, f"MB of each: {told}"])


if __name__ == "__main__":
    sys.exit(main())
