"""CPU time of the analysis of one 4-minute MP3, beside the floor and the rivals, in one interleaved run.

    python -m benchmarks.engine_speed [--file TRACK.mp3] [--rounds 7] [--rivals-python PATH] [--only NAMES] [--json FILE]

Every contender is a warm process of its own; they take turns, a round each, so that what else the machine does hits all alike.
Counted is CPU time, of child processes too, with every library held to one thread; the medians over the rounds are compared. The
rivals run in the environment of --rivals-python (or MAP4_RIVALS_PYTHON); programs are looked for in the PATH. What is
not there is "not installed", and its bars are not measured.

The floor is what no analysis can do without: decoding with the fastest decoder, and one float32 STFT (2048, 512) of the 22.05 kHz
mono signal, which has to be mixed and resampled for it. How much less it is without those two steps is printed as well.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contenders import CONTENDERS
from benchmarks.music import make_track

#: (contender, at most this many times, whom).
BARS = (
    ("core", 2.0, "floor"),
    ("everything", 3.0, "floor"),
    ("core", 0.5, "sonara"),
    ("core", 0.4, "mixxx"),
    ("core", 0.2, "librosa"),
    ("core", 0.06, "extractor"),
)
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(slots=True)
class Running:
    """A contender's process and what it has needed so far."""

    name: str
    process: subprocess.Popen[str]
    version: str = ""
    absent: str = ""
    cpu: list[float] = field(default_factory=list)

    def answer(self) -> dict[str, object]:
        """Read one line of the contender's; one that has died is absent."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            return dict(json.loads(line))
        code = self.process.wait()
        return {"absent": f"killed: {signal.strsignal(-code)}" if code < 0 else f"ended with exit code {code}"}

    def measure(self) -> None:
        """Let it analyse the file once."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        found = self.answer()
        self.absent = str(found.get("absent", ""))
        if not self.absent:
            self.cpu.append(float(str(found["cpu"])))


def start(name: str, file: Path, rivals_python: str) -> Running:
    """Start a contender and wait until it is warm."""
    script = Path(__file__).with_name("contenders.py")
    python = sys.executable if CONTENDERS[name].ours else rivals_python
    environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1")}
    process = subprocess.Popen(
        [python, "-W", "ignore", str(script), name, str(file)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    running = Running(name, process)
    found = running.answer()
    running.version, running.absent = str(found.get("version", "")), str(found.get("absent", ""))
    return running


def interleaved(names: list[str], file: Path, rivals_python: str, rounds: int) -> list[Running]:
    """Measure all contenders in turns."""
    everybody = [start(name, file, rivals_python) for name in names]
    try:
        for _ in range(rounds):
            for one in everybody:
                if not one.absent:
                    one.measure()
    finally:
        for one in everybody:
            assert one.process.stdin is not None
            one.process.stdin.close()
            one.process.wait()
    return everybody


def table(results: list[Running]) -> str:
    """Return medians, quartiles and the ratio to the floor."""
    floor = next((statistics.median(r.cpu) for r in results if r.name == "floor" and r.cpu), None)
    width = max(len(CONTENDERS[r.name].title) for r in results)
    lines = [f"{'':{width}s}  CPU s   (quartiles)    x floor  version"]
    for r in results:
        title = f"{CONTENDERS[r.name].title:{width}s}"
        if not r.cpu:
            lines.append(f"{title}  {r.absent}")
            continue
        low, middle, high = statistics.quantiles(r.cpu, n=4) if len(r.cpu) > 1 else r.cpu * 3
        ratio = f"{middle / floor:7.2f}" if floor else "      -"
        lines.append(f"{title} {middle:6.3f}  ({low:.3f}-{high:.3f})  {ratio}  {r.version}")
    return "\n".join(lines)


def bars(results: list[Running]) -> str:
    """Return which bars hold."""
    median = {r.name: statistics.median(r.cpu) for r in results if r.cpu}
    lines = []
    for name, factor, other in BARS:
        title = f"{name} <= {factor:g} x {CONTENDERS[other].title.partition(':')[0]}"
        if name in median and other in median:
            ratio = median[name] / median[other]
            lines.append(f"{title:45s} {ratio:6.3f}  {'holds' if ratio <= factor else 'MISSED'}")
        else:
            lines.append(f"{title:45s} not measured")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="the track; default: four minutes of synthesised music")
    parser.add_argument("--folder", type=Path, default=Path("bench-results"), help="where the synthesised track is kept")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rivals-python", default=os.environ.get("MAP4_RIVALS_PYTHON", sys.executable))
    parser.add_argument("--only", help="names, separated by commas: " + ", ".join(CONTENDERS))
    parser.add_argument("--quick", action="store_true", help="leave out those that take half a minute a time")
    parser.add_argument("--json", type=Path, help="also write the CPU seconds of every round here")
    options = parser.parse_args(arguments)
    file = options.file or make_track(options.folder / "four-minutes.mp3")
    names = options.only.split(",") if options.only else list(CONTENDERS)
    names = [name for name in names if not (options.quick and CONTENDERS[name].slow)]
    results = interleaved(names, file.absolute(), options.rivals_python, options.rounds)
    print(f"{file.name}, {options.rounds} rounds")
    print(table(results))
    print(bars(results))
    if options.json:
        found = [
            {"name": r.name, "title": CONTENDERS[r.name].title, "version": r.version, "cpu": r.cpu} for r in results if r.cpu
        ]
        options.json.write_text(json.dumps({"file": file.name, "contenders": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
