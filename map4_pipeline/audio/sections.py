"""The form of a track: where it changes, and which of its parts sound alike.

Foote's method on half-second features: a checkerboard kernel with Gaussian taper slides along the diagonal of the track's
self-similarity and peaks where what follows is unlike what came before. With the inner product as similarity, the product of a
separable kernel with the matrix is the squared length of the difference between the tapered means of both sides, so that the
matrix itself is never made and time and memory grow with the track's length only.

Sources: J. Foote, Automatic audio segmentation using a measure of audio novelty (ICME 2000); labels by average-linkage
clustering of the parts' means.
"""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.model import Section
from map4_pipeline.audio.spectra import RHYTHM_HOP, SAMPLE_RATE, TONAL_FRAME, TONAL_HOP, Spectra

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Rhythm frames a step: half a second, for tracks up to 32 minutes.
_STEP_FRAMES = 43
#: No part is shorter, seconds; and no track has more parts, so that the parts of a long mix are its tracks.
MIN_SECONDS, MAX_SECTIONS = 8.0, 60
#: Reach of the kernel to each side, seconds, for parts of the shortest length.
_REACH = 12.0
#: Share of the features' variance that two sides must differ by to be two parts. Steady loops stay under it; see the tests.
_NOVELTY = 0.45
#: Distance (in the same unit) under which two parts have one letter.
_SAME = 0.7
#: How much harmony counts beside timbre.
_CHROMA_SHARE = 0.5
#: Levels this far under the track's loudest step are silence, which has no timbre; dB.
_FLOOR_DB = 60.0
#: Spectral peaks looked at in one go, so that a long mix takes no more memory than a song.
_PEAKS = 1 << 18


def find_sections(spectra: Spectra, duration: float) -> tuple[Section, ...]:
    """Return the parts of a track, without gaps from 0 to `duration` (seconds).

    Neighbouring parts have different letters; a letter that returns says that the part sounds like the earlier one.
    """
    shortest = max(MIN_SECONDS, duration / MAX_SECTIONS)
    # Where parts are minutes long, longer steps do.
    frames = _STEP_FRAMES * max(1, int(shortest / MIN_SECONDS / 2))
    step = frames * RHYTHM_HOP / SAMPLE_RATE
    features = step_features(spectra, frames)
    edges = _boundaries(features, round(shortest / step), round(_REACH * shortest / MIN_SECONDS / step))
    labels = _labels(features, edges)
    kept = [0, *(k for k in range(1, len(labels)) if labels[k] != labels[k - 1])]
    starts = [0.0, *(round(edges[k] * step, 3) for k in kept[1:])]
    return tuple(
        Section(start, end, _letter(labels[k])) for start, end, k in zip(starts, [*starts[1:], duration], kept, strict=True)
    )


def step_features(spectra: Spectra, frames: int) -> "NDArray[np.float32]":
    """Return (steps, 52) features of steps of `frames` rhythm frames: 40 mel levels and 12 pitch classes.

    Each group is centred and of a fixed total variance.
    """
    count = max(1, len(spectra.mel) // frames)
    whole = spectra.mel[: count * frames]
    power = whole.reshape(count, -1, whole.shape[1]).mean(axis=1)
    level = 10 * np.log10(np.maximum(power, max(float(power.max()) * 10 ** (-_FLOOR_DB / 10), 1e-30)))
    return np.concatenate([_scaled(level, 1.0), _scaled(_chroma(spectra, count, frames), _CHROMA_SHARE)], axis=1)


def _chroma(spectra: Spectra, count: int, frames: int) -> "NDArray[np.float32]":
    """Return the share of each pitch class in every step; steps without notes get the average."""
    middle = np.arange(spectra.tonal_frames) * TONAL_HOP + TONAL_FRAME // 2
    step = np.minimum(middle // (frames * RHYTHM_HOP), count - 1)
    counts = np.zeros(count * 12)
    for start in range(0, len(spectra.peak_frame), _PEAKS):
        some = slice(start, start + _PEAKS)
        pitch = np.rint(12 * np.log2(spectra.peak_frequency[some] / np.float32(440))).astype(np.int64) % 12
        counts += np.bincount(step[spectra.peak_frame[some]] * 12 + pitch, spectra.peak_weight[some], count * 12)
    chroma = counts.reshape(count, 12)
    total = chroma.sum(axis=1, keepdims=True)
    mean = chroma.sum(axis=0) / max(float(total.sum()), 1e-30)
    return np.asarray(np.where(total > 0, chroma / np.maximum(total, 1e-30), mean), dtype=np.float32)


def _scaled(values: "NDArray[np.float32]", variance: float) -> "NDArray[np.float32]":
    centred = values - values.mean(axis=0)
    return np.asarray(centred * np.sqrt(variance / max(float((centred**2).sum(axis=1).mean()), 1e-12)), dtype=np.float32)


def novelty(features: "NDArray[np.float32]", reach: int) -> "NDArray[np.float64]":
    """Return how unlike both sides of every boundary between steps are, shape (steps + 1,).

    At the ends, the side that is cut short has fewer steps.
    """
    steps = len(features)
    taper = np.exp(-0.5 * (np.arange(reach) / (0.5 * reach)) ** 2)
    sides = np.zeros((2, steps + 1, features.shape[1]))
    weight = np.zeros((2, steps + 1, 1))
    for k in range(min(reach, steps)):
        sides[0, k + 1 :] += taper[k] * features[: steps - k]
        weight[0, k + 1 :] += taper[k]
        sides[1, : steps - k] += taper[k] * features[k:]
        weight[1, : steps - k] += taper[k]
    difference = np.divide(sides[1], weight[1], where=weight[1] > 0, out=sides[1]) - np.divide(
        sides[0], weight[0], where=weight[0] > 0, out=sides[0]
    )
    return np.asarray((difference**2).sum(axis=1))


def _boundaries(features: "NDArray[np.float32]", gap: int, reach: int) -> list[int]:
    """Return the steps at which parts begin, and the end: the highest peaks first, none nearer to another than `gap`."""
    steps = len(features)
    edges = [0, steps]
    if steps >= 2 * gap:
        curve = novelty(features, reach)
        inner = curve[1:-1]
        peaks = 1 + np.flatnonzero((inner > curve[:-2]) & (inner >= curve[2:]) & (inner > _NOVELTY))
        for peak in peaks[np.argsort(-curve[peaks], kind="stable")]:
            if min(abs(int(peak) - edge) for edge in edges) >= gap:
                edges.append(int(peak))
    return sorted(edges)


def _labels(features: "NDArray[np.float32]", edges: list[int]) -> list[int]:
    """Return a number for each part, equal where parts sound alike, counted from 0 in order of appearance."""
    means = np.stack([features[a:b].mean(axis=0) for a, b in pairwise(edges)])
    link = ((means[:, None] - means[None]) ** 2).sum(axis=2).astype(np.float64)
    np.fill_diagonal(link, np.inf)
    group = np.arange(len(means))
    while True:
        first, second = sorted(divmod(int(np.argmin(link)), len(link)))
        if link[first, second] >= _SAME:
            break
        # Average linkage: the distance of a union is the mean over its members (Lance and Williams 1967).
        here, there = (float(np.count_nonzero(group == k)) for k in (first, second))
        link[first] = link[:, first] = (here * link[first] + there * link[second]) / (here + there)
        link[second] = link[:, second] = np.inf
        group[group == second] = first
    rank = {number: k for k, number in enumerate(sorted(set(group.tolist())))}
    return [rank[number] for number in group.tolist()]


def _letter(number: int) -> str:
    """Return A to Z, then AA, AB, ... ."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
