"""A small fixed set of music whose answers are written down, so that a change of the engine that moves one of them is noticed.

    python -m map4_pipeline_tests.audio.regression           says which answers have changed
    python -m map4_pipeline_tests.audio.regression --write   writes down today's answers, and says which have changed

The music is rendered by MAP4's own arranger: 24 songs, one in each key, 62 to 178 BPM, with swing, detuned, in noise, in the
formats of real libraries. An answer has changed when the tempo has moved by more than 1%, or the key is another one.
"""

import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from map4_pipeline.audio.evaluation import Answer, measure, score, table, wrong
from map4_pipeline.audio.truth import Label
from map4_pipeline.library.encode import encode
from map4_pipeline.library.synthesis import STYLES, Song, render

EXPECTED = Path(__file__).with_name("regression.json")
SONGS = 24
SECONDS = 24.0
TOLERANCE = 0.01
_FORMATS = (
    ("mp3", ("-b:a", "128k")),
    ("opus", ("-b:a", "64k")),
    ("flac", ()),
    ("mp3", ("-b:a", "64k", "-ar", "32000")),
    ("ogg", ()),
    ("m4a", ("-b:a", "96k")),
    ("wav", ()),
)
_SWINGS = (0.5, 0.5, 0.58, 0.5, 2 / 3)
_CENTS = (0.0, 0.0, 18.0, -35.0, 0.0, 42.0, -12.0)


@dataclass(frozen=True, slots=True)
class Item:
    """A song, how loud the noise over it is, and how it is encoded."""

    name: str
    song: Song
    noise: float
    options: tuple[str, ...]


def items() -> list[Item]:
    """Return the set. Steps that have no common divisor with 24 keep key, tempo, style and format apart."""
    found = []
    for index in range(SONGS):
        place = index * 7 % SONGS
        song = Song(
            bpm=round(62 * (178 / 62) ** (index / (SONGS - 1)), 2),
            tonic=place % 12,
            mode="minor" if place >= 12 else "major",
            style=STYLES[index * 5 % len(STYLES)],
            seed=1000 + index,
            swing=_SWINGS[index % len(_SWINGS)],
            cents=_CENTS[index % len(_CENTS)],
        )
        ending, options = _FORMATS[index * 3 % len(_FORMATS)]
        noise = (0.0, 0.0, 0.02, 0.06)[index % 4]
        name = f"{index:02d} {song.style} {song.bpm:g} {song.key}.{ending}"
        found.append(Item(name, song, noise, options))
    return found


def answers(folder: Path) -> Iterator[tuple[Label, Answer]]:
    """Render, encode and analyse the set, one by one."""
    for item in items():
        signal = render(item.song, SECONDS)
        if item.noise:
            signal = signal + np.random.default_rng(item.song.seed).normal(0, item.noise, signal.shape).astype(np.float32)
        path = folder / item.name
        encode(signal, path, options=item.options)
        yield Label(item.name, path, "regression", item.song.bpm, item.song.key), measure(path)
        path.unlink()


def machine() -> str:
    """Return what rounding depends on: system, processor, and the packages that compute and decode."""
    processor = platform.processor() or platform.machine()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor)
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "soxr", "av", "soundfile", "imageio-ffmpeg"))
    return f"{platform.system()} {platform.machine()}, {processor}, {packages}"


def expected() -> dict[str, Any]:
    """Return the machine and the answers that are written down."""
    found: dict[str, Any] = json.loads(EXPECTED.read_text(encoding="utf-8"))
    return found


def changes(found: list[tuple[Label, Answer]], known: dict[str, Any]) -> list[str]:
    """Return a line for every answer that is not the one written down."""
    lines = []
    for label, answer in found:
        before = known.get(label.name)
        if before is None:
            lines.append(f"{label.name}: new, {answer.bpm} BPM, {answer.key}")
            continue
        was = Answer(bpm=before["bpm"], key=before["key"])
        same_tempo = was.bpm == answer.bpm or (was.bpm and answer.bpm and abs(answer.bpm / was.bpm - 1) <= TOLERANCE)
        if not same_tempo or was.key != answer.key:
            verdicts = [f"{reading.bpm} BPM, {reading.key}" + _verdict(label, reading) for reading in (was, answer)]
            lines.append(f"{label.name}: was {verdicts[0]}; is {verdicts[1]}")
    return lines


def _verdict(label: Label, answer: Answer) -> str:
    return " (wrong)" if wrong(label, answer) else " (right)"


def main(arguments: list[str]) -> int:
    """Compare, or write."""
    with tempfile.TemporaryDirectory() as folder:
        found = list(answers(Path(folder)))
    known = expected()["answers"] if EXPECTED.exists() else {}
    changed = changes(found, known)
    print(*changed, f"{len(changed)} of {len(found)} answers have changed.", table(score(found)), sep="\n")
    if "--write" not in arguments:
        return 1 if changed else 0
    written = {label.name: {"bpm": answer.bpm, "key": answer.key} for label, answer in found}
    EXPECTED.write_text(json.dumps({"machine": machine(), "answers": written}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
