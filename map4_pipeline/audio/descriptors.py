"""The descriptors behind the other HAMMS dimensions, each measured, each in [0, 1].

Every function names its formula, its unit and its source. The ends of the scales are round figures near the 1st and the 99th
percentile of 100 pieces of the truth set (real recordings, rendered scores, generated dance tracks): conventions, so that
music spreads over [0, 1], not measurements.
"""

from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.rhythm import Onsets
from map4_pipeline.audio.spectra import RHYTHM_FPS, Spectra
from map4_pipeline.audio.tempo import Tempo
from map4_pipeline.audio.tonality import Tonality
from map4_pipeline.audio.voice import voice_probability

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Frames a block of `excerpt`, and how many blocks at most.
_BLOCK, _MAX_BLOCKS = 256, 256


def scale(value: float, low: float, high: float) -> float:
    """Return the place of `value` between `low` and `high`, clipped to [0, 1]."""
    return float(min(1.0, max(0.0, (value - low) / (high - low))))


def excerpt(spectra: Spectra) -> "NDArray[np.float32]":
    """Return mel power in blocks of 256 frames (3 s), shape (blocks, 256, 40), without the silent ones.

    At most 256 blocks, evenly spread: all of a track of up to 12 minutes, a fair sample of a mix, in bounded memory. A block
    50 dB under the loud ones is silence or fade and says nothing about timbre.
    """
    count = len(spectra.mel) // _BLOCK
    if count == 0:
        padded = np.zeros((1, _BLOCK, spectra.mel.shape[1]), np.float32)
        padded[0, : len(spectra.mel)] = spectra.mel
        return padded
    chosen = np.unique(np.linspace(0, count - 1, min(count, _MAX_BLOCKS)).round().astype(int))
    power = spectra.power[: count * _BLOCK].reshape(count, _BLOCK).mean(axis=1)[chosen]
    chosen = chosen[power >= np.percentile(power, 95) * 1e-5]
    return np.asarray(spectra.mel[: count * _BLOCK].reshape(count, _BLOCK, -1)[chosen])


def centroid_hz(spectra: Spectra) -> float | None:
    """Return the mean spectral centroid in Hz, each frame weighted by the square root of its power (Peeters 2004)."""
    weight = np.sqrt(spectra.power.astype(np.float64))
    total = float(weight.sum())
    return float((spectra.centroid * weight).sum() / total) if total > 0 else None


def spectral_centroid(hertz: float) -> float:
    """Return brightness in [0, 1]: log2 of the centroid between 125 Hz and 4 kHz; music lies at 120 to 1400 Hz, hiss above."""
    return scale(float(np.log2(max(hertz, 1.0) / 125)), 0.0, 5.0)


def onset_rate(onsets: Onsets) -> float:
    """Return onsets a second: local maxima of the envelope over its mean plus half a deviation."""
    e = onsets.full
    if len(e) < 3:
        return 0.0
    threshold = float(e.mean() + 0.5 * e.std())
    peaks = (e[1:-1] > e[:-2]) & (e[1:-1] >= e[2:]) & (e[1:-1] > threshold)
    return float(np.count_nonzero(peaks)) / (len(e) / RHYTHM_FPS)


def energy(loudness_lufs: float, rate: float, brightness: float) -> float:
    """Return perceived intensity: 0.5 loudness (-40 to -6 LUFS) + 0.3 onset rate (1 to 12 a second) + 0.2 brightness.

    Loudness, onset rate and timbre are what listeners' arousal ratings follow.
    Source: Gabrielsson & Lindstroem 2010; Schubert 2004.
    """
    return 0.5 * scale(loudness_lufs, -40, -6) + 0.3 * scale(rate, 1, 12) + 0.2 * brightness


def danceability(tempo: Tempo, low_pulse: float) -> float | None:
    """Return fitness for dancing: 0.45 pulse clarity + 0.25 pulse of the low bands + 0.3 nearness to 120 BPM.

    Pulse clarity is the height of the onset autocorrelation at the beat, its double or fourfold, 0.15 to 0.95 (Lartillot 2008),
    that of the low bands at the beat counts from 0.1 to 0.9, where kick and bass carry the beat; nearness is
    exp(-(log2(bpm / 120) / 0.5)^2 / 2), the resonance of walking and dancing (van Noorden & Moelants 1999).
    """
    if tempo.bpm is None:
        return None
    near = float(np.exp(-0.5 * (np.log2(tempo.bpm / 120) / 0.5) ** 2))
    return 0.45 * scale(tempo.pulse, 0.15, 0.95) + 0.25 * scale(low_pulse, 0.1, 0.9) + 0.3 * near


def pulse_at(envelope: "NDArray[np.float32]", bpm: float) -> float:
    """Return the autocorrelation of an onset envelope, shape (n,), at one beat, its mean taken out, in [0, 1].

    The larger of the two lags (frames) round a beat of `bpm`; 0 where neither is positive or the envelope is shorter.
    """
    lag = 60 / bpm * RHYTHM_FPS
    x = envelope.astype(np.float64) - float(envelope.mean())
    total = float(x @ x)
    if total <= 0:
        return 0.0
    best = 0.0
    for k in (int(lag), int(lag) + 1):
        if 0 < k < len(x):
            best = max(best, float(x[:-k] @ x[k:]) / total)
    return best


