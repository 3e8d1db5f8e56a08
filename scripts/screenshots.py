"""Make the README's screenshots anew: the demo library, `map4 up`, a browser without a window.

    .venv/bin/python scripts/screenshots.py [FOLDER]

FOLDER is `docs/images` by default. Needs Chromium and the development environment (`make setup-dev`); takes a minute or two.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from map4_pipeline.library.demo import build_demo

ROOT = Path(__file__).resolve().parents[1]
SIZE = {"width": 1600, "height": 1000}
PATIENCE_MS = 120_000
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
MAP4 = (sys.executable, "-m", "map4_pipeline.cli.main")


def main(target: Path) -> None:
    """Take the pictures."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        sys.exit("Chromium is needed (Debian: apt-get install chromium).")
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="m4-", dir="/tmp") as folder:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("MAP4_", "DAGSTER", "DATABASE_URL"))}
        env |= {"MAP4_HOME": f"{folder}/home", "REDIS_URL": "none"}
        music = Path(folder) / "Music"
        build_demo(music)
        done = subprocess.run([*MAP4, "ingest", str(music)], env=env, check=False, stdout=subprocess.DEVNULL)
        if done.returncode > 1:  # 1: the demo library's broken file
            sys.exit(done.returncode)
        up = subprocess.Popen([*MAP4, "up", "--port", "0"], env=env, stdout=subprocess.PIPE, text=True)
        try:
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=program, args=FLAGS)
                page = browser.new_page(viewport=SIZE, base_url=_address(up))  # type: ignore[arg-type]
                page.set_default_timeout(PATIENCE_MS)
                asset_graph(page, target / "asset-graph.png")
                materialization(page, target / "materialization.png")
                browser.close()
        finally:
            up.terminate()
            up.wait(60)


def asset_graph(page: Page, path: Path) -> None:
    """Show the eight assets in their groups, without the side bars."""
    page.goto("/asset-groups")
    page.get_by_text("reporting", exact=True).first.wait_for()
    page.get_by_text("Hide navigation").click()
    page.locator("button:has([aria-label=panel_show_right])").first.click()
    page.keyboard.press("Alt+e")  # expand all groups; the address remembers it
    page.get_by_text("library_report", exact=True).first.wait_for()
    _settle(page)
    # From some magnification on, nodes show what they are and how they are; then the graph just fits beside the buttons.
    page.locator("button:has([aria-label=zoom_in])").first.click()
    time.sleep(1)
    page.mouse.move(300, 400)
    page.mouse.down()
    page.mouse.move(278, 400, steps=5)
    page.mouse.up()
    page.mouse.move(300, 900)
    _settle(page)
    page.screenshot(path=path)


def materialization(page: Page, path: Path) -> None:
    """Show what a run wrote down about a directory: failures as a table, distributions, the ledger."""
    page.goto("/assets/track_features?view=partitions")
    page.get_by_text("Late Trains").or_(page.get_by_text("Trains~")).first.click()
    page.get_by_text("bpm_distribution", exact=True).first.wait_for()
    _settle(page)
    page.screenshot(path=path)


def _settle(page: Page) -> None:
    """Wait until nothing is loaded any more and animations have ended (the UI keeps a socket open, so idle never comes)."""
    page.wait_for_load_state("load")
    time.sleep(5)


def _address(up: "subprocess.Popen[str]") -> str:
    assert up.stdout is not None
    address = None
    for line in up.stdout:
        found = re.search(r"http://\S+", line)
        address = address or (found[0] if found else None)
        if "Ctrl-C" in line and address:
            return address
    sys.exit("`map4 up` did not start.")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images")
