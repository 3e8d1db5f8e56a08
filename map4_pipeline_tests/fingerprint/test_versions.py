"""What two tracks are to each other: verdicts that a collector would give."""

from dataclasses import replace

import pytest

from map4_pipeline.fingerprint.versions import Likeness, Side, judge, judge_titles, take_apart

SECOND = 11025 / 1365


def like(
    rate: float, shift: float = 0, seconds: float = 110, alike: float | None = None, distinct: int = 300, background: float = 0.4
) -> Likeness:
    items = round(seconds * SECOND)
    alike_items = items if alike is None else round(alike * SECOND)
    return Likeness(rate, round(shift * SECOND), items, alike_items, distinct, background, items)


@pytest.mark.parametrize(
    ("title", "base", "marks"),
    [
        ("One More Time", "one more time", set()),
        ("One More Time (Original Mix)", "one more time", set()),
        ("One More Time (Club Mix)", "one more time", {"remix", "extended"}),
        ("One More Time [Live at Wembley]", "one more time", {"live"}),
        ("Blue Monday - 2016 Remaster", "blue monday", {"remaster"}),
        ("Jóga (Alec Empire Remix)", "joga", {"remix"}),
        ("Live and Let Die", "live and let die", set()),
        ("Radio Ga Ga", "radio ga ga", set()),
        ("(I Can't Get No) Satisfaction", "i can t get no satisfaction", set()),
        ("Song (feat. Somebody)", "song", set()),
        ("真夜中の歌 (Remix)", "真夜中の歌", {"remix"}),
        (None, "", set()),
    ],
)
def test_titles_are_taken_apart(title: str | None, base: str, marks: set[str]) -> None:
    found = take_apart(title)
    assert (found.base, set(found.marks)) == (base, marks)


@pytest.mark.parametrize(
    ("found", "first", "second", "kind"),
    [
        (like(0.003), Side(240), Side(240.05), "same_recording"),
        (like(0.13, shift=-5), Side(240), Side(235), "same_recording"),
        (like(0.03, shift=3), Side(240), Side(243), "same_recording"),
        # the last 5 s cut, the first as well
        (like(0.05, shift=-5), Side(240), Side(230), "same_recording"),
        # 30 s of silence behind the end are not music
        (like(0.01), Side(240), Side(270, silence_after=30), "same_recording"),
        (like(0.01, shift=40), Side(240), Side(280, silence_before=40), "same_recording"),
        # a radio edit, an extended intro
        (like(0.01), Side(240), Side(180), "other_version"),
        (like(0.01, shift=40), Side(240), Side(280), "other_version"),
        # ... but half a download is half of the same
        (like(0.01), Side(240), Side(120, truncated=True), "same_recording"),
        (like(0.01), Side(240, truncated=True), Side(120), "other_version"),
        (like(0.22, alike=5), Side(240), Side(240), None),
        (like(0.25, alike=50), Side(240), Side(240), "other_version"),
        (like(0.25, alike=20), Side(240), Side(240), None),
        (like(0.0, distinct=8), Side(240), Side(240), None),
        (like(0.0, seconds=8), Side(9), Side(9), None),
        # two recordings of rain, two copies of one of them
        (like(0.14, background=0.15), Side(240), Side(240), None),
        (like(0.03, background=0.15), Side(240), Side(240), "same_recording"),
    ],
)
def test_the_sound_decides(found: Likeness, first: Side, second: Side, kind: str | None) -> None:
    verdict = judge(found, first, second)
    assert (verdict.kind if verdict else None) == kind
    turned = replace(found, shift=-found.shift)
    back = judge(turned, second, first)
    assert (back.kind if back else None) == kind


def test_titles_that_name_versions_keep_recordings_apart() -> None:
    one, other = Side(240, title="Song", artist="A"), Side(240, title="Song (2009 Remaster)", artist="A")
    verdict = judge(like(0.05), one, other)
    assert verdict is not None
    assert verdict.kind == "other_version"
    assert "2009 remaster" in verdict.why
    # The same sound to the last bit is the same, whatever its title says.
    same = judge(like(0.001), one, other)
    assert same is not None
    assert same.kind == "same_recording"


def test_the_tags_alone_say_that_they_are_alone() -> None:
    studio, live = Side(240, title="Song", artist="The Band"), Side(300, title="Song (Live)", artist="the band")
    verdict = judge_titles(studio, live)
    assert verdict is not None
    assert verdict.kind == "other_version"
    assert "by the tags only" in verdict.why
    assert judge_titles(studio, Side(300, title="Song", artist="The Band")) is None
    assert judge_titles(studio, Side(300, title="Song (Live)", artist="Others")) is None
    assert judge_titles(studio, Side(300, title="Other Song (Live)", artist="The Band")) is None
    assert judge_titles(Side(1), Side(1)) is None
