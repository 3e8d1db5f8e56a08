"""The page in a real browser: the journeys of its users, by mouse and by keys, and what axe finds."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, select, text

from map4_pipeline.api import passwords
from map4_pipeline.api.app import create_app
from map4_pipeline.settings import Settings
from map4_pipeline.store.accounts import create_user
from map4_pipeline.store.duplicates import rebuild_duplicates
from map4_pipeline.store.playlists import create_playlist
from map4_pipeline.store.schema import api_tokens, playlists, tracks

from ..integration.running import chromium
from .conftest import PASSWORD, served
from .test_pages import draw_alpha, furnish

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
#: Where pictures go, to be looked at; unset: nowhere.
SHOTS = os.environ.get("MAP4_SHOTS")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as found:
        yield found


@pytest.fixture
def shelf(engine: Engine, tmp_path: Path) -> dict[str, int]:
    ids = furnish(engine, tmp_path / "Music")
    draw_alpha(engine)
    with engine.begin() as conn:
        conn.execute(text("UPDATE tracks SET title = 'Gamma', genre = 'Disco' WHERE title LIKE '<%'"))
        conn.execute(text("UPDATE tracks SET genre = 'House' WHERE genre LIKE '<%'"))
    ids["Gamma"] = max(ids.values())
    return ids


@pytest.fixture
def address(settings: Settings, engine: Engine, shelf: dict[str, int]) -> Iterator[str]:
    """The application on a port of its own, with an admin who has not logged in yet and a user who has a password."""
    with engine.begin() as conn:
        first = passwords.hash_password("first-time-only-0")
        create_user(conn, "admin", "admin", password_hash=first, library_ids=None, must_change_password=True)
        create_user(conn, "anna", "user", password_hash=passwords.hash_password(PASSWORD), library_ids=None)
    with served(create_app(settings, engine)) as url:
        yield url


@pytest.fixture
def page(browser: "Browser", address: str) -> Iterator["Page"]:
    made = browser.new_page(base_url=address, viewport={"width": 1280, "height": 900})
    made.set_default_timeout(20_000)
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("console", lambda message: wrong.append(message.text) if "Content Security Policy" in message.text else None)
    yield made
    made.close()
    assert wrong == []


def enter(page: "Page", name: str = "anna", password: str = PASSWORD) -> None:
    page.goto("/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def shot(page: "Page", name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def serious(page: "Page") -> list[Any]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found if one["impact"] in ("serious", "critical")]


def test_a_first_login_leads_to_a_password_of_ones_own(page: "Page") -> None:
    enter(page, "admin", "first-time-only-0")
    page.get_by_role("heading", name="Choose a password").wait_for()
    page.get_by_label("Password so far").fill("wrong")
    page.get_by_label("New password").fill("three good words here")
    page.get_by_role("button", name="Change the password").click()
    page.get_by_text("The password so far is wrong").wait_for()
    page.get_by_label("Password so far").fill("first-time-only-0")
    page.get_by_role("button", name="Change the password").click()
    page.get_by_role("searchbox").wait_for()
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="Log in").wait_for()
    enter(page, "admin", "three good words here")
    page.get_by_role("link", name="Admin", exact=True).click()
    page.get_by_role("heading", name="Queue").wait_for()


def test_a_search_follows_what_is_typed(page: "Page") -> None:
    enter(page)
    box = page.get_by_role("searchbox")
    page.get_by_text("3 tracks", exact=True).first.wait_for()
    box.press_sequentially("bet")
    page.get_by_text("1 track", exact=True).first.wait_for()
    assert page.get_by_role("link", name="Beta").is_visible()
    assert "q=bet" in page.url
    box.fill("")
    page.get_by_text("3 tracks", exact=True).first.wait_for()
    page.get_by_role("link", name="Disco 1").click()
    page.get_by_text("1 track", exact=True).first.wait_for()
    assert box.input_value() == 'genre:"Disco"'
    box.fill("bpm:fast")
    page.get_by_role("alert").wait_for()


def test_a_tempo_is_confirmed_corrected_and_taken_back(page: "Page", engine: Engine, shelf: dict[str, int]) -> None:
    def bpm() -> float | None:
        with engine.connect() as conn:
            return conn.execute(select(tracks.c.bpm).where(tracks.c.id == shelf["Alpha"])).scalar_one()

    enter(page)
    page.goto(f"/tracks/{shelf['Alpha']}")
    page.get_by_label("Tempo (BPM)").fill("much")
    page.get_by_role("button", name="Save the corrections").click()
    page.get_by_text("has to be a number").wait_for()
    page.get_by_label("Tempo (BPM)").fill("60,5")
    page.get_by_role("button", name="Save the corrections").click()
    page.get_by_text("corrected by anna").wait_for()
    assert bpm() == 60.5
    page.get_by_role("button", name="Take back", exact=True).click()
    page.get_by_text("30% sure").wait_for()
    assert bpm() == 120.0
    page.goto("/doubtful")
    page.get_by_role("button", name="Confirm tempo").click()
    page.get_by_text("None. Every tempo").wait_for()


def test_a_click_on_the_waveform_leads_the_player_there(page: "Page", shelf: dict[str, int]) -> None:
    enter(page)
    page.goto(f"/tracks/{shelf['Alpha']}")
    form = page.locator(".wave svg")
    box = form.bounding_box()
    assert box is not None
    form.click(position={"x": box["width"] * 3 / 4, "y": 20})
    assert float(page.locator(".playhead").get_attribute("x1") or 0) == pytest.approx(750, abs=5)


def test_a_set_is_built_and_put_in_another_order_by_keys_and_by_mouse(page: "Page", engine: Engine) -> None:
    enter(page)
    page.goto("/playlists/build")
    page.get_by_label("Tracks", exact=True).fill("30")
    page.get_by_role("button", name="Build").click()
    page.locator(".error").filter(has_text="No set keeps all wishes").wait_for()
    page.get_by_label("Tracks", exact=True).fill("3")
    page.get_by_label("Name").fill("Friday")
    page.get_by_label("Begins with").fill("alpha")
    page.get_by_label("Energy").select_option("rise")
    page.get_by_role("button", name="Build").click()
    page.get_by_role("heading", name="Friday").wait_for()
    items = page.locator(".order li .what a")
    assert items.all_text_contents() == ["Alpha", "Beta", "Gamma"]
    shot(page, "set")
    assert serious(page) == []
    items.first.focus()
    page.keyboard.press("Alt+ArrowDown")
    assert items.all_text_contents() == ["Beta", "Alpha", "Gamma"]
    page.locator(".order li").nth(2).drag_to(page.locator(".order li").nth(0), target_position={"x": 300, "y": 3})
    assert items.all_text_contents() == ["Gamma", "Beta", "Alpha"]
    page.get_by_role("button", name="Save the order").click()
    page.get_by_text("Saved.").wait_for()
    assert items.all_text_contents() == ["Gamma", "Beta", "Alpha"]
    with engine.connect() as conn:
        assert conn.execute(select(playlists.c.kind)).scalar_one() == "edited"


def test_a_duplicate_is_decided_and_the_decision_taken_back(page: "Page", engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(
            text("UPDATE tracks SET audio_hash = 'same', file_hash = title, file_size = 10 * id WHERE title IN ('Alpha', 'Beta')")
        )
    rebuild_duplicates(engine)
    enter(page)
    page.goto("/duplicates")
    shot(page, "duplicates")
    assert serious(page) == []
    page.get_by_label("Keep Beta").check()
    page.get_by_role("button", name="Keep the chosen one").click()
    page.get_by_text("is decided").wait_for()
    page.get_by_role("button", name="Take it back").click()
    page.get_by_role("button", name="Keep the chosen one").wait_for()
    page.get_by_role("button", name="No duplicates").click()
    page.get_by_text("is decided: no duplicates").wait_for()


def test_an_export_is_begun_and_fetched(page: "Page") -> None:
    enter(page)
    page.goto("/exports?q=beta")
    page.get_by_label("Format").select_option("csv")
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as found:
        page.get_by_role("link", name="Download").click()
    assert "Beta" in found.value.path().read_text()


def test_an_export_for_a_dj_program_is_of_a_playlist_with_its_own_places(
    page: "Page", engine: Engine, shelf: dict[str, int], tmp_path: Path
) -> None:
    with engine.begin() as conn:
        number = create_playlist(conn, "Friday", [shelf["Beta"]]).id
    enter(page)
    page.goto("/exports")
    page.get_by_label("Format").select_option("csv")
    assert not page.get_by_text("For DJ programs and players").is_visible()
    page.get_by_text("Only some fields").click()
    page.get_by_label("bpm", exact=True).check()  # of another format: not sent
    page.goto(f"/playlists/{number}")
    page.get_by_role("link", name="Export this playlist").click()
    page.get_by_label("Format").select_option("rekordbox")
    assert page.locator("select[name=playlist] option:checked").text_content() == "Friday"
    page.get_by_label("Keys are written").select_option("camelot")
    page.get_by_label("Other places of the files").fill(f"{tmp_path}/Music=/Users/anna\n")
    page.get_by_label("tempo, key and grid as measured").check()
    shot(page, "export-dj")
    assert serious(page) == []
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as found:
        page.get_by_role("link", name="Download").click()
    written = found.value.path().read_text()
    assert 'Location="file://localhost/Users/anna/1.wav"' in written
    assert 'Tonality="9A"' in written
    assert "Alpha" not in written


def test_a_token_is_made_with_the_scopes_that_are_ticked(page: "Page", engine: Engine) -> None:
    enter(page)
    page.goto("/account")
    assert not page.get_by_label("admin", exact=True).is_visible()
    page.get_by_label("Name").fill("backup script")
    page.get_by_label("export", exact=True).check()
    page.get_by_role("button", name="Make a token").click()
    page.get_by_text("shown this once").wait_for()
    with engine.connect() as conn:
        assert sorted(conn.scalar(select(api_tokens.c.scopes)) or ()) == ["export", "read"]


def test_long_lists_lead_on_without_losing_the_place(page: "Page", engine: Engine) -> None:
    with engine.begin() as conn:
        for number in range(101):
            create_playlist(conn, f"List {number:03}")
    enter(page)
    page.goto("/playlists")
    rows = page.locator("#playlists tr")
    assert rows.count() == 100
    page.get_by_role("link", name="More").click()
    page.get_by_role("link", name="List 100").wait_for()
    assert rows.count() == 101
    assert not page.get_by_role("link", name="More").is_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_nothing_serious_stands_in_the_way_of_anybody(
    browser: "Browser", address: str, shelf: dict[str, int], scheme: Any, width: int
) -> None:
    page = browser.new_page(base_url=address, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto("/login")
    shot(page, f"login-{scheme}-{width}")
    assert serious(page) == []
    enter(page, "admin", "first-time-only-0")
    page.get_by_label("Password so far").fill("first-time-only-0")
    page.get_by_label("New password").fill("three good words here")
    page.get_by_role("button", name="Change the password").click()
    page.get_by_role("searchbox").wait_for()
    chosen = f"t={shelf['Alpha']}&t={shelf['Beta']}"
    looked_at = {
        "search": "/", "track": f"/tracks/{shelf['Alpha']}", "compare": f"/compare?{chosen}", "build": "/playlists/build",
        "doubtful": "/doubtful", "statistics": "/statistics", "exports": "/exports", "account": "/account", "admin": "/admin",
        "users": "/admin/users", "audit": "/admin/audit",
    }  # fmt: skip
    for name, place in looked_at.items():
        page.goto(place)
        shot(page, f"{name}-{scheme}-{width}")
        assert serious(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than the window"
    page.goto("/")
    page.keyboard.press("Shift+Tab")  # from the search box backwards: everything can be reached
    assert page.evaluate("document.activeElement !== document.body")
    page.close()
