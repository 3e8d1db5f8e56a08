"""What `map4 tags` prints: a file at a time, and the sum at the end; for people and for programs."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click


@dataclass(slots=True)
class TagLine:
    """What became of a file."""

    track_id: int | None
    path: bytes
    status: str = "unchanged"
    changes: list[dict[str, Any]] = field(default_factory=list)
    withheld: dict[str, str] = field(default_factory=dict)
    reason: str | None = None


def tag_change(one: str, name: str, old: Any, new: Any) -> dict[str, Any]:
    """Return a tag that changed as `--json` has it; values as they are in the file."""

    def said(value: Any) -> str | None:
        if not isinstance(value, list):
            return None if value is None else str(value)
        return "; ".join(str(part["value"] if isinstance(part, dict) else part) for part in value)

    return {"field": one, "name": name, "old": said(old), "new": said(new)}


def fail(line: TagLine, error: OSError) -> None:
    """Note what the system said of a file; raise where it would say so of all others too."""
    import errno

    from map4_pipeline.library.filesystem import system_message
    from map4_pipeline.store.errors import InfrastructureError

    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        raise InfrastructureError(
            "The disk is full: a copy of a file has to fit beside it, and the undo file in MAP4_HOME. "
            "What was written is whole, and the same command goes on."
        ) from error
    line.status, line.reason = "failed", f"The system refused: {system_message(error)}."


class TagReport:
    """Prints what became of files as it comes, and the sum at the end."""

    def __init__(self, verb: str, as_json: bool) -> None:
        self._verb, self._as_json = verb, as_json
        self._counts: Counter[str] = Counter()
        self._fields: Counter[str] = Counter()
        self._withheld: Counter[str] = Counter()
        self.written: list[int] = []
        self.undo_file: Path | None = None

    @property
    def exit_code(self) -> int:
        """1 when some file was not what was asked for."""
        return 1 if self._counts["refused"] or self._counts["failed"] else 0

    def line(self, line: TagLine) -> None:
        """Count a file and print it, unless it is as it should be."""
        from map4_pipeline.cli import lines
        from map4_pipeline.cli.console import printable
        from map4_pipeline.library.keys import escape_path

        self._counts[line.status] += 1
        self._withheld.update(line.withheld.keys())
        if line.status in ("written", "would_write"):
            self._fields.update({change["field"] for change in line.changes if change["field"]})
        if line.status == "written" and line.track_id is not None:
            self.written.append(line.track_id)
        path = escape_path(line.path)
        if self._as_json:
            told = {"track_id": line.track_id, "path": path, "status": line.status, "changes": line.changes}
            lines.write_json({**told, "withheld": line.withheld, "reason": line.reason})
        elif line.status != "unchanged":
            click.echo(path)
            for change in line.changes if line.reason is None else ():
                old = "-" if change["old"] is None else change["old"]
                new = "-" if change["new"] is None else change["new"]
                click.echo(f"  {printable(change['name'])}: {printable(old)} -> {printable(new)}")
            if line.reason is not None:
                click.echo(f"  left as it is: {printable(line.reason)}")

    def end(self) -> None:
        """Print the sum."""
        from map4_pipeline.cli import lines

        names = ("written", "would_write", "unchanged", "refused", "failed")
        if self._as_json:
            counts = {name: self._counts[name] for name in names}
            place = None if self.undo_file is None else path_text(self.undo_file)
            lines.write_json(
                {"summary": {**counts, "fields": dict(self._fields), "withheld": dict(self._withheld), "undo_file": place}}
            )
            return
        words = {
            "written": "written" if self._verb == "write" else "restored",
            "would_write": "would be written",
            "unchanged": "as it should be already",
            "refused": "left as they are (refused)",
            "failed": "failed",
        }
        said = [f"{self._counts[name]:,} {words[name]}" for name in names if self._counts[name]]
        click.echo(f"Files: {', '.join(said) or 'none'}.")
        if self._fields:
            click.echo("Fields: " + ", ".join(f"{name} {number:,}" for name, number in self._fields.items()) + ".")
        if self._withheld:
            told = ", ".join(f"{name} {number:,}" for name, number in self._withheld.items())
            click.echo(f"Not measured or doubtful, left out: {told} (--json says which and why; --min-confidence).")
        if self._counts["would_write"]:
            click.echo("Nothing was written: the same command with --yes does it.")
        if self.undo_file is not None:
            click.echo(f"What was there is in {path_text(self.undo_file)}; `map4 tags undo` with it puts it back.")


def path_text(path: Path) -> str:
    """Return a path of ours fit for the terminal."""
    from map4_pipeline.cli.console import folder_text

    return folder_text(path)
