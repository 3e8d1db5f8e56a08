"""`analyse(path)`: one decode, every measurement."""

import math
import os
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio import blas, descriptors
from map4_pipeline.audio.bandwidth import spectral_cutoff
from map4_pipeline.audio.beats import LATENCY, Beats, band_flux, track_beats
from map4_pipeline.audio.decode import AudioStream, candidates
from map4_pipeline.audio.engines import Engine, Guest, Sound, load_engine
from map4_pipeline.audio.errors import AudioError
from map4_pipeline.audio.findings import seconds_missing, signal_findings, silent_ends, stream_findings
from map4_pipeline.audio.intake import Intake
from map4_pipeline.audio.loudness import integrated_loudness, loudness_range, replay_gain
from map4_pipeline.audio.meter import Meter, find_meter
from map4_pipeline.audio.model import ENGINE, Features, Finding, Fingerprint, Technical, TempoSpan, TrackAnalysis
from map4_pipeline.audio.rhythm import normalised, onset_strength
from map4_pipeline.audio.sections import find_sections
from map4_pipeline.audio.sniff import Sniffed
from map4_pipeline.audio.spectra import SAMPLE_RATE, Spectra
from map4_pipeline.audio.tempo import estimate_tempo
from map4_pipeline.audio.tempo_curve import find_spans, nearest_tempo, tempo_curve
from map4_pipeline.audio.tonality import estimate_key
from map4_pipeline.fingerprint import FINGERPRINT_SECONDS
from map4_pipeline.hamms.camelot import to_camelot, to_open_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

STAGES = ("features", "fingerprint")
#: Seconds below which a file is a sample, not a track.
MIN_SECONDS = 1.0
#: Hz; what lies outside is a damaged header, and resampling from it would take all memory.
MIN_RATE, MAX_RATE = 1000, 6_200_000
_WAVEFORM_VALUES = 400
#: What `analyse(extras=False)` leaves out, of the fields that need a reason.
_EXTRA_FIELDS = ("true_peak_dbtp", "replaygain_peak", "spectral_cutoff_hz")
_NOT_ASKED_FOR = "not asked for"


def analyse(
    path: str | os.PathLike[str],
    *,
    stages: Collection[str] = STAGES,
    extras: bool = True,
    engine: str = ENGINE,
    on_spectra: Callable[[Spectra], None] | None = None,
) -> TrackAnalysis:
    """Decode an audio file once and measure what `stages` asks for.

    Parameters
    ----------
    path : str or path-like
        Any name the operating system accepts, also one that is not UTF-8.
    stages : collection of {"features", "fingerprint"}
    extras : bool
        False leaves out what tempo, key, HAMMS and fingerprint do not need: true peak, spectral cutoff, bars, sections.
        These fields are then None or empty, with the reason "not asked for"; all others have the same values.
    engine : str
        Who measures the features: MAP4 itself, or an installed engine of this name (see `engines`).
    on_spectra : callable, optional
        Called with the track's spectra, for those who want to measure more from the same decode.

    Returns
    -------
    TrackAnalysis
        With `features` and `fingerprint` None where not asked for.

    Raises
    ------
    AudioError
        When the file cannot be analysed; `kind` says why.
    EngineError
        When there is no such engine.
    ValueError
        For an unknown stage.
    """
    unknown = set(stages) - set(STAGES)
    if unknown:
        raise ValueError(f"unknown stage: {', '.join(sorted(unknown))}")
    with blas.single_thread():
        return _analyse(path, stages, extras, load_engine(engine), on_spectra)


def _analyse(
    path: str | os.PathLike[str],
    stages: Collection[str],
    extras: bool,
    engine: Engine | None,
    on_spectra: Callable[[Spectra], None] | None,
) -> TrackAnalysis:
    started = time.process_time()
    keep_all = engine is not None and engine.wants_samples
    stream, sniffed, intake, complaint, decoding = _decode(path, stages, keep_all, extras)
    technical = _technical(stream, sniffed, intake)
    if intake.duration < MIN_SECONDS:
        lasts = math.floor(intake.duration * 1000) / 1000
        raise AudioError("too_short", f"The audio lasts {lasts:.3f} s; under one second there is nothing to analyse.")
    spectra = intake.spectra.finish()
    if on_spectra is not None:
        on_spectra(spectra)
    features = fingerprint = None
    if "features" in stages:
        found = stream_findings(stream, sniffed, intake.frames, complaint)
        samples = intake.head if keep_all else np.zeros(0, np.float32)
        guest = Guest(engine, Sound(os.fsdecode(path), technical, spectra, samples))
        features = guest.features(lambda: _features(spectra, intake, technical, found, guest, extras))
    if "fingerprint" in stages:
        fingerprint = _fingerprint(spectra, intake, technical.duration)
    return TrackAnalysis(technical, features, fingerprint, decoding, max(0.0, time.process_time() - started - decoding))


