"""Where the links of a chained Ogg file begin.

An Ogg file may hold several streams one after the other, each a file of its own (RFC 3533, section 4); recorders of internet
radio write one for every title. FFmpeg goes on from one to the next by itself where nothing but the title changes.
"""

from typing import BinaryIO

_BLOCK_BYTES = 1 << 20
_PAGE = b"OggS"
#: Header type of a page that begins a stream (RFC 3533, section 6).
_BEGINS = 0x02


def last_link(file: BinaryIO, start: int, end: int) -> int | None:
    """Return where the last link begins of those that begin between two bytes, None when it is the one that begins at `start`.

    Parameters
    ----------
    file : binary file
        Seekable; its position is left undefined.
    start : int
        Byte at which a link begins.
    end : int
        Byte.
    """
    found: int | None = None
    # Each link begins with as many such pages as it has streams; what lies between two links is other pages.
    among_first = True
    position = start
    while position < end:
        file.seek(position)
        data = file.read(min(_BLOCK_BYTES, end - position) + 6)
        at = data.find(_PAGE)
        while 0 <= at < len(data) - 5:
            begins = data[at + 4] == 0 and bool(data[at + 5] & _BEGINS)
            if begins and not among_first:
                found = position + at
            among_first = begins
            at = data.find(_PAGE, at + 1)
        position += _BLOCK_BYTES
    return found
