"""How regularly each instrument plays, and one after another: what a snare tells about the beat."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from map4_pipeline.audio.events import EVENTS
from map4_pipeline.audio.spectra import RHYTHM_FPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Two frames make one step: 23 ms are near enough for a multiple of a beat.
_FPS = RHYTHM_FPS / 2
#: Window, seconds; windows overlap by half. Transform length, at least twice a window.
_WINDOW = 12.0
_SIZE = 2048
#: Windows transformed together: bounds the memory for mixes of hours.
_WINDOWS_AT_ONCE = 64
#: Instruments that are followed from one to the other.
PAIRS = tuple(
    (first, second)
    for first, others in (
        ("kick", ("snare", "hat", "bass", "note")),
        ("snare", ("hat", "bass", "note")),
        ("bass", ("note",)),
        ("change", ("kick", "snare", "bass")),
        ("bass_change", ("bass", "change")),
    )
    for second in others
)
#: Distances, in beats, at which an instrument is compared with itself and with another.
OWN_RATIOS = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1, 4 / 3, 3 / 2, 2, 3, 4, 6, 8)
PAIR_RATIOS = (1 / 2, 1, 2, 4)
#: Variance of each of the events that is worth nothing: what is hardly there says nothing.
_FLOOR = np.array([0.003] * 5 + [0.05] * 2)
EVENT_FEATURES: tuple[str, ...] = (
    *(f"{name}_{ratio:.3f}" for ratio in OWN_RATIOS for name in EVENTS),
    *(f"{a}_{b}_{ratio:.3f}" for ratio in PAIR_RATIOS for a, b in PAIRS),
)


@dataclass(frozen=True, slots=True)
class EventRhythm:
    """Correlations of the events over time.

    Attributes
    ----------
    own : ndarray, shape (lags, 7)
        Autocorrelation, the mean over windows of 12 s; near 1 at lag 0 where the event is there at all.
    pairs : ndarray, shape (lags, 13)
        Correlation of `PAIRS`, the mean of both directions.
    """

    own: "NDArray[np.float64]"
    pairs: "NDArray[np.float64]"

    def describe(self, bpm: float) -> "NDArray[np.float64]":
        """Return the correlations at fixed numbers of beats, shape (143,): `EVENT_FEATURES`."""
        beat = 60 / bpm * _FPS
        own = [_largest_near(self.own, ratio * beat) for ratio in OWN_RATIOS]
        return np.concatenate(own + [_largest_near(self.pairs, ratio * beat) for ratio in PAIR_RATIOS])


def _largest_near(table: "NDArray[np.float64]", lag: float) -> "NDArray[np.float64]":
    """Return every column's largest value within 2% of a lag."""
    first, last = int(lag * 0.98), int(np.ceil(lag * 1.02)) + 1
    return table[first:last].max(axis=0) if first < len(table) - 1 else np.zeros(table.shape[1])


def event_rhythm(events: "NDArray[np.float32]") -> EventRhythm:
    """Measure how the events of `rhythm.Onsets`, shape (n, 7), repeat and answer each other."""
    steps = len(events) // 2
    halved = (events[: 2 * steps : 2] + events[1 : 2 * steps : 2]) / 2
    length = min(steps, int(_WINDOW * _FPS))
    window = np.hanning(length).astype(np.float32)
    first, second = (np.array([EVENTS.index(pair[k]) for pair in PAIRS]) for k in (0, 1))
    series = np.ascontiguousarray(halved.T)
    windows = np.lib.stride_tricks.sliding_window_view(series, length, axis=1)[:, :: max(1, length // 2)]
    count = windows.shape[1]
    products = np.zeros((_SIZE // 2 + 1, len(EVENTS), len(EVENTS)))
    for begin in range(0, count, _WINDOWS_AT_ONCE):
        piece = windows[:, begin : begin + _WINDOWS_AT_ONCE]
        piece = (piece - piece.mean(axis=2, keepdims=True)) * window
        spectrum = scipy.fft.rfft(piece, _SIZE, axis=2)
        # What both directions have in common is the real part of a product: real by real and imaginary by imaginary.
        parts = np.concatenate([spectrum.real, spectrum.imag], axis=1).transpose(2, 0, 1).copy()
        products += parts @ parts.transpose(0, 2, 1)
    own, pairs = np.diagonal(products, axis1=1, axis2=2).T, products[:, first, second].T
    # An autocorrelation shrinks with the lag because less overlaps; far out, undoing that would only raise noise.
    overlap = np.maximum(1 - np.arange(length) / length, 0.2)
    scale = count * float((window**2).sum(dtype=np.float64)) * overlap
    total = scipy.fft.irfft(own, axis=1)[:, :length] / scale
    strength = total[:, :1] + _FLOOR[:, None]
    between = scipy.fft.irfft(pairs, axis=1)[:, :length] / scale
    return EventRhythm((total / strength).T.copy(), (between / np.sqrt(strength[first] * strength[second])).T.copy())
