"""What each measurement costs, in CPU milliseconds for the 4-minute track and as a share of the whole analysis.

    python -m benchmarks.feature_cost [--file TRACK.mp3] [--rounds 5]

From a profile that counts CPU time: the least of a few rounds for every function named below, with what it calls. Indented rows
are parts of the row before. Profiling itself adds a few percent.
"""

import argparse
import cProfile
import pstats
import time
from pathlib import Path

from benchmarks.music import make_track

#: (title, file of the function, its name).
ROWS = (
    ("decoding", "audio/decode_soundfile.py", "blocks"),
    ("channels apart and mixed, their statistics", "audio/intake.py", "_take_ordinary"),
    ("resampling to 22.05 kHz", "soxr/__init__.py", "resample_chunk"),
    ("loudness meter", "audio/loudness.py", "feed"),
    ("  K-weighted power", "audio/loudness.py", "_weigh"),
    ("  bands at the source's rate (extra)", "audio/loudness.py", "_measure_bands"),
    ("  true peak (extra)", "audio/loudness.py", "_measure_peak"),
    ("rhythm spectrum", "audio/spectra.py", "_rhythm"),
    ("tonal spectrum", "audio/spectra.py", "_tonal"),
    ("onset strength", "audio/rhythm.py", "onset_strength"),
    ("  what is struck", "audio/events.py", "struck"),
    ("tempo", "audio/tempo.py", "estimate_tempo"),
    ("  how instruments answer each other", "audio/event_rhythm.py", "event_rhythm"),
    ("stretches of one tempo", "audio/tempo_curve.py", "find_spans"),
    ("onsets by band, for beats and bars", "audio/beats.py", "band_flux"),
    ("beats", "audio/beats.py", "track_beats"),
    ("bars (extra)", "audio/meter.py", "find_meter"),
    ("key, tuning, key changes", "audio/tonality.py", "estimate_key"),
    ("voice (instrumentalness)", "audio/descriptors.py", "instrumentalness"),
    ("sections (extra)", "audio/sections.py", "find_sections"),
    ("Chromaprint", "fingerprint/chromaprint.py", "chromaprint"),
    ("spectral hash", "fingerprint/spectral_hash.py", "spectral_hash"),
)


def profile(path: str) -> tuple[float, dict[tuple[str, str], float]]:
    """Return the CPU seconds of one analysis, and those of each function of `ROWS`, callees included."""
    from map4_pipeline.audio import analyse

    profiler = cProfile.Profile(time.process_time)
    started = time.process_time()
    profiler.runcall(analyse, path)
    total = time.process_time() - started
    seconds: dict[tuple[str, str], float] = {}
    for (file, _, name), (_, _, _, cumulative, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        for _, where, function in ROWS:
            if name == function and file.replace("\\", "/").endswith(where):
                seconds[where, function] = seconds.get((where, function), 0.0) + cumulative
    return total, seconds


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="the track; default: four minutes of synthesised music")
    parser.add_argument("--folder", type=Path, default=Path("bench-results"), help="where the synthesised track is kept")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    path = str(options.file or make_track(options.folder / "four-minutes.mp3"))
    profile(path)
    rounds = [profile(path) for _ in range(options.rounds)]
    total = min(found for found, _ in rounds)
    named = 0.0
    for title, where, name in ROWS:
        least = min(seconds.get((where, name), 0.0) for _, seconds in rounds)
        named += 0.0 if title.startswith(" ") else least
        print(f"{title:<42s} {1000 * least:7.1f} ms {100 * least / total:5.1f}%")
    print(f"{'everything else':<42s} {1000 * (total - named):7.1f} ms {100 * (total - named) / total:5.1f}%")
    print(f"{'the whole analysis':<42s} {1000 * total:7.1f} ms")


if __name__ == "__main__":
    main()
