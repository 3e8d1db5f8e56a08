"""The engine as a whole: the same answer everywhere, quick to start, no heavy imports."""

import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from map4_pipeline.audio import analyse


def _values(path: Path) -> str:
    result = analyse(path)
    return repr((result.technical, result.features, result.fingerprint))


def test_one_and_two_workers_give_identical_results(song: Path) -> None:
    here = _values(song)
    assert _values(song) == here
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(_values, [song] * 4)) == [here] * 4


def test_importing_the_package_is_light() -> None:
    code = "import sys, map4_pipeline.audio, map4_pipeline.fingerprint, map4_pipeline.hamms; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "scipy", "av", "soundfile"} & set(loaded)


def test_the_engine_needs_no_heavy_library(song: Path) -> None:
    code = f"import sys; from map4_pipeline.audio import analyse; analyse({str(song)!r}); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"librosa", "numba", "scipy.signal", "scipy.stats", "pandas", "dagster", "sqlalchemy"} & set(loaded)


def test_nothing_is_printed(song: Path, tmp_path: Path) -> None:
    """libsndfile's MP3 reader writes to file descriptor 2 by itself."""
    from map4_pipeline_tests.audio import sound

    data = bytearray(sound.encode(song, tmp_path / "x.mp3").read_bytes())
    data[5000:5400] = bytes(400)
    (tmp_path / "x.mp3").write_bytes(data)
    code = f"from map4_pipeline.audio import analyse; analyse({str(tmp_path / 'x.mp3')!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""
