"""Passwords: which are taken, and how they are kept (bcrypt)."""

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence

from map4_pipeline.store.errors import StoreError

#: Cost of bcrypt: about a quarter of a second on a core of today.
COST = 12
SHORTEST, LONGEST = 12, 256
#: Passwords of twelve characters and more that lists of stolen ones begin with.
_COMMON = frozenset(
    "123456789012 1234567890123 12345678910 1q2w3e4r5t6y qwertyuiopas qwertyuiop123 password1234 password12345 passwordpassword "
    "passw0rd1234 iloveyou1234 iloveyou12345 administrator administrator1 letmein12345 welcome12345 changeme1234 "
    "qwerty123456 qwerty1234567 asdfghjkl123 zxcvbnm12345 1qaz2wsx3edc 111111111111 000000000000 abcdefghijkl abcd12345678 "
    "music1234567 musicmusic123 map4map4map4 rockandroll1 1234qwerasdf q1w2e3r4t5y6 superman1234 football1234".split()
)


#: What guessers begin with, and words of this place: what is left without them has to be worth something.
_WORDS = (
    "administrator password passwort iloveyou football baseball sunshine princess superman changeme letmein welcome dagster "
    "qwerty qwertz azerty monkey dragon master shadow batman secret default michael charlie jordan summer winter spring autumn "
    "library access login admin guest music hello pass user test root map4 love abc"
).split()
_ROWS = ("abcdefghijklmnopqrstuvwxyz 01234567890 qwertyuiop asdfghjkl zxcvbnm qwertzuiop yxcvbnm 1qaz2wsx3edc4rfv").split()
_LEET = str.maketrans("@4031$57!", "aaoeisstl")
#: Characters that have to be left.
_UNEXPECTED = 5
#: zxcvbn's mark from 0 to 4 for more than a hundred million guesses; it looks at so many characters.
_UNGUESSED, _LONGEST_GUESSED = 3, 72


def _unexpected(low: str, name: str) -> int:
    """Return how many characters of a password (small letters) no list, keyboard, calendar or repetition leads to."""
    words = [part for part in re.split(r"[\W_]+", name.lower()) if len(part) > 2] + _WORDS
    undated = re.sub(r"(?:19|20)\d\d", "\0", low)
    return min(_left(undated, words), _left(undated.translate(_LEET), words))


def _left(text: str, words: Sequence[str]) -> int:
    for word in words:
        text = text.replace(word, "\0")
    text = re.sub(r"(.{1,4})\1+", r"\1", text)
    runs = {way[at : at + 4] for row in _ROWS for way in (row, row[::-1]) for at in range(len(way) - 3)}
    expected = {place for at in range(len(text) - 3) if text[at : at + 4] in runs for place in range(at, at + 4)}
    return sum(letter != "\0" and at not in expected for at, letter in enumerate(text))


def verify_choice(password: str, name: str) -> None:
    """Refuse a password that is too easy to guess.

    Raises
    ------
    StoreError
        The text says what is wrong with it.
    """
    if len(password) < SHORTEST:
        raise StoreError(f"A password has {SHORTEST} characters or more; several words make a good one.")
    if len(password) > LONGEST:
        raise StoreError(f"A password has {LONGEST} characters at most.")
    low = password.lower()
    if low in _COMMON or len(set(low)) < 5 or _unexpected(low, name) < _UNEXPECTED or _is_guessed(password, name):
        raise StoreError("This password is easy to guess: it is common, repeats itself, or is little more than a name.")


def _is_guessed(password: str, name: str) -> bool:
    """Return whether zxcvbn's guesser comes to a password: it knows the 30,000 most frequent ones of ten million stolen."""
    from zxcvbn import zxcvbn

    known = [part for part in re.split(r"[\W_]+", name) if part] + ["map4", "dagster", "music"]
    return bool(zxcvbn(password[:_LONGEST_GUESSED], user_inputs=known)["score"] < _UNGUESSED)


def hash_password(password: str) -> str:
    """Return a password's bcrypt hash."""
    import bcrypt

    return bcrypt.hashpw(_digest(password), bcrypt.gensalt(COST)).decode()


def is_password(password: str, stored: str | None) -> bool:
    """Return whether a password is the one of a hash. Without a hash it takes as long: nobody learns which names exist."""
    import bcrypt

    given = _digest(password)
    if stored is None:
        bcrypt.checkpw(given, _NOBODY)
        return False
    return bcrypt.checkpw(given, stored.encode())


def one_time_password() -> str:
    """Return a password that is to be changed at once: four groups of letters and digits that are not mistaken for each other."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(4))


def _digest(password: str) -> bytes:
    # bcrypt takes 72 bytes and stops at a NUL; a digest in base64 has neither trouble.
    return base64.b64encode(hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest())


#: Hash of a password that nobody has, of the same cost.
_NOBODY = b"$2b$12$xVTHd5hJBltPTLzP6pamW.rRBLFRKnZuc6GR7PMjVK40WenysN06K"
