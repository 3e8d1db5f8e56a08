"""Where the bar begins: beats per bar and downbeats, with the probability that they are right.

Downbeats are where harmony, bass and sound change and where the bar's pattern of accents begins. A conditional logit (McFadden
1974) weighs this for every reading, bars of four beats or three beginning on any of them; its weights were fitted to music whose
bars are known. Where no reading is likely, none is given.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.beat_model import probabilities
from map4_pipeline.audio.beats import GROUPS, LATENCY, Beats
from map4_pipeline.audio.spectra import RHYTHM_FPS, TONAL_FPS, Spectra

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Readings of the bar: beats per bar, and the beat on which the first whole bar begins.
READINGS = tuple((count, first) for count in (4, 3) for first in range(count))
#: Bars below which none of them repeats often enough.
_MIN_BARS = 4
#: Bass reaches up to here, Hz.
_BASS = 200.0
_COMPRESSION = 100.0
#: Rhythm frames averaged before sound is compared from beat to beat.
_DECIMATION = 4
#: Rows that are summed up at once.
_AT_ONCE = 1 << 14
_FLOOR = 0.1
#: Probability from which a reading is reported.
_LIKELY = 0.5


@dataclass(frozen=True, slots=True)
class Meter:
    """The bar.

    Attributes
    ----------
    beats_per_bar : int or None
    downbeats : ndarray
        Seconds; a subset of the beats.
    confidence : float or None
        Probability that both are right.
    reason : str
        Why there is none, else empty.
    """

    beats_per_bar: int | None
    downbeats: "NDArray[np.float64]"
    confidence: float | None
    reason: str


def find_meter(spectra: Spectra, flux: "NDArray[np.float32]", beats: Beats, tempo_probability: float) -> Meter:
    """Tell the beats per bar and the downbeats.

    Parameters
    ----------
    spectra : Spectra
    flux : ndarray, shape (n, 7)
        From `beats.band_flux`.
    beats : Beats
    tempo_probability : float
        That the tempo is right, octave included: bars of beats that are none are not right.
    """
    if len(beats.times) < 4 * _MIN_BARS:
        return Meter(None, np.zeros(0), None, "too few beats for a bar")
    likely = probabilities("meter", meter_features(spectra, flux, beats.times))
    best = int(np.argmax(likely))
    probability = float(likely[best]) * beats.probability * tempo_probability
    if probability < _LIKELY:
        return Meter(None, np.zeros(0), None, "the bar cannot be told: no reading is likely")
    count, first = READINGS[best]
    return Meter(count, beats.times[first::count], probability, "")


def meter_features(spectra: Spectra, flux: "NDArray[np.float32]", beats: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Describe every reading of the bar, shape (7, 24).

    What is measured at a beat is averaged over the downbeats of a reading, as the log of its ratio to the mean of all beats:
    onset strength in seven groups of bands; how far sound (mel bands), bass (those below 500 Hz), harmony (chroma) and bass notes
    differ between the stretch after and the stretch before, of one, two and four beats; onset strength of the next and of the
    last beat, low and high. Beside these, whether three beats is meant, and how much more the beats resemble those a bar away
    than those that the other count of beats puts there.
    """
    frames = np.clip(np.rint((beats - LATENCY) * RHYTHM_FPS).astype(int), 0, len(flux) - 1)
    strength = flux[frames].astype(np.float64)
    low, high = strength[:, :3].mean(axis=1), strength[:, 3:].mean(axis=1)
    columns = [*strength.T, *_changes(spectra, beats)]
    columns += [np.roll(low, -1), np.roll(high, -1), np.roll(low, 1), np.roll(high, 1)]
    measured = np.stack(columns, axis=1)
    whole = measured.mean(axis=0)
    alike = {count: _resemblance(strength, count) for count in (3, 4)}
    rows = []
    for count, first in READINGS:
        relative = np.log((measured[first::count].mean(axis=0) + _FLOOR * whole + 1e-9) / ((1 + _FLOOR) * whole + 1e-9))
        is_three = float(count == 3)
        rows.append(np.concatenate([relative, [is_three, alike[count] - alike[7 - count]]]))
    return np.array(rows)


