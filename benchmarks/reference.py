"""Makes `map4_pipeline/hamms/reference.json`: how HAMMS dimensions and similarities are distributed in music.

    python -m benchmarks.reference FOLDER... --cache FILE.jsonl [--out FILE]

Each sub-folder of a FOLDER is a kind of music, its name the kind's; kinds of the same name belong together. Every kind counts the
same, whatever its number of tracks. The vectors are kept in the cache file, so that only new files are analysed. The audio is
that of the truth set (docs/accuracy.md), twice more of its generated half, and 42 recordings.
"""

import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from map4_pipeline.audio.model import FEATURES_VERSION
from map4_pipeline.hamms import DIMENSIONS, HAMMS_VERSION
from map4_pipeline.hamms import reference as module
from map4_pipeline.hamms.mixing import PARTS
from map4_pipeline.hamms.transition import MixTrack, transition
from map4_pipeline.hamms.vector import hamms_vector

#: Bump with every change of what is written.
VERSION = "2"
AUDIO = (".mp3", ".flac", ".ogg", ".m4a", ".opus", ".wav")
PAIRS = 200_000
_FEATURES = ("bpm", "bpm_confidence", "camelot", "key_confidence", "energy", "loudness_lufs")


def vectors(folders: list[Path], cache: Path) -> list[dict[str, Any]]:
    """Return a row for each file: path, kind, hamms, features; analysed unless the cache has it."""
    from map4_pipeline.ingest.worker import analyse_file

    known = {row["path"]: row for row in map(json.loads, cache.open(encoding="utf-8"))} if cache.exists() else {}
    found = []
    with cache.open("a", encoding="utf-8") as kept:
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                if path.suffix not in AUDIO or not path.is_file():
                    continue
                row = known.get(str(path))
                if row is None:
                    analysed = analyse_file(os.fsencode(path), ("features",))
                    if analysed.error_kind:
                        print(f"left out: {path}: {analysed.error_message}")
                        continue
                    features = analysed.payloads["features"]["features"]
                    row = {"path": str(path), "hamms": hamms_vector(features).values}
                    row["features"] = {name: features[name] for name in _FEATURES}
                    kept.write(json.dumps(row) + "\n")
                found.append(row | {"kind": path.relative_to(folder).parts[0]})
    return found


def weights(rows: list[dict[str, Any]]) -> np.ndarray:
    """Return each track's share, so that every kind of music has the same."""
    counts = Counter(row["kind"] for row in rows)
    return np.array([1 / counts[row["kind"]] / len(counts) for row in rows])


def ranks(values: np.ndarray, share: np.ndarray, points: int = 41) -> tuple[list[float], list[float]]:
    """Return values and the share of the music below them, equal values counted half; at most `points` of them."""
    known = np.isfinite(values)
    order = np.argsort(values[known])
    x, w = values[known][order], share[known][order] / share[known].sum()
    distinct, first = np.unique(x, return_index=True)
    mass = np.add.reduceat(w, first)
    middle = np.cumsum(mass) - mass / 2
    wanted = np.unique(np.round(np.interp(np.linspace(0, 1, points), middle, distinct), 6))
    return wanted.tolist(), np.round(np.interp(wanted, distinct, middle), 6).tolist()


def random_pairs(rows: list[dict[str, Any]], count: int, seed: int = 1) -> np.ndarray:
    """Return pairs of different tracks, shape (about count, 2), every kind as likely as another."""
    random = np.random.default_rng(seed)
    drawn = random.choice(len(rows), size=(count, 2), p=weights(rows))
    return np.asarray(drawn[drawn[:, 0] != drawn[:, 1]])


def embedded(rows: list[dict[str, Any]]) -> np.ndarray:
    """Return the embeddings of rows."""
    from map4_pipeline.hamms.similarity import embed_tracks

    return embed_tracks([{**row["features"], "hamms": row["hamms"]} for row in rows])


def pair_similarities(rows: list[dict[str, Any]], pairs: np.ndarray) -> np.ndarray:
    """Return the similarity of each pair."""
    from map4_pipeline.hamms.similarity import compare_rows

    points = embedded(rows)
    return np.asarray(compare_rows(points[pairs[:, 0]], points[pairs[:, 1]]))


def mix_track(row: dict[str, Any], number: int = 0) -> MixTrack:
    """Return a row as a track to mix."""
    return MixTrack(number, **{name: row["features"][name] for name in _FEATURES})


def as_text(written: dict[str, Any]) -> str:
    """Return JSON with a line for each list of numbers."""
    places = ",\n".join(f'  "{name}": {json.dumps(value)}' for name, value in written["dimensions"].items())
    rest = {name: value for name, value in written.items() if name != "dimensions"}
    lines = [f' "{name}": {json.dumps(value)}' for name, value in rest.items()]
    return "{\n" + ",\n".join([*lines, f' "dimensions": {{\n{places}\n }}']) + "\n}\n"


def main(arguments: list[str] | None = None) -> int:
    """Analyse, write, and print what `hamms.mixing.NEUTRAL` has to be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(module.__file__).with_name("reference.json"))
    options = parser.parse_args(arguments)
    rows = vectors(options.folders, options.cache)
    share = weights(rows)
    table = np.array([[np.nan if row["hamms"][name] is None else row["hamms"][name] for name in DIMENSIONS] for row in rows])
    plain = [name for name in DIMENSIONS if name not in ("bpm", "key")]
    counts = Counter(row["kind"] for row in rows)
    written = {
        "version": VERSION,
        "provenance": {
            "made_by": "python -m benchmarks.reference",
            "music": "recordings (real) and rendered music (the rest), each kind counted the same",
            "tracks": dict(sorted(counts.items())),
            "pairs": PAIRS,
            "features_version": FEATURES_VERSION,
            "hamms_version": HAMMS_VERSION,
        },
        "dimensions": {name: ranks(table[:, DIMENSIONS.index(name)], share) for name in plain},
        "similarities": [0.0, 1.0],
    }

    def write() -> None:
        options.out.write_text(as_text(written), encoding="utf-8")
        module.reference.cache_clear()

    # The dimensions' places first: similarity needs them.
    write()
    pairs = random_pairs(rows, PAIRS)
    found = pair_similarities(rows, pairs)
    written["similarities"] = np.round(np.quantile(found, np.linspace(0, 1, 201)), 5).tolist()
    write()
    print(f"{len(rows)} tracks of {len(counts)} kinds, {len(pairs):,} pairs -> {options.out}")
    print(f"similarity at the 50th, 90th, 95th, 99th percentile: {np.quantile(found, (0.5, 0.9, 0.95, 0.99)).round(3)}")
    # What chance gives, without doubt: confidences of 1.
    sure = [{**row, "features": {**row["features"], "bpm_confidence": 1.0, "key_confidence": 1.0}} for row in rows]
    tracks = [mix_track(row) for row in sure]
    drawn = [transition(tracks[a], tracks[b]) for a, b in pairs[:20_000]]
    for name in PARTS:
        print(f"mean fit of {name} at random: {np.mean([one.parts[name].fit for one in drawn]):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
