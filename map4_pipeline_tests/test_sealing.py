"""Secret settings that are kept encrypted: read with the key, useless without it, and the environment goes before."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from map4_pipeline import settings as settings_module
from map4_pipeline.cli.secrets import secrets
from map4_pipeline.sealing import FILE
from map4_pipeline.settings import SettingsError, load_settings

KEY = "k" * 40


@pytest.fixture(autouse=True)
def sealed(home: Path, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAP4_HOME", str(home))
    monkeypatch.setenv("MAP4_SECRET_KEY", KEY)


def run(*arguments: str, said: str = "") -> Result:
    settings_module.settings.cache_clear()
    return CliRunner().invoke(secrets, list(arguments), input=said)


def test_a_sealed_setting_is_read_with_its_key_and_is_nowhere_to_be_seen(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "encrypted" in run("set", "OPENAI_API_KEY", said="sk-something-secret\n").output
    assert run("set", "MAP4_OIDC_CLIENT_SECRET", said="another secret").exit_code == 0
    file = home / FILE
    assert "secret-" not in file.read_text()
    assert "another secret" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert run("list").output.split() == ["MAP4_OIDC_CLIENT_SECRET", "OPENAI_API_KEY"]
    found = load_settings()
    assert found.openai_api_key is not None
    assert found.openai_api_key.get_secret_value() == "sk-something-secret"
    assert found.oidc_client_secret is not None
    monkeypatch.setenv("OPENAI_API_KEY", "from the environment")
    again = load_settings().openai_api_key
    assert again is not None
    assert again.get_secret_value() == "from the environment"
    assert run("remove", "OPENAI_API_KEY").exit_code == 0
    assert run("list").output.split() == ["MAP4_OIDC_CLIENT_SECRET"]


@pytest.mark.parametrize(
    ("key", "said"), [("x" * 40, "another MAP4_SECRET_KEY"), ("", "set MAP4_SECRET_KEY"), ("short", "32 characters")]
)
def test_without_its_key_a_sealed_setting_is_told_not_ignored(monkeypatch: pytest.MonkeyPatch, key: str, said: str) -> None:
    run("set", "OPENAI_API_KEY", said="sk-something-secret")
    monkeypatch.setenv("MAP4_SECRET_KEY", key)
    with pytest.raises(SettingsError, match=said):
        load_settings()


def test_a_value_cannot_be_put_under_another_name(home: Path) -> None:
    run("set", "OPENAI_API_KEY", said="sk-something-secret")
    file = home / FILE
    file.write_text(file.read_text().replace("OPENAI_API_KEY", "MAP4_ALERT_WEBHOOK"))
    with pytest.raises(SettingsError, match="encrypted with another"):
        load_settings()
    file.write_text("{")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings()


def test_only_what_is_secret_is_kept_and_only_with_a_key(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    assert "no secret setting" in run("set", "MAP4_API_PORT", said="1").output
    assert "no value" in run("set", "OPENAI_API_KEY").output
    assert "No setting" in run("remove", "OPENAI_API_KEY").output
    monkeypatch.delenv("MAP4_SECRET_KEY")
    assert "set MAP4_SECRET_KEY" in run("set", "OPENAI_API_KEY", said="x").output
    assert not (home / FILE).exists()
