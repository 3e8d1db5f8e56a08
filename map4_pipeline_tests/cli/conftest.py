"""The program as its users have it: a process of its own, or Click's runner where no process is needed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from sqlalchemy import Engine, insert

from map4_pipeline import settings as settings_module
from map4_pipeline.cli import garbage
from map4_pipeline.cli.main import run
from map4_pipeline.settings import Settings
from map4_pipeline.store.directories import register_directories
from map4_pipeline.store.libraries import Library, register_library
from map4_pipeline.store.schema import directories, scans, tracks

#: Clears the screen, sets the title, breaks the line, turns the text around.
HOSTILE = "\x1b[2J\x1b]0;owned\x07two\nlines \u202eelif\u202c \x9b31m [red]not markup[/] :smile:"
FORMULA = '=HYPERLINK("http://example.org")'

Map4 = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def map4() -> Map4:
    """Run the program to its end; variables are given by name."""

    def start(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", "from map4_pipeline.cli.main import run; run()", *arguments]
        return subprocess.run(
            command,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=120,
        )

    return start


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and its exit code."""

    stdout: str
    stderr: str
    exit_code: int


Invoke = Callable[..., Outcome]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run the program in this process; a defect fails the test."""

    def call(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["map4", *arguments])
        # This process is not the program's: its garbage is looked for as ever.
        monkeypatch.setattr(garbage, "begin", lambda: None)
        settings_module.settings.cache_clear()
        terminated = signal.getsignal(signal.SIGTERM)
        code: Any = 0
        with CliRunner().isolation() as streams:
            try:
                run()
            except SystemExit as leave:
                code = leave.code
            finally:
                signal.signal(signal.SIGTERM, terminated)
            sys.stdout.flush()
            sys.stderr.flush()
            out, err = (stream.getvalue().decode() for stream in streams[:2])
        assert "A defect of MAP4" not in err
        return Outcome(out, err, int(code or 0))

    return call


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of a beat and a chord."""
    path = tmp_path_factory.mktemp("sound") / "beat.wav"
    time = np.arange(4 * 22050) / 22050
    beat = np.exp(-30 * (time % 0.5)) * np.sin(2 * np.pi * 60 * time)
    chord = sum(np.sin(2 * np.pi * f * time) for f in (220.0, 261.63, 329.63)) / 12
    soundfile.write(path, (0.6 * beat + chord).astype(np.float32), 22050)
    return path


@dataclass(frozen=True)
class Seeded:
    """A library with tracks in every state, without any audio."""

    library: Library
    root: Path


@pytest.fixture
def seeded(settings: Settings, engine: Engine, tmp_path: Path) -> Seeded:
    """Three analysed tracks (one with hostile tags), one failed, one missing; a completed scan and a guarded one after it."""
    root = tmp_path / "Music [blue]"
    (root / "album").mkdir(parents=True)
    with engine.begin() as conn:
        library = register_library(conn, root)
        register_directories(conn, library, [b"album"])
        directory_id = conn.execute(directories.select()).one().id

        def add(name: str, **values: Any) -> None:
            (root / "album" / name).touch()
            path = f"album/{name}"
            place = {"library_id": library.id, "directory_id": directory_id, "relative_path": path.encode()}
            names = {"file_path": f"{library.root_text}/{path}", "file_name": name}
            conn.execute(insert(tracks).values(**place, **names, **{"status": "ok", **values}))

        measured = {
            "bpm": 128.04,
            "bpm_confidence": 0.91,
            "key": "A minor",
            "camelot": "8A",
            "key_confidence": 0.8,
            "energy": 0.7,
        }
        vector = {name: 0.5 for name in ("dynamic_range", "key", "bpm")}
        more = {"loudness_lufs": -9.31, "duration": 245.2, "features_version": "1", "hamms_vector": vector}
        alternatives = {"bpm_alternatives": [{"value": 64.02, "probability": 0.05}]}
        add(
            "one.mp3", title="A Title That Is Much Too Long For Any Terminal Of Eighty Columns", artist="Anna", **measured, **more
        )
        add("two.mp3", title=HOSTILE, artist=FORMULA, **measured, **more, **alternatives)
        add("three.mp3", title=None, artist="Käthe & die Wellen 👩\u200d🎤", null_reasons={"bpm": "silence"}, duration=3700.0)
        add("broken.mp3", status="failed", error_kind="damaged", error_message="The end is missing.")
        add("gone.mp3", title="Gone", missing_since="2026-01-02T03:04:05Z", **measured)
        counts = {"seen": 5, "analysed": 3, "failed": 1, "skipped": 1}
        done = {"library_id": library.id, "kind": "full", "finished_at": "2026-01-03T00:00:00Z"}
        conn.execute(insert(scans).values(**done, status="completed", **counts))
        conn.execute(insert(scans).values(**done, status="guarded", message="The library is not there."))
    return Seeded(library, root)
