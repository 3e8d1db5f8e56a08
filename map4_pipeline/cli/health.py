"""The checks of `map4 doctor` that need no database. Each returns what it found; none raises."""

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from map4_pipeline.settings import Settings

PYTHON = ((3, 11), (3, 14))
#: What is imported to see that the wheels fit this system: each has compiled parts.
_WHEELS = (
    "numpy",
    "scipy.fft",
    "soundfile",
    "soxr",
    "av",
    "psycopg2",
    "pydantic_core",
    "sqlalchemy",
    "dagster",
    "dagster_webserver",
)
#: A format and the ending its file is written with.
_FORMATS = {
    "WAV": "wav", "FLAC": "flac", "MP3": "mp3", "Ogg Vorbis": "ogg", "Opus": "opus", "M4A": "m4a", "AIFF": "aiff",
}  # fmt: skip
_ENOUGH_BYTES, _FEW_BYTES = 5_000_000_000, 500_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found, and what to do about it where something is wrong."""

    name: str
    state: Literal["ok", "warn", "fail"]
    message: str
    advice: str = ""


def run_checks() -> Iterator[Check]:
    """Yield every check's result as it comes."""
    from map4_pipeline.cli import health_services as services
    from map4_pipeline.settings import SettingsError, settings

    yield _python()
    yield from _guarded("wheels", _wheels)
    try:
        configured = settings()
    except SettingsError as error:
        yield Check(
            "settings", "fail", str(error), "Correct or unset these variables (table in the README). The other checks need them."
        )
        return
    yield from _guarded("settings", lambda: _settings(configured))
    yield from _guarded("home", lambda: _home(configured))
    yield from _guarded("workers", lambda: [_workers(configured)])
    yield from _guarded("engine", lambda: [_engine(configured)])
    yield from _guarded("decoders", _decoders)
    yield from _guarded("ffmpeg", _ffmpeg)
    yield from _guarded("database", lambda: services.database(configured))
    yield from _guarded("dagster", lambda: services.dagster(configured))
    yield from _guarded("cache", lambda: services.cache(configured))
    yield from _guarded("map4 up", lambda: services.running_up(configured))


def _guarded(name: str, checks: Callable[[], "Iterator[Check] | list[Check]"]) -> Iterator[Check]:
    """Turn what goes wrong in a check itself into its result, so that the others are still made."""
    from map4_pipeline.cli.failures import explain

    try:
        yield from checks()
    except Exception as error:  # noqa: BLE001 (see above)
        told = explain(error)
        yield Check(name, "fail", told[1] if told else f"{type(error).__name__}: {error}")


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    low, high = PYTHON
    if low <= sys.version_info[:2] < high:
        return Check("python", "ok", f"{version} ({sys.executable})")
    wanted = f"{low[0]}.{low[1]} to {high[0]}.{high[1] - 1}"
    return Check("python", "fail", f"{version} is not supported.", f"Install MAP4 with Python {wanted}.")


def _wheels() -> Iterator[Check]:
    broken = []
    for name in _WHEELS:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 (a compiled module may fail in any way)
            broken.append(f"{name} ({error})")
    if broken:
        yield Check("packages", "fail", f"cannot be imported: {'; '.join(broken)}", "Set the environment up again: make setup")
    else:
        yield Check("packages", "ok", f"{len(_WHEELS)} packages with compiled parts can be imported")


def _settings(configured: "Settings") -> Iterator[Check]:
    unknown = list(_unknown_settings(configured))
    yield from unknown or [Check("settings", "ok", "every setting can be used")]


def _unknown_settings(configured: "Settings") -> Iterator[Check]:
    """Name variables that look like settings and are none: a misspelled one is silently ignored otherwise."""
    from difflib import get_close_matches

    from map4_pipeline.cli.failures import DEBUG_VARIABLE
    from map4_pipeline.settings import environment_name

    known = {environment_name(name) for name in type(configured).model_fields}
    ours = {name.upper() for name in os.environ if name.upper().startswith("MAP4_")}
    for name in sorted(ours - known - {DEBUG_VARIABLE} - _INTERNAL):
        near = get_close_matches(name, sorted(known), n=1)
        advice = f"Did you mean {near[0]}?" if near else "The table of settings is in the README."
        yield Check("settings", "warn", f"{name} is no setting of MAP4 and changes nothing.", advice)


