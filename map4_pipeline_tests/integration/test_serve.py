"""`map4 serve` as a user starts it: when it says where it is, it answers there."""

import re
import signal
import threading
from pathlib import Path

import httpx
import pytest

from map4_pipeline.settings import Settings

from .program import Program


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_address_is_said_when_it_is_listened_on(settings: Settings, home: Path, processes: str) -> None:
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
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        reader.join()
        process.wait(60)
    assert b"MAP4  http" not in rest
    log = b"".join(said).decode()
    assert "Traceback" not in log
    assert log.index("tarted server process") < log.index(f"running on {found.group(1)}"), log
