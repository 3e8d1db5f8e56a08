"""What may stand in no log and in no report of a defect: passwords, keys and tokens, by their value and by their shape."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

HIDDEN = "***"
#: Shorter ones would blacken words that are no secrets; who has such a password has no secret to keep.
_SHORTEST = 4
#: Names of fields whose value is never written.
_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_-])(?:pass(?:word|wd|phrase)?|secret|token|authorization|cookies?|csrf|credentials?|dsn|api[_-]?key|private[_-]?key)"
    r"(?:$|[_-])"
)
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    # Password of an address: scheme://user:password@host
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s:/@\"']*:)[^\s@\"']+(@)"), rf"\1{HIDDEN}\2"),
    # Authorization: Bearer ..., Basic ...
    (re.compile(r"(?i)\b(bearer|authorization\W{1,4}basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    # Named tokens of ours; JSON Web Tokens; keys of AI providers.
    (re.compile(r"\bmap4_[A-Za-z0-9_-]{16,}"), HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), HIDDEN),
    (re.compile(r"\b(?:sk-[A-Za-z0-9_-]{16,}|AIza[A-Za-z0-9_-]{30,})"), HIDDEN),
    # password=..., also as libpq writes it
    (re.compile(
        r"(?i)\b((?:password|passwd|secret|token|api_?key)\s*[=:]\s*)(?!\s|\*\*\*)"
        r"('[^'\"\n]*'|\"[^\"\n]*\"|[^\s,;&)\"'\\]+)"
    ), rf"\1{HIDDEN}"),
)  # fmt: skip


def secrets_of(settings: object) -> list[str]:
    """Return what is secret of the settings, the longest first: keys, addresses with a password, the passwords in them."""
    found: set[str] = set()
    for value in vars(settings).values():
        if not isinstance(value, SecretStr):
            continue
        whole = value.get_secret_value()
        try:
            parts = urlsplit(whole)
            password = parts.password
        except ValueError:
            parts, password = None, None
        if password:
            found |= {whole, password, unquote(password)}
        elif parts is None or not parts.scheme or parts.query or parts.username:
            found.add(whole)  # a key, or an address with something in it that is nobody's business
        if parts is not None and parts.username and not password:
            found.add(parts.username)  # a key in the user's place, as Sentry has it
    return sorted((secret for secret in found if len(secret) >= _SHORTEST), key=len, reverse=True)


class Masker:
    """Blackens secrets.

    Parameters
    ----------
    secrets : collection of str
        Texts that are secret wherever they stand; secrets of a known shape are found without.
    """

    def __init__(self, secrets: Collection[str] = ()) -> None:
        forms = {form for secret in secrets for form in (secret, json.dumps(secret)[1:-1]) if len(form) >= _SHORTEST}
        longest_first = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def text(self, text: str) -> str:
        """Return a text without its secrets."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for shape, shown in _SHAPES:
            text = shape.sub(shown, text)
        return text

    def value(self, value: Any, name: str = "") -> Any:
        """Return a value of any make without its secrets; what a secret's name stands for is one."""
        if name and is_secret_name(name) and value is not None and not isinstance(value, bool):
            return HIDDEN
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, SecretStr):
            return HIDDEN
        if isinstance(value, Mapping):
            return {key: self.value(item, str(key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value


def is_secret_name(name: str) -> bool:
    """Return whether what has this name is never written: `password`, `x-csrf-token`, `OPENAI_API_KEY`."""
    return _SECRET_NAME.search(name) is not None
