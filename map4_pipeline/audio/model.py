"""What an analysis says about a track: plain frozen dataclasses, ready for JSON.

Nothing here measures anything. The modules beside this one fill these in; `hamms`, `reports`,
`store` and the command line read them. Importing this module costs next to nothing.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

#: Bump when any value of `Features` could change; the assets' code version and the key of stored analyses.
FEATURES_VERSION = "9"
#: Name of the engine that fills `Features`; values of two engines are never mixed.
ENGINE = "map4"
_LOSSLESS = ("flac", "alac", "wavpack", "ape", "tta", "tak", "mlp", "truehd", "als", "shorten", "wmalossless")


def is_lossless(codec: str) -> bool:
    """Return whether a codec, as FFmpeg names it, keeps every bit."""
    return codec in _LOSSLESS or codec.startswith(("pcm_", "dsd_"))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One reading of a quantity with the probability that it is the right one.

    Attributes
    ----------
    value : float or str
        A tempo in BPM or a key such as "A minor".
    probability : float
        In [0, 1]; the candidates of one quantity sum to at most 1.
    """

    value: float | str
    probability: float


@dataclass(frozen=True, slots=True)
class TempoSpan:
    """A stretch of the track with one tempo.

    Attributes
    ----------
    start, end : float
        Seconds.
    bpm : float
    """

    start: float
    end: float
    bpm: float


