"""The query language: what is understood, and that an error points at its place."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from map4_pipeline.reports.text import FINDING_LABELS
from map4_pipeline.store.query import (
    FIELDS,
    FINDINGS,
    Added,
    Flag,
    Keys,
    OneOf,
    Query,
    QueryError,
    Range,
    Text,
    Words,
    parse_query,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def terms(text: str) -> list[object]:
    return list(parse_query(text, NOW).terms)


def approximately(term: object) -> object:
    """Return a term with bounds that need not be the same to the last bit."""
    if not isinstance(term, Range):
        return term
    low, high = (None if bound is None else pytest.approx(bound) for bound in (term.low, term.high))
    return replace(term, low=low, high=high)


def test_the_example_of_the_page() -> None:
    query = parse_query('bpm:120..128 key:8A~ energy>0.7 genre:house -artist:"daft punk" night', NOW)
    assert query == Query(
        (
            Range("bpm", 119.95, 128.05, high_open=True),
            Keys(("A minor", "E minor", "D minor", "C major")),
            Range("energy", 0.7, None, low_open=True),
            Text("genre", "house"),
            Text("artist", "daft punk", negated=True),
            Words("night"),
        )
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("the who", [Words("the"), Words("who")]),
        ('"the who"', [Words("the who", phrase=True)]),
        ("-live", [Words("live", negated=True)]),
        ("caf\udce9 genre:\udcff", [Words("caf\ufffd"), Text("genre", "\ufffd")]),
        ('-"live at"', [Words("live at", phrase=True, negated=True)]),
        ("bpm:128", [Range("bpm", 127.5, 128.5, high_open=True)]),
        ("bpm:128.5", [Range("bpm", 128.45, 128.55, high_open=True)]),
        ("bpm:128~", [Range("bpm", 127.5, 128.5, high_open=True, octaves=True)]),
        ("bpm:60..64~", [Range("bpm", 59.95, 64.05, high_open=True, octaves=True)]),
        ("bpm:120..", [Range("bpm", 119.95, None)]),
        ("bpm:119.985..128", [Range("bpm", 119.9845, 128.05, high_open=True)]),
        ("danceability:0.5..", [Range("danceability", 0.495, None)]),
        ("bpm=128", [OneOf("bpm", (128,))]),
        ("tempo>=100", [Range("bpm", 100, None)]),
        ("year:1999", [OneOf("year", (1999,))]),
        ("year:1999,2001", [OneOf("year", (1999, 2001))]),
        ("year:..1999", [Range("year", None, 1999)]),
        ("lufs<-14", [Range("loudness", None, -14, high_open=True)]),
        ("loudness:-14..-9", [Range("loudness", -14.05, -8.95, high_open=True)]),
        ("duration:3:30..1:00:00", [Range("duration", 209.5, 3600.5, high_open=True)]),
        ("length>210", [Range("duration", 210, None, low_open=True)]),
        ("size>12M", [Range("size", 12e6, None, low_open=True)]),
        ("size:12M", [Range("size", 11.5e6, 12.5e6, high_open=True)]),
        ("size:1.5g", [Range("size", 1.45e9, 1.55e9, high_open=True)]),
        ("size:4096", [Range("size", 4095.5, 4096.5, high_open=True)]),
        ("key:Am,9B", [Keys(("A minor", "G major"))]),
        ('key:"A minor"', [Keys(("A minor",))]),
        ("key:12A~", [Keys(("Db minor", "Ab minor", "F# minor", "E major"))]),
        ("danceability>=0.5", [Range("danceability", 0.5, None)]),
        ("is:failed -is:duplicate", [Flag("failed"), Flag("duplicate", negated=True)]),
        ("added:7d", [Added(datetime(2026, 11, 15, 12, tzinfo=UTC), None)]),
        ("added:2026-11", [Added(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))]),
        ("added:2025..2026-02-03", [Added(datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 2, 4, tzinfo=UTC))]),
        ("added>2026-01-01", [Added(datetime(2026, 1, 2, tzinfo=UTC), None)]),
        ("added<2026", [Added(None, datetime(2026, 1, 1, tzinfo=UTC))]),
        ("finding:Lossy-Source", [Text("finding", "spectral_cutoff", exact=True)]),
        ("genre=Techno", [Text("genre", "Techno", exact=True)]),
        ("AC/DC 夜 will.i.am", [Words("AC/DC"), Words("夜"), Words("will.i.am")]),
    ],
)
def test_what_is_understood(text: str, expected: list[object]) -> None:
    assert terms(text) == [approximately(term) for term in expected]


def test_an_order() -> None:
    query = parse_query("house sort:-added", NOW)
    assert (query.sort, query.descending, query.terms) == ("added", True, (Words("house"),))


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("house tempoo:120", "tempoo", "Did you mean tempo"),
        ("zzz:1", "zzz", "Fields:"),
        ("bpm:fast", "fast", "is no number"),
        ("bpm:120..x", "x", "is no number"),
        ("bpm:128..120", "128..120", "120..128"),
        ("bpm:..", "..", "one side"),
        ("energy:0.5~", "~", "belongs to bpm"),
        ("key:H", "H", "is no key"),
        ("key:8A,13A", "13A", "is no key"),
        ('artist:"daft', '"daft', "not closed"),
        ('"daft', '"daft', "not closed"),
        ("bpm: 120", "bpm:", "value is missing"),
        ("genre>house", ">", "cannot be compared"),
        ("is:lost", "lost", "no state"),
        ("is:truncated", "truncated", "Did you mean finding:truncated"),
        ("is:clipped", "clipped", "Did you mean finding:clipping"),
        ("finding:broken", "broken", "Findings: truncated, damaged_packets, lossy_source"),
        ("sort:colour", "colour", "no order"),
        ("added:yesterday", "yesterday", "is no date"),
        ("added:2026-13", "2026-13", "is no date"),
        ("added:" + 5000 * "9" + "d", 5000 * "9" + "d", "is too long ago"),
        ("year:nan", "nan", "is no number"),
    ],
)
def test_an_error_points_at_its_place(text: str, at: str, said: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(text, NOW)
    error = caught.value
    assert text[error.start : error.end] == at
    assert said in error.message
    lines = str(error).splitlines()
    assert lines[2].index("^") == lines[1].index(at)


def place_of_error(text: str) -> tuple[int, int]:
    """Return where a query cannot be read, (0, 0) when it can."""
    try:
        parse_query(text, NOW)
    except QueryError as error:
        return error.start, error.end
    return 0, 0


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    start, end = place_of_error(text)
    assert 0 <= start <= end <= len(text)


@given(st.sampled_from(FIELDS), st.sampled_from((":", ">", "<=", "=")), st.text(max_size=12))
def test_any_value_is_read_or_refused_with_a_place(field: str, operator: str, value: str) -> None:
    text = f"{field}{operator}{value}"
    start, end = place_of_error(text)
    assert 0 <= start <= end <= len(text)


def test_every_finding_that_reports_name_can_be_searched() -> None:
    assert set(FINDINGS.values()) == set(FINDING_LABELS)