def _resemblance(strength: "NDArray[np.float64]", lag: int) -> float:
    """Return the mean correlation of a beat's onset strengths with those `lag` and twice `lag` beats on."""
    log = np.log(strength + _FLOOR)
    log = (log - log.mean(axis=0)) / (log.std(axis=0) + 1e-6)
    return float(np.mean([(log[k:] * log[:-k]).mean() for k in (lag, 2 * lag) if k < len(log)]))


def _changes(spectra: Spectra, beats: "NDArray[np.float64]") -> "list[NDArray[np.float64]]":
    """Return per beat how far the means after and before it differ: sound and bass, harmony and bass notes, over 1 to 4 beats."""
    chroma, bass = _chroma(spectra)
    count = len(spectra.mel) // _DECIMATION
    power = spectra.mel[: count * _DECIMATION].reshape(count, _DECIMATION, -1).mean(axis=1)
    power *= np.float32(_COMPRESSION / (float(power.mean(dtype=np.float64)) + 1e-20))
    sound = np.log1p(power, out=power)
    out = []
    # A decimated frame stands for its own stretch, a tonal one for the hop in the middle of the two that it covers.
    for series, rate, lead, spans in (
        (sound, RHYTHM_FPS / _DECIMATION, 0.0, (1, 2, 4)),
        (sound[:, : GROUPS[3]], RHYTHM_FPS / _DECIMATION, 0.0, (1, 4)),
        (chroma, TONAL_FPS, 0.5, (1, 2, 4)),
        (bass, TONAL_FPS, 0.5, (1, 2, 4)),
    ):
        position = np.clip(beats * rate - lead, 0, len(series))
        at = _integral(series, position)
        out += [_difference(at, position, span) for span in spans]
    return out


def _integral(series: "NDArray[np.floating]", position: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return the sum of the rows before each (fractional, rising) position.

    Summed from position to position: running sums of every row would be the largest array of the analysis of a long mix.
    """
    index = np.minimum(position.astype(int), len(series) - 1)
    edges, place = np.unique(index, return_inverse=True)
    bounds = np.concatenate([[0], edges])
    parts = np.empty((len(edges), series.shape[1]))
    first = 0
    while first < len(edges):
        # Some rows at a time: `reduceat` makes doubles of all that it is given.
        end = max(first + 1, int(np.searchsorted(bounds, bounds[first] + _AT_ONCE, side="right")) - 1)
        some, start = series[bounds[first] : bounds[end]], bounds[first]
        parts[first:end] = np.add.reduceat(some, bounds[first:end] - start, axis=0, dtype=np.float64) if len(some) else 0.0
        first = end
    if not edges[0]:  # nothing lies before the first row, of which `reduceat` gives that row
        parts[0] = 0.0
    part = (position - index)[:, None]
    return np.asarray(np.cumsum(parts, axis=0)[place] + series[index] * part)


def _difference(at: "NDArray[np.float64]", position: "NDArray[np.float64]", span: int) -> "NDArray[np.float64]":
    """Return the distance of the means of the `span` beats after and before each beat; 0 where one of them is not whole."""
    out = np.zeros(len(at))
    if len(at) <= 2 * span:
        return out
    length = np.maximum(position[span:] - position[:-span], 1e-6)[:, None]
    mean = (at[span:] - at[:-span]) / length
    out[span:-span] = np.sqrt(((mean[span:] - mean[:-span]) ** 2).sum(axis=1))
    return out


def _chroma(spectra: Spectra) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Return whitened spectral peaks by pitch class, of all notes and of the bass alone, shape (frames, 12), unit length."""
    pitch = np.rint(12 * np.log2(spectra.peak_frequency / 440.0)).astype(np.int64) % 12
    place = spectra.peak_frame * 12 + pitch
    deep = spectra.peak_frequency < _BASS
    out = []
    for which in (slice(None), deep):
        chroma = np.bincount(place[which], spectra.peak_weight[which], spectra.tonal_frames * 12).reshape(-1, 12)
        out.append(chroma / (np.linalg.norm(chroma, axis=1, keepdims=True) + 1e-9))
    return out[0], out[1]