@dataclass(frozen=True, slots=True)
class KeySpan:
    """A stretch of the track in one key.

    Attributes
    ----------
    start, end : float
        Seconds.
    key : str
        "A minor".
    probability : float
        In [0, 1].
    """

    start: float
    end: float
    key: str
    probability: float


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the track's form.

    Attributes
    ----------
    start, end : float
        Seconds.
    label : str
        "A", "B", ...: parts that sound alike have the same letter.
    """

    start: float
    end: float
    label: str


@dataclass(frozen=True, slots=True)
class Technical:
    """What the file's stream is, as decoded.

    Attributes
    ----------
    duration : float
        Seconds of audio actually decoded.
    sample_rate : int
        Hz, of the source.
    channels : int
    bit_rate : int or None
        bit/s; measured from the size of the packets (or of the file) and the duration where not declared.
    codec, container : str
        FFmpeg's names where FFmpeg read it ("mp3", "flac", "vorbis", "opus", "aac", "alac", "pcm_s16le").
    bit_depth : int or None
        Bits a sample for lossless formats, else None.
    decoder : str
        Which decoder was used, "soundfile" or "pyav".
    """

    duration: float
    sample_rate: int
    channels: int
    bit_rate: int | None
    codec: str
    container: str
    bit_depth: int | None
    decoder: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the file's quality that a user should know.

    Attributes
    ----------
    code : str
        Stable name: "truncated", "decoder_errors", "non_finite_samples", "over_full_scale", "dc_offset", "clipping",
        "antiphase", "phase", "mono_in_stereo", "one_silent_channel", "spectral_cutoff", "silence".
    message : str
        A sentence for the user.
    value : float or None
        The measured figure behind it, in the unit the message names.
    """

    code: str
    message: str
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Features:
    """Everything measured from the sound. What could not be measured is None with a reason in `null_reasons`.

    Attributes
    ----------
    bpm : float or None
        Tempo, beats a minute.
    bpm_confidence : float or None
        Probability in [0, 1] that `bpm` is right, octave included.
    bpm_alternatives : tuple of Candidate
        Other tempi (70 or 140), most probable first; `bpm` itself is not among them.
    key : str or None
        "A minor", spelled C, Db, D, Eb, E, F, F#, G, Ab, A, Bb, B + " major" or " minor".
    camelot : str or None
        "8A".
    key_confidence, key_alternatives
        As for the tempo.
    tuning_cents : float or None
        Deviation of concert pitch from A4 = 440 Hz, in cents, [-50, 50).
    energy : float or None
        Perceived intensity in [0, 1].
    loudness_lufs : float or None
        EBU R128 integrated loudness, LUFS. None for silence (below the absolute gate).
    loudness_range_lu : float or None
        EBU Tech 3342, LU.
    true_peak_dbtp : float or None
        dBTP, 4x oversampled (ITU-R BS.1770).
    danceability, valence, acousticness, instrumentalness, rhythmic_pattern, spectral_centroid, tempo_stability,
    harmonic_complexity, dynamic_range : float or None
        The other HAMMS dimensions, each measured, in [0, 1]; formula, unit and source in the function that makes it.
    spectral_centroid_hz : float or None
        Energy-weighted mean centroid, Hz.
    crest_db : float or None
        Peak over RMS, dB.
    open_key : str or None
        The key in Open Key notation, "1m" (A minor) or "1d" (C major).
    replaygain_db, replaygain_peak : float or None
        ReplayGain 2.0: gain to -18 LUFS in dB, and the true peak as a factor of full scale.
    leading_silence, trailing_silence : float or None
        Seconds of silence before the first and after the last audible sound.
    spectral_cutoff_hz : float or None
        Frequency above which the track holds nothing, Hz; None where the spectrum reaches its end.
    beat_first : float or None
        Time of the first beat, `beat_times[0]`: seconds from the first decoded sample, silence at the start included.
    beat_times : tuple of float
        Seconds; empty when there is no beat.
    beats_per_bar : int or None
        None when the bar cannot be told.
    downbeat_times : tuple of float
        Seconds, a subset of `beat_times`; empty when the bar cannot be told.
    downbeat_confidence : float or None
        Probability in [0, 1] that the downbeats are right.
    tempo_curve : tuple of (float, float)
        (seconds, local BPM) along the track.
    tempo_spans : tuple of TempoSpan
        One for a track in one tempo; more where the tempo changes and stays changed.
    key_spans : tuple of KeySpan
        One for a track in one key; more where it modulates.
    sections : tuple of Section
        The track's form, without gaps.
    waveform : tuple of int
        Peak envelope for drawing, at most 400 values in 0..255.
    null_reasons : dict
        {field: reason} for every field above that is None ("silence", "no beat found", "too short for a tempo", "atonal").
    findings : tuple of Finding
    """

    bpm: float | None
    bpm_confidence: float | None
    bpm_alternatives: tuple[Candidate, ...]
    key: str | None
    camelot: str | None
    key_confidence: float | None
    key_alternatives: tuple[Candidate, ...]
    tuning_cents: float | None
    energy: float | None
    loudness_lufs: float | None
    loudness_range_lu: float | None
    true_peak_dbtp: float | None
    danceability: float | None
    valence: float | None
    acousticness: float | None
    instrumentalness: float | None
    rhythmic_pattern: float | None
    spectral_centroid: float | None
    tempo_stability: float | None
    harmonic_complexity: float | None
    dynamic_range: float | None
    spectral_centroid_hz: float | None
    crest_db: float | None
    beat_first: float | None
    open_key: str | None = None
    replaygain_db: float | None = None
    replaygain_peak: float | None = None
    leading_silence: float | None = None
    trailing_silence: float | None = None
    spectral_cutoff_hz: float | None = None
    beat_times: tuple[float, ...] = ()
    beats_per_bar: int | None = None
    downbeat_times: tuple[float, ...] = ()
    downbeat_confidence: float | None = None
    tempo_curve: tuple[tuple[float, float], ...] = ()
    tempo_spans: tuple[TempoSpan, ...] = ()
    key_spans: tuple[KeySpan, ...] = ()
    sections: tuple[Section, ...] = ()
    waveform: tuple[int, ...] = ()
    null_reasons: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values (lists and dicts, no NaN)."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """How the recording is recognised.

    Attributes
    ----------
    chromaprint : str or None
        Compressed, base64 (URL-safe, no padding) as fpcalc prints it, over the first 120 s. None for silence or less than 3 s.
    spectral_hash : str or None
        64 hex digits = 256 bits: signs of differences of band energy over 16 bands and 17 equal segments.
    duration : float
        Whole length of the track in seconds (AcoustID wants it beside the fingerprint).
    null_reasons : dict
        {field: reason}.
    """

    chromaprint: str | None
    spectral_hash: str | None
    duration: float
    null_reasons: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TrackAnalysis:
    """The result of `analyse(path)`: one decode, every stage asked for.

    Attributes
    ----------
    features, fingerprint
        None when that stage was not asked for.
    decode_seconds, analysis_seconds : float
        CPU seconds spent, for the metrics.
    """

    technical: Technical
    features: Features | None
    fingerprint: Fingerprint | None
    decode_seconds: float
    analysis_seconds: float
