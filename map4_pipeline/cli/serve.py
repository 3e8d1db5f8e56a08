"""`map4 serve`: the REST API and the web page."""

import atexit
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from map4_pipeline.cli import garbage

if TYPE_CHECKING:
    import ssl

    import uvicorn
    from fastapi import FastAPI
    from rich.console import Console
    from sqlalchemy import Engine

_log = logging.getLogger("map4.cli.serve")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: Requests that work at once in all processes together, each with a connection to the database; more of them wait.
THREADS = 24
#: Connections that a process may hold beside: who asks is looked up on one that is given back at once, exports have one.
_SPARE = 8
#: A server that is stopped while it still reads ahead waits so long for the step in hand.
_WARM_UP_SECONDS = 20.0
#: A connection that was used so short a time ago is not asked whether it still is one: that is a round trip for every request.
_TRUSTED_SECONDS = 2.0


@click.command()
@click.option("--host", help="Address to listen on. Default: MAP4_API_HOST or 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port. Default: MAP4_API_PORT or 8000.")
@click.option("--processes", type=click.IntRange(1, 64), help="Processes that serve. Default: MAP4_API_PROCESSES or 1.")
@click.option("--tls-certificate", type=click.Path(path_type=Path), help="Serve HTTPS (PEM). Default: MAP4_TLS_CERTIFICATE.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key (PEM). Default: MAP4_TLS_KEY.")
def serve(host: str | None, port: int | None, processes: int | None, tls_certificate: Path | None, tls_key: Path | None) -> None:
    """Start the REST API and the web page; Ctrl-C stops them, with exit code 0.

    The first start makes an admin and shows the password once.
    """
    import uvicorn

    from map4_pipeline.api.federation import providers_of
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.cli.resident import ResidentProcess
    from map4_pipeline.cli.services import bound_socket, free_port
    from map4_pipeline.observe.logs import configure_logging
    from map4_pipeline.observe.sentry import start_sentry
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.valkey_server import redis_url

    configured = settings()
    providers_of(configured)  # told once and at once, not by every process, and before an admin is made
    certificate, key = tls_certificate or configured.tls_certificate, tls_key or configured.tls_key
    if (certificate is None) != (key is None):
        raise click.UsageError("--tls-certificate and --tls-key (MAP4_TLS_CERTIFICATE and MAP4_TLS_KEY) belong together.")
    if certificate is not None and key is not None:
        tls_context(certificate, key)  # told before anything is started
    configure_logging(configured, "serve", console=sys.stderr)
    start_sentry(configured, "serve")
    console = make_console()
    address = host or configured.api_host
    count = processes or configured.api_processes
    # Brings the schema up to date and keeps the embedded servers up for the life of this process.
    keeper = open_database(configured)
    redis_url(configured)
    try:
        first_admin(keeper, console)
        if address not in _LOOPBACK and certificate is None and not configured.public_url.startswith("https:"):
            console.print(
                f"Warning: {address} is served without encryption: passwords can be read on the way. Use --tls-certificate and "
                "--tls-key, or a proxy with HTTPS and MAP4_PUBLIC_URL.",
                style="bold yellow", soft_wrap=True,
            )  # fmt: skip
        wanted = configured.api_port if port is None else port
        with _several(count, certificate, key), contextlib.ExitStack() as stack:
            # Several processes listen on one socket, which they are given.
            shared = stack.enter_context(bound_socket(address, wanted, "map4 serve")) if count > 1 else None
            config = uvicorn.Config(
                f"{__name__}:make_app",
                factory=True,
                workers=count,
                host=address,
                port=free_port(address, wanted, "map4 serve") if shared is None else shared.getsockname()[1],
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=True,
                forwarded_allow_ips=configured.trusted_proxies,
                timeout_graceful_shutdown=10,
                # A process is replaced when it hangs, not when it is busy and answers late to the one that watches.
                timeout_worker_healthcheck=60,
                ssl_certfile=certificate,
                ssl_keyfile=key,
                ssl_context_factory=None if certificate is None else _modern_tls,
            )
            scheme = "http" if certificate is None else "https"
            shown = f"[{address}]" if ":" in address else address
            where = f"{scheme}://{shown}:{config.port}"

            def tell() -> None:
                console.print(f"MAP4  {where}   (Ctrl-C stops it)", style="bold")
                if shared is not None:  # of one process uvicorn says it
                    _log.info("%d processes are running on %s", count, where)

            # Single files that somebody asks for are analysed at once, in a process beside this one.
            with ResidentProcess(configured, configured.home / "logs" / "resident.log"):
                _run(config, shared, tell)
        console.print("Stopped.")
    finally:
        keeper.dispose()


