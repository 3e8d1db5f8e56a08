"""Beat times: a steady grid where the tempo is constant, dynamic programming where it is not, and on which onsets the beat falls.

The phase is the hard part: hats, chords or a bass between the beats are often louder than the beats themselves. It is chosen once
for a whole stretch, by what sounds at the candidates and between them, with weights fitted to music whose beats are known.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.beat_grid import COHERENT, fit_grid
from map4_pipeline.audio.beat_model import probabilities
from map4_pipeline.audio.events import STRUCK
from map4_pipeline.audio.model import TempoSpan
from map4_pipeline.audio.rhythm import compressed
from map4_pipeline.audio.spectra import RHYTHM_FPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Times = Callable[[float], NDArray[np.float64]]

#: First mel band of each of the groups whose onsets are told apart: about 30, 160, 290, 520, 900, 1700 and 4000 Hz upwards.
GROUPS = (0, 2, 5, 9, 15, 23, 32)
_COMPRESSION = 100.0
_CHUNK = 1 << 14
#: Groups counted as low and high where a feature is not measured group by group.
_LOW, _HIGH = slice(0, 3), slice(3, len(GROUPS))
_FLOOR = 0.1
#: Probability of being struck that means nothing.
_UNHEARD = 0.03
#: How strictly beats keep their distance: weight of the squared log ratio to the ideal period (Ellis uses 400 for tight music).
_TIGHTNESS = 400.0
#: Beats between which phases of a tempo that is not constant are tried.
_PHASES = np.array([0.0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4])
#: Candidates on a grid: at most this many onsets of the folded envelope, at least this far apart (beats).
_CANDIDATES, _APART = 8, 1 / 12
#: Seconds that onsets of one beat may scatter.
_SCATTER = 0.010
#: Seconds that an onset is found too early: a frame of 46 ms hears an attack before it is over its middle. Measured: 14 to 17 for
#: clicks, kicks and hats alone, 8 to 10 for rendered music, against the sound itself.
LATENCY = 0.012
#: A beat may lie this far before the first frame and still be meant: an attack at the very start is found a little early.
_EARLY = 0.03
#: Power below the loudest frame's from which nothing is heard any more (-60 dB).
_INAUDIBLE = 1e-6


@dataclass(frozen=True, slots=True)
class Beats:
    """The beats of a track.

    Attributes
    ----------
    times : ndarray
        Seconds.
    probability : float
        Of being on the right onsets, given the tempo: the mean over the stretches of one tempo, weighted by their beats.
    """

    times: "NDArray[np.float64]"
    probability: float


def band_flux(mel: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Return onset strength in seven groups of mel bands, each with mean 1 over the track, shape (n, 7).

    Half-wave rectified flux over two frames of the compressed power, as in `rhythm.onset_strength`, group by group. Each value is
    the largest of three frames, so that a beat between two frames, or played a little off, is seen whole.
    """
    power = mel @ _group_sums(mel.shape[1])
    scale = (_COMPRESSION / (power.mean(axis=0, dtype=np.float64) + 1e-20)).astype(np.float32)
    flux = np.zeros_like(power)
    for start in range(0, len(power), _CHUNK):
        begin = max(0, start - 2)
        log = compressed(power[begin : start + _CHUNK], scale)
        rise = log[2:] - log[:-2]
        flux[begin + 1 : begin + 1 + len(rise)] = np.maximum(rise, 0)
    flux /= flux.mean(axis=0, dtype=np.float64).astype(np.float32) + np.float32(1e-6)
    return largest_of_three(flux)


@lru_cache(maxsize=1)
def _group_sums(bands: int) -> "NDArray[np.float32]":
    """Return the matrix that adds up the bands of each group, shape (bands, 7)."""
    group = np.searchsorted(GROUPS, np.arange(bands), side="right") - 1
    return np.eye(len(GROUPS), dtype=np.float32)[group]


