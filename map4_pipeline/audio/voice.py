"""Does somebody sing or speak: a small model of what voices do to the spectrum within three seconds.

A voice moves its formants and alternates vowels with consonants several times a second, so that the bands rise and fall against
each other, which instruments seldom do. Each block of 3 s is described by cepstral coefficients (timbre), modulation spectra
(syllables come at 2 to 8 Hz), correlations between bands (a sibilant is loud at the top while the bands of the vowels are not)
and the shape of flux and envelope. A logistic regression turns that into log odds, and the most voice-like fifth of the blocks
into the probability that there is a voice somewhere in the track.

`voice_model.json` holds the weights and says what they were fitted on; `benchmarks/train_voice.py` makes it and prints how well
voiced and instrumental tracks rank with each set left out.

Sources: Scheirer & Slaney 1997 (modulation at 4 Hz, low-energy frames, flux); Rocamora & Herrera 2007 (cepstra for singing in
polyphonic music); Dietterich, Lathrop & Lozano-Perez 1997 (a track is voiced when some of its parts are).
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from map4_pipeline.audio.logarithms import log_of
from map4_pipeline.audio.spectra import MEL_BANDS, RHYTHM_FPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Groups of mel bands; they begin at 30, 320, 730, 1440, 2500 and 4430 Hz.
GROUPS = ((0, 5), (5, 10), (10, 16), (16, 22), (22, 29), (29, 40))
#: Rates of modulation, Hz: phrases, slow and fast syllables, consonants, attacks.
RATES = (0.3, 2.0, 4.0, 8.0, 16.0, 40.0)
#: Bands in which vowels differ, 320 Hz to 5 kHz.
FORMANTS = slice(5, 30)
_CEPSTRA = 13
#: Share of the blocks, the most voice-like ones, that decide: who sings in a fifth of a song has sung.
DECIDING = 0.2
#: Blocks looked at, evenly spread: all of five minutes.
_MAX_BLOCKS = 100
#: Bands this far under the block's mean power (30 dB) count as empty.
_FLOOR = 1e-3
#: Standardised features beyond this say no more: sounds like no music were not among what was fitted.
_LIMIT = 4.0
_PAIRS = tuple((a, b) for a in range(len(GROUPS)) for b in range(a + 1, len(GROUPS)))
FEATURES: tuple[str, ...] = (
    *(f"cepstrum_mean_{k}" for k in range(1, _CEPSTRA)),
    *(f"cepstrum_deviation_{k}" for k in range(_CEPSTRA)),
    *(f"modulation_{g}_{rate:g}_hz" for g in range(len(GROUPS)) for rate in RATES[:-1]),
    *(f"correlation_{a}_{b}" for a, b in _PAIRS),
    *(f"skewness_{g}" for g in range(len(GROUPS))),
    "flux_skewness",
    "flux_mean",
    "low_frames",
    *(f"{name}_{part}" for name in ("formant_share", "formant_entropy", "formant_roughness") for part in ("mean", "deviation")),
)


@dataclass(frozen=True, slots=True)
class VoiceModel:
    """Weights of the two logistic regressions.

    Attributes
    ----------
    mean, deviation, weight : ndarray, shape (85,)
        Of the blocks' features; the weights are for standardised ones.
    bias : float
    track_scale, track_bias : float
        From the mean log odds of the deciding blocks to the log odds of the track.
    """

    mean: "NDArray[np.float64]"
    deviation: "NDArray[np.float64]"
    weight: "NDArray[np.float64]"
    bias: float
    track_scale: float
    track_bias: float

    def block_odds(self, features: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Return the log odds of each block, shape (blocks,), from features of shape (blocks, 85)."""
        return np.asarray(standardised(features, self.mean, self.deviation) @ self.weight + self.bias)

    def probability(self, features: "NDArray[np.float64]") -> float:
        """Return the probability that the track these blocks are from has a voice somewhere; 0.5 is undecided."""
        odds = self.track_scale * deciding(self.block_odds(features)) + self.track_bias
        return float(1 / (1 + np.exp(-odds)))


@lru_cache(maxsize=1)
def load_model() -> VoiceModel:
    """Return the model that comes with the package."""
    text = resources.files("map4_pipeline.audio").joinpath("voice_model.json").read_text(encoding="utf-8")
    data = json.loads(text)
    if tuple(data["features"]) != FEATURES:
        raise RuntimeError("voice_model.json was made for other features: run benchmarks/train_voice.py")
    mean, deviation, weight = (np.array(data[name]) for name in ("mean", "deviation", "weight"))
    return VoiceModel(mean, deviation, weight, data["bias"], data["track_scale"], data["track_bias"])


