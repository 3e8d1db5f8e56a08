"""Metadata that people look at."""

from typing import Any

import pytest

from map4_pipeline.library.ledger import Ledger
from map4_pipeline.orchestration.metadata import BPM_EDGES, bar_chart, failures_table, histogram, ledger_metadata
from map4_pipeline.orchestration.scope import scan_ids_of, scans_tag


def test_the_ledger_as_numbers_that_can_be_plotted() -> None:
    found = ledger_metadata(Ledger(seen=3, failed=1, unchanged=2))
    assert {name: value.value for name, value in found.items()} == Ledger(seen=3, failed=1, unchanged=2).as_dict()


def test_failures_are_a_table() -> None:
    table: Any = failures_table([("a.mp3", "damaged", "It is damaged.")])
    assert [record.data for record in table.records] == [{"file": "a.mp3", "reason": "damaged", "message": "It is damaged."}]
    assert [column.name for column in table.schema.columns] == ["file", "reason", "message"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], {}),
        ([124.0, 125.9, 120.0], {"120-130 BPM": 3}),
        ([59.9, 60.0, 85.0], {"0-60 BPM": 1, "60-70 BPM": 1, "70-80 BPM": 0, "80-90 BPM": 1}),
        ([300.0, 9999.0], {"200-300 BPM": 2}),
    ],
)
def test_a_histogram_has_its_ends_cut_off_and_loses_no_value(values: list[float], expected: dict[str, int]) -> None:
    assert histogram(values, BPM_EDGES, " BPM") == expected


def test_a_bar_chart_shows_every_count_however_small() -> None:
    text = str(bar_chart({"8A": 1000, "9A": 1, "10A": 0}).value)
    lines = [line.split() for line in text.splitlines()[1:-1]]
    assert [(line[0], line[-1]) for line in lines] == [("8A", "1000"), ("9A", "1"), ("10A", "0")]
    assert len(lines[1]) == 3  # one bar for one
    assert len(lines[2]) == 2  # none for none
    assert bar_chart({}).value == "nothing measured"


def test_the_scans_of_a_run_travel_in_a_tag() -> None:
    assert scan_ids_of({"map4/scans": scans_tag({2: 20, 1: 10})}) == {1: 10, 2: 20}
    assert scan_ids_of({}) == {}
    assert scan_ids_of({"map4/scans": "1:10", "dagster/parent_run_id": "a run that is executed again"}) == {}
