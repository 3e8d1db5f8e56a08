"""What tests of the running system share: a little music, `map4 up` as a process, a browser."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg2
import pytest

from map4_pipeline.library.encode import encode
from map4_pipeline.library.synthesis import Song, render
from map4_pipeline.store.postgres_server import EmbeddedPostgres

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Generous: the suite's machines have two cores and other things to do.
PATIENCE_SECONDS = 120.0
CHROMIUM_FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
MAP4 = (sys.executable, "-m", "map4_pipeline.cli.main")

T = TypeVar("T")


def make_track(path: Path, seed: int, seconds: float = 6.0) -> Path:
    """Write a short piece of music that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Elsewhere first: a sensor that watches the folder sees the whole file or none.
    unfinished = path.parent.parent / f".{path.name}"
    encode(render(Song(100.0 + seed, seed % 12, "minor", "house", seed), seconds), unfinished)
    unfinished.replace(path)
    return path


def write_slowly(files: Sequence[Path], folder: Path, seconds: float) -> float:
    """Copy files into a folder as over a slow network, piece by piece; return when the last piece was written (epoch seconds)."""
    folder.mkdir(parents=True)
    pause = seconds / (4 * len(files))
    for file in files:
        data = file.read_bytes()
        step = -(-len(data) // 4)
        with (folder / file.name).open("wb", buffering=0) as target:
            for first in range(0, len(data), step):
                time.sleep(pause)
                target.write(data[first : first + step])
    return max((folder / file.name).stat().st_mtime for file in files)


def wait_for(what: str, look: Callable[[], T | None], seconds: float = PATIENCE_SECONDS) -> T:
    """Look again and again until there is something to see."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.5)


def environment(home: Path, database: str | None, **settings: str) -> dict[str, str]:
    """Return an environment in which MAP4 knows this home, this database and these settings only."""
    mine = ("MAP4_", "PG", "DAGSTER")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(mine) and name != "DATABASE_URL"}
    kept |= {"MAP4_HOME": str(home), "REDIS_URL": "none", "MAP4_WORKERS": "2", **settings}
    return kept | ({"DATABASE_URL": database} if database else {})


def map4(env: Mapping[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of `map4` to its end."""
    return subprocess.run([*MAP4, *arguments], env=dict(env), capture_output=True, text=True, check=False, timeout=240)


class Up:
    """`map4 up` as a process."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = dict(env)
        self.home = Path(env["MAP4_HOME"])
        self.process = subprocess.Popen(
            [*MAP4, "up", "--port", "0"], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    def wait_until_ready(self) -> "Up":
        """Wait for the last line of what it says at the start."""
        wait_for("map4 up", lambda: self.process.poll() is not None or any("Ctrl-C" in line for line in self.lines))
        assert self.process.poll() is None, self.output
        return self

    @property
    def output(self) -> str:
        """What it has printed."""
        return "".join(self.lines)

    @property
    def url(self) -> str:
        """The UI's address."""
        found = re.search(r"http://\S+", self.output)
        assert found is not None, self.output
        return found[0]

    def stop(self) -> int:
        """Stop it as Ctrl-C does; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """Ask Dagster."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return dict(found["data"])

    def runs(self, **tags: str) -> list[dict[str, Any]]:
        """Return the runs with these tags, newest first; `_` in a name stands for `/`."""
        chosen = [{"key": key.replace("__", "/"), "value": value} for key, value in tags.items()]
        query = """query($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags}, limit: 50) { ... on Runs { results {
          runId jobName status assetSelection { path } tags { key value } } } } }"""
        found: list[dict[str, Any]] = self.graphql(query, tags=chosen)["runsOrError"]["results"]
        return found

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask MAP4's database."""
        address = self.env.get("DATABASE_URL") or EmbeddedPostgres(self.home).url()
        with contextlib.closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
            cursor.execute(query, parameters)
            return list(cursor.fetchall())

    def logs(self) -> str:
        """Return the ends of the services' logs."""
        found = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in found)


@contextlib.contextmanager
def running_up(env: Mapping[str, str]) -> Iterator[Up]:
    """Run `map4 up`, and stop it whatever happens."""
    up = Up(env)
    try:
        yield up.wait_until_ready()
    finally:
        if up.process.poll() is None:
            up.stop()


@contextlib.contextmanager
def chromium() -> Iterator["Browser"]:
    """Run the system's Chromium without a window, or skip the test."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("the system has no Chromium (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (make setup-dev)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@contextlib.contextmanager
def page_of(browser: "Browser", up: Up, folder: Path) -> Iterator["Page"]:
    """Open a page of the UI; when the test fails, keep what it showed."""
    page = browser.new_page(viewport={"width": 1600, "height": 1000}, base_url=up.url)
    page.set_default_timeout(PATIENCE_SECONDS * 1000)
    try:
        yield page
    except BaseException:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(Exception):
            page.screenshot(path=folder / "page.png")
            (folder / "page.html").write_text(page.content())
        print(f"What the page showed is in {folder}\n{up.output}\n{up.logs()}")
        raise
    finally:
        page.close()
