"""Engines that users install: a package may measure tempo, key or all features in MAP4's place.

A package offers an engine through an entry point of the group `map4.engines`; the setting `MAP4_ENGINE` chooses one by the
entry point's name. What it measures is stored under its name and version, never among the values of another engine. Without the
setting nothing here is looked at. `docs/research.md` shows a whole engine.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, get_args, runtime_checkable

from map4_pipeline.audio.engine_answers import BPM_RANGE, checked_features, is_within
from map4_pipeline.audio.errors import AudioError
from map4_pipeline.audio.model import ENGINE, FEATURES_VERSION, Candidate, Features, KeySpan, Technical

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    import numpy as np
    from numpy.typing import NDArray

    from map4_pipeline.audio.spectra import Spectra
    from map4_pipeline.audio.tempo import Tempo
    from map4_pipeline.audio.tonality import Tonality

GROUP = "map4.engines"
#: What an engine can measure in MAP4's place: all features, or only the tempo or the key, on which MAP4 builds the rest.
Stage = Literal["features", "tempo", "key"]
#: How far two readings of one tempo may lie apart.
_SAME_TEMPO = 0.04

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Sound:
    """What an engine is given of a track.

    Attributes
    ----------
    path : str
        The file, should the engine decode by itself; bytes that are no text are surrogates, as `os.fsencode` takes them.
    technical : Technical
    spectra : Spectra
        What MAP4 measures from; shared, so not to be changed.
    samples : ndarray, shape (n,), float32
        The whole track in mono at 22.05 kHz where the engine's `wants_samples` is true, else empty.
    """

    path: str
    technical: Technical
    spectra: "Spectra"
    samples: "NDArray[np.float32]"


@dataclass(frozen=True, slots=True)
class TempoReading:
    """An engine's answer to the tempo.

    Attributes
    ----------
    bpm : float or None
        Beats a minute, 10 to 1,000. None: there is none, and `reason` says why.
    confidence : float or None
        Probability in [0, 1] that it is right, octave included.
    alternatives : tuple of Candidate
        Other tempi, each with its probability.
    reason : str
        A few words.
    """

    bpm: float | None
    confidence: float | None = None
    alternatives: tuple[Candidate, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class KeyReading:
    """An engine's answer to the key.

    Attributes
    ----------
    key : str or None
        In any spelling: "A minor", "Am", "8A", "1m". None: there is none, and `reason` says why.
    confidence : float or None
        Probability in [0, 1] that it is right.
    alternatives : tuple of Candidate
        Other keys, each with its probability.
    reason : str
        A few words.
    """

    key: str | None
    confidence: float | None = None
    alternatives: tuple[Candidate, ...] = ()
    reason: str = ""


@runtime_checkable
class Engine(Protocol):
    """What the entry point names: an object, or a class or function that makes one without arguments.

    For each of its stages an engine has the method of that name; see `TempoEngine`, `KeyEngine` and `FeaturesEngine`.

    Attributes
    ----------
    name : str
        As the entry point is called.
    version : str
        Changes whenever a value could; values of two versions are never mixed.
    stages : collection of str
        "features", "tempo", "key".
    wants_samples : bool
        Whether `Sound.samples` is filled: 5.3 MB a minute.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 (above)
    @property
    def version(self) -> str: ...  # noqa: D102
    @property
    def stages(self) -> Collection[Stage]: ...  # noqa: D102
    @property
    def wants_samples(self) -> bool: ...  # noqa: D102


class TempoEngine(Engine, Protocol):
    """An engine of the stage "tempo"."""

    def tempo(self, sound: Sound) -> TempoReading:
        """Return the tempo; beats, danceability and all that follows from it are MAP4's."""


class KeyEngine(Engine, Protocol):
    """An engine of the stage "key"."""

    def key(self, sound: Sound) -> KeyReading:
        """Return the key."""


class FeaturesEngine(Engine, Protocol):
    """An engine of the stage "features"."""

    def features(self, sound: Sound, measure: Callable[[], Features]) -> Features:
        """Return all features; `measure()` gives MAP4's own, to change some of them with `dataclasses.replace`.

        Numbers may be numpy's, sequences lists or arrays. `camelot` and `open_key` are made from `key`. What else hangs together
        is the engine's to keep so: beats, `tempo_curve` and `tempo_spans` with `bpm`, `key_spans` with `key`.
        """


