"""What mixing goes by: tracks, the rules of a DJ, and how well keys, energies and levels go together.

`hamms.transition` makes a judgement of it, docs/mixing.md argues the figures.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from map4_pipeline.hamms.camelot import camelot_number, parse_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

Policy = Literal["strict", "extended"]
PARTS = ("key", "tempo", "energy", "loudness")

#: Mean fit of two tracks drawn at random from the reference music (`python -m benchmarks.reference`), with the default rules.
NEUTRAL = {"key": 0.32, "tempo": 0.17, "energy": 0.79, "loudness": 0.62}
#: Fit of related keys: {policy: {(steps up the ring, letter changes): fit}}. +7 steps are a semitone up. Directions count: the
#: second track's place less the first's.
KEY_FITS: dict[Policy, dict[tuple[int, str], float]] = {
    "strict": {(0, ""): 1.0, (1, ""): 0.9, (11, ""): 0.9, (0, "AB"): 0.9, (0, "BA"): 0.9},
    "extended": {
        (0, ""): 1.0, (1, ""): 0.9, (11, ""): 0.9, (0, "AB"): 0.9, (0, "BA"): 0.9,
        (1, "AB"): 0.75, (11, "AB"): 0.75, (1, "BA"): 0.75, (11, "BA"): 0.75,
        (2, ""): 0.65, (10, ""): 0.55, (7, ""): 0.5, (3, "AB"): 0.55, (9, "BA"): 0.55,
    },
}  # fmt: skip
#: Fit of the keys without a relation, by their distance round the ring: a step further is a shared note less.
OTHER_KEYS = (0.3, 0.3, 0.2, 0.15, 0.1, 0.05, 0.0)
#: A key fit from which a long overlay sounds well, and from which a change of key works as an effect.
SMOOTH, EFFECT = 0.7, 0.45
#: Tempo: fit at the end of the pitch range, how much further it is 0 (in ranges), and the share that half and double tempo keep.
AT_RANGE, NO_FIT, OCTAVE_SHARE = 0.6, 1.5, 0.9
#: Energy: a change that nobody minds, and the rise and the fall at which the fit is 0.
ENERGY_FREE, ENERGY_RISE, ENERGY_FALL = 0.05, 0.45, 0.35
#: Loudness: LU that nobody minds, and the jump at which the fit is 0.
LOUDNESS_FREE, LOUDNESS_END = 1.0, 12.0
#: Below this energy fit a transition is a break of the flow, not a blend.
FLOWS = 0.4
#: Below this joint confidence a value does not decide the label.
DOUBTFUL = 0.2
#: A value that states no confidence is neither trusted nor dismissed.
UNSTATED = 0.5
UNKNOWN_KEY = 24
#: An effect ("energy boost") where the beats run together and the rules take it for one, and keys that do not mix elsewhere.
WHOLE_TONE_UP = "a whole tone up"
#: What a place on the ring is to another: {(steps up, letter changes): in words}.
_RELATIONS = {
    (0, ""): "the same key", (1, ""): "a step up the ring", (11, ""): "a step down the ring", (0, "AB"): "relative major",
    (0, "BA"): "relative minor", (1, "AB"): "a diagonal step", (11, "AB"): "a diagonal step", (1, "BA"): "a diagonal step",
    (11, "BA"): "a diagonal step", (2, ""): WHOLE_TONE_UP, (10, ""): "a whole tone down",
    (7, ""): "a semitone up", (5, ""): "a semitone down", (3, "AB"): "parallel major", (9, "BA"): "parallel minor",
}  # fmt: skip
ALMOST = 1e-5  # a tempo at the end of the range is within it, whatever the last digit says


@dataclass(frozen=True, slots=True)
class MixTrack:
    """What mixing needs to know of a track. None: not known.

    Attributes
    ----------
    bpm, bpm_confidence : float or None
        Beats a minute; the probability that it is right.
    camelot : str or None
        "8A"; any spelling of a key is understood.
    key_confidence : float or None
    energy : float or None
        In [0, 1].
    loudness_lufs : float or None
    duration : float or None
        Seconds.
    """

    track_id: int
    bpm: float | None = None
    bpm_confidence: float | None = None
    camelot: str | None = None
    key_confidence: float | None = None
    energy: float | None = None
    loudness_lufs: float | None = None
    duration: float | None = None
    artist: str | None = None
    title: str | None = None
    genre: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class TransitionRules:
    """How a DJ mixes.

    Attributes
    ----------
    key, tempo, energy, loudness : float
        Weights of the parts; only their ratios count.
    policy : {"strict", "extended"}
        Which keys mix: the four of the Camelot ring, or also the diagonals, energy boost, semitone up and parallel key.
    pitch_range : float
        How far a player's tempo may be moved, per cent, at most 25.
    key_lock : bool
        Whether the player keeps the key when the tempo is moved.

    Raises
    ------
    ValueError
        When a weight is negative or all are 0, the policy is unknown or the range is not in (0, 25].
    """

    key: float = 0.35
    tempo: float = 0.4
    energy: float = 0.2
    loudness: float = 0.05
    policy: Policy = "strict"
    pitch_range: float = 6.0
    key_lock: bool = True

    def __post_init__(self) -> None:
        weights = self.weights
        if any(not math.isfinite(weight) or weight < 0 for weight in weights.values()) or not sum(weights.values()) > 0:
            raise ValueError("The weights of a transition are not negative, and at least one is positive.")
        if self.policy not in KEY_FITS:
            raise ValueError(f"There is no key policy {self.policy!r}; there are: {', '.join(KEY_FITS)}.")
        if not 0 < self.pitch_range <= 25:
            raise ValueError("The pitch range is a percentage above 0 and up to 25.")

    @classmethod
    def from_settings(cls, settings: Any, **overrides: Any) -> "TransitionRules":
        """Return the rules of MAP4's settings; an override that is None is none."""
        values = {name: getattr(settings, f"mix_{name}_weight") for name in PARTS}
        values |= {"policy": settings.mix_policy, "pitch_range": settings.mix_pitch_range, "key_lock": settings.mix_key_lock}
        return cls(**values | {name: value for name, value in overrides.items() if value is not None})

    @property
    def weights(self) -> dict[str, float]:
        """The weights by part."""
        return {"key": self.key, "tempo": self.tempo, "energy": self.energy, "loudness": self.loudness}

    @property
    def reach(self) -> float:
        """The pitch range in octaves."""
        return math.log2(1 + self.pitch_range / 100)


