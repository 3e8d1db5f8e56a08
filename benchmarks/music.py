"""Tracks of real length for the speed benchmarks: a synthesised song, and a file looped."""

import subprocess
from pathlib import Path

from map4_pipeline.library.encode import encode
from map4_pipeline.library.synthesis import Song, render


def make_track(path: Path, seconds: float = 240.0) -> Path:
    """Write a track as 44.1 kHz stereo MP3, 192 kbit/s with a Xing header, unless it is there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        song = Song(124.0, 9, "minor", "house", 240)
        unfinished = path.with_name(f".unfinished-{path.name}")
        encode(render(song, seconds), unfinished, options=("-b:a", "192k"))
        unfinished.replace(path)
    return path


def loop_track(source: Path, path: Path, seconds: float) -> Path:
    """Write a file that repeats another without decoding it, unless it is there."""
    if not path.exists():
        import imageio_ffmpeg

        unfinished = path.with_name(f".unfinished-{path.name}")
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-stream_loop", "-1"]
        command += ["-i", f"file:{source}", "-t", str(seconds), "-map", "0:a", "-c", "copy", f"file:{unfinished}"]
        subprocess.run(command, check=True)
        unfinished.replace(path)
    return path
