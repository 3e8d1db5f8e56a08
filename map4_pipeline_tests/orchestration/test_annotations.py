"""The asset `ai_annotations` on a Dagster instance: counts, cost, failures per directory, and its checks."""

from decimal import Decimal

import pytest
from dagster import DagsterInstance, materialize
from sqlalchemy import Engine, text

from map4_pipeline import settings as settings_module
from map4_pipeline.orchestration.assets import ALL_ASSETS, ai_annotations
from map4_pipeline.orchestration.checks import annotation_schema, contradiction_rate
from map4_pipeline.orchestration.partitions import register_partitions
from map4_pipeline.orchestration.resources import default_resources
from map4_pipeline.settings import Settings

from ..annotate.library import fill
from ..annotate.wire import KEY, serve
from .work import metadata


def test_a_directory_is_annotated_within_the_budget_and_checked(
    engine: Engine, settings: Settings, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine, 14, 2)
    keys = register_partitions(instance, engine)
    with serve() as wire:
        for name, value in {
            "ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": wire.url, "MAP4_AI_BUDGET_USD_PER_DAY": "1",
            "MAP4_AI_TIMEOUT_SECONDS": "3",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        settings_module.settings.cache_clear()
        wire.script.extend(["bad_json", "bad_json", "refusal"] + ["refusal"] * 20)
        first = materialize(
            [*ALL_ASSETS], selection=[ai_annotations], instance=instance, partition_key=keys[0], resources=default_resources()
        )
        assert first.success
        refused = metadata(instance, "ai_annotations", keys[0])
        assert (refused["annotated"], refused["failed"]) == (0, 7)
        assert "failures" in refused
        wire.script.clear()
        second = materialize(
            [*ALL_ASSETS, annotation_schema, contradiction_rate],
            selection=[ai_annotations],
            instance=instance,
            partition_key=keys[1],
            resources=default_resources(),
        )
        assert second.success
        # Keys are in no event and no run configuration.
        logged = str([str(entry) for run in instance.get_runs() for entry in instance.all_logs(run.run_id)])
        assert KEY not in logged + str([run.run_config for run in instance.get_runs()])
    said = metadata(instance, "ai_annotations", keys[1])
    assert (said["annotated"], said["failed"], said["reused"]) == (7, 0, 0)
    assert said["input_tokens"] > 0
    with engine.connect() as conn:
        booked = conn.execute(text("SELECT sum(booked_usd) FROM ai_spending")).scalar_one()
        assert conn.execute(text("SELECT count(*) FROM ai_spending WHERE run_id = :r"), {"r": second.run_id}).scalar_one() == 1
    assert said["cost_usd"] + refused["cost_usd"] == pytest.approx(float(booked))
    assert booked < Decimal(1)


def test_the_checks_see_a_broken_annotation_and_contradictions(
    engine: Engine, settings: Settings, instance: DagsterInstance
) -> None:
    from map4_pipeline.store.annotations import contradiction_counts, stored_problems

    fill(engine, 2)
    with engine.begin() as conn:
        conn.execute(
            text("UPDATE tracks SET ai_provider = 'x', ai_analysis = CAST(:a AS jsonb) WHERE id = (SELECT min(id) FROM tracks)"),
            {"a": '{"genre": "Polka", "claims": {}, "contradictions": [{"claim": "key"}]}'},
        )
        looked, bad, examples = stored_problems(conn)
        assert (looked, bad) == (1, 1)
        assert "confidence is missing" in examples[0][2]
        assert contradiction_counts(conn) == (1, 1)
