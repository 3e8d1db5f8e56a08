"""Dagster: assets, checks, partitions, resources, jobs, sensors, schedules, automation.

What belongs here: which asset follows which, what a run covers, what people see in the UI. What does not: the work
itself (`map4_pipeline.ingest`, `map4_pipeline.reports`, ...), SQL (`map4_pipeline.store`). An asset function reads
like a sentence; the work is called by name.
"""

import warnings

# Dagster tells every process that imports a chunked asset that the parameter is in beta; the version is pinned.
warnings.filterwarnings("ignore", message="Parameter `(backfill_policy|freshness_policy|owners|kinds)`")