# ------------------------------------------------------------------ fits
def energy_fit(change: Any) -> Any:
    """Return the fit of a change of energy, a number or an array; a fall counts sooner than a rise."""
    rise = (ENERGY_RISE - change) * (1 / (ENERGY_RISE - ENERGY_FREE))
    fall = (ENERGY_FALL + change) * (1 / (ENERGY_FALL - ENERGY_FREE))
    return np.clip(np.minimum(rise, fall), 0, 1)


def loudness_fit(jump: Any) -> Any:
    """Return the fit of a jump in loudness in LU, a number or an array."""
    return np.clip((LOUDNESS_END - np.abs(jump)) * (1 / (LOUDNESS_END - LOUDNESS_FREE)), 0, 1)


# ------------------------------------------------------------------ keys and values
@lru_cache(maxsize=256)
def key_place(key: str | None) -> int:
    """Return a key's place among the 24: 2 (n - 1), and one more for B; 24 when it is unknown."""
    if parse_key(key) is None:
        return UNKNOWN_KEY
    assert key is not None
    number, letter = camelot_number(key)
    return 2 * (number - 1) + (letter == "B")


def relation(first: int, second: int) -> str:
    """Return what the second of two places on the ring is to the first, in words."""
    steps, letters = _steps(first, second)
    return _RELATIONS.get((steps, letters)) or f"{min(steps, 12 - steps)} steps apart"


def _steps(first: int, second: int) -> tuple[int, str]:
    letters = "" if first % 2 == second % 2 else "AB" if second % 2 else "BA"
    return (second // 2 - first // 2) % 12, letters


def spelled(place: int) -> str:
    """Return a place as Camelot writes it: 15 is "8B"."""
    return f"{place // 2 + 1}{'AB'[place % 2]}"


def shifted(place: int, semitones: int) -> int:
    """Return the place of a key that sounds so many semitones higher."""
    # A semitone up is seven steps up the ring.
    return (place // 2 + 7 * semitones) % 12 * 2 + place % 2


@lru_cache(maxsize=2)
def key_table(policy: Policy) -> "NDArray[np.float32]":
    """Return the fit of every place to every other, shape (25, 25); NaN for the unknown key."""
    table = np.full((25, 25), math.nan, dtype=np.float32)
    for a in range(24):
        for b in range(24):
            steps, letters = _steps(a, b)
            table[a, b] = KEY_FITS[policy].get((steps, letters), OTHER_KEYS[min(steps, 12 - steps)])
    table.flags.writeable = False
    return table


#: Row: semitones, modulo 12; column: a place; value: the place it sounds as.
SHIFTS = np.array([[shifted(place, semitones) for place in range(24)] + [UNKNOWN_KEY] for semitones in range(12)], dtype=np.int8)


def number(value: float | None) -> float | None:
    """Return a value, None when it is not finite."""
    return None if value is None or not math.isfinite(value) else value


def positive(value: float | None) -> float | None:
    """Return a value, None when it is not above 0."""
    found = number(value)
    return None if found is None or found <= 0 else found


def trust(confidence: float | None) -> float:
    """Return a confidence in [0, 1]."""
    found = number(confidence)
    return UNSTATED if found is None else min(1.0, max(0.0, found))
