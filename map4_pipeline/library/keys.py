"""Names for what lies on disk: partition keys, library slugs and a text form of paths.

A path is bytes; Dagster keys, PostgreSQL text, URLs and terminals want something better behaved. Nothing here
touches the file system, and nothing depends on the machine, the locale or the version of Python: a key made
today has to be the same key after an upgrade.
"""

import hashlib
import re
import unicodedata

# Python updates its Unicode tables with every version, so a letter assigned last year is a letter in 3.13 and nothing in
# 3.11. The frozen 3.2 tables ship with every Python and never change: keys stay equal across upgrades.
_UCD = unicodedata.ucd_3_2_0

MAX_KEY_LENGTH = 200
MAX_SLUG_LENGTH = 40
_HASH_DIGITS = 10
# Punctuation that Dagster's partition selection, run tags, URLs, shells and CSV all bear.
_SAFE_PUNCTUATION = frozenset("-_.+")
# Dropped without a gap, so that "Don't" reads "Dont" and not "Don t".
_APOSTROPHES = frozenset("'`\u00b4\u02b9\u02bb\u02bc\u2018\u2019")

# What escape_path may not leave as it is: the escape sign itself, C0 and C1 controls, line and paragraph separators,
# and the marks that change the direction of the text around them.
_UNSAFE_IN_TEXT = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\udc80-\udcff]")
_ESCAPE = re.compile(r"\\(?:\\|n|r|t|x[0-9a-f]{2}|u[0-9a-f]{4}|)")
_SHORT_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_SHORT_UNESCAPES = {"\\\\": b"\\", "\\n": b"\n", "\\r": b"\r", "\\t": b"\t"}


def partition_key(library_slug: str, library_id: int, relative_path: bytes) -> str:
    """Return the Dagster partition key of a directory.

    Parameters
    ----------
    library_slug : str
        As made by `slugify`.
    library_id : int
        Two libraries with the same slug and folders have different keys.
    relative_path : bytes
        From the library's root, separator `/`, `b""` for the root itself.

    Returns
    -------
    str
        `<slug>/<readable path>~<10 hex digits>`, at most 200 characters. The digits alone identify the directory
        (SHA-256 of the library id as decimal ASCII, NUL and the path's bytes); the rest is for people. Letters of every
        script, digits, spaces and `-_.+/` are kept, other characters are dropped.
    """
    digest = hashlib.sha256(b"%d\x00%s" % (library_id, relative_path)).hexdigest()[:_HASH_DIGITS]
    slug = (_readable(library_slug) or "library")[:MAX_SLUG_LENGTH].strip(" .") or "library"
    if relative_path:
        text = relative_path.decode("utf-8", "replace")
        readable = "/".join(_readable(component) or "_" for component in text.split("/"))
    else:
        readable = "."
    room = MAX_KEY_LENGTH - len(slug) - 2 - _HASH_DIGITS
    if len(readable) > room:
        # The head keeps siblings together when keys are sorted, the tail usually names the album.
        tail = readable[-(room // 2) :].strip(" .")
        readable = readable[: room - len(tail) - 2].strip(" .") + "__" + tail
    return f"{slug}/{readable}~{digest}"


def _readable(component: str) -> str:
    """Keep of one path component what every consumer of a key bears; may be empty."""
    kept: list[str] = []
    for character in _UCD.normalize("NFC", component):
        if character in _SAFE_PUNCTUATION:
            kept.append(character)
        elif character in _APOSTROPHES:
            continue
        elif _UCD.category(character)[0] in "LN" or (_UCD.category(character)[0] == "M" and kept and kept[-1] != " "):
            kept.append(character)
        else:
            kept.append(" ")
    text = re.sub(r"\.{2,}", ".", " ".join("".join(kept).split()))
    # Dots at the ends would meet the separator of ranges (`A...B`) or read as "this folder".
    return text.strip(" .")


def slugify(name: str) -> str:
    """Return a slug for a library's name: `a-z`, `0-9` and `-`, 1 to 40 characters.

    Names without a Latin letter or digit become `library-<6 hex digits>`. Two names may have the same slug.
    """
    ascii_name = _UCD.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name)[:MAX_SLUG_LENGTH].strip("-")
    if slug:
        return slug
    return "library-" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def escape_path(path: bytes) -> str:
    r"""Return a path as text, without loss and fit for PostgreSQL, terminals and JSON.

    Valid UTF-8 stays as it is, but for the backslash (`\\`), controls (`\n`, `\x1b`, `\u0085`) and marks that
    change the direction of text (`\u202e`). Bytes that are not UTF-8 become `\xff`.
    """
    text = path.decode("utf-8", "surrogateescape")
    if _UNSAFE_IN_TEXT.search(text) is None:
        return text
    return _UNSAFE_IN_TEXT.sub(_escape_character, text)


def _escape_character(match: re.Match[str]) -> str:
    character = match.group()
    if short := _SHORT_ESCAPES.get(character):
        return short
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    # \x is one byte of the path, \u one character: U+0085 is two bytes and must not look like the byte 85.
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def unescape_path(text: str) -> bytes:
    """Return the bytes that `escape_path` was given.

    Raises
    ------
    ValueError
        If the text holds a backslash that `escape_path` does not write.
    """
    if "\\" not in text:
        return text.encode("utf-8")
    parts: list[bytes] = []
    position = 0
    for match in _ESCAPE.finditer(text):
        parts.append(text[position : match.start()].encode("utf-8"))
        parts.append(_unescape_match(match.group()))
        position = match.end()
    parts.append(text[position:].encode("utf-8"))
    return b"".join(parts)


def _unescape_match(escape: str) -> bytes:
    if (short := _SHORT_UNESCAPES.get(escape)) is not None:
        return short
    if escape[1:2] == "x":
        return bytes([int(escape[2:], 16)])
    if escape[1:2] == "u":
        return chr(int(escape[2:], 16)).encode("utf-8")
    raise ValueError("not an escaped path: a backslash stands alone")
