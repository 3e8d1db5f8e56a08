"""Small music files and a library to put them into, for tests of ingest, orchestration and the whole pipeline."""

import io
import os
import tempfile
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, text

from map4_pipeline.ingest.progress import Progress, Silent, Summary
from map4_pipeline.ingest.scan import ScanOptions
from map4_pipeline.ingest.session import Session, open_session
from map4_pipeline.ingest.workbench import Workbench
from map4_pipeline.library.encode import encode
from map4_pipeline.library.ledger import Ledger
from map4_pipeline.settings import Settings
from map4_pipeline.store import locks
from map4_pipeline.store.libraries import Library, register_library

RATE = 22050
BOTH = ("features", "fingerprint")


@lru_cache(maxsize=256)
def sound(seed: int, seconds: float = 2.0) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Return a chord with a beat, another one for each seed; shape (samples, 1)."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    tones = 110.0 * 2.0 ** (random.integers(0, 36, 3) / 12.0)
    gate = 0.3 + 0.7 * (np.sin(4 * np.pi * time) > 0)
    mix = sum(np.sin(2 * np.pi * tone * time) for tone in tones) / 4.0 * gate + random.normal(0.0, 0.01, len(time))
    return mix.astype(np.float32)[:, None]


@lru_cache(maxsize=256)
def music_bytes(suffix: str, seed: int, seconds: float = 2.0) -> bytes:
    """Return an audio file's bytes; `suffix` decides the format."""
    if suffix == "wav":
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((sound(seed, seconds) * 30000).clip(-32768, 32767).astype("<i2").tobytes())
        return buffer.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"sound.{suffix}")
        encode(sound(seed, seconds), path, sample_rate=RATE)
        return path.read_bytes()


def write_music(path: Path | bytes, seed: int, seconds: float = 2.0) -> Any:
    """Write an audio file and the folders above it; return the path."""
    name = os.fsencode(path)
    os.makedirs(os.path.dirname(name), exist_ok=True)
    suffix = os.path.splitext(name)[1][1:].decode().lower()
    with open(name, "wb") as file:
        file.write(music_bytes(suffix, seed, seconds))
    return path


@dataclass(slots=True)
class Visit:
    """What one look at a library came to."""

    session: Session
    ledger: Ledger
    summary: Summary = field(default_factory=Summary)

    @property
    def touched(self) -> list[bytes]:
        return [directory.relative_path for directory in self.session.touched]


class Shelf:
    """A folder of music and the database that it is brought into, without Dagster."""

    def __init__(self, engine: Engine, settings: Settings, root: Path) -> None:
        self.engine, self.root = engine, root
        self.bench = Workbench(settings.model_copy(update={"workers": 2}), engine)
        root.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, seed: int, seconds: float = 2.0) -> Path:
        """Write an audio file."""
        path: Path = write_music(self.root / name, seed, seconds)
        return path

    def library(self) -> Library:
        """Return the library's row, registered when need be."""
        with self.engine.begin() as conn:
            return register_library(conn, self.root)

    def open(self, **how: Any) -> Session:
        """Survey the library and open its scan."""
        session = open_session(self.bench, libraries=[self.library()], **how)
        session.begin()
        return session

    def visit(
        self,
        *,
        retry_failed: bool = False,
        verify: bool = False,
        confirm_loss: bool = False,
        stages: Sequence[str] = BOTH,
        progress: Progress | None = None,
    ) -> Visit:
        """Bring the library up to date: survey, scan, analysis, vectors."""
        self.bench.progress = progress or Silent()
        session = self.open(everything=retry_failed or verify, confirm_loss=confirm_loss)
        summary = Summary()
        if session.touched:
            scope = session.scope()
            self.bench.scan(scope, ScanOptions(retry_failed, verify, confirm_loss))
            summary = self.bench.analyse(scope, stages)
            self.bench.vectors(scope)
        return Visit(session, session.finish(), summary)

    def rows(self, statement: str, **values: Any) -> list[Mapping[str, Any]]:
        """Return the rows of a query as mappings."""
        with self.engine.connect() as conn:
            return [dict(row) for row in conn.execute(text(statement), values).mappings()]

    def value(self, statement: str, **values: Any) -> Any:
        """Return the one value of a query."""
        with self.engine.connect() as conn:
            return conn.execute(text(statement), values).scalar_one()

    def directories_held(self) -> int:
        """Count the directories of this database that some process has in hand."""
        query = """SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = :class
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
        held = self.value(query, **{"class": locks._CLASS + 1})
        return int(held)

    def tracks(self) -> dict[str, Mapping[str, Any]]:
        """Return all tracks by relative path (as the file system decodes it)."""
        found = self.rows("SELECT *, relative_path AS path FROM tracks ORDER BY id")
        return {os.fsdecode(bytes(row["path"])): row for row in found}

    def skips(self) -> dict[str, str]:
        """Return {relative path: reason} of the skipped files."""
        found = self.rows("SELECT relative_path, reason FROM skipped_files")
        return {os.fsdecode(bytes(row["relative_path"])): row["reason"] for row in found}

    def files_on_disk(self) -> int:
        """Count what is no folder below the root."""
        return sum(
            len(files) + sum(os.path.islink(os.path.join(base, d)) for d in folders)
            for base, folders, files in os.walk(self.root)
        )


def counts(ledger: Ledger) -> dict[str, int]:
    """Return the ledger's counts that are not zero."""
    return {name: value for name, value in ledger.as_dict().items() if value}