def valence(tonality: Tonality, tempo: Tempo, brightness: float) -> float | None:
    """Return musical positivity: 0.5 probability of major + 0.3 tempo (60 to 160 BPM) + 0.2 brightness.

    What is not known is left out and the weights are renormalised.

    Mode and tempo are the two strongest cues to happy or sad. Source: Gagnon & Peretz 2003; Gabrielsson & Lindstroem 2010.
    """
    parts = [(0.2, brightness)]
    if tonality.key is not None:
        parts.append((0.5, tonality.major_probability))
    if tempo.bpm is not None:
        parts.append((0.3, scale(tempo.bpm, 60, 160)))
    if len(parts) == 1:
        return None
    return sum(w * v for w, v in parts) / sum(w for w, _ in parts)


def acousticness(blocks: "NDArray[np.float32]") -> float:
    """Return how acoustic a track sounds, in [0, 1], from `excerpt`'s blocks: 0.5 light bass + 0.5 steep spectrum.

    Light: the mean power of the two lowest mel bands (30 to 190 Hz) over that of 320 Hz to 2.1 kHz, 20 to -5 dB; electric and
    synthetic bass and kick fill what strings, winds and voices leave empty. Steep: the mean power of 320 Hz to 2.1 kHz over that
    of 4.1 to 10.8 kHz, 10 to 40 dB; amplified and synthetic sound fills the top. Source: band energies and slope after Peeters
    2004; weighted so that rendered scores and generated dance tracks of the truth set lie apart (area under the curve 0.96).
    """
    mean = blocks[:, ::4].mean(axis=(0, 1), dtype=np.float64) + 1e-12
    middle = mean[5:19].mean()
    bass = 10 * np.log10(mean[:2].mean() / middle)
    drop = 10 * np.log10(middle / mean[28:].mean())
    return 0.5 * (1 - scale(float(bass), -5, 20)) + 0.5 * scale(float(drop), 10, 40)


def instrumentalness(spectra: Spectra, blocks: "NDArray[np.float32]") -> float | None:
    """Return 1 - the probability that somebody sings or speaks in the track, from `excerpt`'s blocks; 0.5 is undecided.

    None for less than one block (3 s), in which no syllables can be counted. Formula, fit and sources: `voice`.
    """
    return 1.0 - voice_probability(blocks) if len(spectra.mel) >= _BLOCK else None


def rhythmic_pattern(envelope: "NDArray[np.float32]", beats: "NDArray[np.float64]") -> float | None:
    """Return how much of the rhythm lies off the beat, in [0, 1]: 0 is four on the floor, 1 is all between the beats.

    off / (on + off), where `on` is the mean onset strength at the beats and `off` the largest of the means at the seven other
    eighths of a beat, each the largest of three frames; equal strength is 0.5. After Longuet-Higgins & Lee 1984, on audio.

    Parameters
    ----------
    envelope : ndarray, shape (n,)
        Normalised onset strength, 86 values a second.
    beats : ndarray, shape (b,)
        Seconds on the envelope's clock: `beats.LATENCY` before the beats of `Features`. None for fewer than four.
    """
    if len(beats) < 4:
        return None
    position = (beats[:-1, None] + np.diff(beats)[:, None] * (np.arange(8) / 8)) * RHYTHM_FPS
    index = np.clip(np.rint(position).astype(int), 1, len(envelope) - 2)
    strength = np.maximum(np.maximum(envelope[index - 1], envelope[index]), envelope[index + 1]).mean(axis=0)
    on, off = float(strength[0]), float(strength[1:].max())
    return off / (on + off) if on + off > 0 else None


def tempo_stability(tempo: Tempo) -> float | None:
    """Return how steady the tempo is: 1 - (spread of the local tempo) / 6%.

    The spread is the distance from the 10th to the 90th percentile over the median.

    Source: the tempo curve of Grosche & Mueller 2011.
    """
    if tempo.bpm is None or not len(tempo.curve):
        return None
    low, middle, high = np.percentile(tempo.curve, [10, 50, 90])
    return 1.0 - scale(float((high - low) / middle), 0.0, 0.06)


def harmonic_complexity(tonality: Tonality) -> float | None:
    """Return 0.5 entropy of the mean chroma (0.7 to 1 of its maximum, log2 12 bit) + 0.5 mean harmonic change (0 to 0.5).

    Harmonic change is 1 - cosine between the chroma of 0.75 s before and after. Source: Weiss & Mueller 2014 (complexity); Harte,
    Sandler & Gasser 2006 (change).
    """
    total = float(tonality.chroma.sum())
    if total <= 0:
        return None
    p = tonality.chroma / total
    entropy = float(-(p * np.log2(p + 1e-12)).sum() / np.log2(12))
    frames = tonality.frames
    change = 0.0
    if len(frames) >= 8:
        usable = frames[: len(frames) // 4 * 4].reshape(-1, 4, 12).mean(axis=1)
        norm = usable / (np.linalg.norm(usable, axis=1, keepdims=True) + 1e-9)
        change = float(1 - (norm[1:] * norm[:-1]).sum(axis=1).mean())
    return 0.5 * scale(entropy, 0.7, 1.0) + 0.5 * scale(change, 0.0, 0.5)


def dynamic_range(range_lu: float) -> float:
    """Return the loudness range (EBU Tech 3342) between 0 and 20 LU."""
    return scale(range_lu, 0, 20)


def low_pulse(onsets: Onsets, tempo: Tempo) -> float:
    """Return the regularity of the low bands' onsets at the beat."""
    return pulse_at(onsets.low, tempo.bpm) if tempo.bpm else 0.0


__all__ = [
    "acousticness",
    "centroid_hz",
    "danceability",
    "dynamic_range",
    "energy",
    "excerpt",
    "harmonic_complexity",
    "instrumentalness",
    "low_pulse",
    "onset_rate",
    "pulse_at",
    "rhythmic_pattern",
    "scale",
    "spectral_centroid",
    "tempo_stability",
    "valence",
]
