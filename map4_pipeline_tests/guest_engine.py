"""An engine as a user installs it: a module and the metadata of its package in a folder on `sys.path`."""

import importlib
import shutil
import sys
import textwrap
from pathlib import Path

import pytest

from map4_pipeline.audio.engines import load_engine

#: Answers a tempo and a key of its own, whatever it hears; fails on files whose name says so.
METRONOME = """
from map4_pipeline.audio.engines import KeyReading, TempoReading
from map4_pipeline.audio.model import Candidate


class Metronome:
    name = "metronome"
    version = "{version}"
    stages = ("tempo", "key")
    wants_samples = False

    def tempo(self, sound):
        if "refuse" in sound.path:
            raise ValueError("no such model\\nfile")
        return TempoReading(77.7, 0.625, (Candidate(155.4, 0.25),))

    def key(self, sound):
        return KeyReading("F#m", None, (Candidate("11B", 0.125),))
"""


class EngineShop:
    """Installs engines into a folder.

    Attributes
    ----------
    folder : Path
        What a process of its own needs in its PYTHONPATH.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        monkeypatch.syspath_prepend(str(folder))
        self._modules: list[str] = []

    def install(
        self,
        source: str = METRONOME,
        *,
        name: str = "metronome",
        target: str = "Metronome",
        version: str = "1.0",
        package: str = "metronome-for-map4",
    ) -> None:
        """Install a package whose entry point `name` is `target` in a module with this source."""
        module = package.replace("-", "_")
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source).replace("{version}", version), encoding="utf-8")
        for old in self.folder.glob(f"{module}-*.dist-info"):
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[map4.engines]\n{name} = {module}:{target}\n", encoding="utf-8")
        self._modules.append(module)
        self.forget()

    def forget(self) -> None:
        """Forget what was loaded, as a new process would."""
        load_engine.cache_clear()
        # Two sources of one size, written in one second, would be one to the compiler's cache.
        shutil.rmtree(self.folder / "__pycache__", ignore_errors=True)
        importlib.invalidate_caches()
        for module in self._modules:
            sys.modules.pop(module, None)
