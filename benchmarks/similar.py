"""Similar tracks: how long a question takes in libraries of 100,000 and 1,000,000 tracks, and whether the answers mean anything.

    python -m benchmarks.similar [--sizes N ...] [--questions N] [--cpu] [--skip-speed] [--skip-meaning]

Speed is that of a warm process over a real connection to PostgreSQL, and what was found is read from the tables. Meaning is that
on the audio in $MAP4_TRUTH_DIR (its sub-folders are kinds of music; `dance` has the style in its files' names), whose vectors are
kept in MAP4_BENCH_HOME.
"""

import argparse
import gc
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.reference import AUDIO, embedded, mix_track, pair_similarities, random_pairs, vectors
from map4_pipeline.audio.model import FEATURES_VERSION
from map4_pipeline.hamms.reference import ALIKE_PERCENTILE, reference
from map4_pipeline.hamms.similarity import COLUMNS, similarities
from map4_pipeline.hamms.transition import MixTable, TransitionRules, scores_between

#: Allowed p95 in ms by size.
LIMITS = {100_000: 20.0, 1_000_000: 100.0}
_FILTERS = ("genre:house", "bpm:118..130 energy>0.6", "genre:jazz year:1960..1975", "key:8A~ bpm:124~", "artist:the")


# ------------------------------------------------------------------ speed
def speed(size: int, questions: int, *, cpu: bool = False) -> None:
    """Print how long questions take in a library of a size, or how much of a processor client and server need."""
    from benchmarks.fake_library import prepared
    from benchmarks.search import clock_of
    from map4_pipeline.store.columns import follow
    from map4_pipeline.store.query import parse_query
    from map4_pipeline.store.similar import index_of, similar_tracks

    engine = prepared(size)
    random = np.random.default_rng(size)
    with engine.connect() as conn:
        clock = clock_of(conn, cpu=cpu)
        started = time.perf_counter()
        first = conn.exec_driver_sql("SELECT min(track_id) FROM track_search WHERE listed AND valence IS NOT NULL").scalar_one()
        similar_tracks(conn, first)
        index = index_of(engine)
        loaded = time.perf_counter() - started
        # As `map4 serve` does.
        follow(engine).catch_up(engine, wait=True)
        gc.collect()
        gc.freeze()
        print(f"\n{size:,} tracks: {len(index):,} vectors read in {loaded:.1f} s, {index.size_bytes / 1e6:.0f} MB held")
        if cpu:
            print("  milliseconds of a processor, client and server together")
        ids = index._table.ids[np.isfinite(index._table._rows["points"]).any(axis=0)]
        asked = random.choice(ids, questions).tolist()
        filters = [parse_query(text) for text in _FILTERS]
        conn.rollback()

        def measure(name: str, ask: Any, limit: float | None = None) -> None:
            times = []
            for number, track_id in enumerate(asked):
                begun = clock()
                ask(track_id, number)
                times.append((clock() - begun) * 1000)
                conn.rollback()
            middle, late, last = np.percentile(times, (50, 95, 100))
            verdict = "" if limit is None else f"   at most {limit:.0f}: {'kept' if late < limit else 'NOT KEPT'}"
            print(f"  {name:<44} p50 {middle:6.1f}  p95 {late:6.1f}  max {last:6.1f} ms{verdict}")

        measure("similar tracks, 20", lambda id_, _: similar_tracks(conn, id_, 20), LIMITS.get(size))
        measure("similar tracks that a filter finds", lambda id_, n: similar_tracks(conn, id_, 20, filters[n % len(filters)]))
        measure("what mixes into it", lambda id_, _: similar_tracks(conn, id_, 20, by="mix"))

        with engine.connect() as writer:

            def write_and_ask(id_: int, number: int) -> None:
                writer.exec_driver_sql(
                    "UPDATE tracks SET energy = energy WHERE id = ANY(%s)", (asked[number % 50 : number % 50 + 32],)
                )
                writer.commit()

            times = []
            for number, id_ in enumerate(asked[:50]):
                write_and_ask(id_, number)
                begun = clock()
                similar_tracks(conn, id_, 20)
                times.append((clock() - begun) * 1000)
                conn.rollback()
            middle, late = np.percentile(times, (50, 95))
            print(f"  {'the first after 32 tracks were written':<44} p50 {middle:6.1f}  p95 {late:6.1f} ms")
    engine.dispose()


# ------------------------------------------------------------------ meaning
def _kept() -> Path:
    home = Path(os.environ.get("MAP4_BENCH_HOME") or Path(tempfile.gettempdir()) / "map4-bench")
    home.mkdir(parents=True, exist_ok=True)
    return home


def _duration(path: Path) -> float:
    import av

    with av.open(str(path)) as container:
        return float(container.duration or 0) / av.time_base


def minutes(folder: Path, seconds: float = 60.0) -> list[tuple[Path, Path, Path]]:
    """Return (track, one minute, another) for tracks of more than 125 s: the minute before the middle and the one after it."""
    import imageio_ffmpeg

    found = []
    kept = _kept() / "minutes"
    for path in sorted(folder.rglob("*")):
        if path.suffix not in AUDIO:
            continue
        length = _duration(path)
        if length < 2 * seconds + 5:
            continue
        cuts = []
        for number, start in enumerate((length / 2 - seconds, length / 2)):
            cut = kept / path.parent.name / f"{path.name}-{number}.wav"
            if not cut.exists():
                cut.parent.mkdir(parents=True, exist_ok=True)
                command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-ss", f"{start:.3f}"]
                command += ["-i", f"file:{path}", "-t", str(seconds), "-map", "0:a:0", f"file:{cut}"]
                subprocess.run(command, check=True)
            cuts.append(cut)
        found.append((path, cuts[0], cuts[1]))
    return found


