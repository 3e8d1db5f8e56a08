"""What the AI annotations of a library say, counted in one pass and bounded memory."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from map4_pipeline.reports import text
from map4_pipeline.reports.model import TrackRow
from map4_pipeline.reports.statistics import finite

_MAX_NAMES = 2_000
_LISTS = {"genres": "genre", "moods": "moods", "eras": "era", "tags": "tags"}


@dataclass(slots=True)
class AnnotationSummary:
    """Counts over the annotated tracks.

    Attributes
    ----------
    genres, moods, eras, tags : Counter
        {value: tracks}.
    models : Counter
        {"provider, model": tracks}.
    confidence : float
        The sum of the annotations' confidences; `mean_confidence` is what people read.
    contradicted : int
        Annotations of which a claim was taken back because it contradicts what was measured or itself.
    contradictions : Counter
        {reason: claims}.
    """

    annotated: int = 0
    genres: Counter[str] = field(default_factory=Counter)
    moods: Counter[str] = field(default_factory=Counter)
    eras: Counter[str] = field(default_factory=Counter)
    tags: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    confidence: float = 0.0
    judged: int = 0
    contradicted: int = 0
    contradictions: Counter[str] = field(default_factory=Counter)

    @property
    def mean_confidence(self) -> float | None:
        """Mean confidence of the annotations that state one."""
        return self.confidence / self.judged if self.judged else None

    def add(self, row: TrackRow) -> None:
        """Count a track's annotation. It is data from outside: what has another shape than expected is passed over."""
        said = row.ai_analysis
        if not said or not isinstance(said, Mapping):
            return
        self.annotated += 1
        model = text.one_line(said.get("model"), 60)
        _count(self.models, f"{row.ai_provider or 'unknown'}, {model}" if model else row.ai_provider or "unknown")
        for name, claim in _LISTS.items():
            value = said.get(claim)
            values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
            for one in {text.one_line(one, 60) for one in values if isinstance(one, str)}:
                if one:
                    _count(getattr(self, name), one)
        if (confidence := finite(said.get("confidence"))) is not None:
            self.judged += 1
            self.confidence += confidence
        reasons = said.get("contradictions")
        if isinstance(reasons, Sequence) and not isinstance(reasons, str) and reasons:
            self.contradicted += 1
            for reason in reasons:
                _count(self.contradictions, _reason(reason))


def _reason(contradiction: Any) -> str:
    if not isinstance(contradiction, Mapping):
        return "another reason"
    claim, why = text.one_line(contradiction.get("claim"), 40), text.one_line(contradiction.get("reason"), 80)
    return f"{text.label(claim)}: {why}" if claim and why else why or claim or "another reason"


def _count(counter: Counter[str], name: str) -> None:
    if name in counter or len(counter) < _MAX_NAMES:
        counter[name] += 1
