"""Metadata that people look at: counts, failures as a table, distributions as small plots."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dagster import MetadataValue, TableColumn, TableRecord, TableSchema

from map4_pipeline.library.ledger import Ledger

if TYPE_CHECKING:
    from map4_pipeline.store.duplicate_listing import Group


def ledger_metadata(ledger: Ledger) -> dict[str, Any]:
    """Return a directory's line of the ledger as plottable numbers."""
    return {name: MetadataValue.int(value) for name, value in ledger.as_dict().items()}


def failures_table(failures: Iterable[tuple[str, str, str]]) -> MetadataValue:
    """Return failed files as a table: file, reason, what happened and what to do."""
    return MetadataValue.table(
        records=[TableRecord({"file": path, "reason": kind, "message": message}) for path, kind, message in failures],
        schema=TableSchema([TableColumn("file"), TableColumn("reason"), TableColumn("message")]),
    )


def groups_table(groups: "Iterable[Group]") -> MetadataValue:
    """Return groups of duplicates as a table: which, what they are, what could be freed, the copy to keep and why."""
    records = []
    for group in groups:
        keeper = next((track["file_path"] for track in group.members if track["id"] == group.keeper_track_id), "")
        why = group.keeper_reason or (group.pairs[0]["why"] if group.pairs else "")
        size = round(group.surplus_bytes / 1e6, 1)
        row = {"group": group.id, "kind": group.kind, "tracks": len(group.members), "megabytes": size, "keep": keeper, "why": why}
        records.append(TableRecord(row))
    kinds = {"group": "int", "tracks": "int", "megabytes": "float"}
    columns = [TableColumn(name, kinds.get(name, "string")) for name in ("group", "kind", "tracks", "megabytes", "keep", "why")]
    return MetadataValue.table(records=records, schema=TableSchema(columns))


def number_table(rows: Sequence[Mapping[str, Any]]) -> MetadataValue:
    """Return rows with the same names as a table; what is None stays empty."""
    if not rows:
        return MetadataValue.md("nothing measured")
    kinds = {int: "int", float: "float"}
    columns = [TableColumn(name, kinds.get(type(value), "string")) for name, value in rows[0].items()]
    records = [TableRecord({name: "" if value is None else value for name, value in row.items()}) for row in rows]
    return MetadataValue.table(records=records, schema=TableSchema(columns))


def bar_chart(counts: Mapping[str, int], width: int = 40) -> MetadataValue:
    """Return a distribution as a horizontal bar chart that the UI shows in fixed pitch."""
    if not counts:
        return MetadataValue.md("nothing measured")
    top = max(max(counts.values()), 1)
    label_width = max(len(label) for label in counts)
    lines = [f"{label:>{label_width}} {'█' * max(round(width * n / top), 1 if n else 0)} {n}" for label, n in counts.items()]
    return MetadataValue.md("```\n" + "\n".join(lines) + "\n```")


def histogram(values: Sequence[float], edges: Sequence[float], unit: str = "") -> dict[str, int]:
    """Count values between edges; labels name the range, empty ends are cut off."""
    counts = {f"{low:g}-{high:g}{unit}": 0 for low, high in itertools.pairwise(edges)}
    labels = list(counts)
    for value in values:
        for index in range(len(edges) - 1):
            last = index == len(edges) - 2
            if edges[index] <= value < edges[index + 1] or (last and value >= edges[-1]):
                counts[labels[index]] += 1
                break
    filled = [index for index, label in enumerate(labels) if counts[label]]
    if not filled:
        return {}
    return {label: counts[label] for label in labels[filled[0] : filled[-1] + 1]}


BPM_EDGES = (0, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150, 160, 170, 180, 200, 300)
CONFIDENCE_EDGES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
