"""The library report as one self-contained HTML page."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from map4_pipeline.reports import html_charts, palette, series, text
from map4_pipeline.reports.atomic import Stopwatch, replacing
from map4_pipeline.reports.clusters import LEAST
from map4_pipeline.reports.digest import Digest, Limits, digest
from map4_pipeline.reports.model import LibrarySnapshot, ReportFile, TrackRow
from map4_pipeline.reports.statistics import CAMELOT_CODES, HAMMS_NAMES, finite

#: Rows of each table: what a browser sorts and filters without a pause; the whole library is in the workbook.
LIMITS = Limits(tracks=5_000, review=200, duplicates=500, failures=1_000, flagged=50)

_CONTENTS = (
    ("ledger", "The ledger"),
    ("glance", "At a glance"),
    ("growth", "Growth and formats"),
    ("tempo", "Tempo and keys"),
    ("energy", "Energy and loudness"),
    ("genres", "Years and genres"),
    ("hamms", "HAMMS profile"),
    ("kinds", "Kinds of music"),
    ("quality", "Quality"),
    ("review", "To review"),
    ("duplicates", "Duplicates"),
    ("failures", "Failures"),
    ("annotations", "AI annotations"),
    ("tracks", "Tracks"),
    ("versions", "Versions"),
)
_COLUMNS: tuple[dict[str, Any], ...] = (
    {"name": "title", "label": "Title", "kind": "text"},
    {"name": "artist", "label": "Artist", "kind": "text"},
    {"name": "genre", "label": "Genre", "kind": "text"},
    {"name": "year", "label": "Year", "kind": "number", "digits": 0},
    {"name": "bpm", "label": "BPM", "kind": "number", "digits": 1},
    {"name": "camelot", "label": "Key", "kind": "code"},
    {"name": "energy", "label": "Energy", "kind": "number", "digits": 2},
    {"name": "loudness", "label": "LUFS", "kind": "number", "digits": 1},
    {"name": "duration", "label": "Time", "kind": "time"},
    {"name": "codec", "label": "Format", "kind": "code"},
    {"name": "state", "label": "State", "kind": "state"},
    {"name": "path", "label": "File", "kind": "hidden"},
)


class Cell(NamedTuple):
    """A table's cell: what is read, and the number it is sorted by (None sorts last)."""

    shown: str
    value: float | None


def write_html(snapshot: LibrarySnapshot, path: Path | str, selection: Digest | None = None) -> ReportFile:
    """Write the library report as one page that needs no network: styles, scripts, plotly and data are inside.

    Parameters
    ----------
    snapshot : LibrarySnapshot
    path : Path or str
        Replaced atomically.
    selection : Digest, optional
        Of this snapshot by `LIMITS`; without it the tracks are streamed.

    Returns
    -------
    ReportFile

    Raises
    ------
    OSError
        The file cannot be written; what was there before is untouched.
    """
    # Imported here, so that who imports this package does not pay for plotly and jinja2.
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    from map4_pipeline.reports import webfonts

    watch = Stopwatch()
    target = Path(path)
    folder = Path(__file__).with_name("templates")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.globals.update(
        cell_text=_cell_text, cell_value=_cell_value, is_long=_is_long, format_count=text.count, format_number=text.number
    )
    selection = (selection or digest(snapshot, LIMITS)).shortened(LIMITS)
    # Our own files and JSON made safe for a script element are the only text that is not escaped by the template.
    values = _values(snapshot, selection)
    tracks = [_track_cells(row) for row in selection.tracks]
    values["fonts"] = Markup(webfonts.font_faces(webfonts.characters([values, tracks])))
    values["charts_json"] = Markup(script_json({f"chart-{name}": figure for name, figure in values["charts"].items()}))
    values["tracks_json"] = Markup(script_json({"columns": _COLUMNS, "rows": tracks}))
    values["css"] = Markup((folder / "style.css").read_text(encoding="utf-8"))
    values["script"] = Markup((folder / "script.html").read_text(encoding="utf-8"))
    values["plotly_js"] = Markup(get_plotlyjs())
    with replacing(target) as temporary, temporary.open("wb") as handle:
        environment.get_template("library.html").stream(values).dump(handle, encoding="utf-8")
    return watch.report(target, "html")


