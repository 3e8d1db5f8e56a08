"""Which names may be audio, and which are no business of ours. Names only: no file is opened here."""

# Extensions MAP4 tries to read, lower case. Video containers are here because many hold one audio stream.
AUDIO_EXTENSIONS: frozenset[bytes] = frozenset(
    (
        b"3ga aac ac3 adts aif aifc aiff alac amr ape au bwf caf dff dsf dts eac3 ec3 f4a flac m4a m4b m4p m4r mka mkv mov mp1 "
        b"mp2 mp3 mp4 mpa mpc mpga oga ogg ogx opus ra rf64 shn snd spx tak tta w64 wav wave weba webm wma wv"
    ).split()
)

# What browsers, torrent clients, rsync and file managers append while a file is not complete.
_PARTIAL_SUFFIXES: frozenset[bytes] = frozenset(
    b"part partial crdownload download opdownload filepart aria2 !ut !qb !bt bc! !sync unconfirmed".split()
)
# These also end names that have nothing to do with downloads, so they count only after an audio extension (x.mp3.tmp).
_DOUBTFUL_PARTIAL_SUFFIXES: frozenset[bytes] = frozenset(b"tmp temp incomplete".split())

# What operating systems and NAS boxes leave lying about, lower case.
_SYSTEM_LITTER: frozenset[bytes] = frozenset(
    (
        b"thumbs.db",
        b"ehthumbs.db",
        b"desktop.ini",
        b"@eadir",
        b"#recycle",
        b"#snapshot",
        b"$recycle.bin",
        b"system volume information",
        b"lost+found",
        b"__macosx",
        b"icon\r",
    )
)


def extension(name: bytes) -> bytes:
    """Return the lower-case extension without its dot, `b""` if there is none."""
    stem, dot, suffix = name.rpartition(b".")
    return suffix.lower() if dot and stem else b""


def is_audio_name(name: bytes) -> bool:
    """Tell whether the extension is one that MAP4 tries to read."""
    return extension(name) in AUDIO_EXTENSIONS


def is_partial_download(name: bytes) -> bool:
    """Tell whether a program is still writing the file, judging by its suffix."""
    suffix = extension(name)
    if suffix in _PARTIAL_SUFFIXES:
        return True
    return suffix in _DOUBTFUL_PARTIAL_SUFFIXES and is_audio_name(name[: -len(suffix) - 1])


def is_hidden(name: bytes) -> bool:
    """Tell whether a name is hidden or a system's own litter.

    One leading dot hides. Two or more are how titles are written ("...And Justice for All", "..Continued"), and a
    music library must not lose those.
    """
    if name.startswith(b".") and not name.startswith(b".."):
        return True
    return name.lower() in _SYSTEM_LITTER