def make_app() -> "FastAPI":
    """Return the application of one process of the server, over a pool of connections of its own."""
    from map4_pipeline.api.app import create_app
    from map4_pipeline.api.routes.stats import TOLERANCE_SECONDS
    from map4_pipeline.observe.logs import configure_logging, is_configured
    from map4_pipeline.observe.sentry import start_sentry
    from map4_pipeline.settings import settings
    from map4_pipeline.store.columns import follow
    from map4_pipeline.store.database import make_engine, resolve_url
    from map4_pipeline.store.reads import count_ahead
    from map4_pipeline.store.similar import warm_up
    from map4_pipeline.store.valkey_server import redis_url

    configured = settings()
    if not is_configured(configured):  # one of several processes
        from map4_pipeline.cli.service import tie_to_parent

        tie_to_parent(os.getppid())
        configure_logging(configured, "serve", console=sys.stderr)
        start_sentry(configured, "serve")
    threads = max(THREADS // configured.api_processes, 8)
    # Statements' values are no business of the log.
    options: dict[str, Any] = {"pool_size": threads, "max_overflow": _SPARE, "pool_timeout": 10, "hide_parameters": True}
    engine = make_engine(resolve_url(configured), trusted_seconds=_TRUSTED_SECONDS, **options)
    app = create_app(configured, engine, redis_url(configured), threads=threads, tls=configured.tls_certificate is not None)

    columns = follow(engine)
    ended = threading.Event()

    def ahead() -> None:
        # 100,000 tracks take seconds to read and to count: now, and not when the first user asks.
        warm_up(engine)
        if ended.is_set():
            return
        columns.catch_up(engine, wait=True)
        if ended.is_set():
            return
        count_ahead(engine, app.state.context.cache, TOLERANCE_SECONDS)
        # What is there now stays: looking through it for what could be thrown away would hold up every request for a moment.
        gc.collect()
        garbage.loaded()

    thread = threading.Thread(target=ahead, name="warm-up", daemon=True)

    def end() -> None:
        # A thread that imports or computes while the interpreter ends makes it abort (exit code 134).
        ended.set()
        columns.end(_WARM_UP_SECONDS)
        thread.join(_WARM_UP_SECONDS)

    thread.start()
    atexit.register(end)
    return app


@contextlib.contextmanager
def _several(count: int, certificate: Path | None, key: Path | None) -> Iterator[None]:
    """Tell the processes of the server how many they are and how they speak, and give several a folder to add up counts in."""
    from map4_pipeline.settings import settings

    changed = {"MAP4_API_PROCESSES": str(count)}
    if certificate is not None and key is not None:
        changed |= {"MAP4_TLS_CERTIFICATE": str(certificate), "MAP4_TLS_KEY": str(key)}
    with contextlib.ExitStack() as stack:
        if count > 1:
            # prometheus-client looks for it when it is imported, and by this name.
            changed["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="map4-metrics-"))
        before = {name: os.environ.get(name) for name in changed}
        os.environ.update(changed)
        settings.cache_clear()
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            settings.cache_clear()


def _modern_tls(config: "uvicorn.Config", _default: "Callable[[], ssl.SSLContext]") -> "ssl.SSLContext":
    """Return how a process speaks HTTPS."""
    return tls_context(Path(str(config.ssl_certfile)), Path(str(config.ssl_keyfile)))


def _run(config: "uvicorn.Config", shared: socket.socket | None, tell: Callable[[], None]) -> None:
    """Serve until somebody wants an end, in this process or in several that this one watches.

    Parameters
    ----------
    shared : socket, optional
        On which several processes listen.
    tell : callable
        Called once users are listened to.

    Raises
    ------
    InfrastructureError
        When several processes end although nobody wanted it: they cannot start.
    """
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from map4_pipeline.store.errors import InfrastructureError

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                tell()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            # uvicorn would raise the signal once more at the end, and what is to be put away after it would be left.
            self.force_exit = self.force_exit or (self.should_exit and sig == signal.SIGINT)
            self.should_exit = True

    class Supervisor(Multiprocess):
        wanted = False

        def handle_int(self) -> None:
            self.wanted = True
            super().handle_int()

        def handle_term(self) -> None:
            self.wanted = True
            super().handle_term()

        def handle_break(self) -> None:
            self.wanted = True
            super().handle_break()

    if shared is None:
        Server(config).run()
        return
    ended = threading.Event()

    def watch() -> None:
        while not _listens(shared):
            if ended.wait(0.05):
                return
        tell()

    watcher = threading.Thread(target=watch, name="listening", daemon=True)
    supervisor = Supervisor(config, sockets=[shared])
    watcher.start()
    try:
        supervisor.run()
    finally:
        ended.set()
        watcher.join()
    if not supervisor.wanted:
        raise InfrastructureError("The server's processes cannot start. What they said above, or in logs/map4.log, tells why.")


def _listens(shared: socket.socket) -> bool:
    """Return whether a process listens on a socket that several have."""
    try:
        return bool(shared.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:  # a system that does not say it
        return True


def tls_context(certificate: Path, key: Path) -> "ssl.SSLContext":
    """Return how HTTPS is spoken: TLS 1.3, nothing older.

    Raises
    ------
    click.UsageError
        When the certificate or its key cannot be used.
    """
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        made.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        said = f"{certificate} and {key} cannot be used as certificate and key: {error.reason or error}."
        raise click.UsageError(f"{said} Both have to be PEM, the key without a passphrase, and belong together.") from None
    except OSError as error:
        missing = key if certificate.is_file() else certificate
        raise click.UsageError(f"{missing} cannot be read: {error.strerror}.") from None
    return made


def _no_passphrase() -> str:
    # Without it OpenSSL would ask on the terminal, where nobody may be.
    return ""


def first_admin(engine: "Engine", console: "Console") -> None:
    """Make an admin where there is no account yet, and show the password for the first login, this once."""
    from map4_pipeline.api.passwords import hash_password, one_time_password
    from map4_pipeline.store import audit
    from map4_pipeline.store.accounts import create_user, has_users, verify_nobody

    with engine.connect() as conn:
        if has_users(conn):
            return
    password = one_time_password()
    hashed = hash_password(password)
    with engine.begin() as conn:
        if not verify_nobody(conn):
            return
        made = create_user(conn, "admin", "admin", password_hash=hashed, library_ids=None, must_change_password=True)
        audit.note(conn, "user made", target=made.name, detail={"role": made.role, "by": "the first start"})
    console.print()
    console.print("The first account was made. This password is for the first login only and is not shown again:")
    console.print(f"  name      admin\n  password  {password}", style="bold")
    console.print()
