"""The program `map4` as a user runs it: a process of its own, an exit code, what it prints."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, text

from map4_pipeline.library.ledger import Ledger
from map4_pipeline.store.scans import last_completed

_SECRETS = ("MAP4_", "DAGSTER_", "PG")


@dataclass(slots=True)
class Told:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err


class Program:
    """`map4` with an environment of its own."""

    def __init__(self, home: Path, database_url: str | None, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}
        self.environment = {**kept, "MAP4_HOME": str(home), "REDIS_URL": "none", "MAP4_WORKERS": "2", **environment}
        self.environment.pop("DATABASE_URL", None)
        if database_url is not None:
            self.environment["DATABASE_URL"] = database_url

    def start(self, *arguments: str | Path, **environment: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "map4_pipeline.cli.main", *map(str, arguments)]
        environment = {**self.environment, **environment}
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )

    def run(self, *arguments: str | Path, patience: float = 150, **environment: str) -> Told:
        return finish(self.start(*arguments, **environment), patience)

    def ingest_json(self, *arguments: str | Path, **environment: str) -> tuple[int, dict[str, Any]]:
        """Return the exit code and the object of `map4 ingest --json`."""
        told = self.run("ingest", "--json", *arguments, **environment)
        assert "Traceback" not in told.all
        assert told.out.startswith("{"), told.all
        return told.code, json.loads(told.out)


def finish(process: "subprocess.Popen[bytes]", patience: float = 150) -> Told:
    """Wait for a command's end, so many seconds at most."""
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"map4 did not end: {out.decode('utf-8', 'replace')} {err.decode('utf-8', 'replace')}") from None
    return Told(process.returncode, out.decode(), err.decode())


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Wait until something holds while a command runs."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.005)


def family(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Return a command's processes below it, without database servers."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "postgres" not in child.name():
                found.append(child)
    return found


def command_of(process: psutil.Process) -> str:
    """Return a process's command line; "" for one that ends in this moment."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def mortals(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Return those of the family that are MAP4's: the fork server and the workers.

    Python's own resource tracker is left out. Its successor was never told what it is to look after, and prints tracebacks of
    its own about that.
    """
    return [child for child in family(process) if (command := command_of(child)) and "resource_tracker" not in command]


def survivors(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run after a while."""
    _, alive = psutil.wait_procs(processes, timeout=20)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def value(engine: Engine, statement: str) -> Any:
    """Return the one value of a query."""
    with engine.connect() as conn:
        return conn.execute(text(statement)).scalar_one()


def rows(engine: Engine, statement: str) -> list[Mapping[str, Any]]:
    """Return a query's rows."""
    with engine.connect() as conn:
        return [dict(row) for row in conn.execute(text(statement)).mappings()]


def last_ledger(engine: Engine) -> Ledger:
    """Return the sum of the libraries' last completed scans."""
    total = Ledger()
    with engine.connect() as conn:
        for _, ledger in last_completed(conn).values():
            total += ledger
    return total
