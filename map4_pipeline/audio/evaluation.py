"""How good tempo and key are on labelled audio: `map4 evaluate`, `make bench` and the regression test score alike.

Tempo: Accuracy1 is a tempo within 4% (2%) of the truth; Accuracy2 also takes a third, half, twice and three times it (Gouyon et
al. 2006). Key: the MIREX score gives 1 for the key, 0.5 for a fifth off, 0.3 for the relative and 0.2 for the parallel key. A
file that could not be analysed counts as wrong.
"""

import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from typing import Any

from map4_pipeline.audio.errors import AudioError
from map4_pipeline.audio.model import ENGINE
from map4_pipeline.audio.truth import ALL, Label
from map4_pipeline.hamms.camelot import split_key

LEVELS = (1.0, 2.0, 0.5, 3.0, 1 / 3)
#: How Accuracy is called, the tolerance, and whether other metrical levels count.
TEMPO_SCORES = (("acc1_4", 0.04, False), ("acc2_4", 0.04, True), ("acc1_2", 0.02, False), ("acc2_2", 0.02, True))
KEY_WEIGHTS = {"right": 1.0, "fifth": 0.5, "relative": 0.3, "parallel": 0.2, "other": 0.0}
#: Below this many answers, how far confidences are to be trusted is not told.
MIN_FOR_CALIBRATION = 20
_BINS = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What was measured for a label. `error` is empty, or says why there is nothing."""

    bpm: float | None = None
    bpm_confidence: float | None = None
    key: str | None = None
    key_confidence: float | None = None
    cpu_seconds: float = 0.0
    duration: float = 0.0
    error: str = ""


@dataclass(slots=True)
class Score:
    """What one set has come to: counts, and the relative errors of the tempi that were right at some level."""

    tempi: int = 0
    hits: dict[str, int] = field(default_factory=lambda: {name: 0 for name, _, _ in TEMPO_SCORES})
    deviations: list[float] = field(default_factory=list)
    keys: int = 0
    relations: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KEY_WEIGHTS, 0))

    @property
    def mirex(self) -> float:
        """Sum of the MIREX weights."""
        return sum(KEY_WEIGHTS[name] * count for name, count in self.relations.items())

    def as_dict(self) -> dict[str, Any]:
        """Return the scores in percent, ready for JSON; None for what has no label."""
        tempo = {name: _percent(count, self.tempi) for name, count in self.hits.items()}
        tempo["median_error"] = round(100 * statistics.median(self.deviations), 4) if self.deviations else None
        key = {name: _percent(count, self.keys) for name, count in self.relations.items()}
        return {
            "tempo": {"n": self.tempi, **tempo},
            "key": {"n": self.keys, "mirex": _percent(self.mirex, self.keys), **key},
        }


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far confidences are to be trusted.

    Attributes
    ----------
    n : int
        Answers with a confidence.
    right : float
        Share of them that is right (tempo: within 4%, octave included).
    brier : float
        Mean squared difference of confidence and rightness.
    gain : float or None
        How much better than giving everything the share that is right: 1 is perfect. None where all or none are right.
    auroc : float or None
        Probability that of two answers, one right and one wrong, the right one has the higher confidence.
    error : float
        Mean distance of confidence and share of right answers over 5 bins of equal size.
    """

    n: int
    right: float
    brier: float
    gain: float | None
    auroc: float | None
    error: float


def tempo_hit(bpm: float | None, truth: float, tolerance: float, any_level: bool) -> bool:
    """Return whether a tempo is within a tolerance of the truth, or of a level of it."""
    if not bpm:
        return False
    return any(abs(bpm - truth * k) <= tolerance * truth * k for k in (LEVELS if any_level else (1.0,)))


def key_relation(key: str | None, truth: str) -> str:
    """Return how a key relates to the truth: "right", "fifth" (either way), "relative", "parallel", "other"."""
    if key is None:
        return "other"
    (pitch, minor), (true_pitch, true_minor) = split_key(key), split_key(truth)
    apart = (pitch - true_pitch) % 12
    if minor == true_minor:
        return "right" if apart == 0 else "fifth" if apart in (5, 7) else "other"
    if apart == 0:
        return "parallel"
    return "relative" if apart == (3 if true_minor else 9) else "other"


def measure(path: str | bytes | os.PathLike[str], engine: str = ENGINE) -> Answer:
    """Analyse one file; what is wrong with it becomes its answer."""
    from map4_pipeline.audio import analyse

    try:
        result = analyse(os.fsdecode(path), stages=("features",), engine=engine)
    except AudioError as error:
        return Answer(error=error.message)
    features = result.features
    assert features is not None
    return Answer(
        bpm=features.bpm,
        bpm_confidence=features.bpm_confidence,
        key=features.key,
        key_confidence=features.key_confidence,
        cpu_seconds=result.decode_seconds + result.analysis_seconds,
        duration=result.technical.duration,
    )


def score(pairs: Iterable[tuple[Label, Answer]]) -> dict[str, Score]:
    """Return the scores by set, and of all under "ALL", which comes last."""
    scores: dict[str, Score] = {}
    total = Score()
    for label, answer in pairs:
        for one in (scores.setdefault(label.set, Score()), total):
            _count(one, label, answer)
    if list(scores) in ([], [ALL]):
        return {ALL: total}
    return {name: scores[name] for name in sorted(scores)} | {ALL: total}