def read_spectra(path: str | os.PathLike[str]) -> Spectra:
    """Return the shared spectra of a file, for research and for fitting the models.

    Raises
    ------
    AudioError
        When the file cannot be decoded, or has no sample.
    """
    with blas.single_thread():
        intake = _decode(path, ())[2]
        if not intake.frames:
            raise AudioError("too_short", "There is not one sample of audio in it.")
        return intake.spectra.finish()


def _decode(
    path: str | os.PathLike[str], stages: Collection[str], keep_all: bool = False, extras: bool = True
) -> tuple[AudioStream, Sniffed, Intake, str, float]:
    """Run the decoders in turn until one reads the file to its end; where none does, keep the one that came furthest."""
    sniffed, openers = candidates(path)
    best: tuple[AudioStream, Intake, str, float] | None = None
    first_error: AudioError | None = None
    complained = False
    for opener in openers:
        try:
            stream, intake, complaint, seconds = _read(opener, stages, keep_all, extras)
        except AudioError as error:
            # The preferred decoder's complaint, unless another one knows better than "damaged".
            if first_error is None or first_error.kind == "damaged":
                first_error = error
            continue
        if best is None or intake.frames > best[1].frames:
            best = (stream, intake, complaint, seconds)
        if complained and not complaint and not stream.errors:
            stream.errors = 1  # where the stricter decoder stopped, FFmpeg has taken a damaged packet for music
        complained = bool(complaint)
        # libsndfile stops without a word at the first damaged packet; FFmpeg goes on behind it.
        # Of a WAV file whose header counts no samples, as recorders leave it, FFmpeg reads what there is.
        if not complaint and intake.frames and not seconds_missing(stream, intake.frames):
            break
    if best is None:
        raise first_error or AudioError("damaged", "The audio cannot be decoded.")
    return best[0], sniffed, best[1], best[2], best[3]


def _read(
    opener: Callable[[], AudioStream], stages: Collection[str], keep_all: bool, extras: bool
) -> tuple[AudioStream, Intake, str, float]:
    clock = time.process_time
    mark = clock()
    stream = opener()
    if stream.sample_rate and not MIN_RATE <= stream.sample_rate <= MAX_RATE:
        stream.close()
        raise AudioError("damaged", f"The header says {stream.sample_rate:,} samples a second, which no audio has.")
    seconds = 0.0
    complaint = ""
    intake: Intake | None = None
    try:
        try:
            for block in stream.blocks():
                seconds += clock() - mark
                if intake is None:
                    keep = float("inf") if keep_all else FINGERPRINT_SECONDS + 1.0 if "fingerprint" in stages else 0.0
                    is_float = stream.codec.startswith("pcm_f")
                    intake = Intake(stream.sample_rate, stream.channels, keep, "features" in stages, is_float, extras)
                intake.feed(block)
                mark = clock()
        except AudioError as error:
            if intake is None:
                raise
            complaint = error.message
    finally:
        stream.close()
    if intake is None:
        intake = Intake(stream.sample_rate or 44100, stream.channels or 1, 0.0, False, False)
    intake.finish()
    return stream, intake, complaint, seconds


def _technical(stream: AudioStream, sniffed: Sniffed, intake: Intake) -> Technical:
    duration = intake.duration
    bit_rate = None
    if duration > 0:
        if stream.codec.startswith("pcm_") and stream.bit_depth:
            bit_rate = stream.sample_rate * stream.channels * stream.bit_depth
        else:
            bit_rate = round((stream.packet_bytes or sniffed.audio_bytes) * 8 / duration)
    return Technical(
        duration=round(duration, 6),
        sample_rate=stream.sample_rate,
        channels=stream.channels,
        bit_rate=bit_rate,
        codec=stream.codec,
        container=stream.container,
        bit_depth=stream.bit_depth,
        decoder=stream.decoder,
    )


