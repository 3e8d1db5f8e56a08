"""Duplicates by sound: what is found again, what is mistaken, and what it costs for 100,000 tracks.

- Each track of the set `real` in MAP4_TRUTH_DIR against encodings of it. Its first 130 s are encoded; a fingerprint reads 120.
- Every two different tracks of MAP4_TRUTH_DIR and of the folders in MAP4_MORE_MUSIC (separated by `:`), and pieces made of the
  same loops: what is called the same recording there is a false merge.
- All pairs of 25,000, 50,000 and 100,000 fingerprints, with 5% copies among them, and ten more after that.

Fingerprints once made are kept under MAP4_BENCH_HOME. Times are of the process, on one thread.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.fake_fingerprints import LENGTH, Sources, make, shared_items
from benchmarks.loops import KINDS, RATE, piece
from map4_pipeline.fingerprint.codec import decode, encode
from map4_pipeline.fingerprint.compare import Comparison, compare
from map4_pipeline.fingerprint.index import Prints, collect, make_postings, pairs_within
from map4_pipeline.fingerprint.match import match
from map4_pipeline.fingerprint.versions import MIN_OVERLAP, OTHER_VERSION, SAME_RATE, SAME_RECORDING, Likeness, Side, judge

AUDIO = (".mp3", ".flac", ".ogg", ".m4a", ".opus", ".wav")
SECONDS = 130
_PCM = ["-c:a", "pcm_s16le"]
VARIANTS = {
    "mp3_128.mp3": ["-c:a", "libmp3lame", "-b:a", "128k", "-compression_level", "7"],
    "mp3_320.mp3": ["-c:a", "libmp3lame", "-b:a", "320k", "-compression_level", "7"],
    "ogg.ogg": ["-c:a", "libvorbis", "-q:a", "5"],
    "aac.m4a": ["-c:a", "aac", "-aac_coder", "fast", "-b:a", "128k"],
    "mono11.wav": ["-ac", "1", "-ar", "11025", *_PCM],
    "gain.wav": ["-af", "volume=-6dB", *_PCM],
    "silence.wav": ["-af", "adelay=3000:all=1", *_PCM],
    "first5.wav": ["-ss", "5", *_PCM],
    "mp3_64.mp3": ["-c:a", "libmp3lame", "-b:a", "64k", "-ac", "1", "-ar", "22050", "-compression_level", "7"],
}
WORDS = {
    "mp3_128.mp3": "MP3 128k", "mp3_320.mp3": "MP3 320k", "ogg.ogg": "Ogg Vorbis q5", "aac.m4a": "AAC 128k",
    "mono11.wav": "11 kHz mono", "gain.wav": "-6 dB", "silence.wav": "3 s of silence in front", "first5.wav": "first 5 s cut",
    "last5": "last 5 s cut", "mp3_64.mp3": "MP3 64k mono 22 kHz",
}  # fmt: skip


def main(arguments: list[str]) -> None:
    """Print all tables."""
    if arguments[:1] == ["scale"]:
        _scale(int(arguments[1]))
        return
    truth = os.environ.get("MAP4_TRUTH_DIR")
    if not truth:
        print("not measured: MAP4_TRUTH_DIR names no folder with the truth set")
        return
    folders = [Path(truth), *(Path(part) for part in os.environ.get("MAP4_MORE_MUSIC", "").split(":") if part)]
    originals = _fingerprints(path for path in sorted((folders[0] / "real").iterdir()) if path.suffix in AUDIO)
    variants = _variants(originals)
    _recall(originals, variants)
    others = _fingerprints(
        path for folder in folders for path in sorted(folder.glob("*/*")) if path.suffix in AUDIO and path.parent.name != "real"
    )
    _mistakes(originals | others)
    _loops()
    _save_sources(originals, variants)
    print(
        f"\n{'tracks':>8} {'CPU s':>7} {'peak MB':>8} {'candidates':>11} {'copies found':>13} {'false':>6} {'10 more: CPU s':>15}"
    )
    for tracks in (25_000, 50_000, 100_000):
        subprocess.run([sys.executable, "-m", "benchmarks.duplicates", "scale", str(tracks)], check=True)


# ------------------------------------------------------------------ fingerprints, kept
def _home() -> Path:
    home = Path(os.environ.get("MAP4_BENCH_HOME") or Path(tempfile.gettempdir()) / "map4-bench") / "duplicates"
    home.mkdir(parents=True, exist_ok=True)
    return home


def _analysed(path: Path) -> dict:
    from map4_pipeline.audio.engine import analyse

    found = analyse(path, stages=("fingerprint",))
    return {"fp": found.fingerprint.chromaprint, "dur": found.technical.duration}


def _kept(name: str) -> dict[str, dict]:
    path = _home() / name
    return {line["path"]: line for line in map(json.loads, path.read_text().splitlines())} if path.exists() else {}


def _keep(name: str, row: dict) -> None:
    with (_home() / name).open("a") as file:
        file.write(json.dumps(row) + "\n")


def _fingerprints(paths) -> dict[str, dict]:
    kept, found = _kept("tracks.jsonl"), {}
    for path in paths:
        if str(path) not in kept:
            kept[str(path)] = {"path": str(path), **_analysed(path)}
            _keep("tracks.jsonl", kept[str(path)])
        if kept[str(path)]["fp"]:
            found[str(path)] = kept[str(path)]
    return found


def _variants(originals: dict[str, dict]) -> dict[str, dict[str, dict]]:
    """Return, for each track, its encodings: what is cut off behind 120 s changes the length, not the fingerprint."""
    kept, found = _kept("variants.jsonl"), {}
    program = shutil.which("ffmpeg") or __import__("imageio_ffmpeg").get_ffmpeg_exe()
    for path, row in originals.items():
        wanted = dict(VARIANTS)
        whole = row["dur"] < SECONDS
        if whole:
            wanted["last5.wav"] = ["-t", f"{row['dur'] - 5:.3f}", *_PCM]
        missing = {name: options for name, options in wanted.items() if f"{path}~{name}" not in kept}
        if missing:
            with tempfile.TemporaryDirectory() as folder:
                command = [program, "-v", "error", "-y", "-t", str(SECONDS), "-i", path]
                for name, options in missing.items():
                    command += ["-map", "0:a:0", "-vn", "-map_metadata", "-1", *options, f"{folder}/{name}"]
                subprocess.run(command, check=True)
                for name in missing:
                    done = _analysed(Path(folder) / name)
                    done["dur"] += row["dur"] - min(SECONDS, row["dur"])
                    kept[f"{path}~{name}"] = {"path": f"{path}~{name}", **done}
                    _keep("variants.jsonl", kept[f"{path}~{name}"])
        found[path] = {name.replace("last5.wav", "last5"): kept[f"{path}~{name}"] for name in wanted}
        if not whole:
            found[path]["last5"] = {"fp": row["fp"], "dur": row["dur"] - 5}
    return found


# ------------------------------------------------------------------ what is found, what is mistaken
def _found(rows: list[dict]) -> tuple[dict[tuple[int, int], str], dict[tuple[int, int], Comparison]]:
    """Return the kind of each pair of rows that is called something, and every comparison made."""
    prints = collect([decode(row["fp"]) for row in rows])
    lengths = np.diff(prints.starts)
    kinds, compared = {}, {}
    for one in compare(prints, pairs_within(prints, make_postings(prints)), MIN_OVERLAP):
        pair = one.first, one.second
        compared[pair] = one
        shorter = int(min(lengths[one.first], lengths[one.second]))
        like = Likeness(one.bit_error_rate, one.shift, one.overlap, one.alike, one.distinct, one.background, shorter)
        verdict = judge(like, *(Side(rows[number]["dur"]) for number in pair))
        if verdict is not None:
            kinds[pair] = verdict.kind
    return kinds, compared


def _recall(originals: dict[str, dict], variants: dict[str, dict[str, dict]]) -> None:
    rows, names = [], []
    for path, row in originals.items():
        rows += [row, *variants[path].values()]
        names += [(path, ""), *((path, name) for name in variants[path])]
    kinds, compared = _found(rows)
    total, hit, worst = Counter(), Counter(), Counter()
    for first, second in combinations(range(len(rows)), 2):
        if names[first][0] != names[second][0]:
            continue
        label = WORDS[names[second][1]] if not names[first][1] else "encodings with each other"
        total[label] += 1
        if (first, second) in compared:
            worst[label] = max(worst[label], compared[first, second].bit_error_rate)
        hit[label] += kinds.get((first, second)) == SAME_RECORDING
    print(f"{len(originals)} real tracks against             found           recall   largest bit error rate")
    for label, count in total.items():
        print(f"  {label:<30} {hit[label]:>6} of {count:<6} {100 * hit[label] / count:>6.1f}%   {worst[label]:.3f}")
    main_labels = [label for label in total if label != "encodings with each other"]
    every, right = (sum(part[label] for label in main_labels) for part in (total, hit))
    print(f"  {'all':<30} {right:>6} of {every:<6} {100 * right / every:>6.1f}%")
    wrong = sum(names[a][0] != names[b][0] for a, b in kinds)
    print(f"  pairs of different tracks called anything: {wrong}")


def _mistakes(rows: dict[str, dict]) -> None:
    names = list(rows)
    kinds, compared = _found(list(rows.values()))
    pairs = len(names) * (len(names) - 1) // 2
    count = Counter(kinds.values())
    print(f"\n{len(names):,} different tracks, {pairs:,} pairs, {len(compared):,} compared item by item:")
    print(f"  called the same recording: {count[SAME_RECORDING]}; another version: {count[OTHER_VERSION]}")
    for pair, one in sorted(compared.items(), key=lambda item: item[1].bit_error_rate)[:3]:
        told = ", ".join(Path(names[number]).name for number in pair)
        print(f"  nearest: {one.bit_error_rate:.3f} over {one.overlap} items, {kinds.get(pair, 'nothing')}: {told}")


def _loop_kit(wanted: tuple[str, int, int]) -> list[dict]:
    """Return the fingerprints of a kit's pieces."""
    from map4_pipeline.fingerprint.chromaprint import chromaprint

    kind, kit, arrangements = wanted
    rows = []
    for arrangement in range(arrangements):
        signal = piece(kind, kit, arrangement)
        rows.append({"path": f"{kind}/{kit}/{arrangement}", "fp": chromaprint(signal), "dur": len(signal) / RATE})
    return rows


