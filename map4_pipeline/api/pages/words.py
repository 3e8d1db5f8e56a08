"""How pages say what programs call otherwise: formats, browsers, details of the audit log, values in a form."""

from collections.abc import Mapping, Sequence
from typing import Any

#: Formats of exports as people know them.
FORMATS = {
    "excel": "Excel", "csv": "CSV", "json": "JSON", "jsonl": "JSON Lines", "parquet": "Parquet", "pdf": "PDF report",
    "xlsx": "Excel report", "html": "HTML report", "rekordbox": "rekordbox XML", "traktor": "Traktor NML",
    "m3u8": "M3U8 playlist",
}  # fmt: skip
#: Alternatives less likely than this are not worth a reader's time; they would be shown as 0%.
_LEAST = 0.005
_CODECS = {
    "vorbis": "Vorbis",
    "opus": "Opus",
    "wavpack": "WavPack",
    "musepack7": "Musepack",
    "musepack8": "Musepack",
    "ape": "APE",
}
#: What a browser's own description holds, the more particular first, and its name.
_BROWSERS = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
_SYSTEMS = {
    "Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows", "Mac OS": "macOS", "Linux": "Linux",
}  # fmt: skip


def codec(name: str | None) -> str:
    """Return what people call a codec."""
    if not name:
        return ""
    if name.startswith("pcm_"):
        return f"PCM {name.removeprefix('pcm_')}"
    return _CODECS.get(name, name.upper())


def agent(client: str | None) -> str:
    """Return browser and system of a `User-Agent`, the start of it when it is no browser known here."""
    if not client:
        return "unknown"
    browser = next((name for mark, name in _BROWSERS.items() if mark in client), None)
    system = next((name for mark, name in _SYSTEMS.items() if mark in client), None)
    if browser is None:
        return client if len(client) <= 60 else f"{client[:60]}..."
    return f"{browser} on {system}" if system else browser


def likely(alternatives: Sequence[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
    """Return the alternatives of a value that are likely enough to be shown."""
    return [one for one in alternatives or () if (one.get("probability") or 0.0) >= _LEAST]


def typed(value: Any) -> str:
    """Return a value for a form's field: no more digits than somebody would type."""
    if value is None:
        return ""
    return f"{round(value, 2):g}" if isinstance(value, float) else str(value)


def told(detail: Mapping[str, Any]) -> str:
    """Return the details of an entry of the audit log as words."""
    return ", ".join(f"{name.replace('_', ' ')}: {_plain(value)}" for name, value in detail.items() if value != "")


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({told(value)})"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return "none" if value is None else str(value)
