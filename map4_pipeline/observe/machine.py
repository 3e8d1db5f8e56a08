"""The machine's figures: processor, memory, disks, network. Cheap enough to be read at every scrape."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MachineFigures:
    """What the machine has done and has left.

    Attributes
    ----------
    cpu_seconds : dict
        Since its start, by mode (user, system, idle, ...), all cores together.
    cpu_utilization : float
        Share of all cores that was busy since the last look, in [0, 1].
    memory_bytes, swap_bytes, disk_bytes : dict
        `total`, `used` and (memory, disk) `available`; the disk is the one that a folder lies on.
    disk_read_bytes, disk_written_bytes, network_received_bytes, network_sent_bytes : int or None
        Since its start; None where the platform does not say.
    process_memory_bytes : int
        Resident memory of this process and its children.
    process_cpu_seconds : float
    """

    cpu_seconds: dict[str, float]
    cpu_utilization: float
    memory_bytes: dict[str, int]
    swap_bytes: dict[str, int]
    disk_bytes: dict[str, int]
    disk_read_bytes: int | None
    disk_written_bytes: int | None
    network_received_bytes: int | None
    network_sent_bytes: int | None
    process_memory_bytes: int
    process_cpu_seconds: float
    load: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0))


class Machine:
    """Reads the machine's figures.

    Parameters
    ----------
    folder : Path
        Whose disk counts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = _busy_and_all()
        self._at = time.monotonic()
        self._share = 0.0

    def look(self) -> MachineFigures:
        """Return the figures of now."""
        import psutil

        times = psutil.cpu_times()._asdict()
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        disk = network = None
        with suppress(OSError, RuntimeError):
            disk = psutil.disk_io_counters()
        with suppress(OSError, RuntimeError):
            network = psutil.net_io_counters()
        space = psutil.disk_usage(str(_existing(self._folder)))
        memory_here, cpu_here = _this_program()
        return MachineFigures(
            cpu_seconds={name: float(value) for name, value in times.items()},
            cpu_utilization=self._utilization(),
            memory_bytes={"total": memory.total, "available": memory.available, "used": memory.total - memory.available},
            swap_bytes={"total": swap.total, "used": swap.used},
            disk_bytes={"total": space.total, "available": space.free, "used": space.used},
            disk_read_bytes=None if disk is None else disk.read_bytes,
            disk_written_bytes=None if disk is None else disk.write_bytes,
            network_received_bytes=None if network is None else network.bytes_recv,
            network_sent_bytes=None if network is None else network.bytes_sent,
            process_memory_bytes=memory_here,
            process_cpu_seconds=cpu_here,
            load=os.getloadavg() if hasattr(os, "getloadavg") else (0.0, 0.0, 0.0),
        )

    def _utilization(self) -> float:
        # Two looks within a moment have nothing between them: the last share stands.
        if time.monotonic() - self._at >= 1.0:
            busy, everything = _busy_and_all()
            passed = everything - self._before[1]
            if passed > 0:
                self._share = min(max((busy - self._before[0]) / passed, 0.0), 1.0)
            self._before, self._at = (busy, everything), time.monotonic()
        return self._share


def _busy_and_all() -> tuple[float, float]:
    import psutil

    times = psutil.cpu_times()._asdict()
    # Linux counts a guest's time as the host's user time as well.
    everything = sum(value for name, value in times.items() if name not in ("guest", "guest_nice"))
    return everything - times.get("idle", 0.0) - times.get("iowait", 0.0), everything


def _this_program() -> tuple[int, float]:
    """Return the memory and the processor time of this process and what it started."""
    import psutil

    memory, seconds = 0, 0.0
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        with suppress(psutil.Error):
            times = process.cpu_times()
            memory += process.memory_info().rss
            seconds += times.user + times.system
    return memory, seconds


def _existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above that exists."""
    return next((place for place in (folder, *folder.parents) if place.exists()), Path(folder.anchor or "."))
