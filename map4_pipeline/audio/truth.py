"""Files of labels: which audio has which tempo and key."""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from map4_pipeline.hamms.camelot import parse_key

#: The set of labels that name none, and of all together.
ALL = "ALL"


class TruthError(Exception):
    """A file of labels that cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Label:
    """One line of truth.

    Attributes
    ----------
    name : str
        The path as the file of labels has it.
    path : Path
        Where the audio should be.
    set : str
        The group it is scored in, besides all.
    bpm : float or None
    key : str or None
        In MAP4's spelling.
    """

    name: str
    path: Path
    set: str
    bpm: float | None
    key: str | None


def read_truth(file: Path, audio: Path | None = None) -> list[Label]:
    """Read a file of labels.

    Parameters
    ----------
    file : Path
        CSV (comma, semicolon or tab) in UTF-8 with a line of names: `path`; `bpm` or `true_bpm`; `key` or `true_key` in any
        spelling, Camelot and Open Key too; `set` if wanted. Empty cells are no label; a line without any is left out.
    audio : Path, optional
        Folder that relative paths start from; the file's own by default.

    Raises
    ------
    TruthError
        When the file or a line of it cannot be used.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TruthError(f"{file} is not UTF-8 (byte {error.start}). Save it as CSV in UTF-8.") from None
    except OSError as error:
        raise TruthError(f"{file} cannot be read: {error.strerror}.") from None
    if "\0" in text:
        raise TruthError(f"{file} is no text.")
    first = text.lstrip("\r\n").partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    labels: list[Label] = []
    columns: dict[str, int] = {}
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if not columns:
                columns = _columns(row, file)
                continue
            cells = {name: row[index].strip() if index < len(row) else "" for name, index in columns.items()}
            label = _label(cells, audio or file.parent, f"{file}, line {reader.line_num}")
            if label.bpm is not None or label.key is not None:
                labels.append(label)
    except csv.Error as error:
        raise TruthError(f"{file}, line {reader.line_num}: {error}.") from None
    if not labels:
        raise TruthError(f"{file} has no line with a tempo or a key.")
    return labels


def _columns(header: list[str], file: Path) -> dict[str, int]:
    names = [name.strip().lower() for name in header]
    columns: dict[str, int] = {name: names.index(name) for name in ("path", "set") if name in names}
    for name in ("bpm", "key"):
        for spelling in (f"true_{name}", name):
            if spelling in names:
                columns.setdefault(name, names.index(spelling))
    if "path" not in columns or not {"bpm", "key"} & columns.keys():
        shown = ", ".join(name for name in header if name.strip())[:200]
        raise TruthError(f"{file} needs the columns path and bpm or key (also true_bpm, true_key, set); it has: {shown}.")
    return columns


def _label(cells: Mapping[str, str], folder: Path, place: str) -> Label:
    bpm = key = None
    if not cells["path"]:
        raise TruthError(f"{place}: the path is empty.")
    if "\0" in cells["path"]:
        raise TruthError(f"{place}: the path is no path.")
    if cells.get("bpm"):
        try:
            bpm = float(cells["bpm"].replace(",", "."))
        except ValueError:
            bpm = math.nan
        if not 0 < bpm < 10_000:
            raise TruthError(f"{place}: {cells['bpm']!r} is no tempo.")
    if cells.get("key"):
        key = parse_key(cells["key"])
        if key is None:
            raise TruthError(f"{place}: {cells['key']!r} is no key (such as A minor, Am, 8A, 1m).")
    return Label(cells["path"], folder / cells["path"], cells.get("set") or ALL, bpm, key)
