"""A 256-bit hash of how the spectrum moves over the whole track."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BANDS = 16
SEGMENTS = 17


def spectral_hash(mel: "NDArray[np.float32]") -> str | None:
    """Return 64 hex digits: 256 signs of differences of band energy over 16 bands and 17 equal segments.

    Bit 16 s + b is set when the energy of band b, in decibels against its segment's mean over the bands, rises from segment s to
    s + 1. Taken against the segment's mean, a fade or another level changes nothing. After Haitsma & Kalker 2002, coarser.

    Parameters
    ----------
    mel : ndarray, shape (n, 40)
        Power in mel bands of the whole track.

    Returns
    -------
    str or None
        None for fewer than 17 frames or silence.
    """
    if len(mel) < SEGMENTS:
        return None
    edges = np.linspace(0, len(mel), SEGMENTS + 1).round().astype(int)
    energy = np.stack([mel[start:end].mean(axis=0, dtype=np.float64) for start, end in pairwise(edges)])
    columns = np.linspace(0, mel.shape[1], BANDS + 1).round().astype(int)
    bands = np.add.reduceat(energy, columns[:-1], axis=1)
    if float(bands.max()) <= 0:
        return None
    level = 10 * np.log10(np.maximum(bands, bands.max() * 1e-10))
    level -= level.mean(axis=1, keepdims=True)
    bits = (level[1:] > level[:-1]).reshape(-1)
    return np.packbits(bits).tobytes().hex()
