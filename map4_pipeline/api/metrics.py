"""What the application counts, and the page that Prometheus reads: these counts, the machine's figures, the database's.

Counts are added up over all processes of `map4 serve`: with several, prometheus-client keeps them in files of a folder that
`PROMETHEUS_MULTIPROC_DIR` names, which `map4 serve` sets before any process starts. Figures of machine and database are read when
they are asked for, the database's once in `FIGURES_SECONDS`; where it is away, they are left out and `map4_database_up` is 0.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from map4_pipeline import __version__
from map4_pipeline.observe.machine import Machine
from map4_pipeline.store.errors import InfrastructureError
from map4_pipeline.store.figures import Figures, read_figures

if TYPE_CHECKING:
    from map4_pipeline.settings import Settings
    from map4_pipeline.store.cache import Cache

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
#: The database's figures are read once in so many seconds, however many servers scrape.
FIGURES_SECONDS = 10.0
#: Seconds; the page's targets (100, 200 and 500 ms) are edges.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Metrics:
    """The application's counts.

    Parameters
    ----------
    settings : Settings
    engine : Engine
        Its pool is shown, and the database's figures are read through it.
    cache : Cache
    """

    def __init__(self, settings: "Settings", engine: Engine, cache: "Cache") -> None:
        self.registry = registry = CollectorRegistry()
        self._engine = engine
        self._shared = os.environ.get(MULTIPROCESS)
        self.requests = Counter("map4_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry)
        self.seconds = Histogram(
            "map4_http_request_duration_seconds", "Time to answer a request.", ("method", "route"), buckets=_BUCKETS,
            registry=registry,
        )  # fmt: skip
        self.in_progress = Gauge(
            "map4_http_requests_in_progress", "Requests being answered.", registry=registry, multiprocess_mode="livesum"
        )
        self.errors = Counter("map4_errors", "Errors of the application's components.", ("component",), registry=registry)
        self.lookups = Counter("map4_cache_lookups", "Look-ups in the cache.", ("kind", "result"), registry=registry)
        self.features = Counter("map4_feature_uses", "Requests by the part of MAP4 they use.", ("feature",), registry=registry)
        for component in ("api", "cache", "limits", "exports", "activity"):
            self.errors.labels(component)
        self._pages = CollectorRegistry()
        self._pages.register(_Now(settings, engine, cache))

    def served(self, method: str, pattern: str, status: int, seconds: float) -> None:
        """Count a request."""
        method = method if method in _METHODS else "OTHER"
        self.requests.labels(method, pattern, str(status)).inc()
        self.seconds.labels(method, pattern).observe(seconds)
        if status >= 500:
            self.errors.labels("api").inc()

    def page(self) -> bytes:
        """Return everything in Prometheus's text format."""
        counted = self.registry
        if self._shared:
            counted = CollectorRegistry()
            MultiProcessCollector(counted, self._shared)  # type: ignore[no-untyped-call]
        return generate_latest(counted) + generate_latest(self._pages)

    def watch_log(self) -> None:
        """Count what the application's background parts log as errors and warnings."""
        for name, component in (
            ("map4.api.exports", "exports"),
            ("map4.api.activity", "activity"),
            ("map4.api.limits", "limits"),
        ):
            logging.getLogger(name).addHandler(_Counting(self.errors.labels(component)))

    def looked_up(self, kind: str, hit: bool) -> None:
        """Count a look-up in the cache."""
        self.lookups.labels(kind, "hit" if hit else "miss").inc()


class _Counting(logging.Handler):
    """Counts a component's warnings and errors."""

    def __init__(self, counter: Counter) -> None:
        super().__init__(logging.WARNING)
        self._counter = counter

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        self._counter.inc()


