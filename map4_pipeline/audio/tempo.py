"""Tempo: the readings that fit with their probabilities, refined to a fraction of a percent."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from map4_pipeline.audio.event_rhythm import event_rhythm
from map4_pipeline.audio.model import Candidate
from map4_pipeline.audio.rhythm import Onsets, normalised
from map4_pipeline.audio.spectra import RHYTHM_FPS, frame_view
from map4_pipeline.audio.tempo_model import candidates, certainty, load_model
from map4_pipeline.audio.tempogram import GRID, WINDOW, Tempogram, interpolate, tempogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Seconds below which there is no tempo.
SHORTEST = 3
#: Below this height of the autocorrelation at the beat, onsets do not repeat: there is no beat. In 16 pieces of noise it reached
#: 0.26 in 8 s, 0.21 in 12 s, 0.18 in 40 s and 0.13 in 240 s; in 39 pieces of music it was 0.40 and more from 12 s on.
_MIN_PULSE = 0.13
#: What is added to it for up to 12 s, and less for more.
_SHORT_PULSE = 0.1
#: Onset strength that the strongest hundredth of the frames reaches in any music (0.5 to 2); a steady tone has 0.004.
_MIN_FLUX = 0.05
#: Mean onset strength of a second in which nothing is heard: noise 48 dB under the music has that. So many in a row are left out.
_SILENT_FLUX, _SILENT_SECONDS = 0.001, int(WINDOW)
#: Seconds of the pieces whose spectrum gives the exact tempo, and the length they are padded to.
_PIECE, _PADDED = 45, 1 << 16
#: Readings reported beside the best.
_ALTERNATIVES = 4


@dataclass(frozen=True, slots=True)
class Tempo:
    """A tempo estimate.

    Attributes
    ----------
    bpm, confidence : float or None
        Beats a minute, and the probability that it is right, octave included.
    alternatives : tuple of Candidate
    reason : str
        Why there is no tempo, else empty.
    pulse : float
        Height of the autocorrelation at the beat, its double or fourfold, in [0, 1]: how regular the onsets are.
    curve : ndarray
        Local tempo of every window of 12 s, 3 s apart, BPM; silence left out.
    """

    bpm: float | None
    confidence: float | None
    alternatives: tuple[Candidate, ...]
    reason: str
    pulse: float
    curve: "NDArray[np.float64]"


def _none(reason: str) -> Tempo:
    return Tempo(None, None, (), reason, 0.0, np.zeros(0))


def estimate_tempo(onsets: Onsets) -> Tempo:
    """Estimate the tempo of a track."""
    if len(onsets.full) < SHORTEST * RHYTHM_FPS:
        return _none("too short for a tempo")
    stretches = sounding_stretches(onsets.full)
    whole = normalised(onsets.full)
    if len(stretches) > 1 or stretches[0] != slice(0, len(whole)):
        onsets = Onsets(*(np.concatenate([getattr(onsets, field.name)[part] for part in stretches]) for field in fields(onsets)))
    if float(np.percentile(onsets.full, 99)) < _MIN_FLUX:
        return _none("no onsets: nothing in the sound marks a beat")
    envelope = whole if len(onsets.full) == len(whole) else normalised(onsets.full)
    full, tempi, features = readings(onsets, envelope)
    probability = load_model().probabilities(features)
    order = np.argsort(-probability, kind="stable")
    best = tempi[int(order[0])]
    height = pulse(full, best)
    if height < _MIN_PULSE + _SHORT_PULSE * min(1.0, WINDOW * RHYTHM_FPS / len(envelope)):
        return _none("no beat found: the onsets do not repeat at a steady distance")
    # What is joined where silence was left out is not in step.
    spectrum = np.sum([long_spectrum(whole[part]) for part in stretches], axis=0)
    bpm = refine(spectrum, best)
    alternatives = tuple(
        Candidate(round(refine(spectrum, tempi[int(k)]), 2), round(float(probability[k]), 4))
        for k in order[1 : 1 + _ALTERNATIVES]
    )
    confidence = certainty(float(probability[order[0]]), height)
    return Tempo(bpm, confidence, alternatives, "", min(1.0, height), _local_tempo(full.score, bpm))


def sounding_stretches(strength: "NDArray[np.float32]") -> list[slice]:
    """Return the frames of an onset strength without silence of 12 s and more; all of them where under 12 s are left.

    Windows of silence would say that the onsets hardly repeat, and that the tempo changes.
    """
    second, count = int(RHYTHM_FPS), int(len(strength) / int(RHYTHM_FPS))
    silent = strength[: count * second].reshape(count, second).mean(axis=1) < _SILENT_FLUX
    edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]]))).reshape(-1, 2)
    long = [(first * second, last * second) for first, last in edges.tolist() if last - first >= _SILENT_SECONDS]
    stretches, start = [], 0
    for first, last in [*long, (len(strength), len(strength))]:
        if first - start >= second:  # less than that is what is left of a second of silence
            stretches.append(slice(start, first))
        start = last
    if sum(part.stop - part.start for part in stretches) < WINDOW * RHYTHM_FPS:
        return [slice(0, len(strength))]
    return stretches


def readings(onsets: Onsets, envelope: "NDArray[np.float32]") -> "tuple[Tempogram, list[float], NDArray[np.float64]]":
    """Return the tempogram of a normalised onset envelope, the tempi that may be the beat and their features.

    Parameters
    ----------
    onsets : Onsets
    envelope : ndarray
        `rhythm.normalised` of their full strength.
    """
    full, low, events = tempogram(envelope), normalised(onsets.low), onsets.events
    if len(envelope) < WINDOW * RHYTHM_FPS:
        order = continued(envelope)
        return full, *candidates(tempogram(envelope[order]), tempogram(low[order]), event_rhythm(events[order]))
    return full, *candidates(full, tempogram(low), event_rhythm(events))


def continued(envelope: "NDArray[np.float32]") -> "NDArray[np.intp]":
    """Return the frames of a window of 12 s in which a shorter sound goes on as it was.

    What repeats is judged by up to eight beats, which a short sound does not have: fast readings would look better than slow ones
    because they fit. So it is continued from the place between its middle and its end that is most like its beginning.
    """
    count = len(envelope)
    first, last = count // 2, count - int(RHYTHM_FPS)
    best, length = -np.inf, count
    for lag in range(first, last):
        a, b = envelope[: count - lag], envelope[lag:]
        alike = float(a @ b) / (float(np.sqrt((a @ a) * (b @ b))) + 1e-9)
        if alike > best:
            best, length = alike, lag
    place = np.arange(int(WINDOW * RHYTHM_FPS) + 1)
    return np.where(place < count, place, (place - count) % length + count - length)


def pulse(full: Tempogram, bpm: float) -> float:
    """Return the height of the autocorrelation at the beat, its double or fourfold.

    Kick and snare alternate: where beats repeat, half a bar or a bar may repeat better than the beat.
    """
    return max(full.at_lag(beats, bpm) for beats in (1, 2, 4))


def long_spectrum(envelope: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Return the summed magnitude spectrum of pieces of 45 s, zero-padded, shape (1, bins)."""
    length = int(min(len(envelope), RHYTHM_FPS * _PIECE))
    window = np.hanning(length).astype(np.float32)
    magnitude = np.zeros((1, _PADDED // 2 + 1), np.float32)
    pieces = frame_view(np.ascontiguousarray(envelope), length, length)
    # Four transforms at once take little more than one.
    for start in range(0, len(pieces), 4):
        spectrum = scipy.fft.rfft(pieces[start : start + 4] * window, _PADDED, axis=1)
        power = spectrum.real**2
        power += spectrum.imag**2
        magnitude += np.sqrt(power, out=power).sum(axis=0)
    return magnitude


def refine(spectrum: "NDArray[np.float32]", bpm: float) -> float:
    """Sharpen a tempo within 2.5%: the maximum of the sum over its 1st, 2nd, 4th and 8th harmonic in `long_spectrum`."""
    near = bpm * np.linspace(0.975, 1.025, 201)
    total = np.zeros(len(near))
    for k, weight in ((1, 1.0), (2, 0.7), (4, 0.4), (8, 0.3)):
        total += weight * interpolate(spectrum, near / 60 * k * _PADDED / RHYTHM_FPS)[0]
    inner = np.flatnonzero((total[1:-1] >= total[:-2]) & (total[1:-1] > total[2:])) + 1
    if not len(inner):  # a slope of another tempo's summit says nothing of this one
        return bpm
    best = int(inner[np.argmax(total[inner])])
    left, middle, right = total[best - 1 : best + 2]
    shift = 0.5 * (left - right) / min(left - 2 * middle + right, -1e-12)
    return float(near[best] + np.clip(shift, -0.5, 0.5) * (near[1] - near[0]))


def _local_tempo(windows: "NDArray[np.float32]", bpm: float) -> "NDArray[np.float64]":
    """Return the best tempo of each window within 12% of the track's (further off is another metrical level, not a change)."""
    near = np.flatnonzero(np.abs(np.log(GRID / bpm)) < 0.12)
    return np.asarray(GRID[near][np.argmax(windows[:, near], axis=1)])
