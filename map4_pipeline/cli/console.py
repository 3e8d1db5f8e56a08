"""The terminal: a console that survives Dagster's capture of standard output, and text that cannot act on it."""

import os
import re
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

#: Columns where nobody can be asked: output to a file or a pipe.
WIDTH_WITHOUT_TERMINAL = 110

#: What acts on a terminal or on the text around it: controls (escape sequences begin with one), lone surrogates (bytes that are
#: not UTF-8), marks that change the direction of text, line separators, and tag characters, which are invisible. Joiners stay:
#: emoji and several scripts need them.
_ACTIVE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def make_console(*, stderr: bool = False) -> "Console":
    """Return a console on a private copy of the stream: a Dagster step redirects file descriptors 1 and 2 to its log.

    Texts are printed as they are: nothing in them is taken for markup or an emoji's name. If the reader goes away
    (`map4 tracks | head`), a `BrokenPipeError` is raised.
    """
    from rich.console import Console

    class MusicConsole(Console):
        def on_broken_pipe(self) -> None:
            # What is still in the buffer must not be tried again when the file is closed.
            self.quiet = True
            silence(self.file)
            raise BrokenPipeError

    stream = sys.stderr if stderr else sys.stdout
    try:
        file: TextIO | None = os.fdopen(
            os.dup(stream.fileno()), "w", encoding=stream.encoding or "utf-8", errors="replace", buffering=1
        )
    except (OSError, ValueError, AttributeError):
        file = None  # a test's stream
    target = file or stream
    width = None if target.isatty() or os.environ.get("COLUMNS", "").isdigit() else WIDTH_WITHOUT_TERMINAL
    return MusicConsole(file=file, stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


def silence(*files: object) -> None:
    """Point files at nothing, so that what their buffers hold goes nowhere."""
    for file in files:
        try:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, file.fileno())  # type: ignore[attr-defined]
            os.close(nothing)
        except (OSError, ValueError, AttributeError):
            continue


def printable(text: str) -> str:
    """Return text from a file or a tag on one line, with what could act on the terminal made visible."""
    return _ACTIVE.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")


def at_home(path: str) -> str:
    """Return a path with the home folder for a `~` that no shell expanded: it was quoted, or another program calls.

    What exists as it is given stays, and so does what is not there under the home either.
    """
    expanded = os.path.expanduser(path)
    return expanded if not os.path.lexists(path) and os.path.lexists(expanded) else path


def folder_text(path: str | os.PathLike[str]) -> str:
    """Return a path of ours (settings, arguments) fit for the terminal."""
    return printable(os.fsencode(path).decode("utf-8", "backslashreplace"))
