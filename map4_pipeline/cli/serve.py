"""`map4 serve`: the REST API and the web page."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from sqlalchemy import Engine

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: Requests that work at once, each with a connection to the database; more of them wait.
THREADS = 24
#: Connections that one request may hold beside its own (who asks is looked up on one that is given back at once).
_SPARE = 8


@click.command()
@click.option("--host", help="Address to listen on. Default: MAP4_API_HOST or 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port. Default: MAP4_API_PORT or 8000.")
@click.option("--tls-certificate", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Serve HTTPS (PEM).")
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its private key (PEM).")
def serve(host: str | None, port: int | None, tls_certificate: Path | None, tls_key: Path | None) -> None:
    """Start the REST API and the web page; Ctrl-C stops them. The first start makes an admin and shows the password once."""
    import uvicorn

    from map4_pipeline.api.app import create_app
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.cli.resident import ResidentProcess
    from map4_pipeline.cli.services import free_port
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import make_engine, open_database, resolve_url
    from map4_pipeline.store.valkey_server import redis_url

    if (tls_certificate is None) != (tls_key is None):
        raise click.UsageError("--tls-certificate and --tls-key belong together.")
    configured = settings()
    console = make_console()
    address = host or configured.api_host
    # Brings the schema up to date and keeps the embedded server up for the life of this process.
    keeper = open_database(configured)
    engine = make_engine(resolve_url(configured), pool_size=THREADS, max_overflow=_SPARE, pool_timeout=10)
    try:
        first_admin(engine, console)
        if address not in _LOOPBACK and tls_certificate is None and not configured.public_url.startswith("https:"):
            console.print(
                f"Warning: {address} is served without encryption: passwords can be read on the way. Use --tls-certificate and "
                "--tls-key, or a proxy with HTTPS and MAP4_PUBLIC_URL.",
                style="bold yellow", soft_wrap=True,
            )  # fmt: skip
        app = create_app(configured, engine, redis_url(configured), threads=THREADS)
        config = uvicorn.Config(
            app,
            host=address,
            port=free_port(address, configured.api_port if port is None else port, "map4 serve"),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=True,
            forwarded_allow_ips=configured.trusted_proxies,
            timeout_graceful_shutdown=10,
            ssl_certfile=tls_certificate,
            ssl_keyfile=tls_key,
        )
        config.load()
        if config.ssl is not None:
            import ssl

            config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
        scheme = "http" if tls_certificate is None else "https"
        shown = f"[{address}]" if ":" in address else address
        console.print(f"MAP4  {scheme}://{shown}:{config.port}   (Ctrl-C stops it)", style="bold")
        # Single files that somebody asks for are analysed at once, in a process beside this one.
        with ResidentProcess(configured, configured.home / "logs" / "resident.log"):
            uvicorn.Server(config).run()
    finally:
        engine.dispose()
        keeper.dispose()


def first_admin(engine: "Engine", console: "Console") -> None:
    """Make an admin where there is no account yet, and show the password for the first login, this once."""
    from map4_pipeline.api.passwords import hash_password, one_time_password
    from map4_pipeline.store.accounts import create_user, has_users, verify_nobody

    with engine.connect() as conn:
        if has_users(conn):
            return
    password = one_time_password()
    hashed = hash_password(password)
    with engine.begin() as conn:
        if not verify_nobody(conn):
            return
        create_user(conn, "admin", "admin", password_hash=hashed, library_ids=None, must_change_password=True)
    console.print()
    console.print("The first account was made. This password is for the first login only and is not shown again:")
    console.print(f"  name      admin\n  password  {password}", style="bold")
    console.print()
