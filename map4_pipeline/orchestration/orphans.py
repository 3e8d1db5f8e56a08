"""Runs whose process is gone: they would stay "started" for ever, keep their slot, and the folders' sensor would wait for them.

Dagster's run monitoring knows nothing of the processes behind runs that `map4 ingest` executes itself, and the default
launcher cannot be asked for the health of the others.
"""

import json
import os
import socket

import psutil
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from map4_pipeline.orchestration.scope import owner_of

#: In the tags of a run that a code server executes: where that server listens.
_GRPC_TAG = ".dagster/grpc_info"
_OPEN = [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]


def owner_tag() -> str:
    """Return who executes a run: host, process, and when that process started (process ids come again)."""
    return f"{socket.gethostname()}:{os.getpid()}:{int(psutil.Process().create_time())}"


def close_orphans(instance: DagsterInstance) -> int:
    """Report runs of `map4 ingest` on this host as failed whose process is gone; return how many."""
    closed = 0
    for record in instance.get_run_records(RunsFilter(statuses=_OPEN)):
        run = record.dagster_run
        host, _, rest = (owner_of(run.tags) or "").partition(":")
        if host != socket.gethostname():
            continue
        pid, _, started = rest.partition(":")
        try:
            alive = int(psutil.Process(int(pid)).create_time()) == int(started)
        except (psutil.NoSuchProcess, ValueError):
            alive = False
        if not alive:
            instance.report_run_failed(run, "The process that executed this run was killed. The next `map4 ingest` goes on.")
            closed += 1
    return closed


def close_leftovers(instance: DagsterInstance, code_server_socket: str) -> int:
    """Report runs as failed that a code server on this socket executed, which is known to be gone; return how many."""
    closed = 0
    for record in instance.get_run_records(RunsFilter(statuses=_OPEN)):
        run = record.dagster_run
        try:
            executed_at = json.loads(run.tags.get(_GRPC_TAG, "{}")).get("socket")
        except ValueError:
            continue
        if executed_at == code_server_socket:
            message = "The `map4 up` that executed this run was killed. What the run had finished is kept; the next run goes on."
            instance.report_run_failed(run, message)
            closed += 1
    return closed