def largest_of_three(series: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Return the largest value of every frame and the two beside it."""
    wide = series.copy()
    np.maximum(wide[1:], series[:-1], out=wide[1:])
    np.maximum(wide[:-1], series[1:], out=wide[:-1])
    return wide


def track_beats(
    mel: "NDArray[np.float32]",
    flux: "NDArray[np.float32]",
    events: "NDArray[np.float32]",
    envelope: "NDArray[np.float32]",
    spans: Sequence[TempoSpan],
) -> Beats:
    """Find the beats from the first to the last audible sound.

    Parameters
    ----------
    mel : ndarray, shape (n, 40)
        Power in mel bands.
    flux : ndarray, shape (n, 7)
        From `band_flux`.
    events : ndarray, shape (n, 7)
        From `rhythm.onset_strength`.
    envelope : ndarray, shape (n,)
        Normalised onset strength.
    spans : sequence of TempoSpan
        The stretches of one tempo, in order.
    """
    found: list[NDArray[np.float64]] = [np.zeros(0)]
    certainty = 0.0
    hits = largest_of_three(events[:, :STRUCK])
    for span in spans:
        first, last = round(span.start * RHYTHM_FPS), min(len(envelope), round(span.end * RHYTHM_FPS))
        if last - first < 120 / span.bpm * RHYTHM_FPS + 2:
            continue
        times, probability = _beats_of_span(flux[first:last], hits[first:last], envelope[first:last], span.bpm)
        times = times + first / RHYTHM_FPS
        if len(found[-1]):
            times = times[times > found[-1][-1] + 30 / span.bpm]
        found.append(times)
        certainty += probability * len(times)
    times = np.concatenate(found)
    certainty /= max(1, len(times))
    power = mel @ np.ones(mel.shape[1], np.float32)
    times += LATENCY
    heard = np.flatnonzero(power > _INAUDIBLE * power.max(initial=0.0)) / RHYTHM_FPS
    if len(heard):
        times = times[(times >= heard[0] - _EARLY) & (times <= heard[-1])]
    return Beats(np.maximum(times, 0.0), certainty)


def _beats_of_span(
    flux: "NDArray[np.float32]", hits: "NDArray[np.float32]", envelope: "NDArray[np.float32]", bpm: float
) -> "tuple[NDArray[np.float64], float]":
    grid = fit_grid(envelope, bpm)
    if grid.coherence >= COHERENT:
        period = 60 / grid.bpm
        phases = onset_phases(envelope, period)
        at = on_grid(period, len(envelope) / RHYTHM_FPS)
        probability = probabilities("phase", phase_features(flux, hits, at, phases))
        best = int(np.argmax(probability))
        # A phase just below 1 is a beat just before the start.
        times = at(phases[best] - 1)
        return times[times >= -_EARLY], float(probability[best])
    followed = _follow(envelope, bpm)
    if len(followed) < 4:
        return followed, 0.0
    at = _between(followed)
    probability = probabilities("phase", phase_features(flux, hits, at, _PHASES))
    best = int(np.argmax(probability))
    return at(_PHASES[best]), float(probability[best])


def on_grid(period: float, duration: float) -> "Times":
    """Return the function that gives the times of a grid's beats, shifted by a number of beats."""
    beats = np.arange(math.ceil(duration / period) + 1)

    def at(shift: float) -> "NDArray[np.float64]":
        times = (beats + shift) * period
        return np.asarray(times[times < duration])

    return at


def _between(beats: "NDArray[np.float64]") -> "Times":
    """As `on_grid`, for beats that are not equally far apart."""
    index = np.arange(len(beats))
    return lambda shift: np.asarray(beats if shift == 0 else np.interp(index[:-1] + shift, index, beats))


def onset_phases(envelope: "NDArray[np.float32]", period: float) -> "NDArray[np.float64]":
    """Return where in the beat onsets fall, strongest first: the maxima of the envelope folded at the period, in beats."""
    count = int(np.clip(round(period * RHYTHM_FPS * 2), 24, 160))
    position = (np.arange(len(envelope)) / RHYTHM_FPS / period % 1.0) * count
    index = position.astype(int)
    part = position - index
    after = (index + 1) % count
    index %= count
    total = np.bincount(index, envelope * (1 - part), count) + np.bincount(after, envelope * part, count)
    weight = np.bincount(index, 1 - part, count) + np.bincount(after, part, count)
    folded = total / np.maximum(weight, 1e-9)
    width = max(1.0, count * _SCATTER / period)
    distance = np.minimum(np.arange(count), count - np.arange(count))
    kernel = np.exp(-0.5 * (distance / width) ** 2)
    smooth = np.fft.irfft(np.fft.rfft(folded) * np.fft.rfft(kernel), count)
    left, right = np.roll(smooth, 1), np.roll(smooth, -1)
    tops = np.flatnonzero((smooth > left) & (smooth >= right))
    chosen: list[float] = []
    for top in tops[np.argsort(-smooth[tops], kind="stable")]:
        shift = 0.5 * (left[top] - right[top]) / min(left[top] - 2 * smooth[top] + right[top], -1e-12)
        phase = float((top + shift) / count % 1.0)
        if all(_APART <= abs(phase - other) <= 1 - _APART for other in chosen):
            chosen.append(phase)
    return np.array(chosen[:_CANDIDATES] or [0.0])


def phase_features(
    flux: "NDArray[np.float32]", hits: "NDArray[np.float32]", at: "Times", phases: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    """Describe what sounds at each candidate phase, relative to the mean of the candidates, shape (candidates, 40).

    Log onset strength in the seven groups (kick and snare mark beats); its deviation between the four beats of a bar (beats
    differ from each other, what fills the gaps between them does not); strength half and a quarter of a beat away, low and high.
    Then what is struck (`hits`, shape (n, 5), from `largest_of_three`): log probability on the beat, how much it differs between
    every other beat, half and a quarter of a beat away; how far kick and snare take turns, and how likely either is struck.
    """
    rows = []
    for phase in phases:
        here, struck = _at(flux, at(phase)), _at(hits, at(phase))
        bars = _by_beat(here).std(axis=0)
        beats = _by_beat(struck)
        other = np.abs(beats[0] + beats[2] - beats[1] - beats[3]) / 2
        half = at(phase + 1 / 2)
        quarters = [at(phase + shift) for shift in (1 / 4, 3 / 4)]
        mean = _mean(struck)
        rows.append(
            np.concatenate(
                [
                    np.log(_mean(here) + _FLOOR),
                    np.log(bars + _FLOOR),
                    np.log(_low_high(flux, half) + _FLOOR),
                    np.log(sum(_low_high(flux, times) for times in quarters) / 2 + _FLOOR),
                    np.log(mean + _UNHEARD),
                    3 * other,
                    np.log(_mean(_at(hits, half)) + _UNHEARD),
                    np.log(sum(_mean(_at(hits, times)) for times in quarters) / 2 + _UNHEARD),
                    [_turns(beats[:, 0], beats[:, 1]), mean[0] + mean[1]],
                ]
            )
        )
    features = np.array(rows)
    return np.asarray(features - features.mean(axis=0))


def _at(series: "NDArray[np.float32]", times: "NDArray[np.float64]") -> "NDArray[np.float32]":
    frames = np.rint(times * RHYTHM_FPS).astype(int)
    return np.asarray(series[frames[(frames >= 0) & (frames < len(series))]])


def _mean(values: "NDArray[np.float32]") -> "NDArray[np.float64]":
    return np.asarray(values.mean(axis=0, dtype=np.float64)) if len(values) else np.zeros(values.shape[1])


def _by_beat(values: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Return the means over every fourth beat, shape (4, columns); zeros where there are fewer than four bars."""
    bars = len(values) // 4
    if bars < 4:
        return np.zeros((4, values.shape[1]))
    return np.asarray(values[: 4 * bars].reshape(bars, 4, -1).mean(axis=0, dtype=np.float64))


def _turns(kick: "NDArray[np.float64]", snare: "NDArray[np.float64]") -> float:
    """Return how far one is struck on the beats on which the other is not."""
    covariance = ((kick - kick.mean()) * (snare - snare.mean())).mean()
    return float(-5 * covariance / (max(kick.std(), snare.std()) + 0.02))


def _low_high(flux: "NDArray[np.float32]", times: "NDArray[np.float64]") -> "NDArray[np.float64]":
    strength = _mean(_at(flux, times))
    return np.array([strength[_LOW].mean(), strength[_HIGH].mean()])


def _follow(envelope: "NDArray[np.float32]", bpm: float) -> "NDArray[np.float64]":
    """Return beats that follow a tempo which is not constant: dynamic programming over the onset envelope (Ellis 2007).

    A beat's predecessor lies at least half a period before it, so half a period of frames can be scored in one step.
    """
    period = 60 / bpm * RHYTHM_FPS
    spread = np.arange(-int(period), int(period) + 1)
    kernel = np.exp(-0.5 * (spread * 32 / period) ** 2)
    local = np.convolve(envelope.astype(np.float64), kernel, mode="same")
    count = len(local)
    nearest, furthest = max(1, round(period / 2)), round(period * 2)
    steps = np.arange(nearest, furthest + 1)
    penalty = _TIGHTNESS * np.log(steps / period) ** 2
    score = np.concatenate([np.full(furthest, -1e-3), local])
    previous = np.full(count, -1, dtype=np.int64)
    for start in range(0, count, nearest):
        rows = np.arange(start, min(count, start + nearest))
        reachable = score[rows[:, None] + furthest - steps[None, :]] - penalty
        choice = np.argmax(reachable, axis=1)
        best = reachable[np.arange(len(rows)), choice]
        score[rows + furthest] += np.maximum(best, 0.0)
        previous[rows] = np.where(best > 0, rows - steps[choice], -1)
    tail = score[furthest:][-furthest:]
    beat = count - len(tail) + int(np.argmax(tail))
    beats = []
    while beat >= 0:
        beats.append(beat)
        beat = int(previous[beat])
    frames = np.array(beats[::-1])
    return _between_frames(frames, local) / RHYTHM_FPS


def _between_frames(frames: "NDArray[np.int64]", local: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Move each beat to the top of the parabola through its frame and the two beside it."""
    inner = np.clip(frames, 1, len(local) - 2)
    left, middle, right = local[inner - 1], local[inner], local[inner + 1]
    curve = np.minimum(left - 2 * middle + right, -1e-9)
    is_top = (middle >= left) & (middle >= right)
    return np.asarray(frames + np.where(is_top, np.clip(0.5 * (left - right) / curve, -0.5, 0.5), 0.0))