def _style(row: dict[str, Any]) -> str:
    return re.sub(r"^\d+_", "", Path(row["path"]).name).split(".")[0]


def meaning(folder: Path) -> None:
    """Print what chance calls alike or compatible, and what the nearest tracks are."""
    cache = _kept() / f"similar-{FEATURES_VERSION}.jsonl"
    rows = vectors([folder], cache)
    usual = reference()
    pairs = np.array([(a, b) for a in range(len(rows)) for b in range(len(rows)) if a != b])
    alike = pair_similarities(rows, pairs) >= usual.alike
    print(
        f"\n{len(rows)} tracks of {folder.name}; reference {usual.version} of {sum(usual.provenance['tracks'].values())} tracks"
    )
    print(f"  random pairs called alike (percentile {ALIKE_PERCENTILE:g}, from {usual.alike:.3f}): {100 * alike.mean():.1f}%")
    real = np.array([row["kind"] == "real" for row in rows])
    both = real[pairs[:, 0]] & real[pairs[:, 1]]
    if both.any():
        print(f"  ... among recordings only: {100 * alike[both].mean():.1f}%")
    even = random_pairs(rows, 20_000)
    table = MixTable.of([mix_track(row, number) for number, row in enumerate(rows)])
    for rules in (TransitionRules(), TransitionRules(policy="extended")):
        scores = scores_between(table, table, rules)
        shares = ", ".join(
            f"{100 * (scores[even[:, 0], even[:, 1]] >= limit).mean():.1f}% score {limit}" for limit in (0.6, 0.7, 0.8)
        )
        print(f"  transitions of pairs at random, {rules.policy}: {shares} or more")
    _styles([row for row in rows if row["kind"] == "dance"])
    _other_minutes(folder, rows, cache)


def _styles(rows: list[dict[str, Any]]) -> None:
    if len(rows) < 10:
        return
    points, styles = embedded(rows), np.array([_style(row) for row in rows])
    scores = np.stack([similarities(point, points) for point in points])
    np.fill_diagonal(scores, -1)
    nearest = np.argsort(-scores, axis=1)[:, :5]
    share = (styles[nearest] == styles[:, None]).mean()
    counts = Counter(styles.tolist())
    chance = np.mean([(counts[style] - 1) / (len(rows) - 1) for style in styles])
    print(
        f"  dance: {100 * share:.1f}% of the nearest five share the style, chance {100 * chance:.1f}%: {share / chance:.1f} times"
    )


def _other_minutes(folder: Path, rows: list[dict[str, Any]], cache: Path) -> None:
    cut = minutes(folder)
    if not cut:
        return
    parts = {row["path"]: row for row in vectors([_kept() / "minutes"], cache)}
    whole, points = [row["path"] for row in rows], embedded(rows)
    #: By kind of music: questions, those whose track is first, and those whose other minute is.
    counts: dict[str, NDArray[np.int64]] = {}
    pairs = []
    for path, one, other in cut:
        if str(one) not in parts or str(other) not in parts or str(path) not in whole:
            continue
        place = whole.index(str(path))
        for query, target in ((one, other), (other, one)):
            point, wanted = embedded([parts[str(query)], parts[str(target)]])
            scores = similarities(point, points)
            best = np.nanmax(np.delete(scores, place))
            found = np.array([1, scores[place] > best, similarities(point, wanted[None])[0] > best], np.int64)
            counts[path.parent.name] = counts.get(path.parent.name, 0) + found
            pairs.append((point, wanted, best))
    print(f"  a minute among {len(rows)} tracks    its own track is first    the other minute, in its track's place, is first")
    for kind, (asked, track, minute) in {**counts, "all": sum(counts.values())}.items():
        shares = (f"{count} of {asked} ({100 * count / asked:.0f}%)" for count in (track, minute))
        print(f"    {kind:<22}{next(shares):>24s}{next(shares):>48s}")
    _dimensions(points, pairs)


def _dimensions(points: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray, float]]) -> None:
    """Print how much each dimension varies within tracks, and what it would give if it did not."""
    queries, others = (np.stack([pair[which] for pair in pairs]) for which in (0, 1))
    drawn = np.random.default_rng(1).integers(0, len(points), (2, 20_000))
    print("  dimension               distance between minutes / between tracks   first, if minutes agreed in it")
    for name in dict.fromkeys(COLUMNS):
        columns = [place for place, one in enumerate(COLUMNS) if one == name]

        def apart(first: np.ndarray, second: np.ndarray, columns: list[int] = columns) -> float:
            return float(np.nanmean(np.linalg.norm(first[:, columns] - second[:, columns], axis=1) ** 0.5))

        agreeing = others.copy()
        agreeing[:, columns] = queries[:, columns]
        first = sum(
            similarities(query, one[None])[0] > best for (query, _, best), one in zip(pairs, agreeing, strict=True)
        ) / len(pairs)
        ratio = apart(queries, others) / apart(*points[drawn])
        print(f"    {name:<22}{ratio:>20.2f}{100 * first:>40.0f}%")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(LIMITS))
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--cpu", action="store_true", help="CPU time of client and server: on a busy machine")
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("--skip-meaning", action="store_true")
    options = parser.parse_args(arguments)
    for size in [] if options.skip_speed else options.sizes:
        speed(size, options.questions, cpu=options.cpu)
    if options.skip_meaning:
        return 0
    folder = Path(os.environ.get("MAP4_TRUTH_DIR", ""))
    if not os.environ.get("MAP4_TRUTH_DIR") or not folder.is_dir():
        print("similar: its meaning is not measured (MAP4_TRUTH_DIR names no folder)")
        return 0
    meaning(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
