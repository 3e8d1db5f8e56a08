"""Rounds of bad luck for `map4 ingest` on its embedded server: something is killed, and the command is run again."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ..ingest.music import write_music
from .program import Program, family, finish, mortals, survivors


@dataclass(slots=True)
class Tally:
    """What was killed how often, how often with the workers at work, and what the end looks like."""

    killed: dict[str, int] = field(default_factory=dict)
    at_work: int = 0
    decodes: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    codes: list[int] = field(default_factory=list)


def fill(folder: Path, files: int, first: int = 0) -> None:
    """Write files that no other number gives, ten to a folder."""
    for number in range(first, first + files):
        write_music(folder / f"{number // 10:03}" / f"{number:05}.wav", 1000 + number, 1.2)


def postmaster(home: Path) -> psutil.Process | None:
    """Return the embedded server's first process."""
    try:
        pid = int((home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])
        return psutil.Process(pid)
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
        return None


def chaos(home: Path, folder: Path, rounds: int, seed: int, files_a_round: int = 20, patience: float = 150) -> Tally:
    """Kill the run, a worker or the database in every round, with new files in each; then finish.

    Parameters
    ----------
    patience : float
        Seconds that a command may take: on a busy machine its imports alone take a minute.

    Raises
    ------
    AssertionError
        When a command ends with a traceback or leaves a process behind, or when the last ones cannot finish the work.
    """
    chance = random.Random(seed)
    program = Program(home, None, MAP4_COMMIT_FILES="4")
    tally = Tally()
    expected = 0
    kinds = [("run", "worker", "database")[number % 3] for number in range(rounds)]
    chance.shuffle(kinds)
    for number in range(rounds):
        fill(folder, files_a_round, number * files_a_round)
        expected += files_a_round
        kind = kinds[number]
        run = program.start("ingest", "--no-report", folder)
        deadline = time.monotonic() + 60
        # Two of three in the middle of the work, which begins when the workers are there; the others anywhere from the start on.
        at_work = kind == "worker" or chance.random() < 0.5
        while run.poll() is None and time.monotonic() < deadline:
            if len(_below(run, mortals)) >= 3 or (not at_work and (kind == "run" or postmaster(home) is not None)):
                break
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.3) if kind == "worker" else chance.uniform(0.0, 1.5 if at_work else 5.0))
        below = _below(run)
        server = postmaster(home)
        workers = [process.pid for process in _below(run, mortals)]
        victims = {"run": [run.pid], "worker": workers, "database": [server.pid] if server else []}
        if run.poll() is None and victims[kind]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(victims[kind]), signal.SIGKILL)
            tally.killed[kind] = tally.killed.get(kind, 0) + 1
            tally.at_work += len(workers) >= 3
        told = finish(run, patience)
        tally.codes.append(told.code)
        assert "Traceback" not in told.all, told.all
        assert told.code in (0, 1, 3, -signal.SIGKILL), told.all
        assert survivors(below) == [], (kind, number)
    for arguments in (["--retry-failed"], []):
        told = program.run("ingest", "--no-report", *arguments, folder, patience=patience)
        assert told.code == 0, told.all
    tally.rows = _rows(program)
    tally.decodes = tally.rows.pop("decodes")
    program.run("db", "stop")
    assert tally.rows == {
        "tracks": expected,
        "ok": expected,
        "distinct": expected,
        "vectors": expected,
        "analyses": 2 * expected,
        "unsettled": 0,
    }, tally.rows
    return tally


def _below(
    run: "subprocess.Popen[bytes]", kind: Callable[["subprocess.Popen[bytes]"], list[psutil.Process]] = family
) -> list[psutil.Process]:
    try:
        return kind(run) if run.poll() is None else []
    except psutil.NoSuchProcess:  # it ended in this moment
        return []


def _rows(program: Program) -> dict[str, Any]:
    import psycopg2

    address = program.run("db", "url").out.strip()
    statement = """
        SELECT (SELECT count(*) FROM tracks), (SELECT count(*) FROM tracks WHERE status = 'ok' AND missing_since IS NULL),
               (SELECT count(DISTINCT relative_path) FROM tracks), (SELECT count(*) FROM tracks WHERE hamms_vector IS NOT NULL),
               (SELECT count(*) FROM analyses), (SELECT count(*) FROM directories WHERE settled_at IS NULL),
               (SELECT sum(decodes) FROM scans)"""
    with contextlib.closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        names = ("tracks", "ok", "distinct", "vectors", "analyses", "unsettled", "decodes")
        return dict(zip(names, map(int, cursor.fetchone() or ()), strict=True))
