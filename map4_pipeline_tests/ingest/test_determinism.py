"""The same file gives the same values, bit for bit: on one worker or several, again and again, whatever threads BLAS has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from map4_pipeline.ingest.pool import WorkerPool
from map4_pipeline.ingest.worker import analyse_file
from map4_pipeline.library.encode import encode
from map4_pipeline.library.synthesis import Song, render

STAGES = ("features", "fingerprint")


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Four songs in four formats, long enough for every measurement; stereo and, once, mono at the engine's own rate."""
    folder = tmp_path_factory.mktemp("tracks")
    paths: list[Path] = []
    for index, (name, style) in enumerate((("a.mp3", "house"), ("b.flac", "rock"), ("c.ogg", "breaks"), ("d.wav", "ballad"))):
        samples = render(Song(100.0 + 9 * index, index * 5, "minor" if index % 2 else "major", style, index), 20.0)  # type: ignore[arg-type]
        paths.append(folder / name)
        if name == "d.wav":
            encode(samples[::2, :1], paths[-1], sample_rate=22050)
        else:
            encode(samples, paths[-1])
    return [os.fsencode(path) for path in paths]


def values(path: bytes) -> str:
    """Return everything that would be stored of a file, every digit of it."""
    found = analyse_file(path, STAGES)
    assert found.error_kind is None, found.error_message
    return json.dumps(found.payloads, sort_keys=True)


def on_workers(tracks: list[bytes], workers: int) -> list[str]:
    """Return the values of the tracks, each analysed three times by a pool."""
    with WorkerPool(workers) as pool:
        futures = [pool.submit(values, path) for _ in range(3) for path in tracks]
        return [future.result(120) for future in futures]


def test_one_worker_several_workers_and_repeated_runs_agree_bit_for_bit(tracks: list[bytes]) -> None:
    here = [values(path) for path in tracks]
    assert len(set(here)) == len(tracks)
    assert all('"bpm"' in found and '"chromaprint"' in found for found in here)
    assert on_workers(tracks, 1) == here * 3
    assert on_workers(tracks, 3) == here * 3


@pytest.mark.slow
def test_threads_of_blas_do_not_change_a_bit(tracks: list[bytes]) -> None:
    script = (
        "import json, sys\n"
        "from map4_pipeline_tests.ingest.test_determinism import values\n"
        "print(json.dumps([values(path.encode()) for path in sys.argv[1:]]))\n"
    )
    found = []
    for threads in ("1", "4"):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        command = [sys.executable, "-W", "ignore", "-c", script, *(os.fsdecode(path) for path in tracks)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    assert found[0] == found[1] == [values(path) for path in tracks]


def test_order_does_not_matter(tracks: list[bytes]) -> None:
    """What one track leaves behind in a process (caches, tables) is not heard in the next."""
    forwards = [values(path) for path in tracks]
    assert [values(path) for path in reversed(tracks)] == forwards[::-1]
