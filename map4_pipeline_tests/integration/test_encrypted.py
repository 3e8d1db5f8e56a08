"""Encrypted connections: MAP4's own server, PostgreSQL and Redis, with certificates of an authority made for the test."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from map4_pipeline.api import limits
from map4_pipeline.settings import Settings, load_settings
from map4_pipeline.store.cache import Cache
from map4_pipeline.store.database import dagster_url, driver_url, make_engine, open_database
from map4_pipeline.store.errors import InfrastructureError
from map4_pipeline.store.valkey_server import redis_url

from ..certificates import Certificate, make_certificate
from ..postgres import PostgresForTests, short_directory, system_server
from .program import Program
from .running import wait_for
from .test_proxy import answers, free_port, handshake


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("right"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Of an authority that nobody has any reason to trust."""
    return make_certificate(tmp_path_factory.mktemp("wrong"), "stranger")


# ------------------------------------------------------------------ the API
@pytest.mark.slow
def test_the_server_speaks_https_and_nothing_older(settings: Settings, home: Path, certificate: Certificate) -> None:
    assert settings.database_url is not None
    port = free_port()
    program = Program(home, settings.database_url.get_secret_value(), MAP4_API_PORT=str(port))
    files = {"MAP4_TLS_CERTIFICATE": str(certificate.certificate), "MAP4_TLS_KEY": str(certificate.key)}
    process = program.start("serve", **files)
    try:
        wait_for("map4 serve", lambda: process.poll() is not None or answers(port))
        assert handshake(port, certificate) == "TLSv1.3"
        with pytest.raises(ssl.SSLError):
            handshake(port, certificate, ssl.TLSVersion.TLSv1_2)
        trusted = ssl.create_default_context(cafile=str(certificate.authority))
        answer = httpx.get(f"https://localhost:{port}/api/health/ready", verify=trusted, timeout=60)
        assert answer.json()["status"] == "ok"
        assert answer.headers["strict-transport-security"].startswith("max-age=63072000")
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://localhost:{port}/api/health/ready", timeout=60)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


@pytest.mark.parametrize("fault", ["no key", "no file", "another key", "no certificate"])
def test_a_certificate_that_cannot_be_used_is_told(fault: str, certificate: Certificate, stranger: Certificate) -> None:
    import click

    from map4_pipeline.cli.serve import tls_context

    key = {"no file": Path("/nowhere.key"), "another key": stranger.key}.get(fault, certificate.key)
    chain = certificate.key if fault == "no certificate" else certificate.certificate
    if fault == "no key":
        key = certificate.certificate
    with pytest.raises(click.UsageError, match=r"cannot be (used|read)"):
        tls_context(chain, key)


