"""Hard negatives: pieces that share sounds, as remixes, sample packs and one producer's tracks do.

A kit has loops of drums, bass, chords and lead, two bars each, at one tempo and in one key. A piece is an arrangement of a kit:
which loops sound in which four bars, how loud, and a line of its own now and then. What the pieces of a kit share depends on its
kind:

- `loops`: every loop. Two pieces share every sound, as two remixes of one track do.
- `drums`: the drums; bass, chords and lines are each piece's own.
- `chords`: bass and chords; drums and lines are each piece's own.
- `soundfont`: the instruments, tempo and key; what they play is each piece's own.
- `style`: tempo, metre and drum pattern; instruments and notes are each piece's own.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RATE = 22050
_SECONDS = 90
_BARS = 2
KINDS = ("loops", "drums", "chords", "soundfont", "style")


@dataclass(frozen=True, slots=True)
class Sounds:
    """Instruments: harmonics and decay of bass, chords and lines, and the drums' pitch and lengths."""

    bass: tuple[int, float]
    pad: tuple[int, float]
    lead: tuple[int, float]
    kick_hertz: float
    kick_decay: float
    snare_decay: float
    hat_decay: float


@dataclass(frozen=True, slots=True)
class _Kit:
    """What the pieces of a kit share; None where each has its own."""

    length: int
    root: float
    sounds: Sounds
    hits: np.ndarray
    drums: np.ndarray | None
    chords: list[np.ndarray] | None
    lines: list[np.ndarray] | None


def piece(kind: str, kit: int, arrangement: int, seed: int = 1) -> np.ndarray:
    """Return a piece: samples of a 22.05 kHz mono signal of 90 s."""
    shared = _kit(kind, kit, seed)
    rng = np.random.default_rng((seed, KINDS.index(kind), kit, arrangement))
    own, hits = _sounds(rng), rng.random(64)
    sounds = own if kind in ("drums", "style") else shared.sounds
    drums = shared.drums
    if drums is None:
        drums = _drums(rng, shared.length, own if kind == "chords" else sounds, shared.hits if kind == "style" else hits)
    chords = shared.chords or _chords(rng, shared.root, shared.length, sounds)
    lines = shared.lines or _lines(rng, shared.root, shared.length, own if kind == "chords" else sounds)
    return _arranged(rng, [drums, *chords, *lines], shared.length, shared.root)


@lru_cache(maxsize=1)
def _kit(kind: str, kit: int, seed: int) -> _Kit:
    rng = np.random.default_rng((seed, KINDS.index(kind), kit))
    length = int(RATE * 240 / rng.uniform(85, 150) * _BARS)
    root = 45 * 2 ** (rng.integers(12) / 12)
    sounds, hits = _PLAIN if kind == "loops" else _sounds(rng), rng.random(64)
    return _Kit(
        length,
        root,
        sounds,
        hits,
        _drums(rng, length, sounds, hits) if kind in ("loops", "drums") else None,
        _chords(rng, root, length, sounds) if kind in ("loops", "chords") else None,
        _lines(rng, root, length, sounds) if kind == "loops" else None,
    )


_PLAIN = Sounds((3, 3), (5, 0.5), (4, 5), 50, 14, 22, 70)


def _sounds(rng) -> Sounds:
    return Sounds(
        (int(rng.integers(1, 6)), rng.uniform(1, 6)),
        (int(rng.integers(2, 9)), rng.uniform(0.2, 2)),
        (int(rng.integers(1, 9)), rng.uniform(1, 9)),
        rng.uniform(40, 70),
        rng.uniform(8, 24),
        rng.uniform(12, 35),
        rng.uniform(30, 110),
    )


def _arranged(rng, stems: list[np.ndarray], length: int, root: float) -> np.ndarray:
    signal = np.zeros(RATE * _SECONDS, np.float32)
    own = _line(rng, root * 4, length, 16, (4, 5))
    for part, begin in enumerate(range(0, len(signal) - length, length)):
        if part % 2 == 0:
            on = rng.random(len(stems)) < 0.7
            levels = rng.uniform(0.4, 1.0, len(stems))
            solo = rng.random() < 0.6
        mixed = sum((level * stem for level, stem, sounds in zip(levels, stems, on, strict=True) if sounds), np.zeros(length))
        signal[begin : begin + length] += (mixed + (0.5 * own if solo else 0)).astype(np.float32)
    return signal / max(1e-6, float(np.abs(signal).max())) * 0.8


def _drums(rng, length: int, sounds: Sounds, hits: np.ndarray) -> np.ndarray:
    out = np.zeros(length)
    step = length // 32
    for place in range(32):
        t = np.arange(min(step * 2, length - place * step)) / RATE
        hit = np.zeros(len(t))
        if place % 8 == 0 or hits[place] < 0.08:
            hit += np.sin(2 * np.pi * sounds.kick_hertz * t + 6 * np.exp(-t * 40)) * np.exp(-t * sounds.kick_decay)
        if place % 8 == 4:
            hit += rng.normal(size=len(t)) * np.exp(-t * sounds.snare_decay) * 0.6
        if place % 2 == 0 or hits[32 + place] < 0.3:
            hit += np.diff(rng.normal(size=len(t) + 1)) * np.exp(-t * sounds.hat_decay) * 0.25
        out[place * step : place * step + len(t)] += hit
    return out


def _chords(rng, root: float, length: int, sounds: Sounds) -> list[np.ndarray]:
    """Return bass and chords."""
    chords = rng.choice([[0, 8, 3, 10], [0, 5, 7, 5], [0, 9, 5, 7], [0, 3, 10, 5]])
    t = np.arange(length // 4) / RATE
    bass = np.concatenate([_tone(t, root * 2 ** (c / 12), *sounds.bass) for c in chords])
    pads = [sum(_tone(t, root * 4 * 2 ** ((c + i) / 12), *sounds.pad) for i in (0, 3 if c else 4, 7)) / 3 for c in chords]
    pad = np.concatenate(pads)
    pad, bass = (np.pad(stem, (0, length - len(stem))) for stem in (pad, bass))
    return [bass, 0.8 * pad]


def _lines(rng, root: float, length: int, sounds: Sounds) -> list[np.ndarray]:
    return [0.5 * _line(rng, root * high, length, notes, sounds.lead) for high, notes in ((8, 16), (4, 8))]


def _line(rng, root: float, length: int, notes: int, sound: tuple[int, float]) -> np.ndarray:
    out = np.zeros(length)
    step = length // notes
    scale = [0, 2, 3, 5, 7, 8, 10, 12]
    for place in range(notes):
        if rng.random() < 0.75:
            t = np.arange(step) / RATE
            out[place * step : (place + 1) * step] = _tone(t, root * 2 ** (scale[rng.integers(8)] / 12), *sound)
    return out


def _tone(t: np.ndarray, hertz: float, harmonics: int, decay: float) -> np.ndarray:
    return sum(np.sin(2 * np.pi * hertz * k * t) / k for k in range(1, harmonics + 1)) * np.exp(-decay * t) * 0.5
