"""What the fork server loads before the first worker, so that each starts with the engine in (shared) memory."""

from map4_pipeline.ingest.worker import warm_up

warm_up()
