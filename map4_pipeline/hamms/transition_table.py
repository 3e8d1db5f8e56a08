"""The scores of all pairs of many tracks: what `hamms.transition` says of one pair, in columns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from map4_pipeline.hamms.mixing import (
    ALMOST,
    AT_RANGE,
    ENERGY_FALL,
    ENERGY_FREE,
    ENERGY_RISE,
    LOUDNESS_END,
    LOUDNESS_FREE,
    NEUTRAL,
    NO_FIT,
    OCTAVE_SHARE,
    SHIFTS,
    UNKNOWN_KEY,
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


class ScoresFrom:
    """The scores from one track to many, with key lock: what `scores_between` says, with fewer passes and no new memory.

    Made once for a question, then called block by block. A fit that doubt pulls towards chance is `min(fit, chance) +
    confidence x max(fit - chance, 0)`: weights and the first track's confidence go into a few numbers and, for keys, two small
    tables.

    Parameters
    ----------
    first : float32 array, shape (6,)
        `octaves`, `bpm_confidence`, `key`, `key_confidence`, `energy` and `loudness_lufs` of `MixTable`.
    size : int
        The most tracks of a block.
    """

    def __init__(self, first: "Singles", rules: TransitionRules, size: int) -> None:
        total = sum(rules.weights.values())
        self._weights = {name: np.float32(weight / total) for name, weight in rules.weights.items()}
        self._octaves, self._sure, key, key_sure, self._energy, self._loudness = first
        self._per_octave = np.float32(1 / rules.reach)
        weight, chance = self._weights["key"], np.float32(NEUTRAL["key"])
        fits = key_table(rules.policy)[UNKNOWN_KEY if np.isnan(key) else int(key)]
        fits = np.where(np.isnan(fits), chance, fits)
        self._least = weight * np.minimum(fits, chance)
        self._more = weight * key_sure * np.maximum(fits - chance, 0)
        self._room = [np.empty(size, np.float32) for _ in range(3)]
        self._unknown = np.empty(size, bool)

    def __call__(self, columns: "Singles", out: "Singles") -> None:
        """Put the scores to the tracks of some columns, shape (6, n) as `first`, into `out`, shape (n,)."""
        octaves, sure, key, key_sure, energy, loudness = columns
        one, other, far = (room[: len(out)] for room in self._room)
        self._tempo(octaves, sure, out, one, other, far)
        places = key.astype(np.intp)
        np.multiply(self._more[places], key_sure, out=one)
        one += self._least[places]
        out += one
        # Rise and fall are two straight lines; the lower one counts.
        np.subtract(energy, self._energy, out=one)
        np.multiply(one, np.float32(-1 / (ENERGY_RISE - ENERGY_FREE)), out=other)
        other += np.float32(ENERGY_RISE / (ENERGY_RISE - ENERGY_FREE))
        one *= np.float32(1 / (ENERGY_FALL - ENERGY_FREE))
        one += np.float32(ENERGY_FALL / (ENERGY_FALL - ENERGY_FREE))
        self._add("energy", np.minimum(one, other, out=one), out)
        np.subtract(loudness, self._loudness, out=one)
        np.abs(one, out=one)
        one *= np.float32(-1 / (LOUDNESS_END - LOUDNESS_FREE))
        one += np.float32(LOUDNESS_END / (LOUDNESS_END - LOUDNESS_FREE))
        self._add("loudness", one, out)
        np.minimum(out, np.float32(1), out=out)

    def _tempo(
        self, octaves: "Singles", sure: "Singles", out: "Singles", one: "Singles", other: "Singles", far: "Singles"
    ) -> None:
        np.subtract(octaves, self._octaves, out=far)
        np.rint(far, out=other)
        np.clip(other, -1, 1, out=other)
        far -= other
        np.abs(far, out=far)
        far *= self._per_octave
        np.multiply(far, np.float32(-AT_RANGE / (NO_FIT - 1)), out=one)
        one += np.float32(AT_RANGE * NO_FIT / (NO_FIT - 1))
        far *= np.float32(AT_RANGE - 1)
        far += np.float32(1)
        np.minimum(one, far, out=one)
        np.maximum(one, np.float32(0), out=one)
        np.abs(other, out=other)
        other *= np.float32(OCTAVE_SHARE - 1)
        other += np.float32(1)
        one *= other
        chance, weight = np.float32(NEUTRAL["tempo"]), self._weights["tempo"]
        np.minimum(one, chance, out=out)
        one -= out
        one *= sure
        one *= self._sure
        out += one
        unknown = np.isnan(out, out=self._unknown[: len(out)])
        np.copyto(out, chance, where=unknown)
        out *= weight

    def _add(self, name: str, fit: "Singles", out: "Singles") -> None:
        """Add a part's fit, cut off at 0 and 1, by its weight; unknown is chance."""
        np.clip(fit, 0, 1, out=fit)
        np.copyto(fit, np.float32(NEUTRAL[name]), where=np.isnan(fit, out=self._unknown[: len(fit)]))
        fit *= self._weights[name]
        out += fit
