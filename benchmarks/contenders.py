"""What is compared: one analysis each of MAP4, of the floor and of every rival that is installed.

`python contenders.py NAME FILE` is one contender in a process of its own, because rivals live in another environment: it analyses
the file once to warm up, says so, and then again for every line it reads, answering with the CPU seconds of its process and its
children. So it needs nothing but the standard library until it is told which contender it is.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Analyses a file; returns CPU seconds of preparation that do not count.
Run = Callable[[str], float]


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who analyses a file.

    Attributes
    ----------
    title : str
        As printed.
    prepare : callable
        Imports what is needed and returns (version, run); ImportError or FileNotFoundError where that is not installed.
    ours : bool
        Runs in MAP4's environment.
    slow : bool
        Takes a good part of a minute a time.
    """

    title: str
    prepare: Callable[[], tuple[str, Run]]
    ours: bool = False
    slow: bool = False


def _floor(whole: bool) -> Callable[[], tuple[str, Run]]:
    def prepare() -> tuple[str, Run]:
        import numpy as np
        import scipy.fft
        import soundfile
        import soxr

        window = np.hanning(2049)[:-1].astype(np.float32)

        class Forward(soundfile.SoundFile):  # type: ignore[misc]
            """Read from start to end: otherwise the decoder steps back after every block."""

            def seekable(self) -> bool:
                return False

        def run(path: str) -> float:
            left_out, parts = 0.0, []
            with Forward(path) as file:
                resampler = soxr.ResampleStream(file.samplerate, 22050, 1, dtype="float32", quality="HQ")
                while True:
                    block = file.read(1 << 16, dtype="float32", always_2d=True)
                    started = time.process_time()
                    mixed = (block[:, 0] + block[:, -1]) * np.float32(0.5)
                    parts.append(resampler.resample_chunk(mixed, last=not len(block)))
                    left_out += 0.0 if whole else time.process_time() - started
                    if not len(block):
                        break
            mono = np.concatenate(parts)
            frames = np.lib.stride_tricks.sliding_window_view(mono, 2048)[::512]
            # In pieces that fit the processor's cache: all at once takes three times as long.
            for start in range(0, len(frames), 128):
                scipy.fft.rfft(frames[start : start + 128] * window, axis=1)
            return left_out

        return f"libsndfile {soundfile.__libsndfile_version__}", run

    return prepare


def _map4(extras: bool) -> Callable[[], tuple[str, Run]]:
    def prepare() -> tuple[str, Run]:
        from map4_pipeline.audio import analyse
        from map4_pipeline.audio.model import FEATURES_VERSION

        def run(path: str) -> float:
            analyse(path, extras=extras)
            return 0.0

        return f"features {FEATURES_VERSION}", run

    return prepare


def _librosa(separate: bool) -> Callable[[], tuple[str, Run]]:
    def prepare() -> tuple[str, Run]:
        import librosa
        import numpy as np

        # Krumhansl & Kessler 1982.
        major = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
        minor = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])

        def run(path: str) -> float:
            signal, rate = librosa.load(path)
            harmonic, percussive = librosa.effects.hpss(signal) if separate else (signal, signal)
            librosa.beat.beat_track(y=percussive, sr=rate)
            chroma = librosa.feature.chroma_cqt(y=harmonic, sr=rate).mean(axis=1)
            [np.corrcoef(chroma, np.roll(profile, shift)) for profile in (major, minor) for shift in range(12)]
            return 0.0

        return librosa.__version__, run

    return prepare


def _essentia_extractor() -> tuple[str, Run]:
    import essentia
    import essentia.standard as es

    def run(path: str) -> float:
        es.MusicExtractor()(path)
        return 0.0

    return essentia.__version__, run


def _essentia(method: str, profile: str) -> Callable[[], tuple[str, Run]]:
    def prepare() -> tuple[str, Run]:
        import essentia
        import essentia.standard as es

        def run(path: str) -> float:
            signal = es.MonoLoader(filename=path)()
            es.RhythmExtractor2013(method=method)(signal)
            es.KeyExtractor(profileType=profile)(signal)
            return 0.0

        return essentia.__version__, run

    return prepare


def _sonara() -> tuple[str, Run]:
    import sonara

    def run(path: str) -> float:
        sonara.analyze_file(path, mode="playlist")
        return 0.0

    return _version("sonara"), run


def _mixxx() -> tuple[str, Run]:
    import mixxx_analyzer

    def run(path: str) -> float:
        mixxx_analyzer.analyze(path)
        return 0.0

    return _version("mixxx-analyzer"), run


def _bliss() -> tuple[str, Run]:
    import bliss_audio

    def run(path: str) -> float:
        bliss_audio.Song(path)
        return 0.0

    return _version("bliss-audio"), run


def _program(name: str, arguments: tuple[str, ...]) -> Callable[[], tuple[str, Run]]:
    def prepare() -> tuple[str, Run]:
        program = shutil.which(name)
        if program is None:
            raise FileNotFoundError(name)

        def run(path: str) -> float:
            subprocess.run([program, *arguments, path], stdout=subprocess.DEVNULL, check=True)
            return 0.0

        return "program", run

    return prepare


def _version(distribution: str) -> str:
    from importlib.metadata import version

    return version(distribution)


CONTENDERS = {
    "floor": Contender("floor: decode, mix, resample, one STFT", _floor(whole=True), ours=True),
    "bare": Contender("the same, decode and STFT counted only", _floor(whole=False), ours=True),
    "core": Contender("MAP4, BPM, key, HAMMS, fingerprint", _map4(extras=False), ours=True),
    "everything": Contender("MAP4, everything", _map4(extras=True), ours=True),
    "fpcalc": Contender("fpcalc (Chromaprint), 120 s", _program("fpcalc", ())),
    "bliss": Contender("bliss-audio", _bliss),
    "keyfinder": Contender("libKeyFinder (keyfinder-cli)", _program("keyfinder-cli", ())),
    "aubio": Contender("aubio tempo", _program("aubio", ("tempo",))),
    "sonara": Contender("sonara, playlist", _sonara),
    "mixxx": Contender("mixxx-analyzer", _mixxx),
    "degara": Contender("Essentia, degara + edma", _essentia("degara", "edma")),
    "librosa": Contender("librosa recipe", _librosa(separate=False)),
    "multifeature": Contender("Essentia, multifeature + bgate", _essentia("multifeature", "bgate")),
    "extractor": Contender("Essentia MusicExtractor", _essentia_extractor, slow=True),
    "hpss": Contender("librosa recipe with HPSS", _librosa(separate=True), slow=True),
}


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def main() -> None:
    """Be one contender."""
    name, path = sys.argv[1:]
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        version, run = CONTENDERS[name].prepare()
    except (ImportError, FileNotFoundError):
        print(json.dumps({"absent": "not installed"}), file=answers)
        return
    try:
        run(path)
    except BaseException as error:  # noqa: BLE001 (a rival may fail in any way; bliss panics with no Exception)
        print(json.dumps({"absent": f"fails: {error!r:.80}"}), file=answers)
        return
    print(json.dumps({"version": version}), file=answers)
    for _ in sys.stdin:
        before, wall = cpu_seconds(), time.perf_counter()
        left_out = run(path)
        print(json.dumps({"cpu": cpu_seconds() - before - left_out, "wall": time.perf_counter() - wall}), file=answers)


if __name__ == "__main__":
    main()