class _Now(Collector):
    """What is looked up at a scrape."""

    def __init__(self, settings: "Settings", engine: Engine, cache: "Cache") -> None:
        self._engine = engine
        self._cache = cache
        self._machine = Machine(settings.home)
        self._lock = threading.Lock()
        self._figures: Figures | None = None
        self._figures_at = float("-inf")

    def describe(self) -> Iterator[Metric]:
        """Return nothing: a registry that asks must not reach for the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the figures of now."""
        yield _gauge("map4_info", "MAP4's version.", {(__version__,): 1}, ("version",))
        yield from self._of_machine()
        figures = self._read()
        yield _gauge("map4_database_up", "1 when the database answers.", {(): float(figures is not None)})
        yield from self._of_pool()
        if self._cache.enabled:
            yield _gauge("map4_cache_up", "1 when the cache's server answers.", {(): float(self._cache.answers())})
        if figures is not None:
            yield from _of_database(figures)

    def _read(self) -> Figures | None:
        with self._lock:
            if time.monotonic() - self._figures_at > FIGURES_SECONDS:
                try:
                    with self._engine.connect() as conn:
                        self._figures = read_figures(conn)
                    self._figures_at = time.monotonic()
                except (SQLAlchemyError, InfrastructureError):
                    self._figures = None
            return self._figures

    def _of_machine(self) -> Iterator[Metric]:
        now = self._machine.look()
        kinds = ("kind",)
        yield _counter("map4_cpu_seconds", "Processor time by mode, all cores.", _one(now.cpu_seconds), ("mode",))
        yield _gauge("map4_cpu_utilization_ratio", "Share of all cores busy since the scrape before.", {(): now.cpu_utilization})
        yield _gauge("map4_load_average", "Load of the last minute.", {(): now.load[0]})
        yield _gauge("map4_memory_bytes", "Memory of the machine.", _one(now.memory_bytes), kinds)
        yield _gauge("map4_swap_bytes", "Swap of the machine.", _one(now.swap_bytes), kinds)
        yield _gauge("map4_disk_bytes", "Space of the disk with MAP4_HOME.", _one(now.disk_bytes), kinds)
        yield _gauge(
            "map4_process_memory_bytes", "Memory of the server's process and its children.", {(): now.process_memory_bytes}
        )
        yield _counter("map4_process_cpu_seconds", "Processor time of the server's process.", {(): now.process_cpu_seconds})
        directions = (
            (
                "map4_disk_io_bytes",
                "Read from and written to disks.",
                now.disk_read_bytes,
                now.disk_written_bytes,
                "read",
                "written",
            ),
            (
                "map4_network_bytes",
                "Through the network.",
                now.network_received_bytes,
                now.network_sent_bytes,
                "received",
                "sent",
            ),
        )
        for name, text, first, second, first_name, second_name in directions:
            if first is not None and second is not None:
                yield _counter(name, text, {(first_name,): first, (second_name,): second}, ("direction",))

    def _of_pool(self) -> Iterator[Metric]:
        pool: Any = self._engine.pool
        values = {("in_use",): pool.checkedout(), ("idle",): pool.checkedin(), ("size",): pool.size()}
        yield _gauge("map4_database_pool_connections", "Connections of this process to the database.", values, ("state",))


def _of_database(figures: Figures) -> Iterator[Metric]:
    window = ("window",)
    yield _gauge("map4_database_connections", "Connections to MAP4's database.", _one(figures.connections), ("state",))
    yield _gauge("map4_database_connections_max", "Connections that the server takes.", {(): figures.connections_max})
    yield _gauge("map4_database_bytes", "Size of MAP4's database.", {(): figures.database_bytes})
    yield _gauge("map4_tracks", "Tracks in the library (estimated).", {(): figures.tracks})
    yield _gauge(
        "map4_tracks_analyzed_per_minute", "Tracks analysed a minute, over the last five.", {(): figures.tracks_per_minute}
    )
    yield _gauge("map4_work_last_hour", "Work that ended in the last hour.", dict(figures.work), ("component", "outcome"))
    yield _gauge("map4_queue_depth", "Rows of the analysis queue.", _one(figures.queue), ("status",))
    yield _gauge("map4_queue_oldest_seconds", "Age of the oldest row that waits.", {(): figures.queue_oldest_seconds})
    waited, worked = figures.queue_wait_seconds, figures.queue_processing_seconds
    yield _summary("map4_queue_wait_seconds", "Time rows waited, of those that ended in the last hour.", waited)
    yield _summary("map4_queue_processing_seconds", "Time rows were worked on, of those that ended in the last hour.", worked)
    yield _gauge("map4_users", "Active accounts.", _one(figures.users), ("role",))
    yield _gauge("map4_active_users", "Users who used MAP4: today (UTC), in 7 days, in 30.", _one(figures.active_users), window)
    yield _gauge(
        "map4_user_tracks_analyzed",
        "Files analysed for a user in 30 days, the busiest 50.",
        _one(figures.tracks_per_user),
        ("user_id",),
    )
    yield _gauge("map4_exports", "Exports in 30 days.", _one(figures.exports), ("type",))
    yield _gauge("map4_feature_users", "Users of a part of MAP4 in 30 days.", _one(figures.feature_users), ("feature",))
    yield _gauge(
        "map4_feature_adoption_ratio", "Share of the users of 30 days who used a part.", _one(figures.adoption), ("feature",)
    )


def _one(values: Any) -> dict[tuple[str, ...], float]:
    """Return values by one label."""
    return {(str(name),): float(value) for name, value in values.items()}


def _gauge(name: str, text: str, values: Any, labels: tuple[str, ...] = ()) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family


def _summary(name: str, text: str, quantiles: Any) -> Metric:
    """Return quantiles; only of a summary does Prometheus expect them."""
    family = Metric(name, text, "summary")
    for quantile, value in quantiles.items():
        family.add_sample(name, {"quantile": str(quantile)}, float(value))
    return family


def _counter(name: str, text: str, values: Any, labels: tuple[str, ...] = ()) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family
