"""Reports of one track and of one playlist as small self-contained HTML pages."""

from pathlib import Path
from typing import Any

from map4_pipeline.reports import sheets, text
from map4_pipeline.reports.atomic import Stopwatch, replacing
from map4_pipeline.reports.model import ReportFile
from map4_pipeline.reports.sheets import PlaylistSheet, TrackSheet

#: Tracks of a playlist's charts; a longer one is drawn up to here, its table is whole.
MAX_DRAWN = 200


def write_track_html(sheet: TrackSheet, path: Path | str) -> ReportFile:
    """Write the report of one track as a page that needs no network.

    Raises
    ------
    OSError
        The file cannot be written; what was there before is untouched.
    """
    return _write(Path(path), "track.html", _track(sheet))


def write_playlist_html(sheet: PlaylistSheet, path: Path | str) -> ReportFile:
    """Write the report of a playlist as a page that needs no network.

    Raises
    ------
    OSError
        The file cannot be written; what was there before is untouched.
    """
    return _write(Path(path), "playlist.html", _playlist(sheet))


def _write(target: Path, template: str, values: dict[str, Any]) -> ReportFile:
    import jinja2
    from markupsafe import Markup

    from map4_pipeline.reports import webfonts

    watch = Stopwatch()
    folder = Path(__file__).with_name("templates")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    # Our own files and drawings, which escape their words, are the only text that is not escaped by the template.
    values["drawings"] = {name: Markup(drawing) for name, drawing in values["drawings"].items()}
    values["fonts"] = Markup(webfonts.font_faces(webfonts.characters(values)))
    for name, file in (("css", "style.css"), ("sheet_css", "sheet.css"), ("script", "script.html")):
        values[name] = Markup((folder / file).read_text(encoding="utf-8"))
    with replacing(target) as temporary, temporary.open("wb") as handle:
        environment.get_template(template).stream(values).dump(handle, encoding="utf-8")
    return watch.report(target, "html")


def _track(sheet: TrackSheet) -> dict[str, Any]:
    from map4_pipeline.reports import svg

    drawings = {}
    peaks, duration = sheet.analysis.get("waveform") or (), float(sheet.row.get("duration") or 0.0)
    if len(peaks) and duration:
        drawings["form"] = svg.waveform(peaks, duration, sheets.sections(sheet), sheets.key_parts(sheet))
    values = sheet.row.get("hamms") or {}
    if any(value is not None for value in values.values()):
        drawings["radar"] = svg.radar(values, sheet.usual)
    curve = sheets.tempo_curve(sheet)
    return {
        "title": sheet.title,
        "kind": "Track report",
        "generated": text.moment(sheet.generated_at),
        "words": sheets.byline(sheet),
        "figures": sheets.headline(sheet),
        "drawings": drawings,
        "tempo_moves": f"{min(bpm for _, bpm in curve):.1f} and {max(bpm for _, bpm in curve):.1f} BPM" if curve else "",
        "chances": [("Tempo", sheets.tempi(sheet), "no tempo was found"), ("Key", sheets.keys(sheet), "no key was found")],
        "dimensions": [
            (name, text.number(here, 2), text.number(usual, 2), here, usual) for name, here, usual in sheets.dimensions(sheet)
        ],
        "matches": [
            {
                "track": sheets.track_words(match.row),
                "path": text.one_line(match.row["path"], 1000),
                "bpm": text.number(match.row.get("bpm"), 1),
                "bpm_value": match.row.get("bpm"),
                "key": match.row.get("camelot") or text.NOTHING,
                "mix": match.step.score,
                "like": sheets.percentile(match.percentile),
                "like_value": match.percentile,
                "label": text.label(match.step.label),
                "reason": text.clean(match.step.reason, 1000),
                "apart": sheets.apart(match),
            }
            for match in sheet.matches
        ],
        "technical": sheets.technical(sheet),
        "remarks": sheets.remarks(sheet),
        "path": text.one_line(sheet.row["path"], 4000),
        "made_by": sheets.made_by(sheet),
    }


def _playlist(sheet: PlaylistSheet) -> dict[str, Any]:
    from map4_pipeline.reports import svg

    drawn = sheet.tracks[:MAX_DRAWN]
    names = [sheets.track_words(track) for track in sheet.tracks]
    wished = list(sheet.targets)[:MAX_DRAWN] if len(sheet.targets) == len(sheet.tracks) else []
    steps = [
        (step.score, f"{names[place]} into {names[place + 1]}: {step.score:.2f}, {step.label}")
        for place, step in enumerate(sheet.steps[: max(len(drawn) - 1, 0)])
    ]
    drawings = {}
    if drawn:
        drawings["energy"] = svg.curve(
            [track.get("energy") for track in drawn], names, label="Energy curve", low=0.0, high=1.0,
            ticks=(0, 0.25, 0.5, 0.75, 1), digits=2, wished=wished, steps=steps, style="energy",
        )  # fmt: skip
    known = [bpm for track in drawn if (bpm := track.get("bpm")) is not None]
    if known:
        low, high = 5 * int(min(known) // 5), 5 * int(max(known) // 5 + 1)
        step = max(5, 5 * round((high - low) / 20))
        drawings["tempo"] = svg.curve(
            [track.get("bpm") for track in drawn], names, label="Tempo", low=low, high=high, ticks=range(low, high + 1, step),
            digits=0, style="tempo",
        )  # fmt: skip
    rows = []
    for place, (track, at) in enumerate(zip(sheet.tracks, sheets.starts(sheet), strict=True)):
        into = sheet.steps[place - 1] if place else None
        rows.append(
            {
                "place": place + 1,
                "at": text.length(at),
                "at_value": at,
                "track": names[place],
                "path": text.one_line(track["path"], 1000),
                "state": sheets.state(track),
                "bpm": text.number(track.get("bpm"), 1),
                "bpm_value": track.get("bpm"),
                "key": track.get("camelot") or text.NOTHING,
                "energy": text.number(track.get("energy"), 2),
                "energy_value": track.get("energy"),
                "mix": None if into is None else into.score,
                "label": "" if into is None else text.label(into.label),
                "reason": "" if into is None else text.clean(into.reason, 1000),
            }
        )
    return {
        "title": sheet.title,
        "kind": "Playlist report",
        "generated": text.moment(sheet.generated_at),
        "words": sheets.playlist_words(sheet),
        "figures": sheets.playlist_facts(sheet),
        "drawings": drawings,
        "drawn": len(drawn),
        "wished": bool(wished),
        "labels": sheets.labels_of(sheet),
        "rows": rows,
    }