def script_json(value: Any) -> str:
    """Return JSON that cannot leave the script element it stands in.

    `<`, `>` and `&` are written as escapes, so that neither `</script>` nor `<!--` can occur; all else beyond ASCII is escaped
    by json, the line separators that JavaScript once broke at included.
    """
    encoded = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return encoded.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _cell_text(cell: Any) -> str:
    return cell.shown if isinstance(cell, Cell) else text.clean(cell, 3_500)


def _is_long(shown: str) -> bool:
    """Return whether a cell needs room to be read: a sentence, or a path that breaks anywhere."""
    return len(shown) > 36 or max(map(len, shown.split()), default=0) > 20


def _cell_value(cell: Any) -> float | str | None:
    """Return what a cell is sorted by: a number, "" for a number that is not there, None for text."""
    if not isinstance(cell, Cell):
        return None
    return "" if cell.value is None else cell.value


def _number(value: Any, digits: int = 0) -> Cell:
    return Cell(text.number(value, digits), finite(value))


def _count(value: int) -> Cell:
    return Cell(text.count(value), value)


def _share(value: float | None) -> Cell:
    confidence = finite(value)
    return Cell(text.NOTHING if confidence is None else f"{confidence:.0%}", confidence)


def _rounded(value: Any, digits: int) -> float | None:
    measured = finite(value)
    return None if measured is None else round(measured, digits)


def _track_cells(row: TrackRow) -> list[Any]:
    """Return a track's values in the order of `_COLUMNS`."""
    return [
        text.track_name(row.title, row.file_path),
        text.one_line(row.artist),
        text.one_line(row.genre, 100),
        row.year,
        _rounded(row.bpm, 2),
        row.camelot,
        _rounded(row.energy, 3),
        _rounded(row.loudness_lufs, 2),
        _rounded(row.duration, 1),
        text.one_line(row.codec, 40) or None,
        "failed" if row.status == "failed" else "missing" if row.missing else "ok",
        text.one_line(row.file_path, 1_000),
    ]


def _values(snapshot: LibrarySnapshot, selection: Digest) -> dict[str, Any]:
    """Return what the template shows."""
    s = snapshot.statistics
    ledger = series.ledger_rows(snapshot)
    charts, chart_labels = html_charts.figures(snapshot, selection)
    skipped = sorted(((reason, count) for reason, count in snapshot.skipped.items() if count), key=lambda item: -item[1])
    return {
        "title": text.one_line(snapshot.title, 200) or "Music library",
        "generated": text.moment(snapshot.generated_at),
        "contents": _CONTENTS,
        "ledger": ledger,
        "ledger_parts": tuple(palette.LEDGER),
        "ledger_total": sum(count for key, _, count, _ in ledger if key in palette.LEDGER),
        "ledger_table": [(label, _count(count), words) for _, label, count, words in ledger],
        "verdict": series.ledger_verdict(snapshot)[1],
        "skipped": [(text.label(reason, text.SKIP_LABELS), _count(count)) for reason, count in skipped],
        "facts": series.facts(snapshot, selection),
        "libraries": [(item.name, item.root_text, _count(item.track_count)) for item in snapshot.libraries],
        "charts": charts,
        "chart_labels": chart_labels,
        "hamms": [
            {
                "label": text.HAMMS_LABELS[name],
                "count": int(s.hamms.get(name, {}).get("count") or 0),
                **{key: s.hamms.get(name, {}).get(key) for key in ("q05", "q25", "q50", "q75", "q95")},
            }
            for name in HAMMS_NAMES
        ],
        "quality": [(finding, _count(tracks), words) for finding, tracks, words in series.quality_rows(snapshot)],
        "measured": s.measured,
        "camelot": [(code, text.CAMELOT_KEYS[code]) for code in CAMELOT_CODES],
        "columns": _COLUMNS,
        "has_tracks": bool(selection.tracks),
        "versions": [(stage, version, _count(tracks)) for stage, version, tracks in series.version_rows(s)],
        "annotations": series.annotation_sentence(s),
        "annotation_charts": [name.lower() for name in series.annotation_charts(selection)],
        "annotation_facts": [(words, _count(tracks)) for words, tracks in series.annotation_facts(selection)],
        "annotation_confidence": selection.annotations.mean_confidence,
        "growth": series.additions_sentence(added) if (added := series.additions(s)).total else "",
        "clusters": [
            {
                "words": f"{number}. {text.label(cluster.words)}",
                "facts": series.cluster_facts(cluster),
                "typical": [series.named(*track) for track in cluster.typical],
                "chart": f"group-{number}",
            }
            for number, cluster in enumerate(selection.clusters, 1)
        ],
        "least_group": LEAST,
        "clusters_note": series.clusters_sentence(selection),
        "flagged": [
            (words, _count(total), file, message)
            for words, total, rows in series.flagged_groups(snapshot, selection)
            for file, _, message in rows
        ],
        **_lists(selection),
    }