#: Variables that MAP4's own parts and its tests hand each other.
_INTERNAL = frozenset({"MAP4_WAIT_FOR_SOCKET", "MAP4_TEST_POSTGRES", "MAP4_MAKE_LIBRARY", "MAP4_SETUP"})


def _home(configured: "Settings") -> Iterator[Check]:
    from map4_pipeline.reports.text import size

    home = configured.home
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        advice = "Set MAP4_HOME to a folder that this user may write to."
        yield Check("home", "fail", f"{home} cannot be written: {error.strerror or error}.", advice)
        return
    yield Check("home", "ok", str(home))
    free = shutil.disk_usage(home).free
    advice = "A library needs about 40 kB a track, and PostgreSQL room to work."
    if free < _FEW_BYTES:
        yield Check("disk", "fail", f"{size(free)} free in {home}", advice)
    elif free < _ENOUGH_BYTES:
        yield Check("disk", "warn", f"{size(free)} free in {home}", advice)
    else:
        yield Check("disk", "ok", f"{size(free)} free")


def _workers(configured: "Settings") -> Check:
    import psutil

    from map4_pipeline.settings import default_workers

    cores = default_workers()
    memory = psutil.virtual_memory().total
    words = f"{configured.workers} on {cores} cores"
    if configured.workers > cores:
        return Check("workers", "warn", words, "More workers than cores are not faster: unset MAP4_WORKERS.")
    # A worker takes about 300 MB; only very long files come near its limit.
    if configured.workers * 300_000_000 > memory:
        return Check("workers", "warn", f"{words}, {memory / 1e9:.1f} GB of memory", "Set MAP4_WORKERS lower.")
    return Check("workers", "ok", words)


def _engine(configured: "Settings") -> Check:
    from map4_pipeline.audio.engines import EngineError, features_identity, load_engine

    try:
        engine = load_engine(configured.engine)
    except EngineError as error:
        return Check("engine", "fail", str(error), "Set MAP4_ENGINE to an engine that works, or unset it.")
    name, version = features_identity(configured.engine)
    if engine is None:
        return Check("engine", "ok", f"MAP4's own, features version {version}")
    return Check("engine", "ok", f"{name} measures {', '.join(sorted(engine.stages))}, features version {version}")


def _decoders() -> Iterator[Check]:
    """Write a second of sound in each format and analyse it: the whole way from file to numbers."""
    from map4_pipeline.audio import AudioError, analyse
    from map4_pipeline.audio.vector_code import ForbiddenCodeError
    from map4_pipeline.library.encode import encode
    from map4_pipeline.library.synthesis import Song, render

    signal = render(Song(120.0, 9, "minor", "house", 1), 1.5)
    good, bad = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, ending in _FORMATS.items():
            path = Path(folder) / f"sound.{ending}"
            try:
                encode(signal, path)
                analyse(path, stages=("fingerprint",))
            except AudioError as error:
                bad.append(f"{name} ({error})")
            except ForbiddenCodeError as error:
                yield Check("decoders", "fail", "not looked at", str(error))
                return
            except Exception as error:  # noqa: BLE001 (an encoder or decoder that does not run at all)
                bad.append(f"{name} ({type(error).__name__}: {error})")
            else:
                good.append(name)
    if bad:
        yield Check("decoders", "fail", f"cannot be decoded: {'; '.join(bad)}", "Set the environment up again: make setup")
    if good:
        yield Check("decoders", "ok", ", ".join(good))


def _ffmpeg() -> Iterator[Check]:
    """Look at the bundled ffmpeg: it encodes the demo library and can check fingerprints; an analysis does not need it."""
    import subprocess

    import imageio_ffmpeg

    advice = "Only the demo library needs it. Set the environment up again: make setup"
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
        done = subprocess.run(
            [program, "-hide_banner", "-muxers"], capture_output=True, text=True, errors="replace", check=True, timeout=60
        )
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        yield Check("ffmpeg", "warn", f"the bundled ffmpeg does not run: {error}", advice)
        return
    version = imageio_ffmpeg.get_ffmpeg_version()
    chromaprint = any(line.split()[1:2] == ["chromaprint"] for line in done.stdout.splitlines())
    yield Check("ffmpeg", "ok", f"{version}, {'with' if chromaprint else 'without'} Chromaprint")
