"""Keys in the spellings musicians and programs use: "A minor", "Am", "8A" (Camelot), "1m" (Open Key).

On the Camelot ring neighbours are a fifth apart: C major is 8B, A minor 8A, and 12 is next to 1.
"""

import re

#: Spelling of the twelve pitch classes, C first.
PITCH_CLASSES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
#: The 24 keys in MAP4's spelling: twelve major from C up, then twelve minor.
KEYS: tuple[str, ...] = tuple(f"{name} major" for name in PITCH_CLASSES) + tuple(f"{name} minor" for name in PITCH_CLASSES)

_NATURAL = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_CAMELOT = re.compile(r"0?(1[0-2]|[1-9])\s*([AB])", re.IGNORECASE)
_OPEN_KEY = re.compile(r"0?(1[0-2]|[1-9])\s*([DM])", re.IGNORECASE)
_NAME = re.compile(r"([A-Ga-g])([#b]{0,2})[\s:_-]*([A-Za-z]*)")
_MINOR = {"m", "min", "minor", "moll", "mineur", "aeolian"}
_MAJOR = {"", "M", "maj", "major", "dur", "majeur", "ionian"}


def parse_key(text: str | None) -> str | None:
    """Return a key in MAP4's spelling, None when `text` is none.

    Reads "A minor", "Am", "a min", "A:min", "Amin", "A-minor", flats and sharps with ASCII or Unicode signs, Camelot ("8A",
    "08a") and Open Key ("1m"). A lower-case "m" alone is minor, an upper-case "M" major.
    """
    if not text:
        return None
    clean = text.strip().replace("\u266d", "b").replace("\u266f", "#").replace("\u266e", "")
    match = _CAMELOT.fullmatch(clean)
    if match:
        return from_camelot(int(match[1]), match[2].upper())
    match = _OPEN_KEY.fullmatch(clean)
    if match:
        # Open Key counts from A minor / C major, which Camelot calls 8.
        return from_camelot((int(match[1]) + 6) % 12 + 1, "A" if match[2].lower() == "m" else "B")
    spelled = re.sub(r"(?i)[\s_-]*sharp", "#", re.sub(r"(?i)[\s_-]*flat", "b", clean))
    match = _NAME.fullmatch(spelled)
    if not match:
        return None
    mode = match[3]
    if mode in _MAJOR or mode.lower() in _MAJOR - {"", "M"}:
        minor = False
    elif mode in _MINOR or mode.lower() in _MINOR - {"m"}:
        minor = True
    else:
        return None
    pitch = (_NATURAL[match[1].upper()] + match[2].count("#") - match[2].count("b")) % 12
    return KEYS[pitch + 12 * minor]


def split_key(key: str) -> tuple[int, bool]:
    """Return (pitch class from C, is minor) of a key in any spelling.

    Raises
    ------
    ValueError
        When `key` is no key.
    """
    name = parse_key(key)
    if name is None:
        raise ValueError(f"not a key: {key!r}")
    index = KEYS.index(name)
    return index % 12, index >= 12


def from_camelot(number: int, letter: str) -> str:
    """Return the key at a place of the Camelot ring, 1 to 12, "A" (minor) or "B" (major)."""
    # A step up the ring is a fifth up (7 semitones); 8A is A (9), 8B is C (0).
    minor = letter.upper() == "A"
    return KEYS[(7 * (number - 8) + (9 if minor else 0)) % 12 + 12 * minor]


def camelot_number(key: str) -> tuple[int, str]:
    """Return the place of a key on the Camelot ring, such as (8, "A")."""
    pitch, minor = split_key(key)
    # 7 is its own inverse modulo 12.
    return (7 * (pitch - (9 if minor else 0)) + 7) % 12 + 1, "A" if minor else "B"


def to_camelot(key: str | None) -> str | None:
    """Return "8A" for "A minor" in any spelling, None for None."""
    if key is None:
        return None
    number, letter = camelot_number(key)
    return f"{number}{letter}"


def to_open_key(key: str | None) -> str | None:
    """Return "1m" for "A minor" in any spelling, None for None."""
    if key is None:
        return None
    number, letter = camelot_number(key)
    return f"{(number + 4) % 12 + 1}{'m' if letter == 'A' else 'd'}"


def ring_distance(first: str, second: str) -> int:
    """Return the steps between two keys round the ring, 0 to 6, letters ignored."""
    apart = abs(camelot_number(first)[0] - camelot_number(second)[0]) % 12
    return min(apart, 12 - apart)


def compatible_keys(key: str, *, diagonals: bool = False) -> tuple[str, ...]:
    """Return the keys that mix with `key`: itself, a step either way, its relative.

    With `diagonals` also the two keys a step up and down on the other ring: a policy, which many DJs follow.
    """
    number, letter = camelot_number(key)
    other = "B" if letter == "A" else "A"
    up, down = number % 12 + 1, (number - 2) % 12 + 1
    places = [(number, letter), (up, letter), (down, letter), (number, other)]
    if diagonals:
        # 8A goes with 9B and 8B with 7A: the keys that share all but one note with the relative's neighbour.
        places += [(up, other), (down, other)]
    return tuple(from_camelot(n, mode) for n, mode in places)
