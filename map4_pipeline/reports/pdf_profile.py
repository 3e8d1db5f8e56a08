"""What the library sounds like, in the PDF: growth, tempo, keys, energy, loudness, years, genres, HAMMS, kinds of music."""

from collections.abc import Iterator

from reportlab.lib.units import mm
from reportlab.platypus import CondPageBreak, KeepTogether, Table, TableStyle
from reportlab.platypus.flowables import Flowable

from map4_pipeline.reports import palette, pdf_charts, pdf_radar, series, text
from map4_pipeline.reports.clusters import LEAST
from map4_pipeline.reports.digest import Digest
from map4_pipeline.reports.model import LibrarySnapshot
from map4_pipeline.reports.pdf_layout import (
    EMPTY,
    MEASURE,
    SMALL,
    SUBHEADING,
    Lines,
    nothing,
    paragraph,
    section,
    table,
)
from map4_pipeline.reports.statistics import DOUBTFUL_BELOW, HAMMS_NAMES

Flow = Iterator[Flowable]


def growth(snapshot: LibrarySnapshot, selection: Digest) -> Flow:
    """When tracks were added, and in which formats they are."""
    added, codecs = series.additions(snapshot.statistics), series.codecs(snapshot.statistics)
    if not added.total and not codecs.total:
        return
    yield from section("Growth and formats")
    if added.total:
        chart = pdf_charts.histogram(added, MEASURE, 150, colour=palette.GREEN, axis="Added to the library", edges=False)
        yield KeepTogether([paragraph("Timeline of additions", SUBHEADING), paragraph(series.additions_sentence(added)), chart])
    if codecs.total:
        yield KeepTogether([paragraph("Formats", SUBHEADING), pdf_charts.bars(codecs, MEASURE, colour=palette.GREEN)])


def tempo(snapshot: LibrarySnapshot, selection: Digest) -> Flow:
    """How many tracks there are at which tempo."""
    s = snapshot.statistics
    found = series.tempo(s)
    yield from section("Tempo", full=bool(found.total))
    if not found.total:
        yield nothing("no track has a tempo.")
        return
    yield paragraph(
        f"{text.tracks(found.total, ('has', 'have'))} a tempo; for {text.count(s.unmeasured.get('bpm', 0))} none was found. "
        f"The median is {series.median_tempo(s)} BPM; below {DOUBTFUL_BELOW:.0%} confidence: {text.count(s.doubtful_bpm)}."
    )
    yield pdf_charts.histogram(found, MEASURE, 185, axis="Tempo, BPM")


def keys(snapshot: LibrarySnapshot, selection: Digest) -> Flow:
    """The Camelot wheel."""
    s = snapshot.statistics
    total = sum(s.keys.values())
    yield CondPageBreak(110 * mm if total else 0)
    yield from section("Keys", full=False)
    if not total:
        yield nothing("no track has a key.")
        return
    yield paragraph("The Camelot wheel: majors (B) outside, minors (A) inside; neighbours mix. Darker segments hold more tracks.")
    ranked = sorted(s.keys.items(), key=lambda item: (-item[1], item[0]))[:10]
    rows = [(code, text.CAMELOT_KEYS[code], text.count(count), text.percent(count, total)) for code, count in ranked if count]
    listing = table(("Code", "Key", "Tracks", "Share"), rows, (16, 40, 22, 22), right=(2, 3), bold=(0,), total=MEASURE * 0.36)
    side = MEASURE * 0.56
    layout = TableStyle([("VALIGN", (0, 0), (-1, -1), "MIDDLE"), ("LEFTPADDING", (0, 0), (-1, -1), 0)])
    yield Table([[pdf_charts.camelot_wheel(s.keys, side), listing]], [MEASURE * 0.62, MEASURE * 0.38], style=layout)


def energy(snapshot: LibrarySnapshot, selection: Digest) -> Flow:
    """Energy and loudness."""
    s = snapshot.statistics
    found, loud = series.energy(s), series.loudness(s)
    yield from section("Energy and loudness", full=bool(found.total or loud.total))
    yield paragraph("Energy", SUBHEADING)
    if found.total:
        yield paragraph(f"Perceived intensity of {text.tracks(found.total)}, mean {text.number(s.energy_mean, 2)}.")
        yield pdf_charts.histogram(found, MEASURE, 165, colour=palette.ORANGE, axis="Energy, 0 calm to 1 intense")
    else:
        yield nothing("no track has an energy.")
    yield paragraph("Loudness", SUBHEADING)
    if loud.total:
        yield paragraph(
            f"Integrated loudness (EBU R128) of {text.tracks(loud.total)}, mean {text.number(s.loudness_mean, 1)} LUFS. "
            f"Streaming services play at about \u221214, broadcast at \u221223."
        )
        yield pdf_charts.histogram(loud, MEASURE, 165, colour=palette.AMBER, axis="Loudness, LUFS")
    else:
        yield nothing("no track has a loudness (silence has none).")


