"""Key, its changes, tuning and chroma from the spectral peaks of long frames."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.key_evidence import (
    ARRIVAL,
    MIN_FOCUS,
    is_tonal,
    key_evidence,
    key_probabilities,
    key_scores,
    timbre_frames,
    triad_likeness,
)
from map4_pipeline.audio.key_spans import find_key_changes, relative_key
from map4_pipeline.audio.model import Candidate, KeySpan
from map4_pipeline.audio.spectra import SAMPLE_RATE, TONAL_HOP, Spectra

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Spelling of the twelve pitch classes.
PITCH_CLASSES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
#: Range of peaks that vote, Hz; each votes for the notes it may be the 1st to 4th partial of, 0.6 as much each step.
_LOW, _HIGH, _PARTIALS, _DECAY = 60.0, 1200.0, 4, 0.6
#: Tonal frames (6 minutes) whose peaks vote at once.
_FRAMES_AT_ONCE = 1 << 11
#: Lowest peaks that tell the tuning, Hz.
_TUNING_LOW = 100.0
#: Frames 60 dB under the loud ones hold no music, only the noise of the recording.
_AUDIBLE = 1e-3


@dataclass(frozen=True, slots=True)
class Tonality:
    """A key estimate.

    Attributes
    ----------
    key : str or None
    confidence : float or None
    alternatives : tuple of Candidate
    reason : str
    tuning_cents : float or None
    chroma : ndarray, shape (12,)
        Mean chroma, every frame counting the same, largest value 1.
    frames : ndarray, shape (n, 12), float32
        Chroma of every tonal frame, largest value 1.
    major_probability : float
        Summed probability of the major keys.
    evidence : ndarray, shape (24, 4)
        What speaks for each key, from `key_evidence`; zeros where there is no key.
    spans : tuple of KeySpan
        The keys along the track; one span for a track in one key.
    """

    key: str | None
    confidence: float | None
    alternatives: tuple[Candidate, ...]
    reason: str
    tuning_cents: float | None
    chroma: "NDArray[np.float64]"
    frames: "NDArray[np.float32]"
    major_probability: float
    evidence: "NDArray[np.float64]"
    spans: tuple[KeySpan, ...]


def key_names() -> tuple[str, ...]:
    """Return the 24 keys: twelve major from C up, then twelve minor."""
    return tuple(f"{name} major" for name in PITCH_CLASSES) + tuple(f"{name} minor" for name in PITCH_CLASSES)


def estimate_tuning(frequency: "NDArray[np.float32]", weight: "NDArray[np.float32]") -> tuple[float, float]:
    """Return (deviation from A4 = 440 Hz in semitones, in [-0.5, 0.5); how closely the peaks keep to it, in [0, 1]).

    Direction and length of the circular mean of the peaks' distances to their notes (Dressler & Streich 2007). `frequency`
    (Hz) and `weight` have the shape (n,).
    """
    note = 12 * np.log2(frequency.astype(np.float64) / 440)
    # Near 0 single precision is exact enough, and its sine takes a tenth of the time.
    angle = (2 * np.pi * (note - np.round(note))).astype(np.float32)
    x, y = (float((weight * part(angle)).sum(dtype=np.float64)) for part in (np.cos, np.sin))
    return float(np.arctan2(y, x) / (2 * np.pi)), float(np.hypot(x, y) / (float(weight.sum()) + 1e-12))


def track_tuning(spectra: Spectra) -> tuple[float, float]:
    """Return what `estimate_tuning` finds in all peaks of a track; (0, 0) where there are none."""
    # Below 100 Hz a bin is wider than a semitone: those peaks say nothing about tuning.
    exact = spectra.peak_frequency > _TUNING_LOW
    weight = spectra.peak_weight * np.sqrt(spectra.peak_magnitude)
    return estimate_tuning(spectra.peak_frequency[exact], weight[exact])


def chroma_frames(spectra: Spectra, tuning: float) -> "NDArray[np.float32]":
    """Return the harmonic pitch class profile of every tonal frame, shape (n, 12), each frame's maximum 1.

    Every spectral peak also votes for the notes that it may be the 2nd to 4th partial of; that takes the false fifths and
    thirds out which overtones put in. Source: Gomez 2006.
    """
    frames = np.empty((spectra.tonal_frames, 12), np.float32)
    for start in range(0, spectra.tonal_frames, _FRAMES_AT_ONCE):
        some = frames[start : start + _FRAMES_AT_ONCE]
        first, end = np.searchsorted(spectra.peak_frame, np.array([start, start + len(some)], np.int32))
        votes = _votes(spectra, slice(first, end), start, tuning).reshape(-1, 12)
        some[:] = votes / (votes.max(axis=1, keepdims=True) + 1e-9)
    return frames


def _votes(spectra: Spectra, peaks: slice, first_frame: int, tuning: float) -> "NDArray[np.float64]":
    """Return the votes of some peaks for the notes of their frames, twelve for each frame from the first on."""
    frequency, frame = spectra.peak_frequency[peaks], spectra.peak_frame[peaks] - first_frame
    keep = (frequency > _LOW) & (frequency < _HIGH)
    frequency, frame = frequency[keep], frame[keep]
    weight = spectra.peak_weight[peaks][keep] * np.sqrt(spectra.peak_magnitude[peaks][keep])
    pitch = 69 + 12 * np.log2(frequency.astype(np.float64) / 440) - tuning
    count = 12 * min(_FRAMES_AT_ONCE, spectra.tonal_frames - first_frame)
    total = np.zeros(count)
    first = frame.astype(np.float64) * 12
    for partial in range(1, _PARTIALS + 1):
        note = pitch - 12 * np.log2(partial)
        nearest = np.round(note)
        # Near 0 single precision is exact enough, and its cosine takes a tenth of the time.
        off = ((note - nearest) * np.pi).astype(np.float32)
        vote = weight * (np.cos(off) ** 2 * np.float32(_DECAY ** (partial - 1)))
        place = first + (nearest - 12 * np.floor(nearest / 12))
        total += np.bincount(place.astype(np.intp), vote, count)
    return total


def audible_frames(spectra: Spectra, frames: "NDArray[np.float32]") -> "NDArray[np.intp]":
    """Return the indices of the tonal frames that hold notes: some chroma, and less than 60 dB under the loud frames."""
    level = np.bincount(spectra.peak_frame, spectra.peak_magnitude, spectra.tonal_frames)
    return np.flatnonzero(frames.any(axis=1) & (level > _AUDIBLE * np.percentile(level, 90)))


def estimate_key(spectra: Spectra) -> Tonality:
    """Estimate key, key changes and tuning of a track."""
    if len(spectra.peak_frequency) < 8:
        return _no_key(spectra, "no pitched sound found")
    tuning, focus = track_tuning(spectra)
    if focus < MIN_FOCUS:
        return _no_key(spectra, "atonal")
    frames = chroma_frames(spectra, tuning)
    heard = audible_frames(spectra, frames)
    if len(heard) <= ARRIVAL[1]:
        return _no_key(spectra, "too short for a key")
    sounding = frames[heard]
    chroma = _mean_chroma(sounding)
    likeness = triad_likeness(sounding)
    if not is_tonal(focus, sounding, likeness):
        return replace(_no_key(spectra, "atonal"), tuning_cents=tuning * 100, chroma=chroma, frames=frames)
    timbre = timbre_frames(spectra)[heard]
    evidence = key_evidence(chroma, likeness, timbre)
    probability = key_probabilities(evidence)
    stretches = find_key_changes(key_scores(sounding))
    chances = []
    if len(stretches) > 1:
        # A stretch is in a key or its relative. The track's key is the one that most of the track is in.
        probability = np.zeros(24)
        for number, (first, last, key) in enumerate(stretches):
            part = key_probabilities(key_evidence(_mean_chroma(sounding[first:last]), likeness[first:last], timbre[first:last]))
            pair = [key, relative_key(key)]
            key = pair[int(np.argmax(part[pair]))]
            stretches[number] = (first, last, key)
            chances.append(float(part[key]))
            probability[pair] += part[pair] * (last - first) / len(heard)
    best = int(np.argmax(probability))
    if len(stretches) == 1:
        stretches, chances = [(0, len(heard), best)], [float(probability[best])]
    names = key_names()
    order = np.argsort(-probability, kind="stable")
    return Tonality(
        key=names[best],
        confidence=float(probability[best]),
        alternatives=tuple(Candidate(names[k], round(float(probability[k]), 3)) for k in order[1:5]),
        reason="",
        tuning_cents=tuning * 100,
        chroma=chroma,
        frames=frames,
        major_probability=float(probability[:12].sum() / probability.sum()),
        evidence=evidence,
        spans=_spans(stretches, chances, heard, spectra.samples),
    )


def _no_key(spectra: Spectra, reason: str) -> Tonality:
    frames = np.zeros((spectra.tonal_frames, 12), np.float32)
    return Tonality(None, None, (), reason, None, np.zeros(12), frames, 0.5, np.zeros((24, 4)), ())


def _mean_chroma(frames: "NDArray[np.float32]") -> "NDArray[np.float64]":
    mean = frames.mean(axis=0, dtype=np.float64)
    return np.asarray(mean / (mean.max() + 1e-12))


def _spans(
    stretches: list[tuple[int, int, int]], chances: list[float], heard: "NDArray[np.intp]", samples: int
) -> tuple[KeySpan, ...]:
    """Turn stretches of audible frames into seconds, without gaps, from the track's start to its end."""
    names = key_names()
    # Frame k is centred on sample 4096 (k + 1); a boundary lies half a hop before the centre of the frame behind it.
    edges = [round(float(heard[first] + 0.5) * TONAL_HOP / SAMPLE_RATE, 3) for first, _, _ in stretches[1:]]
    return tuple(
        KeySpan(start, end, names[key], round(chance, 4))
        for start, end, (_, _, key), chance in zip(
            [0.0, *edges], [*edges, round(samples / SAMPLE_RATE, 3)], stretches, chances, strict=True
        )
    )