# ------------------------------------------------------------------ PostgreSQL
@contextlib.contextmanager
def encrypted_postgres(certificate: Certificate) -> Iterator[PostgresForTests]:
    """Run the system's PostgreSQL so that it takes nothing but TLS 1.3 from the network."""
    with system_server() as server:
        data = Path(str(server.owner_value("SHOW data_directory")))
        for source, name in ((certificate.certificate, "server.crt"), (certificate.key, "server.key")):
            shutil.copy(source, data / name)
            (data / name).chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(data / name, "postgres", "postgres")
        (data / "pg_hba.conf").write_text("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
        server.execute("ALTER SYSTEM SET ssl = on", "ALTER SYSTEM SET ssl_min_protocol_version = 'TLSv1.3'", superuser=True)
        server.execute("SELECT pg_reload_conf()", superuser=True)
        deadline = time.monotonic() + 60
        while str(server.owner_value("SHOW ssl")) != "on":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield server


@pytest.mark.own_postgres
def test_postgresql_is_reached_encrypted_and_only_if_it_is_the_right_one(
    home: Path, clean_environment: None, monkeypatch: pytest.MonkeyPatch, certificate: Certificate, stranger: Certificate
) -> None:
    monkeypatch.setenv("MAP4_HOME", str(home))
    with encrypted_postgres(certificate) as server:
        plain = server.url("postgres").rpartition("/")[0] + "/map4"
        server.execute("CREATE DATABASE map4 OWNER map4 ENCODING 'UTF8' TEMPLATE template0", superuser=True)
        right = f"{plain}?sslmode=verify-full&sslrootcert={certificate.authority}"
        monkeypatch.setenv("DATABASE_URL", right)
        settings = load_settings()
        engine = open_database(settings)
        with engine.connect() as conn:
            found = conn.exec_driver_sql("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl").scalar_one()
        engine.dispose()
        assert found == "TLSv1.3"
        # Dagster's storage beside it is reached the same way.
        beside = make_engine(dagster_url(settings))
        with beside.connect() as conn:
            assert conn.exec_driver_sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").scalar_one() is True
        beside.dispose()
        told = Program(home, right).run("db", "dump")
        assert told.code == 0, told.all
        for refused, reason in (
            (f"{plain}?sslmode=verify-full&sslrootcert={stranger.authority}", "is not of the CA"),
            (f"{plain}?sslmode=disable", "Add .sslmode=verify-full"),
            (right.replace("@127.0.0.1:", "@other.example:") + "&hostaddr=127.0.0.1", "or not for this host"),
        ):
            monkeypatch.setenv("DATABASE_URL", refused)
            with pytest.raises(InfrastructureError, match=reason) as error:
                open_database(load_settings())
            assert "p@ss" not in str(error.value)
        assert driver_url(right).endswith(str(certificate.authority).replace("/", "%2F"))


# ------------------------------------------------------------------ Redis
@contextlib.contextmanager
def encrypted_redis(certificate: Certificate) -> Iterator[int]:
    """Run a Redis or Valkey that speaks TLS only; gives its port."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("the system has no Redis (Debian: apt-get install redis-server)")
    port = free_port()
    options = {
        "port": "0", "tls-port": str(port), "bind": "127.0.0.1", "tls-cert-file": certificate.certificate, "save": "",
        "tls-key-file": certificate.key, "tls-ca-cert-file": certificate.authority, "tls-auth-clients": "no",
        "tls-protocols": "TLSv1.3", "requirepass": "a password",
    }  # fmt: skip
    with short_directory() as folder:
        command = [program, *(part for name, value in options.items() for part in (f"--{name}", str(value)))]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for("redis", lambda: process.poll() is not None or answers(port))
            assert process.poll() is None
            yield port
        finally:
            process.terminate()
            process.wait(60)


def test_redis_is_reached_encrypted_and_only_if_it_is_the_right_one(
    clean_environment: None, monkeypatch: pytest.MonkeyPatch, certificate: Certificate, stranger: Certificate
) -> None:
    with encrypted_redis(certificate) as port:
        monkeypatch.setenv("REDIS_URL", f"rediss://:a%20password@localhost:{port}/0")
        monkeypatch.setenv("MAP4_REDIS_CA", str(certificate.authority))
        right = redis_url(load_settings())
        cache = patient_cache(right, monkeypatch)
        assert cache.put("track:x", {"a": 1}, 60)
        assert cache.get("track:x") == {"a": 1}
        limiter, before = limits.RateLimiter(right), shared_keys(right)
        assert limiter.take("user:1", 5) == 0
        assert shared_keys(right) > before
        monkeypatch.setenv("MAP4_REDIS_CA", str(stranger.authority))
        wrong = patient_cache(redis_url(load_settings()), monkeypatch)
        assert wrong.get("track:x") is None
        assert not wrong.put("track:y", 1, 60)
        assert handshake(port, certificate) == "TLSv1.3"
        monkeypatch.setenv("MAP4_REDIS_CA", "/nowhere.pem")
        with pytest.raises(InfrastructureError, match="MAP4_REDIS_CA"):
            redis_url(load_settings())


def patient_cache(address: str | None, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """Return a cache that has time: a handshake takes longer than an answer, on a machine with much else to do."""
    monkeypatch.setattr("map4_pipeline.store.cache.TIMEOUT_SECONDS", 30.0)
    monkeypatch.setattr("map4_pipeline.api.limits.TIMEOUT_SECONDS", 30.0)
    return Cache(address)


def shared_keys(address: str | None) -> int:
    import redis

    assert address is not None
    with redis.Redis.from_url(address) as client:
        return int(client.dbsize())


def test_a_wrong_authority_is_refused_by_the_handshake(certificate: Certificate, stranger: Certificate) -> None:
    with encrypted_redis(certificate) as port:
        context = ssl.create_default_context(cafile=str(stranger.authority))
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
            context.wrap_socket(plain, server_hostname="localhost"),
        ):
            pass
