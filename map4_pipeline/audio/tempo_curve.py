"""How the tempo goes along the track: stretches of constant tempo, and a curve.

Most tracks keep one tempo, and most of what looks like a change is another metrical level coming to the fore: a break that
leaves the half notes, triplets over the beat. So a change is reported only where the track is steady before and after it, in
tempi whose beats cannot both belong to one grid, and where each fits its own stretch far better than the other's.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.beat_grid import BLOCK, WEIGHTS, amplitudes, fit_grid
from map4_pipeline.audio.model import TempoSpan
from map4_pipeline.audio.rhythm import Onsets
from map4_pipeline.audio.spectra import RHYTHM_FPS
from map4_pipeline.audio.tempogram import GRID, WINDOW, tempogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Blocks of 4 s in which a track of one tempo is coherent wherever one looks, and the least coherence of such a stretch.
_GROUP, _STEADY = 5, 0.6
#: Seconds that a tempo lasts before it counts, and the coherence it must have.
_SHORTEST, _CONSTANT = 16.0, 0.8
#: Tempi per octave that local tempi are told apart by.
_STEPS = 264
#: What a jump of the local tempo costs, in windows that fit perfectly: one window alone may be wrong.
_JUMP = 2.0
#: Ratios (within an octave) of tempi whose beats may belong to one grid, and how near counts.
_RELATED, _NEAR = (1.0, 4 / 3, 3 / 2, 2.0), 0.015
#: How far a tempo measured over several may lie from the one it stands for.
_PULLED = 0.025
#: Stretches all this near to the track's tempo are those of one tempo that drifts.
_DRIFT = 0.05
#: How much stronger a stretch's own tempo is in it than its neighbour's.
_DISTINCT = 1.4
#: Seconds round a change in which its exact place is sought, and the step.
_SEARCH, _STEP = 10.0, 0.5
#: Points of the curve, and beats on either side that one is measured over.
_POINTS, _BEATS = 200, 4


def find_spans(
    onsets: Onsets, envelope: "NDArray[np.float32]", bpm: float, estimate: Callable[[Onsets], float | None]
) -> tuple[TempoSpan, ...]:
    """Divide the track into stretches of one tempo; one where it does not change or changes all the time.

    Parameters
    ----------
    onsets : Onsets
    envelope : ndarray, shape (n,)
        Normalised onset strength of all bands.
    bpm : float
        The track's tempo.
    estimate : callable
        Returns the tempo of onsets: decides the octave of a stretch.
    """
    duration = len(envelope) / RHYTHM_FPS
    whole = (TempoSpan(0.0, duration, bpm),)
    if duration < 2 * _SHORTEST or _is_steady(envelope, bpm):
        return whole
    stretches = _confirmed(envelope, _stretches(envelope, bpm))
    if len(stretches) < 2:
        return whole
    edges = [0.0, *(_change(envelope, a, b) for a, b in pairwise(stretches)), duration]
    spans = []
    for start, end, stretch in zip(edges, edges[1:], stretches, strict=False):
        part = slice(round(start * RHYTHM_FPS), round(end * RHYTHM_FPS))
        local = estimate(Onsets(*(getattr(onsets, field.name)[part] for field in fields(onsets))))
        # The level that is the beat: the one that the stretch has on its own, else the track's, where it fits.
        levels = (tempo for tempo in (local, bpm) if tempo is not None and _one_grid(tempo, stretch.bpm))
        spans.append(TempoSpan(start, end, fit_grid(envelope[part], next(levels, stretch.bpm)).bpm))
    return tuple(spans)


def nearest_tempo(bpm: float, spans: Sequence[TempoSpan]) -> float:
    """Return the track's tempo, or where it has several and this is one of them but for 2.5%, what the longest such stretch has.

    Over the whole track, the beats of one tempo pull at what is measured of another. Where one tempo drifts, what the whole track
    has stands for it better than any of its stretches.
    """
    if all(abs(span.bpm / bpm - 1) < _DRIFT for span in spans):
        return bpm
    near = [span for span in spans if abs(span.bpm / bpm - 1) < _PULLED]
    return max(near, key=lambda span: span.end - span.start).bpm if near else bpm


def tempo_curve(beats: "NDArray[np.float64]", spans: Sequence[TempoSpan]) -> tuple[tuple[float, float], ...]:
    """Return at most 200 points (seconds, local BPM): the mean over the eight beats round each, within one span.

    `beats`, shape (n,), are seconds.
    """
    points: list[tuple[float, float]] = []
    for span in spans:
        inside = beats[(beats >= span.start) & (beats < span.end)]
        if len(inside) < 2:
            continue
        index = np.arange(len(inside))
        first, last = np.maximum(index - _BEATS, 0), np.minimum(index + _BEATS, len(inside) - 1)
        local = 60 * (last - first) / (inside[last] - inside[first])
        points += zip(inside.tolist(), local.tolist(), strict=True)
    return tuple(points[:: max(1, math.ceil(len(points) / _POINTS))])


def _is_steady(envelope: "NDArray[np.float32]", bpm: float) -> bool:
    """Tell whether every 20 s of the track are coherent at one tempo."""
    blocks = amplitudes(envelope, fit_grid(envelope, bpm).bpm)
    group = min(_GROUP, blocks.shape[1])
    sums = np.lib.stride_tricks.sliding_window_view(blocks, group, axis=1)
    coherent = WEIGHTS @ np.abs(sums.sum(axis=2))
    return bool(np.all(coherent >= _STEADY * (WEIGHTS @ np.abs(sums).sum(axis=2))))


def _stretches(envelope: "NDArray[np.float32]", bpm: float) -> list[TempoSpan]:
    """Return where the local tempo stays what it is, octaves aside, for 16 s or longer: the best path through the windows."""
    fit = _folded(tempogram(envelope).score)
    count = len(fit)
    total = fit[0].copy()
    came_from = np.empty((count, _STEPS), np.int32)
    here = np.arange(_STEPS)
    for k in range(count):
        # From the same step, a neighbouring one at no cost, or the best of all at the price of a jump.
        choice = np.stack([total, np.roll(total, 1), np.roll(total, -1)])
        best = np.argmax(choice, axis=0)
        source = (here - np.array([0, 1, -1])[best]) % _STEPS
        value = choice[best, here]
        top = int(np.argmax(total))
        jumps = value < total[top] - _JUMP
        came_from[k] = np.where(jumps, top, source)
        total = np.where(jumps, total[top] - _JUMP, value) + fit[k]
    path = np.empty(count, np.int64)
    step = int(np.argmax(total))
    for k in range(count - 1, -1, -1):
        path[k] = step
        step = int(came_from[k, step])
    moved = np.abs((np.diff(path) + _STEPS // 2) % _STEPS - _STEPS // 2)
    borders = [0, *(np.flatnonzero(moved > 1) + 1).tolist(), count]
    hop = max(1, int(WINDOW * RHYTHM_FPS) // 4) / RHYTHM_FPS
    out = []
    for first, last in pairwise(borders):
        # A window stands for the hop in its middle, the outermost for all up to the end.
        start = 0.0 if first == 0 else (first - 0.5) * hop + WINDOW / 2
        end = len(envelope) / RHYTHM_FPS if last == count else (last - 0.5) * hop + WINDOW / 2
        if end - start >= _SHORTEST:
            tempo = GRID[0] * 2 ** (float(np.median(path[first:last])) / _STEPS)
            out.append(TempoSpan(start, end, float(tempo * 2.0 ** round(math.log2(bpm / tempo)))))
    return out


def _folded(score: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Add up tempi an octave apart, shape (windows, 264), each window's best 1."""
    step = np.rint(np.log2(GRID / GRID[0]) * _STEPS).astype(int) % _STEPS
    folded = np.zeros((len(score), _STEPS))
    np.add.at(folded.T, step, np.maximum(score, 0).T)
    return np.asarray(folded / (folded.max(axis=1, keepdims=True) + 1e-9))


