"""The Chromaprint of decoded samples, computed here from the published description of the algorithm.

Lukas Lalinsky, "How does Chromaprint work?" (2011), after Ke, Hoiem & Sukthankar 2005 and Jang et al. 2009: the chroma of
short frames is an image, 12 pixels high; sixteen box filters slide over it, each answer is quantised to two bits, 32 bits an
item. The filters and thresholds are the parameters of its algorithm 1, which AcoustID uses: they are part of the format.

Chromaprint resamples to 11,025 Hz and takes 4096 samples a frame, 1365 apart. From 22,050 Hz that is every second sample,
behind a filter that is flat up to the highest note.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from map4_pipeline.audio.decimation import decimated
from map4_pipeline.audio.spectra import frame_view
from map4_pipeline.fingerprint.codec import encode

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Shorter audio has no fingerprint worth the name: one item covers 2.6 s.
MIN_SECONDS = 3.0
SAMPLE_RATE = 22050
_RATE, _FRAME, _HOP = 11025, 4096, 1365
#: Samples that the filter sees to each side, and frames that are computed at once.
_REACH, _AT_ONCE = 18, 32
_LOW_HZ, _HIGH_HZ = 28.0, 3520.0
#: Smoothing of the chroma over five frames.
_SMOOTH = (0.25, 0.75, 1.0, 0.75, 0.25)
#: Below this norm, for samples in [-1, 1] and frames of 4096, a chroma vector is silence.
_SILENCE = 0.01
#: The widest filter, in frames: how many frames an item needs.
_WIDTH = 16
#: (shape, first row, rows, frames) and the three thresholds of each filter.
_FILTERS: tuple[tuple[tuple[int, int, int, int], tuple[float, float, float]], ...] = (
    ((0, 4, 3, 15), (1.98215, 2.35817, 2.63523)),
    ((4, 4, 6, 15), (-1.03809, -0.651211, -0.282167)),
    ((1, 0, 4, 16), (-0.298702, 0.119262, 0.558497)),
    ((3, 8, 2, 12), (-0.105439, 0.0153946, 0.135898)),
    ((3, 4, 4, 8), (-0.142891, 0.0258736, 0.200632)),
    ((4, 0, 3, 5), (-0.826319, -0.590612, -0.368214)),
    ((1, 2, 2, 9), (-0.557409, -0.233035, 0.0534525)),
    ((2, 7, 3, 4), (-0.0646826, 0.00620476, 0.0784847)),
    ((2, 6, 2, 16), (-0.192387, -0.029699, 0.215855)),
    ((2, 1, 3, 2), (-0.0397818, -0.00568076, 0.0292026)),
    ((5, 10, 1, 15), (-0.53823, -0.369934, -0.190235)),
    ((3, 6, 2, 10), (-0.124877, 0.0296483, 0.139239)),
    ((2, 1, 1, 14), (-0.101475, 0.0225617, 0.231971)),
    ((3, 5, 6, 4), (-0.0799915, -0.00729616, 0.063262)),
    ((1, 9, 2, 12), (-0.272556, 0.019424, 0.302559)),
    ((3, 4, 2, 14), (-0.164292, -0.0321188, 0.0846339)),
)
#: Neighbouring levels differ in one bit.
_GRAY = np.array([0, 1, 3, 2], dtype=np.uint32)


def chromaprint(signal: "NDArray[np.float32]") -> str | None:
    """Return the compressed, base64 fingerprint of a 22.05 kHz mono signal, None when it is under 3 s."""
    items = chromaprint_items(signal)
    return encode(items) if items is not None else None


def chromaprint_items(signal: "NDArray[np.float32]") -> "NDArray[np.uint32] | None":
    """Return the 32-bit items of the fingerprint of a 22.05 kHz mono signal, 8.08 a second, None when it is under 3 s."""
    if len(signal) < MIN_SECONDS * SAMPLE_RATE:
        return None
    image = _normalise(_smooth(_chroma(signal)))
    if len(image) < _WIDTH:
        return None
    return _items(image)


@lru_cache(maxsize=1)
def _tables() -> "tuple[NDArray[np.float32], int, int, NDArray[np.float32]]":
    """Return (window, first bin, end bin, matrix of ones where a bin belongs to a pitch class).

    A bin's power is the sum of the squares of its real and imaginary part; the matrix has a row for each.
    """
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(_FRAME) / (_FRAME - 1))
    width = _RATE / _FRAME
    first, end = max(1, round(_LOW_HZ / width)), round(_HIGH_HZ / width)
    octave = np.log2(np.arange(first, end) * width / 27.5)
    note = (12 * (octave - np.floor(octave))).astype(np.intp)
    return window.astype(np.float32), first, end, np.repeat(np.eye(12, dtype=np.float32)[note], 2, axis=0)


def _chroma(signal: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Return the energy of each pitch class (from A up), shape (frames, 12)."""
    window, first, end, classes = _tables()
    count = (len(signal) // 2 - _FRAME) // _HOP + 1
    signal = np.ascontiguousarray(signal)
    # Samples are doubled by the filter: the window takes that back.
    window = window * np.float32(0.5)
    chroma = np.empty((count, 12))
    # As many at once as stay in the cache.
    for begin in range(0, count, _AT_ONCE):
        some = min(_AT_ONCE, count - begin)
        length = _FRAME + (some - 1) * _HOP
        start = 2 * _HOP * begin - _REACH
        samples = signal[max(0, start) : start + 2 * length + 4 * _REACH]
        if start < 0:
            samples = np.concatenate([np.zeros(-start, np.float32), samples])
        frames = frame_view(decimated(samples, 2, _REACH, length), _FRAME, _HOP)
        spectrum = scipy.fft.rfft(frames * window, axis=1, overwrite_x=True)
        squares = spectrum.view(np.float32)[:, 2 * first : 2 * end] ** 2
        chroma[begin : begin + some] = squares @ classes
    return chroma


def _smooth(chroma: "NDArray[np.float64]") -> "NDArray[np.float64]":
    count = len(chroma) - len(_SMOOTH) + 1
    if count <= 0:
        return chroma[:0]
    return np.asarray(sum(chroma[k : k + count] * weight for k, weight in enumerate(_SMOOTH)))


def _normalise(chroma: "NDArray[np.float64]") -> "NDArray[np.float64]":
    norm = np.sqrt((chroma**2).sum(axis=1, keepdims=True))
    return np.where(norm < _SILENCE, 0.0, chroma / np.maximum(norm, 1e-30))


def _items(image: "NDArray[np.float64]") -> "NDArray[np.uint32]":
    count = len(image) - _WIDTH + 1
    integral = np.zeros((len(image) + 1, 13))
    integral[1:, 1:] = image.cumsum(axis=0).cumsum(axis=1)

    def area(x: int, y: int, width: int, height: int) -> "NDArray[np.float64]":
        top, bottom = integral[x : x + count], integral[x + width : x + width + count]
        return np.asarray(bottom[:, y + height] - bottom[:, y] - top[:, y + height] + top[:, y])

    items = np.zeros(count, dtype=np.uint32)
    for (shape, y, height, width), thresholds in _FILTERS:
        plus, minus = _halves(area, shape, y, height, width)
        value = np.log((1 + plus) / (1 + minus))
        level = np.searchsorted(np.array(thresholds), value, side="right")
        items = items << np.uint32(2) | _GRAY[level]
    return items


def _halves(area, shape: int, y: int, height: int, width: int):  # type: ignore[no-untyped-def]
    """Return the two sums that a filter of a shape compares: which part of its box counts as plus, which as minus."""
    if shape == 0:  # all of it
        return area(0, y, width, height), 0.0
    if shape == 1:  # upper half against lower
        half = height // 2
        return area(0, y + half, width, height - half), area(0, y, width, half)
    if shape == 2:  # later half against earlier
        half = width // 2
        return area(half, y, width - half, height), area(0, y, half, height)
    if shape == 3:  # a chessboard of four
        h, w = height // 2, width // 2
        plus = area(0, y + h, w, height - h) + area(w, y, width - w, h)
        return plus, area(0, y, w, h) + area(w, y + h, width - w, height - h)
    if shape == 4:  # the middle third of the rows against the others
        h = height // 3
        return area(0, y + h, width, h), area(0, y, width, h) + area(0, y + 2 * h, width, height - 2 * h)
    w = width // 3  # 5: the middle third of the frames against the others
    return area(w, y, w, height), area(0, y, w, height) + area(2 * w, y, width - 2 * w, height)