class EngineError(Exception):
    """An engine that cannot be had; `exit_code` is what the command line ends with."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message, exit_code)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return str(self.args[0])


def installed_engines() -> dict[str, list["EntryPoint"]]:
    """Return the engines that are installed, by name, without importing them."""
    from importlib.metadata import entry_points

    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return dict(sorted(found.items()))


@lru_cache(maxsize=8)
def load_engine(name: str) -> Engine | None:
    """Return the engine of a name, loaded; None for MAP4's own.

    Raises
    ------
    EngineError
        When there is none of this name, when there are two, or when it cannot be loaded.
    """
    if name in ("", ENGINE):
        return None
    points = installed_engines()
    if name not in points:
        names = ", ".join([ENGINE, *points])
        raise EngineError(f"There is no engine {name!r} (MAP4_ENGINE). Installed: {names}.", 2)
    if len(points[name]) > 1:
        packages = " and ".join(sorted(_package(point) for point in points[name]))
        raise EngineError(f"Two packages offer an engine {name!r}: {packages}. Uninstall one of them.", 2)
    (point,) = points[name]
    try:
        engine = point.load()
        if isinstance(engine, type) or not hasattr(engine, "stages"):
            engine = engine()
        problem = _unfit(engine, name)
    except Exception as error:
        text = f"The engine {name!r} of the package {_package(point)} cannot be loaded ({type(error).__name__}: {error})."
        raise EngineError(text, 3) from error
    if problem:
        raise EngineError(f"The engine {name!r} of the package {_package(point)} is no engine of MAP4: {problem}.", 3)
    assert isinstance(engine, Engine)
    return engine


def features_identity(name: str) -> tuple[str, str]:
    """Return (engine, version) under which the features of an engine are stored.

    An engine builds on MAP4's own measurements, so their version is part of its own; and its name is, because a version alone is
    compared where only the newest result is kept.
    """
    engine = load_engine(name)
    if engine is None:
        return ENGINE, FEATURES_VERSION
    return engine.name, f"{FEATURES_VERSION}+{engine.name}-{engine.version}"


def _package(point: "EntryPoint") -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def _unfit(engine: Any, name: str) -> str:
    if not isinstance(engine, Engine):
        return "it lacks name, version, stages or wants_samples"
    if engine.name != name:
        return f"it calls itself {engine.name!r}"
    if not isinstance(engine.version, str) or not engine.version:
        return "its version is no text"
    unknown = set(engine.stages) - set(get_args(Stage))
    if unknown or not engine.stages:
        return f"its stages are {sorted(map(str, engine.stages))}, not of {', '.join(get_args(Stage))}"
    lacking = [stage for stage in engine.stages if not callable(getattr(engine, stage, None))]
    return f"it has no method {lacking[0]}" if lacking else ""


@dataclass(frozen=True, slots=True)
class Guest:
    """A chosen engine at work on one track: asks it, checks its answers, and turns its failures into the file's error.

    Attributes
    ----------
    engine : Engine or None
        None: MAP4's own, which replaces nothing.
    """

    engine: Engine | None
    sound: Sound = field(repr=False)

    def replaces(self, stage: Stage) -> bool:
        """Return whether the engine measures a stage."""
        return self.engine is not None and stage in self.engine.stages

    def tempo(self, own: "Tempo", envelope: "NDArray[np.float32]") -> "Tempo":
        """Return the track's tempo: the engine's where it measures tempi, else MAP4's `own`.

        Parameters
        ----------
        own : Tempo
        envelope : ndarray, shape (n,)
            Normalised onset strength, from which the engine's tempo gets its pulse.
        """
        if not self.replaces("tempo"):
            return own
        reading = self._ask("tempo", TempoReading)
        if reading.bpm is None:
            reason = reading.reason or f"no tempo found by the engine {self._title}"
            return replace(own, bpm=None, confidence=None, alternatives=(), reason=reason, pulse=0.0, curve=own.curve[:0])
        self._check(is_within(reading.bpm, *BPM_RANGE), "tempo", reading.bpm)
        bpm = float(reading.bpm)
        alternatives = tuple(self._candidate("tempo", c, is_within(c.value, *BPM_RANGE)) for c in reading.alternatives)
        confidence = self._probability("tempo", reading.confidence)
        curve, height = _curve_at(bpm, own), _pulse_at(bpm, envelope)
        return replace(own, bpm=bpm, confidence=confidence, alternatives=alternatives, reason="", pulse=height, curve=curve)

    def key(self, own: "Tonality") -> "Tonality":
        """Return the track's key: the engine's where it measures keys, else MAP4's `own`."""
        from map4_pipeline.hamms.camelot import parse_key

        if not self.replaces("key"):
            return own
        reading = self._ask("key", KeyReading)
        if reading.key is None:
            reason = reading.reason or f"no key found by the engine {self._title}"
            return replace(own, key=None, confidence=None, alternatives=(), reason=reason, major_probability=0.5, spans=())
        key = parse_key(reading.key) if isinstance(reading.key, str) else None
        self._check(key is not None, "key", reading.key)
        spelled = [replace(c, value=parse_key(str(c.value)) or "") for c in reading.alternatives]
        alternatives = tuple(self._candidate("key", c, bool(c.value)) for c in spelled)
        confidence = self._probability("key", reading.confidence)
        readings = [(str(key), 1.0 if confidence is None else confidence)] + [(str(c.value), c.probability) for c in alternatives]
        total = sum(probability for _, probability in readings) or 1.0
        major = sum(probability for name, probability in readings if name.endswith("major")) / total
        # The engine speaks of the whole track; MAP4's own stretches would be another opinion beside it.
        whole = () if confidence is None else (KeySpan(0.0, self.sound.technical.duration, str(key), confidence),)
        return replace(
            own, key=key, confidence=confidence, alternatives=alternatives, reason="", major_probability=major, spans=whole
        )

    @property
    def no_confidence(self) -> str:
        """Why a tempo or a key has no confidence."""
        return f"the engine {self._title} gives none"

    def features(self, measure: Callable[[], Features]) -> Features:
        """Return the track's features: the engine's where it measures them, else what `measure` gives."""
        if not self.replaces("features"):
            return measure()
        answer = self._ask("features", Features, measure)
        try:
            features = checked_features(answer)
        except ValueError as fault:
            self._check(False, "features", str(fault))
        # What an engine leaves out has a reason as well: it is the engine's.
        left_out = [f.name for f in fields(Features) if getattr(features, f.name) is None]
        reasons = dict.fromkeys(left_out, f"not measured by the engine {self._title}")
        return replace(features, null_reasons=reasons | features.null_reasons)

    def _ask(self, stage: Stage, kind: type[_Answer], *arguments: Any) -> _Answer:
        assert self.engine is not None
        try:
            answer = getattr(self.engine, stage)(self.sound, *arguments)
        except (AudioError, MemoryError):
            raise
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise AudioError("engine", f"The engine {self._title} failed on this file in its stage {stage} ({told}).") from error
        self._check(isinstance(answer, kind), stage, answer)
        checked: _Answer = answer
        return checked

    def _probability(self, stage: Stage, value: float | None) -> float | None:
        self._check(value is None or is_within(value, 0, 1), stage, f"the probability {value!r}")
        return None if value is None else float(value)

    def _candidate(self, stage: Stage, candidate: Candidate, good: bool) -> Candidate:
        self._check(good, stage, candidate.value)
        value = candidate.value if isinstance(candidate.value, str) else float(candidate.value)
        return Candidate(value, self._probability(stage, candidate.probability) or 0.0)

    def _check(self, good: bool, stage: Stage, answer: object) -> None:
        if not good:
            shown = " ".join((answer if isinstance(answer, str) else repr(answer)).split())
            text = f"The engine {self._title} gave no usable answer in its stage {stage} on this file: {shown[:200]}."
            raise AudioError("engine", text)

    @property
    def _title(self) -> str:
        assert self.engine is not None
        return f"{self.engine.name} {self.engine.version}"


def _curve_at(bpm: float, own: "Tempo") -> "NDArray[np.float64]":
    """Return MAP4's curve of local tempi at the metrical level of another reading; empty where the two are not related."""
    if own.bpm is not None:
        for level in (1.0, 2.0, 0.5, 3.0, 1 / 3, 1.5, 2 / 3):
            if abs(bpm / (own.bpm * level) - 1) < _SAME_TEMPO:
                return own.curve * level
    return own.curve[:0]


def _pulse_at(bpm: float, envelope: "NDArray[np.float32]") -> float:
    """Return how regular the onsets are at a tempo, as `tempo.estimate_tempo` does for its own; 0 where there is too little."""
    from map4_pipeline.audio.spectra import RHYTHM_FPS
    from map4_pipeline.audio.tempo import SHORTEST, pulse
    from map4_pipeline.audio.tempogram import tempogram

    return min(1.0, pulse(tempogram(envelope), bpm)) if len(envelope) >= SHORTEST * RHYTHM_FPS else 0.0
