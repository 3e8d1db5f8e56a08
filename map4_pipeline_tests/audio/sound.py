"""Sound for tests: clicks, drums and chords of known tempo and key, and their encoding by the bundled ffmpeg."""

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg
import numpy as np
import soundfile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from map4_pipeline.audio.loudness import LoudnessMeter

RATE = 44100
_SCALES = {"major": (0, 4, 7), "minor": (0, 3, 7)}


def times(seconds: float, rate: int = RATE) -> "NDArray[np.float64]":
    return np.arange(int(seconds * rate)) / rate


def tone(hertz: float, seconds: float, rate: int = RATE, partials: int = 4) -> "NDArray[np.float64]":
    t = times(seconds, rate)
    wave = np.zeros(len(t))
    for k in range(1, partials + 1):
        wave += np.sin(2 * np.pi * hertz * k * t) * 0.6 ** (k - 1)
    return wave


def add(target: "NDArray[np.float64]", part: "NDArray[np.float64]", at: float, rate: int = RATE) -> None:
    start = round(at * rate)
    end = min(len(target), start + len(part))
    if start < end:
        target[start:end] += part[: end - start]


def kick(rate: int = RATE) -> "NDArray[np.float64]":
    t = times(0.15, rate)
    return np.exp(-t * 25) * np.sin(2 * np.pi * (50 * t + 2.0 * (1 - np.exp(-t * 40))))


def hat(seed: int, rate: int = RATE) -> "NDArray[np.float64]":
    t = times(0.05, rate)
    return np.diff(np.random.default_rng(seed).standard_normal(len(t) + 1)) * np.exp(-t * 90) * 0.15


def drums(bpm: float, seconds: float, rate: int = RATE, start: float = 0.1) -> "NDArray[np.float64]":
    """Kick on every beat, a snare-like burst on two and four, a hat between the beats."""
    out = np.zeros(int(seconds * rate))
    beat = 60 / bpm
    for k in range(int((seconds - start) / beat) + 1):
        add(out, kick(rate), start + k * beat, rate)
        if k % 2:
            add(out, hat(k, rate) * 4, start + k * beat, rate)
        add(out, hat(1000 + k, rate), start + (k + 0.5) * beat, rate)
    return out * 0.5


def chords(tonic: int, mode: str, seconds: float, rate: int = RATE, cents: float = 0.0) -> "NDArray[np.float64]":
    """The cadence I IV V I (minor: i iv v i) over and over, two seconds a chord, with a bass; `tonic` 0 is C."""
    out = np.zeros(int(seconds * rate))
    degrees = (0, 5, 7, 0)
    for k in range(int(seconds / 2) + 1):
        root = tonic + degrees[k % 4]
        for interval in _SCALES[mode]:
            hertz = 440 * 2 ** ((root + interval - 9 + cents / 100) / 12)
            part = tone(hertz if hertz < 500 else hertz / 2, 2.0, rate)
            add(out, part * np.exp(-times(2.0, rate)) * 0.1, 2.0 * k, rate)
        bass = 110 * 2 ** (((root - 9) % 12 + cents / 100) / 12)
        add(out, tone(bass, 2.0, rate, 2) * np.exp(-times(2.0, rate)) * 0.15, 2.0 * k, rate)
    return out


def loop(triads: list[tuple[int, str]], seconds: float, rate: int = RATE) -> "NDArray[np.float64]":
    """Triads (root, mode) over and over, two seconds each, with the root in the bass; root 0 is C."""
    out = np.zeros(int(seconds * rate))
    fading = np.exp(-times(2.0, rate))
    for k in range(int(seconds / 2)):
        root, mode = triads[k % len(triads)]
        for interval in (0, 3 if mode == "minor" else 4, 7):
            hertz = 220 * 2 ** (((root + interval - 9) % 12) / 12)
            add(out, tone(hertz, 2.0, rate) * fading * 0.1, 2.0 * k, rate)
        add(out, tone(110 * 2 ** (((root - 9) % 12) / 12), 2.0, rate, 2) * fading * 0.15, 2.0 * k, rate)
    return out


def write(path: Path, signal: "NDArray[np.float64]", rate: int = RATE, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, signal, rate, subtype=subtype)
    return path


def ffmpeg(*arguments: str | Path) -> str:
    """Run the bundled ffmpeg and return what it says."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-y", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def encode(source: Path, target: Path, *arguments: str) -> Path:
    ffmpeg("-i", source, *arguments, target)
    return target


def feed(meter: "LoudnessMeter", planes: "NDArray[np.float32]") -> None:
    """Give a meter a block, shape (channels, frames)."""
    room = meter.room(planes.shape[1])
    room[:] = planes
    meter.feed(room, float(np.abs(planes).max()))
