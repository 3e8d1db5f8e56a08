"""What speaks for each of the 24 keys, and whether there is a key at all."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.spectra import RHYTHM_HOP, TONAL_HOP, Spectra

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Key profiles for electronic and popular music; Faraldo, Gomez, Jorda & Herrera 2016 ("bgate": weak degrees set to zero).
_MAJOR = np.array([1.00, 0.00, 0.42, 0.00, 0.53, 0.37, 0.00, 0.77, 0.00, 0.38, 0.21, 0.30])
_MINOR = np.array([1.00, 0.00, 0.36, 0.39, 0.00, 0.38, 0.00, 0.74, 0.27, 0.00, 0.42, 0.23])
#: What each piece of evidence adds to a key's log odds, in the order of `key_evidence`; fitted by `benchmarks/train_key.py` on
#: 1,030 rendered items (none of the truth set's) and 120 synthesised songs, whole and cut, so that the odds are probabilities.
_EVIDENCE_WEIGHTS = np.array([11.11, 14.53, 6.28, 12.56])
#: Frames of 0.19 s over which a chord is averaged.
_CHORD_FRAMES = 4
#: Frames behind a beginning that say what it begins with: a chord's length without the first, which still holds what was before.
ARRIVAL = (1, 8)
#: Share of the usual clarity of chords that a beginning must reach: what is below is drums, noise or a voice before the music.
_CLEAR = 0.6
#: A section begins where the mean sound of 26 frames (4.8 s) before and after differ most (16 to 43 were tried); of these the 8
#: strongest. `_SECTION_DOUBT`: how large a change (squared nepers) halves what is known of the sections.
_SECTION_FRAMES, _SECTIONS, _SECTION_DOUBT = 26, 8, 6.0
#: Mel bands in a band of timbre (1, 4 and 8 were tried: 4 holds best against chords that change on the same instruments).
_TIMBRE_BANDS = 4
#: Tonal frames that are summed up at once.
_AT_ONCE = 1 << 10
#: How closely the peaks must keep to semitones: noise reaches 0.045, the most distorted of 200 pieces of music 0.065.
MIN_FOCUS = 0.05
#: Likeness to chords + steadiness + 0.4 focus must reach 1.67: 80 drum loops, noises and glides, all out of tune, end at 1.65;
#: 1,124 rendered pieces begin at 1.74, 41 of 42 recordings at 1.70.
_FOCUS_WORTH, _MIN_PITCHED = 0.4, 1.67
#: Sound that is in tune: clusters and twelve-tone rows are like chords below 0.62 and spread over the triads below 0.09; music is
#: over the first, or over the second (a lone melody: 0.58 and 0.12). Below 0.025 there is no home at all.
_MIN_CHORDS, _MIN_MELODY_SPREAD, _MIN_SPREAD = 0.64, 0.10, 0.025


def key_scores(chroma: "NDArray[np.floating]") -> "NDArray[np.float64]":
    """Return the correlation of chroma vectors with the 24 key profiles (Krumhansl 1990), shape (..., 24) for (..., 12)."""
    centred = chroma - chroma.mean(axis=-1, keepdims=True)
    return np.asarray(centred @ _unit_profiles() / (np.linalg.norm(centred, axis=-1, keepdims=True) + 1e-12))


@lru_cache(maxsize=1)
def _unit_profiles() -> "NDArray[np.float64]":
    profiles = np.stack([np.roll(profile, shift) for profile in (_MAJOR, _MINOR) for shift in range(12)])
    profiles -= profiles.mean(axis=1, keepdims=True)
    return np.asarray((profiles / np.linalg.norm(profiles, axis=1, keepdims=True)).T.copy())


def triad_likeness(frames: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Return how much each frame is like each of the 24 triads, shape (n, 24): cosine, averaged over a chord's length."""
    shapes = np.zeros((24, 12))
    for root in range(12):
        shapes[root, [root, (root + 4) % 12, (root + 7) % 12]] = 1
        shapes[12 + root, [root, (root + 3) % 12, (root + 7) % 12]] = 1
    unit = frames / (np.linalg.norm(frames, axis=1, keepdims=True) + 1e-9)
    cosine = unit.astype(np.float64) @ (shapes / np.sqrt(3)).T
    # Sums of a window as differences of a running sum; zeros stand before and behind the track.
    total = np.cumsum(np.pad(cosine, ((_CHORD_FRAMES // 2 + 1, _CHORD_FRAMES - _CHORD_FRAMES // 2 - 1), (0, 0))), axis=0)
    return np.asarray((total[_CHORD_FRAMES:] - total[:-_CHORD_FRAMES]) / _CHORD_FRAMES)


def timbre_frames(spectra: Spectra) -> "NDArray[np.float32]":
    """Return the log power of every tonal frame in 10 wide bands, shape (n, 10): what a listener hears new sections by.

    Four mel bands each, so that another chord on the same instruments changes little.
    """
    step = TONAL_HOP // RHYTHM_HOP
    bands = spectra.mel.shape[1]
    wide = np.repeat(np.eye(bands // _TIMBRE_BANDS, dtype=np.float32), _TIMBRE_BANDS, axis=0)
    sums = np.empty((spectra.tonal_frames, wide.shape[1]), np.float32)
    for start in range(0, spectra.tonal_frames, _AT_ONCE):
        some = sums[start : start + _AT_ONCE]
        power = spectra.mel[start * step : (start + len(some)) * step] @ wide
        power.reshape(len(some), step, -1).sum(axis=1, out=some)
    mean = sums / np.float32(_TIMBRE_BANDS * step)
    return np.asarray(np.log(mean + np.float32(1e-6 * float(mean.mean()) + 1e-12)))


def section_starts(timbre: "NDArray[np.float32]") -> tuple["NDArray[np.intp]", "NDArray[np.float64]"]:
    """Return the frames at which the sound changes most, at most 8, and the mean square of each change (squared nepers).

    Novelty is the distance between the mean spectra before and after. After Foote 2000.
    """
    count = len(timbre)
    total = np.concatenate([np.zeros((1, timbre.shape[1])), np.cumsum(timbre, axis=0, dtype=np.float64)])
    here = np.arange(count + 1)
    left, right = np.maximum(0, here - _SECTION_FRAMES), np.minimum(count, here + _SECTION_FRAMES)
    before = (total - total[left]) / np.maximum(1, here - left)[:, None]
    after = (total[right] - total) / np.maximum(1, right - here)[:, None]
    change = ((after - before) ** 2).mean(axis=1)
    # Half a window sees single chords, not the sound of a section.
    change[:_SECTION_FRAMES] = change[-_SECTION_FRAMES:] = 0.0
    window = np.lib.stride_tricks.sliding_window_view(np.pad(change, _SECTION_FRAMES), 2 * _SECTION_FRAMES + 1)
    peaks = np.flatnonzero((change > 0) & (change == window.max(axis=1)))
    strongest = peaks[np.argsort(-change[peaks], kind="stable")][:_SECTIONS]
    return strongest, change[strongest]


def key_evidence(
    chroma: "NDArray[np.float64]", likeness: "NDArray[np.float64]", timbre: "NDArray[np.float32]"
) -> "NDArray[np.float64]":
    """Return what speaks for each of the 24 keys, shape (24, 4).

    Columns: correlation of the mean chroma with the key's profile; likeness to the key's own triad, less the mean over the
    triads, of the track as a whole, of what it begins with, and of what its sections begin with. Profiles alone cannot tell a
    minor loop such as i-VI-III-VII from its relative major: both have the same notes. Where a piece spends its time, and what it
    comes home to when something new begins, can. A section counts by how much the sound changes there, the beginning by how
    clear its chord is: a track may have lost its beginning, or begin with drums.

    Parameters
    ----------
    chroma : ndarray, shape (12,)
        Mean chroma.
    likeness : ndarray, shape (n, 24)
        From `triad_likeness`, n > 8, frames that hold notes only.
    timbre : ndarray, shape (n, 10)
        From `timbre_frames`, the same frames.
    """
    first, last = ARRIVAL
    clarity = np.convolve(likeness.max(axis=1) - likeness.mean(axis=1), np.full(6, 1 / 6), "same")
    begin = min(int(np.argmax(clarity > _CLEAR * np.median(clarity))), len(likeness) - last)
    sections = np.zeros(24)
    starts, changes = section_starts(timbre)
    for start, change in zip(starts, changes, strict=True):
        sections += change * _centred(likeness[start + first : start + last + 1])
    columns = [key_scores(chroma), _centred(likeness), _centred(likeness[begin + first : begin + last])]
    return np.stack([*columns, sections / (changes.sum() + _SECTION_DOUBT)], axis=1)


def _centred(likeness: "NDArray[np.float64]") -> "NDArray[np.float64]":
    mean = likeness.mean(axis=0)
    return np.asarray(mean - mean.mean())


def key_probabilities(evidence: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return the probabilities of the 24 keys, shape (24,): a conditional logit of `key_evidence` (McFadden 1974)."""
    logit = evidence @ _EVIDENCE_WEIGHTS
    odds = np.exp(logit - logit.max())
    return np.asarray(odds / odds.sum())


def steadiness(frames: "NDArray[np.float32]") -> float:
    """Return how long notes last, in [0, 1]: the mean length of the mean of four successive frames, each of length 1."""
    unit = frames / (np.linalg.norm(frames, axis=1, keepdims=True) + np.float32(1e-9))
    run = unit[3:] + unit[2:-1] + unit[1:-2] + unit[:-3]
    return float(np.linalg.norm(run, axis=1).mean(dtype=np.float64) / 4)


def is_tonal(focus: float, frames: "NDArray[np.float32]", likeness: "NDArray[np.float64]") -> bool:
    """Return whether there is a key to be told.

    Not in drums and noise, which are like no chord, do not last and keep to no tuning. Not in clusters and twelve-tone rows,
    which are in tune, but like no chord, and none of the triads stands out.

    Parameters
    ----------
    focus : float
        How closely the pitches keep to semitones, in [0, 1].
    frames : ndarray, shape (n, 12)
        Chroma of the frames that hold notes, n > 8.
    likeness : ndarray, shape (n, 24)
        From `triad_likeness`, the same frames.
    """
    chords = float(likeness.max(axis=1).mean())
    spread = float(likeness.mean(axis=0).std())
    pitched = chords + steadiness(frames) + _FOCUS_WORTH * focus
    return pitched >= _MIN_PITCHED and spread >= (_MIN_SPREAD if chords >= _MIN_CHORDS else _MIN_MELODY_SPREAD)
