"""The undo file: what the tags were, one JSON object a line, on disk before the file it speaks of is replaced."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from map4_pipeline.library.filesystem import system_message
from map4_pipeline.library.keys import escape_path, unescape_path
from map4_pipeline.library.tag_files import Rewrite, TagRefusedError, examine, rewrite
from map4_pipeline.library.tag_writer import TagWriteError, read_native

_FORMAT = "map4 tags undo 1"


class UndoFileError(ValueError):
    """An undo file cannot be read; the text says why."""

    exit_code = 2


class UndoUnwritableError(RuntimeError):
    """The undo file cannot be written, so nothing else may be; the text says why."""

    exit_code = 3


class UndoFile:
    """Takes notes of rewrites; the file is made with the first.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[str] | None = None
        self.path: Path | None = None

    def __enter__(self) -> "UndoFile":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def note(self, track_id: int | None, done: Rewrite) -> None:
        """Write down what is about to be done, to the disk.

        Raises
        ------
        UndoUnwritableError
        """
        line = {
            "track_id": track_id,
            "path": escape_path(done.path),
            "audio_hash": done.audio_hash,
            "had_tags": done.had_tags,
            "before": done.before,
            "after": done.after,
        }
        try:
            if self._file is None:
                self._begin()
            self._write(line)
        except OSError as error:
            raise UndoUnwritableError(
                f"What the tags were cannot be written down in {escape_path(os.fsencode(self._folder))}: "
                f"{system_message(error)}. Nothing is changed without that; files that were written before this are whole."
            ) from error

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        moment = datetime.now(UTC)
        stem = moment.strftime("%Y-%m-%dT%H%M%SZ")
        for number in range(1, 1000):
            self.path = self._folder / (f"{stem}.jsonl" if number == 1 else f"{stem}-{number}.jsonl")
            try:
                self._file = self.path.open("x", encoding="utf-8", newline="\n")
                break
            except FileExistsError:
                continue
        self._write({"format": _FORMAT, "made_at": moment.isoformat(timespec="seconds")})

    def _write(self, value: object) -> None:
        assert self._file is not None
        self._file.write(json.dumps(value) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@dataclass(frozen=True, slots=True)
class Undone:
    """A line of an undo file: which track it was, and what was done."""

    track_id: int | None
    done: Rewrite


def read_undo(path: Path) -> Iterator[Undone]:
    """Return what an undo file says, the last first.

    Raises
    ------
    UndoFileError
        When it is none. A last line that was cut short is passed over: the file it speaks of was not touched.
    OSError
    """
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    records: list[Undone] = []
    try:
        if json.loads(lines[0]).get("format") != _FORMAT:
            raise UndoFileError(f"{path.name} is no undo file of `map4 tags write`.")
    except (ValueError, AttributeError, IndexError):
        raise UndoFileError(f"{path.name} is no undo file of `map4 tags write`.") from None
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        try:
            found = json.loads(line)
            done = Rewrite(
                unescape_path(found["path"]), found["audio_hash"], found["had_tags"], dict(found["before"]), dict(found["after"])
            )
            records.append(Undone(found["track_id"], done))
        except (ValueError, KeyError, TypeError):
            if number == len(lines):
                break
            raise UndoFileError(f"{path.name}: line {number} cannot be read.") from None
    return reversed(records)


def restore(record: Undone, undo: UndoFile) -> bool:
    """Put back the tags that a file had, and write down how to take that back; False where they are as they were already.

    Raises
    ------
    TagRefusedError
        When the tags are no longer those that MAP4 wrote, or the file may not be changed.
    OSError
    """
    done = record.done
    found = examine(done.path)
    try:
        tags = read_native(done.path)
    except TagWriteError as error:
        raise TagRefusedError(f"Its tags cannot be read: {error}.") from error
    now = {name: tags.values.get(name) for name in done.before}
    if now == done.before:
        return False
    if now != done.after:
        names = ", ".join(name for name in now if now[name] != done.after.get(name))
        raise TagRefusedError(f"Its tags were changed since ({names}); they are left as they are.")
    rewrite(
        done.path,
        found,
        done.before,
        audio_hash=done.audio_hash,
        drop_empty=not done.had_tags,
        note=lambda again: undo.note(record.track_id, again),
    )
    return True
