"""`map4 serve` as a user starts and stops it: when it says where it is, it answers there; stopped, it ends well."""

import re
import signal
import threading
from pathlib import Path

import httpx
import pytest

from map4_pipeline.settings import Settings

from .program import Program


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "stop"), [("1", signal.SIGINT), ("1", signal.SIGTERM), ("2", signal.SIGINT)])
def test_the_address_is_said_when_it_is_listened_on_and_the_end_is_a_good_one(
    settings: Settings, home: Path, processes: str, stop: signal.Signals
) -> None:
    assert settings.database_url is not None
    program = Program(home, settings.database_url.get_secret_value(), MAP4_SINGLE_WORKERS="0")
    process = program.start("serve", "--port", "0", "--processes", processes)
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.extend(process.stderr or ()))
    reader.start()
    try:
        found = next(filter(None, (re.search(r"MAP4  (http://\S+)", line.decode()) for line in process.stdout)), None)
        assert found is not None, b"".join(said).decode()
        # At once: what does not listen yet refuses the connection.
        assert httpx.get(f"{found.group(1)}/api/health/live", timeout=60).status_code == 200
    finally:
        process.send_signal(stop)
        rest = process.stdout.read()
        reader.join()
        code = process.wait(60)
    assert (code, rest.decode().split()) == (0, ["Stopped."])
    log = b"".join(said).decode()
    assert "Traceback" not in log
    assert log.index("tarted server process") < log.index(f"running on {found.group(1)}"), log
