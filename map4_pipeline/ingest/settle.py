"""Compute HAMMS vectors where they are due, and settle directories: nothing is left to do there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine

from map4_pipeline.hamms import HAMMS_VERSION
from map4_pipeline.hamms.vector import hamms_vector
from map4_pipeline.ingest.versions import features_key, versions_text
from map4_pipeline.store.directories import settle_directories
from map4_pipeline.store.vectors import VectorRow, due_for_vectors, save_vectors


@dataclass(slots=True)
class VectorSummary:
    """How many vectors were computed, how many dimensions were null and why, the confidences for a plot."""

    computed: int = 0
    null_reasons: dict[str, int] = field(default_factory=dict)
    confidences: list[float] = field(default_factory=list)


def compute_vectors(engine: Engine, directory_ids: Sequence[int], batch: int = 500) -> VectorSummary:
    """Compute the vectors of tracks whose features are current and whose vector is not.

    Parameters
    ----------
    directory_ids : sequence of int
    batch : int
        Tracks per transaction; memory does not depend on the number of tracks.
    """
    summary = VectorSummary()
    features = features_key()
    after = 0
    while True:
        with engine.begin() as conn:
            due = due_for_vectors(conn, directory_ids, features, HAMMS_VERSION, after, batch)
            if not due:
                return summary
            after = due[-1].track_id
            rows = []
            for track in due:
                vector = hamms_vector(track.features)
                rows.append(VectorRow(track.track_id, vector.values, vector.confidence, vector.null_reasons))
                summary.computed += 1
                if vector.confidence is not None and len(summary.confidences) < 10_000:
                    summary.confidences.append(vector.confidence)
                for name, reason in vector.null_reasons.items():
                    label = f"{name}: {reason}"
                    summary.null_reasons[label] = summary.null_reasons.get(label, 0) + 1
            save_vectors(conn, rows, HAMMS_VERSION)


def settle(engine: Engine, directory_ids: Sequence[int], scan_ids: Mapping[int, int]) -> None:
    """Mark directories as done where no track is pending and no vector is due."""
    with engine.begin() as conn:
        settle_directories(conn, directory_ids, HAMMS_VERSION, versions_text(), list(scan_ids.values()))
