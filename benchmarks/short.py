"""The tempo of short pieces, and of noise, which has none.

    python -m benchmarks.short [--seconds N ...] [--start N] [--jobs N]

The labelled pieces of $MAP4_TRUTH_DIR are cut by ffmpeg, some seconds from `--start` on. Printed is, by length, how many of those
that are given a tempo have the right one within 4%, twice and half of it, and how many are given none. Noise is white, made here.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.accuracy import labelled
from map4_pipeline.audio.truth import Label

SECONDS = (4.0, 6.0, 8.0, 12.0, 20.0)
#: Lengths of the pieces of noise, and how many of each.
NOISE_SECONDS, NOISES = (3.2, 4.0, 6.0, 8.0, 10.0), 12
TOLERANCE = 0.04


def tempo_of(path: Path) -> tuple[float | None, float | None] | None:
    """Return tempo and confidence of a file; None where it cannot be analysed."""
    from map4_pipeline.audio import AudioError, analyse

    try:
        features = analyse(path, extras=False).features
    except AudioError:
        return None
    return (features.bpm, features.bpm_confidence) if features else None


def of_piece(job: tuple[Label, float, float]) -> tuple[float | None, float | None] | None:
    """Return tempo and confidence of a piece cut out of a labelled file."""
    import imageio_ffmpeg

    label, start, seconds = job
    with tempfile.TemporaryDirectory() as folder:
        cut = Path(folder) / "cut.wav"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-ss", str(start), "-t", str(seconds)]
        subprocess.run([*command, "-i", f"file:{label.path}", f"file:{cut}"], check=True)
        return tempo_of(cut)


def of_noise(job: tuple[int, float]) -> tuple[float | None, float | None] | None:
    """Return tempo and confidence of white noise of a seed and a length."""
    import soundfile

    seed, seconds = job
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.wav"
        soundfile.write(path, np.random.default_rng(seed).standard_normal(int(44100 * seconds)) * 0.1, 44100)
        return tempo_of(path)


def main(arguments: list[str] | None = None) -> int:
    """Cut, analyse and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=SECONDS, help="lengths of the pieces")
    parser.add_argument("--start", type=float, default=20.0, help="where in a file a piece begins, seconds")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    labels = [label for label in labelled("short")[0] if label.bpm]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        if labels:
            print(f"{'seconds':>8s} {'pieces':>7s} {'right':>6s} {'double':>7s} {'half':>6s} {'none':>5s} {'too short':>10s}")
        for seconds in options.seconds if labels else ():
            found = list(pool.map(of_piece, [(label, options.start, seconds) for label in labels], chunksize=4))
            told = [
                answer[0] / label.bpm
                for label, answer in zip(labels, found, strict=True)
                if answer is not None and answer[0] is not None and label.bpm is not None
            ]
            shares = [100 * np.mean([abs(ratio / times - 1) <= TOLERANCE for ratio in told] or [0]) for times in (1, 2, 0.5)]
            none = sum(answer is not None and answer[0] is None for answer in found)
            right, double, half = (f"{share:.0f}%" for share in shares)
            print(f"{seconds:8g} {len(labels):7d} {right:>6s} {double:>7s} {half:>6s} {none:5d} {found.count(None):10d}")
        noise = list(pool.map(of_noise, [(seed, seconds) for seconds in NOISE_SECONDS for seed in range(NOISES)], chunksize=4))
    sure = [answer[1] or 0.0 for answer in noise if answer is not None and answer[0] is not None]
    highest = f", of a confidence of {max(sure):.2f} at the most" if sure else ""
    print(f"noise of {min(NOISE_SECONDS):g} to {max(NOISE_SECONDS):g} s: {len(sure)} of {len(noise)} are given a tempo{highest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
