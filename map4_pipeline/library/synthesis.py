"""A small arranger: music at a known tempo and key, for the demo library, tests and benchmarks.

Drums, bass, chords and a melody are made from sines and noise and laid on a grid of sixteenths. The result is plain, but it is
music: it has a beat, a bass line that says where the root is, and a tune. Everything follows from the seed.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Signal = NDArray[np.float32]

SAMPLE_RATE = 44100
NOTE_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")

Style = Literal["house", "breaks", "rock", "drum_and_bass", "ballad", "electro"]
STYLES: tuple[Style, ...] = ("house", "breaks", "rock", "drum_and_bass", "ballad", "electro")

_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
# Semitones above the tonic and the chord's mode. All return to the tonic, and none could as well be in the relative key.
_PROGRESSIONS = {
    "major": (
        ((0, "major"), (5, "major"), (7, "major"), (0, "major")),
        ((0, "major"), (9, "minor"), (5, "major"), (7, "major")),
        ((0, "major"), (7, "major"), (5, "major"), (0, "major")),
    ),
    "minor": (
        ((0, "minor"), (5, "minor"), (7, "minor"), (0, "minor")),
        ((0, "minor"), (8, "major"), (5, "minor"), (7, "major")),
        ((0, "minor"), (0, "minor"), (5, "minor"), (7, "major")),
    ),
}
# One bar in sixteenths. x: full, o: soft.
_DRUMS: dict[Style, dict[str, str]] = {
    "house": {"kick": "x...x...x...x...", "snare": "....x.......x...", "hat": "..x...x...x...x.", "tick": "o.o.o.o.o.o.o.o."},
    "breaks": {"kick": "x.....x...x.....", "snare": "....x.......x..o", "hat": "x.x.x.x.x.x.x.x.", "tick": "................"},
    "rock": {"kick": "x.......x.x.....", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x.", "tick": "................"},
    "drum_and_bass": {
        "kick": "x.........x.....",
        "snare": "....x.......x...",
        "hat": "x.x.x.x.x.x.x.x.",
        "tick": "..o...o.o.....o.",
    },
    "ballad": {"kick": "x.......x.......", "snare": "....o.......o...", "hat": "x...x...x...x...", "tick": "................"},
    "electro": {"kick": "x...x...x...x.x.", "snare": "....x.......x...", "hat": "..x...x...x...x.", "tick": "oooooooooooooooo"},
}
_BASS: dict[Style, str] = {
    "house": "..x...x...x...x.",
    "breaks": "x..x..x...x.x...",
    "rock": "x.x.x.x.x.x.x.x.",
    "drum_and_bass": "x.....x...x.....",
    "ballad": "x.......x.......",
    "electro": "x.xxx.xxx.xxx.xx",
}
_CHORDS: dict[Style, str] = {
    "house": "x..x..x...x..x..",
    "breaks": "x.......x.......",
    "rock": "x...x...x...x...",
    "drum_and_bass": "x...............",
    "ballad": "x...............",
    "electro": "x...............",
}


@dataclass(frozen=True, slots=True)
class Song:
    """What a piece is to be.

    Attributes
    ----------
    bpm : float
    tonic : int
        0 is C, 9 is A.
    mode
    style
    seed : int
        Decides melody, progression and timbres.
    swing : float
        Where the middle of a beat falls in it: 0.5 is straight, 2/3 a triplet.
    cents : float
        How far the instruments are tuned from A4 = 440 Hz.
    """

    bpm: float
    tonic: int
    mode: Literal["major", "minor"]
    style: Style
    seed: int
    swing: float = 0.5
    cents: float = 0.0

    @property
    def key(self) -> str:
        """The key as MAP4 writes it: "A minor"."""
        return f"{NOTE_NAMES[self.tonic]} {self.mode}"

    @property
    def bar_seconds(self) -> float:
        """Length of a bar of four beats, seconds."""
        return 240.0 / self.bpm


def render(song: Song, seconds: float) -> "Signal":
    """Play a song.

    Returns
    -------
    ndarray, shape (samples, 2), float32
        44.1 kHz, peaks below 1.
    """
    return _Player(song).play(seconds)


class _Player:
    def __init__(self, song: Song) -> None:
        import numpy as np

        self.song = song
        self.random = random.Random(song.seed)
        self.noise = np.random.default_rng(song.seed)
        self.sixteenth = song.bar_seconds / 16
        self.progression = self.random.choice(_PROGRESSIONS[song.mode])
        self.notes: dict[tuple[Any, ...], Signal] = {}
        # Timbres: how fast the overtones fall, how bright the melody is, how long the chords ring.
        self.chord_slope = self.random.uniform(1.1, 2.2)
        self.lead_slope = self.random.uniform(1.4, 2.6)
        self.lead_even = self.random.choice((0.0, 0.5, 1.0))
        self.motifs = [self._motif() for _ in range(3)]

    def play(self, seconds: float) -> "Signal":
        import numpy as np

        length = round(seconds * SAMPLE_RATE)
        tail = 4 * SAMPLE_RATE
        mix = np.zeros((2, length + tail), np.float32)
        drums = self._drum_bar()
        bars = int(seconds / self.song.bar_seconds) + 1
        for bar in range(bars):
            at = bar * self.song.bar_seconds
            has_drums, has_bass, has_chords, has_lead = self._layers(bar, bars)
            if has_drums:
                self._add(mix, at, drums, 1.0, 1.0)
            semitones, mode = self.progression[bar % 4]
            if has_bass:
                self._bass_bar(mix, at, semitones)
            if has_chords:
                self._chord_bar(mix, at, semitones, mode)
            if has_lead:
                self._lead_bar(mix, at, bar, semitones)
        mix = mix[:, :length]
        fade = min(length, SAMPLE_RATE // 2)
        mix[:, length - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
        return np.ascontiguousarray(np.tanh(mix * 0.9).T * 0.95)

    def _seconds(self, step: int) -> float:
        """Return when a sixteenth of the bar is played."""
        if self.song.swing == 0.5:
            return step * self.sixteenth
        beat, place = divmod(step, 4)
        swing = self.song.swing
        shifted = place / 2 * swing if place < 2 else swing + (place - 2) / 2 * (1 - swing)
        return (beat + shifted) * 4 * self.sixteenth

    @staticmethod
    def _layers(bar: int, bars: int) -> tuple[bool, bool, bool, bool]:
        """Return who plays: an introduction, then all, a break every 16 bars."""
        if bars < 8:
            return True, True, True, True
        if bar < 2:
            return True, True, False, False
        place = bar % 16
        return place not in (12, 13), True, True, place not in (2, 3, 8, 9)

    @staticmethod
    def _add(mix: "Signal", at: float, sound: "Signal", left: float, right: float) -> None:
        start = round(at * SAMPLE_RATE)
        end = min(start + len(sound), mix.shape[1])
        if end > start:
            mix[0, start:end] += sound[: end - start] * left
            mix[1, start:end] += sound[: end - start] * right

    def _drum_bar(self) -> "Signal":
        import numpy as np

        bar = np.zeros(round(self.song.bar_seconds * SAMPLE_RATE) + SAMPLE_RATE, np.float32)
        makers: dict[str, Callable[[], Signal]] = {
            "kick": self._kick,
            "snare": self._snare,
            "hat": lambda: self._hat(0.09, 0.14),
            "tick": lambda: self._hat(0.03, 0.07),
        }
        for name, pattern in _DRUMS[self.song.style].items():
            sound = makers[name]()
            for step, mark in enumerate(pattern):
                if mark != ".":
                    start = round(self._seconds(step) * SAMPLE_RATE)
                    bar[start : start + len(sound)] += sound * (1.0 if mark == "x" else 0.5)
        return bar

    def _kick(self) -> "Signal":
        import numpy as np

        time = np.arange(int(0.28 * SAMPLE_RATE)) / SAMPLE_RATE
        frequency = 48 + 110 * np.exp(-time * 32)
        phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE
        return (0.75 * np.sin(phase) * np.exp(-time * 11)).astype(np.float32)

    def _snare(self) -> "Signal":
        import numpy as np

        time = np.arange(int(0.22 * SAMPLE_RATE)) / SAMPLE_RATE
        noise = self.noise.standard_normal(len(time)) * np.exp(-time * 22)
        body = np.sin(2 * np.pi * 185 * time) * np.exp(-time * 30)
        return (0.16 * noise + 0.3 * body).astype(np.float32)

    def _hat(self, seconds: float, level: float) -> "Signal":
        import numpy as np

        time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
        # Twice differentiated noise is bright enough for a cymbal.
        noise = np.diff(self.noise.standard_normal(len(time) + 2), 2) / 2.4
        return (level * noise * np.exp(-time * 5 / seconds)).astype(np.float32)

    def _note(self, midi: int, seconds: float, slope: float, even: float, attack: float, decay: float) -> "Signal":
        """Return one tone: overtones that fall with `slope`, the even ones scaled by `even`."""
        import numpy as np

        name = (midi, round(seconds, 4), slope, even, attack)
        if name not in self.notes:
            frequency = 440.0 * 2 ** ((midi - 69 + self.song.cents / 100) / 12)
            time = np.arange(int(seconds * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
            tone = np.zeros_like(time)
            for partial in range(1, 7):
                if partial * frequency < 12_000:
                    level = partial**-slope * (even if partial % 2 == 0 else 1.0)
                    if level:
                        tone += level * np.sin((2 * np.pi * partial * frequency) * time)
            envelope = np.minimum(1, time / attack) * np.exp(-time * decay)
            release = min(len(time), int(0.03 * SAMPLE_RATE))
            envelope[len(time) - release :] *= np.linspace(1, 0, release, dtype=np.float32)
            self.notes[name] = (tone * envelope).astype(np.float32)
        return self.notes[name]

    def _bass_bar(self, mix: "Signal", at: float, semitones: int) -> None:
        root = 33 + (self.song.tonic + semitones - 9) % 12
        steps = _BASS[self.song.style]
        for step, mark in enumerate(steps):
            if mark == "x":
                following = steps.find("x", step + 1)
                held = ((following if following > 0 else 16) - step) * self.sixteenth * 0.95
                self._add(mix, at + self._seconds(step), self._note(root, held, 1.4, 1.0, 0.006, 2.0), 0.26, 0.26)

    def _chord_bar(self, mix: "Signal", at: float, semitones: int, mode: str) -> None:
        third = 4 if mode == "major" else 3
        steps = _CHORDS[self.song.style]
        for step, mark in enumerate(steps):
            if mark != "x":
                continue
            following = steps.find("x", step + 1)
            held = ((following if following > 0 else 16) - step) * self.sixteenth
            for index, interval in enumerate((0, third, 7, 12)):
                midi = 57 + (self.song.tonic + semitones + interval - 9) % 12
                attack = 0.012 if held < 0.8 else 0.08
                tone = self._note(midi, held, self.chord_slope, 1.0, attack, 0.8)
                self._add(mix, at + self._seconds(step), tone, 0.075 + 0.012 * index, 0.111 - 0.012 * index)

    def _motif(self) -> list[tuple[int, int, int]]:
        """Return one bar of melody: (step, length in sixteenths, degree of the scale)."""
        notes: list[tuple[int, int, int]] = []
        step, degree = 0, self.random.choice((0, 2, 4))
        while step < 16:
            length = min(self.random.choice((2, 2, 4, 4, 6)), 16 - step)
            if self.random.random() < 0.85:
                notes.append((step, length, degree))
            degree = min(7, max(0, degree + self.random.choice((-2, -1, -1, 1, 1, 2))))
            step += length
        return notes

    def _lead_bar(self, mix: "Signal", at: float, bar: int, semitones: int) -> None:
        scale = _SCALES[self.song.mode]
        motif = self.motifs[(0, 1, 0, 2)[bar % 4]]
        for index, (step, length, degree) in enumerate(motif):
            # The first tone of a bar belongs to the chord, the phrase ends on the tonic.
            interval = scale[degree % 7] + 12 * (degree // 7)
            if index == 0:
                interval = semitones % 12
            elif bar % 4 == 3 and index == len(motif) - 1:
                interval = 12
            midi = 69 + (self.song.tonic - 9) % 12 + interval
            tone = self._note(midi, length * self.sixteenth, self.lead_slope, self.lead_even, 0.015, 2.2)
            start = at + self._seconds(step)
            self._add(mix, start, tone, 0.13, 0.1)
            # An echo a dotted eighth later on the other side.
            self._add(mix, start + 3 * self.sixteenth, tone, 0.025, 0.05)
