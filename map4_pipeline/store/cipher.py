"""Secrets at rest: encrypted with a key from the environment, or with one in a file that only MAP4's user can read."""

import base64
import os
import secrets
from typing import TYPE_CHECKING

from map4_pipeline.sealing import SHORTEST_KEY, Sealer, SealError
from map4_pipeline.store.errors import InfrastructureError

if TYPE_CHECKING:
    from map4_pipeline.settings import Settings


class Cipher(Sealer):
    """A `Sealer` that tells the rest of MAP4 what is wrong."""

    def decrypt(self, stored: bytes, purpose: str) -> bytes:
        """Return what `encrypt` was given.

        Raises
        ------
        InfrastructureError
            When it was encrypted with another key, or changed since.
        """
        try:
            return super().decrypt(stored, purpose)
        except SealError:
            raise InfrastructureError(
                "A stored secret cannot be decrypted: MAP4_SECRET_KEY (or the file secret.key in MAP4_HOME) is not the one it "
                "was encrypted with. Set the earlier key, or begin anew with `map4 users rotate-keys --forget`: programs that "
                "use the API log in again."
            ) from None


def open_cipher(settings: "Settings") -> Cipher:
    """Return the cipher of MAP4_SECRET_KEY; without it, of the file `secret.key` in MAP4_HOME, which is made once.

    Raises
    ------
    InfrastructureError
        When the key is too short or the file cannot be made.
    """
    if settings.secret_key is not None:
        key = settings.secret_key.get_secret_value().encode()
        if len(key) < SHORTEST_KEY:
            raise InfrastructureError(
                f"MAP4_SECRET_KEY has to have {SHORTEST_KEY} characters or more. Make one with: openssl rand -base64 32"
            )
        return Cipher(key)
    path = settings.home / "secret.key"
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(descriptor, "wb") as file:
                file.write(base64.b64encode(secrets.token_bytes(32)) + b"\n")
        found = path.read_bytes().strip()
    except OSError as error:
        raise InfrastructureError(
            f"The key file {path} cannot be used: {error.strerror}. Set MAP4_SECRET_KEY instead."
        ) from error
    if len(found) < SHORTEST_KEY:
        raise InfrastructureError(f"The key file {path} is damaged. Restore it, or set MAP4_SECRET_KEY.")
    return Cipher(found)