def standardised(
    features: "NDArray[np.float64]", mean: "NDArray[np.float64]", deviation: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    """Return features in deviations from their mean, none beyond 4."""
    return np.asarray(np.clip((features - mean) / deviation, -_LIMIT, _LIMIT))


def deciding(odds: "NDArray[np.float64]") -> float:
    """Return the mean of the highest fifth of the blocks' log odds (at least one)."""
    count = max(1, int(np.ceil(len(odds) * DECIDING)))
    return float(np.sort(odds)[-count:].mean())


def voice_probability(blocks: "NDArray[np.float32]") -> float:
    """Return the probability that somebody sings or speaks in a track, in [0, 1].

    Parameters
    ----------
    blocks : ndarray, shape (blocks, 256, 40)
        Mel power, as `descriptors.excerpt` gives it.
    """
    return load_model().probability(voice_features(blocks))


def voice_features(blocks: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Describe blocks of mel power, shape (blocks, frames, 40); see `FEATURES`.

    Returns
    -------
    ndarray, shape (min(blocks, 100), 85)
        Free of the level. Modulations are in log power of the groups' log levels, correlations in [-1, 1], shares in [0, 1].
    """
    if len(blocks) > _MAX_BLOCKS:
        blocks = blocks[np.linspace(0, len(blocks) - 1, _MAX_BLOCKS).round().astype(int)]
    # In pieces, so that the work stays in the cache.
    return np.concatenate([_describe(blocks[k : k + 8]) for k in range(0, len(blocks), 8)]).astype(np.float64)


def _describe(power: "NDArray[np.float32]") -> "NDArray[np.float32]":
    frames, bands = power.shape[1:]
    log = np.empty(power.shape, np.float32)
    for block, mean, out in zip(power, power.mean(axis=(1, 2)), log, strict=True):
        log_of(block, addition=_FLOOR * float(mean) + 1e-12, out=out)
    # Time comes last in these: means along it then take a fifth of the time.
    by_band = log.transpose(0, 2, 1)
    cepstrum = _cosines() @ by_band
    groups = _group_means() @ by_band
    groups -= groups.mean(axis=2, keepdims=True)
    spectrum = scipy.fft.rfft(groups * np.hanning(frames).astype(np.float32), axis=2)
    rate = np.fft.rfftfreq(frames, 1 / RHYTHM_FPS)
    edges = np.searchsorted(rate, RATES)
    strength = np.add.reduceat(spectrum.real**2 + spectrum.imag**2, edges, axis=2)[:, :, :-1]
    unit = groups / (groups.std(axis=2, keepdims=True) + np.float32(1e-3))
    correlation = unit @ unit.transpose(0, 2, 1) / np.float32(frames)
    first, second = np.array(_PAIRS).T
    # Sums over the bands are products with ones, which take a tenth of the time.
    ones = np.ones(bands, np.float32)
    rise = log[:, 2:] - log[:, :-2]
    flux = np.maximum(rise, 0, out=rise) @ ones / np.float32(bands)
    total = power @ ones + np.float32(1e-12)
    formants = power[:, :, FORMANTS] + np.float32(1e-12)
    ones = ones[: formants.shape[2]]
    part = formants @ ones
    # Entropy of p = x / sum x, without forming p: log sum x - sum x log x / sum x.
    entropy = log_of(formants)
    entropy *= formants
    entropy = np.asarray(np.log(part) - entropy @ ones / part)
    bends = np.diff(log[:, :, FORMANTS], 2, axis=2)
    roughness = np.abs(bends, out=bends) @ ones[: bends.shape[2]] / np.float32(bends.shape[2])
    columns = [
        cepstrum.mean(axis=2)[:, 1:],
        cepstrum.std(axis=2),
        np.log(strength + np.float32(0.1)).reshape(len(power), -1),
        correlation[:, first, second],
        (unit * unit * unit).mean(axis=2),
        _skewness(flux)[:, None],
        flux.mean(axis=1, keepdims=True),
        # Frames 6 dB under the block's mean: the pauses of speech.
        (total < total.mean(axis=1, keepdims=True) / 4).mean(axis=1, dtype=np.float32)[:, None],
    ]
    for series in (part / total, entropy, roughness):
        columns += [series.mean(axis=1, keepdims=True), series.std(axis=1, keepdims=True)]
    return np.concatenate(columns, axis=1)


def _skewness(x: "NDArray[np.float32]") -> "NDArray[np.float32]":
    centred = x - x.mean(axis=1, keepdims=True)
    return np.asarray((centred * centred * centred).mean(axis=1) / (centred.std(axis=1) + np.float32(1e-3)) ** 3)


@lru_cache(maxsize=1)
def _cosines() -> "NDArray[np.float32]":
    """Return the (13, 40) matrix of the discrete cosine transform."""
    place = (np.arange(MEL_BANDS) + 0.5) / MEL_BANDS
    return np.asarray(np.cos(np.pi * np.outer(np.arange(_CEPSTRA), place)) * np.sqrt(2 / MEL_BANDS), dtype=np.float32)


@lru_cache(maxsize=1)
def _group_means() -> "NDArray[np.float32]":
    """Return the (6, 40) matrix that averages the bands of each group."""
    matrix = np.zeros((len(GROUPS), MEL_BANDS), np.float32)
    for row, (low, high) in enumerate(GROUPS):
        matrix[row, low:high] = 1 / (high - low)
    return matrix