def _confirmed(envelope: "NDArray[np.float32]", stretches: list[TempoSpan]) -> list[TempoSpan]:
    """Keep the stretches that are constant, join those in one tempo, and require that neighbours differ."""
    out: list[TempoSpan] = []
    for stretch in stretches:
        part = _part(envelope, stretch)
        grid = fit_grid(part, stretch.bpm)
        if grid.coherence < _CONSTANT:
            continue
        exact = TempoSpan(stretch.start, stretch.end, grid.bpm)
        if not out:
            out.append(exact)
        elif _one_grid(out[-1].bpm, exact.bpm) or not (
            _strength(_part(envelope, out[-1]), out[-1].bpm) > _DISTINCT * _strength(_part(envelope, out[-1]), exact.bpm)
            and _strength(part, exact.bpm) > _DISTINCT * _strength(part, out[-1].bpm)
        ):
            out[-1] = TempoSpan(out[-1].start, exact.end, out[-1].bpm)
        else:
            out.append(exact)
    return out


def _part(envelope: "NDArray[np.float32]", span: TempoSpan) -> "NDArray[np.float32]":
    return envelope[round(span.start * RHYTHM_FPS) : round(span.end * RHYTHM_FPS)]


def _one_grid(a: float, b: float) -> bool:
    ratio = 2.0 ** (abs(math.log2(a / b)) % 1.0)
    return any(abs(ratio / related - 1) < _NEAR for related in _RELATED)


def _strength(envelope: "NDArray[np.float32]", bpm: float) -> float:
    """Return how strongly onsets follow a tempo, in pieces of 4 s."""
    return float((WEIGHTS @ np.abs(amplitudes(envelope, bpm))).sum())


def _change(envelope: "NDArray[np.float32]", before: TempoSpan, after: TempoSpan) -> float:
    """Return when the tempo changes: where the sum of what fits before and what fits after is largest."""
    begin, end = max(0.0, before.end - _SEARCH), min(len(envelope) / RHYTHM_FPS, after.start + _SEARCH)
    starts = np.arange(begin, max(begin + _STEP, end - BLOCK), _STEP)
    gain = []
    for start in starts:
        piece = envelope[round(start * RHYTHM_FPS) :][: int(BLOCK * RHYTHM_FPS)]
        gain.append(_strength(piece, before.bpm) - _strength(piece, after.bpm))
    return float(starts[int(np.argmax(np.cumsum(gain)))] + (BLOCK + _STEP) / 2)
