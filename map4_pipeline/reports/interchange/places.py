"""Where a file is, as each program writes it, and on which machine."""

import re
from urllib.parse import quote, unquote_to_bytes

_DRIVE = re.compile(rb"[A-Za-z]:")


class PathMapError(ValueError):
    """A path map that cannot be read; the text says why."""


class PathMap:
    r"""Turns paths of this machine into those of another, and back.

    Parameters
    ----------
    pairs : sequence of str
        `FROM=TO`, as in `/music=/Users/me/Music` or `/music=D:\Music`; the longest FROM that fits counts.

    Raises
    ------
    PathMapError
    """

    def __init__(self, pairs: "tuple[str, ...] | list[str]" = ()) -> None:
        self._pairs: list[tuple[bytes, bytes]] = []
        for pair in pairs:
            here, mark, there = pair.partition("=")
            if not mark or not here.startswith("/") or not there:
                raise PathMapError(f"A path map is FROM=TO, as in /music=/Users/me/Music; this is {pair!r}.")
            self._pairs.append((here.rstrip("/").encode(), _slashes(there.encode()).rstrip(b"/")))
        self._pairs.sort(key=lambda pair: -len(pair[0]))

    def there(self, path: bytes) -> bytes:
        """Return a path of this machine as the other has it; slashes also where that is Windows."""
        for here, there in self._pairs:
            if path == here or path.startswith(here + b"/"):
                return there + path[len(here) :]
        return path

    def here(self, path: bytes) -> bytes:
        """Return a path of the other machine as this one has it."""
        plain = _slashes(path)
        for here, there in sorted(self._pairs, key=lambda pair: -len(pair[1])):
            # Windows and macOS do not tell case apart.
            if plain.lower() == there.lower() or plain.lower().startswith(there.lower() + b"/"):
                return here + plain[len(there) :]
        return plain


def _slashes(path: bytes) -> bytes:
    return path.replace(b"\\", b"/") if _DRIVE.match(path) or path.startswith(b"\\\\") else path


def file_url(path: bytes) -> str:
    """Return a path as rekordbox writes it: `file://localhost/C:/Music/a%20b.mp3`."""
    plain = path if path.startswith(b"/") else b"/" + path
    return "file://localhost" + quote(plain, safe="/:()!',~*")


def path_of_url(url: str) -> bytes | None:
    """Return the path of `file_url`, or of any other file URL; None when it is none."""
    match = re.match(r"file://(?:localhost)?(/.*)\Z", url, re.IGNORECASE | re.DOTALL)
    if match is None:
        return None
    path = unquote_to_bytes(match[1])
    return path[1:] if _DRIVE.match(path[1:]) else path


def traktor_place(path: bytes) -> tuple[str, str, str]:
    """Return (VOLUME, DIR, FILE) of a path as Traktor writes it: `C:`, `/:Music/:House/:`, `a.mp3`.

    A path without a drive is on the disk that macOS calls `Macintosh HD`, or on one under `/Volumes`.
    """
    text = path.decode("utf-8", "replace")
    if _DRIVE.match(path):
        volume, rest = text[:2], text[2:]
    elif text.startswith("/Volumes/") and text.count("/") > 2:
        volume, rest = text.split("/")[2], "/" + text.split("/", 3)[3]
    else:
        volume, rest = "Macintosh HD", text
    folder, _, name = rest.rpartition("/")
    parts = [_colon(part) for part in folder.split("/") if part]
    return volume, "/:" + "".join(f"{part}/:" for part in parts), _colon(name)


def path_of_traktor(volume: str, folder: str, name: str) -> bytes:
    """Return the path of what `traktor_place` gives."""
    parts = [_slash(part) for part in folder.split("/:") if part]
    plain = "/" + "/".join([*parts, _slash(name)])
    if re.fullmatch(r"[A-Za-z]:", volume):
        plain = volume + plain
    elif volume and volume != "Macintosh HD" and not plain.startswith("/Volumes/"):
        plain = f"/Volumes/{volume}{plain}"
    return plain.encode("utf-8", "surrogateescape")


def _colon(part: str) -> str:
    # A colon ends a folder's name in Traktor's paths; inside one it is doubled.
    return part.replace(":", "//")


def _slash(part: str) -> str:
    return part.replace("//", ":")
