"""Resources: plain objects of MAP4, built from settings, handed to assets."""

from collections.abc import Callable
from typing import Any, ClassVar

from dagster import ConfigurableResource, InitResourceContext
from pydantic import Field, PrivateAttr

from map4_pipeline.ingest.pool import WorkerPool
from map4_pipeline.ingest.progress import Progress, Silent
from map4_pipeline.ingest.workbench import Workbench
from map4_pipeline.settings import settings


class Map4Resource(ConfigurableResource):  # type: ignore[type-arg]
    """MAP4's workbench: database, workers, settings. Everything comes from the environment; see the README's table."""

    nice: int = Field(default=0, description="Added to the niceness of the worker processes.")

    _bench: Workbench | None = PrivateAttr(default=None)
    # Of the class: Dagster makes a new object from the configuration for each run, without private attributes.
    _progress: ClassVar[Callable[[], Progress]] = Silent

    _pool: ClassVar[WorkerPool | None] = None

    def with_workers(self, pool: WorkerPool | None) -> "Map4Resource":
        """Let all runs of this process use workers that are there already; who started them ends them."""
        Map4Resource._pool = pool
        return self

    def with_progress(self, factory: Callable[[], Progress]) -> "Map4Resource":
        """Let somebody watch all runs of this process; for those that the command line executes in itself."""
        # A plain function would become a method.
        Map4Resource._progress = staticmethod(factory)
        return self

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Start what a run needs; every line that this process logs meanwhile says which run it is."""
        self._bench = None
        if context.run is not None:
            from map4_pipeline.observe.logs import bind_process
            from map4_pipeline.orchestration.run_log import fields_of_run, log_of_this_process

            log_of_this_process()
            bind_process(**fields_of_run(context.run.run_id, context.run.tags))

    def teardown_after_execution(self, context: InitResourceContext) -> None:
        """Close the database connections."""
        if context.run is not None:
            from map4_pipeline.observe.logs import bind_process

            bind_process(run_id=None, request_id=None)
        if self._bench is not None:
            self._bench.engine.dispose()
            self._bench = None

    def bench(self) -> Workbench:
        """Return the workbench, made at the first call."""
        if self._bench is None:
            from map4_pipeline.store.database import open_database

            configured = settings()
            own = type(self)
            self._bench = Workbench(configured, open_database(configured), own._progress(), self.nice, own._pool)
        return self._bench


def default_resources() -> dict[str, Any]:
    """Return the resources of a real deployment."""
    return {"map4": Map4Resource()}
