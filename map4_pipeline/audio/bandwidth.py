"""Where the spectrum of a track ends, and what that says about where the file came from.

Lossy encoders cut the treble off, the lower the bit rate the lower; decoding and encoding again with a better codec does not
bring it back. What music does by itself is a fade, not a cliff.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from map4_pipeline.audio.loudness import BAND_HZ
from map4_pipeline.audio.model import is_lossless

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from map4_pipeline.audio.model import Technical

#: Bands (100 Hz) whose level stands for what is in front of a cliff.
_FRONT = 8
#: The lower quartile of the bands in front: partials standing out of nothing are no plateau.
_QUARTILE = 2
#: No cliff is looked for below, Hz.
_LOWEST = 3000
#: What counts as a cliff: its width in bands, how far in front the slope is looked at, and its height in dB after twice that
#: slope has been taken off. Lossy encoders fall within half a kilohertz: of 37 lossless renderings none reaches 12 dB between 10
#: and 19.8 kHz, of 67 files that went through a lossy encoder all but two, of 450 kbit/s, reach 14. Resamplers may take 4 kHz.
_CLIFFS = ((5, 8, 14.0), (40, 40, 30.0))
#: The wide cliff is looked for from this sampling rate on, where there is room for it above what is heard, Hz.
_HIGH_RATE = 80000
#: Below this frequency (Hz) music made of few partials has steps of its own: a cliff there is this high, dB.
_PARTIALS_BELOW, _PARTIALS_CLIFF_DB = 10000, 25.0
#: Lossy encoders that keep everything and the samples of many instruments end at 20 kHz: no news from here on, Hz.
_FULL = 19800
#: Share of a low sampling rate (under 44.1 kHz) from which a cliff is that rate's own filter.
_OWN_FILTER = 0.42
#: A lossy encoder leaves out what cannot be heard: only a cliff from this level up (dB in 100 Hz against the whole) is older.
#: The encoders' own cliffs in dull music stand at -79 and under, those of treble-rich music encoded twice at -76 and over.
_AUDIBLE_DB = -78.0
#: A codec with this many times the bit rate that keeps as much treble was fed with less.
_SURPLUS = 1.6

#: (cutoff up to which, Hz; kbit/s at which encoders cut there). MP3: LAME 3.100's low-pass filters for constant bit rates, the
#: rate below 192 kbit/s taken from the older 16 kHz at 128. AAC and Vorbis: measured, FFmpeg's encoder and libvorbis 1.3.
_RATES: dict[str, tuple[tuple[int, int], ...]] = {
    "mp3": ((11600, 64), (14000, 80), (15700, 96), (17300, 128), (18000, 160), (18900, 192)),
    "aac": ((14000, 64), (15700, 96), (17300, 112)),
    "vorbis": ((17000, 96),),
    # Opus keeps 20 kHz from 48 kbit/s on.
    "opus": ((17500, 48),),
}
#: What was sampled at 48 kHz or less ends under this, Hz.
_ORDINARY = 24500
_NAMES = {"mp3": "MP3", "aac": "AAC", "vorbis": "Vorbis", "opus": "Opus"}


class Cutoff(NamedTuple):
    """Where a spectrum breaks off.

    Attributes
    ----------
    hertz : float
        Above it there is nothing.
    level_db : float
        Level in 100 Hz just below, against the whole.
    """

    hertz: float
    level_db: float


def spectral_cutoff(bands: "NDArray[np.float32]") -> Cutoff | None:
    """Return the frequency above which a track holds nothing, None where its spectrum fades or reaches the end.

    Parameters
    ----------
    bands : ndarray, shape (blocks, bands)
        Power in bands of 100 Hz from 0 to half the sampling rate.

    Notes
    -----
    Looked at is the median over the louder half of the blocks: a click or a clipped sample fills the whole spectrum for a moment.
    """
    if not len(bands) or bands.shape[1] < 2 * _FRONT:
        return None
    total = bands.sum(axis=1)
    median = np.median(bands[total >= np.median(total)], axis=0)
    whole = float(median.sum())
    if whole <= 0:
        return None
    level = 10 * np.log10(median / whole + 1e-14)
    # Single lines, such as a monitor's whistle, neither make a cliff nor hide one.
    smooth = np.median(np.stack([np.append(level[1:], level[-1]), level, np.append(level[0], level[:-1])]), axis=0)
    highest_above = np.maximum.accumulate(smooth[::-1])[::-1]
    front = np.sort(np.lib.stride_tricks.sliding_window_view(level, _FRONT), axis=1)[:, _QUARTILE]
    for cliff, reach, height in _CLIFFS:
        place = np.arange(max(_FRONT + reach, _LOWEST // BAND_HZ), len(level) - cliff)
        if not len(place) or (cliff > _FRONT and len(level) * BAND_HZ < _HIGH_RATE // 2):
            continue
        before = front[place - _FRONT]
        fall = np.maximum(front[place - _FRONT - reach] - before, 0)
        drop = before - highest_above[place + cliff] - 2 * fall
        best = int(np.argmax(drop))
        hertz = float(place[best] * BAND_HZ)
        if drop[best] >= (height if hertz >= _PARTIALS_BELOW else _PARTIALS_CLIFF_DB):
            return Cutoff(hertz, float(before[best]))
    return None


def cutoff_origin(cutoff: Cutoff, technical: "Technical") -> str | None:
    """Say in a sentence what a cutoff tells about the file's origin, None where it is as it should be."""
    rate, codec, hertz = technical.sample_rate, technical.codec, cutoff.hertz
    nothing = f"Nothing sounds above {hertz / 1000:.1f} kHz"
    limit = _FULL if rate >= 44100 else _OWN_FILTER * rate
    if is_lossless(codec):
        if hertz < limit:
            return f"{nothing}: this lossless file was probably made from a lossy one."
        if rate >= _HIGH_RATE and hertz < _ORDINARY:
            return f"{nothing}: the file was probably brought to {rate / 1000:g} kHz from 44.1 or 48 kHz."
        return None
    if technical.bit_rate is None or hertz >= limit or cutoff.level_db < _AUDIBLE_DB:
        return None
    kbps = next((kbps for up_to, kbps in _RATES.get(codec, ()) if hertz <= up_to), None)
    if kbps is None or technical.bit_rate < _SURPLUS * kbps * 1000:
        return None
    told = f"{technical.bit_rate / 1000:.0f} kbit/s {_NAMES[codec]}"
    return f"{nothing}, too little for {told}: probably made from a file of about {kbps} kbit/s."