def _features(
    spectra: Spectra, intake: Intake, technical: Technical, found: list[Finding], guest: Guest, extras: bool
) -> Features:
    meter = intake.meter
    assert meter is not None
    steps = meter.steps()
    lufs = integrated_loudness(steps)
    ends = silent_ends(spectra.envelope, technical.duration)
    cutoff = spectral_cutoff(meter.bands())
    found = found + signal_findings(intake, ends, cutoff, technical)
    waveform = _waveform(spectra.envelope)
    if lufs is None:
        if not any(f.code == "silence" for f in found):
            found.append(Finding("silence", "Nothing is louder than -70 LUFS, the gate of EBU R 128.", None))
        return _silent(waveform, found)

    onsets = onset_strength(spectra.mel)
    envelope = normalised(onsets.full)
    tempo = guest.tempo(estimate_tempo(onsets), envelope)
    flux = band_flux(spectra.mel)
    spans: tuple[TempoSpan, ...] = ()
    beats = Beats(np.zeros(0), 0.0)
    if tempo.bpm is not None:
        if guest.replaces("tempo"):  # it speaks of the whole track
            spans = (TempoSpan(0.0, technical.duration, tempo.bpm),)
        else:
            spans = find_spans(onsets, envelope, tempo.bpm, lambda part: estimate_tempo(part).bpm)
            tempo = replace(tempo, bpm=nearest_tempo(tempo.bpm, spans))
        beats = track_beats(spectra.mel, flux, onsets.events, envelope, spans)
    # Nobody asks for these any more, and those of a long mix are large.
    onsets = replace(onsets, events=onsets.events[:0].copy())
    # A guest engine may not say how sure it is of its tempo.
    sure = 1.0 if tempo.confidence is None else tempo.confidence
    bars = find_meter(spectra, flux, beats, sure) if extras else Meter(None, np.zeros(0), None, _NOT_ASKED_FOR)
    tonality = guest.key(estimate_key(spectra))
    blocks = descriptors.excerpt(spectra)
    hertz = descriptors.centroid_hz(spectra)
    brightness = descriptors.spectral_centroid(hertz) if hertz is not None else 0.0
    span = loudness_range(steps)
    sample_peak, rms = intake.peak_and_rms()
    crest = 20 * np.log10(sample_peak / rms) if rms > 0 and sample_peak > 0 else None
    gain_db = -20 * float(np.log10(intake.gain))
    values: dict[str, float | None] = {
        "energy": descriptors.energy(lufs, descriptors.onset_rate(onsets), brightness),
        "danceability": descriptors.danceability(tempo, descriptors.low_pulse(onsets, tempo)),
        "valence": descriptors.valence(tonality, tempo, brightness),
        "acousticness": descriptors.acousticness(blocks),
        "instrumentalness": descriptors.instrumentalness(spectra, blocks),
        "rhythmic_pattern": descriptors.rhythmic_pattern(envelope, beats.times - LATENCY),
        "spectral_centroid": brightness if hertz is not None else None,
        "tempo_stability": descriptors.tempo_stability(tempo),
        "harmonic_complexity": descriptors.harmonic_complexity(tonality),
        "dynamic_range": descriptors.dynamic_range(span) if span is not None else None,
    }
    reasons: dict[str, str] = {}
    for name in ("bpm", "bpm_confidence", "danceability", "rhythmic_pattern", "tempo_stability", "beat_first"):
        if tempo.bpm is None:
            reasons[name] = tempo.reason
    for name in ("beats_per_bar", "downbeat_confidence"):
        if bars.beats_per_bar is None:
            reasons[name] = tempo.reason if tempo.bpm is None else bars.reason
    if tempo.bpm is not None and tempo.confidence is None:
        reasons["bpm_confidence"] = guest.no_confidence
    if tonality.key is not None and tonality.confidence is None:
        reasons["key_confidence"] = guest.no_confidence
    if tempo.bpm is not None and values["tempo_stability"] is None:
        reasons["tempo_stability"] = "the local tempi do not go with the engine's tempo"
    if tempo.bpm is not None and not len(beats.times):
        reasons["beat_first"] = "too short for beats"
    for name in ("key", "camelot", "open_key", "key_confidence"):
        if tonality.key is None:
            reasons[name] = tonality.reason
    if tonality.tuning_cents is None:
        reasons["tuning_cents"] = tonality.reason
    if span is None:
        reasons["loudness_range_lu"] = reasons["dynamic_range"] = "too short for a loudness range (3 s)"
    if crest is None:
        reasons["crest_db"] = "nothing sounds in the first two channels"
    if hertz is None:
        reasons["spectral_centroid"] = reasons["spectral_centroid_hz"] = "nothing sounds in the mix of the channels"
    if values["valence"] is None:
        reasons["valence"] = "neither beat nor key found"
    if values["instrumentalness"] is None:
        reasons["instrumentalness"] = "too short to tell a voice (3 s)"
    if values["harmonic_complexity"] is None:
        reasons["harmonic_complexity"] = "no pitched sound found"
    if tempo.bpm is not None and values["rhythmic_pattern"] is None:
        reasons["rhythmic_pattern"] = "too few beats"
    if cutoff is None:
        reasons["spectral_cutoff_hz"] = "the spectrum does not break off"
    if ends is None:
        reasons["leading_silence"] = reasons["trailing_silence"] = "silence"
    leading, trailing = ends or (None, None)
    if not extras:
        reasons |= dict.fromkeys(_EXTRA_FIELDS, _NOT_ASKED_FOR)
    peak = meter.true_peak / intake.gain if extras else None
    return Features(
        bpm=_round(tempo.bpm, 3),
        bpm_confidence=_round(tempo.confidence, 4),
        bpm_alternatives=tempo.alternatives,
        key=tonality.key,
        camelot=to_camelot(tonality.key),
        open_key=to_open_key(tonality.key),
        key_confidence=_round(tonality.confidence, 4),
        key_alternatives=tonality.alternatives,
        key_spans=tonality.spans,
        tuning_cents=_round(tonality.tuning_cents, 2),
        loudness_lufs=_round(lufs + gain_db, 3),
        loudness_range_lu=_round(span, 3),
        true_peak_dbtp=_round(20 * float(np.log10(peak)), 3) if peak else None,
        replaygain_db=_round(replay_gain(lufs + gain_db), 2),
        replaygain_peak=_round(peak, 6),
        leading_silence=_round(leading, 3),
        trailing_silence=_round(trailing, 3),
        spectral_cutoff_hz=_round(cutoff.hertz if cutoff else None, 0),
        spectral_centroid_hz=_round(hertz, 2),
        crest_db=_round(crest, 3),
        beat_first=_round(float(beats.times[0]), 4) if len(beats.times) else None,
        beat_times=_rounded(beats.times),
        beats_per_bar=bars.beats_per_bar,
        downbeat_times=_rounded(bars.downbeats),
        downbeat_confidence=_round(bars.confidence, 4),
        tempo_curve=tuple((round(t, 2), round(local, 2)) for t, local in tempo_curve(beats.times, spans)),
        tempo_spans=tuple(TempoSpan(round(s.start, 2), round(min(s.end, technical.duration), 2), round(s.bpm, 3)) for s in spans),
        sections=find_sections(spectra, technical.duration) if extras else (),
        waveform=waveform,
        null_reasons=reasons,
        findings=tuple(found),
        **{name: _round(value, 6) for name, value in values.items()},
    )


