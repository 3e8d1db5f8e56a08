"""Exit codes and what users read when something is wrong."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from sqlalchemy.exc import OperationalError

from map4_pipeline import settings as settings_module
from map4_pipeline.cli import failures
from map4_pipeline.cli.main import COMMANDS
from map4_pipeline.store.database import explain
from map4_pipeline.store.errors import InfrastructureError, StoreError, what_to_do

from .conftest import Invoke, Map4, Seeded

UNREACHABLE = "postgresql://me:s3cret@127.0.0.1:1/none"


def test_the_program_imports_nothing_until_a_command_is_called() -> None:
    code = "import sys, map4_pipeline.cli.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"rich", "pydantic", "sqlalchemy", "dagster", "numpy", "pebble"} & {name.split(".")[0] for name in loaded}


def test_help_names_every_command(map4: Map4) -> None:
    done = map4("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


def test_every_command_has_help(map4: Map4) -> None:
    code = (
        "from click.testing import CliRunner; from map4_pipeline.cli.main import COMMANDS, main\n"
        "for name in COMMANDS: print(name, CliRunner().invoke(main, [name, '--help']).exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {line.split()[1] for line in done.stdout.splitlines()} == {"0"}


def test_wrong_use_is_exit_code_2_with_a_hint(map4: Map4, invoke: Invoke) -> None:
    done = map4("statsu")
    assert done.returncode == 2
    assert "Did you mean status?" in done.stderr
    assert invoke("tracks", "--failed", "--missing").exit_code == 2
    assert invoke("analyze").exit_code == 2


@pytest.mark.skipif(os.name == "nt", reason="not applicable: nothing asks a program to end there")
def test_a_command_is_told_to_end_before_it_has_begun() -> None:
    code = (
        "import os, signal; from map4_pipeline.cli import main\n"
        "main.main = lambda **_: os.kill(os.getpid(), signal.SIGTERM)\n"
        "main.run()"
    )
    done = subprocess.run([sys.executable, "-c", code, "ingest"], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "\nInterrupted. What was analysed is kept; the same command goes on from there.\n"


def test_a_question_without_a_terminal_says_what_to_add(invoke: Invoke, seeded: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    told = invoke("library", "remove", seeded.library.slug)
    assert told.exit_code == 2
    assert "without a terminal nobody gives it. Nothing was changed: add --yes." in told.stderr
    assert "Interrupted" not in told.stderr

    def answer_no(*_: object, **__: object) -> None:
        raise click.Abort

    monkeypatch.setattr(click, "confirm", answer_no)
    told = invoke("library", "remove", seeded.library.slug)
    assert (told.exit_code, told.stderr) == (3, "Nothing was changed.\n")


def test_a_wrong_setting_is_named(map4: Map4) -> None:
    done = map4("status", MAP4_WORKERS="many")
    assert done.returncode == 2
    assert done.stderr == "map4: A setting cannot be used. MAP4_WORKERS has to be a whole number, not 'many'\n"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MAP4_WORKERS", "0", "has to be 1 or more, not '0'"),
        ("MAP4_GUARD_SHARE", "lots", "has to be a number, not 'lots'"),
        ("MAP4_PASSWORD_LOGIN", "perhaps", "has to be true or false, not 'perhaps'"),
        ("MAP4_MIX_POLICY", "loose", "has to be 'strict' or 'extended', not 'loose'"),
    ],
)
def test_what_a_setting_has_to_be(
    name: str, value: str, said: str, clean_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(settings_module.SettingsError) as caught:
        settings_module.load_settings()
    assert str(caught.value) == f"{name} {said}"


def test_a_database_that_does_not_answer_is_exit_code_3(map4: Map4, home: Path, clean_environment: None) -> None:
    done = map4("status", "--json", DATABASE_URL=UNREACHABLE, MAP4_HOME=str(home))
    assert (done.returncode, done.stdout) == (3, "")
    assert "cannot be used" in done.stderr
    assert "s3cret" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="not applicable: root may write everywhere")
def test_a_home_that_cannot_be_written_is_exit_code_3(map4: Map4, home: Path, clean_environment: None) -> None:
    home.chmod(0o500)
    done = map4("status", MAP4_HOME=str(home / "inside"))
    assert done.returncode == 3
    assert "MAP4_HOME" in done.stderr


def test_a_home_that_is_a_file_is_exit_code_3(map4: Map4, home: Path, clean_environment: None) -> None:
    (home / "file").touch()
    done = map4("status", MAP4_HOME=str(home / "file"))
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InfrastructureError("The disk is gone."), 3, "The disk is gone."),
        (StoreError("There is no such library."), 2, "There is no such library."),
        (OSError(errno.ENOSPC, "No space left on device", "/music"), 3, "/music"),
        (PermissionError(errno.EACCES, "Permission denied", "/var/x"), 3, "/var/x"),
        (MemoryError(), 3, "MAP4_WORKERS"),
        (OperationalError("SELECT 1", {}, Exception("could not extend file: No space left on device")), 3, "Make room"),
    ],
)
def test_failures_that_users_can_do_something_about(
    error: Exception, code: int, words: str, monkeypatch: pytest.MonkeyPatch, clean_environment: None
) -> None:
    monkeypatch.setenv("DATABASE_URL", UNREACHABLE)
    told = failures.explain(error)
    assert told is not None
    assert told[0] == code
    assert words in told[1]
    assert "s3cret" not in told[1]


def test_what_cannot_be_written_or_reached_is_told_by_its_reason() -> None:
    assert what_to_do(OSError(errno.ENOSPC, "No space left on device")) == "Free some space or choose another place."
    assert what_to_do(PermissionError(errno.EACCES, "Permission denied")) == "Choose a place that this user may write to."
    refused = OperationalError("SELECT 1", {}, Exception("Connection refused"))
    assert explain(refused, UNREACHABLE).endswith("Is the server running there? Check host and port in DATABASE_URL.")
    assert "`map4 db status` shows it" in explain(refused, "postgresql://me@/none?host=%2Frun%2Fmap4")


def test_a_failure_is_recognised_however_it_is_wrapped() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("step failed") from error
    except RuntimeError as wrapped:
        told = failures.explain(wrapped)
    assert told is not None
    assert "full" in told[1]


def test_a_defect_is_told_in_a_sentence_and_logged(
    home: Path, clean_environment: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAP4_HOME", str(home))
    monkeypatch.setenv("DATABASE_URL", UNREACHABLE)
    settings_module.settings.cache_clear()
    with pytest.raises(KeyError) as caught:
        raise KeyError("a \x1b[2J key with s3cret")
    assert failures.report_failure(caught.value) == 3
    told = capsys.readouterr().err
    log = home / "logs" / "map4-error.log"
    assert str(log) in told
    assert "\x1b" not in told
    assert "Traceback" in log.read_text()
    assert "s3cret" not in log.read_text()


def test_debugging_shows_the_traceback(map4: Map4, home: Path, clean_environment: None) -> None:
    done = map4("status", DATABASE_URL=UNREACHABLE, MAP4_HOME=str(home), MAP4_DEBUG="1")
    assert "Traceback" in done.stderr


def test_doctor_names_what_is_wrong(map4: Map4, home: Path, clean_environment: None) -> None:
    done = map4("doctor", "--json", DATABASE_URL=UNREACHABLE, MAP4_HOME=str(home), MAP4_WORKER="3", REDIS_URL="none")
    assert done.returncode == 3
    found = json.loads(done.stdout)
    states = {(check["name"], check["state"]) for check in found["checks"]}
    assert found["ok"] is False
    assert ("database", "fail") in states
    assert ("decoders", "ok") in states
    assert ("engine", "ok") in states
    assert "s3cret" not in done.stdout
    assert ("settings", "ok") not in states
    assert any("MAP4_WORKERS?" in (check["advice"] or "") for check in found["checks"])


@pytest.mark.parametrize("command", [["tracks"], ["queue", "list"], ["duplicates", "list"], ["annotate"]])
def test_more_rows_than_there_can_be_are_refused_in_words(invoke: Invoke, command: list[str]) -> None:
    told = invoke(*command, "--limit", "9" * 20)
    assert told.exit_code == 2
    assert "is not in the range" in told.stderr
