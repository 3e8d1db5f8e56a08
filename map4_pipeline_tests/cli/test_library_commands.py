"""Commands that read the library: status, tracks, report, library, db."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import Engine, text

from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.settings import Settings
from map4_pipeline.store.postgres_server import EmbeddedPostgres

from ..postgres import careless
from .conftest import FORMULA, HOSTILE, Invoke, Map4, Seeded

# --- tracks --------------------------------------------------------------------------------------------------------------


def test_tracks_lists_what_is_there_and_analysed(invoke: Invoke, seeded: Seeded) -> None:
    lines = invoke("tracks").stdout.splitlines()
    assert len(lines) == 4
    assert {"title", "artist", "BPM", "key", "energy", "LUFS", "length"} <= set(lines[0].split())
    assert "Gone" not in "".join(lines)
    assert "three.mp3" in lines[3]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_numbers_keep_their_width_on_any_terminal(
    columns: int, invoke: Invoke, seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.cells import cell_len

    monkeypatch.setenv("COLUMNS", str(columns))
    lines = invoke("tracks").stdout.splitlines()
    assert all(cell_len(line) <= columns for line in lines)
    line = next(line for line in lines if "A Title" in line)
    assert "128.0" in line
    assert "A minor" in line
    assert line.endswith("4:05")
    assert lines[-1].endswith("1:01:40")


def test_hostile_tags_do_not_act_on_the_terminal(invoke: Invoke, seeded: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (["tracks"], ["tracks", "--json"], ["tracks", "--format", "csv"], ["tracks", "--all"], ["status"]):
        shown = invoke(*arguments).stdout
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown), arguments
    # Joiners are no danger, and emoji fall apart without them.
    monkeypatch.setenv("COLUMNS", "300")
    assert "👩\u200d🎤" in invoke("tracks").stdout


def test_tracks_json_has_the_names_of_analyze_and_loses_nothing(invoke: Invoke, seeded: Seeded) -> None:
    found = [json.loads(line) for line in invoke("tracks", "--json").stdout.splitlines()]
    by_name = {record["file_name"]: record for record in found}
    assert set(by_name) == {"one.mp3", "two.mp3", "three.mp3"}
    two = by_name["two.mp3"]
    assert two["title"] == HOSTILE
    assert list(two)[:3] == ["path", "status", "error"]
    # JSONB has an order of its own.
    assert list(two["hamms"]) == list(DIMENSIONS)
    assert two["bpm_alternatives"] == [{"value": 64.02, "probability": 0.05}]
    assert by_name["one.mp3"]["bpm_alternatives"] == []
    assert by_name["three.mp3"]["null_reasons"] == {"bpm": "silence"}


def test_tracks_csv_is_safe_to_open_in_a_spreadsheet(invoke: Invoke, seeded: Seeded) -> None:
    rows = list(csv.DictReader(io.StringIO(invoke("tracks", "--format", "csv").stdout)))
    assert f"'{FORMULA}" in {row["artist"] for row in rows}
    assert {row["loudness_lufs"] for row in rows} == {"-9.31", ""}


def test_tracks_in_other_states(invoke: Invoke, seeded: Seeded) -> None:
    failed = invoke("tracks", "--failed").stdout
    assert f"{seeded.library.root_text}/album/broken.mp3\n" in failed
    assert "damaged: The end is missing." in failed
    (missing,) = invoke("tracks", "--missing", "--json").stdout.splitlines()
    assert json.loads(missing)["missing_since"].startswith("2026-01-02")
    gone = invoke("tracks", "--missing").stdout
    assert ("missing since 2026-01-02" in gone, "BPM" in gone) == (True, False)
    assert len(invoke("tracks", "--all", "--json").stdout.splitlines()) == 5
    assert len(invoke("tracks", "--json", "--limit", "2").stdout.splitlines()) == 2


@pytest.mark.skipif(os.name == "nt", reason="not applicable: there is no head")
@pytest.mark.parametrize("output", ["json", "table"])
def test_tracks_into_head(output: str, seeded: Seeded, engine: Engine) -> None:
    with engine.begin() as conn:
        # More than a pipe holds.
        conn.execute(
            text(
                "INSERT INTO tracks (library_id, directory_id, relative_path, file_path, file_name, status, title) "
                "SELECT library_id, directory_id, relative_path || convert_to(n::text, 'UTF8'), file_path || n, file_name, 'ok', "
                "repeat('long ', 8) FROM tracks, generate_series(1, 3000) n WHERE file_name = 'one.mp3'"
            )
        )
    program = f"{sys.executable} -c 'from map4_pipeline.cli.main import run; run()' tracks --format {output}"
    script = f"set -o pipefail; {program} | head -n 2"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2


def test_an_empty_library_says_how_to_begin(invoke: Invoke, settings: Settings) -> None:
    assert "map4 ingest" in invoke("tracks").stdout
    assert "map4 ingest" in invoke("status").stdout
    assert "map4 ingest" in invoke("library", "list").stdout
    assert invoke("tracks", "--json").stdout == ""
    result = invoke("report")
    assert result.exit_code == 2


# --- status --------------------------------------------------------------------------------------------------------------


def test_status_json(invoke: Invoke, seeded: Seeded) -> None:
    result = invoke("status", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert found["files"] == {
        "seen": 5, "analysed": 3, "reused": 0, "unchanged": 0, "failed": 1, "skipped": 1, "missing": 1,
    }  # fmt: skip
    assert found["tracks"] == {"total": 5, "ok": 3, "failed": 1, "pending": 0, "missing": 1}
    (library,) = found["libraries"]
    assert (library["tracks"], library["failed"], library["missing"]) == (3, 1, 1)
    assert library["last_scan_status"] == "guarded"
    assert library["last_scan_message"] == "The library is not there."


def test_status_shows_a_guarded_scan_and_no_password(
    invoke: Invoke, seeded: Seeded, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.database_url is not None
    address = settings.database_url.get_secret_value()
    monkeypatch.setenv("DATABASE_URL", f"{address}{'&' if '?' in address else '?'}sslpassword=s3cret")
    done = invoke("status")
    assert done.exit_code == 0
    assert "stopped by a guard" in done.stdout
    assert "The library is not there." in done.stdout
    assert "Music [blue]" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr


# --- library -------------------------------------------------------------------------------------------------------------


def test_library_list(invoke: Invoke, seeded: Seeded) -> None:
    (line,) = invoke("library", "list", "--json").stdout.splitlines()
    assert json.loads(line)["slug"] == seeded.library.slug
    assert str(seeded.root) in invoke("library", "list").stdout


def test_relocate_moves_the_paths_and_keeps_the_tracks(invoke: Invoke, seeded: Seeded, engine: Engine) -> None:
    moved = seeded.root.with_name("Moved ünd")
    seeded.root.rename(moved)
    result = invoke("library", "relocate", seeded.library.slug, str(moved))
    assert result.exit_code == 0
    assert str(moved) in result.stdout
    with engine.connect() as conn:
        paths = set(conn.execute(text("SELECT file_path FROM tracks")).scalars())
        root = conn.execute(text("SELECT root, root_text FROM libraries")).one()
    assert paths == {f"{moved}/album/{name}.mp3" for name in ("one", "two", "three", "broken", "gone")}
    assert (bytes(root[0]), root[1]) == (os.fsencode(moved), str(moved))


def test_relocate_refuses_the_wrong_folder(invoke: Invoke, seeded: Seeded, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = invoke("library", "relocate", seeded.library.slug, str(elsewhere))
    assert done.exit_code == 2
    assert "Nothing was changed" in done.stderr
    assert invoke("library", "relocate", "nobody", str(elsewhere)).exit_code == 2
    assert invoke("library", "relocate", seeded.library.slug, str(tmp_path / "none")).exit_code == 2


def test_relocate_refuses_nested_roots(invoke: Invoke, seeded: Seeded, engine: Engine, tmp_path: Path) -> None:
    from map4_pipeline.store.libraries import register_library

    other = tmp_path / "other"
    (other / "inside").mkdir(parents=True)
    with engine.begin() as conn:
        register_library(conn, other)
    for place in (other, other / "inside"):
        done = invoke("library", "relocate", "--force", seeded.library.slug, str(place))
        assert done.exit_code == 2
        assert "other" in done.stderr


# --- report and db -------------------------------------------------------------------------------------------------------


def test_report_prints_where_it_is(invoke: Invoke, seeded: Seeded, tmp_path: Path) -> None:
    result = invoke("report", "--format", "html", "--output", str(tmp_path / "out"))
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path / 'out' / 'library.html'}\n"
    assert (tmp_path / "out" / "library.html").stat().st_size > 1000


def test_db_commands_leave_a_server_of_ones_own_alone(invoke: Invoke, settings: Settings) -> None:
    for command in ("start", "stop"):
        result = invoke("db", command)
        assert result.exit_code == 0
        assert "DATABASE_URL" in result.stdout
    psycopg2.connect(invoke("db", "url").stdout.strip()).close()
    assert json.loads(invoke("db", "status", "--json").stdout)["ready"] is True
    assert "up to date" in invoke("db", "migrate").stdout


def test_dump_and_restore(invoke: Invoke, seeded: Seeded, engine: Engine, tmp_path: Path) -> None:
    target = tmp_path / "library.dump"
    assert invoke("db", "dump", str(target)).stdout == f"{target}\n"
    with engine.begin() as conn:
        conn.execute(text("DELETE FROM tracks"))
    engine.dispose()
    refused = invoke("db", "restore", str(target))
    assert refused.exit_code == 3
    assert "--force" in refused.stderr
    done = invoke("db", "restore", str(target), "--force")
    assert done.exit_code == 0, done.stderr
    assert len(invoke("tracks", "--json", "--all").stdout.splitlines()) == 5
    assert invoke("db", "restore", str(tmp_path / "none")).exit_code == 2


@pytest.mark.slow
def test_db_url_keeps_the_embedded_server_up_until_stop(map4: Map4, home: Path, clean_environment: None) -> None:
    with careless():  # the cluster is made without waiting for the disk
        EmbeddedPostgres(home).start()
        EmbeddedPostgres(home).stop()
    home_ = str(home)
    done = map4("db", "url", MAP4_HOME=home_)
    try:
        assert done.returncode == 0, done.stderr
        (line,) = done.stdout.splitlines()
        psycopg2.connect(line).close()
        state = json.loads(map4("db", "status", "--json", MAP4_HOME=home_).stdout)
        assert (state["ready"], state["pinned"]) == (True, True)
        assert "stopped" in map4("db", "stop", MAP4_HOME=home_).stdout
        assert json.loads(map4("db", "status", "--json", MAP4_HOME=home_).stdout)["running"] is False
    finally:
        EmbeddedPostgres(home).stop(force=True)