def _silent(waveform: tuple[int, ...], found: list[Finding]) -> Features:
    names = (
        "bpm bpm_confidence key camelot open_key key_confidence tuning_cents energy loudness_lufs loudness_range_lu "
        "true_peak_dbtp danceability valence acousticness instrumentalness rhythmic_pattern spectral_centroid tempo_stability "
        "harmonic_complexity dynamic_range spectral_centroid_hz crest_db beat_first beats_per_bar downbeat_confidence "
        "replaygain_db replaygain_peak leading_silence trailing_silence spectral_cutoff_hz"
    ).split()
    return Features(
        **dict.fromkeys(names),  # type: ignore[arg-type]
        bpm_alternatives=(),
        key_alternatives=(),
        waveform=waveform,
        null_reasons=dict.fromkeys(names, "silence"),
        findings=tuple(found),
    )


def _fingerprint(spectra: Spectra, intake: Intake, duration: float) -> Fingerprint:
    from map4_pipeline.fingerprint.chromaprint import MIN_SECONDS as MIN_PRINT
    from map4_pipeline.fingerprint.chromaprint import chromaprint
    from map4_pipeline.fingerprint.spectral_hash import spectral_hash

    reasons: dict[str, str] = {}
    # Half the least bit of 16-bit audio: what is below would be a fingerprint of nothing, and match every other silence.
    if float(spectra.envelope.max(initial=0.0)) < 2 / 32768:
        return Fingerprint(None, None, duration, {"chromaprint": "silence", "spectral_hash": "silence"})
    head = intake.head
    printed = None
    if duration < MIN_PRINT:
        reasons["chromaprint"] = "too short for a fingerprint (3 s)"
    elif max(float(head.max(initial=0.0)), -float(head.min(initial=0.0))) < 2 / 32768:
        reasons["chromaprint"] = "silence: nothing sounds in the first 120 s"
    else:
        printed = chromaprint(head[: FINGERPRINT_SECONDS * SAMPLE_RATE])
        if printed is None:
            reasons["chromaprint"] = "the fingerprint could not be made"
    hashed = spectral_hash(spectra.mel)
    if hashed is None:
        reasons["spectral_hash"] = "too short"
    return Fingerprint(printed, hashed, duration, reasons)


def _waveform(envelope: "NDArray[np.float32]") -> tuple[int, ...]:
    """Return at most 400 peak values, 255 the track's largest."""
    top = float(envelope.max(initial=0.0))
    if top <= 0:
        return (0,) * min(len(envelope), _WAVEFORM_VALUES)
    edges = np.linspace(0, len(envelope), min(len(envelope), _WAVEFORM_VALUES) + 1).astype(int)
    peaks = np.maximum.reduceat(envelope, edges[:-1])
    return tuple(int(v) for v in np.rint(peaks / top * 255))


def _rounded(times: "NDArray[np.float64]") -> tuple[float, ...]:
    return tuple(round(float(t), 4) for t in times)


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)
