"""Logging in elsewhere in a real browser, to the issuer and back; and leaving for good."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, text

from map4_pipeline.api import passwords
from map4_pipeline.api.app import create_app
from map4_pipeline.api.federation import Federation
from map4_pipeline.settings import Settings
from map4_pipeline.store.accounts import create_user

from ..integration.running import chromium
from .conftest import PASSWORD, served
from .issuer import CLIENT_ID, CLIENT_SECRET, issuer
from .test_browser import enter, serious

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture
def page(settings: Settings, engine: Engine) -> Iterator["Page"]:
    """A browser before an application with an issuer beside it."""
    from pydantic import SecretStr

    with engine.begin() as conn:
        create_user(conn, "root", "admin", library_ids=None)
        create_user(conn, "anna", "user", password_hash=passwords.hash_password(PASSWORD), library_ids=None)
    with issuer() as other, chromium() as browser:
        known = {"oidc_issuer": other.address, "oidc_client_id": CLIENT_ID, "oidc_client_secret": SecretStr(CLIENT_SECRET)}
        app = create_app(settings, engine)
        with served(app) as url:
            app.state.context.federation = Federation(settings.model_copy(update={**known, "public_url": url}))
            made = browser.new_page(base_url=url)
            made.set_default_timeout(60_000)
            wrong: list[str] = []
            made.on("pageerror", lambda error: wrong.append(str(error)))
            made.on("console", lambda message: wrong.append(message.text) if "Content Security" in message.text else None)
            yield made
            assert wrong == []


def test_a_login_elsewhere_is_connected_and_used_and_the_account_erased(page: "Page", engine: Engine) -> None:
    enter(page)
    page.get_by_role("searchbox").wait_for()
    page.goto("/account")
    connect = page.locator("form", has=page.get_by_label("Connect"))
    connect.get_by_label("Password").fill("wrong password!")
    connect.get_by_role("button", name="Connect").click()
    page.get_by_text("The password is wrong.").wait_for()
    connect.get_by_label("Password").fill(PASSWORD)
    connect.get_by_role("button", name="Connect").click()
    page.get_by_role("button", name="Disconnect").wait_for()
    assert serious(page) == []
    page.get_by_role("banner").get_by_role("button", name="Log out").click()
    page.get_by_role("link", name="single sign-on").wait_for()
    assert serious(page) == []
    page.get_by_role("link", name="single sign-on").click()
    page.get_by_role("searchbox").wait_for()

    page.goto("/account")
    with page.expect_download() as taken:
        page.get_by_role("link", name="Take away all").click()
    assert taken.value.suggested_filename == "map4-anna.json"
    page.get_by_text("Erase the account").click()
    erase = page.locator("form", has=page.get_by_role("button", name="Erase my account"))
    erase.get_by_label("Password").fill(PASSWORD)
    page.on("dialog", lambda dialog: dialog.accept())
    erase.get_by_role("button", name="Erase my account").click()
    page.get_by_role("link", name="single sign-on").click()
    page.get_by_text("No account here belongs to this login").wait_for()
    with engine.connect() as conn:
        assert conn.execute(text("SELECT name FROM users")).scalars().all() == ["root"]
