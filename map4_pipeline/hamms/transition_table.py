"""The scores of all pairs of many tracks: what `hamms.transition` says of one pair, in columns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from map4_pipeline.hamms.mixing import (
    ALMOST,
    AT_RANGE,
    NEUTRAL,
    NO_FIT,
    OCTAVE_SHARE,
    SHIFTS,
    MixTrack,
    TransitionRules,
    energy_fit,
    key_place,
    key_table,
    loudness_fit,
    number,
    positive,
    trust,
)  # fmt: skip

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Singles = NDArray[np.float32]

_CELLS = 65_536  # pairs at a time: intermediate results stay in the processor's cache


@dataclass(frozen=True, slots=True)
class MixTable:
    """Tracks as columns, NaN where a value is unknown; `key` is a place of `key_place`.

    Attributes
    ----------
    track_id, key : integer arrays, shape (n,)
    octaves : float64 array, shape (n,)
        log2 of the tempo over 120 BPM.
    bpm_confidence, key_confidence, energy, loudness_lufs : float64 arrays, shape (n,)
    """

    track_id: "NDArray[np.int64]"
    octaves: "Floats"
    bpm_confidence: "Floats"
    key: "NDArray[np.int8]"
    key_confidence: "Floats"
    energy: "Floats"
    loudness_lufs: "Floats"

    @classmethod
    def of(cls, tracks: Sequence[MixTrack]) -> "MixTable":
        """Return tracks as columns, in their order."""

        def column(values: list[float | None]) -> "Floats":
            return np.array([math.nan if value is None else value for value in values], dtype=np.float64)

        tempi = [positive(track.bpm) for track in tracks]
        return cls(
            np.array([track.track_id for track in tracks], dtype=np.int64),
            column([None if bpm is None else math.log2(bpm / 120) for bpm in tempi]),
            column([trust(track.bpm_confidence) for track in tracks]),
            np.array([key_place(track.camelot) for track in tracks], dtype=np.int8),
            column([trust(track.key_confidence) for track in tracks]),
            column([number(track.energy) for track in tracks]),
            column([number(track.loudness_lufs) for track in tracks]),
        )

    def __len__(self) -> int:
        return len(self.track_id)

    def rows(self, chosen: "slice | NDArray[Any]") -> "MixTable":
        """Return some of the tracks."""
        names = ("track_id", "octaves", "bpm_confidence", "key", "key_confidence", "energy", "loudness_lufs")
        return MixTable(*(getattr(self, name)[chosen] for name in names))


def transition_scores(table: MixTable, rules: TransitionRules | None = None) -> "NDArray[np.float32]":
    """Return the scores of all pairs, shape (n, n): row i, column j is from track i to track j. No NaN.

    5,000 tracks take 100 MB for the result and little beside it.
    """
    return scores_between(table, table, rules)


def scores_between(first: MixTable, second: MixTable, rules: TransitionRules | None = None) -> "NDArray[np.float32]":
    """Return the scores from each track of one table to each of another, shape (n, m)."""
    rules = rules or TransitionRules()
    found = np.empty((len(first), len(second)), dtype=np.float32)
    step = max(1, _CELLS // max(1, len(second)))
    for start in range(0, len(first), step):
        found[start : start + step] = _block(first.rows(slice(start, start + step)), second, rules)
    return found


def _block(first: MixTable, second: MixTable, rules: TransitionRules) -> "Singles":
    """Return the scores of a block of pairs, in single precision: the fits are straight lines, cut off at 0 and 1."""
    total = sum(rules.weights.values())
    one = np.float32(1)

    def row(values: Any) -> "Singles":
        return np.asarray(values[None, :], dtype=np.float32)

    def col(values: Any) -> "Singles":
        return np.asarray(values[:, None], dtype=np.float32)

    def share(name: str, fit: "Singles", a: Any = None, b: Any = None) -> "Singles":
        neutral = np.float32(NEUTRAL[name])
        if a is not None:
            doubt = col(a) * row(b)
            np.subtract(one, doubt, out=doubt)
            doubt *= np.maximum(fit - neutral, 0)
            fit -= doubt
        # NaN: a value is unknown.
        np.copyto(fit, neutral, where=np.isnan(fit))
        fit *= np.float32(rules.weights[name] / total)
        return fit

    apart = row(second.octaves) - col(first.octaves)
    octave = np.rint(apart)
    np.clip(octave, -1, 1, out=octave)
    apart -= octave
    far = np.abs(apart)
    far *= np.float32(1 / rules.reach)
    tempo = np.minimum(one - np.float32(1 - AT_RANGE) * far, np.float32(AT_RANGE / (NO_FIT - 1)) * (np.float32(NO_FIT) - far))
    np.maximum(tempo, 0, out=tempo)
    tempo -= np.abs(octave) * np.float32(1 - OCTAVE_SHARE) * tempo
    relations = key_table(rules.policy)
    if rules.key_lock:
        key = relations[first.key][:, second.key]
    else:
        shift = np.where(far <= 1 + ALMOST, np.float32(-12) * apart, np.float32(0))
        semitones = np.rint(shift)
        shift -= semitones
        shift *= 2
        shift *= shift
        sounding = SHIFTS[semitones.astype(np.int8), second.key[None, :]]
        key = relations[first.key[:, None], sounding]
        key -= shift * key
    score = share("tempo", tempo, first.bpm_confidence, second.bpm_confidence)
    score += share("key", key, first.key_confidence, second.key_confidence)
    score += share("energy", np.asarray(energy_fit(row(second.energy) - col(first.energy))))
    score += share("loudness", np.asarray(loudness_fit(row(second.loudness_lufs) - col(first.loudness_lufs))))
    return np.minimum(score, one, out=score)
