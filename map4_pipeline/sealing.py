"""Secrets at rest: AES-256-GCM with a key from the environment, and the file of settings that are kept so.

What belongs here knows no other part of MAP4, so that `settings` can read sealed settings before there is anything else.
Where the key comes from without MAP4_SECRET_KEY, and which error the rest of MAP4 is told, is `store.cipher`'s business.
"""

import base64
import binascii
import hashlib
import json
import os
from pathlib import Path

#: Bytes of AES-GCM's nonce (NIST SP 800-38D).
_NONCE = 12
SHORTEST_KEY = 32
FILE = "secrets.json"


class SealError(ValueError):
    """Something that was encrypted with another key, or changed since; or a key that cannot be one."""


class Sealer:
    """Encrypts and decrypts short secrets with AES-256-GCM.

    Parameters
    ----------
    key : bytes
        Of 32 bytes or more; 32 bytes are made from it with SHA-256, so it has to be random, not a word.
    """

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.sha256(b"map4 secrets\0" + key).digest()

    def encrypt(self, secret: bytes, purpose: str) -> bytes:
        """Return the secret encrypted, readable only for the same purpose."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self._key).encrypt(nonce, secret, purpose.encode())

    def decrypt(self, stored: bytes, purpose: str) -> bytes:
        """Return what `encrypt` was given.

        Raises
        ------
        SealError
            When it was encrypted with another key, or changed since.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            return AESGCM(self._key).decrypt(stored[:_NONCE], stored[_NONCE:], purpose.encode())
        except (InvalidTag, ValueError):
            raise SealError("encrypted with another key, or damaged") from None


def read_sealed(home: Path, key: str | None) -> dict[str, str]:
    """Return the settings that are kept in the file of sealed ones, by their environment variable.

    Raises
    ------
    SealError
        With a sentence for the user.
    """
    sealed = _load(home)
    if not sealed:
        return {}
    sealer = _sealer(home, key)
    try:
        return {name: sealer.decrypt(base64.b64decode(value), f"setting {name}").decode() for name, value in sealed.items()}
    except (SealError, binascii.Error, UnicodeDecodeError):
        raise SealError(
            f"the settings in {home / FILE} were encrypted with another MAP4_SECRET_KEY. Set that one, or remove the file and "
            "set them anew"
        ) from None


def write_sealed(home: Path, key: str | None, name: str, value: str | None) -> bool:
    """Keep a setting in the file of sealed ones, or remove it (None); return whether there was one before."""
    sealed = _load(home)
    there = sealed.pop(name, None) is not None
    if value is not None:
        sealed[name] = base64.b64encode(_sealer(home, key).encrypt(value.encode(), f"setting {name}")).decode()
    elif not there:
        return False
    home.mkdir(parents=True, exist_ok=True)
    part = home / f"{FILE}.part"
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(sealed, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    part.replace(home / FILE)
    return there


def sealed_names(home: Path) -> list[str]:
    """Return which settings are kept in the file of sealed ones."""
    return sorted(_load(home))


def _load(home: Path) -> dict[str, str]:
    try:
        found = json.loads((home / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        if not os.access(home, os.X_OK):
            return {}  # a home that cannot be used is told by who uses it
        raise SealError(f"{home / FILE} cannot be read: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise SealError(f"{home / FILE} is damaged. Restore it, or remove it and set its settings anew")
    return found


def _sealer(home: Path, key: str | None) -> Sealer:
    """Return the sealer of a key from the environment; a key file beside the secrets would keep them from nobody."""
    if not key:
        raise SealError(f"{home / FILE} holds encrypted settings: set MAP4_SECRET_KEY, with which they were encrypted")
    if len(key.encode()) < SHORTEST_KEY:
        raise SealError(f"MAP4_SECRET_KEY has to have {SHORTEST_KEY} characters or more. Make one with: openssl rand -base64 32")
    return Sealer(key.encode())