def _lists(selection: Digest) -> dict[str, Any]:
    return {
        "doubtful": [_doubtful_cells(row) for row in selection.doubtful],
        "doubtful_note": _note(len(selection.doubtful), selection.doubtful_total, "least certain first"),
        "conflicts": [
            (
                text.track_name(item.row.title, item.row.file_path),
                text.one_line(item.row.artist),
                series.CONFLICT_LABELS[item.kind],
                item.tag,
                item.measured,
                _share(item.row.key_confidence if item.kind == "key" else item.row.bpm_confidence),
                item.row.file_path,
            )
            for item in selection.conflicts
        ],
        "conflict_note": _note(len(selection.conflicts), selection.conflict_total, "surest measurement first"),
        "duplicates": [
            (
                _number(number),
                text.label(group.kind, text.DUPLICATE_LABELS),
                "keep" if member == group.keeper else "",
                member,
                Cell(text.size(group.surplus_bytes) if group.surplus_bytes else "", group.surplus_bytes or None),
                group.reason if member == group.keeper else "",
            )
            for number, group in enumerate(selection.duplicates, 1)
            for member in group.members[:50]
        ],
        "duplicate_note": series.duplicates_sentence(selection)
        + (
            f" The first {text.count(len(selection.duplicates))} groups are shown, those that take the most room."
            if selection.duplicate_total > len(selection.duplicates)
            else ""
        ),
        "duplicate_kinds": [(words, _count(groups)) for words, groups in series.duplicate_kinds(selection)],
        "failures": [(item.path, text.label(item.kind), item.message) for item in selection.failures],
        "failure_note": series.failures_sentence(selection)
        + (
            f" The first {text.count(len(selection.failures))} are shown."
            if selection.failure_total > len(selection.failures)
            else ""
        ),
        "track_note": _note(len(selection.tracks), selection.track_total, "hover over a row for its path")
        + (" The whole library is in the workbook." if selection.track_total > len(selection.tracks) else ""),
    }


def _doubtful_cells(row: TrackRow) -> tuple[Any, ...]:
    return (
        text.track_name(row.title, row.file_path),
        text.one_line(row.artist),
        _number(row.bpm, 1),
        _share(row.bpm_confidence),
        _number(row.bpm_alternatives[0].get("value"), 1) if row.bpm_alternatives else "",
        row.camelot or "",
        _share(row.key_confidence),
        text.one_line(row.key_alternatives[0].get("value"), 40) if row.key_alternatives else "",
        row.file_path,
    )


def _note(shown: int, total: int, words: str) -> str:
    return (
        f"All {text.count(total)}, {words}."
        if shown == total
        else f"The first {text.count(shown)} of {text.count(total)}, {words}."
    )