def years_and_genres(snapshot: LibrarySnapshot, selection: Digest) -> Flow:
    """What the tags say of years and genres."""
    found, genres = series.years(snapshot.statistics), series.genres(snapshot.statistics)
    yield from section("Years and genres", full=bool(found.total or genres.total))
    yield paragraph("Years", SUBHEADING)
    if found.total:
        yield paragraph(_tagged(found.total, snapshot.statistics.tracks, "year"))
        yield pdf_charts.histogram(found, MEASURE, 150, colour=palette.GREEN, axis="Year", edges=False)
    else:
        yield paragraph("No track has a year in its tags.", EMPTY)
    yield paragraph("Genres", SUBHEADING)
    if genres.total:
        yield paragraph(_tagged(genres.total, snapshot.statistics.tracks, "genre"))
        yield pdf_charts.bars(genres, MEASURE, colour=palette.PINK)
    else:
        yield paragraph("No track has a genre in its tags.", EMPTY)


def _tagged(having: int, total: int, what: str) -> str:
    without = total - having
    if without <= 0:
        return f"As tagged; every track has a {what}."
    return f"As tagged; {text.count(without)} of {text.tracks(total)} without a {what}."


def hamms(snapshot: LibrarySnapshot, selection: Digest) -> Flow:
    """The library's HAMMS profile."""
    s = snapshot.statistics
    yield from section("HAMMS profile", full=series.hamms_measured(s))
    if not series.hamms_measured(s):
        yield nothing("no track has a HAMMS vector.")
        return
    yield paragraph(
        "Twelve dimensions of the sound, each between 0 and 1. The line is the library's median, the band holds the middle half. "
        "Key is a place on the Camelot ring, so its median says less than the wheel does."
    )
    yield pdf_radar.radar(s.hamms, MEASURE, 300)
    rows = []
    for name in HAMMS_NAMES:
        summary = s.hamms.get(name, {})
        figures = [text.number(summary.get(key), 2) for key in ("q05", "q50", "q95", "mean")]
        strip = pdf_charts.quartile_strip(summary, MEASURE * 0.3)
        rows.append((text.HAMMS_LABELS[name], text.count(summary.get("count") or 0), *figures[:1], strip, *figures[1:]))
    header = ("Dimension", "Tracks", "5%", "0 to 1", "Median", "95%", "Mean")
    yield table(header, rows, (22, 10, 8, 34, 9, 8, 8), right=(1, 2, 4, 5, 6))


def kinds_of_music(snapshot: LibrarySnapshot, selection: Digest) -> Flow:
    """Groups of tracks that sound alike, each with its profile before the library's."""
    found = selection.clusters
    yield from section("Kinds of music", full=bool(found))
    if not found:
        yield nothing(f"groups need at least {LEAST} tracks with a HAMMS vector that differ.")
        return
    yield paragraph(series.clusters_sentence(selection))
    usual = {name: snapshot.statistics.hamms.get(name, {}).get("q50") for name in HAMMS_NAMES}
    column = MEASURE / 2
    cells: list[list[object]] = []
    for number, cluster in enumerate(found, 1):
        colour = palette.GROUPS[(number - 1) % len(palette.GROUPS)]
        cells.append([
            Lines(f"{number}. {text.label(cluster.words)}", SUBHEADING, limit=2),
            Lines(series.cluster_facts(cluster), SMALL, limit=2),
            pdf_radar.profile(cluster.medians, column - 12, 178, usual=usual, colour=colour, label_size=6.5),
            Lines("Typical: " + "; ".join(series.named(*track) for track in cluster.typical), SMALL, limit=3),
        ])  # fmt: skip
    style = TableStyle([
        ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 12),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 10),
    ])  # fmt: skip
    rows = [[*cells[start : start + 2], *[""] * (2 - len(cells[start : start + 2]))] for start in range(0, len(cells), 2)]
    for row in rows:
        yield Table([row], [column, column], style=style, hAlign="LEFT")