def _count(score: Score, label: Label, answer: Answer) -> None:
    if label.bpm is not None:
        score.tempi += 1
        for name, tolerance, any_level in TEMPO_SCORES:
            score.hits[name] += tempo_hit(answer.bpm, label.bpm, tolerance, any_level)
        if answer.bpm and tempo_hit(answer.bpm, label.bpm, 0.04, True):
            score.deviations.append(min(abs(answer.bpm / (label.bpm * k) - 1) for k in LEVELS))
    if label.key is not None:
        score.keys += 1
        score.relations[key_relation(answer.key, label.key)] += 1


def calibrations(pairs: Sequence[tuple[Label, Answer]]) -> dict[str, Calibration]:
    """Return how far the confidences of "bpm" and "key" are to be trusted, where there are answers enough to tell."""
    tempo = [
        (answer.bpm_confidence, tempo_hit(answer.bpm, label.bpm, 0.04, False))
        for label, answer in pairs
        if label.bpm is not None and answer.bpm_confidence is not None
    ]
    key = [
        (answer.key_confidence, key_relation(answer.key, label.key) == "right")
        for label, answer in pairs
        if label.key is not None and answer.key_confidence is not None
    ]
    return {name: calibration(found) for name, found in (("bpm", tempo), ("key", key)) if len(found) >= MIN_FOR_CALIBRATION}


def calibration(answers: Sequence[tuple[float, bool]]) -> Calibration:
    """Return how far confidences are to be trusted, given (confidence, is right)."""
    # By confidence alone: equal ones must not be put into bins of right and of wrong answers.
    ordered = sorted(answers, key=itemgetter(0))
    count = len(ordered)
    base = sum(is_right for _, is_right in ordered) / count
    brier = sum((c - is_right) ** 2 for c, is_right in ordered) / count
    right, wrong = [c for c, is_right in ordered if is_right], [c for c, is_right in ordered if not is_right]
    wins = sum((a > b) + 0.5 * (a == b) for a in right for b in wrong)
    bins = [ordered[count * k // _BINS : count * (k + 1) // _BINS] for k in range(_BINS)]
    error = sum(abs(sum(c for c, _ in part) - sum(is_right for _, is_right in part)) for part in bins) / count
    both = bool(right and wrong)
    return Calibration(
        n=count,
        right=base,
        brier=brier,
        gain=1 - brier / (base * (1 - base)) if both else None,
        auroc=wins / (len(right) * len(wrong)) if both else None,
        error=error,
    )


def wrong(label: Label, answer: Answer) -> list[str]:
    """Return what is wrong with an answer, in words; empty when tempo (within 4%) and key are right."""
    found = []
    if label.bpm is not None and not tempo_hit(answer.bpm, label.bpm, 0.04, False):
        level = " (another metrical level)" if tempo_hit(answer.bpm, label.bpm, 0.04, True) else ""
        found.append(f"tempo {label.bpm:g}, measured {'none' if answer.bpm is None else f'{answer.bpm:g}'}{level}")
    if label.key is not None and (relation := key_relation(answer.key, label.key)) != "right":
        kind = f" ({relation})" if relation != "other" else ""
        found.append(f"key {label.key}, measured {answer.key or 'none'}{kind}")
    return found + ([answer.error] if answer.error else [])


def table(scores: Mapping[str, Score]) -> str:
    """Return the scores as a table of text, in percent, a line a set."""
    width = max(3, *(len(name) for name in scores))
    lines = [f"{'set':{width}s}    n Acc1@4 Acc2@4 Acc1@2 Acc2@2 median% |    n  right  MIREX  fifth relat. parall."]
    for name, one in scores.items():
        if not one.tempi and not one.keys:
            continue
        tempo = " ".join(_cell(one.hits[hit], one.tempi) for hit, _, _ in TEMPO_SCORES)
        median = f"{100 * statistics.median(one.deviations):7.3f}" if one.deviations else "      -"
        values = [one.relations["right"], one.mirex, *(one.relations[kind] for kind in ("fifth", "relative", "parallel"))]
        key = " ".join(_cell(value, one.keys) for value in values)
        lines.append(f"{name:{width}s} {one.tempi:4d} {tempo} {median} | {one.keys:4d} {key}")
    return "\n".join(lines)


def calibration_lines(found: Mapping[str, Calibration]) -> list[str]:
    """Return a sentence on each quantity's confidence."""

    def figure(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return [
        f"confidence of {name}: right {100 * c.right:.1f}%, Brier {c.brier:.3f} ({figure(c.gain, '+.0%')} against the base "
        f"rate), AUROC {figure(c.auroc, '.2f')}, calibration error {c.error:.3f}, n {c.n}"
        for name, c in found.items()
    ]


def _percent(part: float, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


def _cell(part: float, whole: int) -> str:
    return f"{100 * part / whole:6.1f}" if whole else "     -"


def as_json(pairs: Sequence[tuple[Label, Answer]], missing: Sequence[Label]) -> dict[str, Any]:
    """Return everything that was found, ready for JSON.

    Parameters
    ----------
    missing : sequence of Label
        Whose file is not there.
    """
    return {
        "sets": {name: one.as_dict() for name, one in score(pairs).items()},
        "calibration": {
            name: {figure: None if value is None else round(value, 4) for figure, value in asdict(found).items()}
            for name, found in calibrations(pairs).items()
        },
        "files": [
            {
                "path": label.name,
                "set": label.set,
                "true_bpm": label.bpm,
                "bpm": answer.bpm,
                "bpm_confidence": answer.bpm_confidence,
                "true_key": label.key,
                "key": answer.key,
                "key_confidence": answer.key_confidence,
                "wrong": wrong(label, answer),
                "error": answer.error or None,
            }
            for label, answer in pairs
        ],
        "missing": [label.name for label in missing],
    }
