"""Hard negatives: pieces put together from the same loops, as remixes and sample packs are.

A kit has loops of drums, bass, chords and lead, two bars each, at one tempo and in one key. A piece is an arrangement of a kit:
which loops sound in which four bars, how loud, and a line of its own now and then. Two pieces of a kit share every sound.
"""

import numpy as np

RATE = 22050
_SECONDS = 90
_BARS = 2


def pieces(kits: int, arrangements: int, seed: int = 1):
    """Yield (kit, arrangement, samples of a 22.05 kHz mono signal)."""
    for kit in range(kits):
        rng = np.random.default_rng((seed, kit))
        tempo = rng.uniform(85, 150)
        root = 45 * 2 ** (rng.integers(12) / 12)
        length = int(RATE * 240 / tempo * _BARS)
        stems = [_drums(rng, length), *_tonal(rng, root, length)]
        for arrangement in range(arrangements):
            mine = np.random.default_rng((seed, kit, arrangement))
            yield kit, arrangement, _arranged(mine, stems, length, root)


def _arranged(rng, stems: list[np.ndarray], length: int, root: float) -> np.ndarray:
    signal = np.zeros(RATE * _SECONDS, np.float32)
    own = _line(rng, root * 4, length, 16)
    for part, begin in enumerate(range(0, len(signal) - length, length)):
        if part % 2 == 0:
            on = rng.random(len(stems)) < 0.7
            levels = rng.uniform(0.4, 1.0, len(stems))
            solo = rng.random() < 0.6
        piece = sum((level * stem for level, stem, sounds in zip(levels, stems, on, strict=True) if sounds), np.zeros(length))
        signal[begin : begin + length] += (piece + (0.5 * own if solo else 0)).astype(np.float32)
    return signal / max(1e-6, float(np.abs(signal).max())) * 0.8


def _drums(rng, length: int) -> np.ndarray:
    out = np.zeros(length)
    step = length // 32
    for place in range(32):
        t = np.arange(min(step * 2, length - place * step)) / RATE
        hit = np.zeros(len(t))
        if place % 8 == 0 or rng.random() < 0.08:
            hit += np.sin(2 * np.pi * 50 * t + 6 * np.exp(-t * 40)) * np.exp(-t * 14)
        if place % 8 == 4:
            hit += rng.normal(size=len(t)) * np.exp(-t * 22) * 0.6
        if place % 2 == 0 or rng.random() < 0.3:
            hit += np.diff(rng.normal(size=len(t) + 1)) * np.exp(-t * 70) * 0.25
        out[place * step : place * step + len(t)] += hit
    return out


def _tonal(rng, root: float, length: int) -> list[np.ndarray]:
    chords = rng.choice([[0, 8, 3, 10], [0, 5, 7, 5], [0, 9, 5, 7], [0, 3, 10, 5]])
    t = np.arange(length // 4) / RATE
    bass = np.concatenate([_tone(t, root * 2 ** (c / 12), 3, 3) for c in chords])
    pads = [sum(_tone(t, root * 4 * 2 ** ((c + i) / 12), 5, 0.5) for i in (0, 3 if c else 4, 7)) / 3 for c in chords]
    pad = np.concatenate(pads)
    pad, bass = (np.pad(stem, (0, length - len(stem))) for stem in (pad, bass))
    return [bass, 0.8 * pad, 0.5 * _line(rng, root * 8, length, 16), 0.5 * _line(rng, root * 4, length, 8)]


def _line(rng, root: float, length: int, notes: int) -> np.ndarray:
    out = np.zeros(length)
    step = length // notes
    scale = [0, 2, 3, 5, 7, 8, 10, 12]
    for place in range(notes):
        if rng.random() < 0.75:
            t = np.arange(step) / RATE
            out[place * step : (place + 1) * step] = _tone(t, root * 2 ** (scale[rng.integers(8)] / 12), 4, 5)
    return out


def _tone(t: np.ndarray, hertz: float, harmonics: int, decay: float) -> np.ndarray:
    return sum(np.sin(2 * np.pi * hertz * k * t) / k for k in range(1, harmonics + 1)) * np.exp(-decay * t) * 0.5