def _loops(kits: int = 4, arrangements: int = 104) -> None:
    """Print what is mistaken among pieces that share sounds: of five kinds, `kits` times `arrangements` each."""
    kept = _kept("hard.jsonl")
    missing = [
        (kind, kit, arrangements) for kit in range(kits) for kind in KINDS if f"{kind}/{kit}/{arrangements - 1}" not in kept
    ]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for rows in pool.map(_loop_kit, missing):
            for row in rows:
                kept[row["path"]] = row
                _keep("hard.jsonl", row)
    rows = list(kept.values())
    kit_of = [row["path"].rpartition("/")[0] for row in rows]
    kinds, compared = _found(rows)
    print(
        f"\n{len(rows):,} pieces, {arrangements} of each of {len(set(kit_of))} kits; hard: pairs of one kit, by what they share"
    )
    print(f"  {'shared':<12}{'pairs':>8}{'compared':>10}{'same recording':>16}{'another version':>17}   lowest bit error rates")
    hard = wrong = 0
    for kind in KINDS:
        mine = {kit for kit in kit_of if kit.startswith(f"{kind}/")}

        def within(pair: tuple[int, int], mine: set[str] = mine) -> bool:
            return kit_of[pair[0]] == kit_of[pair[1]] and kit_of[pair[0]] in mine

        pairs = sum(n * (n - 1) // 2 for kit, n in Counter(kit_of).items() if kit in mine)
        called = Counter(verdict for pair, verdict in kinds.items() if within(pair))
        rates = sorted(one.bit_error_rate for pair, one in compared.items() if within(pair))
        told = ", ".join(f"{rate:.3f}" for rate in rates[:5])
        print(f"  {kind:<12}{pairs:>8,}{len(rates):>10,}{called[SAME_RECORDING]:>16}{called[OTHER_VERSION]:>17}   {told}")
        hard, wrong = hard + pairs, wrong + called[SAME_RECORDING]
    print(f"  false merges: {wrong} in {hard:,} hard pairs (bar: 1 in 100,000)")


# ------------------------------------------------------------------ cost
def _save_sources(originals: dict[str, dict], variants: dict[str, dict[str, dict]]) -> None:
    fingerprints, errors = [], []
    for path, row in originals.items():
        items = decode(row["fp"])
        fingerprints.append(items)
        for name in ("mp3_128.mp3", "aac.m4a", "silence.wav", "first5.wav"):
            other = decode(variants[path][name]["fp"])
            best = match(items, other)
            ours, theirs = max(0, -best.shift), max(0, best.shift)
            errors.append(items[ours : ours + best.overlap] ^ other[theirs : theirs + best.overlap])
    np.savez(_home() / "sources.npz", *fingerprints, *errors, count=len(fingerprints))


def _sources() -> Sources:
    with np.load(_home() / "sources.npz") as file:
        count = int(file["count"])
        arrays = [file[f"arr_{k}"] for k in range(len(file.files) - 1)]
    return Sources(arrays[:count], arrays[count:])


def _scale(tracks: int) -> None:
    from map4_pipeline.fingerprint.index_files import IndexFiles

    sources = _sources()
    prints, copy_of = make(tracks, sources)
    if tracks == 25_000:
        fakes = [prints.one(number) for number in np.flatnonzero(copy_of < 0)[:2000]]
        print(
            f"items that two different tracks share: {shared_items(sources.fingerprints):.4f} real, "
            f"{shared_items(fakes):.4f} fake; "
            f"each has {LENGTH}, {np.mean([len(np.unique(f)) for f in fakes]):.0f} of them different "
            f"(real: {np.mean([len(np.unique(f)) for f in sources.fingerprints]):.0f})"
        )
    began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = encode(prints.one(0))
    started = time.process_time()
    for _ in range(200):
        decode(text)
    decoding = (time.process_time() - started) / 200 * tracks
    with tempfile.TemporaryDirectory() as folder:
        index = IndexFiles(Path(folder))
        started = time.process_time()
        _append(index, prints)
        found = index.compare_new(MIN_OVERLAP)
        spent = time.process_time() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        same = {(one.first, one.second) for one in found if one.bit_error_rate <= SAME_RATE}
        planted = {(min(a, b), max(a, b)) for a, b in enumerate(copy_of.tolist()) if b >= 0}
        root = np.where(copy_of >= 0, copy_of, np.arange(tracks))
        false = sum(root[a] != root[b] for a, b in same)
        again = Prints(prints.items[: 10 * LENGTH].copy(), prints.starts[:11])
        started = time.process_time()
        opened = IndexFiles(Path(folder), index.state)
        opened.hashes()
        _append(opened, again)
        more = opened.compare_new(MIN_OVERLAP)
        later = time.process_time() - started
    assert len({one.second for one in more if one.bit_error_rate == 0}) == 10
    print(
        f"{tracks:>8,} {spent:>7.1f} {peak / 1024:>8,.0f} {len(found):>11,} "
        f"{len(planted & same):>6,} of {len(planted):<6,} {false:>4} "
        f"{later:>12.2f}    (fakes alone: {began / 1024:,.0f} MB; reading the texts would add {decoding:.0f} s)",
        flush=True,
    )


def _append(index, prints: Prints) -> None:
    for begin in range(0, len(prints), 5000):
        numbers = range(begin, min(begin + 5000, len(prints)))
        index.append([f"{index.state.contents + k:064x}" for k in range(len(numbers))], [prints.one(n) for n in numbers])


if __name__ == "__main__":
    main(sys.argv[1:])
