"""Dagster's home and storage: made by MAP4, changed by nobody but the user, quick with many partitions."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from dagster import (
    AssetExecutionContext,
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DynamicPartitionsDefinition,
    RunsFilter,
    asset,
    materialize,
)
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster_postgres.event_log.event_log import PostgresEventLogStorage
from dagster_postgres.schedule_storage.schedule_storage import PostgresScheduleStorage
from sqlalchemy import create_engine, event, inspect, text

from map4_pipeline.orchestration import instance as module
from map4_pipeline.orchestration import storage
from map4_pipeline.orchestration.definitions import build_defs
from map4_pipeline.orchestration.instance import code_server_socket, instance_template, prepare_home
from map4_pipeline.orchestration.orphans import owner_tag
from map4_pipeline.orchestration.scope import OWNER_TAG
from map4_pipeline.orchestration.storage import BatchingEventLogStorage, FileComputeLogManager, Map4Storage
from map4_pipeline.settings import Settings
from map4_pipeline.store.errors import InfrastructureError

from .work import QUIET, events, materialized

MANY = 200


@pytest.fixture
def no_dagster_home(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set and deleted, so that what the code under test sets is taken back.
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.delenv("DAGSTER_HOME")


def test_a_home_is_made_from_the_template(settings: Settings, no_dagster_home: None) -> None:
    home = prepare_home(settings)
    assert home == settings.dagster_home
    assert home.is_absolute()
    assert (home / "dagster.yaml").read_bytes() == instance_template().read_bytes()
    assert os.environ["DAGSTER_HOME"] == str(home)
    assert int(os.environ["DAGSTER_EVENT_BATCH_SIZE"]) >= 100


def test_a_home_that_map4_wrote_follows_the_template_and_one_that_a_user_changed_does_not(
    settings: Settings, no_dagster_home: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = prepare_home(settings) / "dagster.yaml"
    newer = tmp_path / "newer.yaml"
    newer.write_text(instance_template().read_text() + "\n# newer\n")
    monkeypatch.setattr(module, "instance_template", lambda: newer)
    prepare_home(settings)
    assert target.read_text().endswith("# newer\n")
    target.write_text("telemetry:\n  enabled: false\n# mine\n")
    prepare_home(settings)
    newer.write_text("# newest\n")
    prepare_home(settings)
    assert target.read_text().endswith("# mine\n")


def test_a_dagster_home_that_is_set_is_used_as_it_is(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert prepare_home(settings) == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_cannot_be_made_is_told_in_a_sentence(settings: Settings, no_dagster_home: None, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InfrastructureError, match="Set MAP4_HOME to a folder that can"):
        prepare_home(settings.model_copy(update={"home": tmp_path / "file"}))


def run_of(instance: DagsterInstance, **tags: str) -> DagsterRun:
    return instance.create_run_for_job(build_defs().resolve_job_def("refresh_library"), tags=tags)


def test_a_run_of_map4_ingest_is_where_the_ui_looks_for_it(instance: DagsterInstance, settings: Settings) -> None:
    run = run_of(instance, **{OWNER_TAG: owner_tag()})
    assert run.remote_job_origin is not None
    assert run.remote_job_origin.location_name == "map4"
    assert run.remote_job_origin.job_name == "refresh_library"
    repository = run.remote_job_origin.repository_origin
    assert repository.code_location_origin.socket == str(code_server_socket(settings.dagster_home))  # type: ignore[attr-defined]
    # The timeline and the pages of jobs filter by this label.
    found = instance.get_runs(RunsFilter(tags={".dagster/repository": "__repository__@map4", "dagster/code_location": "map4"}))
    assert [one.run_id for one in found] == [run.run_id]


def test_a_run_is_given_no_code_location_that_is_not_known(
    instance: DagsterInstance, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run_of(instance).remote_job_origin is None, "whoever executes this one is not `map4 ingest`"
    tags = {OWNER_TAG: owner_tag()}
    again = run_of(instance, **tags, **{"dagster/parent_run_id": "of a run that is executed again"})
    assert again.remote_job_origin is None
    workspace = settings.dagster_home / "workspace.yaml"
    for written in ("load_from: [{grpc_server: {port: 4000, location_name: mine}}]", "load_from: []", "load: what", ""):
        workspace.write_text(written)
        assert run_of(instance, **tags).remote_job_origin is None, written
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert run_of(instance, **tags).remote_job_origin is None


def test_the_code_location_of_a_home_stays_the_same(settings: Settings, no_dagster_home: None) -> None:
    home = prepare_home(settings)
    workspace = (home / "workspace.yaml").read_text()
    assert json.dumps(str(code_server_socket(home))) in workspace
    assert prepare_home(settings) == home
    assert (home / "workspace.yaml").read_text() == workspace
    deep = home / ("d" * 100)
    deep.mkdir()
    assert len(os.fsencode(code_server_socket(deep))) <= 100
    assert code_server_socket(deep) == code_server_socket(deep)


def count_statements(instance: DagsterInstance) -> list[str]:
    """Return a list that grows by every statement on the event log."""
    statements: list[str] = []
    engine = instance.event_log_storage._engine  # type: ignore[attr-defined]

    def note(_c: Any, _cursor: Any, statement: str, _p: Any, _context: Any, _many: bool) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    return statements


def many_partitions(instance: DagsterInstance) -> list[str]:
    keys = [f"k{number:03}" for number in range(MANY)]
    instance.add_dynamic_partitions("many", keys)
    partitions = DynamicPartitionsDefinition(name="many")

    @asset(partitions_def=partitions)
    def one(context: AssetExecutionContext) -> None:
        for key in context.partition_keys:
            context.add_asset_metadata({"n": int(key[1:])}, partition_key=key)

    @asset(partitions_def=partitions, deps=[one])
    def two(context: AssetExecutionContext) -> None:
        assert len(context.partition_keys) == MANY

    result = materialize(
        [one, two],
        instance=instance,
        tags={"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]},
        run_config=QUIET,
    )
    assert result.success
    return keys


def verify_many(instance: DagsterInstance, keys: list[str]) -> None:
    for name in ("one", "two"):
        planned = events(instance, name, DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
        assert sorted(record.partition_key for record in planned) == keys
        assert sorted(materialized(instance, name), key=str) == keys
        assert instance.get_materialized_partitions(AssetKey(name)) == set(keys)
        record = instance.get_asset_records([AssetKey(name)])[0]
        assert record.asset_entry.last_run_id == planned[-1].run_id
    numbers = sorted(record.asset_materialization.metadata["n"].value for record in events(instance, "one"))
    assert numbers == list(range(MANY))


def test_events_of_many_partitions_are_written_in_batches_and_all_are_there(instance: DagsterInstance) -> None:
    log = instance.event_log_storage
    # The pinned Dagster still has what the batching class needs; if not, look at map4_pipeline.orchestration.storage.
    assert isinstance(log, BatchingEventLogStorage)
    statements = count_statements(instance)
    keys = many_partitions(instance)
    inserts = [statement for statement in statements if statement.startswith("INSERT INTO event_logs")]
    # 2 assets x 200 partitions x (planned + materialized) = 800 events, and some of the run itself.
    assert len(inserts) < 100
    # Dagster asks once a partition and asset whether it is known; nothing else is asked for each.
    writes = [statement for statement in statements if not statement.startswith("SELECT")]
    assert len(writes) < 100
    # Whether the tables are those of an old release is asked once, not before every event.
    assert len([statement for statement in statements if "pg_catalog" in statement]) < 12
    verify_many(instance, keys)


def test_runs_of_the_command_line_start_no_processes_to_keep_what_they_print(settings: Settings, no_dagster_home: None) -> None:
    with module.open_instance(settings, captures=False) as quiet:
        assert isinstance(quiet.compute_log_manager, NoOpComputeLogManager)
        assert isinstance(quiet.event_log_storage, BatchingEventLogStorage)
        assert not quiet.is_ephemeral
    with module.open_instance(settings) as usual:
        assert isinstance(usual.compute_log_manager, FileComputeLogManager)
    written = settings.dagster_home / "dagster.yaml"
    kept = settings.home / "kept"
    written.write_text(written.read_text().replace("Manager\n  config: {}", f"Manager\n  config: {{base_dir: {kept}}}"))
    with module.open_instance(settings, captures=False) as chosen:
        assert isinstance(chosen.compute_log_manager, FileComputeLogManager)
        assert chosen.compute_log_manager.get_captured_local_path(["run"], "out").startswith(str(kept))


def test_what_a_step_prints_is_kept_without_a_program_that_a_kill_could_leave_behind(
    instance: DagsterInstance, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    children: list[str] = []

    @asset
    def talkative() -> None:
        print("said")
        print("complained", file=sys.stderr)
        children.extend(child.name() for child in psutil.Process().children(recursive=True))

    before = {child.name() for child in psutil.Process().children(recursive=True)}
    assert materialize([talkative], instance=instance, run_config=QUIET).success
    assert set(children) <= before
    files = sorted((settings.dagster_home / "storage").rglob("compute_logs/*"))
    assert {file.suffix: file.read_text().strip() for file in files} == {".complete": "", ".err": "complained", ".out": "said"}
    print("afterwards")
    assert capfd.readouterr().out == "afterwards\n"


def test_without_what_batching_needs_the_stock_class_does_the_work(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_NEEDED", (*storage._NEEDED, "gone_in_a_later_release"))
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    monkeypatch.setattr(f"{__name__}.MANY", 20)
    with module.open_instance(settings) as instance:
        assert type(instance.event_log_storage) is PostgresEventLogStorage
        verify_many(instance, many_partitions(instance))


def test_the_instance_keeps_everything_in_postgresql_beside_map4s_database(instance: DagsterInstance, settings: Settings) -> None:
    assert settings.database_url is not None
    name = settings.database_url.get_secret_value().partition("?")[0].rpartition("/")[2]
    url = instance.run_storage._engine.url  # type: ignore[attr-defined]
    assert url.database == f"{name}_dagster"
    assert not list(settings.dagster_home.rglob("*.db"))


def test_dagsters_storage_can_be_named(settings: Settings, empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from map4_pipeline import settings as settings_module

    monkeypatch.setenv("DAGSTER_DATABASE_URL", empty_database)
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    settings_module.settings.cache_clear()
    with module.open_instance(settings_module.settings()) as instance:
        instance.add_dynamic_partitions("directory", ["x"])
        name = empty_database.partition("?")[0].rpartition("/")[2]
        assert instance.run_storage._engine.url.database == name  # type: ignore[attr-defined]


def test_tables_that_a_killed_process_left_half_made_are_made_anew(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = empty_database.replace("postgresql://", "postgresql+psycopg2://")

    def killed(self: Any) -> None:
        with self.connect() as connection:
            connection.execute(text("CREATE TABLE jobs (id INTEGER)"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PostgresScheduleStorage, "_init_db", killed)
        with pytest.raises(KeyboardInterrupt):
            Map4Storage(url)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE dynamic_partitions"))
    made = Map4Storage(url)
    made.event_log_storage.add_dynamic_partitions("directory", ["a"])
    assert list(Map4Storage(url).event_log_storage.get_dynamic_partitions("directory")) == ["a"]
    assert made.schedule_storage.all_instigator_state() == []
    assert not [name for name in inspect(engine).get_table_names() if name.startswith("map4")]
    engine.dispose()
